"""Every page of the site in a real browser: complete, calm, readable, and without help."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from built import NARROW, ROOT, WIDE, chapter_pages, figures, pages
from visits import visiting

pytestmark = pytest.mark.site

Open = Callable[..., Any]
CHAPTERS = chapter_pages()

# Without "preload", which fetches every style sheet again and misreads where some of them are.
_AXE = {"resultTypes": ["violations"], "preload": False}

# In the page's own words: which formulas were written, which of them stand, which failed.
_FORMULAS = """() => {
  const written = [...document.querySelectorAll(".math.notranslate")];
  const bare = written.filter((one) => !one.querySelector("mjx-container"));
  // an unknown command is set in red, everything else that fails as an error
  const broken = [...document.querySelectorAll('mjx-merror, mjx-mtext[style*="color: red"]')];
  return {written: written.length, failed: [...bare, ...broken].map((one) => one.textContent)};
}"""

_PICTURES = """() => [...document.images].map((one) => ({
  source: one.getAttribute("src"), alt: one.getAttribute("alt"), loaded: one.naturalWidth > 0,
  named: Boolean(one.closest("a, button")?.textContent.trim()),
}))"""

_WIDTH = """() => Math.max(
  ...[document.scrollingElement, document.querySelector("main")].map((one) => one?.scrollWidth ?? 0)
) - innerWidth"""


@dataclass
class Sight:
    """What was seen of a page, on the one time that it was opened."""

    off_site: list[str]
    errors: list[str]
    requested: list[str]
    formulas: dict[str, Any]
    pictures: list[dict[str, Any]]
    overhang: dict[int, int]
    """By how many pixels the page is wider than the screen, for each width of the screen."""
    themes: dict[str, str]
    complaints: dict[str, str]
    """What axe-core found, for each scheme."""


@pytest.fixture(scope="module")
def look(browser: Any, address: str) -> Callable[[str], Sight]:
    """Open a page once, wide and light, then narrow and dark, and remember what was seen."""

    @cache
    def looked(page_name: str) -> Sight:
        with visiting(browser, address + page_name) as visit:
            page = visit.page
            overhang, themes, complaints = {}, {}, {}
            for scheme, (width, height) in {"light": WIDE, "dark": NARROW}.items():
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(600)  # the theme looks again a while after a resize
                themes[scheme] = page.evaluate("document.documentElement.dataset.theme")
                overhang[width] = page.evaluate(_WIDTH)
                results = Axe().run(page, options=_AXE)
                if results.violations_count:
                    complaints[scheme] = results.generate_report()
            return Sight(
                formulas=page.evaluate(_FORMULAS),
                pictures=page.evaluate(_PICTURES),
                off_site=visit.off_site,
                errors=visit.errors,
                requested=visit.requested,
                overhang=overhang,
                themes=themes,
                complaints=complaints,
            )

    return looked


Look = Callable[[str], Sight]


def test_a_page_needs_nobody_else(page_name: str, look: Look) -> None:
    assert look(page_name).off_site == []


def test_a_page_reports_no_error(page_name: str, look: Look) -> None:
    assert look(page_name).errors == []


def test_every_formula_is_set(page_name: str, look: Look) -> None:
    assert look(page_name).formulas["failed"] == []


def test_every_picture_is_there_and_described(page_name: str, look: Look) -> None:
    for picture in look(page_name).pictures:
        assert picture["loaded"], picture
        # a logo inside a link that says its name is decoration, and its alt text empty
        assert picture["alt"] or (picture["alt"] == "" and picture["named"]), picture
        assert not re.search(r"/|\.(png|jpe?g|svg|gif|webp)$", picture["alt"]), picture


def test_axe_finds_nothing(page_name: str, look: Look) -> None:
    complaints = look(page_name).complaints
    assert not complaints, "\n".join(f"{scheme}: {found}" for scheme, found in complaints.items())


def test_a_page_is_no_wider_than_the_screen(page_name: str, look: Look) -> None:
    assert {width: over for width, over in look(page_name).overhang.items() if over > 0} == {}


def test_a_page_follows_the_readers_scheme(page_name: str, look: Look) -> None:
    assert look(page_name).themes == {"light": "light", "dark": "dark"}


def test_only_the_mathjax_in_use_is_shipped(site: Path, address: str, look: Look) -> None:
    shipped = {path.relative_to(site).as_posix() for path in site.rglob("_static/mathjax/**/*.*")}
    requested = {url.removeprefix(address) for name in pages() for url in look(name).requested}
    assert shipped == {path for path in requested if "/mathjax/" in path}
    assert look("book/reference/formulas.html").formulas["written"] >= 10


@pytest.mark.parametrize(
    "chosen", ["index.html", "book/index.html", "book/reference/formulas.html", *CHAPTERS]
)
def test_a_page_opens_from_a_file(chosen: str, site: Path, open_page: Open) -> None:
    with open_page((site / chosen).as_uri()) as visit:
        assert visit.off_site == []
        assert visit.errors == []
        assert visit.page.evaluate(_FORMULAS)["failed"] == []


# --- the frame ----------------------------------------------------------------------------------


def test_the_root_leads_to_the_landing_page(address: str, open_page: Open) -> None:
    with open_page(address) as visit:
        visit.page.wait_for_url("**/book/index.html")


def test_the_landing_page_fits_one_screen(address: str, open_page: Open) -> None:
    with open_page(address + "book/index.html", size=WIDE) as visit:
        for selector in ("article h1", ".landing-start a", ".landing-picture", ".chapter-map"):
            box = visit.page.locator(selector).first.bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= WIDE[1], selector
        linked = visit.page.locator(".chapter-map a").count()
        coming = visit.page.locator(".chapter-map li.coming").count()
    assert linked == len(CHAPTERS)
    assert linked + coming == planned_chapters()


def planned_chapters() -> int:
    """How many chapters the landing page plans."""
    source = (ROOT / "book" / "index.md").read_text("utf-8")
    return len(re.findall(r"^  \w+: \[", source, re.MULTILINE))


def test_there_is_one_search_field(page_name: str, address: str, open_page: Open) -> None:
    with open_page(address + page_name) as visit:
        fields = visit.page.locator("input[type=search]:visible")
        assert fields.count() == (1 if page_name == "search.html" else 0)
        if page_name != "search.html":
            assert visit.page.locator(".search-button__button:visible").count() == 1
            visit.page.keyboard.press("Control+k")
            assert fields.count() == 1


@pytest.mark.parametrize("start", ["book/index.html", "book/reference/execution.html"])
def test_search_finds_a_word(start: str, address: str, open_page: Open) -> None:
    with open_page(address + start) as visit:
        visit.page.keyboard.press("Control+k")
        visit.page.keyboard.type("convolution")
        visit.page.keyboard.press("Enter")
        visit.page.wait_for_url("**/search.html*")
        first = visit.page.locator("#search-results li a").first
        first.wait_for()
        assert "convolution" in first.text_content().lower()
        assert visit.errors == []


def test_search_finds_a_word_in_a_file(site: Path, open_page: Open) -> None:
    with open_page((site / "search.html").as_uri() + "?q=convolution") as visit:
        visit.page.locator("#search-results li a").first.wait_for()
        assert visit.errors == []


def test_the_button_turns_the_page_dark(address: str, open_page: Open) -> None:
    with open_page(address + "book/reference/formulas.html") as visit:
        theme = "document.documentElement.dataset.theme"
        background = "getComputedStyle(document.body).backgroundColor"
        seen = {visit.page.evaluate(theme): visit.page.evaluate(background)}
        button = visit.page.locator(".theme-switch-button:visible").first
        for _ in range(3):
            button.focus()
            visit.page.keyboard.press("Enter")
            seen[visit.page.evaluate(theme)] = visit.page.evaluate(background)
    assert set(seen) == {"light", "dark"}
    assert seen["light"] != seen["dark"]


@pytest.mark.parametrize("chosen", CHAPTERS)
def test_pictures_keep_their_colours_in_the_dark(
    chosen: str, address: str, open_page: Open
) -> None:
    with open_page(address + chosen, scheme="dark") as visit:
        styles = visit.page.evaluate(
            """() => [...document.querySelectorAll(".cell_output img")].map((one) => {
                const {filter, backgroundColor: card} = getComputedStyle(one);
                return {filter, light: card.match(/[0-9]+/g).every((part) => part > 200)};
            })"""
        )
    assert styles
    assert all(style == {"filter": "none", "light": True} for style in styles)


# --- without a mouse ----------------------------------------------------------------------------

_FOCUSED = """() => {
  const one = document.activeElement;
  const box = one.getBoundingClientRect();
  const style = getComputedStyle(one);
  const place = ["#pst-skip-link", "#pst-primary-sidebar", ".bd-header-article", "article"];
  return {
    where: place.find((selector) => one.closest(selector)) ?? one.tagName,
    inSight: box.width > 0 && box.bottom > 0 && box.top < innerHeight,
    marked: style.outlineStyle !== "none" || style.boxShadow !== "none",
    text: (one.textContent || one.tagName).trim().slice(0, 60),
  };
}"""


@pytest.mark.parametrize("chosen", ["book/reference/formulas.html", *CHAPTERS])
def test_tab_reaches_everything(chosen: str, address: str, open_page: Open) -> None:
    with open_page(address + chosen) as visit:
        stops: list[dict[str, Any]] = []
        for _ in range(60):
            visit.page.keyboard.press("Tab")
            visit.page.wait_for_timeout(250)  # what slides into sight takes a moment
            stops.append(visit.page.evaluate(_FOCUSED))
            if stops[-1]["where"] == "article":
                break
    assert stops[0]["where"] == "#pst-skip-link"
    assert {"#pst-primary-sidebar", ".bd-header-article", "article"} <= {s["where"] for s in stops}
    assert [stop for stop in stops if not (stop["inSight"] and stop["marked"])] == []


def test_the_skip_link_leads_to_the_text(address: str, open_page: Open) -> None:
    with open_page(address + "book/reference/formulas.html") as visit:
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Enter")
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate(
            "document.querySelector('main').contains(document.activeElement)"
        )


# --- figures to touch ---------------------------------------------------------------------------


@pytest.mark.parametrize("served", [True, False], ids=["served", "file"])
@pytest.mark.parametrize(("chosen", "number"), figures())
def test_a_figure_moves(
    chosen: str, number: int, served: bool, site: Path, address: str, open_page: Open
) -> None:
    url = address + chosen if served else (site / chosen).as_uri()
    with open_page(url) as visit:
        host = visit.page.locator(".course-figure").nth(number)
        before = host.get_attribute("data-state")
        assert before
        controls = host.locator("input[type=range], select, button:not([aria-disabled=true])")
        assert controls.count() > 0
        for index in range(controls.count()):
            control = controls.nth(index)
            control.focus()
            is_button = control.evaluate("(one) => one.tagName === 'BUTTON'")
            visit.page.keyboard.press("Enter" if is_button else "ArrowDown")
            visit.page.keyboard.press("Enter" if is_button else "ArrowRight")
            if host.get_attribute("data-state") != before:
                break
        assert host.get_attribute("data-state") != before
        assert visit.errors == []


@pytest.mark.parametrize(("chosen", "number"), figures())
def test_a_figure_follows_the_page_into_the_dark(
    chosen: str, number: int, address: str, open_page: Open
) -> None:
    background = "(one) => getComputedStyle(one.shadowRoot.querySelector('.frame')).backgroundColor"
    seen = []
    for scheme in ("light", "dark"):
        with open_page(address + chosen, scheme=scheme) as visit:
            seen.append(visit.page.locator(".course-figure").nth(number).evaluate(background))
    assert seen[0] != seen[1]


def test_the_course_has_figures() -> None:
    assert figures()
