"""A training run that the reader starts, watches and stops; the widgets without a browser."""

from __future__ import annotations

import re
import sys
import threading
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from course_lib.figures import Figure
from course_lib.live import LiveTraining, TrainingRun, curves_svg

FILM = Figure("training_film", "A film", "<div>film</div>")


class Lesson:
    """A training function whose epochs the test lets pass one by one."""

    def __init__(self, epochs: int = 3, error: Exception | None = None) -> None:
        self.epochs, self.error = epochs, error
        self.calls: list[tuple[str, float]] = []
        self.go = threading.Semaphore(0)

    def __call__(self, optimizer: str, lr: float, on_epoch: Any) -> None:
        self.calls.append((optimizer, lr))
        history = SimpleNamespace(train_loss=[], validation_loss=[])
        for epoch in range(self.epochs):
            assert self.go.acquire(timeout=20)
            if self.error is not None:
                raise self.error
            history.train_loss.append(1 / (1 + epoch))
            history.validation_loss.append(2 / (1 + epoch))
            on_epoch(history)

    def let_pass(self, epochs: int) -> None:
        for _ in range(epochs):
            self.go.release()


def run_with(lesson: Lesson) -> tuple[TrainingRun, list[tuple[bool, str]]]:
    seen: list[tuple[bool, str]] = []
    return TrainingRun(lesson, lambda run: seen.append((run.running, run.message))), seen


def test_a_run_reports_every_epoch_and_its_end() -> None:
    lesson = Lesson()
    run, seen = run_with(lesson)
    run.start("Adam", 0.25)
    lesson.let_pass(3)
    assert run.wait(20)
    assert lesson.calls == [("Adam", 0.25)]
    assert seen == [
        (True, "Epoch 1 ..."),
        (True, "epoch 1, training loss 1.000, validation loss 2.000 ..."),
        (True, "epoch 2, training loss 0.500, validation loss 1.000 ..."),
        (True, "epoch 3, training loss 0.333, validation loss 0.667 ..."),
        (False, "Done: epoch 3, training loss 0.333, validation loss 0.667."),
    ]
    assert run.curves["validation"] == [2, 1, 2 / 3]


def test_stop_ends_it_after_the_epoch_and_it_can_start_again() -> None:
    lesson = Lesson(epochs=50)
    run, _ = run_with(lesson)
    run.start("SGD", 0.1)
    lesson.let_pass(1)
    run.stop()
    lesson.let_pass(1)
    assert run.wait(20)
    assert run.message.startswith("Stopped: epoch ")
    assert 1 <= len(run.curves["training"]) <= 2
    lesson.epochs = 1
    lesson.go = threading.Semaphore(1)
    run.start("Adam", 0.5)
    assert run.wait(20)
    assert run.message == "Done: epoch 1, training loss 1.000, validation loss 2.000."


def test_a_second_start_does_nothing_while_a_run_goes_on() -> None:
    lesson = Lesson()
    run, _ = run_with(lesson)
    run.start("SGD", 0.1)
    run.start("Adam", 0.1)
    lesson.let_pass(3)
    assert run.wait(20)
    assert [name for name, _ in lesson.calls] == ["SGD"]


def test_an_error_is_shown() -> None:
    lesson = Lesson(error=FloatingPointError("loss: expected a finite number, got nan"))
    run, _ = run_with(lesson)
    run.start("SGD", 10.0)
    lesson.let_pass(1)
    assert run.wait(20)
    assert run.message == "FloatingPointError: loss: expected a finite number, got nan"


def test_nothing_runs_before_the_start() -> None:
    run, seen = run_with(Lesson())
    assert run.wait()
    assert seen == []


# --- widgets --------------------------------------------------------------------------------------


