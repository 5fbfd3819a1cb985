"""The functions of the chapter `fusion` and its exercises."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from course_lib import fusion as topic
from course_lib.background import linear_to_srgb, psnr, srgb_to_linear, ssim
from course_lib.data import photo
from support import assert_agree

DOUBLE = torch.float64


def pictures(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Numbers from 0 to 1 in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=DOUBLE).to(device)


def whole_numbers(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def blob(height: int, width: int) -> Tensor:
    """A disc in the middle of a picture."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((y - height / 2) / height) ** 2 + ((x - width / 2) / width) ** 2 < 0.09


# --- a weighted sum -------------------------------------------------------------------------------

blends = pytest.mark.parametrize("blend", [topic.alpha_blend, topic.alpha_blend_loops])


@blends
@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5), (4, 5), (), (0, 3, 2, 2)])
def test_blend_is_the_weighted_sum(
    blend: Callable[..., Tensor], shape: tuple[int, ...], device: torch.device
) -> None:
    one, two = pictures(1, 2, *shape, device=device)
    assert_agree(blend(one, two, 0.3), 0.3 * one + 0.7 * two)
    assert torch.equal(blend(one, two, 1), one)
    assert torch.equal(blend(one, two, 0), two)


@blends
@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5), (3, 1, 1), (2, 1, 1, 1), (5,), (2, 3, 4, 5)])
def test_alpha_broadcasts(
    blend: Callable[..., Tensor], shape: tuple[int, ...], device: torch.device
) -> None:
    one, two = pictures(2, 2, 2, 3, 4, 5, device=device)
    alpha = pictures(3, *shape, device=device)
    assert_agree(blend(one, two, alpha), alpha * one + (1 - alpha) * two)
    wide = blend(one.mT, two.mT, alpha.expand(2, 3, 4, 5).mT)  # not contiguous
    assert_agree(wide.mT, alpha * one + (1 - alpha) * two)


@blends
def test_linear_blends_light(blend: Callable[..., Tensor]) -> None:
    one, two = pictures(4, 2, 3, 4, 5)
    light = 0.25 * srgb_to_linear(one) + 0.75 * srgb_to_linear(two)
    assert_agree(blend(one, two, 0.25, linear=True), linear_to_srgb(light))
    black, white = torch.zeros(1, dtype=DOUBLE), torch.ones(1, dtype=DOUBLE)
    half = blend(white, black, 0.5, linear=True)
    assert half.item() == pytest.approx(1.055 * 0.5 ** (1 / 2.4) - 0.055)  # 0.735, not 0.5


@pytest.mark.parametrize("alpha", [0, 1, 0.5, 0.1, 0.3, 0.7, 1 / 3, 0.9999])
def test_whole_numbers_equal_opencv(alpha: float) -> None:
    """All 65,536 pairs of bytes."""
    one, two = torch.meshgrid(*[torch.arange(256, dtype=torch.uint8)] * 2, indexing="ij")
    theirs = cv2.addWeighted(one.numpy(), alpha, two.numpy(), 1 - alpha, 0)
    assert torch.equal(topic.alpha_blend(one, two, alpha), torch.from_numpy(theirs))


def test_whole_numbers_are_blended_in_pieces() -> None:
    one, two = whole_numbers(5, 2, 3, 400, 300)
    theirs = cv2.addWeighted(one.numpy(), 0.3, two.numpy(), 0.7, 0)
    assert torch.equal(topic.alpha_blend(one, two, 0.3), torch.from_numpy(theirs))
    flipped = topic.alpha_blend(one.mT, two.mT, 0.3)
    assert torch.equal(flipped.mT, torch.from_numpy(theirs))


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("alpha", [0.3, pictures(6, 5, 6).float(), pictures(7, 3, 1, 1)])
def test_whole_numbers_are_nearest_to_the_exact_ones(alpha: Any, linear: bool) -> None:
    one, two = whole_numbers(8, 2, 3, 5, 6)
    ours = topic.alpha_blend(one, two, alpha, linear=linear)
    weight = alpha.double() if isinstance(alpha, Tensor) else alpha
    scaled = [image.double() / 255 for image in (one, two)]
    exact = 255 * topic.alpha_blend(*scaled, weight + torch.zeros(1, dtype=DOUBLE), linear=linear)
    assert ours.dtype == torch.uint8
    assert (ours - exact).abs().max() <= 0.5 + 1e-4
    loops = topic.alpha_blend_loops(one, two, alpha, linear=linear).int()
    assert (ours.int() - loops).abs().max() <= 1
    assert (ours == loops).double().mean() > 0.95


def test_a_half_goes_to_the_even_number() -> None:
    one, two = torch.tensor([1, 3, 5], dtype=torch.uint8), torch.tensor([2], dtype=torch.uint8)
    assert topic.alpha_blend(one, two.expand(3), 0.5).tolist() == [2, 2, 4]  # of 1.5, 2.5, 3.5


def test_results_beyond_a_byte_are_clipped() -> None:
    one, two = torch.tensor([250, 0], dtype=torch.uint8), torch.tensor([0, 250], dtype=torch.uint8)
    assert topic.alpha_blend(one, two, torch.tensor(1.5)).tolist() == [255, 0]


