"""What both players learn from, and what keeps the discriminator within bounds.

All losses are of logits, the discriminator's scores before any sigmoid, so that none has to take
the logarithm of a rounded probability. Those that do without a sigmoid take the scores themselves.

Equations: (gan-saturating), (gan-nonsaturating), (gan-slopes), (gan-least-squares), (gan-hinge),
(gan-wasserstein), (gan-gradient-penalty), (gan-r1), (gan-spectral), (gan-power).

Sources:
    Goodfellow et al., "Generative adversarial nets", 2014: both losses of the first game.
    Mao et al., "Least squares generative adversarial networks", 2017.
    Lim and Ye, "Geometric GAN", 2017: the hinge.
    Arjovsky, Chintala and Bottou, "Wasserstein generative adversarial networks", 2017.
    Gulrajani et al., "Improved training of Wasserstein GANs", 2017: the gradient penalty.
    Miyato et al., "Spectral normalization for generative adversarial networks", 2018.
    Mescheder, Geiger and Nowozin, "Which training methods for GANs do actually converge?", 2018:
    R1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from course_lib.checking import (
    describe,
    expect_alike,
    expect_choice,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)
from course_lib.gan.game import expect_logits, value_function

KINDS = ("saturating", "nonsaturating", "least_squares", "hinge", "wasserstein")
"""the games that can be played"""

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


# --- losses -------------------------------------------------------------------------------------


def saturating_loss(fake_logits: Tensor) -> Tensor:
    """Mean of ``log(1 - D)`` over what the generator made; equation (gan-saturating).

    Args:
        fake_logits: ``Tensor[...]``, floating: the discriminator's scores of made examples.
    Returns:
        one number, at most 0; so are the other losses of the generator.
    Raises:
        TypeError: if ``fake_logits`` is no floating tensor.
        ValueError: if it is empty.
    """
    expect_logits(fake_logits=fake_logits)
    return F.logsigmoid(-fake_logits).mean()


def nonsaturating_loss(fake_logits: Tensor) -> Tensor:
    """Mean of ``-log D`` over what the generator made; equation (gan-nonsaturating).

    Args and errors are those of `saturating_loss`; the result is at least 0.
    """
    expect_logits(fake_logits=fake_logits)
    return -F.logsigmoid(fake_logits).mean()


def least_squares_loss(logits: Tensor, target: float) -> Tensor:
    """Half the mean squared distance of scores from a target; a term of (gan-least-squares).

    Args:
        logits: ``Tensor[...]``, floating.
        target: 1 for real, 0 for made; the generator wants 1.
    Returns:
        one number.
    """
    expect_logits(logits=logits)
    expect_number("target", target)
    return (logits - target).square().mean() / 2


def hinge_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """What scores lack of +1 for real and of -1 for made examples; equation (gan-hinge).

    Args:
        real_logits: ``Tensor[...]``, floating: scores of real examples.
        fake_logits: ``Tensor[...]`` of any shape, same dtype and device: those of made ones.
    Returns:
        one number, at least 0: the discriminator's loss.
    """
    expect_logits(real_logits=real_logits, fake_logits=fake_logits)
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def wasserstein_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Mean score of made examples less that of real ones; equation (gan-wasserstein).

    Arguments are those of `hinge_loss`; the result is the discriminator's loss, minus the distance
    that it estimates if its slope is at most 1.
    """
    expect_logits(real_logits=real_logits, fake_logits=fake_logits)
    return fake_logits.mean() - real_logits.mean()


def discriminator_loss(
    real_logits: Tensor, fake_logits: Tensor, kind: str = "nonsaturating"
) -> Tensor:
    """What the discriminator wants to be small.

    Args:
        real_logits: ``Tensor[...]``, floating: scores of real examples.
        fake_logits: ``Tensor[...]`` of any shape, same dtype and device: those of made ones.
        kind: one of `KINDS`; the saturating and the non-saturating game differ for the generator
            only, and give minus the `value_function` here.
    Returns:
        one number.
    Raises:
        TypeError: if scores are no floating tensors, or their dtypes differ.
        ValueError: if there are none, their devices differ, or ``kind`` is unknown.
    """
    expect_choice("kind", kind, KINDS)
    if kind == "least_squares":
        return least_squares_loss(real_logits, 1) + least_squares_loss(fake_logits, 0)
    if kind == "hinge":
        return hinge_loss(real_logits, fake_logits)
    if kind == "wasserstein":
        return wasserstein_loss(real_logits, fake_logits)
    return -value_function(real_logits, fake_logits)


