"""The checks of the chapter `background`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real

import torch
from torch import Tensor

from course_lib import background as topic
from course_lib.exercises import Case, Exercise, Mistake, draw


@dataclass(frozen=True, eq=False)
class _Between:
    """A mistake that is any number of an interval."""

    low: float
    high: float

    def __eq__(self, other: object) -> bool:
        return other is self or (isinstance(other, Real) and self.low < float(other) < self.high)

    def __hash__(self) -> int:
        return hash((self.low, self.high))


# --- predict how much room a photograph takes -----------------------------------------------------

storage = Exercise(
    label="ex-background-storage",
    oracle=(720_000, 720_000, 2_880_000),
    hint="Count pixels first, then the numbers at each pixel, then the bytes of each number.",
    mistakes=(
        Mistake(
            (240_000, 240_000, 960_000),
            "These are the pixels; each of them holds one number for every channel.",
        ),
        Mistake(
            (720_000, 5_760_000, 23_040_000),
            "These are bits; eight of them are a byte.",
        ),
        Mistake(
            (720_000, 720_000, 720_000),
            "A float32 number has 32 bits, a byte has eight: the last answer must be larger.",
        ),
        Mistake(
            (720_000, 720_000, 23_040_000),
            "The last answer counts bits: divide by eight.",
        ),
        Mistake(
            (720_000, 2_160_000, 8_640_000),
            "The three channels are in the first answer already; they count once.",
        ),
    ),
)


# --- halve a picture by averaging light -----------------------------------------------------------


def _halved(image: Tensor) -> Tensor:
    return topic.linear_to_srgb(topic.average_blocks(topic.srgb_to_linear(image), 2))


def _halved_cases(generator: torch.Generator) -> Iterator[Case]:
    yield (torch.tensor([[[0.0, 1.0], [1.0, 0.0]]]).expand(3, 2, 2).clone(),)
    for _ in range(6):
        height, width = 2 * draw(generator, 1, 4), 2 * draw(generator, 1, 4)
        image = torch.rand(3, height, width, generator=generator)
        # Every block has a dark pixel, for which the straight part of the curve counts.
        image[:, ::2, ::2] *= 0.04
        yield (image,)


def _with_power(image: Tensor) -> Tensor:
    return topic.average_blocks(image**2.2, 2) ** (1 / 2.2)


halved = Exercise(
    label="ex-background-halve",
    oracle=_halved,
    cases=_halved_cases,
    tolerance=1e-5,
    hint="Three steps: from stored values to light, the mean of each block, and back.",
    mistakes=(
        Mistake(
            lambda image: topic.average_blocks(image, 2),
            "This averages the stored values, which are no amounts of light.",
        ),
        Mistake(
            lambda image: topic.average_blocks(topic.srgb_to_linear(image), 2),
            "The averages are right, but they are still light: a file holds stored values.",
        ),
        Mistake(
            lambda image: topic.srgb_to_linear(
                topic.average_blocks(topic.linear_to_srgb(image), 2)
            ),
            "The two curves have changed places: which one gives light?",
        ),
        Mistake(
            lambda image: topic.linear_to_srgb(topic.average_blocks(image, 2)),
            "The way back is there; the way to light, before the mean, is missing.",
        ),
        Mistake(
            lambda image: topic.srgb_to_linear(image)[:, ::2, ::2],
            "This takes one pixel of each block and drops the other three.",
        ),
        Mistake(
            lambda image: image[:, ::2, ::2],
            "This takes one pixel of each block and drops three: a mean is asked for.",
        ),
        Mistake(
            _with_power,
            "A plain power of 2.2 is near, but not the standard's curve: dark pixels differ.",
        ),
    ),
)


# --- find the bug in a PSNR -----------------------------------------------------------------------


def _psnr(a: Tensor, b: Tensor) -> float:
    return topic.psnr(a.double(), b.double(), data_range=255).item()


def _psnr_cases(generator: torch.Generator) -> Iterator[Case]:
    yield (
        torch.tensor([[10, 200]], dtype=torch.uint8),
        torch.tensor([[30, 190]], dtype=torch.uint8),
    )
    for _ in range(6):
        shape = draw(generator, 2, 5), draw(generator, 2, 5)
        a, b = (torch.randint(0, 256, shape, generator=generator).byte() for _ in range(2))
        # In each pair one pixel rises and one falls, so that a wrapped difference shows.
        a[0, :2], b[0, :2] = torch.tensor([3, 250]), torch.tensor([251, 2])
        yield a, b


def _wrapped_mse(a: Tensor, b: Tensor) -> float:
    return ((a - b) ** 2).double().mean().item()


def _half_wrapped_mse(a: Tensor, b: Tensor) -> float:
    """The difference wraps around, its square does not."""
    return ((a - b).double() ** 2).mean().item()


def _short_mse(a: Tensor, b: Tensor) -> float:
    """The difference has room, its square has not."""
    return ((a.short() - b.short()) ** 2).double().mean().item()


def _absolute(a: Tensor, b: Tensor) -> float:
    return (a.double() - b.double()).abs().mean().item()


def _mse(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b.double()) ** 2).mean().item()


def _decibels(mse: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor], float]:
    return lambda a, b: 10 * math.log10(255**2 / mse(a, b))


wrapped = Exercise(
    label="ex-background-wrapped",
    oracle=_psnr,
    cases=_psnr_cases,
    tolerance=1e-4,
    hint="Print the difference of two pixels, and its square.",
    mistakes=(
        Mistake(
            _decibels(_wrapped_mse),
            "What is squared are bytes, so the squares are bytes too: they end at 255 and start"
            " over.",
        ),
        Mistake(
            _decibels(_half_wrapped_mse),
            "The bytes become floating numbers too late: the difference has wrapped already.",
        ),
        Mistake(
            _decibels(_short_mse),
            "The differences are right now, but whole numbers of 16 bits end at 32,767: which is"
            " the largest square?",
        ),
        Mistake(
            lambda a, b: 10 * math.log10(256**2 / _mse(a, b)),
            "The errors are right, the peak is not: how far is it from 0 to the largest byte?",
        ),
        Mistake(
            lambda a, b: 10 * math.log10(a.max().double() ** 2 / _mse(a, b)),
            "The errors are right, but the peak is that of all bytes, not of these pictures.",
        ),
        Mistake(
            lambda a, b: 10 * math.log10(255**2 / (_mse(a, b) * a.numel())),
            "The squares are added up here; the formula takes their mean.",
        ),
        Mistake(
            _decibels(_absolute),
            "This is the mean of the differences without their sign; the formula squares them.",
        ),
        Mistake(
            lambda a, b: 20 * math.log10(255 / _absolute(a, b)),
            "The mean of the differences is not the root of the mean of their squares.",
        ),
        Mistake(
            lambda a, b: 10 * math.log10(1 / _mse(a, b)),
            "The range from black to white is 255 here, not 1.",
        ),
        Mistake(
            lambda a, b: 10 * math.log10(255 / _mse(a, b)),
            "The peak is squared in the formula, as the errors are.",
        ),
        Mistake(
            lambda a, b: 10 * math.log(255**2 / _mse(a, b)),
            "The natural logarithm is taken here; decibels need the one to base 10.",
        ),
        Mistake(
            lambda a, b: 20 * math.log10(255**2 / _mse(a, b)),
            "A factor of 20 belongs to 255 over the root of the mean, 10 to the squares.",
        ),
    ),
)


# --- a rare illness -------------------------------------------------------------------------------

alarms = Exercise(
    label="ex-background-alarms",
    oracle=(0.99, 2 / 13),
    tolerance=5e-4,
    hint="Write the four groups down for 10,000 eyes: ill or not, alarm or none.",
    mistakes=(
        Mistake(
            (0.01, 2 / 13),
            "The lazy program is wrong for the ill eyes only, and right for all others.",
        ),
        Mistake(
            (0.99, 0.9),
            "That is the share of the ill that are found; asked is the share of alarms that are"
            " right.",
        ),
        Mistake(
            (0.99, 0.95),
            "That is the share of the healthy that are let go; asked is the share of alarms that"
            " are right.",
        ),
        Mistake(
            (0.99, 0.9 / 0.95),
            "The healthy are 99 times as many as the ill; count eyes, not shares.",
        ),
        Mistake(
            (0.99, 90 / 590),
            "Close: the false alarms come from the healthy eyes only, 5 % of 9,900; and the third"
            " decimal is rounded, not cut.",
        ),
        Mistake(
            (0.99, _Between(0.149, 0.159)),
            "The right way; but give three decimals, rounded.",
        ),
        Mistake(
            (_Between(1.5, 100), _Between(1.5, 100)),
            "These are percents: a share is a number between 0 and 1.",
        ),
        Mistake(
            (0.99, 90 / 495),
            "All alarms are the right ones and the false ones together.",
        ),
        Mistake(
            (0.99, 11 / 13),
            "This is the share of alarms that are false; the other part is asked for.",
        ),
    ),
)


# --- count a stack of linear layers ---------------------------------------------------------------


def _counts(sizes: list[int]) -> tuple[int, int]:
    learned = sum(outputs * (inputs + 1) for inputs, outputs in pairwise(sizes))
    return learned, sum(outputs * inputs for inputs, outputs in pairwise(sizes))


def _counts_cases(generator: torch.Generator) -> Iterator[Case]:
    yield ([2, 3],)
    yield ([3, 4, 2],)
    for length in (2, 3, 4, 5):
        yield ([draw(generator, 2, 40) for _ in range(length)],)


def _weights_of(sizes: list[int]) -> int:
    return _counts(sizes)[1]


counts = Exercise(
    label="ex-background-counts",
    oracle=_counts,
    cases=_counts_cases,
    hint="Draw the layers of [3, 4, 2]: which numbers does the second one read?",
    mistakes=(
        Mistake(
            lambda sizes: (_weights_of(sizes), _weights_of(sizes)),
            "The parameters lack the biases: one for each output of each layer.",
        ),
        Mistake(
            lambda sizes: (_counts(sizes)[0], _counts(sizes)[0]),
            "A bias is added and not multiplied: it is no multiply-add.",
        ),
        Mistake(
            lambda sizes: (_counts(sizes)[0], 2 * _weights_of(sizes)),
            "These are floating-point operations: a multiply-add is two of them, and counts once.",
        ),
        Mistake(
            lambda sizes: (_weights_of(sizes) + sum(sizes), _weights_of(sizes)),
            "The input has no biases: only what a layer puts out has.",
        ),
        Mistake(
            lambda sizes: (_weights_of(sizes) + sum(sizes[:-1]), _weights_of(sizes)),
            "A bias belongs to an output of a layer, not to an input.",
        ),
        Mistake(
            lambda sizes: (_weights_of(sizes) + len(sizes) - 1, _weights_of(sizes)),
            "Each output has a bias of its own, not each layer.",
        ),
        Mistake(
            lambda sizes: (math.prod(sizes) + sum(sizes[1:]), math.prod(sizes)),
            "Each layer has a matrix of its own: their sizes add up, they do not multiply.",
        ),
        Mistake(
            lambda sizes: _counts(sizes[:2]),
            "This is the first layer only.",
        ),
    ),
)


# --- memory for a billion parameters --------------------------------------------------------------

memory = Exercise(
    label="ex-background-memory",
    oracle=(4, 16, 8),
    hint="Make a list of what is kept for one parameter, and add up its bytes.",
    mistakes=(
        Mistake(
            (4, 8, 4),
            "Adam remembers two numbers for each parameter, beside the gradient.",
        ),
        Mistake(
            (4, 12, 6),
            "One thing is missing in the second answer: the parameter, its gradient, or one of"
            " Adam's two numbers.",
        ),
        Mistake(
            (4, 16, 16),
            "In 16 bits a number takes two bytes; with all of them halved, so is the sum.",
        ),
        Mistake(
            (4, 16, 4),
            "A number of 16 bits has two bytes: half of float32's four, not a quarter.",
        ),
        Mistake(
            (32, 128, 64),
            "These are gigabits; eight bits are a byte.",
        ),
        Mistake(
            (4e9, 16e9, 8e9),
            "These are bytes; asked is gigabytes.",
        ),
        Mistake(
            (4, 4, 2),
            "To use a model takes its parameters; to train it takes more for each of them.",
        ),
    ),
)
