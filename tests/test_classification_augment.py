"""Changes of pictures in `course_lib.classification`, exact where they can be, and by chance."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.transforms.v2.functional as twin
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from course_lib import classification as topic
from course_lib.classification.augment import _matrices
from support import assert_agree

DOUBLE = torch.float64


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(device)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IDENTITY = torch.tensor([[1.0, 0, 0], [0, 1, 0]], dtype=DOUBLE)


# --- the warp -------------------------------------------------------------------------------------


def torch_warp(images: Tensor, matrices: Tensor) -> Tensor:
    """PyTorch's two functions, whose coordinates go from -1 to 1 over the picture."""
    height, width = images.shape[2:]
    unit = torch.diag(torch.tensor([width / 2, height / 2, 1.0], dtype=DOUBLE)).to(images)
    theta = unit[:2, :2].inverse() @ matrices @ unit
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


both = pytest.mark.parametrize("warp", [topic.warp, topic.warp_loops])


@both
@pytest.mark.parametrize("shape", [(3, 2, 5, 7), (1, 1, 1, 1), (2, 3, 4, 1)])
@pytest.mark.parametrize("strength", [0.05, 0.5, 5.0])
def test_warp_equals_its_twin(
    warp: Callable[..., Tensor], shape: tuple[int, ...], strength: float, device: torch.device
) -> None:
    images = draw(1, *shape, device=device)
    matrices = IDENTITY.to(device) + strength * draw(2, shape[0], 2, 3, device=device)
    assert_agree(warp(images, matrices), torch_warp(images, matrices))


@given(
    st.integers(0, 1000),
    st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(1, 9)] * 2),
    st.floats(0, 3),
)
def test_warp_equals_its_twin_on_any_shape(
    seed: int, shape: tuple[int, ...], strength: float
) -> None:
    images, matrices = draw(seed, *shape), IDENTITY + strength * draw(seed + 1, shape[0], 2, 3)
    assert_agree(topic.warp(images, matrices), torch_warp(images, matrices))


@both
def test_what_lies_far_outside_is_nought(warp: Callable[..., Tensor]) -> None:
    images = torch.ones(4, 1, 3, 3)
    far = torch.tensor([[1e9, 0], [-1e9, 0], [0, 3.0], [0, -3.0]])
    matrices = IDENTITY.float().repeat(4, 1, 1)
    matrices[:, :, 2] = far
    if warp is topic.warp_loops:
        matrices[:, :, 2] = far.clamp(-1e6, 1e6)
    assert (warp(images, matrices) == 0).all()


def test_half_a_pixel_is_the_mean_of_two() -> None:
    row = torch.tensor([[[[1.0, 3.0, 7.0]]]])
    assert topic.shift(row, [0, 0.5]).tolist() == [[[[0.5, 2.0, 5.0]]]]
    assert topic.shift(row, [0, -0.5]).tolist() == [[[[2.0, 5.0, 3.5]]]]


def test_the_warp_is_differentiable() -> None:
    images = draw(1, 2, 2, 4, 3).requires_grad_()
    matrices = (IDENTITY + 0.2 * draw(2, 2, 2, 3)).requires_grad_()
    assert gradcheck(topic.warp, (images, matrices))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_warp_keeps_the_dtype(dtype: torch.dtype) -> None:
    images, matrices = draw(1, 2, 1, 6, 6).abs(), (IDENTITY + 0.1 * draw(2, 2, 2, 3))
    result = topic.warp(images.to(dtype), matrices.to(dtype))
    assert result.dtype == dtype
    far = torch.finfo(dtype).eps * 200
    torch.testing.assert_close(
        result.double(), topic.warp(images, matrices.to(dtype).double()), rtol=far, atol=far
    )


def test_the_warp_takes_pictures_with_holes_in_memory() -> None:
    images = draw(1, 2, 4, 5, 3).permute(0, 3, 1, 2)
    matrices = IDENTITY + 0.3 * draw(2, 3, 2, 2).permute(1, 2, 0)
    assert_agree(topic.warp(images, matrices), torch_warp(images, matrices))


