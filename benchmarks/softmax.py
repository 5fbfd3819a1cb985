"""What the chapter `softmax` times: probabilities and losses of few classes and of many."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.core import BACKWARD, FORWARD, Case, by, normal
from course_lib import softmax as soft

Shape = tuple[int, ...]


# --- probabilities ------------------------------------------------------------------------------


_STEP_BY_STEP = (
    "automatic differentiation goes back step by step, each a pass with a tensor of its own; the"
    " twin's way back is one loop"
)


def _pointwise(name: str, shape: Shape) -> Case:
    return Case(
        name,
        by(shape),
        partial(getattr(soft, name), dim=1),
        partial(getattr(torch, name), dim=1),
        normal(shape),
        why={BACKWARD: _STEP_BY_STEP},
    )


def _sigmoid(*shape: int) -> Case:
    return Case(
        "sigmoid",
        by(shape),
        soft.sigmoid,
        torch.sigmoid,
        normal(shape),
        why={
            FORWARD: "its two exponentials alone take half the time, and every other step is a pass"
            " of its own; the twin is one loop",
            BACKWARD: _STEP_BY_STEP,
        },
    )


def _distributions(count: int, rows: int, classes: int) -> Callable[[torch.Generator], Any]:
    return lambda generator: tuple(
        torch.randn(rows, classes, generator=generator).softmax(1) for _ in range(count)
    )


def _entropy(rows: int, classes: int) -> Case:
    return Case(
        "entropy",
        f"{rows}×{classes}",
        partial(soft.entropy, dim=1),
        lambda p: torch.distributions.Categorical(p, validate_args=False).entropy(),
        _distributions(1, rows, classes),
        directions=(FORWARD,),
    )


def _divergence(rows: int, classes: int) -> Case:
    return Case(
        "kl_divergence",
        f"{rows}×{classes}",
        partial(soft.kl_divergence, dim=1),
        lambda p, q: F.kl_div(q.log(), p, reduction="none").sum(1),
        _distributions(2, rows, classes),
        directions=(FORWARD,),
    )


# --- losses -------------------------------------------------------------------------------------


def _labelled(shape: Shape) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    """Scores, and class indices as target."""

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
        return torch.randn(shape, generator=generator), target

    return inputs


def _loss(
    shape: Shape,
    at_most: float | None = None,
    on_cuda: Mapping[str, float] | None = None,
    **options: Any,
) -> Case:
    return Case(
        "cross_entropy",
        " ".join([*options, by(shape)]),
        partial(soft.cross_entropy, **options),
        partial(F.cross_entropy, **options),
        _labelled(shape),
        at_most={} if at_most is None else {BACKWARD: at_most},
        on_cuda=on_cuda or {},
        why="of few classes, the maxima and sums of so short rows take a third of the time; of"
        " many, the powers of e take half",
    )


def _soft_loss(*shape: int) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        scores, wanted = torch.randn(2, *shape, generator=generator)
        return scores, wanted.softmax(1)

    return Case(
        "cross_entropy",
        f"probabilities {by(shape)}",
        lambda scores, wanted: soft.cross_entropy(scores, wanted.detach()),
        lambda scores, wanted: F.cross_entropy(scores, wanted.detach()),
        inputs,
        directions=(FORWARD,),
    )


def _nll(*shape: int) -> Case:
    return Case(
        "nll_loss",
        by(shape),
        soft.nll_loss,
        F.nll_loss,
        _labelled(shape),
        reads=shape[0] * (4 + 8),  # of each row one score, and its class
        why="looking up the scores takes half of the time; classes are checked, and those to ignore"
        " left out, in passes of their own",
    )


def _binary(*shape: int) -> Case:
    def call(function: Callable[..., Tensor], scores: Tensor) -> Tensor:
        return function(scores, (scores.detach() > 0).float())

    name = "binary_cross_entropy_with_logits"
    return Case(
        name,
        by(shape),
        partial(call, getattr(soft, name)),
        partial(call, getattr(F, name)),
        normal(shape),
    )


# --- scores, and classes as rows ----------------------------------------------------------------


def _layer(rows: int, in_features: int, out_features: int) -> Case:
    return Case(
        "linear",
        f"{out_features}×{in_features} on {rows}×{in_features}",
        soft.linear,
        F.linear,
        normal((rows, in_features), (out_features, in_features), (out_features,)),
        multiply_adds=rows * in_features * out_features,
    )


def _one_hot(rows: int, classes: int) -> Case:
    return Case(
        "one_hot",
        f"{rows}, {classes} classes",
        partial(soft.one_hot, num_classes=classes),
        partial(F.one_hot, num_classes=classes),
        lambda generator: (torch.randint(classes, (rows,), generator=generator),),
        directions=(FORWARD,),
    )


CASES = [
    _loss((128, 10)),
    _loss((65_536, 10), 0.45),
    _loss((1_000_000, 10), 0.45, {BACKWARD: 1.0}),
    _loss((1024, 1000), 1.25),
    _loss((8192, 1000), 1.25, {BACKWARD: 1.0}),
    _loss((64, 50_000), 0.65),
    _loss((256, 50_000), 0.65, {BACKWARD: 1.0}),
    _loss((8, 21, 256, 256)),
    _loss((8192, 1000), label_smoothing=0.1),
    _soft_loss(8192, 1000),
    _nll(128, 10),
    _nll(8192, 1000),
    _binary(1000),
    _binary(1_000_000),
    _pointwise("softmax", (128, 10)),
    _pointwise("softmax", (65_536, 10)),
    _pointwise("softmax", (8192, 1000)),
    _pointwise("log_softmax", (128, 10)),
    _pointwise("log_softmax", (8192, 1000)),
    _pointwise("logsumexp", (8192, 1000)),
    _sigmoid(1000),
    _sigmoid(1_000_000),
    _entropy(8192, 1000),
    _divergence(8192, 1000),
    _one_hot(128, 10),
    _one_hot(65_536, 100),
    _layer(64, 512, 10),
    _layer(4096, 784, 10),
    _layer(256, 2048, 1000),
]
