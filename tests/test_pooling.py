"""`course_lib.pooling` against its loops, its twins, autograd and analytic values."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from course_lib import pooling as pool
from support import assert_agree

DOUBLE = torch.float64
NAN, INF = math.nan, math.inf


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers in float64, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(device)


def tied(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Few different numbers, so that windows hold equal maxima; zeros of both signs too."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.tensor([-1.0, -0.0, 0.0, 2.0], dtype=DOUBLE)
    return numbers[torch.randint(0, 4, shape, generator=generator)].to(device)


@dataclass(frozen=True)
class Case:
    """An input's shape and the options of a pooling."""

    input: tuple[int, ...]
    kernel_size: Any
    stride: Any = None
    padding: Any = 0
    dilation: Any = 1
    ceil_mode: bool = False

    @property
    def options(self) -> dict[str, Any]:
        names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        return {name: getattr(self, name) for name in names}

    @property
    def average_options(self) -> dict[str, Any]:
        return {name: value for name, value in self.options.items() if name != "dilation"}


CASES = {
    "halves": Case((2, 3, 6, 8), 2),
    "unbatched": Case((3, 6, 5), 2),
    "one pixel": Case((1, 1, 1, 1), 1),
    "kernel of one": Case((2, 2, 4, 5), 1),
    "kernel of one, strided": Case((2, 2, 4, 5), 1, 2),
    "leaves the last row": Case((1, 2, 7, 9), 2),
    "overlapping": Case((2, 2, 7, 8), 3, 2),
    "stride of one": Case((1, 2, 5, 4), (3, 2), 1),
    "stride beyond the kernel": Case((1, 2, 9, 9), 2, 4),
    "pair of kernels": Case((1, 2, 6, 9), (2, 3)),
    "list of strides": Case((1, 2, 6, 9), (2, 3), [3, 1]),
    "tuple of one": Case((1, 2, 6, 9), (2,), (1,)),
    "padding": Case((2, 2, 6, 5), 3, 2, 1),
    "pair of paddings": Case((1, 2, 6, 5), (2, 4), 1, (0, 2)),
    "kernel larger than the image": Case((1, 2, 2, 3), 4, 1, 2),
    "ceil": Case((1, 2, 7, 8), 2, ceil_mode=True),
    "ceil, overlapping": Case((1, 2, 8, 9), 3, 2, 1, ceil_mode=True),
    "ceil drops a window in the padding": Case((1, 2, 5, 5), 2, 3, 1, ceil_mode=True),
    "ceil, larger than the image": Case((1, 1, 3, 4), 5, ceil_mode=True),
    "empty batch": Case((0, 3, 6, 5), 2),
}
DILATED = {
    "dilation": Case((2, 2, 9, 8), 3, 1, 1, 2),
    "pair of dilations": Case((1, 2, 9, 8), (2, 4), 2, (1, 2), (3, 2), True),
    "everything": Case((2, 3, 10, 9), (3, 2), (2, 1), (1, 1), (2, 3), True),
    "misses a tiny image": Case((1, 1, 1, 3), 2, 1, 1, 2),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_dilated_case = pytest.mark.parametrize(
    "case", (CASES | DILATED).values(), ids=CASES | DILATED
)


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
        (pool.max_pool2d, F.max_pool2d_with_indices),  # what F.max_pool2d passes its arguments to
        (pool.max_pool2d_loops, F.max_pool2d_with_indices),
        (pool.avg_pool2d, F.avg_pool2d),
        (pool.avg_pool2d_loops, F.avg_pool2d),
        (pool.lp_pool2d, F.lp_pool2d),
        (pool.lp_pool2d_loops, F.lp_pool2d),
        (pool.adaptive_avg_pool2d, F.adaptive_avg_pool2d),
        (pool.adaptive_avg_pool2d_loops, F.adaptive_avg_pool2d),
        (pool.max_unpool2d, F.max_unpool2d),
        (pool.max_unpool2d_loops, F.max_unpool2d),
    ],
)
def test_signature_is_the_twins(ours: Callable[..., Any], twin: Callable[..., Any]) -> None:
    assert parameters(ours) == parameters(twin)


# --- sizes ----------------------------------------------------------------------------------------


@given(
    size=st.integers(1, 12),
    kernel_size=st.integers(1, 5),
    stride=st.none() | st.integers(1, 6),
    padding=st.integers(0, 4),
    dilation=st.integers(1, 3),
    ceil_mode=st.booleans(),
)
def test_output_size_is_the_twins(
    size: int,
    kernel_size: int,
    stride: int | None,
    padding: int,
    dilation: int,
    ceil_mode: bool,
) -> None:
    options = (kernel_size, stride, padding, dilation, ceil_mode)
    try:
        expected = F.max_pool2d(torch.zeros(1, size, size), *options).shape[-1]
    except RuntimeError:
        with pytest.raises(ValueError, match=": expected "):
            pool.pool_output_size(size, *options)
    else:
        assert pool.pool_output_size(size, *options) == expected


def test_every_window_starts_before_the_padding_at_the_end() -> None:
    for size, k, s, p in product(range(1, 14), range(1, 6), range(1, 7), range(3)):
        if 2 * p <= k <= size + 2 * p:
            starts = range(-p, size, s)  # a window may start inside, or in the padding before
            whole = [start for start in starts if start + k <= size + p]
            left_over = whole[-1] + k < size + p and len(starts) > len(whole)
            assert pool.pool_output_size(size, k, s, p) == len(whole)
            assert pool.pool_output_size(size, k, s, p, ceil_mode=True) == len(whole) + left_over


# --- the maximum ----------------------------------------------------------------------------------

MAXIMA = [pool.max_pool2d, pool.max_pool2d_loops]


