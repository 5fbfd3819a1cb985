"""How good are the boxes of a detector? From matches to mean average precision.

The protocol is that of the COCO challenge, for boxes. Equations: (boxes-precision-recall),
(boxes-envelope), (boxes-average-precision), (boxes-average-precision-voc), (boxes-map).

Sources:
    Everingham et al., "The PASCAL visual object classes (VOC) challenge", 2010, section 4.2.
    Lin et al., "Microsoft COCO: common objects in context", 2014, and the evaluation code that
        goes with it, which settles what the paper leaves open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from course_lib.boxes.geometry import box_area, box_iou
from course_lib.checking import (
    describe,
    expect_choice,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)

Annotations = Mapping[str, Tensor]

# As COCO's code makes them: in steps that are no round numbers in binary.
COCO_THRESHOLDS = (*(0.5 + n * ((0.95 - 0.5) / 9) for n in range(9)), 0.95)
AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""areas of objects, in square pixels, both ends included"""


# --- one curve ----------------------------------------------------------------------------------


def match_boxes(
    boxes: Tensor, scores: Tensor, target_boxes: Tensor, iou_threshold: float = 0.5
) -> Tensor:
    """Say which object each detection of one class in one image has found.

    From the highest score to the lowest, each detection takes, of the objects not yet taken, the
    one that it overlaps most, if their IoU is at least ``iou_threshold``; else it takes none.
    VOC's own code looks among all objects, and finds none if the best is taken already.

    Args:
        boxes: ``Tensor[N, 4]``, the detections, ``(x1, y1, x2, y2)``.
        scores: ``Tensor[N]``.
        target_boxes: ``Tensor[M, 4]``, the objects.
    Returns:
        ``Tensor[N]``, int64: the index of the object, or -1.
    """
    _expect_annotations("detections", {"boxes": boxes, "scores": scores}, ("boxes", "scores"))
    _expect_annotations("objects", {"boxes": target_boxes}, ("boxes",))
    limit = min(_expect_threshold(iou_threshold), 1 - 1e-10)
    iou = box_iou(boxes.double(), target_boxes.double())
    found = torch.full_like(scores, -1, dtype=torch.int64)
    if iou.shape[1] > 0:
        for n in scores.argsort(descending=True, stable=True):
            best = len(target_boxes) - 1 - iou[n].flip(0).argmax()  # the last of equal ones
            taken = iou[n, best] >= limit
            found[n] = torch.where(taken, best, -1)
            iou[:, best] = torch.where(taken, -1, iou[:, best])
    return found


def precision_recall(scores: Tensor, correct: Tensor, positives: int) -> tuple[Tensor, Tensor]:
    """Precision and recall of the best n detections, for every n; (boxes-precision-recall).

    Args:
        scores: ``Tensor[N]``; of equal scores the lower index comes first.
        correct: ``Tensor[N]``, bool: whether the detection has found an object.
        positives: how many objects there are.
    Returns:
        precision and recall, ``Tensor[N]`` each, float64, from the highest score on.
    """
    expect_tensor("scores", scores, ndim=1, floating=True)
    expect_tensor("correct", correct, ndim=1)
    expect_shape("correct", correct, scores.shape)
    expect_int("positives", positives, minimum=1)
    hits = correct[scores.argsort(descending=True, stable=True)].double().cumsum(0)
    return _curve(hits, torch.ones_like(hits).cumsum(0) - hits, positives)


