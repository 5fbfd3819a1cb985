"""The exercises of the chapter `gan`: right answers written differently, and wrong ones."""

from __future__ import annotations

import math
from typing import Any

import torch
from scipy.spatial import distance as spatial
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises import gan as exercises


def _js_scipy(p: Tensor, q: Tensor) -> float:
    return float(spatial.jensenshannon(p.numpy(), q.numpy())) ** 2


def _js_entropies(p: Tensor, q: Tensor) -> Tensor:
    def entropy(r: Tensor) -> Tensor:
        return -torch.xlogy(r, r).sum()

    return entropy((p + q) / 2) - entropy(p) / 2 - entropy(q) / 2


def _turn_by_autograd(
    theta: Tensor, psi: Tensor, real: Tensor, noise: Tensor, lr: float
) -> tuple[Tensor, Tensor]:
    theta, psi = theta.clone().requires_grad_(), psi.clone().requires_grad_()
    learn_g, learn_d = torch.optim.SGD([theta], lr), torch.optim.SGD([psi], lr)
    made = theta + noise
    loss = F.softplus(-psi * real).mean() + F.softplus(psi * made.detach()).mean()
    loss.backward()
    learn_d.step()
    learn_g.zero_grad()
    F.softplus(-psi * made).mean().backward()
    learn_g.step()
    return theta.detach(), psi.detach()


def _turn_zeroed(
    theta: Tensor, psi: Tensor, real: Tensor, noise: Tensor, lr: float
) -> tuple[Tensor, Tensor]:
    """No detach, but the gradient is forgotten before G's turn."""
    theta, psi = theta.clone().requires_grad_(), psi.clone().requires_grad_()
    made = theta + noise
    loss = F.softplus(-psi * real).mean() + F.softplus(psi * made).mean()
    (slope,) = torch.autograd.grad(loss, psi, retain_graph=True)
    psi = (psi - lr * slope).detach()
    (push,) = torch.autograd.grad(F.softplus(-psi * made).mean(), theta)
    return theta.detach() - lr * push, psi


def _turn_broken(
    theta: Tensor, psi: Tensor, real: Tensor, noise: Tensor, lr: float
) -> tuple[Tensor, Tensor]:
    """The listing of the chapter."""
    theta, psi = theta.clone().requires_grad_(), psi.clone().requires_grad_()
    learn_g, learn_d = torch.optim.SGD([theta], lr), torch.optim.SGD([psi], lr)
    made = theta + noise
    loss = F.softplus(-psi * real).mean() + F.softplus(psi * made).mean()
    loss.backward()
    learn_d.step()
    loss = F.softplus(-psi * made).mean()
    loss.backward()
    learn_g.step()
    return theta.detach(), psi.detach()


def _turn_one_optimizer(
    theta: Tensor, psi: Tensor, real: Tensor, noise: Tensor, lr: float
) -> tuple[Tensor, Tensor]:
    theta, psi = theta.clone().requires_grad_(), psi.clone().requires_grad_()
    learn = torch.optim.SGD([theta, psi], lr)
    made = theta + noise
    loss = F.softplus(-psi * real).mean() + F.softplus(psi * made.detach()).mean()
    loss.backward()
    learn.step()
    learn.zero_grad()
    F.softplus(-psi * made).mean().backward()
    learn.step()
    return theta.detach(), psi.detach()


def _turn_all_detached(
    theta: Tensor, psi: Tensor, real: Tensor, noise: Tensor, lr: float
) -> tuple[Tensor, Tensor]:
    theta, psi = theta.clone().requires_grad_(), psi.clone().requires_grad_()
    learn_g, learn_d = torch.optim.SGD([theta], lr), torch.optim.SGD([psi], lr)
    made = (theta + noise).detach()
    (F.softplus(-psi * real).mean() + F.softplus(psi * made).mean()).backward()
    learn_d.step()
    F.softplus(-psi * made).mean().backward()
    learn_g.step()
    return theta.detach(), psi.detach()


def _penalty_by_autograd(critic: Any, real: Tensor, made: Tensor, u: Tensor) -> Tensor:
    between = (u * real + (1 - u) * made).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def _penalty_one_by_one(critic: Any, real: Tensor, made: Tensor, u: Tensor) -> Tensor:
    total = torch.zeros(())
    for x, y, share in zip(real, made, u, strict=True):
        point = (y + share * (x - y)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(point[None]), point, torch.ones(1), create_graph=True)
        total = total + (slope.square().sum().sqrt() - 1) ** 2
    return total / len(real)


def _penalty_as_number(critic: Any, real: Tensor, made: Tensor, u: Tensor) -> float:
    return _penalty_by_autograd(critic, real, made, u).item()


