"""A training run with everything in it that a resumed one has to restore, for tests to stop.

``torchrun tests/training_runs.py FOLDER KIND FAULT ACCUMULATE`` trains in several processes; see
`main`.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from course_lib import training

EPOCHS, EXAMPLES, BATCH = 4, 37, 8
STEPS = EPOCHS * -(-EXAMPLES // BATCH)


def examples(count: int = EXAMPLES, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 6, generator=generator)
    return inputs, (inputs[:, 0] + inputs[:, 1] ** 2 > 0.5).long()


class Shaken(Dataset[tuple[Tensor, Tensor]]):
    """Examples to which each generator that people use adds something."""

    def __len__(self) -> int:
        return EXAMPLES

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = examples()
        noise = random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        return inputs[index] + 0.1 * noise, targets[index]


def data(kind: str) -> Any:
    if kind == "tensors":
        return examples()
    if kind == "list":
        inputs, targets = examples()
        return list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))
    generator = torch.Generator().manual_seed(3) if kind == "loader with generator" else None
    source = Shaken() if kind == "loader of noise" else TensorDataset(*examples())
    return DataLoader(source, BATCH, shuffle=True, generator=generator)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(6, 16), training.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 2)
    )


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    return (output.argmax(1) == target).float().mean()


def run(
    checkpoint: Path | None,
    kind: str = "tensors",
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    optimizer: type = training.AdamW,
    lr: float = 0.02,
    **options: Any,
) -> tuple[dict[str, Tensor], training.History]:
    """Train, from the checkpoint if it is there; returns the weights and the history."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    model = network()
    history = training.fit(
        model,
        loss,
        data(kind),
        optimizer=optimizer(model.parameters(), lr=lr),
        validation=examples(20, seed=1),
        metrics={"accuracy": accuracy},
        batch_size=BATCH,
        schedule=lambda step: training.warmup_cosine(step, STEPS, 3, 0.1),
        checkpoint=checkpoint,
        resume=checkpoint is not None,
        **{"epochs": EPOCHS, "device": "cpu", "clip_norm": 1.0, "patience": 3, "progress": False}
        | options,
    )
    return model.state_dict(), history


def run_and_save(checkpoint: Path, result: Path, pause: float) -> None:
    """Train for at least ``pause`` seconds a step, and leave the result in a file."""
    torch.set_num_threads(1)

    def slow(output: Tensor, target: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            time.sleep(pause)
        return F.cross_entropy(output, target)

    weights, history = run(checkpoint, loss=slow, checkpoint_every=1)
    part = result.with_suffix(".part")
    torch.save((weights, history.train_loss, history.validation_loss, history.metrics), part)
    part.rename(result)


# --- several processes ----------------------------------------------------------------------------


def together(
    checkpoint: Path | None = None,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    kind: str = "tensors",
    **options: Any,
) -> tuple[dict[str, Tensor], training.History]:
    """A run whose result does not depend on how many processes share a batch.

    There is no dropout and no batch normalisation, whose numbers would be each process's own. The
    last batch has one example, so that most processes get nothing of it.
    """
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 2)).double()
    inputs, targets = examples(33)
    train: Any = (inputs.double(), targets)
    if kind == "loader":
        train = DataLoader(TensorDataset(*train), 8, shuffle=True)
    validation, labels = examples(21, seed=1)
    history = training.fit(
        model,
        loss,
        train,
        optimizer=training.SGD(model.parameters(), lr=0.1, momentum=0.9),
        epochs=3,
        validation=(validation.double(), labels),
        metrics={"accuracy": accuracy},
        batch_size=8,
        device="cpu",
        checkpoint=checkpoint,
        resume=checkpoint is not None,
        progress=checkpoint is not None,
        **options,
    )
    return model.state_dict(), history


def main(folder: Path, kind: str, fault: str, accumulate: str = "1") -> None:
    """What each process of ``torchrun`` does; a fault comes to the second of them, in a step."""
    rank, steps = int(os.environ["RANK"]), 0
    first_try = os.environ.get("TORCHELASTIC_RESTART_COUNT") == "0"

    def loss(output: Tensor, target: Tensor) -> Tensor:
        nonlocal steps
        steps += torch.is_grad_enabled()
        torch.rand(rank)  # the processes' random states go apart, as with dropout
        if steps == 9 and rank == 1 and first_try:
            if fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "raises":
                raise RuntimeError("the second process has failed")
        return F.cross_entropy(output, target)

    def note(history: training.History) -> None:
        with (folder / f"noted by {rank}").open("a") as file:
            print(len(history.epochs), file=file)

    checkpoint = folder / "checkpoint.pt"
    weights, history = together(
        checkpoint, loss, kind, checkpoint_every=2, on_epoch=note, accumulate=int(accumulate)
    )
    torch.save((weights, asdict(history)), folder / f"result of {rank}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
