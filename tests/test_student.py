"""The student edition: no solution is left, nothing else is lost, and nbgrader can grade it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import symtable
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.nbgraderformat import MetadataValidator
from traitlets.config import PyFileConfigLoader

import student
from tree import ROOT, chapters, copy_tree

PYTHON3 = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
EXERCISE = ":::{{exercise}} Double it\n:label: ex-small-{0}\n\nWrite `{0}(x)`.\n:::"
SOLUTION = ":::{{solution-start}} ex-small-{0}\n:class: dropdown\n:::\n\nThe secret of {0}."


def code(source: str, *tags: str) -> NotebookNode:
    return new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


def small_chapter() -> NotebookNode:
    """A chapter with two exercises, `one` and `two`, laid out as CONTRIBUTING.md says."""
    cells = [
        new_markdown_cell("# Small"),
        code(
            "from course_lib.exercises import Exercise\n"
            "cases = lambda generator: [(1,), (2,), (3,)]\n"
            "check_one = Exercise('ex-small-one', lambda x: 2 * x, 'Try 1.', cases)\n"
            "check_two = Exercise('ex-small-two', 7, 'Count the days.')"
        ),
    ]
    for name, stub, answer in [
        ("one", "def one(x):\n    ...", "def one(x):\n    return 2 * x  # secret"),
        ("two", "two = ...", "two = 7  # secret"),
    ]:
        cells += [
            new_markdown_cell(f"Before.\n\n{EXERCISE.format(name)}"),
            code(stub, "exercise"),
            code(f"check_{name}({name})", "check"),
            new_markdown_cell(SOLUTION.format(name), metadata={"tags": ["solution"]}),
            code(answer, "solution"),
            code(f"check_{name}({name})", "solution", "check"),
            new_markdown_cell(":::{solution-end}\n:::", metadata={"tags": ["solution"]}),
        ]
    cells.append(code("last = 'kept'", "hide-output"))
    return new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": ""}}
    )


def answered(chapter: NotebookNode, *, only: int | None = None) -> NotebookNode:
    """The student edition with the chapter's own solutions as the student's answers."""
    notebook = student.student_notebook(chapter)
    answers = [
        cell.source
        for cell in chapter.cells
        if cell.cell_type == "code"
        and {"solution", "check"} & set(cell.metadata.get("tags", [])) == {"solution"}
    ]
    stubs = [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]
    for stub, answer in list(zip(stubs, answers, strict=True))[:only]:
        stub.source = answer
    return notebook


def run(notebook: NotebookNode, folder: Path) -> None:
    NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}}).execute()


# --- what is left out -----------------------------------------------------------------------------


def test_a_chapter_without_its_solutions() -> None:
    chapter = small_chapter()
    before = nbformat.writes(chapter)
    notebook = student.student_notebook(chapter)
    assert nbformat.writes(chapter) == before
    assert "secret" not in nbformat.writes(notebook)
    kept = [cell for cell in chapter.cells if "solution" not in cell.metadata.get("tags", [])]
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in kept]
    assert [cell.id for cell in notebook.cells] == [cell.id for cell in kept]
    assert notebook.metadata == chapter.metadata


def test_a_solution_that_nobody_tagged_is_an_error() -> None:
    chapter = new_notebook(cells=[new_markdown_cell("Text.\n\n" + SOLUTION.format("one"))])
    with pytest.raises(ValueError, match="expected the tag 'solution'"):
        student.student_notebook(chapter)


def test_what_nbgrader_is_told() -> None:
    notebook = student.student_notebook(small_chapter())
    told = [cell.metadata["nbgrader"] for cell in notebook.cells if "nbgrader" in cell.metadata]
    answer = {"schema_version": 3, "grade": False, "locked": False, "solution": True, "task": False}
    points = {"schema_version": 3, "grade": True, "locked": True, "solution": False, "task": False}
    assert told == [
        answer | {"grade_id": "ex-small-one"},
        points | {"grade_id": "ex-small-one-check", "points": 1},
        answer | {"grade_id": "ex-small-two"},
        points | {"grade_id": "ex-small-two-check", "points": 1},
    ]
    MetadataValidator().validate_nb(notebook)


@pytest.mark.parametrize(
    "cells",
    [
        [code("x = ...", "exercise")],
        [new_markdown_cell(":::{exercise} No label\n\ntext\n:::"), code("check(x)", "check")],
        [new_markdown_cell(EXERCISE.format("one")), code("x", "check"), code("x", "check")],
        [
            new_markdown_cell(EXERCISE.format("one")),
            *(code("x = ...", "exercise") for _ in range(2)),
        ],
    ],
    ids=["no exercise", "no label", "two checks", "two stubs"],
)
def test_a_muddled_exercise_is_refused(cells: list[NotebookNode]) -> None:
    with pytest.raises(ValueError, match=r"expected an exercise with a label, .* got "):
        student.student_notebook(new_notebook(cells=cells))


# --- every chapter of the book --------------------------------------------------------------------


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_every_chapter_has_an_edition(path: Path) -> None:
    chapter = nbformat.read(path, as_version=4)
    notebook = student.student_notebook(chapter)
    assert "{solution" not in nbformat.writes(notebook)
    tagged = [set(cell.metadata.get("tags", [])) for cell in notebook.cells]
    assert not any("solution" in tags for tags in tagged)
    source = "\n".join(cell.source for cell in chapter.cells if cell.cell_type == "markdown")
    exercises = source.count("{exercise}")
    assert sum("exercise" in tags for tags in tagged) == exercises
    assert sum("check" in tags for tags in tagged) == exercises
    answered(chapter)  # each stub has a solution
    MetadataValidator().validate_nb(notebook)


@dataclass(frozen=True)
class Use:
    """What a cell does with the names that all cells share."""

    needs: frozenset[str]
    makes: frozenset[str]
    imports: frozenset[str]
    changes: frozenset[str]
    """holds an object of this name to which it does something: ``net.eval()``, ``found[0] = 1``"""


def simple_statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements in the order of the text, with loops and branches taken apart."""
    for statement in body:
        if isinstance(statement, ast.For):
            yield ast.Assign([statement.target], statement.iter, lineno=statement.lineno)
        elif isinstance(statement, ast.If | ast.While):
            yield ast.Expr(statement.test)
        elif isinstance(statement, ast.With):
            for item in statement.items:
                targets = [item.optional_vars or ast.Name("_", ast.Store())]
                yield ast.Assign(targets, item.context_expr, lineno=statement.lineno)
        elif not isinstance(statement, ast.Try):
            yield statement
            continue
        for part in ("body", "handlers", "orelse", "finalbody"):
            for inner in getattr(statement, part, []):
                held = inner.body if isinstance(inner, ast.ExceptHandler) else [inner]
                yield from simple_statements(held)


