"""What the chapter `classification` times: pictures moved, and how good a classifier is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import fusion
from torchvision.transforms import functional as tv

from benchmarks.core import FORWARD, Case, by, imported, normal, slow
from benchmarks.reasons import MORE_MEMORY
from course_lib import classification as topic

Shape = tuple[int, ...]
Inputs = Callable[[torch.Generator], tuple[Tensor, ...]]


def _case(
    operation: str,
    size: str,
    ours: Callable[..., Tensor],
    twin: Callable[..., Tensor],
    inputs: Inputs,
    library: str,
    **options: Any,
) -> Case:
    return Case(
        operation, size, ours, twin, inputs, directions=(FORWARD,), library=library, **options
    )


# --- pictures moved -----------------------------------------------------------------------------


def _grid_sample(images: Tensor, matrices: Tensor) -> Tensor:
    """PyTorch's two functions; their coordinates go from -1 to 1 over a square picture."""
    side = images.shape[-1]
    scale = matrices.new_tensor([1, 1, 2 / side])
    grid = F.affine_grid(matrices * scale, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def _warp(*shape: int) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        moves = 0.1 * torch.randn(shape[0], 2, 3, generator=generator)
        return torch.randn(shape, generator=generator), torch.eye(2, 3) + moves

    return _case("warp", by(shape), topic.warp, _grid_sample, inputs, "torch")


def _rotate_by_torchvision(images: Tensor, degrees: Tensor) -> Tensor:
    """One angle at a time: it takes no other."""
    return torch.stack(
        [
            tv.rotate(image, angle, tv.InterpolationMode.BILINEAR)
            for image, angle in zip(images, degrees.tolist(), strict=True)
        ]
    )


def _rotate_by_kornia(images: Tensor, degrees: Tensor) -> Tensor:
    return imported("kornia.geometry.transform", "rotate")(images, degrees)


def _rotate(shape: Shape, twin: Callable[..., Tensor], library: str) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        degrees = 30 * torch.randn(shape[0], generator=generator)
        return torch.randn(shape, generator=generator), degrees

    return _case("rotate", by(shape), topic.rotate, twin, inputs, library)


def _crop(shape: Shape, size: int) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        corners = torch.randint(shape[-1] - size, (shape[0], 2), generator=generator)
        return torch.randn(shape, generator=generator), corners

    def by_torchvision(images: Tensor, corners: Tensor) -> Tensor:
        pairs = zip(images, corners.tolist(), strict=True)
        return torch.stack([tv.crop(image, *corner, size, size) for image, corner in pairs])

    return _case(
        "crop",
        f"{size}×{size} of {by(shape)}",
        lambda images, corners: topic.crop(images, corners, size),
        by_torchvision,
        inputs,
        "torchvision",
    )


def _normalize(*shape: int) -> Case:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

    def ours(images: Tensor) -> Tensor:
        return topic.Normalize(mean, std).to(images.device)(images)

    def twin(images: Tensor) -> Tensor:
        return tv.normalize(images, mean, std)

    why = (
        "both of its steps make a new tensor, for which the system may hand out fresh memory; the"
        " twin works in place on one copy"
    )
    return _case("Normalize", by(shape), ours, twin, normal(shape), "torchvision", why=why)


# --- how good a classifier is -------------------------------------------------------------------

_METRICS = "torchmetrics.functional.classification"


def _guesses(count: int, classes: int) -> Inputs:
    """Scores, and the true classes."""
    return lambda generator: (
        torch.randn(count, classes, generator=generator),
        torch.randint(classes, (count,), generator=generator),
    )


def _accuracy(count: int, classes: int, k: int = 1) -> Case:
    twin = imported(_METRICS, "multiclass_accuracy")
    return _case(
        "accuracy" if k == 1 else "top_k_accuracy",
        f"{count} of {classes} classes{'' if k == 1 else f', k = {k}'}",
        topic.accuracy if k == 1 else partial(topic.top_k_accuracy, k=k),
        lambda scores, target: twin(scores, target, classes, average="micro", top_k=k),
        _guesses(count, classes),
        "torchmetrics",
        why=f"{MORE_MEMORY['accuracy']}; the twin looks for the largest only",
    )


def _confusion(count: int, classes: int) -> Case:
    twin = imported(_METRICS, "multiclass_confusion_matrix")

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        predicted, target = torch.randint(classes, (2, count), generator=generator)
        return predicted, target

    return _case(
        "confusion_matrix",
        f"{count} of {classes} classes",
        lambda predicted, target: topic.confusion_matrix(predicted, target, classes),
        lambda predicted, target: twin(predicted, target, classes),
        inputs,
        "torchmetrics",
    )


def _f1(count: int, classes: int) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        predicted, target = torch.randint(classes, (2, count), generator=generator)
        return predicted, target

    def by_scikit(predicted: Tensor, target: Tensor) -> Tensor:
        score = imported("sklearn.metrics", "precision_recall_fscore_support")
        found = score(target.numpy(), predicted.numpy(), labels=range(classes))
        return torch.stack([torch.from_numpy(part) for part in found[:3]])

    return _case(
        "precision_recall",
        f"{count} of {classes} classes",
        lambda predicted, target: torch.stack(
            topic.precision_recall(predicted, target, classes)[:3]
        ),
        by_scikit,
        inputs,
        "scikit-learn",
    )


def _curve(operation: str, count: int, library: str) -> Case:
    """Scores of positives and negatives, no two of them equal."""
    names = {
        "roc_auc": ("binary_auroc", "roc_auc_score"),
        "average_precision_score": ("binary_average_precision", "average_precision_score"),
    }
    by_metrics = imported(_METRICS, names[operation][0])
    score = imported("sklearn.metrics", names[operation][1])

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        target = torch.rand(count, generator=generator) < 0.3
        return torch.randperm(count, generator=generator) / count, target

    def by_scikit(output: Tensor, target: Tensor) -> Tensor:
        return torch.tensor(score(target.numpy(), output.numpy()), dtype=output.dtype)

    return _case(
        operation,
        str(count),
        getattr(topic, operation),
        by_scikit
        if library == "scikit-learn"
        else lambda output, target: by_metrics(output, target.long()),
        inputs,
        library,
    )


# --- inside a network ---------------------------------------------------------------------------


def _folded(outputs: int, inputs: int) -> Case:
    """The norm is made anew, with the statistics that come in."""

    def ours(weight: Tensor, mean: Tensor) -> Tensor:
        norm = nn.BatchNorm2d(outputs, device=weight.device).eval()
        norm.running_mean = mean
        return topic.fold_batch_norm(weight, None, norm)[0].detach()

    def twin(weight: Tensor, mean: Tensor) -> Tensor:
        norm = nn.BatchNorm2d(outputs, device=weight.device).eval()
        variance = torch.ones_like(mean)
        return fusion.fuse_conv_bn_weights(
            weight, None, mean, variance, norm.eps, norm.weight, norm.bias
        )[0].detach()

    shape = (outputs, inputs, 3, 3)
    return _case("fold_batch_norm", by(shape), ours, twin, normal(shape, (outputs,)), "torch")


def _neighbours(count: int, gallery: int, width: int, library: str) -> Case:
    def by_torch(features: Tensor, others: Tensor) -> Tensor:
        return torch.cdist(features, others).topk(5, largest=False).values

    def by_scikit(features: Tensor, others: Tensor) -> Tensor:
        found = imported("sklearn.neighbors", "NearestNeighbors")(n_neighbors=5)
        distances, _ = found.fit(others.numpy()).kneighbors(features.numpy())
        return torch.from_numpy(distances).float()

    return _case(
        "nearest_neighbours",
        f"{count} in {gallery}, {width} features",
        lambda features, others: topic.nearest_neighbours(features, others)[0],
        by_torch if library == "torch" else by_scikit,
        normal((count, width), (gallery, width)),
        library,
        why="it sums the squares of differences; the twin's matrix product is faster, and loses"
        " digits where two are near",
    )


CASES = [
    _warp(1, 1, 8, 8),
    _warp(64, 1, 16, 16),
    _warp(256, 1, 28, 28),
    _warp(64, 3, 64, 64),
    _rotate((64, 3, 64, 64), _rotate_by_torchvision, "torchvision"),
    _rotate((64, 3, 64, 64), _rotate_by_kornia, "kornia"),
    _crop((64, 3, 64, 64), 48),
    _normalize(1, 3, 32, 32),
    _normalize(64, 3, 224, 224),
    _accuracy(64, 10),
    _accuracy(10_000, 1000),
    slow(_accuracy(10_000, 1000, k=5)),
    _confusion(100, 10),
    _confusion(100_000, 100),
    _f1(100_000, 100),
    _curve("roc_auc", 100, "torchmetrics"),
    _curve("roc_auc", 100_000, "torchmetrics"),
    _curve("roc_auc", 100_000, "scikit-learn"),
    _curve("average_precision_score", 100_000, "torchmetrics"),
    _curve("average_precision_score", 100_000, "scikit-learn"),
    _folded(256, 256),
    _neighbours(100, 1000, 64, "torch"),
    slow(_neighbours(1000, 10_000, 128, "torch")),
    slow(_neighbours(1000, 10_000, 128, "scikit-learn")),
]
