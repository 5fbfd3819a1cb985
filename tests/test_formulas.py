"""The ledger: every equation of the book has an entry, and what it says is so."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
from torch import Tensor

from course_lib import formulas
from course_lib.formulas import (
    LEDGER,
    TOLERANCE,
    Formula,
    Measurement,
    measure,
    normal,
    number,
    relative_error,
)
from support import TOPICS, topic_module
from tree import ROOT

every_formula = pytest.mark.parametrize("formula", LEDGER, ids=[f.label for f in LEDGER])
checked = [formula for formula in LEDGER if not formula.definition]
every_checked = pytest.mark.parametrize("formula", checked, ids=[f.label for f in checked])

# --- the equations of the book --------------------------------------------------------------------

_FENCE = re.compile(
    r"^(?P<fence>`{3,}|:{3,}|~{3,})(?P<kind>[^\n]*)\n(?P<body>.*?)^(?P=fence)", re.M | re.S
)
_DOLLARS = re.compile(r"\$\$(?P<body>.*?)\$\$(?:[ \t]*\((?P<label>[^)\s]+)\))?", re.S)
_OPTION = re.compile(r"^:?label: *(\S+)", re.M)


def labels_in(markdown: str) -> list[str]:
    """The labels of a text's equations: after ``$$``, or as an option of a ``{math}`` block."""
    labels: list[str] = []

    def take(fence: re.Match[str]) -> str:
        kind, body = fence["kind"].strip(), fence["body"]
        if kind == "{math}":
            labels.extend(_OPTION.findall(body)[:1])
            return ""
        is_text = fence["fence"][0] == ":" or kind.startswith("{")
        if is_text and not kind.startswith(("{code", "{list-table")):
            labels.extend(labels_in(body))
        return ""

    rest = _FENCE.sub(take, markdown)
    labels += [match["label"] for match in _DOLLARS.finditer(rest) if match["label"]]
    return labels


def text_of(path: Path) -> str:
    """What a page of the book says: a Markdown file, or a notebook's Markdown cells."""
    text = path.read_text("utf-8")
    if path.suffix != ".ipynb":
        return text
    cells = json.loads(text)["cells"]
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def labels_of_book(book: Path) -> dict[str, list[str]]:
    """Every label, by the page's name."""
    pages = [*book.rglob("*.ipynb"), *book.rglob("*.md")]
    found = {page.stem: labels_in(text_of(page)) for page in sorted(pages)}
    return {name: labels for name, labels in found.items() if labels}


def complaints(book: Path, ledger: tuple[Formula, ...]) -> list[str]:
    """Where the book and the ledger differ, in sentences."""
    pages = [label for labels in labels_of_book(book).values() for label in labels]
    entries = [formula.label for formula in ledger]
    return [
        *(f"{label}: in the book, without an entry" for label in pages if label not in entries),
        *(f"{label}: an entry without an equation" for label in entries if label not in pages),
        *(
            f"{label}: twice in the book"
            for label in sorted({x for x in pages if pages.count(x) > 1})
        ),
        *(
            f"{label}: two entries"
            for label in sorted({x for x in entries if entries.count(x) > 1})
        ),
    ]


def test_book_and_ledger_agree() -> None:
    assert complaints(ROOT / "book", LEDGER) == []


@pytest.mark.parametrize("topic", TOPICS)
def test_module_names_the_equations_of_its_chapter(topic: str) -> None:
    module = topic_module(topic)
    head = re.search(r"by label:([\w\s,-]+)\.", module.__doc__ or "")
    assert head, "the module's docstring lists its equations: 'by label: ...'"
    named = re.split(r",\s*", head[1].strip())
    in_chapter = labels_of_book(ROOT / "book")[topic]
    assert sorted(named) == sorted(in_chapter)
    prefixes = "|".join({label.partition("-")[0] for label in named})
    cited = re.findall(rf"\(((?:{prefixes})-[a-z-]+)\)", inspect.getsource(module))
    assert set(cited) <= set(in_chapter)


FORMS = [
    ("$$\na = b\n$$ (eq-one)", ["eq-one"]),
    ("$$ a = b $$(eq-one)\n\n$$c$$\n\n$$ d $$ (eq-two)", ["eq-one", "eq-two"]),
    ("```{math}\n:label: eq-one\na = b\n```", ["eq-one"]),
    (":::{math}\n:label: eq-one\na = b\n:::", ["eq-one"]),
    ("````{math}\n---\nlabel: eq-one\n---\na\n````", ["eq-one"]),
    ("::::{note}\n$$ a $$ (eq-one)\n::::", ["eq-one"]),
    ("::::{note}\n:::{math}\n:label: eq-one\na\n:::\n::::", ["eq-one"]),
    ("$$ a $$\n\n(a remark)", []),
    ("```text\n$$ a $$ (eq-one)\n```", []),
    (":::{exercise} Title\n:label: ex-one\nWhat is $x$?\n:::", []),
    ("$a$ (eq-one) and {eq}`eq-two`", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "labels"), FORMS)
