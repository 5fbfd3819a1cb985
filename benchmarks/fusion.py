"""What the chapter `fusion` times: blending, beside OpenCV, whose colours lie next to each other.

Each case gets its pictures in the layout of either side, so that nobody has to rearrange them.
OpenCV computes on the CPU, whatever the device.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.core import FORWARD, TOLERANCE, Case, by, imported, normal, slow, uniform
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
        library="OpenCV",
        why="" if way == "compiled" else "each step is a pass of its own, if through the cache",
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


def _by_kornia(one: Tensor, two: Tensor, mask: Tensor) -> Tensor:
    """The same with kornia's pyramids, which enlarge a picture to powers of two before."""
    transform = importlib.import_module("kornia.geometry.transform")
    first, second = (transform.build_laplacian_pyramid(image[None], LEVELS) for image in (one, two))
    height, width = mask.shape
    larger = (0, first[0].shape[-1] - width, 0, first[0].shape[-2] - height)
    weights = transform.build_pyramid(F.pad(mask[None, None], larger, "reflect"), LEVELS)
    levels = [m * a + (1 - m) * b for m, a, b in zip(weights, first, second, strict=True)]
    blended = levels.pop()
    while levels:
        blended = transform.pyrup(blended) + levels.pop()
    return blended[0, :, :height, :width]


def _pyramids(height: int, width: int, *at_most: float, library: str = "OpenCV") -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        pair = torch.rand(2, 3, height, width, generator=generator)
        if library == "kornia":  # whose filter is another: it sees the same in smooth pictures only
            y, x = (torch.linspace(0, 3, n).sin() for n in (height, width))
            pair = torch.stack([y[:, None] * x, y[:, None] + x]).mul(0.5)[:, None].expand_as(pair)
        mask = (torch.arange(width) < width // 2).float().expand(height, width).contiguous()
        return *pair, mask, *(_colours_together(image) for image in pair)

    return Case(
        "pyramid_blend",
        f"3×{height}×{width}, {LEVELS} levels",
        lambda one, two, mask, *_: fusion.pyramid_blend(one, two, mask, LEVELS),
        (lambda _, __, mask, one, two: _two_pyramids(one, two, mask))
        if library == "OpenCV"
        else lambda one, two, mask, *_: _by_kornia(one, two, mask),
        inputs,
        directions=(FORWARD,),
        at_most=dict(zip((FORWARD,), at_most, strict=False)),
        library=library,
        tolerance=TOLERANCE if library == "OpenCV" else 0.05,
    )


def _step(operation: str, height: int, width: int) -> Case:
    """One step of a pyramid, down or up."""

    def by_opencv(_: Tensor, colours: Tensor) -> Tensor:
        scaled = {"pyramid_down": cv2.pyrDown, "pyramid_up": cv2.pyrUp}[operation]
        return torch.from_numpy(scaled(_pixels(colours))).permute(2, 0, 1)

    def ours(image: Tensor, _: Tensor) -> Tensor:
        if operation == "pyramid_down":
            return fusion.pyramid_down(image)
        return fusion.pyramid_up(image, (2 * height, 2 * width))

    return _pictures(
        operation, (3, height, width), ours, by_opencv, "OpenCV",
        why="each average of two neighbours is a pass through memory, six or eight a step; the"
        " twin keeps the rows that it needs in the cache",
    )  # fmt: skip


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
        library="OpenCV",
        tolerance=1.5 / 230,  # its result is in whole numbers, cut off
        why="half of the time goes into Fourier transforms; the goal is near, and other runs reach"
        " it",
    )


def _sines(count: int, length: int) -> Case:
    def by_scipy(x: Tensor) -> Tensor:
        return torch.from_numpy(imported("scipy.fft", "dst")(x.numpy(), type=1))

    return Case(
        "sine_transform", f"{count}×{length}", fusion.sine_transform, by_scipy,
        normal((count, length)), directions=(FORWARD,), library="SciPy",
    )  # fmt: skip


def _solved(side: int) -> Case:
    """A sparse matrix solved exactly, beside sines; both in float64."""

    def by_scipy(divergence: Tensor, boundary: Tensor) -> Tensor:
        sparse = importlib.import_module("scipy.sparse")
        second = sparse.diags([1.0, -2.0, 1.0], [-1, 0, 1], shape=(side - 2, side - 2))
        matrix = sparse.kronsum(second, second, format="csc")
        right = divergence.clone()
        right[0] -= boundary[0, 1:-1]
        right[-1] -= boundary[-1, 1:-1]
        right[:, 0] -= boundary[1:-1, 0]
        right[:, -1] -= boundary[1:-1, -1]
        solved = imported("scipy.sparse.linalg", "spsolve")(matrix, right.flatten().numpy())
        picture = boundary.clone()
        picture[1:-1, 1:-1] = torch.from_numpy(solved).view_as(right)
        return picture

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        draw = partial(torch.randn, generator=generator, dtype=torch.float64)
        return draw(side - 2, side - 2), draw(side, side)

    return Case(
        "poisson_solve", f"{side}×{side}", fusion.poisson_solve, by_scipy, inputs,
        directions=(FORWARD,), library="SciPy",
    )  # fmt: skip


# --- other operations on pictures ---------------------------------------------------------------


