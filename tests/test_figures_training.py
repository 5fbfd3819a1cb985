"""The figures to touch of the chapter `training`, on pages in a real browser."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Page
from torch import Tensor

from browsing import Book, core, host, number, painted, slide, state
from course_lib.figures.training import loss_surface, training_film

site = pytest.mark.site


def samples(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """One feature of two classes that overlap, far from zero and not of unit spread."""
    generator = torch.Generator().manual_seed(seed)
    target = (torch.arange(count) % 2).double()
    feature = 4 + 1.2 * target + torch.randn(count, generator=generator, dtype=torch.float64)
    return feature, target


def pictures(frames: int, count: int, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(frames, count, size, size, generator=generator)


def fall(frames: int, late: float) -> list[float]:
    return [late + 2 / (1 + at) for at in range(frames)]


SAMPLES = samples(60)
FILMED = pictures(8, 10, 5)
CURVES = {"training": fall(8, 0.1), "validation": fall(8, 0.25)}

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {
    "loss_surface": loss_surface(*SAMPLES, "3 or 8?"),
    "training_film": training_film(CURVES, FILMED, names=[str(n) for n in range(10)]),
}

LARGEST = [
    loss_surface(*samples(200)),
    training_film({name: fall(75, 0.5) for name in "abc"}, pictures(75, 8, 10)),
]


def diverge(page: Page) -> None:
    page.get_by_label("Beside it").select_option("Nesterov")
    slide(page, "Step size", 56)


WIDEN = {"loss_surface": diverge}


# --- without a browser ----------------------------------------------------------------------------

ONES = torch.ones(4)


@pytest.mark.parametrize(
    ("feature", "target", "error", "message"),
    [
        ([0.0, 1.0], ONES, TypeError, "feature: expected a tensor"),
        (torch.arange(4), ONES, TypeError, "feature: expected a floating dtype"),
        (torch.zeros(2, 2), ONES, ValueError, "feature: expected 1 dimensions"),
        (torch.arange(4.0), ONES[:3], ValueError, r"target: expected shape \(4\)"),
        (torch.zeros(1), ONES[:1], ValueError, "feature: expected 2 to 200 samples"),
        (*samples(201), ValueError, "feature: expected 2 to 200 samples"),
        (torch.ones(4), ONES, ValueError, "feature: expected finite numbers that differ"),
        (torch.tensor([0, math.nan, 1, 2]), ONES, ValueError, "feature: expected finite numbers"),
        (torch.arange(4.0), 2 * ONES, ValueError, "target: expected 0 or 1"),
        (torch.arange(4.0), ONES, ValueError, "target: expected both 0 and 1"),
        (
            torch.arange(4.0),
            torch.tensor([1, 1, 0, 0]),
            ValueError,
            "feature: expected classes that no threshold separates",
        ),
    ],
)
def test_wrong_samples_are_refused(
    feature: Any, target: Tensor, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        loss_surface(feature, target)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pictures": FILMED[0]}, ValueError, "pictures: expected 4 dimensions"),
        ({"pictures": FILMED.long()}, TypeError, "pictures: expected a floating dtype"),
        ({"pictures": FILMED[:1]}, ValueError, "pictures: expected 2 to 100 frames"),
        ({"pictures": torch.zeros(101, 1, 2, 2)}, ValueError, "expected 2 to 100 frames"),
        ({"pictures": torch.zeros(8, 1, 100, 100)}, ValueError, "at most 60,000 numbers"),
        ({"pictures": FILMED * math.inf}, ValueError, "pictures: expected finite numbers"),
        ({"curves": {}}, ValueError, "curves: expected one to three"),
        ({"curves": {"a": [1.0] * 7}}, ValueError, r"curves\['a'\]: expected 8 finite numbers"),
        ({"curves": {"a": [math.nan] * 8}}, ValueError, r"curves\['a'\]: expected 8 finite"),
        ({"curves": {"a": [-1.0] * 8}}, ValueError, "of at least 0"),
        ({"names": ["a"]}, ValueError, "names: expected 10, got 1"),
        ({"ticks": [1, 2]}, ValueError, "ticks: expected 8, got 2"),
    ],
)
def test_a_wrong_film_is_refused(changes: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        training_film(**({"curves": CURVES, "pictures": FILMED} | changes))


# --- the surfaces and the steps are torch's -------------------------------------------------------


def bent_valley(p: Tensor) -> Tensor:
    return (1 - p[0]) ** 2 + 10 * (p[1] - p[0] ** 2) ** 2


SURFACES: dict[str, Callable[[Tensor], Tensor]] = {
    "long valley": lambda p: p[0] ** 2 / 2 + 12.5 * p[1] ** 2,
    "curved valley": bent_valley,
    "saddle": lambda p: p[0] ** 2 / 2 + (p[1] ** 2 - 1) ** 2 / 4,
    "many minima": lambda p: (p**2 / 4 + 0.3 * (1 - torch.cos(3 * p))).sum(),
}

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "SGD": lambda p, lr, mu, wd: torch.optim.SGD(p, lr, weight_decay=wd),
    "momentum": lambda p, lr, mu, wd: torch.optim.SGD(p, lr, momentum=mu, weight_decay=wd),
    "Nesterov": lambda p, lr, mu, wd: torch.optim.SGD(
        p, lr, momentum=mu, weight_decay=wd, nesterov=True
    ),
    "RMSprop": lambda p, lr, mu, wd: torch.optim.RMSprop(p, lr, weight_decay=wd),
    "Adam": lambda p, lr, mu, wd: torch.optim.Adam(p, lr, betas=(mu, 0.999), weight_decay=wd),
    "AdamW": lambda p, lr, mu, wd: torch.optim.AdamW(p, lr, betas=(mu, 0.999), weight_decay=wd),
}


@site
@pytest.mark.parametrize("name", SURFACES)
def test_a_surface_has_the_gradient_that_autograd_finds(book: Book, name: str):
    page = book.open(FIGURES["loss_surface"].html)
    generator = torch.Generator().manual_seed(1)
    points = 4 * torch.rand(20, 2, generator=generator, dtype=torch.float64) - 2
    got = core(
        page,
        f"a.map(p => [core.surfaces['{name}'].loss(p), ...core.surfaces['{name}'].gradient(p)])",
        points.tolist(),
    )
    for point, (loss, *gradient) in zip(points.requires_grad_(), got, strict=True):
        truth = SURFACES[name](point)
        (slope,) = torch.autograd.grad(truth, points)
        assert loss == pytest.approx(truth.item(), abs=1e-12, rel=1e-12)
        row = slope[slope.abs().sum(1) > 0][0]
        torch.testing.assert_close(torch.tensor(gradient, dtype=torch.float64), row)
    marked = "(one => one.lowest.map(one.loss))(core.surfaces[a])"
    assert core(page, marked, name) == ([0, 0] if name == "saddle" else [0])


@site
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_path_is_torch_s(book: Book, optimizer: str):
    page = book.open(FIGURES["loss_surface"].html)
    generator = torch.Generator().manual_seed(2)
    for surface, loss in SURFACES.items():
        for momentum in (0.5, 0.9, 0.99):
            for decay in (0.0, 0.1, 1.0):
                rate = 0.002 + 0.03 * float(torch.rand((), generator=generator))
                start = 2 * torch.rand(2, generator=generator, dtype=torch.float64) - 1
                settings = {"rate": rate, "momentum": momentum, "decay": decay}
                path = core(
                    page,
                    f"core.path(core.surfaces['{surface}'], '{optimizer}', a[0], a[1], 50)",
                    [settings, start.tolist()],
                )
                point = start.clone().requires_grad_()
                theirs = OPTIMIZERS[optimizer]([point], rate, momentum, decay)
                expected = [start]
                for _ in range(
                    50
                ):  # on the bent valley rounding errors grow tenfold every few steps
                    theirs.zero_grad()
                    loss(point).backward()
                    theirs.step()
                    expected.append(point.detach().clone())
                ours = torch.tensor(path["points"], dtype=torch.float64)
                truth = torch.stack(expected)[: len(ours)]
                torch.testing.assert_close(ours, truth, rtol=1e-8, atol=1e-8)
                assert path["diverged"] == (len(ours) < 51)
                if path["diverged"]:
                    assert not loss(truth[-1]) < 1e6 * (1 + loss(start))


@site
def test_the_classifier_s_loss_is_the_cross_entropy(book: Book):
    page = book.open(FIGURES["loss_surface"].html)
    feature, target = samples(30, seed=5)
    data = {"feature": feature.tolist(), "target": target.tolist()}
    for values in ([0.0, 0.0], [0.7, -3.0], [-40.0, 30.0], [300.0, 100.0]):
        point = torch.tensor(values, dtype=torch.float64, requires_grad=True)
        truth = F.binary_cross_entropy_with_logits(point[0] * feature + point[1], target)
        (slope,) = torch.autograd.grad(truth, point)
        got = core(
            page,
            "(one => [one.loss(a.at), ...one.gradient(a.at)])(core.classifier(a))",
            data | {"at": values},
        )
        ours = torch.tensor(got, dtype=torch.float64)
        torch.testing.assert_close(ours, torch.cat([truth.detach()[None], slope]))


def test_the_maps_of_the_classifier_hold_its_lowest_point():
    feature, target = SAMPLES
    setup = re.search("^const setup = (.*);$", FIGURES["loss_surface"].html, re.M)
    assert setup is not None
    data = json.loads(setup[1])["data"]["classifiers"]
    standard = (feature - feature.mean()) / feature.std(correction=0)
    assert list(data) == ["3 or 8? as it is", "3 or 8? standardised"]
    for found, inputs in zip(data.values(), (feature, standard), strict=True):
        torch.testing.assert_close(
            torch.tensor(found["feature"]).double(), inputs, rtol=0, atol=1e-6
        )
        assert found["target"] == target.tolist()
        low, high = torch.tensor(found["low"]), torch.tensor(found["high"])
        assert (low < 0).all()
        assert (high > 0).all()
        lowest = torch.where(low + high > 0, high, low)  # beyond it the map reaches as far as ...
        reach = torch.where(low + high > 0, -low, high)  # ... beyond 0, where it starts
        assert (reach >= 0.5).all()
        point = (lowest - reach * lowest.sign()).double().requires_grad_()
        assert found["lowest"] == [pytest.approx(point.tolist(), abs=1e-6)]
        loss = F.binary_cross_entropy_with_logits(point[0] * inputs + point[1], target)
        (slope,) = torch.autograd.grad(loss, point)
        assert slope.abs().max() < 1e-5


# --- what is shown --------------------------------------------------------------------------------


@site
def test_the_shown_ball_is_where_torch_puts_it(book: Book):
    page = book.open(FIGURES["loss_surface"].html)
    page.get_by_label("Surface").select_option("curved valley")
    page.get_by_label("Optimiser").select_option("AdamW")
    slide(page, "Step size", 22)
    slide(page, "Momentum or β₁", 1)
    slide(page, "Weight decay", 3)
    page.get_by_role("button", name="Step", exact=True).click()
    said = state(page)
    assert (said["steps"], said["momentum"], said["decay"]) == ("41", "0.5", "0.1")
    start = [float(said["startx"]), float(said["starty"])]
    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.AdamW([point], float(said["rate"]), betas=(0.5, 0.999), weight_decay=0.1)
    for _ in range(41):
        theirs.zero_grad()
        bent_valley(point).backward()
        theirs.step()
    assert [float(said["x"]), float(said["y"])] == pytest.approx(point.tolist(), abs=1e-7)
    assert float(said["loss"]) == pytest.approx(bent_valley(point).item(), rel=1e-6)
    spoken = page.locator(".live").inner_text()
    assert f"AdamW, step 41: loss {bent_valley(point).item():.3f}" in spoken


@site
def test_the_valley_is_lost_where_the_theory_says(book: Book):
    """On a bowl of curvature 25 plain steps shrink the ball's height below 2 / 25 and not above."""
    page = book.open(FIGURES["loss_surface"].html)
    for place in range(24, 36):
        slide(page, "Step size", place)
        page.get_by_role("button", name="Back to the start").click()
        for _ in range(3):
            page.get_by_role("button", name="100 steps").click()
        said = state(page)
        assert (said["diverged"] == "true") == (float(said["rate"]) > 2 / 25)
    assert "SGD diverged: after " in page.locator(".live").inner_text()
    assert "The step is too large." in page.locator("canvas").first.get_attribute("aria-label")
    slide(page, "Step size", 56)
    assert state(page)["diverged"] == "true"


