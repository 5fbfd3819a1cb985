"""The set-up: what it needs, what it does again and what not; the lock and the files beside it."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
import time
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import environment
import lock
from tree import ROOT, copy_tree

PYTHONS = ("3.11", "3.12", "3.13")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.txt").read_text()


# --- the Python it starts with --------------------------------------------------------------------


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4), (3, 13, 99)])
def test_accepts_the_pythons_of_the_course(version: tuple[int, ...]) -> None:
    assert environment.complain_about_python(version) is None


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 14), (3, 14, 0), (4, 0, 0)])
def test_says_which_python_it_wants_and_got(version: tuple[int, ...]) -> None:
    complaint = environment.complain_about_python(version)
    assert complaint is not None
    assert "3.11 to 3.13" in complaint
    assert ".".join(map(str, version)) in complaint
    assert "make PYTHON=" in complaint


def test_range_is_that_of_the_package() -> None:
    asked = SpecifierSet(PROJECT["requires-python"])
    oldest, newest = environment.OLDEST, environment.NEWEST
    for minor in range(9, 20):
        assert asked.contains(f"3.{minor}.0") == (oldest <= (3, minor) <= newest), minor


def test_says_what_to_install_for_virtual_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.complain_about_venv() is None
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else 1
    )
    complaint = environment.complain_about_venv()
    assert complaint is not None
    assert "ensurepip" in complaint
    assert f"apt install python3.{sys.version_info[1]}-venv" in complaint


def test_an_old_python_can_read_the_script_far_enough_to_complain() -> None:
    ast.parse((ROOT / "tools" / "environment.py").read_text(), feature_version=(3, 7))


# --- the set-up -----------------------------------------------------------------------------------


class Steps:
    """Stands for the steps of a set-up: writes down each, and makes the folder that venv makes."""

    def __init__(self, root: Path) -> None:
        self.root, self.fails_at, self.lines = root, "", list[str]()

    def __call__(self, says: str, *command: str | Path) -> None:
        self.lines.append(" ".join(map(str, command)))
        if "-m venv" in self.lines[-1]:
            (self.root / ".venv" / "bin").mkdir(parents=True, exist_ok=True)
            (self.root / ".venv" / "bin" / "python").touch()
        if self.fails_at and self.fails_at in self.lines[-1]:
            sys.exit("no network")

    def taken(self, backend: str = "") -> list[str]:
        """Set up, and return the kinds of steps that took place."""
        self.lines.clear()
        environment.set_up(self.root, backend)
        kinds = {"-m venv": "venv", "-m pip": "uv", "pip sync": "packages"}
        kinds |= {"--torch-backend": "torch", "--editable": "course_lib"}
        return [name for line in self.lines for sign, name in kinds.items() if sign in line]


EVERYTHING = ["venv", "uv", "packages", "course_lib"]


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Steps:
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    recorder = Steps(tmp_path)
    monkeypatch.setattr(environment, "step", recorder)
    return recorder


def test_sets_up_once(steps: Steps, capsys: pytest.CaptureFixture[str]) -> None:
    assert steps.taken() == EVERYTHING
    assert all("--require-hashes" in line for line in steps.lines[1:3])
    capsys.readouterr()
    assert steps.taken() == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["requirements.txt", "pyproject.toml"])
def test_a_changed_file_is_noticed(steps: Steps, name: str) -> None:
    steps.taken()
    with (steps.root / name).open("a") as file:
        file.write("# more\n")
    assert steps.taken() == EVERYTHING[1:]


@pytest.mark.parametrize("at", ["-m venv", "-m pip", "pip sync", "--editable"])
def test_an_interrupted_set_up_is_made_anew(steps: Steps, at: str) -> None:
    steps.fails_at = at
    with pytest.raises(SystemExit):
        steps.taken()
    steps.fails_at = ""
    assert steps.taken() == EVERYTHING


def test_an_interrupted_update_is_made_anew(steps: Steps) -> None:
    steps.taken()
    steps.fails_at = "--torch-backend"
    with pytest.raises(SystemExit):
        steps.taken("cpu")
    steps.fails_at = ""
    assert steps.taken() == EVERYTHING


@pytest.mark.parametrize("key", ["place", "python"])
def test_an_environment_of_another_place_or_python_is_made_anew(steps: Steps, key: str) -> None:
    steps.taken()
    path = steps.root / ".venv" / environment.STAMP
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "another"}))
    assert steps.taken() == EVERYTHING


def test_an_environment_whose_python_is_gone_is_made_anew(steps: Steps) -> None:
    steps.taken()
    (steps.root / ".venv" / "bin" / "python").unlink()
    assert steps.taken() == EVERYTHING


def test_another_build_of_torch_comes_apart_from_the_lock(steps: Steps) -> None:
    steps.taken()
    assert steps.taken("cpu") == ["uv", "packages", "torch", "course_lib"]
    hashed = environment.stanzas((steps.root / ".venv" / "hashed.txt").read_text())
    assert not any(re.match(r"torch$|torchvision$|nvidia-|cuda-|triton", name) for name in hashed)
    assert {"numpy", "jupyter-book", "pytest"} < hashed.keys()
    torch = [line for line in steps.lines if "--torch-backend cpu" in line]
    for name in ("torch", "torchvision"):
        (version,) = environment.versions(environment.stanzas(LOCK)[name])
        assert f"{name}=={version}" in torch[0]
    assert steps.taken("cpu") == []


def test_a_failing_step_says_where(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"exit code 3.*the third step"):
        environment.step("the third step", sys.executable, "-c", "raise SystemExit(3)")
    assert "the third step" in capsys.readouterr().out


def test_a_ready_environment_costs_a_moment(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    for name in ("requirements.txt", "pyproject.toml", "tools/environment.py"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    ready = json.dumps(environment.stamp(tmp_path, "cpu"))
    (tmp_path / ".venv" / environment.STAMP).write_text(ready)
    # -S leaves out every package that is installed: the script needs none.
    command = [sys.executable, "-S", "tools/environment.py", "--torch-backend", "cpu"]
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
        assert done.stdout == ""
    assert min(seconds) < 0.2


def test_an_unknown_backend_is_refused() -> None:
    command = [sys.executable, "tools/environment.py", "--torch-backend", "gpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "expected cpu, auto" in done.stderr
    assert "'gpu'" in done.stderr


# --- the commands ---------------------------------------------------------------------------------

COMMANDS = {
    *("book", "test", "lab", "serve", "student", "bench", "lint", "format", "lock"),
    *("address", "chapter", "clean", "help", "links"),
}


def test_help_lists_the_commands_and_is_what_make_does_alone() -> None:
    shown = [
        subprocess.run(["make", *goal], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for goal in ([], ["help"])
    ]
    assert shown[0] == shown[1]
    listed = set(re.findall(r"^make (\w+) ", shown[0], re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert listed == set(phony[1].split())
    assert listed == COMMANDS | {"environment"}


@pytest.mark.parametrize("goal", sorted(COMMANDS - {"clean", "help"}))
def test_every_command_that_needs_the_environment_makes_it_first(goal: str) -> None:
    # under `make test` a make inside would say which folder it enters
    command = ["make", "--no-print-directory", "--dry-run", goal, "PYTHON=some-python"]
    command.append("TORCH_BACKEND=cu130")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith('some-python tools/environment.py --torch-backend "cu130"\n')


# --- the lock and the files beside it -------------------------------------------------------------


def test_stanzas_and_versions_read_a_lock() -> None:
    text = (
        "a-b==1.0 \\\n    --hash=sha256:00\n"
        "numpy==1.0 ; python_full_version < '3.12' \\\n    --hash=sha256:01\n"
        "numpy==2.0 ; python_full_version >= '3.12' \\\n    --hash=sha256:02\n"
    )
    found = environment.stanzas(text)
    assert list(found) == ["a-b", "numpy"]
    assert "".join(found.values()) == text
    assert environment.versions(found["a-b"]) == {"1.0": ""}
    assert environment.versions(found["numpy"]) == {
        "1.0": "python_full_version < '3.12'",
        "2.0": "python_full_version >= '3.12'",
    }


def test_every_entry_of_the_lock_is_exact_and_has_hashes() -> None:
    found = environment.stanzas(LOCK)
    assert len(found) > 150
    for name, stanza in found.items():
        for entry in re.split(r"\n(?=\S)", stanza.strip()):
            first, *hashes = entry.splitlines()
            assert re.match(rf"{re.escape(name)}==\S+ ", first), first
            assert hashes, name
            assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}( \\)?", h) for h in hashes), name


def test_the_lock_holds_no_address() -> None:
    assert "://" not in LOCK
    assert "--index" not in LOCK


def test_what_the_project_asks_for_is_locked_at_a_version_that_it_admits() -> None:
    found = environment.stanzas(LOCK)
    requirements = lock.direct_requirements(PROJECT)
    assert {"torch", "jupyter-book", "pytest", "ruff", "uv", "editables"} < requirements.keys()
    for name, specifier in requirements.items():
        locked = environment.versions(found[name])
        for python in PYTHONS:
            here = {"python_full_version": f"{python}.0", "python_version": python}
            admitted = [v for v, m in locked.items() if not m or Marker(m).evaluate(here)]
            assert len(admitted) == 1, (name, python, admitted)
            assert SpecifierSet(specifier).contains(admitted[0]), (name, specifier, admitted)


def test_direct_requirements_are_those_of_every_locked_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    locked = [lines for extra, lines in extras.items() if extra not in lock.UNLOCKED]
    asked = [*PROJECT["dependencies"], *(line for lines in locked for line in lines)]
    assert extras.keys() > lock.UNLOCKED
    names = {lock.normal(Requirement(line).name) for line in asked} - {"course-lib"}
    assert lock.direct_requirements(PROJECT).keys() == names


def test_the_conda_file_is_what_the_lock_makes_it() -> None:
    assert (ROOT / "environment.yml").read_text() == lock.conda_environment(PROJECT, LOCK)


def test_the_package_alone_is_light(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "tree")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(command, cwd=tree, capture_output=True, check=True)
    (wheel,) = (tree / "dist").iterdir()
    assert wheel.name == f"course_lib-{PROJECT['version']}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        folders = {name.split("/")[0] for name in archive.namelist()}
        (metadata,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        headers = Parser().parsestr(archive.read(metadata).decode())
    assert folders == {"course_lib", metadata.split("/")[0]}
    needed = map(Requirement, headers.get_all("Requires-Dist", []))
    always = {r.name for r in needed if r.marker is None or "extra" not in str(r.marker)}
    assert always == {"torch", "numpy", "matplotlib", "tqdm"}
