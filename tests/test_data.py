"""The embedded images, the scenes made of them, and the public sets, without a network."""

import gzip
import hashlib
import os
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib import data

torchvision = pytest.importorskip("torchvision")


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("the network is closed to this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(data.VARIABLE, str(tmp_path))
    return tmp_path


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


# --- embedded -----------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    images, labels = data.digits()
    twin = load_digits()
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    torch.testing.assert_close(images[:, 0] * 16, torch.from_numpy(twin.images).float())
    assert labels.tolist() == twin.target.tolist()


def test_digits_split_without_overlap():
    images, labels = data.digits()
    train, test = data.digits("train"), data.digits("test")
    assert len(train[0]) == 1347
    assert torch.equal(torch.cat([train[0], test[0]]), images)
    assert torch.equal(torch.cat([train[1], test[1]]), labels)
    assert set(train[1].tolist()) == set(test[1].tolist()) == set(range(10))
    with pytest.raises(ValueError, match="split: expected one of 'all', 'train', 'test'"):
        data.digits("valid")


def test_faces_come_first():
    images, labels = data.faces()
    assert images.shape == (200, 1, 25, 25)
    assert images.dtype == torch.float32
    assert labels.tolist() == [1] * 100 + [0] * 100
    # Faces resemble the mean of other faces; the rest resembles it less.
    flat = images.flatten(1) - images.flatten(1).mean(1, keepdim=True)
    likeness = torch.cosine_similarity(flat, flat[:50].mean(0), dim=1)
    assert likeness[50:100].median() > 0.4
    assert likeness[100:].median() < 0.3


@pytest.mark.parametrize("name", data.photo_names())
def test_photos(name):
    image = data.photo(name)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert image.shape[0] in (1, 3)
    assert min(image.shape[1:]) >= 170
    assert image.min() >= 0
    assert image.max() <= 1
    assert image.max() > 0.5


def test_photo_is_the_file():
    from skimage.data import astronaut

    torch.testing.assert_close(
        data.photo("astronaut"), torch.from_numpy(astronaut()).permute(2, 0, 1) / 255
    )


def test_grey_is_that_of_scikit_image():
    from skimage.color import rgb2gray
    from skimage.data import coffee

    torch.testing.assert_close(
        data.photo("coffee", grey=True), torch.from_numpy(rgb2gray(coffee())).float()[None]
    )
    assert torch.equal(data.photo("camera", grey=True), data.photo("camera"))


def test_size_is_the_shorter_side():
    assert data.photo("chelsea").shape == (3, 300, 451)
    assert data.photo("chelsea", 100).shape == (3, 100, 150)
    assert data.photo("grace_hopper", 64).shape == (3, 75, 64)
    assert data.photo("moon", 600).shape == (1, 600, 600)


def test_resizing_does_not_alias():
    grass = data.photo("grass")
    small = data.photo("grass", 16)
    # Averages of 32 x 32 pixels vary far less than every 32nd pixel does.
    assert small.std() < 0.5 * grass[:, ::32, ::32].std()
    torch.testing.assert_close(small.mean(), grass.mean(), atol=0.01, rtol=0)


def test_wrong_names_and_sizes_are_answered():
    with pytest.raises(ValueError, match=r"name: expected one of 'astronaut', .*got 'lena'"):
        data.photo("lena")
    with pytest.raises(ValueError, match=r"name: expected one of 'cell', .*got 'knee'"):
        data.medical("knee")
    with pytest.raises(ValueError, match="size: expected an integer >= 1"):
        data.photo("camera", 0)


def test_medical():
    assert data.medical("retina", 100).shape == (3, 100, 100)
    assert data.medical("ihc").shape == (3, 512, 512)
    assert data.medical("cell").shape == (1, 660, 550)
    assert data.medical("microaneurysms").shape == (1, 102, 102)


def test_stereo_disparity_points_to_the_same_colour():
    left, right, disparity = data.stereo_pair()
    assert left.shape == right.shape == (3, 500, 741)
    assert disparity.shape == (500, 741)
    assert not disparity.isnan().any()
    y, x = torch.meshgrid(torch.arange(500), torch.arange(741), indexing="ij")
    there = x - disparity
    known = disparity.isfinite() & (there >= 0)
    matched = right[:, y[known], there[known].round().long()]
    away = (matched - left[:, known]).abs().mean()
    assert away < 0.05
    assert away < 0.4 * (right - left).abs()[:, known].mean()


@pytest.mark.parametrize(
    "read",
    [
        data.digits,
        data.faces,
        data.stereo_pair,
        lambda: (data.photo("camera"),),
        lambda: (data.photo("camera", 32),),
        lambda: (data.photo("china", grey=True),),
        lambda: tuple(data.scenes(1, 0)[0].values()),
    ],
)
def test_a_caller_cannot_change_the_next_ones_images(read):
    first = read()
    kept = [tensor.clone() for tensor in first]
    for tensor in first:
        tensor.zero_()
    for tensor, before in zip(read(), kept, strict=True):
        assert torch.equal(tensor, before)


def test_reading_imports_none_of_the_packages():
    code = (
        "import sys; from course_lib import data; data.digits(); data.faces();"
        "data.photo('china'); data.stereo_pair(); data.scenes(2, 0);"
        "print([m for m in ('skimage', 'sklearn', 'torchvision', 'pooch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("package", "distribution", "call"),
    [
        ("sklearn", "scikit-learn", lambda: data.photo("flower")),
        ("skimage", "scikit-image", data.stereo_pair),
        ("torchvision", "torchvision", lambda: data.public("cifar10")),
        ("torchvision", "torchvision", lambda: data.weights("ResNet18_Weights.IMAGENET1K_V1")),
    ],
)
def test_a_missing_package_is_named_with_the_extra(monkeypatch, package, distribution, call):
    data._read_picture.cache_clear()
    for module in [m for m in sys.modules if m.split(".")[0] == package] + [package]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match=distribution) as error:
        call()
    assert 'pip install "course_lib[chapters]"' in str(error.value)


