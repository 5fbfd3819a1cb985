"""How good are made pictures, and how many kinds of them are there.

Nobody looks at pixels here: each picture is a row of features, such as what a classifier sees in
its last layer but one. Then two clouds of points are compared.

Equations: (gan-transport), (gan-line), (gan-frechet), (gan-precision), (gan-coverage),
(gan-expected-coverage), (gan-slerp).

Sources:
    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium", 2017: the Fréchet distance of features.
    Dowson and Landau, "The Fréchet distance between multivariate normal distributions", 1982.
    Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models",
    2019.
    Naeem et al., "Reliable fidelity and diversity metrics for generative models", 2020: density and
    coverage.
    Shoemake, "Animating rotation with quaternion curves", 1985: spherical interpolation.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.checking import (
    describe,
    expect_alike,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)

# --- transport on a line ------------------------------------------------------------------------


def wasserstein_distance(u_values: Tensor, v_values: Tensor) -> Tensor:
    """How far one heap of numbers must be carried to become another; equation (gan-line).

    Twin of `scipy.stats.wasserstein_distance` without weights.

    Args:
        u_values: ``Tensor[N]``, floating, at least one.
        v_values: ``Tensor[M]``, same dtype and device, at least one.
    Returns:
        one number, in the unit of the values: how much is carried times how far.
    """
    expect_tensor("u_values", u_values, ndim=1, floating=True)
    expect_tensor("v_values", v_values, ndim=1, floating=True)
    expect_alike(u_values=u_values, v_values=v_values)
    for name, values in (("u_values", u_values), ("v_values", v_values)):
        if len(values) == 0:
            raise ValueError(f"{name}: expected at least one number, got {describe(values)}")
    places = torch.cat((u_values, v_values)).sort().values
    to_the_left = [
        torch.searchsorted(values.detach().sort().values, places[:-1].detach(), right=True)
        / places.new_tensor(len(values))
        for values in (u_values, v_values)
    ]
    return ((to_the_left[0] - to_the_left[1]).abs() * places.diff()).sum()


# --- the Fréchet distance -----------------------------------------------------------------------


def frechet_from_moments(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """Squared Fréchet distance of two normal distributions; equation (gan-frechet).

    Args:
        mean1: ``Tensor[D]``, floating.
        cov1: ``Tensor[D, D]``, symmetric, without negative eigenvalues; singular ones may be.
        mean2, cov2: the same of the other distribution, same dtype and device.
    Returns:
        one number in float64, at least 0 up to rounding.
    """
    expect_tensor("mean1", mean1, ndim=1, floating=True)
    expect_alike(mean1=mean1, cov1=cov1, mean2=mean2, cov2=cov2)
    expect_shape("mean2", mean2, mean1.shape)
    for name, cov in (("cov1", cov1), ("cov2", cov2)):
        expect_shape(name, cov, (len(mean1), len(mean1)))
    root1, root2 = _root(cov1.double()), _root(cov2.double())
    return _frechet(mean1.double() - mean2.double(), root1, root2)


def frechet_distance(features1: Tensor, features2: Tensor) -> Tensor:
    """Squared Fréchet distance of two sets, each taken as normal; equation (gan-frechet).

    Covariances divide by the number of examples less one. Few examples give too large a distance:
    compare sets of equal sizes only.

    Args:
        features1: ``Tensor[N, D]``, floating: a row of features for each of at least two examples.
        features2: ``Tensor[M, D]``, same dtype and device.
    Returns:
        one number in float64, at least 0 up to rounding.
    """
    _expect_features(2, features1=features1, features2=features2)
    means, roots = [], []
    for features in (features1.double(), features2.double()):
        mean = features.mean(0)
        means.append(mean)
        # The triangle of QR has the covariance of all rows, and at most D of its own.
        roots.append(torch.linalg.qr((features - mean) / math.sqrt(len(features) - 1)).R)
    return _frechet(means[0] - means[1], roots[0], roots[1])


def _frechet(difference: Tensor, root1: Tensor, root2: Tensor) -> Tensor:
    """From roots, ``root.T @ root = cov``.

    The root of ``cov1 @ cov2`` has the trace of the singular values of ``root1 @ root2.T``: both
    squares have the same eigenvalues. So no square root is taken of what rounding left of a zero.
    """
    shared = torch.linalg.svdvals(root1 @ root2.T).sum()
    return difference.square().sum() + root1.square().sum() + root2.square().sum() - 2 * shared


def _root(cov: Tensor) -> Tensor:
    """A matrix whose product with itself, ``root.T @ root``, is ``cov``."""
    values, vectors = torch.linalg.eigh(cov)
    smallest = values[-1:] * len(cov) * torch.finfo(cov.dtype).eps  # below is rounding
    return values.where(values > smallest, 0).sqrt()[:, None] * vectors.T


# --- neighbours ---------------------------------------------------------------------------------


class Neighbourhoods(NamedTuple):
    """What `precision_recall_density_coverage` finds; each is one number."""

    precision: Tensor
    """share of made examples that are as close to a real one as real ones are to each other"""
    recall: Tensor
    """share of real examples that are as close to a made one as made ones are to each other"""
    density: Tensor
    """in how many real neighbourhoods a made example is, over how many it should be in"""
    coverage: Tensor
    """share of real examples with a made one in their neighbourhood"""


def precision_recall_density_coverage_loops(
    real: Tensor, fake: Tensor, k: int = 5
) -> Neighbourhoods:
    """Four shares, word by word; equations (gan-precision) and (gan-coverage).

    Arguments, result and errors are those of `precision_recall_density_coverage`.
    """
    _expect_neighbours(real, fake, k)

    def distance(a: Tensor, b: Tensor) -> float:
        return float((a - b).norm())

    def radius(i: int, points: Tensor) -> float:
        others = [distance(points[i], points[j]) for j in range(len(points)) if j != i]
        return sorted(others)[k - 1]

    real_radius = [radius(i, real) for i in range(len(real))]
    fake_radius = [radius(j, fake) for j in range(len(fake))]
    precise = recalled = pairs = covered = 0
    for y in fake:
        inside = [distance(x, y) <= reach for x, reach in zip(real, real_radius, strict=True)]
        precise += any(inside)
        pairs += sum(inside)
    for x, reach in zip(real, real_radius, strict=True):
        recalled += any(distance(x, y) <= r for y, r in zip(fake, fake_radius, strict=True))
        covered += any(distance(x, y) <= reach for y in fake)
    shares = (
        precise / len(fake),
        recalled / len(real),
        pairs / (k * len(fake)),
        covered / len(real),
    )
    return Neighbourhoods(*(real.new_tensor(share) for share in shares))


def precision_recall_density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> Neighbourhoods:
    """Are made examples like real ones, and are all kinds of them there?

    Equations (gan-precision) and (gan-coverage). A neighbourhood is the ball around an example that
    just reaches its ``k``-th nearest other one of the same set; what lies on its border is inside.

    Args:
        real: ``Tensor[N, D]``, floating: features of more than ``k`` real examples.
        fake: ``Tensor[M, D]``, same dtype and device: of more than ``k`` made ones.
        k: how many neighbours.
    Returns:
        four numbers from 0 to 1; density may be larger.
    """
    _expect_neighbours(real, fake, k)
    across = _distances(real, fake)  # (N, M)
    # An example's nearest is itself, at distance 0.
    real_radius = _distances(real, real).kthvalue(k + 1, dim=1).values  # (N,)
    fake_radius = _distances(fake, fake).kthvalue(k + 1, dim=1).values  # (M,)
    near_real = across <= real_radius[:, None]  # (N, M)
    near_fake = across <= fake_radius
    return Neighbourhoods(
        precision=near_real.any(0).to(real.dtype).mean(),
        recall=near_fake.any(1).to(real.dtype).mean(),
        density=near_real.sum().to(real.dtype) / (k * len(fake)),
        coverage=near_real.any(1).to(real.dtype).mean(),
    )


def expected_coverage(real: int, fake: int, k: int = 5) -> float:
    """The mean coverage of a perfect generator; equation (gan-expected-coverage).

    Args:
        real: how many real examples, more than ``k``.
        fake: how many made ones.
        k: how many neighbours.
    Returns:
        a number below 1: some real examples have ``k`` real ones around them before any made one.
    """
    expect_int("k", k, minimum=1)
    expect_int("real", real, minimum=k + 1)
    expect_int("fake", fake, minimum=1)
    return 1 - math.comb(real - 1, k) / math.comb(real + fake - 1, k)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """By differences: a matrix product would round the distance of twins away from zero."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


