"""How long things take, measured so that the noise of the machine falls on all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch

from course_lib.checking import expect_int
from course_lib.device import synchronize


def time_calls(
    calls: Mapping[str, Callable[[], Any]],
    *,
    rounds: int = 7,
    device: torch.device | None = None,
) -> dict[str, list[float]]:
    """Time several calls in turn, round after round, after one round that does not count.

    Args:
        calls: what to time, by name.
        rounds: how often each is called.
        device: where the work is done; it is waited for before the clock is read.
    Returns:
        seconds of each call in each round, by name; one round's times belong together.
    """
    expect_int("rounds", rounds, minimum=1)
    device = device or torch.device("cpu")
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            synchronize(device)
            start = time.perf_counter()
            call()
            synchronize(device)
            if turn > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def time_within(
    calls: Mapping[str, Callable[[], Any]], budget: float, device: torch.device | None = None
) -> dict[str, list[float]]:
    """Time as many rounds as the budget allows, at least 3 and at most 200; see `time_calls`.

    Args:
        budget: seconds, about.
    """
    trial = time_calls(calls, rounds=1, device=device)
    rounds = int(budget / sum(seconds for (seconds,) in trial.values()))
    return time_calls(calls, rounds=min(max(rounds, 3), 200), device=device)


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Median over the rounds of ours / theirs, which a slow moment of the machine hardly moves."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))
