"""The anchors and the losses of `course_lib.rcnn`, against torchvision's detectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection import _utils as twins
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork
from torchvision.models.detection.ssd import SSD

from course_lib import rcnn as topic
from course_lib.boxes import box_iou, encode_boxes
from support import assert_agree


def random_boxes(generator: torch.Generator, count: int, step: float = 0.5) -> Tensor:
    start = (20 * torch.rand(count, 2, generator=generator) / step).round() * step
    sides = step + (12 * torch.rand(count, 2, generator=generator) / step).round() * step
    return torch.cat((start, start + sides), 1)


# --- patterns -----------------------------------------------------------------------------------


@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    stride=st.sampled_from([(4, 4), (8, 16)]),
    scales=st.lists(st.sampled_from([8.0, 12.5, 31.0, 64.0]), min_size=1, max_size=3),
    ratios=st.lists(st.sampled_from([0.5, 1.0, 1.7, 3.0]), min_size=1, max_size=3),
)
def test_anchor_grid_equals_torchvisions(
    rows: int, columns: int, stride: tuple[int, int], scales: list[float], ratios: list[float]
) -> None:
    generator = AnchorGenerator((tuple(scales),), (tuple(ratios),))
    size = (rows * stride[0], columns * stride[1])
    images = ImageList(torch.zeros(1, 3, *size), [size])
    (wanted,) = generator(images, [torch.zeros(1, 1, rows, columns)])
    ours = topic.anchor_grid((rows, columns), stride, scales, ratios, offset=0)
    assert ours.shape == wanted.shape
    # The twin rounds half the sides; a hair's breadth decides between two numbers at a half.
    assert (ours - wanted).abs().max() <= 0.5 + 1e-4
    own = (ours[: len(scales) * len(ratios)]).round()
    assert torch.equal(own, wanted[: len(own)]) or bool(((ours % 1 - 0.5).abs() < 1e-4).any())


def test_anchor_grid_by_hand() -> None:
    grid = topic.anchor_grid((1, 2), (8, 16), (4.0,), (4.0, 1.0))
    wanted = [[7, 0, 9, 8], [6, 2, 10, 6], [23, 0, 25, 8], [22, 2, 26, 6]]
    assert_agree(grid, torch.tensor(wanted, dtype=torch.float32), 1e-6)
    areas = (grid[:, 2:] - grid[:, :2]).prod(1)
    assert_agree(areas, torch.full((4,), 16.0), 1e-5)


@pytest.mark.parametrize("size", [(32, 48), (96, 96)])
def test_default_boxes_equal_torchvisions(size: tuple[int, int]) -> None:
    ratios = ((2.0,), (2.0, 3.0), ())
    scales = (0.1, 0.35, 0.6, 1.2)
    sizes = [(4, 6), (2, 3), (1, 1)]
    twin = DefaultBoxGenerator([list(own) for own in ratios], scales=list(scales))
    images = ImageList(torch.zeros(1, 3, *size), [size])
    (wanted,) = twin(images, [torch.zeros(1, 1, *own) for own in sizes])
    assert_agree(topic.default_boxes(sizes, size, scales, ratios), wanted, 1e-5)


# --- matching -----------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    anchors=st.integers(1, 30),
    objects=st.integers(1, 5),
    thresholds=st.sampled_from([(0.7, 0.3), (0.5, 0.5), (0.6, 0.1), (1.0, 0.0)]),
    low_quality=st.booleans(),
)
def test_match_anchors_equals_torchvisions(
    seed: int, anchors: int, objects: int, thresholds: tuple[float, float], low_quality: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    around = random_boxes(generator, anchors, 4.0)  # so coarse that many have equal IoU
    boxes = random_boxes(generator, objects, 4.0)
    iou = box_iou(boxes, around)
    if low_quality and bool((iou.amax(1) == 0).any()):
        return  # ours differs there on purpose, see below
    wanted = twins.Matcher(*thresholds, allow_low_quality_matches=low_quality)(iou)
    assert torch.equal(topic.match_anchors(around, boxes, *thresholds, low_quality), wanted)


def test_an_object_that_nothing_touches_claims_nothing() -> None:
    anchors = torch.tensor([[0.0, 0, 4, 4], [20, 20, 24, 24]])
    boxes = torch.tensor([[0.0, 0, 4, 4], [50, 50, 60, 60]])
    assert topic.match_anchors(anchors, boxes).tolist() == [0, -1]
    twin = twins.Matcher(0.7, 0.3, allow_low_quality_matches=True)
    assert twin(box_iou(boxes, anchors)).tolist() == [0, 0]  # a far anchor stands for an object


@pytest.mark.parametrize("match", [topic.match_anchors, topic.match_default_boxes])
def test_without_objects_all_is_background(match: Callable[..., Tensor]) -> None:
    anchors = random_boxes(torch.Generator().manual_seed(0), 5)
    assert match(anchors, torch.zeros(0, 4)).tolist() == [-1] * 5
    assert match(anchors[:0], anchors).tolist() == []


@given(seed=st.integers(0, 10**6), anchors=st.integers(1, 30), objects=st.integers(1, 6))
def test_match_default_boxes_equals_torchvisions(seed: int, anchors: int, objects: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    around, boxes = random_boxes(generator, anchors, 4.0), random_boxes(generator, objects, 4.0)
    wanted = twins.SSDMatcher(0.5)(box_iou(boxes, around))
    assert torch.equal(topic.match_default_boxes(around, boxes, 0.5), wanted)


# --- sampling -----------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 12),
    part=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_sample_matches(seed: int, count: int, part: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    matches = torch.randint(-2, 3, (3, 9), generator=generator)
    positive, negative = topic.sample_matches(matches, count, part, generator)
    assert not (positive & (matches < 0)).any()
    assert not (negative & (matches != -1)).any()
    for row, ours, theirs in zip(matches, positive.sum(1), negative.sum(1), strict=True):
        wanted = min(int(count * part), int((row >= 0).sum()))
        assert int(ours) == wanted
        assert int(theirs) == min(count - wanted, int((row == -1).sum()))


def test_sample_matches_draws_all_alike() -> None:
    matches = torch.tensor([0, -1, -1, 1, -2, 2, -1]).expand(4000, 7)
    generator = torch.Generator().manual_seed(0)
    positive, negative = topic.sample_matches(matches, 4, 0.5, generator)
    often = (positive.double() + negative.double()).mean(0)
    wanted = torch.tensor([2, 2, 2, 2, 0, 2, 2]) / 3
    assert (often - wanted).abs().max() < 0.05


def test_hard_negatives() -> None:
    matches = torch.tensor([[0, -1, -1, -1, -1], [-1, -1, -1, -1, -1], [1, 2, -2, -1, -1]])
    losses = torch.tensor([[9.0, 1, 5, 3, 5], [1.0, 2, 3, 4, 5], [1.0, 1, 9, 4, 3]])
    chosen = topic.hard_negatives(losses, matches, 2)
    assert chosen.nonzero().tolist() == [[0, 2], [0, 4], [2, 3], [2, 4]]


# --- losses -------------------------------------------------------------------------------------


def value_and_slopes(loss: Callable[..., Any], *inputs: Tensor) -> list[Tensor]:
    inputs = tuple(x.clone().requires_grad_() for x in inputs)
    values = loss(*inputs)
    values = [values] if isinstance(values, Tensor) else list(values)
    total = sum((n + 1) * value.sum() for n, value in enumerate(values))
    return [*values, *torch.autograd.grad(total, inputs)]


@pytest.mark.parametrize("beta", [0.0, 1 / 9, 1.0, 2.5])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_smooth_l1_loss_equals_its_twin(
    beta: float, reduction: str, dtype: torch.dtype, device: torch.device
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 4, 5, generator=generator, dtype=dtype).to(device)
    x.view(-1)[:3] = y.view(-1)[:3] + torch.tensor([0.0, 1.0, -1.0], dtype=dtype) * beta
    tolerance = 1e-10 if dtype == torch.float64 else 1e-6
    options: dict[str, Any] = {"reduction": reduction, "beta": beta}
    ours = value_and_slopes(lambda a, b: topic.smooth_l1_loss(a, b, **options), x, y)
    twin = value_and_slopes(lambda a, b: F.smooth_l1_loss(a, b, **options), x, y)
    for one, other in zip(ours, twin, strict=True):
        assert_agree(one, other, tolerance)


def test_smooth_l1_loss_of_nothing() -> None:
    nothing = torch.zeros(0, 4)
    assert topic.smooth_l1_loss(nothing, nothing, "sum") == 0
    assert topic.smooth_l1_loss(nothing, nothing).isnan()


def test_rpn_loss_equals_torchvisions() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 20, generator=generator, dtype=torch.float64)
    deltas, targets = torch.randn(2, 3, 20, 4, generator=generator, dtype=torch.float64)
    matches = torch.randint(-2, 2, (3, 20), generator=generator)
    positive, negative = topic.sample_matches(matches, 8, 0.5, generator)
    rpn: Any = SimpleNamespace(fg_bg_sampler=lambda labels: (list(positive), list(negative)))

    def twin(scores: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
        return RegionProposalNetwork.compute_loss(
            rpn, scores.view(-1, 1), changes.view(-1, 4), list(positive.double()), list(targets)
        )

    ours = value_and_slopes(
        lambda s, d: topic.rpn_loss(s, d, targets, positive, negative), logits, deltas
    )
    for one, other in zip(ours, value_and_slopes(twin, logits, deltas), strict=True):
        assert_agree(one, other)


def test_region_loss_equals_torchvisions() -> None:
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(12, 5, generator=generator, dtype=torch.float64)
    deltas = torch.randn(12, 5, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (12,), generator=generator)
    targets = torch.randn(12, 4, generator=generator, dtype=torch.float64)

    def twin(scores: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
        return fastrcnn_loss(scores, changes.flatten(1), [labels], [targets])

    ours = value_and_slopes(lambda s, d: topic.region_loss(s, d, labels, targets), logits, deltas)
    for one, other in zip(ours, value_and_slopes(twin, logits, deltas), strict=True):
        assert_agree(one, other)


def test_multibox_loss_equals_torchvisions() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 30, 5, generator=generator, dtype=torch.float64)
    deltas = torch.randn(3, 30, 4, generator=generator, dtype=torch.float64)
    defaults = random_boxes(generator, 30).double()
    boxes = [random_boxes(generator, count).double() for count in (3, 1, 2)]
    own = [torch.randint(0, 4, (len(some),), generator=generator) for some in boxes]
    matches = [topic.match_default_boxes(defaults, some) for some in boxes]
    labels = torch.stack(
        [
            torch.where(match >= 0, label[match.clamp(min=0)] + 1, 0)
            for match, label in zip(matches, own, strict=True)
        ]
    )
    coder = twins.BoxCoder((10.0, 10.0, 5.0, 5.0))
    targets = torch.stack(
        [
            encode_boxes(some[match.clamp(min=0)], defaults, (10.0, 10.0, 5.0, 5.0))
            for match, some in zip(matches, boxes, strict=True)
        ]
    )
    ssd: Any = SimpleNamespace(
        box_coder=coder, neg_to_pos_ratio=3,
        _get_targets=None,
    )  # fmt: skip

    def twin(scores: Tensor, changes: Tensor) -> tuple[Tensor, Tensor]:
        losses = SSD.compute_loss(
            ssd,
            [{"boxes": b, "labels": c + 1} for b, c in zip(boxes, own, strict=True)],
            {"bbox_regression": changes, "cls_logits": scores},
            [defaults] * 3,
            matches,
        )
        return losses["classification"], losses["bbox_regression"]

    ours = value_and_slopes(lambda s, d: topic.multibox_loss(s, d, labels, targets), logits, deltas)
    for one, other in zip(ours, value_and_slopes(twin, logits, deltas), strict=True):
        assert_agree(one, other)


def test_losses_without_an_object_are_finite() -> None:
    none = torch.zeros(2, 6, dtype=torch.bool)
    zeros = torch.zeros(2, 6, 4)
    assert [x.item() for x in topic.rpn_loss(zeros[..., 0], zeros, zeros, none, none)] == [0, 0]
    labels = torch.zeros(2, 6, dtype=torch.int64)
    logits = torch.zeros(2, 6, 3)
    assert [x.item() for x in topic.multibox_loss(logits, zeros, labels, zeros)] == [0, 0]
    classes, boxes = topic.region_loss(logits[0], torch.zeros(6, 3, 4), labels[0], zeros[0])
    assert classes.item() == pytest.approx(math.log(3))
    assert boxes.item() == 0


# --- wrong arguments ----------------------------------------------------------------------------

BOX = torch.zeros(2, 4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.anchor_grid(2, 8, 16.0), TypeError, "scales: expected several"),  # type: ignore[arg-type]
        (lambda: topic.anchor_grid(2, 8, (16.0, 0.0)), ValueError, r"scales\[1\]: expected"),
        (lambda: topic.anchor_grid(2, 0, (16.0,)), ValueError, "stride: expected"),
        (lambda: topic.anchor_grid(2, 8, (16.0,), (-1.0,)), ValueError, r"ratios\[0\]: expected"),
        (
            lambda: topic.default_boxes([(2, 2)], 8, (0.1,), [()]),
            ValueError,
            "scales: expected one",
        ),
        (lambda: topic.default_boxes([(2, 2)], 8, (0.1, 0.2), []), ValueError, "scales: expected"),
        (lambda: topic.match_anchors(BOX[0], BOX), ValueError, "anchors: expected 2 dim"),
        (
            lambda: topic.match_anchors(BOX, BOX.double()),
            TypeError,
            "boxes: expected torch.float32",
        ),
        (lambda: topic.match_anchors(BOX, BOX, 0.3, 0.7), ValueError, "low_threshold: expected"),
        (lambda: topic.sample_matches(BOX[:, 0], -1), ValueError, "count: expected"),
        (lambda: topic.hard_negatives(BOX, BOX[0]), ValueError, "matches: expected shape"),
        (lambda: topic.smooth_l1_loss(BOX, BOX[0]), ValueError, "target: expected shape"),
        (lambda: topic.smooth_l1_loss(BOX, BOX, "max"), ValueError, "reduction: expected one of"),
        (lambda: topic.smooth_l1_loss(BOX, BOX, beta=-1.0), ValueError, "beta: expected"),
        (
            lambda: topic.region_loss(BOX, torch.zeros(2, 4, 4), BOX[:, 0], BOX),
            TypeError,
            "labels: expected int64",
        ),
        (
            lambda: topic.region_loss(BOX, BOX, BOX[:, 0].long(), BOX),
            ValueError,
            "deltas: expected shape",
        ),
    ],
)
def test_wrong_arguments_are_answered(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

LOOKS_AT_DATA: set[str] = set()


def _mask(make: Any, *shape: int) -> Tensor:
    return make(*shape) > 0


CALLS: dict[str, Callable[..., Any]] = {
    "anchor_grid": lambda make, device: topic.anchor_grid(2, 8, (16.0,), device=device),
    "default_boxes": lambda make, device: topic.default_boxes(
        [(2, 3)], 16, (0.1, 0.2), [(2.0,)], device=device
    ),
    "match_anchors": lambda make, device: topic.match_anchors(make(6, 4), make(2, 4)),
    "match_default_boxes": lambda make, device: topic.match_default_boxes(make(6, 4), make(2, 4)),
    "sample_matches": lambda make, device: topic.sample_matches(make(2, 6).long(), 4),
    "hard_negatives": lambda make, device: topic.hard_negatives(make(2, 6), make(2, 6).long()),
    "smooth_l1_loss": lambda make, device: topic.smooth_l1_loss(make(2, 6), make(2, 6)),
    "rpn_loss": lambda make, device: topic.rpn_loss(
        make(2, 6), make(2, 6, 4), make(2, 6, 4), _mask(make, 2, 6), _mask(make, 2, 6)
    ),
    "region_loss": lambda make, device: topic.region_loss(
        make(6, 3), make(6, 3, 4), torch.zeros(6, dtype=torch.int64, device=device), make(6, 4)
    ),
    "multibox_loss": lambda make, device: topic.multibox_loss(
        make(2, 6, 3),
        make(2, 6, 4),
        torch.zeros(2, 6, dtype=torch.int64, device=device),
        make(2, 6, 4),
    ),
}
