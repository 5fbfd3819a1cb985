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
from sphinx.environment import BuildEnvironment
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from course_site import (
    Row,
    cell,
    chapter_section,
    document_of,
    list_sections,
    make_table,
    reading_order,
    short_title,
)

logger = logging.getLogger(__name__)

Measured = dict[str, Any]  # a result of `benchmarks.core`, as it is written
Rows = dict[str, dict[tuple[str, ...], list[Measured]]]  # by document, by what was measured

MUCH_SLOWER = 3
"""A ratio above this is explained, goal or not."""
TINY = 4e-6
"""Seconds of the limit, below which it is the calls that cost, and no ratio needs a reason."""
LANES = 4
"""Marks of the picture that would cover each other stand below each other, in so many rows."""
MARK = 1.4
"""The width of a mark, in hundredths of the picture's."""


class BenchmarkPlace(nodes.General, nodes.Element):
    """Stands for a recorded run until the chapters' titles and order are known."""


class BenchmarkRuns(SphinxDirective):
    """``{benchmark-runs}``: each recorded run of ``make bench``, from ``benchmarks/recorded``."""

    def run(self) -> list[nodes.Node]:
        """Leave a place for each run."""
        recorded = Path(self.env.srcdir, "benchmarks", "recorded")
        found: list[nodes.Node] = []
        for number, path in enumerate(sorted(recorded.glob("*.json"))):
            self.env.note_dependency(str(path))
            found.append(BenchmarkPlace(record=json.loads(path.read_text("utf-8")), number=number))
        if found:
            return found
        text = "No run has been recorded yet."
        return [nodes.note("", nodes.paragraph(text, text))]


class FillBenchmarkRuns(SphinxPostTransform):
    """Lays out each run: the machine, a picture, and a section for each chapter."""

    default_priority = 5  # before Sphinx resolves references

    def run(self, **_: Any) -> None:
        """Replace the places left on this page."""
        places = list(self.document.findall(BenchmarkPlace))
        page = next(self.document.findall(nodes.section))
        for place in places:
            place.parent.remove(place)  # a run is a section of the page, not of the one above it
            page += _benchmark_run(self.env, place["record"], place["number"])
        if places:
            list_sections(self.app, self.document)


def _benchmark_run(env: BuildEnvironment, record: dict[str, Any], number: int) -> nodes.section:
    rows: Rows = {}
    order = reading_order(env)
    for result in sorted(record["results"], key=lambda one: _place(env, order, one["chapter"])):
        document = document_of(env, result["chapter"])
        if document is None:
            logger.warning("expected a chapter of this name, got %s", result["chapter"])
            continue
        what = tuple(result[name] for name in ("operation", "size", "library", "direction"))
        rows.setdefault(document, {}).setdefault(what, []).append(result)
    counts = sorted({result["threads"] for result in record["results"]})
    name = record["machine"]["device"]
    shown = nodes.section("", nodes.title(name, name), ids=[f"run-{number + 1}"])
    shown += [nodes.paragraph(text, text) for text in _about_the_run(record)]
    shown.append(_picture(env, rows, max(counts)))
    for document, measured in rows.items():
        section = chapter_section(env, document)
        section["ids"] = [f"run-{number + 1}-{section['ids'][0]}"]
        head = ["Operation, twin, size, direction", *(_threads(count) for count in counts)]
        head += ["Goal", "Reached", "Memory", "Times the limit"]
        cells = [_benchmark_row(what, runs, counts) for what, runs in measured.items()]
        section += make_table(head, cells, "benchmark-runs")
        if reasons := _reasons([result for runs in measured.values() for result in runs]):
            section += reasons
        shown += section
    if record["left out"]:
        text = "Left out of this run: "
        text += "; ".join(f"{name} ({reason})" for name, reason in record["left out"].items())
        shown.append(nodes.paragraph(text, f"{text}."))
    return shown


