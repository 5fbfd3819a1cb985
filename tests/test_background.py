"""`course_lib.background` against its loops, scikit-image, standards, papers and torchvision."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import profile
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from course_lib import background as topic
from support import assert_agree

DOUBLE = torch.float64


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Numbers from 0 to 1 in float64, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=DOUBLE).to(device)


def on(device: torch.device | str, build: Callable[[], nn.Module]) -> nn.Module:
    with torch.device(device):
        return build()


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    return on("meta", build)


# --- from light to numbers ------------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_blocks_are_those_of_avg_pool2d(size: int, rows: int, columns: int) -> None:
    image = draw(0, 2, 3, rows * size, columns * size)
    assert_agree(topic.average_blocks(image, size), F.avg_pool2d(image, size))
    assert_agree(topic.average_blocks(image[0, 0], size), F.avg_pool2d(image, size)[0, 0])
    assert topic.average_blocks(image, 1).equal(image)


def test_blocks_of_views_and_of_nothing() -> None:
    image = draw(0, 6, 8, 3).permute(2, 0, 1)
    assert_agree(topic.average_blocks(image, 2), F.avg_pool2d(image, 2))
    assert topic.average_blocks(draw(0, 0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    assert gradcheck(lambda x: topic.average_blocks(x, 2), draw(0, 2, 4, 6).requires_grad_())


@given(st.integers(1, 16), st.floats(0, 1))
def test_quantized_is_the_nearest_level(bits: int, value: float) -> None:
    steps = 2**bits - 1
    given_ = torch.tensor(value, dtype=DOUBLE)
    got = topic.quantize(given_, bits).item()
    assert abs(got * steps - round(got * steps)) < 1e-9
    assert abs(got - value) <= 0.5 / steps + 1e-12
    assert topic.quantize(topic.quantize(given_, bits), bits).item() == got


def test_eight_bits_are_what_a_file_holds() -> None:
    levels = torch.arange(256, dtype=torch.float32) / 255
    assert topic.quantize(levels, 8).equal(levels)
    assert topic.quantize(draw(0, 1000), 8).unique().numel() <= 256
    assert topic.quantize(torch.tensor([-0.3, 0.5, 1.7]), 1).tolist() == [0, 0, 1]  # 0.5: to even
    assert topic.quantize(torch.tensor([torch.nan]), 8).isnan().all()


# --- colour ---------------------------------------------------------------------------------------


def test_the_curve_is_the_standards(device: torch.device) -> None:
    stored = torch.tensor([0, 0.04045, 0.04046, 0.5, 1], dtype=DOUBLE, device=device)
    light = torch.tensor([0, 0.04045 / 12.92, 0, 0, 1], dtype=DOUBLE, device=device)
    light[2], light[3] = (0.09546 / 1.055) ** 2.4, (0.555 / 1.055) ** 2.4
    assert_agree(topic.srgb_to_linear(stored), light)
    # Known in any table of sRGB: half the light is stored as 188 of 255.
    assert round(topic.linear_to_srgb(torch.tensor(0.5)).item() * 255) == 188
    assert round(topic.srgb_to_linear(torch.tensor(0.5)).item(), 3) == 0.214


@given(st.floats(-0.2, 1.5))
def test_the_two_curves_undo_each_other(value: float) -> None:
    stored = torch.tensor(value, dtype=DOUBLE)
    back = topic.linear_to_srgb(topic.srgb_to_linear(stored))
    assert back.item() == pytest.approx(value, abs=2e-7)  # at the joint the standard is rounded
    light = topic.srgb_to_linear(topic.linear_to_srgb(stored))
    assert light.item() == pytest.approx(value, abs=2e-7)


def test_every_byte_survives_the_way_there_and_back() -> None:
    stored = torch.arange(256, dtype=torch.float32) / 255
    there = topic.srgb_to_linear(stored)
    assert (there.diff() > 0).all()
    back = topic.linear_to_srgb(there)
    assert (back * 255).round().equal(stored * 255)


@pytest.mark.parametrize("function", [topic.srgb_to_linear, topic.linear_to_srgb])
def test_the_curves_have_gradients_everywhere(function: Callable[[Tensor], Tensor]) -> None:
    points = torch.tensor([-0.5, -0.1, 0, 0.001, 0.02, 0.2, 1, 1.5], dtype=DOUBLE)
    assert gradcheck(function, points.requires_grad_())
    assert function(torch.tensor(torch.nan)).isnan()
    assert function(torch.zeros(0)).shape == (0,)
    assert function(points.half()).dtype == torch.half


def test_grey_weights() -> None:
    primaries = torch.eye(3, dtype=DOUBLE)[:, :, None, None]  # (3, 3, 1, 1)
    assert topic.linear_to_grey(primaries).flatten().tolist() == [0.2126, 0.7152, 0.0722]
    assert topic.luma(primaries).flatten().tolist() == [0.299, 0.587, 0.114]
    grey = draw(0, 1, 4, 5).expand(3, 4, 5)
    for function in (topic.linear_to_grey, topic.luma):
        assert_agree(function(grey), grey[:1])  # the weights sum to 1
        assert function(draw(0, 2, 6, 3, 4, 5)).shape == (2, 6, 1, 4, 5)
        assert gradcheck(function, draw(0, 3, 2, 2).requires_grad_())


# --- how alike two pictures are -------------------------------------------------------------------

SHAPES = [(11, 11), (12, 17), (3, 13, 11), (1, 1, 11, 12), (2, 3, 14, 11)]


def skimage_ssim(a: Tensor, b: Tensor, data_range: float = 1.0) -> Tensor:
    """Scikit-image's, for one picture at a time."""
    if a.ndim == 4:
        return torch.stack([skimage_ssim(x, y, data_range) for x, y in zip(a, b, strict=True)])
    return torch.tensor(
        structural_similarity(
            a.cpu().numpy(),
            b.cpu().numpy(),
            data_range=data_range,
            channel_axis=0 if a.ndim == 3 else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        ),
        dtype=DOUBLE,
        device=a.device,
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_ssim_is_its_loops_and_scikit_images(
    shape: tuple[int, ...], data_range: float, device: torch.device
) -> None:
    a, b = data_range * draw(0, *shape, device=device), data_range * draw(1, *shape, device=device)
    b = (a + b) / 2
    expected = skimage_ssim(a, b, data_range)
    assert_agree(topic.ssim(a, b, data_range), expected)
    assert_agree(topic.ssim_loops(a, b, data_range), expected)


@given(st.integers(1, 2), st.integers(1, 3), st.integers(11, 16), st.integers(11, 16))
def test_ssim_of_any_size(images: int, channels: int, height: int, width: int) -> None:
    a, b = draw(0, images, channels, height, width), draw(1, images, channels, height, width)
    ours = topic.ssim(a, b)
    assert_agree(ours, skimage_ssim(a, b))
    assert_agree(ours, topic.ssim(b, a))
    assert (ours <= 1).all()


def test_ssim_of_equal_and_of_opposite_pictures() -> None:
    a = draw(0, 2, 3, 20, 20)
    assert_agree(topic.ssim(a, a), torch.ones(2, dtype=DOUBLE))
    assert (topic.ssim(a, 1 - a) < 0).all()
    assert topic.ssim(torch.ones(11, 11), torch.ones(11, 11)).item() == 1
    assert topic.ssim(a, torch.full_like(a, torch.nan)).isnan().all()
    assert topic.ssim(a[:0], a[:0]).shape == (0,)


def test_the_windows_of_ssim_have_its_mean_and_the_variances_of_each_picture() -> None:
    a, b = draw(0, 2, 3, 12, 14), draw(1, 2, 3, 12, 14)
    windows = topic.ssim_windows(a, b)
    assert windows.similarity.shape == (2, 3, 2, 4)
    assert_agree(windows.similarity.mean((1, 2, 3)), topic.ssim(a, b))
    swapped = topic.ssim_windows(b, a)
    assert_agree(windows.variance_a, swapped.variance_b)
    weights = torch.exp(-(torch.arange(-5, 6, dtype=DOUBLE) ** 2) / 4.5)
    weights = torch.outer(weights, weights) / weights.sum() ** 2
    window = a[1, 2, 1:12, 3:14]
    expected = (weights * (window - (weights * window).sum()) ** 2).sum()
    assert_agree(windows.variance_a[1, 2, 1, 3], expected)


def test_ssim_of_views_and_of_single_precision() -> None:
    a, b = draw(0, 13, 12, 3).permute(2, 0, 1), draw(1, 13, 12, 3).permute(2, 0, 1)
    assert_agree(topic.ssim(a, b), skimage_ssim(a, b))
    assert_agree(topic.ssim(a.float(), b.float()), topic.ssim(a, b).float(), 1e-5)


def test_similarities_have_gradients() -> None:
    a, b = draw(0, 2, 1, 12, 11).requires_grad_(), draw(1, 2, 1, 12, 11).requires_grad_()
    assert gradcheck(topic.psnr, (a, b))
    assert gradcheck(topic.ssim, (a, b))
    for function in (topic.ssim, topic.ssim_loops):
        grads = torch.autograd.grad(function(a, b).sum(), (a, b))
        for got, wanted in zip(
            grads, torch.autograd.grad(topic.ssim(a, b).sum(), (a, b)), strict=True
        ):
            assert_agree(got, wanted)


@pytest.mark.parametrize("shape", [(2, 3), (3, 4, 5), (1, 1, 2, 2), (4, 3, 5, 6)])
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_psnr_is_scikit_images(shape: tuple[int, ...], data_range: float) -> None:
    a, b = draw(0, *shape), draw(1, *shape)
    pairs = zip(a, b, strict=True) if a.ndim == 4 else [(a, b)]
    theirs = torch.tensor(
        [peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=data_range) for x, y in pairs],
        dtype=DOUBLE,
    )
    assert_agree(topic.psnr(a, b, data_range), theirs if a.ndim == 4 else theirs[0])


