"""What one entry of the ledger is, and what the chapters' entries draw their cases with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

Pairs = Callable[[torch.Generator, torch.device], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True)
class Formula:
    """One labelled equation of the book.

    Args:
        label: the equation's label, as `{eq}` takes it.
        statement: what it says, in one line.
        implementation: dotted name of the function that implements it.
        reference: what it is checked against, in words.
        pairs: draws cases; yields ``(ours, reference)`` for each, in float64.

    An equation that only gives something a name has no implementation, reference or pairs.
    """

    label: str
    statement: str
    implementation: str = ""
    reference: str = ""
    pairs: Pairs | None = None

    @property
    def definition(self) -> bool:
        """Whether the equation only defines a name."""
        return self.pairs is None


@dataclass(frozen=True)
class Measurement:
    """The largest error found for one equation on one device."""

    label: str
    device: str
    error: float
    cases: int


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """Largest difference over the reference's largest value, or over 1 if that is smaller.

    Raises:
        ValueError: if the shapes differ, or either holds NaN.
    """
    if ours.shape != reference.shape:
        raise ValueError(f"ours: expected shape {tuple(reference.shape)}, got {tuple(ours.shape)}")
    ours, reference = ours.detach().cpu().double(), reference.detach().cpu().double()
    if ours.isnan().any() or reference.isnan().any():
        raise ValueError("expected numbers on both sides, got NaN")
    if ours.numel() == 0:
        return 0.0
    return ((ours - reference).abs().max() / reference.abs().max().clamp(min=1)).item()


def normal(generator: torch.Generator, device: torch.device, *shape: int) -> Tensor:
    """Standard normal numbers in float64, drawn on the CPU and moved to the device."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(device)


def number(generator: torch.Generator, low: int, high: int) -> int:
    """A random integer, both ends included."""
    return int(torch.randint(low, high + 1, (), generator=generator))
