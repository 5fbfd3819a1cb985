"""The figures to touch of the chapter `gan`, on pages in a real browser."""

from __future__ import annotations

import base64
import math
from functools import partial
from typing import Any

import pytest
import torch
from playwright.sync_api import Page
from torch import Tensor, nn
from torch.nn import functional as F

from browsing import Book, core, host, painted, slide, state
from course_lib import gan as topic
from course_lib.figures.gan import latent_plane, minimax_game
from course_lib.gan import ConditionalGenerator, Generator, attributes

site = pytest.mark.site


def trained(
    seed: int, *, latent: int = 32, size: int = 8, width: int = 32, labels: int = 0
) -> Generator | ConditionalGenerator:
    """A generator with running means and variances of its own."""
    torch.manual_seed(seed)
    if labels:
        encoder = nn.Embedding(labels, 12)
        model: Any = ConditionalGenerator(encoder, latent, size=size, width=width)
    else:
        model = Generator(latent, size=size, width=width)
    for _ in range(3):
        told = (torch.randint(labels, (64,)),) if labels else ()
        model(torch.randn(64, latent), *told)
    with torch.no_grad():
        layers = (model.generator if labels else model).layers
        for layer in layers:
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.uniform_(-0.5, 0.5)
        layers[-2].weight.mul_(6)
    return model.eval()


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def axes(seed: int, latent: int = 32) -> dict[str, Tensor]:
    return {name: normal(seed + n, latent) for n, name in enumerate(("slant", "ink"))}


ASKED = trained(0, labels=10)
STARTS = normal(1, 3, 32)
PROMPTS = {f"a {digit}": torch.tensor(digit) for digit in range(10)}
HILLS = [(0.3, -2.5, 0.4), (0.3, -1, 0.3), (0.2, 1, 0.5), (0.2, 3, 1.5)]

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {
    "minimax_game": minimax_game(),
    "latent_plane": latent_plane(ASKED, STARTS, axes(2), PROMPTS),
}
LARGEST = [
    minimax_game({f"{name * 20}": HILLS for name in "abcd"}),
    latent_plane(
        trained(1, width=48, labels=24),
        normal(3, 6, 32)[:2],
        axes(4),
        {f"{number:24}": torch.tensor(number) for number in range(6)},
    ),
]


# --- without a browser ----------------------------------------------------------------------------


def test_wrong_arguments_are_refused_by_name() -> None:
    hill = [(1, 0, 1)]
    cases: list[tuple[dict[str, Any], str]] = [
        ({"sets": {}}, "sets: expected 1 to 4, got 0"),
        ({"sets": dict.fromkeys("abcde", hill)}, "sets: expected 1 to 4, got 5"),
        ({"sets": {"": hill}}, "expected names of 1 to 24"),
        ({"sets": {"a" * 25: hill}}, "expected names of 1 to 24"),
        ({"sets": {"a": []}}, "sets\\['a'\\]: expected 1 to 4 components, got 0"),
        ({"sets": {"a": [(0.2, 0, 1)] * 5}}, "expected 1 to 4 components, got 5"),
        ({"sets": {"a": [(0.9, 0, 1)]}}, "weights that add up to 1"),
        ({"sets": {"a": [(1, 4.1, 1)]}}, "mean within 4 of 0"),
        ({"sets": {"a": [(1, 0, 0.1)]}}, "deviation of 0.2 to 2"),
        ({"sets": {"a": [(1, math.nan, 1)]}}, "mean within 4 of 0"),
        ({"sets": {"a": [(-1, 0, 1), (2, 0, 1)]}}, "weight above 0"),
        ({"start": (4.5, 1)}, "start: expected a mean within 4"),
        ({"start": (0, 3)}, "start: expected a mean within 4"),
    ]
    for given, words in cases:
        with pytest.raises(ValueError, match=words):
            minimax_game(**given)


