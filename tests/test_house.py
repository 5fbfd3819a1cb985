"""The rules of the house: what may import what, what a module may do when it is imported."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import course_lib
from support import TOPICS
from tree import ROOT, chapters

MODULES = sorted(
    info.name for info in pkgutil.walk_packages(course_lib.__path__, prefix="course_lib.")
)


def tree_of(module: str) -> ast.Module:
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return ast.parse(Path(found.origin).read_text("utf-8"))


def imports_in(tree: ast.Module) -> Iterator[str]:
    """Every module that a file imports anywhere, by its dotted name; of course_lib, in full."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else str(node.module)


# --- dependencies point one way -------------------------------------------------------------------

CORE = {"course_lib.checking", "course_lib.device", "course_lib.timing"}
# A topic is a module, or a package of several.
TOPIC = {
    module for module in MODULES if module.removeprefix("course_lib.").partition(".")[0] in TOPICS
}
# Modules that need more than torch, and that nothing else imports.
APART = {"course_lib.scaling.kernels": "triton"}
SHOWN = {f"course_lib.{name}" for name in ("plots", "figures", "exercises", "formulas", "listing")}


def may_import(module: str, wanted: str) -> bool:
    """Whether dependencies point from this module to that one."""
    top = wanted.partition(".")[0]
    inner = f"{wanted}.".startswith
    if wanted in APART:
        return False
    if module in APART and top == APART[module]:
        return True
    if module in CORE:
        return top in sys.stdlib_module_names | {"torch"} or wanted in CORE
    if module in TOPIC:
        # tqdm, for a progress bar, costs nothing until one is wanted.
        return top in sys.stdlib_module_names | {"torch", "numpy", "tqdm"} or wanted in CORE | TOPIC
    if module.startswith("course_lib.exercises"):
        return (
            top in sys.stdlib_module_names | {"torch", "numpy"}
            or wanted in CORE | TOPIC
            or inner("course_lib.exercises.")
        )
    if module.startswith("course_lib.formulas"):
        return top != "course_lib" or wanted in CORE | TOPIC or inner("course_lib.formulas.")
    # What shows things: it serves the chapters, and computes nothing that another module needs.
    return top != "course_lib" or not inner("course_lib.exercises.")


@pytest.mark.parametrize("module", MODULES)
def test_dependencies_point_one_way(module: str) -> None:
    wrong = [name for name in imports_in(tree_of(module)) if not may_import(module, name)]
    assert wrong == []


@pytest.mark.parametrize("topic", sorted(TOPIC))
@pytest.mark.parametrize(
    "line",
    [
        "import torchvision",
        "from torchvision.ops import nms",
        "import scipy.signal",
        "def f():\n    import matplotlib.pyplot as plt",
        "from course_lib import plots",
        "from course_lib.data import photo",
        "from course_lib.exercises import Exercise",
        "import course_lib.figures.convolution",
        "from course_lib.scaling import kernels",
    ],
)
def test_a_wrong_import_is_found(topic: str, line: str) -> None:
    assert not all(may_import(topic, name) for name in imports_in(ast.parse(line)))


def test_a_topic_costs_no_more_than_torch() -> None:
    """Import each in one process, in which torch is there already, and see what else came."""
    code = (
        "import sys, json, importlib, torch\n"
        "found = {}\n"
        f"for name in {sorted(TOPIC - APART.keys())!r}:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        "    found[name] = sorted(set(sys.modules) - before)\n"
        "    for new in found[name]:\n"
        "        if new.startswith('course_lib.'): del sys.modules[new]\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name, new in json.loads(done.stdout).items():
        tops = {module.partition(".")[0] for module in new} - set(sys.stdlib_module_names)
        assert tops <= {"course_lib", "torch"}, name
        assert name in new
        assert {module for module in new if module.startswith("course_lib.")} <= CORE | TOPIC


# --- no state at import ---------------------------------------------------------------------------

# Calls that change something for everybody; a caller may make them, an import may not.
_LEAVES_A_TRACE = re.compile(
    r"(\.|^)(seed|manual_seed\w*|set_\w+|use|use_deterministic_algorithms|filterwarnings"
    r"|simplefilter|basicConfig|putenv|chdir|makedirs|mkdir|setdefault|update)$"
)


def calls_at_import(tree: ast.AST) -> Iterator[str]:
    """What a module calls when it is imported: the calls outside function bodies."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
        yield from calls_at_import(node)


@pytest.mark.parametrize("module", MODULES)
def test_import_leaves_no_trace(module: str) -> None:
    assert [call for call in calls_at_import(tree_of(module)) if _LEAVES_A_TRACE.search(call)] == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.manual_seed(0)",
        "class A:\n    torch.set_default_dtype(torch.float64)",
        "matplotlib.use('Agg')",
        "if True:\n    os.environ.setdefault('A', 'b')",
        "random.seed(1)",
    ],
)
def test_a_trace_is_found(line: str) -> None:
    assert any(_LEAVES_A_TRACE.search(call) for call in calls_at_import(ast.parse(line)))


# --- contracts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_types(name: str) -> None:
    """A type for each argument and for the result, which mypy does not ask for."""
    if name in APART:
        pytest.importorskip(APART[name])
    module = importlib.import_module(name)
    own = [
        (key, value)
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
    ]
    for key, value in own:
        if not (inspect.isfunction(value) or inspect.isclass(value)):
            continue
        public = [
            method
            for word, method in (vars(value).items() if inspect.isclass(value) else [])
            if inspect.isfunction(method)
            and method.__module__ == name
            and (word == "__init__" or not word.startswith("_"))
        ]
        for function in [value] if inspect.isfunction(value) else public:
            hints = set(function.__annotations__)
            wanted = {p for p in inspect.signature(function).parameters if p != "self"}
            assert wanted | {"return"} <= hints, f"{key}: expected type hints, got {hints}"


# --- names and addresses --------------------------------------------------------------------------

TEXT = {
    ".py", ".md", ".ipynb", ".toml", ".yml", ".yaml", ".txt", ".cfg", ".bib", ".js", ".css",
    ".html", ".svg", ".tmpl", ".cff", "",
}  # fmt: skip

# A package index by name, or a home folder: written so that this file holds neither itself.
_FOREIGN = re.compile(
    r"(pypi|pythonhosted|anaconda|artifactory|devpi)\.(org|com|net|io)|download\.pytorch\.org"
    r"|(?:--|-)(?:extra-)?index-url[ =]\S|index_url *=|/(?:home|Users)/\w+/|[A-Z]:\\Users"
    r"|/root/\w"
)


def project_files() -> list[Path]:
    """Every text file that is part of the project: what git holds, or would."""
    done = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        pytest.skip("no git checkout")
    paths = [ROOT / line for line in done.stdout.splitlines()]
    return [path for path in paths if path.suffix in TEXT and path.is_file()]


def test_no_address_of_an_index_and_no_home_folder() -> None:
    here = Path(__file__)
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in project_files()
        if path != here
        for match in _FOREIGN.finditer(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "line", ["--index-url https://x.y/simple", "https://pypi.org/simple", "/home/me/course"]
)
def test_a_foreign_address_is_found(line: str) -> None:
    assert _FOREIGN.search(line)


def test_names_carry_no_number() -> None:
    for path in chapters():
        assert not re.search(r"\d", path.stem), f"{path.stem}: a chapter has a name, not a number"
