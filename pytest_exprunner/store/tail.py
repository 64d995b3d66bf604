"""A run as it goes on, from files alone: which attempts have begun, what they log, how they end.

Whoever watches a run, be it a tracker, the terminal of the run itself or another one, reads the
journals. Nothing is sent to them, so they cost a handler nothing, and nothing that they miss is lost.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, NamedTuple

import orjson

from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord
from pytest_exprunner.model.layout import EVENTS, RECORD, Layout
from pytest_exprunner.store.journal import open_slot

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
_AT_ONCE = 1_000_000
"""Bytes of one journal that are read before the others have their turn."""


def announce(layout: Layout, run: str, key: AttemptKey) -> None:
    """Note for whoever follows a run that an attempt has begun: one write, from any process.

    Only those who watch miss anything where this fails, so it fails in silence.
    """
    line = orjson.dumps([key.experiment, key.sub_experiment, key.sequence], option=orjson.OPT_APPEND_NEWLINE)
    with contextlib.suppress(OSError):
        descriptor = os.open(layout.begun_in(run), _APPEND, 0o666)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


class Seen(NamedTuple):
    """Something that was read of an attempt; without an event, that it has ended and has a record."""

    key: AttemptKey
    event: dict[str, Any] | None


@dataclass(slots=True)
class _OpenAttempt:
    """An attempt whose record has not been seen."""

    folder: Path
    key: AttemptKey
    stream: IO[bytes] | None = None
    rest: bytes = b""


@dataclass(slots=True)
class _Lines:
    """Whole lines of a file that grows."""

    rest: bytes = b""

    def of(self, data: bytes) -> list[bytes]:
        *lines, self.rest = (self.rest + data).split(b"\n")
        return lines


@dataclass(slots=True)
class Follower:
    """Reads on, each time it is asked, from where it was. Its memory does not grow with what is logged."""

    layout: Layout
    run: str
    skip_ended: bool = False
    """Leave out attempts that had ended before they were first looked at."""
    _process: int = field(default_factory=os.getpid)
    _stream: IO[bytes] | None = None
    _lines: _Lines = field(default_factory=_Lines)
    _open: dict[tuple[str, str, int], _OpenAttempt] = field(default_factory=dict)

    @property
    def unfinished(self) -> list[AttemptKey]:
        """The attempts that have begun and have no record yet."""
        return [attempt.key for attempt in self._open.values()]

    def poll(self) -> Iterator[Seen]:
        """Yield what is new, for each attempt in the order in which it happened.

        A forked process shares the places in the files that are open, and would read what the other misses.
        """
        if os.getpid() != self._process:
            return
        self._look_for_attempts()
        for name, attempt in list(self._open.items()):
            ended = (attempt.folder / RECORD).exists()  # looked at first, so that nothing comes after it
            if ended and self.skip_ended and attempt.stream is None:
                del self._open[name]
                continue
            yield from self._new_events(attempt, whole=ended)
            if ended:
                del self._open[name]
                if attempt.stream is not None:
                    attempt.stream.close()
                yield Seen(attempt.key, None)

    def close(self) -> None:
        """Close what is open; it cannot be asked again."""
        for stream in (self._stream, *(attempt.stream for attempt in self._open.values())):
            if stream is not None:
                stream.close()
        self._open.clear()

    def _look_for_attempts(self) -> None:
        if self._stream is None:
            with contextlib.suppress(OSError):
                self._stream = self.layout.begun_in(self.run).open("rb")
        if self._stream is None:
            return
        for line in self._lines.of(self._stream.read()):
            with contextlib.suppress(ValueError, TypeError):
                experiment, sub, sequence = orjson.loads(line)
                key = AttemptKey(str(experiment), str(sub), int(sequence))
                self._open[key.experiment, key.sub_experiment, key.sequence] = _OpenAttempt(
                    self.layout.attempt(key), key
                )

    def _new_events(self, attempt: _OpenAttempt, *, whole: bool) -> Iterator[Seen]:
        for event in _read_on(attempt, whole=whole):
            if event.get("event") == "started":
                attempt.key = open_slot(attempt.key, event)
            yield Seen(attempt.key, event)


def follow_attempt(folder: Path, record: AttemptRecord) -> Iterator[Seen]:
    """Yield everything that the journal of one attempt holds, and its end where it has a record.

    Where the journal is missing, as in a clone, the record has how it started.
    """
    attempt = _OpenAttempt(folder, record.key)
    if not (folder / EVENTS).exists():
        yield Seen(record.key, _start_of(record))
    for event in _read_on(attempt, whole=True):
        if event.get("event") == "started":
            attempt.key = open_slot(attempt.key, event)
        yield Seen(attempt.key, event)
    if attempt.stream is not None:
        attempt.stream.close()
    if (folder / RECORD).exists():
        yield Seen(attempt.key, None)


def _is_another(attempt: _OpenAttempt) -> bool:
    """Return whether the attempt was begun anew, on another machine, since its journal was opened."""
    assert attempt.stream is not None
    try:
        return (attempt.folder / EVENTS).stat().st_ino != os.fstat(attempt.stream.fileno()).st_ino
    except OSError:
        return False


def _start_of(record: AttemptRecord) -> dict[str, Any]:
    began = datetime.fromisoformat(record.started_at).timestamp() if record.started_at else 0.0
    return {"event": "started", "time": began, "run": record.run, "rng_seed": record.rng_seed, "params": {}}


def _read_on(attempt: _OpenAttempt, *, whole: bool) -> Iterator[dict[str, Any]]:
    if attempt.stream is not None and _is_another(attempt):
        attempt.stream.close()
        attempt.stream, attempt.rest = None, b""
    if attempt.stream is None:
        try:
            attempt.stream = (attempt.folder / EVENTS).open("rb")
        except OSError:
            return
    while data := attempt.stream.read(_AT_ONCE):
        *lines, attempt.rest = (attempt.rest + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                event = orjson.loads(line)
                if isinstance(event, dict):
                    yield event
        if not whole:
            return