def average_precision(precision: Tensor, recall: Tensor, method: str = "coco") -> Tensor:
    """Area under the curve of precision over recall; (boxes-average-precision).

    Precision first becomes the best that is reached at that recall or beyond; (boxes-envelope).

    Args:
        precision, recall: ``Tensor[N]``, floating, from `precision_recall`.
        method: ``"coco"``: the mean at the 101 recalls 0, 0.01, ..., 1; ``"voc2007"``: at the 11
            recalls 0, 0.1, ..., 1; ``"voc2010"``: the exact area,
            (boxes-average-precision-voc).
    Returns:
        one number in [0, 1]; 0 without detections.
    """
    expect_tensor("precision", precision, ndim=1, floating=True)
    expect_tensor("recall", recall, ndim=1, floating=True)
    expect_shape("recall", recall, precision.shape)
    expect_choice("method", method, ("coco", "voc2007", "voc2010"))
    return _area_under(precision[None], recall[None], method)[0]


def _curve(hits: Tensor, misses: Tensor, positives: Tensor | int) -> tuple[Tensor, Tensor]:
    # The same tiny number in the denominator as in COCO's code, where it avoids 0/0.
    return hits / (hits + misses + 2.0**-52), hits / positives


def _area_under(precision: Tensor, recall: Tensor, method: str) -> Tensor:
    """Average precision of several curves ``Tensor[C, N]``; ``Tensor[C]``."""
    if precision.shape[1] == 0:
        return precision.new_zeros(len(precision))
    envelope = precision.flip(1).cummax(1).values.flip(1)  # (boxes-envelope)
    if method == "voc2010":
        return (envelope * recall.diff(prepend=torch.zeros_like(recall[:, :1]))).sum(1)
    points = 101 if method == "coco" else 11
    levels = torch.arange(points, dtype=recall.dtype, device=recall.device) * (1 / (points - 1))
    at = torch.searchsorted(recall, levels.expand(len(recall), -1).contiguous())  # (C, points)
    beyond = torch.cat((envelope, torch.zeros_like(envelope[:, :1])), 1)  # 0 if not reached
    return beyond.gather(1, at).mean(1)


# --- a whole data set -----------------------------------------------------------------------------


def mean_average_precision_loops(
    predictions: Sequence[Annotations],
    targets: Sequence[Annotations],
    *,
    iou_thresholds: Sequence[float] = COCO_THRESHOLDS,
    max_detections: int = 100,
    area: tuple[float, float] = AREAS["all"],
    method: str = "coco",
) -> float:
    """Follow the protocol detection by detection, equation (boxes-map): the oracle of the tests.

    Args:
        predictions, targets, iou_thresholds, method: as in `mean_average_precision`.
        max_detections: of one class in one image.
        area: objects of other areas are ignored.
    Returns:
        the mean over thresholds and classes, or -1 if there is no object.
    """
    labels = {int(label) for target in targets for label in target["labels"]}
    values = []
    for label in labels:
        for threshold in iou_thresholds:
            scores, correct, positives = [], [], 0
            for prediction, target in zip(predictions, targets, strict=True):
                found, objects = _image_loops(
                    prediction, target, label, min(threshold, 1 - 1e-10), max_detections, area
                )
                positives += objects
                scores += [score for score, _ in found]
                correct += [hit for _, hit in found]
            if positives > 0:
                curve = precision_recall(
                    torch.tensor(scores, dtype=torch.float64), torch.tensor(correct), positives
                )
                values.append(average_precision(*curve, method).item())
    return sum(values) / len(values) if values else -1.0


