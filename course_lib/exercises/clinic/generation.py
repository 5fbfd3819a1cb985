"""The checks of the chapter `clinic`: patients that should make pictures, and do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.exercises import Case, Mistake, Watched, draw, halves

# --- 9: a turn of two players ---------------------------------------------------------------------

Losses = tuple[Tensor, Tensor]


def _judging(discriminator: nn.Module, real: Tensor, made: Tensor) -> Tensor:
    return F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(made)).mean()


def _fooling(score: Tensor) -> Tensor:
    return F.softplus(-score).mean()


def _starving(score: Tensor) -> Tensor:
    return -F.softplus(score).mean()


def _turn(
    generator: nn.Module,
    discriminator: nn.Module,
    real: Tensor,
    noise: Tensor,
    learn_g: torch.optim.Optimizer,
    learn_d: torch.optim.Optimizer,
    *,
    noise_shown: bool = False,
    helping: bool = False,
    leaking: bool = False,
    piling: bool = False,
    piling_g: bool = False,
    still: bool = False,
    old: bool = False,
    halved: bool = False,
    fooling: Callable[[Tensor], Tensor] = _fooling,
) -> Losses:
    """One turn of each; the options are what can go wrong."""
    made = generator(noise)
    shown = noise if noise_shown else made if leaking else made.detach()
    loss_d = _judging(discriminator, real, shown) / (2 if halved else 1)
    if not piling:
        learn_d.zero_grad()
    if not piling_g:
        learn_g.zero_grad()
    loss_d.backward(retain_graph=True)
    if not old:
        learn_d.step()
    made = generator(noise)
    if still:
        made = made.detach()
    loss_g = _judging(discriminator, real, made) if helping else fooling(discriminator(made))
    before = [p.grad.clone() for p in discriminator.parameters() if p.grad is not None]
    loss_g.backward()
    learn_g.step()
    if old:
        for p, gradient in zip(discriminator.parameters(), before, strict=True):
            p.grad = gradient
        learn_d.step()
    return loss_d.detach(), loss_g.detach()


def _turn_broken(
    generator: nn.Module,
    discriminator: nn.Module,
    real: Tensor,
    noise: Tensor,
    learn_g: Any,
    learn_d: Any,
) -> Losses:
    loss_d = _judging(discriminator, real, noise)
    loss_d.backward()
    learn_d.apply_gradients(discriminator.parameters())
    return loss_d, loss_d


def _duel_cases(generator: torch.Generator) -> Iterator[Case]:
    """Two linear players, and what they get in two turns: other data in the second."""
    for size, count in ((1, 2), (2, 3), (3, 4)):
        players = nn.Linear(size, size), nn.Linear(size, 1)
        for player in players:
            for parameter in player.parameters():
                sign = 1 - 2 * torch.randint(0, 2, parameter.shape, generator=generator)
                size_ = torch.randint(2, 7, parameter.shape, generator=generator) / 4
                parameter.data = sign * size_
        yield (
            *players,
            halves(generator, 2, count, size).float() / 4 + 1,
            halves(generator, 2, count, size).float() / 4,
        )


def _numbers(player: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in player.parameters()])


def _watch_duel(
    ask: Callable[..., Any],
    generator: nn.Module,
    discriminator: nn.Module,
    real: Tensor,
    noise: Tensor,
) -> dict[str, Any]:
    learn_g = torch.optim.SGD(generator.parameters(), lr=0.5)
    learn_d = torch.optim.SGD(discriminator.parameters(), lr=0.5)
    seen: dict[str, Any] = {}
    for number, (batch, z) in enumerate(zip(real, noise, strict=True), 1):
        loss_d, loss_g = ask(generator, discriminator, batch, z, learn_g, learn_d)
        seen[f"loss of D, turn {number}"] = torch.as_tensor(loss_d).detach()
        seen[f"loss of G, turn {number}"] = torch.as_tensor(loss_g).detach()
    return {**seen, "D after both": _numbers(discriminator), "G after both": _numbers(generator)}


def _ill_turn(hint: str, **options: Any) -> Mistake:
    def answer(
        generator: nn.Module,
        discriminator: nn.Module,
        real: Tensor,
        noise: Tensor,
        learn_g: Any,
        learn_d: Any,
    ) -> Losses:
        return _turn(generator, discriminator, real, noise, learn_g, learn_d, **options)

    return Mistake(answer, hint)


_SHOWN = "D learns to tell data from noise, and never meets what G makes."
_HELPS = "G is given D's loss, and makes D's work easier instead of harder."

duel = Watched(
    label="ex-clinic-duel",
    oracle=lambda generator, discriminator, real, noise, learn_g, learn_d: _turn(
        generator, discriminator, real, noise, learn_g, learn_d
    ),
    cases=_duel_cases,
    watch=_watch_duel,
    tolerance=1e-4,
    hint="Two turns are played, with other data in the second. Compare loss by loss: the first that"
    " differs names the half-turn to look at.",
    mistakes=(
        Mistake(
            _turn_broken,
            "The optimiser still has no such method. Which one has taken all steps of this course?",
        ),
        _ill_turn(f"It runs now. But look: {_SHOWN} And: {_HELPS}", noise_shown=True, helping=True),
        _ill_turn(_SHOWN, noise_shown=True),
        _ill_turn(_HELPS, helping=True),
        _ill_turn(
            "D's old gradients are still there in its next turn, G's turn among them.", piling=True
        ),
        _ill_turn(
            f"D's old gradients are still there in its next turn. And: {_HELPS}",
            piling=True,
            helping=True,
        ),
        _ill_turn("G's old gradients are still there in its next turn.", piling_g=True),
        _ill_turn(
            "D's loss has left a gradient in G, which G's own is added to.",
            leaking=True,
        ),
        _ill_turn("G never moves: its own loss must reach it.", still=True),
        _ill_turn("D's loss is the sum of its two parts here, not their mean.", halved=True),
        _ill_turn("D should step before G looks at it.", old=True),
        _ill_turn(
            "This loss starves G where D is sure; the chapter on GANs has another.",
            fooling=_starving,
        ),
        Mistake(
            lambda *arguments: _turn(*arguments)[::-1],
            "The players are right; return D's loss first, then G's.",
        ),
    ),
)


# --- 10: networks for pictures of a given side ----------------------------------------------------

WEIGHTS = 20  # draws of a discriminator's weights
COUNT = 64  # noise vectors, pictures: enough that none of the pixels is missed by chance


@dataclass(frozen=True)
class _Stop:
    """A network that stopped; where and in which words it did makes no other mistake of it."""

    message: str = field(compare=False, default="")

    def __repr__(self) -> str:
        """The message."""
        return f"stops: {self.message}"


def _about(seen: Callable[[], Any]) -> Any:
    try:
        return seen()
    except Exception as error:  # the other network is looked at all the same
        return _Stop(f"{type(error).__name__}: {error}")


def _seen_of_generator(model: nn.Module, side: int, noise: int) -> dict[str, Any]:
    pictures = model(torch.randn(COUNT, noise))
    seen: dict[str, Any] = {"shape": tuple(pictures.shape)}
    if seen["shape"] == (COUNT, 1, side, side):
        pixels = pictures.detach().flatten(1)
        varied = pixels.std(0) > 0
        seen["between 0 and 1"] = bool((pixels >= 0).all() and (pixels <= 1).all())
        seen["pixels that the noise changes"] = int(varied.sum())
        seen["pixels unlike all others"] = len(pixels.T.unique(dim=0))
    return seen


def _seen_of_discriminator(model: nn.Module, side: int) -> dict[str, Any]:
    pictures = torch.rand(COUNT, 1, side, side, requires_grad=True)
    scores = model(pictures)
    seen: dict[str, Any] = {"shape": tuple(scores.shape)}
    if seen["shape"] == (COUNT, 1):
        looked, lowest, highest = torch.zeros(1, side, side).bool(), 0.0, 0.0
        for number in range(WEIGHTS):
            if number:  # its own weights first: by chance, all their scores may have one sign
                for parameter in model.parameters():
                    nn.init.normal_(parameter)
            scores = model(pictures)
            (slope,) = torch.autograd.grad((scores * torch.randn(COUNT, 1)).sum(), pictures)
            looked |= (slope != 0).any(0)
            with torch.no_grad():  # far brighter and darker than real ones
                scores = model(1e4 * torch.randn(COUNT, 1, side, side))
            lowest = min(lowest, scores.min().item())
            highest = max(highest, scores.max().item())
        seen["pixels that it looks at"] = int(looked.sum())
        # Bounded scores would go through a second sigmoid in the loss.
        seen["scores may be below 0"] = lowest < 0
        seen["scores may be above 1"] = highest > 1
    return seen


def _watch_sides(ask: Callable[..., Any], side: int, noise: int) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(side)
        generator, discriminator = ask(side, noise)
        return {
            "generator": _about(lambda: _seen_of_generator(generator, side, noise)),
            "discriminator": _about(lambda: _seen_of_discriminator(discriminator, side)),
        }


def _generator(side: int, noise: int, outputs: int, last: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(
        nn.Linear(noise, 16),
        nn.ReLU(),
        nn.Linear(16, outputs),
        last or nn.Sigmoid(),
        nn.Unflatten(1, (1, side, side)),
    )


def _discriminator(halvings: int, left: int, last: nn.Module | None = None) -> nn.Module:
    layers: list[nn.Module] = []
    for n in range(halvings):
        layers += [nn.Conv2d(8 if n else 1, 8, 4, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * left**2, 1), last or nn.Identity())


def _blocks(side: int, noise: int) -> nn.Module:
    """Four values, each of which fills a quarter of the picture."""
    return nn.Sequential(
        nn.Linear(noise, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 2, 2)),
        nn.Upsample(scale_factor=side // 2),
    )


# What can become of each network, and what to say about it.
_GENERATORS: dict[str, tuple[Callable[[int, int], nn.Module], str]] = {
    "right": (lambda side, noise: _generator(side, noise, side**2), ""),
    "four": (
        lambda side, noise: _generator(side, noise, 4),
        "The generator stops: how many pixels are to be made, and how many numbers come?",
    ),
    "row": (
        lambda side, noise: nn.Sequential(
            _generator(side, noise, side**2), nn.Flatten(), nn.Unflatten(1, (side, side))
        ),
        "The generator's pictures lack their channel.",
    ),
    "blocks": (
        _blocks,
        "The generator's pictures have the right shape, but only four grey values each.",
    ),
    "4 × 4 only": (
        lambda side, noise: _generator(side, noise, 16),
        "The generator is right for 4 × 4 and no other side.",
    ),
    "tanh": (
        lambda side, noise: _generator(side, noise, side**2, nn.Tanh()),
        "The generator's pixels leave the range from 0 to 1.",
    ),
    "flat": (
        lambda side, noise: nn.Sequential(_generator(side, noise, side**2), nn.Flatten()),
        "The generator's pictures are rows of pixels still.",
    ),
}
_DISCRIMINATORS: dict[str, tuple[Callable[[int], nn.Module], str]] = {
    "right": (lambda side: _discriminator(side.bit_length() - 2, 2), ""),
    "four": (
        lambda side: _discriminator(4, 1),
        "The discriminator halves four times, whatever the side: write down what is left after"
        " each.",
    ),
    "4 × 4 only": (
        lambda side: _discriminator(1, 2),
        "The discriminator's halvings fit 4 × 4 and no other side.",
    ),
    "probability": (
        lambda side: _discriminator(1, side // 2, nn.Sigmoid()),
        "The discriminator gives probabilities; a score of any size is asked for.",
    ),
    "never below 0": (
        lambda side: _discriminator(1, side // 2, nn.ReLU()),
        "The discriminator's scores never go below 0; a score of any size is asked for.",
    ),
    "flat": (
        lambda side: nn.Sequential(_discriminator(1, side // 2), nn.Flatten(0)),
        "The discriminator's scores lack their second axis: (N, 1) is asked for.",
    ),
}


def _networks(generator: str, discriminator: str) -> Callable[[int, int], tuple[Any, Any]]:
    return lambda side, noise: (
        _GENERATORS[generator][0](side, noise),
        _DISCRIMINATORS[discriminator][0](side),
    )


def _sides_cases(generator: torch.Generator) -> Iterator[Case]:
    for side in (4, 8, 16):
        yield side, draw(generator, 5, 12)


sides = Watched(
    label="ex-clinic-sides",
    oracle=_networks("right", "right"),
    cases=_sides_cases,
    watch=_watch_sides,
    hint="Write the shapes down, layer by layer, for the side of the case: how many numbers must"
    " come out of the generator's last linear layer, how many go into the discriminator's?",
    mistakes=(
        *(
            Mistake(
                _networks(generator, discriminator),
                " ".join(
                    filter(None, (_GENERATORS[generator][1], _DISCRIMINATORS[discriminator][1]))
                ),
            )
            for generator, discriminator in (
                *((made, "right") for made in list(_GENERATORS)[1:]),
                *(("right", judge) for judge in list(_DISCRIMINATORS)[1:]),
                ("four", "four"),
                ("blocks", "four"),
                ("4 × 4 only", "four"),
                ("4 × 4 only", "4 × 4 only"),
            )
        ),
        Mistake(
            lambda side, noise: _networks("right", "right")(side, noise)[::-1],
            "The generator comes first, the discriminator second.",
        ),
    ),
)
