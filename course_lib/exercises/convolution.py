"""The checks of the chapter `convolution`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib import convolution as conv
from course_lib.exercises import Case, Exercise, Mistake, draw, halves

# --- predict three sizes --------------------------------------------------------------------------

sizes = Exercise(
    label="ex-convolution-sizes",
    oracle=(112, 56, 52),
    hint="Take the three layers one after another, each on the size that the last one left.",
    mistakes=(
        Mistake(
            (113, 57, 53),
            "A division that does not come out even is rounded down: the kernel cannot take"
            " part of a step.",
        ),
        Mistake(
            (112.5, 56.75, 52.75),
            "A kernel stands at a place or it does not: round down after each layer.",
        ),
        Mistake(
            (111, 55, 50),
            "Count the first place too: a kernel that can move k times stands at k + 1 places.",
        ),
        Mistake((111, 55, 51), "Padding is added at both ends, so it counts twice."),
        Mistake(
            (112, 56, 54),
            "Dilation 2 spreads three taps over five pixels: put d (k - 1) where k - 1 stood.",
        ),
        Mistake(
            (112, 56, 51),
            "From the first to the last of k taps there are k - 1 steps, each of d pixels.",
        ),
    ),
)


# --- fill in the stride ---------------------------------------------------------------------------


def _strided(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    return conv.conv2d(image[None], kernel[None, None], stride=stride)[0]


def _strided_cases(generator: torch.Generator) -> Iterator[Case]:
    yield halves(generator, 4, 5), halves(generator, 2, 2), 2
    yield halves(generator, 5, 4), halves(generator, 2, 3), 1
    yield halves(generator, 9, 6), halves(generator, 3, 2), 4
    for _ in range(8):
        shape = draw(generator, 5, 9), draw(generator, 5, 9)
        kernel = draw(generator, 1, 3), draw(generator, 1, 3)
        yield halves(generator, *shape), halves(generator, *kernel), draw(generator, 1, 4)


def _unstrided(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    return _strided(image, kernel, 1)


def _strided_by_division(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """The right windows, but too few of them: (size - kernel) // stride places."""
    every = _strided(image, kernel, stride)
    return every[:-1, :-1]


