"""The game of `course_lib.gan`: its value, its optimum, and how two players move."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.spatial import distance
from torch import Tensor
from torch.nn import functional as F

from course_lib import gan as topic
from support import assert_agree

DOUBLE = torch.float64
LOG_4 = math.log(4)


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers in float64, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(device)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=DOUBLE)


# --- the value ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", [topic.value_function, topic.value_function_loops])
@pytest.mark.parametrize("shapes", [((4,), (6,)), ((1,), (3, 2)), ((2, 1, 3, 3), (5,))])
def test_value_is_minus_two_binary_cross_entropies(
    ours: Callable[..., Tensor], shapes: tuple[tuple[int, ...], ...], device: torch.device
) -> None:
    real, fake = (3 * draw(i, *shape, device=device) for i, shape in enumerate(shapes))
    real, fake = real.requires_grad_(), fake.requires_grad_()
    expected = -F.binary_cross_entropy(real.sigmoid(), torch.ones_like(real))
    expected = expected - F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    value = ours(real, fake)
    assert_agree(value, expected)
    for mine, theirs in zip(
        torch.autograd.grad(value, (real, fake)),
        torch.autograd.grad(expected, (real, fake)),
        strict=True,
    ):
        assert_agree(mine, theirs)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=5), st.floats(-30, 30))
def test_value_is_never_above_zero(real: list[float], fake: float) -> None:
    value = topic.value_function(torch.tensor(real, dtype=DOUBLE), torch.tensor([fake]).double())
    assert value <= 0
    assert_agree(topic.value_function(number(0.0), number(0.0)), number(-LOG_4))


def test_a_sure_discriminator_keeps_its_value_and_its_gradient() -> None:
    for dtype in (torch.float32, DOUBLE):
        fake = torch.tensor([200.0], dtype=dtype, requires_grad=True)
        value = topic.value_function(torch.zeros(1, dtype=dtype), fake)
        assert float(value.detach()) == pytest.approx(-200 - math.log(2))
        assert torch.autograd.grad(value, fake)[0] == -1
        assert topic.value_function_loops(torch.zeros(1, dtype=dtype), fake.detach()) == -math.inf


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_value_keeps_the_dtype(dtype: torch.dtype) -> None:
    value = topic.value_function(draw(1, 9).to(dtype), draw(2, 7).to(dtype))
    assert value.dtype == dtype
    exact = topic.value_function(draw(1, 9).to(dtype).double(), draw(2, 7).to(dtype).double())
    torch.testing.assert_close(value.double(), exact, rtol=4 * torch.finfo(dtype).eps, atol=0)


# --- densities ------------------------------------------------------------------------------------

GRID = torch.linspace(-12, 12, 4801, dtype=DOUBLE)
DX = 24 / 4800
CENTRES, SPREAD = ((-1.5, 0.5, 2.0), (0.3,)), (0.5, 1.2)


def densities(device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    grid = GRID.to(device)
    first, second = (
        topic.mixture_density(grid, torch.tensor(c, dtype=DOUBLE, device=device), s)
        for c, s in zip(CENTRES, SPREAD, strict=True)
    )
    return first, second


def test_mixture_density_is_that_of_torch() -> None:
    from torch.distributions import Categorical, MixtureSameFamily, Normal

    for centres, spread, ours in zip(CENTRES, SPREAD, densities(), strict=True):
        place = torch.tensor(centres, dtype=DOUBLE)
        parts = Normal(place, torch.full_like(place, spread))
        twin = MixtureSameFamily(Categorical(torch.ones_like(place)), parts)
        assert_agree(ours, twin.log_prob(GRID).exp())
        assert_agree(ours.sum() * DX, number(1.0))


def quad(function: Callable[[float, float], float]) -> float:
    """Integrate a function of both densities, by a rule that chooses its own points."""

    def at(x: float) -> float:
        p, q = (
            sum(math.exp(-(((x - c) / s) ** 2) / 2) for c in centres)
            / (len(centres) * s * math.sqrt(2 * math.pi))
            for centres, s in zip(CENTRES, SPREAD, strict=True)
        )
        return function(p, q)

    return float(integrate.quad(at, -12, 12, epsabs=1e-12, epsrel=1e-12, limit=400)[0])


def test_the_optimum_is_twice_jensen_shannon_less_log_4(device: torch.device) -> None:
    p, q = densities(device)
    best = topic.optimal_discriminator(p, q)
    reached = topic.value_function_density(p, q, best, DX)
    by_rule = quad(lambda a, b: a * math.log(a / (a + b)) + b * math.log(b / (a + b)))
    assert_agree(reached.cpu(), number(by_rule))
    assert_agree(topic.value_at_optimum(p, q, DX).cpu(), number(by_rule))
    entropies = quad(
        lambda a, b: -(a + b) / 2 * math.log((a + b) / 2) + (a * math.log(a) + b * math.log(b)) / 2
    )
    assert_agree(topic.jensen_shannon(p, q, DX).cpu(), number(entropies))


@pytest.mark.parametrize("seed", range(5))
def test_no_other_discriminator_is_better(seed: int) -> None:
    p, q = densities()
    best = topic.optimal_discriminator(p, q)
    bent = (best.logit() + 0.3 * draw(seed, 1) + 0.2 * draw(seed, len(best))).sigmoid()
    reached = topic.value_function_density(p, q, best, DX)
    assert topic.value_function_density(p, q, bent, DX) < reached - 1e-4


def test_a_step_up_from_the_optimum_does_not_exist() -> None:
    p, q = densities()
    logits = topic.optimal_discriminator(p, q).logit().requires_grad_()
    value = topic.value_function_density(p, q, logits.sigmoid(), DX)
    assert torch.autograd.grad(value, logits)[0].abs().max() < 1e-14


def test_samples_agree_with_densities() -> None:
    """The mean over samples goes to the integral."""
    count, generator = 200_000, torch.Generator().manual_seed(3)
    real, fake = (
        torch.tensor(c, dtype=DOUBLE)[torch.randint(len(c), (count,), generator=generator)]
        + s * torch.randn(count, generator=generator, dtype=DOUBLE)
        for c, s in zip(CENTRES, SPREAD, strict=True)
    )

    def score(x: Tensor) -> Tensor:
        pair = (
            topic.mixture_density(x, torch.tensor(c, dtype=DOUBLE), s).log()
            for c, s in zip(CENTRES, SPREAD, strict=True)
        )
        first, second = pair
        return first - second

    by_samples = topic.value_function(score(real), score(fake))
    assert float(by_samples) == pytest.approx(
        float(topic.value_at_optimum(*densities(), DX)), abs=0.01
    )


def test_jensen_shannon_equals_scipys(device: torch.device) -> None:
    p, q = draw(1, 2, 3, 7, device=device).softmax(-1).unbind()
    expected = distance.jensenshannon(p.cpu(), q.cpu(), axis=-1) ** 2
    assert_agree(topic.jensen_shannon(p, q).cpu(), torch.from_numpy(expected))
    assert_agree(topic.jensen_shannon(p, q), topic.jensen_shannon(q, p))


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_jensen_shannon_lies_between_nothing_and_log_2(seed: int, length: int) -> None:
    p, q = (4 * draw(seed, 2, length)).softmax(-1).unbind()
    apart = float(topic.jensen_shannon(p, q))
    assert -1e-12 <= apart <= math.log(2) + 1e-12
    assert abs(float(topic.jensen_shannon(p, p))) < 1e-15


def test_densities_that_never_meet() -> None:
    p, q = torch.tensor([0.5, 0.5, 0, 0, 0]), torch.tensor([0, 0, 0, 0.25, 0.75])
    assert float(topic.jensen_shannon(p, q)) == pytest.approx(math.log(2))
    assert float(topic.value_at_optimum(p, q)) == pytest.approx(0, abs=1e-6)
    best = topic.optimal_discriminator(p, q)
    assert best.tolist() == [1, 1, 0.5, 0, 0]
    assert float(topic.value_function_density(p, q, best, 1.0)) == 0
    assert topic.value_function_density(p, q, 1 - best, 1.0) == -math.inf


# --- the smallest game ----------------------------------------------------------------------------


def by_autograd(theta: Tensor, psi: Tensor, loss: str, penalty: str | None, weight: float) -> Any:
    """The two velocities as gradients of the losses of `course_lib.gan`, with both networks."""
    theta, psi = theta.clone().requires_grad_(), psi.clone().requires_grad_()
    real, fake = psi * 0, psi * theta
    value = -topic.discriminator_loss(real, fake, loss)
    if penalty == "r1":
        value = value - weight * topic.r1_penalty(
            lambda x: psi * x, torch.zeros(1, 1, dtype=DOUBLE)
        )
    if penalty == "gradient":
        pair = (torch.zeros(4, 1, dtype=DOUBLE), theta.detach().expand(4, 1))
        value = value - weight * topic.gradient_penalty(lambda x: psi * x, *pair)
    (up,) = torch.autograd.grad(value, psi, retain_graph=True)
    (down,) = torch.autograd.grad(topic.generator_loss(fake, loss), theta)
    return -down, up


@pytest.mark.parametrize("penalty", [None, "r1", "gradient"])
@pytest.mark.parametrize("loss", ["saturating", "nonsaturating", "wasserstein"])
def test_the_field_is_the_gradient_of_the_losses(loss: str, penalty: str | None) -> None:
    for seed in range(5):
        theta, psi = 2 * draw(seed, 2)
        found = topic.dirac_field(theta, psi, loss, penalty, 0.7)
        for mine, theirs in zip(found, by_autograd(theta, psi, loss, penalty, 0.7), strict=True):
            assert_agree(mine, theirs)


def test_the_field_takes_whole_grids() -> None:
    theta, psi = torch.meshgrid(draw(1, 4), draw(2, 3), indexing="ij")
    for loss in ("saturating", "nonsaturating", "wasserstein"):
        for penalty in (None, "r1", "gradient"):
            velocities = topic.dirac_field(theta, psi, loss, penalty)
            assert [v.shape for v in velocities] == [(4, 3), (4, 3)]
            once = topic.dirac_field(theta[1, 2], psi[1, 2], loss, penalty)
            assert_agree(torch.stack(velocities)[:, 1, 2], torch.stack(once))


def field(loss: str, penalty: str | None = None, weight: float = 1.0) -> Any:
    return lambda theta, psi: topic.dirac_field(theta, psi, loss, penalty, weight)


START = torch.tensor([1.0, -0.5], dtype=DOUBLE)


def test_the_bilinear_game_goes_in_circles() -> None:
    path = topic.simulate(field("wasserstein"), START, 0.01, 700, "flow")
    angle = 0.01 * torch.arange(701, dtype=DOUBLE)
    cos, sin = angle.cos(), angle.sin()
    turned = torch.stack((cos * START[0] + sin * START[1], cos * START[1] - sin * START[0]), 1)
    assert_agree(path, turned, tolerance=1e-9)


@pytest.mark.parametrize("step", [0.01, 0.1, 0.5, 1.5])
def test_simultaneous_steps_grow_by_the_same_factor(step: float) -> None:
    radius = topic.simulate(field("wasserstein"), START, step, 50).norm(dim=1)
    assert_agree(radius[1:] / radius[:-1], torch.full((50,), math.hypot(1, step), dtype=DOUBLE))


@pytest.mark.parametrize("step", [0.01, 0.1, 0.5, 1.5, 1.9])
def test_alternating_steps_stay_on_an_ellipse(step: float) -> None:
    path = topic.simulate(field("wasserstein"), START, step, 500, "alternating")
    theta, psi = path.unbind(1)
    kept = theta.square() + psi.square() - step * theta * psi
    assert_agree(kept, kept[:1].expand(501))
    radius = path.norm(dim=1)
    assert radius.max() / radius.min() <= math.sqrt((1 + step / 2) / (1 - step / 2)) + 1e-9


def test_who_moves_first_sees_the_old_place() -> None:
    path = topic.simulate(field("wasserstein"), START, 0.5, 1, "alternating")
    assert path.tolist() == [[1.0, -0.5], [0.5, -1.0]]
    path = topic.simulate(field("wasserstein"), START, 0.5, 1)
    assert path.tolist() == [[1.0, -0.5], [0.75, -1.0]]


def test_the_saturating_flow_keeps_its_radius() -> None:
    radius = topic.simulate(field("saturating"), START, 0.02, 2000, "flow").norm(dim=1)
    assert (radius - radius[0]).abs().max() < 1e-8


def test_the_nonsaturating_flow_comes_home_slowly() -> None:
    """Its squared radius goes like 8 / t: one over the square root of time."""
    path = topic.simulate(field("nonsaturating"), START, 0.5, 4000, "flow")
    squared = path.square().sum(1)
    assert float(squared[2000]) * 1000 == pytest.approx(8, rel=0.03)
    assert float(squared[4000]) * 2000 == pytest.approx(8, rel=0.02)


@pytest.mark.parametrize("loss", ["saturating", "nonsaturating", "wasserstein"])
def test_r1_brings_it_to_rest_and_the_gradient_penalty_does_not(loss: str) -> None:
    for scheme in ("simultaneous", "alternating", "flow"):
        still = topic.simulate(field(loss, "r1"), START, 0.1, 1000, scheme)[-1]
        assert still.norm() < 1e-6
    moving = topic.simulate(field("wasserstein", "gradient"), START, 0.05, 4000)[-500:]
    assert moving.norm(dim=1).max() > 0.5


def test_several_starts_go_side_by_side() -> None:
    starts = draw(3, 5, 2)
    for scheme in ("simultaneous", "alternating", "flow"):
        paths = topic.simulate(field("saturating", "r1"), starts, 0.1, 7, scheme)
        assert paths.shape == (8, 5, 2)
        alone = topic.simulate(field("saturating", "r1"), starts[2], 0.1, 7, scheme)
        assert_agree(paths[:, 2], alone)
    assert_agree(topic.simulate(field("saturating"), starts, 0.1, 0), starts[None])


def jacobian(loss: str, weight: float) -> Tensor:
    def velocity(place: Tensor) -> Tensor:
        return torch.stack(topic.dirac_field(place[0], place[1], loss, "r1", weight))

    return torch.autograd.functional.jacobian(velocity, torch.zeros(2, dtype=DOUBLE))


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.9, 1.5, 4.0])
@pytest.mark.parametrize(
    ("loss", "slope"), [("saturating", 0.5), ("nonsaturating", 0.5), ("wasserstein", 1.0)]
)
def test_eigenvalues_are_those_of_the_jacobian(loss: str, slope: float, weight: float) -> None:
    expected = torch.linalg.eigvals(jacobian(loss, weight))
    ours = topic.r1_eigenvalues(number(weight), slope)
    order = sorted(range(2), key=lambda i: (-expected[i].real.item(), -expected[i].imag.item()))
    torch.testing.assert_close(ours, expected[order], rtol=0, atol=1e-10)
    assert topic.r1_eigenvalues(torch.ones(3, 2)).shape == (3, 2, 2)


# --- the ring -------------------------------------------------------------------------------------


def test_the_ring_is_found_in_full() -> None:
    generator = torch.Generator().manual_seed(0)
    points = topic.ring(20_000, generator=generator)
    assert points.shape == (20_000, 2)
    result = topic.modes_found(points)
    assert int(result.found) == 8
    assert float(result.good) == pytest.approx(1 - math.exp(-4.5), abs=0.004)
    assert (result.counts - 2472).abs().max() < 250
    again = topic.ring(20_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(points, again)


def test_lost_modes_are_lost() -> None:
    centres = topic.ring_centres()
    samples = torch.cat((centres[:3], centres[:1] + 0.05, centres[4:5] + 0.1, torch.zeros(1, 2)))
    result = topic.modes_found(samples)  # 0.05 * sqrt(2) > 0.06
    assert result.counts.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert int(result.found) == 3
    assert float(result.good) == 0.5
    assert int(topic.modes_found(samples, tolerance=10.0).found) == 4
    assert topic.modes_found(samples, tolerance=10.0, least=2).found == 1
    assert int(topic.modes_found(samples[:0]).found) == 0


def test_the_ring_has_the_size_that_is_asked_for() -> None:
    points = topic.ring(4000, modes=5, radius=3.0, std=0.1, generator=torch.Generator())
    result = topic.modes_found(points, 5, 3.0, 0.1)
    assert result.counts.shape == (5,)
    assert float(result.good) > 0.98
    assert float(points.norm(dim=1).mean()) == pytest.approx(3, abs=0.02)


# --- compiled ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda: topic.value_function(START, START),
        lambda: topic.value_at_optimum(START.exp(), START.square()),
        lambda: topic.value_function_density(*START.exp().expand(3, 2) / 3, 1.0),
        lambda: topic.optimal_discriminator(START.exp(), START.square()),
        lambda: topic.mixture_density(START, START, 0.1),
        lambda: topic.simulate(topic.dirac_field, START, 0.1, 3, "alternating"),
        lambda: topic.r1_eigenvalues(START),
        lambda: topic.modes_found(START[None]),
    ],
)
def test_compiles_into_one_graph(call: Callable[[], Any]) -> None:
    torch.compiler.reset()
    found = torch.compile(call, fullgraph=True, backend="eager")()
    torch.testing.assert_close(found, call())


# --- wrong arguments ------------------------------------------------------------------------------

ONE = torch.ones(3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.value_function(ONE.long(), ONE), TypeError, "real_logits: expected a float"),
        (lambda: topic.value_function(ONE, ONE[:0]), ValueError, "fake_logits: expected at least"),
        (lambda: topic.value_function(ONE, ONE.double()), TypeError, "fake_logits: expected"),
        (lambda: topic.value_function_loops(ONE[:0], ONE), ValueError, "real_logits: expected"),
        (lambda: topic.value_function_density(ONE, ONE, ONE[:2], 1.0), ValueError, "d: expected"),
        (lambda: topic.value_function_density(ONE, ONE, ONE, 0.0), ValueError, "dx: expected"),
        (lambda: topic.optimal_discriminator(ONE, ONE[:2]), ValueError, "p_model: expected shape"),
        (lambda: topic.jensen_shannon(ONE, ONE.double()), TypeError, "q: expected"),
        (lambda: topic.jensen_shannon(ONE, ONE, -1.0), ValueError, "dx: expected"),
        (lambda: topic.mixture_density(ONE, ONE, 0.0), ValueError, "std: expected a number > 0"),
        (lambda: topic.mixture_density(ONE[None], ONE, 1.0), ValueError, "x: expected 1 dim"),
        (lambda: topic.dirac_field(ONE, ONE, "minimax"), ValueError, "loss: expected one of"),
        (lambda: topic.dirac_field(ONE, ONE, penalty="r2"), ValueError, "penalty: expected one of"),
        (lambda: topic.dirac_field(ONE, ONE, weight=-1.0), ValueError, "weight: expected"),
        (lambda: topic.dirac_field(1.0, ONE), TypeError, "theta: expected a tensor"),
        (lambda: topic.simulate(field("saturating"), ONE, 0.1, 1), ValueError, "start: expected"),
        (lambda: topic.simulate(field("saturating"), START, 0.0, 1), ValueError, "step: expected"),
        (lambda: topic.simulate(field("saturating"), START, 0.1, -1), ValueError, "steps: exp"),
        (
            lambda: topic.simulate(field("saturating"), START, 0.1, 1, "leapfrog"),
            ValueError,
            "scheme: expected one of",
        ),
        (lambda: topic.r1_eigenvalues(1.0), TypeError, "weight: expected a tensor"),
        (lambda: topic.r1_eigenvalues(ONE, 0.0), ValueError, "slope: expected"),
        (lambda: topic.ring(-1), ValueError, "count: expected"),
        (lambda: topic.ring(3, modes=0), ValueError, "modes: expected"),
        (lambda: topic.ring(3, std=0.0), ValueError, "std: expected"),
        (lambda: topic.ring_centres(8, 0.0), ValueError, "radius: expected"),
        (lambda: topic.modes_found(torch.ones(3, 3)), ValueError, "samples: expected shape"),
        (lambda: topic.modes_found(torch.ones(3, 2), least=0), ValueError, "least: expected"),
        (lambda: topic.modes_found(torch.ones(3, 2), tolerance=0.0), ValueError, "tolerance: exp"),
    ],
)
def test_wrong_arguments_raise(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


# --- for test_fake_cuda ---------------------------------------------------------------------------

LOOKS_AT_DATA: set[str] = set()

CALLS: dict[str, Callable[..., Any]] = {
    "dirac_field": lambda make, device: topic.dirac_field(make(3), make(3), penalty="r1"),
    "jensen_shannon": lambda make, device: topic.jensen_shannon(make(2, 5), make(2, 5), 0.1),
    "mixture_density": lambda make, device: topic.mixture_density(make(5), make(3), 0.1),
    "modes_found": lambda make, device: topic.modes_found(make(5, 2)),
    "optimal_discriminator": lambda make, device: topic.optimal_discriminator(make(5), make(5)),
    "r1_eigenvalues": lambda make, device: topic.r1_eigenvalues(make(3)),
    "ring": lambda make, device: topic.ring(5, device=device),
    "ring_centres": lambda make, device: topic.ring_centres(device=device),
    "simulate": lambda make, device: topic.simulate(field("saturating"), make(2), 0.1, 3, "flow"),
    "value_at_optimum": lambda make, device: topic.value_at_optimum(make(5), make(5)),
    "value_function": lambda make, device: topic.value_function(make(3), make(2)),
    "value_function_density": lambda make, device: topic.value_function_density(
        make(5), make(5), make(5), 0.1
    ),
    "value_function_loops": lambda make, device: topic.value_function_loops(make(3), make(2)),
}
