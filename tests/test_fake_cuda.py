"""Every public function on a CUDA device, whether or not there is one here.

Each chapter's tests hold a table ``CALLS``: for every public function of its module a call that
gets a maker of tensors, ``make(2, 3)``, and the device that they live on. The names in
``LOOKS_AT_DATA`` are those whose result's shape depends on the numbers in a tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException

from support import CUDA, TOPICS, devices_in, fake_cuda, own_tests, public_callables, topic_module

CALLS = [
    pytest.param(call, name in own_tests(topic).LOOKS_AT_DATA, id=f"{topic}.{name}")
    for topic in TOPICS
    for name, call in own_tests(topic).CALLS.items()
]

WAIT_FOR_NOTHING = [
    pytest.param(call, id=f"{topic}.{name}")
    for topic in TOPICS
    for name, call in own_tests(topic).CALLS.items()
    if name not in own_tests(topic).LOOKS_AT_DATA
]


def check_on_fake_cuda(call: Callable[..., Any], supply_data: bool = False) -> None:
    with fake_cuda(supply_data=supply_data):
        result = call(partial(torch.randn, device=CUDA), CUDA)
        assert devices_in(result) <= {CUDA}


@pytest.mark.parametrize(("call", "looks_at_data"), CALLS)
def test_stays_on_the_device(call: Callable[..., Any], looks_at_data: bool) -> None:
    check_on_fake_cuda(call, looks_at_data)


@pytest.mark.cuda
@pytest.mark.parametrize("call", WAIT_FOR_NOTHING if torch.cuda.is_available() else [])
def test_does_not_wait_for_a_real_device(call: Callable[..., Any]) -> None:
    make = partial(torch.rand, device=CUDA)
    call(make, CUDA)  # the first call may wait for a library to load
    torch.cuda.set_sync_debug_mode("error")
    try:
        call(make, CUDA)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("topic", TOPICS)
def test_every_public_function_is_called(topic: str) -> None:
    tests = own_tests(topic)
    assert set(tests.CALLS) == set(public_callables(topic_module(topic)))
    assert set(tests.CALLS) >= tests.LOOKS_AT_DATA


# --- the test of the test: what it is there to catch ----------------------------------------------


def _forgets_the_device(input: Tensor) -> Tensor:
    return input * torch.arange(input.shape[-1])


def _forgets_the_device_of_a_mask(input: Tensor) -> Tensor:
    return input[torch.ones(input.shape[-1]) > 0]


def _returns_to_the_cpu(input: Tensor) -> Tensor:
    return input.cpu()


def _makes_a_new_tensor(input: Tensor) -> tuple[Tensor, Tensor]:
    return input, torch.zeros(input.shape)


def _waits_for_a_number(input: Tensor) -> Tensor:
    return input / input.max().item()


@pytest.mark.parametrize("supply_data", [False, True])
@pytest.mark.parametrize("wrong", [_forgets_the_device, _returns_to_the_cpu, _makes_a_new_tensor])
def test_catches_a_forgotten_device(wrong: Callable[[Tensor], Any], supply_data: bool) -> None:
    with pytest.raises((RuntimeError, AssertionError)):
        check_on_fake_cuda(lambda make, device: wrong(make(3)), supply_data)


def test_catches_a_mask_on_another_device() -> None:
    with pytest.raises(AssertionError):
        check_on_fake_cuda(lambda make, device: _forgets_the_device_of_a_mask(make(3)), True)


def test_catches_a_wait_for_the_device() -> None:
    with pytest.raises(DataDependentOutputException):
        check_on_fake_cuda(lambda make, device: _waits_for_a_number(make(3)))
