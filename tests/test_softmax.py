"""`course_lib.softmax` against its loops, its twins, autograd and analytic values."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from course_lib import softmax as soft
from support import assert_agree

DOUBLE = torch.float64


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers in float64, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(device)


def draw_indices(
    seed: int, classes: int, *shape: int, device: torch.device | str = "cpu"
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(classes, shape, generator=generator).to(device)


# --- signatures: a twin can be swapped for ours ---------------------------------------------------

DEPRECATED = {"size_average", "reduce", "_stacklevel"}


def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
    """Names and defaults, in order, without what the twin has given up."""
    return [
        (p.name, p.default)
        for p in inspect.signature(function).parameters.values()
        if p.name not in DEPRECATED
    ]


@pytest.mark.parametrize(
    ("ours", "twin"),
    [
        (soft.cross_entropy, F.cross_entropy),
        (soft.cross_entropy_loops, F.cross_entropy),
        (soft.nll_loss, F.nll_loss),
        (soft.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits),
        (soft.Linear, nn.Linear),
    ],
)
def test_signature_is_the_twins(ours: Callable[..., Any], twin: Callable[..., Any]) -> None:
    assert parameters(ours) == parameters(twin)


def test_the_axis_must_be_named() -> None:
    for ours, twin in ((soft.softmax, F.softmax), (soft.log_softmax, F.log_softmax)):
        names = [name for name, _ in parameters(ours)]
        assert names == [name for name, _ in parameters(twin)] == ["input", "dim", "dtype"]
        assert dict(parameters(ours))["dim"] is inspect.Parameter.empty


# --- probabilities --------------------------------------------------------------------------------

SHAPES = [((3, 4), 1), ((3, 4), 0), ((5,), 0), ((2, 3, 4), -2), ((1, 1), 1), ((0, 3), 1)]
every_shape = pytest.mark.parametrize(("shape", "dim"), SHAPES)
PAIRS: list[tuple[Callable[..., Tensor], Callable[..., Tensor]]] = [
    (soft.softmax, torch.softmax),
    (soft.softmax_loops, torch.softmax),
    (soft.log_softmax, torch.log_softmax),
    (soft.logsumexp, torch.logsumexp),
]
every_pair = pytest.mark.parametrize(("ours", "twin"), PAIRS, ids=lambda f: f.__name__)
fast_pair = pytest.mark.parametrize(
    ("ours", "twin"), [p for p in PAIRS if p[0] is not soft.softmax_loops], ids=lambda f: f.__name__
)


@every_pair
@every_shape
def test_probabilities_equal_their_twins(
    ours: Callable[..., Tensor],
    twin: Callable[..., Tensor],
    shape: tuple[int, ...],
    dim: int,
    device: torch.device,
) -> None:
    x = draw(1, *shape, device=device).requires_grad_()
    expected = twin(x, dim)
    assert_agree(ours(x, dim), expected)
    if x.numel() == 0:
        return
    signal = draw(2, *expected.shape, device=device)
    (mine,), (theirs,) = (torch.autograd.grad(f(x, dim), x, signal) for f in (ours, twin))
    assert_agree(mine, theirs)


@fast_pair
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [1, 100])
def test_probabilities_keep_the_dtype_and_round_once(
    ours: Callable[..., Tensor],
    twin: Callable[..., Tensor],
    dtype: torch.dtype,
    scale: float,
    device: torch.device,
) -> None:
    x = (scale * draw(1, 6, 700, device=device)).to(dtype)
    exact = twin(x.double(), 1)
    output = ours(x, 1)
    assert output.dtype == dtype
    eps = max(torch.finfo(dtype).eps, 1e-6)
    torch.testing.assert_close(output.double(), exact, rtol=eps, atol=1e-6)


@fast_pair
def test_large_scores_do_not_overflow(
    ours: Callable[..., Tensor], twin: Callable[..., Tensor]
) -> None:
    for dtype, large in ((torch.float32, 1e4), (torch.float16, 3e4), (DOUBLE, 1e5)):
        x = torch.tensor([[large, large - 32, -large], [-large, -large, -large]], dtype=dtype)
        x.requires_grad_()
        output, expected = ours(x, 1), twin(x, 1)
        assert output.isfinite().all()
        torch.testing.assert_close(output, expected)
        (slope,) = torch.autograd.grad(output.sum(), x)
        assert slope.isfinite().all()


INF = math.inf
STRANGE = [
    [1.0, -INF, 2.0],
    [-INF, -INF, -INF],
    [INF, 1.0, 2.0],
    [INF, INF, 1.0],
    [math.nan, 1.0, 2.0],
    [INF, -INF, 0.0],
]


@fast_pair
@pytest.mark.parametrize("row", STRANGE, ids=str)
def test_what_is_not_finite_is_as_in_the_twin(
    ours: Callable[..., Tensor], twin: Callable[..., Tensor], row: list[float]
) -> None:
    x = torch.tensor([row, [0.0, 1.0, 2.0]], dtype=DOUBLE)
    torch.testing.assert_close(ours(x, 1), twin(x, 1), equal_nan=True)


@fast_pair
def test_probabilities_have_the_right_gradients(
    ours: Callable[..., Tensor], twin: Callable[..., Tensor], device: torch.device
) -> None:
    x = draw(1, 2, 4, device=device).requires_grad_()
    assert gradcheck(lambda x: ours(x, 1), x)
    assert gradgradcheck(lambda x: ours(x, 1), x)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, -1, (0, 2), [1], (0, 1, 2)])
def test_logsumexp_takes_several_axes(dim: Any, keepdim: bool) -> None:
    x = draw(1, 3, 4, 5)
    assert_agree(soft.logsumexp(x, dim, keepdim), torch.logsumexp(x, dim, keepdim))


@pytest.mark.parametrize("ours", [soft.softmax, soft.log_softmax])
def test_dtype_converts_before(ours: Callable[..., Tensor]) -> None:
    twin = getattr(F, ours.__name__)
    x = (20 * draw(1, 4, 5)).half()
    for dtype in (torch.float32, DOUBLE, torch.bfloat16):
        output = ours(x, 1, dtype=dtype)
        torch.testing.assert_close(output, twin(x.to(dtype).double(), 1).to(dtype))


def test_softmax_is_the_slope_of_logsumexp(device: torch.device) -> None:
    x = draw(1, 3, 5, device=device).requires_grad_()
    (slope,) = torch.autograd.grad(soft.logsumexp(x, 1).sum(), x)
    assert_agree(slope, soft.softmax(x, 1))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=6), st.floats(-1e4, 1e4))
def test_softmax_is_a_distribution_and_a_constant_changes_nothing(
    row: list[float], constant: float
) -> None:
    x = torch.tensor(row, dtype=DOUBLE)
    p = soft.softmax(x, 0)
    assert_agree(p.sum(), torch.tensor(1.0, dtype=DOUBLE))
    assert (p >= 0).all()
    assert_agree(soft.softmax(x + constant, 0), p, tolerance=1e-9)
    top = float(x.max())
    assert top <= float(soft.logsumexp(x, 0)) <= top + math.log(len(row)) + 1e-9


@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32, torch.float16, torch.bfloat16])
def test_sigmoid_equals_its_twin(dtype: torch.dtype, device: torch.device) -> None:
    x = torch.tensor([0.0, 1, -1, 20, -20, 90, -90, 800, -800, INF, -INF, math.nan], device=device)
    x = x.to(dtype).requires_grad_()
    output, expected = soft.sigmoid(x), torch.sigmoid(x)
    tolerance = {"rtol": 4 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).tiny}
    torch.testing.assert_close(output, expected, equal_nan=True, **tolerance)
    (mine,), (theirs,) = (torch.autograd.grad(y[:9].sum(), x) for y in (output, expected))
    torch.testing.assert_close(mine[:9], theirs[:9], rtol=1e-2, atol=torch.finfo(dtype).eps)
    two = torch.stack([x.detach(), torch.zeros_like(x)])[:, :9]
    torch.testing.assert_close(output[:9], soft.softmax(two, 0)[0], **tolerance)


def test_sigmoid_has_the_right_gradients() -> None:
    x = torch.tensor([0.0, 1.5, -3.0, 12.0], dtype=DOUBLE, requires_grad=True)
    assert gradcheck(soft.sigmoid, x)
    assert gradgradcheck(soft.sigmoid, x)


def test_entropy_and_divergence_equal_torch_distributions(device: torch.device) -> None:
    p, q = soft.softmax(draw(1, 2, 4, 3, device=device), -1).unbind()
    first, second = (torch.distributions.Categorical(probs=values) for values in (p, q))
    assert_agree(soft.entropy(p, 1), first.entropy())
    assert_agree(soft.kl_divergence(p, q, 1), torch.distributions.kl_divergence(first, second))
    assert_agree(soft.kl_divergence(p.T, q.T, 0), soft.kl_divergence(p, q, 1))
    assert_agree(soft.kl_divergence(p, p, 1), torch.zeros_like(p[:, 0]))


def test_entropy_and_divergence_at_the_corners() -> None:
    corner, even = torch.tensor([0.0, 1, 0, 0]), torch.full((4,), 0.25)
    assert float(soft.entropy(corner, 0)) == 0
    assert float(soft.entropy(even, 0)) == pytest.approx(math.log(4))
    assert float(soft.kl_divergence(corner, even, 0)) == pytest.approx(math.log(4))
    assert float(soft.kl_divergence(even, corner, 0)) == INF


# --- one_hot --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0,)])
@pytest.mark.parametrize("classes", [4, 7])
def test_one_hot_equals_its_twin(
    shape: tuple[int, ...], classes: int, device: torch.device
) -> None:
    indices = draw_indices(1, 4, *shape, device=device)
    ours = soft.one_hot(indices, classes)
    assert ours.dtype == torch.int64
    assert torch.equal(ours, F.one_hot(indices, classes))
    if indices.numel():
        assert torch.equal(soft.one_hot(indices), F.one_hot(indices))


# --- linear ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (0, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_equals_its_twin(shape: tuple[int, ...], bias: bool, device: torch.device) -> None:
    leaves = [draw(1, *shape, device=device), draw(2, 5, 3, device=device)]
    leaves += [draw(3, 5, device=device)] if bias else []
    for leaf in leaves:
        leaf.requires_grad_()
    ours, theirs = soft.linear(*leaves), F.linear(*leaves)
    assert_agree(ours, theirs)
    signal = draw(4, *theirs.shape, device=device)
    for mine, twin in zip(
        torch.autograd.grad(ours, leaves, signal),
        torch.autograd.grad(theirs, leaves, signal),
        strict=True,
    ):
        assert_agree(mine, twin)


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_is_its_twin(bias: bool, device: torch.device) -> None:
    made = []
    for kind in (soft.Linear, nn.Linear):
        torch.manual_seed(7)
        made.append(kind(6, 4, bias=bias, device=device, dtype=DOUBLE))
    ours, theirs = made
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert_agree(ours.state_dict()[name], value, tolerance=1e-15)
        assert value.abs().max() <= 1 / math.sqrt(6)
    x = draw(1, 3, 6, device=device)
    assert_agree(ours(x), theirs(x))


# --- the loss -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """The arguments of a loss; `tensors` fills the shapes with random numbers."""

    input: tuple[int, ...]
    by_index: bool = True
    weighted: bool = False
    ignore_index: int = -100
    reduction: str = "mean"
    label_smoothing: float = 0.0

    @property
    def options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("ignore_index", "reduction")}

    @property
    def all_options(self) -> dict[str, Any]:
        return self.options | {"label_smoothing": self.label_smoothing}

    def tensors(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = DOUBLE
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        axis = 0 if len(self.input) == 1 else 1
        classes = self.input[axis]
        scores = draw(1, *self.input, device=device)
        if self.by_index:
            shape = (*self.input[:axis], *self.input[axis + 1 :])
            target = draw_indices(2, classes, *shape, device=device)
            if self.ignore_index < 0 and target.numel() > 1:
                target.view(-1)[::3] = self.ignore_index
        else:
            target = draw(2, *self.input, device=device).softmax(axis).to(dtype)
        weight = draw(3, classes, device=device).abs().to(dtype) if self.weighted else None
        return scores.to(dtype), target, weight


FORMS: list[tuple[int, ...]] = [(6, 4), (4,), (2, 3, 5), (2, 3, 2, 4), (1, 1), (0, 3), (2, 3, 0)]
LOSSES = [
    Loss(shape, by_index, weighted, ignore, reduction, smoothing)
    for shape in FORMS
    for by_index in (True, False)
    for weighted in (True, False)
    for ignore in ((-100, 0, -1) if by_index else (-100,))
    for reduction in soft.REDUCTIONS
    for smoothing in (0.0, 0.2, 1.0)
]


def agree(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    """As `assert_agree`, where NaN equals NaN: the mean over no example."""
    assert torch.equal(ours.isnan(), theirs.isnan())
    assert_agree(ours.nan_to_num(), theirs.nan_to_num(), tolerance)


@pytest.mark.parametrize("ours", [soft.cross_entropy, soft.cross_entropy_loops])
def test_cross_entropy_equals_its_twin(ours: Callable[..., Tensor], device: torch.device) -> None:
    for loss in LOSSES:
        scores, target, weight = loss.tensors(device)
        leaves = [scores.requires_grad_()]
        if not loss.by_index:
            leaves.append(target.requires_grad_())
        mine, theirs = (
            f(scores, target, weight, **loss.all_options) for f in (ours, F.cross_entropy)
        )
        agree(mine, theirs)
        if ours is soft.cross_entropy_loops and not mine.requires_grad:  # nothing was looped over
            continue
        signal = draw(4, *theirs.shape, device=device)
        for a, b in zip(
            torch.autograd.grad(mine, leaves, signal, allow_unused=True),
            torch.autograd.grad(theirs, leaves, signal),
            strict=True,
        ):
            agree(torch.zeros_like(b) if a is None else a, b)


def test_nll_loss_equals_its_twin(device: torch.device) -> None:
    for loss in LOSSES:
        if not loss.by_index or loss.label_smoothing:
            continue
        scores, target, weight = loss.tensors(device)
        scores.requires_grad_()
        mine, theirs = (
            f(scores, target, weight, **loss.options) for f in (soft.nll_loss, F.nll_loss)
        )
        agree(mine, theirs)
        signal = draw(4, *theirs.shape, device=device)
        pair = (torch.autograd.grad(out, scores, signal)[0] for out in (mine, theirs))
        agree(*pair)


@st.composite
def losses(pick: st.DrawFn) -> Loss:
    """A loss of any kind."""
    size = st.integers(1, 5)
    form = pick(st.sampled_from(["one", "batch", "image"]))
    shape = {
        "one": (pick(size),),
        "batch": (pick(st.integers(0, 5)), pick(size)),
        "image": (pick(size), pick(size), pick(st.integers(0, 3)), pick(size)),
    }[form]
    by_index = pick(st.booleans())
    return Loss(
        shape,
        by_index,
        pick(st.booleans()),
        pick(st.integers(-2, 3)) if by_index else -100,
        pick(st.sampled_from(soft.REDUCTIONS)),
        pick(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
    )


@given(loss=losses(), shift=st.floats(-500, 500), scale=st.sampled_from([1.0, 300.0]))
def test_cross_entropy_does_what_its_twin_does(loss: Loss, shift: float, scale: float) -> None:
    scores, target, weight = loss.tensors()
    scores = scale * scores + shift
    ours, theirs = (
        f(scores, target, weight, **loss.all_options) for f in (soft.cross_entropy, F.cross_entropy)
    )
    agree(ours, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("by_index", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_keeps_the_dtype_and_rounds_once(
    dtype: torch.dtype, by_index: bool, smoothing: float, device: torch.device
) -> None:
    eps = max(torch.finfo(dtype).eps, 1e-6)
    for shape in ((7, 300), (2, 70, 5)):
        for reduction in soft.REDUCTIONS:
            loss = Loss(shape, by_index, True, -100, reduction, smoothing)
            scores, target, weight = loss.tensors(device, dtype)
            assert weight is not None
            wide = target if by_index else target.double()
            exact = F.cross_entropy(scores.double(), wide, weight.double(), **loss.all_options)
            scores.requires_grad_()
            output = soft.cross_entropy(scores, target, weight, **loss.all_options)
            assert output.dtype == dtype
            torch.testing.assert_close(output.double(), exact, rtol=4 * eps, atol=4 * eps)
            (slope,) = torch.autograd.grad(output.sum(), scores)
            exact_scores = scores.detach().double().requires_grad_()
            exact = F.cross_entropy(exact_scores, wide, weight.double(), **loss.all_options)
            (wanted,) = torch.autograd.grad(exact.sum(), exact_scores)
            assert slope.dtype == dtype
            assert_agree(slope.double(), wanted, tolerance=4 * eps)


def test_many_classes_in_half_precision_do_not_overflow() -> None:
    scores = torch.zeros(2, 70_000, dtype=torch.float16)  # 70,000 is no number in float16
    target = torch.tensor([3, 69_999])
    expected = torch.tensor(math.log(70_000)).half()
    assert torch.equal(soft.cross_entropy(scores, target), expected)
    assert soft.softmax(scores, 1).double().sum() == pytest.approx(2, rel=0.01)


def test_probabilities_may_be_more_precise_than_scores() -> None:
    scores, target = draw(1, 3, 4).float(), draw(2, 3, 4).softmax(1)
    mine, theirs = (f(scores, target) for f in (soft.cross_entropy, F.cross_entropy))
    torch.testing.assert_close(mine.double(), theirs.double())


SMALL = [
    Loss((3, 4)),
    Loss((4,)),
    Loss((2, 3, 2), weighted=True, reduction="none"),
    Loss((3, 4), weighted=True, label_smoothing=0.1, reduction="sum"),
    Loss((3, 4), by_index=False, weighted=True, label_smoothing=0.1),
    Loss((2, 3, 2), by_index=False, reduction="none"),
]


@pytest.mark.parametrize("loss", SMALL)
def test_cross_entropy_has_the_right_gradients(loss: Loss, device: torch.device) -> None:
    scores, target, weight = loss.tensors(device)
    leaves = [scores.requires_grad_()] + ([] if loss.by_index else [target.requires_grad_()])

    def call(scores: Tensor, wanted: Tensor = target) -> Tensor:
        return soft.cross_entropy(scores, wanted, weight, **loss.all_options)

    assert gradcheck(call, leaves)
    assert gradgradcheck(call, leaves)


def test_a_second_backward_pass_is_right() -> None:
    """The first one turns what was kept into the gradient, so it must be computed again."""
    scores, target, weight = Loss((5, 4), weighted=True).tensors()
    scores.requires_grad_()
    (expected,) = torch.autograd.grad(F.cross_entropy(scores, target, weight), scores)
    for create_graph in (False, True):
        loss = soft.cross_entropy(scores, target, weight)
        for _ in range(3):
            (found,) = torch.autograd.grad(
                loss, scores, retain_graph=True, create_graph=create_graph
            )
            assert_agree(found, expected)
            found.detach().zero_()  # the gradient is the caller's own


def test_a_changed_input_is_noticed() -> None:
    scores, target, _ = Loss((5, 4)).tensors()
    leaf = scores.requires_grad_()
    changed = leaf * 1
    loss = soft.cross_entropy(changed, target)
    changed.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_arguments_are_left_alone() -> None:
    for loss in (Loss((4, 3), weighted=True), Loss((4, 3), by_index=False, label_smoothing=0.2)):
        arguments = loss.tensors()
        before = [value.clone() for value in arguments if value is not None]
        soft.cross_entropy(*arguments[:2], arguments[2], **loss.all_options)
        after = [value for value in arguments if value is not None]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def strided(tensor: Tensor) -> Tensor:
    """The same numbers, every other one of a larger tensor, with the axes in another order."""
    spread = tensor.new_zeros([2 * n for n in tensor.shape[::-1]])
    view = spread[tuple(slice(None, None, 2) for _ in tensor.shape)]
    view = view.permute(*range(tensor.ndim)[::-1])
    view.copy_(tensor)
    return view


@pytest.mark.parametrize("by_index", [True, False])
def test_layout_in_memory_does_not_matter(by_index: bool, device: torch.device) -> None:
    scores, target, weight = Loss((2, 3, 4, 5), by_index, weighted=True).tensors(device)
    expected = F.cross_entropy(scores, target, weight)
    for f in (soft.cross_entropy, soft.cross_entropy_loops):
        assert_agree(f(strided(scores), strided(target), weight), expected)
    leaf = scores.requires_grad_()
    (mine,), (theirs,) = (
        torch.autograd.grad(f(strided(leaf * 1), target, weight), leaf)
        for f in (lambda s, t, w: soft.cross_entropy(leaf.transpose(2, 3), t.mT, w),
                  lambda s, t, w: F.cross_entropy(leaf.transpose(2, 3), t.mT, w))
    )  # fmt: skip
    assert_agree(mine, theirs)


@pytest.mark.parametrize("row", STRANGE, ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_loss_that_is_not_finite_is_as_in_the_twin(row: list[float], smoothing: float) -> None:
    scores = torch.tensor([row, [0.0, 1.0, 2.0]], dtype=DOUBLE)
    for first in (0, 1, 2, -100):
        target = torch.tensor([first, 1])
        for reduction in soft.REDUCTIONS:
            options = {"reduction": reduction, "label_smoothing": smoothing}
            mine, theirs = (
                f(scores, target, **options) for f in (soft.cross_entropy, F.cross_entropy)
            )
            torch.testing.assert_close(mine, theirs, equal_nan=True)


def test_ties_share_alike() -> None:
    scores = torch.zeros(1, 4, dtype=DOUBLE, requires_grad=True)
    loss = soft.cross_entropy(scores, torch.tensor([2]))
    assert float(loss.detach()) == pytest.approx(math.log(4))
    (slope,) = torch.autograd.grad(loss, scores)
    assert slope.tolist() == [[0.25, 0.25, -0.75, 0.25]]


def test_all_ignored_is_nan_on_average_and_zero_in_sum() -> None:
    scores, target = draw(1, 3, 4).requires_grad_(), torch.full((3,), -100)
    for f in (soft.cross_entropy, soft.cross_entropy_loops, F.cross_entropy):
        assert f(scores, target).isnan()
        assert float(f(scores, target, reduction="sum").detach()) == 0
    (slope,) = torch.autograd.grad(soft.cross_entropy(scores, target, reduction="sum"), scores)
    assert torch.equal(slope, torch.zeros_like(slope))


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_indices_may_be_bytes(dtype: torch.dtype) -> None:
    scores, target = draw(1, 5, 4), torch.tensor([0, 3, 1, 2, 2]).to(dtype)
    assert_agree(soft.cross_entropy(scores, target), F.cross_entropy(scores, target))
    assert_agree(
        soft.cross_entropy(scores, target, ignore_index=2),
        F.cross_entropy(scores, target, ignore_index=2),
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_cross_entropy_compiles_into_one_graph(backend: str) -> None:
    loss = Loss((5, 4), weighted=True, label_smoothing=0.0)
    scores, target, weight = loss.tensors()
    scores.requires_grad_()
    compiled = torch.compile(soft.cross_entropy, fullgraph=True, backend=backend)
    value = compiled(scores, target, weight)
    expected = F.cross_entropy(scores, target, weight)
    assert_agree(value, expected)
    (wanted,) = torch.autograd.grad(expected, scores)
    for _ in range(2):
        assert_agree(torch.autograd.grad(value, scores, retain_graph=True)[0], wanted)


def test_the_backward_pass_needs_no_memory_of_its_own() -> None:
    """What the forward pass kept becomes the gradient."""
    scores, target, _ = Loss((512, 200)).tensors(dtype=torch.float32)
    loss = soft.cross_entropy(scores.requires_grad_(), target, reduction="sum")
    kept = loss.grad_fn
    while kept is not None and not hasattr(kept, "powers"):
        kept = kept.next_functions[0][0]
    address = kept.powers.data_ptr()
    (slope,) = torch.autograd.grad(loss, scores)
    assert slope.data_ptr() == address


# --- one score for yes or no ----------------------------------------------------------------------


@pytest.mark.parametrize("reduction", soft.REDUCTIONS)
@pytest.mark.parametrize("shape", [(5,), (2, 3), (), (0,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_binary_cross_entropy_equals_its_twin(
    reduction: str, shape: tuple[int, ...], weighted: bool, device: torch.device
) -> None:
    scores = (5 * draw(1, *shape, device=device)).requires_grad_()
    target = draw(2, *shape, device=device).sigmoid().requires_grad_()
    options: dict[str, Any] = {"reduction": reduction}
    if weighted:
        last = shape[-1:]
        options |= {
            "weight": draw(3, *shape, device=device).abs(),
            "pos_weight": draw(4, *last, device=device).abs(),
        }
    ours, theirs = (
        f(scores, target, **options)
        for f in (soft.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits)
    )
    agree(ours, theirs)
    signal = draw(5, *theirs.shape, device=device)
    for a, b in zip(
        torch.autograd.grad(ours, (scores, target), signal),
        torch.autograd.grad(theirs, (scores, target), signal),
        strict=True,
    ):
        agree(a, b)


def test_binary_cross_entropy_does_not_overflow_and_is_smooth_at_zero() -> None:
    scores = torch.tensor([1e4, -1e4, 0.0, 30.0, -30.0], requires_grad=True)
    for value in (0.0, 1.0, 0.25):
        target = torch.full_like(scores, value)
        ours, theirs = (
            f(scores, target, reduction="none")
            for f in (soft.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits)
        )
        torch.testing.assert_close(ours, theirs)
        (mine,), (twins,) = (torch.autograd.grad(x.sum(), scores) for x in (ours, theirs))
        torch.testing.assert_close(mine, twins)


def test_binary_cross_entropy_has_the_right_gradients() -> None:
    x = torch.tensor([0.0, 1.5, -3.0, 12.0], dtype=DOUBLE, requires_grad=True)
    y = torch.tensor([1.0, 0.0, 0.3, 1.0], dtype=DOUBLE, requires_grad=True)
    assert gradcheck(soft.binary_cross_entropy_with_logits, (x, y))
    assert gradgradcheck(soft.binary_cross_entropy_with_logits, (x, y))


# --- wrong arguments ------------------------------------------------------------------------------

X, T, P = torch.zeros(3, 4), torch.tensor([0, 1, 3]), torch.full((3, 4), 0.25)
ce, nll, bce = soft.cross_entropy, soft.nll_loss, soft.binary_cross_entropy_with_logits
WRONG_CALLS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: soft.softmax([1.0], 0), TypeError, "input: expected a tensor"),
    (lambda: soft.softmax(T, 0), TypeError, "input: expected a floating dtype"),
    (lambda: soft.softmax(X, 2), ValueError, "dim: expected an axis of input, got 2"),
    (lambda: soft.softmax(X, None), TypeError, "dim: expected an integer, got None"),
    (lambda: soft.softmax(X, True), TypeError, "dim: expected an integer, got True"),
    (lambda: soft.softmax(X[:, :0], 1), ValueError, "input: expected at least one class"),
    (lambda: soft.softmax(X[0, 0], 0), ValueError, "dim: expected an axis of input"),
    (lambda: soft.softmax_loops(T, 0), TypeError, "input: expected a floating dtype"),
    (lambda: soft.log_softmax(X, -3), ValueError, "dim: expected an axis of input, got -3"),
    (lambda: soft.log_softmax(X, 1.0), TypeError, r"dim: expected an integer, got 1\.0"),
    (lambda: soft.logsumexp(X, (0, 2)), ValueError, "dim: expected an axis of input, got 2"),
    (lambda: soft.logsumexp(X, ()), ValueError, "dim: expected at least one axis, got"),
    (lambda: soft.logsumexp(X, 1.5), TypeError, r"dim: expected an integer, got 1\.5"),
    (lambda: soft.logsumexp(T, 0), TypeError, "input: expected a floating dtype"),
    (lambda: soft.sigmoid(T), TypeError, "input: expected a floating dtype"),
    (lambda: soft.entropy(T, 0), TypeError, "probabilities: expected a floating dtype"),
    (lambda: soft.kl_divergence(P, P[:2], 1), ValueError, "probabilities: expected shape"),
    (lambda: soft.kl_divergence(P, P.double(), 1), TypeError, "probabilities: expected torch.flo"),
    (lambda: soft.one_hot(X), TypeError, "tensor: expected class indices, int64, got"),
    (lambda: soft.one_hot(T.int()), TypeError, "tensor: expected class indices, int64, got"),
    (lambda: soft.one_hot(T, 3), IndexError, "tensor: expected class indices from 0 to 2, got 0"),
    (lambda: soft.one_hot(-T, 4), IndexError, "tensor: expected class indices from 0 to 3, got -3"),
    (lambda: soft.one_hot(-T), IndexError, "tensor: expected class indices from 0 to 0, got -3"),
    (lambda: soft.one_hot(T, 0), ValueError, "num_classes: expected an integer >= 1, got 0"),
    (lambda: soft.one_hot(T, -2), ValueError, "num_classes: expected an integer >= 1, got -2"),
    (lambda: soft.one_hot(T[:0]), ValueError, "num_classes: expected a number where there is no"),
    (lambda: soft.linear(X, X.T), ValueError, r"input: expected shape \(3, 3\), got"),
    (lambda: soft.linear(X, X, X[0]), ValueError, r"bias: expected shape \(3\), got"),
    (lambda: soft.linear(X, X.double()), TypeError, "weight: expected torch.float32 like input"),
    (lambda: soft.linear(X, X[0]), ValueError, "weight: expected 2 dimensions"),
    (lambda: soft.linear(X[0, 0], X), ValueError, "input: expected shape"),
    (lambda: soft.Linear(0, 2), ValueError, "in_features: expected an integer >= 1, got 0"),
    (lambda: soft.Linear(2, 1.5), TypeError, "out_features: expected an integer"),
    (lambda: ce(X.long(), T), TypeError, "input: expected a floating dtype"),
    (lambda: ce(X[0, 0], T[0]), ValueError, "dim: expected an axis of input"),
    (lambda: ce(X[:, :0], T), ValueError, "input: expected at least one class"),
    (lambda: ce(X, [0, 1, 2]), TypeError, "target: expected a tensor"),
    (lambda: ce(X, T[:2]), ValueError, r"target: expected shape \(3\), got"),
    (lambda: ce(X, T[:, None]), ValueError, r"target: expected shape \(3\), got"),
    (lambda: ce(X[0], T[:1]), ValueError, r"target: expected shape \(\), got"),
    (lambda: ce(X, T.int()), TypeError, "target: expected class indices, int64 or uint8"),
    (lambda: ce(X, T > 0), TypeError, "target: expected class indices, int64 or uint8"),
    (lambda: ce(X, T.float()), ValueError, r"target: expected shape \(3, 4\), got"),
    (lambda: ce(X, T.to("meta")), ValueError, "target: expected device cpu like input, got"),
    (lambda: ce(X, T + 1), IndexError, "target: expected class indices from 0 to 3, got 1 to 4"),
    (lambda: ce(X, T - 1), IndexError, "target: expected class indices from 0 to 3, got -1 to 2"),
    (lambda: ce(X, T, X[0, :2]), ValueError, r"weight: expected shape \(4\), got"),
    (lambda: ce(X, T, X[0].double()), TypeError, "weight: expected torch.float32 like input"),
    (lambda: ce(X, T, reduction="avg"), ValueError, "reduction: expected one of 'none', 'mean'"),
    (lambda: ce(X, P, ignore_index=0), ValueError, "ignore_index: expected none with probabil"),
    (lambda: ce(X, T, label_smoothing=1.1), ValueError, "label_smoothing: expected a share from 0"),
    (lambda: ce(X, T, label_smoothing=-0.1), ValueError, "label_smoothing: expected a share fro"),
    (lambda: ce(X, T, label_smoothing=math.nan), ValueError, "label_smoothing: expected a share"),
    (lambda: soft.cross_entropy_loops(X, T[:2]), ValueError, r"target: expected shape \(3\), got"),
    (lambda: soft.cross_entropy_loops(X, T + 1), IndexError, "target: expected class indices"),
    (lambda: nll(X, P), TypeError, "target: expected class indices, got"),
    (lambda: nll(X, T + 1), IndexError, "target: expected class indices from 0 to 3, got 1 to 4"),
    (lambda: nll(X, T, reduction=None), ValueError, "reduction: expected one of"),
    (lambda: bce(X, T), TypeError, "target: expected torch.float32 like input, got"),
    (lambda: bce(X, P[:2]), ValueError, r"target: expected shape \(3, 4\), got"),
    (lambda: bce(X, P, reduction="avg"), ValueError, "reduction: expected one of"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), WRONG_CALLS)
def test_wrong_arguments_are_named(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


def test_an_ignored_index_may_be_out_of_range() -> None:
    target = torch.tensor([0, 99, 3])
    assert_agree(ce(X, target, ignore_index=99), F.cross_entropy(X, target, ignore_index=99))


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

# The oracle compares each target with a number.
LOOKS_AT_DATA: set[str] = {"cross_entropy_loops"}


def _indices(device: torch.device, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.int64, device=device)


CALLS: dict[str, Callable[..., Any]] = {
    "linear": lambda make, device: soft.linear(make(5, 3), make(4, 3), make(4)),
    "Linear": lambda make, device: [
        soft.Linear(3, 4, device=device),
        soft.Linear(3, 4, device=device)(make(5, 3)),
    ],
    "softmax_loops": lambda make, device: soft.softmax_loops(make(2, 3), 1),
    "softmax": lambda make, device: soft.softmax(make(2, 3), 1, torch.float64),
    "logsumexp": lambda make, device: soft.logsumexp(make(2, 3, 4), (0, 2)),
    "log_softmax": lambda make, device: soft.log_softmax(make(2, 3), 1),
    "sigmoid": lambda make, device: soft.sigmoid(make(3)),
    "entropy": lambda make, device: soft.entropy(make(2, 3), 1),
    "kl_divergence": lambda make, device: soft.kl_divergence(make(2, 3), make(2, 3), 1),
    "one_hot": lambda make, device: soft.one_hot(_indices(device, 3), 5),
    "nll_loss": lambda make, device: soft.nll_loss(make(2, 3), _indices(device, 2), make(3), 1),
    "cross_entropy_loops": lambda make, device: soft.cross_entropy_loops(
        make(2, 3), _indices(device, 2), make(3), 1, "mean", 0.1
    ),
    "cross_entropy": lambda make, device: (
        [
            soft.cross_entropy(
                make(2, 3, 4), _indices(device, 2, 4), make(3), 1, reduction, smoothing
            )
            for reduction in soft.REDUCTIONS
            for smoothing in (0.0, 0.1)
        ]
        + [soft.cross_entropy(make(3), make(3), make(3), -100, "mean", 0.1)]
        + [_slopes(make, device, powers) for powers in (None, make(4, 3))]
    ),
    "binary_cross_entropy_with_logits": lambda make, device: soft.binary_cross_entropy_with_logits(
        make(2, 3), make(2, 3), make(3), "mean", make(3)
    ),
}


def _slopes(make: Callable[..., Tensor], device: torch.device, powers: Tensor | None) -> Tensor:
    """The backward pass, called by hand: the engine wants a device that is really there."""
    saved = make(4, 3), _indices(device, 4), make(4)
    with torch.no_grad():
        return soft._CrossEntropy.backward(
            SimpleNamespace(saved_tensors=saved, powers=powers), make(4)
        )[0]


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def _rows(scores: Tensor, target: Tensor) -> list[Tensor]:
    """The loss of each example, one at a time, with torch's own functions."""
    return [torch.logsumexp(row, 0) - row[t] for row, t in zip(scores, target, strict=True)]


