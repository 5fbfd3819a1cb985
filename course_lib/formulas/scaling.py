"""The equations of the chapter `scaling`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import scaling as topic
from course_lib.formulas.entry import Formula, Symbols, normal, number
from course_lib.scaling import Rates

Drawn = Iterator[tuple[Tensor, Tensor]]


def _exactly(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _counted(call: Callable[..., Tensor], *inputs: Tensor) -> tuple[int, int]:
    """Multiply-adds as torch counts them, and bytes as the tensors have them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        output = call(*inputs)
    return counter.get_total_flops() // 2, sum(x.nbytes for x in (*inputs, output))


def _drawn_rates(generator: torch.Generator) -> Rates:
    powers = 10 ** (8 + 4 * torch.rand(2, generator=generator, dtype=torch.float64))
    return Rates(*powers.tolist())


def _intensity(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(20):
        n, d, k = (number(generator, 1, 30) for _ in range(3))
        x, y = normal(generator, device, n, d), normal(generator, device, d, k)
        work, moved = _counted(torch.mm, x, y)
        ours = topic.intensity(n * d * k, 8 * (n * d + d * k + n * k))
        yield _exactly(ours), _exactly(work / moved)


def _roofline(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(20):
        rates = _drawn_rates(generator)
        work, moved = number(generator, 1, 10**9), number(generator, 1, 10**9)
        seconds = max(work / rates.multiply_adds, moved / rates.bytes_copied)
        yield _exactly(topic.attainable(work / moved, rates)), _exactly(work / seconds)


def _ridge(generator: torch.Generator, device: torch.device) -> Drawn:
    """At the ridge, arithmetic and memory take the same time."""
    for _ in range(20):
        rates = _drawn_rates(generator)
        seconds = topic.ridge(rates) / rates.multiply_adds
        yield _exactly(seconds * rates.bytes_copied), _exactly(1)


def _linear(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(20):
        n, d, k = (number(generator, 1, 30) for _ in range(3))
        x, weight = normal(generator, device, n, d), normal(generator, device, k, d)
        expected = _counted(F.linear, x, weight)
        ours = topic.linear_cost(n, d, k, bias=False, dtype=torch.float64)
        yield _exactly(*ours), _exactly(*expected)


def _conv(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(20):
        n, c, o = (number(generator, 1, 5) for _ in range(3))
        k, size = (
            2 * number(generator, 0, 2) + 1,
            (number(generator, 3, 9), number(generator, 3, 9)),
        )
        x, weight = normal(generator, device, n, c, *size), normal(generator, device, o, c, k, k)
        expected = _counted(partial(F.conv2d, padding=k // 2), x, weight)
        ours = topic.conv2d_cost(n, c, o, k, size, padding=k // 2, bias=False, dtype=torch.float64)
        yield _exactly(*ours), _exactly(*expected)


def _leaf(generator: torch.Generator, device: torch.device) -> torch.nn.Parameter:
    return torch.nn.Parameter(normal(generator, device, number(generator, 1, 9)))


def _loss_scale(generator: torch.Generator, device: torch.device) -> Drawn:
    """Scaled, differentiated and divided: the gradient as it is without."""
    for _ in range(20):
        leaf = _leaf(generator, device)
        optimizer = torch.optim.SGD([leaf])
        scaler = topic.LossScaler(2.0 ** number(generator, 0, 24))
        (expected,) = torch.autograd.grad(leaf.sin().sum(), leaf)
        scaler.scale(leaf.sin().sum()).backward()
        scaler.unscale_(optimizer)
        assert leaf.grad is not None
        yield leaf.grad, expected


def _scale_update(generator: torch.Generator, device: torch.device) -> Drawn:
    """Beside torch's scaler, over steps of which some overflow."""
    for _ in range(10):
        interval = number(generator, 1, 3)
        scalers: tuple[Any, Any] = (
            topic.LossScaler(64.0, growth_interval=interval),
            torch.amp.GradScaler(device.type, 64.0, growth_interval=interval),
        )
        scales: tuple[list[float], list[float]] = ([], [])
        for overflow in (torch.rand(12, generator=generator) < 0.3).tolist():
            for scaler, found in zip(scalers, scales, strict=True):
                leaf = torch.nn.Parameter(torch.ones(2, dtype=torch.float64, device=device))
                value = scaler.scale(leaf.sum() * (math.inf if overflow else 1))
                value.backward()
                scaler.step(torch.optim.SGD([leaf]))
                scaler.update()
                found.append(scaler.get_scale())
        yield _exactly(*scales[0]), _exactly(*scales[1])


def _accumulate(generator: torch.Generator, device: torch.device) -> Drawn:
    """Parts of unequal length, beside the gradient of the whole batch's mean loss."""
    for _ in range(20):
        counts = [number(generator, 1, 5) for _ in range(number(generator, 1, 4))]
        rows, features = sum(counts), number(generator, 1, 6)
        x, y = normal(generator, device, rows, features), normal(generator, device, rows)
        leaf = normal(generator, device, features).requires_grad_()

        def slope(x: Tensor, y: Tensor, leaf: Tensor = leaf) -> Tensor:
            return torch.autograd.grad(F.mse_loss((x @ leaf).tanh(), y), leaf)[0]

        parts = [slope(a, b) for a, b in zip(x.split(counts), y.split(counts), strict=True)]
        yield topic.accumulated_gradient(parts, counts), slope(x, y)


def _checkpoint(generator: torch.Generator, device: torch.device) -> Drawn:
    """Beside a count of what is alive while the backward pass goes through the segments."""
    for _ in range(20):
        layers = number(generator, 1, 60)
        segments = number(generator, 1, layers)
        length = math.ceil(layers / segments)
        alive = [
            segments + len(range(a, min(a + length, layers))) for a in range(0, layers, length)
        ]
        yield _exactly(topic.checkpoint_units(layers, segments)), _exactly(max(alive))


def _best_segments(generator: torch.Generator, device: torch.device) -> Drawn:
    for _ in range(10):
        root = number(generator, 1, 20)
        best = topic.best_segments(root**2)
        yield _exactly(best, topic.checkpoint_units(root**2, best)), _exactly(root, 2 * root)


def _amdahl(generator: torch.Generator, device: torch.device) -> Drawn:
    """Beside the time of work units that are handed out."""
    for _ in range(20):
        alone, shared = number(generator, 0, 50), number(generator, 1, 50)
        processes = number(generator, 1, 64)
        seconds = alone + shared / processes
        ours = topic.amdahl(alone / (alone + shared), processes)
        yield _exactly(ours), _exactly((alone + shared) / seconds)


def _ring(generator: torch.Generator, device: torch.device) -> Drawn:
    """Beside the messages that `ring_steps` would send: in each step the largest counts."""
    for _ in range(10):
        processes = number(generator, 1, 6)
        length = processes * number(generator, 1, 5)
        bandwidth, latency = 3.0, 0.25
        state = topic.ring_steps([normal(generator, device, length) for _ in range(processes)])
        next(state)
        seconds = 0.0
        for parts in state:
            seconds += latency + max(part.nbytes for mine in parts for part in mine) / bandwidth
        ours = topic.all_reduce_seconds(8 * length, processes, bandwidth, latency)
        yield _exactly(ours), _exactly(seconds)


def _memory(generator: torch.Generator, device: torch.device) -> Drawn:
    """Beside tensors without memory, cut into pieces by torch."""
    cut = {"ddp": 0, "zero1": 1, "zero2": 2, "fsdp": 3, "tensor": 3}
    for _ in range(5):
        parameters, processes = number(generator, 1, 10**9), number(generator, 1, 64)
        half = torch.empty(parameters, dtype=torch.float16, device="meta")
        whole = torch.empty(3, parameters, dtype=torch.float32, device="meta")
        for strategy, parts in cut.items():
            held = [
                tensor.chunk(processes, -1)[0] if shared else tensor
                for tensor, shared in ((half, parts > 2), (half, parts > 1), (whole, parts > 0))
            ]
            ours = topic.model_memory(parameters, strategy, processes)
            yield _exactly(*ours), _exactly(*(x.numel() * x.itemsize for x in held))


FORMULAS = (
    Formula(
        "scaling-intensity",
        "Multiply-adds for each byte that is moved",
        "course_lib.scaling.intensity",
        "torch.utils.flop_counter, and the sizes of the tensors",
        _intensity,
    ),
    Formula(
        "scaling-roofline",
        "The most that can be reached: the arithmetic's rate, or the memory's",
        "course_lib.scaling.attainable",
        "the work over the time that the slower of the two takes",
        _roofline,
    ),
    Formula(
        "scaling-ridge",
        "The intensity at which arithmetic and memory take the same time",
        "course_lib.scaling.ridge",
        "the time of both",
        _ridge,
    ),
    Formula(
        "scaling-linear",
        "What a linear layer computes and moves",
        "course_lib.scaling.linear_cost",
        "torch.utils.flop_counter, and the sizes of the tensors",
        _linear,
    ),
    Formula(
        "scaling-conv",
        "What a convolution computes and moves",
        "course_lib.scaling.conv2d_cost",
        "torch.utils.flop_counter, and the sizes of the tensors",
        _conv,
    ),
    Formula(
        "scaling-loss-scale",
        "The gradient of the scaled loss, divided by the scale",
        "course_lib.scaling.LossScaler",
        "automatic differentiation without a scale",
        _loss_scale,
    ),
    Formula(
        "scaling-scale-update",
        "How the scale follows the overflows",
        "course_lib.scaling.LossScaler",
        "torch.amp.GradScaler",
        _scale_update,
    ),
    Formula(
        "scaling-accumulate",
        "The gradient of a batch, from those of its parts",
        "course_lib.scaling.accumulated_gradient",
        "automatic differentiation of the whole batch's loss",
        _accumulate,
    ),
    Formula(
        "scaling-checkpoint",
        "How many activations are alive, if segments are computed again",
        "course_lib.scaling.checkpoint_units",
        "a count, segment by segment",
        _checkpoint,
    ),
    Formula(
        "scaling-best-segments",
        "The number of segments that takes the least memory",
        "course_lib.scaling.best_segments",
        "its analytic value, for a square number of layers",
        _best_segments,
    ),
    Formula(
        "scaling-amdahl",
        "How many times as fast it gets if a share of the work is not shared",
        "course_lib.scaling.amdahl",
        "the time of single pieces of work",
        _amdahl,
    ),
    Formula(
        "scaling-ring",
        "How long a sum around a ring takes",
        "course_lib.scaling.all_reduce_seconds",
        "the messages of a ring of tensors, step by step",
        _ring,
    ),
    Formula(
        "scaling-memory",
        "Bytes that a process holds of a model that Adam trains in 16 bits",
        "course_lib.scaling.model_memory",
        "the sizes of tensors that torch.chunk has cut",
        _memory,
    ),
)

SYMBOLS: Symbols = {
    "A": "how many times as fast it gets with several processes",
    "a": "activations that are alive at once",
    r"\alpha": "seconds until a message arrives, however short it is",
    "B": "bytes that the machine moves in a second",
    "b": "bytes of all gradients together",
    r"\beta": "bytes that go from one process to the next in a second",
    "C": "channels that go into a convolution",
    "c": "segments of a network of which only the beginning is kept",
    "D": "how many numbers a linear layer takes in for each example",
    "f": "the share of the work that is not shared",
    "g": "the gradient of the loss",
    "g_j": "the gradient of the mean loss over part $j$",
    "h": "height of what comes out of a convolution",
    "w": "width of what comes out of a convolution",
    "I": "the intensity: multiply-adds for each byte",
    "I^*": "the intensity at the ridge",
    "J": "how many parts a batch has",
    "j": "which part of a batch",
    "K": "how many numbers come out of a linear layer for each example",
    "k": "taps along a side of the kernel",
    "L": "the loss",
    r"\ell": "how many layers a network has",
    "M": "bytes that one process holds",
    "m": "multiply-adds",
    "N": "how many examples a batch has",
    "n": "examples in all parts together",
    "n_j": "examples in part $j$",
    "O": "channels that come out of a convolution",
    "P": "multiply-adds that the machine does in a second, at most",
    "p": "how many processes there are",
    "p_g": "how many processes share the gradients",
    "p_o": "how many processes share the optimiser's part",
    "p_w": "how many processes share the weights",
    r"\Phi": "how many parameters a model has",
    "q": "bytes that are moved",
    "R": "multiply-adds in a second that can be reached",
    "S": "the factor that the loss is multiplied by",
    "s": "bytes of a number",
    "T": "steps without an overflow before the factor grows",
    "t": "seconds until all have the sum",
    r"\theta": "the parameters",
}
"""What the symbols of the chapter mean; see `Symbols`."""
