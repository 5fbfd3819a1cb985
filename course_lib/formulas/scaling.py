"""The equations of the chapter `scaling`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib import scaling as topic
from course_lib.formulas.entry import Formula, Symbols, normal, number


def _dot(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(20):
        x, y = normal(generator, device, 2, number(generator, 1, 50))
        yield topic.dot(x, y), torch.dot(x, y)


FORMULAS = (
    Formula(
        "scaling-dot",
        "The sum of the products of two vectors' entries",
        "course_lib.scaling.dot",
        "torch.dot",
        _dot,
    ),
)

SYMBOLS: Symbols = {
    "i": "counts what a sum adds up",
    "N": "how many numbers a vector has",
    "s": "the sum of products",
    "x, y": "the two vectors",
}
"""What the symbols of the chapter mean; see `Symbols`."""
