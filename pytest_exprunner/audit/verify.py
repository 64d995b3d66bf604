"""Whether what is written is what follows from the records: recomputed, and compared. Only reads.

Files of other tools and broken ones are reported on, never a reason to stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pytest_exprunner._util import marked_sections
from pytest_exprunner._util.errors import count, did_you_mean
from pytest_exprunner._util.paths import shown_path
from pytest_exprunner._util.serialization import as_float, number, shown
from pytest_exprunner._util.text import few
from pytest_exprunner.audit.quoted_numbers import numbers_near, reads_as
from pytest_exprunner.handlers import lint
from pytest_exprunner.handlers.scan import Scan
from pytest_exprunner.model.attempt import (
    Artifact,
    AttemptRecord,
    EvidenceKind,
    Recommendation,
    Status,
    stays_inside,
)
from pytest_exprunner.model.layout import ARTIFACTS, artifact_prefix
from pytest_exprunner.model.results import CurrentAttempt
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment
from pytest_exprunner.store import atomic, results_fallback, results_file
from pytest_exprunner.store.study import Study
from pytest_exprunner.verdicts import criteria as verdicts
from pytest_exprunner.verdicts.formatting import explain, number_text, tiers_of
from pytest_exprunner.verdicts.measurement import Reading


class FindingKind(StrEnum):
    """Whether a finding is an error."""

    ERROR = "error"
    """What is written cannot be read, or contradicts itself."""
    REVIEW = "review"
    """Only a person can judge it."""


_ANY_EVIDENCE = tuple(kind for kind in EvidenceKind if kind is not EvidenceKind.STUB)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be, or may not be."""

    kind: FindingKind
    place: str
    """The file, with a line where that is known."""
    text: str


def verify(study: Study, scan: Scan, root: Path) -> list[Finding]:
    """Return every doubt, by experiment in plan order, then those about sources."""
    found: list[Finding] = []
    for name in study.plan.experiments:
        found += _Experiment(study, name, root).findings()
    found += _sources(study, scan, root)
    return found


