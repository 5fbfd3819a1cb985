"""Standing on another network: what is kept of it, what is learned anew, and what that saves.

Equations of the chapter `transfer`, by label: transfer-split, transfer-extraction,
transfer-finetuning, transfer-rates, transfer-drift, transfer-probe, transfer-probe-solution,
transfer-probe-dual, transfer-nearest-mean, transfer-cka.

Sources:
    Yosinski, Clune, Bengio and Lipson, "How transferable are features in deep neural networks?",
        2014.
    Howard and Ruder, "Universal language model fine-tuning for text classification", 2018.
    Kornblith, Norouzi, Lee and Hinton, "Similarity of neural network representations revisited",
        2019.
    Kumar, Raghunathan, Jones, Ma and Liang, "Fine-tuning can distort pretrained features and
        underperform out-of-distribution", 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from course_lib.checking import (
    describe,
    expect_alike,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)

AnyModule = TypeVar("AnyModule", bound=nn.Module)


# --- a new head -----------------------------------------------------------------------------------


def replace_head(model: nn.Module, num_classes: int, *, name: str | None = None) -> nn.Linear:
    """Put a fresh linear layer in the place of a network's last one.

    Args:
        model: changed in place.
        num_classes: scores that the new layer gives.
        name: dotted name of the layer to replace; by default the `nn.Linear` that the model lists
            last, which is the one that gives the scores in `course_lib.classification` and in
            torchvision's ResNets.
    Returns:
        the new layer, with a random start, on the old one's device and in its dtype.
    Raises:
        TypeError: if ``model`` is no module, or the layer is no `nn.Linear`.
        ValueError: if there is no such layer, or the model itself is the layer.
    """
    expect_int("num_classes", num_classes, minimum=1)
    place, old = _head(model, name)
    parent, _, own = place.rpartition(".")
    new = nn.Linear(
        old.in_features,
        num_classes,
        bias=old.bias is not None,
        device=old.weight.device,
        dtype=old.weight.dtype,
    )
    setattr(model.get_submodule(parent), own, new)
    return new


def extract_features(
    model: nn.Module, images: Tensor, *, name: str | None = None, batch_size: int = 256
) -> Tensor:
    """Return what enters a network's head: the features ``x = f(image)`` of (transfer-split).

    The network is asked in evaluation mode and without gradients; its modes are afterwards as they
    were.

    Args:
        model: on the images' device.
        images: ``Tensor[N, C, H, W]``, or whatever the model takes.
        name: of the head, as in `replace_head`.
        batch_size: images that go through the network at a time.
    Returns:
        ``Tensor[N, F]``; what is left of a batch behind another head, if ``name`` says so.
    Raises:
        TypeError, ValueError: as `replace_head`, or if there are no images.
    """
    expect_int("batch_size", batch_size, minimum=1)
    expect_tensor("images", images)
    if images.ndim == 0 or len(images) == 0:
        raise ValueError(f"images: expected at least one, got {describe(images)}")
    _, head = _head(model, name)
    found: list[Tensor] = []
    modes = [(module, module.training) for module in model.modules()]
    handle = head.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    model.eval()
    try:
        with torch.no_grad():
            for batch in images.split(batch_size):
                model(batch)
    finally:
        handle.remove()
        for module, training in modes:
            module.training = training
    return torch.cat(found)  # (N, F)


def _head(model: nn.Module, name: str | None) -> tuple[str, nn.Linear]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model: expected a module, got {describe(model)}")
    layers = {place: module for place, module in model.named_modules() if place}
    if name is None:
        linear = [place for place, module in layers.items() if isinstance(module, nn.Linear)]
        if not linear:
            raise ValueError(f"model: expected one that holds an nn.Linear, got {type(model)}")
        name = linear[-1]
    if name not in layers:
        raise ValueError(f"name: expected that of a layer of the model, got {describe(name)}")
    layer = layers[name]
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"name: expected that of an nn.Linear, got {name!r}: {type(layer)}")
    return name, layer


# --- what stays as it is --------------------------------------------------------------------------


def keep_statistics(module: AnyModule) -> AnyModule:
    """Let batch normalisation use its running statistics and leave them as they are, in training.

    Its scale and shift still learn. ``model.train()`` changes nothing about it: before each forward
    pass the layers put themselves into evaluation mode.

    Args:
        module: changed in place; every layer in it that has running statistics.
    Returns:
        the module.
    Raises:
        TypeError: if ``module`` is none.
    """
    _forget_hooks(module)  # so that there is never more than one
    for layer in module.modules():
        if getattr(layer, "running_mean", None) is not None:
            layer.register_forward_pre_hook(_use_running_statistics)
    return module


def freeze(module: AnyModule, *, statistics: bool = True) -> AnyModule:
    """Keep a part of a network as it is, its running statistics included.

    A parameter without ``requires_grad`` gets no gradient, and an optimiser leaves it alone. Batch
    normalisation has running statistics besides, which no optimiser moves: every forward pass in
    training mode does, equation (transfer-drift). `keep_statistics` takes care of them.

    Args:
        module: changed in place, with everything inside it.
        statistics: whether the running statistics stay too. Without that they drift, and while
            training the layers use the mean and the variance of the batch.
    Returns:
        the module.
    Raises:
        TypeError: if ``module`` is none.
    """
    unfreeze(module)
    module.requires_grad_(False)
    return keep_statistics(module) if statistics else module


def unfreeze(module: AnyModule) -> AnyModule:
    """Let a part of a network learn again, its running statistics included.

    Undoes `freeze` and `keep_statistics`. Argument, result and error are those of the latter.
    """
    _forget_hooks(module)
    module.requires_grad_(True)
    return module


def _forget_hooks(module: nn.Module) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: expected a module, got {describe(module)}")
    for layer in module.modules():
        for key, hook in list(layer._forward_pre_hooks.items()):
            if hook is _use_running_statistics:
                del layer._forward_pre_hooks[key]


def _use_running_statistics(layer: nn.Module, inputs: Any) -> None:
    layer.eval()


def running_after(start: Tensor, batches: Tensor, momentum: float = 0.1) -> Tensor:
    """Say where a running mean is after some batches; equation (transfer-drift).

    ``(1 - momentum) ** K * start + sum over k of momentum * (1 - momentum) ** (K - k) * batch k``.

    Args:
        start: ``Tensor[C]``, floating: what it was.
        batches: ``Tensor[K, C]``, same dtype and device: the means of the batches, in their order;
            for a running variance their unbiased variances.
        momentum: how far one batch moves it, in [0, 1].
    Returns:
        ``Tensor[C]``.
    Raises:
        TypeError: if a dtype is not floating or the dtypes differ.
        ValueError: if a shape or the momentum is wrong.
    """
    expect_tensor("start", start, ndim=1, floating=True)
    expect_tensor("batches", batches, ndim=2, floating=True)
    expect_alike(start=start, batches=batches)
    expect_shape("batches", batches, (None, len(start)))
    expect_number("momentum", momentum, minimum=0, maximum=1)
    later = torch.arange(len(batches) - 1, -1, -1, dtype=start.dtype, device=start.device)  # (K,)
    shares = momentum * (1 - momentum) ** later
    return (1 - momentum) ** len(batches) * start + shares @ batches


# --- how fast each part learns --------------------------------------------------------------------


def parameter_groups(
    parts: Sequence[nn.Module], lr: float, *, factor: float = 0.4, weight_decay: float = 0.05
) -> list[dict[str, Any]]:
    """Give each part of a network its step size, smaller towards the input; (transfer-rates).

    Args:
        parts: from the input to the head. Frozen parameters are left out.
        lr: step size of the last part.
        factor: what the step size is multiplied by from one part to the one before it; above 0.
        weight_decay: of matrices and kernels. Biases and the scales and shifts of norms (whatever
            has one axis or none) get none: a pull to 0 would only change what they are there for.
    Returns:
        groups for an optimiser, of `course_lib.training` or of torch.optim: those of the head
        first, each a dict with ``params``, ``lr`` and ``weight_decay``.
    Raises:
        TypeError: if a part is no module.
        ValueError: if a number is out of range, two parts share a parameter, or all are frozen.
    """
    expect_number("lr", lr, minimum=0)
    expect_number("factor", factor, minimum=0, maximum=1)
    expect_number("weight_decay", weight_decay, minimum=0)
    groups: list[dict[str, Any]] = []
    seen: set[nn.Parameter] = set()
    for above, part in enumerate(reversed(parts)):
        if not isinstance(part, nn.Module):
            raise TypeError(f"parts: expected modules, got {describe(part)}")
        learned = [parameter for parameter in part.parameters() if parameter.requires_grad]
        if not seen.isdisjoint(learned):
            raise ValueError(f"parts: expected each parameter once, got one twice, in {type(part)}")
        seen.update(learned)
        for decay, wanted in ((weight_decay, True), (0.0, False)):
            params = [parameter for parameter in learned if (parameter.ndim > 1) == wanted]
            if params:
                rate = lr * factor**above
                groups.append({"params": params, "lr": rate, "weight_decay": decay})
    if not groups:
        raise ValueError("parts: expected a parameter that may learn, got none; is all frozen?")
    return groups


# --- how good features are ------------------------------------------------------------------------


class Probe(NamedTuple):
    """A linear classifier on top of features; equation (transfer-probe)."""

    weight: Tensor
    """``Tensor[K, F]``, as that of an `nn.Linear`"""
    bias: Tensor
    """``Tensor[K]``"""

    def scores(self, features: Tensor) -> Tensor:
        """Map ``Tensor[N, F]`` to scores ``Tensor[N, K]``; the largest is the answer."""
        return features @ self.weight.T + self.bias


def linear_probe(
    features: Tensor, labels: Tensor, num_classes: int, *, penalty: float = 1.0
) -> Probe:
    """Fit the best linear classifier on features, exactly and at once; (transfer-probe-solution).

    Ridge regression to one-hot targets, as `sklearn.linear_model.Ridge` solves it. Of the two forms
    of the solution it takes the one with the smaller matrix, (transfer-probe-dual) if there are
    fewer examples than features.

    Args:
        features: ``Tensor[N, F]``, floating, ``N >= 1``.
        labels: ``Tensor[N]``, int64, in ``[0, num_classes)``.
        num_classes: K; a class without an example gets the score 0 everywhere, and as the scores
            of all classes add up to 1, it is never the answer.
        penalty: the factor of the squared weights, above 0.
    Returns:
        the `Probe`, on the features' device and in their dtype.
    Raises:
        TypeError: if the features are not floating or the labels not int64.
        ValueError: if shapes do not fit or the penalty is not above 0.
    """
    _expect_labelled(features, labels, num_classes)
    if not expect_number("penalty", penalty, minimum=0) > 0:
        raise ValueError(f"penalty: expected a number above 0, got {penalty}")
    targets = _hot(labels, num_classes, features)  # (N, K)
    center, level = features.mean(0), targets.mean(0)
    inputs, wanted = features - center, targets - level  # (N, F), (N, K)
    count, width = inputs.shape
    if count < width:
        weight = wanted.T @ torch.linalg.solve(_ridged(inputs @ inputs.T, penalty), inputs)
    else:
        weight = torch.linalg.solve(_ridged(inputs.T @ inputs, penalty), inputs.T @ wanted).T
    return Probe(weight, level - weight @ center)  # (K, F), (K,)


def linear_probe_loss(
    probe: Probe, features: Tensor, labels: Tensor, *, penalty: float = 1.0
) -> Tensor:
    """Measure what `linear_probe` makes smallest; equation (transfer-probe).

    Arguments are those of `linear_probe`.

    Returns:
        ``Tensor[]``: squared errors plus ``penalty`` times the squared weights.
    """
    _expect_labelled(features, labels, len(probe.bias))
    expect_number("penalty", penalty, minimum=0)
    errors = probe.scores(features) - _hot(labels, len(probe.bias), features)
    return errors.square().sum() + penalty * probe.weight.square().sum()


def class_means(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Average the features of each class.

    Args:
        features, labels, num_classes: as in `linear_probe`.
    Returns:
        ``Tensor[K, F]``; NaN for a class without an example.
    """
    _expect_labelled(features, labels, num_classes)
    hot = _hot(labels, num_classes, features)  # (N, K)
    return hot.T @ features / hot.sum(0)[:, None]


