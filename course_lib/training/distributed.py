"""Several processes that train one model, as ``torchrun`` starts them; alone, nothing changes.

Each process computes the gradient on its part of every batch, and DistributedDataParallel averages
them, so that all take the same step.

Source: Li et al., "PyTorch distributed: experiences on accelerating data parallel training", 2020.
"""

from __future__ import annotations

import atexit
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from course_lib.device import best_device


class Team(NamedTuple):
    """This process among those that train together."""

    rank: int
    """its number; number 0 alone writes and prints"""
    size: int
    """how many they are"""
    device: torch.device
    """where this one computes"""

    def wrap(self, model: nn.Module) -> nn.Module:
        """Make the gradients of all processes' models one mean; the model itself if alone."""
        if self.size == 1:
            return model
        return DistributedDataParallel(model)

    def together(self, model: nn.Module, whole: bool = True) -> AbstractContextManager[object]:
        """While gradients are computed: add them up over the processes if this makes them whole.

        If more are to be added to them first, each process keeps its own, and nobody waits.
        """
        return nullcontext() if whole or self.size == 1 else model.no_sync()  # type: ignore[operator]

    def part(self, length: int) -> tuple[slice, float]:
        """This process's entries of a batch, and what its mean loss has to be multiplied by.

        The mean over the processes of ``factor * loss`` is the whole batch's mean loss, also where
        the parts differ in length. A process that gets none takes the first entry, times 0, so
        that it still takes part in the sum.
        """
        mine = slice(self.rank, None, self.size)
        count = len(range(length)[mine])
        return (mine, count * self.size / length) if count else (slice(0, 1), 0.0)

    def sum(self, numbers: list[float]) -> list[float]:
        """Add up each number over the processes."""
        if self.size == 1:
            return numbers
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> list[Any]:
        """What each process holds, in order."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        distributed.all_gather_object(values, value)
        return values


def join(device: torch.device | str | None = None) -> Team:
    """Join the processes that ``torchrun`` started beside this one, if it did.

    Args:
        device: where to compute; by default the best one at hand. Of several CUDA devices each
            process takes its own.
    """
    device = best_device() if device is None else torch.device(device)
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if not started and not distributed.is_initialized():
        return Team(0, 1, device)
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        store, rank, size = next(iter(distributed.rendezvous("env://")))
        # After a restart the store may still hold the addresses of the processes that died.
        store = distributed.PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
        atexit.register(_leave)
    return Team(distributed.get_rank(), distributed.get_world_size(), device)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
