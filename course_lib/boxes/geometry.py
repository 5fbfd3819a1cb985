"""Rectangles: how they are written down, their areas, and how much two of them have in common.

Boxes are ``Tensor[..., 4]``, ``(x1, y1, x2, y2)`` in pixels unless said otherwise: the left, top,
right and lower side, where pixel ``i`` reaches from ``i`` to ``i + 1``. So a box that covers the
pixels 2, 3 and 4 of a row has ``x1 = 2`` and ``x2 = 5``, and is three pixels wide.

Equations: (boxes-area), (boxes-iou), (boxes-giou), (boxes-diou), (boxes-ciou), (boxes-iou-loss),
(boxes-encode), (boxes-decode).

Sources:
    Jaccard, "The distribution of the flora in the alpine zone", 1912: the measure, for sets.
    Rezatofighi et al., "Generalized intersection over union", 2019.
    Zheng et al., "Distance-IoU loss", 2020: distance and complete IoU.
    Girshick et al., "Rich feature hierarchies for accurate object detection and semantic
        segmentation", 2014, appendix C: the encoding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from course_lib.checking import (
    expect_alike,
    expect_choice,
    expect_pair,
    expect_shape,
    expect_tensor,
)

FORMATS = ("xyxy", "xywh", "cxcywh", "yxyx")
REDUCTIONS = ("none", "mean", "sum")


# --- ways to write a box ------------------------------------------------------------------------


def box_convert(boxes: Tensor, in_fmt: str, out_fmt: str) -> Tensor:
    """Write boxes in another format. Twin of `torchvision.ops.box_convert`.

    ``"xyxy"``: two corners. ``"xywh"``: the upper left corner, width and height.
    ``"cxcywh"``: the centre, width and height. ``"yxyx"``, which the twin lacks: two corners with
    y first, as TensorFlow has them. The twin's formats for turned boxes are left out.

    Args:
        boxes: ``Tensor[..., 4]``, floating.
        in_fmt, out_fmt: the formats.
    Returns:
        a new ``Tensor[..., 4]``.
    Raises:
        TypeError: if ``boxes`` is not floating.
        ValueError: if the last axis is not of length 4, or a format is not known.
    """
    _expect_boxes("boxes", boxes)
    expect_choice("in_fmt", in_fmt, FORMATS)
    expect_choice("out_fmt", out_fmt, FORMATS)
    if in_fmt == out_fmt:
        return boxes.clone()
    return _FROM_CORNERS[out_fmt](*_TO_CORNERS[in_fmt](*boxes.unbind(-1)))


def to_unit(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Divide by the size of the image, so that it reaches from 0 to 1 both ways.

    Args:
        boxes: ``Tensor[..., 4]`` in pixels, ``(x1, y1, x2, y2)``, ``(x, y, w, h)`` or
            ``(cx, cy, w, h)``: in each, x and y take turns.
        size: ``(height, width)`` of the image, in pixels.
    """
    return boxes / _turns(boxes, size)


def to_pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Undo `to_unit`: multiply by the size of the image."""
    return boxes * _turns(boxes, size)


def _turns(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    _expect_boxes("boxes", boxes)
    height, width = expect_pair("size", size, minimum=1)
    return boxes.new_tensor([width, height, width, height])


def clip_boxes_to_image(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut off what lies outside the image. Twin of `torchvision.ops.clip_boxes_to_image`.

    Args:
        boxes: ``Tensor[..., 4]``, ``(x1, y1, x2, y2)`` in pixels.
        size: ``(height, width)`` of the image, in pixels.
    """
    return torch.minimum(boxes.clamp(min=0), _turns(boxes, size))


def remove_small_boxes(boxes: Tensor, min_size: float) -> Tensor:
    """Find the boxes with both sides of at least ``min_size``. Twin of torchvision's.

    Args:
        boxes: ``Tensor[N, 4]``, ``(x1, y1, x2, y2)``.
        min_size: in the unit of the boxes.
    Returns:
        ``Tensor[K]``, int64: their indices, in order.
    """
    _expect_boxes("boxes", boxes, ndim=2)
    sides = boxes[:, 2:] - boxes[:, :2]  # (N, 2)
    return (sides >= min_size).all(1).nonzero()[:, 0]


# --- area and overlap ---------------------------------------------------------------------------


