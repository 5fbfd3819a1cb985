"""The site's extension: the pages that the build makes, and its warnings."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

import course_site
import latex_symbols
from course_lib import formulas
from course_lib.formulas import Formula, Measurement, Sense

ROOT = Path(formulas.__file__).parents[2]
CONFIG = {
    "extensions": ["myst_parser", "sphinx.ext.mathjax", "course_site"],
    "myst_enable_extensions": ["dollarmath"],
    "root_doc": "book/index",
    "html_theme": "sphinx_book_theme",
    "html_title": "A tiny book",
    "html_theme_options": {
        "repository_url": "https://github.com/somebody/something",
        "repository_branch": "main",
    },
    "nitpicky": True,
}

INDEX = "# Start\n\n```{toctree}\npart/one\npage\n```\n"
ONE = "# One\n\n$$\na = b\n$$ (one-known)\n\n$$\nc = d\n$$ (one-named)\n"


@dataclass
class Book:
    """What a build of a book of three pages gave."""

    html: Path
    warnings: str

    def page(self, name: str = "page") -> str:
        return (self.html / "book" / f"{name}.html").read_text("utf-8")


Build = Callable[..., Book]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def built(page: str, report: list[dict[str, Any]] | None = None, **files: str) -> Book:
        source, html = tmp_path / "source", tmp_path / "html"
        pages = {"index.md": INDEX, "part/one.md": ONE, "page.md": f"# Page\n\n{page}\n"}
        for name, text in (pages | files).items():
            path = source / "book" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        if report is not None:
            (source / "execution.json").write_text(json.dumps(report), "utf-8")
        warnings = io.StringIO()
        with docutils_namespace():
            app = Sphinx(
                str(source),
                None,
                str(html),
                str(tmp_path / "doctrees"),
                "html",
                confoverrides=CONFIG,
                status=None,
                warning=warnings,
            )
            app.build()
        return Book(html, warnings.getvalue())

    return built


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put other entries and measurements in the ledger's place."""

    def replaced(entries: list[Formula], measured: list[Measurement]) -> None:
        monkeypatch.setattr(formulas, "LEDGER", tuple(entries))
        monkeypatch.setattr(formulas, "measure", lambda: measured)

    return replaced


def known() -> Formula:
    function = "course_lib.convolution.conv2d"
    return Formula("one-known", "a is b", function, "the twin", pairs=lambda *_: iter(()))


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


# --- the formula ledger -------------------------------------------------------------------------

LEDGER = "```{formula-ledger}\n```"


def test_the_ledger_shows_each_equation_and_what_stands_behind_it(
    build: Build, ledger: Callable[..., None]
) -> None:
    ledger(
        [known(), Formula("one-named", "c is d")],
        [Measurement("one-known", "cpu", 3.4e-16, 20), Measurement("one-known", "cuda", 0.0, 20)],
    )
    book = build(LEDGER)
    page = book.page()
    assert book.warnings == ""
    assert 'href="part/one.html#equation-one-known"' in page
    assert page.index("a = b") < page.index("c = d")
    assert "3 × 10 −16 on CPU, 20 cases, 0 on CUDA, 20 cases" in text(page)
    assert "the twin" in page
    assert "Stated, not checked here" in page
    assert re.search(
        r'href="https://github\.com/somebody/something/blob/main/course_lib/convolution\.py#L\d+">'
        r'<code[^>]*><span class="pre">conv2d</span>',
        page,
    )
    assert "mathjax/tex-chtml.js" in page  # though the page's own text has no formula


def test_the_ledger_follows_the_book_and_its_page_lists_the_chapters(
    build: Build, ledger: Callable[..., None]
) -> None:
    ledger([Formula("one-named", "c is d"), known(), Formula("two-sum", "a sum")], [])
    two = {name: text.replace("two-less", "two-more") for name, text in TWO_CHAPTERS.items()}
    page = build(LEDGER, **two).page()
    shown = re.findall(r'href="part/\w+\.html#equation-([\w-]+)"', page)
    assert shown == ["two-sum", "one-known", "one-named"]  # as in the table of contents
    assert re.findall(r'<section id="(\w+)">', page) == ["two", "one"]
    contents = page[page.index('class="page-toc') :]
    assert [text(one).strip() for one in re.findall(r"<a .*?</a>", contents, re.DOTALL)][:2] == [
        "Two",
        "One",
    ]


