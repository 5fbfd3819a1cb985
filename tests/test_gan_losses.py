"""The losses, penalties and the spectral norm of `course_lib.gan`, against torch and autograd."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from course_lib import gan as topic
from support import assert_agree

DOUBLE = torch.float64


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Normal numbers in float64, the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=DOUBLE).to(device)


# --- losses ---------------------------------------------------------------------------------------

bce = F.binary_cross_entropy_with_logits


def _real(logits: Tensor) -> Tensor:
    return bce(logits, torch.ones_like(logits))


def _made(logits: Tensor) -> Tensor:
    return bce(logits, torch.zeros_like(logits))


def _half_mse(logits: Tensor, target: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, target)) / 2


def _hinge(logits: Tensor, target: float) -> Tensor:
    """torch's criterion for both signs: what the score lacks of the margin on its side."""
    signs = torch.full_like(logits, target)
    return F.margin_ranking_loss(logits, torch.zeros_like(logits), signs, margin=1.0)


TWINS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "saturating": (lambda r, f: _real(r) + _made(f), lambda f: -_made(f)),
    "nonsaturating": (lambda r, f: _real(r) + _made(f), _real),
    "least_squares": (lambda r, f: _half_mse(r, 1) + _half_mse(f, 0), lambda f: _half_mse(f, 1)),
    "hinge": (lambda r, f: _hinge(r, 1) + _hinge(f, -1), lambda f: -f.mean()),
    "wasserstein": (lambda r, f: f.mean() - r.mean(), lambda f: -f.mean()),
}
every_kind = pytest.mark.parametrize("kind", topic.KINDS)


def test_every_kind_has_a_twin() -> None:
    assert set(TWINS) == set(topic.KINDS)


@every_kind
@pytest.mark.parametrize("shapes", [((5,), (7,)), ((4, 1), (4, 1)), ((2, 1, 3, 3), (1,))])
def test_losses_equal_torchs(
    kind: str, shapes: tuple[tuple[int, ...], ...], device: torch.device
) -> None:
    of_d, of_g = TWINS[kind]
    real, fake = (3 * draw(i, *s, device=device) for i, s in enumerate(shapes))
    real, fake = real.requires_grad_(), fake.requires_grad_()
    for leaves, mine, theirs in (
        ((real, fake), topic.discriminator_loss(real, fake, kind), of_d(real, fake)),
        ((fake,), topic.generator_loss(fake, kind), of_g(fake)),
    ):
        assert_agree(mine, theirs)
        pairs = (torch.autograd.grad(loss, leaves) for loss in (mine, theirs))
        for ours, twin in zip(*pairs, strict=True):
            assert_agree(ours, twin)


@every_kind
def test_losses_take_strided_tensors_and_keep_the_dtype(kind: str) -> None:
    real, fake = draw(1, 6, 4).T[::2], draw(2, 6, 4).T[::2]
    for dtype in (torch.float32, torch.bfloat16):
        mine = topic.discriminator_loss(real.to(dtype), fake.to(dtype), kind)
        exact = topic.discriminator_loss(real.to(dtype).double(), fake.to(dtype).double(), kind)
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), exact, rtol=8 * torch.finfo(dtype).eps, atol=1e-3)


@every_kind
def test_losses_have_the_right_gradients(kind: str) -> None:
    real, fake = draw(1, 3).requires_grad_(), draw(2, 4).requires_grad_()
    assert gradcheck(lambda r, f: topic.discriminator_loss(r, f, kind), (real, fake))
    assert gradcheck(lambda f: topic.generator_loss(f, kind), fake)
    if kind in ("saturating", "nonsaturating"):
        assert gradgradcheck(lambda r, f: topic.discriminator_loss(r, f, kind), (real, fake))


@every_kind
@given(st.lists(st.floats(-60, 60), min_size=1, max_size=6))
def test_the_slope_is_that_of_the_loss(kind: str, scores: list[float]) -> None:
    logits = torch.tensor(scores, dtype=DOUBLE, requires_grad=True)
    (by_autograd,) = torch.autograd.grad(topic.generator_loss(logits, kind), logits)
    assert_agree(topic.generator_slope(logits, kind) / len(scores), by_autograd)


