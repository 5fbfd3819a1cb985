"""The student edition: the chapters without their solutions, ready to be graded.

A chapter's exercise is a markdown cell with an ``{exercise}`` block and its label, a code cell
tagged ``exercise`` (the stub), and a code cell tagged ``check``. What shows the answer is tagged
``solution``. The edition leaves the answers out, keeps all else, and tells nbgrader which cells
the student fills in and which give the points.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

import address
from environment import ROOT

EDITION = ROOT / "_build" / "student"
TEMPLATES = ROOT / "tools" / "templates" / "student"
TOP = "from-formula-to-picture"

_EXERCISE = re.compile(
    r"^(?::{3,}|`{3,})\{exercise\}.*\n(?:[ \t]*:.*\n)*?[ \t]*:label:\s*(\S+)", re.M
)
_DOWNLOAD = re.compile(r"\{download\}`([^`<>]+)`")


def student_notebook(chapter: NotebookNode) -> NotebookNode:
    """Return a chapter as a student gets it; the chapter itself stays as it is.

    Each stub becomes a cell that nbgrader lets the student fill in, and each check a locked cell
    worth one point. Both are named after the exercise's label.

    Raises:
        ValueError: if a stub or a check does not follow an exercise, or is its second one, or if
            a solution is not tagged as one.
    """
    notebook = nbformat.from_dict(chapter)
    notebook.cells = list(_student_cells(notebook.cells))
    return notebook


def _student_cells(cells: list[NotebookNode]) -> Iterator[NotebookNode]:
    label = ""
    graded: set[str] = set()
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            continue
        if cell.cell_type == "markdown":
            label = (_EXERCISE.findall(cell.source) or [label])[-1]
            if "{solution" in cell.source:
                raise ValueError(
                    f"cell {cell.id}: expected the tag 'solution' on a cell with a solution"
                )
        if "exercise" in tags or "check" in tags:
            is_check = "check" in tags
            grade_id = f"{label}-check" if is_check else label
            if not label or grade_id in graded:
                raise ValueError(
                    f"cell {cell.id}: expected an exercise with a label, then one cell tagged "
                    f"'exercise' and one tagged 'check', got {cell.source!r} after {label!r}"
                )
            graded.add(grade_id)
            cell.metadata["nbgrader"] = _grading(grade_id, is_check)
        yield cell


def _grading(grade_id: str, is_check: bool) -> dict[str, Any]:
    points = {"points": 1} if is_check else {}
    return {
        "schema_version": 3,
        "grade_id": grade_id,
        "grade": is_check,
        "locked": is_check,
        "solution": not is_check,
        "task": False,
        **points,
    }


def edition(root: Path = ROOT) -> dict[str, str]:
    """Return the files of the edition: ``{path below its folder: text}``.

    Raises:
        ValueError: if a chapter's exercises are not laid out as they should be; it names both.
    """
    files = {}
    for path in sorted((root / "book").rglob("*.ipynb")):
        if path.parent.name == ".ipynb_checkpoints":
            continue
        try:
            notebook = student_notebook(nbformat.read(path, as_version=4))
        except ValueError as error:
            raise ValueError(f"{path.relative_to(root)}: {error}") from error
        name = path.relative_to(root / "book").as_posix()
        files[name] = nbformat.writes(notebook) + "\n"
        for download in _downloads(notebook):
            beside = path.parent / download
            files[beside.relative_to(root / "book").as_posix()] = beside.read_text("utf-8")
    here = address.read(root)
    readme = (TEMPLATES / "README.md.tmpl").read_text()
    readme = readme.replace("@WHEEL@", here.wheel_url).replace("@SITE@", here.site)
    files["README.md"] = readme
    files["nbgrader_config.py"] = (TEMPLATES / "nbgrader_config.py.tmpl").read_text()
    return files


def _downloads(notebook: NotebookNode) -> Iterator[str]:
    """The files beside a chapter that it offers to its readers."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            yield from _DOWNLOAD.findall(cell.source)


def write_zip(path: Path, root: Path = ROOT) -> None:
    """Write the edition as a zip; the same chapters give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in sorted(edition(root).items()):
            # A ZipInfo of its own carries no time of day and no owner.
            entry = zipfile.ZipInfo(f"{TOP}/{name}")
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text, compress_type=zipfile.ZIP_DEFLATED)


def main() -> None:
    """Write the edition into its folder, in place of the one before."""
    files = edition()
    shutil.rmtree(EDITION, ignore_errors=True)
    for name, text in files.items():
        path = EDITION / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    chapters = sum(name.endswith(".ipynb") for name in files)
    print(f"Student edition: {chapters} chapters in {EDITION.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
