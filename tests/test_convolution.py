"""`course_lib.convolution` against its loops, its twins, scipy, autograd and analytic values."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, signal
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from course_lib import convolution as conv
from support import assert_agree

DOUBLE = torch.float64

# The twin says that it is slow there.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers in float64, the same on every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE).to(
        device
    )


@dataclass(frozen=True)
class Layer:
    """The arguments of a layer, as shapes; `tensors` fills them with random numbers."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    bias: tuple[int, ...] | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: Any = 1

    @property
    def options(self) -> dict[str, Any]:
        names = ("stride", "padding", "dilation", "groups")
        return {name: getattr(self, name) for name in names}

    def tensors(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor | None]:
        bias = None if self.bias is None else draw(3, *self.bias, device=device)
        return draw(1, *self.input, device=device), draw(2, *self.weight, device=device), bias


LAYERS = {
    "plain": Layer((2, 3, 6, 5), (4, 3, 3, 3), (4,)),
    "no bias": Layer((2, 3, 6, 5), (4, 3, 3, 3)),
    "unbatched": Layer((3, 6, 5), (4, 3, 3, 2), (4,)),
    "one number": Layer((1, 1, 1, 1), (1, 1, 1, 1), (1,)),
    "pointwise": Layer((2, 4, 3, 5), (6, 4, 1, 1), (6,)),
    "kernel as large as the image": Layer((2, 2, 4, 5), (3, 2, 4, 5), (3,)),
    "flat kernel": Layer((1, 2, 5, 6), (2, 2, 1, 4), (2,)),
    "even kernel": Layer((1, 2, 6, 6), (2, 2, 4, 2), (2,), padding=1),
    "stride": Layer((2, 2, 7, 8), (3, 2, 3, 2), (3,), stride=2),
    "stride that leaves pixels": Layer((1, 2, 8, 9), (3, 2, 2, 2), stride=3),
    "stride beyond the kernel": Layer((1, 1, 9, 9), (1, 1, 2, 2), stride=4),
    "pair of strides": Layer((1, 2, 7, 8), (3, 2, 2, 3), (3,), stride=(1, 3)),
    "list of strides": Layer((1, 2, 7, 8), (3, 2, 2, 3), (3,), stride=[3, 1]),
    "tuple of one": Layer((1, 2, 7, 8), (3, 2, 2, 3), (3,), stride=(2,)),
    "padding": Layer((2, 2, 4, 5), (3, 2, 3, 3), (3,), padding=2),
    "padding beyond the image": Layer((1, 1, 2, 2), (1, 1, 3, 3), padding=4),
    "pair of paddings": Layer((1, 2, 4, 5), (3, 2, 3, 4), padding=(0, 2)),
    "kernel larger than the image": Layer((1, 2, 2, 2), (1, 2, 4, 4), padding=1),
    "dilation": Layer((1, 2, 8, 9), (3, 2, 3, 3), (3,), dilation=2),
    "pair of dilations": Layer((1, 2, 6, 9), (3, 2, 3, 3), dilation=(1, 3)),
    "valid": Layer((1, 2, 6, 5), (3, 2, 3, 2), (3,), stride=2, padding="valid"),
    "same, odd": Layer((1, 2, 6, 5), (3, 2, 3, 5), (3,), padding="same"),
    "same, even": Layer((1, 2, 6, 5), (3, 2, 4, 2), (3,), padding="same"),
    "same, dilated": Layer((1, 2, 6, 5), (3, 2, 2, 4), padding="same", dilation=(3, 1)),
    "same, unbatched": Layer((2, 6, 5), (3, 2, 2, 3), padding="same", stride=(1, 1)),
    "groups": Layer((2, 4, 5, 6), (6, 2, 3, 2), (6,), groups=2),
    "depthwise": Layer((2, 3, 5, 6), (3, 1, 3, 3), (3,), padding=1, groups=3),
    "depthwise, twice as deep": Layer((2, 3, 5, 6), (6, 1, 2, 3), (6,), groups=3),
    "everything": Layer((2, 4, 9, 8), (6, 2, 3, 2), (6,), (2, 1), (1, 2), (1, 2), 2),
    "empty batch": Layer((0, 3, 6, 5), (4, 3, 3, 3), (4,), padding=1),
}  # fmt: skip
BATCHED = {
    name: layer
    for name, layer in LAYERS.items()
    if len(layer.input) == 4 and not isinstance(layer.padding, str)
}

every_layer = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
every_batched_layer = pytest.mark.parametrize("layer", BATCHED.values(), ids=BATCHED)


