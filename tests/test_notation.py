"""The notation: every symbol of the book has a meaning, and no chapter gives it two in silence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from course_lib.formulas import SYMBOLS
from course_lib.formulas.entry import Sense, Symbols
from latex_symbols import GREEK, SIGNS, Symbol, math_in, parse, symbols_in
from support import TOPICS
from test_formulas import labels_of_book, text_of
from tree import ROOT, chapters

# --- the rules ------------------------------------------------------------------------------------

_LABELLED = re.compile(r"\$\$(.*?)\$\$(?:[ \t]*\(([^)\s]+)\))?", re.S)


def equations_in(markdown: str) -> dict[str, str]:
    """The labelled equations of a text, by label."""
    return {label: latex for latex, label in _LABELLED.findall(markdown) if label}


def declared_in(symbols: Symbols) -> dict[Symbol, str | tuple[Sense, ...]]:
    """What a chapter's table says, by symbol; a key may hold several."""
    return {parse(one): said for key, said in symbols.items() for one in key.split(", ")}


def undeclared(markdown: str, symbols: Symbols) -> Iterator[str]:
    """Symbols of labelled equations that the table does not have."""
    declared = declared_in(symbols)
    for label, latex in equations_in(markdown).items():
        for symbol in sorted({s.nucleus for s in symbols_in(latex, declared) if s not in declared}):
            yield f"{label}: {symbol}: expected a meaning in SYMBOLS"


def unused(markdown: str, symbols: Symbols) -> Iterator[str]:
    """Entries of the table that occur nowhere in the chapter's mathematics."""
    declared = declared_in(symbols)
    used = {s for latex in math_in(markdown) for s in symbols_in(latex, declared)}
    for symbol in declared:
        if symbol not in used:
            yield f"{symbol}: in SYMBOLS, and not in the chapter"


def silent(markdown: str, symbols: Symbols) -> Iterator[str]:
    """Symbols with several senses of which the text does not say which is meant where."""
    declared = declared_in(symbols)
    text = " ".join(markdown.split())
    equations = equations_in(markdown)
    for symbol, senses in declared.items():
        if isinstance(senses, str):
            continue
        if len(senses) < 2:
            yield f"{symbol}: expected two senses or more, got {len(senses)}"
        for sense in senses:
            if sense.said not in text:
                yield f"{symbol}: expected the chapter to say {sense.said!r}"
            if symbol not in {s for m in math_in(sense.said) for s in symbols_in(m, declared)}:
                yield f"{symbol}: expected words that name it, got {sense.said!r}"
        claimed = [label for sense in senses for label in sense.equations]
        holding = [la for la, latex in equations.items() if symbol in symbols_in(latex, declared)]
        for label in sorted({*claimed} | {*holding}):
            if label not in holding:
                yield f"{symbol}: a sense names {label}, which does not hold it"
            elif claimed.count(label) != 1:
                yield f"{symbol}: expected one sense for {label}, got {claimed.count(label)}"


RULES = [undeclared, unused, silent]


@cache
def chapter_text(topic: str) -> str:
    (path,) = (path for path in chapters() if path.stem == topic)
    return text_of(path)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_symbols_of(topic: str, rule) -> None:
    assert list(rule(chapter_text(topic), SYMBOLS[topic])) == []


@pytest.mark.parametrize("topic", TOPICS)
def test_every_labelled_equation_is_read(topic: str) -> None:
    wanted = labels_of_book(ROOT / "book")[topic]
    assert sorted(equations_in(chapter_text(topic))) == sorted(wanted)


@pytest.mark.parametrize("topic", TOPICS)
def test_meanings_are_short_and_plain(topic: str) -> None:
    for key, said in SYMBOLS[topic].items():
        for meaning in [said] if isinstance(said, str) else [sense.meaning for sense in said]:
            assert 0 < len(meaning) <= 100, key
            assert meaning.count("$") % 2 == 0, key
            # two meanings are two senses, and no list
            assert not re.search(r"[.,]$|[;\n]", meaning), key
            # words for several symbols are shown beside each, so they must fit each
            assert ", " not in key or " and " not in meaning, key
    keys = [one for key in SYMBOLS[topic] for one in key.split(", ")]
    assert len({parse(one) for one in keys}) == len(keys)