def test_psnr_of_known_errors() -> None:
    black = torch.zeros(1, 5, 5, dtype=DOUBLE)
    assert topic.psnr(black, black + 0.1).item() == pytest.approx(20)
    assert topic.psnr(black, black + 0.01).item() == pytest.approx(40)
    assert topic.psnr(black, black + 25.5, 255).item() == pytest.approx(20)
    assert topic.psnr(black, black).item() == math.inf
    assert topic.psnr(black, black + torch.nan).isnan()
    assert topic.psnr(black[None].expand(0, 1, 5, 5), black[None].expand(0, 1, 5, 5)).shape == (0,)


# --- what a network costs -------------------------------------------------------------------------

# Torchvision's own records of its weights: parameters, and billions of multiply-adds.
WEIGHTS = [
    models.AlexNet_Weights.IMAGENET1K_V1,
    models.VGG16_Weights.IMAGENET1K_V1,
    models.ResNet18_Weights.IMAGENET1K_V1,
    models.ResNet50_Weights.IMAGENET1K_V1,
    models.ResNet152_Weights.IMAGENET1K_V1,
    models.ViT_B_16_Weights.IMAGENET1K_V1,
    models.ViT_L_16_Weights.IMAGENET1K_V1,
    models.ViT_H_14_Weights.IMAGENET1K_SWAG_LINEAR_V1,
    models.MobileNet_V3_Small_Weights.IMAGENET1K_V1,  # with depthwise convolutions
    models.Swin_T_Weights.IMAGENET1K_V1,  # with attention in windows
]


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_torchvisions_models_cost_what_it_says(weights: Any) -> None:
    model = on_meta(lambda: models.get_model(str(weights).split("_Weights")[0].lower()))
    shape = 1, 3, 224, 224
    assert topic.count_parameters(model) == weights.meta["num_params"]
    assert round(topic.count_multiply_adds(model, shape) / 1e9, 3) == weights.meta["_ops"]
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(shape, device="meta"))
    assert topic.count_flops(model, shape) == counter.get_total_flops()


