"""What the chapter `gan` times: an epoch of `fit_gan`, and measures that others have too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.optim import swa_utils

from benchmarks.core import FORWARD, Case, by, imported, normal, slow
from course_lib import gan

# --- an epoch -----------------------------------------------------------------------------------

_SCANS, _BATCH = 1797, 64


def _players(
    device: torch.device,
) -> tuple[gan.Generator, gan.Discriminator, list[torch.optim.Adam]]:
    """The chapter's generator and discriminator with their optimisers, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pair = gan.Generator().to(device), gan.Discriminator().to(device)
    # With a larger eps than usual, rounding does not decide which way a small weight goes.
    adam = [
        torch.optim.Adam(player.parameters(), 1e-3, (0.5, 0.99), 1e-3, fused=True)
        for player in pair
    ]
    return *pair, adam


def _weights(*players: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for player in players for p in player.parameters()])


def _by_fit_gan(scans: Tensor) -> Tensor:
    generator, discriminator, adam = _players(scans.device)
    gan.fit_gan(
        generator, discriminator, scans, generator_optimizer=adam[0],
        discriminator_optimizer=adam[1], epochs=1, batch_size=_BATCH, device=scans.device,
        progress=False,
    )  # fmt: skip
    return _weights(generator, discriminator)


def _naively(scans: Tensor) -> Tensor:
    """The loop of most tutorials: the same noise goes through the generator once for each turn."""
    generator, discriminator, adam = _players(scans.device)
    chance = torch.Generator().manual_seed(0)
    order = torch.randperm(len(scans), generator=chance).to(scans.device)
    bce = F.binary_cross_entropy_with_logits
    for batch in order[: len(scans) // _BATCH * _BATCH].split(_BATCH):
        real = scans[batch]
        noise = torch.randn(_BATCH, 32, generator=chance).to(scans.device)
        ones, zeros = torch.ones(_BATCH, device=scans.device), torch.zeros_like(real[:, 0, 0, 0])
        adam[1].zero_grad()
        on_real = bce(discriminator(real), ones)
        on_real.backward()
        on_fake = bce(discriminator(generator(noise).detach()), zeros)
        on_fake.backward()
        adam[1].step()
        adam[0].zero_grad()
        verdict = bce(discriminator(generator(noise)), ones)
        verdict.backward()
        adam[0].step()
    return _weights(generator, discriminator)


# --- measures and normalisation -----------------------------------------------------------------


def _frechet_by_root(features1: Tensor, features2: Tensor) -> Tensor:
    """As the reference implementation of the FID computes it."""
    from scipy.linalg import sqrtm

    (mean1, cov1), (mean2, cov2) = (
        (features.double().mean(0), features.double().T.cov())
        for features in (features1, features2)
    )
    root = torch.as_tensor(sqrtm((cov1 @ cov2).cpu().numpy()).real, device=cov1.device)
    return (mean1 - mean2).square().sum() + torch.trace(cov1 + cov2 - 2 * root)


def _frechet(count: int, width: int) -> Case:
    return Case(
        "frechet_distance",
        f"{count} × {width}",
        gan.frechet_distance,
        _frechet_by_root,
        normal((count, width), (count, width)),
        directions=(FORWARD,),
        library="SciPy",
    )


def _carried(count: int) -> Case:
    def by_scipy(one: Tensor, two: Tensor) -> Tensor:
        distance = imported("scipy.stats", "wasserstein_distance")(one.numpy(), two.numpy())
        return torch.tensor(distance, dtype=one.dtype)

    return Case(
        "wasserstein_distance",
        str(count),
        gan.wasserstein_distance,
        by_scipy,
        normal((count,), (count,)),
        directions=(FORWARD,),
        library="SciPy",
    )


def _precision(count: int, width: int) -> Case:
    """Precision and recall by search trees."""

    def by_scipy(real: Tensor, fake: Tensor, k: int = 5) -> Tensor:
        tree = imported("scipy.spatial", "KDTree")
        trees = [tree(points.numpy()) for points in (real, fake)]
        shares = []
        for own, other in (trees, trees[::-1]):
            reach = own.query(own.data, k=k + 1)[0][:, -1]
            inside = own.query(other.data, k=len(own.data))
            shares.append((inside[0] <= reach[inside[1]]).any(1).mean())
        return torch.tensor(shares, dtype=real.dtype)

    return Case(
        "precision_recall_density_coverage",
        f"{count} × {width}",
        lambda real, fake: torch.stack(gan.precision_recall_density_coverage(real, fake)[:2]),
        by_scipy,
        normal((count, width), (count, width)),
        directions=(FORWARD,),
        library="SciPy",
    )


# --- losses -------------------------------------------------------------------------------------


def _by_bce(real: Tensor, fake: Tensor) -> Tensor:
    bce = F.binary_cross_entropy_with_logits
    return bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))


