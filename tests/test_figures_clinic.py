"""The figure to touch of the chapter `clinic`, on pages in a real browser."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor
from torch.nn import functional as F

from browsing import Book, core, slide, state
from course_lib.clinic import first_loss, softmax_floor
from course_lib.figures.clinic import loss_fingerprints

site = pytest.mark.site


def scans(count: int, seed: int = 0, size: int = 4) -> tuple[Tensor, Tensor]:
    """Ten patterns with noise on them."""
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.rand(10, 1, size, size, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(10, (count,), generator=generator)
    noise = torch.rand(count, 1, size, size, generator=generator)
    return (patterns[labels] + noise) / 2, labels


TRAIN, VALIDATION = scans(100), scans(60, seed=1)
SHOWN = loss_fingerprints(TRAIN, VALIDATION)

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {"loss_fingerprints": SHOWN}
LARGEST = [loss_fingerprints(scans(400, size=8), scans(380, size=8))]
STEPS = 120


def new_patient(page: Page) -> None:
    page.get_by_role("button", name="A patient I do not know").click()
    slide(page, "Step size", 9)
    page.get_by_label("Your diagnosis").select_option("twice")
    page.get_by_role("button", name="That is my diagnosis").click()


WIDEN = {"loss_fingerprints": new_patient}


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "validation", "error", "message"),
    [
        ((TRAIN[0][:, 0], TRAIN[1]), VALIDATION, ValueError, "train: expected 4 dimensions"),
        ((TRAIN[0].byte(), TRAIN[1]), VALIDATION, TypeError, "train: expected a floating"),
        ((TRAIN[0].expand(-1, 3, 4, 4), TRAIN[1]), VALIDATION, ValueError, "train: expected shape"),
        ((TRAIN[0], TRAIN[1][:-1]), VALIDATION, ValueError, "train labels: expected shape"),
        ((TRAIN[0], TRAIN[1].int()), VALIDATION, TypeError, "train labels: expected torch.int64"),
        ((TRAIN[0], TRAIN[1] + 5), VALIDATION, ValueError, "train labels: expected 0 to 9"),
        ((TRAIN[0] * 2, TRAIN[1]), VALIDATION, ValueError, r"train: expected values in \[0, 1\]"),
        ((TRAIN[0] * math.nan, TRAIN[1]), VALIDATION, ValueError, "train: expected values in"),
        (scans(30), VALIDATION, ValueError, "train: expected a multiple of 20"),
        (scans(420), VALIDATION, ValueError, "train: expected 1 to 400 scans"),
        (TRAIN, scans(0), ValueError, "validation: expected 1 to 400 scans"),
        (TRAIN, scans(20, size=5), ValueError, r"validation: expected scans of shape \(1, 4, 4\)"),
        (scans(400, size=8), scans(400, size=8), ValueError, "at most 50000 pixels"),
    ],
)
def test_wrong_scans_are_refused(
    train: Any, validation: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        loss_fingerprints(train, validation)


# --- the runs are those that torch makes of the same mistakes -------------------------------------

MISTAKES = (
    "none", "softmax", "uncleared", "cleared", "uphill", "start", "bytes", "twice", "shuffled",
    "twenty",
)  # fmt: skip


def by_torch(mistake: str, lr: float, steps: int) -> dict[str, Any]:
    """The run with autograd, from the bytes that the figure holds."""
    scale = {"bytes": 255.0, "twice": 1 / 255}.get(mistake, 1.0)

    def rows(images: Tensor) -> Tensor:
        pixels = (images.flatten(1).double() * 255).round() / 255 * scale
        return torch.cat([pixels, pixels.new_ones(len(pixels), 1)], 1)

    inputs, labels = rows(TRAIN[0]), TRAIN[1]
    if mistake == "shuffled":
        labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    shape = inputs.shape[1], 20 if mistake == "twenty" else 10
    weight = torch.zeros(shape, dtype=torch.float64)
    if mistake == "start":
        count = torch.arange(weight.numel(), dtype=torch.float64)
        weight = 3 * torch.sin(13 * count).reshape(shape)
    weight.requires_grad_()

    def loss(at: Tensor) -> Tensor:
        scores = inputs[at] @ weight
        return F.cross_entropy(scores.softmax(1) if mistake == "softmax" else scores, labels[at])

    losses, everything = [], torch.arange(len(inputs))
    optimizer = torch.optim.SGD([weight], lr=lr, maximize=mistake == "uphill")
    for step in range(steps):
        losses.append(loss(everything).item())
        if mistake != "uncleared":
            optimizer.zero_grad()
        loss((torch.arange(20) + 20 * step) % len(inputs)).backward()
        if mistake == "cleared":
            optimizer.zero_grad()
        optimizer.step()
    losses.append(loss(everything).item())

    def right(inputs: Tensor, labels: Tensor) -> float:
        return ((inputs @ weight).argmax(1) == labels).double().mean().item()

    ends = right(inputs, labels), right(rows(VALIDATION[0]), VALIDATION[1])
    return {"losses": losses, "train": ends[0], "validation": ends[1]}


RUN = """core.run({ ...a.data, train: core.unpack(a.data.train),
  validation: core.unpack(a.data.validation) }, a.mistake, a.lr, a.steps)"""


def data_of(page: Page) -> Any:
    """What the figure was given, from its script."""
    script = page.locator(".course-figure script").text_content() or ""
    line = next(line for line in script.splitlines() if line.startswith("const setup = "))
    return page.evaluate(f"({line.removeprefix('const setup = ').removesuffix(';')}).data")


@site
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_run_is_that_of_torch(book: Book, mistake: str) -> None:
    page = book.open(SHOWN.html)
    data = data_of(page)
    for lr in (0.05, 1.0):
        # Rounding grows where a run is wild: few steps there, all of them elsewhere.
        steps = 8 if mistake in ("bytes", "uphill") else 60
        expected = by_torch(mistake, lr, steps)
        found = core(page, RUN, {"data": data, "mistake": mistake, "lr": lr, "steps": steps})
        assert found["losses"] == pytest.approx(expected["losses"], rel=1e-6, abs=1e-9)
        assert found["train"] == pytest.approx(expected["train"])
        assert found["validation"] == pytest.approx(expected["validation"])


@site
def test_the_fingerprints_are_those_of_the_chapter(book: Book) -> None:
    page = book.open(SHOWN.html)
    data = data_of(page)

    def losses(mistake: str, lr: float = 1.0, steps: int = 40) -> list[float]:
        given = {"data": data, "mistake": mistake, "lr": lr, "steps": steps}
        return core(page, RUN, given)["losses"]  # type: ignore[index]

    assert losses("none")[0] == pytest.approx(first_loss(10))
    assert losses("twenty")[0] == pytest.approx(first_loss(20))
    assert losses("cleared") == pytest.approx([first_loss(10)] * 41)
    assert softmax_floor(10) < min(losses("softmax", 10.0, 120)) < softmax_floor(10) + 0.5
    assert losses("uphill")[1] > losses("uphill")[0]


# --- what the reader does -------------------------------------------------------------------------


@site
def test_the_table_says_what_the_curves_show(book: Book) -> None:
    page = book.open(SHOWN.html)
    page.get_by_label("Mistake", exact=True).select_option("twenty")
    expected = [by_torch(name, 1.0, STEPS) for name in ("none", "twenty")]
    rows = page.locator("tbody tr").all_inner_texts()
    for row, pick in zip(rows[:3], (lambda run: run[0], min, max), strict=True):
        numbers = [float(cell) for cell in row.split("\t")[1:]]
        assert numbers == pytest.approx([pick(run["losses"]) for run in expected], abs=6e-4)
    for row, part in zip(rows[4:], ("train", "validation"), strict=True):
        shares = [float(cell.removesuffix(" %")) for cell in row.split("\t")[1:]]
        assert shares == pytest.approx([100 * run[part] for run in expected], abs=0.51)
    assert float(state(page)["train"]) == pytest.approx(expected[1]["train"], abs=1e-4)


@site
def test_the_cursor_reads_the_curves(book: Book) -> None:
    page = book.open(SHOWN.html)
    expected = [by_torch(name, 1.0, STEPS)["losses"] for name in ("none", "softmax")]
    canvas = page.locator("canvas")
    for key, cursor in (("ArrowRight", 41), ("ArrowDown", 51), ("ArrowLeft", 50), ("ArrowUp", 40)):
        canvas.press(key)
        shown = state(page)
        assert int(shown["cursor"]) == cursor
        assert float(shown["reference"]) == pytest.approx(expected[0][cursor], abs=1e-5)
        assert float(shown["loss"]) == pytest.approx(expected[1][cursor], abs=1e-5)
    for _ in range(5):
        canvas.press("ArrowUp")
    assert state(page)["cursor"] == "0"
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 11, box["y"] + 50)
    assert state(page)["cursor"] == str(STEPS)


@site
def test_a_step_size_is_a_run_of_its_own(book: Book) -> None:
    page = book.open(SHOWN.html)
    slide(page, "Step size", 2)
    assert state(page)["lr"] == "0.05"
    page.locator("canvas").press("ArrowRight")
    losses = by_torch("softmax", 0.05, 41)["losses"]
    assert float(state(page)["loss"]) == pytest.approx(losses[41], abs=1e-5)


@site
def test_exactly_one_diagnosis_fits_a_patient(book: Book) -> None:
    page = book.open(SHOWN.html)
    live = page.locator("[aria-live=polite]")
    judge = page.get_by_role("button", name="That is my diagnosis")
    for _ in range(3):
        page.get_by_role("button", name="A patient I do not know").click()
        assert state(page)["patient"] == "hidden"
        found = []
        for tries, mistake in enumerate(MISTAKES, start=1):
            page.get_by_label("Your diagnosis").select_option(mistake)
            assert state(page)["tries"] == str(tries - 1)
            assert state(page)["patient"] == "hidden"
            judge.click()
            judge.dispatch_event("click")  # no second try with the same diagnosis
            assert state(page)["tries"] == str(tries)
            if live.inner_text().startswith("The curves agree"):
                found.append(mistake)
                assert state(page)["patient"] == mistake
                assert state(page)["loss"] == state(page)["reference"]
            else:
                assert live.inner_text().startswith("No: the patient's")
                assert state(page)["patient"] == "hidden"
        assert len(found) == 1
    page.get_by_role("button", name="Back to the sound run").click()
    assert state(page)["patient"] == "nobody"
    assert page.get_by_label("Mistake", exact=True).count() == 1


@site
def test_a_choice_stays_hidden_until_it_is_a_diagnosis(book: Book) -> None:
    page = book.open(SHOWN.html)
    judge = page.get_by_role("button", name="That is my diagnosis")
    judge.dispatch_event("click")  # there is no patient yet
    assert state(page)["tries"] == "0"
    slide(page, "Step size", 9)
    page.get_by_role("button", name="A patient I do not know").click()
    assert state(page)["lr"] == "1"
    sound = by_torch("none", 1.0, STEPS)
    for mistake in ("twenty", "uncleared", "none", "twenty"):
        page.get_by_label("Your diagnosis").select_option(mistake)
        assert float(state(page)["loss"]) == pytest.approx(sound["losses"][40], abs=1e-5)
        assert page.locator("thead th").all_inner_texts() == ["the patient", "the sound run"]
    judge.click()
    assert float(state(page)["loss"]) == pytest.approx(
        by_torch("twenty", 1.0, STEPS)["losses"][40], abs=1e-5
    )
    assert page.locator("thead th").all_inner_texts() == ["the patient", "your choice"]
    slide(page, "Step size", 5)
    assert page.locator("thead th").all_inner_texts() == ["the patient", "the sound run"]
