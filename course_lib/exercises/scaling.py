"""The checks of the chapter `scaling`."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from unittest.mock import ANY  # equal to whatever stands in its place

import torch
from torch import Tensor

from course_lib import scaling
from course_lib.exercises import Case, Exercise, Mistake, Watched, draw, halves

# --- predict work, bytes and time -----------------------------------------------------------------

predict = Exercise(
    label="ex-scaling-predict",
    oracle=(32768, 14336, 1.4336),
    tolerance=0.005,  # three digits are enough; a bias would add nearly 0.9 % to the bytes
    hint="Count the numbers first: the inputs, the weights, the outputs. Then follow the formulas.",
    mistakes=(
        Mistake(
            (65536, 14336, ANY),
            "The bytes are right. A multiplication with its addition counts once here.",
        ),
        Mistake(
            (32768, 3584, ANY),
            "The multiply-adds are right. These are numbers; how many bytes has each?",
        ),
        Mistake(
            (32768, 6144, ANY),
            "The multiply-adds are right. The weights have to come from memory, too.",
        ),
        Mistake(
            (32768, 12288, ANY),
            "The multiply-adds are right. The outputs are written, and that moves bytes, too.",
        ),
        Mistake(
            (32768, 14464, ANY),
            "The multiply-adds are right. This layer has no bias to read.",
        ),
        Mistake(
            (2048, 8576, ANY),
            "This is the work for one example; sixteen come together.",
        ),
        Mistake(
            (32768, 14336, 0.8192),
            "Work and bytes are right. That is the processor's time: does the memory keep up?",
        ),
        Mistake(
            (32768, 14336, 2.2528),
            "Work and bytes are right. Both go on at the same time, so the two do not add up.",
        ),
        Mistake(
            (32768, 14336, 1.4),
            "Work, bytes and the choice are right. Give the time with three digits at least.",
        ),
        Mistake(
            (32768, 14336, ANY),
            "Work and bytes are right. Take both times, in millionths of a second, and think of"
            " which of them counts.",
        ),
    ),
)


# --- fill in the intensity of a convolution -------------------------------------------------------


def _intensity(
    batch: int, channels: int, out_channels: int, kernel: int, height: int, width: int, size: int
) -> float:
    return _ratio(batch, channels, out_channels, kernel, height, width, size)


def _ratio(
    batch: int,
    channels: int,
    out_channels: int,
    kernel: int,
    height: int,
    width: int,
    size: int,
    *,
    weights: float = 1,
    inputs: float = 1,
    outputs: float = 1,
) -> float:
    """The intensity, with parts of the bytes counted so many times."""
    taps = channels * out_channels * kernel**2
    places = batch * height * width
    numbers = inputs * places * channels + weights * taps + outputs * places * out_channels
    return taps * places / (size * numbers)


def _convolutions(generator: torch.Generator) -> Iterator[Case]:
    for size in (4, 2, 4, 2, 4, 2):
        yield (
            draw(generator, 2, 9),
            draw(generator, 3, 6),
            draw(generator, 7, 12),
            draw(generator, 1, 3) * 2 + 1,
            draw(generator, 4, 9),
            draw(generator, 10, 15),
            size,
        )


reuse = Exercise(
    label="ex-scaling-reuse",
    oracle=_intensity,
    cases=_convolutions,
    hint="Write down the multiply-adds alone and compare with the equation; then the bytes.",
    mistakes=(
        Mistake(
            lambda *given: 2 * _intensity(*given),
            "Twice too much: a multiplication with its addition counts once here.",
        ),
        Mistake(
            lambda *given: _intensity(*given) * given[6],
            "These are multiply-adds for each number; how many bytes has a number?",
        ),
        Mistake(
            lambda n, c, o, k, h, w, size: _intensity(n, c, o, k, h, w, 4),
            "This is right in 32 bits only; numbers may be shorter.",
        ),
        Mistake(
            lambda *given: _ratio(*given, weights=0),
            "The weights have to be read, too.",
        ),
        Mistake(
            lambda *given: _ratio(*given, outputs=0),
            "The outputs have to be written.",
        ),
        Mistake(
            lambda *given: _ratio(*given, inputs=0),
            "The inputs have to be read.",
        ),
        Mistake(
            lambda *given: _ratio(*given, inputs=given[3] ** 2),
            "Each input is used for several outputs, but a good program reads it once.",
        ),
        Mistake(
            lambda batch, *given: _intensity(1, *given),
            "This is right for a batch of one. How often are the weights read for a larger one?",
        ),
        Mistake(
            lambda *given: 1 / _intensity(*given),
            "The fraction stands on its head.",
        ),
    ),
)


# --- fill in a step from parts --------------------------------------------------------------------


Parts = Iterable[tuple[Tensor, Tensor]]
Gradient = Callable[[Tensor, Parts, int], Tensor]

_ALL_KEPT = "too many parts in the memory at once"


def _part_gradients(weight: Tensor, parts: Parts) -> tuple[list[Tensor], list[int]]:
    """The gradient of each part's mean squared error, and the part's length."""
    gradients, sizes = [], []
    for batch, wanted in parts:
        gradients.append(2 * batch.T @ (batch @ weight - wanted) / len(wanted))
        sizes.append(len(wanted))
    return gradients, sizes


def _whole_gradient(weight: Tensor, parts: Parts, count: int) -> Tensor:
    return scaling.accumulated_gradient(*_part_gradients(weight, parts))


def _gradient_at_once(weight: Tensor, parts: Parts, count: int) -> Tensor:
    batches, wanted = zip(*parts, strict=True)
    inputs = torch.cat(batches)
    return 2 * inputs.T @ (inputs @ weight - torch.cat(wanted)) / count


def _parts(generator: torch.Generator) -> Iterator[Case]:
    """Three parts or four, of different lengths; the last is the shortest."""
    for sizes in ([2, 2, 1], [3, 3, 1], [4, 2, 1], [5, 5, 2], [4, 3, 2], [6, 6, 6, 1]):
        width = draw(generator, 2, 3)
        parts = [(halves(generator, size, width), halves(generator, size)) for size in sizes]
        yield halves(generator, width), parts, sum(sizes)


def _one_by_one(parts: Parts, kept: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
    """Make each part when it is asked for, and note how many are alive when the next one is.

    A loop's names hold the last part until then, and an answer may hold one more.
    """
    made: list[weakref.ref[Tensor]] = []

    def alive() -> int:
        return sum(inputs() is not None for inputs in made)

    for batch, wanted in parts:
        part = batch.clone(), wanted.clone()
        made.append(weakref.ref(part[0]))
        yield part
        del part
        if not kept and alive() > 2:
            gc.collect(1)  # what refers to itself may linger; a full collection would take too long
            kept.append(alive())


def _watch_parts(ask: Callable[..., Any], weight: Tensor, parts: Parts, count: int) -> Any:
    """What an answer returns, unless it keeps the parts."""
    kept: list[int] = []
    gradient = ask(weight, _one_by_one(parts, kept), count)
    return _ALL_KEPT if max(kept, default=0) > 2 else gradient


def _from_parts(combine: Callable[[Tensor, list[int]], Tensor]) -> Gradient:
    """An answer that computes the parts' gradients rightly, and then puts them together."""

    def answer(weight: Tensor, parts: Parts, count: int) -> Tensor:
        gradients, sizes = _part_gradients(weight, parts)
        return combine(torch.stack(gradients), sizes)

    return answer


