"""How the course's images and numbers are shown: a figure in one call.

Every function takes tensors on any device and returns a `matplotlib.figure.Figure` that pyplot
does not know, so that it shows once, where it is the last line of a cell, and needs no closing.
Nothing of the reader's matplotlib settings is read or changed.

Colours can be told apart by colour-blind readers, and colour is never the only sign: lines have
markers and dashes, boxes have labels, cells have numbers.

Sources:
    Okabe and Ito, "Color Universal Design", 2008: the colours of categories.
    Nuñez, Anderton and Renslow, "Optimizing colormaps with consideration for color vision
    deficiency", 2018: cividis.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal

import matplotlib.figure
import matplotlib.style
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize, to_rgb
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox
from torch import Tensor

from course_lib.checking import describe, expect_choice, expect_int, expect_shape, expect_tensor

ValueRange = tuple[float, float] | Literal["auto", "signed"]
Images = Tensor | Sequence[Tensor]
Numbers = Tensor | Sequence[float]

OKABE_ITO = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#000000", "#F0E442"),
)
"""The colours of categories, those that read best on white first."""

_WIDTH = 7.0  # inches of a full row
_SHOWN_DPI = 100  # a notebook shows an inch as so many pixels ...
_DPI = 150  # ... and gets more, for sharp text on fine screens
_INK, _FAINT = "#222222", "#b8b8b8"
_MISSING = "#c8c8c8"  # NaN and infinity
_DASHES = ("-", "--", "-.", ":")
_MARKERS = "osD^vPX"
_STYLE = {
    "axes.edgecolor": "#555555",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "figure.constrained_layout.h_pad": 0.05,
    "figure.constrained_layout.w_pad": 0.05,
    "figure.dpi": _DPI,
    "figure.titlesize": 10,
    "font.size": 9,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "xtick.color": "#444444",
    "xtick.labelsize": 8,
    "ytick.color": "#444444",
    "ytick.labelsize": 8,
}


# --- images -------------------------------------------------------------------------------------


def image_grid(
    images: Images,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    value_range: ValueRange = (0, 1),
    title: str | None = None,
    *,
    colorbar: bool = False,
) -> Figure:
    """Show images side by side.

    Args:
        images: one image, a batch ``Tensor[N, C, H, W]``, or a sequence of images; an image is
            ``Tensor[3, H, W]`` in colour, or ``Tensor[1, H, W]`` or ``Tensor[H, W]`` in grey.
        titles: one line above each image.
        columns: images in a row; ``None`` chooses.
        value_range: the values shown as black and as white, the same for all images; or
            ``"signed"``: one scale for all from blue through white at 0 to red; or ``"auto"``:
            a scale for each image, signed if it has a negative value, else grey from its
            smallest to its largest value.
        title: one line above the figure.
        colorbar: whether to show the scale: one, or with ``"auto"`` one beside each image.
    Raises:
        ValueError: if a value lies outside the range, or the number of titles is wrong.
    """
    pictures = [_pixels(f"images[{n}]", image) for n, image in enumerate(_listed(images))]
    scales = _scales(pictures, value_range)
    own = value_range == "auto"
    with _style():
        figure, panels = _grid(pictures, titles, columns, title, bars=colorbar, bar_each=own)
        shown = [
            _show(axes, picture, scale)
            for axes, picture, scale in zip(panels, pictures, scales, strict=True)
        ]
        if colorbar and not own:
            figure.colorbar(shown[0], ax=panels, shrink=0.8, pad=0.02)
        for axes, drawn, picture in zip(panels, shown, pictures, strict=True):
            if colorbar and own and picture.ndim == 2:
                figure.colorbar(drawn, cax=axes.inset_axes((1.04, 0, 0.05, 1)))
    return figure


def feature_maps(
    maps: Images,
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Show what filters answer, all maps on one scale: blue below 0, white at 0, red above.

    Args:
        maps: ``Tensor[C, H, W]``, ``Tensor[1, C, H, W]``, or a sequence of ``Tensor[H, W]``.
        titles, columns, title: as in `image_grid`.
    """
    if isinstance(maps, Tensor):
        expect_tensor("maps", maps, ndim=(3, 4))
        if maps.ndim == 4:
            expect_shape("maps", maps, (1, None, None, None))
            maps = maps[0]
        maps = list(maps)
    return image_grid(maps, titles, columns, "signed", title, colorbar=True)


