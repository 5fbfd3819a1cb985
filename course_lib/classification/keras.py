"""Weights from Keras: the same network, the numbers in another order.

Keras is never imported: its model says all that is needed by itself.

Source: Keras's documentation of `Conv2D`, `Dense`, `BatchNormalization` and `Flatten`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)


@torch.no_grad()
def copy_keras_weights(keras_model: Any, model: Model) -> Model:
    """Give a model the weights of a Keras model with the same layers in the same order.

    Keras keeps channels last, so three things have another order: a convolution's kernel
    (height, width, in, out), which becomes (out, in, height, width); a dense layer's kernel
    (in, out), which is transposed; and the inputs of the dense layer after `Flatten`, which run
    through rows, columns, channels there, and through channels, rows, columns here.
    Of a batch normalisation ``epsilon`` is copied too, and ``momentum``, which counts there how
    much stays, and here how much is new.

    Args:
        keras_model: with an attribute ``layers``, in order; `Conv2D` (groups 1), `Dense` and
            `BatchNormalization` are copied, `Flatten` is looked at, others have no weights.
        model: with `nn.Conv2d`, `nn.Linear` and `nn.BatchNorm2d` registered in the same order.
            It is changed in place.
    Returns:
        the model.
    Raises:
        TypeError: if a Keras layer with weights is of another kind.
        ValueError: if kinds, numbers or shapes of the layers differ. The model may have got
            some of the weights then.
    """
    theirs = list(_with_weights(keras_model))
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    ours = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, kinds)]
    if len(ours) != len(theirs):
        raise ValueError(
            f"model: expected {len(theirs)} layers with weights, as in Keras, got {len(ours)}"
        )
    for (name, layer), (source, flattened) in zip(ours, theirs, strict=True):
        translated = _translated(source, flattened)
        for key, value in translated.items():
            target = getattr(layer, key, None)
            if not isinstance(target, Tensor) or target.shape != value.shape:
                found = "none" if target is None else tuple(target.shape)
                raise ValueError(
                    f"model: expected {key} of shape {tuple(value.shape)} in {name}, for Keras's"
                    f" {source.name}, got {found}"
                )
            target.copy_(value)
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps, layer.momentum = source.epsilon, 1 - source.momentum
        elif layer.bias is not None and "bias" not in translated:
            raise ValueError(f"model: expected no bias in {name}, for Keras's {source.name}")
    return model


def _with_weights(keras_model: Any) -> Iterator[tuple[Any, tuple[int, ...] | None]]:
    """Layers with weights, and for the first one after a `Flatten` the shape that it flattened."""
    flattened = None
    for layer in keras_model.layers:
        if type(layer).__name__ == "Flatten":
            flattened = tuple(layer.input.shape[1:])
        elif layer.get_weights():
            yield layer, flattened
            flattened = None


def _translated(layer: Any, flattened: tuple[int, ...] | None) -> dict[str, Tensor]:
    """A Keras layer's weights under PyTorch's names, in PyTorch's order."""
    weights = [torch.as_tensor(array) for array in layer.get_weights()]
    kind = type(layer).__name__
    if kind == "BatchNormalization":
        learned = [key for key, on in (("weight", layer.scale), ("bias", layer.center)) if on]
        return dict(zip([*learned, "running_mean", "running_var"], weights, strict=True))
    kernel, biases = weights[0], weights[1:]
    if kind == "Conv2D":
        kernel = kernel.permute(3, 2, 0, 1)  # (O, C, kh, kw)
    elif kind == "Dense":
        if flattened is not None and math.prod(flattened) == len(kernel):
            channels_last = kernel.reshape(*flattened, -1)  # (..., C, out)
            kernel = channels_last.movedim(-2, 0).reshape(kernel.shape)
        kernel = kernel.T
    else:
        raise TypeError(f"keras_model: expected Conv2D, Dense or BatchNormalization, got {kind}")
    return dict(zip(("weight", "bias"), (kernel, *biases), strict=False))
