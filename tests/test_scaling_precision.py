"""Sixteen bits, and the factor on the loss: `course_lib.scaling.precision`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from course_lib import scaling as topic
from course_lib import training
from course_lib.scaling import LossScaler
from support import CUDA, fake_cuda

BITS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}


@pytest.mark.parametrize("dtype", BITS)
def test_smallest_number_is_a_single_bit(dtype: torch.dtype) -> None:
    bit = torch.tensor(1, dtype=BITS[dtype]).view(dtype).double().item()
    smallest = topic.smallest_number(dtype)
    assert smallest == bit
    assert torch.tensor(0.51 * smallest, dtype=torch.float64).to(dtype).item() == smallest
    assert torch.tensor(0.49 * smallest, dtype=torch.float64).to(dtype).item() == 0


def test_smallest_number_of_half_precision() -> None:
    assert topic.smallest_number(torch.float16) == 2**-24
    assert topic.smallest_number(torch.bfloat16) == 2**-133


@pytest.mark.parametrize("wrong", [torch.int64, 16, "float16"])
def test_smallest_number_refuses(wrong: Any) -> None:
    with pytest.raises(TypeError, match="dtype: expected a floating dtype, got"):
        topic.smallest_number(wrong)


# --- the scaler, beside its twin ------------------------------------------------------------------


def steps(
    scaler: Any, factors: list[float], device: torch.device, clip: bool = False
) -> list[dict[str, Any]]:
    """Train through losses of which some overflow, and write down all that can be seen."""
    model = nn.Linear(3, 2).to(device).double()
    nn.init.constant_(model.weight, 0.5)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    seen = []
    for n, factor in enumerate(factors):
        inputs = torch.linspace(-1, 1 + n, 3, dtype=torch.float64, device=device)
        loss = model(inputs).square().sum() * factor
        optimizer.zero_grad()
        scaled = scaler.scale(loss)
        scaled.backward()
        if clip:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.3)
        scaler.step(optimizer)
        scaler.update()
        seen.append(
            {
                "loss": scaled.detach(),
                "weight": model.weight.detach().clone(),
                "gradient": model.weight.grad.clone(),
                "scale": scaler.get_scale(),
                "state": scaler.state_dict(),
            }
        )
    return seen


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["scale"] == other["scale"]
        assert mine["state"] == other["state"]
        for name in ("loss", "weight", "gradient"):
            torch.testing.assert_close(
                mine[name], other[name], rtol=1e-12, atol=1e-12, equal_nan=True
            )


@given(
    factors=st.lists(st.sampled_from([1.0, 0.25, math.inf, math.nan]), min_size=1, max_size=12),
    interval=st.integers(1, 4),
    growth=st.sampled_from([2.0, 4.0]),
    backoff=st.sampled_from([0.5, 0.25]),
    clip=st.booleans(),
)
def test_scaler_does_what_torchs_does(
    factors: list[float], interval: int, growth: float, backoff: float, clip: bool
) -> None:
    options = (1024.0, growth, backoff, interval)
    cpu = torch.device("cpu")
    ours = steps(LossScaler(*options), factors, cpu, clip)
    theirs = steps(torch.amp.GradScaler("cpu", *options), factors, cpu, clip)
    assert_same(ours, theirs)


def test_scaler_has_torchs_defaults(device: torch.device) -> None:
    factors = [1.0, math.inf, 1.0]
    ours = steps(LossScaler(), factors, device)
    assert_same(ours, steps(torch.amp.GradScaler(device.type), factors, device))
    assert [step["scale"] for step in ours] == [2.0**16, 2.0**15, 2.0**15]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_scaled_loss_has_the_twins_dtype(
    dtype: torch.dtype, shape: tuple[int, ...], device: torch.device
) -> None:
    loss = torch.full(shape, 2.0, dtype=dtype, device=device)
    ours, theirs = LossScaler().scale(loss), torch.amp.GradScaler(device.type).scale(loss)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    if shape == ():
        assert ours.item() == 2.0**17  # more than float16 can hold


def test_scaler_goes_on_from_a_state() -> None:
    factors, cpu = [1.0, math.inf, 1.0, 1.0, 1.0], torch.device("cpu")
    first = LossScaler(64.0, growth_interval=2)
    steps(first, factors[:3], cpu)
    for kind in (LossScaler, lambda: torch.amp.GradScaler("cpu")):
        other = kind()
        other.load_state_dict(first.state_dict())
        assert [step["scale"] for step in steps(other, factors[3:], cpu)] == [64.0, 64.0]


def test_one_optimizer_that_overflows_does_not_stop_the_other() -> None:
    for scaler in (LossScaler(8.0), torch.amp.GradScaler("cpu", 8.0)):
        leaves = [nn.Parameter(torch.ones(2)) for _ in range(2)]
        optimizers = [torch.optim.SGD([leaf], lr=1.0) for leaf in leaves]
        scaler.scale(leaves[0].sum() + math.inf * leaves[1].sum()).backward()
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()
        assert leaves[0].tolist() == [0, 0]
        assert leaves[1].tolist() == [1, 1]
        assert scaler.get_scale() == 4


def test_a_gradient_that_vanishes_in_half_precision_is_saved(device: torch.device) -> None:
    small, weights = 2.0**-20, []
    for scale in (1.0, 2.0**16):
        leaf = nn.Parameter(torch.ones(1, device=device))
        half = (leaf.half() * torch.tensor(small, device=device).half()).float()
        scaler = LossScaler(scale)
        optimizer = torch.optim.SGD([leaf], lr=1.0 / small**2)
        scaler.scale((half * small).sum()).backward()
        scaler.step(optimizer)
        weights.append(leaf.item())
    assert weights == [1.0, 0.0]  # nothing has happened; the step that it should be


def test_fit_scales_as_the_scaler_here(device: torch.device) -> None:
    """`fit` with torch's scaler, and a hand-written loop with ours, end alike."""
    inputs, targets = torch.randn(8, 3), torch.randn(8, 2)
    models = [nn.Linear(3, 2).to(device) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    training.fit(
        models[0], lambda output, target: (output.float() - target).square().mean(),
        [(inputs, targets)] * 3, epochs=1, precision="float16", device=device, progress=False,
        optimizer=torch.optim.SGD(models[0].parameters(), lr=0.1),
    )  # fmt: skip
    optimizer, scaler = torch.optim.SGD(models[1].parameters(), lr=0.1), LossScaler()
    for _ in range(3):
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.float16):
            output = models[1](inputs.to(device))
            loss = (output.float() - targets.to(device)).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    torch.testing.assert_close(models[0].weight, models[1].weight, rtol=0, atol=0)