def box_area(boxes: Tensor, fmt: str = "xyxy") -> Tensor:
    """Width times height; equation (boxes-area). Twin of `torchvision.ops.box_area`.

    Args:
        boxes: ``Tensor[..., 4]``, floating; float16 and bfloat16 are computed in float32.
        fmt: the format, as in `box_convert`.
    Returns:
        ``Tensor[...]``; negative for a box that is turned inside out along one axis.
    """
    _expect_boxes("boxes", boxes)
    expect_choice("fmt", fmt, FORMATS)
    a, b, c, d = _precise(boxes).unbind(-1)
    return c * d if fmt in ("xywh", "cxcywh") else (c - a) * (d - b)


def box_iou_loops(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Compare pair by pair, equation (boxes-iou) word by word: the oracle of the tests.

    Arguments, result and errors are those of `box_iou`, for ``Tensor[N, 4]``.
    """
    _expect_two(boxes1, boxes2)
    boxes1, boxes2 = _precise(boxes1), _precise(boxes2)
    iou, zero = boxes1.new_zeros(len(boxes1), len(boxes2)), boxes1.new_zeros(())
    for n, a in enumerate(boxes1):
        for m, b in enumerate(boxes2):
            width = min(a[2], b[2]) - max(a[0], b[0])
            height = min(a[3], b[3]) - max(a[1], b[1])
            inter = max(width, zero) * max(height, zero)
            areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
            union = areas - inter
            iou[n, m] = inter / union if union != 0 else 0
    return iou


def box_iou(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy") -> Tensor:
    """Intersection over union of every pair; equation (boxes-iou). Twin of torchvision's.

    Other than in the twin, a pair whose union is empty has IoU 0 and not NaN.

    Args:
        boxes1: ``Tensor[..., N, 4]``, floating.
        boxes2: ``Tensor[..., M, 4]``, same dtype and device.
        fmt: the format of both, as in `box_convert`.
    Returns:
        ``Tensor[..., N, M]`` in [0, 1]; float32 for half precision.
    Raises:
        TypeError: if a dtype is not floating or the two differ.
        ValueError: if a shape, the format or a device is wrong.
    """
    _expect_two(boxes1, boxes2, fmt)
    if any(boxes.ndim > 2 or boxes.requires_grad for boxes in (boxes1, boxes2)):
        corners1 = box_convert(boxes1, fmt, "xyxy")
        corners2 = box_convert(boxes2, fmt, "xyxy")
        return _pairwise(corners1, corners2, _overlap)
    ours, theirs = columns(boxes1, fmt), columns(boxes2, fmt)
    iou = ours.new_empty(ours.shape[1], theirs.shape[1])
    rows = max(1, tile_size(ours.device) // max(1, iou.shape[1]))
    spare = ours.new_empty(2, min(rows, len(iou)), iou.shape[1])
    for part, some in zip(iou.split(rows), ours.split(rows, 1), strict=True):
        iou_of_columns(some, theirs, part, *spare[:, : len(part)])
    return iou


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU, less the share of the enclosing box that is empty; (boxes-giou). Twin of torchvision's.

    It lies in (-1, 1], and falls on when boxes without overlap move apart. Two boxes of which
    the enclosing box is empty have 0, where the twin has NaN.

    Args, Returns and Raises: as `box_iou`, for ``(x1, y1, x2, y2)``.
    """
    _expect_two(boxes1, boxes2)
    return _pairwise(boxes1, boxes2, _generalized)


def distance_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """IoU, less the squared distance of the centres; (boxes-diou). Twin of torchvision's.

    The distance is measured in diagonals of the enclosing box.

    Args, Returns and Raises: as `generalized_box_iou`; ``eps`` is added to the squared diagonal.
    """
    _expect_two(boxes1, boxes2)
    return _pairwise(boxes1, boxes2, lambda a, b: _distance(a, b, _overlap(a, b), eps))


def complete_box_iou(boxes1: Tensor, boxes2: Tensor, eps: float = 1e-7) -> Tensor:
    """`distance_box_iou`, less a penalty for another shape; (boxes-ciou). Twin of torchvision's.

    Args, Returns and Raises: as `distance_box_iou`; ``eps`` is also added to the denominator of
    the penalty's weight.
    """
    _expect_two(boxes1, boxes2)

    def complete(a: Tensor, b: Tensor) -> Tensor:
        overlap = _overlap(a, b)
        return _distance(a, b, overlap, eps) - _shape_penalty(a, b, overlap, eps)

    return _pairwise(boxes1, boxes2, complete)


# --- losses: one box against its target ---------------------------------------------------------


def generalized_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """1 - GIoU of each box and its target; (boxes-iou-loss). Twin of torchvision's.

    Args:
        boxes1: ``Tensor[N, 4]`` or ``Tensor[4]``, ``(x1, y1, x2, y2)``.
        boxes2: the targets, same shape.
        reduction: ``"none"``, ``"mean"`` (0 for no boxes) or ``"sum"``.
        eps: added to both denominators.
    Returns:
        ``Tensor[N]``, or one number.
    """
    return _loss(boxes1, boxes2, reduction, lambda a, b: _generalized(a, b, eps))


def distance_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """1 - DIoU of each box and its target; arguments as in `generalized_box_iou_loss`."""
    return _loss(boxes1, boxes2, reduction, lambda a, b: _distance(a, b, _overlap(a, b, eps), eps))


def complete_box_iou_loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7
) -> Tensor:
    """1 - CIoU of each box and its target; arguments as in `generalized_box_iou_loss`.

    As in the twin, the distance term takes 1e-7 whatever ``eps`` is.
    """

    def complete(a: Tensor, b: Tensor) -> Tensor:
        overlap = _overlap(a, b, 1e-7)
        return _distance(a, b, overlap, 1e-7) - _shape_penalty(a, b, overlap, eps)

    return _loss(boxes1, boxes2, reduction, complete)