def boxes(
    image: Tensor,
    boxes: Tensor,
    labels: Sequence[Any] | Tensor | None = None,
    scores: Numbers | None = None,
    masks: Tensor | None = None,
    title: str | None = None,
) -> Figure:
    """Draw boxes on an image.

    Args:
        image: as in `image_grid`, in [0, 1].
        boxes: ``Tensor[N, 4]``, ``(x1, y1, x2, y2)`` in pixels.
        labels: what to write at each box; equal labels share a colour.
        scores: ``Tensor[N]``, written behind the labels.
        masks: ``Tensor[N, H, W]``, bool; tinted.
        title: one line above the figure.
    Raises:
        ValueError: if there are more or fewer labels, scores or masks than boxes.
    """
    scene = {"image": image, "boxes": boxes, "labels": labels, "scores": scores, "masks": masks}
    return scene_grid([scene], title=title)


def scene_grid(
    scenes: Sequence[Mapping[str, Any]],
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Show several images with their boxes, as `boxes` does.

    Args:
        scenes: dicts with ``image`` and ``boxes`` and, if they have them, ``labels``,
            ``scores`` and ``masks``: what `course_lib.data.scenes` gives and detectors return.
        titles, columns, title: as in `image_grid`.
    """
    pictures = [_pixels(f"scenes[{n}] image", scene["image"]) for n, scene in enumerate(scenes)]
    scales = _scales(pictures, (0, 1))
    names = sorted({name for scene in scenes for name in _names(scene)})
    colours = {  # a numbered class has the same colour in every figure
        name: OKABE_ITO[(int(name) if name.isdigit() else n) % len(OKABE_ITO)]
        for n, name in enumerate(names)
    }
    with _style():
        figure, panels = _grid(pictures, titles, columns, title, largest=4.0)
        for axes, picture, scale in zip(panels, pictures, scales, strict=True):
            _show(axes, picture, scale)
        figure.draw_without_rendering()  # settles where the panels are, for the labels
        for axes, scene in zip(panels, scenes, strict=True):
            _draw_objects(axes, scene, colours)
    return figure


# --- numbers ------------------------------------------------------------------------------------


def curves(
    series: Mapping[str, Numbers | tuple[Numbers, Numbers]],
    xlabel: str,
    ylabel: str,
    log: Literal["", "x", "y", "xy"] = "",
    title: str | None = None,
) -> Figure:
    """Draw one line for each series, named at its right end.

    Args:
        series: name → values, drawn over 0, 1, 2, ...; or name → a tuple ``(x, y)``.
        xlabel, ylabel: what the axes measure, with the unit.
        log: which axes are logarithmic; points at 0 or below are then an error.
        title: one line above the figure.
    Raises:
        ValueError: if there are more than seven series, or ``x`` and ``y`` differ in length.
    """
    expect_choice("log", log, ("", "x", "y", "xy"))
    if not 1 <= len(series) <= len(_MARKERS):
        raise ValueError(f"series: expected one to {len(_MARKERS)}, got {len(series)}")
    points = {name: _points(f"series[{name!r}]", values, log) for name, values in series.items()}
    with _style():
        figure = _figure(_WIDTH, 3.4)
        axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
        axes.set_title(title or "")
        for number, (x, y) in enumerate(points.values()):
            step = max(1, len(x) // 12)
            axes.plot(
                x,
                y,
                color=OKABE_ITO[number],
                linestyle=_DASHES[number % len(_DASHES)],
                marker=_MARKERS[number],
                markersize=4,
                markevery=((len(x) - 1) % step, step),
                linewidth=1.4,
            )
        if "x" in log:
            _make_logarithmic(axes, "x")
        if "y" in log:
            _make_logarithmic(axes, "y")
        _name_ends(axes, list(points))
    return figure


def bars(
    values: Mapping[str, float | Tensor],
    xlabel: str,
    log: bool = False,
    title: str | None = None,
) -> Figure:
    """Compare numbers, each written out: as bars from 0, or as dots on a logarithmic axis.

    A bar's length would mean nothing on a logarithmic axis, which has no 0.

    Args:
        values: name → a number, not negative.
        xlabel: what is measured, with the unit.
        log: whether the axis is logarithmic; the numbers must then be above 0.
        title: one line above the figure.
    """
    numbers = {name: float(_numbers(value)) for name, value in values.items()}
    for name, number in numbers.items():
        if not (math.isfinite(number) and (number > 0 or (number == 0 and not log))):
            wanted = "above 0" if log else "at least 0"
            raise ValueError(f"values[{name!r}]: expected a number {wanted}, got {number}")
    with _style():
        figure = _figure(_WIDTH, 0.75 + 0.3 * len(numbers))
        axes = figure.add_subplot(xlabel=xlabel)
        axes.set_title(title or "")
        axes.grid(axis="y", visible=False)
        rows = range(len(numbers))
        if log:
            axes.plot(list(numbers.values()), rows, "o", color=OKABE_ITO[0], markersize=6)
            _make_logarithmic(axes, "x")
            axes.grid(axis="y", visible=True)
        else:
            axes.barh(rows, list(numbers.values()), color=OKABE_ITO[0], height=0.62)
            axes.set_xlim(left=0)
        for row, number in zip(rows, numbers.values(), strict=True):
            axes.annotate(
                _short(number), (number, row), (6, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(rows, list(numbers))
        axes.set_ylim(len(numbers) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0, labelsize=9)
        axes.margins(x=0.12)
    return figure


def graph(
    nodes: Mapping[str, tuple[float, float]],
    edges: Mapping[tuple[str, str], str],
    title: str | None = None,
) -> Figure:
    """Draw boxes and the arrows between them: what is computed from what.

    Args:
        nodes: what stands in each box → its column and its row, from 0 at the upper left.
        edges: from which box to which → what stands beside the arrow.
        title: one line above the figure.
    Raises:
        ValueError: if there is no box, or an arrow begins or ends at one that is not there.
    """
    if not nodes:
        raise ValueError("nodes: expected at least one, got none")
    for ends in edges:
        for name in ends:
            expect_choice("edges", name, nodes)
    columns, rows = zip(*nodes.values(), strict=True)
    with _style():
        figure = _figure(_WIDTH, 0.6 + 0.85 * (max(rows) + 1))
        axes = figure.add_subplot()
        axes.set_title(title or "")
        axes.set_axis_off()
        axes.set(xlim=(-0.5, max(columns) + 0.5), ylim=(max(rows) + 0.5, -0.5))
        frame = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": OKABE_ITO[0]}
        boxes = {
            name: axes.text(*place, name, ha="center", va="center", bbox=frame)
            for name, place in nodes.items()
        }
        for (start, end), words in edges.items():
            arrow = {"arrowstyle": "-|>", "color": "#555555", "linewidth": 1.2}
            arrow |= {"patchA": boxes[start].get_bbox_patch(), "shrinkA": 0, "shrinkB": 2}
            arrow |= {"patchB": boxes[end].get_bbox_patch()}
            axes.annotate("", nodes[end], nodes[start], arrowprops=arrow, zorder=0)
            middle = tuple(np.mean([nodes[start], nodes[end]], axis=0))
            axes.annotate(
                words, middle, color=OKABE_ITO[1], ha="center", va="center", size=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
    return figure


def matrix(
    values: Images,
    titles: Sequence[str] | None = None,
    *,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    highlight: Tensor | Sequence[Tensor | None] | None = None,
    annotate: bool = True,
    title: str | None = None,
) -> Figure:
    """Write small matrices side by side, each number in its cell, all cells of one size.

    A cell's tint follows its number, on a scale for each matrix: blue below 0, white at 0, red
    above.

    Args:
        values: ``Tensor[H, W]``, or a sequence of them; any dtype.
        titles: one line above each matrix.
        rows, columns: names beside the rows and above the columns of a single matrix.
        highlight: bool, the shape of ``values``; outlined. One for each matrix, or ``None``.
        annotate: whether to write the numbers; a single larger matrix can do without, then in
            strong colours with a scale.
        title: one line above the figure.
    Raises:
        ValueError: if a matrix has more than 24 columns while numbers are to be written, or the
            number of titles, names or highlights is wrong.
    """
    listed = [values] if isinstance(values, Tensor) else list(values)
    marked = [highlight] if isinstance(highlight, Tensor) or highlight is None else list(highlight)
    marked = [None] * len(listed) if marked == [None] else marked
    if not listed:
        raise ValueError("values: expected at least one matrix, got none")
    _expect_count("titles", titles, len(listed))
    _expect_count("highlight", marked, len(listed))
    tables = [_table(f"values[{n}]", value) for n, value in enumerate(listed)]
    if rows is not None or columns is not None:
        _expect_count("values with named rows or columns", tables, 1)
        _expect_count("rows", rows, tables[0].shape[0])
        _expect_count("columns", columns, tables[0].shape[1])
    if not annotate:
        _expect_count("values without numbers", tables, 1)
    widest = max(table.shape[1] for table in tables)
    if annotate and widest > 24:
        raise ValueError(
            f"values: expected at most 24 columns to write numbers in, got {widest};"
            " pass annotate=False"
        )
    with _style():
        return _draw_tables(tables, titles, marked, rows, columns, annotate, title)


def planes(
    points: Mapping[str, Tensor],
    reach: float,
    *,
    fields: Mapping[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] | None = None,
    marks: Tensor | None = None,
    joined: bool = False,
    columns: int = 4,
    xlabel: str = "",
    ylabel: str = "",
) -> Figure:
    """Show points of a plane, a panel for each set of them: a crowd, or a path over arrows.

    Args:
        points: name → ``Tensor[N, 2]``.
        reach: each panel goes from ``-reach`` to ``reach``; points outside are not seen.
        fields: name of a panel → what gives the velocities at ``(x, y)``; drawn as arrows, which
            are faint where it is slow.
        marks: ``Tensor[K, 2]``: crosses in every panel.
        joined: whether the points of a set are a path, whose start is a ring and its end a dot.
        columns: panels in a row.
        xlabel, ylabel: what the axes measure.
    Raises:
        ValueError: if there are no sets, or they are of another shape.
    """
    if not points:
        raise ValueError("points: expected at least one set, got none")
    for name, values in points.items():
        expect_shape(f"points[{name!r}]", values, (None, 2))
    columns = min(expect_int("columns", columns, minimum=1), len(points))
    rows = math.ceil(len(points) / columns)
    side = min(3.4, _WIDTH / columns)
    with _style():
        figure = _figure(columns * side, rows * (side + 0.25))
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes in list(grid.flat)[len(points) :]:
            axes.remove()
        for axes, (name, values) in zip(grid.flat, points.items(), strict=False):
            axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axes.set_title(_wrapped(name, int(14 * side)))
            if fields is not None and name in fields:
                _draw_arrows(axes, fields[name], reach)
            x, y = values.detach().cpu().double().unbind(1)
            if marks is not None:
                axes.plot(*marks.detach().cpu().T, "x", color=OKABE_ITO[1], markersize=7)
            if joined:
                axes.plot(x, y, color=OKABE_ITO[0], linewidth=1.4)
                axes.plot(x[:1], y[:1], "o", color=OKABE_ITO[0], markerfacecolor="white")
                axes.plot(x[-1:], y[-1:], "o", color=OKABE_ITO[1], markersize=5)
            else:
                axes.plot(x, y, ".", color=OKABE_ITO[0], markersize=3, alpha=0.5)
        for axes in grid[:, 0]:
            axes.set_ylabel(ylabel)
        for axes in grid[-1]:
            axes.set_xlabel(xlabel)
    return figure


# --- the figure itself --------------------------------------------------------------------------


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that shows itself in a notebook, whatever else is set up there."""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        content, width = self._png()
        display(
            {"image/png": content, "text/plain": repr(self)},
            metadata={"image/png": {"width": width}},
            raw=True,
        )

    def _png(self) -> tuple[bytes, int]:
        buffer = io.BytesIO()
        with _style():
            self.draw_without_rendering()  # the layout needs two rounds to settle
            self.savefig(buffer, format="png", dpi=_DPI, facecolor="white", bbox_inches=None)
        return buffer.getvalue(), round(self.get_figwidth() * _SHOWN_DPI)


def _style() -> AbstractContextManager[None]:
    return matplotlib.style.context(_STYLE, after_reset=True)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _grid(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str] | None,
    columns: int | None,
    title: str | None,
    *,
    largest: float = 3.0,
    bars: bool = False,
    bar_each: bool = False,
) -> tuple[Figure, list[Axes]]:
    """Lay out one panel for each picture, with its title and room for colour bars."""
    count = len(pictures)
    if count == 0:
        raise ValueError("images: expected at least one, got none")
    _expect_count("titles", titles, count)
    if columns is None:
        columns = count if count <= 5 else min(8, math.ceil(math.sqrt(1.6 * count)))
    columns = min(expect_int("columns", columns, minimum=1), count)
    beside = 0.6 * bars * (columns if bar_each else 1)
    width = min(largest, (_WIDTH - beside) / columns)
    tall = [min(2.0, picture.shape[0] / picture.shape[1]) for picture in pictures]
    heights = [width * max(tall[n : n + columns]) for n in range(0, count, columns)]
    lines = [_wrapped(text, int(14 * width)) for text in titles or []]
    above = 0.05 + 0.17 * max((text.count("\n") + 1 for text in lines), default=0)
    rows = len(heights)
    figure = _figure(columns * width + beside, sum(heights) + rows * above + (0.3 if title else 0))
    figure.suptitle(title or "")
    grid = figure.subplots(rows, columns, squeeze=False, height_ratios=heights)
    panels: list[Axes] = list(grid.flat)
    for axes in panels[count:]:
        axes.remove()
    for axes, text in zip(panels, lines, strict=False):
        axes.set_title(text)
    return figure, panels[:count]


