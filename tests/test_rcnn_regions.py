"""The regions of `course_lib.rcnn`, against torchvision."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision import ops

from course_lib import rcnn as topic
from support import assert_agree

Region = Callable[..., Tensor]
POOLS: list[Region] = [topic.roi_pool, topic.roi_pool_loops]
ALIGNS: list[Region] = [topic.roi_align, topic.roi_align_loops]


def regions(generator: torch.Generator, count: int, images: int, height: int, width: int) -> Tensor:
    """Boxes of all sizes, some of them outside; every other one on whole and half pixels."""
    start = (1.6 * torch.rand(count, 2, generator=generator) - 0.3).double()
    end = start + 1.2 * torch.rand(count, 2, generator=generator)
    boxes = torch.cat((start, end), 1) * torch.tensor([width, height, width, height])
    boxes[::2] = (2 * boxes[::2]).round() / 2
    image = torch.randint(images, (count, 1), generator=generator)
    return torch.cat((image.double(), boxes), 1)


def maps(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def value_and_slope(function: Region, features: Tensor, *args: Any) -> list[Tensor]:
    features = features.clone().requires_grad_()
    result = function(features, *args)
    signal = torch.linspace(-1, 1, result.numel()).to(result).view(result.shape)
    if not result.requires_grad:  # no region
        return [result]
    return [result, *torch.autograd.grad(result, features, signal)]


def check_twin(ours: Region, twin: Region, features: Tensor, *args: Any, tolerance: float) -> None:
    for one, other in zip(
        value_and_slope(ours, features, *args), value_and_slope(twin, features, *args), strict=False
    ):
        assert_agree(one, other, tolerance)


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("output_size", [1, (3, 2), 7])
@pytest.mark.parametrize("function", POOLS)
def test_pool_equals_its_twin(
    function: Region, output_size: Any, scale: float, device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(0)
    features = maps(generator, 2, 3, 9, 12).to(device)
    rois = regions(generator, 8, 2, 36, 48).to(device)
    check_twin(function, ops.roi_pool, features, rois, output_size, scale, tolerance=1e-10)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("sampling_ratio", [-1, 0, 1, 2, 3])
@pytest.mark.parametrize("function", ALIGNS)
def test_align_equals_its_twin(
    function: Region, sampling_ratio: int, aligned: bool, device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(1)
    features = maps(generator, 2, 3, 7, 9).to(device)
    for scale, output_size in ((1.0, (2, 3)), (0.25, 2)):
        rois = regions(generator, 4, 2, round(7 / scale), round(9 / scale)).to(device)
        check_twin(
            function, ops.roi_align, features,
            rois, output_size, scale, sampling_ratio, aligned, tolerance=1e-10,
        )  # fmt: skip


@given(data=st.data())
def test_random_cases(data: st.DataObject) -> None:
    def draw(low: int, high: int) -> int:
        return data.draw(st.integers(low, high))

    generator = torch.Generator().manual_seed(draw(0, 10**6))
    count, channels, height, width = draw(1, 3), draw(1, 4), draw(1, 11), draw(1, 11)
    scale = data.draw(st.sampled_from([1.0, 0.5, 0.3, 1 / 16]))
    output_size = (draw(1, 5), draw(1, 5))
    dtype = data.draw(st.sampled_from([torch.float32, torch.float64]))
    features = maps(generator, count, channels, height, width).to(dtype)
    rois = regions(generator, draw(0, 6), count, round(height / scale), round(width / scale))
    rois = rois.to(dtype)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    check_twin(
        topic.roi_pool, ops.roi_pool, features, rois, output_size, scale, tolerance=tolerance
    )
    options = (draw(-1, 4), data.draw(st.booleans()))
    check_twin(
        topic.roi_align, ops.roi_align, features,
        rois, output_size, scale, *options, tolerance=tolerance,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_first_of_equal_maxima_gets_the_gradient(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    features = torch.randint(-1, 2, (2, 3, 8, 8), generator=generator).to(dtype)
    features[0, 0, :4] = torch.tensor([-0.0, 0.0]).repeat(4)  # which are equal too
    rois = regions(generator, 9, 2, 8, 8).to(dtype)
    rois[0] = torch.tensor([0.0, 0, 0, 5, 2])
    for function in POOLS:
        check_twin(function, ops.roi_pool, features, rois, 3, 1.0, tolerance=1e-6)


def test_pool_without_a_gradient_is_the_same() -> None:
    generator = torch.Generator().manual_seed(3)
    features, rois = maps(generator, 2, 3, 33, 20), regions(generator, 20, 2, 33, 20)
    with_gradient = topic.roi_pool(features.clone().requires_grad_(), rois, 4)
    assert with_gradient.requires_grad
    assert torch.equal(with_gradient.detach(), topic.roi_pool(features, rois, 4))


@pytest.mark.parametrize("function", [*POOLS, *ALIGNS])
def test_boxes_as_a_list(function: Region) -> None:
    generator = torch.Generator().manual_seed(4)
    features = maps(generator, 3, 2, 6, 6)
    rois = regions(generator, 5, 3, 6, 6)
    rois[:, 0] = torch.tensor([0.0, 0, 2, 2, 2])
    listed = [rois[:2, 1:], rois[:0, 1:], rois[2:, 1:]]
    assert torch.equal(function(features, listed, 2), function(features, rois, 2))


@pytest.mark.parametrize("function", [*POOLS, *ALIGNS])
def test_no_region(function: Region) -> None:
    features = torch.randn(2, 3, 5, 5)
    assert function(features, features.new_zeros(0, 5), (2, 4)).shape == (0, 3, 2, 4)
    assert function(features, [torch.zeros(0, 4), torch.zeros(0, 4)], 2).shape == (0, 3, 2, 2)


@pytest.mark.parametrize("function", [*POOLS, *ALIGNS])
def test_layout_makes_no_difference(function: Region) -> None:
    generator = torch.Generator().manual_seed(5)
    features, rois = maps(generator, 2, 4, 9, 8), regions(generator, 5, 2, 9, 8)
    usual = function(features, rois, 3)
    last = features.contiguous(memory_format=torch.channels_last)
    turned = features.transpose(2, 3).contiguous().transpose(2, 3)
    spread = rois.repeat_interleave(2, 1)[:, ::2]
    assert_agree(function(last, rois, 3), usual)
    assert_agree(function(turned, spread, 3), usual)


@pytest.mark.parametrize(("ours", "twin"), [(POOLS, ops.roi_pool), (ALIGNS, ops.roi_align)])
def test_half_precision_is_computed_in_single(ours: list[Region], twin: Region) -> None:
    generator = torch.Generator().manual_seed(6)
    features, rois = maps(generator, 1, 2, 8, 8), regions(generator, 5, 1, 8, 8)
    rois[:, 1:] = (4 * rois[:, 1:]).round() / 4
    for dtype in (torch.float16, torch.bfloat16):
        rough = features.to(dtype)
        result = ours[0](rough, rois.to(dtype), 2)
        assert result.dtype == dtype
        torch.testing.assert_close(
            result.float(), twin(rough.float(), rois.float(), 2), rtol=1e-2, atol=1e-2
        )


def test_align_under_autocast() -> None:
    generator = torch.Generator().manual_seed(7)
    features, rois = maps(generator, 1, 2, 8, 8).float(), regions(generator, 5, 1, 8, 8).float()
    with torch.autocast("cpu", torch.bfloat16):
        result = value_and_slope(topic.roi_align, features, rois, 2)
    for one, other in zip(result, value_and_slope(topic.roi_align, features, rois, 2), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_align_has_the_right_gradient(sampling_ratio: int) -> None:
    generator = torch.Generator().manual_seed(8)
    features = maps(generator, 2, 2, 5, 6).requires_grad_()
    rois = regions(generator, 4, 2, 5, 6)
    assert torch.autograd.gradcheck(
        lambda x: topic.roi_align(x, rois, (2, 3), 1.0, sampling_ratio, True), (features,)
    )


def test_pool_has_the_right_gradient() -> None:
    generator = torch.Generator().manual_seed(9)
    features = torch.randperm(2 * 2 * 5 * 6, generator=generator).double().view(2, 2, 5, 6)
    rois = regions(generator, 4, 2, 5, 6)
    assert torch.autograd.gradcheck(
        lambda x: topic.roi_pool(x, rois, (2, 3)), (features.requires_grad_(),)
    )


def test_align_is_exact_on_a_slope() -> None:
    """Between the cells of a linear map, aligned regions read the map itself."""
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(9.0), indexing="ij")
    ramp = (3 * (x + 0.5) - 2 * (y + 0.5)).double()[None, None]
    box = torch.tensor([[0, 1.3, 2.2, 6.1, 5.8]], dtype=torch.float64)
    result = topic.roi_align(ramp, box, 2, sampling_ratio=2, aligned=True)[0, 0]
    centre_x, centre_y = [1.3 + 1.2, 1.3 + 3.6], [2.2 + 0.9, 2.2 + 2.7]
    wanted = [[3 * x - 2 * y for x in centre_x] for y in centre_y]
    assert_agree(result, torch.tensor(wanted, dtype=torch.float64))


def test_what_is_not_finite() -> None:
    features = torch.randn(1, 2, 4, 4).double()
    broken = torch.tensor([[0, torch.nan, 0, torch.inf, 3]], dtype=torch.float64)
    zero = torch.tensor([[0, 0, 0, 0, 3]], dtype=torch.float64)
    for function in (*POOLS, *ALIGNS):
        assert torch.equal(function(features, broken, 2), function(features, zero, 2))
    features[0, 0, 1, 1] = -torch.nan
    for function in POOLS:
        for wanted in (features, features.clone().requires_grad_()):
            result = function(wanted, torch.tensor([[0, 0, 0, 3, 3]]).double(), 2)[0]
            assert result[0].isnan().tolist() == [[True, False], [False, False]]
            assert not result[1].isnan().any()


def test_a_box_inside_out_reads_nothing() -> None:
    """Aligned and with as many points as cells; there the twin fails."""
    rois = torch.tensor([[0, 3.0, 1, 2, 4]], dtype=torch.float64)
    features = torch.randn(1, 2, 5, 5).double()
    for function in ALIGNS:
        assert not function(features, rois, 2, 1.0, -1, True).any()


@pytest.mark.parametrize("sampling_ratio", [-1, 2])
def test_compiled(sampling_ratio: int) -> None:
    generator = torch.Generator().manual_seed(10)
    features, rois = maps(generator, 2, 2, 6, 6), regions(generator, 4, 2, 6, 6)
    compiled = torch.compile(topic.roi_align, backend="eager", fullgraph=sampling_ratio > 0)
    options = (2, 1.0, sampling_ratio)
    assert_agree(compiled(features, rois, *options), topic.roi_align(features, rois, *options))


IMAGE, BOX = torch.zeros(1, 1, 4, 4), torch.zeros(1, 5)


@pytest.mark.parametrize("function", [*POOLS, *ALIGNS])
@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((IMAGE[0], BOX, 2), ValueError, "input: expected 4 dimensions"),
        ((IMAGE.long(), BOX, 2), TypeError, "input: expected a floating dtype"),
        ((IMAGE, BOX[:, :4], 2), ValueError, "boxes: expected shape"),
        ((IMAGE, BOX.double(), 2), TypeError, "boxes: expected torch.float32"),
        ((IMAGE, 3, 2), TypeError, "boxes: expected a tensor, or one for each image"),
        ((IMAGE, [BOX[:, 1:]] * 2, 2), ValueError, "boxes: expected one tensor for each of 1"),
        ((IMAGE, [BOX], 2), ValueError, r"boxes\[0\]: expected shape"),
        ((IMAGE, BOX + 1, 2), ValueError, "boxes: expected the index of one of 1 images"),
        ((IMAGE, BOX - 1, 2), ValueError, "boxes: expected the index of one of 1 images"),
        ((IMAGE, BOX, 0), ValueError, "output_size: expected an integer >= 1"),
        ((IMAGE, BOX, 2, -1.0), ValueError, "spatial_scale: expected"),
    ],
)
def test_wrong_arguments_are_answered(
    function: Region, args: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        function(*args)


@pytest.mark.parametrize("function", ALIGNS)
def test_a_wrong_sampling_ratio(function: Region) -> None:
    with pytest.raises(ValueError, match=r"^sampling_ratio: expected an integer >= -1"):
        function(IMAGE, BOX, 2, 1.0, -2)


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

LOOKS_AT_DATA = {"roi_align_loops", "roi_pool_loops", "roi_pool"}

CALLS: dict[str, Callable[..., Any]] = {
    name: lambda make, device, name=name, extra=extra: getattr(topic, name)(
        make(2, 3, 6, 6), make(3, 5), 2, 0.5, *extra
    )
    for name, extra in itertools.chain(
        ((name, ()) for name in ("roi_pool", "roi_pool_loops")),
        ((name, (2, True)) for name in ("roi_align", "roi_align_loops")),
    )
}