# --- signatures: a twin can be swapped for ours ---------------------------------------------------


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Names and defaults, in order; of a builtin, as the first line of its docstring says."""
    try:
        signature = inspect.signature(function)
    except ValueError:
        head = inspect.getdoc(function).splitlines()[0].partition(" ->")[0]
        (call,) = ast.parse(f"def {head}: ...").body
        given = call.args
        defaults = [inspect.Parameter.empty] * (len(given.args) - len(given.defaults))
        defaults += [ast.literal_eval(default) for default in given.defaults]
        return [(a.arg, value) for a, value in zip(given.args, defaults, strict=True)]
    return [(p.name, p.default) for p in signature.parameters.values()]


@pytest.mark.parametrize(
    ("ours", "twin"),
    [
        (conv.conv2d, F.conv2d),
        (conv.conv2d_loops, F.conv2d),
        (conv.conv_transpose2d, F.conv_transpose2d),
        (conv.conv2d_input, torch.nn.grad.conv2d_input),
        (conv.conv2d_weight, torch.nn.grad.conv2d_weight),
        (conv.Conv2d, nn.Conv2d),
    ],
)
def test_signature_is_the_twins(ours: Callable[..., Any], twin: Callable[..., Any]) -> None:
    assert parameters(ours) == parameters(twin)


# --- conv2d ---------------------------------------------------------------------------------------


@every_layer
@pytest.mark.parametrize("ours", [conv.conv2d, conv.conv2d_loops])
def test_conv2d_equals_its_twin(
    ours: Callable[..., Tensor], layer: Layer, device: torch.device
) -> None:
    arguments = layer.tensors(device)
    assert_agree(ours(*arguments, **layer.options), F.conv2d(*arguments, **layer.options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ours", [conv.conv2d, conv.conv2d_loops])
def test_conv2d_keeps_the_dtype(
    ours: Callable[..., Tensor], dtype: torch.dtype, device: torch.device
) -> None:
    layer = LAYERS["everything"]
    arguments = [t.to(dtype) for t in layer.tensors(device)]
    exact = F.conv2d(*(t.double() for t in arguments), **layer.options)
    output = ours(*arguments, **layer.options)
    assert output.dtype == dtype
    # Each of 12 products and sums is rounded once, and the loops keep their sum in the dtype.
    assert_agree(output.double(), exact, tolerance=12 * torch.finfo(dtype).eps)


@st.composite
def layers(pick: st.DrawFn) -> Layer:
    """A layer of any kind, at times one that cannot be."""
    few, pairs = st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3))
    groups, channels, out_channels = pick(few), pick(few), pick(few)
    channels *= groups
    out_channels *= groups
    images = pick(st.sampled_from([(), (0,), (1,), (2,)]))
    padding = st.one_of(
        st.integers(0, 3),
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
        st.sampled_from(["same", "valid"]),
    )
    return Layer(
        input=(*images, channels, pick(st.integers(1, 9)), pick(st.integers(1, 9))),
        weight=(out_channels, channels // groups, pick(st.integers(1, 4)), pick(st.integers(1, 4))),
        bias=pick(st.sampled_from([None, (out_channels,)])),
        stride=pick(few | pairs),
        padding=pick(padding),
        dilation=pick(few | pairs),
        groups=groups,
    )


@st.composite
def flawed_layers(pick: st.DrawFn) -> Layer:
    """A layer of which one argument was changed, so that it seldom fits the others."""
    layer = pick(layers())
    flaw = pick(
        st.sampled_from(["input", "weight", "bias", "stride", "padding", "dilation", "groups"])
    )
    wrong: Any
    if flaw in ("input", "weight"):
        shape = list(getattr(layer, flaw))
        shape[pick(st.integers(0, len(shape) - 1))] += 1
        wrong = tuple(shape)
    elif flaw == "bias":
        wrong = pick(st.sampled_from([(layer.weight[0] + 1,), (layer.weight[0], 1), ()]))
    elif flaw == "groups":
        wrong = pick(st.integers(-1, 4))
    else:
        wrong = pick(st.sampled_from([0, -1, (1, 2, 1), (-1, 1), 1.5, (1, 1.5), None, "Same"]))
    return replace(layer, **{flaw: wrong})


def outcome(call: Callable[..., Tensor], layer: Layer) -> Tensor | Exception:
    try:
        return call(*layer.tensors(), **layer.options)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        return error


def outcome_of_twin(call: Callable[..., Tensor], layer: Layer) -> Tensor | Exception:
    """What the twin does; it checks less of an empty batch, so one image is asked first."""
    one = outcome(call, replace(layer, input=(1, *layer.input[-3:])))
    return outcome(call, layer) if isinstance(one, Tensor) else one


@given(layer=layers() | flawed_layers())
def test_conv2d_does_what_its_twin_does(layer: Layer) -> None:
    ours, theirs = outcome(conv.conv2d, layer), outcome_of_twin(F.conv2d, layer)
    if isinstance(theirs, Tensor):
        assert isinstance(ours, Tensor), ours
        assert_agree(ours, theirs)
    else:
        assert isinstance(ours, TypeError | ValueError), ours
        assert ": expected " in str(ours)


SMALL_LAYERS = [
    Layer((1, 2, 4, 3), (2, 1, 2, 2), (2,), stride=2, padding=1, groups=2),
    Layer((2, 3, 4), (1, 2, 2, 2), (1,), padding="same", dilation=(2, 1)),
    Layer((1, 1, 5, 4), (1, 1, 2, 3), stride=(2, 1)),
]


@pytest.mark.parametrize("layer", SMALL_LAYERS)
def test_conv2d_has_the_right_gradients(layer: Layer, device: torch.device) -> None:
    arguments = [t.requires_grad_() for t in layer.tensors(device) if t is not None]
    assert gradcheck(lambda *t: conv.conv2d(*t, **layer.options), arguments)


@pytest.mark.parametrize("layer", SMALL_LAYERS)
def test_conv2d_has_the_right_second_gradients(layer: Layer, device: torch.device) -> None:
    arguments = [t.requires_grad_() for t in layer.tensors(device) if t is not None]
    assert gradgradcheck(lambda *t: conv.conv2d(*t, **layer.options), arguments)


@every_layer
def test_conv2d_has_the_gradients_of_its_twin(layer: Layer, device: torch.device) -> None:
    leaves = [t.requires_grad_() for t in layer.tensors(device) if t is not None]
    output, twins = conv.conv2d(*leaves, **layer.options), F.conv2d(*leaves, **layer.options)
    signal = draw(4, *twins.shape, device=device)
    for ours, theirs in zip(
        torch.autograd.grad(output, leaves, signal),
        torch.autograd.grad(twins, leaves, signal),
        strict=True,
    ):
        assert_agree(ours, theirs)


def strided(tensor: Tensor) -> Tensor:
    """The same numbers, every other one of a larger tensor, with the axes in another order."""
    spread = tensor.new_full([2 * n for n in tensor.shape[::-1]], math.nan)
    view = spread[tuple(slice(None, None, 2) for _ in tensor.shape)].permute(
        *range(tensor.ndim)[::-1]
    )
    view.copy_(tensor)
    return view


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "strided": strided,
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "expanded": lambda t: t[:1, :1].expand_as(t),
    "flipped back": lambda t: t.flip(-1).flip(-1).transpose(2, 3).contiguous().transpose(2, 3),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layout_in_memory_does_not_matter(
    layout: Callable[[Tensor], Tensor], device: torch.device
) -> None:
    layer = LAYERS["everything"]
    x, w, b = layer.tensors(device)
    x, w = layout(x), layout(w)
    before = x.clone(), w.clone()
    twin = F.conv2d(x.contiguous(), w.contiguous(), b, **layer.options)
    for ours in (conv.conv2d, conv.conv2d_loops):
        assert_agree(ours(x, w, b, **layer.options), twin)
    signal = layout(draw(5, *twin.shape, device=device))
    assert_agree(
        conv.conv2d_input(x.shape, w, signal, **layer.options),
        nn.grad.conv2d_input(x.shape, w.contiguous(), signal.contiguous(), **layer.options),
    )
    assert_agree(
        conv.conv2d_weight(x, w.shape, signal, **layer.options),
        nn.grad.conv2d_weight(x.contiguous(), w.shape, signal.contiguous(), **layer.options),
    )
    assert torch.equal(x, before[0])
    assert torch.equal(w, before[1])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("ours", [conv.conv2d, conv.conv2d_loops])
def test_what_is_not_finite_stays_where_the_twin_leaves_it(
    ours: Callable[..., Tensor], value: float, device: torch.device
) -> None:
    x, w, b = Layer((2, 2, 6, 6), (3, 2, 3, 3), (3,)).tensors(device)
    x[0, 1, 2, 2], w[2, 0, 0, 0] = value, 0
    expected = F.conv2d(x, w, b, padding=1)
    torch.testing.assert_close(ours(x, w, b, padding=1), expected, equal_nan=True)
    assert expected[1].isfinite().all()  # the other image is not touched


def test_a_large_batch_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, b = Layer((7, 2, 5, 5), (3, 2, 3, 3), (3,)).tensors()
    parts: list[int] = []
    monkeypatch.setattr(conv, "_images_at_once", lambda windows: 3)
    multiply = Tensor.__matmul__
    monkeypatch.setattr(Tensor, "__matmul__", lambda a, b: parts.append(len(b)) or multiply(a, b))
    assert_agree(conv.conv2d(x, w, b), F.conv2d(x, w, b))
    assert parts == [3, 3, 1]


BOTH_WAYS = pytest.mark.parametrize(
    ("ours", "twin"), [(conv.conv2d, F.conv2d), (conv.conv_transpose2d, F.conv_transpose2d)]
)


@BOTH_WAYS
def test_parts_have_the_gradients_of_the_whole(
    ours: Callable[..., Tensor], twin: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conv, "_images_at_once", lambda windows: 3)
    for weight, groups in ((draw(1, 4, 4, 3, 3), 1), (draw(2, 4, 1, 3, 3), 4)):
        leaves = [draw(0, 7, 4, 6, 5).requires_grad_(), weight.requires_grad_()]
        output = ours(*leaves, groups=groups)
        expected = twin(*leaves, groups=groups)
        assert_agree(output, expected)
        signal = draw(3, *expected.shape)
        for mine, theirs in zip(
            torch.autograd.grad(output, leaves, signal),
            torch.autograd.grad(expected, leaves, signal),
            strict=True,
        ):
            assert_agree(mine, theirs)


def test_many_parts_are_not_rounded_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "_images_at_once", lambda windows: 1)
    x, signal = torch.ones(1000, 1, 3, 3), torch.ones(1000, 1, 1, 1)
    halves = conv.conv2d_weight(x.bfloat16(), (1, 1, 3, 3), signal.bfloat16())
    assert torch.equal(halves.float(), torch.full((1, 1, 3, 3), 1000.0))  # one by one: 256


def test_no_column_is_kept_for_the_way_back() -> None:
    kept: list[int] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value.numel())
        return value

    x, w = draw(0, 2, 4, 8, 8).requires_grad_(), draw(1, 6, 4, 3, 3).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        conv.conv2d(x, w)
    assert sum(kept) == x.numel() + w.numel()


@BOTH_WAYS
def test_autocast_leads_back_to_the_leaves(
    ours: Callable[..., Tensor], twin: Callable[..., Tensor]
) -> None:
    leaves = [draw(n, 4, 4, 6, 6).float().requires_grad_() for n in (0, 1)]
    results = []
    for function in (ours, twin):
        with torch.autocast("cpu", torch.bfloat16):
            output = function(*leaves)
        gradients = torch.autograd.grad(output.sum(), leaves)
        assert all(gradient.dtype == torch.float32 for gradient in gradients)
        results.append((output, *gradients))
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine.float(), theirs.float(), rtol=0.05, atol=0.5)


def test_parts_fit_the_memory_that_they_are_meant_for() -> None:
    for shape in [(64, 64, 3, 3, 30, 30), (64, 3, 1, 1, 4, 4), (8, 512, 7, 7, 224, 224)]:
        windows = torch.empty(shape, device="meta")
        count = conv._images_at_once(windows)
        assert count == 1 or count * windows[0].numel() <= 2**21
        assert (count + 1) * windows[0].numel() > 2**21


@pytest.mark.slow
def test_conv2d_compiles_into_one_graph() -> None:
    layer = LAYERS["everything"]
    compiled = torch.compile(conv.conv2d, fullgraph=True, backend="eager")
    assert_agree(
        compiled(*layer.tensors(), **layer.options), conv.conv2d(*layer.tensors(), **layer.options)
    )


# --- one image, one kernel ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["valid", "full"])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 3), (5, 4)])
def test_one_image_equals_scipy(mode: str, size: tuple[int, int], device: torch.device) -> None:
    image, kernel = draw(1, 6, 5, device=device), draw(2, *size, device=device)
    for ours, theirs in (
        (conv.cross_correlate2d, signal.correlate2d),
        (conv.convolve2d, signal.convolve2d),
    ):
        expected = theirs(image.cpu().numpy(), kernel.cpu().numpy(), mode)
        assert_agree(ours(image, kernel, mode).cpu(), torch.from_numpy(expected))


def test_only_true_convolution_commutes(device: torch.device) -> None:
    image, kernel = draw(1, 5, 4, device=device), draw(2, 3, 2, device=device)
    assert_agree(conv.convolve2d(image, kernel, "full"), conv.convolve2d(kernel, image, "full"))
    turned = conv.cross_correlate2d(kernel, image, "full")
    assert not torch.allclose(conv.cross_correlate2d(image, kernel, "full"), turned)
    assert_agree(conv.cross_correlate2d(image, kernel, "full"), turned.flip(0, 1))


@pytest.mark.parametrize("ours", [conv.cross_correlate2d, conv.convolve2d])
def test_one_image_has_the_right_gradients(ours: Callable[..., Tensor]) -> None:
    arguments = draw(1, 4, 5).requires_grad_(), draw(2, 2, 3).requires_grad_()
    assert gradcheck(lambda a, b: ours(a, b, "full"), arguments)


# --- sizes ----------------------------------------------------------------------------------------


@given(
    size=st.integers(1, 30),
    kernel_size=st.integers(1, 6),
    stride=st.integers(1, 5),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 4),
)
def test_output_size_is_the_number_of_places(
    size: int, kernel_size: int, stride: int, padding: int, dilation: int
) -> None:
    options = (kernel_size, stride, padding, dilation)
    reach = dilation * (kernel_size - 1)
    places = len(range(-padding, size + padding - reach, stride))
    if places == 0:
        with pytest.raises(
            ValueError, match=f"kernel_size: expected .* got one that spans {reach + 1}"
        ):
            conv.conv_output_size(size, *options)
    else:
        assert conv.conv_output_size(size, *options) == places


@given(
    size=st.integers(1, 8),
    kernel_size=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    output_padding=st.integers(0, 3),
    dilation=st.integers(1, 4),
)
def test_transposed_size_leads_back(
    size: int, kernel_size: int, stride: int, padding: int, output_padding: int, dilation: int
) -> None:
    options = (kernel_size, stride, padding)
    large = conv.conv_transpose_output_size(size, *options, output_padding % stride, dilation)
    if large + 2 * padding >= dilation * (kernel_size - 1) + 1 and large >= 0:
        assert conv.conv_output_size(large, *options, dilation) == size


# --- the other ways to compute it -----------------------------------------------------------------


@given(layer=layers())
def test_windows_are_torchs_columns(layer: Layer) -> None:
    x, w, _ = layer.tensors()
    options = {"kernel_size": layer.weight[2:], "stride": layer.stride, "dilation": layer.dilation}
    if x.ndim == 3:
        with pytest.raises(ValueError, match="input: expected 4 dimensions"):
            conv.sliding_windows(x, **options)
        return
    try:
        theirs = F.unfold(x, **options)
    except RuntimeError:
        with pytest.raises(ValueError, match="kernel_size: expected"):
            conv.sliding_windows(x, **options)
        return
    ours = conv.sliding_windows(x, **options)
    assert ours.shape[1:4] == (x.shape[1], *w.shape[2:])
    assert torch.equal(ours.flatten(4).flatten(1, 3), theirs)


def test_windows_are_a_view() -> None:
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    windows = conv.sliding_windows(x, 2)
    x[0, 0, 1, 1] = 100
    assert (windows == 100).sum() == 4  # the pixel is under each of four taps once
    assert windows.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("padding", [0, 3, (2, 0), "same"])
@pytest.mark.parametrize(
    "layer",
    [
        Layer((2, 3, 8, 9), (4, 3, 3, 2), (4,)),
        Layer((3, 17, 11), (4, 3, 5, 6), (4,)),
        Layer((1, 2, 31, 7), (2, 2, 31, 7)),
        Layer((1, 1, 3, 1), (1, 1, 1, 1)),
        Layer((0, 3, 8, 8), (4, 3, 3, 3), (4,)),
    ],
)
def test_fft_equals_conv2d(
    layer: Layer, padding: Any, dtype: torch.dtype, device: torch.device
) -> None:
    arguments = [t if t is None else t.to(dtype) for t in layer.tensors(device)]
    tolerance = 1e-10 if dtype == torch.float64 else 16 * torch.finfo(dtype).eps
    assert_agree(
        conv.conv2d_fft(*arguments, padding), F.conv2d(*arguments, padding=padding), tolerance
    )


def test_fft_has_the_right_gradients() -> None:
    arguments = [t.requires_grad_() for t in Layer((1, 2, 3, 4), (1, 2, 2, 3), (1,)).tensors()]
    assert gradcheck(lambda *t: conv.conv2d_fft(*t, padding=1), arguments)


def test_fft_lengths_are_quick_and_long_enough() -> None:
    def smooth(n: int) -> bool:
        return 30**10 % n == 0  # only the primes 2, 3 and 5, for n below 2**10

    for length in range(1, 500):
        assert conv._fast_length(length) == next(n for n in range(length, 1000) if smooth(n))


@every_batched_layer
def test_matrix_is_the_layer(layer: Layer, device: torch.device) -> None:
    x, w, _ = layer.tensors(device)
    matrix = conv.conv_matrix(w, layer.input[2:], **layer.options)
    expected = F.conv2d(x, w, **layer.options)
    assert_agree(matrix @ x.flatten(1).T, expected.flatten(1).T)
    assert matrix.is_coalesced()
    torch.sparse_coo_tensor(
        matrix.indices(), matrix.values(), matrix.shape, is_coalesced=True, check_invariants=True
    )


@every_batched_layer
def test_transposed_matrix_is_the_gradient_of_the_input(layer: Layer) -> None:
    x, w, _ = layer.tensors()
    matrix = conv.conv_matrix(w, layer.input[2:], **layer.options)
    signal = draw(4, *F.conv2d(x, w, **layer.options).shape)
    gradient = (matrix.T @ signal.flatten(1).T).T.reshape(x.shape)
    assert_agree(gradient, conv.conv2d_input(layer.input, w, signal, **layer.options))


def test_matrix_stores_the_taps_inside_the_image_only() -> None:
    matrix = conv.conv_matrix(torch.ones(1, 1, 3, 3), (4, 4), padding=1)
    assert matrix.shape == (16, 16)
    # Four corners see 4 pixels, eight borders 6, four in the middle 9.
    assert matrix.values().numel() == 4 * 4 + 8 * 6 + 4 * 9


def test_matrix_has_the_right_gradient() -> None:
    w, x = draw(1, 2, 2, 3, 2).requires_grad_(), draw(2, 40)
    matrix = conv.conv_matrix(w, (4, 5), padding=1, stride=2)
    (ours,) = torch.autograd.grad((matrix @ x[:, None]).square().sum(), w)
    output = F.conv2d(x.reshape(1, 2, 4, 5), w, padding=1, stride=2)
    assert_agree(ours, *torch.autograd.grad(output.square().sum(), w))


# --- gradients and the transposed convolution -----------------------------------------------------


@every_batched_layer
def test_gradients_equal_their_twins_and_autograd(layer: Layer, device: torch.device) -> None:
    x, w, _ = layer.tensors(device)
    b = draw(3, w.shape[0], device=device)
    leaves = [t.requires_grad_() for t in (x, w, b)]
    output = F.conv2d(*leaves, **layer.options)
    signal = draw(4, *output.shape, device=device)
    ours = (
        conv.conv2d_input(layer.input, w, signal, **layer.options),
        conv.conv2d_weight(x, layer.weight, signal, **layer.options),
        conv.conv2d_bias(signal),
    )
    for gradient, expected in zip(ours, torch.autograd.grad(output, leaves, signal), strict=True):
        assert_agree(gradient.detach(), expected)
    if isinstance(layer.stride, int) or len(layer.stride) == 2:
        twin_input = nn.grad.conv2d_input(layer.input, w, signal, **layer.options)
        twin_weight = nn.grad.conv2d_weight(x, layer.weight, signal, **layer.options)
        assert_agree(ours[0].detach(), twin_input.detach())
        assert_agree(ours[1].detach(), twin_weight.detach())


@st.composite
def transposed_layers(pick: st.DrawFn) -> tuple[Layer, Any]:
    layer = pick(layers().filter(lambda layer: not isinstance(layer.padding, str)))
    out_channels, group_channels, *kernel_size = layer.weight
    weight = (group_channels * layer.groups, out_channels // layer.groups, *kernel_size)
    extra = st.integers(0, 3)
    return replace(layer, weight=weight), pick(extra | st.tuples(extra, extra))


@given(case=transposed_layers())
def test_transposed_convolution_does_what_its_twin_does(case: tuple[Layer, Any]) -> None:
    layer, extra = case

    ours = outcome(partial(conv.conv_transpose2d, output_padding=extra), layer)
    theirs = outcome_of_twin(partial(F.conv_transpose2d, output_padding=extra), layer)
    if isinstance(theirs, Tensor) and 0 not in theirs.shape[-2:]:
        assert isinstance(ours, Tensor), ours
        assert_agree(ours, theirs)
    else:  # the twin also returns images without a pixel
        assert isinstance(ours, ValueError), ours
        assert ": expected " in str(ours)


def test_transposed_convolution_on_every_device(device: torch.device) -> None:
    x, w, b = Layer((2, 4, 5, 6), (4, 3, 3, 2), (6,)).tensors(device)
    options = {"stride": (3, 2), "padding": 1, "output_padding": (2, 0), "groups": 2}
    ours = conv.conv_transpose2d(x, w, b, **options)
    assert_agree(ours, F.conv_transpose2d(x, w, b, **options))


def test_transposed_convolution_has_the_right_gradients() -> None:
    arguments = [t.requires_grad_() for t in Layer((1, 2, 3, 2), (2, 2, 3, 2), (4,)).tensors()]

    def output(*tensors: Tensor) -> Tensor:
        return conv.conv_transpose2d(*tensors, stride=2, padding=1, groups=2, dilation=(1, 2))

    assert gradcheck(output, arguments)


# --- kernels with a name --------------------------------------------------------------------------

MAKERS: dict[str, Callable[..., Tensor]] = {
    "gaussian": lambda **kind: conv.gaussian_kernel(1.3, **kind),
    "box": lambda **kind: conv.box_kernel(4, **kind),
    "identity": conv.identity_kernel,
    "sobel x": lambda **kind: conv.sobel_kernel("x", **kind),
    "sobel y": lambda **kind: conv.sobel_kernel("y", **kind),
    "laplacian": conv.laplacian_kernel,
    "sharpen": conv.sharpen_kernel,
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_kernels_have_the_asked_dtype(make: Callable[..., Tensor], device: torch.device) -> None:
    for dtype in (torch.float64, torch.float32, torch.float16):
        kernel = make(dtype=dtype, device=device)
        assert (kernel.dtype, kernel.device.type) == (dtype, device.type)
    assert make().dtype == torch.get_default_dtype()


@pytest.mark.parametrize(
    ("name", "total"),
    [
        *[(name, 1) for name in ("gaussian", "box", "identity", "sharpen")],
        *[(name, 0) for name in ("laplacian", "sobel x", "sobel y")],
    ],
)
def test_kernels_sum_to(name: str, total: float) -> None:
    assert MAKERS[name](dtype=DOUBLE).sum().item() == pytest.approx(total, abs=1e-12)


@pytest.mark.parametrize("name", ["gaussian", "box", "identity", "laplacian", "sharpen"])
def test_kernels_look_the_same_from_every_side(name: str) -> None:
    kernel = MAKERS[name](dtype=DOUBLE)
    for turned in (kernel.flip(0), kernel.flip(1), kernel.T):
        assert_agree(kernel, turned, tolerance=1e-15)


def plane(a: float, b: float, c: float = 0.0) -> Tensor:
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(7.0), indexing="ij")
    return (a * x + b * y + c).double()


def test_sobel_answers_eight_times_the_slope() -> None:
    image = plane(2.0, -3.0, 5.0)
    for axis, slope in (("x", 2.0), ("y", -3.0)):
        answer = conv.cross_correlate2d(image, conv.sobel_kernel(axis, dtype=DOUBLE))
        assert (answer == 8 * slope).all()


def test_laplacian_of_a_bowl_is_four() -> None:
    bowl = plane(1, 0) ** 2 + plane(0, 1) ** 2 + plane(3, -2, 1)
    assert (conv.cross_correlate2d(bowl, conv.laplacian_kernel(dtype=DOUBLE)) == 4).all()


def test_sharpen_leaves_slopes_and_lifts_bumps() -> None:
    slope = plane(2.0, -3.0)
    kernel = conv.sharpen_kernel(0.7, dtype=DOUBLE)
    assert_agree(conv.cross_correlate2d(slope, kernel), slope[1:-1, 1:-1])
    bump = torch.zeros(5, 5, dtype=DOUBLE)
    bump[2, 2] = 1
    expected = bump.numpy() - 0.7 * ndimage.laplace(bump.numpy())
    answer = conv.cross_correlate2d(bump, kernel, "full")[1:-1, 1:-1]
    assert_agree(answer, torch.from_numpy(expected))


def test_identity_and_box() -> None:
    image = draw(1, 7, 6)
    same = conv.cross_correlate2d(image, conv.identity_kernel(5, dtype=DOUBLE))
    assert torch.equal(same, image[2:-2, 2:-2])
    smooth = conv.cross_correlate2d(image, conv.box_kernel(3, dtype=DOUBLE))
    expected = ndimage.uniform_filter(image.numpy(), 3)
    assert_agree(smooth, torch.from_numpy(expected)[1:-1, 1:-1])


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5])
def test_gaussian_is_sampled_and_reaches_three_sigma(sigma: float) -> None:
    kernel = conv.gaussian_kernel(sigma, dtype=DOUBLE)
    radius = math.ceil(3 * sigma)
    assert kernel.shape == (2 * radius + 1, 2 * radius + 1)
    for i in (0, 1):
        for j in (0, radius):
            ratio = math.exp(-(i**2 + j**2) / (2 * sigma**2))
            found = kernel[radius + i, radius + j] / kernel[radius, radius]
            assert found.item() == pytest.approx(ratio, rel=1e-12)
    assert conv.gaussian_kernel(sigma, 7).shape == (7, 7)


def test_separable_kernels_come_apart(device: torch.device) -> None:
    for kernel in (
        conv.gaussian_kernel(1.5, dtype=DOUBLE, device=device),
        conv.sobel_kernel("x", dtype=DOUBLE, device=device),
        conv.sobel_kernel("y", dtype=DOUBLE, device=device),
        torch.outer(draw(1, 2, device=device), draw(2, 5, device=device)),
        torch.zeros(2, 3, dtype=DOUBLE, device=device),
    ):
        column, row = conv.separate(kernel)
        assert_agree(torch.outer(column, row), kernel)


@pytest.mark.parametrize(
    ("kernel", "rank"),
    [(conv.laplacian_kernel(), 2), (conv.sharpen_kernel(), 2), (torch.eye(4), 4)],
)
def test_other_kernels_do_not(kernel: Tensor, rank: int) -> None:
    with pytest.raises(
        ValueError, match=f"kernel: expected a matrix of rank 1, got .* rank {rank}"
    ):
        conv.separate(kernel)


@pytest.mark.parametrize("padding", [0, 2, (1, 0)])
@pytest.mark.parametrize("shape", [(2, 3, 7, 8), (3, 7, 8), (0, 3, 7, 8)])
def test_two_passes_equal_one(shape: tuple[int, ...], padding: Any, device: torch.device) -> None:
    x, column, row = (
        draw(1, *shape, device=device),
        draw(2, 4, device=device),
        draw(3, 3, device=device),
    )
    kernel = torch.outer(column, row).expand(3, 1, 4, 3)
    assert_agree(
        conv.separable_conv2d(x, column, row, padding),
        F.conv2d(x, kernel, padding=padding, groups=3),
    )


def test_two_passes_have_the_right_gradients() -> None:
    arguments = [t.requires_grad_() for t in (draw(1, 2, 4, 5), draw(2, 3), draw(3, 2))]
    assert gradcheck(lambda *t: conv.separable_conv2d(*t, padding=1), arguments)


# --- what a stack of layers sees and costs --------------------------------------------------------

numbers = st.integers(1, 3)
stacks = st.lists(st.tuples(numbers, numbers, st.integers(0, 2), numbers), min_size=1, max_size=4)


@given(layers=stacks)
def test_receptive_field_is_where_the_gradient_reaches(
    layers: list[tuple[int, int, int, int]],
) -> None:
    line = torch.zeros(1, 1, 600, dtype=DOUBLE, requires_grad=True)
    top = line
    fields = conv.receptive_field(layers)
    assert len(fields) == len(layers)
    for (kernel_size, stride, padding, dilation), field in zip(layers, fields, strict=True):
        ones = torch.ones(1, 1, kernel_size, dtype=DOUBLE)
        top = F.conv1d(top, ones, None, stride, padding, dilation)
        middle = top.shape[-1] // 2
        for unit in (middle, middle + 1):
            (gradient,) = torch.autograd.grad(top[0, 0, unit], line, retain_graph=True)
            seen = gradient[0, 0].nonzero()[:, 0]
            first = field.start + unit * field.jump
            assert (seen[0], seen[-1]) == (first, first + field.size - 1)


def test_receptive_field_fills_in_what_is_left_out() -> None:
    assert conv.receptive_field([(3,), (3, 2), (5, 1, 2)]) == conv.receptive_field(
        [(3, 1, 0, 1), (3, 2, 0, 1), (5, 1, 2, 1)]
    )
    assert conv.receptive_field([]) == []


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel_size", [3, (1, 5)])
def test_costs_are_those_of_the_layer(groups: int, bias: bool, kernel_size: Any) -> None:
    layer = nn.Conv2d(4, 8, kernel_size, groups=groups, bias=bias)
    count = sum(p.numel() for p in layer.parameters())
    assert conv.conv_parameters(4, 8, kernel_size, groups, bias) == count
    multiplied = layer.weight.numel() * 6 * 7  # each weight at every place
    assert conv.conv_multiply_adds(4, 8, kernel_size, (6, 7), groups) == multiplied


# --- the layer as a module ------------------------------------------------------------------------

MODULES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "everything": {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2},
    "same": {"padding": "same", "dilation": 2},
    "reflect": {"padding": 2, "padding_mode": "reflect"},
    "replicate": {"padding": (1, 0), "padding_mode": "replicate", "stride": 2},
    "circular": {"padding": "same", "padding_mode": "circular"},
    "valid": {"padding": "valid", "padding_mode": "reflect"},
}


@pytest.mark.parametrize("options", MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("shape", [(2, 4, 7, 8), (4, 7, 8)])
def test_module_equals_its_twin(
    options: dict[str, Any], shape: tuple[int, ...], device: torch.device
) -> None:
    made = []
    for cls in (conv.Conv2d, nn.Conv2d):
        torch.manual_seed(0)
        made.append(cls(4, 6, (3, 2), **options, dtype=DOUBLE, device=device))
    ours, twin = made
    x = draw(1, *shape, device=device)
    assert_agree(ours(x), twin(x))  # the same seed makes the same weights

    torch.manual_seed(1)
    ours.reset_parameters()
    assert not torch.equal(ours.weight, twin.weight)
    twin.load_state_dict(ours.state_dict())
    assert_agree(ours(x), twin(x))


def test_module_starts_within_its_bound() -> None:
    torch.manual_seed(0)
    layer = conv.Conv2d(8, 64, 5, groups=2)
    bound = 1 / math.sqrt(4 * 5 * 5)
    for values in (layer.weight, layer.bias):
        assert 0.9 * bound < values.abs().max() <= bound
    assert layer.weight.mean().abs() < bound / 50
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_module_learns(device: torch.device) -> None:
    layer = conv.Conv2d(2, 3, 3, padding=1, dtype=DOUBLE, device=device)
    layer(draw(1, 2, 2, 5, 5, device=device)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


# --- what a wrong argument gets -------------------------------------------------------------------

X, W, B = torch.zeros(2, 4, 7, 8), torch.zeros(6, 2, 3, 2), torch.zeros(6)
K = torch.zeros(3, 3)

# For each of the functions that take a layer's arguments: the ones that are wrong, and the words.
WRONG_LAYERS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"input": [[0.0]]}, TypeError, "input: expected a tensor, got"),
    ({"input": X.long()}, TypeError, "input: expected a floating dtype, got .*int64"),
    ({"input": X[0, 0]}, ValueError, r"input: expected 3 or 4 dimensions, got .*\(7, 8\)"),
    ({"input": X[:, :0]}, ValueError, r"input: expected no axis of length 0, got \(0, 7, 8\)"),
    ({"input": X[:, :, :0]}, ValueError, r"input: expected no axis of length 0, got \(4, 0, 8\)"),
    ({"input": X[:, :3]}, ValueError, "input: expected 4 channels.*, got 3"),
    ({"weight": None}, TypeError, "weight: expected a tensor, got None"),
    ({"weight": W[0]}, ValueError, "weight: expected 4 dimensions, got"),
    ({"weight": W[..., :0]}, ValueError, "weight: expected no axis of length 0, got"),
    ({"weight": W[:0], "bias": None}, ValueError, "weight: expected no axis of length 0, got"),
    ({"weight": W.double()}, TypeError, "weight: expected torch.float32 like input, got .*float64"),
    ({"bias": B.half()}, TypeError, "bias: expected torch.float32 like input, got .*float16"),
    ({"bias": B[:5]}, ValueError, r"bias: expected shape \(6\), got .*\(5,\)"),
    ({"bias": B[:, None]}, ValueError, r"bias: expected shape \(6\), got .*\(6, 1\)"),
    ({"bias": 0.0}, TypeError, r"bias: expected a tensor, got 0.0 \(float\)"),
    ({"stride": 0}, ValueError, r"stride: expected an integer >= 1, got 0"),
    ({"stride": (1, 2, 3)}, ValueError, r"stride: expected one integer or a pair, got \(1, 2, 3\)"),
    ({"stride": 1.0}, TypeError, r"stride: expected an integer >= 1, got 1.0"),
    ({"padding": -1}, ValueError, "padding: expected an integer >= 0, got -1"),
    ({"padding": (0, None)}, TypeError, "padding: expected an integer >= 0, got None"),
    ({"dilation": (1, 0)}, ValueError, "dilation: expected an integer >= 1, got 0"),
    ({"groups": 0}, ValueError, "groups: expected an integer >= 1, got 0"),
    ({"groups": True}, TypeError, "groups: expected an integer >= 1, got True"),
]


@pytest.mark.parametrize("ours", [conv.conv2d, conv.conv2d_loops])
@pytest.mark.parametrize(("wrong", "error", "message"), WRONG_LAYERS)
def test_wrong_layers_are_named(
    ours: Callable[..., Tensor], wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    right: dict[str, Any] = {"input": X, "weight": W, "bias": B, "groups": 2}
    ours(**right)
    with pytest.raises(error, match=f"^{message}"):
        ours(**{**right, **wrong})


SIGNAL = torch.zeros(2, 6, 5, 7)
LINE = torch.zeros(3)

WRONG_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (
        lambda: conv.conv2d(X, W.new_zeros(6, 2, 8, 2), groups=2),
        ValueError,
        "kernel_size: expected a kernel that spans at most the padded input of 7 .* spans 8",
    ),
    (
        lambda: conv.conv2d(X, W, groups=2, padding="same", stride=2),
        ValueError,
        r'stride: expected 1 with padding="same", got \(2, 2\)',
    ),
    (
        lambda: conv.conv2d(X, W, groups=2, padding="full"),
        ValueError,
        "padding: expected one of 'same', 'valid', got 'full'",
    ),
    (
        lambda: conv.conv2d(X, W[:5], groups=2),
        ValueError,
        "groups: expected a divisor of the 5 output channels, got 2",
    ),
    (
        lambda: conv.conv2d(X.to("meta"), W, groups=2),
        ValueError,
        "weight: expected device meta like input, got .* on cpu",
    ),
    (lambda: conv.cross_correlate2d(X, K), ValueError, "image: expected 2 dimensions"),
    (lambda: conv.cross_correlate2d(K, LINE), ValueError, "kernel: expected 2 dimensions"),
    (
        lambda: conv.cross_correlate2d(K, K.double()),
        TypeError,
        "kernel: expected torch.float32 like image",
    ),
    (
        lambda: conv.convolve2d(K, K, mode="same"),
        ValueError,
        "mode: expected one of 'valid', 'full', got 'same'",
    ),
    (lambda: conv.convolve2d(K, LINE), ValueError, "kernel: expected 2 dimensions"),
    (
        lambda: conv.cross_correlate2d(K, torch.zeros(4, 1)),
        ValueError,
        "kernel_size: expected a kernel that spans at most",
    ),
    (lambda: conv.conv_output_size(-1, 1), ValueError, "size: expected an integer >= 0, got -1"),
    (lambda: conv.conv_output_size(5.0, 1), TypeError, "size: expected an integer >= 0, got 5.0"),
    (lambda: conv.conv_output_size(5, 0), ValueError, "kernel_size: expected an integer >= 1"),
    (lambda: conv.sliding_windows(K, 2), ValueError, "input: expected 4 dimensions"),
    (lambda: conv.sliding_windows(X, 0), ValueError, "kernel_size: expected an integer >= 1"),
    (lambda: conv.conv2d_fft(X.half(), X[:1].half()), TypeError, "input: expected float32 or fl"),
    (
        lambda: conv.conv2d_fft(X, W),
        ValueError,
        r"input: expected 2 channels \(2 in weight x 1 groups\), got 4",
    ),
    (
        lambda: conv.conv2d_fft(X, X[:1, :, :3, :3], padding="full"),
        ValueError,
        "padding: expected one of 'same', 'valid', got 'full'",
    ),
    (lambda: conv.conv_matrix(K, (5, 5)), ValueError, "weight: expected 4 dimensions"),
    (lambda: conv.conv_matrix(W, (5, 0)), ValueError, "input_size: expected an integer >= 1"),
    (lambda: conv.conv_matrix(W, (2, 5)), ValueError, "kernel_size: expected a kernel that spans"),
    (lambda: conv.conv_matrix(W, (5, 5), groups=4), ValueError, "groups: expected a divisor of"),
    (lambda: conv.conv_matrix(W[:0], (5, 5)), ValueError, "weight: expected no axis of length 0"),
    (
        lambda: conv.conv2d_input((4, 7, 8), W, SIGNAL, groups=2),
        ValueError,
        r"input_size: expected four lengths, got \(4, 7, 8\)",
    ),
    (
        lambda: conv.conv2d_input((2, 3, 7, 8), W, SIGNAL, groups=2),
        ValueError,
        "input: expected 4 channels .*, got 3",
    ),
    (
        lambda: conv.conv2d_input((2, 4, 8, 8), W, SIGNAL, groups=2),
        ValueError,
        r"grad_output: expected shape \(2, 6, 6, 7\), got .*\(2, 6, 5, 7\)",
    ),
    (
        lambda: conv.conv2d_weight(X, (6, 2, 3), SIGNAL, groups=2),
        ValueError,
        r"weight_size: expected four lengths, got \(6, 2, 3\)",
    ),
    (
        lambda: conv.conv2d_weight(X, (6, 3, 3, 2), SIGNAL, groups=2),
        ValueError,
        "input: expected 6 channels .*, got 4",
    ),
    (
        lambda: conv.conv2d_weight(X, (6, 2, 3, 2), SIGNAL[:1], groups=2),
        ValueError,
        r"grad_output: expected shape \(2, 6, 5, 7\), got .*\(1, 6, 5, 7\)",
    ),
    (
        lambda: conv.conv2d_weight(X, (6, 2, 3, 2), SIGNAL.double(), groups=2),
        TypeError,
        "grad_output: expected torch.float32 like input",
    ),
    (lambda: conv.conv2d_bias(K), ValueError, "grad_output: expected 4 dimensions"),
    (
        lambda: conv.conv_transpose2d(SIGNAL, W, groups=4),
        ValueError,
        "input: expected 6 channels, divisible into 4 groups",
    ),
    (lambda: conv.conv_transpose2d(X, W), ValueError, "input: expected 6 channels.*got 4"),
    (
        lambda: conv.conv_transpose2d(SIGNAL, W, B[:3]),
        ValueError,
        r"bias: expected shape \(2\), got",
    ),
    (
        lambda: conv.conv_transpose2d(SIGNAL, W, stride=2, output_padding=(1, 2)),
        ValueError,
        r"output_padding: expected less than stride or dilation \(2\), got 2",
    ),
    (
        lambda: conv.conv_transpose2d(SIGNAL, W, padding=5),
        ValueError,
        "padding: expected an output of at least one pixel, got -3 x -2",
    ),
    (
        lambda: conv.conv_transpose2d(SIGNAL, W[:, :, :0]),
        ValueError,
        "weight: expected no axis of length 0",
    ),
    (lambda: conv.gaussian_kernel(0.0), ValueError, "sigma: expected a positive number .* 0.0"),
    (lambda: conv.gaussian_kernel(math.nan), ValueError, "sigma: expected a positive number"),
    (lambda: conv.gaussian_kernel(1.0, 4), ValueError, "size: expected an odd number.*, got 4"),
    (lambda: conv.identity_kernel(2), ValueError, "size: expected an odd number.*, got 2"),
    (lambda: conv.box_kernel(0), ValueError, "size: expected an integer >= 1, got 0"),
    (lambda: conv.sobel_kernel("z"), ValueError, "axis: expected one of 'x', 'y', got 'z'"),
    (lambda: conv.separate(LINE), ValueError, "kernel: expected 2 dimensions"),
    (lambda: conv.separate(K[:0]), ValueError, "kernel: expected no axis of length 0"),
    (lambda: conv.separate(K.half()), TypeError, "kernel: expected float32 or float64, got"),
    (lambda: conv.separable_conv2d(K, LINE, LINE), ValueError, "input: expected 3 or 4 dim"),
    (lambda: conv.separable_conv2d(X, K, LINE), ValueError, "column: expected 1 dimensions"),
    (
        lambda: conv.separable_conv2d(X, LINE, LINE.double()),
        TypeError,
        "row: expected torch.float32 like input",
    ),
    (
        lambda: conv.receptive_field([(3, 1), (3, 0)]),
        ValueError,
        r"layers\[1\] stride: expected an integer >= 1, got 0",
    ),
    (
        lambda: conv.receptive_field([()]),
        ValueError,
        r"layers\[0\]: expected \(kernel_size, stride, padding, dilation\), got \(\)",
    ),
    (
        lambda: conv.conv_parameters(4, 6, 3, groups=3),
        ValueError,
        "groups: expected a divisor of 4 input and 6 output channels, got 3",
    ),
    (
        lambda: conv.conv_multiply_adds(4, 6, 3, (5, 5.0)),
        TypeError,
        "output_size: expected an integer >= 0, got 5.0",
    ),
    (lambda: conv.Conv2d(0, 6, 3), ValueError, "in_channels: expected an integer >= 1, got 0"),
    (lambda: conv.Conv2d(4, 6.0, 3), TypeError, "out_channels: expected an integer >= 1, got 6.0"),
    (lambda: conv.Conv2d(4, 6, 3, groups=0), ValueError, "groups: expected an integer >= 1"),
    (lambda: conv.Conv2d(4, 6, 3, groups=4), ValueError, "groups: expected a divisor of 4 input"),
    (lambda: conv.Conv2d(4, 6, 3, padding="full"), ValueError, "padding: expected one of"),
    (
        lambda: conv.Conv2d(4, 6, 3, stride=2, padding="same"),
        ValueError,
        r'stride: expected 1 with padding="same", got \(2, 2\)',
    ),
    (
        lambda: conv.Conv2d(4, 6, 3, padding_mode="mirror"),
        ValueError,
        "padding_mode: expected one of 'zeros', 'reflect', 'replicate', 'circular', got 'mirror'",
    ),
    (lambda: conv.Conv2d(3, 6, 3)(X), ValueError, "input: expected 3 channels .*, got 4"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_wrong_arguments_are_named(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

LOOKS_AT_DATA = {"conv_matrix", "separate"}

CALLS: dict[str, Callable[..., Any]] = {
    "cross_correlate2d": lambda make, device: conv.cross_correlate2d(
        make(6, 5), make(3, 2), "full"
    ),
    "convolve2d": lambda make, device: conv.convolve2d(make(6, 5), make(3, 2), "full"),
    "conv_output_size": lambda make, device: conv.conv_output_size(7, 3, 2, 1, 1),
    "conv2d_loops": lambda make, device: [
        conv.conv2d_loops(make(1, 2, 4, 3), make(2, 1, 2, 2), bias, 2, 1, 1, 2)
        for bias in (None, make(2))
    ],
    "sliding_windows": lambda make, device: conv.sliding_windows(make(2, 3, 7, 8), 3, 2, 2),
    "conv2d": lambda make, device: [
        conv.conv2d(make(2, 4, 8, 9), make(6, 2, 3, 2), make(6), (1, 2), (2, 1), (2, 1), 2),
        conv.conv2d(make(4, 8, 9), make(6, 2, 3, 2), padding="same", groups=2),
    ],
    "conv2d_fft": lambda make, device: conv.conv2d_fft(
        make(2, 4, 8, 9), make(6, 4, 3, 2), make(6), 1
    ),
    "conv_matrix": lambda make, device: conv.conv_matrix(make(6, 2, 3, 2), (5, 6), 2, 1, 1, 2),
    "conv2d_input": lambda make, device: conv.conv2d_input(
        (2, 4, 8, 9), make(6, 2, 3, 2), make(2, 6, 4, 5), 2, 1, 1, 2
    ),
    "conv2d_weight": lambda make, device: conv.conv2d_weight(
        make(2, 4, 8, 9), (6, 2, 3, 2), make(2, 6, 4, 5), 2, 1, 1, 2
    ),
    "conv2d_bias": lambda make, device: conv.conv2d_bias(make(2, 6, 4, 5)),
    "conv_transpose_output_size": lambda make, device: conv.conv_transpose_output_size(7, 3, 2),
    "conv_transpose2d": lambda make, device: conv.conv_transpose2d(
        make(2, 4, 5, 6), make(4, 3, 3, 2), make(6), 2, 1, 1, 2, 2
    ),
    "gaussian_kernel": lambda make, device: conv.gaussian_kernel(1.5, device=device),
    "box_kernel": lambda make, device: conv.box_kernel(3, device=device),
    "identity_kernel": lambda make, device: conv.identity_kernel(3, device=device),
    "sobel_kernel": lambda make, device: [
        conv.sobel_kernel(axis, device=device) for axis in ("x", "y")
    ],
    "laplacian_kernel": lambda make, device: conv.laplacian_kernel(device=device),
    "sharpen_kernel": lambda make, device: conv.sharpen_kernel(0.5, device=device),
    "separate": lambda make, device: conv.separate(make(3, 5)),
    "separable_conv2d": lambda make, device: conv.separable_conv2d(
        make(2, 3, 7, 8), make(3), make(5), 1
    ),
    "receptive_field": lambda make, device: conv.receptive_field([(3, 2, 1), (3,)]),
    "conv_parameters": lambda make, device: conv.conv_parameters(4, 6, 3, 2),
    "conv_multiply_adds": lambda make, device: conv.conv_multiply_adds(4, 6, 3, (5, 5), 2),
    "Conv2d": lambda make, device: [
        layer := conv.Conv2d(4, 6, 3, padding=1, padding_mode="reflect", device=device),
        layer(make(2, 4, 5, 6)),
    ],
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def _windows(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    return image.unfold(0, kernel.shape[0], stride).unfold(1, kernel.shape[1], stride)


def _correlate(
    image: Tensor,
    kernel: Tensor,
    size: tuple[int, int],
    corner: Callable[[int, int], tuple[int, int]],
) -> Tensor:
    """What a reader writes: two loops over the output, each window from its corner on."""
    (kh, kw), output = kernel.shape, torch.zeros(size)
    for y in range(size[0]):
        for x in range(size[1]):
            v, u = corner(y, x)
            output[y, x] = (image[v : v + kh, u : u + kw] * kernel).sum()
    return output


def _stride_forgotten(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    height, width = (n - k + 1 for n, k in zip(image.shape, kernel.shape, strict=True))
    return _correlate(image, kernel, (height, width), lambda y, x: (y, x))


def _stride_without_first(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    height, width = ((n - k) // stride for n, k in zip(image.shape, kernel.shape, strict=True))
    return _correlate(image, kernel, (height, width), lambda y, x: (y * stride, x * stride))


def _stride_in_size_only(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    height, width = ((n - k) // stride + 1 for n, k in zip(image.shape, kernel.shape, strict=True))
    return _correlate(image, kernel, (height, width), lambda y, x: (y, x))


def _stride_scattered(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    height, width = (n - k + 1 for n, k in zip(image.shape, kernel.shape, strict=True))
    kh, kw = kernel.shape
    output = torch.zeros(height, width)
    for y in range(0, height, stride):
        for x in range(0, width, stride):
            output[y, x] = (image[y : y + kh, x : x + kw] * kernel).sum()
    return output


def _stride_of_square_images(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    height, width = ((image.shape[0] - k) // stride + 1 for k in kernel.shape)
    return _correlate(image, kernel, (height, width), lambda y, x: (y * stride, x * stride))


def _stride_of_square_kernels(image: Tensor, kernel: Tensor, stride: int) -> Tensor:
    height, width = ((n - kernel.shape[0]) // stride + 1 for n in image.shape)
    return _correlate(image, kernel, (height, width), lambda y, x: (y * stride, x * stride))


def _padded_by_skipping(
    inside: Callable[[int, int], bool],
) -> Callable[[Tensor, Tensor, int], Tensor]:
    """The chapter's listing, with a test of one's own for (row, column) and (height, width)."""

    def padded(image: Tensor, kernel: Tensor, padding: int) -> Tensor:
        (height, width), (kh, kw) = image.shape, kernel.shape
        output = torch.zeros(height + 2 * padding - kh + 1, width + 2 * padding - kw + 1)
        for y in range(output.shape[0]):
            for x in range(output.shape[1]):
                for i in range(kh):
                    for j in range(kw):
                        v, u = y + i - padding, x + j - padding
                        if inside(v, u, height, width):
                            output[y, x] += kernel[i, j] * image[v, u]
        return output

    return padded


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    return (
        F.conv2d(image[None, None], across[None, None])[0, 0],
        F.conv2d(image[None, None], across.T[None, None])[0, 0],
    )


def _cost_counted(
    in_channels: int, out_channels: int, kernel_size: int, output_size: tuple[int, int]
) -> list[int]:
    layer = nn.Conv2d(in_channels, out_channels, kernel_size)
    places = output_size[0] * output_size[1]
    return [sum(p.numel() for p in layer.parameters()), layer.weight.numel() * places]


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-convolution-sizes": [[112, 56, 52], torch.tensor([112, 56, 52]), (112.0, 56.0, 52.0)],
    "ex-convolution-stride": [
        lambda image, kernel, stride: (_windows(image, kernel, stride) * kernel).sum((2, 3)),
        lambda image, kernel, stride: signal.correlate2d(image, kernel, "valid")[
            ::stride, ::stride
        ],
        lambda image, kernel, stride: _stride_forgotten(image, kernel, 1)[::stride, ::stride],
    ],
    "ex-convolution-padding": [
        _padded_by_skipping(lambda v, u, height, width: 0 <= v < height and 0 <= u < width),
        lambda image, kernel, padding: _stride_forgotten(F.pad(image, (padding,) * 4), kernel, 1),
    ],
    "ex-convolution-edges": [
        lambda image: sum(slope**2 for slope in _slopes(image)).sqrt(),
        lambda image: torch.complex(*_slopes(image)).abs(),
        lambda image: (sum(slope**2 for slope in _slopes(image)) + 1e-8).sqrt(),
        lambda image: torch.stack(_slopes(-image)).norm(dim=0),
        lambda image: torch.hypot(
            conv.cross_correlate2d(image, conv.sobel_kernel("x")),
            conv.convolve2d(image, conv.sobel_kernel("y")),
        ),
    ],
    "ex-convolution-cost": [_cost_counted],
    "ex-convolution-pointwise": [
        lambda image, weight, bias: (image.movedim(1, -1) @ weight.T + bias).movedim(-1, 1),
        lambda image, weight, bias: F.conv2d(image, weight[:, :, None, None], bias),
        lambda image, weight, bias: (
            torch.einsum("oc,nchw->nohw", weight, image) + bias[None, :, None, None]
        ),
    ],
    "ex-convolution-depths": [[31, 5], (torch.tensor(31), 5.0)],
}

# An answer, and words of the hint that its writer should get.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-convolution-sizes": [
        ((112.5, 57.0, 53.0), "one after another"),
        ((112.5, 56.75, 52.75), "round down after each layer"),
        ((112, 112, 220), "one after another"),
        ((112, 56), "one after another"),
        ((112, 56, 54), "five pixels"),
        ((112, 56, ...), "one after another"),
        ("112, 56, 52", "one after another"),
        (224, "one after another"),
    ],
    "ex-convolution-stride": [
        (_stride_forgotten, "not used yet"),
        (_stride_without_first, "first place"),
        (_stride_in_size_only, "one pixel at a time"),
        (_stride_scattered, "lie apart"),
        (_stride_of_square_images, "for stride 2"),
        (_stride_of_square_kernels, "for stride 2"),
        (
            lambda image, kernel, stride: signal.convolve2d(image, kernel, "valid")[
                ::stride, ::stride
            ],
            "flipped",
        ),
        (lambda image, kernel, stride: (_windows(image, kernel, stride) * kernel).mean((2, 3)), ""),
        (lambda image, kernel, stride: _windows(image, kernel, stride).sum((2, 3)), ""),
        (lambda image, kernel, stride: (_windows(image, kernel, 2) * kernel).sum((2, 3)), ""),
    ],
    "ex-convolution-padding": [
        (_padded_by_skipping(lambda v, u, h, w: v < h and u < w), "far side"),
        (_padded_by_skipping(lambda v, u, h, w: 0 <= v < h and u < w), "columns"),
        (_padded_by_skipping(lambda v, u, h, w: v < h and 0 <= u < w), "with rows"),
        (_padded_by_skipping(lambda v, u, h, w: 0 < v < h and 0 < u < w), "belong to the image"),
        (_padded_by_skipping(lambda v, u, h, w: 0 <= v <= h and 0 <= u <= w), "output (0, 0)"),
        (_padded_by_skipping(lambda v, u, h, w: abs(v) < h and abs(u) < w), "far side"),
        (_padded_by_skipping(lambda v, u, h, w: 0 <= v < w and 0 <= u < h), "output (0, 0)"),
        (
            lambda image, kernel, padding: _stride_forgotten(
                F.pad(image[None], (padding,) * 4, mode="replicate")[0], kernel, 1
            ),
            "repeated",
        ),
        (lambda image, kernel, padding: _stride_forgotten(image, kernel, 1), "output (0, 0)"),
    ],
    "ex-convolution-edges": [
        (lambda image: _slopes(image)[0], "from left to right"),
        (lambda image: _slopes(image)[1], "from top to bottom"),
        (lambda image: sum(_slopes(image)), "cancel"),
        (lambda image: sum(slope.abs() for slope in _slopes(image)), "hypotenuse"),
        (lambda image: sum(slope**2 for slope in _slopes(image)), "root"),
        (lambda image: _slopes(image), "right triangle"),
        (lambda image: torch.maximum(*(slope.abs() for slope in _slopes(image))), "right triangle"),
        (lambda image: torch.hypot(*_slopes(image)) / 8, "right triangle"),
        (lambda image: torch.hypot(*_slopes(F.pad(image, (1, 1, 1, 1)))), "border"),
    ],
    "ex-convolution-cost": [
        (lambda c, o, k, size: (o * c * k**2, o * c * k**2 * size[0] * size[1]), "biases"),
        (
            lambda c, o, k, size: (o * (c * k**2 + 1), o * (c * k**2 + 1) * math.prod(size)),
            "makes no multiply-add",
        ),
        (lambda c, o, k, size: (o * (c * k**2 + 1), o * c * k**2 * size[0] ** 2), ""),
        (lambda c, o, k, size: _cost_counted(c, o, k, size)[::-1], ""),
        (lambda c, o, k, size: o * (c * k**2 + 1), ""),
        (lambda c, o, k, size: (c * (o * k**2 + 1), o * c * k**2 * math.prod(size)), ""),
    ],
    "ex-convolution-pointwise": [
        (lambda image, weight, bias: torch.einsum("oc,nchw->nohw", weight, image), "bias"),
        (lambda image, weight, bias: image @ weight.T + bias, "channels are a vector"),
        (
            lambda image, weight, bias: (
                image.reshape(len(image), -1, image.shape[1]) @ weight.T + bias
            ).reshape(len(image), len(weight), *image.shape[2:]),
            "does not move an axis",
        ),
        (
            lambda image, weight, bias: image.movedim(1, -1) @ weight.T + bias,
            "channels stand last",
        ),
        (
            lambda image, weight, bias: (image.movedim(1, -1) @ weight + bias).movedim(-1, 1),
            "transposed",
        ),
        (lambda image, weight, bias: weight @ image + bias, "channels are a vector"),
    ],
    "ex-convolution-depths": [
        ((21, 5), "overlap"),
        ((32, 6), "at one pixel"),
        ((32, 5), "Start from one pixel"),
        ((31, 6), "2 d in all"),
        ((31, 31), "doubles"),
        ((62, 6), "Start from one pixel"),
    ],
}
