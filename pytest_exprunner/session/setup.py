"""Prepares a run: checks the machine, locks the study, marks the selected items."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from pytest_exprunner._util.errors import ResourceError, ResultsError, count, os_reason
from pytest_exprunner.model.attempt import Status
from pytest_exprunner.model.selection import Selected, SharedRun
from pytest_exprunner.provenance import environment
from pytest_exprunner.session import unfinished
from pytest_exprunner.session.run_state import RunProgress
from pytest_exprunner.session.state import RunState
from pytest_exprunner.store import atomic
from pytest_exprunner.store.study import Study


class RunSetup:
    """Prepares a run before any handler is called."""

    def __init__(self, state: RunState) -> None:
        """``state`` is shared by all phases of the run."""
        self._state = state

    def start(
        self,
        selected: Sequence[Selected],
        complete: Iterable[str],
        uncollected: Mapping[str, str] | None = None,
        *,
        reused: bool = False,
    ) -> None:
        """Mark the selected items as in progress, on disk. Raises `ResultsError` if that fails.

        ``complete`` are the experiments with every planned sub-experiment selected; ``uncollected`` maps
        handlers that should have been collected to their places; ``reused`` if all selected items reuse a
        stored attempt, so that results do not change.
        """
        uncollected = uncollected or {}
        wanted = {item.experiment for item in selected} | {
            self._state.plan.owner(sub).id for sub in uncollected
        }
        complete = frozenset(complete)
        self._state.progress = RunProgress(
            self._state.run,
            selected=selected,
            complete=complete,
            uncollected=uncollected,
            experiments=tuple(e for e in self._state.plan.experiments if e in wanted or e in complete),
            by_node={item.nodeid: item for item in selected},
        )
        self._refuse_missing_gpus(selected)
        try:
            self._state.publication.publisher.prepare()
            self.share()
            reused = not self._take_lock() and reused
            unfinished.sweep(
                self._state.layout,
                self._state.study,
                self._state.progress.experiments,
                self._state.inputs.folders,
            )
            for experiment in self._state.progress.experiments:
                self._state.layout.experiment(experiment).mkdir(parents=True, exist_ok=True)
            unfinished.mark(self._state.study, self._state.layout, self._state.run, self._state.pending())
            # Only existing results could be mistaken for results of this run.
            stale = [e for e in self._state.progress.experiments if self._state.layout.results_of(e).exists()]
            if stale and not reused:
                self._state.publication.now(self._state.study, stale, durable=False)
        except OSError as error:
            self._state.lock.release()
            raise ResultsError(
                f"the results folder {self._state.layout.root} cannot be written: {os_reason(error)}; "
                "expected a folder that this user can write to (--exp-results)"
            ) from error
        self._state.started = True
        self._state.trackers.start(self._state.run)

    def _refuse_missing_gpus(self, selected: Sequence[Selected]) -> None:
        devices = self._state.settings.devices
        here = not (self._state.settings.stub or self._state.settings.executor == "modal")
        for item in selected if here else ():
            if self._state.gpus(item) > len(devices):
                has = "there is 1" if len(devices) == 1 else f"there are {len(devices)}"
                names = f" ({', '.join(devices)})" if devices else ""
                raise ResourceError(
                    f"{item.sub_experiment} needs {count(self._state.gpus(item), 'GPU')} to itself, "
                    f"and {has}{names}; leave it out with -k, run where there are enough, "
                    "or name devices: --exp-devices 0,1"
                )

    def _take_lock(self) -> bool:
        """Return whether another run held the lock, so that the study must be read again."""
        waited = self._state.lock.acquire(
            self._state.run,
            self._state.settings.lock_timeout,
            self._state.settings.shown(self._state.layout.root),
        )
        if waited:
            self._state.study = Study(
                self._state.plan, self._state.layout, self._state.run, self._state.reader
            )
        return waited

    def share(self) -> SharedRun:
        """Return the data of this run that workers need."""
        if not self._state.provenance:
            self._state.provenance = environment.capture(
                self._state.settings.project_root, self._state.layout.root
            )
            self._keep_diff()
        return SharedRun(self._state.run, self._state.provenance)

    def _keep_diff(self) -> None:
        """Store the diff between the code and its commit; attempts refer to it."""
        text = (
            environment.diff(self._state.settings.project_root) if self._state.provenance.get("dirty") else ""
        )
        if text:
            data = text.encode("utf-8", "surrogateescape")
            name = hashlib.sha256(data).hexdigest()[:16]
            file = self._state.layout.state / "diffs" / f"{name}.diff"
            with self._state.noting("the diff between the code and its commit could not be kept"):
                file.parent.mkdir(parents=True, exist_ok=True)
                atomic.replace(file, data)
                self._state.provenance = {**self._state.provenance, "diff": name}

    def snapshot(self) -> None:
        """Record the handlers' code as it is right after its import."""
        if not self._state.settings.stub:
            self._state.inputs.snapshot()

    def durations(self, selected: Sequence[Selected]) -> list[float]:
        """Return the duration of each item's last completed attempt in seconds, or 0 if there is none."""
        found = []
        for item in selected:
            known = self._state.study.attempts(item.experiment).get(item.sub_experiment, ())
            own = [a for a in known if a.key.slot == item.slot[1:] and a.status is Status.COMPLETED]
            found.append(own[-1].duration_s or 0.0 if own else 0.0)
        return found
