"""What the chapter `fusion` times: blending, beside OpenCV, whose colours lie next to each other.

Each case gets its pictures in the layout of either side, so that nobody has to rearrange them.
OpenCV computes on the CPU, whatever the device.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import torch
from torch import Tensor

from benchmarks.core import FORWARD, Case
from course_lib import fusion

ALPHA, LEVELS = 0.25, 5


def _with_threads() -> Any:
    """OpenCV with as many threads as torch has now."""
    if cv2.getNumThreads() != torch.get_num_threads():
        cv2.setNumThreads(torch.get_num_threads())
    return cv2


def _pixels(image: Tensor) -> Any:
    return image.cpu().numpy()


def _colours_together(image: Tensor) -> Tensor:
    return image.permute(1, 2, 0).contiguous()


# --- a weighted sum -----------------------------------------------------------------------------


@cache
def _compiled() -> Any:
    return torch.compile(fusion.alpha_blend, fullgraph=True)


def _weighted(one: Tensor, two: Tensor) -> Tensor:
    flat = (_pixels(image).reshape(-1, image.shape[-1]) for image in (one, two))
    first, second = flat
    mixed = _with_threads().addWeighted(first, ALPHA, second, 1 - ALPHA, 0)
    return torch.from_numpy(mixed).reshape(one.shape).to(one.device)


def _blend(height: int, width: int, way: str, at_most: float) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        shape = (2, 3, height, width)
        one, two = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return one, two

    return Case(
        "alpha_blend",
        f"3×{height}×{width}, uint8, {way}",
        lambda one, two: (fusion.alpha_blend if way == "eager" else _compiled())(one, two, ALPHA),
        _weighted,
        inputs,
        directions=(FORWARD,),
        at_most={FORWARD: at_most},
    )


# --- pyramids -----------------------------------------------------------------------------------


def _sizes(image: Any) -> list[Any]:
    made = [image]
    for _ in range(LEVELS - 1):
        made.append(cv2.pyrDown(made[-1]))
    return made


def _details(image: Any) -> list[Any]:
    sizes = _sizes(image)
    for level in range(LEVELS - 1):
        height, width = sizes[level].shape[:2]
        larger = cv2.pyrUp(sizes[level + 1], dstsize=(width, height))
        sizes[level] = cv2.subtract(sizes[level], larger)
    return sizes


def _two_pyramids(one: Tensor, two: Tensor, mask: Tensor) -> Tensor:
    """As textbooks do it: both pictures taken apart, each level blended, all put together."""
    library = _with_threads()
    first, second = _details(_pixels(one)), _details(_pixels(two))
    weights = _sizes(library.merge([_pixels(mask)] * 3))
    levels = [
        library.add(library.multiply(m, a), library.multiply(1 - m, b))
        for m, a, b in zip(weights, first, second, strict=True)
    ]
    blended = levels.pop()
    while levels:
        height, width = levels[-1].shape[:2]
        blended = library.add(library.pyrUp(blended, dstsize=(width, height)), levels.pop())
    return torch.from_numpy(blended).to(one.device).permute(2, 0, 1)


def _pyramids(height: int, width: int, *at_most: float) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        pair = torch.rand(2, 3, height, width, generator=generator)
        mask = (torch.arange(width) < width // 2).float().expand(height, width).contiguous()
        return *pair, mask, *(_colours_together(image) for image in pair)

    return Case(
        "pyramid_blend",
        f"3×{height}×{width}, {LEVELS} levels",
        lambda one, two, mask, *_: fusion.pyramid_blend(one, two, mask, LEVELS),
        lambda _, __, mask, one, two: _two_pyramids(one, two, mask),
        inputs,
        directions=(FORWARD,),
        at_most=dict(zip((FORWARD,), at_most, strict=False)),
    )


# --- the Poisson equation -----------------------------------------------------------------------


def _clone(source: Tensor, target: Tensor) -> Tensor:
    piece, ground = _pixels(source), _pixels(target)
    height, width = ground.shape[:2]
    mask = 255 * torch.ones(height, width, dtype=torch.uint8).numpy()  # it writes to it
    centre = (width // 2, height // 2)
    cloned = _with_threads().seamlessClone(piece, ground, mask, centre, cv2.NORMAL_CLONE)
    return torch.from_numpy(cloned).to(target.device).permute(2, 0, 1) / 255


def _poisson(height: int, width: int, *at_most: float) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        """The source differs from the target in a smooth hill only, so that no rim matters."""
        target = torch.randint(50, 150, (3, height, width), generator=generator)
        y, x = (torch.linspace(-1, 1, n) for n in (height, width))
        hill = (80 * (1 - 2 * (y[:, None] ** 2 + x**2)).clamp(min=0)).round().long()
        numbers = [(target + hill).byte(), target.byte()]
        return *(image / 255 for image in numbers), *map(_colours_together, numbers)

    def ours(source: Tensor, target: Tensor, *_: Tensor) -> Tensor:
        return fusion.poisson_blend(source, target, torch.ones_like(target[0]))

    return Case(
        "poisson_blend",
        f"3×{height}×{width}",
        ours,
        lambda _, __, source, target: _clone(source, target),
        inputs,
        directions=(FORWARD,),
        at_most=dict(zip((FORWARD,), at_most, strict=False)),
        tolerance=1.5 / 230,  # its result is in whole numbers, cut off
    )


CASES = [
    _blend(1080, 1920, "eager", 8),
    _blend(1080, 1920, "compiled", 1.1),
    _pyramids(270, 480),
    _pyramids(1080, 1920, 1.5),
    _poisson(240, 320, 0.5),
    _poisson(480, 640, 0.5),
    _poisson(1080, 1920, 0.5),
]
