"""The ledger: every numbered equation of the book, where it is implemented, and how it is checked.

Each chapter with equations has a module here that lists them as ``FORMULAS``, in its own order.
An entry's `pairs` draws random cases and yields, for each, what the course computes and what an
independent reference gives: a call of torch, scipy or another library, an analytic value, or
automatic differentiation. From the ledger come the page `reference/formulas` and a test.

Cases are drawn on the CPU and moved, so that each device is tried on the same numbers.
The libraries that serve as references are imported where they are used.
"""

from __future__ import annotations

import importlib
import pkgutil

import torch

from course_lib.device import available_devices
from course_lib.formulas.entry import Formula, Measurement, normal, number, relative_error

__all__ = [
    "LEDGER",
    "TOLERANCE",
    "Formula",
    "Measurement",
    "measure",
    "normal",
    "number",
    "relative_error",
]

TOLERANCE = 1e-10
"""Largest relative error that counts as agreement, in float64."""


def _collect() -> tuple[Formula, ...]:
    chapters = (module.name for module in pkgutil.iter_modules(__path__) if module.name != "entry")
    modules = [importlib.import_module(f"{__name__}.{name}") for name in chapters]
    return tuple(formula for module in modules for formula in module.FORMULAS)


LEDGER: tuple[Formula, ...] = _collect()
"""Every labelled equation of the book, chapter by chapter."""


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
