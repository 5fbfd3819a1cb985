"""Where a detector looks: windows everywhere, or regions that belong together.

Equations: (rcnn-windows), (rcnn-similarity), (rcnn-recall).

Sources:
    Uijlings et al., "Selective search for object recognition", 2013: the merging.
    Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation", 2004: what it
        usually starts from.
    Hosang et al., "What makes for effective detection proposals?", 2016: the recall of proposals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.boxes import box_iou
from course_lib.checking import (
    expect_alike,
    expect_int,
    expect_number,
    expect_pair,
    expect_shape,
    expect_tensor,
)
from course_lib.convolution import gaussian_kernel, separable_conv2d

COLOUR_BINS = 25
TEXTURE_BINS = 10
DIRECTIONS = 8
STEEPEST = 0.25
"""A slope, in grey levels a pixel, that falls into the last bin, as all steeper ones do."""


# --- windows ------------------------------------------------------------------------------------


def sliding_windows(
    image_size: int | tuple[int, int],
    window: int | tuple[int, int],
    stride: int | tuple[int, int],
    *,
    device: torch.device | str | None = None,
) -> Tensor:
    """List every place of a window that lies inside the image; equation (rcnn-windows).

    Args:
        image_size: ``(height, width)`` in pixels; one integer stands for both.
        window: ``(height, width)`` in pixels.
        stride: pixels from one place to the next, ``(vertical, horizontal)``.
        device: where the boxes live.
    Returns:
        ``Tensor[N, 4]``, float32, ``(x1, y1, x2, y2)`` in pixels, row by row; none if the window
        is larger than the image.
    Raises:
        TypeError, ValueError: if a size or a stride is no integer above 0.
    """
    height, width = expect_pair("image_size", image_size, minimum=1)
    h, w = expect_pair("window", window, minimum=1)
    sy, sx = expect_pair("stride", stride, minimum=1)
    y = torch.arange(0, max(height - h + 1, 0), sy, device=device)
    x = torch.arange(0, max(width - w + 1, 0), sx, device=device)
    top, left = torch.meshgrid(y, x, indexing="ij")  # (rows, columns)
    corners = torch.stack((left, top, left + w, top + h), -1)
    return corners.reshape(-1, 4).float()


# --- regions that belong together ---------------------------------------------------------------


def selective_search_loops(image: Tensor, regions: Tensor) -> Tensor:
    """Merge regions kept as sets of pixels, every number computed anew: the oracle of the tests.

    Arguments, result and errors are those of `selective_search`.
    """
    colours, textures = _enter(image, regions)
    height, width = regions.shape
    pixels = height * width
    living = [regions == n for n in range(_count(regions))]
    boxes = [_box_of(mask) for mask in living]
    while len(living) > 1:
        best, pair = -math.inf, (0, 0)
        for i in range(len(living)):
            for j in range(i + 1, len(living)):
                if not _touch(living[i], living[j]):
                    continue
                both = living[i] | living[j]
                x1, y1, x2, y2 = _box_of(both)
                similarity = 2 - (x2 - x1) * (y2 - y1) / pixels
                for bins in (colours, textures):
                    one, other = (_histogram(bins, mask) for mask in (living[i], living[j]))
                    similarity += float(torch.minimum(one, other).sum())
                if similarity > best:
                    best, pair = similarity, (i, j)
        i, j = pair
        living[i] = living[i] | living.pop(j)
        boxes.append(_box_of(living[i]))
    return image.new_tensor(boxes)


def selective_search(image: Tensor, regions: Tensor) -> Tensor:
    """Merge the two most similar neighbours until one region is left; equation (rcnn-similarity).

    Each region that ever lived proposes its box: of ``R`` regions come ``2 R - 1`` boxes, some of
    them alike. Two regions are similar if they have the same colours and textures, are small, and
    fill the box around both. Of equal similarities the first pair is taken.

    Args:
        image: ``Tensor[C, H, W]``, floating, in [0, 1].
        regions: ``Tensor[H, W]``, int64: the region of each pixel, numbered from 0, each number in
            use; what `skimage.segmentation.felzenszwalb` returns.
    Returns:
        ``Tensor[2 R - 1, 4]``, ``(x1, y1, x2, y2)`` in pixels, of the image's dtype: the boxes of
        the regions given, then of the merged ones, the last of which is the whole image.
    Raises:
        TypeError: if ``image`` is not floating or ``regions`` not int64.
        ValueError: if the sizes differ, or numbers are missing.
    """
    colours, textures = _enter(image, regions)
    height, width = regions.shape
    count = _count(regions)
    kinds = ((colours, COLOUR_BINS), (textures, TEXTURE_BINS))
    histograms = torch.cat([_histograms(*kind, regions, image.dtype) for kind in kinds], 1)
    ones = image.new_ones(regions.numel())
    size = image.new_zeros(count).index_add_(0, regions.flatten(), ones)  # (R,)
    box = _boxes_of(regions, count, image.dtype)  # (R, 4)
    near = _neighbours(regions, count)  # (R, R), also of a region with itself
    similarity = torch.stack(
        [_similarities(n, histograms, box, height * width) for n in range(count)]
    )
    similarity = similarity.masked_fill(~near.triu(1), -math.inf)  # each pair once, i < j
    boxes = [box.clone()]
    number = torch.arange(count, device=image.device)
    for _ in range(count - 1):
        # Nothing here waits for a number: the pair stays on the device, as two indices.
        pair = similarity.argmax()
        ij = torch.stack((pair // count, pair % count))  # i < j
        i, j = ij[:1], ij[1:]
        share = size[ij] / size[ij].sum()
        histograms[i] = (share[:, None] * histograms[ij]).sum(0, keepdim=True)
        size[i] = size[ij].sum()
        box[i] = torch.cat((box[ij, :2].amin(0), box[ij, 2:].amax(0)))[None]
        boxes.append(box[i])
        near[i] = near[i] | near[j]
        near[:, i] = near[i].T
        near[j], near[:, j] = False, False  # j lives on in i
        new = _similarities(i, histograms, box, height * width)
        new = new.masked_fill(~near[i][0], -math.inf)
        similarity[j], similarity[:, j] = -math.inf, -math.inf
        similarity[i] = new.masked_fill(number <= i, -math.inf)[None]
        similarity[:, i] = new.masked_fill(number >= i, -math.inf)[:, None]
    return torch.cat(boxes)


def _similarities(n: int | Tensor, histograms: Tensor, box: Tensor, pixels: int) -> Tensor:
    """How similar region ``n`` is to each; the sizes in its two last terms cancel out."""
    x1, y1 = torch.minimum(box[n, :2], box[:, :2]).unbind(-1)
    x2, y2 = torch.maximum(box[n, 2:], box[:, 2:]).unbind(-1)
    common = torch.minimum(histograms[n], histograms).sum(1)
    return common + 2 - (x2 - x1) * (y2 - y1) / pixels


# --- what regions are compared by ---------------------------------------------------------------


def _enter(image: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Check the arguments; return the bin of each pixel's colours and slopes."""
    expect_tensor("image", image, ndim=3, floating=True)
    expect_tensor("regions", regions, ndim=2)
    expect_shape("regions", regions, image.shape[1:])
    if regions.dtype != torch.int64:
        raise TypeError(f"regions: expected int64, got {regions.dtype}")
    if regions.numel() == 0 or len(image) == 0:
        raise ValueError(f"image: expected at least one pixel, got shape {tuple(image.shape)}")
    if not bool((regions >= 0).all()) or (count := _count(regions)) > regions.numel():
        raise ValueError("regions: expected the numbers from 0 on, each in use")
    used = torch.zeros(count, dtype=torch.bool, device=regions.device)
    if not bool(used.index_fill_(0, regions.flatten(), True).all()):
        raise ValueError("regions: expected the numbers from 0 on, each in use")
    return _bins(image, COLOUR_BINS), _bins(_slopes(image), TEXTURE_BINS)


