"""The detectors of `course_lib.rcnn`: their parts, their training, and their way to a user."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from course_lib import rcnn as topic
from course_lib.boxes import nms
from support import assert_agree

KINDS = [topic.RegionClassifier, topic.FastRCNN, topic.FasterRCNN, topic.SSD]


def scene(seed: int, count: int = 3, size: tuple[int, int] = (64, 48)) -> dict[str, Tensor]:
    """Bright rectangles on noise, their boxes, and boxes near them as proposals."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.2 * torch.rand(3, *size, generator=generator)
    boxes = torch.zeros(count, 4)
    labels = torch.randint(0, 3, (count,), generator=generator)
    for n in range(count):
        y = int(torch.randint(0, size[0] - 24, (), generator=generator))
        x = int(torch.randint(0, size[1] - 16, (), generator=generator))
        boxes[n] = torch.tensor([x, y, x + 16, y + 24])
        image[labels[n], y : y + 24, x : x + 16] = 1
    near = boxes.repeat(4, 1) + 3 * torch.randn(4 * count, 4, generator=generator)
    return {"image": image, "boxes": boxes, "labels": labels, "proposals": near}


def detector(kind: Callable[..., nn.Module], **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return kind(3, **options)


# --- all four -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_is_called_as_torchvisions_detectors_are(kind: Any) -> None:
    scenes = [scene(0), scene(1, 1), scene(2, 0)]  # one without any object
    images = [own["image"] for own in scenes]
    model = detector(kind)
    losses = model(images, scenes)
    assert set(losses) >= {"classes", "boxes"}
    torch.stack(list(losses.values())).sum().backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    model.eval()
    with torch.no_grad():
        found = model(images, scenes)
        assert len(found) == 3
        for own in found:
            count = len(own["scores"])
            assert own["boxes"].shape == (count, 4)
            assert own["labels"].shape == (count,)
            assert (own["scores"].diff() <= 0).all()
            assert set(own["labels"].tolist()) <= {0, 1, 2}
            assert (own["boxes"] >= 0).all()
            assert (own["boxes"] <= torch.tensor([48, 64, 48, 64])).all()
        stacked = model(torch.stack(images), scenes)
        for one, other in zip(found, stacked, strict=True):
            assert_agree(one["boxes"], other["boxes"], 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns(kind: Any) -> None:
    model = detector(kind)
    losses = model([scene(0)["image"], scene(1)["image"]], [scene(0), scene(1)])
    torch.stack(list(losses.values())).sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("kind", KINDS)
def test_learns_to_find_rectangles(kind: Any) -> None:
    scenes = [scene(n, 2) for n in range(8)]
    model = detector(kind)
    history = topic.train_detector(
        model, scenes, epochs=20, batch_size=4, lr=3e-3, colours=False, progress=False
    )
    assert set(history.metrics) == {f"train_{name}" for name in model.loss_names}
    assert history.train_loss[-1] < 0.7 * history.train_loss[0]
    assert not model.training
    with torch.no_grad():
        found = model([own["image"] for own in scenes], scenes)
    right = 0
    for own, wanted in zip(found, scenes, strict=True):
        for box, label in zip(wanted["boxes"], wanted["labels"], strict=True):
            near = (own["boxes"] - box).abs().amax(1) < 6
            right += bool((near & (own["labels"] == label)).any())
    assert right >= 10  # of 16


@pytest.mark.parametrize("kind", [*KINDS, partial(topic.FastRCNN, pooling="pool")])
def test_trains_and_finds_in_sixteen_bits(kind: Any) -> None:
    scenes = [scene(n) for n in range(4)]
    losses = {}
    for precision in ("float32", "bfloat16"):
        history = topic.train_detector(
            model := detector(kind), scenes, epochs=1, batch_size=4, progress=False,
            precision=precision, device="cpu",
        )  # fmt: skip
        losses[precision] = history.train_loss[0]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)
    assert losses["bfloat16"] != losses["float32"]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        candidates = model.candidates(torch.stack([s["image"] for s in scenes]), scenes)
    assert {value.dtype for value in candidates} == {torch.float32}


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_repeatable(kind: Any) -> None:
    weights = []
    for _ in range(2):
        model = detector(kind)
        topic.train_detector(
            model, [scene(n) for n in range(4)], epochs=1, batch_size=2, progress=False
        )
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*weights)