def test_the_saturating_loss_starves() -> None:
    logits = torch.tensor([-10.0, 0.0, 10.0], dtype=DOUBLE)
    weak = topic.generator_slope(logits, "saturating")
    strong = topic.generator_slope(logits, "nonsaturating")
    assert_agree(weak / strong, logits.exp())  # their ratio, exactly
    assert float(weak[1]) == float(strong[1]) == -0.5
    assert abs(float(weak[0])) < 5e-5 < 0.9999 < abs(float(strong[0]))


@every_kind
def test_nothing_overflows(kind: str) -> None:
    for dtype in (torch.float32, DOUBLE):
        far = torch.tensor([-1000.0, 1000.0], dtype=dtype, requires_grad=True)
        for loss in (topic.discriminator_loss(far, far, kind), topic.generator_loss(far, kind)):
            assert loss.isfinite()
            assert torch.autograd.grad(loss, far)[0].isfinite().all()


BEST: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "saturating": lambda p, q: p.log() - q.log(),
    "nonsaturating": lambda p, q: p.log() - q.log(),
    "least_squares": lambda p, q: p / (p + q),
    "hinge": lambda p, q: (p - q).sign(),
}


@pytest.mark.parametrize("kind", BEST)
def test_the_best_scores_of_each_game(kind: str) -> None:
    """Three places, each with a score of its own, and how many real and made ones are there."""
    real, fake = torch.tensor([5, 2, 1]), torch.tensor([1, 3, 6])
    at_real, at_fake = (torch.arange(3).repeat_interleave(n) for n in (real, fake))

    def loss(scores: Tensor) -> Tensor:
        return topic.discriminator_loss(scores[at_real], scores[at_fake], kind)

    best = BEST[kind](real / 8.0, fake / 10.0).double()
    for seed in range(100):
        assert loss(best) < loss(best + draw(seed, 3) * 10 ** -(seed / 50))


# --- penalties ------------------------------------------------------------------------------------


