"""Every notebook of the book as it is committed: what it holds, what it lacks, how it is written.

A rule yields a sentence for each thing that is wrong. Each is tried on every notebook, and on a
notebook that was spoilt on purpose. That the notebooks run is nbval's part.
"""

from __future__ import annotations

import ast
import copy
import importlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest

from course_lib.exercises import Exercise
from tree import ROOT, chapters

Cell = dict[str, Any]


@dataclass(frozen=True)
class Book:
    """A notebook, and what the last build made of it, if there was one."""

    path: Path
    content: dict[str, Any]

    @property
    def cells(self) -> list[Cell]:
        return self.content["cells"]

    def of_type(self, kind: str) -> list[Cell]:
        return [cell for cell in self.cells if cell["cell_type"] == kind]

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        """The code cells as Python sees them, by their ids; a line of IPython's own is a pass."""
        return {
            cell["id"]: ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", text(cell), flags=re.M))
            for cell in self.of_type("code")
        }

    @cached_property
    def imported(self) -> dict[str, str]:
        """What each imported name stands for, as a dotted name; the set-up cell left out."""
        names: dict[str, str] = {}
        for cell, tree in self.trees.items():
            for node in ast.walk(tree):
                if cell == "setup":
                    continue
                if isinstance(node, ast.Import):
                    for alias in node.names:
                        name = alias.asname or alias.name.partition(".")[0]
                        names[name] = alias.name if alias.asname else name
                elif isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return names

    @cached_property
    def exercises(self) -> dict[str, Exercise]:
        module = importlib.import_module(f"course_lib.exercises.{self.path.stem}")
        return {name: value for name, value in vars(module).items() if isinstance(value, Exercise)}


def text(cell: Cell) -> str:
    return "".join(cell["source"])


def tags(cell: Cell) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def load(path: Path) -> Book:
    return Book(path, json.loads(path.read_text("utf-8")))


# --- the rules ------------------------------------------------------------------------------------