def _loss(
    boxes1: Tensor, boxes2: Tensor, reduction: str, measure: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    expect_tensor("boxes1", boxes1, ndim=(1, 2), floating=True)
    _expect_boxes("boxes1", boxes1)
    _expect_boxes("boxes2", boxes2)
    expect_alike(boxes1=boxes1, boxes2=boxes2)
    expect_shape("boxes2", boxes2, boxes1.shape)
    expect_choice("reduction", reduction, REDUCTIONS)
    loss = 1 - measure(_precise(boxes1), _precise(boxes2))
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" or loss.numel() == 0 else loss.mean()


# --- what a network predicts instead of a box -----------------------------------------------------


def encode_boxes(
    reference_boxes: Tensor,
    proposals: Tensor,
    weights: Sequence[float] | Tensor = (1.0, 1.0, 1.0, 1.0),
) -> Tensor:
    """Write boxes as changes of other boxes; equation (boxes-encode).

    Twin of torchvision's `encode_boxes` (``models.detection._utils``).

    Args:
        reference_boxes: ``Tensor[N, 4]``, ``(x1, y1, x2, y2)``: where the boxes should be.
        proposals: ``Tensor[N, 4]``: where they are; their sides must be above 0.
        weights: factors of ``(dx, dy, dw, dh)``.
    Returns:
        ``Tensor[N, 4]``: shifts of the centre in widths and heights of the proposal, and the
        logarithms of the factors by which width and height change.
    """
    _expect_two(reference_boxes, proposals)
    expect_shape("proposals", proposals, reference_boxes.shape)
    x, y, w, h = _centres(reference_boxes)
    px, py, pw, ph = _centres(proposals)
    changes = ((x - px) / pw, (y - py) / ph, torch.log(w / pw), torch.log(h / ph))
    return torch.stack(changes, -1) * _weights(weights, proposals)


def decode_boxes(
    rel_codes: Tensor,
    boxes: Tensor,
    weights: Sequence[float] | Tensor = (1.0, 1.0, 1.0, 1.0),
    bbox_xform_clip: float = math.log(1000 / 16),
) -> Tensor:
    """Apply changes to boxes: undo `encode_boxes`; equation (boxes-decode).

    Twin of torchvision's ``BoxCoder(weights, bbox_xform_clip).decode_single``.

    Args:
        rel_codes: ``Tensor[N, 4 K]``: the changes, for K classes one after another.
        boxes: ``Tensor[N, 4]``, ``(x1, y1, x2, y2)``: what is changed.
        weights: what `encode_boxes` multiplied with.
        bbox_xform_clip: the largest ``dw`` and ``dh``, so that no box grows without bound.
    Returns:
        ``Tensor[N, 4 K]``.
    """
    expect_tensor("rel_codes", rel_codes, ndim=2, floating=True)
    _expect_boxes("boxes", boxes, ndim=2)
    expect_alike(rel_codes=rel_codes, boxes=boxes)
    expect_shape("rel_codes", rel_codes, (boxes.shape[0], None))
    if rel_codes.shape[1] % 4:
        raise ValueError(f"rel_codes: expected 4 numbers a class, got {rel_codes.shape[1]} a row")
    changes = rel_codes.unflatten(1, (-1, 4)) / _weights(weights, boxes)  # (N, K, 4)
    dx, dy, dw, dh = changes.unbind(-1)
    x, y, w, h = (column[:, None] for column in _centres(boxes))
    x, y = x + dx * w, y + dy * h
    w = w * torch.exp(dw.clamp(max=bbox_xform_clip))
    h = h * torch.exp(dh.clamp(max=bbox_xform_clip))
    return torch.stack((x - w / 2, y - h / 2, x + w / 2, y + h / 2), -1).flatten(1)


# --- helpers ------------------------------------------------------------------------------------

Numbers = tuple[Tensor, Tensor, Tensor, Tensor]

_TO_CORNERS: dict[str, Callable[..., Numbers]] = {
    "xyxy": lambda x1, y1, x2, y2: (x1, y1, x2, y2),
    "xywh": lambda x, y, w, h: (x, y, x + w, y + h),
    "cxcywh": lambda x, y, w, h: (x - 0.5 * w, y - 0.5 * h, x + 0.5 * w, y + 0.5 * h),
    "yxyx": lambda y1, x1, y2, x2: (x1, y1, x2, y2),
}
_FROM_CORNERS: dict[str, Callable[..., Tensor]] = {
    "xyxy": lambda x1, y1, x2, y2: torch.stack((x1, y1, x2, y2), -1),
    "xywh": lambda x1, y1, x2, y2: torch.stack((x1, y1, x2 - x1, y2 - y1), -1),
    "cxcywh": lambda x1, y1, x2, y2: torch.stack(
        ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), -1
    ),
    "yxyx": lambda x1, y1, x2, y2: torch.stack((y1, x1, y2, x2), -1),
}