@pytest.mark.parametrize("kind", [topic.RegionClassifier, topic.FastRCNN])
def test_needs_proposals(kind: Any) -> None:
    model = detector(kind).eval()
    for targets in (None, [{}]):
        with pytest.raises(ValueError, match=r"^targets: expected proposals for each image"):
            model([scene(0)["image"]], targets)
    with torch.no_grad():
        (found,) = model([scene(0)["image"]], [{"proposals": torch.zeros(0, 4)}])
    assert found["boxes"].shape == (0, 4)


@pytest.mark.parametrize("kind", [topic.RegionClassifier, topic.FastRCNN])
def test_proposals_of_one_image_do_not_touch_anothers(kind: Any) -> None:
    model = detector(kind, min_score=0.0).eval()
    scenes = [scene(0), scene(1, 1)]
    images = [own["image"] for own in scenes]
    with torch.no_grad():
        together = model(images, scenes)
        alone = [model([image], [own])[0] for image, own in zip(images, scenes, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert_agree(one["scores"], other["scores"], 1e-5)


def test_pooling_can_be_chosen() -> None:
    align, pool = detector(topic.FastRCNN), detector(topic.FastRCNN, pooling="pool")
    pool.load_state_dict(align.state_dict())
    own = scene(0)
    seen = align.look(own["image"][None])
    wanted = topic.roi_pool(seen, [own["proposals"]], 7, 1 / 4)
    assert torch.equal(pool.cut_out(seen, [own["proposals"]]), wanted)
    assert not torch.equal(align.cut_out(seen, [own["proposals"]]), wanted)


def test_crops_of_a_region_are_what_the_network_sees() -> None:
    model, own = detector(topic.RegionClassifier, crop=16).eval(), scene(0)
    assert torch.equal(model.look(own["image"]), own["image"])
    crops = topic.roi_align(
        own["image"][None], [own["proposals"]], 16, sampling_ratio=2, aligned=True
    )
    wanted = model.merge(*model.backbone(crops))
    assert torch.equal(model.cut_out(own["image"][None], [own["proposals"]]), wanted)


def test_dark_on_light_looks_like_light_on_dark() -> None:
    backbone = topic.Backbone().eval()
    image = torch.rand(1, 3, 32, 32)
    for one, other in zip(backbone(image), backbone(1 - image), strict=True):
        assert_agree(one, other, 1e-4)
    for one, other in zip(backbone(image), backbone(0.3 * image + 0.1), strict=True):
        assert_agree(one, other, 2e-2)  # brightness and contrast


# --- parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_keep_best_is_nms(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = 20 * torch.rand(3, 30, 2, generator=generator)
    boxes = torch.cat((start, start + 4 + 12 * torch.rand(3, 30, 2, generator=generator)), 2)
    scores = torch.randn(3, 30, generator=generator)
    for count in (1, 6, 40):
        kept, real = topic.keep_best(boxes, scores, count, 0.3)
        assert kept.shape == (3, count, 4)
        for n in range(3):
            wanted = nms(boxes[n], scores[n], 0.3)[:count]
            assert int(real[n].sum()) == len(wanted)
            assert torch.equal(kept[n, : len(wanted)], boxes[n, wanted])
            assert not real[n, len(wanted) :].any()


def test_keep_best_keeps_a_box_without_area_once() -> None:
    boxes = torch.tensor([[[3.0, 3, 3, 9], [0, 0, 5, 5]]])
    kept, real = topic.keep_best(boxes, torch.tensor([[2.0, 1.0]]), 3, 0.5)
    assert torch.equal(kept[:, :2], boxes)
    assert real.tolist() == [[True, True, False]]


def test_choose_by_hand() -> None:
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 10], [5, 5, 30, 30]])
    candidates = topic.Candidates(
        boxes[None, :, None].expand(2, 3, 2, 4).clone(),
        torch.tensor([[[0.9, 0.6], [0.8, 0.7], [0.3, 0.01]], [[0.0, 0], [0, 0], [0, 0.5]]]),
    )
    first, second = topic.choose(candidates, [(20, 16), (40, 40)], 0.05, 0.5, 10)
    assert first["labels"].tolist() == [0, 1, 0]  # both classes keep their best of the first two
    assert_agree(first["scores"], torch.tensor([0.9, 0.7, 0.3]))
    assert first["boxes"].tolist() == [[0, 0, 9, 9], [0, 0, 9, 10], [5, 5, 16, 20]]
    assert second["boxes"].tolist() == [[5, 5, 30, 30]]
    assert len(topic.choose(candidates, [(20, 16), (40, 40)], 0.05, 0.5, 2)[0]["scores"]) == 2


