"""The equations of the chapter `fusion`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib import fusion as topic
from course_lib.background import srgb_to_linear
from course_lib.formulas.entry import Formula, Pairs, Sense, Symbols, normal, number

Cases = Iterator[tuple[Tensor, Tensor]]


def _uniform(generator: torch.Generator, device: torch.device, *shape: int) -> Tensor:
    """A picture: numbers from 0 to 1 in float64."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64).to(device)


def _size(generator: torch.Generator, low: int = 1, high: int = 20) -> tuple[int, int]:
    return number(generator, low, high), number(generator, low, high)


def _exact(value: Any) -> Tensor:
    return torch.tensor(float(value), dtype=torch.float64)


def _planes(function: Callable[[Any], Any], image: Tensor) -> Tensor:
    """What a function on single planes of numpy's makes of each plane."""
    planes = image.cpu().numpy().reshape(-1, *image.shape[-2:])
    made = np.stack([np.asarray(function(plane)) for plane in planes])
    return torch.from_numpy(made.reshape(*image.shape[:-2], *made.shape[1:]))


# --- pixels -------------------------------------------------------------------------------------


def _blend(generator: torch.Generator, device: torch.device) -> Cases:
    import cv2

    for _ in range(20):
        one, two = _uniform(generator, device, 2, *_size(generator))
        alpha = float(torch.rand((), generator=generator))
        theirs = cv2.addWeighted(one.cpu().numpy(), alpha, two.cpu().numpy(), 1 - alpha, 0)
        yield topic.alpha_blend(one, two, alpha), torch.from_numpy(theirs)


def _linear(generator: torch.Generator, device: torch.device) -> Cases:
    """The curve of IEC 61966-2-1 written out in numpy, there and back."""
    for _ in range(20):
        one, two = _uniform(generator, device, 2, 3, *_size(generator))
        alpha = _uniform(generator, device, 1, *one.shape[1:])
        lights = []
        for image in (one, two):
            stored = image.cpu().numpy()
            lights.append(
                np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
            )
        weight = alpha.cpu().numpy()
        light = weight * lights[0] + (1 - weight) * lights[1]
        theirs = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
        yield topic.alpha_blend(one, two, alpha, linear=True), torch.from_numpy(theirs)


def _layers(generator: torch.Generator, device: torch.device) -> Iterator[list[Tensor]]:
    for _ in range(20):
        size = _size(generator)
        yield [_uniform(generator, device, n, *size) for n in (3, 1, 3, 1)]


def _over(generator: torch.Generator, device: torch.device) -> Cases:
    """On three backgrounds: two layers one after the other look as the two together."""
    for front, alpha_front, back, alpha_back in _layers(generator, device):
        color, alpha = topic.over(front, alpha_front, back, alpha_back)
        for ground in (0.0, 0.5, 1.0):
            below = torch.lerp(torch.full_like(back, ground), back, alpha_back)
            theirs = torch.lerp(below, front, alpha_front)
            yield torch.lerp(torch.full_like(color, ground), color, alpha), theirs


def _premultiplied(generator: torch.Generator, device: torch.device) -> Cases:
    for front, alpha_front, back, alpha_back in _layers(generator, device):
        layers = (front * alpha_front, alpha_front, back * alpha_back, alpha_back)
        color, alpha = topic.over_premultiplied(*layers)
        straight, both = topic.over(front, alpha_front, back, alpha_back)
        yield torch.cat([color, alpha]), torch.cat([straight * both, both])


# --- pyramids -----------------------------------------------------------------------------------


