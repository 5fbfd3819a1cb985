"""Two pictures into one, pixel by pixel: weighted sums, in stored values and in light; layers.

Equations: (fusion-blend), (fusion-linear), (fusion-over), (fusion-premultiplied).

Sources:
    Porter and Duff, "Compositing digital images", 1984: alpha, ``over`` and premultiplied colours.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.background import linear_to_srgb, srgb_to_linear
from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_number,
    expect_shape,
    expect_tensor,
)

Alpha = float | Tensor

_AT_ONCE = 2**18
"""numbers whose intermediate results stay in the cache"""


# --- a weighted sum -----------------------------------------------------------------------------


def alpha_blend_loops(
    image1: Tensor, image2: Tensor, alpha: Alpha, *, linear: bool = False
) -> Tensor:
    """Compute equation (fusion-blend) number by number, the oracle of the tests.

    Arguments, result and errors are those of `alpha_blend`.
    """
    _expect_blend(image1, image2, alpha)
    whole, scale = image1.dtype == torch.uint8, 255 if image1.dtype == torch.uint8 and linear else 1
    first, second = (image.double() / scale for image in (image1, image2))
    if linear:
        first, second = srgb_to_linear(first), srgb_to_linear(second)
    weights = torch.as_tensor(alpha, dtype=first.dtype, device=first.device)
    weights = weights.expand(first.shape).flatten()
    mixed = torch.empty_like(first).flatten()
    for n, (one, two) in enumerate(zip(first.flatten(), second.flatten(), strict=True)):
        mixed[n] = weights[n] * one + (1 - weights[n]) * two
    mixed = linear_to_srgb(mixed) if linear else mixed
    mixed = scale * mixed.reshape(image1.shape)
    return _rounded(mixed) if whole else mixed.to(image1.dtype)


def alpha_blend(image1: Tensor, image2: Tensor, alpha: Alpha, *, linear: bool = False) -> Tensor:
    """Mix two pictures: ``alpha image1 + (1 - alpha) image2``; equation (fusion-blend).

    Whole numbers from 0 to 255 are weighed in float32, and rounded once, at the end, a half to the
    even neighbour; for one ``alpha`` as `cv2.addWeighted(image1, alpha, image2, 1 - alpha, 0)`
    does it. (A compiler may add up in another order, which moves what is next to a half.)

    Args:
        image1: ``Tensor[...]``, floating or uint8; for an ``alpha`` of each pixel or channel
            ``Tensor[..., C, H, W]``.
        image2: the same shape, dtype and device.
        alpha: how much of ``image1``: a number from 0 to 1, or a floating tensor that broadcasts
            to the images: ``(H, W)`` weighs each pixel, ``(C, 1, 1)`` each channel. Of the images'
            dtype, if that is floating. Its numbers are not checked; a result in uint8 is clipped.
        linear: whether to mix amounts of light, equation (fusion-linear), and not stored values.
            Needs values in [0, 1], or uint8.
    Returns:
        a tensor like ``image1``.
    Raises:
        TypeError: if a dtype is wrong.
        ValueError: if the shapes do not fit, or a number ``alpha`` is not from 0 to 1.
    """
    _expect_blend(image1, image2, alpha)
    whole = image1.dtype == torch.uint8
    if linear:
        first, second = (image.float() / 255 if whole else image for image in (image1, image2))
        light = _mix(srgb_to_linear(first), srgb_to_linear(second), alpha)
        mixed = linear_to_srgb(light)
        return _rounded(255 * mixed) if whole else mixed
    if not whole:
        return _mix(image1, image2, alpha)
    if isinstance(alpha, Tensor):
        return _rounded(_mix(image1.float(), image2.float(), alpha.float()))
    return _mix_bytes(image1, image2, alpha)


def _mix(first: Tensor, second: Tensor, alpha: Alpha) -> Tensor:
    if isinstance(alpha, Tensor):
        alpha = alpha.to(first.dtype)
    return torch.lerp(second, first, alpha)  # exact at both ends, in one pass


def _mix_bytes(image1: Tensor, image2: Tensor, alpha: float) -> Tensor:
    """Weigh bytes in pieces, for whole pictures in float32 would pass through memory four times."""
    if torch.compiler.is_compiling():  # into one pass anyway
        return _mix_compiled(image1, image2, alpha)
    mixed = torch.empty_like(image1, memory_format=torch.contiguous_format)
    pieces = (image.reshape(-1).split(_AT_ONCE) for image in (mixed, image1, image2))
    for piece, first, second in zip(*pieces, strict=True):
        piece.copy_(_weigh_bytes(first, second, alpha))
    return mixed


def _mix_compiled(image1: Tensor, image2: Tensor, alpha: float) -> Tensor:
    """Weigh the four bytes of a word one after another: a compiled loop over bytes is slow."""
    count = image1.numel()
    rows = [image.reshape(-1) for image in (image1, image2)]
    if count % 4 or not all(_begins_a_word(row) for row in rows):  # as a part of a picture may be
        rows = [F.pad(row, (0, 4 - count % 4)) for row in rows]
    # read as floats: the compiler's loops take whole registers of those, but copy integers first
    words = [row.view(torch.float32).view(torch.int32) for row in rows]
    mixed = torch.zeros_like(words[0])
    for place in (0, 8, 16, 24):
        first, second = ((word >> place) & 255 for word in words)
        mixed = mixed | (_weigh_bytes(first, second, alpha).to(torch.int32) << place)
    return mixed.view(torch.uint8)[:count].reshape(image1.shape)


def _begins_a_word(row: Tensor) -> bool:
    # Asked when it is compiled only. Should what begins a word come first and then something of
    # the same shape that doesn't, torch refuses to read it as words.
    return bool(row.storage_offset() % 4 == 0)


# torch.compiler.assume_constant_result sets this too, but imports the compiler to do so
vars(_begins_a_word)["_dynamo_marked_constant"] = True


def _weigh_bytes(first: Tensor, second: Tensor, alpha: float) -> Tensor:
    return second.float().mul_(1 - alpha).add_(first.float(), alpha=alpha).round_()


def _rounded(values: Tensor) -> Tensor:
    return values.round().clamp(0, 255).to(torch.uint8)


def _expect_blend(image1: Tensor, image2: Tensor, alpha: Alpha) -> None:
    _expect_pair(image1, image2)
    if not isinstance(alpha, Tensor):
        expect_number("alpha", alpha, minimum=0, maximum=1)
        return
    expect_tensor("alpha", alpha, floating=True)
    if image1.is_floating_point():
        expect_alike(image1=image1, alpha=alpha)
    try:
        fits = torch.broadcast_shapes(alpha.shape, image1.shape) == image1.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise ValueError(
            f"alpha: expected a number, or a shape that broadcasts to the images'"
            f" {tuple(image1.shape)}, got {describe(alpha)}"
        )


def _expect_pair(image1: Tensor, image2: Tensor) -> None:
    for name, image in (("image1", image1), ("image2", image2)):
        expect_tensor(name, image)
        if not image.is_floating_point() and image.dtype != torch.uint8:
            raise TypeError(f"{name}: expected a floating dtype or uint8, got {describe(image)}")
    expect_alike(image1=image1, image2=image2)
    if image1.shape != image2.shape:
        raise ValueError(
            f"image2: expected the size and the channels of image1, {tuple(image1.shape)}, got"
            f" {tuple(image2.shape)}; match_images makes two pictures alike"
        )


# --- pictures that differ -----------------------------------------------------------------------


def match_images(image1: Tensor, image2: Tensor, *, how: str = "resize") -> tuple[Tensor, Tensor]:
    """Give two pictures the same size and the same channels.

    A grey picture beside one in colour gets its channel three times.

    Args:
        image1: ``Tensor[C, H, W]`` or ``Tensor[N, C, H, W]``, floating, 1 or 3 channels, at least
            one pixel.
        image2: as many dimensions, same dtype and device; any size.
        how: ``"resize"`` gives ``image2`` the size of ``image1``, bilinear and without aliasing;
            ``"crop"`` cuts the middle out of both, as large as both allow.
    Returns:
        the two pictures.
    Raises:
        TypeError: if a dtype is not floating, or the two differ.
        ValueError: if a shape or ``how`` is wrong.
    """
    for name, image in (("image1", image1), ("image2", image2)):
        expect_tensor(name, image, ndim=(3, 4), floating=True)
        if image.shape[-3] not in (1, 3) or 0 in image.shape[-2:]:
            raise ValueError(f"{name}: expected 1 or 3 channels of pixels, got {describe(image)}")
    expect_alike(image1=image1, image2=image2)
    expect_tensor("image2", image2, ndim=image1.ndim)
    expect_choice("how", how, ("resize", "crop"))
    channels = max(image1.shape[-3], image2.shape[-3])
    first, second = (
        image if image.shape[-3] == channels else image.repeat_interleave(channels, -3)
        for image in (image1, image2)
    )
    height, width = first.shape[-2:]
    if how == "crop":
        height, width = min(height, second.shape[-2]), min(width, second.shape[-1])
        return _middle(first, height, width), _middle(second, height, width)
    if second.shape[-2:] == first.shape[-2:]:
        return first, second
    batch = second if second.ndim == 4 else second[None]
    fitted = F.interpolate(batch, (height, width), mode="bilinear", antialias=True)
    return first, fitted if second.ndim == 4 else fitted[0]


def _middle(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[..., top : top + height, left : left + width]


# --- layers with an alpha channel ---------------------------------------------------------------


def premultiply(color: Tensor, alpha: Tensor) -> Tensor:
    """Multiply colours by how much they cover; equation (fusion-premultiplied).

    Args:
        color: ``Tensor[..., C, H, W]``, floating.
        alpha: ``Tensor[..., 1, H, W]``, in [0, 1], 1 where the layer covers; same dtype and device.
    Returns:
        a tensor like ``color``.
    Raises:
        TypeError, ValueError: if a dtype or a shape is wrong.
    """
    _expect_layer("", color, alpha)
    return color * alpha


def unpremultiply(color: Tensor, alpha: Tensor) -> Tensor:
    """Undo `premultiply`; 0 where ``alpha`` is 0, for there is no colour.

    Arguments, result and errors are alike.
    """
    _expect_layer("", color, alpha)
    return torch.where(alpha == 0, 0, color / alpha.where(alpha != 0, 1))


def over(color1: Tensor, alpha1: Tensor, color2: Tensor, alpha2: Tensor) -> tuple[Tensor, Tensor]:
    """Lay one picture over another; equation (fusion-over).

    Args:
        color1: ``Tensor[..., C, H, W]``, floating: the layer in front, not premultiplied.
        alpha1: ``Tensor[..., 1, H, W]``: how much of what lies behind it covers.
        color2, alpha2: the layer behind; same shapes.
    Returns:
        colour, not premultiplied and 0 where nothing covers, and alpha of the two together.
    Raises:
        TypeError, ValueError: if a dtype or a shape is wrong.
    """
    _expect_layers(color1, alpha1, color2, alpha2)
    color, alpha = over_premultiplied(color1 * alpha1, alpha1, color2 * alpha2, alpha2)
    return unpremultiply(color, alpha), alpha


def over_premultiplied(
    color1: Tensor, alpha1: Tensor, color2: Tensor, alpha2: Tensor
) -> tuple[Tensor, Tensor]:
    """Lay one premultiplied picture over another; equation (fusion-premultiplied).

    Arguments, result and errors are those of `over`, with premultiplied colours.
    """
    _expect_layers(color1, alpha1, color2, alpha2)
    return color1 + (1 - alpha1) * color2, alpha1 + (1 - alpha1) * alpha2


def _expect_layer(number: str, color: Tensor, alpha: Tensor) -> None:
    expect_tensor(f"color{number}", color, floating=True)
    if color.ndim < 3:
        raise ValueError(f"color{number}: expected (..., C, H, W), got {describe(color)}")
    expect_alike(**{f"color{number}": color, f"alpha{number}": alpha})
    expect_shape(f"alpha{number}", alpha, (*color.shape[:-3], 1, *color.shape[-2:]))


def _expect_layers(color1: Tensor, alpha1: Tensor, color2: Tensor, alpha2: Tensor) -> None:
    _expect_layer("1", color1, alpha1)
    _expect_layer("2", color2, alpha2)
    expect_alike(color1=color1, color2=color2)
    expect_shape("color2", color2, color1.shape)
