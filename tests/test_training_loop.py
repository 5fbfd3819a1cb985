"""`fit`: what it computes, how it goes on after a stop, what it refuses."""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

import training_runs
from course_lib import training
from course_lib.training import loop
from course_lib.training.batches import Batches
from course_lib.training.checkpoint import random_state, save_checkpoint, set_random_state
from course_lib.training.distributed import Team
from course_lib.training.run import Meter, copied_weights
from training_runs import BATCH, EPOCHS, EXAMPLES, STEPS, accuracy, examples, network
from tree import ROOT

Weights = dict[str, Tensor]
PYTHONPATH = os.pathsep.join([str(ROOT), str(Path(training_runs.__file__).parent)])
FIT = {"device": "cpu", "progress": False}


def linear(seed: int = 0) -> nn.Module:
    model = nn.Linear(6, 2)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return model


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_identical(ours: Weights, theirs: Weights) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def assert_same_run(
    ours: tuple[Weights, training.History], theirs: tuple[Weights, training.History]
) -> None:
    """Bit for bit, apart from the time that it took."""
    assert_identical(ours[0], theirs[0])
    for part in ("train_loss", "validation_loss", "metrics", "lr"):
        assert getattr(ours[1], part) == getattr(theirs[1], part), part
    assert len(ours[1].seconds) == len(theirs[1].seconds)


# --- what it computes -----------------------------------------------------------------------------


def test_is_the_loop_that_one_writes_by_hand(device: torch.device) -> None:
    inputs, targets = (part.to(device) for part in examples())
    ours, by_hand = linear().to(device), linear().to(device)
    history = training.fit(
        ours, F.cross_entropy, (inputs, targets), batch_size=BATCH, epochs=3, seed=5,
        optimizer=torch.optim.Adam(ours.parameters(), lr=0.1), device=device, progress=False,
        metrics={"accuracy": accuracy}, schedule=lambda step: 1 / (1 + step), clip_norm=0.5,
    )  # fmt: skip

    optimizer = torch.optim.Adam(by_hand.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    generator = torch.Generator().manual_seed(5)
    for epoch in range(3):
        losses, right = [], 0.0
        for batch in torch.randperm(EXAMPLES, generator=generator).to(device).split(BATCH):
            output = by_hand(inputs[batch])
            loss = F.cross_entropy(output, targets[batch])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(by_hand.parameters(), 0.5)
            optimizer.step()
            schedule.step()
            losses.append(loss.item() * len(batch))
            right += (output.argmax(1) == targets[batch]).sum().item()
        assert history.train_loss[epoch] == pytest.approx(sum(losses) / EXAMPLES, rel=1e-12)
        assert history.metrics["train_accuracy"][epoch] == pytest.approx(right / EXAMPLES)
        assert history.lr[epoch] == pytest.approx(0.1 / (5 * (epoch + 1)))
    for mine, theirs in zip(ours.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-7)
    assert history.epochs == [1, 2, 3]
    assert history.validation_loss == []
    assert history.best_epoch is None
    assert all(seconds > 0 for seconds in history.seconds)


def test_validation_is_measured_in_evaluation_mode() -> None:
    torch.manual_seed(0)
    model, data = network(), examples(21, seed=1)
    seen: list[bool] = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        seen.append(model.training)
        return F.cross_entropy(output, target)

    history = training.fit(
        model, loss, examples(), validation=data, metrics={"accuracy": accuracy}, epochs=1,
        optimizer=training.SGD(model.parameters(), lr=0.1), batch_size=BATCH, **FIT,
    )  # fmt: skip
    assert seen == [True] * 5 + [False] * 3
    assert model.training
    found = training.evaluate(
        model, F.cross_entropy, data, metrics={"accuracy": accuracy}, device="cpu"
    )
    assert model.training
    model.eval()
    output = model(data[0])
    assert found["loss"] == pytest.approx(F.cross_entropy(output, data[1]).item(), rel=1e-6)
    assert found["accuracy"] == pytest.approx(accuracy(output, data[1]).item())
    assert history.validation_loss == pytest.approx([found["loss"]], rel=1e-6)
    assert history.metrics["validation_accuracy"] == pytest.approx([found["accuracy"]])


def test_evaluation_keeps_no_graph_and_no_mode() -> None:
    model = network().eval()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        assert not output.requires_grad
        return F.cross_entropy(output, target)

    training.evaluate(model, loss, examples(), batch_size=100, device="cpu")
    assert not model.training


@pytest.mark.parametrize("kind", ["list", "loader", "loader with generator"])
def test_takes_batches_from_anything_that_yields_them(kind: str) -> None:
    _, history = training_runs.run(None, kind)
    assert len(history.train_loss) == EPOCHS
    assert history.train_loss[-1] < history.train_loss[0]


def test_a_list_of_batches_is_the_same_as_tensors_in_that_order() -> None:
    inputs, targets = examples()
    order = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(0))
    batches = [(inputs[part], targets[part]) for part in order.split(BATCH)]
    runs = []
    for data in ((inputs, targets), batches):
        model = linear()
        history = training.fit(
            model, F.cross_entropy, data, epochs=1, batch_size=BATCH,
            optimizer=training.SGD(model.parameters()), **FIT,
        )  # fmt: skip
        runs.append((model.state_dict(), history))
    assert_same_run(*runs)


