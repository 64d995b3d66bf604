"""What a tracker missed, told again from the journals; what it was told for good is left alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_exprunner.following import Seen, follow_attempt
from pytest_exprunner.journal import read_attempts
from pytest_exprunner.layout import Layout
from pytest_exprunner.plan import Plan
from pytest_exprunner.records import AttemptKey
from pytest_exprunner.trackers.base import Opening, Tracker
from pytest_exprunner.trackers.feeding import Feed


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of the stored attempts."""

    told: int
    known: int
    """Attempts that the tracker had been told of before."""
    missed: int


def opening_of(plan: Plan, layout: Layout, name: str, root: Path, *, replaying: bool = False) -> Opening:
    """Return what a tracker is told first."""
    settings = plan.tracking.get(name)
    return Opening(
        project=plan.project.name or "",
        settings=settings if settings is not None else {},
        root=root,
        store=layout.lock_folder / "tracking",
        stub=layout.branch == "stub",
        replaying=replaying,
    )


def sync(
    tracker: Tracker,
    name: str,
    plan: Plan,
    layout: Layout,
    root: Path,
    wanted: Collection[str],
    warn: Callable[[str], None],
) -> Synced:
    """Tell a tracker every stored attempt that it was not told of for good. Nobody else may be at work.

    ``wanted`` are ids of experiments and sub-experiments; empty for all. Safe to repeat: a tracker that
    has some rows of an attempt says how many, and those are not sent again.
    """
    feed = Feed(tracker, name, plan, layout, warn)
    attempts = [
        key
        for key in _stored(plan, layout)
        if not wanted or {key.experiment, key.sub_experiment} & set(wanted)
    ]
    if not feed.open(opening_of(plan, layout, name, root, replaying=True)):
        return Synced(0, 0, len(attempts))
    left = [key for key in attempts if _is_left(feed, key, final=tracker.is_final)]
    for key in left:
        ended = False
        for seen in follow_attempt(layout.attempt(key), key):
            feed.take(seen)
            ended = seen.event is None
        if not ended:  # its process is gone, or somebody would have the lock
            feed.take(Seen(key, None))
    feed.close()
    return Synced(feed.delivered, len(attempts) - len(left), feed.missed)


def _stored(plan: Plan, layout: Layout) -> Iterator[AttemptKey]:
    for experiment in plan.experiments.values():
        for sub, attempts in read_attempts(layout, experiment.id).attempts.items():
            if sub in experiment.sub_experiments:
                yield from (attempt.key for attempt in attempts)


def _is_left(feed: Feed, key: AttemptKey, *, final: bool) -> bool:
    delivery = feed.ledger.of(key)
    return delivery is None or (final and not delivery.final)
