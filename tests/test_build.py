"""The build, played on a book of two notebooks: what runs again, and what survives an accident."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from types import ModuleType

import pytest

import build
from dependencies import Library
from execution import Executor, Outcome, imported_ahead
from kernels import CAN_FORK
from notebooks import Cache, Notebook, NotebookError, Run

TOOLS = Path(build.__file__).parent

TOC = """
format: jb-book
root: book/index
parts:
  - caption: Part
    chapters:
      - file: book/part/one
      - file: book/part/two
"""

CONFIG = """
title: A tiny book
author: Nobody
only_build_toc_files: true
exclude_patterns: [".*"]
sphinx:
  local_extensions:
    gate: site
"""

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "course_lib"
version = "0.1"
"""

# Stops in the middle of Sphinx's work while the file `hold` is there.
GATE = """
import os, time
from pathlib import Path

HOLD = Path(os.environ["GATE"], "hold")

def wait(app, doctree):
    while HOLD.exists():
        Path(os.environ["GATE"], "reached").write_text(str(os.getpid()))
        time.sleep(0.05)

def setup(app):
    app.connect("doctree-read", wait)
    return {"parallel_read_safe": True}
"""

# The same in the middle of a notebook.
GATED_CELL = """
import os, time
from pathlib import Path
Path(os.environ["GATE"], "reached").write_text(str(os.getpid()))
while Path(os.environ["GATE"], "hold").exists():
    time.sleep(0.05)
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def notebook(text: str, *code: str, **metadata: object) -> str:
    cells = [{"cell_type": "markdown", "id": "text", "metadata": {}, "source": text}]
    for number, source in enumerate(code):
        cell = {"cell_type": "code", "id": f"code-{number}", "metadata": {}, "source": source}
        cells.append({**cell, "outputs": [], "execution_count": None})
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
    return json.dumps(content)


class Project:
    """A folder with a book of two notebooks, ``one`` and ``two``, and a library of four modules."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.html = root / "_build" / "html"
        self.gate = root.parent / f"{root.name}-gate"

    def create(self) -> None:
        write(self.root / "_toc.yml", TOC)
        write(self.root / "_config.yml", CONFIG)
        write(self.root / "pyproject.toml", PYPROJECT)
        write(self.root / "requirements.txt", "")
        write(self.root / "site" / "gate.py", GATE)
        write(self.root / "tools" / "student.py", STUDENT)
        write(self.root / "course_lib" / "__init__.py", "")
        write(self.root / "course_lib" / "base.py", "value = 'base 1'\n")
        write(self.root / "course_lib" / "chapter.py", "from course_lib.base import value\n")
        write(self.root / "course_lib" / "other.py", "")
        write(self.root / "book" / "index.md", "# Home\n")
        self.write_notebook("one", "# One", "from course_lib.chapter import value\nvalue")
        self.write_notebook("two", "# Two\n\nold text", "import course_lib.other", SURROUNDINGS)

    def write_notebook(self, name: str, text: str, *code: str, **metadata: object) -> None:
        write(self.root / "book" / "part" / f"{name}.ipynb", notebook(text, *code, **metadata))

    def start(self, script: str = "build.py", *arguments: str) -> subprocess.Popen[str]:
        self.gate.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, str(TOOLS / script), "--root", str(self.root), *arguments],
            env={**os.environ, "GATE": str(self.gate)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def build(self, *arguments: str) -> tuple[int, str]:
        process = self.start("build.py", *arguments)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def hold(self) -> None:
        self.gate.mkdir(exist_ok=True)
        (self.gate / "hold").touch()

    def release(self) -> None:
        (self.gate / "hold").unlink()

    def wait_until_held(self) -> int:
        """Wait until a held build is at the gate; return the process that waits there."""
        reached = self.gate / "reached"
        wait_for(lambda: reached.exists() and reached.read_text() != "")
        return int(reached.read_text())

    def page(self, name: str) -> str:
        return (self.html / "book" / "part" / f"{name}.html").read_text()

    def site(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.html)): path.read_bytes()
            for path in self.html.rglob("*")
            if path.is_file()
        }


SURROUNDINGS = "import os, sys\nprint(sys.executable, os.environ['OMP_NUM_THREADS'], os.listdir())"

STUDENT = """
import zipfile

def write_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("student.txt", "no solutions")
"""


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    # one that has ended but was not waited for, where nobody inherits orphans
    status = Path(f"/proc/{process}/status")
    return status.exists() and "State:\tZ" in status.read_text()