class _Experiment:
    """Looks at one experiment: its results file, its records, its artifacts, its prose."""

    def __init__(self, study: Study, name: str, root: Path) -> None:
        self._layout = study.layout
        self._root = root
        self._state = study.state(name)
        self._attempts = [a for known in study.attempts(name).values() for a in known]
        self._unusable = study.log(name).problems
        self._file = self._layout.results_of(name)
        self._stored = results_file.load(self._file)
        self._cut_short = bool(study.pending(name))

    def findings(self) -> Iterator[Finding]:
        """Everything about it."""
        for problem in self._unusable:
            yield Finding(FindingKind.ERROR, self._shown(self._layout.experiment(self._state.id)), problem)
        if self._stored.problem:
            yield self._error(f"cannot be read: {self._stored.problem}")
        elif not self._stored.exists and self._attempts:
            yield self._error("is missing although there are attempts; 'exprunner report' writes it")
        elif self._stored.exists:
            yield from self._claims()
            yield from self._ids()
            yield from self._history()
        yield from self._artifacts()
        yield from self._generated()
        yield from self._prose()

    def _shown(self, path: Path) -> str:
        return shown_path(path, self._root)

    def _error(self, text: str) -> Finding:
        return Finding(FindingKind.ERROR, self._shown(self._file), text)

    def _review(self, text: str) -> Finding:
        return Finding(FindingKind.REVIEW, self._shown(self._file), text)

    # --- the content of the results file -----------------------------------------------------------

    def _claims(self) -> Iterator[Finding]:
        said = self._stored.value.get("experiment_id", self._state.id)
        if said != self._state.id:
            yield self._error(f"names another experiment: {shown(said, 60)}")
        if self._cut_short:
            yield self._review("comes from a run that was cut short; 'exprunner report' rewrites it")
        elif self._stored.ours:
            yield from self._ours()
        else:
            yield from self._foreign()

    def _ours(self) -> Iterator[Finding]:
        """Everything that is not what would be written now."""
        # Through the same text and back, so that numbers are compared as they are stored.
        fresh = results_file.parse(results_file.dump(results_file.document(self._state))).value
        found = list(_differences(self._stored.value, fresh))
        for path, said, now in found[:_MAX]:
            yield self._error(f"has {path} {said}, but the records give {now}{self._because(path)}")
        if len(found) > _MAX:
            yield self._error(f"differs in {len(found) - _MAX} more places")

    def _because(self, path: str) -> str:
        if path in {"status", "recommendation"}:
            return f": {self._state.assessment.notes.rstrip('.')}"
        name = path.removeprefix("criteria.").removesuffix(".verdict")
        criterion = self._state.plan.success_criteria.get(name)
        if criterion is None or path != f"criteria.{name}.verdict":
            return ""
        return f": {explain(criterion, self._state.criteria[name])}"

    def _foreign(self) -> Iterator[Finding]:
        """What a file of another tool claims, and what it would come to if its numbers were believed."""
        state, value = self._state, self._stored.value
        for key, found in (("status", str(state.status)), ("recommendation", state.recommendation_text)):
            if key in value and value[key] != found:
                why = state.assessment.notes.rstrip(".")
                yield self._error(
                    f"says {key} {shown(value[key], 60)}, but by the plan it is {found!r}: {why}"
                )
        assessment = value.get("assessment")
        if isinstance(assessment, dict):
            yield from self._assessment(assessment)
        readings = [
            Reading(current.record)
            for sub in state.subs.values()
            for current in sub.currents
            if current.status is Status.COMPLETED
        ]
        claims = value.get("recommendation") == Recommendation.PROCEED
        for criterion in state.plan.gating:
            believing = criterion.model_copy(update={"evidence": _ANY_EVIDENCE})
            result = verdicts.evaluate(believing, readings)
            if not result.met:
                text = f"taking its numbers at face value, {explain(criterion, result)}"
                yield self._error(text) if claims else self._review(text)

    def _assessment(self, assessment: Mapping[str, Any]) -> Iterator[Finding]:
        gating = [self._state.criteria[c.name] for c in self._state.plan.gating]
        met = bool(gating) and all(result.met for result in gating)
        if assessment.get("success_criteria_met") is True and not met:
            number_met = sum(result.met for result in gating)
            yield self._error(
                f"claims that the success criteria are met, but only {number_met} of {len(gating)} are"
            )
        for name, result in self._state.criteria.items():
            key = f"{name}_achieved"
            said = number(assessment.get(key))
            if said is not None and result.value is not None and not _same(said, result.value):
                found = shown(result.value, 24)
                yield self._error(f"says {key} {shown(said, 24)}; but its sub-experiments give {found}")

    def _ids(self) -> Iterator[Finding]:
        inner = self._stored.value.get("results")
        entries = inner.get("experiments") if isinstance(inner, dict) else None
        planned = self._state.plan.sub_experiments
        for sub in entries if isinstance(entries, dict) else ():
            if sub not in planned:
                hint = did_you_mean(str(sub), planned)
                text = f"has results of {shown(sub, 60)}, which is not in the plan{hint}"
                yield self._review(text) if self._stored.ours else self._error(text)

    def _history(self) -> Iterator[Finding]:
        """Attempts whose entry in the file differs from their record."""
        records = {(a.key.sub_experiment, a.key.sequence): a for a in self._attempts}
        for sub, known in results_fallback.read_fallback(self._stored).history.items():
            for past in known:
                record = records.get((sub, past.key.sequence))
                for name, value in past.metrics.items() if record is not None else ():
                    actual = record.metrics.get(name)  # type: ignore[union-attr]
                    if not _same_plain(value, actual):
                        told, kept = shown(value, 24), shown(actual, 24)
                        what = f"says that attempt {past.key.sequence} of {sub} returned {name} {told}"
                        yield self._error(f"{what}; its record has {kept}")

    # --- artifacts ----------------------------------------------------------------------------

    def _artifacts(self) -> Iterator[Finding]:
        for sub in self._state.subs.values():
            for current in sub.currents:
                yield from self._published(current)
        counted = {(c.sub_experiment, c.attempt) for s in self._state.subs.values() for c in s.currents}
        for record in self._attempts:
            for artifact in record.artifacts:
                copy = self._own_copy(record, artifact)
                if copy.is_file() and not _is_intact(copy, artifact):
                    counts = (record.key.sub_experiment, record.key.sequence) in counted
                    which = "" if counts else ", which no longer counts"
                    yield Finding(
                        FindingKind.ERROR, self._shown(copy), f"differs from what the attempt saved{which}"
                    )

    def _own_copy(self, record: AttemptRecord, artifact: Artifact) -> Path:
        prefix = artifact_prefix(record.key.sub_experiment, record.key.variant, record.key.seed) + "/"
        return self._layout.attempt(record.key) / ARTIFACTS / artifact.path.removeprefix(prefix)

    def _published(self, current: CurrentAttempt) -> Iterator[Finding]:
        folder = self._layout.experiment(self._state.id)
        missing = []
        for artifact in current.record.artifacts:
            file, name = folder / artifact.path, shown(artifact.path, 80)
            if not stays_inside(artifact.path):
                yield self._error(f"lists the artifact {name}, whose path leads outside its folder")
            elif not file.is_file():
                missing.append(name)
            elif not _is_intact(file, artifact):
                text = f"has changed since {current.label} saved it"
                yield Finding(FindingKind.ERROR, self._shown(file), text)
        if missing:
            what = count(len(missing), "artifact")
            verb = "is" if len(missing) == 1 else "are"
            yield self._error(f"lists {what} of {current.label} that {verb} not there: {few(missing)}")

    def _generated(self) -> Iterator[Finding]:
        """The part of FINDINGS.md that this tool writes, where a person has changed it."""
        file = self._layout.findings_of(self._state.id)
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return
        if marked_sections.is_edited(text):
            what = "the generated part was edited; 'exprunner report' keeps a copy and rewrites it"
            yield Finding(FindingKind.ERROR, self._shown(file), what)

    # --- prose --------------------------------------------------------------------------------

    def _prose(self) -> Iterator[Finding]:
        names = {c.metric_name: c for c in self._state.plan.success_criteria.values()}
        if not names:
            return
        known = {name: self._produced(criterion) for name, criterion in names.items()}
        for file in (self._layout.findings_of(self._state.id), self._layout.plan_of(self._state.id)):
            try:
                text = marked_sections.outside(file.read_text(encoding="utf-8", errors="replace"))
            except OSError:
                continue
            for line, name, said in numbers_near(text, names):
                if known[name] and not any(reads_as(said, value) for value in known[name]):
                    produced = few([number_text(value) for value in sorted(known[name])])
                    text = f"says {said} of {name}, which no attempt produced; there are {produced}"
                    yield Finding(FindingKind.REVIEW, f"{self._shown(file)}:{line}", text)
        for record in self._attempts:
            for _line, name, said in numbers_near(record.finding, names):
                value = number(record.metrics.get(name))
                if value is not None and not any(
                    reads_as(said, each) for each in (as_float(value), *tiers_of(names[name]))
                ):
                    yield self._review(
                        f"the finding of attempt {record.key.sequence} of {record.key.label} says {said} of "
                        f"{name}; it returned {number_text(value)}"
                    )

    def _produced(self, criterion: Criterion) -> set[float]:
        """Every number that somebody could honestly write of a metric."""
        metric = criterion.metric_name
        values = {as_float(v) for a in self._attempts if (v := number(a.metrics.get(metric))) is not None}
        for sub in self._state.subs.values():
            found = (number(current.record.metrics.get(metric)) for current in sub.currents)
            values |= {as_float(value) for value in found if value is not None}
        result = self._state.criteria[criterion.name]
        more = [result.value, result.sd, *(result.interval or ()), *tiers_of(criterion)] if values else []
        return values | {as_float(value) for value in more if value is not None}