# --- what it refuses ------------------------------------------------------------------------------


def test_scaler_refuses_a_wrong_order() -> None:
    scaler, leaf = LossScaler(), nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([leaf])
    with pytest.raises(RuntimeError, match="update: expected a call of step before it"):
        scaler.update()
    with pytest.raises(ValueError, match="optimizer: expected parameters with gradients"):
        scaler.unscale_(optimizer)
    scaler.scale(leaf.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="unscale_: expected one call for each update"):
        scaler.unscale_(optimizer)
    with pytest.raises(TypeError, match=r"outputs: expected a tensor, got 1\.0"):
        scaler.scale(1.0)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"init_scale": 0.0}, "init_scale: expected a number above 0"),
        ({"init_scale": math.inf}, "init_scale: expected a finite number"),
        ({"growth_factor": 1.0}, "growth_factor: expected a number above 1"),
        ({"backoff_factor": 1.0}, "backoff_factor: expected a finite number >= 0 < 1"),
        ({"growth_interval": 0}, "growth_interval: expected an integer >= 1"),
    ],
)
def test_scaler_refuses(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        LossScaler(**options)


# --- for test_fake_cuda ---------------------------------------------------------------------------

CALLS: dict[str, Callable[..., Any]] = {
    "smallest_number": lambda make, device: topic.smallest_number(torch.float16),
}


def test_scaler_stays_on_the_device() -> None:
    with fake_cuda(supply_data=True):
        leaf = nn.Parameter(torch.randn(3, device=CUDA))
        optimizer, scaler = training.SGD([leaf]), LossScaler()
        scaled: Tensor = scaler.scale(leaf.sum())
        leaf.grad = torch.randn(3, device=CUDA)
        scaler.step(optimizer)
        scaler.update()
        assert scaled.device == leaf.device == CUDA