def _image_loops(
    prediction: Annotations,
    target: Annotations,
    label: int,
    threshold: float,
    most: int,
    area: tuple[float, float],
) -> tuple[list[tuple[float, bool]], int]:
    """Score and success of each detection of one class in one image that counts; the objects."""
    low, high = area
    objects: list[dict[str, Any]] = []
    for m in (target["labels"] == label).nonzero()[:, 0].tolist():
        box = target["boxes"][m].double()
        given = target["area"][m].item() if "area" in target else 0
        size = given if given > 0 else box_area(box).item()
        crowd = "iscrowd" in target and bool(target["iscrowd"][m])
        difficult = "difficult" in target and bool(target["difficult"][m])
        ignored = crowd or difficult or not low <= size <= high
        again = crowd or difficult
        objects.append(
            {"box": box, "crowd": crowd, "again": again, "ignored": ignored, "free": True}
        )
    own = (prediction["labels"] == label).nonzero()[:, 0]
    own = own[prediction["scores"][own].argsort(descending=True, stable=True)][:most]
    found = []
    for n in own.tolist():
        box = prediction["boxes"][n].double()
        size = box_area(box).item()
        best: dict[str, Any] | None = None
        overlap = threshold
        for wanted in (False, True):  # an object that is ignored is the second choice
            for entry in objects:
                if entry["ignored"] != wanted or not (entry["free"] or entry["again"]):
                    continue
                iou = _overlap_loops(box.tolist(), entry["box"].tolist(), entry["crowd"])
                if iou >= overlap:
                    best, overlap = entry, iou
            if best is not None:
                break
        if best is not None:
            best["free"] = False
        ignored = best["ignored"] if best is not None else not low <= size <= high
        if not ignored:
            found.append((prediction["scores"][n].item(), best is not None))
    return found, sum(not entry["ignored"] for entry in objects)


