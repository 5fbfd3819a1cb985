"""Figures that the reader can touch: HTML that computes in the browser, without kernel or network.

A figure is one ``<div class="course-figure">`` with its styles, data and script inside.
It therefore works on the built page, from a file, in JupyterLab and in Colab alike.
The script builds the figure in an open shadow root, so that no style leaks in or out.
Without JavaScript the reader sees the title, the description and a line that says what is missing.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from course_lib.checking import describe, expect_tensor

__all__ = ["Figure", "asset", "encode_image", "figure"]


@dataclass(frozen=True)
class Figure:
    """A touchable figure; a notebook shows it when it is the last value of a cell.

    Args:
        name: what kind of figure it is, such as ``kernel_stepper``.
        title: its title, also the text that stands for it where no HTML is shown.
        html: the whole figure as one HTML element.
    """

    name: str
    title: str
    html: str = field(repr=False)

    def _repr_html_(self) -> str:
        return self.html

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        plain = f"{self.title} (a figure to touch: open this notebook in a browser)"
        return {"text/html": self.html, "text/plain": plain}


def asset(filename: str) -> str:
    """Return the text of a script or style sheet that lies beside this module."""
    return (resources.files(__name__) / filename).read_text(encoding="utf-8")


def encode_image(
    image: Tensor, *, minimum: int, maximum: int, levels: int = 255, name: str = "image"
) -> dict[str, Any]:
    """Pack a grey image for a figure: one byte a pixel, in base64.

    Args:
        image: ``Tensor[H, W]`` or ``Tensor[1, H, W]``, floating, in [0, 1].
        minimum: the least height and width in pixels.
        maximum: the greatest height and width in pixels.
        levels: the value of white; 100 keeps every pixel exact in two decimals.
        name: the argument's name in an error message.
    Returns:
        ``height``, ``width``, ``levels`` and ``pixels``, ready for JSON.
    Raises:
        TypeError: if ``image`` is no floating tensor.
        ValueError: if its shape, its size or its range is not as described.
    """
    expect_tensor(name, image, ndim=(2, 3), floating=True)
    if image.ndim == 3 and image.shape[0] != 1:
        raise ValueError(f"{name}: expected one channel (1, H, W), got {describe(image)}")
    height, width = image.shape[-2:]
    if not (minimum <= height <= maximum and minimum <= width <= maximum):
        raise ValueError(
            f"{name}: expected {minimum} to {maximum} pixels a side, got {describe(image)}"
        )
    pixels = image.detach().reshape(height, width).double().cpu()
    low, high = pixels.aminmax()
    if not (low >= 0 and high <= 1):  # written so that NaN fails too
        raise ValueError(f"{name}: expected values in [0, 1], got {low:.4g} to {high:.4g}")
    packed = (pixels * levels).round().to(torch.uint8).numpy().tobytes()
    return {
        "height": height,
        "width": width,
        "levels": levels,
        "pixels": base64.b64encode(packed).decode("ascii"),
    }


def figure(name: str, script: str, data: Mapping[str, Any], title: str, description: str) -> Figure:
    """Wrap a figure's script and data into one self-contained element.

    The script defines ``core``, an object of pure functions, and ``build(kit, data)``, which
    fills the figure; ``figure.js`` says what ``kit`` offers.

    Args:
        name: what the element's ``data-figure`` says; letters, digits and underscores.
        script: JavaScript source (ES2020).
        data: what ``build`` gets, as JSON.
        title: plain text.
        description: one or two plain sentences that say what to do and what to see.
    Raises:
        ValueError: if ``name`` is not an identifier, or ``data`` holds NaN or infinity.
        TypeError: if ``data`` holds what JSON cannot say.
    """
    if not name.isidentifier():
        raise ValueError(f"name: expected an identifier, got {describe(name)}")
    setup = {
        "name": name,
        "title": title,
        "description": description,
        "style": asset("figure.css"),
        "data": data,
    }
    code = "\n".join(
        [
            '(() => {\n"use strict";',
            f"const setup = {json.dumps(setup, allow_nan=False)};",
            asset("figure.js"),
            script,
            "start(setup, core, build);\n})();",
        ]
    )
    stop = "" if title.endswith(("?", "!")) else "."
    html = (
        f'<div class="course-figure" data-figure="{name}">\n'
        f"<p><strong>{escape(title)}{stop}</strong> {escape(description)} "
        "<em>To touch this figure, allow JavaScript; in JupyterLab, trust the notebook.</em></p>\n"
        f"<script>{_inside_script(code)}</script>\n</div>"
    )
    return Figure(name=name, title=title, html=html)


def _inside_script(code: str) -> str:
    # HTML ends a script at the first "</script" and changes its rules at "<!--" or "<script".
    return re.sub(r"<(?=/?script|!--)", r"\\x3c", code, flags=re.IGNORECASE)
