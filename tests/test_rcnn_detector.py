"""A detector of `course_lib.rcnn` on its way to a user: files, programs, folders of pictures."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torchvision.models import detection

from course_lib import rcnn as topic
from course_lib.boxes import LabelMap
from support import assert_agree

KINDS: list[Any] = [topic.RegionClassifier, topic.FastRCNN, topic.FasterRCNN, topic.SSD]
NAMES = {0: "zero", 1: "one", 2: "two"}


def detector(kind: Any = topic.SSD, **options: Any) -> Any:
    torch.manual_seed(0)
    return kind(3, min_score=0.0, **options).eval()


def read(path: Path) -> Tensor:
    return torch.from_numpy(np.array(Image.open(path)))


def picture(path: Path, *shape: int, seed: int = 0) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_what_is_loaded(kind: Any, tmp_path: Path) -> None:
    model = detector(kind, max_detections=7)
    for module in model.modules():  # as after some training
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
    topic.save_detector(tmp_path / "digits.pt", model, NAMES)
    loaded, label_map = topic.load_detector(tmp_path / "digits.pt")
    assert type(loaded) is kind
    assert not loaded.training
    assert loaded.max_detections == 7
    assert isinstance(label_map, LabelMap)
    assert dict(label_map) == NAMES
    image, proposals = torch.rand(3, 32, 32), torch.tensor([[2.0, 3, 20, 30], [8, 8, 30, 30]])
    with torch.no_grad():
        (ours,), (theirs,) = (m([image], [{"proposals": proposals}]) for m in (model, loaded))
    for key in ("boxes", "scores", "labels"):
        assert torch.equal(ours[key], theirs[key])


def test_settings_are_kept(tmp_path: Path) -> None:
    for model in (
        topic.RegionClassifier(2, crop=24, sampled=8),
        topic.FastRCNN(2, pooling="pool", output_size=3),
        topic.FasterRCNN(2, output_size=5, proposals=4, iou_threshold=0.2),
    ):
        topic.save_detector(tmp_path / "one.pt", model, {0: "a", 1: "b"})
        loaded, _ = topic.load_detector(tmp_path / "one.pt")
        assert loaded.settings == model.settings


def test_a_file_that_is_not_there_or_something_else(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^path: expected a file with weights"):
        topic.load_detector(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"^path: expected a file that save_detector wrote"):
        topic.load_detector(tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"^path: expected the state dict of a model"):
        topic.load_weights(nn.Linear(1, 1), tmp_path / "list.pt")
    topic.save_detector(tmp_path / "ssd.pt", detector(), NAMES)
    content = torch.load(tmp_path / "ssd.pt", weights_only=True)
    torch.save({**content, "kind": "YOLO"}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"^kind: expected one of 'RegionClassifier'"):
        topic.load_detector(tmp_path / "other.pt")
    torch.save({**content, "settings": {"num_classes": 4}}, tmp_path / "more.pt")
    with pytest.raises(ValueError, match=r"with outputs.0.weight of shape \(54, 128, 3, 3\), got"):
        topic.load_detector(tmp_path / "more.pt")
    with pytest.raises(TypeError, match=r"^detector: expected one of"):
        topic.save_detector(tmp_path / "no.pt", nn.Linear(1, 1), NAMES)  # type: ignore[arg-type]


class _Runs:
    """What a file of a stranger could hold: something that runs when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this ran",)


def test_a_file_cannot_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"kind": "SSD", "settings": {}, "weights": _Runs()}, tmp_path / "bad.pt")
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        topic.load_detector(tmp_path / "bad.pt")
    assert capsys.readouterr().out == ""


# --- programs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [topic.FasterRCNN, topic.SSD])
def test_a_program_says_what_the_detector_says(kind: Any) -> None:
    model = detector(kind)
    program = topic.export_detector(model, (40, 32))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    for count in (1, 3):
        images = torch.rand(count, 3, 40, 32)
        with torch.no_grad():
            boxes, scores = loaded(images)
            wanted = model.candidates(images)
        assert_agree(boxes, wanted.boxes, 1e-4)
        assert_agree(scores, wanted.scores, 1e-5)
        found = topic.choose(topic.Candidates(boxes, scores), [(40, 32)] * count, 0.0, 0.4, 50)
        for one, other in zip(found, model(images), strict=True):
            assert len(one["scores"]) == len(other["scores"])


def test_what_cannot_be_exported() -> None:
    with pytest.raises(TypeError, match=r"^detector: expected FasterRCNN or SSD"):
        topic.export_detector(detector(topic.FastRCNN), (32, 32))
    with pytest.raises(ValueError, match=r"^size: expected multiples of 8"):
        topic.export_detector(detector(), (32, 36))


# --- the detectors of torchvision -----------------------------------------------------------------

CATEGORIES = ["__background__", "person", "bicycle", "N/A", "dog"]