def test_lenet_has_the_papers_parameters_and_connections() -> None:
    model = topic.LeNet5()
    assert topic.count_parameters(model) - topic.count_parameters(model.output) == 60_000
    shapes = {
        "c1": (156, 1, 6 * 28 * 28),
        "c3": (1516, 1, 10 * 10),
        "c5": (48_120, 1, 1),
        "f6": (10_164, 1, 1),
    }
    for name, (learned, _, _) in shapes.items():
        assert topic.count_parameters(getattr(model, name)) == learned
    assert topic.count_parameters(model.s2) == 12
    assert topic.count_parameters(model.s4) == 32
    # A connection of the paper is a product or a bias at one place; the averages have five each.
    biases = 6 * 28 * 28 + 16 * 10 * 10 + 120 + 84
    averages = 5 * (6 * 14 * 14 + 16 * 5 * 5)
    products = topic.count_multiply_adds(model, (1, 1, 32, 32))
    assert products + biases + averages == 340_908
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_lenets_choice_of_maps() -> None:
    seen = topic.LeNet5().seen
    assert [len(maps) for maps in seen] == 6 * [3] + 9 * [4] + [6]
    assert len({frozenset(maps) for maps in seen}) == 16
    counts = [sum(m in maps for maps in seen) for m in range(6)]
    assert counts == 6 * [10]  # each map below is seen ten times