def _wrapped(text: str, width: int) -> str:
    """Break a line between words, but never within "3 × 3"."""
    return textwrap.fill(
        text.replace(" × ", "\u00a0×\u00a0"), max(8, width), break_long_words=False
    )


# --- images: values to colours ------------------------------------------------------------------


Scale = tuple[str, Normalize]


def _listed(images: Images) -> list[Tensor]:
    if not isinstance(images, Tensor):
        return list(images)
    expect_tensor("images", images, ndim=(2, 3, 4))
    return list(images) if images.ndim == 4 else [images]


def _pixels(name: str, image: Any) -> np.ndarray:
    """Return an image as matplotlib takes it: ``(H, W)`` or ``(H, W, 3)``."""
    expect_tensor(name, image, ndim=(2, 3))
    if image.numel() == 0 or (image.ndim == 3 and image.shape[0] not in (1, 3)):
        raise ValueError(f"{name}: expected (3, H, W), (1, H, W) or (H, W), got {describe(image)}")
    plain = _numbers(image)
    if image.ndim == 2:
        return plain
    return plain[0] if len(plain) == 1 else plain.transpose(1, 2, 0)


def _scales(pictures: Sequence[np.ndarray], value_range: ValueRange) -> list[Scale]:
    if isinstance(value_range, str):
        expect_choice("value_range", value_range, ("auto", "signed"))
        for number, picture in enumerate(pictures):
            if value_range == "signed" and picture.ndim == 3:
                raise ValueError(
                    f'images[{number}]: expected one channel with value_range="signed", got three'
                )
        if value_range == "auto":
            return [_own_scale(picture) for picture in pictures]
        return [_signed_scale(*pictures)] * len(pictures)
    low, high = value_range
    for number, picture in enumerate(pictures):
        slack = 1e-5 * (high - low)  # what float32 may lose
        if not (picture.min() >= low - slack and picture.max() <= high + slack):
            raise ValueError(
                f"images[{number}]: expected values in [{low:g}, {high:g}], got"
                f" [{picture.min():.4g}, {picture.max():.4g}];"
                ' pass value_range=(low, high), "auto" or "signed"'
            )
    return [("gray", Normalize(low, high))] * len(pictures)


