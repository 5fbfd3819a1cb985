"""How scores become probabilities, and probabilities a loss.

Equations of the chapter `softmax`, by label: softmax-scores, softmax-model, softmax-definition,
softmax-shift, softmax-log, softmax-logsumexp, softmax-slope, softmax-entropy, softmax-trade,
softmax-temperature, softmax-sigmoid, softmax-nll, softmax-cross-entropy, softmax-kl,
softmax-grad-scores, softmax-grad-weights, softmax-jacobian, softmax-twice, softmax-floor,
softmax-smoothing, softmax-weighted, softmax-binary, softmax-init, softmax-descent.

Sources:
    Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990.
    Jaynes, "Information theory and statistical mechanics", 1957.
    Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016.
    Goodfellow, Bengio and Courville, "Deep Learning", 2016, sections 4.1, 5.5 and 6.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_in_range,
    expect_int,
    expect_shape,
    expect_tensor,
)

REDUCTIONS = ("none", "mean", "sum")


# --- scores ---------------------------------------------------------------------------------------


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Score every class with a weighted sum of the inputs; equation (softmax-scores).

    Twin of `torch.nn.functional.linear`.

    Args:
        input: ``Tensor[..., D]``, any floating dtype.
        weight: ``Tensor[C, D]``, a row for each class.
        bias: ``Tensor[C]``.
    Returns:
        ``Tensor[..., C]``.
    Raises:
        TypeError: if a dtype is not floating or the dtypes differ.
        ValueError: if the shapes or devices do not fit together.
    """
    expect_tensor("input", input, floating=True)
    expect_tensor("weight", weight, ndim=2, floating=True)
    expect_alike(input=input, weight=weight, bias=bias)
    expect_shape("input", input, (*input.shape[:-1], weight.shape[1]))
    output = input @ weight.T
    if bias is None:
        return output
    expect_shape("bias", bias, (weight.shape[0],))
    return output + bias


class Linear(nn.Module):
    """A layer of scores with weights to learn; twin of `torch.nn.Linear`.

    Weight and bias start uniform in ±1/sqrt(in_features), equation (softmax-init).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = expect_int("in_features", in_features, minimum=1)
        self.out_features = expect_int("out_features", out_features, minimum=1)
        shape = (out_features, in_features)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(out_features, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew from equation (softmax-init)."""
        bound = 1 / math.sqrt(self.in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``Tensor[..., in_features]`` to ``Tensor[..., out_features]``."""
        return linear(input, self.weight, self.bias)


# --- probabilities --------------------------------------------------------------------------------


def softmax_loops(input: Tensor, dim: int) -> Tensor:
    """Compute equation (softmax-definition) word by word, the oracle of the tests.

    Powers of e are taken as they are, so they overflow where `softmax` does not.
    """
    _expect_scores("input", input, dim)
    rows = input.movedim(dim, -1).reshape(-1, input.shape[dim])  # (rows, C)
    output = torch.empty_like(rows)
    for n in range(rows.shape[0]):
        total = input.new_zeros(())
        for c in range(rows.shape[1]):
            total = total + rows[n, c].exp()
        for c in range(rows.shape[1]):
            output[n, c] = rows[n, c].exp() / total
    return output.reshape(input.movedim(dim, -1).shape).movedim(-1, dim)


def softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Turn scores into probabilities; equations (softmax-definition) and (softmax-shift).

    Twin of `torch.nn.functional.softmax`, which lets ``dim`` be left out and then guesses it.

    Args:
        input: ``Tensor[...]`` of scores, any floating dtype; float16 and bfloat16 are summed in
            float32.
        dim: the axis of the classes.
        dtype: what to convert the scores to first.
    Returns:
        a tensor of the same shape that sums to 1 along ``dim``; NaN where a score is NaN or
        infinity, or where all are minus infinity.
    Raises:
        TypeError: if the dtype is not floating.
        ValueError: if there is no such axis, or no class.
    """
    _expect_scores("input", input, dim)
    scores = input if dtype is None else input.to(dtype)
    powers = (scores - _top(scores, dim)).exp_()
    return (powers / powers.sum(dim, keepdim=True)).to(scores.dtype)


def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False) -> Tensor:
    """Compute log Σ exp(input) without overflow; equation (softmax-logsumexp).

    Twin of `torch.logsumexp`, for floating dtypes. It lies between the maximum and the maximum
    plus log C, and its gradient is the softmax, equation (softmax-slope).

    Args:
        input: ``Tensor[...]``.
        dim: one axis or several.
        keepdim: whether those axes stay, with length 1.
    Raises:
        TypeError, ValueError: as `softmax`.
    """
    dims = list(dim) if isinstance(dim, Sequence) else [dim]
    if not dims:
        raise ValueError(f"dim: expected at least one axis, got {describe(dim)}")
    for one in dims:
        _expect_scores("input", input, one)
    top = _top(input, dims)
    top = top.where(top.isfinite(), 0)  # infinity minus infinity would be NaN
    total = (input - top).exp_().sum(dims, keepdim=True)
    output = (total.log() + top).to(input.dtype)
    return output if keepdim else output.squeeze(dims)


