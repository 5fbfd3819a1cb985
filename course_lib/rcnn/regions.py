"""What a feature map says about each region: every box becomes a small grid of one size.

A region is given in pixels of the image; times ``spatial_scale`` it lies on the feature map.
`roi_pool` rounds it to whole cells, divides it into bins and takes the largest value of each.
`roi_align` rounds nothing: it reads the map between its cells and takes the mean of each bin.

Equations: (rcnn-pool), (rcnn-align), (rcnn-bilinear).

Sources:
    Girshick, "Fast R-CNN", 2015, section 2.1: pooling.
    He et al., "Mask R-CNN", 2017, section 3: alignment.
    Bender and Farach-Colton, "The LCA problem revisited", 2000: maxima of ranges from a table.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from course_lib.boxes.geometry import tile_size
from course_lib.checking import (
    describe,
    expect_alike,
    expect_int,
    expect_number,
    expect_pair,
    expect_shape,
    expect_tensor,
)

Size = int | tuple[int, int]
Boxes = Tensor | Sequence[Tensor]
Matrix = tuple[Tensor, Tensor, Tensor]


# --- pooling ------------------------------------------------------------------------------------


def roi_pool_loops(
    input: Tensor, boxes: Boxes, output_size: Size, spatial_scale: float = 1.0
) -> Tensor:
    """Take the maximum bin by bin, equation (rcnn-pool) word by word: the oracle of the tests.

    Arguments, result and errors are those of `roi_pool`.
    """
    rois, (rows, columns) = _expect_regions(input, boxes, output_size, spatial_scale)
    result = input.new_zeros(len(rois), input.shape[1], rows, columns)
    for k, roi in enumerate(rois):
        x1, y1, x2, y2 = (_round(side * spatial_scale) for side in roi[1:])
        height, width = (y2 - y1 + 1).clamp(min=1), (x2 - x1 + 1).clamp(min=1)
        for p in range(rows):
            for q in range(columns):
                vertical = _part(y1, height / rows, p, input.shape[2])
                horizontal = _part(x1, width / columns, q, input.shape[3])
                values = input[int(roi[0]), :, vertical, horizontal].flatten(1)
                if values.shape[1] > 0:
                    first = values.detach().argmax(1, keepdim=True)
                    result[k, :, p, q] = values.gather(1, first)[:, 0]
    return result


def _part(start: Tensor, step: Tensor, n: int, size: int) -> slice:
    """Cells of the n-th of equal parts, as far as they lie on the map."""
    first, last = start + torch.floor(n * step), start + torch.ceil((n + 1) * step)
    return slice(int(first.clamp(0, size)), int(last.clamp(0, size)))


def roi_pool(input: Tensor, boxes: Boxes, output_size: Size, spatial_scale: float = 1.0) -> Tensor:
    """Largest value of each bin of each region; equation (rcnn-pool).

    Twin of `torchvision.ops.roi_pool`. Of equal maxima the first gets the gradient. A bin outside
    the map is 0. A NaN in a bin gives NaN, where the twin leaves it out.

    Args:
        input: feature maps, ``Tensor[N, C, H, W]``, floating.
        boxes: ``Tensor[K, 5]``, in each row the index of the image, then ``(x1, y1, x2, y2)`` in
            pixels of the image; or for each image a ``Tensor[L, 4]``. Same dtype and device.
        output_size: bins ``(vertical, horizontal)``, or one number for both.
        spatial_scale: cells of the map for each pixel of the image, 1/16 for example.
    Returns:
        ``Tensor[K, C, *output_size]``, the regions one after another.
    Raises:
        TypeError: if a dtype is not floating, or two differ.
        ValueError: if a shape, a device or a size is wrong.
    """
    rois, (rows, columns) = _expect_regions(input, boxes, output_size, spatial_scale)
    corners = _round(rois[:, 1:] * spatial_scale)  # (K, 4)
    bins = _Bins(
        rois[:, 0].long(),
        *_ranges(corners[:, 1], corners[:, 3], rows, input.shape[2]),
        *_ranges(corners[:, 0], corners[:, 2], columns, input.shape[3]),
    )
    features = input.permute(0, 2, 3, 1).contiguous()  # (N, H, W, C)
    if input.requires_grad and torch.is_grad_enabled():
        pooled: Tensor = _LargestOfKeys.apply(features, bins)  # type: ignore[no-untyped-call]
    else:
        pooled = input.new_zeros(*bins.shape(), input.shape[1])
        for some, maxima in _range_maxima(features, bins):
            pooled.flatten(0, 1).index_copy_(0, some, maxima)
    return pooled.unflatten(1, (rows, columns)).permute(0, 3, 1, 2)


class _LargestOfKeys(torch.autograd.Function):
    """The maxima, from keys that tell which cell they come from: that one gets the gradient."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, bins: _Bins) -> Tensor:
        pooled = features.new_empty(*bins.shape(), features.shape[3])
        place = torch.empty_like(pooled, dtype=torch.int32)  # half as much to move as int64
        values, places = pooled.flatten(0, 1), place.flatten(0, 1)
        empty = bins.filled().logical_not().nonzero()[:, 0]
        values.index_fill_(0, empty, 0)
        places.index_fill_(0, empty, features.numel())  # the place of nothing
        for some, keys in _range_maxima(_keys(features), bins):
            places.index_copy_(0, some, keys.int())  # the lower half
            values.index_copy_(0, some, _values(keys, features))
        ctx.save_for_backward(place)
        ctx.shape = features.shape
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        total = gradient.new_zeros(ctx.shape.numel() + 1)
        # A part at a time: its copy, with the channels last, stays in the cache.
        tile = max(1, tile_size(place.device) // max(1, place[:1].numel()))
        for places, some in zip(place.split(tile), gradient.split(tile), strict=True):
            total.scatter_add_(0, places.flatten().long(), some.flatten())
        return total[:-1].flip(0).view(ctx.shape), None


class _Bins(NamedTuple):
    """The cells that each bin covers: from ``top`` to ``bottom``, without the last, and so on."""

    image: Tensor
    """``Tensor[K]``"""
    top: Tensor
    """``Tensor[K, rows]``"""
    bottom: Tensor
    left: Tensor
    """``Tensor[K, columns]``"""
    right: Tensor

    def shape(self) -> tuple[int, int]:
        """How many regions, and how many bins each has."""
        return len(self.image), self.top.shape[1] * self.left.shape[1]

    def filled(self) -> Tensor:
        """Which bins hold a cell; ``Tensor[K * rows * columns]``, bool."""
        vertical, horizontal = self.bottom > self.top, self.right > self.left
        return (vertical[:, :, None] & horizontal[:, None]).flatten()


def _ranges(first: Tensor, last: Tensor, parts: int, size: int) -> tuple[Tensor, Tensor]:
    """Cells of equal parts of ``first`` to ``last``, both included, as far as on the map."""
    step = ((last - first + 1).clamp(min=1) / parts)[:, None]
    n = torch.arange(parts, device=first.device, dtype=first.dtype)
    starts, ends = torch.floor(n * step), torch.ceil((n + 1) * step)
    return tuple((first[:, None] + at).clamp(0, size).long() for at in (starts, ends))  # type: ignore[return-value]


def _keys(features: Tensor) -> Tensor:
    """Number the values so that the larger has the larger number, and of equal ones the first.

    Returns:
        ``Tensor[N, H, W, C]``, int64: the value's rank in the upper half; in the lower half its
        place, counted back from the last one, 0, which decides between equal values.
    """
    if features.dtype == torch.float64:
        rank = features.unique(return_inverse=True)[1]
    else:  # the bits of a float are in order as they stand, but for the negative ones
        clean = features.float().where(~features.isnan(), torch.nan) + 0  # one NaN, and no -0
        rank = _turn_negative(clean.view(torch.int32)).long()
    place = torch.arange(features.numel() - 1, -1, -1, device=features.device)
    return rank.bitwise_left_shift_(32).add_(place.view(features.shape))


def _values(keys: Tensor, features: Tensor) -> Tensor:
    """The values that keys stand for; a rank of 32 bits is the value itself."""
    if features.dtype == torch.float64:
        return features.take(features.numel() - 1 - (keys & (2**32 - 1)))
    rank = (keys >> 32).int()
    return _turn_negative(rank).view(torch.float32).to(features.dtype)


def _turn_negative(bits: Tensor) -> Tensor:
    """Turn over all bits of negative numbers but the sign; twice is as before."""
    return (bits >> 31).bitwise_and_(2**31 - 1).bitwise_xor_(bits)


def _range_maxima(values: Tensor, bins: _Bins) -> Iterator[tuple[Tensor, Tensor]]:
    """Maximum over the cells of each bin, some bins at a time; those without cells are left out.

    Two windows of ``2**n`` cells that may overlap cover any range from ``2**n`` to ``2**(n + 1)``
    cells, and so four cover a bin. The maxima of all windows of one size come from those of half
    the size, and serve all bins of that size.

    Args:
        values: ``Tensor[N, H, W, C]``.
    Yields:
        the bins' numbers, ``Tensor[B]``, and their maxima, ``Tensor[B, C]``, which the next ones
        overwrite.
    """
    (height, width, channels), (count, rows) = values.shape[1:], bins.top.shape
    tall = _levels(bins.bottom - bins.top, height)[:, :, None]  # (K, rows, 1)
    wide = _levels(bins.right - bins.left, width)[:, None]  # (K, 1, columns)
    lows, rights = bins.bottom[:, :, None] - 2**tall, bins.right[:, None] - 2**wide
    starts = (bins.image[:, None, None], bins.top[:, :, None], bins.left[:, None])
    shape = (count, rows, bins.left.shape[1])
    place = torch.stack(
        [part.expand(shape).flatten() for part in (*starts, lows, rights)]
    )  # (5, bins)

    levels = width.bit_length()
    kind = (tall * levels + wide).flatten().where(bins.filled(), -1)  # (bins,)
    ordered, order = kind.sort(stable=True)
    kinds = torch.arange(height.bit_length() * levels + 1, device=kind.device)
    ends = torch.searchsorted(ordered, kinds).tolist()

    tile = max(1, tile_size(values.device) // max(1, channels))
    spare = values.new_empty(2, min(tile, len(order)), channels)
    for high in range(height.bit_length()):
        if high > 0:
            values = _double(values, 1, high)
        table = values
        for broad in range(levels):
            first, last = ends[high * levels + broad :][:2]
            if first == len(order):  # no bin is left
                return
            if broad > 0:
                table = _double(table, 2, broad)
            image, top, left, low, right = place[:, order[first:last]]
            windows = [  # of one cell there is no second beside it
                (image * table.shape[1] + y) * table.shape[2] + x
                for y in ((top, low) if high > 0 else (top,))
                for x in ((left, right) if broad > 0 else (left,))
            ]
            flat = table.flatten(0, 2)
            parts = (cells.split(tile) for cells in (order[first:last], *windows))
            for some, cell, *others in zip(*parts, strict=True):
                maxima, more = spare[:, : len(some)]
                torch.index_select(flat, 0, cell, out=maxima)
                for cell in others:
                    torch.index_select(flat, 0, cell, out=more)
                    torch.maximum(maxima, more, out=maxima)
                yield some, maxima


def _double(maxima: Tensor, axis: int, level: int) -> Tensor:
    """Maxima of windows of ``2**level`` cells along an axis from those of half the length."""
    half = 2 ** (level - 1)
    length = maxima.shape[axis] - half
    return torch.maximum(maxima.narrow(axis, 0, length), maxima.narrow(axis, half, length))


def _levels(extent: Tensor, size: int) -> Tensor:
    """The largest n with ``2**n`` not above the extent; 0 for an extent of 0."""
    powers = 2 ** torch.arange(1, max(1, size.bit_length()), device=extent.device)
    return (extent[..., None] >= powers).sum(-1)


# --- alignment ----------------------------------------------------------------------------------


def roi_align_loops(
    input: Tensor,
    boxes: Boxes,
    output_size: Size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Read the map point by point, equation (rcnn-align) word by word: the oracle of the tests.

    Arguments, result and errors are those of `roi_align`.
    """
    rois, (rows, columns) = _expect_regions(input, boxes, output_size, spatial_scale)
    expect_int("sampling_ratio", sampling_ratio, minimum=-1)
    result = input.new_zeros(len(rois), input.shape[1], rows, columns)
    for k, roi in enumerate(rois):
        x1, y1, x2, y2 = roi[1:] * spatial_scale - (0.5 if aligned else 0.0)
        height, width = y2 - y1, x2 - x1
        if not aligned:
            height, width = height.clamp(min=1), width.clamp(min=1)
        tall = sampling_ratio if sampling_ratio > 0 else int(torch.ceil(height / rows))
        wide = sampling_ratio if sampling_ratio > 0 else int(torch.ceil(width / columns))
        for p in range(rows):
            for q in range(columns):
                for i in range(tall):
                    for j in range(wide):
                        y = y1 + p * (height / rows) + (i + 0.5) * (height / rows) / tall
                        x = x1 + q * (width / columns) + (j + 0.5) * (width / columns) / wide
                        value = _bilinear(input[int(roi[0])], y, x)
                        result[k, :, p, q] += value / (tall * wide)
    return result


def _bilinear(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Read an image ``Tensor[C, H, W]`` between its cells; equation (rcnn-bilinear)."""
    height, width = image.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return image.new_zeros(len(image))
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = y - top, x - left
    above = (1 - across) * image[:, top, left] + across * image[:, top, right]
    below = (1 - across) * image[:, bottom, left] + across * image[:, bottom, right]
    return (1 - down) * above + down * below


def roi_align(
    input: Tensor,
    boxes: Boxes,
    output_size: Size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """Mean of each bin of each region, read between the cells; equation (rcnn-align).

    Twin of `torchvision.ops.roi_align`. Boxes get no gradient, and there is no second derivative.

    A bin is a weighted sum of cells. So all bins of all regions are one product of a matrix that
    is almost empty with the matrix of all cells, and their gradient is one with its transpose.

    Args:
        input: feature maps, ``Tensor[N, C, H, W]``, floating.
        boxes: ``Tensor[K, 5]``, in each row the index of the image, then ``(x1, y1, x2, y2)`` in
            pixels of the image; or for each image a ``Tensor[L, 4]``. Same dtype and device.
        output_size: bins ``(vertical, horizontal)``, or one number for both.
        spatial_scale: cells of the map for each pixel of the image, 1/16 for example.
        sampling_ratio: points along each side of a bin; 0 or -1 takes one for each cell, rounded
            up, and on CUDA waits for the device to know how many.
        aligned: whether the value of a cell stands for its centre, half a cell from its corner.
            Without it, as in the first versions, regions are read half a cell too far down and
            right, and sides below one cell count as one.
    Returns:
        ``Tensor[K, C, *output_size]``, the regions one after another.
    Raises:
        TypeError: if a dtype is not floating, or two differ.
        ValueError: if a shape, a device or a size is wrong.
    """
    rois, (rows, columns) = _expect_regions(input, boxes, output_size, spatial_scale)
    expect_int("sampling_ratio", sampling_ratio, minimum=-1)
    precise = torch.promote_types(input.dtype, torch.float32)
    x1, y1, x2, y2 = (rois[:, 1:].to(precise) * spatial_scale - (0.5 if aligned else 0.0)).unbind(1)
    vertical = _axis(y1, y2, rows, input.shape[2], sampling_ratio, aligned)
    horizontal = _axis(x1, x2, columns, input.shape[3], sampling_ratio, aligned)
    image = rois[:, 0].int() * input.shape[2]
    combine = _products if sampling_ratio > 0 else _ragged_products
    features = input.permute(0, 2, 3, 1).flatten(0, 2).to(precise)  # (N H W, C)
    means = _weighted_sums(features, *combine(image, vertical, horizontal, input.shape[3]))
    return means.to(input.dtype).unflatten(0, (-1, rows, columns)).permute(0, 3, 1, 2)


class _Axis(NamedTuple):
    """The cells that each bin reads along one axis, and their weights."""

    cells: Tensor
    """``Tensor[K, bins, taps]``, int32, in which a sparse product counts"""
    weights: Tensor
    """``Tensor[K, bins, taps]``; 0 where there is nothing to read"""
    taps: Tensor
    """``Tensor[K]``, int32: how many of them count in a region"""


def _axis(
    low: Tensor, high: Tensor, bins: int, size: int, sampling_ratio: int, aligned: bool
) -> _Axis:
    length = high - low if aligned else (high - low).clamp(min=1)
    step = (length / bins)[:, None, None]  # (K, 1, 1)
    if sampling_ratio > 0:
        points, most = torch.full_like(step, sampling_ratio), sampling_ratio
    else:
        points = torch.ceil(step).clamp(min=0)
        most = max(1, int(points.amax())) if len(points) else 1
    n, bin_ = (torch.arange(end, device=low.device).to(low) for end in (most, bins))
    points_or_one = points.clamp(min=1)
    at = low[:, None, None] + bin_[:, None] * step + (n + 0.5) * step / points_or_one
    weight = ((at >= -1) & (at <= size) & (n < points)) / points_or_one  # (K, bins, most)
    at = at.clamp(0, size - 1)
    first = at.long()
    cells = torch.cat((first, (first + 1).clamp(max=size - 1)), 2)
    weights = torch.cat((weight * (1 - (at - first)), weight * (at - first)), 2)
    if sampling_ratio > 0:
        return _Axis(cells.int(), weights, 2 * points[:, 0, 0].int())
    # The points are at most a cell apart, so that n of them read n + 1 neighbours.
    start, window = first[:, :, :1], torch.arange(most + 1, device=low.device)
    neighbours = weights.new_zeros(len(low), bins, most + 1)
    neighbours.scatter_add_(2, (cells - start).clamp(0, most), weights)
    cells = (start + window).clamp(max=size - 1)
    return _Axis(cells.int(), neighbours, points[:, 0, 0].int() + 1)


def _products(image: Tensor, vertical: _Axis, horizontal: _Axis, width: int) -> Matrix:
    """The weights of all cells in all bins, as a matrix, where all bins read equally many.

    Args:
        image: ``Tensor[K]``: the row of all rows of all images where the region's image begins.
    Returns:
        for each row of the matrix where its entries begin, and the end of the last, ``Tensor[R +
        1]``; for each entry its column, and its value.
    """
    rows = (image[:, None, None] + vertical.cells) * width
    cells = rows[:, :, None, :, None] + horizontal.cells[:, None, :, None]
    weights = vertical.weights[:, :, None, :, None] * horizontal.weights[:, None, :, None]
    taps = cells.shape[3] * cells.shape[4]
    starts = torch.arange(0, cells.numel() + 1, taps, device=cells.device, dtype=cells.dtype)
    return starts, cells.flatten(), weights.flatten()


def _ragged_products(image: Tensor, vertical: _Axis, horizontal: _Axis, width: int) -> Matrix:
    """`_products` where the bins of each region read as many cells as it needs."""
    (count, rows, tall), (columns, wide) = vertical.cells.shape, horizontal.cells.shape[1:]
    region = torch.arange(count, device=image.device, dtype=torch.int32)
    region = region.repeat_interleave(rows * columns)  # (R,)
    taps = (vertical.taps * horizontal.taps).index_select(0, region)
    starts = torch.cat((taps.new_zeros(1), taps.cumsum(0, dtype=torch.int32)))
    # What the cells share that a bin reads of one row of the map is looked up once, for that line.
    bin_, nth = _runs(vertical.taps.index_select(0, region))  # (lines,)
    region = region.index_select(0, bin_)
    row = bin_ // columns * tall + nth
    above = image.index_select(0, region) + vertical.cells.flatten().index_select(0, row)
    heights = vertical.weights.flatten().index_select(0, row)
    before = (region * columns + bin_ % columns) * wide
    line, nth = _runs(horizontal.taps.index_select(0, region))  # (entries,)
    column = before.index_select(0, line) + nth
    cells = horizontal.cells.flatten().index_select(0, column)
    cells += (above * width).index_select(0, line)
    weights = horizontal.weights.flatten().index_select(0, column)
    return starts, cells, weights.mul_(heights.index_select(0, line))


def _runs(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat the number of each run as often as it counts; and which of its run each entry is."""
    run = torch.arange(len(counts), device=counts.device, dtype=torch.int32)
    run = run.repeat_interleave(counts)
    nth = torch.arange(len(run), device=counts.device, dtype=torch.int32)
    first = counts.cumsum(0, dtype=torch.int32) - counts
    return run, nth - first.index_select(0, run)


def _weighted_sums(features: Tensor, starts: Tensor, cells: Tensor, weights: Tensor) -> Tensor:
    """Multiply a sparse matrix with the features ``Tensor[cells, C]``; ``Tensor[R, C]``."""
    if features.device.type == "cpu" and not torch.compiler.is_compiling():
        return _SparseProduct.apply(features, starts, cells, weights)  # type: ignore[no-untyped-call]
    return F.embedding_bag(
        cells, features, starts, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


class _SparseProduct(torch.autograd.Function):
    """The fastest on a CPU, by far: its gradient is a product with the transposed matrix."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(
        ctx: Any, features: Tensor, starts: Tensor, cells: Tensor, weights: Tensor
    ) -> Tensor:
        shape = (len(starts) - 1, len(features))
        with warnings.catch_warnings():  # that the layout is in beta state
            warnings.simplefilter("ignore", UserWarning)
            ctx.matrix = torch.sparse_csr_tensor(
                starts, cells, weights, shape, check_invariants=False
            )
        return _product(ctx.matrix, features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _product(ctx.matrix.t().to_sparse_csr(), gradient.contiguous()), None, None, None


def _product(matrix: Tensor, dense: Tensor) -> Tensor:
    # In place, with nothing to add to: matrix @ dense would first fill the result with zeros.
    return dense.new_empty(matrix.shape[0], dense.shape[1]).addmm_(matrix, dense, beta=0)


# --- helpers ------------------------------------------------------------------------------------


def _round(values: Tensor) -> Tensor:
    """Round halves away from 0, as C++ does, and not to the even number, as torch does."""
    whole = values.trunc()
    return whole + values.sign() * ((values - whole).abs() >= 0.5)


def _expect_regions(
    input: Tensor, boxes: Boxes, output_size: Size, spatial_scale: float
) -> tuple[Tensor, tuple[int, int]]:
    """Return the boxes as ``Tensor[K, 5]``, and how many bins they have."""
    expect_tensor("input", input, ndim=4, floating=True)
    if isinstance(boxes, Tensor):
        expect_tensor("boxes", boxes, ndim=2)
        expect_shape("boxes", boxes, (None, 5))
        rois = boxes
    else:
        rois = _joined(input, boxes)
    expect_alike(input=input, boxes=rois)
    expect_number("spatial_scale", spatial_scale, minimum=0)
    here = rois.device.type == "cpu" and not torch.compiler.is_compiling()
    # Another device would have to be waited for.
    if here and not ((rois[:, 0] >= 0) & (rois[:, 0] < len(input))).all():
        raise ValueError(
            f"boxes: expected the index of one of {len(input)} images in the first column,"
            f" got {rois[:, 0].tolist()}"
        )
    return rois.detach().nan_to_num(0, 0, 0), expect_pair("output_size", output_size, minimum=1)


def _joined(input: Tensor, boxes: Sequence[Tensor]) -> Tensor:
    if not isinstance(boxes, Sequence) or isinstance(boxes, str):
        raise TypeError(f"boxes: expected a tensor, or one for each image, got {describe(boxes)}")
    if len(boxes) != len(input):
        raise ValueError(
            f"boxes: expected one tensor for each of {len(input)} images, got {len(boxes)}"
        )
    for n, some in enumerate(boxes):
        expect_tensor(f"boxes[{n}]", some, ndim=2)
        expect_shape(f"boxes[{n}]", some, (None, 4))
        expect_alike(input=input, **{f"boxes[{n}]": some})
    rows = [torch.cat((some.new_full((len(some), 1), n), some), 1) for n, some in enumerate(boxes)]
    return torch.cat(rows) if rows else input.new_zeros(0, 5)