def test_stack_images() -> None:
    batch, sizes = topic.stack_images([torch.rand(3, 10, 24), torch.rand(3, 17, 8)])
    assert batch.shape == (2, 3, 24, 24)
    assert sizes == [(10, 24), (17, 8)]
    assert torch.equal(batch[1, :, 20, 3], batch[1, :, 16, 3])  # continued
    exact = torch.rand(2, 3, 16, 8)
    assert topic.stack_images(exact)[0] is exact


def test_proposals_come_best_first_and_inside() -> None:
    model = detector(topic.FasterRCNN, proposals=9).eval()
    with torch.no_grad():
        first, second = model.propose([scene(0)["image"], scene(1)["image"]])
    for boxes in (first, second):
        assert 0 < len(boxes) <= 9
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([48.0, 64, 48, 64])).all()


def test_scene_batches() -> None:
    scenes = [scene(n) for n in range(7)]
    batches = topic.SceneBatches(scenes, 3, seed=1)
    assert len(batches) == 2
    seen = []
    for (images, targets), same in batches:
        assert images.shape == (3, 3, 64, 48)
        assert targets is same
        for image, target in zip(images, targets, strict=True):
            (own,) = [s for s in scenes if s["boxes"] is target["boxes"]]
            seen.append(id(own))
            ours = sorted(channel.sum().item() for channel in own["image"])
            theirs = sorted(channel.sum().item() for channel in image)
            turned = sorted(64 * 48 - total for total in ours)
            assert theirs == pytest.approx(ours) or theirs == pytest.approx(turned)
    assert len(set(seen)) == 6
    plain = topic.SceneBatches(scenes, 3, colours=False)
    for (images, targets), _ in plain:
        for image, target in zip(images, targets, strict=True):
            assert any(
                torch.equal(image, s["image"]) for s in scenes if s["boxes"] is target["boxes"]
            )
    with pytest.raises(ValueError, match=r"^scenes: expected at least a batch of 8, got 7"):
        topic.SceneBatches(scenes, 8)


