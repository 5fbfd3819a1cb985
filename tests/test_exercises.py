"""The checks of the exercises: right answers pass, wrong ones get their hint, and nothing raises.

Each chapter's tests hold two tables by label: ``RIGHT_ANSWERS``, written otherwise than the
solution, and ``WRONG_ANSWERS``, each with words of the hint that its writer should get (empty: the
exercise's own hint). A mistake that an exercise recognises is tried with its own code too.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from course_lib.exercises import (
    RIGHT,
    TODO,
    WRONG,
    Case,
    Exercise,
    Mistake,
    Result,
    Watched,
    draw,
)
from support import TOPICS, own_tests

SEEDS = range(5)


def exercises_of(topic: str) -> dict[str, Exercise]:
    module: ModuleType = importlib.import_module(f"course_lib.exercises.{topic}")
    return {name: value for name, value in vars(module).items() if isinstance(value, Exercise)}


@pytest.fixture(autouse=True)
def not_grading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


EXERCISES = [exercise for topic in TOPICS for exercise in exercises_of(topic).values()]
by_label = {exercise.label: exercise for exercise in EXERCISES}
every_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=list(by_label))


def table(name: str) -> list[tuple[str, Any]]:
    """The entries of a table in the chapters' tests: pairs of a label and an answer."""
    return [
        (label, answer)
        for topic in TOPICS
        for label, answers in getattr(own_tests(topic), name).items()
        for answer in answers
    ]


# --- every exercise of the course -----------------------------------------------------------------


@pytest.mark.parametrize("topic", TOPICS)
def test_labels_are_the_chapters(topic: str) -> None:
    exercises = exercises_of(topic)
    labels = [exercise.label for exercise in exercises.values()]
    assert len(labels) == len(set(labels)) >= 1
    assert all(label.startswith(f"ex-{topic.replace('_', '-')}-") for label in labels)
    assert set(own_tests(topic).RIGHT_ANSWERS) == set(labels)
    assert set(own_tests(topic).WRONG_ANSWERS) == set(labels)
    assert all(own_tests(topic).RIGHT_ANSWERS.values())
    assert all(own_tests(topic).WRONG_ANSWERS.values())


@every_exercise
def test_mistakes_are_several_and_each_has_its_hint(exercise: Exercise) -> None:
    hints = [exercise.hint, *(mistake.hint for mistake in exercise.mistakes)]
    assert len(exercise.mistakes) >= 3
    assert len(set(hints)) == len(hints)
    for hint in hints:
        assert hint[0].isupper()
        assert hint[-1] in ".?"


@every_exercise
def test_accepts_the_oracle(exercise: Exercise) -> None:
    for seed in SEEDS:
        assert exercise(exercise.oracle, seed=seed).verdict == RIGHT


@pytest.mark.parametrize(("label", "answer"), table("RIGHT_ANSWERS"))
def test_accepts_right_answers(label: str, answer: Any) -> None:
    for seed in SEEDS:
        result = by_label[label](answer, seed=seed)
        assert result.verdict == RIGHT, result


@every_exercise
def test_recognises_its_mistakes(exercise: Exercise) -> None:
    for seed in SEEDS:
        for mistake in exercise.mistakes:
            result = exercise(mistake.answer, seed=seed)
            assert (result.verdict, result.hint) == (WRONG, mistake.hint)


@pytest.mark.parametrize(("label", "wrong"), table("WRONG_ANSWERS"))
def test_rejects_wrong_answers_with_a_hint(label: str, wrong: tuple[Any, str]) -> None:
    answer, words = wrong
    for seed in SEEDS:
        result = by_label[label](answer, seed=seed)
        assert result.verdict == WRONG
        assert (words in result.hint) if words else (result.hint == by_label[label].hint), result


def _not_implemented(*arguments: Any) -> Any:
    raise NotImplementedError


STUBS = [
    ...,
    None,
    (..., ...),
    [None],
    lambda *arguments: ...,
    lambda *arguments: (..., ...),
    _not_implemented,
]


@every_exercise
def test_knows_a_stub(exercise: Exercise) -> None:
    for stub in STUBS:
        result = exercise(stub)
        if callable(stub) and exercise.cases is None:
            assert (result.verdict, result.expected) == (WRONG, "a value")
        else:
            assert (result.verdict, result.hint) == (TODO, "")


@every_exercise
def test_asks_for_a_forgotten_return(exercise: Exercise) -> None:
    if exercise.cases is not None:
        result = exercise(lambda *arguments: None)
        assert result.verdict == TODO
        assert "is a return missing" in repr(result)