def _by_margin(real: Tensor, fake: Tensor) -> Tensor:
    one, zero = torch.ones_like(real), torch.zeros_like(real)
    apart = partial(F.margin_ranking_loss, margin=1.0)
    return apart(real, zero, one) + apart(zero, fake, one)


def _loss(operation: str, twin: Callable[..., Tensor], *shape: int) -> Case:
    return Case(operation, by(shape), getattr(gan, operation), twin, normal(shape, shape))


def _averaged(width: int) -> Case:
    """Four steps of an average of weights, beside PyTorch's own."""

    def player(weights: Tensor) -> nn.Module:
        layer = nn.Linear(width, width, bias=False, device=weights.device)
        layer.weight = nn.Parameter(weights.detach().clone())
        return layer

    def ours(start: Tensor, goal: Tensor) -> Tensor:
        average, model = player(start), player(goal)
        for _ in range(4):
            gan.update_average(average, model, 0.9)
        return next(average.parameters()).detach()

    def twin(start: Tensor, goal: Tensor) -> Tensor:
        keep = swa_utils.get_ema_multi_avg_fn(0.9)
        average, model = swa_utils.AveragedModel(player(start), multi_avg_fn=keep), player(goal)
        average.n_averaged += 1  # it would begin with a copy of what comes first
        for _ in range(4):
            average.update_parameters(model)
        return next(average.parameters()).detach()

    return Case(
        "update_average",
        f"4 steps of {width}×{width}",
        ours,
        twin,
        normal((width, width), (width, width)),
        directions=(FORWARD,),
    )


def _spectral(outputs: int, inputs: int) -> Case:
    """Ten uses in training of one layer, whose largest singular value stands out."""
    shape = (outputs, inputs, 4, 4)

    def call(normalize: Callable[[nn.Module], nn.Module], weight: Tensor) -> Tensor:
        layer = nn.Conv2d(inputs, outputs, 4, device=weight.device)
        layer.weight = nn.Parameter(1 + weight.detach())
        with torch.random.fork_rng():
            torch.manual_seed(0)
            normalize(layer)
        return torch.stack([layer.weight.detach() for _ in range(10)]).mean(0)

    return Case(
        "spectral_normalize",
        "×".join(map(str, shape)),
        lambda weight: call(gan.spectral_normalize, weight),
        lambda weight: call(parametrizations.spectral_norm, weight),
        normal(shape),
        directions=(FORWARD,),
    )


CASES = [
    Case(
        "fit_gan",
        f"an epoch of {_SCANS} scans, made pictures computed twice",
        _by_fit_gan,
        _naively,
        lambda generator: (torch.rand(_SCANS, 1, 8, 8, generator=generator),),
        directions=(FORWARD,),
        at_most={FORWARD: 0.8},
    ),
    _frechet(1000, 64),
    slow(_frechet(2000, 512)),
    _carried(100),
    _carried(100_000),
    _precision(200, 16),
    slow(_precision(1500, 64)),
    _loss("discriminator_loss", _by_bce, 64),
    _loss("discriminator_loss", _by_bce, 1_000_000),
    _loss("hinge_loss", _by_margin, 64),
    _loss("hinge_loss", _by_margin, 1_000_000),
    _averaged(64),
    _averaged(1024),
    _spectral(64, 32),
    slow(_spectral(512, 256)),
]