def same(ours: Any, theirs: Any) -> None:
    """The same numbers, bit for bit but for the sign of 0; NaN where there is NaN."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@every_dilated_case
@pytest.mark.parametrize("numbers", [draw, tied])
@pytest.mark.parametrize("ours", MAXIMA)
def test_maximum_equals_its_twin(
    ours: Callable[..., Any],
    numbers: Callable[..., Tensor],
    case: Case,
    device: torch.device,
) -> None:
    x = numbers(1, *case.input, device=device)
    values, indices = F.max_pool2d(x, **case.options, return_indices=True)
    same(ours(x, **case.options), values)
    got, places = ours(x, **case.options, return_indices=True)
    same(got, values)
    if case is not DILATED["misses a tiny image"]:  # where the twin points to no pixel
        same(places, indices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ours", MAXIMA)
def test_maximum_is_exact_in_every_dtype(
    ours: Callable[..., Any], dtype: torch.dtype, device: torch.device
) -> None:
    x = draw(1, 2, 3, 9, 8, device=device).to(dtype)
    same(ours(x, 3, 2, 1, return_indices=True), F.max_pool2d(x, 3, 2, 1, return_indices=True))


@st.composite
def cases(pick: st.DrawFn) -> Case:
    """A pooling of any kind, at times one that cannot be."""
    images = pick(st.sampled_from([(), (0,), (1,), (2,)]))
    few, none = st.integers(1, 4), st.integers(0, 2)
    return Case(
        (*images, pick(st.integers(1, 2)), pick(st.integers(1, 9)), pick(st.integers(1, 9))),
        pick(few | st.tuples(few, few)),
        pick(st.none() | few | st.tuples(few, few)),
        pick(none | st.tuples(none, none)),
        pick(st.sampled_from([1, 1, 2, (1, 3)])),
        pick(st.booleans()),
    )


def outcome(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    try:
        return call(*arguments, **options)
    except (IndexError, RuntimeError, TypeError, ValueError) as error:
        return error


def check_outcome(ours: Any, theirs: Any, agree: Callable[[Any, Any], None]) -> None:
    """The same result; or, where the twin refuses, a sentence that says why."""
    if isinstance(theirs, Exception):
        assert isinstance(ours, TypeError | ValueError), ours
        assert ": expected " in str(ours)
    else:
        assert not isinstance(ours, Exception), ours
        agree(ours, theirs)


@given(case=cases(), numbers=st.sampled_from([draw, tied]))
def test_maximum_does_what_its_twin_does(case: Case, numbers: Callable[..., Tensor]) -> None:
    x = numbers(2, *case.input)
    check_outcome(
        outcome(pool.max_pool2d, x, **case.options),
        outcome(F.max_pool2d, x, **case.options),
        same,
    )


def gradients(function: Callable[..., Any], x: Tensor, **options: Any) -> Tensor:
    leaf = x.clone().requires_grad_()
    output = function(leaf, **options)
    if x.numel() == 0 and not output.requires_grad:  # no loop has run
        return torch.zeros_like(x)
    (gradient,) = torch.autograd.grad(output, leaf, draw(9, *output.shape, device=x.device))
    return gradient


@every_dilated_case
@pytest.mark.parametrize("numbers", [draw, tied])
@pytest.mark.parametrize("ours", MAXIMA)
def test_maximum_has_the_gradient_of_its_twin(
    ours: Callable[..., Any],
    numbers: Callable[..., Tensor],
    case: Case,
    device: torch.device,
) -> None:
    if case is DILATED["misses a tiny image"]:
        pytest.skip("the twin's gradient of a window without a pixel is undefined")
    x = numbers(1, *case.input, device=device)
    assert_agree(gradients(ours, x, **case.options), gradients(F.max_pool2d, x, **case.options))


def test_a_window_that_misses_the_image_has_no_gradient() -> None:
    assert gradients(pool.max_pool2d, draw(1, 1, 1, 1, 1), **DILATED_PAIR).item() == 0


DILATED_PAIR = {"kernel_size": 2, "stride": 1, "padding": 1, "dilation": 2}


@pytest.mark.parametrize("ours", MAXIMA)
def test_the_first_of_equal_maxima_gets_all_of_the_gradient(ours: Callable[..., Any]) -> None:
    x = torch.tensor([[0.0, 3.0, 1.0], [3.0, 3.0, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(ours(x[None], (2, 3)).sum(), x)
    assert gradient.tolist() == [[0, 1, 0], [0, 0, 0]]


UNUSUAL = {
    "NaN": [NAN, 1.0, 2.0, NAN],
    "infinity": [INF, 1.0, -INF, INF],
    "nothing but minus infinity": [-INF, -INF, -INF, -INF],
    "zeros of both signs": [-0.0, 0.0, 0.0, -0.0],
    "all": [NAN, INF, -INF, 0.0],
}


@pytest.mark.parametrize("numbers", UNUSUAL.values(), ids=UNUSUAL)
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("ours", MAXIMA)
def test_maximum_takes_what_is_not_finite_as_its_twin_does(
    ours: Callable[..., Any], padding: int, numbers: list[float], device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(0, 4, (4, 2, 6, 7), generator=generator)
    x = torch.tensor(numbers, dtype=DOUBLE)[chosen].to(device)
    x[:2] = torch.where(draw(1, 2, 2, 6, 7, device=device) > 0, x[:2], 1)
    options = {"kernel_size": 3, "stride": 2, "padding": padding}
    same(ours(x, **options, return_indices=True), F.max_pool2d(x, **options, return_indices=True))
    assert_agree(gradients(ours, x, **options), gradients(F.max_pool2d, x, **options))


def test_an_infinite_gradient_stays_with_its_maximum() -> None:
    x = torch.arange(4.0).reshape(1, 2, 2).requires_grad_()
    output = pool.max_pool2d(x, 2)
    (gradient,) = torch.autograd.grad(output, x, torch.full_like(output, INF))
    assert gradient.flatten().tolist() == [0, 0, 0, INF]


@pytest.mark.parametrize("case", [CASES["overlapping"], CASES["padding"], DILATED["everything"]])
def test_maximum_has_the_right_gradients(case: Case) -> None:
    x = draw(1, *case.input).requires_grad_()
    assert gradcheck(lambda t: pool.max_pool2d(t, **case.options), x)
    assert gradgradcheck(lambda t: pool.max_pool2d(t, **case.options), x)


def test_a_penalty_on_the_gradient_can_be_differentiated() -> None:
    found = []
    for function in (pool.max_pool2d, F.max_pool2d):
        x = draw(1, 1, 2, 5, 5).requires_grad_()
        output = function(x**2, 2, 1)
        (first,) = torch.autograd.grad(output.sum(), x, create_graph=True)
        found += torch.autograd.grad((first**2).sum(), x)
    assert_agree(*found)


# --- the average ----------------------------------------------------------------------------------

AVERAGES = [pool.avg_pool2d, pool.avg_pool2d_loops]


@every_case
@pytest.mark.parametrize("count_include_pad", [True, False])
@pytest.mark.parametrize("divisor_override", [None, 3])
@pytest.mark.parametrize("ours", AVERAGES)
def test_average_equals_its_twin(
    ours: Callable[..., Tensor],
    divisor_override: int | None,
    count_include_pad: bool,
    case: Case,
    device: torch.device,
) -> None:
    options = case.average_options | {
        "count_include_pad": count_include_pad,
        "divisor_override": divisor_override,
    }
    x = draw(1, *case.input, device=device)
    assert_agree(ours(x, **options), F.avg_pool2d(x, **options))
    assert_agree(gradients(ours, x, **options), gradients(F.avg_pool2d, x, **options))


@given(case=cases(), include=st.booleans(), divisor=st.none() | st.integers(1, 5))
def test_average_does_what_its_twin_does(case: Case, include: bool, divisor: int | None) -> None:
    x = draw(2, *case.input)
    options = case.average_options | {"count_include_pad": include, "divisor_override": divisor}
    check_outcome(
        outcome(pool.avg_pool2d, x, **options), outcome(F.avg_pool2d, x, **options), assert_agree
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("ours", AVERAGES)
def test_average_keeps_the_dtype(
    ours: Callable[..., Tensor], dtype: torch.dtype, device: torch.device
) -> None:
    x = draw(1, 2, 3, 9, 8, device=device).to(dtype)
    output = ours(x, 3, 2, 1)
    assert output.dtype == dtype
    # Nine numbers are summed in the dtype, each sum rounded.
    exact = F.avg_pool2d(x.double(), 3, 2, 1)
    assert_agree(output.double(), exact, tolerance=9 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("ours", AVERAGES)
def test_average_takes_what_is_not_finite_as_its_twin_does(
    ours: Callable[..., Tensor], value: float, device: torch.device
) -> None:
    x = draw(1, 2, 2, 6, 6, device=device)
    x[0, 1, 2, 2] = value
    expected = F.avg_pool2d(x, 3, 2, 1)
    torch.testing.assert_close(ours(x, 3, 2, 1), expected, equal_nan=True)


def test_average_has_the_right_gradients() -> None:
    x = draw(1, 1, 2, 5, 6).requires_grad_()
    for options in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}):
        assert gradcheck(lambda t, o=options: pool.avg_pool2d(t, **o, ceil_mode=True), x)
        assert gradgradcheck(lambda t, o=options: pool.avg_pool2d(t, **o, ceil_mode=True), x)


# --- the norm -------------------------------------------------------------------------------------

NORMS = [pool.lp_pool2d, pool.lp_pool2d_loops]


@pytest.mark.parametrize("norm_type", [1, 2, 2.0, 3.5, 8, INF])
@pytest.mark.parametrize("case", [CASES["halves"], CASES["unbatched"], CASES["overlapping"]])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("ours", NORMS)
def test_norm_equals_its_twin(
    ours: Callable[..., Tensor],
    ceil_mode: bool,
    case: Case,
    norm_type: float,
    device: torch.device,
) -> None:
    x = draw(1, *case.input, device=device).abs()
    options = {"norm_type": norm_type, "kernel_size": case.kernel_size, "stride": case.stride}
    options["ceil_mode"] = ceil_mode
    assert_agree(ours(x, **options), F.lp_pool2d(x, **options))
    assert_agree(gradients(ours, x, **options), gradients(F.lp_pool2d, x, **options))


@pytest.mark.parametrize("norm_type", [1, 2, 3, INF])
def test_norm_of_any_sign_is_the_twins(norm_type: float) -> None:
    x = draw(1, 1, 1, 8, 8)
    torch.testing.assert_close(
        pool.lp_pool2d(x, norm_type, 2), F.lp_pool2d(x, norm_type, 2), equal_nan=True
    )


def test_norm_of_zeros_has_a_gradient_of_zero() -> None:
    x = torch.zeros(1, 4, 4)
    x[0, :2, :2] = 3
    assert_agree(pool.lp_pool2d(x, 2, 2), F.lp_pool2d(x, 2, 2))
    for function in (pool.lp_pool2d, F.lp_pool2d):
        gradient = gradients(partial(function, norm_type=2, kernel_size=2), x)
        assert (gradient[0, 2:] == 0).all()
        assert gradient.isfinite().all()


# --- an output of a given size --------------------------------------------------------------------

ADAPTIVE = [pool.adaptive_avg_pool2d, pool.adaptive_avg_pool2d_loops]


@pytest.mark.parametrize(
    "output_size", [1, 3, (5, 2), (7, 3), (None, 4), (7, None), (9, 11), [2, 3]]
)
@pytest.mark.parametrize("shape", [(2, 3, 7, 9), (3, 7, 9), (0, 2, 4, 4), (1, 1, 1, 1)])
@pytest.mark.parametrize("ours", ADAPTIVE)
def test_adaptive_average_equals_its_twin(
    ours: Callable[..., Tensor], shape: tuple[int, ...], output_size: Any, device: torch.device
) -> None:
    x = draw(1, *shape, device=device)
    assert_agree(ours(x, output_size), F.adaptive_avg_pool2d(x, output_size))
    options = {"output_size": output_size}
    assert_agree(gradients(ours, x, **options), gradients(F.adaptive_avg_pool2d, x, **options))


@given(size=st.integers(1, 40), output_size=st.integers(1, 40))
def test_adaptive_windows_cover_the_axis_in_order(size: int, output_size: int) -> None:
    bounds = pool.adaptive_bounds(size, output_size)
    seen = [place for first, after in bounds for place in range(first, after)]
    assert set(seen) == set(range(size))
    assert len(bounds) == output_size
    assert all(first < after for first, after in bounds)
    lengths = {after - first for first, after in bounds}
    assert max(lengths) - min(lengths) <= 1 or size % output_size
    line = torch.eye(size, dtype=DOUBLE)[:, None, None, :]
    weights = F.adaptive_avg_pool2d(line, (1, output_size))[:, 0, 0].T  # (output_size, size)
    for (first, after), row in zip(bounds, weights, strict=True):
        assert row.nonzero()[:, 0].tolist() == list(range(first, after))


@pytest.mark.parametrize("value", [NAN, INF])
def test_adaptive_average_keeps_what_is_not_finite_in_its_window(value: float) -> None:
    x = draw(1, 1, 1, 7, 7)
    x[0, 0, 3, 3] = value
    expected = F.adaptive_avg_pool2d(x, 3)
    torch.testing.assert_close(pool.adaptive_avg_pool2d(x, 3), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_adaptive_average_keeps_the_dtype(dtype: torch.dtype, device: torch.device) -> None:
    x = draw(1, 2, 3, 7, 5, device=device).to(dtype)
    for output in (pool.adaptive_avg_pool2d(x, (3, 2)), pool.global_avg_pool2d(x)):
        assert output.dtype == dtype
        exact = F.adaptive_avg_pool2d(x.double(), output.shape[2:])
        assert_agree(output.double(), exact, tolerance=12 * torch.finfo(dtype).eps)


def test_adaptive_average_has_the_right_gradients() -> None:
    x = draw(1, 1, 2, 5, 4).requires_grad_()
    assert gradcheck(lambda t: pool.adaptive_avg_pool2d(t, (3, 6)), x)


@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (3, 7, 5), (0, 2, 4, 4), (1, 1, 1, 1)])
def test_global_pooling_is_adaptive_pooling_to_one_pixel(
    shape: tuple[int, ...], device: torch.device
) -> None:
    x = tied(1, *shape, device=device)
    for ours, twin in (
        (pool.global_avg_pool2d, F.adaptive_avg_pool2d),
        (pool.global_max_pool2d, F.adaptive_max_pool2d),
    ):
        assert_agree(ours(x), twin(x, 1))
        assert_agree(gradients(ours, x), gradients(twin, x, output_size=1))


def test_global_pooling_passes_nan_on() -> None:
    x = draw(1, 2, 1, 3, 3)
    x[0, 0, 1, 2] = NAN
    for ours in (pool.global_avg_pool2d, pool.global_max_pool2d):
        assert ours(x).isnan().flatten().tolist() == [True, False]


# --- back to the larger size ----------------------------------------------------------------------

UNPOOLINGS = [pool.max_unpool2d, pool.max_unpool2d_loops]


@pytest.mark.parametrize(
    ("shape", "options", "output_size"),
    [
        ((2, 3, 6, 8), {"kernel_size": 2}, None),
        ((3, 6, 8), {"kernel_size": 2}, None),
        ((2, 3, 7, 9), {"kernel_size": 2}, (7, 9)),
        ((2, 3, 7, 9), {"kernel_size": 2}, (2, 3, 7, 9)),
        ((2, 3, 7, 9), {"kernel_size": 2}, torch.Size([7, 9])),
        ((1, 2, 9, 9), {"kernel_size": 2, "stride": 3}, (9, 9)),
        ((1, 2, 9, 8), {"kernel_size": (2, 3), "stride": (2, 3), "padding": (0, 1)}, (9, 8)),
        ((0, 2, 4, 4), {"kernel_size": 2}, None),
    ],
)
@pytest.mark.parametrize("ours", UNPOOLINGS)
def test_unpooling_equals_its_twin(
    ours: Callable[..., Tensor],
    shape: tuple[int, ...],
    options: dict[str, Any],
    output_size: Any,
    device: torch.device,
) -> None:
    x = draw(1, *shape, device=device)
    values, indices = F.max_pool2d(x, **options, return_indices=True)
    found = ours(values, indices, **options, output_size=output_size)
    assert_agree(found, F.max_unpool2d(values, indices, **options, output_size=output_size))
    call = {"indices": indices, "output_size": output_size, **options}
    assert_agree(gradients(ours, values, **call), gradients(F.max_unpool2d, values, **call))
    if output_size is not None:
        assert found.shape == x.shape
        assert_agree(F.max_pool2d(found.clamp(min=0), **options), values.clamp(min=0))


def test_unpooling_keeps_one_of_those_that_found_the_same_pixel() -> None:
    x = torch.zeros(1, 3, 3)
    x[0, 1, 1] = 5
    values, indices = pool.max_pool2d(x, 2, 1, return_indices=True)
    for ours in UNPOOLINGS:
        assert torch.equal(ours(values, indices, 2, 1), x)


def test_an_index_outside_is_an_error() -> None:
    with pytest.raises((RuntimeError, IndexError)):
        pool.max_unpool2d(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 16), 2)


# --- the blur pool --------------------------------------------------------------------------------

BLURS = [pool.blur_pool2d, pool.blur_pool2d_loops]


def blurred(x: Tensor, kernel_size: int, stride: Any) -> Tensor:
    """The same by torch's convolution of a mirrored picture."""
    taps = torch.tensor([math.comb(kernel_size - 1, i) for i in range(kernel_size)]).to(x)
    weight = torch.outer(taps, taps) / taps.sum() ** 2
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    mirrored = F.pad(x, (before, after, before, after), mode="reflect")
    channels = x.shape[-3]
    bank = weight.expand(channels, 1, kernel_size, kernel_size)
    return F.conv2d(mirrored, bank, stride=stride, groups=channels)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3, (1, 2)])
