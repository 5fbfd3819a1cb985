"""Parts for training, validation and testing that have nothing in common.

Equation: (classification-standardise).

Source: Kaufman, Rosset, Perlich and Stitelman, "Leakage in data mining: formulation, detection, and
    avoidance", 2012.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from course_lib.checking import describe, expect_number, expect_shape, expect_tensor


def stratified_split(
    labels: Tensor, fractions: Sequence[float], *, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Divide examples into parts, by chance, so that each part has its share of every class.

    Args:
        labels: ``Tensor[N]`` of integers.
        fractions: the parts' shares, above 0; they add up to 1.
        generator: where chance comes from; the same seed gives the same parts.
    Returns:
        the indices of each part, ascending, ``Tensor[n]``, int64. No index is in two parts, and
        each is in one. Of a class with c examples a part of share p has ``c * p``, rounded up or
        down.
    Raises:
        TypeError, ValueError: if the labels or the fractions make no sense.
    """
    _expect_integers("labels", labels)
    fractions = _expect_fractions(fractions)
    parts = torch.empty_like(labels)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        count = len(members)
        # Each end is rounded up or down by chance, so that rare classes favour no part.
        luck = float(torch.rand((), generator=generator))
        ends = [math.floor(count * share + luck) for share in accumulate(fractions[:-1])]
        part = torch.bucketize(torch.arange(count), torch.tensor(ends), right=True)
        order = torch.randperm(count, generator=generator)
        parts[members[order.to(labels.device)]] = part.to(parts)
    return [(parts == n).nonzero()[:, 0] for n in range(len(fractions))]


def grouped_split(
    groups: Tensor, fractions: Sequence[float], *, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Divide examples into parts, by chance, and never divide a group.

    A group is what must not be on both sides: scans by one writer, frames of one film, near
    duplicates. One group after the other goes to the part that is furthest behind its share.

    Args:
        groups: ``Tensor[N]`` of integers, the group of each example.
        fractions: the parts' shares of the examples, above 0; they add up to 1.
        generator: where chance comes from; the same seed gives the same parts.
    Returns:
        the indices of each part, ascending, ``Tensor[n]``, int64. No group is in two parts, and no
        part is empty. The shares hold as well as the groups allow.
    Raises:
        TypeError, ValueError: if the groups or the fractions make no sense, or there are fewer
            groups than parts.
    """
    _expect_integers("groups", groups)
    fractions = _expect_fractions(fractions)
    names, members, counts = groups.unique(return_inverse=True, return_counts=True)
    if len(names) < len(fractions):
        raise ValueError(
            f"groups: expected at least one for each of {len(fractions)} parts, got {len(names)}"
        )
    sizes, filled = counts.tolist(), [0.0] * len(fractions)  # of each part, by its share
    part = [0] * len(sizes)
    for group in torch.randperm(len(sizes), generator=generator).tolist():
        part[group] = filled.index(min(filled))
        filled[part[group]] += sizes[group] / fractions[part[group]]
    parts = torch.tensor(part, device=groups.device)[members]
    return [(parts == n).nonzero()[:, 0] for n in range(len(fractions))]


def near_duplicates(images: Tensor, distance: float) -> Tensor:
    """Put pictures that are nearly the same into one group, for `grouped_split`.

    Two pictures are linked if their Euclidean distance is at most ``distance``; a group is all
    that links connect.

    Args:
        images: ``Tensor[N, C, H, W]``, floating; or features of them, ``Tensor[N, F]``.
        distance: largest distance of a link, in the units of the pictures.
    Returns:
        ``Tensor[N]``, int64: the smallest index in each picture's group.
    Raises:
        TypeError, ValueError: if an argument makes no sense.
    """
    expect_tensor("images", images, ndim=(2, 3, 4), floating=True)
    expect_number("distance", distance, minimum=0)
    if len(images) == 0:
        raise ValueError(f"images: expected at least one, got {describe(images)}")
    rows = images.flatten(1)  # (N, D)
    # Not by matrix products: they would see equal pictures some 1e-3 apart.
    far = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    linked = far <= distance  # (N, N)
    linked.fill_diagonal_(True)  # also of a picture that holds NaN
    group = torch.arange(len(rows), device=rows.device)
    while True:  # each takes the smallest name among its neighbours, until nothing changes
        smallest = torch.where(linked, group, len(rows)).amin(1)
        if torch.equal(smallest, group):
            return group
        group = smallest


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation, channel by channel.

    Equation (classification-standardise). As a layer of the network, so that whoever gets the
    network gets the same numbers.

    Args:
        mean: ``Tensor[C]``.
        std: ``Tensor[C]``, above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor | Sequence[float], std: Tensor | Sequence[float]) -> None:
        super().__init__()
        mean, std = torch.as_tensor(mean), torch.as_tensor(std)
        expect_tensor("mean", mean, ndim=1, floating=True)
        expect_shape("std", std, mean.shape)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @classmethod
    def fitted(cls, images: Tensor) -> Normalize:
        """Measure the channels of pictures, those of the training part and no others.

        Args:
            images: ``Tensor[N, C, H, W]``, floating. The standard deviation is that of the numbers
                as they are (divided by their count); 1 stands for it where it is 0.
        """
        expect_tensor("images", images, ndim=4, floating=True)
        std, mean = torch.std_mean(images, (0, 2, 3), correction=0)
        return cls(mean, std.where(std > 0, 1))

    def forward(self, input: Tensor) -> Tensor:
        """Map ``Tensor[N, C, H, W]`` to numbers around 0."""
        return (input - self.mean[:, None, None]) / self.std[:, None, None]


def _expect_integers(name: str, value: Tensor) -> None:
    expect_tensor(name, value, ndim=1)
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name}: expected integers, got {describe(value)}")
    if len(value) == 0:
        raise ValueError(f"{name}: expected at least one example, got none")


def _expect_fractions(fractions: Sequence[float]) -> list[float]:
    for n, fraction in enumerate(fractions):
        if expect_number(f"fractions[{n}]", fraction, maximum=1) <= 0:
            raise ValueError(f"fractions[{n}]: expected a number above 0, got {fraction}")
    if not math.isclose(sum(fractions), 1, abs_tol=1e-9):
        raise ValueError(f"fractions: expected shares that add up to 1, got {tuple(fractions)}")
    return list(fractions)