def _own_scale(picture: np.ndarray) -> Scale:
    finite = picture[np.isfinite(picture)]
    if finite.size == 0:
        return "gray", Normalize(0, 1)
    if finite.min() < 0 and picture.ndim == 2:
        return _signed_scale(picture)
    low, high = float(finite.min()), float(finite.max())
    return "gray", Normalize(low, high if high > low else low + 1)


def _signed_scale(*pictures: np.ndarray) -> Scale:
    """Return a scale with white at 0 that reaches equally far to both sides."""
    finite = np.concatenate([picture[np.isfinite(picture)].ravel() for picture in pictures])
    reach = float(np.abs(finite).max(initial=0)) or 1.0
    return "RdBu_r", Normalize(-reach, reach)


def _show(axes: Axes, picture: np.ndarray, scale: Scale) -> AxesImage:
    """Draw an image whose pixel ``i`` reaches from ``i`` to ``i + 1``."""
    height, width = picture.shape[:2]
    cmap, norm = scale
    if picture.ndim == 3:  # matplotlib applies no scale to colours
        picture = np.clip(norm(picture), 0, 1)
    axes.grid(visible=False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=_FAINT, linewidth=0.5)
    axes.set_facecolor(_MISSING)
    return axes.imshow(picture, cmap=cmap, norm=norm, extent=(0, width, height, 0))


