"""The checks of the chapter `classification`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises import Case, Exercise, Mistake, draw, halves

# --- predict the sizes of a network ---------------------------------------------------------------

sizes = Exercise(
    label="ex-classification-sizes",
    oracle=(28, 36, 32_256, 4_128_896),
    hint="Go layer by layer and write down height and width after each: which layers take two"
    " pixels away, which halve, and what happens to an odd number?",
    mistakes=(
        Mistake((28, 36, 32_256, 4_128_768), "The dense layer has biases too."),
        Mistake(
            (28, 36, 32_256, 4_129_024), "One bias for each output: how many outputs are there?"
        ),
        Mistake(
            (28, 36, 252, 32_384),
            "Flattening keeps the channels: how many maps does the last convolution have?",
        ),
        Mistake(
            (28, 36, 129_024, 16_515_200),
            "After the last convolution there is one more pooling.",
        ),
        Mistake(
            (32, 40, 40_960, 5_243_008),
            "These convolutions have no padding: each takes two pixels from height and width.",
        ),
        Mistake(
            (29, 37, 32_256, 4_128_896),
            "Where a pooling leaves a row over, it is dropped: an odd number is rounded down.",
        ),
        Mistake(
            (36, 28, 32_256, 4_128_896),
            "The height comes first.",
        ),
        Mistake(
            (28, 28, 25_088, 3_211_392),
            "The picture is not square: the width has numbers of its own.",
        ),
    ),
    tolerance=0,  # sizes are counted
)


# --- fill in a confusion matrix -------------------------------------------------------------------


def _confusion(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    pairs = target * num_classes + predicted
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def _confusion_cases(generator: torch.Generator) -> Iterator[Case]:
    yield torch.tensor([1, 1, 0, 1]), torch.tensor([0, 0, 0, 1]), 3  # a pair twice, a class never
    for _ in range(6):
        classes = draw(generator, 3, 6)
        count = draw(generator, 12, 40)
        predicted, target = torch.randint(0, classes - 1, (2, count), generator=generator)
        predicted[:2], target[:2] = 0, 1  # never symmetric: 0 for 1 at least twice, and
        target[predicted == 1] = 1  # 1 for 0 never
        yield predicted, target, classes


def _confusion_once(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    table = torch.zeros(num_classes, num_classes)
    table[target, predicted] += 1
    return table


confusion = Exercise(
    label="ex-classification-confusion",
    oracle=_confusion,
    cases=_confusion_cases,
    hint="Take one picture: its true class names the row, the predicted one the column, and the"
    " entry there grows by one. All entries together count all pictures.",
    mistakes=(
        Mistake(
            lambda predicted, target, num_classes: _confusion(target, predicted, num_classes),
            "Rows and columns are exchanged: the true class names the row.",
        ),
        Mistake(
            _confusion_once,
            "A pair that comes twice counts once: with a list of indices, += writes each place"
            " only once.",
        ),
        Mistake(
            lambda predicted, target, num_classes: _confusion(
                predicted, target, int(max(predicted.max(), target.max())) + 1
            ),
            "A class that never occurs needs its row and its column too.",
        ),
        Mistake(
            lambda predicted, target, num_classes: (
                _confusion(predicted, target, num_classes) / len(target)
            ),
            "Shares are nice to look at, but counts are asked for.",
        ),
        Mistake(
            lambda predicted, target, num_classes: (
                _confusion(predicted, target, num_classes)
                / _confusion(predicted, target, num_classes).sum(1, keepdim=True).clamp(min=1)
            ),
            "The rows add up to one; counts are asked for.",
        ),
        Mistake(
            lambda predicted, target, num_classes: _confusion(
                predicted[predicted == target], target[predicted == target], num_classes
            ),
            "Only the right answers are counted; the mistakes belong beside the diagonal.",
        ),
    ),
)


# --- find the leak --------------------------------------------------------------------------------


def _standardized(train: Tensor, other: Tensor, fitted: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts, with the mean and the standard deviation of a third tensor."""
    mean, std = fitted.mean(), fitted.std(correction=0)
    return (train - mean) / std, (other - mean) / std


def _leak_cases(generator: torch.Generator) -> Iterator[Case]:
    for _ in range(6):
        count, rest = draw(generator, 2, 5), draw(generator, 2, 5)
        shape = 1, draw(generator, 2, 4), draw(generator, 2, 4)
        # The test scans are brighter, so that it matters from which part a mean is taken.
        yield halves(generator, count, *shape), halves(generator, rest, *shape) + 4


def _each_picture(images: Tensor) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) / images.std((1, 2, 3), correction=0, keepdim=True)


