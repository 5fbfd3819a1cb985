"""`course_lib.boxes.suppression` against its loops and torchvision, on boxes of every kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from course_lib import boxes as topic
from course_lib.boxes import suppression

Scored = tuple[Tensor, Tensor]
twin = torchvision.ops.nms


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(text: str) -> Tensor:
    """Boxes written one below the other."""
    return torch.tensor([[float(n) for n in line.split()] for line in text.strip().splitlines()])


# --- sets of boxes that are hard in one way each --------------------------------------------------


def uniform(count: int, seed: int, side: float, low: float, high: float) -> Scored:
    g = generator(seed)
    corners = side * torch.rand(count, 2, generator=g)
    sides = low + (high - low) * torch.rand(count, 2, generator=g)
    return torch.cat((corners, corners + sides), 1), torch.rand(count, generator=g)


def clustered(count: int, seed: int, per: int = 40) -> Scored:
    """Many detections of each of a few objects."""
    g = generator(seed)
    middles = 600 * torch.rand(count // per, 4, generator=g)
    which = torch.randint(0, count // per, (count,), generator=g)
    middle = middles[which, :2] + 4 * torch.randn(count, 2, generator=g)
    half = (10 + middles[which, 2:] / 10) * (0.1 * torch.randn(count, 2, generator=g)).exp()
    return torch.cat((middle - half, middle + half), 1), torch.rand(count, generator=g)


def whole_numbers(count: int, seed: int) -> Scored:
    """On a coarse grid, with few different scores: ties everywhere, some boxes empty."""
    g = generator(seed)
    corners = torch.randint(0, 30, (count, 2), generator=g).float()
    sides = torch.randint(0, 12, (count, 2), generator=g).float()
    scores = torch.randint(0, 5, (count,), generator=g) / 4
    return torch.cat((corners, corners + sides), 1), scores


def chain(count: int, seed: int) -> Scored:
    """Each box would be suppressed by the one before it, if that were kept."""
    x = 3.0 * torch.arange(count)
    boxes = torch.stack((x, torch.zeros(count), x + 10, torch.full((count,), 10.0)), 1)
    return boxes, torch.linspace(1, 0, count)


def copies(count: int, seed: int) -> Scored:
    scores = torch.rand(count, generator=generator(seed)).round(decimals=1)
    return torch.tensor([[1.0, 2.0, 8.0, 9.0]]).expand(count, 4), scores


def one_column(count: int, seed: int) -> Scored:
    """All begin at the same x, so that sorting by place is of no help."""
    boxes, scores = uniform(count, seed, 3000, 10, 60)
    boxes[:, ::2] = boxes[:, ::2] - boxes[:, :1]
    return boxes, scores


def of_all_sizes(count: int, seed: int) -> Scored:
    """From a thousandth of the picture to all of it."""
    g = generator(seed)
    middle = 1000 * torch.rand(count, 2, generator=g)
    half = 1000 ** torch.rand(count, 2, generator=g) / 2
    return torch.cat((middle - half, middle + half), 1), torch.rand(count, generator=g)


def far_away(count: int, seed: int) -> Scored:
    """So far from the origin that coordinates are rounded to halves."""
    boxes, scores = uniform(count, seed, 300, 5, 40)
    return (boxes + 2.0**22).round(decimals=1), scores


def tiny(count: int, seed: int) -> Scored:
    boxes, scores = uniform(count, seed, 1, 0.001, 0.05)
    return boxes * 1e-3 - 5e-4, scores


def isolated_then_a_crowd(count: int, seed: int) -> Scored:
    """The best boxes clear nothing, the others are one heap."""
    lonely, _ = uniform(count // 2, seed, 1, 0.1, 0.2)
    lonely = lonely + 10 * torch.arange(count // 2)[:, None]
    crowd, _ = uniform(count - count // 2, seed + 1, 3, 50, 55)
    return torch.cat((lonely, crowd - 100)), torch.linspace(1, 0, count)


def broken(count: int, seed: int) -> Scored:
    """Empty, inside out, infinite, and no numbers at all."""
    boxes, scores = uniform(count, seed, 60, 5, 40)
    g = generator(seed + 1)
    strange = torch.tensor([math.nan, math.inf, -math.inf, 1e30, -1e30, 0.0, 20.0])
    where = torch.rand(count, 4, generator=g) < 0.15
    return torch.where(where, strange[torch.randint(0, 7, (count, 4), generator=g)], boxes), scores


SETS: dict[str, Callable[[int, int], Scored]] = {
    "sparse": lambda count, seed: uniform(count, seed, 40 * count**0.5, 10, 30),
    "dense": lambda count, seed: uniform(count, seed, 500, 20, 200),
    "heaped": lambda count, seed: uniform(count, seed, 100, 100, 300),
    "clustered": clustered,
    "whole numbers": whole_numbers,
    "chain": chain,
    "copies": copies,
    "one column": one_column,
    "of all sizes": of_all_sizes,
    "far away": far_away,
    "tiny": tiny,
    "isolated, then a crowd": isolated_then_a_crowd,
    "broken": broken,
}
each_set = pytest.mark.parametrize("make", SETS.values(), ids=SETS)


@each_set
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_nms_equals_its_twin(
    make: Callable[[int, int], Scored], threshold: float, device: torch.device
) -> None:
    for count, seed in ((60, 1), (400, 2), (3000, 3)):
        boxes, scores = make(count, seed)
        expected = twin(boxes, scores, threshold)
        kept = topic.nms(boxes.to(device), scores.to(device), threshold)
        assert (kept.dtype, kept.device.type) == (torch.int64, device.type)
        assert torch.equal(kept.cpu(), expected)


@each_set
def test_loops_equal_the_twin(make: Callable[[int, int], Scored]) -> None:
    boxes, scores = make(60, 4)
    for threshold in (0.0, 0.4, 1.0):
        assert torch.equal(
            topic.nms_loops(boxes, scores, threshold), twin(boxes, scores, threshold)
        )


@each_set
def test_nms_equals_its_twin_in_double_precision(make: Callable[[int, int], Scored]) -> None:
    boxes, scores = (value.double() for value in make(2500, 5))
    assert torch.equal(topic.nms(boxes, scores, 0.45), twin(boxes, scores, 0.45))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sparse", "dense", "clustered", "of all sizes"])
def test_nms_equals_its_twin_on_many(name: str) -> None:
    boxes, scores = SETS[name](20_000, 6)
    assert torch.equal(topic.nms(boxes, scores, 0.5), twin(boxes, scores, 0.5))


@pytest.mark.parametrize("few", [1, 2, 7])
@pytest.mark.parametrize("tile", [64, 2**17])
@each_set
def test_small_blocks_and_tiles_change_nothing(
    make: Callable[[int, int], Scored], few: int, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every branch of the search is taken, on sets that the loops can check."""
    monkeypatch.setattr(suppression, "FEW", few)
    monkeypatch.setattr(suppression, "MANY", 3)
    monkeypatch.setattr(suppression, "tile_size", lambda device: tile)
    boxes, scores = make(90, 7)
    for threshold in (0.0, 0.2, 0.6, 1.0):
        assert torch.equal(topic.nms(boxes, scores, threshold), twin(boxes, scores, threshold))