# --- boxes --------------------------------------------------------------------------------------


def _names(scene: Mapping[str, Any]) -> list[str]:
    labels = scene.get("labels")
    if isinstance(labels, Tensor):
        labels = labels.tolist()
    return [""] * len(scene["boxes"]) if labels is None else [str(label) for label in labels]


def _draw_objects(axes: Axes, scene: Mapping[str, Any], colours: Mapping[str, str]) -> None:
    corners, names = scene["boxes"], _names(scene)
    expect_tensor("boxes", corners)
    expect_shape("boxes", corners, (None, 4))
    _expect_count("labels", names, len(corners))
    scores, masks = scene.get("scores"), scene.get("masks")
    _expect_count("scores", scores, len(corners))
    _expect_count("masks", masks, len(corners))
    texts = names
    if scores is not None:
        marks = _numbers(scores)
        texts = [f"{name} {mark:.2f}".strip() for name, mark in zip(names, marks, strict=True)]
    width, height = axes.get_xlim()[1], axes.get_ylim()[0]
    if masks is not None:
        expect_shape("masks", masks, (len(corners), int(height), int(width)))
        for mask, name in zip(masks.detach().cpu().numpy(), names, strict=True):
            tint = np.zeros((*mask.shape, 4))
            tint[mask] = (*to_rgb(colours[name]), 0.5)
            axes.imshow(tint, extent=(0, width, height, 0), interpolation="nearest")
    taken: list[Bbox] = []
    for box, name, text in zip(_numbers(corners), names, texts, strict=True):
        x1, y1, x2, y2 = box
        colour = colours[name]
        axes.add_patch(
            Rectangle(
                (x1, y1),
                x2 - x1,
                y2 - y1,
                fill=False,
                edgecolor=colour,
                linewidth=1.6,
                path_effects=[withStroke(linewidth=2.8, foreground="white")],
            )
        )
        if text:
            taken.append(_write_label(axes, box, text, colour, taken))


