"""The figure to touch of the chapter `classification`, on pages in a real browser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Page
from scipy import ndimage
from torch import Tensor, nn

from browsing import Book, core, draw, host, painted, slide, state
from course_lib import classification as topic
from course_lib import data
from course_lib.figures.classification import digit_pad

site = pytest.mark.site


def small(seed: int, *, pool: str = "max", upsampled: bool = True) -> nn.Module:
    """A network of the chapter's form, with running means and variances of its own."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bicubic") if upsampled else nn.Identity(),
        topic.Normalize([0.3], [0.4]),
        topic.SmallVGG(stages=((8,), (16,), (32,)), pool=pool),
    )
    for _ in range(3):
        model(torch.rand(16, 1, 8, 8))
    with torch.no_grad():
        model[2].head.weight.mul_(4)  # to be sure of something
    return model.eval()


def exported(model: nn.Module) -> dict[str, Any]:
    return topic.export_small(model, (1, 8, 8))


SCANS, LABELS = data.digits("test")
ROWS = [int((digit == LABELS).nonzero()[0]) for digit in range(10)]
MODELS = [small(0), small(1)]
NETWORKS = {name: exported(model) for name, model in zip("ab", MODELS, strict=True)}

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {"digit_pad": digit_pad(NETWORKS, SCANS[ROWS], LABELS[ROWS])}
LARGEST = [digit_pad(NETWORKS, SCANS[:12], LABELS[:12])]


# --- without a browser ----------------------------------------------------------------------------


def test_wrong_arguments_are_refused_by_name() -> None:
    one = {"a": NETWORKS["a"]}
    scan, label = SCANS[:1], [0]
    cases: list[tuple[Any, Any, Any, type[Exception], str]] = [
        (one, scan.int(), label, TypeError, "scans: expected a floating dtype"),
        (one, scan[0], label, ValueError, "scans: expected shape"),
        (one, SCANS[:13], [0] * 13, ValueError, "scans: expected 1 to 12, got 13"),
        (one, SCANS[:0], [], ValueError, "scans: expected 1 to 12, got 0"),
        (one, scan + 0.01, label, ValueError, "scans: expected sixteenths"),
        (one, scan * torch.nan, label, ValueError, "scans: expected sixteenths"),
        (one, scan, [0, 1], ValueError, "labels: expected 1, got 2"),
        ({}, scan, label, ValueError, "networks: expected 1 to 4, got 0"),
        ({"": NETWORKS["a"]}, scan, label, ValueError, "names of 1 to 32 characters"),
        (
            dict.fromkeys("abc", NETWORKS["a"]),
            scan,
            label,
            ValueError,
            "networks: expected at most 14200 parameters, got 19038",
        ),
    ]
    for networks, scans, labels, error, message in cases:
        with pytest.raises(error, match=message):
            digit_pad(networks, scans, labels)


