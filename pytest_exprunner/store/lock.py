"""One run at a time on a results folder: a lock that the kernel releases, whatever becomes of its holder."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from pytest_exprunner._util.errors import LockedError
from pytest_exprunner.store import atomic

if TYPE_CHECKING:
    from filelock import FileLock


class RunLock:
    """Held from before a run writes anything until it has written everything."""

    def __init__(self, folder: Path) -> None:
        """Lock ``folder / "lock"``; who holds it stands in ``lock.json`` beside it."""
        self._file = folder / "lock"
        self._holder = folder / "lock.json"
        self._lock: FileLock | None = None

    def acquire(self, run: str, timeout: float, shown: str) -> bool:
        """Take the lock, waiting up to ``timeout`` seconds; return whether somebody else had it.

        ``shown`` is the results folder as messages show it. Raises `LockedError` where it stays taken,
        OSError where it cannot be taken at all.
        """
        from filelock import FileLock, Timeout  # commands that only read need no lock

        lock = FileLock(self._file, thread_local=False)
        began = time.monotonic()
        try:
            lock.acquire(timeout=0)
            waited = False
        except Timeout:
            waited = True
            try:
                lock.acquire(timeout=timeout, poll_interval=0.1)
            except Timeout:
                raise LockedError(
                    self._explain(shown, time.monotonic() - began if timeout else 0.0)
                ) from None
        self._lock = lock
        holder = {"run": run, "pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        atomic.replace(self._holder, orjson.dumps(holder))
        return waited

    def release(self) -> None:
        """Let others go on; harmless where the lock is not held."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._holder.unlink()
            self._lock.release()
            self._lock = None

    def _explain(self, shown: str, waited: float) -> str:
        try:
            holder = holder_of(self._holder.parent)
            who = f"run {holder['run']} (pid {holder['pid']} on {holder['host']}, since {holder['since']})"
        except KeyError:
            who = "another run"
        after = f", still after {waited:.0f} s" if waited else ""
        return (
            f"{who} is writing to {shown}{after}; wait for it (--exp-lock-timeout SECONDS), "
            "stop it, or write elsewhere with --exp-results DIR"
        )


def holder_of(folder: Path) -> dict[str, object]:
    """Return who holds a lock, or held it and was killed: run, pid, host, since. Empty where nobody does."""
    try:
        holder = orjson.loads((folder / "lock.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