def _same(a: float, b: float) -> bool:
    return as_float(a) == as_float(b) or (a != a and b != b)  # noqa: PLR0124 - NaN


def _same_plain(a: object, b: object) -> bool:
    first, second = number(a), number(b)
    return a == b if first is None or second is None else _same(first, second)


_COMPARED = (
    *("status", "recommendation", "assessment", "results", "criteria", "attempts"),
    *("registered", "registered_terms"),
)
_MAX = 10


def _differences(stored: Mapping[str, Any], fresh: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield where two results files differ in what this tool computes, with both values."""
    known = results_fallback.upgraded(stored)
    for key in _COMPARED:
        yield from _differing(key, known.get(key), fresh.get(key))


def _differing(path: str, stored: Any, fresh: Any) -> Iterator[tuple[str, str, str]]:
    if isinstance(stored, dict) and isinstance(fresh, dict):
        for key in dict.fromkeys((*fresh, *stored)):
            if not _is_worded(path, key):
                yield from _differing(f"{path}.{key}", stored.get(key), fresh.get(key))
    elif isinstance(stored, list) and isinstance(fresh, list) and len(stored) == len(fresh):
        for index, (a, b) in enumerate(zip(stored, fresh, strict=True)):
            yield from _differing(f"{path}[{index}]", a, b)
    elif not _same_plain(stored, fresh):
        yield path, shown(stored, 60), shown(fresh, 60)


def _is_worded(path: str, key: object) -> bool:
    """Return whether a text follows from other keys: another version may say the same in other words."""
    return (path, key) == ("assessment", "confidence_notes") or (
        path.startswith("criteria.") and key == "reason"
    )


def _is_intact(file: Path, artifact: Artifact) -> bool:
    if not artifact.sha256:
        return True
    try:
        return atomic.digest(file) == artifact.sha256
    except OSError:
        return False


# --- sources ----------------------------------------------------------------------------------


def _sources(study: Study, scan: Scan, root: Path) -> Iterator[Finding]:
    handlers = scan.planned()
    for problem in scan.problems():
        yield Finding(FindingKind.REVIEW, "sources", f"{problem}; it was not checked")
    texts: dict[Path, str] = {}
    for file in scan.files:
        try:
            texts[file] = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    for experiment in study.plan.experiments.values():
        own = {sub: handlers[sub] for sub in experiment.sub_experiments if sub in handlers}
        criteria = tuple(experiment.success_criteria.values())
        for file in dict.fromkeys(root / handler.file for handler in own.values()):
            names = [handler.name for handler in own.values() if root / handler.file == file]
            shown_as = shown_path(file, root)
            for tell in lint.lint(texts.get(file, ""), names, criteria):
                yield Finding(FindingKind.REVIEW, f"{shown_as}:{tell.line}", tell.text)
        if own:
            yield from _unmentioned(experiment, texts.values())


def _unmentioned(experiment: Experiment, sources: Iterable[str]) -> Iterator[Finding]:
    criteria: Sequence[Criterion] = tuple(experiment.success_criteria.values())
    for metric, meant in lint.unmentioned(sources, criteria).items():
        hint = f"; is it {meant!r} there?" if meant else ""
        yield Finding(
            FindingKind.REVIEW,
            experiment.id,
            f"no file in the handlers' folder mentions {metric!r}{hint}",
        )
