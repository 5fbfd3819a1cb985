"""The exercises of the ward: right answers written differently, and wrong ones."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import ops

from course_lib import boxes as bx
from course_lib.exercises import _equal, clinic

# --- 8: mix two pictures of bytes -----------------------------------------------------------------


def _blend_opencv(first: Tensor, second: Tensor, percent: int) -> np.ndarray:
    height, width = first.shape[:2]
    rgb = cv2.resize(cv2.cvtColor(second.numpy(), cv2.COLOR_BGR2RGB), (width, height))
    mixed = first.numpy() * (percent / 100) + rgb * (1 - percent / 100)
    return np.rint(mixed).astype(np.uint8)


def _blend_pillow(first: Tensor, second: Tensor, percent: int) -> Tensor:
    size = first.shape[1], first.shape[0]
    other = Image.fromarray(second.numpy()[..., ::-1].copy()).resize(size)
    mixed = percent * first.short() + (100 - percent) * torch.tensor(np.asarray(other)).short()
    return ((mixed + 50) // 100).byte()


def _blend_floats(first: Tensor, second: Tensor, percent: int) -> Tensor:
    alpha = percent / 100
    rgb = second[..., [2, 1, 0]].permute(2, 0, 1)[None].float()
    rgb = F.interpolate(rgb, first.shape[:2], mode="bilinear", antialias=True)
    mixed = torch.lerp(rgb[0].permute(1, 2, 0), first.float(), alpha)
    return mixed.clamp(0, 255).add(0.5).to(torch.uint8)


def _blend_nearest(first: Tensor, second: Tensor, percent: int) -> Tensor:
    if second.shape != first.shape:
        rows = torch.arange(first.shape[0]) * second.shape[0] // first.shape[0]
        columns = torch.arange(first.shape[1]) * second.shape[1] // first.shape[1]
        second = second[rows][:, columns]
    mixed = first / 255 * percent / 100 + second.flip(2) / 255 * (100 - percent) / 100
    return (255 * mixed).round().byte()


def _blend_listing(first: Tensor, second: Tensor, percent: int) -> Tensor:
    """The listing of the chapter."""
    mixed = torch.empty_like(first)
    for channel in range(3):
        mixed[..., channel] = (
            first[..., channel] * percent + second[..., channel] * (100 - percent)
        ) // 100
    return mixed


def _blend_no_round(first: Tensor, second: Tensor, percent: int) -> Tensor:
    rgb = second.flip(-1).permute(2, 0, 1)[None].float()
    rgb = F.interpolate(rgb, first.shape[:2], mode="bilinear")[0].permute(1, 2, 0)
    return ((first.float() * percent + rgb * (100 - percent)) / 100).byte()


def _blend_same_size(first: Tensor, second: Tensor, percent: int) -> Tensor:
    mixed = (first.float() * percent + second.flip(-1).float() * (100 - percent)) / 100
    return mixed.round().byte()


def _blend_cropped(first: Tensor, second: Tensor, percent: int) -> Tensor:
    height, width = first.shape[:2]
    tiles = second.repeat(4, 4, 1)[:height, :width]
    return _blend_same_size(first, tiles, percent)


def _blend_smaller(first: Tensor, second: Tensor, percent: int) -> Tensor:
    height, width = (min(a, b) for a, b in zip(first.shape[:2], second.shape[:2], strict=True))
    return _blend_same_size(first[:height, :width], second[:height, :width], percent)


def _blend_rgb(first: Tensor, second: Tensor, percent: int) -> np.ndarray:
    return _blend_opencv(first, second.flip(-1), percent)


def _blend_upside_down(first: Tensor, second: Tensor, percent: int) -> np.ndarray:
    return _blend_opencv(first, second.flip(0), percent)


def _blend_saturated(first: Tensor, second: Tensor, percent: int) -> Tensor:
    sizes = first.shape[1], first.shape[0]
    rgb = torch.tensor(cv2.resize(second.numpy()[..., ::-1].copy(), sizes))
    total = (first * percent).clamp(max=255) + (rgb * (100 - percent)).clamp(max=255)
    return (total / 100).round().byte()


# --- 11: the ranges of a network and of a screen --------------------------------------------------


def _ranges_in_steps(photo: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    if not photo.is_floating_point():
        photo = photo.float() / 255
    return (photo - 0.5) / 0.5, (made.clamp(-1, 1) + 1) / 2


def _ranges_bytes_first(photo: Tensor, made: Tensor) -> tuple[np.ndarray, np.ndarray]:
    whole = photo.numpy() if photo.dtype == torch.uint8 else photo.numpy() * 255
    return whole / 127.5 - 1, np.clip(made.numpy() * 0.5 + 0.5, 0, 1)


def _ranges_written(photo: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """Right numbers, and the given pictures are gone."""
    into = photo.mul_(2).sub_(1) if photo.is_floating_point() else photo / 127.5 - 1
    return into, made.add_(1).div_(2).clamp_(0, 1)


def _ranges_listing(photo: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    x = (photo / 255 if photo.dtype == torch.uint8 else photo) / 255
    return 2 * x - 1, made.clamp(0, 1)


# --- 12: read a detector's answer -----------------------------------------------------------------


def _detect_loop(detector: Any, image: Tensor, names: list[str]) -> tuple[list[Any], list[str]]:
    (found,) = detector([image])
    _, height, width = image.shape
    boxes = []
    for y1, x1, y2, x2 in found["boxes"].tolist():
        boxes.append([x1 * width, y1 * height, x2 * width, y2 * height])
    every = ["background", *names]
    return boxes, [every[n] for n in found["labels"].tolist()]


def _detect_unbind(
    detector: Any, image: Tensor, names: list[str]
) -> tuple[Tensor, tuple[str, ...]]:
    found = detector((image,))[0]
    y1, x1, y2, x2 = found["boxes"].unbind(1)
    height, width = image.shape[-2:]
    boxes = torch.stack([width * x1, height * y1, width * x2, height * y2], dim=1)
    words = dict(enumerate(names, start=1))
    return boxes, tuple(words[int(n)] for n in found["labels"])


def _detect_topic(detector: Any, image: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    found = detector([image])[0]
    boxes = bx.to_pixels(bx.box_convert(found["boxes"], "yxyx", "xyxy"), image.shape[-2:])
    return boxes, [names[n - 1] for n in found["labels"]]


def _detect_listing(detector: Any, image: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    found = detector.detect(image)
    return found["boxes"], [names[label] for label in found["labels"]]


def _detect_half(detector: Any, image: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    found = detector([image])[0]
    return found["boxes"], [names[label] for label in found["labels"]]


def _detect_square(detector: Any, image: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    """Right for square pictures."""
    boxes, words = _detect_topic(detector, image, names)
    return boxes / image.shape[2] * image.shape[1], words


def _detect_rounded(detector: Any, image: Tensor, names: list[str]) -> tuple[Tensor, list[str]]:
    boxes, words = _detect_topic(detector, image, names)
    return boxes - 0.5, words


def _detect_numbers(detector: Any, image: Tensor, names: list[str]) -> tuple[Tensor, Any]:
    return _detect_topic(detector, image, names)[0], detector([image])[0]["labels"]


# --- 13: suppress, class by class -----------------------------------------------------------------


def _suppress_loop(
    boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float, extra: float = 0.0
) -> list[int]:
    def overlap(a: list[float], b: list[float]) -> float:
        wide = min(a[2], b[2]) - max(a[0], b[0]) + extra
        high = min(a[3], b[3]) - max(a[1], b[1]) + extra
        shared = max(0.0, wide) * max(0.0, high)
        areas = sum((c[2] - c[0] + extra) * (c[3] - c[1] + extra) for c in (a, b))
        return shared / (areas - shared)

    rows = boxes.tolist()
    kept: list[int] = []
    for n in scores.argsort(descending=True).tolist():
        rivals = [m for m in kept if labels[m] == labels[n]]
        if all(overlap(rows[n], rows[m]) <= threshold for m in rivals):
            kept.append(n)
    return kept


def _suppress_by_ghosts(
    boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float
) -> list[int]:
    """Boxes that are gone suppress others still."""
    order = scores.argsort(descending=True)
    clash = bx.box_iou(boxes[order], boxes[order]) > threshold
    clash &= labels[order][:, None] == labels[order]
    return order[~clash.tril(-1).any(1)].tolist()


def _suppress_at_threshold(
    boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float
) -> list[int]:
    return _suppress_loop(boxes, scores, labels, threshold - 1e-9)


def _suppress_per_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    kept = []
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        kept.append(own[ops.nms(boxes[own], scores[own], threshold)])
    every = torch.cat(kept)
    return every[scores[every].argsort(descending=True)]


def _suppress_moved(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return bx.nms(boxes + 1000.0 * labels[:, None], scores, threshold)


def _suppress_all(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return ops.nms(boxes, scores, threshold)


def _suppress_listing(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    return _suppress_loop(boxes, scores, torch.zeros(len(labels)), threshold, extra=1.0)


# --- 9: a turn of two players ---------------------------------------------------------------------


def _turn_bce(
    generator: nn.Module, discriminator: nn.Module, real: Tensor, noise: Tensor, learn_g: Any,
    learn_d: Any, *, shown: str = "made", fool: float = 1.0,
) -> tuple[float, float]:  # fmt: skip
    bce = nn.BCEWithLogitsLoss()
    learn_d.zero_grad()
    fakes = generator(noise).detach() if shown == "made" else noise
    ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
    loss_d = bce(discriminator(real), ones) + bce(discriminator(fakes), zeros)
    loss_d.backward()
    learn_d.step()
    learn_g.zero_grad()
    loss_g = bce(discriminator(generator(noise)), torch.full((len(noise), 1), fool))
    loss_g.backward()
    learn_g.step()
    return loss_d.item(), loss_g.item()


def _turn_without_detach(
    generator: nn.Module, discriminator: nn.Module, real: Tensor, noise: Tensor, learn_g: Any,
    learn_d: Any,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """No detach, but G's gradient is cleared before its own turn; each half cleared apart."""
    made = generator(noise)
    loss_d = -F.logsigmoid(discriminator(real)).mean() - F.logsigmoid(-discriminator(made)).mean()
    discriminator.zero_grad()
    loss_d.backward()
    learn_d.step()
    generator.zero_grad()
    loss_g = -F.logsigmoid(discriminator(generator(noise))).mean()
    loss_g.backward()
    learn_g.step()
    return loss_d, loss_g


