"""What a training run knows: where it is, what it has measured, and how to go on after a stop."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_lib.training.batches import Batch, Batches
from course_lib.training.checkpoint import (
    load_checkpoint,
    random_state,
    save_checkpoint,
    set_random_state,
)
from course_lib.training.distributed import Team

Schedule = Callable[[int], float]
READ_EVERY = 32
"""On a GPU, steps whose losses are read together."""


@dataclass
class History:
    """What `fit` measured in each epoch."""

    train_loss: list[float] = field(default_factory=list)
    """mean over the epoch's examples, each under the weights of its own step"""
    validation_loss: list[float] = field(default_factory=list)
    """after the epoch; empty without validation data"""
    metrics: dict[str, list[float]] = field(default_factory=dict)
    """by name: ``"train_accuracy"``, ``"validation_accuracy"``"""
    lr: list[float] = field(default_factory=list)
    """the first group's step size in the epoch's last step"""
    seconds: list[float] = field(default_factory=list)
    """how long it took, validation included"""

    @property
    def epochs(self) -> list[int]:
        """The epochs' numbers, from 1."""
        return list(range(1, len(self.train_loss) + 1))

    @property
    def best_epoch(self) -> int | None:
        """The number of the epoch with the lowest validation loss, the first of equals."""
        losses = [inf if loss != loss else loss for loss in self.validation_loss]  # NaN is worst
        return 1 + losses.index(min(losses)) if min(losses, default=inf) < inf else None

    def add(self, part: str, means: dict[str, float]) -> None:
        """Write down an epoch's means, of ``"train"`` or ``"validation"``."""
        losses = self.train_loss if part == "train" else self.validation_loss
        losses.append(means["loss"])
        for name, value in means.items():
            if name != "loss":
                self.metrics.setdefault(f"{part}_{name}", []).append(value)


class Place(NamedTuple):
    """A step of a run; all are counted from 0."""

    step: int
    batch: int
    """of its epoch"""
    norm: Tensor | None
    """length of the gradient in the step before, if it is known"""


class Meter:
    """Means over examples, of numbers that are read from the device in bundles.

    To read a number is to wait until the device has computed it. A GPU would then stand idle
    until it gets the next step, so there the numbers of many steps are read at once.

    Args:
        names: of the numbers, the loss first.
        team: on whose device they are.
    """

    def __init__(self, names: list[str], team: Team) -> None:
        self.names, self._team = names, team
        self._bundle = 1 if team.device.type == "cpu" else READ_EVERY
        self._waiting: list[tuple[list[Tensor], int, Any]] = []
        self.totals, self.examples = [0.0] * len(names), 0
        self.recent: deque[float] = deque(maxlen=6)
        """the last losses; where one is not finite, up to that one"""

    def add(self, numbers: list[Tensor], examples: int, place: Any = None) -> Any:
        """Take in a batch's means; returns what `read` does, if it is time to read."""
        self._waiting.append(([number.detach() for number in numbers], examples, place))
        return self.read() if len(self._waiting) == self._bundle else None

    def read(self) -> Any:
        """Read what was taken in; returns the place of the first loss that is not finite."""
        waiting, self._waiting = self._waiting, []
        rows = [numbers for numbers, _, _ in waiting]
        columns = [_read(column) for column in zip(*rows, strict=True)]
        bad = None
        for (_, examples, place), *values in zip(waiting, *columns, strict=True):
            self.totals = [t + v * examples for t, v in zip(self.totals, values, strict=True)]
            self.examples += examples
            if bad is None:
                self.recent.append(values[0])
                bad = None if abs(values[0]) < inf else place
        return bad

    def means(self) -> dict[str, float]:
        """Return the means over all examples of all processes, and begin anew."""
        self.read()
        *totals, examples = self._team.sum([*self.totals, self.examples])
        self.totals, self.examples = [0.0] * len(self.names), 0
        return {name: total / examples for name, total in zip(self.names, totals, strict=True)}


