"""The equations of the chapter `softmax`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import softmax as soft
from course_lib.formulas.entry import Formula, Pairs, Symbols, normal, number
from course_lib.training import sgd_step_

Drawn = Iterator[tuple[Tensor, Tensor]]


def _scores(generator: torch.Generator, device: torch.device, count: int = 20) -> Iterator[Tensor]:
    """Scores of a few examples: (N, C)."""
    for _ in range(count):
        yield 4 * normal(generator, device, number(generator, 1, 6), number(generator, 2, 9))


def _each(ours: Callable[[Tensor], Tensor], reference: Callable[[Tensor], Tensor]) -> Pairs:
    """Compare two functions of scores."""

    def pairs(generator: torch.Generator, device: torch.device) -> Drawn:
        for scores in _scores(generator, device):
            yield ours(scores), reference(scores)

    return pairs


def _classes(generator: torch.Generator, scores: Tensor) -> Tensor:
    """A true class for each example: (N,)."""
    drawn = torch.randint(scores.shape[1], (len(scores),), generator=generator)
    return drawn.to(scores.device)


def _slope(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """What autograd says about a function's sum."""
    leaf = at.detach().requires_grad_()
    return torch.autograd.grad(function(leaf).sum(), leaf)[0]


def _layers(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Inputs (N, D), weights (C, D) and biases (C,)."""
    for _ in range(20):
        inputs, classes = number(generator, 1, 8), number(generator, 2, 6)
        yield (
            normal(generator, device, number(generator, 1, 6), inputs),
            normal(generator, device, classes, inputs),
            normal(generator, device, classes),
        )


def _linear(generator: torch.Generator, device: torch.device) -> Drawn:
    for layer in _layers(generator, device):
        yield soft.linear(*layer), F.linear(*layer)


def _model(generator: torch.Generator, device: torch.device) -> Drawn:
    for layer in _layers(generator, device):
        yield soft.softmax(soft.linear(*layer), 1), torch.softmax(F.linear(*layer), 1)


def _shift(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        constant = 1000 * normal(generator, device, len(scores), 1)
        yield soft.softmax(scores + constant, 1), torch.softmax(scores, 1)


def _best_trade(generator: torch.Generator, device: torch.device) -> Drawn:
    """The best trade of score and entropy, and that no other distribution makes a better one."""
    for scores in _scores(generator, device):
        temperature = 0.5 + 2 * torch.rand((), generator=generator).item()
        best = temperature * torch.logsumexp(scores / temperature, 1)
        p = soft.softmax(scores / temperature, 1)
        yield (p * scores).sum(1) + temperature * soft.entropy(p, 1), best
        other = normal(generator, device, *scores.shape).softmax(1)
        reached = (other * scores).sum(1) + temperature * soft.entropy(other, 1)
        yield torch.maximum(reached, best), best


def _temperature(generator: torch.Generator, device: torch.device) -> Drawn:
    """At temperature T, odds are those at temperature 1 to the power of 1 / T."""
    for scores in _scores(generator, device):
        temperature = 0.5 + 2 * torch.rand((), generator=generator).item()
        powers = torch.softmax(scores, 1) ** (1 / temperature)
        yield soft.softmax(scores / temperature, 1), powers / powers.sum(1, keepdim=True)


def _sigmoid(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        yield soft.sigmoid(scores), torch.sigmoid(scores)
        two = torch.stack([scores, torch.zeros_like(scores)])
        yield soft.sigmoid(scores), torch.softmax(two, 0)[0]


def _nll(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        target = _classes(generator, scores)
        expected = F.nll_loss(F.log_softmax(scores, 1), target)
        yield soft.nll_loss(soft.log_softmax(scores, 1), target), expected


def _soft_targets(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        target = normal(generator, device, *scores.shape).softmax(1)
        yield soft.cross_entropy(scores, target), F.cross_entropy(scores, target)


def _divergence(generator: torch.Generator, device: torch.device) -> Drawn:
    """Cross-entropy less entropy, beside torch's divergence."""
    from torch.distributions import Categorical, kl_divergence

    for scores in _scores(generator, device):
        target = normal(generator, device, *scores.shape).softmax(1)
        expected = kl_divergence(Categorical(probs=target), Categorical(logits=scores))
        p = soft.softmax(scores, 1)
        yield soft.kl_divergence(target, p, 1), expected
        loss = F.cross_entropy(scores, target, reduction="none")
        yield loss - soft.entropy(target, 1), expected


def _grad_scores(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        target = _classes(generator, scores)
        by_autograd = _slope(partial(F.cross_entropy, target=target, reduction="sum"), scores)
        by_hand = soft.softmax(scores, 1) - soft.one_hot(target, scores.shape[1])
        yield by_hand, by_autograd
        yield (
            _slope(partial(soft.cross_entropy, target=target, reduction="sum"), scores),
            by_autograd,
        )


def _grad_weights(generator: torch.Generator, device: torch.device) -> Drawn:
    for inputs, weight, bias in _layers(generator, device):
        leaves = weight.requires_grad_(), bias.requires_grad_()
        scores = F.linear(inputs, *leaves)
        target = _classes(generator, scores)
        expected = torch.autograd.grad(F.cross_entropy(scores, target), leaves)
        error = soft.softmax(scores.detach(), 1) - soft.one_hot(target, scores.shape[1])
        yield error.T @ inputs / len(inputs), expected[0]
        yield error.mean(0), expected[1]


def _descent(generator: torch.Generator, device: torch.device) -> Drawn:
    for inputs, weight, bias in _layers(generator, device):
        ours = weight.clone(), bias.clone()
        leaves = weight.requires_grad_(), bias.requires_grad_()
        scores = F.linear(inputs, *leaves)
        target = _classes(generator, scores)
        F.cross_entropy(scores, target).backward()
        torch.optim.SGD(leaves, lr=0.1).step()
        error = soft.softmax(scores.detach(), 1) - soft.one_hot(target, scores.shape[1])
        gradients = error.T @ inputs / len(inputs), error.mean(0)
        for parameter, gradient, expected in zip(ours, gradients, leaves, strict=True):
            sgd_step_(parameter, gradient, {}, lr=0.1)
            yield parameter, expected


def _jacobian(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        p = soft.softmax(scores[0], 0)
        expected = torch.autograd.functional.jacobian(lambda z: torch.softmax(z, 0), scores[0])
        yield torch.diag(p) - torch.outer(p, p), expected


def _twice(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        target = _classes(generator, scores)
        p = soft.softmax(scores, 1)  # (N, C)
        error = soft.softmax(p, 1) - soft.one_hot(target, scores.shape[1])
        leaf = scores.requires_grad_()
        loss = F.cross_entropy(torch.softmax(leaf, 1), target, reduction="sum")
        (expected,) = torch.autograd.grad(loss, leaf)
        yield p * (error - (p * error).sum(1, keepdim=True)), expected


def _floor(generator: torch.Generator, device: torch.device) -> Drawn:
    """The loss of a certain and right answer, after a second softmax."""
    for classes in range(2, 12):
        certain = torch.eye(classes, dtype=torch.float64, device=device)
        target = torch.arange(classes, device=device)
        floor = torch.tensor(math.log(math.e + classes - 1) - 1, dtype=torch.float64)
        yield soft.cross_entropy(certain, target).cpu(), floor


def _smoothing(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        target, share = _classes(generator, scores), torch.rand((), generator=generator).item()
        classes = scores.shape[1]
        wanted = (1 - share) * soft.one_hot(target, classes).double() + share / classes
        expected = F.cross_entropy(scores, target, label_smoothing=share)
        yield soft.cross_entropy(scores, wanted), expected
        yield soft.cross_entropy(scores, target, label_smoothing=share), expected


def _weighted(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        target, weight = _classes(generator, scores), normal(generator, device, scores.shape[1])
        target[1:2] = -100
        weight = weight.exp()
        expected = F.cross_entropy(scores, target, weight)
        yield soft.cross_entropy(scores, target, weight), expected


def _binary(generator: torch.Generator, device: torch.device) -> Drawn:
    for scores in _scores(generator, device):
        target = normal(generator, device, *scores.shape).sigmoid()
        ours = soft.binary_cross_entropy_with_logits(scores, target, reduction="none")
        yield ours, F.binary_cross_entropy(torch.sigmoid(scores), target, reduction="none")
        two = torch.stack([scores, torch.zeros_like(scores)])
        yield ours, torch.logsumexp(two, 0) - target * scores


def _initial(generator: torch.Generator, device: torch.device) -> Drawn:
    """The same seed must give the same weights as torch's own layer."""
    for _ in range(20):
        sizes, seed = (
            (number(generator, 1, 9), number(generator, 1, 9)),
            number(generator, 0, 2**31),
        )
        drawn = []
        for kind in (soft.Linear, torch.nn.Linear):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made = kind(*sizes, dtype=torch.float64)
            drawn.append(torch.cat([p.flatten() for p in made.parameters()]))
        yield drawn[0], drawn[1]


FORMULAS: tuple[Formula, ...] = (
    Formula(
        "softmax-scores",
        "One score for each class: a weighted sum of the inputs",
        "course_lib.softmax.linear",
        "torch.nn.functional.linear",
        _linear,
    ),
    Formula(
        "softmax-definition",
        "Powers of e of the scores, divided by their sum",
        "course_lib.softmax.softmax_loops",
        "torch.softmax",
        _each(lambda z: soft.softmax_loops(z, 1), lambda z: torch.softmax(z, 1)),
    ),
    Formula(
        "softmax-model",
        "The classifier: softmax of the scores",
        "course_lib.softmax.softmax",
        "torch.softmax of torch.nn.functional.linear",
        _model,
    ),
    Formula(
        "softmax-shift",
        "A constant added to all scores changes no probability",
        "course_lib.softmax.softmax",
        "torch.softmax of the scores without the constant",
        _shift,
    ),
    Formula(
        "softmax-log",
        "The logarithm of a probability: the score less the log-sum-exp",
        "course_lib.softmax.log_softmax",
        "torch.log_softmax",
        _each(lambda z: soft.log_softmax(z, 1), lambda z: torch.log_softmax(z, 1)),
    ),
    Formula(
        "softmax-logsumexp",
        "The logarithm of a sum of powers, without overflow",
        "course_lib.softmax.logsumexp",
        "torch.logsumexp",
        _each(lambda z: soft.logsumexp(z, 1), lambda z: torch.logsumexp(z, 1)),
    ),
    Formula(
        "softmax-slope",
        "The slope of the log-sum-exp is the softmax",
        "course_lib.softmax.softmax",
        "automatic differentiation of torch.logsumexp",
        _each(
            lambda z: soft.softmax(z, 1),
            lambda z: _slope(lambda leaf: torch.logsumexp(leaf, 1), z),
        ),
    ),
    Formula(
        "softmax-entropy",
        "The uncertainty of a distribution",
        "course_lib.softmax.entropy",
        "torch.distributions.Categorical",
        _each(
            lambda z: soft.entropy(torch.softmax(z, 1), 1),
            lambda z: torch.distributions.Categorical(logits=z).entropy(),
        ),
    ),
    Formula(
        "softmax-trade",
        "Softmax makes the best trade of expected score and entropy",
        "course_lib.softmax.softmax",
        "its value T logsumexp(z / T), which no random distribution exceeds",
        _best_trade,
    ),
    Formula(
        "softmax-temperature",
        "A temperature divides the scores",
        "course_lib.softmax.softmax",
        "the probabilities to the power of 1 / T, divided by their sum",
        _temperature,
    ),
    Formula(
        "softmax-sigmoid",
        "The sigmoid is softmax of a score and 0",
        "course_lib.softmax.sigmoid",
        "torch.sigmoid, and torch.softmax of two scores",
        _sigmoid,
    ),
    Formula(
        "softmax-nll",
        "The mean of minus the logarithm of the true classes' probabilities",
        "course_lib.softmax.nll_loss",
        "torch.nn.functional.nll_loss",
        _nll,
    ),
    Formula(
        "softmax-cross-entropy",
        "The loss against a distribution",
        "course_lib.softmax.cross_entropy",
        "torch.nn.functional.cross_entropy",
        _soft_targets,
    ),
    Formula(
        "softmax-kl",
        "Cross-entropy is the target's entropy and the divergence from it",
        "course_lib.softmax.kl_divergence",
        "torch.distributions.kl_divergence",
        _divergence,
    ),
    Formula(
        "softmax-grad-scores",
        "The gradient of the loss with respect to the scores: probability less truth",
        "course_lib.softmax.softmax",
        "automatic differentiation of torch.nn.functional.cross_entropy",
        _grad_scores,
    ),
    Formula(
        "softmax-grad-weights",
        "The gradient of the loss with respect to weights and biases",
        "course_lib.softmax.one_hot",
        "automatic differentiation of torch's layer and loss",
        _grad_weights,
    ),
    Formula(
        "softmax-descent",
        "A step of gradient descent",
        "course_lib.training.sgd_step_",
        "torch.optim.SGD",
        _descent,
    ),
    Formula(
        "softmax-init",
        "How the weights of a layer start",
        "course_lib.softmax.Linear",
        "torch.nn.Linear, with the same seed",
        _initial,
    ),
    Formula(
        "softmax-jacobian",
        "How each probability changes with each score",
        "course_lib.softmax.softmax",
        "automatic differentiation of torch.softmax",
        _jacobian,
    ),
    Formula(
        "softmax-twice",
        "The gradient behind a softmax that is applied twice",
        "course_lib.softmax.softmax",
        "automatic differentiation of torch.nn.functional.cross_entropy",
        _twice,
    ),
    Formula(
        "softmax-floor",
        "The least loss behind a softmax that is applied twice",
        "course_lib.softmax.cross_entropy",
        "its analytic value, for a probability of one",
        _floor,
    ),
    Formula(
        "softmax-smoothing",
        "A target of which a share is spread over all classes",
        "course_lib.softmax.cross_entropy",
        "torch.nn.functional.cross_entropy with label_smoothing",
        _smoothing,
    ),
    Formula(
        "softmax-weighted",
        "A mean in which each class has its weight",
        "course_lib.softmax.cross_entropy",
        "torch.nn.functional.cross_entropy with weight and ignore_index",
        _weighted,
    ),
    Formula(
        "softmax-binary",
        "The loss of one score for yes or no",
        "course_lib.softmax.binary_cross_entropy_with_logits",
        "torch.nn.functional.binary_cross_entropy, and torch.logsumexp of two scores",
        _binary,
    ),
)

SYMBOLS: Symbols = {
    "a": "a constant that is added to all scores",
    "b": "the bias, a number that is added to each output",
    "C": "how many classes there are",
    "c, k": "which class",
    "D": "how many numbers a layer takes in for each example",
    "d": "which of the numbers that go in",
    r"\delta_{ck}": "1 if $c = k$, else 0",
    r"\delta_n": "how the loss changes with the loss of picture $n$",
    "e": "the number 2.718…, the base of the natural logarithm",
    r"\varepsilon": "the share of the truth that label smoothing spreads over all classes",
    r"\eta": "the step size, also called learning rate",
    "g": "the outer softmax minus the truth, where softmax is applied twice",
    "H": "$H(p)$ is the entropy of $p$, $H(q, p)$ the cross-entropy of $p$ under the truth $q$",
    r"\operatorname{KL}": "the Kullback-Leibler divergence",
    "L": "the loss",
    r"\operatorname{lse}": "the log-sum-exp, a soft maximum",
    r"\ell": "the loss of one example",
    "m": "the largest score",
    "N": "how many examples there are",
    "n": "which picture of the batch",
    "p": "probabilities of the classes",
    "q": "the truth as a distribution over the classes",
    "q'": "the truth after label smoothing",
    "s": "a single score, or the difference of two",
    r"\sigma": "the sigmoid",
    r"\operatorname{softmax}": "what turns scores into probabilities",
    "T": "the temperature",
    "W": "the weights of a layer",
    "w": "how many times a class counts",
    "x": "what goes into a layer",
    "y": "the truth: a class, or a 1 at its place and 0 elsewhere, or for a sigmoid a share",
    "z": "scores",
}
"""What the symbols of the chapter mean; see `Symbols`."""
