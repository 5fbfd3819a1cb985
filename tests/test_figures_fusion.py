"""The figures to touch of the chapter `fusion`, on pages in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor

from browsing import Book, core, draw, painted, picture, slide, state
from course_lib import fusion
from course_lib.figures import Figure
from course_lib.figures.fusion import cross_fade, mask_painter

site = pytest.mark.site
DOUBLE = torch.float64


def photo(seed: int, height: int = 30, width: int = 40) -> Tensor:
    """Something like a photograph in colour, in whole bytes."""
    tint = torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(seed))
    return (picture(height, width) * tint * 255).round() / 255


PAIR = {"the disc": photo(1), "the other": photo(2).flip(-1)}
FIGURES = {"cross_fade": cross_fade(PAIR), "mask_painter": mask_painter(PAIR)}
_NAMES = ("sixteen lett <b>", "& sixteen letter")
LARGEST = [
    make({name: torch.rand(3, 96, 96) for name in _NAMES}) for make in (cross_fade, mask_painter)
]


def random(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=DOUBLE)


def packed(image: Tensor) -> dict[str, Any]:
    """One channel as the scripts hold it, but for the typed array."""
    height, width = image.shape
    return {"height": height, "width": width, "values": image.flatten().tolist()}


def unpacked(image: dict[str, Any]) -> Tensor:
    values = image["values"]
    numbers = values.values() if isinstance(values, dict) else values
    return torch.tensor(list(numbers), dtype=DOUBLE).reshape(image["height"], image["width"])


def compute(page: Page, expression: str, **arguments: Any) -> Any:
    """Evaluate over ``core`` with images turned into what the figure's own decoding gives."""
    typed = {
        name: packed(value) if isinstance(value, Tensor) else value
        for name, value in arguments.items()
    }
    decode = (
        "(a => { const typed = v => v && v.values"
        " ? { ...v, values: Float64Array.from(v.values) } : v;"
        " const plain = v => Array.isArray(v) ? v.map(plain) : v && v.values"
        " ? { ...v, values: [...v.values] } : v;"
        " a = Object.fromEntries(Object.entries(a).map(([n, v]) => [n, typed(v)]));"
        f" return plain({expression}); }})(a)"
    )
    return core(page, decode, typed)


