"""Figures to touch for the chapter on fusion: two photographs mixed, and one set into another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from course_lib.checking import describe, expect_shape, expect_tensor
from course_lib.figures import Figure, asset, encode_image, figure

__all__ = ["cross_fade", "mask_painter"]

_LEAST, _MOST = 16, 96  # pixels a side: more would make the page heavy
_LONGEST = 16  # characters of a name


def cross_fade(photos: Mapping[str, Tensor]) -> Figure:
    """Mix two photographs by an alpha, as stored numbers and as light, side by side.

    The mixtures are those of `course_lib.fusion.alpha_blend`, without and with ``linear``.

    Args:
        photos: two, by name, the first the one that alpha counts: ``Tensor[3, H, W]``, floating,
            stored sRGB in [0, 1], of one size from 16 to 96 pixels a side.
    Raises:
        TypeError: if a photograph is no floating tensor.
        ValueError: if there are not two, or a name, a size or a range is not as described.
    """
    return figure(
        "cross_fade",
        asset("cross_fade.js"),
        {"photos": _encode_pair(photos)},
        "Two photographs, mixed in two ways",
        "Move alpha. Click a pixel, or walk with the arrow keys, to read its values and to see it"
        " at every alpha.",
    )


def mask_painter(photos: Mapping[str, Tensor]) -> Figure:
    """Paint a mask, and see one photograph set into another by a cut, by scales, by gradients.

    The three are `torch.where`, `course_lib.fusion.pyramid_blend` and
    `course_lib.fusion.poisson_blend`, computed in the browser.

    Args:
        photos: two, by name, first the one that the mask takes from, then the one around it;
            as in `cross_fade`.
    Raises:
        TypeError, ValueError: as `cross_fade`.
    """
    return figure(
        "mask_painter",
        asset("mask_painter.js"),
        {"photos": _encode_pair(photos)},
        "Paint a mask, blend three ways",
        "Paint with the pointer; or focus the first picture, move the brush with the arrow keys"
        " and press Enter to paint.",
    )


def _encode_pair(photos: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    if len(photos) != 2:
        raise ValueError(f"photos: expected two, got {len(photos)}")
    for name, photo in photos.items():
        if not 1 <= len(name) <= _LONGEST:
            raise ValueError(
                f"photos: expected names of 1 to {_LONGEST} characters, got {describe(name)}"
            )
        expect_tensor(f"photos[{name!r}]", photo, ndim=3, floating=True)
    height, width = next(iter(photos.values())).shape[-2:]
    return [_encode(name, photo, (height, width)) for name, photo in photos.items()]


def _encode(name: str, photo: Tensor, size: tuple[int, int]) -> dict[str, Any]:
    label = f"photos[{name!r}]"
    expect_shape(label, photo, (3, *size))
    channels = [
        encode_image(channel, minimum=_LEAST, maximum=_MOST, name=label) for channel in photo
    ]
    return {"name": name, "channels": channels}