def use(source: str) -> Use:
    source = re.sub(r"^( *)[%!].*", r"\1pass", source, flags=re.M)  # for IPython alone
    tree = ast.parse(source)
    needs, makes, imports = set[str](), set[str](), set[str]()
    for statement in simple_statements(tree.body):
        module = symtable.symtable(ast.unparse(statement), "cell", "exec")
        waiting = [module]
        while waiting:
            table = waiting.pop()
            waiting += table.get_children()
            needs |= {
                one.get_name()
                for one in table.get_symbols()
                if one.is_referenced() and (table is module or one.is_global())
            } - makes
        imports |= {one.get_name() for one in module.get_symbols() if one.is_imported()}
        makes |= imports | {one.get_name() for one in module.get_symbols() if one.is_assigned()}
    touched: list[ast.AST] = [
        node.value.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ]
    touched += [node for node in ast.walk(tree) if isinstance(getattr(node, "ctx", 0), ast.Store)]
    changes = set()
    for node in touched:
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        if isinstance(node, ast.Name):
            changes.add(node.id)
    return Use(*map(frozenset, (needs, makes, imports, changes)))


def leading_to(cells: list[NotebookNode], wanted: list[NotebookNode]) -> list[NotebookNode]:
    """The code cells that the wanted ones need, directly or through others, and these, in order."""
    names, kept = set[str](), list[NotebookNode]()
    imported = {name for cell in cells for name in use(cell.source).imports}
    for cell in reversed(cells):
        own = use(cell.source)
        if cell in wanted or (own.makes | (own.changes - imported)) & names:
            kept.append(cell)
            names = (names - (own.makes - own.needs)) | own.needs
    return kept[::-1]


def leanings(chapter: NotebookNode) -> list[str]:
    """The cells that use what only a solution has made or made anew, and its name."""
    answered_names, found = set[str](), []
    for cell in chapter.cells:
        if cell.cell_type != "code":
            continue
        tags, own = set(cell.metadata.get("tags", [])), use(cell.source)
        if "solution" in tags:
            answered_names |= own.makes
        else:
            if not tags & {"exercise", "check"}:
                found += [f"{cell.id}: {name}" for name in sorted(own.needs & answered_names)]
            answered_names -= own.makes
    return found


def test_a_chapter_that_leans_on_an_answer_is_found() -> None:
    chapter = small_chapter()
    assert leanings(chapter) == []
    chapter.cells.append(code("one(3)"))
    assert leanings(chapter) == [f"{chapter.cells[-1].id}: one"]