class Judge(nn.Module):
    """A small smooth discriminator."""

    def __init__(self, inputs: int, seed: int = 0) -> None:
        super().__init__()
        self.first = nn.Parameter(draw(seed, inputs, 4))
        self.second = nn.Parameter(draw(seed + 1, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x.flatten(1) @ self.first) @ self.second


def slopes_by_hand(judge: Judge, x: Tensor) -> Tensor:
    """The gradient of the judge's score, written down: (N, D)."""
    inner = torch.tanh(x.flatten(1) @ judge.first)  # (N, 4)
    return ((1 - inner.square()) * judge.second.T) @ judge.first.T


@pytest.mark.parametrize("shape", [(5, 3), (4, 1, 2, 2)])
def test_r1_equals_the_slopes_by_hand(shape: tuple[int, ...], device: torch.device) -> None:
    real = draw(7, *shape, device=device)
    judge = Judge(real[0].numel()).to(device)
    mine = topic.r1_penalty(judge, real)
    theirs = slopes_by_hand(judge, real).square().sum(1).mean() / 2
    assert_agree(mine, theirs)
    pairs = (torch.autograd.grad(p, list(judge.parameters())) for p in (mine, theirs))
    for ours, twin in zip(*pairs, strict=True):  # a second derivative
        assert_agree(ours, twin)


@pytest.mark.parametrize("shape", [(5, 3), (4, 1, 2, 2)])
def test_gradient_penalty_equals_the_slopes_by_hand(
    shape: tuple[int, ...], device: torch.device
) -> None:
    real, fake = draw(7, *shape, device=device), draw(8, *shape, device=device)
    judge = Judge(real[0].numel()).to(device)
    mine = topic.gradient_penalty(judge, real, fake, torch.Generator().manual_seed(4))
    share = torch.rand(
        (len(real), *[1] * (real.ndim - 1)),
        generator=torch.Generator().manual_seed(4),
        dtype=DOUBLE,
    ).to(device)
    between = fake + share * (real - fake)
    theirs = (slopes_by_hand(judge, between).norm(dim=1) - 1).square().mean()
    assert_agree(mine, theirs)
    pairs = (torch.autograd.grad(p, list(judge.parameters())) for p in (mine, theirs))
    for ours, twin in zip(*pairs, strict=True):
        assert_agree(ours, twin)


def test_penalties_have_the_right_gradients() -> None:
    real, fake = draw(7, 3, 2), draw(8, 3, 2)

    def penalty(first: Tensor, second: Tensor, kind: str) -> Tensor:
        def judge(x: Tensor) -> Tensor:
            return torch.tanh(x @ first) @ second

        if kind == "r1":
            return topic.r1_penalty(judge, real)
        return topic.gradient_penalty(judge, real, fake, torch.Generator().manual_seed(1))

    for kind in ("r1", "gradient"):
        leaves = draw(1, 2, 3).requires_grad_(), draw(2, 3, 1).requires_grad_()
        assert gradcheck(lambda a, b, kind=kind: penalty(a, b, kind), leaves)


def test_a_straight_line_has_no_penalty_at_slope_1() -> None:
    direction = F.normalize(draw(1, 6), dim=0)
    real, fake = draw(2, 5, 6), draw(3, 5, 6)
    assert float(topic.gradient_penalty(lambda x: x @ direction, real, fake)) < 1e-20
    assert_agree(topic.r1_penalty(lambda x: 3 * x @ direction, real), torch.tensor(4.5).double())
    assert_agree(
        topic.gradient_penalty(lambda x: 3 * x @ direction, real, fake), torch.tensor(4.0).double()
    )


def test_a_flat_judge_has_a_finite_gradient() -> None:
    weight = torch.zeros(3, dtype=DOUBLE, requires_grad=True)
    for penalty in (
        topic.gradient_penalty(lambda x: x @ weight, draw(1, 4, 3), draw(2, 4, 3)),
        topic.r1_penalty(lambda x: x @ weight, draw(1, 4, 3)),
    ):
        assert torch.autograd.grad(penalty, weight)[0].isfinite().all()


def test_one_place_between_each_pair() -> None:
    """The same share for all pixels of an example, another one for the next example."""
    seen = []

    def judge(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    topic.gradient_penalty(judge, torch.ones(50, 2, 3), torch.zeros(50, 2, 3))
    share = seen[0]
    assert (share == share[:, :1, :1]).all()
    assert len(share[:, 0, 0].unique()) > 40
    assert 0 <= share.min() < 0.2 < 0.8 < share.max() <= 1


def test_no_gradient_goes_back_to_the_maker() -> None:
    fake = draw(1, 4, 3).requires_grad_()
    judge = Judge(3)
    topic.gradient_penalty(judge, draw(2, 4, 3), fake).backward()
    assert fake.grad is None
    assert judge.first.grad is not None


# --- the spectral norm ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (3, 5), (6, 2, 3, 3), (1, 4)])
def test_the_spectral_norm_is_the_largest_singular_value(
    shape: tuple[int, ...], device: torch.device
) -> None:
    weight = draw(3, *shape, device=device).requires_grad_()
    exact = torch.linalg.matrix_norm(weight.flatten(1), 2)
    ours, v = topic.spectral_norm(weight, 2000, generator=torch.Generator().manual_seed(1))
    assert_agree(ours, exact)
    assert_agree(v.norm(), torch.ones_like(exact))
    pair = (torch.autograd.grad(s, weight)[0] for s in (ours, exact))
    for mine, theirs in zip(pair, pair, strict=False):
        assert_agree(mine, theirs, tolerance=1e-8)


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
def test_the_estimate_grows_towards_it(seed: int, rows: int, columns: int, more: int) -> None:
    weight = draw(seed, rows, columns)
    exact = float(torch.linalg.matrix_norm(weight, 2))
    first, v = topic.spectral_norm(weight, generator=torch.Generator().manual_seed(seed))
    second, _ = topic.spectral_norm(weight, more, v)
    assert float(first) <= float(second) + 1e-12
    assert float(second) <= exact + 1e-12
    at_once, _ = topic.spectral_norm(
        weight, more + 1, generator=torch.Generator().manual_seed(seed)
    )
    assert_agree(second, at_once)


def test_random_starts_come_from_torch_or_the_generator() -> None:
    weight = draw(1, 5, 7)
    torch.manual_seed(3)
    first, _ = topic.spectral_norm(weight)
    assert float(first) <= float(torch.linalg.matrix_norm(weight, 2))
    for _ in range(2):
        pair = [
            topic.spectral_norm(weight, generator=torch.Generator().manual_seed(9))[0]
            for _ in range(2)
        ]
        assert torch.equal(*pair)


LAYERS: list[Callable[[], nn.Module]] = [
    lambda: nn.Linear(5, 3),
    lambda: nn.Conv2d(2, 4, 3),
    lambda: nn.ConvTranspose2d(2, 4, 3),
    lambda: nn.Embedding(6, 3),
]


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("iterations", [1, 3])
def test_the_layer_is_its_twin_at_every_step(
    make: Callable[[], nn.Module], iterations: int, device: torch.device
) -> None:
    plain = make().double().to(device)
    ours = topic.spectral_normalize(copy.deepcopy(plain), n_power_iterations=iterations)
    theirs = parametrizations.spectral_norm(copy.deepcopy(plain), n_power_iterations=iterations)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    raw = "parametrizations.weight.original"
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.3) for m in (ours, theirs)]
    for step in range(6):
        signal = draw(step, *plain.weight.shape, device=device)
        for layer, optimizer in zip((ours, theirs), optimizers, strict=True):
            layer.train(step != 3)
            optimizer.zero_grad()
            (layer.weight * signal).sum().backward()
            optimizer.step()
        for name, value in theirs.state_dict().items():
            assert_agree(ours.state_dict()[name], value)
        grads = [dict(m.named_parameters())[raw].grad for m in (ours, theirs)]
        assert_agree(*grads)
    ours.eval(), theirs.eval()
    assert_agree(ours.weight, theirs.weight)
    assert torch.equal(ours.weight, ours.weight)  # nothing moves when it is not training


