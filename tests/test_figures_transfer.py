"""The figure to touch of the chapter `transfer`, on pages in a real browser."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor

from browsing import Book, core, host, state
from course_lib import transfer as tr
from course_lib.figures import Figure
from course_lib.figures.transfer import _flat, label_picker

site = pytest.mark.site


def specimen(
    each: int, classes: int, side: int, width: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures and features that tell the classes apart, the features better."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat_interleave(each)
    grain = torch.rand(len(labels), 1, side, side, generator=generator)
    images = 0.8 * grain + 0.2 * labels[:, None, None, None] / classes
    features = torch.randn(len(labels), width, generator=generator)
    features[:, 0] += 3 * labels
    return images, features, labels


def is_bright(images: Tensor) -> Tensor:
    """Whether the middle of each ``Tensor[N, H, W]`` is brighter than the pixels at its edge."""
    height, width = images.shape[1:]
    down, across = height // 4, width // 4
    middle = images[:, down : height - down, across : width - across].mean((1, 2))
    inner = images[:, 1:-1, 1:-1]
    edge = images.sum((1, 2)) - inner.sum((1, 2))
    return middle > edge / (height * width - inner[0].numel())


SMALL = specimen(9, 3, 8, 6)
FIGURES = {"label_picker": label_picker(*SMALL)}
LARGEST = [
    label_picker(
        *specimen(10, 6, 20, 96), ("a", "bcdefghijklm", "<b>", "fox & cub", "seventeen ab", "f")
    )
]


# --- without a browser ----------------------------------------------------------------------------

IMAGES, FEATURES, LABELS = SMALL
WRONG: list[tuple[tuple[Any, ...], type[Exception], str]] = [
    ((IMAGES[:3], FEATURES[:3], LABELS[:3]), ValueError, "images: expected 4 to 60, got"),
    ((IMAGES[:, 0], FEATURES, LABELS), ValueError, "images: expected 4 dimensions"),
    ((IMAGES + 1, FEATURES, LABELS), ValueError, r"images: expected values in \[0, 1\]"),
    ((IMAGES, FEATURES[:5], LABELS), ValueError, r"features: expected shape \(27, any\)"),
    ((IMAGES, FEATURES * torch.nan, LABELS), ValueError, "features: expected 1 to 96 finite"),
    ((IMAGES, FEATURES.repeat(1, 20), LABELS), ValueError, "features: expected 1 to 96 finite"),
    ((IMAGES, FEATURES, LABELS.float()), TypeError, "labels: expected torch.int64"),
    ((IMAGES, FEATURES, LABELS + 1), ValueError, "labels: expected each class twice or more"),
    ((IMAGES, FEATURES, LABELS, ("7", "8")), ValueError, "labels: expected classes below 2"),
    ((IMAGES, FEATURES, LABELS, ("7", "7", "8")), ValueError, "names: expected two to six diff"),
    ((IMAGES, FEATURES, LABELS, ("7", "", "8")), ValueError, "names: expected 1 to 12 charac"),
    ((IMAGES, FEATURES, LABELS, (7, 8, 9)), TypeError, r"names: expected strings, got 7 \(int\)"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
def test_wrong_arguments_are_refused(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        label_picker(*arguments)


def test_one_feature_has_a_place_too() -> None:
    assert isinstance(label_picker(IMAGES, FEATURES[:, :1], LABELS), Figure)


# --- numbers --------------------------------------------------------------------------------------


@site
def test_it_answers_as_the_module_does(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    for seed in range(25):
        generator = torch.Generator().manual_seed(seed)
        count, width, classes = (
            int(torch.randint(low, high, (), generator=generator))
            for low, high in ((4, 12), (1, 9), (2, 5))
        )
        rows = torch.randn(count, width, generator=generator, dtype=torch.float64)
        labels = torch.randint(classes, (count,), generator=generator)
        chosen = torch.randperm(count, generator=generator)[: 1 + seed % (count - 1)]
        means = tr.class_means(rows[chosen], labels[chosen], classes)
        answers = tr.nearest_mean(rows, means)
        others = torch.ones(count, dtype=torch.bool)
        others[chosen] = False
        some = torch.randperm(count, generator=generator)[: seed % count]
        asked = some[others[some]]
        case = {
            "rows": rows.tolist(),
            "labels": labels.tolist(),
            "chosen": chosen.tolist(),
            "classes": classes,
            "some": some.tolist(),
        }
        got = core(
            page,
            "(() => { const answers = core.answers(a.rows, a.labels, a.chosen, a.classes);"
            " return { answers, means: core.means(a.rows, a.labels, a.chosen, a.classes),"
            " score: core.right(answers, a.labels, a.chosen, a.some) }; })()",
            case,
        )
        assert got["answers"] == answers.tolist()
        right = int((answers == labels)[asked].sum())
        assert got["score"] == {"asked": len(asked), "right": right}
        for mine, theirs in zip(got["means"], means, strict=True):
            assert (mine is None) == bool(theirs.isnan().any())
            if mine is not None:
                assert mine == pytest.approx(theirs.tolist(), rel=1e-10, abs=1e-12)


@site
def test_ties_and_classes_without_labels(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    assert core(page, "core.nearest([1], [[2], [0], null])", None) == 0
    assert core(page, "core.nearest([1], [null, null])", None) == -1


@site
def test_bright_pictures_are_brighter_in_the_middle(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    for height, width in ((4, 4), (5, 7), (16, 9)):
        images = torch.rand(9, height, width, generator=torch.Generator().manual_seed(width))
        pictures = [
            {"height": height, "width": width, "values": image.flatten().tolist()}
            for image in images
        ]
        bright = is_bright(images)
        assert 0 < bright.sum() < 9
        assert core(page, "core.tones(a)", pictures) == {
            "bright": bright.nonzero()[:, 0].tolist(),
            "dark": (~bright).nonzero()[:, 0].tolist(),
        }
    flat = {"height": 4, "width": 4, "values": [0.5] * 16}
    assert core(page, "core.tones([a])", flat) == {"bright": [], "dark": [0]}


@site
def test_the_closest_place_is_found_within_reach(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    places = [[0, 0], [10, 0], [10, 8]]
    for point, found in (([1, 1], 0), ([9, 3], 1), ([9, 5], 2), ([5, 0], 0), ([-9, 0], -1)):
        assert core(page, "core.closest(a[0], a[1], 6)", [places, point]) == found


@site
def test_features_arrive_as_they_are(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    packed = base64.b64encode(FEATURES.numpy().astype("<f4").tobytes()).decode("ascii")
    got = core(page, "core.rows(a, 6)", packed)
    assert torch.equal(torch.tensor(got, dtype=torch.float64), FEATURES.double())


@site
def test_chance_takes_one_of_each_and_leaves_one(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    labels, chosen = [0, 0, 0, 1, 1, 2, 2], [0, 3]
    found = set()
    for seed in range(40):
        drawn = core(page, f"core.oneMore(a[0], a[1], 3, {7919 * seed})", [labels, chosen])
        assert [labels[n] for n in drawn] == [0, 2]  # class 1 has one left, which stays
        assert not set(drawn) & set(chosen)
        found |= set(drawn)
    assert found == {1, 2, 5, 6}


# --- what is shown --------------------------------------------------------------------------------

SHADES = (IMAGES.flatten(1).double() * 255).round() / 255
BRIGHT = is_bright(SHADES.reshape(-1, 8, 8))


def expect_consistent(page: Page) -> dict[str, str]:
    """What it says is what the module answers for the same labels."""
    said = state(page)
    chosen = [] if said["chosen"] == "none" else [int(n) for n in said["chosen"].split(",")]
    picked = torch.tensor(chosen, dtype=torch.int64)
    others = torch.ones(len(LABELS), dtype=torch.bool)
    others[picked] = False
    for kind, rows in (("pixels", SHADES), ("features", FEATURES.double())):
        good = torch.zeros(len(LABELS), dtype=torch.bool)
        if chosen:
            means = tr.class_means(rows[picked], LABELS[picked], 3)
            good = (tr.nearest_mean(rows, means) == LABELS) & others
        assert said[kind] == str(int(good.sum()))
        assert page.locator(".parts").nth(int(kind == "features")).inner_text() == ", ".join(
            f"{name} ones {(good & tone).sum()} of {(others & tone).sum()}"
            for name, tone in (("bright", BRIGHT), ("dark", ~BRIGHT))
        )
    assert said["asked"] == str(int(others.sum()))
    scores = page.locator(".score").all_inner_texts()
    for score, kind in zip(scores, ("pixels", "features"), strict=True):
        assert score.startswith(f"{said[kind]} of {said['asked']} right")
    return said


@site
def test_the_shown_numbers_are_the_modules(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    assert expect_consistent(page)["chosen"] == "0,9,18"
    canvas = page.locator("canvas[tabindex]")
    for key in ("Enter", "ArrowRight", "Enter", "ArrowDown", " ", "ArrowRight", "Enter"):
        canvas.press(key)
        expect_consistent(page)
    assert state(page)["chosen"] == "1,9,13,14,18"
    for _ in range(10):
        page.get_by_role("button", name="One more of each").press("Enter")
        said = expect_consistent(page)
    assert said["asked"] == "3"  # one of each is left to ask about
    assert page.get_by_role("button", name="One more").get_attribute("aria-disabled") == "true"
    page.get_by_role("button", name="One of each").click()
    assert expect_consistent(page)["asked"] == "24"
    page.get_by_role("button", name="Start again").click()
    assert state(page) == {**state(page), "at": "0", "chosen": "0,9,18", "draws": "0"}


@site
def test_without_labels_nothing_is_right(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    canvas = page.locator("canvas[tabindex]")
    for at in (0, 9, 18):
        canvas.press("Home")
        while int(state(page)["at"]) < at:
            canvas.press("ArrowRight")
        canvas.press("Enter")
    said = expect_consistent(page)
    assert (said["chosen"], said["pixels"], said["features"]) == ("none", "0", "0")


@site
def test_a_tap_labels_and_another_takes_the_label_away(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    canvas = page.locator("canvas[tabindex]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    place = {"x": box["width"] * 4.5 / 12, "y": box["height"] / 6}
    canvas.click(position=place)
    said = expect_consistent(page)
    assert (said["at"], said["chosen"]) == ("4", "0,4,9,18")
    assert "picture 5 of 27, a 7, labelled" in host(page).locator(".live").inner_text().lower()
    assert page.get_by_role("button", name="Take this label away").count() == 1
    canvas.click(position=place)
    assert expect_consistent(page)["chosen"] == "0,9,18"
    canvas.click(position={"x": box["width"] - 4, "y": box["height"] - 4})  # no picture there
    assert state(page)["chosen"] == "0,9,18"


@site
def test_the_cursor_stays_inside(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    canvas = page.locator("canvas[tabindex]")
    canvas.press("ArrowLeft")
    canvas.press("ArrowUp")
    assert state(page)["at"] == "0"
    for _ in range(5):
        canvas.press("ArrowDown")
    canvas.press("ArrowRight")
    assert state(page)["at"] == "26"


@site
def test_the_mouse_points_without_labelling(book: Book):
    page = book.open(FIGURES["label_picker"].html)
    gallery, pixels, features = page.locator("canvas").all()
    gallery.scroll_into_view_if_needed()
    box = gallery.bounding_box()
    before = [canvas.evaluate("c => c.toDataURL()") for canvas in (pixels, features)]
    gallery.hover(position={"x": box["width"] * 7.5 / 12, "y": box["height"] / 6})
    assert state(page) == {**state(page), "at": "0", "over": "7", "chosen": "0,9,18"}
    after = [canvas.evaluate("c => c.toDataURL()") for canvas in (pixels, features)]
    assert all(a != b for a, b in zip(before, after, strict=True))  # it is marked in both maps
    page.mouse.move(1, 1)
    assert state(page)["over"] == "none"


@site
@pytest.mark.parametrize("kind", ["pixels", "features"])
def test_a_tap_on_a_map_chooses_a_picture_without_labelling(book: Book, kind: str):
    page = book.open(FIGURES["label_picker"].html)
    canvas = page.locator("canvas").nth(1 + (kind == "features"))
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    places = torch.tensor(_flat(SHADES if kind == "pixels" else FEATURES.double()))
    far = (places[:, None] - places).norm(dim=-1) + torch.eye(len(places))
    lonely = int(far.amin(1).argmax())  # so that no other is as near to the finger
    side = min(box["width"], box["height"]) - 32
    x, y = places[lonely].tolist()
    place = {
        "x": (box["width"] - side) / 2 + x * side,
        "y": (box["height"] + side) / 2 - y * side,
    }
    canvas.hover(position=place)
    assert state(page)["over"] == str(lonely)
    canvas.click(position=place)
    assert state(page) == {**state(page), "at": str(lonely), "chosen": "0,9,18"}
    assert f"Picture {lonely + 1} of 27" in host(page).locator(".live").inner_text()


@site
def test_a_phone_has_larger_pictures_in_fewer_columns(book: Book):
    page = book.open(FIGURES["label_picker"].html, viewport={"width": 360, "height": 800})
    canvas = page.locator("canvas[tabindex]")
    box = canvas.bounding_box()
    assert box["width"] / 6 >= 44
    assert box["height"] == pytest.approx(box["width"] * 5 / 6, abs=1)  # 27 in five rows
    canvas.press("ArrowDown")
    assert state(page)["at"] == "6"
    canvas.click(position={"x": box["width"] * 1.5 / 6, "y": box["height"] * 2.5 / 5})
    assert expect_consistent(page)["at"] == "13"
    page.set_viewport_size({"width": 800, "height": 900})
    canvas.press("ArrowUp")
    assert state(page)["at"] == "1"
