"""A figure to touch for the chapter on background: how few numbers still make a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from course_lib.checking import expect_shape, expect_tensor
from course_lib.figures import Figure, asset, encode_image, figure

__all__ = ["pixel_budget"]

_SIDE = 72  # pixels; has many divisors


def pixel_budget(photos: Mapping[str, Tensor]) -> Figure:
    """Choose how many pixels and bits are kept of a photograph, and what is averaged for them.

    A pixel that is kept is the mean of a block, of the stored numbers or of the light, as in
    `course_lib.background.average_blocks` and `srgb_to_linear`, rounded as in `quantize`.

    Args:
        photos: one to three, by name: ``Tensor[3, 72, 72]``, floating, stored sRGB in [0, 1].
            A reader is to guess what they show: the names should not say it.
    Raises:
        TypeError: if a photograph is no floating tensor.
        ValueError: if there are none or too many, or a shape or a range is not as described.
    """
    if not 1 <= len(photos) <= 3:
        raise ValueError(f"photos: expected one to three, got {len(photos)}")
    data = {"photos": [_encode(name, photo) for name, photo in photos.items()]}
    return figure(
        "pixel_budget",
        asset("pixel_budget.js"),
        data,
        "How few pixels make a picture",
        "Add pixels until you know what you see. Click a pixel, or walk with the arrow keys, to see"
        " what it is the mean of.",
    )


def _encode(name: str, photo: Tensor) -> dict[str, Any]:
    label = f"photos[{name!r}]"
    expect_tensor(label, photo, ndim=3, floating=True)
    expect_shape(label, photo, (3, _SIDE, _SIDE))
    channels = [
        encode_image(channel, minimum=_SIDE, maximum=_SIDE, name=label) for channel in photo
    ]
    return {"name": name, "channels": channels}
