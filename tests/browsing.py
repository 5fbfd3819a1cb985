"""What the tests of the figures to touch share: pages made of figures, and what those say."""

from __future__ import annotations

from pathlib import Path

import torch
from playwright.sync_api import Browser, Locator, Page
from torch import Tensor

FOCUSED = "document.activeElement.shadowRoot?.activeElement"
CONTROLS = "[...host.shadowRoot.querySelectorAll('button, select, input, [tabindex]')]"


def picture(height: int, width: int) -> Tensor:
    """Something like a photograph: smooth shades with a dark disc and some grain."""
    grain = torch.rand(height, width, generator=torch.Generator().manual_seed(0))
    y, x = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    shade = 0.7 + 0.2 * x - 0.5 * ((y**2 + x**2) < 0.3).float()
    return (shade + 0.3 * grain).clamp(0, 1)


class Book:
    """Opens pages from files, lets nothing through to a network, and collects complaints."""

    def __init__(self, browser: Browser, folder: Path):
        self.browser, self.folder, self.contexts = browser, folder, []
        self.complaints: list[str] = []

    def open(self, *html: str, attributes: str = "", body: str = "", **options) -> Page:
        file = self.folder / f"page{len(self.contexts)}.html"
        file.write_text(
            f'<!doctype html><html lang="en" {attributes}><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width"><title>Page</title>'
            f"</head><body {body}><main><h1>Page</h1>{''.join(html)}</main></body></html>",
            encoding="utf-8",
        )
        context = self.browser.new_context(**{"viewport": {"width": 800, "height": 900}} | options)
        self.contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("request", self.note)
        page.goto(file.as_uri())
        return page

    def close(self) -> None:
        for context in self.contexts:
            context.close()

    def note(self, request) -> None:
        if not request.url.startswith(("file:", "about:", "data:")):
            self.complaints.append(f"asked for {request.url}")


def host(page: Page, at: int = 0) -> Locator:
    return page.locator(".course-figure").nth(at)


def state(page: Page, at: int = 0) -> dict[str, str]:
    """What the figure says about itself, by name."""
    said = host(page, at).get_attribute("data-state")
    return dict(pair.split("=") for pair in said.split(" "))


def core(page: Page, expression: str, argument: object) -> object:
    """Evaluate JavaScript over a figure's ``core`` and one argument, ``a``."""
    return host(page).evaluate(
        f"(host, a) => {{ const core = host.core; return {expression}; }}", argument
    )


def painted(page: Page, at: int = 0) -> list[str]:
    script = "host => [...host.shadowRoot.querySelectorAll('canvas')].map(c => c.toDataURL())"
    return host(page, at).evaluate(script)


def draw(generator: torch.Generator, low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def enter(page: Page, label: str, text: str) -> None:
    page.get_by_label(label).fill(text)
    page.get_by_label(label).press("Tab")


def written_in_canvas(page: Page, act: str) -> list[dict]:
    """What a repaint of the last canvas writes and fills, when ``act`` runs on its control."""
    return host(page).evaluate(
        """(host, act) => {
          const canvas = [...host.shadowRoot.querySelectorAll("canvas")].at(-1);
          const said = [];
          const context = CanvasRenderingContext2D.prototype;
          const { fillText, fillRect, arc } = context;
          const note = function (call, text, x, width) {
            if (this.canvas === canvas) said.push({ call, text, left: x, right: x + width,
              font: this.font });
          };
          context.fillText = function (text, x, y) {
            note.call(this, "text", text, x, this.measureText(text).width);
          };
          context.fillRect = function (x, y, width) { note.call(this, "mark", "", x, width); };
          context.arc = function (x, y, radius) {
            note.call(this, "mark", "", x - radius, 2 * radius);
          };
          const input = host.shadowRoot.querySelector(act);
          input.dispatchEvent(new Event("input"));
          Object.assign(context, { fillText, fillRect, arc });
          return said;
        }""",
        act,
    )


def slide(page: Page, label: str, value: int) -> None:
    page.get_by_role("slider", name=label, exact=True).fill(str(value))
