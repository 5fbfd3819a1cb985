"""Exercises that answer back.

An `Exercise` takes the reader's function (or value), tries it on fresh random cases against the
course's own implementation, and returns a `Result` that shows well in a notebook: right, not
attempted yet, or wrong, with the smallest failing case and a hint for a mistake that it knows.
It never raises for a wrong answer, except while nbgrader grades, when a point is at stake.
"""

from __future__ import annotations

import copy
import html
import inspect
import math
import os
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Case = tuple[Any, ...]

RIGHT, WRONG, TODO = "right", "not right yet", "not attempted yet"
_SILENT = "If you wrote an answer, it returns nothing: is a return missing?"
_LONGEST = 600  # characters of a value that are shown
_LOOKS = {RIGHT: ("✓", "#009E73"), WRONG: ("✗", "#D55E00"), TODO: ("…", "#888888")}


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people really give, and what to tell them.

    Args:
        answer: the wrong function itself, or the wrong value: an answer that agrees with it on
            every case has made this mistake.
        hint: one or two sentences that point to the error without giving the answer away.
    """

    answer: Any
    hint: str


@dataclass(frozen=True)
class Result:
    """What a check found; true if the answer is right."""

    exercise: str
    verdict: str
    cases: int = 0
    case: str = ""
    got: str = ""
    expected: str = ""
    hint: str = ""

    def __bool__(self) -> bool:
        """Whether the answer is right."""
        return self.verdict == RIGHT

    def lines(self) -> list[tuple[str, str]]:
        """What to show under the verdict: pairs of a label and a text."""
        labelled = [
            ("For", self.case),
            ("your answer is", self.got),
            ("expected", self.expected),
            ("Hint", self.hint),
        ]
        return [(label, text) for label, text in labelled if text]

    def headline(self) -> str:
        """The verdict in one line."""
        sign = _LOOKS[self.verdict][0]
        if self.verdict == RIGHT and self.cases > 1:
            return f"{sign} Right, on {self.cases} fresh cases"
        return f"{sign} {self.verdict.capitalize()}"

    def __repr__(self) -> str:
        """Plain text, for a terminal."""
        return "\n".join([self.headline(), *(f"  {a}: {b}" for a, b in self.lines())])

    def _repr_html_(self) -> str:
        colour = _LOOKS[self.verdict][1]
        rows = "".join(
            f'<div style="display:flex;gap:.6em;margin-top:.3em"><span style="min-width:8em">'
            f'{html.escape(label)}</span><span style="white-space:pre-wrap;overflow-wrap:anywhere;'
            f'font-family:{"inherit" if label == "Hint" else "monospace"}">'
            f"{html.escape(text)}</span></div>"
            for label, text in self.lines()
        )
        return (
            f'<div role="status" style="border-left:4px solid {colour};padding:.4em .8em">'
            f"<strong>{html.escape(self.headline())}</strong>{rows}</div>"
        )


@dataclass(frozen=True)
class Exercise:
    """One exercise of a chapter: call it with an answer, get a `Result`.

    Args:
        label: the exercise's label in the chapter, such as ``ex-convolution-size``.
        oracle: the right function; for an exercise that asks for a value, the right value.
        cases: draws the arguments of each try from a generator; the smallest is tried first.
            An exercise that asks for a value has none.
        mistakes: wrong answers that it recognises.
        hint: what to say about a wrong answer that it does not recognise.
        tolerance: largest relative difference that still counts as equal.
    """

    label: str
    oracle: Any
    hint: str
    cases: Callable[[torch.Generator], Iterable[Case]] | None = None
    mistakes: Sequence[Mistake] = ()
    tolerance: float = 1e-6

    def __call__(self, answer: Any, seed: int | None = None) -> Result:
        """Check an answer; fresh random cases each time unless a seed is given."""
        result = self._check(answer, seed)
        if result.verdict != RIGHT and os.environ.get("NBGRADER_EXECUTION"):
            raise AssertionError(f"{self.label}: {result}")
        return result

    def _check(self, answer: Any, seed: int | None) -> Result:
        if _is_blank(answer):
            return Result(self.label, TODO)
        if self.cases is None:
            arguments: list[Case] = [()]
            if callable(answer):
                return self._wrong([()], [_Raised("a function")], [self.oracle], 0, "a value")
            answers = [answer]
        else:
            if not callable(answer):
                given = _show(answer)
                return Result(self.label, WRONG, got=given, expected="a function", hint=self.hint)
            generator = torch.Generator()
            generator.manual_seed(int.from_bytes(os.urandom(4)) if seed is None else seed)
            arguments = sorted(self.cases(generator), key=_size)
            answers = [self._ask(answer, case) for case in arguments]
        if all(_is_blank(a) for a in answers):
            silent = all(a is None for a in answers)
            return Result(self.label, TODO, hint=_SILENT if silent else "")
        truths = [self._ask(self.oracle, case) for case in arguments]
        for number, (got, truth) in enumerate(zip(answers, truths, strict=True)):
            if not _equal(got, truth, self.tolerance):
                return self._wrong(arguments, answers, truths, number)
        return Result(self.label, RIGHT, cases=len(arguments))

    def _ask(self, answer: Any, case: Case) -> Any:
        """What an answer gives for a case, in the form in which it is compared."""
        return _try(answer, case)

    def _wrong(
        self,
        arguments: list[Case],
        answers: list[Any],
        truths: list[Any],
        number: int,
        expected: str = "",
    ) -> Result:
        names = _parameter_names(self.oracle)
        return Result(
            self.label,
            WRONG,
            case=", ".join(
                f"{name}={_show(value)}"
                for name, value in zip(names, arguments[number], strict=False)
            ),
            got=_show(answers[number]),
            # To print the right value of a question about a value would answer it.
            expected=expected or (_show(truths[number]) if self.cases else ""),
            hint=self._recognise(arguments, answers),
        )

    def _recognise(self, arguments: list[Case], answers: list[Any]) -> str:
        for mistake in self.mistakes:
            # Asked case by case: the first that differs tells that it is another mistake.
            if all(
                _equal(got, self._ask(mistake.answer, case), self.tolerance)
                for got, case in zip(answers, arguments, strict=True)
            ):
                return mistake.hint
        return self.hint


@dataclass(frozen=True)
class Watched(Exercise):
    """An exercise about what an answer does, where its result alone cannot be compared.

    Args:
        watch: called as ``watch(ask, *case)`` with the answer as ``ask`` and copies of the case,
            layers copied too; calls the answer, as often as it likes, and returns what it saw:
            numbers, tensors, words or a mapping of them. A blank or failing answer ends it.
    """

    watch: Callable[..., Any] = field(kw_only=True)

    def _ask(self, answer: Any, case: Case) -> Any:
        def ask(*arguments: Any) -> Any:
            result = _call(answer, arguments)
            if _is_blank(result) or isinstance(result, _Raised):
                raise _NothingToSeeError(result)
            return result

        try:
            return self.watch(ask, *map(_copy, case))
        except _NothingToSeeError as nothing:
            return nothing.args[0]
        except Exception as error:  # an answer may be anything, and not do what is asked of it
            return _Raised(f"{type(error).__name__}: {error}")


def draw(generator: torch.Generator, low: int, high: int) -> int:
    """A random integer, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def halves(generator: torch.Generator, *shape: int) -> Tensor:
    """Whole numbers and halves from −5 to 5, so that a failing case can be worked out by hand."""
    return torch.randint(-10, 11, shape, generator=generator).double() / 2