OWN = scene(0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m([]), TypeError, "images: expected a tensor or several"),
        (lambda m: m([torch.zeros(1, 8, 8)]), ValueError, r"images\[0\]: expected shape"),
        (lambda m: m(torch.zeros(3, 8, 8)), ValueError, "images: expected 4 dimensions"),
        (lambda m: m([OWN["image"]]), ValueError, "targets: expected one for each image in train"),
        (lambda m: m([OWN["image"]], []), ValueError, "targets: expected one for each of 1"),
        (
            lambda m: m([OWN["image"]], [{**OWN, "labels": OWN["labels"] + 3}]),
            ValueError,
            r"targets\[0\]\['labels'\]: expected 0 to 2, as the background",
        ),
        (
            lambda m: m([OWN["image"]], [{**OWN, "labels": OWN["labels"][:1]}]),
            ValueError,
            r"targets\[0\]\['labels'\]: expected shape",
        ),
        (
            lambda m: m([OWN["image"]], [{**OWN, "boxes": OWN["boxes"][:, :3]}]),
            ValueError,
            r"targets\[0\]\['boxes'\]: expected shape",
        ),
        (lambda m: topic.SSD(0), ValueError, "num_classes: expected"),
        (lambda m: topic.SSD(3, min_score=2.0), ValueError, "min_score: expected"),
        (lambda m: topic.FastRCNN(3, pooling="mean"), ValueError, "pooling: expected one of"),
        (lambda m: topic.RegionClassifier(3, crop=4), ValueError, "crop: expected"),
        (lambda m: topic.RegionClassifier(3, crop=20), ValueError, "crop: expected a multiple"),
        (lambda m: topic.FasterRCNN(3, output_size=2), ValueError, "output_size: expected"),
    ],
)
def test_wrong_arguments_are_answered(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call(detector(topic.SSD))


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

LOOKS_AT_DATA = {"RegionClassifier", "FastRCNN", "FasterRCNN", "SSD", "choose", "train_detector"}


def _boxes(make: Any) -> dict[str, Tensor]:
    return {"boxes": make(2, 4), "labels": make(2).long(), "proposals": make(5, 4)}


def _both(make: Any, device: Any, kind: Any) -> list[Tensor]:
    """The losses of a detector, and all that it finds."""
    with device:
        model = kind(3)
    targets = [_boxes(make), _boxes(make)]
    losses = model(make(2, 3, 32, 32), targets)
    found = model.eval()(make(2, 3, 32, 32), targets)
    return [*losses.values(), *(value for own in found for value in own.values())]


def _made(device: Any, kind: Any, *args: int) -> Any:
    with device:  # fake weights cannot be moved
        return kind(*args)


class _OnDevice(topic.SSD):
    """A detector that is there already: without a GPU there is no way to move one."""

    def _apply(self, fn: Any, recurse: bool = True) -> _OnDevice:
        return self


def _train(make: Any, device: Any) -> nn.Module:
    model = _made(device, _OnDevice, 3)
    scenes = [{"image": make(3, 32, 32), **_boxes(make)} for _ in range(2)]

    def backward(loss: Tensor) -> None:  # without a GPU there is none on one
        assert loss.device == device
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)

    with patch.object(Tensor, "backward", backward):
        topic.train_detector(model, scenes, epochs=1, batch_size=2, progress=False, device=device)
    return model


CALLS: dict[str, Callable[..., Any]] = {
    **{kind.__name__: lambda make, device, kind=kind: _both(make, device, kind) for kind in KINDS},
    "Backbone": lambda make, device: _made(device, topic.Backbone)(make(2, 3, 16, 16)),
    "Merge": lambda make, device: _made(device, topic.Merge, 4, 6)(
        make(2, 4, 8, 8), make(2, 6, 4, 4)
    ),
    "RegionHead": lambda make, device: _made(device, topic.RegionHead, 5, 3, 2)(make(2, 5, 3, 3)),
    "RegionProposalNetwork": lambda make, device: _made(device, topic.RegionProposalNetwork, 4, 8)(
        make(2, 4, 3, 3)
    ),
    "choose": lambda make, device: [
        value
        for own in topic.choose(
            topic.Candidates(make(2, 3, 2, 4), make(2, 3, 2)), [(9, 9)] * 2, 0.1, 0.5, 4
        )
        for value in own.values()
    ],
    "keep_best": lambda make, device: topic.keep_best(make(2, 5, 4), make(2, 5), 3, 0.5),
    "stack_images": lambda make, device: topic.stack_images([make(3, 8, 5), make(3, 4, 9)])[0],
    "train_detector": _train,
}
