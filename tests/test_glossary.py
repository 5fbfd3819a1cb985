"""The glossary: every term that a chapter asks to remember, and each explained where it says so."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from course_site import term_anchor
from support import TOPICS
from test_formulas import text_of
from test_notebooks import two_sentences_in
from tree import ROOT, chapters

Glossary = dict[str, dict[str, Any]]

TERMS: Glossary = yaml.safe_load((ROOT / "book/reference/glossary.yml").read_text("utf-8"))
PAGES = {path.stem: path for path in [*chapters(), *ROOT.glob("book/reference/*.md")]}
FIELDS = {"zh", "in", "is"}, {"also", "as"}  # what a term has, and what it may have
LONGEST = 160  # characters of a definition


def remembered(path: Path) -> list[str]:
    """What a chapter sets in bold where it says what to remember."""
    cells = json.loads(path.read_text("utf-8"))["cells"]
    (cell,) = (cell for cell in cells if cell["id"] == "remember")
    return re.findall(r"\*\*(.+?)\*\*", "".join(cell["source"]), re.S)


def forms_of(terms: Glossary) -> dict[str, str]:
    """The term that each form belongs to, in small letters."""
    return {
        form.casefold(): name
        for name, entry in terms.items()
        for form in (name, *entry.get("also", []), *entry.get("as", []))
    }


def says(text: str, name: str, entry: dict[str, Any]) -> bool:
    """Whether a text speaks of a term, in any of its forms."""
    forms = (name, *entry.get("also", []), *entry.get("as", []))
    either = "|".join(re.escape(form) for form in forms)
    return re.search(rf"(?<!\w)(?:{either})(?!\w)", text, re.I) is not None


@cache
def words_of(page: str) -> str:
    return " ".join(text_of(PAGES[page]).replace("*", "").split())


def is_whole(terms: Glossary) -> Iterator[str]:
    needed, allowed = FIELDS
    for name, entry in terms.items():
        if not needed <= set(entry) <= needed | allowed:
            yield f"{name}: expected {sorted(needed)}, got {sorted(entry)}"
            continue
        if entry["zh"] != name and not re.search(r"[\u4e00-\u9fff]", entry["zh"]):
            yield f"{name}: expected Chinese, or the name itself, got {entry['zh']!r}"
        words = entry["is"]
        if not re.match(r"[A-Z]", words) or words[-1] != "." or list(two_sentences_in(words)):
            yield f"{name}: expected one sentence, got {words!r}"
        if len(words) > LONGEST:
            yield f"{name}: expected at most {LONGEST} characters, got {len(words)}"


def has_each_form_once(terms: Glossary) -> Iterator[str]:
    forms = [
        form.casefold()
        for name, entry in terms.items()
        for form in (name, *entry.get("also", []), *entry.get("as", []))
    ]
    anchors = [term_anchor(name) for name in terms]
    for twice in sorted({form for form in forms if forms.count(form) > 1}):
        yield f"{twice}: expected it once"
    for twice in sorted({anchor for anchor in anchors if anchors.count(anchor) > 1}):
        yield f"{twice}: expected an anchor of its own"


def is_explained(terms: Glossary) -> Iterator[str]:
    for name, entry in terms.items():
        for page in entry["in"]:
            if page not in PAGES:
                yield f"{name}: expected a chapter, got {page!r}"
            elif not says(words_of(page), name, entry):
                yield f"{name}: expected {page} to speak of it"


@pytest.mark.parametrize("rule", [is_whole, has_each_form_once, is_explained])
def test_glossary(rule) -> None:
    assert list(rule(TERMS)) == []


@pytest.mark.parametrize("topic", TOPICS)
def test_what_to_remember_is_in_the_glossary(topic: str) -> None:
    forms = forms_of(TERMS)
    missing = [term for term in remembered(PAGES[topic]) if term.casefold() not in forms]
    assert missing == []


@pytest.mark.parametrize("topic", TOPICS)
def test_every_chapter_explains_terms(topic: str) -> None:
    if remembered(PAGES[topic]):
        assert [name for name, entry in TERMS.items() if topic in entry["in"]]


def test_the_terms_of_the_field_are_there() -> None:
    forms = forms_of(TERMS)
    wanted = (
        "convolution, receptive field, pooling, ReLU, softmax, cross-entropy, gradient descent,"
        " backpropagation, overfitting, transfer learning, fine-tuning, classification, detection,"
        " segmentation, IoU, NMS, anchor, RoI pooling, RPN, R-CNN, Fast R-CNN, Faster R-CNN, SSD,"
        " YOLO, mAP, ImageNet"
    )
    assert [term for term in wanted.split(", ") if term.casefold() not in forms] == []


# --- the rules find what is wrong -----------------------------------------------------------------

STRIDE = {"zh": "步幅", "in": ["convolution"], "is": "How far a kernel moves."}


@pytest.mark.parametrize(
    ("rule", "change", "complaint"),
    [
        (is_whole, {"zh": "stride size"}, "expected Chinese"),
        (is_whole, {"is": "A step. A long one."}, "expected one sentence"),
        (is_whole, {"is": "a step."}, "expected one sentence"),
        (is_whole, {"is": "A step"}, "expected one sentence"),
        (is_whole, {"is": f"A {'long ' * 40}step."}, "expected at most"),
        (is_whole, {"alos": ["strides"]}, "expected ['in', 'is', 'zh'], got"),
        (has_each_form_once, {"also": ["Kernel"]}, "kernel: expected it once"),
        (is_explained, {"in": ["convolutoin"]}, "expected a chapter, got 'convolutoin'"),
        (is_explained, {"in": ["references"]}, "expected references to speak of it"),
    ],
)
def test_a_wrong_entry_is_found(rule, change: dict[str, Any], complaint: str) -> None:
    kernel = {"zh": "卷积核", "in": ["convolution"], "is": "A grid of weights."}
    assert list(rule({"stride": STRIDE, "kernel": kernel})) == []
    assert complaint in "\n".join(rule({"stride": STRIDE | change, "kernel": kernel}))


def test_two_terms_need_two_anchors() -> None:
    assert list(has_each_form_once({"A-B": STRIDE, "A B": STRIDE})) == [
        "term-a-b: expected an anchor of its own"
    ]


def test_forms_are_not_guessed() -> None:
    terms = {"stride": STRIDE}
    assert set(forms_of(terms)) == {"stride"}
    assert not says("He strides on; a bestride.", "stride", STRIDE)
    assert says("He strides on.", "stride", STRIDE | {"also": ["strides"]})
