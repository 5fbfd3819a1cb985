"""The measures of `course_lib.gan`, against scipy, torchmetrics and counting."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, optimize, stats
from scipy.spatial import geometric_slerp
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.autograd import gradcheck

from course_lib import gan as topic
from support import assert_agree

DOUBLE = torch.float64


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers in float64, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(device)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=DOUBLE)


# --- transport ------------------------------------------------------------------------------------

values = st.lists(st.integers(-8, 8).map(lambda n: n / 2), min_size=1, max_size=8)  # with ties


@given(values, values)
def test_transport_equals_scipys(u: list[float], v: list[float]) -> None:
    ours = topic.wasserstein_distance(*(torch.tensor(x, dtype=DOUBLE) for x in (u, v)))
    assert_agree(ours, number(stats.wasserstein_distance(u, v)))


def by_linear_programme(u: np.ndarray, v: np.ndarray) -> float:
    """The best function of slope at most 1, by its values at all the points."""
    places = np.unique(np.concatenate((u, v)))
    gain = np.array([(u == x).mean() - (v == x).mean() for x in places])
    steps = np.diff(np.eye(len(places)), axis=0)
    found = optimize.linprog(
        -gain,
        A_ub=np.concatenate((steps, -steps)),
        b_ub=np.tile(np.diff(places), 2),
        bounds=[(0, 0)] + [(None, None)] * (len(places) - 1),
    )
    return float(-found.fun)


@pytest.mark.parametrize("seed", range(5))
def test_no_function_of_slope_1_sees_more(seed: int, device: torch.device) -> None:
    u, v = draw(seed, 6), 1 + 2 * draw(seed + 50, 9)
    expected = by_linear_programme(u.numpy(), v.numpy())
    ours = topic.wasserstein_distance(u.to(device), v.to(device))
    assert_agree(ours.cpu(), number(expected), tolerance=1e-9)


def test_transport_has_a_gradient() -> None:
    u, v = draw(1, 4).requires_grad_(), draw(2, 3).requires_grad_()
    assert gradcheck(topic.wasserstein_distance, (u, v))
    apart = topic.wasserstein_distance(v.detach() - 100, v)
    assert_agree(apart.detach(), number(100.0))
    assert_agree(torch.autograd.grad(apart, v)[0], torch.full((3,), 1 / 3, dtype=DOUBLE))


# --- the Fréchet distance -------------------------------------------------------------------------


def by_root(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    root = linalg.sqrtm((cov1 @ cov2).numpy()).real
    return (mean1 - mean2).square().sum() + torch.from_numpy(
        np.asarray(np.trace(cov1.numpy() + cov2.numpy() - 2 * root))
    )


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    return features.mean(0), features.T.cov().reshape(features.shape[1], -1)


@pytest.mark.parametrize("width", [1, 2, 5, 20])
def test_frechet_equals_the_matrix_root(width: int, device: torch.device) -> None:
    a = draw(1, 60, width) @ draw(2, width, width) + draw(3, width)
    b = draw(4, 45, width) @ draw(5, width, width)
    expected = by_root(*moments(a), *moments(b))
    ours = topic.frechet_distance(a.to(device), b.to(device))
    assert_agree(ours.cpu(), expected)
    given = [x.to(device) for x in (*moments(a), *moments(b))]
    assert_agree(topic.frechet_from_moments(*given).cpu(), expected)


def test_frechet_equals_torchmetrics() -> None:
    fid = pytest.importorskip("torchmetrics.image.fid")
    a, b = draw(1, 60, 7), 1 + 2 * draw(2, 50, 7)
    expected = fid._compute_fid(*moments(a), *moments(b))
    assert_agree(topic.frechet_distance(a, b), expected, tolerance=1e-9)


@given(st.floats(-5, 5), st.floats(0.1, 5), st.floats(-5, 5), st.floats(0.1, 5))
def test_frechet_in_one_dimension(m1: float, s1: float, m2: float, s2: float) -> None:
    ours = topic.frechet_from_moments(
        *(torch.tensor(x, dtype=DOUBLE) for x in ([m1], [[s1**2]], [m2], [[s2**2]]))
    )
    assert_agree(ours, number((m1 - m2) ** 2 + (s1 - s2) ** 2))


@given(st.integers(0, 2**31), st.integers(2, 12), st.integers(1, 9))
def test_frechet_of_equal_sets_is_nothing(seed: int, count: int, width: int) -> None:
    a, b = draw(seed, count, width), draw(seed + 1, count + 1, width)
    shift = draw(seed + 2, width)
    scale = a.square().sum() + b.square().sum() + shift.square().sum() + 1
    assert abs(float(topic.frechet_distance(a, a))) < 1e-12 * scale
    moved = topic.frechet_distance(a, a + shift)
    assert abs(float(moved - shift.square().sum())) < 1e-12 * scale
    turned = torch.linalg.qr(draw(seed + 3, width, width)).Q
    assert_agree(topic.frechet_distance(a, b), topic.frechet_distance(b, a))
    assert_agree(topic.frechet_distance(a, b), topic.frechet_distance(a @ turned, b @ turned))


def test_fewer_examples_than_features() -> None:
    """Singular covariances, on which the root of rounding errors would be seen."""
    a, b = draw(1, 6, 30), draw(2, 9, 30)
    a[:, 3], b[:, 3] = 0.5, 0.5  # a pixel that never changes
    exact = topic.frechet_distance(a, b)
    assert_agree(topic.frechet_from_moments(*moments(a), *moments(b)), exact)
    assert abs(float(topic.frechet_from_moments(*moments(a), *moments(a)))) < 1e-12


def test_frechet_computes_in_float64() -> None:
    a, b = draw(1, 40, 6).float(), draw(2, 40, 6).float() + 30
    ours = topic.frechet_distance(a, b)
    assert ours.dtype == DOUBLE
    assert_agree(ours, by_root(*moments(a.double()), *moments(b.double())))


def test_frechet_has_a_gradient() -> None:
    a, b = draw(1, 7, 3).requires_grad_(), draw(2, 6, 3).requires_grad_()
    assert gradcheck(topic.frechet_distance, (a, b))


# --- neighbours -----------------------------------------------------------------------------------


def counted(real: Tensor, fake: Tensor, k: int) -> list[float]:
    """The four shares by scikit-learn's trees."""
    x, y = real.numpy(), fake.numpy()
    of_x, of_y = (NearestNeighbors(n_neighbors=k).fit(points) for points in (x, y))
    reach_x, reach_y = (tree.kneighbors()[0][:, -1] for tree in (of_x, of_y))

    def inside(points: np.ndarray, centres: np.ndarray, reach: np.ndarray) -> np.ndarray:
        return np.array(
            [[math.dist(p, c) <= r for c, r in zip(centres, reach, strict=True)] for p in points]
        )

    made_in_real, real_in_made = inside(y, x, reach_x), inside(x, y, reach_y)
    return [
        made_in_real.any(1).mean(),
        real_in_made.any(1).mean(),
        made_in_real.sum() / (k * len(y)),
        made_in_real.any(0).mean(),
    ]


