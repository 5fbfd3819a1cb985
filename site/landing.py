"""Make the picture of the landing page: one photograph, from numbers over edges to colours.

    .venv/bin/python site/landing.py

On the left the photograph's horizontal gradient, averaged over large squares and written as
numbers; then the same in ever smaller squares; on the right the photograph itself. All of it is
convolution: the gradient is Sobel's kernel, an average is a box kernel with a stride.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from course_lib import data
from course_lib.convolution import box_kernel, conv2d, sobel_kernel

PICTURE = Path(__file__).parent / "static" / "landing.png"

PHOTO = "chelsea"
HEIGHT, WIDTH = 288, 448
PIXEL = 3  # pixels of the picture for one of the photograph
SQUARES = (32, 16, 8, 4, 2, 1)  # the side of the squares, from left to right
COLUMNS = (0, 96, 144, 168, 188, 200, 232)  # where each side begins, and the last ends
FADE = 44  # columns over which edges become colours

NEGATIVE, ZERO, POSITIVE = (
    torch.tensor(c) / 255 for c in ((0, 114, 178), (250, 250, 250), (213, 94, 0))
)


def gradient(photo: Tensor) -> Tensor:
    """The horizontal gradient of the photograph's brightness, ``Tensor[1, H, W]`` in [-1, 1]."""
    grey = photo.mean(0, keepdim=True)
    padded = torch.nn.functional.pad(grey, (1, 1, 1, 1), mode="replicate")
    return conv2d(padded, sobel_kernel("x")[None, None] / 4)


def in_squares(image: Tensor, side: int) -> Tensor:
    """Average an image over squares of this side; ``Tensor[1, H / side, W / side]``."""
    return conv2d(image, box_kernel(side)[None, None], stride=side)


def coloured(response: Tensor) -> Tensor:
    """Colour a response: blue where it is negative, orange where positive; ``Tensor[3, H, W]``."""
    strength = (response.abs() * 5).clamp(max=1) ** 0.7
    ends = torch.where(response > 0, POSITIVE[:, None, None], NEGATIVE[:, None, None])
    return ZERO[:, None, None] * (1 - strength) + ends * strength


def compose(photo: Tensor) -> tuple[Tensor, list[tuple[float, float, int]]]:
    """Lay the stages side by side.

    Returns:
        the picture, ``Tensor[3, H, W]``, and the numbers to write: ``(x, y, number)``.
    """
    response = gradient(photo)
    picture, numbers = photo.clone(), []
    for side, first, last in zip(SQUARES, COLUMNS, COLUMNS[1:], strict=False):
        means = in_squares(response, side)
        stage = coloured(means).repeat_interleave(side, 1).repeat_interleave(side, 2)
        picture[:, :, first:last] = stage[:, :, first:last]
        if side == SQUARES[0]:
            for row in range(means.shape[1]):
                for column in range(first // side, last // side):
                    value = round(means[0, row, column].item() * 1000)
                    numbers.append(((column + 0.5) * side, (row + 0.5) * side, value))
    end = COLUMNS[-1]
    share = torch.linspace(0, 1, FADE)
    edges = coloured(response)[:, :, end : end + FADE]
    picture[:, :, end : end + FADE] = edges * (1 - share) + photo[:, :, end : end + FADE] * share
    return picture, numbers


def main() -> None:
    """Write the picture."""
    photo = data.photo(PHOTO)[:, 6 : 6 + HEIGHT, :WIDTH].flip(2)  # the face on the right
    picture, numbers = compose(photo)
    figure = Figure(figsize=(WIDTH * PIXEL / 100, HEIGHT * PIXEL / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    extent = (0, WIDTH, HEIGHT, 0)
    axes.imshow(picture.permute(1, 2, 0), interpolation="nearest", extent=extent, aspect="auto")
    for x, y, number in numbers:
        text = f"{number}".replace("-", "−")
        axes.text(x, y, text, ha="center", va="center", size=19, color="#1f2328")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    drawn = Image.open(buffer).convert("RGB")
    drawn.quantize(224, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(
        f"{PICTURE}: {drawn.width} × {drawn.height} pixels, {PICTURE.stat().st_size / 1024:.0f} KiB"
    )


if __name__ == "__main__":
    main()