def log_softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Logarithms of the probabilities, also where these are too small to be written; (softmax-log).

    Twin of `torch.nn.functional.log_softmax`; arguments and errors are those of `softmax`.
    """
    _expect_scores("input", input, dim)
    scores = input if dtype is None else input.to(dtype)
    shifted = scores - _top(scores, dim)
    return (shifted - shifted.exp().sum(dim, keepdim=True).log()).to(scores.dtype)


def sigmoid(input: Tensor) -> Tensor:
    """Softmax of the two scores ``input`` and 0, its first entry; equation (softmax-sigmoid).

    Twin of `torch.sigmoid`, for floating dtypes.
    """
    expect_tensor("input", input, floating=True)
    finite = input.clamp(max=torch.finfo(input.dtype).max)  # infinity - infinity would be NaN
    top = finite.detach().clamp(min=0)  # the larger of the two scores
    power, other = (finite - top).exp_(), (-top).exp_()
    return power / (power + other)


def entropy(probabilities: Tensor, dim: int) -> Tensor:
    """Uncertainty of a distribution, in nats; equation (softmax-entropy).

    Args:
        probabilities: ``Tensor[...]``, not negative, with sum 1 along ``dim``; 0 log 0 counts as 0.
        dim: the axis of the classes.
    Returns:
        the tensor without that axis, from 0 (one class is certain) to log C (all are alike).
    """
    _expect_scores("probabilities", probabilities, dim)
    return -torch.xlogy(probabilities, probabilities).sum(dim)


def kl_divergence(target: Tensor, probabilities: Tensor, dim: int) -> Tensor:
    """What it costs to believe ``probabilities`` where ``target`` is true; equation (softmax-kl).

    Args:
        target, probabilities: ``Tensor[...]`` of one shape, distributions along ``dim``.
        dim: the axis of the classes.
    Returns:
        the tensor without that axis, in nats: 0 where they are equal, infinity where something
        that can happen was given probability 0.
    """
    _expect_scores("target", target, dim)
    expect_tensor("probabilities", probabilities, floating=True)
    expect_alike(target=target, probabilities=probabilities)
    expect_shape("probabilities", probabilities, target.shape)
    surprise = torch.xlogy(target, probabilities)  # 0 where the target is 0
    return (torch.xlogy(target, target) - surprise).sum(dim)


# --- losses ---------------------------------------------------------------------------------------


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Write class indices as rows of zeros with a single one.

    Twin of `torch.nn.functional.one_hot`.

    Args:
        tensor: ``Tensor[...]`` of class indices, int64.
        num_classes: how many classes; -1 takes the largest index and one more, for which the
            numbers have to be looked at. Otherwise only a CPU is asked whether they are in range.
    Returns:
        ``Tensor[..., num_classes]``, int64.
    Raises:
        TypeError: if the dtype is not int64.
        ValueError: if the number of classes is neither -1 nor positive, or unknown.
        IndexError: if an index is out of range.
    """
    expect_tensor("tensor", tensor)
    if tensor.dtype != torch.int64:
        raise TypeError(f"tensor: expected class indices, int64, got {describe(tensor)}")
    if num_classes == -1:
        if tensor.numel() == 0:
            raise ValueError("num_classes: expected a number where there is no index, got -1")
        num_classes = int(tensor.max()) + 1
    expect_int("num_classes", num_classes, minimum=1)
    expect_in_range("tensor", tensor, num_classes)
    return (tensor[..., None] == torch.arange(num_classes, device=tensor.device)).long()


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Loss of logarithms of probabilities against the true classes; equation (softmax-nll).

    Twin of `torch.nn.functional.nll_loss`. Arguments, result and errors are those of
    `cross_entropy`, but ``input`` holds logarithms of probabilities, and ``target`` class indices.
    """
    _expect_loss(input, target, weight, reduction)
    if target.is_floating_point():
        raise TypeError(f"target: expected class indices, got {describe(target)}")
    log_probabilities, targets = _batched(input, target)
    indices, kept = _looked_up(targets, log_probabilities.shape[1], ignore_index)
    losses, counts = -log_probabilities.gather(1, indices[:, None])[:, 0], kept
    if weight is not None:
        losses, counts = weight[indices] * losses, weight[indices] * kept
    losses = _unbatched(losses.where(kept, 0), input)
    return _reduced(losses, counts, reduction)


def cross_entropy_loops(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Compute equations (softmax-cross-entropy) to (softmax-weighted) word by word; the oracle.

    Arguments, result and errors are those of `cross_entropy`; large scores overflow here.
    """
    _expect_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    scores, targets = _batched(input, target)
    classes, by_index = scores.shape[1], not target.is_floating_point()
    rows = scores.movedim(1, -1).reshape(-1, classes)  # (rows, C)
    if by_index:
        found = _looked_up(targets, classes, ignore_index)
        truths, kept = (part.flatten() for part in found)
    else:
        truths = targets.movedim(1, -1).reshape(-1, classes)
        kept = torch.ones(len(rows))
    weights = [1.0] * classes if weight is None else list(weight)
    losses, denominator = scores.new_zeros(len(rows)), scores.new_zeros(())
    for n, (row, truth) in enumerate(zip(rows, truths, strict=True)):
        if not kept[n]:
            continue
        log_total = torch.stack([score.exp() for score in row]).sum().log()
        for c in range(classes):
            wanted = float(truth == c) if by_index else truth[c]
            wanted = (1 - label_smoothing) * wanted + label_smoothing / classes
            losses[n] = losses[n] - weights[c] * wanted * (row[c] - log_total)
        denominator = denominator + (weights[int(truth)] if by_index else 1)
    if reduction == "none":
        return losses.reshape(input.select(_class_axis(input), 0).shape)
    return losses.sum() if reduction == "sum" else losses.sum() / denominator


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Loss of scores against the true classes; equations (softmax-nll) to (softmax-weighted).

    Twin of `torch.nn.functional.cross_entropy`. float16 and bfloat16 are computed in float32 and
    rounded once, at the end.

    Args:
        input: ``Tensor[N, C]`` of scores, ``Tensor[N, C, d1, ...]``, or ``Tensor[C]`` unbatched;
            any floating dtype.
        target: class indices, int64 or uint8, of ``input``'s shape without its axis of classes; or
            probabilities, floating, of ``input``'s shape.
        weight: ``Tensor[C]``, how much each class counts.
        ignore_index: examples of this class count nothing; for class indices only.
        reduction: ``"none"`` gives the loss of each example, ``"sum"`` their sum. ``"mean"``
            divides the sum by the sum of the weights of the true classes, without the ignored
            examples; for probabilities by the number of examples.
        label_smoothing: the share, from 0 to 1, of each target that is spread over all classes.
    Returns:
        ``Tensor[]``, or for ``"none"`` a tensor of ``input``'s shape without its axis of classes.
        The mean over no example is NaN.
    Raises:
        TypeError: if a dtype is not one of these, or ``input`` and ``weight`` differ in it.
        ValueError: if shapes, devices or options do not fit together, or there is no class.
        IndexError: if an index is out of range, on a CPU. Another device is not waited for; CUDA
            stops with an assertion of its own.
    """
    _expect_cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)
    scores, targets = _batched(input, target)
    classes = scores.shape[1]
    if target.is_floating_point():
        wanted = (1 - label_smoothing) * targets + label_smoothing / classes
        losses = _unbatched(_soft_losses(scores, wanted, weight), input)
        return _reduced(losses, None, reduction).to(input.dtype)
    indices, kept = _looked_up(targets, classes, ignore_index)
    losses, counts = _CrossEntropy.apply(scores, indices), kept
    if weight is not None:
        losses, counts = weight[indices] * losses, weight[indices] * kept
    if label_smoothing:
        uniform = _soft_losses(scores, 1 / classes, weight)
        losses = (1 - label_smoothing) * losses + label_smoothing * uniform
    losses = _unbatched(losses.where(kept, 0), input)
    return _reduced(losses, counts, reduction).to(input.dtype)


class _CrossEntropy(torch.autograd.Function):
    """The loss of each example, and its gradient by hand; equation (softmax-grad-scores)."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, target: Tensor) -> Tensor:
        top, powers = _powers(scores)  # (N, 1, ...), (N, C, ...)
        total = powers.sum(1)  # (N, ...)
        ctx.save_for_backward(scores, target, total)
        # A compiled graph keeps its own buffers, and must not see one change.
        ctx.powers = None if torch.compiler.is_compiling() else powers
        return total.log() + (top - scores.gather(1, target[:, None]))[:, 0]

    @staticmethod
    def backward(ctx: Any, grad_losses: Tensor) -> tuple[Tensor, None]:
        scores, target, total = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient will be differentiated in its turn
            slopes = softmax(scores, 1, total.dtype) * grad_losses[:, None]
        else:
            # They become the gradient, so they can be used only once.
            powers, ctx.powers = ctx.powers, None
            powers = _powers(scores)[1] if powers is None else powers
            slopes = powers.mul_((grad_losses / total)[:, None])
        slopes = slopes.scatter_add_(1, target[:, None], -grad_losses[:, None])
        return slopes.to(scores.dtype), None


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Loss of one score for each yes-or-no question; equation (softmax-binary).

    Twin of `torch.nn.functional.binary_cross_entropy_with_logits`, without its deprecated
    arguments.

    Args:
        input: ``Tensor[...]`` of scores, any floating dtype.
        target: probability of yes, of the same shape and dtype.
        weight: how much each loss counts; broadcast.
        reduction: ``"none"``, ``"mean"`` (over all losses, whatever their weights) or ``"sum"``.
        pos_weight: how much a yes counts; broadcast.
    Raises:
        TypeError, ValueError: if dtypes, devices or shapes do not fit together.
    """
    expect_tensor("input", input, floating=True)
    expect_alike(input=input, target=target, weight=weight, pos_weight=pos_weight)
    expect_shape("target", target, input.shape)
    expect_choice("reduction", reduction, REDUCTIONS)
    yes = target if pos_weight is None else pos_weight * target
    losses = yes * _softplus(-input) + (1 - target) * _softplus(input)
    return _reduced(losses if weight is None else weight * losses, None, reduction)


# --- helpers --------------------------------------------------------------------------------------


def _top(input: Tensor, dim: int | list[int]) -> Tensor:
    """The largest score, in float32 at least, so that what is computed with it is too.

    It is taken as a constant: a shift by any constant leaves the probabilities as they are.
    """
    precise = torch.promote_types(input.dtype, torch.float32)
    return input.detach().amax(dim, keepdim=True).to(precise)


def _powers(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score of each example, and ``exp(scores - top)`` in one new tensor."""
    top = _top(scores, 1)
    return top, (scores - top).exp_()


