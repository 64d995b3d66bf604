"""Build the events that a program reads during a run: plain mappings, one per line.

``json_schemas/event.json`` defines the fields; every line conforms to it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pytest_exprunner._util.errors import PlanError
from pytest_exprunner._util.redaction import redacted
from pytest_exprunner._util.serialization import Plain, clipped, decode, plain, special_name, text
from pytest_exprunner.diagnosis.match import place_of
from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord, Level, Status
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.results import ExperimentState, GateResult
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.plan.models import Experiment, Plan
from pytest_exprunner.report.experiment import next_steps
from pytest_exprunner.schedule.progress import Progress, after
from pytest_exprunner.store.journal import timestamp
from pytest_exprunner.verdicts.criteria import evaluate_alone
from pytest_exprunner.verdicts.formatting import explain
from pytest_exprunner.verdicts.measurement import Reading

SCHEMA = "exprunner/event"
SCHEMA_VERSION = 1
_INT64 = range(-(2**63), 2**63)
_LONG_TEXT = 20_000
_SHORT_TEXT = 1_000
_MOST_BYTES = 200_000
_MOST_NAMES = 500
_BETWEEN_ROWS = 1.0  # seconds
_PROGRESS = frozenset({"stage", "track", "progress"})
_HINT = ("rule", "cause", "fix", "snippet", "link")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a line."""
    file = Path(__file__).parent.parent / "json_schemas" / "event.json"
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def line(
    event: str, data: Mapping[str, Any], *, run: str | None, sequence: int, seconds: float
) -> dict[str, Any]:
    """Return a complete event without secrets; ``seconds`` is its time in seconds since 1970."""
    head = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "event": event}
    return {
        **head,
        "time": timestamp(seconds),
        "run": run,
        "sequence": sequence,
        **{name: _ready(value) for name, value in data.items()},
    }