def test_signs_are_explained_once_for_all() -> None:
    page = (ROOT / "book" / "reference" / "notation.md").read_text("utf-8")
    # a table's cell cannot hold a bar
    shown = re.findall(r"\\[A-Za-z]+|\\\|", " ".join(math_in(page)).replace(r"\lVert", r"\|"))
    texts = [chapter_text(topic) for topic in TOPICS]
    used = " ".join(latex for text in texts for latex in equations_in(text).values())
    known_from_school = {
        *(r"\approx", r"\arctan", r"\cos", r"\ge", r"\infty", r"\le", r"\ne", r"\pi", r"\pm"),
        *(r"\sin", r"\to"),
    }
    signs = {rf"\{sign}" for sign in SIGNS} & set(re.findall(r"\\[A-Za-z]+|\\\|", used))
    assert signs - known_from_school <= set(shown)


# --- the rules find what is wrong -----------------------------------------------------------------

TEXT = r"""
Let $x$ be a number.

$$ y = x + b_1 $$ (eq-one)

Here $x$ is a place.

$$ z = x $$ (eq-two)
"""
TWO = (Sense("a number", "Let $x$ be", ("eq-one",)), Sense("a place", "Here $x$ is", ("eq-two",)))
RIGHT: dict[str, str | tuple[Sense, ...]] = {"x": TWO, "y, z": "results", "b": "a bias"}


def complaints(symbols: Symbols) -> list[str]:
    return [words for rule in RULES for words in rule(TEXT, symbols)]


def test_a_right_table_passes() -> None:
    assert complaints(RIGHT) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"b": None}, "eq-one: b: expected a meaning"),
        ({"q": "a letter"}, "in SYMBOLS, and not in the chapter"),
        ({r"\hat x": "an estimate"}, "in SYMBOLS, and not in the chapter"),
        ({"b_2": "another"}, "in SYMBOLS, and not in the chapter"),
        ({"x": TWO[:1]}, "expected two senses or more, got 1"),
        ({"x": (TWO[0], Sense("a place", "Now $x$ is", ("eq-two",)))}, "expected the chapter to"),
        ({"x": (TWO[0], Sense("a place", "is a place", ("eq-two",)))}, "words that name it"),
        ({"x": (TWO[0], Sense("a place", "Here $x$ is"))}, "one sense for eq-two, got 0"),
        (
            {"x": (TWO[0], Sense("a place", "Here $x$ is", ("eq-one", "eq-two")))},
            "one sense for eq-one, got 2",
        ),
        (
            {"x": (TWO[0], Sense("a place", "Here $x$ is", ("eq-two", "eq-three")))},
            "a sense names eq-three",
        ),
    ],
)
def test_a_wrong_table_is_found(change: dict, complaint: str) -> None:
    spoilt = {key: said for key, said in {**RIGHT, **change}.items() if said is not None}
    assert complaint in "\n".join(complaints(spoilt))


def test_a_new_symbol_in_a_chapter_is_found() -> None:
    text = chapter_text("convolution")
    spoilt = text.replace("K(i, j)\\, I(y + i", "\\zeta K(i, j)\\, I(y + i", 1)
    assert spoilt != text
    (found,) = undeclared(spoilt, SYMBOLS["convolution"])
    assert r"\zeta" in found


# --- the reader of LaTeX --------------------------------------------------------------------------


def names(latex: str, *declared: str) -> set[str]:
    return {str(symbol) for symbol in symbols_in(latex, [parse(one) for one in declared])}


