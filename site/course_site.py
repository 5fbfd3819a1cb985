"""What the website needs beyond Jupyter Book: pages made by the build, and nothing from elsewhere.

Six directives fill pages from what the build knows: ``formula-ledger`` (every equation, its
implementation, and the error found now), ``notation`` (every symbol, and what it means where),
``course-glossary`` (every term), ``execution-times`` (how long each chapter ran),
``benchmark-runs`` (how fast each operation is beside its twins; in `benchmark_page`) and
``chapter-map`` (which chapters stand, and which are planned). When the pages are written, the
part of MathJax that they use is added, and the files that no page asks for are taken away.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from docutils import nodes
from sphinx.addnodes import glossary, pending_xref
from sphinx.application import Sphinx
from sphinx.domains.math import MathDomain
from sphinx.domains.std import StandardDomain
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from latex_symbols import GREEK, Symbol, parse, symbols_in

logger = logging.getLogger(__name__)

# What MathJax asks for on the pages of the book. A test says so when a formula needs another font
# ("404"), or when one is shipped that no formula uses.
MATHJAX_FONTS = (
    "Calligraphic-Regular",
    "Main-Regular",
    "Math-Italic",
    "Size1-Regular",
    "Size2-Regular",
    "Size3-Regular",
    "Size4-Regular",
    "Zero",
)
MATHJAX_FILES = (
    "tex-chtml.js",
    *(f"output/chtml/fonts/woff-v2/MathJax_{font}.woff" for font in MATHJAX_FONTS),
)

# What themes and extensions bring along and no page asks for.
UNUSED_ASSETS = (
    "**/*.map",
    "**/*.LICENSE.txt",
    "**/*.ttf",
    "**/fa-regular-400.woff2",
    "landing.png",  # the landing page has it from _images
    "images/logo_binder.svg",
    "images/logo_deepnote.svg",
    "images/logo_jupyter*.svg",
    "locales",
    "sbt-webpack-macros.html",
    "scripts/fontawesome.js",
    "webpack-macros.html",
)

# The site's root leads to the landing page, which stands where its source stands.
REDIRECT = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="0; url={target}">
<title>{title}</title>
<link rel="canonical" href="{target}">
</head>
<body><main><h1><a href="{target}">{title}</a></h1></main></body>
</html>
"""


# --- tables -------------------------------------------------------------------------------------

Row = tuple[nodes.entry, ...]


def make_table(
    head: Sequence[str], rows: Iterable[Row], kind: str, *, name_rows: bool = True
) -> nodes.table:
    """Lay out a table whose first row and first column are headers.

    Args:
        head: the columns' names.
        rows: their cells; see `cell`.
        kind: the table's class, for its style.
        name_rows: whether the first column holds headers; a formula alone is none.
    """
    group = nodes.tgroup(cols=len(head))
    stubs = [int(name_rows and column == 0) for column in range(len(head))]
    group += [nodes.colspec(colwidth=1, stub=stub) for stub in stubs]
    group += nodes.thead("", nodes.row("", *(cell(name) for name in head)))
    group += nodes.tbody("", *(nodes.row("", *row) for row in rows))
    return nodes.table("", group, classes=[kind])


def cell(*content: str | nodes.Node, columns: int = 1) -> nodes.entry:
    """A table's cell with one paragraph of text and inline nodes, as wide as so many columns."""
    parts = (nodes.Text(part) if isinstance(part, str) else part for part in content)
    spread = {"morecols": columns - 1} if columns > 1 else {}
    return nodes.entry("", nodes.paragraph("", "", *parts), **spread)


def _reference(
    domain: str, kind: str, target: str, title: nodes.Node | None = None
) -> pending_xref:
    """A cross-reference that Sphinx will resolve, and report if it leads nowhere."""
    shown = title if title is not None else nodes.inline(target, target)
    return pending_xref(
        "",
        shown,
        refdomain=domain,
        reftype=kind,
        reftarget=target,
        refexplicit=title is not None,
        refwarn=True,
    )


