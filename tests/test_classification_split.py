"""Parts that have nothing in common, and numbers measured on one of them alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse.csgraph
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit
from torch import Tensor, nn

from course_lib import classification as topic
from support import assert_agree

SHARES = [[1.0], [0.5, 0.5], [0.7, 0.15, 0.15], [0.1, 0.2, 0.3, 0.4]]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def expect_partition(parts: list[Tensor], count: int) -> None:
    """Each index in exactly one part, ascending."""
    assert torch.cat(parts).sort().values.tolist() == list(range(count))
    for part in parts:
        assert part.dtype == torch.int64
        assert (part.diff() > 0).all()


# --- by class -------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(-2, 4), min_size=1, max_size=60),
    st.sampled_from(SHARES),
    st.integers(0, 1000),
)
def test_each_part_has_its_share_of_every_class(
    labels: list[int], shares: list[float], seed: int
) -> None:
    truth = torch.tensor(labels)
    parts = topic.stratified_split(truth, shares, generator=seeded(seed))
    assert len(parts) == len(shares)
    expect_partition(parts, len(labels))
    for label in truth.unique():
        count = int((truth == label).sum())
        for part, share in zip(parts, shares, strict=True):
            assert abs(int((truth[part] == label).sum()) - share * count) < 1 + 1e-9


def test_whole_shares_are_exact_as_scikit_learns() -> None:
    labels = torch.arange(400) % 4
    parts = topic.stratified_split(labels, [0.8, 0.2], generator=seeded(1))
    (pair,) = StratifiedShuffleSplit(1, test_size=0.2, random_state=0).split(labels, labels)
    for part, theirs in zip(parts, pair, strict=True):
        assert labels[part].bincount().tolist() == np.bincount(labels[theirs]).tolist()


def test_rare_classes_favour_no_part() -> None:
    labels = torch.arange(2000)  # one example each
    _, second = topic.stratified_split(labels, [0.8, 0.2], generator=seeded(1))
    assert abs(len(second) - 400) < 60


def test_chance_decides_which_examples_and_a_seed_repeats_it() -> None:
    labels = torch.arange(60) % 3
    first, again, other = (
        topic.stratified_split(labels, [0.5, 0.5], generator=seeded(seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    counts = torch.zeros(60)
    for seed in range(200):
        counts[topic.stratified_split(labels, [0.5, 0.5], generator=seeded(seed))[0]] += 1
    assert counts.min() > 60
    assert counts.max() < 140


# --- by group -------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(-3, 12), min_size=4, max_size=80),
    st.sampled_from(SHARES),
    st.integers(0, 1000),
)
def test_no_group_is_divided_and_no_part_is_empty(
    groups: list[int], shares: list[float], seed: int
) -> None:
    names = torch.tensor(groups)
    if len(set(groups)) < len(shares):
        with pytest.raises(ValueError, match="groups: expected at least one for each"):
            topic.grouped_split(names, shares, generator=seeded(seed))
        return
    parts = topic.grouped_split(names, shares, generator=seeded(seed))
    expect_partition(parts, len(groups))
    owners = [set(names[part].tolist()) for part in parts]
    assert all(owners)
    assert sum(len(owner) for owner in owners) == len(set(groups))
    largest = names.unique(return_counts=True)[1].max()
    for part, share in zip(parts, shares, strict=True):
        assert len(part) <= share * len(groups) + largest


def test_many_small_groups_keep_the_shares() -> None:
    groups = torch.arange(3000) // 3
    for share, part in zip(
        SHARES[2], topic.grouped_split(groups, SHARES[2], generator=seeded(1)), strict=True
    ):
        assert abs(len(part) / 3000 - share) < 0.01


def test_the_shares_are_of_examples_and_not_of_groups() -> None:
    sizes = torch.tensor([1, 21]).repeat(200)
    groups = torch.arange(400).repeat_interleave(sizes)
    for seed in range(5):
        for part in topic.grouped_split(groups, [0.5, 0.5], generator=seeded(seed)):
            assert abs(len(part) - len(groups) / 2) <= 21


def test_a_seed_repeats_the_groups() -> None:
    groups = torch.arange(90) // 3
    first, again, other = (
        topic.grouped_split(groups, [0.5, 0.5], generator=seeded(seed))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


# --- near duplicates ------------------------------------------------------------------------------


@given(st.integers(0, 1000), st.integers(1, 25), st.floats(0, 1.5))
def test_groups_are_what_links_connect(seed: int, count: int, distance: float) -> None:
    images = torch.rand(count, 1, 2, 2, generator=seeded(seed), dtype=torch.float64)
    groups = topic.near_duplicates(images, distance)
    far = (images[:, None] - images).flatten(2).square().sum(2).sqrt()
    _, expected = scipy.sparse.csgraph.connected_components((far <= distance).numpy())
    same = torch.as_tensor(expected)[:, None] == torch.as_tensor(expected)
    assert torch.equal(groups[:, None] == groups, same)
    for n, group in enumerate(groups.tolist()):
        assert group == same[n].nonzero()[0].item()


def test_links_reach_from_neighbour_to_neighbour(device: torch.device) -> None:
    chain = torch.arange(12.0, device=device)[:, None].flip(0)
    assert topic.near_duplicates(chain, 1.0).tolist() == [0] * 12
    assert topic.near_duplicates(chain, 0.99).tolist() == list(range(12))


def test_equal_pictures_are_found_and_nan_has_no_neighbour() -> None:
    images = 1000 + torch.rand(40, 1, 8, 8, generator=seeded(1))
    images[30] = images[3]
    images[7] = torch.nan
    groups = topic.near_duplicates(images, 0.0)
    assert groups[30] == 3
    assert len(groups.unique()) == 39
    assert groups[7] == 7


def test_duplicates_and_groups_keep_copies_together() -> None:
    images = torch.rand(50, 1, 4, 4, generator=seeded(1)).repeat(2, 1, 1, 1)
    groups = topic.near_duplicates(images + 1e-3 * torch.rand_like(images), 0.05)
    train, test = topic.grouped_split(groups, [0.6, 0.4], generator=seeded(2))
    assert not set((train % 50).tolist()) & set((test % 50).tolist())


# --- normalisation --------------------------------------------------------------------------------


def test_normalised_numbers_have_mean_nought_and_variance_one(device: torch.device) -> None:
    images = torch.rand(20, 3, 5, 4, generator=seeded(1), dtype=torch.float64).to(device)
    images = images * torch.tensor([1.0, 5, 0.1], device=device)[:, None, None] + 3
    layer = topic.Normalize.fitted(images)
    result = layer(images)
    assert_agree(result.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64, device=device))
    assert_agree((result**2).mean((0, 2, 3)), torch.ones(3, dtype=torch.float64, device=device))
    mean, std = images.mean((0, 2, 3)), images.std((0, 2, 3), correction=0)
    other = images[:3] ** 2
    for c in range(3):
        assert_agree(layer(other)[:, c], (other[:, c] - mean[c]) / std[c])


def test_normalising_is_a_layer_without_parameters() -> None:
    layer = topic.Normalize([0.5, 0.2], torch.tensor([2.0, 4.0]))
    assert list(layer.parameters()) == []
    model = nn.Sequential(layer)
    assert list(model.state_dict()) == ["0.mean", "0.std"]
    other = nn.Sequential(topic.Normalize([0.0, 0.0], [1.0, 1.0]))
    other.load_state_dict(model.state_dict())
    images = torch.rand(3, 2, 4, 4)
    assert torch.equal(model(images), other(images))


def test_a_channel_that_never_changes_becomes_nought() -> None:
    images = torch.rand(4, 2, 3, 3)
    images[:, 1] = 0.7
    result = topic.Normalize.fitted(images)(images)
    assert result.isfinite().all()
    assert result[:, 1].abs().max() < 1e-6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: topic.stratified_split(x.double(), [1.0]), TypeError, "labels: expected int"),
        (lambda x: topic.stratified_split(x > 1, [1.0]), TypeError, "labels: expected integers"),
        (lambda x: topic.stratified_split(x[None], [1.0]), ValueError, "labels: expected 1 dim"),
        (lambda x: topic.stratified_split(x[:0], [1.0]), ValueError, "at least one example"),
        (lambda x: topic.stratified_split(x, [0.5, 0.4]), ValueError, "add up to 1"),
        (lambda x: topic.stratified_split(x, [1.0, 0.0]), ValueError, r"fractions\[1\]: expected"),
        (lambda x: topic.stratified_split(x, []), ValueError, "add up to 1"),
        (lambda x: topic.stratified_split(x, [1.5, -0.5]), ValueError, r"fractions\[0\]: expec"),
        (lambda x: topic.grouped_split(x.double(), [1.0]), TypeError, "groups: expected integers"),
        (lambda x: topic.grouped_split(x, [0.5, 0.6]), ValueError, "add up to 1"),
        (lambda x: topic.near_duplicates(x, 1.0), TypeError, "images: expected a floating"),
        (lambda x: topic.near_duplicates(x.double(), 1.0), ValueError, "images: expected 2 or"),
        (lambda x: topic.near_duplicates(x[:0, None] / 2, 1.0), ValueError, "at least one"),
        (lambda x: topic.near_duplicates(x[:, None] / 2, -1.0), ValueError, "distance: expected"),
        (lambda x: topic.Normalize([0.0], [1.0, 1.0]), ValueError, "std: expected shape"),
        (lambda x: topic.Normalize([[0.0]], [1.0]), ValueError, "mean: expected 1 dim"),
        (lambda x: topic.Normalize.fitted(x.double()), ValueError, "images: expected 4 dim"),
    ],
)
def test_wrong_arguments(
    call: Callable[[Tensor], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(torch.tensor([0, 1, 2, 1]))