def nearest_mean(features: Tensor, means: Tensor) -> Tensor:
    """Answer with the class whose mean is nearest; equation (transfer-nearest-mean).

    Args:
        features: ``Tensor[N, F]``, floating.
        means: ``Tensor[K, F]``, same dtype and device; a class whose mean is NaN is never chosen.
    Returns:
        ``Tensor[N]``, int64; of equally near classes the first.
    Raises:
        TypeError: if a dtype is not floating or the dtypes differ.
        ValueError: if the shapes do not fit.
    """
    expect_tensor("features", features, ndim=2, floating=True)
    expect_tensor("means", means, ndim=2, floating=True)
    expect_alike(features=features, means=means)
    expect_shape("means", means, (None, features.shape[1]))
    # By differences, not as |x|² − 2 x·m + |m|², which loses digits where the two are close.
    exact = torch.promote_types(features.dtype, torch.float32)  # `cdist` has no half precision
    far = torch.cdist(
        features.to(exact), means.to(exact), compute_mode="donot_use_mm_for_euclid_dist"
    )  # (N, K)
    return far.nan_to_num(nan=torch.inf).argmin(1)


# --- how alike two representations are ------------------------------------------------------------


def linear_cka_loops(x: Tensor, y: Tensor) -> Tensor:
    """Compute equation (transfer-cka) from the similarities of all pairs of examples.

    Arguments, result and errors are those of `linear_cka`.
    """
    x, y = _centred(x, y)
    both, own_x, own_y = (x.new_zeros(()) for _ in range(3))
    for i in range(len(x)):
        for j in range(len(x)):
            in_x, in_y = (x[i] * x[j]).sum(), (y[i] * y[j]).sum()
            both = both + in_x * in_y
            own_x, own_y = own_x + in_x**2, own_y + in_y**2
    return both / (own_x * own_y).sqrt()