accumulate = Watched(
    label="ex-scaling-accumulate",
    oracle=_whole_gradient,
    cases=_parts,
    watch=_watch_parts,
    hint="Compare with the gradient of the mean over all examples at once, for a few that you make"
    " up.",
    mistakes=(
        Mistake(
            _gradient_at_once,
            "This keeps the parts until the end, as a list or in the graph of one loss. They do not"
            " fit into the memory together: finish with each before you take the next.",
        ),
        Mistake(
            lambda weight, parts, count: torch.zeros_like(weight),
            "Nothing has come in. The parts come only once: a second loop over them finds none.",
        ),
        Mistake(
            _from_parts(lambda parts, sizes: parts.mean(0)),
            "The mean of the parts' means: an example of a short part counts for more here.",
        ),
        Mistake(
            _from_parts(lambda parts, sizes: parts.sum(0)),
            "The parts' gradients are added as they are: the step grows with their number.",
        ),
        Mistake(
            _from_parts(lambda parts, sizes: parts[-1]),
            "Only the last part is left: does something clear the gradient in between?",
        ),
        Mistake(
            _from_parts(lambda parts, sizes: parts[0]),
            "Only the first part has come in.",
        ),
        Mistake(
            _from_parts(lambda parts, sizes: parts.sum(0) / sum(sizes)),
            "Each part's loss is a mean already, and is divided by all examples once more.",
        ),
        Mistake(
            _from_parts(
                lambda parts, sizes: (torch.tensor(sizes).double()[:, None] * parts).sum(0)
            ),
            "This is the gradient of the sum over the examples; the mean is asked for.",
        ),
        Mistake(
            _from_parts(
                lambda parts, sizes: (
                    (torch.tensor(sizes).double()[:, None] * parts).sum(0) / (sizes[0] * len(sizes))
                )
            ),
            "This takes all parts to be as long as the first: count the examples.",
        ),
        Mistake(
            lambda *given: -_whole_gradient(*given),
            "The sign is turned round.",
        ),
    ),
)