@pytest.mark.parametrize("linear", [False, True])
def test_blend_has_the_right_gradient(linear: bool) -> None:
    leaves = [pictures(n, 3, 2, 2).requires_grad_() for n in (1, 2, 3)]
    call = partial(topic.alpha_blend, linear=linear)
    assert gradcheck(call, leaves)
    assert gradgradcheck(call, leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_blend_keeps_the_dtype(dtype: torch.dtype) -> None:
    one, two = pictures(9, 2, 3, 4, 4).to(dtype)
    blended = topic.alpha_blend(one, two, 0.25)
    assert blended.dtype == dtype
    exact = 0.25 * one.double() + 0.75 * two.double()
    assert (blended - exact).abs().max() <= 2 * torch.finfo(dtype).eps


IMAGE = torch.zeros(3, 4, 5)


@blends
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((IMAGE, torch.zeros(3, 5, 4), 0.5), ValueError, r"image2: .*\(3, 4, 5\), got \(3, 5, 4\)"),
        ((IMAGE, torch.zeros(1, 4, 5), 0.5), ValueError, "match_images"),
        ((IMAGE, IMAGE.byte(), 0.5), TypeError, "image2: expected torch.float32"),
        ((IMAGE.int(), IMAGE.int(), 0.5), TypeError, "image1: expected a floating dtype or uint8"),
        ((IMAGE, IMAGE, 1.5), ValueError, "alpha: expected a finite number >= 0 <= 1"),
        ((IMAGE, IMAGE, -0.1), ValueError, "alpha"),
        ((IMAGE, IMAGE, math.nan), ValueError, "alpha"),
        ((IMAGE, IMAGE, "0.5"), TypeError, "alpha"),
        ((IMAGE, IMAGE, torch.ones(4, 5, dtype=torch.bool)), TypeError, "alpha: .* floating"),
        ((IMAGE, IMAGE, torch.ones(4, 5, dtype=DOUBLE)), TypeError, "alpha"),
        ((IMAGE, IMAGE, torch.ones(5, 4)), ValueError, "alpha: .*broadcasts"),
        ((IMAGE, IMAGE, torch.ones(2, 3, 4, 5)), ValueError, "alpha: .*broadcasts"),
    ],
)
def test_blend_refuses(
    blend: Callable[..., Tensor], arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        blend(*arguments)


# --- pictures that differ -------------------------------------------------------------------------


def test_matched_pictures_are_alike() -> None:
    grey, colour = pictures(1, 1, 8, 10), pictures(2, 3, 12, 7)
    first, second = topic.match_images(grey, colour)
    assert torch.equal(first, grey.expand(3, 8, 10))
    assert second.shape == (3, 8, 10)
    assert second.mean().item() == pytest.approx(colour.mean().item(), abs=0.02)
    first, second = topic.match_images(grey, colour, how="crop")
    assert torch.equal(first, grey[:, :, 1:8].expand(3, -1, -1))
    assert torch.equal(second, colour[:, 2:10])
    batch, other = topic.match_images(colour[None], grey[None])
    assert torch.equal(batch, colour[None])
    assert other.shape == (1, 3, 12, 7)
    assert all(map(torch.equal, topic.match_images(colour, colour), (colour, colour)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((torch.zeros(4, 5, 5), IMAGE), ValueError, "image1: expected 1 or 3 channels"),
        ((IMAGE, torch.zeros(2, 5, 5)), ValueError, "image2: expected 1 or 3 channels"),
        ((IMAGE, torch.zeros(3, 0, 5)), ValueError, "image2: expected 1 or 3 channels of pixels"),
        ((IMAGE, IMAGE[None]), ValueError, "image2: expected 3 dimensions"),
        ((IMAGE.byte(), IMAGE.byte()), TypeError, "floating"),
    ],
)
def test_match_refuses(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        topic.match_images(*arguments)
    with pytest.raises(ValueError, match="how: expected one of 'resize', 'crop'"):
        topic.match_images(IMAGE, IMAGE, how="pad")


# --- layers ---------------------------------------------------------------------------------------


def test_over_on_an_opaque_picture_is_a_blend() -> None:
    front, back, alpha = pictures(1, 3, 4, 5), pictures(2, 3, 4, 5), pictures(3, 1, 4, 5)
    color, both = topic.over(front, alpha, back, torch.ones_like(alpha))
    assert_agree(color, topic.alpha_blend(front, back, alpha))
    assert_agree(both, torch.ones_like(alpha))


@given(st.integers(0, 1000))
def test_over_is_associative_and_agrees_with_premultiplied(seed: int) -> None:
    colors, alphas = pictures(seed, 3, 3, 2, 2), pictures(seed + 1, 3, 1, 2, 2)
    alphas = (1.4 * alphas - 0.2).clamp(0, 1)  # some are 0, some 1
    layers = list(zip(colors, alphas, strict=True))
    ab_c = topic.over(*topic.over(*layers[0], *layers[1]), *layers[2])
    a_bc = topic.over(*layers[0], *topic.over(*layers[1], *layers[2]))
    for one, two in zip(ab_c, a_bc, strict=True):
        assert_agree(one, two)
    first, second = ((topic.premultiply(c, a), a) for c, a in layers[:2])
    color, alpha = topic.over_premultiplied(*first, *second)
    straight, both = topic.over(*layers[0], *layers[1])
    assert_agree(alpha, both)
    assert_agree(topic.unpremultiply(color, alpha), straight)


def test_nothing_has_no_colour() -> None:
    color, alpha = pictures(1, 3, 1, 2), torch.tensor([[[0.0, 0.5]]], dtype=DOUBLE)
    assert_agree(topic.unpremultiply(topic.premultiply(color, alpha), alpha), color * (alpha > 0))
    nothing = torch.zeros(1, 1, 2, dtype=DOUBLE)
    result, both = topic.over(color, nothing, color, nothing)
    assert not result.any()
    assert not both.any()
    leaf = color.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(topic.unpremultiply(leaf, alpha).sum(), leaf)
    assert gradient[:, 0].tolist() == [[0.0, 2.0]] * 3


def test_layers_refuse() -> None:
    alpha = torch.zeros(1, 4, 5)
    for call in (topic.premultiply, topic.unpremultiply):
        with pytest.raises(ValueError, match=r"alpha: expected shape \(1, 4, 5\)"):
            call(IMAGE, torch.zeros(4, 5))
        with pytest.raises(ValueError, match=r"color: expected \(..., C, H, W\)"):
            call(torch.zeros(4, 5), torch.zeros(4, 5))
    for two_layers in (topic.over, topic.over_premultiplied):
        with pytest.raises(ValueError, match="alpha2: expected shape"):
            two_layers(IMAGE, alpha, IMAGE, IMAGE)
        with pytest.raises(ValueError, match="color2: expected shape"):
            two_layers(IMAGE, alpha, IMAGE[:1], alpha)
        with pytest.raises(TypeError, match=r"alpha1: expected torch\.float32"):
            two_layers(IMAGE, alpha.double(), IMAGE, alpha)


# --- pyramids -------------------------------------------------------------------------------------

sizes = st.tuples(st.integers(1, 13), st.integers(1, 13))


def by_planes(function: Callable[[Any], Any], image: Tensor) -> Tensor:
    return torch.stack([torch.from_numpy(function(plane.numpy())) for plane in image])


@given(st.integers(0, 1000), sizes)
def test_down_equals_loops_and_opencv(seed: int, size: tuple[int, int]) -> None:
    image = pictures(seed, 2, *size)
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    assert_agree(topic.pyramid_down(image), topic.pyramid_down_loops(image))
    theirs = by_planes(lambda plane: cv2.pyrDown(plane).reshape(half), image)
    assert_agree(topic.pyramid_down(image), theirs)


@given(st.integers(0, 1000), sizes)
def test_up_equals_opencv(seed: int, size: tuple[int, int]) -> None:
    half = (size[0] + 1) // 2, (size[1] + 1) // 2
    image = pictures(seed, 2, *half)
    theirs = by_planes(lambda plane: cv2.pyrUp(plane, dstsize=size[::-1]).reshape(size), image)
    assert_agree(topic.pyramid_up(image, size), theirs)


@given(st.integers(0, 1000), sizes, st.integers(1, 6))
def test_pyramids_fit_together(seed: int, size: tuple[int, int], levels: int) -> None:
    image = pictures(seed, 1, 2, *size)
    gaussian, laplacian = (
        make(image, levels) for make in (topic.gaussian_pyramid, topic.laplacian_pyramid)
    )
    assert len(gaussian) == len(laplacian) == levels
    assert [level.shape for level in gaussian] == [level.shape for level in laplacian]
    assert torch.equal(gaussian[0], image)
    assert torch.equal(gaussian[-1], laplacian[-1])
    assert_agree(topic.reconstruct(laplacian), image, tolerance=1e-14)
    # Taking a picture apart changes neither the picture nor what is added up again.
    assert torch.equal(image, pictures(seed, 1, 2, *size))


def test_a_flat_picture_has_no_details() -> None:
    *details, last = topic.laplacian_pyramid(torch.full((3, 9, 14), 0.7, dtype=DOUBLE), 4)
    assert all(detail.abs().max() < 1e-15 for detail in details)
    assert_agree(last, torch.full_like(last, 0.7))


@given(st.integers(0, 1000), sizes, st.integers(1, 5))
def test_pyramid_blend_equals_two_pyramids(seed: int, size: tuple[int, int], levels: int) -> None:
    one, two = pictures(seed, 2, 3, *size)
    mask = pictures(seed + 1, *size)
    parts = zip(
        topic.gaussian_pyramid(mask, levels),
        topic.laplacian_pyramid(one, levels),
        topic.laplacian_pyramid(two, levels),
        strict=True,
    )
    theirs = topic.reconstruct([m * a + (1 - m) * b for m, a, b in parts])
    for given_mask in (mask, mask[None], mask.expand(3, *size)):
        assert_agree(topic.pyramid_blend(one, two, given_mask, levels), theirs)
    ends = topic.pyramid_blend(one, two, torch.ones(size, dtype=torch.bool), levels)
    assert_agree(ends, one)


def test_pyramid_blend_hides_a_seam() -> None:
    """Bright meets dark: the cut's step becomes a ramp, and fine details do not fade."""
    one, two = torch.full((1, 64, 128), 0.8), torch.full((1, 64, 128), 0.2)
    stripes = 0.1 * (torch.arange(128) % 2 * 2 - 1).float()
    mask = torch.arange(128).expand(64, 128) < 64
    blended = topic.pyramid_blend(one + stripes, two - stripes, mask)[0, 32]
    smooth = (blended[:-1] + blended[1:]) / 2
    assert smooth.diff().abs().max() < 0.15  # of 0.6
    assert (blended.diff().abs() / 2)[:50].min() > 0.09


def test_pyramids_have_the_right_gradients() -> None:
    image, other, mask = (pictures(n, 2, 5, 6).requires_grad_() for n in (1, 2, 3))
    assert gradcheck(topic.pyramid_down, image)
    assert gradcheck(lambda x: topic.pyramid_up(x, (9, 12)), image)
    assert gradcheck(lambda x: tuple(topic.laplacian_pyramid(x, 3)), image)
    assert gradcheck(lambda *x: topic.reconstruct(topic.laplacian_pyramid(x[0], 3)), image)
    assert gradcheck(lambda *x: topic.pyramid_blend(*x, 3), (image, other, mask))
    assert gradgradcheck(lambda *x: topic.pyramid_blend(*x, 3), (image, other, mask))


def test_pyramids_take_any_layout_and_dtype() -> None:
    image = pictures(1, 2, 3, 9, 12)
    wide = image.mT.contiguous().mT
    assert_agree(topic.pyramid_down(wide), topic.pyramid_down(image))
    assert_agree(topic.pyramid_up(wide, (17, 24)), topic.pyramid_up(image, (17, 24)))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        small = topic.pyramid_down(image.to(dtype))
        assert small.dtype == dtype
        error = (small.double() - topic.pyramid_down(image)).abs().max()
        assert error <= 4 * torch.finfo(dtype).eps
    nan = image.clone()
    nan[0, 0, 8, 11] = torch.nan
    assert topic.pyramid_down(nan).isnan().sum() == 2  # its own place, and the one above it
    assert topic.pyramid_down(image[:0]).shape == (0, 3, 5, 6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.pyramid_down(IMAGE.byte()), TypeError, "image: expected a floating"),
        (lambda: topic.pyramid_down_loops(torch.zeros(3)), ValueError, r"image: .*\(..., H, W\)"),
        (lambda: topic.pyramid_down(torch.zeros(3, 0, 4)), ValueError, "with pixels"),
        (lambda: topic.pyramid_up(IMAGE, (9, 10)), ValueError, "size: expected twice"),
        (lambda: topic.pyramid_up(IMAGE, (8, 8)), ValueError, r"\(4, 5\).* got \(8, 8\)"),
        (lambda: topic.pyramid_up(IMAGE, (8.0, 10)), TypeError, "size"),
        (lambda: topic.gaussian_pyramid(IMAGE, 0), ValueError, "levels: .* >= 1"),
        (lambda: topic.laplacian_pyramid(IMAGE, 2.0), TypeError, "levels"),
        (lambda: topic.reconstruct([]), ValueError, "pyramid: expected at least one"),
        (lambda: topic.reconstruct([IMAGE, IMAGE]), ValueError, "size: expected twice"),
        (
            lambda: topic.pyramid_blend(IMAGE, IMAGE[:1], torch.ones(4, 5)),
            ValueError,
            "image2: expected the size and the channels",
        ),
        (
            lambda: topic.pyramid_blend(IMAGE, IMAGE, torch.ones(5, 4)),
            ValueError,
            r"mask: expected one number a pixel, \(4, 5\)",
        ),
        (
            lambda: topic.pyramid_blend(IMAGE, IMAGE, torch.ones(2, 4, 5)),
            ValueError,
            "mask: expected one number a pixel",
        ),
        (
            lambda: topic.pyramid_blend(IMAGE, IMAGE, torch.ones(4, 5).long()),
            TypeError,
            "mask: expected bool or a floating",
        ),
    ],
)
def test_pyramids_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- stacks ---------------------------------------------------------------------------------------


