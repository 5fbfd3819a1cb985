"""Show a function of the library in a chapter, as it stands, so that the two cannot drift apart."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Listing:
    """Python source that a notebook shows highlighted and a terminal shows plain."""

    code: str

    def __repr__(self) -> str:
        """The code itself."""
        return self.code

    def _repr_markdown_(self) -> str:
        return f"```python\n{self.code}\n```"


def listing(*functions: Callable[..., Any]) -> Listing:
    """Return the source of functions without their docstrings.

    A line above a method says of which class it is.

    Args:
        functions: functions, methods or classes written in Python.
    Raises:
        TypeError: if one of them has no Python source.
    """
    return Listing("\n\n\n".join(_without_docstring(function) for function in functions))


def _without_docstring(function: Callable[..., Any]) -> str:
    lines = textwrap.dedent(inspect.getsource(function)).rstrip().split("\n")
    (node,) = ast.parse("\n".join(lines)).body
    if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        docstring = node.body[0]
        del lines[docstring.lineno - 1 : docstring.end_lineno]
    owner = function.__qualname__.rpartition(".")[0]
    if owner and not owner.endswith("<locals>"):
        lines.insert(0, f"# in class {owner}")
    return "\n".join(lines)
