"""The figures to touch of the chapter `convolution`, on pages in a real browser."""

from __future__ import annotations

import math
import re

import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Page
from torch import Tensor

from browsing import (
    FOCUSED,
    Book,
    core,
    draw,
    enter,
    number,
    painted,
    picture,
    slide,
    state,
    written_in_canvas,
)
from course_lib import convolution as conv
from course_lib.figures.convolution import kernel_stepper, receptive_field, scale_space

site = pytest.mark.site

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {
    "kernel_stepper": kernel_stepper(picture(24, 28)),
    "receptive_field": receptive_field(picture(64, 64)),
    "scale_space": scale_space(picture(64, 72)),
}

LARGEST = [
    kernel_stepper(torch.rand(40, 40)),
    receptive_field(torch.rand(96, 96)),
    scale_space(torch.rand(192, 192)),
]

WIDEN = {
    "kernel_stepper": lambda page: page.get_by_label("Size").select_option("5"),
    "receptive_field": lambda page: page.get_by_label("Start from").select_option("LeNet"),
}


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.zeros(20, 20, dtype=torch.uint8), TypeError, "image: expected a floating dtype"),
        ([[0.0]], TypeError, "image: expected a tensor"),
        (torch.zeros(20), ValueError, "image: expected 2 or 3 dimensions"),
        (torch.zeros(3, 20, 20), ValueError, "image: expected one channel"),
        (torch.zeros(20, 41), ValueError, "image: expected 16 to 40 pixels a side"),
        (torch.zeros(15, 20), ValueError, "image: expected 16 to 40 pixels a side"),
        (torch.full((20, 20), 1.01), ValueError, r"image: expected values in \[0, 1\]"),
        (torch.full((20, 20), -0.01), ValueError, r"image: expected values in \[0, 1\]"),
        (torch.full((20, 20), math.nan), ValueError, r"image: expected values in \[0, 1\]"),
    ],
)
def test_a_wrong_image_is_refused_by_name(image: Tensor, error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        kernel_stepper(image)


@pytest.mark.parametrize(
    ("kernels", "error", "message"),
    [
        ({}, ValueError, "kernels: expected at least one"),
        ({"a": torch.zeros(4, 4)}, ValueError, r"kernels\['a'\]: expected shape \(3, 3\)"),
        ({"a": torch.zeros(5, 3)}, ValueError, r"kernels\['a'\]: expected shape \(5, 5\)"),
        ({"a": torch.zeros(9)}, ValueError, r"kernels\['a'\]: expected 2 dimensions"),
        ({"a": torch.zeros(3, 3).long()}, TypeError, r"kernels\['a'\]: expected a floating"),
        ({"a": torch.full((3, 3), math.inf)}, ValueError, r"kernels\['a'\]: expected finite"),
    ],
)
def test_a_wrong_kernel_is_refused_by_name(
    kernels: dict[str, Tensor], error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        kernel_stepper(torch.zeros(20, 20), kernels)


def shown_kernel(page: Page) -> Tensor:
    """The stepper's kernel, read from its boxes."""
    cells = [number(cell.input_value()) for cell in page.locator("tbody input").all()]
    size = math.isqrt(len(cells))
    divisor = number(page.get_by_label("divide by").input_value())
    return torch.tensor(cells, dtype=torch.float64).view(size, size) / divisor


# --- numbers --------------------------------------------------------------------------------------


@site
def test_the_stepper_computes_what_torch_computes(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        size, stride = 2 * draw(generator, 0, 2) + 1, draw(generator, 1, 3)
        padding, dilation = draw(generator, 0, 2), draw(generator, 1, 3)
        height, width = (13 + draw(generator, 0, 12) for _ in range(2))
        image = torch.rand(height, width, generator=generator, dtype=torch.float64)
        weight = torch.randn(size, size, generator=generator, dtype=torch.float64)
        divisor = draw(generator, 1, 9)
        argument = {
            "image": {"height": height, "width": width, "values": image.flatten().tolist()},
            "kernel": {"size": size, "numerators": weight.flatten().tolist(), "divisor": divisor},
            "settings": {"stride": stride, "padding": padding, "dilation": dilation},
        }
        got = core(
            page,
            "[a.kernel, core.flip(a.kernel)].map(k => core.conv2d(a.image, k, a.settings))"
            ".map(out => ({...out, values: [...out.values]}))",
            argument,
        )
        for answer, laid in zip(got, [weight, weight.flip(0, 1)], strict=True):
            expected = F.conv2d(
                image[None, None], laid[None, None] / divisor, None, stride, padding, dilation
            )[0, 0]
            assert (answer["height"], answer["width"]) == tuple(expected.shape)
            values = torch.tensor(answer["values"], dtype=torch.float64).view_as(expected)
            torch.testing.assert_close(values, expected, rtol=0, atol=1e-10)


@site
def test_the_output_size_is_torch_s(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)
    cases, expected = [], []
    for n in range(1, 16):
        for kernel in (1, 2, 3, 5):
            for stride in (1, 2, 3):
                for padding in (0, 1, 2):
                    for dilation in (1, 2, 3):
                        if n + 2 * padding < dilation * (kernel - 1) + 1:
                            continue
                        cases.append([n, kernel, stride, padding, dilation])
                        row, tap = torch.zeros(1, 1, n), torch.zeros(1, 1, kernel)
                        out = F.conv1d(row, tap, None, stride, padding, dilation)
                        expected.append(out.shape[-1])
    assert core(page, "a.map(one => core.outputSize(...one))", cases) == expected


@site
def test_a_resized_kernel_keeps_its_centre(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)
    small = torch.arange(1.0, 10).view(3, 3)
    large = F.pad(small, (1, 1, 1, 1))
    resize = "core.resize({size: a.from, numerators: a.values, divisor: 1}, a.to).numerators"
    grown = core(page, resize, {"from": 3, "to": 5, "values": small.flatten().tolist()})
    assert grown == large.flatten().tolist()
    cut = core(page, resize, {"from": 5, "to": 3, "values": large.flatten().tolist()})
    assert cut == small.flatten().tolist()


@site
def test_the_field_is_where_the_gradient_is(book: Book):
    page = book.open(FIGURES["receptive_field"].html)
    generator = torch.Generator().manual_seed(2)
    size, tried = 80, 0
    while tried < 25:
        layers = [
            {
                "kind": "conv",
                "kernel": draw(generator, 1, 5),
                "stride": draw(generator, 1, 3),
                "dilation": draw(generator, 1, 3),
            }
            for _ in range(draw(generator, 1, 4))
        ]
        row = torch.zeros(1, 1, size, dtype=torch.float64, requires_grad=True)
        out, counts = row, [size]
        try:
            for layer in layers:
                weight = torch.rand(1, 1, layer["kernel"], generator=generator).double() + 0.5
                options = {"stride": layer["stride"], "dilation": layer["dilation"]}
                out = F.conv1d(out, weight, **options)
                counts.append(out.shape[-1])
        except RuntimeError:  # the kernel is larger than what is left
            continue
        if counts[-1] < 2:
            continue
        tried += 1
        seen = [
            torch.autograd.grad(unit, row, retain_graph=True)[0][0, 0].nonzero().flatten().tolist()
            for unit in out[0, 0]
        ]
        last = counts[-1] - 1
        argument = {"layers": layers, "size": size, "last": last}
        assert core(page, "core.unitCounts(a.size, a.layers)", argument) == counts
        for unit in (0, last):
            reached = core(page, f"core.reach(a.layers, {unit})[0]", argument)
            assert reached == seen[unit]
        levels = core(page, "core.growth(a.layers)", argument)
        assert levels[-1]["size"] == seen[0][-1] - seen[0][0] + 1
        assert levels[-1]["jump"] == seen[1][0] - seen[0][0]
        ours = [(layer["kernel"], layer["stride"], 0, layer["dilation"]) for layer in layers]
        expected = [(field.size, field.jump) for field in conv.receptive_field(ours)]
        assert [(level["size"], level["jump"]) for level in levels[1:]] == expected
        middle = core(page, f"core.middle(core.growth(a.layers).at(-1), {last})", argument)
        assert middle == (seen[-1][0] + seen[-1][-1]) / 2


@site
def test_only_convolutions_have_weights(book: Book):
    page = book.open(FIGURES["receptive_field"].html)
    assert "27" in page.get_by_text("this stack").inner_text()
    assert "49" in page.get_by_text("one 7 × 7 kernel").inner_text()
    page.get_by_label("Start from").select_option("LeNet")
    stack = torch.nn.Sequential(
        torch.nn.Conv2d(1, 1, 5, bias=False),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(1, 1, 5, bias=False),
        torch.nn.MaxPool2d(2),
    )
    weights = sum(parameter.numel() for parameter in stack.parameters())
    assert page.get_by_text("this stack").inner_text() == f"this stack: {weights}"


@site
def test_the_scales_are_filtered_as_torch_filters(book: Book):
    page = book.open(FIGURES["scale_space"].html)
    generator = torch.Generator().manual_seed(3)
    for sigma in (0.5, 1.3, 4.0):
        for stride in (1, 2, 4, 8):
            height, width = draw(generator, 17, 30), draw(generator, 17, 30)
            image = torch.rand(height, width, generator=generator, dtype=torch.float64)
            got = core(
                page,
                "(({height, width, values}, across, down) => ({height, width, values: [...values],"
                " across: [...across], down: [...down]}))"
                "(core.separable(a, core.derivative(a.sigma), core.gaussian(a.sigma), a.stride),"
                " core.derivative(a.sigma), core.gaussian(a.sigma))",
                {
                    "height": height,
                    "width": width,
                    "values": image.flatten().tolist(),
                    "sigma": sigma,
                    "stride": stride,
                },
            )
            across, down = (torch.tensor(got[k], dtype=torch.float64) for k in ("across", "down"))
            radius = len(across) // 2
            padded = F.pad(image[None, None], (radius,) * 4, mode="replicate")
            expected = F.conv2d(padded, torch.outer(down, across)[None, None], stride=stride)[0, 0]
            assert (got["height"], got["width"]) == tuple(expected.shape)
            values = torch.tensor(got["values"], dtype=torch.float64).view_as(expected)
            torch.testing.assert_close(values, expected, rtol=0, atol=1e-10)


@site
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.7, 8.0])
def test_the_taps_are_a_gaussian_and_its_derivative(book: Book, sigma: float):
    page = book.open(FIGURES["scale_space"].html)
    smooth = torch.tensor(core(page, "[...core.gaussian(a)]", sigma), dtype=torch.float64)
    slope = torch.tensor(core(page, "[...core.derivative(a)]", sigma), dtype=torch.float64)
    radius = len(smooth) // 2
    assert radius >= 3 * sigma
    x = torch.arange(-radius, radius + 1, dtype=torch.float64, requires_grad=True)
    bell = torch.exp(-(x**2) / (2 * sigma**2))
    torch.testing.assert_close(smooth, (bell / bell.sum()).detach())
    (fall,) = torch.autograd.grad(bell.sum(), x)  # minus the weights of a correlation
    torch.testing.assert_close(slope / slope.abs().max(), -fall / fall.abs().max())
    ramp = 3 * torch.arange(len(slope), dtype=torch.float64)
    assert float(slope @ ramp) == pytest.approx(3 * sigma)


@site
@pytest.mark.parametrize("stride", [1, 2, 8])
def test_multiplications_are_counted_pass_by_pass(book: Book, stride: int):
    page = book.open(FIGURES["scale_space"].html)
    height, width, taps = 64, 48, 7
    image = torch.zeros(1, 1, height, width)
    half = taps // 2
    full = F.unfold(image, taps, padding=half, stride=stride).numel()
    across = F.unfold(image, (1, taps), padding=(0, half), stride=(1, stride))
    between = torch.zeros(1, 1, height, math.ceil(width / stride))
    down = F.unfold(between, (taps, 1), padding=(half, 0), stride=(stride, 1))
    got = core(page, "core.multiplications(...a)", [height, width, taps, stride])
    assert got == {"full": full, "separable": across.numel() + down.numel()}


@site
def test_a_step_is_one_edge_at_every_scale_and_a_thin_bar_is_lost(book: Book):
    page = book.open(FIGURES["scale_space"].html)
    image = torch.zeros(40, 40)
    image[:, 20:] = 1
    argument = {"height": 40, "width": 40, "values": image.flatten().tolist()}
    for sigma in (0.5, 2.0, 6.0):
        found = core(page, f"core.rowEdges(a, 20, {sigma}, 0.05)", argument)
        assert [x for x, _ in found] == [19]
        assert found[0][1] > 0
        slopes = (
            "(([g, d]) => [core.separable(a, d, g, 1), core.separable(a, g, d, 1)])"
            f"([core.gaussian({sigma}), core.derivative({sigma})])"
        )
        marks = core(page, f"[...core.edges(...{slopes}, 0.05)]", argument)
        where = torch.tensor(marks).view(40, 40)
        assert where.sum() == 40
        assert (where.sum(0).nonzero().flatten() - 19.5).abs().max() < 1
    image = torch.zeros(40, 40)
    image[:, 20:22] = 1
    argument["values"] = image.flatten().tolist()
    count = [len(core(page, f"core.rowEdges(a, 20, {s}, 0.15)", argument)) for s in (1, 6)]
    assert count == [2, 0]


# --- what is shown --------------------------------------------------------------------------------


@site
@pytest.mark.parametrize(
    "name", ["identity", "box blur", "Gaussian blur", "sharpen", "Sobel x", "Laplacian"]
)
@pytest.mark.parametrize("size", [3, 5])
def test_the_shown_value_is_the_picture_s(book: Book, name: str, size: int):
    page = book.open(FIGURES["kernel_stepper"].html)
    page.get_by_label("Size").select_option(str(size))
    page.get_by_label("Kernel", exact=True).select_option(name)
    slide(page, "Stride", 2)
    slide(page, "Dilation", 3)
    said = state(page)
    assert (said["stride"], said["dilation"], said["kernel"]) == ("2", "3", name.replace(" ", "_"))
    image = (picture(24, 28).double() * 100).round() / 100
    expected = F.conv2d(image[None, None], shown_kernel(page)[None, None], None, 2, 1, 3)[0, 0]
    assert said["output"] == f"{expected.shape[0]}x{expected.shape[1]}"
    value = float(expected[int(said["row"]), int(said["column"])])
    assert float(said["value"]) == pytest.approx(value, abs=2e-4)
    aloud = page.locator(".live").inner_text()
    assert number(aloud.split(": ")[1]) == pytest.approx(value, abs=6e-3)


@site
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("divisor", ["1", "7", "−0.5"])
def test_the_printed_code_gives_the_shown_value(book: Book, divisor: str, flipped: bool):
    page = book.open(FIGURES["kernel_stepper"].html)
    slide(page, "Stride", 2)
    enter(page, "divide by", divisor)
    weight = shown_kernel(page) * number(divisor)
    page.get_by_label("flip the kernel").set_checked(flipped)
    image = (picture(24, 28).double() * 100).round() / 100
    names = {"F": F, "image": image[None, None], "weight": weight[None, None]}
    output = eval(page.locator("code").inner_text(), names)[0, 0]
    said = state(page)
    value = float(output[int(said["row"]), int(said["column"])])
    assert abs(value) > 0.01
    assert float(said["value"]) == pytest.approx(value, abs=1e-4)


@site
def test_the_classic_kernels_do_what_their_names_say(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    plain, ramp_x, ramp_y, bowl = torch.ones(9, 9), x, y, (x - 4) ** 2 + (y - 4) ** 2
    for size in (3, 5):
        page.get_by_label("Size").select_option(str(size))

        def answer(name: str, image: Tensor, size: int = size) -> float:
            page.get_by_label("Kernel", exact=True).select_option(name)
            middle = image[4 - size // 2 : 5 + size // 2, 4 - size // 2 : 5 + size // 2]
            return float((shown_kernel(page) * middle).sum())

        for name in ("identity", "box blur", "Gaussian blur", "sharpen"):
            assert answer(name, plain) == pytest.approx(1)
        for name in ("Sobel x", "Sobel y", "Laplacian"):
            assert answer(name, plain) == pytest.approx(0)
        assert answer("Sobel x", ramp_x) > 0 == answer("Sobel x", ramp_y)
        assert answer("Sobel y", ramp_y) > 0 == answer("Sobel y", ramp_x)
        assert answer("Laplacian", bowl) > 0 > answer("sharpen", bowl)


@site
def test_the_small_kernels_are_the_library_s(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)
    library = {
        "identity": conv.identity_kernel(),
        "box blur": conv.box_kernel(3),
        "sharpen": conv.sharpen_kernel(),
        "Sobel x": conv.sobel_kernel("x"),
        "Sobel y": conv.sobel_kernel("y"),
        "Laplacian": conv.laplacian_kernel(),
    }
    for name, kernel in library.items():
        page.get_by_label("Kernel", exact=True).select_option(name)
        torch.testing.assert_close(shown_kernel(page), kernel.double())


@site
@pytest.mark.parametrize("name", ["Gaussian blur", "Sobel x"])
def test_the_shown_arithmetic_adds_up(book: Book, name: str):
    page = book.open(FIGURES["kernel_stepper"].html)
    page.get_by_label("Kernel", exact=True).select_option(name)
    line = page.locator("p", has=page.get_by_label("divide by"))
    sides = line.locator("xpath=preceding-sibling::p").inner_text().split(" = ")
    assert len(sides) == 2
    left, total = sides
    terms = [number(term) for term in re.sub("([−+]) ", r"\1", left).split()]
    assert len(terms) == 9
    assert sum(terms) == pytest.approx(number(total), abs=1e-9)  # exact, for whole weights
    if name == "Sobel x":
        assert line.inner_text() == "divide by"
    else:
        result = f"{number(total) / 16:.3f}"
        assert line.inner_text() == f"divide by{total} ÷ 16 = {result}"
    shown = page.get_by_text("output size").or_(page.get_by_text("height =")).inner_text()
    assert "⌊(24 + 2·1 − 1·(3 − 1) − 1) / 1⌋ + 1 = 24" in shown


@site
def test_an_edited_weight_counts_and_a_senseless_one_does_not(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)
    page.get_by_label("Kernel", exact=True).select_option("identity")
    before = float(state(page)["value"])
    centre = "weight, row 2, column 2"
    for minus in "-−":
        enter(page, centre, "0")
        enter(page, centre, f"{minus}3")
        assert page.get_by_label(centre).input_value() == "−3"
        assert state(page)["kernel"] == "your_own"
        assert float(state(page)["value"]) == pytest.approx(-3 * before, abs=1e-3)
    enter(page, "divide by", "2")
    kept = state(page)
    zero, wrong = "The divisor must not be 0.", "Every box must hold a number."
    for label, nonsense, good, message in (
        (centre, "", "−3", wrong),
        (centre, "x", "−3", wrong),
        (centre, "1e999", "−3", wrong),
        ("divide by", "", "2", wrong),
        ("divide by", "0", "2", zero),
        ("divide by", "0.00001", "2", zero),  # shown to four decimals
    ):
        enter(page, label, nonsense)
        assert state(page) == kept
        assert page.get_by_label(label).input_value() == good
        assert page.locator(".live").inner_text() == message
    page.get_by_label(centre).press("ArrowDown")
    assert page.get_by_label(centre).input_value() == "−4"
    assert float(state(page)["value"]) == pytest.approx(-2 * before, abs=1e-3)


@site
def test_minus_signs_are_minus_signs(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)
    assert page.get_by_label("weight, row 1, column 1").input_value() == "−1"
    enter(page, "divide by", "-2")
    assert " ÷ −2 = " in page.locator("p", has=page.get_by_label("divide by")).inner_text()


@site
@pytest.mark.parametrize("size", [3, 5])
def test_a_phone_shows_the_buttons_the_pictures_and_the_sum_at_once(book: Book, size: int):
    page = book.open(
        FIGURES["kernel_stepper"].html, viewport={"width": 390, "height": 844}, has_touch=True
    )
    page.get_by_label("Size").select_option(str(size))
    page.get_by_label("Kernel", exact=True).select_option("Gaussian blur")
    slide(page, "Padding", 0)  # the input's caption is a line shorter
    step = page.get_by_role("button", name="Step").bounding_box()
    photo, result = (page.locator("canvas").nth(at).bounding_box() for at in (0, 1))
    divisor = page.get_by_label("divide by").bounding_box()
    assert step["y"] + step["height"] < photo["y"] == result["y"]
    assert photo["x"] + photo["width"] < result["x"]
    assert min(photo["width"], result["width"]) > 150
    assert photo["y"] + photo["height"] < divisor["y"]
    assert divisor["y"] + divisor["height"] - step["y"] < 740  # of 844, less the browser's bars


@site
def test_a_flipped_kernel_is_shown_and_edited_as_it_lies(book: Book):
    kernel = torch.arange(1.0, 10).view(3, 3)
    page = book.open(kernel_stepper(picture(20, 20), {"numbers": kernel}).html)
    page.get_by_label("flip the kernel").check()
    first = page.get_by_label("weight, row 1, column 1")
    assert first.input_value() == "9"
    first.fill("7")
    first.press("Tab")
    page.get_by_label("flip the kernel").uncheck()
    assert page.get_by_label("weight, row 3, column 3").input_value() == "7"
    assert page.get_by_label("weight, row 1, column 1").input_value() == "1"


@site
def test_steps_buttons_and_pointers_move_the_window(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)

    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    press("Rewind")
    assert (state(page)["row"], state(page)["column"], state(page)["done"]) == ("0", "0", "1")
    before = painted(page)
    press("Step")
    assert (state(page)["column"], state(page)["done"]) == ("1", "2")
    assert all(old != new for old, new in zip(before, painted(page), strict=True))
    press("Back")
    assert (state(page)["column"], state(page)["done"]) == ("0", "1")
    press("Run to the end")
    assert state(page)["done"] == str(24 * 28)
    for at in (0, 1):  # padding 1 and stride 1: both pictures have the same layout
        canvas = page.locator("canvas").nth(at)
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        cell = box["width"] / 32
        page.mouse.move(box["x"] + (2 + 5.5) * cell, box["y"] + (2 + 3.5) * cell)
        page.mouse.down()
        assert (state(page)["row"], state(page)["column"]) == ("3", "5")
        page.mouse.move(box["x"] + (2 + 9.5) * cell, box["y"] + (2 + 6.5) * cell)
        page.mouse.up()
        assert (state(page)["row"], state(page)["column"]) == ("6", "9")
        page.mouse.move(box["x"] + 3 * cell, box["y"] + 3 * cell)
        assert (state(page)["row"], state(page)["column"]) == ("6", "9")


@site
def test_the_window_stays_on_its_pixel_when_a_setting_changes(book: Book):
    page = book.open(FIGURES["kernel_stepper"].html)
    for _ in range(2):
        slide(page, "Stride", 2)
        said = state(page)
        assert abs(int(said["row"]) * 2 - 14) <= 1
        slide(page, "Stride", 1)
        assert abs(int(state(page)["row"]) - 14) <= 1


@site
def test_playing_goes_on_by_itself_and_slower_where_motion_is_unwelcome(book: Book):
    done = {}
    for motion in ("no-preference", "reduce"):
        page = book.open("", reduced_motion=motion)
        page.clock.install()
        page.set_content(f"<main>{FIGURES['kernel_stepper'].html}</main>")
        page.get_by_role("button", name="Rewind").click()
        page.get_by_role("button", name="Play").click()
        page.clock.run_for(1000)
        page.get_by_role("button", name="Pause").click()
        done[motion] = int(state(page)["done"])
        page.clock.run_for(1000)
        assert int(state(page)["done"]) == done[motion]
    assert done["no-preference"] > 8
    assert done["reduce"] == 2


@site
def test_layers_are_added_changed_and_removed(book: Book):
    page = book.open(FIGURES["receptive_field"].html)
    assert state(page)["field"] == "7"
    page.get_by_role("button", name="Add a layer").click()
    assert (state(page)["field"], state(page)["preset"]) == ("9", "your_own")
    page.get_by_label("layer 1: stride").fill("2")
    page.get_by_label("layer 1: stride").press("Enter")
    assert (state(page)["field"], state(page)["jump"]) == ("15", "2")
    assert page.evaluate(f"{FOCUSED}.ariaLabel") == "layer 1: stride"
    page.get_by_label("layer 1: kernel").fill("99")
    page.get_by_label("layer 1: kernel").press("Enter")
    assert state(page)["field"] == "15"
    page.get_by_role("button", name="layer 2: remove").click()
    assert state(page)["field"] == "11"
    for at in (1, 2, 3):
        page.get_by_label(f"layer {at}: kernel").fill("11")
        page.get_by_label(f"layer {at}: kernel").press("Enter")
        page.get_by_label(f"layer {at}: dilation").fill("4")
        page.get_by_label(f"layer {at}: dilation").press("Enter")
    assert "larger than the picture" in page.locator(".live").inner_text()


@site
def test_the_most_layers_are_said_when_they_are_there(book: Book):
    page = book.open(FIGURES["receptive_field"].html)
    add, said = page.get_by_role("button", name="Add a layer"), page.get_by_role("status")
    add.click()
    assert (add.get_attribute("aria-disabled"), said.inner_text()) == ("false", "")
    add.click()
    assert add.get_attribute("aria-disabled") == "true"
    assert said.inner_text() == "Five layers at most."
    page.get_by_role("button", name="layer 2: remove").click()
    assert said.inner_text() == ""


@site
@pytest.mark.parametrize("width", [390, 800])
def test_the_rows_of_the_diagram_have_names_beside_them(book: Book, width: int):
    page = book.open(FIGURES["receptive_field"].html, viewport={"width": width, "height": 900})
    for preset, rows in (
        ("three 3 × 3", ["pixels", "layer 1", "layer 2", "output"]),
        ("one 7 × 7", ["pixels", "output"]),
    ):
        page.get_by_label("Start from").select_option(preset)
        painted = written_in_canvas(page, "input[type=range]")
        texts = [call for call in painted if call["call"] == "text"]
        assert [call["text"] for call in texts[:-2]] == rows
        last = max(call["right"] for call in texts[:-2])
        assert all(call["left"] > last for call in painted if call["call"] == "mark")
        assert ["".join(call["text"] for call in texts[-2:][::-1])] == ["r = 7"]
        assert ["italic" in call["font"] for call in texts[-2:]] == [False, True]


@site
def test_the_field_s_words_are_exact(book: Book):
    page = book.open(FIGURES["receptive_field"].html)
    said = page.locator(".body").inner_text()
    assert "No layer uses padding." in said
    assert "Weights (one channel in, one out)" in said
    assert page.locator("thead i").all_text_contents() == ["", "", "k", "s", "d", "r", "j"]
    assert page.locator(".quiet i").all_text_contents() == ["r", "j"]


@site
def test_the_output_unit_moves_and_says_what_it_sees(book: Book):
    page = book.open(FIGURES["receptive_field"].html)
    page.get_by_label("Start from").select_option("dilated 2, 2, 2 (holes)")
    slide(page, "Output unit (column)", 5)
    said = page.locator(".live").inner_text()
    assert "7 × 7 of the 13 × 13 pixels" in said
    assert said.endswith("columns 5 to 17.")
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 30.5 / 64, box["y"] + box["height"] * 20.5 / 64)
    assert (state(page)["row"], state(page)["column"]) == ("14", "24")
    canvas = page.locator("canvas").last
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    marks = [c for c in written_in_canvas(page, "input[type=range]") if c["call"] == "mark"]
    first = marks[0]["left"]  # the strip's first pixel; the last one ends at the canvas's edge
    page.mouse.click(
        box["x"] + first + (box["width"] - first) * 10.5 / 64, box["y"] + box["height"] / 2
    )
    assert (state(page)["row"], state(page)["column"]) == ("14", "4")


@site
def test_a_wider_filter_leaves_fewer_edges(book: Book):
    page = book.open(FIGURES["scale_space"].html)
    edges = []
    assert "beyond σ = 2" in page.locator(".quiet").first.inner_text()
    for step in (24, 32, 40, 48):  # σ = 2 and more
        slide(page, "Scale σ", step)
        assert float(state(page)["sigma"]) >= 2
        edges.append(int(state(page)["edges"]))
    assert edges == sorted(edges, reverse=True)
    assert edges[0] > edges[-1] > 0
    before = painted(page)
    slide(page, "Row", 3)
    page.get_by_label("Show").select_option("strength")
    assert all(old != new for old, new in zip(before, painted(page), strict=True))
    slide(page, "Stride", 2)
    assert "16 × 18" in page.locator("p", has_text="Filter’s output").inner_text()
    assert state(page)["stride"] == "4"


@site
@pytest.mark.parametrize("stride", [0, 3])
def test_edges_are_counted_among_the_outputs(book: Book, stride: int):
    page = book.open(FIGURES["scale_space"].html)
    slide(page, "Stride", stride)
    for view in ("smooth", "across"):
        page.get_by_label("Show").select_option(view)
        said = state(page)
        total = {0: "4,608", 3: "72"}[stride]  # 64 × 72 and 8 × 9
        count = f"{int(said['edges']):,} of {total} outputs"
        assert page.locator(".caption").first.inner_text() == f"{count} are edges"
        assert page.locator(".live").inner_text() == (
            f"At σ = 1.26 and stride {2**stride}, {count} are edges. "
            f"Row {said['row']} has {said['along']} at stride 1, by the change across alone."
        )


@site
def test_the_rule_for_an_edge_is_the_one_in_use(book: Book):
    page = book.open(FIGURES["scale_space"].html)
    rule = page.get_by_text("An edge is an output").inner_text()
    threshold = float(re.search(r"at least ([0-9.]+)", rule)[1])
    assert "a maximum across the edge" in rule
    image = (picture(64, 72) * 255).round() / 255
    argument = {"height": 64, "width": 72, "values": image.double().flatten().tolist()}
    count = (
        "(([g, d]) => core.edges(core.separable(a, d, g, 1), core.separable(a, g, d, 1),"
        f" {threshold}))([core.gaussian(2), core.derivative(2)]).reduce((n, mark) => n + mark, 0)"
    )
    slide(page, "Scale σ", 24)
    assert core(page, count, argument) == int(state(page)["edges"])


@site
def test_the_cost_is_said_in_one_way(book: Book):
    page = book.open(FIGURES["scale_space"].html)
    said = state(page)
    full, separable = int(said["full"]), int(said["separable"])
    assert page.get_by_text("In one pass").inner_text().replace("\u00a0", " ") == (
        f"One filter has 9 × 9 weights. In one pass: {full:,} multiplications; "
        f"in two passes: {separable:,}, {100 * separable / full:.0f} % of that."
    )
    assert full > 1000


@site
@pytest.mark.parametrize("width", [390, 800])
def test_the_diagram_s_labels_lie_on_no_bar(book: Book, width: int):
    page = book.open(FIGURES["scale_space"].html, viewport={"width": width, "height": 900})
    painted = written_in_canvas(page, "input[type=range]")
    texts = [call for call in painted if call["call"] == "text"]
    assert [call["text"] for call in texts] == ["σ = 1", "σ = 2", "σ = 4"]
    margin = min(call["left"] for call in painted if call["call"] == "mark")
    assert all(call["left"] >= 0 and call["right"] < margin for call in texts)


@site
def test_a_phone_stacks_the_edges_and_the_filter_s_output(book: Book):
    page = book.open(FIGURES["scale_space"].html, viewport={"width": 390, "height": 844})
    photo, result = (page.locator("canvas").nth(at).bounding_box() for at in (0, 1))
    assert photo["y"] + photo["height"] < result["y"]
    assert min(photo["width"], result["width"]) > 300
