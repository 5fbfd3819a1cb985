"""The checks of the chapter `clinic`: patients whose pictures are wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises import Case, Mistake, Watched, draw

Pair = tuple[Tensor, Tensor]


def _bytes(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


# --- 8: mix two pictures of bytes -----------------------------------------------------------------


def _stretched(picture: Tensor, height: int, width: int) -> Tensor:
    planes = picture.permute(2, 0, 1)[None].double()
    return F.interpolate(planes, (height, width), mode="bilinear")[0].permute(1, 2, 0)


def _blend(
    first: Tensor,
    second: Tensor,
    percent: int,
    *,
    wraps: bool = False,
    cuts: bool = False,
    bgr: bool = False,
    stops: bool = False,
    turned: bool = False,
) -> Tensor:
    """The mixed picture; the options are what can go wrong."""
    if not bgr:
        second = second.flip(-1)
    if first.shape != second.shape and not stops:
        height, width = first.shape[:2]
        second = _stretched(second, *((width, height) if turned else (height, width)))
        second = second.round().byte()
    exact = torch.uint8 if wraps else torch.int64
    total = first.to(exact) * percent + second.to(exact) * (100 - percent)
    return (total // 100 if cuts else (total / 100).round()).byte()


def _quarters(generator: torch.Generator, height: int, width: int) -> Tensor:
    """Four fields, each of one colour: however it is stretched, its corners stay as they are."""
    colours = _bytes(generator, 2, 2, 3)
    return colours.repeat_interleave(height // 2, 0).repeat_interleave(width // 2, 1)


def _mixable(generator: torch.Generator, height: int, width: int) -> Case:
    """Two pictures whose mixture has no value halfway between two bytes."""
    while True:
        first, second = _bytes(generator, height, width, 3), _bytes(generator, height, width, 3)
        percent = 10 * draw(generator, 1, 8) + draw(generator, 1, 4)
        totals = [
            first.int() * percent + s.int() * (100 - percent) for s in (second, second.flip(-1))
        ]
        if all((total % 100 != 50).all() for total in totals):
            return first, second, percent


def _blend_cases(generator: torch.Generator) -> Iterator[Case]:
    # A sum above 255, a fraction above one half, red unlike blue: one pixel that shows each fault.
    yield torch.tensor([[[240, 10, 200]]]).byte(), torch.tensor([[[253, 90, 37]]]).byte(), 60
    for height, width in ((1, 2), (3, 2), (2, 4), (4, 3)):
        yield _mixable(generator, height, width)
    for percent in (0, 100):
        yield _bytes(generator, 2, 3, 3), _bytes(generator, 2, 3, 3), percent
    for small, large in (((12, 16), (24, 40)), ((12, 16), (30, 18)), ((20, 12), (40, 30))):
        for one, other in ((small, large), (large, small)):
            percent = 20 * draw(generator, 1, 4)  # no halves
            yield _quarters(generator, *one), _quarters(generator, *other), percent


def _watch_blend(
    ask: Callable[..., Any], first: Tensor, second: Tensor, percent: int
) -> dict[str, Any]:
    """The picture, or its corners where there are several good ways to stretch."""
    same = first.shape == second.shape
    picture = torch.as_tensor(ask(first, second, percent))
    seen = {"bytes": picture.dtype == torch.uint8, "shape": tuple(picture.shape)}
    if same or picture.ndim != 3:
        return {**seen, "picture": picture}
    return {**seen, "corners": picture[[0, 0, -1, -1], [0, -1, 0, -1]]}


_BLEND_FAULTS = {
    "wraps": "Somewhere a number above 255 is to fit into a byte.",
    "cuts": "The last step cuts fractions off; the nearest byte is wanted.",
    "bgr": "The second picture still gives its blue to the first one's red.",
    "stops": "Two pictures of different size still stop it.",
}


def _ill_blend(**faults: bool) -> Callable[..., Tensor]:
    return lambda first, second, percent: _blend(first, second, percent, **faults)


blend = Watched(
    label="ex-clinic-blend",
    oracle=lambda first, second, percent: _blend(first, second, percent),
    cases=_blend_cases,
    watch=_watch_blend,
    hint="Work out one pixel of the case by hand, red, green and blue; then compare what comes with"
    " it: dtype, shape, order of the channels, rounding.",
    mistakes=(
        *(
            Mistake(
                _ill_blend(**dict(zip(_BLEND_FAULTS, faults, strict=True))),
                " ".join(
                    words
                    for words, wrong in zip(_BLEND_FAULTS.values(), faults, strict=True)
                    if wrong
                ),
            )
            for faults in product((True, False), repeat=4)
            if any(faults)
        ),
        Mistake(
            lambda first, second, percent: _blend(first.flip(-1), second.flip(-1), percent),
            "The first picture's channels were turned round; which of the two comes from OpenCV?",
        ),
        Mistake(
            lambda first, second, percent: _blend(first, second.flip(-1), percent).flip(-1),
            "The channels were turned round after mixing, when red and blue had met already.",
        ),
        Mistake(
            _ill_blend(turned=True),
            "Height and width change places when the second picture is stretched.",
        ),
        Mistake(
            lambda first, second, percent: _blend(first, second, 100 - percent),
            "So many percent are meant for the first picture, not for the second.",
        ),
        Mistake(
            lambda first, second, percent: (
                (
                    first.double() * percent
                    + _stretched(second.flip(-1), *first.shape[:2]) * (100 - percent)
                )
                / 100
            ),
            "The mixture is right, but these are no bytes.",
        ),
        Mistake(
            lambda first, second, percent: _blend(first, second, percent).double(),
            "The numbers are right, but they are no bytes.",
        ),
        Mistake(
            lambda first, second, percent: _blend(first, second, percent) / 255,
            "The mixture is right, but it is a picture from 0 to 1, not one of bytes.",
        ),
    ),
)


# --- 11: the ranges of a network and of a screen --------------------------------------------------


def _unit(photo: Tensor) -> Tensor:
    return photo / 255 if photo.dtype == torch.uint8 else photo


def _spread(made: Tensor) -> Tensor:
    """From its own smallest to its own largest value."""
    return (made - made.min()) / (made.max() - made.min())


# What can become of each side, and what to say about it.
_IN: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "right": (lambda photo: 2 * _unit(photo) - 1, ""),
    "twice": (
        lambda photo: 2 * _unit(photo) / 255 - 1,
        "The photograph arrives almost black: count how often it is divided.",
    ),
    "never": (
        lambda photo: 2 * photo.to(torch.float32) - 1,
        "Bytes reach the network as bytes.",
    ),
    "always": (
        lambda photo: 2 * (photo / 255) - 1,
        "A photograph in floats has been divided by somebody else already.",
    ),
    "looks": (
        lambda photo: 2.0 * (photo / 255 if photo.max() > 1 else photo) - 1,
        "A dark photograph in bytes may hold nothing above 1: the numbers do not tell, the dtype"
        " does.",
    ),
    "unit": (_unit, "The network wants −1 to 1, and the photograph ends at 0."),
}
_OUT: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "right": (lambda made: ((made + 1) / 2).clamp(0, 1), ""),
    "cut": (
        lambda made: made.clamp(0, 1),
        "Everything darker than the middle is shown as black.",
    ),
    "loose": (
        lambda made: (made + 1) / 2,
        "What the network has overshot lies outside the screen's range.",
    ),
    "spread": (
        _spread,
        "The picture is stretched between its own extremes, so its brightness depends on one"
        " pixel.",
    ),
    "spread again": (
        lambda made: _spread(made.clamp(-1, 1)),
        "Cut first, and then stretched between its own extremes: a dull picture must stay dull.",
    ),
    "plain": (lambda made: made, "The network's numbers go to the screen as they are."),
    "folded": (lambda made: made.abs().clamp(0, 1), "Dark comes out as bright."),
    "bytes": (
        lambda made: (255 * ((made + 1) / 2).clamp(0, 1)).round(),
        "The screen wants 0 to 1 here, not 0 to 255.",
    ),
}


def _both(into: str, out: str) -> Callable[[Tensor, Tensor], Pair]:
    return lambda photo, made: (_IN[into][0](photo), _OUT[out][0](made))


def _ranges_cases(generator: torch.Generator) -> Iterator[Case]:
    def made(*shape: int) -> Tensor:
        """Quarters that reach a little beyond −1 and 1, or stay well inside."""
        whole = torch.randint(-5, 6, shape, generator=generator).double() / 4
        whole.view(-1)[:3] = torch.tensor([-1.25, 1.25, -0.75])
        return whole

    yield torch.tensor([[[0, 51, 255]]]).byte(), made(1, 1, 3)
    yield torch.tensor([[[0, 1, 1, 0]]]).byte(), made(1, 1, 4) / 2  # a dark photograph
    for height, width in ((1, 3), (2, 3), (3, 2)):
        yield _bytes(generator, 3, height, width), made(3, height, width)
        share = torch.randint(0, 9, (1, height, width), generator=generator) / 8
        yield share, made(1, height, width) / 2
    yield torch.tensor([[[0.0, 1.0, 0.5]]]), made(1, 1, 3)


def _watch_ranges(ask: Callable[..., Any], photo: Tensor, made: Tensor) -> dict[str, Any]:
    """Both results, and whether the given pictures are still as they were."""
    given = {"photo": photo, "made": made}
    before = {name: picture.clone() for name, picture in given.items()}
    into, out = ask(photo, made)
    return {
        "for the network": into,
        "for the screen": out,
        **{
            f"the given {name}": "as it was" if picture.equal(before[name]) else "changed"
            for name, picture in given.items()
        },
    }


def _overwriting(photo: bool, made: bool) -> Callable[[Tensor, Tensor], Pair]:
    """The right pictures, written into what was given."""

    def answer(first: Tensor, second: Tensor) -> Pair:
        into, out = _both("right", "right")(first, second)
        if photo and first.is_floating_point():  # bytes cannot hold what the network wants
            into = first.copy_(into)
        return into, second.copy_(out) if made else out

    return answer


ranges = Watched(
    label="ex-clinic-ranges",
    oracle=_both("right", "right"),
    cases=_ranges_cases,
    watch=_watch_ranges,
    tolerance=1e-5,
    hint="Follow two numbers by hand, the darkest and the brightest of the photograph, to the"
    " network; then −1, 0 and 1 from the network to the screen.",
    mistakes=(
        *(
            Mistake(_both(into, out), " ".join(filter(None, (_IN[into][1], _OUT[out][1]))))
            for into, out in product(_IN, _OUT)
            if (into, out) != ("right", "right")
        ),
        Mistake(
            lambda photo, made: _both("right", "right")(photo, made)[::-1],
            "The network's input comes first, the picture second.",
        ),
        *(
            Mistake(
                _overwriting(photo, made),
                f"The numbers are right, but they are written into {what}: methods that end in `_`"
                " change what they are called on.",
            )
            for photo, made, what in (
                (True, False, "the photograph, which is lost"),
                (False, True, "the picture that was made, which is lost"),
                (True, True, "the given pictures, which are lost"),
            )
        ),
    ),
)