def _count(regions: Tensor) -> int:
    return int(regions.max()) + 1


def _slopes(image: Tensor) -> Tensor:
    """How steeply each channel rises in eight directions, in [0, 1]; ``(8 C, H, W)``."""
    profile = gaussian_kernel(1.0, dtype=image.dtype, device=image.device).sum(0)
    reach = len(profile) // 2 + 1
    framed = image[None]
    for axis in (2, 3):
        ends = framed.narrow(axis, 0, 1), framed.narrow(axis, framed.shape[axis] - 1, 1)
        framed = torch.cat([*[ends[0]] * reach, framed, *[ends[1]] * reach], axis)
    smooth = separable_conv2d(framed, profile, profile)[0]  # (C, H + 2, W + 2)
    across = (smooth[:, 1:-1, 2:] - smooth[:, 1:-1, :-2]) / 2
    down = (smooth[:, 2:, 1:-1] - smooth[:, :-2, 1:-1]) / 2
    angles = [2 * math.pi * n / DIRECTIONS for n in range(DIRECTIONS)]
    ways = [math.cos(angle) * across + math.sin(angle) * down for angle in angles]
    return (torch.cat(ways) / STEEPEST).clamp(0, 1)


def _bins(values: Tensor, bins: int) -> Tensor:
    """The bin of each number in [0, 1], those of one channel after those of another."""
    first = bins * torch.arange(len(values), device=values.device)[:, None, None]
    return (values * bins).long().clamp(0, bins - 1) + first  # (C, H, W)


