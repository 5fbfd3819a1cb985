"""Serve the book on this machine, and build it again whenever one of its files changes.

    .venv/bin/python tools/serve.py [--port 8000] [arguments of tools/build.py]

A build that fails prints why, and the last good site stays. An open page loads itself again after
each new build, by a script that exists only in what is served, never in the files.
"""

from __future__ import annotations

import argparse
import errno
import functools
import io
import subprocess
import sys
import threading
import time
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

from build import ROOT, Layout, current_site, input_files, say, stop_cleanly

_POLL_S = 1.0
_PORTS_TRIED = 100
_RELOAD = b"""
<script>
(async () => {
  const site = async () => (await fetch("/.site")).text();
  const shown = await site();
  setInterval(async () => {
    try { if ((await site()) !== shown) location.reload(); } catch { /* the server is away */ }
  }, 1000);
})();
</script>
"""


class BookHandler(SimpleHTTPRequestHandler):
    """Serves a site, and adds the reloading script to every page of it."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Send the head of an answer, and return its body."""
        if self.path == "/.site":
            return self._answer("text/plain", current_site(Path(self.directory)).encode())
        page = Path(self.translate_path(self.path))
        if page.is_dir() and self.path.endswith("/"):
            page /= "index.html"
        if page.suffix == ".html" and page.is_file():
            return self._answer("text/html; charset=utf-8", page.read_bytes() + _RELOAD)
        return super().send_head()

    def _answer(self, kind: str, body: bytes) -> io.BytesIO:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return io.BytesIO(body)

    def end_headers(self) -> None:
        """End the head, and ask the browser to keep nothing: the next build may change it."""
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing about what went well; the builds are the news here."""


def start_server(html: Path, port: int) -> ThreadingHTTPServer:
    """Serve a folder on this machine only, in the background, from the first free port on.

    Raises:
        OSError: if this port and the next hundred are all taken.
    """
    handler = functools.partial(BookHandler, directory=str(html))
    for candidate in range(port, port + _PORTS_TRIED):
        try:
            server = ThreadingHTTPServer(("127.0.0.1", candidate), handler)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            return server
    raise OSError(f"expected a free port from {port} on, found {_PORTS_TRIED} taken ones")


def state(root: Path) -> dict[Path, int]:
    """When each of the files that the site is made from was last changed."""
    times = {}
    for path in input_files(root):
        try:
            times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:  # an editor's file that came and went
            continue
    return times


def run_build(arguments: list[str]) -> None:
    """Build in a process of its own, so that it sees the tools and the library as they are now."""
    script = Path(__file__).with_name("build.py")
    process = subprocess.Popen([sys.executable, str(script), *arguments])
    try:
        process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def main() -> None:
    """Build, serve, watch, until interrupted."""
    parser = argparse.ArgumentParser(
        description="Build and serve the book, and rebuild what changes.",
        epilog="Other arguments go to tools/build.py.",
    )
    parser.add_argument(
        "--port", type=int, default=8000, help="or the next free one (default: 8000)"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of the checkout")
    options, passed_on = parser.parse_known_args()
    root = options.root.resolve()
    arguments = ["--root", str(root), *passed_on]
    stop_cleanly()
    try:
        built = state(root)
        run_build(arguments)
        server = start_server(Layout(root).html, options.port)
        say(f"Serving http://127.0.0.1:{server.server_port}/ (stop with Ctrl-C)")
        while True:
            time.sleep(_POLL_S)
            now = state(root)
            if now != built:
                built = now
                run_build(arguments)
    except KeyboardInterrupt:
        say("")


if __name__ == "__main__":
    main()
