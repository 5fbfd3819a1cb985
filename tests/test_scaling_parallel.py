"""Several processes, as numbers: `course_lib.scaling.parallel`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import scaling as topic
from course_lib.scaling import Memory
from support import assert_agree

# --- accumulation ---------------------------------------------------------------------------------


@given(counts=st.lists(st.integers(0, 4), min_size=1, max_size=5).filter(any))
def test_accumulated_gradient_is_that_of_the_whole_batch(counts: list[int]) -> None:
    generator = torch.Generator().manual_seed(sum(counts))
    x = torch.randn(sum(counts), 3, generator=generator, dtype=torch.float64)
    y = torch.randn(sum(counts), generator=generator, dtype=torch.float64)
    weight = torch.randn(3, generator=generator, dtype=torch.float64).requires_grad_()

    def slope(x: Tensor, y: Tensor) -> Tensor:
        if len(x) == 0:
            return torch.zeros(3, dtype=torch.float64)
        return torch.autograd.grad(F.mse_loss((x @ weight).tanh(), y), weight)[0]

    parts = [slope(a, b) for a, b in zip(x.split(counts), y.split(counts), strict=True)]
    assert_agree(topic.accumulated_gradient(parts, counts), slope(x, y), 1e-14)


def test_the_plain_mean_of_unequal_parts_is_another() -> None:
    parts = [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]
    assert topic.accumulated_gradient(parts, [3, 1]).tolist() == [0.75, 0.25]


# --- Amdahl ---------------------------------------------------------------------------------------


def test_amdahl() -> None:
    assert topic.amdahl(0, 8) == 8
    assert topic.amdahl(1, 8) == 1
    assert topic.amdahl(0.5, 1) == 1
    assert topic.amdahl(0.25, 3) == pytest.approx(2)
    assert topic.amdahl(0.1, 10**9) == pytest.approx(10)


# --- the ring -------------------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (12,), (3, 4), (2, 0)])
def test_ring_gives_all_the_sum(
    processes: int, shape: tuple[int, ...], device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(processes)]
    tensors = [tensor.to(device) for tensor in drawn]
    before = [tensor.clone() for tensor in tensors]
    found = topic.ring_all_reduce(tensors)
    assert len(found) == processes
    for mine in found:
        assert_agree(mine, torch.stack(tensors).sum(0))
        assert torch.equal(mine, found[0])  # to the last bit, which keeps the weights together
    for tensor, copy in zip(tensors, before, strict=True):
        assert torch.equal(tensor, copy)


def test_ring_takes_views_and_integers() -> None:
    tensors = [torch.arange(12).reshape(3, 4).T * n for n in (1, 10)]
    for found in topic.ring_all_reduce(tensors):
        assert torch.equal(found, 11 * torch.arange(12).reshape(3, 4).T)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_each_step_moves_one_part_of_each_process_to_the_next(processes: int) -> None:
    tensors = [10.0**n * torch.ones(processes) for n in range(processes)]
    states = list(topic.ring_steps(tensors))
    assert len(states) == 1 + 2 * (processes - 1)
    for before, after in itertools.pairwise(states):
        changed = [
            [part for part in range(processes) if not torch.equal(old[part], new[part])]
            for old, new in zip(before, after, strict=True)
        ]
        assert all(len(parts) == 1 for parts in changed)
        for process, (part,) in enumerate(changed):
            came = before[process - 1][part]
            assert after[process][part] in (before[process][part] + came, came)
        # Every process sends another part than its neighbours.
        assert len({part for (part,) in changed}) == processes
    half = states[processes - 1]
    whole = sum(tensors)[0]
    for process, parts in enumerate(half):  # one sum each is complete
        complete = [n for n, part in enumerate(parts) if part == whole]
        assert complete == ([(process + 1) % processes] if processes > 1 else [0])


def test_yielded_states_are_not_changed_afterwards() -> None:
    states = topic.ring_steps([torch.ones(2), torch.ones(2)])
    first = next(states)
    copied = [[part.clone() for part in parts] for parts in first]
    list(states)
    for parts, others in zip(first, copied, strict=True):
        for part, other in zip(parts, others, strict=True):
            assert torch.equal(part, other)


def test_seconds_of_a_ring() -> None:
    assert topic.all_reduce_seconds(10**9, 1, 1e9, 1.0) == 0
    assert topic.all_reduce_seconds(10**9, 2, 1e9) == pytest.approx(1)
    assert topic.all_reduce_seconds(10**9, 10**6, 1e9) == pytest.approx(2, rel=1e-5)
    assert topic.all_reduce_seconds(0, 5, 1e9, 0.5) == pytest.approx(4)


# --- memory ---------------------------------------------------------------------------------------


def test_memory_of_a_billion_parameters() -> None:
    """Rajbhandari et al., figure 1, is for 7.5 billion and 64 processes, in 10^9 bytes."""
    paper = {"ddp": 120, "zero1": 31.4, "zero2": 16.6, "fsdp": 1.9}
    for strategy, expected in paper.items():
        found = topic.model_memory(7_500_000_000, strategy, 64).total / 1e9
        assert found == pytest.approx(expected, abs=0.05)
    assert topic.model_memory(10**9) == Memory(2 * 10**9, 2 * 10**9, 12 * 10**9)
    assert topic.model_memory(10**9).total == 16 * 10**9
    assert topic.model_memory(10**9, "fsdp", 8) == topic.model_memory(10**9, "tensor", 8)


@given(parameters=st.integers(0, 10**6), processes=st.integers(1, 9))
def test_shares_make_the_whole(parameters: int, processes: int) -> None:
    whole = topic.model_memory(parameters)
    for strategy in topic.STRATEGIES:
        assert topic.model_memory(parameters, strategy, 1) == whole
        held = topic.model_memory(parameters, strategy, processes)
        for mine, all_, size in zip(held, whole, (2, 2, 12), strict=True):
            assert mine == all_ or all_ <= processes * mine < all_ + processes * size


def test_a_training_step_takes_these_bytes() -> None:
    """Weights and gradients in 16 bits, Adam on copies in 32: counted on the tensors."""
    model = nn.Linear(30, 20).bfloat16()
    copies = [p.detach().float() for p in model.parameters()]
    optimizer = torch.optim.Adam(copies)
    model(torch.ones(1, 30, dtype=torch.bfloat16)).sum().backward()
    for copy, p in zip(copies, model.parameters(), strict=True):
        copy.grad = p.grad.float()
    optimizer.step()
    moments = [v for state in optimizer.state.values() for v in state.values() if v.ndim]
    found = Memory(
        weights=sum(p.nbytes for p in model.parameters()),
        gradients=sum(p.grad.nbytes for p in model.parameters()),
        optimizer=sum(x.nbytes for x in [*copies, *moments]),
    )
    assert found == topic.model_memory(30 * 20 + 20)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: topic.amdahl(1.1, 2), ValueError, "serial_share: expected a finite number >= 0"),
        (lambda: topic.amdahl(0.1, 0), ValueError, "processes: expected an integer >= 1"),
        (lambda: topic.accumulated_gradient([], []), ValueError, "gradients: expected at least"),
        (
            lambda: topic.accumulated_gradient([torch.ones(1)], [1, 2]),
            ValueError,
            "counts: expected 1, one a gradient, got 2",
        ),
        (
            lambda: topic.accumulated_gradient([torch.ones(1)], [0]),
            ValueError,
            "sum of the counts: expected an integer >= 1",
        ),
        (
            lambda: topic.accumulated_gradient([torch.ones(1), torch.ones(2)], [1, 1]),
            ValueError,
            r"gradients\[1\]: expected shape \(1\)",
        ),
        (lambda: topic.ring_all_reduce([]), ValueError, "tensors: expected at least one tensor"),
        (
            lambda: topic.ring_all_reduce([torch.ones(1), torch.ones(1).double()]),
            TypeError,
            r"tensors\[1\]: expected torch.float32",
        ),
        (lambda: topic.ring_all_reduce([1.0]), TypeError, r"tensors\[0\]: expected a tensor"),
        (lambda: topic.all_reduce_seconds(1, 2, 0.0), ValueError, "bandwidth: expected a number"),
        (lambda: topic.all_reduce_seconds(1, 2, 1.0, -1), ValueError, "latency: expected"),
        (lambda: topic.model_memory(1, "zero3"), ValueError, "strategy: expected one of 'ddp'"),
        (lambda: topic.model_memory(-1), ValueError, "parameters: expected an integer >= 0"),
        (lambda: topic.model_memory(1.5), TypeError, "parameters: expected an integer"),
    ],
)
def test_refuses(call: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


# --- for test_fake_cuda ---------------------------------------------------------------------------

CALLS: dict[str, Callable[..., Any]] = {
    "accumulated_gradient": lambda make, device: topic.accumulated_gradient(
        [make(3), make(3)], [1, 2]
    ),
    "amdahl": lambda make, device: topic.amdahl(0.1, 4),
    "ring_all_reduce": lambda make, device: topic.ring_all_reduce([make(3), make(3)]),
    "ring_steps": lambda make, device: list(topic.ring_steps([make(3), make(3)])),
    "all_reduce_seconds": lambda make, device: topic.all_reduce_seconds(8, 4, 1e9),
    "model_memory": lambda make, device: topic.model_memory(8, "fsdp", 4),
}
