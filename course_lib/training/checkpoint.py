"""What a run leaves on the disk, so that it can go on as if it had never stopped."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

_KEYS = frozenset(
    ("model", "best", "optimizer", "optimizer_name", "scaler", "position", "processes")
)


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all: at every moment the old one or the new one is there.

    It is written beside its place first. Only when the disk has it does it take its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        torch.save(content, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    if os.name == "posix":  # the name itself is written into the folder
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def load_checkpoint(path: Path, model: nn.Module, optimizer: Any) -> dict[str, Any]:
    """Read a file that `save_checkpoint` wrote, as plain data only, and see that it fits.

    Raises:
        ValueError: if it is no checkpoint of `fit`, or one of another model or optimiser;
            nothing was changed then.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not content.keys() >= _KEYS:
        raise ValueError(f"checkpoint: expected one that fit wrote, got {path}")
    ours = _shapes(model.state_dict())
    saved = _shapes(content["model"])
    for name in [*ours, *saved]:
        if ours.get(name) != saved.get(name):
            raise ValueError(
                f"checkpoint: expected one of this model, with {name} of shape"
                f" {ours.get(name, 'none')}, got {saved.get(name, 'none')} in {path}"
            )
    have, came = type(optimizer).__name__, content["optimizer_name"]
    if have != came:
        raise ValueError(f"checkpoint: expected one of {have}, got one of {came} in {path}")
    return content


def random_state() -> dict[str, Any]:
    """The states of all generators that a step may draw from: Python's, numpy's, torch's."""
    import numpy as np

    # The old interface, because it is what data sets and their transforms draw from.
    kind, numbers, *rest = cast(Any, np.random.get_state())  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": (kind, numbers.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Bring all generators into the state that `random_state` returned."""
    import numpy as np

    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _shapes(state: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
