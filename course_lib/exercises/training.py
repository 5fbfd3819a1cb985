"""The checks of the chapter `training`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import training
from course_lib.exercises import Case, Exercise, Mistake, draw


def _halves(generator: torch.Generator, *shape: int) -> Tensor:
    """Halves other than 0 from −4 to 4, so that a failing case can be worked through by hand."""
    size = torch.randint(1, 9, shape, generator=generator).double() / 2
    sign = 2 * torch.randint(0, 2, shape, generator=generator) - 1
    return size * sign


# --- backpropagate by hand ------------------------------------------------------------------------

backprop = Exercise(
    label="ex-training-backprop",
    oracle=(-6, 6, -18),
    hint="Write the value of u, v and L first; then go back from L, one arrow at a time.",
    mistakes=(
        Mistake(
            (-6, 12, -18),
            "Two arrows leave a: one into the product, one into the sum. The second is missing.",
        ),
        Mistake(
            (-6, -6, -18),
            "Two arrows leave a: one into the sum, one into the product. The second is missing.",
        ),
        Mistake((-6, -72, -18), "What comes back along two arrows is added, not multiplied."),
        Mistake((-3, 3, -9), "The slope of a square is twice its base."),
        Mistake(
            (-6, -24, 12),
            "How fast does a product change with one factor? As fast as the other is large.",
        ),
        Mistake((-6, 18, -18), "Mind the sign of what comes back through the sum."),
        Mistake(
            (6, -6, 18), "The value of v is below 0: does its square grow or shrink when v grows?"
        ),
    ),
)


# --- count the steps ------------------------------------------------------------------------------

steps = Exercise(
    label="ex-training-steps",
    oracle=(22, 3, 660),
    hint="How many whole batches of 64 are there in 1347, and what is left?",
    mistakes=(
        Mistake((21, 64, 630), "The scans that are left over make a batch too, a smaller one."),
        Mistake((21, 3, 630), "The scans that are left over make a batch too, so a step."),
        Mistake((22, 64, 660), "The last batch is not full: 22 times 64 is more than 1347."),
        Mistake((22, 61, 660), "So many scans are missing in the last batch; how many are there?"),
        Mistake((22, 3, 40410), "That counts scans; a step takes a whole batch of them."),
        Mistake((22, 3, 30), "An epoch is not one step, but as many as there are batches."),
    ),
)


# --- write a step with momentum -------------------------------------------------------------------

Pair = tuple[Tensor, Tensor]


def _momentum(weight: Tensor, gradient: Tensor, velocity: Tensor, lr: float, mu: float) -> Pair:
    velocity = mu * velocity + gradient
    return weight - lr * velocity, velocity


def _momentum_cases(generator: torch.Generator) -> Iterator[Case]:
    for shape in ((1,), (3,), (2, 3), (4,), (3, 1, 2)):
        tensors = [_halves(generator, *shape) for _ in range(3)]
        yield *tensors, draw(generator, 1, 3) / 8, draw(generator, 1, 3) / 4


def _step_in_velocity(w: Tensor, g: Tensor, v: Tensor, lr: float, mu: float) -> Pair:
    v = mu * v + lr * g
    return w - v, v


def _dampened(w: Tensor, g: Tensor, v: Tensor, lr: float, mu: float) -> Pair:
    v = mu * v + (1 - mu) * g
    return w - lr * v, v


def _nesterov(w: Tensor, g: Tensor, v: Tensor, lr: float, mu: float) -> Pair:
    v = mu * v + g
    return w - lr * (g + mu * v), v


momentum = Exercise(
    label="ex-training-momentum",
    oracle=_momentum,
    cases=_momentum_cases,
    hint="First the new velocity from the old one and the gradient; then the weight, with it.",
    mistakes=(
        Mistake(
            lambda w, g, v, lr, mu: (w - lr * g, v),
            "This is the plain step: the velocity is neither changed nor used.",
        ),
        Mistake(
            lambda w, g, v, lr, mu: (w - lr * g, mu * v + g),
            "The velocity is right, but the weight goes along the gradient, not along it.",
        ),
        Mistake(
            lambda w, g, v, lr, mu: (w - lr * v, mu * v + g),
            "The weight moves with the old velocity; use the one that this gradient has changed.",
        ),
        Mistake(
            _step_in_velocity,
            "In the chapter's form the velocity gathers plain gradients; where does η stand?",
        ),
        Mistake(
            _dampened,
            "The new gradient is weighted down here; without dampening it enters whole.",
        ),
        Mistake(
            lambda w, g, v, lr, mu: (w - lr * (v + g), v + g),
            "Nothing of the old velocity is lost here, so it would grow without end.",
        ),
        Mistake(_nesterov, "This looks a step ahead, as Nesterov's form does; take the plain one."),
        Mistake(
            lambda w, g, v, lr, mu: (w + lr * (mu * v + g), mu * v + g),
            "This climbs: the gradient points uphill.",
        ),
        Mistake(
            lambda w, g, v, lr, mu: _momentum(w, g, v, lr, mu)[::-1],
            "The right numbers, but the weight comes first and the velocity second.",
        ),
    ),
)


# --- find the bug in Adam -------------------------------------------------------------------------

_B1, _B2 = 0.9, 0.999


def _adam(weight: Tensor, gradients: Tensor, lr: float, eps: float) -> Tensor:
    weight = weight.clone()
    state: dict[str, Any] = {}
    for gradient in gradients:
        training.adam_step_(weight, gradient, state, lr=lr, betas=(_B1, _B2), eps=eps)
    return weight


def _adam_cases(generator: torch.Generator) -> Iterator[Case]:
    for count, size in ((1, 1), (2, 1), (2, 3), (3, 2), (5, 4), (8, 3)):
        yield (
            _halves(generator, size),
            _halves(generator, count, size),
            draw(generator, 1, 4) / 8,
            draw(generator, 1, 4) / 8,
        )


def _adam_like(
    first: Callable[[int], float], second: Callable[[int], float], inside: bool = False
) -> Callable[[Tensor, Tensor, float, float], Tensor]:
    """Adam whose two means are divided by the given functions of the step."""

    def mistaken(weight: Tensor, gradients: Tensor, lr: float, eps: float) -> Tensor:
        m = v = torch.zeros_like(weight)
        for t, g in enumerate(gradients, 1):
            m, v = _B1 * m + (1 - _B1) * g, _B2 * v + (1 - _B2) * g**2
            square = v / second(t)
            root = (square + eps).sqrt() if inside else square.sqrt() + eps
            weight = weight - lr * (m / first(t)) / root
        return weight

    return mistaken


def _adam_fed_back(weight: Tensor, gradients: Tensor, lr: float, eps: float) -> Tensor:
    m = v = torch.zeros_like(weight)
    for t, g in enumerate(gradients, 1):
        m = (_B1 * m + (1 - _B1) * g) / (1 - _B1**t)
        v = (_B2 * v + (1 - _B2) * g**2) / (1 - _B2**t)
        weight = weight - lr * m / (v.sqrt() + eps)
    return weight


def _adam_eps_first(weight: Tensor, gradients: Tensor, lr: float, eps: float) -> Tensor:
    """The paper's second form, which saves a division: there ε means something else."""
    m = v = torch.zeros_like(weight)
    for t, g in enumerate(gradients, 1):
        m, v = _B1 * m + (1 - _B1) * g, _B2 * v + (1 - _B2) * g**2
        rate = lr * math.sqrt(1 - _B2**t) / (1 - _B1**t)
        weight = weight - rate * m / (v.sqrt() + eps)
    return weight


