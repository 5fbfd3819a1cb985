"""The checks of the chapter `boxes`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from course_lib import boxes as topic
from course_lib.exercises import WRONG, Case, Exercise, Mistake, Result, draw

LIBRARIES = ("course_lib.boxes", "torchvision.ops")


@dataclass(frozen=True)
class Ruled(Exercise):
    """An exercise that also looks at how a right answer was got.

    Args:
        rule: takes the names of the library's functions that ran for one case, in order; returns
            what to tell the reader, or nothing.
    """

    rule: Callable[[list[str]], str] = field(kw_only=True)

    def _check(self, answer: Any, seed: int | None) -> Result:
        result = super()._check(answer, seed)
        if result and self.cases:
            for case in self.cases(torch.Generator().manual_seed(0)):
                if hint := self.rule(_calls(answer, case)):
                    return Result(self.label, WRONG, hint=hint)
        return result


def _calls(answer: Callable[..., Any], case: Case) -> list[str]:
    """The library's functions that an answer runs, under whatever name it knows them."""
    names: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith(LIBRARIES):
            names.append(frame.f_code.co_name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        answer(*(value.clone() if isinstance(value, Tensor) else value for value in case))
    finally:
        sys.setprofile(before)
    return names


def _box(generator: torch.Generator, reach: int = 12, largest: int = 8) -> list[float]:
    """Whole numbers and halves, so that a failing case can be worked out by hand."""
    x, y = (draw(generator, 0, 2 * reach) / 2 for _ in range(2))
    w, h = (draw(generator, 2, 2 * largest) / 2 for _ in range(2))
    return [x, y, x + w, y + h]


# --- predict two numbers --------------------------------------------------------------------------

predict = Exercise(
    label="ex-boxes-predict",
    oracle=(1 / 6, -1 / 30),
    hint="Draw both boxes on squared paper and count: what they share, what they cover together,"
    " and the smallest box around both.",
    mistakes=(
        Mistake(
            (1 / 7, 1 / 7 - 2 / 30),
            "What they share lies in both areas, so their sum counts it twice.",
        ),
        Mistake((1 / 7, -1 / 30), "For the IoU, too, what they share must be counted once."),
        Mistake((4 / 12, 4 / 12 - 6 / 30), "Divide by what both cover, not by one of them."),
        Mistake((1 / 6, 1 / 6 - 24 / 30), "GIoU takes off the share that is *empty*, not filled."),
        Mistake(
            (1 / 6, 1 / 6 - 6 / 24), "The empty part is measured in enclosing boxes, not in unions."
        ),
        Mistake((1 / 4, 1 / 4 - 1 / 7), "A side from 0 to 4 is four long, not five."),
        Mistake((1 / 6, 1 / 30), "The empty part is larger than the IoU: mind the sign."),
        Mistake((1 / 6, 1 / 5), "That is what GIoU takes off; take it off."),
        Mistake((0.17, -0.03), "Right to two decimals: give the fractions themselves."),
        Mistake((0.167, -0.033), "Right to three decimals: give the fractions themselves."),
        Mistake((0.1667, -0.0333), "Right to four decimals: give the fractions themselves."),
        Mistake((0.167, -0.0333), "Right to three digits: give the fractions themselves."),
    ),
)


# --- fill in the overlap --------------------------------------------------------------------------


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """Written out, as the answer should be: the check looks for calls of a library's."""
    return _over(_sides(a, b).clamp(min=0).prod(), a, b)


def _own_iou(calls: list[str]) -> str:
    if any("iou" in name for name in calls):
        return "Right, but a library computes it: write it with tensors' own operations."
    return ""


def _iou_cases(generator: torch.Generator) -> Iterator[Case]:
    fixed = [
        ([0, 0, 4, 3], [2, 1, 6, 5]),
        ([0, 0, 2, 2], [5, 6, 8, 8]),  # apart both ways: the product of two negative sides
        ([0, 0, 2, 2], [5, 0, 8, 2]),
        ([1, 5, 3, 8], [0, 0, 4, 2]),
        ([0, 0, 6, 6], [1, 2, 3, 3]),  # one inside the other
        ([1, 2, 4, 6], [1, 2, 4, 6]),
        ([0, 0, 2, 2], [2, 0, 4, 2]),  # touching
    ]
    for a, b in fixed:
        yield torch.tensor(a).double(), torch.tensor(b).double()
    for _ in range(10):
        yield torch.tensor(_box(generator)).double(), torch.tensor(_box(generator)).double()


def _sides(a: Tensor, b: Tensor) -> Tensor:
    return torch.minimum(a[2:], b[2:]) - torch.maximum(a[:2], b[:2])


def _over(inter: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return inter / (topic.box_area(a) + topic.box_area(b) - inter)


def _by_pixels(a: Tensor, b: Tensor) -> Tensor:
    """One is added to every side, as if x2 were the last pixel and not the end."""
    grow = torch.tensor([0, 0, 1, 1])
    return _iou(a + grow, b + grow)


iou = Ruled(
    label="ex-boxes-iou",
    oracle=_iou,
    rule=_own_iou,
    cases=_iou_cases,
    hint="Work out the sides of what the two boxes share for this case, first on paper, then by"
    " printing them.",
    mistakes=(
        Mistake(
            lambda a, b: _over(_sides(a, b).prod(), a, b),
            "For boxes that lie apart both sides come out negative, and their product is positive.",
        ),
        Mistake(
            lambda a, b: _over(_sides(a, b).prod().clamp(min=0), a, b),
            "The clamp comes too late: two negative sides have a positive product.",
        ),
        Mistake(
            lambda a, b: _over(_sides(a, b).abs().prod(), a, b),
            "A negative side means that there is no overlap; its size means nothing.",
        ),
        Mistake(
            lambda a, b: _sides(a, b).clamp(min=0).prod() / (topic.box_area(a) + topic.box_area(b)),
            "What they share lies in both areas, so their sum counts it twice.",
        ),
        Mistake(
            lambda a, b: _sides(a, b).clamp(min=0).prod(),
            "This is the area that they share; the union is missing.",
        ),
        Mistake(
            lambda a, b: (
                _sides(a, b).clamp(min=0).prod()
                / torch.minimum(topic.box_area(a), topic.box_area(b))
            ),
            "Divide by what both cover together, not by the smaller of them.",
        ),
        Mistake(
            lambda a, b: _over(_enclosing(a, b).prod(), a, b),
            "These are the sides of the box around both: exchange minimum and maximum.",
        ),
        Mistake(_by_pixels, "A box ends at x2; that is not its last pixel, so nothing is added."),
        Mistake(
            lambda a, b: topic.generalized_box_iou(a[None], b[None])[0, 0],
            "This is GIoU: right where boxes overlap fully, below 0 where they lie apart.",
        ),
    ),
)


def _enclosing(a: Tensor, b: Tensor) -> Tensor:
    return torch.maximum(a[2:], b[2:]) - torch.minimum(a[:2], b[:2])


# --- carry boxes from one convention to another ---------------------------------------------------


def _pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    return topic.box_convert(topic.to_pixels(boxes, size), "cxcywh", "xyxy")


def _pixels_cases(generator: torch.Generator) -> Iterator[Case]:
    yield torch.tensor([[0.5, 0.5, 0.5, 0.25]]).double(), (40, 80)
    for count in (1, 2, 3, 4, 0):
        middle = torch.randint(1, 8, (count, 2), generator=generator).double() / 8
        sides = torch.randint(1, 4, (count, 2), generator=generator).double() / 8
        size = 8 * draw(generator, 2, 9), 8 * draw(generator, 10, 20)
        yield torch.cat((middle, sides), 1), size


def _swapped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    return _pixels(boxes, (size[1], size[0]))


pixels = Exercise(
    label="ex-boxes-pixels",
    oracle=_pixels,
    cases=_pixels_cases,
    hint="Do the first case by hand, one number after another: where is the middle, in pixels, and"
    " how far is it from there to the left side?",
    mistakes=(
        Mistake(_swapped, "The width belongs to x, and `size` holds the height first."),
        Mistake(
            lambda boxes, size: topic.to_pixels(boxes, size),
            "The unit is right now; the numbers are still centre, width and height.",
        ),
        Mistake(
            lambda boxes, size: topic.box_convert(boxes, "cxcywh", "xyxy"),
            "The corners are right now; they are still shares of the picture.",
        ),
        Mistake(
            lambda boxes, size: topic.box_convert(topic.to_pixels(boxes, size), "xywh", "xyxy"),
            "The first two numbers are the centre of the box, not a corner.",
        ),
        Mistake(
            lambda boxes, size: topic.box_convert(topic.to_pixels(boxes, size), "cxcywh", "yxyx"),
            "The corners have changed places: x comes first.",
        ),
        Mistake(
            lambda boxes, size: topic.box_convert(topic.to_pixels(boxes, size), "cxcywh", "xywh"),
            "The last two numbers should be the other corner, not width and height.",
        ),
        Mistake(
            lambda boxes, size: _from_centre(topic.to_pixels(boxes, size), 1.0),
            "From the centre to a side it is half the width, not all of it.",
        ),
    ),
)


def _from_centre(boxes: Tensor, share: float) -> Tensor:
    centre, reach = boxes[:, :2], share * boxes[:, 2:]
    return torch.cat((centre - reach, centre + reach), 1)


# --- decide by hand -------------------------------------------------------------------------------

keep = Exercise(
    label="ex-boxes-keep",
    oracle=(4, 1, 0),
    hint="Go from the highest score to the lowest, and write down after each step which boxes are"
    " kept so far: only those decide about the next.",
    mistakes=(
        Mistake((0, 1, 4), "Are these in order of score?"),
        Mistake((4, 1), "A box that was suppressed suppresses nothing: look at box 0 again."),
        Mistake((4, 0), "Box 1 overlaps the best box by exactly the threshold."),
        Mistake((4,), "More than one is kept; look at boxes 0 and 1 again."),
        Mistake((4, 1, 0, 2), "Box 2 comes last, and overlaps a box that is kept."),
        Mistake((4, 3, 1, 0, 2), "These are all boxes, in the right order; now who is out?"),
        Mistake((2, 3), "The best box is the one with the highest score."),
        Mistake((3, 2), "Those are the boxes that are suppressed."),
    ),
)


# --- find the bug in a suppression ----------------------------------------------------------------


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    return topic.nms(boxes, scores, threshold)


def _crowds(generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Boxes in a row that overlap their neighbours, and boxes anywhere; no two scores alike."""
    for count in (2, 3, 4, 6, 8, 12):
        shift = draw(generator, 2, 4)
        x = shift * torch.arange(count).double()
        row = torch.stack((x, 0 * x, x + 10, 0 * x + 10), 1)
        order = torch.randperm(count, generator=generator)
        yield row[order], (order.double().neg() + count) / (2 * count)
        scores = (1 + torch.randperm(count, generator=generator).double()) / (2 * count)
        yield torch.tensor([_box(generator, 4) for _ in range(count)]).double(), scores


def _suppress_cases(generator: torch.Generator) -> Iterator[Case]:
    # Half of what they cover is shared: exactly at the threshold.
    edge = torch.tensor([[0, 0, 3, 2], [1, 0, 4, 2], [0, 0, 3, 3]]).double()
    yield edge, torch.tensor([0.5, 0.75, 0.25]).double(), 0.5
    for boxes, scores in _crowds(generator):
        yield boxes, scores, draw(generator, 2, 5) / 10


def _greedy(
    boxes: Tensor,
    scores: Tensor,
    suppresses: Callable[[Tensor, int, int, dict[int, bool]], bool],
    ascending: bool = False,
) -> list[int]:
    """A suppression of which a part may be wrong."""
    overlap = topic.box_iou(boxes, boxes)
    kept: dict[int, bool] = {}
    for n in scores.argsort(descending=not ascending).tolist():
        kept[n] = not any(suppresses(overlap, m, n, kept) for m in kept)
    return [n for n, yes in kept.items() if yes]


def _by_all(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """The given listing: boxes that are out already suppress others."""
    return _greedy(boxes, scores, lambda overlap, m, n, kept: bool(overlap[m, n] > threshold))


def _from_below(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    return _greedy(
        boxes, scores, lambda overlap, m, n, kept: kept[m] and bool(overlap[m, n] > threshold), True
    )


def _or_equal(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    return _greedy(
        boxes, scores, lambda overlap, m, n, kept: kept[m] and bool(overlap[m, n] >= threshold)
    )


def _last_only(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Compared with the box kept last, and with no other."""

    def suppresses(overlap: Tensor, m: int, n: int, kept: dict[int, bool]) -> bool:
        return m == [k for k, yes in kept.items() if yes][-1] and bool(overlap[m, n] > threshold)

    return _greedy(boxes, scores, suppresses)


def _reversed_test(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    return _greedy(
        boxes, scores, lambda overlap, m, n, kept: kept[m] and bool(overlap[m, n] < threshold)
    )


def _places(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Places in the sorted list instead of indices."""
    order = scores.argsort(descending=True).tolist()
    return [order.index(n) for n in _nms(boxes, scores, threshold).tolist()]


suppress = Exercise(
    label="ex-boxes-suppress",
    oracle=_nms,
    cases=_suppress_cases,
    hint="Take the smallest failing case, and write down which boxes are kept after each step.",
    mistakes=(
        Mistake(_by_all, "Boxes that are out already still suppress others."),
        Mistake(_from_below, "The best box should go first."),
        Mistake(_or_equal, "Exactly at the threshold is not above it."),
        Mistake(_last_only, "Compare with every box that is kept, not only with the last one."),
        Mistake(_reversed_test, "Boxes that hardly overlap suppress each other here."),
        Mistake(_places, "These are places in the sorted list; the question is which boxes."),
        Mistake(
            lambda boxes, scores, threshold: _nms(boxes, scores, threshold).sort().values,
            "The right boxes, but not in order of their scores.",
        ),
        Mistake(
            lambda boxes, scores, threshold: boxes[_nms(boxes, scores, threshold)],
            "The right boxes themselves; the question is for their indices.",
        ),
    ),
)


# --- keep the classes apart -----------------------------------------------------------------------


def _classes_cases(generator: torch.Generator) -> Iterator[Case]:
    same = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 4], [0, 1, 4, 4]]).double()
    yield same, torch.tensor([0.5, 0.75, 0.25]).double(), torch.tensor([0, 1, 0]), 0.5
    for boxes, scores in _crowds(generator):
        labels = torch.randint(0, 4, (len(boxes),), generator=generator)
        moved = boxes - draw(generator, 0, 30)  # coordinates may be below 0
        yield moved, scores, labels, draw(generator, 2, 5) / 10
    for scale in (1, 100, 10_000, 10**9):
        for down in (0, 1):
            yield _ladder(generator, scale, down)


def _ladder(generator: torch.Generator, scale: int, down: int) -> Case:
    """Boxes of class 0 in a row or down a diagonal, and one of class 1 over each end.

    Each overlaps the next by less than the threshold. Moved by up to the length of the row, a box
    of class 1 overlaps one of class 0 by more than it.
    """
    x = 6 * torch.tensor([*range(10), 0, 9]).double()
    y = down * x
    labels = torch.tensor(10 * [0] + 2 * [1])
    boxes = scale * (torch.stack((x, y, x + 10, y + 10), 1) - draw(generator, 0, 30))
    scores = (1 + torch.randperm(12, generator=generator).double()) / 16
    return boxes, scores, labels, 0.3


def _class_after_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    parts = []
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        parts.append(own[topic.nms(boxes[own], scores[own], threshold)])
    return torch.cat(parts)


def _moved(offset: Callable[[Tensor], Tensor | float]) -> Callable[..., Tensor]:
    """Suppression of boxes that are moved, class by class, by too little."""

    def answer(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
        apart = labels[:, None] * offset(boxes)
        return topic.nms(boxes + apart, scores, threshold)

    return answer


def _half_moved(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Only one corner is moved."""
    apart = labels[:, None] * 1000.0
    return topic.nms(torch.cat((boxes[:, :2], boxes[:, 2:] + apart), 1), scores, threshold)


def _together(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    apart = boxes.max() - boxes.min() + 1
    return topic.nms(boxes + labels[:, None] * apart, scores, threshold)


def _one_call(calls: list[str]) -> str:
    if "batched_nms" in calls:
        return "Right, but `batched_nms` is what is to be written here."
    if calls.count("nms") != 1:
        return "Right, but call `bx.nms` exactly once, for the boxes of all classes together."
    return ""


classes = Ruled(
    label="ex-boxes-classes",
    oracle=_together,
    rule=_one_call,
    cases=_classes_cases,
    hint="Look for a box that is lost or kept wrongly, and compare its class with those of the"
    " boxes around it, after your answer has moved them if it moves any. No fixed shift suits all.",
    mistakes=(
        Mistake(
            lambda boxes, scores, labels, threshold: topic.nms(boxes, scores, threshold),
            "The labels are not used yet: boxes of different classes still suppress each other.",
        ),
        Mistake(
            _moved(lambda boxes: 1.0),
            "One pixel for each class is not far enough: boxes of neighbouring classes overlap.",
        ),
        Mistake(
            _moved(lambda boxes: boxes.max() + 1),
            "To move by the largest coordinate is far enough only if none is below 0.",
        ),
        Mistake(_half_moved, "Both corners of a box must move, or it changes its size."),
        Mistake(
            _class_after_class,
            "The right boxes, one class after another; they should come in order of score.",
        ),
        Mistake(
            lambda boxes, scores, labels, threshold: (
                topic.batched_nms(boxes, scores, labels, threshold).sort().values
            ),
            "The right boxes, in order of their indices; they should come in order of score.",
        ),
    ),
)


# --- average precision ----------------------------------------------------------------------------


def _precision(scores: Tensor, correct: Tensor, positives: int) -> Tensor:
    return topic.average_precision(
        *topic.precision_recall(scores, correct, positives), method="voc2010"
    )


def _precision_cases(generator: torch.Generator) -> Iterator[Case]:
    yield (
        torch.tensor([0.5, 0.75, 0.25]).double(),
        torch.tensor([True, False, True]),
        2,
    )
    yield torch.tensor([0.5, 0.25]).double(), torch.tensor([False, False]), 3
    for count in (3, 4, 5, 7, 10):
        scores = torch.randperm(count, generator=generator).double() / 16
        correct = torch.rand(count, generator=generator) < 0.6
        yield scores, correct, int(correct.sum()) + draw(generator, 1, 4)


def _steps(scores: Tensor, correct: Tensor, positives: int) -> tuple[Tensor, Tensor, Tensor]:
    """Precision, recall, and by how much recall grows with each detection."""
    precision, recall = topic.precision_recall(scores, correct, positives)
    return precision, recall, recall.diff(prepend=recall.new_zeros(1))


def _raw(scores: Tensor, correct: Tensor, positives: int) -> Tensor:
    """Without the envelope."""
    precision, _, step = _steps(scores, correct, positives)
    return (precision * step).sum()


def _unsorted(scores: Tensor, correct: Tensor, positives: int) -> Tensor:
    return _precision(torch.arange(len(scores), 0, -1).double(), correct, positives)


def _of_found(scores: Tensor, correct: Tensor, positives: int) -> Tensor:
    """Recall over the objects that were found, not over all."""
    return _precision(scores, correct, max(1, int(correct.sum())))


def _best_so_far(scores: Tensor, correct: Tensor, positives: int) -> Tensor:
    """The envelope runs the wrong way."""
    precision, _, step = _steps(scores, correct, positives)
    return (precision.cummax(0).values * step).sum()


def _mean_precision(scores: Tensor, correct: Tensor, positives: int) -> Tensor:
    return topic.precision_recall(scores, correct, positives)[0].mean()


precision = Exercise(
    label="ex-boxes-precision",
    oracle=_precision,
    cases=_precision_cases,
    hint="Sort by score, then write precision and recall beside each detection, and the best"
    " precision from there on.",
    mistakes=(
        Mistake(
            _raw,
            "Precision may rise again further on: take the best from each recall on, not what it"
            " is there.",
        ),
        Mistake(_unsorted, "The detections are not in order of score; put them in order first."),
        Mistake(_of_found, "Recall counts all objects, also those that were not found."),
        Mistake(_best_so_far, "The best precision is looked for at lower recalls, not at higher."),
        Mistake(
            _mean_precision,
            "Not every detection counts: only those at which recall grows add an area.",
        ),
        Mistake(
            lambda scores, correct, positives: topic.average_precision(
                *topic.precision_recall(scores, correct, positives)
            ),
            "This is the mean at 101 recalls, close to the area; here we want the area itself.",
        ),
    ),
)
