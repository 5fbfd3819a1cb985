"""Figures to touch for the chapter on scaling: a layer on the roofline, a sum around a ring."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from course_lib.checking import describe, expect_number, expect_tensor
from course_lib.figures import Figure, asset, figure

__all__ = ["ring", "roofline"]

_LONGEST = 24  # characters of a machine's name
_MOST_MACHINES = 5
_SLOWEST, _FASTEST = 1e6, 1e18  # bytes and multiply-adds a second
_MOST_PROCESSES = 6
_LARGEST = 99  # so that a sum of six still fits into its cell


def roofline(machines: Mapping[str, tuple[float, float, float]]) -> Figure:
    """Change a layer, and see on the roofline of a machine what it waits for.

    Args:
        machines: name → bytes a second of the memory; multiply-adds a second of the processor in
            float32; the same for products of matrices in 16 bits, for linear layers and
            convolutions (depthwise and element-wise layers keep the rate of float32). One to five
            machines.
    Raises:
        TypeError: if a rate is no number.
        ValueError: if the machines are too many or none, a name is empty or longer than 24
            characters, there are not three rates, or one is out of 1e6 to 1e18.
    """
    if not 1 <= len(machines) <= _MOST_MACHINES:
        raise ValueError(f"machines: expected one to {_MOST_MACHINES}, got {len(machines)}")
    given = {}
    for name, rates in machines.items():
        if not (isinstance(name, str) and 1 <= len(name) <= _LONGEST):
            raise ValueError(
                f"machines: expected names of 1 to {_LONGEST} characters, got {describe(name)}"
            )
        if len(rates) != 3:
            raise ValueError(f"machines[{name!r}]: expected three rates, got {describe(rates)}")
        for rate in rates:
            expect_number(f"machines[{name!r}]", rate, minimum=_SLOWEST, maximum=_FASTEST)
        given[name] = dict(zip(("memory", "float32", "half"), map(float, rates), strict=True))
    return figure(
        "roofline",
        asset("roofline.js"),
        {"machines": given},
        "A layer on the roofline of a machine",
        "Change the layer with the controls, or focus the chart: the arrow keys change the batch "
        "and the channels.",
    )


def ring(values: Tensor) -> Figure:
    """Step through the sum of a gradient over processes that stand in a ring.

    Args:
        values: ``Tensor[P, P]``, whole numbers from −99 to 99, 2 to 6 processes: row ``i`` holds
            the parts of process ``i``. With fewer processes the first ones and their first parts
            count.
    Raises:
        TypeError: if ``values`` is no tensor.
        ValueError: if its shape or a number is not as described.
    """
    expect_tensor("values", values, ndim=2)
    count = len(values)
    if values.shape != (count, count) or not 2 <= count <= _MOST_PROCESSES:
        raise ValueError(
            f"values: expected as many parts as processes, 2 to {_MOST_PROCESSES},"
            f" got {describe(values)}"
        )
    numbers = values.detach().double().cpu()
    if not ((numbers.abs() <= _LARGEST) & (numbers == numbers.round())).all():
        raise ValueError(
            f"values: expected whole numbers from -{_LARGEST} to {_LARGEST}, got {numbers.tolist()}"
        )
    return figure(
        "ring",
        asset("ring.js"),
        {"values": [[int(number) for number in row] for row in numbers.tolist()]},
        "A sum around a ring",
        "Press Next step, or focus the board and use the arrow keys: right and left for steps, up "
        "and down for the number of processes.",
    )
