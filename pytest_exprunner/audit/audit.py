"""Whether anything moved after there was a result: thresholds, membership, verdicts, records.

From the attempt records, and from git's history where there is one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pytest_exprunner._util.git_history import Commit, FileVersion, History
from pytest_exprunner._util.serialization import number
from pytest_exprunner.audit.entry import AuditEntry, AuditKind
from pytest_exprunner.audit.plan_lifetimes import PlanLifetime, plan_lifetimes, results_of, study_file
from pytest_exprunner.audit.records import touched_records, uncommitted_records
from pytest_exprunner.audit.retired import retired_plans
from pytest_exprunner.model.attempt import AttemptRecord, Status, Verdict
from pytest_exprunner.model.results import UNREGISTERED, ExperimentState, Registration, Results, SubState
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store import results_file
from pytest_exprunner.store.study import Study
from pytest_exprunner.verdicts import criteria
from pytest_exprunner.verdicts import notes as reader_notes
from pytest_exprunner.verdicts.formatting import number_text
from pytest_exprunner.verdicts.measurement import judged_metrics, judged_values
from pytest_exprunner.verdicts.plan_diff import PlanChange, plan_changes

_MET = frozenset({Verdict.TARGET, Verdict.ACCEPTABLE})
_SUCCESS = re.compile(r"\s*(?:met|proceed|success(?:ful)?|passed|achieved)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found, and what could not be looked at."""

    entries: tuple[AuditEntry, ...]
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[AuditEntry, ...]:
        """What fails an audit."""
        return tuple(entry for entry in self.entries if entry.kind == AuditKind.CHANGED)

    def by_experiment(self) -> dict[str, list[tuple[str, str]]]:
        """Return kind and text of each entry."""
        found: dict[str, list[tuple[str, str]]] = {}
        for entry in self.entries:
            found.setdefault(entry.experiment, []).append((entry.kind, entry.text))
        return found


@dataclass(slots=True)
class _First:
    """When there was a first result of each experiment."""

    begun: dict[str, datetime] = field(default_factory=dict)
    """By the attempts' own clocks."""
    committed: dict[str, datetime] = field(default_factory=dict)
    """By git's: who changes something in a later commit cannot have done so before."""
    registered: dict[str, Registration] = field(default_factory=dict)
    """The criteria as the first attempt was judged by them, as digests."""

    def verdict(self, experiment: str, change: PlanChange, new: Plan, time: datetime) -> AuditKind | None:
        """Tell what a change is that was committed, or saved, at some time; None where it moved nothing.

        What was edited, run and then committed has the later time of the commit. Where the first attempt
        registered the very criterion, it was there before; of other things it cannot be told, so it is not
        held against anybody.
        """
        first = min(self._of(experiment), default=None)
        if first is None or first >= time:
            return None
        if change.criterion and self.registered.get(experiment, UNREGISTERED).known:
            return None if self.had(experiment, change.criterion, new) else AuditKind.CHANGED
        since = self.committed.get(experiment)
        sure = since is not None and since < time
        return AuditKind.CHANGED if sure and not change.is_open else AuditKind.NOTE

    def had(self, experiment: str, criterion: str, plan: Plan) -> bool:
        """Return whether the first attempt registered the very criterion that a plan has."""
        known = self.registered.get(experiment, UNREGISTERED)
        same = known.criteria.get(criterion) == _digest(plan, experiment, criterion)
        return same and criterion not in known.added_later

    def _of(self, experiment: str) -> list[datetime]:
        return [times[experiment] for times in (self.begun, self.committed) if experiment in times]

    def date(self, experiment: str) -> str:
        """Return the day of the first result."""
        return min(self._of(experiment)).date().isoformat()


def _digest(plan: Plan, experiment: str, name: str) -> str | None:
    planned = plan.experiments.get(experiment)
    criterion = planned.success_criteria.get(name) if planned else None
    return None if criterion is None else criteria.digest(criterion)


def _note(times: dict[str, datetime], experiment: str, time: str | None) -> None:
    found = _parsed(time)
    if found is not None:
        times[experiment] = min(found, times.get(experiment, found))


