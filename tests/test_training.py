"""The package `course_lib.training`: its engine and schedules, every function on CUDA, exercises.

Optimisers, layers and the loop have files of their own: ``test_training_*.py``.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import training as topic
from course_lib.training import Value

# --- the package ----------------------------------------------------------------------------------

SOURCES = sorted(Path(inspect.getfile(topic)).parent.glob("*.py"))


def test_every_module_cites_equations_that_the_chapter_has() -> None:
    named = set(re.findall(r"training-[a-z-]+", topic.__doc__ or ""))
    cited = {
        label
        for path in SOURCES
        for label in re.findall(r"\((training-[a-z-]+)\)", path.read_text("utf-8"))
    }
    assert cited == named


def test_what_is_public_is_listed() -> None:
    public = {name for name, value in vars(topic).items() if not name.startswith("_")}
    assert set(topic.__all__) == {
        name for name in public if not inspect.ismodule(vars(topic)[name])
    }


# --- the engine -----------------------------------------------------------------------------------

UNARY: list[Callable[[Any], Any]] = [
    lambda v: -v,
    lambda v: v.exp(),
    lambda v: v.log(),
    lambda v: v.tanh(),
    lambda v: v.relu(),
    lambda v: v + 2.5,
    lambda v: 2.5 + v,
    lambda v: v - 1.5,
    lambda v: 1.5 - v,
    lambda v: v * 0.5,
    lambda v: -0.5 * v,
    lambda v: v / 3.0,
    lambda v: 3.0 / v,
    lambda v: v**0,
    lambda v: v**1,
    lambda v: v**2,
    lambda v: v**3,
    lambda v: v**-1,
    lambda v: v**-2,
    lambda v: v**0.5,
]
BINARY: list[Callable[[Any, Any], Any]] = [
    lambda v, w: v + w,
    lambda v, w: v - w,
    lambda v, w: v * w,
    lambda v, w: v / w,
]


def tensors(*numbers: float) -> list[Tensor]:
    return [torch.tensor(n, dtype=torch.float64, requires_grad=True) for n in numbers]


def assert_same_gradients(ours: Any, mine: list[Value], theirs: Any, leaves: list[Tensor]) -> None:
    """Compare value and gradients; ``ours`` is asked to go back here, ``theirs`` too."""
    assert ours.data == pytest.approx(theirs.item(), rel=1e-12, abs=1e-12)
    ours.backward()
    theirs.backward()
    for value, leaf in zip(mine, leaves, strict=True):
        expected = 0.0 if leaf.grad is None else leaf.grad.item()
        assert value.grad == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("operation", UNARY)
@pytest.mark.parametrize("number", [0.3, 1.0, 2.5])
def test_operation_of_one_value(operation: Callable[[Any], Any], number: float) -> None:
    mine, (leaf,) = Value(number), tensors(number)
    assert_same_gradients(operation(mine), [mine], operation(leaf), [leaf])


@pytest.mark.parametrize("operation", BINARY)
@pytest.mark.parametrize("numbers", [(0.3, -1.2), (-2.0, 0.5), (1.0, 1.0)])
def test_operation_of_two_values(
    operation: Callable[[Any, Any], Any], numbers: tuple[float, float]
) -> None:
    mine, leaves = [Value(n) for n in numbers], tensors(*numbers)
    assert_same_gradients(operation(*mine), mine, operation(*leaves), leaves)


# Operations that keep numbers small, so that rounding stays small too, at any depth.
TAME: list[Callable[[Any], Any]] = [
    lambda v: -v,
    lambda v: (0.3 * v).exp(),
    lambda v: (v * v + 1.0).log(),
    lambda v: v.tanh(),
    lambda v: v.relu(),
    lambda v: 0.1 * v**3,
    lambda v: 1.5 / (v**2 + 0.5),
    lambda v: 0.5 - v / 4.0,
    lambda v: (v * v + 0.1) ** 0.5,
]
TAME_PAIRS: list[Callable[[Any, Any], Any]] = [
    lambda v, w: v + w,
    lambda v, w: v - w,
    lambda v, w: v * w,
    lambda v, w: v / (w * w + 1.0),
]


@given(
    start=st.lists(st.floats(-2, 2), min_size=1, max_size=4),
    steps=st.lists(st.tuples(*[st.integers(0, 99)] * 4), max_size=25),
)
def test_random_expression(start: list[float], steps: list[tuple[int, int, int, int]]) -> None:
    at_kinks: list[float] = []

    def build(values: list[Any]) -> Any:
        for kind, pair_kind, first, second in steps:
            one, other = values[first % len(values)], values[second % len(values)]
            middle = TAME_PAIRS[pair_kind % len(TAME_PAIRS)](one, other).tanh()
            if kind % len(TAME) == 4:
                at_kinks.append(float(middle.data))
            values.append(TAME[kind % len(TAME)](middle))
        return sum(values)

    leaves = tensors(*start)
    theirs = build(list(leaves))
    assume(all(abs(number) > 1e-6 for number in at_kinks))
    mine = [Value(number) for number in start]
    assert_same_gradients(build(list(mine)), mine, theirs, leaves)


def test_value_used_many_times_hears_from_every_user() -> None:
    x = Value(3.0)
    (x * x + x).backward()
    assert x.grad == 7


def test_shared_value_is_visited_after_all_its_users() -> None:
    x = Value(2.0)
    square = x * x
    (square * square.tanh() + square.log() + x).backward()
    (leaf,) = tensors(2.0)
    twin = leaf * leaf
    (twin * twin.tanh() + twin.log() + leaf).backward()
    assert x.grad == pytest.approx(leaf.grad.item(), rel=1e-14)


def test_gradients_add_up_over_calls_as_in_torch() -> None:
    mine, (leaf,) = Value(1.5), tensors(1.5)
    ours, theirs = (mine * mine).exp(), (leaf * leaf).exp()
    for _ in range(3):
        ours.backward()
        theirs.backward(retain_graph=True)
    assert mine.grad == pytest.approx(leaf.grad.item(), rel=1e-14)


def test_two_results_share_a_leaf() -> None:
    mine, (leaf,) = Value(0.5), tensors(0.5)
    for x in (mine, leaf):
        middle = x * 2.0
        middle.exp().backward()
        (x.tanh() * 3.0).backward()
    assert mine.grad == pytest.approx(leaf.grad.item(), rel=1e-14)


def test_kinks_are_as_in_torch() -> None:
    for function in (lambda v: v.relu(), lambda v: v**0, lambda v: v**1, lambda v: v**2):
        mine, (leaf,) = Value(0.0), tensors(0.0)
        assert_same_gradients(function(mine), [mine], function(leaf), [leaf])


def test_long_chain_needs_no_deep_recursion() -> None:
    x = total = Value(1.0)
    for _ in range(20_000):
        total = total + x
    total.backward()
    assert x.grad == 20_001


def test_graph_can_be_drawn() -> None:
    a, b = Value(2.0), Value(3.0)
    product = a * b
    assert product.operation == "×"
    assert product.parents == ((a, 3.0), (b, 2.0))
    assert repr(product) == "Value(6, grad=0)"


def test_exponent_is_a_plain_number() -> None:
    with pytest.raises(TypeError, match="exponent: expected a plain number, got Value"):
        Value(2.0) ** Value(3.0)


def test_engine_has_fewer_than_a_hundred_lines_of_code() -> None:
    """Without blank lines, comments and docstrings."""
    path = next(path for path in SOURCES if path.stem == "engine")
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if documented and ast.get_docstring(node) is not None:
            node.body[:1] = [ast.Pass()]
    assert len([line for line in ast.unparse(tree).splitlines() if line.strip() != "pass"]) < 100


# --- schedules ------------------------------------------------------------------------------------


def factors_of(make: Callable[[Any], Any], steps: int) -> list[float]:
    """The step sizes that a scheduler of torch gives an optimiser of step size 1."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


