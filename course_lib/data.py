"""Where the course's images come from.

Three kinds: real images that lie inside the installed packages and need no download; scenes
composed of them, with exact boxes and masks; and public sets that are downloaded once.
Images are float32 in [0, 1], channels first, on the CPU: ``(C, H, W)``, batches ``(N, C, H, W)``.
Boxes are ``(x1, y1, x2, y2)`` in pixels, where pixel ``i`` reaches from ``i`` to ``i + 1``.
Every call returns tensors of its own, so that changing them changes nothing for the next caller.

Sources:
    Digits: Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998,
    as packed with scikit-learn.
    Faces: Huang et al., "Labeled Faces in the Wild", 2007, a subset packed with scikit-image.
    Stereo pair: Scharstein et al., "High-Resolution Stereo Datasets with Subpixel-Accurate
    Ground Truth", 2014, packed with scikit-image.
    Photographs: scikit-image (free of copyright); scikit-learn's china by danielbuechele and
    flower by vultilion (both CC BY 2.0); matplotlib's portrait of Grace Hopper (public domain).
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from abc import abstractmethod
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from course_lib.checking import expect_choice, expect_int

VARIABLE = "COURSE_DATA"

_PACKAGES = {
    "matplotlib": "matplotlib",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "torchvision": "torchvision",
}
_PHOTOS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick": ("skimage", "data/brick.png"),
    "camera": ("skimage", "data/camera.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "clock": ("skimage", "data/clock_motion.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "moon": ("skimage", "data/moon.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "page": ("skimage", "data/page.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "text": ("skimage", "data/text.png"),
}
_MEDICAL = {
    "cell": ("skimage", "data/cell.png"),
    "ihc": ("skimage", "data/ihc.png"),
    "microaneurysms": ("skimage", "data/microaneurysms.png"),
    "retina": ("skimage", "data/retina.jpg"),
}
# Photographs without writing, so that a scene holds no digit but its own.
_BACKGROUNDS = {
    "train": (
        "astronaut",
        "brick",
        "chelsea",
        "china",
        "coffee",
        "grass",
        "hubble_deep_field",
        "motorcycle",
        "rocket",
    ),
    "test": ("camera", "flower", "grace_hopper", "gravel", "moon"),
}
_TRAIN_DIGITS = 1347  # three quarters of the 1797
# What scikit-image's rgb2gray takes: the luminance of the primaries of Rec. 709, as Poynton
# rounds it. Applied to the stored values, as there, without undoing their gamma.
_GREY_WEIGHTS = (0.2125, 0.7154, 0.0721)


class DataNotFoundError(FileNotFoundError):
    """A file with data is missing or damaged; says where it belongs and what to use instead."""


class Scene(TypedDict):
    """An image and the objects in it."""

    image: Tensor
    """``Tensor[3, H, W]``, float32 in [0, 1]"""
    boxes: Tensor
    """``Tensor[N, 4]``, float32, ``(x1, y1, x2, y2)`` in pixels"""
    labels: Tensor
    """``Tensor[N]``, int64, counted from 0, with no class for the background"""
    masks: NotRequired[Tensor]
    """``Tensor[N, H, W]``, bool; not in VOC 2007"""
    difficult: NotRequired[Tensor]
    """``Tensor[N]``, bool; only in VOC 2007: objects that its evaluation leaves out"""


# --- real images inside the installed packages --------------------------------------------------


def digits(split: Literal["all", "train", "test"] = "all") -> tuple[Tensor, Tensor]:
    """Return scikit-learn's handwritten digits.

    Args:
        split: ``"train"`` is the first 1347 scans, ``"test"`` the last 450.
    Returns:
        images, ``Tensor[1797, 1, 8, 8]``, 1 where the pen was; labels, ``Tensor[1797]``, int64.
    """
    expect_choice("split", split, ("all", "train", "test"))
    images, labels = _read_digits()
    part = {
        "all": slice(None),
        "train": slice(_TRAIN_DIGITS),
        "test": slice(_TRAIN_DIGITS, None),
    }[split]
    return images[part].clone(), labels[part].clone()


def faces() -> tuple[Tensor, Tensor]:
    """Return small grey crops of photographs: a hundred faces, then a hundred others.

    A few of the others show part of a face.

    Returns:
        images, ``Tensor[200, 1, 25, 25]``; labels, ``Tensor[200]``, int64, 1 for a face.
    """
    return _read_faces().clone(), (torch.arange(200) < 100).long()


def photo_names() -> tuple[str, ...]:
    """Return the names that `photo` knows."""
    return tuple(_PHOTOS)


def photo(name: str, size: int | None = None, *, grey: bool = False) -> Tensor:
    """Return a photograph.

    Args:
        name: one of `photo_names`.
        size: pixels of the shorter side, resized without aliasing; ``None`` leaves it as it is.
        grey: whether to turn colours into grey, ``0.2125 R + 0.7154 G + 0.0721 B`` of the
            stored values, as `skimage.color.rgb2gray` does.
    Returns:
        ``Tensor[3, H, W]``, or ``Tensor[1, H, W]`` if the photograph is grey or ``grey`` is set.
    Raises:
        ValueError: if there is no such photograph; the names are listed.
        ModuleNotFoundError: if the package that carries it is not installed.
    """
    expect_choice("name", name, _PHOTOS)
    return _picture(_PHOTOS[name], size, grey)


def medical(name: str, size: int | None = None, *, grey: bool = False) -> Tensor:
    """Return a medical image; arguments, result and errors are those of `photo`.

    Args:
        name: ``"cell"`` (a living cell under the microscope), ``"ihc"`` (stained colon tissue),
            ``"microaneurysms"`` (lesions in a retina) or ``"retina"`` (a healthy eye).
    """
    expect_choice("name", name, _MEDICAL)
    return _picture(_MEDICAL[name], size, grey)


def stereo_pair() -> tuple[Tensor, Tensor, Tensor]:
    """Return two photographs of a motorcycle from two places, and how far its points shift.

    Returns:
        left and right, ``Tensor[3, 500, 741]``; disparity, ``Tensor[500, 741]``, float32: what
        is at ``x`` on the left is at ``x - disparity`` on the right, in pixels, and ``inf``
        where that was not measured.
    """
    left = _picture(("skimage", "data/motorcycle_left.png"))
    right = _picture(("skimage", "data/motorcycle_right.png"))
    with np.load(_bundled("skimage", "data/motorcycle_disp.npz")) as file:
        return left, right, torch.from_numpy(file["arr_0"])


# --- scenes: real digits in real photographs ----------------------------------------------------


def scenes(
    count: int,
    seed: int,
    *,
    size: int = 128,
    digits_per_scene: tuple[int, int] = (1, 4),
    split: Literal["train", "test"] = "train",
) -> list[Scene]:
    """Compose scenes: real digits set into real photographs, with exact boxes and masks.

    Place, height (up to two fifths of the scene), colour and contrast are random. Masks
    never overlap, boxes by at most a fifth of the smaller one. A box encloses its mask exactly.
    The first scenes of a longer list are those of a shorter one.

    Args:
        count: how many scenes.
        seed: the same seed gives the same scenes.
        size: height and width of a scene, in pixels.
        digits_per_scene: fewest and most digits in one scene.
        split: the digits and the photographs of ``"train"`` and ``"test"`` are disjoint.
    Returns:
        ``count`` dicts with ``image``, ``boxes``, ``labels`` (the digits) and ``masks``.
    Raises:
        ValueError: if so many digits find no place.
    """
    expect_int("count", count, minimum=0)
    expect_int("seed", seed, minimum=0)
    expect_int("size", size, minimum=32)
    expect_choice("split", split, _BACKGROUNDS)
    fewest, most = digits_per_scene
    expect_int("digits_per_scene[0]", fewest, minimum=0)
    expect_int("digits_per_scene[1]", most, minimum=fewest)
    generator = torch.Generator().manual_seed(seed)
    return [_scene(generator, size, fewest, most, split) for _ in range(count)]


def _scene(generator: torch.Generator, size: int, fewest: int, most: int, split: str) -> Scene:
    image = _draw_background(generator, size, split)  # (3, size, size)
    number = _draw_int(generator, fewest, most)
    digits_ = _draw_digits(generator, image, number, split)
    masks = torch.zeros(number, size, size, dtype=torch.bool)
    for mask, digit in zip(masks, digits_, strict=True):
        mask[digit.place] = digit.alpha > 0.5
    for digit in digits_:
        rows, columns = digit.place
        image[:, rows, columns] = torch.lerp(image[:, rows, columns], digit.ink, digit.alpha)
    return {
        "image": image,
        "boxes": torch.tensor([digit.box for digit in digits_]).reshape(-1, 4).float(),
        "labels": torch.tensor([digit.label for digit in digits_], dtype=torch.int64),
        "masks": masks,
    }


class _Digit(NamedTuple):
    alpha: Tensor
    """``Tensor[h, w]`` in [0, 1]: how much ink covers each pixel"""
    ink: Tensor
    """``Tensor[3, 1, 1]``: its colour"""
    place: tuple[slice, slice]
    """rows and columns of the scene that ``alpha`` covers"""
    label: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        rows, columns = self.place
        return columns.start, rows.start, columns.stop, rows.stop


def _draw_digits(
    generator: torch.Generator, image: Tensor, number: int, split: str
) -> list[_Digit]:
    for _ in range(50):  # layouts; the first digits of one can leave no room for the last
        placed: list[_Digit] = []
        misses = 0
        while len(placed) < number and misses < 20:
            digit = _draw_digit(generator, image, split)
            if _legible(digit, image) and all(_apart(digit, other) for other in placed):
                placed.append(digit)
                misses = 0
            else:
                misses += 1
        if len(placed) == number:
            return placed
    raise ValueError(
        f"digits_per_scene: expected as many as fit, got {number},"
        f" which found no place in {image.shape[1]} x {image.shape[2]} pixels"
    )


def _draw_digit(generator: torch.Generator, image: Tensor, split: str) -> _Digit:
    images, labels = _read_digits()
    size = image.shape[1]
    low, high = (0, _TRAIN_DIGITS) if split == "train" else (_TRAIN_DIGITS, len(labels))
    index = _draw_int(generator, low, high - 1)
    height = _draw_int(generator, size // 5, 2 * size // 5)
    large = F.interpolate(images[index][None], (height, height), mode="bicubic")[0, 0]
    # The scans are soft; the steeper ramp makes an edge about a pixel wide at any height.
    alpha = ((large - 0.5) * max(2.0, height / 8) + 0.5).clamp(0, 1)
    ink = alpha > 0.5
    rows, columns = ink.any(1).nonzero()[:, 0], ink.any(0).nonzero()[:, 0]
    alpha = alpha[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    top = _draw_int(generator, 0, size - alpha.shape[0])
    left = _draw_int(generator, 0, size - alpha.shape[1])
    place = (slice(top, top + alpha.shape[0]), slice(left, left + alpha.shape[1]))
    brightness = float(image[:, *place].mean())
    contrast = _draw_float(generator, 0.4, 0.9) * (-1 if brightness > 0.5 else 1)
    tint = 0.3 * torch.rand(3, 1, 1, generator=generator) - 0.15
    colour = (brightness + contrast + tint).clamp(0, 1)
    return _Digit(alpha, colour, place, int(labels[index]))


def _legible(digit: _Digit, image: Tensor) -> bool:
    """Whether the ink stands out from four fifths of the pixels that it will cover."""
    difference = (image[:, *digit.place] - digit.ink).abs().mean(0)  # (h, w)
    return float((difference[digit.alpha > 0.5] > 0.25).float().mean()) > 0.8


def _apart(first: _Digit, second: _Digit) -> bool:
    """Whether boxes overlap by at most a fifth of the smaller one, and no ink meets ink."""
    common = tuple(
        slice(max(a.start, b.start), min(a.stop, b.stop))
        for a, b in zip(first.place, second.place, strict=True)
    )
    height, width = (max(0, axis.stop - axis.start) for axis in common)
    if height * width == 0:
        return True
    if height * width > min(first.alpha.numel(), second.alpha.numel()) / 5:
        return False
    one, two = (
        digit.alpha[
            tuple(
                slice(axis.start - own.start, axis.stop - own.start)
                for axis, own in zip(common, digit.place, strict=True)
            )
        ]
        for digit in (first, second)
    )
    return not bool(((one > 0) & (two > 0)).any())


def _draw_background(generator: torch.Generator, size: int, split: str) -> Tensor:
    choices = _backgrounds(split, 2 * size)
    whole = choices[_draw_int(generator, 0, len(choices) - 1)]
    side = _draw_int(generator, size, 2 * size)
    top = _draw_int(generator, 0, whole.shape[1] - side)
    left = _draw_int(generator, 0, whole.shape[2] - side)
    part = whole[:, top : top + side, left : left + side]
    return _resize(part, (size, size)).expand(3, -1, -1).clone()


@cache
def _backgrounds(split: str, size: int) -> list[Tensor]:
    return [photo(name, size) for name in _BACKGROUNDS[split]]


def _draw_int(generator: torch.Generator, low: int, high: int) -> int:
    """Draw from ``low`` to ``high``, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _draw_float(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


# --- public sets, downloaded once ---------------------------------------------------------------


def data_folder() -> Path:
    """Return the folder of the public sets: ``COURSE_DATA``, or ``~/.cache/course_data``."""
    return Path(os.environ.get(VARIABLE) or "~/.cache/course_data").expanduser()


class LabelledImages(Dataset[tuple[Tensor, Tensor]]):
    """Images with one label each; kept as bytes, turned into float32 when asked for.

    ``dataset[3]`` is one image and its label, ``dataset[indices]`` a batch, ``dataset[:]`` all.
    """

    def __init__(self, images: Tensor, labels: Tensor, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._images, self._labels = images, labels  # (N, C, H, W) uint8, (N,) int64

    def __len__(self) -> int:
        """Count the images."""
        return len(self._labels)

    def __getitem__(self, index: int | slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return images in [0, 1] and their labels."""
        return _unit(self._images[index]), self._labels[index].clone()


class LabelledScenes(Dataset[Scene]):
    """Photographs with boxes, read from their files one at a time."""

    classes: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int:
        """Count the scenes."""

    @abstractmethod
    def _read(self, index: int) -> Scene:
        """Read one scene."""

    def __getitem__(self, index: int) -> Scene:
        """Return one scene."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected one below {len(self)}, got {index}")
        return self._read(index % len(self))


@overload
def public(
    name: Literal["fashion_mnist", "cifar10"], train: bool = True, *, download: bool = False
) -> LabelledImages: ...


@overload
def public(
    name: Literal["penn_fudan", "voc2007"], train: bool = True, *, download: bool = False
) -> LabelledScenes: ...


def public(
    name: str, train: bool = True, *, download: bool = False
) -> LabelledImages | LabelledScenes:
    """Return a public set from `data_folder`, its archives checked against known checksums.

    Args:
        name: ``"fashion_mnist"`` or ``"cifar10"`` (images with one label each, instead of
            `digits`); ``"penn_fudan"`` or ``"voc2007"`` (photographs with boxes, instead of
            `scenes`).
        train: the set's own training part, or its test part. Penn-Fudan has none: every fourth
            photograph is for testing. The training part of VOC 2007 is its ``trainval``.
        download: whether to fetch what is missing. Nothing is fetched unless this is set.
    Raises:
        DataNotFoundError: if a file is missing, cannot be fetched, or is not the right one.
        ModuleNotFoundError: if torchvision is not installed.
    """
    expect_choice("name", name, ("fashion_mnist", "cifar10", "penn_fudan", "voc2007"))
    if name == "fashion_mnist":
        return _fashion_mnist(train, download)
    if name == "cifar10":
        return _cifar10(train, download)
    if name == "penn_fudan":
        return _PennFudan(train, download)
    return _Voc2007(train, download)


def weights(name: str, *, download: bool = False) -> dict[str, Tensor]:
    """Return pretrained weights of torchvision, for ``model.load_state_dict``.

    The file is looked for in the folder ``weights`` of `data_folder`, checked against the
    checksum in its name, and read as tensors only, so that it cannot run code.

    Args:
        name: torchvision's full name, such as ``"ResNet18_Weights.IMAGENET1K_V1"``.
        download: whether to fetch the file if it is missing.
    Returns:
        the state dict, on the CPU.
    Raises:
        ValueError: if torchvision has no such weights.
        DataNotFoundError: if the file is missing, cannot be fetched, or is not the right one.
    """
    try:
        url = _torchvision("torchvision.models").get_weight(name).url
    except (KeyError, ValueError) as error:
        raise ValueError(
            f'name: expected torchvision weights such as "ResNet18_Weights.IMAGENET1K_V1",'
            f" got {name!r}"
        ) from error
    file_name = url.rsplit("/", 1)[-1]
    file = _File(
        of=f'weights("{name}")',
        name=f"weights/{file_name}",
        url=url,
        algorithm="sha256",
        digest=re.split(r"[-_.]", file_name)[-2],
        instead="a small network trained on digits()",
    )
    return torch.load(_obtain(file, download), map_location="cpu", weights_only=True)


class _File(NamedTuple):
    of: str
    """the call that needs it"""
    name: str
    """its path inside `data_folder`"""
    url: str
    algorithm: str
    digest: str
    """the checksum, or how it begins"""
    instead: str
    """what to use without it"""


def _obtain(file: _File, download: bool) -> Path:
    """Return the path of a file that is there and has the right checksum, or raise."""
    path = data_folder() / file.name
    if not path.is_file() and download:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(file.url, str(path))
        except OSError as error:
            raise _missing(file, f"could not be fetched from {file.url} ({error})") from error
    if not path.is_file():
        raise _missing(file, "is not there")
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, file.algorithm).hexdigest()
    if not digest.startswith(file.digest):
        raise _missing(
            file,
            f"is damaged or another file (expected {file.algorithm} {file.digest}, got {digest};"
            " remove it first)",
        )
    return path


def _missing(file: _File, what: str) -> DataNotFoundError:
    return DataNotFoundError(
        f"{file.of}: {data_folder() / file.name} {what}. Put a copy there, name the folder that"
        f" has one in {VARIABLE}, or pass download=True where there is a network."
        f" Without it, use {file.instead}."
    )


def _fashion_mnist(train: bool, download: bool) -> LabelledImages:
    kind = _torchvision("torchvision.datasets").FashionMNIST
    for name, md5 in kind.resources:
        file = _File(
            of='public("fashion_mnist")',
            name=f"FashionMNIST/raw/{name}",
            url=kind.mirrors[0] + name,
            algorithm="md5",
            digest=md5,
            instead="digits()",
        )
        _obtain(file, download)
    # The archives are there, so that torchvision's download only unpacks them.
    raw = kind(data_folder(), train=train, download=True)
    return LabelledImages(raw.data[:, None], raw.targets.long(), tuple(raw.classes))


def _cifar10(train: bool, download: bool) -> LabelledImages:
    kind = _torchvision("torchvision.datasets").CIFAR10
    file = _File(
        of='public("cifar10")',
        name=kind.filename,
        url=kind.url,
        algorithm="md5",
        digest=kind.tgz_md5,
        instead="digits() or faces()",
    )
    _obtain(file, download)
    raw = kind(data_folder(), train=train, download=True)  # only unpacks, as above
    images = torch.from_numpy(raw.data).permute(0, 3, 1, 2).contiguous()
    return LabelledImages(images, torch.tensor(raw.targets), tuple(raw.classes))


class _PennFudan(LabelledScenes):
    """Penn-Fudan pedestrians: Wang et al., "Object Detection Combining Recognition...", 2007."""

    classes = ("pedestrian",)

    def __init__(self, train: bool, download: bool) -> None:
        # We know of no published checksum. The archive holds one for each of its files, which
        # unpacking checks; then the set is counted.
        file = _File(
            of='public("penn_fudan")',
            name="PennFudanPed.zip",
            url="https://www.cis.upenn.edu/~jshi/ped_html/PennFudanPed.zip",
            algorithm="md5",
            digest="",
            instead="scenes()",
        )
        folder = data_folder() / "PennFudanPed"
        if not folder.is_dir():
            archive = _obtain(file, download)
            try:
                _unpack(archive, folder, inside="PennFudanPed")
            except (shutil.ReadError, zipfile.BadZipFile, zlib.error) as error:
                raise _missing(file, f"is damaged ({error}; remove it first)") from error
        pairs = [
            (path, folder / "PedMasks" / f"{path.stem}_mask.png")
            for path in sorted((folder / "PNGImages").glob("*.png"))
        ]
        whole = sum(mask.is_file() for _, mask in pairs)
        if whole != 170:
            raise _missing(
                file, f"was unpacked to {folder}, where {whole} of 170 pictures have a mask"
            )
        self._pairs = [pair for n, pair in enumerate(pairs) if (n % 4 != 3) == train]

    def __len__(self) -> int:
        return len(self._pairs)

    def _read(self, index: int) -> Scene:
        path, mask_path = self._pairs[index]
        marked = _decode(mask_path)[0]  # (H, W): 0 for the background, then one number each
        numbers = marked.unique()
        masks = marked == numbers[numbers > 0, None, None]
        return {
            "image": _unit(_decode(path)),
            "boxes": _enclose(masks),
            "labels": torch.zeros(len(masks), dtype=torch.int64),
            "masks": masks,
        }


class _Voc2007(LabelledScenes):
    """Pascal VOC 2007: Everingham et al., "The Pascal Visual Object Classes Challenge", 2010."""

    classes = (
        *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
        *("train", "tvmonitor"),
    )

    def __init__(self, train: bool, download: bool) -> None:
        voc = _torchvision("torchvision.datasets.voc")
        known = voc.DATASET_YEAR_DICT["2007" if train else "2007-test"]
        file = _File(
            of='public("voc2007")',
            name=known["filename"],
            url=known["url"],
            algorithm="md5",
            digest=known["md5"],
            instead="scenes()",
        )
        part = "trainval" if train else "test"
        folder = data_folder() / f"VOC2007-{part}"
        if not folder.is_dir():
            _unpack(_obtain(file, download), folder)
        self._files = voc.VOCDetection(folder, year="2007", image_set=part)

    def __len__(self) -> int:
        return len(self._files)

    def _read(self, index: int) -> Scene:
        picture, target = self._files[index]
        objects = target["annotation"]["object"]
        corners = torch.tensor(
            [[float(o["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")] for o in objects]
        ).reshape(-1, 4)
        return {
            "image": _unit(_channels_first(picture)),
            # VOC counts pixels from 1 and gives the first and the last one of each side.
            "boxes": corners - torch.tensor([1.0, 1.0, 0.0, 0.0]),
            "labels": torch.tensor([self.classes.index(o["name"]) for o in objects]).long(),
            "difficult": torch.tensor([o["difficult"] == "1" for o in objects]).bool(),
        }


def _enclose(masks: Tensor) -> Tensor:
    """Return the boxes ``Tensor[N, 4]`` of masks ``Tensor[N, H, W]``, none of them empty."""
    sides = []
    for used in (masks.any(1), masks.any(2)):  # columns, rows
        first = used.int().argmax(1)
        last = used.shape[1] - used.flip(1).int().argmax(1)
        sides.append((first, last))
    (x1, x2), (y1, y2) = sides
    return torch.stack([x1, y1, x2, y2], 1).float()


def _unpack(archive: Path, folder: Path, inside: str = "") -> None:
    """Unpack an archive, or one folder inside it, into ``folder``, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        if archive.suffix == ".zip":
            shutil.unpack_archive(archive, scratch)
        else:
            shutil.unpack_archive(archive, scratch, filter="data")
        (Path(scratch) / inside).rename(folder)


# --- helpers ------------------------------------------------------------------------------------


def _absent(package: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"expected the package {_PACKAGES[package]}, which is not installed;"
        ' pip install "course_lib[chapters]" brings it',
        name=package,
    )


def _torchvision(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _absent("torchvision") from error


def _bundled(package: str, path: str) -> Path:
    """Find a file inside an installed package, without importing it or asking the network."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _absent(package)
    found = Path(spec.submodule_search_locations[0]) / path
    if not found.is_file():
        raise DataNotFoundError(
            f"expected {found} in the installed {_PACKAGES[package]}, and it is not there;"
            f" take a published release of {_PACKAGES[package]}"
        )
    return found


@cache
def _read_digits() -> tuple[Tensor, Tensor]:
    rows = np.loadtxt(_bundled("sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
    table = torch.from_numpy(rows)  # (1797, 65): 64 pixels from 0 to 16, then the label
    return (table[:, :64] / 16).float().reshape(-1, 1, 8, 8), table[:, 64].long()


@cache
def _read_faces() -> Tensor:
    return torch.from_numpy(np.load(_bundled("skimage", "data/lfw_subset.npy"))).float()[:, None]


@cache
def _read_picture(package: str, path: str) -> Tensor:
    return _decode(_bundled(package, path))


def _picture(source: tuple[str, str], size: int | None = None, grey: bool = False) -> Tensor:
    image = _unit(_read_picture(*source))  # (C, H, W)
    if grey and len(image) == 3:
        image = torch.einsum("chw,c->hw", image, torch.tensor(_GREY_WEIGHTS))[None]
    if size is None:
        return image
    expect_int("size", size, minimum=1)
    height, width = image.shape[1:]
    shorter = min(height, width)
    return _resize(image, (round(height * size / shorter), round(width * size / shorter)))


def _decode(path: Path) -> Tensor:
    """Read an image file as bytes; ``Tensor[C, H, W]``, uint8."""
    with Image.open(path) as picture:
        return _channels_first(picture)


def _channels_first(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def _unit(bytes_: Tensor) -> Tensor:
    return bytes_.float() / 255


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
