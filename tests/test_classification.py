"""The functions of the chapter `classification` and its exercises."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, f1_score
from sklearn.metrics import confusion_matrix as sklearn_confusion
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import classification as topic
from course_lib.data import digits
from course_lib.softmax import cross_entropy
from course_lib.training import evaluate, fit

Make = Callable[..., Tensor]


def test_all_together_read_digits() -> None:
    """The road of the chapter in short: split, upsample, augment, normalise, train, measure."""
    images, labels = digits("train")
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bicubic"),
        topic.Augment(shift=1, rotate=10),
        topic.Normalize.fitted(images),
        topic.SmallVGG(stages=[[8], [16], [32]]),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    fit(
        model, cross_entropy, (images, labels), optimizer=optimizer, epochs=4, progress=False,
        device="cpu",
    )  # fmt: skip
    measured = evaluate(
        model, cross_entropy, digits("test"), metrics={"accuracy": topic.accuracy}, device="cpu"
    )
    assert measured["accuracy"] > 0.9


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

# The functions whose result's shape depends on the numbers in a tensor.
LOOKS_AT_DATA: set[str] = {
    "warp_loops",
    "roc_curve",
    "roc_auc_loops",
    "average_precision_score_loops",
    "stratified_split",
    "grouped_split",
    "near_duplicates",
}


def _yes(make: Make, *shape: int) -> Tensor:
    return make(*shape) > 0


def _classes(make: Make, *shape: int) -> Tensor:
    return make(*shape).long()


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _warped(make: Make, warp: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return warp(make(2, 1, 3, 3), make(2, 2, 3))


def _on(device: torch.device, kind: Callable[..., nn.Module], **options: Any) -> nn.Module:
    with device:
        return kind(**options)


def _copied(make: Make, device: torch.device) -> nn.Module:
    class Dense:
        def get_weights(self) -> list[Tensor]:
            return [make(4, 3), make(3)]

    theirs = SimpleNamespace(layers=[Dense()])
    return topic.copy_keras_weights(theirs, nn.Linear(4, 3, device=device))


CALLS: dict[str, Callable[..., Any]] = {
    "flattened_size": lambda make, device: topic.flattened_size(8, [(3, 1)], 2),
    "SimpleCNN": lambda make, device: _on(device, topic.SimpleCNN, first_linear="adaptive")(
        make(2, 1, 8, 8)
    ),
    "KerasStyleCNN": lambda make, device: _on(device, topic.KerasStyleCNN, image_size=24)(
        make(2, 3, 24, 24)
    ),
    "SmallVGG": lambda make, device: _on(device, topic.SmallVGG)(make(2, 1, 8, 8)),
    "SmallResNet": lambda make, device: _on(device, topic.SmallResNet)(make(2, 1, 8, 8)),
    "Ensemble": lambda make, device: topic.Ensemble([nn.Flatten(), nn.Flatten()])(make(2, 1, 3, 1)),
    "layer_table": lambda make, device: topic.layer_table(_on(device, topic.SmallVGG), (1, 8, 8)),
    "feature_maps": lambda make, device: list(
        topic.feature_maps(_on(device, topic.SmallVGG), make(2, 1, 8, 8), ["head"]).values()
    ),
    "nearest_neighbours": lambda make, device: topic.nearest_neighbours(make(3, 4), make(6, 4)),
    "fold_batch_norm": lambda make, device: topic.fold_batch_norm(
        make(2, 3, 3, 3), make(2), nn.BatchNorm2d(2, device=device)
    ),
    "export_small": lambda make, device: topic.export_small(nn.ReLU(), (1, 8, 8)),
    "warp": lambda make, device: _warped(make, topic.warp),
    "warp_loops": lambda make, device: _warped(make, topic.warp_loops),
    "shift": lambda make, device: topic.shift(make(2, 1, 8, 8), (1, 2)),
    "rotate": lambda make, device: topic.rotate(make(2, 1, 8, 8), make(2)),
    "scale": lambda make, device: topic.scale(make(2, 1, 8, 8), 2.0),
    "crop": lambda make, device: topic.crop(make(2, 1, 8, 8), _classes(make, 2, 2), 4),
    "erase": lambda make, device: topic.erase(make(2, 1, 8, 8), _classes(make, 2, 2), (3, 2)),
    "noise": lambda make, device: topic.noise(make(2, 1, 8, 8), 0.1, _generator()),
    "Augment": lambda make, device: topic.Augment(
        shift=1, rotate=1, elastic=1, flip=0.5, crop=1, erase=2, noise=1, generator=_generator()
    )(make(2, 1, 8, 8)),
    "accuracy": lambda make, device: topic.accuracy(make(4, 3), _classes(make, 4)),
    "top_k_accuracy": lambda make, device: topic.top_k_accuracy(make(4, 3), _classes(make, 4), 2),
    "confusion_matrix": lambda make, device: topic.confusion_matrix(
        _classes(make, 4), _classes(make, 4), 3
    ),
    "precision_recall": lambda make, device: topic.precision_recall(
        _yes(make, 4, 3), _yes(make, 4, 3), average="weighted"
    ),
    "roc_curve": lambda make, device: topic.roc_curve(make(5), _yes(make, 5)),
    "roc_auc": lambda make, device: topic.roc_auc(make(5, 2), _yes(make, 5, 2)),
    "roc_auc_loops": lambda make, device: topic.roc_auc_loops(make(3), _yes(make, 3)),
    "average_precision_score": lambda make, device: topic.average_precision_score(
        make(5), _yes(make, 5)
    ),
    "average_precision_score_loops": lambda make, device: topic.average_precision_score_loops(
        make(3), _yes(make, 3)
    ),
    "mean_average_precision_score": lambda make, device: topic.mean_average_precision_score(
        make(5, 2), _yes(make, 5, 2)
    ),
    "choose_thresholds": lambda make, device: topic.choose_thresholds(make(5, 2), _yes(make, 5, 2)),
    "bootstrap_interval": lambda make, device: topic.bootstrap_interval(
        topic.accuracy, make(5, 3), _classes(make, 5), resamples=3, generator=_generator()
    ),
    "stratified_split": lambda make, device: topic.stratified_split(
        _classes(make, 6), [0.5, 0.5], generator=_generator()
    ),
    "grouped_split": lambda make, device: topic.grouped_split(
        _classes(make, 6), [0.5, 0.5], generator=_generator()
    ),
    "near_duplicates": lambda make, device: topic.near_duplicates(make(6, 3), 1.0),
    "Normalize": lambda make, device: topic.Normalize.fitted(make(4, 3, 8, 8))(make(2, 3, 8, 8)),
    "copy_keras_weights": _copied,
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def _confusion_by_hand(predicted: Tensor, target: Tensor, num_classes: int) -> list[list[int]]:
    table = [[0] * num_classes for _ in range(num_classes)]
    for said, true in zip(predicted.tolist(), target.tolist(), strict=True):
        table[true][said] += 1
    return table


def _confusion_put(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    table = torch.zeros(num_classes, num_classes)
    ones = torch.ones(len(target))
    return table.index_put_((target, predicted), ones, accumulate=True)


def _shift_by_slices(images: Tensor, down: int, right: int) -> Tensor:
    moved = torch.zeros_like(images)
    height, width = images.shape[2:]
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[:, :, y, x] = images[:, :, y - down, x - right]
    return moved


def _roll_and_clear(images: Tensor, down: int, right: int) -> Tensor:
    moved = images.roll((down, right), (2, 3))
    if down > 0:
        moved[:, :, :down] = 0
    elif down < 0:
        moved[:, :, down:] = 0
    if right > 0:
        moved[..., :right] = 0
    elif right < 0:
        moved[..., right:] = 0
    return moved


def _cleared_at_one_end(images: Tensor, down: int, right: int) -> Tensor:
    moved = images.roll((down, right), (2, 3))
    moved[:, :, : max(down, 0)] = 0
    moved[..., : max(right, 0)] = 0
    return moved


def _f1_by_classes(predicted: Tensor, target: Tensor, num_classes: int) -> float:
    total = 0.0
    for c in range(num_classes):
        found = int(((predicted == c) & (target == c)).sum())
        if found:
            precision = found / int((predicted == c).sum())
            recall = found / int((target == c).sum())
            total += 2 * precision * recall / (precision + recall)
    return total / num_classes


def _f1_weighted(predicted: Tensor, target: Tensor, num_classes: int) -> float:
    return f1_score(target, predicted, average="weighted", zero_division=0)


def _f1_tamed(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """0/0 mended in the precision and the recall, but not in the F1 of what is never found."""
    table = topic.confusion_matrix(predicted, target, num_classes).double()
    precision = table.diagonal() / table.sum(0).clamp(min=1)
    recall = table.diagonal() / table.sum(1).clamp(min=1)
    return (2 * precision * recall / (precision + recall)).mean()


def _keras_loop(kernel: Tensor, height: int, width: int) -> Tensor:
    channels, out = len(kernel) // (height * width), kernel.shape[1]
    weight = torch.zeros(out, len(kernel), dtype=kernel.dtype)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                weight[:, (c * height + y) * width + x] = kernel[(y * width + x) * channels + c]
    return weight


def _sorted_interval(right: Tensor, rows: Tensor) -> tuple[float, float]:
    shares = right[rows].float().mean(1).double().numpy()
    low, high = np.percentile(shares, [2.5, 97.5])
    return low, high


def _picked_from_the_sorted(right: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    shares = right[rows].double().mean(1).sort().values
    return shares[int(0.025 * len(shares))], shares[int(0.975 * len(shares))]


def _f1_as_printed(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """One F1 for each class, in the form of the listing; NaN if never said, or never true."""
    table = topic.confusion_matrix(predicted, target, num_classes)
    precision, recall = table.diagonal() / table.sum(0), table.diagonal() / table.sum(1)
    return 2 / (1 / precision + 1 / recall)


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-classification-sizes": [
        [28, 36, 128 * 14 * 18, (128 * 14 * 18 + 1) * 128],
        torch.tensor([28, 36, 32256, 4128896]),
    ],
    "ex-classification-confusion": [
        topic.confusion_matrix,
        _confusion_by_hand,
        _confusion_put,
        lambda predicted, target, num_classes: (
            F.one_hot(target, num_classes).T @ F.one_hot(predicted, num_classes)
        ),
        lambda predicted, target, num_classes: sklearn_confusion(
            target, predicted, labels=range(num_classes)
        ),
    ],
    "ex-classification-leak": [
        lambda train, test: tuple(topic.Normalize.fitted(train)(part) for part in (train, test)),
        lambda train, test: [
            (part - train.mean()) / train.var(correction=0).sqrt() for part in (train, test)
        ],
    ],
    "ex-classification-shift": [
        _shift_by_slices,
        _roll_and_clear,
        lambda images, down, right: topic.shift(images, (down, right)),
        lambda images, down, right: F.pad(images, (right, -right, down, -down)),
    ],
    "ex-classification-f1": [
        _f1_by_classes,
        lambda predicted, target, num_classes: f1_score(
            target, predicted, labels=range(num_classes), average="macro", zero_division=0
        ),
        lambda predicted, target, num_classes: topic.precision_recall(
            predicted, target, num_classes
        ).f1.mean(),
        lambda predicted, target, num_classes: (
            _f1_as_printed(predicted, target, num_classes).nan_to_num().mean()
        ),
    ],
    "ex-classification-interval": [
        _sorted_interval,
        lambda right, rows: (
            right[rows].double().mean(1).quantile(torch.tensor([0.025, 0.975]).double())
        ),
    ],
    "ex-classification-residual": [
        lambda x, first, second: F.relu(
            F.conv2d(F.relu(F.conv2d(x, first, padding="same")), second, padding="same") + x
        ),
    ],
    "ex-classification-keras": [
        _keras_loop,
        lambda kernel, height, width: (
            kernel.T.reshape(kernel.shape[1], height * width, -1).transpose(1, 2).flatten(1)
        ),
        lambda kernel, height, width: (
            kernel.T.unflatten(1, (height, width, -1)).movedim(3, 1).flatten(1)
        ),
    ],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-classification-sizes": [
        ((28, 36, 32_256, 4_128_768), "has biases too"),
        ((28, 36, 32_256, 32_256), ""),
        ((28, 36, 32_256, 4_128_893), ""),
        ((28, 36, 32_256, 4_128_896.4), ""),
        ((28, 36, 128 * 28 * 36, 128 * 28 * 36 * 128 + 128), "one more pooling"),
        ((32, 40, 128 * 16 * 20, 128 * 16 * 20 * 128 + 128), "no padding"),
        ((28, 36, 32_256, ...), ""),
    ],
    "ex-classification-confusion": [
        (
            lambda predicted, target, num_classes: topic.confusion_matrix(
                target, predicted, num_classes
            ),
            "exchanged",
        ),
        (
            lambda predicted, target, num_classes: sklearn_confusion(target, predicted),
            "never occurs",
        ),
        (
            lambda predicted, target, num_classes: sklearn_confusion(
                target, predicted, labels=range(num_classes), normalize="true"
            ),
            "add up to one",
        ),
        (
            lambda predicted, target, num_classes: torch.bincount(
                target * num_classes + predicted, minlength=num_classes**2
            ),
            "",
        ),
    ],
    "ex-classification-leak": [
        (
            lambda train, test: tuple(
                (part - torch.cat([train, test]).mean())
                / torch.cat([train, test]).std(correction=0)
                for part in (train, test)
            ),
            "unchanged",
        ),
        (
            lambda train, test: tuple(
                (part - part.mean()) / part.std(correction=0) for part in (train, test)
            ),
            "both parts need the same",
        ),
        (
            lambda train, test: tuple(
                (part - train.mean()) / train.var(correction=0) for part in (train, test)
            ),
            "",
        ),
        (
            lambda train, test: tuple(part / train.std(correction=0) for part in (train, test)),
            "",
        ),
    ],
    "ex-classification-shift": [
        (lambda images, down, right: images.roll((down, right), (2, 3)), "comes in on the other"),
        (lambda images, down, right: topic.shift(images, (right, down)), "exchanged"),
        (lambda images, down, right: topic.shift(images, (-down, -right)), "the other way"),
        (_cleared_at_one_end, ""),
        (lambda images, down, right: images, ""),
    ],
    "ex-classification-f1": [
        (_f1_tamed, "still 0/0"),
        (_f1_weighted, ""),
        (
            lambda predicted, target, num_classes: _f1_as_printed(
                predicted, target, num_classes
            ).mean(),
            "still 0/0",
        ),
        (
            lambda predicted, target, num_classes: _f1_as_printed(
                predicted, target, num_classes
            ).nanmean(),
            "left out of the mean",
        ),
        (
            lambda predicted, target, num_classes: f1_score(
                target, predicted, average="macro", zero_division=0
            ),
            "All classes count",
        ),
        (
            lambda predicted, target, num_classes: accuracy_score(target, predicted),
            "This is the accuracy",
        ),
        (
            lambda predicted, target, num_classes: topic.precision_recall(
                predicted, target, num_classes
            ).recall.mean(),
            "",
        ),
    ],
    "ex-classification-interval": [
        (
            lambda right, rows: np.percentile(right.double()[rows].mean(1), [5, 95]),
            "lie 90 of 100",
        ),
        (
            lambda right, rows: (
                right.double()[rows].mean(1).mean() - 2 * right.double()[rows].mean(1).std(),
                right.double()[rows].mean(1).mean() + 2 * right.double()[rows].mean(1).std(),
            ),
            "",
        ),
        (lambda right, rows: right.double()[rows].mean(1).quantile(0.5), ""),
        (_picked_from_the_sorted, "one of the resamples"),
    ],
    "ex-classification-residual": [
        (
            lambda x, first, second: F.relu(
                F.conv2d(F.relu(F.conv2d(x, first, padding=1)), second, padding=1)
            ),
            "The shortcut is missing",
        ),
        (
            lambda x, first, second: (
                x + F.conv2d(F.relu(F.conv2d(x, first, padding=1)), second, padding=1)
            ),
            "after the sum is missing",
        ),
        (
            lambda x, first, second: F.relu(
                x + F.relu(F.conv2d(F.relu(F.conv2d(x, first, padding=1)), second, padding=1))
            ),
            "",
        ),
        (
            lambda x, first, second: F.relu(
                x + F.conv2d(F.relu(F.conv2d(x, first)), second, padding=2)
            ),
            "",
        ),
    ],
    "ex-classification-keras": [
        (lambda kernel, height, width: kernel.T, "Keras's order"),
        (lambda kernel, height, width: _keras_loop(kernel, height, width).T, "in its rows"),
        (lambda kernel, height, width: kernel, ""),
    ],
}
