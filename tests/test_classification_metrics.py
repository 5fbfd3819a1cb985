"""The measures of `course_lib.classification` beside scikit-learn's, with ties and absences."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as twin
from torch import Tensor

from course_lib import classification as topic
from support import assert_agree

DOUBLE = torch.float64


@pytest.fixture(autouse=True)
def _twins_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def draw(seed: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=DOUBLE).to(device)


def choose(seed: int, classes: int, *shape: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.randint(classes, shape, generator=seeded(seed)).to(device)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def near(ours: Tensor, theirs: Any) -> None:
    expected = torch.as_tensor(np.asarray(theirs, dtype=float))
    torch.testing.assert_close(ours.double().cpu(), expected, rtol=0, atol=1e-12, equal_nan=True)


# --- one class a picture --------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_accuracy_and_top_k_equal_their_twins(classes: int, device: torch.device) -> None:
    output, target = draw(1, 80, classes, device=device), choose(2, classes, 80, device=device)
    near(topic.accuracy(output, target), twin.accuracy_score(target.cpu(), output.cpu().argmax(1)))
    for k in range(1, classes + 1):
        hits = (output.topk(k, 1).indices == target[:, None]).any(1)
        near(topic.top_k_accuracy(output, target, k), hits.double().mean().item())
        if classes > 2:
            expected = twin.top_k_accuracy_score(
                target.cpu(), output.cpu(), k=k, labels=range(classes)
            )
            near(topic.top_k_accuracy(output, target, k), expected)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 3))
def test_ties_go_to_the_first_class(seed: int, classes: int, levels: int) -> None:
    output = choose(seed, levels, 12, classes).double()
    target = choose(seed + 1, classes, 12)
    order = output.sort(dim=1, descending=True, stable=True).indices  # (N, C)
    for k in range(1, classes + 1):
        expected = (order[:, :k] == target[:, None]).any(1).double().mean()
        assert topic.top_k_accuracy(output, target, k) == expected
    assert topic.accuracy(output, target) == (output.argmax(1) == target).double().mean()


def test_scores_that_are_no_numbers() -> None:
    nan, inf = math.nan, math.inf
    output = torch.tensor([[nan, nan, nan], [0, nan, 1], [nan, 0, 1], [-inf, -inf, inf]])
    target = torch.tensor([0, 2, 0, 2])
    assert topic.accuracy(output, target) == 0.25
    assert topic.top_k_accuracy(output, target, 2) == 0.5  # the NaN counts as ahead of the 1


def test_accuracy_of_nothing_and_in_every_dtype() -> None:
    assert topic.accuracy(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)).isnan()
    output, target = torch.eye(3).repeat(1000, 1), torch.arange(3000) % 3
    target[:1] = 1
    for dtype, kept in ((torch.float16, torch.float32), (DOUBLE, DOUBLE)):
        result = topic.accuracy(output.to(dtype), target)
        assert result.dtype == kept
        assert abs(result.item() - 2999 / 3000) < 1e-6


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 30))
def test_confusion_matrix_equals_its_twin(seed: int, classes: int, count: int) -> None:
    predicted, target = choose(seed, classes, count), choose(seed + 1, classes, count)
    matrix = topic.confusion_matrix(predicted, target, classes)
    assert matrix.dtype == torch.int64
    if count:
        expected = twin.confusion_matrix(target, predicted, labels=range(classes))
        assert matrix.tolist() == expected.tolist()
    assert matrix.sum() == count


def test_rows_are_the_truth_and_columns_what_was_said(device: torch.device) -> None:
    predicted, target = torch.tensor([[2, 2, 0], [1, 1, 0]], device=device)
    expected = [[1, 0, 0], [0, 0, 2], [0, 0, 0]]
    assert topic.confusion_matrix(predicted, target, 3).tolist() == expected


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 25))
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
def test_precision_recall_equals_its_twin(
    average: str | None, seed: int, classes: int, count: int
) -> None:
    """With few examples of many classes, so that some are absent and some never said."""
    predicted, target = choose(seed, classes, count), choose(seed + 1, classes, count)
    ours = topic.precision_recall(predicted, target, classes, average=average)
    theirs = twin.precision_recall_fscore_support(
        target, predicted, labels=range(classes), average=average, zero_division=0
    )
    for mine, expected in zip(ours[:3], theirs[:3], strict=True):
        near(mine, expected)
    if average is None:
        assert ours.support.tolist() == theirs[3].tolist()
    else:
        assert ours.support == count


@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 12))
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
def test_precision_recall_of_several_labels_equals_its_twin(
    average: str | None, seed: int, labels: int, count: int
) -> None:
    predicted, target = choose(seed, 2, 2, count, labels).bool()
    ours = topic.precision_recall(predicted, target, average=average)
    theirs = twin.precision_recall_fscore_support(
        target, predicted, average=average, zero_division=0
    )
    for mine, expected in zip(ours[:3], theirs[:3], strict=True):
        near(mine, expected)


def test_micro_is_the_accuracy() -> None:
    predicted, target = choose(1, 4, 50), choose(2, 4, 50)
    right = (predicted == target).double().mean()
    for value in topic.precision_recall(predicted, target, 4, average="micro")[:3]:
        assert_agree(value, right)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x, y: topic.accuracy(x, y[:4]), ValueError, "target: expected shape"),
        (lambda x, y: topic.accuracy(x, y.double()), TypeError, "target: expected classes, int64"),
        (lambda x, y: topic.accuracy(x[0], y), ValueError, "output: expected 2 dimensions"),
        (lambda x, y: topic.accuracy(x.long(), y), TypeError, "output: expected a floating"),
        (lambda x, y: topic.top_k_accuracy(x, y, 4), ValueError, "k: expected at most the 3"),
        (lambda x, y: topic.top_k_accuracy(x, y, 0), ValueError, "k: expected an integer >= 1"),
        (lambda x, y: topic.confusion_matrix(y, y[:4], 3), ValueError, "target: expected shape"),
        (lambda x, y: topic.confusion_matrix(y, y, 2), IndexError, "from 0 to 1"),
        (lambda x, y: topic.confusion_matrix(y - 1, y, 3), IndexError, "got -1 to"),
        (lambda x, y: topic.precision_recall(y, y), TypeError, "num_classes: expected"),
        (lambda x, y: topic.precision_recall(x, x), TypeError, "predicted: expected bool"),
        (lambda x, y: topic.precision_recall(y, y, 3, average="all"), ValueError, "average"),
        (lambda x, y: topic.roc_auc(x[:, 0], y), TypeError, "target: expected bool"),
        (lambda x, y: topic.roc_auc(x[:, 0], y[:4] > 1), ValueError, "target: expected shape"),
        (lambda x, y: topic.roc_curve(x, x > 0), ValueError, "output: expected 1 dim"),
        (lambda x, y: topic.average_precision_score(y, y > 0), TypeError, "output: expected a fl"),
        (lambda x, y: topic.choose_thresholds(x[:0], x[:0] > 0), ValueError, "at least one"),
        (lambda x, y: topic.choose_thresholds(x[:, 0], y > 0), ValueError, "2 dimensions"),
        (lambda x, y: topic.bootstrap_interval(topic.accuracy, x, y[:4]), ValueError, "target"),
        (lambda x, y: topic.bootstrap_interval(topic.accuracy, x[:0], y[:0]), ValueError, "target"),
        (
            lambda x, y: topic.bootstrap_interval(topic.accuracy, x, y, level=0),
            ValueError,
            "level: expected",
        ),
        (
            lambda x, y: topic.bootstrap_interval(topic.accuracy, x, y, level=1),
            ValueError,
            "level: expected",
        ),
    ],
)
def test_wrong_arguments(
    call: Callable[[Tensor, Tensor], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(draw(1, 5, 3), torch.tensor([0, 1, 2, 1, 0]))


# --- scores against yes or no ---------------------------------------------------------------------

AREAS = {
    "roc_auc": (topic.roc_auc, topic.roc_auc_loops, twin.roc_auc_score),
    "average_precision_score": (
        topic.average_precision_score,
        topic.average_precision_score_loops,
        twin.average_precision_score,
    ),
}
every_area = pytest.mark.parametrize(("fast", "loops", "reference"), AREAS.values(), ids=AREAS)


@every_area
@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([1, 2, 5, 1000]))
def test_areas_equal_their_twins_with_ties(
    fast: Callable[..., Tensor],
    loops: Callable[..., Tensor],
    reference: Callable[..., float],
    seed: int,
    count: int,
    levels: int,
) -> None:
    output = choose(seed, levels, count).double() / levels
    target = choose(seed + 1, 2, count).bool()
    target[:2] = torch.tensor([False, True])
    expected = reference(target, output)
    near(fast(output, target), expected)
    near(loops(output, target), expected)


@every_area
def test_areas_label_by_label(
    fast: Callable[..., Tensor],
    loops: Callable[..., Tensor],
    reference: Callable[..., Any],
    device: torch.device,
) -> None:
    output = draw(1, 30, 4, device=device).round(decimals=1)
    target = draw(2, 30, 4, device=device) > 0.3
    expected = reference(target.cpu(), output.cpu(), average=None)
    near(fast(output, target), expected)
    near(loops(output, target), expected)
    near(fast(output.T.contiguous().T, target), expected)
    near(fast(output[:, 2], target[:, 2]), expected[2])
    assert fast(output[:, :0], target[:, :0]).shape == loops(output[:, :0], target[:, :0]).shape


@pytest.mark.parametrize(
    ("output", "target", "auc", "precision"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 1.0, 1.0),
        ([0.1, 0.2, 0.8, 0.9], [1, 1, 0, 0], 0.0, 5 / 12),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 0], 0.5, 0.25),
        ([math.inf, 1.0, -math.inf, 0.0], [1, 0, 0, 1], 0.75, 5 / 6),
        ([0.3, 0.4], [1, 1], math.nan, 1.0),
        ([0.3, 0.4], [0, 0], math.nan, math.nan),
        ([0.3, math.nan, 0.2], [0, 1, 1], math.nan, math.nan),
        ([], [], math.nan, math.nan),
    ],
)
def test_areas_on_paper(
    output: list[float], target: list[int], auc: float, precision: float
) -> None:
    scores, truth = torch.tensor(output, dtype=DOUBLE), torch.tensor(target).bool()
    for function in (topic.roc_auc, topic.roc_auc_loops):
        near(function(scores, truth), auc)
    for function in (topic.average_precision_score, topic.average_precision_score_loops):
        near(function(scores, truth), precision)


def test_areas_of_many_scores_keep_their_accuracy() -> None:
    """Ranks add up to some 1e10, more than float32 can count."""
    output, target = draw(1, 100_000).float(), draw(2, 100_000) > 0
    for fast, _, reference in AREAS.values():
        assert abs(fast(output, target).item() - reference(target, output)) < 1e-5


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([1, 3, 1000]))
def test_roc_curve_equals_its_twin(seed: int, count: int, levels: int) -> None:
    output = choose(seed, levels, count).double()
    target = choose(seed + 1, 2, count).bool()
    expected = twin.roc_curve(target, output, drop_intermediate=False)
    for mine, theirs in zip(topic.roc_curve(output, target), expected, strict=True):
        near(mine, theirs)


def test_the_area_under_the_curve_is_the_auc(device: torch.device) -> None:
    output = draw(1, 50, device=device).round(decimals=1)
    target = draw(2, 50, device=device) > 0
    false, true, thresholds = topic.roc_curve(output, target)
    assert_agree(torch.trapezoid(true, false), topic.roc_auc(output, target))
    assert thresholds[0] == math.inf
    for n, threshold in enumerate(thresholds):
        assert_agree(true[n], ((output >= threshold) & target).sum().double() / target.sum())
        assert_agree(false[n], ((output >= threshold) & ~target).sum().double() / (~target).sum())


def test_the_mean_is_over_labels_that_occur() -> None:
    output, target = draw(1, 20, 4), draw(2, 20, 4) > 0
    near(
        topic.mean_average_precision_score(output, target),
        twin.average_precision_score(target, output, average="macro"),
    )
    target[:, 1] = False
    each = topic.average_precision_score(output, target)
    assert each[1].isnan()
    near(topic.mean_average_precision_score(output, target), each[[0, 2, 3]].mean().item())
    assert topic.mean_average_precision_score(output, target & False).isnan()


# --- thresholds -----------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([1, 3, 1000]))
def test_no_threshold_is_better_than_the_chosen_one(seed: int, count: int, levels: int) -> None:
    output = choose(seed, levels, count, 3).double() / levels
    target = choose(seed + 1, 2, count, 3).bool()
    thresholds = topic.choose_thresholds(output, target)
    assert thresholds.shape == (3,)
    reached = topic.precision_recall(output >= thresholds, target).f1
    for candidate in [*output.flatten(), torch.tensor(math.inf)]:
        assert (topic.precision_recall(output >= candidate, target).f1 <= reached + 1e-12).all()
    absent = ~target.any(0)
    assert torch.equal(thresholds.isinf(), absent)


def test_a_threshold_lies_in_the_middle_and_is_the_highest_of_equals() -> None:
    output = torch.tensor([[0.9], [0.7], [0.3], [0.1]], dtype=DOUBLE)
    assert_agree(
        topic.choose_thresholds(output, torch.tensor([[1], [1], [0], [0]]).bool()),
        torch.tensor([0.5], dtype=DOUBLE),
    )
    all_count = topic.choose_thresholds(output, torch.ones(4, 1).bool())
    assert all_count.tolist() == [0.1]
    # 1 of 1, or 2 of 4: F1 is 2/3 both times
    tied = topic.choose_thresholds(output, torch.tensor([[1], [0], [0], [1]]).bool())
    assert_agree(tied, torch.tensor([0.8], dtype=DOUBLE))


def test_a_threshold_between_neighbouring_floats_parts_them() -> None:
    low = torch.tensor(0.3, dtype=torch.float32)
    high = torch.nextafter(low, torch.tensor(1.0, dtype=torch.float32))
    output, target = torch.stack([high, low])[:, None], torch.tensor([[True], [False]])
    assert ((output >= topic.choose_thresholds(output, target)) == target).all()


@pytest.mark.parametrize("low", [-math.inf, 0.0])
def test_infinite_scores_are_parted(low: float) -> None:
    output, target = torch.tensor([[math.inf], [low]]), torch.tensor([[True], [False]])
    assert ((output >= topic.choose_thresholds(output, target)) == target).all()


# --- how sure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.95, 0.5])
def test_the_interval_equals_scipys_up_to_chance(level: float) -> None:
    output, target = draw(1, 150, 3), choose(2, 3, 150)
    output[torch.arange(150), target] += 1.0
    hits = (output.argmax(1) == target).double().numpy()
    ours = topic.bootstrap_interval(
        topic.accuracy, output, target, level=level, resamples=2000, generator=seeded(1)
    )
    theirs = scipy.stats.bootstrap(
        (hits,), np.mean, confidence_level=level, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    for mine, expected in zip(ours, theirs, strict=True):
        assert abs(mine - expected) < 0.011


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(150):
        hits = torch.rand(100, generator=seeded(seed)) < 0.8
        low, high = topic.bootstrap_interval(
            lambda hit, _: hit.double().mean(), hits, hits, level=0.8, resamples=100,
            generator=seeded(seed + 1),
        )  # fmt: skip
        covered += int(low <= 0.8 <= high)
    assert 0.68 < covered / 150 < 0.9


def test_a_seed_gives_the_same_interval_and_pairs_stay_together(device: torch.device) -> None:
    output = torch.arange(10, device=device)

    def agree(a: Tensor, b: Tensor) -> Tensor:
        assert torch.equal(a, b)
        return a.double().mean()

    first, second, third = (
        torch.stack(
            topic.bootstrap_interval(agree, output, output, resamples=50, generator=seeded(seed))
        )
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_results_that_are_no_number_are_left_out() -> None:
    target = torch.tensor([True, False])
    low, high = topic.bootstrap_interval(
        topic.roc_auc, torch.tensor([1.0, 0.0]), target, resamples=50, generator=seeded(1)
    )
    assert low == high == 1
