"""The page of the benchmarks: the runs that were recorded, each as a picture and tables.

A run is what `make bench` writes with ``--record``, so nothing is measured here.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from course_site import ChapterLink, Row, cell, make_table

Measured = dict[str, Any]  # a result of `benchmarks.core`, as it is written
Rows = dict[str, dict[tuple[str, ...], list[Measured]]]  # by chapter, by what was measured


class BenchmarkRuns(SphinxDirective):
    """``{benchmark-runs}``: each recorded run of ``make bench``, from ``benchmarks/recorded``."""

    def run(self) -> list[nodes.Node]:
        """Lay out each run: the machine, a picture, and a table for each chapter."""
        recorded = Path(self.env.srcdir, "benchmarks", "recorded")
        found: list[nodes.Node] = []
        for path in sorted(recorded.glob("*.json")):
            self.env.note_dependency(str(path))
            found += _benchmark_run(json.loads(path.read_text("utf-8")))
        if found:
            return found
        text = "No run has been recorded yet."
        return [nodes.note("", nodes.paragraph(text, text))]


def _benchmark_run(record: dict[str, Any]) -> list[nodes.Node]:
    rows: Rows = {}
    for result in record["results"]:
        what = tuple(result[name] for name in ("operation", "size", "library", "direction"))
        rows.setdefault(result["chapter"], {}).setdefault(what, []).append(result)
    counts = sorted({result["threads"] for result in record["results"]})
    shown: list[nodes.Node] = [nodes.rubric("", record["machine"]["device"])]
    shown += [nodes.paragraph(text, text) for text in _about_the_run(record)]
    shown.append(_picture(rows, max(counts)))
    for chapter, measured in rows.items():
        heading = nodes.rubric("", "", ChapterLink(chapter=chapter))
        head = ["Operation, and its twin", "Size", "Direction"]
        head += [_threads(count).capitalize() for count in counts]
        head += ["Goal", "Reached", "Memory", "Times the limit"]
        cells = [_benchmark_row(what, runs, counts) for what, runs in measured.items()]
        shown += [heading, make_table(head, cells, "benchmark-runs")]
        if reasons := _reasons([result for runs in measured.values() for result in runs]):
            shown.append(reasons)
    if record["left out"]:
        text = "Left out of this run: "
        text += "; ".join(f"{name} ({reason})" for name, reason in record["left out"].items())
        shown.append(nodes.paragraph(text, f"{text}."))
    return shown


def _about_the_run(record: dict[str, Any]) -> Iterator[str]:
    machine = record["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    yield (
        f"Recorded on {record['date']} with {machine['cores']} cores ({machine['cpu']}) under"
        f" {machine['system']}, with Python {machine['python']}, {libraries}."
    )
    for threads, rates in record["rates by threads"].items():
        yield (
            f"With {_threads(int(threads))} it copied {rates['bytes_copied'] / 1e9:.1f} GB and did"
            f" {rates['multiply_adds'] / 1e9:.0f} billion multiply-adds a second."
        )
    if record["quick"]:
        yield "A quick run, of few rounds and without the largest sizes: its ratios are rough."
    goals = [result for result in record["results"] if "at_most" in result]
    reached = sum(map(_is_reached, goals))
    yield f"{reached} of {len(goals)} goals are reached, counted for each number of threads."


def _benchmark_row(what: tuple[str, ...], runs: list[Measured], counts: list[int]) -> Row:
    operation, size, library, direction = what
    by_threads = {run["threads"]: run for run in runs}
    last = by_threads[max(by_threads)]
    twin = nodes.inline("", library, classes=["where"])
    ratios = [_number(by_threads[n]["ratio"]) if n in by_threads else "–" for n in counts]
    goals = list(dict.fromkeys(f"{run['at_most']:g}" for run in runs if "at_most" in run))
    return (
        cell(nodes.literal(operation, operation), twin),
        cell(size),
        cell(direction),
        *(cell(ratio) for ratio in ratios),
        cell(", ".join(goals) or "–"),
        cell(_reached([run for run in runs if "at_most" in run])),
        cell(_number(_memory_ratio(last))),
        cell(_number(last["times_limit"])),
    )


def _reached(runs: list[Measured]) -> str:
    reached = [run["threads"] for run in runs if _is_reached(run)]
    if not runs:
        return "–"
    if len(reached) in (0, len(runs)):
        return "yes" if reached else "no"
    return f"with {' and '.join(map(_threads, reached))}"


def _is_reached(run: Measured) -> bool:
    return run["ratio"] <= run["at_most"]


def _memory_ratio(run: Measured) -> float | None:
    """As `benchmarks.core` has it: nothing where it was not measured, or is below a MiB."""
    ours, twin = run.get("memory", 0), run.get("twin_memory", 0)
    return ours / twin if ours >= 2**20 and twin else None


def _reasons(results: list[Measured]) -> nodes.bullet_list | None:
    """Say once for each reason which goals of time or memory are missed for it."""
    missed: dict[str, dict[str, None]] = {}
    for result in results:
        names = f"{result['operation']} {result['size']}"
        if "at_most" in result and not _is_reached(result):
            reason = result.get("why", "no reason is known yet")
            missed.setdefault(f"misses its goal: {reason}", {})[names] = None
        if (_memory_ratio(result) or 0) > 2:
            reason = result.get("why_memory", "no reason is known yet")
            missed.setdefault(f"needs more than twice the memory: {reason}", {})[names] = None
    items = []
    for reason, operations in missed.items():
        text = f"{'; '.join(operations)} – {reason}."
        items.append(nodes.list_item("", nodes.paragraph(text, text)))
    return nodes.bullet_list("", *items, classes=["benchmark-reasons"]) if items else None


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _number(value: float | None) -> str:
    """Two digits, or the whole number where it has more."""
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _picture(rows: Rows, threads: int) -> nodes.raw:
    """A strip for each chapter with a mark for each measurement, on a logarithmic axis."""
    last = {
        chapter: {
            what: next((run for run in runs if run["threads"] == threads), runs[-1])
            for what, runs in measured.items()
        }
        for chapter, measured in rows.items()
    }
    powers = [math.log10(run["ratio"]) for measured in last.values() for run in measured.values()]
    low, high = min(-1, math.floor(min(powers))), max(1, math.ceil(max(powers)))

    def place(power: float) -> str:
        return f'style="left:{100 * (power - low) / (high - low):.1f}%"'

    axis = range(low, high + 1)
    lines = "".join(f"<i {place(n)}{' class=one' if n == 0 else ''}></i>" for n in axis)
    numbers = "".join(f"<span {place(n)}>{10.0**n:g}</span>" for n in axis)
    strips = []
    for chapter, measured in last.items():
        marks = []
        for (operation, size, library, direction), run in measured.items():
            kind = "free" if "at_most" not in run else "kept" if _is_reached(run) else "missed"
            title = html.escape(
                f"{operation} {size}, {direction}: {_number(run['ratio'])} times {library}"
            )
            there = place(math.log10(run["ratio"]))
            marks.append(f'<b class="{kind}" {there} title="{title}"></b>')
        strips.append(f"<dt>{html.escape(chapter)}</dt><dd>{lines}{''.join(marks)}</dd>")
    words = f"Our time divided by the twin's, with {_threads(threads)}: a mark for each measurement"
    return nodes.raw(
        "",
        '<figure class="benchmark-picture">'
        f'<div role="img" aria-label="{words}; the tables below hold the numbers."><dl>'
        f"{''.join(strips)}<dt></dt><dd>{numbers}</dd></dl></div>"
        f"<figcaption>{words}. Left of 1 ours is faster. "
        '<b class="kept"></b> reaches its goal, <b class="missed"></b> misses it,'
        ' <b class="free"></b> has none.</figcaption></figure>',
        format="html",
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_directive("benchmark-runs", BenchmarkRuns)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
