"""What an operation costs, and what a machine can do: `course_lib.scaling.roofline`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from course_lib import scaling as topic
from course_lib.scaling import Cost, Rates

RATES = Rates(bytes_copied=10e9, multiply_adds=40e9)
HALF = torch.bfloat16


def counted(call: Callable[..., Tensor], *inputs: Tensor) -> Cost:
    """The twin: multiply-adds by torch's counter, bytes by the tensors' own sizes."""
    with FlopCounterMode(display=False) as counter:
        output = call(*inputs)
    return Cost(counter.get_total_flops() // 2, sum(x.nbytes for x in (*inputs, output)))


# --- costs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, HALF])
@pytest.mark.parametrize("bias", [True, False])
def test_cost_of_a_linear_layer(dtype: torch.dtype, bias: bool) -> None:
    tensors = [torch.randn(5, 7), torch.randn(3, 7), *[torch.randn(3)] * bias]
    expected = counted(F.linear, *(x.to(dtype) for x in tensors))
    assert topic.linear_cost(5, 7, 3, bias=bias, dtype=dtype) == expected


def test_cost_has_a_bias_and_32_bits_unless_told() -> None:
    assert topic.linear_cost(2, 3, 4) == Cost(24, 4 * (6 + 12 + 4 + 8))
    assert topic.conv2d_cost(2, 3, 4, 1, 5) == Cost(2 * 25 * 12, 4 * (2 * 75 + 12 + 4 + 2 * 100))


@given(
    batch=st.integers(1, 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    bias=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_cost_of_a_convolution(
    batch: int,
    channels: tuple[int, int],
    groups: int,
    kernel: tuple[int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    bias: bool,
    dtype: torch.dtype,
) -> None:
    come, go = (groups * count for count in channels)
    x = torch.zeros(batch, come, *size, dtype=dtype)
    weight = torch.zeros(go, come // groups, *kernel, dtype=dtype)
    biases = [torch.zeros(go, dtype=dtype)] * bias
    call = partial(F.conv2d, stride=stride, padding=padding, groups=groups)
    expected = counted(call, x, weight, *biases)
    found = topic.conv2d_cost(
        batch, come, go, kernel, size,
        stride=stride, padding=padding, groups=groups, bias=bias, dtype=dtype,
    )  # fmt: skip
    assert found == expected


@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_cost_of_an_entry_to_entry_operation(inputs: int) -> None:
    tensors = [torch.zeros(3, 5, dtype=torch.float16)] * inputs
    moved = counted(lambda *x: torch.stack(x).sum(0), *tensors).bytes_moved
    found = topic.pointwise_cost(15, inputs=inputs, dtype=torch.float16)
    assert found == Cost(15, moved)


def test_intensity_grows_with_the_batch_up_to_a_bound() -> None:
    costs = [topic.linear_cost(2**n, 1024, 1024, bias=False) for n in range(16)]
    intensities = [cost.intensity for cost in costs]
    assert intensities == sorted(intensities)
    assert intensities[0] == pytest.approx(0.25, rel=0.01)  # each weight is read for one product
    assert intensities[-1] == pytest.approx(1024 / 8, rel=0.02)


# --- the roof -------------------------------------------------------------------------------------


def test_roof_bends_at_the_ridge() -> None:
    assert topic.ridge(RATES) == 4
    assert topic.attainable(0, RATES) == 0
    assert topic.attainable(1, RATES) == 10e9
    assert topic.attainable(4, RATES) == 40e9
    assert topic.attainable(400, RATES) == 40e9


@given(work=st.integers(0, 10**12), moved=st.integers(1, 10**12))
def test_time_and_rate_say_the_same(work: int, moved: int) -> None:
    cost = Cost(work, moved)
    seconds = topic.least_seconds(cost, RATES)
    assert seconds >= moved / 10e9
    assert seconds * topic.attainable(cost.intensity, RATES) == pytest.approx(work)


def test_rates_are_those_of_a_machine() -> None:
    start = time.perf_counter()
    rates = topic.measure_rates(torch.device("cpu"), budget=0.01)
    assert time.perf_counter() - start < 60
    assert 1e8 < rates.bytes_copied < 1e13
    assert 1e7 < rates.multiply_adds < 1e15


def test_rates_come_from_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(calls: Any, budget: float, device: torch.device) -> dict[str, list[float]]:
        assert budget == 3
        for call in calls.values():
            call()
        return {"copy": [1.0, 2.0, 9.0], "product": [5.0, 4.0, 3.0]}

    monkeypatch.setattr("course_lib.scaling.roofline.time_within", timed)
    rates = topic.measure_rates(torch.device("cpu"), 3)
    assert rates == Rates(2 * 4 * 2**24 / 2, 1024**3 / 4)  # read and written; medians


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: topic.intensity(3, 0), ValueError, "bytes_moved: expected an integer >= 1"),
        (lambda: topic.intensity(-3, 1), ValueError, "multiply_adds: expected an integer >= 0"),
        (lambda: topic.intensity(1.5, 1), TypeError, "multiply_adds: expected an integer"),
        (lambda: topic.attainable(-1, RATES), ValueError, "intensity: expected a finite number"),
        (lambda: topic.linear_cost(0, 1, 1), ValueError, "batch: expected an integer >= 1"),
        (lambda: topic.linear_cost(1, 1, 1, dtype=4), TypeError, "dtype: expected a dtype, got 4"),
        (lambda: topic.conv2d_cost(1, 1, 1, 5, 4), ValueError, "kernel_size: expected a kernel"),
        (lambda: topic.conv2d_cost(1, 3, 4, 1, 4, groups=2), ValueError, "groups"),
        (lambda: topic.pointwise_cost(0), ValueError, "numel: expected an integer >= 1"),
        (
            lambda: topic.measure_rates(torch.device("cpu"), -1),
            ValueError,
            "budget: expected a finite number >= 0",
        ),
    ],
)
def test_refuses(call: Callable[[], Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        call()


# --- for test_fake_cuda ---------------------------------------------------------------------------


def _measured(make: Any, device: torch.device) -> Any:
    """There is no device to wait for."""
    with mock.patch("course_lib.timing.synchronize"):
        return topic.measure_rates(device, 0)


CALLS: dict[str, Callable[..., Any]] = {
    "intensity": lambda make, device: topic.intensity(3, 2),
    "ridge": lambda make, device: topic.ridge(RATES),
    "attainable": lambda make, device: topic.attainable(2, RATES),
    "least_seconds": lambda make, device: topic.least_seconds(Cost(3, 2), RATES),
    "linear_cost": lambda make, device: topic.linear_cost(2, 3, 4),
    "conv2d_cost": lambda make, device: topic.conv2d_cost(2, 3, 4, 3, 8),
    "pointwise_cost": lambda make, device: topic.pointwise_cost(7),
    "measure_rates": _measured,
}
