"""What there is to see in a message, a model, a gradient and a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from course_lib.checking import describe, expect_int, expect_number, expect_tensor
from course_lib.training import Adam


def symptom(function: Callable[..., Any], *arguments: Any) -> str:
    """Call a function and say how it failed, in the line that matters most: the last.

    Args:
        function: called with the arguments.
    Returns:
        the exception's type and the last line of its message, or ``"no error"``.
    """
    try:
        function(*arguments)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return ": ".join([type(error).__name__, *lines[-1:]])
    return "no error"


class ShapeRow(NamedTuple):
    """One layer of `trace_shapes`."""

    name: str
    """dotted, as in ``model.named_modules()``; empty for what happens between layers"""
    layer: str
    """its class"""
    given: tuple[int, ...]
    """shape of what it got"""
    made: tuple[int, ...] | None
    """shape of what it made, or ``None`` where it stopped"""
    error: str
    """why it stopped, or empty"""


def trace_shapes(model: nn.Module, input: Tensor) -> list[ShapeRow]:
    """Send an input through a model, layer by layer, as far as it gets.

    Args:
        model: stays as it is; it is asked in evaluation mode.
        input: ``Tensor[N, ...]``.
    Returns:
        a row for each call of a layer that holds no others; where the model stops, the last row
        says why.
    """
    expect_tensor("input", input)
    rows: list[ShapeRow] = []

    def enter(name: str, layer: nn.Module, given: Any) -> None:
        rows.append(ShapeRow(name, type(layer).__name__, _shape(given), None, ""))

    def leave(output: Any) -> None:
        rows[-1] = rows[-1]._replace(made=_shape(output))

    modes = {module: module.training for module in model.modules()}
    leaves = [(n, m) for n, m in model.named_modules() if next(m.children(), None) is None]
    hooks = [
        hook
        for name, layer in leaves
        for hook in (
            layer.register_forward_pre_hook(lambda m, given, n=name: enter(n, m, given)),
            layer.register_forward_hook(lambda m, given, output: leave(output)),
        )
    ]
    model.eval()
    try:
        with torch.no_grad():
            error = symptom(model, input)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    if error == "no error":
        return rows
    if rows and rows[-1].made is None:
        return [*rows[:-1], rows[-1]._replace(error=error)]
    last = rows[-1].made if rows else tuple(input.shape)
    return [*rows, ShapeRow("", type(model).__name__, last or (), None, error)]


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of a tensor, or of the first of several."""
    while isinstance(value, tuple | list) and value:
        value = value[0]
    return tuple(value.shape) if isinstance(value, Tensor) else ()


class GradientRow(NamedTuple):
    """One parameter of `gradient_report`."""

    name: str
    """dotted, as in ``model.named_parameters()``"""
    weight: float
    """Euclidean norm of the parameter"""
    gradient: float | None
    """norm of its gradient, or ``None`` if none has come"""
    ratio: float | None
    """the second over the first, or ``None`` where there is no such number"""


def gradient_report(model: nn.Module) -> list[GradientRow]:
    """Say for each parameter how large its gradient is, after ``backward``.

    Args:
        model: stays as it is.
    Returns:
        a row for each parameter, in the model's order. A gradient of ``None`` has never been
        computed: the loss does not depend on the parameter, or the parameter is frozen.
    """
    return [_gradient_row(name, parameter) for name, parameter in model.named_parameters()]


def _gradient_row(name: str, parameter: Tensor) -> GradientRow:
    weight = parameter.detach().norm().item()
    gradient = None if parameter.grad is None else parameter.grad.norm().item()
    ratio = None if gradient is None or weight == 0 else gradient / weight
    return GradientRow(name, weight, gradient, ratio)


class Summary(NamedTuple):
    """What `summary` says of a tensor."""

    shape: tuple[int, ...]
    """its shape"""
    dtype: torch.dtype
    """its dtype"""
    lowest: float | None
    """least of its finite numbers, or ``None`` if it has none"""
    highest: float | None
    """largest of its finite numbers"""
    mean: float | None
    """mean of its finite numbers"""
    outside: float
    """share of all numbers that do not lie in [0, 1]"""
    broken: int
    """how many are NaN or infinite"""


def summary(tensor: Tensor) -> Summary:
    """Say in one line what a tensor of pictures holds.

    Args:
        tensor: ``Tensor[...]`` of real numbers of any kind, not empty.
    Raises:
        TypeError: if it is no tensor.
        ValueError: if it is empty.
    """
    expect_tensor("tensor", tensor)
    if tensor.numel() == 0:
        raise ValueError(f"tensor: expected at least one number, got {describe(tensor)}")
    numbers = tensor.detach().double()
    finite = numbers[numbers.isfinite()]
    known = len(finite) > 0
    return Summary(
        tuple(tensor.shape),
        tensor.dtype,
        finite.min().item() if known else None,
        finite.max().item() if known else None,
        finite.mean().item() if known else None,
        (~((numbers >= 0) & (numbers <= 1))).double().mean().item(),
        numbers.numel() - len(finite),
    )


def overfit(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    inputs: Tensor,
    targets: Tensor,
    *,
    steps: int = 100,
    lr: float = 0.01,
) -> list[float]:
    """Train copies of a model's weights on one batch: a sound model learns it by heart.

    Args:
        model: stays as it is; it is asked in training mode, and the copies learn with Adam.
        loss: ``loss(output, targets)``, a scalar tensor.
        inputs: ``Tensor[N, ...]``, the batch.
        targets: what goes with it.
        steps: how many.
        lr: step size.
    Returns:
        ``steps + 1`` losses, the first before any step.
    Raises:
        TypeError, ValueError: if an argument makes no sense.
    """
    expect_int("steps", steps, minimum=1)
    expect_number("lr", lr, minimum=0)
    weights = {
        name: parameter.detach().clone().requires_grad_(parameter.requires_grad)
        for name, parameter in model.named_parameters()
    }
    copies = weights | {name: buffer.clone() for name, buffer in model.named_buffers()}
    modes = {module: module.training for module in model.modules()}
    optimizer = Adam(weights.values(), lr=lr)
    losses = []
    model.train()
    try:
        for _ in range(steps + 1):
            value = loss(functional_call(model, copies, (inputs,)), targets)
            expect_tensor("loss", value, ndim=0)
            losses.append(value.item())
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    finally:
        for module, training in modes.items():
            module.training = training
    return losses
