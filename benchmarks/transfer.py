"""What the chapter `transfer` times: simple classifiers on top of features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.core import FORWARD, Case, imported, normal
from course_lib import transfer


def _labelled(count: int, width: int, classes: int) -> Callable[..., tuple[Tensor, ...]]:
    return lambda generator: (
        torch.randn(count, width, generator=generator),
        torch.randint(classes, (count,), generator=generator),
    )


def _probe(count: int, width: int, classes: int) -> Case:
    def by_scikit(features: Tensor, labels: Tensor) -> Tensor:
        ridge = imported("sklearn.linear_model", "Ridge")(alpha=1.0)
        ridge.fit(features.numpy(), F.one_hot(labels, classes).float().numpy())
        return torch.from_numpy(ridge.coef_)

    return Case(
        "linear_probe",
        f"{count} × {width}, {classes} classes",
        lambda features, labels: transfer.linear_probe(features, labels, classes).weight,
        by_scikit,
        _labelled(count, width, classes),
        multiply_adds=count * width**2,
        directions=(FORWARD,),
        library="scikit-learn",
        why="alone it takes a seventh of the time; here it shares the cores with the threads of"
        " scikit-learn's library, which still wait for work",
        tolerance=1e-3,  # both solve normal equations, in different orders
    )


def _nearest(count: int, width: int, classes: int) -> Case:
    return Case(
        "nearest_mean",
        f"{count} × {width}, {classes} classes",
        transfer.nearest_mean,
        lambda features, means: torch.cdist(features, means).argmin(1),
        normal((count, width), (classes, width)),
        multiply_adds=count * width * classes,
        directions=(FORWARD,),
        why="it sums the squares of differences; the twin's matrix product is faster, and loses"
        " digits where two are near",
    )


CASES = [
    _probe(100, 16, 10),
    _probe(10_000, 256, 100),
    _nearest(100, 16, 10),
    _nearest(10_000, 256, 100),
]