def test_a_normalised_layer_lengthens_nothing() -> None:
    layer = topic.spectral_normalize(nn.Linear(8, 6, dtype=DOUBLE), n_power_iterations=500)
    assert float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) == pytest.approx(1, abs=1e-9)
    a, b = draw(1, 20, 8), draw(2, 20, 8)
    moved = (layer(a) - layer(b)).norm(dim=1)
    assert (moved <= (a - b).norm(dim=1) * (1 + 1e-9)).all()


def test_two_uses_before_one_backward() -> None:
    """As in a step of a GAN: once for real, once for made ones."""
    layer = topic.spectral_normalize(nn.Linear(3, 2))
    (layer(torch.ones(4, 3)) + layer(torch.zeros(4, 3))).sum().backward()
    assert layer.parametrizations.weight.original.grad.isfinite().all()


# --- compiled ------------------------------------------------------------------------------------

SCORES = torch.tensor([-1.0, 0.5, 2.0], dtype=DOUBLE)


@pytest.mark.parametrize(
    "call",
    [
        *(
            lambda kind=kind: topic.discriminator_loss(SCORES, SCORES[:2], kind)
            for kind in topic.KINDS
        ),
        *(lambda kind=kind: topic.generator_loss(SCORES, kind) for kind in topic.KINDS),
        *(lambda kind=kind: topic.generator_slope(SCORES, kind) for kind in topic.KINDS),
        lambda: topic.spectral_norm(SCORES[:, None] * SCORES, 2, SCORES / SCORES.norm()),
    ],
)
def test_compiles_into_one_graph(call: Callable[[], Any]) -> None:
    torch.compiler.reset()
    found = torch.compile(call, fullgraph=True, backend="eager")()
    torch.testing.assert_close(found, call())


# --- wrong arguments ------------------------------------------------------------------------------

ONE = torch.ones(3)
PICTURES = torch.ones(2, 3)