def test_the_diffusion_network_has_the_papers_parameters() -> None:
    model = on_meta(topic.DiffusionUNet)
    assert topic.count_parameters(model) == 35_746_307
    shapes = (2, 3, 32, 32), (2,)
    with FlopCounterMode(display=False) as counter:
        output = model(*(torch.empty(shape, device="meta") for shape in shapes))
    assert output.shape == shapes[0]
    assert topic.count_flops(model, *shapes) == counter.get_total_flops()


def test_the_diffusion_network_runs_and_hears_the_step() -> None:
    torch.manual_seed(0)
    model = topic.DiffusionUNet().eval()
    picture = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        early, late = (model(picture, torch.tensor([step])) for step in (1.0, 900.0))
    assert early.shape == (1, 3, 32, 32)
    assert early.isfinite().all()
    assert (early - late).abs().max() > 1e-3


class _Added(nn.Module):
    """A product that is added to something, for a batch and for a single matrix."""

    def forward(self, x: Tensor) -> Tensor:
        batch = torch.baddbmm(x, x, x.transpose(1, 2) @ x)
        return torch.addmm(batch[0], x[0], x[0].T @ x[0])


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "linear": (lambda: nn.Linear(5, 7), (3, 5), 3 * 35),
    "linear without bias": (lambda: nn.Linear(5, 7, bias=False), (3, 5), 3 * 35),
    "linear on a sequence": (lambda: nn.Linear(5, 7), (2, 3, 5), 6 * 35),
    "one vector": (lambda: nn.Linear(5, 7), (5,), 35),
    "convolution": (lambda: nn.Conv2d(4, 6, (3, 2), stride=2), (2, 4, 9, 8), 2 * 6 * 16 * 24),
    "groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), (1, 4, 5, 5), 6 * 9 * 18),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), (1, 4, 5, 5), 4 * 25 * 54),
    "one axis": (lambda: nn.Conv1d(4, 6, 3), (1, 4, 5), 6 * 3 * 12),
    "nothing learned": (nn.ReLU, (2, 3), 0),
    "products to add": (_Added, (2, 3, 4), 2 * 2 * 48 + 2 * 48),
    "shared": (lambda: nn.Sequential(*[nn.Linear(4, 4)] * 3), (1, 4), 3 * 16),
    "attention": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (3, 5, 8),
        3 * (5 * (4 * 64 + 2 * 128) + 2 * 25 * 8),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_multiply_adds_of_one_layer(name: str) -> None:
    build, shape, expected = LAYERS[name]
    for mode in (True, False):
        model = build().train(mode)
        assert topic.count_multiply_adds(model, shape) == expected
        assert topic.count_flops(model, shape) == 2 * expected
        with torch.no_grad():
            assert topic.count_multiply_adds(model, shape) == expected


def test_shared_parameters_count_once() -> None:
    build, _, _ = LAYERS["shared"]
    assert topic.count_parameters(build()) == 20
    assert topic.count_parameters(nn.ReLU()) == 0


