"""The checks of the chapter `gan`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises import Case, Exercise, Mistake, Result, _try, draw, halves

Pair = tuple[Tensor, Tensor]

# --- predict the best discriminator ---------------------------------------------------------------

optimum = Exercise(
    label="ex-gan-optimum",
    oracle=(0.8, 0.4, 0.0, -0.8369),
    hint="Take one picture at a time: how often does it come from the data, how often from G? Then"
    " add, for each picture, the data's share times log D and G's share times log(1 − D).",
    mistakes=(
        Mistake(
            (0.2, 0.6, 1.0, -0.8369),
            "These are the probabilities that a picture is made; D says how sure it is that a"
            " picture is real.",
        ),
        Mistake(
            (4.0, 2 / 3, 0.0, -0.8369),
            "These are the ratios of the two shares; D is a probability, at most 1.",
        ),
        Mistake(
            (0.8, 0.2, 0.0, -0.8369),
            "D is not the share of the data alone: how often is B real among all B that D meets?",
        ),
        Mistake(
            (0.8, 0.4, 0.5, -0.8369),
            "One half is for pictures that come from both equally often; C never is real.",
        ),
        Mistake((0.8, 0.4, 0.0, -0.3618), "This is the first term of V; G's pictures count too."),
        Mistake((0.8, 0.4, 0.0, -0.4751), "This is the second term of V; real pictures count too."),
        Mistake(
            (0.8, 0.4, 0.0, -1.2074),
            "These are logarithms to base 2; V is made of natural ones.",
        ),
        Mistake(
            (0.8, 0.4, 0.0, -1.3863),
            "This would be V if G were perfect, and D could only toss a coin.",
        ),
        Mistake(
            (0.8, 0.4, 0.0, 0.8369),
            "The numbers are right, but the logarithm of a probability is not above 0.",
        ),
        Mistake(
            (0.8, 0.4, 0.0, -0.4184),
            "V is the sum of the two terms, not their mean.",
        ),
    ),
    tolerance=6e-4,  # three decimals are enough
)


# --- predict a walk in circles --------------------------------------------------------------------

circle = Exercise(
    label="ex-gan-circle",
    oracle=(1.5625, 0.75, -0.5),
    hint="Write the first two steps down, with both old numbers on the right, and the squared"
    " distance after each: by which factor does it grow? Then let D go first.",
    mistakes=(
        Mistake(
            (1.5625**2, 0.75, -0.5), "The factor 1 + h² belongs to the square of the distance."
        ),
        Mistake((1.0, 0.75, -0.5), "Only infinitely small steps stay on the circle."),
        Mistake((1.5**4, 0.75, -0.5), "A step is perpendicular to the way from the centre."),
        Mistake(
            (1.25**4 - 1, 0.75, -0.5),
            "The distance from the centre is asked for, not by how much its square has grown.",
        ),
        Mistake(
            (1.5625, 1.0, -0.5), "If D goes first, G sees the new psi, and its own step is not 0."
        ),
        Mistake((1.5625, 1.25, 0.5), "D climbs V = −psi · theta: which way is that for psi?"),
        Mistake((1.5625, 0.75, 0.5), "D climbs V = −psi · theta: psi changes by −h · theta."),
        Mistake((1.5625, -0.5, 0.75), "Theta, the generator's number, comes first."),
        Mistake((1.5625, 1.25, -0.5), "G moves by h times the new psi: mind its sign."),
    ),
    tolerance=6e-4,
)


# --- fill in a divergence -------------------------------------------------------------------------


def _plogp(p: Tensor, m: Tensor) -> Tensor:
    """KL(p ∥ m), where 0 log 0 is 0."""
    return torch.where(p > 0, p * (p / m).log(), 0.0).sum()


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    m = (p + q) / 2
    return (_plogp(p, m) + _plogp(q, m)) / 2


def _naive(p: Tensor, q: Tensor) -> Tensor:
    m = (p + q) / 2
    return ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2


def _unguarded(p: Tensor, q: Tensor) -> Tensor:
    m = (p + q) / 2
    return (torch.xlogy(p, p / m) + torch.xlogy(q, q / m)).sum() / 2


def _clamped(p: Tensor, q: Tensor) -> Tensor:
    m = ((p + q) / 2).clamp(min=1e-300)
    return (torch.xlogy(p, p / m) + torch.xlogy(q, q / m)).sum() / 2


def _to_each_other(p: Tensor, q: Tensor) -> Tensor:
    return (_plogp(p, q) + _plogp(q, p)) / 2


def _distribution(generator: torch.Generator, count: int) -> Tensor:
    weights = torch.randint(1, 9, (count,), generator=generator).double()
    return weights / weights.sum()


def _divergence_cases(generator: torch.Generator) -> Iterator[Case]:
    yield torch.tensor([0.75, 0.25]).double(), torch.tensor([0.5, 0.5]).double()
    yield torch.tensor([0.75, 0.25, 0]).double(), torch.tensor([0, 0.5, 0.5]).double()
    for _ in range(5):
        count = draw(generator, 4, 7)
        p, q = _distribution(generator, count), _distribution(generator, count)
        none = draw(generator, 0, count - 2)
        p[none], q[none + 1] = 0, 0  # each lacks a picture
        yield p / p.sum(), q / q.sum()
    neither = torch.tensor([0.75, 0.25, 0, 0]).double(), torch.tensor([0, 0.5, 0, 0.5]).double()
    yield neither
    p, q = neither
    yield torch.cat([p, p]).float() / 2, torch.cat([q, q]).float() / 2


divergence = Exercise(
    label="ex-gan-divergence",
    oracle=_divergence,
    cases=_divergence_cases,
    hint="Compute m first, then the two sums over the pictures, each by hand for the case shown."
    " A picture that one side never shows adds nothing to that side's sum.",
    mistakes=(
        Mistake(_naive, "Where p or q is 0, 0 times log 0 must count as 0; here it became NaN."),
        Mistake(
            _unguarded,
            "What neither ever shows has m = 0, and 0 divided by 0 became NaN.",
        ),
        Mistake(
            _clamped,
            "Right in 64 bits; in 32 bits the small number is 0 itself, and NaN comes out: can the"
            " sums be written without a division?",
        ),
        Mistake(
            _to_each_other,
            "Each is compared with the other; both should be compared with their mean m.",
        ),
        Mistake(_plogp, "This is KL(p ‖ q), which is infinite as soon as q misses a picture."),
        Mistake(
            lambda p, q: 2 * _divergence(p, q), "The two sums are added; each counts one half."
        ),
        Mistake(
            lambda p, q: _divergence(p, q) / math.log(2),
            "These are bits, from logarithms to base 2; natural logarithms are wanted.",
        ),
        Mistake(
            lambda p, q: _divergence(p, q).sqrt(),
            "This is the root of the divergence, which is a distance, and another number.",
        ),
        Mistake(
            lambda p, q: _divergence(p, q) / len(p),
            "A mean over the pictures is a mean too many: p and q are their weights already.",
        ),
        Mistake(
            lambda p, q: 2 * _divergence(p, q) - math.log(4),
            "This is the value of V for the best D; the divergence itself is asked for.",
        ),
        Mistake(
            lambda p, q: -_divergence(p, q), "The sign is wrong: a divergence is never below 0."
        ),
        Mistake(
            lambda p, q: _plogp(p, (p + q) / 2),
            "This is the half that belongs to p; the other belongs to q.",
        ),
    ),
)


# --- fill in a loss that does not starve ----------------------------------------------------------


def _log_one_minus(score: Tensor) -> Tensor:
    return (1 - score.sigmoid()).log().mean()


def _loss_cases(generator: torch.Generator) -> Iterator[Case]:
    yield (halves(generator, 2),)
    yield (torch.tensor([0.5, -800.0, 1.0]).double(),)  # sigmoid(−800) is 0 in every dtype
    yield (torch.tensor([2.0, 800.0]).double(),)
    for _ in range(4):
        yield (halves(generator, draw(generator, 3, 6), draw(generator, 1, 2)),)


loss = Exercise(
    label="ex-gan-loss",
    oracle=lambda score: F.softplus(-score).mean(),
    cases=_loss_cases,
    hint="What is −log D for a score of 0, of 800 and of −800? The loss should be large where D"
    " is sure that the picture is made, and about as large as the score is negative.",
    mistakes=(
        Mistake(
            lambda score: -score.sigmoid().log().mean(),
            "Right, until a score is so low that the sigmoid is 0, and its logarithm minus"
            " infinity: let a function take both steps at once.",
        ),
        Mistake(
            lambda score: -(score.sigmoid() + 1e-8).log().mean(),
            "A small number in the logarithm hides the infinity and cuts the gradient off where"
            " it is needed most.",
        ),
        Mistake(
            lambda score: -F.softplus(score).mean(),
            "This is log(1 − D), the loss that starves the generator.",
        ),
        Mistake(
            _log_one_minus,
            "This is log(1 − D), the loss that starves the generator, and infinite besides.",
        ),
        Mistake(
            lambda score: F.softplus(score).mean(),
            "This is small where D says that the picture is made: the discriminator wants that.",
        ),
        Mistake(
            lambda score: -F.softplus(-score).mean(),
            "This is log D, which G wants to be large; a loss is what should be small.",
        ),
        Mistake(lambda score: F.softplus(-score).sum(), "The mean is asked for, not the sum."),
        Mistake(lambda score: F.softplus(-score), "One number is asked for: the mean."),
        Mistake(lambda score: -score.mean(), "This is the loss of a Wasserstein generator."),
    ),
)


# --- find the bug in a turn -----------------------------------------------------------------------


def _turn(
    theta: Tensor,
    psi: Tensor,
    real: Tensor,
    noise: Tensor,
    lr: float,
    *,
    leak: float = 0.0,
    old: bool = False,
    both: bool = False,
    still: bool = False,
    saturating: bool = False,
    swapped: bool = False,
) -> Pair:
    """A turn with D's score psi · x and G(z) = theta + z; the options are what can go wrong."""
    made = theta + noise
    a, b = (made, real) if swapped else (real, made)
    slope = (-a * (-psi * a).sigmoid()).mean() + (b * (psi * b).sigmoid()).mean()
    new = psi - lr * slope
    seen = psi if old else new
    push = -seen * ((seen * made) if saturating else (-seen * made)).sigmoid().mean()
    leaked = (psi * (psi * made).sigmoid()).mean()  # what D's loss would make of theta
    after = theta if still else theta - lr * (push + leak * leaked)
    if both:
        new = new - lr * (slope - (made * (-new * made).sigmoid()).mean())
    return after, new


