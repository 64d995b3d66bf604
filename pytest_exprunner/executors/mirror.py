"""The local copy of an attempt that runs elsewhere, updated while the attempt writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_exprunner.executors.base import Answer, Piece
from pytest_exprunner.executors.content_store import FileContent, install, place_of
from pytest_exprunner.model.layout import EVENTS, LOG, RECORD
from pytest_exprunner.store import atomic

GROWING = (EVENTS, LOG)
"""Files that are sent while they grow."""
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Mirror:
    """Appends received pieces to local files, so that readers follow them as if the attempt ran locally."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the attempt's; `take` requires that it exists."""
        self.folder = folder
        self._sizes = dict.fromkeys(GROWING, 0)
        self._start = ""

    def take(self, piece: Piece) -> None:
        """Write a piece. Skip one that came twice or too early, because `bring` completes the files."""
        if piece.name not in self._sizes:
            return
        if piece.start != self._start:
            self._begin(piece.start)
        size = self._sizes[piece.name]
        data = piece.data[size - piece.offset :] if piece.offset <= size else b""
        if data:
            descriptor = os.open(self.folder / piece.name, _APPEND, 0o666)
            try:
                self._sizes[piece.name] += os.write(descriptor, data)
            finally:
                os.close(descriptor)

    def bring(self, answer: Answer, fetch: Callable[[FileContent], Iterator[bytes]]) -> None:
        """Fetch the files of an attempt. Its record comes last, because the record makes it count."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for entry in answer.files:
            if entry.path in GROWING:
                self.complete(entry, fetch)
        others = [entry for entry in answer.files if entry.path not in GROWING]
        install(sorted(others, key=lambda entry: entry.path == RECORD), self.folder, fetch)

    def complete(self, entry: FileContent, fetch: Callable[[FileContent], Iterator[bytes]]) -> None:
        """Complete a file. Keep received data that is a prefix of it, because others are reading it."""
        target = place_of(self.folder, entry.path)
        with tempfile.TemporaryDirectory() as folder:
            install([entry], Path(folder), fetch)
            content = Path(folder, entry.path).read_bytes()
        received = target.read_bytes() if target.exists() else b""
        if content.startswith(received):
            with target.open("ab") as stream:
                stream.write(content[len(received) :])
        else:
            self._set_aside(target)
            atomic.replace(target, content)

    def _begin(self, start: str) -> None:
        """Set aside what a preempted machine wrote."""
        self._start = start
        for name in self._sizes:
            self._sizes[name] = 0
            self._set_aside(self.folder / name)

    def _set_aside(self, file: Path) -> None:
        if file.exists():
            atomic.set_aside(file, "preempted")
            file.unlink()
