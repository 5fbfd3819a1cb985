"""Prompts: what they may hold, what they say of a scan, and how they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib import data
from course_lib import gan as topic
from course_lib.classification import warp
from course_lib.gan.prompts import BOLD, DIGITS, SLANTED, THIN, UPRIGHT

IMAGES, LABELS = data.digits("train")
MEASURED = topic.attributes(IMAGES)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- words to numbers -----------------------------------------------------------------------------


def test_tokenize_numbers_the_words_from_1() -> None:
    tokens = topic.tokenize(["a thin seven", "7", "An EIGHT"])
    expected = [["a", "thin", "seven"], ["7"], ["an", "eight"]]
    assert tokens.dtype == torch.int64
    assert tokens.shape == (3, 3)
    for row, words in zip(tokens.tolist(), expected, strict=True):
        assert row == [1 + topic.WORDS.index(word) for word in words] + [0] * (3 - len(words))


def test_one_text_is_one_prompt() -> None:
    assert torch.equal(topic.tokenize("a  bold\tthree "), topic.tokenize(["a bold three"]))


def test_no_word_twice() -> None:
    assert len(set(topic.WORDS)) == len(topic.WORDS)


@pytest.mark.parametrize(
    ("prompts", "error", "message"),
    [
        ("a purple seven", ValueError, "words among a, an, zero.*thick; got 'purple'"),
        (["seven", "ten"], ValueError, "got 'ten'"),
        ("seven.", ValueError, "got 'seven.'"),
        ([], ValueError, "at least one, got none"),
        (["seven", " "], ValueError, "got an empty text"),
        ("", ValueError, "got an empty text"),
        ([7], TypeError, "expected texts, got 7"),
    ],
)
def test_what_cannot_be_read(prompts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        topic.tokenize(prompts)


# --- the encoder ----------------------------------------------------------------------------------


def test_encoder_adds_up_the_words() -> None:
    encoder = topic.PromptEncoder(5)
    encoded = encoder(topic.tokenize(["a bold three", "3"]))
    vectors = encoder.words.weight
    for row, words in zip(encoded, (["a", "bold", "three"], ["3"]), strict=True):
        total = sum((vectors[1 + topic.WORDS.index(word)] for word in words), torch.zeros(5))
        torch.testing.assert_close(row, F.relu(encoder.linear(total)))


def test_padding_and_order_do_not_count() -> None:
    encoder = topic.PromptEncoder(4)
    alone = encoder(topic.tokenize("bold 3"))
    torch.testing.assert_close(encoder(topic.tokenize(["3 bold", "a thin upright 4"]))[:1], alone)


def test_padding_learns_nothing() -> None:
    encoder = topic.PromptEncoder(4)
    encoder(topic.tokenize(["7", "a bold 7"])).sum().backward()
    assert encoder.words.weight.grad is not None
    assert (encoder.words.weight.grad[0] == 0).all()


def test_encoder_of_no_length() -> None:
    with pytest.raises(ValueError, match="embedding_dim"):
        topic.PromptEncoder(0)


# --- what is measured -----------------------------------------------------------------------------


def moments_loops(image: Tensor) -> tuple[float, float]:
    """Slant and ink of one picture, word by word."""
    height, width = image.shape
    total = sum(float(image[r, c]) for r in range(height) for c in range(width))
    middle_x = sum(float(image[r, c]) * c for r in range(height) for c in range(width)) / total
    middle_r = sum(float(image[r, c]) * r for r in range(height) for c in range(width)) / total
    along = up = 0.0
    for r in range(height):
        for c in range(width):
            x, y = c - middle_x, middle_r - r
            along += float(image[r, c]) * x * y
            up += float(image[r, c]) * y * y
    return along / up, total / (height * width)


def test_attributes_are_the_moments() -> None:
    images = torch.rand(5, 1, 6, 9, dtype=torch.float64, generator=seeded())
    slant, ink = topic.attributes(images)
    for image, *found in zip(images[:, 0], slant.tolist(), ink.tolist(), strict=True):
        assert found == pytest.approx(moments_loops(image), abs=1e-12)


def test_a_line_leans_by_its_slope() -> None:
    image = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
    for row in range(2, 7):
        image[0, 0, row, 8 - row] = 1  # one pixel to the right for each pixel up
    assert topic.attributes(image).slant.item() == pytest.approx(1)
    assert topic.attributes(image.flip(3)).slant.item() == pytest.approx(-1)
    assert topic.attributes(image).ink.item() == pytest.approx(5 / 49)


def test_shearing_adds_to_the_slant() -> None:
    """A row that moves 0.3 pixels to the right for each row up; scans have room for it."""
    images = F.pad(IMAGES[:50].double(), (3, 3, 3, 3))
    matrix = torch.tensor([[1, 0.3, 0], [0, 1, 0]], dtype=torch.float64)  # looks x + 0.3 y up
    sheared = warp(images, matrix.expand(50, 2, 3))
    added = topic.attributes(sheared).slant - topic.attributes(images).slant
    torch.testing.assert_close(added, torch.full_like(added, 0.3), rtol=0, atol=1e-9)


def test_moving_a_digit_changes_nothing() -> None:
    images = F.pad(IMAGES[:50].double(), (1, 1, 1, 1))
    moved = topic.attributes(images.roll((1, -1), (2, 3)))
    torch.testing.assert_close(moved, topic.attributes(images), rtol=0, atol=1e-12)


def test_no_ink_and_one_row() -> None:
    images = torch.zeros(2, 1, 4, 4)
    images[1, 0, 2] = 1
    assert topic.attributes(images).slant.tolist() == [0, 0]
    assert topic.attributes(images).ink.tolist() == [0, 0.25]


def test_attributes_gradcheck() -> None:
    images = torch.rand(2, 1, 3, 4, dtype=torch.float64, generator=seeded()).requires_grad_()
    assert torch.autograd.gradcheck(topic.attributes, images)


# --- prompts that are true ------------------------------------------------------------------------


def test_prompts_are_true() -> None:
    """What is said of a scan holds for it, counted by hand."""
    prompts = topic.prompts_for(LABELS, MEASURED, seeded())
    for label in range(10):
        own = label == LABELS
        for words, values, sign in (
            (SLANTED, MEASURED.slant, 1),
            (UPRIGHT, MEASURED.slant, -1),
            (BOLD, MEASURED.ink, 1),
            (THIN, MEASURED.ink, -1),
        ):
            ranks = (sign * values[own]).argsort().argsort() / own.sum()  # 0 to 1
            said = [
                rank
                for rank, n in zip(ranks.tolist(), own.nonzero()[:, 0].tolist(), strict=True)
                if set(words) & set(prompts[n].split())
            ]
            assert min(said) > 0.65
            assert 0.25 < len(said) / (int(own.sum()) / 3) < 0.75  # every second time


def test_prompts_name_the_digit() -> None:
    for text, label in zip(
        topic.prompts_for(LABELS, MEASURED, seeded()), LABELS.tolist(), strict=True
    ):
        assert [word for word in text.split() if word in DIGITS or word.isdigit()] in (
            [DIGITS[label]],
            [str(label)],
        )


def test_prompts_use_every_word_and_the_right_article() -> None:
    prompts = topic.prompts_for(LABELS, MEASURED, seeded())
    assert set(Counter(" ".join(prompts).split())) == set(topic.WORDS)
    assert len(set(prompts)) > 150
    for text in prompts:
        words = text.split()
        if words[0] in ("a", "an"):
            assert (words[0] == "an") == (words[1] in ("eight", "8", "upright"))
        topic.tokenize(text)


def test_prompts_depend_on_the_generator_only() -> None:
    one, same, other = (topic.prompts_for(LABELS, MEASURED, seeded(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_a_single_picture_has_no_like() -> None:
    single = topic.Attributes(torch.tensor([0.3]), torch.tensor([0.2]))
    texts = {topic.prompts_for(torch.tensor([7]), single, seeded(n))[0] for n in range(40)}
    assert texts == {"7", "seven", "a seven"}


@pytest.mark.parametrize(
    ("labels", "measured", "message"),
    [
        (torch.tensor([3.0]), 1, "labels: expected integers from 0 to 9"),
        (torch.tensor([10]), 1, "labels: expected integers from 0 to 9"),
        (torch.tensor([[1]]), 1, "labels: expected 1 dimensions"),
        (torch.tensor([1]), 2, "measured.slant: expected shape"),
    ],
)
def test_wrong_arguments(labels: Tensor, measured: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        topic.prompts_for(labels, topic.Attributes(torch.rand(measured), torch.rand(measured)))


def test_attributes_of_colour() -> None:
    with pytest.raises(ValueError, match="images: expected shape"):
        topic.attributes(torch.rand(2, 3, 8, 8))


# --- for test_fake_cuda ---------------------------------------------------------------------------

LOOKS_AT_DATA = {"prompts_for"}


def _encode(make: Any, device: torch.device) -> Tensor:
    with device:  # fake weights cannot be moved
        encoder = topic.PromptEncoder(4)
    return encoder(topic.tokenize(["7", "a bold 3"]).to(device))


CALLS: dict[str, Callable[..., Any]] = {
    "PromptEncoder": _encode,
    "attributes": lambda make, device: topic.attributes(make(2, 1, 8, 8)),
    "prompts_for": lambda make, device: topic.prompts_for(
        make(3).long(), topic.Attributes(make(3), make(3))
    ),
    "tokenize": lambda make, device: topic.tokenize("seven").to(device),
}
