"""One attempt while it runs: marked started first, its events journaled, its outcome published once."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_exprunner._util.errors import ExprunnerError
from pytest_exprunner._util.serialization import Plain, clipped, digest_of, plain
from pytest_exprunner.execution.artifacts import ArtifactStore
from pytest_exprunner.execution.runner import ExperimentRunner, event_line
from pytest_exprunner.execution.upstream import Upstream
from pytest_exprunner.model.attempt import (
    Artifact,
    AttemptKey,
    AttemptRecord,
    Event,
    Evidence,
    EvidenceKind,
    Failure,
    Hint,
    Logged,
    Status,
    parse_samples,
)
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.model.layout import Layout, artifact_prefix
from pytest_exprunner.plan.models import Experiment
from pytest_exprunner.provenance.usage import Usage
from pytest_exprunner.store.journal import Journal, note_item_failed, timestamp
from pytest_exprunner.store.tail import announce
from pytest_exprunner.verdicts.criteria import evaluate_alone
from pytest_exprunner.verdicts.handler_result import Returned, check
from pytest_exprunner.verdicts.measurement import Reading

_PROGRESS_SECONDS = 1.0
_LINE_SECONDS = 5.0
_LOGGED_NAMES = 10_000
_MAX_FINDING = 20_000
_STRAYED = 70


class Attempt:
    """Runs what was planned; ends with `complete`, `fail`, `skip` or `interrupt`."""

    def __init__(
        self,
        layout: Layout,
        planned: AttemptRecord,
        experiment: Experiment,
        params: Mapping[str, Any],
        watch: Callable[[str], None],
        needs: Mapping[str, Upstream],
        after: int = 0,
    ) -> None:
        """Mark the attempt started on disk; ``watch`` receives lines for a person.

        ``after`` is the highest number that an attempt of the sub-experiment ever had.
        """
        self._process = os.getpid()
        self._began = time.time()
        self._clock = time.monotonic()
        self._experiment = experiment
        self._watch = watch
        shown = {name: plain(value) for name, value in params.items()}
        self._journal = Journal.begin(layout, planned, self._began, after, shown)
        self.key = self._journal.key
        self._begun = replace(planned, key=self.key, started_at=timestamp(self._began))
        self._logged: dict[str, list[Any]] = {}
        self._evidence: list[Evidence] = []
        self._samples: dict[str, list[float]] = {}
        self._usage = Usage()
        self._told_progress = 0.0
        self._told_line = self._began
        self._store = ArtifactStore(
            self._journal.artifacts,
            artifact_prefix(self.key.sub_experiment, self.key.variant, self.key.seed),
            self._announce,
        )
        announce(layout, planned.run, self.key)
        self.record: AttemptRecord | None = None
        self.results: list[CriterionResult] = []
        """The verdict of each criterion that this attempt alone decides."""
        self.published = ""
        """The record as it was written, once the attempt has ended."""
        sub = experiment.sub_experiments[self.key.sub_experiment]
        self._checkpoints = _checkpoints(layout, self.key)
        self.runner = ExperimentRunner(
            self._begun,
            self._emit,
            self._store,
            needs,
            MappingProxyType(dict(params)),
            _config(sub),
            lambda: Path(self._checkpoints, f"key-{digest_of(planned.inputs)}"),
        )

    @property
    def folder(self) -> str:
        """Where its files are."""
        return self._journal.folder

    def end_forked(self) -> None:
        """End this process if it was forked from the one that makes the attempt: it has no say in it.

        Back from the handler, it would publish what it returned and go on with the rest of the run.
        """
        if os.getpid() != self._process:
            with contextlib.suppress(Exception):
                words = "a forked process returned from the handler; it was ended and does not count"
                self._journal.log(f"{words}\n")
            os._exit(_STRAYED)

    def complete(self, returned: object) -> AttemptRecord:
        """Publish what the handler returned. Raises `HandlerError` if its shape is wrong."""
        parts = check(returned, self.key.sub_experiment)
        record = self._publish(Status.COMPLETED, parts)
        if os.path.isdir(self._checkpoints):
            shutil.rmtree(self._checkpoints, ignore_errors=True)
        return record

    def stub(self) -> AttemptRecord:
        """Publish an attempt that never called the handler and can never count."""
        self._evidence.append(Evidence(EvidenceKind.STUB, "the handler was not called", ""))
        return self._publish(Status.COMPLETED, Returned(finding="Stub run: the handler was not called."))

    def fail(self, failure: Failure, hints: Sequence[Hint] = ()) -> AttemptRecord:
        """Publish an attempt that did not complete; what it logged and saved is kept."""
        message = clipped(failure.message, _MAX_FINDING)
        return self._publish(Status.FAILED, error=replace(failure, message=message), hints=tuple(hints))

    def skip(self, reason: str) -> AttemptRecord:
        """Publish an attempt that its handler or a marker skipped."""
        return self._publish(Status.SKIPPED, reason=reason)

    def interrupt(self, reason: str) -> AttemptRecord:
        """Publish an attempt that was stopped from outside and is unfinished."""
        return self._publish(Status.IN_PROGRESS, reason=reason)

    def item_failed(self, why: str) -> None:
        """Note that something failed after the attempt had completed: it cannot stand for another run."""
        note_item_failed(self._journal.folder, why)

    def log(self, text: str) -> None:
        """Append text to the attempt's log."""
        self._journal.log(text)

    def close(self) -> None:
        """Close the files; the attempt has ended."""
        self._journal.close()

    def _publish(
        self,
        status: Status,
        parts: Returned | None = None,
        *,
        error: Failure | None = None,
        hints: tuple[Hint, ...] = (),
        reason: str = "",
    ) -> AttemptRecord:
        parts = parts or Returned()
        finished = time.time()
        record = replace(
            self._begun,
            status=status,
            finished_at=timestamp(finished),
            duration_s=round(time.monotonic() - self._clock, 6),
            finding=clipped(parts.finding, _MAX_FINDING),
            metrics=parts.metrics,
            artifacts=self._store.finish(),
            listed=parts.artifacts,
            evidence=tuple(self._evidence),
            logged={name: Logged(seen[0], seen[1]) for name, seen in self._logged.items()},
            samples={name: tuple(values) for name, values in self._samples.items()},
            error=error,
            hints=hints,
            reason=reason,
            extra=parts.extra,
            provenance={**self._begun.provenance, "usage": self._usage.so_far()},
        )
        is_real = EvidenceKind.STUB not in record.kinds
        if status is Status.COMPLETED and is_real and record.key.seed is None:
            criteria = self._experiment.success_criteria.values()
            self.results = evaluate_alone(criteria, Reading(record))
            record = replace(record, verdicts={r.name: str(r.verdict) for r in self.results})
        self._journal.append(Event("finished", finished, {"status": str(status)}))
        self.published = self._journal.publish(record).decode()
        self.record = record
        return record

    def _announce(self, artifact: Artifact) -> None:
        data: dict[str, Plain] = {
            "path": artifact.path,
            "sha256": artifact.sha256,
            "bytes": artifact.bytes,
            "type": artifact.type,
        }
        self._journal.append(Event("artifact", time.time(), data))

    def _emit(self, event: Event) -> None:
        if self.record is not None:
            raise ExprunnerError(
                f"this attempt of {self.key.label} has ended; its runner can no longer be used"
            )
        kind = event.kind
        if kind == "progress" and not self._progress_due(event):
            return
        self._journal.append(event)
        if kind == "metrics":
            self._count(dict(event.data)["metrics"])  # type: ignore[arg-type]
            return
        if kind == "samples":
            found: Any = event.data
            self._samples.setdefault(found["name"], []).extend(parse_samples(found["values"]))
            return
        if kind == "evidence":
            data = event.data
            self._evidence.append(
                Evidence(EvidenceKind(str(data["kind"])), str(data["reason"]), str(data["place"]))
            )
        line = event_line(event)
        if line and (kind != "track" or self._line_due(event)):
            self._journal.log(f"{timestamp(event.time)} {line}\n")
            self._watch(f"{self.key.label}: {line}")

    def _progress_due(self, event: Event) -> bool:
        if event.time - self._told_progress < _PROGRESS_SECONDS and event.data["fraction"] != 1.0:
            return False
        self._told_progress = event.time
        return True

    def _line_due(self, event: Event) -> bool:
        """Return whether a person wants to read again how far a loop is: now and then, and at its end."""
        over = event.data["done"] == event.data["total"] or event.data["total"] is None
        due = over or event.time - self._told_line >= _LINE_SECONDS
        if due:
            self._told_line = event.time
        return due

    def _count(self, metrics: Mapping[str, Plain]) -> None:
        logged = self._logged
        for name, value in metrics.items():
            seen = logged.get(name)
            if seen is not None:
                seen[0] += 1
                seen[1] = value
            elif len(logged) < _LOGGED_NAMES:
                logged[name] = [1, value]


def _checkpoints(layout: Layout, key: AttemptKey) -> str:
    """The folder of all checkpoints of a (variant, seed) of a sub-experiment."""
    slot = artifact_prefix(key.sub_experiment, key.variant, key.seed).partition("/")[2]
    return f"{layout.checkpoints}/{key.experiment}/{slot}"


def _config(sub: Any) -> Mapping[str, Any]:
    known = {"id": sub.id, "name": sub.name, "objective": sub.objective}
    return MappingProxyType({**known, **(sub.model_extra or {})})
