"""A picture from the differences that it should have: the Poisson equation, solved two ways.

Equations: (fusion-energy), (fusion-poisson), (fusion-divergence), (fusion-sine),
(fusion-eigenvalues), (fusion-guidance).

Sources:
    Perez, Gangnet and Blake, "Poisson image editing", 2003.
    Press, Teukolsky, Vetterling and Flannery, "Numerical recipes", 2007: fast Poisson solvers.
    Hestenes and Stiefel, "Methods of conjugate gradients for solving linear systems", 1952.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_int,
    expect_shape,
    expect_tensor,
)
from course_lib.fusion.pyramid import expect_mask

_AT_ONCE = 2**18
"""numbers to transform at once, so that what comes between stays in the cache"""


# --- differences --------------------------------------------------------------------------------


def gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Take the differences to the pixel below and to the pixel on the right.

    Args:
        image: ``Tensor[..., H, W]``, floating.
    Returns:
        down, ``Tensor[..., H - 1, W]``, and right, ``Tensor[..., H, W - 1]``.
    Raises:
        TypeError, ValueError: if it is no floating tensor of two dimensions or more.
    """
    _expect_picture("image", image, 1)
    return image.diff(dim=-2), image.diff(dim=-1)


def divergence(down: Tensor, right: Tensor) -> Tensor:
    """Say how much more leaves each inner pixel than comes in; equation (fusion-divergence).

    Args:
        down: ``Tensor[..., H - 1, W]``, floating: the wanted differences to the pixel below.
        right: ``Tensor[..., H, W - 1]``: those to the pixel on the right.
    Returns:
        ``Tensor[..., H - 2, W - 2]``: of the pixels that are not at the border.
    Raises:
        TypeError, ValueError: if a dtype or a shape is wrong.
    """
    _expect_picture("down", down, 1)
    expect_alike(down=down, right=right)
    height, width = down.shape[-2] + 1, down.shape[-1]
    expect_shape("right", right, (*down.shape[:-2], height, width - 1))
    return down[..., 1:-1].diff(dim=-2) + right[..., 1:-1, :].diff(dim=-1)


# --- the equation on a rectangle ----------------------------------------------------------------


