"""The package `course_lib.scaling`, and the tables of its chapter, for the tests of the house.

What the functions do is tested in ``test_scaling_roofline``, ``test_scaling_precision``,
``test_scaling_memory``, ``test_scaling_parallel``, ``test_scaling_kernels`` and
``test_scaling_launch``; the answers to the exercises stand in ``test_scaling_exercises``.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import test_scaling_memory as memory
import test_scaling_parallel as parallel
import test_scaling_precision as precision
import test_scaling_roofline as roofline
from course_lib import scaling as topic
from test_scaling_exercises import RIGHT_ANSWERS, WRONG_ANSWERS
from tree import ROOT

__all__ = ["CALLS", "LOOKS_AT_DATA", "RIGHT_ANSWERS", "WRONG_ANSWERS"]

CALLS = {**roofline.CALLS, **precision.CALLS, **memory.CALLS, **parallel.CALLS}
LOOKS_AT_DATA: set[str] = set()

SOURCES = sorted(Path(inspect.getfile(topic)).parent.glob("*.py"))


def test_every_module_cites_equations_that_the_chapter_has() -> None:
    named = set(re.findall(r"scaling-[a-z-]+", topic.__doc__ or ""))
    cited = {
        label
        for path in SOURCES
        for label in re.findall(r"\((scaling-[a-z-]+)\)", path.read_text("utf-8"))
    }
    assert cited == named


def test_what_is_public_is_listed() -> None:
    public = {name for name, value in vars(topic).items() if not name.startswith("_")}
    assert set(topic.__all__) == {
        name for name in public if not inspect.ismodule(vars(topic)[name])
    }


def test_import_brings_neither_triton_nor_torchvision() -> None:
    code = (
        "import torch, sys; import course_lib.scaling;"
        "print({'triton', 'torchvision', 'sympy'} & (set(sys.modules) - before))"
    ).replace("import course_lib", "before = set(sys.modules); import course_lib")
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "set()"
