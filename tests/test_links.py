"""`make links`: which addresses it asks, and what it makes of the answers. A server of our own."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

import links
from links import Answer
from tree import ROOT

TIMEOUT_S = 1.0


class _Server(ThreadingHTTPServer):
    asked: list[tuple[str, str, str | None]]
    leave: threading.Event


class _Handler(BaseHTTPRequestHandler):
    """Answers by what the path says: a status, a delay, a redirection, or nothing at all."""

    server: _Server

    def log_message(self, *_: object) -> None:
        """Keep the tests' output for the tests."""

    def do_GET(self) -> None:
        self.server.asked.append((self.command, self.path, self.headers["User-Agent"]))
        first, _, rest = self.path.strip("/").partition("/")
        if first == "silent":
            self.close_connection = True
            return
        if first == "slow":
            self.server.leave.wait(10)
        if first == "headless":
            first = "200" if self.command == "GET" else "405"
        self.send_response(int(first) if first.isdigit() else 200)
        if rest:
            self.send_header("Location", f"/{rest}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture
def server() -> Iterator[_Server]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.asked, server.leave = [], threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.leave.set()
        server.shutdown()


@pytest.fixture
def here(server: _Server) -> str:
    return f"http://127.0.0.1:{server.server_port}"


# --- what they answer -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "state", "what", "questions"),
    [
        ("/200", "ok", "200", ["HEAD"]),
        ("/a%20b/ü?q=1", "ok", "200", ["HEAD"]),
        ("/headless", "ok", "200", ["HEAD", "GET"]),
        ("/302/200", "ok", "200", ["HEAD", "HEAD"]),
        ("/301/200", "moved", "to {}/200", ["HEAD", "HEAD"]),
        ("/308/301/200", "moved", "to {}/200", ["HEAD"] * 3),
        ("/301/302/200", "ok", "200", ["HEAD"] * 3),
        ("/404", "dead", "404", ["HEAD", "GET"]),
        ("/410", "dead", "410", ["HEAD", "GET"]),
        ("/500", "dead", "500", ["HEAD", "GET"]),
        ("/301/404", "dead", "404", ["HEAD", "HEAD", "GET", "GET"]),
        ("/403", "refused", "403", ["HEAD", "GET"]),
        ("/429", "refused", "429", ["HEAD", "GET"]),
        ("/slow", "dead", "no answer within 1 s", ["HEAD", "GET"]),
        ("/silent", "dead", "closed connection", ["HEAD", "GET"]),
    ],
)
def test_an_answer_is_read(
    path: str, state: str, what: str, questions: list[str], server: _Server, here: str
) -> None:
    answer = links.ask(here + path, agent="course-links/1", timeout_s=TIMEOUT_S)
    assert answer.state == state
    assert what.format(here) in answer.what
    assert [command for command, _, _ in server.asked] == questions
    assert {agent for _, _, agent in server.asked} == {"course-links/1"}


def test_a_loop_and_a_closed_door_are_dead(server: _Server, here: str) -> None:
    server.RequestHandlerClass = type("Loop", (_Handler,), {"do_GET": _round, "do_HEAD": _round})
    assert links.ask(f"{here}/x", agent="a", timeout_s=TIMEOUT_S).state == "dead"
    server.shutdown()
    server.server_close()
    answer = links.ask(f"{here}/200", agent="a", timeout_s=TIMEOUT_S)
    assert answer.state == "dead"
    assert "refused" in answer.what


