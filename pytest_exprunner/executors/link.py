"""The protocol between a remote worker and its pytest: lines of JSON through two pipes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_exprunner.executors.base import PROJECT, Job, Setup
from pytest_exprunner.model.selection import SharedRun
from pytest_exprunner.provenance import environment


class LinePipe:
    """A pair of pipes to the remote worker; each message is a line of JSON."""

    def __init__(self, reading: int, writing: int) -> None:
        """Take the descriptors of the pipes and read the first message, the setup."""
        for descriptor in (reading, writing):
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional-only
        self._lines = os.fdopen(reading, "rb")
        self._writing = writing
        found = json.loads(self._lines.readline())
        self.project = Path(found.pop("project"))
        self.setup = Setup.parse(_placed(found, f"{self.project}/"))

    def jobs(self) -> Iterator[Job]:
        """Yield jobs until the pipe is closed."""
        for line in self._lines:
            yield Job.parse(json.loads(line))

    def answer(self, reports: list[Any], problem: str = "") -> None:
        """Send the answer to the job that was yielded last."""
        value = {"reports": reports, "problem": problem}
        data = memoryview(json.dumps(value, default=str).encode("utf-8", "backslashreplace") + b"\n")
        while data:
            data = data[os.write(self._writing, data) :]

    def shared_run(self) -> SharedRun:
        """Return the run with this machine's environment and the controller's provenance."""
        return SharedRun(self.setup.run, {**environment.capture(self.project), **self.setup.provenance})


def _placed(value: Any, project: str) -> Any:
    """Replace the placeholder with the project's folder."""
    if isinstance(value, str):
        return value.replace(PROJECT, project) if value.startswith(PROJECT) else value
    if isinstance(value, list):
        return [_placed(item, project) for item in value]
    if isinstance(value, dict):
        return {key: _placed(item, project) for key, item in value.items()}
    return value