def generator_loss(fake_logits: Tensor, kind: str = "nonsaturating") -> Tensor:
    """What the generator wants to be small.

    Args:
        fake_logits: ``Tensor[...]``, floating: the discriminator's scores of made examples.
        kind: one of `KINDS`.
    Returns:
        one number.
    Raises:
        TypeError: if ``fake_logits`` is no floating tensor.
        ValueError: if it is empty, or ``kind`` is unknown.
    """
    expect_choice("kind", kind, KINDS)
    if kind == "saturating":
        return saturating_loss(fake_logits)
    if kind == "nonsaturating":
        return nonsaturating_loss(fake_logits)
    if kind == "least_squares":
        return least_squares_loss(fake_logits, 1)
    expect_logits(fake_logits=fake_logits)
    return -fake_logits.mean()


def generator_slope(fake_logits: Tensor, kind: str = "nonsaturating") -> Tensor:
    """The slope of one example's loss with respect to its own score; equation (gan-slopes).

    Whatever reaches the generator was multiplied by this number. The loss is a mean, whose gradient
    is this divided by the number of examples.

    Args:
        fake_logits: ``Tensor[...]``, floating: the discriminator's scores of made examples.
        kind: one of `KINDS`.
    Returns:
        ``Tensor[...]``.
    """
    expect_tensor("fake_logits", fake_logits, floating=True)
    expect_choice("kind", kind, KINDS)
    if kind == "saturating":
        return -torch.sigmoid(fake_logits)
    if kind == "nonsaturating":
        return -torch.sigmoid(-fake_logits)
    if kind == "least_squares":
        return fake_logits - 1
    return -torch.ones_like(fake_logits)


# --- penalties ----------------------------------------------------------------------------------