def _turn_cases(generator: torch.Generator) -> Iterator[Case]:
    for count in (2, 3, 4, 5, 6):
        sign = 1 - 2 * draw(generator, 0, 1)
        theta = torch.tensor(sign * draw(generator, 2, 6) / 2).double()
        psi = torch.tensor(draw(generator, 1, 4) / 4).double()
        real, noise = halves(generator, count) / 4 - sign, halves(generator, count) / 4
        yield theta, psi, real, noise, 0.5


def _bad_turn(hint: str, **options: Any) -> Mistake:
    def answer(theta: Tensor, psi: Tensor, real: Tensor, noise: Tensor, lr: float) -> Pair:
        return _turn(theta, psi, real, noise, lr, **options)

    return Mistake(answer, hint)


turn = Exercise(
    label="ex-gan-turn",
    oracle=lambda theta, psi, real, noise, lr: _turn(theta, psi, real, noise, lr),
    cases=_turn_cases,
    hint="Write down which numbers each of the two losses may change, and what stands in theta.grad"
    " when G's optimiser takes its step.",
    mistakes=(
        _bad_turn(
            "This is the listing unchanged: D's loss has left a gradient in theta, and it tells G"
            " to make D's work easier.",
            leak=1.0,
        ),
        _bad_turn(
            "Now theta never moves: G's own loss must reach it; only D's must not.", still=True
        ),
        _bad_turn("G should play against the D that has just learned, with the new psi.", old=True),
        _bad_turn(
            "Psi moves twice: G's turn has moved D as well, and with D's old gradient.", both=True
        ),
        _bad_turn("The starving loss was not the bug; leave the losses as they are.", saturating=1),
        _bad_turn("Real and made are exchanged: D should say real of what is real.", swapped=True),
        _bad_turn(
            "The gradient that D's loss left in theta is still there, now with the other sign.",
            leak=-1.0,
        ),
        Mistake(
            lambda *given: _turn(*given)[::-1],
            "Theta, the generator's number, comes first.",
        ),
    ),
)


