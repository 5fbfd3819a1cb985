"""Where the detectors of `course_lib.rcnn` look: windows, merged regions, and their recall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.segmentation import felzenszwalb
from torch import Tensor
from torch.nn import functional as F

from course_lib import data
from course_lib import rcnn as topic

# --- windows ------------------------------------------------------------------------------------


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    window=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    stride=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_windows_are_those_of_unfold(
    size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> None:
    boxes = topic.sliding_windows(size, window, stride)
    if window[0] > size[0] or window[1] > size[1]:
        assert boxes.shape == (0, 4)
        return
    y, x = torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij")
    seen = [F.unfold(axis[None, None], window, stride=stride)[0] for axis in (x, y)]
    ends = [axis.amin(0) for axis in seen] + [axis.amax(0) + 1 for axis in seen]
    torch.testing.assert_close(boxes, torch.stack(ends, 1), rtol=0, atol=0)


def test_windows_are_float_boxes_on_the_device(device: torch.device) -> None:
    boxes = topic.sliding_windows(5, 3, 2, device=device)
    assert (boxes.dtype, boxes.device.type) == (torch.float32, device.type)
    assert boxes.tolist() == [[0, 0, 3, 3], [2, 0, 5, 3], [0, 2, 3, 5], [2, 2, 5, 5]]


# --- regions ------------------------------------------------------------------------------------


def segmented(
    name: str, top: int, left: int, side: int = 36, scale: float = 5.0
) -> tuple[Tensor, Tensor]:
    """A piece of a photograph and its regions; float64, so that hardly anything is a tie."""
    piece = data.photo(name)[:, top : top + side, left : left + side].double()
    regions = felzenszwalb(piece.permute(1, 2, 0).numpy(), scale=scale, sigma=0.5, min_size=8)
    return piece, torch.from_numpy(regions).long()


PIECES = [("coffee", 150, 250), ("chelsea", 100, 150), ("astronaut", 80, 200), ("camera", 100, 200)]


@pytest.mark.parametrize("place", PIECES, ids=lambda place: place[0])
def test_merging_histograms_is_merging_pixels(
    place: tuple[str, int, int], device: torch.device
) -> None:
    image, regions = (value.to(device) for value in segmented(*place))
    boxes = topic.selective_search(image, regions)
    assert regions.max() > 10
    torch.testing.assert_close(boxes, topic.selective_search_loops(image, regions))


def test_each_region_proposes_its_box_and_the_last_is_the_image() -> None:
    image, regions = segmented("coffee", 150, 250)
    count = int(regions.max()) + 1
    boxes = topic.selective_search(image, regions)
    assert (boxes.shape, boxes.dtype) == ((2 * count - 1, 4), image.dtype)
    for n in range(count):
        y, x = (regions == n).nonzero().T
        wanted = [x.min().item(), y.min().item(), x.max().item() + 1, y.max().item() + 1]
        assert boxes[n].tolist() == wanted
    assert boxes[-1].tolist() == [0, 0, 36, 36]
    for box in boxes[count:]:  # what a merged region covers, two others covered before
        assert ((boxes[:count, :2] >= box[:2]) & (boxes[:count, 2:] <= box[2:])).all(1).sum() >= 2


def test_alike_goes_to_alike_first() -> None:
    """A bright cross of five pieces on a dark ground of four: the cross is put together."""
    regions = torch.arange(3).repeat_interleave(12)[:, None] * 3 + torch.arange(
        3
    ).repeat_interleave(8)
    image = torch.full((1, 36, 24), 0.1)
    image[:, 12:24] = image[:, :, 8:16] = 0.9
    boxes = topic.selective_search(image, regions).tolist()
    assert [8, 0, 16, 36] in boxes or [0, 12, 24, 24] in boxes
    merged = boxes[9:13]
    assert [0, 0, 24, 36] not in merged[:3]


def test_one_region_is_one_proposal() -> None:
    image, regions = torch.rand(3, 4, 5), torch.zeros(4, 5, dtype=torch.int64)
    for search in (topic.selective_search, topic.selective_search_loops):
        assert search(image, regions).tolist() == [[0, 0, 5, 4]]


def test_the_arguments_are_left_as_they_are_and_need_not_be_contiguous() -> None:
    image, regions = segmented("chelsea", 100, 150)
    before = image.clone(), regions.clone()
    boxes = topic.selective_search(image, regions)
    assert torch.equal(image, before[0])
    assert torch.equal(regions, before[1])
    strided = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(topic.selective_search(strided, regions.T.contiguous().T), boxes)


IMAGE, REGIONS = torch.rand(3, 4, 5), torch.arange(20).reshape(4, 5) // 4


@pytest.mark.parametrize("search", [topic.selective_search, topic.selective_search_loops])
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((IMAGE.long(), REGIONS), TypeError, "image: expected a floating dtype"),
        ((IMAGE[0], REGIONS), ValueError, "image: expected 3 dimensions"),
        ((IMAGE, REGIONS.int()), TypeError, "regions: expected int64"),
        ((IMAGE, REGIONS.T), ValueError, r"regions: expected shape \(4, 5\)"),
        ((IMAGE, REGIONS + 1), ValueError, "regions: expected the numbers from 0 on, each in use"),
        ((IMAGE, REGIONS - 1), ValueError, "regions: expected the numbers from 0 on, each in use"),
        ((IMAGE, 2 * REGIONS), ValueError, "regions: expected the numbers from 0 on, each in use"),
        ((IMAGE, 10**12 * REGIONS), ValueError, "regions: expected the numbers from 0 on"),
        ((IMAGE[:, :0], REGIONS[:0]), ValueError, "image: expected at least one pixel"),
        ((IMAGE[:0], REGIONS), ValueError, "image: expected at least one pixel"),
    ],
)
def test_wrong_regions_are_answered(
    search: Callable[..., Tensor], arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        search(*arguments)


def test_the_digits_of_a_scene_are_among_the_proposals() -> None:
    scenes = data.scenes(6, 3)
    proposals = []
    for scene in scenes:
        pixels = scene["image"].permute(1, 2, 0).numpy()
        regions = torch.from_numpy(felzenszwalb(pixels, scale=100, sigma=0.8, min_size=20))
        proposals.append(topic.selective_search(scene["image"], regions))
    assert topic.proposal_recall(proposals, [scene["boxes"] for scene in scenes], 0.6) > 0.8


# --- recall -------------------------------------------------------------------------------------

SQUARE = torch.tensor([[0.0, 0, 4, 4], [10, 10, 14, 14]])
HALF = torch.tensor([[0.0, 0, 4, 2], [10, 10, 14, 13]])  # IoU 1/2 and 3/4 with the squares


@pytest.mark.parametrize(
    ("threshold", "limit", "wanted"),
    [
        (0.5, None, 2 / 3),
        (0.5, 1, 1 / 3),
        (0.51, None, 1 / 3),
        (0.51, 1, 0),
        (0.5, 0, 0),
        (0, 1, 1),
    ],
)
def test_recall_counts_objects_of_all_images(
    threshold: float, limit: int | None, wanted: float, device: torch.device
) -> None:
    proposals = [HALF.to(device), HALF.to(device)]
    targets = [SQUARE.to(device), torch.tensor([[30.0, 30, 40, 40]], device=device)]
    recall = topic.proposal_recall(proposals, targets, threshold, limit)
    assert recall.ndim == 0
    assert recall.item() == pytest.approx(wanted)


def test_recall_without_objects_is_no_number_and_without_proposals_is_nothing() -> None:
    assert topic.proposal_recall([HALF], [HALF[:0]]).isnan()
    assert topic.proposal_recall([HALF[:0]], [SQUARE]) == 0
    assert topic.proposal_recall([HALF, HALF[:0]], [SQUARE, SQUARE[:0]], 0.5) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.proposal_recall([HALF], [HALF] * 2), ValueError, "targets: expected one"),
        (lambda: topic.proposal_recall([], []), ValueError, "targets: expected one tensor"),
        (lambda: topic.proposal_recall([HALF], [HALF.double()]), TypeError, r"targets\[0\]: expec"),
        (lambda: topic.proposal_recall([HALF[0]], [HALF]), ValueError, r"proposals\[0\]: expected"),
        (lambda: topic.proposal_recall([HALF], [HALF[:, :3]]), ValueError, r"targets\[0\]: expec"),
        (lambda: topic.proposal_recall([HALF], [HALF], 1.5), ValueError, "iou_threshold: expected"),
        (lambda: topic.proposal_recall([HALF], [HALF], 0.5, -1), ValueError, "limit: expected an"),
        (lambda: topic.sliding_windows(0, 1, 1), ValueError, "image_size: expected an integer"),
        (lambda: topic.sliding_windows(5, True, 1), TypeError, "window: expected an integer"),
        (lambda: topic.sliding_windows(5, 1, 0), ValueError, "stride: expected an integer >= 1"),
    ],
)
def test_wrong_arguments_are_answered(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

LOOKS_AT_DATA = {"selective_search", "selective_search_loops"}

CALLS: dict[str, Callable[..., Any]] = {
    "sliding_windows": lambda make, device: topic.sliding_windows(6, 3, 2, device=device),
    "selective_search": lambda make, device: topic.selective_search(
        make(3, 4, 4), torch.zeros(4, 4, dtype=torch.int64, device=device)
    ),
    "selective_search_loops": lambda make, device: topic.selective_search_loops(
        make(3, 4, 4), torch.zeros(4, 4, dtype=torch.int64, device=device)
    ),
    "proposal_recall": lambda make, device: topic.proposal_recall([make(5, 4)], [make(2, 4)]),
}
