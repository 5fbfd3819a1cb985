"""A training of two players with everything in it that a resumed one has to restore."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib import gan, training
from course_lib.classification import Augment

EPOCHS, EXAMPLES, BATCH = 3, 27, 6
STEPS = EPOCHS * (EXAMPLES // BATCH)


def scans(count: int = EXAMPLES) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 1, 8, 8, generator=generator), torch.arange(count) % 10


class Watched(nn.Module):
    """A discriminator that calls a function at each use."""

    def __init__(self, watch: Callable[[], object]) -> None:
        super().__init__()
        self.inner = gan.ConditionalDiscriminator(nn.Embedding(10, 4), width=4, spectral=True)
        self.dropout = nn.Dropout(0.2)
        self.watch = watch

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        self.watch()
        return self.dropout(self.inner(images, labels))


def run(
    checkpoint: Path | None,
    watch: Callable[[], object] = lambda: None,
    optimizer: type = training.Adam,
    **options: Any,
) -> tuple[dict[str, Tensor], gan.GanHistory]:
    """Train, from the checkpoint if it is there; returns all weights and the history."""
    torch.manual_seed(0)
    generator = gan.ConditionalGenerator(nn.Embedding(10, 3), 5, width=4)
    discriminator, average = Watched(watch), copy.deepcopy(generator)
    history = gan.fit_gan(
        generator,
        discriminator,
        scans(),
        generator_optimizer=optimizer(generator.parameters(), lr=0.01),
        discriminator_optimizer=optimizer(discriminator.parameters(), lr=0.02),
        **{
            "average": average,
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "penalty": "gradient",
            "penalty_every": 2,
            "augment": Augment(shift=1),
            "schedule": lambda step: 1 - step / STEPS,
            "device": "cpu",
            "progress": False,
        }
        | options,
        checkpoint=checkpoint,
        resume=checkpoint is not None,
    )
    players = {"generator": generator, "discriminator": discriminator, "average": average}
    return nn.ModuleDict(players).state_dict(), history


def run_and_save(checkpoint: Path, result: Path, pause: float) -> None:
    """Train for at least ``pause`` seconds a step, and leave the result in a file."""
    torch.set_num_threads(1)
    weights, history = run(checkpoint, lambda: time.sleep(pause / 3), checkpoint_every=1)
    part = result.with_suffix(".part")
    torch.save((weights, history.discriminator_loss, history.generator_loss), part)
    part.rename(result)