PRDC = [
    topic.precision_recall_density_coverage,
    topic.precision_recall_density_coverage_loops,
]
every_prdc = pytest.mark.parametrize("ours", PRDC, ids=lambda f: f.__name__)


@every_prdc
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("seed", range(3))
def test_neighbourhoods_are_as_counted(
    ours: Callable[..., Any], seed: int, k: int, device: torch.device
) -> None:
    real, fake = draw(seed, 20, 3), 0.7 * draw(seed + 10, 13, 3) + 0.5
    found = ours(real.to(device), fake.to(device), k)
    expected = torch.tensor(counted(real, fake, k), dtype=DOUBLE)
    assert_agree(torch.stack(found).cpu(), expected)


@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(4, 9), st.integers(4, 9))
def test_neighbourhoods_with_ties(seed: int, k: int, n: int, m: int) -> None:
    """Points of a small grid, many of them twice: exact distances, and borders that are met."""
    real, fake = (2 * draw(seed, n, 2)).round(), (2 * draw(seed + 1, m, 2)).round()
    fast, slow = (torch.stack(ours(real, fake, k)) for ours in PRDC)
    assert_agree(fast, slow)


def test_neighbourhoods_at_the_corners() -> None:
    real = draw(1, 12, 4)
    same = topic.precision_recall_density_coverage(real, real, 3)
    assert [float(x) for x in (same.precision, same.recall, same.coverage)] == [1, 1, 1]
    far = topic.precision_recall_density_coverage(real, real + 1000, 3)
    assert [float(x) for x in far] == [0, 0, 0, 0]
    copies = real[:1].repeat(10, 1)  # one real picture, ten times
    collapsed = topic.precision_recall_density_coverage(real, copies, 3)
    assert float(collapsed.precision) == 1
    assert float(collapsed.recall) == 1 / 12
    assert float(collapsed.coverage) <= 0.75
    strided = topic.precision_recall_density_coverage(real.T.contiguous().T, real[::1], 3)
    assert_agree(torch.stack(strided), torch.stack(same))


