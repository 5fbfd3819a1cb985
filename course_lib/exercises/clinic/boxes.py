"""The checks of the chapter `clinic`: patients whose boxes are wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from course_lib import boxes as topic
from course_lib.exercises import Case, Exercise, Mistake, draw

# --- 12: read a detector's answer -----------------------------------------------------------------


@dataclass(frozen=True)
class Detector:
    """Stands for a trained one: called with a list of images, it answers with what it was given."""

    boxes: Tensor
    labels: Tensor

    def __call__(self, images: Any) -> list[dict[str, Tensor]]:
        """Boxes (y1, x1, y2, x2) in shares of the picture, and labels, where 0 is background."""
        fits = isinstance(images, list | tuple)  # a tensor (N, 3, H, W) is no list
        if not fits or any(not isinstance(x, Tensor) or x.ndim != 3 for x in images):
            raise ValueError("images: expected a list of tensors (3, H, W)")
        found = {"boxes": self.boxes, "labels": self.labels}
        return [{name: value.clone() for name, value in found.items()} for _ in images]

    def __repr__(self) -> str:
        """What it will say."""
        return f"finds boxes {self.boxes.tolist()}, labels {self.labels.tolist()}"


_NAMES = ("cat", "dog", "cup", "car", "coin", "face")
_DETECT_BOXES: dict[str, tuple[Callable[[Tensor, int, int], Tensor], str]] = {
    "right": (lambda b, h, w: b[:, [1, 0, 3, 2]] * torch.tensor([w, h, w, h]), ""),
    "as they are": (
        lambda b, h, w: b,
        "The boxes are passed on as they come: in whose units, in which order?",
    ),
    "exchanged": (
        lambda b, h, w: b[:, [1, 0, 3, 2]],
        "The order is right; how many pixels is a width of 0.5?",
    ),
    "scaled": (
        lambda b, h, w: b * torch.tensor([w, h, w, h]),
        "A height is multiplied by the width of the picture.",
    ),
    "in pixels": (
        lambda b, h, w: b * torch.tensor([h, w, h, w]),
        "These are pixels; x and y are still exchanged.",
    ),
    "late": (
        lambda b, h, w: b[:, [1, 0, 3, 2]] * torch.tensor([h, w, h, w]),
        "The order is right; which of the two sides belongs to x?",
    ),
    "transposed": (
        lambda b, h, w: b.flip(1) * torch.tensor([w, h, w, h]),
        "The lower right corner comes first now.",
    ),
    "sides": (
        lambda b, h, w: topic.box_convert(
            b[:, [1, 0, 3, 2]] * torch.tensor([w, h, w, h]), "xyxy", "xywh"
        ),
        "Two corners are wanted, not a corner, a width and a height.",
    ),
}
_DETECT_NAMES: dict[str, tuple[Callable[[list[str], int], str], str]] = {
    "right": (lambda names, label: names[label - 1], ""),
    "shifted": (
        lambda names, label: names[label],
        "The labels count the background, the names do not.",
    ),
    "turned": (
        lambda names, label: names[label % len(names)],
        "A class too high for the list was let through in some way; why is it too high?",
    ),
    "back": (
        lambda names, label: names[label - 2],
        "The names are shifted the other way.",
    ),
}


def _read(
    boxes: str, word: str
) -> Callable[[Detector, Tensor, list[str]], tuple[Tensor, list[str]]]:
    def answer(detector: Detector, image: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
        found = detector([image])[0]
        words = [_DETECT_NAMES[word][0](names, int(label)) for label in found["labels"]]
        return _DETECT_BOXES[boxes][0](found["boxes"], *image.shape[1:]), words

    return answer


def _read_whole(
    whole: Callable[[Tensor], Tensor],
) -> Callable[[Detector, Tensor, list[str]], tuple[Tensor, list[str]]]:
    def answer(detector: Detector, image: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
        boxes, words = _read("right", "right")(detector, image, names)
        return whole(boxes), words

    return answer


def _detect_broken(detector: Any, image: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    found = detector.detect(image)
    return found["boxes"], [names[label] for label in found["labels"]]


def _detect_cases(generator: torch.Generator) -> Iterator[Case]:
    sizes = (32, 64), (64, 32), (40, 48), (24, 80), (37, 59)  # the last has no whole pixels
    for count, (height, width) in zip((1, 1, 2, 3, 3), sizes, strict=True):
        size = torch.randint(1, 4, (count, 2), generator=generator)
        start = torch.randint(0, 5, (count, 2), generator=generator)
        boxes = torch.cat([start, start + size], 1) / 8  # (y1, x1, y2, x2)
        boxes[0] = torch.tensor([1, 4, 2, 7]) / 8  # x is not y, and a width not a height
        names = list(_NAMES[: draw(generator, 3, len(_NAMES))])
        labels = torch.randint(1, len(names) + 1, (count,), generator=generator)
        labels[-1] = len(names) if count > 1 else 1  # the last class, and the first
        yield Detector(boxes, labels), torch.zeros(3, height, width), names


detect = Exercise(
    label="ex-clinic-detect",
    oracle=_read("right", "right"),
    cases=_detect_cases,
    hint="Take one box, and say in words where it lies: how far down, how far across, in shares of"
    " the picture. Then write where it must be drawn.",
    mistakes=(
        Mistake(
            _detect_broken,
            "This is the listing as it was: what can be done with this detector but call it?",
        ),
        Mistake(
            lambda detector, image, names: _read("right", "right")(detector, image[None], names),
            "The call of the detector stops: it takes a list of pictures, each (3, H, W).",
        ),
        *(
            Mistake(
                _read_whole(whole),
                f"Right, but for fractions that were {words}: a corner need not lie on a whole"
                " pixel.",
            )
            for whole, words in ((torch.round, "rounded"), (torch.floor, "cut off"))
        ),
        *(
            Mistake(
                _read(boxes, word),
                " ".join(filter(None, (_DETECT_BOXES[boxes][1], _DETECT_NAMES[word][1]))),
            )
            for boxes, word in product(_DETECT_BOXES, _DETECT_NAMES)
            if (boxes, word) != ("right", "right")
        ),
    ),
)


# --- 13: suppress, class by class -----------------------------------------------------------------


def _overlap(boxes: Tensor, inside: float = 0.0, area: float = 0.0) -> Tensor:
    """The IoU of every pair, with something added to the sides of what is shared and of a box."""
    upper = torch.maximum(boxes[:, None, :2], boxes[:, :2])
    lower = torch.minimum(boxes[:, None, 2:], boxes[:, 2:])
    shared = (lower - upper + inside).clamp(min=0).prod(-1)
    own = (boxes[:, 2:] - boxes[:, :2] + area).prod(-1)
    return shared / (own[:, None] + own - shared)


def _suppressed(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    threshold: float,
    inside: float = 0.0,
    area: float = 0.0,
    apart: bool = True,
    ghosts: bool = False,
    equal: bool = False,
) -> Tensor:
    """The boxes that are kept; the options are what can go wrong."""
    overlap = _overlap(boxes, inside, area)
    clash = overlap >= threshold if equal else overlap > threshold
    if apart:
        clash &= labels[:, None] == labels
    order: list[int] = scores.argsort(descending=True).tolist()
    kept: list[int] = []
    for place, n in enumerate(order):
        if not clash[n, order[:place] if ghosts else kept].any():
            kept.append(n)
    return torch.tensor(kept)


def _crowd(generator: torch.Generator, count: int, threshold: float) -> tuple[Tensor, Tensor]:
    """Boxes that overlap, none by about the threshold, and scores that all differ."""
    while True:
        corner = torch.randint(0, 9, (count, 2), generator=generator).double() / 2
        sides = torch.randint(3, 9, (count, 2), generator=generator).double() / 2
        boxes = torch.cat([corner, corner + sides], 1)
        if (_overlap(boxes) - threshold).abs().min() > 1e-3:
            return boxes, (1 + torch.randperm(count, generator=generator)).double() / 16


def _suppress_cases(generator: torch.Generator) -> Iterator[Case]:
    # Two neighbours of one class in shares of the picture, which share a third.
    near = torch.tensor([[0, 0, 4, 4], [2, 0, 6, 4]]).double()
    yield near / 8, torch.tensor([0.5, 0.75]).double(), torch.tensor([1, 1]), 0.5
    # In pixels, too: 8/24 of both are shared, with a pixel more on each side 15/35.
    yield near[:, [1, 0, 3, 2]], torch.tensor([0.5, 0.25]).double(), torch.tensor([2, 2]), 0.35
    # Large ones, which do overlap, and one of another class in the same place.
    large = torch.tensor([[0, 0, 400, 400], [160, 0, 560, 400], [0, 0, 400, 400]]).double()
    yield large, torch.tensor([0.25, 0.5, 0.125]).double(), torch.tensor([1, 1, 2]), 0.35
    # The first takes the second away, which would have taken the third.
    chain = torch.tensor([[0, 0, 4, 4], [1, 0, 5, 4], [2, 0, 6, 4]]).double()
    yield chain, torch.tensor([0.75, 0.5, 0.25]).double(), torch.tensor([1, 1, 1]), 0.5
    # The second is half of the first: the IoU is the threshold, and no more.
    half = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 2]]).double()
    yield half, torch.tensor([0.75, 0.5]).double(), torch.tensor([1, 1]), 0.5
    # A cup and its saucer.
    one = torch.tensor([[1, 1, 5, 4], [1, 1, 5, 4], [1, 1, 5, 4.5]]).double()
    yield one, torch.tensor([0.5, 0.75, 0.25]).double(), torch.tensor([3, 1, 3]), 0.4
    for count, scale in ((5, 1), (6, 1 / 16), (7, 8), (8, 1 / 4), (8, 1)):
        threshold = draw(generator, 2, 6) / 10 + 0.013
        boxes, scores = _crowd(generator, count, threshold)
        yield scale * boxes, scores, torch.randint(0, 3, (count,), generator=generator), threshold


_IOU_FAULTS = {
    (0.0, 0.0): "",
    (1.0, 1.0): "Small boxes are said to overlap more than they do: is a side from 0 to 4 five"
    " long?",
    (1.0, 0.0): "What two boxes share is measured with another ruler than the boxes.",
    (0.0, 1.0): "The boxes are measured with another ruler than what they share.",
}


def _ill_suppress(inside: float, area: float, apart: bool) -> Callable[..., Tensor]:
    return lambda boxes, scores, labels, threshold: _suppressed(
        boxes, scores, labels, threshold, inside, area, apart
    )


def _class_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    kept = topic.batched_nms(boxes, scores, labels, threshold)
    return kept[labels[kept].argsort(stable=True)]


suppress = Exercise(
    label="ex-clinic-suppress",
    oracle=lambda boxes, scores, labels, threshold: topic.batched_nms(
        boxes, scores, labels, threshold
    ),
    cases=_suppress_cases,
    hint="Take the failing case, and write down for each pair of boxes of one class what they share"
    " and what both cover.",
    mistakes=(
        *(
            Mistake(
                _ill_suppress(*added, apart),
                " ".join(
                    filter(
                        None,
                        (
                            _IOU_FAULTS[added],
                            "" if apart else "A thing still loses its box to another class.",
                        ),
                    )
                ),
            )
            for added, apart in product(_IOU_FAULTS, (False, True))
            if (added, apart) != ((0.0, 0.0), True)
        ),
        Mistake(
            lambda boxes, scores, labels, threshold: _suppressed(
                boxes, scores, labels, threshold, ghosts=True
            ),
            "A box that is gone suppresses nothing.",
        ),
        Mistake(
            lambda boxes, scores, labels, threshold: _suppressed(
                boxes, scores, labels, threshold, equal=True
            ),
            "An IoU that is just the threshold is not more than it.",
        ),
        Mistake(
            lambda boxes, scores, labels, threshold: _suppressed(
                boxes, scores, labels, threshold, ghosts=True, equal=True
            ),
            "A box that is gone suppresses nothing. And an IoU that is just the threshold is not"
            " more than it.",
        ),
        Mistake(
            _class_by_class,
            "The right boxes, one class after another; the best of all should come first.",
        ),
        Mistake(
            lambda boxes, scores, labels, threshold: (
                topic.batched_nms(boxes, scores, labels, threshold).sort().values
            ),
            "The right boxes, in order of their indices; the best should come first.",
        ),
        Mistake(
            lambda boxes, scores, labels, threshold: boxes[
                topic.batched_nms(boxes, scores, labels, threshold)
            ],
            "The right boxes themselves; the question is for their indices.",
        ),
    ),
)
