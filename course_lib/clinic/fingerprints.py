"""Numbers that are known before a run, and those that a mistake makes of them.

Each function is one equation of the chapter; all are derived there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.checking import (
    describe,
    expect_alike,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)


def first_loss(classes: int) -> float:
    """Cross-entropy of a classifier that prefers nothing: ``log C``; equation (clinic-first-loss).

    Args:
        classes: how many there are, C, at least 2.
    Raises:
        TypeError, ValueError: if ``classes`` is no integer of at least 2.
    """
    return math.log(expect_int("classes", classes, minimum=2))


def softmax_floor(classes: int) -> float:
    """Least cross-entropy of probabilities taken for scores; equation (clinic-softmax-floor).

    ``log(1 + (C - 1) / e)``: the loss takes its own softmax of numbers that lie in [0, 1].

    Arguments and errors are those of `first_loss`.
    """
    return math.log1p((expect_int("classes", classes, minimum=2) - 1) / math.e)


def uncleared_steps(weight: Tensor, gradients: Tensor, lr: float) -> Tensor:
    """Weights of a gradient descent that never clears; equation (clinic-uncleared).

    Each step uses the sum of all gradients so far: momentum 1 without dampening.

    Args:
        weight: ``Tensor[N]``, floating, before the first step.
        gradients: ``Tensor[T, N]``, same dtype and device: what each step would have used.
        lr: step size.
    Returns:
        ``Tensor[T, N]``, the weight after each step.
    Raises:
        TypeError, ValueError: if the tensors or the step size make no sense.
    """
    expect_tensor("weight", weight, ndim=1, floating=True)
    expect_alike(weight=weight, gradients=gradients)
    expect_shape("gradients", gradients, (None, len(weight)))
    expect_number("lr", lr, minimum=0)
    gathered = gradients.cumsum(0)  # (T, N), what backward leaves in .grad
    return weight - lr * gathered.cumsum(0)


def swing_period(lr: float, curvature: float) -> float:
    """Steps in which a parameter with uncleared gradients swings to and fro; (clinic-swing).

    Args:
        lr: step size.
        curvature: second derivative of the loss; ``lr * curvature`` lies between 0 and 4, beyond
            which the swing grows.
    Raises:
        TypeError, ValueError: if a number makes no sense.
    """
    product = expect_number("lr", lr) * expect_number("curvature", curvature)
    if not 0 < product < 4:
        raise ValueError(
            f"lr: expected lr * curvature above 0 and below 4, got {describe(product)}"
        )
    return 2 * math.pi / math.acos(1 - product / 2)


def wrapped_sum(a: Tensor, b: Tensor) -> Tensor:
    """What a sum of bytes becomes: the rest after division by 256; equation (clinic-wrap).

    Args:
        a: ``Tensor[...]``, uint8.
        b: same shape.
    Returns:
        ``Tensor[...]``, uint8, as ``a + b`` gives it.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    expect_alike(a=a, b=b)
    if a.dtype != torch.uint8:
        raise TypeError(f"a: expected torch.uint8, got {describe(a)}")
    expect_shape("b", b, a.shape)
    return ((a.int() + b.int()) % 256).to(torch.uint8)


def rescaled(x: Tensor, mean: float, std: float, times: int) -> Tensor:
    """Subtract a mean and divide by a deviation, again and again; equation (clinic-rescaled).

    Args:
        x: ``Tensor[...]``, floating.
        mean: what is subtracted each time.
        std: what is divided by each time, above 0.
        times: how often; once is what was meant.
    Returns:
        ``Tensor[...]``.
    Raises:
        TypeError, ValueError: if an argument makes no sense.
    """
    expect_tensor("x", x, floating=True)
    expect_number("mean", mean)
    if expect_number("std", std, minimum=0) == 0:
        raise ValueError(f"std: expected a number above 0, got {describe(std)}")
    expect_int("times", times, minimum=0)
    subtracted = sum(std**-j for j in range(1, times + 1))
    return x * std**-times - mean * subtracted


def standard_error(p: float, n: int) -> float:
    """How far an accuracy measured on n examples strays; equation (clinic-standard-error).

    Args:
        p: the accuracy, 0 to 1.
        n: how many examples, drawn independently of each other.
    Raises:
        TypeError, ValueError: if a number makes no sense.
    """
    expect_number("p", p, minimum=0, maximum=1)
    return math.sqrt(p * (1 - p) / expect_int("n", n, minimum=1))


def leaked_accuracy(clean: float, share: float, known: float = 1.0) -> float:
    """Accuracy that is measured when a share of the test set is known; equation (clinic-leak).

    Args:
        clean: the accuracy on examples that are new, 0 to 1.
        share: the share of examples that training has seen, or near-duplicates of them, 0 to 1.
        known: the accuracy on those.
    Raises:
        TypeError, ValueError: if a number makes no sense.
    """
    for name, value in (("clean", clean), ("share", share), ("known", known)):
        expect_number(name, value, minimum=0, maximum=1)
    return (1 - share) * clean + share * known


def questions(count: int) -> int:
    """How many yes-or-no questions single out one of ``count``; equation (clinic-bisection).

    Args:
        count: how many there are, at least 1.
    Raises:
        TypeError, ValueError: if ``count`` is no integer of at least 1.
    """
    return (expect_int("count", count, minimum=1) - 1).bit_length()  # exact, as log2 is not