def expect_close(got: dict[str, Any], expected: Tensor) -> None:
    torch.testing.assert_close(unpacked(got), expected, rtol=0, atol=1e-10)


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [cross_fade, mask_painter])
@pytest.mark.parametrize(
    ("photos", "error", "message"),
    [
        ({"a": photo(1)}, ValueError, "photos: expected two, got 1"),
        (
            {"a": photo(1), "": photo(2)},
            ValueError,
            "photos: expected names of 1 to 16 characters, got ''",
        ),
        (
            {"a": photo(1), "b" * 17: photo(2)},
            ValueError,
            "photos: expected names of 1 to 16 characters, got 'bbb",
        ),
        (
            {"a": photo(1), "b": photo(2)[0]},
            ValueError,
            r"photos\['b'\]: expected 3 dimensions, got",
        ),
        (
            {"a": photo(1), "b": photo(2)[:, :20]},
            ValueError,
            r"photos\['b'\]: expected shape \(3, 30, 40\), got",
        ),
        (
            {"a": photo(1, 15), "b": photo(2, 15)},
            ValueError,
            r"photos\['a'\]: expected 16 to 96 pixels a side, got",
        ),
        (
            {"a": photo(1), "b": 2 * photo(2)},
            ValueError,
            r"photos\['b'\]: expected values in \[0, 1\], got",
        ),
        (
            {"a": photo(1), "b": (255 * photo(2)).byte()},
            TypeError,
            r"photos\['b'\]: expected a floating",
        ),
        ({"a": None, "b": photo(2)}, TypeError, r"photos\['a'\]: expected a tensor, got None"),
    ],
)
def test_wrong_photographs_are_refused(
    make: Any, photos: dict[str, Any], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        make(photos)


# --- two photographs mixed ------------------------------------------------------------------------


@site
def test_mixtures_are_the_library_s(book: Book):
    page = book.open(FIGURES["cross_fade"].html)
    generator = torch.Generator().manual_seed(0)
    for _ in range(12):
        height, width = draw(generator, 2, 9), draw(generator, 2, 9)
        first, second = random(generator, 2, height, width)
        alpha = float(random(generator))
        ramp = (alpha - 0.5 + torch.arange(width, dtype=DOUBLE) / (width - 1)).clamp(0, 1)
        for kind, weights in (("even", alpha), ("ramp", ramp.expand(height, width))):
            for space in ("numbers", "light"):
                got = compute(
                    page,
                    f"core.blend(a.first, a.second, a.alpha, '{kind}', '{space}')",
                    first=first,
                    second=second,
                    alpha=alpha,
                )
                expect_close(
                    got,
                    fusion.alpha_blend(first[None], second[None], weights, linear=space == "light")[
                        0
                    ],
                )


def values(said: dict[str, str], name: str) -> Tensor:
    return torch.tensor([int(part) for part in said[name].split(",")])


def expect_mixed(page: Page) -> dict[str, str]:
    """The figure's own numbers belong together."""
    said = state(page)
    first, second = (image[:, int(said["row"]), int(said["column"])] for image in PAIR.values())
    assert torch.equal(values(said, "first"), (255 * first).round().long())
    assert torch.equal(values(said, "second"), (255 * second).round().long())
    for space in ("numbers", "light"):
        expected = fusion.alpha_blend(
            first.double(), second.double(), float(said["share"]), linear=space == "light"
        )
        assert (values(said, space) - 255 * expected).abs().max() < 0.52
    return said


@site
def test_the_chosen_pixel_is_mixed_as_it_says(book: Book):
    page = book.open(FIGURES["cross_fade"].html)
    assert expect_mixed(page)["share"] == "0.5000"
    seen = [painted(page)]
    slide(page, "Alpha", 20)
    assert expect_mixed(page)["share"] == "0.2000"
    seen.append(painted(page))
    page.get_by_label("Alpha is").select_option("ramp")
    said = expect_mixed(page)
    assert said["alpha"] == "0.50"  # the ramp's middle is in the middle
    assert float(said["share"]) == pytest.approx(int(said["column"]) / 39, abs=1e-4)
    slide(page, "Alpha", 20)
    said = expect_mixed(page)
    share = min(max(0.2 - 0.5 + int(said["column"]) / 39, 0), 1)
    assert float(said["share"]) == pytest.approx(share, abs=1e-4)
    seen.append(painted(page))
    page.locator("canvas").first.press("ArrowUp")
    page.locator("canvas").nth(1).press("ArrowRight")
    moved = expect_mixed(page)
    assert int(moved["row"]) == int(said["row"]) - 1
    assert int(moved["column"]) == int(said["column"]) + 1
    seen.append(painted(page))
    assert len({pictures[0] for pictures in seen}) == len(seen)
    assert len({pictures[1] for pictures in seen}) == len(seen)


@site
def test_only_one_photograph_is_left_at_the_ends(book: Book):
    page = book.open(FIGURES["cross_fade"].html)
    for percent, name in ((0, "second"), (100, "first")):
        slide(page, "Alpha", percent)
        said = expect_mixed(page)
        assert said["numbers"] == said["light"] == said[name]
        numbers, light = painted(page)[:2]
        assert numbers == light


@site
def test_light_is_never_darker(book: Book):
    page = book.open(FIGURES["cross_fade"].html)
    generator = torch.Generator().manual_seed(3)
    for first, second, alpha in random(generator, 40, 3).tolist():
        mixed = [f"core.mix({first}, {second}, {alpha}, '{s}')" for s in ("numbers", "light")]
        numbers, light = core(page, f"[{', '.join(mixed)}]", None)
        assert numbers - 1e-12 <= light


@site
def test_a_click_chooses_the_pixel_and_it_stays_inside(book: Book):
    page = book.open(FIGURES["cross_fade"].html)
    for at in (0, 1):
        canvas = page.locator("canvas").nth(at)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        page.mouse.click(
            box["x"] + box["width"] * (7.5 + at) / 40, box["y"] + box["height"] * 4.5 / 30
        )
        said = expect_mixed(page)
        assert (said["row"], said["column"]) == ("4", str(7 + at))
    for _ in range(10):
        canvas.press("ArrowUp")
        canvas.press("ArrowLeft")
    said = expect_mixed(page)
    assert (said["row"], said["column"]) == ("0", "0")


@site
def test_it_begins_where_light_and_numbers_differ_most(book: Book):
    page = book.open(FIGURES["cross_fade"].html)
    first, second = (image.double() for image in PAIR.values())
    light = fusion.alpha_blend(first, second, 0.5, linear=True)
    gain = (light - fusion.alpha_blend(first, second, 0.5)).sum(0)
    said = state(page)
    assert gain[int(said["row"]), int(said["column"])] == pytest.approx(gain.max().item())


# --- a mask painted -------------------------------------------------------------------------------


@site
def test_pyramids_are_the_library_s(book: Book):
    page = book.open(FIGURES["mask_painter"].html)
    generator = torch.Generator().manual_seed(1)
    for height, width in ((1, 1), (1, 4), (2, 2), (3, 5), (8, 8), (9, 12), (13, 7)):
        first, second = random(generator, 2, height, width)
        mask = (random(generator, height, width) < 0.5).double()
        for levels in (1, 2, 3, 5):
            got = compute(
                page,
                "[core.laplacianPyramid(a.first, a.levels),"
                " core.pyramidBlend(a.first, a.second, a.mask, a.levels),"
                " core.reconstruct(core.laplacianPyramid(a.first, a.levels))]",
                first=first,
                second=second,
                mask=mask,
                levels=levels,
            )
            for ours, theirs in zip(got[0], fusion.laplacian_pyramid(first, levels), strict=True):
                expect_close(ours, theirs)
            expect_close(got[1], fusion.pyramid_blend(first, second, mask, levels))
            expect_close(got[2], first)


@site
def test_gradients_are_the_library_s(book: Book):
    page = book.open(FIGURES["mask_painter"].html)
    generator = torch.Generator().manual_seed(2)
    for height, width in ((3, 3), (3, 6), (7, 4), (12, 15)):
        for share in (0.0, 0.5, 1.0):
            first, second = random(generator, 2, height, width)
            mask = random(generator, height, width) < share
            got = compute(
                page,
                "core.poissonBlend(a.first, a.second, a.mask)",
                first=first,
                second=second,
                mask=mask.double(),
            )
            expect_close(got, fusion.poisson_blend(first[None], second[None], mask)[0])


@site
def test_a_cut_takes_one_picture_or_the_other(book: Book):
    page = book.open(FIGURES["mask_painter"].html)
    generator = torch.Generator().manual_seed(3)
    first, second = random(generator, 2, 5, 6)
    mask = random(generator, 5, 6) < 0.5
    got = compute(
        page, "core.cut(a.first, a.second, a.mask)", first=first, second=second, mask=mask.double()
    )
    expect_close(got, torch.where(mask, first, second))


def masks(page: Page, kind: str) -> Tensor:
    return unpacked(compute(page, f"core.preset('{kind}', 30, 40)"))


def expect_measured(page: Page, mask: Tensor) -> dict[str, str]:
    """The steps and changes that the figure tells are those of the library's results."""
    said = state(page)
    source, target = (image.double() for image in PAIR.values())
    inside = mask.bool()
    blended = {
        "cut": torch.where(inside, source, target),
        "pyramid": fusion.pyramid_blend(source, target, mask, int(said["levels"])),
        "poisson": fusion.poisson_blend(source, target, inside),
    }
    assert int(said["pixels"]) == inside.sum()
    for name, image in blended.items():
        image = 255 * image.clamp(0, 1)
        across = (image.diff(dim=-1).abs())[:, mask.diff(dim=-1) != 0]
        down = (image.diff(dim=-2).abs())[:, mask.diff(dim=-2) != 0]
        step = torch.cat([across, down], 1).mean().nan_to_num()
        change = (image - 255 * source).abs()[:, inside].mean().nan_to_num()
        assert float(said[f"{name}-step"]) == pytest.approx(step.item(), abs=0.006), name
        assert float(said[f"{name}-change"]) == pytest.approx(change.item(), abs=0.006), name
    return said


@site
def test_the_told_steps_are_those_of_the_pictures(book: Book):
    page = book.open(FIGURES["mask_painter"].html)
    said = expect_measured(page, masks(page, "oval"))
    assert said["cut-change"] == "0.00"
    assert float(said["poisson-step"]) < float(said["cut-step"])
    for kind in ("half", "square", "none"):
        page.get_by_label("Mask", exact=True).select_option(kind)
        said = expect_measured(page, masks(page, kind))
        assert said["mask"] == kind
    assert said["pixels"] == "0"
    page.get_by_label("Mask", exact=True).select_option("oval")
    slide(page, "Pyramid levels", 2)
    expect_measured(page, masks(page, "oval"))


def disc(row: int, column: int, radius: int) -> Tensor:
    y, x = torch.arange(30)[:, None] - row, torch.arange(40) - column
    return (y**2 + x**2 <= radius**2).double()


@site
def test_keys_paint_and_erase(book: Book):
    page = book.open(FIGURES["mask_painter"].html)
    page.get_by_label("Mask", exact=True).select_option("none")
    slide(page, "Brush", 4)
    canvas = page.locator("canvas").first
    canvas.press("ArrowUp")
    canvas.press("ArrowRight")
    said = state(page)
    assert (said["row"], said["column"], said["pixels"]) == ("13", "22", "0")
    canvas.press("Enter")
    said = expect_measured(page, disc(13, 22, 4))
    assert said["mask"] == "own"
    page.get_by_label("erase").check()
    slide(page, "Brush", 2)
    canvas.press("Space")
    expect_measured(page, disc(13, 22, 4) - disc(13, 22, 2))
    for _ in range(30):
        canvas.press("ArrowLeft")
        canvas.press("ArrowDown")
    said = state(page)
    assert (said["row"], said["column"]) == ("29", "0")


@site
def test_the_pointer_paints_without_gaps(book: Book):
    page = book.open(FIGURES["mask_painter"].html)
    page.get_by_label("Mask", exact=True).select_option("none")
    slide(page, "Brush", 2)
    canvas = page.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    cell = box["width"] / 40

    def go(row: int, column: int) -> tuple[float, float]:
        return box["x"] + (column + 0.5) * cell, box["y"] + (row + 0.5) * cell

    page.mouse.move(*go(10, 8))
    page.mouse.down()
    page.mouse.move(*go(10, 30))  # in one jump
    page.mouse.up()
    stroke = torch.stack([disc(10, column, 2) for column in range(8, 31)]).amax(0)
    said = expect_measured(page, stroke)
    assert (said["row"], said["column"]) == ("10", "30")
    page.mouse.click(*go(24, 8))  # a new stroke begins where it is put down
    expect_measured(page, torch.maximum(stroke, disc(24, 8, 2)))


@site
def test_every_setting_is_seen(book: Book):
    page = book.open(FIGURES["mask_painter"].html)
    before = painted(page)
    slide(page, "Pyramid levels", 1)
    after = painted(page)
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False, True]
    assert state(page)["pyramid-step"] == state(page)["cut-step"]
    slide(page, "Brush", 9)
    assert painted(page)[0] != after[0]
    assert painted(page)[1:] == after[1:]
    page.get_by_label("Mask", exact=True).select_option("half")
    assert all(old != new for old, new in zip(after, painted(page), strict=True))


@site
@pytest.mark.parametrize("shown", FIGURES.values(), ids=FIGURES)
def test_the_words_tell_the_numbers(book: Book, shown: Figure):
    page = book.open(shown.html)
    said, live = state(page), page.locator(".live").inner_text()
    if shown.name == "cross_fade":
        for space in ("numbers", "light"):
            assert said[space].replace(",", ", ") in live
    else:
        for method in ("cut", "pyramid", "Poisson"):
            assert f"{method} {float(said[f'{method.lower()}-step']):.1f}"[:-1] in live
