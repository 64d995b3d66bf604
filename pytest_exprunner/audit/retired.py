"""What became of the results of a plan that was retired before the plan of now was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pytest_exprunner._util.git_history import Commit, FileVersion, History
from pytest_exprunner._util.serialization import text
from pytest_exprunner._util.text import sentence_list
from pytest_exprunner.audit.entry import AuditEntry, AuditKind
from pytest_exprunner.audit.plan_lifetimes import PlanLifetime, StudyFile, results_of
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store import results_file
from pytest_exprunner.verdicts.criteria import FROM_WORST
from pytest_exprunner.verdicts.plan_diff import plan_changes

Kept = Mapping[str, Sequence[str]]
"""The places that the last commit has a content at, by its id."""


def retired_plans(
    history: History, earlier: Sequence[PlanLifetime], now: Plan, name: str, below: str
) -> tuple[list[AuditEntry], list[str]]:
    """Return what earlier plans had results of: where those are kept, what differs now, what is lost."""
    kept: dict[str, list[str]] = {}
    for path, content in history.tree("HEAD").items() if earlier else ():
        kept.setdefault(content, []).append(path)
    found: list[AuditEntry] = []
    notes: list[str] = []
    for life in earlier:
        versions, unread = life.plans(history, name)
        notes += unread
        by_experiment: dict[str, list[tuple[FileVersion, StudyFile]]] = {}
        for file, what in results_of(history.touched(below, life.since, life.until), below):
            by_experiment.setdefault(what.experiment, []).append((file, what))
        for experiment, files in by_experiment.items():
            in_force = _in_force(versions, files[0][0].commit)
            if life.retired is not None:
                verdicts = _verdicts(history, files)
                found += _of_experiment(experiment, _evidence(files), kept, life.retired, verdicts)
                found += _differing(experiment, in_force, now, life.retired)
    return found, notes


def _evidence(files: Sequence[tuple[FileVersion, StudyFile]]) -> list[tuple[FileVersion, StudyFile]]:
    """Return what must not be lost: every version of every record; without any, the last results file."""
    records = [(file, what) for file, what in files if what.attempt]
    return records or list(files[-1:])


def _verdicts(history: History, files: Sequence[tuple[FileVersion, StudyFile]]) -> str:
    """Return the verdicts of its criteria in the last results file, worst first; empty if there are none."""
    told = [file.after for file, what in files if not what.attempt and file.after.strip("0")]
    stored = results_file.parse(history.contents(told[-1:])[0]) if told else results_file.StoredResults()
    criteria = stored.value.get("criteria")
    by_verdict: dict[str, list[str]] = {}
    for name, entry in criteria.items() if isinstance(criteria, Mapping) else ():
        verdict = entry.get("verdict") if isinstance(entry, Mapping) else None
        by_verdict.setdefault(str(verdict), []).append(text(name))
    groups = [
        f"{verdict.replace('_', ' ')} ({sentence_list(by_verdict[verdict])})"
        for verdict in FROM_WORST
        if verdict in by_verdict
    ]
    source = "its last results file" + ("" if stored.intact else ", which was edited by hand")
    return f"; by {source}, the verdicts were {sentence_list(groups)}" if groups else ""


def _of_experiment(
    experiment: str,
    evidence: Sequence[tuple[FileVersion, StudyFile]],
    kept: Kept,
    retired: Commit,
    verdicts: str,
) -> Iterator[AuditEntry]:
    places = sorted({_folder(path) for file, _what in evidence for path in kept.get(file.after, ())[:1]})
    where = (
        f"the results are kept in {' and '.join(places)}" if places else "the results are not kept anywhere"
    )
    what_was = f"it has results of an earlier plan, retired in {retired.text}"
    yield AuditEntry(experiment, AuditKind.NOTE, f"{what_was}{verdicts}; {where}")
    for file, what in evidence:
        if file.after not in kept:
            lost = f"{what.text}, of the plan that was retired in {retired.short}, is not kept anywhere"
            yield AuditEntry(experiment, AuditKind.CHANGED, f"{lost}; {file.commit.text} has it")


def _folder(path: str) -> str:
    """Return the folder of an experiment, for a record that is kept as it was stored; else its own."""
    before, found, _after = path.rpartition("/attempts/")
    return before if found else path.rpartition("/")[0] or "."


def _in_force(versions: Sequence[tuple[Commit, Plan]], first: Commit) -> list[Plan]:
    """Return the versions of a plan that results were judged by: not its drafts before the first result."""

    def is_draft(after: Commit) -> bool:
        return after.when is not None and first.when is not None and after.when <= first.when

    newer = [commit for commit, _plan in versions[1:]]
    return [plan for (_commit, plan), after in zip(versions, newer, strict=False) if not is_draft(after)] + [
        plan for _commit, plan in versions[-1:]
    ]


def _differing(experiment: str, plans: Sequence[Plan], now: Plan, retired: Commit) -> Iterator[AuditEntry]:
    for old in plans:
        for change in plan_changes(old, now):
            if experiment in change.experiments and not change.is_open:
                since = f"since the plan that was retired in {retired.short}"
                yield AuditEntry(experiment, AuditKind.NOTE, f"{change.text} {since}")