@site
def test_momentum_leaves_the_hollow_that_plain_steps_end_in(book: Book):
    page = book.open(FIGURES["loss_surface"].html)
    page.get_by_label("Surface").select_option("many minima")
    slide(page, "Step size", 27)
    ends = {}
    for name in ("SGD", "momentum"):
        page.get_by_label("Optimiser").select_option(name)
        page.get_by_role("button", name="Back to the start").click()
        for _ in range(2):
            page.get_by_role("button", name="100 steps").click()
        ends[name] = float(state(page)["loss"])
    assert ends["SGD"] > 1
    assert ends["momentum"] < 0.01


@site
def test_a_second_optimiser_runs_beside_the_first(book: Book):
    page = book.open(FIGURES["loss_surface"].html)
    before = painted(page)
    page.get_by_label("Beside it").select_option("Adam")
    assert state(page)["other"] == "Adam"
    assert all(a != b for a, b in zip(painted(page), before, strict=True))
    spoken = page.locator(".live").inner_text()
    assert "SGD, step 40: loss" in spoken
    assert "Adam, step 40: loss" in spoken
    shown = page.locator("label", has_text="Momentum or β₁").locator("strong")
    assert shown.inner_text() == "0.9"
    page.get_by_label("Beside it").select_option("RMSprop")
    assert shown.inner_text() == "not used"