@given(
    coordinates=st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), max_size=40),
    levels=st.integers(1, 4),
    threshold=st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 2 / 3, 1.0]),
    few=st.sampled_from([1, 3, suppression.FEW]),
)
def test_nms_does_what_its_twin_does(
    coordinates: list[list[int]], levels: int, threshold: float, few: int
) -> None:
    """Whole numbers, so that many overlaps are exactly at the threshold."""
    boxes = torch.tensor(coordinates, dtype=torch.float32).reshape(-1, 4)
    scores = torch.tensor([sum(box) % levels for box in coordinates], dtype=torch.float32)
    expected = twin(boxes, scores, threshold)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suppression, "FEW", few)
        patch.setattr(suppression, "MANY", few)
        assert torch.equal(topic.nms(boxes, scores, threshold), expected)
    assert torch.equal(topic.nms_loops(boxes, scores, threshold), expected)


class Waits(TorchDispatchMode):
    """Count the calls for which a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None):
        waiting = function in (
            *(torch.ops.aten.equal.default, torch.ops.aten.nonzero.default),
            *(torch.ops.aten._local_scalar_dense.default, torch.ops.aten.masked_select.default),
            torch.ops.aten.searchsorted.Tensor,  # its result becomes a list
        )
        masks = function is torch.ops.aten.index.Tensor and args[1][0].dtype == torch.bool
        self.count += waiting or masks
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("name", "share"), [("clustered", 0.2), ("sparse", 0.1), ("dense", 0.1), ("chain", 0.7)]
)
def test_nms_does_not_wait_box_by_box(name: str, share: float) -> None:
    with Waits() as waits:
        kept = topic.nms(*SETS[name](8000, 0), 0.5)
    assert 0 < waits.count < share * len(kept)


# --- what is said in the docstring --------------------------------------------------------------


def test_no_boxes_give_an_empty_list_of_indices() -> None:
    for function in (topic.nms, topic.nms_loops):
        kept = function(torch.zeros(0, 4), torch.zeros(0), 0.5)
        assert (kept.shape, kept.dtype) == ((0,), torch.int64)
    kept = topic.batched_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), 0.5)
    assert (kept.shape, kept.dtype) == ((0,), torch.int64)
    kept, scores = topic.soft_nms(torch.zeros(0, 4), torch.zeros(0))
    assert (kept.shape, kept.dtype, scores.shape) == ((0,), torch.int64, (0,))


def test_of_equal_scores_the_lower_index_comes_first() -> None:
    boxes = rows("0 0 9 9\n0 0 9 9\n50 0 59 9\n50 0 59 9")
    for count in (4, 2000):
        many = boxes.repeat(count // 4, 1)
        assert topic.nms(many, torch.ones(count), 0.5).tolist() == [0, 2]


def test_exactly_at_the_threshold_is_not_above_it() -> None:
    boxes = rows("0 0 2 1\n1 0 3 1")  # IoU 1/3
    scores = torch.tensor([1.0, 0.5])
    third = topic.box_iou(boxes, boxes)[0, 1].item()  # 1/3 in float32, a little above 1/3
    assert topic.nms(boxes, scores, third).tolist() == [0, 1]
    assert topic.nms(boxes, scores, 1 / 3).tolist() == [0] == twin(boxes, scores, 1 / 3).tolist()
    assert topic.nms(boxes.double(), scores.double(), 1 / 3).tolist() == [0, 1]


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.45, 0.5, 0.7, 1 / 3, 1.0, 0.0])
def test_a_threshold_is_compared_as_a_double(threshold: float) -> None:
    limit = suppression._at_most(threshold, torch.float32)
    above = torch.nextafter(torch.tensor(limit), torch.tensor(2.0)).item()
    assert limit <= threshold < above
    assert suppression._at_most(threshold, torch.float64) == threshold


def test_a_broken_box_is_kept_and_suppresses_nothing() -> None:
    box = [0.0, 0.0, 9.0, 9.0]
    for n in range(4):
        for value in (math.nan, math.inf, -math.inf):
            odd = list(box)
            odd[n] = value
            boxes = torch.tensor([odd, box, odd, box])
            scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
            expected = twin(boxes, scores, 0.1).tolist()
            assert expected == [0, 1, 2]
            assert topic.nms(boxes, scores, 0.1).tolist() == expected


def test_a_score_that_is_no_number_comes_first() -> None:
    boxes, scores = uniform(40, 8, 30, 5, 20)
    scores[[3, 30]] = math.nan
    assert topic.nms(boxes, scores, 0.3)[0] == 3
    assert torch.equal(topic.nms(boxes, scores, 0.3), twin(boxes, scores, 0.3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_decided_in_single(dtype: torch.dtype) -> None:
    boxes, scores = (value.to(dtype) for value in uniform(200, 9, 100, 20, 60))
    expected = twin(boxes.float(), scores.float(), 0.5)
    assert torch.equal(topic.nms(boxes, scores, 0.5), expected)


def test_layout_in_memory_does_not_matter() -> None:
    boxes, scores = uniform(500, 10, 100, 20, 60)
    wide = torch.full((500, 9), math.nan)
    wide[:, ::2][:, :4] = boxes
    wide[:, 8] = scores
    before = wide.clone()
    kept = topic.nms(wide[:, ::2][:, :4], wide[:, 8], 0.5)
    assert torch.equal(kept, twin(boxes, scores, 0.5))
    assert torch.equal(wide[~before.isnan()], before[~before.isnan()])


def test_boxes_that_learn_can_be_suppressed() -> None:
    boxes, scores = uniform(600, 11, 100, 20, 60)
    expected = twin(boxes, scores, 0.5)
    kept = topic.nms(boxes.requires_grad_(), scores.requires_grad_(), 0.5)
    assert torch.equal(kept, expected)


def test_pairs_that_overlap_enough_lie_in_each_others_window(device: torch.device) -> None:
    """Equation (boxes-window), with room for rounding and no more."""
    for make in (SETS["dense"], SETS["far away"], SETS["tiny"], SETS["whole numbers"]):
        boxes, _ = make(300, 12)
        laid = suppression._rows(boxes.to(device), None)
        laid = laid[:, laid[5].argsort()]
        iou = suppression._iou(laid, laid)
        for limit in (0.0, 0.2, 0.5, 0.9, 1.0):
            first, last = (torch.tensor(ends) for ends in suppression._windows(laid, laid, limit))
            place = torch.arange(300)
            seen = (first[:, None] <= place) & (place < last[:, None])
            over = (iou > limit).cpu()
            assert not (over & ~seen).any()
            if limit == 0.5 and make is SETS["dense"]:
                assert seen.float().mean() < 0.4


# --- classes ------------------------------------------------------------------------------------


def class_by_class(boxes: Tensor, scores: Tensor, idxs: Tensor, threshold: float) -> Tensor:
    kept = [
        own[twin(boxes[own], scores[own], threshold)]
        for own in ((idxs == label).nonzero()[:, 0] for label in idxs.unique())
    ]
    together = torch.cat(kept).sort().values
    return together[scores[together].argsort(descending=True, stable=True)]


@each_set
@pytest.mark.parametrize("classes", [1, 3, 50])
def test_classes_do_not_meet(
    make: Callable[[int, int], Scored], classes: int, device: torch.device
) -> None:
    for count in (80, 2500):
        boxes, scores = make(count, 13)
        idxs = torch.randint(-5, classes - 5, (count,), generator=generator(14)) * 1000
        kept = topic.batched_nms(boxes.to(device), scores.to(device), idxs.to(device), 0.4)
        assert torch.equal(kept.cpu(), class_by_class(boxes, scores, idxs, 0.4))


def test_batched_nms_equals_its_twin() -> None:
    for count in (300, 3000):
        boxes, _ = uniform(count, 15, 200, 20, 60)
        scores = torch.randperm(count, generator=generator(17)).float()  # it does not order ties
        idxs = torch.randint(0, 9, (count,), generator=generator(16))
        expected = torchvision.ops.batched_nms(boxes, scores, idxs, 0.5)
        assert torch.equal(topic.batched_nms(boxes, scores, idxs, 0.5), expected)
        assert torch.equal(topic.batched_nms(boxes, scores, idxs.int(), 0.5), expected)


def test_without_classes_the_smaller_thing_is_lost() -> None:
    boxes = rows("0 0 10 10\n1 0 11 10\n0 0 10 9")
    scores, idxs = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([1, 2, 1])
    assert topic.nms(boxes, scores, 0.5).tolist() == [0]
    assert topic.batched_nms(boxes, scores, idxs, 0.5).tolist() == [0, 1]


# --- softly -------------------------------------------------------------------------------------


def soft_loops(
    boxes: Tensor, scores: Tensor, decay: Callable[[float], float], least: float
) -> list[tuple[int, float]]:
    left = dict(enumerate(scores.tolist()))
    iou = topic.box_iou(boxes, boxes)
    taken = []
    while left:
        best = max(left, key=lambda n: left[n])
        taken.append((best, left.pop(best)))
        left = {n: score * decay(iou[best, n].item()) for n, score in left.items()}
    return [(n, score) for n, score in taken if score >= least]


@pytest.mark.parametrize("name", ["dense", "clustered", "sparse"])
@pytest.mark.parametrize(
    ("options", "decay"),
    [
        ({}, lambda iou: math.exp(-(iou**2) / 0.5)),
        ({"sigma": 0.1}, lambda iou: math.exp(-(iou**2) / 0.1)),
        ({"method": "linear"}, lambda iou: 1 - iou if iou >= 0.3 else 1),
        (
            {"method": "linear", "iou_threshold": 0.6, "score_threshold": 0.2},
            lambda iou: 1 - iou if iou >= 0.6 else 1,
        ),
    ],
)
def test_soft_nms_equals_its_loops(
    name: str, options: dict[str, Any], decay: Callable[[float], float], device: torch.device
) -> None:
    boxes, scores = (value.double() for value in SETS[name](80, 17))
    kept, final = topic.soft_nms(boxes.to(device), scores.to(device), **options)
    expected = soft_loops(boxes, scores, decay, options.get("score_threshold", 0.001))
    assert kept.tolist() == [n for n, _ in expected]
    assert final.tolist() == pytest.approx([score for _, score in expected])
    assert final.tolist() == sorted(final.tolist(), reverse=True)


# --- what a wrong argument gets -----------------------------------------------------------------

BOXES, SCORES, IDXS = torch.zeros(3, 4), torch.zeros(3), torch.zeros(3).long()
WRONG: list[tuple[tuple[Any, ...], type[Exception], str]] = [
    ((BOXES[0], SCORES, 0.5), ValueError, "boxes: expected 2 dimensions"),
    ((BOXES[:, :3], SCORES, 0.5), ValueError, r"boxes: expected shape \(any, 4\)"),
    ((BOXES.long(), SCORES, 0.5), TypeError, "boxes: expected a floating dtype"),
    ((BOXES, SCORES[:2], 0.5), ValueError, r"scores: expected shape \(3\)"),
    ((BOXES, SCORES.double(), 0.5), TypeError, "scores: expected torch.float32 like boxes"),
    ((BOXES, SCORES[:, None], 0.5), ValueError, "scores: expected 1 dimensions"),
    ((BOXES, SCORES, -0.1), ValueError, "iou_threshold: expected a finite number >= 0 <= 1"),
    ((BOXES, SCORES, 50), ValueError, "iou_threshold: expected a finite number >= 0 <= 1"),
    ((BOXES, SCORES, math.nan), ValueError, "iou_threshold: expected a finite number"),
    ((BOXES, SCORES, "0.5"), TypeError, "iou_threshold: expected a finite number"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG)
@pytest.mark.parametrize("function", [topic.nms, topic.nms_loops, topic.batched_nms])
def test_wrong_arguments_are_answered(
    function: Callable[..., Tensor],
    arguments: tuple[Any, ...],
    error: type[Exception],
    message: str,
) -> None:
    if function is topic.batched_nms:
        arguments = (*arguments[:2], IDXS, arguments[2])
    with pytest.raises(error, match=f"^{message}"):
        function(*arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.batched_nms(BOXES, SCORES, SCORES, 0.5), TypeError, "idxs: expected int"),
        (lambda: topic.batched_nms(BOXES, SCORES, IDXS[:2], 0.5), ValueError, "idxs: expected sh"),
        (lambda: topic.soft_nms(BOXES, SCORES, method="hard"), ValueError, "method: expected one"),
        (lambda: topic.soft_nms(BOXES, SCORES, sigma=0), ValueError, "sigma: expected a finite"),
        (lambda: topic.soft_nms(BOXES, SCORES[:1]), ValueError, "scores: expected shape"),
    ],
)
def test_wrong_options_are_answered(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()
