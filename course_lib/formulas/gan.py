"""The equations of the chapter `gan`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import gan
from course_lib.formulas.entry import Formula, Pairs, Sense, Symbols, normal, number

Drawn = Iterator[tuple[Tensor, Tensor]]

_COUNT = 10
_DX = 0.01


def _share(generator: torch.Generator) -> float:
    return torch.rand((), generator=generator).item()


def _scores(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Scores of a few real and of a few made examples."""
    for _ in range(_COUNT):
        real = 3 * normal(generator, device, number(generator, 1, 9))
        yield real, 3 * normal(generator, device, number(generator, 1, 9))


def _slope(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """What autograd says about a function's sum."""
    leaf = at.detach().requires_grad_()
    return torch.autograd.grad(function(leaf).sum(), leaf)[0]


# --- the game -----------------------------------------------------------------------------------


def _value(generator: torch.Generator, device: torch.device) -> Drawn:
    for real, fake in _scores(generator, device):
        expected = -F.binary_cross_entropy(torch.sigmoid(real), torch.ones_like(real))
        expected = expected - F.binary_cross_entropy(torch.sigmoid(fake), torch.zeros_like(fake))
        yield gan.value_function_loops(real, fake), expected


def _logits(generator: torch.Generator, device: torch.device) -> Drawn:
    with_logits = F.binary_cross_entropy_with_logits
    for real, fake in _scores(generator, device):
        expected = with_logits(real, torch.ones_like(real)) + with_logits(
            fake, torch.zeros_like(fake)
        )
        yield gan.value_function(real, fake), -expected


class _Bumps(NamedTuple):
    """A density of some normal heaps."""

    centres: Tensor
    spread: float

    def on(self, grid: Tensor) -> Tensor:
        return gan.mixture_density(grid, self.centres.to(grid), self.spread)

    def log(self, x: Tensor) -> Tensor:
        """The logarithm of the density, by torch's own distributions."""
        from torch.distributions import Categorical, MixtureSameFamily, Normal

        centres = self.centres.to(x)
        parts = Normal(centres, torch.full_like(centres, self.spread))
        return MixtureSameFamily(Categorical(torch.ones_like(centres)), parts).log_prob(x)

    def at(self, x: float) -> float:
        """The density at one place."""
        heaps = (math.exp(-(((x - c) / self.spread) ** 2) / 2) for c in self.centres.tolist())
        return sum(heaps) / (len(self.centres) * self.spread * math.sqrt(2 * math.pi))


def _pairs_of_bumps(generator: torch.Generator) -> Iterator[tuple[_Bumps, _Bumps]]:
    def bumps() -> _Bumps:
        centres = torch.rand(number(generator, 1, 4), generator=generator, dtype=torch.float64)
        return _Bumps(6 * centres - 3, 0.7 + 0.6 * _share(generator))

    for _ in range(5):
        yield bumps(), bumps()


def _grid(device: torch.device) -> Tensor:
    return torch.arange(-14, 14 + _DX / 2, _DX, dtype=torch.float64, device=device)


def _quadrature(function: Callable[[float, float], float], p: _Bumps, q: _Bumps) -> Tensor:
    """The integral of a function of two densities, by a rule that chooses its own points."""
    from scipy.integrate import quad

    found = quad(
        lambda x: function(p.at(x), q.at(x)), -14, 14, epsabs=1e-12, epsrel=1e-12, limit=400
    )
    return torch.tensor(found[0], dtype=torch.float64)


def _integral(generator: torch.Generator, device: torch.device) -> Drawn:
    """With a discriminator that is a little less sure than the best one."""
    grid = _grid(device)
    for p, q in _pairs_of_bumps(generator):
        doubt = 0.1 + 0.8 * _share(generator)

        def value(a: float, b: float, doubt: float = doubt) -> float:
            d = (1 - doubt) * a / (a + b) + doubt / 2
            return a * math.log(d) + b * math.log(1 - d)

        d = torch.lerp(torch.sigmoid(p.log(grid) - q.log(grid)), grid.new_tensor(0.5), doubt)
        ours = gan.value_function_density(p.on(grid), q.on(grid), d, _DX)
        yield ours.cpu(), _quadrature(value, p, q)


def _optimal(generator: torch.Generator, device: torch.device) -> Drawn:
    """Bayes' rule, and that no other discriminator is worth more."""
    grid = _grid(device)
    for p, q in _pairs_of_bumps(generator):
        best = gan.optimal_discriminator(p.on(grid), q.on(grid))
        score = p.log(grid) - q.log(grid)
        yield best, torch.sigmoid(score)
        other = torch.sigmoid(score + normal(generator, device, len(grid)))
        reached, worse = (
            gan.value_function_density(p.on(grid), q.on(grid), d, _DX) for d in (best, other)
        )
        yield torch.maximum(worse, reached), reached


def _divergence(generator: torch.Generator, device: torch.device) -> Drawn:
    """As the entropy of the mixture less the mean entropy."""

    def entropies(a: float, b: float) -> float:
        mixed = (a + b) / 2
        return (a * math.log(a) + b * math.log(b)) / 2 - mixed * math.log(mixed)

    grid = _grid(device)
    for p, q in _pairs_of_bumps(generator):
        ours = gan.jensen_shannon(p.on(grid), q.on(grid), _DX)
        yield ours.cpu(), _quadrature(entropies, p, q)


def _optimum(generator: torch.Generator, device: torch.device) -> Drawn:
    """The value itself, with the best discriminator put in."""

    def value(a: float, b: float) -> float:
        return a * math.log(a / (a + b)) + b * math.log(b / (a + b))

    grid = _grid(device)
    for p, q in _pairs_of_bumps(generator):
        ours = gan.value_at_optimum(p.on(grid), q.on(grid), _DX)
        yield ours.cpu(), _quadrature(value, p, q)


# --- the losses ---------------------------------------------------------------------------------


def _of_generator(ours: Callable[[Tensor], Tensor], twin: Callable[[Tensor], Tensor]) -> Pairs:
    def pairs(generator: torch.Generator, device: torch.device) -> Drawn:
        for _, fake in _scores(generator, device):
            yield ours(fake), twin(fake)

    return pairs


def _of_both(
    kind: str,
    of_discriminator: Callable[[Tensor, Tensor], Tensor],
    of_generator: Callable[[Tensor], Tensor],
) -> Pairs:
    def pairs(generator: torch.Generator, device: torch.device) -> Drawn:
        for real, fake in _scores(generator, device):
            yield gan.discriminator_loss(real, fake, kind), of_discriminator(real, fake)
            yield gan.generator_loss(fake, kind), of_generator(fake)

    return pairs


def _towards(scores: Tensor, target: float) -> Tensor:
    return F.mse_loss(scores, torch.full_like(scores, target)) / 2


def _beyond(scores: Tensor, side: float) -> Tensor:
    """torch's criterion for a margin of 1 on either side of 0."""
    sides = torch.full_like(scores, side)
    return F.margin_ranking_loss(scores, torch.zeros_like(scores), sides, margin=1.0)


def _slopes(generator: torch.Generator, device: torch.device) -> Drawn:
    for _, fake in _scores(generator, device):
        for kind, loss in (
            ("saturating", lambda s: torch.log(1 - torch.sigmoid(s))),
            ("nonsaturating", lambda s: -torch.log(torch.sigmoid(s))),
        ):
            yield gan.generator_slope(fake, kind), _slope(loss, fake)


def _heaps(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(_COUNT):
        u = 2 * normal(generator, device, number(generator, 1, 9))
        yield u, normal(generator, device, number(generator, 1, 9)) + 1


def _transport(generator: torch.Generator, device: torch.device) -> Drawn:
    """The best function of slope at most 1, by a linear programme over its values."""
    from scipy.optimize import linprog

    for u, v in _heaps(generator, device):
        places = torch.cat((u, v)).unique()
        gain = (u[:, None] == places).double().mean(0) - (v[:, None] == places).double().mean(0)
        steps = torch.eye(len(places), dtype=torch.float64).diff(dim=0)
        best = linprog(
            -gain.cpu().numpy(),
            A_ub=torch.cat((steps, -steps)).numpy(),
            b_ub=places.diff().repeat(2).cpu().numpy(),
            bounds=[(0, 0)] + [(None, None)] * (len(places) - 1),
        )
        expected = torch.tensor(-best.fun, dtype=torch.float64)
        yield gan.wasserstein_distance(u, v).cpu(), expected


def _line(generator: torch.Generator, device: torch.device) -> Drawn:
    from scipy.stats import wasserstein_distance

    for u, v in _heaps(generator, device):
        expected = float(wasserstein_distance(u.cpu().numpy(), v.cpu().numpy()))
        yield gan.wasserstein_distance(u, v).cpu(), torch.tensor(expected, dtype=torch.float64)


# --- penalties and the spectral norm ------------------------------------------------------------


def _judges(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    """Examples, and the weights of a discriminator of one hidden layer with tanh."""
    for _ in range(_COUNT):
        width = number(generator, 1, 5)
        yield (
            normal(generator, device, 4, width),
            normal(generator, device, 4, width),
            normal(generator, device, width, 3),
            normal(generator, device, 3),
        )


def _judge(first: Tensor, second: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.tanh(x @ first) @ second


def _written_down(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The gradient of ``tanh(x @ first) @ second``, by the chain rule: (N, D)."""
    return ((1 - torch.tanh(x @ first).square()) * second) @ first.T


def _gradient_penalty(generator: torch.Generator, device: torch.device) -> Drawn:
    for real, fake, first, second in _judges(generator, device):
        seed = number(generator, 0, 1000)
        ours = gan.gradient_penalty(
            _judge(first, second), real, fake, torch.Generator().manual_seed(seed)
        )
        again = torch.Generator().manual_seed(seed)
        share = torch.rand(len(real), 1, generator=again, dtype=torch.float64).to(device)
        slopes = _written_down(fake.lerp(real, share), first, second)
        yield ours, (slopes.norm(dim=1) - 1).square().mean()


def _r1(generator: torch.Generator, device: torch.device) -> Drawn:
    for real, _, first, second in _judges(generator, device):
        ours = gan.r1_penalty(_judge(first, second), real)
        yield ours, _written_down(real, first, second).square().sum(1).mean() / 2


def _matrices(generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """With a largest singular value well above the others, so that little iteration is enough."""
    for _ in range(_COUNT):
        rows, columns = number(generator, 2, 6), number(generator, 2, 6)
        u, _ = torch.linalg.qr(normal(generator, device, rows, rows))
        v, _ = torch.linalg.qr(normal(generator, device, columns, columns))
        values = torch.zeros(rows, columns, dtype=torch.float64, device=device)
        drawn = torch.rand(min(rows, columns), generator=generator, dtype=torch.float64)
        drawn[0] = 1.5 + drawn[0]
        values.diagonal().copy_(drawn)
        yield u @ values @ v


def _power(generator: torch.Generator, device: torch.device) -> Drawn:
    for matrix in _matrices(generator, device):
        ours, _ = gan.spectral_norm(matrix, 100, generator=generator)
        yield ours, torch.linalg.matrix_norm(matrix, 2)


def _spectral(generator: torch.Generator, device: torch.device) -> Drawn:
    for matrix in _matrices(generator, device):
        rows, columns = matrix.shape
        layer = torch.nn.Linear(columns, rows, bias=False, dtype=matrix.dtype, device=device)
        with torch.no_grad():
            layer.weight.copy_(matrix)
        gan.spectral_normalize(layer, n_power_iterations=100)
        yield layer.weight, matrix / torch.linalg.svdvals(matrix)[0]


# --- the smallest game --------------------------------------------------------------------------


def _places(generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    for _ in range(_COUNT):
        yield normal(generator, device, 2)


def _dirac(generator: torch.Generator, device: torch.device) -> Drawn:
    """Both gradients of the value, as autograd finds them."""
    for place in _places(generator, device):

        def value(at: Tensor) -> Tensor:
            real, made = torch.sigmoid(at[1] * 0), torch.sigmoid(at[1] * at[0])
            return torch.log(real) + torch.log(1 - made)

        up = _slope(value, place)
        yield torch.stack(gan.dirac_field(place[0], place[1])), torch.stack((-up[0], up[1]))


def _bilinear(generator: torch.Generator, device: torch.device) -> Drawn:
    """The flow of the game is the exponential of a matrix, and keeps the radius."""
    for place in _places(generator, device):
        field = gan.dirac_field(place[0], place[1], "wasserstein")
        turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64, device=device)
        yield torch.stack(field), turn @ place
        time = 3 * _share(generator)
        cos, sin = math.cos(time), math.sin(time)
        yield (
            torch.stack((cos * place[0] + sin * place[1], cos * place[1] - sin * place[0])),
            torch.linalg.matrix_exp(time * turn) @ place,
        )


def _simultaneous(generator: torch.Generator, device: torch.device) -> Drawn:
    """Many steps are a power of one matrix, and the radius grows by the same factor each time."""
    for place in _places(generator, device):
        step, steps = 0.01 + _share(generator), number(generator, 1, 20)
        path = gan.simulate(_bilinear_field, place, step, steps)
        matrix = torch.tensor([[1, step], [-step, 1]], dtype=torch.float64, device=device)
        yield path[-1], torch.linalg.matrix_power(matrix, steps) @ place
        squared = path.square().sum(1)
        yield squared[1:], (1 + step**2) * squared[:-1]


def _alternating(generator: torch.Generator, device: torch.device) -> Drawn:
    """Many steps are a power of two matrices' product, and an ellipse is kept."""
    for place in _places(generator, device):
        step, steps = 0.01 + _share(generator), number(generator, 1, 20)
        path = gan.simulate(_bilinear_field, place, step, steps, "alternating")
        first = torch.tensor([[1, 0], [-step, 1]], dtype=torch.float64, device=device)
        then = torch.tensor([[1, step], [0, 1]], dtype=torch.float64, device=device)
        yield path[-1], torch.linalg.matrix_power(then @ first, steps) @ place
        kept = path.square().sum(1) - step * path.prod(1)
        yield kept, kept[:1].expand_as(kept)


def _bilinear_field(theta: Tensor, psi: Tensor) -> tuple[Tensor, Tensor]:
    return gan.dirac_field(theta, psi, "wasserstein")


def _eigenvalues(generator: torch.Generator, device: torch.device) -> Drawn:
    """Those of the Jacobian that autograd finds at rest."""
    for loss, slope in (("saturating", 0.5), ("nonsaturating", 0.5), ("wasserstein", 1.0)):
        for low, high in pairwise((0.0, 0.8, 1.6, 4.0)):
            weight = low + 0.05 + (high - low - 0.1) * _share(generator)

            def field(at: Tensor, loss: str = loss, weight: float = weight) -> Tensor:
                return torch.stack(gan.dirac_field(at[0], at[1], loss, "r1", weight))

            rest = torch.zeros(2, dtype=torch.float64, device=device)
            jacobian = torch.autograd.functional.jacobian(field, rest)
            found = torch.view_as_real(torch.linalg.eigvals(jacobian)).cpu().tolist()
            ours = torch.view_as_real(gan.r1_eigenvalues(rest[0] + weight, slope))
            yield ours.cpu(), torch.tensor(sorted(found, reverse=True), dtype=torch.float64)


# --- measures -----------------------------------------------------------------------------------


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), features.T.cov().reshape(features.shape[1], -1)


def _frechet(generator: torch.Generator, device: torch.device) -> Drawn:
    from scipy.linalg import sqrtm

    for _ in range(_COUNT):
        width = number(generator, 1, 6)
        sets = [
            normal(generator, device, 30, width) @ normal(generator, device, width, width)
            + normal(generator, device, width)
            for _ in range(2)
        ]
        (mean1, cov1), (mean2, cov2) = (_moments(features) for features in sets)
        root = torch.as_tensor(sqrtm((cov1 @ cov2).cpu().numpy()).real).to(device)
        expected = (mean1 - mean2).square().sum() + torch.trace(cov1 + cov2 - 2 * root)
        yield gan.frechet_from_moments(mean1, cov1, mean2, cov2), expected
        yield gan.frechet_distance(*sets), expected


def _clouds(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    for _ in range(6):
        real = normal(generator, device, number(generator, 5, 12), 2)
        yield real, 0.7 * normal(generator, device, number(generator, 5, 12), 2) + 0.4


def _by_trees(real: Tensor, fake: Tensor, k: int) -> tuple[list[list[int]], list[list[int]]]:
    """Which made ones are in each real neighbourhood, and the reverse; by scipy's search trees."""
    from scipy.spatial import KDTree

    trees = [KDTree(points.cpu().numpy()) for points in (real, fake)]
    inside = []
    for own, other in (trees, trees[::-1]):
        reach = own.query(own.data, k=k + 1)[0][:, -1]
        inside.append(list(other.query_ball_point(own.data, reach)))
    return inside[0], inside[1]


def _precision(generator: torch.Generator, device: torch.device) -> Drawn:
    for real, fake in _clouds(generator, device):
        k = number(generator, 1, 4)
        in_real, in_fake = _by_trees(real, fake, k)
        expected = (
            len(set().union(*in_real)) / len(fake),
            len(set().union(*in_fake)) / len(real),
        )
        found = gan.precision_recall_density_coverage(real, fake, k)
        yield torch.stack(found[:2]), real.new_tensor(expected)


def _coverage(generator: torch.Generator, device: torch.device) -> Drawn:
    for real, fake in _clouds(generator, device):
        k = number(generator, 1, 4)
        in_real, _ = _by_trees(real, fake, k)
        expected = (
            sum(map(len, in_real)) / (k * len(fake)),
            sum(map(bool, in_real)) / len(real),
        )
        found = gan.precision_recall_density_coverage(real, fake, k)
        yield torch.stack(found[2:]), real.new_tensor(expected)


def _expected_coverage(generator: torch.Generator, device: torch.device) -> Drawn:
    """One neighbour after the other is drawn from all other examples, and none is a made one."""
    for _ in range(_COUNT):
        k = number(generator, 1, 6)
        real, fake = number(generator, k + 1, 400), number(generator, 1, 400)
        missed = math.prod((real - 1 - i) / (real + fake - 1 - i) for i in range(k))
        ours, expected = torch.tensor(
            (gan.expected_coverage(real, fake, k), 1 - missed), dtype=torch.float64
        )
        yield ours, expected


def _slerp(generator: torch.Generator, device: torch.device) -> Drawn:
    """The first vector, turned in the plane of both by the exponential of a matrix."""
    for _ in range(_COUNT):
        z1, z2 = normal(generator, device, 2, number(generator, 2, 9))
        z2 = z2 * (z1.norm() / z2.norm())  # on one sphere
        first = z1 / z1.norm()
        second = z2 - (z2 @ first) * first
        second = second / second.norm()
        angle = torch.acos(z1 @ z2 / (z1.norm() * z2.norm()))
        plane = torch.outer(second, first) - torch.outer(first, second)
        t = _share(generator)
        yield gan.slerp(z1, z2, t), torch.linalg.matrix_exp(t * angle * plane) @ z1


# --- conditions, averages, prompts --------------------------------------------------------------


def _projection(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(5):
        classes, length = number(generator, 2, 6), number(generator, 1, 5)
        judge = gan.ConditionalDiscriminator(torch.nn.Embedding(classes, length), width=4)
        judge = judge.to(device, torch.float64)
        images = normal(generator, device, 3, 1, 8, 8)
        condition = torch.randint(classes, (3,), generator=generator).to(device)
        plain = judge.discriminator
        features = plain.layers(images)  # (3, F)
        encoded = judge.projection(judge.encoder(condition))  # (3, F)
        expected = [
            F.linear(row, plain.head.weight + own, plain.head.bias)
            for row, own in zip(features, encoded, strict=True)
        ]
        yield judge(images, condition), torch.cat(expected)


def _average(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(5):
        decay, steps = _share(generator), number(generator, 1, 9)
        average, model = (torch.nn.Linear(3, 2, device=device).double() for _ in range(2))
        start, expected = average.weight.detach().clone(), torch.zeros(2, 3, device=device).double()
        for step in range(steps):
            weights = normal(generator, device, 2, 3)
            model.load_state_dict({"weight": weights, "bias": model.bias})
            gan.update_average(average, model, decay)
            expected += (1 - decay) * decay ** (steps - 1 - step) * weights
        yield average.weight, expected + decay**steps * start


def _pictures(generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    for _ in range(_COUNT):
        height, width = number(generator, 3, 9), number(generator, 3, 9)
        yield torch.rand(1, 1, height, width, generator=generator, dtype=torch.float64).to(device)


def _slant(generator: torch.Generator, device: torch.device) -> Drawn:
    """The slope of the line that fits x as a function of the height best."""
    import numpy as np

    for image in _pictures(generator, device):
        rows, columns = np.indices(image.shape[2:])
        weights = np.sqrt(image[0, 0].cpu().numpy()).ravel()  # polyfit squares them
        slope, _ = np.polyfit(-rows.ravel(), columns.ravel(), 1, w=weights)
        yield gan.attributes(image).slant.cpu(), torch.tensor([slope], dtype=torch.float64)


def _ink(generator: torch.Generator, device: torch.device) -> Drawn:
    for image in _pictures(generator, device):
        yield gan.attributes(image).ink, F.adaptive_avg_pool2d(image, 1).flatten()


FORMULAS: tuple[Formula, ...] = (
    Formula(
        "gan-value",
        "What the game is worth: log D of real examples, log(1 - D) of made ones",
        "course_lib.gan.value_function_loops",
        "torch.nn.functional.binary_cross_entropy",
        _value,
    ),
    Formula(
        "gan-logits",
        "Both logarithms from the scores, without a rounded probability",
        "course_lib.gan.value_function",
        "torch.nn.functional.binary_cross_entropy_with_logits",
        _logits,
    ),
    Formula(
        "gan-integral",
        "The same as an integral over both densities",
        "course_lib.gan.value_function_density",
        "scipy.integrate.quad",
        _integral,
    ),
    Formula(
        "gan-optimal",
        "The best discriminator: the data's share of both densities",
        "course_lib.gan.optimal_discriminator",
        "Bayes' rule with torch.distributions; no random discriminator is worth more",
        _optimal,
    ),
    Formula(
        "gan-divergence",
        "The Jensen-Shannon divergence of two densities",
        "course_lib.gan.jensen_shannon",
        "the entropy of the mixture less the mean entropy, by scipy.integrate.quad",
        _divergence,
    ),
    Formula(
        "gan-optimum",
        "Against the best discriminator: twice the divergence, less log 4",
        "course_lib.gan.value_at_optimum",
        "scipy.integrate.quad of the value with the best discriminator",
        _optimum,
    ),
    Formula(
        "gan-saturating",
        "The generator's loss in the game as it stands",
        "course_lib.gan.saturating_loss",
        "minus torch.nn.functional.binary_cross_entropy_with_logits, target 0",
        _of_generator(
            gan.saturating_loss,
            lambda s: -F.binary_cross_entropy_with_logits(s, torch.zeros_like(s)),
        ),
    ),
    Formula(
        "gan-nonsaturating",
        "The loss that does not starve the generator",
        "course_lib.gan.nonsaturating_loss",
        "torch.nn.functional.binary_cross_entropy_with_logits, target 1",
        _of_generator(
            gan.nonsaturating_loss,
            lambda s: F.binary_cross_entropy_with_logits(s, torch.ones_like(s)),
        ),
    ),
    Formula(
        "gan-slopes",
        "The slopes of both losses with respect to the score",
        "course_lib.gan.generator_slope",
        "automatic differentiation",
        _slopes,
    ),
    Formula(
        "gan-least-squares",
        "Scores are drawn to 1 and to 0",
        "course_lib.gan.discriminator_loss",
        "half of torch.nn.functional.mse_loss",
        _of_both(
            "least_squares",
            lambda real, fake: _towards(real, 1) + _towards(fake, 0),
            lambda fake: _towards(fake, 1),
        ),
    ),
    Formula(
        "gan-hinge",
        "Scores are wanted beyond 1 and beyond -1",
        "course_lib.gan.discriminator_loss",
        "torch.nn.functional.margin_ranking_loss",
        _of_both(
            "hinge",
            lambda real, fake: _beyond(real, 1) + _beyond(fake, -1),
            lambda fake: -fake.sum() / len(fake),
        ),
    ),
    Formula(
        "gan-transport",
        "The cheapest transport costs what the best function of slope 1 sees",
        "course_lib.gan.wasserstein_distance",
        "scipy.optimize.linprog over all functions of slope at most 1",
        _transport,
    ),
    Formula(
        "gan-line",
        "On a line: the area between both distribution functions",
        "course_lib.gan.wasserstein_distance",
        "scipy.stats.wasserstein_distance",
        _line,
    ),
    Formula(
        "gan-wasserstein",
        "Mean score of real examples against that of made ones",
        "course_lib.gan.discriminator_loss",
        "sums over the scores",
        _of_both(
            "wasserstein",
            lambda real, fake: fake.sum() / len(fake) - real.sum() / len(real),
            lambda fake: -fake.sum() / len(fake),
        ),
    ),
    Formula(
        "gan-gradient-penalty",
        "Slopes between real and made examples should be 1",
        "course_lib.gan.gradient_penalty",
        "the gradient of a network of two layers, written down",
        _gradient_penalty,
    ),
    Formula(
        "gan-r1",
        "Slopes at real examples should be 0",
        "course_lib.gan.r1_penalty",
        "the gradient of a network of two layers, written down",
        _r1,
    ),
    Formula(
        "gan-spectral",
        "A weight divided by its largest singular value",
        "course_lib.gan.spectral_normalize",
        "torch.linalg.svdvals",
        _spectral,
    ),
    Formula(
        "gan-power",
        "The largest singular value by going there and back",
        "course_lib.gan.spectral_norm",
        "torch.linalg.matrix_norm",
        _power,
    ),
    Formula(
        "gan-dirac",
        "The smallest game: one number against one slope",
        "course_lib.gan.dirac_field",
        "automatic differentiation of the value",
        _dirac,
    ),
    Formula(
        "gan-bilinear",
        "Without a sigmoid, the game goes in circles",
        "course_lib.gan.dirac_field",
        "torch.linalg.matrix_exp",
        _bilinear,
    ),
    Formula(
        "gan-simultaneous",
        "Simultaneous steps spiral outwards",
        "course_lib.gan.simulate",
        "torch.linalg.matrix_power, and the factor of each step",
        _simultaneous,
    ),
    Formula(
        "gan-alternating",
        "Steps in turn stay on an ellipse",
        "course_lib.gan.simulate",
        "torch.linalg.matrix_power, and the ellipse of each step",
        _alternating,
    ),
    Formula(
        "gan-eigenvalues",
        "With R1 the smallest game comes to rest",
        "course_lib.gan.r1_eigenvalues",
        "torch.linalg.eigvals of the Jacobian by automatic differentiation",
        _eigenvalues,
    ),
    Formula(
        "gan-frechet",
        "The Fréchet distance of two normal distributions, squared",
        "course_lib.gan.frechet_from_moments",
        "scipy.linalg.sqrtm",
        _frechet,
    ),
    Formula(
        "gan-precision",
        "Which made examples are near real ones, and the reverse",
        "course_lib.gan.precision_recall_density_coverage",
        "scipy.spatial.KDTree",
        _precision,
    ),
    Formula(
        "gan-coverage",
        "How many made examples are near a real one",
        "course_lib.gan.precision_recall_density_coverage",
        "scipy.spatial.KDTree",
        _coverage,
    ),
    Formula(
        "gan-expected-coverage",
        "The coverage that a perfect generator reaches",
        "course_lib.gan.expected_coverage",
        "the chance that neighbours drawn one by one are all real",
        _expected_coverage,
    ),
    Formula(
        "gan-slerp",
        "From one vector to another along an arc",
        "course_lib.gan.slerp",
        "torch.linalg.matrix_exp of the turn in their plane",
        _slerp,
    ),
    Formula("gan-conditional", "The same game once for each condition"),
    Formula(
        "gan-projection",
        "The score of a picture under a condition: its features times the encoded condition",
        "course_lib.gan.ConditionalDiscriminator",
        "a linear layer of its own for each condition",
        _projection,
    ),
    Formula(
        "gan-average",
        "A slow average of the generator's weights",
        "course_lib.gan.update_average",
        "the sum that all steps together make",
        _average,
    ),
    Formula(
        "gan-slant",
        "How far a digit leans",
        "course_lib.gan.attributes",
        "numpy.polyfit of x over y, weighted by the ink",
        _slant,
    ),
    Formula(
        "gan-ink",
        "How much ink a digit takes",
        "course_lib.gan.attributes",
        "torch.nn.functional.adaptive_avg_pool2d",
        _ink,
    ),
)

SYMBOLS: Symbols = {
    "a": "how strongly one player moves the other where both rest",
    "B_k": "the ball around an example that just reaches its $k$-th nearest neighbour",
    "b": "a bias",
    r"\beta": "how much of the average stays from step to step",
    "c": "the condition: what is asked for",
    "D": "the discriminator, which gives the probability that a picture is real",
    "d": "the root of the Fréchet distance",
    "e": "the number 2.718…, the base of the natural logarithm",
    "e_c": "a vector of its own for each condition",
    r"\mathrm{E}": "the mean",
    r"\ell": "the discriminator's score, before any sigmoid",
    "F_p": "how much of the distribution $p$ lies to the left of a place",
    "F_q": "how much of the distribution $q$ lies to the left of a place",
    "f": "any function of slope at most 1",
    "G": "the generator",
    r"\gamma": "the weight of R1",
    "h": "the length of a step",
    "I_i": "the ink in a pixel",
    "i, j": "which example or pixel",
    r"\mathrm{JS}": "the Jensen-Shannon divergence",
    r"\mathrm{KL}": "the Kullback-Leibler divergence",
    "k": "how many neighbours",
    "L_D": "the loss of the discriminator",
    "L_G": "the loss of the generator",
    r"\lambda": "an eigenvalue: how fast a small distance from rest grows, and turns",
    "M": "how many made examples there are",
    "m": "the mean of two densities",
    r"\mu": "a mean of features",
    "N": "how many real examples there are",
    r"\Omega": "the angle between two vectors",
    "P": "how many pixels a picture has",
    "p": "the density of the data",
    r"\phi": "what the discriminator sees in a picture: its last features",
    r"\psi": "the discriminator's slope in the smallest game",
    r"\dot\psi": "the velocity of the discriminator",
    r"\dot\theta": "the velocity of the generator",
    "q": "the density of what the generator makes",
    r"R_{\mathrm{GP}}": "the gradient penalty",
    "R_1": "the penalty on slopes at real examples",
    r"\rho": "a plan: how much is carried from where to where",
    "s": "a random share",
    r"\Sigma": "a covariance of features",
    r"\sigma": "the sigmoid",
    r"\mathrm{slerp}": "interpolation along an arc",
    r"\theta": (
        Sense(
            "the one number that the generator of the smallest game makes",
            "all that $G$ makes is the one number $\\theta$",
            ("gan-dirac", "gan-bilinear", "gan-simultaneous", "gan-alternating"),
        ),
        Sense("the generator's weights", "for all its numbers $\\theta$", ("gan-average",)),
    ),
    r"\bar\theta": "the average of the generator's weights",
    "t": (
        Sense("time", "for every time $t$", ("gan-bilinear",)),
        Sense("how far along the way", "by a share $t$ of the way", ("gan-slerp",)),
    ),
    r"\mathrm{tr}": "the trace, the sum of a matrix's diagonal",
    r"\mathrm{U}": "numbers that are all equally likely",
    "u": "a direction of what comes out of a matrix",
    "v": "a direction of what goes into a matrix",
    "V": "what the game is worth",
    "W": "the weights of a layer",
    r"\widehat W": "weights divided by their spectral norm",
    "W_1": "the Wasserstein distance: the least work of carrying one heap to another",
    "w": "a vector of weights",
    "x": (
        Sense(
            "a picture, or a number in its place",
            "for the distribution of real pictures $x$",
            (
                "gan-value",
                "gan-integral",
                "gan-optimal",
                "gan-least-squares",
                "gan-hinge",
                "gan-transport",
                "gan-line",
                "gan-wasserstein",
                "gan-gradient-penalty",
                "gan-r1",
                "gan-conditional",
                "gan-projection",
            ),
        ),
        Sense(
            "a real picture, as a vector",
            "Let $x_1, \\dots, x_N$ be real",
            ("gan-precision", "gan-coverage"),
        ),
        Sense(
            "how far right a pixel lies",
            "at $x_i$ to the right and $y_i$ upwards",
            ("gan-slant",),
        ),
    ),
    r"\hat x": "a place between a real and a made example",
    r"\bar x": "how far right the middle of the ink lies",
    r"\bar y": "how far up the middle of the ink lies",
    "y": (
        Sense(
            "where something is carried to",
            "how much goes from each $x$ to each $y$",
            ("gan-transport",),
        ),
        Sense(
            "a made picture, as a vector",
            "$y_1, \\dots, y_M$ made",
            ("gan-precision", "gan-coverage"),
        ),
        Sense(
            "how far up a pixel lies",
            "at $x_i$ to the right and $y_i$ upwards",
            ("gan-slant",),
        ),
    ),
    "z": "noise: what the generator makes a picture of",
}
"""What the symbols of the chapter mean; see `Symbols`."""