# --- chapters and their equations ---------------------------------------------------------------


def reading_order(env: BuildEnvironment) -> list[str]:
    """Every document of the book, in the order of its table of contents."""
    found: list[str] = []

    def walk(document: str) -> None:
        if document not in found:
            found.append(document)
            for inner in env.toctree_includes.get(document, []):
                walk(inner)

    walk(env.config.root_doc)
    return found


def document_of(env: BuildEnvironment, chapter: str) -> str | None:
    """The document of a chapter or a page of reference, by its one name."""
    return next((d for d in sorted(env.found_docs) if d.rpartition("/")[2] == chapter), None)


def equations_of(env: BuildEnvironment, document: str) -> dict[str, str]:
    """The labelled equations of a document, by label, in its order."""
    blocks = env.get_doctree(document).findall(nodes.math_block)
    return {block["label"]: block.astext() for block in blocks if block.get("label")}


def short_title(env: BuildEnvironment, document: str) -> str:
    """A document's title, as far as the colon."""
    return env.titles[document].astext().partition(":")[0]


def chapter_section(env: BuildEnvironment, document: str) -> nodes.section:
    """An empty section about a chapter, under a link to it."""
    name, title = document.rpartition("/")[2], short_title(env, document)
    shown = nodes.inline(title, title)
    heading = nodes.title("", "", _reference("std", "doc", f"/{document}", shown))
    return nodes.section("", heading, ids=[name])


def list_sections(app: Sphinx, document: nodes.document) -> None:
    """Name in the page's own contents the sections that were made after it was read."""
    TocTreeCollector().process_doc(app, document)


class ChapterLink(nodes.Inline, nodes.Element):
    """Stands for a link to a chapter, of which only the name is known, until all are read."""


class FillChapterLinks(SphinxPostTransform):
    """Gives each link to a chapter its title, as far as the colon."""

    default_priority = 6  # before Sphinx resolves references, after what makes such links

    def run(self, **_: Any) -> None:
        """Replace the links of this page."""
        for place in list(self.document.findall(ChapterLink)):
            document = document_of(self.env, place["chapter"])
            if document is None:
                logger.warning("expected a chapter of this name, got %s", place["chapter"])
                place.replace_self(nodes.Text(place["chapter"]))
                continue
            title = short_title(self.env, document)
            shown = nodes.inline(title, title)
            place.replace_self(_reference("std", "doc", f"/{document}", shown))


# --- the formula ledger -------------------------------------------------------------------------


class LedgerPlace(nodes.General, nodes.Element):
    """Stands for the ledger until every chapter has been read."""


class FormulaLedger(SphinxDirective):
    """``{formula-ledger}``: every equation of the book and what it was checked against."""

    def run(self) -> list[nodes.Node]:
        """Leave a place for the ledger."""
        return [LedgerPlace()]