def gradient_penalty(
    discriminator: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """How far the score's slope is from 1 between real and made ones; (gan-gradient-penalty).

    The discriminator must judge each example by itself: with batch normalisation, no example has a
    slope of its own.

    Args:
        discriminator: gives ``Tensor[N]`` or ``Tensor[N, 1]`` of scores.
        real: ``Tensor[N, ...]``, floating: real examples.
        fake: made ones, same shape, dtype and device; no gradient goes back to their maker.
        generator: draws a place between each pair, on the CPU; torch's own if it is left out.
    Returns:
        one number; its gradient reaches the discriminator's parameters.
    """
    expect_tensor("real", real, floating=True)
    expect_tensor("fake", fake, floating=True)
    expect_shape("fake", fake, real.shape)
    expect_alike(real=real, fake=fake)
    shape = (len(real), *[1] * (real.ndim - 1))
    if generator is None:
        share = torch.rand(shape, dtype=real.dtype, device=real.device)
    else:
        share = torch.rand(shape, dtype=real.dtype, generator=generator).to(real.device)
    between = share * real + (1 - share) * fake
    return (_slopes(discriminator, between).norm(dim=1) - 1).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """Half the mean squared slope of the score at real examples; equation (gan-r1).

    Args:
        discriminator: gives ``Tensor[N]`` or ``Tensor[N, 1]`` of scores, each example by itself.
        real: ``Tensor[N, ...]``, floating: real examples.
    Returns:
        one number; its gradient reaches the discriminator's parameters.
    """
    expect_tensor("real", real, floating=True)
    return _slopes(discriminator, real).square().sum(1).mean() / 2


def _slopes(discriminator: Callable[[Tensor], Tensor], examples: Tensor) -> Tensor:
    """The gradient of each example's score with respect to the example: (N, D)."""
    if examples.ndim < 2 or len(examples) == 0:
        raise ValueError(f"real: expected at least one example in rows, got {describe(examples)}")
    examples = examples.detach().requires_grad_()
    # The sum's gradient holds those of all examples, as each score depends on its own only.
    (slopes,) = torch.autograd.grad(discriminator(examples).sum(), examples, create_graph=True)
    return slopes.flatten(1)


# --- spectral normalisation ---------------------------------------------------------------------


def spectral_norm(
    weight: Tensor,
    iterations: int = 1,
    v: Tensor | None = None,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """The largest singular value of a matrix, by power iteration; equation (gan-power).

    Never above the true value, and the closer the more iterations. Its gradient is ``u vᵀ``, as if
    the iteration had come to its end.

    Args:
        weight: ``Tensor[R, ...]``, floating: a matrix of ``R`` rows; further axes are one.
        iterations: how many, at least 1.
        v: ``Tensor[C]``, of length 1: where to go on, what an earlier call returned; random if left
            out.
        generator: draws it, on the CPU; torch's own if it is left out.
    Returns:
        the estimate, and ``v``, the direction that is lengthened most.
    """
    expect_tensor("weight", weight, floating=True)
    if weight.ndim < 2:
        raise ValueError(f"weight: expected a matrix, got {describe(weight)}")
    expect_int("iterations", iterations, minimum=1)
    matrix = weight.flatten(1)
    if v is None:
        v = _direction(matrix.shape[1], matrix, generator)
    expect_shape("v", v, (matrix.shape[1],))
    u, v = _power_iteration(matrix.detach(), v, iterations)
    return u @ matrix @ v, v


def spectral_normalize(
    module: nn.Module, name: str = "weight", n_power_iterations: int = 1
) -> nn.Module:
    """Divide a layer's weight by its spectral norm, whenever it is used; equation (gan-spectral).

    Twin of `torch.nn.utils.parametrizations.spectral_norm`, and the two can load each other's
    state. The estimate is carried on from step to step, in training only.

    Args:
        module: a layer, such as `torch.nn.Linear` or `torch.nn.Conv2d`; it is changed.
        name: which of its parameters; all its axes but that of the outputs are taken as one.
        n_power_iterations: for each use in training.
    Returns:
        the same layer.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        raise ValueError(f"name: expected a parameter of two axes or more, got {name!r}")
    expect_int("n_power_iterations", n_power_iterations, minimum=1)
    axis = 1 if isinstance(module, _TRANSPOSED) else 0  # where the outputs are counted
    parametrization = _SpectralNorm(weight.detach(), n_power_iterations, axis)
    parametrize.register_parametrization(module, name, parametrization)
    return module


class _SpectralNorm(nn.Module):
    """Divides a weight by its spectral norm, and remembers where the iteration stands."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, iterations: int, axis: int) -> None:
        super().__init__()
        self.iterations, self.axis = iterations, axis
        matrix = self._matrix(weight)
        start = _direction(matrix.shape[1], matrix, None)
        u, v = _power_iteration(matrix, start, 15)  # so that the first step is a good one
        self.register_buffer("_u", u)
        self.register_buffer("_v", v)

    def forward(self, weight: Tensor) -> Tensor:
        matrix = self._matrix(weight)
        if self.training:
            u, v = _power_iteration(matrix.detach(), self._v, self.iterations)
            self._u.copy_(u)
            self._v.copy_(v)
        # Copies: the next use moves the buffers, and backward needs them as they were.
        return weight / (self._u.clone() @ matrix @ self._v.clone())

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.axis, 0).flatten(1)


@torch.no_grad()
def _power_iteration(matrix: Tensor, v: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Let a direction go there and back; what is lengthened most wins."""
    for _ in range(iterations):
        u = F.normalize(matrix @ v, dim=0)
        v = F.normalize(matrix.T @ u, dim=0)
    return u, v


def _direction(length: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        drawn = torch.randn(length, dtype=like.dtype, device=like.device)
    else:
        drawn = torch.randn(length, dtype=like.dtype, generator=generator).to(like.device)
    return cast(Tensor, F.normalize(drawn, dim=0))
