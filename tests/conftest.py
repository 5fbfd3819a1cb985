"""What every test shares: the devices that are here, and how long hypothesis may search."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# The tests' tensors are small, and as many tests run at once as there are cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("course", max_examples=40, deadline=None, print_blob=True)
settings.load_profile("course")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes a ``device`` once on each device that has float64."""
    if "device" not in metafunc.fixturenames:
        return
    import torch

    from course_lib.device import available_devices

    torch.backends.cudnn.allow_tf32 = False  # else the twins round to 10 bits on CUDA
    devices = [device for device in available_devices() if device.type != "mps"]
    marks = {"cuda": [pytest.mark.cuda]}
    metafunc.parametrize(
        "device",
        [
            pytest.param(device, marks=marks.get(device.type, []), id=str(device))
            for device in devices
        ],
    )