def _softplus(input: Tensor) -> Tensor:
    """``log(1 + exp(input))``, without overflow, and exact where it is small."""
    top = input.detach().clamp(min=0)
    return top + ((input - top).exp_() + (-top).expm1_()).log1p()


def _class_axis(input: Tensor) -> int:
    return 0 if input.ndim == 1 else 1


def _batched(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    return (input[None], target[None]) if input.ndim == 1 else (input, target)


def _looked_up(targets: Tensor, classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The classes to look up, 0 for an ignored example, and which examples are kept."""
    kept = targets != ignore_index
    indices = targets.long().where(kept, 0)
    expect_in_range("target", indices, classes)
    return indices, kept


def _soft_losses(scores: Tensor, wanted: Tensor | float, weight: Tensor | None) -> Tensor:
    """``-sum_c weight_c wanted_c log p_c`` of each example, (N, ...); (softmax-cross-entropy)."""
    precise = torch.promote_types(scores.dtype, torch.float32)
    terms = wanted * log_softmax(scores, 1, precise)  # (N, C, ...)
    if weight is not None:
        terms = weight.reshape(-1, *[1] * (scores.ndim - 2)) * terms
    return -terms.sum(1)


def _reduced(losses: Tensor, counts: Tensor | None, reduction: str) -> Tensor:
    """Reduce losses as asked for; their mean is over ``counts``, or over their number."""
    if reduction == "none":
        return losses
    total = losses.sum()
    if reduction == "sum":
        return total
    return total / (losses.numel() if counts is None else counts.sum())


def _unbatched(losses: Tensor, input: Tensor) -> Tensor:
    return losses[0] if input.ndim == 1 else losses


def _expect_scores(name: str, value: Any, dim: Any) -> None:
    expect_tensor(name, value, floating=True)
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"dim: expected an integer, got {describe(dim)}")
    if not -value.ndim <= dim < value.ndim:
        raise ValueError(f"dim: expected an axis of {name}, got {dim} for {describe(value)}")
    if value.shape[dim] == 0:
        raise ValueError(f"{name}: expected at least one class, got {describe(value)}")


def _expect_loss(input: Tensor, target: Tensor, weight: Tensor | None, reduction: str) -> None:
    expect_tensor("input", input, floating=True)
    axis = _class_axis(input)
    _expect_scores("input", input, axis)
    expect_alike(input=input, weight=weight)
    expect_tensor("target", target)
    if target.device != input.device:
        raise ValueError(
            f"target: expected device {input.device} like input, got {describe(target)}"
        )
    if target.is_floating_point():
        expect_shape("target", target, input.shape)
    elif target.dtype in (torch.int64, torch.uint8):
        expect_shape("target", target, (*input.shape[:axis], *input.shape[axis + 1 :]))
    else:
        raise TypeError(
            "target: expected class indices, int64 or uint8, or probabilities, floating,"
            f" got {describe(target)}"
        )
    if weight is not None:
        expect_shape("weight", weight, (input.shape[axis],))
    expect_choice("reduction", reduction, REDUCTIONS)


def _expect_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
) -> None:
    _expect_loss(input, target, weight, reduction)
    if target.is_floating_point() and ignore_index >= 0:
        raise ValueError(
            f"ignore_index: expected none with probabilities as target, got {ignore_index}"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing: expected a share from 0 to 1, got {label_smoothing!r}")
