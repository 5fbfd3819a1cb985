"""Several photographs of one scene: the sharpest parts of each, or the best exposed.

Equations: (fusion-sharpness), (fusion-focus), (fusion-weights), (fusion-exposure).

Sources:
    Nayar and Nakagawa, "Shape from focus", 1994: sharpness as the energy of the Laplacian.
    Burt and Kolczynski, "Enhanced image capture through fusion", 1993: stacks and pyramids.
    Mertens, Kautz and Van Reeth, "Exposure fusion", 2007.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.background import linear_to_srgb, luma, srgb_to_linear
from course_lib.checking import describe, expect_number, expect_tensor
from course_lib.convolution import separable_conv2d
from course_lib.fusion.pyramid import gaussian_pyramid, laplacian_pyramid, reconstruct

# --- what a camera does -------------------------------------------------------------------------


def expose(image: Tensor, stops: float) -> Tensor:
    """Let in ``2**stops`` times the light, and clip what the sensor cannot hold.

    Args:
        image: ``Tensor[...]``, floating, stored values in [0, 1].
        stops: 1 doubles the light, -1 halves it.
    Returns:
        a tensor like ``image``.
    Raises:
        TypeError: if the image is not floating, or ``stops`` no number.
        ValueError: if ``stops`` is not finite.
    """
    expect_tensor("image", image, floating=True)
    expect_number("stops", stops)
    return linear_to_srgb((2**stops * srgb_to_linear(image)).clamp(0, 1))


def defocus(image: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian, mirrored at the borders, whose pixels are not repeated.

    Args:
        image: ``Tensor[..., H, W]``, floating; both sides longer than ``ceil(3 sigma)`` pixels.
        sigma: its standard deviation in pixels; 0 leaves the picture as it is.
    Returns:
        a tensor like ``image``.
    Raises:
        TypeError: if the dtype is not floating, or ``sigma`` no number.
        ValueError: if ``sigma`` is below 0, or the picture too small.
    """
    expect_tensor("image", image, floating=True)
    radius = math.ceil(3 * expect_number("sigma", sigma, minimum=0))
    planes = _mirrored("image", image, radius)
    if radius == 0:
        return image
    at = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    return separable_conv2d(planes, weights, weights).reshape(image.shape)


# --- the sharpest of several --------------------------------------------------------------------


def sharpness(images: Tensor, sigma: float = 2.0) -> Tensor:
    """Measure how much detail there is around each pixel; equation (fusion-sharpness).

    The square of the Laplacian, averaged over the channels and, by a Gaussian, around the pixel.
    Borders are mirrored.

    Args:
        images: ``Tensor[..., C, H, W]``, floating; both sides longer than ``ceil(3 sigma)``
            pixels, and than 1.
        sigma: standard deviation of the Gaussian, in pixels.
    Returns:
        ``Tensor[..., 1, H, W]``, 0 where nothing changes.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    expect_tensor("images", images, floating=True)
    if images.ndim < 3:
        raise ValueError(f"images: expected (..., C, H, W), got {describe(images)}")
    return defocus(_laplacian(images).square().mean(-3, keepdim=True), sigma)


def focus_fusion(images: Tensor, levels: int = 5, *, sigma: float = 2.0) -> Tensor:
    """Take each part from the picture that is sharpest there; equation (fusion-focus).

    The choice is made pixel by pixel, the first picture winning a tie, and blended in pyramids.

    Args:
        images: ``Tensor[N, C, H, W]``, floating, one scene in focus at several distances.
        levels: of the pyramids; 1 just takes the pixels.
        sigma: of `sharpness`.
    Returns:
        ``Tensor[C, H, W]``. Details can add up to less than 0 or more than 1.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    _expect_stack(images)
    best = sharpness(images, sigma).argmax(0, keepdim=True)  # (1, 1, H, W)
    numbers = torch.arange(len(images), device=images.device)[:, None, None, None]
    return _blend_stack(images, (best == numbers).to(images.dtype), levels)


# --- the best exposed of several ----------------------------------------------------------------


