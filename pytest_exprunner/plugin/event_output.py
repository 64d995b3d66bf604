"""Lines for another program, one JSON object each, in a file or on the original standard output.

After opening, nothing here raises: if the reader has closed its end, this is recorded and the run continues.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pytest_exprunner._util.errors import ExprunnerError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
_OUT, _ERROR = 1, 2


class EventLines:
    """Writes each event immediately as a complete line."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Take over ``descriptor``; processes that are started do not inherit it."""
        self.name = name
        self.problem = ""
        """Why writing has stopped, or an empty string."""
        self._descriptor = descriptor
        self._lock = threading.Lock()
        _OPEN.add(self)

    def write(self, event: Mapping[str, Any]) -> None:
        """Write an event; do nothing after a failure."""
        # CI services read ##[error] anywhere in a line as a command, so it is escaped as JSON allows.
        line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE).replace(b"##[", b"\\u0023\\u0023[")
        with self._lock:
            if self._descriptor < 0 or self.problem:
                return
            try:
                while line:
                    line = line[os.write(self._descriptor, line) :]
            except OSError as error:
                self.problem = error.strerror or str(error)

    def close(self, *, give_back: bool = False) -> None:
        """Close the descriptor; with ``give_back``, restore standard output first."""
        with self._lock:
            if self._descriptor >= 0 and give_back:
                _flush()
                os.dup2(self._descriptor, _OUT)
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1

    def forget(self) -> None:
        """Close the lines in a forked process, because they belong to its parent."""
        self._lock = threading.Lock()
        self._close()


_OPEN: weakref.WeakSet[EventLines] = weakref.WeakSet()


def _after_fork() -> None:
    for lines in list(_OPEN):
        lines.forget()


os.register_at_fork(after_in_child=_after_fork)


def into_file(file: Path, name: str) -> EventLines:
    """Return lines that go into a file, which is emptied. Raises `ExprunnerError` if that fails.

    A file that contains anything other than such lines is refused, so that no other file is overwritten.
    """
    try:
        free = _may_be_emptied(file)
        descriptor = os.open(file, _NEW, 0o666) if free else -1
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ExprunnerError(
            f"{name!r} cannot be written: {why}; expected a file in a folder that exists, or - for standard "
            "output"
        ) from None
    if not free:
        raise ExprunnerError(
            f"{name!r} contains something other than events and was left unchanged; name another file, or "
            "delete that one"
        )
    return EventLines(descriptor, name)


def _may_be_emptied(file: Path) -> bool:
    if not file.is_file():
        return not file.exists() or file.is_fifo() or file.is_char_device()
    with file.open("rb") as stream:
        start = stream.read(200)
    return not start.strip() or start.startswith(b'{"schema":"exprunner/event"')


def into_standard_output() -> EventLines:
    """Return lines that have standard output to themselves.

    Until they are closed, output to descriptor 1 from this process or the processes that it starts goes to
    standard error. Raises `ExprunnerError` if standard output is closed.
    """
    _flush()
    try:
        kept = os.dup(_OUT)
    except OSError as error:
        raise ExprunnerError(
            f"standard output cannot be written: {error.strerror}; name a file: --exp-json FILE"
        ) from None
    _redirect_output()
    return EventLines(kept, "-")


def _redirect_output() -> None:
    try:
        os.dup2(_ERROR, _OUT)
    except OSError:  # standard error is closed
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, _OUT)
        os.close(nowhere)


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
