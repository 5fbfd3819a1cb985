"""The checks of the chapter `transfer`."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import ANY  # equal to whatever stands in its place

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import transfer as tr
from course_lib.exercises import Case, Exercise, Mistake, draw, halves

# --- predict three numbers ------------------------------------------------------------------------

predict = Exercise(
    label="ex-transfer-predict",
    oracle=(18_981, 0.000625, 22),
    hint="Take the three questions one at a time, with one equation for each.",
    mistakes=(
        Mistake(
            (18_944, ANY, ANY),
            "In the first, the new layer has more than weights: what else is added to each score?",
        ),
        Mistake(
            (18_981, 0.0003125, ANY),
            "The first is right. In the second, the head itself is one of the five parts.",
        ),
        Mistake(
            (18_981, 0.16, ANY),
            "The first is right. In the second, step sizes get smaller towards the input.",
        ),
        Mistake(
            (18_981, 0.002, ANY),
            "The first is right. In the second, each part multiplies once more; this divides by"
            " the number of parts.",
        ),
        Mistake(
            (18_981, 0.000625, 21),
            "The first two are right. In the third, see what is left of the old mean after 21"
            " batches: is it below a tenth?",
        ),
        Mistake(
            (18_981, 0.000625, 9),
            "The first two are right. In the third, each batch takes a tenth of what is left, not"
            " of what was there at first.",
        ),
        Mistake(
            (18_981, 0.000625, 10),
            "The first two are right. In the third, each batch takes a tenth of what is left, so"
            " ten of them do not take all.",
        ),
        Mistake(
            (18_981, 0.000625, 1),
            "The first two are right. In the third, the momentum is what the new batch counts.",
        ),
        Mistake(
            (18_981, 0.000625, ANY),
            "The first two are right. In the third, look at the factor of the old mean in the"
            " equation of the drift.",
        ),
        Mistake(
            (18_981, 0.0006, ANY),
            "The first is right. The second is rounded: write down all of its digits, or the"
            " product itself.",
        ),
        Mistake(
            (18_981, 0.00063, ANY),
            "The first is right. The second is rounded too early: Python can do the product for"
            " you.",
        ),
        Mistake(
            (18_981, ANY, ANY),
            "The first is right. In the second, count how many steps lie between the head and the"
            " first part.",
        ),
    ),
    tolerance=1e-9,
)


# --- what moves? ----------------------------------------------------------------------------------


def _answers(*moves: bool) -> Tensor:
    """As a tensor, to which 0 and 1 are as good as False and True."""
    return torch.tensor(moves)


moves = Exercise(
    label="ex-transfer-moves",
    oracle=_answers(False, False, True, True, False),
    hint="Five answers are asked for, in this order. Ask of each: who would write to it, the"
    " optimiser or the forward pass?",
    mistakes=(
        Mistake(
            _answers(False, False, False, True, False),
            "One of these numbers is no parameter: the optimiser never had it, and it moves all"
            " the same.",
        ),
        Mistake(
            _answers(False, True, True, True, False),
            "The scale of a batch normalisation is a parameter like any other.",
        ),
        Mistake(
            _answers(True, True, True, True, True),
            "What has no gradient does not move in a step of the optimiser.",
        ),
        Mistake(
            _answers(False, False, False, False, False),
            "If nothing moved, nothing would be learned: the new head is not frozen.",
        ),
        Mistake(
            _answers(False, False, True, True, True),
            "The pictures' mean and deviation were measured once and are written down in the"
            " layer: who would change them?",
        ),
        Mistake(
            _answers(False, False, True, False, False),
            "The head is new and was not frozen.",
        ),
    ),
)


# --- fill in the drift ----------------------------------------------------------------------------


def _batches(generator: torch.Generator) -> Iterator[Case]:
    """Momenta are eighths, none of them a half, so that its two ends cannot be mistaken."""
    yield halves(generator, 1) + 6, halves(generator, 1, 1), 0.125
    yield halves(generator, 2) + 6, halves(generator, 2, 2), 0.25
    yield halves(generator, 3) + 6, halves(generator, 0, 3), 0.125
    for _ in range(5):
        width, count = draw(generator, 2, 4), draw(generator, 2, 6)
        batches = halves(generator, count, width)
        batches[0] = batches[-1] - 1.5  # so that their order shows
        yield halves(generator, width) + 6, batches, (0.125, 0.25, 0.75)[draw(generator, 0, 2)]


def _walk(start: Tensor, batches: Tensor, old: float, new: float) -> Tensor:
    for batch in batches:
        start = old * start + new * batch
    return start


def _from_mean(start: Tensor, batches: Tensor, momentum: float) -> Tensor:
    if len(batches) == 0:
        return start
    return (1 - momentum) * start + momentum * batches.mean(0)


def _limit(start: Tensor, batches: Tensor, momentum: float) -> Tensor:
    if len(batches) == 0:
        return start
    left = (1 - momentum) ** len(batches)
    return left * start + (1 - left) * batches.mean(0)


def _last_only(start: Tensor, batches: Tensor, momentum: float) -> Tensor:
    return _walk(start, batches[-1:], 1 - momentum, momentum)


drift = Exercise(
    label="ex-transfer-drift",
    oracle=tr.running_after,
    cases=_batches,
    hint="Take two batches and follow the running mean by hand.",
    mistakes=(
        Mistake(
            lambda start, batches, momentum: _walk(start, batches, momentum, 1 - momentum),
            "The two shares have changed places: in PyTorch the momentum belongs to the new batch"
            " (in Keras it is the other way round).",
        ),
        Mistake(
            lambda start, batches, momentum: _walk(start, batches, 1.0, momentum),
            "The old mean is never made smaller here, so the running mean grows and grows.",
        ),
        Mistake(
            lambda start, batches, momentum: _walk(0 * start, batches, 1 - momentum, momentum),
            "This begins at 0; where is the start?",
        ),
        Mistake(
            lambda start, batches, momentum: _walk(start, batches.flip(0), 1 - momentum, momentum),
            "The batches are taken in the wrong order: the last one should count most.",
        ),
        Mistake(
            _from_mean, "All batches are taken as one here; each of them moves the running mean."
        ),
        Mistake(_limit, "The share of the start is right, but the batches do not all count alike."),
        Mistake(_last_only, "Only one batch is followed: is the return inside the loop?"),
        Mistake(
            lambda start, batches, momentum: _walk(start, batches[:1], 1 - momentum, momentum),
            "Only the first batch is followed: is the return inside the loop?",
        ),
    ),
)


# --- find the bug in a frozen layer ---------------------------------------------------------------


def _frozen(images: Tensor, mean: Tensor, var: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.batch_norm(images, mean, var, weight, bias, training=False, eps=1e-5)


def _maps(generator: torch.Generator) -> Iterator[Case]:
    """Batch, channels, height and width all differ; one picture alone is a batch as well."""
    shapes = [(1, 2, 1, 3), (2, 3, 1, 4), (1, 3, 2, 4), (4, 3, 2, 5), (3, 2, 4, 5)]
    for shape in shapes:
        channels = shape[1]
        var = torch.randint(1, 9, (channels,), generator=generator).double() / 4
        var[0] = 1e-4  # where the small number below the root counts
        weight = halves(generator, channels).abs() + 0.5
        yield (
            halves(generator, *shape),
            halves(generator, channels),
            var,
            weight,
            halves(generator, channels),
        )


def _normalised(
    images: Tensor, mean: Tensor, divisor: Tensor, weight: Tensor, bias: Tensor
) -> Tensor:
    mean, divisor, weight, bias = (
        value.reshape(1, -1, 1, 1) for value in (mean, divisor, weight, bias)
    )
    return (images - mean) / divisor * weight + bias


frozen = Exercise(
    label="ex-transfer-frozen",
    oracle=_frozen,
    cases=_maps,
    hint="Send one picture through alone and together with others: should its maps change?",
    mistakes=(
        Mistake(
            lambda images, mean, var, weight, bias: _normalised(
                images,
                images.mean((0, 2, 3)),
                (images.var((0, 2, 3), correction=0) + 1e-5).sqrt(),
                weight,
                bias,
            ),
            "The answer for one picture still depends on the others in its batch: whose mean and"
            " variance should a frozen layer take?",
        ),
        Mistake(
            lambda images, mean, var, weight, bias: _normalised(
                images, mean, (images.var((0, 2, 3), correction=0) + 1e-5).sqrt(), weight, bias
            ),
            "The mean is the stored one now; the variance still comes from the batch.",
        ),
        Mistake(
            lambda images, mean, var, weight, bias: _normalised(
                images, images.mean((0, 2, 3)), (var + 1e-5).sqrt(), weight, bias
            ),
            "The variance is the stored one now; the mean still comes from the batch.",
        ),
        Mistake(
            lambda images, mean, var, weight, bias: _normalised(
                images, mean, var + 1e-5, weight, bias
            ),
            "This divides by the variance; the layer divides by its square root.",
        ),
        Mistake(
            lambda images, mean, var, weight, bias: _normalised(
                images, mean, var.sqrt(), weight, bias
            ),
            "The small number 1e-5 below the root is missing; where the variance is tiny, it"
            " counts.",
        ),
        Mistake(
            lambda images, mean, var, weight, bias: _normalised(
                images, mean, (var + 1e-5).sqrt(), torch.ones_like(weight), 0 * bias
            ),
            "The scale and the shift are frozen too, but they are still applied.",
        ),
    ),
)


# --- find the bug in a probe ----------------------------------------------------------------------


def _probed(features: Tensor, labels: Tensor, others: Tensor, penalty: float) -> Tensor:
    classes = int(labels.max()) + 1
    return tr.linear_probe(features, labels, classes, penalty=penalty).scores(others)


def _feature_cases(generator: torch.Generator) -> Iterator[Case]:
    """Far from 0, classes of different sizes, and more or fewer examples than features."""
    for count, width, classes in ((4, 1, 2), (5, 2, 2), (6, 3, 3), (8, 3, 3), (5, 7, 2)):
        labels = torch.cat([torch.arange(classes), torch.zeros(count - classes, dtype=torch.int64)])
        features = halves(generator, count, width) + 7 * torch.arange(1, width + 1)
        features[0] += 9
        others = halves(generator, draw(generator, 2, 3), width) + 4
        yield features, labels, others, draw(generator, 1, 4) / 2


def _solved(inputs: Tensor, wanted: Tensor, penalty: float) -> Tensor:
    eye = torch.eye(inputs.shape[1], dtype=inputs.dtype)
    return torch.linalg.solve(inputs.T @ inputs + penalty * eye, inputs.T @ wanted)


def _scores(
    features: Tensor,
    labels: Tensor,
    others: Tensor,
    penalty: float,
    *,
    center: Tensor | float,
    level: bool = True,
) -> Tensor:
    """A probe fitted around the features' mean and asked around another one."""
    targets = F.one_hot(labels).to(features.dtype)
    mean = targets.mean(0)
    weight = _solved(features - features.mean(0), targets - mean, penalty)
    return (others - center) @ weight + (mean if level else 0)


