"""Normalisation, dropout, starting weights and clipping beside their twins in torch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from course_lib import training as topic
from support import assert_agree

DOUBLE = torch.float64


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (3 * torch.randn(shape, generator=generator, dtype=DOUBLE) + 1).to(device)


# --- signatures -----------------------------------------------------------------------------------


def arguments(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(
    ("ours", "twin", "left_out"),
    [
        (topic.batch_norm, F.batch_norm, 0),
        (topic.batch_norm_loops, F.batch_norm, 0),
        (topic.layer_norm, F.layer_norm, 0),
        (topic.layer_norm_loops, F.layer_norm, 0),
        (topic.LayerNorm, nn.LayerNorm, 0),
        (topic.dropout, F.dropout, 1),  # inplace
        (topic.dropout_loops, F.dropout, 1),
        (topic.Dropout, nn.Dropout, 1),
        (topic.clip_grad_norm_, nn.utils.clip_grad_norm_, 1),  # foreach
        (topic.calculate_gain, nn.init.calculate_gain, 0),
        (topic.xavier_uniform_, nn.init.xavier_uniform_, 0),
        (topic.xavier_normal_, nn.init.xavier_normal_, 0),
        (topic.kaiming_uniform_, nn.init.kaiming_uniform_, 0),
        (topic.kaiming_normal_, nn.init.kaiming_normal_, 0),
    ],
)
def test_signature_is_the_twins(
    ours: Callable[..., Any], twin: Callable[..., Any], left_out: int
) -> None:
    theirs = arguments(twin)
    assert arguments(ours) == theirs[: len(theirs) - left_out]


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d"])
def test_signature_is_the_twins_as_far_as_this_torch_has_it(name: str) -> None:
    """``bias`` is new in torch."""
    ours, theirs = arguments(getattr(topic, name)), arguments(getattr(nn, name))
    assert ours[: len(theirs)] == theirs
    assert len(ours) - len(theirs) in (0, 1)


# --- batch normalisation --------------------------------------------------------------------------

BATCHES = [(4, 3), (2, 1), (5, 2, 3), (2, 3, 4, 5), (1, 2, 3, 3), (2, 2, 2, 3, 2)]
every_batch = pytest.mark.parametrize("shape", BATCHES)
both = pytest.mark.parametrize("ours", [topic.batch_norm, topic.batch_norm_loops])


def channels(shape: tuple[int, ...], device: Any = "cpu") -> list[Tensor]:
    """Running mean and variance, weight and bias."""
    mean, var, weight, bias = draw(7, 4, shape[1], device=device)
    return [mean, var.abs() + 0.1, weight, bias]


@both
@every_batch
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_equals_its_twin(
    ours: Callable[..., Tensor],
    shape: tuple[int, ...],
    training: bool,
    affine: bool,
    device: torch.device,
) -> None:
    x, found = draw(1, *shape, device=device), []
    for function in (ours, F.batch_norm):
        mean, var, weight, bias = channels(shape, device)
        options = (weight, bias) if affine else (None, None)
        output = function(x, mean, var, *options, training, 0.3, 1e-3)
        found.append((output, mean, var))
    for mine, twin in zip(*found, strict=True):
        assert_agree(mine, twin)


@both
def test_batch_norm_without_running_statistics(ours: Callable[..., Tensor]) -> None:
    x = draw(1, 4, 2, 3)
    assert_agree(ours(x, None, None, training=True), F.batch_norm(x, None, None, training=True))
    mean = torch.zeros(2, dtype=DOUBLE)
    ours(x, mean, None, training=True, momentum=1.0)
    assert_agree(mean, x.mean((0, 2)))


@every_batch
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_has_the_right_gradients(
    shape: tuple[int, ...], training: bool, device: torch.device
) -> None:
    signal, found = draw(2, *shape, device=device), []
    for function in (topic.batch_norm, topic.batch_norm_loops, F.batch_norm):
        mean, var, weight, bias = channels(shape, device)
        leaves = [draw(1, *shape, device=device), weight.clone(), bias.clone()]
        leaves = [leaf.requires_grad_() for leaf in leaves]
        output = function(leaves[0], mean, var, *leaves[1:], training)
        found.append(torch.autograd.grad(output, leaves, signal))
        assert not mean.requires_grad
        assert not var.requires_grad
    for mine, loops, twin in zip(*found, strict=True):
        assert_agree(mine, twin, 1e-9)
        assert_agree(loops, twin, 1e-9)
    x, weight = draw(1, *shape, device=device), channels(shape, device)[2]
    if training:
        by_hand = topic.batch_norm_backward(signal, x, weight)
        for mine, twin in zip(by_hand, found[-1], strict=True):
            assert_agree(mine, twin, 1e-9)


def test_batch_norm_passes_gradcheck() -> None:
    leaves = [t.requires_grad_() for t in (draw(1, 3, 2, 2), draw(2, 2), draw(3, 2))]

    def call(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return topic.batch_norm(x, None, None, weight, bias, training=True)

    assert gradcheck(call, leaves)
    assert gradgradcheck(call, leaves)


def test_gradient_by_hand_has_no_weight_by_default() -> None:
    x, signal = draw(1, 4, 3, 2).requires_grad_(), draw(2, 4, 3, 2)
    (expected,) = torch.autograd.grad(F.batch_norm(x, None, None, training=True), x, signal)
    assert_agree(topic.batch_norm_backward(signal, x.detach())[0], expected, 1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_batch_norm_keeps_the_dtype(dtype: torch.dtype, device: torch.device) -> None:
    x = draw(1, 64, 3, 5, 5, device=device).to(dtype)
    exact = F.batch_norm(x.double(), None, None, training=True)
    output = topic.batch_norm(x, None, None, training=True)
    assert output.dtype == dtype
    assert_agree(output.double(), exact, 2 * torch.finfo(dtype).eps)


def test_batch_norm_of_16_bits_with_parameters_of_32() -> None:
    """As under autocast."""
    x, found = draw(1, 8, 3, 4, 4).bfloat16(), []
    for function in (topic.batch_norm, F.batch_norm):
        mean, var, weight, bias = (t.float() for t in channels((8, 3)))
        output = function(x, mean, var, weight, bias, True)
        found.append((output.float(), mean, var))
    for (mine, twin), tolerance in zip(zip(*found, strict=True), (1e-2, 1e-5, 1e-5), strict=True):
        assert_agree(mine, twin, tolerance)


def test_numbers_far_from_zero_keep_their_digits() -> None:
    """A variance as the mean of squares minus the square of the mean would be all noise here."""
    x = draw(1, 64, 2)
    shifted = topic.batch_norm(x.float() + 4096, None, None, training=True)
    assert_agree(shifted.double(), F.batch_norm(x, None, None, training=True), 2e-3)


def test_layout_in_memory_does_not_matter() -> None:
    x = draw(1, 2, 4, 3, 6)
    views = {
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "strided": x.repeat_interleave(2, 3)[..., ::2],
        "transposed": x.transpose(0, 3).contiguous().transpose(0, 3),
    }
    for view in views.values():
        assert_agree(
            topic.batch_norm(view, None, None, training=True),
            F.batch_norm(x, None, None, training=True),
        )
        assert_agree(topic.layer_norm(view, [3, 6]), F.layer_norm(x, [3, 6]))
        assert torch.equal(view, x)


def test_nan_stays_in_its_channel() -> None:
    x = draw(1, 4, 3)
    x[0, 1] = math.nan
    for function in (topic.batch_norm, topic.batch_norm_loops, F.batch_norm):
        output = function(x, None, None, training=True)
        assert output.isnan().all(0).tolist() == [False, True, False]


@pytest.mark.parametrize("ours", [topic.batch_norm, topic.batch_norm_loops])
def test_evaluation_takes_an_empty_batch(ours: Callable[..., Tensor]) -> None:
    mean, var, weight, bias = channels((0, 3))
    assert ours(torch.zeros(0, 3, 2, dtype=DOUBLE), mean, var, weight, bias).shape == (0, 3, 2)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda f: f(torch.zeros(2, 3).int(), None, None), TypeError, "input: expected a floating"),
        (lambda f: f(torch.zeros(3), None, None), ValueError, "at least 2 dimensions"),
        (lambda f: f(torch.zeros(2, 3), None, None), ValueError, "running_mean: expected a tensor"),
        (
            lambda f: f(torch.zeros(2, 3), torch.zeros(3), None),
            ValueError,
            "running_var: expected a tensor",
        ),
        (
            lambda f: f(torch.zeros(2, 3), torch.zeros(2), torch.ones(3)),
            ValueError,
            r"running_mean: expected shape \(3\)",
        ),
        (
            lambda f: f(torch.zeros(2, 3), None, None, torch.ones(2), training=True),
            ValueError,
            r"weight: expected shape \(3\)",
        ),
        (
            lambda f: f(torch.zeros(1, 3), None, None, training=True),
            ValueError,
            "more than one value in each channel",
        ),
        (
            lambda f: f(torch.zeros(2, 3), None, None, training=True, eps=-1.0),
            ValueError,
            "eps: expected a finite number >= 0",
        ),
    ],
)
@both
def test_batch_norm_refuses(
    ours: Callable[..., Tensor], call: Any, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        call(ours)


def test_gradient_by_hand_refuses_another_shape() -> None:
    with pytest.raises(ValueError, match=r"grad_output: expected shape \(4, 3\)"):
        topic.batch_norm_backward(torch.zeros(4, 2), torch.zeros(4, 3))


# --- its layers -----------------------------------------------------------------------------------

LAYERS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.3, "eps": 1e-2},
    {"momentum": None},
    {"momentum": 0.0},
    {"affine": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
]


@pytest.mark.parametrize("options", LAYERS)
@pytest.mark.parametrize(
    ("name", "shape"),
    [("BatchNorm1d", (5, 3)), ("BatchNorm1d", (2, 3, 4)), ("BatchNorm2d", (2, 3, 4, 2))],
)
def test_batch_norm_layer_equals_its_twin(
    name: str, shape: tuple[int, ...], options: dict[str, Any], device: torch.device
) -> None:
    made = {"device": device, "dtype": DOUBLE}
    ours = getattr(topic, name)(3, **options, **made)
    twin = getattr(nn, name)(3, **options, **made)
    for start in (ours, twin):
        for n, parameter in enumerate(start.parameters()):
            parameter.data = draw(n, 3, device=device)
    for step in range(4):
        x = draw(step, *shape, device=device)
        assert_agree(ours(x), twin(x))
    ours.eval()
    twin.eval()
    assert_agree(ours(x), twin(x))
    mine, theirs = ours.state_dict(), twin.state_dict()
    assert list(mine) == list(theirs)
    for key, value in mine.items():
        assert value.dtype == theirs[key].dtype
        assert_agree(value, theirs[key])
    twin.load_state_dict(mine)
    ours.load_state_dict(theirs)


def test_batch_norm_layer_may_have_no_bias() -> None:
    layer = topic.BatchNorm1d(2, bias=False)
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (topic.BatchNorm1d(3), (2, 3, 4, 4)),
        (topic.BatchNorm2d(3), (2, 3)),
        (topic.BatchNorm1d(3), (3,)),
    ],
)
def test_batch_norm_layer_refuses_other_ranks(layer: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"input: expected .* dimensions"):
        layer(torch.zeros(shape))


def test_training_and_evaluation_differ_and_evaluation_changes_nothing() -> None:
    layer, x = topic.BatchNorm1d(2), draw(1, 8, 2).float()
    layer(x)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.eval()
    assert not torch.allclose(layer(x), topic.batch_norm(x, None, None, training=True))
    assert_agree(layer(x[:1]), layer(x)[:1], 1e-6)  # no example depends on another
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


# --- layer normalisation --------------------------------------------------------------------------

ROWS: list[tuple[tuple[int, ...], list[int]]] = [
    ((3,), [3]),
    ((2, 5), [5]),
    ((2, 3, 4), [4]),
    ((2, 3, 4), [3, 4]),
    ((2, 3, 4), [2, 3, 4]),
    ((4, 1), [1]),
    ((0, 3), [3]),
]


@pytest.mark.parametrize(("shape", "normalized"), ROWS)
@pytest.mark.parametrize("affine", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("ours", [topic.layer_norm, topic.layer_norm_loops])
def test_layer_norm_equals_its_twin(
    ours: Callable[..., Tensor],
    shape: tuple[int, ...],
    normalized: list[int],
    affine: tuple[bool, bool],
    device: torch.device,
) -> None:
    leaves = [draw(1, *shape, device=device).requires_grad_()]
    given = []
    for n, wanted in enumerate(affine):
        given.append(draw(n + 2, *normalized, device=device).requires_grad_() if wanted else None)
    leaves += [leaf for leaf in given if leaf is not None]
    mine, twin = (f(leaves[0], normalized, *given, 1e-3) for f in (ours, F.layer_norm))
    assert_agree(mine, twin)
    if mine.numel():
        signal = draw(5, *shape, device=device)
        for a, b in zip(
            torch.autograd.grad(mine, leaves, signal),
            torch.autograd.grad(twin, leaves, signal),
            strict=True,
        ):
            assert_agree(a, b, 1e-9)


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=4), data=st.data())
def test_layer_norm_does_what_its_twin_does(shape: list[int], data: st.DataObject) -> None:
    normalized = data.draw(
        st.integers(0, len(shape)).map(lambda n: shape[n:])
        | st.lists(st.integers(1, 5), max_size=3)
    )
    x = draw(1, *shape)
    try:
        twin = F.layer_norm(x, normalized)
    except (RuntimeError, IndexError):
        with pytest.raises(ValueError, match="normalized_shape: expected the last axes of"):
            topic.layer_norm(x, normalized)
        return
    assert_agree(topic.layer_norm(x, normalized), twin)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_layer_norm_keeps_the_dtype(dtype: torch.dtype, device: torch.device) -> None:
    x = draw(1, 4, 64, device=device).to(dtype)
    output = topic.layer_norm(x, [64])
    assert output.dtype == dtype
    assert_agree(output.double(), F.layer_norm(x.double(), [64]), 2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"elementwise_affine": False}, {"eps": 1e-2}]
)
@pytest.mark.parametrize("shape", [4, [4], (3, 4)])
def test_layer_norm_layer_equals_its_twin(shape: Any, options: dict[str, Any]) -> None:
    ours, twin = (kind(shape, **options, dtype=DOUBLE) for kind in (topic.LayerNorm, nn.LayerNorm))
    for layer in (ours, twin):
        for n, parameter in enumerate(layer.parameters()):
            parameter.data = draw(n, *parameter.shape)
    x = draw(9, 2, 3, 4)
    assert_agree(ours(x), twin(x))
    assert list(ours.state_dict()) == list(twin.state_dict())
    assert ours.normalized_shape == twin.normalized_shape


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: topic.layer_norm(torch.zeros(3).int(), [3]), TypeError, "floating"),
        (lambda: topic.layer_norm(torch.zeros(2, 3), [2]), ValueError, "the last axes of"),
        (lambda: topic.layer_norm(torch.zeros(2, 3), []), ValueError, "the last axes of"),
        (
            lambda: topic.layer_norm(torch.zeros(2, 3), [3], torch.ones(2)),
            ValueError,
            r"weight: expected shape \(3\)",
        ),
        (
            lambda: topic.layer_norm(torch.zeros(2, 3), [3], None, torch.ones(1, 3)),
            ValueError,
            r"bias: expected shape \(3\)",
        ),
    ],
)
def test_layer_norm_refuses(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


# --- dropout --------------------------------------------------------------------------------------


def seeded(function: Callable[..., Tensor], *given: Any) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return function(*given)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(1000,), (2, 3, 4), (0,), ()])
def test_dropout_draws_what_its_twin_draws(p: float, shape: tuple[int, ...]) -> None:
    x = draw(1, *shape).requires_grad_()
    ours, twin = seeded(topic.dropout, x, p), seeded(F.dropout, x, p)
    assert_agree(ours, twin)
    signal = draw(2, *shape)
    mine, theirs = (torch.autograd.grad(y, x, signal, retain_graph=True)[0] for y in (ours, twin))
    assert_agree(mine, theirs)


@pytest.mark.parametrize("ours", [topic.dropout, topic.dropout_loops])
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_dropout_keeps_the_mean(ours: Callable[..., Tensor], p: float) -> None:
    x = torch.ones(4000, dtype=DOUBLE)
    y = seeded(ours, x, p)
    assert set(y.tolist()) == {0.0, 1 / (1 - p)} or y.unique() == pytest.approx([0, 1 / (1 - p)])
    deviation = math.sqrt(p * (1 - p) / len(x))
    assert float((y == 0).double().mean()) == pytest.approx(p, abs=5 * deviation)


@pytest.mark.parametrize("ours", [topic.dropout, topic.dropout_loops])
def test_dropout_does_nothing_in_evaluation(ours: Callable[..., Tensor]) -> None:
    x = draw(1, 5)
    assert ours(x, 0.9, training=False) is x


def test_dropout_at_its_ends() -> None:
    x = torch.tensor([1.0, math.inf, math.nan])
    for ours in (topic.dropout, topic.dropout_loops):
        assert torch.equal(ours(x[:2], 0.0), x[:2])
        assert ours(torch.ones(9), 1.0).tolist() == [0.0] * 9
    torch.testing.assert_close(topic.dropout(x, 1.0), F.dropout(x, 1.0), equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dropout_keeps_the_dtype(dtype: torch.dtype) -> None:
    assert topic.dropout(torch.ones(3, dtype=dtype)).dtype == dtype
    assert topic.dropout_loops(torch.ones(3, dtype=dtype)).dtype == dtype


def test_dropout_layer_has_two_modes() -> None:
    layer, x = topic.Dropout(0.4), draw(1, 100)
    assert_agree(seeded(layer, x), seeded(nn.Dropout(0.4), x))
    layer.eval()
    assert layer(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
@pytest.mark.parametrize(
    "make",
    [
        lambda p: topic.dropout(torch.zeros(2), p),
        lambda p: topic.dropout_loops(torch.zeros(2), p),
        topic.Dropout,
    ],
)
def test_dropout_refuses(make: Callable[[float], Any], p: float) -> None:
    with pytest.raises(ValueError, match="p: expected a finite number >= 0 <= 1"):
        make(p)


# --- starting weights -----------------------------------------------------------------------------

INITIALISERS: list[tuple[str, dict[str, Any]]] = [
    ("xavier_uniform_", {}),
    ("xavier_uniform_", {"gain": 1.7}),
    ("xavier_normal_", {}),
    ("xavier_normal_", {"gain": 0.3}),
    *(
        (f"kaiming_{kind}_", options)
        for kind in ("uniform", "normal")
        for options in (
            {},
            {"a": math.sqrt(5)},
            {"nonlinearity": "relu"},
            {"mode": "fan_out", "nonlinearity": "tanh"},
        )
    ),
]


@pytest.mark.parametrize(("name", "options"), INITIALISERS)
@pytest.mark.parametrize("shape", [(4, 3), (6, 2, 3, 5), (3, 4, 2), (1, 1)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_initialiser_draws_what_its_twin_draws(
    name: str, options: dict[str, Any], shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    weights = []
    for module in (topic, nn.init):
        weight = nn.Parameter(torch.empty(shape, dtype=dtype))
        generator = torch.Generator().manual_seed(3)
        assert getattr(module, name)(weight, **options, generator=generator) is weight
        assert weight.requires_grad
        weights.append(weight.detach())
    assert_agree(*weights, tolerance=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(
    "name", ["linear", "conv2d", "conv_transpose3d", "sigmoid", "tanh", "relu", "selu"]
)
def test_gain_is_torchs(name: str) -> None:
    assert topic.calculate_gain(name) == pytest.approx(nn.init.calculate_gain(name), rel=1e-15)


def test_gain_of_a_leaky_relu_is_torchs() -> None:
    for slope in (None, 0, 0.2, 2):
        ours = topic.calculate_gain("leaky_relu", slope)
        assert ours == pytest.approx(nn.init.calculate_gain("leaky_relu", slope), rel=1e-15)


@pytest.mark.parametrize("depth", [30])
def test_kaiming_keeps_the_size_of_numbers_through_relus(depth: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 256, generator=generator)
    before = x.square().mean()
    for _ in range(depth):
        weight = topic.kaiming_normal_(
            torch.empty(256, 256), nonlinearity="relu", generator=generator
        )
        x = (x @ weight.T).relu()
    assert 0.2 < float(x.square().mean() * 2 / before) < 5


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: topic.xavier_normal_(torch.zeros(3)), ValueError, "at least 2 dimensions"),
        (lambda: topic.kaiming_normal_(torch.zeros(0, 3)), ValueError, "none of them empty"),
        (lambda: topic.xavier_uniform_(torch.zeros(3, 2).int()), TypeError, "floating"),
        (
            lambda: topic.kaiming_uniform_(torch.zeros(3, 2), mode="fan"),
            ValueError,
            "mode: expected one of 'fan_in', 'fan_out'",
        ),
        (
            lambda: topic.kaiming_uniform_(torch.zeros(3, 2), nonlinearity="gelu"),
            ValueError,
            "nonlinearity: expected one of",
        ),
    ],
)
def test_initialiser_refuses(call: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


# --- clipping -------------------------------------------------------------------------------------


def with_gradients(device: Any = "cpu") -> list[Tensor]:
    parameters = [torch.zeros(shape, dtype=DOUBLE, device=device) for shape in ((3, 2), (4,), ())]
    for n, parameter in enumerate(parameters):
        parameter.grad = draw(n, *parameter.shape, device=device)
    return [*parameters, torch.zeros(2, device=device)]  # the last has none


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3, math.inf])
@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e3])
def test_clip_equals_its_twin(max_norm: float, norm_type: float, device: torch.device) -> None:
    mine, theirs = with_gradients(device), with_gradients(device)
    ours = topic.clip_grad_norm_(iter(mine), max_norm, norm_type)
    twin = nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert_agree(ours, twin)
    for a, b in zip(mine[:-1], theirs[:-1], strict=True):
        assert_agree(a.grad, b.grad)
    assert mine[-1].grad is None


def test_clip_takes_one_tensor_or_none() -> None:
    (parameter, *_) = with_gradients()
    twin = parameter.grad.norm()
    assert_agree(topic.clip_grad_norm_(parameter, 1.0), twin)
    assert float(parameter.grad.norm()) == pytest.approx(1.0, abs=1e-5)
    assert topic.clip_grad_norm_([], 1.0) == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_clip_of_what_is_not_finite(bad: float) -> None:
    found = []
    for clip in (topic.clip_grad_norm_, nn.utils.clip_grad_norm_):
        parameters = with_gradients()
        parameters[1].grad[0] = bad
        length = clip(parameters, 1.0)
        found.append([length, *(p.grad for p in parameters[:-1])])
        parameters[1].grad[0] = bad
        with pytest.raises(RuntimeError):
            clip(parameters, 1.0, error_if_nonfinite=True)
    for mine, twin in zip(*found, strict=True):
        torch.testing.assert_close(mine, twin, equal_nan=True)


# --- compiled -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_layers_compile_into_one_graph() -> None:
    x = draw(1, 4, 3, 5, 5).float()
    for layer in (topic.BatchNorm2d(3), topic.LayerNorm([5, 5]), topic.Dropout(0.0)):
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        assert_agree(compiled(x), layer(x), 1e-6)
