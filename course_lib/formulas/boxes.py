"""The equations of the chapter `boxes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from course_lib import boxes as topic
from course_lib.formulas.entry import Formula, Pairs, Sense, Symbols, number


def _boxes(generator: torch.Generator, device: torch.device, count: int) -> Tensor:
    """Boxes in a picture of 100 by 100 pixels, many of which overlap."""
    corners = 60 * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    sides = 5 + 35 * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return torch.cat((corners, corners + sides), 1).to(device)


def _scores(generator: torch.Generator, device: torch.device, count: int) -> Tensor:
    return torch.rand(count, generator=generator, dtype=torch.float64).to(device)


def _area(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Gauss's formula for the area of any polygon, around the four corners."""
    for _ in range(20):
        boxes = _boxes(generator, device, 9)
        x, y = boxes[:, [0, 2, 2, 0]], boxes[:, [1, 1, 3, 3]]
        yield topic.box_area(boxes), (x * y.roll(-1, 1) - x.roll(-1, 1) * y).sum(1) / 2


def _measure(name: str, **options: float) -> Pairs:
    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        from torchvision import ops

        for _ in range(20):
            one, two = _boxes(generator, device, 7), _boxes(generator, device, 5)
            yield getattr(topic, name)(one, two, **options), getattr(ops, name)(one, two, **options)

    return pairs