def test_expose_is_light_times_a_power_of_two() -> None:
    image = pictures(1, 3, 4, 5)
    darker = topic.expose(image, -2)
    assert_agree(srgb_to_linear(darker), srgb_to_linear(image) / 4)
    assert_agree(topic.expose(darker, 2), image)
    assert_agree(topic.expose(image, 20), torch.ones_like(image))
    with pytest.raises(TypeError, match="stops"):
        topic.expose(image, "1")


def test_defocus_equals_scipy() -> None:
    image = pictures(1, 2, 3, 12, 15)
    for sigma in (0.4, 1.0, 2.5):
        radius = math.ceil(3 * sigma)
        theirs = [
            ndimage.gaussian_filter(plane.numpy(), sigma, mode="mirror", radius=radius)
            for plane in image.reshape(-1, 12, 15)
        ]
        expected = torch.from_numpy(np.stack(theirs)).reshape(image.shape)
        assert_agree(topic.defocus(image, sigma), expected)
    assert torch.equal(topic.defocus(image, 0), image)
    with pytest.raises(ValueError, match="image: expected more than 12 pixels"):
        topic.defocus(image, 4)
    with pytest.raises(ValueError, match="sigma"):
        topic.defocus(image, -1)


def stack(name: str) -> tuple[Tensor, Tensor]:
    """A photograph, and two in which one half each is out of focus."""
    sharp = photo(name, 120).to(DOUBLE)
    left = (torch.arange(sharp.shape[2]) < sharp.shape[2] // 2).to(DOUBLE)
    blurred = topic.defocus(sharp, 2.0)
    return sharp, torch.stack([torch.lerp(blurred, sharp, left), torch.lerp(sharp, blurred, left)])


@pytest.mark.parametrize("name", ["chelsea", "coffee"])
def test_focus_fusion_finds_the_sharp_parts(name: str) -> None:
    sharp, images = stack(name)
    for levels in (1, 5):
        fused = topic.focus_fusion(images, levels)
        assert psnr(fused, sharp) > psnr(images.mean(0), sharp) + 10
        assert ssim(fused, sharp) > 0.98
    sharper = topic.sharpness(images)[0] > topic.sharpness(images)[1]
    half = sharp.shape[2] // 2
    assert sharper[..., :half].double().mean() > 0.9
    assert sharper[..., half:].double().mean() < 0.1


def test_equal_pictures_fuse_to_themselves() -> None:
    image = pictures(1, 3, 20, 17)
    images = image.expand(3, -1, -1, -1)
    assert_agree(topic.focus_fusion(images), image)
    assert_agree(topic.exposure_fusion(images), image)
    assert_agree(topic.exposure_weights(images), torch.full((3, 1, 20, 17), 1 / 3, dtype=DOUBLE))
    assert_agree(topic.focus_fusion(image[None, :1]), image[:1])
    assert not topic.sharpness(torch.full((3, 9, 9), 0.4, dtype=DOUBLE)).abs().max() > 1e-30


def test_a_tie_goes_to_the_first_picture() -> None:
    flat = torch.stack([torch.full((1, 9, 9), value) for value in (0.3, 0.8)])
    assert_agree(topic.focus_fusion(flat, 2), flat[0], tolerance=1e-6)


@pytest.mark.parametrize("exposedness", [0.0, 1.0])
@pytest.mark.parametrize("size", [(40, 56), (37, 51)])
def test_exposure_fusion_equals_opencv(exposedness: float, size: tuple[int, int]) -> None:
    image = photo("coffee", 60)[:, : size[0], : size[1]]
    images = torch.stack([topic.expose(image, stops) for stops in (-2.0, 0.0, 2.0)])
    numbers = (255 * images).round()
    series = [frame.byte().permute(1, 2, 0).contiguous().numpy() for frame in numbers]
    theirs = cv2.createMergeMertens(1, 1, exposedness).process(series)
    ours = topic.exposure_fusion(numbers / 255, exposedness=exposedness)
    assert (ours - torch.from_numpy(theirs).permute(2, 0, 1)).abs().max() < 1e-3


def test_exposure_weights_prefer_what_came_out() -> None:
    image = photo("chelsea", 60).to(DOUBLE)
    images = torch.stack([topic.expose(image, stops) for stops in (-5.0, 0.0, 5.0)])
    weights = topic.exposure_weights(images)
    assert_agree(weights.sum(0), torch.ones(1, *image.shape[1:], dtype=DOUBLE))
    assert weights[1].mean() > 0.7
    alone = topic.exposure_weights(images, 0, 0, 1)
    by_hand = torch.exp(-((images - 0.5) ** 2) / 0.08).prod(1, keepdim=True)
    assert_agree(alone, by_hand / by_hand.sum(0), tolerance=1e-8)
    assert_agree(topic.exposure_weights(images, 0, 0, 0), torch.full_like(weights, 1 / 3))


def test_stacks_have_the_right_gradients() -> None:
    images = pictures(1, 2, 3, 8, 9).requires_grad_()
    assert gradcheck(lambda x: topic.sharpness(x, 1.0), images)
    assert gradcheck(lambda x: topic.exposure_fusion(x, 2), images)
    assert gradcheck(lambda x: topic.focus_fusion(x, 2, sigma=1.0), images)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.sharpness(torch.zeros(9, 9)), ValueError, r"expected \(..., C, H, W\)"),
        (lambda: topic.sharpness(torch.zeros(3, 6, 9)), ValueError, "more than 6 pixels"),
        (lambda: topic.focus_fusion(torch.zeros(3, 9, 9)), ValueError, "images: expected 4"),
        (lambda: topic.focus_fusion(torch.zeros(0, 3, 9, 9)), ValueError, "with pictures"),
        (lambda: topic.exposure_weights(torch.zeros(2, 1, 9, 9)), ValueError, r"\(N, 3, H, W\)"),
        (lambda: topic.exposure_weights(torch.zeros(2, 3, 1, 9)), ValueError, "more than 1 pixels"),
        (lambda: topic.exposure_fusion(torch.zeros(2, 3, 9, 9), 0), ValueError, "levels"),
        (
            lambda: topic.exposure_fusion(torch.zeros(2, 3, 9, 9), contrast=-1),
            ValueError,
            "contrast: expected a finite number >= 0",
        ),
    ],
)
def test_stacks_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- the Poisson equation -------------------------------------------------------------------------


def laplacian(image: Tensor) -> Tensor:
    return (
        image[..., :-2, 1:-1] + image[..., 2:, 1:-1] + image[..., 1:-1, :-2] + image[..., 1:-1, 2:]
    ) - 4 * image[..., 1:-1, 1:-1]


