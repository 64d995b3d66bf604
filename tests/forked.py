"""Python processes of tests, forked from one that has imported what every run imports.

Starting ``python -m pytest`` takes longer than the runs of most tests do, and nearly all of that is imports.
Here one process has them done: asked for ``python -m MODULE ARGUMENTS``, it forks, and the child takes the
folder, the environment and the outputs that it is given, runs the module as ``python -m`` does, and ends
as any interpreter ends. What an interpreter reads at its start (``PYTHONUTF8``, the locale) cannot be given
to a child: `Nursery.fits` tells, and such a process is started in the ordinary way.

All children of one nursery have its hash seed: sets have the same order in every one of them. Where a test is
about files that are written again byte for byte, a process that is started anew has to write them:
``Study(…, forked=False)``, or an environment with ``PYTHONHASHSEED``, as `study_folder.ANEW` is.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

_STARTING = ("PYTHON", "LC_", "LANG")
_MAX_REQUEST = 1 << 20


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what an interpreter reads once, when it starts."""
    return {name: value for name, value in environment.items() if name.startswith(_STARTING)}


class Nursery:
    """The process that forks, as the tests of one process see it; it ends when they do."""

    def __init__(self) -> None:
        """Start it with the environment of this process, writing no bytecode."""
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        self._given = _read_at_start(environment)
        self._asking = threading.Lock()
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(other.fileno())],
                env=environment,
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def fits(self, command: Sequence[str], environment: Mapping[str, str]) -> bool:
        """Return whether a child can be what such a command would be.

        A pytest that loads whatever plugins are installed rewrites their modules, which are imported here.
        """
        if list(command[:2]) != [sys.executable, "-m"] or _read_at_start(environment) != self._given:
            return False
        return command[2] != "pytest" or bool(environment.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"))

    def run(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as `subprocess.run` does, its output read to the end as UTF-8, or refused."""
        with self._asking, contextlib.ExitStack() as open_files:
            ends = [os.pipe(), os.pipe()]
            readers = [_Reader(open_files.enter_context(os.fdopen(end, "rb"))) for end, _other in ends]
            request = {"command": command[2:], "cwd": str(cwd), "environment": dict(environment)}
            socket.send_fds(self._socket, [json.dumps(request).encode()], [other for _end, other in ends])
            for _end, other in ends:
                os.close(other)
            pid = int(self._socket.recv(64))
            deadline = time.monotonic() + timeout
            for reader in readers:
                reader.join(max(deadline - time.monotonic(), 0))
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                code = int(self._socket.recv(64))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._socket.settimeout(None)
                self._socket.recv(64)
                raise subprocess.TimeoutExpired(list(command), timeout) from None
            finally:
                self._socket.settimeout(None)
            if any(reader.is_alive() for reader in readers):  # what it left behind holds its output
                raise subprocess.TimeoutExpired(list(command), timeout)
            texts = [reader.content.decode("utf-8") for reader in readers]
            out, err = (text.replace("\r\n", "\n").replace("\r", "\n") for text in texts)
        return subprocess.CompletedProcess(list(command), code, out, err)


class _Reader(threading.Thread):
    """Reads a stream to its end."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self.content = b""
        self.start()

    def run(self) -> None:
        """Read."""
        with contextlib.suppress(ValueError, OSError):  # closed meanwhile, because time is up
            self.content = self._stream.read()


def serve(asked: socket.socket) -> list[str]:
    """Fork whenever asked to. In the parent this ends with the tests; in a child it returns what to run."""
    while True:
        message, given, _flags, _address = socket.recv_fds(asked, _MAX_REQUEST, 2)
        if not message:
            os._exit(0)
        pid = os.fork()
        if not pid:
            asked.close()
            return _become(json.loads(message), given)
        for descriptor in given:
            os.close(descriptor)
        asked.send(str(pid).encode())
        _pid, status = os.waitpid(pid, 0)
        asked.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(request: Mapping[str, object], given: Sequence[int]) -> list[str]:
    for number, descriptor in enumerate(given, 1):
        os.dup2(descriptor, number)
        os.close(descriptor)
    cwd, environment, command = request["cwd"], request["environment"], request["command"]
    assert isinstance(cwd, str)
    assert isinstance(environment, dict)
    assert isinstance(command, list)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    random.seed()
    tempfile.tempdir = None
    sys.path[0] = cwd
    return command


def main() -> None:
    """Import what every run imports, then fork; in a child, run what was asked for."""
    import pytest  # noqa: F401

    from pytest_exprunner.plan import loader

    # pydantic builds its validators where they are used first.
    loader.parse(b"experiments: {x1: {sub_experiments: [e_1]}}", "none")
    gc.freeze()
    module, *arguments = serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
