"""Figures to touch for the chapter on the R-CNN family: regions of a feature map, and anchors."""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.checking import describe, expect_shape, expect_tensor
from course_lib.figures import Figure, asset, encode_image, figure

__all__ = ["anchor_matcher", "region_pooler"]

MOST_BOXES = 6


def region_pooler(image: Tensor, features: Tensor, box: Tensor) -> Figure:
    """Drag a box over a feature map: RoI pooling snaps it to cells, RoI alignment does not.

    Below runs the curve of one pooled number of each over the place of the box.

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1], 64 to 160 pixels a
            side.
        features: ``Tensor[h, w]``, floating: the map, 4 to 20 cells a side, of cells as wide as
            they are high; rounded to hundredths.
        box: ``Tensor[4]``, ``(x1, y1, x2, y2)`` in pixels of the image, rounded to whole ones.
    Raises:
        TypeError: if a tensor is not floating.
        ValueError: if a size or a range is not as described, or the box is not in the image.
    """
    packed = encode_image(image, minimum=64, maximum=160)
    expect_tensor("features", features, ndim=2, floating=True)
    rows, columns = features.shape
    stride = packed["height"] / max(rows, 1)
    if not (4 <= rows <= 20 and 4 <= columns <= 20 and packed["width"] == stride * columns):
        raise ValueError(
            f"features: expected 4 to 20 square cells a side, over {packed['height']} x"
            f" {packed['width']} pixels, got {describe(features)}"
        )
    if not torch.isfinite(features).all():
        raise ValueError("features: expected finite numbers")
    (corners,) = _inside("box", box[None] if isinstance(box, Tensor) else box, packed)
    return figure(
        "region_pooler",
        asset("region_pooler.js"),
        {
            "image": packed,
            "features": [[round(x, 2) for x in row] for row in features.double().tolist()],
            "box": corners,
        },
        "Cut a box out of a feature map",
        "Drag the box or a corner, or use the arrow keys, one pixel at a time."
        " Which of the two follows you?",
    )


def anchor_matcher(image: Tensor, boxes: Tensor) -> Figure:
    """Lay anchors over a picture and see which of them match an object, and which objects none.

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1], 64 to 160 pixels a
            side.
        boxes: ``Tensor[M, 4]``, the objects, ``(x1, y1, x2, y2)``, 1 to 6 of them, rounded to
            whole pixels.
    Raises:
        TypeError: if a tensor is not floating.
        ValueError: if a size or a range is not as described, or a box is not in the image.
    """
    packed = encode_image(image, minimum=64, maximum=160)
    corners = _inside("boxes", boxes, packed)
    if not 1 <= len(corners) <= MOST_BOXES:
        raise ValueError(f"boxes: expected 1 to {MOST_BOXES}, got {len(corners)}")
    return figure(
        "anchor_matcher",
        asset("anchor_matcher.js"),
        {"image": packed, "boxes": corners},
        "Lay anchors over a picture",
        "Click a place or use the arrow keys; then change size, shape and spacing of the anchors."
        " Can you leave an object without any?",
    )


def _inside(name: str, boxes: Tensor, image: dict[str, int]) -> list[list[int]]:
    """The corners in whole pixels; each box must have an area and lie in the image."""
    expect_tensor(name, boxes, ndim=2, floating=True)
    expect_shape(name, boxes, (None, 4))
    whole = boxes.detach().double().cpu().round()
    x1, y1, x2, y2 = whole.unbind(1)
    fits = (x1 >= 0) & (y1 >= 0) & (x2 <= image["width"]) & (y2 <= image["height"])
    if not (fits & (x2 >= x1 + 4) & (y2 >= y1 + 4)).all():  # written so that NaN fails too
        raise ValueError(
            f"{name}: expected boxes (x1, y1, x2, y2) of at least 4 pixels a side, in a picture of"
            f" {image['height']} x {image['width']} pixels, got {describe(boxes)}"
        )
    return [[int(x) for x in box] for box in whole.tolist()]
