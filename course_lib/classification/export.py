"""A trained network as plain numbers, to run where there is no PyTorch.

Equation: (classification-folding).

Source: Jacob et al., "Quantization and training of neural networks for efficient
    integer-arithmetic-only inference", 2018, section 3.2: batch normalisation folded away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checking import describe, expect_tensor
from course_lib.classification.augment import Augment
from course_lib.classification.networks import SmallVGG
from course_lib.classification.split import Normalize

Layer = dict[str, Any]
_TRAINING_ONLY = (Augment, nn.Dropout, nn.Identity)
_KINDS = {
    nn.ReLU: "relu",
    nn.MaxPool2d: "max_pool",
    nn.AdaptiveMaxPool2d: "global_max",
    nn.AdaptiveAvgPool2d: "global_mean",
}


def fold_batch_norm(
    weight: Tensor, bias: Tensor | None, norm: nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    """Put a batch normalisation, in evaluation, into the convolution before it.

    With mean m, variance s², scale g and shift d of a map,
    ``g ((w * x + b) - m) / sqrt(s² + eps) + d`` is a convolution again; equation
    (classification-folding).

    Args:
        weight: ``Tensor[O, C, kh, kw]`` of the convolution.
        bias: ``Tensor[O]``, or ``None`` for 0.
        norm: with running statistics, of ``O`` maps.
    Returns:
        the weight and the bias that do the work of both.
    """
    expect_tensor("weight", weight, ndim=4, floating=True)
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("norm: expected running statistics, got a layer without")
    factor = (norm.running_var + norm.eps).rsqrt()  # (O,)
    factor = factor if norm.weight is None else factor * norm.weight
    shift = -norm.running_mean if bias is None else bias - norm.running_mean
    shift = factor * shift if norm.bias is None else factor * shift + norm.bias
    return weight * factor[:, None, None, None], shift


@torch.no_grad()
def export_small(model: nn.Module, input_shape: Sequence[int]) -> dict[str, Any]:
    """Write a small network as plain numbers, so that a few lines in any language can run it.

    Batch normalisation is folded into the convolution before it; layers that act in training only
    are left out.

    Args:
        model: a `SmallVGG`, or an `nn.Sequential` that ends in one, after an `nn.Upsample` or
            a `Normalize`, say.
        input_shape: ``(C, H, W)`` of one picture, with ``H == W``.
    Returns:
        ``{"input": [C, H, W], "layers": [...]}``, each layer a dict with its ``"kind"`` and lists
        of floats: ``upsample`` (``matrix`` M: every map X becomes M X Mᵀ), ``normalize`` (``mean``,
        ``std``, one a map), ``conv`` (``weight``, ``bias``; stride 1, zeros around that keep the
        size), ``relu``, ``max_pool`` (2 × 2), ``global_max``, ``global_mean``, ``linear``
        (``weight``, ``bias``).
    Raises:
        TypeError: if it holds a layer that is none of these.
        ValueError: if the pictures are not square, or a layer has other options.
    """
    _, height, width = input_shape
    if height != width:
        raise ValueError(f"input_shape: expected a square picture, got {tuple(input_shape)}")
    layers: list[Layer] = []
    for module in _chain(model):
        if isinstance(module, nn.BatchNorm2d) and layers and layers[-1]["kind"] == "conv":
            last = layers[-1]
            last["weight"], last["bias"] = fold_batch_norm(last["weight"], last["bias"], module)
        else:
            layers.append(_exported(module, height))
    return {
        "input": list(input_shape),
        "layers": [{key: _plain(value) for key, value in layer.items()} for layer in layers],
    }


def _chain(model: nn.Module) -> Iterator[nn.Module]:
    """The layers that a picture passes, in their order."""
    if isinstance(model, nn.Sequential):
        for part in model:
            yield from _chain(part)
    elif isinstance(model, SmallVGG):
        yield from _chain(model.stages)
        yield from (model.pool, model.head)
    elif not isinstance(model, _TRAINING_ONLY):
        yield model


def _exported(module: nn.Module, size: int) -> Layer:
    if isinstance(module, nn.Upsample):
        return {"kind": "upsample", "matrix": _upsampling_matrix(module, size)}
    if isinstance(module, Normalize):
        return {"kind": "normalize", "mean": module.mean, "std": module.std}
    if isinstance(module, nn.Conv2d):
        weight, bias = module.weight, module.bias
        kernel, options = module.kernel_size, (module.stride, module.dilation, module.groups)
        same = module.padding == tuple(k // 2 for k in kernel) and all(k % 2 for k in kernel)
        if options != ((1, 1), (1, 1), 1) or not same:
            raise ValueError(f"model: expected convolutions that keep the size, got {module}")
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        return {"kind": "conv", "weight": weight, "bias": bias}
    if isinstance(module, nn.Linear):
        return {"kind": "linear", "weight": module.weight, "bias": module.bias}
    if isinstance(module, nn.MaxPool2d) and not _halves(module):
        raise ValueError(f"model: expected pooling of 2 × 2, got {module}")
    if isinstance(module, nn.AdaptiveMaxPool2d | nn.AdaptiveAvgPool2d) and module.output_size != 1:
        raise ValueError(f"model: expected pooling to 1 × 1 at the end, got {module}")
    if type(module) in _KINDS:
        return {"kind": _KINDS[type(module)]}
    raise TypeError(f"model: expected layers that can be exported, got {describe(module)}")


def _halves(module: nn.MaxPool2d) -> bool:
    options = (module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)
    return options == (2, 2, 0, 1, False)


def _upsampling_matrix(module: nn.Upsample, size: int) -> Tensor:
    """What an upsampling does to the rows of a picture, and to its columns; ``Tensor[S, size]``."""
    unit = torch.eye(size)[:, None, :, None].expand(size, 1, size, size)  # picture j: row j is 1
    return module(unit)[:, 0, :, 0].T


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value
