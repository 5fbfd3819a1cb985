"""Time an operation beside its twin, on the same inputs, in turn, in one process.

What counts is the ratio ours / twin: both meet the same machine at the same moment, so a slow
moment or another machine hardly moves it. Times stand beside it, and how far they are from the
limit: the bytes and operations that the task needs, at the rates that this machine reaches in a
copy through memory and in a large matrix product. Only what stays in the cache can be faster.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import torch
from torch import Tensor

from course_lib.scaling import Rates
from course_lib.timing import time_within

FORWARD, BACKWARD = "forward", "with backward"
TOLERANCE = 1e-4
"""Largest error that counts as equal in float32, relative to the largest number of the result."""
SLOWER = 1.25
"""A ratio that grew by this factor is reported; on a busy machine medians move by half of it."""


@dataclass(frozen=True)
class Case:
    """One operation at one size."""

    operation: str
    size: str
    ours: Callable[..., Tensor]
    twin: Callable[..., Tensor]
    inputs: Callable[[torch.Generator], tuple[Tensor, ...]]
    """draws what both are called with, on the CPU"""
    multiply_adds: int = 0
    """of the forward pass; 0 where the definition is not the cheapest way"""
    directions: tuple[str, ...] = (FORWARD, BACKWARD)
    at_most: Mapping[str, float] = field(default_factory=dict)
    """the ratio to reach, by direction"""
    tolerance: float = TOLERANCE
    """for twins that round differently; relative to the largest number of the result"""


@dataclass(frozen=True)
class Result:
    """What came out for one case, on one device, with so many threads, in one direction."""

    operation: str
    size: str
    direction: str
    device: str
    threads: int
    ratio: float
    """median over the rounds of ours / twin"""
    quartiles: tuple[float, float]
    seconds: float
    twin_seconds: float
    times_limit: float
    """ours / what the bytes and operations take at the measured rates"""
    rounds: int
    at_most: float | None

    def name(self) -> str:
        """What makes it the same measurement in another run."""
        where = f"{self.device}, {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.operation} {self.size}, {self.direction}, {where}"


def measure(
    case: Case, direction: str, device: torch.device, rates: Rates, budget: float
) -> Result:
    """Make sure that ours and the twin give the same, then time them.

    Args:
        direction: ``FORWARD``, or ``BACKWARD``, which is both passes.
        rates: from `measure_rates`, on the same device with as many threads.
        budget: seconds, about; three rounds are made in any case.
    Raises:
        ValueError: if the results differ.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [value.to(device) for value in case.inputs(generator)]
    output = case.twin(*inputs)
    given, made = sum(value.nbytes for value in inputs), output.nbytes
    bytes_moved, multiply_adds, signal = given + made, case.multiply_adds, None
    if (
        direction == BACKWARD
    ):  # reads inputs and the output's gradient, writes the inputs' gradients
        bytes_moved, multiply_adds = 3 * given + 2 * made, 3 * multiply_adds
        signal = torch.randn(output.shape, generator=generator).to(device)
        inputs = [value.requires_grad_() for value in inputs]
    calls = {
        name: partial(_run, function, inputs, signal)
        for name, function in (("ours", case.ours), ("twin", case.twin))
    }
    for mine, expected in zip(calls["ours"](), calls["twin"](), strict=True):
        name = f"{case.operation} {case.size}, {direction}"
        _expect_equal(name, mine, expected, case.tolerance)
    seconds = time_within(calls, budget, device)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["twin"], strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    least = max(bytes_moved / rates.bytes_copied, multiply_adds / rates.multiply_adds)
    return Result(
        operation=case.operation,
        size=case.size,
        direction=direction,
        device=device.type,
        threads=torch.get_num_threads(),
        ratio=middle,
        quartiles=(low, high),
        seconds=median(seconds["ours"]),
        twin_seconds=median(seconds["twin"]),
        times_limit=median(seconds["ours"]) / least,
        rounds=len(ratios),
        at_most=case.at_most.get(direction),
    )


def find_slower(results: list[Result], earlier: Mapping[str, float]) -> list[str]:
    """Name the results whose ratio is more than ``SLOWER`` times that of an earlier run.

    Args:
        earlier: ratios, by `Result.name`.
    """
    return [
        f"{now.name()}: {earlier[now.name()]:.2f} then, {now.ratio:.2f} now"
        for now in results
        if now.ratio > SLOWER * earlier.get(now.name(), math.inf)
    ]


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch use so many threads, and then as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def device_name(device: torch.device) -> str:
    """Name the processor as its maker does, where the system tells."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _run(
    function: Callable[..., Tensor], inputs: list[Tensor], signal: Tensor | None
) -> list[Tensor]:
    output = function(*inputs)
    if signal is None:
        return [output]
    return [output.detach(), *torch.autograd.grad(output, inputs, signal)]


def _expect_equal(name: str, ours: Tensor, twin: Tensor, tolerance: float) -> None:
    if ours.shape != twin.shape or ours.dtype != twin.dtype:
        raise ValueError(
            f"{name}: expected {tuple(twin.shape)} {twin.dtype} like the twin's,"
            f" got {tuple(ours.shape)} {ours.dtype}"
        )
    error = float((ours - twin).abs().max() / twin.abs().max())
    if not error <= tolerance:  # a NaN is not equal either
        raise ValueError(
            f"{name}: expected the twin's result to within {tolerance:.0e} of its largest number,"
            f" got an error of {error:.1e}"
        )
