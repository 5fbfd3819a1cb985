"""The figure to touch of the chapter `pooling`, on pages in a real browser."""

from __future__ import annotations

import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor
from torch.nn import functional as F

from browsing import Book, core, draw, painted, picture, slide, state
from course_lib import pooling as pool
from course_lib.figures.pooling import MOVES, pooling_shift

site = pytest.mark.site

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {"pooling_shift": pooling_shift(picture(64, 80))}
LARGEST = [pooling_shift(torch.rand(128, 128))]


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.zeros(64, 64, dtype=torch.uint8), TypeError, "image: expected a floating dtype"),
        (torch.zeros(3, 64, 64), ValueError, "image: expected one channel"),
        (torch.zeros(64, 63), ValueError, "image: expected 64 to 128 pixels a side"),
        (torch.zeros(129, 64), ValueError, "image: expected 64 to 128 pixels a side"),
        (torch.full((64, 64), 1.5), ValueError, r"image: expected values in \[0, 1\]"),
    ],
)
def test_a_wrong_image_is_refused_by_name(image: Tensor, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        pooling_shift(image)


# --- numbers --------------------------------------------------------------------------------------


def dense(image: Tensor, settings: dict) -> Tensor:
    """The same by torch: windows at every place, then a convolution of the mirrored result."""
    pooling = F.max_pool2d if settings["kind"] == "maximum" else F.avg_pool2d
    every = pooling(image[None, None], settings["kernel"], 1)
    taps = settings["taps"]
    row = torch.ones(1, dtype=torch.float64)
    for _ in range(taps - 1):
        row = (F.pad(row, (0, 1)) + F.pad(row, (1, 0))) / 2
    before, after = (taps - 1) // 2, taps // 2
    mirrored = F.pad(every, (before, after, before, after), mode="reflect")
    return F.conv2d(mirrored, torch.outer(row, row)[None, None])[0, 0]


def random_case(generator: torch.Generator) -> tuple[Tensor, dict]:
    height, width = draw(generator, 20, 30), draw(generator, 40, 50)
    image = torch.rand(height, width, generator=generator, dtype=torch.float64)
    settings = {
        "kind": ("maximum", "average")[draw(generator, 0, 1)],
        "kernel": draw(generator, 1, 4),
        "taps": draw(generator, 1, 7),
        "stride": draw(generator, 1, 4),
    }
    return image, settings


def argument(image: Tensor, settings: dict) -> dict:
    height, width = image.shape
    values = image.flatten().tolist()
    return {"image": {"height": height, "width": width, "values": values}, "settings": settings}


@site
def test_the_output_is_torch_s_and_ours(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        image, settings = random_case(generator)
        got = core(
            page,
            "(out => ({...out, values: [...out.values]}))(core.dense(a.image, a.settings))",
            argument(image, settings),
        )
        found = torch.tensor(got["values"], dtype=torch.float64).view(got["height"], got["width"])
        torch.testing.assert_close(found, dense(image, settings), rtol=0, atol=1e-12)
        pooling = pool.max_pool2d if settings["kind"] == "maximum" else pool.avg_pool2d
        every = pooling(image[None], settings["kernel"], 1)
        ours = pool.blur_pool2d(every, settings["taps"], settings["stride"])[0]
        stride = settings["stride"]
        torch.testing.assert_close(found[::stride, ::stride], ours, rtol=0, atol=1e-12)
        if settings["taps"] == 1:
            whole = pooling(image[None], settings["kernel"], stride)[0]
            torch.testing.assert_close(ours, whole, rtol=0, atol=1e-12)


def expected_jumps(image: Tensor, settings: dict, moves: int) -> Tensor:
    """The measure by another way: pool every moved picture, and interpolate the unmoved output."""
    stride, kernel = settings["stride"], settings["kernel"]
    first = moves % stride
    still = dense(image, settings)[::stride, first::stride]
    columns = (image.shape[1] - moves - kernel) // stride + 1
    margin = -(-settings["taps"] // (2 * stride)) + 1
    found = []
    for t in range(moves + 1):
        moved = dense(image[:, moves - t :], settings)[::stride, ::stride]
        moved = moved[:, margin : columns - margin]
        place = torch.arange(margin, columns - margin, dtype=torch.float64)
        place = place + (moves - t - first) / stride
        low = place.floor().long()
        part = place - low
        high = (low + (part > 0)).clamp(max=still.shape[1] - 1)
        glided = (1 - part) * still[:, low] + part * still[:, high]
        found.append((moved - glided).square().mean().sqrt() / still.std(correction=0))
    return torch.stack(found)


@site
def test_the_jump_is_the_distance_from_gliding(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        image, settings = random_case(generator)
        got = core(page, "core.jumps(a.image, a.settings, 10)", argument(image, settings))
        expected = expected_jumps(image, settings, 10)
        torch.testing.assert_close(
            torch.tensor(got, dtype=torch.float64), expected, rtol=0, atol=1e-10
        )
        zeros = [t for t, jump in enumerate(got) if jump < 1e-12]
        assert zeros == list(range(0, 11, settings["stride"]))


@site
def test_a_flat_picture_never_jumps(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    settings = {"kind": "maximum", "kernel": 2, "taps": 1, "stride": 2}
    flat = torch.full((20, 40), 0.5, dtype=torch.float64)
    assert core(page, "core.jumps(a.image, a.settings, 4)", argument(flat, settings)) == [0] * 5


@site
def test_the_blur_s_weights_are_the_module_s(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    for taps in range(1, 8):
        got = core(page, "core.binomial(a)", taps)
        assert got == pool.binomial_kernel(taps, dtype=torch.float64).tolist()


# --- the reader's hand ----------------------------------------------------------------------------


def settle(page: Page, **settings: int) -> None:
    names = {"kernel": "Window", "taps": "Blur after it", "stride": "Stride", "move": "Move"}
    for name, value in settings.items():
        slide(page, names[name], value)


@site
def test_the_reader_finds_the_period(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    for stride in (2, 3, 4):
        settle(page, stride=stride)
        for t in range(MOVES + 1):
            settle(page, move=t)
            assert (state(page)["jump"] == "0.0") == (t % stride == 0)
    settle(page, stride=1)
    assert state(page)["most"] == "0.0"


@site
def test_a_blur_lowers_the_whole_curve(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    found = []
    for taps in (1, 3, 5, 7):
        settle(page, taps=taps)
        found.append(float(state(page)["most"]))
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.5 * found[1] > 0
    settle(page, taps=1)
    page.get_by_label("Keep").select_option("average")
    assert float(state(page)["most"]) < found[0]


@site
def test_what_is_said_is_what_is_shown(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    settle(page, kernel=3, stride=3, taps=4, move=5)
    said = state(page)
    # the picture seen is 64 × 64
    assert (said["height"], said["width"]) == ("21", "21")
    captions = page.locator(".caption").all_inner_texts()
    assert captions[0] == "Picture 64 × 64, moved right by 5 px"
    assert captions[1] == "Output 21 × 21, stride 3"
    assert captions[2].startswith(f"Jump at 5 px: {said['jump']} % of the output’s contrast")
    assert f"{said['jump']} % of its contrast" in page.locator(".live").inner_text()
    shown = (picture(64, 80) * 255).round().double() / 255
    settings = {"kind": "maximum", "kernel": 3, "taps": 4, "stride": 3}
    assert float(said["jump"]) == pytest.approx(
        100 * expected_jumps(shown, settings, MOVES)[5].item(), abs=0.051
    )
    label = page.locator("canvas").last.get_attribute("aria-label")
    assert "0 at moves of 0, 3, 6, 9, 12, 15 pixels" in label


@site
def test_the_pictures_move(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    before = painted(page)
    page.locator("canvas").first.press("ArrowRight")
    assert state(page)["move"] == "1"
    assert all(old != new for old, new in zip(before, painted(page), strict=True))
    page.locator("canvas").nth(1).press("ArrowUp")
    assert state(page)["stride"] == "3"
    box = page.locator("canvas").last.bounding_box()
    page.locator("canvas").last.scroll_into_view_if_needed()
    box = page.locator("canvas").last.bounding_box()
    page.mouse.click(box["x"] + 40 + (box["width"] - 48) * 0.75, box["y"] + box["height"] / 2)
    assert state(page)["move"] == "12"


# The middle row of the 64 × 64 pixels that a canvas shows.
MIDDLE_ROW = """canvas => {
  const copy = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
  const context = copy.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, 0, 0, 64, 64);
  return [...context.getImageData(0, 32, 64, 1).data].filter((value, at) => at % 4 === 0);
}"""


@site
def test_the_picture_follows_the_pointer(book: Book):
    page = book.open(FIGURES["pooling_shift"].html)
    settle(page, move=6)
    shown = page.locator("canvas").first
    shown.scroll_into_view_if_needed()
    box = shown.bounding_box()
    pixel = box["width"] / 64
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 40 * pixel, middle)
    page.mouse.down()
    assert state(page)["move"] == "6"  # to take hold moves nothing
    for across, expected in ((43, "9"), (36, "2"), (20, "0"), (60, "16")):
        page.mouse.move(box["x"] + across * pixel, middle)
        assert state(page)["move"] == expected
    page.mouse.up()
    page.mouse.move(box["x"] + 30 * pixel, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 25 * pixel, middle)
    page.mouse.up()
    assert state(page)["move"] == "11"
    # what stood at one place before stands further to the right
    settle(page, move=0)
    before = shown.evaluate(MIDDLE_ROW)
    settle(page, move=3)
    after = shown.evaluate(MIDDLE_ROW)
    assert after[3:] == before[:-3] != before[3:]


@site
def test_playing_goes_to_the_end_and_stops(book: Book):
    page = book.open("")
    page.clock.install()
    page.set_content(f"<main>{FIGURES['pooling_shift'].html}</main>")
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(1000)
    assert (state(page)["move"], state(page)["playing"]) == ("2", "yes")
    page.get_by_role("button", name="Pause").click()
    page.clock.run_for(2000)
    assert (state(page)["move"], state(page)["playing"]) == ("2", "no")
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(20_000)
    assert (state(page)["move"], state(page)["playing"]) == (str(MOVES), "no")
    page.get_by_role("button", name="Play").click()
    assert state(page)["move"] == "0"
