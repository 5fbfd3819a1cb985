"""The figure to touch of the clinic: what mistakes do to the curve of a loss."""

from __future__ import annotations

import base64

import torch
from torch import Tensor

from course_lib.checking import describe, expect_shape, expect_tensor
from course_lib.figures import Figure, asset, figure

__all__ = ["loss_fingerprints"]

_MOST_SCANS, _MOST_PIXELS, _CLASSES = 400, 50_000, 10
_BATCH = 20


def loss_fingerprints(train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> Figure:
    """Train a small classifier in the page, with a mistake of your choice or one to find out.

    The classifier is a softmax regression over the pixels of each scan, with a bias; it starts at
    0 and takes steps of gradient descent on batches of 20, in the order given.

    Args:
        train: scans, ``Tensor[N, 1, H, W]``, floating, in [0, 1], and their labels, ``Tensor[N]``,
            int64, 0 to 9; N is a multiple of 20, at most 400, and so is the number of validation
            scans at most; 50,000 pixels in all.
        validation: as ``train``, of any number of scans.
    Raises:
        TypeError: if the scans are not floating, or the labels not int64.
        ValueError: if a shape, a size, a value or a label is not as described.
    """
    parts = {"train": train, "validation": validation}
    for name, (scans, labels) in parts.items():
        _expect_scans(name, scans, labels)
    scans, labels = train
    if len(scans) % _BATCH:
        raise ValueError(f"train: expected a multiple of {_BATCH} scans, got {len(scans)}")
    if scans.shape[1:] != validation[0].shape[1:]:
        raise ValueError(
            f"validation: expected scans of shape {tuple(scans.shape[1:])},"
            f" got {describe(validation[0])}"
        )
    if scans.numel() + validation[0].numel() > _MOST_PIXELS:
        raise ValueError(f"train: expected at most {_MOST_PIXELS} pixels in all")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    data = {name: _packed(*part) for name, part in parts.items()}
    return figure(
        "loss_fingerprints",
        asset("loss_fingerprints.js"),
        data | {"shuffled": labels.cpu()[order].tolist(), "batch": _BATCH, "classes": _CLASSES},
        "Which mistake was it?",
        "Choose a mistake and compare its curve with that of a sound run. "
        "Then ask for a patient whose mistake you do not know, and say what it is.",
    )


def _expect_scans(name: str, scans: Tensor, labels: Tensor) -> None:
    expect_tensor(name, scans, ndim=4, floating=True)
    expect_shape(name, scans, (None, 1, None, None))
    expect_tensor(f"{name} labels", labels, ndim=1)
    expect_shape(f"{name} labels", labels, (len(scans),))
    if labels.dtype != torch.int64:
        raise TypeError(f"{name} labels: expected torch.int64, got {describe(labels)}")
    if not 1 <= len(scans) <= _MOST_SCANS:
        raise ValueError(f"{name}: expected 1 to {_MOST_SCANS} scans, got {len(scans)}")
    if not (scans.numel() and ((scans >= 0) & (scans <= 1)).all()):  # so that NaN fails too
        raise ValueError(f"{name}: expected values in [0, 1], got {describe(scans)}")
    if not ((labels >= 0) & (labels < _CLASSES)).all():
        raise ValueError(f"{name} labels: expected 0 to 9, got {labels.unique().tolist()}")


def _packed(scans: Tensor, labels: Tensor) -> dict[str, object]:
    """A byte a pixel, as in a file of a picture."""
    pixels = (scans.detach().double().cpu() * 255).round().to(torch.uint8)
    return {
        "pixels": base64.b64encode(pixels.numpy().tobytes()).decode("ascii"),
        "labels": labels.tolist(),
    }
