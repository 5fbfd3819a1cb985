"""`make chapter`: what it lays out is a whole chapter, and what it refuses leaves no trace."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

import address
import chapter
import student
from tree import ROOT, copy_tree

NAME, LABEL, PART = "dot_product", "dot-product", "generation"

# The tests that hold every chapter to the rules.
HOUSE = ("exercises", "fake_cuda", "formulas", "glossary", "house", "notation", "notebooks")


def contents(tree: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(tree): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def run(tree: Path, *command: str) -> str:
    """Run a command in a copy of the project, with the copy's own library; return what it says."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_tree(tmp_path / "tree")


@pytest.fixture
def laid_out(tree: Path) -> Path:
    run(tree, "tools/chapter.py", NAME, PART)
    return tree


# --- what it lays out -----------------------------------------------------------------------------


def test_lays_out_the_files_and_enters_the_chapter(tree: Path) -> None:
    before = contents(tree)
    written = chapter.lay_out(tree, NAME, PART)
    assert [path.relative_to(tree).as_posix() for path in written] == [
        f"book/{PART}/{NAME}.ipynb",
        f"course_lib/{NAME}.py",
        f"course_lib/exercises/{NAME}.py",
        f"course_lib/formulas/{NAME}.py",
        f"tests/test_{NAME}.py",
    ]
    after = contents(tree)
    new = {path for path in after if before.get(path) != after[path]}
    assert new == {*(path.relative_to(tree) for path in written), Path("_toc.yml")}
    for path in written:
        assert not re.search(r"@\w+@", path.read_text()), path


def test_the_notebook_has_the_parts_of_a_chapter(laid_out: Path) -> None:
    path = laid_out / "book" / PART / f"{NAME}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    headings = re.findall(
        r"^##? (.*)$",
        "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"),
        re.M,
    )
    assert headings == [
        "Dot product",
        "By hand",
        "The formula",
        "The code, three times",
        "Touch it",
        "What goes wrong",
        "Use it",
        "Exercises",
        "What to remember",
    ]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].source == address.read().setup_cell
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    graded = [c for c in student.student_notebook(notebook).cells if "nbgrader" in c.metadata]
    assert len(graded) == 4 * 2
    # As JupyterLab would save it, so that the first edit changes what was edited only.
    assert path.read_text() == nbformat.writes(notebook) + "\n"


def test_it_is_styled_and_typed_as_it_should_be(laid_out: Path) -> None:
    new = [path.replace("@name@", NAME).replace("@part@", PART) for path in chapter.TEMPLATES]
    run(laid_out, "-m", "ruff", "check", *new)
    run(laid_out, "-m", "ruff", "format", "--check", *new)
    typed = [path for path in new if path.startswith("course_lib")]
    run(laid_out, "-m", "mypy", "--cache-dir", str(ROOT / ".mypy_cache"), *typed)


@pytest.mark.parametrize("name", ["ab", "z" * chapter.LONGEST])
def test_any_name_is_styled_as_it_should_be(tree: Path, name: str) -> None:
    new = [str(path) for path in chapter.lay_out(tree, name, PART)]
    run(tree, "-m", "ruff", "check", *new)
    run(tree, "-m", "ruff", "format", "--check", *new)