def poisson_matrix(
    height: int,
    width: int,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Write the left side of equation (fusion-poisson) as a matrix, word by word.

    For small sizes: the oracle of the tests.

    Args:
        height, width: of the pixels that are sought.
    Returns:
        ``Tensor[height width, height width]``: -4 for the pixel itself, 1 for each neighbour.
    Raises:
        TypeError, ValueError: if a size is no integer of at least 1.
    """
    expect_int("height", height, minimum=1)
    expect_int("width", width, minimum=1)
    matrix = torch.zeros(height * width, height * width, dtype=dtype, device=device)
    for y in range(height):
        for x in range(width):
            row = y * width + x
            matrix[row, row] = -4
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width:
                    matrix[row, v * width + u] = 1
    return matrix


def poisson_eigenvalues(
    height: int,
    width: int,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Compute the eigenvalues of `poisson_matrix`; equation (fusion-eigenvalues).

    Returns:
        ``Tensor[height, width]``, all below 0.
    Raises:
        TypeError, ValueError: if a size is no integer of at least 1.
    """
    parts = []
    for name, length in (("height", height), ("width", width)):
        number = torch.arange(
            1, expect_int(name, length, minimum=1) + 1, dtype=dtype, device=device
        )
        # 2 cos t - 2, written so that what is nearly 0 keeps its digits
        parts.append(-4 * torch.sin(torch.pi * number / (2 * (length + 1))) ** 2)
    return parts[0][:, None] + parts[1]


def sine_transform(x: Tensor, dim: int = -1) -> Tensor:
    """Transform into sines that are 0 just outside of both ends; equation (fusion-sine).

    The type I of four, as `scipy.fft.dst` with ``type=1``. A Fourier transform of the numbers
    between zeros, ``2 (N + 1)`` in all, holds the sines in its imaginary part. Done twice, it gives
    the numbers back, times ``2 (N + 1)``.

    Args:
        x: ``Tensor[...]``, float32 or float64.
        dim: the axis, of length N at least 1.
    Returns:
        a tensor like ``x``.
    Raises:
        TypeError: if the dtype is another.
        ValueError: if the axis is empty.
    """
    expect_tensor("x", x, floating=True)
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x: expected float32 or float64, got {describe(x)}")
    if x.ndim == 0 or x.shape[dim] == 0:
        raise ValueError(f"x: expected numbers along axis {dim}, got {describe(x)}")
    across = x.movedim(dim, -1)
    length = across.shape[-1]
    lines = across.reshape(-1, length)
    parts = [  # a zero before the numbers, for the sum counts from 1, and zeros after them
        torch.fft.rfft(F.pad(part, (1, length + 1))).imag[:, 1 : length + 1]
        for part in lines.split(max(1, _AT_ONCE // length))
    ]
    return -2 * torch.cat(parts).reshape(across.shape).movedim(-1, dim)


def poisson_solve(divergence: Tensor, boundary: Tensor) -> Tensor:
    """Find the picture with this divergence and this border; equation (fusion-poisson).

    Exactly and at once: sines are the eigenvectors, so that each of them is divided by its
    eigenvalue. The smallest ones blow rounding errors up: expect 12 digits in float64, and errors
    of some 1e-5 in float32, in which half precision is computed, too.

    Args:
        divergence: ``Tensor[..., H - 2, W - 2]``, floating, of the inner pixels.
        boundary: ``Tensor[..., H, W]``, same dtype and device, at least 3 × 3; only its outermost
            pixels count.
    Returns:
        ``Tensor[..., H, W]`` with the outermost pixels of ``boundary``.
    Raises:
        TypeError, ValueError: if a dtype or a shape is wrong.
    """
    _expect_picture("boundary", boundary, 3)
    expect_alike(divergence=divergence, boundary=boundary)
    height, width = boundary.shape[-2] - 2, boundary.shape[-1] - 2
    expect_shape("divergence", divergence, (*boundary.shape[:-2], height, width))
    exact = torch.promote_types(boundary.dtype, torch.float32)
    known = boundary.to(exact).clone()
    known[..., 1:-1, 1:-1] = 0
    wanted = divergence.to(exact) - _laplacian(known)
    sines = sine_transform(sine_transform(wanted, -1), -2)
    sines = sines / poisson_eigenvalues(height, width, dtype=exact, device=boundary.device)
    inner = sine_transform(sine_transform(sines, -2), -1) / (4 * (height + 1) * (width + 1))
    solved = boundary.clone()
    solved[..., 1:-1, 1:-1] = inner.to(boundary.dtype)
    return solved


def poisson_solve_region(
    divergence: Tensor, boundary: Tensor, mask: Tensor, iterations: int = 500
) -> Tensor:
    """Solve equation (fusion-poisson) in a region of any shape, by conjugate gradients.

    Each iteration carries what is known one pixel further. So a region needs at least as many as
    it is deep, and about eight times its width for ten digits.

    Args:
        divergence: ``Tensor[..., H - 2, W - 2]``, floating, of the inner pixels.
        boundary: ``Tensor[..., H, W]``, same dtype and device, at least 3 × 3. Every pixel outside
            the region keeps its value.
        mask: ``Tensor[H, W]``, ``Tensor[1, H, W]``..., bool or numbers: the region is where it is
            not 0. Pixels at the border of the picture never belong to it.
        iterations: how many.
    Returns:
        ``Tensor[..., H, W]``.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    _expect_picture("boundary", boundary, 3)
    expect_alike(divergence=divergence, boundary=boundary)
    height, width = boundary.shape[-2] - 2, boundary.shape[-1] - 2
    expect_shape("divergence", divergence, (*boundary.shape[:-2], height, width))
    expect_int("iterations", iterations, minimum=0)
    inside = expect_mask(mask, boundary)[..., 1:-1, 1:-1] != 0
    known = boundary.to(torch.promote_types(boundary.dtype, torch.float32)).clone()
    known[..., 1:-1, 1:-1] = torch.where(inside, 0, known[..., 1:-1, 1:-1])
    residual = torch.where(inside, _laplacian(known) - divergence, 0)
    found, direction = torch.zeros_like(residual), residual
    energy = _inner(residual, residual)
    for _ in range(iterations):
        # The matrix is the Laplacian with the other sign, whose eigenvalues are above 0.
        image = torch.where(inside, -_laplacian(_framed(direction)), 0)
        step = _ratio(energy, _inner(direction, image))
        found, residual = found + step * direction, residual - step * image
        before, energy = energy, _inner(residual, residual)
        direction = residual + _ratio(energy, before) * direction
    return (known + _framed(found)).to(boundary.dtype)


# --- blending -----------------------------------------------------------------------------------


def poisson_blend(
    source: Tensor, target: Tensor, mask: Tensor, *, mixed: bool = False, region: str = "picture"
) -> Tensor:
    """Set a piece of one picture into another by its differences; equation (fusion-guidance).

    Between two pixels of the mask the result should differ as the source does, elsewhere as the
    target does; at the border of the picture it is the target.

    Args:
        source: ``Tensor[..., H, W]``, floating; what the mask covers counts.
        target: the same shape, dtype and device, at least 3 × 3.
        mask: ``Tensor[H, W]``, ``Tensor[1, H, W]``...: bool, or numbers in [0, 1]; 1 takes the
            source.
        mixed: whether to take, between two pixels of the mask, the larger of the two differences.
        region: ``"picture"`` seeks all pixels, so that those around the mask give way, too
            (`cv2.seamlessClone` seeks those in the mask's bounding box); ``"mask"`` seeks those of
            the mask, as the paper does, and keeps all others. It wants the source's differences
            across the mask's border, too.
    Returns:
        a tensor like ``target``; it can leave [0, 1].
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    _expect_picture("target", target, 3)
    expect_alike(target=target, source=source)
    expect_shape("source", source, target.shape)
    expect_choice("region", region, ("picture", "mask"))
    weights = expect_mask(mask, target)
    # Whether both pixels of a difference must be in the mask, or, as in the paper, one of them.
    both = torch.minimum if region == "picture" else torch.maximum
    pairs = (
        both(weights[..., 1:, :], weights[..., :-1, :]),
        both(weights[..., 1:], weights[..., :-1]),
    )
    wanted = []
    for pair, ours, theirs in zip(pairs, gradients(source), gradients(target), strict=True):
        chosen = torch.where(theirs.abs() > ours.abs(), theirs, ours) if mixed else ours
        wanted.append(torch.lerp(theirs, chosen, pair.expand_as(theirs)))
    flow = divergence(*wanted)
    if region == "mask":
        return poisson_solve_region(flow, target, weights)
    return poisson_solve(flow, target)


# --- helpers ------------------------------------------------------------------------------------


def _laplacian(image: Tensor) -> Tensor:
    """Of the inner pixels: the sum of the four neighbours, less four times the pixel."""
    inner = image[..., 1:-1, 1:-1]
    vertical = image[..., :-2, 1:-1] + image[..., 2:, 1:-1]
    return vertical + image[..., 1:-1, :-2] + image[..., 1:-1, 2:] - 4 * inner


def _framed(inner: Tensor) -> Tensor:
    return F.pad(inner, (1, 1, 1, 1))


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """The inner product of each plane with its other."""
    return (a * b).sum((-2, -1), keepdim=True)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """0 where there is nothing left to do."""
    return torch.where(below > 0, above / below.where(below > 0, 1), 0)


def _expect_picture(name: str, image: Tensor, least: int) -> None:
    expect_tensor(name, image, floating=True)
    if image.ndim < 2 or min(image.shape[-2:]) < least:
        raise ValueError(
            f"{name}: expected (..., H, W) with at least {least} x {least} pixels,"
            f" got {describe(image)}"
        )
