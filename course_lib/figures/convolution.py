"""Figures to touch for the chapter on convolution: the kernel's walk, the field, the scales."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib import convolution as conv
from course_lib.checking import describe, expect_shape, expect_tensor
from course_lib.figures import Figure, asset, encode_image, figure

__all__ = ["kernel_stepper", "receptive_field", "scale_space"]


def kernel_stepper(image: Tensor, kernels: Mapping[str, Tensor] | None = None) -> Figure:
    """Step a kernel over a small picture: the window, the products, the sum, the growing output.

    Pixels are rounded to hundredths, so that a reader can redo the arithmetic exactly.

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1], 16 to 40 pixels a side.
        kernels: names and ``Tensor[3, 3]`` or ``Tensor[5, 5]``; the first is shown first.
            ``None`` offers the classic kernels in both sizes. The reader can edit every one.
    Raises:
        TypeError: if a tensor is not floating.
        ValueError: if a size or a range is not as described.
    """
    if kernels is None:
        named, first = _classic_kernels(), "Sobel x"
    else:
        if not kernels:
            raise ValueError("kernels: expected at least one, got none")
        for name, kernel in kernels.items():
            expect_tensor(f"kernels[{name!r}]", kernel, ndim=2, floating=True)
            size = 5 if kernel.shape[0] == 5 else 3
            expect_shape(f"kernels[{name!r}]", kernel, (size, size))
        named, first = list(kernels.items()), next(iter(kernels))
    data = {
        "image": encode_image(image, minimum=16, maximum=40, levels=100),
        "kernels": [_as_fractions(name, kernel) for name, kernel in named],
        "start": first,
    }
    return figure(
        "kernel_stepper",
        asset("kernel_stepper.js"),
        data,
        "Step a kernel over a photograph",
        "Click either picture, drag, or use the arrow keys. Every weight can be edited.",
    )


def receptive_field(image: Tensor | None = None) -> Figure:
    """Stack layers and see which pixels of the input one output unit depends on.

    The layers have no padding. Each adds ``(k − 1) · d · j`` to the field's size r and multiplies
    the jump j by its stride s, as in `course_lib.convolution.receptive_field`.

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1], 32 to 96 pixels a
            side; ``None`` shows a plain grid of 64 × 64.
    Raises:
        TypeError: if ``image`` is not floating.
        ValueError: if its size or its range is not as described.
    """
    data = {
        "image": None if image is None else encode_image(image, minimum=32, maximum=96),
        "size": 64,
    }
    return figure(
        "receptive_field",
        asset("receptive_field.js"),
        data,
        "What one output unit sees",
        "Change the layers, add some, and move the output unit.",
    )


def scale_space(image: Tensor) -> Figure:
    """Look for edges with Gaussian derivatives of any width σ, and see which of them survive.

    The derivatives carry the factor σ, so that one threshold serves every scale (Lindeberg,
    Edge detection and ridge detection with automatic scale selection, 1998, with γ = 1).
    The diagram of edges over scale is Witkin's (Scale-space filtering, 1983).

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1], 64 to 192 pixels a
            side.
    Raises:
        TypeError: if ``image`` is not floating.
        ValueError: if its size or its range is not as described.
    """
    return figure(
        "scale_space",
        asset("scale_space.js"),
        {"image": encode_image(image, minimum=64, maximum=192)},
        "Edges at the scale you choose",
        "Widen the filter beyond σ = 2 and see fine edges vanish. "
        "Raise the stride to keep fewer outputs.",
    )


def _classic_kernels() -> list[tuple[str, Tensor]]:
    """The classic kernels of size 3 and 5; the blurs are binomial, with whole weights."""
    small = {
        "identity": conv.identity_kernel(3),
        "box blur": conv.box_kernel(3),
        "Gaussian blur": _blur(3),
        "sharpen": conv.sharpen_kernel(),
        "Sobel x": conv.sobel_kernel("x"),
        "Sobel y": conv.sobel_kernel("y"),
        "Laplacian": conv.laplacian_kernel(),
    }
    smooth, slope = _binomial(4), _central_difference(_binomial(2))
    bend = _central_difference(_central_difference(_binomial(0)))  # 1, 0, −2, 0, 1
    identity, blur = conv.identity_kernel(5), _blur(5)
    large = {
        "identity": identity,
        "box blur": conv.box_kernel(5),
        "Gaussian blur": blur,
        "sharpen": 2 * identity - blur,
        "Sobel x": torch.outer(smooth, slope),
        "Sobel y": torch.outer(slope, smooth),
        "Laplacian": torch.outer(bend, smooth) + torch.outer(smooth, bend),
    }
    return [*small.items(), *large.items()]


def _blur(size: int) -> Tensor:
    """The binomial kernel of that size, which sums to 1."""
    taps = _binomial(size - 1)
    return torch.outer(taps, taps) / taps.sum() ** 2


def _binomial(order: int) -> Tensor:
    """Row ``order`` of Pascal's triangle: the discrete Gaussian with whole weights."""
    row = torch.ones(1, dtype=torch.float64)
    for _ in range(order):
        row = F.pad(row, (0, 1)) + F.pad(row, (1, 0))
    return row


def _central_difference(row: Tensor) -> Tensor:
    """The row two places on minus the row: the weights of its slope."""
    return F.pad(row, (2, 0)) - F.pad(row, (0, 2))


def _as_fractions(name: str, kernel: Tensor) -> dict[str, object]:
    """Write a kernel as whole numbers over one divisor up to 1024, or as it is over 1."""
    weights = kernel.detach().double().cpu()
    if not weights.isfinite().all():
        raise ValueError(f"kernels[{name!r}]: expected finite weights, got {describe(kernel)}")
    for divisor in range(1, 1025):
        scaled = weights * divisor
        if (scaled - scaled.round()).abs().max() <= 1e-6 * scaled.abs().max():
            weights = scaled.round()
            break
    else:
        divisor = 1
    return {
        "name": name,
        "size": kernel.shape[0],
        "numerators": weights.flatten().tolist(),
        "divisor": divisor,
    }
