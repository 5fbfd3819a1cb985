"""The checks of the chapter `rcnn`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from course_lib import rcnn as topic
from course_lib.boxes import box_iou
from course_lib.exercises import Case, Exercise, Mistake, draw, halves

# --- predict what is cut out ----------------------------------------------------------------------

predict = Exercise(
    label="ex-rcnn-predict",
    oracle=(16, 48, 96, 112),
    hint="Divide the four numbers by 16 and round each to the nearest whole number: these are the"
    " first and the last cell. Which pixels do those cells cover?",
    mistakes=(
        Mistake(
            (16, 48, 80, 96),
            "The last cell counts in full: it ends where the next one begins.",
        ),
        Mistake(
            (16, 32, 96, 96),
            "Each side goes to the *nearest* whole cell, not always downwards or outwards.",
        ),
        Mistake(
            (16, 32, 96, 112),
            "Look at the upper side again: which whole number is nearest to 41 / 16?",
        ),
        Mistake(
            (32, 48, 96, 112),
            "Look at the left side again: which whole number is nearest to 20 / 16?",
        ),
        Mistake((1, 3, 5, 6), "These are the right cells; the question is for pixels."),
        Mistake((1, 3, 6, 7), "The right answer in cells; the question is for pixels."),
        Mistake((20, 41, 85, 90), "This is the box itself; RoI pooling takes whole cells."),
        Mistake((48, 16, 112, 96), "In a box x comes first: (x1, y1, x2, y2)."),
    ),
)


# --- a value between cells ------------------------------------------------------------------------


def _sample(features: Tensor, x: float, y: float) -> Tensor:
    left, top = math.floor(x), math.floor(y)
    u, v = x - left, y - top
    upper = (1 - u) * features[top, left] + u * features[top, left + 1]
    lower = (1 - u) * features[top + 1, left] + u * features[top + 1, left + 1]
    return (1 - v) * upper + v * lower


def _map(generator: torch.Generator, rows: int, columns: int) -> Tensor:
    """No two cells alike, so that none is taken for another."""
    values = torch.randperm(rows * columns, generator=generator).float() / 2
    return values.reshape(rows, columns)


def _between(generator: torch.Generator) -> Iterator[Case]:
    yield torch.tensor([[1.0, 2.0], [4.0, 8.0]]), 0.5, 0.25
    yield torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 0.0]]), 0.75, 0.0
    for _ in range(8):  # where x and y may change places and still lie on the map
        rows, columns = draw(generator, 3, 4), draw(generator, 5, 6)
        x, y = (draw(generator, 0, rows - 2) + draw(generator, 0, 3) / 4 for _ in range(2))
        yield _map(generator, rows, columns), x, y


def _mixed(features: Tensor, x: float, y: float, u: float, v: float) -> Tensor:
    left, top = math.floor(x), math.floor(y)
    upper = (1 - u) * features[top, left] + u * features[top, left + 1]
    lower = (1 - u) * features[top + 1, left] + u * features[top + 1, left + 1]
    return (1 - v) * upper + v * lower


def _four_alike(features: Tensor, x: float, y: float) -> Tensor:
    return _mixed(features, x, y, 0.5, 0.5)


def _share(value: float) -> float:
    return value - math.floor(value)


sample = Exercise(
    label="ex-rcnn-sample",
    oracle=_sample,
    cases=_between,
    hint="Take the smallest failing case: which four cells lie around the point, and what is the"
    " weight of each?",
    mistakes=(
        Mistake(
            lambda features, x, y: features[round(y), round(x)],
            "This is the nearest cell, which is what RoI pooling does: mix four of them.",
        ),
        Mistake(
            lambda features, x, y: features[math.floor(y), math.floor(x)],
            "This is the cell to the upper left alone; three others lie around the point too.",
        ),
        Mistake(
            lambda features, x, y: _sample(features.T, x, y),
            "The first index of a map is the row, which is y.",
        ),
        Mistake(
            lambda features, x, y: _mixed(features, x, y, 1 - _share(x), 1 - _share(y)),
            "The weights are turned round: a point near the left cell should weigh that one most.",
        ),
        Mistake(
            lambda features, x, y: _mixed(features, x, y, _share(y), _share(x)),
            "The two shares have changed places: that of x belongs to left and right.",
        ),
        Mistake(
            _four_alike,
            "The four cells count alike here; where between them does the point lie?",
        ),
        Mistake(
            lambda features, x, y: _mixed(features, x, y, _share(x), 0),
            "Mixed from left to right, but not yet from top to bottom.",
        ),
        Mistake(
            lambda features, x, y: _mixed(features, x, y, 0, _share(y)),
            "Mixed from top to bottom, but not yet from left to right.",
        ),
    ),
)


# --- align with one point a bin -------------------------------------------------------------------


def _aligned(
    features: Tensor,
    box: Tensor,
    bins: int,
    scale: float,
    shift: float = 0.5,
    within: float = 0.5,
    rounded: bool = False,
) -> Tensor:
    """One point in each bin; the last arguments are what people get wrong."""
    x1, y1, x2, y2 = (
        (round(value * scale) if rounded else value * scale) - shift for value in box.tolist()
    )
    across, down = (x2 - x1) / bins, (y2 - y1) / bins
    limit_x, limit_y = features.shape[1] - 1, features.shape[0] - 1
    framed = torch.nn.functional.pad(features[None], (0, 1, 0, 1), mode="replicate")[0]
    cells = [
        _sample(
            framed,
            min(max(x1 + (column + within) * across, 0), limit_x),
            min(max(y1 + (row + within) * down, 0), limit_y),
        )
        for row in range(bins)
        for column in range(bins)
    ]
    return torch.stack(cells).reshape(bins, bins)


def _align(features: Tensor, box: Tensor, bins: int, scale: float) -> Tensor:
    regions = torch.cat((box.new_zeros(1), box))[None]
    return topic.roi_align(
        features[None, None], regions, bins, scale, sampling_ratio=1, aligned=True
    )[0, 0]


def _regions(generator: torch.Generator) -> Iterator[Case]:
    """Boxes whose points lie between the middles of the cells, so that nothing is cut off."""
    yield _map(generator, 3, 4), torch.tensor([4.0, 4.0, 28.0, 20.0]), 2, 1 / 8
    for _ in range(8):
        stride = [4, 8][draw(generator, 0, 1)]
        rows, columns = draw(generator, 4, 5), draw(generator, 6, 7)
        x1, y1 = (draw(generator, stride // 2, stride) + 0.5 for _ in range(2))
        x2 = x1 + draw(generator, 3 * stride, (columns - 2) * stride)
        y2 = y1 + draw(generator, 2 * stride, (rows - 2) * stride)
        box = torch.tensor([x1, y1, x2, y2])
        yield _map(generator, rows, columns), box, draw(generator, 2, 3), 1 / stride


align = Exercise(
    label="ex-rcnn-align",
    oracle=_align,
    cases=_regions,
    tolerance=1e-4,  # in float32
    hint="Write down where the first point lies: the box in cells, the half cell off, then half a"
    " bin to the right and half a bin down.",
    mistakes=(
        Mistake(
            lambda features, box, bins, scale: _aligned(features, box, bins, scale, shift=0),
            "Everything lies half a cell too far to the lower right: value (0, 0) of the map"
            " belongs to the *middle* of its first cell.",
        ),
        Mistake(
            lambda features, box, bins, scale: _aligned(features, box, bins, scale, within=0),
            "These are the upper left corners of the bins; take their middles.",
        ),
        Mistake(
            lambda features, box, bins, scale: _aligned(features, box, bins, scale, rounded=True),
            "The box is rounded to whole cells here, which is what alignment is there to avoid.",
        ),
        Mistake(
            lambda features, box, bins, scale: _align(features, box, bins, scale).T,
            "Rows and columns of the result have changed places.",
        ),
        Mistake(
            lambda features, box, bins, scale: _align(features, box[[1, 0, 3, 2]], bins, scale),
            "The box is (x1, y1, x2, y2), and x runs along a row.",
        ),
        Mistake(
            lambda features, box, bins, scale: _aligned(features, box, bins, scale, shift=-0.5),
            "The half cell is taken off, not added.",
        ),
        Mistake(
            lambda features, box, bins, scale: _aligned(features, box, bins, 1.0),
            "The box is in pixels of the picture: carry it to cells of the map first.",
        ),
    ),
)


# --- one anchor -----------------------------------------------------------------------------------


def _anchor(row: int, column: int, stride: int, side: float, ratio: float) -> Tensor:
    (box,) = topic.anchor_grid((1, 1), stride, (side,), (ratio,))
    shift = torch.tensor([column, row, column, row]).double() * stride
    return box.double() + shift


def _anchors(generator: torch.Generator) -> Iterator[Case]:
    yield 0, 0, 8, 8.0, 1.0
    yield 1, 3, 8, 16.0, 4.0
    for _ in range(8):
        row, column = draw(generator, 0, 3), draw(generator, 4, 6)
        yield (
            row,
            column,
            [8, 16, 32][draw(generator, 0, 2)],
            8.0 * draw(generator, 1, 8),
            [0.25, 4.0, 9.0][draw(generator, 0, 2)],
        )


def _around(x: float, y: float, width: float, height: float) -> Tensor:
    return torch.tensor([x - width / 2, y - height / 2, x + width / 2, y + height / 2]).double()


def _placed(
    size: Callable[[float, float], tuple[float, float]], offset: float = 0.5
) -> Callable[[int, int, int, float, float], Tensor]:
    """An anchor whose size, or whose middle, may be wrong."""

    def anchor(row: int, column: int, stride: int, side: float, ratio: float) -> Tensor:
        return _around((column + offset) * stride, (row + offset) * stride, *size(side, ratio))

    return anchor


def _sides(side: float, ratio: float) -> tuple[float, float]:
    return side / math.sqrt(ratio), side * math.sqrt(ratio)


anchor = Exercise(
    label="ex-rcnn-anchor",
    oracle=_anchor,
    cases=_anchors,
    tolerance=1e-4,  # anchors are float32
    hint="Check three things on the smallest case: the middle of the box, height over width, and"
    " the area.",
    mistakes=(
        Mistake(
            _placed(lambda side, ratio: _sides(side, 1 / ratio)),
            "The ratio is height over width: with 4, the box is tall.",
        ),
        Mistake(
            _placed(lambda side, ratio: (side / ratio, side * ratio)),
            "The area is right, the shape is not: height over width is now the ratio squared.",
        ),
        Mistake(
            _placed(lambda side, ratio: (side, side * ratio)),
            "The shape is right, but the area has grown with the ratio.",
        ),
        Mistake(
            _placed(lambda side, ratio: (side / ratio, side)),
            "The shape is right, but the area has shrunk with the ratio.",
        ),
        Mistake(
            _placed(_sides, offset=0),
            "The box lies around the corner of the cell; it belongs around its middle.",
        ),
        Mistake(
            lambda row, column, stride, side, ratio: _placed(_sides)(
                column, row, stride, side, ratio
            ),
            "The column tells x, the row tells y.",
        ),
        Mistake(
            lambda row, column, stride, side, ratio: (
                _placed(_sides)(row, column, stride, side, ratio)
                + torch.tensor([1, 1, 1, 1])
                * torch.tensor([1.0, ratio, 1.0, ratio])
                * side
                / math.sqrt(ratio)
                / 2
            ),
            "The middle of the cell is the corner of your box, not its middle.",
        ),
        Mistake(
            lambda row, column, stride, side, ratio: torch.tensor(
                [(column + 0.5) * stride, (row + 0.5) * stride, *_sides(side, ratio)]
            ).double(),
            "This is centre, width and height; the question is for (x1, y1, x2, y2).",
        ),
    ),
)


# --- find the bug in the matching -----------------------------------------------------------------


def _matched(anchors: Tensor, boxes: Tensor, high: float, low: float) -> Tensor:
    return topic.match_anchors(anchors, boxes, high, low)


def _crowd(generator: torch.Generator) -> Iterator[Case]:
    """Anchors in a grid, of one size; some of the boxes are too small or too large for them."""
    grid = torch.tensor(
        [[x, y, x + 16, y + 16] for y in range(0, 40, 8) for x in range(0, 56, 8)]
    ).double()
    few = torch.tensor([[0, 0, 16, 16], [8, 0, 24, 16], [24, 0, 40, 16], [40, 0, 56, 16]]).double()
    # The first box is matched well; the second is small, and only its best anchor can have it.
    yield few, torch.tensor([[1, 0, 17, 16], [27, 3, 32, 9]]).double(), 0.7, 0.3
    # Both boxes like the same anchor best.
    yield few, torch.tensor([[24, 0, 40, 15], [26, 2, 38, 14]]).double(), 0.7, 0.3
    # The anchor that the small box claims stands for the other one, which claims all the same.
    crossed = torch.tensor([[18, 4, 24, 12], [3, 0, 19, 16]]).double()
    yield few, crossed, 0.7, 0.3
    yield few, crossed.flip(0), 0.7, 0.3
    # An overlap of exactly 1/2, and one of exactly 1/4, as thresholds.
    yield few, torch.tensor([[0, 0, 16, 8], [40, 0, 48, 8]]).double(), 0.5, 0.25
    for _ in range(6):
        count = draw(generator, 2, 4)
        corner = torch.randint(0, 30, (count, 2), generator=generator).double()
        sides = torch.randint(5, 24, (count, 2), generator=generator).double()
        yield grid, torch.cat((corner, corner + sides), 1), 0.7, 0.3


def _matches(anchors: Tensor, boxes: Tensor, high: float, low: float, claim: str = "own") -> Tensor:
    overlap = box_iou(boxes, anchors)  # (M, N)
    most, nearest = overlap.max(0)
    matches = nearest.clone()
    matches[most < high] = -2
    matches[most < low] = -1
    best = overlap.max(1).values[:, None]
    if claim == "own":
        claimed = (overlap == best).any(0)
        matches[claimed] = nearest[claimed]
    elif claim == "first":
        first = overlap.argmax(1)
        matches[first] = nearest[first]
    elif claim == "claimer":
        first = overlap.argmax(1)
        matches[first] = torch.arange(len(boxes))
    elif claim == "needy":
        for n in range(len(boxes)):
            if not (matches == n).any():
                own = overlap[n] == best[n]
                matches[own] = nearest[own]
    elif claim == "enough":
        claimed = ((overlap == best) & (overlap >= low)).any(0)
        matches[claimed] = nearest[claimed]
    return matches


def _needy(anchors: Tensor, boxes: Tensor, high: float, low: float) -> Tensor:
    return _matches(anchors, boxes, high, low, claim="needy")


def _backwards(
    match: Callable[..., Tensor], anchors: Tensor, boxes: Tensor, high: float, low: float
) -> Tensor:
    """What comes out if the objects are gone through from the last to the first."""
    matches = match(anchors, boxes.flip(0), high, low)
    return torch.where(matches >= 0, len(boxes) - 1 - matches, matches)


def _two_kinds(anchors: Tensor, boxes: Tensor, high: float, low: float) -> Tensor:
    matches = _matches(anchors, boxes, high, low)
    return matches.where(matches >= 0, -1)


def _turned(anchors: Tensor, boxes: Tensor, high: float, low: float) -> Tensor:
    matches = _matches(anchors, boxes, high, low)
    return torch.where(matches == -1, -2, torch.where(matches == -2, -1, matches))


matching = Exercise(
    label="ex-rcnn-match",
    oracle=_matched,
    cases=_crowd,
    hint="Print the table of overlaps for this case, and go through it column by column, then row"
    " by row: which objects are left without an anchor?",
    mistakes=(
        Mistake(
            lambda anchors, boxes, high, low: _matches(anchors, boxes, high, low, claim="none"),
            "An object that overlaps no anchor by enough is still left without one.",
        ),
        Mistake(
            lambda anchors, boxes, high, low: _matches(anchors, boxes, high, low, claim="enough"),
            "An object claims its best anchor however little they overlap.",
        ),
        Mistake(
            lambda anchors, boxes, high, low: _matches(anchors, boxes, high, low, claim="claimer"),
            "The claimed anchor is positive now, but it keeps the object that *it* overlaps most.",
        ),
        Mistake(
            lambda anchors, boxes, high, low: _matches(anchors, boxes, high, low, claim="first"),
            "If several anchors overlap an object equally well, it claims all of them.",
        ),
        Mistake(
            _needy,
            "Every object claims its best anchors, also one that has an anchor already.",
        ),
        Mistake(
            lambda anchors, boxes, high, low: _backwards(_needy, anchors, boxes, high, low),
            "Every object claims its best anchors: also here, from the last object to the first.",
        ),
        Mistake(_two_kinds, "Anchors between the two thresholds should be ignored: -2."),
        Mistake(_turned, "Background is -1 and ignored is -2; here they have changed places."),
        Mistake(
            lambda anchors, boxes, high, low: _matches(anchors, boxes, high, low) + 1,
            "Objects are counted from 0, and background is -1.",
        ),
    ),
)


# --- hard negatives -------------------------------------------------------------------------------


def _hard(losses: Tensor, positive: Tensor, ratio: int) -> Tensor:
    return _chosen(losses, ~positive, ratio * int(positive.sum()))


def _chosen(losses: Tensor, allowed: Tensor, count: int, descending: bool = True) -> Tensor:
    worst = -math.inf if descending else math.inf
    order = losses.masked_fill(~allowed, worst).argsort(descending=descending)
    mask = torch.zeros_like(allowed)
    mask[order[:count]] = True
    return mask & allowed


def _mined(generator: torch.Generator) -> Iterator[Case]:
    for count, positives, ratio in (
        (5, 1, 3), (6, 1, 2), (8, 2, 2), (9, 2, 3), (12, 3, 2), (12, 3, 3), (6, 2, 3), (5, 0, 3),
        (16, 4, 2),
    ):  # fmt: skip
        losses = (1 + torch.randperm(count, generator=generator).double()) / 4
        positive = torch.zeros(count, dtype=torch.bool)
        positive[torch.randperm(count, generator=generator)[:positives]] = True
        if positives:  # the largest loss of all is a positive's
            first = positive.nonzero()[0, 0]
            top = losses.argmax()
            losses[[int(first), int(top)]] = losses[[int(top), int(first)]]
        yield losses, positive, ratio


hard = Exercise(
    label="ex-rcnn-hard",
    oracle=_hard,
    cases=_mined,
    hint="Count first: how many positives, so how many negatives? Then sort the losses of the"
    " negatives alone.",
    mistakes=(
        Mistake(
            lambda losses, positive, ratio: _chosen(
                losses, torch.ones_like(positive), ratio * int(positive.sum())
            ),
            "Positives compete for the places here, and some are chosen; choose among negatives.",
        ),
        Mistake(
            lambda losses, positive, ratio: (
                _chosen(losses, torch.ones_like(positive), ratio * int(positive.sum())) & ~positive
            ),
            "Positives took some of the places before they were removed: too few are left.",
        ),
        Mistake(
            lambda losses, positive, ratio: _chosen(
                losses, ~positive, ratio * int(positive.sum()), descending=False
            ),
            "These are the easiest negatives, those with the smallest losses.",
        ),
        Mistake(
            lambda losses, positive, ratio: _chosen(losses, ~positive, ratio),
            "The ratio is the number of negatives for *each* positive.",
        ),
        Mistake(
            lambda losses, positive, ratio: _chosen(losses, ~positive, int(positive.sum())),
            "As many negatives as positives: where is the ratio?",
        ),
        Mistake(
            lambda losses, positive, ratio: _hard(losses, positive, ratio) | positive,
            "The right negatives, and the positives with them; only negatives are asked for.",
        ),
        Mistake(
            lambda losses, positive, ratio: _chosen(losses, ~positive, len(losses)),
            "These are all negatives; choose the hardest.",
        ),
        Mistake(
            lambda losses, positive, ratio: _hard(losses, ~positive, ratio),
            "The mask is turned round: `positive` is true for the objects.",
        ),
    ),
)


# --- read a head's answer -------------------------------------------------------------------------

Answer = tuple[Tensor, Tensor]


def _read(logits: Tensor) -> Answer:
    scores, labels = logits.softmax(1)[:, 1:].max(1)
    return scores, labels


def _logits(generator: torch.Generator) -> Iterator[Case]:
    yield (torch.tensor([[2.0, 1.0, 0.0]]).double(),)
    yield (torch.tensor([[0.0, 2.0, 1.0], [3.0, -1.0, 1.0]]).double(),)
    for _ in range(8):
        regions, classes = draw(generator, 1, 4), draw(generator, 3, 5)
        logits = halves(generator, regions, classes)
        logits += torch.randperm(classes, generator=generator) / 16  # no two alike
        logits[0, 0] = logits[0].max() + 1  # a region that is mostly background
        yield (logits,)


read = Exercise(
    label="ex-rcnn-read",
    oracle=_read,
    cases=_logits,
    hint="Do the first row by hand: probabilities of all classes first, then the best among those"
    " that are objects, then its number as the data counts.",
    mistakes=(
        Mistake(
            lambda logits: (_read(logits)[0], _read(logits)[1] + 1),
            "The scores are right. The first column is the background, so the labels are one off.",
        ),
        Mistake(
            lambda logits: tuple(logits.softmax(1).max(1)),
            "Background may win here, and it is not an object.",
        ),
        Mistake(
            lambda logits: (logits.softmax(1).max(1).values, logits.softmax(1).argmax(1) - 1),
            "Background may win here, with a label of -1.",
        ),
        Mistake(
            lambda logits: tuple(logits[:, 1:].softmax(1).max(1)),
            "The background is left out of the sum below the fraction too: then every region is"
            " some object for sure.",
        ),
        Mistake(
            lambda logits: tuple(logits.softmax(1).softmax(1)[:, 1:].max(1)),
            "There are two softmaxes: the second makes all classes nearly equal.",
        ),
        Mistake(
            lambda logits: tuple(logits[:, 1:].max(1)),
            "The labels are right. These are scores before softmax, not probabilities.",
        ),
        Mistake(
            lambda logits: tuple(logits.softmax(0)[:, 1:].max(1)),
            "Each region's probabilities add up to one: look at the axis of softmax.",
        ),
        Mistake(
            lambda logits: tuple(logits.sigmoid()[:, 1:].max(1)),
            "A sigmoid judges each class alone; here the classes share one probability.",
        ),
        Mistake(
            lambda logits: tuple(logits.softmax(1)[:, :-1].max(1)),
            "The background is the first column here, not the last.",
        ),
        Mistake(
            lambda logits: (_read(logits)[1], _read(logits)[0]),
            "Scores first, labels second.",
        ),
    ),
)
