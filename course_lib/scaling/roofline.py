"""Is it slow because it computes, or because it waits for memory?

An operation multiplies and adds, and it moves bytes. A machine does so many of each in a second,
and the operation can't be done before the slower of the two is. How many multiply-adds it does
with each byte decides which one that is.

A multiply-add is one multiplication and one addition, so two floating-point operations. Bytes are
counted once each: what goes in is read, what comes out is written, and the cache does the rest.

Equations: (scaling-intensity), (scaling-roofline), (scaling-ridge), (scaling-linear),
(scaling-conv).

Source:
    Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for
        multicore architectures", 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import torch

from course_lib.checking import describe, expect_int, expect_number, expect_pair
from course_lib.convolution import conv_multiply_adds, conv_output_size, conv_parameters
from course_lib.timing import time_within

Pair = int | tuple[int, int]


@dataclass(frozen=True)
class Rates:
    """What a device reaches with so many threads, measured in the same run."""

    bytes_copied: float
    """read and written, per second"""
    multiply_adds: float
    """in float32, per second"""


class Cost(NamedTuple):
    """What an operation has to do, on any machine."""

    multiply_adds: int
    bytes_moved: int

    @property
    def intensity(self) -> float:
        """Multiply-adds for each byte; equation (scaling-intensity)."""
        return intensity(*self)


# --- what a machine can do ------------------------------------------------------------------------


def measure_rates(device: torch.device, budget: float) -> Rates:
    """Time a copy that no cache holds and a large matrix product.

    Args:
        device: whose rates; those of a CPU are for the threads that torch has.
        budget: seconds, about.
    """
    expect_number("budget", budget, minimum=0)
    length, side = (2**27, 8192) if device.type == "cuda" else (2**24, 1024)
    source, target = (torch.ones(length, device=device) for _ in range(2))
    matrix = torch.ones(side, side, device=device)
    calls = {"copy": lambda: target.copy_(source), "product": lambda: matrix @ matrix}
    seconds = time_within(calls, budget, device)
    return Rates(
        bytes_copied=2 * source.nbytes / median(seconds["copy"]),
        multiply_adds=side**3 / median(seconds["product"]),
    )


def ridge(rates: Rates) -> float:
    """Where the roof bends, in multiply-adds for each byte; equation (scaling-ridge).

    Below it an operation waits for memory, above it for the arithmetic.
    """
    return rates.multiply_adds / rates.bytes_copied


def attainable(intensity: float, rates: Rates) -> float:
    """The most multiply-adds per second at this intensity; equation (scaling-roofline).

    Args:
        intensity: multiply-adds for each byte.
        rates: from `measure_rates`, or from a data sheet.
    """
    expect_number("intensity", intensity, minimum=0)
    return min(rates.multiply_adds, intensity * rates.bytes_copied)


def least_seconds(cost: Cost, rates: Rates) -> float:
    """How long the slower of the two takes, the arithmetic or the memory.

    Nothing that has to fetch its bytes from memory can be faster; what is in the cache can.
    """
    arithmetic = cost.multiply_adds / rates.multiply_adds
    return max(arithmetic, cost.bytes_moved / rates.bytes_copied)


# --- what an operation costs ----------------------------------------------------------------------


def intensity(multiply_adds: int, bytes_moved: int) -> float:
    """Multiply-adds for each byte; equation (scaling-intensity).

    Args:
        multiply_adds: how many the operation does.
        bytes_moved: read and written; at least 1.
    """
    expect_int("multiply_adds", multiply_adds, minimum=0)
    return multiply_adds / expect_int("bytes_moved", bytes_moved, minimum=1)


def linear_cost(
    batch: int,
    in_features: int,
    out_features: int,
    *,
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Cost:
    """Count the work of `course_lib.softmax.linear`; equation (scaling-linear).

    Args:
        batch: rows of the input.
        in_features, out_features: as in `torch.nn.Linear`.
        bias: whether there is one.
        dtype: of input, weight and output.
    """
    for name, value in (
        ("batch", batch), ("in_features", in_features), ("out_features", out_features),
    ):  # fmt: skip
        expect_int(name, value, minimum=1)
    weights = in_features * out_features
    numbers = batch * in_features + weights + bias * out_features + batch * out_features
    return Cost(batch * weights, numbers * _size(dtype))


def conv2d_cost(
    batch: int,
    in_channels: int,
    out_channels: int,
    kernel_size: Pair,
    input_size: Pair,
    *,
    stride: Pair = 1,
    padding: Pair = 0,
    groups: int = 1,
    bias: bool = True,
    dtype: torch.dtype = torch.float32,
) -> Cost:
    """Count the work of `course_lib.convolution.conv2d`; equation (scaling-conv).

    Its multiply-adds are those of `course_lib.convolution.conv_multiply_adds`, for each image.

    Args:
        batch: images.
        in_channels, out_channels, kernel_size, stride, padding, groups, bias: as in
            `torch.nn.Conv2d`.
        input_size: ``(height, width)`` of an image, in pixels.
        dtype: of input, weight and output.
    """
    expect_int("batch", batch, minimum=1)
    height, width = expect_pair("input_size", input_size, minimum=1)
    lengths = zip(
        (height, width),
        expect_pair("kernel_size", kernel_size, minimum=1),
        expect_pair("stride", stride, minimum=1),
        expect_pair("padding", padding, minimum=0),
        strict=True,
    )
    rows, columns = (conv_output_size(*along) for along in lengths)
    weights = conv_parameters(in_channels, out_channels, kernel_size, groups, bias)
    pixels = in_channels * height * width + out_channels * rows * columns  # read and written
    work = conv_multiply_adds(in_channels, out_channels, kernel_size, (rows, columns), groups)
    return Cost(batch * work, (batch * pixels + weights) * _size(dtype))


def pointwise_cost(numel: int, *, inputs: int = 1, dtype: torch.dtype = torch.float32) -> Cost:
    """Count the work of an operation from entry to entry, such as a ReLU: one for each entry.

    Args:
        numel: entries of the result.
        inputs: how many tensors of that size it reads.
        dtype: of all of them.
    """
    expect_int("numel", numel, minimum=1)
    expect_int("inputs", inputs, minimum=1)
    return Cost(numel, (inputs + 1) * numel * _size(dtype))


def _size(dtype: torch.dtype) -> int:
    """Bytes of a number."""
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype: expected a dtype, got {describe(dtype)}")
    return dtype.itemsize
