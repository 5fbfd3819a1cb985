"""A trained detector at work: written to a file, exported, run over a folder of pictures.

How a picture is read from a file is the caller's business: hand in a function that does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.boxes import LabelMap, draw_boxes
from course_lib.checking import (
    describe,
    expect_choice,
    expect_int,
    expect_number,
    expect_tensor,
)
from course_lib.rcnn.networks import (
    SSD,
    Detections,
    Detector,
    FasterRCNN,
    FastRCNN,
    RegionClassifier,
)

KINDS = {kind.__name__: kind for kind in (RegionClassifier, FastRCNN, FasterRCNN, SSD)}
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""endings of the files that `detect_folder` reads"""


# --- files --------------------------------------------------------------------------------------


def save_detector(path: str | Path, detector: Detector, label_map: Mapping[int, str]) -> None:
    """Write all that is needed to use a detector: its kind, settings, weights and class names.

    Args:
        path: of the file, which is written anew.
        detector: one of this chapter's.
        label_map: names of its classes.
    """
    if type(detector).__name__ not in KINDS:
        raise TypeError(f"detector: expected one of {', '.join(KINDS)}, got {describe(detector)}")
    content = {
        "kind": type(detector).__name__,
        "settings": detector.settings,
        "labels": dict(label_map),
        "weights": {name: value.cpu() for name, value in detector.state_dict().items()},
    }
    torch.save(content, path)


def load_detector(path: str | Path) -> tuple[Detector, LabelMap]:
    """Read what `save_detector` wrote, as plain data, so that the file cannot run code.

    Returns:
        the detector, on the CPU and in evaluation mode, and the names of its classes.
    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is something else.
    """
    content = _read(path)
    if not isinstance(content, dict) or not content.keys() >= {"kind", "settings", "weights"}:
        raise ValueError(f"path: expected a file that save_detector wrote, got {path}")
    expect_choice("kind", content["kind"], KINDS)
    detector: Detector = KINDS[content["kind"]](**content["settings"])
    _load(detector, content["weights"], path)
    return detector.eval(), LabelMap(content["labels"])


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Read a state dict into a model, such as one of ``torchvision.models.detection``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no state dict, or that of another model; the first difference is
            named.
    """
    content = _read(path)
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise ValueError(f"path: expected the state dict of a model, got {path}")
    _load(model, content, path)


def _read(path: str | Path) -> Any:
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"path: expected a file with weights, and {path} is not there; train a detector and"
            " save it, or put a copy of the file there"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def _load(model: nn.Module, weights: Mapping[str, Tensor], path: str | Path) -> None:
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    theirs = {name: tuple(value.shape) for name, value in weights.items()}
    for name in [*ours, *theirs]:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"path: expected the weights of this model, with {name} of shape"
                f" {ours.get(name, 'none')}, got {theirs.get(name, 'none')} in {path}"
            )
    model.load_state_dict(weights)


# --- a program of its own -------------------------------------------------------------------------


def export_detector(
    detector: FasterRCNN | SSD, size: tuple[int, int]
) -> torch.export.ExportedProgram:
    """Turn a detector into a program that runs without this library's code.

    ``torch.export.save(program, path)`` writes it; ``program.module()(images)`` gives the
    `Candidates` of a batch of any length, as a pair of tensors, from which `choose` takes the best.

    Args:
        detector: one that makes its own proposals.
        size: height and width of the images, multiples of 8.
    """
    if not isinstance(detector, FasterRCNN | SSD):
        raise TypeError(f"detector: expected FasterRCNN or SSD, got {describe(detector)}")
    for side in size:
        if expect_int("size", side, minimum=8) % 8:
            raise ValueError(f"size: expected multiples of 8, got {size}")
    device = next(detector.parameters()).device
    images = torch.rand(2, 3, *size, device=device)
    batch = torch.export.Dim("batch", min=1)
    program = _Candidates(detector).eval()
    with torch.no_grad():
        return torch.export.export(program, (images,), dynamic_shapes=({0: batch},))


class _Candidates(nn.Module):
    """The part of a detector whose shapes are known beforehand."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        boxes, scores = self.detector.candidates(images)
        return boxes, scores


# --- the detectors of torchvision -----------------------------------------------------------------


class TorchvisionDetector(nn.Module):
    """A model of ``torchvision.models.detection``, with labels as this course counts them.

    There label 0 is the background, and comes out never; here labels start with the first class.

    Args:
        model: the model, with its weights.
        categories: its classes by number, background first, as in the ``meta["categories"]`` of
            its weights.
    """

    def __init__(self, model: nn.Module, categories: Sequence[str]) -> None:
        super().__init__()
        self.model = model.eval()
        names = dict(enumerate(categories[1:]))
        # COCO left some of its numbers without a class.
        self.label_map = LabelMap({n: name for n, name in names.items() if name != "N/A"})

    def forward(self, images: Tensor | Sequence[Tensor]) -> list[Detections]:
        """Find things in images, ``Tensor[3, H, W]`` each, in [0, 1]."""
        self.model.eval()
        found = self.model(list(images))
        return [{**own, "labels": own["labels"] - 1} for own in found]


