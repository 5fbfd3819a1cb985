"""Where tensors live: the best device at hand, or the one that ``COURSE_DEVICE`` names."""

from __future__ import annotations

import os

import torch

VARIABLE = "COURSE_DEVICE"


def available_devices() -> list[torch.device]:
    """Every device that tensors can live on here, fastest first: CUDA, MPS, CPU."""
    devices = []
    if torch.cuda.is_available():
        devices.append(torch.device("cuda"))
    if torch.backends.mps.is_available():
        devices.append(torch.device("mps"))
    return [*devices, torch.device("cpu")]


def best_device() -> torch.device:
    """Return the fastest device at hand, or the one named by ``COURSE_DEVICE``.

    Raises:
        ValueError: if ``COURSE_DEVICE`` names no device, or one that is not here.
    """
    available = available_devices()
    wanted = os.environ.get(VARIABLE, "").strip()
    if not wanted:
        return available[0]
    listed = ", ".join(str(device) for device in available)
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ValueError(
            f"{VARIABLE}: expected a device such as {listed}, got {wanted!r}"
        ) from None
    in_range = device.type != "cuda" or (device.index or 0) < torch.cuda.device_count()
    if device.type not in {d.type for d in available} or not in_range:
        raise ValueError(f"{VARIABLE}: expected a device that is here ({listed}), got {wanted!r}")
    return device


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that was asked of it, so that a clock can be read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
