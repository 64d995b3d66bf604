"""A piece of work in a process of its own, watched from outside: whatever happens to it, it ends alone.

The process is forked, so that it starts warm: everything is imported and collected already. It leads a
session of its own, so that all it starts can be ended with it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import selectors
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pytest_exprunner._util.processes import die_with_parent

_STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_PATIENCE = 3.0  # seconds to note an interruption, or to end when time is up
_PIECE = 1 << 20
_HEAD = 8  # bytes for the length of the answer
_LOOK_AFTER = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Ended:
    """How the process ended: what it answered, or what became of it instead."""

    answer: bytes
    cause: str = ""
    """Empty where it answered."""
    stacks: str = ""
    """Where every thread was when time was up."""


def supervise(work: Callable[[], bytes], timeout: float | None) -> Ended:
    """Run ``work`` in a forked process and return its answer, or why there is none.

    It is killed, with all processes that it started, when ``timeout`` seconds are over, even where it
    holds the interpreter's lock. KeyboardInterrupt is passed on to it before it is raised here.
    """
    with tempfile.NamedTemporaryFile(prefix="exprunner-stacks-") as stacks:
        reading, writing = os.pipe()
        pid = 0
        # Asked to stop between the fork and what follows it, the forked process would go on as its parent.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        try:
            pid = _fork(lambda parent: _work(work, writing, timeout, stacks.name, parent, before))
            os.close(writing)
            writing = -1
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return _watch(pid, reading, timeout, Path(stacks.name))
        except KeyboardInterrupt:
            if pid:
                _interrupt(pid)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for end in (reading, writing):
                with contextlib.suppress(OSError):
                    os.close(end)
            if pid:
                _end_group(pid)


def _fork(life: Callable[[int], NoReturn]) -> int:
    """Return the id of a forked process that lives its life, which is told the parent's id."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    with warnings.catch_warnings():
        # A worker of xdist has a thread that only reads; it does not go along.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        life(parent)
    return pid


def _work(
    work: Callable[[], bytes],
    writing: int,
    timeout: float | None,
    stacks: str,
    parent: int,
    signals: set[int | signal.Signals],
) -> NoReturn:
    """The life of the forked process, in which ``signals`` are blocked as they were before."""
    code = 70
    try:
        os.setsid()
        die_with_parent(parent)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)  # asked to end, it does; only Ctrl-C is noted
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        if timeout is not None:
            # A thread in C that needs no lock: it writes where every thread is, and ends the process
            # before any of them gets a step further.
            faulthandler.dump_traceback_later(timeout, exit=True, file=Path(stacks).open("wb"))  # noqa: SIM115
        found = work()
        answer = memoryview(len(found).to_bytes(_HEAD, "big") + found)
        while answer:
            answer = answer[os.write(writing, answer) :]
        code = 0
    except BaseException:  # noqa: BLE001 - nothing may leave this process
        code = 70
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watch(pid: int, reading: int, timeout: float | None, stacks: Path) -> Ended:
    last = None if timeout is None else time.monotonic() + timeout + _PATIENCE
    os.set_blocking(reading, False)
    answer = bytearray()
    status, is_open = None, True
    with selectors.DefaultSelector() as selector:
        selector.register(reading, selectors.EVENT_READ)
        # What it has forked holds its end of the pipe open, so the end of the pipe proves nothing.
        while not _is_whole(answer) and status is None:
            if last is not None and time.monotonic() > last:
                return Ended(b"", f"timeout after {timeout:g} s")  # it did not end itself
            if is_open:
                selector.select(_LOOK_AFTER)
            else:
                time.sleep(_LOOK_AFTER)  # the handler has closed it
            status = _status(pid)
            is_open = _read(reading, answer)
    if _is_whole(answer):
        deadline = time.monotonic() + 1.0  # to write out what it has printed
        while status is None and time.monotonic() < deadline:
            time.sleep(0.001)
            status = _status(pid)
        return Ended(bytes(answer[_HEAD:]))
    where = stacks.read_text(encoding="utf-8", errors="replace")
    if timeout is not None and where:  # only the watchdog writes there
        return Ended(b"", f"timeout after {timeout:g} s", where)
    return Ended(b"", cause_of(os.waitstatus_to_exitcode(status or 0)))


def _is_whole(answer: bytearray) -> bool:
    return len(answer) >= _HEAD and len(answer) - _HEAD >= int.from_bytes(answer[:_HEAD], "big")


def _read(reading: int, answer: bytearray) -> bool:
    """Read what is there now; return whether more may come."""
    try:
        while piece := os.read(reading, _PIECE):
            answer += piece
    except BlockingIOError:
        return True
    return False


def _status(pid: int) -> int | None:
    """Return how the process has ended, if it has."""
    with contextlib.suppress(ChildProcessError):
        ended, status = os.waitpid(pid, os.WNOHANG)
        return status if ended else None
    return 0


def _interrupt(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                time.sleep(0.02)
                continue
        return


def _end_group(pid: int) -> None:
    """Kill the process, if it is still there, and everything of its session."""
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):  # waited for already: its id may be somebody else's now
        if os.waitpid(pid, os.WNOHANG) == (0, 0):
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)  # it may not lead a session of its own yet
            os.waitpid(pid, 0)


def cause_of(code: int) -> str:
    """Return how a process with this exit code ended: ``crashed: SIGSEGV``."""
    if code >= 0:
        return f"its process exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return "killed, likely out of memory" if name == "SIGKILL" else f"crashed: {name}"
