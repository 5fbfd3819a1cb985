"""One address in one place, and true copies of it wherever a reader meets it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import address
import course_lib
from tree import ROOT, chapters, copy_tree

HERE = address.read()


def stamp(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the copy's own command, as ``make address`` would."""
    command = [sys.executable, "tools/address.py", *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def contents(tree: Path) -> dict[Path, bytes]:
    return {
        path.relative_to(tree): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return copy_tree(tmp_path / "tree")


@pytest.mark.parametrize(
    "new",
    [
        ("https://github.com/someone/pictures", "https://someone.github.io/pictures"),
        ("https://git.example.org/a/b", "https://git.example.org/a/b/pages"),
    ],
)
def test_stamping_leaves_no_trace_and_can_be_undone(tree: Path, new: tuple[str, str]) -> None:
    before = contents(tree)
    done = stamp(tree, "--url", new[0], "--site", new[1])
    assert done.returncode == 0, done.stderr
    assert address.read(tree) == address.Address(*new, HERE.version)
    for path, data in contents(tree).items():
        for old in (HERE.repository, HERE.site):
            assert old.removeprefix("https://").encode() not in data, path
    assert stamp(tree, "--url", HERE.repository, "--site", HERE.site).returncode == 0
    assert contents(tree) == before


def test_a_copy_that_begins_with_the_address_is_left_alone(tree: Path) -> None:
    (tree / "README.md").write_text(f"{HERE.repository}-two {HERE.repository}. {HERE.site}/a.html")
    address.stamp(tree, address.Address("https://x.org/a", "https://x.org/b", HERE.version))
    kept = f"{HERE.repository}-two https://x.org/a. https://x.org/b/a.html"
    assert (tree / "README.md").read_text() == kept


def test_a_new_version_reaches_every_copy(tree: Path) -> None:
    project = tree / "pyproject.toml"
    project.write_text(project.read_text().replace(f'"{HERE.version}"', '"9.8.7"', 1))
    assert stamp(tree).returncode == 0
    assert "\nversion: 9.8.7\n" in (tree / "CITATION.cff").read_text()
    for path in (tree / "book").rglob("*.ipynb"):
        wheels = re.findall(r"course_lib-([\w.]+)-py3-none-any\.whl", path.read_text())
        assert set(wheels) == {"9.8.7"}, path


def test_the_library_and_the_citation_carry_the_version() -> None:
    assert course_lib.__version__ == HERE.version
    assert f"\nversion: {HERE.version}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("README.md", (HERE.repository, HERE.site)),
        ("CITATION.cff", (HERE.repository, HERE.site)),
        ("_config.yml", (HERE.repository,)),
    ],
)
def test_the_files_that_need_the_address_hold_it(name: str, wanted: tuple[str, ...]) -> None:
    text = (ROOT / name).read_text()
    for each in wanted:
        assert re.search(rf"{re.escape(each)}(?![\w-])", text), each


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_the_first_code_cell_of_a_chapter_is_the_setup_cell(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    first = next(cell for cell in cells if cell.cell_type == "code")
    assert first.source == HERE.setup_cell


def test_the_setup_cell_names_the_wheel_of_the_site() -> None:
    there = address.Address("https://r.org/a", "https://s.org/b", "1.2")
    wheel = "https://s.org/b/wheel/course_lib-1.2-py3-none-any.whl"
    assert there.setup_cell.endswith(f'%pip install -q "course_lib[chapters] @ {wheel}"')


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("https://github.com/you/course", "https://github.com/you/course"),
        (" https://github.com/you/course/ ", "https://github.com/you/course"),
        ("https://github.com/you/course.git", "https://github.com/you/course"),
    ],
)
def test_an_address_is_put_into_its_plain_form(given: str, plain: str) -> None:
    assert address.checked("URL", given) == plain


@pytest.mark.parametrize(
    "given",
    [
        "",
        "github.com/you/course",
        "http://github.com/you/course",
        "git@github.com:you/course.git",
        "https://github.com/you/my course",
        'https://github.com/you/"course',
        "https://github.com/you/course?tab=readme",
        "https://github.com//course",
        "https://",
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"URL: expected .*, got "):
        address.checked("URL", given)


def test_a_refused_address_changes_nothing(tree: Path) -> None:
    before = contents(tree)
    for arguments in (
        ["--url", "nonsense"],
        ["--url", "https://git.example.org/a/b"],  # where would its site be?
        ["--url", "https://x.org/a", "--site", "https://x.org/a"],
    ):
        done = stamp(tree, *arguments)
        assert done.returncode != 0
        assert "expected" in done.stderr
        assert "Traceback" not in done.stderr
    assert contents(tree) == before


@pytest.mark.parametrize(
    ("repository", "site"),
    [
        ("https://github.com/You/Course", "https://you.github.io/Course"),
        ("https://github.com/you/you.github.io", "https://you.github.io"),
    ],
)
def test_the_site_of_a_repository_is_its_pages(repository: str, site: str) -> None:
    assert address.site_of(repository) == site


def test_the_placeholder_is_nobodys() -> None:
    # An account there cannot have an underscore, so the address as shipped leads to no stranger.
    owner = "your_name"
    if owner in HERE.repository:
        assert HERE.repository == f"https://github.com/{owner}/from-formula-to-picture"
        assert HERE.site == address.site_of(HERE.repository)
