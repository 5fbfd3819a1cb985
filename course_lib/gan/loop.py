"""The training of two players in turns: `fit_gan`.

Equation: (gan-average).

Sources:
    Goodfellow et al., "Generative adversarial nets", 2014, algorithm 1.
    Karras et al., "Progressive growing of GANs", 2018: pictures come from the generator's average.
    Zhao et al., "Differentiable augmentation for data-efficient GAN training", 2020.
    Karras et al., "Analyzing and improving the image quality of StyleGAN", 2020: a penalty that is
        computed every few steps only, and weighs as much more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checking import (
    describe,
    expect_choice,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)
from course_lib.device import best_device
from course_lib.gan.losses import (
    KINDS,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
)
from course_lib.training.batches import Batches
from course_lib.training.distributed import Team
from course_lib.training.run import History, Meter, Run, Schedule, deferred_interrupt, progress_bar

PENALTIES = (None, "r1", "gradient")
"""what can keep the discriminator's slope small"""

_MEASURED = ["loss", "generator_loss", "real", "fake"]


@dataclass
class GanHistory:
    """What `fit_gan` measured: means over each epoch, under the weights of each step."""

    discriminator_loss: list[float] = field(default_factory=list)
    """without the penalty"""
    generator_loss: list[float] = field(default_factory=list)
    real: list[float] = field(default_factory=list)
    """score of what is real"""
    fake: list[float] = field(default_factory=list)
    """score of what was made, in the discriminator's turn"""
    seconds: list[float] = field(default_factory=list)
    """how long it took"""

    @property
    def epochs(self) -> list[int]:
        """The epochs' numbers, from 1."""
        return list(range(1, len(self.discriminator_loss) + 1))


