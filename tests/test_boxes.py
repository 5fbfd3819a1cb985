"""`course_lib.boxes.geometry` against its loops, its twins and autograd; tables for the house."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck
from torchvision.models.detection import _utils as detection

from course_lib import boxes as topic
from course_lib.boxes import geometry
from support import assert_agree

DOUBLE = torch.float64
ops = torchvision.ops
Pairwise = Callable[..., Tensor]


def draw(seed: int, *shape: int, size: float = 60, device: torch.device | str = "cpu") -> Tensor:
    """Boxes in a picture of about 100 by 100 pixels, some of which overlap; float64."""
    generator = torch.Generator().manual_seed(seed)
    corners = 60 * torch.rand(*shape, 2, generator=generator, dtype=DOUBLE)
    sides = 1 + size * torch.rand(*shape, 2, generator=generator, dtype=DOUBLE)
    return torch.cat((corners, corners + sides), -1).to(device)


MEASURES: dict[str, tuple[Pairwise, Pairwise]] = {
    "iou": (topic.box_iou, ops.box_iou),
    "giou": (topic.generalized_box_iou, ops.generalized_box_iou),
    "diou": (topic.distance_box_iou, ops.distance_box_iou),
    "ciou": (topic.complete_box_iou, ops.complete_box_iou),
}
LOSSES: dict[str, tuple[Pairwise, Pairwise]] = {
    "giou": (topic.generalized_box_iou_loss, ops.generalized_box_iou_loss),
    "diou": (topic.distance_box_iou_loss, ops.distance_box_iou_loss),
    "ciou": (topic.complete_box_iou_loss, ops.complete_box_iou_loss),
}
each_measure = pytest.mark.parametrize(("ours", "twin"), MEASURES.values(), ids=MEASURES)
each_loss = pytest.mark.parametrize(("ours", "twin"), LOSSES.values(), ids=LOSSES)


@pytest.mark.parametrize(
    "name",
    [
        *("batched_nms", "box_area", "box_convert", "box_iou", "clip_boxes_to_image"),
        *("complete_box_iou", "complete_box_iou_loss", "distance_box_iou"),
        *("distance_box_iou_loss", "generalized_box_iou", "generalized_box_iou_loss"),
        *("nms", "remove_small_boxes"),
    ],
)
def test_a_twin_can_be_swapped_for_ours(name: str) -> None:
    def parameters(function: Callable[..., Any]) -> list[tuple[str, Any]]:
        return [(p.name, p.default) for p in inspect.signature(function).parameters.values()]

    assert parameters(getattr(topic, name)) == parameters(getattr(ops, name))


# --- ways to write a box ------------------------------------------------------------------------


@pytest.mark.parametrize("out_fmt", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("in_fmt", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("shape", [(0,), (7,), (), (2, 3)])
def test_formats_equal_the_twins(
    in_fmt: str, out_fmt: str, shape: tuple[int, ...], device: torch.device
) -> None:
    boxes = draw(1, *shape, device=device)
    ours = topic.box_convert(boxes, in_fmt, out_fmt)
    assert_agree(ours, ops.box_convert(boxes, in_fmt, out_fmt))
    assert ours.data_ptr() != boxes.data_ptr() or boxes.numel() == 0


@pytest.mark.parametrize("fmt", geometry.FORMATS)
@pytest.mark.parametrize("other", geometry.FORMATS)
def test_there_and_back_is_where_one_was(fmt: str, other: str) -> None:
    boxes = draw(2, 9)
    there = topic.box_convert(boxes, fmt, other)
    assert_agree(topic.box_convert(there, other, fmt), boxes)


def test_y_first_is_the_other_way_round() -> None:
    box = torch.tensor([[1.0, 2.0, 5.0, 10.0]])
    assert topic.box_convert(box, "yxyx", "xyxy").tolist() == [[2, 1, 10, 5]]
    assert topic.box_convert(box, "xyxy", "yxyx").tolist() == [[2, 1, 10, 5]]
    assert topic.box_convert(box, "yxyx", "xywh").tolist() == [[2, 1, 8, 4]]


def test_unit_boxes_have_the_size_divided_out() -> None:
    boxes = torch.tensor([[10.0, 20.0, 50.0, 40.0]])
    unit = topic.to_unit(boxes, (40, 100))
    assert torch.allclose(unit, torch.tensor([[0.1, 0.5, 0.5, 1.0]]))
    assert torch.allclose(topic.to_pixels(unit, (40, 100)), boxes)
    with pytest.raises(ValueError, match="size: expected one integer or a pair"):
        topic.to_unit(boxes, (3, 40, 100))


@pytest.mark.parametrize("shape", [(0,), (40,), (2, 5)])
@pytest.mark.parametrize("size", [(50, 90), (1, 1)])
def test_clipping_equals_its_twin(
    shape: tuple[int, ...], size: tuple[int, int], device: torch.device
) -> None:
    boxes = draw(3, *shape, size=90, device=device) - 30
    assert_agree(topic.clip_boxes_to_image(boxes, size), ops.clip_boxes_to_image(boxes, size))


def test_small_boxes_are_found_as_the_twin_finds_them(device: torch.device) -> None:
    boxes = draw(4, 50, device=device)
    boxes[7] = torch.tensor([3.0, 3.0, 23.0, 13.0])  # exactly as small as allowed
    boxes[8, 0] = math.nan
    for least in (0, 10, 20, 61):
        ours = topic.remove_small_boxes(boxes, least)
        assert torch.equal(ours, ops.remove_small_boxes(boxes, least))
    assert 7 in topic.remove_small_boxes(boxes, 10)
    empty = topic.remove_small_boxes(boxes[:0], 1)
    assert (empty.shape, empty.dtype) == ((0,), torch.int64)


# --- area and overlap ---------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32, torch.float16, torch.bfloat16])
def test_area_equals_its_twin(fmt: str, dtype: torch.dtype, device: torch.device) -> None:
    boxes = draw(1, 20, size=400, device=device).to(dtype)
    ours = topic.box_area(boxes, fmt)
    assert torch.equal(ours, ops.box_area(boxes, fmt))
    assert topic.box_area(topic.box_convert(draw(1, 3), "xyxy", "yxyx"), "yxyx").allclose(
        ops.box_area(draw(1, 3))
    )


def test_half_precision_does_not_overflow() -> None:
    box = torch.tensor([[0.0, 0.0, 500.0, 500.0]], dtype=torch.float16)
    assert topic.box_area(box).item() == 250_000
    assert topic.box_iou(box, box).item() == 1


@each_measure
@pytest.mark.parametrize("shape", [((7,), (5,)), ((0,), (4,)), ((3,), (0,)), ((2, 4), (2, 3))])
def test_measures_equal_their_twins(
    ours: Pairwise,
    twin: Pairwise,
    shape: tuple[tuple[int, ...], tuple[int, ...]],
    device: torch.device,
) -> None:
    one, two = draw(1, *shape[0], device=device), draw(2, *shape[1], device=device)
    assert_agree(ours(one, two), twin(one, two))


@each_measure
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 0), (torch.float16, 2e-3), (torch.bfloat16, 2e-2)]
)
def test_measures_keep_what_the_dtype_allows(
    ours: Pairwise, twin: Pairwise, dtype: torch.dtype, tolerance: float, device: torch.device
) -> None:
    one, two = (draw(n, 40, device=device).to(dtype) for n in (1, 2))
    result, expected = ours(one, two), twin(one, two)
    assert result.dtype == expected.dtype
    if tolerance == 0 and ours is topic.box_iou:
        assert torch.equal(result, expected)  # the same sums in the same order
    assert_agree(result, expected, tolerance=tolerance or 2e-6)


@pytest.mark.parametrize("fmt", ["xyxy", "xywh", "cxcywh"])
def test_iou_takes_the_twin_s_formats(fmt: str, device: torch.device) -> None:
    one, two = draw(1, 9, device=device), draw(2, 8, device=device)
    assert_agree(topic.box_iou(one, two, fmt), ops.box_iou(one, two, fmt))
    turned = [topic.box_convert(boxes, "xyxy", "yxyx") for boxes in (one, two)]
    assert_agree(topic.box_iou(*turned, "yxyx"), ops.box_iou(one, two))


def test_loops_say_the_same(device: torch.device) -> None:
    one, two = draw(1, 6, device=device), draw(2, 5, device=device)
    one[0] = two[0]
    one[1, 2:] = one[1, :2]  # empty
    two[1] = one[1]
    assert_agree(topic.box_iou_loops(one, two), topic.box_iou(one, two))


@each_measure
def test_measures_have_the_right_gradients(
    ours: Pairwise, twin: Pairwise, device: torch.device
) -> None:
    one, two = draw(1, 4, device=device), draw(2, 3, device=device)
    leaves = one.requires_grad_(), two.requires_grad_()
    if ours is not topic.complete_box_iou:  # whose weight counts as a constant, as in the twin
        assert gradcheck(ours, leaves)
    signal = torch.randn(4, 3, dtype=DOUBLE, device=device)
    got, wanted = (torch.autograd.grad(f(*leaves), leaves, signal) for f in (ours, twin))
    for mine, theirs in zip(got, wanted, strict=True):
        assert_agree(mine, theirs)


@each_measure
def test_layout_in_memory_does_not_matter(ours: Pairwise, twin: Pairwise) -> None:
    one, two = draw(1, 6), draw(2, 10)
    spread = torch.full((12, 8), math.nan, dtype=DOUBLE)
    spread[::2, ::2] = one
    views = spread[::2, ::2], two.T.contiguous().T
    assert_agree(ours(*views), twin(one, two))


def test_nothing_of_nothing_is_nothing() -> None:
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    line = torch.tensor([[3.0, 1.0, 3.0, 9.0]])
    box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    inside_out = torch.tensor([[5.0, 5.0, 2.0, 9.0]])
    for one in (point, line, inside_out):
        for two in (point, line, box, inside_out):
            for measure in (topic.box_iou, topic.box_iou_loops):
                assert measure(one, two).item() == 0
                assert measure(two, one).item() == 0
    assert ops.box_iou(point, point).isnan()
    assert topic.generalized_box_iou(point, point).item() == 0


@pytest.mark.parametrize("measure", [topic.box_iou, topic.generalized_box_iou])
def test_the_gradient_of_nothing_is_nothing(measure: Pairwise) -> None:
    line = torch.tensor([[3.0, 1.0, 3.0, 9.0]], requires_grad=True)
    measure(line, line.detach()).sum().backward()
    assert line.grad is not None
    assert line.grad.abs().max() < 10  # and not NaN
    if measure is topic.box_iou:
        assert (line.grad == 0).all()


def test_what_is_not_a_number_stays_none() -> None:
    box = torch.tensor([[0.0, 0.0, 9.0, 9.0]])
    for n in range(4):
        broken = box.clone()
        broken[0, n] = math.nan
        assert topic.box_iou(broken, box).isnan().all()
        assert topic.box_iou(box, broken).isnan().all()
        assert topic.box_iou(box.clone().requires_grad_(), broken).isnan().all()
    endless = torch.tensor([[0.0, 0.0, math.inf, 9.0]])
    assert topic.box_iou(endless, box).item() == 0


def test_giou_falls_on_where_iou_has_ended() -> None:
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    away = [topic.generalized_box_iou(box, box + shift).item() for shift in (0, 5, 10, 20, 1000)]
    assert away == sorted(away, reverse=True)
    assert away[0] == 1
    assert -1 < away[-1] < -0.99
    assert topic.box_iou(box, box + 10).item() == topic.box_iou(box, box + 20).item() == 0


@given(
    coordinates=st.lists(st.lists(st.integers(0, 12), min_size=4, max_size=4), max_size=8),
    others=st.lists(st.lists(st.integers(0, 12), min_size=4, max_size=4), max_size=8),
)
def test_iou_is_a_count_of_pixels(coordinates: list[list[int]], others: list[list[int]]) -> None:
    def sheet(box: list[int]) -> Tensor:
        covered = torch.zeros(12, 12, dtype=torch.bool)
        covered[box[1] : box[3], box[0] : box[2]] = True
        return covered

    one, two = (torch.tensor(rows, dtype=DOUBLE).reshape(-1, 4) for rows in (coordinates, others))
    iou = topic.box_iou(one, two)
    for n, a in enumerate(coordinates):
        for m, b in enumerate(others):
            inter, union = (sheet(a) & sheet(b)).sum(), (sheet(a) | sheet(b)).sum()
            if a[0] > a[2] or a[1] > a[3] or b[0] > b[2] or b[1] > b[3]:
                assert iou[n, m] == 0
            else:
                assert iou[n, m].item() == pytest.approx((inter / union.clamp(min=1)).item())


def test_many_boxes_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = draw(1, 23).float(), draw(2, 11).float()
    for size in (1, 11, 40, 10**6):
        monkeypatch.setattr(geometry, "tile_size", lambda device, size=size: size)
        assert torch.equal(topic.box_iou(one, two), ops.box_iou(one, two))


# --- losses -------------------------------------------------------------------------------------


@each_loss
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("shape", [(6,), (0,), ()])
def test_losses_equal_their_twins(
    ours: Pairwise, twin: Pairwise, reduction: str, shape: tuple[int, ...], device: torch.device
) -> None:
    one, two = draw(1, *shape, device=device), draw(2, *shape, device=device)
    leaf = one.requires_grad_()
    for eps in (1e-7, 1e-3):
        if eps != 1e-7 and ours is topic.complete_box_iou_loss:
            continue  # checked below
        mine, theirs = ours(leaf, two, reduction, eps), twin(leaf, two, reduction, eps)
        assert_agree(mine, theirs)
        assert_agree(
            torch.autograd.grad(mine.sum(), leaf)[0], torch.autograd.grad(theirs.sum(), leaf)[0]
        )


def test_complete_loss_takes_eps_where_its_twin_does(device: torch.device) -> None:
    one, two = draw(1, 6, device=device), draw(2, 6, device=device)
    assert_agree(
        topic.complete_box_iou_loss(one, two, eps=0.5), ops.complete_box_iou_loss(one, two, eps=0.5)
    )


@each_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_losses_compute_in_single_precision_at_least(
    ours: Pairwise, twin: Pairwise, dtype: torch.dtype
) -> None:
    one, two = draw(1, 6).to(dtype), draw(2, 6).to(dtype)
    result = ours(one, two)
    assert result.dtype == torch.float32
    assert_agree(result, twin(one.float(), two.float()), tolerance=1e-5)


@each_loss
def test_losses_of_apart_boxes_pull_them_together(ours: Pairwise, twin: Pairwise) -> None:
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]], requires_grad=True)
    ours(box, box.detach() + 30).sum().backward()
    assert box.grad is not None
    assert (box.grad[0, 2:] < 0).all()  # to the right, and down


# --- encode and decode --------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_encoding_equals_its_twin(
    weights: tuple[float, float, float, float], device: torch.device
) -> None:
    wanted, there = draw(1, 9, device=device), draw(2, 9, device=device)
    given_ = torch.tensor(weights, dtype=DOUBLE, device=device)
    codes = topic.encode_boxes(wanted, there, weights)
    assert_agree(codes, detection.encode_boxes(wanted, there, given_))
    assert_agree(topic.encode_boxes(wanted, there, given_), codes)
    coder = detection.BoxCoder(weights)
    assert_agree(topic.decode_boxes(codes, there, weights), coder.decode_single(codes, there))
    assert_agree(topic.decode_boxes(codes, there, weights), wanted)
    classes = torch.cat((codes, -codes, 100 * codes), 1)  # the last beyond the clip
    assert_agree(
        topic.decode_boxes(classes, there, weights), coder.decode_single(classes, there), 1e-9
    )


def test_encoding_of_no_boxes_is_empty() -> None:
    none = draw(1, 0)
    assert topic.encode_boxes(none, none).shape == (0, 4)
    assert topic.decode_boxes(torch.zeros(0, 8, dtype=DOUBLE), none).shape == (0, 8)


def test_encoding_has_the_right_gradients() -> None:
    wanted, there = draw(1, 3).requires_grad_(), draw(2, 3).requires_grad_()
    assert gradcheck(topic.encode_boxes, (wanted, there))
    codes = topic.encode_boxes(wanted, there).detach().requires_grad_()
    assert gradcheck(topic.decode_boxes, (codes, there))


def test_the_clip_keeps_boxes_finite() -> None:
    box = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    grown = topic.decode_boxes(torch.tensor([[0.0, 0.0, 1e6, 1e6]]), box)
    assert torch.allclose(grown[0, 2:] - grown[0, :2], torch.tensor(1000.0))


# --- what a wrong argument gets -----------------------------------------------------------------

BOXES = torch.zeros(3, 4)
WRONG: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: topic.box_convert(BOXES, "xyxy", "xxyy"), ValueError, "out_fmt: expected one of"),
    (lambda: topic.box_convert(BOXES[:, :3], "xyxy", "xywh"), ValueError, "boxes: expected 4 num"),
    (lambda: topic.box_convert(BOXES.int(), "xyxy", "xywh"), TypeError, "boxes: expected a float"),
    (lambda: topic.box_area(BOXES, "xy"), ValueError, "fmt: expected one of"),
    (lambda: topic.box_area([1, 2, 3, 4]), TypeError, "boxes: expected a tensor"),
    (lambda: topic.box_iou(BOXES, BOXES[0]), ValueError, r"boxes2: expected \(..., N, 4\)"),
    (lambda: topic.box_iou(BOXES, BOXES.double()), TypeError, "boxes2: expected torch.float32"),
    (lambda: topic.box_iou(BOXES, BOXES[:, :2]), ValueError, "boxes2: expected 4 numbers"),
    (lambda: topic.box_iou(BOXES, BOXES, "wh"), ValueError, "fmt: expected one of"),
    (lambda: topic.generalized_box_iou(BOXES.int(), BOXES.int()), TypeError, "boxes1: expected a"),
    (lambda: topic.generalized_box_iou_loss(BOXES, BOXES[:2]), ValueError, "boxes2: expected sh"),
    (lambda: topic.distance_box_iou_loss(BOXES, BOXES, "max"), ValueError, "reduction: expected"),
    (lambda: topic.encode_boxes(BOXES, BOXES[:2]), ValueError, "proposals: expected shape"),
    (lambda: topic.encode_boxes(BOXES, BOXES, (1, 1)), ValueError, "weights: expected shape"),
    (lambda: topic.decode_boxes(BOXES[:2], BOXES), ValueError, "rel_codes: expected shape"),
    (lambda: topic.decode_boxes(BOXES[:, :3], BOXES), ValueError, "rel_codes: expected 4 numbers"),
    (lambda: topic.clip_boxes_to_image(BOXES, (0, 5)), ValueError, "size: expected an integer"),
    (lambda: topic.remove_small_boxes(BOXES[0], 1), ValueError, "boxes: expected 2 dimensions"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_arguments_are_answered(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


@pytest.mark.slow
@pytest.mark.parametrize(
    "function",
    [topic.box_iou, topic.generalized_box_iou, topic.complete_box_iou],
    ids=lambda function: function.__name__,
)
def test_compiles_into_one_graph(function: Pairwise) -> None:
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert_agree(compiled(draw(1, 5), draw(2, 4)), function(draw(1, 5), draw(2, 4)))


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------


def _image(make: Callable[..., Tensor], *keys: str) -> dict[str, Tensor]:
    columns = {"boxes": make(3, 4), "scores": make(3), "labels": make(3).long()}
    return {key: columns[key] for key in keys}


# The functions whose result's shape depends on the numbers in a tensor.
LOOKS_AT_DATA: set[str] = {
    "batched_nms",
    "box_iou_loops",
    "draw_boxes",
    "match_boxes",
    "mean_average_precision",
    "mean_average_precision_loops",
    "nms",
    "nms_loops",
    "remove_small_boxes",
    "soft_nms",
}

CALLS: dict[str, Callable[..., Any]] = {
    "average_precision": lambda make, device: topic.average_precision(make(3), make(3)),
    "batched_nms": lambda make, device: topic.batched_nms(make(3, 4), make(3), make(3).long(), 0.5),
    "box_area": lambda make, device: topic.box_area(make(3, 4)),
    "box_convert": lambda make, device: topic.box_convert(make(3, 4), "cxcywh", "yxyx"),
    "box_iou": lambda make, device: topic.box_iou(make(3, 4), make(2, 4)),
    "box_iou_loops": lambda make, device: topic.box_iou_loops(make(3, 4), make(2, 4)),
    "clip_boxes_to_image": lambda make, device: topic.clip_boxes_to_image(make(3, 4), (5, 6)),
    "complete_box_iou": lambda make, device: topic.complete_box_iou(make(3, 4), make(2, 4)),
    "complete_box_iou_loss": lambda make, device: topic.complete_box_iou_loss(
        make(3, 4), make(3, 4), "mean"
    ),
    "decode_boxes": lambda make, device: topic.decode_boxes(make(3, 8), make(3, 4)),
    "distance_box_iou": lambda make, device: topic.distance_box_iou(make(3, 4), make(2, 4)),
    "distance_box_iou_loss": lambda make, device: topic.distance_box_iou_loss(
        make(3, 4), make(3, 4)
    ),
    "draw_boxes": lambda make, device: topic.draw_boxes(
        make(3, 16, 16), make(2, 4), make(2).long(), make(2)
    ),
    "encode_boxes": lambda make, device: topic.encode_boxes(make(3, 4), make(3, 4)),
    "generalized_box_iou": lambda make, device: topic.generalized_box_iou(make(3, 4), make(2, 4)),
    "generalized_box_iou_loss": lambda make, device: topic.generalized_box_iou_loss(
        make(3, 4), make(3, 4), "sum"
    ),
    "match_boxes": lambda make, device: topic.match_boxes(make(3, 4), make(3), make(2, 4)),
    "mean_average_precision": lambda make, device: topic.mean_average_precision(
        [_image(make, "boxes", "scores", "labels")], [_image(make, "boxes", "labels")]
    ),
    "mean_average_precision_loops": lambda make, device: topic.mean_average_precision_loops(
        [_image(make, "boxes", "scores", "labels")], [_image(make, "boxes", "labels")]
    ),
    "nms": lambda make, device: topic.nms(make(3, 4), make(3), 0.5),
    "nms_loops": lambda make, device: topic.nms_loops(make(3, 4), make(3), 0.5),
    "precision_recall": lambda make, device: topic.precision_recall(make(3), make(3) > 0, 3),
    "remove_small_boxes": lambda make, device: topic.remove_small_boxes(make(3, 4), 1.0),
    "soft_nms": lambda make, device: topic.soft_nms(make(3, 4), make(3)),
    "to_pixels": lambda make, device: topic.to_pixels(make(3, 4), (5, 6)),
    "to_unit": lambda make, device: topic.to_unit(make(3, 4), (5, 6)),
}


# --- for test_exercises: right answers written differently, and wrong ones with their hints -------


def shapely(a: Tensor, b: Tensor) -> float:
    """IoU with plain numbers and early returns."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.tolist(), b.tolist()
    if ax2 <= bx1 or bx2 <= ax1 or ay2 <= by1 or by2 <= ay1:
        return 0.0
    inter = (min(ax2, bx2) - max(ax1, bx1)) * (min(ay2, by2) - max(ay1, by1))
    return inter / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter)


