"""The equations of the chapter `training`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import training as topic
from course_lib.formulas.entry import Formula, Pairs, Sense, Symbols, normal, number

_LEAVES, _NODES, _STEPS = 4, 12, 20


# --- backpropagation ----------------------------------------------------------------------------


def _random_expression(generator: torch.Generator, leaves: list[Any]) -> Any:
    """Combine values at random; the same calls whether they are ours or tensors."""
    unary: list[Callable[[Any], Any]] = [
        lambda v: (v * 0.3).exp(),
        lambda v: (v * v + 1.0).log(),
        lambda v: v.tanh(),
        lambda v: v.relu(),
        lambda v: -v,
        lambda v: v**3 * 0.1,
        lambda v: 1.5 / (v * v + 0.5),
    ]
    binary: list[Callable[[Any, Any], Any]] = [
        lambda v, w: v + w,
        lambda v, w: v * w,
        lambda v, w: v - w,
        lambda v, w: v / (w * w + 1.0),
    ]
    values = list(leaves)
    for _ in range(_NODES):
        first, second = (values[number(generator, 0, len(values) - 1)] for _ in range(2))
        value = binary[number(generator, 0, 3)](first, second)
        values.append(unary[number(generator, 0, 6)](value).tanh())
    return sum(values)


def _chain(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(20):
        seed = number(generator, 0, 2**31)
        start = normal(generator, torch.device("cpu"), _LEAVES)
        ours = [topic.Value(x) for x in start.tolist()]
        _random_expression(torch.Generator().manual_seed(seed), ours).backward()
        theirs = list(start.requires_grad_())
        output = _random_expression(torch.Generator().manual_seed(seed), theirs)
        (gradient,) = torch.autograd.grad(output, start)
        yield torch.tensor([v.grad for v in ours], dtype=torch.float64), gradient


# --- optimisers ---------------------------------------------------------------------------------


def _descend(
    step: Callable[..., object],
    reference: Callable[[list[Tensor]], torch.optim.Optimizer],
    penalty: float = 0.0,
    **options: Any,
) -> Pairs:
    """Take some steps on one quadratic bowl, with ours and with the reference."""

    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(5):
            matrix, start = normal(generator, device, 5, 5), normal(generator, device, 5)

            def loss(x: Tensor, matrix: Tensor = matrix) -> Tensor:
                return (matrix @ x - 1).square().mean()

            ours, state = start.clone(), dict[str, Any]()
            theirs = start.clone().requires_grad_()
            optimizer = reference([theirs])
            for _ in range(_STEPS):
                point = ours.clone().requires_grad_()
                (gradient,) = torch.autograd.grad(loss(point), point)
                step(ours, gradient, state, **options)
                optimizer.zero_grad()
                (loss(theirs) + penalty / 2 * theirs.square().sum()).backward()
                optimizer.step()
            yield ours, theirs

    return pairs


# --- schedules ----------------------------------------------------------------------------------


def _scheduled(
    ours: Callable[[int, int], float], reference: Callable[[Any, int], Any], steps: int
) -> Pairs:
    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(10):
            length = number(generator, 2, steps)
            optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
            schedule = reference(optimizer, length)
            theirs = []
            for _ in range(length + 1):
                theirs.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
            mine = [ours(step, length) for step in range(length + 1)]
            yield torch.tensor(mine).double(), torch.tensor(theirs).double()

    return pairs


def _linear(optimizer: Any, steps: int) -> Any:
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1 / steps, total_iters=steps - 1)


# --- starting weights ---------------------------------------------------------------------------


def _drawn(ours: Callable[..., Tensor], reference: Callable[..., Tensor], **options: Any) -> Pairs:
    """The same seed must give the same weights."""

    def pairs(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(10):
            shape = [number(generator, 1, 6) for _ in range(number(generator, 2, 4))]
            seed = number(generator, 0, 2**31)
            first, second = (
                fill(
                    torch.empty(shape, dtype=torch.float64),
                    **options,
                    generator=torch.Generator().manual_seed(seed),
                )
                for fill in (ours, reference)
            )
            yield first, second

    return pairs


# --- layers -------------------------------------------------------------------------------------


def _images(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, ...]]:
    """A batch, then a scale and a shift for each of its channels."""
    for _ in range(10):
        channels = number(generator, 1, 4)
        size = [number(generator, 2, 5) for _ in range(number(generator, 0, 2))]
        batch = 3 * normal(generator, device, number(generator, 2, 6), channels, *size) + 1
        yield batch, *normal(generator, device, 2, channels)


def _batch_norm(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for x, weight, bias in _images(generator, device):
        yield (
            topic.batch_norm(x, None, None, weight, bias, training=True),
            F.batch_norm(x, None, None, weight, bias, training=True),
        )


def _running(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for x, mean, var in _images(generator, device):
        momentum = float(torch.rand((), generator=generator))
        ours, theirs = (torch.stack([mean, var.exp()]) for _ in range(2))
        topic.batch_norm(x, ours[0], ours[1], training=True, momentum=momentum)
        F.batch_norm(x, theirs[0], theirs[1], training=True, momentum=momentum)
        yield ours, theirs


def _batch_norm_gradient(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for x, weight, bias in _images(generator, device):
        signal = normal(generator, device, *x.shape)
        leaves = [x.requires_grad_(), weight.requires_grad_(), bias.requires_grad_()]
        output = F.batch_norm(x, None, None, weight, bias, training=True)
        theirs = torch.autograd.grad(output, leaves, signal)
        yield from zip(
            topic.batch_norm_backward(signal, x.detach(), weight.detach()), theirs, strict=True
        )


def _layer_norm(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(10):
        shape = [number(generator, 2, 5) for _ in range(number(generator, 1, 2))]
        x = 3 * normal(generator, device, number(generator, 1, 4), 3, *shape) + 1
        affine = normal(generator, device, *shape), normal(generator, device, *shape)
        yield topic.layer_norm(x, shape, *affine), F.layer_norm(x, shape, *affine)


def _dropout(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    cpu = torch.device("cpu")  # elsewhere torch draws the same numbers in another order
    for _ in range(10):
        x, p = normal(generator, cpu, 40), float(torch.rand((), generator=generator))
        seed, drawn = number(generator, 0, 2**31), []
        for function in (topic.dropout, F.dropout):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                drawn.append(function(x, p))
        yield drawn[0], drawn[1]


def _clip(generator: torch.Generator, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(10):
        gradients = [
            normal(generator, device, number(generator, 1, 9))
            for _ in range(number(generator, 1, 4))
        ]
        largest, made = 3 * float(torch.rand((), generator=generator)), []
        for clip in (topic.clip_grad_norm_, torch.nn.utils.clip_grad_norm_):
            held = [gradient.clone() for gradient in gradients]
            parameters = [torch.zeros_like(gradient) for gradient in gradients]
            for parameter, gradient in zip(parameters, held, strict=True):
                parameter.grad = gradient
            made.append(torch.cat([clip(parameters, largest)[None], *held]))
        yield made[0], made[1]


_optim, _schedulers, _init = torch.optim, torch.optim.lr_scheduler, torch.nn.init

FORMULAS: tuple[Formula, ...] = (
    Formula(
        "training-chain",
        "Backpropagation: a value's gradient is the sum of what its users hand down",
        "course_lib.training.Value",
        "automatic differentiation of the same expressions by torch",
        _chain,
    ),
    Formula(
        "training-sgd",
        "Gradient descent: one step down the slope",
        "course_lib.training.sgd_step_",
        "torch.optim.SGD",
        _descend(topic.sgd_step_, lambda p: _optim.SGD(p, lr=0.05), lr=0.05),
    ),
    Formula(
        "training-momentum",
        "Momentum: the step goes on in the direction of the last ones",
        "course_lib.training.sgd_step_",
        "torch.optim.SGD with momentum and dampening",
        _descend(
            topic.sgd_step_,
            lambda p: _optim.SGD(p, lr=0.02, momentum=0.9, dampening=0.2),
            lr=0.02,
            momentum=0.9,
            dampening=0.2,
        ),
    ),
    Formula(
        "training-nesterov",
        "Nesterov's momentum: the gradient, and one more step of momentum",
        "course_lib.training.sgd_step_",
        "torch.optim.SGD with nesterov",
        _descend(
            topic.sgd_step_,
            lambda p: _optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
            lr=0.02,
            momentum=0.9,
            nesterov=True,
        ),
    ),
    Formula(
        "training-weight-decay",
        "Weight decay: a pull towards 0, the gradient of a penalty on the square",
        "course_lib.training.sgd_step_",
        "torch.optim.SGD on the loss with that penalty added",
        _descend(topic.sgd_step_, lambda p: _optim.SGD(p, lr=0.05), 0.3, lr=0.05, weight_decay=0.3),
    ),
    Formula(
        "training-rmsprop",
        "RMSprop: divide by the root of the mean square of late",
        "course_lib.training.rmsprop_step_",
        "torch.optim.RMSprop",
        _descend(
            topic.rmsprop_step_, lambda p: _optim.RMSprop(p, lr=0.01, alpha=0.9), lr=0.01, alpha=0.9
        ),
    ),
    Formula(
        "training-adam",
        "Adam: mean gradient over root mean square, both freed of their start at 0",
        "course_lib.training.adam_step_",
        "torch.optim.Adam",
        _descend(topic.adam_step_, lambda p: _optim.Adam(p, lr=0.05), lr=0.05),
    ),
    Formula(
        "training-adamw",
        "AdamW: Adam's step beside a decay that is not divided",
        "course_lib.training.adamw_step_",
        "torch.optim.AdamW",
        _descend(
            topic.adamw_step_,
            lambda p: _optim.AdamW(p, lr=0.05, weight_decay=0.2),
            lr=0.05,
            weight_decay=0.2,
        ),
    ),
    Formula(
        "training-step-decay",
        "Step decay: the step size falls by a factor every so many steps",
        "course_lib.training.step_decay",
        "torch.optim.lr_scheduler.StepLR",
        _scheduled(
            lambda step, n: topic.step_decay(step, 1 + n // 3, 0.3),
            lambda optimizer, n: _schedulers.StepLR(optimizer, 1 + n // 3, 0.3),
            steps=40,
        ),
    ),
    Formula(
        "training-cosine",
        "Cosine schedule: down along half a wave",
        "course_lib.training.cosine",
        "torch.optim.lr_scheduler.CosineAnnealingLR",
        _scheduled(
            lambda step, n: topic.cosine(step, n, 0.1),
            lambda optimizer, n: _schedulers.CosineAnnealingLR(optimizer, n, eta_min=0.1),
            steps=40,
        ),
    ),
    Formula(
        "training-warmup",
        "Warm-up: up in equal parts, then constant",
        "course_lib.training.warmup",
        "torch.optim.lr_scheduler.LinearLR",
        _scheduled(topic.warmup, _linear, steps=40),
    ),
    Formula(
        "training-xavier",
        "Xavier's start: a variance between what the two directions want",
        "course_lib.training.xavier_uniform_",
        "torch.nn.init.xavier_uniform_ under the same seed",
        _drawn(topic.xavier_uniform_, _init.xavier_uniform_, gain=1.5),
    ),
    Formula(
        "training-kaiming",
        "Kaiming's start: a variance that a ReLU leaves as it is",
        "course_lib.training.kaiming_normal_",
        "torch.nn.init.kaiming_normal_ under the same seed",
        _drawn(topic.kaiming_normal_, _init.kaiming_normal_, nonlinearity="relu"),
    ),
    Formula(
        "training-batch-norm",
        "Batch normalisation: each channel by the batch's own mean and variance",
        "course_lib.training.batch_norm",
        "torch.nn.functional.batch_norm",
        _batch_norm,
    ),
    Formula(
        "training-batch-norm-running",
        "The running mean and variance that evaluation will use",
        "course_lib.training.batch_norm",
        "the buffers of torch.nn.functional.batch_norm",
        _running,
    ),
    Formula(
        "training-batch-norm-gradient",
        "Gradient through batch normalisation: each value hears of all others",
        "course_lib.training.batch_norm_backward",
        "automatic differentiation of torch.nn.functional.batch_norm",
        _batch_norm_gradient,
    ),
    Formula(
        "training-layer-norm",
        "Layer normalisation: each example by its own mean and variance",
        "course_lib.training.layer_norm",
        "torch.nn.functional.layer_norm",
        _layer_norm,
    ),
    Formula(
        "training-dropout",
        "Dropout: some numbers become 0, the rest grow to keep the mean",
        "course_lib.training.dropout",
        "torch.nn.functional.dropout under the same seed",
        _dropout,
    ),
    Formula(
        "training-clip",
        "Clipping: a gradient that is too long is shortened",
        "course_lib.training.clip_grad_norm_",
        "torch.nn.utils.clip_grad_norm_",
        _clip,
    ),
)

SYMBOLS: Symbols = {
    "a": "the gain of a layer",
    r"\alpha": "the share that a running mean keeps",
    "b": (
        Sense(
            "the bound of the uniform distribution",
            "from $-b$ to $b$, which is no bias here",
            ("training-xavier",),
        ),
        Sense(
            "a coin that keeps a number or drops it",
            "a coin $b_i$, 1 or 0, decides about each number $x_i$",
            ("training-dropout",),
        ),
    ),
    r"\beta": "the shift of a normalisation",
    r"\beta_1": "the share that Adam's running mean of the gradients keeps",
    r"\beta_2": "the share that Adam's running mean of the squared gradients keeps",
    "c": (
        Sense(
            "which channel",
            "for each channel $c$ it takes mean and variance",
            ("training-batch-norm", "training-batch-norm-running"),
        ),
        Sense(
            "how long a gradient may be",
            "to $c$ (no channel here)",
            ("training-clip",),
        ),
    ),
    "D": "how many features there are",
    "d": "which feature",
    r"\epsilon": "a small number that keeps a divisor from 0",
    r"\eta": "the step size, also called learning rate",
    "f": "the factor by which a schedule multiplies the step size",
    r"f_\mathrm{end}": "the factor in the end",
    "g": (
        Sense(
            "the gradient with respect to the parameters",
            "$g_t$ the gradient at $\\theta_{t-1}$",
            (
                "training-sgd",
                "training-momentum",
                "training-nesterov",
                "training-rmsprop",
                "training-adam",
                "training-weight-decay",
                "training-clip",
            ),
        ),
        Sense(
            "how the loss changes with each output",
            "with $g_i = \\partial L / \\partial y_i$",
            ("training-batch-norm-gradient",),
        ),
    ),
    r"\gamma": (
        Sense(
            "the scale of a normalisation",
            "its own scale $\\gamma_c$",
            ("training-batch-norm", "training-batch-norm-gradient", "training-layer-norm"),
        ),
        Sense(
            "the factor of each stair of a schedule",
            "in a schedule $\\gamma$ will be another factor",
            ("training-step-decay",),
        ),
    ),
    "h": "which row",
    "i, j": "counts the values, or what a sum adds up",
    "K": "how many steps a stair is long",
    "L": "the loss",
    r"\lambda": "how strongly weights are pulled towards 0",
    "M": "over how many numbers a mean is taken",
    "m": "what is remembered of the gradients: the velocity, or Adam's running mean",
    r"\hat m": "Adam's mean of the gradients, made up for its start at 0",
    r"\mu": (
        Sense("the momentum", "*Momentum* $\\mu$", ("training-momentum", "training-nesterov")),
        Sense(
            "a mean",
            "$\\mu$ is a mean here, not a momentum",
            ("training-batch-norm", "training-batch-norm-running", "training-layer-norm"),
        ),
    ),
    r"\hat\mu": "a running mean",
    "N": (
        Sense(
            "the normal distribution",
            "$N$ is the normal distribution",
            ("training-kaiming",),
        ),
        Sense("how many examples there are", "and $N$ no distribution"),
    ),
    "n": "which example",
    r"n_\mathrm{in}": "how many inputs an output has",
    r"n_\mathrm{out}": "how many outputs an input has",
    "P": "a probability",
    "p": "the probability to be dropped",
    r"\rho": "the share of the new batch in a running mean",
    "S": "how many steps a cosine is long",
    "s": "how many steps are done so far",
    r"\sigma": "a standard deviation",
    r"\hat\sigma": "a running standard deviation",
    r"\tau": "the dampening of the momentum",
    "t": "which step, counted from 1",
    r"\theta": "all parameters",
    "U": "the uniform distribution",
    r"\mathrm{users}": "the values that are computed directly from a value",
    "v": (
        Sense(
            "the values of a computation, in their order",
            "Write $v_1, v_2, \\dots$ for the values",
            ("training-chain",),
        ),
        Sense(
            "the running mean of the squared gradients",
            "another $v$ than that of the chain rule",
            ("training-rmsprop", "training-adam"),
        ),
    ),
    r"\bar v": "how fast the loss changes with a value",
    r"\bar v_{\mathrm{last}}": "how fast the loss changes with itself, 1",
    r"\hat v": "Adam's mean of the squared gradients, made up for its start at 0",
    "W": "how many steps a warm-up takes",
    "w": (
        Sense(
            "a weight",
            "draws each weight $w$",
            ("training-kaiming", "training-xavier"),
        ),
        Sense(
            "which column",
            "so here $w$ is no weight",
            ("training-batch-norm",),
        ),
    ),
    "x": "what goes into a layer",
    r"\hat x": "what goes in, normalised",
    "y": "what comes out of a layer",
}
"""What the symbols of the chapter mean; see `Symbols`."""
