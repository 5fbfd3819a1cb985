"""Layers that keep a deep network trainable: batch and layer normalisation, dropout.

Equations: (training-batch-norm), (training-batch-norm-running), (training-batch-norm-gradient),
(training-layer-norm), (training-dropout).

Sources:
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal
        covariate shift", 2015.
    Ba, Kiros and Hinton, "Layer normalization", 2016.
    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_lib.checking import expect_int, expect_number, expect_shape, expect_tensor

# --- batch normalisation ------------------------------------------------------------------------


def batch_norm_loops(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Compute equation (training-batch-norm) channel by channel, number by number.

    Arguments, result and errors are those of `batch_norm`.
    """
    _expect_batch_norm(input, running_mean, running_var, weight, bias, training, eps)
    output = torch.empty_like(input)
    for c in range(input.shape[1]):
        values, normalised = input[:, c].reshape(-1), []
        if training or running_mean is None or running_var is None:
            count = len(values)
            mean = torch.stack([value / count for value in values]).sum()
            var = torch.stack([(value - mean) ** 2 / count for value in values]).sum()
            unbiased = var * count / (count - 1)
            for running, now in ((running_mean, mean), (running_var, unbiased)):
                if running is not None:
                    running[c] = (1 - momentum) * running[c] + momentum * now.detach()
        else:
            mean, var = running_mean[c], running_var[c]
        for value in values:
            scaled = (value - mean) / torch.sqrt(var + eps)
            scaled = scaled if weight is None else weight[c] * scaled
            normalised.append(scaled if bias is None else scaled + bias[c])
        if normalised:
            output[:, c] = torch.stack(normalised).reshape(input[:, c].shape)
    return output


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Give every channel mean 0 and variance 1, then a scale and a shift; (training-batch-norm).

    Twin of `torch.nn.functional.batch_norm`.

    Args:
        input: ``Tensor[N, C]`` or ``Tensor[N, C, ...]``, any floating dtype.
        running_mean: ``Tensor[C]``, used instead of the batch's mean unless training; while
            training it is moved towards that mean, in place; (training-batch-norm-running).
        running_var: ``Tensor[C]``, the same for the variance; it follows the unbiased one.
        weight: ``Tensor[C]``, the scale; by default 1.
        bias: ``Tensor[C]``, the shift; by default 0.
        training: whether to use the mean and the variance of this batch.
        momentum: how far the running ones move.
        eps: added to the variance, so that nothing is divided by 0.
    Returns:
        a tensor like the input.
    Raises:
        TypeError: if ``input`` is not floating.
        ValueError: if a shape does not fit, there is only one value in a channel while training,
            or no running mean or variance otherwise.
    """
    _expect_batch_norm(input, running_mean, running_var, weight, bias, training, eps)
    axes = [axis for axis in range(input.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(input.ndim)]
    exact = input.to(_exact_dtype(input))
    if training or running_mean is None or running_var is None:
        mean = exact.mean(axes, keepdim=True)  # (1, C, 1, ...)
        centered = exact - mean
        var = centered.square().mean(axes, keepdim=True)
        count = input.numel() // max(input.shape[1], 1)
        _follow(running_mean, mean.flatten(), momentum)
        _follow(running_var, var.flatten() * (count / (count - 1)), momentum)
    else:
        centered, var = exact - running_mean.reshape(shape), running_var.reshape(shape)
    by_channel = (None if value is None else value.reshape(shape) for value in (weight, bias))
    return _scaled(centered, var, eps, *by_channel).to(input.dtype)


def batch_norm_backward(
    grad_output: Tensor, input: Tensor, weight: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Tensor, Tensor]:
    """Carry the gradient back through `batch_norm` while training; (training-batch-norm-gradient).

    Mean and variance depend on every value of the channel, so each of them hears of all others.

    Args:
        grad_output: the loss's gradient with respect to the output, like the input.
        input: ``Tensor[N, C]`` or ``Tensor[N, C, ...]``.
        weight: ``Tensor[C]``; by default 1.
    Returns:
        the gradients with respect to the input (like it), the weight and the bias
        (``Tensor[C]`` each).
    Raises:
        TypeError, ValueError: as `batch_norm`, or if ``grad_output`` has another shape.
    """
    _expect_batch_norm(input, None, None, weight, None, True, eps)
    expect_tensor("grad_output", grad_output, floating=True)
    expect_shape("grad_output", grad_output, input.shape)
    axes = [axis for axis in range(input.ndim) if axis != 1]
    shape = [-1 if axis == 1 else 1 for axis in range(input.ndim)]
    centered = input - input.mean(axes, keepdim=True)
    scale = (centered.square().mean(axes, keepdim=True) + eps).rsqrt()
    normalised = centered * scale
    grad_weight = (grad_output * normalised).sum(axes)  # (C,)
    grad_bias = grad_output.sum(axes)  # (C,)
    count = input.numel() // input.shape[1]
    grad_input = (
        grad_output
        - grad_bias.reshape(shape) / count
        - normalised * grad_weight.reshape(shape) / count
    )
    if weight is not None:
        scale = scale * weight.reshape(shape)
    return scale * grad_input, grad_weight, grad_bias


class _BatchNorm(nn.Module):
    """What the layers for all ranks share; see `BatchNorm2d`."""

    ranks: tuple[int, ...]
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        expect_int("num_features", num_features, minimum=0)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        ones = torch.ones(num_features, device=device, dtype=dtype)
        _learn(self, ones, affine, bias)
        kept = track_running_stats
        self.register_buffer("running_mean", torch.zeros_like(ones) if kept else None)
        self.register_buffer("running_var", ones.clone() if kept else None)
        count = torch.tensor(0, device=device) if kept else None
        self.register_buffer("num_batches_tracked", count)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise: by the batch while training, by the running statistics otherwise."""
        expect_tensor("input", input, ndim=self.ranks)
        momentum: float | Tensor = self.momentum or 0.0
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                momentum = 1 / self.num_batches_tracked.to(_exact_dtype(input))
        own = self.training or self.running_mean is None
        mean, var = self.running_mean, self.running_var
        return batch_norm(input, mean, var, self.weight, self.bias, own, momentum, self.eps)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of ``Tensor[N, C, H, W]``, with its parameters and running statistics.

    Twin of `torch.nn.BatchNorm2d`; see `batch_norm`.

    Args:
        num_features: channels.
        eps: added to the variance.
        momentum: how far the running statistics move at each batch; ``None`` makes them the mean
            over all batches so far.
        affine: whether there is a weight.
        track_running_stats: whether there are running statistics; without them the batch's own
            are used in evaluation too.
        bias: whether there is a bias beside the weight.
    """

    ranks = (4,)


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of ``Tensor[N, C]`` or ``Tensor[N, C, L]``; as `BatchNorm2d`."""

    ranks = (2, 3)