def test_batches_may_hold_lists_and_dicts(device: torch.device) -> None:
    class Boxes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, images: list[Tensor]) -> list[Tensor]:
            return [image.mean() * self.weight for image in images]

    def loss(output: list[Tensor], targets: list[dict[str, Tensor]]) -> Tensor:
        return sum((o - t["mean"]) ** 2 for o, t in zip(output, targets, strict=True)) / len(output)

    images = [torch.rand(3, n, n) for n in (2, 5, 3)]
    targets = [{"mean": image.mean() / 2, "name": "a"} for image in images]
    model = Boxes()
    training.fit(
        model, loss, [(images, targets)], epochs=200, device=device, progress=False,
        optimizer=training.SGD(model.parameters(), lr=0.5),
    )  # fmt: skip
    assert model.weight.item() == pytest.approx(0.5, abs=1e-3)


def test_shuffles_anew_in_each_epoch_as_the_seed_says() -> None:
    def orders(seed: int) -> list[list[float]]:
        seen: list[list[float]] = []
        model = nn.Linear(1, 1)

        class Watch(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                seen.append(x[:, 0].tolist())
                return model(x)

        numbers = torch.arange(10.0)[:, None]
        training.fit(
            Watch(), F.mse_loss, (numbers, numbers), epochs=2, batch_size=4, seed=seed,
            optimizer=training.SGD(model.parameters()), **FIT,
        )  # fmt: skip
        return [sum(seen[:3], []), sum(seen[3:], [])]  # noqa: RUF017

    first, second = orders(1)
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert orders(1) == [first, second]
    assert orders(2) != [first, second]


def test_leaves_the_random_states_alone() -> None:
    model = linear()
    torch.manual_seed(3)
    training.fit(
        model, F.cross_entropy, examples(), epochs=1,
        optimizer=training.SGD(model.parameters()), **FIT,
    )  # fmt: skip
    after = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(after, torch.rand(3))


def test_leaves_the_step_sizes_as_they_were() -> None:
    model = linear()
    groups = [{"params": [model.weight], "lr": 0.5}, {"params": [model.bias]}]
    optimizer, seen = training.SGD(groups, lr=0.1), []
    training.fit(
        model, F.cross_entropy, examples(), epochs=1, optimizer=optimizer, batch_size=20,
        schedule=lambda step: 0.5**step, **FIT,
        on_epoch=lambda history: seen.extend(g["lr"] for g in optimizer.param_groups),
    )  # fmt: skip
    assert seen == [0.25, 0.05]
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1]


# --- several batches for each step ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tensors", "unequal"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_accumulated_batches_are_one_large_batch(
    kind: str, precision: str, device: torch.device
) -> None:
    """37 examples: steps of 5, 5, 5; 5, 5, 5; 5, 2, or batches of other lengths; float64."""
    inputs, targets = (part.to(device) for part in examples())
    inputs, options = inputs.double(), {"device": device, "progress": False, "epochs": 3}
    large, parts = [15, 15, 7], [5] * 7 + [2]
    if kind == "unequal":
        parts = [9, 1, 5, 2, 3, 10, 4, 3]
    order = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(0)).to(device)
    runs = []
    for accumulate, lengths in ((1, large), (3, parts)):
        model = linear().to(device).double()
        data: Any = [(inputs[part], targets[part]) for part in order.split(lengths)]
        if kind == "tensors":  # the order of the first epoch comes from the seed
            data, options["epochs"] = (inputs, targets), 1
        history = training.fit(
            model, F.cross_entropy, data, accumulate=accumulate, batch_size=15 // accumulate,
            optimizer=training.SGD(model.parameters(), lr=0.5, momentum=0.9), clip_norm=0.3,
            schedule=lambda step: 0.9**step, metrics={"accuracy": accuracy},
            precision=precision, **options,
        )  # fmt: skip
        runs.append((model.state_dict(), history))
    within = {"float32": 1e-12, "float16": 2e-3}[precision]
    for name, value in runs[0][0].items():
        torch.testing.assert_close(runs[1][0][name], value, rtol=0, atol=within)
    ours, theirs = runs[1][1], runs[0][1]
    assert ours.train_loss == pytest.approx(theirs.train_loss, rel=10 * within)
    assert ours.lr == theirs.lr  # the schedule counts steps
    if precision == "float32":
        assert ours.metrics["train_accuracy"] == pytest.approx(theirs.metrics["train_accuracy"])


def test_the_optimizer_steps_once_for_each_group(capsys: pytest.CaptureFixture[str]) -> None:
    class Counting(training.SGD):
        steps = 0

        def step(self) -> None:
            self.steps += 1
            super().step()

    model = linear()
    optimizer = Counting(model.parameters(), lr=0.1)
    training.fit(
        model, F.cross_entropy, examples(), epochs=2, batch_size=5, accumulate=3, device="cpu",
        optimizer=optimizer, progress=True,
    )  # fmt: skip
    assert optimizer.steps == 6
    assert "6/6" in capsys.readouterr().err


def test_processes_talk_once_for_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(
        Team, "together", lambda team, model, whole: seen.append(whole) or nullcontext()
    )
    fit(batch_size=BATCH, accumulate=2)
    assert seen == [False, True, False, True, True]


@pytest.mark.parametrize("at", [2, 4, 9, 16])
@pytest.mark.parametrize("kind", ["tensors", "loader of noise"])
def test_accumulating_it_resumes_bit_for_bit(kind: str, at: int, tmp_path: Path) -> None:
    path, options = tmp_path / "checkpoint.pt", {"accumulate": 2}
    expected = training_runs.run(None, kind, **options)
    with pytest.raises(PulledPlugError):
        training_runs.run(path, kind, stopping(at), checkpoint_every=1, **options)
    assert_same_run(training_runs.run(path, kind, checkpoint_every=1, **options), expected)


