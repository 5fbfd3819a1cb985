"""Several photographs into one large one: registered, warped, matched in exposure, sewn together.

Equations: (fusion-phase), (fusion-homography), (fusion-gain), (fusion-feather).

Sources:
    Kuglin and Hines, "The phase correlation image alignment method", 1975.
    Foroosh, Zerubia and Berthod, "Extension of phase correlation to subpixel registration", 2002.
    Hartley and Zisserman, "Multiple view geometry in computer vision", 2004: homographies.
    Brown and Lowe, "Automatic panoramic image stitching using invariant features", 2007.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.background import srgb_to_linear
from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_pair,
    expect_shape,
    expect_tensor,
)
from course_lib.fusion.poisson import poisson_blend
from course_lib.fusion.pyramid import expect_mask, pyramid_blend

# --- where the pictures lie ---------------------------------------------------------------------


def phase_correlation(image1: Tensor, image2: Tensor) -> Tensor:
    """Find the shift that brings the second picture onto the first; equation (fusion-phase).

    A shift changes only the phases of a spectrum. What is left of the product of the spectra when
    their strengths are divided out is a wave, whose inverse transform is one peak at the shift.
    Where the peak lies between pixels, it is shared among neighbours. As `skimage.registration.
    phase_cross_correlation`, and finer than whole pixels.

    Args:
        image1: ``Tensor[H, W]`` or ``Tensor[C, H, W]``, float32 or float64.
        image2: the same shape, dtype and device; what leaves it on one side should come in on the
            other, or be little. Pictures with much in common need only an approximate fit.
    Returns:
        ``Tensor[2]``: ``(down, right)`` in pixels, from ``-H / 2`` to ``H / 2`` and alike.
    Raises:
        TypeError, ValueError: if a dtype or a shape is wrong.
    """
    expect_tensor("image1", image1, ndim=(2, 3), floating=True)
    expect_alike(image1=image1, image2=image2)
    expect_shape("image2", image2, image1.shape)
    if image1.numel() == 0:
        raise ValueError(f"image1: expected pixels, got {describe(image1)}")
    product = torch.fft.fft2(image1) * torch.fft.fft2(image2).conj()
    product = product if product.ndim == 2 else product.sum(0)
    strength = product.abs().clamp(min=100 * torch.finfo(image1.dtype).eps)
    peaks = torch.fft.ifft2(product / strength).real  # (H, W)
    highest = peaks.argmax()
    row, column = highest // peaks.shape[1], highest % peaks.shape[1]
    return torch.stack(
        [
            _peak(peaks.index_select(1, column[None])[:, 0], row),
            _peak(peaks.index_select(0, row[None])[0], column),
        ]
    )


def _peak(line: Tensor, place: Tensor) -> Tensor:
    """Where between the pixels of a line the peak lies; the second half of a line is negative."""
    length = line.shape[0]
    around = torch.stack([place - 1, place, place + 1]) % length
    before, here, after = line.index_select(0, around).clamp(min=0).unbind()
    # Of a peak between two pixels, the nearer one holds the share 1 - d, the other one d.
    between = torch.where(after > before, after / (after + here), -before / (before + here))
    between = torch.where(here > 0, between, 0) if length > 2 else torch.zeros_like(here)
    return torch.where(place > length // 2, place - length, place) + between


def warp_homography(image: Tensor, matrix: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Fetch each pixel from where a homography takes it; equation (fusion-homography).

    Bilinear between pixels. As `skimage.transform.warp` does with the matrix as ``inverse_map``.

    Args:
        image: ``Tensor[C, H, W]``, floating, with pixels.
        matrix: ``Tensor[3, 3]``, same dtype and device: takes a place ``(x, y, 1)`` of the result
            to where it is found in the image, up to a factor; ``(0, 0)`` is the middle of the
            first pixel.
        size: height and width of the result.
    Returns:
        the warped picture, ``Tensor[C, height, width]``, 0 where nothing is found; and where
        something is, ``Tensor[height, width]``, bool.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    expect_tensor("image", image, ndim=3, floating=True)
    expect_alike(image=image, matrix=matrix)
    expect_shape("matrix", matrix, (3, 3))
    if image.numel() == 0:
        raise ValueError(f"image: expected pixels, got {describe(image)}")
    rows, columns = expect_pair("size", size, minimum=1)
    height, width = image.shape[1:]
    axes = (torch.arange(n, dtype=image.dtype, device=image.device) for n in (rows, columns))
    y, x = torch.meshgrid(*axes, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], -1) @ matrix.T  # (rows, columns, 3)
    depth = places[..., 2]
    seen = places[..., :2] / depth.where(depth != 0, 1)[..., None]
    limits = image.new_tensor([width - 1, height - 1])
    # A place at the very border must not fall out because of the last digit.
    close = 1e-4 if image.dtype != torch.float64 else 1e-9
    valid = ((seen >= -close) & (seen <= limits + close)).all(-1) & (depth != 0)
    seen = torch.minimum(seen.clamp(min=0), limits)
    grid = (2 * seen + 1) / (limits + 1) - 1  # as grid_sample counts: -1 to 1, from edge to edge
    warped = F.grid_sample(image[None], grid[None], padding_mode="border", align_corners=False)[0]
    return torch.where(valid, warped, 0), valid


# --- how bright they are ------------------------------------------------------------------------


def match_exposure(image: Tensor, reference: Tensor, mask: Tensor) -> Tensor:
    """Find the factor on the light that fits one picture to another; equation (fusion-gain).

    For each channel the one with the smallest sum of squares. Leave clipped pixels out of the
    mask: they have lost the factor.

    Args:
        image: ``Tensor[C, H, W]``, floating, stored values.
        reference: the same shape, dtype and device.
        mask: ``Tensor[H, W]``, bool or numbers in [0, 1]: where both show the same.
    Returns:
        ``Tensor[C, 1, 1]``, to multiply `srgb_to_linear(image)` with; 1 where nothing is known.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    expect_tensor("image", image, ndim=3, floating=True)
    expect_alike(image=image, reference=reference)
    expect_shape("reference", reference, image.shape)
    weights = expect_mask(mask, image)
    light, wanted = srgb_to_linear(image), srgb_to_linear(reference)
    above = (weights * light * wanted).sum((1, 2), keepdim=True)
    below = (weights * light * light).sum((1, 2), keepdim=True)
    return torch.where(below > 0, above / below.where(below > 0, 1), 1)