def _round(handler: _Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def test_what_is_no_address_is_dead() -> None:
    for nonsense in ("http://", "http://[half/", "http://a b.c/"):
        assert links.ask(nonsense, agent="a", timeout_s=TIMEOUT_S).state == "dead", nonsense


def test_a_host_is_asked_one_thing_at_a_time() -> None:
    targets = [f"https://{host}.org/{number}" for host in "abc" for number in range(3)]
    busy: dict[str, int] = {}
    most: dict[str, int] = {"hosts": 0}
    times: dict[str, list[float]] = {}
    lock = threading.Lock()

    def question(target: str) -> Answer:
        host = target[8]
        with lock:
            busy[host] = busy.get(host, 0) + 1
            most[host] = max(most.get(host, 0), busy[host])
            most["hosts"] = max(most["hosts"], sum(busy.values()))
            times.setdefault(host, []).append(time.monotonic())
        time.sleep(0.05)
        with lock:
            busy[host] -= 1
        return Answer("ok", target)

    answers = links.ask_all(targets, question, workers=2, pause_s=0.1)
    assert {target: answer.what for target, answer in answers.items()} == dict(
        zip(targets, targets, strict=True)
    )
    assert most == {"hosts": 2, "a": 1, "b": 1, "c": 1}
    for asked in times.values():
        assert min(later - earlier for earlier, later in pairwise(asked)) >= 0.14


def test_the_table_begins_with_the_dead() -> None:
    answers = {
        "https://a.org": Answer("ok", "200"),
        "https://b.org": Answer("dead", "404"),
        "https://c.org": Answer("moved", "to https://d.org"),
    }
    places = {target: ["book/one.md", "README.md"] for target in answers}
    assert links.table(answers, places).splitlines() == [
        "dead    https://b.org  404",
        "          in book/one.md",
        "          in README.md",
        "moved   https://c.org  to https://d.org",
        "ok      https://a.org  200",
        "3 addresses: 1 dead, 0 refused, 1 moved, 1 ok",
    ]


# --- which addresses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("a.md", "[Here](https://a.org/b_(c)) and https://d.org/e.", ["a.org/b_(c)", "d.org/e"]),
        ("a.md", "(https://a.org), **https://b.org**", ["a.org", "b.org"]),
        ("a.md", "| https://a.org/x#part | `https://b.org` |", ["a.org/x"]),
        ("a.md", "```sh\ncurl https://a.org\n```\nhttps://b.org", ["b.org"]),
        ("a.md", "ftp://a.org and a.org and mailto:b@c.org", []),
        ("a.html", "<a href='https://a.org/?x=1&amp;y=2#z'>https://c.org", ["a.org/?x=1&y=2"]),
        ("a.html", "<a href='b.html'>b</a><img src='https://c.org/d.png'>", []),
        ("a.bib", "@misc{a,\n  url = {https://a.org/b},\n  title = {https://c.org}}", ["a.org/b"]),
        ("a.bib", "  doi       = {10.1/2_3},", ["doi.org/10.1/2_3"]),
        ("a.bib", "  eprint = {1234.5678}", ["arxiv.org/abs/1234.5678"]),
    ],
)
def test_addresses_are_found(name: str, text: str, found: list[str], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert links.addresses_in(path) == [f"https://{one}" for one in found]


def test_a_notebook_is_read_where_it_speaks(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["[a](https://a.org/b)\n", "and c"]},
        {"cell_type": "code", "source": ["fetch('https://d.org')"]},
    ]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    assert links.addresses_in(path) == ["https://a.org/b"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of one page and its own address, which is not there yet."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"))
    (tmp_path / "book").mkdir()
    (tmp_path / "_build" / "html").mkdir(parents=True)
    return tmp_path


def test_the_courses_own_address_is_left_alone(project: Path) -> None:
    own = links.address.read(project)
    colab = "https://colab.research.google.com/github" + links.urlsplit(own.repository).path
    text = f"{own.repository} {own.site}/book {colab}/a.ipynb http://localhost:8888 https://a.org"
    (project / "book" / "page.md").write_text(text)
    (project / "_build" / "html" / "page.html").write_text("<a href='https://a.org#b'>a</a>")
    assert links.gather(project) == {"https://a.org": ["_build/html/page.html", "book/page.md"]}


def test_the_book_names_addresses() -> None:
    found = links.gather(ROOT)
    assert any(target.startswith("https://doi.org/") for target in found)
    assert any(target.startswith("https://arxiv.org/abs/") for target in found)
    assert all(places for places in found.values())


@pytest.mark.parametrize(("paths", "status"), [(["/200", "/403"], 0), (["/200", "/404"], 1)])
def test_the_exit_status_says_whether_one_is_dead(
    paths: list[str],
    status: int,
    here: str,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links, "_PAUSE_S", 0.0)
    (project / "book" / "page.md").write_text(" and ".join(here + path for path in paths))
    assert links.main(["--root", str(project), "--timeout", "1"]) == status
    said = capsys.readouterr().out
    assert "2 addresses: " in said
    assert ("in book/page.md" in said) == bool(status)
