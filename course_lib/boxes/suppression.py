"""Of many boxes around the same thing, keep the best.

Boxes are taken from the highest score to the lowest; each that is kept suppresses the later ones
that overlap it too much. Equations: (boxes-nms), (boxes-soft-linear), (boxes-soft-gaussian),
(boxes-window).

Sources:
    Rosenfeld and Thurston, "Edge and curve detection for visual scene analysis", 1971: the idea,
        for edges.
    Felzenszwalb et al., "Object detection with discriminatively trained part-based models", 2010,
        section 7.2: greedy suppression of boxes.
    Bodla et al., "Soft-NMS: improving object detection with one line of code", 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course_lib.boxes.geometry import columns, iou_of_columns, tile_size
from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_number,
    expect_shape,
    expect_tensor,
)

# Best on the processors that we tried.
FEW = 256
"""boxes among which the choice is made with one matrix of all pairs; on a GPU four times as many"""
ROUNDS = 4
"""how often to correct the choice before asking whether it still changes: on a GPU, asking waits"""
MANY = 1024
"""boxes from which on it pays to sort by place"""
PART = 8
"""the largest block is this part of all boxes"""


# --- the three versions -------------------------------------------------------------------------


def nms_loops(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Decide box by box, equation (boxes-nms) word by word: the oracle of the tests.

    Arguments, result and errors are those of `nms`.
    """
    _expect_scored(boxes, scores)
    limit = _at_most(_expect_threshold(iou_threshold), boxes.dtype)
    rows = columns(boxes).T  # (N, 5)
    kept: list[int] = []
    for n in scores.argsort(descending=True, stable=True).tolist():
        a = rows[n]
        for k in kept:
            b = rows[k]
            width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp(min=0)
            height = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp(min=0)
            inter = width * height
            if inter / (a[4] + b[4] - inter) > limit:  # NaN is not
                break
        else:
            kept.append(n)
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Keep the best box of each heap; equation (boxes-nms). Twin of `torchvision.ops.nms`.

    The result is exact, and equal to the twin's on the CPU: same sums in the same order, same
    comparison. Of two equal scores the lower index comes first; a NaN score comes before all.
    A box with no area, or with a coordinate that is not finite, is kept and suppresses nothing.
    A threshold outside [0, 1] is an error here and not in the twin.

    On CUDA the processor does not wait for the device box by box, but a few times for each block
    of boxes, and once for every `ROUNDS` links of the longest chain in it, in which each box would
    be suppressed by the one before.

    Args:
        boxes: ``Tensor[N, 4]``, floating, ``(x1, y1, x2, y2)``.
        scores: ``Tensor[N]``, same dtype and device.
        iou_threshold: a box is suppressed if its IoU with a kept one is *above* this.
    Returns:
        ``Tensor[K]``, int64: the indices of the kept boxes, best first.
    Raises:
        TypeError: if a dtype is not floating, or the two differ.
        ValueError: if a shape, a device or the threshold is wrong.
    """
    _expect_scored(boxes, scores)
    return _suppress(boxes, scores, None, _expect_threshold(iou_threshold))


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """`nms` within each class, and none between classes. Twin of `torchvision.ops.batched_nms`.

    The twin moves the classes apart by adding to the coordinates of up to 1,000 boxes, which
    rounds them; here they stay as they are.

    Args:
        boxes, scores, iou_threshold: as in `nms`.
        idxs: ``Tensor[N]``, integers: the class of each box; or image and class in one number,
            for the boxes of several images.
    Returns:
        ``Tensor[K]``, int64: the indices of the kept boxes, best first.
    """
    _expect_scored(boxes, scores)
    expect_tensor("idxs", idxs, ndim=1)
    expect_shape("idxs", idxs, scores.shape)
    if idxs.is_floating_point() or idxs.is_complex():
        raise TypeError(f"idxs: expected integers, got {describe(idxs)}")
    if idxs.device != boxes.device:
        raise ValueError(f"idxs: expected device {boxes.device} like boxes, got {describe(idxs)}")
    return _suppress(boxes, scores, idxs, _expect_threshold(iou_threshold))


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    iou_threshold: float = 0.3,
    score_threshold: float = 0.001,
) -> tuple[Tensor, Tensor]:
    """Lower the scores of overlapping boxes instead of removing them.

    Step by step the best box that is left is taken, and the scores of all others fall:
    (boxes-soft-gaussian), or (boxes-soft-linear) for an IoU of at least ``iou_threshold``.

    Args:
        boxes: ``Tensor[N, 4]``, floating, ``(x1, y1, x2, y2)``.
        scores: ``Tensor[N]``, in [0, 1], same dtype and device.
        method: ``"gaussian"`` or ``"linear"``.
        sigma: how tolerant the Gaussian is.
        iou_threshold: only for ``"linear"``.
        score_threshold: boxes whose score falls below this are left out.
    Returns:
        ``Tensor[K]``, int64, the indices of the boxes, best first; ``Tensor[K]``, their scores.
    """
    _expect_scored(boxes, scores)
    expect_choice("method", method, ("gaussian", "linear"))
    expect_number("sigma", sigma, minimum=1e-9)
    _expect_threshold(iou_threshold)
    rows = _rows(boxes.detach(), None)
    left = scores.clone()
    taken, final = torch.empty_like(scores, dtype=torch.int64), torch.empty_like(scores)
    for step in range(len(scores)):
        best = left.argmax(keepdim=True)
        taken[step : step + 1], final[step : step + 1] = best, left[best]
        iou = _iou(rows.index_select(1, best), rows)[0]
        if method == "gaussian":
            decay = torch.exp(-iou.square() / sigma)
        else:
            decay = torch.where(iou >= iou_threshold, 1 - iou, 1)
        left = (left * decay).scatter(0, best, -math.inf)
    keep = final >= score_threshold
    return taken[keep], final[keep]


# --- how nms works ------------------------------------------------------------------------------


def _suppress(boxes: Tensor, scores: Tensor, classes: Tensor | None, threshold: float) -> Tensor:
    order = scores.argsort(descending=True, stable=True)
    rows = _rows(boxes.detach(), classes).index_select(1, order)
    return order.index_select(0, _select(rows, _at_most(threshold, boxes.dtype)))


def _rows(boxes: Tensor, classes: Tensor | None) -> Tensor:
    """Lay the boxes out for the work below.

    Returns:
        ``Tensor[6, N]``: ``x1``, ``y1``, ``x2``, ``y2``, the area, and the place by which boxes
        are sorted: ``x1``, moved so far that classes lie apart. With classes ``Tensor[7, N]``:
        their numbers stand in the last row.
    """
    rows = columns(boxes)
    rows = torch.cat((rows, rows[:1]))
    # What is not finite becomes a point, which suppresses nothing: a NaN would hide other numbers.
    rows = rows.where(rows.isfinite().all(0), torch.finfo(rows.dtype).tiny)
    if classes is None:
        return rows
    number = torch.unique(classes, return_inverse=True)[1].to(rows)
    rows[5] += number * 2 * (rows[:4].amax() - rows[:4].amin()) if len(boxes) else 0
    return torch.cat((rows, number[None]))


def _select(rows: Tensor, limit: float) -> Tensor:
    """Choose among boxes that are sorted by score; returns indices, in order.

    The best block is settled first and clears the rest, then a block twice as large, and so on:
    in a crowd the first few blocks leave little to do, and where nothing overlaps the blocks soon
    are large.
    """
    count = rows.shape[1]
    few = FEW if rows.device.type == "cpu" else 4 * FEW
    if count <= few:
        return _settle(rows, limit)
    kept, left, size = [], torch.arange(count, device=rows.device), few
    while len(left):
        block, left = left[:size], left[size:]
        block = block.index_select(0, _select(rows.index_select(1, block), limit))
        kept.append(block)
        if len(left):
            best, rest = rows.index_select(1, block), rows.index_select(1, left)
            left = left[~_clear(best, rest, limit)]
        size = min(2 * size, max(MANY, count // PART))
    return torch.cat(kept)


def _settle(rows: Tensor, limit: float) -> Tensor:
    """Choose among a few boxes that are sorted by score; returns indices, in order.

    Suppose that all are kept, and see who is suppressed by that; suppose the others, and so on.
    After n rounds the first n answers are final, and mostly all are after a few.
    """
    # (N, N): 1 if column n would suppress row m
    rivals = _iou(rows, rows).gt_(limit).tril_(-1)
    keep = torch.ones_like(rows[0])
    while True:
        for _ in range(ROUNDS):
            before, keep = keep, (rivals @ keep).eq_(0)
        if torch.equal(before, keep):
            return keep.nonzero()[:, 0]


def _clear(ours: Tensor, theirs: Tensor, limit: float) -> Tensor:
    """Find out which of ``theirs`` one of ``ours`` suppresses; ``Tensor[M]``, bool."""
    count, others = ours.shape[1], theirs.shape[1]
    if others <= MANY:
        worst = [_iou(some, theirs).amax(0) for some in ours.split(MANY, 1)]
        return torch.stack(worst).amax(0) > limit
    place, order = theirs[5].sort()
    ours, theirs = ours.index_select(1, ours[5].argsort()), theirs.index_select(1, order)
    first, last = _windows(ours, theirs, limit)
    most, highest, start = tile_size(ours.device) // 2, torch.zeros_like(place), 0
    spread = math.isqrt(most * others // count)
    while start < count:
        # Neighbours have nearly the same window; take as many as make a tile that is worth it.
        stop = start + max(16, most // (last[start] - first[start] + spread))
        left, right = min(first[start:stop]), max(last[start:stop])
        for at in range(left, right, most // (stop - start)):
            end = min(at + most // (stop - start), right)
            iou = _iou(ours[:, start:stop], theirs[:, at:end])
            torch.maximum(highest[at:end], iou.amax(0), out=highest[at:end])
        start = stop
    return torch.empty_like(highest).scatter_(0, order, highest) > limit


def _windows(ours: Tensor, theirs: Tensor, limit: float) -> tuple[list[int], list[int]]:
    """Between which of ``theirs`` each of ``ours`` could suppress any; (boxes-window).

    Both are sorted by place. The windows are a little wider than need be, to allow for rounding.
    """
    eps = torch.finfo(ours.dtype).eps
    slack = 1 - limit * (1 - 16 * eps)
    width, place = ours[2] - ours[0], ours[5]
    widest = (theirs[2] - theirs[0]).amax()
    if limit > 0:
        widest = slack * torch.minimum(width / limit, widest)
    before, after = widest, slack * width
    margin = 4 * eps * (place.abs() + before + after)
    first = torch.searchsorted(theirs[5], place - before - margin)
    last = torch.searchsorted(theirs[5], place + after + margin, right=True)
    return first.tolist(), last.tolist()


def _iou(ours: Tensor, theirs: Tensor) -> Tensor:
    """IoU of every pair, 0 for a pair of different classes; ``Tensor[N, M]``."""
    iou = iou_of_columns(ours[:5], theirs[:5])
    if len(ours) > 6:
        iou.mul_(ours[6, :, None] == theirs[6])
    return iou


# --- helpers ------------------------------------------------------------------------------------


def _at_most(threshold: float, dtype: torch.dtype) -> float:
    """The largest number of the dtype that is not above the threshold.

    To be above it is the same as to be above the threshold itself, in exact arithmetic, which is
    how the twin compares a float32 with a double.
    """
    exact = torch.tensor(threshold, dtype=torch.float64)
    rounded = exact.to(torch.promote_types(dtype, torch.float32))
    if rounded > exact:
        rounded = torch.nextafter(rounded, torch.zeros_like(rounded))
    return rounded.item()


def _expect_scored(boxes: Tensor, scores: Tensor) -> None:
    expect_tensor("boxes", boxes, ndim=2, floating=True)
    expect_shape("boxes", boxes, (None, 4))
    expect_tensor("scores", scores, ndim=1, floating=True)
    expect_alike(boxes=boxes, scores=scores)
    expect_shape("scores", scores, (len(boxes),))


def _expect_threshold(iou_threshold: float) -> float:
    return expect_number("iou_threshold", iou_threshold, minimum=0, maximum=1)
