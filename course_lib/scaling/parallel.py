"""Several processes: what they gain, what they wait for, and who holds what.

Equations: (scaling-accumulate), (scaling-amdahl), (scaling-ring), (scaling-memory).

Sources:
    Amdahl, "Validity of the single processor approach to achieving large scale computing
        capabilities", 1967.
    Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
        2009.
    Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models",
        2020, sections 3 and 5.
    Shoeybi et al., "Megatron-LM: training multi-billion parameter language models using model
        parallelism", 2019: tensor parallelism.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)

STRATEGIES = ("ddp", "zero1", "zero2", "fsdp", "tensor")

WEIGHT_BYTES, GRADIENT_BYTES = 2, 2
"""of a parameter, in 16 bits"""
OPTIMIZER_BYTES = 4 + 4 + 4
"""of a parameter, in 32 bits: the weight that Adam updates, and its two running means"""


# --- the gradient of a large batch ----------------------------------------------------------------


def accumulated_gradient(gradients: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Put the gradients of parts together to that of the whole batch; (scaling-accumulate).

    A part of more examples counts for more. It does not matter whether one process computed the
    parts in turn, or several at once.

    Args:
        gradients: of the *mean* loss over each part, all of one shape.
        counts: examples in each part.
    Returns:
        the gradient of the mean loss over all examples.
    """
    _expect_processes("gradients", gradients)
    if len(counts) != len(gradients):
        raise ValueError(f"counts: expected {len(gradients)}, one a gradient, got {len(counts)}")
    for count in counts:
        expect_int("counts", count, minimum=0)
    total = expect_int("sum of the counts", sum(counts), minimum=1)
    parts = [count / total * part for part, count in zip(gradients, counts, strict=True)]
    return torch.stack(parts).sum(0)


# --- what it gains --------------------------------------------------------------------------------


def amdahl(serial_share: float, processes: int) -> float:
    """How many times as fast it gets, if a share of the work is not shared; (scaling-amdahl).

    Args:
        serial_share: of the time of one process, from 0 to 1: what each has to do by itself, or
            alone while the others wait.
        processes: that share the rest evenly.
    """
    expect_number("serial_share", serial_share, minimum=0, maximum=1)
    expect_int("processes", processes, minimum=1)
    return 1 / (serial_share + (1 - serial_share) / processes)


# --- what they wait for ---------------------------------------------------------------------------


def ring_all_reduce(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Add up one tensor of each process, so that all have the sum.

    What `torch.distributed.all_reduce` does, with each process talking to its neighbours only.

    Args:
        tensors: that of each process, all of one shape.
    Returns:
        what each process has at the end: the sum.
    """
    *_, last = ring_steps(tensors)
    return [torch.cat(parts).reshape(tensors[0].shape) for parts in last]


def ring_steps(tensors: Sequence[Tensor]) -> Iterator[list[list[Tensor]]]:
    """Add up around a ring, step by step, where p processes cut their tensors into p parts.

    In each step every process sends one part to the next one. In the first p - 1 steps it adds
    the part that comes to its own, so that a sum grows on its way around; then each process has
    one sum that is complete. In the next p - 1 steps the complete sums go around.

    Args:
        tensors: that of each process, all of one shape.
    Yields:
        what each process has, ``state[process][part]``: at the beginning, and after each of the
        2 (p - 1) steps. Parts are flat, and differ in length by 1 if p does not divide it.
    """
    _expect_processes("tensors", tensors)
    count = len(tensors)
    state = [list(tensor.flatten().tensor_split(count)) for tensor in tensors]
    yield [list(parts) for parts in state]
    for step in range(2 * (count - 1)):
        adding = step < count - 1
        sent = [(process - step) % count for process in range(count)]
        arriving = [state[process][part] for process, part in enumerate(sent)]
        for process, (part, value) in enumerate(zip(sent, arriving, strict=True)):
            mine = state[(process + 1) % count]
            mine[part] = mine[part] + value if adding else value
        yield [list(parts) for parts in state]


def all_reduce_seconds(
    bytes_reduced: int, processes: int, bandwidth: float, latency: float = 0.0
) -> float:
    """How long a ring takes for the sum, equation (scaling-ring).

    For many processes the bytes take nearly as long as for two; only the waiting for each message
    grows with their number.

    Args:
        bytes_reduced: of the tensor that each process has.
        processes: around the ring.
        bandwidth: bytes per second from each process to the next, both ways at once.
        latency: seconds until a message arrives, however short.
    """
    expect_int("bytes_reduced", bytes_reduced, minimum=0)
    expect_int("processes", processes, minimum=1)
    if not expect_number("bandwidth", bandwidth, minimum=0) > 0:
        raise ValueError(f"bandwidth: expected a number above 0, got {describe(bandwidth)}")
    expect_number("latency", latency, minimum=0)
    return 2 * (processes - 1) * (bytes_reduced / processes / bandwidth + latency)


# --- who holds what -------------------------------------------------------------------------------


class Memory(NamedTuple):
    """Bytes in one process."""

    weights: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All three together; activations come on top."""
        return sum(self)


def model_memory(parameters: int, strategy: str = "ddp", processes: int = 1) -> Memory:
    """Count what a process holds of a model that Adam trains in 16 bits; (scaling-memory).

    Weights and gradients take 2 bytes a parameter. The optimiser takes 12: the weight in 32 bits,
    and the two running means of Adam.

    Args:
        parameters: of the whole model.
        strategy: what the processes share out among them. ``"ddp"`` nothing, each has a whole
            copy. ``"zero1"`` the optimiser's part; ``"zero2"`` the gradients as well; ``"fsdp"``,
            which is FSDP2 in torch, and ZeRO-3 in the paper, the weights as well, and they are
            fetched layer by layer. ``"tensor"`` cuts the layers themselves into pieces, so that
            all three are shared, but each process computes with its piece only.
        processes: that train together.
    Returns:
        bytes in the process that has most; a share is rounded up to whole parameters.
    """
    expect_int("parameters", parameters, minimum=0)
    expect_choice("strategy", strategy, STRATEGIES)
    share = -(-parameters // expect_int("processes", processes, minimum=1))
    return Memory(
        weights=WEIGHT_BYTES * (share if strategy in ("fsdp", "tensor") else parameters),
        gradients=GRADIENT_BYTES * (parameters if strategy in ("ddp", "zero1") else share),
        optimizer=OPTIMIZER_BYTES * (parameters if strategy == "ddp" else share),
    )


def _expect_processes(name: str, tensors: Sequence[Tensor]) -> None:
    if not tensors:
        raise ValueError(f"{name}: expected at least one tensor, got none")
    for n, tensor in enumerate(tensors):
        expect_tensor(f"{name}[{n}]", tensor)
        expect_shape(f"{name}[{n}]", tensor, tensors[0].shape)
    expect_alike(**{f"{name}[{n}]": tensor for n, tensor in enumerate(tensors)})
