"""The figure to touch of the chapter `background`, on pages in a real browser."""

from __future__ import annotations

import math

import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor

from browsing import Book, core, draw, painted, picture, slide, state
from course_lib import background as topic
from course_lib.figures.background import pixel_budget

site = pytest.mark.site


def photo(seed: int) -> Tensor:
    """Something like a photograph in colour; (3, 72, 72), whole bytes."""
    shade = picture(72, 72)
    tint = torch.rand(3, 1, 1, generator=torch.Generator().manual_seed(seed))
    return (shade * tint * 255).round() / 255


FIGURES = {"pixel_budget": pixel_budget({"picture 1": photo(1), "picture 2": photo(2)})}
LARGEST = [pixel_budget({f"picture {n}": torch.rand(3, 72, 72) for n in range(3)})]


def reduced(image: Tensor, across: int, bits: int, kind: str) -> Tensor:
    """What the library keeps of a picture, spread over the blocks again."""
    size = image.shape[-1] // across
    if kind == "light":
        light = topic.average_blocks(topic.srgb_to_linear(image), size)
        small = topic.linear_to_srgb(light)
    else:
        small = topic.average_blocks(image, size)
    return topic.quantize(small, bits)


def spread(small: Tensor, size: int) -> Tensor:
    return small.repeat_interleave(size, -1).repeat_interleave(size, -2)


