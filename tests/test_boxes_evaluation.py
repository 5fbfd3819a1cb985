"""`course_lib.boxes.evaluation` against pycocotools, torchmetrics, its loops and small examples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.detection import MeanAveragePrecision

from coco_reference import KEYS, evaluate, to_coco
from course_lib import boxes as topic

Images = list[dict[str, Tensor]]


def numbers(result: dict[str, Tensor]) -> list[float]:
    return [result[key].item() for key in KEYS]


# --- images of every kind -------------------------------------------------------------------------


def boxes_in(g: torch.Generator, count: int, largest: float = 150) -> Tensor:
    corners = 400 * torch.rand(count, 2, generator=g)
    return torch.cat((corners, corners + 5 + largest * torch.rand(count, 2, generator=g)), 1)


def images(
    seed: int,
    count: int = 6,
    *,
    classes: int = 3,
    objects: int = 5,
    detections: int = 20,
    coarse: bool = False,
    copies: int = 1,
    flags: bool = True,
) -> tuple[Images, Images]:
    """Objects, and detections of which about half lie near an object.

    Args:
        coarse: boxes on a grid and few scores: ties in IoU and score, IoU exactly at thresholds.
        copies: how often each object is there.
        flags: whether some objects are crowds, some difficult, and some have an area of their own.
    """
    g = torch.Generator().manual_seed(seed)
    predictions, targets = [], []
    for _ in range(count):
        number = int(torch.randint(0, 2 * objects + 1, (), generator=g))
        boxes = boxes_in(g, number)
        labels = torch.randint(0, classes, (number,), generator=g)
        most = int(torch.randint(0, 2 * detections + 1, (), generator=g))
        found, guess = boxes_in(g, most), torch.randint(0, classes, (most,), generator=g)
        if number > 0:
            near = torch.randint(0, number, (most,), generator=g)
            moved = boxes[near] + 12 * torch.randn(most, 4, generator=g)
            hit = torch.rand(most, generator=g) < 0.5
            found = torch.where(hit[:, None], moved, found)
            guess = torch.where(hit, labels[near], guess)
        scores = torch.rand(most, generator=g)
        if coarse:
            boxes, found, scores = 20 * (boxes / 20).round(), 20 * (found / 20).round(), scores / 4
            scores = scores.round(decimals=1)
            boxes[:, 2:] = torch.maximum(boxes[:, 2:], boxes[:, :2] + 20)
        found[:, 2:] = torch.maximum(found[:, 2:], found[:, :2] + (20 if coarse else 1))
        target = {"boxes": boxes.repeat(copies, 1), "labels": labels.repeat(copies)}
        if flags:
            size = len(target["labels"])
            if torch.rand((), generator=g) < 0.6:
                target["iscrowd"] = (torch.rand(size, generator=g) < 0.2).long()
            if torch.rand((), generator=g) < 0.6:
                target["difficult"] = torch.rand(size, generator=g) < 0.2
            if torch.rand((), generator=g) < 0.6:
                target["area"] = 1 + 12_000 * torch.rand(size, generator=g)
        predictions.append({"boxes": found, "scores": scores, "labels": guess})
        targets.append(target)
    return predictions, targets


KINDS: dict[str, dict[str, Any]] = {
    "plain": {"flags": False},
    "flags": {},
    "one class": {"classes": 1},
    "many classes": {"classes": 12, "count": 9},
    "one image": {"count": 1},
    "many detections": {"count": 3, "classes": 1, "detections": 160},
    "ties": {"coarse": True},
    "ties of one class": {"coarse": True, "classes": 1, "detections": 60},
    "duplicates": {"copies": 3},
    "duplicates with ties": {"copies": 2, "coarse": True},
    "few objects": {"objects": 1},
    "few detections": {"detections": 1},
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@each_kind
@pytest.mark.parametrize("seed", range(6))
def test_equals_pycocotools(kind: dict[str, Any], seed: int, device: torch.device) -> None:
    predictions, targets = images(seed, **kind)
    judge = evaluate(*to_coco(predictions, targets))
    moved = [
        [{k: v.to(device) for k, v in one.items()} for one in n] for n in (predictions, targets)
    ]
    result = topic.mean_average_precision(*moved)
    assert numbers(result) == pytest.approx(judge.stats.tolist(), abs=1e-9)
    assert result["map"].device.type == device.type
    assert result["classes"].tolist() == judge.params.catIds
    per_class = judge.eval["precision"][:, :, :, 0, -1].mean((0, 1))
    assert result["map_per_class"].tolist() == pytest.approx(per_class.tolist(), abs=1e-9)


@each_kind
def test_options_equal_pycocotools(kind: dict[str, Any]) -> None:
    predictions, targets = images(7, **kind)
    pair = to_coco(predictions, targets)
    for thresholds, most in (([0.5], [5]), ([0.3, 0.75, 1.0], [2, 30]), ([0.0], [1000])):
        judge = evaluate(*pair, iouThrs=thresholds, maxDets=most)
        result = topic.mean_average_precision(
            predictions, targets, iou_thresholds=thresholds, max_detections=most
        )
        for key, table in (
            ("map", judge.eval["precision"][..., 0, -1]),
            ("map_small", judge.eval["precision"][..., 1, -1]),
            *((f"mar_{m}", judge.eval["recall"][..., 0, n]) for n, m in enumerate(most)),
        ):
            known = table[table > -1]
            expected = known.mean() if known.size else -1
            assert result[key].item() == pytest.approx(expected, abs=1e-9), key
        assert (result["map_50"] == -1) == (0.5 not in thresholds)
        assert (result["map_75"] == -1) == (0.75 not in thresholds) or result["map"] == -1


@each_kind
def test_eleven_points_equal_pycocotools_with_eleven(kind: dict[str, Any]) -> None:
    predictions, targets = images(8, **kind)
    judge = evaluate(*to_coco(predictions, targets), iouThrs=[0.5], recThrs=np.linspace(0, 1, 11))
    table = judge.eval["precision"][..., 0, -1]
    expected = table[table > -1].mean() if (table > -1).any() else -1
    result = topic.mean_average_precision(
        predictions, targets, iou_thresholds=[0.5], method="voc2007"
    )
    assert result["map"].item() == pytest.approx(expected, abs=1e-9)


@each_kind
@pytest.mark.parametrize("method", ["coco", "voc2007", "voc2010"])
def test_loops_say_the_same(kind: dict[str, Any], method: str) -> None:
    predictions, targets = images(9, **kind)
    options = {"iou_thresholds": [0.5, 0.75], "method": method}
    expected = topic.mean_average_precision(predictions, targets, **options)
    got = topic.mean_average_precision_loops(predictions, targets, **options)
    assert got == pytest.approx(expected["map"].item(), abs=1e-9)
    small = topic.mean_average_precision_loops(
        predictions, targets, **options, area=topic.AREAS["small"]
    )
    assert small == pytest.approx(expected["map_small"].item(), abs=1e-9)


def test_equals_torchmetrics() -> None:
    """The same dicts in, the same keys out.

    Left to itself it rounds both grids to float32, and then misses recalls that lie on them.
    """
    predictions, targets = images(10, count=12, classes=4)
    for target in targets:
        target.pop("difficult", None)
    metric = MeanAveragePrecision(
        class_metrics=True,
        iou_thresholds=list(topic.COCO_THRESHOLDS),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    metric.update(predictions, targets)
    expected = metric.compute()
    result = topic.mean_average_precision(predictions, targets)
    for key in (*KEYS, "map_per_class"):
        assert result[key].tolist() == pytest.approx(expected[key].tolist(), abs=1e-6), key
    assert result["classes"].tolist() == expected["classes"].tolist()


# --- what can be missing --------------------------------------------------------------------------

NO_BOXES = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
NOTHING = {**NO_BOXES, "scores": torch.zeros(0)}
BOX = torch.tensor([[10.0, 10.0, 50.0, 50.0]])
THING = {"boxes": BOX, "labels": torch.tensor([7])}
HIT = {**THING, "scores": torch.tensor([0.9])}


def test_nothing_to_find_has_no_score() -> None:
    for prediction in (NOTHING, HIT):
        result = topic.mean_average_precision([prediction], [NO_BOXES])
        assert numbers(result) == [-1] * 12
        assert result["map_per_class"].tolist() == [-1] * len(result["classes"])
        assert topic.mean_average_precision_loops([prediction], [NO_BOXES]) == -1


def test_nothing_found_scores_nothing() -> None:
    result = topic.mean_average_precision([NOTHING], [THING])
    assert result["map"] == result["mar_100"] == 0
    assert (result["map_small"], result["map_medium"], result["map_large"]) == (-1, 0, -1)
    assert result["classes"].tolist() == [7]


def test_all_found_scores_one() -> None:
    result = topic.mean_average_precision([HIT, NOTHING], [THING, NO_BOXES])
    for key in ("map", "map_50", "map_75", "map_medium", "mar_1", "mar_100"):
        assert result[key].item() == pytest.approx(1)
    assert result["map"].dtype == torch.float64


def test_a_second_detection_of_the_same_object_is_wrong() -> None:
    twice = {key: torch.cat((value, value)) for key, value in HIT.items()}
    two = {key: torch.cat((value, value + 100)) for key, value in THING.items() if key == "boxes"}
    two["labels"] = torch.tensor([7, 7])
    result = topic.mean_average_precision([twice], [two], iou_thresholds=[0.5])
    # Precision 1 up to recall 1/2, which 51 of the 101 points reach.
    assert result["map"].item() == pytest.approx(51 / 101)
    assert result["mar_100"] == 0.5


def test_a_crowd_is_neither_for_nor_against() -> None:
    inside = {
        "boxes": torch.cat((BOX, BOX / 2 + 10, BOX / 4 + 20)),
        "labels": torch.tensor([7, 7, 7]),
        "scores": torch.tensor([0.5, 0.9, 0.8]),
    }
    crowd = {
        "boxes": torch.cat((BOX, torch.tensor([[0.0, 0.0, 90.0, 90.0]]))),
        "labels": torch.tensor([7, 7]),
        "iscrowd": torch.tensor([0, 1]),
    }
    assert topic.mean_average_precision([inside], [crowd])["map"].item() == pytest.approx(1)
    plain = {**crowd, "iscrowd": torch.tensor([0, 0])}
    assert topic.mean_average_precision([inside], [plain])["map"] < 0.5


def test_a_difficult_object_counts_for_nothing_however_often_it_is_found() -> None:
    both = {
        "boxes": torch.cat((BOX, BOX + 100, BOX + 100)),
        "labels": torch.tensor([7, 7, 7]),
        "scores": torch.tensor([0.5, 0.9, 0.8]),
    }
    target = {
        "boxes": torch.cat((BOX, BOX + 100)),
        "labels": torch.tensor([7, 7]),
        "difficult": torch.tensor([False, True]),
    }
    result = topic.mean_average_precision([both], [target])
    assert result["map"].item() == pytest.approx(1)
    loops = topic.mean_average_precision_loops([both], [target])
    assert loops == pytest.approx(1)


def by_voc(prediction: dict[str, Tensor], target: dict[str, Tensor], threshold: float) -> float:
    """Area under the curve of one image and one class, by VOC's rule for each detection.

    It is judged by the object that it overlaps most: difficult, it counts for nothing; found
    already, it is wrong.
    """
    difficult = target["difficult"].tolist()
    found, right = set(), []
    for n in prediction["scores"].argsort(descending=True).tolist():
        iou = topic.box_iou(prediction["boxes"][n : n + 1], target["boxes"])[0].tolist()
        best = max(range(len(iou)), key=iou.__getitem__)
        if iou[best] < threshold:
            right.append(False)
        elif not difficult[best]:
            right.append(best not in found)
            found.add(best)
    precision = [sum(right[:n]) / n for n in range(1, len(right) + 1)]
    hits = [max(precision[n:]) for n, hit in enumerate(right) if hit]
    return sum(hits) / difficult.count(False)


@pytest.mark.parametrize("seed", range(20))
def test_difficult_objects_are_vocs(seed: int) -> None:
    """Objects lie apart, so that a detection has to do with one only, as in either protocol."""
    g = torch.Generator().manual_seed(seed)
    corners = 100.0 * torch.stack((torch.arange(8), torch.arange(8)), 1)
    objects = torch.cat((corners, corners + 60), 1).double()
    near = torch.randint(0, 8, (40,), generator=g)
    prediction = {
        "boxes": objects[near] + 10 * torch.randn(40, 4, generator=g),
        "scores": torch.rand(40, generator=g),
        "labels": torch.zeros(40).long(),
    }
    target = {
        "boxes": objects,
        "labels": torch.zeros(8).long(),
        "difficult": torch.rand(8, generator=g) < 0.4,
    }
    target["difficult"][0] = False  # so that there is something to find
    options = {"iou_thresholds": [0.5], "method": "voc2010"}
    expected = pytest.approx(by_voc(prediction, target, 0.5), abs=1e-9)
    assert topic.mean_average_precision([prediction], [target], **options)["map"] == expected
    assert topic.mean_average_precision_loops([prediction], [target], **options) == expected


# --- one curve ------------------------------------------------------------------------------------


def test_each_detection_gets_the_best_object_that_is_left() -> None:
    objects = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [50, 50, 60, 60]])
    found = torch.tensor([[1.0, 0, 11, 10], [0, 0, 10, 10], [0, 0, 10, 10], [49, 50, 59, 60]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95])
    assert topic.match_boxes(found, scores, objects).tolist() == [0, -1, -1, 2]
    assert topic.match_boxes(found, scores, objects, 0.4).tolist() == [0, 1, -1, 2]
    assert topic.match_boxes(found, scores, objects[:0]).tolist() == [-1] * 4
    assert topic.match_boxes(found[:0], scores[:0], objects).tolist() == []


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_of_two_objects_overlapped_alike_the_later_is_found(order: list[int]) -> None:
    """Then the second detection finds its object or not: the first one overlaps both by 9/11."""
    objects = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10]])[order]
    boxes, scores = torch.tensor([[1.0, 0, 11, 10], [4, 0, 14, 10]]), torch.tensor([0.9, 0.8])
    predictions = [{"boxes": boxes, "scores": scores, "labels": torch.zeros(2).long()}]
    targets = [{"boxes": objects, "labels": torch.zeros(2).long()}]
    result = topic.mean_average_precision(predictions, targets)
    judge = evaluate(*to_coco(predictions, targets))
    assert numbers(result) == pytest.approx(judge.stats.tolist(), abs=1e-9)
    assert result["map_50"].item() == pytest.approx(51 / 101 if order == [0, 1] else 1)
    matched = topic.match_boxes(boxes, scores, objects)
    assert matched.tolist() == ([1, -1] if order == [0, 1] else [1, 0])


@pytest.mark.parametrize("seed", range(8))
def test_matches_are_those_of_pycocotools(seed: int, device: torch.device) -> None:
    predictions, targets = images(
        seed, 1, classes=1, flags=False, coarse=seed % 2 > 0, objects=12, detections=40
    )
    (prediction,), (target,) = predictions, targets
    judge = evaluate(*to_coco(predictions, targets), iouThrs=[0.5], maxDets=[1000])
    if judge.evalImgs[0] is None:
        return
    order = prediction["scores"].argsort(descending=True, stable=True)
    expected = judge.evalImgs[0]["dtMatches"][0].astype(int) - 1
    found = topic.match_boxes(
        *(value.to(device) for value in (prediction["boxes"], prediction["scores"])),
        target["boxes"].to(device),
    )
    assert found.cpu()[order].tolist() == expected.tolist()


def test_precision_and_recall_by_hand() -> None:
    scores = torch.tensor([0.3, 0.9, 0.6, 0.8])
    correct = torch.tensor([True, True, False, False])
    precision, recall = topic.precision_recall(scores, correct, 4)
    assert precision.tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 2])
    assert recall.tolist() == pytest.approx([1 / 4, 1 / 4, 1 / 4, 1 / 2])
    # Best precision at recall or beyond: 1 up to 1/4, 1/2 up to 1/2, 0 from there on.
    assert topic.average_precision(precision, recall, "voc2010").item() == pytest.approx(3 / 8)
    assert topic.average_precision(precision, recall, "coco").item() == pytest.approx(
        (26 * 1 + 25 * 0.5) / 101
    )
    assert topic.average_precision(precision, recall, "voc2007").item() == pytest.approx(
        (3 * 1 + 3 * 0.5) / 11
    )


def test_no_detections_have_an_empty_curve() -> None:
    precision, recall = topic.precision_recall(torch.zeros(0), torch.zeros(0).bool(), 3)
    assert precision.shape == recall.shape == (0,)
    for method in ("coco", "voc2007", "voc2010"):
        assert topic.average_precision(precision, recall, method) == 0


# --- what a wrong argument gets -----------------------------------------------------------------

CURVE = torch.ones(3, dtype=torch.float64)
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: topic.mean_average_precision([HIT], []), ValueError, "predictions, targets: expected"),
    (lambda: topic.mean_average_precision([], []), ValueError, "predictions, targets: expected"),
    (
        lambda: topic.mean_average_precision([HIT, THING], [THING, THING]),
        ValueError,
        r"predictions\[1\]: expected 'scores', got 'boxes', 'labels'",
    ),
    (
        lambda: topic.mean_average_precision([HIT], [BOX]),
        TypeError,
        r"targets\[0\]: expected a dict with boxes, labels, got a tensor",
    ),
    (
        lambda: topic.mean_average_precision([{**HIT, "scores": torch.ones(2)}], [THING]),
        ValueError,
        r"predictions\[0\]\['scores'\]: expected shape \(1\)",
    ),
    (
        lambda: topic.mean_average_precision([HIT], [{**THING, "labels": torch.tensor([1.0])}]),
        TypeError,
        r"targets\[0\]\['labels'\]: expected integers",
    ),
    (
        lambda: topic.mean_average_precision([HIT], [{**THING, "iscrowd": torch.ones(2)}]),
        ValueError,
        r"targets\[0\]\['iscrowd'\]: expected shape \(1\)",
    ),
    (
        lambda: topic.mean_average_precision(
            [{**HIT, "scores": torch.tensor([math.nan])}], [THING]
        ),
        ValueError,
        r"predictions\[0\]\['scores'\]: expected finite numbers, got NaN",
    ),
    (
        lambda: topic.mean_average_precision([{**HIT, "boxes": BOX.long()}], [THING]),
        TypeError,
        r"predictions\[0\]\['boxes'\]: expected a floating dtype",
    ),
    (
        lambda: topic.mean_average_precision([HIT], [THING], iou_thresholds=[50]),
        ValueError,
        "iou_threshold: expected a finite number",
    ),
    (
        lambda: topic.mean_average_precision([HIT], [THING], iou_thresholds=[]),
        ValueError,
        "iou_thresholds, max_detections: expected at least one",
    ),
    (
        lambda: topic.mean_average_precision([HIT], [THING], max_detections=[0]),
        ValueError,
        "max_detections: expected an integer >= 1",
    ),
    (
        lambda: topic.mean_average_precision([HIT], [THING], method="voc"),
        ValueError,
        "method: expected one of 'coco'",
    ),
    (lambda: topic.precision_recall(torch.ones(2), CURVE > 0, 3), ValueError, "correct: expected"),
    (lambda: topic.precision_recall(CURVE, CURVE > 0, 0), ValueError, "positives: expected an"),
    (lambda: topic.average_precision(CURVE, CURVE[:2]), ValueError, "recall: expected shape"),
    (lambda: topic.average_precision(CURVE, CURVE, "area"), ValueError, "method: expected one of"),
    (lambda: topic.match_boxes(BOX, CURVE, BOX), ValueError, r"detections\['scores'\]: expected"),
    (lambda: topic.match_boxes(BOX, CURVE[:1], BOX, 2), ValueError, "iou_threshold: expected"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_arguments_are_answered(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()
