"""Figures to touch for the chapter on GANs: the game in one dimension, and a latent plane."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checking import describe, expect_shape, expect_tensor
from course_lib.classification import fold_batch_norm
from course_lib.figures import Figure, asset, figure
from course_lib.gan import ConditionalGenerator, Generator

__all__ = ["latent_plane", "minimax_game"]

Component = Sequence[float]
Layer = dict[str, Any]

LARGEST = 27_000
"""Numbers that a plane may hold: the figure stays small."""

_LONGEST = 24
_MOST_SETS = 4
_MOST_COMPONENTS = 4


def minimax_game(
    sets: Mapping[str, Sequence[Component]] | None = None,
    start: tuple[float, float] = (-2.5, 0.6),
) -> Figure:
    """Play the minimax game in one dimension: step the discriminator, step the generator.

    The generator is a normal density with a mean and a width. The discriminator's score is a
    parabola, or a parabola and nine bumps; its gradient and every integral are exact, on a grid.
    A step of the discriminator follows the gradient of V for time 1, linearly implicit; a step
    of the generator is 0.2 times its gradient.

    Args:
        sets: name → the data's density, a mixture: rows of weight, mean and standard deviation;
            ``None`` gives one hill and two hills.
        start: the generator's mean, within 4 of 0, and width, 0.2 to 2, after a reset.
    Raises:
        ValueError: if there are no sets or too many, or a number is not as described.
    """
    if sets is None:
        sets = {"one hill": [(1, 1.5, 0.6)], "two hills": [(0.5, -2, 0.5), (0.5, 2, 0.5)]}
    if not 1 <= len(sets) <= _MOST_SETS:
        raise ValueError(f"sets: expected 1 to {_MOST_SETS}, got {len(sets)}")
    for name, mixture in sets.items():
        _expect_mixture(name, mixture)
    mean, width = start
    if not (abs(mean) <= 4 and 0.2 <= width <= 2):
        raise ValueError(f"start: expected a mean within 4 of 0, a width of 0.2 to 2, got {start}")
    return figure(
        "minimax_game",
        asset("minimax_game.js"),
        {
            "sets": {
                name: [[float(number) for number in row] for row in mixture]
                for name, mixture in sets.items()
            },
            "start": [float(mean), float(width)],
        },
        "The minimax game, turn by turn",
        "Step D until its line meets the dotted one, then step G. Drag in the upper picture to "
        "move the generator, or focus it: the arrow keys move it, up and down change its width.",
    )


@torch.no_grad()
def latent_plane(
    generator: Generator | ConditionalGenerator,
    starts: Tensor,
    directions: Mapping[str, Tensor],
    conditions: Mapping[str, Tensor] | None = None,
    asks: str = "Prompt",
) -> Figure:
    """Walk over a plane of a trained generator's latent space, and see its picture everywhere.

    The latent vector is a start plus two sliders times two directions. The network runs in the
    reader's browser, batch normalisation folded into the layers before it, with weights of 16
    bits. Of its first layer, which is linear, only what it makes of each start, condition and
    direction is there: the sum of them is what it makes of their sum.

    Args:
        generator: with grey pictures of 8 × 8 or 16 × 16 pixels.
        starts: ``Tensor[S, latent]``, floating: 1 to 6 latent vectors to begin with.
        directions: two names and vectors ``Tensor[latent]``, to the right and upwards.
        conditions: for a `ConditionalGenerator`: name → one condition as its encoder takes it, a
            row without its first axis, 1 to 24 of them.
        asks: what the conditions are called.
    Raises:
        TypeError: if the latent vectors are not floating.
        ValueError: if a shape or number is not as described, a weight has no place in 16 bits, or
            the network is too large.
    """
    expect_tensor("starts", starts, floating=True)
    expect_shape("starts", starts, (None, generator.latent))
    if not 1 <= len(starts) <= 6:
        raise ValueError(f"starts: expected 1 to 6, got {describe(starts)}")
    if len(directions) != 2:
        raise ValueError(f"directions: expected two, got {len(directions)}")
    for name, direction in directions.items():
        expect_shape(f"directions[{name!r}]", direction, (generator.latent,))
    conditional = isinstance(generator, ConditionalGenerator)
    names = list(conditions or [""])
    if conditional != bool(conditions) or not len(names) <= 24:
        raise ValueError(
            f"conditions: expected {'1 to 24' if conditional else 'none'}, got {len(names)}"
        )
    for name in (*names, *directions, asks):
        if not len(name) <= _LONGEST:
            raise ValueError(f"expected names of at most {_LONGEST} characters, got {name!r}")
    plain = generator.generator if isinstance(generator, ConditionalGenerator) else generator
    linear, bias, layers = _folded(plain)
    by_noise = linear[:, : generator.latent]
    rows = {
        "starts": starts.to(linear) @ by_noise.T,
        "directions": torch.stack(list(directions.values())).to(linear) @ by_noise.T,
        "conditions": _told(generator, conditions) @ linear[:, generator.latent :].T + bias,
    }
    size = sum(row.numel() for row in rows.values())
    size += sum(
        layer[key].numel() for layer in layers for key in ("weight", "bias") if key in layer
    )
    if size > LARGEST:
        raise ValueError(f"generator: expected at most {LARGEST} numbers for its plane, got {size}")
    return figure(
        "latent_plane",
        asset("layers.js") + asset("latent_plane.js"),
        {
            "maps": len(bias) // 16,
            **{name: _halves(row) for name, row in rows.items()},
            "layers": [
                {key: _halves(v) if isinstance(v, Tensor) else v for key, v in layer.items()}
                for layer in layers
            ],
            "names": names,
            "axes": list(directions),
            "asks": asks,
        },
        "A plane of the latent space",
        "Click or drag on the plane, or focus it and use the arrow keys; the sliders move in finer "
        "steps.",
    )


def _told(
    generator: Generator | ConditionalGenerator, conditions: Mapping[str, Tensor] | None
) -> Tensor:
    """What the generator's encoder makes of each condition; nothing, if there is none."""
    weight = next(generator.parameters())
    if not isinstance(generator, ConditionalGenerator) or conditions is None:
        return weight.new_zeros(1, 0)
    return torch.cat(
        [generator.encoder(condition[None].to(weight.device)) for condition in conditions.values()]
    )


