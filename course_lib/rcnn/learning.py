"""How the detectors learn: scenes in batches, in other colours each time, through `fit`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checking import expect_int, expect_number
from course_lib.rcnn.networks import Detector, Target
from course_lib.training import AdamW, History, fit, one_cycle

KEYS = ("boxes", "labels", "proposals")


class SceneBatches:
    """Scenes of one size in batches, each time in a new order, and each scene in other colours.

    Half of the scenes are turned into their negative, and the three colours change places: what a
    digit is does not depend on either.

    Args:
        scenes: dicts with ``image``, ``Tensor[3, H, W]``, ``boxes``, ``labels`` and perhaps
            ``proposals``, as `Detector` takes them.
        batch_size: the scenes that do not fill a batch are left out, other ones each time.
        seed: of order and colours.
        colours: whether to change them.
    """

    def __init__(
        self,
        scenes: Sequence[Mapping[str, Any]],
        batch_size: int,
        seed: int = 0,
        *,
        colours: bool = True,
    ) -> None:
        expect_int("batch_size", batch_size, minimum=1)
        if len(scenes) < batch_size:
            raise ValueError(
                f"scenes: expected at least a batch of {batch_size}, got {len(scenes)}"
            )
        self._scenes, self._batch_size, self._colours = scenes, batch_size, colours
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        """Count the batches."""
        return len(self._scenes) // self._batch_size

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, list[Target]], list[Target]]]:
        """Go through all scenes once: ``((images, targets), targets)``, as `fit` takes them."""
        order = torch.randperm(len(self._scenes), generator=self.generator)
        for own in order.split(self._batch_size)[: len(self)]:
            scenes = [self._scenes[n] for n in own.tolist()]
            images = [scene["image"] for scene in scenes]
            if self._colours:
                images = [self._recolour(image) for image in images]
            targets: list[Target] = [
                {key: scene[key] for key in KEYS if key in scene} for scene in scenes
            ]
            batch = torch.stack(images).contiguous(memory_format=torch.channels_last)
            yield (batch, targets), targets

    def _recolour(self, image: Tensor) -> Tensor:
        image = image[torch.randperm(3, generator=self.generator)]
        return 1 - image if torch.rand((), generator=self.generator) < 0.5 else image


class _WithTargets(nn.Module):
    """What `fit` trains: a detector that gets images and targets as one input."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, batch: tuple[Tensor, list[Target]]) -> dict[str, Tensor]:
        return self.detector(*batch)  # type: ignore[no-any-return]


def _total(losses: dict[str, Tensor], targets: Any) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def _one(losses: dict[str, Tensor], targets: Any, *, name: str) -> Tensor:
    return losses[name]


def train_detector(
    detector: Detector,
    scenes: Sequence[Mapping[str, Any]],
    *,
    epochs: int,
    batch_size: int = 8,
    lr: float = 3e-3,
    seed: int = 0,
    colours: bool = True,
    **options: Any,
) -> History:
    """Train a detector with AdamW, the step size rising and falling once.

    Args:
        detector: one of this chapter's; in evaluation mode afterwards.
        scenes: as `SceneBatches` takes them.
        epochs: how often to go through all scenes.
        lr: the largest step size.
        seed: of order, colours, and the regions that are sampled. The first weights are made when
            the detector is.
        colours: whether the scenes change their colours, as in `SceneBatches`.
        options: further arguments of `course_lib.training.fit`.
    Returns:
        the `History`; its metrics are the detector's losses, ``"train_classes"`` and so on.
    """
    expect_int("epochs", epochs, minimum=1)
    expect_number("lr", lr, minimum=0)
    torch.manual_seed(seed)
    batches = SceneBatches(scenes, batch_size, seed, colours=colours)
    history = fit(
        _WithTargets(detector).to(memory_format=torch.channels_last),
        _total,
        batches,
        optimizer=AdamW(detector.parameters(), lr=lr, weight_decay=0.01),
        epochs=epochs,
        metrics={name: partial(_one, name=name) for name in detector.loss_names},
        schedule=partial(one_cycle, total=max(2, epochs * len(batches)), rise=0.25),
        clip_norm=5.0,
        **options,
    )
    detector.eval()
    return history
