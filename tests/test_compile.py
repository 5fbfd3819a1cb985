"""Every public function under ``torch.compile``: one graph, without a break, and the same numbers.

What is called comes from the tables ``CALLS`` of the chapters' tests, as for CUDA. Left out are the
``_loops``, which show a formula; what `test_fake_cuda` knows to look at its data; and the names
below, which do not compute with tensors alone. The backend runs the graph as it was recorded, so
that no compiler is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from support import TOPICS, own_tests, topic_module

CPU = torch.device("cpu")
OUTSIDE = {
    "counts through hooks": {
        "background.count_flops",
        "background.count_multiply_adds",
        "background.training_memory",
        "classification.feature_maps",
        "classification.layer_table",
        "clinic.trace_shapes",
        "scaling.saved_bytes",
    },
    "changes or switches a network": {
        "gan.spectral_normalize",
        "gan.update_average",
        "transfer.extract_features",
        "transfer.freeze",
        "transfer.keep_statistics",
        "transfer.replace_head",
    },
    "draws from a generator of its own": {
        "classification.Augment",
        "classification.bootstrap_interval",
        "classification.noise",
    },
    "yields one step after the other, or times them": {
        "scaling.measure_rates",
        "scaling.ring_steps",
    },
    "runs the backward pass itself": {
        "scaling.recompute",
        "scaling.recompute_sequential",
    },
    "reads or writes a file": {
        "rcnn.export_detector",
        "rcnn.load_detector",
        "rcnn.load_weights",
        "rcnn.save_detector",
    },
}
NAMES = [
    f"{topic}.{name}"
    for topic in TOPICS
    for name in own_tests(topic).CALLS
    if name not in own_tests(topic).LOOKS_AT_DATA and not name.endswith("_loops")
]
COMPILED = [name for name in NAMES if not any(name in names for names in OUTSIDE.values())]


def tensors_in(result: Any) -> Iterator[Tensor]:
    """Every tensor of a result, also inside tuples, lists, dictionaries and layers."""
    if isinstance(result, Tensor):
        yield result
    elif isinstance(result, nn.Module):
        yield from result.state_dict().values()
    elif isinstance(result, dict):
        yield from tensors_in(list(result.values()))
    elif isinstance(result, tuple | list):
        for part in result:
            yield from tensors_in(part)


def result_of(call: Callable[..., Any]) -> list[Tensor]:
    torch.manual_seed(0)
    return list(tensors_in(call(partial(torch.rand, device=CPU), CPU)))


@pytest.fixture
def swapped(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Puts the compiled function, or forward pass, in the place of one; returns its diary."""

    def swap(name: str) -> list[str]:
        torch.compiler.reset()
        topic, _, own = name.partition(".")
        owner, attribute = topic_module(topic), own
        if inspect.isclass(getattr(owner, own)):
            owner, attribute = getattr(owner, own), "forward"
        plain, ran = getattr(owner, attribute), list[str]()
        graph = torch.compile(plain, fullgraph=True, backend="eager")

        def compiled(*arguments: Any, **options: Any) -> Any:
            ran.append(name)
            return graph(*arguments, **options)

        monkeypatch.setattr(owner, attribute, compiled)
        return ran

    return swap


@pytest.mark.parametrize("name", COMPILED)
def test_compiles_into_one_graph(name: str, swapped: Callable[[str], list[str]]) -> None:
    topic, _, own = name.partition(".")
    call = own_tests(topic).CALLS[own]
    expected = result_of(call)
    ran = swapped(name)
    found = result_of(call)
    assert ran, f"{name} was not reached through its module"
    for mine, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, plain, equal_nan=True)


def test_what_is_left_out_is_still_there() -> None:
    assert set().union(*OUTSIDE.values()) <= set(NAMES)


def _stops_for_a_number(input: Tensor) -> Tensor:
    return input / input.sum().item() if input.max() > 0 else input


def test_a_break_is_found() -> None:
    compiled = torch.compile(_stops_for_a_number, fullgraph=True, backend="eager")
    with pytest.raises(torch._dynamo.exc.Unsupported):
        compiled(torch.ones(3))
