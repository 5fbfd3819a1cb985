"""What the chapter `rcnn` times: the regions of a detector, against torchvision's kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchvision import ops

from benchmarks.core import BACKWARD, FORWARD, Case
from course_lib import rcnn

STRIDE = 16
"""pixels of the image for each cell of the map"""

TWINS: dict[str, tuple[Callable[..., Any], Callable[..., Tensor]]] = {
    "roi_align": (rcnn.roi_align, ops.roi_align),
    "roi_pool": (rcnn.roi_pool, ops.roi_pool),
}


def _regions(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Boxes of 32 pixels up to half the image, in one image; ``Tensor[K, 5]``."""
    size = side * STRIDE
    longest = max(64, size // 2)
    sides = 32 * (math.log(longest / 32) * torch.rand(count, 2, generator=generator)).exp()
    centre = size * torch.rand(count, 2, generator=generator)
    corners = torch.cat((centre - sides / 2, centre + sides / 2), 1).clamp(0, size)
    return torch.cat((torch.zeros(count, 1), corners), 1)


def _case(
    operation: str, count: int, channels: int, side: int, *at_most: float, **options: Any
) -> Case:
    generator = torch.Generator().manual_seed(count)
    rois = _regions(count, side, generator)

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.randn(1, channels, side, side, generator=generator),)

    def call(function: Callable[..., Tensor], features: Tensor) -> Tensor:
        boxes = rois.to(features)
        return function(features, boxes, 7, 1 / STRIDE, **options)

    ours, twin = TWINS[operation]
    points = {2: ", 2 points a side", -1: ", a point a cell"}.get(
        options.get("sampling_ratio", 0), ""
    )
    return Case(
        operation,
        f"{count} regions of {channels}×{side}×{side}{points}",
        partial(call, ours),
        partial(call, twin),
        inputs,
        at_most=dict(zip((FORWARD, BACKWARD), at_most, strict=False)),
    )


CASES = [
    _case("roi_align", 4, 8, 16, sampling_ratio=2, aligned=True),
    *(
        _case("roi_align", count, 256, 50, 0.45, 0.2, sampling_ratio=ratio, aligned=True)
        for ratio in (2, -1)
        for count in (300, 1000)
    ),
    _case("roi_pool", 4, 8, 16),
    *(_case("roi_pool", count, 256, 50, 1.2, 1.2) for count in (300, 1000)),
]