def _place(env: BuildEnvironment, order: list[str], chapter: str) -> int:
    document = document_of(env, chapter)
    return order.index(document) if document in order else len(order)


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
    yield (
        f"{len(goals)} of {len(record['results'])} measurements have a goal of speed, and {reached}"
        " of these reach it, counted for each number of threads."
    )


def _benchmark_row(what: tuple[str, ...], runs: list[Measured], counts: list[int]) -> Row:
    operation, size, library, direction = what
    by_threads = {run["threads"]: run for run in runs}
    last = by_threads[max(by_threads)]
    twin = nodes.inline("", library, classes=["where"])
    label = cell(nodes.literal(operation, operation), twin)
    detail = f"{size}, {last.get('whole') or direction}"
    label += nodes.paragraph("", "", nodes.inline(detail, detail, classes=["where"]))
    goals = list(dict.fromkeys(f"{run['at_most']:g}" for run in runs if "at_most" in run))
    return (
        label,
        *(_timed(by_threads.get(count)) for count in counts),
        cell(", ".join(goals) or "–"),
        cell(_reached([run for run in runs if "at_most" in run])),
        cell(_number(_memory_ratio(last), than=2)),
        cell(_number(last.get("times_limit"))),
    )


def _timed(run: Measured | None) -> nodes.entry:
    """The ratio, our time below it, and as a tooltip how far the ratios lie apart."""
    if run is None:
        return cell("–")
    low, high = run["quartiles"]
    spread = f"half of {run['rounds']} rounds: {_number(low)} to {_number(high)}"
    ratio = _number(run["ratio"], than=run.get("at_most"))
    return nodes.entry(
        "",
        nodes.raw("", f'<p title="{spread}">{ratio}</p>', format="html"),
        nodes.paragraph("", "", nodes.inline("", _time(run["seconds"]), classes=["where"])),
    )


def _time(seconds: float) -> str:
    """Two digits and a unit: 12 µs, 3.4 ms."""
    for unit, name in ((1, "s"), (1e-3, "ms")):
        if seconds >= 0.995 * unit:
            return f"{_number(seconds / unit)} {name}"
    return f"{_number(seconds / 1e-6)} µs"


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


def _is_much_slower(run: Measured) -> bool:
    """Whether a ratio without a goal is one to explain."""
    limit = run.get("times_limit")
    tiny = limit is not None and run["seconds"] / limit < TINY
    return "at_most" not in run and run["ratio"] > MUCH_SLOWER and not tiny


def _reasons(results: list[Measured]) -> nodes.bullet_list | None:
    """Say once for each reason what is slower or needs more memory for it, and with what threads.

    A peak of memory is the same with any number of threads, or nearly.
    """
    missed: dict[str, dict[str, list[str]]] = {}
    for result in results:
        name = ", ".join(
            (
                f"{result['operation']} {result['size']}",
                *([] if result["library"] == "torch" else [result["library"]]),
                result.get("whole") or result["direction"],
            )
        )
        why = result.get("why", "no reason is known yet")
        threads = _threads(result["threads"])
        if "at_most" in result and not _is_reached(result):
            missed.setdefault(f"misses its goal: {why}", {}).setdefault(name, []).append(threads)
        if _is_much_slower(result):
            slower = f"takes more than {MUCH_SLOWER} times as long: {why}"
            missed.setdefault(slower, {}).setdefault(name, []).append(threads)
        if (_memory_ratio(result) or 0) > 2:
            reason = result.get("why_memory", "no reason is known yet")
            missed.setdefault(f"needs more than twice the memory: {reason}", {})[name] = []
    items = []
    for reason, operations in missed.items():
        named = (
            f"{name}, {' and '.join(counts)}" if counts else name
            for name, counts in operations.items()
        )
        text = f"{'; '.join(named)} – {reason}."
        items.append(nodes.list_item("", nodes.paragraph(text, text)))
    return nodes.bullet_list("", *items, classes=["benchmark-reasons"]) if items else None