def _overlap_loops(box: list[float], other: list[float], crowd: bool) -> float:
    """IoU; of a crowd, the share of the box that lies in it."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    inter, area = width * height, (box[2] - box[0]) * (box[3] - box[1])
    union = area + (other[2] - other[0]) * (other[3] - other[1]) - inter
    return inter / (area if crowd else union)


def mean_average_precision(
    predictions: Sequence[Annotations],
    targets: Sequence[Annotations],
    *,
    iou_thresholds: Sequence[float] = COCO_THRESHOLDS,
    max_detections: Sequence[int] = (1, 10, 100),
    method: str = "coco",
) -> dict[str, Tensor]:
    """Score a detector as COCO does; equation (boxes-map).

    Takes what ``torchmetrics.detection.MeanAveragePrecision`` takes, and gives what it gives.

    A detection that has found an ignored object counts neither for nor against, nor does one that
    has found none if its own area is out of range. Ignored are crowds, difficult objects, and
    those out of range of area. Crowds and difficult objects may be found any number of times; a
    detection's overlap with a crowd is its share that lies inside. COCO knows no difficult
    objects: to count for nothing however often they are found is VOC's rule.

    Args:
        predictions: for each image ``boxes``, ``Tensor[N, 4]``, ``(x1, y1, x2, y2)`` in pixels;
            ``scores``, ``Tensor[N]``, floating; ``labels``, ``Tensor[N]``, integers.
        targets: for each image ``boxes`` and ``labels``; if there, ``iscrowd`` and ``difficult``,
            ``Tensor[M]``, 0 or 1, and ``area``, ``Tensor[M]``, in square pixels (the box's own
            if not).
        iou_thresholds: from which IoU on a detection has found an object; averaged over.
        max_detections: how many detections of one class in one image count, the best first; the
            largest holds but for the recalls ``mar_1`` and so on.
        method: as in `average_precision`.
    Returns:
        means over the classes that occur in the targets, float64, -1 where there is no object:
        ``map``; ``map_50`` and ``map_75`` at one threshold (-1 if it is not asked for);
        ``map_small``, ``map_medium``, ``map_large`` by the object's area (under 32² pixels, up
        to 96², above); the mean largest recall ``mar_1``, ``mar_10``, ``mar_100`` with so many
        detections, ``mar_small``, ``mar_medium``, ``mar_large``; and for each label in ``classes``
        (sorted) ``map_per_class``.
    Raises:
        TypeError, ValueError: if something is missing or does not fit, with its name and image.
    """
    expect_choice("method", method, ("coco", "voc2007", "voc2010"))
    thresholds = [min(_expect_threshold(value), 1 - 1e-10) for value in iou_thresholds]
    limits = sorted(expect_int("max_detections", value, minimum=1) for value in max_detections)
    if not thresholds or not limits:
        raise ValueError("iou_thresholds, max_detections: expected at least one, got none")
    found, wanted, classes = _gather(predictions, targets, limits[-1])
    matched, ignored = _match(found, wanted, found.boxes.new_tensor(thresholds))  # (T, A, N)
    positives = _count(~wanted.ignored, wanted.label, len(classes))  # (A, K)
    precision = _precisions(found.label, matched, ignored, positives, method)  # (T, A, K)
    hits = matched & ~ignored
    recalls = {
        most: _count(hits & (found.position < most), found.label, len(classes))
        .div(positives)
        .where(positives > 0, -1)  # (T, A, K)
        for most in limits
    }
    areas = list(AREAS)[1:]
    return {
        "map": _mean(precision[:, 0]),
        "map_50": _mean(_at(precision[:, 0], iou_thresholds, 0.5)),
        "map_75": _mean(_at(precision[:, 0], iou_thresholds, 0.75)),
        **{f"map_{name}": _mean(precision[:, n]) for n, name in enumerate(areas, 1)},
        **{f"mar_{most}": _mean(recall[:, 0]) for most, recall in recalls.items()},
        **{f"mar_{name}": _mean(recalls[limits[-1]][:, n]) for n, name in enumerate(areas, 1)},
        "map_per_class": precision[:, 0].mean(0),
        "classes": classes,
    }


class _Detections(NamedTuple):
    """The detections of all images, class by class and from the highest score on."""

    boxes: Tensor  # (N, 4), float64
    label: Tensor  # (N,), the number of the class
    group: Tensor  # (N,), image and class in one number
    position: Tensor  # (N,), how many of the same group are better
    outside: Tensor  # (A, N), whether the area is out of range


class _Objects(NamedTuple):
    """The objects of all images."""

    boxes: Tensor  # (M, 4), float64
    label: Tensor  # (M,)
    group: Tensor  # (M,)
    crowd: Tensor  # (M,), bool
    again: Tensor  # (M,), bool, whether it may be found any number of times
    ignored: Tensor  # (A, M), bool


def _gather(
    predictions: Sequence[Annotations], targets: Sequence[Annotations], most: int
) -> tuple[_Detections, _Objects, Tensor]:
    """Put the images together, sort, and leave out what comes after the ``most`` best."""
    _expect_images(predictions, targets)
    classes, numbers = torch.unique(
        torch.cat((_column(predictions, "labels"), _column(targets, "labels"))),
        return_inverse=True,
    )
    image, image2 = _image_of(predictions), _image_of(targets)
    label, label2 = numbers.split((len(image), len(image2)))
    group, group2 = image * len(classes) + label, image2 * len(classes) + label2

    boxes2, area2 = _column(targets, "boxes").double(), _column(targets, "area", 0)
    crowd = _column(targets, "iscrowd", 0) != 0
    again = crowd | (_column(targets, "difficult", 0) != 0)
    ignored = again | _outside(torch.where(area2 > 0, area2.double(), box_area(boxes2)))
    objects = _Objects(boxes2, label2, group2, crowd, again, ignored)

    order = _column(predictions, "scores").argsort(descending=True, stable=True)
    order = order[label[order].argsort(stable=True)]
    position = _position(group[order])
    order, position = order[position < most], position[position < most]
    boxes = _column(predictions, "boxes")[order].double()
    outside = _outside(box_area(boxes))
    return _Detections(boxes, label[order], group[order], position, outside), objects, classes


def _match(found: _Detections, wanted: _Objects, thresholds: Tensor) -> tuple[Tensor, Tensor]:
    """Match every detection at every threshold and range of area.

    Only a pair that overlaps enough for the lowest threshold can match, and those are few. One
    detection of each group has its turn at a time, so that all groups are served together.

    Returns:
        ``Tensor[T, A, N]``, bool, twice: whether a detection has found an object, and whether it
        is ignored.
    """
    detection, target, iou = _pairs(found, wanted, thresholds.min())
    shape = len(thresholds), len(wanted.ignored)
    matched = torch.zeros(*shape, len(found.group), dtype=torch.bool, device=iou.device)
    ignored = torch.zeros_like(matched)
    free = torch.ones(*shape, len(wanted.group), dtype=torch.bool, device=iou.device)
    choice = _position(detection)
    candidates = detection[choice == 0]  # each once
    row = (choice == 0).cumsum(0) - 1
    widest = int(choice.max()) + 1 if len(choice) else 0
    objects = target.new_zeros(len(candidates), widest).index_put_((row, choice), target)
    overlap = iou.new_full(objects.shape, -1).index_put_((row, choice), iou)
    turn = _position(found.group[candidates])
    for number in range(int(turn.max()) + 1 if len(turn) else 0):
        here = turn == number
        own, served = objects[here], candidates[here]  # (n, W), the best overlap first; (n,)
        fits = (overlap[here] >= thresholds[:, None, None, None]) & free[:, :, own]  # (T, A, n, W)
        wish = fits.byte() + (fits & ~wanted.ignored[:, own]).byte()  # 2: better than ignored, 1
        best = wish.argmax(-1, keepdim=True)  # the first of equal ones
        hit = wish.gather(-1, best)[..., 0] > 0  # (T, A, n)
        chosen = own.expand(*shape, -1, -1).gather(-1, best)[..., 0]
        matched[:, :, served] = hit
        ignored[:, :, served] = hit & wanted.ignored.expand(*shape, -1).gather(-1, chosen)
        free.scatter_(-1, chosen, free.gather(-1, chosen) & (~hit | wanted.again[chosen]))
    return matched, ignored | (~matched & found.outside)


def _pairs(found: _Detections, wanted: _Objects, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Every detection with every object of its group that it overlaps by at least ``limit``.

    Returns:
        ``Tensor[P]`` three times: indices of detection and object, and their IoU; sorted by
        detection, then from the largest IoU on, of equal ones the later object first.
    """
    by_group = wanted.group.argsort(stable=True)
    first = torch.searchsorted(wanted.group[by_group], found.group)
    last = torch.searchsorted(wanted.group[by_group], found.group, right=True)
    ends = (last - first).cumsum(0)
    pair = torch.arange(int(ends[-1]) if len(ends) else 0, device=ends.device)
    detection = torch.searchsorted(ends, pair, right=True)
    target = by_group[pair - ends[detection] + last[detection]]

    a, b = found.boxes[detection], wanted.boxes[target]
    extent = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    inter, area = extent.prod(1), box_area(a)
    union = torch.where(wanted.crowd[target], area, area + box_area(b) - inter)
    iou = inter / union.where(inter > 0, 1)
    enough = pair[iou >= limit].flip(0)
    enough = enough[iou[enough].argsort(descending=True, stable=True)]
    enough = enough[detection[enough].argsort(stable=True)]
    return detection[enough], target[enough], iou[enough]