def linear_cka(x: Tensor, y: Tensor) -> Tensor:
    """Compare two representations of the same examples; equation (transfer-cka).

    1 if one is the other turned, shifted or scaled; 0 if nothing linear joins them. The same
    number comes out of the table of all pairs of examples, ``N × N``, and out of the tables of all
    pairs of features; the smaller ones are taken.

    Args:
        x: ``Tensor[N, F]``, or ``Tensor[N, ...]``, which is flattened; floating.
        y: ``Tensor[N, G]`` or ``Tensor[N, ...]``, same dtype and device.
    Returns:
        ``Tensor[]`` in [0, 1]; NaN if one of them is the same for all examples.
    Raises:
        TypeError: if a dtype is not floating or the dtypes differ.
        ValueError: if there are not as many rows in both.
    """
    x, y = _centred(x, y)
    if len(x) < max(x.shape[1], y.shape[1]):
        in_x, in_y = x @ x.T, y @ y.T  # (N, N)
        return (in_x * in_y).sum() / (in_x.norm() * in_y.norm())
    return (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())


def _centred(x: Tensor, y: Tensor) -> list[Tensor]:
    for name, value in (("x", x), ("y", y)):
        expect_tensor(name, value, floating=True)
        if value.ndim < 2:
            raise ValueError(f"{name}: expected 2 or more dimensions, got {describe(value)}")
    expect_alike(x=x, y=y)
    expect_shape("y", y, (len(x), *y.shape[1:]))
    return [value - value.mean(0) for value in (x.flatten(1), y.flatten(1))]


# --- helpers --------------------------------------------------------------------------------------


def _hot(labels: Tensor, num_classes: int, like: Tensor) -> Tensor:
    return (labels[:, None] == torch.arange(num_classes, device=labels.device)).to(like.dtype)


def _ridged(matrix: Tensor, penalty: float) -> Tensor:
    return matrix + penalty * torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)


def _expect_labelled(features: Tensor, labels: Tensor, num_classes: int) -> None:
    expect_tensor("features", features, ndim=2, floating=True)
    expect_tensor("labels", labels, ndim=1)
    if labels.dtype != torch.int64:
        raise TypeError(f"labels: expected torch.int64, got {describe(labels)}")
    expect_int("num_classes", num_classes, minimum=1)
    expect_shape("labels", labels, (len(features),))
    if len(features) == 0:
        raise ValueError(f"features: expected at least one row, got {describe(features)}")
