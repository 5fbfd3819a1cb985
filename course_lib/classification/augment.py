"""Pictures changed so that their class stays: shift, rotate, scale, crop, noise, erase.

Equations: (classification-warp), (classification-bilinear).

`shift`, `rotate`, `scale`, `crop` and `erase` do what they are told, to each picture of a batch
its own; `Augment` draws by chance what to tell them. Positions are in pixels: ``y`` down the rows,
``x`` along the columns.

Sources:
    Simard, Steinkraus and Platt, "Best practices for convolutional neural networks applied to
        visual document analysis", 2003: affine and elastic distortions.
    Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural
        networks", 2012: crops and reflections.
    DeVries and Taylor, "Improved regularization of convolutional neural networks with cutout",
        2017; Zhong et al., "Random erasing data augmentation", 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.checking import (
    describe,
    expect_alike,
    expect_int,
    expect_number,
    expect_pair,
    expect_shape,
    expect_tensor,
)

Amount = float | Tensor


# --- one resampling for all movements -----------------------------------------------------------


def warp_loops(images: Tensor, matrices: Tensor) -> Tensor:
    """Fetch each pixel from where it comes from, one by one; equation (classification-warp).

    Arguments, result and errors are those of `warp`.
    """
    _expect_warp(images, matrices)
    count, _, height, width = images.shape
    result = torch.zeros_like(images)
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    for n in range(count):
        for row in range(height):
            for column in range(width):
                x, y = column - middle_x, row - middle_y
                (a, b, c), (d, e, f) = matrices[n]
                from_x, from_y = a * x + b * y + c + middle_x, d * x + e * y + f + middle_y
                left, top = math.floor(from_x), math.floor(from_y)
                for i in (top, top + 1):
                    for j in (left, left + 1):
                        if 0 <= i < height and 0 <= j < width:
                            weight = (1 - abs(from_y - i)) * (1 - abs(from_x - j))
                            result[n, :, row, column] += weight * images[n, :, i, j]
    return result


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Fetch each pixel from where it comes from; equations (classification-warp) and -bilinear.

    The pixel at ``(x, y)``, counted from the middle of the picture, becomes what the picture has at
    ``(a x + b y + c, d x + e y + f)``, counted so too: bilinear between pixels, 0 outside. As
    `torch.nn.functional.affine_grid` and `grid_sample` do together, in pixels.

    Args:
        images: ``Tensor[N, C, H, W]``, floating.
        matrices: ``Tensor[N, 2, 3]``, ``[[a, b, c], [d, e, f]]`` each; same dtype and device.
    Returns:
        a tensor like the images.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    _expect_warp(images, matrices)
    return _fetch(images, _sources(images, matrices))


def shift(images: Tensor, offsets: Tensor | Sequence[float]) -> Tensor:
    """Move pictures down and to the right; what comes in is 0.

    Args:
        images: ``Tensor[N, C, H, W]``, floating.
        offsets: ``Tensor[N, 2]``, pixels ``(down, right)``, one pair a picture; or one for all.
    """
    _expect_images(images)
    pairs = torch.as_tensor(offsets).to(images)
    if pairs.shape not in ((2,), (len(images), 2)):
        raise ValueError(f"offsets: expected a pair for each picture, got {describe(offsets)}")
    pairs = pairs.expand(len(images), 2)
    return warp(images, _matrices(images, right=pairs[:, 1], down=pairs[:, 0]))


def rotate(images: Tensor, degrees: Amount) -> Tensor:
    """Turn pictures about their middle, counter-clockwise as you see them.

    Args:
        images: ``Tensor[N, C, H, W]``, floating.
        degrees: ``Tensor[N]``, or one number for all.
    """
    _expect_images(images)
    return warp(images, _matrices(images, degrees=_each(images, "degrees", degrees)))


def scale(images: Tensor, factors: Amount) -> Tensor:
    """Make what is in the pictures larger or smaller, about their middle.

    Args:
        images: ``Tensor[N, C, H, W]``, floating.
        factors: ``Tensor[N]``, or one number for all; 2 doubles lengths.
    """
    _expect_images(images)
    factors = _each(images, "factors", factors)
    return warp(images, _matrices(images, width=factors, height=factors))


# --- pieces taken out ---------------------------------------------------------------------------


def crop(images: Tensor, corners: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Cut a window out of each picture; what reaches beyond the picture is 0.

    As `torchvision.transforms.functional.crop`, with a corner of its own for each picture.

    Args:
        images: ``Tensor[N, C, H, W]``.
        corners: ``Tensor[N, 2]``, int64: row and column of the window's first pixel; may be
            negative.
        size: height and width of the window.
    Returns:
        ``Tensor[N, C, height, width]``.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    _expect_images(images, floating=False)
    _expect_whole("corners", corners, images)
    height, width = expect_pair("size", size, minimum=0)
    rows = corners[:, :1] + torch.arange(height, device=images.device)  # (N, h)
    columns = corners[:, 1:] + torch.arange(width, device=images.device)  # (N, w)
    outside = (
        _not_in(rows, images.shape[2])[:, :, None] | _not_in(columns, images.shape[3])[:, None]
    )
    index = rows.clamp(0, images.shape[2] - 1)[:, :, None] * images.shape[3]
    index = index + columns.clamp(0, images.shape[3] - 1)[:, None]  # (N, h, w)
    return _gather(images, index).masked_fill(outside[:, None], 0)


def erase(images: Tensor, corners: Tensor, size: Tensor | tuple[int, int]) -> Tensor:
    """Set a rectangle in each picture to 0.

    Args:
        images: ``Tensor[N, C, H, W]``.
        corners: ``Tensor[N, 2]``, int64: row and column of its first pixel.
        size: height and width of the rectangle, one pair or ``Tensor[N, 2]``, int64.
    Returns:
        a tensor like the images.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    _expect_images(images, floating=False)
    _expect_whole("corners", corners, images)
    ends = corners + torch.as_tensor(size, device=images.device)  # (N, 2)
    within = []
    for axis, length in enumerate(images.shape[2:]):
        at = torch.arange(length, device=images.device)
        within.append((at >= corners[:, axis, None]) & (at < ends[:, axis, None]))  # (N, length)
    return images.masked_fill((within[0][:, :, None] & within[1][:, None])[:, None], 0)


