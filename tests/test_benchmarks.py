"""The benchmarks: what they measure, refuse, write down and compare."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import benchmarks.__main__ as command
from benchmarks.core import (
    BACKWARD,
    FORWARD,
    SLOWER,
    Case,
    Result,
    find_slower,
    measure,
    threads,
)
from course_lib.scaling import Rates

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
    status = command.main(["--quick", "--threads", "1", *arguments], folder)
    (path,) = folder.iterdir()
    return status, json.loads(path.read_text())


def test_runs_end_to_end_and_writes_what_it_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads()
    case = tiny(multiply_adds=20, at_most={FORWARD: 1e-9, BACKWARD: 1e9})
    status, record = run(monkeypatch, tmp_path, case)
    assert status == 0
    assert torch.get_num_threads() == before
    assert set(record) == {"date", "machine", "rates by threads", "results"}
    assert set(record["machine"]) == {"device", "cpu", "cores", "system", "python", "torch"}
    assert record["machine"]["torch"] == torch.__version__
    assert record["rates by threads"] == {"1": {"bytes_copied": 1e9, "multiply_adds": 1e9}}
    forward, backward = (Result(**fields) for fields in record["results"])
    assert (forward.direction, backward.direction) == (FORWARD, BACKWARD)
    for result in forward, backward:
        assert (result.operation, result.size, result.device) == ("twice", "4×5", "cpu")
        assert result.threads == 1
        assert 0 < result.quartiles[0] <= result.ratio <= result.quartiles[1]
        assert 3 <= result.rounds <= 200
    (line, other) = [row for row in capsys.readouterr().out.splitlines() if row[:5] == "twice"]
    assert line.endswith("over 0.00")
    assert other.endswith("ok 1000000000.00")
    assert f"{forward.ratio:.2f}" in line


def test_limit_is_the_slower_of_bytes_and_operations() -> None:
    def limit(direction: str, rates: Rates, multiply_adds: int = 1000) -> float:
        result = measure(tiny(multiply_adds=multiply_adds), direction, CPU, rates, budget=0.01)
        return result.seconds / result.times_limit

    memory, compute = Rates(1e6, 1e30), Rates(1e30, 1e6)
    assert limit(FORWARD, memory) == pytest.approx((2 + 1) * 20 * 4 / 1e6)
    assert limit(BACKWARD, memory) == pytest.approx((2 * 3 + 2) * 20 * 4 / 1e6)
    assert limit(FORWARD, compute) == pytest.approx(1000 / 1e6)
    assert limit(BACKWARD, compute) == pytest.approx(3000 / 1e6)


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
    with pytest.raises(ValueError, match=f"twice 4×5, forward: expected .*{says}"):
        measure(tiny(wrong), FORWARD, CPU, RATES, budget=0.01)


def test_refuses_unequal_gradients() -> None:
    case = tiny(lambda x, y: 2 * x.detach() * y + 0 * x)
    measure(case, FORWARD, CPU, RATES, budget=0.01)
    with pytest.raises(ValueError, match="with backward"):
        measure(case, BACKWARD, CPU, RATES, budget=0.01)


def test_unequal_results_fail_the_run_but_do_not_stop_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tiny(lambda x, y: 2 * x.detach() * y + 0 * x)
    status, record = run(monkeypatch, tmp_path, case)
    assert status == 1
    assert [result["direction"] for result in record["results"]] == [FORWARD]
    assert "unequal: twice 4×5, with backward" in capsys.readouterr().out


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
    assert ("slower: twice 4×5, forward, cpu, 1 thread: 0.00 then" in capsys.readouterr().out) == (
        status == 1
    )


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
    assert len({(case.operation, case.size) for case in cases}) == len(cases)
    operations = {case.operation for case in command.find_cases("convolution")}
    assert operations == {
        "conv2d",
        "conv2d_fft",
        "conv2d_input",
        "conv2d_weight",
        "conv_transpose2d",
        "separable_conv2d",
    }
    assert {case.operation for case in command.find_cases("conv2d_fft")} == {"conv2d_fft"}
    with pytest.raises(SystemExit):
        command.main(["--only", "no such case"])
    assert "--only: expected a part of a case's name, got 'no such case'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    ["tiny", "128×4×3×3", "conv_transpose2d", "conv2d_input", "conv2d_weight", "7×7 on", "9 taps"],
)
def test_cases_of_every_kind_are_equal_to_their_twins(text: str) -> None:
    case = command.find_cases(text)[0]
    result = measure(case, FORWARD, CPU, RATES, budget=0)
    assert result.rounds == 3
