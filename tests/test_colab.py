"""A chapter opened alone, with a bare Python, as in Colab: its first cell brings the library."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

import address
from tree import chapters, copy_tree

HERE = address.read()

EXECUTE = """
import sys, nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=240).execute()
nbformat.write(notebook, sys.argv[1])
"""


class Runtime:
    """A fresh Python that sees every package but course_lib, and has a pip and a kernel."""

    def __init__(self, folder: Path) -> None:
        packages, venv = folder / "packages", folder / "venv"
        packages.mkdir()
        for path in Path(sysconfig.get_path("purelib")).iterdir():
            # No .pth file either: one of them leads to the library in the making.
            if not path.name.startswith(("course_lib", "pip")) and path.suffix != ".pth":
                (packages / path.name).symlink_to(path)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        self.python = venv / "bin" / "python"
        (self.site_packages,) = (venv / "lib").glob("python*/site-packages")
        # The old setuptools that some Pythons put here would hide the one that torch asks for.
        for name in ("setuptools*", "pkg_resources", "_distutils_hack"):
            for path in self.site_packages.glob(name):
                shutil.rmtree(path)
        (self.site_packages / "distutils-precedence.pth").unlink(missing_ok=True)
        (self.site_packages / "packages.pth").write_text(f"{packages}\n")
        kernel = venv / "share" / "jupyter" / "kernels" / "python3"
        kernel.mkdir(parents=True)
        start = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        spec = {"argv": start, "display_name": "Python 3", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(spec))
        # Nothing of this session's Python, and pip may ask no index.
        ours = ("PYTHON", "PIP_", "COURSE_", "VIRTUAL_ENV")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        self.environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.environment |= {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        self.environment |= {"PYTHONNOUSERSITE": "1", "JUPYTER_PATH": str(venv / "share/jupyter")}

    def run(self, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.python, *command],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def forget(self) -> None:
        """Take the library away again."""
        for path in self.site_packages.glob("course_lib*"):
            shutil.rmtree(path)


class Site(ThreadingHTTPServer):
    """The website's wheel on this machine, and a list of what was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), functools.partial(Recorder, directory=str(folder)))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Recorder(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # its parent's name
        assert isinstance(self.server, Site)
        self.server.asked.append(self.path)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return Runtime(tmp_path_factory.mktemp("runtime"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    tree = copy_tree(folder / "tree")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", folder / "wheel"], cwd=tree, check=True)
    with Site(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def play(notebook: NotebookNode, runtime: Runtime, site: Site, folder: Path) -> None:
    """Run a notebook alone; the library must come by its first cell, from the site."""
    runtime.forget()
    assert runtime.run("-c", "import course_lib", cwd=folder).returncode != 0
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert HERE.site in code[0].source
    code[0].source = code[0].source.replace(HERE.site, site.address)
    notebook.cells.append(new_code_cell("import course_lib\nprint(course_lib.__file__)"))
    path = folder / "alone.ipynb"
    nbformat.write(notebook, path)
    site.asked.clear()
    done = runtime.run("-c", EXECUTE, path.name, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert site.asked == [f"/wheel/{HERE.wheel}"]
    (output,) = nbformat.read(path, as_version=4).cells[-1].outputs
    assert output["text"].strip() == str(runtime.site_packages / "course_lib" / "__init__.py")


@pytest.mark.slow
@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_chapter_alone_brings_what_it_imports(
    path: Path, runtime: Runtime, site: Site, tmp_path: Path
) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = code[:2]
    play(notebook, runtime, site, tmp_path)


@pytest.mark.slow
def test_a_whole_chapter_runs_alone(runtime: Runtime, site: Site, tmp_path: Path) -> None:
    play(nbformat.read(chapters()[0], as_version=4), runtime, site, tmp_path)


@pytest.mark.slow
def test_the_library_that_is_there_is_not_fetched_again(
    runtime: Runtime, site: Site, tmp_path: Path
) -> None:
    runtime.forget()
    for _ in range(2):
        notebook = nbformat.v4.new_notebook(
            cells=[new_code_cell(HERE.setup_cell.replace(HERE.site, site.address))],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        )
        nbformat.write(notebook, tmp_path / "alone.ipynb")
        site.asked.clear()
        assert runtime.run("-c", EXECUTE, "alone.ipynb", cwd=tmp_path).returncode == 0
    assert site.asked == []