# --- one picture --------------------------------------------------------------------------------


def feather_weights_loops(mask: Tensor) -> Tensor:
    """Try every pixel outside for every pixel inside, the oracle of the tests."""
    _expect_valid("mask", mask, 2)
    height, width = mask.shape
    outside = mask.logical_not().nonzero().tolist()
    weights = torch.zeros(height, width, device=mask.device)
    for y in range(height):
        for x in range(width):
            ways = [abs(y - v) + abs(x - u) for v, u in outside]
            weights[y, x] = min([height + width, *ways])
    return weights


def feather_weights(mask: Tensor) -> Tensor:
    """Count the steps from each pixel to the nearest one outside the mask, as in (fusion-feather).

    Steps go up, down, left and right: `scipy.ndimage.distance_transform_cdt` with
    ``metric="taxicab"``. What lies beyond the picture is not outside. Two sweeps along each axis:
    the nearest one before is the running minimum of (distance - place), plus the place.

    Args:
        mask: ``Tensor[..., H, W]``, bool.
    Returns:
        ``Tensor[..., H, W]``, float32: 0 outside, ``H + W`` where nothing is outside.
    Raises:
        TypeError, ValueError: if it is no such mask.
    """
    _expect_valid("mask", mask)
    weights = torch.where(mask, float(mask.shape[-2] + mask.shape[-1]), 0.0)
    for dim in (-1, -2):
        length = mask.shape[dim]
        place = torch.arange(length, dtype=weights.dtype, device=mask.device)
        place = place if dim == -1 else place[:, None]
        before = (weights - place).cummin(dim)[0] + place
        after = (weights + place).flip(dim).cummin(dim)[0].flip(dim) - place
        weights = torch.minimum(before, after)
    return weights


def stitch(
    images: Sequence[Tensor], matrices: Sequence[Tensor], size: tuple[int, int], method: str
) -> tuple[Tensor, Tensor]:
    """Lay pictures beside and over each other on one canvas.

    Args:
        images: each ``Tensor[C, H, W]``, floating, of its own size, matched in exposure.
        matrices: for each the ``Tensor[3, 3]`` that `warp_homography` takes, from the canvas to
            the picture.
        size: height and width of the canvas, at least 3 × 3.
        method: what happens where pictures overlap.
            ``"cut"`` takes the one whose border is farthest, the first one where they are equal;
            ``"feather"`` weighs them with that distance, equation (fusion-feather);
            ``"pyramid"`` blends along the cut by `pyramid_blend`, one picture after the other;
            ``"poisson"`` by `poisson_blend`.
    Returns:
        the canvas, ``Tensor[C, height, width]``, 0 where no picture lies; and where one does,
        ``Tensor[height, width]``, bool.
    Raises:
        TypeError, ValueError: if an argument is wrong.
    """
    expect_choice("method", method, ("cut", "feather", "pyramid", "poisson"))
    if len(images) == 0 or len(images) != len(matrices):
        raise ValueError(
            f"images: expected as many as matrices and at least one,"
            f" got {len(images)} and {len(matrices)} matrices"
        )
    pairs = zip(images, matrices, strict=True)
    warped = [warp_homography(image, matrix, size) for image, matrix in pairs]
    valid = torch.stack([mask for _, mask in warped])  # (K, h, w)
    depths = feather_weights(valid).to(images[0].dtype)
    if method == "feather":
        total = depths.sum(0)
        weighed = sum(depth * picture for depth, (picture, _) in zip(depths, warped, strict=True))
        return weighed / total.where(total > 0, 1), valid.any(0)
    canvas, covered, deepest = warped[0][0], valid[0], depths[0]
    for depth, (picture, mask) in zip(depths[1:], warped[1:], strict=True):
        nearer = depth > deepest
        # Blending looks beyond the cut: what a picture does not show is as in the other.
        ours, theirs = torch.where(mask, picture, canvas), torch.where(covered, canvas, picture)
        if method == "pyramid":
            canvas = pyramid_blend(ours, theirs, nearer)
        elif method == "poisson":
            canvas = poisson_blend(ours, theirs, nearer)
        else:
            canvas = torch.where(nearer, picture, canvas)
        covered, deepest = covered | mask, torch.maximum(deepest, depth)
        canvas = torch.where(covered, canvas, 0)
    return canvas, covered


def _expect_valid(name: str, mask: Tensor, ndim: int | None = None) -> None:
    expect_tensor(name, mask, ndim=ndim)
    if mask.dtype != torch.bool:
        raise TypeError(f"{name}: expected bool, got {describe(mask)}")
    if mask.ndim < 2 or 0 in mask.shape[-2:]:
        raise ValueError(f"{name}: expected (..., H, W) with pixels, got {describe(mask)}")
