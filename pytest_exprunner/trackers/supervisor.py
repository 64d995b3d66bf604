"""The trackers of a run: a process for each, started with the run and waited for at its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_exprunner._util.errors import count
from pytest_exprunner._util.processes import end_tree
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.trackers.job import TrackerJob, file_name

_MODULE = "pytest_exprunner.trackers.worker"
_UNNOTICED = 3.0  # seconds that nobody needs to be told of
_BETWEEN_LOOKS = 0.01


class Trackers:
    """Started and ended by the process that leads a run. Nothing that becomes of them changes a result."""

    def __init__(self, places: Mapping[str, str], plan_file: Path, root: Path, layout: Layout) -> None:
        """``places`` are the classes by the names that people gave."""
        self._places = places
        self._plan_file = plan_file
        self._root = root
        self._layout = layout
        self._processes: dict[str, _Process] = {}
        self.notes: list[str] = []
        self.told: list[str] = []
        """What was delivered, and where it is, in words."""

    @property
    def pids(self) -> list[int]:
        """The processes that are at work."""
        return [process.pid for process in self._processes.values()]

    def start(self, run: str) -> None:
        """Start following a run. Never raises: a tracker that cannot start is noted."""
        for name, place in self._places.items():
            job = TrackerJob(
                name,
                place,
                str(self._plan_file),
                str(self._root),
                str(self._layout.root),
                self._layout.branch,
                run,
            )
            try:
                self._processes[name] = _Process(job, self._layout.lock_folder / "tracking")
            except OSError as error:
                self.notes.append(f"{name} could not be started: {error.strerror or error}")

    def finish(
        self, experiments: Sequence[str], patience: float, say: Callable[[str], None] = lambda _text: None
    ) -> None:
        """Say that the run is over, and wait for what is left to be told, ``patience`` seconds for all.

        A Ctrl-C ends the waiting, and not the run, which is over.
        """
        deadline = time.monotonic() + patience
        for process in self._processes.values():
            process.announce_end(experiments)
        try:
            self._wait(min(_UNNOTICED, patience))
            left = ", ".join(name for name, process in self._processes.items() if process.code is None)
            if left and patience > _UNNOTICED:
                say(f"waiting up to {patience:g} s for {left} (Ctrl-C stops waiting)")
            self._wait(deadline - time.monotonic())
            why = f"did not finish within {patience:g} s after the run and was stopped"
        except KeyboardInterrupt:
            why = "was stopped because the run did not wait for it"
        for name, process in self._processes.items():
            self._end(name, process, why)
        self._processes.clear()

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while any(process.code is None for process in self._processes.values()):
            if time.monotonic() >= deadline:
                return
            time.sleep(_BETWEEN_LOOKS)

    def _end(self, name: str, process: _Process, why: str) -> None:
        code = process.code
        told = process.end()
        sync = f"'exprunner sync --tracker {name}'"
        self.notes += [f"{line['warning']}" for line in told if "warning" in line]
        last = next((line for line in told if "missed" in line), None)
        if code is None:
            self.notes.append(f"{name} {why}; {sync} sends the rest")
        elif last is None:
            log = f"more in {file_name(name)}.log in {self._shown_folder}"
            self.notes.append(f"{name} stopped early ({_ending(code)}; {log}); {sync} sends the rest")
        elif last["missed"] == "everything":
            self.notes.append(f"{name} received nothing; {sync} sends what it missed")
        elif last["missed"]:
            self.notes.append(
                f"{name} missed {count(last['missed'], 'attempt')}; {sync} sends what it missed"
            )
        if last is not None and last["delivered"]:
            place = f" ({last['place']})" if last.get("place") else ""
            self.told.append(f"{name}: received {count(last['delivered'], 'attempt')}{place}")

    @property
    def _shown_folder(self) -> str:
        return (self._layout.lock_folder / "tracking").relative_to(self._layout.root.parent).as_posix()


class _Process:
    """The process of one tracker; a session of its own, so that a Ctrl-C is for the run alone."""

    def __init__(self, job: TrackerJob, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # A file, not a pipe: what is told need not be read meanwhile, and nobody can hold it open.
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        with (folder / f"{file_name(job.name)}.log").open("wb") as log:
            self._popen = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
                # -P: modules in the current folder may have any names.
                [sys.executable, "-P", "-m", _MODULE],
                cwd=job.root,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=self._words,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self._tell(job.dump())

    @property
    def code(self) -> int | None:
        """How it ended; None while it is at work."""
        return self._popen.poll()

    def announce_end(self, experiments: Sequence[str]) -> None:
        """Tell it that nothing more is going to happen."""
        self._tell(json.dumps({"experiments": list(experiments)}).encode() + b"\n")

    def _tell(self, line: bytes) -> None:
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):  # it has ended
            self._popen.stdin.write(line)
            self._popen.stdin.flush()

    def end(self) -> list[dict[str, Any]]:
        """End it with all that it has started; return what it has told."""
        end_tree(self.pid)
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        with self._words as words:
            words.seek(0)
            return _lines(words.read())


def _lines(data: bytes) -> list[dict[str, Any]]:
    found = []
    for line in data.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
