"""The process of one tracker: follows a run until the run is over.

Its standard input starts with one line of JSON, a `TrackerJob`. A second line,
``{"experiments": […]}``, announces the end of the run. If the input ends without it, the controller is
gone. Messages for people go to standard output as lines of JSON; all other output goes to a log.
"""

from __future__ import annotations

import json
import os
import select
import threading
import time
from pathlib import Path
from typing import IO, Any

from pytest_exprunner._util.errors import ExprunnerError
from pytest_exprunner._util.processes import end_tree
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.plan import loader
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store.study import Study
from pytest_exprunner.store.tail import Follower
from pytest_exprunner.trackers import registry
from pytest_exprunner.trackers.base import RunEnded
from pytest_exprunner.trackers.dispatch import Dispatcher
from pytest_exprunner.trackers.job import TrackerJob
from pytest_exprunner.trackers.sync import tracker_context

_BETWEEN_LOOKS = 0.2
_ALONE = 6.0  # seconds to finish after the controller is gone
_MAX_WARNINGS = 20
_LONGEST_WARNING = 1_000


class _Messages:
    """Sends messages for people to the controller, each once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._warned: set[str] = set()

    def warn(self, text: str) -> None:
        if text not in self._warned and len(self._warned) < _MAX_WARNINGS:
            self._warned.add(text)
            self.say({"warning": text[:_LONGEST_WARNING]})

    def say(self, value: dict[str, Any]) -> None:
        try:
            self._stream.write(json.dumps(value).encode() + b"\n")
            self._stream.flush()
        except OSError:
            pass  # the controller is gone


def main() -> None:
    """Follow one run."""
    controller = Controller()
    job = TrackerJob(**json.loads(_line_of_input()))
    layout = Layout(Path(job.results_root), job.branch)
    messages = _Messages(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # output of libraries goes to a log
    try:
        plan = loader.load(Path(job.plan_file)).plan
        tracker = registry.load(job.place, Path(job.root))
    except (ExprunnerError, ImportError) as error:
        messages.warn(f"{job.name} received nothing: {error}")
        messages.say({"delivered": 0, "missed": 0})
        return
    feed = Dispatcher(tracker, job.name, plan, layout, messages.warn)
    if not feed.open(tracker_context(plan, layout, job.name, Path(job.root))):
        messages.say({"delivered": 0, "missed": "everything"})
        return
    follower = Follower(layout, job.run)
    experiments = _follow(follower, feed, controller)
    feed.missed += len(follower.unfinished)
    follower.close()
    if experiments is not None and feed.delivered:
        feed.run_ended(lambda: _outcome(job.run, plan, layout, experiments))
    feed.close()
    messages.say({"delivered": feed.delivered, "missed": feed.missed, "place": tracker.place})


class Controller:
    """The controller. Once it is gone, this process ends soon, whatever a tracker is doing."""

    def __init__(self) -> None:
        """Watch the process that started this one."""
        self._pid = os.getppid()
        threading.Thread(target=self._watch, name="leader", daemon=True).start()

    @property
    def is_gone(self) -> bool:
        """Whether this process has another parent now."""
        return os.getppid() != self._pid

    def _watch(self) -> None:
        # Do not use the end of standard input: a process forked by a handler may hold it open.
        while not self.is_gone:
            time.sleep(_BETWEEN_LOOKS)
        time.sleep(_ALONE)
        end_tree(os.getpid())


def _follow(follower: Follower, feed: Dispatcher, controller: Controller) -> list[str] | None:
    """Pass on events until the run is over; return its experiments, or None if the controller is gone."""
    while True:
        has_input = bool(select.select([0], [], [], _BETWEEN_LOOKS)[0])
        line = _line_of_input() if has_input else b""
        over = has_input or controller.is_gone
        for seen in follower.poll():
            feed.take(seen)
        if over:
            return json.loads(line)["experiments"] if line else None


def _line_of_input() -> bytes:
    """Read a line of standard input and nothing beyond it, because `select` does not see buffered data."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def _outcome(run: str, plan: Plan, layout: Layout, experiments: list[str]) -> RunEnded:
    results = Study(plan, layout).results()
    own = [f for e in experiments for f in (layout.results_of(e), layout.findings_of(e))]
    there = tuple(file for file in [*own, layout.findings] if file.is_file())
    return RunEnded(run, results, tuple(experiments), there)


if __name__ == "__main__":
    main()
