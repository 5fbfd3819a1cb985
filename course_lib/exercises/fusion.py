"""The checks of the chapter `fusion`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from unittest.mock import ANY  # equal to whatever stands in its place

import torch
from torch import Tensor

from course_lib import fusion
from course_lib.exercises import Case, Exercise, Mistake, draw, halves

# --- predict what bytes do ------------------------------------------------------------------------

predict = Exercise(
    label="ex-fusion-predict",
    oracle=(62, 190, 195),
    hint="Add first, and see whether the sum fits into a byte.",
    mistakes=(
        Mistake(
            (190, 190, 195),
            "The second and the third are right. For the first: which sums can a byte hold?",
        ),
        Mistake(
            (127, 190, 195),
            "The second and the third are right. A sum that is too large is not cut at 255 by"
            " PyTorch: it goes round.",
        ),
        Mistake(
            (124, 190, 195),
            "The second and the third are right. The first is the sum; it is still to be halved.",
        ),
        Mistake(
            (62, 190, 185),
            "The first two are right. In the third, alpha is the share of the first picture.",
        ),
        Mistake(
            (62.5, 190, 195),
            "The second and the third are right. A byte has 256 values, and whole numbers halve"
            " to whole numbers.",
        ),
        Mistake(
            (62, ANY, ANY),
            "The first is right. The others are sums of two products; round at the end.",
        ),
        Mistake(
            (ANY, 190, 195),
            "The second and the third are right. For the first, subtract 256 from a sum that does"
            " not fit.",
        ),
    ),
)


# --- fill in: lay one picture over another --------------------------------------------------------


def _over(color1: Tensor, alpha1: Tensor, color2: Tensor, alpha2: Tensor) -> tuple[Tensor, Tensor]:
    return fusion.over(color1, alpha1, color2, alpha2)


def _layers(generator: torch.Generator) -> Iterator[Case]:
    """Alphas in quarters; somewhere both are 0, somewhere both are 1, somewhere one is."""
    for channels, height, width in ((1, 2, 3), (3, 2, 3), (3, 3, 4), (3, 4, 3), (2, 3, 5)):
        colors = torch.randint(0, 9, (2, channels, height, width), generator=generator) / 8
        alphas = torch.randint(1, 4, (2, 1, height, width), generator=generator) / 4
        alphas[:, 0, 0, 0] = 0
        alphas[:, 0, 0, 1] = 1
        alphas[0, 0, 0, 2] = 0
        alphas[1, 0, 1, 0] = 0
        alphas[0, 0, 1, 1], alphas[1, 0, 1, 1] = 0.5, 0.5
        colors[0, :, 1, 1], colors[1, :, 1, 1] = 1, 0
        colors, alphas = colors.double(), alphas.double()
        yield colors[0], alphas[0], colors[1], alphas[1]


def _alpha(alpha1: Tensor, alpha2: Tensor) -> Tensor:
    return alpha1 + (1 - alpha1) * alpha2


def _sum(color1: Tensor, alpha1: Tensor, color2: Tensor, alpha2: Tensor) -> Tensor:
    return alpha1 * color1 + (1 - alpha1) * alpha2 * color2


over = Exercise(
    label="ex-fusion-over",
    oracle=_over,
    cases=_layers,
    hint="Take one pixel with both alphas a half, and count how much of each colour is seen.",
    mistakes=(
        Mistake(
            lambda color1, alpha1, color2, alpha2: (
                _sum(color1, alpha1, color2, alpha2),
                _alpha(alpha1, alpha2),
            ),
            "The alpha is right. This colour is still multiplied by it.",
        ),
        Mistake(
            lambda color1, alpha1, color2, alpha2: (
                _sum(color1, alpha1, color2, alpha2) / _alpha(alpha1, alpha2),
                _alpha(alpha1, alpha2),
            ),
            "Right wherever something is there. Where nothing covers, 0 is divided by 0.",
        ),
        Mistake(
            lambda color1, alpha1, color2, alpha2: (
                alpha1 * color1 + (1 - alpha1) * color2,
                _alpha(alpha1, alpha2),
            ),
            "The alpha is right. The colour behind has an alpha too: it may be missing in part.",
        ),
        Mistake(
            lambda color1, alpha1, color2, alpha2: _over(color2, alpha2, color1, alpha1),
            "The two layers are swapped: the first one lies in front.",
        ),
        Mistake(
            lambda color1, alpha1, color2, alpha2: (
                _over(color1, alpha1, color2, alpha2)[0],
                alpha1 + alpha2,
            ),
            "The colour is right. Two layers that each cover half do not cover everything.",
        ),
        Mistake(
            lambda color1, alpha1, color2, alpha2: (
                _over(color1, alpha1, color2, alpha2)[0],
                (alpha1 + alpha2).clamp(max=1),
            ),
            "The colour is right. The alphas do not add up: of what the front lets through, the"
            " back covers a part.",
        ),
        Mistake(
            lambda color1, alpha1, color2, alpha2: (
                _over(color1, alpha1, color2, alpha2)[0],
                torch.maximum(alpha1, alpha2),
            ),
            "The colour is right. Two layers cover more than the better one of them.",
        ),
        Mistake(
            lambda color1, alpha1, color2, alpha2: (
                (alpha1 * color1 + alpha2 * color2)
                / (alpha1 + alpha2).where(alpha1 + alpha2 > 0, 1),
                _alpha(alpha1, alpha2),
            ),
            "This weighs the two layers alike; the front hides a part of what is behind it.",
        ),
    ),
)


# --- find the bug in a pyramid blend --------------------------------------------------------------


def _blended(image1: Tensor, image2: Tensor, mask: Tensor, levels: int) -> Tensor:
    return fusion.pyramid_blend(image1, image2, mask, levels)


def _pictures(generator: torch.Generator) -> Iterator[Case]:
    """Odd and even sizes, and a mask with an edge off the middle."""
    for height, width in ((4, 6), (5, 8), (7, 6), (8, 9), (9, 13)):
        image1, image2 = halves(generator, 3, height, width), halves(generator, 3, height, width)
        mask = torch.zeros(height, width, dtype=torch.float64)
        mask[1:, : draw(generator, 2, width - 3)] = 1
        yield image1, image2, mask, 3


def _with_masks(masks: list[Tensor], image1: Tensor, image2: Tensor) -> Tensor:
    """Blend the Laplacian pyramids with one mask for each level."""
    pyramids = (fusion.laplacian_pyramid(image, len(masks)) for image in (image1, image2))
    return fusion.reconstruct(
        [m * one + (1 - m) * two for m, one, two in zip(masks, *pyramids, strict=True)]
    )


def _skipped(mask: Tensor, levels: int) -> list[Tensor]:
    return [mask[:: 2**level, :: 2**level] for level in range(levels)]


def _last_of_first(image1: Tensor, image2: Tensor, mask: Tensor, levels: int) -> Tensor:
    masks = fusion.gaussian_pyramid(mask, levels)
    return _with_masks([*masks[:-1], torch.ones_like(masks[-1])], image1, image2)


bug = Exercise(
    label="ex-fusion-bug",
    oracle=_blended,
    cases=_pictures,
    hint="For which levels does the equation that blends level by level hold, and with which mask?",
    mistakes=(
        Mistake(
            lambda image1, image2, mask, levels: _with_masks(
                _skipped(mask, levels), image1, image2
            ),
            "The smaller masks still have hard edges: every other pixel is kept, and nothing is"
            " smoothed before.",
        ),
        Mistake(
            lambda image1, image2, mask, levels: torch.where(mask > 0, image1, image2),
            "This is the cut: it has one seam, and that one is hard.",
        ),
        Mistake(
            lambda image1, image2, mask, levels: _blended(image2, image1, mask, levels),
            "The pictures are swapped: the mask is 1 where the first one counts.",
        ),
        Mistake(
            lambda image1, image2, mask, levels: _with_masks(
                [level.round() for level in fusion.gaussian_pyramid(mask, levels)], image1, image2
            ),
            "The masks are smoothed, but then rounded to 0 and 1 again.",
        ),
        Mistake(
            lambda image1, image2, mask, levels: _with_masks(
                fusion.laplacian_pyramid(mask, levels), image1, image2
            ),
            "A mask is a share from 0 to 1 at every size: which of the two pyramids holds shares?",
        ),
        Mistake(
            _last_of_first,
            "This is still the listing's result: which of the levels holds the broad colours?",
        ),
        Mistake(
            lambda image1, image2, mask, levels: _blended(image1, image2, mask, levels - 1),
            "One level is missing: `levels` counts the small picture that is left too.",
        ),
    ),
)


# --- derive Poisson blending along a row ----------------------------------------------------------


def _row(source: Tensor, first: float, last: float) -> Tensor:
    """The source, raised by the straight line between what is missing at the two ends."""
    rise = torch.linspace(0, 1, source.shape[-1], dtype=source.dtype)
    start, end = first - source[..., :1], last - source[..., -1:]
    return source + start + rise * (end - start)


def _rows(generator: torch.Generator) -> Iterator[Case]:
    yield torch.tensor([0.0, 2.0, 2.0], dtype=torch.float64), 1.0, 5.0
    for length in (3, 4, 5, 6, 9):
        ends = halves(generator, 2)
        source = halves(generator, length)
        source[0] = ends[0] + 2 + draw(generator, 0, 2)  # neither end fits
        source[-1] = ends[1] - 1 - draw(generator, 0, 2)
        source[1] = source[0] + 1.5
        yield source, float(ends[0]), float(ends[1])


def _straight(source: Tensor, first: float, last: float) -> Tensor:
    return torch.linspace(first, last, len(source), dtype=source.dtype)


def _ends_only(source: Tensor, first: float, last: float) -> Tensor:
    row = source.clone()
    row[0], row[-1] = first, last
    return row


def _unspread(source: Tensor, first: float, last: float) -> Tensor:
    row = source + (first - source[0])
    row[-1] = last
    return row


row = Exercise(
    label="ex-fusion-row",
    oracle=_row,
    cases=_rows,
    hint="The steps of the row and those of the source differ; how must the difference be spread"
    " so that its squares add up to least?",
    mistakes=(
        Mistake(
            _straight,
            "The ends are right, but the steps of the source are forgotten: this is a hole filled"
            " in.",
        ),
        Mistake(
            _ends_only,
            "Only the ends were replaced: next to them there are two hard steps.",
        ),
        Mistake(
            _unspread,
            "The steps are those of the source, up to the last one, which bears the whole misfit:"
            " spread it.",
        ),
        Mistake(
            lambda source, first, last: source + (first - source[0]),
            "The first end fits, the last one does not.",
        ),
        Mistake(
            lambda source, first, last: source + (first - source[0] + last - source[-1]) / 2,
            "A constant cannot mend both ends: what is missing at the two differs.",
        ),
        Mistake(
            lambda source, first, last: source + _straight(source, first, last),
            "The straight line runs between the wrong heights: it must end in what the source"
            " misses there, not in the wanted values.",
        ),
        Mistake(
            lambda source, first, last: (
                first + (source - source[0]) * (last - first) / (source[-1] - source[0])
            ),
            "The steps of the source were stretched; they should stay as they are, but for an equal"
            " share of the misfit.",
        ),
        Mistake(
            lambda source, first, last: (
                source
                + (first - source[0])
                + torch.arange(len(source), dtype=source.dtype)
                / len(source)
                * ((last - source[-1]) - (first - source[0]))
            ),
            "Nearly: count the steps between the pixels, not the pixels.",
        ),
    ),
)


# --- fill in the exposure between two photographs -------------------------------------------------


def _gain(light1: Tensor, light2: Tensor, mask: Tensor) -> Tensor:
    both = light1[:, mask], light2[:, mask]
    return (both[0] * both[1]).sum(1) / (both[0] ** 2).sum(1)


def _overlaps(generator: torch.Generator) -> Iterator[Case]:
    for height, width in ((2, 3), (3, 4), (4, 3), (3, 5), (5, 4)):
        shape = (3, height, width)
        light1 = (1 + torch.randint(0, 8, shape, generator=generator)).double() / 8
        light2 = (1 + torch.randint(0, 8, shape, generator=generator)).double() / 8
        mask = torch.rand(height, width, generator=generator) < 0.5
        mask[0, :2], mask[1, 0] = True, False
        light1[:, 0, 0], light1[:, 0, 1], light1[:, 1, 0] = 0.25, 1, 0.125
        light2[:, 0, 0], light2[:, 0, 1] = 1, torch.tensor([0.25, 0.5, 1.0]).double()
        light2[:, 1, 0] = 1  # outside the overlap, and far from its ratio
        yield light1, light2, mask


gain = Exercise(
    label="ex-fusion-gain",
    oracle=_gain,
    cases=_overlaps,
    hint="Write down the sum of squares for one channel, and set its slope with respect to the"
    " gain to zero.",
    mistakes=(
        Mistake(
            lambda light1, light2, mask: light2[:, mask].mean(1) / light1[:, mask].mean(1),
            "This is the ratio of the means; the least squares weigh bright pixels more.",
        ),
        Mistake(
            lambda light1, light2, mask: (light2[:, mask] / light1[:, mask]).mean(1),
            "This is the mean of the ratios, in which a dark pixel counts as much as a bright one.",
        ),
        Mistake(
            lambda light1, light2, mask: _gain(light2, light1, mask),
            "The two are swapped: the first is multiplied, the second is to be met.",
        ),
        Mistake(
            lambda light1, light2, mask: (light1 * light2).sum((1, 2)) / (light1**2).sum((1, 2)),
            "Every pixel counts here; only in the overlap do both show the same thing.",
        ),
        Mistake(
            lambda light1, light2, mask: _gain(light1, light2, ~mask),
            "The mask is turned round: it is true where the two overlap.",
        ),
        Mistake(
            lambda light1, light2, mask: (
                (light1 * light2)[:, mask].sum() / (light1**2)[:, mask].sum()
            ),
            "One gain for all channels; each channel is to have its own.",
        ),
        Mistake(
            lambda light1, light2, mask: (light1 * light2)[:, mask].sum(1) / light1[:, mask].sum(1),
            "Look at the units: with both pictures twice as bright, the gain should stay the same.",
        ),
        Mistake(
            lambda light1, light2, mask: (light2[:, mask] - light1[:, mask]).mean(1),
            "This is to be added; a gain is multiplied.",
        ),
        Mistake(
            lambda light1, light2, mask: _gain(light1, light2, mask)[:, None, None],
            "The factors are right; as a tensor of shape (3,) they are asked for.",
        ),
    ),
)


# --- predict a burst ------------------------------------------------------------------------------

burst = Exercise(
    label="ex-fusion-burst",
    oracle=(25, 10 * math.log10(16), 9),
    hint="Which factor does the standard deviation shrink by? Its square is the number of frames.",
    mistakes=(
        Mistake(
            (5, ANY, ANY),
            "With five frames the noise shrinks by the square root of five only.",
        ),
        Mistake(
            (25, 10 * math.log10(4), ANY),
            "The first is right. PSNR has the mean of the squares in it, not its root.",
        ),
        Mistake(
            (25, 20 * math.log10(16), ANY),
            "The first is right. Sixteen frames divide the mean of the squares by sixteen, not by"
            " its square.",
        ),
        Mistake(
            (25, 10 * math.log(16), ANY),
            "The first is right. Decibels are counted with the logarithm of base 10.",
        ),
        Mistake(
            (25, 10 * math.log10(16), 6),
            "The first two are right. In the third, the noise falls with the root of the frames.",
        ),
        Mistake(
            (25, 10 * math.log10(16), 2.25),
            "The first two are right. The third is the factor by which there must be more frames.",
        ),
        Mistake(
            (25, 10 * math.log10(16), 4 * 4 / 9),
            "The first two are right. In the third, less noise takes more frames.",
        ),
        Mistake(
            (25, 10 * math.log10(16), ANY),
            "The first two are right. In the third, compare n frames with four.",
        ),
        Mistake(
            (25, 12, ANY),
            "The first is right. The second nearly: give two digits after the point.",
        ),
        Mistake(
            (25, ANY, ANY),
            "The first is right. For the second, see what happens to the mean squared error.",
        ),
    ),
    tolerance=1e-3,
)


# --- extend attention to many pictures ------------------------------------------------------------


def _fused(features: Tensor, scores: Tensor) -> Tensor:
    return (torch.softmax(scores, 0) * features).sum(0)


def _maps(generator: torch.Generator) -> Iterator[Case]:
    for count, channels, height, width in (
        (1, 2, 2, 3),
        (2, 3, 2, 4),
        (3, 2, 3, 4),
        (4, 3, 2, 5),
        (5, 2, 4, 3),
    ):
        features = halves(generator, count, channels, height, width)
        scores = halves(generator, count, 1, height, width)
        scores[0, 0, 0, 0] += 1
        scores[:, 0, 0, 1] += 1000  # so that bare powers overflow
        yield features, scores


def _naive(features: Tensor, scores: Tensor) -> Tensor:
    return (scores.exp() * features).sum(0) / scores.exp().sum(0)


def _shifted_alike(features: Tensor, scores: Tensor) -> Tensor:
    return _naive(features, scores - scores.max())


def _winner(features: Tensor, scores: Tensor) -> Tensor:
    best = scores.argmax(0, keepdim=True).expand(1, *features.shape[1:])
    return features.gather(0, best)[0]


attention = Exercise(
    label="ex-fusion-attention",
    oracle=_fused,
    cases=_maps,
    hint="At each place the shares of the pictures are positive and add up to one.",
    mistakes=(
        Mistake(
            _naive,
            "The formula is right, but a score of 1000 is too much for its powers: softmax knows"
            " how.",
        ),
        Mistake(
            _shifted_alike,
            "The formula is right, but elsewhere 1000 less is too little for the powers: take off"
            " the largest score at each place.",
        ),
        Mistake(
            lambda features, scores: features.mean(0),
            "Every picture counts alike here: the scores are not used.",
        ),
        Mistake(_winner, "The winner takes all; the shares should follow the scores smoothly."),
        Mistake(
            lambda features, scores: (torch.softmax(scores, 1) * features).sum(0),
            "Every share is 1 here, as after a softmax over an axis of length 1: over which axis do"
            " the pictures lie?",
        ),
        Mistake(
            lambda features, scores: (torch.sigmoid(scores) * features).sum(0),
            "These shares do not add up to one as soon as there are other pictures beside.",
        ),
        Mistake(
            lambda features, scores: (torch.softmax(scores, 0) * features).mean(0),
            "The shares add up to one already; the mean divides once more.",
        ),
        Mistake(
            lambda features, scores: torch.softmax(scores, 0) * features,
            "These are the weighted features of each picture; their sum is asked for.",
        ),
        Mistake(
            lambda features, scores: (
                torch.softmax(scores.flatten(1), 1).view_as(scores) * features
            ).sum(0),
            "The shares should add up to one at each place, over the pictures, and not over the"
            " places.",
        ),
        Mistake(
            lambda features, scores: (scores * features).sum(0),
            "Scores are not shares yet: some are negative, and their sum is not one.",
        ),
    ),
)