def _sum(x: Tensor) -> Tensor:
    return x.flatten(1).sum(1)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.discriminator_loss(ONE, ONE, "vanilla"), ValueError, "kind: expected one"),
        (lambda: topic.generator_loss(ONE, "vanilla"), ValueError, "kind: expected one of"),
        (lambda: topic.generator_slope(ONE, "vanilla"), ValueError, "kind: expected one of"),
        (lambda: topic.generator_slope(ONE.int()), TypeError, "fake_logits: expected a floating"),
        *(
            (lambda kind=kind: topic.generator_loss(ONE[:0], kind), ValueError, "at least one")
            for kind in topic.KINDS
        ),
        *(
            (
                lambda kind=kind: topic.discriminator_loss(ONE.int(), ONE.int(), kind),
                TypeError,
                "expected a floating",
            )
            for kind in topic.KINDS
        ),
        (lambda: topic.hinge_loss(ONE, ONE.double()), TypeError, "fake_logits: expected"),
        (lambda: topic.wasserstein_loss(ONE, [1.0]), TypeError, "fake_logits: expected a tensor"),
        (lambda: topic.least_squares_loss(ONE, math.nan), ValueError, "target: expected"),
        (
            lambda: topic.gradient_penalty(_sum, PICTURES, PICTURES[:1]),
            ValueError,
            r"fake: expected shape \(2, 3\)",
        ),
        (lambda: topic.gradient_penalty(_sum, PICTURES.int(), PICTURES), TypeError, "real: expe"),
        (
            lambda: topic.gradient_penalty(_sum, PICTURES, PICTURES.double()),
            TypeError,
            "fake: expected",
        ),
        (lambda: topic.r1_penalty(_sum, ONE), ValueError, "real: expected at least one example"),
        (lambda: topic.r1_penalty(_sum, PICTURES[:0]), ValueError, "real: expected at least one"),
        (lambda: topic.spectral_norm(ONE), ValueError, "weight: expected a matrix"),
        (lambda: topic.spectral_norm(PICTURES, 0), ValueError, "iterations: expected"),
        (lambda: topic.spectral_norm(PICTURES, v=ONE[:2]), ValueError, r"v: expected shape \(3\)"),
        (lambda: topic.spectral_normalize(nn.Linear(2, 2), "bias"), ValueError, "name: expected"),
        (lambda: topic.spectral_normalize(nn.ReLU()), ValueError, "name: expected"),
        (
            lambda: topic.spectral_normalize(nn.Linear(2, 2), n_power_iterations=0),
            ValueError,
            "n_power_iterations: expected",
        ),
    ],
)
def test_wrong_arguments_raise(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call()


# --- for test_fake_cuda ---------------------------------------------------------------------------

LOOKS_AT_DATA: set[str] = set()


def _sloped(call: Callable[[], Tensor]) -> Tensor:
    """Call a penalty; without a GPU there is no gradient on one, and each slope is 1."""

    def grad(output: Tensor, leaf: Tensor, create_graph: bool) -> tuple[Tensor]:
        assert output.device == leaf.device
        return (torch.ones_like(leaf),)

    with mock.patch.object(torch.autograd, "grad", grad):
        return call()


CALLS: dict[str, Callable[..., Any]] = {
    "discriminator_loss": lambda make, device: [
        topic.discriminator_loss(make(3), make(2), kind) for kind in topic.KINDS
    ],
    "generator_loss": lambda make, device: [
        topic.generator_loss(make(3), kind) for kind in topic.KINDS
    ],
    "generator_slope": lambda make, device: [
        topic.generator_slope(make(3), kind) for kind in topic.KINDS
    ],
    "gradient_penalty": lambda make, device: _sloped(
        lambda: topic.gradient_penalty(_sum, make(2, 3), make(2, 3))
    ),
    "hinge_loss": lambda make, device: topic.hinge_loss(make(3), make(2)),
    "least_squares_loss": lambda make, device: topic.least_squares_loss(make(3), 1),
    "nonsaturating_loss": lambda make, device: topic.nonsaturating_loss(make(3)),
    "r1_penalty": lambda make, device: _sloped(lambda: topic.r1_penalty(_sum, make(2, 3))),
    "saturating_loss": lambda make, device: topic.saturating_loss(make(3)),
    "spectral_norm": lambda make, device: topic.spectral_norm(make(3, 4), 2),
    "spectral_normalize": lambda make, device: [
        topic.spectral_normalize(nn.Linear(3, 2, device=device))(make(4, 3))
    ],
    "wasserstein_loss": lambda make, device: topic.wasserstein_loss(make(3), make(2)),
}
