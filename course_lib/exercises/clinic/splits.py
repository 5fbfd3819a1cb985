"""The checks of the chapter `clinic`: a patient whose validation set is no such thing."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib import classification
from course_lib.exercises import Case, Mistake, Watched, draw

# --- 14: near-duplicates on both sides, and a seed for another generator --------------------------

SHARES = (0.75, 0.25)
Split = Sequence[Tensor]


def _split(images: Tensor, distance: float, seed: int) -> Split:
    return _split_like()(images, distance, seed)


def _chance(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _other_chance(seed: int) -> torch.Generator:
    """Seeded from another generator: what is drawn here has nothing to do with the seed."""
    return torch.Generator().manual_seed(random.getrandbits(62))


def _groups(images: Tensor, distance: float) -> Tensor:
    return classification.near_duplicates(images, distance)


def _each_alone(images: Tensor, distance: float) -> Tensor:
    return torch.arange(len(images))


def _split_like(
    chance: Callable[[int], torch.Generator] = _chance,
    groups: Callable[[Tensor, float], Tensor] = _groups,
    shares: Sequence[float] = SHARES,
    change: Callable[[Tensor, Tensor, Tensor], Split] = lambda train, validation, groups: (
        train,
        validation,
    ),
) -> Callable[..., Split]:
    """A split by groups; the options are what can go wrong."""

    def answer(images: Tensor, distance: float, seed: int) -> Split:
        of = groups(images, distance)
        train, validation = classification.grouped_split(of, shares, generator=chance(seed))
        return change(train, validation, of)

    return answer


def _firsts(rows: Tensor, groups: Tensor) -> Tensor:
    """One picture of each group."""
    return rows[groups[rows] == rows]


def _split_cases(generator: torch.Generator) -> Iterator[Case]:
    """Chains of pictures, each near the next; the chains lie far apart, and are mixed."""
    for count in (60, 80):
        places = 8 * torch.randperm(400, generator=generator)[:count].double()
        chains = []
        for number, place in enumerate(places):
            steps = torch.arange(1 + number % 4).double()  # up to four pictures in a chain
            chains.append(place + 0.5 * steps)
        middle = torch.cat(chains)
        middle = middle[torch.randperm(len(middle), generator=generator)]
        images = torch.zeros(len(middle), 1, 2, 2).double()
        images[:, 0, 0, 0] = middle
        images[:, 0, 1, 1] = draw(generator, 1, 8)
        yield images, 0.75, draw(generator, 0, 1000)


def _divided(ask: Any, images: Tensor, distance: float, seed: int) -> dict[str, Any]:
    """What must hold of any good split, of which there are many."""
    with torch.random.fork_rng(devices=[]):
        first, again, *others = [
            _rows(ask(images, distance, chosen)) for chosen in (seed, seed, seed + 1, seed + 2)
        ]
    train, validation = first
    share = len(validation) / max(1, len(train) + len(validation))
    return {
        "every picture is in one part": sorted([*train, *validation]) == [*range(len(images))],
        "near-duplicates on both sides": bool(_leaks(images, distance, first)),
        "validation": _about(share),
        "same seed, same parts": first == again,
        "another seed, other parts": any(first != other for other in others),
    }


def _about(share: float) -> str:
    """A share in words, so that chance does not decide what a wrong answer is told."""
    limits = {0.1: "hardly any", 0.4: "about a quarter", 0.6: "about a half", 1.0: "most"}
    return next(words for limit, words in limits.items() if share <= limit)


def _rows(parts: Any) -> list[list[int]]:
    """The two parts as sorted lists of whole numbers."""
    train, validation = (
        torch.as_tensor(list(part) if isinstance(part, set) else part) for part in parts
    )
    if any(part.dtype == torch.bool for part in (train, validation)):
        raise TypeError("expected indices, got a mask")
    return [sorted(int(row) for row in part.tolist()) for part in (train, validation)]


def _leaks(images: Tensor, distance: float, parts: list[list[int]]) -> int:
    train, validation = (images[part].flatten(1) for part in parts)
    return int((torch.cdist(train, validation) <= distance).sum())


split = Watched(
    label="ex-clinic-split",
    oracle=_split,
    cases=_split_cases,
    watch=_divided,
    hint="Five things must hold; look for the first that differs. A group of pictures that links"
    " connect goes to one side as a whole, and chance comes from a generator with your seed.",
    mistakes=(
        Mistake(
            _split_like(_other_chance, _each_alone),
            "Both mistakes of the listing: pictures go one by one, and the generator that draws is"
            " not the one that was seeded.",
        ),
        Mistake(
            _split_like(groups=_each_alone),
            "The seed works now. There are still near-duplicates on both sides: if A is near B and"
            " B near C, all three go together.",
        ),
        Mistake(
            _split_like(_other_chance),
            "No pair is torn apart now. But whose seed was set, and who draws?",
        ),
        Mistake(
            _split_like(lambda _: _chance(0)),
            "Nothing is left to chance: whatever the seed, the parts are the same.",
        ),
        Mistake(
            _split_like(lambda _: _chance(0), _each_alone),
            "Whatever the seed, the parts are the same; and pictures still go one by one.",
        ),
        Mistake(
            _split_like(
                change=lambda train, validation, groups: (
                    _firsts(train, groups),
                    _firsts(validation, groups),
                )
            ),
            "No pair is torn apart, because pictures were left out. None should be lost.",
        ),
        Mistake(
            _split_like(shares=SHARES[::-1]),
            "The two parts have changed places: the first is for training.",
        ),
        Mistake(
            _split_like(shares=(0.5, 0.5)),
            "Half of the pictures are not a quarter.",
        ),
        Mistake(
            _split_like(
                change=lambda train, validation, groups: (
                    torch.cat((train, validation)),
                    validation,
                )
            ),
            "The validation pictures are in the training part as well.",
        ),
    ),
)
