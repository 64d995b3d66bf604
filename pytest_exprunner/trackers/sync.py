"""Sends a tracker the stored attempts that it missed; skips those with a final delivery."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path

from pytest_exprunner.model.attempt import AttemptRecord
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store.journal import read_attempts
from pytest_exprunner.store.tail import Seen, follow_attempt
from pytest_exprunner.trackers.base import Tracker, TrackerContext
from pytest_exprunner.trackers.dispatch import Dispatcher
from pytest_exprunner.trackers.job import file_name


@dataclass(frozen=True, slots=True)
class Synced:
    """Numbers of stored attempts, by what a sync did with them."""

    told: int
    known: int
    """Attempts that were delivered before."""
    waiting: int
    """Attempts among all these that are kept locally until a server can be reached."""
    missed: int


def tracker_context(
    plan: Plan, layout: Layout, name: str, root: Path, *, replaying: bool = False
) -> TrackerContext:
    """Return the context that a tracker is opened with."""
    return TrackerContext(
        project=plan.project.name or "",
        settings=plan.tracking.of(name),
        root=root,
        store=layout.lock_folder / "tracking",
        stub=layout.branch == "stub",
        replaying=replaying,
    )


def used_before(plan: Plan, layout: Layout) -> list[str]:
    """Return the trackers that were used before; only ``wandb`` and those with settings in the plan."""
    asked = ["wandb", *(plan.tracking.model_extra or {})]
    folder = layout.lock_folder / "tracking"
    return [name for name in asked if any(folder.glob(f"{file_name(name)}.*"))]


def sync(
    tracker: Tracker,
    name: str,
    plan: Plan,
    layout: Layout,
    root: Path,
    wanted: Collection[str],
    warn: Callable[[str], None],
) -> Synced:
    """Send a tracker every stored attempt without a final delivery. No run may be in progress.

    ``wanted`` are ids of experiments and sub-experiments; empty for all. Safe to repeat: a tracker that
    has some rows of an attempt returns how many, and those are not sent again.
    """
    folder = layout.lock_folder / "tracking"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{file_name(name)}.log").open("a", encoding="utf-8") as log, redirect_stderr(log):
        return _sync(Dispatcher(tracker, name, plan, layout, warn), tracker, root, wanted)


def _sync(feed: Dispatcher, tracker: Tracker, root: Path, wanted: Collection[str]) -> Synced:
    plan, layout, name = feed.plan, feed.layout, feed.name
    ids = set(wanted)
    stored = [a for a in _stored(plan, layout) if not ids or {a.key.experiment, a.key.sub_experiment} & ids]
    if not feed.open(tracker_context(plan, layout, name, root, replaying=True)):
        return Synced(0, 0, 0, len(stored))
    unsent = [a for a in stored if _is_unsent(feed, a, final=tracker.is_final)]
    for attempt in unsent:
        ended = False
        for seen in follow_attempt(layout.attempt(attempt.key), attempt):
            feed.take(seen)
            ended = seen.event is None
        if not ended:  # its process is gone, because the caller holds the lock
            feed.take(Seen(attempt.key, None))
    feed.close()
    deliveries = [feed.ledger.of(attempt.key, attempt.run) for attempt in stored]
    waiting = sum(delivery is not None and not delivery.final for delivery in deliveries)
    return Synced(feed.delivered, len(stored) - len(unsent), waiting, feed.missed)


def _stored(plan: Plan, layout: Layout) -> Iterator[AttemptRecord]:
    for experiment in plan.experiments.values():
        for sub, attempts in read_attempts(layout, experiment.id).attempts.items():
            if sub in experiment.sub_experiments:
                # An attempt without a run was killed before it wrote anything.
                yield from (attempt for attempt in attempts if attempt.run)


def _is_unsent(feed: Dispatcher, attempt: AttemptRecord, *, final: bool) -> bool:
    delivery = feed.ledger.of(attempt.key, attempt.run)
    return delivery is None or (final and not delivery.final)
