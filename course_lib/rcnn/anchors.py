"""Boxes to start from, which of them stand for an object, and which of them to learn from.

A network cannot name a place from nothing: it says how a box that is given should change. Those
boxes cover the image in a fixed pattern. Each is matched with the object that it overlaps most,
and as nearly all of them show background, only some are learned from.

Equations: (rcnn-anchors), (rcnn-default-boxes), (rcnn-match).

Sources:
    Ren et al., "Faster R-CNN", 2015, section 3.1: anchors, matching and sampling.
    Liu et al., "SSD: single shot multibox detector", 2016, section 2.2: default boxes, matching
        and hard negatives.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.boxes import box_iou
from course_lib.checking import (
    describe,
    expect_alike,
    expect_int,
    expect_number,
    expect_pair,
    expect_shape,
    expect_tensor,
)

BACKGROUND = -1
"""stands in place of an object's index"""
UNDECIDED = -2
"""overlaps an object too much for background, and too little to stand for it"""


# --- patterns of boxes --------------------------------------------------------------------------


def anchor_grid(
    size: int | tuple[int, int],
    stride: int | tuple[int, int],
    scales: Sequence[float],
    ratios: Sequence[float] = (0.5, 1.0, 2.0),
    *,
    offset: float = 0.5,
    device: torch.device | str | None = None,
) -> Tensor:
    """Put boxes of several scales and shapes around every cell; equation (rcnn-anchors).

    As torchvision's ``AnchorGenerator``, which puts them around the upper left corners of the
    cells (``offset=0``) and rounds their sides to even numbers of pixels.

    Args:
        size: cells of the feature map, ``(vertical, horizontal)``.
        stride: pixels of the image from one cell to the next.
        scales: square roots of the areas, in pixels.
        ratios: heights by widths.
        offset: where in its cell an anchor has its centre: 0.5 is the middle.
        device: where the boxes live.
    Returns:
        ``Tensor[rows * columns * A, 4]``, float32, ``(x1, y1, x2, y2)`` in pixels: row by row, in
        it cell by cell, in it ratio by ratio, in it scale by scale. They may reach outside.
    """
    rows, columns = expect_pair("size", size, minimum=0)
    down, across = expect_pair("stride", stride, minimum=1)
    scale = _positive("scales", scales, device)
    root = _positive("ratios", ratios, device).sqrt()
    expect_number("offset", offset)
    heights, widths = (root[:, None] * scale).flatten(), (scale / root[:, None]).flatten()
    sides = torch.stack((-widths, -heights, widths, heights), 1) / 2  # (A, 4)
    y = (torch.arange(rows, device=device) + offset) * down
    x = (torch.arange(columns, device=device) + offset) * across
    return (_centres(y, x)[:, None] + sides).flatten(0, 1)


