"""What the chapters' entries are: a formula, a symbol; and what formulas draw their cases with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
class Sense:
    """One meaning of a symbol that has several in its chapter.

    Args:
        meaning: what it means here, in a few words.
        said: words of the chapter, with the symbol in them, that give it this meaning.
        equations: labels of the equations in which it means this.
    """

    meaning: str
    said: str
    equations: tuple[str, ...] = ()


Symbols = Mapping[str, str | tuple[Sense, ...]]
"""What each symbol of a chapter means: in a few words, or, if it means several things, by senses.

A key is LaTeX: one symbol, or several with commas between them that share the words. A symbol
with a subscript, such as ``k_h``, is one of its own only where it is declared like that.
"""


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