def test_a_model_of_torchvision_with_weights_from_a_file(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return detection.ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=len(CATEGORIES), score_thresh=0.0,
            detections_per_img=9,
        )  # fmt: skip

    torch.manual_seed(0)
    written = make().eval()
    torch.save(written.state_dict(), tmp_path / "weights.pth")
    torch.manual_seed(1)
    model = make()
    topic.load_weights(model, tmp_path / "weights.pth")
    adapted = topic.TorchvisionDetector(model, CATEGORIES)
    assert dict(adapted.label_map) == {0: "person", 1: "bicycle", 3: "dog"}
    images = [torch.rand(3, 60, 80), torch.rand(3, 40, 40)]
    with torch.no_grad():
        wanted, found = written(images), adapted(images)
    for one, other in zip(found, wanted, strict=True):
        assert len(one["labels"]) > 0
        assert torch.equal(one["labels"], other["labels"] - 1)
        assert torch.equal(one["boxes"], other["boxes"])
    picture(tmp_path / "a.png", 50, 70, 3)
    (seen,) = topic.detect_folder(
        adapted, tmp_path, lambda path: read(path).permute(2, 0, 1), min_score=0.0
    )
    assert len(seen.detections["scores"]) > 0
    other_model = detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=7
    )
    with pytest.raises(ValueError, match=r"^path: expected the weights of this model, with head"):
        topic.load_weights(other_model, tmp_path / "weights.pth")


# --- pictures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(9, 8), (1, 9, 8), (2, 9, 8), (3, 9, 8), (4, 9, 8)])
def test_prepare_takes_all_kinds_of_pictures(shape: tuple[int, ...]) -> None:
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
    image, grown = topic.prepare(pixels)
    assert image.shape == (3, 9, 8)
    assert grown == (1, 1)
    first = pixels if pixels.ndim == 2 else pixels[0]
    assert_agree(image[0], first.float() / 255, 1e-6)
    again, _ = topic.prepare(image)
    assert torch.equal(again, image)


def test_prepare_resizes() -> None:
    image, (across, down) = topic.prepare(torch.rand(3, 30, 45), 16)
    assert image.shape == (3, 16, 24)
    assert (across, down) == (24 / 45, 16 / 30)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (torch.zeros(5, 8, 8), ValueError, "picture: expected 1 to 4 channels first"),
        (torch.zeros(3, 0, 8), ValueError, "picture: expected 1 to 4 channels first"),
        (torch.zeros(8), ValueError, "picture: expected 2 or 3 dimensions"),
        (torch.zeros(8, 8, dtype=torch.int64), TypeError, "picture: expected bytes or a floating"),
    ],
)
def test_what_is_no_picture(value: Tensor, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        topic.prepare(value)


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    model = detector()
    picture(tmp_path / "b.PNG", 40, 64, seed=1)
    picture(tmp_path / "a.png", 64, 48, seed=2)
    picture(tmp_path / "c.bmp", 24, 24, seed=3)
    (tmp_path / "notes.txt").write_text("not a picture")
    found = list(topic.detect_folder(model, tmp_path, read, batch_size=2, min_score=0.1))
    assert [own.path.name for own in found] == ["a.png", "b.PNG", "c.bmp"]
    assert [tuple(own.image.shape) for own in found] == [(3, 64, 48), (3, 40, 64), (3, 24, 24)]
    for own in found:
        assert (own.detections["scores"] >= 0.1).all()
        drawn = own.draw(NAMES)
        assert drawn.shape == own.image.shape
        assert not torch.equal(drawn, own.image)


def test_boxes_are_given_in_pixels_of_the_file(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 30, 50)
    whole = torch.tensor([[0.0, 0, 27, 16]])

    def finds_all(images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert images[0].shape == (3, 16, 27)  # rounded, so that the sides grow differently
        return [{"boxes": whole, "scores": torch.ones(1), "labels": torch.zeros(1).long()}]

    (own,) = topic.detect_folder(finds_all, tmp_path, read, size=16)
    assert_agree(own.detections["boxes"], torch.tensor([[0.0, 0, 50, 30]]), 1e-6)


def test_folders_and_files_that_are_wrong(tmp_path: Path) -> None:
    model = detector()
    with pytest.raises(FileNotFoundError, match=r"^folder: expected a folder of pictures"):
        list(topic.detect_folder(model, tmp_path / "none", read))
    with pytest.raises(FileNotFoundError, match=r"^folder: expected pictures"):
        list(topic.detect_folder(model, tmp_path, read))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png: expected a picture that can be read"):
        list(topic.detect_folder(model, tmp_path, read))


# --- for test_fake_cuda: every public function, on tensors of a given device ----------------------

LOOKS_AT_DATA = {"detect_folder"}


def _with_files(make: Any, device: Any) -> None:
    """Files and programs hold numbers, which a fake tensor has not."""
    with unset_fake_temporarily(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.pt"
        topic.save_detector(path, topic.SSD(3), NAMES)
        model, _ = topic.load_detector(path)
        torch.save(model.state_dict(), path)
        topic.load_weights(model, path)


def _exported(make: Any, device: Any) -> None:
    with unset_fake_temporarily():
        topic.export_detector(detector(), (16, 16))


class _Model(nn.Module):
    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        labels = torch.ones(1, dtype=torch.int64, device=images[0].device)
        return [{"labels": labels} for _ in images]


def _folder(make: Any, device: Any) -> None:
    def finds(images: list[Tensor]) -> list[dict[str, Tensor]]:
        assert {image.device for image in images} == {device}
        return [{"boxes": make(2, 4), "scores": make(2), "labels": make(2).long()}]

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a.png").touch()
        list(topic.detect_folder(finds, folder, lambda path: torch.rand(3, 8, 8), device=device))


CALLS: dict[str, Callable[..., Any]] = {
    "save_detector": _with_files,
    "load_detector": _with_files,
    "load_weights": _with_files,
    "export_detector": _exported,
    "TorchvisionDetector": lambda make, device: [
        own["labels"] for own in topic.TorchvisionDetector(_Model(), CATEGORIES)([make(3, 8, 8)])
    ],
    "prepare": lambda make, device: topic.prepare(make(3, 16, 20), 8)[0],
    "detect_folder": _folder,
}