torch_schedules = torch.optim.lr_scheduler


def warmup_cosine_of_torch(optimizer: Any) -> Any:
    return torch_schedules.SequentialLR(
        optimizer,
        [
            torch_schedules.LinearLR(optimizer, 1 / 5, total_iters=4),
            torch_schedules.CosineAnnealingLR(optimizer, 25, eta_min=0.1),
        ],
        milestones=[5],
    )


def one_cycle_of_torch(total: int, **options: float) -> Callable[[Any], Any]:
    return lambda optimizer: torch_schedules.OneCycleLR(
        optimizer, 1.0, total, cycle_momentum=False, **options
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "steps"),
    [
        (topic.constant, lambda o: torch_schedules.ConstantLR(o, 1.0), 20),
        (lambda s: topic.step_decay(s, 7), lambda o: torch_schedules.StepLR(o, 7), 30),
        (lambda s: topic.step_decay(s, 1, 0.5), lambda o: torch_schedules.StepLR(o, 1, 0.5), 9),
        (
            lambda s: topic.exponential_decay(s, 0.9),
            lambda o: torch_schedules.ExponentialLR(o, 0.9),
            30,
        ),
        (lambda s: topic.cosine(s, 20), lambda o: torch_schedules.CosineAnnealingLR(o, 20), 21),
        (
            lambda s: topic.cosine(s, 1, 0.3),
            lambda o: torch_schedules.CosineAnnealingLR(o, 1, eta_min=0.3),
            2,
        ),
        (
            lambda s: topic.warmup(s, 8),
            lambda o: torch_schedules.LinearLR(o, 1 / 8, total_iters=7),
            20,
        ),
        (lambda s: topic.warmup_cosine(s, 30, 5, 0.1), warmup_cosine_of_torch, 31),
        (lambda s: topic.one_cycle(s, 20), one_cycle_of_torch(20), 20),
        (lambda s: topic.one_cycle(s, 3), one_cycle_of_torch(3), 3),
        (
            lambda s: topic.one_cycle(s, 33, 0.5, 0.1, 1e-3),
            one_cycle_of_torch(33, pct_start=0.5, div_factor=10, final_div_factor=100),
            33,
        ),
    ],
)
def test_schedule_is_torchs(
    ours: Callable[[int], float], theirs: Callable[[Any], Any], steps: int
) -> None:
    assert [ours(s) for s in range(steps)] == pytest.approx(factors_of(theirs, steps), abs=1e-12)