class Run:
    """A model on its way through the epochs; `fit` says what the arguments are."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        scaler: torch.amp.GradScaler,
        train: Batches,
        team: Team,
        meter: Meter,
        schedule: Schedule | None,
        checkpoint: Path | None,
        checkpoint_every: int | None,
    ) -> None:
        self.model, self.optimizer, self.scaler = model, optimizer, scaler
        self.train, self.team, self.meter, self.schedule = train, team, meter, schedule
        self.path, self._every = checkpoint, checkpoint_every
        self.history = History()
        self.epoch = self.batch = self.step = 0  # whole ones that are done
        self.norm: Tensor | None = None
        self.best: dict[str, Tensor] | None = None
        self.step_sizes = [group["lr"] for group in optimizer.param_groups]
        self._clock = time.perf_counter()
        self._begun: dict[str, Any] = {}  # chance as it was when the epoch began
        self._left: dict[str, Any] = {}  # and when an earlier run stopped

    # --- on the way

    def batches(self) -> Iterator[Batch]:
        """Begin an epoch, or go on where an earlier run stopped in the middle of it."""
        if self.batch == 0:
            if self.team.size > 1 and not self.train.in_memory:  # all must draw the same order
                torch.set_rng_state(self.team.gather(torch.get_rng_state())[0])
            self._begun = self._sources() if self.path is not None else {}
            return self.train.start(self.epoch)
        self._set_sources(self._begun)
        rest = self.train.start(self.epoch, skip=self.batch)
        self._set_sources(self._left)
        return rest

    def groups(self, accumulate: int) -> Iterator[list[Batch]]:
        """The epoch's batches, so many for each step; for its last step perhaps fewer."""
        batches = self.batches()
        while group := list(itertools.islice(batches, accumulate)):
            yield group

    def set_step_size(self) -> None:
        """Give each group of parameters the step size that the schedule wants now."""
        if self.schedule is not None:
            factor = self.schedule(self.step)
            for group, size in zip(self.optimizer.param_groups, self.step_sizes, strict=True):
                group["lr"] = size * factor

    def note(self, numbers: list[Tensor], examples: int, part: int = 0) -> None:
        """Take in a batch's loss and metrics before the update, and stop if the loss is no number.

        Args:
            part: which batch of the step it is, from 0.
        Raises:
            FloatingPointError: on the CPU at once; on a GPU within `READ_EVERY` steps, which
                have moved the weights by then.
        """
        place = Place(self.step, self.batch + part, self.norm)
        self._judge(self.meter.add(numbers, examples, place))

    def end_step(self, interrupted: bool, batches: int = 1) -> None:
        """Count a step that is done, and the batches that it took.

        Raises:
            KeyboardInterrupt: if the run was interrupted, once the checkpoint is written.
        """
        self.step += 1
        self.batch += batches
        if interrupted or (self._every and self.step % self._every == 0):
            self.save()
        if interrupted:
            raise KeyboardInterrupt

    def end_epoch(self, validate: Callable[[], dict[str, float]] | None, keep_best: bool) -> None:
        """Write down what the epoch brought."""
        if self.batch == 0:
            raise ValueError(f"train: expected batches in epoch {self.epoch + 1}, got none")
        self._judge(self.meter.read())
        self.history.add("train", self.meter.means())
        if validate is not None:
            self.history.add("validation", validate())
        self.history.lr.append(self.optimizer.param_groups[0]["lr"])
        now = time.perf_counter()
        self.history.seconds.append(now - self._clock)
        self._clock = now
        self.epoch, self.batch = self.epoch + 1, 0
        if keep_best and self.history.best_epoch == self.epoch:
            self.best = copied_weights(self.model)
        self.save()

    def out_of(self, patience: int | None) -> bool:
        """Whether so many epochs have passed since the best one."""
        return patience is not None and self.epoch - (self.history.best_epoch or 0) >= patience

    def latest(self) -> dict[str, str]:
        """What the progress bar says."""
        losses = {"loss": list(self.meter.recent), "validation": self.history.validation_loss}
        shown = {name: f"{values[-1]:.4f}" for name, values in losses.items() if values}
        return {"epoch": str(self.epoch + (self.batch > 0)), **shown}

    @contextmanager
    def step_sizes_restored(self) -> Iterator[None]:
        """Undo at the end what the schedule did to the optimiser's step sizes."""
        try:
            yield
        finally:
            for group, size in zip(self.optimizer.param_groups, self.step_sizes, strict=True):
                group["lr"] = size

    def _judge(self, place: Place | None) -> None:
        if place is None:
            return
        *before, bad = self.meter.recent
        factor = 1.0 if self.schedule is None else self.schedule(place.step)
        norm = place.norm
        if norm is None and place[:2] == (self.step, self.batch) and self.step:
            norm = gradient_norm(self.optimizer)  # which is there still
        raise FloatingPointError(
            f"loss: expected a finite number, got {bad} in epoch {self.epoch + 1},"
            f" step {place.step + 1}, {self.train.describe(place.batch)};"
            f" losses before it: {', '.join(f'{loss:.4g}' for loss in before) or 'none'};"
            f" gradient's norm in the step before:"
            f" {'not known' if norm is None else f'{float(norm):.4g}'};"
            f" step size: {self.step_sizes[0] * factor:.4g}"
        )

    # --- to the disk and back

    def save(self) -> None:
        """Write the checkpoint, if one is wanted."""
        if self.path is None:
            return
        self._judge(self.meter.read())  # never save what a bad step left behind
        own = {
            "begun": self._begun,
            "left": self._sources(),
            "totals": self.meter.totals,
            "examples": self.meter.examples,
        }
        owns = self.team.gather(own)
        if self.team.rank != 0:
            return
        position = {
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "step_sizes": self.step_sizes,
            "seconds": time.perf_counter() - self._clock,
            "data": self.train.size,
            "history": asdict(self.history),
        }
        content = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self.optimizer.state_dict(),
            "optimizer_name": type(self.optimizer).__name__,
            "scaler": self.scaler.state_dict(),
            "position": position,
            "processes": owns,
        }
        save_checkpoint(self.path, content)

    def load_if_there(self) -> None:
        """Go to where the checkpoint was written, if there is one.

        Raises:
            ValueError: if it is of another model, optimiser or data; nothing is changed then.
        """
        if self.path is None or not self.path.exists():
            return
        content = load_checkpoint(self.path, self.model, self.optimizer)
        position = content["position"]
        if position["data"] != self.train.size:
            raise ValueError(
                f"checkpoint: expected one of a run on (examples, batch size) ="
                f" {self.train.size}, got {position['data']} in {self.path}"
            )
        self.optimizer.load_state_dict(content["optimizer"])  # raises before it changes anything
        self.model.load_state_dict(content["model"])
        self.scaler.load_state_dict(content["scaler"])
        self.best = content["best"]
        self.history = History(**position["history"])
        self.epoch, self.batch, self.step = (position[k] for k in ("epoch", "batch", "step"))
        self.step_sizes = position["step_sizes"]
        self._clock = time.perf_counter() - position["seconds"]
        owns = content["processes"]
        own = owns[self.team.rank % len(owns)]
        self._begun, self._left = own["begun"], own["left"]
        self.meter.totals, self.meter.examples = own["totals"], own["examples"]
        self._set_sources(self._left)

    def _sources(self) -> dict[str, Any]:
        """All that chance depends on, as it is now."""
        generator = self.train.generator
        return {
            "random": random_state(),
            "order": None if generator is None else generator.get_state(),
        }

    def _set_sources(self, sources: dict[str, Any]) -> None:
        set_random_state(sources["random"])
        if self.train.generator is not None and sources["order"] is not None:
            self.train.generator.set_state(sources["order"])