def _strided_size_only(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """The size is right, but the window moves by one pixel."""
    height, width = _strided(image, kernel, stride).shape
    return _strided(image, kernel, 1)[:height, :width]


def _strided_place_only(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """The window moves by the stride, but the output keeps the size for stride 1."""
    output = torch.zeros_like(_strided(image, kernel, 1))
    right = _strided(image, kernel, stride)
    output[: right.shape[0], : right.shape[1]] = right
    return output


def _strided_scattered(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    """The loop counts pixels of the image, and stores where it reads."""
    output = torch.zeros_like(_strided(image, kernel, 1))
    output[::stride, ::stride] = _strided(image, kernel, stride)
    return output


def _strided_flipped(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    return _strided(image, kernel.flip(0, 1), stride)


strided = Exercise(
    label="ex-convolution-stride",
    oracle=_strided,
    cases=_strided_cases,
    hint="Write down, for stride 2, which pixel of the image is the corner of output (0, 1).",
    mistakes=(
        Mistake(_unstrided, "The stride is not used yet: this is right for stride 1 only."),
        Mistake(
            _strided_by_division,
            "One row and one column are missing: count the first place of the kernel too.",
        ),
        Mistake(
            _strided_size_only,
            "The size is right, but the window still moves one pixel at a time.",
        ),
        Mistake(
            _strided_place_only,
            "The window moves rightly, but the output is as large as for stride 1.",
        ),
        Mistake(
            _strided_scattered,
            "The windows are right, but their sums lie apart: place (y, x) of the output, not of"
            " the image, takes the next one.",
        ),
        Mistake(_strided_flipped, "The kernel is flipped: that is convolution, not correlation."),
    ),
)


# --- find the bug in a padded loop ----------------------------------------------------------------


def _padded(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    return conv.conv2d(image[None], kernel[None, None], padding=padding)[0]


def _padded_cases(generator: torch.Generator) -> Iterator[Case]:
    yield halves(generator, 3, 3), halves(generator, 3, 3), 1
    yield halves(generator, 3, 4), halves(generator, 2, 2), 0
    yield halves(generator, 4, 5), halves(generator, 3, 2), 3
    for _ in range(8):
        shape = draw(generator, 4, 7), draw(generator, 4, 7)
        kernel = draw(generator, 1, 4), draw(generator, 1, 4)
        yield halves(generator, *shape), halves(generator, *kernel), draw(generator, 0, 3)


def _padded_wrapping(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """Index -1 is the last pixel in Python, so the left border sees the right one."""
    p = padding
    wrapped = torch.zeros(image.shape[0] + 2 * p, image.shape[1] + 2 * p, dtype=image.dtype)
    wrapped[: image.shape[0] + p, : image.shape[1] + p] = image[torch.arange(-p, image.shape[0])][
        :, torch.arange(-p, image.shape[1])
    ]
    return _padded(wrapped, kernel, 0)


def _padded_circular(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    rows = torch.arange(-padding, image.shape[0] + padding) % image.shape[0]
    columns = torch.arange(-padding, image.shape[1] + padding) % image.shape[1]
    return _padded(image[rows][:, columns], kernel, 0)


def _padded_repeating(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    rows = torch.arange(-padding, image.shape[0] + padding).clamp(0, image.shape[0] - 1)
    columns = torch.arange(-padding, image.shape[1] + padding).clamp(0, image.shape[1] - 1)
    return _padded(image[rows][:, columns], kernel, 0)


def _padded_rows_only(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """Above the image is mended, left of it is not."""
    tall = torch.nn.functional.pad(image, (0, 0, padding, padding))
    width = image.shape[1]
    wide = torch.nn.functional.pad(tall[:, torch.arange(-padding, width)], (0, padding))
    return _padded(wide, kernel, 0)


def _padded_columns_only(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """Left of the image is mended, above it is not."""
    return _padded_rows_only(image.T, kernel.T, padding).T


def _padded_from_one(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """The test is ``0 < v``, so row 0 and column 0 count as outside."""
    inner = image.clone()
    inner[0, :], inner[:, 0] = 0, 0
    return _padded(inner, kernel, padding)


def _padded_one_end(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    right = _padded(image, kernel, padding)
    return right[: right.shape[0] - padding, : right.shape[1] - padding]


def _padded_unshifted(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """The output has grown, but the image was put into the padded corner, not the middle."""
    canvas = torch.zeros(
        image.shape[0] + 2 * padding, image.shape[1] + 2 * padding, dtype=image.dtype
    )
    canvas[: image.shape[0], : image.shape[1]] = image
    return _padded(canvas, kernel, 0)


padded = Exercise(
    label="ex-convolution-padding",
    oracle=_padded,
    cases=_padded_cases,
    hint="Follow the listing for output (0, 0) and padding 1: which pixels does it read?",
    mistakes=(
        Mistake(
            _padded_wrapping,
            "Pixels left of the image and above it still come from the far side: image[-1] is the"
            " last row.",
        ),
        Mistake(
            _padded_rows_only,
            "Above the image it is right now; left of it the same happens with columns.",
        ),
        Mistake(
            _padded_columns_only,
            "Left of the image it is right now; above it the same happens with rows.",
        ),
        Mistake(
            _padded_from_one,
            "Row 0 and column 0 belong to the image, but their pixels are not counted.",
        ),
        Mistake(
            _padded_circular,
            "The image still continues from its far side; the padding should be zeros.",
        ),
        Mistake(
            _padded_repeating,
            "The border pixel is repeated; that is a padding too, but here it should be zeros.",
        ),
        Mistake(
            _padded_one_end,
            "The padding must count at both ends when you compute the output's size.",
        ),
        Mistake(
            _padded_unshifted,
            "The image lies in the corner of the padded frame: shift the indices by the padding.",
        ),
    ),
)


# --- build an edge detector -----------------------------------------------------------------------


def _edges(image: Tensor) -> Tensor:
    return torch.hypot(_slope(image, "x"), _slope(image, "y"))


def _slope(image: Tensor, axis: str) -> Tensor:
    return conv.cross_correlate2d(image, conv.sobel_kernel(axis, dtype=image.dtype))


def _edges_cases(generator: torch.Generator) -> Iterator[Case]:
    """Images in single precision, as photographs are, so that a kernel fits without a dtype."""
    yield (torch.arange(4.0).expand(3, 4).clone(),)
    yield (torch.arange(4.0)[:, None].expand(4, 3).clone(),)
    for _ in range(6):
        yield (halves(generator, draw(generator, 3, 8), draw(generator, 3, 8)).float(),)


def _prewitt(image: Tensor) -> Tensor:
    kernel = torch.tensor([[-1.0, 0, 1]] * 3, dtype=image.dtype)
    return torch.hypot(
        conv.cross_correlate2d(image, kernel), conv.cross_correlate2d(image, kernel.T)
    )


edges = Exercise(
    label="ex-convolution-edges",
    oracle=_edges,
    cases=_edges_cases,
    hint="Two responses, one along each axis, are the sides of a right triangle at every pixel.",
    tolerance=1e-3,  # a little something under the root, for its slope at 0, is no mistake
    mistakes=(
        Mistake(
            lambda image: _slope(image, "x"),
            "This sees only brightness that changes from left to right.",
        ),
        Mistake(
            lambda image: _slope(image, "y"),
            "This sees only brightness that changes from top to bottom.",
        ),
        Mistake(
            lambda image: _slope(image, "x") + _slope(image, "y"),
            "Added with their signs, the two responses cancel on some diagonals.",
        ),
        Mistake(
            lambda image: _slope(image, "x").abs() + _slope(image, "y").abs(),
            "The sum of the two lengths is the way around the corner; take the hypotenuse.",
        ),
        Mistake(
            lambda image: _slope(image, "x") ** 2 + _slope(image, "y") ** 2,
            "This is the square of the magnitude: the root is missing.",
        ),
        Mistake(_prewitt, "Sobel's kernel weights the middle row twice; this one does not."),
        Mistake(
            lambda image: _edges(torch.nn.functional.pad(image, (1, 1, 1, 1))),
            "The border is padded here, which draws a frame that is not in the image.",
        ),
    ),
)


# --- count parameters and multiply-adds -----------------------------------------------------------


def _cost(
    in_channels: int, out_channels: int, kernel_size: int, output_size: tuple[int, int]
) -> tuple[int, int]:
    return (
        conv.conv_parameters(in_channels, out_channels, kernel_size),
        conv.conv_multiply_adds(in_channels, out_channels, kernel_size, output_size),
    )


def _cost_cases(generator: torch.Generator) -> Iterator[Case]:
    yield 1, 2, 3, (4, 5)
    for _ in range(8):
        yield (
            draw(generator, 2, 9),
            draw(generator, 2, 9),
            draw(generator, 2, 7),
            (draw(generator, 6, 30), draw(generator, 6, 30)),
        )


cost = Exercise(
    label="ex-convolution-cost",
    oracle=_cost,
    cases=_cost_cases,
    hint="Count for one output channel first: how many weights has its kernel, and how often is"
    " it applied?",
    mistakes=(
        Mistake(
            lambda c, o, k, size: (o * c * k * k, o * c * k * k * math.prod(size)),
            "The parameters lack the biases: one for each output channel.",
        ),
        Mistake(
            lambda c, o, k, size: (o * (k * k + 1), o * k * k * math.prod(size)),
            "A kernel is as deep as its input: it has weights for every input channel.",
        ),
        Mistake(
            lambda c, o, k, size: (o * c * (k * k + 1), o * c * k * k * math.prod(size)),
            "A bias belongs to an output channel, not to each pair of input and output.",
        ),
        Mistake(
            lambda c, o, k, size: (o * (c * k * k + 1), o * c * k * k),
            "The multiply-adds are those of one place only; the kernel visits every output pixel.",
        ),
        Mistake(
            lambda c, o, k, size: (
                o * (c * k * k + 1),
                o * (c * k * k + 1) * math.prod(size),
            ),
            "A bias is added and multiplies nothing, so it makes no multiply-add.",
        ),
        Mistake(
            lambda c, o, k, size: (o * (c * k * k + 1), 2 * o * c * k * k * math.prod(size)),
            "These are floating-point operations; a multiply-add is two of them, counted once.",
        ),
        Mistake(
            lambda c, o, k, size: (
                o * (c * k * k + 1) * math.prod(size),
                o * c * k * k * math.prod(size),
            ),
            "The same weights serve at every place, so their number does not grow with the image.",
        ),
        Mistake(
            lambda c, o, k, size: (o * (c * k + 1), o * c * k * math.prod(size)),
            "A kernel of size k has k rows and k columns.",
        ),
    ),
)


# --- a 1x1 convolution is a matrix product --------------------------------------------------------


def _pointwise(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return conv.conv2d(image, weight[:, :, None, None], bias)


def _pointwise_cases(generator: torch.Generator) -> Iterator[Case]:
    yield halves(generator, 1, 2, 1, 2), halves(generator, 3, 2), halves(generator, 3)
    for _ in range(6):
        images, channels, out_channels = (draw(generator, 2, 4) for _ in range(3))
        height, width = draw(generator, 2, 5), draw(generator, 2, 5)
        yield (
            halves(generator, images, channels, height, width),
            halves(generator, out_channels, channels),
            halves(generator, out_channels),
        )


def _pointwise_reshaped(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Reshape alone: the rows of the matrix are then no pixels."""
    images, channels, height, width = image.shape
    rows = image.reshape(-1, channels) @ weight.T + bias
    return rows.reshape(images, len(weight), height, width)


def _pointwise_half(image: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The way in is right, the way out is a reshape."""
    images, channels, height, width = image.shape
    rows = image.permute(0, 2, 3, 1).reshape(-1, channels) @ weight.T + bias
    return rows.reshape(images, len(weight), height, width)


pointwise = Exercise(
    label="ex-convolution-pointwise",
    oracle=_pointwise,
    cases=_pointwise_cases,
    hint="At one pixel, the channels are a vector; the layer multiplies it by the matrix.",
    mistakes=(
        Mistake(
            lambda image, weight, bias: _pointwise(image, weight, 0 * bias),
            "The bias is missing: one number, added at every pixel of its channel.",
        ),
        Mistake(
            _pointwise_reshaped,
            "A reshape does not move an axis: bring the channels to the end with permute or"
            " movedim first.",
        ),
        Mistake(
            _pointwise_half,
            "The product is right, but on the way back the channels must be moved to the second"
            " axis, not only reshaped.",
        ),
        Mistake(
            lambda image, weight, bias: _pointwise(image, weight, bias).permute(0, 2, 3, 1),
            "The channels stand last in your result; move them to the second axis.",
        ),
        Mistake(
            lambda image, weight, bias: (image.movedim(1, -1) @ weight + bias).movedim(-1, 1),
            "The matrix must be transposed: its rows belong to the outputs.",
        ),
    ),
)


# --- how deep must a stack be ---------------------------------------------------------------------

depths = Exercise(
    label="ex-convolution-depths",
    oracle=(31, 5),
    hint="Start from one pixel and write the field's size after each layer, until it reaches 63.",
    mistakes=(
        Mistake(
            (21, 5),
            "Two neighbouring 3 × 3 windows overlap, so a layer adds two pixels, not three.",
        ),
        Mistake((32, 6), "The field starts at one pixel, the unit itself, before the first layer."),
        Mistake(
            (31, 6),
            "Each dilated layer adds d pixels on either side, so 2 d in all.",
        ),
        Mistake(
            (31, 31),
            "A dilated layer adds 2 d pixels, and d doubles from layer to layer.",
        ),
    ),
)