# --- shift, rotate, scale -------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(5, 6), (4, 3)])
def test_a_shift_by_whole_pixels_is_a_slice(size: tuple[int, int]) -> None:
    images = draw(1, 3, 2, *size)
    height, width = size
    offsets = torch.tensor([[1, -2], [0, 1], [-3, 0]])
    moved = topic.shift(images, offsets)
    for n, (down, right) in enumerate(offsets.tolist()):
        expected = torch.zeros_like(images[n])
        expected[:, max(down, 0) : height + down, max(right, 0) : width + right] = images[
            n, :, max(-down, 0) : height - down, max(-right, 0) : width - right
        ]
        assert_agree(moved[n], expected)


def test_one_shift_for_all_and_one_for_each() -> None:
    images = draw(1, 3, 1, 5, 5)
    together = topic.shift(images, (1, 2))
    assert torch.equal(together, topic.shift(images, torch.tensor([[1.0, 2.0]] * 3)))
    assert torch.equal(together[1:2], topic.shift(images[1:2], (1, 2)))
    with pytest.raises(ValueError, match="offsets: expected a pair for each picture"):
        topic.shift(images, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="offsets: expected a pair for each picture"):
        topic.shift(images, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(4, 4), (5, 5)])
@pytest.mark.parametrize("turns", [-1, 0, 1, 2, 3, 4])
def test_quarter_turns_are_rot90(size: tuple[int, int], turns: int) -> None:
    images = draw(1, 2, 3, *size)
    assert_agree(topic.rotate(images, 90 * turns), torch.rot90(images, turns, (2, 3)))


def test_half_a_turn_of_any_size() -> None:
    images = draw(1, 2, 1, 3, 6)
    assert_agree(topic.rotate(images, 180), images.flip((2, 3)))


@pytest.mark.parametrize(("degrees", "zoom"), [(30.0, 1.0), (-77.0, 1.0), (0.0, 1.4), (0.0, 0.6)])
def test_turning_and_scaling_as_torchvision_does(degrees: float, zoom: float) -> None:
    images = draw(1, 2, 3, 7, 8)
    expected = twin.affine(
        images,
        angle=-degrees,  # there clockwise
        translate=[0, 0],
        scale=zoom,
        shear=[0, 0],
        interpolation=twin.InterpolationMode.BILINEAR,
    )
    ours = topic.rotate(images, degrees) if zoom == 1 else topic.scale(images, zoom)
    assert_agree(ours, expected, 1e-6)  # its angles are in float32


def test_an_amount_for_each_picture() -> None:
    images = draw(1, 3, 1, 5, 5)
    degrees, factors = torch.tensor([10.0, 0.0, -40.0]), torch.tensor([0.5, 1.0, 2.0])
    for function, amounts in ((topic.rotate, degrees), (topic.scale, factors)):
        result = function(images, amounts)
        for n in range(3):
            alone = function(images[n : n + 1], amounts[n].item())
            assert_agree(result[n : n + 1], alone, 1e-7)
        assert_agree(result[1], images[1])