def _threads(count: int) -> str:
    return f"{count} thread{'s' * (count > 1)}"


def _number(value: float | None, than: float | None = None) -> str:
    """Two digits, or the whole number where it has more.

    Args:
        than: what it is compared with; more digits are written where two would look equal.
    """
    if value is None:
        return "–"
    if value >= 99.5:
        return f"{value:.0f}"
    digits = (f"{value:.{count}g}" for count in (2, 3, 4))
    if than is None or value == than:
        return next(digits)
    return next((text for text in digits if float(text) != than), f"{value:.4g}")


def _picture(env: BuildEnvironment, rows: Rows, threads: int) -> nodes.raw:
    """A strip for each chapter with a mark for each measurement, on a logarithmic axis."""
    last = {
        document: {
            what: next((run for run in runs if run["threads"] == threads), runs[-1])
            for what, runs in measured.items()
        }
        for document, measured in rows.items()
    }
    powers = [math.log10(run["ratio"]) for measured in last.values() for run in measured.values()]
    low = min(-1, math.floor(2 * min(powers)) / 2)  # the axis ends at 1 or 3 times a power of ten
    high = max(1, math.ceil(2 * max(powers)) / 2)

    def place(power: float) -> float:
        return 100 * (power - low) / (high - low)

    axis = sorted({low, high, *range(math.ceil(low), math.floor(high) + 1)})
    lines = "".join(
        f'<i style="left:{place(n):.1f}%"{" class=one" if n == 0 else ""}></i>' for n in axis
    )
    numbers = "".join(
        f'<span style="left:{place(n):.1f}%"{"" if n % 1 == 0 else " class=half"}>'
        f"{float(f'{10.0**n:.1g}'):g}</span>"
        for n in axis
    )
    strips = []
    for document, measured in last.items():
        marks, ends = [], [-MARK] * LANES
        for what, run in sorted(measured.items(), key=lambda item: item[1]["ratio"]):
            left = place(math.log10(run["ratio"]))
            free = (lane for lane, end in enumerate(ends) if end + MARK <= left)
            lane = next(free, ends.index(min(ends)))
            ends[lane] = left
            marks.append(_mark(what, run, left, lane))
        lanes = 1 + max(lane for lane, end in enumerate(ends) if end >= 0)
        strips.append(
            f"<dt>{html.escape(short_title(env, document))}</dt>"
            f'<dd style="--lanes:{lanes}">{lines}{"".join(marks)}</dd>'
        )
    words = f"Our time divided by the twin's, with {_threads(threads)}: a mark for each measurement"
    return nodes.raw(
        "",
        '<figure class="benchmark-picture">'
        f'<div role="img" aria-label="{words}; the tables below hold the numbers."><dl>'
        f"{''.join(strips)}<dt></dt><dd>{numbers}</dd></dl></div>"
        f"<figcaption>{words}, named when the pointer rests on it. Left of 1 ours is faster. "
        '<b class="kept"></b> reaches its goal, <b class="missed"></b> misses it,'
        ' <b class="free"></b> has none.</figcaption></figure>',
        format="html",
    )


def _mark(what: tuple[str, ...], run: Measured, left: float, lane: int) -> str:
    operation, size, library, direction = what
    kind = "free" if "at_most" not in run else "kept" if _is_reached(run) else "missed"
    ratio = _number(run["ratio"], than=run.get("at_most"))
    title = f"{operation} {size}, {run.get('whole') or direction}: {ratio} times {library}"
    style = f"left:{left:.1f}%;--lane:{lane}"
    return f'<b class="{kind}" style="{style}" title="{html.escape(title)}"></b>'


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directive with Sphinx."""
    app.add_node(BenchmarkPlace)
    app.add_directive("benchmark-runs", BenchmarkRuns)
    app.add_post_transform(FillBenchmarkRuns)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