def _down(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(20):
        image = _uniform(generator, device, 2, *_size(generator, 2))
        yield (
            topic.pyramid_down(image),
            _cv_down(image),
        )


def _cv_down(image: Tensor) -> Tensor:
    import cv2

    height, width = ((n + 1) // 2 for n in image.shape[-2:])
    # OpenCV drops an axis of length one.
    return _planes(lambda plane: cv2.pyrDown(plane).reshape(height, width), image)


def _cv_up(image: Tensor, size: tuple[int, int]) -> Tensor:
    import cv2

    return _planes(lambda plane: cv2.pyrUp(plane, dstsize=size[::-1]).reshape(size), image)


def _cv_pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """A Laplacian pyramid by OpenCV."""
    sizes = [image.cpu()]
    for _ in range(levels - 1):
        sizes.append(_cv_down(sizes[-1]))
    pairs = pairwise(sizes)
    return [*(a - _cv_up(b, (a.shape[-2], a.shape[-1])) for a, b in pairs), sizes[-1]]


def _cv_reconstruct(pyramid: list[Tensor]) -> Tensor:
    image = pyramid[-1]
    for level in reversed(pyramid[:-1]):
        image = level + _cv_up(image, (level.shape[-2], level.shape[-1]))
    return image


def _up(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(20):
        image = _uniform(generator, device, 2, *_size(generator))
        size = (
            2 * image.shape[1] - number(generator, 0, 1),
            2 * image.shape[2] - number(generator, 0, 1),
        )
        yield topic.pyramid_up(image, size), _cv_up(image, size)


def _laplacian(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(20):
        image, levels = _uniform(generator, device, 2, *_size(generator)), number(generator, 1, 4)
        pairs = zip(topic.laplacian_pyramid(image, levels), _cv_pyramid(image, levels), strict=True)
        yield from pairs


def _reconstruct(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(20):
        image = _uniform(generator, device, 2, *_size(generator))
        yield topic.reconstruct(_cv_pyramid(image, number(generator, 1, 4))), image.cpu()


def _pyramid_blend(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(20):
        one, two, mask = _uniform(generator, device, 3, 1, *_size(generator, 4))
        levels = number(generator, 1, 4)
        first, second = (_cv_pyramid(image, levels) for image in (one, two))
        weights = topic.gaussian_pyramid(mask.cpu(), levels)
        parts = zip(weights, first, second, strict=True)
        theirs = _cv_reconstruct([m * a + (1 - m) * b for m, a, b in parts])
        yield topic.pyramid_blend(one, two, mask, levels), theirs


# --- stacks -------------------------------------------------------------------------------------


def _sharpness(generator: torch.Generator, device: torch.device) -> Cases:
    from scipy import ndimage

    for _ in range(10):
        images = _uniform(generator, device, 3, *_size(generator, 9, 16))
        sigma = 0.5 + 2 * float(torch.rand((), generator=generator))
        energy = _planes(lambda plane: ndimage.laplace(plane, mode="mirror") ** 2, images).mean(0)
        theirs = ndimage.gaussian_filter(
            energy.numpy(), sigma, mode="mirror", radius=math.ceil(3 * sigma)
        )
        yield topic.sharpness(images, sigma)[0], torch.from_numpy(theirs)


def _focus(generator: torch.Generator, device: torch.device) -> Cases:
    from scipy import ndimage

    for _ in range(10):
        images = _uniform(generator, device, 3, 2, *_size(generator, 9, 16))
        energy = _planes(lambda plane: ndimage.laplace(plane, mode="mirror") ** 2, images).mean(1)
        blurred = _planes(
            lambda plane: ndimage.gaussian_filter(plane, 2.0, mode="mirror", radius=6), energy
        )
        best = blurred.argmax(0)
        theirs = _sum_of_pyramids([best == k for k in range(3)], images, 3)
        yield topic.focus_fusion(images, 3), theirs


def _sum_of_pyramids(weights: Any, images: Tensor, levels: int) -> Tensor:
    """Blend several pictures by OpenCV's pyramids, picture by picture."""
    total = [torch.zeros(())] * levels
    for weight, image in zip(weights, images, strict=True):
        sizes = topic.gaussian_pyramid(weight.to(torch.float64).cpu(), levels)
        details = _cv_pyramid(image, levels)
        total = [t + w * d for t, w, d in zip(total, sizes, details, strict=True)]
    return _cv_reconstruct(total)


def _their_weights(images: Tensor, powers: tuple[float, ...]) -> Tensor:
    """The three qualities by numpy and scipy."""
    from scipy import ndimage

    pictures = images.cpu().numpy()
    grey = np.tensordot(pictures, np.array([0.299, 0.587, 0.114]), axes=(1, 0))
    contrast = np.abs([ndimage.laplace(plane, mode="mirror") for plane in grey])
    exposed = np.exp(-((pictures - 0.5) ** 2) / 0.08).prod(1)
    weights = np.ones_like(contrast)
    for quality, power in zip((contrast, pictures.std(1), exposed), powers, strict=True):
        weights = weights * quality**power
    weights = weights + 1e-12
    return torch.from_numpy(weights / weights.sum(0))[:, None]


def _series(
    generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, tuple[float, float, float]]]:
    for _ in range(10):
        images = _uniform(generator, device, number(generator, 1, 4), 3, *_size(generator, 4, 16))
        powers = 2 * torch.rand(3, generator=generator)
        yield images, (float(powers[0]), float(powers[1]), float(powers[2]))


def _weights(generator: torch.Generator, device: torch.device) -> Cases:
    for images, powers in _series(generator, device):
        yield topic.exposure_weights(images, *powers), _their_weights(images, powers)


def _exposure(generator: torch.Generator, device: torch.device) -> Cases:
    for images, powers in _series(generator, device):
        theirs = _sum_of_pyramids(_their_weights(images, powers), images, 3)
        yield topic.exposure_fusion(images, 3, *powers), theirs


# --- differences --------------------------------------------------------------------------------


def _their_solution(wanted: Tensor, known: Tensor, inside: Any) -> Tensor:
    """Seek the pixels inside by a sparse solver, one equation for each."""
    from scipy.sparse import lil_matrix
    from scipy.sparse.linalg import spsolve

    places = {(y, x): n for n, (y, x) in enumerate(np.argwhere(inside).tolist())}
    matrix, right = lil_matrix((len(places), len(places))), np.zeros(len(places))
    for (y, x), row in places.items():
        matrix[row, row], right[row] = -4, float(wanted[y - 1, x - 1])
        for place in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if place in places:
                matrix[row, places[place]] = 1
            else:
                right[row] -= float(known[place])
    solved = known.cpu().numpy().copy()
    solved[inside] = spsolve(matrix.tocsr(), right)
    return torch.from_numpy(solved)


def _inner(height: int, width: int) -> Any:
    inside = np.zeros((height, width), dtype=bool)
    inside[1:-1, 1:-1] = True
    return inside


def _poisson(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(10):
        height, width = _size(generator, 3, 12)
        known = normal(generator, device, height, width)
        wanted = normal(generator, device, height - 2, width - 2)
        theirs = _their_solution(wanted, known, _inner(height, width))
        yield topic.poisson_solve(wanted, known), theirs


def _divergence(generator: torch.Generator, device: torch.device) -> Cases:
    """Of a gradient it is the Laplacian; of any field, the gradient of its product with one."""
    from scipy import ndimage

    for _ in range(10):
        image = normal(generator, device, *_size(generator, 3, 12))
        laplacian = torch.from_numpy(ndimage.laplace(image.cpu().numpy()))
        yield topic.divergence(*topic.gradients(image)), laplacian[1:-1, 1:-1]
        down, right = (normal(generator, device, *part.shape) for part in topic.gradients(image))
        probe = image.clone().requires_grad_()
        parts = zip((down, right), topic.gradients(probe), strict=True)
        torch.stack([(field * part).sum() for field, part in parts]).sum().backward()
        assert probe.grad is not None
        yield topic.divergence(down, right), -probe.grad[1:-1, 1:-1]


def _sine(generator: torch.Generator, device: torch.device) -> Cases:
    from scipy import fft

    for _ in range(20):
        x, dim = normal(generator, device, *_size(generator, 1, 30)), number(generator, 0, 1)
        theirs = fft.dst(x.cpu().numpy(), type=1, axis=dim)
        yield topic.sine_transform(x, dim), torch.from_numpy(theirs)


def _eigenvalues(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(10):
        size = _size(generator, 1, 8)
        theirs = torch.linalg.eigvalsh(topic.poisson_matrix(*size, device=device))
        yield topic.poisson_eigenvalues(*size, device=device).flatten().sort().values, theirs


def _guidance(generator: torch.Generator, device: torch.device) -> Cases:
    """Write the differences down one by one, and leave the solving to scipy."""
    for _ in range(10):
        source, target, chance = normal(generator, device, 3, *_size(generator, 4, 10))
        mask, mixed = chance > 0, bool(number(generator, 0, 1))
        height, width = target.shape
        wanted = torch.zeros(height - 2, width - 2, dtype=torch.float64)
        for y in range(1, height - 1):
            for x in range(1, width - 1):
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    step = float(target[v, u] - target[y, x])
                    ours = float(source[v, u] - source[y, x])
                    if mask[v, u] and mask[y, x] and not (mixed and abs(step) > abs(ours)):
                        step = ours
                    wanted[y - 1, x - 1] += step
        theirs = _their_solution(wanted, target, _inner(height, width))
        yield topic.poisson_blend(source, target, mask, mixed=mixed), theirs


def _inpaint(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(10):
        image, chance = normal(generator, device, 2, *_size(generator, 3, 12))
        hole = (chance > 0).cpu().numpy() & _inner(*image.shape)
        flat = torch.zeros(image.shape[0] - 2, image.shape[1] - 2)
        yield topic.inpaint(image, chance > 0), _their_solution(flat, image, hole)


# --- features -----------------------------------------------------------------------------------


def _saliency(generator: torch.Generator, device: torch.device) -> Cases:
    from scipy import ndimage

    for _ in range(10):
        one, two = normal(generator, device, 2, 4, *_size(generator, 3, 9))
        counts = ndimage.uniform_filter(np.ones(one.shape[1:]), 3, mode="constant")
        first, second = (
            ndimage.uniform_filter(np.abs(f.cpu().numpy()).sum(0), 3, mode="constant") / counts
            for f in (one, two)
        )
        theirs = (first * one.cpu().numpy() + second * two.cpu().numpy()) / (first + second)
        yield topic.fuse_saliency(one[None], two[None])[0], torch.from_numpy(theirs)


def _attention(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(10):
        height, width = _size(generator)
        features = normal(generator, device, 2, 3, 4, height, width)
        scores = normal(generator, device, 2, 3, 1, height, width)
        theirs = (features * torch.softmax(scores, 0)).sum(0)
        yield topic.fuse_attention(*features, *scores), theirs


# --- judging ------------------------------------------------------------------------------------


def _entropy(generator: torch.Generator, device: torch.device) -> Cases:
    from skimage.measure import shannon_entropy

    for _ in range(10):
        image, bins = _uniform(generator, device, *_size(generator)), number(generator, 2, 256)
        levels = torch.round(image * (bins - 1)).cpu().numpy()
        yield topic.image_entropy(image, bins), _exact(shannon_entropy(levels))


def _information(generator: torch.Generator, device: torch.device) -> Cases:
    from sklearn.metrics import mutual_info_score

    for _ in range(10):
        one, two = _uniform(generator, device, 2, *_size(generator)).square()
        two, bins = (one + two) / 2, number(generator, 2, 40)
        first, second = (
            torch.round(image * (bins - 1)).long().flatten().cpu().numpy() for image in (one, two)
        )
        theirs = float(mutual_info_score(first, second)) / math.log(2)
        yield topic.mutual_information(one, two, bins), _exact(theirs)


def _edges(generator: torch.Generator, device: torch.device) -> Cases:
    """The paper's formulas in numpy, with Sobel's kernels of scipy."""
    from scipy import ndimage

    def sobel(image: Tensor) -> tuple[Any, Any]:
        pixels = image[0].cpu().numpy()
        x, y = (ndimage.sobel(pixels, axis=axis)[1:-1, 1:-1] for axis in (1, 0))
        return np.sqrt(x**2 + y**2), np.arctan(y / x)

    for _ in range(10):
        pictures = _uniform(generator, device, 3, 1, *_size(generator, 3, 12))
        (*sources, (strength, angle)), above, below = [sobel(p) for p in pictures], 0.0, 0.0
        for g, a in sources:
            ratio = np.where(g > strength, strength / g, g / strength)
            turn = np.abs(a - angle)
            turn = np.minimum(turn, np.pi - turn)
            kept = 0.9994 / (1 + np.exp(-15 * (ratio - 0.5)))
            kept = kept * 0.9879 / (1 + np.exp(-22 * (1 - turn / (np.pi / 2) - 0.8)))
            above, below = above + (kept * g).sum(), below + g.sum()
        yield topic.edge_preservation(*pictures), _exact(above / below)


def _similarity(generator: torch.Generator, device: torch.device) -> Cases:
    """Windows one by one, in numpy."""
    at = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window = np.outer(at, at) / at.sum() ** 2

    def index(a: Any, b: Any) -> tuple[float, float]:
        mean_a, mean_b = (window * a).sum(), (window * b).sum()
        var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
        covariance = (window * (a - mean_a) * (b - mean_b)).sum()
        above = (2 * mean_a * mean_b + 0.01**2) * (2 * covariance + 0.03**2)
        below = (mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2)
        return float(above / below), float(var_a)

    for _ in range(6):
        pictures = _uniform(generator, device, 3, 1, *_size(generator, 11, 14))
        one, two, fused = pictures[:, 0].cpu().numpy()
        found = []
        for y in range(one.shape[0] - 10):
            for x in range(one.shape[1] - 10):
                cut = slice(y, y + 11), slice(x, x + 11)
                first, spread1 = index(one[cut], fused[cut])
                second, spread2 = index(two[cut], fused[cut])
                found.append((spread1 * first + spread2 * second) / (spread1 + spread2))
        yield topic.fusion_ssim(*pictures), _exact(np.mean(found))


# --- panorama, burst ----------------------------------------------------------------------------


def _phase(generator: torch.Generator, device: torch.device) -> Cases:
    from skimage.registration import phase_cross_correlation

    for _ in range(20):
        image = _uniform(generator, device, *_size(generator, 5, 20))
        moved = image.roll((number(generator, -2, 2), number(generator, -2, 2)), (0, 1))
        theirs, *_ = phase_cross_correlation(image.cpu().numpy(), moved.cpu().numpy())
        yield topic.phase_correlation(image, moved), torch.from_numpy(theirs)


def _homography(generator: torch.Generator, device: torch.device) -> Cases:
    import cv2
    from scipy import ndimage

    for _ in range(20):
        image = _uniform(generator, device, 1, *_size(generator, 4, 20))
        matrix = torch.eye(3, dtype=torch.float64) + 0.1 * normal(generator, device, 3, 3).cpu()
        matrix[2] = torch.tensor([1e-3, -1e-3, 1.0])
        size = _size(generator, 4, 20)
        # Where each pixel comes from, by OpenCV; the picture there is bilinear by scipy.
        y, x = np.mgrid[: size[0], : size[1]].astype(np.float64)
        places = cv2.perspectiveTransform(np.stack([x, y], -1), matrix.numpy())
        u, v = places[..., 0], places[..., 1]
        pixels = image[0].cpu().numpy()
        theirs = ndimage.map_coordinates(pixels, [v, u], order=1, mode="constant", cval=0.0)
        warped, _ = topic.warp_homography(image, matrix.to(device), size)
        yield warped[0], torch.from_numpy(theirs)


def _gain(generator: torch.Generator, device: torch.device) -> Cases:
    for _ in range(10):
        image, reference = _uniform(generator, device, 2, 3, *_size(generator, 2, 9))
        mask = _uniform(generator, device, *image.shape[1:]) > 0.3
        mask[0, 0] = True
        theirs = [
            torch.linalg.lstsq(srgb_to_linear(a[mask])[:, None], srgb_to_linear(b[mask])[:, None])
            for a, b in zip(image, reference, strict=True)
        ]
        ours = topic.match_exposure(image, reference, mask)
        yield ours.flatten(), torch.cat([found.solution.flatten() for found in theirs])


def _feather(generator: torch.Generator, device: torch.device) -> Cases:
    from scipy import ndimage

    for _ in range(20):
        mask = _uniform(generator, device, *_size(generator, 2, 12)) > 0.2
        mask[-1, 0] = False
        theirs = ndimage.distance_transform_cdt(mask.cpu().numpy(), metric="taxicab")
        yield topic.feather_weights(mask).double(), torch.from_numpy(theirs).double()


def _burst(generator: torch.Generator, device: torch.device) -> Cases:
    """Independent noise adds up in squares, weighed with how much each frame moves the mean."""
    for _ in range(20):
        sigma, count = float(torch.rand((), generator=generator)), number(generator, 1, 60)
        frames = normal(generator, device, count).requires_grad_()
        topic.average_burst(frames).backward()
        assert frames.grad is not None
        yield _exact(topic.burst_noise(sigma, count)), sigma * frames.grad.norm()


def _entry(label: str, statement: str, function: str, reference: str, pairs: Pairs) -> Formula:
    return Formula(f"fusion-{label}", statement, f"course_lib.fusion.{function}", reference, pairs)


FORMULAS: tuple[Formula, ...] = (
    _entry("blend", "A mean of two pictures, weighed", "alpha_blend", "cv2.addWeighted", _blend),
    _entry(
        "linear",
        "A mean of two amounts of light",
        "alpha_blend",
        "the curve of the standard, written out in numpy",
        _linear,
    ),
    _entry(
        "over",
        "One layer over another, in plain colours",
        "over",
        "the layers laid one after the other on three backgrounds",
        _over,
    ),
    _entry(
        "premultiplied",
        "One layer over another, in premultiplied colours",
        "over_premultiplied",
        "the formula for plain colours, times alpha",
        _premultiplied,
    ),
    _entry("down", "Blur and keep every other pixel", "pyramid_down", "cv2.pyrDown", _down),
    _entry("up", "Spread the pixels and blur", "pyramid_up", "cv2.pyrUp", _up),
    _entry(
        "laplacian",
        "What a size shows that the next smaller one does not",
        "laplacian_pyramid",
        "cv2.pyrDown and cv2.pyrUp",
        _laplacian,
    ),
    _entry(
        "reconstruct",
        "A picture is the sum of its details",
        "reconstruct",
        "the picture that cv2.pyrDown and cv2.pyrUp took apart",
        _reconstruct,
    ),
    _entry(
        "pyramid-blend",
        "Each size of detail is blended with the mask of that size",
        "pyramid_blend",
        "two pyramids by cv2.pyrDown and cv2.pyrUp, blended level by level",
        _pyramid_blend,
    ),
    _entry(
        "sharpness",
        "Sharp is where the Laplacian has energy",
        "sharpness",
        "scipy.ndimage.laplace and gaussian_filter",
        _sharpness,
    ),
    _entry(
        "focus",
        "The sharpest of several pictures, blended in pyramids",
        "focus_fusion",
        "scipy.ndimage for the choice, cv2.pyrDown and cv2.pyrUp for the blend",
        _focus,
    ),
    _entry(
        "weights",
        "Contrast, saturation and exposedness make the weight of a pixel",
        "exposure_weights",
        "numpy and scipy.ndimage.laplace",
        _weights,
    ),
    _entry(
        "exposure",
        "An exposure series, blended in pyramids",
        "exposure_fusion",
        "numpy and scipy for the weights, cv2.pyrDown and cv2.pyrUp for the blend",
        _exposure,
    ),
    Formula("fusion-energy", "The picture whose differences are nearest to the wanted ones"),
    _entry(
        "poisson",
        "The Poisson equation in pixels",
        "poisson_solve",
        "scipy.sparse.linalg.spsolve",
        _poisson,
    ),
    _entry(
        "divergence",
        "How much more leaves a pixel than comes in",
        "divergence",
        "scipy.ndimage.laplace, and automatic differentiation of the gradient",
        _divergence,
    ),
    _entry("sine", "The sine transform", "sine_transform", "scipy.fft.dst, type 1", _sine),
    _entry(
        "eigenvalues",
        "The eigenvalues of the Poisson equation's matrix",
        "poisson_eigenvalues",
        "torch.linalg.eigvalsh",
        _eigenvalues,
    ),
    _entry(
        "guidance",
        "Inside the mask the source's differences, outside the target's",
        "poisson_blend",
        "differences one by one, and scipy.sparse.linalg.spsolve",
        _guidance,
    ),
    _entry(
        "saliency",
        "Features weighed with their strength",
        "fuse_saliency",
        "scipy.ndimage.uniform_filter",
        _saliency,
    ),
    _entry(
        "attention",
        "Features weighed with learned scores",
        "fuse_attention",
        "torch.softmax over the two",
        _attention,
    ),
    _entry(
        "entropy",
        "How evenly the values of a picture are spread",
        "image_entropy",
        "skimage.measure.shannon_entropy",
        _entropy,
    ),
    _entry(
        "mutual-information",
        "What one picture tells of another",
        "mutual_information",
        "sklearn.metrics.mutual_info_score",
        _information,
    ),
    _entry(
        "edge",
        "How much of the sources' edges is kept",
        "edge_preservation",
        "numpy and scipy.ndimage.sobel",
        _edges,
    ),
    _entry(
        "ssim",
        "How similar the result is to the livelier source",
        "fusion_ssim",
        "numpy, window by window",
        _similarity,
    ),
    _entry(
        "phase",
        "A shift is the peak of the normalised product of spectra",
        "phase_correlation",
        "skimage.registration.phase_cross_correlation",
        _phase,
    ),
    _entry(
        "homography",
        "Where a homography takes a pixel",
        "warp_homography",
        "cv2.perspectiveTransform and scipy.ndimage.map_coordinates",
        _homography,
    ),
    _entry(
        "gain",
        "The factor on the light that fits one picture to another",
        "match_exposure",
        "torch.linalg.lstsq",
        _gain,
    ),
    _entry(
        "feather",
        "Weights that fall to 0 at a picture's border",
        "feather_weights",
        "scipy.ndimage.distance_transform_cdt, taxicab",
        _feather,
    ),
    _entry(
        "burst",
        "The noise of a mean of frames",
        "burst_noise",
        "the gradient of the mean by automatic differentiation",
        _burst,
    ),
    _entry(
        "inpaint",
        "In a hole each pixel is its neighbours' mean",
        "inpaint",
        "scipy.sparse.linalg.spsolve",
        _inpaint,
    ),
)

_HOMOGRAPHY = "Its numbers are $a$, $b$, $c$, $d$, $e$, $f$, $g$, $h$ and $i$"

SYMBOLS: Symbols = {
    "A": (
        Sense(
            "how much happens at a place of a feature map",
            "With $A_k$ the mean over 3 × 3 pixels",
            ("fusion-saliency",),
        ),
        Sense(
            "a source, one of the pictures that were fused",
            "those of a source $A$",
            ("fusion-mutual-information", "fusion-edge", "fusion-ssim"),
        ),
    ),
    "a": (
        Sense(
            "a value of a source",
            "where $A$ has the value $a$",
            ("fusion-mutual-information",),
        ),
        Sense("a number of a homography", _HOMOGRAPHY, ("fusion-homography",)),
    ),
    r"\alpha": "how much of a picture counts, or how much of a pixel it covers",
    "B": "the other source",
    r"\beta": "the share of the first features",
    "b": (
        Sense("a value of a picture", "that have the value $b$ of 256", ("fusion-entropy",)),
        Sense("a number of a homography", _HOMOGRAPHY, ("fusion-homography",)),
    ),
    "C": (
        Sense(
            "the colour of a layer",
            "a fourth number besides its colour $C$",
            ("fusion-over", "fusion-premultiplied"),
        ),
        Sense("the contrast of an exposure", "*contrast* $C$", ("fusion-weights",)),
    ),
    "c": "a number of a homography",
    "D": "how many steps it is to the nearest pixel outside of a picture",
    "d": (
        Sense("from stored values to light", "which we call $d$ here", ("fusion-linear",)),
        Sense(
            "the divergence of the wanted differences",
            "and $d$ from here on",
            ("fusion-divergence", "fusion-poisson"),
        ),
        Sense("a number of a homography", _HOMOGRAPHY, ("fusion-homography",)),
    ),
    r"\operatorname{div}": "the divergence",
    "E": "the exposedness of an exposure",
    r"\mathrm{E}": "making a picture twice as large, by zeros and smoothing",
    "e": (
        Sense("from light to stored values", "here $e$", ("fusion-linear",)),
        Sense(
            "the number 2.718…, the base of the natural logarithm",
            "where $e$ is the number 2.718…",
            ("fusion-attention",),
        ),
        Sense("a number of a homography", _HOMOGRAPHY, ("fusion-homography",)),
    ),
    "F": (
        Sense(
            "feature maps, of a picture or fused",
            "feature maps $F_1, F_2$",
            ("fusion-saliency", "fusion-attention"),
        ),
        Sense(
            "the fused picture",
            "the values of the result $F$",
            ("fusion-mutual-information", "fusion-edge", "fusion-ssim"),
        ),
    ),
    "f": (
        Sense(
            "the picture that is looked for",
            "is the wanted $f[y+1, x] - f[y, x]$",
            ("fusion-energy", "fusion-poisson", "fusion-inpaint"),
        ),
        Sense(
            "a value of the fused picture",
            "and $F$ the value $f$",
            ("fusion-mutual-information",),
        ),
        Sense("a number of a homography", _HOMOGRAPHY, ("fusion-homography",)),
    ),
    "f^*": "the target, into which something is set",
    "G": "a level of a Gaussian pyramid",
    "g": (
        Sense(
            "the source, of which a part is set into the target",
            "the values of the source $g$",
            ("fusion-guidance",),
        ),
        Sense(
            "by how much one picture is brighter than another",
            "One factor $g$ for each channel",
            ("fusion-gain",),
        ),
        Sense("a number of a homography", _HOMOGRAPHY, ("fusion-homography",)),
    ),
    "g_A": "the strength of the edge in the source $A$",
    "g_B": "the strength of the edge in the source $B$",
    r"g_\sigma": "a Gaussian",
    "H": (
        Sense(
            "how many inner rows there are",
            "over $H \\times W$ inner pixels",
            ("fusion-eigenvalues",),
        ),
        Sense("the entropy of a picture", "*Entropy* $H$ is how much", ("fusion-entropy",)),
    ),
    "h": "a number of a homography",
    "I": "a picture, or the result",
    r"\hat I": "a picture's Fourier transform",
    "i": (
        Sense(
            "row of a weight, from the middle one",
            "binomial weights $w_i$",
            ("fusion-down", "fusion-up"),
        ),
        Sense("a number of a homography", _HOMOGRAPHY, ("fusion-homography",)),
    ),
    "j": "column of a weight, which wave, or which picture",
    "k": (
        Sense(
            "which wave",
            "$j$ down and $k$ across",
            ("fusion-eigenvalues", "fusion-sine"),
        ),
        Sense(
            "which picture",
            "now over all pictures $k$",
            (
                "fusion-sharpness",
                "fusion-focus",
                "fusion-weights",
                "fusion-exposure",
                "fusion-feather",
            ),
        ),
    ),
    "L": "a level of a Laplacian pyramid",
    "l": "which level of a pyramid, the finest first",
    r"\lambda": "the number by which the Poisson equation multiplies a wave",
    r"\lambda_w": "the share of the first source in a window",
    "M": (
        Sense(
            "a mask, 1 where a picture is wanted",
            "Let $M$ be a mask",
            ("fusion-pyramid-blend", "fusion-focus"),
        ),
        Sense(
            "the mutual information",
            "*Mutual information* $M$",
            ("fusion-mutual-information",),
        ),
    ),
    "N": (
        Sense("how many numbers a row has", "a row of $N$ inner pixels", ("fusion-sine",)),
        Sense("how many windows there are", "in each of $N$ windows", ("fusion-ssim",)),
    ),
    "n": (
        Sense("how many levels a pyramid has", "of $n$ levels", ("fusion-laplacian",)),
        Sense("which number of a row", "$n = -1$ and $n = N$", ("fusion-sine",)),
        Sense("how many shots a burst has", "Take a burst of $n$", ("fusion-burst",)),
    ),
    "P": "a premultiplied colour",
    "p": (
        Sense("how much contrast counts", "Powers $p, q, r$ say", ("fusion-weights",)),
        Sense(
            "a share of the places",
            "With $p_b$ the share",
            ("fusion-entropy", "fusion-mutual-information"),
        ),
        Sense("a pixel", "at pixel $p$ of the overlap", ("fusion-gain", "fusion-feather")),
    ),
    "Q": "how much of the edges or the structure of the sources is kept",
    "q": (
        Sense("how much saturation counts", "Powers $p, q, r$ say", ("fusion-weights",)),
        Sense(
            "the light in one of two pictures",
            "Let $q_p$ be the light",
            ("fusion-gain",),
        ),
        Sense(
            "a pixel outside of a picture",
            "the nearest pixel $q$ outside",
            ("fusion-feather",),
        ),
    ),
    "R": "the product of two Fourier transforms, of which only the phase is left",
    "r": (
        Sense("how much exposedness counts", "Powers $p, q, r$ say", ("fusion-weights",)),
        Sense(
            "the light in the other of two pictures",
            "and $r_p$ in the other",
            ("fusion-gain",),
        ),
    ),
    "S": (
        Sense(
            "the sharpness of a picture at a place",
            "its sharpness $S_k$",
            ("fusion-sharpness", "fusion-focus"),
        ),
        Sense("the saturation of an exposure", "*saturation* $S$", ("fusion-weights",)),
    ),
    r"\operatorname{SSIM}": "the structural similarity",
    "s": "a score",
    r"\sigma": "a standard deviation",
    "v": (
        Sense(
            "the wanted differences between neighbours",
            "Let $v$ be the wanted differences",
            ("fusion-guidance", "fusion-energy", "fusion-divergence", "fusion-poisson"),
        ),
        Sense(
            "row of a pixel of the larger picture",
            "Row $v$ and column $u$",
            ("fusion-up",),
        ),
    ),
    "u": "column of a pixel of the larger picture",
    "W": (
        Sense(
            "how many inner columns there are",
            "over $H \\times W$ inner pixels",
            ("fusion-eigenvalues",),
        ),
        Sense(
            "the weights of an exposure",
            "the weights $W_k$ are made",
            ("fusion-weights", "fusion-exposure"),
        ),
    ),
    "w": (
        Sense("binomial weights", "binomial weights $w_i$", ("fusion-down", "fusion-up")),
        Sense("a window", "windows $w$", ("fusion-ssim",)),
    ),
    "X": "the sine transform of a row",
    "x": (
        Sense(
            "column of a place, counted from 0",
            "is the wanted $f[y+1, x] - f[y, x]$",
            (
                "fusion-down",
                "fusion-energy",
                "fusion-divergence",
                "fusion-poisson",
                "fusion-homography",
                "fusion-feather",
                "fusion-inpaint",
            ),
        ),
        Sense("the numbers of a row", "each row and each column $x$", ("fusion-sine",)),
    ),
    "y": "row of a place, counted from 0",
}
"""What the symbols of the chapter mean; see `Symbols`."""