@site
def test_a_click_drops_the_ball_and_keys_move_its_start(book: Book):
    page = book.open(FIGURES["loss_surface"].html)
    chart = page.locator("canvas").first
    box = chart.bounding_box()
    chart.click(position={"x": 0.75 * box["width"], "y": 0.25 * box["height"]})
    said = state(page)
    assert float(said["startx"]) == pytest.approx(2, abs=0.05)
    assert float(said["starty"]) == pytest.approx(1, abs=0.05)
    assert said["playing"] == "true"
    page.wait_for_function(
        "() => / steps=([5-9]|[1-9][0-9]) /.test("
        "document.querySelector('.course-figure').dataset.state)"
    )
    page.get_by_role("button", name="Pause").click()
    stopped = state(page)
    assert stopped["playing"] == "false"
    page.wait_for_timeout(150)
    assert state(page) == stopped
    for key, (x, y) in {"ArrowRight": (0.2, 0), "ArrowUp": (0.2, 0.1)}.items():
        chart.press(key)
        assert float(state(page)["startx"]) == pytest.approx(2 + x, abs=0.1)
        assert float(state(page)["starty"]) == pytest.approx(1 + y, abs=0.06)
        assert state(page)["steps"] == stopped["steps"]
    chart.press("Enter")
    assert int(state(page)["steps"]) < 4
    assert state(page)["playing"] == "true"
    for key in ["ArrowLeft"] * 60:
        chart.press(key)
    assert float(state(page)["startx"]) == -4
    assert state(page)["playing"] == "false"


