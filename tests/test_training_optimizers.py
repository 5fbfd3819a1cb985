"""The optimisers of `course_lib.training` step for step beside torch.optim's."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from course_lib import training as topic
from support import assert_agree

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"lr": 0.05, "momentum": 0.5, "dampening": 0.1, "weight_decay": 0.2},
        {"lr": 0.0, "weight_decay": 0.2},
    ],
    "RMSprop": [
        {},
        {"centered": True},
        {"momentum": 0.9},
        {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "centered": True, "momentum": 0.5},
    ],
    "Adam": [
        {},
        {"amsgrad": True, "lr": 0.05},
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1, "amsgrad": True},
        {"betas": (0.0, 0.0)},
    ],
    "AdamW": [
        {},
        {"amsgrad": True, "lr": 0.05},
        {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.3},
    ],
}
every = pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, several in OPTIONS.items() for options in several],
)
each = pytest.mark.parametrize("name", OPTIONS)

STEPS = 100
SHAPES = [(3, 4), (4,), (2, 3, 2), ()]


def pair(name: str) -> tuple[Any, Any]:
    return getattr(topic, name), getattr(torch.optim, name)


def parameters(dtype: torch.dtype = torch.float64, device: Any = "cpu") -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64)
        .to(device, dtype)
        .requires_grad_()
        for shape in SHAPES
    ]


def grouped(params: list[Tensor], **first: Any) -> list[dict[str, Any]]:
    """Two groups, of which the first has options of its own."""
    return [{"params": params[:2], **first}, {"params": iter(params[2:])}]


def set_gradients(params: list[Tensor], step: int) -> None:
    """A bowl with a wave; at some steps some parameters get no gradient, or one of zeros."""
    for n, param in enumerate(params):
        param.grad = None
        if (n == 1 and step % 3 == 0) or (n == 3 and step < 5):
            continue
        wave = math.sin(step + 1)
        param.grad = (param - 0.5 + 0.1 * param**3 + wave).detach()
        if n == 2 and step % 10 == 0:
            param.grad.zero_()


def follow(ours: Any, mine: list[Tensor], twin: Any, theirs: list[Tensor], first: int = 0) -> float:
    """Let both go down the same hill; returns the largest difference at any step."""
    worst = 0.0
    for step in range(first, first + STEPS):
        for params, optimizer in ((mine, ours), (theirs, twin)):
            set_gradients(params, step)
            optimizer.step()
        scale = max(1.0, max(float(t.detach().abs().max()) for t in theirs))
        errors = [float((a - b).detach().abs().max()) for a, b in zip(mine, theirs, strict=True)]
        worst = max(worst, max(errors) / scale)
    return worst


@every
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)]
)
def test_follows_torch_step_for_step(
    name: str,
    options: dict[str, Any],
    dtype: torch.dtype,
    tolerance: float,
    device: torch.device,
) -> None:
    our_class, twin_class = pair(name)
    mine, theirs = parameters(dtype, device), parameters(dtype, device)
    first = {"lr": 0.003, "weight_decay": 0.05}
    ours = our_class(grouped(mine, **first), **options)
    twin = twin_class(grouped(theirs, **first), **options)
    assert follow(ours, mine, twin, theirs) <= tolerance
    assert any((a != b).any() for a, b in zip(mine, parameters(dtype, device), strict=True))


@given(data=st.data())
@settings(max_examples=60)
def test_follows_torch_with_any_options(data: st.DataObject) -> None:
    part, small = st.floats(0, 0.99), st.floats(0, 0.3)
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "lr": st.floats(0, 0.1),
        "momentum": part,
        "dampening": part,
        "weight_decay": small,
        "nesterov": st.booleans(),
        "alpha": part,
        "eps": st.floats(1e-8, 0.1),
        "centered": st.booleans(),
        "betas": st.tuples(part, part),
        "amsgrad": st.booleans(),
    }
    our_class, twin_class = pair(data.draw(st.sampled_from(sorted(OPTIONS))))
    names = [n for n in inspect.signature(our_class).parameters if n != "params"]
    options = {name: data.draw(drawn[name], name) for name in names}
    if options.get("centered") and options["eps"] < 1e-3:
        options["eps"] = 1e-3  # a root of almost 0 magnifies what rounding does
    mine, theirs = parameters(), parameters()
    try:
        twin = twin_class(theirs, **options)
    except ValueError:
        with pytest.raises(ValueError, match=": expected "):
            our_class(mine, **options)
        return
    assert follow(our_class(mine, **options), mine, twin, theirs) <= 1e-10


@each
def test_arguments_are_torchs(name: str) -> None:
    """The same names, order and defaults; torch has more at the end, for speed."""
    ours, theirs = (
        [(p.name, p.default) for p in inspect.signature(c).parameters.values()] for c in pair(name)
    )
    assert [p for p in theirs if p[0] in dict(ours)] == ours


# --- state ----------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("to_ours", [True, False])
def test_either_goes_on_where_the_other_stopped(
    name: str, options: dict[str, Any], to_ours: bool
) -> None:
    our_class, twin_class = pair(name)
    first, second = (twin_class, our_class) if to_ours else (our_class, twin_class)
    params, others = parameters(), parameters()
    one = first(grouped(params, lr=0.003), **options)
    for step in range(10):
        set_gradients(params, step)
        one.step()
    other = second(grouped(others, lr=0.7))  # the loaded options replace these
    with torch.no_grad():
        for target, source in zip(others, params, strict=True):
            target.copy_(source)
    other.load_state_dict(copy.deepcopy(one.state_dict()))  # torch would share the tensors
    assert follow(one, params, other, others, first=10) <= 1e-12


@each
def test_state_survives_a_file(name: str, tmp_path: Any) -> None:
    our_class, _ = pair(name)
    params, others = parameters(), parameters()
    one, other = our_class(params, lr=0.02), our_class(others)
    for step in range(5):
        set_gradients(params, step)
        one.step()
    torch.save(one.state_dict(), tmp_path / "state")
    for target, source in zip(others, params, strict=True):
        target.data.copy_(source)
    other.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert follow(one, params, other, others, first=5) == 0


@each
def test_layout_of_the_state_is_torchs(name: str) -> None:
    states = []
    for optimizer_class in pair(name):
        params = parameters()
        optimizer = optimizer_class(grouped(params, lr=0.3))
        set_gradients(params, 0)  # the second and the last get no gradient
        optimizer.step()
        states.append(optimizer.state_dict())
    ours, theirs = states
    assert [g["params"] for g in ours["param_groups"]] == [[0, 1], [2, 3]]
    for mine, twin in zip(ours["param_groups"], theirs["param_groups"], strict=True):
        assert mine.items() <= twin.items()
    left = {n: state for n, state in theirs["state"].items() if state}
    assert ours["state"].keys() - {n for n, state in ours["state"].items() if not state} == set(
        left
    )
    for n, state in left.items():
        for key, value in state.items():
            if value is not None:
                assert_agree(ours["state"][n][key], value)


def test_loaded_state_is_a_copy() -> None:
    params = parameters()
    one, other = (topic.Adam(params) for _ in range(2))
    set_gradients(params, 1)
    one.step()
    other.load_state_dict(one.state_dict())
    other.state[params[0]]["exp_avg"].fill_(7)
    assert (one.state[params[0]]["exp_avg"] != 7).all()


def test_loaded_state_takes_the_parameters_dtype() -> None:
    params, halves = parameters(), parameters(torch.bfloat16)
    one, other = topic.Adam(params), topic.Adam(halves)
    set_gradients(params, 1)
    one.step()
    other.load_state_dict(one.state_dict())
    state = other.state[halves[0]]
    assert state["exp_avg"].dtype == torch.bfloat16
    assert state["step"].dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: torch.optim.SGD(parameters()[:3]), r"groups of \[4\] parameters, got \[3\]"),
        (lambda: torch.optim.SGD(grouped(parameters())), r"of \[4\] parameters, got \[2, 2\]"),
        (lambda: torch.optim.SGD(parameters()), r"options of Adam, got none named \['amsgrad'"),
        (lambda: torch.optim.Adam(parameters(), maximize=True), "got maximize=True"),
    ],
)
def test_state_of_something_else_is_refused(make: Callable[[], Any], says: str) -> None:
    optimizer = topic.Adam(parameters())
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=f"state_dict: expected .*{says}"):
        optimizer.load_state_dict(make().state_dict())
    assert optimizer.state_dict() == before


# --- groups and gradients -------------------------------------------------------------------------


def test_groups_can_be_added_on_the_way() -> None:
    (our_class, twin_class), mine, theirs = pair("SGD"), parameters(), parameters()
    ours, twin = our_class(mine[:1], momentum=0.9), twin_class(theirs[:1], momentum=0.9)
    for optimizer, params in ((ours, mine), (twin, theirs)):
        optimizer.add_param_group({"params": params[1:], "lr": 0.3})
    assert follow(ours, mine, twin, theirs) <= 1e-12
    single = nn.Parameter(torch.zeros(2))
    ours.add_param_group({"params": single})
    assert ours.param_groups[-1]["params"] == [single]


def test_step_sizes_can_be_changed_on_the_way() -> None:
    (our_class, twin_class), mine, theirs = pair("AdamW"), parameters(), parameters()
    ours, twin = our_class(mine), twin_class(theirs)
    assert follow(ours, mine, twin, theirs) <= 1e-12
    for optimizer in (ours, twin):
        optimizer.param_groups[0]["lr"] = 0.1
    assert follow(ours, mine, twin, theirs) <= 1e-12


def test_gradients_are_forgotten() -> None:
    params = parameters()
    optimizer = topic.SGD(params)
    set_gradients(params, 0)
    optimizer.zero_grad(set_to_none=False)
    assert params[1].grad is None  # it had none
    assert params[0].grad is not None
    assert not params[0].grad.any()
    optimizer.zero_grad()
    assert all(param.grad is None for param in params)


@each
def test_gradients_are_left_alone(name: str) -> None:
    params = parameters()
    for options in OPTIONS[name]:
        optimizer = pair(name)[0](params, **options)
        for step in (1, 2):
            set_gradients(params, step)
            before = [param.grad.clone() for param in params if param.grad is not None]
            optimizer.step()
            after = [param.grad for param in params if param.grad is not None]
            assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))


@each
def test_parameters_of_any_layout_are_moved(name: str) -> None:
    our_class, twin_class = pair(name)
    columns = [torch.ones(6, 4, dtype=torch.float64)[::2, 1:3].T.requires_grad_() for _ in range(2)]
    for param, optimizer_class in zip(columns, (our_class, twin_class), strict=True):
        param = param.detach().requires_grad_()
        optimizer = optimizer_class([param])
        for step in range(3):
            param.grad = (param.detach() * (step + 1)).contiguous()
            optimizer.step()
    assert_agree(*(column.detach() for column in columns))


@each
def test_nan_stays_where_it_is(name: str) -> None:
    param = torch.zeros(3, requires_grad=True)
    optimizer = pair(name)[0]([param])
    param.grad = torch.tensor([1.0, torch.nan, 0.0])
    optimizer.step()
    assert param.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda p: topic.SGD([]), ValueError, "params: expected at least one parameter, got none"),
        (lambda p: topic.SGD(p), TypeError, "params: expected several tensors, got a tensor"),
        (lambda p: topic.SGD([3]), TypeError, "params: expected a tensor, got 3"),
        (lambda p: topic.SGD([p.detach().int()]), TypeError, "params: expected a floating dtype"),
        (lambda p: topic.SGD([2 * p]), ValueError, "params: expected leaf tensors, got .*computed"),
        (lambda p: topic.SGD([p, p]), ValueError, "params: expected each once"),
        (
            lambda p: topic.SGD([{"params": [p]}, {"params": p}]),
            ValueError,
            "params: expected each once",
        ),
        (lambda p: topic.SGD([p], lr=-1), ValueError, "lr: expected a finite number >= 0"),
        (lambda p: topic.SGD([p], lr=float("nan")), ValueError, "lr: expected a finite number"),
        (lambda p: topic.SGD([p], lr="1"), TypeError, "lr: expected a finite number"),
        (lambda p: topic.SGD([p], momentum=-1), ValueError, "momentum: expected"),
        (lambda p: topic.SGD([p], weight_decay=-1), ValueError, "weight_decay: expected"),
        (lambda p: topic.SGD([p], nesterov=True), ValueError, "nesterov: expected momentum > 0"),
        (
            lambda p: topic.SGD([p], momentum=0.9, dampening=0.1, nesterov=True),
            ValueError,
            "nesterov: expected momentum > 0 and dampening 0, got 0.9 and 0.1",
        ),
        (lambda p: topic.RMSprop([p], alpha=-0.1), ValueError, "alpha: expected"),
        (lambda p: topic.Adam([p], betas=(1.0, 0.9)), ValueError, "betas: expected .* < 1"),
        (lambda p: topic.Adam([p], betas=(0.9, -0.1)), ValueError, "betas: expected"),
        (lambda p: topic.AdamW([p], eps=-1), ValueError, "eps: expected"),
        (lambda p: topic.AdamW([{"params": p, "lr": -1}]), ValueError, "lr: expected"),
    ],
)
def test_refuses(make: Callable[[Tensor], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        make(torch.zeros(2, requires_grad=True))