def _precisions(
    label: Tensor, matched: Tensor, ignored: Tensor, positives: Tensor, method: str
) -> Tensor:
    """Average precision at every threshold, range and class; ``Tensor[T, A, K]``, -1 for none."""
    values = positives.new_zeros(*matched.shape[:2], positives.shape[1])
    bounds = torch.searchsorted(label, torch.arange(positives.shape[1] + 1).to(label)).tolist()
    for k, (start, end) in enumerate(pairwise(bounds)):
        own, without = matched[..., start:end], ignored[..., start:end]  # (T, A, n)
        hits = (own & ~without).cumsum(-1, dtype=torch.float64)
        misses = (~own & ~without).cumsum(-1, dtype=torch.float64)
        precision, recall = _curve(hits, misses, positives[:, k, None])
        values[:, :, k] = _area_under(precision.flatten(0, 1), recall.flatten(0, 1), method).view(
            values.shape[:2]
        )
    return values.where(positives > 0, -1)


# --- helpers --------------------------------------------------------------------------------------


def _column(annotations: Sequence[Annotations], name: str, default: int | None = None) -> Tensor:
    """One column of all images; ``default`` where an image has none."""
    return torch.cat(
        [
            one[name] if default is None or name in one else torch.full_like(one["labels"], default)
            for one in annotations
        ]
    )