def test_what_leads_to_a_cell() -> None:
    cells = [
        code("import torch\nfrom math import pi as p"),
        code("torch.manual_seed(0)"),
        code("def area(r):\n    x = r\n    return p * x * x"),
        code("x = 1 / 0"),
        code("for size in [1 / 0]:\n    print(size)"),
        code("sizes = [1]"),
        code("sizes.append(2)"),
        code("found = [area(size) for size in sizes]"),
    ]
    kept = leading_to(cells, cells[-1:])
    assert [cells.index(cell) for cell in kept] == [0, 2, 5, 6, 7]


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_no_chapter_leans_on_an_answer(path: Path) -> None:
    assert leanings(nbformat.read(path, as_version=4)) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_every_check_waits_for_an_answer_and_takes_the_chapters_own(
    path: Path, tmp_path: Path
) -> None:
    chapter = nbformat.read(path, as_version=4)
    notebook = student.student_notebook(chapter)
    checks = [cell for cell in notebook.cells if "check" in cell.metadata.get("tags", [])]
    wanted = [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]
    wanted += checks
    # At the end, so that no other exercise can lean on an answer.
    for cell in answered(chapter).cells:
        tags = cell.metadata.get("tags", [])
        if "exercise" in tags:
            wanted.append(code(cell.source))
        elif "check" in tags:
            wanted.append(code(f"assert {cell.source}"))
        else:
            continue
        notebook.cells.append(wanted[-1])
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    # The whole chapter runs elsewhere; here only what the exercises need of it.
    notebook.cells = leading_to(cells, wanted)
    run(notebook, tmp_path)
    for cell in checks:
        (output,) = cell.outputs
        assert "not attempted yet" in output["data"]["text/plain"].lower(), cell.source


# --- nbgrader -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_nbgrader_gives_a_point_for_each_right_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nbgrader calls a program that lies beside Python.
    beside = Path(sys.executable).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(beside), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    chapter = small_chapter()
    handed_in = {"full": answered(chapter), "half": answered(chapter, only=1)}
    # An edited check counts for nothing: nbgrader puts its own copy back.
    edited = handed_in["half"].cells[-2]
    assert edited.source == "check_two(two)"
    edited.source = "'passed'"
    places = {"source": student.student_notebook(chapter)}
    places |= {f"submitted/{name}": notebook for name, notebook in handed_in.items()}
    for place, notebook in places.items():
        folder = tmp_path / place / "small"
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / "small.ipynb")
    (tmp_path / "nbgrader_config.py").write_text(student.edition()["nbgrader_config.py"])

    settings = PyFileConfigLoader("nbgrader_config.py", str(tmp_path)).load_config()
    settings.CourseDirectory.root = str(tmp_path)
    nbgrader = NbGraderAPI(config=settings)
    outcome = nbgrader.generate_assignment("small")
    assert outcome["success"], outcome
    for name in handed_in:
        outcome = nbgrader.autograde("small", name)
        assert outcome["success"], outcome
    released = nbformat.read(tmp_path / "release" / "small" / "small.ipynb", as_version=4)
    assert "def one(x):\n    ..." in [cell.source for cell in released.cells]
    with Gradebook(f"sqlite:///{tmp_path}/gradebook.db") as gradebook:
        points = {
            name: (graded.score, graded.max_score)
            for name in handed_in
            for graded in [gradebook.find_submission("small", name)]
        }
    assert points == {"full": (2, 2), "half": (1, 2)}


# --- the zip --------------------------------------------------------------------------------------


def test_the_zip_is_the_edition_and_always_the_same(tmp_path: Path) -> None:
    first, second = tmp_path / "first.zip", tmp_path / "in" / "second.zip"
    student.write_zip(first)
    student.write_zip(second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        held = {name: archive.read(name).decode() for name in archive.namelist()}
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert held == {f"{student.TOP}/{name}": text for name, text in student.edition().items()}
    notebooks = {path.relative_to(ROOT / "book").as_posix() for path in chapters()}
    offered = {f"practice/launch/{name}" for name in ("kubernetes.yml", "slurm.sh", "train.py")}
    assert student.edition().keys() == {*notebooks, *offered, "README.md", "nbgrader_config.py"}
    assert "@" not in student.edition()["README.md"].replace(" @ https://", "")


def test_the_command_writes_the_edition_and_leaves_nothing_old(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    old = tree / "_build" / "student" / "old.ipynb"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    subprocess.run([sys.executable, "tools/student.py"], cwd=tree, capture_output=True, check=True)
    folder = tree / "_build" / "student"
    found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*.*")}
    assert found == student.edition(tree)