def _read(numbers: tuple[Tensor, ...]) -> list[float]:
    """Bring numbers from the device, with one wait for all."""
    return [numbers[0].item()] if len(numbers) == 1 else torch.stack(numbers).tolist()


def copied_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's parameters and buffers as they are now, for `nn.Module.load_state_dict`."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def gradient_norm(optimizer: Any) -> Tensor | None:
    """Length of the gradient that all of the optimiser's parameters make together."""
    gradients = [
        param.grad
        for group in optimizer.param_groups
        for param in group["params"]
        if param.grad is not None
    ]
    if not gradients:
        return None
    return torch.stack([gradient.norm() for gradient in gradients]).norm()


@contextmanager
def deferred_interrupt(wanted: bool) -> Iterator[Callable[[], bool]]:
    """Let an interrupt (Ctrl-C, Jupyter's stop button) wait for the end of the step.

    In the middle of an update some parameters have moved and others have not. A second interrupt
    does not wait.

    Yields:
        a function that says whether an interrupt came.
    """
    came = False

    def note(number: int, frame: Any) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    before = signal.getsignal(signal.SIGINT)
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not wanted or not on_main_thread or not callable(before):  # callable: not ignored
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)


def progress_bar(shown: bool, total: int | None, done: int) -> Any:
    """A bar that counts steps, of which some may be done already."""
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit=" steps", disable=not shown, mininterval=0.1)