def _turn_cleared_after(
    generator: nn.Module, discriminator: nn.Module, real: Tensor, noise: Tensor, learn_g: Any,
    learn_d: Any,
) -> list[Tensor]:  # fmt: skip
    with torch.no_grad():
        made = generator(noise)
    loss_d = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(made)).mean()
    loss_d.backward()
    learn_d.step()
    loss_g = F.softplus(-discriminator(generator(noise))).mean()
    loss_g.backward()
    learn_g.step()
    for player in (learn_d, learn_g):
        player.zero_grad()
    return [loss_d, loss_g]


def _turn_made_once(*given: Any) -> tuple[Tensor, Tensor]:
    """One drawing serves both; both are cleared at the start."""
    generator, discriminator, real, noise, learn_g, learn_d = given
    learn_g.zero_grad()
    learn_d.zero_grad()
    made = generator(noise)
    scores = discriminator(torch.cat([real, made.detach()])).split(len(real))
    loss_d = F.softplus(-scores[0]).mean() + F.softplus(scores[1]).mean()
    loss_d.backward()
    learn_d.step()
    loss_g = F.softplus(-discriminator(made)).mean()
    loss_g.backward()
    learn_g.step()
    return loss_d, loss_g


def _turn_leaking(*given: Any) -> tuple[Tensor, Tensor]:
    """Cleared at the start, and not detached."""
    generator, discriminator, real, noise, learn_g, learn_d = given
    learn_g.zero_grad()
    learn_d.zero_grad()
    loss_d = F.softplus(-discriminator(real)).mean()
    loss_d = loss_d + F.softplus(discriminator(generator(noise))).mean()
    loss_d.backward()
    learn_d.step()
    loss_g = F.softplus(-discriminator(generator(noise))).mean()
    loss_g.backward()
    learn_g.step()
    return loss_d, loss_g