def fit_gan(
    generator: nn.Module,
    discriminator: nn.Module,
    data: Tensor | tuple[Tensor, Tensor],
    *,
    generator_optimizer: Any,
    discriminator_optimizer: Any,
    epochs: int,
    loss: str = "nonsaturating",
    batch_size: int = 64,
    discriminator_steps: int = 1,
    penalty: str | None = None,
    penalty_weight: float = 1.0,
    penalty_every: int = 1,
    augment: Callable[[Tensor], Tensor] | None = None,
    average: nn.Module | None = None,
    decay: float = 0.995,
    schedule: Schedule | None = None,
    device: torch.device | str | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    seed: int = 0,
    progress: bool = True,
    on_epoch: Callable[[GanHistory], object] | None = None,
) -> GanHistory:
    """Train both players in turns: first the discriminator, then the generator, step after step.

    The pictures that a step makes serve both turns. The discriminator gets them detached, so that
    its loss does not reach the generator, which has not changed when its own turn comes.

    Args:
        generator: maps ``Tensor[N, generator.latent]``, and conditions if there are any, to
            pictures. Both players are moved to the device, and in training mode afterwards.
        discriminator: maps pictures, and conditions if there are any, to scores ``Tensor[N]``. It
            gets real and made ones in one batch, so batch normalisation would mix them.
        data: pictures, one in each row; or ``(pictures, conditions)``, such as labels or prompts
            from `tokenize`. What is made in a step gets the same conditions as its pictures.
        generator_optimizer, discriminator_optimizer: of ours or of torch.optim, each over the
            parameters of its player.
        epochs: how often to go through the data; resumed epochs count. The last examples of an
            epoch are left out if they do not fill a batch.
        loss: one of `KINDS`.
        batch_size: pictures in a turn.
        discriminator_steps: its turns in a step, with new pictures each, before the generator's.
        penalty: added to the discriminator's loss: ``"r1"``, ``"gradient"`` or ``None``.
        penalty_weight: what it is multiplied by.
        penalty_every: compute it every so many steps only, and let it weigh as much more.
        augment: what both real and made pictures go through before they are judged, such as
            `course_lib.classification.Augment`; the gradient must come through.
        average: a copy of the generator, which is led after it with inertia; (gan-average). It is
            in evaluation mode afterwards.
        decay: how much of the average stays from step to step; less in the first steps.
        schedule: factor of all step sizes, a function of the step, from 0.
        device: by default `best_device`.
        checkpoint: file to write after each epoch, and when the run is interrupted.
        checkpoint_every: write it every so many steps as well.
        resume: go on from the checkpoint, if it is there. On the CPU the weights come out as if
            the run had never stopped, bit for bit.
        seed: of the order of the data and of the latent vectors.
        progress: whether to show a progress bar.
        on_epoch: called with the history after each epoch.
    Returns:
        the `GanHistory`.
    Raises:
        TypeError, ValueError: if an argument makes no sense, there is no full batch, a player
            gives the wrong shape, or the checkpoint is of something else.
        FloatingPointError: if the discriminator's loss is not finite.
    """
    _expect_arguments(epochs, loss, discriminator_steps, penalty, penalty_every)
    expect_number("penalty_weight", penalty_weight, minimum=0)
    expect_number("decay", decay, minimum=0, below=1)
    if checkpoint is None and (resume or checkpoint_every is not None):
        raise ValueError("checkpoint: expected a path to resume from or to write to, got None")
    device = best_device() if device is None else torch.device(device)
    team = Team(0, 1, device)
    players = nn.ModuleDict({"generator": generator, "discriminator": discriminator})
    if average is not None:
        _expect_copy(average.state_dict(), generator.state_dict())
        players["average"] = average
    players.to(device)
    pictures, conditions = _parts(data)
    latent = _latent(generator)
    chance = torch.Generator().manual_seed(seed)
    pairs = pictures, torch.zeros(len(pictures), 0) if conditions is None else conditions
    batches = Batches("data", pairs, batch_size * discriminator_steps, team, chance, drop_last=True)
    run = Run(
        players, _Both(generator_optimizer, discriminator_optimizer),
        torch.amp.GradScaler(device.type, enabled=False), batches, team, Meter(_MEASURED, team),
        schedule, None if checkpoint is None else Path(checkpoint), checkpoint_every,
    )  # fmt: skip
    if resume:
        run.load_if_there()
    weights = [param for param in generator.parameters() if param.requires_grad]

    with (
        progress_bar(progress, epochs * len(batches), run.step) as bar,
        deferred_interrupt(True) as interrupted,
        run.step_sizes_restored(),
    ):
        while run.epoch < epochs:
            players.train()
            for inputs, targets, examples, *_ in run.batches():
                run.set_step_size()
                penalized = penalty is not None and run.step % penalty_every == 0
                for real, target in _turns(inputs, targets, batch_size):
                    told = () if conditions is None else (target,)
                    drawn = torch.randn(batch_size, latent, generator=chance).to(real)
                    made = generator(drawn, *told)
                    expect_shape("generator", made, real.shape)
                    both = torch.cat([real, made])
                    both = both if augment is None else augment(both)
                    scores = discriminator(both.detach(), *(torch.cat([c, c]) for c in told))
                    expect_shape("discriminator", scores, (2 * batch_size,))
                    on_real, on_fake = scores.split(batch_size)
                    value = discriminator_loss(on_real, on_fake, loss)
                    total = value
                    if penalized:
                        slope = _penalty(penalty, discriminator, both, told, chance)
                        total = value + penalty_weight * penalty_every * slope
                    discriminator_optimizer.zero_grad()
                    total.backward()
                    discriminator_optimizer.step()
                # What was made is still what the generator would make: only its judge has changed.
                verdict = generator_loss(discriminator(both[batch_size:], *told), loss)
                generator_optimizer.zero_grad()
                verdict.backward(inputs=weights)  # and nothing for the discriminator
                generator_optimizer.step()
                if average is not None:
                    update_average(average, generator, min(decay, (run.step + 1) / (run.step + 10)))
                run.note([value, verdict, on_real.mean(), on_fake.mean()], examples)
                if bar.update():
                    bar.set_postfix(run.latest(), refresh=False)
                run.end_step(interrupted())
            run.end_epoch(None, keep_best=False)
            bar.set_postfix(run.latest())
            if average is not None:
                average.eval()
            if on_epoch is not None:
                on_epoch(_history(run.history))
    return _history(run.history)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the average of a network's weights a little towards them; equation (gan-average).

    Args:
        average: a copy of the network; it is changed. So are its buffers; those that count, such as
            a normalisation's number of batches, become those of the network.
        model: the network that is being trained.
        decay: how much of the average stays, from 0 to below 1.
    """
    expect_number("decay", decay, minimum=0, below=1)
    ours, theirs = average.state_dict(), model.state_dict()
    _expect_copy(ours, theirs)
    for name, value in theirs.items():
        if value.is_floating_point():
            ours[name].lerp_(value, 1 - decay)
        else:
            ours[name].copy_(value)


class _Both:
    """Two optimisers as one, for the checkpoint and the schedule."""

    def __init__(self, generator: Any, discriminator: Any) -> None:
        self._optimizers = {"generator": generator, "discriminator": discriminator}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of both, as they are now: loading a state makes new ones."""
        return [g for optimizer in self._optimizers.values() for g in optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {
            name: {"kind": type(optimizer).__name__, "state": optimizer.state_dict()}
            for name, optimizer in self._optimizers.items()
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Check both before one is changed."""
        for name, optimizer in self._optimizers.items():
            have, came = type(optimizer).__name__, state[name]["kind"]
            if have != came:
                raise ValueError(
                    f"checkpoint: expected one of {have} for the {name}, got one of {came}"
                )
            ours, saved = optimizer.state_dict(), state[name]["state"]
            if _sizes(ours) != _sizes(saved):
                raise ValueError(
                    f"checkpoint: expected groups of {_sizes(ours)} parameters for the {name},"
                    f" got {_sizes(saved)}"
                )
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state[name]["state"])


def _sizes(state: dict[str, Any]) -> list[int]:
    return [len(group["params"]) for group in state["param_groups"]]


def _turns(inputs: Tensor, targets: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """What the discriminator sees in each of its turns."""
    return zip(inputs.split(batch_size), targets.split(batch_size), strict=True)


def _penalty(
    kind: str | None,
    discriminator: nn.Module,
    both: Tensor,
    told: tuple[Tensor, ...],
    chance: torch.Generator,
) -> Tensor:
    real, fake = both.detach().chunk(2)
    if kind == "r1":
        return r1_penalty(lambda images: discriminator(images, *told), real)
    return gradient_penalty(lambda images: discriminator(images, *told), real, fake, chance)


def _history(history: History) -> GanHistory:
    return GanHistory(
        discriminator_loss=history.train_loss,
        **{name: history.metrics.get(f"train_{name}", []) for name in _MEASURED[1:]},
        seconds=history.seconds,
    )


def _parts(data: Any) -> tuple[Tensor, Tensor | None]:
    """The pictures, and the conditions if there are any."""
    if isinstance(data, Tensor):
        data = (data, None)
    if not isinstance(data, list | tuple) or len(data) != 2:
        raise TypeError(f"data: expected pictures or (pictures, conditions), got {describe(data)}")
    pictures, conditions = data
    expect_tensor("data", pictures, floating=True)
    if pictures.ndim < 2:
        raise ValueError(f"data: expected pictures in rows, got {describe(pictures)}")
    if conditions is not None:
        expect_tensor("data", conditions)
    return pictures, conditions


def _expect_copy(average: dict[str, Tensor], model: dict[str, Tensor]) -> None:
    if [(k, v.shape) for k, v in average.items()] != [(k, v.shape) for k, v in model.items()]:
        raise ValueError("average: expected a copy of the network, got one of other weights")


def _latent(generator: nn.Module) -> int:
    length = getattr(generator, "latent", None)
    if not isinstance(length, int):
        raise TypeError(
            "generator: expected a network that says in .latent how many numbers it makes a"
            f" picture of, got {type(generator).__name__}"
        )
    return length


def _expect_arguments(
    epochs: int, loss: str, discriminator_steps: int, penalty: str | None, penalty_every: int
) -> None:
    expect_int("epochs", epochs, minimum=0)
    expect_choice("loss", loss, KINDS)
    expect_int("discriminator_steps", discriminator_steps, minimum=1)
    expect_choice("penalty", penalty, PENALTIES)
    expect_int("penalty_every", penalty_every, minimum=1)