def test_counting_changes_nothing_and_computes_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    topic.count_multiply_adds(model, (8, 3, 10_000, 10_000))  # 3 GB, if it were computed
    topic.training_memory(model, (8, 3, 10_000, 10_000))
    for name, value in model.state_dict().items():
        assert value.equal(before[name])
        assert value.device.type == "cpu"
    assert torch.get_rng_state().equal(state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_memory_of_known_networks() -> None:
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    learned = 5 * 7 + 7 + 7 * 3 + 3
    got = topic.training_memory(model, (11, 5))
    kept = 11 * 5 + 11 * 7  # what the two layers read; the ReLU's output is the second of them
    assert got == (4 * learned, 4 * learned, 8 * learned, 4 * kept)
    assert got.total == 16 * learned + 4 * kept
    with torch.no_grad():
        assert topic.training_memory(model, (11, 5)) == got
    assert topic.training_memory(model, (11, 5), optimizer_states=0).optimizer == 0
    assert topic.training_memory(model, (11, 5), optimizer_states=1).optimizer == 4 * learned


def test_memory_follows_dtype_batch_and_what_learns() -> None:
    model = on_meta(models.resnet18)
    one, two = (topic.training_memory(model, (n, 3, 64, 64)) for n in (1, 2))
    assert one[:3] == two[:3]
    assert two.activations == pytest.approx(2 * one.activations, rel=0.02)  # not the norms' own
    half = topic.training_memory(model.half(), (1, 3, 64, 64))
    assert half[:3] == tuple(size // 2 for size in one[:3])
    assert 0.5 * one.activations <= half.activations < 0.6 * one.activations
    frozen = on_meta(models.resnet18).requires_grad_(False)
    assert topic.training_memory(frozen, (1, 3, 64, 64)) == (one.parameters, 0, 0, 0)


def test_a_mask_of_dropout_is_kept_in_training_only() -> None:
    model = nn.Sequential(nn.Linear(4, 1000), nn.Dropout(0.5), nn.Linear(1000, 2))
    trained = topic.training_memory(model, (1, 4)).activations
    used = topic.training_memory(model.eval(), (1, 4)).activations
    assert trained - used in (1000, 4000)  # as bytes, or as numbers, by the version of torch


def _small_vit() -> nn.Module:
    return models.VisionTransformer(64, 16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64)


MEASURED: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "LeNet5": (topic.LeNet5, [(16, 1, 32, 32)]),
    "DiffusionUNet": (topic.DiffusionUNet, [(1, 3, 32, 32), (1,)]),
    "ResNet-18": (models.resnet18, [(4, 3, 64, 64)]),
    "a small ViT": (_small_vit, [(8, 3, 64, 64)]),
}


@pytest.mark.parametrize("name", MEASURED)
def test_activations_are_what_a_real_forward_pass_leaves_in_memory(name: str) -> None:
    """PyTorch's profiler adds up what the allocator gave out and took back."""
    build, shapes = MEASURED[name]
    model, inputs = build(), [torch.rand(shape) for shape in shapes]
    # A fused kernel of attention would keep less; see the docstring.
    with sdpa_kernel(SDPBackend.MATH), profile(profile_memory=True) as profiled:
        output = model(*inputs)
    left = sum(event.self_cpu_memory_usage for event in profiled.key_averages())
    kept = left - output.nbytes + sum(x.nbytes for x in inputs)
    assert topic.training_memory(model, *shapes).activations == pytest.approx(kept, rel=0.01)


def test_training_takes_three_times_the_forward_pass() -> None:
    sizes = [30, 50, 20, 10]
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))
    with FlopCounterMode(display=False) as counter:
        model(torch.rand(7, 30, requires_grad=True)).sum().backward()
    once = topic.count_multiply_adds(model, (1, 30))
    assert topic.training_flops(once, 7) == counter.get_total_flops()


def test_published_training_compute() -> None:
    """Table 6 of Dosovitskiy et al., 2021: exaFLOPs of pre-training on 303 million images."""
    published = {"vit_b_16": (7, 224), "vit_l_16": (14, 1567), "vit_h_14": (14, 4262)}
    for name, (epochs, exaflops) in published.items():
        model = on_meta(lambda name=name: models.get_model(name))
        once = topic.count_multiply_adds(model, (1, 3, 224, 224))
        ours = topic.training_flops(once, epochs * 303_000_000) / 1e18
        assert ours == pytest.approx(exaflops, rel=0.005)


