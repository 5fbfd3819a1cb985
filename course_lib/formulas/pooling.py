"""The equations of the chapter `pooling`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import pooling as pool
from course_lib.formulas.entry import Formula, Pairs, Sense, Symbols, normal, number


def _cases(
    generator: torch.Generator, device: torch.device, *, dilated: bool = False
) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Pictures and the options of a pooling."""
    for _ in range(20):
        kh, kw = number(generator, 1, 4), number(generator, 1, 4)
        options = {
            "kernel_size": (kh, kw),
            "stride": (number(generator, 1, 4), number(generator, 1, 4)),
            "padding": (number(generator, 0, kh // 2), number(generator, 0, kw // 2)),
            "ceil_mode": number(generator, 0, 1) == 1,
        }
        if dilated:
            options["dilation"] = number(generator, 1, 2)
        size = number(generator, 8, 12), number(generator, 8, 12)
        yield normal(generator, device, 2, 3, *size), options


def _maximum(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for images, options in _cases(generator, device, dilated=True):
        yield pool.max_pool2d(images, **options), F.max_pool2d(images, **options)


def _average(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for images, options in _cases(generator, device):
        options["count_include_pad"] = number(generator, 0, 1) == 1
        yield pool.avg_pool2d(images, **options), F.avg_pool2d(images, **options)


def _size(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for images, options in _cases(generator, device, dilated=True):
        options["ceil_mode"] = True
        dilation = options["dilation"]
        sizes = [
            pool.pool_output_size(n, k, s, p, dilation, ceil_mode=True)
            for n, k, s, p in zip(
                images.shape[2:],
                *(options[name] for name in ("kernel_size", "stride", "padding")),
                strict=True,
            )
        ]
        yield torch.tensor(sizes), torch.tensor(F.max_pool2d(images, **options).shape[2:])


def _gradient(
    function: Callable[..., Tensor], images: Tensor, signal: Tensor, options: dict[str, Any]
) -> Tensor:
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(function(leaf, **options), leaf, signal)
    return gradient


def _gradient_pairs(ours: Callable[..., Any], twin: Callable[..., Tensor]) -> Pairs:
    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        for images, options in _cases(generator, device):
            images = images.round()  # many equal numbers, so that maxima are tied
            signal = normal(generator, device, *twin(images, **options).shape)
            yield (
                _gradient(ours, images, signal, options),
                _gradient(twin, images, signal, options),
            )

    return pairs


def _adaptive(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for images, _ in _cases(generator, device):
        size = number(generator, 1, 14), number(generator, 1, 14)
        yield pool.adaptive_avg_pool2d(images, size), F.adaptive_avg_pool2d(images, size)


def _bounds(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Ask torch's average which pixels each of its outputs depends on."""
    for _ in range(20):
        size, windows = number(generator, 1, 20), number(generator, 1, 20)
        line = torch.eye(size, dtype=torch.float64, device=device)[:, None]  # one pixel at a time
        weights = F.adaptive_avg_pool1d(line, windows)[:, 0]  # (size, windows)
        bounds = pool.adaptive_bounds(size, windows)
        for window, (first, after) in enumerate(bounds):
            seen = weights[:, window].nonzero()[:, 0]
            yield torch.tensor([first, after]), torch.stack([seen.min(), seen.max() + 1])
    yield from _adaptive(generator, device)


def _norm(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for images, options in _cases(generator, device):
        p = 1 + 4 * torch.rand((), generator=generator).item()
        given = images.abs(), p, options["kernel_size"], options["stride"]
        yield pool.lp_pool2d(*given), F.lp_pool2d(*given)


def _unpool(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for images, options in _cases(generator, device):
        kernel, size = options["kernel_size"], images.shape[2:]
        values, indices = F.max_pool2d(images, kernel, return_indices=True)
        yield (
            pool.max_unpool2d(values, indices, kernel, output_size=size),
            F.max_unpool2d(values, indices, kernel, output_size=size),
        )


def _subsampled(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for images, options in _cases(generator, device):
        kernel, (sh, sw) = options["kernel_size"], options["stride"]
        every = F.max_pool2d(images, kernel, stride=1)
        yield pool.max_pool2d(images, kernel, (sh, sw)), every[..., ::sh, ::sw]


def _moved(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Move a picture by two strides, and the output of the other one by two pixels."""
    for _ in range(20):
        k, s = number(generator, 1, 4), number(generator, 1, 4)
        wide = normal(generator, device, 1, 2, 8, 8 + 6 * s)
        here, there = wide[..., 2 * s :], wide[..., : -2 * s]
        ours, theirs = pool.max_pool2d(there, k, s), F.max_pool2d(here, k, s)
        yield ours[..., 2:], theirs[..., : ours.shape[-1] - 2]


def _binomial(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    import numpy as np

    for size in range(1, 12):
        taps = np.poly1d([0.5, 0.5]) ** (size - 1)  # the average of two neighbours, again and again
        ours = pool.binomial_kernel(size, dtype=torch.float64, device=device)
        yield ours, torch.from_numpy(np.atleast_1d(taps.coeffs).astype(float))


def _blur(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for images, options in _cases(generator, device):
        size, channels = number(generator, 1, 7), images.shape[1]
        row = torch.ones(1, dtype=torch.float64, device=device)
        for _ in range(size - 1):
            row = (F.pad(row, (0, 1)) + F.pad(row, (1, 0))) / 2
        bank = torch.outer(row, row).expand(channels, 1, size, size)
        before, after = (size - 1) // 2, size // 2
        mirrored = F.pad(images, (before, after, before, after), mode="reflect")
        yield (
            pool.blur_pool2d(images, size, options["stride"]),
            F.conv2d(mirrored, bank, stride=options["stride"], groups=channels),
        )


def _response(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    frequency = torch.linspace(0, 0.5, 65, dtype=torch.float64, device=device)
    for size in range(1, 12):
        kernel = pool.binomial_kernel(size, dtype=torch.float64, device=device)
        yield pool.binomial_response(frequency, size), torch.fft.rfft(kernel, 128).abs()


FORMULAS: tuple[Formula, ...] = (
    Formula(
        "pooling-max",
        "Max pooling: the largest number of every window",
        "course_lib.pooling.max_pool2d",
        "torch.nn.functional.max_pool2d",
        _maximum,
    ),
    Formula(
        "pooling-average",
        "Average pooling: the mean of every window",
        "course_lib.pooling.avg_pool2d",
        "torch.nn.functional.avg_pool2d",
        _average,
    ),
    Formula(
        "pooling-size",
        "How many windows there are with ceil_mode",
        "course_lib.pooling.pool_output_size",
        "the shape that torch.nn.functional.max_pool2d returns",
        _size,
    ),
    Formula(
        "pooling-grad-max",
        "Gradient of the maximum: the winner takes it all",
        "course_lib.pooling.max_pool2d",
        "automatic differentiation of torch.nn.functional.max_pool2d",
        _gradient_pairs(pool.max_pool2d, F.max_pool2d),
    ),
    Formula(
        "pooling-grad-average",
        "Gradient of the average: every pixel gets its share",
        "course_lib.pooling.avg_pool2d",
        "automatic differentiation of torch.nn.functional.avg_pool2d",
        _gradient_pairs(pool.avg_pool2d, F.avg_pool2d),
    ),
    Formula(
        "pooling-lp",
        "Lp pooling: the length of every window",
        "course_lib.pooling.lp_pool2d",
        "torch.nn.functional.lp_pool2d",
        _norm,
    ),
    Formula(
        "pooling-adaptive",
        "The windows of adaptive pooling",
        "course_lib.pooling.adaptive_bounds",
        "the pixels on which torch.nn.functional.adaptive_avg_pool1d depends, and the 2-D averages",
        _bounds,
    ),
    Formula(
        "pooling-unpool",
        "Unpooling: every maximum back to its place",
        "course_lib.pooling.max_unpool2d",
        "torch.nn.functional.max_unpool2d",
        _unpool,
    ),
    Formula(
        "pooling-subsample",
        "A stride keeps every so-manieth output of the dense pooling",
        "course_lib.pooling.max_pool2d",
        "torch.nn.functional.max_pool2d with stride 1, and slices",
        _subsampled,
    ),
    Formula(
        "pooling-equivariance",
        "Move the picture by whole strides, and the output moves by whole pixels",
        "course_lib.pooling.max_pool2d",
        "torch.nn.functional.max_pool2d of the unmoved picture",
        _moved,
    ),
    Formula(
        "pooling-binomial",
        "The weights of the blur: a row of Pascal's triangle",
        "course_lib.pooling.binomial_kernel",
        "powers of the polynomial (1 + x) / 2, by NumPy",
        _binomial,
    ),
    Formula(
        "pooling-blur",
        "The blur pool: smooth first, then stride",
        "course_lib.pooling.blur_pool2d",
        "torch.nn.functional.conv2d on a mirrored picture",
        _blur,
    ),
    Formula(
        "pooling-response",
        "What share of a wave the blur lets through",
        "course_lib.pooling.binomial_response",
        "torch.fft.rfft of the weights",
        _response,
    ),
)

SYMBOLS: Symbols = {
    "a": "by how many outputs a picture that moved by whole strides moves",
    "a_{n,c}": "where the largest pixel of a window lies",
    "a_y": "where an adaptive window begins",
    "e_y": "the first place behind an adaptive window",
    "b": "binomial weights",
    "c": "which channel",
    "D": "by what the sum over a window is divided",
    "d": "dilation: pixels from one tap to the next",
    r"\delta": "how the loss changes with each output",
    "f": "how many cycles per pixel a wave has",
    "G_k": "the share of a wave that a binomial blur of $k$ taps leaves",
    "h": "how far a blur reaches to the left and up, in pixels",
    "i": "row of a tap in the kernel",
    "j": "column of a tap in the kernel",
    "k": "how many taps a kernel has along an axis",
    "L": "the loss",
    r"\ell": "how many pixels a picture has along an axis",
    "m": "how many places or windows there are along an axis",
    "m'": "how many windows there are before one that sees nothing is left out",
    "n": "which picture of the batch",
    "P": "a pooling, with its stride below it",
    "p": "padding: rows and columns added at each side",
    "q": "the exponent of a norm",
    "R": "the pixels of a window that lie inside the picture",
    "s": "stride: pixels from one place of the kernel to the next",
    "T": (
        Sense(
            "a move to the left, by as many pixels as stand above it",
            "by $t$ pixels: $(T^{\\,t} X)(y, x) = X(y, x + t)$",
            ("pooling-equivariance",),
        ),
        Sense("the wanted outputs", "here $T$ is no move"),
    ),
    "v": "row of a pixel of the larger picture",
    "u": "column of a pixel of the larger picture",
    "W": (
        Sense("the width of a picture", "images with $C$ channels of $H \\times W$ pixels"),
        Sense("the weights of a layer", "and $W$ no width"),
    ),
    "X": "what goes into a layer",
    r"\hat X": "what goes into a layer, mirrored at its borders",
    "Y": "what comes out of a layer",
    "y": "row of a place, counted from 0",
    "x": "column of a place, counted from 0",
    "Z": "a picture with each maximum back in its place, and else 0",
}
"""What the symbols of the chapter mean; see `Symbols`."""