def _image_of(annotations: Sequence[Annotations]) -> Tensor:
    """The number of the image that each box is in."""
    return torch.cat(
        [torch.full_like(one["labels"], n) for n, one in enumerate(annotations)]
    ).long()


def _position(groups: Tensor) -> Tensor:
    """For each entry, how many before it are of the same group."""
    order = groups.argsort(stable=True)
    place = torch.arange(len(groups), device=groups.device)
    begins = groups[order].diff(prepend=groups.new_full((1,), -1)) != 0
    first = torch.where(begins, place, 0).cummax(0).values if len(groups) else place
    return torch.empty_like(order).scatter_(0, order, place - first)


def _outside(area: Tensor) -> Tensor:
    """Whether an area is out of each of the `AREAS`; ``Tensor[A, N]``."""
    low, high = area.new_tensor(list(AREAS.values())).T[..., None]
    return (area < low) | (area > high)


def _count(what: Tensor, label: Tensor, classes: int) -> Tensor:
    """How many of ``Tensor[..., N]`` are true in each class; ``Tensor[..., K]``, float64."""
    counts = torch.zeros(*what.shape[:-1], classes, dtype=torch.float64, device=what.device)
    return counts.index_add_(-1, label, what.double())


def _mean(values: Tensor) -> Tensor:
    """Mean of what is not -1, or -1."""
    known = values > -1
    return torch.where(known.any(), values.where(known, 0).sum() / known.sum().clamp(min=1), -1.0)


def _at(values: Tensor, thresholds: Sequence[float], wanted: float) -> Tensor:
    """The rows that belong to a threshold; none if it is not among them."""
    return values[[n for n, value in enumerate(thresholds) if math.isclose(value, wanted)]]


def _expect_threshold(iou_threshold: float) -> float:
    return expect_number("iou_threshold", iou_threshold, minimum=0, maximum=1)


def _expect_images(predictions: Sequence[Annotations], targets: Sequence[Annotations]) -> None:
    if not len(predictions) == len(targets) > 0:
        raise ValueError(
            "predictions, targets: expected equally many images, at least one,"
            f" got {len(predictions)} and {len(targets)}"
        )
    for n, (prediction, target) in enumerate(zip(predictions, targets, strict=True)):
        _expect_annotations(f"predictions[{n}]", prediction, ("boxes", "labels", "scores"))
        _expect_annotations(f"targets[{n}]", target, ("boxes", "labels"))


def _expect_annotations(name: str, given: Any, needed: tuple[str, ...]) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{name}: expected a dict with {', '.join(needed)}, got {describe(given)}")
    for key in needed:
        if key not in given:
            raise ValueError(f"{name}: expected {key!r}, got {', '.join(map(repr, given))}")
    columns = [key for key in (*needed, "iscrowd", "difficult", "area") if key in given]
    for key in columns:
        floating = key in ("boxes", "scores")
        expect_tensor(f"{name}[{key!r}]", given[key], floating=floating)
        count = len(given["boxes"]) if given["boxes"].ndim else 0
        expect_shape(f"{name}[{key!r}]", given[key], (None, 4) if key == "boxes" else (count,))
        if floating and not given[key].isfinite().all():
            raise ValueError(f"{name}[{key!r}]: expected finite numbers, got NaN or infinity")
        if key == "labels" and (given[key].is_floating_point() or given[key].dtype == torch.bool):
            raise TypeError(f"{name}['labels']: expected integers, got {given[key].dtype}")
