"""The stored study: attempts, manifests and results files of a results folder, folded on demand.

Everything that looks at results, a run or a command, looks through this.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from pytest_exprunner._util.errors import count
from pytest_exprunner.model.attempt import AttemptRecord, Status
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, Results, SubState
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store import manifest, results_fallback, results_file
from pytest_exprunner.store.journal import AttemptLog, read_attempts
from pytest_exprunner.verdicts.fold import (
    NOTHING,
    Fallback,
    Pending,
    fold,
    fold_experiment,
    fold_sub,
    lacking,
)
from pytest_exprunner.verdicts.measurement import Reading


class Study:
    """Reads lazily, folds what changed, and never writes."""

    def __init__(
        self, plan: Plan, layout: Layout, run: str = "", reader: results_file.Reader | None = None
    ) -> None:
        """Look at ``layout`` through the eyes of ``plan``, and of a run if one is going on."""
        self._reader = reader or results_file.Reader()
        self.plan = plan
        self.layout = layout
        self.runs, self.problems = manifest.read(layout.runs)
        self.unreadable = bool(self.problems)
        """Some run's state cannot be read, so nobody knows what it has not finished."""
        self.edits: list[str] = []
        """Results files that people changed since they were written."""
        self._run = run
        self._replayed: set[tuple[object, ...]] = set()
        self._logs: dict[str, AttemptLog] = {}
        self._states: dict[str, ExperimentState] = {}
        self._before: dict[str, Fallback] = {}

    def log(self, experiment: str) -> AttemptLog:
        """Return every attempt of an experiment."""
        if experiment not in self._logs:
            self._logs[experiment] = read_attempts(self.layout, experiment)
        return self._logs[experiment]

    def attempts(self, experiment: str) -> Mapping[str, list[AttemptRecord]]:
        """Return the attempts of an experiment by sub-experiment."""
        return self.log(experiment).attempts

    def add(self, record: AttemptRecord) -> None:
        """Take in an attempt that has just ended."""
        self.log(record.key.experiment).add(record)
        self._forget(record.key.experiment)

    def set_pending(self, run: str, pending: Mapping[str, list[Pending]]) -> None:
        """Take in what a run selected and has not finished."""
        touched = {*self.runs.get(run, {}), *pending}
        before = {experiment: self._open(experiment) for experiment in touched}
        self.runs[run] = dict(pending)
        for experiment in touched:
            if self._open(experiment) != before[experiment]:
                self._forget(experiment)

    def settle(self, experiment: str, slot: tuple[str, str | None, int | None]) -> None:
        """Take in that a stored attempt stands for something that this run selected."""
        self._replayed.add((experiment, *slot))
        self._forget(experiment)

    def _open(self, experiment: str) -> list[Pending]:
        """What is pending and makes a difference: nothing newer has been recorded for it."""
        attempts = self.attempts(experiment)
        return [
            item
            for item in self.pending(experiment)
            if not any(
                a.key.sequence > item.after and a.key.slot == item.slot[1:]
                for a in attempts.get(item.sub_experiment, ())
            )
        ]

    def pending(self, experiment: str) -> list[Pending]:
        """Return what runs selected and have not finished."""
        return [
            item
            for item in manifest.newest(self.runs, experiment)
            if (experiment, *item.slot) not in self._replayed
        ]

    def state(self, experiment: str) -> ExperimentState:
        """Return where an experiment stands."""
        if experiment not in self._states:
            log = self.log(experiment)
            self._states[experiment] = fold_experiment(
                self.plan,
                self.plan.experiments[experiment],
                log.attempts,
                self.pending(experiment),
                self._standing(experiment),
                log.problems,
                self._baselines(experiment),
            )
        return self._states[experiment]

    def _baselines(self, experiment: str) -> list[Reading]:
        """What others have measured that criteria of an experiment compare with."""
        return [
            Reading(current.record)
            for sub in self.plan.compared.get(experiment, ())
            for current in self.sub(sub).currents
            if current.status is Status.COMPLETED
        ]

    def _forget(self, experiment: str) -> None:
        """Fold an experiment anew when it is asked for, and those that compare with it."""
        self._states.pop(experiment, None)
        for other in self.plan.comparing.get(experiment, ()):
            self._states.pop(other, None)

    def sub(self, sub_experiment: str) -> SubState:
        """Return where one sub-experiment stands, without folding its whole experiment."""
        experiment = self.plan.owner(sub_experiment)
        if experiment.id in self._states:
            return self._states[experiment.id].subs[sub_experiment]
        attempts = self.attempts(experiment.id).get(sub_experiment, ())
        waiting = [item for item in self.pending(experiment.id) if item.sub_experiment == sub_experiment]
        before = NOTHING if attempts else self._standing(experiment.id)
        return fold_sub(sub_experiment, experiment, attempts, waiting, before)

    def reread(self, experiments: Collection[str], subs: Collection[str] = ()) -> None:
        """Read again what other processes wrote: manifests, and attempts of experiments or subs."""
        self.runs, _problems = manifest.read(self.layout.runs)
        self._replayed |= manifest.replayed(self.layout.runs, self._run)
        for experiment in experiments:
            self._logs.pop(experiment, None)
            self._forget(experiment)
        for sub_experiment in subs:
            experiment = self.plan.owner(sub_experiment).id
            if experiment in self._logs:
                fresh = read_attempts(self.layout, experiment, [sub_experiment])
                self._logs[experiment].attempts |= fresh.attempts
                self._forget(experiment)

    def _standing(self, experiment: str) -> Fallback:
        """The content of an earlier results file, without what this run has marked or settled itself."""
        before = self._previous(experiment)
        if not self._run:
            return before
        return replace(
            before,
            currents={
                sub: tuple(c for c in currents if not self._is_settled(experiment, c))
                for sub, currents in before.currents.items()
            },
        )

    def _is_settled(self, experiment: str, current: CurrentAttempt) -> bool:
        slot = (experiment, current.sub_experiment, current.variant, current.seed)
        return current.attempt is None and (current.record.run == self._run or slot in self._replayed)

    def _previous(self, experiment: str) -> Fallback:
        if experiment not in self._before:
            stored = self._reader.load(self.layout.results_of(experiment))
            if stored.problem:
                self.problems.append(f"{self._shown(experiment)} cannot be used: {stored.problem}")
            elif stored.ours and not stored.intact:
                self.edits.append(
                    f"{self._shown(experiment)} was edited by hand or truncated: the attempt records count, "
                    "and what only this file has is treated as imported; 'exprunner report' keeps a copy "
                    "and rewrites it"
                )
            before = results_fallback.read_fallback(stored) if stored.value else NOTHING
            self._before[experiment] = before
            missing = lacking(self.attempts(experiment), before)
            if missing:
                number, verb = count(missing, "attempt"), "is" if missing == 1 else "are"
                self.edits.append(
                    f"{self._shown(experiment)} lists {number} that {verb} not on disk; "
                    "it is used in place of what is missing"
                )
        return self._before[experiment]

    def _shown(self, experiment: str) -> str:
        return self.layout.results_of(experiment).relative_to(self.layout.root.parent).as_posix()

    def last_sequence(self, experiment: str, sub_experiment: str) -> int:
        """Return the highest number that an attempt ever had, also one whose folder is missing."""
        past = self._previous(experiment).history.get(sub_experiment, ())
        on_disk = self.log(experiment).last_sequence(sub_experiment)
        return max([on_disk, *(attempt.key.sequence for attempt in past)])

    def results(self) -> Results:
        """Return the whole study."""
        states = {experiment: self.state(experiment) for experiment in self.plan.experiments}
        return fold(self.plan, states, stub=self.layout.branch == "stub")
