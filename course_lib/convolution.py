"""What a convolution layer computes, from the formula to the fast version.

Equations of the chapter `convolution`, by label: conv-cross-correlation, conv-convolution,
conv-layer, conv-output-size, conv-theorem, conv-matrix, conv-grad-bias, conv-grad-weight,
conv-grad-input, conv-transpose, conv-transpose-size, conv-receptive-field, conv-parameters,
conv-multiply-adds, conv-gaussian, conv-sobel, conv-laplacian, conv-sharpen, conv-separable,
conv-init.

Sources:
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016.
    Goodfellow, Bengio and Courville, "Deep Learning", 2016, chapter 9.
    Araujo, Norris and Sim, "Computing receptive fields of convolutional neural networks", 2019.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.checking import (
    expect_alike,
    expect_choice,
    expect_int,
    expect_pair,
    expect_shape,
    expect_tensor,
)

Pair = int | tuple[int, int]


# --- one image, one kernel ----------------------------------------------------------------------


def cross_correlate2d(image: Tensor, kernel: Tensor, mode: str = "valid") -> Tensor:
    """Slide a kernel over an image and sum the products; equation (conv-cross-correlation).

    Args:
        image: ``Tensor[H, W]``, floating.
        kernel: ``Tensor[kh, kw]``, same dtype and device.
        mode: ``"valid"`` keeps the places where the kernel lies inside the image;
            ``"full"`` keeps every place where they overlap, with zeros around the image.
    Returns:
        ``Tensor[H - kh + 1, W - kw + 1]`` if valid, ``Tensor[H + kh - 1, W + kw - 1]`` if full.
    Raises:
        TypeError: if a dtype is not floating or the dtypes differ.
        ValueError: if a rank or the mode is wrong, or the kernel is larger than the image.
    """
    expect_tensor("image", image, ndim=2, floating=True)
    expect_tensor("kernel", kernel, ndim=2, floating=True)
    expect_alike(image=image, kernel=kernel)
    expect_choice("mode", mode, ("valid", "full"))
    padding = (kernel.shape[0] - 1, kernel.shape[1] - 1) if mode == "full" else 0
    return conv2d(image[None], kernel[None, None], padding=padding)[0]


def convolve2d(image: Tensor, kernel: Tensor, mode: str = "valid") -> Tensor:
    """Convolve in the mathematician's sense: the kernel is flipped; equation (conv-convolution).

    With ``mode="full"`` image and kernel may change places without changing the result,
    which is not so for `cross_correlate2d`. Arguments, result and errors are the same.
    """
    expect_tensor("kernel", kernel, ndim=2, floating=True)
    return cross_correlate2d(image, kernel.flip(0, 1), mode)


# --- the layer ----------------------------------------------------------------------------------


def conv_output_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Count the places a kernel takes along one axis; equation (conv-output-size).

    ``floor((size + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1``.

    Args:
        size: pixels along this axis, before padding.
        kernel_size: taps along this axis.
        stride: pixels from one place to the next.
        padding: pixels added at *each* end.
        dilation: pixels from one tap to the next.
    Raises:
        ValueError: if the kernel does not fit into the padded input even once.
    """
    expect_int("size", size, minimum=0)
    expect_int("kernel_size", kernel_size, minimum=1)
    expect_int("stride", stride, minimum=1)
    expect_int("padding", padding, minimum=0)
    expect_int("dilation", dilation, minimum=1)
    padded, span = size + 2 * padding, _span(kernel_size, dilation)
    if span > padded:
        raise ValueError(
            f"kernel_size: expected a kernel that spans at most the padded input of {padded}"
            f" pixels, got one that spans {span} (kernel {kernel_size}, dilation {dilation})"
        )
    return (padded - span) // stride + 1


