"""Time an operation beside its twin, on the same inputs, in turn, in one process.

What counts is the ratio ours / twin: both meet the same machine at the same moment, so a slow
moment or another machine hardly moves it. Times stand beside it, and how far they are from the
limit: the bytes and operations that the task needs, at the rates that this machine reaches in a
copy through memory and in a large matrix product. Only what stays in the cache can be faster.
The most memory that each held at one time is counted in the same run.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.profiler import profile

from course_lib.scaling import Rates
from course_lib.timing import time_within

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would print a line at each call

FORWARD, BACKWARD = "forward", "with backward"
TOLERANCE = 1e-4
"""Largest error that counts as equal in float32, relative to the largest number of the result."""
SLOWER = 1.25
"""A ratio that grew by this factor is reported; on a busy machine medians move by half of it."""
MEMORY_AT_MOST, LITTLE_MEMORY = 2.0, 2**20
"""how often the twin's peak of memory ours may be, and how many bytes are nobody's business"""


class Library(NamedTuple):
    """Where a twin comes from."""

    module: str
    extra: str = ""
    """of pyproject.toml, which installs it"""
    in_torch: bool = True
    """whether it computes on tensors, on any device; other memory than torch's is not seen"""


LIBRARIES = {
    "torch": Library("torch"),
    "torchvision": Library("torchvision", "chapters"),
    "torchmetrics": Library("torchmetrics", "test"),
    "kornia": Library("kornia", "bench"),
    "Lightning": Library("lightning", "bench"),
    "OpenCV": Library("cv2", "chapters", in_torch=False),
    "pycocotools": Library("pycocotools", "test", in_torch=False),
    "scikit-image": Library("skimage", "chapters", in_torch=False),
    "scikit-learn": Library("sklearn", "chapters", in_torch=False),
    "SciPy": Library("scipy", "chapters", in_torch=False),
}


class UnequalError(ValueError):
    """Ours and the twin do not give the same."""


@dataclass(frozen=True)
class Case:
    """One operation at one size, beside one twin."""

    operation: str
    size: str
    ours: Callable[..., Tensor]
    twin: Callable[..., Tensor]
    inputs: Callable[[torch.Generator], tuple[Tensor, ...]]
    """draws what both are called with, on the CPU; gradients are of those that are floating"""
    multiply_adds: int = 0
    """of the forward pass; 0 where the definition is not the cheapest way"""
    directions: tuple[str, ...] = (FORWARD, BACKWARD)
    at_most: Mapping[str, float | tuple[float, float]] = field(default_factory=dict)
    """the ratio to reach on a CPU, by direction; of two, with one thread and with more"""
    on_cuda: Mapping[str, float] = field(default_factory=dict)
    """the ratio to reach there, by direction"""
    tolerance: float = TOLERANCE
    """for twins that round differently; relative to the largest number of the result"""
    library: str = "torch"
    """whose function the twin is, one of `LIBRARIES`"""
    why: str | Mapping[str, str] = ""
    """why the ratio is missed, or is large where there is none, in a clause; if by direction, only
    for those"""
    slow: bool = False
    """whether a quick run leaves it out"""
    chapter: str = ""
    """filled in by who collects the cases"""
    why_memory: str = ""
    """why it needs more memory than `MEMORY_AT_MOST` allows; from `benchmarks.reasons`"""
    whole: str = ""
    """what a forward call is, where it is more than a pass: ``"an epoch"``"""
    reads: int | None = None
    """bytes of the inputs that a pass has to read, where it is not all"""
    limited: bool = True
    """whether bytes and multiply-adds say anything about the least time"""

    def name(self) -> str:
        """Tell it from the other cases."""
        return f"{self.operation} {self.size}, {self.library}"

    def goal(self, direction: str, device: torch.device, number_of_threads: int) -> float | None:
        """Say what ratio to reach there."""
        if device.type != "cpu":
            return self.on_cuda.get(direction) if device.type == "cuda" else None
        goal = self.at_most.get(direction)
        return goal[number_of_threads > 1] if isinstance(goal, tuple) else goal

    def reason(self, direction: str) -> str:
        """Say why it is slow there, if anything is said about it."""
        return self.why if isinstance(self.why, str) else self.why.get(direction, "")

    def left_out(self, device: torch.device, quick: bool) -> str:
        """Say why it can't be measured there, if it can't."""
        library = LIBRARIES[self.library]
        if not is_installed(self.library):
            return f"{self.library} is not installed; it is in the extra {library.extra!r}"
        if device.type != "cpu" and not library.in_torch:
            return f"{self.library} computes on the CPU"
        return "too slow for a quick run" if quick and self.slow else ""


def by(shape: tuple[int, ...]) -> str:
    """Write a shape as text."""
    return "×".join(map(str, shape))


def normal(*shapes: tuple[int, ...]) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Draw normal numbers as a case's inputs."""
    return lambda generator: tuple(torch.randn(shape, generator=generator) for shape in shapes)


def uniform(*shapes: tuple[int, ...]) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Draw numbers from 0 to 1 as a case's inputs."""
    return lambda generator: tuple(torch.rand(shape, generator=generator) for shape in shapes)


def slow(case: Case) -> Case:
    """Mark a case that a quick run leaves out."""
    return replace(case, slow=True)