def test_a_file_that_the_package_lacks_is_named(monkeypatch):
    monkeypatch.setitem(data._PHOTOS, "eagle", ("skimage", "data/eagle.png"))
    with pytest.raises(data.DataNotFoundError, match=r"eagle\.png in the installed scikit-image"):
        data.photo("eagle")


# --- scenes -------------------------------------------------------------------------------------


def enclose(mask):
    rows, columns = mask.nonzero().unbind(1)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.fixture(scope="module", params=["train", "test"])
def composed(request):
    return data.scenes(60, 7, size=96, digits_per_scene=(1, 5), split=request.param)


def test_scenes_have_the_shapes_they_promise(composed):
    counts = set()
    for scene in composed:
        count = len(scene["labels"])
        counts.add(count)
        assert scene["image"].shape == (3, 96, 96)
        assert scene["image"].dtype == scene["boxes"].dtype == torch.float32
        assert scene["image"].min() >= 0
        assert scene["image"].max() <= 1
        assert scene["boxes"].shape == (count, 4)
        assert scene["labels"].dtype == torch.int64
        assert scene["masks"].shape == (count, 96, 96)
        assert scene["masks"].dtype == torch.bool
    assert counts == {1, 2, 3, 4, 5}
    labels = torch.cat([scene["labels"] for scene in composed])
    assert set(labels.tolist()) == set(range(10))


def test_boxes_enclose_masks_exactly(composed):
    for scene in composed:
        for box, mask in zip(scene["boxes"], scene["masks"], strict=True):
            assert box.tolist() == enclose(mask)


def test_objects_hardly_overlap(composed):
    for scene in composed:
        assert scene["masks"].sum(0).max() == 1
        for i, (a1, b1, a2, b2) in enumerate(scene["boxes"].tolist()):
            for c1, d1, c2, d2 in scene["boxes"][:i].tolist():
                common = max(0, min(a2, c2) - max(a1, c1)) * max(0, min(b2, d2) - max(b1, d1))
                smaller = min((a2 - a1) * (b2 - b1), (c2 - c1) * (d2 - d1))
                assert common <= smaller / 5