def test_the_ledger_names_the_line_of_the_function(
    build: Build, ledger: Callable[..., None]
) -> None:
    ledger([known()], [])
    line = int(re.search(r"convolution\.py#L(\d+)", build(LEDGER).page())[1])
    source = Path(formulas.__file__).parents[1] / "convolution.py"
    assert source.read_text("utf-8").splitlines()[line - 1].startswith("def conv2d(")


@pytest.mark.parametrize(
    "dotted", sorted({f.implementation for f in formulas.LEDGER if not f.definition})
)
def test_every_implementation_is_found_in_its_file(dotted: str) -> None:
    source, line = course_site.source_of(dotted)
    name = dotted.rpartition(".")[2]
    lines = (ROOT / source).read_text("utf-8").splitlines()
    assert re.match(rf"(def|class) {name}\b", lines[line - 1])


@pytest.mark.parametrize("error", [1e-9, float("nan"), float("inf")])
def test_an_error_above_the_tolerance_is_a_warning(
    error: float, build: Build, ledger: Callable[..., None]
) -> None:
    ledger([known()], [Measurement("one-known", "cpu", error, 20)])
    assert f"expected an error of at most 1e-10, got {error:g} on cpu" in build(LEDGER).warnings


def test_an_entry_without_its_equation_is_a_warning(
    build: Build, ledger: Callable[..., None]
) -> None:
    ledger([Formula("one-missing", "nothing")], [])
    assert "formula one-missing: expected an equation of this label" in build(LEDGER).warnings


@pytest.mark.parametrize(
    ("error", "written"),
    [(0.0, "0"), (2.34e-16, "2 × 10−16"), (9.6e-11, "1 × 10−10"), (float("inf"), "inf")],
)
def test_errors_are_written_as_powers_of_ten(error: float, written: str) -> None:
    assert "".join(node.astext() for node in course_site.format_error(error)) == written


# --- the notation -------------------------------------------------------------------------------

NOTATION = "```{notation} latin\n```\n\n```{notation} greek\n```\n\n```{notation} names\n```"
TWO_CHAPTERS = {
    "index.md": "# Start\n\n```{toctree}\npart/two\npart/one\npage\n```\n",
    "part/two.md": (
        "# Two: the other\n\n$$\na + 1 = c_h\n$$ (two-sum)\n\n"
        "$$\na - \\alpha = \\mathrm{IoU}\n$$ (two-less)\n"
    ),
}