# --- find the bug: clipping -----------------------------------------------------------------------


def _clipped(gradient: Tensor, scale: float, limit: float) -> Tensor:
    plain = gradient / scale
    return plain * min(1.0, limit / (float(plain.norm()) + 1e-6))


def _scaled_gradients(generator: torch.Generator) -> Iterator[Case]:
    """Some longer than the limit, some shorter; of one even what is multiplied is shorter."""
    for times in (5e-4, 0.5, 4.0, 0.25, 8.0, 2.0):
        scale = 2.0 ** draw(generator, 3, 5)
        gradient = halves(generator, draw(generator, 2, 4))
        gradient[0] = 3.5  # so that it has a length
        limit = 50.0 * draw(generator, 1, 4)
        yield gradient * (scale * limit * times / float(gradient.norm())), scale, limit


def _clipped_too_early(gradient: Tensor, scale: float, limit: float) -> Tensor:
    return _clipped(gradient, 1, limit) / scale


clip = Exercise(
    label="ex-scaling-clip",
    oracle=_clipped,
    cases=_scaled_gradients,
    tolerance=1e-4,  # with the millionth in the denominator or without it
    hint="Write down what length the gradient has before and after each line.",
    mistakes=(
        Mistake(
            _clipped_too_early,
            "The length is still that of the multiplied gradient, so nearly every one is cut to a"
            " fraction of the limit.",
        ),
        Mistake(
            lambda gradient, scale, limit: _clipped(gradient, 1, limit),
            "The factor of the loss never leaves the gradient.",
        ),
        Mistake(
            lambda gradient, scale, limit: gradient / scale,
            "The factor is out, but nothing is clipped any more.",
        ),
        Mistake(
            lambda gradient, scale, limit: gradient / scale * (limit / (gradient / scale).norm()),
            "A gradient that is shorter than the limit stays as it is.",
        ),
        Mistake(
            lambda gradient, scale, limit: (gradient / scale).clamp(-limit, limit),
            "Here every number is cut for itself; clipping keeps the direction.",
        ),
        Mistake(
            lambda gradient, scale, limit: _clipped(gradient, 1, limit * scale),
            "The limit fits now, but the result still holds the factor of the loss.",
        ),
        Mistake(
            lambda gradient, scale, limit: _clipped(gradient, 1 / scale, limit),
            "The factor is multiplied in once more; it has to come out.",
        ),
    ),
)


# --- fill in the factor of the loss ---------------------------------------------------------------


def _scales(finite: list[bool], scale: float, interval: int) -> list[float]:
    return _run_scales(finite, scale, interval)


def _run_scales(
    finite: list[bool],
    scale: float,
    interval: int,
    *,
    restart_after_growth: bool = True,
    restart_after_overflow: bool = True,
    needed: int = 0,
    backoff: float = 0.5,
) -> list[float]:
    """The factor after each step; the arguments at the end are what people get wrong."""
    found, good = [], 0
    for fine in finite:
        if fine:
            good += 1
            if good == interval + needed or (not restart_after_growth and good > interval):
                scale *= 2
                good = 0 if restart_after_growth else good
        else:
            scale *= backoff
            good = 0 if restart_after_overflow else good
        found.append(scale)
    return found


def _histories(generator: torch.Generator) -> Iterator[Case]:
    """In each, an overflow comes in the middle of a row of good steps, and growth twice running."""
    for interval in (2, 3, 2, 4, 3):
        finite = [True] * (2 * interval) + [True] * (interval - 1) + [False]
        finite += [True] * draw(generator, interval, 2 * interval - 1) + [False, False]
        finite += [True] * draw(generator, 1, interval)
        yield finite, 2.0 ** draw(generator, 4, 9), interval