def test_a_plane_that_does_not_fit_is_refused() -> None:
    good: dict[str, Any] = {
        "generator": ASKED,
        "starts": STARTS,
        "directions": axes(0),
        "conditions": PROMPTS,
    }
    many = {str(n): torch.tensor(n % 10) for n in range(25)}
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"starts": STARTS.int()}, TypeError, "starts: expected a floating dtype"),
        ({"starts": STARTS[0]}, ValueError, "starts: expected shape"),
        ({"starts": STARTS[:, :31]}, ValueError, "starts: expected shape"),
        ({"starts": STARTS[:0]}, ValueError, "starts: expected 1 to 6"),
        ({"starts": normal(0, 7, 32)}, ValueError, "starts: expected 1 to 6"),
        ({"directions": {"a": STARTS[0]}}, ValueError, "directions: expected two, got 1"),
        ({"directions": axes(0, 31)}, ValueError, r"directions\['slant'\]: expected shape"),
        ({"conditions": None}, ValueError, "conditions: expected 1 to 24"),
        ({"conditions": {}}, ValueError, "conditions: expected 1 to 24"),
        ({"conditions": many}, ValueError, "conditions: expected 1 to 24, got 25"),
        ({"generator": trained(0)}, ValueError, "conditions: expected none, got 10"),
        ({"conditions": {"a" * 25: torch.tensor(0)}}, ValueError, "at most 24 characters"),
        ({"generator": trained(0, width=64, labels=10)}, ValueError, "expected at most 27000"),
    ]
    for given, error, words in cases:
        with pytest.raises(error, match=words):
            latent_plane(**good | given)
    with torch.no_grad():
        vast = trained(0)
        vast.layers[-2].weight.mul_(1e6)
    with pytest.raises(ValueError, match="16 bits"):
        latent_plane(vast, STARTS, axes(0))


# --- the numbers of the game ----------------------------------------------------------------------

X = torch.arange(-240, 241, dtype=torch.float64) * 0.05
INSIDE = X.abs() <= 6.025
CENTRES = torch.arange(-4, 5, dtype=torch.float64)
PLAYERS = [(0.5, 0.7), (-2.5, 0.6), (3.0, 1.5), (-4.0, 0.2), (1.0, 2.0)]
LOSSES = ["saturating", "nonsaturating", "wasserstein"]


def mixture(rows: list[tuple[float, ...]]) -> Tensor:
    parts = [w * torch.exp(-(((X - m) / s) ** 2) / 2) / s for w, m, s in rows]
    return torch.stack(parts).sum(0) / math.sqrt(2 * math.pi)


