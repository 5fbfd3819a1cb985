"""A notebook, what running it gives, and the cache that keeps this as long as it holds.

Runs are kept under a key that covers all that can change them: the code cells, the modules of
``course_lib`` that they reach, the locked requirements, the Python version and the device. Text is
not part of it: new text is merged with the outputs of the last run.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

DEFAULT_BUDGET_S = 60.0
RUNS_KEPT = 3  # so that going back and forth between two versions of a chapter runs nothing

_TAGS_THAT_MATTER = {"raises-exception", "skip-execution"}


@dataclass(frozen=True)
class Notebook:
    """A notebook as its author saved it.

    Args:
        document: its path below the root, without suffix: ``book/foundations/convolution``.
        content: the notebook's JSON.
    """

    document: str
    content: dict[str, Any]

    @classmethod
    def load(cls, root: Path, document: str) -> Notebook:
        """Read ``<root>/<document>.ipynb``.

        Raises:
            ValueError: if it is no JSON.
        """
        path = root / f"{document}.ipynb"
        try:
            return cls(document, json.loads(path.read_text("utf-8")))
        except ValueError as error:
            raise ValueError(f"{document}.ipynb: expected a notebook, got: {error}") from None

    @property
    def name(self) -> str:
        """The idea's name, the last part of the document's."""
        return self.document.rpartition("/")[2]

    @property
    def budget_s(self) -> float:
        """How long it may take on two cores, in seconds; its metadata ``course.budget_s``."""
        return float(self.content["metadata"].get("course", {}).get("budget_s", DEFAULT_BUDGET_S))

    @property
    def code_cells(self) -> list[dict[str, Any]]:
        """Its code cells, from top to bottom."""
        return [cell for cell in self.content["cells"] if cell["cell_type"] == "code"]

    @property
    def sources(self) -> list[str]:
        """The code of each code cell."""
        # the format allows one string or a list of lines
        return ["".join(cell["source"]) for cell in self.code_cells]

    def key(self, files: Iterable[Path], root: Path, surroundings: dict[str, str]) -> str:
        """Name all that a run of this notebook depends on by one hash.

        Args:
            files: the files of the package that it reaches.
            surroundings: see :func:`describe_surroundings`.
        """
        tags = [
            sorted(_TAGS_THAT_MATTER.intersection(cell["metadata"].get("tags", [])))
            for cell in self.code_cells
        ]
        known = {
            "code": list(zip(self.sources, tags, strict=True)),
            "kernelspec": self.content["metadata"].get("kernelspec"),
            "files": {str(path.relative_to(root)): _hash(path) for path in files},
            "surroundings": surroundings,
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()

    def clean(self) -> str:
        """The notebook as text for a file, without outputs."""
        return self._with([{"outputs": [], "execution_count": None} for _ in self.code_cells], {})

    def executed(self, run: Run) -> str:
        """The notebook as text for a file, with the outputs of a run of its code cells."""
        return self._with(run.cells, run.metadata)

    def _with(self, results: list[dict[str, Any]], metadata: dict[str, Any]) -> str:
        remaining = iter(results)
        cells = [
            {**cell, **next(remaining)} if cell["cell_type"] == "code" else cell
            for cell in self.content["cells"]
        ]
        merged = {**self.content, "metadata": {**self.content["metadata"], **metadata}}
        return json.dumps({**merged, "cells": cells}, indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Run:
    """What running a notebook gave.

    Args:
        seconds: from the start of its kernel to the end of its last cell.
        cpu_s: how long processors computed for it in that time, summed over its threads.
        peak_mib: the most memory its kernel ever held, in MiB.
        cells: ``outputs`` and ``execution_count`` of each code cell.
        metadata: what the kernel adds to the notebook's: its language, the state of widgets.
    """

    seconds: float
    cpu_s: float
    peak_mib: float
    cells: list[dict[str, Any]]
    metadata: dict[str, Any]

    @property
    def undisturbed_s(self) -> float:
        """At most what it takes where no other process wants its cores: what its budget limits."""
        return min(self.seconds, self.cpu_s)


class NotebookError(Exception):
    """A notebook that did not run to its end: where it stopped, and why.

    Args:
        cell: the cell's position among all cells, counted from 0; ``None`` if none was reached.
        reason: a sentence, or the traceback, with the colours that IPython gives it.
    """

    def __init__(self, notebook: Notebook, cell: int | None, reason: str) -> None:
        where = f"{notebook.document}.ipynb"
        if cell is not None:
            cells = notebook.content["cells"]
            where += f", cell {cell + 1} of {len(cells)} (id {cells[cell].get('id', 'none')})"
            source = "".join(cells[cell]["source"]).splitlines()
            where = "\n".join([f"{where}:", "", *(f"    {line}" for line in source), ""])
        super().__init__(f"{where}\n{reason}")


class Cache:
    """The last few runs of each notebook, in files that are always whole.

    Args:
        folder: where they lie: ``<folder>/<document>/<key>.json``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, notebook: Notebook, key: str) -> Run | None:
        """The run kept under this key; ``None`` if there is none, or its file is no good."""
        path = self.folder / notebook.document / f"{key}.json"
        try:
            run = Run(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        os.utime(path)
        return run

    def store(self, notebook: Notebook, key: str, run: Run) -> None:
        """Keep a run, and forget the oldest ones of the same notebook."""
        folder = self.folder / notebook.document
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / f"{key}.json", json.dumps(asdict(run)))
        for path in self._newest_first(notebook)[RUNS_KEPT:]:
            path.unlink()

    def expected_s(self, notebook: Notebook) -> float:
        """How long a run will take, in seconds: as long as the last one, or else its budget."""
        for path in self._newest_first(notebook)[:1]:
            with suppress(OSError, ValueError, KeyError):
                return json.loads(path.read_text("utf-8"))["seconds"]
        return notebook.budget_s

    def _newest_first(self, notebook: Notebook) -> list[Path]:
        runs = (self.folder / notebook.document).glob("*.json")
        return sorted(runs, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def describe_surroundings(root: Path) -> dict[str, str]:
    """Name what else decides a notebook's outputs: packages, Python, device, how it is run."""
    try:
        torch = importlib.metadata.version("torch")  # +cpu and +cu130 are locked by one line
    except importlib.metadata.PackageNotFoundError:
        torch = ""
    return {
        "requirements": _hash(root / "requirements.txt"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.system()} {platform.machine()}",
        "torch": torch,
        "accelerators": _accelerators(),
        "visible": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "device": os.environ.get("COURSE_DEVICE", ""),
        "execution": _hash(Path(__file__).with_name("execution.py")),
        "kernels": _hash(Path(__file__).with_name("kernels.py")),
    }


def available_cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def write_whole(path: Path, text: str) -> None:
    """Write a file aside and move it into place, so that no reader ever sees a part of it."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, "utf-8")
    aside.replace(path)


def _accelerators() -> str:
    """The names of the graphics cards; no import of torch, which takes seconds."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    asked = [tool, "--query-gpu=name", "--format=csv,noheader"]
    return subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
