"""The game itself: what it is worth, how well it can be played, and how it moves.

Densities are numbers on a grid of equally spaced points, in the last axis. Random samples come from
a ring of small heaps, on which lost heaps can be counted.

Equations: (gan-value), (gan-logits), (gan-integral), (gan-optimal), (gan-divergence),
(gan-optimum), (gan-dirac), (gan-bilinear), (gan-simultaneous), (gan-alternating),
(gan-eigenvalues).

Sources:
    Goodfellow et al., "Generative adversarial nets", 2014: the game and its optimum.
    Mescheder, Geiger and Nowozin, "Which training methods for GANs do actually converge?", 2018:
    the Dirac-GAN and its eigenvalues.
    Srivastava et al., "VEEGAN: reducing mode collapse in GANs using implicit variational learning",
    2017: how lost modes are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.checking import (
    expect_alike,
    expect_choice,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)

Field = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""what moves two players: their velocities at ``(theta, psi)``"""

DIRAC_LOSSES = ("saturating", "nonsaturating", "wasserstein")
DIRAC_PENALTIES = (None, "r1", "gradient")
SCHEMES = ("simultaneous", "alternating", "flow")


# --- the value ----------------------------------------------------------------------------------


def value_function_loops(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """What the game is worth, word by word; equation (gan-value).

    Arguments, result and errors are those of `value_function`. A very sure discriminator gives
    minus infinity here, as ``1 - D`` is rounded to zero.
    """
    expect_logits(real_logits=real_logits, fake_logits=fake_logits)
    real, fake = real_logits.flatten(), fake_logits.flatten()
    of_real, of_fake = real.new_zeros(()), fake.new_zeros(())
    for logit in real:
        d = 1 / (1 + torch.exp(-logit))
        of_real = of_real + torch.log(d)
    for logit in fake:
        d = 1 / (1 + torch.exp(-logit))
        of_fake = of_fake + torch.log(1 - d)
    return of_real / len(real) + of_fake / len(fake)


def value_function(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean of ``log D`` over real examples, and of ``log(1 - D)`` over made ones; (gan-logits).

    Both logarithms are taken of the logits at once, so that none is of a zero.

    Args:
        real_logits: ``Tensor[...]``, floating: the scores of real examples, ``D = sigmoid(score)``.
        fake_logits: ``Tensor[...]`` of any shape, same dtype and device: those of made examples.
    Returns:
        one number, at most 0; -log 4 for a discriminator that cannot decide.
    Raises:
        TypeError: if one is no floating tensor, or the dtypes differ.
        ValueError: if one is empty, or the devices differ.
    """
    expect_logits(real_logits=real_logits, fake_logits=fake_logits)
    return F.logsigmoid(real_logits).mean() + F.logsigmoid(-fake_logits).mean()


def value_function_density(p_data: Tensor, p_model: Tensor, d: Tensor, dx: float) -> Tensor:
    """What the game is worth when both densities are known; equation (gan-integral).

    Args:
        p_data: ``Tensor[..., K]``, floating: the data's density at ``K`` points, ``dx`` apart.
        p_model: that of what the generator makes, same shape, dtype and device.
        d: the discriminator's probabilities there, in [0, 1].
        dx: the distance of two points; 1 for probabilities instead of densities.
    Returns:
        ``Tensor[...]``; minus infinity where a certain discriminator is wrong.
    """
    _expect_densities(dx, p_data=p_data, p_model=p_model, d=d)
    return (torch.xlogy(p_data, d) + torch.xlogy(p_model, 1 - d)).sum(-1) * dx


# --- the best answer ----------------------------------------------------------------------------


def optimal_discriminator(p_data: Tensor, p_model: Tensor) -> Tensor:
    """The best discriminator against a generator that stands still; equation (gan-optimal).

    Args:
        p_data: ``Tensor[...]``, floating: the data's density at some points.
        p_model: that of what the generator makes, same shape, dtype and device.
    Returns:
        ``Tensor[...]``, probabilities; 1/2 where neither density has anything.
    """
    _expect_densities(1.0, p_data=p_data, p_model=p_model)
    total = p_data + p_model
    return (p_data / total.where(total > 0, 1)).where(total > 0, 0.5)


def jensen_shannon(p: Tensor, q: Tensor, dx: float = 1.0) -> Tensor:
    """How far two densities are apart, in nats; equation (gan-divergence).

    Args:
        p: ``Tensor[..., K]``, floating: a density at ``K`` points, ``dx`` apart.
        q: another, same shape, dtype and device.
        dx: the distance of two points; 1 for probabilities instead of densities.
    Returns:
        ``Tensor[...]``, from 0 for equal densities to log 2 for those that never meet.
    """
    _expect_densities(dx, p=p, q=q)
    middle = (p + q) / 2
    middle = middle.where(middle > 0, 1)
    each = torch.xlogy(p, p / middle) + torch.xlogy(q, q / middle)
    return each.sum(-1) * (dx / 2)


def value_at_optimum(p_data: Tensor, p_model: Tensor, dx: float = 1.0) -> Tensor:
    """What the game is worth against the best discriminator; equation (gan-optimum).

    Arguments and result are those of `jensen_shannon`; -log 4 for equal densities, 0 for those that
    never meet.
    """
    return 2 * jensen_shannon(p_data, p_model, dx) - math.log(4)


def mixture_density(x: Tensor, centres: Tensor, std: float) -> Tensor:
    """The density of equally many normal numbers around each of some centres.

    It is also that of a generator ``G(z) + std * noise``, with ``centres = G(z)`` for ``z`` at
    equally many quantiles of its distribution.

    Args:
        x: ``Tensor[K]``, floating: where the density is wanted.
        centres: ``Tensor[C]``, same dtype and device.
        std: the standard deviation around each centre.
    Returns:
        ``Tensor[K]``, which integrates to 1.
    """
    expect_tensor("x", x, ndim=1, floating=True)
    expect_tensor("centres", centres, ndim=1, floating=True)
    expect_alike(x=x, centres=centres)
    _expect_positive("std", std)
    distance = (x[:, None] - centres) / std  # (K, C)
    return torch.exp(-distance.square() / 2).mean(1) / (std * math.sqrt(2 * math.pi))


# --- the smallest game --------------------------------------------------------------------------


def dirac_field(
    theta: Tensor,
    psi: Tensor,
    loss: str = "saturating",
    penalty: str | None = None,
    weight: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Where both players of the smallest game go; equation (gan-dirac).

    All data are the one number 0, all that the generator makes is the one number ``theta``, and the
    discriminator's score of a number ``x`` is ``psi * x``. The discriminator climbs its value, the
    generator descends its loss.

    Args:
        theta: ``Tensor[...]``, floating: the generator's parameter.
        psi: the discriminator's, of a shape that fits, same dtype and device.
        loss: ``"saturating"``, ``"nonsaturating"``, or ``"wasserstein"``: the bilinear game of
            equation (gan-bilinear).
        penalty: ``"r1"``, which takes ``weight * psi**2 / 2`` from the discriminator's value;
            ``"gradient"``, which takes ``weight * (abs(psi) - 1)**2``; or ``None``.
        weight: how much the penalty counts, at least 0.
    Returns:
        the velocities of ``theta`` and of ``psi``.
    """
    for name, value in (("theta", theta), ("psi", psi)):
        expect_tensor(name, value, floating=True)
    expect_alike(theta=theta, psi=psi)
    expect_choice("loss", loss, DIRAC_LOSSES)
    expect_choice("penalty", penalty, DIRAC_PENALTIES)
    expect_number("weight", weight, minimum=0)
    score = theta * psi  # of the generator's number
    if loss == "wasserstein":
        velocity_theta, velocity_psi = psi.expand_as(score), -theta.expand_as(score)
    else:
        push = torch.sigmoid(-score if loss == "nonsaturating" else score)
        velocity_theta, velocity_psi = psi * push, -theta * torch.sigmoid(score)
    if penalty == "r1":
        velocity_psi = velocity_psi - weight * psi
    elif penalty == "gradient":
        velocity_psi = velocity_psi - 2 * weight * (psi.abs() - 1) * psi.sign()
    return velocity_theta, velocity_psi


def simulate(
    field: Field, start: Tensor, step: float, steps: int, scheme: str = "simultaneous"
) -> Tensor:
    """Follow two players of a game; equations (gan-simultaneous) and (gan-alternating).

    Args:
        field: gives the velocities at ``(theta, psi)``, as `dirac_field` does.
        start: ``Tensor[..., 2]``, floating: one pair ``(theta, psi)`` or several.
        step: the length of a step in time, the learning rate.
        steps: how many.
        scheme: ``"simultaneous"``: both move by what they see before the step; ``"alternating"``:
            the discriminator, ``psi``, moves first, and the generator sees it moved; ``"flow"``:
            time goes by without steps, up to the error of the Runge-Kutta rule of order 4.
    Returns:
        ``Tensor[steps + 1, ..., 2]``: the start, and where they are after each step.
    """
    expect_tensor("start", start, floating=True)
    expect_shape("start", start, (*start.shape[:-1], 2))
    _expect_positive("step", step)
    expect_int("steps", steps, minimum=0)
    expect_choice("scheme", scheme, SCHEMES)
    move = {"simultaneous": _together, "alternating": _in_turn, "flow": _runge_kutta}[scheme]
    path = [start]
    for _ in range(steps):
        path.append(move(field, path[-1], step))
    return torch.stack(path)


def r1_eigenvalues(weight: Tensor, slope: float = 0.5) -> Tensor:
    """How the smallest game with R1 moves close to its rest; equation (gan-eigenvalues).

    Args:
        weight: ``Tensor[...]``, floating: the weight of R1, at least 0.
        slope: how strongly one player moves the other there: 1/2 for the saturating and the
            non-saturating loss, 1 for the Wasserstein loss.
    Returns:
        ``Tensor[..., 2]``, complex: both come to rest if the real parts are negative, and they
        swing if the imaginary ones are not zero.
    """
    expect_tensor("weight", weight, floating=True)
    _expect_positive("slope", slope)
    half = weight / 2
    root = torch.sqrt(torch.complex(half.square() - slope**2, torch.zeros_like(half)))
    return torch.stack((root - half, -root - half), -1)


# --- heaps on a ring ----------------------------------------------------------------------------


class ModesFound(NamedTuple):
    """What `modes_found` counts."""

    found: Tensor
    """``Tensor[]``, int64: modes with at least ``least`` good samples"""
    good: Tensor
    """``Tensor[]``: the share of samples that are close to a mode"""
    counts: Tensor
    """``Tensor[modes]``, int64: good samples of each mode"""


def ring_centres(
    modes: int = 8, radius: float = 2.0, *, device: torch.device | str | None = None
) -> Tensor:
    """The middle of each heap of `ring`: ``Tensor[modes, 2]``, the first on the right."""
    expect_int("modes", modes, minimum=1)
    _expect_positive("radius", radius)
    angle = torch.arange(modes, device=device) * (2 * math.pi / modes)
    return radius * torch.stack((angle.cos(), angle.sin()), 1)


def ring(
    count: int,
    modes: int = 8,
    radius: float = 2.0,
    std: float = 0.02,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Draw points from small round heaps, equally far from each other on a circle.

    Args:
        count: how many points.
        modes: how many heaps; each is as likely as the others.
        radius: of the circle.
        std: the standard deviation of a heap in each direction.
        generator: where the random numbers come from, on the CPU; torch's own if it is left out.
        device: where the points shall be.
    Returns:
        ``Tensor[count, 2]``, float32.
    """
    expect_int("count", count, minimum=0)
    _expect_positive("std", std)
    centres = ring_centres(modes, radius, device=device)
    heap = torch.randint(modes, (count,), generator=generator).to(centres.device)
    noise = torch.randn(count, 2, generator=generator).to(centres.device)
    return centres[heap] + std * noise


def modes_found(
    samples: Tensor,
    modes: int = 8,
    radius: float = 2.0,
    std: float = 0.02,
    *,
    tolerance: float = 3.0,
    least: int = 1,
) -> ModesFound:
    """Count how many heaps of `ring` some points cover.

    Args:
        samples: ``Tensor[N, 2]``, floating.
        modes, radius, std: as in `ring`.
        tolerance: a sample is good if it is at most so many ``std`` from the nearest centre; 98.9 %
            of the points of a `ring` are within 3.
        least: a mode is found if it has at least so many good samples.
    Returns:
        three tensors; the share of good samples of no samples is NaN.
    """
    expect_tensor("samples", samples, floating=True)
    expect_shape("samples", samples, (None, 2))
    _expect_positive("std", std)
    _expect_positive("tolerance", tolerance)
    expect_int("least", least, minimum=1)
    centres = ring_centres(modes, radius, device=samples.device).to(samples.dtype)
    distance, nearest = (samples[:, None] - centres).norm(dim=2).min(1)  # (N,)
    good = distance <= tolerance * std
    one_of = torch.arange(modes, device=samples.device)
    counts = ((nearest[:, None] == one_of) & good[:, None]).sum(0)  # (modes,)
    return ModesFound((counts >= least).sum(), good.to(samples.dtype).mean(), counts)


# --- steps and checks ---------------------------------------------------------------------------


def _velocity(field: Field, place: Tensor) -> Tensor:
    return torch.stack(field(place[..., 0], place[..., 1]), -1)


def _together(field: Field, place: Tensor, step: float) -> Tensor:
    return place + step * _velocity(field, place)


def _in_turn(field: Field, place: Tensor, step: float) -> Tensor:
    theta, psi = place.unbind(-1)
    psi = psi + step * field(theta, psi)[1]
    theta = theta + step * field(theta, psi)[0]
    return torch.stack((theta, psi), -1)


def _runge_kutta(field: Field, place: Tensor, step: float) -> Tensor:
    first = _velocity(field, place)
    second = _velocity(field, place + step / 2 * first)
    third = _velocity(field, place + step / 2 * second)
    fourth = _velocity(field, place + step * third)
    return place + step / 6 * (first + 2 * second + 2 * third + fourth)


def expect_logits(**logits: Tensor) -> None:
    """Raise unless each is a floating tensor of at least one score, all of one kind."""
    for name, value in logits.items():
        expect_tensor(name, value, floating=True)
        if value.numel() == 0:
            raise ValueError(f"{name}: expected at least one score, got shape {tuple(value.shape)}")
    expect_alike(**logits)


def _expect_densities(dx: float, **densities: Tensor) -> None:
    first = next(iter(densities.values()))
    for name, value in densities.items():
        expect_tensor(name, value, floating=True)
        expect_shape(name, value, first.shape)
    expect_alike(**densities)
    _expect_positive("dx", dx)


def _expect_positive(name: str, value: float) -> None:
    if expect_number(name, value, minimum=0) == 0:
        raise ValueError(f"{name}: expected a number > 0, got {value!r}")
