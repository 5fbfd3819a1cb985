"""How good is a classifier, and how sure can we be of that number?

Equations: (classification-accuracy), (classification-top-k), (classification-precision-recall),
(classification-f1), (classification-roc), (classification-auc),
(classification-average-precision), (classification-bootstrap).

The order of arguments is that of the losses: what the network says, then the truth.

Sources:
    Fawcett, "An introduction to ROC analysis", 2006.
    Davis and Goadrich, "The relationship between precision-recall and ROC curves", 2006.
    Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapter 13.
    What is left open by them (0/0, ties) is settled as in scikit-learn; where not, it says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from course_lib.checking import (
    describe,
    expect_choice,
    expect_in_range,
    expect_int,
    expect_number,
    expect_shape,
    expect_tensor,
)

# --- one class a picture ------------------------------------------------------------------------


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of the pictures whose highest score is the right one's; (classification-accuracy).

    Args:
        output: scores, ``Tensor[N, C]``, floating. Of equal scores the first class counts, as
            for `torch.argmax`.
        target: classes, ``Tensor[N]``, int64.
    Returns:
        ``Tensor[]`` in [0, 1]; NaN without pictures.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    return top_k_accuracy(output, target, 1)


def top_k_accuracy(output: Tensor, target: Tensor, k: int = 5) -> Tensor:
    """Share of the pictures whose class is among the k highest scores; (classification-top-k).

    As `sklearn.metrics.top_k_accuracy_score`, except for ties.

    Args:
        output: scores, ``Tensor[N, C]``, floating. Of equal scores the first classes go first, as
            for `torch.argmax` (in scikit-learn the last ones). Scores that are NaN are wrong.
        target: classes, ``Tensor[N]``, int64.
        k: how many guesses a picture has, ``C`` at most.
    Returns:
        ``Tensor[]`` in [0, 1]; NaN without pictures.
    Raises:
        TypeError, ValueError: if the tensors do not fit, or ``k`` is too large.
    """
    expect_tensor("output", output, ndim=2, floating=True)
    _expect_classes("target", target, len(output))
    if expect_int("k", k, minimum=1) > output.shape[1]:
        raise ValueError(f"k: expected at most the {output.shape[1]} classes, got {k}")
    own = output.gather(1, target[:, None])  # (N, 1)
    later = torch.arange(output.shape[1], device=output.device) >= target[:, None]  # (N, C)
    behind = (output < own) | ((output == own) & later)  # itself too, if it is not NaN
    ahead = (~behind).sum(1)
    return (ahead < k).to(_at_least_float32(output)).mean()


def confusion_matrix(predicted: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Count how often each class was taken for each.

    As `sklearn.metrics.confusion_matrix`, which wants the truth first.

    Args:
        predicted: classes, ``Tensor[N]``, int64.
        target: the true ones, ``Tensor[N]``, int64.
        num_classes: how many there are.
    Returns:
        ``Tensor[C, C]``, int64: in row i and column j, the pictures of class i taken for j.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
        IndexError: if a class is out of range.
    """
    expect_int("num_classes", num_classes, minimum=1)
    _expect_classes("predicted", predicted)
    _expect_classes("target", target, len(predicted))
    expect_in_range("predicted", predicted, num_classes)
    expect_in_range("target", target, num_classes)
    counts = target.new_zeros(num_classes, num_classes)
    return counts.index_put_((target, predicted), target.new_ones(()), accumulate=True)


class PrecisionRecall(NamedTuple):
    """What `precision_recall` returns: a number a class, or their mean."""

    precision: Tensor
    """of what was taken for the class, the share that is of it"""
    recall: Tensor
    """of what is of the class, the share that was found"""
    f1: Tensor
    """the harmonic mean of both"""
    support: Tensor
    """pictures of the class, int64"""


