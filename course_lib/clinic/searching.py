"""Where is it? Halve what is left: a history, or the case that fails.

`bisect` implements the search that equation (clinic-bisection) counts.

Source: Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002: the
algorithm ddmin, here `shrink`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from course_lib.checking import expect_int

Item = TypeVar("Item")


def bisect_loops(is_bad: Callable[[int], bool], count: int) -> int:
    """Find the first bad one of a row by asking one after the other.

    Arguments, result and errors are those of `bisect`.
    """
    for index in range(expect_int("count", count, minimum=1) - 1):
        if is_bad(index):
            return index
    return count - 1


def bisect(is_bad: Callable[[int], bool], count: int) -> int:
    """Find the first bad one of a row; asks at most (clinic-bisection) questions.

    Args:
        is_bad: whether the one with this index is bad; once one is, all later ones must be.
        count: how many there are; the last is known to be bad, and not asked about.
    Returns:
        its index, from 0.
    Raises:
        TypeError, ValueError: if ``count`` is no integer of at least 1.
    """
    low, high = 0, expect_int("count", count, minimum=1) - 1
    while low < high:
        middle = (low + high) // 2
        if is_bad(middle):
            high = middle
        else:
            low = middle + 1
    return low


def shrink_loops(fails: Callable[[list[Item]], bool], case: Sequence[Item]) -> list[Item]:
    """Make a failing case small by leaving out one item after the other.

    Arguments, result and errors are those of `shrink`.
    """
    left = _failing(fails, case)
    index = 0
    while index < len(left) and len(left) > 1:
        rest = left[:index] + left[index + 1 :]
        left, index = (rest, 0) if fails(rest) else (left, index + 1)
    return left


def shrink(fails: Callable[[list[Item]], bool], case: Sequence[Item]) -> list[Item]:
    """Make a failing case small, in large bites first and then in smaller ones.

    Args:
        fails: whether a part of the case, a list in the same order, still fails.
        case: the items of a case that fails.
    Returns:
        a part that fails, of one item or more; without any one of several it does not.
    Raises:
        ValueError: if the case does not fail to begin with.
    """
    left, pieces = _failing(fails, case), 2
    while len(left) > 1:
        bounds = [len(left) * k // pieces for k in range(pieces + 1)]
        parts = [left[a:b] for a, b in pairwise(bounds)]
        rests = [left[:a] + left[b:] for a, b in pairwise(bounds)]
        if (part := _first(fails, parts)) is not None:
            left, pieces = part, 2
        elif pieces > 2 and (rest := _first(fails, rests)) is not None:
            left, pieces = rest, pieces - 1
        elif pieces < len(left):
            pieces = min(2 * pieces, len(left))
        else:
            break
    return left


def _failing(fails: Callable[[list[Item]], bool], case: Sequence[Item]) -> list[Item]:
    if not fails(list(case)):
        raise ValueError(f"case: expected one that fails, got one of {len(case)} that does not")
    return list(case)


def _first(fails: Callable[[list[Item]], bool], cases: list[list[Item]]) -> list[Item] | None:
    return next((case for case in cases if fails(case)), None)
