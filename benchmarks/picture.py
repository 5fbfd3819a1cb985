"""The picture of a run: how fast each operation is beside its twin, and how far from the limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.core import Result

INCHES_A_ROW = 0.17


def draw(results: Sequence[Result], path: Path) -> None:
    """Draw a row for each operation, size and direction; hollow dots are for one thread.

    On the left the ratio with its goal, a bar; on the right the times of the limit. Both axes are
    logarithmic, so that half as fast and twice as fast lie equally far from the line at 1.
    """
    rows = {_row(result): None for result in results}
    places = {name: place for place, name in enumerate(reversed(rows))}
    figure = Figure(figsize=(12, 1.2 + INCHES_A_ROW * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    for result in results:
        place, alone = places[_row(result)], result.threads == 1
        missed = result.at_most is not None and result.ratio > result.at_most
        colour = "#a34700" if missed else "#0069a6"
        look = {"color": colour, "markersize": 5, "fillstyle": "none" if alone else "full"}
        left.plot(result.ratio, place, "o", **look)
        if result.times_limit is not None:
            right.plot(result.times_limit, place, "o", **look)
        if result.at_most is not None:
            left.plot(result.at_most, place, "|", color="black", markersize=9)
    left.set_yticks(list(places.values()), list(places), fontsize=7)
    left.set_ylim(-1, len(rows))
    for axes, title in ((left, "time, ours / twin's"), (right, "time, ours / limit")):
        axes.set_xscale("log")
        axes.set_title(title, fontsize=9)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.grid(alpha=0.3)
        axes.tick_params(labeltop=True, labelsize=7)
    figure.savefig(path)


def _row(result: Result) -> str:
    twin = f"{result.library}, {result.direction}"
    return f"{result.chapter}: {result.operation} {result.size} | {twin}"
