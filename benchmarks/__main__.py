"""The command line of the benchmarks; ``python -m benchmarks --help`` lists its options."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import pkgutil
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import MISSING, asdict, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import torch

import benchmarks
from benchmarks.core import (
    LIBRARIES,
    MEMORY_AT_MOST,
    Case,
    Result,
    UnequalError,
    device_name,
    find_slower,
    is_installed,
    keep_memory,
    measure,
    threads,
)
from benchmarks.picture import draw
from benchmarks.reasons import MORE_MEMORY
from course_lib.device import available_devices
from course_lib.scaling import measure_rates

RESULTS, RECORDED = (Path(__file__).with_name(name) for name in ("results", "recorded"))
SECONDS, SECONDS_QUICK = 0.5, 0.05
"""what the timing of one case takes in one direction"""
HEADING = (
    f"{'operation and size':65}{'twin':13}{'direction':14}{'ratio':>6}{'quartiles':>14}"
    f"{'rounds':>7}{'ours, ms':>10}{'twin, ms':>10}{'x limit':>8}{'memory':>7}  goal"
)


def find_cases(text: str = "") -> list[Case]:
    """Collect the ``CASES`` of every chapter's module here, of which the name contains ``text``."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    chapters = {n: importlib.import_module(f"benchmarks.{n}") for n in names if n != "__main__"}
    return [
        replace(case, chapter=name, why_memory=MORE_MEMORY.get(case.operation, ""))
        for name, chapter in chapters.items()
        for case in getattr(chapter, "CASES", [])
        if text in f"{name} {case.name()}"
    ]


def describe(result: Result) -> str:
    """Write one line of the table."""
    low, high = result.quartiles
    memory, goal = result.memory_ratio(), ""
    limit = "-" if result.times_limit is None else f"{result.times_limit:.1f}"
    if result.at_most is not None:
        goal = f"{'ok' if result.ratio <= result.at_most else 'over'} {result.at_most:.2f}"
    return (
        f"{result.operation + ' ' + result.size:64} {result.library:13}{result.direction:14}"
        f"{result.ratio:6.2f}{low:7.2f} -{high:5.2f}{result.rounds:7}{1e3 * result.seconds:10.2f}"
        f"{1e3 * result.twin_seconds:10.2f}{limit:>8}"
        f"{'-' if memory is None else f'{memory:.1f}':>7}  {goal}"
    ).rstrip()


def run(
    cases: Sequence[Case], device: torch.device, budget: float
) -> tuple[dict[str, float], list[Result], list[str]]:
    """Time the cases on one device with the threads that torch has, and print the table.

    Returns:
        the device's rates, the results, and a line for each case that failed or is not its twin's.
    """
    keep_memory()
    rates, results, problems = measure_rates(device, budget), list[Result](), list[str]()
    print(
        f"\n{device_name(device)}, threads: {torch.get_num_threads()}, copies"
        f" {rates.bytes_copied / 1e9:.1f} GB/s, multiplies and adds"
        f" {rates.multiply_adds / 1e9:.1f} G/s\n{HEADING}"
    )
    for case in cases:
        for direction in case.directions:
            try:
                results.append(measure(case, direction, device, rates, budget))
                print(describe(results[-1]), flush=True)
            except UnequalError as error:
                problems.append(f"unequal: {error}")
                print(problems[-1], flush=True)
            except Exception as error:  # one case that fails does not cost the others' results
                problems.append(f"failed: {case.name()}, {direction}: {error!r}")
                print(problems[-1], flush=True)
    return asdict(rates), results, problems