class _Hostile:
    """What nobody should return, and somebody will."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]


VALUES = [
    "a string",
    "<script>alert(1)</script>",
    True,
    0,
    float("nan"),
    float("inf"),
    1j,
    [],
    [[1, 2], [3]],
    {"a": 1},
    {1, 2},
    object,
    range(1000),
    np.zeros((2, 3)),
    np.array(["a", "b"]),
    torch.zeros(0),
    torch.tensor(float("nan")),
    torch.zeros(3, 3, dtype=torch.bool),
    torch.zeros(2, 2, dtype=torch.complex64),
    torch.eye(3).to_sparse(),
    torch.zeros(3, device="meta"),
    torch.zeros(100, 100, requires_grad=True),
    _Hostile(),
]


@every_exercise
def test_no_answer_is_too_strange(exercise: Exercise) -> None:
    answers = list(VALUES)
    if exercise.cases is not None:
        answers += [lambda *arguments, value=value: value for value in VALUES]
    for answer in answers:
        result = exercise(answer)
        assert result.verdict == WRONG
        assert result.hint
        assert len(repr(result)) < 2500
        assert "<script" not in result._repr_html_()


def _raises(*arguments: Any) -> Any:
    return {}["<missing>"]


def _takes_nothing() -> int:
    return 1


@pytest.mark.parametrize("label", by_label)
def test_an_answer_that_raises_is_shown(label: str) -> None:
    exercise = by_label[label]
    if exercise.cases is None:
        return
    result = exercise(_raises)
    assert result.verdict == WRONG
    assert result.got.startswith("KeyError: '<missing>' (line ")
    assert result.got.endswith(" of _raises)")
    assert "&lt;missing&gt;" in result._repr_html_()
    assert "positional argument" in exercise(_takes_nothing).got
    assert "line" not in exercise(_takes_nothing).got


# --- the check itself, on an exercise of its own --------------------------------------------------


def _double(values: Tensor, times: int) -> Tensor:
    return values * 2**times


def _cases(generator: torch.Generator) -> Iterator[Case]:
    for length in (5, 2, 9, 3):
        yield torch.randint(1, 9, (length,), generator=generator).double(), 1


double = Exercise(
    label="ex-double",
    oracle=_double,
    hint="Think again.",
    cases=_cases,
    mistakes=(Mistake(lambda values, times: values + 2, "Multiply, <do> not add."),),
)
answer = Exercise("ex-answer", 42, "Count again.", mistakes=(Mistake(41, "One more."),))


def test_right_is_true_and_says_how_often() -> None:
    result = double(_double)
    assert result
    assert result.headline() == "✓ Right, on 4 fresh cases"
    assert answer(42).headline() == "✓ Right"


def test_wrong_shows_the_smallest_failing_case() -> None:
    result = double(lambda values, times: values + 2, seed=0)
    assert not result
    values = result.case.removeprefix("values=").partition("]")[0]
    assert values.count(",") == 1, "the case of two numbers"
    assert result.case.endswith("times=1")
    shown = repr(result)
    for label, text in result.lines():
        assert f"{label}: {text}" in shown
    assert [label for label, _ in result.lines()] == ["For", "your answer is", "expected", "Hint"]

    only_long = double(lambda values, times: values * (2 if len(values) < 5 else 3), seed=0)
    assert only_long.case.count(",") == 5  # four between five values, and one before `times`


def test_wrong_value_does_not_give_the_answer_away() -> None:
    result = answer(41)
    assert (result.got, result.expected, result.hint) == ("41", "", "One more.")
    assert "42" not in repr(result)
    assert answer(40).hint == "Count again."


def test_html_escapes_and_holds_everything() -> None:
    html = double(lambda values, times: values + 2)._repr_html_()
    assert "Multiply, &lt;do&gt; not add." in html
    assert "<do>" not in html
    assert 'role="status"' in html


def test_cases_are_fresh_unless_a_seed_is_given() -> None:
    wrong = _raises
    assert double(wrong, seed=3) == double(wrong, seed=3)
    assert len({double(wrong).case for _ in range(8)}) > 1


def test_an_answer_may_write_to_its_arguments() -> None:
    def in_place(values: Tensor, times: int) -> Tensor:
        return values.mul_(2)

    def destroys(values: Tensor, times: int) -> Tensor:
        right = values * 3
        values.zero_()
        return right

    assert double(in_place)
    result = double(destroys, seed=0)
    assert result.case == double(lambda values, times: values * 3, seed=0).case


@pytest.mark.parametrize("scale", [1 + 1e-8, 1 - 1e-8])
def test_rounding_is_forgiven(scale: float) -> None:
    assert double(lambda values, times: values * 2 * scale)
    assert not double(lambda values, times: values * 2 * (1 + 1e-4))


def test_the_shape_counts() -> None:
    assert not double(lambda values, times: values[None] * 2)
    assert double(lambda values, times: (values * 2).tolist())
    assert double(lambda values, times: (values * 2).numpy())
    assert double(lambda values, times: (values * 2).float().requires_grad_())


@pytest.mark.parametrize(
    ("oracle", "right", "wrong"),
    [
        (3, np.int64(3), np.int64(4)),
        (3, torch.tensor(3), torch.tensor([3])),
        (0.5, np.float32(0.5), "0.5"),
        (True, True, 1),
        ("same", "same", "valid"),
        ((1, (2, 3)), [1, [2, 3]], (1, 2, 3)),
        ({"a": 1}, {"a": 1.0}, {"b": 1}),
        (torch.float32, torch.float32, torch.float64),
        (torch.ones(2), [1, 1], [1]),
    ],
)
def test_values_of_many_kinds(oracle: Any, right: Any, wrong: Any) -> None:
    exercise = Exercise("ex-kind", oracle, "Look again.")
    assert exercise(right)
    assert not exercise(wrong)


def test_grading_raises_when_a_point_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for lost in (..., _raises, lambda values, times: values):
        assert isinstance(double(lost), Result)
    monkeypatch.setitem(os.environ, "NBGRADER_EXECUTION", "autograde")
    assert double(_double)
    for lost in (..., _raises, lambda values, times: values):
        with pytest.raises(AssertionError, match="ex-double"):
            double(lost)


# --- an exercise about what an answer does --------------------------------------------------------


def _watch(ask: Callable[..., Any], layer: nn.Linear, rows: list[Tensor]) -> dict[str, Any]:
    before = layer.weight.detach().clone()
    ask(layer, rows)
    again = ask(layer, rows)
    return {"moved": not torch.equal(before, layer.weight), "sum": sum(again)}


def _layers(generator: torch.Generator) -> Iterator[Case]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(draw(generator, 0, 99))
        yield nn.Linear(2, 2), [torch.ones(2), torch.ones(2)]


def _sums(layer: nn.Linear, rows: list[Tensor]) -> list[float]:
    return [float(row.sum()) for row in rows]


def _spoils(layer: nn.Linear, rows: list[Tensor]) -> list[float]:
    with torch.no_grad():
        layer.weight.zero_()
    return _sums(layer, rows)


def _grows(layer: nn.Linear, rows: list[Tensor]) -> list[float]:
    return [float(row.mul_(2).sum()) for row in rows]


watched = Watched(
    "ex-watched",
    _sums,
    "Look again.",
    _layers,
    (Mistake(_spoils, "The layer is not yours."), Mistake(_grows, "Nor are the rows.")),
    watch=_watch,
)


def test_what_an_answer_does_is_watched() -> None:
    assert watched(lambda layer, rows: [row.sum().item() for row in rows])
    for mistake in watched.mistakes:
        assert watched(mistake.answer).hint == mistake.hint
    assert watched(_spoils).got == "{'moved': True, 'sum': 4.0}"
    assert watched(_grows).got == "{'moved': False, 'sum': 16.0}"
    assert watched(_sums), "each answer gets copies of its own"


def test_a_watched_answer_may_be_blank_strange_or_fail() -> None:
    for blank in (..., lambda layer, rows: ..., lambda layer, rows: None):
        assert watched(blank).verdict == TODO
    assert watched(_not_implemented).verdict == TODO
    fetched = watched(lambda layer, rows: rows[0].to("meta").cpu())  # PyTorch's, not a stub's
    assert (fetched.verdict, fetched.hint) == (WRONG, "Look again.")
    assert fetched.got.startswith("NotImplementedError: Cannot copy out of meta tensor")
    assert watched(_raises).got.startswith("KeyError: '<missing>' (line ")
    assert "positional argument" in watched(lambda: 1).got
    strange = watched(lambda layer, rows: 3)
    assert (strange.verdict, strange.hint) == (WRONG, "Look again.")
    assert strange.got == "TypeError: 'int' object is not iterable"