@pytest.mark.parametrize("shape", [(2, 3, 7, 8), (3, 6, 5)])
@pytest.mark.parametrize("ours", BLURS)
def test_blur_equals_a_strided_convolution(
    ours: Callable[..., Tensor],
    shape: tuple[int, ...],
    stride: Any,
    kernel_size: int,
    device: torch.device,
) -> None:
    x = draw(1, *shape, device=device)
    assert_agree(ours(x, kernel_size, stride), blurred(x, kernel_size, stride))
    found = gradients(ours, x, kernel_size=kernel_size, stride=stride)
    assert_agree(found, gradients(blurred, x, kernel_size=kernel_size, stride=stride))


def test_the_smallest_blur_is_the_average() -> None:
    x = draw(1, 2, 3, 6, 8)
    assert_agree(pool.blur_pool2d(x, 2), pool.avg_pool2d(x, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_blur_keeps_the_dtype(dtype: torch.dtype, device: torch.device) -> None:
    x = draw(1, 2, 3, 9, 8, device=device).to(dtype)
    output = pool.blur_pool2d(x)
    assert output.dtype == dtype
    assert_agree(output.double(), blurred(x.double(), 3, 2), 12 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("size", range(1, 9))
def test_binomial_kernel_is_a_row_of_pascals_triangle(size: int, device: torch.device) -> None:
    kernel = pool.binomial_kernel(size, dtype=DOUBLE, device=device)
    row = torch.ones(1, dtype=DOUBLE, device=device)
    for _ in range(size - 1):
        row = (F.pad(row, (0, 1)) + F.pad(row, (1, 0))) / 2
    assert_agree(kernel, row)
    assert pool.binomial_kernel(size).dtype == torch.get_default_dtype()


@pytest.mark.parametrize("size", range(1, 9))
def test_response_is_what_a_wave_shows(size: int) -> None:
    frequency = torch.linspace(0, 0.5, 33, dtype=DOUBLE)
    spectrum = torch.fft.rfft(pool.binomial_kernel(size, dtype=DOUBLE), 64).abs()
    assert_agree(pool.binomial_response(frequency, size), spectrum)


# --- what holds for all of them -------------------------------------------------------------------


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
}
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "maximum": lambda t: pool.max_pool2d(t, 3, 2, 1),
    "average": lambda t: pool.avg_pool2d(t, 3, 2, 1),
    "norm": lambda t: pool.lp_pool2d(t, 2, 3),
    "adaptive": lambda t: pool.adaptive_avg_pool2d(t, (3, 4)),
    "global average": pool.global_avg_pool2d,
    "global maximum": pool.global_max_pool2d,
    "blur": pool.blur_pool2d,
    "kernel of one": lambda t: pool.max_pool2d(t, 1),
    "average of one": lambda t: pool.avg_pool2d(t, 1),
    "blur of one": lambda t: pool.blur_pool2d(t, 1, 1),
}
every_pooling = pytest.mark.parametrize("pooling", POOLINGS.values(), ids=POOLINGS)


@every_pooling
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_layout_in_memory_does_not_matter(
    layout: Callable[[Tensor], Tensor],
    pooling: Callable[[Tensor], Tensor],
    device: torch.device,
) -> None:
    x = layout(draw(1, 2, 3, 7, 8, device=device))
    before = x.clone()
    assert_agree(pooling(x), pooling(x.contiguous()))
    assert_agree(gradients(pooling, x), gradients(pooling, x.contiguous()))
    assert torch.equal(x, before)


@every_pooling
def test_the_output_is_no_view_of_the_input(pooling: Callable[[Tensor], Tensor]) -> None:
    x = draw(1, 2, 3, 7, 8)
    before = x.clone()
    pooling(x).fill_(7)
    assert torch.equal(x, before)


@every_pooling
def test_unbatched_input_is_one_image(pooling: Callable[[Tensor], Tensor]) -> None:
    x = draw(1, 3, 7, 8)
    assert_agree(pooling(x), pooling(x[None])[0])


@pytest.mark.slow
@every_pooling
def test_it_compiles_into_one_graph(pooling: Callable[[Tensor], Tensor]) -> None:
    x = draw(1, 2, 3, 7, 8).requires_grad_()
    compiled = torch.compile(pooling, fullgraph=True, backend="eager")
    assert_agree(compiled(x), pooling(x))
    assert_agree(gradients(compiled, x), gradients(pooling, x))


@pytest.mark.slow
def test_indices_compile_into_one_graph() -> None:
    x = draw(1, 2, 3, 7, 8)
    compiled = torch.compile(pool.max_pool2d, fullgraph=True, backend="eager")
    same(compiled(x, 3, 2, 1, return_indices=True), pool.max_pool2d(x, 3, 2, 1, 1, False, True))


def dense(kind: str, x: Tensor, kernel_size: int, stride: int) -> Tensor:
    if kind == "blur":
        return pool.blur_pool2d(x, kernel_size, stride)
    return {"maximum": pool.max_pool2d, "average": pool.avg_pool2d}[kind](x, kernel_size, stride)


@pytest.mark.parametrize("kind", ["maximum", "average", "blur"])
@pytest.mark.parametrize(("kernel_size", "stride"), [(2, 2), (3, 2), (2, 3), (5, 4)])
def test_a_stride_keeps_every_so_manieth_output(kind: str, kernel_size: int, stride: int) -> None:
    x = draw(1, 1, 2, 13, 14)
    every = dense(kind, x, kernel_size, 1)
    assert_agree(dense(kind, x, kernel_size, stride), every[..., ::stride, ::stride])


# --- what a wrong argument gets -------------------------------------------------------------------

X = torch.zeros(2, 3, 6, 8)

# For max_pool2d and avg_pool2d, both versions: what is wrong, and the words.
WRONG_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"input": [[0.0]]}, TypeError, "input: expected a tensor, got"),
    ({"input": X.long()}, TypeError, "input: expected a floating dtype, got .*int64"),
    ({"input": X[0, 0]}, ValueError, r"input: expected 3 or 4 dimensions, got .*\(6, 8\)"),
    ({"input": X[:, :0]}, ValueError, r"input: expected no axis of length 0, got \(2, 0, 6, 8\)"),
    ({"input": X[:, :, :0]}, ValueError, "input: expected no axis of length 0"),
    ({"kernel_size": 0}, ValueError, "kernel_size: expected an integer >= 1, got 0"),
    ({"kernel_size": 2.0}, TypeError, "kernel_size: expected an integer >= 1, got 2.0"),
    ({"kernel_size": (1, 2, 3)}, ValueError, "kernel_size: expected one integer or a pair"),
    ({"kernel_size": 7}, ValueError, "kernel_size: expected a kernel that spans at most"),
    ({"stride": 0}, ValueError, "stride: expected an integer >= 1, got 0"),
    ({"stride": (1, None)}, TypeError, "stride: expected an integer >= 1, got None"),
    ({"padding": -1}, ValueError, "padding: expected an integer >= 0, got -1"),
    ({"padding": 2}, ValueError, "padding: expected at most half of the kernel of 2, got 2"),
    ({"padding": (0, 2)}, ValueError, "padding: expected at most half of the kernel"),
]


