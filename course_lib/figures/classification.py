"""The figure to touch of the chapter `classification`: draw a digit, and a network reads it."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.checking import expect_choice, expect_shape, expect_tensor
from course_lib.figures import Figure, asset, figure

__all__ = ["digit_pad"]

Network = Mapping[str, Any]
LONGEST = 32
LARGEST = 14_200
"""Parameters of all networks together: a figure stays small."""
_SIDE = 8
_KINDS = (
    *("upsample", "normalize", "conv", "relu", "max_pool", "global_max", "global_mean"),
    "linear",
)
_INK = (261, 368)
"""Pixels of ink, of 1024, of nine tenths of the 1797 scans."""


def digit_pad(
    networks: Mapping[str, Network], scans: Tensor, labels: Sequence[int] | Tensor
) -> Figure:
    """Draw a digit with the mouse, a finger or the keyboard, and see what networks make of it.

    The drawing has 32 × 32 pixels, black or white, as the bitmaps of the data set had. It can be
    scaled to the full height and centred, made thicker and moved; then the ink in each block of
    4 × 4 pixels is counted. The 64 counts, over 16, are what the network gets. Its forward pass
    runs in the reader's browser, in 64 bits with weights of 32.

    Args:
        networks: name → what `course_lib.classification.export_small` gives: from one channel
            of 8 × 8 numbers to ten scores; at most 14,200 parameters in all.
        scans: ``Tensor[N, 1, 8, 8]`` in [0, 1], in sixteenths: 1 to 12 examples to begin with.
        labels: their digits.
    Raises:
        TypeError: if the scans are not floating.
        ValueError: if a layer is of an unknown kind or does not fit the one before, or there are
            no networks, no examples, or too many.
    """
    expect_tensor("scans", scans, floating=True)
    expect_shape("scans", scans, (None, 1, _SIDE, _SIDE))
    if not 1 <= len(scans) <= 12:
        raise ValueError(f"scans: expected 1 to 12, got {len(scans)}")
    counts = (16 * scans.detach().double().cpu()).flatten(1)  # (N, 64)
    if not bool(((counts == counts.round()) & (counts >= 0) & (counts <= 16)).all()):
        raise ValueError("scans: expected sixteenths from 0 to 1, got other numbers")
    if len(labels) != len(scans):
        raise ValueError(f"labels: expected {len(scans)}, got {len(labels)}")
    if not 1 <= len(networks) <= 4:
        raise ValueError(f"networks: expected 1 to 4, got {len(networks)}")
    for name in networks:
        if not 1 <= len(name) <= LONGEST:
            raise ValueError(f"networks: expected names of 1 to {LONGEST} characters, got {name!r}")
    packed = {name: _packed(name, network) for name, network in networks.items()}
    size = sum(layer.pop("parameters") for layers in packed.values() for layer in layers)
    if size > LARGEST:
        raise ValueError(f"networks: expected at most {LARGEST} parameters, got {size}")
    return figure(
        "digit_pad",
        asset("layers.js") + asset("digit_pad.js"),
        {
            "networks": [{"name": name, "layers": layers} for name, layers in packed.items()],
            "examples": [
                {"label": int(label), "counts": row.int().tolist()}
                for row, label in zip(counts, labels, strict=True)
            ],
            "ink": list(_INK),
        },
        "Draw a digit",
        "Draw on the left with a mouse or a finger. With the keyboard, focus it: the arrow keys "
        "move the pen, space puts it down and lifts it, Delete clears.",
    )


def _packed(name: str, network: Network) -> list[dict[str, Any]]:
    """Check that the layers fit together, and pack their numbers for JSON."""
    packed: list[dict[str, Any]] = []
    shape: tuple[int, ...] = (1, _SIDE, _SIDE)
    for number, layer in enumerate(network["layers"]):
        where = f"networks[{name!r}][{number}]"
        expect_choice(f"{where}['kind']", layer["kind"], _KINDS)
        arrays = {
            key: torch.as_tensor(layer[key], dtype=torch.float32)
            for key in ("weight", "bias", "matrix")
            if key in layer
        }
        shape, more = _after(where, layer["kind"], arrays, shape)
        packed.append(
            {key: value for key, value in layer.items() if key not in arrays}
            | {key: _base64(value) for key, value in arrays.items()}
            | more
            | {"parameters": sum(value.numel() for value in arrays.values())}
        )
    if shape != (10,):
        raise ValueError(f"networks[{name!r}]: expected ten scores at the end, got {shape}")
    if not any(layer["kind"] == "conv" for layer in packed):
        raise ValueError(f"networks[{name!r}]: expected a convolution, got none")
    return packed


def _after(
    where: str, kind: str, arrays: Mapping[str, Tensor], shape: tuple[int, ...]
) -> tuple[tuple[int, ...], dict[str, int]]:
    """The shape of what a layer gives, and the sizes that its script needs."""
    if kind == "upsample":
        matrix = arrays["matrix"]
        expect_shape(f"{where}['matrix']", matrix, (None, shape[-1]))
        return (shape[0], len(matrix), len(matrix)), {"out": len(matrix)}
    if kind == "conv":
        weight = arrays["weight"]
        side = weight.shape[-1]
        expect_shape(f"{where}['weight']", weight, (None, shape[0], side, side))
        expect_shape(f"{where}['bias']", arrays["bias"], (len(weight),))
        return (len(weight), *shape[1:]), {"out": len(weight), "size": side}
    if kind == "linear":
        weight = arrays["weight"]
        expect_shape(f"{where}['weight']", weight, (None, *shape))
        expect_shape(f"{where}['bias']", arrays["bias"], (len(weight),))
        return (len(weight),), {"out": len(weight)}
    if kind == "max_pool":
        return (shape[0], *(n // 2 for n in shape[1:])), {}
    return (shape[:1] if kind.startswith("global") else shape), {}


def _base64(value: Tensor) -> str:
    return base64.b64encode(value.contiguous().numpy().astype("<f4").tobytes()).decode("ascii")
