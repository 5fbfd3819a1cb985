"""Write ``requirements.txt``, the lock, and ``environment.yml`` from ``pyproject.toml``.

The lock holds every package that any extra needs, but those for a comparison that nobody has to
make, at one exact version for each Python, with the hashes of its files and no address. Versions
that are locked already stay, unless ``--upgrade``.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from environment import ROOT, stanzas, versions

LOCK = "requirements.txt"
UNLOCKED = {"bench", "keras"}
"""extras that stay out of the lock"""
HEAD = """\
# The course's environment for conda; written by `make lock`, not by hand.
# conda env create --file environment.yml && conda activate from-formula-to-picture
name: from-formula-to-picture
channels:
  - conda-forge
dependencies:
"""


def normal(name: str) -> str:
    """Return a package's name as the lock writes it: ``Jupyter_Book`` is ``jupyter-book``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_requirements(project: dict[str, Any]) -> dict[str, str]:
    """Return what the project and its locked extras ask for: ``{name: specifier}``, sorted.

    Args:
        project: the ``[project]`` table of ``pyproject.toml``.
    """
    asked = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in UNLOCKED:
            asked += requirements
    split = [re.fullmatch(r"([\w.-]+)(?:\[.*\])?\s*(.*)", line) for line in asked]
    found = {normal(match[1]): match[2] for match in split if match}
    found.pop(normal(project["name"]))
    return dict(sorted(found.items()))


def conda_environment(project: dict[str, Any], lock: str) -> str:
    """Return the text of ``environment.yml``: direct requirements, at their locked versions.

    conda brings Python and pip, and pip the rest, so that both ways install the same files.
    """
    entries = stanzas(lock)
    lines = [f"  - python {project['requires-python']}", "  - pip", "  - pip:"]
    for name in direct_requirements(project):
        for version, marker in versions(entries[name]).items():
            pin = f"{name}=={version}"
            lines.append(f'      - "{pin} ; {marker}"' if marker else f"      - {pin}")
    lines.append("      - -e .")
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Lock, then write the conda file from the lock."""
    parser = argparse.ArgumentParser(description="Lock the versions anew.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    upgrade = parser.parse_args().upgrade
    uv = Path(sys.executable).with_name("uv")
    options = "--universal --python-version 3.11 --generate-hashes"
    quiet = "--quiet --no-header --no-annotate --no-emit-index-url"
    command = f"pip compile pyproject.toml --extra dev --output-file {LOCK} {options} {quiet}"
    newest = ["--upgrade"] if upgrade else []
    subprocess.run([uv, *command.split(), *newest], cwd=ROOT, check=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lock = (ROOT / LOCK).read_text()
    (ROOT / "environment.yml").write_text(conda_environment(project, lock))
    print(f"Locked {len(stanzas(lock))} packages in {LOCK}; wrote environment.yml.")


if __name__ == "__main__":
    main()
