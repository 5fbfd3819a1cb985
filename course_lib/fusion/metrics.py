"""How good a fused picture is when nobody has the true one: what it holds of its two sources.

Equations: (fusion-entropy), (fusion-mutual-information), (fusion-edge), (fusion-ssim).

Sources:
    Shannon, "A mathematical theory of communication", 1948: entropy.
    Qu, Zhang and Yan, "Information measure for performance of image fusion", 2002.
    Xydeas and Petrovic, "Objective image fusion performance measure", 2000.
    Piella and Heijmans, "A new quality metric for image fusion", 2003.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.background import luma, ssim_windows
from course_lib.checking import (
    describe,
    expect_alike,
    expect_int,
    expect_shape,
    expect_tensor,
)

# --- information --------------------------------------------------------------------------------


def image_entropy(image: Tensor, bins: int = 256) -> Tensor:
    """Measure in bits how evenly the values are spread; equation (fusion-entropy).

    Not differentiable: it counts.

    Args:
        image: ``Tensor[H, W]``, ``Tensor[C, H, W]`` or ``Tensor[N, C, H, W]``, floating, in [0, 1];
            values outside count as 0 or 1. All channels count together.
        bins: how many values are told apart: each number goes to the nearest of ``0``,
            ``1 / (bins - 1)``, ..., ``1``.
    Returns:
        ``Tensor[N]``, or ``Tensor[]`` for a single picture, from 0 to ``log2(bins)``.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    _expect_image("image", image)
    expect_int("bins", bins, minimum=2)
    return _leave(_entropy(_counts(_levels(image, bins), bins, image.dtype)), image)