def _turn_listing(
    generator: nn.Module, discriminator: nn.Module, real: Tensor, noise: Tensor, learn_g: Any,
    learn_d: Any,
) -> tuple[float, float]:  # fmt: skip
    learn_d.apply_gradients(discriminator.parameters())
    return 0.0, 0.0


def _turn_no_clearing(*given: Any) -> tuple[Tensor, Tensor]:
    generator, discriminator, real, noise, learn_g, learn_d = given
    made = generator(noise)
    loss_d = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(made)).mean()
    loss_d.backward()
    learn_d.step()
    loss_g = F.softplus(-discriminator(generator(noise))).mean()
    loss_g.backward()
    learn_g.step()
    return loss_d, loss_g


def _turn_fresh_noise(*given: Any) -> tuple[Tensor, Tensor]:
    """The noise of G's half-turn is another."""
    generator, discriminator, real, noise, learn_g, learn_d = given
    made = generator(noise).detach()
    loss_d = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(made)).mean()
    learn_d.zero_grad()
    loss_d.backward()
    learn_d.step()
    loss_g = F.softplus(-discriminator(generator(noise + 1))).mean()
    learn_g.zero_grad()
    loss_g.backward()
    learn_g.step()
    return loss_d, loss_g


def _turn_mean_of_halves(*given: Any) -> tuple[Tensor, Tensor]:
    generator, discriminator, real, noise, learn_g, learn_d = given
    scores = discriminator(torch.cat([real, generator(noise).detach()]))
    wanted = torch.cat([torch.ones(len(real), 1), torch.zeros(len(noise), 1)])
    loss_d = F.binary_cross_entropy_with_logits(scores, wanted)
    learn_d.zero_grad()
    loss_d.backward()
    learn_d.step()
    loss_g = F.softplus(-discriminator(generator(noise))).mean()
    learn_g.zero_grad()
    loss_g.backward()
    learn_g.step()
    return loss_d, loss_g