def test_doubled_lengths() -> None:
    image = torch.zeros(1, 1, 5, 5)
    image[..., 2, 1] = 1  # one pixel left of the middle
    assert topic.scale(image, 2.0)[0, 0, 2].tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: topic.rotate(x[0], 1.0), ValueError, "images: expected 4 dimensions"),
        (lambda x: topic.rotate(x.long(), 1.0), TypeError, "images: expected a floating dtype"),
        (lambda x: topic.rotate(x, math.nan), ValueError, "degrees: expected a finite number"),
        (lambda x: topic.rotate(x, torch.zeros(3)), ValueError, "degrees: expected one number"),
        (lambda x: topic.scale(x, "2"), TypeError, "factors: expected"),
        (lambda x: topic.warp(x, torch.zeros(2, 2, 2)), ValueError, "matrices: expected shape"),
        (lambda x: topic.warp(x, torch.zeros(2, 2, 3).double()), TypeError, "matrices: expected"),
        (lambda x: topic.warp_loops(x, torch.zeros(1, 2, 3)), ValueError, "matrices: expected"),
        (lambda x: topic.crop(x, torch.zeros(2, 2), 2), TypeError, "corners: expected int64"),
        (lambda x: topic.crop(x, torch.zeros(3, 2).long(), 2), ValueError, "corners: expected"),
        (lambda x: topic.erase(x, torch.zeros(2, 2), (1, 1)), TypeError, "corners: expected int64"),
        (lambda x: topic.noise(x, torch.zeros(3)), ValueError, "std: expected one number"),
        (lambda x: topic.Augment(shift=-1), ValueError, "shift: expected"),
        (lambda x: topic.Augment(flip=1.5), ValueError, "flip: expected"),
        (lambda x: topic.Augment(crop=1.0), TypeError, "crop: expected an integer"),
        (lambda x: topic.Augment()(x[0]), ValueError, "images: expected 4 dimensions"),
    ],
)
def test_wrong_arguments(
    call: Callable[[Tensor], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(torch.zeros(2, 1, 4, 4))


# --- crop, erase, noise ---------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(-6, 8), st.integers(-6, 8)), min_size=1, max_size=4),
    st.tuples(st.integers(0, 7), st.integers(0, 7)),
)
def test_crop_equals_its_twin(corners: list[tuple[int, int]], size: tuple[int, int]) -> None:
    images = draw(1, len(corners), 2, 4, 5)
    result = topic.crop(images, torch.tensor(corners), size)
    wide = F.pad(images, (20, 20, 20, 20))
    for n, (top, left) in enumerate(corners):
        window = wide[n, :, top + 20 : top + 20 + size[0], left + 20 : left + 20 + size[1]]
        assert torch.equal(result[n], window)
        if 0 not in size and -size[0] < top < 4 and -size[1] < left < 5:  # else it fails there
            assert torch.equal(result[n], twin.crop(images[n], top, left, *size))


def test_crop_and_erase_of_whole_numbers_and_of_no_picture() -> None:
    images = torch.arange(32).reshape(2, 1, 4, 4)
    corners = torch.tensor([[0, 1], [2, 2]])
    assert topic.crop(images, corners, 1).tolist() == [[[[1]]], [[[26]]]]
    assert topic.erase(images, corners, (1, 1))[:, 0, 0, 1].tolist() == [0, 17]
    assert topic.crop(images[:0], corners[:0], 2).shape == (0, 1, 2, 2)
    assert topic.erase(images[:0], corners[:0], (2, 2)).shape == (0, 1, 4, 4)


@given(
    st.lists(st.tuples(*[st.integers(-3, 6)] * 2, *[st.integers(0, 6)] * 2), min_size=1, max_size=4)
)
def test_erase_empties_a_rectangle_and_nothing_else(places: list[tuple[int, ...]]) -> None:
    images = draw(1, len(places), 2, 4, 5)
    given_ = torch.tensor(places)
    result = topic.erase(images, given_[:, :2], given_[:, 2:])
    for n, (top, left, height, width) in enumerate(places):
        expected = images[n].clone()
        expected[:, max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)] = 0
        assert torch.equal(result[n], expected)


def test_erase_as_torchvision_does(device: torch.device) -> None:
    images = draw(1, 3, 2, 6, 5, device=device)
    corners = torch.tensor([[2, 1]] * 3, device=device)
    expected = twin.erase(images, 2, 1, 3, 2, torch.zeros((), dtype=DOUBLE, device=device))
    assert torch.equal(topic.erase(images, corners, (3, 2)), expected)


def test_noise_has_its_spread_in_each_picture() -> None:
    images = torch.full((3, 2, 60, 60), 0.5)
    noisy = topic.noise(images, torch.tensor([0.0, 0.1, 2.0]), seeded(1)) - 0.5
    assert (noisy[0] == 0).all()
    for n, std in ((1, 0.1), (2, 2.0)):
        assert abs(noisy[n].std() / std - 1) < 0.03
        assert abs(noisy[n].mean()) < 0.06 * std
    again = topic.noise(images, torch.tensor([0.0, 0.1, 2.0]), seeded(1)) - 0.5
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy[1] / 0.1, noisy[2] / 2)


# --- by chance ------------------------------------------------------------------------------------