# --- fill in a gradient penalty -------------------------------------------------------------------


@dataclass(frozen=True)
class _Critic:
    """A score whose gradient everyone can work out: w · x², summed over a picture; w can learn."""

    weight: Tensor

    def __call__(self, pictures: Tensor) -> Tensor:
        return (self.weight * pictures**2).flatten(1).sum(1)

    def __repr__(self) -> str:
        return f"the sum of w x² with w = {self.weight.flatten().tolist()}"


def _penalty(
    critic: _Critic,
    real: Tensor,
    made: Tensor,
    share: Tensor,
    measure: Callable[[Tensor], Tensor] = lambda slope: (slope.flatten(1).norm(dim=1) - 1) ** 2,
    divide: bool = False,
) -> Tensor:
    between = share * real + (1 - share) * made
    slope = 2 * critic.weight * between
    return measure(slope / len(real) if divide else slope).mean()


def _followed(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The penalty, and its gradient with the critic's w: what the critic would learn from it."""

    def both(critic: _Critic, real: Tensor, made: Tensor, share: Tensor) -> Any:
        value = _try(answer, (critic, real, made, share))
        if not isinstance(value, Tensor | float):
            return value  # blank, an exception, or both already
        slope = torch.zeros_like(critic.weight)
        if isinstance(value, Tensor) and value.requires_grad and value.numel() == 1:
            (found,) = torch.autograd.grad(value.sum(), critic.weight, allow_unused=True)
            slope = slope if found is None else found
        return torch.as_tensor(value).detach(), slope

    return both


@dataclass(frozen=True)
class _Penalty(Exercise):
    """Look at what the critic would learn as well."""

    def __call__(self, answer: Any, seed: int | None = None) -> Result:
        """Check an answer, and the gradient that comes out of it."""
        return super().__call__(_followed(answer) if callable(answer) else answer, seed)


def _measured(measure: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda critic, real, made, share: _penalty(critic, real, made, share, measure)


_right_penalty = _followed(_penalty)


def _penalty_cases(generator: torch.Generator) -> Iterator[Case]:
    ones = torch.ones(1, 1, 1, dtype=torch.float64, requires_grad=True)
    yield _Critic(ones), *_between(generator, 2, (1, 1, 1))
    for _ in range(5):
        shape = draw(generator, 1, 2), draw(generator, 2, 3), draw(generator, 1, 2)
        weight = torch.randint(1, 4, shape, generator=generator).double() / 2
        yield _Critic(weight.requires_grad_()), *_between(generator, draw(generator, 2, 4), shape)


def _between(
    generator: torch.Generator, count: int, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures with gradients longer and shorter than 1, and different mixtures for each."""
    real, made = (halves(generator, count, *shape) for _ in range(2))
    real[0], made[0] = 0.125, 0.25  # flat: longer gradients are not the only ones to be changed
    real[1:] += 8
    share = torch.randperm(7, generator=generator)[:count].double().view(-1, 1, 1, 1) / 8 + 1 / 16
    return real, made, share


penalty = _Penalty(
    label="ex-gan-penalty",
    oracle=_right_penalty,
    cases=_penalty_cases,
    hint="The gradient has the shape of the pictures. Each picture has one gradient, so one length"
    " and one number; their mean is the penalty. The tensor beside it is what the critic learns"
    " from: the gradient of the penalty with its w.",
    mistakes=tuple(
        Mistake(_followed(answer), hint)
        for answer, hint in (
            (
                lambda critic, real, made, share: _penalty(critic, real, made, share).detach(),
                "The number is right, but D cannot learn from it, as no gradient reaches its"
                " weights: create_graph=True.",
            ),
            (
                _measured(lambda slope: (slope.norm() - 1) ** 2),
                "This is one length for the whole batch; each picture has its own.",
            ),
            (
                _measured(lambda slope: (slope.norm(dim=1) - 1) ** 2),
                "The length runs over the channels only; a gradient has rows and columns too.",
            ),
            (
                lambda critic, real, made, share: _penalty(critic, real, made, share, divide=True),
                "This is the gradient of the mean score, so every length is divided by the number"
                " of pictures: take the gradient of the sum.",
            ),
            (
                _measured(lambda slope: slope.flatten(1).norm(dim=1) ** 2),
                "This asks for a gradient of 0, as R1 does; here its length should be 1.",
            ),
            (
                _measured(lambda slope: slope.flatten(1).norm(dim=1) - 1),
                "Without the square, short gradients are rewarded.",
            ),
            (
                _measured(lambda slope: (slope.flatten(1).norm(dim=1) - 1).clamp(min=0) ** 2),
                "This forgives gradients that are too short; the formula does not.",
            ),
            (
                _measured(lambda slope: (slope.flatten(1).square().sum(1) - 1) ** 2),
                "This is the length squared, less 1: a root is missing.",
            ),
            (
                lambda critic, real, made, share: _penalty(critic, made, real, share),
                "Real and made are exchanged: share is the part of the real picture.",
            ),
            (
                lambda critic, real, made, share: _penalty(
                    critic, real, made, torch.ones_like(share)
                ),
                "The gradient is taken at the real pictures; it should be taken between the two.",
            ),
            (
                lambda critic, real, made, share: _penalty(critic, real, made, share) * len(real),
                "The sum over the pictures is returned; the mean is asked for.",
            ),
        )
    ),
)


# --- count the modes ------------------------------------------------------------------------------


def _counted(samples: Tensor, centres: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """How many good samples each mode has, and which samples are good."""
    distance = torch.cdist(samples, centres)  # (N, K)
    good = distance.amin(1) <= radius
    return torch.bincount(distance.argmin(1)[good], minlength=len(centres)), good


def _modes(samples: Tensor, centres: Tensor, radius: float) -> tuple[int, Tensor]:
    counts, good = _counted(samples, centres, radius)
    return int((counts > 0).sum()), good.double().mean()


def _modes_cases(generator: torch.Generator) -> Iterator[Case]:
    for count in (3, 4, 5, 6, 8):
        turns = torch.arange(count).double() * 2 * math.pi / count
        centres = 4 * torch.stack([turns.cos(), turns.sin()], 1)
        rows = torch.randint(0, count - 1, (4 * count,), generator=generator)
        near = 0.2 * torch.rand(4 * count, 2, generator=generator).double()
        samples = centres[rows] + near
        lost = draw(generator, 2, 4)
        # Some lie between the modes; one of them is the nearest to the last mode, but not near.
        samples[:lost] = 0.3 * samples[:lost]
        samples[0] = 0.8 * centres[-1]
        samples[1] = 0.85 * centres[0]  # 0.6 away: its square is within the radius
        yield samples, centres, 0.5


modes = Exercise(
    label="ex-gan-modes",
    oracle=_modes,
    cases=_modes_cases,
    hint="A table of the distances from every sample to every centre is the beginning. Which of"
    " its rows say that a sample is good, and which columns that a mode is found?",
    mistakes=(
        Mistake(
            lambda samples, centres, radius: (
                len(torch.cdist(samples, centres).argmin(1).unique()),
                _counted(samples, centres, radius)[1].double().mean(),
            ),
            "A mode counts as found only if a sample lies within the radius; to be the nearest"
            " mode of a stray sample is not enough.",
        ),
        Mistake(
            lambda samples, centres, radius: (
                _modes(samples, centres, radius)[0],
                _modes(samples, centres, radius)[0] / len(centres),
            ),
            "The second number is a share of the samples, not of the modes.",
        ),
        Mistake(
            lambda samples, centres, radius: _modes(samples, centres, radius**0.5),
            "A squared distance is compared with the radius itself.",
        ),
        Mistake(
            lambda samples, centres, radius: (
                _modes(samples, centres, radius)[0],
                int(_counted(samples, centres, radius)[1].sum()),
            ),
            "The second number is a share, not a count.",
        ),
        Mistake(
            lambda samples, centres, radius: (
                _modes(samples, centres, radius)[0],
                (torch.cdist(samples, centres) <= radius).double().mean(),
            ),
            "A good sample is near one mode only: divide by the samples, not by all pairs.",
        ),
        Mistake(
            lambda samples, centres, radius: (
                len(centres) - _modes(samples, centres, radius)[0],
                _modes(samples, centres, radius)[1],
            ),
            "These are the modes that were missed.",
        ),
        Mistake(
            lambda samples, centres, radius: _modes(samples, centres, radius)[::-1],
            "The number of modes comes first.",
        ),
    ),
)


# --- extend: a distance between two crowds --------------------------------------------------------


def _frechet(first: Tensor, second: Tensor) -> Tensor:
    return ((first.mean(0) - second.mean(0)) ** 2 + (first.std(0) - second.std(0)) ** 2).sum()


def _parts(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    return (first.mean(0) - second.mean(0)) ** 2, (first.std(0) - second.std(0)) ** 2


def _frechet_cases(generator: torch.Generator) -> Iterator[Case]:
    for width in (2, 3, 4, 2, 3):
        first = halves(generator, draw(generator, 3, 5), width)
        second = 1.5 * halves(generator, draw(generator, 6, 8), width) + 1
        yield first, second


frechet = Exercise(
    label="ex-gan-frechet",
    oracle=_frechet,
    cases=_frechet_cases,
    hint="A diagonal covariance holds the variances. Take one feature: what is left of the formula"
    " for it? Then add over the features.",
    mistakes=(
        Mistake(
            lambda first, second: (
                (first.mean(0) - second.mean(0)) ** 2 + (first.var(0) - second.var(0)) ** 2
            ).sum(),
            "The standard deviations are compared, not the variances: work out s² + t² − 2 st.",
        ),
        Mistake(
            lambda first, second: (
                (first.mean(0) - second.mean(0)) ** 2 + (first.var(0) - second.var(0)).abs()
            ).sum(),
            "The root stands inside: s² + t² − 2 st is not the difference of s² and t².",
        ),
        Mistake(
            lambda first, second: _frechet(first, second).sqrt(),
            "The formula gives the squared distance; no root is taken at the end.",
        ),
        Mistake(
            lambda first, second: _frechet(first, second) / first.shape[1],
            "The features are added up, not averaged.",
        ),
        Mistake(
            lambda first, second: _parts(first, second)[0].sum(),
            "Two crowds with the same middle can still differ: the spread is missing.",
        ),
        Mistake(
            lambda first, second: _parts(first, second)[1].sum(),
            "The distance of the means is missing.",
        ),
        Mistake(
            lambda first, second: (
                (first.mean(0) - second.mean(0)) ** 2
                + (first.std(0, correction=0) - second.std(0, correction=0)) ** 2
            ).sum(),
            "The variances divide by one less than the number of rows, as in the chapter.",
        ),
        Mistake(
            lambda first, second: (
                (first.mean(1).mean() - second.mean(1).mean()) ** 2
                + (first.std() - second.std()) ** 2
            ),
            "The features are mixed into one; each has its own mean and its own spread.",
        ),
        Mistake(
            lambda first, second: sum(_parts(first, second)),
            "One number is asked for: add over the features.",
        ),
    ),
)
