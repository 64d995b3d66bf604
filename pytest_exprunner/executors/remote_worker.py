"""The remote worker: connects an engine with pytest on the machine that calls the handlers.

One warm pytest runs one job after the other, each in its own forked process. What an attempt writes
is sent while it grows. The files themselves are the buffer, so a handler never waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest_exprunner
from pytest_exprunner._util.errors import ExecutorError
from pytest_exprunner.executors.base import Answer, Job, Piece, Setup
from pytest_exprunner.executors.content_store import Store, install, listed
from pytest_exprunner.model.layout import EVENTS, LOG, Layout
from pytest_exprunner.store import atomic

_MODULE = "pytest_exprunner.plugin.remote.worker"
_LOOK = 0.1  # seconds between checks for new data
_PIECE = 256 * 1024
_STDERR_TAIL = 2000  # characters
_PATIENCE = 3.0  # seconds to record an interruption
ANSWER = "answer.json"
STOPPED = "stopped.json"
"""The answer of a job that was stopped and has not been started again."""


class Warm:
    """A pytest process that has collected and waits for jobs."""

    def __init__(self, setup: Setup, project: Path) -> None:
        """Start the process."""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in end()
        child_reads, self._writing = os.pipe()
        self._reading, child_writes = os.pipe()
        package = str(Path(pytest_exprunner.__file__).parent.parent)
        path = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        refused = {} if setup.autoload else {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        (project / setup.folder).mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(  # noqa: S603 - fixed arguments, no shell
            [sys.executable, "-m", _MODULE, str(child_reads), str(child_writes)],
            cwd=project / setup.folder,
            env={**os.environ, **refused, "PYTHONPATH": os.pathsep.join(path)},
            pass_fds=(child_reads, child_writes),
            stdin=subprocess.DEVNULL,
            stderr=self._stderr,
        )
        os.close(child_reads)
        os.close(child_writes)
        self._rest = b""
        self.send({**setup.dump(), "project": str(project)})

    def send(self, value: object) -> None:
        """Send a message, as a line of JSON."""
        data = memoryview(json.dumps(value).encode() + b"\n")
        with contextlib.suppress(BrokenPipeError):  # pytest has ended, which `receive` reports
            while data:
                data = data[os.write(self._writing, data) :]

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message, or None after ``seconds``. Raises `ExecutorError` if pytest has ended."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._reading], [], [], max(deadline - time.monotonic(), 0.0))
            if not ready:
                # Forked processes hold the pipe open, so it need not end when pytest ends.
                if self._process.poll() is not None:
                    raise ExecutorError(self._end_message(_ending(self._process.returncode)))
                return None
            piece = os.read(self._reading, 1 << 20)
            if not piece:
                raise ExecutorError(self._end_message(_ending(self._process.wait())))
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def _end_message(self, ending: str) -> str:
        self._stderr.seek(0)
        text = self._stderr.read().decode("utf-8", "replace").strip()
        why = f":\n{text[-_STDERR_TAIL:]}" if text else ""
        return f"pytest ended on the remote worker ({ending}){why}"

    def interrupt(self) -> None:
        """Interrupt the attempt in progress, so that it records the interruption."""
        with contextlib.suppress(OSError):
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Stop the process and release all resources."""
        os.close(self._writing)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE)
        self._process.kill()
        self._process.wait()
        os.close(self._reading)
        self._stderr.close()


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


class _Tail(threading.Thread):
    """Sends what an attempt writes, as it grows. What cannot be sent now is sent later."""

    def __init__(self, folder: Path, send: Callable[[Piece], bool]) -> None:
        super().__init__(name="exprunner-tail", daemon=True)
        self._folder = folder
        self._send = send
        self._sent = {EVENTS: 0, LOG: 0}
        self._start = uuid.uuid4().hex
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_LOOK):
            self._send_new()  # the answer includes what is written after the last pass

    def finish(self) -> None:
        self._over.set()
        self.join(_PATIENCE)

    def _send_new(self) -> None:
        for name, sent in self._sent.items():
            with contextlib.suppress(FileNotFoundError):
                with (self._folder / name).open("rb") as stream:
                    stream.seek(sent)
                    data = stream.read(_PIECE)
                if data and self._send(Piece(name, sent, data, self._start)):
                    self._sent[name] = sent + len(data)


def place_of_answer(run: str, job: Job) -> str:
    """Return the folder in a store that holds the answer of a job."""
    return f"runs/{run}/{job.name}"


class RemoteWorker:
    """Runs the jobs of one run, one at a time."""

    def __init__(self, setup: Setup, project: Path, store: Store) -> None:
        """``project`` is the folder with the uploaded code; ``store`` is shared with the controller."""
        self._setup = setup
        self._project = project
        self._store = store
        self._layout = Layout(project / setup.results, setup.branch)
        self._warm: Warm | None = None

    def run(self, job: Job, send: Callable[[Piece], bool]) -> Answer:
        """Run an attempt. Its files are in the store when this returns or raises.

        A job that was already answered, by a machine preempted as it finished, is not run again. ``send``
        returns whether it could send a piece.
        """
        answer_folder = self._store.folder / place_of_answer(self._setup.run, job)
        if (answer_folder / ANSWER).is_file():
            return Answer.parse(json.loads((answer_folder / ANSWER).read_bytes()))
        folder = self._layout.attempt(job.key)
        # Earlier attempts are in the store. Remove them here, so that they cannot take this one's number.
        shutil.rmtree(folder.parent, ignore_errors=True)
        (answer_folder / STOPPED).unlink(missing_ok=True)
        install(job.files, self._layout.root, self._store.fetch)
        tail = _Tail(folder, send)
        tail.start()
        try:
            answer = self._ask(job)
        except BaseException:
            self._stopped()
            self._publish(answer_folder / STOPPED, Answer(problem="it was stopped"), folder)
            raise
        finally:
            tail.finish()
        return self._publish(answer_folder / ANSWER, answer, folder)

    def _ask(self, job: Job) -> Answer:
        try:
            if self._warm is None:
                self._warm = Warm(self._setup, self._project)
            self._warm.send(job.dump())
            while (found := self._warm.receive(_LOOK)) is None:
                pass
        except ExecutorError as error:
            self.close()
            return Answer(problem=str(error))
        return Answer(reports=found["reports"], problem=found["problem"])

    def _stopped(self) -> None:
        """Make the attempt record the interruption; the next job gets a new pytest."""
        if self._warm is not None:
            self._warm.interrupt()
            with contextlib.suppress(ExecutorError):
                self._warm.receive(_PATIENCE)
            self.close()

    def _publish(self, answered: Path, answer: Answer, folder: Path) -> Answer:
        entries = listed(folder) if folder.is_dir() else []
        self._store.keep(entries, folder)
        answer = Answer(answer.reports, entries, answer.problem)
        answered.parent.mkdir(parents=True, exist_ok=True)
        atomic.replace(answered, json.dumps(answer.dump()).encode())
        return answer

    def close(self) -> None:
        """End pytest."""
        if self._warm is not None:
            self._warm.end()
            self._warm = None
