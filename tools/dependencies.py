"""What a notebook's outputs depend on inside ``course_lib``, read from the source text.

Imports are followed through the whole package, those inside functions too, so that a change in
one module runs exactly the notebooks again that can notice it. Where the text leaves a doubt
(a name put together while the program runs, a cell in another language), the answer errs on the
side of more dependencies.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = "course_lib"

_DOTTED = re.compile(rf"{PACKAGE}(\.\w+)*\.?")
_MAGIC_LINE = re.compile(r"^(\s*)[%!?].*$|^(\s*).*\?$", re.MULTILINE)


class Library:
    """The modules of the package as they stand on disk, and what each of them imports.

    Args:
        root: the folder that holds the package's folder.
    """

    def __init__(self, root: Path) -> None:
        folder = root / PACKAGE
        self._modules = {_dotted_name(path, root): path for path in sorted(folder.rglob("*.py"))}
        self._data = [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix not in (".py", ".pyc")
        ]
        self._trees = {
            name: _parse(path.read_text("utf-8")) for name, path in self._modules.items()
        }

    def files_behind(self, sources: Iterable[str]) -> list[Path]:
        """Every file of the package that these sources reach, sorted.

        Args:
            sources: Python code, one string a cell; lines with IPython's ``%`` and ``!`` are
                passed over. A cell that is no Python counts as if it imported everything.
        """
        reached: set[str] = set()
        waiting: list[str] = []
        for source in sources:
            tree = _parse(_MAGIC_LINE.sub(r"\1\2pass", source))
            waiting += self._modules if tree is None else self._imports(tree, PACKAGE)
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            reached.add(name)
            tree = self._trees[name]
            if tree is not None:
                path = self._modules[name]
                within = name if path.name == "__init__.py" else name.rpartition(".")[0]
                waiting += self._imports(tree, within)
        owned = (path for path in self._data if self._owners(path) & reached)
        return sorted({self._modules[name] for name in reached}.union(owned))

    def _imports(self, tree: ast.Module, within: str) -> Iterator[str]:
        """The package's modules that a piece of code can import; ``within`` is its package."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._along(alias.name)
            elif isinstance(node, ast.ImportFrom):
                parents = within.split(".")
                base = parents[: len(parents) - node.level + 1] if node.level else []
                start = ".".join([*base, *filter(None, [node.module])])
                for alias in node.names:
                    yield from self._along(f"{start}.{alias.name}")
                    if alias.name == "*":
                        yield from self._below(start)
            elif isinstance(node, ast.Name) and node.id == "__path__":
                yield from self._below(within)  # a package that looks for what lies in it
            elif isinstance(node, ast.Constant) and _DOTTED.fullmatch(str(node.value)):
                # import_module("course_lib.boxes"), or "course_lib.figures." + name
                dotted = str(node.value)
                yield from self._along(dotted.rstrip("."))
                if dotted.endswith("."):
                    yield from self._below(dotted.rstrip("."))

    def _along(self, dotted: str) -> Iterator[str]:
        """The modules that importing ``dotted`` runs: the packages above it, and itself."""
        parts = dotted.split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            if name in self._modules:
                yield name

    def _below(self, dotted: str) -> Iterator[str]:
        return (name for name in self._modules if name.startswith(f"{dotted}."))

    def _owners(self, data: Path) -> set[str]:
        """The modules that may read a data file: those of its folder that share or write its name.

        Where there is no such module, every module of the folder may.
        """
        folder = data.parent
        while not (folder / "__init__.py").exists():
            folder = folder.parent
        neighbours = {name for name, path in self._modules.items() if path.parent == folder}
        named = {
            name
            for name in neighbours
            if self._modules[name].stem == data.name.partition(".")[0]
            or data.name in self._modules[name].read_text("utf-8")
        }
        return named or neighbours


def _dotted_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _parse(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        return None
