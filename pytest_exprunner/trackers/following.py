"""The process of one tracker: it follows a run until it is told that the run is over.

It is started with one line of JSON on its standard input, a `Job`; a second line, ``{"touched": […]}``,
says that the run is over. Where the input ends without it, who leads the run is gone. What people should
know is told in lines of JSON on its standard output; anything else that is printed goes into a log.
"""

from __future__ import annotations

import json
import os
import select
import threading
from pathlib import Path
from typing import IO, Any

from pytest_exprunner import plan_file
from pytest_exprunner.errors import ExprunnerError
from pytest_exprunner.following import Follower
from pytest_exprunner.layout import Layout
from pytest_exprunner.plan import Plan
from pytest_exprunner.study import Study
from pytest_exprunner.trackers import registry
from pytest_exprunner.trackers.base import RunEnded
from pytest_exprunner.trackers.feeding import Feed
from pytest_exprunner.trackers.job import Job
from pytest_exprunner.trackers.syncing import opening_of

_BETWEEN_LOOKS = 0.2
_ALONE = 6.0  # seconds to end by itself where the run that it follows is gone
_MOST_WARNINGS = 20


class _Words:
    """Tells the run what people should know, each thing once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._said: set[str] = set()

    def warn(self, text: str) -> None:
        if text not in self._said and len(self._said) < _MOST_WARNINGS:
            self._said.add(text)
            self.say({"warning": text})

    def say(self, value: dict[str, Any]) -> None:
        try:
            self._stream.write(json.dumps(value).encode() + b"\n")
            self._stream.flush()
        except OSError:
            pass  # nobody listens any more


def main() -> None:
    """Follow one run."""
    job = Job(**json.loads(_line_of_input()))
    layout = Layout(Path(job.results_root), job.branch)
    words = _Words(_own_output(layout, job.name))
    try:
        plan = plan_file.load(Path(job.plan_file)).plan
        tracker = registry.load(job.place)
    except (ExprunnerError, ImportError) as error:
        words.warn(f"{job.name} was told nothing: {error}")
        words.say({"delivered": 0, "missed": 0})
        return
    feed = Feed(tracker, job.name, plan, layout, words.warn)
    if not feed.open(opening_of(plan, layout, job.name, Path(job.root))):
        words.say({"delivered": 0, "missed": "everything"})
        return
    follower = Follower(layout, job.run)
    touched = _follow(follower, feed)
    feed.missed += len(follower.unfinished)
    follower.close()
    if touched is not None and feed.delivered:
        feed.run_ended(_outcome(job.run, plan, layout, touched))
    feed.close()
    words.say({"delivered": feed.delivered, "missed": feed.missed})


def _follow(follower: Follower, feed: Feed) -> list[str] | None:
    """Pass on what is read until the run is over; return what it was about, or None if it is gone."""
    while True:
        over = bool(select.select([0], [], [], _BETWEEN_LOOKS)[0])
        line = _line_of_input() if over else b""
        if over and not line:
            _end_soon()
        for seen in follower.poll():
            feed.take(seen)
        if over:
            return json.loads(line)["touched"] if line else None


def _line_of_input() -> bytes:
    """Read a line of standard input and nothing beyond it: what is in a buffer, nobody can wait for."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(0, 1)):
        line += byte
    return line


def _end_soon() -> None:
    timer = threading.Timer(_ALONE, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _outcome(run: str, plan: Plan, layout: Layout, touched: list[str]) -> RunEnded:
    results = Study(plan, layout).results()
    own = [f for e in touched for f in (layout.results_of(e), layout.findings_of(e))]
    there = tuple(file for file in [*own, layout.findings] if file.is_file())
    return RunEnded(run, results, tuple(touched), there)


def _own_output(layout: Layout, name: str) -> IO[bytes]:
    """Return standard output for words alone; what libraries print goes into a log."""
    words = os.fdopen(os.dup(1), "wb")
    folder = layout.lock_folder / "tracking"
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / f"{registry.file_name(name)}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(log, 1)
    os.dup2(log, 2)
    return words


if __name__ == "__main__":
    main()
