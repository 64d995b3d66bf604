"""The trackers of a run: one process each, started with the run and awaited at its end."""

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
_UNNOTICED = 3.0  # seconds of waiting without a message
_BETWEEN_LOOKS = 0.01


class Trackers:
    """Starts and stops the trackers in the controller. Their failures change no result."""

    def __init__(self, places: Mapping[str, str], plan_file: Path, root: Path, layout: Layout) -> None:
        """``places`` maps the names that people gave to the import paths of classes."""
        self._places = places
        self._plan_file = plan_file
        self._root = root
        self._layout = layout
        self._processes: dict[str, _Process] = {}
        self.notes: list[str] = []
        self.told: list[str] = []
        """Sentences about what was delivered, and where it is."""

    @property
    def pids(self) -> list[int]:
        """The ids of the running processes."""
        return [process.pid for process in self._processes.values()]

    def start(self, run: str) -> None:
        """Start following a run. Never raises: `notes` names a tracker that cannot start."""
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
        """Announce the end of the run, and wait up to ``patience`` seconds for all trackers together.

        Ctrl-C ends the wait, not the run, which has finished.
        """
        deadline = time.monotonic() + patience
        for process in self._processes.values():
            process.announce_end(experiments)
        try:
            self._wait(min(_UNNOTICED, patience))
            unfinished = ", ".join(name for name, process in self._processes.items() if process.code is None)
            if unfinished and patience > _UNNOTICED:
                say(f"waiting up to {patience:g} s for {unfinished} (Ctrl-C stops waiting)")
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
        messages = process.end()
        sync = f"'exprunner sync --tracker {name}'"
        self.notes += [f"{line['warning']}" for line in messages if "warning" in line]
        last = next((line for line in messages if "missed" in line), None)
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
    """The process of one tracker, in its own session, so that Ctrl-C reaches only the run."""

    def __init__(self, job: TrackerJob, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # A file, not a pipe: it need not be read meanwhile, and no process can hold it open.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        with (folder / f"{file_name(job.name)}.log").open("wb") as log:
            self._popen = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
                # -P: modules in the current folder may have any names.
                [sys.executable, "-P", "-m", _MODULE],
                cwd=job.root,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.PIPE,
                stdout=self._output,
                stderr=log,
                start_new_session=True,
            )
        self.pid = self._popen.pid
        self._send(job.dump())

    @property
    def code(self) -> int | None:
        """The exit code, or None while the process runs."""
        return self._popen.poll()

    def announce_end(self, experiments: Sequence[str]) -> None:
        """Announce the end of the run."""
        self._send(json.dumps({"experiments": list(experiments)}).encode() + b"\n")

    def _send(self, line: bytes) -> None:
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):  # the process has ended
            self._popen.stdin.write(line)
            self._popen.stdin.flush()

    def end(self) -> list[dict[str, Any]]:
        """Stop the process with all that it started; return its messages."""
        end_tree(self.pid)
        with contextlib.suppress(OSError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.close()
        with self._output as output:
            output.seek(0)
            return _lines(output.read())


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
