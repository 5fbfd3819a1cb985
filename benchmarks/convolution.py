"""What the chapter `convolution` times: layers of usual networks, and large kernels."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn import grad

from benchmarks.core import BACKWARD, FORWARD, Case, by, imported, normal, slow
from course_lib import convolution as conv

Shape = tuple[int, int, int, int]
_WHY = (
    "every window is copied before a matrix product, which alone takes about as long as the whole"
    " twin; that multiplies where the numbers lie"
)
_WHY_PRODUCT = (
    "the product is the same, by another library, and checks in Python cost a tenth of a"
    " millisecond"
)
_WHY_DEPTHWISE = (
    "each tap is a pass of its own through the cache; the twin keeps its sums in registers"
)


def _layer(name: str, images: Shape, weight: Shape, *at_most: float, **options: Any) -> Case:
    output = F.conv2d(
        torch.empty(images, device="meta"), torch.empty(weight, device="meta"), **options
    )
    return Case(
        "conv2d",
        f"{name} {by(weight)} on {by(images)}",
        partial(conv.conv2d, **options),
        partial(F.conv2d, **options),
        normal(images, weight),
        multiply_adds=output.numel() * torch.Size(weight[1:]).numel(),
        at_most=dict(zip((FORWARD, BACKWARD), at_most, strict=False)),
        why=_WHY_DEPTHWISE
        if options.get("groups") == images[1]
        else _WHY_PRODUCT
        if weight[2:] == (1, 1)
        else _WHY,
    )


def _transposed(images: Shape, weight: Shape, **options: Any) -> Case:
    return Case(
        "conv_transpose2d",
        f"{by(weight)} on {by(images)}",
        partial(conv.conv_transpose2d, **options),
        partial(F.conv_transpose2d, **options),
        normal(images, weight),
        multiply_adds=torch.Size(weight).numel() * images[0] * images[2] * images[3],
    )


def _gradients(images: Shape, weight: Shape) -> list[Case]:
    """Time the two gradients of a layer that keeps the size, on their own."""
    size, padding = f"{by(weight)} on {by(images)}", weight[-1] // 2
    signal = (images[0], weight[0], *images[2:])
    multiply_adds = torch.Size(weight).numel() * images[0] * images[2] * images[3]
    return [
        Case(
            "conv2d_input",
            size,
            partial(conv.conv2d_input, images, padding=padding),
            partial(grad.conv2d_input, images, padding=padding),
            normal(weight, signal),
            multiply_adds,
            directions=(FORWARD,),
        ),
        Case(
            "conv2d_weight",
            size,
            lambda images, signal: conv.conv2d_weight(images, weight, signal, padding=padding),
            lambda images, signal: grad.conv2d_weight(images, weight, signal, padding=padding),
            normal(images, signal),
            multiply_adds,
            directions=(FORWARD,),
        ),
    ]


def _large(kernel_size: int, channels: int) -> Case:
    """A kernel that keeps the size, by spectra beside the framework's direct sum."""
    images, weight = (1, channels, 128, 128), (channels, channels, kernel_size, kernel_size)
    return Case(
        "conv2d_fft",
        f"{by(weight)} on {by(images)}",
        partial(conv.conv2d_fft, padding=kernel_size // 2),
        partial(F.conv2d, padding=kernel_size // 2),
        normal(images, weight),
        directions=(FORWARD,),
        at_most={FORWARD: 0.30} if kernel_size == 31 else {},
        why="three quarters of the time go into the transforms, which take as long for a large"
        " kernel: only there they pay",
    )


def _separable(taps: int, library: str = "torch") -> Case:
    """Two passes, beside the framework's one pass with the whole kernel, or OpenCV's two."""
    images = (1, 3, 512, 512)

    def whole(photo: Tensor, column: Tensor, row: Tensor) -> Tensor:
        kernel = torch.outer(column, row).expand(images[1], 1, taps, taps)
        return F.conv2d(photo, kernel, padding=taps // 2, groups=images[1])

    return Case(
        "separable_conv2d",
        f"{taps} + {taps} taps on {by(images)}",
        partial(conv.separable_conv2d, padding=taps // 2),
        whole if library == "torch" else _separable_by_opencv,
        normal(images, (taps,), (taps,)),
        multiply_adds=torch.Size(images).numel() * 2 * taps,
        directions=(FORWARD,),
        library=library,
        why=_WHY_DEPTHWISE,
    )


def _separable_by_opencv(photo: Tensor, column: Tensor, row: Tensor) -> Tensor:
    import cv2

    taps = column.numpy(), row.numpy()
    colours = photo[0].permute(1, 2, 0).contiguous().numpy()
    blurred = cv2.sepFilter2D(colours, -1, taps[1], taps[0], borderType=cv2.BORDER_CONSTANT)
    return torch.from_numpy(blurred).permute(2, 0, 1)[None]


def _one_image(operation: str, side: int, kernel_size: int, library: str) -> Case:
    """One channel, one kernel; SciPy sums up directly too."""
    twins = {
        "cross_correlate2d": imported("scipy.signal", "correlate2d"),
        "convolve2d": imported("scipy.signal", "convolve2d"),
    }

    def by_scipy(image: Tensor, kernel: Tensor) -> Tensor:
        return torch.from_numpy(twins[operation](image.numpy(), kernel.numpy(), mode="valid"))

    def by_torch(image: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(image[None, None], kernel[None, None])[0, 0]

    return Case(
        operation,
        f"{kernel_size}×{kernel_size} on {side}×{side}",
        getattr(conv, operation),
        by_scipy if library == "SciPy" else by_torch,
        normal((side, side), (kernel_size, kernel_size)),
        multiply_adds=((side - kernel_size + 1) * kernel_size) ** 2,
        directions=(FORWARD,),
        library=library,
    )


def _gaussian(sigma: float) -> Case:
    size = 2 * math.ceil(3 * sigma) + 1
    twin = imported("kornia.filters", "get_gaussian_kernel2d")
    return Case(
        "gaussian_kernel",
        f"sigma {sigma:g}",
        lambda _: conv.gaussian_kernel(sigma),
        lambda _: twin((size, size), (sigma, sigma))[0],
        normal((1,)),
        directions=(FORWARD,),
        library="kornia",
    )


CASES = [
    _layer("tiny", (1, 1, 8, 8), (1, 1, 3, 3), padding=1),
    _layer("first", (64, 1, 28, 28), (16, 1, 3, 3), 1.35, 2.0, padding=1),
    _layer("3×3", (32, 16, 28, 28), (32, 16, 3, 3), 1.35, 2.0, padding=1),
    _layer("3×3", (8, 64, 56, 56), (64, 64, 3, 3), 1.35, 2.0, padding=1),
    _layer("3×3", (8, 128, 28, 28), (128, 128, 3, 3), 1.35, 2.0, padding=1),
    _layer("3×3", (8, 256, 14, 14), (256, 256, 3, 3), 1.35, 2.0, padding=1),
    _layer("stride 2", (8, 64, 56, 56), (128, 64, 3, 3), 1.35, 2.0, padding=1, stride=2),
    _layer("dilation 2", (8, 64, 28, 28), (64, 64, 3, 3), padding=2, dilation=2),
    _layer("32 groups", (8, 128, 28, 28), (128, 4, 3, 3), padding=1, groups=32),
    _layer("depthwise", (8, 32, 112, 112), (32, 1, 3, 3), 4.0, padding=1, groups=32),
    _layer("depthwise", (8, 128, 28, 28), (128, 1, 3, 3), 4.0, padding=1, groups=128),
    _layer("1×1", (8, 64, 56, 56), (256, 64, 1, 1), 1.0),
    _layer("1×1", (8, 256, 14, 14), (64, 256, 1, 1), 1.0),
    _layer("stem", (4, 3, 224, 224), (64, 3, 7, 7), padding=3, stride=2),
    _transposed((8, 64, 28, 28), (64, 64, 3, 3), padding=1),
    _transposed((8, 128, 14, 14), (128, 64, 4, 4), padding=1, stride=2),
    *_gradients((8, 64, 28, 28), (64, 64, 3, 3)),
    _large(7, channels=8),
    _large(15, channels=8),
    slow(_large(31, channels=8)),
    slow(_large(63, channels=1)),  # with eight, the twin takes half a minute
    _separable(9),
    slow(_separable(15)),
    _separable(15, "OpenCV"),
    _one_image("cross_correlate2d", 64, 3, "SciPy"),
    _one_image("cross_correlate2d", 512, 5, "SciPy"),
    _one_image("cross_correlate2d", 512, 5, "torch"),
    _one_image("convolve2d", 512, 5, "SciPy"),
    _gaussian(1),
    _gaussian(20),
]
