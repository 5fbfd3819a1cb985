"""The equations of the chapter `rcnn`."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from course_lib import rcnn as topic
from course_lib import softmax as soft
from course_lib.formulas.entry import Formula, Sense, Symbols, normal, number


def _boxes(
    generator: torch.Generator, device: torch.device, count: int, reach: float = 60
) -> Tensor:
    """Boxes in a picture of 100 by 100 pixels, many of which overlap."""
    corners = reach * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    sides = 5 + 35 * torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return torch.cat((corners, corners + sides), 1).to(device)


# --- where to look --------------------------------------------------------------------------------


def _windows(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The smallest and the largest coordinate that each column of `unfold` sees."""
    from torch.nn import functional as F

    for _ in range(10):
        size = number(generator, 6, 14), number(generator, 6, 14)
        window = number(generator, 1, 6), number(generator, 1, 6)
        stride = number(generator, 1, 4), number(generator, 1, 4)
        y, x = torch.meshgrid(
            *(torch.arange(n, dtype=torch.float64, device=device) for n in size), indexing="ij"
        )
        seen = [F.unfold(axis[None, None], window, stride=stride)[0] for axis in (x, y)]
        ends = [axis.amin(0) for axis in seen] + [axis.amax(0) + 1 for axis in seen]
        ours = topic.sliding_windows(size, window, stride, device=device)
        yield ours, torch.stack(ends, 1)


