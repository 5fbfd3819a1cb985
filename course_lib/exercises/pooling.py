"""The checks of the chapter `pooling`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import pooling as pool
from course_lib.exercises import Case, Exercise, Mistake, draw, halves


def _maximum(image: Tensor, kernel_size: int, stride: int, padding: int = 0) -> Tensor:
    return pool.max_pool2d(image[None], kernel_size, stride, padding)[0]


# --- predict four sizes ---------------------------------------------------------------------------

sizes = Exercise(
    label="ex-pooling-sizes",
    oracle=(18, 4, 5, 3),
    hint="Are all four filled in? For each axis write down where the windows start, one stride"
    " apart, and count those that are allowed.",
    mistakes=(
        Mistake((18, 5, 5, 3), "Without ceil_mode a window that does not fit whole is left out."),
        Mistake((18, 4, 4, 3), "With ceil_mode pixels that are left over get a window too."),
        Mistake(
            (18, 4, 5, 4),
            "Does every window of the last axis start before the padding at the far end?",
        ),
        Mistake((17, 3, 4, 2), "Count the first window too: it stands there before any step."),
        Mistake((17, 4, 5, 3), "Padding is added at both ends, so it counts twice."),
        Mistake(
            (18, 4.5, 4.5, 11 / 3),
            "Windows come whole: where a division leaves a remainder, which way is it rounded?",
        ),
        Mistake((18, 4.5, 5, 3), "The second axis has no half window: which way is it rounded?"),
        Mistake((18, 4, 5, ...), "The last of the four numbers is still to be filled in."),
    ),
)


# --- fill in max pooling --------------------------------------------------------------------------


def _pooled_cases(generator: torch.Generator) -> Iterator[Case]:
    yield halves(generator, 4, 5), 2, 2
    yield halves(generator, 5, 3) - 10, 2, 1  # nothing but negative numbers
    yield halves(generator, 4, 4) - 1e6, 2, 2  # below any number that one would start from
    yield halves(generator, 7, 9), 2, 3
    for _ in range(8):
        k = draw(generator, 1, 3)
        shape = draw(generator, 5, 9), draw(generator, 5, 9)
        yield halves(generator, *shape), k, draw(generator, 1, 4)


def _by_unfolding(
    combine: Callable[[Tensor], Tensor],
) -> Callable[[Tensor, int, int], Tensor]:
    """Combine each window in some way: ``Tensor[oh, ow, kh, kw]`` to ``Tensor[oh, ow]``."""
    return lambda image, kernel_size, stride: combine(
        image.unfold(0, kernel_size, stride).unfold(1, kernel_size, stride)
    )


def _one_too_few(image: Tensor, kernel_size: int, stride: int) -> Tensor:
    return _maximum(image, kernel_size, stride)[:-1, :-1]


def _stride_in_size_only(image: Tensor, kernel_size: int, stride: int) -> Tensor:
    height, width = _maximum(image, kernel_size, stride).shape
    return _maximum(image, kernel_size, 1)[:height, :width]


pooled = Exercise(
    label="ex-pooling-pooled",
    oracle=_maximum,
    cases=_pooled_cases,
    hint="Take output (0, 1): which pixel is its window's upper left corner, and which its last?",
    mistakes=(
        Mistake(
            _by_unfolding(lambda windows: windows.amax((2, 3)).clamp(min=0)),
            "Where all pixels of a window are negative, your maximum is 0: what does it start"
            " from?",
        ),
        Mistake(
            _by_unfolding(lambda windows: windows.mean((2, 3))),
            "This is the average of each window.",
        ),
        Mistake(
            lambda image, kernel_size, stride: _maximum(image, kernel_size, kernel_size),
            "The windows move by their own size; the stride is not used.",
        ),
        Mistake(
            lambda image, kernel_size, stride: _maximum(image, kernel_size, 1),
            "The windows move by one pixel; the stride is not used.",
        ),
        Mistake(_stride_in_size_only, "The size is right, but the window moves by one pixel."),
        Mistake(
            _one_too_few,
            "One row and one column are missing: count the first window too.",
        ),
    ),
)


# --- find the bug in a padded maximum -------------------------------------------------------------


def _padded_cases(generator: torch.Generator) -> Iterator[Case]:
    yield -halves(generator, 3, 3).abs() - 0.5, 2, 2, 1
    yield halves(generator, 4, 5) - 1e6, 3, 2, 1  # below any number that one would think of
    yield halves(generator, 4, 6), 2, 1, 0
    for _ in range(8):
        k = draw(generator, 2, 4)
        shape = draw(generator, 4, 7), draw(generator, 4, 7)
        image = halves(generator, *shape) - draw(generator, 0, 6)
        yield image, k, draw(generator, 1, 3), draw(generator, 1, k // 2)


def _padded_with(value: float) -> Callable[[Tensor, int, int, int], Tensor]:
    return lambda image, kernel_size, stride, padding: _maximum(
        F.pad(image, (padding,) * 4, value=value), kernel_size, stride
    )


padded = Exercise(
    label="ex-pooling-padding",
    oracle=_maximum,
    cases=_padded_cases,
    hint="A pixel of the padding should never win. Which number is never larger than a pixel?",
    mistakes=(
        Mistake(
            _padded_with(0),
            "Zeros still win wherever a window at the border holds nothing but negative numbers.",
        ),
        Mistake(_padded_with(float("inf")), "Now the padding wins every time: mind the sign."),
        Mistake(
            lambda image, kernel_size, stride, padding: _maximum(image, kernel_size, stride),
            "The padding is gone, and with it the windows at the border.",
        ),
        Mistake(
            lambda image, kernel_size, stride, padding: _maximum(
                image.abs(), kernel_size, stride, padding
            ),
            "The sign of the pixels is lost: the largest number is asked for, not the largest"
            " size.",
        ),
    ),
)


# --- the gradient of the maximum ------------------------------------------------------------------


def _windows(image: Tensor, delta: Tensor, k: int, s: int) -> Iterator[tuple[Tensor, ...]]:
    """Each window's part of the image and of the gradient, and its delta."""
    gradient = torch.zeros_like(image)
    for y in range(delta.shape[0]):
        for x in range(delta.shape[1]):
            here = slice(y * s, y * s + k), slice(x * s, x * s + k)
            yield image[here], gradient[here], delta[y, x]
    yield gradient, gradient, gradient