@given(st.integers(0, 1000), st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_the_solution_solves_the_equation(seed: int, size: tuple[int, int]) -> None:
    boundary = pictures(seed, 2, size[0] + 2, size[1] + 2)
    wanted = pictures(seed + 1, 2, *size)
    solved = topic.poisson_solve(wanted, boundary)
    assert_agree(laplacian(solved), wanted)
    border = torch.ones(boundary.shape[1:], dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert torch.equal(solved[:, border], boundary[:, border])
    rim = torch.where(border, boundary, torch.nan)  # what lies inside does not count
    assert torch.equal(topic.poisson_solve(wanted, rim), solved)
    everywhere = torch.ones(boundary.shape[1:], dtype=torch.bool)
    by_steps = topic.poisson_solve_region(wanted, boundary, everywhere, size[0] * size[1] + 20)
    assert_agree(by_steps, solved)
    matrix = topic.poisson_matrix(*size)
    assert_agree((matrix @ solved[:, 1:-1, 1:-1].flatten(1).T).T.reshape(wanted.shape) + laplacian(
        torch.where(border, boundary, 0)
    ), wanted)  # fmt: skip


def test_a_picture_is_found_from_its_differences() -> None:
    image = photo("chelsea", 200)
    wanted = topic.divergence(*topic.gradients(image.double()))
    assert_agree(topic.poisson_solve(wanted, image.double()), image.double())
    single = topic.poisson_solve(topic.divergence(*topic.gradients(image)), image)
    assert single.dtype == torch.float32
    assert (single - image).abs().max() < 1e-4
    flat, ones = torch.zeros(1, 3, 4).half(), torch.ones(1, 5, 6).half()
    assert_agree(topic.poisson_solve(flat, ones), ones, tolerance=1e-3)
    assert_agree(topic.poisson_solve_region(flat, ones, ones > 0), ones, tolerance=1e-3)


def test_sine_transform_is_its_own_inverse() -> None:
    x = pictures(1, 4, 7, 3)
    for dim, length in ((0, 4), (1, 7), (-1, 3)):
        twice = topic.sine_transform(topic.sine_transform(x, dim), dim)
        assert_agree(twice, 2 * (length + 1) * x)
    assert_agree(topic.sine_transform(x.mT, -1).mT, topic.sine_transform(x, 1))


def test_only_what_the_mask_covers_counts() -> None:
    source, target, other = pictures(1, 3, 3, 20, 24)
    mask = blob(20, 24)
    changed = torch.where(mask, source, other)
    assert_agree(
        topic.poisson_blend(source, target, mask), topic.poisson_blend(changed, target, mask)
    )
    assert_agree(topic.poisson_blend(source, target, mask & False), target)
    inside = topic.poisson_blend(source, target, mask, region="mask")
    assert torch.equal(inside[:, ~mask], target[:, ~mask])
    assert not torch.equal(inside[:, mask], target[:, mask])


def test_a_constant_is_no_difference() -> None:
    """A source that is the target, only brighter, leaves no trace."""
    target = pictures(1, 3, 20, 24)
    for region in ("picture", "mask"):
        for mixed in (False, True):
            blended = topic.poisson_blend(
                target + 0.4, target, blob(20, 24), region=region, mixed=mixed
            )
            assert_agree(blended, target)


def test_mixed_keeps_the_stronger_difference() -> None:
    target = pictures(1, 1, 20, 24)
    flat = torch.full_like(target, 0.5)
    mask = blob(20, 24)
    assert_agree(topic.poisson_blend(flat, target, mask, mixed=True), target)
    plain = topic.poisson_blend(flat, target, mask)
    assert plain[:, mask].std() < target[:, mask].std() / 2


def theirs_redone(source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """What `cv2.seamlessClone` seeks: a box, with a mask eroded three times."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    box = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    eroded = torch.from_numpy(ndimage.binary_erosion(mask.numpy(), np.ones((3, 3)), 3))[box]
    piece, ground = source[:, *box], target[:, *box]
    (down, right), (old_down, old_right) = topic.gradients(piece), topic.gradients(ground)
    flow = topic.divergence(
        torch.where(eroded[:-1], down, old_down), torch.where(eroded[:, :-1], right, old_right)
    )
    result = target.clone()
    result[:, *box] = topic.poisson_solve(flow, ground)
    return result


@pytest.mark.parametrize("shape", ["box", "disc"])
def test_blend_is_near_to_opencvs(shape: str) -> None:
    source, target = (
        (255 * photo(name, 120)[:, :110, :120]).round().to(DOUBLE) for name in ("coffee", "chelsea")
    )
    mask = blob(110, 120)
    if shape == "box":
        mask = torch.zeros(110, 120, dtype=torch.bool)
        mask[20:90, 25:100] = True
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    middle = int(columns[0] + columns[-1] + 1) // 2, int(rows[0] + rows[-1] + 1) // 2
    images = [x.byte().permute(1, 2, 0).contiguous().numpy() for x in (source, target)]
    painted = 255 * mask.byte().numpy()
    theirs = cv2.seamlessClone(*images, painted, middle, cv2.NORMAL_CLONE)
    expected = torch.from_numpy(theirs).permute(2, 0, 1).to(DOUBLE)
    redone = theirs_redone(source, target, mask).clamp(0, 255).floor()  # it cuts decimals off
    assert (redone - expected).abs().max() <= 1
    assert (redone - expected).abs().mean() < 0.02


def test_poisson_has_the_right_gradients() -> None:
    wanted, boundary = pictures(1, 3, 4).requires_grad_(), pictures(2, 5, 6).requires_grad_()
    assert gradcheck(topic.poisson_solve, (wanted, boundary))
    assert gradcheck(topic.sine_transform, wanted)
    mask = blob(5, 6)
    assert gradcheck(
        lambda *x: topic.poisson_solve_region(*x, mask, 20), (wanted, boundary), atol=1e-4
    )
    source = pictures(3, 5, 6).requires_grad_()
    assert gradcheck(lambda *x: topic.poisson_blend(*x, mask), (source, boundary))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.gradients(torch.zeros(3)), ValueError, r"image: expected \(..., H, W\)"),
        (
            lambda: topic.divergence(torch.zeros(3, 5), torch.zeros(4, 5)),
            ValueError,
            r"right: expected shape \(4, 4\)",
        ),
        (lambda: topic.poisson_matrix(0, 2), ValueError, "height"),
        (lambda: topic.poisson_eigenvalues(2, 2.0), TypeError, "width"),
        (lambda: topic.sine_transform(torch.zeros(3).half()), TypeError, "x: expected float32"),
        (lambda: topic.sine_transform(torch.zeros(0)), ValueError, "x: expected numbers"),
        (
            lambda: topic.poisson_solve(torch.zeros(3, 4), torch.zeros(3, 4)),
            ValueError,
            r"divergence: expected shape \(1, 2\)",
        ),
        (
            lambda: topic.poisson_solve(torch.zeros(0, 2), torch.zeros(2, 4)),
            ValueError,
            "boundary: .* at least 3 x 3",
        ),
        (
            lambda: topic.poisson_solve_region(
                torch.zeros(1, 2), torch.zeros(3, 4), torch.ones(3, 4), -1
            ),
            ValueError,
            "iterations",
        ),
        (
            lambda: topic.poisson_blend(IMAGE, IMAGE[:, :, :-1], torch.ones(4, 4)),
            ValueError,
            "source: expected shape",
        ),
        (
            lambda: topic.poisson_blend(IMAGE, IMAGE, torch.ones(4, 5), region="all"),
            ValueError,
            "region: expected one of 'picture', 'mask'",
        ),
        (
            lambda: topic.poisson_blend(IMAGE, IMAGE, torch.ones(4, 4)),
            ValueError,
            "mask: expected one number a pixel",
        ),
    ],
)
def test_poisson_refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- features -------------------------------------------------------------------------------------


def test_saliency_weighs_with_strength() -> None:
    one, two = pictures(1, 2, 1, 4, 5, 6)
    assert_agree(topic.fuse_saliency(one, one), one)
    assert_agree(topic.fuse_saliency(one, 0 * one), one)
    assert_agree(topic.fuse_saliency(0 * one, 0 * one), 0 * one)
    assert_agree(topic.fuse_saliency(one, two), topic.fuse_saliency(two, one))
    flat = torch.ones(1, 1, 4, 4)
    assert_agree(topic.fuse_saliency(3 * flat, -flat), (9 - 1) / 4 * flat)


def test_attention_is_a_softmax() -> None:
    one, two = pictures(1, 2, 1, 4, 5, 6)
    scores = 50 * (pictures(2, 2, 1, 1, 5, 6) - 0.5)
    weights = torch.softmax(scores, 0)
    expected = weights[0] * one + weights[1] * two
    assert_agree(topic.fuse_attention(one, two, *scores), expected)
    assert torch.equal(topic.fuse_attention(one, two, scores[0] + 1000, scores[1]), one)


@pytest.mark.parametrize("rule", ["average", "maximum", "saliency", "attention"])
def test_network_before_training_is_a_pixel_rule(rule: str) -> None:
    torch.manual_seed(0)
    network = topic.FusionNet(4, rule).double()
    one, two = pictures(1, 2, 2, 3, 9, 8)
    features = network.encode(one), network.encode(two)
    assert features[0].shape == (2, 7, 9, 8)
    assert torch.equal(features[0][:, :3], one)
    fused = network.fuse(*features)
    bias = network.decoder[-1].bias[:, None, None]
    assert_agree(network(one, two), fused[:, :3] + bias)
    expected = {"average": (one + two) / 2, "maximum": torch.maximum(one, two)}
    if rule in expected:
        assert_agree(network(one, two), expected[rule] + bias)
    assert_agree(network(one, two), network(two, one))
    assert_agree(network(one, one), one + bias)
    assert rule in repr(network)


def test_network_learns() -> None:
    """From a few patches: it must leave the average behind."""
    sharp, images = stack("coffee")
    images, truth = images.float()[:, None, :, 30:80, 40:130], sharp.float()[None, :, 30:80, 40:130]
    torch.manual_seed(0)
    network = topic.FusionNet(8, "attention")
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        loss = ((network(*images) - truth) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-3:]) < ((images.mean(0) - truth) ** 2).mean() / 1.5
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_features_have_the_right_gradients() -> None:
    one, two = (pictures(n, 1, 2, 3, 4).add(0.1).requires_grad_() for n in (1, 2))
    assert gradcheck(topic.fuse_saliency, (one, two))
    scores = [pictures(n, 1, 1, 3, 4).requires_grad_() for n in (3, 4)]
    assert gradcheck(topic.fuse_attention, (one, two, *scores))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.FusionNet(0), ValueError, "channels"),
        (lambda: topic.FusionNet(4, "sum"), ValueError, "fuse: expected one of 'average'"),
        (lambda: topic.FusionNet(4)(IMAGE, IMAGE), ValueError, "image: expected 4 dimensions"),
        (
            lambda: topic.FusionNet(4)(IMAGE[None, :1], IMAGE[None, :1]),
            ValueError,
            r"image: expected shape \(any, 3, any, any\)",
        ),
        (lambda: topic.FusionNet(4)(IMAGE[None], IMAGE[None, :, 1:]), ValueError, "image2"),
        (
            lambda: topic.fuse_saliency(IMAGE[None], IMAGE[None, :1]),
            ValueError,
            "features2: expected shape",
        ),
        (
            lambda: topic.fuse_attention(IMAGE[None], IMAGE[None], IMAGE[None, :1], IMAGE[None]),
            ValueError,
            r"scores2: expected shape \(1, 1, 4, 5\)",
        ),
    ],
)
def test_features_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- judging --------------------------------------------------------------------------------------


def test_entropy_of_known_pictures() -> None:
    steps = torch.arange(256).reshape(16, 16) / 255
    assert topic.image_entropy(steps).item() == pytest.approx(8)
    assert topic.image_entropy(torch.full((3, 4, 4), 0.3)).item() == 0
    batch = torch.stack([steps, steps.round(), 0 * steps])[:, None]
    assert topic.image_entropy(batch).tolist() == pytest.approx([8, 1, 0])
    assert topic.image_entropy(steps, bins=4).item() < 2
    wild = 3 * batch - 1
    assert torch.equal(topic.image_entropy(wild), topic.image_entropy(wild.clamp(0, 1)))


def test_mutual_information_of_known_pictures() -> None:
    steps = torch.arange(256).reshape(16, 16) / 255
    assert topic.mutual_information(steps, steps).item() == pytest.approx(8)
    assert topic.mutual_information(steps, 1 - steps).item() == pytest.approx(8)
    assert topic.mutual_information(steps, 0 * steps).item() == pytest.approx(0, abs=1e-5)
    # High bits and low bits of a count are independent.
    high, low = torch.arange(256) // 16 / 15.0, torch.arange(256) % 16 / 15.0
    assert topic.mutual_information(
        high.reshape(16, 16), low.reshape(16, 16), 16
    ).item() == pytest.approx(0, abs=1e-5)
    pair = torch.stack([steps, steps])[:, None]
    assert topic.mutual_information(pair, pair).tolist() == pytest.approx([8, 8])


def test_edge_preservation_of_known_pictures() -> None:
    one, two = pictures(1, 2, 3, 12, 13)
    best = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
    assert topic.edge_preservation(one, one, one).item() == pytest.approx(best)
    assert topic.edge_preservation(one, one, 1 - one).item() == pytest.approx(best)  # half a turn
    assert topic.edge_preservation(one, two, 0 * one).item() < 0.01
    assert topic.edge_preservation(0 * one, 0 * one, two).item() == 0
    assert topic.edge_preservation(one, two, one) == topic.edge_preservation(two, one, one)
    batch = [image.expand(2, -1, -1, -1) for image in (one, two, one)]
    assert_agree(topic.edge_preservation(*batch), topic.edge_preservation(one, two, one).expand(2))


def ramp(angle: float) -> Tensor:
    """Brightness that rises in one direction: edges of one strength everywhere."""
    y, x = torch.meshgrid(*[torch.arange(5, dtype=DOUBLE)] * 2, indexing="ij")
    return (math.cos(angle) * x + math.sin(angle) * y)[None]


@pytest.mark.parametrize("turn", range(-11, 12))
def test_edges_are_turned_by_half_a_turn_at_most(turn: int) -> None:
    for first in (0.1, 1.7, 3.0, 5.0):
        steps = abs(turn) % 8  # of an eighth of pi; eight are no turn at all
        aligned = 1 - min(steps, 8 - steps) / 4
        expected = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-22 * (aligned - 0.8)))
        source, fused = ramp(first), ramp(first + turn * math.pi / 8)
        assert topic.edge_preservation(source, source, fused).item() == pytest.approx(expected)


def test_fusion_ssim_of_known_pictures() -> None:
    one, two = pictures(1, 2, 3, 14, 16)
    assert topic.fusion_ssim(one, one, one).item() == pytest.approx(1)
    grey = one.mean(0, keepdim=True)
    assert_agree(topic.fusion_ssim(grey, grey, two[:1]), ssim(grey, two[:1]))
    # A flat source has nothing to give, so the other one alone counts.
    assert_agree(topic.fusion_ssim(grey, 0 * grey, two[:1]), ssim(grey, two[:1]))
    flat = torch.full_like(grey, 0.5)
    assert topic.fusion_ssim(flat, flat, flat).item() == pytest.approx(1)


def test_judges_prefer_the_fused_picture() -> None:
    sharp, images = stack("chelsea")
    for judge in (topic.edge_preservation, topic.fusion_ssim):
        good, bad = judge(*images, sharp), judge(*images, images.mean(0))
        assert good > bad + 0.01


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.image_entropy(IMAGE, 1), ValueError, "bins: .* >= 2"),
        (lambda: topic.image_entropy(IMAGE.byte()), TypeError, "image: expected a floating"),
        (lambda: topic.image_entropy(IMAGE[:, :0]), ValueError, "image: expected at least one"),
        (lambda: topic.mutual_information(IMAGE, IMAGE[:1]), ValueError, "image2: expected shape"),
        (
            lambda: topic.edge_preservation(IMAGE, IMAGE, IMAGE[:, :2]),
            ValueError,
            "fused: expected shape",
        ),
        (
            lambda: topic.edge_preservation(IMAGE[:2], IMAGE[:2], IMAGE[:2]),
            ValueError,
            "image1: expected 1 or 3 channels",
        ),
        (lambda: topic.fusion_ssim(IMAGE, IMAGE, IMAGE), ValueError, "at least 11 x 11"),
    ],
)
def test_judges_refuse(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- panorama -------------------------------------------------------------------------------------


@given(
    st.integers(0, 1000),
    st.tuples(st.integers(3, 20), st.integers(3, 20)),
    st.tuples(st.integers(-9, 9), st.integers(-9, 9)),
)
def test_whole_shifts_are_found(seed: int, size: tuple[int, int], shift: tuple[int, int]) -> None:
    image = pictures(seed, 3, *size)
    found = topic.phase_correlation(image, image.roll(shift, (1, 2)))
    rounds = (found + torch.tensor(shift)) / torch.tensor(size)  # a shift by the size is none
    assert_agree(rounds, rounds.round(), tolerance=1e-6)
    assert (2 * found.abs() <= torch.tensor(size)).all()


def test_shifts_between_pixels_are_found() -> None:
    image = topic.defocus(photo("camera", 128), 1.0)[0].double()
    for shift in ((0.5, 0.0), (3.25, -6.75), (-0.1, 0.3)):
        y, x = (torch.fft.fftfreq(n, dtype=DOUBLE) for n in image.shape)
        wave = torch.exp(2j * torch.pi * (shift[0] * y[:, None] + shift[1] * x))
        moved = torch.fft.ifft2(torch.fft.fft2(image) * wave).real  # moves up and left
        found = topic.phase_correlation(image, moved)
        assert_agree(found, torch.tensor(shift, dtype=DOUBLE), tolerance=0.02)
    assert topic.phase_correlation(0 * image, 0 * image).tolist() == [0, 0]


def test_overlapping_crops_are_registered() -> None:
    image = photo("chelsea", grey=True).double()
    one, two = image[:, 50:250, 60:260], image[:, 62:262, 97:297]
    found = topic.phase_correlation(one, two)
    assert_agree(found.round(), torch.tensor([12.0, 37.0], dtype=DOUBLE))


def test_warp_by_the_identity_and_by_a_shift() -> None:
    image = pictures(1, 3, 6, 7)
    matrix = torch.eye(3, dtype=DOUBLE)
    warped, valid = topic.warp_homography(image, matrix, (6, 7))
    assert_agree(warped, image)
    assert valid.all()
    matrix[0, 2], matrix[1, 2] = 2, -1  # the result's first pixel is the image's (-1, 2)
    warped, valid = topic.warp_homography(image, matrix, (9, 9))
    expected = torch.zeros(3, 9, 9, dtype=DOUBLE)
    expected[:, 1:7, :5] = image[:, :, 2:]
    assert_agree(warped, expected)
    assert torch.equal(valid, (expected != 0).any(0))
    scaled, _ = topic.warp_homography(image, 5 * matrix, (9, 9))
    assert_agree(scaled, warped)


def test_warp_equals_opencv_on_whole_and_half_pixels() -> None:
    image = pictures(1, 1, 20, 24).float()
    angle = torch.tensor(torch.pi / 2)
    matrix = torch.tensor([[0.0, -1, 22], [1, 0, 1], [0, 0, 1]]) * torch.sin(angle)
    matrix[:2, 2] += 0.5
    theirs = cv2.warpPerspective(
        image[0].numpy(),
        matrix.numpy(),
        (15, 12),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    warped, valid = topic.warp_homography(image, matrix, (12, 15))
    assert valid.all()
    assert_agree(warped[0], torch.from_numpy(theirs), tolerance=1e-5)


def test_gain_is_found_again() -> None:
    image = photo("coffee", 80).double()
    gains = torch.tensor([0.5, 0.7, 1.25], dtype=DOUBLE).reshape(3, 1, 1)
    other = linear_to_srgb(gains * srgb_to_linear(image))
    mask = torch.ones(image.shape[1:], dtype=torch.bool)
    mask[:10] = False
    spoiled = other.clone()
    spoiled[:, :10] = 0
    assert_agree(topic.match_exposure(image, spoiled, mask), gains)
    assert_agree(topic.match_exposure(image, other, mask & False), torch.ones_like(gains))
    assert gradcheck(
        lambda a, b: topic.match_exposure(a, b, mask[:3, :4]),
        (pictures(1, 3, 3, 4).requires_grad_(), pictures(2, 3, 3, 4).requires_grad_()),
    )


@given(st.integers(0, 1000), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.floats(0, 1))
def test_feather_equals_loops_and_scipy(seed: int, size: tuple[int, int], share: float) -> None:
    mask = pictures(seed, *size) < share
    weights = topic.feather_weights(mask)
    assert torch.equal(weights, topic.feather_weights_loops(mask))
    if not mask.all():
        theirs = ndimage.distance_transform_cdt(mask.numpy(), metric="taxicab")
        assert torch.equal(weights, torch.from_numpy(theirs).float())
    assert torch.equal(topic.feather_weights(mask.expand(2, *size))[1], weights)


METHODS = ("cut", "feather", "pyramid", "poisson")


def crops(image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Three overlapping pieces of a picture, and where they lie."""
    width, third = image.shape[2], image.shape[2] // 3
    pieces, matrices = [], []
    for left, right in ((0, third + 12), (third - 12, 2 * third + 12), (2 * third - 12, width)):
        pieces.append(image[:, :, left:right])
        matrix = torch.eye(3, dtype=image.dtype)
        matrix[0, 2] = -left
        matrices.append(matrix)
    return pieces, matrices


@pytest.mark.parametrize("method", METHODS)
def test_pieces_make_the_picture_again(method: str) -> None:
    image = photo("coffee", 90).double()
    pieces, matrices = crops(image)
    canvas, covered = topic.stitch(pieces, matrices, (image.shape[1], image.shape[2]), method)
    assert covered.all()
    assert_agree(canvas, image)
    wider, covered = topic.stitch(pieces, matrices, (95, image.shape[2] + 4), method)
    assert torch.equal(covered.nonzero().max(0).values + 1, torch.tensor(image.shape[1:]))
    assert not wider[:, ~covered].any()
    single, _ = topic.stitch(pieces[:1], matrices[:1], (90, 50), method)
    assert_agree(single, image[:, :, :50])


@pytest.mark.parametrize("method", METHODS[1:])
def test_seams_are_softer_than_a_cut(method: str) -> None:
    image = photo("coffee", 90).double()
    pieces, matrices = crops(image)
    pieces = [piece + 0.1 * n for n, piece in enumerate(pieces)]
    size = image.shape[1], image.shape[2]
    steps = [
        (topic.stitch(pieces, matrices, size, how)[0] - image).diff(dim=2).abs()[:, 10:-10].max()
        for how in ("cut", method)
    ]
    assert steps[0] == pytest.approx(0.1)
    assert steps[1] < 0.05


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.phase_correlation(IMAGE, IMAGE[:, :2]), ValueError, "image2"),
        (lambda: topic.phase_correlation(IMAGE[:, :0], IMAGE[:, :0]), ValueError, "pixels"),
        (
            lambda: topic.warp_homography(IMAGE, torch.eye(2), (4, 5)),
            ValueError,
            r"matrix: expected shape \(3, 3\)",
        ),
        (lambda: topic.warp_homography(IMAGE, torch.eye(3), (4, 0)), ValueError, "size"),
        (lambda: topic.warp_homography(IMAGE, torch.eye(3).double(), (4, 5)), TypeError, "matrix"),
        (lambda: topic.warp_homography(IMAGE[:0], torch.eye(3), (4, 5)), ValueError, "pixels"),
        (lambda: topic.match_exposure(IMAGE, IMAGE[:1], torch.ones(4, 5)), ValueError, "reference"),
        (lambda: topic.feather_weights(torch.ones(3, 3)), TypeError, "mask: expected bool"),
        (lambda: topic.feather_weights(torch.ones(3).bool()), ValueError, "mask: expected"),
        (lambda: topic.feather_weights_loops(torch.ones(1, 3, 3).bool()), ValueError, "mask"),
        (lambda: topic.stitch([], [], (4, 5), "cut"), ValueError, "images: expected as many"),
        (
            lambda: topic.stitch([IMAGE], [torch.eye(3)], (4, 5), "blur"),
            ValueError,
            "method: expected one of 'cut'",
        ),
    ],
)
def test_panorama_refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- noise and holes ------------------------------------------------------------------------------