class FillFormulaLedger(SphinxPostTransform):
    """Measures every equation and lays out the ledger, a section for each chapter."""

    default_priority = 5  # before Sphinx resolves references

    def run(self, **_: Any) -> None:
        """Replace the places left on this page."""
        for place in list(self.document.findall(LedgerPlace)):
            self.env.get_domain("math").data["has_equations"][self.env.docname] = True
            place.replace_self(self._sections())
            list_sections(self.app, self.document)

    def _sections(self) -> list[nodes.section]:
        formulas = importlib.import_module("course_lib.formulas")
        measured: dict[str, list[Any]] = {}
        for measurement in formulas.measure():
            measured.setdefault(measurement.label, []).append(measurement)
            if not measurement.error <= formulas.TOLERANCE:  # written so that NaN warns too
                logger.warning(
                    "equation %s: expected an error of at most %g, got %g on %s",
                    measurement.label,
                    formulas.TOLERANCE,
                    measurement.error,
                    measurement.device,
                )
        chapters: dict[str, list[Any]] = {}
        equations = cast(MathDomain, self.env.get_domain("math")).equations
        for formula in formulas.LEDGER:
            if formula.label in equations:
                chapters.setdefault(equations[formula.label][0], []).append(formula)
            else:
                logger.warning("formula %s: expected an equation of this label", formula.label)
        found: list[nodes.section] = []
        for document in sorted(chapters, key=reading_order(self.env).index):
            latex = equations_of(self.env, document)  # in the order of their numbers
            place = {label: number for number, label in enumerate(latex)}
            rows = [
                row
                for formula in sorted(chapters[document], key=lambda entry: place[entry.label])
                for row in self._rows(
                    formula, latex[formula.label], measured.get(formula.label, [])
                )
            ]
            head = ("Implemented by", "Checked against", "Largest error")
            section = chapter_section(self.env, document)
            section += make_table(head, rows, "formula-ledger")
            found.append(section)
        return found

    def _rows(self, formula: Any, latex: str, measured: Sequence[Any]) -> list[Row]:
        """Two rows: the equation, and below it what stands behind it."""
        equation = cell(_reference("math", "eq", formula.label), f" {formula.statement}", columns=3)
        equation += nodes.math_block(latex, latex, nowrap=False, number=None, label=None)
        if formula.definition:
            return [(equation,), (cell("Stated, not checked here", columns=3),)]
        errors: list[str | nodes.Node] = []
        for found in measured:
            words = f" on {found.device.upper()}, {found.cases} cases"
            errors += [", " if errors else "", *format_error(found.error), words]
        source = self._source_link(formula.implementation)
        return [(equation,), (cell(source), cell(formula.reference), cell(*errors))]

    def _source_link(self, dotted: str) -> nodes.reference:
        """A link to the function in the repository."""
        source, line = source_of(dotted)
        name = dotted.rpartition(".")[2]
        options = self.config.html_theme_options
        address = f"{options['repository_url']}/blob/{options['repository_branch']}/{source}"
        shown = nodes.literal(name, name)
        return nodes.reference("", "", shown, refuri=f"{address}#L{line}", internal=False)


def source_of(dotted: str) -> tuple[str, int]:
    """The file in which a function is written, from the checkout's root, and the line of its name.

    A package only passes on what its modules define, so its name does not tell the file.
    """
    module_name, _, name = dotted.rpartition(".")
    function = inspect.unwrap(getattr(importlib.import_module(module_name), name))
    root = Path(importlib.import_module("course_lib").__path__[0]).parent
    path = Path(cast(str, inspect.getsourcefile(function)))
    lines, first = inspect.getsourcelines(function)  # from its decorators on
    before = next(n for n, line in enumerate(lines) if line.startswith(("def ", "class ")))
    return path.relative_to(root).as_posix(), first + before


def format_error(error: float) -> list[nodes.Node]:
    """Write a relative error as a power of ten: 0 as it is, 2.3e-16 as 2 × 10 to the −16."""
    if error == 0 or not math.isfinite(error):
        return [nodes.Text(f"{error:g}")]
    mantissa, exponent = f"{error:.0e}".split("e")
    power = str(int(exponent)).replace("-", "−")
    return [nodes.Text(f"{mantissa} × 10"), nodes.superscript(power, power)]


# --- the notation -------------------------------------------------------------------------------


class NotationPlace(nodes.General, nodes.Element):
    """Stands for a table of symbols until every chapter has been read."""


class Notation(SphinxDirective):
    """``{notation} latin``, ``greek`` or ``names``: those symbols, and what they mean where."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Leave a place for the table."""
        (kind,) = self.arguments
        if kind not in _KINDS:
            raise self.error(f"expected one of {', '.join(_KINDS)}, got {kind!r}")
        return [NotationPlace(kind=kind)]


_KINDS = ("latin", "greek", "names")
Where = tuple[str, str]  # a chapter, and the label of its first equation with the symbol


