"""What the numbers of classes mean: label maps, in the formats that are in use.

Detectors give numbers; which number stands for what is written in a file beside the weights, and a
file of another detector, or one that counts from 0 instead of 1, names every box wrongly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from course_lib.checking import describe


class LabelMap(Mapping[int, str]):
    """Names of classes by their numbers.

    Args:
        names: number → name.
    Raises:
        TypeError: if a number is no integer, or a name no string.
        ValueError: if a name stands for two numbers.
    """

    def __init__(self, names: Mapping[int, str]) -> None:
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        for number, name in names.items():
            self._add(number, name)

    @classmethod
    def read(cls, path: str | Path) -> LabelMap:
        """Read a file: ``.json`` as `from_json`, ``.pbtxt`` as `from_pbtxt`.

        Raises:
            ValueError: if the ending is another one, or the file is not as it should be; the
                message names the file and the line.
        """
        path = Path(path)
        readers = {".json": cls.from_json, ".pbtxt": cls.from_pbtxt}
        if path.suffix not in readers:
            raise ValueError(
                f"path: expected a file that ends in {' or '.join(readers)}, got {path}"
            )
        try:
            return readers[path.suffix](path.read_text("utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}, {error}") from None

    @classmethod
    def from_json(cls, text: str) -> LabelMap:
        """Read JSON: an object ``{"1": "cat"}``, a list of names from 0 on, or COCO's categories.

        COCO's are a list of objects with ``id`` and ``name``, alone or under ``"categories"``.

        Raises:
            ValueError: if it is not as described; the message names the line.
        """
        return cls._of_lines(_read_json(text))

    @classmethod
    def from_pbtxt(cls, text: str) -> LabelMap:
        """Read the label map of TensorFlow's Object Detection API.

        ``item { id: 1 name: "cat" }`` and so on; ``display_name``, if there, goes before ``name``.

        Raises:
            ValueError: if it is not as described; the message names the line.
        """
        return cls._of_lines(_read_pbtxt(text))

    @classmethod
    def from_coco(cls, categories: Iterable[Mapping[str, Any]]) -> LabelMap:
        """Take the categories of a COCO annotation file, as Python objects."""
        return cls({one["id"]: one["name"] for one in categories})

    @classmethod
    def _of_lines(cls, entries: Iterable[_Entry]) -> LabelMap:
        made = cls({})
        for line, number, name in entries:
            try:
                made._add(number, name)
            except (TypeError, ValueError) as error:
                raise ValueError(f"line {line}: {error}") from None
        return made

    def _add(self, number: Any, name: Any) -> None:
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"expected an integer for a class, got {describe(number)}")
        if not isinstance(name, str) or not name:
            raise TypeError(f"expected a name for class {number}, got {describe(name)}")
        if number in self._names:
            raise ValueError(f"class {number} is there already, as {self._names[number]!r}")
        if name in self._numbers:
            raise ValueError(f"name {name!r} is there already, for class {self._numbers[name]}")
        self._names[number], self._numbers[name] = name, number

    def number(self, name: str) -> int:
        """Return the number of a class.

        Raises:
            KeyError: if there is no class of this name.
        """
        return self._numbers[name]

    def __getitem__(self, number: int) -> str:
        """Return the name of a class."""
        return self._names[number]

    def __iter__(self) -> Iterator[int]:
        """Go through the numbers, in the order in which they were given."""
        return iter(self._names)

    def __len__(self) -> int:
        """Count the classes."""
        return len(self._names)

    def __repr__(self) -> str:
        """Show as a call that makes the same map."""
        return f"LabelMap({self._names!r})"


class _Entry(NamedTuple):
    line: int
    number: Any
    name: Any


# --- JSON, with lines ---------------------------------------------------------------------------

_DECODER = json.JSONDecoder()
_BETWEEN = re.compile(r"[\s,:]*")  # all that can stand between two values of valid JSON


def _read_json(text: str) -> Iterator[_Entry]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: {error.msg}") from None
    start = _skip(text, 0)
    if isinstance(whole, dict):
        inside = _values(text, start)
        pairs = list(zip(inside, inside, strict=True))
        categories = [at for (_, key), (at, _) in pairs if key == "categories"]
        if not categories:
            for (at, key), (_, name) in pairs:
                line = _line(text, at)
                if not re.fullmatch(r"-?\d+", key):
                    raise ValueError(f"line {line}: expected a number in quotes, got {key!r}")
                yield _Entry(line, int(key), name)
            return
        start = categories[0]
    if text[start] != "[":
        raise ValueError(f"line {_line(text, start)}: expected an object or a list of classes")
    for number, (at, value) in enumerate(_values(text, start)):
        line = _line(text, at)
        if isinstance(value, dict):
            for key in ("id", "name"):
                if key not in value:
                    raise ValueError(f"line {line}: expected a category with {key!r}, got {value}")
            yield _Entry(line, value["id"], value["name"])
        else:
            yield _Entry(line, number, value)


def _values(text: str, start: int) -> Iterator[tuple[int, Any]]:
    """The values in the list or object that begins at ``start``, keys too, and where they begin."""
    at = _skip(text, start + 1)
    while text[at] not in "]}":
        value, end = _DECODER.raw_decode(text, at)
        yield at, value
        at = _skip(text, end)


def _skip(text: str, at: int) -> int:
    between = _BETWEEN.match(text, at)
    assert between is not None  # it matches nothing, too
    return between.end()


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


# --- the text format of protocol buffers --------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>[-+]?\d+(?![\w.]))
    |(?P<word>[\w.+-]+)
    |(?P<sign>[{}:,;\[\]])""",
    re.VERBOSE,
)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)


