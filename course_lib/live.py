"""A training run to watch, to change and to stop: widgets where Python runs, a film where not.

JupyterLab and Colab show what a cell returns in the richest form that they know, and take the
widgets. A page without a kernel, such as the built book, takes the film of the same object, which
needs nothing from elsewhere. So one cell serves both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from course_lib.figures import Figure

Report = Callable[[Any], object]
Train = Callable[[str, float, Report], object]

_COLOURS = ("#D55E00", "#0072B2")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 620, 260, 56, 28


class _StopError(Exception):
    """The reader pressed Stop."""


class TrainingRun:
    """A training run on a thread of its own, so that the notebook can be used meanwhile.

    Args:
        train: ``train(optimizer, lr, on_epoch)`` trains a new model and calls ``on_epoch`` with
            the history after each epoch, as `course_lib.training.fit` does.
        notify: called with this object whenever there is something new to show.
    """

    def __init__(self, train: Train, notify: Callable[[TrainingRun], object]) -> None:
        self.running = False
        self.message = "Choose, then press Start."
        self.curves: dict[str, list[float]] = {}
        self._train, self._notify = train, notify
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, optimizer: str, lr: float) -> None:
        """Begin a run; does nothing while one is going on."""
        if self.running:
            return
        self._stop.clear()
        self.running, self.curves = True, {}
        self.message = "Epoch 1 ..."
        self._notify(self)
        self._thread = threading.Thread(target=self._work, args=(optimizer, lr), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the run to end after the epoch that it is in."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the run to end, at most so long; returns whether it did."""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.running

    def _work(self, optimizer: str, lr: float) -> None:
        try:
            self._train(optimizer, lr, self._report)
            self.message = f"Done: {self._result()}."
        except _StopError:
            self.message = f"Stopped: {self._result()}."
        except Exception as error:  # whatever it is, the reader must see it: nobody else will
            self.message = f"{type(error).__name__}: {error}"
        self.running = False
        self._notify(self)

    def _report(self, history: Any) -> None:
        self.curves = {
            name: list(losses)
            for name, losses in (
                ("training", history.train_loss),
                ("validation", history.validation_loss),
            )
            if losses
        }
        self.message = f"{self._result()} ..."
        self._notify(self)
        if self._stop.is_set():
            raise _StopError

    def _result(self) -> str:
        last = [f"{name} loss {values[-1]:.3f}" for name, values in self.curves.items()]
        count = max(map(len, self.curves.values()), default=0)
        return ", ".join([f"epoch {count}", *last])


class LiveTraining:
    """What a notebook shows of a `TrainingRun`: controls and growing curves, or else the film.

    Args:
        train: as in `TrainingRun`.
        optimizers: the names to choose from; the first is chosen at first.
        film: what is shown where there are no widgets.
        lr: the step size that is chosen at first.
    """

    def __init__(
        self, train: Train, *, optimizers: Sequence[str], film: Figure, lr: float = 0.1
    ) -> None:
        self.run = TrainingRun(train, self._show)
        self.film = film
        self._optimizers, self._lr = list(optimizers), lr
        self._panel: Any = None

    @property
    def panel(self) -> Any:
        """The widgets: a box of controls above a box with the curves."""
        if self._panel is None:
            self._panel = self._build()
            self._show(self.run)
        return self._panel

    def _build(self) -> Any:
        import ipywidgets as widgets

        self._optimizer = widgets.Dropdown(options=self._optimizers, description="Optimiser")
        self._rate = widgets.FloatLogSlider(
            value=self._lr, min=-4, max=1, step=0.125, description="Step size"
        )
        self._start = widgets.Button(description="Start", button_style="primary")
        self._stop = widgets.Button(description="Stop")
        self._picture = widgets.HTML()
        self._start.on_click(lambda _: self.run.start(self._optimizer.value, self._rate.value))
        self._stop.on_click(lambda _: self.run.stop())
        controls = widgets.HBox([self._optimizer, self._rate, self._start, self._stop])
        return widgets.VBox([controls, self._picture])

    def _show(self, run: TrainingRun) -> None:
        if self._panel is None:
            return
        self._start.disabled = run.running
        self._stop.disabled = not run.running
        self._picture.value = f'{curves_svg(run.curves)}<p role="status">{escape(run.message)}</p>'

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        try:
            shown = self.panel._repr_mimebundle_()
        except ImportError:  # a Python without ipywidgets
            shown = {}
        return {**shown, **self.film._repr_mimebundle_()}


def curves_svg(curves: Mapping[str, Sequence[float]]) -> str:
    """Draw losses over epochs as a small picture that takes its colours from the page around.

    Args:
        curves: at most two names and finite values of at least 0; none draws the empty axes.
    """
    top = max((value for values in curves.values() for value in values), default=0.0) or 1.0
    count = max(map(len, curves.values()), default=0)

    def x(at: int) -> float:
        return _LEFT + at / max(count - 1, 1) * (_WIDTH - _LEFT - 12)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - value / top * (_HEIGHT - _BOTTOM - 20)

    parts = []
    for value in (0, top / 2, top):
        parts.append(
            f'<path d="M{_LEFT} {y(value):.1f}H{_WIDTH}" stroke="currentColor" opacity=".2"/>'
            f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for values, colour, dash in zip(curves.values(), _COLOURS, ("", "6 4"), strict=False):
        points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in enumerate(values))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"'
            f' stroke-dasharray="{dash}"/>'
            f'<circle cx="{x(len(values) - 1):.1f}" cy="{y(values[-1]):.1f}" r="4"'
            f' fill="{colour}"/>'
        )
    label = "; ".join(
        f"{name} loss, {'dashed' if number else 'solid'}: {values[-1]:.3f}"
        for number, (name, values) in enumerate(curves.items())
    )
    words = f"Loss over {count} epochs. {label}" if curves else "No epoch yet"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" style="max-width:{_WIDTH}px"'
        f' font-size="13" fill="currentColor" role="img" aria-label="{escape(words)}">'
        f"{''.join(parts)}"
        f'<text x="{_WIDTH - 12}" y="{_HEIGHT - 6}" text-anchor="end">epoch {count}</text>'
        f'<text x="{_LEFT}" y="12">{escape(label)}</text></svg>'
    )
