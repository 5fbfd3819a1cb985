"""The equations of the chapter `clinic`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import functional as vision

from course_lib import clinic as topic
from course_lib.formulas.entry import Formula, Symbols, normal, number

Pair = Iterator[tuple[Tensor, Tensor]]


def _tensor(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _first_loss(generator: torch.Generator, device: torch.device) -> Pair:
    for _ in range(20):
        classes = number(generator, 2, 1000)
        scores = normal(generator, device, 1).expand(5, classes)  # all the same
        target = torch.randint(classes, (5,), generator=generator).to(device)
        yield _tensor(topic.first_loss(classes)), F.cross_entropy(scores, target)


def _softmax_floor(generator: torch.Generator, device: torch.device) -> Pair:
    for _ in range(20):
        classes = number(generator, 2, 200)
        target = torch.randint(classes, (3,), generator=generator).to(device)
        certain = F.one_hot(target, classes).double()
        yield _tensor(topic.softmax_floor(classes)), F.cross_entropy(certain, target)


def _uncleared(generator: torch.Generator, device: torch.device) -> Pair:
    for _ in range(10):
        steps, size = number(generator, 1, 12), number(generator, 1, 6)
        weight, slopes = normal(generator, device, size), normal(generator, device, steps, size)
        lr = number(generator, 1, 20) / 20
        theirs = weight.clone().requires_grad_()
        optimizer, path = torch.optim.SGD([theirs], lr=lr, momentum=1.0), []
        for slope in slopes:
            theirs.grad = slope.clone()
            optimizer.step()
            path.append(theirs.detach().clone())
        yield topic.uncleared_steps(weight, slopes, lr), torch.stack(path)


def _swing(generator: torch.Generator, device: torch.device) -> Pair:
    """One step is linear in the parameter and in the gathered gradient: its eigenvalues turn."""
    for _ in range(20):
        curvature = number(generator, 1, 50) / 10
        lr = number(generator, 1, 39) / 10 / curvature
        step = torch.tensor([[1 - lr * curvature, -lr], [curvature, 1.0]], dtype=torch.float64)
        angle = torch.linalg.eigvals(step.to(device)).angle().abs().max()
        yield _tensor(topic.swing_period(lr, curvature)), 2 * torch.pi / angle


def _wrap(generator: torch.Generator, device: torch.device) -> Pair:
    for _ in range(5):
        a, b = torch.randint(256, (2, 50), generator=generator, dtype=torch.uint8)
        theirs = torch.from_numpy(np.add(a.numpy(), b.numpy(), dtype=np.uint8))
        yield topic.wrapped_sum(a.to(device), b.to(device)).double(), theirs.double()


def _rescaled(generator: torch.Generator, device: torch.device) -> Pair:
    for _ in range(10):
        x = normal(generator, device, 1, 4, 4)
        mean, std = number(generator, -5, 5) / 10, number(generator, 2, 20) / 10
        times, theirs = number(generator, 0, 4), x
        for _ in range(times):
            theirs = vision.normalize(theirs, [mean], [std])
        yield topic.rescaled(x, mean, std, times), theirs


def _standard_error(generator: torch.Generator, device: torch.device) -> Pair:
    for _ in range(20):
        p, n = number(generator, 0, 100) / 100, number(generator, 1, 5000)
        coins = torch.distributions.Binomial(n, torch.tensor(p, dtype=torch.float64, device=device))
        yield _tensor(topic.standard_error(p, n)), coins.stddev / n


def _leak(generator: torch.Generator, device: torch.device) -> Pair:
    for _ in range(20):
        new, old = (torch.rand(number(generator, 1, 300), generator=generator) for _ in range(2))
        right, known = (new < 0.7).double().to(device), (old < 0.95).double().to(device)
        share = len(old) / (len(new) + len(old))
        ours = topic.leaked_accuracy(right.mean().item(), share, known.mean().item())
        yield _tensor(ours), torch.cat([right, known]).mean()


def _bisection(generator: torch.Generator, device: torch.device) -> Pair:
    """The most questions over all places where the row may turn bad."""
    for count in (1, 2, 3, 8, 9, number(generator, 10, 200)):
        most = max(_asked(first, count) for first in range(count))
        yield _tensor(topic.questions(count)), _tensor(most)


def _asked(first: int, count: int) -> int:
    asked: list[int] = []

    def is_bad(index: int) -> bool:
        asked.append(index)
        return index >= first

    topic.bisect(is_bad, count)
    return len(asked)


def _relative_error(generator: torch.Generator, device: torch.device) -> Pair:
    for _ in range(20):
        ours, twin = normal(generator, device, 2, number(generator, 1, 40))
        a, b = ours.cpu().numpy(), twin.cpu().numpy()
        theirs = np.linalg.norm(a - b, np.inf) / np.linalg.norm(b, np.inf)
        yield _tensor(topic.relative_error(ours, twin)), _tensor(float(theirs))


FORMULAS = (
    Formula(
        "clinic-first-loss",
        "The loss of a classifier that prefers nothing",
        "course_lib.clinic.first_loss",
        "torch.nn.functional.cross_entropy of equal scores",
        _first_loss,
    ),
    Formula(
        "clinic-softmax-floor",
        "The least loss of probabilities taken for scores",
        "course_lib.clinic.softmax_floor",
        "torch.nn.functional.cross_entropy of certain probabilities",
        _softmax_floor,
    ),
    Formula(
        "clinic-uncleared",
        "A step with gradients that are never cleared",
        "course_lib.clinic.uncleared_steps",
        "torch.optim.SGD with momentum 1",
        _uncleared,
    ),
    Formula(
        "clinic-swing",
        "How many steps such a parameter takes to swing to and fro",
        "course_lib.clinic.swing_period",
        "the angle of the step's eigenvalues, torch.linalg.eigvals",
        _swing,
    ),
    Formula(
        "clinic-bisection",
        "The questions that single out one of many",
        "course_lib.clinic.questions",
        "the most questions that bisect asks, over all places",
        _bisection,
    ),
    Formula(
        "clinic-relative-error",
        "How far two results are apart, for their size",
        "course_lib.clinic.relative_error",
        "numpy.linalg.norm, of order infinity",
        _relative_error,
    ),
    Formula(
        "clinic-wrap",
        "The sum of two bytes",
        "course_lib.clinic.wrapped_sum",
        "numpy.add in uint8",
        _wrap,
    ),
    Formula(
        "clinic-rescaled",
        "A picture rescaled again and again",
        "course_lib.clinic.rescaled",
        "torchvision.transforms.functional.normalize, several times",
        _rescaled,
    ),
    Formula(
        "clinic-standard-error",
        "How far a measured accuracy strays",
        "course_lib.clinic.standard_error",
        "torch.distributions.Binomial.stddev, over n",
        _standard_error,
    ),
    Formula(
        "clinic-leak",
        "The accuracy measured when part of the test set is known",
        "course_lib.clinic.leaked_accuracy",
        "the mean over both parts together",
        _leak,
    ),
)

SYMBOLS: Symbols = {
    "A": "how far a swing goes to either side",
    r"\alpha": "the accuracy on pictures that are new",
    r"\alpha'": "the accuracy that is measured when part of the test set is known",
    "b": "a byte, 0 to 255",
    "b'": "another byte, 0 to 255",
    r"\beta": "the accuracy on the pictures that training has seen",
    "C": "how many classes there are",
    "c": "which class",
    "d": "what a picture is divided by",
    "e": "the number 2.718…, the base of the natural logarithm",
    r"\varepsilon": "the standard error of a measured accuracy",
    r"\eta": "the step size",
    "g": "the gradient of a step",
    "i": "which number of a result",
    "j": "counts what a sum adds up",
    "k": "how often a picture was rescaled",
    r"\kappa": "the curvature of the loss, its second derivative",
    "L": "the loss",
    r"\lambda": "the share of test pictures that training has seen",
    "m": "what is subtracted from a picture",
    "N": "how many pictures an accuracy was measured on",
    "n": "how many versions may be to blame",
    "p": "probabilities of the classes",
    r"\psi": "the angle at which a swing begins",
    "q": "how many questions are enough",
    "r": "the relative error",
    "s, t": "which step",
    "T": "the steps of one swing",
    r"\theta": "the parameters",
    r"\varphi": "the angle of one step of a swing",
    "u": "what a function gives",
    "v": "what its twin gives",
    "x": "a picture, or one of its numbers",
    "y": "the true class",
}
"""What the symbols of the chapter mean; see `Symbols`."""