@site
def test_without_motion_the_whole_path_comes_at_once(book: Book):
    page = book.open(FIGURES["loss_surface"].html, reduced_motion="reduce")
    page.get_by_role("button", name="Back to the start").click()
    page.get_by_role("button", name="Play").click()
    assert (state(page)["steps"], state(page)["playing"]) == ("100", "false")


# --- the film -------------------------------------------------------------------------------------


@site
def test_the_film_s_pictures_are_the_tensor_s(book: Book):
    page = book.open(FIGURES["training_film"].html)
    limit = float(FILMED.abs().max())
    packed = (FILMED / limit * 127 + 127).round().to(torch.uint8)
    got = core(
        page,
        "core.decode(a).map(frame => frame.map(one => [...one]))",
        {
            **dict(zip(("frames", "count", "height", "width"), FILMED.shape, strict=True)),
            "limit": limit,
            "bytes": base64.b64encode(packed.numpy().tobytes()).decode(),
        },
    )
    shown = torch.tensor(got).view_as(FILMED)
    torch.testing.assert_close(shown, FILMED, rtol=0, atol=0.51 * limit / 127)
    assert f'"bytes": "{base64.b64encode(packed.numpy().tobytes()).decode()}"' in (
        FIGURES["training_film"].html
    )


@site
def test_the_film_turns_and_says_its_numbers(book: Book):
    page = book.open(FIGURES["training_film"].html)
    said = state(page)
    assert (said["frame"], said["frames"], said["playing"]) == ("7", "8", "false")
    for place in range(8):
        slide(page, "epoch", place)
        for n, (name, values) in enumerate(CURVES.items()):
            assert float(state(page)[f"curve{n}"]) == pytest.approx(values[place], abs=1e-6)
            spoken = page.locator(".live").inner_text().split(f"{name} ")[1]
            assert number(spoken.split(",")[0].rstrip(".")) == pytest.approx(
                values[place], abs=6e-4
            )
    forward, back = (page.get_by_role("button", name=name) for name in ("Forward", "Back"))
    forward.click()
    assert state(page)["frame"] == "0"
    back.click()
    assert state(page)["frame"] == "7"
    page.locator("canvas").first.press("ArrowLeft")
    assert state(page)["frame"] == "6"


@site
def test_the_film_plays_to_its_end_and_stops(book: Book):
    page = book.open(FIGURES["training_film"].html)
    page.get_by_role("button", name="Play").click()
    assert (state(page)["frame"], state(page)["playing"]) == ("0", "true")
    page.get_by_role("button", name="Pause").click()
    assert state(page)["playing"] == "false"
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(
        "() => / frames=8 .*playing=false/.test("
        "document.querySelector('.course-figure').dataset.state)"
    )
    assert state(page)["frame"] == "7"


@site
def test_the_film_plays_from_the_last_picture_but_one(book: Book):
    page = book.open(FIGURES["training_film"].html)  # the end of the film is shown at first
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(600)
    assert (state(page)["frame"], state(page)["playing"]) == ("7", "false")


@site
def test_a_reader_who_wants_calm_gets_a_slow_film(book: Book):
    page = book.open(FIGURES["training_film"].html, reduced_motion="reduce")
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(700)
    assert state(page)["frame"] == "0"
    assert host(page).get_attribute("data-state").endswith("playing=true")


def test_the_film_names_its_own_ticks():
    shown = training_film(CURVES, FILMED, ticks=range(10, 90, 10), axis="step", value="error")
    assert '"ticks": [10, 20, 30, 40, 50, 60, 70, 80]' in shown.html
    assert '"axis": "step"' in shown.html
    assert '"value": "error"' in shown.html