# --- pictures -----------------------------------------------------------------------------------


class Found(NamedTuple):
    """A picture, and what a detector found in it."""

    path: Path
    image: Tensor
    """``Tensor[3, H, W]`` in [0, 1], as large as in the file"""
    detections: Detections
    """``boxes`` in pixels of ``image``, ``scores`` and ``labels``, best first"""

    def draw(self, label_map: Mapping[int, str] | None = None) -> Tensor:
        """Draw all that was found into a copy of the picture; ``Tensor[3, H, W]``."""
        own = self.detections
        return draw_boxes(
            self.image, own["boxes"], own["labels"], own["scores"], label_map, min_score=0.0
        )


def prepare(picture: Tensor, size: int | None = None) -> tuple[Tensor, tuple[float, float]]:
    """Bring a picture into the form that detectors take.

    Args:
        picture: ``Tensor[C, H, W]`` or ``Tensor[H, W]``, bytes or floating in [0, 1]; grey, with
            three colours, or either with a fourth, transparency, which is left out.
        size: pixels that its shorter side gets; ``None`` leaves it as it is.
    Returns:
        ``Tensor[3, H', W']``, floating in [0, 1]; by what widths and heights have grown.
    Raises:
        TypeError, ValueError: if it is no picture.
    """
    expect_tensor("picture", picture, ndim=(2, 3))
    if not (picture.is_floating_point() or picture.dtype == torch.uint8):
        raise TypeError(f"picture: expected bytes or a floating dtype, got {describe(picture)}")
    image = picture[None] if picture.ndim == 2 else picture
    channels, height, width = image.shape
    if channels not in (1, 2, 3, 4) or height * width == 0:
        raise ValueError(f"picture: expected 1 to 4 channels first, got {describe(picture)}")
    image = image if image.is_floating_point() else image.float() / 255
    image = image[:1].expand(3, -1, -1) if channels < 3 else image[:3]
    if size is None:
        return image, (1.0, 1.0)
    expect_int("size", size, minimum=8)
    shorter = min(height, width)
    new = round(height * size / shorter), round(width * size / shorter)
    image = F.interpolate(image[None], new, mode="bilinear", antialias=True)[0].clamp(0, 1)
    return image, (new[1] / width, new[0] / height)


def detect_folder(
    detector: Callable[[list[Tensor]], list[Detections]],
    folder: str | Path,
    read: Callable[[Path], Tensor],
    *,
    size: int | None = None,
    min_score: float = 0.3,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> Iterator[Found]:
    """Find things in all pictures of a folder, in the order of their names.

    Args:
        detector: in evaluation mode, on the device: one of this chapter's, or a
            `TorchvisionDetector`.
        folder: where the pictures are; other files are left alone.
        read: reads a file as `prepare` takes it, for instance ``lambda path:
            torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)``.
        size: pixels of the shorter side that the detector sees; boxes are given in those of the
            file.
        min_score: less certain boxes are left out.
        batch_size: pictures that the detector sees at once.
    Yields:
        for each picture what was `Found`, on the CPU.
    Raises:
        FileNotFoundError: if the folder is not there, or holds no picture.
        ValueError: if a picture cannot be read; its path is named.
    """
    expect_int("batch_size", batch_size, minimum=1)
    expect_number("min_score", min_score)
    paths = _pictures(Path(folder))
    for start in range(0, len(paths), batch_size):
        some = paths[start : start + batch_size]
        pictures = [_read_picture(read, path) for path in some]
        prepared = [prepare(picture, size) for picture in pictures]
        with torch.no_grad():
            results = detector([image.to(device) for image, _ in prepared])
        for path, picture, (_, (across, down)), result in zip(
            some, pictures, prepared, results, strict=True
        ):
            good = result["scores"] >= min_score
            own = {key: value[good].cpu() for key, value in result.items()}
            own["boxes"] = own["boxes"] / own["boxes"].new_tensor([across, down, across, down])
            yield Found(path, prepare(picture)[0], own)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: expected a folder of pictures, and {folder} is none")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    if not paths:
        raise FileNotFoundError(
            f"folder: expected pictures ({', '.join(PICTURES)}) in {folder}, got none"
        )
    return paths


def _read_picture(read: Callable[[Path], Tensor], path: Path) -> Tensor:
    try:
        picture = read(path)
        prepare(picture)
    except Exception as error:
        raise ValueError(f"{path}: expected a picture that can be read ({error})") from error
    return picture
