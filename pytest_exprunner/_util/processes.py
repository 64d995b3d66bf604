"""Signals that ask a run to stop, and the processes that it must not leave behind."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Collection, Iterable
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

_MOMENT = 0.5
_PR_SET_PDEATHSIG = 1

_STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class StopSignals:
    """Makes SIGTERM and SIGHUP end a run as Ctrl-C does: whole files, exit code 2."""

    def __init__(self) -> None:
        """Nothing is changed yet."""
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take over the signals that nobody else handles or ignores."""
        for number in _STOPPING:
            if signal.getsignal(number) is signal.SIG_DFL:
                with contextlib.suppress(ValueError):  # not the main thread
                    self._before[number] = signal.signal(number, _interrupt)

    def restore(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            if signal.getsignal(number) is _interrupt:
                with contextlib.suppress(ValueError):
                    signal.signal(number, handler)
        self._before.clear()


def _interrupt(number: int, frame: FrameType | None) -> None:
    del frame
    raise KeyboardInterrupt(signal.Signals(number).name)


def end_children(patience: float, interrupted: Collection[int] = (), spared: Collection[int] = ()) -> None:
    """End every process that this one has started, directly or not.

    Those with the ids in ``interrupted`` get a Ctrl-C first and ``patience`` seconds to write down what
    they were at. All that are left then are asked to end, and killed where they do not; but for those in
    ``spared`` and what they have started.
    """
    import psutil  # only where a run was stopped

    with contextlib.suppress(psutil.Error):
        left = _without(psutil.Process().children(recursive=True), spared)
        polite = [process for process in left if process.pid in interrupted]
        _each(polite, lambda process: process.send_signal(signal.SIGINT))
        psutil.wait_procs(polite, timeout=patience)
        for end in (psutil.Process.terminate, psutil.Process.kill):
            left = [process for process in left if process.is_running()]
            _each(left, end)
            psutil.wait_procs(left, timeout=_MOMENT)


def is_alive(pid: int) -> bool:
    """Return whether a process is there and has not ended."""
    import psutil  # only where another process is looked at

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that happens; on Linux only."""
    if sys.platform == "linux":
        import ctypes  # only where processes are forked

        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # it has ended before


def end_tree(pid: int) -> None:
    """End a process and all that it has started, at once."""
    import psutil  # only where a process hangs

    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        _each([*process.children(recursive=True), process], psutil.Process.kill)


def _without(processes: list[psutil.Process], spared: Collection[int]) -> list[psutil.Process]:
    kept = set(spared)
    for process in processes:
        if process.pid in spared:
            with contextlib.suppress(Exception):  # it has ended
                kept.update(child.pid for child in process.children(recursive=True))
    return [process for process in processes if process.pid not in kept]


def _each(processes: Iterable[psutil.Process], act: Callable[[psutil.Process], object]) -> None:
    for process in processes:
        with contextlib.suppress(Exception):  # it has ended, or is not ours to end
            act(process)
