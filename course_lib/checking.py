"""What a wrong argument gets: one sentence that says what was expected and what came.

Every public function of the course checks its arguments at the door with these helpers,
so that a mistake is reported where it was made, by name, and not three calls further in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


def describe(value: Any) -> str:
    """Say in a few words what a value is, for the second half of an error message."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype} on {value.device}"
    if value is None:
        return "None"
    return f"{value!r} ({type(value).__name__})"


def expect_tensor(
    name: str,
    value: Any,
    *,
    ndim: int | Sequence[int] | None = None,
    floating: bool = False,
) -> None:
    """Raise unless ``value`` is a tensor of the expected rank and kind.

    Args:
        name: the argument's name, as the caller wrote it.
        ndim: the number of dimensions, or several that are allowed; ``None`` allows any.
        floating: whether the dtype must be floating.
    Raises:
        TypeError: if ``value`` is no tensor, or its dtype is of the wrong kind.
        ValueError: if its number of dimensions is wrong.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: expected a tensor, got {describe(value)}")
    if floating and not value.is_floating_point():
        raise TypeError(f"{name}: expected a floating dtype, got {describe(value)}")
    if ndim is not None:
        allowed = (ndim,) if isinstance(ndim, int) else tuple(ndim)
        if value.ndim not in allowed:
            wanted = " or ".join(str(n) for n in allowed)
            raise ValueError(f"{name}: expected {wanted} dimensions, got {describe(value)}")


def expect_alike(**tensors: Tensor | None) -> None:
    """Raise unless all tensors share one dtype and one device; ``None`` values are left out.

    Raises:
        TypeError: if one is no tensor, or two dtypes differ.
        ValueError: if two devices differ.
    """
    given = [(name, value) for name, value in tensors.items() if value is not None]
    for name, value in given:
        expect_tensor(name, value)
    first_name, first = given[0]
    for name, value in given[1:]:
        if value.dtype != first.dtype:
            raise TypeError(
                f"{name}: expected {first.dtype} like {first_name}, got {describe(value)}"
            )
        if value.device != first.device:
            raise ValueError(
                f"{name}: expected device {first.device} like {first_name}, got {describe(value)}"
            )


def expect_shape(name: str, value: Tensor, shape: Sequence[int | None]) -> None:
    """Raise ``ValueError`` unless ``value`` has this shape; ``None`` allows any length there."""
    fits = value.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(f"{name}: expected shape {wanted}, got {describe(value)}")


def expect_int(name: str, value: Any, *, minimum: int) -> int:
    """Return ``value`` as an ``int``, or raise if it is none or smaller than ``minimum``.

    Raises:
        TypeError: if ``value`` is not an integer (``bool`` and ``float`` are not).
        ValueError: if it is smaller than ``minimum``.
    """
    if isinstance(value, bool) or not isinstance(value, int | torch.SymInt):
        raise TypeError(f"{name}: expected an integer >= {minimum}, got {describe(value)}")
    if value < minimum:
        raise ValueError(f"{name}: expected an integer >= {minimum}, got {describe(value)}")
    return value  # type: ignore[return-value]  # a SymInt stands for an int while tracing


def expect_number(
    name: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    below: float = math.inf,
) -> float:
    """Return ``value``, or raise if it is no finite number from ``minimum`` to ``maximum``.

    Args:
        below: a bound that itself is out of range.
    Raises:
        TypeError: if ``value`` is neither an ``int`` nor a ``float``.
        ValueError: if it is out of range, infinite or NaN.
    """
    wanted = "a finite number"
    for sign, bound in ((">=", minimum), ("<=", maximum), ("<", below)):
        if math.isfinite(bound):
            wanted += f" {sign} {bound}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name}: expected {wanted}, got {describe(value)}")
    # Compared, and not asked of `math.isfinite`, which stops a compiler's trace.
    if not (minimum <= value <= maximum and value < below and -math.inf < value < math.inf):
        raise ValueError(f"{name}: expected {wanted}, got {describe(value)}")
    return value


def expect_pair(name: str, value: Any, *, minimum: int) -> tuple[int, int]:
    """Return ``value`` as a pair ``(vertical, horizontal)``; one integer stands for both.

    Raises:
        TypeError: if it is neither an integer nor a pair of them.
        ValueError: if it has another length or an entry smaller than ``minimum``.
    """
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) not in (1, 2):
            raise ValueError(f"{name}: expected one integer or a pair, got {describe(value)}")
        vertical, horizontal = value[0], value[-1]
    else:
        vertical = horizontal = value
    return (
        expect_int(name, vertical, minimum=minimum),
        expect_int(name, horizontal, minimum=minimum),
    )


def expect_choice(name: str, value: Any, choices: Iterable[Any]) -> None:
    """Raise ``ValueError`` unless ``value`` is one of the choices, and list them."""
    choices = list(choices)
    if value not in choices:
        wanted = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name}: expected one of {wanted}, got {describe(value)}")


def expect_in_range(name: str, indices: Tensor, classes: int) -> None:
    """Raise ``IndexError`` for an index out of range, where looking does not mean waiting."""
    if indices.device.type != "cpu" or torch.compiler.is_compiling() or indices.numel() == 0:
        return
    low, high = (int(index) for index in indices.aminmax())
    if low < 0 or high >= classes:
        raise IndexError(
            f"{name}: expected class indices from 0 to {classes - 1}, got {low} to {high}"
        )