def default_boxes(
    sizes: Sequence[tuple[int, int]],
    image_size: int | tuple[int, int],
    scales: Sequence[float],
    ratios: Sequence[Sequence[float]],
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """Put SSD's boxes around the cells of several maps; equation (rcnn-default-boxes).

    As torchvision's ``DefaultBoxGenerator`` in pixels: in each cell a square of the map's scale,
    one of the geometric mean with the next map's, and for each ratio a wide box and a tall one.
    No side is longer than the image's.

    Args:
        sizes: cells of each map, ``(vertical, horizontal)``, from the finest.
        image_size: ``(height, width)`` in pixels.
        scales: sides in parts of the image's; one for each map, and one more.
        ratios: for each map, widths by heights.
        device: where the boxes live.
    Returns:
        ``Tensor[D, 4]``, float32, ``(x1, y1, x2, y2)`` in pixels: map by map, row by row, cell by
        cell, and in it in the order above.
    """
    height, width = expect_pair("image_size", image_size, minimum=1)
    _positive("scales", scales, device)
    if len(scales) != len(sizes) + 1 or len(ratios) != len(sizes):
        raise ValueError(
            f"scales: expected one for each of {len(sizes)} maps and one more, and as many ratios"
            f" as maps, got {len(scales)} scales and {len(ratios)} ratios"
        )
    boxes = []
    for k, (size, own) in enumerate(zip(sizes, ratios, strict=True)):
        rows, columns = expect_pair(f"sizes[{k}]", size, minimum=1)
        sides = [(scales[k],) * 2, (math.sqrt(scales[k] * scales[k + 1]),) * 2]
        for ratio in own:
            longer, shorter = scales[k] * math.sqrt(ratio), scales[k] / math.sqrt(ratio)
            sides += [(longer, shorter), (shorter, longer)]
        half = torch.tensor(sides, device=device).clamp(max=1) / 2  # (A, 2): of width, of height
        half = half * torch.tensor([width, height], device=device)
        y = (torch.arange(rows, device=device) + 0.5) * height / rows
        x = (torch.arange(columns, device=device) + 0.5) * width / columns
        boxes.append((_centres(y, x)[:, None] + torch.cat((-half, half), 1)).flatten(0, 1))
    return torch.cat(boxes)


def _centres(y: Tensor, x: Tensor) -> Tensor:
    """All pairs of the two, row by row, as boxes of no size; ``Tensor[rows * columns, 4]``."""
    down, across = torch.meshgrid(y, x, indexing="ij")
    return torch.stack((across, down, across, down), -1).flatten(0, 1)


# --- which of them stand for an object ----------------------------------------------------------


def match_anchors(
    anchors: Tensor,
    boxes: Tensor,
    high_threshold: float = 0.7,
    low_threshold: float = 0.3,
    allow_low_quality_matches: bool = True,
) -> Tensor:
    """Say which object each anchor stands for, by their IoU; equation (rcnn-match).

    An anchor stands for the object that it overlaps most, if their IoU is at least
    ``high_threshold``. Below ``low_threshold`` it is background, and between the two it is left
    undecided. An object's best anchors stand, however small their IoU, for the object that *they*
    overlap most, which is nearly always that one.

    As torchvision's ``Matcher(high_threshold, low_threshold, allow_low_quality_matches)``. There
    an object that no anchor touches claims all anchors that do not touch it; here it claims none.

    Args:
        anchors: ``Tensor[N, 4]``, ``(x1, y1, x2, y2)``.
        boxes: ``Tensor[M, 4]``, the objects, same dtype and device.
        allow_low_quality_matches: whether an object's best anchors stand for an object at any IoU.
    Returns:
        ``Tensor[N]``, int64: the object's index, -1 for background, -2 for undecided.
    """
    _expect_boxes(anchors=anchors, boxes=boxes)
    high = expect_number("high_threshold", high_threshold, minimum=0, maximum=1)
    low = expect_number("low_threshold", low_threshold, minimum=0, maximum=high)
    if len(boxes) == 0:
        return torch.full_like(anchors[:, 0], BACKGROUND, dtype=torch.int64)
    iou = box_iou(boxes, anchors)  # (M, N)
    best, object_ = iou.max(0)
    matches = object_.where(best >= high, UNDECIDED).where(best >= low, BACKGROUND)
    if not allow_low_quality_matches or len(anchors) == 0:
        return matches
    top = iou.amax(1, keepdim=True)  # (M, 1)
    claimed = ((iou == top) & (top > 0)).any(0)
    return object_.where(claimed, matches)


def match_default_boxes(defaults: Tensor, boxes: Tensor, threshold: float = 0.5) -> Tensor:
    """Match as SSD does: each object has its best default box, and all from ``threshold`` on.

    As torchvision's ``SSDMatcher(threshold)``.

    Args:
        defaults: ``Tensor[N, 4]``, ``(x1, y1, x2, y2)``.
        boxes: ``Tensor[M, 4]``, the objects, same dtype and device. If two have the same best
            box, it stands for the later one.
    Returns:
        ``Tensor[N]``, int64: the object's index, or -1.
    """
    matches = match_anchors(defaults, boxes, threshold, threshold, False)
    if len(boxes) == 0 or len(defaults) == 0:
        return matches
    best = box_iou(boxes, defaults).argmax(1)  # (M,)
    number = torch.arange(len(boxes), device=boxes.device)
    claims = torch.full_like(matches, BACKGROUND).scatter_reduce_(0, best, number, "amax")
    return claims.where(claims >= 0, matches)


# --- which of them to learn from ----------------------------------------------------------------


def sample_matches(
    matches: Tensor,
    count: int,
    positive_fraction: float = 0.5,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose some anchors at random, so that background does not outweigh the objects.

    As torchvision's ``BalancedPositiveNegativeSampler(count, positive_fraction)``, for many images
    at once and without waiting for the device.

    Args:
        matches: ``Tensor[..., N]``, from `match_anchors`, an image in each row.
        count: how many to choose in each image; fewer if there are not so many.
        positive_fraction: which part of them stands for objects, at most; background fills up.
        generator: of the random numbers.
    Returns:
        the chosen ones that stand for an object, and those of the background: ``Tensor[..., N]``,
        bool, twice.
    """
    expect_tensor("matches", matches)
    expect_int("count", count, minimum=0)
    expect_number("positive_fraction", positive_fraction, minimum=0, maximum=1)
    chance = torch.rand(matches.shape, generator=generator, device=matches.device)
    positive, negative = matches >= 0, matches == BACKGROUND
    positive = positive & (_rank(chance, positive) < int(count * positive_fraction))
    left = count - positive.sum(-1, keepdim=True)
    return positive, negative & (_rank(chance, negative) < left)


def hard_negatives(losses: Tensor, matches: Tensor, ratio: float = 3.0) -> Tensor:
    """Choose the background boxes that the network gets most wrong, ``ratio`` for each match.

    Args:
        losses: ``Tensor[..., N]``, the loss of each box's class, an image in each row.
        matches: ``Tensor[..., N]``, from `match_default_boxes`.
        ratio: how many for each box that stands for an object.
    Returns:
        ``Tensor[..., N]``, bool.
    """
    expect_tensor("losses", losses, floating=True)
    expect_tensor("matches", matches)
    expect_shape("matches", matches, losses.shape)
    expect_number("ratio", ratio, minimum=0)
    negative = matches == BACKGROUND
    limit = ratio * (matches >= 0).sum(-1, keepdim=True)
    return negative & (_rank(losses.detach(), negative) < limit)


def _rank(values: Tensor, among: Tensor) -> Tensor:
    """Place of each value among those that count, 0 for the largest; of equal ones in order."""
    order = values.where(among, -math.inf).argsort(dim=-1, descending=True, stable=True)
    return order.argsort(-1)


# --- helpers ------------------------------------------------------------------------------------


def _positive(name: str, values: Sequence[float], device: torch.device | str | None) -> Tensor:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise TypeError(f"{name}: expected several numbers, got {describe(values)}")
    for n, value in enumerate(values):
        if not expect_number(f"{name}[{n}]", value) > 0:
            raise ValueError(f"{name}[{n}]: expected a number above 0, got {value}")
    return torch.tensor(list(values), dtype=torch.float32, device=device)


def _expect_boxes(**boxes: Tensor) -> None:
    for name, some in boxes.items():
        expect_tensor(name, some, ndim=2, floating=True)
        expect_shape(name, some, (None, 4))
    expect_alike(**boxes)
