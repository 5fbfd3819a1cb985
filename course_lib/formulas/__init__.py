"""The ledger: every numbered equation of the book, where it is implemented, and how it is checked.

Each chapter with equations has a module here that lists them as ``FORMULAS``, in its own order.
An entry's `pairs` draws random cases and yields, for each, what the course computes and what an
independent reference gives: a call of torch, scipy or another library, an analytic value, or
automatic differentiation. From the ledger come the page `reference/formulas` and a test.

The same modules say what each symbol of those equations means, as ``SYMBOLS``. From these come the
page `reference/notation` and its tests.

Cases are drawn on the CPU and moved, so that each device is tried on the same numbers.
The libraries that serve as references are imported where they are used.
"""

from __future__ import annotations

import importlib
import pkgutil

import torch

from course_lib.device import available_devices
from course_lib.formulas.entry import (
    Formula,
    Measurement,
    Sense,
    Symbols,
    normal,
    number,
    relative_error,
)

__all__ = [
    "LEDGER",
    "SYMBOLS",
    "TOLERANCE",
    "Formula",
    "Measurement",
    "Sense",
    "Symbols",
    "measure",
    "normal",
    "number",
    "relative_error",
]

TOLERANCE = 1e-10
"""Largest relative error that counts as agreement, in float64."""


_CHAPTERS = {
    module.name: importlib.import_module(f"{__name__}.{module.name}")
    for module in pkgutil.iter_modules(__path__)
    if module.name != "entry"
}

LEDGER: tuple[Formula, ...] = tuple(
    formula for chapter in _CHAPTERS.values() for formula in chapter.FORMULAS
)
"""Every labelled equation of the book, chapter by chapter."""

SYMBOLS: dict[str, Symbols] = {
    name: getattr(chapter, "SYMBOLS", {}) for name, chapter in _CHAPTERS.items()
}
"""What the symbols mean, in each chapter."""


def measure(seed: int = 0, devices: list[torch.device] | None = None) -> list[Measurement]:
    """Check every equation of the ledger on every device that has float64; see `Measurement`."""
    if devices is None:
        devices = [device for device in available_devices() if device.type != "mps"]
    measurements = []
    for formula in LEDGER:
        if formula.pairs is None:
            continue
        for device in devices:
            generator = torch.Generator().manual_seed(seed)
            errors = [relative_error(*pair) for pair in formula.pairs(generator, device)]
            measurements.append(Measurement(formula.label, device.type, max(errors), len(errors)))
    return measurements
