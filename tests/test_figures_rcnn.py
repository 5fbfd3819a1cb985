"""The figures to touch of the chapter `rcnn`, on pages in a real browser."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from browsing import Book, core, draw, painted, picture, slide, state
from course_lib import rcnn as topic
from course_lib.figures.rcnn import anchor_matcher, region_pooler

site = pytest.mark.site

IMAGE = picture(96, 128)
FEATURES = F.avg_pool2d(IMAGE[None], 8)[0]  # (12, 16)
BOX = torch.tensor([42.0, 18.0, 83.0, 67.0])
OBJECTS = torch.tensor([[20.0, 10, 50, 52], [80, 40, 100, 88], [60, 70, 70, 80]])

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {
    "region_pooler": region_pooler(IMAGE, FEATURES, BOX),
    "anchor_matcher": anchor_matcher(IMAGE, OBJECTS),
}

LARGEST = [
    region_pooler(torch.rand(160, 160), -100 * torch.rand(20, 20), BOX),
    anchor_matcher(torch.rand(160, 160), OBJECTS.repeat(2, 1)),
]

WIDEN = {
    "region_pooler": lambda page: page.get_by_label("Bins", exact=True).select_option("4"),
    "anchor_matcher": lambda page: page.get_by_label("Every so many pixels").select_option("4"),
}


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: region_pooler(IMAGE[:40], FEATURES, BOX), ValueError, "image: expected 64 to 160"),
        (lambda: region_pooler(IMAGE, FEATURES[:5], BOX), ValueError, "features: expected 4 to 20"),
        (lambda: region_pooler(IMAGE, FEATURES[:0], BOX), ValueError, "features: expected 4 to 20"),
        (lambda: region_pooler(IMAGE, IMAGE, BOX), ValueError, "features: expected 4 to 20"),
        (lambda: region_pooler(IMAGE, FEATURES.long(), BOX), TypeError, "features: expected a flo"),
        (lambda: region_pooler(IMAGE, FEATURES / 0, BOX), ValueError, "features: expected finite"),
        (lambda: region_pooler(IMAGE, FEATURES, BOX + 60), ValueError, "box: expected boxes"),
        (lambda: region_pooler(IMAGE, FEATURES, BOX.long()), TypeError, "box: expected a floating"),
        (lambda: region_pooler(IMAGE, FEATURES, [1, 2]), TypeError, "box: expected a tensor"),
        (lambda: anchor_matcher(IMAGE, OBJECTS[:0]), ValueError, "boxes: expected 1 to 6, got 0"),
        (lambda: anchor_matcher(IMAGE, OBJECTS.repeat(3, 1)), ValueError, "boxes: expected 1 to"),
        (lambda: anchor_matcher(IMAGE, OBJECTS * math.nan), ValueError, "boxes: expected boxes"),
        (lambda: anchor_matcher(IMAGE, OBJECTS[:, [2, 1, 0, 3]]), ValueError, "boxes: expected bo"),
        (lambda: anchor_matcher(IMAGE, BOX), ValueError, "boxes: expected 2 dimensions"),
    ],
)
def test_wrong_arguments_are_answered(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


# --- numbers --------------------------------------------------------------------------------------


def random_box(generator: torch.Generator, height: int, width: int, least: int = 4) -> list[int]:
    x1, y1 = draw(generator, 0, width - least), draw(generator, 0, height - least)
    return [x1, y1, draw(generator, x1 + least, width), draw(generator, y1 + least, height)]


def random_map(generator: torch.Generator) -> Tensor:
    rows, columns = draw(generator, 4, 9), draw(generator, 4, 9)
    return torch.randint(-99, 99, (rows, columns), generator=generator).double() / 10


def as_regions(boxes: list[list[int]]) -> Tensor:
    return F.pad(torch.tensor(boxes).double(), (1, 0))


@site
def test_pooling_and_alignment_are_the_library_s(book: Book) -> None:
    page = book.open(FIGURES["region_pooler"].html)
    generator = torch.Generator().manual_seed(1)
    for _ in range(60):
        features, stride = random_map(generator), [4, 8, 10][draw(generator, 0, 2)]
        height, width = (n * stride for n in features.shape)
        boxes = [random_box(generator, height, width) for _ in range(4)]
        bins, each = draw(generator, 2, 4), draw(generator, 1, 4)
        aligned = bool(draw(generator, 0, 1))
        pooled, meant = core(
            page,
            "[a.boxes.map(box => core.pool(a.map, box, a.bins, a.scale)),"
            " a.boxes.map(box => core.align(a.map, box, a.bins, a.scale, a.each, a.aligned))]",
            {
                "map": features.tolist(),
                "boxes": boxes,
                "bins": bins,
                "scale": 1 / stride,
                "each": each,
                "aligned": aligned,
            },
        )
        regions = as_regions(boxes)
        inputs = features[None, None], regions, bins, 1 / stride
        torch.testing.assert_close(
            torch.tensor(pooled, dtype=torch.float64), topic.roi_pool(*inputs)[:, 0]
        )
        torch.testing.assert_close(
            torch.tensor(meant, dtype=torch.float64),
            topic.roi_align(*inputs, sampling_ratio=each, aligned=aligned)[:, 0],
        )


@site
def test_the_curve_is_what_the_box_would_have_at_each_place(book: Book) -> None:
    page = book.open(FIGURES["region_pooler"].html)
    features = random_map(torch.Generator().manual_seed(2))
    width = 8 * features.shape[1]
    box = [5, 9, 22, 30]
    said = core(
        page,
        "core.sweep(a.map, a.box, 3, 1 / 8, 2, true, a.width)",
        {"map": features.tolist(), "box": box, "width": width},
    )
    moved = [[x, box[1], x + 17, box[3]] for x in range(width - 17 + 1)]
    inputs = features[None, None], as_regions(moved), 3, 1 / 8
    for name, found in (
        ("pool", topic.roi_pool(*inputs)),
        ("align", topic.roi_align(*inputs, sampling_ratio=2, aligned=True)),
    ):
        assert [point[name] for point in said] == pytest.approx(found[:, 0, 0, 0].tolist())


@site
def test_rounding_moves_a_side_by_as_much_as_is_said(book: Book) -> None:
    page = book.open(FIGURES["region_pooler"].html)
    # Half a cell goes up, as in C; the last cell counts in full, so a whole one is added.
    assert core(page, "core.snap(a, 1 / 8)", [4, 11, 12, 20]) == [1, 1, 2, 3]
    assert core(page, "core.shift(a, 1 / 8)", [4, 11, 12, 20]) == 12
    assert core(page, "core.shift(a, 1 / 8)", [8, 8, 16, 16]) == 8
    assert core(page, "core.shift(a, 1 / 8)", [9, 11, 17, 19]) == 7


@site
def test_anchors_and_their_matches_are_the_library_s(book: Book) -> None:
    page = book.open(FIGURES["anchor_matcher"].html)
    generator = torch.Generator().manual_seed(3)
    for _ in range(60):
        rows, columns, stride = draw(generator, 1, 6), draw(generator, 1, 6), 8
        side = draw(generator, 6, 40)
        ratios = [[1], [0.5], [2], [0.5, 1, 2]][draw(generator, 0, 3)]
        boxes = [random_box(generator, 60, 60) for _ in range(draw(generator, 1, 5))]
        high = draw(generator, 0, 100) / 100
        low = high * draw(generator, 0, 4) / 4
        claim = bool(draw(generator, 0, 1))
        anchors, found = core(
            page,
            "(made => [made, core.match(made, a.boxes, a.high, a.low, a.claim)])"
            "(core.anchors(a.rows, a.columns, a.stride, a.side, a.ratios))",
            {
                "rows": rows, "columns": columns, "stride": stride, "side": side,
                "ratios": ratios, "boxes": boxes, "high": high, "low": low, "claim": claim,
            },
        )  # fmt: skip
        ours = topic.anchor_grid((rows, columns), stride, (side,), tuple(ratios)).double()
        torch.testing.assert_close(
            torch.tensor(anchors, dtype=torch.float64), ours, rtol=0, atol=1e-4
        )
        exact, objects = torch.tensor(anchors, dtype=torch.float64), torch.tensor(boxes).double()
        matches = topic.match_anchors(exact, objects, high, low, claim)
        assert found["matches"] == matches.tolist()
        missed = core(page, "core.missed(...a)", [found["matches"], len(boxes)])
        assert missed == sorted(set(range(len(boxes))) - set(matches.tolist()))


@site
def test_an_overlap_of_exactly_a_threshold_counts_as_the_library_s_does(book: Book) -> None:
    page = book.open(FIGURES["anchor_matcher"].html)
    anchors, boxes = [[0, 0, 16, 16], [0, 0, 16, 32], [40, 40, 48, 48]], [[0, 0, 16, 8]]
    for high, low in ((0.5, 0.25), (0.6, 0.5), (0.5, 0.5)):
        for claim in (False, True):
            arguments = [anchors, boxes, high, low, claim]
            found = core(page, "core.match(...a)", arguments)["matches"]
            tensors = (torch.tensor(some).double() for some in (anchors, boxes))
            assert found == topic.match_anchors(*tensors, high, low, claim).tolist()
    assert core(page, "core.match(...a)", [anchors[2:], boxes, 0.5, 0.3, True])["matches"] == [-1]


# --- what is shown --------------------------------------------------------------------------------


@site
def test_the_box_is_dragged_and_pulled_and_both_cuts_follow(book: Book) -> None:
    page = book.open(FIGURES["region_pooler"].html)
    canvas = page.locator("canvas").nth(1)
    canvas.scroll_into_view_if_needed()
    place = canvas.bounding_box()
    cell = place["width"] / 128

    def corners() -> list[int]:
        return [int(n) for n in state(page)["box"].split(",")]

    def drag(start: tuple[int, int], by: tuple[int, int]) -> None:
        page.mouse.move(place["x"] + start[0] * cell, place["y"] + start[1] * cell)
        page.mouse.down()
        end = start[0] + by[0], start[1] + by[1]
        page.mouse.move(place["x"] + end[0] * cell, place["y"] + end[1] * cell)
        page.mouse.up()

    before = painted(page)
    drag((60, 40), (10, -6))
    assert corners() == [52, 12, 93, 61]
    assert all(old != new for old, new in zip(before, painted(page), strict=True))
    drag((93, 61), (-5, 8))
    assert corners() == [52, 12, 88, 69]
    drag((60, 40), (200, 200))  # it stays in the picture
    assert corners() == [128 - 36, 96 - 57, 128, 96]


@site
def test_one_pixel_to_the_right_moves_one_cut_and_not_the_other(book: Book) -> None:
    box = torch.tensor([33.0, 17.0, 80.0, 64.0])
    page = book.open(region_pooler(IMAGE, FEATURES, box).html)
    before = state(page)
    page.locator("canvas").first.press("ArrowRight")
    after = state(page)
    assert after["box"] == "34,17,81,64"
    assert after["pool"] == before["pool"]
    assert after["align"] != before["align"]
    page.get_by_label("Arrow keys move").select_option("corner")
    page.locator("canvas").first.press("ArrowUp")
    assert state(page)["box"] == "34,17,81,63"
    slide(page, "Points per side of a bin", 4)
    page.get_by_label("Bins", exact=True).select_option("3")
    page.get_by_label("Aligned: take off half a cell first").uncheck()
    said = state(page)
    regions = torch.tensor([[0.0, 34, 17, 81, 63]]).double()
    features = (100 * FEATURES[None, None].double()).round() / 100
    for name, wanted in (
        ("pool", topic.roi_pool(features, regions, 3, 1 / 8)),
        ("align", topic.roi_align(features, regions, 3, 1 / 8, sampling_ratio=4)),
    ):
        shown = [float(n) for n in said[name].split(",")]
        assert shown == pytest.approx(wanted.flatten().tolist(), abs=6e-5)
    page.get_by_role("button", name="Start again").click()
    assert (state(page)["box"], state(page)["bins"]) == ("33,17,80,64", "2")


@site
def test_an_object_can_be_left_without_an_anchor_and_claim_one(book: Book) -> None:
    page = book.open(FIGURES["anchor_matcher"].html)
    slide(page, "Side of an anchor, in pixels", 90)
    assert (state(page)["positive"], state(page)["missed"]) == ("0", "3")
    assert "Without any anchor: 3 of 3 objects (1, 2, 3)." in page.locator(".counts").inner_text()
    page.get_by_label("Each object also claims").check()
    assert state(page)["missed"] == "0"
    assert "Every object has an anchor." in page.locator(".counts").inner_text()


@site
def test_thresholds_never_cross(book: Book) -> None:
    page = book.open(FIGURES["anchor_matcher"].html)
    slide(page, "Positive from IoU", 20)
    assert (state(page)["high"], state(page)["low"]) == ("20", "20")
    assert state(page)["ignored"] == "0"
    slide(page, "Negative below IoU", 50)
    assert (state(page)["high"], state(page)["low"]) == ("50", "50")


@site
def test_the_place_is_chosen_by_a_click_and_kept_when_the_spacing_changes(book: Book) -> None:
    page = book.open(FIGURES["anchor_matcher"].html)
    canvas = page.locator("canvas").first
    place = canvas.bounding_box()
    page.mouse.click(place["x"] + place["width"] * 0.9, place["y"] + place["height"] * 0.6)
    assert state(page)["at"] == "7,14"
    canvas.press("ArrowLeft")
    assert state(page)["at"] == "7,13"
    page.get_by_label("Every so many pixels").select_option("32")
    assert state(page)["at"] == "1,3"
    for _ in range(6):
        canvas.press("ArrowRight")
    assert state(page)["at"] == "1,3"
    total = sum(int(state(page)[name]) for name in ("positive", "ignored", "negative"))
    assert total == 3 * 4 * 3