@pytest.fixture
def symbols(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put other tables in the place of the chapters' symbols."""
    return lambda **tables: monkeypatch.setattr(formulas, "SYMBOLS", tables)


def rows_of(page: str) -> list[list[str]]:
    """The cells of all tables of a page, row by row, as text."""
    rows = re.findall(r"<tr.*?</tr>", page, re.DOTALL)
    return [[text(c).strip() for c in re.findall(r"<t[dh].*?</t[dh]>", r, re.DOTALL)] for r in rows]


def test_the_notation_says_what_each_symbol_means_where(
    build: Build, symbols: Callable[..., None]
) -> None:
    symbols(
        one={"a": "a number", "b, c": "a thing", "d": "another, $d > 0$"},
        two={
            "a": (
                Sense("a number", "$a$", ("two-sum",)),
                Sense("a point", "$a$", ("two-less",)),
            ),
            "c_h": "a height",
            r"\alpha": "a share",
            r"\mathrm{IoU}": "an overlap",
        },
    )
    book = build(NOTATION, **TWO_CHAPTERS)
    assert book.warnings == ""
    rows = [row for row in rows_of(book.page()) if row[0] != "Symbol"]
    assert rows == [
        [r"\(a\)", "a number Two (1) , One (1) a point Two (2)"],
        [r"\(b\)", "a thing One (1)"],
        [r"\(c\)", "a thing One (2)"],
        [r"\(c_{h}\)", "a height Two (1)"],
        [r"\(d\)", r"another, \(d &gt; 0\) One (2)"],
        [r"\(\alpha\)", "a share Two (2)"],
        [r"\(\mathrm{IoU}\)", "an overlap Two (2)"],
    ]
    assert 'href="part/two.html#equation-two-less"' in book.page()
    assert "mathjax/tex-chtml.js" in book.page()


def test_symbols_of_no_chapter_are_a_warning(build: Build, symbols: Callable[..., None]) -> None:
    symbols(three={"a": "a number"})
    assert "symbols of three: expected a chapter of this name" in build(NOTATION).warnings


def test_a_notation_of_no_kind_is_a_warning(build: Build) -> None:
    assert (
        "expected one of latin, greek, names, got 'cyrillic'"
        in build("```{notation} cyrillic\n```").warnings
    )


@pytest.mark.parametrize(
    ("kind", "latex"),
    [
        ("latin", r"a a_{n} \hat{a} A \tilde{A} b \ell \mathcal{S} x x'"),
        ("greek", r"\alpha \delta \Delta \epsilon \varepsilon \hat{\mu} \sigma \varphi"),
        ("names", r"\mathrm{AP} \mathrm{IoU} \mathrm{softmax}"),
    ],
)
def test_symbols_are_sorted_as_in_an_alphabet(kind: str, latex: str) -> None:
    found = [latex_symbols.parse(one) for one in latex.split()]
    assert {course_site.kind_of(symbol) for symbol in found} == {kind}
    places = [course_site.place_in_the_alphabet(symbol) for symbol in found]
    assert places == sorted(set(places))


# --- the glossary -------------------------------------------------------------------------------

GLOSSARY = "```{course-glossary} terms.yml\n```\n\n{term}`kernels`"
TERMS = """
kernel: {zh: 卷积核, in: [one], also: [kernels], is: A grid of $n$ weights.}
Adam: {zh: Adam, in: [one, page], is: It moves.}
"""


def test_the_glossary_has_each_term_under_its_letter(build: Build) -> None:
    book = build(GLOSSARY, **{"terms.yml": TERMS})
    assert book.warnings == ""
    page = book.page()
    assert re.findall(r"<h2>(\w)", page) == ["A", "K"]
    assert '<section id="letter-A">' in page
    adam, kernel = re.findall(r"<dt id.*?</dd>", page, re.DOTALL)
    assert adam.startswith('<dt id="term-adam">Adam<a')  # no second name that is the same
    assert text(adam).endswith("It moves. One , Page ")
    assert 'lang="zh-Hans">卷积核</span>' in kernel
    assert r"A grid of \(n\) weights. One" in text(kernel)
    assert 'href="part/one.html"' in kernel
    assert re.search(r'href="#term-kernel"><span[^>]*>kernels</span>', page)  # the role's


def test_a_term_of_no_chapter_is_a_warning(build: Build) -> None:
    terms = "kernel: {zh: 卷积核, in: [three], is: A grid.}"
    assert (
        "expected a chapter of this name, got three"
        in build("```{course-glossary} terms.yml\n```", **{"terms.yml": terms}).warnings
    )


# --- execution times ----------------------------------------------------------------------------

TIMES = "```{execution-times}\n```"


def run(seconds: float, undisturbed_s: float, *, cached: bool = False) -> dict[str, Any]:
    return {
        "document": "book/part/one",
        "seconds": seconds,
        "undisturbed_s": undisturbed_s,
        "status": "ok",
        "cached": cached,
        "peak_mib": 512.3,
        "budget_s": 60.0,
    }


def test_execution_times_are_listed_and_summed(build: Build) -> None:
    book = build(TIMES, [run(12.34, 12.34), run(70.0, 20.0, cached=True), run(85.0, 75.0)])
    assert book.warnings == ""
    words = text(book.page())
    assert "Status One 12.3 s 12.3 s 60 s 512 MiB One 70.0 s 20.0 s 60 s 512 MiB" in words
    assert "One 85.0 s 75.0 s 60 s 512 MiB over its budget" in words
    assert "Together 167.3 s 107.3 s 180 s 512 MiB at most" in words
    assert "2 of 3 chapters ran in this build." in words
    assert 'href="part/one.html"' in book.page()


def test_a_table_has_headers_for_rows_and_columns(build: Build) -> None:
    page = build(TIMES, [run(1.0, 1.0)]).page()
    table = page[page.index("<table") : page.index("</table>")]
    assert len(re.findall(r'<th class="head', table)) == 5  # no status: nothing went wrong
    assert len(re.findall(r'<th class="stub"', table)) == 2


def test_without_a_report_the_page_says_so(build: Build) -> None:
    assert "built without the project" in text(build(TIMES).page())


# --- benchmarks ---------------------------------------------------------------------------------

RUNS = "```{benchmark-runs}\n```"


def measured(ratio: float, threads: int = 1, **changes: Any) -> dict[str, Any]:
    fields = {
        "chapter": "one",
        "operation": "conv2d",
        "size": "3×3",
        "library": "torch",
        "direction": "forward",
        "device": "cpu",
        "threads": threads,
        "ratio": ratio,
        "quartiles": [0.9 * ratio, 1.1 * ratio],
        "rounds": 20,
        "seconds": 0.0035,
        "times_limit": 12.4,
        "memory": 3 * 2**20,
        "twin_memory": 2 * 2**20,
    }
    return fields | changes


def record(*results: dict[str, Any], **changes: Any) -> str:
    fields = {
        "date": "2026-01-02",
        "quick": False,
        "machine": {
            "device": "A chip",
            "cpu": "A chip",
            "cores": 2,
            "system": "Linux x86_64",
            "python": "3.11.7",
            "libraries": {"torch": "2.15.0", "kornia": "0.9"},
        },
        "rates by threads": {"1": {"bytes_copied": 1.25e10, "multiply_adds": 3.2e10}},
        "left out": {},
        "results": results,
    }
    return json.dumps(fields | changes)


def runs_page(build: Build, *records: str) -> str:
    files = {f"../benchmarks/recorded/{n}.json": one for n, one in enumerate(records)}
    book = build(RUNS, **files)
    assert book.warnings == ""
    return book.page()


def rows(html: str) -> list[list[str]]:
    cells = re.compile(r"<t[hd].*?</t[hd]>", re.DOTALL)
    found = re.findall(r"<tr.*?</tr>", html, re.DOTALL)
    return [[text(cell).strip() for cell in cells.findall(row)] for row in found]


def test_a_run_is_shown_with_its_machine_and_a_table_for_each_chapter(
    build: Build,
) -> None:
    html = runs_page(
        build,
        record(
            measured(0.5, at_most=0.6), measured(0.7, 2, at_most=0.6), measured(123.4, size="1×1")
        ),
    )
    words = text(html)
    assert "A chip" in words
    assert (
        "Recorded on 2026-01-02 with 2 cores (A chip) under Linux x86_64, with Python 3.11.7,"
        " torch 2.15.0, kornia 0.9."
    ) in words
    assert "With 1 thread it copied 12.5 GB and did 32 billion multiply-adds a second." in words
    assert "2 of 3 measurements have a goal of speed, and 1 of these reach it" in words
    assert 'href="part/one.html"' in html
    assert rows(html) == [
        ["Operation, twin, size, direction", "1 thread", "2 threads", "Goal", "Reached", "Memory",
         "Times the limit"],
        ["conv2d torch 3×3, forward", "0.5 3.5 ms", "0.7 3.5 ms", "0.6", "with 1 thread", "1.5",
         "12"],
        ["conv2d torch 1×1, forward", "123 3.5 ms", "–", "–", "–", "1.5", "12"],
    ]  # fmt: skip
    assert '<p title="half of 20 rounds: 0.45 to 0.55">0.5</p>' in html
    contents = html[html.index('class="page-toc') :]
    assert [text(one).strip() for one in re.findall(r"<a .*?</a>", contents, re.DOTALL)][:2] == [
        "A chip",
        "One",
    ]
    assert "quick" not in words
    assert "Left out" not in words


@pytest.mark.parametrize(
    ("results", "goal", "reached"),
    [
        ([measured(0.5, at_most=1), measured(0.5, 2, at_most=1)], "1", "yes"),
        ([measured(1.5, at_most=1), measured(1.01, 2, at_most=1)], "1", "no"),
        ([measured(1.1, at_most=1.2), measured(0.8, 2, at_most=0.7)], "1.2, 0.7", "with 1 thread"),
        ([measured(1.3, at_most=1.2), measured(0.6, 2, at_most=0.7)], "1.2, 0.7", "with 2 threads"),
    ],
)
def test_a_goal_is_reached_or_not(
    build: Build,
    results: list[dict[str, Any]],
    goal: str,
    reached: str,
) -> None:
    assert rows(runs_page(build, record(*results)))[1][3:5] == [goal, reached]


@pytest.mark.parametrize(
    ("ratio", "goal", "shown"),
    [(1.04, 1, "1.04"), (0.9996, 1, "0.9996"), (1.0, 1, "1"), (1.26, 1, "1.3"), (9.96, 9, "10")],
)
def test_a_ratio_is_not_rounded_to_its_goal(
    build: Build, ratio: float, goal: float, shown: str
) -> None:
    row = rows(runs_page(build, record(measured(ratio, at_most=goal))))[1]
    assert row[1] == f"{shown} 3.5 ms"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1.234, "1.2 s"), (0.9996, "1 s"), (0.0123, "12 ms"), (4e-6, "4 µs")]
)
def test_times_have_a_unit(build: Build, seconds: float, shown: str) -> None:
    assert rows(runs_page(build, record(measured(1, seconds=seconds))))[1][1] == f"1 {shown}"