def imported(module: str, name: str) -> Callable[..., Any]:
    """A function of a library that need not be there, imported when it is first called."""

    def call(*inputs: Any, **options: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*inputs, **options)

    return call


def is_installed(library: str) -> bool:
    """Whether a library's twins can be called here."""
    return importlib.util.find_spec(LIBRARIES[library].module) is not None


@dataclass(frozen=True)
class Result:
    """What came out for one case, on one device, with so many threads, in one direction."""

    chapter: str
    operation: str
    size: str
    library: str
    direction: str
    device: str
    threads: int
    ratio: float
    """median over the rounds of ours / twin"""
    quartiles: tuple[float, float]
    seconds: float
    twin_seconds: float
    rounds: int
    times_limit: float | None = None
    """ours / what the bytes and operations take at the measured rates, if that is a limit"""
    at_most: float | None = None
    memory: int | None = None
    """bytes of torch's that ours held at most, beyond what was there before; not the inputs"""
    twin_memory: int | None = None
    why: str = ""
    why_memory: str = ""
    whole: str = ""

    def name(self) -> str:
        """What makes it the same measurement in another run."""
        where = f"{self.device}, {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{self.operation} {self.size}, {self.library}, {self.direction}, {where}"

    def memory_ratio(self) -> float | None:
        """Ours / twin; none if it was not measured, or is too little to matter."""
        if not self.memory or not self.twin_memory or self.memory < LITTLE_MEMORY:
            return None
        return self.memory / self.twin_memory


def measure(
    case: Case, direction: str, device: torch.device, rates: Rates, budget: float
) -> Result:
    """Make sure that ours and the twin give the same, count their memory, then time them.

    Args:
        direction: ``FORWARD``, or ``BACKWARD``, which is both passes.
        rates: from `measure_rates`, on the same device with as many threads.
        budget: seconds, about; three rounds are made in any case.
    Raises:
        UnequalError: if the results differ.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = [value.to(device) for value in case.inputs(generator)]
    signal = None
    if direction == BACKWARD:
        signal = torch.randn(case.twin(*inputs).shape, generator=generator).to(device)
        for value in inputs:
            value.requires_grad_(value.is_floating_point())
    calls = {
        name: partial(_run, function, inputs, signal)
        for name, function in (("ours", case.ours), ("twin", case.twin))
    }
    results = zip(calls["ours"](), calls["twin"](), strict=True)
    read = sum(value.nbytes for value in inputs) if case.reads is None else case.reads
    moved = read
    for mine, expected in results:
        _expect_equal(f"{case.name()}, {direction}", mine, expected, case.tolerance)
        moved += expected.nbytes
    multiply_adds = case.multiply_adds
    if signal is not None:  # both passes read the inputs, and one writes what the other reads
        moved += read + signal.nbytes
        multiply_adds *= 3
    memory = peak_memory(calls["ours"], device)
    in_torch = LIBRARIES[case.library].in_torch
    twin_memory = peak_memory(calls["twin"], device) if in_torch else None
    seconds = time_within(calls, budget, device)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["twin"], strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    least = max(moved / rates.bytes_copied, multiply_adds / rates.multiply_adds)
    return Result(
        chapter=case.chapter,
        operation=case.operation,
        size=case.size,
        library=case.library,
        direction=direction,
        device=device.type,
        threads=torch.get_num_threads(),
        ratio=middle,
        quartiles=(low, high),
        seconds=median(seconds["ours"]),
        twin_seconds=median(seconds["twin"]),
        rounds=len(ratios),
        times_limit=median(seconds["ours"]) / least if case.limited else None,
        at_most=case.goal(direction, device, torch.get_num_threads()),
        memory=memory,
        twin_memory=twin_memory,
        why=case.reason(direction),
        why_memory=case.why_memory,
        whole=case.whole if direction == FORWARD else "",
    )


def peak_memory(call: Callable[[], object], device: torch.device) -> int | None:
    """Count the bytes that torch holds at most during a call, beyond those it held before.

    On the CPU every allocation is looked at. A device whose memory has no counter gives ``None``.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        return None
    with profile(profile_memory=True) as seen:
        call()
    events = [event for event in seen.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events), default=0)  # freed is negative


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


def keep_memory() -> None:
    """Bring the C library where every longer run brings it: to keep what is freed, up to 32 MiB.

    Before it has seen such a block freed, it asks the system for each large tensor anew, which on
    some machines costs more than the operation; the first cases would differ from the others.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


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
    learned = [value for value in inputs if value.requires_grad]
    return [output.detach(), *torch.autograd.grad(output, learned, signal)]


def _expect_equal(name: str, ours: Tensor, twin: Tensor, tolerance: float) -> None:
    if ours.shape != twin.shape or ours.dtype != twin.dtype:
        raise UnequalError(
            f"{name}: expected {tuple(twin.shape)} {twin.dtype} like the twin's,"
            f" got {tuple(ours.shape)} {ours.dtype}"
        )
    if torch.equal(ours, twin):  # also where all is 0, or there is nothing
        return
    if not twin.is_floating_point():
        ours, twin = ours.double(), twin.double()
    error = float((ours - twin).abs().max() / twin.abs().max())
    if not error <= tolerance:  # a NaN is not equal either
        raise UnequalError(
            f"{name}: expected the twin's result to within {tolerance:.0e} of its largest number,"
            f" got an error of {error:.1e}"
        )
