"""Build the book: run what changed, make the site aside, put it in place when it is complete.

    .venv/bin/python tools/build.py [--jobs N] [--fresh] [--timeout SECONDS]

Whatever goes wrong, or whenever the build is stopped, ``_build/html`` stays the last good site:
it is a link that is replaced in one step, after everything else has succeeded.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import gc
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import yaml

from notebooks import (
    Cache,
    Notebook,
    NotebookError,
    Run,
    available_cores,
    describe_surroundings,
)

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("book", "site", "benchmarks/recorded", "_config.yml", "_toc.yml", "references.bib")
INPUT_FOLDERS = ("benchmarks/recorded", "book", "course_lib", "site", "tools")
DEFAULT_LIMIT_S = 1200.0

_WHEEL_TIME = "1580601600"  # 2 February 2020: the same files give the same wheel, byte for byte
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class BuildError(Exception):
    """Why there is no new site, in words for the one who called for it."""


class Layout:
    """Where a build puts things, all below ``<root>/_build``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "_build"
        self.lock = self.folder / "lock"
        self.cache = self.folder / "cache"
        self.source = self.folder / "source"
        self.work = self.folder / "work"
        self.sites = self.folder / "sites"
        self.html = self.folder / "html"


def say(line: str) -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


def stop_cleanly() -> None:
    """Let SIGTERM do what Ctrl-C does, and Ctrl-C work also where the shell had it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def documents(toc: Path) -> list[str]:
    """The documents that a table of contents names, in its order.

    Raises:
        BuildError: if the file is missing or is no YAML.
    """
    try:
        tree = yaml.safe_load(toc.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise BuildError(f"{toc.name}: expected a table of contents, got: {error}") from None
    return list(_documents_below(tree))


def _documents_below(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key in ("root", "file"):
                yield value.removesuffix(".ipynb").removesuffix(".md")
            else:
                yield from _documents_below(value)
    elif isinstance(tree, list):
        for entry in tree:
            yield from _documents_below(entry)


def load_notebooks(root: Path) -> list[Notebook]:
    """The notebooks among the book's documents, in the order of its table of contents.

    Raises:
        BuildError: if one of them is no notebook.
    """
    try:
        return [
            Notebook.load(root, document)
            for document in documents(root / "_toc.yml")
            if (root / f"{document}.ipynb").exists()
        ]
    except ValueError as error:
        raise BuildError(str(error)) from None


def input_files(root: Path) -> list[Path]:
    """Every file that the site is made from, sorted."""
    found = [path for path in root.iterdir() if path.is_file()]
    for name in INPUT_FOLDERS:
        for folder, inner, files in os.walk(root / name):
            inner[:] = [n for n in inner if n != "__pycache__" and not n.startswith(".")]
            found += [Path(folder, file) for file in files]
    return sorted(path for path in found if not path.name.startswith("."))


def fingerprint(root: Path, surroundings: dict[str, str]) -> str:
    """A short hash over everything that the site is made from."""
    total = hashlib.sha256(json.dumps(surroundings, sort_keys=True).encode())
    for path in input_files(root):
        with contextlib.suppress(FileNotFoundError):  # an editor's file that came and went
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{path.relative_to(root)}\0{content}\0".encode())
    return total.hexdigest()[:16]


def build(root: Path, *, jobs: int, limit_s: float, fresh: bool) -> None:
    """Bring ``<root>/_build/html`` up to date, or leave it as it is.

    Args:
        jobs: how many notebooks run at a time.
        limit_s: how long each may run, in seconds.
        fresh: run every notebook and make the site, even if nothing changed.
    Raises:
        BuildError: if a notebook or the site fails.
        KeyboardInterrupt: on SIGINT or SIGTERM.
    """
    started = time.monotonic()
    layout = Layout(root)
    with _alone(layout.lock):
        surroundings = describe_surroundings(root)
        before = fingerprint(root, surroundings)
        index = layout.html / "index.html"
        if not fresh and current_site(layout.html).startswith(before) and index.exists():
            say(f"Nothing changed since the last build.\nOpen {index}")
            return

        # jsonschema takes it where it is, for a check that no notebook needs, and it builds
        # grammars for longer than everything else here takes to import
        sys.modules.setdefault("rfc3987_syntax", cast(Any, None))
        # costs a second, which the answer above does not need
        from execution import Executor

        notebooks = load_notebooks(root)
        shutil.rmtree(layout.work, ignore_errors=True)
        scratch = layout.work / "kernels"
        executor = Executor(root, Cache(layout.cache), scratch, jobs, limit_s, surroundings, say)
        execution_started = time.monotonic()
        outcome = executor.execute(notebooks, fresh=fresh)
        executing_s = time.monotonic() - execution_started
        if outcome.failures:
            raise BuildError(_describe_failures(outcome.failures))
        runs, ran = outcome.runs, outcome.ran

        say("Making the site")
        stage(layout, notebooks, runs, ran)
        site = layout.work / "html"
        make_site(layout.source, site)
        finish_site(root, site, notebooks)
        settled = fingerprint(root, surroundings) == before
        if not settled:
            say("Files were edited meanwhile: the site may mix versions, the next build will not")
        publish(layout, site, before if settled else "mixed")

        total_s = time.monotonic() - started
        notebooks_s = sum(runs[document].seconds for document in ran)
        say(
            f"Notebooks: {len(ran)} ran, {len(notebooks) - len(ran)} unchanged; "
            f"{notebooks_s:.1f} s in notebooks ({executing_s:.1f} s on the clock), "
            f"{total_s - executing_s:.1f} s of overhead\nOpen {index}"
        )


def stage(layout: Layout, notebooks: list[Notebook], runs: dict[str, Run], ran: set[str]) -> None:
    """Lay out the tree that Sphinx reads: the sources, with executed notebooks in their places.

    ``execution.json`` beside them tells each notebook's time, memory, status and budget.
    """
    shutil.rmtree(layout.source, ignore_errors=True)
    layout.source.mkdir(parents=True)
    for name in SOURCES:
        path = layout.root / name
        if path.is_dir():
            skipped = shutil.ignore_patterns(".*", "__pycache__")
            shutil.copytree(path, layout.source / name, ignore=skipped)
        elif path.exists():
            shutil.copy2(path, layout.source / name)
    for notebook in notebooks:
        executed = notebook.executed(runs[notebook.document])
        (layout.source / f"{notebook.document}.ipynb").write_text(executed, "utf-8")
    report = [
        {
            "document": notebook.document,
            "seconds": runs[notebook.document].seconds,
            "undisturbed_s": runs[notebook.document].undisturbed_s,
            "status": "ok",
            "cached": notebook.document not in ran,
            "peak_mib": runs[notebook.document].peak_mib,
            "budget_s": notebook.budget_s,
        }
        for notebook in notebooks
    ]
    (layout.source / "execution.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")


def make_site(source: Path, site: Path) -> None:
    """Do what ``jupyter-book build -W --keep-going -n`` does, in this process.

    Raises:
        BuildError: if there was a warning or an error; Sphinx has printed it.
    """
    import pybtex.plugin
    from jupyter_book.sphinx import build_sphinx
    from sphinx.util.console import nocolor

    # asked for every citation, and answered by searching all that is installed
    pybtex.plugin.entry_points = functools.cache(pybtex.plugin.entry_points)
    if not sys.stderr.isatty():
        nocolor()
    # Sphinx keeps nearly all it makes until its end, so the collector would search in vain
    gc.disable()
    try:
        result = build_sphinx(
            source,
            site,
            noconfig=True,
            path_config=source / "_config.yml",
            confoverrides={
                "external_toc_path": str(source / "_toc.yml"),
                "latex_individualpages": False,
                "nb_execution_mode": "off",
                "nitpicky": True,
            },
            warningiserror=True,
            keep_going=True,
            quiet=True,
        )
    finally:
        gc.enable()
    if isinstance(result, KeyboardInterrupt):
        raise result
    if result != 0:
        raise BuildError("The site has warnings or errors; they stand above.")


def finish_site(root: Path, site: Path, notebooks: list[Notebook]) -> None:
    """Add what the site carries beside its pages.

    The notebooks to download, without outputs; ``wheel/`` with the library; ``student.zip``, if
    ``tools/student.py`` is there to make it.
    """
    import hatchling.build

    for notebook in notebooks:
        path = site / "_sources" / f"{notebook.document}.ipynb"
        path.write_text(notebook.clean(), "utf-8")
    (site / "wheel").mkdir()
    os.environ["SOURCE_DATE_EPOCH"] = _WHEEL_TIME
    with contextlib.chdir(root):
        hatchling.build.build_wheel(str(site / "wheel"))
    if (root / "tools" / "student.py").exists():
        student = importlib.import_module("student")
        student.write_zip(site / "student.zip")


def publish(layout: Layout, site: Path, name: str) -> None:
    """Put a complete site in place in one step, then remove those before it."""
    layout.sites.mkdir(exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=layout.sites))
    site.replace(place)
    if layout.html.is_dir() and not layout.html.is_symlink():
        # a folder cannot be replaced by a link, only moved out of its way
        layout.html.replace(tempfile.mkdtemp(prefix="folder-", dir=layout.sites))
    link = layout.folder / "html.new"
    link.unlink(missing_ok=True)
    link.symlink_to(place.relative_to(layout.folder))
    link.replace(layout.html)
    for other in layout.sites.iterdir():
        if other != place:
            shutil.rmtree(other, ignore_errors=True)
    shutil.rmtree(layout.work, ignore_errors=True)


def current_site(html: Path) -> str:
    """The name of the site that is in place; empty if there is none that this program made."""
    return html.readlink().name if html.is_symlink() else ""


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other build of the same folder runs, and keep others out meanwhile."""
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another build to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _describe_failures(failures: list[NotebookError]) -> str:
    text = "\n\n".join(str(failure) for failure in failures)
    return text if sys.stderr.isatty() else _COLOUR.sub("", text)


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and build; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the book into _build/html.")
    parser.add_argument(
        "--jobs", type=int, default=available_cores(), help="notebooks at a time (default: cores)"
    )
    parser.add_argument("--fresh", action="store_true", help="run every notebook again")
    parser.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_LIMIT_S,
        metavar="SECONDS",
        help="time limit of each notebook (default: %(default)g)",
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of the checkout")
    options = parser.parse_args(arguments)
    if options.jobs < 1:
        parser.error(f"--jobs: expected a number >= 1, got {options.jobs}")
    root = options.root.resolve()
    # the site's extension and pages generated by the build may import the library
    sys.path[:0] = [str(root), str(root / "tools")]
    stop_cleanly()
    try:
        build(root, jobs=options.jobs, limit_s=options.timeout, fresh=options.fresh)
    except BuildError as error:
        print(f"\n{error}\n\nNo new site; the last good one stays.", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the last good site stays.", file=sys.stderr, flush=True)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