def test_what_is_more_than_a_pass_says_so(build: Build) -> None:
    html = runs_page(build, record(measured(1, whole="an epoch")))
    assert rows(html)[1][0] == "conv2d torch 3×3, an epoch"


def test_without_a_limit_there_is_a_dash(build: Build) -> None:
    unlimited = measured(1)
    del unlimited["times_limit"]
    assert rows(runs_page(build, record(unlimited)))[1][5] == "–"


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"twin_memory": 0}, "–"),
        ({"memory": 2**20 - 1}, "–"),
        ({"memory": 2**23}, "4"),
        ({"memory": 2**22 + 2**14}, "2.01"),  # more than twice
    ],
)
def test_memory_is_a_ratio_where_it_matters(
    build: Build,
    changes: dict[str, int],
    shown: str,
) -> None:
    assert rows(runs_page(build, record(measured(1, **changes))))[1][4] == shown


def test_a_missed_goal_has_its_reason_below_the_table(build: Build) -> None:
    words = text(
        runs_page(
            build,
            record(
                measured(2, at_most=1, why="each call costs something"),
                measured(3, 2, at_most=1, why="each call costs something"),
                measured(3, size="9×9", at_most=1, why="each call costs something"),
                measured(3, size="5×5", at_most=1),
                measured(1, size="7×7", memory=2**23, why_memory="it keeps both"),
                measured(1, size="8×8", at_most=1, why="not asked for", why_memory="nor this"),
                measured(4, size="2×2", library="kornia", direction="with backward", why="it is"),
                measured(4, size="1×1", times_limit=1000, why="nor this, of so small a size"),
                measured(3, size="1×2", why="nor this, of a ratio that is no larger"),
            ),
        )
    )
    assert (
        "conv2d 3×3, forward, 1 thread and 2 threads; conv2d 9×9, forward, 1 thread – misses its"
        " goal: each call costs something."
    ) in words
    assert "conv2d 5×5, forward, 1 thread – misses its goal: no reason is known yet." in words
    assert "conv2d 7×7, forward – needs more than twice the memory: it keeps both." in words
    assert (
        "conv2d 2×2, kornia, with backward, 1 thread – takes more than 3 times as long: it is."
    ) in words
    assert "not asked for" not in words
    assert "nor this" not in words