def test_labels_are_found_in_every_form(text: str, labels: list[str]) -> None:
    assert labels_in(text) == labels


def test_difference_between_book_and_ledger_is_found(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["$$ a $$ (eq-one)\n", "\n", "$$ b $$ (eq-new)"]},
        {"cell_type": "code", "source": ["text = '$$ c $$ (eq-code)'"]},
    ]
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "idea.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "page.md").write_text("$$ a $$ (eq-one)\n")
    ledger = tuple(Formula(label, "says so") for label in ("eq-one", "eq-old", "eq-old"))
    assert complaints(tmp_path, ledger) == [
        "eq-new: in the book, without an entry",
        "eq-old: an entry without an equation",
        "eq-old: an entry without an equation",
        "eq-one: twice in the book",
        "eq-old: two entries",
    ]


# --- what an entry says ---------------------------------------------------------------------------


def resolve(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@every_formula
def test_entry_is_complete(formula: Formula) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", formula.label)
    assert formula.statement[0].isupper()
    assert not formula.statement.endswith(".")
    assert "\n" not in formula.statement
    if formula.definition:
        assert (formula.implementation, formula.reference) == ("", "")
    else:
        assert formula.reference
        assert formula.implementation.startswith("course_lib.")
        assert callable(resolve(formula.implementation))


@cache
def measurements(device: torch.device) -> dict[str, Measurement]:
    # The book shows the errors for seed 0; other cases are tried here.
    return {found.label: found for found in measure(seed=1, devices=[device])}


@every_checked
def test_formula_agrees_with_its_reference(formula: Formula, device: torch.device) -> None:
    found = measurements(device)[formula.label]
    assert found.device == device.type
    assert found.cases >= 5
    assert found.error <= TOLERANCE


@every_checked
def test_implementation_is_what_is_measured(formula: Formula) -> None:
    function = resolve(formula.implementation)
    wanted: CodeType = (function.__init__ if inspect.isclass(function) else function).__code__
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        called.add(frame.f_code)

    assert formula.pairs is not None
    sys.setprofile(note)
    try:
        next(formula.pairs(torch.Generator(), torch.device("cpu")))
    finally:
        sys.setprofile(None)
    assert wanted in called


# --- the measure ----------------------------------------------------------------------------------


def _pairs(error: float) -> Callable[..., Iterator[tuple[Tensor, Tensor]]]:
    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(3):
            reference = normal(generator, device, number(generator, 2, 5))
            yield reference, reference
            yield reference + error, reference

    return pairs


def test_a_wrong_entry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = (
        Formula("a-definition", "Names something"),
        Formula("a-right", "So it is", "f", "g", _pairs(0.0)),
        Formula("a-wrong", "So it is not", "f", "g", _pairs(1e-6)),
    )
    monkeypatch.setattr(formulas, "LEDGER", ledger)
    right, wrong = measure(devices=[torch.device("cpu")])
    assert (right.label, right.error, right.cases) == ("a-right", 0.0, 6)
    assert wrong.label == "a-wrong"
    assert wrong.error > 1000 * TOLERANCE


def test_relative_error_is_relative_to_the_largest() -> None:
    reference = torch.tensor([100.0, 1.0])
    assert relative_error(reference + torch.tensor([0.0, 2.0]), reference) == pytest.approx(0.02)
    assert relative_error(torch.tensor(0.25), torch.tensor(0.0)) == 0.25  # at least over 1
    assert relative_error(torch.zeros(0), torch.zeros(0)) == 0
    assert relative_error(torch.tensor(3), torch.tensor(2)) == 0.5


@pytest.mark.parametrize(
    ("ours", "reference", "message"),
    [
        (torch.zeros(2), torch.zeros(2, 1), r"expected shape \(2, 1\), got \(2,\)"),
        (torch.tensor([0, torch.nan]), torch.zeros(2), "got NaN"),
        (torch.zeros(2), torch.tensor([0, torch.nan]), "got NaN"),
    ],
)
def test_relative_error_takes_no_nonsense(ours: Tensor, reference: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        relative_error(ours, reference)


def test_every_module_of_the_ledger_is_a_chapters() -> None:
    folder = Path(inspect.getfile(formulas)).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "entry"}
    assert modules <= set(TOPICS)
    for path in folder.glob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text()))
