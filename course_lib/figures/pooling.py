"""The figure to touch for the chapter on pooling: a picture that moves under the windows."""

from __future__ import annotations

from torch import Tensor

from course_lib.figures import Figure, asset, encode_image, figure

__all__ = ["pooling_shift"]

MOVES = 16
"""Pixels by which the picture can move; so much of it waits at the left."""


def pooling_shift(image: Tensor) -> Figure:
    """Move a picture to the right under a pooling: does the output glide along, or jump?

    The output is that of ``blur_pool2d(max_pool2d(image, kernel, 1), taps, stride)`` or of the
    same with `avg_pool2d`, away from the border; one tap is no blur. What should glide is the
    unmoved output, interpolated between its pixels.

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1], 64 to 128 pixels a
            side; all but its first 16 columns are seen at first.
    Raises:
        TypeError: if ``image`` is not floating.
        ValueError: if its size or its range is not as described.
    """
    return figure(
        "pooling_shift",
        asset("pooling_shift.js"),
        {"image": encode_image(image, minimum=64, maximum=128), "moves": MOVES},
        "Move the picture pixel by pixel",
        "Play, drag a picture, or use the arrow keys: left and right move it, up and down "
        "change the stride.",
    )
