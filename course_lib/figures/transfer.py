"""The figure to touch of the chapter on transfer: which pictures get a label."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.checking import describe, expect_shape, expect_tensor
from course_lib.figures import Figure, asset, encode_image, figure

__all__ = ["label_picker"]

MOST, WIDEST = 60, 96
LONGEST = 12


def label_picker(
    images: Tensor, features: Tensor, labels: Tensor, names: Sequence[str] = ("7", "8", "9")
) -> Figure:
    """Label a few pictures, and see how well the nearest class mean names the others.

    Twice: once with the pixels themselves, once with what a network makes of them. Both are shown
    in their two main directions too; the distances are those of all directions.

    Args:
        images: ``Tensor[N, 1, H, W]``, floating, in [0, 1]; 4 to 60 of them, of 4 to 20 pixels a
            side. The pixels are rounded to one of 256 shades.
        features: ``Tensor[N, F]``, floating, at most 96 wide; kept as float32.
        labels: ``Tensor[N]``, int64, each class at least twice. The first picture of each class has
            its label from the start.
        names: of the two to six classes, each of 1 to 12 characters.
    Raises:
        TypeError: if a dtype is wrong, or a name is no string.
        ValueError: if a shape, a range or a number of things is not as described.
    """
    expect_tensor("images", images, ndim=4, floating=True)
    count = len(images)
    if not 4 <= count <= MOST:
        raise ValueError(f"images: expected 4 to {MOST}, got {describe(images)}")
    expect_tensor("features", features, ndim=2, floating=True)
    expect_shape("features", features, (count, None))
    if not 1 <= features.shape[1] <= WIDEST or not features.isfinite().all():
        raise ValueError(f"features: expected 1 to {WIDEST} finite ones, got {describe(features)}")
    _expect_names(names)
    expect_tensor("labels", labels, ndim=1)
    expect_shape("labels", labels, (count,))
    if labels.dtype != torch.int64:
        raise TypeError(f"labels: expected torch.int64, got {describe(labels)}")
    classes = labels.tolist()
    for c in range(len(names)):
        if classes.count(c) < 2:
            raise ValueError(f"labels: expected each class twice or more, got {classes.count(c)}")
    if min(classes) < 0 or max(classes) >= len(names):
        raise ValueError(f"labels: expected classes below {len(names)}, got {max(classes)}")
    pictures = [encode_image(image, minimum=4, maximum=20, name="images") for image in images]
    pixels = (images.detach().flatten(1).double().cpu() * 255).round() / 255
    known = features.detach().float().cpu()
    data = {
        "names": list(names),
        "labels": classes,
        "pictures": pictures,
        "width": known.shape[1],
        "features": base64.b64encode(known.numpy().astype("<f4").tobytes()).decode("ascii"),
        "places": {"pixels": _flat(pixels), "features": _flat(known.double())},
        "begin": [classes.index(c) for c in range(len(names))],
    }
    return figure(
        "label_picker",
        asset("label_picker.js"),
        data,
        "Which pictures get a label?",
        "Tap a picture to label it or to take the label away; or focus the pictures, walk with the"
        " arrow keys and press Enter.",
    )


def _flat(rows: Tensor) -> list[list[float]]:
    """Coordinates in the two main directions, from 0 to 1 with one scale for both."""
    centred = rows - rows.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    wanted = directions[:2]
    place = centred @ wanted.T  # (N, 2), or (N, 1) of a single feature
    place = torch.nn.functional.pad(place, (0, 2 - place.shape[1]))
    low, high = place.amin(0), place.amax(0)
    scale = (high - low).max().clamp(min=1e-9)
    shown = (place - (low + high) / 2) / scale + 0.5
    return [[round(value, 4) for value in row] for row in shown.tolist()]


def _expect_names(names: Sequence[Any]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names: expected strings, got {describe(name)}")
        if not 1 <= len(name) <= LONGEST:
            raise ValueError(f"names: expected 1 to {LONGEST} characters, got {describe(name)}")
    if not 2 <= len(names) <= 6 or len(set(names)) != len(names):
        raise ValueError(f"names: expected two to six different ones, got {describe(names)}")
