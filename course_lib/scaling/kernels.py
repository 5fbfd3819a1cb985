"""Two operations of the course as kernels: programs that a GPU runs many times side by side.

A chain of torch operations writes each result to memory and reads it again. A kernel does the
whole chain where the numbers are, and touches memory once. Triton compiles the functions below,
which are written in a part of Python; each call of one, a *program*, computes a block of numbers
that `tl.program_id` tells it.

Nothing of the course needs this module. It needs Triton, which torch brings along on Linux. Its
kernels run on a GPU; with ``TRITON_INTERPRET=1`` in the environment, before Triton is imported
for the first time, they run in Triton's interpreter on any machine, slowly, to be tested.

Source:
    Tillet, Kung and Cox, "Triton: an intermediate language and compiler for tiled neural network
        computations", 2019.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.checking import (
    describe,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)

try:
    import triton
    import triton.language as tl
except ImportError as missing:
    raise ImportError(
        "course_lib.scaling.kernels: expected Triton, which torch brings along on Linux, but there"
        " is none here; course_lib.softmax and course_lib.boxes do the same without it"
    ) from missing

SIDE = 32
"""boxes along each side of the block of pairs that one program compares"""


# --- softmax with cross-entropy -------------------------------------------------------------------


@triton.jit
def cross_entropy_kernel(
    scores, targets, losses, log_totals, classes, row_stride, block: tl.constexpr
):  # fmt: skip
    """Program n reads row n of the scores once, and writes its loss and its log-sum-exp."""
    n = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, block)  # a power of two; the places past the last class are left out
    row = tl.load(scores + n * row_stride + c, mask=c < classes, other=-float("inf"))
    row = row.to(losses.dtype.element_ty)
    top = tl.max(row, 0)  # so that no power overflows; equation (softmax-shift)
    log_total = top + tl.log(tl.sum(tl.exp(row - top), 0))
    truth = tl.load(targets + n)
    score = tl.sum(tl.where(c == truth, row, 0.0), 0)
    tl.store(log_totals + n, log_total)
    tl.store(losses + n, log_total - score)


@triton.jit
def cross_entropy_gradient_kernel(
    scores, targets, log_totals, factors, slopes, classes, row_stride, block: tl.constexpr
):  # fmt: skip
    """Program n writes row n of the gradient: probability less truth, (softmax-grad-scores)."""
    n = tl.program_id(0).to(tl.int64)
    c = tl.arange(0, block)
    row = tl.load(scores + n * row_stride + c, mask=c < classes, other=-float("inf"))
    probability = tl.exp(row.to(log_totals.dtype.element_ty) - tl.load(log_totals + n))
    truth = tl.load(targets + n)
    slope = (probability - tl.where(c == truth, 1.0, 0.0)) * tl.load(factors + n)
    tl.store(slopes + n * classes + c, slope, mask=c < classes)


class _CrossEntropy(torch.autograd.Function):
    """The loss of each row; what is kept is one number a row, beside the scores."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, targets: Tensor) -> Tensor:
        rows, classes = scores.shape
        losses = scores.new_empty(rows, dtype=torch.promote_types(scores.dtype, torch.float32))
        log_totals = torch.empty_like(losses)
        block = triton.next_power_of_2(classes)
        if rows:
            cross_entropy_kernel[(rows,)](
                scores, targets, losses, log_totals, classes, scores.stride(0), block=block
            )
        ctx.save_for_backward(scores, targets, log_totals)
        return losses

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("cross_entropy: expected one backward pass, got create_graph=True")
        scores, targets, log_totals = ctx.saved_tensors
        rows, classes = scores.shape
        slopes = torch.empty_like(scores, memory_format=torch.contiguous_format)
        block = triton.next_power_of_2(classes)
        if rows:
            cross_entropy_gradient_kernel[(rows,)](
                scores, targets, log_totals, grad_losses.contiguous(), slopes,
                classes, scores.stride(0), block=block,
            )  # fmt: skip
        return slopes, None