def noise(images: Tensor, std: Amount, generator: torch.Generator | None = None) -> Tensor:
    """Add normal noise to every number.

    Args:
        images: ``Tensor[N, C, H, W]``, floating.
        std: its standard deviation, ``Tensor[N]`` or one number for all.
    Returns:
        a tensor like the images; it may leave [0, 1].
    """
    _expect_images(images)
    spread = _each(images, "std", std)[:, None, None, None]
    return images + spread * _random(torch.randn, images, images.shape, generator)


# --- by chance ----------------------------------------------------------------------------------


class Augment(nn.Module):
    """Change each picture by chance while training, and nothing in evaluation.

    Put it in front of a network, ``nn.Sequential(Augment(shift=1), network)``: no picture is seen
    twice in training, and none is changed when it counts. Every picture gets draws of its own,
    uniform unless said otherwise. All movements make one resampling.

    Args:
        shift: pixels, at most, up, down, left and right.
        rotate: degrees, at most, either way.
        scale: how much larger or smaller: a factor from exp(-scale) to exp(scale).
        stretch: the same for the width alone.
        shear: pixels, at most, that a row moves sideways for each row below the middle.
        elastic: the points of a 4 × 4 grid move by so many pixels, normally distributed, and what
            lies between them moves along smoothly.
        flip: probability of a mirror image, left for right.
        crop: pixels, at most, that a window of the picture's size lies beside it.
        erase: side, at most, of a square that is set to 0.
        noise: standard deviation of normal noise.
        generator: where chance comes from; by default PyTorch's own on the pictures' device.
    """

    def __init__(
        self,
        *,
        shift: float = 0,
        rotate: float = 0,
        scale: float = 0,
        stretch: float = 0,
        shear: float = 0,
        elastic: float = 0,
        flip: float = 0,
        crop: int = 0,
        erase: int = 0,
        noise: float = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.shift = expect_number("shift", shift, minimum=0)
        self.rotate = expect_number("rotate", rotate, minimum=0)
        self.scale = expect_number("scale", scale, minimum=0)
        self.stretch = expect_number("stretch", stretch, minimum=0)
        self.shear = expect_number("shear", shear, minimum=0)
        self.elastic = expect_number("elastic", elastic, minimum=0)
        self.flip = expect_number("flip", flip, minimum=0, maximum=1)
        self.crop = expect_int("crop", crop, minimum=0)
        self.erase = expect_int("erase", erase, minimum=0)
        self.noise = expect_number("noise", noise, minimum=0)
        self.generator = generator

    def extra_repr(self) -> str:
        """Show what is switched on."""
        movements = ("shift", "rotate", "scale", "stretch", "shear", "elastic", "flip")
        kinds = {kind: getattr(self, kind) for kind in (*movements, "crop", "erase", "noise")}
        return ", ".join(f"{kind}={amount}" for kind, amount in kinds.items() if amount)

    def forward(self, input: Tensor) -> Tensor:
        """Change ``Tensor[N, C, H, W]``, floating, while training."""
        _expect_images(input)
        if not self.training:
            return input
        moved = self._move(input)
        count, size = len(input), input.shape[2:]
        if self.crop:
            corners = self._whole(input, -self.crop, self.crop, (count, 2))
            moved = crop(moved, corners, (size[0], size[1]))
        if self.erase:
            side = self._whole(input, 0, self.erase, (count, 1))
            room = (torch.tensor(size, device=input.device) - side).clamp(min=0)  # (N, 2)
            place = self._uniform(input, (count, 2), 0, 1) * (room + 1)
            moved = erase(moved, place.long().minimum(room), side.expand(count, 2))
        return noise(moved, self.noise, self.generator) if self.noise else moved

    def _move(self, images: Tensor) -> Tensor:
        movements = (self.shift, self.rotate, self.scale, self.stretch, self.shear)
        if not any((*movements, self.elastic, self.flip)):
            return images
        count = (len(images),)
        down, right, degrees, height, wide, shear = (
            self._uniform(images, count, -most, most) for most in (self.shift, *movements)
        )
        mirrored = self._uniform(images, count, 0, 1) < self.flip
        height = height.exp()
        width = height * wide.exp() * torch.where(mirrored, -1.0, 1.0)
        matrices = _matrices(images, degrees, width, height, shear, right, down)
        sources = _sources(images, matrices)
        if self.elastic:
            moves = _random(torch.randn, images, (len(images), 2, 4, 4), self.generator)
            size = (images.shape[2], images.shape[3])
            sources = sources + self.elastic * F.interpolate(
                moves, size, mode="bicubic", align_corners=True
            )
        return _fetch(images, sources)

    def _uniform(self, like: Tensor, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return low + (high - low) * _random(torch.rand, like, shape, self.generator)

    def _whole(self, like: Tensor, low: int, high: int, shape: tuple[int, ...]) -> Tensor:
        return self._uniform(like, shape, low, high + 1).floor().long().clamp(max=high)


# --- helpers ------------------------------------------------------------------------------------


def _random(draw: Any, like: Tensor, shape: Sequence[int], generator: Any) -> Tensor:
    """Draw where the generator lives, so that a seed gives the same on every device."""
    device = like.device if generator is None else generator.device
    return draw(*shape, generator=generator, dtype=like.dtype, device=device).to(like.device)


def _matrices(
    images: Tensor,
    degrees: Amount = 0.0,
    width: Amount = 1.0,
    height: Amount = 1.0,
    shear: Amount = 0.0,
    right: Amount = 0.0,
    down: Amount = 0.0,
) -> Tensor:
    """Where the pixels come from, when pictures are scaled, sheared, turned and shifted.

    That is undone in the opposite order; ``Tensor[N, 2, 3]``.
    """
    like = images.new_zeros(len(images))
    degrees, width, height, shear, right, down = (
        like + amount for amount in (degrees, width, height, shear, right, down)
    )
    cos, sin = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
    a, b = (cos + shear * sin) / width, (shear * cos - sin) / width
    d, e = sin / height, cos / height
    c, f = -(a * right + b * down), -(d * right + e * down)
    return torch.stack([a, b, c, d, e, f], 1).reshape(-1, 2, 3)


def _sources(images: Tensor, matrices: Tensor) -> Tensor:
    """Where each pixel comes from, ``(y, x)`` from the first pixel's middle: ``(N, 2, H, W)``."""
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device, dtype=images.dtype) - (height - 1) / 2
    x = torch.arange(width, device=images.device, dtype=images.dtype) - (width - 1) / 2
    (a, b, c), (d, e, f) = (row.unbind(1) for row in matrices[..., None, None].unbind(1))
    from_y = d * x + e * y[:, None] + f + (height - 1) / 2  # (N, H, W)
    from_x = a * x + b * y[:, None] + c + (width - 1) / 2
    return torch.stack([from_y, from_x], 1)


def _fetch(images: Tensor, sources: Tensor) -> Tensor:
    """Look pictures up between their pixels; equation (classification-bilinear)."""
    height, width = images.shape[2:]
    padded = F.pad(images, (1, 1, 1, 1))  # a border of zeros, which all that lies outside meets
    y = sources[:, 0].clamp(-1, height) + 1  # (N, H, W), in the padded picture
    x = sources[:, 1].clamp(-1, width) + 1
    top, left = y.floor().clamp(max=height), x.floor().clamp(max=width)
    down, right = (y - top)[:, None], (x - left)[:, None]  # (N, 1, H, W), in [0, 1]
    first = (top * (width + 2) + left).long()
    upper = torch.lerp(_gather(padded, first), _gather(padded, first + 1), right)
    first = first + width + 2
    lower = torch.lerp(_gather(padded, first), _gather(padded, first + 1), right)
    return torch.lerp(upper, lower, down)


def _gather(images: Tensor, index: Tensor) -> Tensor:
    """Take pixels by their number in a picture: ``(N, C, H, W)`` at ``(N, h, w)``."""
    count, channels = images.shape[:2]
    places = index.flatten(1)[:, None].expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).reshape(count, channels, *index.shape[1:])


def _not_in(positions: Tensor, length: int) -> Tensor:
    return (positions < 0) | (positions >= length)


def _each(images: Tensor, name: str, amount: Amount) -> Tensor:
    """An amount for each picture, ``Tensor[N]``."""
    if not isinstance(amount, Tensor):
        expect_number(name, amount)
    elif amount.shape not in ((), (len(images),)):
        raise ValueError(f"{name}: expected one number for each picture, got {describe(amount)}")
    return torch.as_tensor(amount).to(images).expand(len(images))


def _expect_images(images: Tensor, floating: bool = True) -> None:
    expect_tensor("images", images, ndim=4, floating=floating)


def _expect_warp(images: Tensor, matrices: Tensor) -> None:
    _expect_images(images)
    expect_alike(images=images, matrices=matrices)
    expect_shape("matrices", matrices, (len(images), 2, 3))


def _expect_whole(name: str, value: Tensor, images: Tensor) -> None:
    expect_tensor(name, value)
    if value.dtype != torch.int64:
        raise TypeError(f"{name}: expected int64, got {describe(value)}")
    expect_shape(name, value, (len(images), 2))
