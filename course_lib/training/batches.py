"""Where batches come from: tensors in memory, or anything that yields them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DistributedSampler

from course_lib.checking import describe, expect_int
from course_lib.training.distributed import Team

Data = tuple[Tensor, Tensor] | Iterable[tuple[Any, Any]]


class Batch(NamedTuple):
    """What a process computes with in one step."""

    inputs: Any
    targets: Any
    examples: int
    """how many of them count"""
    factor: float
    """what `Team.part` multiplies their mean loss by"""
    length: int
    """examples in the whole batch, of which the other processes may have some"""


class Batches:
    """The batches of a set, on the device; of each, this process's part.

    Tensors in memory are moved to the device once, and gathered there by indices: no copy from
    example to example, no worker processes.

    Args:
        name: what the caller called the data.
        data: ``(inputs, targets)``, two tensors with one example in each row; or an iterable of
            such pairs, a batch each, such as a DataLoader. Instead of tensors, its pairs may hold
            lists with one entry an example.
        batch_size: examples in a batch, of tensors in memory.
        team: the processes that share each batch.
        generator: puts tensors in memory into a new order each time; ``None`` keeps theirs.
        drop_last: whether to leave out an epoch's last examples, of tensors in memory, where they
            do not fill a batch.
    Raises:
        TypeError: if the data is neither.
        ValueError: if there is no example, or too few to fill a batch that must be full, or not
            one target for each.
    """

    def __init__(
        self,
        name: str,
        data: Data,
        batch_size: int,
        team: Team,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
    ) -> None:
        expect_int("batch_size", batch_size, minimum=1)
        self._name, self._team, self._batch_size = name, team, batch_size
        self._data: Any = data
        self._drop_last = drop_last
        self._memory: tuple[Tensor, Tensor] | None = None
        self._order = torch.empty(0)
        self._ready_made = False  # the batches are this process's own already
        if isinstance(data, list | tuple) and all(isinstance(part, Tensor) for part in data):
            self._memory = _expect_pair(name, data)
            self._memory = self._memory[0].to(team.device), self._memory[1].to(team.device)
            if drop_last and len(self._memory[0]) < batch_size:
                raise ValueError(
                    f"{name}: expected at least one batch of {batch_size} examples,"
                    f" got {len(self._memory[0])}"
                )
        elif not isinstance(data, Iterable):
            raise TypeError(f"{name}: expected (inputs, targets) or batches, got {describe(data)}")
        else:
            generator = getattr(data, "generator", None)
            self._ready_made = isinstance(getattr(data, "sampler", None), DistributedSampler)
        self.generator = generator
        """what the order depends on, if it has a generator of its own"""

    @property
    def in_memory(self) -> bool:
        """Whether the examples are tensors on the device."""
        return self._memory is not None

    @property
    def size(self) -> list[int]:
        """Examples in memory and in a batch; empty if the batches come from elsewhere."""
        return [] if self._memory is None else [len(self._memory[0]), self._batch_size]

    def __len__(self) -> int:
        """Count the batches; 0 if they cannot be counted."""
        if self._memory is not None:
            return -(-self._used // self._batch_size)
        try:
            return len(self._data)
        except TypeError:
            return 0

    def start(self, epoch: int = 0, skip: int = 0) -> Iterator[Batch]:
        """Begin an epoch, and leave out its first ``skip`` batches."""
        raw = self._raw(epoch)
        for _ in range(skip):
            next(raw, None)
        return map(self._place, raw)

    def describe(self, batch: int) -> str:
        """Say which examples a batch of this epoch holds, as far as that is known."""
        if self._memory is None:
            return f"batch {batch + 1} of the epoch"
        indices = self._order[batch * self._batch_size :][: self._batch_size]
        shown = ", ".join(map(str, indices[:8].tolist())) + (", ..." if len(indices) > 8 else "")
        inputs = self._memory[0].index_select(0, indices)
        broken = inputs.is_floating_point() and not inputs.isfinite().all()
        return (
            f"batch {batch + 1} of the epoch (examples {shown};"
            f" their inputs are {'NOT all' if broken else 'all'} finite)"
        )

    @property
    def _used(self) -> int:
        """Examples in memory that an epoch goes through."""
        count = 0 if self._memory is None else len(self._memory[0])
        return count - count % self._batch_size if self._drop_last else count

    def _raw(self, epoch: int) -> Iterator[Any]:
        """Indices of examples in memory, or batches as they come."""
        if self._memory is not None:
            count, device = len(self._memory[0]), self._team.device
            if self.generator is None:
                self._order = torch.arange(count, device=device)
            else:  # drawn on the CPU, so that every device sees the same order
                self._order = torch.randperm(count, generator=self.generator).to(device)
            return iter(self._order[: self._used].split(self._batch_size))
        if self._ready_made:
            self._data.sampler.set_epoch(epoch)
        return iter(self._data)

    def _place(self, raw: Any) -> Batch:
        factor = 1.0
        if self._memory is not None:
            length = len(raw)
            if self._team.size > 1:
                mine, factor = self._team.part(length)
                raw = raw[mine]
            inputs, targets = (part.index_select(0, raw) for part in self._memory)
            return Batch(inputs, targets, len(raw) if factor else 0, factor, length)
        try:
            inputs, targets = raw
        except (TypeError, ValueError):
            raise ValueError(
                f"{self._name}: expected batches (inputs, targets), got {describe(raw)}"
            ) from None
        length = len(targets)
        if self._team.size > 1 and not self._ready_made:
            mine, factor = self._team.part(length)
            inputs, targets = inputs[mine], targets[mine]
        examples = len(targets) if factor else 0
        device = self._team.device
        return Batch(_move(inputs, device), _move(targets, device), examples, factor, length)


def _expect_pair(name: str, data: Any) -> tuple[Tensor, Tensor]:
    if len(data) != 2:
        raise ValueError(f"{name}: expected (inputs, targets), got {len(data)} tensors")
    inputs, targets = data
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets):
        raise ValueError(
            f"{name}: expected one target for each input, got inputs of shape"
            f" {tuple(inputs.shape)} and targets of shape {tuple(targets.shape)}"
        )
    if len(inputs) == 0:
        raise ValueError(f"{name}: expected at least one example, got none")
    return inputs, targets


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _move(part, device) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_move(part, device) for part in value)
    return value