def test_the_picture_places_each_measurement(build: Build) -> None:
    html = runs_page(
        build,
        record(
            measured(0.1, 2, at_most=1),
            measured(10, 2, size="<1>", at_most=1),
            measured(1, 2, size="2"),
        ),
    )
    picture = html[html.index('<figure class="benchmark-picture"') : html.index("<figcaption>")]
    marks = re.findall(r'<b class="(\w+)" style="left:([\d.]+)%;.*?" title="(.*?)">', picture)
    assert marks == [
        ("kept", "0.0", "conv2d 3×3, forward: 0.1 times torch"),
        ("free", "50.0", "conv2d 2, forward: 1 times torch"),
        ("missed", "100.0", "conv2d &lt;1&gt;, forward: 10 times torch"),
    ]
    assert re.findall(r"<span.*?>(.*?)</span>", picture) == ["0.1", "1", "10"]
    assert 'role="img" aria-label="Our time divided by the twin' in picture


def test_marks_that_would_cover_each_other_stand_in_lanes(build: Build) -> None:
    runs = [measured(ratio, size=str(n)) for n, ratio in enumerate((1.01, 0.005, 1, 1.02, 30))]
    html = runs_page(build, record(*runs))
    assert re.findall(r"left:([\d.]+)%;--lane:(\d)", html) == [
        ("5.0", "0"), ("62.5", "0"), ("62.6", "1"), ("62.7", "2"), ("99.4", "0"),
    ]  # fmt: skip
    assert '<dd style="--lanes:3">' in html
    assert "<dt>One</dt>" in html
    assert re.findall(r"<span style=.*?>(.*?)</span>", html) == [
        "0.003", "0.01", "0.1", "1", "10", "30",
    ]  # fmt: skip


