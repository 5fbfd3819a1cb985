"""The checks of the chapter `scaling`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib import scaling as topic
from course_lib.exercises import Case, Exercise, Mistake


def _vectors(generator: torch.Generator) -> Iterator[Case]:
    """Whole numbers, so that a failing case can be worked through by hand."""
    for length in (2, 3, 5, 8):
        x, y = torch.randint(1, 7, (2, length), generator=generator).double()
        x[1] = x[0] + 1  # no two vectors so alike that a mistake does not show
        y[1] = -y[1]
        yield x, y


# --- predict --------------------------------------------------------------------------------------

predict = Exercise(
    label="ex-scaling-predict",
    oracle=11,
    hint="Write the two products down, then add them.",
    mistakes=(
        Mistake(21, "Multiply pair by pair first, and add up then."),
        Mistake(10, "Each pair is multiplied, not added."),
        Mistake(24, "The products of the pairs are added, not multiplied."),
    ),
)


# --- fill in --------------------------------------------------------------------------------------


def _products(x: Tensor, y: Tensor) -> Tensor:
    return x * y


def _mean(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).mean()


def _of_sums(x: Tensor, y: Tensor) -> Tensor:
    return x.sum() * y.sum()


dot = Exercise(
    label="ex-scaling-dot",
    oracle=topic.dot,
    cases=_vectors,
    hint="Work through the case on paper, and compare each step with your code.",
    mistakes=(
        Mistake(_products, "These are the products; they still have to be added up."),
        Mistake(_mean, "This is the mean of the products, not their sum."),
        Mistake(_of_sums, "Multiply pair by pair first, and add up then."),
    ),
)


# --- find the bug ---------------------------------------------------------------------------------


def _without_first(x: Tensor, y: Tensor) -> Tensor:
    return (x[1:] * y[1:]).sum()


def _without_last(x: Tensor, y: Tensor) -> Tensor:
    return (x[:-1] * y[:-1]).sum()


def _first_only(x: Tensor, y: Tensor) -> Tensor:
    return x[0] * y[0]


bug = Exercise(
    label="ex-scaling-bug",
    oracle=topic.dot,
    cases=_vectors,
    hint="Count how many products the loop adds up, and which.",
    mistakes=(
        Mistake(_without_first, "The first pair is still missing."),
        Mistake(_without_last, "Now the first pair is there, and the last is missing."),
        Mistake(_first_only, "The loop ends after the first pair: is `return` inside it?"),
    ),
)


# --- extend ---------------------------------------------------------------------------------------


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    return topic.dot(x, y) / (topic.dot(x, x) * topic.dot(y, y)).sqrt()


def _by_one_length(x: Tensor, y: Tensor) -> Tensor:
    return topic.dot(x, y) / topic.dot(x, x).sqrt()


def _by_squares(x: Tensor, y: Tensor) -> Tensor:
    return topic.dot(x, y) / (topic.dot(x, x) * topic.dot(y, y))


cosine = Exercise(
    label="ex-scaling-cosine",
    oracle=_cosine,
    cases=_vectors,
    hint="Try it with two equal vectors: the cosine should be 1.",
    mistakes=(
        Mistake(topic.dot, "This is the product; the lengths still have to be divided out."),
        Mistake(_by_one_length, "Divide by the length of `y` too."),
        Mistake(_by_squares, "A length is a square root: without it, this divides by its square."),
    ),
)