def audit(study: Study, plan_path: Path, root: Path) -> Audit:
    """Return everything that moved. Reads only; git is asked with a time limit."""
    layout, whole = study.layout, study.results()
    first = _first_results(whole)
    found = [entry for state in whole.experiments.values() for entry in _from_records(study, state)]
    history = History(root)
    below = history.inside(layout.experiments)
    if history.top is None or below is None:
        what = "git knows nothing about the results (no repository, or git is missing or refuses to read it)"
        return Audit(tuple(found), (f"{what}, so only the attempt records were checked",))
    known, notes = plan_lifetimes(history, plan_path, below)
    life, earlier = known[-1], known[:-1]
    touched = _touched(history, life, below)
    for file, result in results_of(touched, below):
        if not result.attempt:
            _note(first.committed, result.experiment, file.commit.time)
    versions, unread = life.plans(history, plan_path.name)
    notes += unread if versions else [*unread, "git has no version of the plan"]
    found += _from_plan(versions, study.plan, first)
    if history.is_shallow:
        notes.append("the repository is a shallow clone, so only its last commits were checked")
    else:
        found += _with_its_result(history, versions, touched, first, below)
    found += touched_records(history, touched, below)
    found += uncommitted_records(history, below)
    of_earlier, unread = retired_plans(history, earlier, study.plan, plan_path.name, below)
    entries = _in_order([*found, *of_earlier], study.plan)
    return Audit(entries, (*notes, *unread))


def _in_order(found: Sequence[AuditEntry], plan: Plan) -> tuple[AuditEntry, ...]:
    order = {name: index for index, name in enumerate(plan.experiments)}
    return tuple(dict.fromkeys(sorted(found, key=lambda entry: order.get(entry.experiment, len(order)))))


def _touched(history: History, life: PlanLifetime, below: str) -> list[FileVersion]:
    """Return how files of this study were touched.

    A branch from before its plan may be merged later: against that, files of the earlier study are missing.
    """
    past = history.touched(below, until=life.since) if life.since else []
    old = {(file.path, file.after) for file in past}
    return [file for file in history.touched(below, life.since) if (file.path, file.before) not in old]


