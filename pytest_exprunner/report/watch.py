"""What is going on in a run, kept up to date from its journals, and shown below what else is printed."""

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
_QUICK = 1.0  # seconds: what is over sooner is not worth a line
_BETWEEN_LINES = 30.0
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def current_run(layout: Layout) -> str:
    """Return the run that goes on in a results folder, or an empty text."""
    holder = holder_of(layout.lock_folder)
    run = str(holder.get("run", ""))
    return run if layout.runs.joinpath(f"{run}.json").exists() else ""


class Watch:
    """The running attempts of a run."""

    def __init__(self, follower: Follower) -> None:
        """Nothing has been seen yet."""
        self._follower = follower
        self._running: dict[tuple[str, str, int], Progress] = {}

    def look(self) -> Iterator[Seen]:
        """Take in what is new, and yield it."""
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
        """Take in what is new; return those that are running."""
        for _seen in self.look():
            pass
        return self.running()

    def running(self, least: float = 0.0) -> list[Progress]:
        """Return those that have been running for some seconds at least."""
        now = time.time()
        return [progress for progress in self._running.values() if now - progress.began >= least]


def _started(key: AttemptKey, event: object) -> Progress:
    began = event.get("time") if isinstance(event, dict) else None
    return Progress(key.label, began if isinstance(began, float) else time.time())


class Block:
    """Lines below the cursor of a terminal: drawn, and gone before anything else is printed there.

    The cursor goes back to where it was, so who prints need not know.
    """

    def __init__(self, write: Callable[[str], object], column: Callable[[], int]) -> None:
        """``write`` reaches the terminal at once; ``column`` tells where the cursor stands."""
        self._write = write
        self._column = column
        self._drawn = False

    def draw(self, lines: list[str]) -> None:
        """Put lines in the place of those before."""
        self.erase()
        if lines:
            # Without wrapping: how wide a character is, the terminal knows best.
            body = "".join(f"\r\n\x1b[2m{text}\x1b[0m" for text in lines)
            self._write(f"\x1b[?7l{body}\x1b[?7h\x1b[{len(lines)}A\x1b[{self._column() + 1}G")
            self._drawn = True

    def erase(self) -> None:
        """Take the lines away."""
        if self._drawn:
            self._write("\x1b[J")
            self._drawn = False


class Display:
    """A thread that shows what is running: a block on a terminal, elsewhere a line now and then."""

    def __init__(self, watch: Watch, descriptor: int, *, fancy: bool, encode: Callable[[str], str]) -> None:
        """``descriptor`` is what people read; ``fancy`` if it is a terminal that can move its cursor."""
        self._watch = watch
        self._descriptor = descriptor
        self._fancy = fancy
        self._encode = encode
        self._lock = threading.RLock()
        self.column = 0
        self._block = Block(self._write, lambda: self.column)
        self._ticking = Ticking("exprunner-display", _BETWEEN_LOOKS if fancy else _BETWEEN_LINES, self._look)

    def start(self) -> None:
        """Begin to look."""
        self._ticking.start()

    def stop(self) -> None:
        """Show nothing any more."""
        self._ticking.stop()
        with self._lock:
            self._block.erase()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Let somebody else print."""
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
            # Whoever prints here is probably in the middle of a line.
            texts = (self._encode(text) for text in live.block(running, time.time(), 200))
            self._write(f"\n{''.join(f'  running: {text}{os.linesep}' for text in texts)}")


class SharedStream:
    """A stream that others print to, beside a display, which steps aside; it knows the column."""

    def __init__(self, stream: IO[str], display: Display) -> None:
        """Stands in for ``stream``."""
        self._stream = stream
        self._display = display

    def write(self, text: str) -> int:
        """Print."""
        with self._display.aside():
            written = self._stream.write(text)
            self._stream.flush()
            last = text.rpartition("\n")[2] if "\n" in text else None
            before = self._display.column if last is None else 0
            self._display.column = before + _visible(text if last is None else last)
        return written

    def __getattr__(self, name: str) -> object:
        """Everything else is the stream's."""
        return getattr(self._stream, name)


def _visible(text: str) -> int:
    """Count what a cursor moves by: no escape sequences, and nothing before a carriage return."""
    plain = _ESCAPES.sub("", text).rpartition("\r")[2]
    return len(plain) + sum(unicodedata.east_asian_width(c) in "WF" for c in plain if not c.isascii())
