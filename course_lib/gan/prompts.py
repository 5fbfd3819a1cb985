"""From words to numbers: what may be asked for, and a small network that reads it.

Equations: (gan-slant), (gan-ink).

Sources:
    Hu, "Visual pattern recognition by moment invariants", 1962: moments of a picture.
    Reed et al., "Generative adversarial text to image synthesis", 2016: a picture from a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course_lib.checking import describe, expect_int, expect_shape, expect_tensor

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SLANTED, UPRIGHT = ("slanted", "leaning"), ("upright", "straight")
THIN, BOLD = ("thin", "fine"), ("bold", "thick")
WORDS = ("a", "an", *DIGITS, *"0123456789", *SLANTED, *UPRIGHT, *THIN, *BOLD)
"""all that a prompt may hold; the number of a word is its place here, from 1"""

_NUMBERS = {word: number for number, word in enumerate(WORDS, 1)}


class Attributes(NamedTuple):
    """How digits were written, ``Tensor[N]`` each."""

    slant: Tensor
    """pixels to the right for each pixel up; equation (gan-slant)"""
    ink: Tensor
    """mean of all pixels; equation (gan-ink)"""


def tokenize(prompts: str | Sequence[str]) -> Tensor:
    """Give each word its number, and fill up with 0 behind the shorter prompts.

    Args:
        prompts: one text or several, each of at least one word of `WORDS`, in capitals or not.
    Returns:
        ``Tensor[N, L]``, int64, where the longest has ``L`` words.
    Raises:
        TypeError: if it is no text.
        ValueError: if there is no prompt, one is empty, or a word is not known; the known ones are
            listed.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    if not texts:
        raise ValueError("prompts: expected at least one, got none")
    rows = [_numbers(text) for text in texts]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


class PromptEncoder(nn.Module):
    """Turns a tokenized prompt into a vector: the sum of its words' vectors, then a layer.

    The order of the words does not count; what they mean together is for the layer to say.

    Args:
        embedding_dim: length of the words' vectors, and of the result.
    """

    def __init__(self, embedding_dim: int = 16) -> None:
        super().__init__()
        self.embedding_dim = expect_int("embedding_dim", embedding_dim, minimum=1)
        self.words = nn.EmbeddingBag(len(WORDS) + 1, embedding_dim, mode="sum", padding_idx=0)
        self.linear = nn.Linear(embedding_dim, embedding_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``Tensor[N, L]`` of `tokenize` to ``Tensor[N, embedding_dim]``."""
        return torch.relu(self.linear(self.words(tokens)))


def attributes(images: Tensor) -> Attributes:
    """Measure how digits lean, by their second moments, and how much ink they took.

    With the ink as weight, x to the right and y up from its centre, the slant is the mean of ``xy``
    divided by that of ``y²``: the slope of the line that fits the rows' middles best. Equations
    (gan-slant) and (gan-ink).

    Args:
        images: ``Tensor[N, 1, H, W]``, floating, 1 where the pen was.
    Returns:
        slant and ink; a picture without ink, or with all of it in one row, has slant 0.
    """
    expect_tensor("images", images, ndim=4, floating=True)
    expect_shape("images", images, (None, 1, None, None))
    ink = images[:, 0]  # (N, H, W)
    height, width = ink.shape[1:]
    total = ink.sum((1, 2))  # (N,)
    share = ink / total.where(total > 0, 1)[:, None, None]
    x = torch.arange(width, dtype=ink.dtype, device=ink.device)  # (W,)
    y = -torch.arange(height, dtype=ink.dtype, device=ink.device)[:, None]  # (H, 1), upwards
    x = x - (share * x).sum((1, 2))[:, None, None]  # (N, 1, W)
    y = y - (share * y).sum((1, 2))[:, None, None]  # (N, H, 1)
    along, up = (share * x * y).sum((1, 2)), (share * y.square()).sum((1, 2))
    return Attributes(along / up.where(up > 0, 1), ink.mean((1, 2)))


def prompts_for(
    labels: Tensor, measured: Attributes, generator: torch.Generator | None = None
) -> list[str]:
    """Write a prompt that is true of each picture.

    "Slanted" is the third of a digit's pictures that lean most to the right, "upright" the third
    that do least; "thin" and "bold" are so by their ink. A digit is compared with its like, because
    a seven leans more than a zero by nature. What could be said is said every second time.

    Args:
        labels: ``Tensor[N]``, int64, 0 to 9.
        measured: of the same pictures, what `attributes` returns.
        generator: draws the words, on the CPU; torch's own if it is left out.
    Returns:
        N texts, such as ``"7"``, ``"seven"`` or ``"a thin slanted seven"``.
    Raises:
        TypeError, ValueError: if the labels are of another kind, or not one for each picture.
    """
    expect_tensor("labels", labels, ndim=1)
    if labels.is_floating_point() or not bool(((labels >= 0) & (labels <= 9)).all()):
        raise ValueError(f"labels: expected integers from 0 to 9, got {describe(labels)}")
    for name, value in measured._asdict().items():
        expect_shape(f"measured.{name}", value, labels.shape)
    leaning = _thirds(labels, measured.slant).tolist()
    inked = _thirds(labels, measured.ink).tolist()
    drawn = torch.rand(len(labels), 6, generator=generator).tolist()
    return [
        _prompt(*row)
        for row in zip(labels.tolist(), leaning, inked, drawn, strict=True)
    ]  # fmt: skip


def _prompt(label: int, leaning: int, inked: int, drawn: list[float]) -> str:
    words = []
    if inked and drawn[0] < 0.5:
        words.append((THIN if inked < 0 else BOLD)[drawn[1] < 0.5])
    if leaning and drawn[2] < 0.5:
        words.append((UPRIGHT if leaning < 0 else SLANTED)[drawn[3] < 0.5])
    words.append(DIGITS[label] if drawn[4] < 0.5 else str(label))
    if len(words) > 1 or (drawn[4] < 0.5 and drawn[5] < 0.5):
        words.insert(0, "an" if words[0] in ("eight", "8", "upright") else "a")
    return " ".join(words)


def _thirds(labels: Tensor, values: Tensor) -> Tensor:
    """-1, 0 or 1: whether a value lies in the lowest, middle or highest third of its label's."""
    thirds = torch.zeros_like(labels)
    for label in range(10):
        own = values.where(labels == label, torch.nan)
        low, high = own.nanquantile(values.new_tensor([1 / 3, 2 / 3]))
        thirds += (own > high).long() - (own < low).long()  # nothing is above or below NaN
    return thirds


def _numbers(text: str) -> Tensor:
    if not isinstance(text, str):
        raise TypeError(f"prompts: expected texts, got {describe(text)}")
    words = text.lower().split()
    if not words:
        raise ValueError("prompts: expected at least one word in each, got an empty text")
    for word in words:
        if word not in _NUMBERS:
            raise ValueError(f"prompts: expected words among {', '.join(WORDS)}; got {word!r}")
    return torch.tensor([_NUMBERS[word] for word in words])
