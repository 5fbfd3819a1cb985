"""Where weights start, and how long a gradient may be: what keeps numbers in range.

Equations: (training-xavier), (training-kaiming), (training-clip).

Sources:
    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
        2010.
    He, Zhang, Ren and Sun, "Delving deep into rectifiers: surpassing human-level performance on
        ImageNet classification", 2015.
    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from course_lib.checking import expect_choice, expect_number, expect_tensor

_GAINS = {
    **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "sigmoid"), 1.0),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), 1.0),
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Say by what a layer's weights have to make up for the nonlinearity that follows it.

    Twin of `torch.nn.init.calculate_gain`.

    Args:
        nonlinearity: ``"linear"``, ``"relu"``, ``"leaky_relu"``, ``"tanh"``, ...
        param: slope of a leaky ReLU on the left; by default 0.01.
    """
    expect_choice("nonlinearity", nonlinearity, [*_GAINS, "leaky_relu"])
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else expect_number("param", param)
        return math.sqrt(2 / (1 + slope**2))
    return _GAINS[nonlinearity]


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """Fill with uniform numbers that keep variance forwards and backwards; (training-xavier).

    Twin of `torch.nn.init.xavier_uniform_`.

    Args:
        tensor: ``Tensor[out, in, ...]``, a layer's weight, filled in place and returned.
        gain: see `calculate_gain`.
        generator: what to draw with; by default torch's own.
    """
    bound = gain * math.sqrt(6 / sum(_fans(tensor)))
    return _uniform_(tensor, bound, generator)


def xavier_normal_(
    tensor: Tensor, gain: float = 1.0, generator: torch.Generator | None = None
) -> Tensor:
    """As `xavier_uniform_`, from a normal distribution of the same variance."""
    return _normal_(tensor, gain * math.sqrt(2 / sum(_fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """As `kaiming_normal_`, from a uniform distribution of the same variance."""
    return _uniform_(tensor, math.sqrt(3) * _kaiming(tensor, a, mode, nonlinearity), generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Fill with normal numbers that keep variance through a ReLU; equation (training-kaiming).

    Twin of `torch.nn.init.kaiming_normal_`.

    Args:
        tensor: ``Tensor[out, in, ...]``, a layer's weight, filled in place and returned.
        a: slope of a leaky ReLU on the left; 0 for a ReLU.
        mode: ``"fan_in"`` keeps the variance forwards, ``"fan_out"`` backwards.
        nonlinearity: what follows the layer; see `calculate_gain`.
        generator: what to draw with; by default torch's own.
    """
    return _normal_(tensor, _kaiming(tensor, a, mode, nonlinearity), generator)


def _kaiming(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    expect_choice("mode", mode, ("fan_in", "fan_out"))
    fan_in, fan_out = _fans(tensor)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan_in if mode == "fan_in" else fan_out)


def _fans(tensor: Tensor) -> tuple[int, int]:
    """How many inputs an output of the layer sees, and how many outputs an input reaches."""
    expect_tensor("tensor", tensor, floating=True)
    if tensor.ndim < 2 or tensor.numel() == 0:
        raise ValueError(
            f"tensor: expected at least 2 dimensions, none of them empty, got {tuple(tensor.shape)}"
        )
    taps = tensor[0, 0].numel()
    return tensor.shape[1] * taps, tensor.shape[0] * taps


@torch.no_grad()
def _uniform_(tensor: Tensor, bound: float, generator: torch.Generator | None) -> Tensor:
    return tensor.uniform_(-bound, bound, generator=generator)


@torch.no_grad()
def _normal_(tensor: Tensor, std: float, generator: torch.Generator | None) -> Tensor:
    return tensor.normal_(0, std, generator=generator)


@torch.no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Shorten the gradient of all parameters together to ``max_norm``; equation (training-clip).

    Twin of `torch.nn.utils.clip_grad_norm_`.

    Args:
        parameters: those without a gradient are left out.
        max_norm: largest length; the gradients are changed in place.
        norm_type: p of the p-norm that measures it, or infinity.
        error_if_nonfinite: whether to raise if the length is no finite number.
    Returns:
        the length before, a scalar tensor.
    Raises:
        RuntimeError: if that was asked for, as torch does.
    """
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    grads = [param.grad for param in parameters if param.grad is not None]
    if not grads:
        return torch.tensor(0.0)
    lengths = torch.stack([torch.linalg.vector_norm(grad, norm_type) for grad in grads])
    length = torch.linalg.vector_norm(lengths, norm_type)
    if error_if_nonfinite and not length.isfinite():
        raise RuntimeError(f"parameters: expected a gradient of finite norm, got {float(length)}")
    factor = (max_norm / (length + 1e-6)).clamp(max=1.0)
    for grad in grads:
        grad.mul_(factor)
    return length
