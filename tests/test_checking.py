"""What a wrong argument gets: its name, what was expected, and what came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_int,
    expect_number,
    expect_pair,
    expect_shape,
    expect_tensor,
)
from support import CUDA, fake_cuda

ZEROS = torch.zeros(2, 3)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (ZEROS, "a tensor of shape (2, 3) and dtype torch.float32 on cpu"),
        (None, "None"),
        (1.5, "1.5 (float)"),
        ("same", "'same' (str)"),
        (True, "True (bool)"),
    ],
)
def test_describes_values_in_a_few_words(value: Any, words: str) -> None:
    assert describe(value) == words


@pytest.mark.parametrize(
    "check",
    [
        lambda: expect_tensor("x", ZEROS),
        lambda: expect_tensor("x", ZEROS, ndim=2, floating=True),
        lambda: expect_tensor("x", ZEROS.half(), ndim=(1, 2), floating=True),
        lambda: expect_tensor("x", ZEROS.long(), ndim=2),
        lambda: expect_alike(x=ZEROS, y=None, z=torch.zeros(1)),
        lambda: expect_alike(x=None, y=ZEROS),
        lambda: expect_shape("x", ZEROS, (2, 3)),
        lambda: expect_shape("x", ZEROS, (None, 3)),
        lambda: expect_shape("x", torch.zeros(()), ()),
        lambda: expect_choice("mode", "a", iter(["a", "b"])),
    ],
)
def test_right_arguments_pass(check: Callable[[], None]) -> None:
    check()


TENSOR = r"a tensor of shape \(2, 3\) and dtype torch.(float32|int64) on cpu"


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (lambda: expect_tensor("x", [1]), TypeError, r"x: expected a tensor, got \[1\] \(list\)"),
        (
            lambda: expect_tensor("x", ZEROS.long(), floating=True),
            TypeError,
            f"x: expected a floating dtype, got {TENSOR}",
        ),
        (
            lambda: expect_tensor("x", ZEROS, ndim=(3, 4)),
            ValueError,
            f"x: expected 3 or 4 dimensions, got {TENSOR}",
        ),
        (
            lambda: expect_tensor("x", ZEROS, ndim=1),
            ValueError,
            f"x: expected 1 dimensions, got {TENSOR}",
        ),
        (
            lambda: expect_alike(x=ZEROS.double(), y=None, z=ZEROS),
            TypeError,
            f"z: expected torch.float64 like x, got {TENSOR}",
        ),
        (
            lambda: expect_shape("x", ZEROS, (None, 4)),
            ValueError,
            rf"x: expected shape \(any, 4\), got {TENSOR}",
        ),
        (
            lambda: expect_shape("x", ZEROS, (2, 3, 1)),
            ValueError,
            rf"x: expected shape \(2, 3, 1\), got {TENSOR}",
        ),
        (
            lambda: expect_choice("mode", "c", "ab"),
            ValueError,
            r"mode: expected one of 'a', 'b', got 'c' \(str\)",
        ),
    ],
)
def test_wrong_arguments_are_named(
    check: Callable[[], None], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}$"):
        check()


def test_devices_must_be_one() -> None:
    with (
        fake_cuda(),
        pytest.raises(ValueError, match=r"y: expected device cpu like x, got .*cuda:0"),
    ):
        expect_alike(x=torch.zeros(1), y=torch.zeros(1, device=CUDA))


def test_integers_are_returned() -> None:
    assert expect_int("n", 3, minimum=3) == 3


@pytest.mark.parametrize("value", [True, 1.0, "1", None, ZEROS, (1,)])
def test_only_integers_are_integers(value: Any) -> None:
    with pytest.raises(TypeError, match="n: expected an integer >= 0, got "):
        expect_int("n", value, minimum=0)


def test_integers_have_a_minimum() -> None:
    with pytest.raises(ValueError, match=r"^n: expected an integer >= 1, got 0 \(int\)$"):
        expect_int("n", 0, minimum=1)


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1])
def test_numbers(value: float) -> None:
    assert expect_number("p", value, minimum=0, maximum=1) is value


@pytest.mark.parametrize("value", [True, "1", None, ZEROS, (1,), 1j])
def test_only_numbers_are_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^p: expected a finite number, got "):
        expect_number("p", value)


@pytest.mark.parametrize("value", [-0.1, 1.0, 2, float("nan"), float("inf"), -float("inf")])
def test_numbers_have_bounds(value: float) -> None:
    with pytest.raises(ValueError, match=r"^p: expected a finite number >= 0 < 1, got "):
        expect_number("p", value, minimum=0, below=1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"^p: expected a finite number, got "):
        expect_number("p", value)


@pytest.mark.parametrize(
    ("value", "pair"), [(2, (2, 2)), ((1, 2), (1, 2)), ([3, 4], (3, 4)), ((5,), (5, 5))]
)
def test_pairs(value: Any, pair: tuple[int, int]) -> None:
    assert expect_pair("k", value, minimum=0) == pair


def test_shapes_are_pairs_too() -> None:
    assert expect_pair("k", ZEROS.shape, minimum=0) == (2, 3)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ((), ValueError),
        ((1, 2, 3), ValueError),
        ((1, 0), ValueError),
        ((0, 1), ValueError),
        ((1, 1.0), TypeError),
        ("12", TypeError),
        (1.0, TypeError),
        (None, TypeError),
    ],
)
def test_no_pairs(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^k: expected .*, got "):
        expect_pair("k", value, minimum=1)
