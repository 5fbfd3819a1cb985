"""The exercises of the chapter `scaling`: right answers written differently, and wrong ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import scaling
from course_lib.exercises import scaling as exercises


def _reuse_by_cost(
    batch: int, channels: int, out_channels: int, kernel: int, height: int, width: int, size: int
) -> float:
    return scaling.conv2d_cost(
        batch,
        channels,
        out_channels,
        kernel,
        (height, width),
        padding=kernel // 2,
        bias=False,
        dtype={4: torch.float32, 2: torch.float16}[size],
    ).intensity


def _reuse_by_counting(
    batch: int, channels: int, out_channels: int, kernel: int, height: int, width: int, size: int
) -> float:
    output = batch * out_channels * height * width
    read = batch * channels * height * width
    weight = out_channels * channels * kernel * kernel
    return output * channels * kernel * kernel / (read + output + weight) / size


Parts = Iterator[tuple[Tensor, Tensor]]


def _accumulated_by_backward(weight: Tensor, parts: Parts, count: int) -> Tensor:
    weight = weight.clone().requires_grad_()
    for batch, wanted in parts:
        (F.mse_loss(batch @ weight, wanted) * len(wanted) / count).backward()
    assert weight.grad is not None
    return weight.grad


def _accumulated_by_grad(weight: Tensor, parts: Parts, count: int) -> Tensor:
    weight = weight.clone().requires_grad_()
    total = torch.zeros_like(weight)
    for _number, (batch, wanted) in enumerate(parts):
        loss = F.mse_loss(batch @ weight, wanted, reduction="sum")
        total += torch.autograd.grad(loss, weight)[0]
    return total / count


def _accumulated_from_the_first(weight: Tensor, parts: Parts, count: int) -> Tensor:
    """It holds the first part to its end, and so two parts at a time, but not all."""
    inputs, targets = next(parts)
    total = inputs.T @ (inputs @ weight - targets)
    for batch, wanted in parts:
        total = total + batch.T @ (batch @ weight - wanted)
    return 2 * total / count


def _accumulated_row_by_row(weight: Tensor, parts: Parts, count: int) -> Tensor:
    rows = (row for part in parts for row in zip(*part, strict=True))
    return sum((2 * (row @ weight - wanted) * row / count for row, wanted in rows), weight * 0)


def _at_once(weight: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    return 2 * ((inputs @ weight - targets)[:, None] * inputs).mean(0)


def _accumulated_at_once(weight: Tensor, parts: Parts, count: int) -> Tensor:
    kept = list(parts)
    inputs, targets = (torch.cat([part[n] for part in kept]) for n in range(2))
    return _at_once(weight, inputs, targets)


def _one_graph(weight: Tensor, parts: Parts, count: int) -> Tensor:
    """Its parts are forgotten, but the graph of the loss holds them."""
    weight = weight.clone().requires_grad_()
    loss = sum(F.mse_loss(batch @ weight, wanted) * len(wanted) for batch, wanted in parts)
    return torch.autograd.grad(loss / count, weight)[0]


def _plain_and_kept(weight: Tensor, parts: Parts, count: int) -> Tensor:
    return _accumulated_plainly(weight, iter(list(parts)), count)


def _two_loops(weight: Tensor, parts: Parts, count: int) -> Tensor:
    length = sum(len(wanted) for _, wanted in parts)
    total = torch.zeros_like(weight)
    for batch, wanted in parts:
        total += _at_once(weight, batch, wanted) * len(wanted) / length
    return total


def _accumulated_means(weight: Tensor, parts: Parts, count: int) -> Tensor:
    means = [_at_once(weight, batch, wanted) for batch, wanted in parts]
    return torch.stack(means).mean(0)


def _accumulated_plainly(weight: Tensor, parts: Parts, count: int) -> Tensor:
    weight = weight.clone().requires_grad_()
    for batch, wanted in parts:
        F.mse_loss(batch @ weight, wanted).backward()
    assert weight.grad is not None
    return weight.grad


def _cleared_each_time(weight: Tensor, parts: Parts, count: int) -> Tensor:
    for batch, wanted in parts:
        gradient = _at_once(weight, batch, wanted)
    return gradient


def _full_parts_only(weight: Tensor, parts: Parts, count: int) -> Tensor:
    total, seen, full = torch.zeros_like(weight), 0, 0
    for batch, wanted in parts:
        full = full or len(wanted)
        if len(wanted) == full:
            seen += full
            total += full * _at_once(weight, batch, wanted)
    return total / seen


def _half_of_it(weight: Tensor, parts: Parts, count: int) -> Tensor:
    return _accumulated_by_backward(weight, parts, count) / 2


def _clip_by_torch(gradient: Tensor, scale: float, limit: float) -> Tensor:
    parameter = torch.nn.Parameter(torch.zeros_like(gradient))
    parameter.grad = gradient / scale
    torch.nn.utils.clip_grad_norm_([parameter], limit)
    return parameter.grad


def _clip_at_the_scaled_limit(gradient: Tensor, scale: float, limit: float) -> Tensor:
    length = gradient.norm()
    return gradient * (limit * scale / length).clamp(max=1) / scale


def _clip_early(gradient: Tensor, scale: float, limit: float) -> Tensor:
    return gradient * min(1.0, limit / (gradient.norm().item() + 1e-6)) / scale


def _unscale_only(gradient: Tensor, scale: float, limit: float) -> Tensor:
    return gradient / scale


def _always_to_the_limit(gradient: Tensor, scale: float, limit: float) -> Tensor:
    return F.normalize(gradient, dim=0) * limit


def _clip_by_the_largest(gradient: Tensor, scale: float, limit: float) -> Tensor:
    plain = gradient / scale
    return plain * (limit / plain.abs().max()).clamp(max=1)


def _scales_by_torch(finite: list[bool], scale: float, interval: int) -> list[float]:
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=interval)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    found = []
    for fine in finite:
        scaler.scale(parameter.sum())  # makes its factor, on the first call
        parameter.grad = torch.tensor([1.0 if fine else math.inf])
        scaler.step(optimizer)
        scaler.update()
        found.append(scaler.get_scale())
    return found


def _scales_in_words(finite: list[bool], scale: float, interval: int) -> list[float]:
    found, row = [], 0
    for fine in finite:
        row = row + 1 if fine else 0
        if not fine:
            scale = scale / 2
        elif row % interval == 0:
            scale = scale * 2
        found.append(scale)
    return found


def _counts_all_good_steps(finite: list[bool], scale: float, interval: int) -> list[float]:
    found, good = [], 0
    for fine in finite:
        if not fine:
            scale /= 2
        else:
            good += 1
            if good % interval == 0:
                scale *= 2
        found.append(scale)
    return found


def _grows_all_the_time(finite: list[bool], scale: float, interval: int) -> list[float]:
    found, row = [], 0
    for fine in finite:
        row = row + 1 if fine else 0
        scale *= 0.5 if not fine else 2 if row >= interval else 1
        found.append(scale)
    return found


def _grows_late(finite: list[bool], scale: float, interval: int) -> list[float]:
    found, row = [], 0
    for fine in finite:
        row = row + 1 if fine else 0
        if not fine:
            scale /= 2
        elif row > interval:
            scale, row = scale * 2, 0
        found.append(scale)
    return found


def _quarters(finite: list[bool], scale: float, interval: int) -> list[float]:
    found, row = [], 0
    for fine in finite:
        row = row + 1 if fine else 0
        scale *= 0.25 if not fine else 2 if row % interval == 0 else 1
        found.append(scale)
    return found


def _order(count: int, seed: int) -> Tensor:
    generator = torch.Generator()
    generator.manual_seed(seed)
    return torch.randperm(count, generator=generator)


def _share_as_a_list(count: int, epoch: int, rank: int, processes: int, seed: int) -> list[int]:
    order = _order(count, seed + epoch).tolist()
    return [order[place] for place in range(rank, count, processes)]


def _share_by_a_mask(count: int, epoch: int, rank: int, processes: int, seed: int) -> Tensor:
    order = _order(count, epoch + seed)
    return order[torch.arange(count) % processes == rank]


def _ring_backwards_in_place(state: Tensor, step: int) -> Tensor:
    """In one step no process sends the part that it gets, so the order does not matter."""
    count = len(state)
    for process in reversed(range(count)):
        part, neighbour = (process - step) % count, (process + 1) % count
        if step < count - 1:
            state[neighbour, part] += state[process, part]
        else:
            state[neighbour, part] = state[process, part]
    return state


def _ring_with_indices(state: Tensor, step: int) -> Tensor:
    count = len(state)
    process = torch.arange(count)
    part, to = (process - step) % count, (process + 1) % count
    result = state.clone()
    keep = state[to, part] * (step < count - 1)
    result[to, part] = keep + state[process, part]
    return result


def _ring_by_the_module(state: Tensor, step: int) -> Tensor:
    """The state after a step does not follow from this one's start, but a step's rule does."""
    count = len(state)
    rows = [list(row) for row in state]
    for process in range(count):
        part = (process - step) % count
        neighbour = rows[(process + 1) % count]
        coming = state[process, part]
        neighbour[part] = neighbour[part] + coming if step < count - 1 else coming
    return torch.stack([torch.stack(row) for row in rows])


def _ring_adds_for_ever(state: Tensor, step: int) -> Tensor:
    count = len(state)
    result = state.clone()
    for process in range(count):
        part = (process - step) % count
        result[(process + 1) % count, part] += state[process, part]
    return result


def _ring_to_the_left(state: Tensor, step: int) -> Tensor:
    count = len(state)
    result = state.clone()
    for process in range(count):
        part = (process - step) % count
        old = state[process - 1, part] if step < count - 1 else 0
        result[process - 1, part] = old + state[process, part]
    return result


def _ring_adds_one_step_too_long(state: Tensor, step: int) -> Tensor:
    count = len(state)
    result = state.clone()
    for process in range(count):
        part, to = (process - step) % count, (process + 1) % count
        result[to, part] = state[process, part] + (state[to, part] if step < count else 0)
    return result


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-scaling-predict": [
        [32768, 14336, 1.4336],
        (torch.tensor(32768), 14336.0, 14336 / 10_000),
        (32768, 14336, 1.43),
        (32768, 14336, 1.434),
        (32768, 14336, torch.tensor(1.43)),
    ],
    "ex-scaling-reuse": [_reuse_by_cost, _reuse_by_counting],
    "ex-scaling-accumulate": [
        _accumulated_by_backward,
        _accumulated_by_grad,
        _accumulated_from_the_first,
        _accumulated_row_by_row,
    ],
    "ex-scaling-clip": [_clip_by_torch, _clip_at_the_scaled_limit],
    "ex-scaling-scales": [_scales_by_torch, _scales_in_words],
    "ex-scaling-shares": [_share_as_a_list, _share_by_a_mask],
    "ex-scaling-speedup": [
        (scaling.amdahl(0.1, 9), 36, 1 / 0.1),
        [torch.tensor(5.0), 0.9 / (1 / 8 - 0.1), 10],
    ],
    "ex-scaling-memory": [
        tuple(
            scaling.model_memory(7 * 10**9, strategy, 8).total / 1e9
            for strategy in ("ddp", "zero1", "zero2", "fsdp")
        ),
        torch.tensor([112, 38.5, 26.25, 14]).tolist(),
    ],
    "ex-scaling-ring": [_ring_backwards_in_place, _ring_with_indices, _ring_by_the_module],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-scaling-predict": [
        ((2 * 16 * 64 * 32, 14336, 1.4336), "counts once here"),
        ((32768, 3584, 0.8192), "how many bytes"),
        ((32768, 4 * (16 * 64 + 16 * 32), 0.8192), "weights have to come"),
        ((32768, 4 * (16 * 64 + 64 * 32), 1.2288), "outputs are written"),
        ((2048, 8576, 0.8576), "sixteen"),
        ((32768, 14336, 0.8192), "processor's time"),
        ((32768, 14336, 0.8192 + 1.4336), "do not add up"),
        ((32768, 14336, 1.4336e-6), "millionths"),
        ((32768, 14336, 1.4), "three digits"),
        ((32768, 14336, 1.5), "millionths"),
        ((32768, 14336, 0.82), "processor's time"),
        ((32768, 14336 + 4 * 32, 1.4464), "no bias"),
        ((32768 + 16 * 32, 14336 + 4 * 32, 1.4464), ""),
        ((112, 14336, 1.4336), ""),
    ],
    "ex-scaling-reuse": [
        (lambda *given: 2 * _reuse_by_counting(*given), "Twice too much"),
        (lambda *given: _reuse_by_counting(*given[:6], 1), "how many bytes"),
        (lambda *given: _reuse_by_counting(*given[:6], 4), "shorter"),
        (lambda *given: _reuse_by_counting(1, *given[1:]), "batch of one"),
        (lambda *given: 1 / _reuse_by_counting(*given), "on its head"),
        (lambda n, c, o, k, h, w, size: o * c * k * k / (size * (c + o)), "weights have to be"),
        (
            lambda n, c, o, k, h, w, size: (
                n * o * c * k * k * h * w / (size * (n * c * h * w + o * c * k * k))
            ),
            "outputs",
        ),
        (
            lambda n, c, o, k, h, w, size: (
                n * o * c * k * h * w / (size * (n * c * h * w + o * c * k + n * o * h * w))
            ),
            "",
        ),
        (lambda *given: round(_reuse_by_counting(*given), 2), ""),
        (lambda *given: int(_reuse_by_counting(*given)), ""),
    ],
    "ex-scaling-accumulate": [
        (_accumulated_means, "counts for more"),
        (_accumulated_plainly, "as they are"),
        (_cleared_each_time, "Only the last part"),
        (_accumulated_at_once, "before you take the next"),
        (_one_graph, "before you take the next"),
        (_plain_and_kept, "before you take the next"),
        (_two_loops, "only once"),
        (lambda *given: _accumulated_plainly(*given) / given[2], "once more"),
        (lambda *given: given[2] * _accumulated_by_backward(*given), "gradient of the sum"),
        (lambda *given: -_accumulated_by_backward(*given), "sign"),
        (_full_parts_only, ""),
        (_half_of_it, ""),
    ],
    "ex-scaling-clip": [
        (_clip_early, "multiplied gradient"),
        (lambda *given: _clip_early(*given) * given[1], "never leaves"),
        (_unscale_only, "nothing is clipped"),
        (_always_to_the_limit, "shorter than the limit"),
        (lambda g, scale, limit: (g / scale).clamp(-limit, limit), "for itself"),
        (lambda g, scale, limit: _clip_at_the_scaled_limit(g, scale, limit) * scale, "fits now"),
        (_clip_by_the_largest, ""),
    ],
    "ex-scaling-scales": [
        (_counts_all_good_steps, "in a row"),
        (_grows_all_the_time, "waits for as many"),
        (_grows_late, "too late"),
        (lambda finite, scale, interval: _scales_in_words(finite, scale, 10**9), "never grows"),
        (
            lambda finite, scale, interval: _scales_in_words(finite, scale, interval - 1),
            "too early",
        ),
        (lambda *given: [given[1], *_scales_in_words(*given)][:-1], "before each step"),
        (_quarters, ""),
        (lambda *given: _scales_in_words(*given)[-1], ""),
    ],
    "ex-scaling-shares": [
        (
            lambda count, epoch, rank, processes, seed: _order(count, seed + rank)[rank::processes],
            "twice",
        ),
        (
            lambda count, epoch, rank, processes, seed: _order(count, seed)[rank::processes],
            "every epoch",
        ),
        (
            lambda count, epoch, rank, processes, seed: _order(count, seed + epoch + rank)[
                rank::processes
            ],
            "still with the process",
        ),
        (lambda count, epoch, rank, processes, seed: _order(count, seed + epoch), "everything"),
        (
            lambda count, epoch, rank, processes, seed: list(range(rank, count, processes)),
            "nothing is shuffled",
        ),
        (
            lambda count, epoch, rank, processes, seed: _order(count, seed + epoch)[::processes],
            "process 0",
        ),
        (
            lambda count, epoch, rank, processes, seed: _order(count, epoch)[rank::processes],
            "no longer matters",
        ),
        (
            lambda count, epoch, rank, processes, seed: _order(count, seed * epoch)[
                rank::processes
            ],
            "",
        ),
        (
            lambda count, epoch, rank, processes, seed: _order(count, seed + epoch)[
                rank : count - count % processes : processes
            ][:-1],
            "",
        ),
    ],
    "ex-scaling-speedup": [
        ((9, 8, math.inf), "only a part"),
        ((12, 36, 10), "seconds of an epoch"),
        ((5, 8, 10), "the reading alone"),
        ((5, 72, 10), "may the shared part"),
        ((5, 36, math.inf), "takes 6 seconds stays"),
        ((5, 36, 9), "compared with the whole"),
        ((5, 36, 54), "grow without end"),
        ((5, 35, 10), "solve the equation"),
        ((4.5, 36, 10), ""),
    ],
    "ex-scaling-memory": [
        ((14, 14, 14, 14), "whole copy"),
        ((28, 28, 28, 3.5), "Adam holds"),
        ((84, 10.5, 10.5, 10.5), "optimiser's part alone"),
        ((112, 14, 14, 14), "not all"),
        ((112, 26.25, 14, 14), "ZeRO-1 shares the optimiser's part only"),
        ((112, 38.5, 24.5, 12.25), "an eighth of them"),
        ((112, 38.5, 26.25, 12.25), "An eighth of the weights"),
        ((112, 38.5, 26.25, 16), "FSDP shares everything"),
        ((112, 38.5, 26.2, 14), "ZeRO-2 shares"),
        ((112, 42, 26.25, 14), "largest of the three"),
        ((104.3, 35.9, 24.4, 13.0), ""),
    ],
    "ex-scaling-ring": [
        (_ring_adds_for_ever, "counts twice"),
        (_ring_to_the_left, "wrong way"),
        (lambda state, step: state.sum(0).expand_as(state).clone(), "one step"),
        (lambda state, step: _ring_with_indices(state, -step), ""),
        (lambda state, step: _ring_with_indices(state.T, step).T, ""),
        (_ring_adds_one_step_too_long, ""),
    ],
}


def test_every_exercise_has_answers() -> None:
    labels = {
        value.label for value in vars(exercises).values() if isinstance(value, exercises.Exercise)
    }
    assert set(RIGHT_ANSWERS) == set(WRONG_ANSWERS) == labels
