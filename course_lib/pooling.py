"""How a network makes its pictures smaller, and what that keeps, loses and costs.

Equations of the chapter `pooling`, by label: pooling-max, pooling-average, pooling-size,
pooling-grad-max, pooling-grad-average, pooling-adaptive, pooling-lp, pooling-unpool,
pooling-subsample, pooling-equivariance, pooling-binomial, pooling-blur, pooling-response.

Sources:
    LeCun et al., "Gradient-based learning applied to document recognition", 1998: averages.
    Riesenhuber and Poggio, "Hierarchical models of object recognition in cortex", 1999: maxima.
    Zeiler, Taylor and Fergus, "Adaptive deconvolutional networks ...", 2011: unpooling.
    Zhang, "Making convolutional networks shift-invariant again", 2019: the blur pool.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.checking import expect_int, expect_pair, expect_shape, expect_tensor
from course_lib.convolution import conv_output_size, sliding_windows

Pair = int | tuple[int, int]


# --- how many windows ---------------------------------------------------------------------------


def pool_output_size(
    size: int,
    kernel_size: int,
    stride: int | None = None,
    padding: int = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Count the windows along one axis; equation (pooling-size).

    Args:
        size: pixels along this axis, before padding.
        kernel_size: taps along this axis.
        stride: pixels from one window to the next; ``None`` means ``kernel_size``.
        padding: pixels added at *each* end, at most half of ``kernel_size``.
        dilation: pixels from one tap to the next.
        ceil_mode: whether a window may reach past the padding at the far end. It must still
            start inside the input or the padding before it.
    Raises:
        ValueError: if the padding is too wide, or no window fits.
    """
    expect_int("size", size, minimum=0)
    expect_int("kernel_size", kernel_size, minimum=1)
    stride = expect_int("stride", kernel_size if stride is None else stride, minimum=1)
    expect_int("padding", padding, minimum=0)
    expect_int("dilation", dilation, minimum=1)
    if 2 * padding > kernel_size:
        raise ValueError(
            f"padding: expected at most half of the kernel of {kernel_size}, got {padding}"
        )
    if not ceil_mode:
        return conv_output_size(size, kernel_size, stride, padding, dilation)
    steps = -(-(size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride)  # rounded up
    if steps * stride >= size + padding:  # the last window would see nothing but padding
        steps -= 1
    if steps < 0:
        raise ValueError(f"kernel_size: expected a window that fits, got {kernel_size} on {size}")
    return steps + 1


# --- the maximum --------------------------------------------------------------------------------


def max_pool2d_loops(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Compute equation (pooling-max) word by word, the oracle of the tests.

    Arguments, result and errors are those of `max_pool2d`.
    """
    images, windows = _enter(input, kernel_size, stride, padding, dilation, ceil_mode)
    (kh, kw), (sh, sw), (dh, dw), (ph, pw) = windows[:4]
    batch, channels, height, width = images.shape
    output = images.new_full((batch, channels, *windows.shape), -math.inf)
    indices = torch.zeros_like(output, dtype=torch.int64)
    for n in range(batch):
        for c in range(channels):
            for y in range(output.shape[2]):
                for x in range(output.shape[3]):
                    empty = True
                    for i in range(kh):
                        for j in range(kw):
                            v, u = y * sh + i * dh - ph, x * sw + j * dw - pw
                            if 0 <= v < height and 0 <= u < width:
                                pixel = images[n, c, v, u]
                                if empty or pixel > output[n, c, y, x] or pixel.isnan():
                                    output[n, c, y, x] = pixel
                                    indices[n, c, y, x] = v * width + u
                                    empty = False
    output, indices = _leave(output, input), _leave(indices, input)
    return (output, indices) if return_indices else output


@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def max_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    dilation: Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """Keep the largest number of every window; equation (pooling-max).

    Twin of `torch.nn.functional.max_pool2d`. Of equal maxima the first, row by row, gets the whole
    gradient, equation (pooling-grad-max). NaN counts as larger than any number; of several, the
    last gets the gradient.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
        kernel_size: height and width of a window, in taps.
        stride: pixels from one window to the next; ``None`` means ``kernel_size``.
        padding: pixels added at each end, at most half of ``kernel_size``; they are never the
            maximum.
        dilation: pixels from one tap to the next.
        ceil_mode: whether the last window may reach past the far end, as in `pool_output_size`.
        return_indices: whether to say where the maxima are.
    Returns:
        ``Tensor[N, C, oh, ow]``, or ``Tensor[C, oh, ow]`` for unbatched input; with
        ``return_indices`` also an int64 tensor of the same shape: the place of each maximum,
        counted from 0 row by row through the ``H W`` pixels of its channel.
    Raises:
        TypeError: if the dtype is not floating, or an option is no integer.
        ValueError: if sizes and options do not fit together, or if anything but the batch is
            empty.
    """
    images, windows = _enter(input, kernel_size, stride, padding, dilation, ceil_mode)
    output: Tensor = _MaxPool.apply(images, windows)
    if not return_indices:
        return _leave(output, input)
    places = windows.places(images)  # (taps, oh, ow)
    indices = torch.zeros_like(output, dtype=torch.int64)
    for place, wins in zip(places, _winners(images, output, windows), strict=True):
        indices = torch.where(wins, place, indices)
    return _leave(output, input), _leave(indices, input)


class _MaxPool(torch.autograd.Function):
    """The maximum and its gradient; autograd would share it out between equal maxima."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, windows: _Windows) -> Tensor:
        output = windows.combine(windows.pad(images, -math.inf), _maximum)
        ctx.save_for_backward(images, output)
        ctx.windows = windows
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None]:
        images, output = ctx.saved_tensors
        winners = _winners(images, output, ctx.windows)
        grad = ctx.windows.pad(torch.zeros_like(images), 0)
        for tap, wins in zip(ctx.windows.taps(grad), winners, strict=True):
            tap += grad_output.where(wins, 0)  # a tap is a view of the gradient
        return ctx.windows.crop(grad), None


def _maximum(taps: Sequence[Tensor]) -> Tensor:
    return reduce(torch.maximum, taps)


def _winners(images: Tensor, output: Tensor, windows: _Windows) -> list[Tensor]:
    """For each tap, the windows in which it is the maximum: the first one, or the last NaN.

    Returns:
        bool ``Tensor[N, C, oh, ow]`` for each tap; a window has at most one.
    """
    taps = list(windows.taps(windows.pad(images, -math.inf)))
    inside = windows.taps(windows.pad(torch.ones_like(images[:1, :1], dtype=torch.bool), False))
    free, firsts, winners = torch.ones_like(output, dtype=torch.bool), [], []
    for tap, here in zip(taps, inside, strict=True):
        wins = (tap == output) & free
        firsts.append(wins & here if any(windows.ends) else wins)  # padding never wins
        free = free ^ firsts[-1]
    for tap, first in zip(reversed(taps), reversed(firsts), strict=True):
        last = tap.isnan() & free  # nothing equals NaN, so its windows are still free
        free = free ^ last
        winners.append(first | last)
    return winners[::-1]


# --- the average --------------------------------------------------------------------------------


def avg_pool2d_loops(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Compute equation (pooling-average) word by word, the oracle of the tests.

    Arguments, result and errors are those of `avg_pool2d`.
    """
    images, windows = _enter(input, kernel_size, stride, padding, 1, ceil_mode)
    _expect_divisor(divisor_override)
    (kh, kw), (sh, sw), _, (ph, pw) = windows[:4]
    batch, channels, height, width = images.shape
    output = images.new_zeros(batch, channels, *windows.shape)
    for n in range(batch):
        for c in range(channels):
            for y in range(output.shape[2]):
                for x in range(output.shape[3]):
                    total, count = images.new_zeros(()), 0
                    for i in range(kh):
                        for j in range(kw):
                            v, u = y * sh + i - ph, x * sw + j - pw
                            if 0 <= v < height and 0 <= u < width:
                                total = total + images[n, c, v, u]
                                count += 1
                            elif v < height + ph and u < width + pw:
                                count += count_include_pad
                    output[n, c, y, x] = total / (divisor_override or count)
    return _leave(output, input)


def avg_pool2d(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Average every window; equation (pooling-average).

    Twin of `torch.nn.functional.avg_pool2d`.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
        kernel_size: height and width of a window, in pixels.
        stride: pixels from one window to the next; ``None`` means ``kernel_size``.
        padding: zeros added at each end, at most half of ``kernel_size``.
        ceil_mode: whether the last window may reach past the far end, as in `pool_output_size`.
            What lies beyond the padding is never counted.
        count_include_pad: whether a window's zeros of the padding are counted.
        divisor_override: what to divide each sum by, instead of the count; positive.
    Returns:
        ``Tensor[N, C, oh, ow]``, or ``Tensor[C, oh, ow]`` for unbatched input.
    Raises:
        TypeError, ValueError: as `max_pool2d`, or if the divisor is not a positive integer.
    """
    images, windows = _enter(input, kernel_size, stride, padding, 1, ceil_mode)
    _expect_divisor(divisor_override)
    output = windows.combine(windows.pad(images, 0), _sum)
    output /= divisor_override or windows.sizes(images, count_include_pad)
    return _leave(output, input)


def _sum(taps: Sequence[Tensor]) -> Tensor:
    return reduce(torch.add, taps)


def _expect_divisor(divisor_override: int | None) -> None:
    if divisor_override is not None:
        expect_int("divisor_override", divisor_override, minimum=1)


def lp_pool2d_loops(
    input: Tensor,
    norm_type: float,
    kernel_size: Pair,
    stride: Pair | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Compute equation (pooling-lp) word by word, the oracle of the tests.

    Arguments, result and errors are those of `lp_pool2d`.
    """
    _expect_norm(norm_type)
    if norm_type == math.inf:
        return max_pool2d_loops(input.abs(), kernel_size, stride, 0, 1, ceil_mode, True)[0]
    kh, kw = expect_pair("kernel_size", kernel_size, minimum=1)
    mean = avg_pool2d_loops(input**norm_type, kernel_size, stride, ceil_mode=ceil_mode)
    return (kh * kw * mean) ** (1 / norm_type)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Pair,
    stride: Pair | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Take the length of every window in the p-norm; equation (pooling-lp).

    Twin of `torch.nn.functional.lp_pool2d`, which means these three by the word: a window cut
    off by ``ceil_mode`` is scaled up to a whole one; no absolute value is taken, so that an odd
    ``norm_type`` wants an input that is not negative; a window of zeros has the gradient 0.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
        norm_type: the exponent p, positive; infinity gives the largest absolute value.
        kernel_size, stride, ceil_mode: as in `avg_pool2d`.
    Returns:
        ``Tensor[N, C, oh, ow]``, or ``Tensor[C, oh, ow]`` for unbatched input.
    Raises:
        TypeError, ValueError: as `max_pool2d`, or if ``norm_type`` is not positive.
    """
    _expect_norm(norm_type)
    if norm_type == math.inf:
        return max_pool2d(input.abs(), kernel_size, stride, ceil_mode=ceil_mode)
    kh, kw = expect_pair("kernel_size", kernel_size, minimum=1)
    total = kh * kw * avg_pool2d(input**norm_type, kernel_size, stride, ceil_mode=ceil_mode)
    # The root is infinitely steep at 0; where the sum is 0, no gradient passes.
    return (total.where(total != 0, 1) ** (1 / norm_type)).where(total != 0, 0)


def _expect_norm(norm_type: float) -> None:
    if not norm_type > 0:  # written so that NaN fails too
        raise ValueError(f"norm_type: expected a positive number, got {norm_type!r}")


# --- an output of a given size ------------------------------------------------------------------


def adaptive_bounds(size: int, output_size: int) -> list[tuple[int, int]]:
    """Divide an axis into windows, as equal as they can be; equation (pooling-adaptive).

    Args:
        size: pixels along this axis.
        output_size: how many windows.
    Returns:
        for each window its first pixel, and the first pixel after it. Windows y - 1
        and y share a pixel where ``y * size / output_size`` is not whole.
    """
    expect_int("size", size, minimum=1)
    expect_int("output_size", output_size, minimum=1)
    return [
        (y * size // output_size, -(-(y + 1) * size // output_size)) for y in range(output_size)
    ]


def adaptive_avg_pool2d_loops(
    input: Tensor, output_size: int | tuple[int | None, int | None] | None
) -> Tensor:
    """Average the windows of equation (pooling-adaptive) one by one, the oracle of the tests.

    Arguments, result and errors are those of `adaptive_avg_pool2d`.
    """
    images, (height, width) = _enter_adaptive(input, output_size)
    output = images.new_zeros(*images.shape[:2], height, width)
    for y, (top, bottom) in enumerate(adaptive_bounds(images.shape[2], height)):
        for x, (left, right) in enumerate(adaptive_bounds(images.shape[3], width)):
            for v in range(top, bottom):
                for u in range(left, right):
                    output[:, :, y, x] += images[:, :, v, u]
            output[:, :, y, x] /= (bottom - top) * (right - left)
    return _leave(output, input)


def adaptive_avg_pool2d(
    input: Tensor, output_size: int | tuple[int | None, int | None] | None
) -> Tensor:
    """Average to an output of a given size, whatever the input's; equation (pooling-adaptive).

    Twin of `torch.nn.functional.adaptive_avg_pool2d`.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
        output_size: height and width, or one integer for both; ``None`` keeps the input's.
    Returns:
        ``Tensor[N, C, oh, ow]``, or ``Tensor[C, oh, ow]`` for unbatched input.
    Raises:
        TypeError: if the dtype is not floating, or a size is no integer.
        ValueError: if anything but the batch is empty.
    """
    images, (height, width) = _enter_adaptive(input, output_size)
    if images.shape[2] % height == images.shape[3] % width == 0:  # equal windows, side by side
        return avg_pool2d(input, (images.shape[2] // height, images.shape[3] // width))
    for axis, count in ((2, height), (3, width)):  # down first, where whole rows are added
        bounds = adaptive_bounds(images.shape[axis], count)
        windows = [images.narrow(axis, first, after - first) for first, after in bounds]
        images = torch.stack([window.mean(axis) for window in windows], axis)
    return _leave(images, input)


def global_avg_pool2d(input: Tensor) -> Tensor:
    """Average every channel: `adaptive_avg_pool2d` to one pixel.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
    Returns:
        ``Tensor[N, C, 1, 1]``, or ``Tensor[C, 1, 1]`` for unbatched input.
    """
    return _leave(_enter_adaptive(input, 1)[0].mean((2, 3), keepdim=True), input)


def global_max_pool2d(input: Tensor) -> Tensor:
    """Keep the largest number of every channel; the first of several gets the gradient.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
    Returns:
        ``Tensor[N, C, 1, 1]``, or ``Tensor[C, 1, 1]`` for unbatched input.
    """
    images, _ = _enter_adaptive(input, 1)
    return _leave(images.flatten(2).max(2).values[..., None, None], input)


# --- back to the larger size --------------------------------------------------------------------


def max_unpool2d_loops(
    input: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Compute equation (pooling-unpool) word by word, the oracle of the tests.

    Arguments, result and errors are those of `max_unpool2d`.
    """
    height, width = _unpool_size(input, indices, kernel_size, stride, padding, output_size)
    values, places = _batched(input), indices.reshape(_batched(input).shape)
    output = values.new_zeros(*values.shape[:2], height, width)
    for n in range(values.shape[0]):
        for c in range(values.shape[1]):
            for y in range(values.shape[2]):
                for x in range(values.shape[3]):
                    v, u = divmod(int(places[n, c, y, x]), width)
                    output[n, c, v, u] = values[n, c, y, x]
    return _leave(output, input)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Put every maximum back where it was found, and zeros elsewhere; equation (pooling-unpool).

    Twin of `torch.nn.functional.max_unpool2d`. Where windows overlap they can have found the same
    pixel; then one of them is kept.

    Args:
        input: ``Tensor[N, C, oh, ow]`` or ``Tensor[C, oh, ow]``, any floating dtype.
        indices: the second result of `max_pool2d` with ``return_indices``.
        kernel_size, stride, padding: what `max_pool2d` was called with; they give the size
            ``(oh - 1) stride + kernel_size - 2 padding``.
        output_size: the height and the width wanted, less than a stride from that size; also a
            whole shape of four. Several sizes pool to the same one.
    Returns:
        ``Tensor[N, C, H, W]``, or ``Tensor[C, H, W]`` for unbatched input.
    Raises:
        TypeError: if ``input`` is not floating, or ``indices`` not int64.
        ValueError: if sizes and options do not fit together.
        RuntimeError: if an index lies outside the output.
    """
    size = _unpool_size(input, indices, kernel_size, stride, padding, output_size)
    values = _batched(input).flatten(2)  # (N, C, oh ow)
    canvas = values.new_zeros(*values.shape[:2], size[0] * size[1])
    canvas = canvas.scatter(2, indices.reshape(values.shape), values)
    return _leave(canvas.unflatten(2, size), input)


# --- the blur pool ------------------------------------------------------------------------------


def binomial_kernel(
    size: int,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Row ``size - 1`` of Pascal's triangle, made to sum to one; equation (pooling-binomial).

    Returns:
        ``Tensor[size]``: 1; 1/2, 1/2; 1/4, 1/2, 1/4; and so on.
    """
    return torch.tensor(_binomial_weights(size), dtype=dtype, device=device)


def binomial_response(frequency: Tensor, size: int) -> Tensor:
    """What share of a wave `binomial_kernel` lets through; equation (pooling-response).

    Args:
        frequency: cycles per pixel, floating; 1/2 is a wave that alternates from pixel to pixel.
        size: taps of the kernel.
    Returns:
        a tensor of the same shape, in [0, 1].
    """
    expect_tensor("frequency", frequency, floating=True)
    expect_int("size", size, minimum=1)
    return torch.cos(math.pi * frequency).abs() ** (size - 1)


def blur_pool2d_loops(input: Tensor, kernel_size: int = 3, stride: Pair = 2) -> Tensor:
    """Compute equation (pooling-blur) word by word, the oracle of the tests.

    Arguments, result and errors are those of `blur_pool2d`.
    """
    images, weights = _enter_blur(input, kernel_size)
    sh, sw = expect_pair("stride", stride, minimum=1)
    batch, channels, height, width = images.shape
    before = (kernel_size - 1) // 2
    output = images.new_zeros(batch, channels, -(-height // sh), -(-width // sw))
    for n in range(batch):
        for c in range(channels):
            for y in range(output.shape[2]):
                for x in range(output.shape[3]):
                    for i in range(kernel_size):
                        for j in range(kernel_size):
                            v = _mirrored(y * sh + i - before, height)
                            u = _mirrored(x * sw + j - before, width)
                            output[n, c, y, x] += weights[i] * weights[j] * images[n, c, v, u]
    return _leave(output, input)


def blur_pool2d(input: Tensor, kernel_size: int = 3, stride: Pair = 2) -> Tensor:
    """Blur with binomial weights, then keep every ``stride``-th pixel; equation (pooling-blur).

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
        kernel_size: taps along each axis. The picture is mirrored at its borders, which need
            more than ``kernel_size // 2`` pixels.
        stride: pixels from one output to the next.
    Returns:
        ``Tensor[N, C, ceil(H / stride), ceil(W / stride)]``, or without ``N`` for unbatched
        input.
    Raises:
        TypeError: if the dtype is not floating, or an option is no integer.
        ValueError: if an option is too small, or the image too small for the kernel.
    Source:
        Zhang, 2019, section 3.2.
    """
    images, weights = _enter_blur(input, kernel_size)
    before, after = (kernel_size - 1) // 2, kernel_size // 2
    mirrored = F.pad(images, (before, after, before, after), mode="reflect")
    _, windows = _enter(mirrored, kernel_size, stride, 0, 1, False)
    blurred = windows.combine(mirrored, lambda taps: _sum(list(map(torch.mul, taps, weights))))
    return _leave(blurred, input)


# --- helpers ------------------------------------------------------------------------------------


class _Windows(NamedTuple):
    """Where the windows of one pooling lie; pairs are (vertical, horizontal)."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    shape: tuple[int, int]
    """of the output"""
    ends: tuple[int, int, int, int]
    """pixels to add ``(left, right, top, bottom)``, with those that only `ceil_mode` reaches"""

    def pad(self, images: Tensor, value: float) -> Tensor:
        return F.pad(images, self.ends, value=value) if any(self.ends) else images

    def crop(self, padded: Tensor) -> Tensor:
        """Undo `pad`."""
        return F.pad(padded, [-end for end in self.ends]) if any(self.ends) else padded

    def taps(self, padded: Tensor) -> Iterator[Tensor]:
        """View what lies under each tap, row by row: ``Tensor[N, C, oh, ow]`` for each.

        Each view is made when it is asked for: one made before its neighbour was written to
        would be out of date for autograd.
        """
        windows = sliding_windows(padded, self.kernel_size, self.stride, self.dilation)
        for i in range(self.kernel_size[0]):
            for j in range(self.kernel_size[1]):
                yield windows[:, :, i, j]

    def combine(
        self,
        padded: Tensor,
        combine: Callable[[Sequence[Tensor]], Tensor],
    ) -> Tensor:
        """Combine the taps down each window, and then those results across it.

        That is kh + kw steps instead of kh kw, on whole pictures.
        """
        output = padded
        for axis, k, s, d in zip((2, 3), *self[:3], strict=True):
            windows = output.unfold(axis, d * (k - 1) + 1, s)[..., ::d]  # (N, C, .., .., k)
            output = combine(windows.unbind(-1))
        # One tap is a view, of the input perhaps; the result should be nobody else's.
        return output.clone() if self.kernel_size[1] == 1 else output

    def sizes(self, images: Tensor, count_include_pad: bool) -> Tensor | int:
        """Count the pixels in each window: one number, or ``Tensor[oh, ow]``."""
        if not any(self.ends):
            return self.kernel_size[0] * self.kernel_size[1]
        lengths = []
        axes = zip(images.shape[2:], *self[:2], self.padding, self.shape, strict=True)
        for length, kernel_size, stride, padding, count in axes:
            outside = padding if count_include_pad else 0
            first = torch.arange(count, device=images.device) * stride - padding
            after = (first + kernel_size).clamp(max=length + outside)
            lengths.append(after - first.clamp(min=-outside))
        return torch.outer(*lengths)

    def places(self, images: Tensor) -> Tensor:
        """Where each tap lies in its channel, ``Tensor[taps, oh, ow]``, counted row by row."""
        down, across = (
            torch.arange(count, device=images.device) * stride
            + torch.arange(kernel_size, device=images.device)[:, None] * dilation
            - padding
            for kernel_size, stride, dilation, padding, count in zip(*self[:5], strict=True)
        )  # (kh, oh), (kw, ow)
        return (down[:, None, :, None] * images.shape[3] + across[:, None]).flatten(0, 1)


def _enter(
    input: Tensor,
    kernel_size: Pair,
    stride: Pair | None,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Tensor, _Windows]:
    """Check the arguments of a pooling; return the batch and where its windows lie."""
    images = _batched(input)
    kernel = expect_pair("kernel_size", kernel_size, minimum=1)
    strides = kernel if stride is None else expect_pair("stride", stride, minimum=1)
    paddings = expect_pair("padding", padding, minimum=0)
    dilations = expect_pair("dilation", dilation, minimum=1)
    axes = list(zip(images.shape[2:], kernel, strides, paddings, dilations, strict=True))
    count = [pool_output_size(*axis, ceil_mode) for axis in axes]
    bottom, right = (
        max(0, (windows - 1) * s + d * (k - 1) + 1 - size - p)
        for windows, (size, k, s, p, d) in zip(count, axes, strict=True)
    )
    ends = paddings[1], right, paddings[0], bottom
    return images, _Windows(kernel, strides, dilations, paddings, (count[0], count[1]), ends)


def _enter_adaptive(
    input: Tensor, output_size: int | tuple[int | None, int | None] | None
) -> tuple[Tensor, tuple[int, int]]:
    images = _batched(input)
    wanted = output_size if isinstance(output_size, Sequence) else (output_size, output_size)
    if len(wanted) != 2:
        raise ValueError(f"output_size: expected one integer or a pair, got {output_size!r}")
    height, width = (
        images.shape[axis] if size is None else expect_int("output_size", size, minimum=1)
        for axis, size in zip((2, 3), wanted, strict=True)
    )
    return images, (height, width)


def _enter_blur(input: Tensor, kernel_size: int) -> tuple[Tensor, list[float]]:
    images, weights = _batched(input), _binomial_weights(kernel_size)
    if min(images.shape[2:]) <= kernel_size // 2:
        raise ValueError(
            f"input: expected more than {kernel_size // 2} pixels a side, for the mirror at the"
            f" border, got {images.shape[2]} x {images.shape[3]}"
        )
    return images, weights


def _binomial_weights(size: int) -> list[float]:
    expect_int("kernel_size", size, minimum=1)
    return [math.comb(size - 1, i) / 2 ** (size - 1) for i in range(size)]


def _mirrored(place: int, length: int) -> int:
    """The pixel that a place outside the axis shows; the border is not repeated."""
    if place < 0:
        return -place
    return 2 * (length - 1) - place if place >= length else place


def _unpool_size(
    input: Tensor,
    indices: Tensor,
    kernel_size: Pair,
    stride: Pair | None,
    padding: Pair,
    output_size: Sequence[int] | None,
) -> tuple[int, int]:
    """Check the arguments of an unpooling; return the output's height and width."""
    values = _batched(input)
    expect_tensor("indices", indices, ndim=input.ndim)
    if indices.dtype != torch.int64:
        raise TypeError(f"indices: expected int64, got {indices.dtype}")
    expect_shape("indices", indices, input.shape)
    kernel = expect_pair("kernel_size", kernel_size, minimum=1)
    strides = kernel if stride is None else expect_pair("stride", stride, minimum=1)
    paddings = expect_pair("padding", padding, minimum=0)
    usual = [
        (n - 1) * s + k - 2 * p
        for n, k, s, p in zip(values.shape[2:], kernel, strides, paddings, strict=True)
    ]
    wanted = usual if output_size is None else list(output_size)[len(output_size) == 4 and 2 :]
    if len(wanted) != 2:
        raise ValueError(f"output_size: expected two lengths or four, got {output_size!r}")
    for size, middle, s in zip(wanted, usual, strides, strict=True):
        expect_int("output_size", size, minimum=1)
        if not middle - s < size < middle + s:
            raise ValueError(
                f"output_size: expected between {middle - s + 1} and {middle + s - 1}, got {size}"
            )
    return wanted[0], wanted[1]


def _batched(input: Tensor) -> Tensor:
    """Check a tensor of images; give a single one the batch's axis."""
    expect_tensor("input", input, ndim=(3, 4), floating=True)
    if 0 in input.shape[-3:]:
        raise ValueError(f"input: expected no axis of length 0, got {tuple(input.shape)}")
    return input if input.ndim == 4 else input[None]


def _leave(output: Tensor, input: Tensor) -> Tensor:
    """Take the batch's axis away again, if the input had none."""
    return output if input.ndim == 4 else output[0]
