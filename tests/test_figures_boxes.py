"""The figures to touch of the chapter `boxes`, on pages in a real browser."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor

from browsing import Book, core, draw, number, painted, picture, slide, state
from course_lib import boxes as topic
from course_lib.figures.boxes import box_pair, nms_stepper

site = pytest.mark.site


def detections(count: int, seed: int, height: int = 90, width: int = 120) -> tuple[Tensor, Tensor]:
    """Boxes around a few places, to hundredths of a pixel; scores to thousandths, no two alike."""
    g = torch.Generator().manual_seed(seed)
    places = torch.rand(5, 2, generator=g) * torch.tensor([width - 30.0, height - 30.0])
    corner = places[torch.randint(0, 5, (count,), generator=g)] + 4 * torch.randn(
        count, 2, generator=g
    )
    sides = 18 + 10 * torch.rand(count, 2, generator=g)
    boxes = (100 * torch.cat((corner, corner + sides), 1)).round() / 100
    scores = (1 + torch.randperm(900, generator=g)[:count]) / 1000
    return boxes.double(), scores.double()


BOX = torch.tensor([40.0, 20.0, 76.0, 50.0])

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {
    "box_pair": box_pair(picture(90, 120), BOX),
    "nms_stepper": nms_stepper(picture(90, 120), *detections(40, 1), detections(5, 2)[0]),
}

LARGEST = [
    box_pair(torch.rand(160, 160), BOX),
    nms_stepper(torch.rand(240, 240), *detections(60, 3, 240, 240), detections(60, 4, 240, 240)[0]),
]

WIDEN = {
    "box_pair": lambda page: page.get_by_label("Guess", exact=True).select_option(
        "all of the picture"
    ),
    "nms_stepper": lambda page: page.get_by_role("button", name="To the end").click(),
}


# --- without a browser ----------------------------------------------------------------------------

IMAGE = torch.zeros(90, 120)
BOXES, SCORES = detections(4, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: box_pair(IMAGE[:40], BOX), ValueError, "image: expected 48 to 160 pixels"),
        (lambda: box_pair(IMAGE, BOX[:3]), ValueError, r"box: expected shape \(any, 4\)"),
        (lambda: box_pair(IMAGE, BOX.long()), TypeError, "box: expected a floating dtype"),
        (lambda: box_pair(IMAGE, [1, 2, 3, 4]), TypeError, "box: expected a tensor"),
        (lambda: box_pair(IMAGE, BOX + 200), ValueError, "box: expected boxes .* with an area"),
        (lambda: box_pair(IMAGE, BOX[[2, 1, 0, 3]]), ValueError, "box: expected boxes .* with"),
        (lambda: nms_stepper(IMAGE, BOXES[:1], SCORES[:1]), ValueError, "boxes: expected 2 to 60"),
        (lambda: nms_stepper(IMAGE, BOXES, SCORES[:2]), ValueError, "scores: expected shape"),
        (lambda: nms_stepper(IMAGE, BOXES, 2 + SCORES), ValueError, "scores: expected numbers in"),
        (lambda: nms_stepper(IMAGE, BOXES, SCORES * math.nan), ValueError, "scores: expected numb"),
        (lambda: nms_stepper(IMAGE, BOXES * math.nan, SCORES), ValueError, "boxes: expected boxes"),
        (lambda: nms_stepper(IMAGE, BOXES, SCORES, BOX), ValueError, "targets: expected 2 dimens"),
    ],
)
def test_wrong_arguments_are_answered(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


# --- numbers --------------------------------------------------------------------------------------


def random_box(generator: torch.Generator, height: int, width: int) -> list[int]:
    x1, y1 = draw(generator, 0, width - 5), draw(generator, 0, height - 5)
    return [x1, y1, draw(generator, x1 + 1, width), draw(generator, y1 + 1, height)]


@site
def test_two_boxes_are_measured_as_torch_measures_them(book: Book) -> None:
    page = book.open(FIGURES["box_pair"].html)
    generator = torch.Generator().manual_seed(1)
    pairs = [[random_box(generator, 40, 50) for _ in range(2)] for _ in range(200)]
    pairs += [[[0, 0, 9, 9], [0, 0, 9, 9]], [[0, 0, 9, 9], [9, 0, 12, 9]]]
    got = core(page, "a.map(pair => core.measure(...pair))", pairs)
    for (one, two), said in zip(pairs, got, strict=True):
        a, b = torch.tensor([one]).double(), torch.tensor([two]).double()
        iou = topic.box_iou(a, b).item()
        assert said["iou"] == pytest.approx(iou, abs=1e-12)
        assert said["giou"] == pytest.approx(topic.generalized_box_iou(a, b).item(), abs=1e-12)
        areas = (topic.box_area(a) + topic.box_area(b)).item()
        assert said["intersection"] == pytest.approx(areas * iou / (1 + iou))
        assert said["union"] == pytest.approx(areas / (1 + iou))


@site
def test_the_curve_is_what_the_guess_would_have_at_each_place(book: Book) -> None:
    page = book.open(FIGURES["box_pair"].html)
    target, guess = [40, 20, 76, 50], [10, 30, 35, 70]
    points = core(page, "core.sweep(a[0], a[1], { width: 120 })", [target, guess])
    assert [point["x"] for point in points] == list(range(96))
    places = torch.arange(96.0).double()
    moved = torch.stack((places, 0 * places + 30, places + 25, 0 * places + 70), 1)
    goal = torch.tensor([target]).double()
    for name, measure in (("iou", topic.box_iou), ("giou", topic.generalized_box_iou)):
        expected = measure(goal, moved)[0].tolist()
        assert [point[name] for point in points] == pytest.approx(expected, abs=1e-12)


@site
def test_boxes_stay_in_the_picture_and_keep_their_sides(book: Book) -> None:
    page = book.open(FIGURES["box_pair"].html)
    size = {"width": 50, "height": 40}
    generator = torch.Generator().manual_seed(2)
    for _ in range(60):
        box = random_box(generator, 40, 50)
        by = [draw(generator, -60, 60), draw(generator, -60, 60)]
        corner = [2 * draw(generator, 0, 1), 2 * draw(generator, 0, 1)]
        moved, pulled = core(
            page,
            "[core.move(a.box, ...a.by, a.size),"
            " core.stretch(a.box, a.corner, ...a.by, a.size, 1)]",
            {"box": box, "by": by, "size": size, "corner": corner},
        )
        for x1, y1, x2, y2 in (moved, pulled):
            assert 0 <= x1 < x2 <= 50
            assert 0 <= y1 < y2 <= 40
        assert (moved[2] - moved[0], moved[3] - moved[1]) == (box[2] - box[0], box[3] - box[1])
        still = {0, 1, 2, 3} - {corner[0], corner[1] + 1}
        assert all(pulled[n] == box[n] for n in still)


@site
def test_decisions_are_those_of_nms(book: Book) -> None:
    page = book.open(FIGURES["nms_stepper"].html)
    generator = torch.Generator().manual_seed(3)
    for seed in range(40):
        boxes, scores = detections(draw(generator, 2, 60), seed)
        order = scores.argsort(descending=True)
        boxes, scores = boxes[order], scores[order]
        least, threshold = draw(generator, 0, 60) / 100, draw(generator, 0, 100) / 100
        decisions = core(
            page,
            "core.decide(a.boxes, a.scores, a.least, a.threshold)",
            {
                "boxes": boxes.tolist(),
                "scores": scores.tolist(),
                "least": least,
                "threshold": threshold,
            },
        )
        enough = scores >= least
        assert [one["box"] for one in decisions] == list(range(int(enough.sum())))
        kept = [one["box"] for one in decisions if one["by"] < 0]
        assert kept == topic.nms(boxes[enough], scores[enough], threshold).tolist()
        overlap = topic.box_iou(boxes, boxes)
        for one in decisions:
            before = [n for n in kept if n < one["box"]]
            most = overlap[one["box"], before].max().item() if before else 0
            assert one["overlap"] == pytest.approx(most, abs=1e-12)
            if one["by"] >= 0:
                assert overlap[one["box"], one["by"]].item() == pytest.approx(most, abs=1e-12)
                assert most > threshold


@site
def test_objects_are_found_as_the_library_finds_them(book: Book) -> None:
    page = book.open(FIGURES["nms_stepper"].html)
    for seed in range(20):
        boxes, scores = detections(12, seed)
        targets, _ = detections(6, seed + 100)
        order = scores.argsort(descending=True)
        found = core(page, "core.found(...a)", [boxes[order].tolist(), targets.tolist()])
        assert found == (topic.match_boxes(boxes, scores, targets) >= 0).sum().item()


# --- what is shown --------------------------------------------------------------------------------


def corners(page: Page, name: str) -> list[int]:
    return [int(n) for n in state(page)[name].split(",")]


@site
def test_a_guess_is_dragged_by_its_middle_and_by_its_corners(book: Book) -> None:
    page = book.open(FIGURES["box_pair"].html)
    canvas = page.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    cell = box["width"] / 120

    def drag(start: tuple[float, float], by: tuple[int, int]) -> None:
        page.mouse.move(box["x"] + start[0] * cell, box["y"] + start[1] * cell)
        page.mouse.down()
        page.mouse.move(box["x"] + (start[0] + by[0]) * cell, box["y"] + (start[1] + by[1]) * cell)
        page.mouse.up()

    x1, y1, x2, y2 = corners(page, "guess")
    drag(((x1 + x2) / 2, (y1 + y2) / 2), (7, -5))
    assert corners(page, "guess") == [x1 + 7, y1 - 5, x2 + 7, y2 - 5]
    assert state(page)["place"] == "your_own"
    drag((x2 + 7, y2 - 5), (4, 6))
    assert corners(page, "guess") == [x1 + 7, y1 - 5, x2 + 11, y2 + 1]
    drag((41, 21), (-10, 3))  # a corner of the object, where the guess does not lie
    assert corners(page, "target") == [30, 23, 76, 50]
    drag((100, 80), (1, 1))  # beside both: the guess jumps there
    left, top, right, bottom = corners(page, "guess")
    assert left <= 101 <= right
    assert top <= 81 <= bottom


@site
def test_arrows_move_what_they_are_told_to(book: Book) -> None:
    page = book.open(FIGURES["box_pair"].html)
    canvas = page.locator("canvas").first
    guess, target = corners(page, "guess"), corners(page, "target")
    canvas.press("ArrowRight")
    assert corners(page, "guess") == [guess[0] + 1, guess[1], guess[2] + 1, guess[3]]
    page.get_by_label("Arrow keys move").select_option("corner")
    canvas.press("ArrowDown")
    assert corners(page, "guess") == [guess[0] + 1, guess[1], guess[2] + 1, guess[3] + 1]
    page.get_by_label("Arrow keys move").select_option("target")
    canvas.press("ArrowLeft")
    assert corners(page, "target") == [target[0] - 1, target[1], target[2] - 1, target[3]]


@site
def test_the_shown_arithmetic_adds_up(book: Book) -> None:
    page = book.open(FIGURES["box_pair"].html)
    for name in ("a good guess", "half beside it", "too small", "all of the picture", "far away"):
        page.get_by_label("Guess", exact=True).select_option(name)
        said = state(page)
        target, guess = (torch.tensor([corners(page, which)]).double() for which in
                         ("target", "guess"))  # fmt: skip
        iou = topic.box_iou(target, guess).item()
        giou = topic.generalized_box_iou(target, guess).item()
        assert float(said["iou"]) == pytest.approx(iou, abs=1e-4)
        assert float(said["giou"]) == pytest.approx(giou, abs=1e-4)
        lines = [line.inner_text().replace(",", "") for line in page.locator(".line").all()]
        inter, union = (float(n) for n in lines[0].split(" = ")[1].split(" / "))
        assert inter / union == pytest.approx(iou, abs=1e-9)
        empty, hull = (float(n) for n in lines[1].split(" = ")[1].split(" − ")[-1].split(" / "))
        assert iou - empty / hull == pytest.approx(giou, abs=1e-9)
        assert number(lines[0].split(" = ")[-1]) == pytest.approx(iou, abs=0.005)
        assert number(lines[1].split(" = ")[-1]) == pytest.approx(giou, abs=0.005)
    assert (said["iou"], float(said["giou"]) < 0) == ("0.0000", True)


@site
def test_steps_go_from_the_best_box_to_the_last(book: Book) -> None:
    page = book.open(FIGURES["nms_stepper"].html)

    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    assert (state(page)["done"], state(page)["kept"]) == ("0", "")
    before = painted(page)
    press("Step")
    assert (state(page)["done"], state(page)["kept"]) == ("1", "0")
    assert all(old != new for old, new in zip(before, painted(page), strict=True))
    assert "Box 1 (score " in page.locator(".live").inner_text()
    press("Back")
    assert state(page)["done"] == "0"
    press("To the end")
    boxes, scores = detections(40, 1)
    order = scores.argsort(descending=True)
    kept = topic.nms(boxes[order], scores[order], 0.3)
    assert state(page)["done"] == "40"
    assert state(page)["kept"] == ",".join(map(str, kept.tolist()))
    targets = detections(5, 2)[0]
    hits = (topic.match_boxes(boxes[order][kept], scores[order][kept], targets) >= 0).sum().item()
    assert state(page)["found"] == str(hits)
    assert f"{hits} of 5 objects found" in page.locator(".body").inner_text()
    slide(page, "IoU threshold", 70)  # all decisions are made anew
    kept = topic.nms(boxes[order], scores[order], 0.7)
    assert state(page)["kept"] == ",".join(map(str, kept.tolist()))
    slide(page, "Lowest score", 40)
    assert state(page)["boxes"] == state(page)["done"] == str((scores >= 0.4).sum().item())
    press("Reset")
    assert state(page)["done"] == "0"


@site
def test_a_click_goes_to_the_decision_about_that_box(book: Book) -> None:
    boxes = torch.tensor([[10.0, 10, 50, 50], [12, 12, 52, 52], [70, 30, 110, 70]])
    page = book.open(nms_stepper(picture(90, 120), boxes, torch.tensor([0.9, 0.8, 0.7])).html)
    box = page.locator("canvas").first.bounding_box()
    cell = box["width"] / 120
    for place, done, words in (
        ((90, 31), 3, "Box 3 (score 0.70) is kept: it overlaps no kept box."),
        ((52, 40), 2, "Box 2 (score 0.80) is suppressed by box 1: they overlap with IoU 0.82."),
        ((10, 30), 1, "Box 1 (score 0.90) is kept: it overlaps no kept box."),
    ):
        page.mouse.click(box["x"] + place[0] * cell, box["y"] + place[1] * cell)
        assert state(page)["done"] == str(done)
        assert page.locator(".live").inner_text() == words
    bars = page.locator("canvas").nth(1).bounding_box()
    page.mouse.click(bars["x"] + bars["width"] * 0.9, bars["y"] + bars["height"] / 2)
    assert state(page)["done"] == "3"


@site
def test_playing_goes_on_by_itself_and_stops_at_the_end(book: Book) -> None:
    page = book.open("")
    page.clock.install()
    page.set_content(f"<main>{FIGURES['nms_stepper'].html}</main>")
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(2000)
    done = int(state(page)["done"])
    assert 3 <= done <= 7
    page.get_by_role("button", name="Pause").click()
    page.clock.run_for(2000)
    assert int(state(page)["done"]) == done
    page.get_by_role("button", name="Play").click()
    page.clock.run_for(40_000)
    assert (state(page)["done"], state(page)["playing"]) == ("40", "false")