def _write_label(
    axes: Axes, box: np.ndarray, text: str, colour: str, taken: Sequence[Bbox]
) -> Bbox:
    """Write at a corner of the box, inside the image and off earlier labels if there is one."""
    label = axes.annotate(
        text,
        (0, 0),
        size=7,
        va="bottom",
        color=_readable_on(colour),
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.2},
        zorder=4,
    )
    label.set_in_layout(False)
    frame, size = axes.get_window_extent(), label.get_window_extent().padded(3)
    (left, top), (right, bottom) = axes.transData.transform(box.reshape(2, 2))
    places = [
        Bbox.from_bounds(x, y, size.width, size.height)
        for y in (top, bottom - size.height, top - size.height)
        for x in (left, right - size.width)
    ]
    free = [
        place
        for place in places
        if frame.x0 <= place.x0
        and place.x1 <= frame.x1
        and frame.y0 <= place.y0
        and place.y1 <= frame.y1
        and not any(place.overlaps(other) for other in taken)
    ]
    place = (free or places)[0]
    x, y = axes.transData.inverted().transform((place.x0 + 3, place.y0 + 3))
    label.set_position((x, y))
    return place


def _readable_on(colour: str) -> str:
    """Return black or white, whichever contrasts more (WCAG 2, relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if luminance > 0.179 else "white"


# --- curves -------------------------------------------------------------------------------------


def _points(name: str, values: Any, log: str) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(values, tuple) and len(values) == 2 and np.ndim(values[0]) == 1:
        x, y = (_numbers(axis) for axis in values)
    else:
        y = _numbers(values)
        x = np.arange(len(y), dtype=float) if y.ndim == 1 else y
    if x.ndim != 1 or x.shape != y.shape or len(x) == 0:
        raise ValueError(
            f"{name}: expected numbers, or a tuple of as many x as y,"
            f" got shapes {x.shape} and {y.shape}"
        )
    for axis, along in (("x", x), ("y", y)):
        if axis in log and (along <= 0).any():
            raise ValueError(
                f"{name}: expected {axis} above 0 on a logarithmic axis, got {along.min():g}"
            )
    return x, y


def _make_logarithmic(axes: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic; over less than three decades its ticks are plain numbers."""
    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    if high / low < 1000:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def _name_ends(axes: Axes, names: Sequence[str]) -> None:
    """Write each line's name right of the axes, at its end, moved apart where ends are close."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    to_fraction = axes.transData - axes.transAxes
    ends = []
    for line in axes.get_lines():
        drawn = np.asarray(line.get_xydata())
        drawn = drawn[np.isfinite(drawn).all(1)]
        ends.append(drawn[np.argmax(drawn[:, 0])] if len(drawn) else (0.0, low))
    heights = [float(to_fraction.transform(end)[1]) for end in ends]
    for number, height in enumerate(_moved_apart(heights, gap=0.065)):
        axes.annotate(
            names[number],
            xy=ends[number],
            xytext=(1.03, height),
            textcoords="axes fraction",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": OKABE_ITO[number],
                "linewidth": 0.8,
                "linestyle": _DASHES[number % len(_DASHES)],
                "shrinkA": 1,
                "shrinkB": 3,
            },
        )


def _moved_apart(heights: Sequence[float], gap: float) -> list[float]:
    """Move numbers apart, as little as keeps their order and this gap between neighbours.

    Neighbours that are too close form a group, spread evenly around its mean; groups that then
    touch join (isotonic regression by pooling, Barlow et al., 1972).
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    groups: list[list[int]] = []
    for index in order:
        groups.append([index])
        while (
            len(groups) > 1
            and _span(groups[-2], heights, gap)[1] + gap > (_span(groups[-1], heights, gap)[0])
        ):
            last = groups.pop()
            groups[-1] += last
    moved = list(heights)
    for group in groups:
        first, _ = _span(group, heights, gap)
        for place, index in enumerate(group):
            moved[index] = first + place * gap
    return moved