def test_noise_falls_with_the_root() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = 0.1 * torch.randn(16, 200, 200, generator=generator)
    for count in (1, 4, 16):
        measured = topic.average_burst(frames[:count]).std().item()
        assert measured == pytest.approx(topic.burst_noise(0.1, count), rel=0.02)


def test_the_median_ignores_what_is_far_off() -> None:
    frames = pictures(1, 5, 3, 4, 4)
    assert_agree(topic.average_burst(frames, "median"), frames.median(0).values)
    even = torch.tensor([[0.0], [3.0], [1.0], [9.0]])
    assert topic.average_burst(even, "median").item() == 2
    frames[2] = 1e6
    assert topic.average_burst(frames, "median").max() <= 1
    leaf = pictures(2, 4, 3).requires_grad_()
    assert gradcheck(lambda x: topic.average_burst(x, "median"), leaf)


def test_a_ramp_is_filled_exactly() -> None:
    y, x = torch.meshgrid(*[torch.arange(n, dtype=DOUBLE) for n in (20, 24)], indexing="ij")
    ramp = torch.stack([x + 2 * y, x * y]) / 100  # both are harmonic
    mask = blob(20, 24)
    holed = torch.where(mask, 9.0, ramp)
    assert_agree(topic.inpaint(holed, mask, 100), ramp)
    filled = topic.inpaint(torch.where(mask, 9.0, photo("coffee", 24)[:, :20, :24]), mask)
    assert_agree(filled[:, ~mask], photo("coffee", 24)[:, :20, :24][:, ~mask])
    assert filled.max() <= 1