def _folded(generator: Generator) -> tuple[Tensor, Tensor, list[Layer]]:
    """Weight and bias of the first layer, and the others, without any normalisation."""
    first, _, norm, *rest = generator.layers
    assert isinstance(first, nn.Linear)
    assert isinstance(norm, nn.BatchNorm2d)
    maps = first.out_features // 16
    weight, bias = fold_batch_norm(first.weight.view(maps, 16, -1, 1), None, norm)
    layers: list[Layer] = []
    for module in rest:
        if isinstance(module, nn.ConvTranspose2d):
            layers.append({"kind": "conv_transpose", "weight": module.weight, "bias": None})
        elif isinstance(module, nn.BatchNorm2d):
            last = layers[-1]  # its outputs are counted by the second axis
            turned, last["bias"] = fold_batch_norm(last["weight"].transpose(0, 1), None, module)
            last["weight"] = turned.transpose(0, 1)
            last["out"] = len(last["bias"])
        elif isinstance(module, nn.Conv2d):
            size = module.kernel_size[0]
            layers.append(
                {"kind": "conv", "weight": module.weight, "bias": module.bias, "size": size}
                | {"out": module.out_channels}
            )
        else:
            layers.append({"kind": type(module).__name__.lower()})
    return weight.reshape(16 * maps, -1), bias.repeat_interleave(16), layers


def _halves(values: Tensor) -> str:
    """Pack numbers as 16 bits each, in base64."""
    packed = values.detach().cpu().contiguous().half()
    if not packed.isfinite().all():
        raise ValueError("generator: expected weights that 16 bits can hold")
    return base64.b64encode(packed.numpy().astype("<f2").tobytes()).decode("ascii")


def _expect_mixture(name: str, mixture: Sequence[Component]) -> None:
    """Raise unless a density is a mixture that the figure's grid can hold."""
    if not 1 <= len(name) <= _LONGEST:
        raise ValueError(f"sets: expected names of 1 to {_LONGEST} characters, got {name!r}")
    if not 1 <= len(mixture) <= _MOST_COMPONENTS:
        raise ValueError(
            f"sets[{name!r}]: expected 1 to {_MOST_COMPONENTS} components, got {len(mixture)}"
        )
    for weight, mean, std in mixture:
        if not (weight > 0 and abs(mean) <= 4 and 0.2 <= std <= 2):
            raise ValueError(
                f"sets[{name!r}]: expected a weight above 0, a mean within 4 of 0 and a standard "
                f"deviation of 0.2 to 2, got {(weight, mean, std)}"
            )
    if not math.isclose(sum(weight for weight, _, _ in mixture), 1, abs_tol=1e-9):
        raise ValueError(f"sets[{name!r}]: expected weights that add up to 1")