def main(
    arguments: Sequence[str] | None = None, folder: Path = RESULTS, recorded: Path = RECORDED
) -> int:
    """Time the cases on every device; write a JSON file and a picture for each into ``folder``.

    Returns:
        1 if a result is not its twin's, or slower than in the earlier run; 0 otherwise.
    """
    parser = argparse.ArgumentParser("benchmarks", description=benchmarks.__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    parser.add_argument(
        "--threads",
        metavar="1,2",
        help="of the CPU; by default one, and all, or all for a quick run",
    )
    parser.add_argument("--quick", action="store_true", help="few rounds, no slow cases")
    parser.add_argument("--against", type=Path, metavar="FILE", help="results of an earlier run")
    parser.add_argument("--record", action="store_true", help="for the page of the book")
    options = parser.parse_args(arguments)
    if options.record and (options.only or options.threads):
        parser.error("--record: expected a whole run, got one with --only or --threads")
    cases = find_cases(options.only)
    if not cases:
        parser.error(f"--only: expected a part of a case's name, got {options.only!r}")
    every = torch.get_num_threads()
    usual = {every} if options.quick else {1, every}
    wanted = {int(n) for n in options.threads.split(",")} if options.threads else usual
    budget = SECONDS_QUICK if options.quick else SECONDS
    earlier = _ratios(options.against) if options.against else {}
    problems: list[str] = []
    torch.backends.cudnn.allow_tf32 = False  # both sides compute in float32, or ratios mean little
    for device in available_devices():
        rates, results = {}, list[Result]()
        reasons = {case.name(): case.left_out(device, options.quick) for case in cases}
        chosen = [case for case in cases if not reasons[case.name()]]
        for number in sorted(wanted) if device.type == "cpu" else [every]:
            with threads(number):
                rates[number], timed, wrong = run(chosen, device, budget)
            results += timed
            problems += wrong
        problems += [f"slower: {line}" for line in find_slower(results, earlier)]
        record = {
            "date": date.today().isoformat(),
            "quick": options.quick,
            "machine": _machine(device),
            "rates by threads": rates,
            "left out": {name: reason for name, reason in reasons.items() if reason},
            "results": [_short(result) for result in results],
        }
        for name, reason in record["left out"].items():
            print(f"left out: {name}: {reason}")
        print(_summary(results))
        slug = re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")
        path = _write(record, folder / f"{record['date']}-{slug}.json")
        draw(results, path.with_suffix(".svg"))
        print(f"written to {path}, drawn beside it")
        if options.record and not problems:
            print(f"recorded in {_write(record, recorded / f'{slug}.json')}")
    print(*problems, sep="\n")
    return 1 if problems else 0


def _machine(device: torch.device) -> dict[str, Any]:
    packages = importlib.metadata.packages_distributions()
    modules = {name: library.module for name, library in LIBRARIES.items() if is_installed(name)}
    return {
        "device": device_name(device),
        "cpu": device_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {
            name: importlib.metadata.version(packages[module][0])
            for name, module in modules.items()
        },
    }


def _short(result: Result) -> dict[str, Any]:
    """A result's fields as they are written: rounded, without what is not there.

    The reason why something is slow is left out where it is not, as far as a goal can tell.
    """
    if result.at_most is not None and result.ratio <= result.at_most:
        result = replace(result, why="")
    defaults = {field.name: field.default for field in fields(Result)}
    return {
        name: _rounded(value)
        for name, value in asdict(result).items()
        if defaults[name] is MISSING or value != defaults[name]
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_rounded(one) for one in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _summary(results: Sequence[Result]) -> str:
    """Count the goals that are reached, and name the memory that is too much."""
    goals = [result for result in results if result.at_most is not None]
    reached = sum(result.ratio <= (result.at_most or 0) for result in goals)
    known = [ratio for ratio in (result.memory_ratio() for result in results) if ratio is not None]
    within = sum(ratio <= MEMORY_AT_MOST for ratio in known)
    return (
        f"\n{reached} of {len(goals)} goals reached; memory at most {MEMORY_AT_MOST:g} times the"
        f" twin's in {within} of {len(known)} measurements"
    )


def _write(record: dict[str, Any], path: Path) -> Path:
    """Write a run as JSON, one result a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps({**record, "results": []}, indent=2, ensure_ascii=False)
    lines = [json.dumps(result, ensure_ascii=False) for result in record["results"]]
    results = ",\n    ".join(lines)
    path.write_text(head.removesuffix("[]\n}") + f"[\n    {results}\n  ]\n}}\n", "utf-8")
    return path


def _ratios(path: Path) -> dict[str, float]:
    results = [Result(**fields) for fields in json.loads(path.read_text("utf-8"))["results"]]
    return {result.name(): result.ratio for result in results}


if __name__ == "__main__":
    sys.exit(main())