def test_a_bad_loss_in_the_middle_of_a_step_is_found() -> None:
    with pytest.raises(FloatingPointError) as error:
        fit(loss=diverging(5), batch_size=BATCH, accumulate=2)
    says = message_of(error)
    assert "step 3, batch 5 of the epoch" in says
    assert "gradient's norm in the step before: not known" not in says
    with pytest.raises(FloatingPointError) as error:
        fit(loss=diverging(4), batch_size=BATCH, accumulate=2)
    says = message_of(error)
    assert "step 2, batch 4 of the epoch" in says
    assert "gradient's norm in the step before: not known" in says


@pytest.mark.parametrize("optimizer", [training.Adam, torch.optim.Adam])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision(precision: str, optimizer: type, device: torch.device) -> None:
    wanted, seen, model = getattr(torch, precision), set(), linear()

    def loss(output: Tensor, target: Tensor) -> Tensor:
        seen.add(output.dtype)
        return F.cross_entropy(output, target)

    options = {"device": device, "precision": precision}
    history = training.fit(
        model, loss, examples(200), validation=examples(40, seed=1), epochs=5, clip_norm=1.0,
        optimizer=optimizer(model.parameters(), lr=0.05), progress=False, **options,
    )  # fmt: skip
    assert seen == {wanted}
    assert history.train_loss[-1] < 0.8 * history.train_loss[0]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    training.evaluate(model, loss, examples(), **options)
    assert seen == {wanted}


def test_float16_scales_the_loss_so_that_small_gradients_survive(device: torch.device) -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    data = torch.ones(4, 1), torch.zeros(4, 1)
    training.fit(
        model, lambda output, target: 1e-7 * output.float().mean(), data, epochs=1,
        optimizer=training.SGD(model.parameters(), lr=1e6), precision="float16", device=device,
        progress=False,
    )  # fmt: skip
    assert model.weight.item() == pytest.approx(0.9, rel=1e-2)


def test_a_scaled_gradient_is_clipped_at_its_true_length(device: torch.device) -> None:
    weights = []
    for precision in ("float32", "float16"):
        model = linear()
        training.fit(
            model, F.cross_entropy, examples(), epochs=5, clip_norm=0.2, precision=precision,
            optimizer=training.SGD(model.parameters(), lr=0.5), device=device, progress=False,
        )  # fmt: skip
        weights.append(model.weight.detach())
    assert (weights[0] - linear().weight.to(device)).norm() > 0.2
    torch.testing.assert_close(*weights, rtol=0, atol=1e-2)


# --- progress, callbacks --------------------------------------------------------------------------


def test_progress_bar_tells_epoch_and_losses(capsys: pytest.CaptureFixture[str]) -> None:
    training_runs.run(None, progress=True)
    captured = capsys.readouterr()
    last = captured.err.rsplit("\r", 1)[-1]
    assert f"{STEPS}/{STEPS}" in last
    assert "epoch=4, loss=" in last
    assert "validation=" in last
    assert captured.out == ""
    training_runs.run(None, progress=False)
    assert capsys.readouterr() == ("", "")


def test_history_can_be_watched() -> None:
    seen: list[tuple[int, int, int]] = []

    def watch(history: training.History) -> None:
        seen.append((len(history.epochs), len(history.lr), len(history.validation_loss)))

    training_runs.run(None, on_epoch=watch, epochs=3)
    assert seen == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]


def test_no_epochs_is_no_training() -> None:
    before = linear().state_dict()
    model = linear()
    history = training.fit(
        model, F.cross_entropy, examples(), epochs=0,
        optimizer=training.SGD(model.parameters()), **FIT,
    )  # fmt: skip
    assert history == training.History()
    assert_identical(model.state_dict(), before)


# --- early stopping -------------------------------------------------------------------------------


def scripted(validation: list[float], patience: int) -> tuple[training.History, float, list[float]]:
    """A run whose validation losses are given: its history, the last weight, one an epoch."""
    model, losses, weights = nn.Linear(1, 1, bias=False), iter(validation), []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            weights.append(model.weight.item())
            return torch.tensor(next(losses))
        return output.mean()

    data = torch.ones(2, 1), torch.ones(2, 1)
    history = training.fit(
        model, loss, data, validation=data, epochs=len(validation), patience=patience,
        optimizer=training.SGD(model.parameters(), lr=0.1), **FIT,
    )  # fmt: skip
    return history, model.weight.item(), weights


@pytest.mark.parametrize(
    ("validation", "patience", "epochs", "best"),
    [
        ([3, 2, 1, 2, 3, 4], 2, 5, 3),
        ([3, 2, 1, 2, 0.5, 4], 2, 6, 5),
        ([3, 2, 1], 2, 3, 3),
        ([1, 1, 1, 1], 2, 3, 1),
        ([3, math.nan, 2, math.nan, 4], 2, 5, 3),
        ([1, 2, 0], 1, 2, 1),
    ],
)
def test_stops_early_with_the_best_weights(
    validation: list[float], patience: int, epochs: int, best: int
) -> None:
    history, weight, weights = scripted([float(loss) for loss in validation], patience)
    assert len(history.epochs) == epochs
    assert history.best_epoch == best
    assert weight == weights[best - 1]


def test_stops_early_if_there_is_never_a_number() -> None:
    history, weight, weights = scripted([math.nan] * 5, patience=2)
    assert len(history.epochs) == 2
    assert history.best_epoch is None
    assert weight == weights[-1]


# --- a loss that is no number ---------------------------------------------------------------------