def precision_recall(
    predicted: Tensor,
    target: Tensor,
    num_classes: int | None = None,
    *,
    average: str | None = None,
) -> PrecisionRecall:
    """Compute precision, recall and F1; (classification-precision-recall), (classification-f1).

    As `sklearn.metrics.precision_recall_fscore_support` with all classes as ``labels``.

    Args:
        predicted: ``Tensor[N]``, int64, one class a picture; or ``Tensor[N, L]``, bool, several
            labels at once.
        target: the truth, of the same shape and dtype.
        num_classes: how many classes there are; not needed for several labels.
        average: ``None`` for each class by itself; ``"macro"`` for the mean over the classes;
            ``"weighted"`` for that mean weighted by ``support``; ``"micro"`` counts all classes
            together, which for one class a picture gives the accuracy, three times.
    Returns:
        `PrecisionRecall` in float64 (on MPS float32); 0/0 counts as 0, as for a class that never
        occurs.
    Raises:
        TypeError, ValueError: if the tensors do not fit, or there is no such average.
    """
    expect_choice("average", average, (None, "macro", "micro", "weighted"))
    expect_tensor("predicted", predicted, ndim=(1, 2))
    expect_tensor("target", target)
    expect_shape("target", target, predicted.shape)
    if predicted.ndim == 1:
        matrix = confusion_matrix(
            predicted, target, expect_int("num_classes", num_classes, minimum=1)
        )
        hits, said, support = matrix.diagonal(), matrix.sum(0), matrix.sum(1)
    else:
        _expect_bool("predicted", predicted)
        _expect_bool("target", target)
        hits, said, support = (predicted & target).sum(0), predicted.sum(0), target.sum(0)
    if average == "micro":
        hits, said, support = hits.sum(), said.sum(), support.sum()
    precision, recall = _ratio(hits, said), _ratio(hits, support)
    f1 = _ratio(2 * hits, said + support)
    if average in ("macro", "weighted"):
        weight = _ratio(support, support.sum()) if average == "weighted" else 1 / len(support)
        precision, recall, f1 = ((weight * value).sum() for value in (precision, recall, f1))
        support = support.sum()
    return PrecisionRecall(precision, recall, f1, support)


# --- scores against yes or no -------------------------------------------------------------------


