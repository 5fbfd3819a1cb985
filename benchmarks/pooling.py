"""What the chapter `pooling` times: the layers of usual networks, in both memory layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.core import BACKWARD, FORWARD, Case, by
from course_lib import pooling as pool

Shape = tuple[int, int, int, int]


def _blurred(images: Tensor) -> Tensor:
    """The blur pool by the framework: mirror, then a strided convolution, channel by channel."""
    taps = torch.tensor([0.25, 0.5, 0.25], device=images.device)
    bank = torch.outer(taps, taps).expand(images.shape[1], 1, 3, 3)
    mirrored = F.pad(images, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(mirrored, bank, stride=2, groups=images.shape[1])


def _indices(function: Callable[..., Any], images: Tensor, **options: Any) -> Tensor:
    return function(images, return_indices=True, **options)[1]


TWINS: dict[str, tuple[Callable[..., Any], Callable[..., Tensor]]] = {
    "max_pool2d": (pool.max_pool2d, F.max_pool2d),
    "avg_pool2d": (pool.avg_pool2d, F.avg_pool2d),
    "adaptive_avg_pool2d": (pool.adaptive_avg_pool2d, F.adaptive_avg_pool2d),
    "global_avg_pool2d": (pool.global_avg_pool2d, partial(F.adaptive_avg_pool2d, output_size=1)),
    "global_max_pool2d": (pool.global_max_pool2d, partial(F.adaptive_max_pool2d, output_size=1)),
    "lp_pool2d": (pool.lp_pool2d, F.lp_pool2d),
    "max_pool2d with indices": (
        partial(_indices, pool.max_pool2d),
        partial(_indices, F.max_pool2d),
    ),
    "blur_pool2d": (pool.blur_pool2d, _blurred),
}


def _case(
    operation: str,
    name: str,
    shape: Shape,
    *at_most: float,
    channels_last: bool = False,
    **options: Any,
) -> Case:
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.randn(shape, generator=generator).contiguous(memory_format=layout),)

    ours, twin = TWINS[operation]
    return Case(
        operation,
        f"{name} on {by(shape)}{', channels last' if channels_last else ''}",
        partial(ours, **options),
        partial(twin, **options),
        inputs,
        at_most=dict(zip((FORWARD, BACKWARD), at_most, strict=False)),
        why=_WHY.get(operation, ""),
    )


def _forward(*arguments: Any, **options: Any) -> Case:
    return replace(_case(*arguments, **options), directions=(FORWARD,))


def _unpooling(shape: Shape) -> Case:
    """Back to the whole size, to the places where the maxima were found."""

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        images = torch.randn(shape, generator=generator)
        return F.max_pool2d(images, 2, return_indices=True)

    return Case(
        "max_unpool2d",
        f"2×2 to {by(shape)}",
        partial(pool.max_unpool2d, kernel_size=2),
        partial(F.max_unpool2d, kernel_size=(2, 2)),
        inputs,
    )


def _halving(operation: str, nchw: tuple[float, ...]) -> list[Case]:
    """Windows of 2×2, stride 2, in both layouts; with the ratios to reach in the usual one."""
    return [
        *(_case(operation, "2×2 stride 2", shape, *nchw, kernel_size=2) for shape in SHAPES),
        *(
            _case(operation, "2×2 stride 2", shape, 1.0, channels_last=True, kernel_size=2)
            for shape in SHAPES
        ),
    ]


_WHY: dict[str, str | dict[str, str]] = {
    "adaptive_avg_pool2d": {
        BACKWARD: "where the windows overlap, each of seven rows of them fills a gradient as large"
        " as the picture, and these are added up; the twin adds in place"
    },
    "blur_pool2d": {
        BACKWARD: "adding up the gradients of windows that overlap takes two thirds of the time;"
        " the twin's convolution adds in place"
    },
    "avg_pool2d": "the sums down each window, those across and the division are three passes, and"
    " the first alone reads all that the twin reads",
    "max_pool2d": "it passes over memory twice, down each window and across; in the backward pass"
    " it looks for the first maximum tap by tap, where the twin wrote down its place",
}
SHAPES: list[Shape] = [(64, 16, 28, 28), (16, 64, 56, 56), (16, 256, 28, 28)]

CASES = [
    _case("max_pool2d", "tiny 2×2", (1, 1, 8, 8), kernel_size=2),
    *_halving("max_pool2d", (0.15, 1.5)),
    _case("max_pool2d", "3×3 stride 2", (8, 64, 112, 112), kernel_size=3, stride=2, padding=1),
    _case("max_pool2d", "5×5 stride 1", (4, 256, 28, 28), kernel_size=5, stride=1, padding=2),
    *_halving("avg_pool2d", (0.15,)),
    _case("avg_pool2d", "3×3 stride 2", (8, 64, 112, 112), kernel_size=3, stride=2, padding=1),
    _case("adaptive_avg_pool2d", "to 7×7", (16, 64, 56, 56), output_size=7),
    _case("adaptive_avg_pool2d", "to 7×7", (16, 64, 50, 50), output_size=7),
    _case("adaptive_avg_pool2d", "to 2×2", (1, 1, 8, 8), output_size=2),
    _case("global_avg_pool2d", "to 1×1", (16, 512, 7, 7)),
    _case("global_max_pool2d", "to 1×1", (16, 512, 7, 7)),
    _case("lp_pool2d", "2×2, p = 2", (1, 1, 8, 8), norm_type=2, kernel_size=2),
    _case("lp_pool2d", "2×2, p = 2", (16, 64, 56, 56), norm_type=2, kernel_size=2),
    _forward("max_pool2d with indices", "2×2", (16, 64, 56, 56), kernel_size=2),
    _unpooling((1, 1, 8, 8)),
    _unpooling((16, 64, 56, 56)),
    _case("blur_pool2d", "3×3 stride 2", (16, 64, 56, 56)),
]