def _similarity(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """The same merging with scipy's filter, NumPy's histograms and sets of pixels."""
    import numpy as np
    from scipy import ndimage

    def histogram(channels: list[np.ndarray], mask: np.ndarray, bins: int) -> np.ndarray:
        counts = [np.histogram(c[mask], bins, (0, 1))[0] for c in channels]
        return np.concatenate(counts) / (len(channels) * mask.sum())

    def box(mask: np.ndarray) -> list[int]:
        rows, columns = ndimage.find_objects(mask.astype(int))[0]
        return [columns.start, rows.start, columns.stop, rows.stop]

    for _ in range(5):
        size = number(generator, 9, 14), number(generator, 9, 14)
        image = torch.rand(3, *size, generator=generator, dtype=torch.float64)
        pieces = number(generator, 4, 8)
        cells = [torch.arange(n) * 3 // n for n in size]
        regions = torch.minimum(3 * cells[0][:, None] + cells[1], torch.tensor(pieces))
        colours = list(image.numpy())
        smooth = [ndimage.gaussian_filter(np.pad(c, 4, "edge"), 1, radius=3) for c in colours]
        slopes = []
        for angle in np.arange(8) * np.pi / 4:
            for channel in smooth:
                down, across = np.gradient(channel)
                slope = (np.cos(angle) * across + np.sin(angle) * down)[4:-4, 4:-4]
                slopes.append((slope / 0.25).clip(0, 1))

        living = [regions.numpy() == n for n in range(int(regions.max()) + 1)]
        boxes = [box(mask) for mask in living]
        while len(living) > 1:
            found = {}
            for i, one in enumerate(living):
                for j, other in enumerate(living[i + 1 :], i + 1):
                    if not (ndimage.binary_dilation(one) & other).any():
                        continue
                    parts = [
                        np.minimum(*(histogram(channels, m, bins) for m in (one, other))).sum()
                        for channels, bins in ((colours, 25), (slopes, 10))
                    ]
                    x1, y1, x2, y2 = box(one | other)
                    both, whole = one.sum() + other.sum(), one.size
                    parts.append(1 - both / whole)
                    parts.append(1 - ((x2 - x1) * (y2 - y1) - both) / whole)
                    found[i, j] = sum(parts)
            i, j = max(found, key=lambda pair: found[pair])
            living[i] = living[i] | living.pop(j)
            boxes.append(box(living[i]))
        ours = topic.selective_search(image.to(device), regions.to(device))
        yield ours, torch.tensor(boxes, dtype=torch.float64)


def _recall(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision import ops

    for _ in range(10):
        images = number(generator, 1, 4)
        proposals = [_boxes(generator, device, number(generator, 1, 12)) for _ in range(images)]
        targets = [_boxes(generator, device, number(generator, 1, 5)) for _ in range(images)]
        threshold = number(generator, 1, 8) / 10
        best = [ops.box_iou(*pair).amax(0) for pair in zip(proposals, targets, strict=True)]
        wanted = (torch.cat(best) >= threshold).double().mean()
        yield topic.proposal_recall(proposals, targets, threshold), wanted


# --- what is cut out ------------------------------------------------------------------------------


def _maps(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, tuple[int, int], float]]:
    """Feature maps, regions with the index of their image, bins, and cells for each pixel."""
    for _ in range(10):
        features = normal(generator, device, 2, 3, number(generator, 6, 12), 10)
        index = torch.randint(0, 2, (5, 1), generator=generator).to(device)
        regions = torch.cat((index.double(), _boxes(generator, device, 5)), 1)
        bins = number(generator, 1, 5), number(generator, 1, 5)
        yield features, regions, bins, 1 / number(generator, 6, 14)


def _pool(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision import ops

    for case in _maps(generator, device):
        yield topic.roi_pool(*case), ops.roi_pool(*case)


def _align(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision import ops

    for case in _maps(generator, device):
        for options in ((2, True), (-1, True), (3, False)):
            yield topic.roi_align(*case, *options), ops.roi_align(*case, *options)


def _bilinear(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """A region of one bin and one point, against scipy's interpolation of degree one."""
    from scipy.ndimage import map_coordinates

    for _ in range(10):
        height, width = number(generator, 4, 9), number(generator, 4, 9)
        features = normal(generator, device, 1, 1, height, width)
        limits = torch.tensor([width - 1.0, height - 1.0], dtype=torch.float64)
        points = limits * torch.rand(20, 2, generator=generator, dtype=torch.float64)  # (x, y)
        middles = (points + 0.5).to(device)  # a cell's middle lies half a cell into it
        regions = torch.cat((torch.zeros_like(middles[:, :1]), middles - 0.25, middles + 0.25), 1)
        ours = topic.roi_align(features, regions, 1, 1.0, 1, True)[:, 0, 0, 0]
        theirs = map_coordinates(features[0, 0].cpu().numpy(), points.flip(1).T.numpy(), order=1)
        yield ours, torch.from_numpy(theirs)


# --- anchors --------------------------------------------------------------------------------------


def _anchors(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Centre, height over width, and area of each anchor."""
    from torchvision import ops

    for _ in range(10):
        size = number(generator, 1, 5), number(generator, 1, 5)
        stride = number(generator, 2, 16)
        scales = tuple(float(number(generator, 8, 64)) for _ in range(number(generator, 1, 3)))
        ratios = tuple(4.0 ** number(generator, -1, 1) for _ in range(number(generator, 1, 3)))
        anchors = topic.anchor_grid(size, stride, scales, ratios, device=device).double()
        x, y, w, h = ops.box_convert(anchors, "xyxy", "cxcywh").unbind(1)
        ours = torch.stack((x, y, h / w, w * h), 1)
        wanted = [
            ((column + 0.5) * stride, (row + 0.5) * stride, ratio, scale**2)
            for row in range(size[0])
            for column in range(size[1])
            for ratio in ratios
            for scale in scales
        ]
        yield ours, torch.tensor(wanted, dtype=torch.float64)


def _assign(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision import ops
    from torchvision.models.detection._utils import Matcher

    for _ in range(20):
        anchors = _boxes(generator, device, 60)
        boxes = _boxes(generator, device, number(generator, 1, 6))
        high = number(generator, 4, 8) / 10
        matcher = Matcher(high, high / 2, allow_low_quality_matches=True)
        yield (
            topic.match_anchors(anchors, boxes, high, high / 2),
            matcher(ops.box_iou(boxes, anchors)),
        )


def _defaults(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Centres and sides in parts of the image, against torchvision's generator."""
    from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
    from torchvision.models.detection.image_list import ImageList

    for _ in range(10):
        sizes = [(number(generator, 2, 6), number(generator, 2, 6)) for _ in range(2)]
        scales = [number(generator, 1, 6) / 16 + n / 4 for n in range(3)]
        ratios = [[2], [2, 3]]
        side = 64
        theirs = DefaultBoxGenerator(ratios, scales=scales)(
            ImageList(torch.zeros(1, 3, side, side), [(side, side)]),
            [torch.zeros(1, 1, *size) for size in sizes],
        )[0]
        yield topic.default_boxes(sizes, side, scales, ratios, device=device), theirs


# --- losses ---------------------------------------------------------------------------------------


def _class(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(10):
        logits = 5 * normal(generator, device, number(generator, 1, 8), number(generator, 2, 11))
        yield soft.softmax(logits, 1), torch.softmax(logits, 1)


def _smooth(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    from torch.nn import functional as F

    for _ in range(10):
        one, other = normal(generator, device, 2, 5, 4)
        beta = number(generator, 1, 20) / 10
        ours = topic.smooth_l1_loss(one, other, "none", beta)
        yield ours, F.smooth_l1_loss(one, other, reduction="none", beta=beta)


def _region_loss(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    from torchvision.models.detection.roi_heads import fastrcnn_loss

    for _ in range(10):
        regions, classes = number(generator, 2, 9), number(generator, 2, 6)
        logits = normal(generator, device, regions, classes)
        deltas = normal(generator, device, regions, classes, 4)
        labels = torch.randint(0, classes, (regions,), generator=generator).to(device)
        targets = normal(generator, device, regions, 4)
        theirs = fastrcnn_loss(logits, deltas.flatten(1), [labels], [targets])
        ours = topic.region_loss(logits, deltas, labels, targets)
        yield ours[0] + ours[1], theirs[0] + theirs[1]


def _rpn_loss(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The chosen anchors alone, through PyTorch's losses."""
    from torch.nn import functional as F

    for _ in range(10):
        logits, deltas, targets = (
            normal(generator, device, 2, 20, *tail) for tail in ((), (4,), (4,))
        )
        kind = torch.randint(0, 3, (2, 20), generator=generator).to(device)
        positive, negative = kind == 1, kind == 2
        chosen = positive | negative
        objects = F.binary_cross_entropy_with_logits(logits[chosen], positive[chosen].double())
        places = F.smooth_l1_loss(deltas[positive], targets[positive], reduction="sum", beta=1 / 9)
        ours = topic.rpn_loss(logits, deltas, targets, positive, negative)
        yield ours[0] + ours[1], objects + places / chosen.sum()


def _multibox(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Image by image, with the losses of the background sorted as a list."""
    from torch.nn import functional as F

    for _ in range(10):
        images, count, classes = 2, number(generator, 20, 40), number(generator, 3, 6)
        logits = normal(generator, device, images, count, classes)
        deltas, targets = (normal(generator, device, images, count, 4) for _ in range(2))
        labels = torch.randint(1, classes, (images, count), generator=generator)
        labels[torch.rand(images, count, generator=generator) < 0.85] = 0
        labels[:, 0] = 1
        labels = labels.to(device)
        total, positives = 0.0, int((labels > 0).sum())
        for n in range(images):
            each = F.cross_entropy(logits[n], labels[n], reduction="none")
            thing = labels[n] > 0
            hardest = sorted(each[~thing].tolist(), reverse=True)[: 3 * int(thing.sum())]
            place = F.smooth_l1_loss(deltas[n][thing], targets[n][thing], reduction="sum")
            total += float(each[thing].sum()) + sum(hardest) + float(place)
        ours = topic.multibox_loss(logits, deltas, labels, targets)
        yield ours[0] + ours[1], torch.tensor(total / positives, dtype=torch.float64)


FORMULAS: tuple[Formula, ...] = (
    Formula(
        "rcnn-class",
        "The probability of a class, given a region",
        "course_lib.softmax.softmax",
        "torch.softmax",
        _class,
    ),
    Formula(
        "rcnn-smooth",
        "A loss for a difference: a parabola that goes on as a straight line",
        "course_lib.rcnn.smooth_l1_loss",
        "torch.nn.functional.smooth_l1_loss",
        _smooth,
    ),
    Formula(
        "rcnn-region-loss",
        "What a region's class and box cost",
        "course_lib.rcnn.region_loss",
        "torchvision's fastrcnn_loss",
        _region_loss,
    ),
    Formula(
        "rcnn-windows",
        "Every place of a window in an image",
        "course_lib.rcnn.sliding_windows",
        "the coordinates that torch.nn.functional.unfold sees",
        _windows,
    ),
    Formula(
        "rcnn-recall",
        "The share of the objects that some proposal covers",
        "course_lib.rcnn.proposal_recall",
        "torchvision.ops.box_iou and a count",
        _recall,
    ),
    Formula(
        "rcnn-similarity",
        "How alike two regions are, in colour, texture, size and fit",
        "course_lib.rcnn.selective_search",
        "sets of pixels, NumPy's histograms and scipy's Gaussian filter",
        _similarity,
    ),
    Formula(
        "rcnn-pool",
        "The largest value of each bin of whole cells",
        "course_lib.rcnn.roi_pool",
        "torchvision.ops.roi_pool",
        _pool,
    ),
    Formula(
        "rcnn-bilinear",
        "The value of a map between its cells",
        "course_lib.rcnn.roi_align",
        "scipy.ndimage.map_coordinates, of order 1",
        _bilinear,
    ),
    Formula(
        "rcnn-align",
        "The mean over the points of each bin",
        "course_lib.rcnn.roi_align",
        "torchvision.ops.roi_align",
        _align,
    ),
    Formula(
        "rcnn-anchors",
        "A box of a given area and shape around a cell",
        "course_lib.rcnn.anchor_grid",
        "centre, shape and area, measured by torchvision.ops.box_convert",
        _anchors,
    ),
    Formula(
        "rcnn-match",
        "Which object an anchor stands for",
        "course_lib.rcnn.match_anchors",
        "torchvision's Matcher",
        _assign,
    ),
    Formula(
        "rcnn-rpn-loss",
        "What the proposals cost: is something there, and where",
        "course_lib.rcnn.rpn_loss",
        "PyTorch's losses over the chosen anchors",
        _rpn_loss,
    ),
    Formula(
        "rcnn-default-boxes",
        "The sides of SSD's boxes on each map",
        "course_lib.rcnn.default_boxes",
        "torchvision's DefaultBoxGenerator",
        _defaults,
    ),
    Formula(
        "rcnn-multibox",
        "What SSD's boxes cost: objects, and the hardest of the background",
        "course_lib.rcnn.multibox_loss",
        "PyTorch's losses over sorted lists",
        _multibox,
    ),
)

SYMBOLS: Symbols = {
    "A_k": "the ratios of the default boxes on map $k$",
    r"\mathrm{align}": "what alignment gives for a bin",
    "a": (
        Sense("a region", "Four things make two regions $a$ and $b$ alike", ("rcnn-similarity",)),
        Sense(
            "row of a point in its bin",
            "points, evenly spread, in rows $a$ and columns $b$",
            ("rcnn-align",),
        ),
        Sense(
            "how many times wider than high a default box is",
            "its set of ratios $a$ (width over height this time)",
            ("rcnn-default-boxes",),
        ),
    ),
    "a_n": "an anchor",
    "B_{ab}": "the box around two regions",
    "B_m": "the true boxes of picture $m$",
    r"\beta": "where the smooth loss becomes a straight line",
    "b": (
        Sense(
            "a box",
            "with the boxes $b_g$",
            ("rcnn-windows", "rcnn-recall", "rcnn-match"),
        ),
        Sense("a region", "Four things make two regions $a$ and $b$ alike", ("rcnn-similarity",)),
        Sense(
            "column of a point in its bin",
            "points, evenly spread, in rows $a$ and columns $b$",
            ("rcnn-align",),
        ),
    ),
    "C": "how many classes there are",
    "c": (
        Sense("which class", "For each class $c$", ("rcnn-class",)),
        Sense(
            "the share of a region's pixels in a bin of colours",
            "Let $c^a_k$ be the share of region $a$",
            ("rcnn-similarity",),
        ),
    ),
    "d": "a difference between two numbers",
    "d_n": "a default box",
    "e": "the number 2.718…, the base of the natural logarithm",
    "F": "one channel of a feature map",
    "f": "the value of a feature map at any point",
    "G": "how many things there are to find",
    "g": "the object that an anchor overlaps most",
    r"\mathcal{H}": "the hard boxes of the background",
    "H": "how many rows a picture has",
    "W": "how many columns a picture has",
    "h": "height of a window, a region or a box",
    "w": "width of a window, a region or a box",
    "I": "a picture, with the area $|I|$",
    r"\mathrm{IoU}": "intersection over union",
    "i": "row of a cell or a place, or what a sum counts",
    "j": "column of a cell or a place, or what a sum counts",
    "k": "which class, bin of a histogram, or feature map",
    "L": "the loss",
    r"\ell": "the scale of an anchor, the root of its area",
    "m": "which picture",
    "m_n": "what an anchor stands for: an object, the background, or nothing",
    "N": "how many regions there are",
    "n": "which region, anchor or default box",
    "P": (
        Sense(
            "a probability",
            "the probability $P$ of each class",
            ("rcnn-class", "rcnn-region-loss", "rcnn-multibox"),
        ),
        Sense(
            "how many bins a region has along an axis",
            "here $P$ is a number of bins and no probability",
            ("rcnn-pool", "rcnn-align"),
        ),
    ),
    r"\mathcal{P}": "the default boxes that are matched with an object",
    "p": "row of a bin",
    "p_n": "how probable it is that an anchor shows something",
    "p^*_n": "1 for an anchor that stands for an object, else 0",
    r"\mathrm{pool}": "what pooling gives for a bin",
    "q": (
        Sense(
            "the share of a region's slopes in a bin of directions",
            "$q^a_k$ the same for slopes in eight directions",
            ("rcnn-similarity",),
        ),
        Sense(
            "column of a bin",
            "The bin in row $p$ and column $q$",
            ("rcnn-pool", "rcnn-align"),
        ),
    ),
    "R": "the regions proposed for a picture",
    r"\mathrm{recall}": "the share of what is there that is found",
    "r": "a region",
    r"\rho": "how many times higher than wide an anchor is",
    "S": "how many points a bin has along an axis",
    r"\mathcal{S}": "the sample of anchors that is learned from",
    "s": (
        Sense(
            "stride: pixels from one window or cell to the next",
            "moves by $s$ pixels at a time",
            ("rcnn-windows", "rcnn-anchors"),
        ),
        Sense(
            "how alike two regions are",
            "their similarity $s(a, b)$",
            ("rcnn-similarity",),
        ),
    ),
    r"s_\beta": "the smooth $L_1$ loss of a difference",
    "s_1": "the smooth $L_1$ loss of a difference, with $\\beta = 1$",
    "s_k": "the scale of the default boxes on map $k$, in sides of the picture",
    r"\sigma": "the scale of a feature map, cells per pixel",
    r"\tau": "a threshold",
    r"\tau_+": "the IoU from which on an anchor stands for an object",
    r"\tau_-": "the IoU below which an anchor stands for background",
    "t": "how the network would change a box",
    "u": "the true class of a region, 0 for background",
    "v": "the change of a region's box that leads to the thing's box",
    "X_1": "the left side of a box on the map, rounded to cells",
    "Y_1": "the upper side of a box on the map, rounded to cells",
    "x": "a place on a feature map, counted to the right in cells",
    "y": "a place on a feature map, counted down in cells",
    "y_1": "the upper side of a box",
    "y_2": "the lower side of a box",
    "z": "scores",
}
"""What the symbols of the chapter mean; see `Symbols`."""