def test_digits_stand_out_from_what_was_there(composed):
    heights = []
    for scene in composed:
        for box, mask in zip(scene["boxes"].int().tolist(), scene["masks"], strict=True):
            x1, y1, x2, y2 = box
            heights.append(y2 - y1)
            inner = -torch.nn.functional.max_pool2d(-mask[None].float(), 3, 1, 1)[0] > 0
            ink = scene["image"][:, inner].median(1).values
            around = scene["image"][:, y1:y2, x1:x2][:, ~mask[y1:y2, x1:x2]]
            assert (scene["image"][:, inner] - ink[:, None]).abs().median() < 0.01
            if around.numel() > 60:  # a 1 fills its box
                assert (around.mean(1) - ink).abs().max() > 0.1
    assert min(heights) >= 96 // 5 - 4
    assert max(heights) <= 2 * 96 // 5
    assert max(heights) > 1.5 * min(heights)


def test_no_digit_is_set_where_it_cannot_be_read(monkeypatch):
    squares = (torch.arange(64)[:, None] // 2 + torch.arange(64) // 2) % 2
    monkeypatch.setattr(data, "_draw_background", lambda *_: squares.float().repeat(3, 1, 1))
    with pytest.raises(ValueError, match="found no place"):
        data.scenes(1, 0, size=64, digits_per_scene=(1, 1))


def test_the_seed_decides():
    one, same, other = data.scenes(3, 5), data.scenes(6, 5), data.scenes(3, 6)
    for a, b in zip(one, same[:3], strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(one[0]["image"], other[0]["image"])


def test_scenes_leave_the_global_generator_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    data.scenes(2, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_splits_share_neither_digits_nor_photographs(monkeypatch):
    assert not set(data._BACKGROUNDS["train"]) & set(data._BACKGROUNDS["test"])
    images, _ = data._read_digits()
    labels = torch.cat([torch.zeros(1347), torch.ones(450)]).long()
    monkeypatch.setattr(data, "_read_digits", lambda: (images, labels))
    for split, part in (("train", 0), ("test", 1)):
        drawn = torch.cat([scene["labels"] for scene in data.scenes(30, 1, size=64, split=split)])
        assert len(drawn) > 30
        assert (drawn == part).all()


def test_a_scene_can_be_empty():
    (scene,) = data.scenes(1, 0, size=48, digits_per_scene=(0, 0))
    assert scene["boxes"].shape == (0, 4)
    assert scene["masks"].shape == (0, 48, 48)
    assert scene["labels"].shape == (0,)
    assert data.scenes(0, 0) == []


def test_impossible_scenes_are_answered():
    with pytest.raises(ValueError, match=r"digits_per_scene: .* got 40, .* 32 x 32 pixels"):
        data.scenes(1, 0, size=32, digits_per_scene=(40, 40))
    with pytest.raises(ValueError, match=r"digits_per_scene\[1\]: expected an integer >= 3"):
        data.scenes(1, 0, digits_per_scene=(3, 2))
    with pytest.raises(ValueError, match="split: expected one of 'train', 'test'"):
        data.scenes(1, 0, split="all")


# --- public sets --------------------------------------------------------------------------------


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def fashion(folder, monkeypatch):
    raw = folder / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    arrays, resources = {}, []
    for part, count in (("train", 7), ("t10k", 3)):
        arrays[part] = (
            random.integers(0, 256, (count, 28, 28), dtype=np.uint8),
            random.integers(0, 10, count, dtype=np.uint8),
        )
        for kind, array in zip(("images-idx3", "labels-idx1"), arrays[part], strict=True):
            path = raw / f"{part}-{kind}-ubyte.gz"
            write_idx(path, array)
            resources.append((path.name, md5(path)))
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
    return arrays


def test_fashion_mnist_reads_its_files(fashion):
    for train, part in ((True, "train"), (False, "t10k")):
        dataset = data.public("fashion_mnist", train)
        images, labels = dataset[:]
        assert len(dataset) == len(images)
        assert images.dtype == torch.float32
        torch.testing.assert_close(images[:, 0] * 255, torch.from_numpy(fashion[part][0]).float())
        assert labels.tolist() == fashion[part][1].tolist()
        assert labels.dtype == torch.int64
        assert len(dataset.classes) == 10


def test_labelled_images_index_like_tensors(fashion):
    dataset = data.public("fashion_mnist")
    images, labels = dataset[:]
    image, label = dataset[2]
    assert torch.equal(image, images[2])
    assert label == labels[2]
    batch, _ = dataset[torch.tensor([3, 1])]
    assert torch.equal(batch, images[[3, 1]])
    labels.zero_()
    assert dataset[:][1].any()
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    assert [tuple(images.shape) for images, _ in loader] == [(4, 1, 28, 28), (3, 1, 28, 28)]


def test_a_wrong_checksum_is_refused(fashion, folder):
    path = folder / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    expected = md5(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(data.DataNotFoundError) as error:
        data.public("fashion_mnist")
    for part in (str(path), "damaged", f"md5 {expected}", f"got {md5(path)}", "digits()"):
        assert part in str(error.value)


@pytest.fixture
def cifar(folder, monkeypatch):
    kind = torchvision.datasets.CIFAR10
    random = np.random.default_rng(0)
    base = folder / "scratch" / kind.base_folder
    base.mkdir(parents=True)
    batches = {}
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        batches[name] = {
            "data": random.integers(0, 256, (2, 3072), dtype=np.uint8),
            "labels": random.integers(0, 10, 2).tolist(),
        }
        (base / name).write_bytes(pickle.dumps(batches[name]))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    with tarfile.open(folder / kind.filename, "w:gz") as archive:
        archive.add(base, kind.base_folder)
    sums = [[name, md5(base / name)] for name in batches]
    monkeypatch.setattr(kind, "train_list", sums[:5])
    monkeypatch.setattr(kind, "test_list", sums[5:])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(base / "batches.meta")})
    monkeypatch.setattr(kind, "tgz_md5", md5(folder / kind.filename))
    shutil.rmtree(folder / "scratch")
    return batches


def test_cifar10_reads_its_files(cifar):
    for train, names in ((True, list(cifar)[:5]), (False, ["test_batch"])):
        dataset = data.public("cifar10", train)
        images, labels = dataset[:]
        expected = np.concatenate([cifar[name]["data"] for name in names]).reshape(-1, 3, 32, 32)
        torch.testing.assert_close(images * 255, torch.from_numpy(expected).float())
        assert labels.tolist() == [label for name in names for label in cifar[name]["labels"]]
        assert dataset.classes == tuple("abcdefghij")


def test_the_known_checksums_are_those_published():
    # Printed on the sets' own pages, so that a change in torchvision does not pass unseen.
    assert torchvision.datasets.CIFAR10.tgz_md5 == "c58f30108f718f92721af3b95e74349a"
    assert dict(torchvision.datasets.FashionMNIST.resources) == {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }


@pytest.fixture
def penn_fudan(folder):
    inside = folder / "scratch" / "PennFudanPed"
    (inside / "PNGImages").mkdir(parents=True)
    (inside / "PedMasks").mkdir()
    for number in range(170):
        pixels = np.full((6, 8, 3), number, dtype=np.uint8)
        mask = np.zeros((6, 8), dtype=np.uint8)
        mask[1:4, 2:3] = 1
        mask[2:6, 5:8] = 2
        Image.fromarray(pixels).save(inside / "PNGImages" / f"Ped{number:05}.png")
        Image.fromarray(mask).save(inside / "PedMasks" / f"Ped{number:05}_mask.png")
    shutil.make_archive(str(folder / "PennFudanPed"), "zip", inside.parent, "PennFudanPed")
    shutil.rmtree(inside.parent)
    return folder


def test_penn_fudan_reads_its_archive(penn_fudan):
    train, test = data.public("penn_fudan"), data.public("penn_fudan", train=False)
    assert (len(train), len(test)) == (128, 42)
    scene = test[0]
    assert scene["image"].shape == (3, 6, 8)
    torch.testing.assert_close(scene["image"], torch.full((3, 6, 8), 3 / 255))
    assert scene["boxes"].tolist() == [[2, 1, 3, 4], [5, 2, 8, 6]]
    assert scene["boxes"].dtype == torch.float32
    assert scene["labels"].tolist() == [0, 0]
    assert scene["masks"].sum((1, 2)).tolist() == [3, 12]
    seen = [round(float(s["image"].max() * 255)) for part in (train, test) for s in part]
    assert sorted(seen) == list(range(170))
    assert torch.equal(test[-1]["image"], test[41]["image"])
    with pytest.raises(IndexError, match="expected one below 42, got 42"):
        test[42]


def test_penn_fudan_is_counted(penn_fudan):
    data.public("penn_fudan")
    (penn_fudan / "PennFudanPed" / "PedMasks" / "Ped00004_mask.png").unlink()
    with pytest.raises(data.DataNotFoundError, match="169 of 170 pictures have a mask"):
        data.public("penn_fudan")


def test_a_damaged_zip_leaves_nothing_behind(penn_fudan):
    archive = penn_fudan / "PennFudanPed.zip"
    picture = zipfile.ZipFile(archive).getinfo("PennFudanPed/PNGImages/Ped00007.png")
    content = bytearray(archive.read_bytes())
    content[picture.header_offset + 30 + len(picture.filename) + 20] ^= 255
    archive.write_bytes(content)
    with pytest.raises(data.DataNotFoundError, match="is damaged"):
        data.public("penn_fudan")
    assert [path.name for path in penn_fudan.iterdir()] == ["PennFudanPed.zip"]


VOC_XML = """<annotation><filename>000005.jpg</filename>
<object><name>chair</name><difficult>0</difficult>
<bndbox><xmin>3</xmin><ymin>2</ymin><xmax>10</xmax><ymax>8</ymax></bndbox></object>
<object><name>person</name><difficult>1</difficult>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>
</part>
<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>12</xmax><ymax>9</ymax></bndbox></object>
</annotation>"""


@pytest.fixture
def voc(folder, monkeypatch):
    known = torchvision.datasets.voc.DATASET_YEAR_DICT
    for part, key in (("trainval", "2007"), ("test", "2007-test")):
        base = folder / "scratch" / "VOCdevkit" / "VOC2007"
        for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (base / name).mkdir(parents=True)
        (base / "ImageSets" / "Main" / f"{part}.txt").write_text("000005\n")
        (base / "Annotations" / "000005.xml").write_text(VOC_XML)
        Image.new("RGB", (12, 9), (255, 0, 0)).save(base / "JPEGImages" / "000005.jpg")
        with tarfile.open(folder / known[key]["filename"], "w") as archive:
            archive.add(folder / "scratch" / "VOCdevkit", "VOCdevkit")
        shutil.rmtree(folder / "scratch")
        digest = md5(folder / known[key]["filename"])
        monkeypatch.setitem(known, key, {**known[key], "md5": digest})
    return folder


@pytest.mark.parametrize("train", [True, False])
def test_voc_reads_its_archive(voc, train):
    dataset = data.public("voc2007", train)
    assert len(dataset) == 1
    assert len(dataset.classes) == 20
    (scene,) = dataset
    assert scene["image"].shape == (3, 9, 12)
    assert scene["image"][0].min() > 0.9
    # The pixels 3 to 10, counted from 1, reach from 2 to 10.
    assert scene["boxes"].tolist() == [[2, 1, 10, 8], [0, 0, 12, 9]]
    assert [dataset.classes[label] for label in scene["labels"]] == ["chair", "person"]
    assert scene["difficult"].tolist() == [False, True]


@pytest.fixture
def tiny_weights(folder, monkeypatch):
    def write(content):
        (folder / "weights").mkdir(exist_ok=True)
        path = folder / "weights" / "tiny.pth"
        torch.save(content, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        named = path.rename(path.with_name(f"tiny-{digest[:8]}.pth"))
        url = f"https://example.invalid/{named.name}"
        monkeypatch.setattr(
            torchvision.models, "get_weight", lambda _name: SimpleNamespace(url=url)
        )
        return named

    return write


def test_weights_are_read(tiny_weights):
    tiny_weights({"bias": torch.arange(3.0)})
    assert data.weights("Tiny_Weights.V1")["bias"].tolist() == [0, 1, 2]


def test_weights_are_checked(tiny_weights):
    path = tiny_weights({"bias": torch.arange(3.0)})
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(data.DataNotFoundError, match="expected sha256"):
        data.weights("Tiny_Weights.V1")


class Runs:
    def __reduce__(self):
        return os.mkdir, (os.environ[data.VARIABLE] + "/broken-in",)


def test_weights_cannot_run_code(tiny_weights, folder):
    tiny_weights({"bias": Runs()})
    with pytest.raises(pickle.UnpicklingError):
        data.weights("Tiny_Weights.V1")
    assert not (folder / "broken-in").exists()


@pytest.mark.parametrize("name", ["ResNet18", "ResNet18_Weights.V9", "Foo_Weights.V1"])
def test_unknown_weights_are_answered(name):
    with pytest.raises(ValueError, match=f"expected torchvision weights such as .*got '{name}'"):
        data.weights(name)


OFFLINE = [
    (
        lambda **options: data.public("fashion_mnist", **options),
        "FashionMNIST/raw/train-images-idx3-ubyte.gz",
        "use digits()",
    ),
    (
        lambda **options: data.public("cifar10", **options),
        "cifar-10-python.tar.gz",
        "use digits() or faces()",
    ),
    (
        lambda **options: data.public("penn_fudan", **options),
        "PennFudanPed.zip",
        "use scenes()",
    ),
    (
        lambda **options: data.public("voc2007", train=False, **options),
        "VOCtest_06-Nov-2007.tar",
        "use scenes()",
    ),
    (
        lambda **options: data.weights("ResNet18_Weights.IMAGENET1K_V1", **options),
        "weights/resnet18-f37072fd.pth",
        "use a small network trained on digits()",
    ),
]


@pytest.mark.parametrize(("call", "file", "instead"), OFFLINE)
def test_offline_says_what_where_and_what_instead(folder, monkeypatch, call, file, instead):
    def refuse(*_args, **_kwargs):
        pytest.fail("asked the network without leave")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(data.DataNotFoundError) as error:
        call()
    for part in (str(folder / file), "is not there", "COURSE_DATA", "download=True", instead):
        assert part in str(error.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("call", "file", "instead"), OFFLINE)
def test_a_failed_download_says_the_same(folder, call, file, instead):
    with pytest.raises(data.DataNotFoundError) as error:
        call(download=True)
    for part in (str(folder / file), "could not be fetched from https", "network is closed"):
        assert part in str(error.value).replace("http:", "https:")
    assert instead in str(error.value)
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_download_is_checked(folder, monkeypatch):
    def fetch(_url, path):
        Path(path).write_bytes(b"not the archive")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    with pytest.raises(data.DataNotFoundError, match="damaged or another file"):
        data.public("cifar10", download=True)


def test_the_folder_is_named_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(data.VARIABLE, str(tmp_path))
    assert data.data_folder() == tmp_path
    monkeypatch.delenv(data.VARIABLE)
    assert data.data_folder() == Path.home() / ".cache" / "course_data"


def test_unknown_sets_are_answered():
    with pytest.raises(ValueError, match="name: expected one of 'fashion_mnist', 'cifar10'"):
        data.public("imagenet")
