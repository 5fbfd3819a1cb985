"""Every page of the site in a real browser: complete, calm, readable, and without help."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe

from built import ROOT, chapter_pages, figures, pages

pytestmark = pytest.mark.site

Open = Callable[..., Any]
WIDE, NARROW = (1280, 800), (390, 844)
CHAPTERS = chapter_pages()

# In the page's own words: which formulas were written, which of them stand, which failed.
_FORMULAS = """() => {
  const written = [...document.querySelectorAll(".math.notranslate")];
  return {
    written: written.length,
    missing: written.filter((one) => !one.querySelector("mjx-container")).map((one) => one.textContent),
    broken: [...document.querySelectorAll("mjx-merror, [data-mjx-error]")].map((one) => one.textContent),
  };
}"""

_PICTURES = """() => [...document.images].map((one) => ({
  source: one.getAttribute("src"), alt: one.getAttribute("alt"), loaded: one.naturalWidth > 0,
  named: Boolean(one.closest("a, button")?.textContent.trim()),
}))"""


def test_a_page_needs_nobody_else(page_name: str, address: str, open_page: Open) -> None:
    with open_page(address + page_name) as visit:
        assert visit.off_site == []


def test_a_page_reports_no_error(page_name: str, address: str, open_page: Open) -> None:
    with open_page(address + page_name) as visit:
        assert visit.errors == []


def test_every_formula_is_set(page_name: str, address: str, open_page: Open) -> None:
    with open_page(address + page_name) as visit:
        found = visit.page.evaluate(_FORMULAS)
    assert found["missing"] == []
    assert found["broken"] == []


def test_formulas_are_found_where_there_are_some(address: str, open_page: Open) -> None:
    with open_page(address + "book/reference/formulas.html") as visit:
        assert visit.page.evaluate(_FORMULAS)["written"] >= 10


def test_every_picture_is_there_and_described(
    page_name: str, address: str, open_page: Open
) -> None:
    with open_page(address + page_name) as visit:
        pictures = visit.page.evaluate(_PICTURES)
    for picture in pictures:
        assert picture["loaded"], picture
        # a logo inside a link that says its name is decoration, and its alt text empty
        described = picture["alt"] or (picture["alt"] == "" and picture["named"])
        assert described, picture
        assert not re.search(r"/|\.(png|jpe?g|svg|gif|webp)$", picture["alt"]), picture


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page_name: str, scheme: str, address: str, open_page: Open) -> None:
    with open_page(address + page_name, scheme=scheme) as visit:
        assert visit.page.evaluate("document.documentElement.dataset.theme ?? null") in (
            scheme,
            None,  # the page at the root, which only leads on
        )
        results = Axe().run(visit.page)
    assert results.violations_count == 0, results.generate_report()


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_a_page_is_no_wider_than_the_screen(
    page_name: str, size: tuple[int, int], address: str, open_page: Open
) -> None:
    with open_page(address + page_name, size=size) as visit:
        wide = visit.page.evaluate(
            """(width) => [document.scrollingElement.scrollWidth,
                document.querySelector("main")?.scrollWidth ?? 0].filter((one) => one > width)""",
            size[0],
        )
    assert wide == []


@pytest.mark.parametrize(
    "chosen", ["index.html", "book/index.html", "book/reference/formulas.html", *CHAPTERS]
)
def test_a_page_opens_from_a_file(chosen: str, site: Path, open_page: Open) -> None:
    with open_page((site / chosen).as_uri()) as visit:
        found = visit.page.evaluate(_FORMULAS)
        assert visit.off_site == []
        assert visit.errors == []
        assert found["missing"] == found["broken"] == []


# --- the frame ----------------------------------------------------------------------------------


def test_the_root_leads_to_the_landing_page(address: str, open_page: Open) -> None:
    with open_page(address) as visit:
        visit.page.wait_for_url("**/book/index.html")


def test_the_landing_page_fits_one_screen(address: str, open_page: Open) -> None:
    with open_page(address + "book/index.html", size=WIDE) as visit:
        for selector in ("h1", ".landing-start a", ".landing-picture", ".chapter-map"):
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
    if page_name == "index.html":
        pytest.skip("the page at the root only leads to the landing page")
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
                const {filter, backgroundColor} = getComputedStyle(one);
                return {filter, light: backgroundColor.match(/[0-9]+/g).every((part) => part > 200)};
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


# --- what is shipped is what is used ------------------------------------------------------------


def test_only_the_mathjax_in_use_is_shipped(site: Path, address: str, open_page: Open) -> None:
    shipped = {path.relative_to(site).as_posix() for path in site.rglob("_static/mathjax/**/*.*")}
    used: set[str] = set()
    for name in pages():
        with open_page(address + name) as visit:
            used |= {url.removeprefix(address) for url in visit.requested if "/mathjax/" in url}
    assert shipped == used
