"""An attempt that is made elsewhere, as it is seen here: what it writes, while it writes it."""

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
"""What is sent while it grows."""
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class Mirror:
    """Appends the pieces that arrive to files of the same names. Others follow them as if it ran here."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the attempt's, and there."""
        self.folder = folder
        self._sizes = dict.fromkeys(GROWING, 0)
        self._start = ""

    def take(self, piece: Piece) -> None:
        """Write a piece. One that came twice, or too early, is left out: the whole comes at the end."""
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
        """Bring home what an attempt has left; its record last, which is what makes it count."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for entry in answer.files:
            if entry.path in GROWING:
                self.complete(entry, fetch)
        others = [entry for entry in answer.files if entry.path not in GROWING]
        install(sorted(others, key=lambda entry: entry.path == RECORD), self.folder, fetch)

    def complete(self, entry: FileContent, fetch: Callable[[FileContent], Iterator[bytes]]) -> None:
        """Make a file what it was elsewhere. What came is kept where it is a part: others are reading it."""
        target = place_of(self.folder, entry.path)
        with tempfile.TemporaryDirectory() as folder:
            install([entry], Path(folder), fetch)
            whole = Path(folder, entry.path).read_bytes()
        here = target.read_bytes() if target.exists() else b""
        if whole.startswith(here):
            with target.open("ab") as stream:
                stream.write(whole[len(here) :])
        else:
            self._set_aside(target)
            atomic.replace(target, whole)

    def _begin(self, start: str) -> None:
        """Set aside what a machine had written that was taken away."""
        self._start = start
        for name in self._sizes:
            self._sizes[name] = 0
            self._set_aside(self.folder / name)

    def _set_aside(self, file: Path) -> None:
        if file.exists():
            atomic.set_aside(file, "preempted")
            file.unlink()