def _none(t: int) -> float:
    return 1.0


def _right1(t: int) -> float:
    return 1 - _B1**t


def _right2(t: int) -> float:
    return 1 - _B2**t


def _from_zero(weight: Tensor, gradients: Tensor, lr: float, eps: float) -> Tensor:
    """Counted from 0, both divisors are 0 in the first step."""
    return torch.full_like(weight, math.nan)


adam = Exercise(
    label="ex-training-adam",
    oracle=_adam,
    cases=_adam_cases,
    hint="Take one step by hand, with gradient 1: what are m and v after it, and what should they"
    " be on average?",
    mistakes=(
        Mistake(
            _adam_like(_none, _none),
            "Both means start at 0 and are too small at first; that is the bug, still there.",
        ),
        Mistake(_adam_like(_right1, _none), "The mean of the squares starts at 0 too."),
        Mistake(_adam_like(_none, _right2), "The mean of the gradients starts at 0 too."),
        Mistake(
            _adam_like(lambda t: 1 - _B1, lambda t: 1 - _B2),
            "Right in the first step only: what is missing shrinks from step to step.",
        ),
        Mistake(_from_zero, "The first step divides by 0: it is number 1, not number 0."),
        Mistake(
            _adam_fed_back,
            "The corrected means go into the next step's means; keep the uncorrected ones too.",
        ),
        Mistake(
            _adam_like(_right1, _right2, inside=True),
            "Almost: ε is added to the root, not under it.",
        ),
        Mistake(
            _adam_eps_first,
            "Almost: here the correction reaches ε too; it is added after the root is corrected.",
        ),
        Mistake(
            _adam_like(_right2, _right1),
            "Each mean is divided by the correction of its own β.",
        ),
    ),
)


