"""Label maps in the formats that are in use, and boxes drawn into a picture."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from course_lib import boxes as topic
from course_lib.boxes import drawing
from course_lib.boxes.labels import LabelMap

NAMES = {1: "person", 3: "café", 18: 'a "dog"'}
COCO = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 3, "name": "café"},
    {"id": 18, "name": 'a "dog"'},
]
PBTXT = r"""
# A label map of TensorFlow's Object Detection API
item {
  name: "/m/01g317"   # what display_name goes before
  id: 1
  display_name: "person"
  keypoints { id: 5 label: "nose" }
}
item: {
  id: 3,
  name: 'caf\303\251';
  frequency: FREQUENT
  ancestor_ids: [1, 2]
}
item { name: "a \"dog\"" id: 18 }
"""


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [
        LabelMap(NAMES),
        LabelMap.from_json(json.dumps({str(n): name for n, name in NAMES.items()})),
        LabelMap.from_json(json.dumps(COCO, indent=1)),
        LabelMap.from_json(json.dumps({"info": {"year": [1, 2]}, "categories": COCO})),
        LabelMap.from_coco(COCO),
        LabelMap.from_pbtxt(PBTXT),
    ],
    ids=["mapping", "JSON", "categories", "COCO file", "COCO", "pbtxt"],
)
def test_every_format_reads_the_same(made: LabelMap) -> None:
    assert dict(made) == NAMES
    assert len(made) == 3
    assert made[3] == "café"
    assert made.get(2, "?") == "?"
    assert made.number("café") == 3
    assert 18 in made
    assert eval(repr(made), {"LabelMap": LabelMap}) == made
    for name in ("nose", "Café"):
        with pytest.raises(KeyError):
            made.number(name)


def test_a_list_counts_from_nought() -> None:
    assert dict(LabelMap.from_json('["background", "cat"]')) == {0: "background", 1: "cat"}
    assert dict(LabelMap.from_json("[]")) == dict(LabelMap.from_json("{}")) == {}
    assert dict(LabelMap.from_pbtxt("\n# nothing\n")) == {}


@pytest.mark.parametrize(
    ("name", "text"), [("map.json", '{"7": "cat"}'), ("map.pbtxt", 'item { id: 7 name: "cat" }')]
)
def test_files_are_read_by_their_ending(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert dict(LabelMap.read(path)) == dict(LabelMap.read(str(path))) == {7: "cat"}


def test_an_error_in_a_file_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "map.pbtxt"
    path.write_text('item { id: 7 name: "cat" }\n\nitem { id: 7 name: "dog" }\n')
    with pytest.raises(ValueError, match=r"map.pbtxt, line 3: class 7 is there already, as 'cat'"):
        LabelMap.read(path)
    with pytest.raises(ValueError, match=r"path: expected a file that ends in .json or .pbtxt"):
        LabelMap.read(tmp_path / "map.txt")


JSON_ERRORS = {
    '{"1": "cat",\n "2": "dog"': "line 2: Expecting ',' delimiter",
    '{"1": "cat"\n "2": "dog"}': "line 2: Expecting ',' delimiter",
    '{"1": "cat",\n\n "1": "dog"}': "line 3: class 1 is there already, as 'cat'",
    '{"1": "cat",\n "2": "cat"}': "line 2: name 'cat' is there already, for class 1",
    '{"1": "cat",\n "two": "dog"}': "line 2: expected a number in quotes, got 'two'",
    '{"1": "cat",\n "2": 5}': r"line 2: expected a name for class 2, got 5 \(int\)",
    '{"1":\n "cat",\n\n "2": ""}': "line 4: expected a name for class 2, got ''",
    '["cat",\n null]': "line 2: expected a name for class 1, got None",
    '[{"id": 1, "name": "cat"},\n {"id": 2}]': "line 2: expected a category with 'name', got",
    '[{"id": 1, "name": "cat"},\n {"name": "b"}]': "line 2: expected a category with 'id', got",
    '[\n{"id": "1", "name": "cat"}]': "line 2: expected an integer for a class, got '1'",
    '{"info": 1,\n"categories": 3}': "line 2: expected an object or a list of classes",
    '\n\n"cat"': "line 3: expected an object or a list of classes",
    "": "line 1: Expecting value",
}
PBTXT_ERRORS = {
    'item {\n id: 1\n name: "cat"\n': "line 3: expected more, got the end: is a } missing",
    'item {\n id: 1 name: "cat" }\n}': "line 3: expected 'item', got '}'",
    'itm {\n id: 1 name: "cat" }': "line 1: expected 'item', got 'itm'",
    'item [\n id: 1 name: "cat" }': "line 1: expected '{', got '\\['",
    "item {\n id: 1\n}": "line 1: expected an item with name or display_name, got none",
    '\nitem {\n name: "cat"\n}': "line 2: expected an item with id, got none",
    'item {\n id: one\n name: "cat"\n}': "line 2: expected an integer for a class, got 'one'",
    'item {\n id: 1.5\n name: "cat"\n}': "line 2: expected an integer for a class, got '1.5'",
    "item {\n id: 1\n name: 7\n}": "line 3: expected a name in quotes, got 7",
    'item {\n id: 1\n name: "cat\n}': "line 3: cannot read '\"cat'",
    'item {\n id: 1\n id: 2\n name: "cat"\n}': "line 3: 'id' is there twice",
    'item {\n id: 1\n "name": "cat"\n}': "line 3: expected the name of a field, got '\"name\"'",
    'item {\n id: 1\n name: }\n': "line 3: expected a value, got '}'",
    'item { id: 1 name: "a" }\nitem { id: 2 name: "a" }': "line 2: name 'a' is there already",
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), JSON_ERRORS.items())
def test_errors_in_json_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        LabelMap.from_json(text)


@pytest.mark.parametrize(("text", "message"), PBTXT_ERRORS.items())
def test_errors_in_pbtxt_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        LabelMap.from_pbtxt(text)


@pytest.mark.parametrize(
    ("names", "error"),
    [({"1": "cat"}, TypeError), ({True: "cat"}, TypeError), ({1: 2}, TypeError)],
)
def test_a_mapping_is_checked_too(names: Mapping[Any, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^expected an integer for a class|^expected a name for class"):
        LabelMap(names)


# --- drawing ------------------------------------------------------------------------------------

GREY = torch.full((3, 40, 60), 0.5)


def changed(drawn: Tensor, image: Tensor = GREY) -> Tensor:
    return (drawn != image.expand_as(drawn)).any(0)


def test_a_box_is_drawn_along_its_inner_border() -> None:
    drawn = topic.draw_boxes(GREY, torch.tensor([[10.0, 5.0, 30.0, 25.0]]))
    expected = torch.zeros(40, 60, dtype=torch.bool)
    expected[5:25, 10:30] = True
    expected[6:24, 11:29] = False
    assert torch.equal(changed(drawn), expected)
    assert (drawn[:, expected] == torch.tensor([0, 114, 178])[:, None] / 255).all()
    assert (GREY == 0.5).all(), "the image itself is left alone"


@pytest.mark.parametrize(
    "box", [[-9, -9, 5, 5], [50, 30, 99, 99], [-9, -9, 99, 99], [12.4, 3.4, 12.6, 3.6]]
)
def test_what_lies_outside_is_cut_off(box: list[float]) -> None:
    drawn = topic.draw_boxes(GREY, torch.tensor([box]), torch.tensor([3]), torch.tensor([0.5]))
    assert drawn.shape == GREY.shape
    assert changed(drawn).any()


@pytest.mark.parametrize(
    "box", [[70, 5, 90, 9], [5, 5, 5, 9], [9, 5, 3, 9], [float("nan"), 0, 9, 9]]
)
def test_what_is_not_there_is_not_drawn(box: list[float]) -> None:
    drawn = topic.draw_boxes(GREY, torch.tensor([box]), torch.tensor([3]), torch.tensor([0.5]))
    assert not changed(drawn).any()


def test_only_good_boxes_are_drawn_and_at_most_so_many() -> None:
    boxes = torch.tensor([[float(10 * n), 20, 10 * n + 5, 30] for n in range(6)])
    scores = torch.tensor([0.1, 0.9, 0.3, float("nan"), 0.29, 0.5])

    def seen(**options: Any) -> list[int]:
        drawn = topic.draw_boxes(GREY, boxes, None, scores, **options)
        return [n for n in range(6) if changed(drawn)[29, 10 * n + 4]]

    assert seen() == [1, 2, 5]
    assert seen(min_score=0.0) == [0, 1, 2, 4, 5]
    assert seen(max_boxes=2) == [1, 5]
    assert seen(max_boxes=0) == []
    assert len(topic.draw_boxes(GREY, boxes, None, scores)) == 3


def test_the_best_box_lies_on_top() -> None:
    boxes = torch.tensor([[10.0, 10, 30, 30]] * 2)
    for scores, top in (([0.9, 0.5], 1), ([0.5, 0.9], 2)):
        drawn = topic.draw_boxes(GREY, boxes, torch.tensor([1, 2]), torch.tensor(scores))
        alone = topic.draw_boxes(GREY, boxes[:1], torch.tensor([top]), torch.tensor([max(scores)]))
        assert torch.equal(drawn[:, 29], alone[:, 29])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_grey_and_bytes_are_drawn_on(dtype: torch.dtype, device: torch.device) -> None:
    image = torch.full((1, 40, 60), 1, dtype=dtype, device=device)
    drawn = topic.draw_boxes(
        image,
        torch.tensor([[10.0, 15, 30, 30]], device=device),
        torch.tensor([1], device=device),
        torch.tensor([0.7], device=device),
        LabelMap({1: "cup"}),
    )
    assert (drawn.shape, drawn.dtype, drawn.device.type) == ((3, 40, 60), dtype, device.type)
    shade = drawn[:, 29, 12].double() * (1 if dtype == torch.uint8 else 255)
    assert shade.round().tolist() == [213, 94, 0]


def read(drawn: Tensor, x: int, y: int, count: int) -> str:
    """Read letters back: the inverse of the font, ink being what is darkest or lightest."""
    known = {
        tuple(drawing._letters(c, 1, torch.device("cpu"))[1:9, 1:6].flatten().tolist()): c
        for c in map(chr, range(32, 127))
    }
    ink = (drawn.amax(0) == 0) | (drawn.amin(0) == 1)
    letters = [ink[y + 1 : y + 9, x + 1 + 6 * n : x + 6 + 6 * n] for n in range(count)]
    return "".join(known[tuple(letter.flatten().tolist())] for letter in letters)


def test_names_and_scores_can_be_read() -> None:
    image = torch.full((3, 60, 200), 0.5)
    boxes = torch.tensor([[10.0, 30, 40, 50], [150, 0, 199, 20]])
    drawn = topic.draw_boxes(
        image, boxes, torch.tensor([1, 9]), torch.tensor([0.97, 0.5]), LabelMap({1: "Löffel"})
    )
    assert read(drawn, 10, 20, 11) == "Loffel 0.97"
    assert read(drawn, 150, 0, 6) == "9 0.50", "inside, for want of room above"
    drawn = topic.draw_boxes(image, boxes[:1], torch.tensor([1]), None, {1: "a 日 b"})
    assert read(drawn, 10, 20, 5) == "a ? b"
    far_right = topic.draw_boxes(image, boxes[1:] + 60, torch.tensor([1]), None, {1: "cup"})
    assert not changed(far_right, image).any()
    edge = topic.draw_boxes(image, torch.tensor([[190.0, 30, 200, 50]]), torch.tensor([1]), None,
                            {1: "saucer"})  # fmt: skip
    assert read(edge, 200 - 37, 20, 6) == "saucer", "moved to the left, to fit"


def test_every_letter_is_another() -> None:
    letters = [
        tuple(drawing._letters(c, 1, torch.device("cpu")).flatten().tolist())
        for c in map(chr, range(32, 127))
    ]
    assert len(set(letters)) == 95
    for pair in ("b6", "O0", "S5", "l1", "I1", "B8", "g9", "Z2"):
        one, two = (letters[ord(c) - 32] for c in pair)
        assert sum(a != b for a, b in zip(one, two, strict=True)) >= 2
    assert all(any(letters[ord(c) - 32]) for c in string.punctuation)


def test_lines_and_letters_grow_with_the_picture() -> None:
    image = torch.full((3, 500, 600), 0.5)
    drawn = topic.draw_boxes(image, torch.tensor([[100.0, 100, 300, 300]]), torch.tensor([4]))
    assert changed(drawn, image)[200].sum() == 4  # two lines, two pixels each
    assert changed(drawn, image)[80:100].any(1).all()  # ten rows, two pixels each


BOX, IMAGE = torch.zeros(1, 4), torch.zeros(3, 9, 9)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: topic.draw_boxes(IMAGE[0], BOX), ValueError, "image: expected 3 dimensions"),
        (lambda: topic.draw_boxes(IMAGE[:2], BOX), ValueError, r"image: expected \(3, H, W\)"),
        (lambda: topic.draw_boxes(IMAGE.long(), BOX), TypeError, "image: expected a floating"),
        (lambda: topic.draw_boxes(IMAGE, BOX[0]), ValueError, "boxes: expected 2 dimensions"),
        (lambda: topic.draw_boxes(IMAGE, BOX, BOX), ValueError, "labels: expected 1 dimensions"),
        (lambda: topic.draw_boxes(IMAGE, BOX, None, BOX[0]), ValueError, "scores: expected shape"),
        (lambda: topic.draw_boxes(IMAGE, BOX, max_boxes=-1), ValueError, "max_boxes: expected an"),
        (lambda: topic.draw_boxes(IMAGE, BOX, min_score="a"), TypeError, "min_score: expected a"),
    ],
)
def test_wrong_arguments_are_answered(
    call: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call()
