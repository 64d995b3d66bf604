"""Selected but unfinished items, and incomplete files of killed runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pytest_exprunner.model.layout import ARTIFACTS, Layout
from pytest_exprunner.session.judgment import Slot
from pytest_exprunner.session.run_state import RunProgress
from pytest_exprunner.store import atomic, manifest
from pytest_exprunner.store.study import Study
from pytest_exprunner.verdicts.fold import Pending


def sweep(layout: Layout, study: Study, experiments: Iterable[str], more: Iterable[str | Path]) -> None:
    """Remove incomplete files of killed runs, in ``more`` folders too; no other run holds the lock."""
    manifest.sweep(layout.runs)
    atomic.sweep([layout.base, layout.experiments, layout.state])
    atomic.sweep([layout.runs, *more])
    for experiment in experiments:
        folder = layout.experiment(experiment)
        atomic.sweep([folder])
        atomic.sweep([folder / ARTIFACTS], deep=True)
        attempts = (a for known in study.attempts(experiment).values() for a in known)
        atomic.sweep([layout.attempt(a.key) for a in attempts if a.finished_at is None], deep=True)


def pending_of(
    study: Study, progress: RunProgress, reserved: Mapping[Slot, int], *, resumed: bool
) -> dict[str, list[Pending]]:
    """Return the selected items that have not ended, each with the reason why it is blocked, if any.

    ``reserved`` are the sequence numbers of remote attempts.
    """
    pending: dict[str, list[Pending]] = {}
    for item in progress.selected:
        after = study.last_sequence(item.experiment, item.sub_experiment)
        if item.slot in reserved:
            after = reserved[item.slot] - 1  # the run waits for the attempt that is collected
        blocked = progress.blocked.get(item.slot, "")
        record = Pending(item.sub_experiment, item.variant, item.seed, after, progress.run, blocked, resumed)
        if not progress.is_recorded(study, item):
            pending.setdefault(item.experiment, []).append(record)
    return pending


def mark(study: Study, layout: Layout, run: str, pending: Mapping[str, list[Pending]]) -> None:
    """Record on disk the unfinished items of a run. Raises `OSError`."""
    study.set_pending(run, pending)
    manifest.write(layout.runs, run, pending)


def drop_superseded(study: Study, layout: Layout, progress: RunProgress) -> None:
    """Remove items that ran, or were selected, later from earlier runs' manifests. Raises `OSError`."""
    selected = {(item.experiment, *item.slot) for item in progress.selected}
    for run, pending in list(study.runs.items()):
        if run == progress.run:
            continue
        left = {
            experiment: [
                item
                for item in items
                if (experiment, *item.slot) not in selected and _is_open(study, experiment, item)
            ]
            for experiment, items in pending.items()
        }
        kept = {experiment: items for experiment, items in left.items() if items}
        # A run that reused an attempt for every item before it was killed has nothing pending.
        if left != pending or not kept:
            mark(study, layout, run, kept)


def _is_open(study: Study, experiment: str, item: Pending) -> bool:
    if experiment not in study.plan.experiments:
        return False
    attempts = study.attempts(experiment).get(item.sub_experiment, ())
    return not any(a.key.sequence > item.after and a.key.slot == item.slot[1:] for a in attempts)
