"""The figures to touch of the chapter `scaling`, on pages in a real browser."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from playwright.sync_api import Page

from browsing import Book, core, draw, host, slide, state
from course_lib import scaling
from course_lib.figures.scaling import ring, roofline

site = pytest.mark.site

MACHINES = {
    "this machine": (19e9, 46e9, 30e9),
    "a GPU": (3.35e12, 33.5e12, 494.5e12),
}
VALUES = torch.tensor([[(3 * i + 5 * j * j + i * j) % 10 for j in range(5)] for i in range(5)])

# For test_figures: one figure of each kind, and the largest ones.
FIGURES = {"roofline": roofline(MACHINES), "ring": ring(VALUES)}
LARGEST = [
    roofline({f"{letter * 20} <b>": (1e18, 1e6, 1e18) for letter in "abcde"}),
    ring(torch.full((6, 6), -99.0)),
]


def widen(page: Page) -> None:
    slide(page, "Batch", 10)
    slide(page, "Channels", 12)


WIDEN = {"roofline": widen, "ring": lambda page: slide(page, "Processes", 5)}

LAYERS = ["linear", "convolution", "depthwise", "element-wise"]
DTYPES = {"float32": torch.float32, "half": torch.bfloat16}


def cost(layer: str, case: dict[str, Any], dtype: torch.dtype) -> scaling.Cost:
    """What the module counts; as many channels come out as go in, nothing is cut off."""
    batch, channels, side = case["batch"], case["channels"], case["side"]
    if layer == "linear":
        return scaling.linear_cost(batch, channels, channels, bias=False, dtype=dtype)
    if layer == "element-wise":
        return scaling.pointwise_cost(batch * channels * side * side, dtype=dtype)
    return scaling.conv2d_cost(
        batch,
        channels,
        channels,
        case["kernel"],
        side,
        padding=case["kernel"] // 2,
        groups=channels if layer == "depthwise" else 1,
        bias=False,
        dtype=dtype,
    )


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machines", "error", "message"),
    [
        ({}, ValueError, "machines: expected one to 5, got 0"),
        ({str(n): (1e9, 1e9, 1e9) for n in range(6)}, ValueError, "expected one to 5, got 6"),
        ({"": (1e9, 1e9, 1e9)}, ValueError, "machines: expected names of 1 to 24 characters"),
        ({"x" * 25: (1e9, 1e9, 1e9)}, ValueError, "machines: expected names of 1 to 24 char"),
        ({"a": (1e9, 1e9)}, ValueError, r"machines\['a'\]: expected three rates"),
        ({"a": (0, 1e9, 1e9)}, ValueError, r"machines\['a'\]: expected a finite number >= 1"),
        ({"a": (1e9, 1e19, 1e9)}, ValueError, r"machines\['a'\]: expected a finite number >= 1"),
        ({"a": (1e9, math.nan, 1e9)}, ValueError, r"machines\['a'\]: expected a finite number"),
        ({"a": (1e9, "fast", 1e9)}, TypeError, r"machines\['a'\]: expected a finite number"),
    ],
)
def test_wrong_machines_are_refused(machines: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        roofline(machines)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([[1, 2], [3, 4]], TypeError, "values: expected a tensor"),
        (torch.ones(3), ValueError, "values: expected 2 dimensions"),
        (torch.ones(2, 3), ValueError, "values: expected as many parts as processes, 2 to 6"),
        (torch.ones(1, 1), ValueError, "values: expected as many parts as processes, 2 to 6"),
        (torch.ones(7, 7), ValueError, "values: expected as many parts as processes, 2 to 6"),
        (torch.full((2, 2), 0.5), ValueError, "values: expected whole numbers from -99 to 99"),
        (torch.full((2, 2), 100), ValueError, "values: expected whole numbers from -99 to 99"),
        (torch.full((2, 2), math.nan), ValueError, "values: expected whole numbers from -99"),
    ],
)
def test_wrong_values_are_refused(values: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ring(values)


# --- the roofline: numbers ------------------------------------------------------------------------


@site
def test_it_counts_what_the_module_counts(book: Book) -> None:
    page = book.open(FIGURES["roofline"].html)
    generator = torch.Generator().manual_seed(0)
    for n in range(60):
        layer = LAYERS[n % 4]
        kind = "half" if n % 3 == 0 else "float32"
        case = {
            "batch": draw(generator, 1, 300),
            "channels": draw(generator, 1, 200),
            "kernel": 2 * draw(generator, 0, 3) + 1,
            "side": draw(generator, 1, 40),
            "bytes": DTYPES[kind].itemsize,
        }
        expected = cost(layer, case, DTYPES[kind])
        rates = scaling.Rates(19e9 * (1 + n), 46e9)
        machine = {"memory": rates.bytes_copied, "processor": rates.multiply_adds}
        got = core(
            page,
            "(() => { const cost = core.cost(a.layer, a.case); const at = core.intensity(cost);"
            " return { ...cost, at, most: core.attainable(at, a.machine),"
            " seconds: core.seconds(cost, a.machine) }; })()",
            {"layer": layer, "case": case, "machine": machine},
        )
        assert (got["work"], got["moved"]) == tuple(expected), (layer, case)
        assert got["at"] == pytest.approx(expected.intensity, rel=1e-12)
        most = scaling.attainable(expected.intensity, rates)
        assert got["most"] == pytest.approx(most, rel=1e-12)
        least = scaling.least_seconds(expected, rates)
        assert max(got["seconds"].values()) == pytest.approx(least, rel=1e-12)


@site
def test_what_is_shown_belongs_together(book: Book) -> None:
    page = book.open(FIGURES["roofline"].html)
    for layer in LAYERS:
        page.get_by_label("Layer", exact=True).select_option(layer)
        for kind, dtype in DTYPES.items():
            page.get_by_label("Numbers of", exact=True).select_option(kind)
            for name, (memory, float32, half) in MACHINES.items():
                page.get_by_label("Machine", exact=True).select_option(name)
                slide(page, "Batch", 3)
                said = state(page)
                case = {key: int(said[key]) for key in ("batch", "channels", "kernel", "side")}
                expected = cost(layer, case, dtype)
                own = kind == "half" and layer in ("linear", "convolution")
                rates = scaling.Rates(memory, half if own else float32)
                least = scaling.least_seconds(expected, rates)
                assert float(said["seconds"]) == pytest.approx(least, rel=1e-9)
                most = scaling.attainable(expected.intensity, rates)
                assert float(said["rate"]) == pytest.approx(most, rel=1e-9)
                waits = expected.intensity < scaling.ridge(rates)
                assert said["bound"] == ("memory" if waits else "processor")
                verdict = page.locator(".verdict").inner_text()
                assert verdict.startswith("Memory" if waits else "Processor")
                widths = [
                    float(bar.evaluate("node => parseFloat(node.style.width)"))
                    for bar in page.locator(".fill").all()
                ]
                assert max(widths) == pytest.approx(100)
                assert (widths[1] > widths[0]) == waits


@site
def test_a_batch_carries_a_linear_layer_over_the_ridge_and_a_relu_never(book: Book) -> None:
    page = book.open(FIGURES["roofline"].html)
    sides = []
    for power in range(11):
        slide(page, "Batch", power)
        sides.append(state(page)["bound"])
    turn = sides.index("processor")
    assert sides == ["memory"] * turn + ["processor"] * (11 - turn)
    assert 0 < turn < 10
    page.get_by_label("Layer", exact=True).select_option("element-wise")
    assert page.get_by_label("Kernel", exact=True).is_disabled()
    for kind in DTYPES:
        page.get_by_label("Numbers of", exact=True).select_option(kind)
        for power in range(11):
            slide(page, "Batch", power)
            assert state(page)["bound"] == "memory"


@site
def test_slow_products_in_16_bits_slow_no_relu(book: Book) -> None:
    page = book.open(roofline({"no units for 16 bits": (19e9, 46e9, 0.65e9)}).html)
    page.get_by_label("Numbers of", exact=True).select_option("half")
    assert state(page)["bound"] == "processor"
    for layer in ("element-wise", "depthwise"):
        page.get_by_label("Layer", exact=True).select_option(layer)
        assert page.locator(".verdict").inner_text().startswith("Memory")


@site
def test_controls_that_do_not_matter_say_so(book: Book) -> None:
    page = book.open(FIGURES["roofline"].html)
    side = page.get_by_role("slider", name="Side in pixels")
    assert side.get_attribute("aria-valuetext") == "not used"
    assert side.is_disabled()
    assert page.get_by_label("Kernel", exact=True).is_disabled()
    page.get_by_label("Layer", exact=True).select_option("convolution")
    assert side.get_attribute("aria-valuetext") == "32"
    assert side.is_enabled()
    page.get_by_label("Kernel", exact=True).select_option("7")
    assert state(page)["kernel"] == "7"


# --- the ring: numbers ----------------------------------------------------------------------------


@site
@pytest.mark.parametrize("processes", [2, 3, 4, 6])
def test_each_step_is_the_module_s(book: Book, processes: int) -> None:
    page = book.open(FIGURES["ring"].html)
    generator = torch.Generator().manual_seed(processes)
    values = torch.randint(-99, 100, (processes, processes), generator=generator)
    states = list(scaling.ring_steps(list(values)))
    assert core(page, "core.count(a)", processes) == len(states) - 1
    for step, expected in enumerate(states):
        held = core(page, "core.state(a.values, a.step)", {"values": values.tolist(), "step": step})
        numbers = [[part["value"] for part in row] for row in held]
        assert numbers == [[int(part) for part in row] for row in expected]
        whole = values.sum(0).tolist()
        for row in held:
            for part, total in zip(row, whole, strict=True):
                assert 1 <= part["from"] <= processes
                assert part["from"] < processes or part["value"] == total
    assert all(part["from"] == processes for row in held for part in row)


@site
def test_what_a_process_sends_adds_up_to_the_load(book: Book) -> None:
    page = book.open(FIGURES["ring"].html)
    for processes in range(2, 7):
        steps = core(page, "core.count(a)", processes)
        load = core(page, "core.ringLoad(a)", processes)
        assert load == pytest.approx(steps / processes)  # each step sends one of so many parts
        seconds = scaling.all_reduce_seconds(1000 * processes, processes, 1.0)
        assert load == pytest.approx(seconds / (1000 * processes))
        assert core(page, "core.centreLoad(a)", processes) == processes - 1


@site
def test_the_loads_that_are_compared_are_of_one_kind(book: Book) -> None:
    page = book.open(FIGURES["ring"].html)
    for processes, words in {
        2: "pass 2 gradients: 1 out, 1 in. If process 0 collected and answered all, 2 would",
        3: "pass 2.67 gradients: 1.33 out, 1.33 in. If process 0 collected and answered all, 4",
        4: "pass 3 gradients: 1.5 out, 1.5 in. If process 0 collected and answered all, 6 would",
    }.items():
        slide(page, "Processes", processes)
        assert words in page.locator(".caption").last.inner_text()


@site
def test_the_board_steps_forward_and_back(book: Book) -> None:
    page = book.open(FIGURES["ring"].html)
    seen = []
    while state(page)["phase"] != "done":
        seen.append((state(page)["phase"], int(state(page)["whole"])))
        page.get_by_role("button", name="Next step").click()
    assert [phase for phase, _ in seen] == ["adding"] * 3 + ["gathering"] * 3
    assert [whole for _, whole in seen] == [0, 0, 0, 4, 8, 12]
    said = state(page)
    assert said["whole"] == "16"
    rows = [[int(number) for number in row.split(",")] for row in said["values"].split(";")]
    assert rows == [VALUES[:4, :4].sum(0).tolist()] * 4
    assert page.get_by_role("button", name="Next step").get_attribute("aria-disabled") == "true"
    page.get_by_role("button", name="Next step").press("Enter")
    assert state(page) == said
    canvas = page.locator("canvas")
    canvas.press("ArrowLeft")
    assert state(page)["step"] == "5"
    canvas.press("ArrowDown")
    assert (state(page)["processes"], state(page)["step"]) == ("3", "4")
    assert state(page)["phase"] == "done"
    page.get_by_role("button", name="Start again").click()
    assert state(page)["step"] == "0"
    assert host(page).locator("canvas").get_attribute("aria-label").startswith("3 processes")