def _parsed(time: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(time) if time else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def _first_results(whole: Results) -> _First:
    first = _First(registered={name: state.registered for name, state in whole.experiments.items()})
    for name, state in whole.experiments.items():
        for past in (past for sub in (*state.subs.values(), *state.unplanned) for past in sub.history):
            if past.status is Status.COMPLETED:
                _note(first.begun, name, past.started_at)
        for current in (c for sub in state.subs.values() for c in sub.currents):
            _note(first.begun, name, current.record.started_at)
    return first


# --- from the records -------------------------------------------------------------------------


def _from_records(study: Study, state: ExperimentState) -> Iterator[AuditEntry]:
    attempts = [a for known in study.attempts(state.id).values() for a in known if a.is_registered]
    yield from _rejudged(state.id, sorted(attempts, key=lambda a: (a.started_at, a.key)))
    yield from (AuditEntry(state.id, AuditKind.CHANGED, text) for text in reader_notes.changed_terms(state))
    judged = judged_metrics(state.plan)
    for sub in (*state.subs.values(), *state.unplanned):
        yield from _superseded(state, sub, judged)


def _rejudged(experiment: str, attempts: Sequence[AttemptRecord]) -> Iterator[AuditEntry]:
    """Criteria whose terms were others for a later attempt than for an earlier one."""
    last: dict[str, tuple[str, AttemptRecord]] = {}
    for attempt in attempts:
        for name, digest in attempt.registered.items():
            before = last.get(name)
            if before is not None and before[0] != digest:
                yield AuditEntry(
                    experiment,
                    AuditKind.CHANGED,
                    f"{name} had different terms in {_attempt(before[1])} and in {_attempt(attempt)}",
                )
            last[name] = (digest, attempt)


def _attempt(record: AttemptRecord) -> str:
    return f"attempt {record.key.sequence} of {record.key.label} ({record.started_at[:10]})"


def _superseded(state: ExperimentState, sub: SubState, judged: Collection[str]) -> Iterator[AuditEntry]:
    slots: dict[tuple[str | None, int | None], list[AttemptRecord]] = {}
    for past in sub.history:
        if judged_values(past, judged) or past.verdicts:
            slots.setdefault(past.key.slot, []).append(past)
    counts = {current.slot: current.attempt for current in sub.currents}
    for slot, known in slots.items():
        for old in known:
            if counts.get(slot) is None or old.key.sequence == counts[slot]:
                continue
            new = next((past for past in known if past.key.sequence == counts[slot]), None)
            yield AuditEntry(
                state.id,
                AuditKind.NOTE,
                f"attempt {old.key.sequence} of {old.label} ({_said(old, judged)}) was superseded by attempt "
                f"{counts[slot]} ({_said(new, judged) if new else 'without a value'})",
            )


def _said(past: AttemptRecord, judged: Collection[str]) -> str:
    values = judged_values(past, judged)
    names = dict.fromkeys((*values, *past.verdicts))
    parts = []
    for name in names:
        verdict = past.verdicts.get(name, "").replace("_", " ")
        parts.append(f"{name} {number_text(number(values.get(name)))} {verdict}".rstrip())
    return ", ".join(parts)


# --- from the plan's history ------------------------------------------------------------------


def _from_plan(versions: Sequence[tuple[Commit, Plan]], now: Plan, first: _First) -> Iterator[AuditEntry]:
    for (_before, old), (commit, new) in itertools.pairwise(versions):
        yield from _late(plan_changes(old, new), new, first, commit.when, f"in {commit.text}")
    for _commit, last in versions[-1:]:
        yield from _late(plan_changes(last, now), now, first, datetime.now(UTC), "(not committed yet)")


def _late(
    differences: Sequence[PlanChange], new: Plan, first: _First, time: datetime | None, where: str
) -> Iterator[AuditEntry]:
    """Return the changes that were made when there was a result already."""
    for change in differences if time is not None else ():
        for experiment in change.experiments:
            kind = first.verdict(experiment, change, new, time) if time is not None else None
            if kind is not None:
                since = f"after its first result ({first.date(experiment)})"
                text = f"{change.text} {where}, {since}"
                yield AuditEntry(experiment, kind, text)


def _with_its_result(
    history: History,
    versions: Sequence[tuple[Commit, Plan]],
    touched: Sequence[FileVersion],
    first: _First,
    below: str,
) -> Iterator[AuditEntry]:
    """Criteria that first appear in the very commit that declares them met."""
    by_commit: dict[str, list[FileVersion]] = {}
    for file, what in results_of(touched, below):
        if not what.attempt:
            by_commit.setdefault(file.commit.id, []).append(file)
    old: Plan | None = None
    for commit, new in versions:
        yield from _born_met(history, commit, old, new, by_commit.get(commit.id, []), first, below)
        old = new


def _born_met(
    history: History,
    commit: Commit,
    old: Plan | None,
    new: Plan,
    files: Sequence[FileVersion],
    first: _First,
    below: str,
) -> Iterator[AuditEntry]:
    contents = history.contents([file.after for file in files])
    whose = (study_file(file.path, below) for file in files)
    declared = {what.experiment: _declared(text) for what, text in zip(whose, contents, strict=True) if what}
    for name, experiment in new.experiments.items():
        known = old.experiments.get(name) if old else None
        claims = any(_SUCCESS.match(str(said)) for said in (experiment.status, experiment.outcome))
        for criterion in experiment.success_criteria:
            if known is not None and criterion in known.success_criteria:
                continue
            achieved = experiment.achieved if isinstance(experiment.achieved, dict) else {}
            where = ""
            if criterion in declared.get(name, set()):
                where = "results.yaml in the same commit declares it met"
            elif criterion in achieved or claims:
                where = "the plan in the same commit claims success"
            if where:
                # With nothing earlier to compare with, the first attempt's own word is all there is.
                kind: AuditKind = AuditKind.NOTE if first.had(name, criterion, new) else AuditKind.CHANGED
                yield AuditEntry(name, kind, f"{criterion} first appears in {commit.text}, and {where}")


def _declared(source: bytes) -> set[str]:
    """Return the criteria that a results file declares met."""
    value = results_file.parse(source).value
    judged, assessment = value.get("criteria"), value.get("assessment")
    met = {
        str(name)
        for name, entry in (judged.items() if isinstance(judged, dict) else ())
        if isinstance(entry, dict) and str(entry.get("verdict")) in _MET
    }
    if isinstance(assessment, dict) and assessment.get("success_criteria_met") is True:
        met |= {str(key).removesuffix("_achieved") for key in assessment if str(key).endswith("_achieved")}
    return met