def _turn_never_steps(*given: Any) -> tuple[Tensor, Tensor]:
    generator, discriminator, real, noise, _, _ = given
    made = generator(noise)
    loss_d = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(made)).mean()
    return loss_d, F.softplus(-discriminator(made)).mean()


# --- 10: networks for pictures of a given side ----------------------------------------------------


def _sides_dcgan(side: int, noise: int) -> tuple[nn.Module, nn.Module]:
    up: list[nn.Module] = [nn.Linear(noise, 16 * 16), nn.ReLU(), nn.Unflatten(1, (16, 4, 4))]
    down: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1), nn.LeakyReLU(0.2)]
    for _ in range(int(math.log2(side)) - 2):
        up += [nn.ConvTranspose2d(16, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU()]
        down += [nn.Conv2d(16, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.LeakyReLU(0.2)]
    up += [nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid()]
    return nn.Sequential(*up), nn.Sequential(*down, nn.Flatten(), nn.LazyLinear(1))


def _sides_flat(side: int, noise: int) -> tuple[nn.Module, nn.Module]:
    return (
        nn.Sequential(
            nn.Linear(noise, side * side), nn.Sigmoid(), nn.Unflatten(1, (1, side, side))
        ),
        nn.Sequential(nn.Flatten(), nn.Linear(side * side, 1)),
    )


class _Drawer(nn.Module):
    def __init__(self, side: int, noise: int) -> None:
        super().__init__()
        self.side = side
        self.inner = nn.Sequential(nn.Linear(noise, 32), nn.Tanh(), nn.Linear(32, side**2))

    def forward(self, z: Tensor) -> Tensor:
        return self.inner(z).sigmoid().view(-1, 1, self.side, self.side)


def _sides_pooled(side: int, noise: int) -> tuple[nn.Module, nn.Module]:
    """As many strided convolutions as there is room for, then the mean of what is left."""
    layers: list[nn.Module] = []
    for n in range(4):
        layers += [nn.Conv2d(8 if n else 1, 8, 3, 2, 1), nn.ReLU()]
    judge = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    return _Drawer(side, noise), judge


def _sides_max_pooled(side: int, noise: int) -> list[nn.Module]:
    judge = nn.Sequential(
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(side * side // 4, 8), nn.ReLU(), nn.Linear(8, 1)
    )
    return [_Drawer(side, noise), judge]


def _sides_listing(side: int, noise: int) -> tuple[nn.Module, nn.Module]:
    generator = nn.Sequential(
        nn.Linear(noise, 16),
        nn.ReLU(),
        nn.Linear(16, 4),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, side, side)),
    )
    layers: list[nn.Module] = []
    for channels in (1, 8, 8, 8):
        layers += [nn.Conv2d(channels, 8, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
    return generator, nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 1))


def _sides_for_four(side: int, noise: int) -> tuple[nn.Module, nn.Module]:
    return _sides_flat(4, noise)


def _sides_repeated(side: int, noise: int) -> tuple[nn.Module, nn.Module]:
    generator = nn.Sequential(
        nn.Linear(noise, side),
        nn.Sigmoid(),
        nn.Unflatten(1, (1, 1, side)),
        nn.Upsample((side, side)),
    )
    return generator, _sides_flat(side, noise)[1]


def _sides_constant(side: int, noise: int) -> tuple[nn.Module, nn.Module]:
    class Constant(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return torch.rand(1, 1, side, side).expand(len(z), -1, -1, -1)

    return Constant(), _sides_flat(side, noise)[1]


def _sides_corner(side: int, noise: int) -> tuple[nn.Module, nn.Module]:
    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = _sides_flat(4, noise)[1]

        def forward(self, pictures: Tensor) -> Tensor:
            return self.inner(pictures[..., :4, :4])

    return _sides_flat(side, noise)[0], Corner()


# --- the tables -----------------------------------------------------------------------------------

RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-clinic-blend": [_blend_opencv, _blend_pillow, _blend_floats, _blend_nearest],
    "ex-clinic-ranges": [_ranges_in_steps, _ranges_bytes_first],
    "ex-clinic-detect": [_detect_loop, _detect_unbind, _detect_topic],
    "ex-clinic-suppress": [
        _suppress_loop,
        _suppress_per_class,
        _suppress_moved,
        ops.batched_nms,
        bx.batched_nms,
    ],
    "ex-clinic-duel": [
        _turn_bce,
        _turn_without_detach,
        _turn_cleared_after,
        _turn_made_once,
    ],
    "ex-clinic-sides": [_sides_dcgan, _sides_flat, _sides_pooled, _sides_max_pooled],
    "ex-clinic-claims": [
        [0.0, 40 + 2005, 40 + 8005, 40 + 25, 2 * (7 - 3) + 3, 1 / 5, 8 * 1000],
        (0, 2045, 8045, 65, torch.tensor(11), torch.zeros(5).softmax(0)[0], np.int64(8000)),
    ],
}

WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-clinic-blend": [
        (_blend_listing, "above 255"),
        (_blend_no_round, "cuts fractions off"),
        (_blend_same_size, "different size"),
        (_blend_cropped, ""),
        (_blend_smaller, ""),
        (_blend_rgb, "gives its blue"),
        (_blend_upside_down, ""),
        (_blend_saturated, "above 255"),
        (lambda first, second, percent: _blend_opencv(first, second, percent)[..., ::-1], ""),
        (lambda first, second, percent: _blend_opencv(first, second, 50), ""),
        (
            lambda first, second, percent: _blend_opencv(first, second, 100 - percent),
            "first picture, not",
        ),
        (lambda first, second, percent: _blend_opencv(first, second, percent) / 255, "0 to 1"),
        (lambda first, second, percent: _blend_opencv(first, second, percent).tolist(), "no bytes"),
    ],
    "ex-clinic-ranges": [
        (_ranges_listing, "almost black"),
        (_ranges_listing, "shown as black"),
        (
            lambda photo, made: (_ranges_in_steps(photo, made)[0], (made / 2 + 0.5)),
            "outside the screen",
        ),
        (
            lambda photo, made: (photo.float() / 127.5 - 1, _ranges_in_steps(photo, made)[1]),
            "somebody else",
        ),
        (
            lambda photo, made: (
                (photo / 255 if photo.max() > 1.0 else photo) * 2.0 - 1.0,
                _ranges_in_steps(photo, made)[1],
            ),
            "the dtype",
        ),
        (
            lambda photo, made: (
                2 * (photo - photo.min()) / (photo.max() - photo.min()) - 1,
                _ranges_in_steps(photo, made)[1],
            ),
            "",
        ),
        (
            lambda photo, made: (
                _ranges_in_steps(photo, made)[0],
                (made - made.min()) / (made.max() - made.min()),
            ),
            "own extremes",
        ),
        (
            lambda photo, made: (
                _ranges_written(photo, made.clone())[0],
                (made / 2 + 0.5).clamp(0, 1),
            ),
            "into the photograph",
        ),
        (
            lambda photo, made: _ranges_written(photo.clone(), made),
            "into the picture that was made",
        ),
        (_ranges_written, "into the given pictures"),
        (
            lambda photo, made: (_ranges_in_steps(photo, made)[0], made.sigmoid()),
            "",
        ),
        (lambda photo, made: _ranges_in_steps(photo, made)[0], ""),
    ],
    "ex-clinic-detect": [
        (_detect_listing, "but call it"),
        (_detect_half, "whose units"),
        (_detect_half, "count the background"),
        (_detect_square, ""),
        (_detect_rounded, ""),
        (
            lambda *given: (_detect_topic(*given)[0].round(), _detect_topic(*given)[1]),
            "rounded",
        ),
        (lambda *given: (_detect_topic(*given)[0].long(), _detect_topic(*given)[1]), "cut off"),
        (_detect_numbers, ""),
        (
            lambda detector, image, names: _detect_topic(
                lambda images: detector(images[0][None]), image, names
            ),
            "takes a list",
        ),
        (
            lambda detector, image, names: _detect_topic(detector, image.mT, names),
            "which of the two sides",
        ),
        (lambda detector, image, names: _detect_topic(detector, image, names)[0], ""),
    ],
    "ex-clinic-suppress": [
        (_suppress_listing, "another class"),
        (_suppress_listing, "five"),
        (_suppress_all, "another class"),
        (_suppress_by_ghosts, "gone suppresses nothing"),
        (_suppress_at_threshold, "just the threshold"),
        (lambda *given: _suppress_loop(*given, extra=1.0), "overlap more"),
        (lambda *given: _suppress_loop(*given)[:1], ""),
        (lambda *given: _suppress_loop(*given[:3], 0.5), ""),
        (
            lambda boxes, scores, labels, threshold: ops.nms(
                boxes + labels[:, None], scores, threshold
            ),
            "",
        ),
        (lambda boxes, scores, *rest: scores.argsort(descending=True), ""),
        (
            lambda boxes, scores, labels, threshold: _suppress_loop(
                boxes, scores, labels, 1 - threshold
            ),
            "",
        ),
    ],
    "ex-clinic-duel": [
        (_turn_listing, "no such method"),
        (lambda *given: _turn_bce(*given, shown="noise", fool=0.0), ""),
        (lambda *given: _turn_bce(*given, shown="noise"), "never meets"),
        (lambda *given: _turn_bce(*given, fool=0.0), ""),
        (_turn_no_clearing, ""),
        (_turn_leaking, "left a gradient in G"),
        (_turn_never_steps, ""),
        (_turn_fresh_noise, ""),
        (_turn_mean_of_halves, "not their mean"),
        (lambda *given: _turn_bce(*given)[::-1], "D's loss first"),
        (lambda *given: _turn_bce(*given)[0], ""),
    ],
    "ex-clinic-sides": [
        (_sides_listing, "stops: how many"),
        (_sides_listing, "halves four times"),
        (_sides_for_four, ""),
        (_sides_repeated, ""),
        (_sides_constant, ""),
        (_sides_corner, ""),
        (
            lambda side, noise: (
                _sides_flat(side, noise)[0],
                nn.Sequential(*_sides_pooled(side, noise)[1], nn.ReLU()),
            ),
            "never go below 0",
        ),
        (lambda side, noise: (_sides_flat(side, noise)[0], _sides_listing(side, noise)[1]), "four"),
        (lambda side, noise: (_sides_listing(side, noise)[0], _sides_flat(side, noise)[1]), "stop"),
        (lambda side, noise: _sides_flat(side, noise)[::-1], "comes first"),
        (lambda side, noise: _sides_flat(side, noise)[0], ""),
    ],
    "ex-clinic-claims": [
        ((4, 2045, 8045, 65, 11, 0.2, 8000), "no weights"),
        ((0, 2045, 2045, 65, 11, 0.2, 8000), "four times"),
        ((0, 2045, 8045, 65, 14, 0.2, 8000), "take it off"),
        ((0, 2045, 8045, 65, 11, 0, 8000), "not 0"),
        ((0, 2045, 8044, 65, 11, 0.2, 8000), ""),
        ((0, 2045, 8045, 65, 11, 0.25, 8000), ""),
        ((0, 2045, 8045, 65, 11, 0.2), ""),
    ],
}


@pytest.mark.parametrize("name", ["blend", "ranges", "detect", "suppress", "duel"])
def test_no_draw_of_cases_lets_a_mistake_pass(name: str) -> None:
    """Each fault alone is seen in every draw, also in a rare one."""
    exercise = getattr(clinic, name)
    for seed in range(10, 40):
        cases = list(exercise.cases(torch.Generator().manual_seed(seed)))
        truths = [exercise._ask(exercise.oracle, case) for case in cases]
        for mistake in exercise.mistakes:
            assert any(
                not _equal(exercise._ask(mistake.answer, case), truth, exercise.tolerance)
                for case, truth in zip(cases, truths, strict=True)
            ), (seed, mistake.hint)
