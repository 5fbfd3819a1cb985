"""The figure to touch of the chapter on softmax: three scores, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence

from course_lib.checking import describe
from course_lib.figures import Figure, asset, figure

__all__ = ["simplex"]

LONGEST = 12


def simplex(names: Sequence[str] = ("A", "B", "C")) -> Figure:
    """Move three scores and a temperature, and see the probabilities as a point of a triangle.

    Two arrows start there: the push on the scores, which is truth less probability, and the way
    of the probabilities when the scores take a step of gradient descent, of learning rate 1.

    Args:
        names: of the three classes, each of 1 to 12 characters.
    Raises:
        TypeError: if one is no string.
        ValueError: if there are not three different ones, or one is empty or too long.
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names: expected strings, got {describe(name)}")
        if not 1 <= len(name) <= LONGEST:
            raise ValueError(f"names: expected 1 to {LONGEST} characters, got {describe(name)}")
    if len(names) != 3 or len(set(names)) != 3:
        raise ValueError(f"names: expected three different ones, got {describe(names)}")
    return figure(
        "simplex",
        asset("simplex.js"),
        {"names": list(names)},
        "Three scores, three probabilities, one loss",
        "Drag the point, or focus it and use the arrow keys; or set the scores one by one.",
    )
