"""Better pictures by fusion: many noisy ones into a clean one, a hole filled from around it.

Equations: (fusion-burst), (fusion-inpaint).

Sources:
    Hasinoff et al., "Burst photography for high dynamic range and low-light imaging on mobile
    cameras", 2016.
    Bertalmio, Sapiro, Caselles and Ballester, "Image inpainting", 2000.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.checking import (
    describe,
    expect_choice,
    expect_int,
    expect_number,
    expect_tensor,
)
from course_lib.fusion.poisson import poisson_solve_region


def average_burst(frames: Tensor, how: str = "mean") -> Tensor:
    """Make one picture of many of the same scene.

    Args:
        frames: ``Tensor[N, ...]``, floating, at least one.
        how: ``"mean"``, or ``"median"``, which a few frames that are far off do not move. Of an
            even number of frames, the median is the mean of the middle two.
    Returns:
        ``Tensor[...]``.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    expect_tensor("frames", frames, floating=True)
    expect_choice("how", how, ("mean", "median"))
    if frames.ndim == 0 or len(frames) == 0:
        raise ValueError(f"frames: expected at least one picture, got {describe(frames)}")
    if how == "mean":
        return frames.mean(0)
    ordered, middle = frames.sort(0).values, (len(frames) - 1) // 2
    return (ordered[middle] + ordered[len(frames) // 2]) / 2


def burst_noise(sigma: float, frames: int) -> float:
    """Foretell the noise of a mean of independent frames; equation (fusion-burst).

    Args:
        sigma: standard deviation of the noise in one frame.
        frames: how many.
    Raises:
        TypeError, ValueError: if ``sigma`` is below 0, or there are no frames.
    """
    expect_number("sigma", sigma, minimum=0)
    return sigma / math.sqrt(expect_int("frames", frames, minimum=1))


def inpaint(image: Tensor, mask: Tensor, iterations: int = 500) -> Tensor:
    """Fill a hole so that each pixel is its neighbours' mean; equation (fusion-inpaint).

    Smooth inside, and it fits at the border: good for scratches and letters, too smooth for
    large holes. By `poisson_solve_region`.

    Args:
        image: ``Tensor[..., H, W]``, floating, at least 3 × 3.
        mask: ``Tensor[H, W]``, ``Tensor[1, H, W]``..., bool or numbers: what is not 0 is a hole,
            and what the image holds there doesn't count. The outermost pixels are kept.
        iterations: as in `poisson_solve_region`.
    Returns:
        a tensor like ``image``.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    expect_tensor("image", image, floating=True)
    if image.ndim < 2 or min(image.shape[-2:]) < 3:
        raise ValueError(
            f"image: expected (..., H, W) with at least 3 x 3 pixels, got {describe(image)}"
        )
    flat = torch.zeros_like(image[..., 1:-1, 1:-1])
    return poisson_solve_region(flat, image, mask, iterations)