def columns(boxes: Tensor, fmt: str = "xyxy") -> Tensor:
    """Lay boxes out for comparing many with many, each number in a row of its own.

    Args:
        boxes: ``Tensor[..., N, 4]``.
    Returns:
        ``Tensor[5, ..., N]``: ``x1``, ``y1``, ``x2``, ``y2`` and the area, just above 0 for a box
        that has none, so that no union is empty; float32 at least.
    """
    boxes = _precise(boxes)
    corners = _TO_CORNERS[fmt](*boxes.unbind(-1))
    return torch.stack((*corners, box_area(boxes, fmt).clamp(min=torch.finfo(boxes.dtype).tiny)))


def iou_of_columns(
    ours: Tensor,
    theirs: Tensor,
    out: Tensor | None = None,
    spare: Tensor | None = None,
    spare2: Tensor | None = None,
) -> Tensor:
    """IoU of every pair, in place all the way, for speed; no gradient.

    Args:
        ours, theirs: ``Tensor[5, N]`` and ``Tensor[5, M]``, from `columns`.
        out, spare, spare2: ``Tensor[N, M]``: for the result, and to work in, where they are
            wanted more than once.
    Returns:
        ``Tensor[N, M]``.
    """
    x1, y1, x2, y2, area = ours[:, :, None].unbind()  # each (N, 1)
    left, top, right, bottom, area2 = theirs.unbind()  # each (M,)
    width = torch.minimum(x2, right, out=spare)
    width.sub_(torch.maximum(x1, left, out=spare2)).clamp_(min=0)
    height = torch.minimum(y2, bottom, out=out)
    height.sub_(torch.maximum(y1, top, out=spare2)).clamp_(min=0)
    inter = height.mul_(width)
    union = torch.add(area, area2, out=spare).sub_(inter)
    return inter.div_(union)


def tile_size(device: torch.device) -> int:
    """How many pairs to compare at once: what stays in a processor's cache, or fills a GPU."""
    return 2**17 if device.type == "cpu" else 2**24


