"""Pictures in several sizes: what each size adds, and blending each size with its own seam.

Equations: (fusion-down), (fusion-up), (fusion-laplacian), (fusion-reconstruct),
(fusion-pyramid-blend).

Sources:
    Burt and Adelson, "The Laplacian pyramid as a compact image code", 1983.
    Burt and Adelson, "A multiresolution spline with application to image mosaics", 1983.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from course_lib.checking import describe, expect_alike, expect_int, expect_pair, expect_tensor

_WEIGHTS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""one row of Pascal's triangle, the binomial filter of the chapter `pooling`"""


# --- one step -----------------------------------------------------------------------------------


def pyramid_down_loops(image: Tensor) -> Tensor:
    """Compute equation (fusion-down) word by word, the oracle of the tests.

    Arguments, result and errors are those of `pyramid_down`.
    """
    _expect_image("image", image)
    height, width = image.shape[-2:]
    smaller = image.new_zeros(*image.shape[:-2], (height + 1) // 2, (width + 1) // 2)
    for y in range(smaller.shape[-2]):
        for x in range(smaller.shape[-1]):
            for i in range(5):
                for j in range(5):
                    v, u = _mirrored(2 * y + i - 2, height), _mirrored(2 * x + j - 2, width)
                    smaller[..., y, x] += _WEIGHTS[i] * _WEIGHTS[j] * image[..., v, u]
    return smaller


def pyramid_down(image: Tensor) -> Tensor:
    """Blur with five binomial weights, then keep every other pixel; equation (fusion-down).

    The picture is mirrored at its borders, whose pixels are not repeated. As `cv2.pyrDown`.

    Args:
        image: ``Tensor[..., H, W]``, floating, at least one pixel.
    Returns:
        ``Tensor[..., ceil(H / 2), ceil(W / 2)]``.
    Raises:
        TypeError: if the dtype is not floating.
        ValueError: if there are no pixels.
    """
    _expect_image("image", image)
    return _halve(_halve(image, -2), -1)


def pyramid_up(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Put zeros between the pixels, and blur with four times the weights; equation (fusion-up).

    Of the weights, every other one meets a zero, so that a new pixel is a mean of two or of three
    old ones. The borders are those of `cv2.pyrUp`: mirrored before the first pixel, and the last
    pixel once more after it.

    Args:
        image: ``Tensor[..., h, w]``, floating, at least one pixel.
        size: ``(H, W)`` of the result, ``2 h - 1`` or ``2 h``, and ``2 w - 1`` or ``2 w``.
    Returns:
        ``Tensor[..., H, W]``.
    Raises:
        TypeError: if the dtype is not floating, or the size not two integers.
        ValueError: if there are no pixels, or the size is another.
    """
    _expect_image("image", image)
    height, width = expect_pair("size", size, minimum=1)
    if ((height + 1) // 2, (width + 1) // 2) != image.shape[-2:]:
        raise ValueError(
            f"size: expected twice the image's {tuple(image.shape[-2:])}, or one less,"
            f" got {tuple(size)}"
        )
    return _double(_double(image, -1, width), -2, height)


def _halve(image: Tensor, dim: int) -> Tensor:
    """Blur and keep every other along one axis, on the even and the odd places by themselves."""
    length = image.shape[dim]
    if length == 1:
        return image
    even = image[..., ::2, :] if dim == -2 else image[..., ::2]
    odd = image[..., 1::2, :] if dim == -2 else image[..., 1::2]
    count, last = even.shape[dim], length % 2  # an odd length ends on an even place
    after = even.narrow(dim, max(count - 1 - last, 0), 1)
    even = torch.cat([even.narrow(dim, 1 % count, 1), even, after], dim)
    odd = torch.cat([odd.narrow(dim, 0, 1), odd, *[odd.narrow(dim, -1, 1)] * last], dim)
    near = odd.narrow(dim, 0, count).lerp(odd.narrow(dim, 1, count), 0.5)
    far = even.narrow(dim, 0, count).lerp(even.narrow(dim, 2, count), 0.5)
    # Means of two: fewer passes through memory than five products. 6, 4 + 4 and 1 + 1 sixteenths.
    return even.narrow(dim, 1, count).lerp(far, 0.25).lerp(near, 0.5)


def _double(image: Tensor, dim: int, length: int) -> Tensor:
    """Fill in every other place along one axis."""
    count, axis = image.shape[dim], dim % image.ndim
    before, after = image.narrow(dim, 1 % count, 1), image.narrow(dim, -1, 1)
    padded = torch.cat([before, image, after], dim)
    left, right = padded.narrow(dim, 0, count), padded.narrow(dim, 2, count)
    pairs = image.new_empty(*image.shape[: axis + 1], 2, *image.shape[axis + 1 :])
    pairs.select(axis + 1, 0).copy_(image.lerp(left.lerp(right, 0.5), 0.25))  # 1, 6, 1 eighths
    pairs.select(axis + 1, 1).copy_(image.lerp(right, 0.5))
    return pairs.flatten(axis, axis + 1).narrow(dim, 0, length)


# --- pyramids -----------------------------------------------------------------------------------


def gaussian_pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """Make a picture smaller again and again; equation (fusion-down).

    Args:
        image: ``Tensor[..., H, W]``, floating, at least one pixel.
        levels: how many pictures, the given one included.
    Returns:
        ``levels`` tensors, the largest first. A side of one pixel stays one.
    Raises:
        TypeError: if the dtype is not floating, or ``levels`` no integer.
        ValueError: if there are no pixels, or no levels.
    """
    _expect_image("image", image)
    expect_int("levels", levels, minimum=1)
    pyramid = [image]
    for _ in range(levels - 1):
        pyramid.append(pyramid_down(pyramid[-1]))
    return pyramid


def laplacian_pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """Keep what each size shows that the next smaller one does not; equation (fusion-laplacian).

    Arguments and errors are those of `gaussian_pyramid`.

    Returns:
        ``levels`` tensors, the finest details first; the last is the small picture that is left.
    """
    sizes = gaussian_pyramid(image, levels)
    details = [larger - pyramid_up(smaller, _size(larger)) for larger, smaller in pairwise(sizes)]
    return [*details, sizes[-1]]


def reconstruct(pyramid: Sequence[Tensor]) -> Tensor:
    """Add up what `laplacian_pyramid` took apart; equation (fusion-reconstruct).

    Args:
        pyramid: tensors ``[..., H, W]``, the finest first, each half as large as the one before.
    Returns:
        ``Tensor[..., H, W]``, of the first one's size.
    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if there are no tensors, or their sizes do not follow each other.
    """
    if not len(pyramid):
        raise ValueError("pyramid: expected at least one tensor, got none")
    image = pyramid[-1]
    _expect_image("pyramid[-1]", image)
    for level in reversed(pyramid[:-1]):
        image = level + pyramid_up(image, _size(level))
    return image


def pyramid_blend(image1: Tensor, image2: Tensor, mask: Tensor, levels: int = 5) -> Tensor:
    """Blend each size of detail over a seam as wide as itself; equation (fusion-pyramid-blend).

    Pyramids are linear, so it is enough to take apart the difference of the two pictures.

    Args:
        image1: ``Tensor[..., H, W]``, floating.
        image2: the same shape, dtype and device.
        mask: ``Tensor[H, W]``, ``Tensor[1, H, W]`` or any that broadcasts to the pictures: bool, or
            numbers in [0, 1]; 1 takes ``image1``.
        levels: of the pyramids; 1 blends pixel by pixel.
    Returns:
        a tensor like ``image1``. Details can add up to less than 0 or more than 1.
    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if shapes do not fit, or there are no levels.
    """
    _expect_image("image1", image1)
    expect_alike(image1=image1, image2=image2)
    if image2.shape != image1.shape:
        raise ValueError(
            f"image2: expected the size and the channels of image1, {tuple(image1.shape)},"
            f" got {tuple(image2.shape)}"
        )
    weights = gaussian_pyramid(expect_mask(mask, image1), levels)
    details = laplacian_pyramid(image1 - image2, levels)
    blended = weights[-1] * details[-1]
    for weight, detail in zip(weights[-2::-1], details[-2::-1], strict=True):
        blended = pyramid_up(blended, _size(detail)).addcmul_(weight, detail)
    return blended.add_(image2)


# --- helpers ------------------------------------------------------------------------------------


def expect_mask(mask: Tensor, image: Tensor) -> Tensor:
    """Return a mask as numbers of the image's dtype, or raise if it does not fit the image."""
    expect_tensor("mask", mask)
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise TypeError(f"mask: expected bool or a floating dtype, got {describe(mask)}")
    mask = mask.to(image.dtype)
    expect_alike(image=image, mask=mask)
    fits = mask.shape[-2:] == image.shape[-2:] and mask.ndim <= image.ndim
    channels = zip(reversed(mask.shape[:-2]), reversed(image.shape[:-2]), strict=False)
    if not fits or any(have not in (1, want) for have, want in channels):
        raise ValueError(
            f"mask: expected one number a pixel, {tuple(image.shape[-2:])}, got {describe(mask)}"
        )
    return mask


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _mirrored(place: int, length: int) -> int:
    """The place inside that lies in the mirror's picture, or is the place itself."""
    if length == 1:
        return 0
    place %= 2 * length - 2
    return min(place, 2 * length - 2 - place)


def _expect_image(name: str, image: Tensor) -> None:
    expect_tensor(name, image, floating=True)
    if image.ndim < 2 or 0 in image.shape[-2:]:
        raise ValueError(f"{name}: expected (..., H, W) with pixels, got {describe(image)}")