class _Token(NamedTuple):
    line: int
    kind: str
    text: str


def _read_pbtxt(text: str) -> Iterator[_Entry]:
    tokens = _Tokens(text)
    while not tokens.done():
        line, kind, word = tokens.take()
        if (kind, word) != ("word", "item"):
            raise ValueError(f"line {line}: expected 'item', got {word!r}")
        tokens.skip(":")
        tokens.expect("{")
        fields = tokens.fields()
        for key in ("id", "name or display_name"):
            if not any(one in fields for one in key.split(" or ")):
                raise ValueError(f"line {line}: expected an item with {key}, got none")
        at, name = fields.get("display_name") or fields["name"]
        if not isinstance(name, str):
            raise ValueError(f"line {at}: expected a name in quotes, got {name!r}")
        at, number = fields["id"]
        yield _Entry(at, number, name)


class _Tokens:
    """The tokens of a text, one after another."""

    def __init__(self, text: str) -> None:
        self._tokens: list[_Token] = []
        self._at, at = 0, 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                got = text[at:].split("\n", 1)[0]
                raise ValueError(f"line {_line(text, at)}: cannot read {got!r}")
            if found.lastgroup != "space":
                self._tokens.append(_Token(_line(text, at), str(found.lastgroup), found[0]))
            at = found.end()
        self._last = _line(text.rstrip(), len(text))

    def done(self) -> bool:
        return self._at == len(self._tokens)

    def take(self) -> _Token:
        if self.done():
            raise ValueError(f"line {self._last}: expected more, got the end: is a }} missing?")
        self._at += 1
        return self._tokens[self._at - 1]

    def skip(self, signs: str) -> None:
        while not self.done() and self._tokens[self._at].text in list(signs):
            self._at += 1

    def expect(self, sign: str) -> None:
        token = self.take()
        if token.text != sign:
            raise ValueError(f"line {token.line}: expected {sign!r}, got {token.text!r}")

    def fields(self) -> dict[str, tuple[int, Any]]:
        """The fields up to the closing brace: name → line and value; messages inside are left."""
        found: dict[str, tuple[int, Any]] = {}
        while True:
            self.skip(",;")
            line, kind, name = self.take()
            if name == "}" and kind == "sign":
                return found
            if kind != "word":
                raise ValueError(f"line {line}: expected the name of a field, got {name!r}")
            self.skip(":")
            value = self._value()
            if name in found and name in ("id", "name", "display_name"):
                raise ValueError(f"line {line}: {name!r} is there twice")
            found[name] = line, value

    def _value(self) -> Any:
        line, kind, text = self.take()
        if kind == "string":
            return _plain(text[1:-1])
        if kind == "number":
            return int(text)
        if text == "{":
            return self.fields()
        if text == "[":
            while self.take().text != "]":
                pass
            return None
        if kind == "word":
            return text  # such as FREQUENT, or a broken number
        raise ValueError(f"line {line}: expected a value, got {text!r}")


def _plain(text: str) -> str:
    """Resolve escapes; bytes of UTF-8 are written as octal numbers."""
    known = {b"n": b"\n", b"t": b"\t", b"r": b"\r"}

    def resolve(found: re.Match[bytes]) -> bytes:
        mark = found[1]
        return bytes([int(mark, 8) % 256]) if mark[:1].isdigit() else known.get(mark, mark)

    return _ESCAPE.sub(resolve, text.encode()).decode("utf-8", errors="replace")
