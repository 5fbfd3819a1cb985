"""The checks of the chapter `clinic`: claims in words, judged by numbers."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY  # equal to whatever stands in its place

from course_lib.exercises import Exercise, Mistake

# --- 15: predict what the claims' experiments give ------------------------------------------------

_RIGHT = (0, 2045, 8045, 65, 11, 0.2, 8000)


def _but(hint: str, **places: Any) -> Mistake:
    """One or two numbers that are wrong, whatever the others are."""
    names = ("pooling", "pooled", "whole", "averaged", "doubled", "sure", "answers")
    return Mistake(tuple(places.get(name, ANY) for name in names), hint)


claims = Exercise(
    label="ex-clinic-claims",
    oracle=_RIGHT,
    hint="Take the numbers one after the other: weights and biases of each layer, then what a sum"
    " with a bias does, then what the softmax makes of equal scores.",
    mistakes=(
        _but("A window has no weights: nothing in a pooling layer is learned.", pooling=4),
        _but("Pooling works map by map, but it has learned nothing for any.", pooling=16),
        _but("The biases are missing in the second number: one a map, one a class.", pooled=2036),
        _but("The convolution keeps the size, for it has a padding of 1.", pooled=1665),
        _but("The convolution's own parameters are missing.", pooled=2005, whole=8005),
        _but("The linear layer meets four times as many numbers without pooling.", whole=2045),
        _but("The linear layer meets four times as many numbers, not twice as many.", whole=4045),
        _but("The mean leaves one number of each map, and there are four maps.", averaged=50),
        _but("The mean of each map is taken: how many numbers does the layer meet?", averaged=8045),
        _but("The fourth number lacks the convolution.", averaged=25),
        _but("Here the bias is doubled too: take it off first.", doubled=14),
        _but("The bias is added once, not taken off for good.", doubled=8),
        _but("Of the 7, how much is the bias?", doubled=17),
        _but("The softmax of equal scores is not 0: all classes share what there is.", sure=0),
        _but("The classes share what there is; none is sure.", sure=1),
        _but("So many names, perhaps; the network gives a number for each class.", answers=8),
        _but("So many for one picture; there are eight.", answers=1000),
    ),
)
