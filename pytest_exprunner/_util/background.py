"""Something that is done again and again beside a run, in a thread that steps aside for forks."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable


class Ticking:
    """Calls something every so often, until it is stopped."""

    def __init__(self, name: str, seconds: float, look: Callable[[], None]) -> None:
        """``look`` is called every so many seconds, in a thread of that name."""
        self._name = name
        self._seconds = seconds
        self._look = look
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopped(self) -> bool:
        """Return whether it is to end, or stands aside."""
        return self._stop.is_set()

    def start(self) -> None:
        """Begin."""
        _TICKING.add(self)
        self._resume()

    def stop(self) -> None:
        """End; what is under way comes to its end first, within a few seconds."""
        _TICKING.discard(self)
        self._pause()

    def _resume(self) -> None:
        self._stop = threading.Event()  # one that is still busy must not take the new start for its own
        self._thread = threading.Thread(target=self._run, args=[self._stop], name=self._name, daemon=True)
        self._thread.start()

    def _pause(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
            self._thread = None

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._seconds):
            self._look()


_TICKING: weakref.WeakSet[Ticking] = weakref.WeakSet()


def _before_fork() -> None:
    # A process that is forked beside a thread inherits the locks that the thread happens to hold.
    for ticking in list(_TICKING):
        ticking._pause()  # noqa: SLF001


def _after_fork() -> None:
    for ticking in list(_TICKING):
        ticking._resume()  # noqa: SLF001


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork)