# --- find the bug in a loop -----------------------------------------------------------------------


def _slope(weight: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """The gradient of the mean squared error."""
    return 2 * inputs.T @ (inputs @ weight - targets) / len(targets)


def _loop(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float) -> Tensor:
    for batch, wanted in zip(inputs, targets, strict=True):
        weight = weight - lr * _slope(weight, batch, wanted)
    return weight


def _loop_cases(generator: torch.Generator) -> Iterator[Case]:
    for batches, count, size in ((2, 1, 1), (2, 3, 2), (3, 2, 4), (4, 4, 3), (3, 5, 2)):
        yield (
            _halves(generator, size),
            _halves(generator, batches, count, size),
            _halves(generator, batches, count),
            1 / 32,
        )


def _loop_accumulating(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float) -> Tensor:
    total = torch.zeros_like(weight)
    for batch, wanted in zip(inputs, targets, strict=True):
        total = total + _slope(weight, batch, wanted)
        weight = weight - lr * total
    return weight


def _loop_summed(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float) -> Tensor:
    return _loop(weight, inputs, targets, lr * targets.shape[1])


def _loop_late(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float) -> Tensor:
    """Every step uses the gradient of the batch before."""
    before = torch.zeros_like(weight)
    for batch, wanted in zip(inputs, targets, strict=True):
        weight, before = weight - lr * before, _slope(weight, batch, wanted)
    return weight


def _loop_at_the_end(weight: Tensor, inputs: Tensor, targets: Tensor, lr: float) -> Tensor:
    """One step at the end, with the gradients of all batches."""
    return weight - lr * sum(
        _slope(weight, batch, wanted) for batch, wanted in zip(inputs, targets, strict=True)
    )


loop = Exercise(
    label="ex-training-loop",
    oracle=_loop,
    cases=_loop_cases,
    hint="Say aloud what `weight.grad` holds after each line of the loop.",
    mistakes=(
        Mistake(
            lambda weight, inputs, targets, lr: weight,
            "The weight comes back unchanged: what does `weight.grad` hold when the step is taken?",
        ),
        Mistake(
            _loop_accumulating,
            "The gradients of earlier batches are still there: `backward` adds to what it finds.",
        ),
        Mistake(
            lambda weight, inputs, targets, lr: _loop(weight, inputs[:1], targets[:1], lr),
            "Only the first batch was used: is `return` inside the loop?",
        ),
        Mistake(
            _loop_late,
            "Each step uses the gradient of the batch before: step after `backward`.",
        ),
        Mistake(
            _loop_at_the_end,
            "All batches make one step here; there should be one after each batch.",
        ),
        Mistake(
            _loop_summed,
            "The steps are too long: the loss is the mean of the squared errors, not their sum.",
        ),
        Mistake(
            lambda weight, inputs, targets, lr: _loop(weight, inputs, targets, -lr),
            "This goes uphill.",
        ),
    ),
)


# --- warm up, then come down ----------------------------------------------------------------------


def _schedule(step: int, total: int, warmup: int) -> float:
    return training.warmup_cosine(step, total, warmup)


def _schedule_cases(generator: torch.Generator) -> Iterator[Case]:
    for warmup, total in ((2, 6), (1, 5), (5, 20), (10, 100)):
        for step in (0, warmup - 1, warmup, total - 1):
            yield step, total, warmup
        yield draw(generator, 0, total), total, warmup
        yield draw(generator, warmup, total), total, warmup


def _half_wave(part: float) -> float:
    return (1 + math.cos(math.pi * part)) / 2


def _rise(step: int, warmup: int) -> float:
    return (step + 1) / warmup


schedule = Exercise(
    label="ex-training-schedule",
    oracle=_schedule,
    cases=_schedule_cases,
    hint="Write the factors of a run of 6 steps with a warm-up of 2 in a row, and check both ends.",
    mistakes=(
        Mistake(
            lambda s, total, warmup: (
                s / warmup if s < warmup else _half_wave((s - warmup) / (total - warmup))
            ),
            "The first step has factor 0 here, and so does nothing.",
        ),
        Mistake(
            lambda s, total, warmup: _rise(s, warmup) if s < warmup else _half_wave(s / total),
            "At the end of the warm-up the factor jumps: the way down begins there, not at step 0.",
        ),
        Mistake(
            lambda s, total, warmup: (
                _rise(s, warmup) if s < warmup else _half_wave((s - warmup) / total)
            ),
            "The way down begins rightly, but does not end at `total`: how long is it?",
        ),
        Mistake(
            lambda s, total, warmup: (
                _rise(s, warmup) if s < warmup else 2 * _half_wave((s - warmup) / (total - warmup))
            ),
            "A cosine goes from 1 to −1; shifted up it must be halved too.",
        ),
        Mistake(
            lambda s, total, warmup: _half_wave(s / total),
            "The warm-up is missing.",
        ),
        Mistake(
            lambda s, total, warmup: min(1.0, _rise(s, warmup)) * _half_wave(s / total),
            "The way down should begin when the warm-up is over; here both happen at once.",
        ),
        Mistake(
            lambda s, total, warmup: (
                _rise(s, warmup) if s < warmup else 1 - (s - warmup) / (total - warmup)
            ),
            "This comes down along a straight line.",
        ),
        Mistake(
            lambda s, total, warmup: min(1.0, _rise(s, warmup)),
            "This warms up, but never comes down.",
        ),
        Mistake(
            lambda s, total, warmup: (
                _rise(s, warmup) if s <= warmup else _half_wave((s - warmup) / (total - warmup))
            ),
            "The factor exceeds 1 here: the warm-up is a step too long.",
        ),
        Mistake(
            lambda s, total, warmup: (
                _rise(s, warmup) if s < warmup else _half_wave((s - warmup) / (total - 1 - warmup))
            ),
            "The way down is a step too short: in the last step, `total` − 1, it isn't over yet.",
        ),
    ),
)


# --- clip two gradients together ------------------------------------------------------------------


def _length(*gradients: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in gradients]).norm()