def test_coverage_of_a_perfect_generator() -> None:
    for n, m, k in ((40, 40, 5), (60, 25, 3), (30, 80, 1)):
        generator = torch.Generator().manual_seed(n)
        found = [
            topic.precision_recall_density_coverage(
                torch.randn(n, 2, generator=generator), torch.randn(m, 2, generator=generator), k
            ).coverage
            for _ in range(400)
        ]
        expected = topic.expected_coverage(n, m, k)
        assert float(torch.stack(found).mean()) == pytest.approx(expected, abs=0.015)
        assert expected == pytest.approx(1 - stats.hypergeom.pmf(0, n + m - 1, m, k))
    assert topic.expected_coverage(100_000, 100_000, 5) == pytest.approx(1 - 2**-5, abs=1e-5)


# --- between two latents --------------------------------------------------------------------------


@given(st.integers(0, 2**31), st.integers(2, 6))
def test_slerp_equals_scipys(seed: int, width: int) -> None:
    z1, z2 = torch.nn.functional.normalize(draw(seed, 2, width), dim=1)
    t = torch.linspace(0, 1, 7, dtype=DOUBLE)
    expected = geometric_slerp(z1.numpy(), z2.numpy(), t.numpy(), tol=1e-12)
    assert_agree(topic.slerp(z1, z2, t), torch.from_numpy(expected), tolerance=1e-7)


def test_slerp_keeps_the_length_and_the_ends(device: torch.device) -> None:
    z1, z2 = draw(1, 2, 5, 64, device=device)
    z2 = z2 / z2.norm(dim=1, keepdim=True) * z1.norm(dim=1, keepdim=True)
    assert_agree(topic.slerp(z1, z2, 0.0), z1)
    assert_agree(topic.slerp(z1, z2, 1.0), z2)
    for t in (0.1, 0.5, 0.8):
        between = topic.slerp(z1, z2, t)
        assert_agree(between.norm(dim=1), z1.norm(dim=1))
        turned = torch.nn.functional.cosine_similarity(z1, between).acos()
        whole = torch.nn.functional.cosine_similarity(z1, z2).acos()
        assert_agree(turned, t * whole, tolerance=1e-7)


def test_slerp_by_hand() -> None:
    z1, z2 = torch.tensor([2.0, 0]), torch.tensor([0, 1.0])
    half = math.sqrt(0.5)
    torch.testing.assert_close(topic.slerp(z1, z2, 0.5), torch.tensor([2 * half, half]))


def test_slerp_of_parallel_opposite_and_empty_vectors() -> None:
    z = draw(1, 4)
    assert_agree(topic.slerp(z, 3 * z, 0.25), 1.5 * z)
    assert_agree(topic.slerp(z, -z, 0.25), 0.5 * z)
    assert_agree(topic.slerp(z, z + 1e-9, 0.5), z + 5e-10)
    assert topic.slerp(torch.zeros(4), torch.zeros(4), 0.3).tolist() == [0, 0, 0, 0]
    assert topic.slerp(torch.zeros(0, 4), torch.zeros(0, 4), 0.3).shape == (0, 4)


def test_slerp_has_a_gradient_everywhere() -> None:
    z1, z2 = draw(1, 3, 4).requires_grad_(), draw(2, 3, 4).requires_grad_()
    assert gradcheck(lambda a, b: topic.slerp(a, b, 0.3), (z1, z2))
    same = draw(1, 4).requires_grad_()
    (slope,) = torch.autograd.grad(topic.slerp(same, same.detach().clone(), 0.3).sum(), same)
    assert slope.isfinite().all()


def test_slerp_takes_many_places_and_many_pairs() -> None:
    z1, z2 = draw(1, 2, 5, 4)
    t = torch.linspace(0, 1, 3, dtype=DOUBLE)
    rows = topic.slerp(z1, z2, t[:, None])
    assert rows.shape == (3, 5, 4)
    assert_agree(rows[1, 2], topic.slerp(z1[2], z2[2], 0.5))
    assert topic.slerp(z1[0], z2[0], t).shape == (3, 4)