def is_clean(book: Book) -> Iterator[str]:
    try:
        nbformat.validate(book.content)
    except nbformat.ValidationError as error:
        yield f"not a valid notebook: {error.message}"
    version = book.content["nbformat"], book.content["nbformat_minor"]
    if version != (4, 5):
        yield f"format: expected 4.5, got {version}"
    for cell in book.of_type("code"):
        if cell["outputs"] or cell["execution_count"] is not None:
            yield f"{cell['id']}: holds outputs; save it without"
    strange = set(book.content["metadata"]) - {"kernelspec", "language_info", "course"}
    if strange:
        yield f"metadata: expected the kernel and the course's, got {sorted(strange)}"
    if book.content["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "kernelspec: expected python3"


def has_ids_for_people(book: Book) -> Iterator[str]:
    ids = [cell["id"] for cell in book.cells]
    for name in ids:
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
            yield f"{name}: expected an id in small letters, such as by-hand-picture"
        elif re.fullmatch(r"[0-9a-f]{8}", name) or re.search(r"[0-9a-f]{12}", name):
            yield f"{name}: expected an id that says what the cell is for, got a random one"
    for name in sorted({name for name in ids if ids.count(name) > 1}):
        yield f"{name}: two cells have this id"


DRAWERS = ("course_lib.plots", "matplotlib")


def _draws(book: Book, tree: ast.Module) -> bool:
    roots = {name for name, source in book.imported.items() if source.startswith(DRAWERS)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute) and function.attr == "savefig":
                return True
            while isinstance(function, ast.Attribute):
                function = function.value
            if isinstance(function, ast.Name) and function.id in roots:
                return True
    return False


def _complain_about_figure(cell: Cell) -> Iterator[str]:
    looks = cell["metadata"].get("mystnb", {})
    alt, caption = looks.get("image", {}).get("alt", ""), looks.get("figure", {}).get("caption", "")
    if len(alt) < 20:
        yield f"{cell['id']}: expected alt text that says what the picture shows, got {alt!r}"
    if len(caption) < 20:
        yield f"{cell['id']}: expected a caption that says what to see, got {caption!r}"
    elif caption == alt:
        yield f"{cell['id']}: expected a caption that says more than the alt text"
    for part in (alt, caption):
        if part and part[-1] not in ".?!":
            yield f"{cell['id']}: expected whole sentences, got {part!r}"


def describes_its_figures(book: Book) -> Iterator[str]:
    for cell in book.of_type("code"):
        if _draws(book, book.trees[cell["id"]]):
            yield from _complain_about_figure(cell)


def uses_what_it_imports(book: Book) -> Iterator[str]:
    used = {
        node.id
        for tree in book.trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    for name, source in book.imported.items():
        if name not in used:
            yield f"{name}: imported ({source}) and not used"


_NOT_PROSE = re.compile(
    r"^(?P<fence>`{3,}|~{3,}).*?^(?P=fence)"  # code
    r"|\$\$.*?\$\$"  # equations
    r"|^\s*\|.*?$"  # tables
    r"|^:\w+:.*?$"  # options of a directive
    r"|`[^`\n]*`|\$[^$\n]*\$"  # code and formulas in the text
    r"|\]\([^)\n]*\)"  # where a link leads
    r"|<[^>\n]*>",
    re.M | re.S,
)
_END = re.compile(r"(?P<word>\S+)[.?!][\"'”’)*_]*\s+(?=[\"'“‘(*_]*[A-Z])")
_ABBREVIATIONS = {"e.g", "i.e", "cf", "vs", "al", "fig", "eq", "dr"}


def two_sentences_in(markdown: str) -> Iterator[str]:
    """The lines of a text that hold more than one sentence."""
    for line in _NOT_PROSE.sub("xxx", markdown).splitlines():
        prose = re.sub(r"^\s*(\d+\.|[-*+>#]+)\s+", "", line)
        for end in _END.finditer(prose):
            word = end["word"].lstrip("(*_\"'").lower()
            if word not in _ABBREVIATIONS and not re.fullmatch(r"(\w\.)*\w", word):
                yield prose
                break


def has_one_sentence_a_line(book: Book) -> Iterator[str]:
    for cell in book.of_type("markdown"):
        for line in two_sentences_in(text(cell)):
            yield f"{cell['id']}: expected one sentence a line, got {line!r}"


PARTS = (
    "question", "by-hand", "formula", "code", "touch", "wrong", "use", "exercises", "remember",
)  # fmt: skip


def has_the_nine_parts(book: Book) -> Iterator[str]:
    ids = [cell["id"] for cell in book.cells]
    missing = [part for part in PARTS if part not in ids]
    for part in missing:
        yield f"{part}: expected a cell with this id that opens the part"
    if missing:
        return
    if [name for name in ids if name in PARTS] != list(PARTS):
        yield f"expected the parts in the order {', '.join(PARTS)}"
    for cell in book.cells:
        if cell["id"] in PARTS:
            heading = "# " if cell["id"] == "question" else "## "
            if cell["cell_type"] != "markdown" or not text(cell).startswith(heading):
                yield f"{cell['id']}: expected a Markdown cell that begins with {heading!r}"
    if ids[:2] != ["question", "setup"]:
        yield f"expected to begin with the cells question and setup, got {ids[:2]}"
    for row in ("At the end you can", "You need first", "Time", "A GPU"):
        if not re.search(rf"^\| {row} +\| \S", text(book.cells[0]), re.M):
            yield f"question: expected a row {row!r} in its table"
    inside = book.cells[ids.index("code") : ids.index("touch")]
    if not any("assert" in text(cell) for cell in inside if cell["cell_type"] == "code"):
        yield "code: expected a cell that asserts that the versions agree"
    if book.content["metadata"].get("course", {}).get("budget_s", 60) not in (60, 120, 240):
        yield "course.budget_s: expected 60 seconds, 120 for training, or 240"


_EXERCISE = re.compile(r"^:{3,}\{exercise\} \S.*?^:label: (\S+)$", re.M | re.S)
_SOLUTION = re.compile(r"^:{3,}\{solution-start\} (\S+)\n:class: dropdown$", re.M)


def _checked_by(cell: Cell, book: Book) -> str | None:
    """The label of the exercise that a check cell calls."""
    for node in ast.walk(book.trees[cell["id"]]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            exercise = book.exercises.get(node.func.attr)
            module = node.func.value
            if (
                exercise is not None
                and isinstance(module, ast.Name)
                and book.imported.get(module.id) == f"course_lib.exercises.{book.path.stem}"
            ):
                return exercise.label
    return None


def has_whole_exercises(book: Book) -> Iterator[str]:
    tagged = [
        cell
        for cell in book.cells
        if tags(cell) & {"exercise", "check", "solution"} or _EXERCISE.search(text(cell))
    ]
    starts = [n for n, cell in enumerate(tagged) if _EXERCISE.search(text(cell))]
    for cell in tagged[: starts[0] if starts else None]:
        yield f"{cell['id']}: belongs to no exercise"
    labels = []
    for start, end in pairwise([*starts, len(tagged)]):
        found = _EXERCISE.search(text(tagged[start]))
        assert found is not None
        label = found[1]
        labels.append(label)
        shape = [
            (cell["cell_type"], *sorted(tags(cell) & {"exercise", "check", "solution"}))
            for cell in tagged[start:end]
        ]
        wanted = [
            ("markdown",),
            ("code", "exercise"),
            ("code", "check"),
            ("markdown", "solution"),
            ("code", "solution"),
            ("code", "check", "solution"),
            ("markdown", "solution"),
        ]
        if shape != wanted:
            yield (
                f"{label}: expected statement, stub, check, solution, its code, check, its end;"
                f" got {shape}"
            )
            continue
        _, stub, check, solution, answer, again, last = tagged[start:end]
        if "..." not in text(stub):
            yield f"{label}: expected a stub with an ellipsis to replace"
        if "..." in text(answer):
            yield f"{label}: expected a solution without an ellipsis"
        if text(check) != text(again):
            yield f"{label}: expected the same check before and after the solution"
        if _checked_by(check, book) != label:
            yield f"{label}: expected a check by this exercise, got {_checked_by(check, book)}"
        solved = _SOLUTION.search(text(solution))
        if solved is None or solved[1] != label:
            yield f"{label}: expected its solution, in a dropdown"
        if "{solution-end}" not in text(last):
            yield f"{label}: expected an end of its solution"
        if not answer["metadata"].get("jupyter", {}).get("source_hidden"):
            yield f"{label}: expected the solution's code to be hidden at first in JupyterLab"
    if len(labels) < 4:
        yield f"expected at least four exercises, got {len(labels)}"
    known = [exercise.label for exercise in book.exercises.values()]
    for label in sorted({*labels} ^ {*known}):
        where = "in the chapter, without a check" if label in labels else "not in the chapter"
        yield f"{label}: {where}"
    if len(set(labels)) < len(labels):
        yield "expected each label once"


RULES = [
    is_clean,
    has_ids_for_people,
    describes_its_figures,
    uses_what_it_imports,
    has_one_sentence_a_line,
    has_the_nine_parts,
    has_whole_exercises,
]
every_chapter = pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)


@every_chapter
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_notebook(path: Path, rule: Callable[[Book], Iterator[str]]) -> None:
    assert list(rule(load(path))) == []


@pytest.mark.parametrize("path", sorted((ROOT / "book").rglob("*.md")), ids=lambda path: path.stem)
def test_page_has_one_sentence_a_line(path: Path) -> None:
    assert list(two_sentences_in(path.read_text("utf-8"))) == []


# --- four doors -----------------------------------------------------------------------------------


def test_an_idea_has_one_name_and_four_doors() -> None:
    names = [path.stem for path in chapters()]
    assert len(set(names)) == len(names)
    for name in names:
        for door in (f"course_lib/{name}", f"course_lib/exercises/{name}"):
            module, package = ROOT / f"{door}.py", ROOT / door / "__init__.py"
            assert module.is_file() != package.is_file(), f"{name}: expected {door}, once"
        tests = f"tests/test_{name}.py"
        assert (ROOT / tests).is_file(), f"{name}: expected {tests}"
    for folder in ("exercises", "formulas", "figures"):
        places = (ROOT / "course_lib" / folder).glob
        inner = {path.stem for path in places("*.py")}
        inner |= {path.parent.name for path in places("*/__init__.py")}
        assert inner - {"__init__", "entry"} <= set(names), folder


# --- what the last build made of them -------------------------------------------------------------

BUILT = ROOT / "_build" / "source"


def built(path: Path) -> Path:
    """The executed copy of a notebook; without one, the test is skipped by name."""
    copy_ = BUILT / path.relative_to(ROOT)
    if not copy_.is_file():
        pytest.skip("the book is not built: make book")
    return copy_


@every_chapter
def test_every_picture_of_the_build_is_described(path: Path) -> None:
    pictures = {
        cell["id"]
        for cell in load(built(path)).of_type("code")
        for output in cell["outputs"]
        if any(kind.startswith("image/") for kind in output.get("data", {}))
    }
    cells = [cell for cell in load(path).of_type("code") if cell["id"] in pictures]
    assert [words for cell in cells for words in _complain_about_figure(cell)] == []


def over_budget(report: list[dict[str, Any]]) -> Iterator[str]:
    for run in report:
        if not 0 < run["undisturbed_s"] <= run["budget_s"]:
            yield f"{run['document']}: {run['undisturbed_s']} s, its budget is {run['budget_s']} s"
        if run["status"] != "ok":
            yield f"{run['document']}: {run['status']}"


def test_chapters_keep_their_time_budget() -> None:
    record = BUILT / "execution.json"
    if not record.is_file():
        pytest.skip("the book is not built: make book")
    assert list(over_budget(json.loads(record.read_text()))) == []


def test_a_broken_budget_is_found() -> None:
    runs = [
        {"document": name, "undisturbed_s": seconds, "budget_s": 60.0, "status": status}
        for name, seconds, status in [
            ("a", 59.9, "ok"),
            ("b", 60.1, "ok"),
            ("c", 0.0, "ok"),
            ("d", 1.0, "failed"),
        ]
    ]
    assert [words[0] for words in over_budget(runs)] == ["b", "c", "d"]


# --- the test of the tests: a notebook spoilt on purpose ------------------------------------------

WHOLE = load(ROOT / "book" / "foundations" / "convolution.ipynb")


def cell_of(content: dict[str, Any], name: str) -> Cell:
    (found,) = (cell for cell in content["cells"] if cell["id"] == name)
    return found


def replace_in(name: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        cell = cell_of(content, name)
        assert old in text(cell)
        cell["source"] = text(cell).replace(old, new)

    return change


def append_to(name: str, more: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        cell = cell_of(content, name)
        cell["source"] = text(cell) + more

    return change


def without(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["cells"].remove(cell_of(content, name))


def with_(name: str, **more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: cell_of(content, name).update(more)


def swap(content: dict[str, Any]) -> None:
    cells = content["cells"]
    one, other = (cells.index(cell_of(content, name)) for name in ("touch", "wrong"))
    cells[one], cells[other] = cells[other], cells[one]


STREAM = {"output_type": "stream", "name": "stdout", "text": "x"}
DESCRIBED = {"mystnb": {"image": {"alt": "x" * 30 + "."}, "figure": {"caption": "y" * 30 + "."}}}

SPOILT: list[tuple[Callable[[Book], Iterator[str]], Callable[[dict[str, Any]], Any], str]] = [
    (is_clean, with_("imports", outputs=[STREAM]), "imports: holds outputs"),
    (is_clean, with_("imports", execution_count=1), "imports: holds outputs"),
    (is_clean, lambda content: content.update(nbformat_minor=4), "format: expected 4.5"),
    (is_clean, lambda content: content["metadata"].update(widgets={}), "got ['widgets']"),
    (is_clean, with_("imports", source=3), "not a valid notebook"),
    (has_ids_for_people, with_("imports", id="Imports"), "Imports: expected an id in small"),
    (has_ids_for_people, with_("imports", id="c0ffee12"), "c0ffee12: expected an id that says"),
    (has_ids_for_people, with_("imports", id="setup"), "setup: two cells have this id"),
    (describes_its_figures, with_("question-picture", metadata={}), "expected alt text"),
    (
        describes_its_figures,
        with_("question-picture", metadata={"mystnb": {"image": DESCRIBED["mystnb"]["image"]}}),
        "question-picture: expected a caption",
    ),
    (
        describes_its_figures,
        append_to("code-agree", "\nplots.bars({})"),
        "code-agree: expected alt",
    ),
    (
        describes_its_figures,
        append_to("code-agree", "\nfrom matplotlib import pyplot\npyplot.plot([1])"),
        "code-agree: expected alt",
    ),
    (uses_what_it_imports, append_to("imports", "\nimport os"), "os: imported (os) and not used"),
    (
        uses_what_it_imports,
        append_to("imports", "\nimport scipy.ndimage as nd"),
        "nd: imported (scipy.ndimage) and not used",
    ),
    (
        has_one_sentence_a_line,
        append_to("by-hand", "\nOne sentence. Another one."),
        "by-hand: expected one sentence a line, got 'One sentence. Another one.'",
    ),
    (has_the_nine_parts, without("touch"), "touch: expected a cell with this id"),
    (has_the_nine_parts, swap, "expected the parts in the order"),
    (has_the_nine_parts, replace_in("use", "## ", "### "), "use: expected a Markdown cell"),
    (has_the_nine_parts, without("setup"), "expected to begin with the cells question and setup"),
    (has_the_nine_parts, replace_in("question", "| A GPU", "| Gpu"), "expected a row 'A GPU'"),
    (has_whole_exercises, without("ex-edges-check"), "ex-convolution-edges: expected statement"),
    (has_whole_exercises, without("ex-edges-solution"), "ex-convolution-edges: expected statement"),
    (has_whole_exercises, without("ex-edges"), "ex-convolution-edges: not in the chapter"),
    (
        has_whole_exercises,
        replace_in("ex-edges", "ex-convolution-edges", "ex-convolution-ridges"),
        "ex-convolution-ridges: in the chapter, without a check",
    ),
    (
        has_whole_exercises,
        replace_in("ex-edges-solution", "} ex-convolution-edges", "} ex-other"),
        "ex-convolution-edges: expected its solution",
    ),
    (
        has_whole_exercises,
        replace_in("ex-edges-check", "check.edges", "check.padded"),
        "expected a check by this exercise, got ex-convolution-padding",
    ),
    (
        has_whole_exercises,
        replace_in("ex-edges-solution-check", "my_edges", "my_other"),
        "expected the same check before and after",
    ),
    (
        has_whole_exercises,
        replace_in("ex-edges-solution-end", "{solution-end}", "{note}"),
        "expected an end of its solution",
    ),
    (
        has_whole_exercises,
        with_("ex-edges-solution-code", metadata={"tags": ["solution"]}),
        "expected the solution's code to be hidden",
    ),
    (has_whole_exercises, replace_in("ex-edges-stub", "...", "image"), "expected a stub"),
    (has_whole_exercises, with_("imports", metadata={"tags": ["solution"]}), "belongs to no"),
]


@pytest.mark.parametrize(("rule", "spoil", "complaint"), SPOILT)
def test_a_spoilt_notebook_is_found(
    rule: Callable[[Book], Iterator[str]],
    spoil: Callable[[dict[str, Any]], Any],
    complaint: str,
) -> None:
    spoilt = copy.deepcopy(WHOLE.content)
    spoil(spoilt)
    assert complaint in "\n".join(rule(Book(WHOLE.path, spoilt)))


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("One sentence. And another.", 1),
        ("A question? Yes.", 1),
        ("It ends (as here). Then it begins.", 1),
        ("**Bold.** Then more.", 1),
        ("- An item. Another sentence.", 1),
        ("It ends with `code`. Then it begins.", 1),
        ("It ends with $x$. Then it begins.", 1),
        ("One sentence, e.g. In this form, with J. Smith et al. And no more", 0),
        ("A size of 3.5 pixels, e.g. Sobel's", 0),
        ("`a. B` and $a. B$ and [text](https://a.b/c. D)", 0),
        ("1. First item", 0),
        ("| a. B | c. D |", 0),
        ("```python\nx. Y\n```", 0),
        ("One.\nTwo.", 0),
        ("What is this? that is lower case. so is this.", 0),
    ],
)
def test_two_sentences_are_told_apart(line: str, count: int) -> None:
    assert len(list(two_sentences_in(line))) == count