def test_schedules_stay_at_their_end() -> None:
    assert topic.cosine(1000, 10, 0.2) == pytest.approx(0.2)
    assert topic.warmup(1000, 10) == 1
    assert topic.warmup_cosine(1000, 20, 10, 0.2) == pytest.approx(0.2)
    assert topic.one_cycle(1000, 20, final=0.2) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: topic.step_decay(3, 0), "every: expected an integer >= 1"),
        (lambda: topic.cosine(3, 0), "total: expected an integer >= 1"),
        (lambda: topic.warmup(3, 0), "steps: expected an integer >= 1"),
        (lambda: topic.warmup_cosine(3, 5, 5), "total: expected an integer >= 6"),
        (lambda: topic.one_cycle(3, 1), "total: expected an integer >= 2"),
        (lambda: topic.one_cycle(3, 10, 1.0), "rise: expected a finite number >= 0 < 1"),
    ],
)
def test_schedule_refuses(call: Callable[[], float], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

# The functions whose result's shape depends on the numbers in a tensor, and those that read one.
LOOKS_AT_DATA = {"dropout_loops", "evaluate", "find_learning_rate", "fit"}


class _OnDevice(nn.Sequential):
    """A model that is there already: without a GPU there is no way to move one."""

    def to(self, *args: Any, **kwargs: Any) -> _OnDevice:
        return self


def _train(call: Callable[..., Any], device: torch.device) -> list[Tensor]:
    """Call ``fit`` or its like on data of the CPU; what it changed must be on the device.

    Without a GPU there is no backward pass on one either: each gradient is a row of ones.
    """
    model = _OnDevice(
        nn.Linear(3, 2, device=device), topic.BatchNorm1d(2, device=device), topic.Dropout()
    )
    optimizer = topic.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def backward(loss: Tensor) -> None:
        assert loss.device == device
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)

    with mock.patch.object(Tensor, "backward", backward):
        call(model, (torch.ones(5, 3), torch.zeros(5, 2)), optimizer, device)
    moved = [value for state in optimizer.state.values() for value in state.values()]
    return [*model.state_dict().values(), *moved]