scales = Exercise(
    label="ex-scaling-scales",
    oracle=_scales,
    cases=_histories,
    hint="Play it through on paper: six good steps, with T = 2, and then an overflow.",
    mistakes=(
        Mistake(
            lambda *given: _run_scales(*given, restart_after_overflow=False),
            "Good steps before an overflow do not count after it: they must come in a row.",
        ),
        Mistake(
            lambda *given: _run_scales(*given, restart_after_growth=False),
            "After it has grown, it waits for as many good steps again.",
        ),
        Mistake(
            lambda *given: _run_scales(*given, needed=1),
            "It grows one step too late: count the good steps, this one included.",
        ),
        Mistake(
            lambda *given: _run_scales(*given, needed=-1),
            "It grows one step too early.",
        ),
        Mistake(
            lambda *given: _run_scales(*given, needed=10**9),
            "It never grows again; after T good steps it should.",
        ),
        Mistake(
            lambda *given: _run_scales(*given, backoff=1.0),
            "An overflow must make it smaller.",
        ),
        Mistake(
            lambda finite, scale, interval: [scale, *_scales(finite, scale, interval)[:-1]],
            "These are the factors before each step; those after it are asked for.",
        ),
    ),
)


# --- find the bug: whose examples -----------------------------------------------------------------


def _share(count: int, epoch: int, rank: int, processes: int, seed: int) -> Tensor:
    return _order(count, seed + epoch)[rank::processes]


