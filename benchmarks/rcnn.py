"""What the chapter `rcnn` times: the regions of a detector, against torchvision's kernels."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import ops
from torchvision.models.detection import _utils, anchor_utils
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss

from benchmarks.core import BACKWARD, FORWARD, Case, by, normal
from course_lib import rcnn

BOTH = (FORWARD, BACKWARD)
STRIDE = 16
"""pixels of the image for each cell of the map"""

TWINS: dict[str, tuple[Callable[..., Any], Callable[..., Tensor]]] = {
    "roi_align": (rcnn.roi_align, ops.roi_align),
    "roi_pool": (rcnn.roi_pool, ops.roi_pool),
}


_WHY = {
    "roi_align": "reading between the cells is one sparse matrix product, and making the matrix"
    " takes its time too",
    "roi_pool": "keys of 64 bits, which hold a value and its place, take a third to half"
    " of the time, and only one thread adds up the gradients",
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
    operation: str,
    count: int,
    channels: int,
    side: int,
    *at_most: float | tuple[float, float],
    **options: Any,
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
        on_cuda={} if operation == "roi_pool" or not at_most else dict.fromkeys(BOTH, 1.0),
        library="torchvision",
        why=_WHY[operation],
    )


# --- boxes to start from ------------------------------------------------------------------------


def _anchors(side: int) -> Case:
    """In the same order; torchvision rounds the boxes of a cell to whole pixels."""
    scales, ratios = (32.0, 64.0, 128.0), (0.5, 1.0, 2.0)
    generator = anchor_utils.AnchorGenerator((scales,), (ratios,))

    def twin(features: Tensor) -> Tensor:
        images = ImageList(torch.empty(1, 3, side * STRIDE, side * STRIDE), [(side, side)])
        return generator(images, [features])[0]

    def ours(features: Tensor) -> Tensor:
        return rcnn.anchor_grid(side, STRIDE, scales, ratios, offset=0, device=features.device)

    return Case(
        "anchor_grid", f"{side}×{side}, 9 a cell", ours, twin, normal((1, 1, side, side)),
        directions=(FORWARD,), library="torchvision", tolerance=1e-2,
    )  # fmt: skip


def _defaults(*sides: int) -> Case:
    scales, ratios = [0.1 + 0.3 * n for n in range(len(sides) + 1)], [[2.0, 3.0]] * len(sides)
    sizes, image = [(side, side) for side in sides], 8 * sides[0]
    generator = anchor_utils.DefaultBoxGenerator([[2, 3]] * len(sides), scales=scales)

    def twin(features: Tensor) -> Tensor:
        images = ImageList(features.new_empty(1, 3, image, image), [(image, image)])
        return generator(images, [features.new_empty(1, 1, *size) for size in sizes])[0]

    return Case(
        "default_boxes", ", ".join(f"{side}×{side}" for side in sides),
        lambda features: rcnn.default_boxes(sizes, image, scales, ratios, device=features.device),
        twin, normal((1,)), directions=(FORWARD,), library="torchvision",
    )  # fmt: skip


def _matching(anchors: int, objects: int) -> Case:
    matcher = _utils.Matcher(0.7, 0.3, allow_low_quality_matches=True)

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        return tuple(_regions(count, 50, generator)[:, 1:] for count in (anchors, objects))

    return Case(
        "match_anchors", f"{anchors} to {objects}", rcnn.match_anchors,
        lambda anchors, boxes: matcher(ops.box_iou(boxes, anchors)),
        inputs, directions=(FORWARD,), library="torchvision",
    )  # fmt: skip


# --- losses -------------------------------------------------------------------------------------


def _region_loss(regions: int, classes: int) -> Case:
    generator = torch.Generator().manual_seed(regions)
    labels = torch.randint(classes, (regions,), generator=generator)

    def ours(logits: Tensor, deltas: Tensor, targets: Tensor) -> Tensor:
        return torch.stack(
            rcnn.region_loss(logits, deltas, labels.to(logits.device), targets.detach())
        )

    def twin(logits: Tensor, deltas: Tensor, targets: Tensor) -> Tensor:
        there = labels.to(logits.device)
        return torch.stack(fastrcnn_loss(logits, deltas.flatten(1), [there], [targets.detach()]))

    return Case(
        "region_loss", f"{regions} of {classes} classes", ours, twin,
        normal((regions, classes), (regions, classes, 4), (regions, 4)),
        directions=(FORWARD,), library="torchvision",
    )  # fmt: skip


def _smooth_l1(*shape: int) -> Case:
    return Case(
        "smooth_l1_loss", by(shape), rcnn.smooth_l1_loss, F.smooth_l1_loss, normal(shape, shape),
        why="choosing between the two forms takes two thirds of the time, and every other step is a"
        " pass of its own; the twin is one loop",
    )  # fmt: skip


CASES = [
    _case("roi_align", 4, 8, 16, sampling_ratio=2, aligned=True),
    *(
        _case("roi_align", count, 256, 50, 0.45, 0.2, sampling_ratio=ratio, aligned=True)
        for ratio in (2, -1)
        for count in (300, 1000)
    ),
    _case("roi_pool", 4, 8, 16),
    *(_case("roi_pool", count, 256, 50, (1.2, 0.7), (1.2, 0.7)) for count in (300, 1000)),
    _anchors(5),
    _anchors(50),
    _defaults(38, 19, 10),
    _matching(1000, 8),
    _matching(20_000, 50),
    _region_loss(512, 21),
    _smooth_l1(64, 4),
    _smooth_l1(100_000, 4),
]