def _fit(model: nn.Module, data: Any, optimizer: Any, device: torch.device) -> None:
    options = {"clip_norm": 1.0, "patience": 1, "progress": False}
    topic.fit(
        model, F.mse_loss, data, validation=data, metrics={"size": lambda o, t: o.square().mean()},
        optimizer=optimizer, epochs=2, batch_size=3, device=device, **options,
    )  # fmt: skip


def _evaluate(model: nn.Module, data: Any, optimizer: Any, device: torch.device) -> None:
    topic.evaluate(model, F.mse_loss, data, device=device)


def _search(model: nn.Module, data: Any, optimizer: Any, device: torch.device) -> None:
    topic.find_learning_rate(
        model, F.mse_loss, data, optimizer=optimizer, steps=4, batch_size=3, device=device
    )


def _with_gradient(make: Callable[..., Tensor]) -> Tensor:
    parameter = make(3).requires_grad_()
    parameter.grad = make(3)
    return parameter


CALLS: dict[str, Callable[..., Any]] = {
    "sgd_step_": lambda make, device: topic.sgd_step_(make(3), make(3), {}, lr=0.1, momentum=0.9),
    "rmsprop_step_": lambda make, device: topic.rmsprop_step_(
        make(3), make(3), {}, lr=0.1, centered=True, momentum=0.9
    ),
    "adam_step_": lambda make, device: topic.adam_step_(make(3), make(3), {}, lr=0.1, amsgrad=True),
    "adamw_step_": lambda make, device: topic.adamw_step_(make(3), make(3), {}, lr=0.1),
    "constant": lambda make, device: topic.constant(3),
    "step_decay": lambda make, device: topic.step_decay(3, 2),
    "exponential_decay": lambda make, device: topic.exponential_decay(3, 0.9),
    "cosine": lambda make, device: topic.cosine(3, 9),
    "warmup": lambda make, device: topic.warmup(3, 9),
    "warmup_cosine": lambda make, device: topic.warmup_cosine(3, 9, 2),
    "one_cycle": lambda make, device: topic.one_cycle(3, 9),
    "calculate_gain": lambda make, device: topic.calculate_gain("relu"),
    "xavier_uniform_": lambda make, device: topic.xavier_uniform_(make(3, 2)),
    "xavier_normal_": lambda make, device: topic.xavier_normal_(make(3, 2)),
    "kaiming_uniform_": lambda make, device: topic.kaiming_uniform_(make(3, 2, 3, 3)),
    "kaiming_normal_": lambda make, device: topic.kaiming_normal_(make(3, 2, 3, 3)),
    "clip_grad_norm_": lambda make, device: topic.clip_grad_norm_([_with_gradient(make)], 1.0),
    "batch_norm_loops": lambda make, device: topic.batch_norm_loops(
        make(4, 2), make(2), make(2), make(2), make(2), training=True
    ),
    "batch_norm": lambda make, device: topic.batch_norm(
        make(4, 2, 3, 3), make(2), make(2), make(2), make(2), training=True
    ),
    "batch_norm_backward": lambda make, device: topic.batch_norm_backward(
        make(4, 2, 3), make(4, 2, 3), make(2)
    ),
    "BatchNorm1d": lambda make, device: (
        topic.BatchNorm1d(3, momentum=None, device=device)(make(4, 3)),
        topic.BatchNorm1d(3, device=device),
    ),
    "BatchNorm2d": lambda make, device: (
        topic.BatchNorm2d(3, device=device)(make(4, 3, 2, 2)),
        topic.BatchNorm2d(3, device=device),
    ),
    "layer_norm_loops": lambda make, device: topic.layer_norm_loops(
        make(2, 3), [3], make(3), make(3)
    ),
    "layer_norm": lambda make, device: topic.layer_norm(make(2, 3), [3], make(3), make(3)),
    "LayerNorm": lambda make, device: (
        topic.LayerNorm(3, device=device)(make(2, 3)),
        topic.LayerNorm(3, device=device),
    ),
    "dropout_loops": lambda make, device: topic.dropout_loops(make(3)),
    "dropout": lambda make, device: topic.dropout(make(3)),
    "Dropout": lambda make, device: topic.Dropout()(make(3)),
    "fit": lambda make, device: _train(_fit, device),
    "evaluate": lambda make, device: _train(_evaluate, device),
    "find_learning_rate": lambda make, device: _train(_search, device),
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def _momentum_in_place(weight: Tensor, gradient: Tensor, velocity: Tensor, lr: float, mu: float):
    velocity.mul_(mu).add_(gradient)
    return weight.sub_(lr * velocity), velocity


def _momentum_by_torch(weight: Tensor, gradient: Tensor, velocity: Tensor, lr: float, mu: float):
    weight.requires_grad_()
    weight.grad = gradient
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=mu)
    optimizer.state[weight]["momentum_buffer"] = velocity
    optimizer.step()
    return weight, optimizer.state[weight]["momentum_buffer"]


