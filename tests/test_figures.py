"""Every figure that the reader can touch, on pages in a real browser, without any network.

The tests of a chapter's figures, ``test_figures_<chapter>``, hold two tables that are read here:
``FIGURES``, one figure of each kind by name, and ``LARGEST``, the largest of each kind. A third,
``WIDEN``, may say how to bring a figure into the state that needs most room.
"""

from __future__ import annotations

import importlib
import json
import math
import re

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe

from browsing import CONTROLS, FOCUSED, Book, host, painted, state
from course_lib.figures import Figure, encode_image, figure
from support import TOPICS
from tree import ROOT

MINIMAL = "const core = {}; function build(kit, data) { kit.publish(data); }"
TABLES = [
    importlib.import_module(f"test_figures_{topic}")
    for topic in TOPICS
    if (ROOT / f"tests/test_figures_{topic}.py").exists()
]
FIGURES = {name: shown for tables in TABLES for name, shown in tables.FIGURES.items()}
WIDEN = {name: act for tables in TABLES for name, act in getattr(tables, "WIDEN", {}).items()}
LARGEST = [shown for tables in TABLES for shown in tables.LARGEST]
site = pytest.mark.site
each_figure = pytest.mark.parametrize("shown", FIGURES.values(), ids=FIGURES)


def test_every_figure_of_the_library_is_here() -> None:
    modules = {path.stem for path in (ROOT / "course_lib/figures").glob("*.py")} - {"__init__"}
    public = {
        name
        for module in modules
        for name in importlib.import_module(f"course_lib.figures.{module}").__all__
    }
    assert public == {shown.name for shown in FIGURES.values()}
    assert public == {shown.name for shown in LARGEST}


# --- without a browser ----------------------------------------------------------------------------


def test_a_notebook_gets_html_and_a_line_of_text():
    shown = FIGURES["kernel_stepper"]
    bundle = shown._repr_mimebundle_()
    assert bundle["text/html"] == shown._repr_html_() == shown.html
    assert bundle["text/plain"].startswith("Step a kernel over a photograph")
    assert shown.html not in repr(shown)


@pytest.mark.parametrize("shown", LARGEST, ids=lambda shown: shown.name)
def test_the_largest_figures_stay_small_and_name_no_address(shown: Figure):
    assert len(shown.html.encode()) < 120_000
    assert not re.search(r"https?://|//[a-z]+\.", shown.html)


def test_pixels_are_packed_row_by_row():
    packed = encode_image(torch.tensor([[0.0, 0.5, 1.0]]), minimum=1, maximum=3, levels=100)
    assert packed == {"height": 1, "width": 3, "levels": 100, "pixels": "ADJk"}


def test_a_figure_refuses_what_a_page_cannot_hold():
    with pytest.raises(ValueError, match="name: expected an identifier"):
        figure('"><b>', MINIMAL, {}, "t", "d")
    with pytest.raises(ValueError, match="not JSON compliant"):
        figure("demo", MINIMAL, {"x": math.nan}, "t", "d")


# --- on a page ------------------------------------------------------------------------------------


@site
@each_figure
def test_every_control_works_by_keyboard_and_shows_its_focus(book: Book, shown: Figure):
    page = book.open('<a href="#">before</a>', shown.html, '<a href="#">after</a>')
    page.get_by_text("before").focus()
    visited, changed = 0, set()
    use = {"CANVAS": "ArrowRight", "range": "ArrowLeft", "checkbox": "Space", "button": "Enter"}
    use |= {"select-one": "ArrowDown", "number": "ArrowUp", "text": "ArrowUp"}
    while True:
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "after":
            break
        visited += 1
        kind = page.evaluate(f"{FOCUSED}.type ?? {FOCUSED}.tagName")
        assert "solid 3px" in page.evaluate(f"getComputedStyle({FOCUSED}).outline")
        before = host(page).get_attribute("data-state")
        page.keyboard.press(use[kind])
        page.wait_for_timeout(20)
        if host(page).get_attribute("data-state") != before:
            changed.add(kind)
        assert visited < 60
    kinds = host(page).evaluate(f"host => {CONTROLS}.map(node => node.type ?? node.tagName)")
    assert visited >= len(kinds) - 9  # a preset chosen on the way takes layers away
    assert changed == set(kinds)