@pytest.mark.slow
def test_it_passes_its_own_tests_and_those_of_the_house(laid_out: Path) -> None:
    house = [f"tests/test_{word}.py" for word in HOUSE]
    new = [f"tests/test_{NAME}.py", f"book/{PART}/{NAME}.ipynb"]
    pytest_ = ["-m", "pytest", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
    said = run(laid_out, *pytest_, "-v", *house, *new, "-k", f"{NAME} or {LABEL}")
    for path in (*house, *new):
        assert f"{path.removesuffix('.ipynb')}::" in said, path


@pytest.mark.slow
def test_the_book_builds_with_it(laid_out: Path) -> None:
    # What the real book has executed already need not run again here.
    cache = ROOT / "_build" / "cache"
    if cache.exists():
        shutil.copytree(cache, laid_out / "_build" / "cache")
    run(laid_out, "tools/build.py", "--jobs", "1")
    page = (laid_out / "_build" / "html" / "book" / PART / f"{NAME}.html").read_text()
    assert "Dot product" in page
    assert f"ex-{LABEL}-dot" in page


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "part", "says"),
    [
        ("", PART, "NAME: expected 2 to 24 small letters"),
        ("Pooling", PART, "got 'Pooling'"),
        ("max-pooling", PART, "got 'max-pooling'"),
        ("2d", PART, "got '2d'"),
        ("a", PART, "got 'a'"),
        ("z" * (chapter.LONGEST + 1), PART, "NAME: expected 2 to 24"),
        ("lambda", PART, "got 'lambda'"),
        ("../x", PART, "got '../x'"),
        ("convolution", PART, "book/foundations/convolution.ipynb exists"),
        ("figures", PART, "course_lib/figures exists"),
        ("entry", PART, "course_lib/formulas/entry.py exists"),
        ("address", PART, "tests/test_address.py exists"),
        ("pooling", "", "PART: expected one of foundations, recognition, generation, practice"),
        ("pooling", "reference", "got 'reference'"),
    ],
)
def test_refuses_and_writes_nothing(tree: Path, name: str, part: str, says: str) -> None:
    before = contents(tree)
    with pytest.raises(ValueError, match=re.escape(says)):
        chapter.lay_out(tree, name, part)
    assert contents(tree) == before


def test_refuses_a_name_that_a_chapter_of_another_part_has(tree: Path) -> None:
    chapter.lay_out(tree, NAME, PART)
    for path in tree.rglob(f"*{NAME}.py"):
        path.unlink()
    before = contents(tree)
    with pytest.raises(ValueError, match=rf"book/{PART}/{NAME}\.ipynb exists"):
        chapter.lay_out(tree, NAME, "practice")
    assert contents(tree) == before


def test_the_command_says_what_is_wrong_without_a_traceback(tree: Path) -> None:
    command = [sys.executable, "tools/chapter.py", "No", PART]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "NAME: expected" in done.stderr
    assert "Nothing was written" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_accident_on_the_way_leaves_nothing(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, write = contents(tree), Path.write_text

    def write_until_full(path: Path, text: str) -> int:
        if path.parent.name == "tests":
            raise OSError("disk full")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", write_until_full)
    with pytest.raises(OSError, match="disk full"):
        chapter.lay_out(tree, NAME, PART)
    assert contents(tree) == before


# --- the table of contents ------------------------------------------------------------------------

TOC = """\
format: jb-book
root: book/index
parts:
  - caption: Foundations  # kept
    numbered: 1
    chapters:
      - file: book/foundations/one
      - file: book/foundations/two
  - caption: Practice
    numbered: 1
    chapters:
      - file: book/practice/three
  - caption: Reference
    chapters:
      - file: book/reference/formulas
"""


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("foundations", {"Foundations": ["one", "two", "new"], "Practice": ["three"]}),
        ("practice", {"Foundations": ["one", "two"], "Practice": ["three", "new"]}),
        (
            "recognition",
            {"Foundations": ["one", "two"], "Recognition": ["new"], "Practice": ["three"]},
        ),
        (
            "generation",
            {"Foundations": ["one", "two"], "Generation": ["new"], "Practice": ["three"]},
        ),
    ],
)
def test_a_chapter_comes_last_in_its_part(part: str, found: dict[str, list[str]]) -> None:
    text = chapter.with_chapter(TOC, "new", part)
    assert "# kept" in text
    parts = yaml.safe_load(text)["parts"]
    names = {p["caption"]: [c["file"].split("/")[-1] for c in p["chapters"]] for p in parts}
    assert json.dumps(names) == json.dumps(found | {"Reference": ["formulas"]})
    assert all(p.get("numbered") == 1 for p in parts[:-1])
