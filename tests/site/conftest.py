"""A server, and the pages of the built site."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from built import SITE, pages
from visits import visiting


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that takes ``page_name`` every page, or none that exists if nothing is built."""
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", pages() or ["book/index.html"])


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built site."""
    if not (SITE / "index.html").exists():
        pytest.fail(f"expected a built site in {SITE}, found none: run make book", pytrace=False)
    return SITE


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Keep the tests' output for the tests."""


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served on this machine, with a slash at the end."""
    handler = functools.partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def open_page(browser: Any) -> Callable[..., Any]:
    """Open an address of the site: ``with open_page(url, size=..., scheme=...) as visit``."""
    return functools.partial(visiting, browser)