def _clip(first: Tensor, second: Tensor, limit: float) -> Pair:
    factor = (limit / _length(first, second)).clamp(max=1)
    return first * factor, second * factor


def _clip_cases(generator: torch.Generator) -> Iterator[Case]:
    shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
        ((1,), (1,)),
        ((2,), (3,)),
        ((2, 3), (2,)),
        ((4,), (3, 1)),
    )
    for one, two in shapes:
        first, second = _halves(generator, *one), _halves(generator, *two)
        length = float(_length(first, second))
        for limit in (length / 4, 0.98 * length, 2 * length):
            yield first, second, math.ceil(limit * 8) / 8 if limit > length else limit
    yield torch.tensor([3.0]).double(), torch.tensor([4.0]).double(), 1.0


def _each_alone(first: Tensor, second: Tensor, limit: float) -> Pair:
    one, two = (g * (limit / g.norm()).clamp(max=1) for g in (first, second))
    return one, two


clip = Exercise(
    label="ex-training-clip",
    oracle=_clip,
    cases=_clip_cases,
    tolerance=1e-5,  # torch adds 1e-6 to the length, and so may the reader
    hint="All entries of both gradients make one long vector: how long is it, and how long may it"
    " be?",
    mistakes=(
        Mistake(
            _each_alone,
            "Each gradient was shortened on its own, so that they no longer point where they did"
            " together.",
        ),
        Mistake(
            lambda first, second, limit: (
                first.clamp(-limit, limit),
                second.clamp(-limit, limit),
            ),
            "The entries were cut one by one, which turns the vector; shorten it as a whole.",
        ),
        Mistake(
            lambda first, second, limit: (
                first * limit / _length(first, second),
                second * limit / _length(first, second),
            ),
            "A gradient that is short enough must stay as it is; yours was stretched.",
        ),
        Mistake(
            lambda first, second, limit: (
                first * (limit / _length(first, second) ** 2).clamp(max=1),
                second * (limit / _length(first, second) ** 2).clamp(max=1),
            ),
            "The sum of the squares is the length squared.",
        ),
        Mistake(
            lambda first, second, limit: (
                first * (limit / (first.norm() + second.norm())).clamp(max=1),
                second * (limit / (first.norm() + second.norm())).clamp(max=1),
            ),
            "Lengths do not add up: the two gradients are the legs of a right triangle.",
        ),
        Mistake(
            lambda first, second, limit: (
                first / _length(first, second),
                second / _length(first, second),
            ),
            "This makes the length 1, whatever the limit is.",
        ),
    ),
)