def test_the_buttons_start_and_stop_the_run() -> None:
    lesson = Lesson(epochs=50)
    live = LiveTraining(lesson, optimizers=["SGD", "Adam"], film=FILM, lr=0.1)
    controls, picture = live.panel.children
    optimizer, rate, start, stop = controls.children
    assert (optimizer.value, rate.value) == ("SGD", 0.1)
    assert (start.disabled, stop.disabled) == (False, True)
    assert "Choose, then press Start." in picture.value
    optimizer.value, rate.value = "Adam", 0.01
    start.click()
    assert (start.disabled, stop.disabled) == (True, False)
    stop.click()
    lesson.let_pass(1)
    assert live.run.wait(20)
    assert lesson.calls == [("Adam", 0.01)]
    assert (start.disabled, stop.disabled) == (False, True)
    assert "Stopped: epoch 1, training loss 1.000" in picture.value
    assert "polyline" in picture.value


def test_what_an_error_says_is_no_markup() -> None:
    lesson = Lesson(error=ValueError("<b>bad</b>"))
    live = LiveTraining(lesson, optimizers=["SGD"], film=FILM)
    picture = live.panel.children[1]
    live.run.start("SGD", 0.1)
    lesson.let_pass(1)
    assert live.run.wait(20)
    assert "&lt;b&gt;bad" in picture.value


def test_a_cell_shows_widgets_and_a_page_the_film(monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveTraining(Lesson(), optimizers=["SGD"], film=FILM)
    shown = live._repr_mimebundle_()
    view = shown["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == live.panel.model_id
    assert shown["text/html"] == FILM.html
    assert shown["text/plain"].startswith("A film")
    assert live.panel is live.panel
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bare = LiveTraining(Lesson(), optimizers=["SGD"], film=FILM)._repr_mimebundle_()
    assert set(bare) == {"text/html", "text/plain"}


def test_it_drives_a_real_run() -> None:
    from course_lib import training

    def train(optimizer: str, lr: float, on_epoch: Any) -> None:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        inputs = torch.randn(32, 3)
        data = inputs, inputs.sum(1, keepdim=True)
        chosen = getattr(training, optimizer)(model.parameters(), lr=lr)
        training.fit(
            model, torch.nn.functional.mse_loss, data, optimizer=chosen, epochs=4,
            validation=data, batch_size=8, device="cpu", progress=False, on_epoch=on_epoch,
        )  # fmt: skip

    live = LiveTraining(train, optimizers=["SGD"], film=FILM)
    live.run.start("SGD", 0.1)
    assert live.run.wait(60)
    assert live.run.message.startswith("Done: epoch 4")
    losses = live.run.curves["training"]
    assert losses[-1] < losses[0]
    live.run.start("SGD", 1e9)
    assert live.run.wait(60)
    assert live.run.message.startswith("FloatingPointError: loss: expected a finite number")


# --- the picture ----------------------------------------------------------------------------------


def points_of(svg: ElementTree.Element) -> list[list[tuple[float, float]]]:
    return [
        [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        for line in svg.iter("polyline")
    ]


def test_the_picture_s_points_are_the_losses() -> None:
    curves = {"training": [4.0, 2.0, 0.0], "validation": [3.0, 1.0, 2.0]}
    svg = ElementTree.fromstring(curves_svg(curves))
    first, second = points_of(svg)
    for line, values in ((first, curves["training"]), (second, curves["validation"])):
        assert [x for x, _ in line] == [first[0][0], (first[0][0] + first[2][0]) / 2, first[2][0]]
        high, low = first[0][1], first[2][1]  # where 4 and 0 lie
        assert [round((low - y) / (low - high) * 4, 1) for _, y in line] == values
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-label"] == (
        "Loss over 3 epochs. training loss, solid: 0.000; validation loss, dashed: 2.000"
    )


@pytest.mark.parametrize("curves", [{}, {"training": [0.0]}, {"training": [1.0], "validation": []}])
def test_few_numbers_make_a_picture_too(curves: dict[str, list[float]]) -> None:
    svg = curves_svg({name: values for name, values in curves.items() if values})
    ElementTree.fromstring(svg)
    assert not re.search(r"nan|inf", svg)
