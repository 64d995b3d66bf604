"""A tracker for tests: writes down what it is told, and fails where it is asked to."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pytest_exprunner import Tracker
from pytest_exprunner.trackers.base import (
    AttemptEnded,
    AttemptStarted,
    MetricsLogged,
    ProgressEvent,
    RunEnded,
    TrackerContext,
)


class Recording(Tracker):
    """Appends a line of JSON per call to ``told.jsonl``; ``TRACKER_FAILS`` names the method that fails."""

    def _write(self, method: str, event: Any = None, **more: Any) -> None:
        names = [field.name for field in fields(event)] if event is not None else []
        plain = {name: getattr(event, name) for name in names}
        plain |= {name: dict(value) for name, value in plain.items() if isinstance(value, Mapping)}
        line = json.dumps({"call": method, **plain, **more}, default=str)
        with Path("told.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        failing, _, how = os.environ.get("TRACKER_FAILS", "").partition(":")
        if failing == method:
            self._fail(how)

    def _fail(self, how: str) -> None:
        if how == "exit":
            os._exit(3)
        if how == "kill":
            os.kill(os.getpid(), 9)
        if how == "hang":
            time.sleep(600)
        if how == "quit":
            raise SystemExit(0)
        if how == "full":
            raise OSError(28, os.strerror(28))
        raise RuntimeError("the tracker is broken")

    def open(self, context: TrackerContext) -> Sequence[str]:
        """Write it down."""
        self._write("open", context)
        return ["mind the gap"] if os.environ.get("TRACKER_WARNS") else []

    def attempt_started(self, event: AttemptStarted) -> int:
        """Write it down; say how many rows were taken before, where that is asked for."""
        self._write("attempt_started", event)
        return int(os.environ.get("TRACKER_KNOWS", "0"))

    def metrics_logged(self, event: MetricsLogged) -> None:
        """Write it down."""
        self._write("metrics_logged", event)

    def progress_reported(self, event: ProgressEvent) -> None:
        """Write it down."""
        self._write("progress_reported", event)

    def attempt_ended(self, event: AttemptEnded) -> str:
        """Write it down."""
        self._write("attempt_ended", event, names=[artifact.name for artifact in event.artifacts])
        return "told.jsonl"

    def run_ended(self, event: RunEnded) -> None:
        """Write it down."""
        self._write("run_ended", event)

    def close(self) -> None:
        """Write it down."""
        self._write("close")
