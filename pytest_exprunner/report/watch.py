"""Follows a run in progress from its journals, and displays it below other output."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from typing import IO

from pytest_exprunner._util.background import Ticking
from pytest_exprunner.model.attempt import AttemptKey
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.report import live
from pytest_exprunner.schedule.progress import Progress, after
from pytest_exprunner.store.lock import holder_of
from pytest_exprunner.store.tail import Follower, Seen

_BETWEEN_LOOKS = 0.25  # seconds, on a terminal
_QUICK = 1.0  # seconds; a shorter attempt is not shown
_BETWEEN_LINES = 30.0
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def current_run(layout: Layout) -> str:
    """Return the run in progress in a results folder, or an empty string."""
    holder = holder_of(layout.lock_folder)
    run = str(holder.get("run", ""))
    return run if layout.runs.joinpath(f"{run}.json").exists() else ""


class Watch:
    """The running attempts of a run."""

    def __init__(self, follower: Follower) -> None:
        """Start without any running attempt."""
        self._follower = follower
        self._running: dict[tuple[str, str, int], Progress] = {}

    def look(self) -> Iterator[Seen]:
        """Read new events, and yield them."""
        for seen in self._follower.poll():
            name = (seen.key.experiment, seen.key.sub_experiment, seen.key.sequence)
            if seen.event is None:
                self._running.pop(name, None)
            elif seen.event.get("event") == "started":
                self._running[name] = _started(seen.key, seen.event)
            elif name in self._running:
                self._running[name] = after(self._running[name], seen.event)
            yield seen

    def now(self) -> list[Progress]:
        """Read new events; return the running attempts."""
        for _seen in self.look():
            pass
        return self.running()

    def running(self, least: float = 0.0) -> list[Progress]:
        """Return the attempts that have been running for at least ``least`` seconds."""
        now = time.time()
        return [progress for progress in self._running.values() if now - progress.began >= least]


def _started(key: AttemptKey, event: object) -> Progress:
    began = event.get("time") if isinstance(event, dict) else None
    return Progress(key.label, began if isinstance(began, float) else time.time())


class Block:
    """Lines below the cursor of a terminal, erased before anything else is printed there.

    The cursor returns to its position, so other output needs no change.
    """

    def __init__(self, write: Callable[[str], object], column: Callable[[], int]) -> None:
        """``write`` sends text to the terminal immediately; ``column`` returns the cursor's column."""
        self._write = write
        self._column = column
        self._drawn = False

    def draw(self, lines: list[str]) -> None:
        """Replace the lines by new ones."""
        self.erase()
        if lines:
            # Wrapping is switched off, because only the terminal knows how wide a character is.
            body = "".join(f"\r\n\x1b[2m{text}\x1b[0m" for text in lines)
            self._write(f"\x1b[?7l{body}\x1b[?7h\x1b[{len(lines)}A\x1b[{self._column() + 1}G")
            self._drawn = True

    def erase(self) -> None:
        """Erase the lines."""
        if self._drawn:
            self._write("\x1b[J")
            self._drawn = False


class Display:
    """A thread that shows running attempts: as a block on a terminal, elsewhere as a line at intervals."""

    def __init__(self, watch: Watch, descriptor: int, *, fancy: bool, encode: Callable[[str], str]) -> None:
        """``descriptor`` is the output; ``fancy`` if it is a terminal that can move its cursor."""
        self._watch = watch
        self._descriptor = descriptor
        self._fancy = fancy
        self._encode = encode
        self._lock = threading.RLock()
        self.column = 0
        self._block = Block(self._write, lambda: self.column)
        self._ticking = Ticking("exprunner-display", _BETWEEN_LOOKS if fancy else _BETWEEN_LINES, self._look)

    def start(self) -> None:
        """Start the thread."""
        self._ticking.start()

    def stop(self) -> None:
        """Stop the thread and erase the lines."""
        self._ticking.stop()
        with self._lock:
            self._block.erase()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Erase the lines while other code prints."""
        with self._lock:
            self._block.erase()
            yield

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._descriptor, data) :]

    def _look(self) -> None:
        for _seen in self._watch.look():
            pass
        running = self._watch.running(_QUICK)
        if self._fancy:
            self._redraw(running)
        elif running:
            self._say(running)

    def _redraw(self, running: list[Progress]) -> None:
        try:
            width, height = os.get_terminal_size(self._descriptor)
        except OSError:
            width, height = 80, 24
        lines = live.block(running, time.time(), width - 1)[: max(height - 3, 0)]
        with self._lock:
            if not self._ticking.stopped:
                self._block.draw([self._encode(text) for text in lines])

    def _say(self, running: list[Progress]) -> None:
        with self._lock:
            # The last line of output is probably incomplete.
            texts = (self._encode(text) for text in live.block(running, time.time(), 200))
            self._write(f"\n{''.join(f'  running: {text}{os.linesep}' for text in texts)}")


class SharedStream:
    """A stream that shares the terminal with a display; it erases the block before each write."""

    def __init__(self, stream: IO[str], display: Display) -> None:
        """Replace ``stream`` for everyone who prints to it."""
        self._stream = stream
        self._display = display

    def write(self, text: str) -> int:
        """Write text, and track the cursor's column."""
        with self._display.aside():
            written = self._stream.write(text)
            self._stream.flush()
            last = text.rpartition("\n")[2] if "\n" in text else None
            before = self._display.column if last is None else 0
            self._display.column = before + _visible(text if last is None else last)
        return written

    def __getattr__(self, name: str) -> object:
        """Return any other attribute of the stream."""
        return getattr(self._stream, name)


def _visible(text: str) -> int:
    """Return the width in columns, without escape sequences and without text before a carriage return."""
    plain = _ESCAPES.sub("", text).rpartition("\r")[2]
    return len(plain) + sum(unicodedata.east_asian_width(c) in "WF" for c in plain if not c.isascii())
