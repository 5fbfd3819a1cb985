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
from built import ROOT, notebooks, pages

pytestmark = pytest.mark.site

SHARED_LIMIT = 2.5 * 1024**2  # bytes below _static; most of it is MathJax, the theme and its icons

_RESOURCES = {"script": "src", "img": "src", "link": "href", "source": "src", "iframe": "src"}
_RELATIONS = {"stylesheet", "icon", "preload", "modulepreload"}  # what a browser fetches
_NEIGHBOURS = {"next", "prev", "index", "search"}  # what a link in a page's head leads to


@dataclass
class Page(HTMLParser):
    """What a page refers to, and what can be referred to on it."""

    path: Path
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attrs}
        self.anchors |= {given[key] for key in ("id", "name") if key in given}
        target = given.get(_RESOURCES.get(tag, ""))
        relations = set(given.get("rel", "").split())
        if target and (tag != "link" or _RELATIONS & relations):
            self.resources.append(target)
        if "href" in given and (
            tag in ("a", "area") or (tag == "link" and _NEIGHBOURS & relations)
        ):
            self.links.append(given["href"])


@cache
def read(path: Path) -> Page:
    return Page(path)


def leads_nowhere(page: Path, target: str, site: Path) -> bool:
    """Whether a link on a page leads to no file of the site, or to no anchor on its page."""
    parts = urlsplit(target)
    if parts.scheme in ("http", "https", "mailto", "data"):
        return False
    if parts.scheme or parts.netloc or parts.path.startswith("/"):
        return True  # a copy of the site must work from any folder
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
    if not path.is_relative_to(site.resolve()):
        return True
    if path.is_dir():
        path /= "index.html"
    if not path.is_file():
        return True
    fragment = unquote(parts.fragment)
    return bool(fragment) and path.suffix == ".html" and fragment not in read(path).anchors


def broken_links(page: Path, site: Path) -> list[str]:
    """The links of a page that lead nowhere within the site."""
    return [target for target in read(page).links if leads_nowhere(page, target, site)]


def test_every_link_leads_somewhere(page_name: str, site: Path) -> None:
    assert broken_links(site / page_name, site) == []


def test_every_resource_is_the_sites_own(page_name: str, site: Path) -> None:
    page = read(site / page_name)
    missing = [one for one in page.resources if leads_nowhere(site / page_name, one, site)]
    assert missing == []
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
        link for link in read(site / page).links if link.endswith(".ipynb") and "_sources" in link
    ]
    assert downloads
    cells = json.loads((site / "_sources" / name).read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.parametrize("name", notebooks())
def test_a_notebook_opens_in_colab(name: str, site: Path) -> None:
    page = name.removesuffix(".ipynb") + ".html"
    assert [
        link
        for link in read(site / page).links
        if "colab" in link and link.endswith(f"main/{name}")
    ]


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
    shelf = {f"book/reference/{name}.html" for name in ("formulas", "glossary", "notation")}
    assert shelf | {"book/index.html", "search.html"} <= set(pages())


# --- the test of the links, on a site of two pages ------------------------------------------------

SOUND = [
    "",
    "#",
    "#here",
    "#%68ere",
    "#named",
    "other.html",
    "other.html#there",
    "other.html?q=1#there",
    "inner/",
    "inner/#deep",
    "inner/index.html#deep",
    "some%20file.zip",
    "some%20file.zip#anything",
    "https://example.org/#nowhere",
    "mailto:somebody@example.org",
]
BROKEN = [
    "#nowhere",
    "#Here",
    "#in-a-comment",
    "other.html#here",
    "inner/#there",
    "missing.html",
    "missing.html#here",
    "Other.html",
    "inner/missing/",
    "../outside.html",
    "/other.html",
    "file:///other.html",
    "//other.html",
]


@pytest.fixture
def two_pages(tmp_path: Path) -> Path:
    site = tmp_path / "site"
    (site / "inner").mkdir(parents=True)
    (site / "other.html").write_text('<p id="there">')
    (site / "inner" / "index.html").write_text('<p id="deep">')
    (site / "some file.zip").touch()
    (tmp_path / "outside.html").touch()
    return site


@pytest.mark.parametrize(
    "tag", ["<a href='{}'>", "<area href='{}'>", "<link rel='next' href='{}'>"]
)
def test_broken_links_and_anchors_are_found(tag: str, two_pages: Path) -> None:
    page = two_pages / "page.html"
    body = "<p id='here'><a name='named'><!-- <p id='in-a-comment'> -->"
    page.write_text(body + "".join(tag.format(target) for target in [*SOUND, *BROKEN]))
    assert read(page).links == [*SOUND, *BROKEN]
    assert broken_links(page, two_pages) == BROKEN
