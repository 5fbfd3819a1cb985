"""The functions of the chapter `scaling` and its exercises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from course_lib import scaling as topic
from support import assert_agree

Dot = Callable[[Tensor, Tensor], Tensor]


@pytest.mark.parametrize("length", [0, 1, 2, 17])
@pytest.mark.parametrize("function", [topic.dot, topic.dot_loops])
def test_dot_equals_its_twin(function: Dot, length: int, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(length)
    x, y = torch.randn(2, length, generator=generator, dtype=torch.float64).to(device)
    assert_agree(function(x, y), torch.dot(x, y))


def test_dot_has_the_right_gradient() -> None:
    x, y = torch.randn(2, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(topic.dot, (x.requires_grad_(), y.requires_grad_()))


def test_dot_refuses_vectors_of_different_lengths() -> None:
    with pytest.raises(ValueError, match=r"tensor: expected shape \(3\), got"):
        topic.dot(torch.zeros(3), torch.zeros(2))


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

# The functions whose result's shape depends on the numbers in a tensor.
LOOKS_AT_DATA: set[str] = set()

CALLS: dict[str, Callable[..., Any]] = {
    "dot_loops": lambda make, device: topic.dot_loops(make(3), make(3)),
    "dot": lambda make, device: topic.dot(make(3), make(3)),
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------

RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-scaling-predict": [11.0, torch.tensor(11)],
    "ex-scaling-dot": [
        topic.dot_loops,
        lambda x, y: sum(a * b for a, b in zip(x, y, strict=True)),
    ],
    "ex-scaling-bug": [lambda x, y: x @ y],
    "ex-scaling-cosine": [lambda x, y: torch.cosine_similarity(x, y, dim=0)],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-scaling-predict": [
        (21, "pair by pair"),
        (10, "not added"),
        (24, "not multiplied"),
        (12, ""),
    ],
    "ex-scaling-dot": [
        (lambda x, y: x * y, "added up"),
        (lambda x, y: (x * y).mean(), "mean"),
        (lambda x, y: x.sum() * y.sum(), "pair by pair"),
        (lambda x, y: (x + y).sum(), ""),
    ],
    "ex-scaling-bug": [
        (lambda x, y: x[1:] @ y[1:], "first pair"),
        (lambda x, y: x[:-1] @ y[:-1], "last"),
        (lambda x, y: x[0] * y[0], "return"),
        (lambda x, y: x[0] * y[0] + x @ y, ""),
    ],
    "ex-scaling-cosine": [
        (lambda x, y: x @ y, "lengths"),
        (lambda x, y: x @ y / x.norm(), "`y` too"),
        (lambda x, y: x @ y / (x @ x) / (y @ y), "square root"),
        (lambda x, y: torch.acos(torch.cosine_similarity(x, y, dim=0)), ""),
    ],
}
