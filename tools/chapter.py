"""Lay out a new chapter: its files, from the templates, and its line in the table of contents.

What is laid out is a complete small chapter, with one formula, one exercise and their tests.
"""

from __future__ import annotations

import argparse
import json
import keyword
import re
import sys
from pathlib import Path

import address
from environment import ROOT

PARTS = ("foundations", "recognition", "generation", "practice")
LONGEST = 24

TEMPLATES = {
    "book/@part@/@name@.ipynb": "chapter.ipynb.tmpl",
    "course_lib/@name@.py": "module.py.tmpl",
    "course_lib/exercises/@name@.py": "exercises.py.tmpl",
    "course_lib/formulas/@name@.py": "formulas.py.tmpl",
    "tests/test_@name@.py": "test.py.tmpl",
}


def lay_out(root: Path, name: str, part: str) -> list[Path]:
    """Write the files of a new chapter and enter it in ``_toc.yml``; all of it or nothing.

    Args:
        root: the project's folder.
        name: the chapter's one name: small letters, digits and ``_``, such as ``pooling``.
        part: one of `PARTS`.
    Returns:
        The files written.
    Raises:
        ValueError: if the name or the part will not do, or the name is taken.
    """
    if not re.fullmatch(rf"[a-z][a-z0-9_]{{1,{LONGEST - 1}}}", name) or keyword.iskeyword(name):
        raise ValueError(
            f"NAME: expected 2 to {LONGEST} small letters, digits or _, a letter first, and no "
            f"word of Python's own, such as pooling; got {name!r}"
        )
    if part not in PARTS:
        raise ValueError(f"PART: expected one of {', '.join(PARTS)}; got {part!r}")
    taken = [
        *(path for path in (root / "book").glob(f"*/{name}.*")),
        *(root / f"course_lib{inner}/{name}{end}" for inner in _INNER for end in ("", ".py")),
        root / f"tests/test_{name}.py",
    ]
    for path in taken:
        if path.exists():
            raise ValueError(
                f"NAME: expected one that is free, got {name!r}: {path.relative_to(root)} exists"
            )

    toc = root / "_toc.yml"
    toc_before = toc.read_text()
    files = {root / path: text for path, text in _filled(root, name, part).items()}
    toc_after = with_chapter(toc_before, name, part)
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        toc.write_text(toc_after)
    except BaseException:
        toc.write_text(toc_before)
        for path in files:
            path.unlink(missing_ok=True)
        raise
    return list(files)


_INNER = ("", "/exercises", "/formulas", "/figures")


def _filled(root: Path, name: str, part: str) -> dict[str, str]:
    """The templates with the name in its places: ``{path: text}``."""
    title = name.replace("_", " ").capitalize()
    words = {"@name@": name, "@part@": part, "@label@": name.replace("_", "-"), "@Title@": title}

    def fill(text: str) -> str:
        for placeholder, word in words.items():
            text = text.replace(placeholder, word)
        return text

    files = {
        fill(path): fill((root / "tools" / "templates" / template).read_text())
        for path, template in TEMPLATES.items()
    }
    path = fill("book/@part@/@name@.ipynb")
    notebook = json.loads(files[path])
    (setup,) = (cell for cell in notebook["cells"] if cell["id"] == "setup")
    setup["source"] = address.read(root).setup_cell.splitlines(keepends=True)
    files[path] = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return files


def with_chapter(toc: str, name: str, part: str) -> str:
    """Return a table of contents with one more chapter, the last of its part.

    The text is kept as it is, comments too. A part without a chapter is added in its place.
    """
    lines = toc.splitlines(keepends=True)
    entry = f"- file: book/{part}/{name}\n"
    own = [i for i, line in enumerate(lines) if re.match(rf" *- file: book/{part}/", line)]
    if own:
        indent = lines[own[-1]].partition("-")[0]
        return "".join([*lines[: own[-1] + 1], indent + entry, *lines[own[-1] + 1 :]])
    captions = {
        match[1].lower(): i
        for i, line in enumerate(lines)
        if (match := re.match(r" *- caption: *(\w+)", line))
    }
    later = [*PARTS[PARTS.index(part) + 1 :], "reference"]
    before = min((captions[word] for word in later if word in captions), default=len(lines))
    block = f"  - caption: {part.capitalize()}\n    numbered: 1\n    chapters:\n      {entry}"
    return "".join([*lines[:before], block, *lines[before:]])


def main() -> None:
    """Lay out the chapter named on the command line and say what to do next."""
    parser = argparse.ArgumentParser(description="Lay out a new chapter.")
    parser.add_argument("name", help="its one name, such as pooling")
    parser.add_argument("part", help=", ".join(PARTS))
    given = parser.parse_args()
    try:
        written = lay_out(ROOT, given.name, given.part)
    except ValueError as error:
        sys.exit(f"{error}\nNothing was written. Usage: make chapter NAME=pooling PART=foundations")
    print("\n".join(f"  wrote {path.relative_to(ROOT)}" for path in written))
    print("  entered it in _toc.yml\nNext: CONTRIBUTING.md, 'Add a chapter'.")


if __name__ == "__main__":
    main()
