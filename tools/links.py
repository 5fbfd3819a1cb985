"""Ask every address outside the site whether it still answers.

    .venv/bin/python tools/links.py [--workers N] [--timeout SECONDS]

The addresses are those of the built pages, of the chapters and pages as they are written, and of
the bibliography. Each is asked for its head, and, if that is refused, for the page itself. A host
is asked one thing at a time, with a pause between. The exit status is 1 if an address is dead.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urldefrag, urlsplit

import address
from environment import ROOT

STATES = ("dead", "refused", "moved", "ok")
"""How an address may answer; one that refuses is there, but answers no program."""

_REFUSALS = {401, 403, 406, 418, 429, 451, 999}
_PAUSE_S = 1.0
_IN_TEXT = re.compile(r"https?://[^\s<>\"'`\\|{}\]]+")
_CODE = re.compile(r"^(`{3,}).*?^\1|`[^`\n]*`", re.M | re.S)
_FIELD = re.compile(r"^\s*(doi|url|eprint)\s*=\s*[{\"](.+?)[}\"],?\s*$", re.M)
_ELSEWHERE = {"doi": "https://doi.org/{}", "url": "{}", "eprint": "https://arxiv.org/abs/{}"}


@dataclass(frozen=True)
class Answer:
    """What came back from an address.

    Args:
        state: one of `STATES`.
        what: the status, what went wrong, or where it moved for good.
    """

    state: str
    what: str


# --- which addresses ------------------------------------------------------------------------------


class _Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where a link leads."""
        self.found += [
            value for key, value in attrs if tag in ("a", "area") and key == "href" and value
        ]


def addresses_in(path: Path) -> list[str]:
    """The addresses outside that a file names: a page, a notebook, Markdown or a bibliography."""
    text = path.read_text("utf-8")
    if path.suffix == ".html":
        found = _Links(text).found
    elif path.suffix == ".bib":
        found = [_ELSEWHERE[field].format(value) for field, value in _FIELD.findall(text)]
    else:
        if path.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
        found = [_without_what_follows(one) for one in _IN_TEXT.findall(_CODE.sub(" ", text))]
    return [urldefrag(one).url for one in found if urlsplit(one).scheme in ("http", "https")]


def _without_what_follows(found: str) -> str:
    """An address in a sentence, without the sentence's full stop or bracket."""
    while found[-1] in ".,;:!?*_" or (found[-1] == ")" and found.count(")") > found.count("(")):
        found = found[:-1]
    return found


def gather(root: Path) -> dict[str, list[str]]:
    """Every address outside the course, and the files that name it."""
    files = [
        *root.glob("*.md"),
        *root.glob("*.bib"),
        *root.glob("book/**/*.md"),
        *root.glob("book/**/*.ipynb"),
        *(root / "_build" / "html").rglob("*.html"),
    ]
    own = address.read(root)
    project = urlsplit(own.repository).path
    found: dict[str, list[str]] = {}
    for path in sorted(files):
        for one in addresses_in(path):
            # what becomes true when the course is published, and what is on this machine
            if one.startswith(own.site) or project in one or urlsplit(one).hostname == "localhost":
                continue
            places = found.setdefault(one, [])
            if (place := path.relative_to(root).as_posix()) not in places:
                places.append(place)
    return found


# --- what they answer -----------------------------------------------------------------------------


class _Follow(urllib.request.HTTPRedirectHandler):
    """Follows redirections by the same kind of question, and remembers their statuses."""

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Note a redirection, and ask there in the same way."""
        self.statuses.append(code)
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is not None:
            new.method = req.get_method()
        return new


def ask(target: str, *, agent: str, timeout_s: float) -> Answer:
    """Ask an address for its head, then for itself if that gives nothing good."""
    answer = _ask("HEAD", target, agent, timeout_s)
    return answer if answer.state in ("ok", "moved") else _ask("GET", target, agent, timeout_s)


def _ask(method: str, target: str, agent: str, timeout_s: float) -> Answer:
    follow = _Follow()
    try:
        plain = quote(target, safe="%/:=&?~#+!$,;'@()*[]")
        request = urllib.request.Request(plain, method=method, headers={"User-Agent": agent})
        with urllib.request.build_opener(follow).open(request, timeout=timeout_s) as response:
            if follow.statuses and set(follow.statuses) <= {301, 308}:
                return Answer("moved", f"to {response.url}")
            return Answer("ok", str(response.status))
    except urllib.error.HTTPError as error:
        error.close()
        return Answer("refused" if error.code in _REFUSALS else "dead", str(error.code))
    except TimeoutError:
        return Answer("dead", f"no answer within {timeout_s:g} s")
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return Answer("dead", f"no answer within {timeout_s:g} s")
        return Answer("dead", f"{reason}" or type(error).__name__)


def ask_all(
    targets: list[str],
    question: Callable[[str], Answer],
    *,
    workers: int,
    pause_s: float,
) -> dict[str, Answer]:
    """Ask all addresses, several hosts at a time, but each host one thing at a time.

    Args:
        targets: the addresses.
        question: what to ask each; see `ask`.
        workers: how many hosts at a time.
        pause_s: how long to leave a host alone between two questions, in seconds.
    """
    hosts: dict[str, list[str]] = {}
    for target in targets:
        hosts.setdefault(urlsplit(target).netloc, []).append(target)

    def visit(inner: list[str]) -> Iterator[tuple[str, Answer]]:
        for number, target in enumerate(inner):
            if number:
                time.sleep(pause_s)
            yield target, question(target)

    with ThreadPoolExecutor(workers) as pool:
        # the host with most addresses takes longest, so it begins
        visits = sorted(hosts.values(), key=len, reverse=True)
        return dict(pair for pairs in pool.map(lambda i: list(visit(i)), visits) for pair in pairs)


def table(answers: dict[str, Answer], places: dict[str, list[str]]) -> str:
    """Lay out what came back, the dead first; where a dead one stands is said below it."""
    lines = []
    for target in sorted(answers, key=lambda one: (STATES.index(answers[one].state), one)):
        answer = answers[target]
        lines.append(f"{answer.state:8}{target}  {answer.what}")
        if answer.state == "dead":
            lines += [f"{'':8}  in {place}" for place in places[target]]
    counts = [[one.state for one in answers.values()].count(state) for state in STATES]
    summary = ", ".join(f"{n} {state}" for n, state in zip(counts, STATES, strict=True))
    return "\n".join([*lines, f"{len(answers)} addresses: {summary}"])


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and ask; return the exit status."""
    parser = argparse.ArgumentParser(description="Ask every address outside the site.")
    parser.add_argument("--workers", type=int, default=4, help="hosts at a time (default: 4)")
    parser.add_argument(
        "--timeout", type=float, default=20, metavar="SECONDS", help="for each (default: 20)"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of the checkout")
    given = parser.parse_args(arguments)
    root = given.root.resolve()
    if not (root / "_build" / "html").exists():
        print("There is no built site, so only what is written is asked: make book", flush=True)
    places = gather(root)
    own = address.read(root)
    agent = f"course-links/{own.version} (+{own.repository})"
    answers = ask_all(
        list(places),
        lambda target: ask(target, agent=agent, timeout_s=given.timeout),
        workers=given.workers,
        pause_s=_PAUSE_S,
    )
    print(table(answers, places), flush=True)
    return int(any(answer.state == "dead" for answer in answers.values()))


if __name__ == "__main__":
    sys.exit(main())