def diverging(at: int, bad: float = math.nan) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss that is bad at one training step, counted from 1."""
    steps = 0

    def loss(output: Tensor, target: Tensor) -> Tensor:
        nonlocal steps
        steps += torch.is_grad_enabled()
        return F.cross_entropy(output, target) + (bad if steps == at else 0.0)

    return loss


class Bundled(Meter):
    """A meter that reads as if on a GPU, so that the step is found later."""

    def __init__(self, names: list[str], team: Team) -> None:
        super().__init__(names, team)
        self._bundle = 4


def message_of(error: pytest.ExceptionInfo[FloatingPointError]) -> str:
    return str(error.value)


@pytest.mark.parametrize("bundled", [False, True])
@pytest.mark.parametrize("at", [1, 2, 5, 6, 9, STEPS])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_reported_where_it_comes(
    at: int, bad: float, bundled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bundled:
        monkeypatch.setattr(loop, "Meter", Bundled)
    with pytest.raises(FloatingPointError) as error:
        training_runs.run(None, loss=diverging(at, bad))
    epoch, batch = divmod(at - 1, -(-EXAMPLES // BATCH))
    message = message_of(error)
    assert f"expected a finite number, got {bad} in epoch {epoch + 1}, step {at}," in message
    assert f"batch {batch + 1} of the epoch (examples " in message
    step_size = 0.02 * training.warmup_cosine(at - 1, STEPS, 3, 0.1)
    assert f"step size: {step_size:.4g}" in message
    assert ("losses before it: none" in message) == (at == 1)
    assert ("norm in the step before: not known" in message) == (at == 1)


def test_what_led_to_it_is_told() -> None:
    model = linear()
    with pytest.raises(FloatingPointError) as error:
        training.fit(
            model, F.mse_loss, (torch.ones(4, 6), torch.zeros(4, 2)), epochs=99, batch_size=2,
            optimizer=training.SGD(model.parameters(), lr=1e3), **FIT,
        )  # fmt: skip
    message = message_of(error)
    before = message.partition("losses before it: ")[2].partition(";")[0].split(", ")
    assert len(before) == 5
    numbers = [float(loss) for loss in before]
    assert numbers == sorted(numbers)
    norm = float(message.partition("step before: ")[2].partition(";")[0])
    assert norm > 1e9
    assert "their inputs are all finite" in message


def test_a_broken_input_is_named() -> None:
    inputs, targets = examples()
    inputs[7, 2] = math.nan
    order = torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(0)).tolist()
    batch = order.index(7) // BATCH
    model = linear()
    with pytest.raises(FloatingPointError) as error:
        training.fit(
            model, F.cross_entropy, (inputs, targets), epochs=1, batch_size=BATCH,
            optimizer=training.SGD(model.parameters()), **FIT,
        )  # fmt: skip
    shown = ", ".join(map(str, order[BATCH * batch :][:BATCH]))
    assert f"batch {batch + 1} of the epoch (examples {shown}" in message_of(error)
    assert "their inputs are NOT all finite" in message_of(error)


def test_on_the_cpu_the_weights_are_those_before_the_bad_step() -> None:
    model, seen = linear(), []

    class Watch(training.SGD):
        def step(self) -> None:
            super().step()
            seen.append({name: value.clone() for name, value in model.state_dict().items()})

    with pytest.raises(FloatingPointError):
        training.fit(
            model, diverging(4), examples(), epochs=1, batch_size=BATCH,
            optimizer=Watch(model.parameters()), **FIT,
        )  # fmt: skip
    assert len(seen) == 3
    assert_identical(model.state_dict(), seen[-1])


@pytest.mark.parametrize("bundled", [False, True])
def test_a_bad_state_is_never_saved(
    bundled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bundled:
        monkeypatch.setattr(loop, "Meter", Bundled)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(FloatingPointError, match="step 8,"):
        training_runs.run(path, loss=diverging(8), checkpoint_every=1)
    saved = torch.load(path, weights_only=True)
    assert saved["position"]["step"] == 7
    assert_same_run(training_runs.run(path), training_runs.run(None))


def test_reads_in_bundles_and_measures_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = training_runs.run(None)
    monkeypatch.setattr(loop, "Meter", Bundled)
    assert_same_run(training_runs.run(None), expected)


@pytest.mark.parametrize("count", [6, 7, 11, 12])
def test_batches_may_have_to_be_full(count: int) -> None:
    team = Team(0, 1, torch.device("cpu"))
    rows = torch.arange(count)
    batches = Batches(
        "data", (rows, rows), 6, team, torch.Generator().manual_seed(0), drop_last=True
    )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    found = [batch.inputs for batch in batches.start()]
    assert len(batches) == len(found) == count // 6
    assert torch.equal(torch.cat(found), order[: count // 6 * 6])
    assert [batch.examples for batch in batches.start(skip=1)] == [6] * (count // 6 - 1)


def test_too_few_for_a_full_batch() -> None:
    team, rows = Team(0, 1, torch.device("cpu")), torch.arange(5)
    with pytest.raises(ValueError, match="data: expected at least one batch of 6 examples, got 5"):
        Batches("data", (rows, rows), 6, team, drop_last=True)
    assert len(Batches("data", (rows, rows), 6, team)) == 1


# --- stopped and resumed --------------------------------------------------------------------------

KINDS = ["tensors", "list", "loader", "loader with generator", "loader of noise"]


class PulledPlugError(Exception):
    """What a test raises to stop a run."""


def stopping(at: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss that stops the run at one of its calls, counted from 1."""
    calls = 0

    def loss(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == at:
            raise PulledPlugError
        return F.cross_entropy(output, target)

    return loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("every", [None, 1, 3])
def test_resumes_bit_for_bit_wherever_it_was_stopped(
    kind: str, every: int | None, tmp_path: Path
) -> None:
    expected = training_runs.run(None, kind)
    for at in range(1, 8 * EPOCHS, 7 if every == 1 else 5):
        path = tmp_path / f"{at}.pt"
        with pytest.raises(PulledPlugError):
            training_runs.run(path, kind, stopping(at), checkpoint_every=every)
        assert_same_run(training_runs.run(path, kind, checkpoint_every=every), expected)


@pytest.mark.parametrize(
    "optimizer",
    [training.SGD, training.RMSprop, training.Adam, torch.optim.SGD, torch.optim.AdamW],
)
def test_resumes_with_any_optimizer(optimizer: type, tmp_path: Path) -> None:
    expected = training_runs.run(None, optimizer=optimizer)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(PulledPlugError):
        training_runs.run(path, "tensors", stopping(17), optimizer, checkpoint_every=2)
    assert_same_run(training_runs.run(path, optimizer=optimizer), expected)


def test_resumes_with_scaled_losses(tmp_path: Path) -> None:
    """So large that the scale has to come down, and updates are left out until it has."""

    def large(loss: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda output, target: 300 * loss(output, target)

    options: dict[str, Any] = {"precision": "float16"}
    expected = training_runs.run(None, loss=large(F.cross_entropy), **options)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(PulledPlugError):
        training_runs.run(path, loss=large(stopping(17)), checkpoint_every=2, **options)
    assert 1 < torch.load(path, weights_only=True)["scaler"]["scale"] < 2**16
    found = training_runs.run(path, loss=large(F.cross_entropy), **options)
    assert_same_run(found, expected)


def test_resumes_with_the_step_sizes_of_the_checkpoint(tmp_path: Path) -> None:
    expected, path = training_runs.run(None), tmp_path / "checkpoint.pt"
    with pytest.raises(PulledPlugError):
        training_runs.run(path, loss=stopping(13))
    assert_same_run(training_runs.run(path, lr=0.5), expected)


def test_a_run_can_be_stopped_again_and_again(tmp_path: Path) -> None:
    expected, path, stops = training_runs.run(None), tmp_path / "checkpoint.pt", 0
    found = None
    while found is None:
        try:  # each life lasts long enough for a step and the validation
            found = training_runs.run(path, loss=stopping(5), checkpoint_every=1)
        except PulledPlugError:
            stops += 1
    assert stops > 5
    assert_same_run(found, expected)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    first = training_runs.run(path)
    assert_same_run(training_runs.run(path, loss=stopping(1)), first)


def test_a_finished_run_can_be_made_longer(tmp_path: Path) -> None:
    path, options = tmp_path / "checkpoint.pt", {"patience": None}
    training_runs.run(path, epochs=2, **options)
    assert_same_run(training_runs.run(path, **options), training_runs.run(None, **options))


def test_resumed_patience_remembers_the_best(tmp_path: Path) -> None:
    expected, path = training_runs.run(None, patience=1, epochs=30), tmp_path / "checkpoint.pt"
    assert len(expected[1].epochs) < 30
    for at in (9, 17, 25):
        path.unlink(missing_ok=True)
        with pytest.raises(PulledPlugError):
            training_runs.run(path, "tensors", stopping(at), patience=1, epochs=30)
        assert_same_run(training_runs.run(path, patience=1, epochs=30), expected)


def test_without_resume_a_checkpoint_is_written_over(tmp_path: Path) -> None:
    path, expected = tmp_path / "checkpoint.pt", training_runs.run(None)
    training_runs.run(path, epochs=1)
    model = network()
    before = path.read_bytes()
    training.fit(
        model, F.cross_entropy, examples(), epochs=1, checkpoint=path,
        optimizer=training.SGD(model.parameters()), **FIT,
    )  # fmt: skip
    assert path.read_bytes() != before
    path.unlink()
    assert_same_run(training_runs.run(path), expected)  # nothing there: from the start


def test_checkpoint_folder_is_made(tmp_path: Path) -> None:
    training_runs.run(tmp_path / "new" / "folder" / "checkpoint.pt", epochs=1)
    assert names_in(tmp_path / "new" / "folder") == ["checkpoint.pt"]


# --- interrupted ----------------------------------------------------------------------------------


def interrupting(at: int, times: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss during which Ctrl-C is pressed, at one of its calls."""
    calls = 0

    def loss(output: Tensor, target: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == at:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return F.cross_entropy(output, target)

    return loss


@pytest.mark.parametrize("at", [1, 3, 8, 9, 20])
def test_interrupt_waits_for_the_step_and_leaves_a_checkpoint(at: int, tmp_path: Path) -> None:
    path, handler = tmp_path / "checkpoint.pt", signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        training_runs.run(path, loss=interrupting(at))
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.load(path, weights_only=True)["position"]["step"] >= 1
    assert_same_run(training_runs.run(path), training_runs.run(None))


def test_interrupted_weights_are_those_of_a_whole_step(tmp_path: Path) -> None:
    """Ctrl-C comes in the middle of an update."""
    model, path = linear(), tmp_path / "checkpoint.pt"

    class Slow(training.SGD):
        def _update(self, param: Tensor, *rest: Any) -> None:
            super()._update(param, *rest)
            if param is model.weight:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        training.fit(
            model, F.cross_entropy, examples(), epochs=1, batch_size=BATCH, checkpoint=path,
            optimizer=Slow(model.parameters(), lr=0.1), **FIT,
        )  # fmt: skip
    other, order = linear(), torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(0))
    inputs, targets = (part[order[:BATCH]] for part in examples())
    F.cross_entropy(other(inputs), targets).backward()
    training.SGD(other.parameters(), lr=0.1).step()
    assert_identical(model.state_dict(), other.state_dict())
    assert_identical(torch.load(path, weights_only=True)["model"], other.state_dict())


def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        training_runs.run(path, loss=interrupting(3, times=2))
    assert not path.exists()


def test_interrupts_without_a_checkpoint() -> None:
    with pytest.raises(KeyboardInterrupt):
        training_runs.run(None, loss=interrupting(3))


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, history = training_runs.run(None, loss=interrupting(3))
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(history.epochs) == EPOCHS


def test_trains_in_a_thread_too() -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(training_runs.run(None)))
    thread.start()
    thread.join()
    assert_same_run(found[0], training_runs.run(None))


# --- killed ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill it at random moments, until one of its lives is long enough."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training_runs"])  # so that a new life begins at once
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    checkpoint, result = tmp_path / "checkpoint.pt", tmp_path / "result"
    chance, kills, steps = random.Random(0), 0, set()
    for life in range(100):
        process = context.Process(target=training_runs.run_and_save, args=(checkpoint, result, 0.1))
        process.start()
        process.join(timeout=chance.uniform(0.1, 0.6) * (1 + life / 10))
        if process.exitcode is None:
            process.kill()
            kills += 1
        process.join()
        if checkpoint.exists():  # readable at every moment
            steps.add(torch.load(checkpoint, weights_only=True)["position"]["step"])
        if result.exists():
            break
        assert process.exitcode == -signal.SIGKILL
    weights, train_loss, validation_loss, metrics = torch.load(result, weights_only=True)
    expected, history = training_runs.run(None)
    assert_identical(weights, expected)
    assert (train_loss, validation_loss) == (history.train_loss, history.validation_loss)
    assert metrics == history.metrics
    assert kills >= 3
    assert len(steps) >= 3  # not all of them before the first step


def test_a_checkpoint_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    for owner, name in ((torch, "save"), (os, "fsync"), (Path, "replace")):
        with monkeypatch.context() as patch:

            def fail(*args: Any) -> None:
                if args and hasattr(args[-1], "write"):
                    args[-1].write(b"half of a ")
                raise PulledPlugError

            patch.setattr(owner, name, fail)
            with pytest.raises(PulledPlugError):
                save_checkpoint(path, {"step": 2})
        assert torch.load(path, weights_only=True) == {"step": 1}
    save_checkpoint(path, {"step": 3})
    assert torch.load(path, weights_only=True) == {"step": 3}
    assert names_in(tmp_path) == ["checkpoint.pt"]


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: done.append("sync") or sync(number))
    monkeypatch.setattr(
        Path, "replace", lambda path, to: done.append("replace") or replace(path, to)
    )
    save_checkpoint(tmp_path / "checkpoint.pt", {})
    assert done == ["sync", "replace", "sync"]


def test_random_states_come_back() -> None:
    import numpy as np

    def draw() -> list[float]:
        normal = np.random.randn()  # noqa: NPY002
        return [random.random(), random.gauss(0, 1), normal, torch.rand(()).item()]

    draw()
    state = random_state()
    first = draw()
    draw()
    set_random_state(state)
    assert draw() == first


# --- several processes ----------------------------------------------------------------------------


def torchrun(folder: Path, *arguments: str, restarts: int = 0) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
        f"--max-restarts={restarts}", training_runs.__file__, str(folder), *arguments,
    ]  # fmt: skip
    return subprocess.run(
        command, env={**os.environ, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "fault", "accumulate"),
    [
        ("tensors", "none", 1),
        ("tensors", "killed", 1),
        ("loader", "none", 1),
        ("tensors", "none", 2),
        ("loader", "killed", 2),
    ],
)
def test_two_processes_do_what_one_does(
    kind: str, fault: str, accumulate: int, tmp_path: Path
) -> None:
    done = torchrun(tmp_path, kind, fault, str(accumulate), restarts=1)
    assert done.returncode == 0, done.stderr
    weights, history = training_runs.together(kind=kind, accumulate=accumulate)
    for rank in (0, 1):
        found, measured = torch.load(tmp_path / f"result of {rank}", weights_only=True)
        for name, value in found.items():
            torch.testing.assert_close(value, weights[name], rtol=1e-10, atol=1e-10)
        assert measured["train_loss"] == pytest.approx(history.train_loss, rel=1e-10)
        assert measured["validation_loss"] == pytest.approx(history.validation_loss, rel=1e-10)
        assert measured["metrics"].keys() == history.metrics.keys()
        for name, values in history.metrics.items():
            assert measured["metrics"][name] == pytest.approx(values, rel=1e-7)  # float32
    assert (tmp_path / "noted by 0").read_text().split() == ["1", "2", "3"]
    assert not (tmp_path / "noted by 1").exists()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["position"]["epoch"] == 3
    if fault == "none":
        steps = 15 if accumulate == 1 else 9
        assert done.stderr.count(f"{steps}/{steps}") >= 1


@pytest.mark.slow
def test_a_process_that_fails_ends_the_whole_run(tmp_path: Path) -> None:
    start = time.monotonic()
    done = torchrun(tmp_path, "tensors", "raises")
    assert done.returncode != 0
    assert "RuntimeError: the second process has failed" in done.stderr
    assert time.monotonic() - start < 120


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("size", [1, 2])
def test_gradients_are_added_up_when_they_are_whole(size: int, whole: bool) -> None:
    """Of several batches for a step, only the last makes the processes talk to each other."""

    class Parallel(nn.Identity):
        alone = False

        @contextmanager
        def no_sync(self) -> Iterator[None]:
            self.alone = True
            yield
            self.alone = False

    model = Parallel()
    with Team(0, size, torch.device("cpu")).together(model, whole):
        assert model.alone is (size > 1 and not whole)
    assert not model.alone


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_parts_of_a_batch_make_its_mean(length: int, size: int) -> None:
    values = torch.rand(length, dtype=torch.float64)
    if length == 0:
        return
    parts = [Team(rank, size, torch.device("cpu")).part(length) for rank in range(size)]
    total = sum(values[mine].mean() * factor for mine, factor in parts) / size
    assert float(total) == pytest.approx(float(values.mean()))
    seen = sorted(n for mine, factor in parts if factor for n in range(length)[mine])
    assert seen == list(range(length))


# --- what it refuses ------------------------------------------------------------------------------


def fit(**changes: Any) -> training.History:
    """A call that is right, but for what is changed."""
    model = changes.pop("model", linear())
    arguments: dict[str, Any] = {
        "loss": F.cross_entropy,
        "train": examples(),
        "optimizer": training.SGD(model.parameters()),
        "epochs": 1,
        **FIT,
    }
    return training.fit(model, **{**arguments, **changes})


def test_a_batch_may_be_larger_than_the_data() -> None:
    history = fit(batch_size=1000, epochs=2)
    assert len(history.train_loss) == 2


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        (
            {"train": (torch.zeros(0, 6), torch.zeros(0).long())},
            ValueError,
            "train: expected at least one example, got none",
        ),
        (
            {"train": (torch.zeros(3, 6), torch.zeros(2).long())},
            ValueError,
            r"train: expected one target for each input, got inputs of shape \(3, 6\)",
        ),
        ({"train": (torch.zeros(3, 6), torch.tensor(1))}, ValueError, "one target for each input"),
        ({"train": (torch.zeros(3, 6),)}, ValueError, r"expected \(inputs, targets\), got 1"),
        ({"train": 3}, TypeError, "train: expected .* or batches, got 3"),
        ({"train": [7]}, ValueError, r"train: expected batches \(inputs, targets\), got 7"),
        ({"train": iter([])}, ValueError, "train: expected batches in epoch 1, got none"),
        (
            {"validation": (torch.zeros(3, 6), torch.zeros(2).long())},
            ValueError,
            "validation: expected one target",
        ),
        ({"batch_size": 0}, ValueError, "batch_size: expected an integer >= 1"),
        ({"batch_size": 2.0}, TypeError, "batch_size: expected an integer"),
        ({"accumulate": 0}, ValueError, "accumulate: expected an integer >= 1"),
        ({"epochs": -1}, ValueError, "epochs: expected an integer >= 0"),
        ({"precision": "half"}, ValueError, "precision: expected one of 'float32', 'bfloat16'"),
        ({"clip_norm": -1.0}, ValueError, "clip_norm: expected a finite number >= 0"),
        ({"patience": 0, "validation": examples()}, ValueError, "patience: expected an integer"),
        ({"patience": 3}, ValueError, "patience: expected validation data"),
        ({"resume": True}, ValueError, "checkpoint: expected a path"),
        ({"checkpoint_every": 3}, ValueError, "checkpoint: expected a path"),
        (
            {"loss": lambda output, target: F.cross_entropy(output, target, reduction="none")},
            ValueError,
            r"loss: expected 0 dimensions, got a tensor of shape \(37,\)",
        ),
        (
            {"metrics": {"one": lambda output, target: 1.0}},
            TypeError,
            r"metrics\['one'\]: expected a tensor, got 1.0",
        ),
        ({"checkpoint_every": 0, "checkpoint": "x"}, ValueError, "checkpoint_every: expected an"),
    ],
)  # fmt: skip
def test_refuses(changes: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        fit(**changes)


def test_batches_need_not_be_counted(capsys: pytest.CaptureFixture[str]) -> None:
    class Stream(IterableDataset[tuple[Tensor, Tensor]]):
        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            return iter(zip(*examples(), strict=True))

    history = fit(train=DataLoader(Stream(), BATCH), epochs=2, progress=True)
    assert len(history.epochs) == 2
    assert "10 steps" in capsys.readouterr().err


def test_resumed_without_patience_it_keeps_the_last_weights(tmp_path: Path) -> None:
    path, seen = tmp_path / "checkpoint.pt", []
    options: dict[str, Any] = {"validation": examples(20, seed=1), "checkpoint": path}
    fit(epochs=2, patience=2, **options)
    model = linear()
    fit(
        model=model, epochs=4, resume=True, **options,
        on_epoch=lambda history: seen.append(copied_weights(model)),
    )  # fmt: skip
    assert_identical(model.state_dict(), seen[-1])


def test_batches_that_come_only_once_are_found_out() -> None:
    inputs, targets = examples()
    once = iter([(inputs, targets)])
    with pytest.raises(ValueError, match="train: expected batches in epoch 2, got none"):
        fit(train=once, epochs=2)


def changed(parameters: int = 6) -> nn.Module:
    return nn.Linear(parameters, 2)


OTHERS: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "more inputs": (
        lambda: {"model": changed(7), "train": (torch.zeros(37, 7), torch.zeros(37).long())},
        r"this model, with weight of shape \(2, 7\), got \(2, 6\)",
    ),
    "other names": (
        lambda: {"model": nn.Sequential(changed())},
        "this model, with 0.weight of shape .*, got none",
    ),
    "more layers": (
        lambda: {"model": nn.Sequential(changed(), nn.Linear(2, 2))},
        "this model, with 0.weight of shape .*, got none",
    ),
    "other data": (
        lambda: {"train": examples(12)},
        r"a run on \(examples, batch size\) = \[12, 64\], got \[37, 64\]",
    ),
    "other batches": (
        lambda: {"batch_size": 5},
        r"a run on \(examples, batch size\) = \[37, 5\], got \[37, 64\]",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_checkpoint_of_something_else_is_refused_and_nothing_is_changed(
    name: str, tmp_path: Path
) -> None:
    make, says = OTHERS[name]
    path = tmp_path / "checkpoint.pt"
    fit(checkpoint=path)
    changes = make()
    model = changes.pop("model", linear())
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"checkpoint: expected one of {says} in .*checkpoint.pt"):
        fit(model=model, checkpoint=path, resume=True, **changes)
    assert_identical(model.state_dict(), before)


def test_checkpoint_of_another_optimizer_is_refused(tmp_path: Path) -> None:
    model, path = linear(), tmp_path / "checkpoint.pt"
    fit(checkpoint=path)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for optimizer, says in (
        (training.Adam(model.parameters()), "expected one of Adam, got one of SGD"),
        (training.SGD([model.weight]), r"expected groups of \[1\] parameters, got \[2\]"),
    ):
        with pytest.raises(ValueError, match=says):
            fit(model=model, optimizer=optimizer, checkpoint=path, resume=True)
    assert_identical(model.state_dict(), before)


def test_torchs_optimizer_goes_on_where_ours_stopped(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    expected = training_runs.run(None, optimizer=training.AdamW)
    with pytest.raises(PulledPlugError):
        training_runs.run(path, "tensors", stopping(13), training.AdamW)
    weights, _ = training_runs.run(path, optimizer=torch.optim.AdamW)
    for name, value in weights.items():
        torch.testing.assert_close(value, expected[0][name], rtol=1e-5, atol=1e-6)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(linear().state_dict(), path)
    with pytest.raises(ValueError, match=r"expected one that fit wrote, got .*weights\.pt"):
        fit(checkpoint=path, resume=True)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "checkpoint.pt"
    torch.save({"model": Bomb()}, path)
    with pytest.raises(Exception, match=r"[Ww]eights"):
        fit(checkpoint=path, resume=True)
    assert not (tmp_path / "ran").exists()


# --- the search for a step size -------------------------------------------------------------------


def search(model: nn.Module, **options: Any) -> Any:
    optimizer = options.pop("optimizer", None) or training.SGD(model.parameters(), lr=0.3)
    return training.find_learning_rate(
        model, F.cross_entropy, examples(), optimizer=optimizer, batch_size=BATCH, device="cpu",
        **options,
    )  # fmt: skip


def test_step_sizes_grow_by_one_factor_until_it_falls_apart() -> None:
    found = search(linear(), lowest=1e-4, highest=1e4, steps=60)
    ratios = [b / a for a, b in zip(found.lrs, found.lrs[1:], strict=False)]
    assert found.lrs[0] == 1e-4
    assert ratios == pytest.approx([1e8 ** (1 / 59)] * len(ratios))
    assert len(found.losses) == len(found.lrs) < 60
    assert min(found.losses) < found.losses[0]
    assert max(found.losses) <= 4 * min(found.losses)


def test_first_loss_is_the_first_batchs_and_the_rest_are_smoothed() -> None:
    model, order = linear(), torch.randperm(EXAMPLES, generator=torch.Generator().manual_seed(0))
    inputs, targets = examples()
    losses = [
        F.cross_entropy(model(inputs[part]), targets[part]).item() for part in order.split(BATCH)
    ]
    found = search(model, lowest=1e-12, highest=1e-11, steps=3, smoothing=0.5)
    assert found.losses[0] == pytest.approx(losses[0])
    assert found.losses[1] == pytest.approx((losses[0] + 2 * losses[1]) / 3)
    assert found.losses[2] == pytest.approx((losses[0] + 2 * losses[1] + 4 * losses[2]) / 7)


@pytest.mark.parametrize("optimizer", [training.Adam, torch.optim.Adam])
@pytest.mark.parametrize("training_mode", [True, False])
def test_search_leaves_everything_as_it_was(optimizer: type, training_mode: bool) -> None:
    torch.manual_seed(0)
    model = network().train(training_mode)
    made = optimizer(model.parameters(), lr=0.3)
    F.cross_entropy(model(examples()[0]), examples()[1]).backward()
    made.step()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {key: value.clone() for key, value in made.state_dict()["state"][0].items()}
    chance = random_state()
    search(model, optimizer=made)
    assert_identical(model.state_dict(), before)
    assert_identical(made.state_dict()["state"][0], state)
    assert made.param_groups[0]["lr"] == 0.3
    assert torch.equal(random_state()["torch"], chance["torch"])
    assert model.training is training_mode
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"lowest": 0.0}, "lowest: expected a number above 0"),
        ({"lowest": 1.0, "highest": 0.1}, "highest: expected a finite number >= 1.0"),
        ({"steps": 1}, "steps: expected an integer >= 2"),
        ({"smoothing": 1.0}, "smoothing: expected a finite number >= 0 < 1"),
    ],
)
def test_search_refuses(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        search(linear(), **options)