# --- the gradient of layer normalisation ----------------------------------------------------------


def _backward(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    inputs = x.clone().requires_grad_()
    output = F.layer_norm(inputs, inputs.shape[-1:], eps=eps)
    return torch.autograd.grad(output, inputs, gradient)[0]


def _backward_cases(generator: torch.Generator) -> Iterator[Case]:
    for count, size in ((1, 2), (1, 3), (2, 3), (4, 3), (3, 5), (2, 8)):
        x = _halves(generator, count, size)
        x[:, 0] = x[:, 1] + 1  # no row without a spread
        yield x, _halves(generator, count, size), draw(generator, 1, 4) / 8


def _backward_like(
    first: float = 1.0,
    second: float = 1.0,
    dim: int = -1,
    correction: int = 0,
    summed: bool = False,
) -> Callable[[Tensor, Tensor, float], Tensor]:
    """The formula with its two means weighted, taken along another axis, or left as sums."""

    def mistaken(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
        scale = (x.var(dim, keepdim=True, correction=correction) + eps).sqrt()
        normal = (x - x.mean(dim, keepdim=True)) / scale
        gather = torch.sum if summed else torch.mean
        along = gather(gradient, dim, keepdim=True)
        across = gather(gradient * normal, dim, keepdim=True)
        return (gradient - first * along - second * normal * across) / scale

    return mistaken


def _backward_without_eps(x: Tensor, gradient: Tensor, eps: float) -> Tensor:
    return _backward_like()(x, gradient, 0.0)


norm_gradient = Exercise(
    label="ex-training-norm-gradient",
    oracle=_backward,
    cases=_backward_cases,
    hint="For one row it is batch normalisation's formula for one channel, with γ = 1: which"
    " numbers do the sums run over?",
    mistakes=(
        Mistake(
            _backward_like(first=0, second=0),
            "This is right if mean and variance were fixed numbers; they depend on x too.",
        ),
        Mistake(
            _backward_like(first=0),
            "The mean depends on every entry of the row: its share is missing.",
        ),
        Mistake(
            _backward_like(second=0),
            "The variance depends on every entry of the row: its share is missing.",
        ),
        Mistake(
            _backward_like(dim=0),
            "The sums run over the batch here; layer normalisation never looks beyond its row.",
        ),
        Mistake(
            _backward_like(summed=True),
            "These are sums where means should be.",
        ),
        Mistake(
            _backward_like(correction=1),
            "The variance was divided by D − 1; normalisation divides by D.",
        ),
        Mistake(
            _backward_without_eps,
            "The ε under the root is missing.",
        ),
        Mistake(
            _backward_like(second=-1),
            "One of the two shares is added instead of taken off.",
        ),
    ),
)