def roc_curve(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Follow false and true positive rate as the threshold sinks; (classification-roc).

    As `sklearn.metrics.roc_curve`, which wants the truth first, with ``drop_intermediate=False``.

    Args:
        output: scores, ``Tensor[N]``, floating.
        target: the truth, ``Tensor[N]``, bool.
    Returns:
        false positive rates, true positive rates and thresholds, ``Tensor[T]`` each: what counts as
        positive has this score or more. The first threshold is infinite, the others are all the
        different scores. A rate is NaN if there is nothing that it could count.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    expect_tensor("output", output, ndim=1, floating=True)
    _expect_truth(output, target)
    ordered, order = output.sort(descending=True)
    positives = _cumulated(target[order])  # (N + 1,)
    negatives = _cumulated(~target[order])
    last = ordered != torch.cat([ordered[1:], ordered.new_full((1,), torch.nan)])
    ends = torch.cat([torch.ones_like(last[:1]), last[: len(output)]])  # equal scores go together
    ends[0] = True
    thresholds = torch.cat([ordered.new_full((1,), torch.inf), ordered])
    rates = [counts[ends].to(output.dtype) / counts[-1] for counts in (negatives, positives)]
    return rates[0], rates[1], thresholds[ends]


def roc_auc_loops(output: Tensor, target: Tensor) -> Tensor:
    """Compare every positive with every negative, one by one; equation (classification-auc).

    Arguments, result and errors are those of `roc_auc`.
    """
    return _label_by_label(_auc_loops, output, target)


def roc_auc(output: Tensor, target: Tensor) -> Tensor:
    """Probability that a positive has a higher score than a negative; (classification-auc).

    It is the area under `roc_curve`. As `sklearn.metrics.roc_auc_score`, which wants the truth
    first.

    Args:
        output: scores, ``Tensor[N]`` or, for several labels, ``Tensor[N, L]``, floating.
        target: the truth, of the same shape, bool.
    Returns:
        ``Tensor[]`` or ``Tensor[L]`` in [0, 1]. Equal scores count one half. NaN where there is no
        positive, no negative, or a score that is NaN.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    return _at_once(_auc, output, target)


def average_precision_score_loops(output: Tensor, target: Tensor) -> Tensor:
    """Lower the threshold from score to score; equation (classification-average-precision).

    Arguments, result and errors are those of `average_precision_score`.
    """
    return _label_by_label(_average_precision_loops, output, target)


def average_precision_score(output: Tensor, target: Tensor) -> Tensor:
    """Mean precision over the positives, each at its own score as the threshold.

    Equation (classification-average-precision): the area under the steps of precision against
    recall. As `sklearn.metrics.average_precision_score`, which wants the truth first.

    Args:
        output: scores, ``Tensor[N]`` or, for several labels, ``Tensor[N, L]``, floating.
        target: the truth, of the same shape, bool.
    Returns:
        ``Tensor[]`` or ``Tensor[L]`` in [0, 1]. Equal scores are taken together. NaN where there is
        no positive (in scikit-learn 0), or a score that is NaN.
    Raises:
        TypeError, ValueError: if the tensors do not fit.
    """
    return _at_once(_average_precision, output, target)


def mean_average_precision_score(output: Tensor, target: Tensor) -> Tensor:
    """Mean of `average_precision_score` over the labels that occur.

    Not what detectors call mean average precision: that is `course_lib.boxes`'s.

    Args:
        output: scores, ``Tensor[N, L]``, floating.
        target: the truth, ``Tensor[N, L]``, bool.
    Returns:
        ``Tensor[]``; NaN if no label occurs.
    """
    expect_tensor("output", output, ndim=2)
    precisions = average_precision_score(output, target)
    occurs = target.any(0)
    return precisions.where(occurs, 0).sum() / occurs.sum()


def choose_thresholds(output: Tensor, target: Tensor) -> Tensor:
    """Find for each label the threshold with the largest F1; choose it on validation data.

    What counts as found has a score of the threshold or more.

    Args:
        output: scores, ``Tensor[N, L]``, floating.
        target: the truth, ``Tensor[N, L]``, bool.
    Returns:
        ``Tensor[L]``: the middle between the last score that counts and the next one, or the
        lowest score where all count; of equally good ones the highest. Infinite for a label that
        does not occur.
    Raises:
        TypeError, ValueError: if the tensors do not fit, or there is no example.
    """
    expect_tensor("output", output, ndim=2, floating=True)
    _expect_truth(output, target)
    if len(output) == 0:
        raise ValueError(f"output: expected at least one example, got {describe(output)}")
    ordered, order = output.sort(dim=0, descending=True)
    hits = target.gather(0, order).cumsum(0)  # (N, L)
    found = torch.arange(1, len(output) + 1, device=output.device)[:, None]
    f1 = 2 * hits.to(_at_least_float32(output)) / (found + hits[-1])
    below = torch.cat([ordered[1:], ordered[-1:]])  # the next score
    divisible = ordered != below  # no threshold lies between equal scores
    divisible[-1] = True
    best = f1.where(divisible, -1).argmax(0, keepdim=True)  # (1, L)
    score, beneath = ordered.gather(0, best), below.gather(0, best)
    middle = score / 2 + beneath / 2
    threshold = middle.where(middle > beneath, score)  # rounding, or nothing beneath
    return threshold[0].where(hits[-1] > 0, torch.inf)


# --- how sure -----------------------------------------------------------------------------------


def bootstrap_interval(
    metric: Callable[[Tensor, Tensor], Tensor],
    output: Tensor,
    target: Tensor,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Say in what interval a metric lies, had other pictures of the same kind been drawn.

    The pictures are drawn again, with replacement, as many as there are, and again; the interval
    leaves out the same share of the results at both ends (the percentile bootstrap);
    (classification-bootstrap). It knows
    nothing of how the network would have come out with another seed.

    Args:
        metric: ``metric(output, target)``, a scalar tensor.
        output: ``Tensor[N, ...]``.
        target: ``Tensor[N, ...]``.
        level: share of the results inside.
        resamples: how often to draw.
        generator: where chance comes from, on the CPU.
    Returns:
        lower and upper end, ``Tensor[]`` each. Results that are NaN are left out.
    Raises:
        TypeError, ValueError: if an argument makes no sense.
    """
    expect_tensor("output", output)
    expect_tensor("target", target)
    if len(output) == 0 or len(output) != len(target):
        raise ValueError(
            f"target: expected one for each of {len(output)} outputs, at least one,"
            f" got {describe(target)}"
        )
    if not expect_number("level", level, below=1) > 0:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    expect_int("resamples", resamples, minimum=1)
    results = []
    for _ in range(resamples):
        drawn = torch.randint(len(output), (len(output),), generator=generator)
        drawn = drawn.to(output.device)
        results.append(metric(output[drawn], target[drawn]))
    ends = results[0].new_tensor([(1 - level) / 2, (1 + level) / 2])
    low, high = torch.stack(results).nanquantile(ends)
    return low, high


# --- helpers ------------------------------------------------------------------------------------


def _auc_loops(scores: Tensor, truth: Tensor) -> Tensor:
    positives = [score for score, yes in zip(scores, truth, strict=True) if yes]
    negatives = [score for score, yes in zip(scores, truth, strict=True) if not yes]
    if not positives or not negatives or scores.isnan().any():
        return scores.new_tensor(torch.nan)
    won = 0.0
    for positive in positives:
        for negative in negatives:
            won += 1 if positive > negative else 0.5 if positive == negative else 0
    return scores.new_tensor(won / (len(positives) * len(negatives)))


def _auc(scores: Tensor, truth: Tensor) -> Tensor:
    lower, not_higher, _ = _places(scores, truth)
    twice = ((lower + not_higher + 1) * truth).sum(0)  # ranks from 1, the mean one for equal scores
    positives, negatives = truth.sum(0), (~truth).sum(0)
    won = twice - positives * (positives + 1)
    return won.to(_at_least_float32(scores)) / (2 * positives * negatives)


def _average_precision_loops(scores: Tensor, truth: Tensor) -> Tensor:
    if not truth.any() or scores.isnan().any():
        return scores.new_tensor(torch.nan)
    area, recall_before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        found = scores >= threshold
        hits = int((found & truth).sum())
        precision, recall = hits / int(found.sum()), hits / int(truth.sum())
        area += (recall - recall_before) * precision
        recall_before = recall
    return scores.new_tensor(area)


def _average_precision(scores: Tensor, truth: Tensor) -> Tensor:
    lower, _, positives_lower = _places(scores, truth)
    hits, found = truth.sum(0) - positives_lower, len(scores) - lower  # at each score or above
    return (hits.to(_at_least_float32(scores)) / found * truth).sum(0) / truth.sum(0)


def _places(scores: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each score, how many are lower, how many are not higher, how many positives are lower."""
    columns = scores.T.contiguous()  # (L, N)
    ordered, order = columns.sort(1)
    lower = torch.searchsorted(ordered, columns).T  # (N, L)
    not_higher = torch.searchsorted(ordered, columns, right=True).T
    positives = _cumulated(truth.gather(0, order.T))  # (N + 1, L)
    return lower, not_higher, positives.gather(0, lower)


Measure = Callable[[Tensor, Tensor], Tensor]


def _label_by_label(measure: Measure, output: Tensor, target: Tensor) -> Tensor:
    """Apply a measure of ``Tensor[N]`` to each column."""
    _expect_scores(output, target)
    if output.ndim == 1:
        return measure(output, target)
    results = [measure(*pair) for pair in zip(output.unbind(1), target.unbind(1), strict=True)]
    return torch.stack(results) if results else output.new_empty(0)


def _at_once(measure: Measure, output: Tensor, target: Tensor) -> Tensor:
    """Apply a measure of ``Tensor[N, L]``, also to ``Tensor[N]``."""
    _expect_scores(output, target)
    if output.ndim == 1:
        return _at_once(measure, output[:, None], target[:, None])[0]
    result = measure(output, target).to(output.dtype)  # (L,)
    return result.where(~output.isnan().any(0), torch.nan)


def _cumulated(truth: Tensor) -> Tensor:
    """Count along the first axis, from 0: one row more."""
    return torch.cat([torch.zeros_like(truth[:1], dtype=torch.int64), truth.cumsum(0)])


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return part.to(_exact_dtype(part)) / whole.clamp(min=1)  # 0/0 counts as 0


def _exact_dtype(counts: Tensor) -> torch.dtype:
    return torch.float32 if counts.device.type == "mps" else torch.float64


def _at_least_float32(scores: Tensor) -> torch.dtype:
    return torch.promote_types(scores.dtype, torch.float32)


def _expect_classes(name: str, value: Tensor, count: int | None = None) -> None:
    expect_tensor(name, value)
    if value.dtype != torch.int64:
        raise TypeError(f"{name}: expected classes, int64, got {describe(value)}")
    expect_shape(name, value, (count,))


def _expect_bool(name: str, value: Tensor) -> None:
    if value.dtype != torch.bool:
        raise TypeError(f"{name}: expected bool, got {describe(value)}")


def _expect_scores(output: Tensor, target: Tensor) -> None:
    expect_tensor("output", output, ndim=(1, 2), floating=True)
    _expect_truth(output, target)


def _expect_truth(output: Tensor, target: Tensor) -> None:
    expect_tensor("target", target)
    _expect_bool("target", target)
    expect_shape("target", target, output.shape)