def conv2d_loops(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Compute equation (conv-layer) word by word: seven nested loops, the oracle of the tests.

    Arguments, result and errors are those of `conv2d`.
    """
    padded, (sh, sw), (dh, dw) = _enter(input, weight, bias, stride, padding, dilation, groups)
    (out_channels, group_channels, kh, kw), group_size = weight.shape, weight.shape[0] // groups
    height, width = _window_count(padded, (kh, kw), (sh, sw), (dh, dw))
    output = padded.new_zeros(padded.shape[0], out_channels, height, width)
    for n in range(padded.shape[0]):
        for o in range(out_channels):
            first = (o // group_size) * group_channels  # first input channel of this group
            for y in range(height):
                for x in range(width):
                    total = padded.new_zeros(()) if bias is None else bias[o]
                    for c in range(group_channels):
                        for i in range(kh):
                            for j in range(kw):
                                pixel = padded[n, first + c, y * sh + i * dh, x * sw + j * dw]
                                total = total + weight[o, c, i, j] * pixel
                    output[n, o, y, x] = total
    return output if input.ndim == 4 else output[0]


def sliding_windows(
    input: Tensor, kernel_size: Pair, stride: Pair = 1, dilation: Pair = 1
) -> Tensor:
    """View every window that a kernel sees, without copying a pixel.

    Args:
        input: ``Tensor[N, C, H, W]``, padded already.
        kernel_size, stride, dilation: one integer or ``(vertical, horizontal)``.
    Returns:
        ``Tensor[N, C, kh, kw, oh, ow]``: entry ``[n, c, i, j, y, x]`` is the pixel of channel
        ``c`` under tap ``(i, j)`` when the kernel is at place ``(y, x)``.
        A view of the input: write to it only if you mean to.
    """
    expect_tensor("input", input, ndim=4)
    kh, kw = expect_pair("kernel_size", kernel_size, minimum=1)
    sh, sw = expect_pair("stride", stride, minimum=1)
    dh, dw = expect_pair("dilation", dilation, minimum=1)
    _window_count(input, (kh, kw), (sh, sw), (dh, dw))
    places = input.unfold(2, _span(kh, dh), sh).unfold(
        3, _span(kw, dw), sw
    )  # (N, C, oh, ow, .., ..)
    return places[..., ::dh, ::dw].permute(0, 1, 4, 5, 2, 3)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Cross-correlate a batch of images with a bank of kernels; equation (conv-layer).

    Twin of `torch.nn.functional.conv2d`. Every window becomes a column of a matrix (im2col), and
    one matrix product meets all windows with all kernels. The way back takes equations
    (conv-grad-weight) and (conv-grad-input), for which no column need be kept.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
        weight: ``Tensor[O, C / groups, kh, kw]``, same dtype and device.
        bias: ``Tensor[O]``, added once to every output of its channel.
        stride: pixels from one place of the kernel to the next.
        padding: zeros added at each end; ``"valid"`` is 0, ``"same"`` keeps the size (stride 1
            only; an odd total puts the extra zero at the bottom and the right).
        dilation: pixels from one tap of the kernel to the next.
        groups: parts into which the channels are split; each part is convolved on its own.
    Returns:
        ``Tensor[N, O, oh, ow]``, or ``Tensor[O, oh, ow]`` for unbatched input, with ``oh`` and
        ``ow`` from equation (conv-output-size).
    Raises:
        TypeError: if a dtype is not floating or the dtypes differ.
        ValueError: if shapes, devices or options do not fit together, or if anything but the
            batch is empty.
    """
    padded, strides, dilations = _enter(input, weight, bias, stride, padding, dilation, groups)
    output: Tensor = _Gather.apply(padded, weight, strides, dilations, groups)
    if bias is not None:
        output = output + bias[:, None, None]
    return output if input.ndim == 4 else output[0]


def conv2d_fft(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, padding: Pair | str = 0
) -> Tensor:
    """Compute `conv2d` (stride 1) as products of spectra; equation (conv-theorem).

    Its cost hardly depends on the kernel's size, so it wins when the kernel is large.
    Rounding errors are relative to the largest output, not to each one, and a NaN or an infinity
    spreads over all of its image's outputs.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, float32 or float64.
        weight: ``Tensor[O, C, kh, kw]``.
        bias: ``Tensor[O]``.
        padding: zeros added at each end, ``"valid"`` or ``"same"``.
    Returns:
        ``Tensor[N, O, oh, ow]``, or ``Tensor[O, oh, ow]`` for unbatched input.
    Raises:
        TypeError: if the dtype is neither float32 nor float64.
        ValueError: if the shapes do not fit together.
    """
    padded, _, _ = _enter(input, weight, bias, 1, padding, 1, 1)
    _expect_precise("input", input)
    height, width = _window_count(padded, (weight.shape[2], weight.shape[3]), (1, 1), (1, 1))
    size = _fast_length(padded.shape[2]), _fast_length(padded.shape[3])
    image_spectrum = torch.fft.rfft2(padded, s=size)  # (N, C, S, T/2 + 1)
    kernel_spectrum = torch.fft.rfft2(weight, s=size).conj()  # conj: correlation, not convolution
    spectrum = torch.einsum("ncyx,ocyx->noyx", image_spectrum, kernel_spectrum)
    output = torch.fft.irfft2(spectrum, s=size)[..., :height, :width]  # the rest wraps around
    if bias is not None:
        output = output + bias[:, None, None]
    return output if input.ndim == 4 else output[0]


def conv_matrix(
    weight: Tensor,
    input_size: tuple[int, int],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Write the layer as one sparse matrix; equation (conv-matrix).

    ``matrix @ image.flatten()`` is ``conv2d(image, weight, ...).flatten()``. Its transpose carries
    the gradient back to the input, and is the transposed convolution.

    Args:
        weight: ``Tensor[O, C / groups, kh, kw]``.
        input_size: ``(H, W)`` in pixels, before padding.
    Returns:
        sparse COO ``Tensor[O oh ow, C H W]``, coalesced.
    Raises:
        TypeError: if ``weight`` is not floating, or an option is no integer.
        ValueError: if sizes and options do not fit together.
    """
    expect_tensor("weight", weight, ndim=4, floating=True)
    _expect_filled("weight", weight.shape)
    height, width = expect_pair("input_size", input_size, minimum=1)
    (kh, kw), device = weight.shape[2:], weight.device
    sh, sw = expect_pair("stride", stride, minimum=1)
    ph, pw = expect_pair("padding", padding, minimum=0)
    dh, dw = expect_pair("dilation", dilation, minimum=1)
    out_channels, group_channels = weight.shape[:2]
    _expect_groups(group_channels * groups, weight.shape, groups)
    out_height = conv_output_size(height, kh, sh, ph, dh)
    out_width = conv_output_size(width, kw, sw, pw, dw)

    o, y, x, c, i, j = torch.meshgrid(
        *(
            torch.arange(n, device=device)
            for n in (out_channels, out_height, out_width, group_channels, kh, kw)
        ),
        indexing="ij",
    )
    channel = torch.div(o * groups, out_channels, rounding_mode="floor") * group_channels + c
    v, u = y * sh + i * dh - ph, x * sw + j * dw - pw  # the pixel under tap (i, j), before padding
    inside = (v >= 0) & (v < height) & (u >= 0) & (u < width)
    row = (o * out_height + y) * out_width + x
    column = (channel * height + v) * width + u
    values = weight[:, None, None].expand_as(row)
    return torch.sparse_coo_tensor(
        torch.stack([row[inside], column[inside]]),
        values[inside],
        (out_channels * out_height * out_width, group_channels * groups * height * width),
        is_coalesced=True,  # row by row, and from left to right within a row
        check_invariants=False,
    )


# --- gradients, and the transposed convolution --------------------------------------------------


def conv2d_input(
    input_size: tuple[int, ...],
    weight: Tensor,
    grad_output: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Carry the loss's gradient from the output back to the input; equation (conv-grad-input).

    Twin of `torch.nn.grad.conv2d_input`.

    Args:
        input_size: ``(N, C, H, W)`` of the input.
        weight: ``Tensor[O, C / groups, kh, kw]``.
        grad_output: ``Tensor[N, O, oh, ow]``, the gradient with respect to the output.
    Returns:
        ``Tensor[N, C, H, W]``.
    Raises:
        TypeError, ValueError: as `conv2d`, or if ``grad_output`` has not the output's shape.
    """
    expect_tensor("grad_output", grad_output, ndim=4, floating=True)
    expect_tensor("weight", weight, ndim=4, floating=True)
    _expect_four("input_size", input_size)
    _expect_groups(input_size[1], weight.shape, groups)
    strides = expect_pair("stride", stride, minimum=1)
    paddings = expect_pair("padding", padding, minimum=0)
    dilations = expect_pair("dilation", dilation, minimum=1)
    axes = list(zip(input_size[2:], weight.shape[2:], strides, paddings, dilations, strict=True))
    places = [conv_output_size(n, k, s, p, d) for n, k, s, p, d in axes]
    expect_shape("grad_output", grad_output, (input_size[0], weight.shape[0], *places))
    missed = [  # pixels at the far end that no window reaches
        n - conv_transpose_output_size(m, k, s, p, 0, d)
        for m, (n, k, s, p, d) in zip(places, axes, strict=True)
    ]
    return conv_transpose2d(
        grad_output, weight, None, stride, padding, (missed[0], missed[1]), groups, dilation
    )


def conv2d_weight(
    input: Tensor,
    weight_size: tuple[int, ...],
    grad_output: Tensor,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Gradient with respect to the weight: windows times ``grad_output``; (conv-grad-weight).

    Twin of `torch.nn.grad.conv2d_weight`.

    Args:
        input: ``Tensor[N, C, H, W]``.
        weight_size: ``(O, C / groups, kh, kw)``.
        grad_output: ``Tensor[N, O, oh, ow]``, the gradient with respect to the output.
    Returns:
        ``Tensor[O, C / groups, kh, kw]``.
    Raises:
        TypeError, ValueError: as `conv2d`, or if ``grad_output`` has not the output's shape.
    """
    expect_tensor("input", input, ndim=4, floating=True)
    expect_tensor("grad_output", grad_output, ndim=4, floating=True)
    expect_alike(input=input, grad_output=grad_output)
    _expect_four("weight_size", weight_size)
    _expect_groups(input.shape[1], weight_size, groups)
    ph, pw = expect_pair("padding", padding, minimum=0)
    padded, kernel_size = F.pad(input, (pw, pw, ph, ph)), (weight_size[2], weight_size[3])
    windows = sliding_windows(padded, kernel_size, stride, dilation)
    expect_shape("grad_output", grad_output, (input.shape[0], weight_size[0], *windows.shape[-2:]))
    return _correlate(windows, grad_output, groups)


def conv2d_bias(grad_output: Tensor) -> Tensor:
    """Gradient with respect to the bias: every output of a channel counts once; (conv-grad-bias).

    Args:
        grad_output: ``Tensor[N, O, oh, ow]``, the gradient with respect to the output.
    Returns:
        ``Tensor[O]``.
    """
    expect_tensor("grad_output", grad_output, ndim=4, floating=True)
    return grad_output.sum((0, 2, 3))


def conv_transpose_output_size(
    size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """Size of a transposed convolution along one axis; equation (conv-transpose-size).

    ``(size - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1``;
    not positive where the padding cuts everything off.
    """
    return (size - 1) * stride - 2 * padding + _span(kernel_size, dilation) + output_padding


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Let every input pixel stamp its kernel into the output; equation (conv-transpose).

    Twin of `torch.nn.functional.conv_transpose2d`; the transpose of `conv_matrix`, not its inverse.

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``, any floating dtype.
        weight: ``Tensor[C, O / groups, kh, kw]``: its first axis is the *input's* channels.
        bias: ``Tensor[O]``.
        stride: pixels between two stamps in the output.
        padding: pixels cut off at each end of the output.
        output_padding: pixels added at the bottom and the right, less than stride or dilation.
    Returns:
        ``Tensor[N, O, oh, ow]``, or ``Tensor[O, oh, ow]`` for unbatched input.
    Raises:
        TypeError, ValueError: as `conv2d`, or if the padding leaves no pixel of the output.
    """
    expect_tensor("input", input, ndim=(3, 4), floating=True)
    expect_tensor("weight", weight, ndim=4, floating=True)
    expect_alike(input=input, weight=weight, bias=bias)
    _expect_filled("input", input.shape[-3:])
    _expect_filled("weight", weight.shape)
    sh, sw = expect_pair("stride", stride, minimum=1)
    ph, pw = expect_pair("padding", padding, minimum=0)
    dh, dw = expect_pair("dilation", dilation, minimum=1)
    extra = expect_pair("output_padding", output_padding, minimum=0)
    for more, limit in zip(extra, (max(sh, dh), max(sw, dw)), strict=True):
        if more >= limit:
            raise ValueError(
                f"output_padding: expected less than stride or dilation ({limit}), got {more}"
            )
    channels, group_out, kh, kw = weight.shape
    expect_int("groups", groups, minimum=1)
    batched = input if input.ndim == 4 else input[None]
    if channels % groups or batched.shape[1] != channels:
        raise ValueError(
            f"input: expected {channels} channels, divisible into {groups} groups,"
            f" like weight's first axis, got {batched.shape[1]}"
        )
    if bias is not None:
        expect_shape("bias", bias, (group_out * groups,))
    height, width = batched.shape[2:]
    out_height = conv_transpose_output_size(height, kh, sh, ph, extra[0], dh)
    out_width = conv_transpose_output_size(width, kw, sw, pw, extra[1], dw)
    if out_height < 1 or out_width < 1:
        raise ValueError(
            f"padding: expected an output of at least one pixel, got {out_height} x {out_width}"
        )

    size = (out_height + 2 * ph, out_width + 2 * pw)
    canvas: Tensor = _Scatter.apply(batched, weight, size, (sh, sw), (dh, dw), groups)
    output = canvas[:, :, ph : ph + out_height, pw : pw + out_width]
    if bias is not None:
        output = output + bias[:, None, None]
    return output if input.ndim == 4 else output[0]


# --- kernels with a name ------------------------------------------------------------------------


def gaussian_kernel(
    sigma: float,
    size: int | None = None,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Sample a Gaussian of standard deviation ``sigma`` and make it sum to one; (conv-gaussian).

    Args:
        sigma: standard deviation in pixels, positive.
        size: odd number of taps; by default it reaches ``ceil(3 sigma)`` to each side.
    Returns:
        ``Tensor[size, size]``.
    """
    if not sigma > 0:
        raise ValueError(f"sigma: expected a positive number of pixels, got {sigma!r}")
    radius = math.ceil(3 * sigma) if size is None else _radius(size)
    taps = torch.arange(
        -radius, radius + 1, dtype=dtype or torch.get_default_dtype(), device=device
    )
    profile = torch.exp(-(taps**2) / (2 * sigma**2))
    profile = profile / profile.sum()
    return torch.outer(profile, profile)


def box_kernel(
    size: int,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Average ``size`` × ``size`` pixels: every weight is ``1 / size**2``."""
    expect_int("size", size, minimum=1)
    return torch.full((size, size), 1 / size**2, dtype=dtype, device=device)


def identity_kernel(
    size: int = 3,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """One in the middle, zero elsewhere: the kernel that changes nothing; ``size`` is odd."""
    radius = _radius(size)
    kernel = torch.zeros(size, size, dtype=dtype, device=device)
    kernel[radius, radius] = 1
    return kernel


def sobel_kernel(
    axis: str,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Smooth along one axis, difference along the other; equation (conv-sobel).

    Args:
        axis: ``"x"`` answers to brightness that grows to the right, ``"y"`` downwards.
    Returns:
        ``Tensor[3, 3]``; eight times the slope per pixel of a plane.
    """
    expect_choice("axis", axis, ("x", "y"))
    smooth = torch.tensor([1, 2, 1], dtype=dtype or torch.get_default_dtype(), device=device)
    difference = torch.tensor([-1, 0, 1], dtype=smooth.dtype, device=device)
    kernel = torch.outer(smooth, difference)
    return kernel if axis == "x" else kernel.T


def laplacian_kernel(
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """Second differences along both axes, added; equation (conv-laplacian)."""
    second = torch.tensor([1, -2, 1], dtype=dtype or torch.get_default_dtype(), device=device)
    kernel = torch.zeros(3, 3, dtype=second.dtype, device=device)
    kernel[1, :] += second
    kernel[:, 1] += second
    return kernel


def sharpen_kernel(
    amount: float = 1.0,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """The image minus ``amount`` times its Laplacian; equation (conv-sharpen)."""
    identity = identity_kernel(dtype=dtype, device=device)
    return identity - amount * laplacian_kernel(dtype=dtype, device=device)


def separate(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Split a kernel of rank one into a column and a row; equation (conv-separable).

    Args:
        kernel: ``Tensor[kh, kw]``, float32 or float64.
    Returns:
        ``column`` (``Tensor[kh]``) and ``row`` (``Tensor[kw]``) with
        ``torch.outer(column, row)`` equal to the kernel.
    Raises:
        TypeError: if the dtype is neither float32 nor float64.
        ValueError: if the kernel is no such product; its rank is named.
    """
    expect_tensor("kernel", kernel, ndim=2, floating=True)
    _expect_filled("kernel", kernel.shape)
    _expect_precise("kernel", kernel)
    rank = int(torch.linalg.matrix_rank(kernel))
    if rank > 1:
        raise ValueError(f"kernel: expected a matrix of rank 1, got one of rank {rank}")
    left, strength, right = torch.linalg.svd(kernel, full_matrices=False)
    scale = strength[0].sqrt()
    return left[:, 0] * scale, right[0] * scale


def separable_conv2d(input: Tensor, column: Tensor, row: Tensor, padding: Pair = 0) -> Tensor:
    """Filter every channel with ``outer(column, row)`` in two cheap passes; (conv-separable).

    Args:
        input: ``Tensor[N, C, H, W]`` or ``Tensor[C, H, W]``.
        column: ``Tensor[kh]``.
        row: ``Tensor[kw]``.
        padding: zeros added at each end.
    Returns:
        ``Tensor[N, C, oh, ow]``, or ``Tensor[C, oh, ow]`` for unbatched input.
    """
    expect_tensor("input", input, ndim=(3, 4), floating=True)
    expect_tensor("column", column, ndim=1, floating=True)
    expect_tensor("row", row, ndim=1, floating=True)
    expect_alike(input=input, column=column, row=row)
    ph, pw = expect_pair("padding", padding, minimum=0)
    channels = input.shape[-3]  # each has the same kernel for itself
    down, across = (taps.expand(channels, 1, -1) for taps in (column, row))
    tall = conv2d(input, down[..., None], padding=(ph, 0), groups=channels)
    return conv2d(tall, across[:, :, None], padding=(0, pw), groups=channels)


# --- what a stack of layers sees and costs ------------------------------------------------------


class ReceptiveField(NamedTuple):
    """What one unit of a layer sees, along one axis, in pixels of the input image."""

    size: int
    """pixels from the first to the last that it can see"""
    jump: int
    """pixels between what it sees and what its neighbour sees"""
    start: int
    """first pixel that unit 0 sees; negative inside the padding"""


def receptive_field(layers: Iterable[tuple[int, ...]]) -> list[ReceptiveField]:
    """Follow what one unit sees through a stack of layers; equation (conv-receptive-field).

    Args:
        layers: ``(kernel_size, stride, padding, dilation)`` of each convolution or pooling,
            from the image upwards; what is left out at the end is 1, 0, 1.
    Returns:
        a `ReceptiveField` for each layer.
    Raises:
        ValueError: if a layer has no numbers, more than four, or one that is too small.
    """
    field, fields = ReceptiveField(size=1, jump=1, start=0), []
    for number, layer in enumerate(layers):
        if not 1 <= len(layer) <= 4:
            raise ValueError(
                f"layers[{number}]: expected (kernel_size, stride, padding, dilation), got {layer}"
            )
        kernel_size, stride, padding, dilation = (*layer, *(1, 0, 1)[len(layer) - 1 :])
        expect_int(f"layers[{number}] kernel_size", kernel_size, minimum=1)
        expect_int(f"layers[{number}] stride", stride, minimum=1)
        expect_int(f"layers[{number}] padding", padding, minimum=0)
        expect_int(f"layers[{number}] dilation", dilation, minimum=1)
        field = ReceptiveField(
            size=field.size + (kernel_size - 1) * dilation * field.jump,
            jump=field.jump * stride,
            start=field.start - padding * field.jump,
        )
        fields.append(field)
    return fields


def conv_parameters(
    in_channels: int, out_channels: int, kernel_size: Pair, groups: int = 1, bias: bool = True
) -> int:
    """Count what a layer learns; equation (conv-parameters).

    Raises:
        ValueError: if ``groups`` does not divide both numbers of channels.
    """
    kh, kw = expect_pair("kernel_size", kernel_size, minimum=1)
    _expect_channels(in_channels, out_channels, groups)
    return out_channels * (in_channels // groups * kh * kw + bias)


def conv_multiply_adds(
    in_channels: int,
    out_channels: int,
    kernel_size: Pair,
    output_size: tuple[int, int],
    groups: int = 1,
) -> int:
    """Count a layer's multiplications with a weight, for one image; equation (conv-multiply-adds).

    Each comes with one addition, so the layer does twice as many floating-point operations.
    """
    height, width = expect_pair("output_size", output_size, minimum=0)
    parameters = conv_parameters(in_channels, out_channels, kernel_size, groups, bias=False)
    return height * width * parameters


class Conv2d(nn.Module):
    """A convolution layer with weights to learn; twin of `torch.nn.Conv2d`.

    Weight and bias start uniform in ±1/sqrt(fan_in), equation (conv-init), where fan_in is the
    number of inputs of one output: ``in_channels / groups * kh * kw``.

    Args:
        padding_mode: what stands in the padding: ``"zeros"``, ``"reflect"``, ``"replicate"`` or
            ``"circular"``.
        The others are those of `conv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        expect_choice("padding_mode", padding_mode, ("zeros", "reflect", "replicate", "circular"))
        self.kernel_size = expect_pair("kernel_size", kernel_size, minimum=1)
        self.stride = expect_pair("stride", stride, minimum=1)
        self.dilation = expect_pair("dilation", dilation, minimum=1)
        self.padding, self.padding_mode, self.groups = padding, padding_mode, groups
        self._ends = _ends(padding, self.kernel_size, self.stride, self.dilation)
        _expect_channels(in_channels, out_channels, groups)
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew from equation (conv-init)."""
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to ``Tensor[N, O, oh, ow]``."""
        weight, bias, stride, dilation = self.weight, self.bias, self.stride, self.dilation
        if self.padding_mode == "zeros":
            return conv2d(input, weight, bias, stride, self.padding, dilation, self.groups)
        padded = F.pad(input, self._ends, mode=self.padding_mode)
        return conv2d(padded, weight, bias, stride, 0, dilation, self.groups)


# --- what a layer and its gradients stand on ----------------------------------------------------


def _gather(
    padded: Tensor, weight: Tensor, stride: tuple[int, int], dilation: tuple[int, int], groups: int
) -> Tensor:
    """Let every output gather the window under its kernel."""
    out_channels, kernel_size = weight.shape[0], (weight.shape[2], weight.shape[3])
    if _is_depthwise(weight, groups):
        padded = padded.contiguous()  # its planes are taken apart
        return _sum_of_taps(sliding_windows(padded, kernel_size, stride, dilation), weight)
    windows = sliding_windows(padded, kernel_size, stride, dilation)  # (N, C, kh, kw, oh, ow)
    matrix = weight.reshape(groups, out_channels // groups, -1)  # (G, O/G, rows)
    parts = windows.split(_images_at_once(windows))
    products = [matrix @ _columns(part, groups) for part in parts]  # (n, G, O/G, oh ow)
    output = products[0] if len(products) == 1 else torch.cat(products)
    return output.reshape(padded.shape[0], out_channels, *windows.shape[-2:])


def _scatter(
    signal: Tensor,
    weight: Tensor,
    size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Let every number of the signal stamp its kernel into a canvas, where stamps add up."""
    (out_channels, group_channels, kh, kw), (height, width) = weight.shape, signal.shape[2:]
    canvas = signal.new_zeros(signal.shape[0], groups * group_channels, *size)
    windows = sliding_windows(canvas, (kh, kw), stride, dilation)[..., :height, :width]
    if _is_depthwise(weight, groups):
        for i, j in product(range(kh), range(kw)):
            windows[:, :, i, j].addcmul_(signal, weight[:, :, i, j, None])  # a view of the canvas
        return canvas
    matrix = weight.reshape(groups, out_channels // groups, -1).mT  # (G, rows, O/G)
    at_once = _images_at_once(windows)
    for target, part in zip(windows.split(at_once), signal.split(at_once), strict=True):
        pixels = part.reshape(part.shape[0], groups, out_channels // groups, height * width)
        stamps = (matrix @ pixels).reshape(target.shape)
        for i, j in product(range(kh), range(kw)):
            target[:, :, i, j].add_(stamps[:, :, i, j])
    return canvas


def _sum_of_taps(windows: Tensor, weight: Tensor) -> Tensor:
    """`_gather` where each channel has a kernel of its own: tap by tap, a few planes at a time."""
    planes = windows.flatten(0, 1)  # (N C, kh, kw, oh, ow)
    weights = weight[:, 0, :, :, None, None].repeat(windows.shape[0], 1, 1, 1, 1)
    output = planes.new_zeros(planes.shape[0], *planes.shape[3:])
    parts = (tensor.split(_images_at_once(planes)) for tensor in (output, planes, weights))
    for target, part, scale in zip(*parts, strict=True):
        for i, j in product(*map(range, weight.shape[2:])):
            target.addcmul_(part[:, i, j], scale[:, i, j])
    return output.unflatten(0, windows.shape[:2])


def _is_depthwise(weight: Tensor, groups: int) -> bool:
    """Whether each channel has one kernel, of many or a line: too little for a matrix product.

    In half precision a sum tap by tap would be rounded at each.
    """
    little = groups > 1 or 1 in weight.shape[2:]
    return little and weight.shape[:2] == (groups, 1) and weight.dtype.itemsize >= 4


def _correlate(windows: Tensor, signal: Tensor, groups: int) -> Tensor:
    """Multiply, for each weight, all pixels that it met by what came back from there."""
    exact = torch.promote_types(windows.dtype, torch.float32)  # to add up many parts in
    gradient = windows.new_zeros((), dtype=exact)
    at_once = _images_at_once(windows)
    for part, sent in zip(windows.split(at_once), signal.split(at_once), strict=True):
        rows = sent.flatten(2).unflatten(1, (groups, -1))  # (n, G, O/G, oh ow)
        gradient = gradient + (rows @ _columns(part, groups).mT).sum(0, dtype=exact)
    gradient = gradient.to(windows.dtype).flatten(0, 1)  # of (G, O/G, rows)
    return gradient.unflatten(1, (-1, windows.shape[2], windows.shape[3]))


def _columns(windows: Tensor, groups: int) -> Tensor:
    """Copy each window into a column: ``Tensor[n, G, rows, oh ow]``."""
    return windows.flatten(4).unflatten(1, (groups, -1)).flatten(2, 4)


class _Gather(torch.autograd.Function):
    """The layer, and its way back by the formulas."""

    @staticmethod
    def forward(ctx: Any, padded: Tensor, weight: Tensor, *options: Any) -> Tensor:
        ctx.save_for_backward(padded, weight)
        ctx.options = options
        return _gather(padded, weight, *options)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        # Autocast saved what it had not rounded yet.
        padded, weight = (saved.to(grad_output.dtype) for saved in ctx.saved_tensors)
        stride, dilation, groups = ctx.options
        grad_padded = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_padded = _Scatter.apply(grad_output, weight, padded.shape[2:], *ctx.options)
        if ctx.needs_input_grad[1]:
            windows = sliding_windows(padded, weight.shape[2:], stride, dilation)
            grad_weight = _correlate(windows, grad_output, groups)
        return grad_padded, grad_weight, None, None, None


class _Scatter(torch.autograd.Function):
    """The transpose of `_Gather`, which is its way back."""

    @staticmethod
    def forward(
        ctx: Any, signal: Tensor, weight: Tensor, size: tuple[int, int], *options: Any
    ) -> Tensor:
        ctx.save_for_backward(signal, weight)
        ctx.options = options
        return _scatter(signal, weight, size, *options)

    @staticmethod
    def backward(ctx: Any, grad_canvas: Tensor) -> tuple[Tensor | None, ...]:
        signal, weight = (saved.to(grad_canvas.dtype) for saved in ctx.saved_tensors)
        stride, dilation, groups = ctx.options
        height, width = signal.shape[2:]
        grad_signal = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_signal = _Gather.apply(grad_canvas, weight, *ctx.options)[..., :height, :width]
        if ctx.needs_input_grad[1]:
            windows = sliding_windows(grad_canvas, weight.shape[2:], stride, dilation)
            grad_weight = _correlate(windows[..., :height, :width], signal, groups)
        return grad_signal, grad_weight, None, None, None, None


# --- helpers ------------------------------------------------------------------------------------


def _span(kernel_size: int, dilation: int) -> int:
    """Pixels from the first to the last tap, both counted."""
    return dilation * (kernel_size - 1) + 1


def _radius(size: int) -> int:
    expect_int("size", size, minimum=1)
    if size % 2 == 0:
        raise ValueError(f"size: expected an odd number, so that there is a middle, got {size}")
    return size // 2


def _ends(
    padding: Pair | str,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Pixels to add ``(left, right, top, bottom)``, as `torch.nn.functional.pad` takes them."""
    if isinstance(padding, str):
        expect_choice("padding", padding, ("same", "valid"))
        if padding == "valid":
            return 0, 0, 0, 0
        if stride != (1, 1):
            raise ValueError(f'stride: expected 1 with padding="same", got {stride}')
        vertical, horizontal = (_span(k, d) - 1 for k, d in zip(kernel_size, dilation, strict=True))
        left, top = horizontal // 2, vertical // 2
        return left, horizontal - left, top, vertical - top
    ph, pw = expect_pair("padding", padding, minimum=0)
    return pw, pw, ph, ph


def _expect_channels(in_channels: int, out_channels: int, groups: int) -> None:
    expect_int("in_channels", in_channels, minimum=1)
    expect_int("out_channels", out_channels, minimum=1)
    expect_int("groups", groups, minimum=1)
    if in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups: expected a divisor of {in_channels} input and {out_channels} output"
            f" channels, got {groups}"
        )


def _expect_groups(channels: int, weight_size: Sequence[int], groups: int) -> None:
    expect_int("groups", groups, minimum=1)
    out_channels, group_channels = weight_size[:2]
    if out_channels % groups:
        raise ValueError(
            f"groups: expected a divisor of the {out_channels} output channels, got {groups}"
        )
    if channels != group_channels * groups:
        raise ValueError(
            f"input: expected {group_channels * groups} channels"
            f" ({group_channels} in weight x {groups} groups), got {channels}"
        )


def _expect_filled(name: str, shape: Sequence[int]) -> None:
    if 0 in shape:
        raise ValueError(f"{name}: expected no axis of length 0, got {tuple(shape)}")


def _expect_four(name: str, size: Sequence[int]) -> None:
    if len(size) != 4:
        raise ValueError(f"{name}: expected four lengths, got {tuple(size)}")


def _expect_precise(name: str, value: Tensor) -> None:
    if value.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"{name}: expected float32 or float64, got {value.dtype}")


def _enter(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Pair,
    padding: Pair | str,
    dilation: Pair,
    groups: int,
) -> tuple[Tensor, tuple[int, int], tuple[int, int]]:
    """Check the arguments of a layer; return the padded batch, its strides and dilations."""
    expect_tensor("input", input, ndim=(3, 4), floating=True)
    expect_tensor("weight", weight, ndim=4, floating=True)
    expect_alike(input=input, weight=weight, bias=bias)
    _expect_filled("input", input.shape[-3:])
    _expect_filled("weight", weight.shape)
    if bias is not None:
        expect_shape("bias", bias, (weight.shape[0],))
    strides = expect_pair("stride", stride, minimum=1)
    dilations = expect_pair("dilation", dilation, minimum=1)
    _expect_groups(input.shape[-3], weight.shape, groups)
    ends = _ends(padding, (weight.shape[2], weight.shape[3]), strides, dilations)
    batched = input if input.ndim == 4 else input[None]
    return F.pad(batched, ends) if any(ends) else batched, strides, dilations


def _window_count(
    padded: Tensor,
    kernel_size: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
) -> tuple[int, int]:
    height, width = (
        conv_output_size(n, k, s, 0, d)
        for n, k, s, d in zip(padded.shape[2:], kernel_size, stride, dilation, strict=True)
    )
    return height, width


def _images_at_once(windows: Tensor) -> int:
    """How many images to unfold together.

    Copied windows of more than a few megabytes fall out of the cache, and writing them costs more
    than the product; 2**21 numbers were best on the processors that we tried.
    """
    numbers = windows[:1].numel()
    return max(1, 2**21 // max(1, numbers))


def _fast_length(length: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5, for which an FFT is quick."""
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1