# --- compiled ------------------------------------------------------------------------------------

CLOUD = draw(5, 8, 3)
MOMENTS = moments(CLOUD)


@pytest.mark.parametrize(
    "call",
    [
        lambda: topic.wasserstein_distance(CLOUD[:, 0], CLOUD[:5, 1]),
        lambda: topic.frechet_distance(CLOUD, 2 * CLOUD[:6]),
        lambda: topic.frechet_from_moments(CLOUD[0], CLOUD.T @ CLOUD, *MOMENTS),
        lambda: topic.precision_recall_density_coverage(CLOUD, CLOUD[:6] + 0.1, 3),
        lambda: topic.slerp(CLOUD[0], CLOUD[1], 0.3),
    ],
)
def test_compiles_into_one_graph(call: Callable[[], Any]) -> None:
    torch.compiler.reset()
    found = torch.compile(call, fullgraph=True, backend="eager")()
    torch.testing.assert_close(found, call())


# --- wrong arguments ------------------------------------------------------------------------------

ROW, ROWS = torch.ones(3), torch.ones(7, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.wasserstein_distance(ROW, ROW[:0]), ValueError, "v_values: expected at le"),
        (lambda: topic.wasserstein_distance(ROWS, ROW), ValueError, "u_values: expected 1 dim"),
        (lambda: topic.wasserstein_distance(ROW, ROW.double()), TypeError, "v_values: expected"),
        (
            lambda: topic.frechet_distance(ROWS, ROWS[:1]),
            ValueError,
            "features2: expected at le",
        ),
        (
            lambda: topic.frechet_distance(ROWS, ROWS[:, :2]),
            ValueError,
            "features2: expected sha",
        ),
        (
            lambda: topic.frechet_distance(ROWS.int(), ROWS),
            TypeError,
            "features1: expected a flo",
        ),
        (
            lambda: topic.frechet_from_moments(ROW, torch.eye(2), ROW, torch.eye(3)),
            ValueError,
            r"cov1: expected shape \(3, 3\)",
        ),
        (
            lambda: topic.frechet_from_moments(ROW, torch.eye(3), ROW[:2], torch.eye(3)),
            ValueError,
            "mean2: expected shape",
        ),
        *(
            (lambda f=f: f(ROWS[:5], ROWS, 5), ValueError, "real: expected at least 6 rows")
            for f in PRDC
        ),
        *((lambda f=f: f(ROWS, ROWS, 0), ValueError, "k: expected") for f in PRDC),
        *((lambda f=f: f(ROWS, ROWS[:, :1], 2), ValueError, "fake: expected sh") for f in PRDC),
        (lambda: topic.expected_coverage(5, 5, 5), ValueError, "real: expected"),
        (lambda: topic.expected_coverage(9, 0, 5), ValueError, "fake: expected"),
        (lambda: topic.expected_coverage(9, 9, 0), ValueError, "k: expected"),
        (lambda: topic.slerp(ROW, ROWS, 0.5), ValueError, "z2: expected shape"),
        (lambda: topic.slerp(ROW, ROW, "half"), TypeError, "t: expected"),
        (lambda: topic.slerp(ROW.int(), ROW.int(), 0.5), TypeError, "z1: expected a floating"),
    ],
)
def test_wrong_arguments_raise(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


# --- for test_fake_cuda ---------------------------------------------------------------------------

LOOKS_AT_DATA: set[str] = {"precision_recall_density_coverage_loops"}

CALLS: dict[str, Callable[..., Any]] = {
    "expected_coverage": lambda make, device: topic.expected_coverage(9, 9),
    "frechet_distance": lambda make, device: topic.frechet_distance(make(6, 3), make(5, 3)),
    "frechet_from_moments": lambda make, device: topic.frechet_from_moments(
        make(3), make(3, 3), make(3), make(3, 3)
    ),
    "precision_recall_density_coverage": lambda make, device: (
        topic.precision_recall_density_coverage(make(7, 3), make(8, 3))
    ),
    "precision_recall_density_coverage_loops": lambda make, device: (
        topic.precision_recall_density_coverage_loops(make(7, 3), make(8, 3))
    ),
    "slerp": lambda make, device: topic.slerp(make(2, 3), make(2, 3), 0.5),
    "wasserstein_distance": lambda make, device: topic.wasserstein_distance(make(4), make(3)),
}
