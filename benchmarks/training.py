"""What the chapter `training` times: an epoch of `fit`, optimisers, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.core import BACKWARD, FORWARD, Case
from course_lib import training

BATCH = 64


# --- an epoch -----------------------------------------------------------------------------------


def _small_cnn(device: torch.device) -> nn.Module:
    """The same weights each time, as many as LeNet has."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 7 * 7, 10),
        ).to(device)


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def _prepared(images: Tensor) -> tuple[nn.Module, torch.optim.Optimizer, Tensor]:
    model = _small_cnn(images.device)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), order


def _by_fit(images: Tensor, labels: Tensor) -> Tensor:
    model, optimizer, _ = _prepared(images)
    training.fit(
        model, F.cross_entropy, (images, labels), optimizer=optimizer, epochs=1, batch_size=BATCH,
        device=images.device, progress=False,
    )  # fmt: skip
    return _weights(model)


def _by_hand(images: Tensor, labels: Tensor) -> Tensor:
    """What one writes without a library, and with nothing to look at."""
    model, optimizer, order = _prepared(images)
    for batch in order.to(images.device).split(BATCH):
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _weights(model)


def _by_loader(images: Tensor, labels: Tensor) -> Tensor:
    model, optimizer, order = _prepared(images)
    data = TensorDataset(images, labels)
    for inputs, targets in DataLoader(data, BATCH, sampler=order.tolist()):
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return _weights(model)


def _scans(count: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda generator: (
        torch.randn(count, 1, 28, 28, generator=generator),
        torch.randint(10, (count,), generator=generator),
    )


def _epoch(twin: Callable[..., Tensor], name: str, at_most: float) -> Case:
    multiply_adds = 9 * 16 * 28**2 + 9 * 16 * 32 * 14**2 + 32 * 7**2 * 10
    return Case(
        "fit",
        f"1 epoch, small CNN, 2048×1×28×28, beside {name}",
        _by_fit,
        twin,
        _scans(2048),
        3 * 2048 * multiply_adds,
        directions=(FORWARD,),
        at_most={FORWARD: at_most},
    )