@pytest.mark.parametrize("ours", [*MAXIMA, *AVERAGES])
@pytest.mark.parametrize(("wrong", "error", "message"), WRONG_OPTIONS)
def test_wrong_options_are_named(
    ours: Callable[..., Any], wrong: dict[str, Any], error: type[Exception], message: str
) -> None:
    right: dict[str, Any] = {"input": X[:1], "kernel_size": 2}
    ours(**right)
    with pytest.raises(error, match=f"^{message}"):
        ours(**{**right, **wrong})


V, P = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4).long()

WRONG_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: pool.max_pool2d(X, 2, dilation=0), ValueError, "dilation: expected an integer >= 1"),
    (
        lambda: pool.max_pool2d(X, 3, padding=2, dilation=2),
        ValueError,
        "padding: expected at most half of the kernel of 3, got 2",
    ),
    (lambda: pool.pool_output_size(5.0, 2), TypeError, "size: expected an integer >= 0, got 5.0"),
    (
        lambda: pool.pool_output_size(0, 2, ceil_mode=True),
        ValueError,
        "kernel_size: expected a window that fits, got 2 on 0",
    ),
    (
        lambda: pool.avg_pool2d(X, 2, divisor_override=0),
        ValueError,
        "divisor_override: expected an integer >= 1, got 0",
    ),
    (
        lambda: pool.avg_pool2d_loops(X, 2, divisor_override=-2),
        ValueError,
        "divisor_override: expected an integer >= 1, got -2",
    ),
    (lambda: pool.lp_pool2d(X, 0, 2), ValueError, "norm_type: expected a positive number, got 0"),
    (lambda: pool.lp_pool2d(X, NAN, 2), ValueError, "norm_type: expected a positive number"),
    (lambda: pool.lp_pool2d_loops(X, -1, 2), ValueError, "norm_type: expected a positive number"),
    (lambda: pool.lp_pool2d(X, 2, 7), ValueError, "kernel_size: expected a kernel that spans"),
    (lambda: pool.adaptive_bounds(0, 2), ValueError, "size: expected an integer >= 1, got 0"),
    (
        lambda: pool.adaptive_avg_pool2d(X, 0),
        ValueError,
        "output_size: expected an integer >= 1, got 0",
    ),
    (
        lambda: pool.adaptive_avg_pool2d(X, (1, 2, 3)),
        ValueError,
        r"output_size: expected one integer or a pair, got \(1, 2, 3\)",
    ),
    (lambda: pool.adaptive_avg_pool2d_loops(X, 1.5), TypeError, "output_size: expected an int"),
    (lambda: pool.global_avg_pool2d(X[0, 0]), ValueError, "input: expected 3 or 4 dimensions"),
    (lambda: pool.global_max_pool2d(X.int()), TypeError, "input: expected a floating dtype"),
    (lambda: pool.max_unpool2d(V, P.int(), 2), TypeError, "indices: expected int64, got torch.i"),
    (lambda: pool.max_unpool2d(V, P[:1], 2), ValueError, r"indices: expected shape \(2, 3, 4\)"),
    (lambda: pool.max_unpool2d(V, P[None], 2), ValueError, "indices: expected 3 dimensions"),
    (
        lambda: pool.max_unpool2d(V, P, 2, output_size=(8, 8)),
        ValueError,
        "output_size: expected between 5 and 7, got 8",
    ),
    (
        lambda: pool.max_unpool2d(V, P, 2, output_size=(2, 6, 8)),
        ValueError,
        "output_size: expected two lengths or four",
    ),
    (lambda: pool.max_unpool2d_loops(V, P, 1, 1, 2), ValueError, "output_size: expected an int"),
    (lambda: pool.binomial_kernel(0), ValueError, "kernel_size: expected an integer >= 1, got 0"),
    (lambda: pool.binomial_response(0.5, 3), TypeError, "frequency: expected a tensor"),
    (
        lambda: pool.blur_pool2d(X[..., :2], 5),
        ValueError,
        "input: expected more than 2 pixels a side, .* got 6 x 2",
    ),
    (lambda: pool.blur_pool2d(X, (3, 3)), TypeError, "kernel_size: expected an integer >= 1"),
    (lambda: pool.blur_pool2d_loops(X, 3, 0), ValueError, "stride: expected an integer >= 1"),
    (lambda: pool.blur_pool2d(X, 3, 1.0), TypeError, "stride: expected an integer >= 1"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_wrong_arguments_are_named(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

# The functions whose result's shape depends on the numbers in a tensor, or which look at them.
LOOKS_AT_DATA: set[str] = {"max_pool2d_loops", "lp_pool2d_loops", "max_unpool2d_loops"}


def _ones(device: torch.device, *shape: int) -> Tensor:
    return torch.ones(shape, dtype=torch.int64, device=device)


CALLS: dict[str, Callable[..., Any]] = {
    "pool_output_size": lambda make, device: pool.pool_output_size(7, 3, 2, 1, 1, True),
    "max_pool2d_loops": lambda make, device: pool.max_pool2d_loops(
        make(1, 1, 4, 5), 2, 2, 1, 1, True, True
    ),
    "max_pool2d": lambda make, device: pool.max_pool2d(
        make(2, 3, 9, 8), 3, 2, 1, 2, True, return_indices=True
    ),
    "avg_pool2d_loops": lambda make, device: pool.avg_pool2d_loops(make(1, 1, 4, 5), 2, 2, 1),
    "avg_pool2d": lambda make, device: [
        pool.avg_pool2d(make(2, 3, 9, 8), 3, 2, 1, True, include) for include in (True, False)
    ],
    "lp_pool2d_loops": lambda make, device: [
        pool.lp_pool2d_loops(make(1, 4, 4), p, 2) for p in (2, INF)
    ],
    "lp_pool2d": lambda make, device: [pool.lp_pool2d(make(2, 3, 6, 8), p, 2) for p in (2, INF)],
    "adaptive_bounds": lambda make, device: pool.adaptive_bounds(7, 3),
    "adaptive_avg_pool2d_loops": lambda make, device: pool.adaptive_avg_pool2d_loops(
        make(1, 5, 4), 3
    ),
    "adaptive_avg_pool2d": lambda make, device: pool.adaptive_avg_pool2d(make(2, 3, 7, 5), (3, 2)),
    "global_avg_pool2d": lambda make, device: pool.global_avg_pool2d(make(2, 3, 7, 5)),
    "global_max_pool2d": lambda make, device: pool.global_max_pool2d(make(2, 3, 7, 5)),
    "max_unpool2d_loops": lambda make, device: pool.max_unpool2d_loops(
        make(1, 2, 2), _ones(device, 1, 2, 2), 2
    ),
    "max_unpool2d": lambda make, device: pool.max_unpool2d(
        make(2, 3, 4, 5), _ones(device, 2, 3, 4, 5), 2
    ),
    "binomial_kernel": lambda make, device: pool.binomial_kernel(3, device=device),
    "binomial_response": lambda make, device: pool.binomial_response(make(5), 3),
    "blur_pool2d_loops": lambda make, device: pool.blur_pool2d_loops(make(1, 4, 4)),
    "blur_pool2d": lambda make, device: pool.blur_pool2d(make(2, 3, 7, 8), 5, (1, 2)),
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def _pooled(
    combine: Callable[[Tensor], Any],
) -> Callable[[Tensor, int, int], Tensor]:
    """What a reader writes: two loops over the output, one window at a time."""

    def pooled(image: Tensor, kernel_size: int, stride: int) -> Tensor:
        height, width = ((n - kernel_size) // stride + 1 for n in image.shape)
        output = torch.zeros(height, width)
        for y in range(height):
            for x in range(width):
                v, u = y * stride, x * stride
                output[y, x] = combine(image[v : v + kernel_size, u : u + kernel_size])
        return output

    return pooled


def _pooled_from_zero(image: Tensor, kernel_size: int, stride: int) -> Tensor:
    height, width = ((n - kernel_size) // stride + 1 for n in image.shape)
    output = torch.zeros(height, width)
    for y in range(height):
        for x in range(width):
            for i in range(kernel_size):
                for j in range(kernel_size):
                    output[y, x] = max(output[y, x], image[y * stride + i, x * stride + j])
    return output


def _padded(
    value: Callable[[Tensor], float],
) -> Callable[[Tensor, int, int, int], Tensor]:
    def padded(image: Tensor, kernel_size: int, stride: int, padding: int) -> Tensor:
        wide = F.pad(image, (padding,) * 4, value=value(image))
        return F.max_pool2d(wide[None], kernel_size, stride)[0]

    return padded


def _walked_back(
    choose: Callable[[Tensor], Any], *, add: bool = True
) -> Callable[[Tensor, Tensor, int, int], Tensor]:
    """Send each delta to the pixels of its window that are chosen."""

    def gradient(image: Tensor, delta: Tensor, kernel_size: int, stride: int) -> Tensor:
        result = torch.zeros(image.shape)
        for y in range(delta.shape[0]):
            for x in range(delta.shape[1]):
                v, u = y * stride, x * stride
                window = image[v : v + kernel_size, u : u + kernel_size]
                for i, j in choose(window):
                    old = result[v + i, u + j] if add else 0
                    result[v + i, u + j] = old + delta[y, x]
        return result

    return gradient


def _best(window: Tensor) -> list[tuple[int, int]]:
    return [divmod(int(window.argmax()), window.shape[1])]


def _all_best(window: Tensor) -> list[list[int]]:
    return (window == window.max()).nonzero().tolist()


def _by_index(image: Tensor, delta: Tensor, kernel_size: int, stride: int) -> Tensor:
    _, places = F.max_pool2d(image[None], kernel_size, stride, return_indices=True)
    return (
        torch.zeros(image.numel())
        .index_add(0, places.flatten(), delta.float().flatten())
        .view(image.shape)
    )


def _bordered(images: Tensor, mode: str) -> Tensor:
    """The smooth maximum by a convolution, with another border than the mirror."""
    every = F.pad(F.max_pool2d(images, 3, 1), (2,) * 4, mode=mode)
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    weight = torch.outer(row, row).expand(images.shape[1], 1, 5, 5)
    return F.conv2d(every, weight, stride=3, groups=images.shape[1])


def _transposed(image: Tensor, kernel_size: int, stride: int) -> Tensor:
    return F.max_pool2d(image.T[None], kernel_size, stride)[0]


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-pooling-sizes": [[18, 4, 5, 3], torch.tensor([18, 4, 5, 3]), (18.0, 4.0, 5.0, 3.0)],
    "ex-pooling-pooled": [
        _pooled(torch.max),
        _pooled(lambda window: window.amax()),
        lambda image, kernel_size, stride: F.max_pool2d(image[None], kernel_size, stride)[0],
        lambda image, kernel_size, stride: (
            image.unfold(0, kernel_size, stride).unfold(1, kernel_size, stride).amax((2, 3))
        ),
    ],
    "ex-pooling-padding": [
        _padded(lambda image: -INF),
        _padded(lambda image: image.min().item()),
        lambda image, k, s, p: F.max_pool2d(image[None], k, s, p)[0],
        # The border repeated is never larger than the border itself, which is in the window.
        lambda image, k, s, p: F.max_pool2d(F.pad(image[None], (p,) * 4, mode="replicate"), k, s)[
            0
        ],
    ],
    "ex-pooling-gradient": [
        _walked_back(_best),
        _walked_back(lambda window: _all_best(window)[:1]),
        _by_index,
    ],
    "ex-pooling-savings": [
        [1168, 1168, 163850, 40970],
        (*[torch.tensor(1168)] * 2, 163850.0, 40970.0),
    ],
    "ex-pooling-smooth": [
        lambda images: blurred(F.max_pool2d(images, 3, 1), 5, 3),
        lambda images: pool.blur_pool2d(pool.max_pool2d(images, 3, 1), 5, 1)[..., ::3, ::3],
    ],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-pooling-sizes": [
        ((18, 5, 5, 3), "does not fit whole"),
        ((18, 4, 4, 3), "left over"),
        ((18, 4, 5, 4), "padding at the far end"),
        ((17, 3, 4, 2), "first window"),
        ((17, 4, 5, 3), "counts twice"),
        ((18, 4.5, 4.5, 11 / 3), "come whole"),
        ((18, 4.5, 5, 3), "no half window"),
        ((18, 4, 5, ...), "still to be filled in"),
        ((18, ..., ..., ...), "all four filled in"),
        ((18, 5, 4, 3), ""),
        ((18, 4, 5), ""),
        ((56, 3, 4, 2), ""),
    ],
    "ex-pooling-pooled": [
        (_pooled_from_zero, "negative"),
        (_pooled(torch.mean), "average"),
        (lambda image, k, s: F.max_pool2d(image[None], k)[0], "by their own size"),
        (lambda image, k, s: F.max_pool2d(image[None], k, 1)[0], "by one pixel"),
        (lambda image, k, s: _pooled(torch.max)(image, k, s)[:-1, :-1], "first window"),
        (_pooled(lambda window: max(-100, window.max())), ""),
        (_pooled(torch.sum), ""),
        (_pooled(torch.min), ""),
        (_pooled(lambda window: window.abs().max()), ""),
        (_pooled(lambda window: window[0, 0]), ""),
        (_pooled(lambda window: window[0].max()), ""),
        (_transposed, ""),
        (lambda image, k, s: F.max_pool2d(image[None], k, s, ceil_mode=True)[0], ""),
        (lambda image, k, s: F.max_pool2d(image[None], 2, 2)[0], ""),
        (lambda image, k, s: F.max_pool2d(image[None], k, s), ""),
        (lambda image, k, s: F.max_pool2d(image[None], k, s)[0].round(), ""),
    ],
    "ex-pooling-padding": [
        (_padded(lambda image: 0.0), "nothing but negative"),
        (_padded(lambda image: -1.0), ""),
        (_padded(lambda image: -999.0), ""),
        (_padded(lambda image: -1e4), ""),
        (_padded(lambda image: INF), "mind the sign"),
        (lambda image, k, s, p: F.max_pool2d(image[None], k, s)[0], "padding is gone"),
        (lambda image, k, s, p: F.max_pool2d(image[None].abs(), k, s, p)[0], "sign of the pixels"),
        (_padded(lambda image: image.max().item()), ""),
        (_padded(lambda image: image.mean().item()), ""),
        (_padded(lambda image: NAN), ""),
        (
            lambda image, k, s, p: F.max_pool2d(F.pad(image[None], (p, 0, p, 0), value=-INF), k, s)[
                0
            ],
            "",
        ),
        (lambda image, k, s, p: F.max_pool2d(image[None], k, 2, p)[0], ""),
        (lambda image, k, s, p: F.max_pool2d(image[None], k, s, p)[0].clamp(min=0), ""),
    ],
    "ex-pooling-gradient": [
        (_walked_back(_all_best), "only the first should"),
        (_walked_back(lambda window: _all_best(window)[-1:]), "the last"),
        (_walked_back(_best, add=False), "the sum"),
        (
            lambda image, delta, k, s: _walked_back(_best)(image, torch.ones_like(delta), k, s),
            "where does delta",
        ),
        (
            _walked_back(lambda window: [(i, j) for i, j in product(*map(range, window.shape))]),
            "only the maximum",
        ),
        (
            lambda image, delta, k, s: _walked_back(_best)(image, delta.abs(), k, s),
            "",
        ),
        (
            lambda image, delta, k, s: _walked_back(lambda w: _all_best(w.T)[:1])(
                image, delta, k, s
            ),
            "",
        ),
        (lambda image, delta, k, s: delta, ""),
        (lambda image, delta, k, s: _walked_back(_best)(image, delta, k, k), ""),
    ],
    "ex-pooling-savings": [
        ((1168, 292, 163850, 40970), "same weights at every place"),
        ((1168, 1168, 163850, 81930), "both axes"),
        ((1168, 1168, 163850, 163850), "every number of the picture"),
        ((1152, 1152, 163840, 40960), "biases"),
        ((1168, 1168, 10250, 2570), "keeps the channels"),
        ((1168, 1168, 163840, 40960), "ten biases"),
        ((1168, 163850, 1168, 40970), "The order is"),
        ((1168, 584, 163850, 81925), ""),
        ((1168, 1168, 163850), ""),
    ],
    "ex-pooling-smooth": [
        (lambda images: F.max_pool2d(images, 3), "plain max pooling"),
        (lambda images: F.max_pool2d(blurred(images, 5, 1), 3), "blur comes first"),
        (lambda images: F.max_pool2d(blurred(images, 5, 3), 3, 1), "before the maximum has seen"),
        (lambda images: blurred(images, 5, 3), "maximum is missing"),
        (lambda images: blurred(F.max_pool2d(images, 3, 1), 3, 3), "has 3 taps"),
        (lambda images: blurred(F.max_pool2d(images, 3, 1), 4, 3), "has 4 taps"),
        (lambda images: blurred(F.max_pool2d(images, 2, 1), 5, 3), "should be 3 × 3"),
        (lambda images: blurred(F.max_pool2d(images, 3, 1), 5, 2), "The stride is 2"),
        (lambda images: blurred(F.max_pool2d(images, 2, 1), 3, 2), "example of the text"),
        (lambda images: _bordered(images, "replicate"), "counts again"),
        (lambda images: _bordered(images, "constant"), "takes in zeros"),
        (lambda images: _bordered(images, "circular"), ""),
        (lambda images: blurred(F.max_pool2d(images, 3), 5, 1), "eight outputs of nine"),
        (lambda images: blurred(F.max_pool2d(images, 3), 5, 3), "nine times smaller"),
        (lambda images: F.avg_pool2d(F.max_pool2d(images, 3, 1), 5, 3), ""),
        (lambda images: blurred(F.max_pool2d(images, 3, 1), 5, 1), ""),
        (lambda images: blurred(F.avg_pool2d(images, 3, 1), 5, 3), ""),
    ],
}