def _adam_by_torch(weight: Tensor, gradients: Tensor, lr: float, eps: float) -> Tensor:
    weight = weight.requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=lr, eps=eps)
    for gradient in gradients:
        weight.grad = gradient
        optimizer.step()
    return weight


def _adam_by_hand(weight, gradients, lr, eps, first=0.9, second=0.999, start=1, sign=1):
    m = v = 0
    for t, g in enumerate(gradients, start):
        m = first * m + (1 - first) * g
        v = second * v + (1 - second) * g * g
        m_hat, v_hat = m / (1 - first**t), v / (1 - second**t)
        weight = weight - sign * lr * m_hat / (v_hat**0.5 + eps)
    return weight


def _adam_broken(weight: Tensor, gradients: Tensor, lr: float, eps: float) -> Tensor:
    m = v = torch.zeros_like(weight)
    for g in gradients:
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g**2
        weight = weight - lr * m / (v.sqrt() + eps)
    return weight


def _adam_second_form(weight: Tensor, gradients: Tensor, lr: float, eps: float) -> Tensor:
    m = v = torch.zeros_like(weight)
    for t, g in enumerate(gradients, 1):
        m, v = torch.lerp(g, m, 0.9), torch.lerp(g**2, v, 0.999)
        longer = (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        weight = weight - lr * longer * m / (v**0.5 + eps)
    return weight


def _loop_with_autograd(
    weight, inputs, targets, lr, clear_before=True, clear_between=False, mean=True
):
    weight = weight.clone().requires_grad_()
    for batch, wanted in zip(inputs, targets, strict=True):
        if clear_before:
            weight.grad = None
        error = (batch @ weight - wanted) ** 2
        (error.mean() if mean else error.sum()).backward()
        if clear_between:
            weight.grad.zero_()
        with torch.no_grad():
            weight -= lr * weight.grad
    return weight


def _loop_with_optimizer(weight, inputs, targets, lr, clear=True):
    weight = torch.nn.Parameter(weight)
    optimizer = torch.optim.SGD([weight], lr=lr)
    for batch, wanted in zip(inputs, targets, strict=True):
        loss = torch.nn.functional.mse_loss(batch @ weight, wanted)
        loss.backward()
        optimizer.step()
        if clear:
            optimizer.zero_grad()
    return weight.data


def _loop_first_only(weight, inputs, targets, lr):
    for batch, wanted in zip(inputs, targets, strict=True):
        return weight - lr * 2 * batch.T @ (batch @ weight - wanted) / len(wanted)
    return weight


def _loop_backward_last(weight, inputs, targets, lr):
    weight = weight.clone().requires_grad_()
    for batch, wanted in zip(inputs, targets, strict=True):
        loss = ((batch @ weight - wanted) ** 2).mean()
        (gradient,) = torch.autograd.grad(loss, weight)
        with torch.no_grad():
            weight -= lr * (0 if weight.grad is None else weight.grad)
        weight.grad = gradient
    return weight


def _warmup_then_cosine(step: int, total: int, warmup: int) -> float:
    if step + 1 <= warmup:
        return (step + 1) / warmup
    return math.cos(math.pi / 2 * (step - warmup) / (total - warmup)) ** 2


def _scheduler_of_torch(step: int, total: int, warmup: int) -> float:
    angle = math.pi * (step - warmup) / (total - warmup)
    return torch.where(
        torch.tensor(step < warmup),
        torch.tensor((step + 1) / warmup, dtype=torch.float64),
        0.5 + 0.5 * torch.cos(torch.tensor(angle, dtype=torch.float64)),
    ).item()


def _clip_by_torch(first: Tensor, second: Tensor, limit: float):
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in (first, second)]
    for parameter, gradient in zip(parameters, (first, second), strict=True):
        parameter.grad = gradient
    torch.nn.utils.clip_grad_norm_(parameters, limit)
    return [parameter.grad for parameter in parameters]


