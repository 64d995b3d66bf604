"""results.yaml: a projection of an experiment's state, and what people added to it.

The keys are those that tools of this kind already read, plus ours. A first comment line carries
a digest of the rest, so that a file that a person edited is recognised: it is copied aside before
it is written again, and keys that are not ours are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pytest_exprunner._util import yaml as yaml_nodes
from pytest_exprunner._util import yaml_text
from pytest_exprunner._util.serialization import encode
from pytest_exprunner.model.attempt import AttemptRecord, Status, samples_text, which
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import (
    CurrentAttempt,
    ExperimentState,
    PastVerdict,
    Registration,
    SubState,
)
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Waiver
from pytest_exprunner.verdicts.measurement import judged_metrics, judged_values

SCHEMA_VERSION = 1
_MAX_SAMPLES = 2000
"""More values per sample stand in the record alone: people read this file, and git keeps it."""
_HEAD = "# Written by pytest-exprunner from the attempt records; keys that you add are kept. Content: "
_STUB = "# STUB RUN: no handler was called and nothing was measured. This can never count as a result.\n"


# --- state → document -------------------------------------------------------------------------


def document(state: ExperimentState) -> dict[str, Any]:
    """Return the content of results.yaml, in the order in which people read it."""
    subs = (*state.subs.values(), *state.unplanned)
    currents = [current for sub in state.subs.values() for current in sub.currents]
    newest = max(currents, key=lambda c: (c.record.started_at or "", c.sub_experiment), default=None)
    waivers = {waiver.criterion: waiver for waiver in state.waived}
    judged = judged_metrics(state.plan)
    return {
        "experiment_id": state.id,
        "claim": state.plan.description or "",
        "status": str(state.status),
        "executed_by": f"pytest-exprunner {newest.record.run}" if newest and newest.record.run else None,
        "started_at": min((c.record.started_at for c in currents if c.record.started_at), default=None),
        "completed_at": _completed_at(state, currents),
        "success_criteria": {
            f"{name}_threshold": criterion.deciding for name, criterion in state.plan.success_criteria.items()
        },
        "results": {"experiments": {s.id: _sub_entry(state, s) for s in subs if s.currents}},
        "assessment": _assessment(state) if state.started else None,
        "recommendation": state.recommendation_text,
        "recommendation_notes": state.assessment.notes,
        "blockers": list(state.plan.blockers),
        "issues": list(state.issues),
        "detailed_analysis": None,
        "schema_version": SCHEMA_VERSION,
        "criteria": {
            name: _criterion_entry(criterion, state.criteria[name], waivers.get(name))
            | _earlier_entry(state.earlier.get(name, ()))
            for name, criterion in state.plan.success_criteria.items()
        },
        "attempts": {
            sub.id: [_past_entry(past, judged) for past in sub.history] for sub in subs if sub.history
        },
        "registered": dict(state.registered.criteria),
        **registered_terms(state.registered),
        "provenance": dict(newest.record.provenance) if newest else {},
    }


def registered_terms(registered: Registration) -> dict[str, Any]:
    """Return what was registered beside the criteria; absent where nothing was."""
    if not registered.known:
        return {}
    terms = {**asdict(registered.terms), "added_later": list(registered.added_later)}
    return {"registered_terms": terms}


# Keys of ours that a person or an agent is meant to fill in; whatever they hold is kept.
_THEIRS = ("detailed_analysis",)
_OURS = frozenset({
    "experiment_id", "claim", "status", "executed_by", "started_at", "completed_at",
    "success_criteria", "results", "assessment", "recommendation", "recommendation_notes",
    "blockers", "issues", "schema_version", "criteria", "attempts", "registered", "registered_terms",
    "provenance",
})  # fmt: skip


def _completed_at(state: ExperimentState, currents: Iterable[CurrentAttempt]) -> str | None:
    if any(sub.status is not Status.COMPLETED for sub in state.subs.values()):
        return None
    return max((c.record.finished_at for c in currents if c.record.finished_at), default=None)


def _assessment(state: ExperimentState) -> dict[str, Any]:
    gating = [state.criteria[c.name] for c in state.plan.gating]
    achieved = {
        f"{name}_achieved": result.value
        for name, result in state.criteria.items()
        if result.value is not None
    }
    return {
        "success_criteria_met": bool(gating)
        and all(result.met for result in gating)
        and all(sub.status is Status.COMPLETED for sub in state.subs.values()),
        **achieved,
        "confidence": str(state.assessment.confidence),
        "confidence_notes": state.assessment.confidence_notes,
    }


def _criterion_entry(criterion: Criterion, result: CriterionResult, waiver: Waiver | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "verdict": str(result.verdict),
        **({"waived": waiver.text} if waiver is not None else {}),
        "borderline": result.borderline,
        "value": result.value,
        "target": criterion.target,
        "acceptable": criterion.acceptable,
        "failure": criterion.failure,
        "direction": criterion.better,
        "severity": criterion.severity,
        "n": result.n,
        "interval": list(result.interval) if result.interval else None,
        **({"sd": result.sd, "method": str(result.method)} if result.interval else {}),
        "evidence": [str(kind) for kind in result.evidence],
        "decided_by": str(result.decided_by) if result.decided_by else None,
        "attempt": result.attempt,
    }
    if result.reason:
        entry["reason"] = str(result.reason)
    return entry


def _sub_entry(state: ExperimentState, sub: SubState) -> dict[str, Any]:
    if len(sub.currents) == 1 and sub.currents[0].variant is None and sub.currents[0].seed is None:
        return _current_entry(state, sub.currents[0])
    return {
        "status": str(sub.status),
        "finding": "\n".join(f"{c.label}: {c.record.finding}" for c in sub.currents if c.record.finding),
        "metrics": {
            f"{name}[{which(c.variant, c.seed)}]": value
            for c in sub.currents
            for name, value in c.record.metrics.items()
        },
        "artifacts": [artifact.path for c in sub.currents for artifact in c.record.artifacts],
        "variants": [
            {"variant": c.variant, "seed": c.seed, **_current_entry(state, c)} for c in sub.currents
        ],
    }


def _current_entry(state: ExperimentState, current: CurrentAttempt) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "status": str(current.status),
        "finding": current.record.finding,
        "metrics": dict(current.record.metrics),
        "artifacts": [artifact.path for artifact in current.record.artifacts],
    }
    if current.record.error:
        entry["error"] = {
            "type": current.record.error.type,
            "message": current.record.error.message,
            "traceback": current.record.error.traceback,
        }
    if current.record.hints:
        entry["hints"] = [
            {name: value for name, value in asdict(hint).items() if value} for hint in current.record.hints
        ]
    if current.record.reason:
        entry["reason"] = current.record.reason
    if current.record.evidence:
        entry["evidence"] = [
            {"kind": str(e.kind), "reason": e.reason, "place": e.place} for e in current.record.evidence
        ]
    if current.record.missing:
        entry["missing_artifacts"] = list(current.record.missing)
    unreturned = _unreturned(state, current)
    if unreturned:
        entry["logged"] = unreturned
    if current.asked:
        entry["seeds_asked"] = current.asked
    samples = _samples(state, current)
    if samples:
        entry["samples"] = samples
    entry["attempt"] = current.attempt
    if current.attempt is None:
        entry["after"] = current.after
    entry["run"] = current.record.run
    entry["started_at"] = current.record.started_at or None
    entry["completed_at"] = current.record.finished_at
    entry["duration_s"] = current.record.duration_s
    return entry


def _unreturned(state: ExperimentState, current: CurrentAttempt) -> dict[str, Any]:
    """What was logged of a metric that a criterion asks for and the handler did not return."""
    names = {c.metric_name for c in state.plan.success_criteria.values()}
    return {
        name: {"count": seen.count, "last": seen.last}
        for name, seen in current.record.logged.items()
        if name in names and name not in current.record.metrics
    }


def _samples(state: ExperimentState, current: CurrentAttempt) -> dict[str, str]:
    """Values per sample of what criteria ask for: an interval follows from them."""
    names = judged_metrics(state.plan)
    return {
        name: samples_text(values)
        for name, values in current.record.samples.items()
        if name in names and len(values) <= _MAX_SAMPLES
    }


def _earlier_entry(earlier: Sequence[PastVerdict]) -> dict[str, Any]:
    entries = [{"verdict": e.verdict, "value": e.value, "run": e.run} for e in earlier]
    return {"earlier": entries} if entries else {}


def _past_entry(past: AttemptRecord, judged: Collection[str]) -> dict[str, Any]:
    entry: dict[str, Any] = {"attempt": past.key.sequence, "status": str(past.status)}
    if past.key.variant is not None:
        entry["variant"] = past.key.variant
    if past.key.seed is not None:
        entry["seed"] = past.key.seed
    entry |= {"started_at": past.started_at or None, "run": past.run}
    for name, value in (("values", judged_values(past, judged)), ("verdicts", past.verdicts)):
        if value:
            entry[name] = dict(value)
    if past.evidence:
        entry["evidence"] = [str(kind) for kind in past.kinds]
    return entry


# --- document ↔ text --------------------------------------------------------------------------


def dump(value: Mapping[str, Any], *, stub: bool = False) -> bytes:
    """Return results.yaml as bytes; the first line has a digest of its text and one of our keys."""
    body = yaml_text.dump(value)
    head = f"{_HEAD}{_digest(body)} {_digest_of_ours(value)}\n{_STUB if stub else ''}"
    return head.encode() + body


def _digest_of_ours(value: Mapping[str, Any]) -> str:
    ours: Any = encode(_only_ours(value))
    return _digest(orjson.dumps(ours))


def _only_ours(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key in _OURS}


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class StoredResults:
    """A results file as it was found."""

    value: Mapping[str, Any] = field(default_factory=dict)
    exists: bool = False
    edited: bool = False
    """Something in it would be lost if it were written again: a copy must be kept."""
    intact: bool = False
    """Our keys are as this tool wrote them; what people added does not matter."""
    problem: str = ""
    """Why it cannot be read; nothing in it is used then."""

    @property
    def added(self) -> dict[str, Any]:
        """Keys that are not ours, and ours that are meant for people, with their values."""
        return {
            key: value
            for key, value in self.value.items()
            if key not in _OURS and not (key in _THEIRS and value is None)
        }

    @property
    def ours(self) -> bool:
        """Return whether this tool wrote it."""
        return self.value.get("schema_version") == SCHEMA_VERSION


def load(file: Path) -> StoredResults:
    """Read a results file. Never raises on its content."""
    return Reader().load(file)


class Reader:
    """Reads results files for two in turn, who knows what is stored and who writes it anew.

    Parsing is what reading costs, so the second is given what the first was, if the file is the same.
    """

    def __init__(self) -> None:
        """Nothing has been read."""
        self._waiting: dict[Path, tuple[bytes, StoredResults]] = {}

    def load(self, file: Path) -> StoredResults:
        """Read a results file. Never raises on its content."""
        try:
            source = file.read_bytes()
        except FileNotFoundError:
            return StoredResults()
        except OSError as error:
            return _unusable(f"cannot be read: {error.strerror}")
        content = hashlib.sha256(source).digest()
        known, stored = self._waiting.pop(file, (b"", StoredResults()))
        if known != content:
            stored = parse(source)
            self._waiting[file] = (content, stored)
        return stored


def parse(source: bytes) -> StoredResults:
    """Read the content of a results file. Never raises on it."""
    read = yaml_nodes.read(source, yaml_nodes.RESULTS_LIMITS)
    if read.faults:
        return _unusable(f"line {read.faults[0].line}: {read.faults[0].text}")
    if not isinstance(read.value, dict):
        return _unusable("it is not a mapping")
    version = read.value.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        return _unusable(f"schema_version is {version!r}; this version reads {SCHEMA_VERSION}")
    value = {str(key): item for key, item in read.value.items()}
    untouched, intact = _compared(source, value)
    lossless = untouched or (intact and _body(source) == yaml_text.dump(value))
    return StoredResults(value, exists=True, edited=not lossless, intact=intact)


def _unusable(problem: str) -> StoredResults:
    return StoredResults(exists=True, edited=True, problem=problem)


def _compared(source: bytes, value: Mapping[str, Any]) -> tuple[bool, bool]:
    """Return whether a file is as it was written, to the byte; and whether at least our keys are."""
    head = source.partition(b"\n")[0]
    digests = head.removeprefix(_HEAD.encode()).decode("ascii", "replace").split()
    if len(digests) != len(("all", "ours")) or not head.startswith(_HEAD.encode()):
        return False, False
    if digests[0] == _digest(_body(source)):
        return True, True
    return False, digests[1] == _digest_of_ours(value)


def _body(source: bytes) -> bytes:
    return source.partition(b"\n")[2].removeprefix(_STUB.encode())