def _order(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _readers(generator: torch.Generator) -> Iterator[Case]:
    for processes in (2, 3, 4, 2, 3):
        yield (
            draw(generator, 11, 19),
            draw(generator, 1, 9),
            draw(generator, 1, processes - 1),
            processes,
            draw(generator, 20, 99),
        )


shares = Exercise(
    label="ex-scaling-shares",
    oracle=_share,
    cases=_readers,
    hint="Print the shares of all processes for ten examples, in two epochs: who reads what?",
    mistakes=(
        Mistake(
            lambda count, epoch, rank, processes, seed: _order(count, seed + rank)[rank::processes],
            "Each process cuts its share out of another order: some examples come twice, others"
            " never.",
        ),
        Mistake(
            lambda count, epoch, rank, processes, seed: _order(count, seed)[rank::processes],
            "The shares fit together now, but every epoch has the same order.",
        ),
        Mistake(
            lambda count, epoch, rank, processes, seed: _order(count, seed + epoch + rank)[
                rank::processes
            ],
            "The order changes with the epoch, and still with the process, too.",
        ),
        Mistake(
            lambda count, epoch, rank, processes, seed: _order(count, seed + epoch),
            "Now every process reads everything: nothing is shared.",
        ),
        Mistake(
            lambda count, epoch, rank, processes, seed: torch.arange(count)[rank::processes],
            "The shares fit together, but nothing is shuffled.",
        ),
        Mistake(
            lambda count, epoch, rank, processes, seed: _order(count, seed + epoch)[::processes],
            "Every process takes the share of process 0.",
        ),
        Mistake(
            lambda count, epoch, rank, processes, seed: _order(count, epoch)[rank::processes],
            "The seed that was asked for no longer matters.",
        ),
    ),
)


# --- predict speed-ups ----------------------------------------------------------------------------

speedup = Exercise(
    label="ex-scaling-speedup",
    oracle=(5, 36, 10),
    hint="Write down the seconds first: what stays at 6 seconds, and what is shared?",
    mistakes=(
        Mistake(
            (9, ANY, ANY),
            "Nine processes share only a part of the epoch; the reading takes as long as before.",
        ),
        Mistake(
            (12, ANY, ANY),
            "The first number is the seconds of an epoch; how many times as fast is that?",
        ),
        Mistake(
            (5, 8, ANY),
            "The first is right. With 8 processes, the reading alone keeps it from being 8 times as"
            " fast.",
        ),
        Mistake(
            (5, 72, ANY),
            "The first is right. For the second: how many seconds may the shared part still take?",
        ),
        Mistake(
            (5, 36, float("inf")),
            "The first two are right. However many they are, what takes 6 seconds stays.",
        ),
        Mistake(
            (5, 36, 9),
            "The first two are right. With ever more processes the shared part takes no time at"
            " all; what is left, compared with the whole epoch?",
        ),
        Mistake(
            (5, 36, ANY),
            "The first two are right. For the third, let the number of processes grow without end.",
        ),
        Mistake(
            (5, ANY, ANY),
            "The first is right. For the second, solve the equation for the number of processes.",
        ),
    ),
)


# --- predict memory -------------------------------------------------------------------------------

memory = Exercise(
    label="ex-scaling-memory",
    oracle=(112, 38.5, 26.25, 14),
    hint="Write down the bytes of one parameter first, in three parts; then divide what is shared.",
    mistakes=(
        Mistake(
            (14, ANY, ANY, ANY),
            "With DDP every process holds a whole copy of everything; and there is more than the"
            " weights.",
        ),
        Mistake(
            (28, ANY, ANY, ANY),
            "Adam holds numbers for every parameter, too.",
        ),
        Mistake(
            (84, ANY, ANY, ANY),
            "That is the optimiser's part alone; weights and gradients come on top.",
        ),
        Mistake(
            (112, 14, 14, 14),
            "The first is right. Each strategy shares one part more than the one before it: not all"
            " share everything.",
        ),
        Mistake(
            (112, 26.25, ANY, ANY),
            "The first is right. ZeRO-1 shares the optimiser's part only.",
        ),
        Mistake(
            (112, 38.5, 38.5 - 14, ANY),
            "The first two are right. The gradients are shared by ZeRO-2, and an eighth of them"
            " stays in each process.",
        ),
        Mistake(
            (112, 38.5, 26.25, 26.25 - 14),
            "The first three are right. An eighth of the weights stays in each process.",
        ),
        Mistake(
            (112, 38.5, 26.25, ANY),
            "The first three are right. FSDP shares everything.",
        ),
        Mistake(
            (112, 38.5, ANY, ANY),
            "The first two are right. ZeRO-2 shares the optimiser's part and the gradients.",
        ),
        Mistake(
            (112, ANY, ANY, ANY),
            "The first is right. ZeRO-1 shares the largest of the three parts.",
        ),
    ),
)


# --- extend: a step around the ring ---------------------------------------------------------------


def _ring_step(state: Tensor, step: int) -> Tensor:
    return _pass_on(state, step)


def _pass_on(
    state: Tensor, step: int, *, shift: int = 1, turn: int = -1, late: int = 0, adds: str = "first"
) -> Tensor:
    """A step; the arguments at the end are what people get wrong."""
    count = len(state)
    result = state.clone()
    for process in range(count):
        part = (process + turn * step + late) % count
        to = (process + shift) % count
        adding = {"first": step < count - 1, "always": True, "never": False}[adds]
        result[to, part] = state[process, part] + (state[to, part] if adding else 0)
    return result


def _ring_states(generator: torch.Generator) -> Iterator[Case]:
    for count in (3, 4, 5):
        for step in (0, 1, count - 2, count - 1, 2 * count - 3):
            yield halves(generator, count, count), step


ring = Exercise(
    label="ex-scaling-ring",
    oracle=_ring_step,
    cases=_ring_states,
    hint="Take three processes and follow the figure: which part does each send in this step, to"
    " whom, and what does the neighbour do with it?",
    mistakes=(
        Mistake(
            lambda state, step: _pass_on(state, step, adds="always"),
            "In the second half the parts that come are whole sums: adding to them counts twice.",
        ),
        Mistake(
            lambda state, step: _pass_on(state, step, adds="never"),
            "In the first half the neighbour adds what comes to its own.",
        ),
        Mistake(
            lambda state, step: _pass_on(state, step, shift=-1),
            "The parts go round the wrong way: process 0 sends to process 1.",
        ),
        Mistake(
            lambda state, step: _pass_on(state, step, turn=1),
            "What a process sends next is what it has just got, and that came from the left: which"
            " part is it?",
        ),
        Mistake(
            lambda state, step: _pass_on(
                state, 0, adds="first" if step < len(state) - 1 else "never"
            ),
            "Every process always sends the same part: from step to step it is another.",
        ),
        Mistake(
            lambda state, step: _pass_on(state, step, late=1),
            "In step 0 a process sends the part of its own number.",
        ),
        Mistake(
            lambda state, step: state.sum(0).expand_as(state),
            "This is where it ends; one step is asked for.",
        ),
    ),
)
