"""A page of the site in a browser, and what happened on it.

Requests to any other place are counted and blocked, so that a page which needs one fails here as
it would on a train.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from built import WIDE


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
        self.page.evaluate("async () => { await window.MathJax?.startup?.promise; }")
        self.page.evaluate("async () => { await document.fonts.ready; }")


@contextmanager
def visiting(
    browser: Any, url: str, *, size: tuple[int, int] = WIDE, scheme: str = "light"
) -> Iterator[Visit]:
    """Open an address in a browser that remembers nothing, and close it again.

    Args:
        url: a page of a served site, or of one in files.
        size: of the window, in pixels: width and height.
        scheme: what the reader's system prefers, ``light`` or ``dark``.
    """
    root = url[: url.index("/", len("http://")) + 1] if url.startswith("http") else "file://"
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    visit = Visit(context.new_page())

    def route(attempt: Any) -> None:
        target = attempt.request.url
        if target.startswith((root, "data:", "blob:")):
            visit.requested.append(target)
            attempt.continue_()
        else:
            visit.off_site.append(target)
            attempt.abort()

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
    try:
        visit.page.goto(url)
        visit.settle()
        yield visit
    finally:
        context.close()