leak = Exercise(
    label="ex-classification-leak",
    oracle=lambda train, test: _standardized(train, test, train),
    cases=_leak_cases,
    hint="Which pictures may the two numbers depend on? And both parts must be changed in the same"
    " way, or the network meets other numbers than those it learned from.",
    mistakes=(
        Mistake(
            lambda train, test: _standardized(train, test, torch.cat([train, test])),
            "This is the listing unchanged: the test pictures still have a say in the mean.",
        ),
        Mistake(
            lambda train, test: (
                _standardized(train, train, train)[0],
                _standardized(test, test, test)[0],
            ),
            "Now the same grey becomes one number in training and another in the test: both parts"
            " need the same mean and the same deviation.",
        ),
        Mistake(
            lambda train, test: _standardized(train, test, test),
            "The numbers come from the test pictures alone: the wrong part.",
        ),
        Mistake(
            lambda train, test: (
                (train - train.mean()) / train.std(),
                (test - train.mean()) / train.std(),
            ),
            "Right but for one thing: without correction=0, std divides by one less than their"
            " number.",
        ),
        Mistake(
            lambda train, test: (train - train.mean(), test - train.mean()),
            "The mean is right; the division by the standard deviation is missing.",
        ),
        Mistake(
            lambda train, test: (_standardized(train, test, train)[0], test),
            "The test pictures are returned as they came.",
        ),
        Mistake(
            lambda train, test: (_each_picture(train), _each_picture(test)),
            "Each picture is standardised by itself; one mean and one deviation are asked for.",
        ),
    ),
)


# --- fill in a shift ------------------------------------------------------------------------------


def _shifted(images: Tensor, down: int, right: int) -> Tensor:
    height, width = images.shape[-2:]
    rows = torch.arange(height) - down
    columns = torch.arange(width) - right
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    moved = images[..., rows.clamp(0, height - 1), :][..., columns.clamp(0, width - 1)]
    return moved * inside


def _shift_cases(generator: torch.Generator) -> Iterator[Case]:
    yield halves(generator, 1, 1, 2, 3) + 0.25, 1, 0
    yield halves(generator, 1, 1, 3, 2) + 0.25, 0, -1
    yield halves(generator, 1, 1, 3, 2) + 0.25, 0, 0
    yield halves(generator, 2, 3, 4, 5) + 0.25, -1, 2
    yield halves(generator, 2, 1, 5, 4) + 0.25, 2, 1
    for _ in range(5):
        shape = (
            draw(generator, 1, 2),
            draw(generator, 1, 2),
            draw(generator, 4, 6),
            draw(generator, 4, 6),
        )
        yield halves(generator, *shape) + 0.25, draw(generator, -3, 3), draw(generator, -3, 3)


shifted = Exercise(
    label="ex-classification-shift",
    oracle=_shifted,
    cases=_shift_cases,
    hint="Follow the upper left pixel: where should it be afterwards, and what stands in the rows"
    " and columns that nothing was moved to?",
    mistakes=(
        Mistake(
            lambda images, down, right: images.roll((down, right), (-2, -1)),
            "What leaves on one side comes in on the other: a stroke of ink would appear there.",
        ),
        Mistake(
            lambda images, down, right: _shifted(images, -down, -right),
            "The pictures move the other way.",
        ),
        Mistake(
            lambda images, down, right: _shifted(images, right, down),
            "Down and right are exchanged: rows come before columns.",
        ),
        Mistake(
            lambda images, down, right: _shifted(images, down, -right),
            "Down is right, but a positive second number should move to the right.",
        ),
        Mistake(
            lambda images, down, right: _shifted(images, max(down, 0), max(right, 0)),
            "A negative number should move up, or to the left.",
        ),
        Mistake(
            lambda images, down, right: F.pad(images, (right, 0, down, 0)),
            "The pictures grow: what is pushed out must be cut off, so that the size stays.",
        ),
        Mistake(
            lambda images, down, right: F.pad(
                images, (right, -right, down, -down), mode="constant", value=1.0
            ),
            "What comes in is 1; paper is 0 in these scans.",
        ),
    ),
)


# --- find the bug in a mean of F1 -----------------------------------------------------------------


