"""Make ``.venv`` ready: the exact versions of the lock, and ``course_lib`` beside them.

``make`` runs this before everything else, with whatever Python there is, so it needs nothing
but the standard library.  A stamp in ``.venv`` records what it was made from; while the stamp
holds, a run ends at once.  The stamp is taken away first and written last: a ``.venv`` without
one is the rest of an interrupted set-up and is made anew.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST, NEWEST = (3, 11), (3, 13)

# What a CUDA build of torch brings along; another build brings its own, or none.
TORCH = ("torch", "torchvision")
CUDA_PARTS = ("cuda-", "nvidia-", "triton")
STAMP = "course.json"


def stanzas(lock: str) -> dict[str, str]:
    """Split a lock into the lines of each package: ``{name: "name==version ... --hash=..."}``.

    A package that is locked twice, for different Pythons, has both of its entries in one text.
    """
    found: dict[str, str] = {}
    for stanza in re.split(r"\n(?=\S)", lock.strip()):
        name = re.split(r"[=\s]", stanza, maxsplit=1)[0]
        found[name] = found.get(name, "") + stanza + "\n"
    return found


def versions(stanza: str) -> dict[str, str]:
    """Read the versions out of a package's lines: ``{version: marker}``, often ``{"1.2": ""}``."""
    entries = re.findall(r"^[^\s=]+==([^\s;]+)(?: ; ([^\\\n]+?))? *\\?$", stanza, re.MULTILINE)
    return dict(entries)


def complain_about_python(version: tuple[int, ...]) -> str | None:
    """Say what is wrong with a Python of this version, or return ``None`` if it will do."""
    if OLDEST <= tuple(version[:2]) <= NEWEST:
        return None
    have = ".".join(str(part) for part in version[:3])
    oldest, newest = (".".join(str(part) for part in end) for end in (OLDEST, NEWEST))
    return (
        f"expected Python {oldest} to {newest}, got Python {have} ({sys.executable}).\n"
        f"Name another one: make PYTHON=python{newest} ..."
    )


def complain_about_venv() -> str | None:
    """Say what to install if this Python cannot make virtual environments, else ``None``."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    return (
        f"expected a Python that can make virtual environments, got one without {missing[0]} "
        f"({sys.executable}).\nInstall it first; on Debian and Ubuntu: apt install {package}"
    )


def stamp(root: Path, backend: str) -> dict[str, str]:
    """Describe the environment that this tree asks for; an equal stamp means it is there."""

    def digest(name: str) -> str:
        return hashlib.sha256((root / name).read_bytes()).hexdigest()

    return {
        "place": str(root),
        "python": platform.python_version(),
        "torch_backend": backend,
        "requirements.txt": digest("requirements.txt"),
        "pyproject.toml": digest("pyproject.toml"),
    }


def read_stamp(venv: Path) -> dict[str, str]:
    """Return the stamp of a finished set-up, or ``{}`` if there is none or its Python is gone."""
    try:
        found = json.loads((venv / STAMP).read_text())
    except (OSError, ValueError):
        return {}
    return found if (venv / "bin" / "python").exists() else {}


def step(says: str, *command: str | Path) -> None:
    """Announce one step of the set-up in one line and run it; a failing step ends the set-up."""
    print(f"  {says}", flush=True)
    # What the caller's shell adds to Python must not leak into the new environment.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    code = subprocess.run(command, env=environment, check=False).returncode
    if code:
        sys.exit(f"The set-up stopped (exit code {code}) at: {says}. The next make tries again.")


def set_up(root: Path, backend: str) -> None:
    """Bring ``.venv`` to what this tree asks for, and stamp it.

    Args:
        root: the folder with ``pyproject.toml`` and ``requirements.txt``.
        backend: which build of torch, as uv names it; ``""`` takes the one in the lock.
    """
    venv = root / ".venv"
    wanted, have = stamp(root, backend), read_stamp(venv)
    if have == wanted:
        return
    started = time.monotonic()
    print(f"Setting up .venv with Python {wanted['python']}:", flush=True)
    (venv / STAMP).unlink(missing_ok=True)
    if any(have.get(key) != wanted[key] for key in ("place", "python")):
        why = "anew: the one here is unfinished or from elsewhere" if venv.exists() else "empty"
        step(f"a virtual environment ({why})", sys.executable, "-m", "venv", "--clear", venv)
    install(venv, stanzas((root / "requirements.txt").read_text()), backend)
    step(
        "course_lib itself, so that an edit to it counts at once",
        *uv_pip(venv, "install"),
        *("--no-deps", "--no-build-isolation", "--editable", root),
    )
    (venv / STAMP).write_text(json.dumps(wanted, indent=1) + "\n")
    print(f"Ready after {time.monotonic() - started:.0f} s.", flush=True)


def uv_pip(venv: Path, command: str) -> list[str | Path]:
    """Begin a command of the environment's own uv that acts on this environment."""
    return [venv / "bin" / "uv", "--quiet", "pip", command, "--python", venv / "bin" / "python"]


def install(venv: Path, lock: dict[str, str], backend: str) -> None:
    """Install what is locked, by hash, and remove what is not; uv comes first, by pip.

    With a ``backend``, torch and torchvision come together, at their locked versions, from where
    uv finds that build. The lock does not know the hashes of those two.
    """
    (uv_version,) = versions(lock["uv"])
    uv_only = venv / "uv.txt"
    uv_only.write_text(lock["uv"])
    step(
        f"uv {uv_version}, which installs the rest",
        *(venv / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"),
        *("install", "--no-input", "--no-deps", "--require-hashes", "-r", uv_only),
    )

    pinned = [f"{name}=={version}" for name in TORCH for version in versions(lock[name])]
    kept = lock
    if backend:
        kept = {
            name: text
            for name, text in lock.items()
            if name not in TORCH and not name.startswith(CUDA_PARTS)
        }
    hashed = venv / "hashed.txt"
    hashed.write_text("".join(kept.values()))
    step(
        f"{len(kept)} packages at their exact versions (from cold this takes minutes)",
        *uv_pip(venv, "sync"),
        *("--require-hashes", hashed),
    )
    if backend:
        step(
            f"{' and '.join(pinned)}, built for {backend}",
            *uv_pip(venv, "install"),
            *("--torch-backend", backend, *pinned),
        )


def main() -> None:
    """Check this Python, then set up."""
    parser = argparse.ArgumentParser(description="Make .venv ready.")
    parser.add_argument(
        "--torch-backend",
        default="",
        help="cpu, auto or a CUDA version such as cu130; without it, the build in the lock",
    )
    backend = parser.parse_args().torch_backend
    if not re.fullmatch(r"|cpu|auto|cu\d{3}", backend):
        sys.exit(f"TORCH_BACKEND: expected cpu, auto or a version such as cu130, got {backend!r}")
    complaint = complain_about_python(sys.version_info[:3]) or complain_about_venv()
    if complaint:
        sys.exit(f"make: {complaint}")
    try:
        set_up(ROOT, backend)
    except KeyboardInterrupt:
        sys.exit("Interrupted. The next make sets up anew.")


if __name__ == "__main__":
    main()
