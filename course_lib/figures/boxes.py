"""Figures to touch for the chapter on boxes: two of them to drag, forty of them to suppress."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.checking import describe, expect_alike, expect_shape, expect_tensor
from course_lib.figures import Figure, asset, encode_image, figure

__all__ = ["box_pair", "nms_stepper"]

MOST = 60
"""Detections that can be stepped through."""


def box_pair(image: Tensor, box: Tensor) -> Figure:
    """Drag a guess over an object's box: intersection, union, IoU and GIoU follow.

    Below runs the curve of IoU and GIoU over the guess's place, if it moves to the left and to
    the right: where the boxes lie apart one of them is flat.

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1], 48 to 160 pixels a
            side.
        box: ``Tensor[4]``, the object's box, ``(x1, y1, x2, y2)``, rounded to whole pixels.
    Raises:
        TypeError: if a tensor is not floating.
        ValueError: if a size or a range is not as described, or the box is not in the image.
    """
    packed = encode_image(image, minimum=48, maximum=160)
    (corners,) = _inside("box", box[None] if isinstance(box, Tensor) else box, packed)
    return figure(
        "box_pair",
        asset("box_pair.js"),
        {"image": packed, "box": [round(x) for x in corners]},
        "Drag one box over the other",
        "Drag a box or a corner, or use the arrow keys. Then pull the boxes apart.",
    )


def nms_stepper(
    image: Tensor, boxes: Tensor, scores: Tensor, targets: Tensor | None = None
) -> Figure:
    """Step through non-maximum suppression, one decision at a time, at any two thresholds.

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1], 48 to 240 pixels a
            side.
        boxes: ``Tensor[N, 4]``, the detections, ``(x1, y1, x2, y2)``, at least 2 and at most 60;
            rounded to hundredths of a pixel.
        scores: ``Tensor[N]``, in [0, 1]; rounded to thousandths.
        targets: ``Tensor[M, 4]``, the objects, to say how many of them are found at IoU 0.5.
    Raises:
        TypeError: if a tensor is not floating.
        ValueError: if a size or a range is not as described, or a box does not meet the image.
    """
    packed = encode_image(image, minimum=48, maximum=240)
    corners = _inside("boxes", boxes, packed)
    if not 2 <= len(corners) <= MOST:
        raise ValueError(f"boxes: expected 2 to {MOST}, got {len(corners)}")
    expect_tensor("scores", scores, ndim=1, floating=True)
    expect_shape("scores", scores, (len(boxes),))
    if not ((scores >= 0) & (scores <= 1)).all():  # written so that NaN fails too
        raise ValueError(f"scores: expected numbers in [0, 1], got {describe(scores)}")
    found = sorted(
        zip((round(score, 3) for score in scores.tolist()), corners, strict=True),
        key=lambda pair: -pair[0],
    )
    return figure(
        "nms_stepper",
        asset("nms_stepper.js"),
        {
            "image": packed,
            "boxes": [box for _, box in found],
            "scores": [score for score, _ in found],
            "targets": [] if targets is None else _inside("targets", targets, packed),
        },
        "Suppress, one decision at a time",
        "Step, click a box or a bar, or use the arrow keys. Then move the thresholds.",
    )


def _inside(name: str, boxes: Tensor, image: dict[str, int]) -> list[list[float]]:
    """The corners in hundredths of a pixel; each box must have an area and meet the image."""
    expect_tensor(name, boxes, ndim=2, floating=True)
    expect_shape(name, boxes, (None, 4))
    expect_alike(**{name: boxes})
    x1, y1, x2, y2 = boxes.detach().double().cpu().unbind(1)
    meets = (x2 > x1) & (y2 > y1) & (x1 < image["width"]) & (y1 < image["height"])
    if not (meets & (x2 > 0) & (y2 > 0) & torch.isfinite(x1 + y1 + x2 + y2)).all():
        raise ValueError(
            f"{name}: expected boxes (x1, y1, x2, y2) with an area, in a picture of"
            f" {image['height']} x {image['width']} pixels, got {describe(boxes)}"
        )
    return [[round(x, 2) for x in box] for box in boxes.double().tolist()]