def _ready(value: Any) -> Any:
    """Return a value that JSON can carry: NaN and infinities by name, huge integers and secrets as text."""
    if isinstance(value, str):
        return redacted(text(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if value in _INT64 else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else special_name(value)
    if isinstance(value, Mapping):
        return {redacted(text(name)): _ready(item) for name, item in value.items()}
    if isinstance(value, Iterable):
        return [_ready(item) for item in value]
    return _ready(plain(value))


# --- the beginning ------------------------------------------------------------------------------


def run_started(
    plan: Plan, plan_name: str, settings: Settings, selected: Sequence[Selected], *, workers: int
) -> dict[str, Any]:
    """Return what the run will execute, and how."""
    return {
        "plan": plan_name,
        "project": plan.project.name,
        "folder": str(settings.root),
        "results": settings.shown(settings.results_root),
        "experiments": len(plan.experiments),
        "selected": len(selected),
        "settings": {
            "executor": settings.executor,
            "workers": workers,
            "level": str(settings.level),
            "stub": settings.stub,
            "resume": settings.resume,
            "strict": settings.strict,
            "explain": settings.explain,
            "exploratory": settings.exploratory,
            "ignore_dependencies": settings.ignore_dependencies,
            "gates": list(settings.gates),
            "seeds": settings.seeds,
            "timeout": settings.timeout,
            "trackers": list(settings.trackers),
        },
    }


def planned(plan: Plan, item: Selected) -> dict[str, Any]:
    """Return one selected item and the items it depends on."""
    experiment = plan.experiments.get(item.experiment)
    sub = experiment.sub_experiments.get(item.sub_experiment) if experiment else None
    return {
        **selected_item(item),
        "needs": list(sub.needs) if sub else [],
        "dependencies": list(plan.requirements(item.experiment)) if experiment else [],
    }


def selected_item(item: Selected) -> dict[str, Any]:
    """Return the fields that name an item."""
    return {
        "label": item.label,
        "nodeid": item.nodeid,
        "experiment": item.experiment,
        "sub_experiment": item.sub_experiment,
        "variant": item.variant,
        "seed": item.seed,
    }


# --- attempts -----------------------------------------------------------------------------------


def _attempt(key: AttemptKey, nodeid: str) -> dict[str, Any]:
    return {
        "label": key.label,
        "nodeid": nodeid,
        "experiment": key.experiment,
        "sub_experiment": key.sub_experiment,
        "variant": key.variant,
        "seed": key.seed,
        "attempt": key.sequence,
    }


def attempt_started(key: AttemptKey, started: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the start of an attempt, from its journal."""
    params = started.get("params")
    return {
        **_attempt(key, str(started.get("nodeid", ""))),
        "params": _bounded(decode(params)) if isinstance(params, dict) else {},
        "folder": folder,
    }


class Told(NamedTuple):
    """An event to send, with its time."""

    event: str
    data: dict[str, Any]
    seconds: float


@dataclass(slots=True)
class Milestones:
    """Selects the events to send for a running attempt: about one row per second, and the last one."""

    key: AttemptKey
    nodeid: str
    _rows: int = 0
    _progress: Progress = field(default_factory=lambda: Progress("", 0.0))
    _waiting: dict[str, Told] = field(default_factory=dict)
    _sent: dict[str, float] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> Iterator[Told]:
        """Add an event of the attempt's journal; yield the events that are due."""
        kind, seconds = event.get("event"), time_of(event)
        self._progress = after(self._progress, event)
        if kind == "metrics":
            self._rows += 1
            self._waiting["metrics"] = Told("metrics", event, seconds)  # type: ignore[arg-type]
        elif kind in _PROGRESS:
            self._waiting["progress"] = Told("progress", {}, seconds)
            if kind == "stage":  # always sent
                self._sent.pop("progress", None)
        yield from self.due(seconds)

    def due(self, now: float) -> Iterator[Told]:
        """Yield the events that have waited long enough."""
        for name in list(self._waiting):
            if now - self._sent.get(name, -math.inf) >= _BETWEEN_ROWS:
                yield self._next(name, now)

    def last(self) -> Iterator[Told]:
        """Yield the remaining events when the attempt ends."""
        for name in list(self._waiting):
            yield self._next(name, math.inf)

    def _next(self, name: str, now: float) -> Told:
        waiting = self._waiting.pop(name)
        self._sent[name] = now
        data = self._row(waiting.data) if name == "metrics" else self._step()
        return Told(name, {**_attempt(self.key, self.nodeid), **data}, waiting.seconds)

    def _row(self, event: Mapping[str, Any]) -> dict[str, Any]:
        logged, step = event.get("metrics"), event.get("step")
        metrics = _bounded(decode(logged)) if isinstance(logged, dict) else {}
        return {"metrics": metrics, "step": step if type(step) is int else None, "rows": self._rows}

    def _step(self) -> dict[str, Any]:
        step = self._progress
        return {
            "stage": step.stage or None,
            "stage_number": step.stage_number,
            "stages": step.stages,
            "title": step.title or None,
            "done": step.done,
            "total": step.total,
            "fraction": step.fraction,
        }


def time_of(event: Mapping[str, Any]) -> float:
    """Return when an event of a journal happened, in seconds since 1970."""
    seconds = event.get("time")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _bounded(value: Plain) -> Plain:
    """Return metrics of bounded size: if there are many or large ones, only numbers and short strings."""
    if not isinstance(value, dict):
        return value
    size = sum(len(name) for name in value) + sum(8 for _ in value)
    size += sum(len(v) if isinstance(v, str) else _size(v) for v in value.values())
    if size <= _MOST_BYTES:
        return value
    kept = {
        clipped(name, _SHORT_TEXT): clipped(item, _SHORT_TEXT) if isinstance(item, str) else item
        for name, item in list(value.items())[:_MOST_NAMES]
        if not isinstance(item, dict | list)
    }
    return {**kept, "…": f"{len(value) - len(kept)} more are in the attempt's record"}


def _size(value: Plain) -> int:
    return len(orjson.dumps(_ready(value))) if isinstance(value, dict | list) else 8


def attempt_finished(
    record: AttemptRecord, experiment: Experiment | None, level: Level, folder: str
) -> dict[str, Any]:
    """Return the end of an attempt, with the results of the criteria that it decides alone."""
    error = record.error
    return {
        **_attempt(record.key, record.nodeid),
        "status": str(record.status),
        "duration_s": record.duration_s,
        "finding": clipped(record.finding, _LONG_TEXT),
        "reason": clipped(record.reason, _LONG_TEXT),
        "metrics": _bounded(dict(record.metrics)),
        "artifacts": [
            {"path": a.path, "bytes": a.bytes, "sha256": a.sha256, "type": a.type}
            for a in record.artifacts[:_MOST_NAMES]
        ],
        "evidence": [str(kind) for kind in record.kinds],
        "criteria": [criterion(c, r, level) for c, r in decided_alone(record, experiment)],
        "error": None
        if error is None
        else {
            "type": error.type,
            "message": clipped(error.message, _LONG_TEXT),
            "traceback": error.traceback[-_LONG_TEXT:],
            "place": place_of(error),
        },
        "hints": hints(record),
        "folder": folder,
    }


def decided_alone(
    record: AttemptRecord, experiment: Experiment | None
) -> list[tuple[Criterion, CriterionResult]]:
    """Return the criteria that an attempt decides alone, without other seeds or attempts."""
    alone = record.status is Status.COMPLETED and record.key.seed is None
    if experiment is None or experiment.together or not alone or "stub" in map(str, record.kinds):
        return []
    found = evaluate_alone(experiment.success_criteria.values(), Reading(record))
    return [(experiment.success_criteria[result.name], result) for result in found]


def hints(record: AttemptRecord) -> list[dict[str, str]]:
    """Return the hints for a failure."""
    return [
        {name: str(getattr(hint, name, "") or "") for name in _HINT} for hint in getattr(record, "hints", ())
    ]


def criterion(plan: Criterion, result: CriterionResult, level: Level) -> dict[str, Any]:
    """Return a criterion with its tiers, its value and its verdict."""
    return {
        "name": plan.name,
        "severity": plan.severity,
        "better": plan.better,
        "target": plan.target,
        "acceptable": plan.acceptable,
        "failure": plan.failure,
        "unit": plan.unit,
        "value": result.value,
        "verdict": str(result.verdict),
        "met": level.met_by(result.verdict),
        "borderline": result.borderline,
        "decided_by": str(result.decided_by or ""),
        "attempt": result.attempt,
        "n": result.n,
        "interval": None if result.interval is None else list(result.interval),
        "evidence": [str(kind) for kind in result.evidence],
        "text": explain(plan, result),
    }


# --- outcomes without an attempt in this run ----------------------------------------------------


def blocked(item: Selected, reason: str) -> dict[str, Any]:
    """Return an item that was not run, and the reason."""
    return {**selected_item(item), "reason": reason}


def replayed(item: Selected, sequence: int, outcome: str, words: str) -> dict[str, Any]:
    """Return an item whose stored attempt is reused, with its outcome."""
    return {
        **selected_item(item),
        "attempt": sequence,
        "outcome": outcome,
        "text": clipped(words, _LONG_TEXT),
    }


def item_failed(nodeid: str, when: str, words: str) -> dict[str, Any]:
    """Return a failure without an attempt: of a test, a fixture's teardown or an import."""
    return {"nodeid": nodeid, "when": when, "text": clipped(words, _LONG_TEXT)}


def judged(subject: str, words: str, *, gate: bool) -> dict[str, Any]:
    """Return why an experiment as a whole, or a gate, fails this run."""
    return {"subject": subject, "kind": "gate" if gate else "experiment", "text": clipped(words, _LONG_TEXT)}


# --- the end ------------------------------------------------------------------------------------


def experiment(state: ExperimentState, level: Level, findings: str, *, stub: bool) -> dict[str, Any]:
    """Return the state of an experiment after the run."""
    assessment = state.assessment
    criteria = () if stub else state.plan.success_criteria.values()
    return {
        "experiment": state.id,
        "name": state.plan.name,
        "status": str(state.status),
        "recommendation": str(assessment.recommendation),
        "text": assessment.notes,
        "confidence": str(assessment.confidence),
        "confidence_text": assessment.confidence_notes,
        "replaced_by": state.replaced_by,
        "criteria": [criterion(c, state.criteria[c.name], level) for c in criteria],
        "sub_experiments": [
            {"id": sub.id, "status": str(sub.status), "reason": clipped(sub.reason, _SHORT_TEXT)}
            for sub in state.subs.values()
        ],
        "issues": list(state.issues),
        "next_steps": [] if stub else next_steps(state),
        "findings": findings,
    }


def gate(result: GateResult) -> dict[str, Any]:
    """Return the state of a gate, with its evidence."""
    return {
        "gate": result.plan.id,
        "name": result.plan.name,
        "state": str(result.state),
        "lines": list(result.lines),
    }


def summary(
    states: Sequence[ExperimentState],
    *,
    counts: Mapping[str, int],
    findings: str,
    notes: Sequence[str],
    stub: bool,
) -> dict[str, Any]:
    """Return the totals of the run; the caller adds the exit code, which is known later."""
    steps = [f"{s.id}: {step}" for s in states if s.started for step in next_steps(s)]
    return {
        "counts": {name.lower().replace(" ", "_"): number for name, number in counts.items()},
        "findings": findings,
        "notes": [clipped(note, _SHORT_TEXT) for note in notes],
        "next": [] if stub else steps[:_MOST_NAMES],
    }


def error(message: str, cause: BaseException | None, exit_code: int) -> dict[str, Any]:
    """Return why the run did not start or finish; each problem of a plan has its position."""
    problems = cause.problems if isinstance(cause, PlanError) else ()
    return {
        "exit_code": exit_code,
        "message": clipped(message, _LONG_TEXT),
        "problems": [
            {
                "file": p.file,
                "line": p.line or None,
                "column": p.column or None,
                "path": p.path,
                "text": f"{p.text}{p.hint}",
            }
            for p in problems[:_MOST_NAMES]
        ],
    }
