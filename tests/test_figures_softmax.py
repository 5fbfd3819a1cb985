"""The figure to touch of the chapter `softmax`, on pages in a real browser."""

from __future__ import annotations

import math

import pytest
import torch
from playwright.sync_api import Page
from torch.nn import functional as F

from browsing import Book, core, host, number, slide, state
from course_lib import softmax as soft
from course_lib.figures.softmax import simplex

site = pytest.mark.site

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {"simplex": simplex(("3", "5", "8"))}
LARGEST = [simplex(("seventeen ab", "twelve chars", "fox & <b>cub"))]

DOUBLE = torch.float64


def numbers(text: str) -> torch.Tensor:
    return torch.tensor([float(part) for part in text.split(",")], dtype=DOUBLE)


def cases(count: int) -> list[dict[str, object]]:
    """Scores, a true class and a temperature; some far apart."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for n in range(count):
        scores = torch.randn(3, generator=generator, dtype=DOUBLE) * (1, 5, 300)[n % 3]
        found.append(
            {
                "z": scores.tolist(),
                "y": int(torch.randint(3, (), generator=generator)),
                "T": 0.25 + 3 * float(torch.rand((), generator=generator)),
            }
        )
    return found


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (("a", "b"), ValueError, "names: expected three different ones, got"),
        (("a", "b", "c", "d"), ValueError, "names: expected three different ones, got"),
        (("a", "b", "a"), ValueError, "names: expected three different ones, got"),
        (("a", "", "c"), ValueError, "names: expected 1 to 12 characters, got ''"),
        (("a", "b" * 13, "c"), ValueError, "names: expected 1 to 12 characters, got 'bbb"),
        ((1, 2, 3), TypeError, r"names: expected strings, got 1 \(int\)"),
    ],
)
def test_wrong_names_are_refused(names: tuple[object, ...], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        simplex(names)


# --- numbers --------------------------------------------------------------------------------------


@site
def test_it_computes_what_torch_computes(book: Book):
    page = book.open(FIGURES["simplex"].html)
    for case in cases(60):
        scores = torch.tensor(case["z"], dtype=DOUBLE, requires_grad=True)
        truth, temperature = torch.tensor(case["y"]), case["T"]
        loss = F.cross_entropy(scores / temperature, truth)
        (slope,) = torch.autograd.grad(loss, scores)
        expected = {
            "softmax": torch.softmax(scores / temperature, 0).tolist(),
            "loss": loss.item(),
            "gradient": slope.tolist(),
            "step": (scores - slope).tolist(),
        }
        got = core(
            page,
            "({softmax: core.softmax(a.z, a.T), loss: core.loss(a.z, a.y, a.T),"
            " gradient: core.gradient(a.z, a.y, a.T), step: core.step(a.z, a.y, a.T)})",
            case,
        )
        for name, value in expected.items():
            assert got[name] == pytest.approx(value, rel=1e-10, abs=1e-12), name


@site
def test_places_and_distributions_are_one_to_one(book: Book):
    page = book.open(FIGURES["simplex"].html)
    corners = core(page, "[[1,0,0],[0,1,0],[0,0,1]].map(core.place)", None)
    sides = [math.dist(corners[i], corners[j]) for i, j in ((0, 1), (1, 2), (2, 0))]
    assert sides == pytest.approx([1, 1, 1])
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        p = torch.rand(3, generator=generator, dtype=DOUBLE)
        p = (p / p.sum()).tolist()
        assert core(page, "core.distribution(core.place(a))", p) == pytest.approx(p)
    for outside in ([-1, -1], [2, 0.1], [0.5, 3]):
        p = core(page, "core.distribution(a)", outside)
        assert sum(p) == pytest.approx(1)
        assert min(p) == 0


@site
def test_scores_of_a_distribution_give_it_back(book: Book):
    page = book.open(FIGURES["simplex"].html)
    for case in cases(20)[::3]:  # those close together
        p = soft.softmax(torch.tensor(case["z"], dtype=DOUBLE), 0)
        scores = core(page, f"core.scores(a, {case['T']}, 100)", p.tolist())
        assert sum(scores) == pytest.approx(0)
        back = soft.softmax(torch.tensor(scores, dtype=DOUBLE) / case["T"], 0)
        torch.testing.assert_close(back, p.clamp(min=1e-3) / p.clamp(min=1e-3).sum())
    assert max(core(page, "core.scores([1, 0, 0], 4, 10)", None)) == 10


# --- what is shown --------------------------------------------------------------------------------


def expect_consistent(page: Page) -> dict[str, str]:
    said = state(page)
    scores, temperature = numbers(said["scores"]), float(said["temperature"])
    p = torch.softmax(scores / temperature, 0)
    torch.testing.assert_close(numbers(said["probabilities"]), p, rtol=0, atol=2e-4)
    loss = F.cross_entropy(scores / temperature, torch.tensor(int(said["truth"])))
    assert float(said["loss"]) == pytest.approx(loss.item(), abs=2e-3)
    cells = [number(cell) for cell in page.locator("tbody td span").all_inner_texts()]
    slopes = (p - F.one_hot(torch.tensor(int(said["truth"])), 3)) / temperature
    assert cells[0::2] == pytest.approx(p.tolist(), abs=1e-3)
    assert cells[1::2] == pytest.approx(slopes.tolist(), abs=2e-3)
    assert f"= {loss:.3f}"[:-1] in page.locator(".loss").inner_text()
    return said


@site
def test_the_shown_numbers_belong_together(book: Book):
    page = book.open(FIGURES["simplex"].html)
    expect_consistent(page)
    slide(page, "Score of 5", -35)
    slide(page, "Temperature", 27)
    page.get_by_label("True class").select_option("2")
    said = expect_consistent(page)
    assert (said["truth"], numbers(said["scores"]).tolist()) == ("2", [2.0, -3.5, 0.0])
    page.get_by_role("button", name="Take a step").click()
    assert expect_consistent(page)["steps"] == "1"


@site
def test_a_constant_changes_the_scores_and_nothing_else(book: Book):
    page = book.open(FIGURES["simplex"].html)
    before = state(page)
    for _ in range(12):
        page.get_by_role("button", name="Add 1").press("Enter")
    after = state(page)
    assert numbers(after["scores"]).tolist() == [10.0, 9.0, 8.0]  # and no further
    assert page.get_by_role("button", name="Add 1").get_attribute("aria-disabled") == "true"
    assert {k: v for k, v in after.items() if k != "scores"} == {
        k: v for k, v in before.items() if k != "scores"
    }


@site
def test_steps_go_downhill_and_slowly_where_it_is_sure_and_wrong(book: Book):
    page = book.open(FIGURES["simplex"].html)
    slide(page, "Score of 3", 80)
    losses, moved, places = (
        [float(state(page)["loss"])],
        [],
        [numbers(state(page)["probabilities"])],
    )
    for _ in range(30):
        page.get_by_role("button", name="Take a step").click()
        said = state(page)
        losses.append(float(said["loss"]))
        places.append(numbers(said["probabilities"]))
        moved.append(float((places[-1] - places[-2]).norm()))
    assert losses == sorted(losses, reverse=True)
    assert moved[0] < 0.02 < max(moved)
    assert said["steps"] == "30"
    page.get_by_label("True class").select_option("2")
    page.get_by_role("button", name="Start again").click()
    assert (state(page)["steps"], state(page)["truth"]) == ("0", "1")
    assert numbers(state(page)["scores"]).tolist() == [2.0, 1.0, 0.0]


@site
def test_a_tiny_probability_is_written_out(book: Book):
    page = book.open(FIGURES["simplex"].html)
    for score, shown in (
        (100, "loss = −log 4.54e−5 = 10.000"),
        (50, "loss = −log 0.00669 = 5.007"),
    ):
        for name, value in {"3": score, "5": 0, "8": -100}.items():
            slide(page, f"Score of {name}", value)
        assert page.locator(".loss").inner_text().startswith(shown)
    page.get_by_role("button", name="Take a step").click()
    assert page.locator(".loss").inner_text().endswith(", after 1 step")


@site
def test_the_point_goes_where_it_is_dragged(book: Book):
    page = book.open(FIGURES["simplex"].html)
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    centre = box["x"] + box["width"] / 2
    page.mouse.move(centre, box["y"] + box["height"] - 30)
    page.mouse.down()
    page.mouse.move(centre, box["y"] + box["height"] / 2, steps=4)
    middle = numbers(state(page)["probabilities"])
    page.mouse.move(centre, box["y"] + 4, steps=4)
    page.mouse.up()
    top = numbers(state(page)["probabilities"])
    assert float((middle[0] - middle[1]).abs()) < 0.02
    assert 0.3 < middle[2] < 0.7 < 0.99 < top[2]
    canvas.press("ArrowDown")
    assert numbers(state(page)["probabilities"])[2] < top[2]
    before = numbers(state(page)["probabilities"])
    canvas.press("ArrowRight")
    assert numbers(state(page)["probabilities"])[1] > before[1]


@site
def test_temperature_moves_the_point_to_the_middle_or_a_corner(book: Book):
    page = book.open(FIGURES["simplex"].html)
    surest = []
    for notch in (0, 16, 32):
        slide(page, "Temperature", notch)
        surest.append(float(numbers(state(page)["probabilities"]).max()))
    assert surest == sorted(surest, reverse=True)
    assert surest[0] > 0.95
    assert surest[2] < 0.45
    assert host(page).locator("canvas").get_attribute("aria-label").startswith("A triangle")
