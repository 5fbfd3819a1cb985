"""What the chapter `scaling` times: computing again, unscaling, and the Triton kernels on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from benchmarks.core import BACKWARD, FORWARD, Case, normal
from course_lib import boxes, scaling, softmax


def _again(call: Callable[..., Tensor], inputs: Tensor) -> Tensor:
    """Three steps of a network's block, of which only the input is kept."""
    return call(lambda x: x.sin().exp().tanh(), inputs)


def _unscaled(kind: Callable[[Tensor], Any], gradients: Tensor) -> Tensor:
    """Unscale the gradients of a hundred parameters, and look whether all are finite."""
    leaves = [nn.Parameter(torch.zeros_like(part)) for part in gradients]
    for leaf, part in zip(leaves, gradients, strict=True):
        leaf.grad = part.clone()
    scaler, optimizer = kind(gradients), torch.optim.SGD(leaves, lr=1.0)
    scaler.scale(gradients.new_ones(()))  # the twin makes its factor only then
    scaler.step(optimizer)
    return torch.stack([leaf.detach() for leaf in leaves])


def _kernel_loss(scores: Tensor) -> Tensor:
    """The kernel; on the CPU, where it can't run, the readable version."""
    target = torch.arange(len(scores), device=scores.device) % scores.shape[1]
    if not scores.is_cuda:
        return softmax.cross_entropy(scores, target)
    from course_lib.scaling import kernels

    return kernels.cross_entropy(scores, target)


def _loss(scores: Tensor) -> Tensor:
    target = torch.arange(len(scores), device=scores.device) % scores.shape[1]
    return F.cross_entropy(scores, target)


def _mask(corners: Tensor) -> Tensor:
    return (boxes.box_iou(corners, corners) > 0.5).tril(-1).float()


def _kernel_mask(corners: Tensor) -> Tensor:
    if not corners.is_cuda:
        return _mask(corners)
    from course_lib.scaling import kernels

    return kernels.overlap_mask(corners, 0.5).float()


def _boxes(count: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    def draw(generator: torch.Generator) -> tuple[Tensor, ...]:
        corner, side = (100 * torch.rand(count, 2, generator=generator) for _ in range(2))
        return (torch.cat([corner, corner + side], 1),)

    return draw


BLOCKS = [torch.sin, torch.exp, torch.tanh, torch.sigmoid]

CASES = [
    Case(
        "recompute",
        "three steps on 1024×1024",
        partial(_again, scaling.recompute),
        partial(_again, partial(checkpoint, use_reentrant=False)),
        normal((1024, 1024)),
        directions=(BACKWARD,),
    ),
    Case(
        "recompute_sequential",
        "four steps in two parts, 1024×1024",
        lambda x: scaling.recompute_sequential(BLOCKS, 2, x),
        lambda x: checkpoint_sequential(BLOCKS, 2, x, use_reentrant=False),
        normal((1024, 1024)),
        directions=(BACKWARD,),
    ),
    Case(
        "LossScaler",
        "100×100×100",
        partial(_unscaled, lambda x: scaling.LossScaler(1024.0)),
        partial(_unscaled, lambda x: torch.amp.GradScaler(x.device.type, 1024.0)),
        normal((100, 100, 100)),
        directions=(FORWARD,),
        whole="a step",
    ),
]

if torch.cuda.is_available():
    CASES += [
        *(
            Case(
                "Triton loss",
                f"{rows}×{classes}",
                _kernel_loss,
                _loss,
                normal((rows, classes)),
                on_cuda={FORWARD: 1.0, BACKWARD: 1.0},
            )
            for rows, classes in ((8192, 1000), (256, 50_000))
        ),
        Case(
            "Triton mask",
            "2,000 boxes",
            _kernel_mask,
            _mask,
            _boxes(2000),
            directions=(FORWARD,),
            on_cuda={FORWARD: 1.0},
        ),
    ]