def execute(root: Path, notebooks: list[Notebook], *, jobs: int = 1) -> Outcome:
    """What the build does before Sphinx, in this process."""
    layout = build.Layout(root)
    surroundings = build.describe_surroundings(root)
    executor = Executor(
        root, Cache(layout.cache), layout.work, jobs, 60.0, surroundings, report=print
    )
    return executor.execute(notebooks, fresh=False)


@pytest.fixture(scope="module", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compile Sphinx and the kernels' packages once, also where Python may leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONDONTWRITEBYTECODE", "")
        patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


@pytest.fixture(scope="module", autouse=True)
def fork_server() -> Iterator[None]:
    """Let kernels come from a server of their own, not from one that another test has started."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # which is there for tests
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    project = Project(tmp_path_factory.mktemp("built") / "book")
    project.create()
    code, said = project.build("--jobs", "2")
    assert code == 0, said
    return project, said


@pytest.fixture
def project(built: tuple[Project, str], tmp_path: Path) -> Project:
    """A copy of the book with its site, which nobody else changes."""
    shutil.copytree(built[0].root, tmp_path / "book", symlinks=True)
    return Project(tmp_path / "book")


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A folder with a package that holds nothing."""
    write(tmp_path / "requirements.txt", "")
    write(tmp_path / "course_lib" / "__init__.py", "")
    return tmp_path


# --- a whole build -------------------------------------------------------------------------------


def test_a_build_says_what_it_does(built: tuple[Project, str]) -> None:
    project, said = built
    assert re.search(r"^one  ran in \d+\.\d s$", said, re.MULTILINE), said
    assert re.search(r"^two  ran in \d+\.\d s$", said, re.MULTILINE), said
    assert "Notebooks: 2 ran, 0 unchanged;" in said
    assert f"Open {project.html / 'index.html'}" in said


def test_pages_show_outputs_and_downloads_do_not(built: tuple[Project, str]) -> None:
    project, _ = built
    assert "base 1" in project.page("one")
    download = json.loads((project.html / "_sources/book/part/one.ipynb").read_text())
    assert download == json.loads((project.root / "book/part/one.ipynb").read_text())


def test_kernels_are_this_python_in_an_empty_folder(built: tuple[Project, str]) -> None:
    project, _ = built
    threads = max(1, build.available_cores() // 2)
    assert f"{sys.executable} {threads} []" in project.page("two")


def test_the_report_of_times(built: tuple[Project, str]) -> None:
    project, _ = built
    one, two = json.loads((project.root / "_build/source/execution.json").read_text())
    assert one["document"] == "book/part/one"
    assert two["document"] == "book/part/two"
    assert one["status"] == "ok"
    assert one["cached"] is False
    assert one["budget_s"] == 60
    assert 0.1 < one["undisturbed_s"] <= one["seconds"] < 60
    assert 20 < one["peak_mib"] < 1000


def test_the_site_carries_the_wheel_and_the_student_edition(built: tuple[Project, str]) -> None:
    project, _ = built
    (wheel,) = (project.html / "wheel").iterdir()
    assert "course_lib/base.py" in zipfile.ZipFile(wheel).namelist()
    assert zipfile.ZipFile(project.html / "student.zip").namelist() == ["student.txt"]


def test_nothing_changed(project: Project) -> None:
    before = project.html.readlink()
    started = time.monotonic()
    code, said = project.build()
    assert (code, project.html.readlink()) == (0, before)
    assert "Nothing changed" in said
    assert time.monotonic() - started < 3


@pytest.mark.slow
def test_only_what_changed_runs(project: Project) -> None:
    # the code of one, the text of two
    project.write_notebook("one", "# One", "'changed code'", course={"budget_s": 0.01})
    project.write_notebook("two", "# Two\n\nnew text", "import course_lib.other", SURROUNDINGS)
    code, said = project.build()
    assert code == 0, said
    assert re.search(r"one  ran in .* over its budget of 0.01 s", said)
    assert "two  unchanged" in said
    assert "changed code" in project.page("one")
    assert "new text" in project.page("two")
    assert sys.executable in project.page("two")
    report = json.loads((project.root / "_build/source/execution.json").read_text())
    assert [entry["cached"] for entry in report] == [False, True]
    assert len(list((project.root / "_build/sites").iterdir())) == 1


def test_a_changed_module_runs_those_that_import_it(project: Project) -> None:
    # chapter imports base, one imports chapter, two imports neither
    write(project.root / "course_lib" / "base.py", "value = 'base 2'\n")
    outcome = execute(project.root, build.load_notebooks(project.root))
    assert outcome.ran == {"book/part/one"}
    assert set(outcome.runs) == {"book/part/one", "book/part/two"}
    assert "base 2" in str(outcome.runs["book/part/one"].cells)


# --- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_failing_cell_stops_the_build_each_time(project: Project) -> None:
    before = project.site()
    project.write_notebook("one", "# One", "1 + 1", "numbers = []\nnumbers[7]")
    project.write_notebook("two", "# Two", "2 + 2")
    for second_time in (False, True):
        code, said = project.build()
        assert code == 1
        assert "book/part/one.ipynb, cell 3 of 3 (id code-1):" in said
        assert "    numbers = []\n    numbers[7]\n" in said
        assert "IndexError: list index out of range" in said
        assert "\x1b" not in said
        assert "one  failed after" in said
        assert ("two  unchanged" if second_time else "two  ran in") in said
        assert project.site() == before


def test_a_notebook_that_takes_too_long_is_stopped(project: Project) -> None:
    before = project.site()
    project.hold()
    project.write_notebook("one", "# One", GATED_CELL)
    code, said = project.build("--timeout", "6")
    assert code == 1
    assert "cell 2 of 2 (id code-0)" in said
    assert "time limit of 6 s" in said
    assert is_gone(project.wait_until_held())
    assert project.site() == before


def test_a_kernel_that_dies_is_told(library: Path) -> None:
    outcome = execute(library, [make("#", "import os\nos._exit(3)")])
    (failure,) = outcome.failures
    assert "cell 2 of 2 (id code-0)" in str(failure)
    assert "The kernel ended before the notebook did" in str(failure)
    assert outcome.ran == set()


@pytest.mark.slow
def test_a_warning_fails_the_build_each_time(project: Project) -> None:
    before = project.site()
    write(project.root / "book" / "index.md", "# Home\n\n{ref}`nowhere`\n")
    for _ in range(2):
        code, said = project.build()
        assert code == 1
        assert "undefined label: 'nowhere'" in said
        assert project.site() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_while_a_notebook_runs(project: Project, number: signal.Signals) -> None:
    before = project.site()
    project.hold()
    project.write_notebook("one", "# One", GATED_CELL)
    process = project.start()
    kernel = project.wait_until_held()
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert "Traceback" not in said
    assert "failed" not in said
    wait_for(lambda: is_gone(kernel), seconds=15)
    assert project.site() == before


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_while_sphinx_works(project: Project, number: signal.Signals) -> None:
    before = project.site()
    project.hold()
    write(project.root / "book" / "index.md", "# New home\n")
    process = project.start()
    project.wait_until_held()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert project.site() == before
    if number == signal.SIGKILL:
        project.release()
        code, said = project.build()
        assert code == 0, said
        assert "New home" in (project.html / "book" / "index.html").read_text()


@pytest.mark.slow
def test_two_builds_at_once_and_an_edit_meanwhile(project: Project) -> None:
    project.hold()
    project.write_notebook("one", "# One", GATED_CELL)
    first = project.start()
    project.wait_until_held()
    write(project.root / "book" / "index.md", "# Edited home\n")
    second = project.start()
    assert second.stdout is not None
    assert second.stdout.readline() == "Waiting for another build to end\n"
    assert second.poll() is None
    project.release()
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert "Files were edited meanwhile" in said
    assert build.current_site(project.html).startswith("mixed-")  # never taken for up to date
    said, _ = second.communicate(timeout=60)
    assert "one  unchanged" in said
    assert "Files were edited meanwhile" not in said
    assert "Edited home" in (project.html / "book" / "index.html").read_text()


# --- putting the site in place -------------------------------------------------------------------


def test_a_real_folder_gives_way_to_the_link(tmp_path: Path) -> None:
    layout = build.Layout(tmp_path)
    write(layout.html / "index.html", "by another program")
    write(layout.work / "html" / "index.html", "ours")
    build.publish(layout, layout.work / "html", "name")
    assert layout.html.is_symlink()
    assert (layout.html / "index.html").read_text() == "ours"
    assert build.current_site(layout.html).startswith("name-")
    assert len(list(layout.sites.iterdir())) == 1


def test_documents_of_a_table_of_contents(tmp_path: Path) -> None:
    toc = tmp_path / "_toc.yml"
    toc.write_text(TOC)
    assert build.documents(toc) == ["book/index", "book/part/one", "book/part/two"]
    toc.write_text("[")
    with pytest.raises(build.BuildError, match=r"_toc\.yml: expected a table of contents"):
        build.documents(toc)


def test_the_fingerprint_sees_every_input(built: tuple[Project, str], tmp_path: Path) -> None:
    root = tmp_path / "book"
    shutil.copytree(built[0].root, root, symlinks=True)
    seen = {build.fingerprint(root, {})}
    inputs = ["_config.yml", "book/index.md", "site/new.css", "tools/new.py", "course_lib/base.py"]
    for name in inputs:
        write(root / name, "changed")
        seen.add(build.fingerprint(root, {}))
    seen.add(build.fingerprint(root, {"python": "4"}))
    assert len(seen) == len(inputs) + 2
    last = build.fingerprint(root, {})
    write(root / "course_lib" / "__pycache__" / "base.pyc", "")
    write(root / "_build" / "cache" / "new", "")
    assert build.fingerprint(root, {}) == last


# --- what a notebook depends on ------------------------------------------------------------------

STYLE = "figures/assets/style.css"
LIBRARY = {
    "__init__.py": "",
    "checking.py": "",
    "boxes.py": "from course_lib.checking import expect",
    "rcnn.py": "def train():\n    from . import boxes",
    "data.py": "import importlib\ndef load(n): importlib.import_module('course_lib.sets.' + n)",
    "sets/__init__.py": "",
    "sets/voc.py": "from ..checking import expect",
    "figures/__init__.py": "",
    "figures/boxes.py": "",
    "figures/boxes.js": "",
    "figures/rcnn.py": "SCRIPT = 'boxes.js'",
    "figures/scaling.py": "",
    STYLE: "",
    "formulas/__init__.py": "import pkgutil\nfound = pkgutil.iter_modules(__path__)",
    "formulas/boxes.py": "",
    "broken.py": "def",
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", []),
        ("import course_lib_of_another_name", []),
        ("import course_lib.checking", ["checking.py"]),
        ("from course_lib.checking import expect", ["checking.py"]),
        ("from course_lib import boxes", ["boxes.py", "checking.py"]),
        ("def f():\n    from course_lib import rcnn", ["boxes.py", "checking.py", "rcnn.py"]),
        ("%matplotlib inline\n!ls\nimport course_lib.checking", ["checking.py"]),
        ("%%time\nimport course_lib.checking", ["checking.py"]),
        ("import_module('course_lib.checking')", ["checking.py"]),
        ("import course_lib.broken", ["broken.py"]),
        (
            "from course_lib.data import load",
            ["checking.py", "data.py", "sets/__init__.py", "sets/voc.py"],
        ),
        ("from course_lib.sets import *", ["checking.py", "sets/__init__.py", "sets/voc.py"]),
        (
            "from course_lib.figures.boxes import step",
            ["figures/__init__.py", "figures/boxes.py", "figures/boxes.js", STYLE],
        ),
        (
            "from course_lib.figures import rcnn",
            ["figures/__init__.py", "figures/rcnn.py", "figures/boxes.js", STYLE],
        ),
        ("import course_lib.figures.scaling", ["figures/__init__.py", "figures/scaling.py", STYLE]),
        ("import course_lib.formulas", ["formulas/__init__.py", "formulas/boxes.py"]),
        ("%%html\n<p>no Python</p>", sorted(LIBRARY)),
    ],
)
def test_files_behind_a_cell(tmp_path: Path, source: str, expected: list[str]) -> None:
    for name, text in LIBRARY.items():
        write(tmp_path / "course_lib" / name, text)
    files = Library(tmp_path).files_behind([source])
    found = {str(path.relative_to(tmp_path / "course_lib")) for path in files}
    assert found - {"__init__.py"} == set(expected) - {"__init__.py"}
    assert ("__init__.py" in found) == bool(expected)


def make(text: str, *code: str, document: str = "book/part/name", **metadata: object) -> Notebook:
    return Notebook(document, json.loads(notebook(text, *code, **metadata)))


def test_the_key_covers_what_changes_outputs_and_no_more(tmp_path: Path) -> None:
    module = tmp_path / "course_lib" / "base.py"
    write(module, "1")
    key = make("text", "a").key([module], tmp_path, {"python": "3"})
    assert make("other text", "a").key([module], tmp_path, {"python": "3"}) == key

    tagged = make("text", "a")
    tagged.code_cells[0]["metadata"]["tags"] = ["raises-exception"]
    spec = {"name": "python3"}
    others = {
        make("text", "b").key([module], tmp_path, {"python": "3"}),
        make("text", "a", "a").key([module], tmp_path, {"python": "3"}),
        make("text", "a").key([], tmp_path, {"python": "3"}),
        make("text", "a").key([module], tmp_path, {"python": "4"}),
        make("text", "a", kernelspec=spec).key([module], tmp_path, {"python": "3"}),
        tagged.key([module], tmp_path, {"python": "3"}),
    }
    write(module, "2")
    others.add(make("text", "a").key([module], tmp_path, {"python": "3"}))
    assert len(others - {key}) == 7


def test_surroundings_name_the_device(
    built: tuple[Project, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = built[0].root
    monkeypatch.setenv("COURSE_DEVICE", "cpu")
    cpu = build.describe_surroundings(root)
    monkeypatch.setenv("COURSE_DEVICE", "cuda")
    assert build.describe_surroundings(root) != cpu


def test_new_text_is_merged_with_old_outputs() -> None:
    cells = [{"outputs": [{"output_type": "stream", "name": "stdout", "text": "3"}]}]
    executed = json.loads(make("new", "1 + 2").executed(Run(1.0, 1.0, 2.0, cells, {"widgets": {}})))
    assert executed["cells"][0]["source"] == "new"
    assert executed["cells"][1]["outputs"] == cells[0]["outputs"]
    assert executed["metadata"]["widgets"] == {}


def test_a_download_is_clean_whatever_was_saved() -> None:
    subject = make("text", "1 + 2")
    clean = subject.clean()
    subject.code_cells[0].update(outputs=[{"output_type": "stream"}], execution_count=7)
    assert subject.clean() == clean


@pytest.mark.parametrize(("seconds", "cpu_s", "undisturbed_s"), [(10, 4, 4), (4, 7, 4)])
def test_waits_for_a_busy_core_do_not_count(
    seconds: float, cpu_s: float, undisturbed_s: float
) -> None:
    assert Run(seconds, cpu_s, 0.0, [], {}).undisturbed_s == undisturbed_s


def test_the_cache_keeps_a_few_runs_and_survives_a_broken_file(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    subject = make("text", "1", course={"budget_s": 90})
    assert cache.expected_s(subject) == 90
    for number in range(5):
        cache.store(subject, str(number), Run(float(number), 0.0, 0.0, [], {}))
        time.sleep(0.01)
    assert cache.load(subject, "4") == Run(4.0, 0.0, 0.0, [], {})
    assert cache.load(subject, "1") is None
    assert len(list((tmp_path / subject.document).iterdir())) == 3
    assert cache.expected_s(subject) == 4.0
    (tmp_path / subject.document / "4.json").write_text("{")
    assert cache.load(subject, "4") is None


# --- running -------------------------------------------------------------------------------------

FORKED = """
import sys
import multiprocessing
found = "matplotlib.pyplot" in sys.modules
own = [path for path in sys.path if path.endswith("tools")]
import matplotlib.pyplot as plt
print(found, own, multiprocessing.get_start_method(allow_none=True), plt.get_backend())
"""


@pytest.mark.slow
@pytest.mark.skipif(not CAN_FORK, reason="kernels are not forked here")
def test_kernels_find_large_libraries_imported_and_nothing_else_changed(project: Project) -> None:
    project.write_notebook("one", "# One", FORKED)
    code, said = project.build()
    assert code == 0, said
    assert "True [] None module://matplotlib_inline.backend_inline" in project.page("one")


def test_kernels_do_not_run_the_program_that_starts_them(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ModuleType("__main__")
    program.__file__ = str(library / "program.py")
    write(library / "program.py", f"open(r'{library / 'it ran'}', 'w').close()")
    monkeypatch.setitem(sys.modules, "__main__", program)
    assert not execute(library, [make("#", "1")]).failures
    assert not (library / "it ran").exists()
    assert sys.modules["__main__"] is program


def test_libraries_are_imported_ahead_only_for_notebooks_that_do(tmp_path: Path) -> None:
    module = tmp_path / "topic.py"
    write(module, "def plot():\n    from matplotlib import pyplot\n")
    text = make("text", "x = 'import torch'\nimport torchvision")
    assert imported_ahead([text], {module}) == ["torchvision", "matplotlib.pyplot"]


SLOW_ONCE = """
import time
from pathlib import Path
ran = Path(r"{folder}", "ran")
while not ran.exists() and time.process_time() < 3:
    pass
ran.touch()
"""


def test_a_budget_that_is_broken_beside_another_notebook_is_tried_alone(
    library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make("#", SLOW_ONCE.format(folder=library), document="a/one", course={"budget_s": 2.5})
    outcome = execute(library, [one, make("#", "1", document="a/two")], jobs=2)
    assert not outcome.failures
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines if line[:3] == "one"] == [
        ["one", "ran", "in"], ["one", "runs", "once"], ["one", "ran", "in"],
    ]  # fmt: skip
    assert outcome.runs["a/one"].undisturbed_s < 2.5


def test_a_budget_that_is_broken_alone_stays_broken(
    library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = make("#", "1", document="a/one", course={"budget_s": 0.001})
    execute(library, [one], jobs=2)
    assert "once more" not in capsys.readouterr().out


# Ends only if the other notebook runs at the same time.
MEET = """
import os, time
from pathlib import Path
Path(r"{folder}", "{me}").write_text(str(os.getpid()))
while not Path(r"{folder}", "{other}").exists():
    time.sleep(0.05)
"""


def test_notebooks_run_at_the_same_time(library: Path) -> None:
    cells = [MEET.format(folder=library, me=me, other=3 - me) for me in (1, 2)]
    large = "import os\nblock = os.urandom(300 * 2**20)"
    small = make("#", cells[0], document="book/small")
    big = make("#", cells[1], large, document="book/big")
    outcome = execute(library, [small, big], jobs=2)
    assert outcome.failures == []
    assert outcome.ran == {"book/small", "book/big"}
    assert outcome.runs["book/big"].peak_mib > 300 > outcome.runs["book/small"].peak_mib
    assert all(is_gone(int((library / name).read_text())) for name in ("1", "2"))


def test_what_is_printed_in_pieces_is_one_output(library: Path) -> None:
    code = "import time\nfor n in range(3): print(n, end=' ', flush=True); time.sleep(0.2)"
    piecewise = make("", code, document="book/part/piecewise")
    (cell,) = execute(library, [piecewise]).runs[piecewise.document].cells
    assert [output["text"] for output in cell["outputs"]] == ["0 1 2 "]


def test_an_edit_while_it_runs_is_not_kept(library: Path) -> None:
    module = library / "course_lib" / "__init__.py"
    edit = f"import course_lib\nopen({str(module)!r}, 'w').write('changed = True')"
    subject = make("#", edit)
    assert execute(library, [subject]).failures == []
    write(module, "")
    assert execute(library, [subject]).ran == {subject.document}


def test_an_error_in_a_notebook_tells_its_place() -> None:
    error = NotebookError(make("text", "1 / 0"), 1, "ZeroDivisionError")
    assert str(error) == (
        "book/part/name.ipynb, cell 2 of 2 (id code-0):\n\n    1 / 0\n\nZeroDivisionError"
    )


# --- serving -------------------------------------------------------------------------------------


@pytest.fixture
def served(project: Project) -> Iterator[tuple[Project, str, subprocess.Popen[str]]]:
    process = project.start("serve.py", "--port", "8765")
    assert process.stdout is not None
    address = None
    while address is None:
        line = process.stdout.readline()
        assert line, "the server ended"
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
    yield project, address[0], process
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def fetch(address: str) -> str:
    with urllib.request.urlopen(address, timeout=5) as answer:
        return answer.read().decode()


@pytest.mark.slow
def test_serve_rebuilds_what_changed(
    served: tuple[Project, str, subprocess.Popen[str]],
) -> None:
    project, address, process = served
    page = f"{address}book/part/two.html"
    assert "location.reload" in fetch(page)
    assert "location.reload" not in project.page("two")
    site = fetch(f"{address}.site")
    project.write_notebook("two", "# Two\n\nnew text", "import course_lib.other", SURROUNDINGS)
    wait_for(lambda: fetch(f"{address}.site") != site)
    assert "new text" in fetch(page)

    project.write_notebook("two", "# Two\n\nbad text", "1 / 0")
    assert process.stdout is not None
    while "No new site" not in (line := process.stdout.readline()):
        assert line, "the server ended"
    assert "new text" in fetch(page)