def exact(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def score_at(x: Tensor, weights: Tensor) -> Tensor:
    """The discriminator's score, with as many features as there are weights."""
    features = [torch.ones_like(x), x / 2, x**2 / 8]
    features += [torch.exp(-((x - c) ** 2) / 0.98) for c in CENTRES]
    return sum(w * f for w, f in zip(weights, features, strict=False))


def slope_at(weights: Tensor) -> Tensor:
    x = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(score_at(x, weights).sum(), x, create_graph=True)
    return slope


def objective(p: Tensor, q: Tensor, weights: Tensor, loss: str) -> Tensor:
    score = score_at(X, weights)
    if loss != "wasserstein":
        return 0.05 * (p * F.logsigmoid(score) + q * F.logsigmoid(-score)).sum()
    steep = (slope_at(weights).abs() - 1).clamp(min=0)[INSIDE].square()
    return 0.05 * (score * (p - q)).sum() - 1000 / 12 * 0.05 * steep.sum()


def weights_of(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator, dtype=torch.float64)


GAME = """([rows, player, bumps, loss]) => ({
  p: host.core.density(rows), q: host.core.density([[1, ...player]]),
  features: host.core.features(bumps), loss })"""


def game(page: Page, expression: str, player: Any, bumps: bool, loss: str, *more: Any) -> Any:
    """Evaluate over a game, and over ``more`` as ``a[4]`` onwards."""
    return host(page).evaluate(
        f"(host, a) => {{ const core = host.core; const game = ({GAME})(a); "
        f"return {expression}; }}",
        [[list(row) for row in HILLS], list(player), bumps, loss, *more],
    )


@site
def test_densities_optimum_and_divergences_are_the_library_s(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    p = mixture(HILLS)
    for player in PLAYERS:
        q = mixture([(1, *player)])
        got = game(
            page,
            "[game.p, game.q, core.optimum(game.p, game.q), core.jensenShannon(game.p, game.q),"
            " core.wasserstein(game.p, game.q)]",
            player,
            False,
            "saturating",
        )
        for mine, theirs in zip(got[:2], (p, q), strict=True):
            torch.testing.assert_close(exact(mine), theirs)
        known = p + q > 1e-300
        best = topic.optimal_discriminator(p, q)
        torch.testing.assert_close(exact(got[2])[known], best[known])
        assert got[3] == pytest.approx(float(topic.jensen_shannon(p, q, 0.05)), abs=1e-12)
        cdf = (0.05 * (p - q).cumsum(0)).abs().sum() * 0.05
        assert got[4] == pytest.approx(float(cdf), abs=1e-10)
    # Two equal hills four apart: each grain of one is carried four.
    apart = core(page, "core.wasserstein(core.density([[1, 2, 0.5]]), core.density(a))",
                 [[1, -2, 0.5]])  # fmt: skip
    assert apart == pytest.approx(4, abs=1e-6)


@site
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bumps", [False, True])
def test_value_gradient_and_curvature_are_torch_s(book: Book, loss: str, bumps: bool) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    p = mixture(HILLS)
    for seed, player in enumerate(PLAYERS):
        q = mixture([(1, *player)])
        scale = 1 if loss == "wasserstein" else 0.3  # so that no probability is rounded to 1
        weights = (scale * weights_of(seed, 12 if bumps else 3)).requires_grad_()
        value = objective(p, q, weights, loss)
        (gradient,) = torch.autograd.grad(value, weights)
        bend = torch.autograd.functional.hessian(partial(objective, p, q, loss=loss), weights)
        got = game(
            page,
            "({ ...core.value(game, a[4]), ...core.derivatives(game, a[4]) })",
            player,
            bumps,
            loss,
            weights.tolist(),
        )
        assert got["value"] == pytest.approx(value.item(), rel=1e-10)
        torch.testing.assert_close(exact(got["gradient"]), gradient)
        torch.testing.assert_close(exact(got["curvature"]), -bend)
        if loss != "wasserstein":
            d = score_at(X, weights).sigmoid()
            ours = topic.value_function_density(p, q, d.detach(), 0.05)
            assert got["gained"] == pytest.approx(float(ours), rel=1e-10)


@site
@pytest.mark.parametrize("loss", LOSSES)
def test_the_generator_s_gradient_is_torch_s(book: Book, loss: str) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    z = torch.arange(-9, 9, 0.002, dtype=torch.float64)
    share = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * 0.002
    for seed, player in enumerate(PLAYERS[:3]):
        weights = weights_of(10 + seed, 12)
        mean, width = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in player)
        scores = score_at(mean + width * z, weights)
        each = {
            "saturating": F.logsigmoid(-scores),
            "nonsaturating": -F.logsigmoid(scores),
            "wasserstein": -scores,
        }[loss]
        wanted = torch.autograd.grad((share * each).sum(), (mean, width))
        got = game(
            page,
            "core.gradientG(game, a[4], ...a[1])",
            player,
            True,
            loss,
            weights.tolist(),
        )
        assert got == pytest.approx([float(w) for w in wanted], rel=1e-6, abs=1e-8)
        stepped = game(
            page, "core.stepG(game, a[4], ...a[1])", player, True, loss, weights.tolist()
        )
        new = [float(v) - 0.2 * g for v, g in zip(player, got, strict=True)]
        limits = ((-4, 4), (0.2, 2))
        clamped = [min(max(v, low), high) for v, (low, high) in zip(new, limits, strict=True)]
        assert stepped == pytest.approx(clamped, abs=1e-12)


@site
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_of_d_is_implicit_and_a_short_one_is_gradient_ascent(book: Book, loss: str) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    p, q = mixture(HILLS), mixture([(1, *PLAYERS[0])])
    weights = weights_of(3, 12).requires_grad_()
    (gradient,) = torch.autograd.grad(objective(p, q, weights, loss), weights)
    bend = torch.autograd.functional.hessian(lambda w: objective(p, q, w, loss), weights)
    for time in (1.0, 1e-6):
        got = game(
            page,
            "core.stepD(game, a[4], a[5])",
            PLAYERS[0],
            True,
            loss,
            weights.tolist(),
            time,
        )
        change = exact(got) - weights.detach()
        eye = torch.eye(12, dtype=torch.float64) / time
        torch.testing.assert_close(change, torch.linalg.solve(eye - bend, gradient))
    torch.testing.assert_close(change, time * gradient, rtol=1e-2, atol=1e-9)


@site
def test_the_best_parabola_against_one_hill_is_the_optimum(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    for mean, std in ((1.5, 0.6), (-1.0, 1.2)):
        got = host(page).evaluate(
            """(host, a) => {
              const core = host.core;
              const game = { p: core.density([[1, ...a]]), q: core.density([[1, 0.3, 0.9]]),
                features: core.features(false), loss: "saturating" };
              const best = core.bestD(game, [0, 0, 0]);
              return [best, core.value(game, best).value];
            }""",
            [mean, std],
        )
        p, q = mixture([(1, mean, std)]), mixture([(1, 0.3, 0.9)])
        seen = (p + q) > 1e-6
        shown = score_at(X, exact(got[0])).sigmoid()
        difference = (shown - topic.optimal_discriminator(p, q))[seen].abs().max()
        assert difference < 1e-4
        assert got[1] == pytest.approx(float(topic.value_at_optimum(p, q, 0.05)), abs=1e-8)


@site
def test_the_best_critic_has_slope_one_and_sees_the_distance(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    for player in PLAYERS:
        got = game(
            page,
            "[core.bestCritic(game.p, game.q), core.wasserstein(game.p, game.q)]",
            player,
            False,
            "wasserstein",
        )
        critic = exact(got[0])
        assert critic.diff().abs().max() < 0.05 + 1e-12
        seen = 0.05 * (critic * (mixture(HILLS) - mixture([(1, *player)]))).sum()
        assert float(seen) == pytest.approx(got[1], abs=0.03)


# --- the game by hand -----------------------------------------------------------------------------


def press(page: Page, name: str, times: int = 1) -> None:
    for _ in range(times):
        page.get_by_role("button", name=name, exact=True).click()


def number_of(page: Page, name: str) -> float:
    return float(state(page)[name])


def choose(page: Page, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).select_option(value)


@site
def test_steps_of_d_climb_to_the_bound_and_never_over_it(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    assert number_of(page, "reached") == pytest.approx(-math.log(4), abs=1e-6)
    slide(page, "Generator's mean", 50)
    before = number_of(page, "reached")
    for _ in range(12):
        press(page, "Step D")
        after = number_of(page, "reached")
        assert before < after <= number_of(page, "most") + 1e-6
        before = after
    assert state(page)["d"] == "60"
    press(page, "Best D")
    assert number_of(page, "reached") == pytest.approx(number_of(page, "most"), abs=2e-6)


@site
def test_the_saturating_generator_starves_where_the_others_do_not(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    push = {}
    for loss in LOSSES:
        choose(page, "Loss", loss)
        press(page, "Best D")
        push[loss] = number_of(page, "push")
    assert push["saturating"] < 0.05
    assert push["nonsaturating"] > 5
    assert 0.9 < push["wasserstein"] < 1.1


@site
def test_two_hills_are_straddled_or_one_is_dropped(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    choose(page, "Data", "1")
    choose(page, "Loss", "nonsaturating")
    for eye, middle, width in (("plain", (-1, 0.5), (1.8, 2)), ("rich", (-2.3, -1.7), (0.3, 0.7))):
        choose(page, "Discriminator", eye)
        press(page, "Reset")
        for _ in range(60):
            press(page, "Step D")
            press(page, "Step G")
        assert middle[0] < number_of(page, "mean") < middle[1]
        assert width[0] < number_of(page, "width") <= width[1]


@site
def test_it_runs_pauses_and_resets(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    start = state(page)
    press(page, "Run")
    page.wait_for_timeout(800)
    press(page, "Pause")
    paused = state(page)
    assert int(paused["g"]) >= 2
    assert int(paused["d"]) == 5 * int(paused["g"])
    page.wait_for_timeout(400)
    assert state(page) == paused
    press(page, "Reset")
    assert state(page) == start


@site
def test_the_picture_can_be_dragged_and_the_arrows_move_the_generator(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    field = page.locator("canvas").first
    field.press("ArrowRight")
    field.press("ArrowUp")
    assert number_of(page, "mean") == pytest.approx(-2.4)
    assert number_of(page, "width") == pytest.approx(0.7)
    for _ in range(9):
        field.press("ArrowDown")
    assert number_of(page, "width") == pytest.approx(0.2)
    assert "0.20 (the end of the slider)" in page.locator(".body").inner_text()
    box = field.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    assert number_of(page, "mean") == pytest.approx(3, abs=0.05)


@site
def test_what_is_said_is_what_is_shown(book: Book) -> None:
    page = book.open(FIGURES["minimax_game"].html)
    press(page, "Step D")
    reached = f"{number_of(page, 'reached'):.3f}".replace("-", "−")
    most = f"{number_of(page, 'most'):.3f}".replace("-", "−")
    said = page.locator(".live").inner_text()
    assert f"V is {reached}; the best D would reach {most}" in said
    before = painted(page)
    choose(page, "Loss", "wasserstein")
    changed = [old != new for old, new in zip(before, painted(page), strict=True)]
    assert changed == [False, True, True]
    assert "Wasserstein distance" in page.locator(".body").inner_text()


# --- the plane ------------------------------------------------------------------------------------

PICTURE = """(host, a) => {
  const { core } = host;
  const text = host.querySelector("script").textContent;
  const line = text.split("\\n").find((line) => line.startsWith("const setup = "));
  const { data } = JSON.parse(line.slice("const setup = ".length, -1));
  const parts = Object.fromEntries(["starts", "conditions", "directions"].map(
    (name) => [name, core.rows(data[name], 16 * data.maps)]));
  const layers = core.unpack(data.layers, core.halves);
  return a.map((place) => {
    const picture = core.picture(parts, layers, data.maps, place);
    return [picture.height, picture.width, [...picture.values], core.measure(picture)];
  });
}"""


def pictures(page: Page, places: list[dict[str, Any]]) -> list[Any]:
    """What the page's own weights make of places of its plane."""
    return host(page).evaluate(PICTURE, places)


@site
@pytest.mark.parametrize(
    ("model", "told"),
    [(ASKED, PROMPTS), (trained(5, latent=5), None), (trained(6, size=16, width=16), None)],
    ids=["conditional", "small", "16 pixels"],
)
def test_the_picture_is_the_generator_s(
    book: Book, model: Any, told: dict[str, Tensor] | None
) -> None:
    starts, directions = normal(7, 2, model.latent), axes(8, model.latent)
    page = book.open(latent_plane(model, starts, directions, told).html)
    generator = torch.Generator().manual_seed(9)
    places, latents, labels = [], [], []
    for _ in range(20):
        start, label = (int(torch.randint(n, (), generator=generator)) for n in (2, 10))
        along = (6 * torch.rand(2, generator=generator) - 3).tolist()
        condition = label if told else 0
        places.append({"start": start, "condition": condition, "along": along})
        moved = zip(along, directions.values(), strict=True)
        latents.append(starts[start] + sum(a * d for a, d in moved))
        labels.append(condition)
    with torch.no_grad():
        more = (torch.tensor(labels),) if told else ()
        expected = model(torch.stack(latents), *more)
    assert expected.std() > 0.1
    measured = attributes(expected)
    for row, (height, width, values, found) in enumerate(pictures(page, places)):
        got = torch.tensor(values).view(1, height, width)
        torch.testing.assert_close(got, expected[row], rtol=0, atol=0.02)  # 16 bits
        assert found["ink"] == pytest.approx(float(measured.ink[row]), abs=0.005)
        assert found["slant"] == pytest.approx(float(measured.slant[row]), abs=0.03)


@site
def test_halves_are_torch_s(book: Book) -> None:
    page = book.open(FIGURES["latent_plane"].html)
    tiny = torch.tensor([0.0, -0.0, 1.0, -2.0, 65504, 6e-8, 6.1e-5, -1e-6]).half()
    values = torch.cat([tiny, normal(0, 200).half(), (1e-4 * normal(1, 50)).half()])
    packed = base64.b64encode(values.numpy().astype("<f2").tobytes()).decode()
    assert core(page, "[...core.halves(a)]", packed) == values.tolist()


@site
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 4), (2, 5, 3)])
def test_a_transposed_convolution_is_torch_s(book: Book, shape: tuple[int, int, int]) -> None:
    page = book.open(FIGURES["latent_plane"].html)
    x, weight, bias = normal(0, *shape), normal(1, shape[0], 3, 4, 4), normal(2, 3)
    x[0, 0, 0] = 0
    got = core(
        page,
        "((y) => [y.channels, y.height, y.width, [...y.values]])(core.conv_transpose({ channels:"
        " a[0][0], height: a[0][1], width: a[0][2], values: a[1] },"
        " { weight: a[2], bias: a[3], out: 3 }))",
        [shape, x.flatten().tolist(), weight.flatten().tolist(), bias.tolist()],
    )
    expected = F.conv_transpose2d(x[None].double(), weight.double(), bias.double(), 2, 1)[0]
    assert got[:3] == list(expected.shape)
    torch.testing.assert_close(exact(got[3]).view_as(expected), expected)


@site
def test_the_reader_walks_by_slider_click_and_key(book: Book) -> None:
    page = book.open(FIGURES["latent_plane"].html)
    plane = page.locator("canvas").first
    slide(page, "slant", -15)
    slide(page, "ink", 7)
    assert (state(page)["right"], state(page)["up"]) == ("-1.5", "0.7")
    choose(page, "Prompt", "3")
    choose(page, "Noise", "2")
    here = pictures(page, [{"start": 2, "condition": 3, "along": [-1.5, 0.7]}])[0][3]
    assert number_of(page, "ink") == pytest.approx(here["ink"], abs=1e-6)
    assert number_of(page, "slant") == pytest.approx(here["slant"], abs=1e-6)
    plane.press("ArrowRight")
    plane.press("ArrowUp")
    assert (state(page)["right"], state(page)["up"]) == ("-1.0", "1.2")
    box = plane.bounding_box()
    assert box is not None
    seventh = box["width"] / 7
    page.mouse.click(box["x"] + 6.5 * seventh, box["y"] + 0.5 * seventh)
    assert (state(page)["right"], state(page)["up"]) == ("3.0", "3.0")
    press(page, "Back to the middle")
    assert (state(page)["right"], state(page)["up"]) == ("0.0", "0.0")


@site
def test_the_map_shows_the_same_pictures(book: Book) -> None:
    page = book.open(FIGURES["latent_plane"].html)
    place = {"start": 0, "condition": 0, "along": [3, 3]}
    values = pictures(page, [place])[0][2]
    shown = page.locator("canvas").first.evaluate(
        """canvas => {
          const copy = document.createElement("canvas");
          Object.assign(copy, { width: canvas.width, height: canvas.height });
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          const cell = canvas.width / 7;
          const [side, gap] = [cell * 0.94 / 8, cell * 0.03];
          const out = [];
          for (let y = 0; y < 8; y++) for (let x = 0; x < 8; x++)
            out.push(context.getImageData(6 * cell + gap + (x + 0.5) * side,
              gap + (y + 0.5) * side, 1, 1).data[0]);
          return out;
        }"""
    )
    assert max(abs(a - 255 * b) for a, b in zip(shown, values, strict=True)) <= 1


@site
def test_a_generator_without_conditions_has_no_choice_of_them(book: Book) -> None:
    page = book.open(latent_plane(trained(3), STARTS, axes(0)).html)
    assert page.get_by_label("Prompt").count() == 0
    assert page.locator("canvas").first.get_attribute("aria-label").startswith("7 by 7")
