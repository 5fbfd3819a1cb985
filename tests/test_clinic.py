"""The functions of the chapter `clinic`, and the tables of its exercises.

The patients of the ward have their tables in `test_clinic_ward_training` and
`test_clinic_ward_pictures`.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import test_clinic_ward_pictures as pictures
import test_clinic_ward_training as training
from course_lib import clinic as topic
from support import assert_agree

# --- numbers that are known before a run ----------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_first_loss_is_that_of_equal_scores(classes: int) -> None:
    twin = F.cross_entropy(torch.full((4, classes), 0.7).double(), torch.zeros(4).long())
    assert topic.first_loss(classes) == pytest.approx(twin.item(), rel=1e-12)


@given(st.integers(2, 30), st.integers(0, 2**31))
def test_no_probabilities_get_below_the_floor(classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = 20 * torch.randn(5, classes, generator=generator, dtype=torch.float64)
    target = torch.randint(classes, (5,), generator=generator)
    loss = F.cross_entropy(scores.softmax(1), target, reduction="none")
    assert (loss >= topic.softmax_floor(classes) - 1e-12).all()
    # ... and none above the same for a wrong class that is certain.
    assert (loss <= math.log(classes - 1 + math.e) + 1e-12).all()


@pytest.mark.parametrize("classes", [2, 10, 200])
def test_the_floor_is_reached_by_certainty(classes: int) -> None:
    certain = torch.eye(classes, dtype=torch.float64)
    twin = F.cross_entropy(certain, torch.arange(classes))
    assert topic.softmax_floor(classes) == pytest.approx(twin.item(), rel=1e-12)


@given(st.integers(0, 6), st.integers(0, 4), st.integers(0, 2**31))
def test_uncleared_steps_are_those_of_autograd(steps: int, size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(size, generator=generator, dtype=torch.float64)
    slopes = torch.randn(steps, size, generator=generator, dtype=torch.float64)
    weight, path = start.clone().requires_grad_(), []
    for slope in slopes:  # a loss whose gradient is the slope, and nobody clears
        (weight * slope).sum().backward()
        with torch.no_grad():
            weight -= 0.3 * weight.grad
        path.append(weight.detach().clone())
    twin = torch.stack(path) if path else torch.zeros(0, size, dtype=torch.float64)
    assert_agree(topic.uncleared_steps(start, slopes, 0.3), twin)


@given(st.floats(0.01, 3.9), st.floats(0.1, 10))
def test_a_swing_comes_back_after_its_period(product: float, curvature: float) -> None:
    lr, theta, gathered, path = product / curvature, 1.0, 0.0, []
    for _ in range(60):
        path.append(theta)
        gathered += curvature * theta
        theta -= lr * gathered
    # With angle 2π / period, every three neighbours of a swing fulfil the cosine's own rule.
    angle = 2 * math.pi / topic.swing_period(lr, curvature)
    for before, now, after in zip(path, path[1:], path[2:], strict=False):
        assert before + after == pytest.approx(2 * math.cos(angle) * now, abs=1e-6)


@pytest.mark.parametrize("product", [0.0, 4.0, 5.0, -1.0])
def test_beyond_four_nothing_swings(product: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 4"):
        topic.swing_period(product, 1.0)


def test_bytes_wrap_as_torch_and_numpy_wrap_them() -> None:
    a, b = torch.meshgrid(*[torch.arange(256, dtype=torch.uint8)] * 2, indexing="ij")
    assert torch.equal(topic.wrapped_sum(a, b), a + b)
    with np.errstate(over="ignore"):
        assert np.array_equal(topic.wrapped_sum(a, b).numpy(), a.numpy() + b.numpy())


@pytest.mark.parametrize("times", [0, 1, 2, 3])
@pytest.mark.parametrize(("mean", "std"), [(0.5, 0.5), (0.0, 255.0), (0.485, 0.229), (2.0, 1.0)])
def test_rescaled_is_the_same_step_again_and_again(mean: float, std: float, times: int) -> None:
    x = torch.rand(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(times))
    twin = x
    for _ in range(times):
        twin = torchvision.transforms.functional.normalize(twin, [mean] * 3, [std] * 3)
    assert_agree(topic.rescaled(x, mean, std, times), twin)


@pytest.mark.parametrize(("p", "n"), [(0.9, 100), (0.0, 5), (1.0, 5), (0.5, 1)])
def test_standard_error_is_that_of_a_mean_of_coins(p: float, n: int) -> None:
    twin = torch.distributions.Binomial(n, torch.tensor(p, dtype=torch.float64)).stddev / n
    assert topic.standard_error(p, n) == pytest.approx(twin.item(), abs=1e-12)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 9), st.integers(1, 9))
def test_leaked_accuracy_is_the_mean_over_both_parts(a: int, b: int, new: int, old: int) -> None:
    right_new, right_old = a % (new + 1), b % (old + 1)
    measured = (right_new + right_old) / (new + old)
    ours = topic.leaked_accuracy(right_new / new, old / (new + old), right_old / old)
    assert ours == pytest.approx(measured, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: topic.first_loss(1), "classes: expected an integer >= 2, got 1"),
        (lambda: topic.softmax_floor(2.0), "classes: expected an integer >= 2, got 2.0"),
        (lambda: topic.standard_error(1.2, 5), "p: expected"),
        (lambda: topic.standard_error(0.5, 0), "n: expected"),
        (lambda: topic.leaked_accuracy(0.5, 2.0), "share: expected"),
        (lambda: topic.questions(0), "count: expected"),
        (lambda: topic.rescaled(torch.zeros(2), 0, 0, 1), "std: expected a number above 0"),
        (lambda: topic.rescaled(torch.zeros(2).int(), 0, 1, 1), "x: expected a floating"),
        (lambda: topic.wrapped_sum(torch.zeros(2), torch.zeros(2)), "a: expected torch.uint8"),
        (lambda: topic.wrapped_sum(*_bytes(2, 3)), r"b: expected shape \(2\)"),
        (lambda: topic.uncleared_steps(torch.zeros(2), torch.zeros(1, 3), 1), "gradients: exp"),
        (lambda: topic.uncleared_steps(torch.zeros(2), torch.zeros(1, 2), -1), "lr: expected"),
        (lambda: topic.bisect(lambda index: True, 0), "count: expected"),
        (lambda: topic.shrink(lambda part: False, [1]), "case: expected one that fails"),
        (lambda: topic.compare(torch.exp, torch.exp, []), "cases: expected at least one"),
        (lambda: topic.leaked(torch.zeros(2, 3), torch.zeros(2, 4), 0), "validation: expected"),
        (lambda: topic.leaked(torch.zeros(2, 3), torch.zeros(2, 3), -1), "distance: expected"),
        (lambda: topic.summary(torch.zeros(0)), "tensor: expected at least one"),
        (lambda: topic.summary([1.0]), "tensor: expected a tensor"),
        (lambda: topic.trace_shapes(nn.Flatten(), 1), "input: expected a tensor"),
        (lambda: _overfit(steps=0), "steps: expected"),
        (lambda: _overfit(loss=lambda a, b: a), "loss: expected 0 dimensions"),
    ],
)
def test_wrong_arguments_raise(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def _bytes(*sizes: int) -> list[Tensor]:
    return [torch.zeros(size, dtype=torch.uint8) for size in sizes]


# --- searching ------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100])
def test_bisect_finds_every_place_in_as_many_questions_as_it_may(count: int) -> None:
    most = 0
    for first in range(count):
        asked: list[int] = []

        def is_bad(index: int, first: int = first, asked: list[int] = asked) -> bool:
            asked.append(index)
            return index >= first

        assert topic.bisect(is_bad, count) == first
        assert len(asked) == len(set(asked)), "no question twice"
        assert count - 1 not in asked, "what is known is not asked"
        most = max(most, len(asked))
        assert topic.bisect_loops(is_bad, count) == first
        assert bisect.bisect_left(range(count - 1), True, key=is_bad) == first
    assert most == topic.questions(count) == math.ceil(math.log2(count))


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=25), st.sets(st.integers(0, 24), min_size=1)
)
def test_shrink_ends_where_nothing_can_be_left_out(values: list[int], picked: set[int]) -> None:
    case = list(enumerate(values))
    needed = {index for index in picked if index < len(case)}

    def fails(part: list[tuple[int, int]]) -> bool:
        return needed <= {index for index, _ in part}

    for function in (topic.shrink, topic.shrink_loops):
        left = function(fails, case)
        assert left == [case[index] for index in sorted(needed)] or (not needed and len(left) == 1)


def test_shrink_ends_at_a_minimum_of_a_rule_with_gaps() -> None:
    def fails(part: list[int]) -> bool:
        return len(part) % 3 == 2 or part == list(range(30))

    left = topic.shrink(fails, range(30))
    assert fails(left)
    assert not any(fails(left[:i] + left[i + 1 :]) for i in range(len(left)))


def test_shrink_asks_less_than_its_loops() -> None:
    def asked(function: Callable[..., list[int]]) -> int:
        calls = []
        function(lambda part: calls.append(part) or 700 in part, range(1000))
        return len(calls)

    assert asked(topic.shrink) < 30 < asked(topic.shrink_loops)


# --- looking --------------------------------------------------------------------------------------


def _complain(message: str) -> None:
    raise ValueError(message)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("one line", "ValueError: one line"),
        ("first\n  the last \n\n", "ValueError: the last"),
        ("", "ValueError"),
    ],
)
def test_symptom_is_the_last_line(message: str, words: str) -> None:
    assert topic.symptom(_complain, message) == words


def test_symptom_of_what_works() -> None:
    assert topic.symptom(lambda: None) == "no error"


def test_trace_goes_as_far_as_it_gets() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.Flatten()), nn.Linear(99, 2)
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = topic.trace_shapes(model, torch.zeros(5, 1, 8, 8))
    assert [row.name for row in rows] == ["0", "1.0", "1.1", "2"]
    assert [row.given for row in rows] == [(5, 1, 8, 8), (5, 4, 6, 6), (5, 4, 6, 6), (5, 144)]
    assert [row.made for row in rows] == [(5, 4, 6, 6), (5, 4, 6, 6), (5, 144), None]
    assert "mat1 and mat2 shapes cannot be multiplied (5x144 and 99x2)" in rows[-1].error
    assert not any(row.error for row in rows[:-1])
    assert all(layer.training for layer in model.modules())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class _Between(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, input: Tensor) -> Tensor:
        return self.layer(input).reshape(-1, 7)


def test_trace_says_when_it_stops_between_layers() -> None:
    rows = topic.trace_shapes(_Between(), torch.zeros(2, 3))
    assert rows[0] == ("layer", "Linear", (2, 3), (2, 2), "")
    assert rows[1][:4] == ("", "_Between", (2, 2), None)
    assert "shape '[-1, 7]' is invalid" in rows[1].error


def test_trace_of_what_works_holds_no_error() -> None:
    rows = topic.trace_shapes(nn.Sequential(nn.ReLU(), nn.ReLU()), torch.zeros(3))
    assert [(row.made, row.error) for row in rows] == [((3,), ""), ((3,), "")]


def test_gradient_report_tells_none_from_zero() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
        model[0].bias.zero_()
    assert [row.gradient for row in topic.gradient_report(model)] == [None] * 4
    model[2].bias.requires_grad_(False)
    model(torch.full((1, 2), -1.0)).sum().backward()  # the relu is shut
    rows = topic.gradient_report(model)
    assert [row.name for row in rows] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert [row.weight for row in rows] == pytest.approx([4, 0, 8**0.5, 2])
    assert [row.gradient for row in rows] == [0, 0, 0, None]
    assert [row.ratio for row in rows] == [0, None, 0, None]
    model.zero_grad()
    model(torch.ones(1, 2)).sum().backward()
    assert topic.gradient_report(model)[2].ratio == pytest.approx(32**0.5 / 8**0.5)


def test_summary_counts_what_is_broken_and_what_is_outside() -> None:
    numbers = torch.tensor([[0.5, 2.0, -1.0], [math.nan, math.inf, 1.0]])
    assert topic.summary(numbers) == ((2, 3), torch.float32, -1, 2, 0.625, 4 / 6, 2)
    assert topic.summary(torch.tensor([0, 255], dtype=torch.uint8))[2:] == (0, 255, 127.5, 0.5, 0)
    assert topic.summary(torch.tensor(math.nan))[2:] == (None, None, None, 1, 1)


def _overfit(**more: Any) -> list[float]:
    torch.manual_seed(0)
    given = {"model": nn.Linear(5, 3), "loss": F.cross_entropy} | more
    inputs = torch.randn(6, 5)
    return topic.overfit(inputs=inputs, targets=torch.tensor([0, 1, 2, 0, 1, 2]), **given)


def test_overfit_leaves_the_model_as_it_is() -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = _overfit(model=model, steps=30, lr=0.05)
    assert len(losses) == 31
    assert losses[-1] < 0.1 < losses[0]
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_overfit_steps_are_those_of_torch() -> None:
    model = nn.Linear(5, 3)
    losses = _overfit(model=model, steps=5)
    torch.manual_seed(0)
    nn.Linear(5, 3)  # draws as `_overfit` does
    inputs, targets = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    optimizer, twin = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(6):
        loss = F.cross_entropy(model(inputs), targets)
        twin.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == pytest.approx(twin, rel=1e-4)


# --- comparing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ours", "twin", "error"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.2),
        ([0.0], [0.0], 0.0),
        ([1e-9], [2e-9], 0.5),
        ([1e-9], [0.0], math.inf),
        ([math.nan], [1.0], math.inf),
        ([1.0], [math.nan], math.inf),
        ([1.0], [[1.0]], math.inf),
        ([], [], 0.0),
    ],
)
def test_relative_error(ours: list[float], twin: list[float], error: float) -> None:
    found = topic.relative_error(torch.tensor(ours).double(), torch.tensor(twin).double())
    assert found == pytest.approx(error, rel=1e-12)


def test_relative_error_of_bytes_does_not_wrap() -> None:
    ours, twin = torch.tensor([[0], [200]], dtype=torch.uint8)
    assert topic.relative_error(ours, twin) == 1


def test_compare_returns_the_worst_case() -> None:
    cases = [(torch.tensor(value),) for value in (0.1, 1.0, -1.0, 0.5)]
    worst = topic.compare(torch.sin, lambda x: x - x**3 / 6, cases)
    assert worst.case == cases[1]
    assert worst.error == pytest.approx(abs(math.sin(1) - 5 / 6) / (5 / 6), rel=1e-5)
    assert (worst.ours, worst.twin) == (torch.sin(cases[1][0]), cases[1][0] - cases[1][0] ** 3 / 6)


def test_leaked_finds_copies_and_near_ones() -> None:
    train = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    new = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    near = train[5:7] + torch.tensor([0.01, 0.1]).view(2, 1, 1, 1)  # 8 × 0.01 and 8 × 0.1 away
    validation = torch.cat([new, near, train[:1]])
    assert topic.leaked(train, validation, 0.1).tolist() == [False] * 3 + [True, False, True]
    assert topic.leaked(train, validation, 0).tolist() == [False] * 5 + [True]
    assert topic.leaked(train, validation[:0], 1.0).shape == (0,)
    assert topic.leaked(train[:0], validation, 1.0).tolist() == [False] * 6


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

# The functions whose result's shape depends on the numbers in a tensor, or which return a number.
LOOKS_AT_DATA = {"compare", "gradient_report", "overfit", "relative_error", "summary"}


def _overfit_there(make: Callable[..., Tensor], device: torch.device) -> list[float]:
    """Without a GPU there is no backward pass on one: each gradient is left out."""
    with mock.patch.object(Tensor, "backward", return_value=None):
        model = nn.Sequential(nn.Linear(3, 2, device=device), nn.BatchNorm1d(2, device=device))
        return topic.overfit(model, F.mse_loss, make(4, 3), make(4, 2), steps=1)


CALLS: dict[str, Callable[..., Any]] = {
    "bisect": lambda make, device: topic.bisect(lambda index: index > 2, 9),
    "bisect_loops": lambda make, device: topic.bisect_loops(lambda index: index > 2, 9),
    "compare": lambda make, device: topic.compare(torch.sin, torch.sin, [(make(3),)])[2:],
    "first_loss": lambda make, device: topic.first_loss(10),
    "gradient_report": lambda make, device: topic.gradient_report(nn.Linear(3, 2, device=device)),
    "leaked": lambda make, device: topic.leaked(make(3, 4), make(2, 4), 1.0),
    "leaked_accuracy": lambda make, device: topic.leaked_accuracy(0.9, 0.1),
    "overfit": lambda make, device: _overfit_there(make, device),
    "questions": lambda make, device: topic.questions(9),
    "relative_error": lambda make, device: topic.relative_error(make(3), make(3)),
    "rescaled": lambda make, device: topic.rescaled(make(3), 0.5, 0.5, 2),
    "shrink": lambda make, device: topic.shrink(lambda part: 3 in part, range(9)),
    "shrink_loops": lambda make, device: topic.shrink_loops(lambda part: 3 in part, range(9)),
    "softmax_floor": lambda make, device: topic.softmax_floor(10),
    "standard_error": lambda make, device: topic.standard_error(0.9, 10),
    "summary": lambda make, device: topic.summary(make(3)),
    "swing_period": lambda make, device: topic.swing_period(0.1, 1.0),
    "symptom": lambda make, device: topic.symptom(torch.add, make(3), make(3)),
    "trace_shapes": lambda make, device: topic.trace_shapes(
        nn.Linear(3, 2, device=device), make(4, 3)
    ),
    "uncleared_steps": lambda make, device: topic.uncleared_steps(make(3), make(5, 3), 0.1),
    "wrapped_sum": lambda make, device: topic.wrapped_sum(
        make(3).to(torch.uint8), make(3).to(torch.uint8)
    ),
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------

_RIGHT = [2.996, 2.078, 7, 0.02]

RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-clinic-fingerprints": [_RIGHT, (2.99573, 2.07775, 7, 0.02), torch.tensor(_RIGHT)],
    **training.RIGHT_ANSWERS,
    **pictures.RIGHT_ANSWERS,
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-clinic-fingerprints": [
        ((1.301, 2.078, 7, 0.02), "base 10"),
        ((2.996, 2.123, 7, 0.02), "classes that are wrong"),
        ((2.996, 2.078, 100, 0.02), "slow way"),
        ((2.996, 2.078, 6, 0.02), "Six"),
        ((2.996, 2.078, 7, 0.0004), "variance"),
        ((2.996, 2.078, 7, 0.04), "two standard errors"),
        ((2.996, 2.078, 6.644, 0.02), ""),
        ((2.996, 1.461, 7, 0.02), ""),
    ],
    **training.WRONG_ANSWERS,
    **pictures.WRONG_ANSWERS,
}
