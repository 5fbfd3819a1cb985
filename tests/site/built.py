"""The built site: where it is and what pages it has."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
WIDE, NARROW = (1280, 800), (390, 844)  # a small laptop's window, and a phone's, in pixels


def pages() -> list[str]:
    """Every page, as a path below the site's root, sorted; not the root, which only leads on."""
    found = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")}
    return sorted(found - {"index.html"})


def chapter_pages() -> list[str]:
    """The pages that were notebooks."""
    return [name for name in pages() if re.fullmatch(r"book/(?!reference/)\w+/\w+\.html", name)]


def notebooks() -> list[str]:
    """The chapters' notebooks, as paths below the project's root, sorted."""
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("book/*/*.ipynb"))


def figures() -> list[tuple[str, int]]:
    """Every touchable figure: its page, and which one it is there, counted from 0."""
    return [
        (name, number)
        for name in chapter_pages()
        for number in range((SITE / name).read_text("utf-8").count('<div class="course-figure"'))
    ]
