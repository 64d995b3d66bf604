"""State → the events that a program reads while a run goes on: plain mappings, one for each line.

What the fields mean is said in ``json_schemas/event.json``, which every line follows.
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
    """Return a whole event, without secrets; ``seconds`` since 1970 is when it happened."""
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
    """What is going to be run, and how."""
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
    """One thing that was selected, and what has to have ended well before it."""
    experiment = plan.experiments.get(item.experiment)
    sub = experiment.sub_experiments.get(item.sub_experiment) if experiment else None
    return {
        **selected_item(item),
        "needs": list(sub.needs) if sub else [],
        "dependencies": list(plan.requirements(item.experiment)) if experiment else [],
    }


def selected_item(item: Selected) -> dict[str, Any]:
    """How an item is named."""
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
    """An attempt as its journal says that it began."""
    params = started.get("params")
    return {
        **_attempt(key, str(started.get("nodeid", ""))),
        "params": _bounded(decode(params)) if isinstance(params, dict) else {},
        "folder": folder,
    }


class Told(NamedTuple):
    """An event to be told, and when it happened."""

    event: str
    data: dict[str, Any]
    seconds: float


@dataclass(slots=True)
class Milestones:
    """What is told of a running attempt: about a row a second, and the last one."""

    key: AttemptKey
    nodeid: str
    _rows: int = 0
    _progress: Progress = field(default_factory=lambda: Progress("", 0.0))
    _waiting: dict[str, Told] = field(default_factory=dict)
    _told: dict[str, float] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> Iterator[Told]:
        """Take in an event of its journal; yield what it is time to tell."""
        kind, seconds = event.get("event"), time_of(event)
        self._progress = after(self._progress, event)
        if kind == "metrics":
            self._rows += 1
            self._waiting["metrics"] = Told("metrics", event, seconds)  # type: ignore[arg-type]
        elif kind in _PROGRESS:
            self._waiting["progress"] = Told("progress", {}, seconds)
            if kind == "stage":  # told in any case
                self._told.pop("progress", None)
        yield from self.due(seconds)

    def due(self, now: float) -> Iterator[Told]:
        """Yield what has waited long enough."""
        for name in list(self._waiting):
            if now - self._told.get(name, -math.inf) >= _BETWEEN_ROWS:
                yield self._next(name, now)

    def last(self) -> Iterator[Told]:
        """Yield what has not been told when it ends."""
        for name in list(self._waiting):
            yield self._next(name, math.inf)

    def _next(self, name: str, now: float) -> Told:
        waiting = self._waiting.pop(name)
        self._told[name] = now
        data = self._row(waiting.data) if name == "metrics" else self._step()
        return Told(name, {**_attempt(self.key, self.nodeid), **data}, waiting.seconds)

    def _row(self, event: Mapping[str, Any]) -> dict[str, Any]:
        logged, step = event.get("metrics"), event.get("step")
        metrics = _bounded(decode(logged)) if isinstance(logged, dict) else {}
        return {"metrics": metrics, "step": step if type(step) is int else None, "rows": self._rows}

    def _step(self) -> dict[str, Any]:
        said = self._progress
        return {
            "stage": said.stage or None,
            "stage_number": said.stage_number,
            "stages": said.stages,
            "title": said.title or None,
            "done": said.done,
            "total": said.total,
            "fraction": said.fraction,
        }


def time_of(event: Mapping[str, Any]) -> float:
    """Return when an event of a journal happened, in seconds since 1970."""
    seconds = event.get("time")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _bounded(value: Plain) -> Plain:
    """Return metrics of bounded size: of many or large ones, the numbers and short texts."""
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
    """An attempt as it ended, with what the criteria that it decides alone say."""
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
    """Return the criteria that an attempt decides by itself: none where seeds or others have a part in it."""
    alone = record.status is Status.COMPLETED and record.key.seed is None
    if experiment is None or experiment.together or not alone or "stub" in map(str, record.kinds):
        return []
    found = evaluate_alone(experiment.success_criteria.values(), Reading(record))
    return [(experiment.success_criteria[result.name], result) for result in found]


def hints(record: AttemptRecord) -> list[dict[str, str]]:
    """Return what is known about the cause of a failure."""
    return [
        {name: str(getattr(hint, name, "") or "") for name in _HINT} for hint in getattr(record, "hints", ())
    ]


def criterion(plan: Criterion, result: CriterionResult, level: Level) -> dict[str, Any]:
    """A criterion: its tiers, its value and what follows."""
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


# --- what no attempt of this run says -----------------------------------------------------------


def blocked(item: Selected, reason: str) -> dict[str, Any]:
    """An item that was not run, and why."""
    return {**selected_item(item), "reason": reason}


def replayed(item: Selected, sequence: int, outcome: str, words: str) -> dict[str, Any]:
    """An item whose stored attempt stands, and what that says."""
    return {
        **selected_item(item),
        "attempt": sequence,
        "outcome": outcome,
        "text": clipped(words, _LONG_TEXT),
    }


def item_failed(nodeid: str, when: str, words: str) -> dict[str, Any]:
    """Something failed that no attempt tells of: a test, a fixture's teardown, an import."""
    return {"nodeid": nodeid, "when": when, "text": clipped(words, _LONG_TEXT)}


def judged(subject: str, words: str, *, gate: bool) -> dict[str, Any]:
    """Why an experiment as a whole, or a gate, fails this run."""
    return {"subject": subject, "kind": "gate" if gate else "experiment", "text": clipped(words, _LONG_TEXT)}


# --- the end ------------------------------------------------------------------------------------


def experiment(state: ExperimentState, level: Level, findings: str, *, stub: bool) -> dict[str, Any]:
    """Where an experiment stands after the run."""
    said = state.assessment
    criteria = () if stub else state.plan.success_criteria.values()
    return {
        "experiment": state.id,
        "name": state.plan.name,
        "status": str(state.status),
        "recommendation": str(said.recommendation),
        "text": said.notes,
        "confidence": str(said.confidence),
        "confidence_text": said.confidence_notes,
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
    """Where a gate stands, and the evidence."""
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
    """What the run comes to; the exit code is known a moment later."""
    steps = [f"{s.id}: {step}" for s in states if s.started for step in next_steps(s)]
    return {
        "counts": {name.lower().replace(" ", "_"): number for name, number in counts.items()},
        "findings": findings,
        "notes": [clipped(note, _SHORT_TEXT) for note in notes],
        "next": [] if stub else steps[:_MOST_NAMES],
    }


def error(message: str, cause: BaseException | None, exit_code: int) -> dict[str, Any]:
    """Why there was no run, or none that came to its end; each problem of a plan in its place."""
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