def test_scratches_are_filled() -> None:
    image = photo("chelsea", 120)
    mask = torch.zeros(image.shape[1:], dtype=torch.bool)
    mask[::10], mask[:, ::15] = True, True
    mask[[0, -1]], mask[:, [0, -1]] = False, False
    filled = topic.inpaint(torch.where(mask, 0, image), mask, 50)
    assert psnr(filled, image) > 30
    assert psnr(torch.where(mask, 0, image), image) < 15


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.average_burst(IMAGE[:0]), ValueError, "frames: expected at least one"),
        (lambda: topic.average_burst(IMAGE, "mode"), ValueError, "how"),
        (lambda: topic.average_burst(IMAGE.byte()), TypeError, "frames"),
        (lambda: topic.burst_noise(-1.0, 2), ValueError, "sigma"),
        (lambda: topic.burst_noise(1.0, 0), ValueError, "frames"),
        (lambda: topic.inpaint(IMAGE, torch.ones(3, 5)), ValueError, "mask"),
        (lambda: topic.inpaint(IMAGE[0, 0], torch.ones(5)), ValueError, r"expected \(..., H, W\)"),
        (lambda: topic.inpaint(IMAGE, torch.ones(4, 5), 0.5), TypeError, "iterations"),
    ],
)
def test_repair_refuses(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


# --- one graph ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda x: topic.alpha_blend(x, x.flip(-1), 0.3, linear=True),
        lambda x: topic.alpha_blend((255 * x).byte(), (255 * x.flip(-1)).byte(), 0.25),
        lambda x: topic.pyramid_blend(x, x.flip(-1), x[:1], 3),
        lambda x: topic.poisson_blend(x, x.flip(-1), x[0] > 0.5),
        lambda x: topic.focus_fusion(x[None], 3, sigma=1.0),
        lambda x: topic.exposure_fusion(x[None], 3),
        lambda x: topic.feather_weights(x > 0.5),
        lambda x: topic.edge_preservation(x, x, x.flip(-1)),
    ],
)
def test_it_compiles_into_one_graph(call: Callable[[Tensor], Tensor]) -> None:
    x = pictures(1, 3, 13, 16).float()
    compiled = torch.compile(call, fullgraph=True, backend="eager")
    assert_agree(compiled(x), call(x), tolerance=1e-6)


