"""The benchmarks: what they measure, refuse, write down and compare."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import benchmarks.__main__ as command
from benchmarks import core
from benchmarks.core import (
    BACKWARD,
    FORWARD,
    LIBRARIES,
    SLOWER,
    Case,
    Library,
    Result,
    UnequalError,
    find_slower,
    measure,
    peak_memory,
    threads,
)
from benchmarks.picture import draw
from course_lib.scaling import Rates
from support import TOPICS, public_callables, topic_module
from tree import ROOT

CPU = torch.device("cpu")
RATES = Rates(bytes_copied=1e9, multiply_adds=1e9)


def twice(x: Tensor, y: Tensor) -> Tensor:
    return 2 * x * y


def tiny(ours: Callable[..., Tensor] = twice, **changes: object) -> Case:
    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        return torch.randn(4, 5, generator=generator), torch.randn(4, 5, generator=generator)

    case = Case("twice", "4×5", ours, lambda x, y: x * y + y * x, draw)
    return replace(case, **changes)  # type: ignore[arg-type]  # fields of a Case


def run(
    monkeypatch: pytest.MonkeyPatch, folder: Path, case: Case, *arguments: str
) -> tuple[int, dict]:
    monkeypatch.setattr(command, "find_cases", lambda text: [case])
    monkeypatch.setattr(command, "SECONDS_QUICK", 0.01)
    monkeypatch.setattr(command, "measure_rates", lambda device, budget: RATES)
    monkeypatch.setattr(command, "available_devices", lambda: [CPU])
    alone = [] if "--record" in arguments else ["--threads", "1"]
    status = command.main(["--quick", *alone, *arguments], folder, folder / "recorded")
    (path,) = folder.glob("*.json")
    return status, json.loads(path.read_text())


def test_runs_end_to_end_and_writes_what_it_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    case = tiny(multiply_adds=20, at_most={FORWARD: 1e-9, BACKWARD: 1e9}, why="it is slow")
    status, record = run(monkeypatch, tmp_path, case)
    assert status == 0
    assert torch.get_num_threads() == before
    assert set(record) == {
        "date", "quick", "machine", "rates by threads", "left out", "results",
    }  # fmt: skip
    assert set(record["machine"]) == {"device", "cpu", "cores", "system", "python", "libraries"}
    assert record["machine"]["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert record["rates by threads"] == {"1": {"bytes_copied": 1e9, "multiply_adds": 1e9}}
    forward, backward = (Result(**fields) for fields in record["results"])
    assert (forward.direction, backward.direction) == (FORWARD, BACKWARD)
    for result in forward, backward:
        assert (result.operation, result.size, result.device) == ("twice", "4×5", "cpu")
        assert (result.threads, result.library) == (1, "torch")
        assert 0 < result.quartiles[0] <= result.ratio <= result.quartiles[1]
        assert 3 <= result.rounds <= 200
    assert (forward.why, backward.why) == ("it is slow", "")  # which reaches its goal
    lines = capsys.readouterr().out.splitlines()
    (line, other) = [row for row in lines if row[:5] == "twice"]
    assert line.endswith("over 0.00")
    assert other.endswith("ok 1000000000.00")
    # which is written with four digits, and so may be rounded twice
    assert {f"{forward.ratio + least:.2f}" for least in (-5e-4, 5e-4)} & set(line.split())
    assert any(row.startswith("1 of 2 goals reached; memory at most 2 times") for row in lines)
    (picture,) = tmp_path.glob("*.svg")
    assert "twice 4×5 | torch, with backward" in picture.read_text("utf-8")
    assert not (tmp_path / "recorded").exists()


def test_numbers_are_written_short_and_read_back() -> None:
    result = replace(measure(tiny(), FORWARD, CPU, RATES, 0.01), ratio=1.23456789, memory=123456789)
    short = command._short(result)
    assert short["ratio"] == 1.235
    assert short["memory"] == 123456789
    assert not {"why", "why_memory", "at_most"} & set(short)
    assert Result(**short).name() == result.name()


def test_limit_is_the_slower_of_bytes_and_operations() -> None:
    def limit(direction: str, rates: Rates, multiply_adds: int = 1000) -> float:
        result = measure(tiny(multiply_adds=multiply_adds), direction, CPU, rates, budget=0.01)
        return result.seconds / result.times_limit

    memory, compute = Rates(1e6, 1e30), Rates(1e30, 1e6)
    assert limit(FORWARD, memory) == pytest.approx((2 + 1) * 20 * 4 / 1e6)
    assert limit(BACKWARD, memory) == pytest.approx((2 * 3 + 2) * 20 * 4 / 1e6)
    assert limit(FORWARD, compute) == pytest.approx(1000 / 1e6)
    assert limit(BACKWARD, compute) == pytest.approx(3000 / 1e6)


def test_only_what_is_read_counts_for_the_limit() -> None:
    def moved(direction: str) -> float:
        result = measure(tiny(reads=7), direction, CPU, Rates(1.0, 1e30), budget=0)
        return result.seconds / result.times_limit

    assert moved(FORWARD) == pytest.approx(7 + 20 * 4)
    assert moved(BACKWARD) == pytest.approx(2 * 7 + (1 + 2 + 1) * 20 * 4)  # the gradients are whole


def test_some_work_has_no_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = tiny(limited=False, whole="a step", why={BACKWARD: "it is slow"})
    status, record = run(monkeypatch, tmp_path, case)
    assert status == 0
    forward, backward = (Result(**fields) for fields in record["results"])
    assert forward.times_limit is backward.times_limit is None
    assert (forward.whole, backward.whole) == ("a step", "")
    assert (forward.why, backward.why) == ("", "it is slow")


def test_tells_the_slower_one_from_the_faster() -> None:
    def slow(x: Tensor, y: Tensor) -> Tensor:
        for _ in range(100):
            x = x + 0 * y
        return 2 * x * y

    result = measure(tiny(slow), FORWARD, CPU, RATES, budget=0.05)
    assert result.ratio > 3
    assert result.seconds > result.twin_seconds


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda x, y: 2.001 * x * y, "an error of 5.0e-04"),
        (lambda x, y: 2 * x * y * torch.nan, "an error of nan"),
        (lambda x, y: (2 * x * y)[:, :1], r"like the twin's, got \(4, 1\)"),
        (lambda x, y: (2 * x * y).double(), "got .* torch.float64"),
    ],
)
def test_refuses_unequal_results(wrong: Callable[..., Tensor], says: str) -> None:
    with pytest.raises(UnequalError, match=f"twice 4×5, torch, forward: expected .*{says}"):
        measure(tiny(wrong), FORWARD, CPU, RATES, budget=0.01)


def test_refuses_unequal_gradients() -> None:
    case = tiny(lambda x, y: 2 * x.detach() * y + 0 * x)
    measure(case, FORWARD, CPU, RATES, budget=0.01)
    with pytest.raises(UnequalError, match="with backward"):
        measure(case, BACKWARD, CPU, RATES, budget=0.01)


def test_unequal_results_fail_the_run_but_do_not_stop_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tiny(lambda x, y: 2 * x.detach() * y + 0 * x)
    status, record = run(monkeypatch, tmp_path, case)
    assert status == 1
    assert [result["direction"] for result in record["results"]] == [FORWARD]
    assert "unequal: twice 4×5, torch, with backward" in capsys.readouterr().out


@pytest.mark.parametrize(("factor", "status"), [(0.001, 1), (1000.0, 0)])
def test_compares_with_an_earlier_run_by_ratio(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    factor: float,
    status: int,
) -> None:
    _, record = run(monkeypatch, tmp_path / "first", tiny(directions=(FORWARD,)))
    record["results"][0]["ratio"] *= factor
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(record))
    now, _ = run(
        monkeypatch, tmp_path / "now", tiny(directions=(FORWARD,)), "--against", str(earlier)
    )
    assert now == status
    assert (
        "slower: twice 4×5, torch, forward, cpu, 1 thread: 0.00 then" in capsys.readouterr().out
    ) == (status == 1)


def test_only_the_same_measurement_is_compared() -> None:
    now = measure(tiny(), FORWARD, CPU, RATES, budget=0.01)
    just, little = now.ratio / SLOWER * 0.99, now.ratio / SLOWER * 1.01
    assert find_slower([now], {now.name(): just}) == [
        f"{now.name()}: {just:.2f} then, {now.ratio:.2f} now"
    ]
    assert not find_slower([now], {now.name(): little})
    others = [
        replace(now, operation="other"),
        replace(now, size="other"),
        replace(now, library="other"),
        replace(now, direction="other"),
        replace(now, device="other"),
        replace(now, threads=now.threads + 1),
    ]
    assert not find_slower(others, {now.name(): just})


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), threads(before + 1):
        _ = 1 / 0
    assert torch.get_num_threads() == before


def test_finds_the_cases_of_the_chapters_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    cases = command.find_cases()
    assert len({case.name() for case in cases}) == len(cases)
    assert {case.chapter for case in cases} <= set(TOPICS)
    operations = {case.operation for case in command.find_cases("convolution")}
    assert operations == {
        "conv2d",
        "conv2d_fft",
        "conv2d_input",
        "conv2d_weight",
        "conv_transpose2d",
        "convolve2d",
        "cross_correlate2d",
        "gaussian_kernel",
        "separable_conv2d",
    }
    assert {case.operation for case in command.find_cases("conv2d_fft")} == {"conv2d_fft"}
    with pytest.raises(SystemExit):
        command.main(["--only", "no such case"])
    assert "--only: expected a part of a case's name, got 'no such case'" in capsys.readouterr().err


# --- what is measured beside time -----------------------------------------------------------------


def test_memory_is_the_most_that_was_held_at_one_time() -> None:
    x = torch.ones(1000)

    def three_in_turn() -> Tensor:
        y = x + x
        z = y * 2
        del y
        return z + 1

    assert peak_memory(lambda: x + x, CPU) == 4000
    assert 8000 <= peak_memory(three_in_turn, CPU) < 8100  # beside them the numbers 2 and 1
    assert peak_memory(lambda: x, CPU) == 0
    assert peak_memory(lambda: x, torch.device("meta")) is None


def test_memory_on_cuda_is_what_its_counters_say(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: called.append("wait"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: called.append("reset"))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 350)
    assert peak_memory(lambda: called.append("call"), torch.device("cuda")) == 250
    assert called == ["wait", "reset", "call", "wait"]


def test_memory_is_compared_where_both_are_seen_and_it_matters() -> None:
    def large(x: Tensor, y: Tensor) -> Tensor:
        return 2 * x.repeat(20_000, 1)[:4] * y

    result = measure(tiny(large), FORWARD, CPU, RATES, budget=0)
    assert result.memory is not None
    assert result.twin_memory is not None
    assert result.memory > 20_000 * 20 * 4
    assert result.twin_memory < 1000
    assert result.memory_ratio() == result.memory / result.twin_memory
    assert measure(tiny(), FORWARD, CPU, RATES, budget=0).memory_ratio() is None
    outside = measure(tiny(large, library="OpenCV"), FORWARD, CPU, RATES, budget=0)
    assert outside.memory == result.memory
    assert outside.twin_memory is None
    assert outside.memory_ratio() is None


def test_inputs_of_whole_numbers_have_no_gradient() -> None:
    def pick(x: Tensor, index: Tensor) -> Tensor:
        return x[index]

    case = Case(
        "pick", "3", pick, lambda x, index: x.index_select(0, index),
        lambda generator: (torch.randn(5, generator=generator), torch.tensor([4, 0, 0])),
    )  # fmt: skip
    result = measure(case, BACKWARD, CPU, Rates(1.0, 1e30), budget=0)
    moved = result.seconds / result.times_limit
    assert moved == pytest.approx(2 * (5 * 4 + 3 * 8) + 5 * 4 + 2 * 3 * 4)


@pytest.mark.parametrize(
    "value", [torch.zeros(3), torch.empty(0), torch.tensor([True, False]), torch.tensor([2, 3])]
)
def test_equal_results_need_not_be_numbers_above_zero(value: Tensor) -> None:
    case = replace(tiny(), ours=lambda *_: value, twin=lambda *_: value.clone())
    assert measure(case, FORWARD, CPU, RATES, budget=0).rounds == 3
    if value.numel() and value.any():
        wrong = replace(case, twin=lambda *_: value.flip(0))
        with pytest.raises(UnequalError):
            measure(wrong, FORWARD, CPU, RATES, budget=0)


def test_a_goal_may_depend_on_threads_and_device() -> None:
    case = tiny(at_most={FORWARD: (1.2, 0.7), BACKWARD: 3.0}, on_cuda={FORWARD: 1.0})
    cuda = torch.device("cuda")
    assert [case.goal(FORWARD, CPU, n) for n in (1, 2, 8)] == [1.2, 0.7, 0.7]
    assert case.goal(BACKWARD, CPU, 2) == 3.0
    assert case.goal(FORWARD, cuda, 8) == 1.0
    assert case.goal(BACKWARD, cuda, 8) is None
    assert case.goal(FORWARD, torch.device("mps"), 8) is None
    with threads(1):
        assert measure(case, FORWARD, CPU, RATES, budget=0).at_most == 1.2


# --- what is left out, fails, or is recorded ------------------------------------------------------


def test_what_cannot_be_measured_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(LIBRARIES, "nowhere", Library("no_such_module", "bench"))
    missing = tiny(library="nowhere")
    status, record = run(monkeypatch, tmp_path, missing)
    assert status == 0
    assert record["results"] == []
    reason = "nowhere is not installed; it is in the extra 'bench'"
    assert record["left out"] == {"twice 4×5, nowhere": reason}
    assert f"left out: twice 4×5, nowhere: {reason}" in capsys.readouterr().out
    assert tiny(library="OpenCV").left_out(torch.device("cuda"), False).endswith("on the CPU")
    assert tiny(library="OpenCV").left_out(CPU, False) == ""
    assert core.slow(tiny()).left_out(CPU, True) == "too slow for a quick run"
    assert core.slow(tiny()).left_out(CPU, False) == ""


def test_every_twin_names_the_extra_that_installs_it() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {"OpenCV": "opencv-python-headless"}
    for name, library in LIBRARIES.items():
        lines = extras["optional-dependencies"].get(library.extra, extras["dependencies"])
        wanted = packages.get(name, name.lower())
        assert any(re.match(rf"{wanted}\b", line) for line in lines) or name == "SciPy", name
    assert {case.library for case in command.find_cases()} == set(LIBRARIES)


def test_a_case_that_fails_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(x: Tensor, y: Tensor) -> Tensor:
        if x.requires_grad:
            raise RuntimeError("out of something")
        return 2 * x * y

    status, record = run(monkeypatch, tmp_path, tiny(breaks))
    assert status == 1
    assert [result["direction"] for result in record["results"]] == [FORWARD]
    expected = "failed: twice 4×5, torch, with backward: RuntimeError('out of something')"
    assert expected in capsys.readouterr().out


def test_a_whole_run_is_recorded_if_all_is_equal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, record = run(monkeypatch, tmp_path / "good", tiny(), "--record")
    assert status == 0
    (path,) = (tmp_path / "good" / "recorded").iterdir()
    assert json.loads(path.read_text()) == record
    status, _ = run(monkeypatch, tmp_path / "bad", tiny(lambda x, y: x * y), "--record")
    assert status == 1
    assert not (tmp_path / "bad" / "recorded").exists()
    for option in ("--only=conv2d", "--threads=1"):
        with pytest.raises(SystemExit):
            command.main(["--record", option])
        assert "--record: expected a whole run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "path", sorted((ROOT / "benchmarks" / "recorded").glob("*.json")), ids=lambda path: path.stem
)
def test_what_was_recorded_can_be_shown_and_names_no_place(path: Path) -> None:
    text = path.read_text("utf-8")
    record = json.loads(text)
    assert len([Result(**fields) for fields in record["results"]]) > 100
    assert {result["chapter"] for result in record["results"]} <= set(TOPICS)
    assert not re.search(r"https?:|\w/\w+/|/home|/root|/tmp", text)
    assert path.stat().st_size < 300_000


# --- the picture ----------------------------------------------------------------------------------


def test_the_picture_has_a_row_for_each_operation_and_size(tmp_path: Path) -> None:
    one = replace(measure(tiny(), FORWARD, CPU, RATES, budget=0), chapter="softmax", threads=1)
    two = replace(one, threads=2, at_most=0.001)
    draw([one, two, replace(one, size="9×9")], tmp_path / "picture.svg")
    text = (tmp_path / "picture.svg").read_text("utf-8")
    rows = re.findall(r"<!-- (softmax: .*?) -->", text)
    assert rows == ["softmax: twice 9×9 | torch, forward", "softmax: twice 4×5 | torch, forward"]
    assert {"#0069a6", "#a34700"} <= set(re.findall(r"#[0-9a-f]{6}", text))  # two misses its goal


# --- the cases ------------------------------------------------------------------------------------

# What the course set out to reach, of each operation: `Case.at_most`, over its sizes.
GOALS: dict[str, set[Any]] = {
    "adaptive_avg_pool2d": set(),
    "alpha_blend": {8, 1.1},
    "avg_pool2d": {0.15, 1.0},
    "box_iou": {0.22, 0.12},
    "conv2d": {1.35, 2.0, 4.0, 1.0},
    "conv2d_fft": {0.30},
    "cross_entropy": {0.45, 1.25, 0.65},
    "fit": {1.05, 0.8, 0.75},
    "fit_gan": {0.8},
    "max_pool2d": {0.15, 1.0, 1.5},
    "mean_average_precision": {0.08},
    "nms": {0.40, 0.30, 0.20, 0.10, 0.12, 1.5, 2.5, 6},
    "poisson_blend": {0.5},
    "pyramid_blend": {1.5, 0.1},
    "roi_align": {0.45, 0.2},
    "roi_pool": {(1.2, 0.7)},
}


def test_every_goal_belongs_to_a_case() -> None:
    found: dict[str, set[Any]] = {}
    for case in command.find_cases():
        found.setdefault(case.operation, set()).update(case.at_most.values())
    assert {name: found[name] for name in GOALS} == GOALS
    assert {name for name, goals in found.items() if goals} <= set(GOALS)


# It gives a number to know, not one to wait for.
UNTIMED = {"calculate_gain"}


@pytest.mark.parametrize("topic", TOPICS)
def test_every_function_with_a_twin_is_timed(topic: str) -> None:
    twins = {
        name
        for name, function in public_callables(topic_module(topic)).items()
        if inspect.isfunction(function) and "win of `" in (function.__doc__ or "")
    }
    assert twins - UNTIMED <= {case.operation for case in command.find_cases(topic)}


FIRST = {
    (case.operation, case.library): case for case in reversed(command.find_cases()) if not case.slow
}


@pytest.mark.parametrize("case", FIRST.values(), ids=Case.name)
def test_the_first_case_of_each_kind_is_equal_to_its_twin(case: Case) -> None:
    if reason := case.left_out(CPU, quick=False):
        pytest.skip(reason)
    with threads(1):  # that several wait for each other is not what is tested
        assert measure(case, case.directions[-1], CPU, RATES, budget=0).rounds == 3


@pytest.mark.parametrize(
    "text",
    ["128×4×3×3", "stride 2", "dilation", "channels last", "probabilities", "label_smoothing"],
)
def test_cases_with_options_are_equal_to_their_twins(text: str) -> None:
    with threads(1):
        measure(command.find_cases(text)[0], FORWARD, CPU, RATES, budget=0)
