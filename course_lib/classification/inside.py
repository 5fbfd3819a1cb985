"""What is in a network: its layers, its maps, and what lies near what in its features.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014, who looked
    at the maps of every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_lib.checking import (
    expect_alike,
    expect_choice,
    expect_int,
    expect_shape,
    expect_tensor,
)


class LayerRow(NamedTuple):
    """A line of `layer_table`."""

    name: str
    """where the layer sits in the model, dotted"""
    kind: str
    """its class"""
    output: tuple[int, ...]
    """shape of its output, without the batch"""
    parameters: int
    """numbers that it learns"""


def layer_table(model: nn.Module, input_shape: Sequence[int]) -> list[LayerRow]:
    """List the layers that a picture passes, with the shape of what each gives.

    Args:
        model: stays as it is; a lazy layer gets its size.
        input_shape: of one picture, ``(C, H, W)``.
    Returns:
        a row for each call of a layer, in that order; a layer called twice counts its parameters
        once.
    """
    rows: list[LayerRow] = []
    seen: set[nn.Module] = set()

    def note(name: str, module: nn.Module, output: Tensor) -> None:
        numbers = sum(p.numel() for p in module.parameters() if module not in seen)
        seen.add(module)
        rows.append(LayerRow(name, type(module).__name__, tuple(output.shape[1:]), numbers))

    leaves = [name for name, layer in model.named_modules() if next(layer.children(), None) is None]
    like = next(model.parameters(), torch.empty(0))
    picture = torch.zeros(1, *input_shape, dtype=like.dtype, device=like.device)
    _listen(model, picture, leaves, note)
    return rows


def feature_maps(model: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """Return what layers inside a network give.

    Args:
        model: stays as it is; it is asked in evaluation mode.
        images: ``Tensor[N, C, H, W]``.
        names: of the layers, dotted, as in `layer_table` or ``model.named_modules()``.
    Returns:
        their outputs by name; the last one, of a layer that is called several times.
    Raises:
        ValueError: if there is no such layer.
    """
    maps: dict[str, Tensor] = {}
    _listen(model, images, names, lambda name, _, output: maps.update({name: output.clone()}))
    return maps


def _listen(model: nn.Module, images: Tensor, names: Sequence[str], note: Any) -> None:
    """Send images through a model and call ``note(name, module, output)`` at the named layers."""
    modules = dict(model.named_modules())
    for name in names:
        expect_choice("names", name, modules)
    hooks = [
        modules[name].register_forward_hook(
            lambda module, _, output, name=name: note(name, module, output)
        )
        for name in names
    ]
    modes = {module: module.training for module in modules.values()}
    model.eval()
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training


def nearest_neighbours(features: Tensor, gallery: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
    """Find the rows of a gallery that lie nearest, in Euclidean distance.

    Args:
        features: ``Tensor[N, F]``, floating.
        gallery: ``Tensor[M, F]``, same dtype and device, with ``k`` rows or more.
        k: how many for each.
    Returns:
        distances and indices into the gallery, ``Tensor[N, k]`` each, nearest first.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    expect_tensor("features", features, ndim=2, floating=True)
    expect_alike(features=features, gallery=gallery)
    expect_shape("gallery", gallery, (None, features.shape[1]))
    if expect_int("k", k, minimum=1) > len(gallery):
        raise ValueError(f"k: expected at most the gallery's {len(gallery)} rows, got {k}")
    # Not by matrix products: they would give a picture's distance to itself as some 1e-3.
    far = torch.cdist(features, gallery, compute_mode="donot_use_mm_for_euclid_dist")  # (N, M)
    return far.topk(k, largest=False)