def _gradient_by_autograd(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    leaf = scores.clone().requires_grad_()
    F.cross_entropy(leaf, target, weight).backward()
    assert leaf.grad is not None
    return leaf.grad


def _gradient_in_place(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    slopes = torch.softmax(scores, dim=1)
    slopes[torch.arange(len(target)), target] -= 1
    return slopes * (weight[target] / weight[target].sum())[:, None]


def _error(scores: Tensor, target: Tensor) -> Tensor:
    return torch.softmax(scores, 1) - F.one_hot(target, scores.shape[1])


def _broken(scores: Tensor, target: Tensor) -> Tensor:
    """The listing of the exercise."""
    kept = target != -100
    log_p = soft.log_softmax(scores, 1)
    losses = -log_p[torch.arange(len(target)), target.clamp(min=0)]
    return (losses * kept).mean()


def _smooth_targets(scores: Tensor, target: Tensor, epsilon: float) -> Tensor:
    hot = F.one_hot(target, scores.shape[1])
    return (1 - epsilon) * hot + epsilon / scores.shape[1]


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-softmax-predict": [
        [[0.1, 0.3, 0.6], [0.1, -0.7, 0.6]],
        (torch.tensor([1.0, 3, 6]) / 10, torch.tensor([1.0, -7, 6]) / 10),
    ],
    "ex-softmax-start": [(4.61, 4.61, 3.62), (4.605, 4.605, 3.622), [4.6052, 4.6052, 3.6223]],
    "ex-softmax-log": [
        lambda scores: scores - torch.logsumexp(scores, 3, keepdim=True),
        lambda scores: torch.stack([row - row.max() - (row - row.max()).exp().sum().log()
                                    for row in scores.flatten(0, 2)]).reshape(scores.shape),
        lambda scores: F.log_softmax(scores, dim=-1),
    ],
    "ex-softmax-gradient": [
        _gradient_by_autograd,
        _gradient_in_place,
        lambda scores, target, weight: (
            (weight[target] / weight[target].sum()).diag() @ _error(scores, target)
        ),
    ],
    "ex-softmax-bug": [
        lambda scores, target: F.cross_entropy(scores[target >= 0], target[target >= 0]),
        lambda scores, target: sum(_rows(scores[target != -100], target[target != -100]))
        / (target != -100).sum(),
    ],
    "ex-softmax-smoothing": [
        lambda scores, target, epsilon: F.cross_entropy(
            scores, _smooth_targets(scores, target, epsilon)
        ),
        lambda scores, target, epsilon: (
            (1 - epsilon) * F.cross_entropy(scores, target)
            - epsilon * F.log_softmax(scores, 1).mean(1).mean()
        ),
    ],
}  # fmt: skip

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-softmax-predict": [
        (((1, 3, 6), (1, 2, 6)), "divide by their sum"),
        (((0.1, 0.3, 0.6), (-0.1, 0.7, -0.6)), "wrong sign"),
        (((0.1, 0.3, 0.6), (0.1, 0.3, 0.6)), "must be negative"),
        (((0.1, 0.3, 0.6), (-0.9, 0.3, 0.6)), "counted from 0"),
        (((0.1, 0.3, 0.6), (0, -0.7, 0)), "wrong classes matter"),
        (((0.1, 0.3, 0.6), (0.1, 0.3, -0.4)), "compares"),
        (((0.1, 0.3, 0.6), (0.1, -0.7, 0.4)), "compares"),
        (((0.1, 0.3, 0.6), (..., ..., ...)), "compares"),
        (((0.1, 0.3, 0.6), (0.1, ..., 0.6)), "compares"),
        (((0.0, 0.38, 0.62), (0.0, -0.62, 0.62)), ""),
        ((0.1, 0.3, 0.6), ""),
    ],
    "ex-softmax-start": [
        ((2, 2, 1.5731), "natural"),
        ((6.6439, 6.6439, 5.2259), "bits"),
        ((0.01, 0.01, 0.026724), "minus their logarithm"),
        ((-4.605, -4.605, -3.622), "minus that"),
        ((4.605, 4.605, 0), "once more"),
        ((4.605, 4.605, 3.632), "how many"),
        ((4.605, 4.605, 1.461), "ten classes"),
        ((4.61, 4.61, ...), "second softmax see"),
        ((4.61, 4.61, 2.0), "second softmax see"),
        ((4.61, 3.62, 3.62), "equal scores"),
        ((4.61, ..., ...), "equal scores"),
        ((4.6, 4.6, 3.6), "second softmax see"),
        ((2.303, 2.303, 1.461), ""),
        ((0, 0, 0), ""),
    ],
    "ex-softmax-log": [
        (lambda scores: (scores.exp() / scores.exp().sum(-1)[..., None]).log(), "shift the scores"),
        (lambda scores: scores - scores.exp().sum(-1, keepdim=True).log(), "overflow"),
        (lambda scores: torch.softmax(scores, 3).log(), "rounded to 0"),
        (lambda scores: torch.log_softmax(scores, 1), "Axis 1"),
        (lambda scores: torch.softmax(scores, 3), "logarithms are asked for"),
        (
            lambda scores: (
                (scores - scores.max()) - (scores - scores.max()).exp().sum(3, keepdim=True).log()
            ),
            "One maximum",
        ),
        (
            lambda scores: (
                scores - (scores - scores.max(3)[0][..., None]).exp().sum(3).log()[..., None]
            ),
            "in front",
        ),
        (lambda scores: scores - torch.logsumexp(scores, 3), "keepdim"),
        (
            lambda scores: scores - scores.amax(3) - (scores - scores.amax(3)).exp().sum(3).log(),
            "keepdim",
        ),
        (
            lambda scores: (
                (scores - scores.amax(3, keepdim=True))
                - (scores - scores.amax(3, keepdim=True)).exp().sum(3).log()
            ),
            "keepdim",
        ),
        (lambda scores: torch.log_softmax(scores, 0), ""),
        (lambda scores: torch.log_softmax(scores, 2), ""),
        (lambda scores: -torch.log_softmax(scores, 3), ""),
        (lambda scores: (torch.softmax(scores, 3) + 1e-12).log(), ""),
        (lambda scores: torch.log_softmax(scores.clamp(-700, 700), 3), ""),
        (lambda scores: torch.log_softmax(scores, 3) / math.log(10), ""),
    ],
    "ex-softmax-gradient": [
        (
            lambda scores, target, weight: _error(scores, target) * weight[target][:, None],
            "weighted sum",
        ),
        (
            lambda scores, target, weight: (
                (_error(scores, target) * weight[target][:, None]) / len(scores)
            ),
            "sum of their weights",
        ),
        (
            lambda scores, target, weight: (
                (_error(scores, target) * weight[target][:, None]) / weight.sum()
            ),
            "all classes",
        ),
        (lambda scores, target, weight: _error(scores, target) / len(scores), "counts alike"),
        (
            lambda scores, target, weight: _error(scores, target) * weight / weight[target].sum(),
            "Each column",
        ),
        (lambda scores, target, weight: -_gradient_in_place(scores, target, weight), "downhill"),
        (
            lambda scores, target, weight: (
                torch.softmax(scores, 1) * (weight[target] / weight[target].sum())[:, None]
            ),
            "truth is missing",
        ),
        (
            lambda scores, target, weight: (
                (torch.softmax(scores, 0) - F.one_hot(target, scores.shape[1]))
                * (weight[target] / weight[target].sum())[:, None]
            ),
            "axis of softmax",
        ),
        (
            lambda scores, target, weight: (
                (scores.exp() / scores.exp().sum(1)[:, None] - F.one_hot(target, len(weight)))
                * (weight[target] / weight[target].sum())[:, None]
            ),
            "A score of 1000",
        ),
        (
            lambda scores, target, weight: (
                (torch.softmax(scores, 1) - F.one_hot(target))
                * (weight[target] / weight[target].sum())[:, None]
            ),
            "tell one_hot",
        ),
        (lambda scores, target, weight: _error(scores, target), ""),
        (lambda scores, target, weight: _gradient_in_place(scores, target, weight).sum(0), ""),
        (lambda scores, target, weight: F.cross_entropy(scores, target, weight), ""),
    ],
    "ex-softmax-bug": [
        (_broken, "still divided by all"),
        (
            lambda scores, target: torch.stack(_rows(scores, target.clamp(min=0))).mean(),
            "as if they were of class 0",
        ),
        (lambda scores, target: F.cross_entropy(scores, target, reduction="sum"), "not yet"),
        (lambda scores, target: F.cross_entropy(scores[target > 0], target[target > 0]), "Class 0"),
        (
            lambda scores, target: F.cross_entropy(
                scores[target >= 0], target[target >= 0], reduction="none"
            ),
            "their mean is asked for",
        ),
        (
            lambda scores, target: (
                F.cross_entropy(scores, target, reduction="sum") / (target < 0).sum()
            ),
            "turned round",
        ),
        (
            lambda scores, target: (
                (losses := F.cross_entropy(scores, target, reduction="none")).sum()
                / (losses != 0).sum()
            ),
            "exactly 0",
        ),
        (lambda scores, target: F.cross_entropy(scores, target, reduction="none"), ""),
        (lambda scores, target: F.cross_entropy(scores, target, ignore_index=0), ""),
    ],
    "ex-softmax-smoothing": [
        (lambda scores, target, epsilon: F.cross_entropy(scores, target), "no smoothing"),
        (
            lambda scores, target, epsilon: F.cross_entropy(
                scores,
                torch.full_like(scores, epsilon / (scores.shape[1] - 1)).scatter(
                    1, target[:, None], 1 - epsilon
                ),
            ),
            "goes to the others",
        ),
        (
            lambda scores, target, epsilon: F.cross_entropy(
                scores,
                torch.full_like(scores, epsilon / scores.shape[1]).scatter(
                    1, target[:, None], 1 - epsilon
                ),
            ),
            "less than one",
        ),
        (
            lambda scores, target, epsilon: F.cross_entropy(
                scores, target, label_smoothing=epsilon, reduction="sum"
            ),
            "their mean",
        ),
        (
            lambda scores, target, epsilon: F.cross_entropy(
                scores, target, label_smoothing=1 - epsilon
            ),
            "swapped",
        ),
        (
            lambda scores, target, epsilon: (1 - epsilon) * F.cross_entropy(scores, target),
            "has a loss too",
        ),
        (
            lambda scores, target, epsilon: F.cross_entropy(
                scores, F.one_hot(target, scores.shape[1]) + epsilon / scores.shape[1]
            ),
            "",
        ),
        (
            lambda scores, target, epsilon: F.cross_entropy(
                torch.softmax(scores, 1), target, label_smoothing=epsilon
            ),
            "",
        ),
        (
            lambda scores, target, epsilon: F.cross_entropy(
                scores, target, label_smoothing=epsilon, reduction="none"
            ),
            "",
        ),
    ],
}