def _pictures(
    operation: str,
    shape: tuple[int, int, int],
    ours: Callable[..., Tensor],
    twin: Callable[..., Tensor],
    library: str,
    **options: Any,
) -> Case:
    """A picture, and the same with its colours together."""

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        image = torch.rand(shape, generator=generator)
        return image, _colours_together(image)

    return Case(
        operation, by(shape), ours, twin, inputs,
        directions=(FORWARD,), library=library, **options,
    )  # fmt: skip


def _defocus(height: int, width: int, sigma: float) -> Case:
    size = 2 * math.ceil(3 * sigma) + 1

    def by_opencv(_: Tensor, colours: Tensor) -> Tensor:
        mirror = cv2.BORDER_REFLECT_101
        blurred = _with_threads().GaussianBlur(
            _pixels(colours), (size, size), sigma, borderType=mirror
        )
        return torch.from_numpy(blurred).permute(2, 0, 1)

    return _pictures(
        "defocus", (3, height, width), lambda image, _: fusion.defocus(image, sigma), by_opencv,
        "OpenCV",
        why="each tap of the two kernels is a pass of its own, thirteen a kernel; the twin keeps"
        " its sums in registers",
    )  # fmt: skip


def _warped(height: int, width: int) -> Case:
    matrix = torch.tensor([[0.9, -0.2, 40.0], [0.2, 0.9, -20.0], [1e-5, 2e-5, 1.0]])

    def by_opencv(_: Tensor, colours: Tensor) -> Tensor:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = _with_threads().warpPerspective(
            _pixels(colours), matrix.numpy(), (width, height), flags=flags
        )
        return torch.from_numpy(warped).permute(2, 0, 1)

    return _pictures(
        "warp_homography", (3, height, width),
        lambda image, _: fusion.warp_homography(image, matrix.to(image), (height, width))[0],
        by_opencv, "OpenCV",
        why="places, pixels and what lies beyond the border are some twenty passes over the"
        " picture; the twin makes one",
        tolerance=1.5,  # it reads at 32nds of a pixel, and beyond the border
    )  # fmt: skip


def _feathered(height: int, width: int) -> Case:
    """A picture full of holes, each step counted; OpenCV and SciPy count alike."""

    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        return (torch.rand(height, width, generator=generator) > 0.001,)

    def by_opencv(mask: Tensor) -> Tensor:
        distance = cv2.distanceTransform(_pixels(mask.byte()), cv2.DIST_L1, 3)
        return torch.from_numpy(distance)

    return Case(
        "feather_weights", f"{height}×{width}", fusion.feather_weights, by_opencv, inputs,
        directions=(FORWARD,), library="OpenCV",
        why="four running minima, which PyTorch makes together with their places, take most of the"
        " time; the twin sweeps twice",
    )  # fmt: skip


def _entropy(height: int, width: int) -> Case:
    def by_scikit(image: Tensor, _: Tensor) -> Tensor:
        levels = torch.round(255 * image).byte().numpy()
        return torch.tensor(imported("skimage.measure", "shannon_entropy")(levels)).float()

    return _pictures(
        "image_entropy", (3, height, width), lambda image, _: fusion.image_entropy(image),
        by_scikit, "scikit-image",
    )  # fmt: skip


def _information(height: int, width: int) -> Case:
    def levels(image: Tensor) -> Any:
        return torch.round(255 * image).long().flatten().numpy()

    def by_scikit(one: Tensor, two: Tensor) -> Tensor:
        score = imported("sklearn.metrics", "mutual_info_score")
        return torch.tensor(score(levels(one), levels(two)) / math.log(2)).float()

    return Case(
        "mutual_information", f"{height}×{width}", fusion.mutual_information, by_scikit,
        uniform((height, width), (height, width)), directions=(FORWARD,), library="scikit-learn",
    )  # fmt: skip


def _phase(height: int, width: int) -> Case:
    def inputs(generator: torch.Generator) -> tuple[Tensor, ...]:
        image = torch.rand(height, width, generator=generator)
        return image, image.roll((7, -12), (0, 1))

    def by_scikit(one: Tensor, two: Tensor) -> Tensor:
        shift = imported("skimage.registration", "phase_cross_correlation")
        return torch.from_numpy(shift(one.numpy(), two.numpy())[0]).to(one.dtype)

    return Case(
        "phase_correlation", f"{height}×{width}", fusion.phase_correlation, by_scikit, inputs,
        directions=(FORWARD,), library="scikit-image",
    )  # fmt: skip


CASES = [
    _blend(1080, 1920, "eager", 8),
    _blend(1080, 1920, "compiled", 1.1),
    _pyramids(270, 480),
    slow(_pyramids(1080, 1920, 1.5)),
    slow(_pyramids(1080, 1920, 0.1, library="kornia")),
    _step("pyramid_down", 270, 480),
    _step("pyramid_down", 1080, 1920),
    _step("pyramid_up", 540, 960),
    _poisson(240, 320, 0.5),
    _poisson(480, 640, 0.5),
    slow(_poisson(1080, 1920, 0.5)),
    _sines(16, 63),
    _sines(1024, 1023),
    _solved(32),
    _solved(256),
    _defocus(270, 480, 2.0),
    slow(_defocus(1080, 1920, 2.0)),
    slow(_warped(1080, 1920)),
    _feathered(64, 64),
    _feathered(1080, 1920),
    _entropy(64, 64),
    slow(_entropy(1080, 1920)),
    slow(_information(1080, 1920)),
    _phase(64, 64),
    _phase(1080, 1920),
]
