"""Answers to the exercises of the chapter `rcnn`: right ones written otherwise, and wrong ones."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import ops
from torchvision.models.detection._utils import Matcher

from course_lib import rcnn as topic
from course_lib.exercises import rcnn as check


def bilinear(features: Tensor, x: float, y: float) -> Tensor:
    """Each cell weighs what is left of its distance, both ways."""
    rows, columns = (torch.arange(float(n)).double() for n in features.shape)
    across, down = (1 - (columns - x).abs()).clamp(min=0), (1 - (rows - y).abs()).clamp(min=0)
    return (down[:, None] * across * features).sum()


def through_grid_sample(features: Tensor, box: Tensor, bins: int, scale: float) -> Tensor:
    steps = (torch.arange(bins) + 0.5) / bins
    x = (box[0] + steps * (box[2] - box[0])) * scale
    y = (box[1] + steps * (box[3] - box[1])) * scale
    height, width = features.shape
    grid = torch.stack(torch.meshgrid(2 * x / width - 1, 2 * y / height - 1, indexing="xy"), -1)
    return F.grid_sample(features[None, None], grid[None], align_corners=False)[0, 0]


def by_points(features: Tensor, box: Tensor, bins: int, scale: float) -> Tensor:
    x1, y1, x2, y2 = box * scale - 0.5
    return torch.stack(
        [
            torch.stack(
                [
                    bilinear(
                        features,
                        (x1 + (column + 0.5) / bins * (x2 - x1)).item(),
                        (y1 + (row + 0.5) / bins * (y2 - y1)).item(),
                    )
                    for column in range(bins)
                ]
            )
            for row in range(bins)
        ]
    )


def by_area(row: int, column: int, stride: int, side: float, ratio: float) -> list[float]:
    width = (side**2 / ratio) ** 0.5
    height = side**2 / width
    x, y = column * stride + stride / 2, row * stride + stride / 2
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def by_loops(anchors: Tensor, boxes: Tensor, high: float, low: float) -> list[int]:
    table = [[ops.box_iou(a[None], b[None]).item() for b in boxes] for a in anchors]
    best = [max(row[n] for row in table) for n in range(len(boxes))]
    matches = []
    for row in table:
        claimed = any(row[n] == best[n] for n in range(len(boxes)))
        if max(row) >= high or claimed:
            matches.append(row.index(max(row)))
        else:
            matches.append(-1 if max(row) < low else -2)
    return matches


def by_torchvision(anchors: Tensor, boxes: Tensor, high: float, low: float) -> Tensor:
    return Matcher(high, low, allow_low_quality_matches=True)(ops.box_iou(boxes, anchors))


def claiming_if_needed(
    anchors: Tensor, boxes: Tensor, high: float, low: float, backwards: bool = False
) -> Tensor:
    """Go through the objects, and let those claim that have no anchor so far."""
    overlap = ops.box_iou(boxes, anchors)
    matches = Matcher(high, low)(overlap)
    objects = range(len(boxes))
    for n in reversed(objects) if backwards else objects:
        if not (matches == n).any():
            best = overlap[n] == overlap[n].max()
            matches[best] = overlap.argmax(0)[best]
    return matches


def by_matrices(features: Tensor, x: float, y: float) -> Tensor:
    """The weights of the rows, the map, the weights of the columns: two products."""
    rows, columns = (torch.arange(n) for n in features.shape)
    down, across = ((1 - (n - at).abs()).clamp(min=0) for n, at in ((rows, y), (columns, x)))
    return down @ features @ across


def by_ranks(losses: Tensor, positive: Tensor, ratio: int) -> Tensor:
    count = ratio * positive.sum()
    rank = losses.masked_fill(positive, -1).argsort(descending=True).argsort()
    return (rank < count) & ~positive


def by_sorting(losses: Tensor, positive: Tensor, ratio: int) -> list[bool]:
    count = ratio * sum(positive.tolist())
    order = sorted(range(len(losses)), key=lambda n: -losses[n].item())
    chosen = [n for n in order if not positive[n]][:count]
    return [n in chosen for n in range(len(losses))]


def by_exponentials(logits: Tensor) -> list[Tensor]:
    powers = (logits - logits.amax(1, keepdim=True)).exp()
    shares = powers / powers.sum(1, keepdim=True)
    shares[:, 0] = -1
    labels = shares.argmax(1)
    return [shares[torch.arange(len(shares)), labels], labels - 1]


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-rcnn-predict": [[16.0, 48.0, 96.0, 112.0], torch.tensor([16, 48, 96, 112])],
    "ex-rcnn-sample": [bilinear, by_matrices, lambda f, x, y: bilinear(f, x, y).item()],
    "ex-rcnn-align": [by_points, through_grid_sample],
    "ex-rcnn-anchor": [by_area, lambda *a: torch.tensor(by_area(*a))],
    "ex-rcnn-match": [by_loops, by_torchvision],
    "ex-rcnn-hard": [
        by_ranks,
        by_sorting,
        lambda losses, positive, ratio: topic.hard_negatives(
            losses, torch.where(positive, 0, -1), ratio
        ),
    ],
    "ex-rcnn-read": [
        by_exponentials,
        lambda logits: logits.log_softmax(1).exp()[:, 1:].max(1),
    ],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-rcnn-predict": [
        ((16, 48, 80, 96), "counts in full"),
        ((16, 32, 96, 96), "*nearest*"),
        ((1, 3, 5, 6), "for pixels"),
        ((20, 41, 85, 90), "whole cells"),
        ((17, 49, 96, 112), ""),
    ],
    "ex-rcnn-sample": [
        (lambda f, x, y: f[int(y), int(x)], "upper left alone"),
        (lambda f, x, y: f[round(y), round(x)], "nearest cell"),
        (lambda f, x, y: bilinear(f.T, x, y), "first index"),
        (
            lambda f, x, y: f[
                math.floor(y) : math.floor(y) + 2, math.floor(x) : math.floor(x) + 2
            ].mean(),
            "count alike",
        ),
        (lambda f, x, y: bilinear(f, x, math.floor(y)), "not yet from top"),
        (lambda f, x, y: bilinear(f, math.floor(x), y), "not yet from left"),
        (lambda f, x, y: 2 * bilinear(f, x, y), ""),
    ],
    "ex-rcnn-align": [
        (
            lambda f, box, bins, scale: topic.roi_align(
                f[None, None], F.pad(box, (1, 0))[None], bins, scale, sampling_ratio=1
            )[0, 0],
            "half a cell too far",
        ),
        (lambda f, box, bins, scale: by_points(f, box, bins, scale).T, "changed places"),
        (
            lambda f, box, bins, scale: topic.roi_pool(
                f[None, None], F.pad(box, (1, 0))[None], bins, scale
            )[0, 0],
            "",
        ),
        (lambda f, box, bins, scale: by_points(f, box, bins, scale)[0, 0], ""),
    ],
    "ex-rcnn-anchor": [
        (lambda r, c, s, side, ratio: by_area(r, c, s, side, 1 / ratio), "height over width"),
        (lambda r, c, s, side, ratio: by_area(c, r, s, side, ratio), "tells x"),
        (lambda r, c, s, side, ratio: by_area(r, c, s, side, ratio**2), "squared"),
        (lambda r, c, s, side, ratio: by_area(r, c, s, side * ratio**0.5, ratio), "area has grown"),
        (lambda r, c, s, side, ratio: by_area(r, c, s, side, 1.0), ""),
        (lambda r, c, s, side, ratio: torch.tensor(by_area(r, c, s, side, ratio)) / s, ""),
    ],
    "ex-rcnn-match": [
        (
            lambda anchors, boxes, high, low: Matcher(high, low)(ops.box_iou(boxes, anchors)),
            "left without one",
        ),
        (
            lambda anchors, boxes, high, low: by_torchvision(anchors, boxes, high, high),
            "ignored: -2",
        ),
        (claiming_if_needed, "also one that has an anchor already"),
        (lambda *case: claiming_if_needed(*case, backwards=True), "from the last object"),
        (lambda anchors, boxes, high, low: ops.box_iou(boxes, anchors).argmax(0), ""),
        (lambda anchors, boxes, high, low: by_torchvision(anchors, boxes, high, low) >= 0, ""),
    ],
    "ex-rcnn-hard": [
        (
            lambda losses, positive, ratio: by_ranks(-losses, positive, ratio),
            "",
        ),
        (
            lambda losses, positive, ratio: (
                (losses.argsort(descending=True).argsort() < ratio * positive.sum()) & ~positive
            ),
            "too few are left",
        ),
        (
            lambda losses, positive, ratio: (
                losses.argsort(descending=True).argsort() < ratio * positive.sum()
            ),
            "compete",
        ),
        (lambda losses, positive, ratio: ~positive, "all negatives"),
        (lambda losses, positive, ratio: by_ranks(losses, positive, 1), "where is the ratio"),
        (lambda losses, positive, ratio: losses[by_ranks(losses, positive, ratio)], ""),
    ],
    "ex-rcnn-read": [
        (lambda logits: logits.softmax(1).max(1), "Background may win"),
        (lambda logits: logits.softmax(1)[:, 1:].max(1).values, ""),
        (lambda logits: logits[:, 1:].softmax(1).max(1), "some object for sure"),
        (lambda logits: logits.softmax(1).softmax(1)[:, 1:].max(1), "two softmaxes"),
        (lambda logits: logits.softmax(0)[:, 1:].max(1), "axis of softmax"),
        (
            lambda logits: (
                logits.softmax(1)[:, 1:].amax(1),
                logits.softmax(1)[:, 1:].argmax(1) + 1,
            ),
            "one off",
        ),
    ],
}


def test_the_exercise_on_hard_negatives_asks_for_what_the_library_does() -> None:
    for seed in range(5):
        assert check.hard(RIGHT_ANSWERS["ex-rcnn-hard"][2], seed=seed)