@pytest.mark.parametrize("place", [slice(0, 16), slice(1, 4), slice(5, 18), slice(0, 0)])
def test_compiled_bytes_need_not_come_in_fours(place: slice) -> None:
    torch.compiler.reset()
    one, two = (255 * pictures(4, 2, 19).float()).byte()
    compiled = torch.compile(topic.alpha_blend, fullgraph=True, backend="eager")
    for alpha in (0.25, 0.3, 0.7):  # from the second on the number is traced as a variable
        expected = topic.alpha_blend(one[place], two[place], alpha)
        assert torch.equal(compiled(one[place], two[place], alpha), expected)


@pytest.mark.parametrize("begin", [0, 3])
def test_compiled_bytes_may_begin_between_two_words(begin: int) -> None:
    torch.compiler.reset()
    one, two = ((255 * picture.float()).byte().flatten() for picture in pictures(4, 2, 120))
    part = slice(begin, begin + 100)
    compiled = torch.compile(topic.alpha_blend, fullgraph=True)
    expected = topic.alpha_blend(one[part], two[part], 0.25)
    assert torch.equal(compiled(one[part], two[part], 0.25), expected)


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

# The functions whose result's shape depends on the numbers in a tensor.
LOOKS_AT_DATA: set[str] = {"feather_weights_loops"}


def _on(device: torch.device, kind: Callable[..., nn.Module], **options: Any) -> nn.Module:
    with device:
        return kind(**options)