probe = Exercise(
    label="ex-transfer-probe",
    oracle=_probed,
    cases=_feature_cases,
    hint="Ask the probe about its own examples, shifted by their mean and not: what should differ?",
    mistakes=(
        Mistake(
            lambda features, labels, others, penalty: _scores(
                features, labels, others, penalty, center=0.0
            ),
            "The weights were found around the mean of the features; the new ones are not yet"
            " measured from there.",
        ),
        Mistake(
            lambda features, labels, others, penalty: _scores(
                features, labels, others, penalty, center=others.mean(0)
            ),
            "The new features are measured from their own mean: then an answer depends on what"
            " else is asked. Keep the mean that the probe was fitted with.",
        ),
        Mistake(
            lambda features, labels, others, penalty: _scores(
                features, labels, others, penalty, center=features.mean(0), level=False
            ),
            "The shift is right; now the mean of the targets, which was taken off, has to come"
            " back.",
        ),
        Mistake(
            lambda features, labels, others, penalty: (
                others @ _solved(features, F.one_hot(labels).to(features.dtype), penalty)
            ),
            "Without any mean there is no bias, and the scores must pass through 0.",
        ),
        Mistake(
            lambda features, labels, others, penalty: _scores(
                features, labels, others, penalty * len(features), center=features.mean(0)
            ),
            "The loss is a sum over the examples, not a mean: the penalty is not multiplied by"
            " their number.",
        ),
        Mistake(
            lambda features, labels, others, penalty: _scores(
                features, labels, others, 1e-12, center=features.mean(0)
            ),
            "The penalty is not in the matrix any more.",
        ),
    ),
)


