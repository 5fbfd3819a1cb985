"""What tests share: the devices that are here, a browser, how long hypothesis may search."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from browsing import Book

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",  # a container's root has no sandbox
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

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


@pytest.fixture(scope="module")  # Playwright's event loop must not reach the next module's tests
def browser() -> Iterator[Any]:
    """A headless Chromium, from ``CHROMIUM`` or the search path."""
    executable = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, _BROWSERS)), None
    )
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium, or set CHROMIUM to a browser's path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=list(_FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def book(browser: Any, tmp_path: Path) -> Iterator[Book]:
    """Pages made of figures; see `browsing.Book`."""
    from browsing import Book

    book = Book(browser, tmp_path)
    yield book
    book.close()
    assert book.complaints == []
