"""Figures to touch for the chapter on training: optimisers on a surface, a film of a run."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.checking import describe, expect_shape, expect_tensor
from course_lib.figures import Figure, asset, figure

__all__ = ["loss_surface", "training_film"]

_MOST_SAMPLES = 200
_MOST_PIXELS = 60_000  # of all pictures of a film together
_MOST_FRAMES = 100


def loss_surface(feature: Tensor, target: Tensor, question: str = "0 or 1?") -> Figure:
    """Drop a ball on a loss surface with two parameters, and follow an optimiser downhill.

    Four surfaces are formulas. Two are real: the cross-entropy of the classifier
    ``sigmoid(w · feature + b)`` over ``w`` and ``b``, with the feature as it is and with the
    feature brought to mean 0 and standard deviation 1. The steps are those of `torch.optim`.

    Args:
        feature: ``Tensor[N]``, floating, one number for each sample, 2 to 200 samples that do
            not all agree and that no threshold separates, so that there is a lowest point.
        target: ``Tensor[N]``, 0 or 1.
        question: what the classifier is asked, in a few words.
    Raises:
        TypeError: if ``feature`` is not floating.
        ValueError: if a shape, a number or a target is not as described.
    """
    expect_tensor("feature", feature, ndim=1, floating=True)
    expect_tensor("target", target)
    expect_shape("target", target, feature.shape)
    if not 2 <= len(feature) <= _MOST_SAMPLES:
        raise ValueError(f"feature: expected 2 to {_MOST_SAMPLES} samples, got {describe(feature)}")
    plain, wanted = feature.detach().double().cpu(), target.detach().double().cpu()
    if not (plain.isfinite().all() and plain.min() < plain.max()):
        raise ValueError(f"feature: expected finite numbers that differ, got {describe(feature)}")
    if not ((wanted == 0) | (wanted == 1)).all():
        raise ValueError(f"target: expected 0 or 1, got {wanted.unique().tolist()}")
    _expect_overlap(plain, wanted)
    standard = (plain - plain.mean()) / plain.std(correction=0)
    classifiers = {
        f"{question} as it is": _classifier(plain.round(decimals=6), wanted),
        f"{question} standardised": _classifier(standard.round(decimals=6), wanted),
    }
    return figure(
        "loss_surface",
        asset("loss_surface.js"),
        {"classifiers": classifiers},
        "Find the way down",
        "Click the map to drop the ball, or move its start with the arrow keys and press Enter. "
        "Then change the step size.",
    )


def training_film(
    curves: Mapping[str, Sequence[float]],
    pictures: Tensor,
    *,
    names: Sequence[str] = (),
    caption: str = "What is learned: blue below 0, orange above.",
    axis: str = "epoch",
    value: str = "loss",
    ticks: Sequence[int] | None = None,
) -> Figure:
    """Play a training run that has been: pictures that change, and curves that grow with them.

    Args:
        curves: one to three names and values, one number for each frame.
        pictures: ``Tensor[F, K, H, W]``, floating, signed: K pictures in each of F frames, 2 to
            100 frames and at most 60,000 numbers in all.
        names: what to write below each of the K pictures.
        caption: what the pictures show.
        axis: what passes from frame to frame.
        value: what the curves measure.
        ticks: the number of each frame; ``None`` counts from 0.
    Raises:
        TypeError: if ``pictures`` is not floating.
        ValueError: if a number of frames or names, a size or a value is not as described.
    """
    expect_tensor("pictures", pictures, ndim=4, floating=True)
    frames, count = pictures.shape[:2]
    if not (2 <= frames <= _MOST_FRAMES and 0 < pictures.numel() <= _MOST_PIXELS):
        raise ValueError(
            f"pictures: expected 2 to {_MOST_FRAMES} frames and at most {_MOST_PIXELS:,} numbers,"
            f" got {describe(pictures)}"
        )
    if not pictures.isfinite().all():
        raise ValueError(f"pictures: expected finite numbers, got {describe(pictures)}")
    if not 1 <= len(curves) <= 3:
        raise ValueError(f"curves: expected one to three, got {len(curves)}")
    for name, values in curves.items():
        if len(values) != frames or not all(math.isfinite(v) and v >= 0 for v in values):
            raise ValueError(
                f"curves[{name!r}]: expected {frames} finite numbers of at least 0,"
                f" got {describe(values)}"
            )
    if names and len(names) != count:
        raise ValueError(f"names: expected {count}, got {len(names)}")
    if ticks is not None and len(ticks) != frames:
        raise ValueError(f"ticks: expected {frames}, got {len(ticks)}")
    data = {
        "pictures": _encode_signed(pictures),
        "curves": [
            {"name": name, "values": [round(float(v), 6) for v in values]}
            for name, values in curves.items()
        ],
        "names": list(names),
        "caption": caption,
        "axis": axis,
        "value": value,
        "ticks": list(range(frames)) if ticks is None else [int(tick) for tick in ticks],
    }
    return figure(
        "training_film",
        asset("training_film.js"),
        data,
        "A training run, as a film",
        "Play it, or turn the pages with the slider or the arrow keys.",
    )


def _expect_overlap(feature: Tensor, target: Tensor) -> None:
    """Raise where a threshold separates the classes: the loss then has no lowest point."""
    zeros, ones = feature[target == 0], feature[target == 1]
    if not (len(zeros) and len(ones)):
        raise ValueError("target: expected both 0 and 1, got only one of them")
    if zeros.max() <= ones.min() or ones.max() <= zeros.min():
        raise ValueError("feature: expected classes that no threshold separates")


def _classifier(feature: Tensor, target: Tensor) -> dict[str, Any]:
    """What the figure needs of a classifier: the data, and a map around 0 and its lowest point."""
    lowest = _lowest_point(feature, target)
    reach = 0.5 * max(1.0, float(lowest.abs().max()))
    return {
        "feature": feature.tolist(),
        "target": target.tolist(),
        "low": (lowest.clamp(max=0) - reach).tolist(),
        "high": (lowest.clamp(min=0) + reach).tolist(),
        "start": [0.0, 0.0],
        "lowest": [lowest.tolist()],
    }


def _lowest_point(feature: Tensor, target: Tensor) -> Tensor:
    """Weight and bias of the least cross-entropy, by Newton's method with halved steps."""
    design = torch.stack([feature, torch.ones_like(feature)], 1)  # (N, 2)
    point = torch.zeros(2, dtype=torch.float64)

    def loss(at: Tensor) -> Tensor:
        return torch.nn.functional.softplus((1 - 2 * target) * (design @ at)).sum()

    for _ in range(100):
        p = torch.sigmoid(design @ point)
        slope = design.T @ (p - target)
        if slope.abs().max() < 1e-9:
            break
        step = torch.linalg.solve((design.T * (p * (1 - p))) @ design, slope)
        while loss(point - step) > loss(point):
            step = step / 2
        point = point - step
    return point


def _encode_signed(pictures: Tensor) -> dict[str, Any]:
    """Pack signed numbers into a byte each, 0 to 254, of which 127 is zero."""
    plain = pictures.detach().double().cpu()
    limit = float(plain.abs().max()) or 1.0
    packed = (plain / limit * 127 + 127).round().to(torch.uint8)
    frames, count, height, width = plain.shape
    return {
        "frames": frames,
        "count": count,
        "height": height,
        "width": width,
        "limit": limit,
        "bytes": base64.b64encode(packed.numpy().tobytes()).decode("ascii"),
    }