# --- layer normalisation ------------------------------------------------------------------------


def layer_norm_loops(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Compute equation (training-layer-norm) example by example, number by number.

    Arguments, result and errors are those of `layer_norm`.
    """
    shape = _expect_layer_norm(input, normalized_shape, weight, bias, eps)
    rows = []
    for values in input.reshape(-1, shape.numel()):
        mean = sum(values) / len(values)
        var = sum((value - mean) ** 2 for value in values) / len(values)
        row = []
        for d, value in enumerate(values):
            scaled = (value - mean) / torch.sqrt(var + eps)
            scaled = scaled if weight is None else weight.reshape(-1)[d] * scaled
            row.append(scaled if bias is None else scaled + bias.reshape(-1)[d])
        rows.append(torch.stack(row))
    return torch.stack(rows).reshape(input.shape) if rows else torch.empty_like(input)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Give every example mean 0 and variance 1, then a scale and a shift; (training-layer-norm).

    Twin of `torch.nn.functional.layer_norm`. No example depends on another, so it is the same in
    training and evaluation.

    Args:
        input: ``Tensor[..., *normalized_shape]``, any floating dtype.
        normalized_shape: the last axes, over which mean and variance are taken.
        weight: of that shape, the scale; by default 1.
        bias: of that shape, the shift; by default 0.
        eps: added to the variance, so that nothing is divided by 0.
    Returns:
        a tensor like the input.
    Raises:
        TypeError: if ``input`` is not floating.
        ValueError: if a shape does not fit.
    """
    shape = _expect_layer_norm(input, normalized_shape, weight, bias, eps)
    axes = list(range(-len(shape), 0))
    exact = input.to(_exact_dtype(input))
    centered = exact - exact.mean(axes, keepdim=True)  # (..., *normalized_shape)
    var = centered.square().mean(axes, keepdim=True)  # (..., 1, ...)
    return _scaled(centered, var, eps, weight, bias).to(input.dtype)


class LayerNorm(nn.Module):
    """Layer normalisation with its parameters; see `layer_norm`. Twin of `torch.nn.LayerNorm`.

    Args:
        normalized_shape: the last axes; an integer stands for one axis.
        eps: added to the variance.
        elementwise_affine: whether there is a weight.
        bias: whether there is a bias beside the weight.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        axes = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape, self.eps = tuple(axes), eps
        ones = torch.ones(self.normalized_shape, device=device, dtype=dtype)
        _learn(self, ones, elementwise_affine, bias)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise each example by itself."""
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)


