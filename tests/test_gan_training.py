"""`fit_gan`: what a step computes, and that a run can be stopped, killed and resumed."""

from __future__ import annotations

import copy
import multiprocessing
import os
import random
import signal
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

import gan_runs
import training_runs
from course_lib import gan as topic
from course_lib import training
from course_lib.classification import Augment
from gan_runs import BATCH, STEPS, scans
from tree import ROOT

PYTHONPATH = os.pathsep.join([str(ROOT), str(Path(gan_runs.__file__).parent)])
FIT: dict[str, Any] = {"device": "cpu", "progress": False, "batch_size": BATCH}

Weights = dict[str, Tensor]
Outcome = tuple[Weights, topic.GanHistory]


def assert_identical(ours: Weights, theirs: Weights) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def assert_same_run(ours: Outcome, theirs: Outcome) -> None:
    """Bit for bit, apart from the time that it took."""
    assert_identical(ours[0], theirs[0])
    for part in ("discriminator_loss", "generator_loss", "real", "fake"):
        assert getattr(ours[1], part) == getattr(theirs[1], part), part
    assert len(ours[1].seconds) == len(theirs[1].seconds) == len(ours[1].epochs)


def players(seed: int = 0) -> tuple[topic.Generator, topic.Discriminator]:
    torch.manual_seed(seed)
    return topic.Generator(5, width=4), topic.Discriminator(width=4)


def optimizers(
    *networks: nn.Module, kind: type = torch.optim.SGD, lr: float = 0.1
) -> dict[str, Any]:
    generator, discriminator = networks
    return {
        "generator_optimizer": kind(generator.parameters(), lr=lr),
        "discriminator_optimizer": kind(discriminator.parameters(), lr=lr),
    }


# --- what it computes -----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", topic.KINDS)
@pytest.mark.parametrize("penalty", topic.PENALTIES)
@pytest.mark.parametrize("turns", [1, 2])
def test_is_the_loop_that_one_writes_by_hand(loss: str, penalty: str | None, turns: int) -> None:
    """Made pictures computed anew in each turn, real and made ones judged apart."""
    images, _ = scans(27)
    pair, ours = players(), players()
    average = copy.deepcopy(ours[0])
    history = topic.fit_gan(
        *ours, images, **optimizers(*ours), epochs=2, loss=loss, penalty=penalty,
        penalty_weight=0.3, penalty_every=2, discriminator_steps=turns, average=average,
        decay=0.6, seed=4, **FIT,
    )  # fmt: skip

    generator, discriminator = pair
    steps, mean = optimizers(*pair), copy.deepcopy(generator).state_dict()
    chance, step, measured = torch.Generator().manual_seed(4), 0, []
    for _ in range(2):
        order, values = torch.randperm(27, generator=chance), []
        for batch in order.split(BATCH * turns):
            if len(batch) < BATCH * turns:
                continue
            for turn in batch.split(BATCH):
                latent = torch.randn(BATCH, 5, generator=chance)
                buffers = copy.deepcopy(dict(generator.named_buffers()))
                fake, real = generator(latent).detach(), images[turn]
                on_real, on_fake = discriminator(real), discriminator(fake)
                value = topic.discriminator_loss(on_real, on_fake, loss)
                total = value
                if penalty and step % 2 == 0:
                    slope = (
                        topic.r1_penalty(discriminator, real)
                        if penalty == "r1"
                        else topic.gradient_penalty(discriminator, real, fake, chance)
                    )
                    total = value + 0.6 * slope  # it weighs for two steps
                discriminator.zero_grad()
                total.backward()
                steps["discriminator_optimizer"].step()
            generator.load_state_dict(buffers, strict=False)  # the second pass counts once
            verdict = topic.generator_loss(discriminator(generator(latent)), loss)
            generator.zero_grad()
            verdict.backward()
            steps["generator_optimizer"].step()
            decay = min(0.6, (step + 1) / (step + 10))
            for name, weight in generator.state_dict().items():
                mean[name] = decay * mean[name] + (1 - decay) * weight
            step += 1
            values.append(
                [number.item() for number in (value, verdict, on_real.mean(), on_fake.mean())]
            )
        measured.append(torch.tensor(values).mean(0))

    for mine, theirs in zip(ours, pair, strict=True):
        for name, value in mine.state_dict().items():
            torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-4, atol=1e-5)
    for name, value in average.named_parameters():
        torch.testing.assert_close(value, mean[name], rtol=1e-4, atol=1e-5)
    found = torch.tensor(
        [history.discriminator_loss, history.generator_loss, history.real, history.fake]
    )
    torch.testing.assert_close(found.T, torch.stack(measured), rtol=1e-4, atol=1e-4)