def _clip_if_long(first: Tensor, second: Tensor, limit: float):
    length = math.sqrt(float((first**2).sum() + (second**2).sum()))
    if length <= limit:
        return first, second
    return first * limit / length, second * limit / length


def _clip_each(first: Tensor, second: Tensor, limit: float):
    return tuple(g if g.norm() <= limit else g * limit / g.norm() for g in (first, second))


def _clip_swapped(first: Tensor, second: Tensor, limit: float):
    return _clip_if_long(first, second, limit)[::-1]


def _norm_backward_written_out(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    rows = []
    for row, g in zip(x, gradient, strict=True):
        centred = row - row.mean()
        sigma = torch.sqrt((centred**2).mean() + eps)
        share = (g * centred).mean() / sigma**2
        rows.append((g - g.mean() - centred * share) / sigma)
    return torch.stack(rows)


def _norm_backward_by_jacobian(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    def normalise(row: Tensor) -> Tensor:
        return (row - row.mean()) / (row.var(correction=0) + eps).sqrt()

    return torch.stack(
        [
            torch.autograd.functional.jacobian(normalise, row).T @ g
            for row, g in zip(x, gradient, strict=True)
        ]
    )


def _norm_backward(x, gradient, eps, dim=1, correction=0, keep_mean=True, keep_spread=True):
    scale = (x.var(dim, keepdim=True, correction=correction) + eps).sqrt()
    normal = (x - x.mean(dim, keepdim=True)) / scale
    result = gradient
    if keep_mean:
        result = result - gradient.mean(dim, keepdim=True)
    if keep_spread:
        result = result - normal * (gradient * normal).mean(dim, keepdim=True)
    return result / scale


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-training-backprop": [[-6.0, 6.0, -18.0], torch.tensor([-6, 6, -18])],
    "ex-training-steps": [
        [22, 3, 660],
        (math.ceil(1347 / 64), 1347 % 64, 30 * math.ceil(1347 / 64)),
    ],
    "ex-training-momentum": [_momentum_in_place, _momentum_by_torch],
    "ex-training-adam": [_adam_by_torch, _adam_by_hand],
    "ex-training-loop": [_loop_with_autograd, _loop_with_optimizer],
    "ex-training-schedule": [_warmup_then_cosine, _scheduler_of_torch],
    "ex-training-clip": [_clip_by_torch, _clip_if_long],
    "ex-training-norm-gradient": [_norm_backward_written_out, _norm_backward_by_jacobian],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-training-backprop": [
        ((-6, 12, -18), "into the sum. The second is missing"),
        ((-6, -6, -18), "into the product. The second is missing"),
        ((-6, -72, -18), "added, not multiplied"),
        ((-3, 3, -9), "twice its base"),
        ((-6, -24, 12), "as the other is large"),
        ((-6, 18, -18), "sign"),
        ((6, -6, 18), "grow or shrink"),
        ((6, 6, 18), ""),
        ((9, 6, -18), ""),
        ((-6, 6), ""),
    ],
    "ex-training-steps": [
        ((21, 64, 630), "a smaller one"),
        ((21, 3, 630), "so a step"),
        ((22, 64, 660), "not full"),
        ((22, 61, 660), "missing in the last batch"),
        ((22, 3, 30 * 1347), "counts scans"),
        ((22, 3, 30), "not one step"),
        ((21.05, 3, 631.4), ""),
    ],
    "ex-training-momentum": [
        (lambda w, g, v, lr, mu: (w - lr * g, v), "plain step"),
        (lambda w, g, v, lr, mu: (w - lr * g, mu * v + g), "along the gradient"),
        (lambda w, g, v, lr, mu: (w - lr * v, mu * v + g), "old velocity"),
        (lambda w, g, v, lr, mu: (w - (mu * v + lr * g), mu * v + lr * g), "where does η stand"),
        (
            lambda w, g, v, lr, mu: (w - lr * torch.lerp(g, v, mu), torch.lerp(g, v, mu)),
            "weighted down",
        ),
        (lambda w, g, v, lr, mu: (w - lr * (v + g), v + g), "without end"),
        (lambda w, g, v, lr, mu: (w - lr * (g + mu * (mu * v + g)), mu * v + g), "Nesterov"),
        (lambda w, g, v, lr, mu: (w + lr * (mu * v + g), mu * v + g), "climbs"),
        (lambda w, g, v, lr, mu: (mu * v + g, w - lr * (mu * v + g)), "weight comes first"),
        (lambda w, g, v, lr, mu: w - lr * (mu * v + g), ""),
        (lambda w, g, v, lr, mu: (w - lr * (v + mu * g), v + mu * g), ""),
    ],
    "ex-training-adam": [
        (_adam_broken, "still there"),
        (lambda w, g, lr, eps: _adam_by_hand(w, g, lr, eps, start=0), "number 1, not number 0"),
        (_adam_second_form, "reaches ε"),
        (lambda w, g, lr, eps: _adam_by_hand(w, g, lr, eps, first=0.99), ""),
        (lambda w, g, lr, eps: _adam_by_hand(w, g, lr, eps, sign=-1), ""),
        (lambda w, g, lr, eps: _adam_by_hand(w, g, lr, eps, start=2), ""),
        (lambda w, g, lr, eps: _adam_by_hand(w, g[-1:], lr, eps), ""),
        (lambda w, g, lr, eps: _adam_by_hand(w, g, lr, 1e-8), ""),
    ],
    "ex-training-loop": [
        (
            lambda w, x, t, lr: _loop_with_autograd(w, x, t, lr, clear_between=True),
            "comes back unchanged",
        ),
        (
            lambda w, x, t, lr: _loop_with_autograd(w, x, t, lr, clear_before=False),
            "`backward` adds",
        ),
        (lambda w, x, t, lr: _loop_with_optimizer(w, x, t, lr, clear=False), "`backward` adds"),
        (_loop_first_only, "`return` inside"),
        (_loop_backward_last, "the batch before"),
        (lambda w, x, t, lr: _loop_with_autograd(w, x, t, -lr), "uphill"),
        (lambda w, x, t, lr: _loop_with_autograd(w, x, t, lr, mean=False), "not their sum"),
        (lambda w, x, t, lr: _loop_with_autograd(w, x[1:], t[1:], lr), ""),
    ],
    "ex-training-schedule": [
        (
            lambda s, total, w: (
                s / w if s < w else (1 + math.cos(math.pi * (s - w) / (total - w))) / 2
            ),
            "factor 0",
        ),
        (
            lambda s, total, w: (s + 1) / w if s < w else (1 + math.cos(math.pi * s / total)) / 2,
            "jumps",
        ),
        (
            lambda s, total, w: (
                (s + 1) / w if s < w else (1 + math.cos(math.pi * (s - w) / total)) / 2
            ),
            "does not end",
        ),
        (
            lambda s, total, w: (
                (s + 1) / w if s < w else 1 + math.cos(math.pi * (s - w) / (total - w))
            ),
            "halved",
        ),
        (lambda s, total, w: (1 + math.cos(math.pi * s / total)) / 2, "warm-up is missing"),
        (
            lambda s, total, w: min(1, (s + 1) / w) * (1 + math.cos(math.pi * s / total)) / 2,
            "both happen at once",
        ),
        (lambda s, total, w: min((s + 1) / w, (total - s) / (total - w)), "straight line"),
        (lambda s, total, w: (s + 1) / w if s < w else 1, "never comes down"),
        (
            lambda s, total, w: (
                (s + 1) / w if s < w else math.cos(math.pi / 2 * (s - w) / (total - w - 1)) ** 2
            ),
            "a step too short",
        ),
        (
            lambda s, total, w: (s + 1) / w if s < w else (1 + math.cos((s - w) / (total - w))) / 2,
            "",
        ),
        (
            lambda s, total, w: (
                (s + 1) / w if s <= w else (1 + math.cos(math.pi * (s - w) / (total - w))) / 2
            ),
            "exceeds 1",
        ),
    ],
    "ex-training-clip": [
        (_clip_each, "on its own"),
        (lambda f, s, c: (f.clip(-c, c), s.clip(-c, c)), "one by one"),
        (lambda f, s, c: [c * g / math.hypot(f.norm(), s.norm()) for g in (f, s)], "stretched"),
        (
            lambda f, s, c: [g * min(1, c / float((f**2).sum() + (s**2).sum())) for g in (f, s)],
            "length squared",
        ),
        (
            lambda f, s, c: [g * min(1, c / float(f.norm() + s.norm())) for g in (f, s)],
            "right triangle",
        ),
        (lambda f, s, c: [g / math.hypot(f.norm(), s.norm()) for g in (f, s)], "whatever"),
        (_clip_swapped, ""),
        (lambda f, s, c: (f, s), ""),
        (lambda f, s, c: [g * min(1, c / float(max(f.norm(), s.norm()))) for g in (f, s)], ""),
    ],
    "ex-training-norm-gradient": [
        (
            lambda x, g, eps: _norm_backward(x, g, eps, keep_mean=False, keep_spread=False),
            "fixed numbers",
        ),
        (lambda x, g, eps: _norm_backward(x, g, eps, keep_mean=False), "The mean depends"),
        (lambda x, g, eps: _norm_backward(x, g, eps, keep_spread=False), "The variance depends"),
        (lambda x, g, eps: _norm_backward(x, g, eps, dim=0), "beyond its row"),
        (lambda x, g, eps: _norm_backward(x, g, eps, correction=1), "D − 1"),
        (lambda x, g, eps: _norm_backward(x, g, 0), "ε under the root"),
        (lambda x, g, eps: _norm_backward(x, g, 1e-5), ""),
        (lambda x, g, eps: (x - x.mean(1, keepdim=True)) * g, ""),
    ],
}
