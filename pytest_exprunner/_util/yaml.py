"""YAML read event by event, with the YAML 1.2 core meaning of scalars and a mark for every value.

PyYAML's own constructors read ``1e-3`` as text, ``010`` as 8 and ``no`` as False, keep the last
of two equal keys, and recurse as deeply as the input does. Here nothing recurses, every size is
bounded, duplicates are problems, and each value knows the line and column it came from.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from pytest_exprunner._util.errors import quoted

MAX_DEPTH = 64
MAX_PROBLEMS = 100

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]+\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INFINITY = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z")
# Every text that a reader of YAML 1.2 takes for a number.
NUMBER_LIKE = re.compile(rf"(?:{_INT.pattern}|{_BASED.pattern}|{_FLOAT.pattern}|{_INFINITY.pattern})")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_MAX_DIGITS = 4000
_TAB = re.compile(r" *\t")
_SHOWN = 60
_FORBIDDEN = re.compile(
    "[^\\x09\\x0a\\x0d\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufeff\\uff00-\\ufffd\\U00010000-\\U0010ffff]"
)
_TAG = "tag:yaml.org,2002:"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a document may hold; reading ends with a fault beyond it."""

    bytes: int = 4 * 2**20
    values: int = 100_000
    key: int = 1000
    """Characters of a key."""