def _penalty_without_graph(critic: Any, real: Tensor, made: Tensor, u: Tensor) -> Tensor:
    between = (u * real + (1 - u) * made).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def _penalty_by_backward(critic: Any, real: Tensor, made: Tensor, u: Tensor) -> Tensor:
    between = (u * real + (1 - u) * made).requires_grad_()
    critic(between).sum().backward()
    assert between.grad is not None
    return (between.grad.flatten(1).norm(dim=1) - 1).square().mean()


def _penalty_of_mean(critic: Any, real: Tensor, made: Tensor, u: Tensor) -> Tensor:
    between = (u * real + (1 - u) * made).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).mean(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()


def _penalty_last_axis(critic: Any, real: Tensor, made: Tensor, u: Tensor) -> Tensor:
    between = (u * real + (1 - u) * made).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between)
    return (slope.norm(dim=-1) - 1).square().mean()


def _modes_by_loops(samples: Tensor, centres: Tensor, radius: float) -> tuple[int, float]:
    found, good = set(), 0
    for sample in samples.tolist():
        near = [k for k, c in enumerate(centres.tolist()) if math.dist(sample, c) < radius]
        found.update(near)
        good += bool(near)
    return len(found), good / len(samples)


def _modes_by_table(samples: Tensor, centres: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    near = (samples[:, None] - centres).norm(dim=-1) <= radius  # (N, K)
    return near.any(0).sum(), near.any(1).float().mean()


def _frechet_by_matrices(first: Tensor, second: Tensor) -> Tensor:
    a, b = first.var(0), second.var(0)
    trace = torch.trace(torch.diag(a) + torch.diag(b) - 2 * torch.diag(a * b).sqrt())
    return (first.mean(0) - second.mean(0)).norm() ** 2 + trace


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-gan-optimum": [
        (0.8, 0.4, 0, -0.837),
        [
            8 / 10,
            2 / 5,
            0,
            0.8 * math.log(0.8) + 0.2 * math.log(0.4 * 0.2) + 0.3 * math.log(0.6),
        ],
    ],
    "ex-gan-circle": [
        (1.25**2, 3 / 4, -1 / 2),
        [1.5625, torch.tensor(0.75), -0.5],
        (1.562, 0.75, -0.5),
    ],
    "ex-gan-divergence": [
        _js_scipy,
        _js_entropies,
        lambda p, q: (
            (torch.xlogy(p, p) + torch.xlogy(q, q)).sum() / 2
            - torch.xlogy((p + q) / 2, (p + q) / 2).sum()
        ),
    ],
    "ex-gan-loss": [
        lambda score: -F.logsigmoid(score).mean(),
        lambda score: F.binary_cross_entropy_with_logits(score, torch.ones_like(score)),
        lambda score: torch.log1p(torch.exp(-score.abs())).mean() + (-score).clamp(min=0).mean(),
    ],
    "ex-gan-turn": [_turn_by_autograd, _turn_zeroed],
    "ex-gan-penalty": [_penalty_by_autograd, _penalty_one_by_one],
    "ex-gan-modes": [_modes_by_loops, _modes_by_table],
    "ex-gan-frechet": [
        _frechet_by_matrices,
        lambda first, second: (
            sum((a.mean() - b.mean()) ** 2 for a, b in zip(first.T, second.T, strict=True))
            + sum((a.std() - b.std()) ** 2 for a, b in zip(first.T, second.T, strict=True))
        ),
    ],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-gan-optimum": [
        ((0.2, 0.6, 1, -0.837), "picture is made"),
        ((0.8, 0.4, 0, -1.207), "base 2"),
        ((0.8, 0.4, 0, -1.386), "coin"),
        ((0.8, 0.4, 0, 0.837), "above 0"),
        ((0.8, 0.2, 0.0, -0.837), "all B"),
        ((0.8, 0.4, 0, -0.84), ""),
        ((0.8, 0.4, 0, -0.55), ""),
        ((0.5, 0.5, 0.5, -1.386), ""),
    ],
    "ex-gan-circle": [
        ((2.4414, 0.75, -0.5), "square of the distance"),
        ((1, 0.75, -0.5), "infinitely small"),
        ((5.0625, 0.75, -0.5), "perpendicular"),
        ((1.5625, 1, -0.5), "new psi"),
        ((1.5625, -0.5, 0.75), "comes first"),
        ((3, 0.75, -0.5), ""),
        ((1.5625, 0.5, -0.5), ""),
    ],
    "ex-gan-divergence": [
        (
            lambda p, q: (
                F.kl_div(((p + q) / 2).clamp(min=1e-30).log(), p, reduction="sum")
                + F.kl_div(((p + q) / 2).clamp(min=1e-30).log(), q, reduction="sum")
            ),
            "counts one half",
        ),
        (
            lambda p, q: (
                (
                    F.kl_div(((p + q) / 2).log(), p, reduction="sum")
                    + F.kl_div(((p + q) / 2).log(), q, reduction="sum")
                )
                / 2
            ),
            "divided by 0",
        ),
        (
            lambda p, q: (
                (
                    torch.xlogy(p, p / ((p + q) / 2).clamp(min=1e-300)).sum()
                    + torch.xlogy(q, q / ((p + q) / 2).clamp(min=1e-300)).sum()
                )
                / 2
            ),
            "32 bits",
        ),
        (lambda p, q: spatial.jensenshannon(p, q), "root of the divergence"),
        (lambda p, q: (p * (p / q).log()).sum(), ""),
        (lambda p, q: (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(), "misses a picture"),
        (lambda p, q: 0.5 * (p - q).abs().sum(), ""),
        (lambda p, q: exercises.divergence.oracle(p, q) / len(p), "mean too many"),
        (lambda p, q: exercises.divergence.oracle(p + 1e-3, q + 1e-3), ""),
    ],
    "ex-gan-loss": [
        (lambda score: -torch.log(torch.sigmoid(score)).mean(), "both steps"),
        (lambda score: -torch.log(torch.sigmoid(score) + 1e-8).mean(), "small number"),
        (lambda score: F.logsigmoid(-score).mean(), "starves"),
        (
            lambda score: F.binary_cross_entropy_with_logits(score, torch.zeros_like(score)),
            "discriminator wants",
        ),
        (lambda score: -F.logsigmoid(score).sum(), "not the sum"),
        (lambda score: -F.logsigmoid(score.mean()), ""),
        (lambda score: -torch.log(torch.sigmoid(score).clamp(min=1e-7)).mean(), ""),
    ],
    "ex-gan-turn": [
        (_turn_broken, "unchanged"),
        (_turn_all_detached, "never moves"),
        (_turn_one_optimizer, ""),
        (lambda theta, psi, real, noise, lr: (theta, psi), ""),
        (lambda *given: _turn_by_autograd(*given)[::-1], "comes first"),
        (
            lambda theta, psi, real, noise, lr: (
                _turn_by_autograd(theta, psi, real, noise, lr)[0],
                psi,
            ),
            "",
        ),
    ],
    "ex-gan-penalty": [
        (_penalty_of_mean, "gradient of the sum"),
        (_penalty_without_graph, "create_graph=True"),
        (_penalty_as_number, "create_graph=True"),
        (_penalty_by_backward, "create_graph=True"),
        (_penalty_last_axis, ""),
        (
            lambda critic, real, made, u: _penalty_by_autograd(critic, made, real, u),
            "exchanged",
        ),
        (
            lambda critic, real, made, u: _penalty_by_autograd(critic, real, made, u[:1]),
            "",
        ),
        (
            lambda critic, real, made, u: _penalty_by_autograd(critic, real, made, u) * len(u),
            "mean is asked",
        ),
        (
            lambda critic, real, made, u: _penalty_by_autograd(critic, real, made, 1 + 0 * u),
            "between the two",
        ),
    ],
    "ex-gan-modes": [
        (
            lambda samples, centres, radius: (
                len(set(torch.cdist(samples, centres).argmin(1).tolist())),
                (torch.cdist(samples, centres).amin(1) < radius).double().mean(),
            ),
            "stray",
        ),
        (
            lambda samples, centres, radius: _modes_by_loops(samples, centres, radius**0.5),
            "squared",
        ),
        (
            lambda samples, centres, radius: (
                _modes_by_loops(samples, centres, radius)[0],
                _modes_by_loops(samples, centres, radius)[0] / len(centres),
            ),
            "not of the modes",
        ),
        (lambda samples, centres, radius: (len(centres), 1.0), ""),
        (
            lambda samples, centres, radius: (_modes_by_loops(samples, centres, radius)[0], 1.0),
            "",
        ),
    ],
    "ex-gan-frechet": [
        (
            lambda first, second: (
                (first.mean(0) - second.mean(0)).square().sum()
                + (first.var(0) - second.var(0)).square().sum()
            ),
            "not the variances",
        ),
        (lambda first, second: _frechet_by_matrices(first, second) ** 0.5, "no root"),
        (lambda first, second: _frechet_by_matrices(first, second) / first.shape[1], "averaged"),
        (lambda first, second: (first.mean(0) - second.mean(0)).square().sum(), "spread"),
        (lambda first, second: (first.mean(0) - second.mean(0)).norm(), ""),
        (
            lambda first, second: (
                (first.mean(0) - second.mean(0)).norm() ** 2 + (first - second.mean(0)).var()
            ),
            "",
        ),
    ],
}
