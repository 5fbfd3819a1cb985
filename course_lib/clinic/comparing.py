"""Two things side by side: a function and its twin, a validation set and what training saw.

Implements equation (clinic-relative-error).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from course_lib.checking import expect_alike, expect_number, expect_shape, expect_tensor


class Comparison(NamedTuple):
    """The case in which a function and its twin differ most."""

    error: float
    """the relative error, infinite where the shapes differ or one gives NaN"""
    case: tuple[Any, ...]
    """the arguments"""
    ours: Tensor
    """what the function gave"""
    twin: Tensor
    """what its twin gave"""


def relative_error(ours: Tensor, twin: Tensor) -> float:
    """Largest difference over the twin's largest value; equation (clinic-relative-error).

    Args:
        ours: ``Tensor[...]``, numbers of any kind.
        twin: the same shape.
    Returns:
        0 where both are zero or empty; infinite where the shapes differ, one of the two is not
        finite, or the twin is zero and ours is not.
    Raises:
        TypeError: if one is no tensor.
    """
    expect_tensor("ours", ours)
    expect_tensor("twin", twin)
    if ours.shape != twin.shape:
        return math.inf
    if ours.numel() == 0:
        return 0.0
    ours, twin = ours.detach().double(), twin.detach().double()
    apart, scale = (ours - twin).abs().max().item(), twin.abs().max().item()
    if not (math.isfinite(apart) and math.isfinite(scale)):
        return math.inf
    if apart == 0:
        return 0.0
    return apart / scale if scale else math.inf


def compare(
    ours: Callable[..., Tensor],
    twin: Callable[..., Tensor],
    cases: Iterable[tuple[Any, ...]],
) -> Comparison:
    """Call a function and its twin on the same cases and return the worst.

    Args:
        ours: the function under suspicion.
        twin: another that should give the same, written by somebody else or in another way.
        cases: the arguments of each call.
    Returns:
        the first of the cases with the largest `relative_error`.
    Raises:
        ValueError: if there is no case.
    """
    found = [
        Comparison(relative_error(a, b), case, a, b)
        for case in cases
        for a, b in [(ours(*case), twin(*case))]
    ]
    if not found:
        raise ValueError("cases: expected at least one, got none")
    return max(found, key=lambda comparison: comparison.error)


def leaked(train: Tensor, validation: Tensor, distance: float) -> Tensor:
    """Find the validation pictures that training has seen, or nearly.

    Args:
        train: ``Tensor[N, ...]``, floating: pictures, or features of them.
        validation: ``Tensor[M, ...]``, same dtype, device and shape of a picture.
        distance: largest Euclidean distance that still counts as the same picture.
    Returns:
        ``Tensor[M]``, bool.
    Raises:
        TypeError, ValueError: if an argument makes no sense.
    """
    expect_tensor("train", train, floating=True)
    expect_alike(train=train, validation=validation)
    expect_shape("validation", validation, (None, *train.shape[1:]))
    expect_number("distance", distance, minimum=0)
    # Not by matrix products: they would see equal pictures some 1e-3 apart.
    exact = "donot_use_mm_for_euclid_dist"
    far = torch.cdist(validation.flatten(1), train.flatten(1), compute_mode=exact)  # (M, N)
    return (far <= distance).any(1)