def exposure_weights(
    images: Tensor, contrast: float = 1.0, saturation: float = 1.0, exposedness: float = 1.0
) -> Tensor:
    """Weigh each pixel by how well it came out; equation (fusion-weights).

    Contrast is the Laplacian's magnitude, of the luma; saturation the standard deviation of red,
    green and blue; exposedness a Gaussian about one half, of width 0.2, for each channel.

    Args:
        images: ``Tensor[N, 3, H, W]``, floating, in [0, 1]; both sides at least 2 pixels.
        contrast, saturation, exposedness: the powers of the three; 0 leaves one out.
    Returns:
        ``Tensor[N, 1, H, W]``, which sum to 1 over the pictures; equal ones where none is good.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    Source:
        Mertens, Kautz and Van Reeth, 2007, section 3.1.
    """
    _expect_stack(images, channels=3)
    powers = (
        expect_number("contrast", contrast, minimum=0),
        expect_number("saturation", saturation, minimum=0),
        expect_number("exposedness", exposedness, minimum=0),
    )
    spread = images - images.mean(1, keepdim=True)
    qualities = (
        _laplacian(luma(images)).abs(),
        spread.square().mean(1, keepdim=True).sqrt(),
        torch.exp(-((images - 0.5) ** 2).sum(1, keepdim=True) / (2 * 0.2**2)),
    )
    weights = torch.ones_like(images[:, :1])
    for quality, power in zip(qualities, powers, strict=True):
        weights = weights * quality**power
    weights = weights + 1e-12  # where all are 0, each counts the same
    return weights / weights.sum(0, keepdim=True)


def exposure_fusion(
    images: Tensor,
    levels: int | None = None,
    contrast: float = 1.0,
    saturation: float = 1.0,
    exposedness: float = 1.0,
) -> Tensor:
    """Blend an exposure series with `exposure_weights`, in pyramids; equation (fusion-exposure).

    As `cv2.createMergeMertens`, whose default for ``exposedness`` is 0.

    Args:
        images: ``Tensor[N, 3, H, W]``, floating, in [0, 1]; both sides at least 2 pixels.
        levels: of the pyramids; ``None`` goes down to about one pixel.
        contrast, saturation, exposedness: the powers of the three qualities.
    Returns:
        ``Tensor[3, H, W]``. Details can add up to less than 0 or more than 1.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    weights = exposure_weights(images, contrast, saturation, exposedness)
    if levels is None:
        levels = min(images.shape[-2:]).bit_length()
    return _blend_stack(images, weights, levels)


# --- helpers ------------------------------------------------------------------------------------


def _blend_stack(images: Tensor, weights: Tensor, levels: int) -> Tensor:
    """Weigh each size of detail with the weights of that size, and add up over the pictures."""
    pairs = zip(gaussian_pyramid(weights, levels), laplacian_pyramid(images, levels), strict=True)
    return reconstruct([(weight * detail).sum(0) for weight, detail in pairs])


def _laplacian(images: Tensor) -> Tensor:
    """The sum of the four neighbours, less four times the pixel."""
    padded = _mirrored("images", images, 1)[:, 0]
    neighbours = padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2]
    result = neighbours + padded[:, 1:-1, 2:] - 4 * padded[:, 1:-1, 1:-1]
    return result.reshape(images.shape)


def _mirrored(name: str, images: Tensor, width: int) -> Tensor:
    """Every plane with a mirrored border, ``(planes, 1, H + 2 width, W + 2 width)``."""
    if images.ndim < 2 or min(images.shape[-2:]) <= width:
        raise ValueError(
            f"{name}: expected more than {width} pixels along each side, got {describe(images)}"
        )
    planes = images.reshape(-1, 1, *images.shape[-2:])
    return F.pad(planes, (width, width, width, width), mode="reflect")


def _expect_stack(images: Tensor, channels: int | None = None) -> None:
    expect_tensor("images", images, ndim=4, floating=True)
    if len(images) == 0 or channels not in (None, images.shape[1]):
        wanted = "(N, C, H, W)" if channels is None else f"(N, {channels}, H, W)"
        raise ValueError(f"images: expected {wanted} with pictures, got {describe(images)}")
