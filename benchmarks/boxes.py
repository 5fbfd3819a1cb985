"""What the chapter `boxes` times: overlaps, suppression, and the score of a detector."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor
from torchvision import ops
from torchvision.models.detection import _utils

from benchmarks.core import BACKWARD, FORWARD, Case, slow
from course_lib import boxes as bx

Scored = tuple[Tensor, Tensor]
Inputs = Callable[[torch.Generator], tuple[Tensor, ...]]


# --- overlaps -----------------------------------------------------------------------------------


def _anywhere(count: int, generator: torch.Generator, side: float = 1000.0) -> Tensor:
    """Boxes of 10 to 60 pixels a side in a square picture."""
    corners = side * torch.rand(count, 2, generator=generator)
    return torch.cat((corners, corners + 10 + 50 * torch.rand(count, 2, generator=generator)), 1)


def _two(count: int) -> Inputs:
    return lambda generator: (_anywhere(count, generator), _anywhere(count, generator))


def _pairs(
    operation: str, count: int, directions: tuple[str, ...] = (FORWARD,), **options: Any
) -> Case:
    return Case(
        operation,
        f"{count}×{count}",
        getattr(bx, operation),
        getattr(ops, operation),
        _two(count),
        directions=directions,
        library="torchvision",
        why="twelve short passes over a tile in the cache, each of them a call",
        **options,
    )


def _loss(operation: str, count: int) -> Case:
    return Case(
        operation,
        f"{count}",
        getattr(bx, operation),
        getattr(ops, operation),
        _two(count),
        library="torchvision",
    )


# --- one box at a time --------------------------------------------------------------------------


def _each(name: str, count: int, **options: Any) -> Case:
    return Case(
        name,
        f"{count}",
        partial(getattr(bx, name), **options),
        partial(getattr(ops, name), **options),
        lambda generator: (_anywhere(count, generator),),
        directions=(FORWARD,),
        library="torchvision",
    )


def _coded(name: str, count: int) -> Case:
    """Boxes as changes of other boxes, and back."""
    coder = _utils.BoxCoder((1.0, 1.0, 1.0, 1.0))

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        changes = 0.1 * torch.randn(count, 4, generator=generator)
        wanted = _anywhere(count, generator) if name == "encode_boxes" else changes
        return wanted, _anywhere(count, generator)

    return Case(
        name,
        f"{count}",
        getattr(bx, name),
        coder.encode_single if name == "encode_boxes" else coder.decode_single,
        inputs,
        directions=(FORWARD,),
        library="torchvision",
    )


# --- suppression --------------------------------------------------------------------------------


def _different(count: int, generator: torch.Generator) -> Tensor:
    """Scores of which no two are equal: torchvision's `batched_nms` leaves their order open."""
    return torch.randperm(count, generator=generator) / count


