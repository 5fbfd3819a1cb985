"""Boxes drawn into the picture itself, as a tensor: to save, and to look at without a notebook.

For figures in a chapter take `course_lib.plots.boxes`, which draws sharper.

Sources:
    Okabe and Ito, "Color Universal Design", 2008: the colours.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from course_lib.checking import expect_int, expect_number, expect_shape, expect_tensor

_COLOURS = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
)
_FONT = (  # for each character from the blank to ~, eight rows of five pixels, in base 32
    "00000000 44444040 AA000000 AAVAVAA0 4FKE5U40 OP248J30 CIK8LID0 44000000 24888420 84222480 "
    "04LEL400 044V4400 00000C48 000V0000 00000CC0 11248GG0 EHJLPHE0 4C4444E0 EH1248V0 V2421HE0 "
    "26AIV220 VGU11HE0 68GUHHE0 V1248880 EHHEHHE0 EHHF12C0 0CC0CC00 0CC0C480 248G8420 00V0V000 "
    "84212480 EH124040 EHNLNGE0 EHHVHHH0 UHHUHHU0 EHGGGHE0 SIHHHIS0 VGGUGGV0 VGGUGGG0 EHGNHHF0 "
    "HHHVHHH0 E44444E0 72222IC0 HIKOKIH0 GGGGGGV0 HRLLHHH0 HHPLJHH0 EHHHHHE0 UHHUGGG0 EHHHLID0 "
    "UHHUKIH0 FGGE11U0 V4444440 HHHHHHE0 HHHHHA40 HHHLLRH0 HHA4AHH0 HHA44440 V1248GV0 E88888E0 "
    "GG842110 E22222E0 4AH00000 0000000V 84000000 00E1FHF0 GGMPHHU0 00EGGHE0 11DJHHF0 00EHVGE0 "
    "698S8880 00FHHF1E GGMPHHH0 40C444E0 206222IC GGIKOKI0 C44444E0 00QLLHH0 00MPHHH0 00EHHHE0 "
    "00UHHUGG 00FHHF11 00MPGGG0 00FGE1U0 88S88960 00HHHJD0 00HHHA40 00HHLLA0 00HA4AH0 00HHHF1E "
    "00V248V0 24484420 44444440 84424480 008L2000"
)
_GLYPH = (8, 5)  # rows, columns


def draw_boxes(
    image: Tensor,
    boxes: Tensor,
    labels: Tensor | None = None,
    scores: Tensor | None = None,
    label_map: Mapping[int, str] | None = None,
    max_boxes: int = 200,
    min_score: float = 0.3,
) -> Tensor:
    """Draw the best boxes into a copy of an image, each with its name and score.

    Lines lie inside the boxes. Equal labels share a colour; the best boxes lie on top. Letters lose
    their accents, and those of other alphabets become question marks.

    Args:
        image: ``Tensor[3, H, W]`` or ``Tensor[1, H, W]``, floating in [0, 1] or uint8.
        boxes: ``Tensor[N, 4]``, ``(x1, y1, x2, y2)`` in pixels; what lies outside is cut off.
        labels: ``Tensor[N]``, integers.
        scores: ``Tensor[N]``; without, all boxes count as equally good, and the first as best.
        label_map: names of labels, such as a `LabelMap`; a label without a name stays a number.
        max_boxes: at most so many, the best, are drawn.
        min_score: boxes with a lower score are not drawn.
    Returns:
        ``Tensor[3, H, W]``, the image's dtype and device.
    Raises:
        TypeError, ValueError: if an argument is not as described.
    """
    expect_tensor("image", image, ndim=3)
    if image.shape[0] not in (1, 3) or image.numel() == 0:
        raise ValueError(f"image: expected (3, H, W) or (1, H, W), got {tuple(image.shape)}")
    if not (image.is_floating_point() or image.dtype == torch.uint8):
        raise TypeError(f"image: expected a floating dtype or uint8, got {image.dtype}")
    expect_tensor("boxes", boxes, ndim=2)
    expect_shape("boxes", boxes, (None, 4))
    expect_int("max_boxes", max_boxes, minimum=0)
    expect_number("min_score", min_score)
    for name, column in (("labels", labels), ("scores", scores)):
        if column is not None:
            expect_tensor(name, column, ndim=1)
            expect_shape(name, column, (len(boxes),))
    numbers = [0] * len(boxes) if labels is None else [int(label) for label in labels.tolist()]
    drawn = image.detach().expand(3, -1, -1).clone()
    size = max(1, round(min(image.shape[1:]) / 250))  # pixels of a line, and of a letter's dot
    for n in reversed(_best(boxes, scores, max_boxes, min_score)):
        colour = _COLOURS[numbers[n] % len(_COLOURS)]
        text = _text(
            None if labels is None else numbers[n],
            None if scores is None else scores[n].item(),
            label_map or {},
        )
        _draw(drawn, boxes[n].tolist(), text, colour, size)
    return drawn


def _best(boxes: Tensor, scores: Tensor | None, most: int, least: float) -> list[int]:
    """Indices of the boxes to draw, best first; those that are not finite are left out."""
    finite = boxes.isfinite().all(1).tolist()
    if scores is None:
        order = list(range(len(boxes)))
    else:
        values = scores.tolist()
        order = [n for n in range(len(boxes)) if values[n] >= least]  # NaN is not
        order.sort(key=lambda n: -values[n])
    return [n for n in order if finite[n]][:most]


def _text(label: int | None, score: float | None, names: Mapping[int, str]) -> str:
    parts = [] if label is None else [names.get(label, str(label))]
    if score is not None:
        parts.append(f"{score:.2f}")
    return " ".join(parts)


def _draw(
    image: Tensor, box: Sequence[float], text: str, colour: tuple[int, ...], size: int
) -> None:
    height, width = image.shape[1:]
    left, right = (min(max(round(x), 0), width) for x in box[::2])
    top, bottom = (min(max(round(y), 0), height) for y in box[1::2])
    if left >= right or top >= bottom:
        return
    paint = _paint(image, colour)
    image[:, top : min(top + size, bottom), left:right] = paint
    image[:, max(bottom - size, top) : bottom, left:right] = paint
    image[:, top:bottom, left : min(left + size, right)] = paint
    image[:, top:bottom, max(right - size, left) : right] = paint
    if text:
        mask = _letters(text, size, image.device)  # (h, w)
        y = top - len(mask) if top >= len(mask) else top  # above the box if there is room
        x = max(0, min(left, width - mask.shape[1]))
        place = image[:, y : y + len(mask), x : x + mask.shape[1]]
        mask = mask[: place.shape[1], : place.shape[2]]
        ink = _paint(image, (0, 0, 0) if _is_light(colour) else (255, 255, 255))
        place.copy_(torch.where(mask, ink, paint))


def _letters(text: str, size: int, device: torch.device) -> Tensor:
    """A line of text with a margin; ``Tensor[h, w]``, bool, true where the ink is."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    glyphs = [_FONT[9 * (code - 32) :][:8] if 32 <= (code := ord(c)) < 127 else "" for c in plain]
    rows, columns = _GLYPH
    mask = torch.zeros(rows + 2, 1 + (columns + 1) * len(plain), dtype=torch.bool)
    for n, glyph in enumerate(glyphs):
        for y, row in enumerate(glyph or _FONT[9 * (ord("?") - 32) :][:8]):
            for x in range(columns):
                mask[1 + y, 1 + n * (columns + 1) + x] = int(row, 32) >> (columns - 1 - x) & 1
    return mask.repeat_interleave(size, 0).repeat_interleave(size, 1).to(device)


def _paint(image: Tensor, colour: tuple[int, ...]) -> Tensor:
    """The colour as the image holds colours; ``Tensor[3, 1, 1]``."""
    paint = torch.tensor(colour, device=image.device)[:, None, None]
    return (paint / 255).to(image.dtype) if image.is_floating_point() else paint.to(image.dtype)


def _is_light(colour: tuple[int, ...]) -> bool:
    """Whether black reads better on it than white (WCAG 2, relative luminance)."""
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (value / 255 for value in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179