class FillNotation(SphinxPostTransform):
    """Gathers the symbols of all chapters and lays them out."""

    default_priority = 5

    def run(self, **_: Any) -> None:
        """Replace the places left on this page."""
        places = list(self.document.findall(NotationPlace))
        found = self._gather() if places else {}
        for place in places:
            self.env.get_domain("math").data["has_equations"][self.env.docname] = True
            shown = [symbol for symbol in found if kind_of(symbol) == place["kind"]]
            rows = [
                (cell(nodes.math(str(symbol), str(symbol))), _meanings(found[symbol]))
                for symbol in sorted(shown, key=place_in_the_alphabet)
            ]
            place.replace_self(
                make_table(("Symbol", "Meaning, and where"), rows, "notation", name_rows=False)
            )

    def _gather(self) -> dict[Symbol, dict[str, list[Where]]]:
        """What each symbol means, and where; the same words are one meaning."""
        tables = importlib.import_module("course_lib.formulas").SYMBOLS
        found: dict[Symbol, dict[str, list[Where]]] = {}
        names = {document.rpartition("/")[2]: document for document in reading_order(self.env)}
        for missing in sorted(set(tables) - set(names)):
            logger.warning("symbols of %s: expected a chapter of this name", missing)
        for chapter, document in names.items():
            declared = {
                parse(one): meant
                for key, meant in tables.get(chapter, {}).items()
                for one in key.split(", ")
            }
            first: dict[Symbol, str] = {}
            for label, latex in equations_of(self.env, document).items() if declared else ():
                for symbol in symbols_in(latex, declared):
                    first.setdefault(symbol, label)
            for symbol, meant in declared.items():
                senses = (
                    [(meant, first.get(symbol, ""))]
                    if isinstance(meant, str)
                    else [(sense.meaning, next(iter(sense.equations), "")) for sense in meant]
                )
                for meaning, label in senses:
                    found.setdefault(symbol, {}).setdefault(meaning, []).append((chapter, label))
        return found


def kind_of(symbol: Symbol) -> str:
    """To which of the tables a symbol belongs."""
    if symbol.base.lower() in GREEK:
        return "greek"
    return "names" if len(symbol.base) > 1 and symbol.base != "ell" else "latin"


def place_in_the_alphabet(symbol: Symbol) -> tuple[Any, ...]:
    """Letters in the order of their alphabet, a small one first, what is written around it last."""
    letter = symbol.base.lower()
    at = GREEK.index(letter) if letter in GREEK else "l" if letter == "ell" else letter
    plain = symbol.nucleus in (symbol.base, rf"\{symbol.base}")
    return (at, letter == "ell", symbol.base != letter, not plain, str(symbol).lower())


def _meanings(found: dict[str, list[Where]]) -> nodes.entry:
    """A cell with a paragraph for each meaning, and after it where it is meant."""
    entry = nodes.entry()
    for meaning, places in found.items():
        where = nodes.inline("", "", classes=["where"])
        for chapter, label in places:
            where += nodes.Text(", " if len(where) else "")
            where += ChapterLink(chapter=chapter)
            where += [nodes.Text(" "), _reference("math", "eq", label)] if label else []
        entry += nodes.paragraph("", "", *_with_formulas(meaning), nodes.Text(" "), where)
    return entry


def _with_formulas(text: str) -> Iterator[nodes.Node]:
    """Text in which formulas stand between dollars."""
    for number, part in enumerate(text.split("$")):
        if part:
            yield nodes.math(part, part) if number % 2 else nodes.Text(part)


# --- the glossary -------------------------------------------------------------------------------


class Chinese(nodes.Inline, nodes.TextElement):
    """Words in Chinese, marked as such, for fonts and for those who read pages aloud."""


def open_chinese(translator: Any, node: nodes.Element) -> None:
    """Write its start tag."""
    translator.body.append(translator.starttag(node, "span", "", lang="zh-Hans"))


def close_chinese(translator: Any, node: nodes.Element) -> None:
    """Write its end tag."""
    translator.body.append("</span>")