@pytest.mark.parametrize(
    ("photos", "error", "message"),
    [
        ({}, ValueError, "photos: expected one to three, got 0"),
        (dict.fromkeys("abcd", photo(0)), ValueError, "photos: expected one to three, got 4"),
        ({"a": photo(0)[0]}, ValueError, r"photos\['a'\]: expected 3 dimensions"),
        ({"a": photo(0)[:1]}, ValueError, r"photos\['a'\]: expected shape \(3, 72, 72\)"),
        ({"a": photo(0)[:, 1:]}, ValueError, r"photos\['a'\]: expected shape \(3, 72, 72\)"),
        ({"a": photo(0).byte()}, TypeError, r"photos\['a'\]: expected a floating dtype"),
        ({"a": photo(0) + 1}, ValueError, r"photos\['a'\]: expected values in \[0, 1\]"),
        ({"a": photo(0) * math.nan}, ValueError, r"photos\['a'\]: expected values in \[0, 1\]"),
    ],
)
def test_wrong_photographs_are_refused_by_name(
    photos: dict[str, Tensor], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        pixel_budget(photos)


# --- numbers --------------------------------------------------------------------------------------


@site
def test_the_curves_are_the_librarys(book: Book):
    page = book.open(FIGURES["pixel_budget"].html)
    values = torch.linspace(0, 1, 513, dtype=torch.float64)
    for name, ours in (("toLight", topic.srgb_to_linear), ("toStored", topic.linear_to_srgb)):
        got = core(page, f"a.map(core.{name})", values.tolist())
        torch.testing.assert_close(torch.tensor(got, dtype=torch.float64), ours(values))


@site
def test_what_is_kept_is_what_the_library_keeps(book: Book):
    page = book.open(FIGURES["pixel_budget"].html)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        side = 12 * draw(generator, 1, 3)
        divisors = [n for n in range(1, side + 1) if side % n == 0]
        assert core(page, "core.divisors(a)", side) == divisors
        across = divisors[draw(generator, 0, len(divisors) - 1)]
        image = torch.rand(3, side, side, generator=generator, dtype=torch.float64)
        channels = [{"height": side, "width": side, "values": c.flatten().tolist()} for c in image]
        for kind in ("light", "numbers"):
            bits = draw(generator, 1, 8)
            argument = {"channels": channels, "settings": [across, bits, kind]}
            kept, ratio = core(
                page,
                "(kept => [kept, core.psnr(a.channels, kept)])"
                "(a.channels.map(c => core.reduce(c, ...a.settings)))",
                argument,
            )
            expected = reduced(image, across, bits, kind)
            got = torch.tensor([c["values"] for c in kept], dtype=torch.float64)
            torch.testing.assert_close(got.view_as(expected), expected, rtol=0, atol=1e-10)
            theirs = topic.psnr(image, spread(expected, side // across))
            assert ratio == pytest.approx(theirs.item(), abs=1e-9)


@site
def test_a_new_photograph_starts_where_the_two_means_differ_most(book: Book):
    page = book.open(FIGURES["pixel_budget"].html)
    image = torch.rand(3, 12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    channels = [{"height": 12, "width": 12, "values": c.flatten().tolist()} for c in image]
    for across in (1, 3, 4):
        light, numbers = (reduced(image, across, 16, kind) for kind in ("light", "numbers"))
        at = (light - numbers).abs().sum(0).argmax().item()
        got = core(page, "core.liveliest(a[0], a[1])", [channels, across])
        assert got == list(divmod(at, across))
    page.get_by_label("Photograph", exact=True).select_option("picture 2")
    light, numbers = (reduced(photo(2).double(), 6, 16, kind) for kind in ("light", "numbers"))
    gains = (light - numbers).abs().sum(0)
    chosen = gains[int(state(page)["row"]), int(state(page)["column"])]
    assert chosen == pytest.approx(gains.max().item(), abs=1e-4)


def check(page: Page, image: Tensor) -> None:
    """The figure's own words, against the library."""
    said = state(page)
    across, bits = int(said["across"]), int(said["bits"])
    expected = reduced(image, across, bits, said["average"])
    theirs = topic.psnr(image, spread(expected, 72 // across)).item()
    assert float(said["psnr"]) == pytest.approx(theirs, abs=0.0051)
    assert int(said["spent"]) == across**2 * 3 * bits
    for kind in ("numbers", "light"):
        pixel = reduced(image, across, 16, kind)[:, int(said["row"]), int(said["column"])]
        shown = torch.tensor([int(value) for value in said[kind].split(",")])
        assert (shown - 255 * pixel).abs().max() < 0.51


@site
def test_every_setting_counts(book: Book):
    page = book.open(FIGURES["pixel_budget"].html)
    first, second = photo(1).double(), photo(2).double()
    check(page, first)
    seen = [painted(page)]
    page.get_by_label("Average the").select_option("numbers")
    check(page, first)
    seen.append(painted(page))
    slide(page, "Bits a channel", 2)
    check(page, first)
    seen.append(painted(page))
    slide(page, "Pixels across", 7)
    assert state(page)["across"] == "12"
    check(page, first)
    seen.append(painted(page))
    page.get_by_label("Photograph", exact=True).select_option("picture 2")
    check(page, second)
    seen.append(painted(page))
    page.get_by_label("show the photograph").check()
    check(page, second)
    seen.append(painted(page))
    pictures = [canvases[0] for canvases in seen]
    assert len(set(pictures)) == len(pictures)


@site
def test_all_pixels_and_bits_are_the_photograph(book: Book):
    page = book.open(FIGURES["pixel_budget"].html)
    page.get_by_label("Average the").select_option("numbers")
    slide(page, "Pixels across", 11)
    kept = painted(page)[0]
    assert state(page)["across"] == "72"
    assert state(page)["psnr"] == "Infinity"
    page.get_by_label("show the photograph").check()
    assert painted(page)[0] == kept
    assert "100\u00a0% of the photograph’s 124,416" in page.locator(".live").inner_text()


@site
def test_a_pixel_is_chosen_by_pointer_and_keys_and_stays(book: Book):
    page = book.open(FIGURES["pixel_budget"].html)
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    slide(page, "Pixels across", 7)  # 12 × 12
    page.mouse.click(box["x"] + box["width"] * 7.5 / 12, box["y"] + box["height"] * 4.5 / 12)
    assert (state(page)["row"], state(page)["column"]) == ("4", "7")
    check(page, photo(1).double())
    slide(page, "Pixels across", 10)  # 36 × 36
    assert (state(page)["row"], state(page)["column"]) == ("13", "22")
    slide(page, "Pixels across", 7)
    assert (state(page)["row"], state(page)["column"]) == ("4", "7")
    canvas.press("ArrowUp")
    canvas.press("ArrowLeft")
    assert (state(page)["row"], state(page)["column"]) == ("3", "6")
    slide(page, "Pixels across", 0)
    for key in ("ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"):
        canvas.press(key)
        assert (state(page)["row"], state(page)["column"]) == ("0", "0")


@site
def test_the_words_do_not_give_the_picture_away_or_lie(book: Book):
    page = book.open(FIGURES["pixel_budget"].html)
    label = page.locator("canvas").first.get_attribute("aria-label")
    assert label.startswith("picture 1 as 6 by 6 squares of colour")
    said = page.locator(".live").inner_text()
    assert said.startswith("864 bits, 0.7\u00a0% of the photograph’s 124,416. Against it: ")
    assert f"{float(state(page)['psnr']):.1f} dB" in said
    bold = page.locator(".caption strong").last
    for kind in ("light", "numbers"):
        page.get_by_label("Average the").select_option(kind)
        assert bold.inner_text().replace(", ", ",") == state(page)[kind]
    slide(page, "Pixels across", 0)
    assert page.locator(".live").inner_text().startswith("24 bits, 0.02\u00a0% of")