PLAN_LIMITS = Limits()
RESULTS_LIMITS = Limits(bytes=256 * 2**20, values=5_000_000, key=2 * 10**6)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a document: line and column from 1, path into the value, words."""

    line: int
    column: int
    path: Path
    text: str


@dataclass(slots=True)
class Document:
    """A document as plain values; ``marks`` has (line, column) for every path in it."""

    value: Any = None
    marks: dict[Path, tuple[int, int]] = field(default_factory=dict)
    key_marks: dict[Path, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class _Stop(Exception):  # noqa: N818 - control flow inside this module
    """Reading ends here; the fault is already noted."""


@dataclass(slots=True)
class _Open:
    """A collection that is being read."""

    value: Any
    path: Path
    anchor: str | None
    key: Any = None
    has_key: bool = False
    key_mark: tuple[int, int] = (0, 0)
    merged: set[Hashable] = field(default_factory=set)
    lines: dict[Hashable, int] = field(default_factory=dict)
    merging: bool = False


def scalar(text: str) -> Any:
    """Return the value of a plain scalar by the YAML 1.2 core schema; text where it is none."""
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first not in "-+.0123456789":
        return text
    if _INT.match(text):
        return int(text) if len(text) <= _MAX_DIGITS else text
    if _BASED.match(text):
        return int(text, 0) if len(text) <= _MAX_DIGITS else text
    if _FLOAT.match(text):
        return float(text)
    if _INFINITY.match(text):
        return -math.inf if first == "-" else math.inf
    return text


def read(source: bytes, limits: Limits = PLAN_LIMITS) -> Document:
    """Read one YAML document; whatever is wrong is in its ``faults``, nothing is raised."""
    reader = _Reader(limits)
    with contextlib.suppress(_Stop):
        reader.read(source)
    return reader.document


class _Reader:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.document = Document()
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.nodes = 0
        self.documents = 0

    def read(self, source: bytes) -> None:
        most = self.limits.bytes
        if len(source) > most:
            self.stop((1, 1), (), f"the file has more than {most:,} bytes; expected at most that")
        try:
            text = source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = source.count(b"\n", 0, error.start) + 1
            self.stop((line, 1), (), "this is not UTF-8 text; expected a file saved as UTF-8")
        for event in self.events(text):
            self.take(event)

    def events(self, text: str) -> Iterator[Any]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            words = " ".join(part for part in (error.context, error.problem) if part)
            if "nesting depth" in words:  # libyaml from 0.2.6 on reads ahead, and has a limit of its own
                self.stop(place, (), _TOO_DEEP)
            lines = text.split("\n")
            if mark and mark.line < len(lines) and _TAB.match(lines[mark.line]):
                words = "the line is indented with a tab; expected spaces"
            self.stop(place, (), f"not valid YAML: {words}")
        except yaml.reader.ReaderError:
            self.forbidden_character(text)
        except (AttributeError, IndexError, ValueError, RecursionError, yaml.YAMLError) as error:
            # PyYAML raises these on some broken input (a bad %TAG line, a huge escape).
            self.stop((1, 1), (), f"not valid YAML ({type(error).__name__}: {error})")

    def forbidden_character(self, text: str) -> None:
        # The position that PyYAML gives counts bytes with one reader and characters with the other.
        found = _FORBIDDEN.search(text)
        if found is None:
            self.stop((1, 1), (), "not valid YAML: a character is not allowed")
        else:
            line = text.count("\n", 0, found.start()) + 1
            column = found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1
            self.stop((line, column), (), f"character #x{ord(found[0]):04x} is not allowed in YAML")

    def stop(self, mark: tuple[int, int], path: Path, text: str) -> None:
        self.fault(mark, path, text)
        raise _Stop

    def fault(self, mark: tuple[int, int], path: Path, text: str) -> None:
        self.document.faults.append(Fault(*mark, path, text))
        if len(self.document.faults) >= MAX_PROBLEMS:
            raise _Stop

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self.count(event)
            self.place(self.scalar(event), event, event.anchor)
        elif isinstance(event, yaml.CollectionStartEvent):
            self.count(event)
            self.begin(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self.end()
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self.stop(_mark(event), (), "a second document starts here; expected one")

    def count(self, event: Any, nodes: int = 1) -> None:
        self.nodes += nodes
        most = self.limits.values
        if self.nodes > most:
            self.stop(_mark(event), (), f"more than {most:,} values, aliases counted; expected fewer")

    def path(self) -> Path:
        if not self.stack:
            return ()
        top = self.stack[-1]
        return (*top.path, len(top.value) if isinstance(top.value, list) else _path_part(top.key))

    def place_path(self) -> Path:
        """The path of what is being read: a value, or the mapping that a key belongs to."""
        return self.stack[-1].path if self.awaits_key() else self.path()

    def scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag is None or tag == "!":
            return scalar(event.value) if event.implicit[0] and tag is None else event.value
        kind = tag.removeprefix(_TAG)
        value = scalar(event.value)
        if kind == "str":
            return event.value
        if kind == "float" and type(value) is int:
            return float(value) if abs(value) < 10**300 else value
        if {"int": int, "float": float, "bool": bool, "null": type(None)}.get(kind) is type(value):
            return value
        self.fault(
            _mark(event),
            self.place_path(),
            f"tag {_cut(tag)!r} does not fit {_cut(event.value)!r}; expected no tag",
        )
        return event.value

    def begin(self, event: Any) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        expected = {None, "!", _TAG + ("map" if mapping else "seq")}
        if event.tag not in expected:
            self.fault(
                _mark(event), self.path(), f"tag {_cut(event.tag)!r} is not supported; expected no tag"
            )
        if len(self.stack) >= MAX_DEPTH:
            self.stop(_mark(event), self.path(), _TOO_DEEP)
        if self.awaits_key():
            self.stop(_mark(event), self.stack[-1].path, "a key is a list or a mapping; expected text")
        path = self.path()
        self.document.marks[path] = _mark(event)
        self.stack.append(_Open({} if mapping else [], path, event.anchor))

    def end(self) -> None:
        closed = self.stack.pop()
        if closed.anchor:
            self.anchors[closed.anchor] = (closed.value, _size(closed.value, self.limits.values))
        self.attach(closed.value, self.document.marks[closed.path])

    def alias(self, event: Any) -> None:
        if any(level.anchor == event.anchor for level in self.stack):
            self.stop(_mark(event), self.path(), f"alias *{_cut(event.anchor)} refers to itself")
        if event.anchor not in self.anchors:
            self.stop(_mark(event), self.path(), f"alias *{_cut(event.anchor)} has no anchor before it")
        value, size = self.anchors[event.anchor]
        self.count(event, size)
        self.place(value, event, None)

    def awaits_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1].value, dict) and not self.stack[-1].has_key

    def place(self, value: Any, event: Any, anchor: str | None) -> None:
        mark = _mark(event)
        if anchor:
            self.anchors[anchor] = (value, 1)
        if self.awaits_key():
            self.key(value, mark, event)
            return
        self.document.marks[self.path()] = mark
        self.attach(value, mark)

    def key(self, value: Any, mark: tuple[int, int], event: Any) -> None:
        top = self.stack[-1]
        if not isinstance(value, Hashable) or isinstance(value, dict | list):
            self.stop(mark, top.path, "a key is a list or a mapping; expected text")
        plain = isinstance(event, yaml.ScalarEvent) and event.implicit[0]
        top.key, top.has_key, top.key_mark = value, True, mark
        top.merging = value == "<<" and plain
        if isinstance(value, str) and len(value) > self.limits.key:
            most = f"expected at most {self.limits.key:,}"
            self.stop(mark, top.path, f"a key of {len(value):,} characters; {most}")
        path = (*top.path, _path_part(value))
        if value in top.lines:
            words = f"duplicate key {_shown(value)}, first on line {top.lines[value]}; expected each key once"
            self.fault(mark, path, words)
        top.lines.setdefault(value, mark[0])
        if not top.merging:
            self.document.key_marks.setdefault(path, mark)

    def attach(self, value: Any, mark: tuple[int, int]) -> None:
        if not self.stack:
            self.document.value = value
            return
        top = self.stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.merging:
            self.merge(top, value, mark)
            top.has_key = False
        else:
            if top.key not in top.value or top.key in top.merged:
                top.value[top.key] = value
            top.merged.discard(top.key)
            top.has_key = False

    def merge(self, top: _Open, value: Any, mark: tuple[int, int]) -> None:
        sources = value if isinstance(value, list) else [value]
        for source in sources:
            if not isinstance(source, dict):
                self.fault(mark, (*top.path, "<<"), "'<<' merges a mapping; expected an alias of one")
                continue
            for key, item in source.items():
                if key not in top.value:
                    top.value[key] = item
                    top.merged.add(key)


def _mark(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _path_part(key: Any) -> str | int:
    return key if isinstance(key, str) else str(key)


def _size(value: Any, most: int) -> int:
    """Number of values inside, aliases counted each time (they share memory, readers may not)."""
    total, pending = 0, [value]
    while pending:
        item = pending.pop()
        total += 1
        if total > most:
            break
        if isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    return total


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _shown(key: Hashable) -> str:
    return repr(_cut(key)) if isinstance(key, str) else "null" if key is None else quoted(key)