def test_layers_must_fit_together() -> None:
    layers = NETWORKS["a"]["layers"]

    def refused(changed: list[Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            digit_pad({"a": {"layers": changed}}, SCANS[:1], [0])

    refused([{"kind": "sigmoid"}, *layers], "expected one of 'upsample'")
    refused(layers[:-1], r"expected ten scores at the end, got \(32,\)")
    refused([layer for layer in layers if not layer["kind"].startswith("global")], "expected shape")
    first = next(layer for layer in layers if layer["kind"] == "conv")
    refused([{**first, "bias": [0.0]}], "bias.*expected shape")
    refused([first, first], "weight.*expected shape")
    refused([{"kind": "upsample", "matrix": [[1.0] * 9]}], "matrix.*expected shape")
    alone = {"kind": "linear", "weight": [[0.0]] * 10, "bias": [0.0] * 10}
    refused([{"kind": "global_max"}, alone], "expected a convolution")


def test_the_usual_ink_is_that_of_the_scans() -> None:
    ink = 16 * data.digits()[0].sum((1, 2, 3))
    expected = ink.quantile(torch.tensor([0.05, 0.95])).round().int().tolist()
    assert f'"ink": {expected}' in FIGURES["digit_pad"].html


# --- numbers --------------------------------------------------------------------------------------


def scores(page: Page, images: Tensor, network: int = 0) -> Tensor:
    """What the page's own weights and its own forward pass give."""
    got = host(page).evaluate(
        """(host, [script, at, images]) => {
          const { core } = host;
          const layers = core.unpack(script.networks[at].layers);
          return images.map((image) => core.forward(layers, image).scores);
        }""",
        [setup_of(page), network, images.flatten(1).tolist()],
    )
    return torch.tensor(got, dtype=torch.float64)


def setup_of(page: Page) -> dict[str, Any]:
    """The data inside the page's script."""
    return host(page).evaluate(
        """host => {
          const text = host.querySelector("script").textContent;
          const line = text.split("\\n").find((line) => line.startsWith("const setup = "));
          return JSON.parse(line.slice("const setup = ".length, -1)).data;
        }"""
    )


@site
@pytest.mark.parametrize(
    "model",
    [small(3), small(4, pool="mean"), small(5, upsampled=False)],
    ids=["upsampled", "mean", "as it is"],
)
def test_the_forward_pass_is_torch_s(book: Book, model: nn.Module) -> None:
    shown = digit_pad({"a": exported(model)}, SCANS[:1], [0])
    page = book.open(shown.html)
    noise = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    for images in (noise, 3 * noise - 1, SCANS[:200]):
        with torch.no_grad():
            expected = model(images).double()
        assert expected.std() > 0.1
        torch.testing.assert_close(scores(page, images), expected, rtol=0, atol=1e-4)


@site
def test_each_network_has_its_own_weights(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    for at, model in enumerate(MODELS):
        with torch.no_grad():
            expected = model(SCANS[:20]).double()
        torch.testing.assert_close(scores(page, SCANS[:20], at), expected, rtol=0, atol=1e-4)


@site
def test_the_maps_are_the_first_convolution_s(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    images = SCANS[ROWS[3]][None]
    got = host(page).evaluate(
        """(host, [setup, image]) => {
          const layers = host.core.unpack(setup.networks[0].layers);
          const { maps } = host.core.forward(layers, image);
          return { ...maps, values: [...maps.values] };
        }""",
        [setup_of(page), images.flatten().tolist()],
    )
    with torch.no_grad():
        folded = MODELS[0][2].stages[0][:2](MODELS[0][:2](images)).double()
    found = torch.tensor(got["values"], dtype=torch.float64).view_as(folded)
    torch.testing.assert_close(found, folded, rtol=0, atol=1e-5)


@site
def test_softmax_is_torch_s(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    for values in ([0.0, 1.0, 2.0], [800.0, 0.0, 799.0], [-5.0, -5.0]):
        expected = torch.tensor(values, dtype=torch.float64).softmax(0).tolist()
        assert core(page, "core.softmax(a)", values) == pytest.approx(expected, abs=1e-12)


@site
def test_counting_blocks_undoes_what_an_example_was_made_by(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    counts = (16 * SCANS).flatten(1).int().tolist()
    made = core(page, "a.map(core.unscan)", counts)
    bitmaps = torch.tensor(made).view(-1, 8, 4, 8, 4)
    assert set(bitmaps.unique().tolist()) == {0, 1}
    assert bitmaps.sum((2, 4)).flatten(1).tolist() == counts
    again = core(page, "a.map((bitmap) => core.scan(bitmap))", made)
    torch.testing.assert_close(torch.tensor(again), SCANS.flatten(1), rtol=0, atol=0)


def random_bitmap(generator: torch.Generator) -> Tensor:
    """A few random strokes, anywhere on the pad, sometimes none."""
    bitmap = torch.zeros(32, 32, dtype=torch.long)
    for _ in range(draw(generator, 0, 3)):
        top, left = draw(generator, 0, 28), draw(generator, 0, 28)
        bitmap[top : top + draw(generator, 1, 20), left : left + draw(generator, 1, 9)] = 1
    return bitmap


@site
def test_growing_and_thinning_are_scipy_s(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        bitmap, rounds = random_bitmap(generator), draw(generator, 1, 3)
        flat = bitmap.flatten().tolist()
        grown = ndimage.binary_dilation(bitmap.numpy(), iterations=rounds)
        thin = ndimage.binary_erosion(bitmap.numpy(), iterations=rounds, border_value=1)
        for by, expected in ((rounds, grown), (-rounds, thin), (0, bitmap.numpy())):
            got = np.array(core(page, "core.grow(...a)", [flat, by])).reshape(32, 32)
            assert (got == expected).all()


@site
def test_moving_brings_in_paper(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    generator = torch.Generator().manual_seed(3)
    for _ in range(10):
        bitmap = random_bitmap(generator)
        right, down = draw(generator, -8, 8), draw(generator, -8, 8)
        got = np.array(core(page, "core.move(...a)", [bitmap.flatten().tolist(), right, down]))
        expected = ndimage.shift(bitmap.numpy(), (down, right), order=0)
        assert (got.reshape(32, 32) == expected).all()


def test_fitting_expectation() -> None:
    """The tests' own way of fitting, on a case worked out by hand."""
    bitmap = torch.zeros(32, 32, dtype=torch.long)
    bitmap[8:24, 0:4] = 1
    assert fitted(bitmap).nonzero().aminmax(dim=0).min.tolist() == [0, 12]
    assert fitted(bitmap).nonzero().aminmax(dim=0).max.tolist() == [31, 19]


def fitted(bitmap: Tensor) -> Tensor:
    rows, columns = bitmap.any(1).nonzero()[:, 0], bitmap.any(0).nonzero()[:, 0]
    if len(rows) == 0:
        return bitmap
    part = bitmap[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, across = part.shape
    width = min(28, max(1, int(across * 32 / height + 0.5)))
    # The mode "nearest-exact" takes the pixel under the centre of each new one.
    large = nn.functional.interpolate(part[None, None].double(), (32, width), mode="nearest-exact")
    left = (32 - width) // 2
    return nn.functional.pad(large[0, 0], (left, 32 - width - left)).long()


@site
def test_fitting_fills_the_height_and_centres(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    generator = torch.Generator().manual_seed(4)
    for _ in range(30):
        bitmap = random_bitmap(generator)
        got = core(page, "core.fit(a)", bitmap.flatten().tolist())
        assert torch.equal(torch.tensor(got).view(32, 32), fitted(bitmap))


@site
def test_a_stroke_inks_what_is_near_its_line(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    generator = torch.Generator().manual_seed(5)
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    share = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None, None]
    for _ in range(10):
        ends = 36 * torch.rand(2, 2, generator=generator, dtype=torch.float64) - 2
        (x0, y0), (x1, y1) = ends
        distance = ((x0 + share * (x1 - x0) - x) ** 2 + (y0 + share * (y1 - y0) - y) ** 2).amin(0)
        blank = [0] * 1024
        got = core(page, "core.stroke(...a)", [blank, *ends.tolist(), 2])
        differs = torch.tensor(got).view(32, 32) != (distance <= 4).long()
        assert (distance[differs] - 4).abs().max().item() < 1e-2 if differs.any() else True
        assert sum(got) > 0 or distance.min() > 4
        full = core(page, "core.stroke(...a)", [[1] * 1024, *ends.tolist(), 2, 0])
        assert full == [1 - value for value in got]
    dot = core(page, "core.stroke(...a)", [[0] * 1024, [16, 16], [16, 16], 2])
    assert sum(dot) == 12  # the pixels whose centres are within 2 of a corner


# --- the reader's hand ----------------------------------------------------------------------------


def probabilities(model: nn.Module, bitmap: Tensor) -> Tensor:
    counts = bitmap.view(8, 4, 8, 4).sum((1, 3)).float() / 16
    with torch.no_grad():
        return model(counts[None, None]).softmax(1)[0]


def says(page: Page, expected: Tensor) -> None:
    said = state(page)
    assert int(said["answer"]) == expected.argmax()
    assert float(said["probability"]) == pytest.approx(expected.max().item(), abs=1e-4)


@site
def test_it_begins_with_a_scan_and_says_what_torch_says(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    for at, row in enumerate(ROWS):
        if at:
            page.get_by_label("Digit", exact=True).select_option(str(at))
        for number, model in enumerate(MODELS):
            page.get_by_label("Network", exact=True).select_option(str(number))
            with torch.no_grad():
                says(page, model(SCANS[row][None]).softmax(1)[0])
        assert state(page)["ink"] == str(int(16 * SCANS[row].sum()))
        assert state(page)["fit"] == "false"


def pointer(page: Page, points: list[tuple[float, float]]) -> None:
    """Draw through points of the pad, in its pixels."""
    box = page.locator("canvas").first.bounding_box()
    scale = box["width"] / 32
    for number, (x, y) in enumerate(points):
        page.mouse.move(box["x"] + x * scale, box["y"] + y * scale)
        if number == 0:
            page.mouse.down()
    page.mouse.up()


def drawing(page: Page) -> Tensor:
    """The pad's black and white pixels as they are painted; the pen's ring is elsewhere."""
    got = (
        page.locator("canvas")
        .nth(1)
        .evaluate(
            """canvas => {
          const copy = document.createElement("canvas");
          Object.assign(copy, { width: canvas.width, height: canvas.height });
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          const side = canvas.width / 32;
          const out = [];
          for (let y = 0; y < 32; y++) for (let x = 0; x < 32; x++)
            out.push(context.getImageData((x + 0.5) * side, (y + 0.5) * side, 1, 1).data[0] > 127);
          return out;
        }"""
        )
    )
    return torch.tensor(got).long().view(32, 32)


@site
def test_a_mouse_draws_and_the_network_reads_the_drawing(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    page.get_by_role("button", name="Clear").click()
    assert (state(page)["ink"], state(page)["fit"]) == ("0", "true")
    says(page, probabilities(MODELS[0], torch.zeros(32, 32)))
    page.get_by_label("Scale to full height").uncheck()
    pointer(page, [(8, 6), (24, 6), (14, 26)])
    said = state(page)
    assert said["example"] == "own"
    assert 100 < int(said["ink"]) < 250
    shown = drawing(page)
    assert int(shown.sum()) == int(said["ink"])
    says(page, probabilities(MODELS[0], shown))
    page.get_by_label("Scale to full height").check()
    says(page, probabilities(MODELS[0], fitted(shown)))
    assert torch.equal(drawing(page), fitted(shown))
    page.get_by_label("Scale to full height").uncheck()
    slide(page, "Thicker", 2)
    slide(page, "Move right", -5)
    slide(page, "Move down", 3)
    grown = ndimage.binary_dilation(shown.numpy(), iterations=2)
    moved = torch.from_numpy(ndimage.shift(grown.astype(int), (3, -5), order=0))
    assert torch.equal(drawing(page), moved)
    says(page, probabilities(MODELS[0], moved))


@site
def test_two_strokes_are_not_joined_and_ink_can_be_erased(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Scale to full height").uncheck()
    pointer(page, [(6, 4), (6, 28)])
    pointer(page, [(26, 4), (26, 28)])
    shown = drawing(page)
    assert shown[:, 10:22].sum() == 0
    assert shown[16, 5:7].all()
    assert shown[16, 25:27].all()
    page.get_by_label("Erase").check()
    pointer(page, [(6, 2), (6, 30)])
    assert drawing(page)[:, :16].sum() == 0
    assert drawing(page)[16, 25:27].all()


@site
def test_the_keyboard_draws(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("Scale to full height").uncheck()
    pad = page.locator("canvas").first
    assert (state(page)["x"], state(page)["y"]) == ("16", "4")
    pad.press("ArrowLeft")
    assert (state(page)["x"], state(page)["ink"]) == ("15", "0")
    pad.press("Space")
    assert (state(page)["pen"], state(page)["ink"]) == ("down", "12")
    for _ in range(10):
        pad.press("ArrowDown")
    assert state(page)["y"] == "14"
    shown = drawing(page)
    assert shown[3:15, 14:16].all()
    assert shown.sum() == 12 + 10 * 4
    pad.press("Space")
    pad.press("ArrowRight")
    assert int(state(page)["ink"]) == shown.sum()
    assert "pen up at column 16, row 14" in pad.get_attribute("aria-label")
    for _ in range(40):
        pad.press("ArrowRight")
    assert state(page)["x"] == "32"
    pad.press("Delete")
    assert state(page)["ink"] == "0"


@site
def test_what_is_said_is_what_is_shown(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    page.get_by_label("Digit", exact=True).select_option("7")
    with torch.no_grad():
        best, order = MODELS[0](SCANS[ROWS[7]][None]).softmax(1)[0].topk(2)
    words = f"{order[0]}, with {100 * best[0]:.1f} %; then {order[1]}, with {100 * best[1]:.1f} %"
    assert words in page.locator(".live").inner_text()
    ink = int(16 * SCANS[ROWS[7]].sum())
    assert f"{ink} pixels of ink" in page.locator(".body").inner_text()
    labels = [canvas.get_attribute("aria-label") for canvas in page.locator("canvas").all()]
    assert "a scan of a 7" in labels[0]
    assert words in labels[3]
    before = painted(page)
    page.get_by_label("Network", exact=True).select_option("1")
    changed = [old != new for old, new in zip(before, painted(page), strict=True)]
    assert changed == [False, False, False, True, True]
    assert "Probabilities by b" in page.locator("canvas").nth(3).get_attribute("aria-label")


@site
def test_choosing_your_own_clears_the_pad(book: Book) -> None:
    page = book.open(FIGURES["digit_pad"].html)
    page.get_by_label("Digit", exact=True).select_option("own")
    assert (state(page)["ink"], state(page)["fit"]) == ("0", "true")
    page.get_by_label("Digit", exact=True).select_option("2")
    assert (state(page)["example"], state(page)["fit"]) == ("2", "false")
