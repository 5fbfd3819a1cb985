"""What a chapter shows of the library: the source itself, without its docstrings."""

from __future__ import annotations

import math

import pytest

from course_lib.listing import listing


def half(number: float) -> float:
    """Return half of a number."""
    return number / 2  # exact


class Counter:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0

    def up(self) -> int:
        """Count one more."""
        self.count += 1
        return self.count


HALF = "def half(number: float) -> float:\n    return number / 2  # exact"
UP = "def up(self) -> int:\n    self.count += 1\n    return self.count"


def test_a_function_loses_its_docstring_only() -> None:
    assert repr(listing(half)) == HALF


def test_functions_stand_apart_and_a_method_names_its_class() -> None:
    assert repr(listing(half, Counter.up)) == f"{HALF}\n\n\n# in class Counter\n{UP}"


def test_a_class_is_shown_whole() -> None:
    code = repr(listing(Counter))
    assert code.startswith("class Counter:\n\n    def __init__")
    assert "in class" not in code


def test_a_function_within_a_function_has_no_class() -> None:
    def inner() -> int:
        return 1

    assert repr(listing(inner)) == "def inner() -> int:\n    return 1"


def test_a_notebook_shows_it_as_python() -> None:
    assert listing(half)._repr_markdown_() == f"```python\n{HALF}\n```"


def test_what_has_no_source_is_refused() -> None:
    with pytest.raises(TypeError):
        listing(math.sqrt)