# --- extend: a pull to the start ------------------------------------------------------------------


def _pulled(weight: Tensor, start: Tensor, gradient: Tensor, lr: float, strength: float) -> Tensor:
    return weight - lr * (gradient + strength * (weight - start))


def _weights(generator: torch.Generator) -> Iterator[Case]:
    for shape in ((1,), (2,), (2, 3), (3, 2), (4,)):
        weight = halves(generator, *shape)
        start = weight + 0.5 + halves(generator, *shape).abs()
        gradient = halves(generator, *shape) + 0.25
        yield weight, start, gradient, draw(generator, 1, 3) / 4, draw(generator, 2, 5) / 8
    weight = halves(generator, 3)
    yield weight, weight - 1, torch.zeros(3, dtype=torch.float64), 0.5, 0.25


pull = Exercise(
    label="ex-transfer-pull",
    oracle=_pulled,
    cases=_weights,
    hint="Write the penalty down for one weight, and take its slope.",
    mistakes=(
        Mistake(
            lambda weight, start, gradient, lr, strength: (
                weight - lr * (gradient + strength * weight)
            ),
            "This is ordinary weight decay, a pull to 0; the pull should lead to the start.",
        ),
        Mistake(
            lambda weight, start, gradient, lr, strength: (
                weight - lr * (gradient + strength * (start - weight))
            ),
            "The sign of the pull is turned round: this drives the weights away from the start.",
        ),
        Mistake(
            lambda weight, start, gradient, lr, strength: (
                weight - lr * (gradient + 2 * strength * (weight - start))
            ),
            "The penalty has a factor of one half; with it, the slope has no factor 2.",
        ),
        Mistake(
            lambda weight, start, gradient, lr, strength: (
                weight - lr * (gradient + strength / 2 * (weight - start))
            ),
            "The square gives a factor 2, which meets the one half of the penalty.",
        ),
        Mistake(
            lambda weight, start, gradient, lr, strength: (
                weight - lr * gradient - strength * (weight - start)
            ),
            "The pull is part of the gradient here, so the step size multiplies it too.",
        ),
        Mistake(
            lambda weight, start, gradient, lr, strength: (
                weight - lr * (gradient + strength * (weight - start) ** 2 / 2)
            ),
            "This adds the penalty itself; a step needs its slope.",
        ),
        Mistake(
            lambda weight, start, gradient, lr, strength: (
                weight + lr * (gradient + strength * (weight - start))
            ),
            "This step goes uphill.",
        ),
        Mistake(
            lambda weight, start, gradient, lr, strength: (
                start - lr * (gradient + strength * (weight - start))
            ),
            "The step is taken from where the weights are now, not from the start.",
        ),
        Mistake(
            lambda weight, start, gradient, lr, strength: weight - lr * gradient,
            "There is no pull yet.",
        ),
    ),
)
