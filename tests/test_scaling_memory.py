"""What the backward pass keeps, and computing it again: `course_lib.scaling.memory`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from course_lib import scaling as topic
from course_lib import training
from course_lib.training.checkpoint import random_state
from support import assert_agree


def blocks(count: int, width: int = 6, dropout: float = 0.3) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        *(
            nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Dropout(dropout))
            for _ in range(count)
        )
    ).double()


def gradients(
    call: Callable[[Tensor], Tensor], model: nn.Module, inputs: Tensor
) -> tuple[Tensor, ...]:
    """Result and all gradients of a call, under one seed, and what chance gives afterwards."""
    model.zero_grad()
    leaf = inputs.clone().requires_grad_()
    torch.manual_seed(3)
    output = call(leaf)
    output.square().sum().backward()
    assert leaf.grad is not None
    return output.detach(), leaf.grad, *(p.grad for p in model.parameters()), torch.rand(3)


def rows(device: torch.device | str = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(5, 6, generator=generator, dtype=torch.float64).to(device)


# --- recompute ------------------------------------------------------------------------------------


def test_recomputed_is_as_if_it_were_kept(device: torch.device) -> None:
    model = blocks(4).to(device)
    calls: list[Callable[[Tensor], Tensor]] = [
        model,
        lambda x: topic.recompute(model, x),
        lambda x: checkpoint(model, x, use_reentrant=True),
        lambda x: topic.recompute(model[2:], topic.recompute(model[:2], x)),
        lambda x: topic.recompute(lambda y: topic.recompute(model, y), x),
    ]
    expected, *found = (gradients(call, model, rows(device)) for call in calls)
    for ours in found:
        for mine, theirs in zip(ours, expected, strict=True):
            assert torch.equal(mine, theirs)


@given(count=st.integers(1, 7), segments=st.integers(1, 7))
def test_segments_are_as_if_they_were_kept(count: int, segments: int) -> None:
    segments, model = min(count, segments), blocks(count)
    ours = gradients(lambda x: topic.recompute_sequential(model, segments, x), model, rows())
    twin = gradients(
        lambda x: checkpoint_sequential(model, segments, x, use_reentrant=True), model, rows()
    )
    for mine, theirs, kept in zip(ours, twin, gradients(model, model, rows()), strict=True):
        assert torch.equal(mine, kept)
        assert torch.equal(mine, theirs)


def test_segments_may_be_cut_from_any_list() -> None:
    functions = [torch.sin, torch.exp, torch.tanh]
    x = rows().requires_grad_()
    assert torch.equal(topic.recompute_sequential(functions, 2, x), x.sin().exp().tanh())


def test_gradient_is_right() -> None:
    first, second = rows().requires_grad_(), (rows() + 1).requires_grad_()

    def function(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x * y.sin(), (x + y).square()

    assert torch.autograd.gradcheck(lambda *both: topic.recompute(function, *both), (first, second))


def test_several_results_of_which_not_all_are_used() -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return x.sin(), x.exp(), x.argmax(1)

    leaf = rows().requires_grad_()
    used, _, index = topic.recompute(function, leaf)
    used.sum().backward()
    assert leaf.grad is not None
    assert_agree(leaf.grad, rows().cos())
    assert torch.equal(index, rows().argmax(1))


def test_parameters_learn_where_no_input_has_a_gradient() -> None:
    model = blocks(2, dropout=0)
    topic.recompute(model, rows()).sum().backward()
    found = [p.grad for p in model.parameters()]
    model.zero_grad()
    model(rows()).sum().backward()
    for mine, p in zip(found, model.parameters(), strict=True):
        assert torch.equal(mine, p.grad)


def test_nothing_to_learn_is_no_error() -> None:
    out = topic.recompute(lambda x: x.detach().sin(), rows().requires_grad_())
    (out.sum() + nn.Parameter(torch.ones(()))).backward()


def test_without_gradients_it_is_a_call() -> None:
    model = blocks(2, dropout=0)
    with torch.no_grad():
        output = topic.recompute(model, rows())
    assert not output.requires_grad
    assert torch.equal(output, model(rows()))


def test_both_calls_see_the_same_chance_and_leave_the_rest_alone() -> None:
    seen: list[list[float]] = []

    def function(x: Tensor) -> Tensor:
        chance = [random.random(), float(np.random.rand()), torch.rand(()).item()]  # noqa: NPY002
        seen.append(chance)
        return x * sum(chance)

    leaf = rows().requires_grad_()
    output = topic.recompute(function, leaf)
    torch.rand(7)
    random.random()
    before = random_state()
    output.sum().backward()
    after = random_state()
    assert seen[0] == seen[1]
    assert torch.equal(after["torch"], before["torch"])
    assert after["python"] == before["python"]
    assert after["numpy"] == before["numpy"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_second_call_has_the_precision_of_the_first(
    dtype: torch.dtype, device: torch.device
) -> None:
    model, seen = blocks(1, dropout=0).float().to(device), []

    def function(x: Tensor) -> Tensor:
        output = model(x)
        seen.append(output.dtype)
        return output

    inputs = rows(device).float()
    with torch.autocast(device.type, dtype):
        output = topic.recompute(function, inputs)
    output.float().sum().backward()  # outside
    assert seen == [dtype, dtype]
    mine = [p.grad for p in model.parameters()]
    model.zero_grad()
    with torch.autocast(device.type, dtype):
        output = model(inputs)
    output.float().sum().backward()
    for found, p in zip(mine, model.parameters(), strict=True):
        assert torch.equal(found, p.grad)


def test_second_backward_is_refused() -> None:
    leaf = rows().requires_grad_()
    with pytest.raises(RuntimeError, match="recompute: expected one backward pass"):
        torch.autograd.grad(topic.recompute(torch.sin, leaf).sum(), leaf, create_graph=True)


def test_trains_a_network_as_if_it_were_kept() -> None:
    class Sparing(nn.Module):
        def __init__(self, model: nn.Sequential) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor) -> Tensor:
            return topic.recompute_sequential(self.model, 3, x)

    weights = []
    for wrap in (nn.Sequential, Sparing):
        model = blocks(6)
        torch.manual_seed(0)
        training.fit(
            wrap(model), nn.functional.mse_loss, (rows(), rows()), epochs=3, batch_size=2,
            optimizer=training.SGD(model.parameters(), lr=0.1), device="cpu", progress=False,
        )  # fmt: skip
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


# --- how much is kept -----------------------------------------------------------------------------

KEPT: dict[str, tuple[Callable[..., Any], int]] = {
    "a view of the input": (lambda x: x[:, :2].reshape(-1), 0),
    "a sum needs nothing": (torch.sum, 0),
    "a sine needs its input": (torch.sin, 240),
    "a power of e keeps its result": (torch.exp, 240),
    "a ReLU keeps its result": (torch.relu, 240),
    "the same twice counts once": (lambda x: x.sin() + x.cos(), 240),
    "two steps": (lambda x: x.sin().sin(), 480),
    "a part keeps the whole": (lambda x: x[:1].sin(), 240),
    "a product": (lambda x: x * (x + 1), 480),
    "without gradients": (torch.no_grad()(torch.sin), 0),
}


@pytest.mark.parametrize("name", KEPT)
def test_bytes_that_are_kept(name: str, device: torch.device) -> None:
    function, expected = KEPT[name]
    assert topic.saved_bytes(function, rows(device).requires_grad_()) == expected


def test_parameters_are_not_counted() -> None:
    linear = nn.Linear(6, 100).double()
    assert topic.saved_bytes(linear, rows()) == 240
    assert topic.saved_bytes(linear, rows().requires_grad_()) == 240
    assert topic.saved_bytes(lambda x: x @ linear.weight.T, rows().requires_grad_()) == 240
    conv = nn.Conv2d(3, 50, 3, padding=1)
    images = torch.zeros(2, 3, 8, 8)
    assert topic.saved_bytes(conv, images) == images.nbytes
    assert topic.saved_bytes(conv, images.requires_grad_()) == images.nbytes


def test_counting_leaves_no_trace() -> None:
    model = blocks(2)
    with torch.no_grad():
        assert topic.saved_bytes(model, rows()) > 0
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("segments", [1, 2, 3, 4, 12])
def test_recomputing_keeps_the_beginnings_of_segments(segments: int) -> None:
    model, one = blocks(12, dropout=0), rows().nbytes
    leaf = rows().requires_grad_()
    whole = topic.saved_bytes(model, leaf)
    assert whole == (1 + 12) * one  # tanh keeps its result, which the next layer needs as well
    found = topic.saved_bytes(lambda x: topic.recompute_sequential(model, segments, x), leaf)
    assert found == (segments - 1) * one + (1 + 12 // segments) * one
    assert topic.saved_bytes(lambda x: topic.recompute(model, x), leaf) == one


def test_units_count_what_is_kept_at_most() -> None:
    """Of each layer one activation is kept, and the beginning of its segment may be one of them."""
    for segments in (1, 2, 3, 4, 6, 12):
        assert topic.checkpoint_units(12, segments) == segments + 12 // segments


@given(layers=st.integers(1, 300))
def test_best_segments_are_the_best(layers: int) -> None:
    units = [topic.checkpoint_units(layers, segments) for segments in range(1, layers + 1)]
    best = topic.best_segments(layers)
    assert units[best - 1] == min(units)
    assert units.index(min(units)) == best - 1
    assert min(units) >= 2 * layers**0.5 - 1e-9
    assert min(units) <= 2 * layers**0.5 + 1
    assert abs(best - layers**0.5) <= 0.35 * layers**0.5 + 1


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: topic.recompute(torch.sin, 3.0), TypeError, r"inputs\[0\]: expected a tensor"),
        (
            lambda: topic.recompute_sequential([torch.sin], 2, torch.ones(1)),
            ValueError,
            "segments: expected at most 1, one each, got 2",
        ),
        (
            lambda: topic.recompute_sequential([torch.sin], 0, torch.ones(1)),
            ValueError,
            "segments: expected an integer >= 1",
        ),
        (lambda: topic.checkpoint_units(3, 4), ValueError, "segments: expected at most 3"),
        (lambda: topic.checkpoint_units(0, 1), ValueError, "layers: expected an integer >= 1"),
        (lambda: topic.best_segments(0), ValueError, "layers: expected an integer >= 1"),
    ],
)
def test_refuses(call: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


# --- for test_fake_cuda ---------------------------------------------------------------------------

CALLS: dict[str, Callable[..., Any]] = {
    "recompute": lambda make, device: topic.recompute(torch.sin, make(3).requires_grad_()),
    "recompute_sequential": lambda make, device: topic.recompute_sequential(
        [torch.sin, torch.cos], 2, make(3).requires_grad_()
    ),
    "saved_bytes": lambda make, device: topic.saved_bytes(torch.sin, make(3).requires_grad_()),
    "checkpoint_units": lambda make, device: topic.checkpoint_units(4, 2),
    "best_segments": lambda make, device: topic.best_segments(4),
}
