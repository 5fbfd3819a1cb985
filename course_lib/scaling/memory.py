"""What the backward pass keeps in memory, and how to keep less of it and compute it again.

Equations: (scaling-checkpoint), (scaling-best-segments).

Source:
    Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checking import expect_int, expect_tensor
from course_lib.training.checkpoint import random_state, set_random_state

# --- what is kept ---------------------------------------------------------------------------------


def saved_bytes(function: Callable[..., Any], *inputs: Any) -> int:
    """Count the bytes that a call keeps for its backward pass.

    Memory that several tensors share counts once, and whole. Parameters do not count: they are
    there anyway.

    Args:
        function: what to call, a layer for example.
        inputs: what to call it with; an input counts if the backward pass needs it.
    Returns:
        bytes, on whatever device.
    """
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter) and not isinstance(tensor._base, nn.Parameter):
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function(*inputs)
    return sum(storage.nbytes() for storage in kept.values())


# --- keep less ------------------------------------------------------------------------------------


def recompute(function: Callable[..., Any], *inputs: Tensor) -> Any:
    """Call a function and keep its inputs alone; the backward pass calls it once more.

    Twin of `torch.utils.checkpoint.checkpoint`, with ``use_reentrant=True``. The second call draws
    the same random numbers, so dropout leaves out the same. What the function does besides, it
    does twice: a batch norm moves its running means twice, here as in the twin.

    Args:
        function: takes the inputs, and returns a tensor or a tuple of tensors. The gradients of
            the parameters in it come with ``backward()``, not with `torch.autograd.grad`.
        inputs: tensors.
    Returns:
        what the function returns; its gradient can't be differentiated once more.
    Raises:
        TypeError: if an input is no tensor.
    """
    for n, value in enumerate(inputs):
        expect_tensor(f"inputs[{n}]", value)
    # The function may have parameters to learn where no input has a gradient.
    ticket = torch.empty(0, requires_grad=True)
    return _Recompute.apply(ticket, function, *inputs)


class _Recompute(torch.autograd.Function):
    """Forward without a graph; backward makes the graph, and goes back through it at once."""

    @staticmethod
    def forward(ctx: Any, ticket: Tensor, function: Any, *inputs: Tensor) -> Any:
        ctx.function, ctx.autocast = function, _autocast_now(inputs)
        ctx.chance = random_state()
        ctx.save_for_backward(*inputs)
        return function(*inputs)  # inside of forward, torch keeps nothing

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            reason = "expected one backward pass, got create_graph=True"
            raise RuntimeError(f"recompute: {reason}")
        saved = ctx.saved_tensors
        inputs = [x.detach().requires_grad_(x.requires_grad) for x in saved]
        now = random_state()
        set_random_state(ctx.chance)
        with torch.enable_grad(), ctx.autocast():
            outputs = ctx.function(*inputs)
        set_random_state(now)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        pairs = zip(outputs, gradients, strict=True)
        ends = [(y, g) for y, g in pairs if y.requires_grad]
        # It reaches the parameters too.
        torch.autograd.backward([y for y, _ in ends], [g for _, g in ends])
        return None, None, *(x.grad for x in inputs)


def recompute_sequential(
    functions: Iterable[Callable[..., Any]], segments: int, input: Tensor
) -> Tensor:
    """Call functions one after another, and keep only what goes into each segment of them.

    Twin of `torch.utils.checkpoint.checkpoint_sequential`. The last segment is not computed
    again: its backward pass comes first, while everything is still there.

    Args:
        functions: a list of them, or an `nn.Sequential`.
        segments: into how many parts to cut the list, of nearly equal length.
        input: what goes into the first.
    Raises:
        ValueError: if there are fewer functions than segments.
    """
    blocks = list(functions)
    most = len(blocks)
    if expect_int("segments", segments, minimum=1) > most:
        raise ValueError(f"segments: expected at most {most}, one each, got {segments}")
    ends = [most * part // segments for part in range(segments + 1)]
    *parts, last = (partial(_chain, blocks[a:b]) for a, b in itertools.pairwise(ends))
    return last(_chain([partial(recompute, part) for part in parts], input))


def checkpoint_units(layers: int, segments: int) -> int:
    """How many activations are in memory at most, if segments are recomputed; (scaling-checkpoint).

    One for the beginning of each segment, and those of the segment that the backward pass is in.

    Args:
        layers: of the network, each with an activation of the same size.
        segments: into how many parts they are cut; at most one a layer.
    """
    expect_int("layers", layers, minimum=1)
    if expect_int("segments", segments, minimum=1) > layers:
        raise ValueError(f"segments: expected at most {layers}, one a layer, got {segments}")
    return segments + -(-layers // segments)


def best_segments(layers: int) -> int:
    """The number of segments that takes the least memory, about √layers; (scaling-best-segments).

    The smallest of equals.
    """
    expect_int("layers", layers, minimum=1)
    return min(range(1, layers + 1), key=partial(checkpoint_units, layers))


# --- helpers --------------------------------------------------------------------------------------


def _chain(functions: Sequence[Callable[..., Any]], value: Tensor) -> Tensor:
    for function in functions:
        value = function(value)
    return value


def _autocast_now(inputs: Sequence[Tensor]) -> Callable[[], torch.autocast]:
    """What makes a context with the precision of this moment."""
    kind = inputs[0].device.type if inputs else "cpu"
    return partial(
        torch.autocast, kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind)
    )