# --- between two latents ------------------------------------------------------------------------


def slerp(z1: Tensor, z2: Tensor, t: float | Tensor) -> Tensor:
    """Go from one vector to another along an arc; equation (gan-slerp).

    Args:
        z1: ``Tensor[..., D]``, floating.
        z2: same shape, dtype and device.
        t: where: 0 is ``z1``, 1 is ``z2``. A number, or ``Tensor[...]`` of a shape that fits those
            of ``z1`` without its last axis: ``Tensor[T]`` for two single vectors gives ``T`` rows.
    Returns:
        ``Tensor[..., D]``; parallel vectors give the straight line, and so do opposite ones, whose
        arc could go any way.
    """
    expect_tensor("z1", z1, floating=True)
    expect_shape("z2", z2, z1.shape)
    expect_alike(z1=z1, z2=z2)
    if isinstance(t, Tensor):
        expect_alike(z1=z1, t=t)
        t = t[..., None]
    else:
        expect_number("t", t)
    tiny = torch.finfo(z1.dtype).tiny
    unit1, unit2 = (z / z.norm(dim=-1, keepdim=True).clamp(min=tiny) for z in (z1, z2))
    # From half of it: an arc cosine loses half of the digits of a small angle.
    half = torch.atan2(
        (unit1 - unit2).norm(dim=-1, keepdim=True), (unit1 + unit2).norm(dim=-1, keepdim=True)
    )
    angle = 2 * half
    sine = angle.sin()
    straight = sine < math.sqrt(torch.finfo(z1.dtype).eps)
    sine = sine.where(~straight, 1)
    share1 = torch.where(straight, 1 - t, ((1 - t) * angle).sin() / sine)
    share2 = torch.where(straight, t, (t * angle).sin() / sine)
    return share1 * z1 + share2 * z2


def _expect_features(least: int, **features: Tensor) -> None:
    for name, value in features.items():
        expect_tensor(name, value, ndim=2, floating=True)
        if len(value) < least:
            raise ValueError(f"{name}: expected at least {least} rows, got {describe(value)}")
    expect_alike(**features)
    (_, first), (name, second) = features.items()
    expect_shape(name, second, (None, first.shape[1]))


def _expect_neighbours(real: Tensor, fake: Tensor, k: int) -> None:
    _expect_features(expect_int("k", k, minimum=1) + 1, real=real, fake=fake)
