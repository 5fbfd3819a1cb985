"""The course's one training loop: `fit`; and `evaluate`, and a search for the step size."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_lib.checking import expect_choice, expect_int, expect_number, expect_tensor
from course_lib.device import best_device
from course_lib.training.batches import Batch, Batches, Data
from course_lib.training.checkpoint import random_state, set_random_state
from course_lib.training.distributed import Team, join
from course_lib.training.initialisation import clip_grad_norm_
from course_lib.training.run import (
    History,
    Meter,
    Run,
    Schedule,
    copied_weights,
    deferred_interrupt,
    progress_bar,
)

Measure = Callable[[Any, Any], Tensor]
_PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


def fit(
    model: nn.Module,
    loss: Measure,
    train: Data,
    *,
    optimizer: Any,
    epochs: int,
    validation: Data | None = None,
    metrics: Mapping[str, Measure] | None = None,
    batch_size: int = 64,
    accumulate: int = 1,
    device: torch.device | str | None = None,
    precision: str = "float32",
    schedule: Schedule | None = None,
    clip_norm: float | None = None,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    seed: int = 0,
    progress: bool = True,
    on_epoch: Callable[[History], object] | None = None,
) -> History:
    """Train a model: forward, loss, backward, update, batch after batch.

    Under ``torchrun`` the processes share each batch, and end with the weights that one process
    would have, up to rounding; process 0 alone writes and prints.

    Args:
        model: moved to the device; in training mode afterwards.
        loss: ``loss(output, targets)``, the mean over the batch, a scalar tensor.
        train: ``(inputs, targets)``, tensors with an example in each row, which are moved to the
            device and shuffled there; or batches of such pairs, such as a DataLoader.
        optimizer: one of ours or of torch.optim, over the model's parameters.
        epochs: how often to go through ``train``; resumed epochs count.
        validation: as ``train``; measured after each epoch, in evaluation mode.
        metrics: further means over a batch, ``metric(output, targets)``, by name.
        batch_size: examples in a batch, for tensors.
        accumulate: batches for each step, whose gradients are added up to that of one large batch;
            an epoch's last step may have fewer.
        device: by default `best_device`.
        precision: ``"bfloat16"`` or ``"float16"`` compute where the model allows it in 16 bits,
            and scale the loss for the latter; the weights stay as they are.
        schedule: factor of each group's step size, a function of the step, from 0.
        clip_norm: largest norm of the gradient.
        patience: stop after so many epochs without a lower validation loss; the weights of the
            best epoch are put back at the end.
        checkpoint: file to write after each epoch, and when the run is interrupted.
        checkpoint_every: write it every so many steps as well.
        resume: go on from the checkpoint, if it is there. On the CPU the weights come out as if
            the run had never stopped, bit for bit.
        seed: of the shuffling of tensors.
        progress: whether to show a progress bar.
        on_epoch: called with the history after each epoch, to draw it for example.
    Returns:
        the `History`.
    Raises:
        TypeError, ValueError: if an argument makes no sense, the data is empty, or the
            checkpoint is of something else.
        FloatingPointError: if the loss is not finite, with the step and what led to it.
    """
    _expect_arguments(epochs, accumulate, precision, clip_norm, patience, checkpoint_every)
    if patience is not None and validation is None:
        raise ValueError("patience: expected validation data to be patient about, got None")
    if checkpoint is None and (resume or checkpoint_every is not None):
        raise ValueError("checkpoint: expected a path to resume from or to write to, got None")
    team = join(device)
    model.to(team.device)
    shuffler = torch.Generator().manual_seed(seed)
    batches = Batches("train", train, batch_size, team, shuffler)
    metrics = dict(metrics or {})
    autocast = _autocast(precision, team)
    scaler = torch.amp.GradScaler(team.device.type, enabled=precision == "float16")
    run = Run(
        model, optimizer, scaler, batches, team, Meter(["loss", *metrics], team), schedule,
        None if checkpoint is None else Path(checkpoint), checkpoint_every,
    )  # fmt: skip
    if resume:
        run.load_if_there()
    validate = None
    if validation is not None:
        held_out = Batches("validation", validation, batch_size, team)
        validate = partial(_means, model, loss, held_out, metrics, team, autocast)
    parameters = [param for group in optimizer.param_groups for param in group["params"]]
    forward = team.wrap(model)

    total = epochs * -(-len(batches) // accumulate) or None
    with (
        progress_bar(progress and team.rank == 0, total, run.step) as bar,
        deferred_interrupt(team.size == 1) as interrupted,
        run.step_sizes_restored(),
    ):
        while run.epoch < epochs and not run.out_of(patience):
            model.train()
            for group in run.groups(accumulate):
                count = sum(batch.length for batch in group)
                for part, (inputs, targets, examples, factor, length) in enumerate(group):
                    with team.together(forward, whole=part == len(group) - 1):
                        with autocast():
                            output = forward(inputs)
                            value = loss(output, targets)
                        expect_tensor("loss", value, ndim=0)
                        run.note([value, *_measured(metrics, output, targets)], examples, part)
                        if part == 0:
                            optimizer.zero_grad()
                        share = factor * (length / count)
                        scaler.scale(value if share == 1 else value * share).backward()
                if clip_norm is not None:
                    scaler.unscale_(optimizer)
                    run.norm = clip_grad_norm_(parameters, clip_norm)
                run.set_step_size()
                scaler.step(optimizer)
                scaler.update()
                if bar.update():
                    bar.set_postfix(run.latest(), refresh=False)
                run.end_step(interrupted(), len(group))
            run.end_epoch(validate, keep_best=patience is not None)
            bar.set_postfix(run.latest())
            if on_epoch is not None and team.rank == 0:
                on_epoch(run.history)
    if patience is not None and run.best is not None:
        model.load_state_dict(run.best)
    return run.history


def evaluate(
    model: nn.Module,
    loss: Measure,
    data: Data,
    *,
    metrics: Mapping[str, Measure] | None = None,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    precision: str = "float32",
) -> dict[str, float]:
    """Measure a model in evaluation mode, without training it.

    Arguments are those of `fit`.

    Returns:
        means over all examples, by name: ``"loss"``, and each metric.
    """
    expect_choice("precision", precision, _PRECISIONS)
    team = join(device)
    model.to(team.device)
    batches = Batches("data", data, batch_size, team)
    return _means(model, loss, batches, dict(metrics or {}), team, _autocast(precision, team))


class LearningRates(NamedTuple):
    """What `find_learning_rate` saw."""

    lrs: list[float]
    """the step sizes, growing"""
    losses: list[float]
    """the smoothed loss at each of them"""


def find_learning_rate(
    model: nn.Module,
    loss: Measure,
    train: Data,
    *,
    optimizer: Any,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.9,
    batch_size: int = 64,
    device: torch.device | str | None = None,
    seed: int = 0,
) -> LearningRates:
    """Let the step size grow until training falls apart, to see what it can bear.

    A good step size lies below the one where the loss falls fastest. Model, optimiser and random
    states are afterwards as they were.

    Args:
        lowest, highest: first and last step size, for all groups; each is the last one times the
            same number.
        steps: how many; the test ends earlier when the loss is four times its lowest.
        smoothing: how much of the mean loss stays from step to step.

    Other arguments are those of `fit`.

    Source: Smith, "Cyclical learning rates for training neural networks", 2017.
    """
    if not expect_number("lowest", lowest) > 0:
        raise ValueError(f"lowest: expected a number above 0, got {lowest}")
    expect_number("highest", highest, minimum=lowest)
    expect_int("steps", steps, minimum=2)
    expect_number("smoothing", smoothing, minimum=0, below=1)
    team = Team(0, 1, best_device() if device is None else torch.device(device))
    model.to(team.device)
    batches = Batches("train", train, batch_size, team, torch.Generator().manual_seed(seed))
    weights, training = copied_weights(model), model.training
    state, chance = copy.deepcopy(optimizer.state_dict()), random_state()
    found, mean = LearningRates([], []), 0.0
    model.train()
    try:
        for step, batch in enumerate(itertools.islice(_endless(batches), steps)):
            lr = lowest * (highest / lowest) ** (step / (steps - 1))
            for group in optimizer.param_groups:
                group["lr"] = lr
            value = loss(model(batch.inputs), batch.targets)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            mean = smoothing * mean + (1 - smoothing) * value.item()
            smoothed = mean / (1 - smoothing ** (step + 1))  # the mean began at 0
            if not smoothed <= 4 * min([*found.losses, smoothed]):  # NaN ends it too
                break
            found.lrs.append(lr)
            found.losses.append(smoothed)
    finally:
        model.load_state_dict(weights)
        optimizer.load_state_dict(state)
        optimizer.zero_grad()
        set_random_state(chance)
        model.train(training)
    return found


def _endless(batches: Batches) -> Iterator[Batch]:
    for epoch in itertools.count():
        yield from batches.start(epoch)


def _measured(metrics: dict[str, Measure], output: Any, targets: Any) -> list[Tensor]:
    if not metrics:
        return []
    with torch.no_grad():
        numbers = {name: metric(output, targets) for name, metric in metrics.items()}
    for name, number in numbers.items():
        expect_tensor(f"metrics[{name!r}]", number, ndim=0)
    return list(numbers.values())


def _means(
    model: nn.Module,
    loss: Measure,
    batches: Batches,
    metrics: dict[str, Measure],
    team: Team,
    autocast: Callable[[], AbstractContextManager[object]],
) -> dict[str, float]:
    training, meter = model.training, Meter(["loss", *metrics], team)
    model.eval()
    with torch.no_grad():
        for inputs, targets, examples, *_ in batches.start():
            with autocast():
                output = model(inputs)
                value = loss(output, targets)
            meter.add([value, *_measured(metrics, output, targets)], examples)
    model.train(training)
    return meter.means()


def _autocast(precision: str, team: Team) -> Callable[[], AbstractContextManager[object]]:
    dtype = _PRECISIONS[precision]
    return nullcontext if dtype is None else partial(torch.autocast, team.device.type, dtype)


def _expect_arguments(
    epochs: int,
    accumulate: int,
    precision: str,
    clip_norm: float | None,
    patience: int | None,
    checkpoint_every: int | None,
) -> None:
    expect_int("epochs", epochs, minimum=0)
    expect_int("accumulate", accumulate, minimum=1)
    expect_choice("precision", precision, _PRECISIONS)
    if clip_norm is not None:
        expect_number("clip_norm", clip_norm, minimum=0)
    if patience is not None:
        expect_int("patience", patience, minimum=1)
    if checkpoint_every is not None:
        expect_int("checkpoint_every", checkpoint_every, minimum=1)