KINDS: dict[str, Any] = {
    "shift": 2.0,
    "rotate": 30.0,
    "scale": 0.3,
    "stretch": 0.3,
    "shear": 0.3,
    "elastic": 0.5,
    "flip": 0.5,
    "crop": 2,
    "erase": 3,
    "noise": 0.1,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
def test_each_kind_changes_pictures_in_training_only(kind: str, device: torch.device) -> None:
    images = draw(1, 8, 2, 9, 7, device=device)
    augment = topic.Augment(**{kind: KINDS[kind]}, generator=seeded(1))
    changed = augment(images)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert not torch.equal(changed, images)
    assert augment.eval()(images) is images


@every_kind
def test_each_picture_has_its_own_draw(kind: str) -> None:
    """Of many copies of one picture, at least three come out differently."""
    images = draw(1, 1, 1, 8, 8).expand(40, 1, 8, 8)
    many = topic.Augment(**{kind: KINDS[kind]}, generator=seeded(1))(images)
    assert len(many.flatten(1).unique(dim=0)) >= (2 if kind == "flip" else 3)


@every_kind
def test_a_seed_repeats_the_draws_and_they_go_on(kind: str) -> None:
    images = draw(1, 20, 1, 8, 8).float()
    first, second = (topic.Augment(**{kind: KINDS[kind]}, generator=seeded(3)) for _ in range(2))
    one = first(images)
    assert torch.equal(one, second(images))
    assert not torch.equal(one, second(images))


def test_pytorchs_own_chance_is_used_without_a_generator() -> None:
    images, augment = draw(1, 5, 1, 8, 8), topic.Augment(**KINDS)
    torch.manual_seed(5)
    first = augment(images)
    assert not torch.equal(first, augment(images))
    torch.manual_seed(5)
    assert torch.equal(first, augment(images))


def test_strength_nought_changes_nothing() -> None:
    images = draw(1, 5, 2, 8, 6)
    assert torch.equal(topic.Augment()(images), images)
    for kind in KINDS:
        tiny = {kind: 0 if kind in ("crop", "erase") else 1e-13}
        assert_agree(topic.Augment(**{"flip": 1e-300} | tiny)(images), images, 1e-9)


def test_no_picture_at_all() -> None:
    for warp in (topic.warp, topic.warp_loops):
        assert warp(torch.zeros(0, 1, 3, 3), torch.zeros(0, 2, 3)).shape == (0, 1, 3, 3)
    assert topic.Augment(**KINDS)(torch.zeros(0, 1, 8, 8)).shape == (0, 1, 8, 8)


def spot(size: int, row: int, column: int, count: int) -> Tensor:
    """Pictures with a soft spot, whose centre of mass follows all movements."""
    at = torch.arange(size, dtype=DOUBLE)
    blob = torch.exp(-((at[:, None] - row) ** 2 + (at - column) ** 2) / 8)
    return blob.expand(count, 1, size, size)


def centres(images: Tensor) -> Tensor:
    """Centre of mass from the middle, ``(y, x)``: ``Tensor[N, 2]``."""
    at = torch.arange(images.shape[2], dtype=DOUBLE) - (images.shape[2] - 1) / 2
    mass = images.sum((1, 2, 3))
    return torch.stack([(images.sum((1, 3)) @ at) / mass, (images.sum((1, 2)) @ at) / mass], 1)


def test_shifts_reach_as_far_as_they_should_in_all_directions() -> None:
    moved = centres(topic.Augment(shift=3.0, generator=seeded(1))(spot(41, 20, 20, 600)))
    for axis in (0, 1):
        assert 2.9 < moved[:, axis].max() <= 3.01
        assert -3.01 <= moved[:, axis].min() < -2.9
        assert abs(moved[:, axis].std() - 3 / 3**0.5) < 0.1
    assert abs(torch.corrcoef(moved.T)[0, 1]) < 0.1


def test_turns_reach_as_far_as_they_should_both_ways() -> None:
    moved = centres(topic.Augment(rotate=40.0, generator=seeded(1))(spot(41, 20, 30, 600)))
    angles = torch.rad2deg(torch.atan2(-moved[:, 0], moved[:, 1]))
    assert 39 < angles.max() < 40.2
    assert -40.2 < angles.min() < -39
    assert abs(angles.std() - 40 / 3**0.5) < 1.5


@pytest.mark.parametrize("kind", ["scale", "stretch"])
def test_sizes_reach_as_far_as_they_should_both_ways(kind: str) -> None:
    moved = centres(topic.Augment(**{kind: 0.4}, generator=seeded(1))(spot(61, 20, 20, 600)))
    moved = (moved / -10).log()  # of the factor
    changed = moved if kind == "scale" else moved[:, 1]
    assert 0.38 < changed.max() < 0.41
    assert -0.41 < changed.min() < -0.38
    if kind == "scale":
        assert_agree(moved[:, 0], moved[:, 1], 1e-3)
    else:
        assert moved[:, 0].abs().max() < 1e-3


def test_all_movements_together_are_undone_in_the_opposite_order() -> None:
    degrees, width, height, shear, right, down = draw(3, 6, 20).mul(0.5).unbind(0)
    width, height = width.exp(), height.exp()
    ours = _matrices(
        torch.zeros(20, 1, 3, 3).double(), 90 * degrees, width, height, shear, right, down
    )
    for n in range(20):
        angle = math.radians(90 * degrees[n])
        cos, sin = math.cos(angle), math.sin(angle)
        turned = torch.tensor([[cos, sin], [-sin, cos]], dtype=DOUBLE)  # y runs down
        slanted = torch.tensor([[1, -shear[n]], [0, 1]], dtype=DOUBLE)
        grown = torch.tensor([[width[n], 0], [0, height[n]]], dtype=DOUBLE)
        there = turned @ slanted @ grown  # first scaled, then sheared, then turned
        assert_agree(ours[n, :, :2], there.inverse())
        point, moved = draw(n, 2), torch.stack([right[n], down[n]])
        assert_agree(ours[n] @ torch.cat([there @ point + moved, torch.ones(1).double()]), point)


def test_shear_moves_rows_sideways() -> None:
    moved = centres(topic.Augment(shear=0.5, generator=seeded(1))(spot(61, 40, 30, 600)))
    assert (moved[:, 0] - 10).abs().max() < 0.05
    assert 4.8 < moved[:, 1].max() < 5.1
    assert -5.1 < moved[:, 1].min() < -4.8


def test_flips_mirror_left_for_right_as_often_as_asked() -> None:
    images = draw(1, 1, 1, 5, 4).expand(2000, 1, 5, 4)
    result = topic.Augment(flip=0.3, generator=seeded(1))(images)
    mirrored = (result - images.flip(3)).abs().amax((1, 2, 3)) < 1e-9
    same = (result - images).abs().amax((1, 2, 3)) < 1e-9
    assert (mirrored | same).all()
    assert abs(mirrored.double().mean() - 0.3) < 0.04


def test_elastic_moves_the_corners_of_its_grid_by_its_amount() -> None:
    """A ramp shows by its values from where each pixel came."""
    ramp = torch.arange(31, dtype=DOUBLE).expand(3000, 1, 31, 31)
    moved = topic.Augment(elastic=0.4, generator=seeded(1))(ramp) - ramp
    knots = moved[:, 0, [10, 20]][:, :, [10, 20]]  # inner points of the 4 × 4 grid
    assert abs(knots.std() / 0.4 - 1) < 0.05
    assert abs(knots.mean()) < 0.02
    between = moved[:, 0, 10, 10:21]
    assert between.diff(dim=1).abs().max() < 0.5  # smooth


def test_crops_lie_anywhere_up_to_the_distance() -> None:
    images = torch.zeros(900, 1, 9, 9)
    images[:, :, 4, 4] = 1
    result = topic.Augment(crop=2, generator=seeded(1))(images)
    assert (result.sum((1, 2, 3)) == 1).all()
    counts = result.sum((0, 1))
    assert (counts[2:7, 2:7] > 15).all()
    assert counts[2:7, 2:7].sum() == 900


def test_erased_squares_have_all_sides_and_lie_anywhere_inside() -> None:
    images = torch.ones(4000, 1, 6, 5)
    gone = topic.Augment(erase=3, generator=seeded(1))(images)[:, 0] == 0
    areas = gone.sum((1, 2))
    assert areas.unique().tolist() == [0, 1, 4, 9]
    assert (areas.bincount()[[0, 1, 4, 9]] > 850).all()
    single = gone[areas == 1].sum(0)
    assert single.shape == (6, 5)
    assert (single > 15).all()


def test_a_square_larger_than_the_picture_empties_it() -> None:
    gone = topic.Augment(erase=50, generator=seeded(1))(torch.ones(200, 1, 3, 3))
    assert (gone.sum((1, 2, 3)) == 0).double().mean() > 0.9


def test_a_network_with_augmentation_can_be_copied_and_shown() -> None:
    augment = topic.Augment(shift=1, noise=0.1)
    assert repr(augment) == "Augment(shift=1, noise=0.1)"
    torch.nn.Sequential(copy.deepcopy(augment))(torch.zeros(1, 1, 4, 4))
    assert list(augment.state_dict()) == []