def test_makes_its_pictures_once_a_step() -> None:
    pair, made = players(), []
    pair[0].register_forward_hook(lambda *_: made.append(1))
    topic.fit_gan(*pair, scans()[0], **optimizers(*pair), epochs=1, **FIT)
    assert len(made) == len(scans()[0]) // BATCH


def test_each_player_learns_in_its_own_turn_only() -> None:
    """The generator's turn leaves no gradient with the discriminator, nor the other way round."""
    pair, turns = players(), []

    def gradients(network: nn.Module) -> list[Tensor]:
        return [torch.zeros(()) if p.grad is None else p.grad.clone() for p in network.parameters()]

    class Watching(torch.optim.SGD):
        """Notes whose turn it is, and both players' gradients."""

        def step(self, closure: Any = None) -> None:
            first = self.param_groups[0]["params"][0]
            mine = 0 if first is next(pair[0].parameters()) else 1
            turns.append((mine, gradients(pair[0]), gradients(pair[1])))
            super().step(closure)

    topic.fit_gan(*pair, scans()[0], **optimizers(*pair, kind=Watching), epochs=1, **FIT)
    assert [mine for mine, *_ in turns] == [1, 0] * (len(turns) // 2)
    assert all((gradient == 0).all() for gradient in turns[0][1])  # it has had no turn yet
    for before, now in pairwise(turns):
        other = 2 - now[0]  # where the gradients of the one stand whose turn it is not
        assert all(torch.equal(a, b) for a, b in zip(before[other], now[other], strict=True))
        assert any((gradient != 0).any() for gradient in now[1 + now[0]])


def test_conditions_go_with_their_pictures() -> None:
    images, labels = scans()
    generator = topic.ConditionalGenerator(nn.Embedding(10, 3), 5, width=4)

    class Checking(topic.ConditionalDiscriminator):
        def forward(self, images: Tensor, condition: Tensor) -> Tensor:
            if len(condition) == 2 * BATCH:
                assert torch.equal(condition[:BATCH], condition[BATCH:])
                for image, label in zip(images[:BATCH], condition, strict=False):
                    own = (scans()[0] == image).flatten(1).all(1).nonzero().item()
                    assert labels[own] == label
            return super().forward(images, condition)

    discriminator = Checking(nn.Embedding(10, 3), width=4)
    both = optimizers(generator, discriminator)
    history = topic.fit_gan(generator, discriminator, (images, labels), **both, epochs=2, **FIT)
    assert history.epochs == [1, 2]


def test_augments_real_and_made_ones_with_a_gradient() -> None:
    (generator, discriminator), sizes = players(), []

    def augment(images: Tensor) -> Tensor:
        sizes.append((len(images), images.requires_grad))
        return images.flip(3)

    before = copy.deepcopy(generator.state_dict())
    both = optimizers(generator, discriminator)
    topic.fit_gan(generator, discriminator, scans(12)[0], **both, epochs=1, augment=augment, **FIT)
    assert sizes == [(2 * BATCH, True)] * 2
    assert not torch.equal(before["layers.0.weight"], generator.state_dict()["layers.0.weight"])


def test_the_average_is_ready_to_use_and_the_players_go_on() -> None:
    generator, discriminator = players()
    average, modes = copy.deepcopy(generator), []
    both = optimizers(generator, discriminator)
    topic.fit_gan(
        generator, discriminator, scans()[0], **both, epochs=2, average=average,
        on_epoch=lambda history: modes.append((average.training, len(history.epochs))), **FIT,
    )  # fmt: skip
    assert modes == [(False, 1), (False, 2)]
    assert generator.training
    assert discriminator.training
    assert not average.training


def test_step_sizes_follow_the_schedule_and_come_back() -> None:
    generator, discriminator = players()
    both, seen = optimizers(generator, discriminator, lr=0.5), []
    both["discriminator_optimizer"].param_groups[0]["lr"] = 0.25

    def schedule(step: int) -> float:
        seen.append([each.param_groups[0]["lr"] for each in both.values()])
        return 1 / (step + 1)

    topic.fit_gan(
        generator, discriminator, scans(18)[0], **both, epochs=1, schedule=schedule, **FIT
    )
    assert seen == [[0.5, 0.25], [0.5, 0.25], [0.25, 0.125]]
    assert [each.param_groups[0]["lr"] for each in both.values()] == [0.5, 0.25]


def test_learns_a_simple_set() -> None:
    """Two pictures, one half of each is white; the generator finds both."""
    torch.manual_seed(0)
    pair = torch.zeros(2, 1, 8, 8)
    pair[0, :, :, :4] = pair[1, :, :, 4:] = 1
    generator, discriminator = topic.Generator(4, width=8), topic.Discriminator(width=8)
    kind: Any = partial(torch.optim.Adam, betas=(0.0, 0.99))
    both = optimizers(generator, discriminator, kind=kind, lr=0.005)
    average = copy.deepcopy(generator)
    topic.fit_gan(
        generator, discriminator, pair.repeat(32, 1, 1, 1), **both, epochs=80, loss="hinge",
        penalty="r1", penalty_weight=0.05, penalty_every=4, average=average, decay=0.98,
        device="cpu", progress=False, batch_size=32,
    )  # fmt: skip
    with torch.no_grad():
        made = average(torch.randn(200, 4))
    distance = torch.cdist(made.flatten(1), pair.flatten(1))  # a grey picture is 4 from both
    assert distance.min(1).values.median() < 2
    assert 20 < (distance.argmin(1) == 0).sum() < 180


# --- the average ----------------------------------------------------------------------------------


def test_update_average() -> None:
    model, average = players(1)[0], players(2)[0]
    model(torch.randn(4, 5))
    before = copy.deepcopy(average.state_dict())
    topic.update_average(average, model, 0.9)
    for name, value in average.state_dict().items():
        theirs = model.state_dict()[name]
        expected = 0.9 * before[name] + 0.1 * theirs if value.is_floating_point() else theirs
        torch.testing.assert_close(value, expected)
        assert not value.requires_grad
    assert all(parameter.grad_fn is None for parameter in average.parameters())


def test_update_average_of_another_network() -> None:
    generator, discriminator = players()
    with pytest.raises(ValueError, match="average: expected a copy"):
        topic.update_average(discriminator, generator, 0.9)
    with pytest.raises(ValueError, match="decay"):
        topic.update_average(generator, generator, 1.0)


# --- stopped, interrupted, killed -----------------------------------------------------------------


class PulledPlugError(Exception):
    """What a test raises to stop a run."""


def stopping(at: int) -> Callable[[], None]:
    calls = 0

    def watch() -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise PulledPlugError

    return watch


@pytest.mark.parametrize("every", [None, 1, 3])
@pytest.mark.parametrize("turns", [1, 2])
def test_resumes_bit_for_bit_wherever_it_was_stopped(
    every: int | None, turns: int, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"checkpoint_every": every, "discriminator_steps": turns}
    expected = gan_runs.run(None, discriminator_steps=turns)
    for at in (1, 2, 9, 16, 20):
        path = tmp_path / f"{at}.pt"
        with pytest.raises(PulledPlugError):
            gan_runs.run(path, stopping(at), **options)
        assert_same_run(gan_runs.run(path, **options), expected)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, training.RMSprop, torch.optim.SGD])
