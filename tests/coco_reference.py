"""pycocotools fed with what `course_lib.boxes.mean_average_precision` takes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

Annotations = Sequence[Mapping[str, Tensor]]

KEYS = (
    *("map", "map_50", "map_75", "map_small", "map_medium", "map_large"),
    *("mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large"),
)
"""in the order in which pycocotools gives them"""


def to_coco(predictions: Annotations, targets: Annotations) -> tuple[COCO, COCO]:
    """Objects and detections as COCO's code takes them; numbers of objects count from 1.

    pycocotools knows nothing of difficult objects. An area beyond all ranges makes it ignore one,
    and with as many copies as there are detections, each of them can find one.
    """
    objects: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, target in enumerate(targets, 1):
        for m, (x1, y1, x2, y2) in enumerate(target["boxes"].double().tolist()):
            area = float(target["area"][m]) if "area" in target else (x2 - x1) * (y2 - y1)
            label, copies = int(target["labels"][m]), 1
            if "difficult" in target and target["difficult"][m]:
                area = 1e11
                copies = max(1, int((predictions[image - 1]["labels"] == label).sum()))
            objects += [
                {
                    "id": len(objects) + 1 + copy,
                    "image_id": image,
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": area,
                    "iscrowd": int(target["iscrowd"][m]) if "iscrowd" in target else 0,
                }
                for copy in range(copies)
            ]
    for image, prediction in enumerate(predictions, 1):
        columns = (prediction[key].tolist() for key in ("boxes", "scores", "labels"))
        for (x1, y1, x2, y2), score, label in zip(*columns, strict=True):
            found.append(
                {
                    "id": len(found) + 1,
                    "image_id": image,
                    "category_id": label,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": score,
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    labels = {one["category_id"] for one in (*objects, *found)}
    shared = {
        "images": [{"id": image} for image in range(1, len(targets) + 1)],
        "categories": [{"id": label} for label in sorted(labels)],
    }
    made = COCO(), COCO()
    with contextlib.redirect_stdout(io.StringIO()):
        for one, annotations in zip(made, (objects, found), strict=True):
            one.dataset = {**shared, "annotations": annotations}
            one.createIndex()
    return made


def evaluate(objects: COCO, found: COCO, **params: Any) -> COCOeval:
    """Run COCO's protocol; ``params`` replace its own, such as ``iouThrs``."""
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(objects, found, "bbox")
        for name, value in params.items():
            setattr(judge.params, name, np.asarray(value) if name.endswith("Thrs") else value)
        judge.evaluate()
        judge.accumulate()
        if not params:
            judge.summarize()
    return judge