# --- dropout ------------------------------------------------------------------------------------


def dropout_loops(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Toss a coin for one number after the other; equation (training-dropout).

    Arguments, result and errors are those of `dropout`.
    """
    _expect_dropout(input, p)
    if not training:
        return input
    kept = [value / (1 - p) if torch.rand(()) < 1 - p else 0 * value for value in input.reshape(-1)]
    return torch.stack(kept).reshape(input.shape) if kept else torch.empty_like(input)


def dropout(input: Tensor, p: float = 0.5, training: bool = True) -> Tensor:
    """Set numbers to 0 by chance, and scale the rest so that the mean stays; (training-dropout).

    Twin of `torch.nn.functional.dropout`, without ``inplace``; on the CPU it draws the same.

    Args:
        input: any shape, any floating dtype.
        p: probability that a number is dropped.
        training: whether to drop at all; otherwise the input is returned.
    Returns:
        a tensor like the input.
    Raises:
        TypeError: if ``input`` is not floating.
        ValueError: if ``p`` is not in [0, 1].
    """
    _expect_dropout(input, p)
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0  # torch's NaN and infinities stay NaN too
    return input * torch.empty_like(input).bernoulli_(1 - p).div_(1 - p)


class Dropout(nn.Module):
    """Dropout while training, nothing otherwise; see `dropout`. Twin of `torch.nn.Dropout`.

    Args:
        p: probability that a number is dropped.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        expect_number("p", p, minimum=0, maximum=1)
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        """Drop, or not."""
        return dropout(input, self.p, self.training)


# --- helpers ------------------------------------------------------------------------------------


def _exact_dtype(input: Tensor) -> torch.dtype:
    """What to compute in: sums of many 16-bit numbers would be too coarse."""
    return torch.promote_types(input.dtype, torch.float32)


def _scaled(
    centered: Tensor, var: Tensor, eps: float, weight: Tensor | None, bias: Tensor | None
) -> Tensor:
    scale = (var + eps).rsqrt()
    output = centered * (scale if weight is None else scale * weight)
    return output if bias is None else output + bias


@torch.no_grad()
def _follow(running: Tensor | None, now: Tensor, momentum: float | Tensor) -> None:
    if running is not None:
        running.copy_((1 - momentum) * running + momentum * now)


def _learn(module: nn.Module, ones: Tensor, affine: bool, bias: bool) -> None:
    """Give a layer its weight of ones and its bias of zeros, as far as it is to have them."""
    weight = nn.Parameter(ones) if affine else None
    module.register_parameter("weight", weight)
    shift = nn.Parameter(torch.zeros_like(ones)) if affine and bias else None
    module.register_parameter("bias", shift)


def _expect_batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
) -> None:
    expect_tensor("input", input, floating=True)
    if input.ndim < 2:
        raise ValueError(f"input: expected at least 2 dimensions, got {tuple(input.shape)}")
    expect_number("eps", eps, minimum=0)
    channels = {
        "running_mean": running_mean,
        "running_var": running_var,
        "weight": weight,
        "bias": bias,
    }
    for name, value in channels.items():
        if value is not None:
            expect_tensor(name, value, floating=True)
            expect_shape(name, value, (input.shape[1],))
        elif name.startswith("running") and not training:
            raise ValueError(f"{name}: expected a tensor unless training, got None")
    if training and input.numel() <= input.shape[1]:
        raise ValueError(
            "input: expected more than one value in each channel while training,"
            f" got shape {tuple(input.shape)}"
        )


def _expect_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
) -> torch.Size:
    expect_tensor("input", input, floating=True)
    expect_number("eps", eps, minimum=0)
    shape = torch.Size(normalized_shape)
    if not shape or input.shape[-len(shape) :] != shape:
        raise ValueError(
            f"normalized_shape: expected the last axes of {tuple(input.shape)}, got {tuple(shape)}"
        )
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            expect_tensor(name, value, floating=True)
            expect_shape(name, value, shape)
    return shape


def _expect_dropout(input: Tensor, p: float) -> None:
    expect_tensor("input", input, floating=True)
    expect_number("p", p, minimum=0, maximum=1)