def test_resumes_with_any_optimizer(optimizer: type, tmp_path: Path) -> None:
    expected = gan_runs.run(None, optimizer=optimizer)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(PulledPlugError):
        gan_runs.run(path, stopping(17), optimizer, checkpoint_every=2)
    assert_same_run(gan_runs.run(path, optimizer=optimizer), expected)


@pytest.mark.parametrize("at", [1, 3, 17, 20])
def test_interrupt_waits_for_the_step_and_leaves_a_checkpoint(at: int, tmp_path: Path) -> None:
    path, handler, calls = tmp_path / "checkpoint.pt", signal.getsignal(signal.SIGINT), []

    def watch() -> None:
        calls.append(1)
        if len(calls) == at:
            signal.raise_signal(signal.SIGINT)  # Ctrl-C, in the middle of a turn

    with pytest.raises(KeyboardInterrupt):
        gan_runs.run(path, watch)
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.load(path, weights_only=True)["position"]["step"] >= 1
    assert_same_run(gan_runs.run(path), gan_runs.run(None))


def test_a_longer_run_goes_on_from_a_finished_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    assert gan_runs.run(path, epochs=2)[1].epochs == [1, 2]
    assert_same_run(gan_runs.run(path), gan_runs.run(None))


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill it at random moments, until one of its lives is long enough."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gan_runs"])  # so that a new life begins at once
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    checkpoint, result = tmp_path / "checkpoint.pt", tmp_path / "result"
    chance, kills, steps = random.Random(0), 0, set()
    for life in range(100):
        process = context.Process(target=gan_runs.run_and_save, args=(checkpoint, result, 0.2))
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
    weights, *losses = torch.load(result, weights_only=True)
    expected, history = gan_runs.run(None)
    assert_identical(weights, expected)
    assert losses == [history.discriminator_loss, history.generator_loss]
    assert kills >= 3
    assert len(steps) >= 3  # not all of them before the first step
    assert max(steps) == STEPS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 5}, r"\(examples, batch size\)"),
        ({"optimizer": torch.optim.AdamW}, "one of AdamW for the generator, got one of Adam"),
        ({"average": None}, "checkpoint: expected one of this model.*average"),
    ],
)
def test_checkpoint_of_something_else(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    gan_runs.run(path, epochs=1)
    with pytest.raises(ValueError, match=message):
        gan_runs.run(path, **changes)


def test_optimizers_in_other_groups_change_nothing(tmp_path: Path) -> None:
    path, both = tmp_path / "checkpoint.pt", players()
    topic.fit_gan(*both, scans()[0], **optimizers(*both), epochs=1, checkpoint=path, **FIT)
    again = players(1)
    before = copy.deepcopy(again[0].state_dict())
    wrong = optimizers(*again)
    wrong["discriminator_optimizer"] = torch.optim.SGD(again[1].head.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"groups of .* for the discriminator"):
        topic.fit_gan(*again, scans()[0], **wrong, epochs=1, checkpoint=path, resume=True, **FIT)
    assert_identical(again[0].state_dict(), before)


def test_a_checkpoint_of_fit_is_none_of_fit_gan(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    training_runs.run(path, epochs=1)
    with pytest.raises(ValueError, match="checkpoint: expected one of this model"):
        gan_runs.run(path)


# --- what cannot be ------------------------------------------------------------------------------


class Half(nn.Module):
    """A generator whose pictures are too small."""

    latent = 5

    def __init__(self) -> None:
        super().__init__()
        self.inner = topic.Generator(5, width=4)

    def forward(self, latent: Tensor) -> Tensor:
        return self.inner(latent)[:, :, ::2, ::2]


class Column(topic.Discriminator):
    """A discriminator that gives a column of scores."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, None]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs"),
        ({"loss": "cheating"}, ValueError, "loss: expected one of 'saturating'"),
        ({"penalty": "r2"}, ValueError, "penalty: expected one of None, 'r1', 'gradient'"),
        ({"penalty_weight": -1.0}, ValueError, "penalty_weight"),
        ({"penalty_every": 0}, ValueError, "penalty_every"),
        ({"discriminator_steps": 0}, ValueError, "discriminator_steps"),
        ({"decay": 1.0}, ValueError, "decay"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        (
            {"batch_size": 64},
            ValueError,
            "data: expected at least one batch of 64 examples, got 27",
        ),
        ({"resume": True}, ValueError, "checkpoint: expected a path"),
        ({"checkpoint_every": 3}, ValueError, "checkpoint: expected a path"),
        ({"data": "scans"}, TypeError, "data: expected pictures or"),
        ({"data": torch.zeros(20, 1, 8, 8).long()}, TypeError, "data: expected a floating"),
        ({"data": torch.zeros(20)}, ValueError, "data: expected pictures in rows"),
        ({"data": (scans()[0], scans()[1][:9])}, ValueError, "one target for each"),
        ({"generator": nn.Linear(5, 64)}, TypeError, "generator: .*latent.*got Linear"),
        ({"generator": Half()}, ValueError, r"generator: expected shape \(6, 1, 8, 8\)"),
        ({"discriminator": Column()}, ValueError, r"discriminator: expected shape \(12\)"),
        ({"average": topic.Generator(6, width=8)}, ValueError, "average: expected a copy"),
    ],
)
def test_wrong_arguments(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    generator, discriminator = players()
    given = {
        "generator": generator, "discriminator": discriminator, "data": scans()[0], "epochs": 1,
        **FIT, **changes,
    }  # fmt: skip
    with pytest.raises(error, match=message):
        topic.fit_gan(**given, **optimizers(given["generator"], given["discriminator"]))


def test_stops_when_the_loss_is_no_number(tmp_path: Path) -> None:
    generator, discriminator = players()
    images, path = scans()[0], tmp_path / "checkpoint.pt"
    images[7] = torch.nan
    with pytest.raises(FloatingPointError, match="their inputs are NOT all finite"):
        topic.fit_gan(
            generator, discriminator, images, **optimizers(generator, discriminator), epochs=3,
            checkpoint=path, checkpoint_every=1, **FIT,
        )  # fmt: skip
    if path.exists():  # only of the steps before
        saved = torch.load(path, weights_only=True)["model"]
        assert all(value.isfinite().all() for value in saved.values())


# --- for test_fake_cuda ---------------------------------------------------------------------------

LOOKS_AT_DATA = {"fit_gan"}


class _Generator(topic.ConditionalGenerator):
    """One that is there already: without a GPU there is no way to move one."""

    def _apply(self, fn: Any, recurse: bool = True) -> _Generator:
        return self


class _Discriminator(topic.ConditionalDiscriminator):
    def _apply(self, fn: Any, recurse: bool = True) -> _Discriminator:
        return self


def _fit(make: Any, device: torch.device) -> list[nn.Module]:
    with device:
        generator = _Generator(nn.Embedding(10, 3), 5, width=4)
        discriminator = _Discriminator(nn.Embedding(10, 3), width=4)
        average = _Generator(nn.Embedding(10, 3), 5, width=4)

    def backward(loss: Tensor, inputs: Any = None) -> None:  # without a GPU there is none on one
        assert loss.device == device
        for parameter in inputs or discriminator.parameters():
            parameter.grad = torch.ones_like(parameter)

    with mock.patch.object(Tensor, "backward", backward):
        topic.fit_gan(
            generator, discriminator, (torch.ones(9, 1, 8, 8), torch.zeros(9, dtype=torch.int64)),
            **optimizers(generator, discriminator, kind=training.SGD), epochs=2, batch_size=3,
            average=average, augment=Augment(shift=1), device=device, progress=False,
        )  # fmt: skip
    return [generator, discriminator, average]


def _average(make: Any, device: torch.device) -> nn.Module:
    with device:
        average, model = topic.Generator(5, width=4), topic.Generator(5, width=4)
    topic.update_average(average, model, 0.5)
    return average


CALLS: dict[str, Callable[..., Any]] = {"fit_gan": _fit, "update_average": _average}