def _clustered(count: int, generator: torch.Generator) -> Scored:
    """About forty detections of each object, as a detector gives them."""
    middles = 1000 * torch.rand(count // 40, 4, generator=generator)
    which = torch.randint(0, count // 40, (count,), generator=generator)
    middle = middles[which, :2] + 4 * torch.randn(count, 2, generator=generator)
    half = (15 + middles[which, 2:] / 20) * torch.randn(count, 2, generator=generator).div(8).exp()
    return torch.cat((middle - half, middle + half), 1), _different(count, generator)


def _sparse(count: int, generator: torch.Generator) -> Scored:
    """So much room that hardly two boxes meet."""
    return _anywhere(count, generator, 40.0 * count**0.5), _different(count, generator)


def _dense(count: int, generator: torch.Generator) -> Scored:
    """Boxes anywhere in one picture: each overlaps many, but few by half."""
    return _anywhere(count, generator), _different(count, generator)


def _chain(count: int, generator: torch.Generator) -> Scored:
    """Each box would be suppressed by the one before it, if that were kept."""
    x = 3.0 * torch.arange(count)
    boxes = torch.stack((x, torch.zeros(count), x + 10, torch.full((count,), 10.0)), 1)
    return boxes, torch.linspace(1, 0, count)


def _suppression(
    boxes: Callable[[int, torch.Generator], Scored],
    count: int,
    at_most: float,
    on_cuda: float | None = None,
    **options: Any,
) -> Case:
    return Case(
        "nms",
        f"{count} {boxes.__name__[1:]}",
        partial(bx.nms, iou_threshold=0.5),
        partial(ops.nms, iou_threshold=0.5),
        partial(boxes, count),
        directions=(FORWARD,),
        limited=False,
        at_most={FORWARD: at_most},
        on_cuda={} if on_cuda is None else {FORWARD: on_cuda},
        library="torchvision",
        why="the calls of PyTorch's operations cost more than the twin's loop over so few boxes"
        if count <= 1000
        else "a fifth of the time goes into sorting, and most of the rest into many short calls"
        if boxes is _clustered
        else "it is near its goal, on one side or the other from run to run",
        **options,
    )


def _nms_by_opencv(boxes: Tensor, scores: Tensor) -> Tensor:
    """It takes corner and size."""
    import cv2

    rectangles = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1).numpy()
    suppress: Any = cv2.dnn.NMSBoxes  # typed for lists only
    return torch.from_numpy(suppress(rectangles, scores.numpy(), 0.0, 0.5)).long()


def _beside_opencv(count: int) -> Case:
    return Case(
        "nms",
        f"{count} clustered",
        partial(bx.nms, iou_threshold=0.5),
        _nms_by_opencv,
        partial(_clustered, count),
        directions=(FORWARD,),
        limited=False,
        library="OpenCV",
    )


def _by_class(count: int, classes: int) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        return *_clustered(count, generator), torch.randint(classes, (count,), generator=generator)

    return Case(
        "batched_nms",
        f"{count} clustered, {classes} classes",
        partial(bx.batched_nms, iou_threshold=0.5),
        partial(ops.batched_nms, iou_threshold=0.5),
        inputs,
        directions=(FORWARD,),
        limited=False,
        library="torchvision",
    )


# --- the score of a detector --------------------------------------------------------------------


def _annotations(
    images: int, detections: int, classes: int, objects: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Objects, and detections of which two in three lie near one.

    Returns:
        ``Tensor[images, detections, 6]``: box, score and label; ``Tensor[images, objects, 5]``:
        box and label.
    """
    boxes = _anywhere(images * objects, generator, 500.0).view(images, objects, 4)
    labels = torch.randint(classes, (images, objects, 1), generator=generator)
    wanted = torch.cat((boxes, labels), 2)
    near = torch.randint(objects, (images, detections, 1), generator=generator)
    found = wanted.gather(1, near.expand(-1, -1, 5)).clone()
    found[..., :4] += 3 * torch.randn(images, detections, 4, generator=generator)
    found[..., 2:4] = torch.maximum(found[..., 2:4], found[..., :2] + 1)
    wrong = torch.rand(images, detections, generator=generator) < 1 / 3
    found[wrong, :4] = _anywhere(int(wrong.sum()), generator, 500.0)
    scores = torch.rand(images, detections, 1, generator=generator)
    return torch.cat((found[..., :4], scores, found[..., 4:]), 2), wanted


@lru_cache(maxsize=1)  # both make what they take once, before the clock runs
def _images(found: Tensor, wanted: Tensor) -> tuple[list[dict[str, Tensor]], ...]:
    predictions = [{"boxes": r[:, :4], "scores": r[:, 4], "labels": r[:, 5].long()} for r in found]
    return predictions, [{"boxes": r[:, :4], "labels": r[:, 4].long()} for r in wanted]


@lru_cache(maxsize=1)
def _coco(found: Tensor, wanted: Tensor) -> tuple[Any, Any]:
    from pycocotools.coco import COCO  # not at the top: it need not be there for other chapters

    labels = {*wanted[..., 4].long().flatten().tolist(), *found[..., 5].long().flatten().tolist()}
    objects = COCO()
    objects.dataset = {
        "images": [{"id": image} for image in range(len(wanted))],
        "categories": [{"id": label} for label in sorted(labels)],
        "annotations": [
            {
                "image_id": image,
                "category_id": int(label),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for image, rows in enumerate(wanted.double().tolist())
            for x1, y1, x2, y2, label in rows
        ],
    }
    for number, annotation in enumerate(objects.dataset["annotations"], 1):
        annotation["id"] = number
    objects.createIndex()
    rows = found.double().flatten(0, 1)
    image = torch.arange(len(found)).repeat_interleave(found.shape[1])[:, None]
    columns = (image, rows[:, :2], rows[:, 2:4] - rows[:, :2], rows[:, 4:])
    return objects, objects.loadRes(torch.cat(columns, 1).numpy())


def _ours_scored(found: Tensor, wanted: Tensor) -> Tensor:
    return torch.stack([*bx.mean_average_precision(*_images(found, wanted)).values()][:12])


def _coco_scored(found: Tensor, wanted: Tensor) -> Tensor:
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(*_coco(found, wanted), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return torch.from_numpy(judge.stats).to(found.device)


def _metrics_scored(found: Tensor, wanted: Tensor) -> Tensor:
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision()
    metric.update(*_images(found, wanted))
    return torch.stack([*metric.compute().values()][:12]).double()


def _scores(
    images: int, detections: int, classes: int, library: str = "pycocotools", **options: Any
) -> Case:
    return Case(
        "mean_average_precision",
        f"{images} images, {detections} detections, {classes} classes",
        _ours_scored,
        _coco_scored if library == "pycocotools" else _metrics_scored,
        partial(_annotations, images, detections, classes, 7),
        directions=(FORWARD,),
        limited=False,
        library=library,
        **options,
    )


CASES = [
    _pairs("box_iou", 10),
    _pairs("box_iou", 1000, (FORWARD, BACKWARD), at_most={FORWARD: 0.22}),
    slow(_pairs("box_iou", 10_000, at_most={FORWARD: 0.12}, on_cuda={FORWARD: 1.0})),
    _pairs("generalized_box_iou", 10),
    _pairs("generalized_box_iou", 1000, (FORWARD, BACKWARD)),
    _pairs("distance_box_iou", 1000, (FORWARD, BACKWARD)),
    _pairs("complete_box_iou", 1000, (FORWARD, BACKWARD)),
    _loss("generalized_box_iou_loss", 100),
    _loss("generalized_box_iou_loss", 100_000),
    _loss("distance_box_iou_loss", 100_000),
    _loss("complete_box_iou_loss", 100_000),
    _each("box_area", 100_000),
    _each("box_convert", 100, in_fmt="xyxy", out_fmt="cxcywh"),
    _each("box_convert", 100_000, in_fmt="xyxy", out_fmt="cxcywh"),
    _each("clip_boxes_to_image", 100_000, size=(600, 800)),
    _each("remove_small_boxes", 100_000, min_size=30.0),
    _coded("encode_boxes", 100_000),
    _coded("decode_boxes", 100_000),
    _suppression(_clustered, 1000, 2.5),
    _suppression(_sparse, 1000, 1.5),
    _suppression(_dense, 1000, 1.5),
    _suppression(_clustered, 10_000, 0.40, 1.0),
    _suppression(_sparse, 10_000, 0.30, 1.0),
    _suppression(_dense, 10_000, 0.20, 1.0),
    _suppression(_chain, 10_000, 6),
    slow(_suppression(_clustered, 50_000, 0.20, 1.0)),
    slow(_suppression(_sparse, 50_000, 0.10, 1.0)),
    slow(_suppression(_dense, 50_000, 0.12, 1.0)),
    _beside_opencv(1000),
    _beside_opencv(10_000),
    _by_class(10_000, 20),
    _scores(20, 20, 5),
    slow(_scores(500, 100, 20, at_most={FORWARD: 0.08})),
    slow(_scores(100, 50, 20, "torchmetrics", tolerance=1e-3)),
]
