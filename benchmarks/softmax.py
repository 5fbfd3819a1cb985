"""What the chapter `softmax` times: probabilities and losses of few classes and of many."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.core import BACKWARD, Case
from course_lib import softmax as soft


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _scores(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda generator: (torch.randn(shape, generator=generator),)


def _loss(shape: tuple[int, ...], at_most: float | None = None, **options: Any) -> Case:
    """Class indices as target; they stand in the functions, as only scores have a gradient."""
    generator = torch.Generator().manual_seed(1)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    there: dict[torch.device, Tensor] = {}

    def call(function: Callable[..., Tensor], scores: Tensor) -> Tensor:
        if scores.device not in there:  # moved once, before the clock runs
            there[scores.device] = target.to(scores.device)
        return function(scores, there[scores.device], **options)

    return Case(
        "cross_entropy",
        " ".join([*options, _by(shape)]),
        partial(call, soft.cross_entropy),
        partial(call, F.cross_entropy),
        _scores(*shape),
        at_most={} if at_most is None else {BACKWARD: at_most},
    )


def _pointwise(name: str, shape: tuple[int, ...]) -> Case:
    return Case(
        name,
        _by(shape),
        partial(getattr(soft, name), dim=1),
        partial(getattr(torch, name), dim=1),
        _scores(*shape),
    )


def _layer(rows: int, in_features: int, out_features: int) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        shapes = [(rows, in_features), (out_features, in_features), (out_features,)]
        return tuple(torch.randn(shape, generator=generator) for shape in shapes)

    return Case(
        "linear",
        f"{out_features}×{in_features} on {rows}×{in_features}",
        soft.linear,
        F.linear,
        inputs,
        multiply_adds=rows * in_features * out_features,
    )


def _binary(*shape: int) -> Case:
    def call(function: Callable[..., Tensor], scores: Tensor) -> Tensor:
        return function(scores, (scores.detach() > 0).float())

    name = "binary_cross_entropy_with_logits"
    return Case(
        "binary loss",
        _by(shape),
        partial(call, getattr(soft, name)),
        partial(call, getattr(F, name)),
        _scores(*shape),
    )


CASES = [
    _loss((128, 10)),
    _loss((65_536, 10), 0.45),
    _loss((1_000_000, 10), 0.45),
    _loss((1024, 1000), 1.25),
    _loss((8192, 1000), 1.25),
    _loss((64, 50_000), 0.65),
    _loss((256, 50_000), 0.65),
    _loss((8, 21, 256, 256)),
    _loss((8192, 1000), label_smoothing=0.1),
    _pointwise("softmax", (65_536, 10)),
    _pointwise("softmax", (8192, 1000)),
    _pointwise("log_softmax", (8192, 1000)),
    _pointwise("logsumexp", (8192, 1000)),
    _layer(4096, 784, 10),
    _layer(256, 2048, 1000),
    _binary(1_000_000),
]
