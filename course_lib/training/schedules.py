"""How the step size changes with time: functions of the step that return its factor.

Step 0 is the first; what is used there is the optimiser's own step size times the factor.
Hand one to `fit` with its other arguments filled in, as
``schedule=partial(cosine, total=1000)``.

Equations: (training-cosine), (training-warmup), (training-step-decay).

Sources:
    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (warm-up), 2017.
    Smith and Topin, "Super-convergence" (one cycle), 2019.
"""

from __future__ import annotations

import math

from course_lib.checking import expect_int, expect_number


def constant(step: int) -> float:
    """Leave the step size as it is."""
    return 1.0


def step_decay(step: int, every: int, factor: float = 0.1) -> float:
    """Multiply the step size by ``factor`` every so many steps; equation (training-step-decay).

    As `torch.optim.lr_scheduler.StepLR`.
    """
    expect_int("every", every, minimum=1)
    return factor ** (step // every)


def exponential_decay(step: int, rate: float) -> float:
    """Multiply the step size by ``rate`` after every step.

    As `torch.optim.lr_scheduler.ExponentialLR`.
    """
    return rate**step


def cosine(step: int, total: int, final: float = 0.0) -> float:
    """Come down along half a cosine wave; equation (training-cosine).

    As `torch.optim.lr_scheduler.CosineAnnealingLR` up to step ``total``, and ``final`` after it,
    where that one rises again.

    Args:
        total: steps on the way down.
        final: the factor at its end.
    """
    expect_int("total", total, minimum=1)
    return _glide(1.0, final, step / total)


def warmup(step: int, steps: int) -> float:
    """Rise in equal parts to the full step size, then stay; equation (training-warmup).

    As `torch.optim.lr_scheduler.LinearLR` from ``1 / steps`` on.

    Args:
        steps: the first step at full size is number ``steps - 1``, counted from 0.
    """
    expect_int("steps", steps, minimum=1)
    return min(1.0, (step + 1) / steps)


def warmup_cosine(step: int, total: int, warmup_steps: int, final: float = 0.0) -> float:
    """Rise by `warmup`, then come down by `cosine` in what is left of ``total``."""
    expect_int("warmup_steps", warmup_steps, minimum=1)
    expect_int("total", total, minimum=warmup_steps + 1)
    if step < warmup_steps:
        return warmup(step, warmup_steps)
    return cosine(step - warmup_steps, total - warmup_steps, final)


def one_cycle(
    step: int, total: int, rise: float = 0.3, start: float = 1 / 25, final: float = 4e-6
) -> float:
    """Glide up to the full step size, then down to almost nothing.

    As `torch.optim.lr_scheduler.OneCycleLR`, of which the optimiser's step size is the ``max_lr``.

    Args:
        total: steps in all, at least 2.
        rise: part of them on the way up.
        start: the first factor, 1 / ``div_factor`` there.
        final: the last factor.
    """
    expect_int("total", total, minimum=2)
    expect_number("rise", rise, minimum=0, below=1)
    top, last = rise * total - 1, total - 1
    if step < top:
        return _glide(start, 1.0, step / top)
    return _glide(1.0, final, (step - top) / (last - top))


def _glide(first: float, last: float, part: float) -> float:
    """Go from one value to another along half a cosine wave; ``part`` of the way is done."""
    return last + (first - last) * (1 + math.cos(math.pi * min(part, 1.0))) / 2