@dataclass(frozen=True)
class _Raised:
    """What came instead of an answer: an exception, in the words that Python shows, and where."""

    message: str
    place: str = ""


def _try(answer: Any, case: Case) -> Any:
    """Call with copies, so that an answer that writes to its arguments harms nobody else."""
    if not callable(answer):
        return answer
    return _call(answer, [value.clone() if isinstance(value, Tensor) else value for value in case])


def _call(answer: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        return answer(*arguments)
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[1:]  # without this function's own
        if isinstance(error, NotImplementedError) and not error.args and len(frames) == 1:
            return ...  # a stub's bare `raise`; PyTorch raises the same with words, or from deeper
        place = f" (line {frames[0].lineno} of {frames[0].name})" if frames else ""
        return _Raised(f"{type(error).__name__}: {error}", place)


class _NothingToSeeError(Exception):
    """Ends a `Watched` exercise's watch over an answer that is blank or failed."""


def _copy(value: Any) -> Any:
    """A copy that an answer may change: of a tensor, a layer, or what a tuple or list holds."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, nn.Module):
        return copy.deepcopy(value)
    if type(value) in (tuple, list):
        return type(value)(map(_copy, value))
    return value


def _size(value: Any) -> float:
    """How much there is to work through by hand."""
    if isinstance(value, tuple | list):
        return sum(map(_size, value))
    if isinstance(value, Tensor):
        return value.numel()
    return abs(value) if isinstance(value, int | float) else 1


def _is_blank(value: Any) -> bool:
    """Whether this is what a stub gives: ``...`` or nothing at all."""
    if isinstance(value, tuple | list):
        return len(value) > 0 and all(_is_blank(part) for part in value)
    return value is None or value is Ellipsis


def _equal(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, _Raised) or isinstance(b, _Raised):
        # Two ways to fail with the same words are the same mistake.
        return isinstance(a, _Raised) and isinstance(b, _Raised) and a.message == b.message
    if isinstance(a, Tensor | np.ndarray) or isinstance(b, Tensor | np.ndarray):
        return _equal_tensors(a, b, tolerance)
    if isinstance(a, bool | str) or isinstance(b, bool | str):
        return type(a) is type(b) and a == b
    if isinstance(b, Real):
        return isinstance(a, Real) and math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)
    if isinstance(b, Mapping):
        return (
            isinstance(a, Mapping)
            and a.keys() == b.keys()
            and all(_equal(a[key], b[key], tolerance) for key in b)
        )
    if isinstance(b, Sequence):
        return (
            isinstance(a, Sequence)
            and len(a) == len(b)
            and all(_equal(x, y, tolerance) for x, y in zip(a, b, strict=True))
        )
    try:
        return bool(a == b)
    except Exception:  # an answer may be anything, and compare in any way
        return False


def _equal_tensors(a: Any, b: Any, tolerance: float) -> bool:
    """Compare as tensors whatever can be one: an array or nested lists are right answers too."""
    try:
        left, right = (torch.as_tensor(value).detach().cpu().to_dense() for value in (a, b))
    except (RuntimeError, TypeError, ValueError):
        return False
    if left.shape != right.shape or left.is_complex() != right.is_complex():
        return False
    exact = torch.complex128 if left.is_complex() else torch.float64
    return torch.allclose(
        left.to(exact), right.to(exact), rtol=tolerance, atol=tolerance, equal_nan=True
    )


def _show(value: Any) -> str:
    """A value in a few lines."""
    if isinstance(value, _Raised):
        return value.message + value.place
    try:
        text = _tensor_text(value) if isinstance(value, Tensor) else repr(value)
    except Exception:  # an answer may be anything, and have no words for itself
        text = f"a {type(value).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _tensor_text(value: Tensor) -> str:
    if value.numel() > 64:
        return f"a tensor of shape {tuple(value.shape)}"
    tidy = value.detach().cpu()
    text = str(tidy.tolist() if tidy.ndim == 0 else tidy).removeprefix("tensor(")
    return text.replace("\n       ", "\n").split(", dtype=")[0].removesuffix(")")


def _parameter_names(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters) if callable(function) else []