# --- wrong arguments ------------------------------------------------------------------------------

BYTES = torch.zeros(3, 12, 12, dtype=torch.uint8)
IMAGE = torch.zeros(3, 12, 12)
LINEAR = nn.Linear(2, 3)

WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: topic.average_blocks(BYTES, 2), TypeError, "image: expected a floating dtype"),
    (lambda: topic.average_blocks(IMAGE, 5), ValueError, "image: expected a height and a width"),
    (lambda: topic.average_blocks(IMAGE, 0), ValueError, "size: expected an integer >= 1"),
    (lambda: topic.average_blocks(IMAGE, 2.0), TypeError, "size: expected an integer >= 1"),
    (lambda: topic.average_blocks(torch.zeros(4), 2), ValueError, "image: expected a height"),
    (lambda: topic.quantize(BYTES, 8), TypeError, "image: expected a floating dtype"),
    (lambda: topic.quantize(IMAGE, 0), ValueError, "bits: expected an integer >= 1"),
    (lambda: topic.quantize(IMAGE, 17), ValueError, "bits: expected 1 to 16, got 17"),
    (lambda: topic.srgb_to_linear(BYTES), TypeError, "image: expected a floating dtype"),
    (lambda: topic.linear_to_srgb(BYTES), TypeError, "light: expected a floating dtype"),
    (lambda: topic.linear_to_grey(BYTES), TypeError, "light: expected a floating dtype"),
    (lambda: topic.linear_to_grey(IMAGE[:1]), ValueError, "light: expected three channels"),
    (lambda: topic.luma(IMAGE.permute(1, 2, 0)), ValueError, "image: expected three channels"),
    (lambda: topic.luma(torch.zeros(3)), ValueError, "image: expected three channels"),
    (lambda: topic.psnr(BYTES, BYTES), TypeError, "a: expected a floating dtype"),
    (lambda: topic.psnr(IMAGE, IMAGE.double()), TypeError, "b: expected torch.float32 like a"),
    (lambda: topic.psnr(IMAGE, IMAGE[:1]), ValueError, r"b: expected shape \(3, 12, 12\)"),
    (lambda: topic.psnr(IMAGE, IMAGE, 0), ValueError, "data_range: expected a number above 0"),
    (lambda: topic.psnr(IMAGE, IMAGE, math.nan), ValueError, "data_range: expected a number"),
    (lambda: topic.psnr(IMAGE[:0], IMAGE[:0]), ValueError, "a: expected at least one pixel"),
    (lambda: topic.ssim(IMAGE[0, 0], IMAGE[0, 0]), ValueError, "a: expected 2 or 3 or 4 dim"),
    (lambda: topic.ssim(IMAGE[:, :10], IMAGE[:, :10]), ValueError, "a: expected at least 11 x 11"),
    (lambda: topic.ssim_loops(IMAGE, IMAGE[:, :10]), ValueError, "b: expected shape"),
    (lambda: topic.count_parameters(IMAGE), TypeError, "model: expected a torch.nn.Module, got a"),
    (lambda: topic.count_multiply_adds(F.relu, (2,)), TypeError, "model: expected a torch.nn.M"),
    (lambda: topic.count_multiply_adds(LINEAR), ValueError, "input_shapes: expected at least one"),
    (lambda: topic.count_flops(LINEAR), ValueError, "input_shapes: expected at least one"),
    (lambda: topic.training_memory(LINEAR), ValueError, "input_shapes: expected at least one"),
    (
        lambda: topic.training_memory(LINEAR, (1, 2), optimizer_states=-1),
        ValueError,
        "optimizer_states: expected an integer >= 0",
    ),
    (lambda: topic.training_flops(-1, 2), ValueError, "multiply_adds: expected an integer >= 0"),
    (lambda: topic.training_flops(1, 2.5), TypeError, "images: expected an integer >= 0"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_a_wrong_argument_is_named(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------


def linear(device: torch.device) -> nn.Module:
    return nn.Linear(2, 3, device=device)


# The functions whose result's shape depends on the numbers in a tensor.
LOOKS_AT_DATA: set[str] = set()

CALLS: dict[str, Callable[..., Any]] = {
    "average_blocks": lambda make, device: topic.average_blocks(make(3, 4, 4), 2),
    "quantize": lambda make, device: topic.quantize(make(3, 4, 4), 3),
    "srgb_to_linear": lambda make, device: topic.srgb_to_linear(make(3, 4, 4)),
    "linear_to_srgb": lambda make, device: topic.linear_to_srgb(make(3, 4, 4)),
    "linear_to_grey": lambda make, device: topic.linear_to_grey(make(3, 4, 4)),
    "luma": lambda make, device: topic.luma(make(3, 4, 4)),
    "psnr": lambda make, device: topic.psnr(make(2, 3, 4, 4), make(2, 3, 4, 4)),
    "ssim_loops": lambda make, device: topic.ssim_loops(make(11, 12), make(11, 12)),
    "ssim": lambda make, device: topic.ssim(make(2, 3, 11, 12), make(2, 3, 11, 12)),
    "ssim_windows": lambda make, device: topic.ssim_windows(make(2, 3, 11, 12), make(2, 3, 11, 12)),
    "count_parameters": lambda make, device: topic.count_parameters(linear(device)),
    "count_multiply_adds": lambda make, device: topic.count_multiply_adds(linear(device), (1, 2)),
    "count_flops": lambda make, device: topic.count_flops(linear(device), (1, 2)),
    "training_flops": lambda make, device: topic.training_flops(3, 4),
    "training_memory": lambda make, device: topic.training_memory(linear(device), (1, 2)),
    "LeNet5": lambda make, device: on(device, topic.LeNet5)(make(1, 1, 32, 32)),
    "DiffusionUNet": lambda make, device: on(device, topic.DiffusionUNet)(
        make(1, 3, 32, 32), make(1)
    ),
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def _halve_by_interpolation(image: Tensor) -> Tensor:
    light = topic.srgb_to_linear(image)
    half = F.interpolate(light[None], scale_factor=0.5, mode="bilinear")[0]
    return topic.linear_to_srgb(half)


def _halve_by_slices(image: Tensor) -> Tensor:
    light = topic.srgb_to_linear(image)
    corners = [light[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return topic.linear_to_srgb(sum(corners) / 4)


def _halve_rows_only(image: Tensor) -> Tensor:
    light = topic.srgb_to_linear(image)
    return topic.linear_to_srgb((light[:, ::2] + light[:, 1::2]) / 2)


def _psnr_by_root(a: Tensor, b: Tensor) -> float:
    return 20 * math.log10(255 / _rmse(a, b))


def _rmse(a: Tensor, b: Tensor) -> float:
    return math.sqrt(((a.double() - b.double()) ** 2).mean())


def _psnr_of_shorts(a: Tensor, b: Tensor) -> float:
    difference = a.to(torch.int16) - b.to(torch.int16)
    return 10 * math.log10(255**2 / (difference * difference).float().mean())


def _psnr_of_units(a: Tensor, b: Tensor) -> Tensor:
    return topic.psnr(a / 255, b / 255)


def _psnr_of_signed_bytes(a: Tensor, b: Tensor) -> float:
    mse = ((a.to(torch.int8) - b.to(torch.int8)) ** 2).double().mean()
    return (10 * torch.log10(255**2 / mse)).item()


def _count_by_loop(sizes: list[int]) -> tuple[int, int]:
    parameters = multiply_adds = 0
    for at in range(1, len(sizes)):
        multiply_adds += sizes[at - 1] * sizes[at]
        parameters += sizes[at - 1] * sizes[at] + sizes[at]
    return parameters, multiply_adds


def _count_by_module(sizes: list[int]) -> list[int]:
    model = nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))
    return [topic.count_parameters(model), topic.count_multiply_adds(model, (1, sizes[0]))]


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-background-storage": [[720_000, 720_000, 2_880_000], (7.2e5, 7.2e5, 2.88e6)],
    "ex-background-halve": [_halve_by_interpolation, _halve_by_slices],
    "ex-background-wrapped": [_psnr_by_root, _psnr_of_units],
    "ex-background-alarms": [(0.99, 0.154), (0.99, 90 / 585), [0.99, 0.1538]],
    "ex-background-counts": [_count_by_loop, _count_by_module],
    "ex-background-memory": [(4.0, 16.0, 8.0), [4, 16, 8]],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-background-storage": [
        ((240_000, 240_000, 960_000), "every channel"),
        ((720_000, 5_760_000, 23_040_000), "bits; eight"),
        ((720_000, 720_000, 720_000), "must be larger"),
        ((720_000, 720_000, 5_760_000), ""),
        (720_000, ""),
    ],
    "ex-background-halve": [
        (lambda image: F.avg_pool2d(image, 2), "no amounts of light"),
        (lambda image: F.avg_pool2d(topic.srgb_to_linear(image), 2), "still light"),
        (lambda image: image[:, ::2, ::2], "drops three"),
        (lambda image: F.avg_pool2d(image**2.2, 2) ** (1 / 2.2), "power of 2.2"),
        (_halve_rows_only, ""),
        (lambda image: _halve_by_slices(image) * 255, ""),
    ],
    "ex-background-wrapped": [
        (
            lambda a, b: (10 * torch.log10(255**2 / ((a - b) ** 2).float().mean())).item(),
            "start over",
        ),
        (
            lambda a, b: (10 * torch.log10(255**2 / ((a - b).float() ** 2).mean())).item(),
            "too late",
        ),
        (lambda a, b: topic.psnr(a.double(), b.double()).item(), "not 1"),
        (_psnr_of_signed_bytes, ""),
        (_psnr_of_shorts, "end at 32,767"),
        (lambda a, b: 20 * math.log10(256 / _rmse(a, b)), "largest byte"),
        (lambda a, b: 20 * math.log10(a.max().item() / _rmse(a, b)), "not of these pictures"),
        (
            lambda a, b: 10 * math.log10(255**2 / ((a.int() - b.int()) ** 2).sum()),
            "their mean",
        ),
        (
            lambda a, b: 10 * math.log10(255**2 / (a.float() - b.float()).abs().mean()),
            "squares them",
        ),
        (
            lambda a, b: 20 * math.log10(255 / (a.float() - b.float()).abs().mean()),
            "not the root",
        ),
        (lambda a, b: -_psnr_by_root(a, b), ""),
        (lambda a, b: ((a.double() - b.double()) ** 2).mean().item(), ""),
    ],
    "ex-background-alarms": [
        ((0.99, 0.9), "that are found"),
        ((0.99, 0.153), "rounded, not cut"),
        ((0.99, 90 / 590), "healthy eyes only"),
        ((0.99, 0.15), "three decimals"),
        ([0.99, 0.155], "three decimals"),
        ((99, 15.4), "between 0 and 1"),
        ((99.0, 15.385), "between 0 and 1"),
        ((0.01, 0.154), "lazy program"),
        ((0.5, 0.154), ""),
        ((0.99, 0.2), ""),
        ((0.99, 15.4), ""),
    ],
    "ex-background-counts": [
        (lambda sizes: (_count_by_loop(sizes)[1],) * 2, "lack the biases"),
        (lambda sizes: (_count_by_loop(sizes)[0],) * 2, "no multiply-add"),
        (lambda sizes: (_count_by_loop(sizes)[0], 2 * _count_by_loop(sizes)[1]), "two of them"),
        (lambda sizes: _count_by_loop(sizes[:2]), "first layer"),
        (lambda sizes: _count_by_loop(sizes)[::-1], ""),
        (lambda sizes: _count_by_loop(sizes[1:]), ""),
    ],
    "ex-background-memory": [
        ((4, 12, 6), "One thing is missing"),
        ((4, 8, 4), "Adam remembers"),
        ((4, 16, 4), "not a quarter"),
        ((4e9, 16e9, 8e9), "asked is gigabytes"),
        ((8, 32, 16), ""),
    ],
}