CALLS: dict[str, Callable[..., Any]] = {
    "alpha_blend": lambda make, device: topic.alpha_blend(make(3, 4, 5), make(3, 4, 5), make(4, 5)),
    "alpha_blend_loops": lambda make, device: topic.alpha_blend_loops(
        make(3, 2, 2), make(3, 2, 2), 0.5, linear=True
    ),
    "match_images": lambda make, device: topic.match_images(make(1, 4, 5), make(3, 6, 7)),
    "premultiply": lambda make, device: topic.premultiply(make(3, 4, 5), make(1, 4, 5)),
    "unpremultiply": lambda make, device: topic.unpremultiply(make(3, 4, 5), make(1, 4, 5)),
    "over": lambda make, device: topic.over(
        make(3, 4, 5), make(1, 4, 5), make(3, 4, 5), make(1, 4, 5)
    ),
    "over_premultiplied": lambda make, device: topic.over_premultiplied(
        make(3, 4, 5), make(1, 4, 5), make(3, 4, 5), make(1, 4, 5)
    ),
    "pyramid_down": lambda make, device: topic.pyramid_down(make(3, 4, 5)),
    "pyramid_down_loops": lambda make, device: topic.pyramid_down_loops(make(3, 4, 5)),
    "pyramid_up": lambda make, device: topic.pyramid_up(make(3, 4, 5), (7, 10)),
    "gaussian_pyramid": lambda make, device: topic.gaussian_pyramid(make(3, 9, 8), 3),
    "laplacian_pyramid": lambda make, device: topic.laplacian_pyramid(make(3, 9, 8), 3),
    "reconstruct": lambda make, device: topic.reconstruct([make(3, 9, 8), make(3, 5, 4)]),
    "pyramid_blend": lambda make, device: topic.pyramid_blend(
        make(3, 9, 8), make(3, 9, 8), make(9, 8) > 0
    ),
    "expose": lambda make, device: topic.expose(make(3, 4, 5), 1.0),
    "defocus": lambda make, device: topic.defocus(make(3, 9, 8), 1.0),
    "sharpness": lambda make, device: topic.sharpness(make(3, 9, 8)),
    "focus_fusion": lambda make, device: topic.focus_fusion(make(2, 3, 9, 8)),
    "exposure_weights": lambda make, device: topic.exposure_weights(make(2, 3, 9, 8)),
    "exposure_fusion": lambda make, device: topic.exposure_fusion(make(2, 3, 9, 8)),
    "gradients": lambda make, device: topic.gradients(make(3, 4, 5)),
    "divergence": lambda make, device: topic.divergence(make(3, 5), make(4, 4)),
    "poisson_matrix": lambda make, device: topic.poisson_matrix(2, 3, device=device),
    "poisson_eigenvalues": lambda make, device: topic.poisson_eigenvalues(2, 3, device=device),
    "sine_transform": lambda make, device: topic.sine_transform(make(4, 5), 0),
    "poisson_solve": lambda make, device: topic.poisson_solve(make(3, 2, 3), make(3, 4, 5)),
    "poisson_solve_region": lambda make, device: topic.poisson_solve_region(
        make(3, 2, 3), make(3, 4, 5), make(4, 5) > 0, 3
    ),
    "poisson_blend": lambda make, device: topic.poisson_blend(
        make(3, 4, 5), make(3, 4, 5), make(4, 5) > 0, mixed=True
    ),
    "fuse_saliency": lambda make, device: topic.fuse_saliency(make(1, 4, 3, 3), make(1, 4, 3, 3)),
    "fuse_attention": lambda make, device: topic.fuse_attention(
        make(1, 4, 3, 3), make(1, 4, 3, 3), make(1, 1, 3, 3), make(1, 1, 3, 3)
    ),
    "FusionNet": lambda make, device: _on(device, topic.FusionNet, fuse="attention")(
        make(1, 3, 5, 5), make(1, 3, 5, 5)
    ),
    "image_entropy": lambda make, device: topic.image_entropy(make(3, 4, 5)),
    "mutual_information": lambda make, device: topic.mutual_information(
        make(3, 4, 5), make(3, 4, 5), 8
    ),
    "edge_preservation": lambda make, device: topic.edge_preservation(*make(3, 3, 4, 5)),
    "fusion_ssim": lambda make, device: topic.fusion_ssim(*make(3, 3, 12, 11)),
    "phase_correlation": lambda make, device: topic.phase_correlation(make(4, 5), make(4, 5)),
    "warp_homography": lambda make, device: topic.warp_homography(
        make(3, 4, 5), make(3, 3), (4, 5)
    ),
    "match_exposure": lambda make, device: topic.match_exposure(
        make(3, 4, 5), make(3, 4, 5), make(4, 5) > 0
    ),
    "feather_weights": lambda make, device: topic.feather_weights(make(4, 5) > 0),
    "feather_weights_loops": lambda make, device: topic.feather_weights_loops(make(2, 2) > 0),
    "stitch": lambda make, device: topic.stitch(
        [make(3, 4, 5), make(3, 4, 4)], [make(3, 3), make(3, 3)], (6, 7), "pyramid"
    ),
    "average_burst": lambda make, device: topic.average_burst(make(4, 3, 4, 5), "median"),
    "burst_noise": lambda make, device: topic.burst_noise(1.0, 4),
    "inpaint": lambda make, device: topic.inpaint(make(3, 4, 5), make(4, 5) > 0, 3),
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def _over_by_rules(
    color1: Tensor, alpha1: Tensor, color2: Tensor, alpha2: Tensor
) -> tuple[Tensor, Tensor]:
    alpha = 1 - (1 - alpha1) * (1 - alpha2)
    color = (alpha1 * color1 + alpha2 * color2 - alpha1 * alpha2 * color2) / alpha
    return torch.nan_to_num(color, 0, 0, 0), alpha


def _blend_two_pyramids(image1: Tensor, image2: Tensor, mask: Tensor, levels: int) -> Tensor:
    masks = topic.gaussian_pyramid(mask[None], levels)
    pyramids = (topic.laplacian_pyramid(image, levels) for image in (image1, image2))
    blended = [torch.lerp(two, one, m) for m, one, two in zip(masks, *pyramids, strict=True)]
    picture = blended.pop()
    while blended:
        level = blended.pop()
        picture = level + topic.pyramid_up(picture, level.shape[-2:])
    return picture


def _broken(image1: Tensor, image2: Tensor, mask: Tensor, levels: int) -> Tensor:
    blended = topic.laplacian_pyramid(image1, levels)
    other = topic.laplacian_pyramid(image2, levels)
    for level, m in enumerate(topic.gaussian_pyramid(mask, levels - 1)):
        blended[level] = m * blended[level] + (1 - m) * other[level]
    return topic.reconstruct(blended)


def _row_by_least_squares(source: Tensor, first: float, last: float) -> Tensor:
    length = len(source)
    steps = torch.eye(length, dtype=source.dtype)[1:] - torch.eye(length, dtype=source.dtype)[:-1]
    wanted = source.diff() - steps[:, 0] * first - steps[:, -1] * last
    inner = torch.linalg.lstsq(steps[:, 1:-1], wanted[:, None]).solution[:, 0]
    return torch.cat([source.new_tensor([first]), inner, source.new_tensor([last])])


def _row_by_steps(source: Tensor, first: float, last: float) -> list[float]:
    numbers = source.tolist()
    share = (last - first - (numbers[-1] - numbers[0])) / (len(numbers) - 1)
    row = [first]
    for step in source.diff().tolist():
        row.append(row[-1] + step + share)
    return row


def _gain_by_loops(light1: Tensor, light2: Tensor, mask: Tensor) -> list[float]:
    gains = []
    for one, two in zip(light1, light2, strict=True):
        a, b = one[mask], two[mask]
        gains.append(float(torch.linalg.lstsq(a[:, None], b[:, None]).solution))
    return gains


def _fuse_shifted(features: Tensor, scores: Tensor) -> Tensor:
    powers = (scores - scores.amax(0, keepdim=True)).exp()
    return torch.einsum("nchw,nhw->chw", features, (powers / powers.sum(0, keepdim=True))[:, 0])


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-fusion-predict": [(62, 190, 195), [62.0, 190.0, 195.0]],
    "ex-fusion-over": [_over_by_rules],
    "ex-fusion-bug": [
        _blend_two_pyramids,
        lambda image1, image2, mask, levels: (
            image1 + topic.pyramid_blend(0 * image1, image2 - image1, mask, levels)
        ),
    ],
    "ex-fusion-row": [_row_by_least_squares, _row_by_steps],
    "ex-fusion-gain": [
        _gain_by_loops,
        lambda light1, light2, mask: (
            (light1 * light2 * mask).sum((1, 2)) / (light1.square() * mask).sum((1, 2))
        ),
    ],
    "ex-fusion-burst": [(25, 12.04, 9), [25, 12.041, 9.0]],
    "ex-fusion-attention": [_fuse_shifted],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-fusion-predict": [
        ((190, 190, 195), "which sums"),
        ((127, 190, 195), "goes round"),
        ((127.5, 190, 195), "subtract 256"),
        ((62, 190, 185), "share of the first"),
        ((62, 190, 196), "sums of two products"),
        ((0, 0, 0), ""),
    ],
    "ex-fusion-over": [
        (
            lambda color1, alpha1, color2, alpha2: topic.over_premultiplied(
                color1 * alpha1, alpha1, color2 * alpha2, alpha2
            ),
            "still multiplied",
        ),
        (
            lambda color1, alpha1, color2, alpha2: topic.over_premultiplied(
                color1, alpha1, color2, alpha2
            ),
            "",
        ),
        (
            lambda color1, alpha1, color2, alpha2: (
                topic.over(color1, alpha1, color2, alpha2)[0],
                alpha1 * alpha2,
            ),
            "",
        ),
        (lambda color1, alpha1, color2, alpha2: topic.over(color1, alpha1, color2, alpha2)[0], ""),
        (
            lambda color1, alpha1, color2, alpha2: (
                color1 * alpha1 + color2 * (1 - alpha1),
                alpha1 + (1 - alpha1) * alpha2,
            ),
            "missing in part",
        ),
    ],
    "ex-fusion-bug": [
        (_broken, "broad colours"),
        (
            lambda image1, image2, mask, levels: mask * image1 + (1 - mask) * image2,
            "hard",
        ),
        (
            lambda image1, image2, mask, levels: topic.reconstruct(
                [
                    mask[:: 2**level, :: 2**level] * one
                    + (1 - mask[:: 2**level, :: 2**level]) * two
                    for level, (one, two) in enumerate(
                        zip(
                            topic.gaussian_pyramid(image1, levels),
                            topic.gaussian_pyramid(image2, levels),
                            strict=True,
                        )
                    )
                ]
            ),
            "",
        ),
        (
            lambda image1, image2, mask, levels: topic.pyramid_blend(
                image1, image2, 1 - mask, levels
            ),
            "swapped",
        ),
        (
            lambda image1, image2, mask, levels: topic.pyramid_blend(image1, image2, mask, 2),
            "One level",
        ),
    ],
    "ex-fusion-row": [
        (lambda source, first, last: torch.linspace(first, last, len(source)).double(), "hole"),
        (lambda source, first, last: source, ""),
        (lambda source, first, last: _row_by_steps(source, first, last)[1:-1], ""),
        (
            lambda source, first, last: torch.cat(
                [source[:1] * 0 + first, source[1:-1], source[-1:] * 0 + last]
            ),
            "Only the ends",
        ),
        (lambda source, first, last: source - source[0] + first, "the last one does not"),
        (
            lambda source, first, last: source - source.mean() + (first + last) / 2,
            "",
        ),
    ],
    "ex-fusion-gain": [
        (
            lambda light1, light2, mask: light2[:, mask].sum(1) / light1[:, mask].sum(1),
            "ratio of the means",
        ),
        (
            lambda light1, light2, mask: (light1 * light2).sum((1, 2)) / (light1**2).sum((1, 2)),
            "Every pixel",
        ),
        (
            lambda light1, light2, mask: (light2[:, mask] / light1[:, mask]).median(1).values,
            "",
        ),
        (
            lambda light1, light2, mask: (
                (light2[:, mask] ** 2).sum(1) / (light1[:, mask] ** 2).sum(1)
            ).sqrt(),
            "",
        ),
    ],
    "ex-fusion-burst": [
        ((5, 12.04, 9), "square root of five"),
        ((25, 6.02, 9), "not its root"),
        ((25, 24.08, 9), "not by its square"),
        ((25, 12.04, 6), "root of the frames"),
        ((25, 12.04, 2.25), "factor by which"),
        ((25, 12.04, 36), "compare n frames"),
        ((24, 12.04, 9), ""),
    ],
    "ex-fusion-attention": [
        (
            lambda features, scores: (
                features * scores.exp() / scores.exp().sum(0, keepdim=True)
            ).sum(0),
            "1000",
        ),
        (lambda features, scores: features.mean(0), "not used"),
        (lambda features, scores: features.sum(0), "Every share is 1"),
        (lambda features, scores: (scores.softmax(0) * features).mean(0), "divides once more"),
        (lambda features, scores: features[scores.argmax()], ""),
    ],
}