def _counts(predicted: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of each class: found rightly, said, true."""
    table = _confusion(predicted, target, num_classes).double()
    return table.diagonal(), table.sum(0), table.sum(1)


def _f1(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    found, said, true = _counts(predicted, target, num_classes)
    return (2 * found / (said + true).clamp(min=1)).mean()


def _f1_of_means(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    found, said, true = _counts(predicted, target, num_classes)
    precision = (found / said.clamp(min=1)).mean()
    recall = (found / true.clamp(min=1)).mean()
    return 2 * precision * recall / (precision + recall)


def _f1_broken(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    found, said, true = _counts(predicted, target, num_classes)
    precision, recall = found / said, found / true
    return (2 * precision * recall / (precision + recall)).mean()


def _f1_cases(generator: torch.Generator) -> Iterator[Case]:
    # One class is never said, one never found, one neither said nor true.
    yield torch.tensor([0, 0, 1, 0, 1]), torch.tensor([0, 1, 1, 2, 0]), 4
    for _ in range(6):
        classes = draw(generator, 4, 6)
        count = draw(generator, 12, 30)
        target = torch.randint(0, classes - 1, (count,), generator=generator)
        wild = torch.randint(0, classes - 2, (count,), generator=generator)
        keep = torch.rand(count, generator=generator) < 0.6
        predicted = torch.where(keep & (target < classes - 2), target, wild)
        predicted[:3], target[:3] = torch.tensor([0, 0, 1]), torch.tensor([classes - 2, 0, 0])
        yield predicted, target, classes


f1 = Exercise(
    label="ex-classification-f1",
    oracle=_f1,
    cases=_f1_cases,
    hint="Work out one class by hand: how often it was said, how often it is true, how often both."
    " What is its F1 if it was never found, and what if it does not occur at all?",
    mistakes=(
        Mistake(
            _f1_broken,
            "This is still 0/0 for a class that was never said, never occurs or, in some forms, was"
            " never found; and one NaN is enough to spoil a mean.",
        ),
        Mistake(
            lambda predicted, target, num_classes: _f1_broken(
                predicted, target, num_classes
            ).nan_to_num(),
            "The mean is NaN before you replace it: replace where the NaN arises, class by class.",
        ),
        Mistake(
            lambda predicted, target, num_classes: _f1_each(
                predicted, target, num_classes
            ).nanmean(),
            "Classes that were never said, or never occur, are left out of the mean, although they"
            " count as 0: whoever never says a class would not be punished for it.",
        ),
        Mistake(
            _f1_of_means,
            "This is the F1 of the mean precision and the mean recall, not the mean of the F1s.",
        ),
        Mistake(
            lambda predicted, target, num_classes: (predicted == target).double().mean(),
            "This is the accuracy, in which a frequent class counts more than a rare one.",
        ),
        Mistake(
            lambda predicted, target, num_classes: (
                _f1(predicted, target, num_classes)
                * num_classes
                / len(torch.cat([predicted, target]).unique())
            ),
            "All classes count, also one that neither is true nor was said: its F1 is 0.",
        ),
    ),
)


def _f1_each(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """With NaN where a class was never said or is never true."""
    found, said, true = _counts(predicted, target, num_classes)
    precision, recall = found / said, found / true
    return 2 / (1 / precision + 1 / recall)


# --- extend a percentage by its interval ----------------------------------------------------------


def _means_of(right: Tensor, rows: Tensor) -> Tensor:
    return right.double()[rows].mean(1)  # (B,)


def _quantiles(low: float, high: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    def interval(right: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        means = _means_of(right, rows)
        return means.quantile(low), means.quantile(high)

    return interval


def _interval_across(right: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    means = right.double()[rows].mean(0)
    return means.quantile(0.025), means.quantile(0.975)


def _two_deviations(right: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    means = _means_of(right, rows)
    return means.mean() - 1.96 * means.std(), means.mean() + 1.96 * means.std()


def _picked(right: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    means = _means_of(right, rows).sort().values
    return means[int(0.025 * len(means))], means[int(0.975 * len(means))]


def _interval_cases(generator: torch.Generator) -> Iterator[Case]:
    for count, resamples in ((5, 12), (8, 30), (13, 40), (20, 50), (101, 90)):
        right = torch.rand(count, generator=generator) < 0.7
        right[:2] = torch.tensor([True, False])
        yield right, torch.randint(0, count, (resamples, count), generator=generator)


interval = Exercise(
    label="ex-classification-interval",
    oracle=_quantiles(0.025, 0.975),
    cases=_interval_cases,
    hint="How many accuracies do you get from the rows? Between which two of their quantiles lie 95"
    " of 100?",
    mistakes=(
        Mistake(
            _quantiles(0.05, 0.95),
            "Between these two lie 90 of 100: what is left out is shared by both ends.",
        ),
        Mistake(_quantiles(0.975, 0.025), "The lower end comes first."),
        Mistake(
            lambda right, rows: (_means_of(right, rows).min(), _means_of(right, rows).max()),
            "These are the extremes, which grow with the number of resamples.",
        ),
        Mistake(
            _interval_across,
            "The mean runs over the resamples: each row is a test set of its own, with one"
            " accuracy.",
        ),
        Mistake(
            _two_deviations,
            "This takes the accuracies for normally distributed; quantiles are asked for.",
        ),
        Mistake(
            _picked,
            "Each end is one of the resamples; torch.quantile finds its place between two of them,"
            " and mixes.",
        ),
        Mistake(
            lambda right, rows: (
                right.double().quantile(0.025),
                right.double().quantile(0.975),
            ),
            "The resamples are not used: these are quantiles of zeros and ones.",
        ),
    ),
)


# --- give a block its shortcut --------------------------------------------------------------------


def _conv(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=1)


def _block(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return (x + _conv(_conv(x, first).relu(), second)).relu()


def _block_cases(generator: torch.Generator) -> Iterator[Case]:
    for _ in range(6):
        channels, inside = draw(generator, 1, 2), draw(generator, 3, 4)
        shape = draw(generator, 1, 2), channels, draw(generator, 3, 5), draw(generator, 3, 5)
        weights = (
            halves(generator, inside, channels, 3, 3),
            halves(generator, channels, inside, 3, 3),
        )
        yield halves(generator, *shape), weights[0] / 8, weights[1] / 8


residual = Exercise(
    label="ex-classification-residual",
    oracle=_block,
    cases=_block_cases,
    hint="If both kernels are zero, what should come out of the block? Follow the input along the"
    " shortcut, and the last relu.",
    mistakes=(
        Mistake(
            lambda x, first, second: _conv(_conv(x, first).relu(), second).relu(),
            "The shortcut is missing: with kernels of zeros nothing would come through.",
        ),
        Mistake(
            lambda x, first, second: x + _conv(_conv(x, first).relu(), second).relu(),
            "The order of the last two steps: is the relu to see the sum, or only one part of it?",
        ),
        Mistake(
            lambda x, first, second: x + _conv(_conv(x, first).relu(), second),
            "The relu after the sum is missing.",
        ),
        Mistake(
            lambda x, first, second: (x + _conv(_conv(x, first), second)).relu(),
            "Without a relu between them the two convolutions are no more than one.",
        ),
        Mistake(
            lambda x, first, second: (x * _conv(_conv(x, first).relu(), second)).relu(),
            "The shortcut is added, not multiplied.",
        ),
        Mistake(
            lambda x, first, second: (x.relu() + _conv(_conv(x, first).relu(), second)).relu(),
            "The shortcut changes nothing on its way: its negative numbers are lost here.",
        ),
    ),
)


# --- carry weights over from Keras ----------------------------------------------------------------


def _carried(kernel: Tensor, height: int, width: int) -> Tensor:
    """Keras's kernel ``(H·W·C, out)`` as torch's weight ``(out, C·H·W)``."""
    out = kernel.shape[1]
    return kernel.view(height, width, -1, out).permute(3, 2, 0, 1).reshape(out, -1)


def _carried_in_order(*order: int) -> Callable[[Tensor, int, int], Tensor]:
    return lambda kernel, height, width: (
        kernel.view(height, width, -1, kernel.shape[1]).permute(*order).reshape(kernel.shape[1], -1)
    )


def _keras_cases(generator: torch.Generator) -> Iterator[Case]:
    yield halves(generator, 12, 2), 2, 3
    for _ in range(6):
        height = draw(generator, 2, 4)
        width = height + draw(generator, 1, 2)  # never square
        channels, out = draw(generator, 2, 3), draw(generator, 2, 4)
        yield halves(generator, height * width * channels, out), height, width


carried = Exercise(
    label="ex-classification-keras",
    oracle=_carried,
    cases=_keras_cases,
    hint="Name the four axes hidden in the kernel's two, in Keras's order. In which order does"
    " torch's flatten put the numbers of one picture?",
    mistakes=(
        Mistake(
            lambda kernel, height, width: kernel.T.contiguous(),
            "Input and output are exchanged as they must be, but each column still expects the"
            " numbers of a picture in Keras's order.",
        ),
        Mistake(
            _carried_in_order(3, 2, 1, 0),
            "The channels come first now, but rows and columns are exchanged.",
        ),
        Mistake(
            lambda kernel, height, width: _carried(kernel, height, width).T.contiguous(),
            "The order inside is right; torch's weight has the outputs in its rows.",
        ),
        Mistake(
            lambda kernel, height, width: kernel.reshape(kernel.shape[1], -1),
            "A reshape alone does not move a number: the axes must change places.",
        ),
    ),
)
