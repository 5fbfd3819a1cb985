"""A browser, a server, and the pages of the built site.

What a test sees in ``_build/html`` is what a reader gets. Requests to any other place are counted
and blocked, so that a page which needs one fails here as it would on a train.
"""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from built import SITE, pages

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--no-sandbox",  # a container's root has no sandbox
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test that takes ``page_name`` every page, or none that exists if nothing is built."""
    if "page_name" in metafunc.fixturenames:
        metafunc.parametrize("page_name", pages() or ["index.html"])


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


@pytest.fixture(scope="session")
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


@dataclass
class Visit:
    """An open page and what happened on it.

    Args:
        page: Playwright's page.
        off_site: addresses that it asked for and that are not of the site.
        requested: addresses of the site that it asked for.
        errors: its console errors and warnings, uncaught errors, and answers of 400 and above.
    """

    page: Any
    off_site: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until nothing more is loaded and every formula is set."""
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate("() => window.MathJax?.startup?.promise")
        self.page.evaluate("() => document.fonts.ready")


@pytest.fixture
def open_page(browser: Any) -> Callable[..., Any]:
    """Open an address of the site: ``with open_page(url, size=..., scheme=...) as visit``."""

    @contextmanager
    def opened(
        url: str, *, size: tuple[int, int] = (1280, 800), scheme: str = "light"
    ) -> Iterator[Visit]:
        root = url[: url.index("/", len("http://")) + 1] if url.startswith("http") else "file://"
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            reduced_motion="reduce",
        )
        visit = Visit(context.new_page())

        def route(attempt: Any) -> None:
            target = attempt.request.url
            inside = target.startswith((root, "data:", "blob:"))
            (visit.requested if inside else visit.off_site).append(target)
            attempt.continue_() if inside else attempt.abort()

        def on_console(message: Any) -> None:
            if message.type in ("error", "warning"):
                visit.errors.append(f"{message.type}: {message.text}")

        def on_response(response: Any) -> None:
            if response.status >= 400:
                visit.errors.append(f"{response.status}: {response.url}")

        context.route("**/*", route)
        visit.page.on("console", on_console)
        visit.page.on("pageerror", lambda error: visit.errors.append(f"uncaught: {error}"))
        visit.page.on("response", on_response)
        visit.page.goto(url)
        visit.settle()
        try:
            yield visit
        finally:
            context.close()

    return opened