def _histograms(bins: Tensor, each: int, regions: Tensor, dtype: torch.dtype) -> Tensor:
    """A histogram of each region, its entries adding up to 1; ``(R, C each)``."""
    count, width = _count(regions), len(bins) * each
    where = (bins + width * regions).flatten()
    sums = torch.zeros(count * width, dtype=dtype, device=bins.device)
    sums.index_add_(0, where, sums.new_ones(()).expand(len(where)))
    sums = sums.unflatten(0, (count, width))
    return sums / sums.sum(1, keepdim=True)


def _histogram(bins: Tensor, mask: Tensor) -> Tensor:
    """The same of one region given by its pixels, in float64."""
    inside = bins.permute(1, 2, 0)[mask].flatten()
    counts = torch.zeros(int(bins.max()) + 1, dtype=torch.float64, device=bins.device)
    counts.index_add_(0, inside, counts.new_ones(()).expand(len(inside)))
    return counts / counts.sum()


def _box_of(mask: Tensor) -> tuple[int, int, int, int]:
    rows, columns = (mask.any(axis).nonzero()[:, 0] for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _boxes_of(regions: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """The box around each region; ``(R, 4)``."""
    height, width = regions.shape
    y = torch.arange(height, device=regions.device)[:, None].expand(height, width)
    x = torch.arange(width, device=regions.device).expand(height, width)
    ends = torch.stack((-x, -y, x + 1, y + 1), -1).reshape(-1, 4)
    where = regions.reshape(-1, 1).expand(-1, 4)
    least = ends.new_full((count, 4), -height - width)
    furthest = least.scatter_reduce(0, where, ends, "amax")
    return (furthest * furthest.new_tensor([-1, -1, 1, 1])).to(dtype)


def _touch(one: Tensor, other: Tensor) -> bool:
    across = (one[:, 1:] & other[:, :-1]) | (one[:, :-1] & other[:, 1:])
    down = (one[1:] & other[:-1]) | (one[:-1] & other[1:])
    return bool(across.any() or down.any())


def _neighbours(regions: Tensor, count: int) -> Tensor:
    """Which regions share a side of a pixel; ``(R, R)``, bool."""
    near = torch.eye(count, dtype=torch.bool, device=regions.device).flatten()
    for one, other in ((regions[:, 1:], regions[:, :-1]), (regions[1:], regions[:-1])):
        for pair in (one * count + other, other * count + one):
            near.index_fill_(0, pair.flatten(), True)
    return near.unflatten(0, (count, count))


# --- how good proposals are ---------------------------------------------------------------------


def proposal_recall(
    proposals: Sequence[Tensor],
    targets: Sequence[Tensor],
    iou_threshold: float = 0.5,
    limit: int | None = None,
) -> Tensor:
    """Share of the objects that at least one proposal covers; equation (rcnn-recall).

    What no proposal covers, no classifier behind them can find.

    Args:
        proposals: for each image ``Tensor[L, 4]``, ``(x1, y1, x2, y2)``, best first.
        targets: for each image ``Tensor[G, 4]``, the true boxes, same dtype and device.
        iou_threshold: a box is covered by one that overlaps it with this IoU or more.
        limit: only the first so many proposals of an image count.
    Returns:
        ``Tensor[]`` in [0, 1]; NaN if there is no object at all.
    Raises:
        TypeError: if a dtype is not floating or two differ.
        ValueError: if the lists differ in length or are empty, or a shape is wrong.
    """
    expect_number("iou_threshold", iou_threshold, minimum=0, maximum=1)
    if limit is not None:
        expect_int("limit", limit, minimum=0)
    if len(proposals) != len(targets) or len(targets) == 0:
        raise ValueError(
            f"targets: expected one tensor for each of {len(proposals)} images, at least one,"
            f" got {len(targets)}"
        )
    covered = []
    for n, (found, true) in enumerate(zip(proposals, targets, strict=True)):
        for name, boxes in (("proposals", found), ("targets", true)):
            expect_tensor(f"{name}[{n}]", boxes, ndim=2, floating=True)
            expect_shape(f"{name}[{n}]", boxes, (None, 4))
        expect_alike(**{f"proposals[{n}]": found, f"targets[{n}]": true})
        overlap = box_iou(true, found[:limit])  # (G, L)
        covered.append((overlap >= iou_threshold).any(1))
    return torch.cat(covered).to(targets[0].dtype).mean()