def _pairwise(
    boxes1: Tensor, boxes2: Tensor, measure: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    return measure(_precise(boxes1)[..., :, None, :], _precise(boxes2)[..., None, :, :])


def _overlap(a: Tensor, b: Tensor, eps: float = 0.0) -> Tensor:
    """IoU of boxes that are paired already."""
    inter, union = _intersection_union(a, b)
    return _ratio(inter, union, eps)


def _intersection_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    # Number by number, which is faster than with pairs of them in the last axis.
    (left, top, right, bottom), (left2, top2, right2, bottom2) = a.unbind(-1), b.unbind(-1)
    width = (torch.minimum(right, right2) - torch.maximum(left, left2)).clamp(min=0)
    height = (torch.minimum(bottom, bottom2) - torch.maximum(top, top2)).clamp(min=0)
    inter = width * height
    return inter, box_area(a) + box_area(b) - inter


def _ratio(part: Tensor, whole: Tensor, eps: float) -> Tensor:
    """``part / (whole + eps)``; without ``eps``, 0/0 is 0, and so is its gradient."""
    if eps:
        return part / (whole + eps)
    nothing = whole == 0
    return part.masked_fill(nothing, 0) / whole.masked_fill(nothing, 1)


def _generalized(a: Tensor, b: Tensor, eps: float = 0.0) -> Tensor:
    inter, union = _intersection_union(a, b)
    width, height = _enclosing(a, b)
    hull = width * height
    return _ratio(inter, union, eps) - _ratio(hull - union, hull, eps)


def _enclosing(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of the smallest box around both."""
    (left, top, right, bottom), (left2, top2, right2, bottom2) = a.unbind(-1), b.unbind(-1)
    width = torch.maximum(right, right2) - torch.minimum(left, left2)
    return width, torch.maximum(bottom, bottom2) - torch.minimum(top, top2)


def _distance(a: Tensor, b: Tensor, overlap: Tensor, eps: float) -> Tensor:
    width, height = _enclosing(a, b)
    diagonal = width.square() + height.square() + eps
    (x, y), (x2, y2) = ((box[..., :2] + box[..., 2:]).unbind(-1) for box in (a, b))
    apart = ((x - x2).square() + (y - y2).square()) / 4  # of the centres, from twice each
    return overlap - apart / diagonal


def _shape_penalty(a: Tensor, b: Tensor, overlap: Tensor, eps: float) -> Tensor:
    (w1, h1), (w2, h2) = ((box[..., 2:] - box[..., :2]).unbind(-1) for box in (a, b))
    penalty = 4 / math.pi**2 * (torch.atan(w1 / h1) - torch.atan(w2 / h2)).square()
    with torch.no_grad():
        weight = penalty / (1 - overlap + penalty + eps)
    return weight * penalty


def _centres(boxes: Tensor) -> Numbers:
    x1, y1, x2, y2 = boxes.unbind(-1)
    w, h = x2 - x1, y2 - y1
    return x1 + 0.5 * w, y1 + 0.5 * h, w, h


def _weights(weights: Sequence[float] | Tensor, like: Tensor) -> Tensor:
    made = torch.as_tensor(weights, dtype=like.dtype, device=like.device)
    expect_shape("weights", made, (4,))
    return made


def _precise(boxes: Tensor) -> Tensor:
    """In half precision an area above 65,504 would be infinite."""
    return boxes.float() if boxes.dtype in (torch.float16, torch.bfloat16) else boxes


def _expect_boxes(name: str, boxes: Tensor, ndim: int | None = None) -> None:
    expect_tensor(name, boxes, ndim=ndim, floating=True)
    if boxes.ndim == 0 or boxes.shape[-1] != 4:
        raise ValueError(f"{name}: expected 4 numbers a box, got shape {tuple(boxes.shape)}")


def _expect_two(boxes1: Tensor, boxes2: Tensor, fmt: str = "xyxy") -> None:
    for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2)):
        _expect_boxes(name, boxes)
        if boxes.ndim < 2:
            raise ValueError(f"{name}: expected (..., N, 4), got shape {tuple(boxes.shape)}")
    expect_alike(boxes1=boxes1, boxes2=boxes2)
    expect_choice("fmt", fmt, FORMATS)