def cross_entropy(input: Tensor, target: Tensor) -> Tensor:
    """Mean loss of scores against the true classes, in one kernel each way.

    As `course_lib.softmax.cross_entropy` with class indices and its defaults, but no class is
    ignored, and indices are not looked at: each must be in range.

    Args:
        input: ``Tensor[N, C]`` of scores, any floating dtype. A row is held in registers, which is
            fast up to some tens of thousands of classes.
        target: ``Tensor[N]`` of class indices, int64.
    Returns:
        ``Tensor[]``; NaN if there is no row.
    Raises:
        TypeError, ValueError: if a dtype, a shape or a device is wrong.
    """
    expect_tensor("input", input, ndim=2, floating=True)
    expect_tensor("target", target, ndim=1)
    expect_int("number of classes", input.shape[1], minimum=1)
    if target.dtype != torch.int64:
        raise TypeError(f"target: expected class indices, int64, got {describe(target)}")
    _expect_device("target", target, input)
    expect_shape("target", target, (len(input),))
    scores = input if input.stride(1) == 1 else input.contiguous()
    losses: Tensor = _CrossEntropy.apply(scores, target.contiguous())
    return losses.mean().to(input.dtype)


# --- which box overlaps which ---------------------------------------------------------------------


@triton.jit
def overlap_kernel(boxes, mask, threshold, count, block: tl.constexpr):
    """Program (p, q) compares block p of the boxes with block q, and writes that block of pairs.

    Its numbers stay in registers: 8 are read for each pair of boxes at most, and one is written.
    """
    i = tl.program_id(0) * block + tl.arange(0, block)
    j = tl.program_id(1) * block + tl.arange(0, block)
    left = tl.load(boxes + 4 * i + 0, mask=i < count, other=0.0)[:, None]
    top = tl.load(boxes + 4 * i + 1, mask=i < count, other=0.0)[:, None]
    right = tl.load(boxes + 4 * i + 2, mask=i < count, other=0.0)[:, None]
    bottom = tl.load(boxes + 4 * i + 3, mask=i < count, other=0.0)[:, None]
    x1 = tl.load(boxes + 4 * j + 0, mask=j < count, other=0.0)[None, :]
    y1 = tl.load(boxes + 4 * j + 1, mask=j < count, other=0.0)[None, :]
    x2 = tl.load(boxes + 4 * j + 2, mask=j < count, other=0.0)[None, :]
    y2 = tl.load(boxes + 4 * j + 3, mask=j < count, other=0.0)[None, :]
    width = tl.minimum(right, x2) - tl.maximum(left, x1)  # (block, block)
    height = tl.minimum(bottom, y2) - tl.maximum(top, y1)
    inter = tl.maximum(width, 0.0) * tl.maximum(height, 0.0)  # equation (boxes-iou)
    union = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - inter
    # Where nothing overlaps there is nothing to divide, so a union of 0 does no harm.
    above = inter / tl.where(inter > 0.0, union, 1.0) > tl.load(threshold)
    earlier = j[None, :] < i[:, None]
    inside = (i < count)[:, None] & (j < count)[None, :]
    place = i.to(tl.int64)[:, None] * count + j[None, :]
    tl.store(mask + place, (above & earlier).to(tl.int8), mask=inside)


def overlap_mask(boxes: Tensor, iou_threshold: float) -> Tensor:
    """Find out which boxes overlap an earlier one too much: all that NMS has to know of them.

    As ``(box_iou(boxes, boxes) > iou_threshold).tril(-1)`` with `course_lib.boxes.box_iou`, without
    the matrices in between. A GPU divides less carefully in a kernel, so there a pair may come out
    otherwise whose IoU is the threshold but for rounding.

    Args:
        boxes: ``Tensor[N, 4]``, floating, ``(x1, y1, x2, y2)``, sorted by score, best first; their
            sides are at least 0.
        iou_threshold: in [0, 1].
    Returns:
        ``Tensor[N, N]``, bool: true in row i and column j if box j comes before box i, and their
        IoU is *above* the threshold, so that keeping j would suppress i.
    Raises:
        TypeError, ValueError: if a dtype, a shape or the threshold is wrong.
    """
    expect_tensor("boxes", boxes, ndim=2, floating=True)
    expect_shape("boxes", boxes, (None, 4))
    expect_number("iou_threshold", iou_threshold, minimum=0, maximum=1)
    precise = boxes.to(torch.promote_types(boxes.dtype, torch.float32)).contiguous()
    threshold = precise.new_full((), iou_threshold)  # a Python float would reach it in float32
    count = len(boxes)
    mask = torch.empty(count, count, dtype=torch.int8, device=boxes.device)
    blocks = triton.cdiv(count, SIDE)
    if count:
        overlap_kernel[(blocks, blocks)](precise, mask, threshold, count, block=SIDE)
    return mask.view(torch.bool)


def _expect_device(name: str, value: Tensor, like: Tensor) -> None:
    if value.device != like.device:
        raise ValueError(f"{name}: expected device {like.device}, got {describe(value)}")
