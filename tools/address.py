"""The address of the course: kept in ``pyproject.toml``, stamped wherever a reader meets it.

``[project.urls]`` names two places, the repository and the website. Whatever else needs them
reads them there, or holds a copy that this command writes: the files in `STAMPED`. The names
of the wheel in the notebooks' first cells, and the version to cite, are kept right as well.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from environment import ROOT

STAMPED = (
    "pyproject.toml",
    "README.md",
    "CONTRIBUTING.md",
    "CITATION.cff",
    "_config.yml",
    "book/**/*.md",
    "book/**/*.ipynb",
)

_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ADDRESS = re.compile(rf"https://{_PART}(/{_PART})*")


@dataclass(frozen=True)
class Address:
    """Where the course lives, and which version of it.

    Args:
        repository: the repository's page, such as ``https://github.com/you/course``.
        site: the website's first folder, such as ``https://you.github.io/course``.
        version: the version of ``course_lib``.
    """

    repository: str
    site: str
    version: str

    @property
    def wheel(self) -> str:
        """The wheel's file name."""
        return f"course_lib-{self.version}-py3-none-any.whl"

    @property
    def wheel_url(self) -> str:
        """Where the website carries the wheel."""
        return f"{self.site}/wheel/{self.wheel}"

    @property
    def setup_cell(self) -> str:
        """The first code cell of every chapter; it runs in a fresh Colab runtime too."""
        return (
            "try:\n"
            "    import course_lib\n"
            "except ImportError:  # a fresh Colab runtime, or a Python without course_lib\n"
            f'    %pip install -q "course_lib[chapters] @ {self.wheel_url}"'
        )


def read(root: Path = ROOT) -> Address:
    """Read the address that ``pyproject.toml`` holds."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    urls = project["urls"]
    return Address(urls["Repository"], urls["Documentation"], project["version"])


def checked(name: str, url: str) -> str:
    """Return a web address in its plain form, without a slash or ``.git`` at the end.

    Raises:
        ValueError: if it is none, or holds anything but letters, digits and ``. _ - /``.
    """
    plain = url.strip().removesuffix("/").removesuffix(".git")
    if not _ADDRESS.fullmatch(plain):
        raise ValueError(
            f"{name}: expected an address like https://github.com/you/course, got {url!r}"
        )
    return plain


def site_of(repository: str) -> str:
    """Return where GitHub Pages shows a repository of GitHub.

    Raises:
        ValueError: if the repository is elsewhere.
    """
    match = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", repository)
    if match is None:
        raise ValueError(
            f"URL: expected https://github.com/you/course, or SITE beside it, got {repository!r}"
        )
    host = f"{match[1].lower()}.github.io"
    return f"https://{host}" if match[2].lower() == host else f"https://{host}/{match[2]}"


def stamp(root: Path, new: Address) -> list[Path]:
    """Write an address, and the version, wherever a copy of it stands.

    Returns:
        The files that changed.
    Raises:
        ValueError: if repository and site are the same, so that a copy could mean either.
    """
    if new.repository == new.site:
        raise ValueError(f"SITE: expected an address other than the repository's, got {new.site!r}")
    old = read(root)
    renamed = {old.repository: new.repository, old.site: new.site}
    # One pass, the longer first, and whole addresses only: one may begin with the other.
    longest_first = sorted(map(re.escape, renamed), key=len, reverse=True)
    address = re.compile(rf"({'|'.join(longest_first)})(?![\w-])")
    changed = []
    for path in sorted({path for pattern in STAMPED for path in root.glob(pattern)}):
        before = path.read_bytes().decode()
        after = address.sub(lambda match: renamed[match[1]], before)
        after = re.sub(r"course_lib-[\w.]+-py3-none-any\.whl", new.wheel, after)
        if path.name == "CITATION.cff":
            after = re.sub(r"(?m)^version: .*$", f"version: {new.version}", after)
        if after != before:
            path.write_bytes(after.encode())
            changed.append(path)
    return changed


def main() -> None:
    """Stamp the address given, or, without one, the present address and version again."""
    parser = argparse.ArgumentParser(description="Stamp the address of the course.")
    parser.add_argument("--url", help="the repository's page: https://github.com/you/course")
    parser.add_argument("--site", help="the website; by default GitHub Pages of the repository")
    given = parser.parse_args()
    now = read()
    try:
        repository = checked("URL", given.url) if given.url else now.repository
        if given.site:
            site = checked("SITE", given.site)
        else:
            site = site_of(repository) if given.url else now.site
        changed = stamp(ROOT, Address(repository, site, now.version))
    except ValueError as error:
        sys.exit(str(error))
    print(f"Repository {repository}\nWebsite    {site}")
    print("\n".join(f"  stamped {path.relative_to(ROOT)}" for path in changed) or "  as it was")


if __name__ == "__main__":
    main()