def _loss(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision import ops

    for _ in range(20):
        one, two = _boxes(generator, device, 7), _boxes(generator, device, 7)
        for name in ("generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss"):
            yield getattr(topic, name)(one, two), getattr(ops, name)(one, two)


def _encode(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision.models.detection._utils import encode_boxes

    for _ in range(20):
        wanted, there = _boxes(generator, device, 7), _boxes(generator, device, 7)
        weights = torch.ones(4, dtype=torch.float64, device=device)
        yield topic.encode_boxes(wanted, there), encode_boxes(wanted, there, weights)


def _decode(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision.models.detection._utils import BoxCoder

    for _ in range(20):
        boxes = _boxes(generator, device, 7)
        codes = torch.randn(7, 4, generator=generator, dtype=torch.float64).to(device)
        decoded = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode_single(codes, boxes)
        yield topic.decode_boxes(codes, boxes), decoded


def _nms(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision import ops

    for _ in range(20):
        boxes, scores = _boxes(generator, device, 60), _scores(generator, device, 60)
        threshold = torch.rand((), generator=generator).item()
        yield topic.nms(boxes, scores, threshold), ops.nms(boxes, scores, threshold)


def _window(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """How many pairs overlap enough: of those in the windows, and of all."""
    from torchvision import ops

    for _ in range(20):
        boxes = _boxes(generator, device, 60)
        threshold = number(generator, 1, 9) / 10
        x, width = boxes[:, 0], boxes[:, 2] - boxes[:, 0]
        apart = (x - x[:, None]) / width[:, None]
        inside = (apart > -(1 - threshold) / threshold) & (apart < 1 - threshold)
        ours = ((topic.box_iou(boxes, boxes) > threshold) & inside).sum()
        yield ours, (ops.box_iou(boxes, boxes) > threshold).sum()


def _soft(decay: Callable[[Tensor], Tensor], **options: Any) -> Pairs:
    """A final score is the first one, times what each box taken before has left of it."""

    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        from torchvision import ops

        for _ in range(10):
            boxes, scores = _boxes(generator, device, 15), _scores(generator, device, 15)
            order, final = topic.soft_nms(boxes, scores, score_threshold=0, **options)
            left = decay(ops.box_iou(boxes[order], boxes[order])).tril(-1)
            left = left + torch.ones_like(left).triu()
            yield final, scores[order] * left.prod(1)

    return pairs


def _curves(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Scores, whether the detection is right, and how many objects there are."""
    for _ in range(20):
        count = number(generator, 5, 40)
        correct = torch.rand(count, generator=generator) < 0.6
        missed = number(generator, 1, 10)
        yield (
            _scores(generator, device, count),
            correct.to(device),
            int(correct.sum()) + missed,
        )


def _precision_recall(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Objects that nobody found are, to scikit-learn, positives with the lowest score."""
    from sklearn.metrics import precision_recall_curve

    for scores, correct, positives in _curves(generator, device):
        missed = positives - int(correct.sum())
        truth = torch.cat((correct.cpu(), torch.ones(missed, dtype=torch.bool)))
        guess = torch.cat((scores.cpu(), torch.full((missed,), -1.0)))
        precision, recall, _ = precision_recall_curve(truth.numpy(), guess.numpy())
        theirs = torch.stack([torch.from_numpy(x[::-1].copy()) for x in (precision, recall)])
        ours = torch.stack(topic.precision_recall(scores, correct, positives))
        yield ours, theirs[:, 1 : 1 + len(scores)]


def _best_at(precision: list[float], recall: list[float], level: float) -> float:
    """The best precision at this recall or beyond, straight from its definition."""
    return max((p for p, r in zip(precision, recall, strict=True) if r >= level), default=0.0)


def _envelope(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """At eleven recalls, of which the mean is taken."""
    for curve in _curves(generator, device):
        precision, recall = topic.precision_recall(*curve)
        points = [_best_at(precision.tolist(), recall.tolist(), n * 0.1) for n in range(11)]
        ours = topic.average_precision(precision, recall, "voc2007")
        yield ours, torch.tensor(sum(points) / 11, dtype=torch.float64)


def _average(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for curve in _curves(generator, device):
        precision, recall = topic.precision_recall(*curve)
        points = [_best_at(precision.tolist(), recall.tolist(), n * 0.01) for n in range(101)]
        ours = topic.average_precision(precision, recall)
        yield ours, torch.tensor(sum(points) / 101, dtype=torch.float64)


def _exact(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Each object that is found adds the best precision from there on, over their number."""
    for scores, correct, positives in _curves(generator, device):
        precision, recall = topic.precision_recall(scores, correct, positives)
        hits = correct[scores.argsort(descending=True)]
        best = [_best_at(precision.tolist(), recall.tolist(), r) for r in recall[hits].tolist()]
        ours = topic.average_precision(precision, recall, "voc2010")
        yield ours, torch.tensor(sum(best) / positives, dtype=torch.float64)


def _map(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Objects far apart, each found by a box that is shifted: then all matches are known.

    A square shifted by the share s of its side has IoU (1 - s) / (1 + s) with itself.
    """
    for _ in range(10):
        count, classes = number(generator, 6, 25), number(generator, 1, 3)
        labels = torch.arange(count) % classes
        corners = 100.0 * torch.arange(count, dtype=torch.float64)[:, None].expand(-1, 2)
        objects = torch.cat((corners, corners + 40), 1)
        shift = 0.4 * torch.rand(count, generator=generator, dtype=torch.float64)
        found = objects + torch.tensor([40.0, 0, 40, 0]) * shift[:, None]
        scores = torch.rand(count, generator=generator, dtype=torch.float64)
        overlap, values = (1 - shift) / (1 + shift), []
        for threshold in topic.COCO_THRESHOLDS:
            for label in range(classes):
                own = labels == label
                right = (overlap >= threshold)[own][scores[own].argsort(descending=True)]
                hits = right.cumsum(0).double()
                precision = (hits / torch.arange(1, len(hits) + 1)).tolist()
                recall = (hits / len(hits)).tolist()
                values.append(sum(_best_at(precision, recall, n * 0.01) for n in range(101)) / 101)
        ours = topic.mean_average_precision(
            [{"boxes": found.to(device), "scores": scores.to(device), "labels": labels.to(device)}],
            [{"boxes": objects.to(device), "labels": labels.to(device)}],
        )
        yield ours["map"], torch.tensor(sum(values) / len(values), dtype=torch.float64)


FORMULAS: tuple[Formula, ...] = (
    Formula(
        "boxes-area",
        "The area of a box from two of its corners",
        "course_lib.boxes.box_area",
        "Gauss's formula for the area of a polygon",
        _area,
    ),
    Formula(
        "boxes-iou",
        "Intersection over union",
        "course_lib.boxes.box_iou",
        "torchvision.ops.box_iou",
        _measure("box_iou"),
    ),
    Formula(
        "boxes-giou",
        "Generalised IoU: less the empty share of the enclosing box",
        "course_lib.boxes.generalized_box_iou",
        "torchvision.ops.generalized_box_iou",
        _measure("generalized_box_iou"),
    ),
    Formula(
        "boxes-diou",
        "Distance IoU: less the distance of the centres",
        "course_lib.boxes.distance_box_iou",
        "torchvision.ops.distance_box_iou",
        _measure("distance_box_iou", eps=0),
    ),
    Formula(
        "boxes-ciou",
        "Complete IoU: less the difference in shape as well",
        "course_lib.boxes.complete_box_iou",
        "torchvision.ops.complete_box_iou",
        _measure("complete_box_iou", eps=0),
    ),
    Formula(
        "boxes-iou-loss",
        "A loss from each of the three",
        "course_lib.boxes.generalized_box_iou_loss",
        "torchvision.ops.generalized_box_iou_loss and its two siblings",
        _loss,
    ),
    Formula(
        "boxes-encode",
        "A box as a change of another box",
        "course_lib.boxes.encode_boxes",
        "torchvision.models.detection._utils.encode_boxes",
        _encode,
    ),
    Formula(
        "boxes-decode",
        "The way back, from the change to the box",
        "course_lib.boxes.decode_boxes",
        "torchvision.models.detection._utils.BoxCoder",
        _decode,
    ),
    Formula(
        "boxes-nms",
        "Which boxes are kept",
        "course_lib.boxes.nms",
        "torchvision.ops.nms",
        _nms,
    ),
    Formula(
        "boxes-window",
        "How far apart two boxes that overlap enough can begin",
        "course_lib.boxes.box_iou",
        "torchvision.ops.box_iou of all pairs, counted",
        _window,
    ),
    Formula(
        "boxes-soft-gaussian",
        "Lower scores softly, by a Gaussian of the IoU",
        "course_lib.boxes.soft_nms",
        "the product of all factors, with torchvision.ops.box_iou",
        _soft(lambda iou: torch.exp(-(iou**2) / 0.5)),
    ),
    Formula(
        "boxes-soft-linear",
        "Lower scores softly, in proportion to the IoU",
        "course_lib.boxes.soft_nms",
        "the product of all factors, with torchvision.ops.box_iou",
        _soft(lambda iou: torch.where(iou >= 0.3, 1 - iou, 1.0), method="linear"),
    ),
    Formula(
        "boxes-precision-recall",
        "Precision and recall of the best n detections",
        "course_lib.boxes.precision_recall",
        "sklearn.metrics.precision_recall_curve",
        _precision_recall,
    ),
    Formula(
        "boxes-envelope",
        "The best precision at this recall or beyond",
        "course_lib.boxes.average_precision",
        "the definition, point by point",
        _envelope,
    ),
    Formula(
        "boxes-average-precision",
        "Average precision at 101 recalls",
        "course_lib.boxes.average_precision",
        "the definition, point by point",
        _average,
    ),
    Formula(
        "boxes-average-precision-voc",
        "Average precision as an exact area",
        "course_lib.boxes.average_precision",
        "the sum over the objects that were found",
        _exact,
    ),
    Formula(
        "boxes-map",
        "Mean average precision",
        "course_lib.boxes.mean_average_precision",
        "an analytic value: shifted squares, whose matches are known",
        _map,
    ),
)

SYMBOLS: Symbols = {
    r"\mathrm{AP}": "the average precision",
    r"\alpha": "how much the shapes of two boxes count",
    "B": "the smallest box around two others",
    "b": "a box, with the area $|b|$",
    "b'": "another box, to which $x_1'$, $w'$ and $z'$ belong",
    "C": "the classes that occur",
    r"\mathrm{CIoU}": "complete IoU",
    "c": "which class",
    "D": "the diagonal of the smallest box around two others",
    r"\mathrm{DIoU}": "distance IoU",
    "d_x": "how far to the right of a proposal a box lies, in widths of the proposal",
    "d_y": "how far below a proposal a box lies, in heights of the proposal",
    "d_w": "the logarithm of how many times wider than a proposal a box is",
    "d_h": "the logarithm of how many times higher than a proposal a box is",
    "e": "the number 2.718…, the base of the natural logarithm",
    "G": "how many things there are to find",
    r"\mathrm{GIoU}": "generalised IoU",
    "i": "counts what a sum adds up",
    r"\mathrm{IoU}": "intersection over union",
    "k": "1 if a box is kept, 0 if not",
    "L": "the loss",
    "M": "IoU or one of its relatives",
    "m": "which box, the one with the highest score first",
    r"\mathrm{mAP}": "the mean average precision",
    "n": (
        Sense(
            "which box, the one with the highest score first",
            "Let $k_n$ be 1 if box $n$ is kept",
            ("boxes-nms", "boxes-soft-gaussian", "boxes-soft-linear"),
        ),
        Sense(
            "how many of the best detections are taken",
            "Take the $n$ best detections",
            ("boxes-precision-recall", "boxes-envelope", "boxes-average-precision-voc"),
        ),
    ),
    "P": "the precision of the best detections",
    "R": "the recall of the best detections",
    r"\hat P": "the best precision at a recall or beyond it",
    "r": "a recall",
    "s": "a score",
    r"\sigma": "how wide the curve is by which scores are lowered",
    "T": "how many of the best detections are right",
    r"\tau": "a threshold",
    "t": "a threshold of IoU for a detection to be right",
    "v": "how far the shapes of two boxes differ",
    "w": "width of a box",
    "h": "height of a box",
    "w_p": "width of a proposal",
    "h_p": "height of a proposal",
    "x": (
        Sense(
            "the left side of a box",
            "If $x$ and $x'$ are their left sides",
            ("boxes-window",),
        ),
        Sense(
            "how far right the centre of a box lies",
            "With centres $(x, y)$",
            ("boxes-encode", "boxes-decode"),
        ),
    ),
    "x_1": "the left side of a box",
    "y_1": "the upper side of a box",
    "x_2": "the right side of a box",
    "y_2": "the lower side of a box",
    "x_p": "how far right the centre of a proposal lies",
    "y_p": "how far down the centre of a proposal lies",
    "y": "how far down the centre of a box lies",
    "z": "the centre of a box",
}
"""What the symbols of the chapter mean; see `Symbols`."""