class CourseGlossary(SphinxDirective):
    """``{course-glossary} file.yml``: the terms of a file beside the page, letter by letter.

    The file is YAML: ``term: {zh: in Chinese, in: [chapters], is: a sentence, also: [forms]}``,
    where ``also`` may be missing. ``{term}`` takes a term or one of its other forms.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Lay out a section for each letter."""
        relative, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        terms: dict[str, dict[str, Any]] = yaml.safe_load(Path(path).read_text("utf-8"))
        sections: dict[str, nodes.section] = {}
        for name in sorted(terms, key=str.casefold):
            letter = name[0].upper()
            if letter not in sections:
                listed = nodes.definition_list(classes=["glossary"])
                title = nodes.title(letter, letter)
                section = nodes.section(
                    "", title, glossary("", listed, sorted=False), ids=[f"letter-{letter}"]
                )
                sections[letter] = section
            next(sections[letter].findall(nodes.definition_list)).append(
                self._item(name, **terms[name])
            )
        return list(sections.values())

    def _item(self, name: str, **entry: Any) -> nodes.definition_list_item:
        anchor = term_anchor(name)
        term = nodes.term("", "", nodes.Text(name), ids=[anchor])
        if entry["zh"] != name:
            chinese = Chinese(entry["zh"], entry["zh"], classes=["chinese"])
            term += [nodes.Text(" "), chinese]
        domain = cast(StandardDomain, self.env.get_domain("std"))
        for form in (name, *entry.get("also", [])):
            domain.note_object("term", form, anchor, location=self.get_location())
        (paragraph,) = self.parse_text_to_nodes(entry["is"])
        where = nodes.inline("", "", classes=["where"])
        for chapter in entry["in"]:
            where += nodes.Text(", " if len(where) else "")
            where += ChapterLink(chapter=chapter)
        cast(nodes.Element, paragraph).extend([nodes.Text(" "), where])
        return nodes.definition_list_item("", term, nodes.definition("", paragraph))


def term_anchor(name: str) -> str:
    """The anchor of a term of the glossary: ``term-max-pooling``."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


# --- execution times ----------------------------------------------------------------------------


class ExecutionTimes(SphinxDirective):
    """``{execution-times}``: how long each chapter ran, from ``execution.json``."""

    def run(self) -> list[nodes.Node]:
        """Lay out the table, or say why there is none."""
        report = Path(self.env.srcdir, "execution.json")
        self.env.note_dependency(str(report))
        if not report.exists():
            text = "This page was built without the project's build command, which times chapters."
            return [nodes.note("", nodes.paragraph(text, text))]
        runs = json.loads(report.read_text("utf-8"))
        rows: list[Row] = [
            (
                cell(ChapterLink(chapter=run["document"].rpartition("/")[2])),
                cell(f"{run['seconds']:.1f} s"),
                cell(f"{run['undisturbed_s']:.1f} s"),
                cell(f"{run['budget_s']:g} s"),
                cell(f"{run['peak_mib']:.0f} MiB"),
                cell(_status(run)),
            )
            for run in runs
        ]
        total = (
            cell("Together"),
            cell(f"{sum(run['seconds'] for run in runs):.1f} s"),
            cell(f"{sum(run['undisturbed_s'] for run in runs):.1f} s"),
            cell(f"{sum(run['budget_s'] for run in runs):g} s"),
            cell(f"{max((run['peak_mib'] for run in runs), default=0):.0f} MiB at most"),
            cell(""),
        )
        rows.append(total)
        head = ["Chapter", "Time", "Undisturbed", "Budget", "Peak memory", "Status"]
        if not any(_status(run) for run in runs):  # a column that would be empty
            head, rows = head[:-1], [row[:-1] for row in rows]
        ran = sum(not run["cached"] for run in runs)
        text = f"{ran} of {len(runs)} chapters ran in this build."
        return [make_table(head, rows, "execution-times"), nodes.paragraph(text, text)]


def _status(run: dict[str, Any]) -> str:
    """Say what went wrong in a chapter's run, if anything did."""
    if run["status"] != "ok":
        return str(run["status"])
    return "over its budget" if run["undisturbed_s"] > run["budget_s"] else ""


# --- the map of chapters ------------------------------------------------------------------------


