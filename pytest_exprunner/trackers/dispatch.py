"""Calls a tracker's methods from journals; the only place that catches what a tracker raises."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pytest_exprunner._util.serialization import decode, text
from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord
from pytest_exprunner.model.layout import ARTIFACTS, Layout, artifact_prefix
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store.journal import read_attempt
from pytest_exprunner.store.tail import Seen
from pytest_exprunner.trackers.base import (
    AttemptEnded,
    AttemptStarted,
    MetricsLogged,
    ProgressEvent,
    RunEnded,
    StoredArtifact,
    Tracker,
    TrackerContext,
)
from pytest_exprunner.trackers.job import file_name
from pytest_exprunner.trackers.ledger import Delivery, Ledger, name_of

T = TypeVar("T")
_PROGRESS = ("stage", "progress", "track", "evidence")
_PATIENCE = 3
"""After it failed on this many attempts in a row, a tracker receives nothing more."""


class Dispatcher:
    """Passes the events of attempts to one tracker."""

    def __init__(
        self, tracker: Tracker, name: str, plan: Plan, layout: Layout, warn: Callable[[str], None]
    ) -> None:
        """``warn`` receives messages for people; it should show each only once."""
        self._tracker = tracker
        self.name = name
        self.plan = plan
        self.layout = layout
        self._warn = warn
        self.ledger = Ledger(layout, name)
        self.delivered = 0
        self.missed = 0
        self._rows: dict[tuple[str, str, int], tuple[int, int]] = {}
        self._runs: dict[tuple[str, str, int], str] = {}
        self._failed_in_a_row = 0

    def open(self, context: TrackerContext) -> bool:
        """Open the tracker; return whether that succeeded."""
        opened = self._call(lambda: list(self._tracker.open(context)))
        for warning in opened[0] if opened else ():
            self._warn(f"{self.name}: {text(warning)}")
        return bool(opened)

    def take(self, seen: Seen) -> None:
        """Pass on an event of an attempt. Never raises."""
        if not self._call(lambda: self._take(seen)):
            self._give_up(name_of(seen.key))
            self.missed += seen.event is None

    def _take(self, seen: Seen) -> None:
        if self._failed_in_a_row >= _PATIENCE:
            self.missed += seen.event is None
            return
        name = name_of(seen.key)
        if seen.event is None:
            self._ended(seen.key)
        elif seen.event.get("event") == "started":
            self._started(seen.key, seen.event)
        elif name in self._rows and not self._passed_on(seen.key, seen.event):
            self._give_up(name)

    def run_ended(self, event: Callable[[], RunEnded]) -> None:
        """Pass on the results of the run."""
        if self._failed_in_a_row < _PATIENCE:
            self._call(lambda: self._tracker.run_ended(event()))

    def close(self) -> None:
        """Close the tracker."""
        self._call(self._tracker.close)

    def _started(self, key: AttemptKey, event: Mapping[str, Any]) -> None:
        experiment = self.plan.experiments.get(key.experiment)
        sub = experiment.sub_experiments.get(key.sub_experiment) if experiment is not None else None
        if experiment is None or sub is None:
            return  # no longer in the plan
        params, rng_seed = event.get("params"), event.get("rng_seed")
        started = AttemptStarted(
            key=key,
            run=str(event.get("run", "")),
            time=_time(event),
            experiment=experiment,
            sub_experiment=sub,
            gates=self.plan.gates_of(key.experiment),
            params=decode(params) if isinstance(params, dict) else {},
            rng_seed=rng_seed if type(rng_seed) is int else None,
            stub=self.layout.branch == "stub",
        )
        returned = self._call(lambda: self._tracker.attempt_started(started))
        if returned:
            # A tracker that returns no number has no rows.
            self._rows[name_of(key)] = (0, returned[0] if isinstance(returned[0], int) else 0)
            self._runs[name_of(key)] = started.run
        else:
            self._give_up(name_of(key))

    def _passed_on(self, key: AttemptKey, event: Mapping[str, Any]) -> bool:
        kind = event.get("event")
        if kind == "metrics":
            return self._metrics(key, event)
        if kind in _PROGRESS:
            data = {name: decode(value) for name, value in event.items() if name not in ("event", "time")}
            progress = ProgressEvent(key, _time(event), str(kind), data)
            return bool(self._call(lambda: self._tracker.progress_reported(progress)))
        return True

    def _metrics(self, key: AttemptKey, event: Mapping[str, Any]) -> bool:
        row, already_sent = self._rows[name_of(key)]
        self._rows[name_of(key)] = (row + 1, already_sent)
        metrics, step = decode(event.get("metrics")), event.get("step")
        if row < already_sent or not isinstance(metrics, dict):
            return True
        logged = MetricsLogged(key, _time(event), metrics, decode(step) if step is not None else None, row)
        return bool(self._call(lambda: self._tracker.metrics_logged(logged)))

    def _ended(self, key: AttemptKey) -> None:
        name = name_of(key)
        if name not in self._rows:
            self.missed += 1
            return
        rows, _already_sent = self._rows.pop(name)
        run = self._runs.pop(name)
        folder = self.layout.attempt(key)
        record = read_attempt(folder, key)
        ended = AttemptEnded(key, record, tuple(_files(folder, record)), rows, folder)
        place = self._call(lambda: self._tracker.attempt_ended(ended))
        if not place:
            self._give_up(name)
            self.missed += 1
            return
        self._failed_in_a_row = 0
        if place[0] is None:
            return
        try:
            self.ledger.add(key, Delivery(run, text(place[0]), self._tracker.is_final))
        except OSError as error:
            self._warn(f"what {self.name} received could not be recorded: {error.strerror or error}")
        self.delivered += 1

    def _give_up(self, name: tuple[str, str, int]) -> None:
        """Stop sending an attempt that the tracker failed on; sync sends all of it."""
        self._rows.pop(name, None)
        self._failed_in_a_row += 1

    @property
    def _shown_folder(self) -> str:
        return (self.layout.lock_folder / "tracking").relative_to(self.layout.root.parent).as_posix()

    def _call(self, act: Callable[[], T]) -> list[T]:
        """Return the result of a method as the one item of a list; an empty list if it raised."""
        try:
            return [act()]
        except Exception as error:  # noqa: BLE001 - a tracker may raise anything, without effect on the run
            traceback.print_exc(file=sys.stderr)
            detail = text(error).strip()[:500]
            self._warn(
                f"{self.name} failed: {type(error).__name__}{': ' if detail else ''}{detail} "
                f"(more in {file_name(self.name)}.log in {self._shown_folder})"
            )
            return []


def _time(event: Mapping[str, Any]) -> float:
    time = event.get("time")
    return time if isinstance(time, float) else 0.0


def _files(folder: Path, record: AttemptRecord) -> list[StoredArtifact]:
    prefix = artifact_prefix(record.key.sub_experiment, record.key.variant, record.key.seed) + "/"
    names = {artifact.path.removeprefix(prefix): artifact.type for artifact in record.artifacts}
    found = (StoredArtifact(name, folder / ARTIFACTS / name, kind) for name, kind in names.items())
    return [artifact for artifact in found if artifact.file.is_file()]