def test_several_devices_follow_each_other(build: Build) -> None:
    quick = record(
        measured(1), quick=True, **{"left out": {"nms 9, OpenCV": "it computes on the CPU"}}
    )
    words = text(runs_page(build, record(measured(1)), quick))
    assert words.count("Recorded on 2026-01-02") == 2
    assert "A quick run" in words
    assert "Left out of this run: nms 9, OpenCV (it computes on the CPU)." in words


def test_without_a_record_the_page_says_so(build: Build) -> None:
    assert "No run has been recorded yet." in text(runs_page(build))


# --- the map, and facts -------------------------------------------------------------------------


def test_the_map_links_what_stands(build: Build) -> None:
    book = build('```{chapter-map}\nPart:\n  one: [First, "it is"]\n  two: [Next, "to be"]\n```')
    assert book.warnings == ""
    standing, coming = re.findall(r"<li.*?</li>", book.page()[book.page().index("chapter-map") :])[
        :2
    ]
    assert 'href="part/one.html"' in standing
    assert text(standing).split() == ["First", "it", "is"]
    assert 'class="coming"' in coming
    assert "href" not in coming


def test_a_table_without_column_names_has_row_headers(build: Build) -> None:
    page = build("| | |\n|---|---|\n| Time | an hour |\n\n| a | b |\n|---|---|\n| c | d |").page()
    facts, other = re.findall(r"<table.*?</table>", page, re.DOTALL)
    assert "<thead>" not in facts
    assert re.search(r'<th class="stub"><p>Time', facts)
    assert "<thead>" in other
    assert "stub" not in other


# --- what is shipped ----------------------------------------------------------------------------


def test_only_named_files_are_shipped(build: Build) -> None:
    static = build("").html / "_static"
    mathjax = {p.relative_to(static / "mathjax").as_posix() for p in static.rglob("mathjax/**/*.*")}
    assert mathjax == set(course_site.MATHJAX_FILES)
    for pattern in course_site.UNUSED_ASSETS:
        assert list(static.glob(pattern)) == []


def test_the_root_leads_on(build: Build) -> None:
    page = (build("").html / "index.html").read_text("utf-8")
    assert 'content="0; url=book/index.html"' in page
    assert "<title>A tiny book</title>" in page