def stacked(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    cx, cy, w, h = boxes.T
    rows, columns = size
    return torch.stack(
        [columns * (cx - w / 2), rows * (cy - h / 2), columns * (cx + w / 2), rows * (cy + h / 2)]
    ).T


def shrinking(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Take the best, strike out what it suppresses, and go on with the rest."""
    left, kept = scores.argsort(descending=True), []
    while len(left):
        kept.append(left[0].item())
        left = left[1:][topic.box_iou(boxes[left[:1]], boxes[left[1:]])[0] <= threshold]
    return kept


def one_by_one(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    for n in scores.argsort(descending=True).tolist():
        rivals = [m for m in kept if labels[m] == labels[n]]
        if not any(shapely(boxes[m], boxes[n]) > threshold for m in rivals):
            kept.append(n)
    return kept


def by_extent(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> list[int]:
    """Along x alone, and with torchvision's suppression."""
    width = boxes[:, 2].max() - boxes[:, 0].min()
    moved = boxes.clone()
    moved[:, ::2] += (labels * width)[:, None]
    return ops.nms(moved, scores, threshold).tolist()


def by_twice_the_reach(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    return topic.nms(boxes - labels[:, None] * 2.5 * boxes.abs().max(), scores, threshold)


def by_a_fixed_shift(shift: float, corners: slice = slice(None)) -> Callable[..., Tensor]:
    def answer(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
        boxes[:, corners] += shift * labels[:, None]
        return topic.nms(boxes, scores, threshold)

    return answer


def class_by_class(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """With a loop over the classes, and in order at last."""
    kept = []
    for label in labels.unique():
        own = (labels == label).nonzero()[:, 0]
        kept.append(own[topic.nms(boxes[own], scores[own], threshold)])
    found = torch.cat(kept)
    return found[scores[found].argsort(descending=True)]


def detour(a: Tensor, b: Tensor) -> Tensor:
    """The loss of one of the library's relatives, on boxes where it is 1 - IoU."""
    measure = ops.box_iou  # a name of one's own
    return 1 - measure(torch.stack([a, b]), torch.stack([a, b]))[0, 1]


def by_objects(scores: Tensor, correct: Tensor, positives: int) -> float:
    """Each object that was found adds the best precision from there on."""
    order = sorted(range(len(scores)), key=lambda n: -scores[n].item())
    hits, best, total = 0, [], 0.0
    for rank, n in enumerate(order, 1):
        hits += bool(correct[n])
        best.append(hits / rank)
    for place, n in enumerate(order):
        total += max(best[place:]) if correct[n] else 0
    return total / positives


RIGHT_ANSWERS: dict[str, list[Any]] = {
    "ex-boxes-predict": [[0.16666667, -0.03333333], torch.tensor([4 / 24, 4 / 24 - 6 / 30])],
    "ex-boxes-iou": [shapely, lambda a, b: torch.tensor(shapely(a, b))],
    "ex-boxes-pixels": [stacked, lambda boxes, size: stacked(boxes.float(), size)],
    "ex-boxes-keep": [[4, 1, 0], torch.tensor([4, 1, 0])],
    "ex-boxes-suppress": [shrinking, ops.nms, lambda *a: ops.nms(*a).tolist()],
    "ex-boxes-classes": [by_extent, by_twice_the_reach],
    "ex-boxes-precision": [by_objects],
}

# An answer, and words of the hint that its writer should get; empty for the exercise's own hint.
WRONG_ANSWERS: dict[str, list[tuple[Any, str]]] = {
    "ex-boxes-predict": [
        ((4 / 28, 4 / 28 - 2 / 30), "counts it twice"),
        ((1 / 6, -0.05), ""),
        ((0.17, -0.03), "two decimals"),
        ((0.167, -0.033), "three decimals"),
        ((0.1667, -0.0333), "four decimals"),
        ((0.167, -0.0333), "three digits"),
        ((1 / 4, 1 / 4 - 6 / 42), "four long"),
        (1 / 6, ""),
    ],
    "ex-boxes-iou": [
        (lambda a, b: 0.0, ""),
        (lambda a, b: ops.box_iou(a[None], b[None]), ""),
        (lambda a, b: round(shapely(a, b), 2), ""),
        (lambda a, b: ops.generalized_box_iou(a[None], b[None])[0, 0], "GIoU"),
        (lambda a, b: ops.box_iou(a[None], b[None])[0, 0].float(), "a library computes"),
        (lambda a, b: topic.box_iou(a[None], b[None])[0, 0], "a library computes"),
        (lambda a, b: topic.box_iou_loops(a[None], b[None]).item(), "a library computes"),
        (lambda a, b: 1 - detour(a, b), "a library computes"),
        (
            lambda a, b: (
                (inter := (torch.min(a, b)[2:] - torch.max(a, b)[:2]).prod())
                / (ops.box_area(a) + ops.box_area(b) - inter)
            ),
            "both sides come out negative",
        ),
    ],
    "ex-boxes-pixels": [
        (lambda boxes, size: stacked(boxes, size[::-1]), "the height first"),
        (lambda boxes, size: stacked(boxes, size).round(), ""),
        (lambda boxes, size: boxes * size[0], ""),
        (lambda boxes, size: stacked(boxes, size)[:, [1, 0, 3, 2]], "x comes first"),
    ],
    "ex-boxes-keep": [
        ((4, 1), "suppresses nothing"),
        ((0, 1, 4), "in order of score"),
        ((4, 0), "exactly the threshold"),
        ((2, 0), ""),
        (4, ""),
    ],
    "ex-boxes-suppress": [
        (lambda boxes, scores, threshold: scores.argsort(descending=True), ""),
        (lambda boxes, scores, threshold: ops.nms(boxes, -scores, threshold), "best box"),
        (lambda boxes, scores, threshold: ops.nms(boxes, scores, 0.5), ""),
        (lambda boxes, scores, threshold: ops.nms(boxes, scores, threshold - 1e-6), "threshold"),
        (lambda boxes, scores, threshold: ops.nms(boxes, scores, threshold)[:1], ""),
        (lambda *a: ops.nms(*a).sort().values.tolist(), "not in order"),
    ],
    "ex-boxes-classes": [
        (lambda boxes, scores, labels, threshold: ops.nms(boxes, scores, threshold), "not used"),
        (
            lambda boxes, scores, labels, threshold: ops.nms(
                boxes + labels[:, None] * (boxes.max() + 1), scores, threshold
            ),
            "below 0",
        ),
        (ops.batched_nms, "below 0"),  # it takes coordinates for positive
        (lambda *a: topic.batched_nms(*a).flip(0), ""),
        (topic.batched_nms, "is to be written here"),
        (class_by_class, "exactly once"),
        (one_by_one, "exactly once"),
        *((by_a_fixed_shift(shift), "") for shift in (8, 16, 24, 100, 1e4)),
        *((by_a_fixed_shift(shift), "") for shift in (-50, 30, 2000, 1e6)),
        *((by_a_fixed_shift(shift, slice(0, 4, 2)), "") for shift in (8, 100, 4096, 1e5)),
    ],
    "ex-boxes-precision": [
        (lambda scores, correct, positives: correct.double().mean(), ""),
        (lambda scores, correct, positives: correct.sum() / positives, ""),
        (lambda *a: by_objects(*a) * a[2] / max(1, int(a[1].sum())), "not found"),
        (lambda *a: round(float(by_objects(*a)), 2), ""),
        (
            lambda scores, correct, positives: by_objects(
                torch.arange(len(scores), 0, -1.0), correct, positives
            ),
            "order of score",
        ),
    ],
}
