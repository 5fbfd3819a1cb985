"""The checks of the chapter `softmax`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from unittest.mock import ANY  # equal to whatever stands in its place

import torch
from torch import Tensor

from course_lib import softmax as soft
from course_lib.exercises import Case, Exercise, Mistake, draw, halves


def _examples(generator: torch.Generator, rows: int, classes: int) -> tuple[Tensor, Tensor]:
    """Scores and classes; the first two classes are 0 and the last, to be told apart."""
    target = torch.randint(classes, (rows,), generator=generator)
    target[0] = classes - 1
    target[1:2] = 0
    return halves(generator, rows, classes), target


def _picked(scores: Tensor, target: Tensor) -> Tensor:
    return soft.cross_entropy(scores, target, reduction="none")


# --- predict probabilities and slopes -------------------------------------------------------------

predict = Exercise(
    label="ex-softmax-predict",
    oracle=((0.1, 0.3, 0.6), (0.1, -0.7, 0.6)),
    hint="Take the three powers of e first: they are whole numbers.",
    mistakes=(
        Mistake(
            ((1, 3, 6), (1, 2, 6)),
            "These are the powers; divide by their sum, so that they add up to one.",
        ),
        Mistake(
            ((0.1, 0.3, 0.6), (-0.1, 0.7, -0.6)),
            "The probabilities are right. The slopes have the wrong sign: a higher score of a wrong"
            " class makes the loss larger.",
        ),
        Mistake(
            ((0.1, 0.3, 0.6), (0.1, 0.3, 0.6)),
            "The probabilities are right. One of the slopes must be negative: a higher score of"
            " the true class makes the loss smaller.",
        ),
        Mistake(
            ((0.1, 0.3, 0.6), (-0.9, 0.3, 0.6)),
            "The probabilities are right. Classes are counted from 0, so class 1 is the second.",
        ),
        Mistake(
            ((0.1, 0.3, 0.6), (0, -0.7, 0)),
            "The probabilities are right. The scores of the wrong classes matter too: they are in"
            " the sum below the fraction.",
        ),
        Mistake(
            ((0.1, 0.3, 0.6), ANY),
            "The probabilities are right. A slope compares what a class got with the truth about"
            " that class.",
        ),
    ),
)


# --- what a loss should be ------------------------------------------------------------------------

start = Exercise(
    label="ex-softmax-start",
    oracle=(math.log(100), math.log(100), math.log(math.e + 99) - 1),
    hint="Which probability does the true class have in each case? Take its natural logarithm.",
    mistakes=(
        Mistake(
            (2, 2, math.log10(math.e + 99) - math.log10(math.e)),
            "Logarithms here are natural ones, of base e: math.log in Python.",
        ),
        Mistake(
            (math.log2(100), math.log2(100), math.log2(math.e + 99) - math.log2(math.e)),
            "These are bits, of base 2; losses are measured with the natural logarithm.",
        ),
        Mistake(
            (0.01, 0.01, math.e / (math.e + 99)),
            "These are the probabilities of the true class; the loss is minus their logarithm.",
        ),
        Mistake(
            (-math.log(100), -math.log(100), 1 - math.log(math.e + 99)),
            "A probability is at most 1, so its logarithm is not positive; the loss is minus that.",
        ),
        Mistake(
            (math.log(100), math.log(100), 0),
            "The first two are right. For the third, take softmax of (1, 0, ..., 0) once more.",
        ),
        Mistake(
            (math.log(100), math.log(100), math.log(math.e + 100) - 1),
            "The first two are right. In the third, one of a hundred classes is the true one: how"
            " many are left?",
        ),
        Mistake(
            (math.log(100), math.log(100), math.log(math.e + 9) - 1),
            "The first two are right. The third is the least loss of ten classes.",
        ),
        Mistake(
            (math.log(100), math.log(100), ANY),
            "The first two are right. For the third, think of a network that is certain and right:"
            " what does the second softmax see?",
        ),
        Mistake(
            (math.log(100), ANY, ANY),
            "The first is right. For the second, write down what the first softmax makes of equal"
            " scores, and take softmax of that.",
        ),
    ),
    tolerance=2e-3,
)


# --- fill in the logarithm ------------------------------------------------------------------------


def _log_softmax(scores: Tensor) -> Tensor:
    return soft.log_softmax(scores, -1)


def _large_scores(generator: torch.Generator) -> Iterator[Case]:
    """No two neighbouring axes alike and none of length 1 at the end, so that none is mistaken."""
    yield (halves(generator, 1, 1, 2, 3),)
    yield (halves(generator, 1, 2, 3, 2) + 1000,)
    yield (halves(generator, 2, 1, 2, 3) - 1000,)
    for _ in range(6):
        scores = halves(generator, draw(generator, 1, 2), 3, 2, draw(generator, 3, 5))
        scores[0, 0, 0, 0] = 1500  # so that the other classes of this pixel hardly count
        scores[0, 1] -= 1500
        yield (scores,)


def _log_of_naive(scores: Tensor) -> Tensor:
    return (scores.exp() / scores.exp().sum(-1, keepdim=True)).log()


def _naive_log_sum(scores: Tensor) -> Tensor:
    return scores - scores.exp().sum(-1, keepdim=True).log()


def _one_maximum(scores: Tensor) -> Tensor:
    return _naive_log_sum(scores - scores.max())


def _maximum_lost(scores: Tensor) -> Tensor:
    shifted = scores - scores.amax(-1, keepdim=True)
    return scores - shifted.exp().sum(-1, keepdim=True).log()


log_softmax = Exercise(
    label="ex-softmax-log",
    oracle=_log_softmax,
    cases=_large_scores,
    hint="Write log (a / b) as log a - log b, and see which exponentials are still needed.",
    mistakes=(
        Mistake(_log_of_naive, "The power of 1000 is too large to be written: shift the scores."),
        Mistake(_naive_log_sum, "The logarithm is right, but the powers below it overflow."),
        Mistake(
            lambda scores: soft.softmax(scores, -1).log(),
            "A very small probability is rounded to 0, and its logarithm is lost: take the"
            " logarithm on paper first.",
        ),
        Mistake(
            lambda scores: soft.log_softmax(scores, 1),
            "Axis 1 holds the classes in the chapter; where are they here?",
        ),
        Mistake(
            lambda scores: scores - scores.amax(-1),
            "A maximum or a sum has lost its axis, so it meets the wrong one: keepdim=True keeps"
            " it, with length 1.",
        ),
        Mistake(
            _one_maximum,
            "One maximum for all pixels is not enough: a pixel far below it still vanishes.",
        ),
        Mistake(
            _maximum_lost,
            "The maximum was subtracted inside the sum, but not from the score in front of it.",
        ),
        Mistake(
            lambda scores: soft.softmax(scores, -1),
            "These are the probabilities; their logarithms are asked for.",
        ),
    ),
)


# --- the gradient of the weighted mean ------------------------------------------------------------


def _sum_gradient(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    error = soft.softmax(scores, 1) - soft.one_hot(target, scores.shape[1])
    return weight[target][:, None] * error


def _gradient(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return _sum_gradient(scores, target, weight) / weight[target].sum()


def _weights(generator: torch.Generator, classes: int) -> Tensor:
    """Quarters, all different, so that the classes and their sums can be told apart."""
    return (torch.randperm(classes, generator=generator).double() + 1) / 4


def _classified(generator: torch.Generator) -> Iterator[Case]:
    yield *_examples(generator, 2, 3), _weights(generator, 3)
    yield *_examples(generator, 1, 2), _weights(generator, 2)
    # The last classes do not occur.
    yield halves(generator, 2, 4), torch.tensor([1, 0]), _weights(generator, 4)
    for _ in range(6):
        rows, classes = draw(generator, 2, 4), draw(generator, 3, 5)
        yield *_examples(generator, rows, classes), _weights(generator, classes)
    scores, target = _examples(generator, 3, 4)
    scores[0, 0] = 1000
    yield scores, target, _weights(generator, 4)


def _naive_softmax(scores: Tensor) -> Tensor:
    return scores.exp() / scores.exp().sum(1, keepdim=True)


gradient = Exercise(
    label="ex-softmax-gradient",
    oracle=_gradient,
    cases=_classified,
    hint="Start with one example, compare with autograd, and then think of the mean.",
    mistakes=(
        Mistake(
            _sum_gradient,
            "This is the gradient of the weighted sum; the loss is a mean: by what is it divided?",
        ),
        Mistake(
            lambda scores, target, weight: _sum_gradient(scores, target, weight) / len(target),
            "This divides by the number of examples; the mean divides by the sum of their weights.",
        ),
        Mistake(
            lambda scores, target, weight: _sum_gradient(scores, target, weight) / weight.sum(),
            "This divides by the weights of all classes, once each; the sum is over the examples.",
        ),
        Mistake(
            lambda scores, target, weight: _gradient(scores, target, torch.ones_like(weight)),
            "Every example counts alike here; where are the weights?",
        ),
        Mistake(
            lambda scores, target, weight: (
                weight
                * (soft.softmax(scores, 1) - soft.one_hot(target, len(weight)))
                / weight[target].sum()
            ),
            "Each column has the weight of its class; what counts is the true class of the row.",
        ),
        Mistake(
            lambda scores, target, weight: -_gradient(scores, target, weight),
            "The sign is turned round: this is the way downhill.",
        ),
        Mistake(
            lambda scores, target, weight: (
                weight[target][:, None] * soft.softmax(scores, 1) / weight[target].sum()
            ),
            "The truth is missing: something is subtracted at the true class.",
        ),
        Mistake(
            lambda scores, target, weight: (
                weight[target][:, None]
                * (soft.softmax(scores, 0) - soft.one_hot(target, len(weight)))
                / weight[target].sum()
            ),
            "The probabilities of each example must add up to one: look at the axis of softmax.",
        ),
        Mistake(
            lambda scores, target, weight: (
                weight[target][:, None]
                * (_naive_softmax(scores) - soft.one_hot(target, len(weight)))
                / weight[target].sum()
            ),
            "A score of 1000 is too much for these powers: shift the scores, or use soft.softmax.",
        ),
        Mistake(
            lambda scores, target, weight: (
                weight[target][:, None]
                * (soft.softmax(scores, 1) - soft.one_hot(target))
                / weight[target].sum()
            ),
            "The last class need not occur in the target: tell one_hot the number of classes.",
        ),
    ),
)


# --- find the bug in a masked mean ----------------------------------------------------------------


def _masked(scores: Tensor, target: Tensor) -> Tensor:
    return soft.cross_entropy(scores, target)


def _masked_cases(generator: torch.Generator) -> Iterator[Case]:
    for rows in (3, 4, 5, 5, 6, 6):
        scores, target = _examples(generator, rows, draw(generator, 3, 4))
        target[2 : draw(generator, 3, rows)] = -100
        yield scores, target
    scores = torch.zeros(3, 4, dtype=torch.float64)
    scores[0, 0] = 60  # a loss of exactly 0, and yet one that counts
    yield scores, torch.tensor([0, 1, -100])


bug = Exercise(
    label="ex-softmax-bug",
    oracle=_masked,
    cases=_masked_cases,
    hint="Take three examples of which one is ignored, and follow what the mean divides by.",
    mistakes=(
        Mistake(
            lambda scores, target: (
                soft.cross_entropy(scores, target, reduction="sum") / len(target)
            ),
            "The sum is right, but it is still divided by all examples, the ignored ones too.",
        ),
        Mistake(
            lambda scores, target: _picked(scores, target.clamp(min=0)).mean(),
            "Now the ignored examples count in full, as if they were of class 0.",
        ),
        Mistake(
            lambda scores, target: soft.cross_entropy(scores, target, reduction="sum"),
            "This is the sum over the kept examples, not yet their mean.",
        ),
        Mistake(
            lambda scores, target: _picked(scores, target)[target > 0].mean(),
            "Class 0 is a class like the others; only -100 is to be left out.",
        ),
        Mistake(
            lambda scores, target: _picked(scores, target)[target >= 0],
            "These are the losses of the kept examples; their mean is asked for.",
        ),
        Mistake(
            lambda scores, target: (
                soft.cross_entropy(scores, target, reduction="sum") / (target == -100).sum()
            ),
            "The sum is divided by the number of ignored examples: the mask is turned round.",
        ),
        Mistake(
            lambda scores, target: (
                soft.cross_entropy(scores, target, reduction="sum")
                / (soft.cross_entropy(scores, target, reduction="none") != 0).sum()
            ),
            "A picture with a label may have a loss of exactly 0, and it counts too.",
        ),
    ),
)


# --- extend: label smoothing ----------------------------------------------------------------------


def _smoothed(scores: Tensor, target: Tensor, epsilon: float) -> Tensor:
    return soft.cross_entropy(scores, target, label_smoothing=epsilon)


def _smoothed_cases(generator: torch.Generator) -> Iterator[Case]:
    yield *_examples(generator, 2, 3), 0.5
    yield *_examples(generator, 3, 4), 0.0
    for _ in range(6):
        scores, target = _examples(generator, draw(generator, 2, 4), draw(generator, 3, 5))
        yield scores, target, draw(generator, 1, 4) / 10


def _against(scores: Tensor, target: Tensor, truth: float, other: float) -> Tensor:
    """The mean loss against targets of ``truth`` at the true class and ``other`` elsewhere."""
    hot = soft.one_hot(target, scores.shape[1])
    wanted = truth * hot + other * (1 - hot)
    return -(wanted * soft.log_softmax(scores, 1)).sum(1).mean()


smoothing = Exercise(
    label="ex-softmax-smoothing",
    oracle=_smoothed,
    cases=_smoothed_cases,
    hint="Write down the smoothed target for three classes: does it add up to one?",
    mistakes=(
        Mistake(
            lambda scores, target, epsilon: soft.cross_entropy(scores, target),
            "There is no smoothing yet: this is right for ε = 0 only.",
        ),
        Mistake(
            lambda scores, target, epsilon: _against(
                scores, target, 1 - epsilon, epsilon / (scores.shape[1] - 1)
            ),
            "The share is spread over all classes, the true one too; here it goes to the others.",
        ),
        Mistake(
            lambda scores, target, epsilon: _against(
                scores, target, 1 - epsilon, epsilon / scores.shape[1]
            ),
            "This target adds up to less than one: the true class gets its part of ε too.",
        ),
        Mistake(
            lambda scores, target, epsilon: _smoothed(scores, target, epsilon) * len(scores),
            "This is the sum over the examples; their mean is asked for.",
        ),
        Mistake(
            lambda scores, target, epsilon: _smoothed(scores, target, 1 - epsilon),
            "The two shares are swapped: for ε = 0 nothing should be spread.",
        ),
        Mistake(
            lambda scores, target, epsilon: (1 - epsilon) * soft.cross_entropy(scores, target),
            "The share that is spread over all classes has a loss too.",
        ),
    ),
)