@pytest.mark.parametrize(
    ("latex", "declared", "found"),
    [
        ("a + 2 b", (), {"a", "b"}),
        (r"\alpha x^2 \beta", (), {r"\alpha", "x", r"\beta"}),
        (r"x_{i,j}^k", (), {"x", "i", "j", "k"}),
        (r"\frac1N \sum_{n=1}^{N} x_n", (), {"N", "n", "x"}),
        (r"\hat x + \hat{x}_i + \tilde\mu", (), {r"\hat{x}", "i", r"\tilde{\mu}"}),
        (r"\mathrm{IoU}(b) + \mathrm{AP}", (), {r"\mathrm{IoU}", "b", r"\mathrm{AP}"}),
        (r"\operatorname{relu}(x)", (), {r"\mathrm{relu}", "x"}),
        (r"\operatorname*{arg\,min}_k f", (), {"k", "f"}),
        (r"\mathcal F + \mathcal{F}", (), {r"\mathcal{F}"}),
        (r"v \text{ if } x \ge 0", (), {"v", "x"}),
        (r"\begin{cases} a & b\\[2pt] c \end{cases}", (), {"a", "b", "c"}),
        (r"\left\lfloor \frac{\ell}{s} \right\rfloor", (), {r"\ell", "s"}),
        (r"\log e^{x} \cdot \pi", (), {"e", "x"}),
        ("k_h k_i", ("k_h", "k", "i"), {"k_{h}", "k", "i"}),
        ("k_{hw}", ("k_h",), {"k", "h", "w"}),
        ("r_l r_{l-1} r_{l,n} r_{m}", ("r_l",), {"r_{l}", "n", "r", "m"}),
        (r"n_\mathrm{in}", (r"n_\mathrm{in}",), {r"n_{\mathrm{in}}"}),
        (r"n_\mathrm{in}", (), {"n", r"\mathrm{in}"}),
        ("Y' + Y + Z'", ("Y'", "Y"), {"Y'", "Y", "Z"}),
        ("x_2'", ("x_2",), {"x_{2}"}),
        ("p^*_n + p_n + p_m", ("p^*_n", "p_n"), {"p_{n}^{*}", "p_{n}", "p", "m"}),
        ("c^a_k", ("c",), {"c", "a", "k"}),
        ("F_{1,c}", ("F_1",), {"F_{1}", "c"}),
        (r"\bar v_{\mathrm{last}}", (r"\bar v",), {r"\bar{v}", r"\mathrm{last}"}),
        (r"I_\text{sharp}", (r"I_\text{sharp}", "I"), {r"I_{\text{sharp}}"}),
        (r"\overline{\mathcal F(K)}", (), {r"\mathcal{F}", "K"}),
        (r"\int f(x)\, dx + \iint g\, dx\, dy", (), {"f", "g", "x", "y"}),
        (r"d \, x", (), {"d", "x"}),
    ],
)  # fmt: skip
def test_symbols_are_read(latex: str, declared: tuple[str, ...], found: set[str]) -> None:
    assert names(latex, *declared) == found


@pytest.mark.parametrize("letter", [*GREEK, "Gamma", "Omega"])
def test_greek_letters_are_symbols(letter: str) -> None:
    assert names(rf"\{letter}") == (set() if letter == "pi" else {rf"\{letter}"})


def test_an_unknown_command_is_no_silence() -> None:
    with pytest.raises(ValueError, match=r"got '\\\\beth'"):
        list(symbols_in(r"\beth + 1"))


@pytest.mark.parametrize("latex", ["", "1", "a b", r"\sum"])
def test_what_is_declared_is_one_symbol(latex: str) -> None:
    with pytest.raises(ValueError, match="expected one symbol"):
        parse(latex)


def test_mathematics_is_told_from_code() -> None:
    text = "a $x$ and\n\n$$\ny\n$$ (eq-a)\n\n`$z$` and\n\n```sh\necho $A $B\n```\n\nand $w$"
    assert [latex.strip() for latex in math_in(text)] == ["x", "y", "w"]


def test_a_chapter_without_a_table_is_found(tmp_path: Path) -> None:
    cells = [{"cell_type": "markdown", "source": "$$ a = b $$ (new-one)"}]
    page = tmp_path / "new.ipynb"
    page.write_text(json.dumps({"cells": cells}))
    assert len(list(undeclared(text_of(page), {}))) == 2