def _span(group: Sequence[int], heights: Sequence[float], gap: float) -> tuple[float, float]:
    middle = sum(heights[index] for index in group) / len(group)
    reach = gap * (len(group) - 1) / 2
    return middle - reach, middle + reach


# --- matrices -----------------------------------------------------------------------------------


def _draw_tables(
    tables: Sequence[np.ndarray],
    titles: Sequence[str] | None,
    marked: Sequence[Tensor | None],
    rows: Sequence[str] | None,
    columns: Sequence[str] | None,
    annotate: bool,
    title: str | None,
) -> Figure:
    """Place everything in inches, so that all cells have one size and nothing is cut off."""
    texts = [_written(table) if annotate else None for table in tables]
    heads = [_wrapped(name, 10) for name in columns or []]
    numbers = [number for text in texts if text is not None for number in text.flat]
    wanted = max(_inches(numbers, 9), _inches(heads, 8), 0.26) + 0.12 if annotate else 0.16
    gap = 0.6 if len(tables) > 1 else 0.0
    across = sum(table.shape[1] + gap for table in tables) - gap  # cells
    tall = max(table.shape[0] for table in tables)
    beside = _inches(rows or [], 8) + 0.1 * (rows is not None)
    bar = 0.0 if annotate else 0.7
    width = min(wanted, (_WIDTH - beside - bar - 0.2) / across)
    height = 0.36 if columns is not None else width
    wrapped = [
        _wrapped(text, int((table.shape[1] + 0.8 * gap) * width / 0.07))
        for text, table in zip(titles or [""] * len(tables), tables, strict=True)
    ]
    slots = [
        max(table.shape[1], _inches([text], 9) / width)  # a title may need more
        for text, table in zip(wrapped, tables, strict=True)
    ]
    across = sum(slots) + gap * (len(slots) - 1)
    above = max(
        *(0.05 + 0.16 * (text.count("\n") + 1) if text else 0.0 for text in wrapped),
        *(0.1 + 0.14 * (head.count("\n") + 1) for head in heads),
        0.0,
    )
    page_width = max(across * width + beside + bar, _inches([title or ""], 10)) + 0.2
    page_height = tall * height + above + 0.2 + (0.25 if title else 0)
    figure = Figure(figsize=(page_width, page_height))
    FigureCanvasAgg(figure)
    figure.text(0.5, 1 - 0.1 / page_height, title or "", ha="center", va="top", size=10)
    left = (page_width - across * width - beside - bar) / 2 + beside
    axes = figure.add_axes(
        (
            left / page_width,
            0.1 / page_height,
            across * width / page_width,
            tall * height / page_height,
        ),
        xlim=(0, across),
        ylim=(tall, 0),
        xticks=[],
        yticks=[],
    )
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    size = min(9.0, 9.0 * width / wanted)
    start = 0.0
    for table, text, mark, heading, slot in zip(tables, texts, marked, wrapped, slots, strict=True):
        x, y = start + (slot - table.shape[1]) / 2, (tall - table.shape[0]) / 2
        drawn = _draw_table(axes, table, text, x, y, size)
        if mark is not None:
            _outline(axes, mark, table.shape, x, y)
        axes.annotate(
            heading,
            (x + table.shape[1] / 2, y),
            (0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
        )
        start += slot + gap
    if not annotate:
        figure.colorbar(drawn, cax=axes.inset_axes((1 + 0.12 / (across * width), 0, 0.05, 1)))
    if rows is not None:
        axes.set_yticks([n + 0.5 for n in range(len(rows))], list(rows))
    if columns is not None:
        axes.xaxis.tick_top()
        axes.set_xticks([n + 0.5 for n in range(len(columns))], heads)
    return figure


def _inches(texts: Sequence[str], size: float) -> float:
    """Return the width of the widest text."""
    lines = [line for text in texts for line in text.split("\n") if line.strip()]
    return (
        max((TextPath((0, 0), line, size=size).get_extents().width for line in lines), default=0)
        / 72
    )


def _draw_table(
    axes: Axes, table: np.ndarray, text: np.ndarray | None, left: float, top: float, size: float
) -> AxesImage:
    height, width = table.shape
    if text is None:
        name, norm = _own_scale(table)
        cmap = matplotlib.colormaps["cividis" if name == "gray" else name]
    else:
        name, norm = _signed_scale(table)
        # The middle of the map is light enough to read black numbers on.
        cmap = ListedColormap(matplotlib.colormaps[name](np.linspace(0.22, 0.78, 256)))
    xlim, ylim = axes.get_xlim(), axes.get_ylim()
    drawn = axes.imshow(
        np.ma.masked_invalid(table),
        cmap=cmap.with_extremes(bad=_MISSING),
        norm=norm,
        aspect="auto",
        extent=(left, left + width, top + height, top),
        interpolation="nearest",
    )
    axes.set(xlim=xlim, ylim=ylim)  # imshow narrows them to its own extent
    if text is None:
        return drawn
    edges = [[(left, top + i), (left + width, top + i)] for i in range(height + 1)]
    edges += [[(left + j, top), (left + j, top + height)] for j in range(width + 1)]
    axes.add_collection(LineCollection(edges, colors=_FAINT, linewidths=0.6, clip_on=False))
    for (i, j), written in np.ndenumerate(text):
        axes.text(left + j + 0.5, top + i + 0.5, written, ha="center", va="center", size=size)
    return drawn


def _outline(axes: Axes, mark: Tensor, shape: tuple[int, int], left: float, top: float) -> None:
    """Draw a line wherever a marked cell borders on one that is not."""
    expect_tensor("highlight", mark, ndim=2)
    expect_shape("highlight", mark, shape)
    inside = np.pad(_numbers(mark) != 0, 1)
    edges = [
        [(left + j - 1, top + i), (left + j, top + i)]
        for i, j in np.argwhere(inside[:-1] != inside[1:])
    ]
    edges += [
        [(left + j, top + i - 1), (left + j, top + i)]
        for i, j in np.argwhere(inside[:, :-1] != inside[:, 1:])
    ]
    axes.add_collection(
        LineCollection(
            edges, colors="black", linewidths=2.2, capstyle="projecting", clip_on=False, zorder=3
        )
    )


def _table(name: str, value: Any) -> np.ndarray:
    expect_tensor(name, value, ndim=2)
    if value.numel() == 0:
        raise ValueError(f"{name}: expected at least one number, got {describe(value)}")
    return _numbers(value)


def _written(table: np.ndarray) -> np.ndarray:
    """Write whole numbers plainly, others with two digits behind the point."""
    finite = table[np.isfinite(table)]
    form = "{:z.0f}" if (finite == finite.round()).all() else "{:z.2f}"  # z: zero has no sign
    return np.vectorize(lambda number: form.format(number).replace("-", "−"))(table)


# --- planes -------------------------------------------------------------------------------------


def _draw_arrows(
    axes: Axes, field: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]], reach: float
) -> None:
    """Arrows of one length on a grid, the fainter the slower."""
    places = torch.linspace(-reach, reach, 13, dtype=torch.float64)[1:-1]
    y, x = torch.meshgrid(places, places, indexing="ij")
    right, up = field(x, y)
    speed = torch.hypot(right, up)
    unit = speed.where(speed > 0, 1)
    shade = 0.25 + 0.75 * speed / (float(speed.max()) or 1.0)
    axes.quiver(
        x, y, right / unit, up / unit, color="#777777", alpha=shade.numpy(), pivot="mid",
        scale=18, width=0.006,
    )  # fmt: skip


# --- helpers ------------------------------------------------------------------------------------


def _numbers(value: Numbers | float) -> np.ndarray:
    if not isinstance(value, Tensor):
        return torch.as_tensor(value, dtype=torch.float64).numpy()
    return value.detach().cpu().double().numpy()


def _short(number: float) -> str:
    """Write a number with three digits: 0.00123, 12.3, 1,230; or as a power of ten."""
    if number == 0:
        return "0"
    digits = 2 - math.floor(math.log10(abs(number)))
    if not -4 <= digits <= 6:
        return f"{number:.2e}"
    return f"{round(number, digits):,.{max(0, digits)}f}"


def _expect_count(name: str, given: Any, count: int) -> None:
    if given is not None and len(given) != count:
        raise ValueError(f"{name}: expected {count}, got {len(given)}")
