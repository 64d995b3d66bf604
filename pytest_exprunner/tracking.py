"""The trackers of a run: a process for each, started with the run and waited for at its end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_exprunner.errors import count
from pytest_exprunner.layout import Layout
from pytest_exprunner.processes import end_tree
from pytest_exprunner.trackers.job import Job

_MODULE = "pytest_exprunner.trackers.following"


class Trackers:
    """Started and ended by the process that leads a run. Nothing that becomes of them changes a result."""

    def __init__(self, places: Mapping[str, str], plan_file: Path, root: Path, layout: Layout) -> None:
        """``places`` are the classes by the names that people gave."""
        self._places = places
        self._plan_file = plan_file
        self._root = root
        self._layout = layout
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.notes: list[str] = []

    @property
    def pids(self) -> list[int]:
        """The processes that are at work."""
        return [process.pid for process in self._processes.values()]

    def start(self, run: str) -> None:
        """Start following a run. Never raises: a tracker that cannot start is noted."""
        for name, place in self._places.items():
            job = Job(
                name,
                place,
                str(self._plan_file),
                str(self._root),
                str(self._layout.root),
                self._layout.branch,
                run,
            )
            try:
                self._processes[name] = process = _started(self._root)
                assert process.stdin is not None
                process.stdin.write(job.dump())
                process.stdin.flush()
            except OSError as error:
                self.notes.append(f"{name} could not be started: {error.strerror or error}")

    def finish(self, touched: Sequence[str], patience: float) -> None:
        """Say that the run is over, and wait for what is left to be told, ``patience`` seconds for all."""
        deadline = time.monotonic() + patience
        over = json.dumps({"touched": list(touched)}).encode() + b"\n"
        for process in self._processes.values():
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.write(over)
                process.stdin.flush()
        for name, process in self._processes.items():
            self._end(name, process, max(deadline - time.monotonic(), 0.0), patience)
        self._processes.clear()

    def _end(self, name: str, process: subprocess.Popen[bytes], left: float, patience: float) -> None:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            process.wait(left)
        except subprocess.TimeoutExpired:
            self.notes.append(
                f"{name} was not done {patience:g} s after the run and was ended; "
                f"'exprunner sync --tracker {name}' tells it the rest"
            )
            end_tree(process.pid)
            process.wait()
        told = _lines(process.stdout.read())
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream.close()
        self.notes += [str(line["warning"]) for line in told if "warning" in line]
        last = next((line for line in told if "missed" in line), None)
        if last is None and not self.notes:
            self.notes.append(
                f"{name} ended before it was done ({_ending(process.returncode)}); "
                f"'exprunner sync --tracker {name}' tells it the rest"
            )
        elif last is not None and last["missed"] == "everything":
            self.notes.append(
                f"{name} was told nothing; 'exprunner sync --tracker {name}' tells it what it missed"
            )
        elif last is not None and last["missed"]:
            self.notes.append(
                f"{name} missed {count(last['missed'], 'attempt')}; "
                f"'exprunner sync --tracker {name}' tells it what it missed"
            )


def _started(root: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    path = os.pathsep.join(filter(None, [str(root), environment.get("PYTHONPATH")]))
    return subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
        [sys.executable, "-m", _MODULE],
        cwd=root,
        env={**environment, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C is for the run, which then says that it is over
    )


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