@site
@each_figure
def test_keys_stay_in_the_figure_but_shortcuts_pass(book: Book, shown: Figure):
    page = book.open(shown.html)
    page.evaluate(
        "window.heard = []; for (const type of ['keydown', 'keypress', 'keyup'])"
        "  document.addEventListener(type, event => heard.push(event.key))"
    )
    for control in ("canvas[tabindex]", "input[type=range]", "select"):
        if page.locator(control).count() == 0:
            continue
        page.locator(control).first.focus()
        for key in ("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "a", "Home", "Enter"):
            page.keyboard.press(key)
    assert page.evaluate("heard") == []
    page.keyboard.press("Escape")  # the list that Enter opened
    page.locator("canvas[tabindex]").first.focus()
    page.keyboard.press("Control+y")
    assert "y" in page.evaluate("heard")


@site
@each_figure
def test_two_copies_are_independent(book: Book, shown: Figure):
    page = book.open(shown.html, shown.html)
    assert state(page, 0) == state(page, 1)
    before = state(page, 0), painted(page, 0)
    host(page, 1).locator("canvas[tabindex]").first.press("ArrowDown")
    assert state(page, 1) != state(page, 0)
    assert (state(page, 0), painted(page, 0)) == before


DARK_PAGES = {
    "book": ('data-theme="dark"', "", "document.documentElement.dataset.theme = 'light'"),
    "lab": ("", 'data-jp-theme-light="false"', "document.body.dataset.jpThemeLight = 'true'"),
    "colab": ('theme="dark"', "", "document.documentElement.setAttribute('theme', 'light')"),
}


@site
@each_figure
@pytest.mark.parametrize("place", DARK_PAGES)
def test_it_is_dark_where_the_page_is_and_follows(book: Book, shown: Figure, place: str):
    attributes, body, lighten = DARK_PAGES[place]
    page = book.open(shown.html, attributes=attributes, body=body)
    frame = page.locator(".frame")
    background = "node => getComputedStyle(node).backgroundColor"
    assert host(page).get_attribute("data-scheme") == "dark"
    assert frame.evaluate(background) == "rgb(22, 24, 29)"
    dark = painted(page)
    page.evaluate(lighten)
    page.wait_for_selector('.course-figure[data-scheme="light"]')
    assert frame.evaluate(background) == "rgb(255, 255, 255)"
    assert painted(page) != dark


@site
def test_elsewhere_it_follows_the_reader_s_preference(book: Book):
    page = book.open(FIGURES["scale_space"].html, color_scheme="dark")
    assert host(page).get_attribute("data-scheme") == "dark"
    page.emulate_media(color_scheme="light")
    page.wait_for_selector('.course-figure[data-scheme="light"]')
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    page.wait_for_selector('.course-figure[data-scheme="dark"]')


@site
@each_figure
def test_it_works_in_a_frame_of_its_own(book: Book, shown: Figure):
    framed = f'<html lang="en"><title>Output</title><body>{shown.html}</body></html>'
    page = book.open(
        '<iframe title="output" sandbox="allow-scripts" width="700" height="700"></iframe>'
    )
    page.locator("iframe").evaluate("(node, html) => { node.srcdoc = html; }", framed)
    inside = page.frame_locator("iframe")
    figure_host = inside.locator(".course-figure[data-state]")
    before = figure_host.get_attribute("data-state")
    inside.locator("canvas[tabindex]").first.press("ArrowDown")
    assert figure_host.get_attribute("data-state") != before


INSERT = """([html, apart]) => {
  document.querySelector("main").innerHTML = html.join("");
  const scripts = [...document.querySelectorAll("main script")];
  for (const old of apart ? scripts : scripts.reverse()) {
    const script = document.createElement("script");
    script.textContent = old.textContent;
    if (apart) document.head.append(script);
    else old.replaceWith(script);
  }
}"""


@site
@each_figure
@pytest.mark.parametrize("apart", [False, True], ids=["scripts in place", "scripts apart"])
def test_it_works_when_a_notebook_inserts_it(book: Book, shown: Figure, apart: bool):
    """Front ends set innerHTML, which runs no script, and then run the scripts themselves."""
    page = book.open()
    page.evaluate(INSERT, [[shown.html, shown.html], apart])
    host(page, 1).locator("canvas[tabindex]").first.press("ArrowDown")
    assert state(page, 1) != state(page, 0)


@site
@pytest.mark.parametrize("apart", [False, True], ids=["scripts in place", "scripts apart"])
def test_each_of_two_figures_gets_its_own_data(book: Book, apart: bool):
    page = book.open()
    pair = [figure("demo", MINIMAL, {"which": which}, "t", "d").html for which in ("a", "b")]
    page.evaluate(INSERT, [pair, apart])
    assert [state(page, at)["which"] for at in (0, 1)] == ["a", "b"]


@site
@each_figure
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(book: Book, shown: Figure, theme: str):
    page = book.open(shown.html, attributes=f'data-theme="{theme}"')
    page.evaluate(f"document.body.style.background = '{'#121212' if theme == 'dark' else '#fff'}'")
    page.evaluate(f"document.body.style.color = '{'#eee' if theme == 'dark' else '#111'}'")
    results = Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    assert results.response["passes"]


@site
@each_figure
@pytest.mark.parametrize("width", [360, 600, 720, 780])
def test_nothing_sticks_out_and_a_finger_hits_every_control(book: Book, shown: Figure, width: int):
    page = book.open(shown.html, viewport={"width": width, "height": 740})
    if shown.name in WIDEN:
        WIDEN[shown.name](page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = """host => [...host.shadowRoot.querySelectorAll(".body *")]
      .filter((node) => node.getBoundingClientRect().right >
        node.parentNode.closest(".panel, .body").getBoundingClientRect().right + 0.5)
      .map((node) => node.outerHTML)"""
    assert host(page).evaluate(outside) == []
    small = """host => [...host.shadowRoot.querySelectorAll("button, select, input")]
      .filter((node) => { const box = (node.closest("label.check") ?? node).getBoundingClientRect();
        return box.width < 24 || box.height < 24; }).map((node) => node.outerHTML)"""
    assert host(page).evaluate(small) == []


@site
@each_figure
def test_pictures_say_what_they_show_and_keep_it_current(book: Book, shown: Figure):
    page = book.open(shown.html)
    labels = (
        "host => [...host.shadowRoot.querySelectorAll('canvas[role=img]')].map(c => c.ariaLabel)"
    )
    before = host(page).evaluate(labels)
    assert all(len(label) > 30 for label in before)
    live = page.locator("[aria-live=polite]")
    said = live.inner_text()
    page.locator("canvas[tabindex]").first.press("ArrowRight")
    assert host(page).evaluate(labels) != before
    assert live.inner_text() != said


@site
@each_figure
def test_without_javascript_a_line_says_what_is_missing(book: Book, shown: Figure):
    page = book.open(shown.html, java_script_enabled=False)
    said = page.locator(".course-figure").inner_text()
    assert said.startswith(shown.title)
    assert "allow JavaScript" in said


@site
def test_no_text_can_end_the_script_early(book: Book):
    evil = '</script><script>window.broken = 1</script><!-- <script "\u2028& \\'
    script = (
        "const core = {};\nfunction build(kit, data) {\n"
        "  kit.publish({ same: data.text === '</script><!--' + data.rest });\n}\n"
    )
    rest = evil
    shown = figure("demo", script, {"text": "</script><!--" + rest, "rest": rest}, evil, evil)
    page = book.open(shown.html)
    assert state(page) == {"same": "true"}
    assert page.evaluate("window.broken") is None
    assert page.locator(".title").text_content() == evil
    assert json.dumps(evil)[1:-1] not in shown.html
