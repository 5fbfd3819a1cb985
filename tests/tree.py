"""A copy of the project's own files, for tests that change some of them."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What is made, fetched or recorded, and so no part of the project's text.
_MADE = shutil.ignore_patterns(
    ".git", ".venv", "_build", ".cache", "dist", "results", "__pycache__", ".*_cache",
    ".hypothesis", ".ipynb_checkpoints",
)  # fmt: skip


def copy_tree(target: Path) -> Path:
    """Copy the project into ``target``, a folder that does not exist yet, and return it."""
    shutil.copytree(ROOT, target, ignore=_MADE)
    return target


def chapters() -> list[Path]:
    """Every notebook of the book, sorted."""
    found = (ROOT / "book").rglob("*.ipynb")
    return sorted(path for path in found if path.parent.name != ".ipynb_checkpoints")