def _shared_by(
    share: Callable[[Tensor], Tensor], *, add: bool = True
) -> Callable[[Tensor, Tensor, int, int], Tensor]:
    """Hand each delta to the pixels of its window in given shares, ``Tensor[k, k]``."""

    def gradient(image: Tensor, delta: Tensor, kernel_size: int, stride: int) -> Tensor:
        *windows, (result, _, _) = _windows(image, delta, kernel_size, stride)
        for pixels, place, signal in windows:
            weights = share(pixels)
            place.copy_(place + weights * signal if add else place.where(weights == 0, signal))
        return result

    return gradient


def _first(pixels: Tensor) -> Tensor:
    return F.one_hot((pixels == pixels.max()).flatten().int().argmax(), pixels.numel()).reshape(
        pixels.shape
    )


def _last(pixels: Tensor) -> Tensor:
    return _first(pixels.flip(0, 1)).flip(0, 1)


def _all(pixels: Tensor) -> Tensor:
    return (pixels == pixels.max()).double()


def _gradient(image: Tensor, delta: Tensor, kernel_size: int, stride: int) -> Tensor:
    leaf = image.clone().requires_grad_()
    output = _maximum(leaf, kernel_size, stride)
    return torch.autograd.grad(output, leaf, delta)[0]


def _gradient_cases(generator: torch.Generator) -> Iterator[Case]:
    """Few different numbers, so that some windows have more than one maximum."""
    tie = torch.tensor([[1.0, 2.0, 0.0, 3.0], [2.0, 0.5, 1.0, 0.0]], dtype=torch.float64)
    yield tie, torch.tensor([[1.0, -2.0]], dtype=torch.float64), 2, 2
    peak = torch.zeros(3, 3, dtype=torch.float64)
    peak[1, 1] = 1
    yield peak, torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64), 2, 1
    for _ in range(8):
        k, s = draw(generator, 2, 3), draw(generator, 1, 3)
        shape = draw(generator, 5, 8), draw(generator, 5, 8)
        image = torch.randint(0, 4, shape, generator=generator).double() / 2
        size = [(n - k) // s + 1 for n in shape]
        signal = torch.randint(1, 9, size, generator=generator).double() / 2
        yield image, signal, k, s


gradient = Exercise(
    label="ex-pooling-gradient",
    oracle=_gradient,
    cases=_gradient_cases,
    hint="Follow one number of delta back: it goes to one pixel of its window, and is added there.",
    mistakes=(
        Mistake(
            _shared_by(_all),
            "Where two pixels are equally large, both get the whole gradient: only the first"
            " should.",
        ),
        Mistake(
            _shared_by(lambda pixels: _all(pixels) / _all(pixels).sum()),
            "Where pixels are equally large you share the gradient out: the first gets all of it.",
        ),
        Mistake(_shared_by(_last), "Of several equal pixels you take the last."),
        Mistake(
            _shared_by(_first, add=False),
            "A pixel can win in two windows that overlap; then it gets the sum.",
        ),
        Mistake(
            _shared_by(lambda pixels: torch.ones_like(pixels) / pixels.numel()),
            "This is the gradient of the average.",
        ),
        Mistake(
            _shared_by(torch.ones_like),
            "Every pixel of the window gets the gradient; only the maximum should.",
        ),
        Mistake(
            lambda image, delta, kernel_size, stride: _gradient(
                image, torch.ones_like(delta), kernel_size, stride
            ),
            "The winners are right, but each gets 1: where does delta come in?",
        ),
    ),
)


# --- what pooling saves ---------------------------------------------------------------------------

savings = Exercise(
    label="ex-pooling-savings",
    oracle=(1168, 1168, 163_850, 40_970),
    hint="Which of the two layers has weights for each place of the picture, and which uses the"
    " same weights everywhere?",
    mistakes=(
        Mistake((1168, 1168, 163_840, 40_960), "The last layer has ten biases too."),
        Mistake(
            (1168, 163_850, 1168, 40_970),
            "The order is: convolution without and with pooling, last layer without and with.",
        ),
        Mistake(
            (1168, 292, 163_850, 40_970),
            "A convolution uses the same weights at every place: on how many places does their"
            " number depend?",
        ),
        Mistake(
            (1168, 1168, 163_850, 81_930),
            "The picture is halved along both axes.",
        ),
        Mistake(
            (1168, 1168, 163_850, 163_850),
            "After flattening, the last layer has a weight for every number of the picture.",
        ),
        Mistake(
            (1152, 1152, 163_840, 40_960),
            "The biases are missing: one for each output channel, and one for each class.",
        ),
        Mistake(
            (1168, 1168, 10_250, 2_570),
            "Flattening keeps the channels: each place has 16 numbers.",
        ),
    ),
)


# --- max pooling without aliasing -----------------------------------------------------------------


def _smooth_maximum(images: Tensor) -> Tensor:
    return pool.blur_pool2d(pool.max_pool2d(images, 3, 1), 5, 3)


def _smooth_cases(generator: torch.Generator) -> Iterator[Case]:
    yield (halves(generator, 1, 1, 10, 9).float(),)
    for _ in range(6):
        shape = [draw(generator, *ends) for ends in ((1, 2), (1, 3), (9, 13), (9, 13))]
        yield (halves(generator, *shape).float(),)


def _smooth_with_border(mode: str) -> Callable[[Tensor], Tensor]:
    """The right answer but for its border, in one of the modes of ``F.pad``."""
    return lambda images: pool.blur_pool2d(
        F.pad(pool.max_pool2d(images, 3, 1), (2,) * 4, mode=mode), 5, 1
    )[..., 2:-2:3, 2:-2:3]


smooth = Exercise(
    label="ex-pooling-smooth",
    oracle=_smooth_maximum,
    cases=_smooth_cases,
    hint="Which of the two steps makes the picture smaller? The other must come before it, and"
    " look at every place.",
    mistakes=(
        Mistake(
            lambda images: pool.max_pool2d(images, 3),
            "This is plain max pooling: nothing smooths before pixels are dropped.",
        ),
        Mistake(
            lambda images: pool.blur_pool2d(pool.max_pool2d(images, 3), 5, 1),
            "The maximum drops eight outputs of nine before the blur sees them.",
        ),
        Mistake(
            lambda images: pool.blur_pool2d(pool.max_pool2d(images, 3), 5, 3),
            "Both steps have stride 3, so the picture gets nine times smaller.",
        ),
        Mistake(
            lambda images: pool.max_pool2d(pool.blur_pool2d(images, 5, 1), 3),
            "The blur comes first here, so nothing smooths the maxima before they are dropped.",
        ),
        Mistake(
            lambda images: pool.max_pool2d(pool.blur_pool2d(images, 5, 3), 3, 1),
            "The blur drops pixels before the maximum has seen them.",
        ),
        Mistake(
            lambda images: pool.blur_pool2d(images, 5, 3),
            "The blur alone: the maximum is missing.",
        ),
        *(
            Mistake(
                lambda images, taps=taps: pool.blur_pool2d(pool.max_pool2d(images, 3, 1), taps, 3),
                f"The blur has {taps} taps; five are asked for.",
            )
            for taps in (2, 3, 4, 6)
        ),
        Mistake(
            lambda images: pool.blur_pool2d(pool.max_pool2d(images, 2, 1), 5, 3),
            "The windows of the maximum are 2 × 2; they should be 3 × 3.",
        ),
        Mistake(
            lambda images: pool.blur_pool2d(pool.max_pool2d(images, 3, 1), 5, 2),
            "The stride is 2; the pooling that you replace has another.",
        ),
        Mistake(
            lambda images: pool.blur_pool2d(pool.max_pool2d(images, 2, 1)),
            "This is the example of the text: here the windows, the taps and the stride differ.",
        ),
        Mistake(
            _smooth_with_border("replicate"),
            "All is right but the border: there the edge pixel counts again.",
        ),
        Mistake(
            _smooth_with_border("constant"),
            "All is right but the border: there the blur takes in zeros.",
        ),
    ),
)