def mutual_information(image1: Tensor, image2: Tensor, bins: int = 256) -> Tensor:
    """Measure in bits what one picture tells of the other; equation (fusion-mutual-information).

    Between numbers at the same place. Not differentiable. From few pixels and many bins it comes
    out too large.

    Args:
        image1: ``Tensor[H, W]``, ``Tensor[C, H, W]`` or ``Tensor[N, C, H, W]``, floating, in
            [0, 1]; values outside count as 0 or 1.
        image2: the same shape, dtype and device.
        bins: as in `image_entropy`, for each.
    Returns:
        ``Tensor[N]``, or ``Tensor[]`` for a single picture.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    _expect_image("image1", image1)
    expect_alike(image1=image1, image2=image2)
    expect_shape("image2", image2, image1.shape)
    expect_int("bins", bins, minimum=2)
    first, second = _levels(image1, bins), _levels(image2, bins)
    joint = _counts(first * bins + second, bins**2, image1.dtype)  # (N, bins * bins)
    table = joint.unflatten(1, (bins, bins))
    both = _entropy(table.sum(2)) + _entropy(table.sum(1))
    return _leave(both - _entropy(joint), image1)


def _levels(image: Tensor, bins: int) -> Tensor:
    """The number of the value nearest to each number: ``Tensor[N, numbers]``, int64."""
    levels = (image.clamp(0, 1) * (bins - 1)).round().long()
    return levels.flatten(1) if image.ndim == 4 else levels.reshape(1, -1)


def _counts(numbers: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """How often each number comes in each row, as a share of the row: ``Tensor[N, count]``."""
    ones = torch.ones_like(numbers)
    found = numbers.new_zeros(len(numbers), count).scatter_add_(1, numbers, ones)
    return found.to(dtype) / numbers.shape[1]


def _entropy(shares: Tensor) -> Tensor:
    return -torch.xlogy(shares, shares).sum(1) / math.log(2)


# --- edges --------------------------------------------------------------------------------------


def edge_preservation(image1: Tensor, image2: Tensor, fused: Tensor) -> Tensor:
    """Measure how much of the sources' edges lives on, Q^{AB/F}; equation (fusion-edge).

    Edges are those of the Sobel kernels, in luma, without the outermost pixels. An edge of
    strength ``g`` and direction ``a`` in a source, ``g'`` and ``a'`` in the fused picture, has
    relative strength ``G = min(g, g') / max(g, g')`` and ``A = 1 - |a - a'| / (pi / 2)``, where
    directions half a turn apart are the same. It is kept to the degree
    ``0.9994 / (1 + exp(-15 (G - 0.5))) * 0.9879 / (1 + exp(-22 (A - 0.8)))``, which is 0.975 at
    best. The mean over both sources is weighed with ``g``.

    Args:
        image1: ``Tensor[C, H, W]`` or ``Tensor[N, C, H, W]``, floating, 1 or 3 channels, at least
            3 × 3 pixels.
        image2, fused: the same shape, dtype and device.
    Returns:
        ``Tensor[N]``, or ``Tensor[]`` for a single picture; 0 where the sources have no edges.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    Source:
        Xydeas and Petrovic, 2000, with their constants.
    """
    pictures = _expect_three(image1, image2, fused, 3)
    edges = [_edges(picture) for picture in pictures]
    total = kept = pictures[0].new_zeros(len(pictures[0]))
    strength_f, direction_f = edges[2]
    for strength, direction in edges[:2]:
        larger = torch.maximum(strength, strength_f)
        relative = torch.minimum(strength, strength_f) / larger.where(larger > 0, 1)
        turned = (direction - direction_f).abs()  # from 0 to pi, and pi is no turn at all
        aligned = (turned - torch.pi / 2).abs() / (torch.pi / 2)
        of_strength = 0.9994 * torch.sigmoid(15 * (relative - 0.5))
        of_direction = 0.9879 * torch.sigmoid(22 * (aligned - 0.8))
        kept = kept + (of_strength * of_direction * strength).sum((1, 2))
        total = total + strength.sum((1, 2))
    return _leave(kept / total.where(total > 0, 1), image1)


def _edges(image: Tensor) -> tuple[Tensor, Tensor]:
    """Strength, and direction from -pi/2 to pi/2, of ``Tensor[N, H, W]``."""
    across = image[:, :, 2:] - image[:, :, :-2]
    down = image[:, 2:] - image[:, :-2]
    x = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    y = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    # One of two opposite directions: a step up and a step down lie along the same line.
    sign = torch.where((x < 0) | ((x == 0) & (y < 0)), -1, 1).to(x.dtype)
    return torch.hypot(x, y), torch.atan2(sign * y, sign * x)


# --- structure ----------------------------------------------------------------------------------


def fusion_ssim(image1: Tensor, image2: Tensor, fused: Tensor) -> Tensor:
    """Compare each window with the source that has more in it; equation (fusion-ssim).

    The structural similarity of the chapter `background` to either source, in luma, with its
    Gaussian windows, weighed by the share of the two sources' variance in the window.

    Args:
        image1: ``Tensor[C, H, W]`` or ``Tensor[N, C, H, W]``, floating, in [0, 1], 1 or 3 channels,
            at least 11 × 11 pixels.
        image2, fused: the same shape, dtype and device.
    Returns:
        ``Tensor[N]``, or ``Tensor[]`` for a single picture; at most 1.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    Source:
        Piella and Heijmans, 2003, equation (5), with the index of Wang et al., 2004.
    """
    first, second, result = _expect_three(image1, image2, fused, 11)
    windows = [ssim_windows(source[:, None], result[:, None]) for source in (first, second)]
    # rounding can make a variance negative
    spread = [window.variance_a.clamp(min=0) for window in windows]
    both = spread[0] + spread[1]
    share = torch.where(both > 0, spread[0] / both.where(both > 0, 1), 0.5)
    similarity = torch.lerp(windows[1].similarity, windows[0].similarity, share)
    return _leave(similarity.mean((1, 2, 3)), image1)


# --- helpers ------------------------------------------------------------------------------------


def _leave(result: Tensor, image: Tensor) -> Tensor:
    return result if image.ndim == 4 else result[0]


def _expect_image(name: str, image: Tensor) -> None:
    expect_tensor(name, image, ndim=(2, 3, 4), floating=True)
    if 0 in image.shape[-3:]:
        raise ValueError(f"{name}: expected at least one pixel, got {describe(image)}")


def _expect_three(image1: Tensor, image2: Tensor, fused: Tensor, least: int) -> list[Tensor]:
    """The three as batches of grey pictures, ``Tensor[N, H, W]``."""
    expect_tensor("image1", image1, ndim=(3, 4), floating=True)
    expect_alike(image1=image1, image2=image2, fused=fused)
    expect_shape("image2", image2, image1.shape)
    expect_shape("fused", fused, image1.shape)
    if image1.shape[-3] not in (1, 3) or min(image1.shape[-2:]) < least:
        raise ValueError(
            f"image1: expected 1 or 3 channels of at least {least} x {least} pixels,"
            f" got {describe(image1)}"
        )
    greys = [luma(image) if image.shape[-3] == 3 else image for image in (image1, image2, fused)]
    return [grey[..., 0, :, :].reshape(-1, *grey.shape[-2:]) for grey in greys]
