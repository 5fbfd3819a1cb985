"""Rectangles, their overlap, the suppression of too many, and the score of a detector.

Equations of the chapter `boxes`, by label: boxes-area, boxes-iou, boxes-giou, boxes-diou,
boxes-ciou, boxes-iou-loss, boxes-encode, boxes-decode, boxes-nms, boxes-window,
boxes-soft-linear, boxes-soft-gaussian, boxes-precision-recall, boxes-envelope,
boxes-average-precision, boxes-average-precision-voc, boxes-map.

`geometry` is about one box and about two, `suppression` about many around the same thing,
`evaluation` about all that a detector finds in a set of images; `labels` and `drawing` show it.
The sources stand in each of them.
"""

from course_lib.boxes.drawing import draw_boxes
from course_lib.boxes.evaluation import (
    AREAS,
    COCO_THRESHOLDS,
    average_precision,
    match_boxes,
    mean_average_precision,
    mean_average_precision_loops,
    precision_recall,
)
from course_lib.boxes.geometry import (
    box_area,
    box_convert,
    box_iou,
    box_iou_loops,
    clip_boxes_to_image,
    complete_box_iou,
    complete_box_iou_loss,
    decode_boxes,
    distance_box_iou,
    distance_box_iou_loss,
    encode_boxes,
    generalized_box_iou,
    generalized_box_iou_loss,
    remove_small_boxes,
    to_pixels,
    to_unit,
)
from course_lib.boxes.labels import LabelMap
from course_lib.boxes.suppression import batched_nms, nms, nms_loops, soft_nms

__all__ = [
    "AREAS",
    "COCO_THRESHOLDS",
    "LabelMap",
    "average_precision",
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "box_iou_loops",
    "clip_boxes_to_image",
    "complete_box_iou",
    "complete_box_iou_loss",
    "decode_boxes",
    "distance_box_iou",
    "distance_box_iou_loss",
    "draw_boxes",
    "encode_boxes",
    "generalized_box_iou",
    "generalized_box_iou_loss",
    "match_boxes",
    "mean_average_precision",
    "mean_average_precision_loops",
    "nms",
    "nms_loops",
    "precision_recall",
    "remove_small_boxes",
    "soft_nms",
    "to_pixels",
    "to_unit",
]
