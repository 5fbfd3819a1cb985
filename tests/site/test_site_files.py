"""The files of the built site: every link leads somewhere, nothing is missing, nothing is idle."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from built import ROOT, SITE, notebooks, pages

pytestmark = pytest.mark.site

SHARED_LIMIT = 2.5 * 1024**2  # bytes below _static; most of it is MathJax, the theme and its icons

_RESOURCES = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}
_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload"}  # what a browser fetches


@dataclass
class Page(HTMLParser):
    """What a page refers to, and what can be referred to on it."""

    name: str
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed((SITE / self.name).read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        target = given.get(_RESOURCES.get(tag, ""))
        fetched = tag != "link" or _RELATIONS & set(given.get("rel", "").split())
        if target and fetched:
            self.resources.append(target)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


@cache
def read(name: str) -> Page:
    return Page(name)


def leads_nowhere(page: str, target: str) -> bool:
    """Whether a link inside the site names a file or an anchor that does not exist."""
    parts = urlsplit(target)
    if parts.scheme in ("http", "https", "mailto", "data"):
        return False
    path = (SITE / page).parent / unquote(parts.path) if parts.path else SITE / page
    if path.is_dir():
        path /= "index.html"
    if not path.exists():
        return True
    fragment = unquote(parts.fragment)
    if not fragment or path.suffix != ".html":
        return False
    return fragment not in read(path.resolve().relative_to(SITE.resolve()).as_posix()).anchors


def test_every_link_leads_somewhere(page_name: str, site: Path) -> None:
    page = read(page_name)
    assert [target for target in page.links if leads_nowhere(page_name, target)] == []


def test_every_resource_is_the_sites_own(page_name: str, site: Path) -> None:
    page = read(page_name)
    assert [target for target in page.resources if leads_nowhere(page_name, target)] == []
    foreign = [target for target in page.resources if urlsplit(target).scheme not in ("", "data")]
    assert foreign == []


def test_no_idle_scripts(site: Path) -> None:
    names = {path.name for path in site.rglob("_static/**/*") if path.is_file()}
    assert not names & {"fontawesome.js", "sphinx-thebe.js", "require.min.js", "design-tabs.js"}
    assert [name for name in names if name.endswith((".map", ".ttf"))] == []


def test_shared_files_stay_small(site: Path) -> None:
    sizes = {path: path.stat().st_size for path in site.rglob("_static/**/*") if path.is_file()}
    largest = sorted(sizes, key=lambda path: -sizes[path])[:3]
    assert 0 < sum(sizes.values()) < SHARED_LIMIT, largest


def test_the_landing_picture_is_small() -> None:
    assert (ROOT / "site" / "static" / "landing.png").stat().st_size < 300 * 1024


@pytest.mark.parametrize("name", notebooks())
def test_a_notebook_can_be_downloaded_without_outputs(name: str, site: Path) -> None:
    page = name.removesuffix(".ipynb") + ".html"
    downloads = [
        link for link in read(page).links if link.endswith(".ipynb") and "_sources" in link
    ]
    assert downloads
    cells = json.loads((site / "_sources" / name).read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize("name", notebooks())
def test_a_notebook_opens_in_colab(name: str, site: Path) -> None:
    page = name.removesuffix(".ipynb") + ".html"
    assert [link for link in read(page).links if "colab" in link and link.endswith(f"main/{name}")]


def test_the_site_carries_the_library_as_it_stands(site: Path) -> None:
    (wheel,) = site.glob("wheel/course_lib-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    library = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in (ROOT / "course_lib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert library == {name: packed[name] for name in packed if name.startswith("course_lib/")}


def test_the_site_carries_the_student_edition(site: Path) -> None:
    with zipfile.ZipFile(site / "student.zip") as archive:
        names = archive.namelist()
    folder = names[0].partition("/")[0]
    for name in notebooks():
        assert f"{folder}/{name.removeprefix('book/')}" in names


def test_the_pages_were_found(site: Path) -> None:
    assert {"book/index.html", "book/reference/formulas.html", "search.html"} <= set(pages())
