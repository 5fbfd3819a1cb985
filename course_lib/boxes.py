"""The question that the chapter `boxes` answers, in one line.

Equations of the chapter `boxes`, by label: boxes-dot.

Sources:
    The paper or the book that an idea comes from, with its year.
"""

from __future__ import annotations

from torch import Tensor

from course_lib.checking import expect_alike, expect_shape, expect_tensor


def dot_loops(input: Tensor, tensor: Tensor) -> Tensor:
    """Multiply entry by entry and add up, word by word; equation (boxes-dot).

    Arguments, result and errors are those of `dot`.
    """
    _expect_vectors(input, tensor)
    total = input.new_zeros(())
    for i in range(len(input)):
        total = total + input[i] * tensor[i]
    return total


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Multiply entry by entry and add up; equation (boxes-dot). As `torch.dot`.

    Args:
        input: ``Tensor[N]``, floating.
        tensor: ``Tensor[N]``, same dtype and device.
    Returns:
        ``Tensor[]``; 0 for empty vectors.
    Raises:
        TypeError: if one is no floating tensor, or the dtypes differ.
        ValueError: if a shape is wrong, or the devices differ.
    """
    _expect_vectors(input, tensor)
    return (input * tensor).sum()


def _expect_vectors(input: Tensor, tensor: Tensor) -> None:
    expect_tensor("input", input, ndim=1, floating=True)
    expect_tensor("tensor", tensor, ndim=1, floating=True)
    expect_alike(input=input, tensor=tensor)
    expect_shape("tensor", tensor, input.shape)
