"""What a detector learns from: is it right about what is there, and about where.

The class is a cross-entropy, over all regions that were chosen. The place counts only where there
is an object, and by a loss that forgives large errors: far away its gradient no longer grows.

Equations: (rcnn-smooth), (rcnn-class), (rcnn-region-loss), (rcnn-rpn-loss), (rcnn-multibox).

Sources:
    Girshick, "Fast R-CNN", 2015, section 2.3.
    Ren et al., "Faster R-CNN", 2015, section 3.1.2.
    Liu et al., "SSD: single shot multibox detector", 2016, section 2.2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_number,
    expect_shape,
    expect_tensor,
)
from course_lib.rcnn.anchors import hard_negatives
from course_lib.softmax import binary_cross_entropy_with_logits, cross_entropy

BETA = 1 / 9
"""where `rpn_loss` and `region_loss` turn from a parabola to a straight line"""


def smooth_l1_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """Square of small errors, absolute value of large ones; equation (rcnn-smooth).

    Twin of `torch.nn.functional.smooth_l1_loss`, whose two deprecated arguments are left out, and
    which lets shapes differ.

    Args:
        input: ``Tensor[...]``, floating.
        target: same shape, dtype and device.
        reduction: ``"none"``, ``"mean"`` (NaN for nothing) or ``"sum"``.
        beta: the error at which one becomes the other; 0 leaves the absolute value alone.
    Returns:
        one number, or ``Tensor[...]``.
    """
    expect_tensor("input", input, floating=True)
    expect_alike(input=input, target=target)
    expect_shape("target", target, input.shape)
    expect_choice("reduction", reduction, ("none", "mean", "sum"))
    expect_number("beta", beta, minimum=0)
    error = (input - target).abs()
    loss = error
    if beta > 0:
        loss = torch.where(error < beta, 0.5 * error.square() / beta, error - 0.5 * beta)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def rpn_loss(
    logits: Tensor, deltas: Tensor, targets: Tensor, positive: Tensor, negative: Tensor
) -> tuple[Tensor, Tensor]:
    """Both losses of a region proposal network; equation (rcnn-rpn-loss).

    As torchvision's ``RegionProposalNetwork.compute_loss``. Both are divided by the number of
    anchors that were chosen.

    Args:
        logits: ``Tensor[..., N]``: an anchor shows an object with probability
            ``sigmoid(logits)``.
        deltas: ``Tensor[..., N, 4]``, the predicted changes, as `course_lib.boxes.encode_boxes`
            writes them.
        targets: ``Tensor[..., N, 4]``, the right ones; read where ``positive`` only.
        positive, negative: ``Tensor[..., N]``, bool, from `sample_matches`.
    Returns:
        the loss of objectness and that of the boxes, one number each.
    """
    _expect_pair(logits, deltas, targets, logits.shape)
    for name, mask in (("positive", positive), ("negative", negative)):
        expect_shape(name, mask, logits.shape)
    count = (positive | negative).sum().clamp(min=1)
    each = binary_cross_entropy_with_logits(logits, positive.to(logits), reduction="none")
    error = smooth_l1_loss(deltas, targets, "none", BETA).sum(-1)
    return (
        each.where(positive | negative, 0).sum() / count,
        error.where(positive, 0).sum() / count,
    )


def region_loss(
    logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Both losses of the regions; equation (rcnn-region-loss).

    As torchvision's ``fastrcnn_loss``. Every class has a box of its own, and only that of the true
    class learns; both losses are divided by the number of regions.

    Args:
        logits: ``Tensor[R, K + 1]``; class 0 is the background.
        deltas: ``Tensor[R, K + 1, 4]``, the predicted changes for each class.
        labels: ``Tensor[R]``, int64: the true classes.
        targets: ``Tensor[R, 4]``, the right changes; read where there is an object.
    Returns:
        the loss of the classes and that of the boxes, one number each.
    """
    expect_tensor("logits", logits, ndim=2, floating=True)
    _expect_labels(labels, logits)
    expect_shape("deltas", deltas, (*logits.shape, 4))
    own = deltas[torch.arange(len(labels), device=labels.device), labels]  # (R, 4)
    _expect_pair(logits, own, targets, labels.shape)
    error = smooth_l1_loss(own, targets, "none", BETA).sum(-1)
    boxes = error.where(labels > 0, 0).sum() / max(1, len(labels))
    return cross_entropy(logits, labels), boxes


def multibox_loss(
    logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor, ratio: float = 3.0
) -> tuple[Tensor, Tensor]:
    """Both losses of SSD; equation (rcnn-multibox).

    As torchvision's ``SSD.compute_loss``: of the background only the hardest, ``ratio`` for each
    box that stands for an object; both losses are divided by the number of those boxes.

    Args:
        logits: ``Tensor[..., N, K + 1]``; class 0 is the background.
        deltas: ``Tensor[..., N, 4]``, the predicted changes.
        labels: ``Tensor[..., N]``, int64: the true classes.
        targets: ``Tensor[..., N, 4]``, the right changes; read where there is an object.
        ratio: as in `hard_negatives`.
    Returns:
        the loss of the classes and that of the boxes, one number each.
    """
    expect_tensor("logits", logits, floating=True)
    _expect_labels(labels, logits)
    _expect_pair(logits, deltas, targets, labels.shape)
    positive = labels > 0
    count = positive.sum().clamp(min=1)
    each = cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    each = each.view(labels.shape)
    chosen = positive | hard_negatives(each, labels - 1, ratio)
    error = smooth_l1_loss(deltas, targets, "none").sum(-1)
    return each.where(chosen, 0).sum() / count, error.where(positive, 0).sum() / count


def _expect_labels(labels: Tensor, logits: Tensor) -> None:
    expect_tensor("labels", labels)
    if labels.dtype != torch.int64:
        raise TypeError(f"labels: expected int64, got {describe(labels)}")
    expect_shape("labels", labels, logits.shape[:-1])


def _expect_pair(logits: Tensor, deltas: Tensor, targets: Tensor, shape: torch.Size) -> None:
    expect_alike(logits=logits, deltas=deltas, targets=targets)
    expect_shape("deltas", deltas, (*shape, 4))
    expect_shape("targets", targets, (*shape, 4))
