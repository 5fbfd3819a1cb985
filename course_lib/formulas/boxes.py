"""The equations of the chapter `boxes`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib import boxes as topic
from course_lib.formulas.entry import Formula, normal, number


def _dot(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(20):
        x, y = normal(generator, device, 2, number(generator, 1, 50))
        yield topic.dot(x, y), torch.dot(x, y)


FORMULAS = (
    Formula(
        "boxes-dot",
        "The sum of the products of two vectors' entries",
        "course_lib.boxes.dot",
        "torch.dot",
        _dot,
    ),
)
