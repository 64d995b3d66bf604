"""Starts attempts while items run, and records their outcomes, including crashes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_exprunner.diagnosis.match import diagnose
from pytest_exprunner.execution.attempt import Attempt
from pytest_exprunner.execution.specs import EXPLORATORY, unplanned
from pytest_exprunner.model.attempt import (
    AttemptKey,
    AttemptRecord,
    Failure,
    Hint,
    dump_record,
    parse_record,
)
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.provenance import environment
from pytest_exprunner.report.hints import hint_lines
from pytest_exprunner.session.judgment import (
    Assertion,
    Outcome,
    assertion,
)
from pytest_exprunner.session.state import RunState
from pytest_exprunner.store import journal, manifest
from pytest_exprunner.store.tail import announce
from pytest_exprunner.verdicts.criteria import evaluate_alone
from pytest_exprunner.verdicts.measurement import Reading

_LAST_LINES = 10


class Attempts:
    """Starts and records the attempts of one run."""

    def __init__(self, state: RunState) -> None:
        """``state`` is shared by all phases of the run."""
        self._state = state
        self._latest: Attempt | None = None

    def begin(self, item: Selected, params: Mapping[str, Any], watch: Callable[[str], None]) -> Attempt:
        """Start an attempt; it is recorded on disk before any of its code runs."""
        experiment = self._state.plan.experiments[item.experiment]
        after = self._state.last_sequence(item)
        needs = self._state.upstream(experiment.sub_experiments[item.sub_experiment], item.seed)
        inputs = self._state.inputs.of(experiment.sub_experiments[item.sub_experiment], params)
        self._state.inputs.keep(inputs)
        spec = self._state.specs.of(item, experiment, self._state.provenance, needs.used(), inputs)
        self._latest = Attempt(self._state.layout, spec, experiment, params, watch, needs, after)
        return self._latest

    def begin_exploratory(
        self, item: Selected, params: Mapping[str, Any], watch: Callable[[str], None]
    ) -> Attempt:
        """Start an attempt that is not in the plan: recorded separately, never judged."""
        layout = Layout(self._state.settings.results_root, EXPLORATORY)
        if not self._state.provenance:
            self._state.publication.publisher.prepare()
            self._state.provenance = environment.capture(
                self._state.settings.project_root, self._state.layout.root
            )
        experiment = unplanned(item)
        needs = self._state.upstream(experiment.sub_experiments[item.sub_experiment])
        spec = self._state.specs.of(item, experiment, self._state.provenance)
        return Attempt(layout, spec, experiment, params, watch, needs)

    def assign(self, key: AttemptKey) -> None:
        """Set, on a remote worker, the sequence number of the attempt to run."""
        self._state.assigned[key.sub_experiment, key.variant, key.seed] = key.sequence - 1
        self._state.study.reread(
            (), self._state.plan.experiments[key.experiment].sub_experiments[key.sub_experiment].needs
        )

    def reserve(self, item: Selected) -> tuple[AttemptKey, list[Path]]:
        """Reserve the sequence number of a remote attempt; return its key and the files that it reads."""
        _folder, sequence = journal.take_next(
            self._state.layout, item.experiment, item.sub_experiment, self._state.last_sequence(item)
        )
        key = AttemptKey(item.experiment, item.sub_experiment, sequence, item.variant, item.seed)
        announce(self._state.layout, self._state.run, key)
        self._state.reserved[item.slot] = sequence
        sub = self._state.plan.experiments[item.experiment].sub_experiments[item.sub_experiment]
        self._state.inputs.keep(self._state.inputs.of(sub, {}))  # the uploaded code is the current one
        return key, list(self._state.upstream(sub).files())

    def collected(self, item: Selected) -> None:
        """Read an item's attempts again after the files of a remote attempt have been fetched."""
        self._state.study.reread((), [item.sub_experiment])

    def blocked(self, nodeid: str, reason: str) -> None:
        """Record that an item was blocked, whichever process decided it."""
        item = self._state.progress.by_node.get(nodeid)
        if item is not None:
            self._state.progress.blocked[item.slot] = reason

    def note_reused(self, item: Selected) -> None:
        """Record on disk, for every process of the run, that a stored attempt is reused."""
        manifest.note_replayed(self._state.layout.runs, self._state.run, item.experiment, item.slot)

    def reused(self, nodeid: str, sequence: int, outcome: Outcome) -> None:
        """Record that an item reuses a stored attempt, whichever process decided it."""
        item = self._state.progress.by_node[nodeid]
        known = self._state.study.attempts(item.experiment)[item.sub_experiment]
        self._state.progress.outcomes[nodeid] = outcome
        self._state.progress.reused[item.slot] = next(a for a in known if a.key.sequence == sequence)
        self._state.study.settle(item.experiment, item.slot)

    def record(self, text: str, outcome: Outcome) -> None:
        """Store the record that came with an item's report; publish results at intervals."""
        record = self._own_record(text) or parse_record(text)
        self._state.progress.outcomes[record.nodeid] = outcome
        if record.key.experiment not in self._state.plan.experiments:
            return
        self._state.study.add(record)
        self._state.publication.later(self._state.study, record.key.experiment)

    def _own_record(self, text: str) -> AttemptRecord | None:
        """Return the record that this process has just written as ``text``, if it is the latest."""
        latest = self._latest
        return latest.record if latest is not None and latest.published == text else None

    def assertion(self, attempt: Attempt) -> Assertion:
        """Return what an item asserts of a completed attempt; with several seeds, only that its code ran."""
        assert attempt.record is not None
        return self._assertion(attempt.record, attempt.results)

    def assertion_of(self, record: AttemptRecord) -> Assertion:
        """Return what an item asserts of a stored attempt, by the criteria of the current plan."""
        experiment = self._state.plan.experiments[record.key.experiment]
        found = evaluate_alone(experiment.success_criteria.values(), Reading(record))
        return self._assertion(record, found)

    def _assertion(self, record: AttemptRecord, results: Sequence[CriterionResult]) -> Assertion:
        experiment = self._state.plan.experiments[record.key.experiment]
        if record.key.seed is not None or experiment.together:
            return Assertion("pass")
        return assertion(
            experiment,
            record,
            results,
            self._state.settings.level,
            self._state.plan.replaced.get(experiment.id),
            lambda: self._state.settings.shown(self._state.layout.attempt(record.key)),
            self._state.plan.waived.get(experiment.id, {}),
        )

    def record_crash(
        self,
        item: Selected,
        nodeid: str,
        cause: str,
        stacks: str = "",
        diagnose: Callable[[Failure], Sequence[Hint]] = diagnose,
    ) -> tuple[str, str]:
        """Record the attempt of an item whose process crashed; return its record and the failure text.

        Both are empty if the attempt had not started.
        """
        if item.experiment not in self._state.plan.experiments:
            return "", ""  # an exploratory attempt's record is in its own folder
        self._state.study.reread((), [item.sub_experiment])
        own = [a for a in self._state.own(item) if a.nodeid == nodeid]
        if not own:
            return "", ""
        folder = self._state.layout.attempt(own[-1].key)
        what = f"{item.label} failed"
        hints: Sequence[Hint] = ()
        if own[-1].finished_at is None:
            spec = self._state.specs.of(
                item, self._state.plan.experiments[item.experiment], self._state.provenance
            )
            failure = Failure("ProcessLost", cause, stacks)
            hints = diagnose(failure)
            text = ""
            with self._state.noting(f"the end of {item.label} could not be recorded"):
                text = journal.close_lost(folder, own[-1], spec, failure, time.time(), hints)
        else:
            text = dump_record(own[-1]).decode()
            with self._state.noting(f"the failure of {item.label} after its attempt could not be recorded"):
                journal.note_item_failed(folder, cause)
            what += f" after its attempt was {own[-1].status}"
        tail = journal.last_lines(folder, _LAST_LINES)
        shown = [f"{what}: {cause}.", *(["The last it logged:"] if tail else [])]
        shown += [f"  {line}" for line in tail]
        shown += hint_lines(hints)
        return text, "\n".join([*shown, f"Its files are in {self._state.settings.shown(folder)}"])

    def interrupted(self, attempt: Attempt, reason: str) -> None:
        """Record an attempt that was stopped from outside; no report will carry its record."""
        record = attempt.interrupt(reason)
        if record.key.experiment in self._state.plan.experiments:
            self._state.study.add(record)
