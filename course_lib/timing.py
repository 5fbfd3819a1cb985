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
    _time_once(calls, device)
    return _by_call([_time_once(calls, device) for _ in range(rounds)])


def time_within(
    calls: Mapping[str, Callable[[], Any]], budget: float, device: torch.device | None = None
) -> dict[str, list[float]]:
    """Time as many rounds as the budget allows, at least 3 and at most 200; see `time_calls`.

    Args:
        budget: seconds, about.
    """
    _time_once(calls, device)
    end, rounds = time.perf_counter() + budget, list[dict[str, float]]()
    while len(rounds) < 3 or (len(rounds) < 200 and time.perf_counter() < end):
        rounds.append(_time_once(calls, device))
    return _by_call(rounds)


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Median over the rounds of ours / theirs, which a slow moment of the machine hardly moves."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def _time_once(
    calls: Mapping[str, Callable[[], Any]], device: torch.device | None
) -> dict[str, float]:
    """Seconds of each call, one after the other."""
    device, seconds = device or torch.device("cpu"), {}
    for name, call in calls.items():
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        seconds[name] = time.perf_counter() - start
    return seconds


def _by_call(rounds: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [seconds[name] for seconds in rounds] for name in rounds[0]}