class ChapterMap(SphinxDirective):
    """``{chapter-map}``: the plan of the book, with links to the chapters that stand.

    Its content is YAML: ``part: {chapter: [title, what it is about]}``; the chapter's document
    is ``book/<part>/<chapter>``.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Lay out the parts side by side."""
        plan: dict[str, dict[str, list[str]]] = yaml.safe_load("\n".join(self.content))
        columns = [
            nodes.container(
                "",
                nodes.rubric(part, part),
                nodes.bullet_list("", *(self._item(part, *item) for item in chapters.items())),
            )
            for part, chapters in plan.items()
        ]
        return [nodes.container("", *columns, classes=["chapter-map"])]

    def _item(self, part: str, name: str, words: list[str]) -> nodes.list_item:
        title, about = words
        document = f"book/{part.lower()}/{name}"
        shown = nodes.inline(title, title)
        about_node = nodes.inline(about, about, classes=["chapter-about"])
        if document in self.env.found_docs:
            link = _reference("std", "doc", f"/{document}", shown)
            return nodes.list_item("", nodes.paragraph("", "", link, nodes.Text(" "), about_node))
        paragraph = nodes.paragraph("", "", shown, nodes.Text(" "), about_node)
        return nodes.list_item("", paragraph, classes=["coming"])


# --- tables without column names ----------------------------------------------------------------


class NameFacts(SphinxTransform):
    """Turns a table whose column names are all empty into one whose first column names the rows.

    Markdown has no other way to write a list of facts, and an empty header says nothing.
    """

    default_priority = 500

    def apply(self, **_: Any) -> None:
        """Mend the tables of this page."""
        for table in self.document.findall(nodes.table):
            head = next(table.findall(nodes.thead), None)
            if head is not None and not head.astext().strip():
                head.parent.remove(head)
                next(table.findall(nodes.colspec))["stub"] = 1
                table["classes"].append("facts")


# --- what is shipped ----------------------------------------------------------------------------


def use_local_mathjax(app: Sphinx, config: Any) -> None:
    """Let the pages take MathJax from the site, and no menu that would need the rest of it."""
    config.mathjax_path = "mathjax/tex-chtml.js"
    config.mathjax3_config = {"options": {"enableMenu": False}}


def mend_roles(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Call a reference an item of its list; the role that docutils writes is deprecated."""
    if "body" in context:
        context["body"] = context["body"].replace(' role="doc-biblioentry"', ' role="listitem"')


def finish_assets(app: Sphinx, exception: Exception | None) -> None:
    """Add the files of MathJax in use, remove what nobody asks for, lead from the root."""
    if exception is not None or app.builder.format != "html":
        return
    output, static = Path(app.outdir), Path(app.outdir, "_static")
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("expected the package sphinx-mathjax-offline, found none")
    for name in MATHJAX_FILES:
        copy = static / "mathjax" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path(spec.origin).parent / "static" / "mathjax" / name, copy)
    for pattern in UNUSED_ASSETS:
        for path in list(static.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    target = app.builder.get_target_uri(app.config.root_doc)
    text = REDIRECT.format(target=target, title=app.config.html_title)
    (output / "index.html").write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all of it with Sphinx."""
    # Jupyter Book sets this one for sphinx-comments, which the site does without
    app.add_config_value("comments_config", {}, "html")
    for place in (ChapterLink, LedgerPlace, NotationPlace):
        app.add_node(place)
    app.add_node(Chinese, html=(open_chinese, close_chinese))
    app.add_directive("formula-ledger", FormulaLedger)
    app.add_directive("notation", Notation)
    app.add_directive("course-glossary", CourseGlossary)
    app.add_directive("execution-times", ExecutionTimes)
    app.add_directive("chapter-map", ChapterMap)
    app.setup_extension("benchmark_page")
    app.add_transform(NameFacts)
    app.add_post_transform(FillFormulaLedger)
    app.add_post_transform(FillNotation)
    app.add_post_transform(FillChapterLinks)
    app.connect("config-inited", use_local_mathjax)
    app.connect("html-page-context", mend_roles)
    app.connect("build-finished", finish_assets, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
