"""The command line of the benchmarks; ``python -m benchmarks --help`` lists its options."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

import torch

import benchmarks
from benchmarks.core import (
    Case,
    Result,
    device_name,
    find_slower,
    measure,
    threads,
)
from course_lib.device import available_devices
from course_lib.scaling import measure_rates

RESULTS = Path(__file__).with_name("results")
SECONDS, SECONDS_QUICK = 2.0, 0.3
"""what one case takes in one direction"""
HEADING = (
    f"{'operation':17}{'size':46}{'direction':14}{'ratio':>6}{'quartiles':>14}{'rounds':>7}"
    f"{'ours, ms':>10}{'twin, ms':>10}{'x limit':>8}  goal"
)


def find_cases(text: str = "") -> list[Case]:
    """Collect the ``CASES`` of every chapter's module here, of which the name contains ``text``."""
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    chapters = {n: importlib.import_module(f"benchmarks.{n}") for n in names if n != "__main__"}
    return [
        case
        for name, chapter in chapters.items()
        for case in getattr(chapter, "CASES", [])
        if text in f"{name} {case.operation} {case.size}"
    ]


def describe(result: Result) -> str:
    """Write one line of the table."""
    low, high = result.quartiles
    goal = ""
    if result.at_most is not None:
        goal = f"{'ok' if result.ratio <= result.at_most else 'over'} {result.at_most:.2f}"
    return (
        f"{result.operation:17}{result.size:46}{result.direction:14}{result.ratio:6.2f}"
        f"{low:7.2f} -{high:5.2f}{result.rounds:7}{1e3 * result.seconds:10.2f}"
        f"{1e3 * result.twin_seconds:10.2f}{result.times_limit:8.1f}  {goal}"
    ).rstrip()


def run(
    cases: Sequence[Case], device: torch.device, budget: float
) -> tuple[dict[str, float], list[Result], list[str]]:
    """Time the cases on one device with the threads that torch has, and print the table.

    Returns:
        the device's rates, the results, and a line for each result that is not its twin's.
    """
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
            except ValueError as error:
                problems.append(f"unequal: {error}")
                print(problems[-1], flush=True)
    return asdict(rates), results, problems


def main(arguments: Sequence[str] | None = None, folder: Path = RESULTS) -> int:
    """Time the cases on every device, and write a JSON file for each into ``folder``.

    Returns:
        1 if a result is not its twin's, or slower than in the earlier run; 0 otherwise.
    """
    parser = argparse.ArgumentParser("benchmarks", description=benchmarks.__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with this in their name")
    parser.add_argument("--threads", metavar="1,2", help="of the CPU; by default one, and all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--against", type=Path, metavar="FILE", help="results of an earlier run")
    options = parser.parse_args(arguments)
    cases = find_cases(options.only)
    if not cases:
        parser.error(f"--only: expected a part of a case's name, got {options.only!r}")
    every = torch.get_num_threads()
    wanted = {int(n) for n in options.threads.split(",")} if options.threads else {1, every}
    budget = SECONDS_QUICK if options.quick else SECONDS
    earlier = _ratios(options.against) if options.against else {}
    problems: list[str] = []
    torch.backends.cudnn.allow_tf32 = False  # both sides compute in float32, or ratios mean little
    for device in available_devices():
        rates, results = {}, list[Result]()
        for number in sorted(wanted) if device.type == "cpu" else [every]:
            with threads(number):
                rates[number], timed, unequal = run(cases, device, budget)
            results += timed
            problems += unequal
        problems += [f"slower: {line}" for line in find_slower(results, earlier)]
        print(f"\nwritten to {_write(folder, device, rates, results)}")
    print(*problems, sep="\n")
    return 1 if problems else 0


def _write(
    folder: Path,
    device: torch.device,
    rates: dict[int, dict[str, float]],
    results: Sequence[Result],
) -> Path:
    machine = {
        "device": device_name(device),
        "cpu": device_name(torch.device("cpu")),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    record = {
        "date": date.today().isoformat(),
        "machine": machine,
        "rates by threads": rates,
        "results": [asdict(result) for result in results],
    }
    slug = re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['date']}-{slug}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path


def _ratios(path: Path) -> dict[str, float]:
    results = [Result(**fields) for fields in json.loads(path.read_text())["results"]]
    return {result.name(): result.ratio for result in results}


if __name__ == "__main__":
    sys.exit(main())
