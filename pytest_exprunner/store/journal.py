"""The append-only record of attempts: one folder each, events as they happen, one record at the end.

Writing belongs to the process that runs the attempt. Reading never changes anything: a torn last
line is tolerated, anything else that is broken is reported.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from pytest_exprunner._util.serialization import Plain, decode, encode
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
    dump_record,
    parse_record,
    parse_samples,
    stays_inside,
)
from pytest_exprunner.model.layout import ARTIFACTS, EVENTS, ITEM_FAILED, LOG, RECORD, Layout, attempt_name
from pytest_exprunner.store import atomic

_TAIL_BYTES = 20_000
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


def timestamp(seconds: float) -> str:
    """Return UTC time as ISO 8601 with microseconds, ``2026-01-20T16:31:40.657242Z``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


class Journal:
    """The files of one attempt while it runs. Each record is one ``write``."""

    def __init__(self, folder: str, key: AttemptKey) -> None:
        """Open the event file of an attempt whose folder exists."""
        self.folder = folder
        self.key = key
        self._events = os.open(f"{folder}/{EVENTS}", _APPEND, 0o666)
        self._log = -1

    @classmethod
    def begin(
        cls,
        layout: Layout,
        planned: AttemptRecord,
        now: float,
        after: int = 0,
        params: Mapping[str, Plain] | None = None,
    ) -> Journal:
        """Take a sequence number above ``after`` and mark the attempt started, before anything runs."""
        folder, sequence = take_next(layout, planned.key.experiment, planned.key.sub_experiment, after)
        key = replace(planned.key, sequence=sequence)
        journal = cls(folder, key)
        started = {
            "variant": planned.key.variant,
            "seed": planned.key.seed,
            "run": planned.run,
            "nodeid": planned.nodeid,
            "variants": list(planned.variants),
            "rng_seed": planned.rng_seed,
            "params": dict(params or {}),
        }
        journal.append(Event("started", now, started))
        return journal

    @property
    def artifacts(self) -> str:
        """The folder of this attempt's artifacts; may not exist yet."""
        return f"{self.folder}/{ARTIFACTS}"

    def append(self, event: Event) -> None:
        """Write one event as a line of JSON. Once this returns, a kill loses nothing of it."""
        line = _line(event)
        written = os.write(self._events, line)
        while written < len(line):
            written += os.write(self._events, line[written:])

    def log(self, text: str) -> None:
        """Append text to the attempt's log."""
        if self._log < 0:
            self._log = os.open(f"{self.folder}/{LOG}", _APPEND, 0o666)
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._log, data) :]

    def publish(self, record: AttemptRecord) -> bytes:
        """Make the outcome of the attempt visible, by one rename; return it as it was written."""
        temporary = f"{self.folder}/.{RECORD}.tmp"
        written = dump_record(record)
        atomic.write(temporary, written)
        os.rename(temporary, f"{self.folder}/{RECORD}")
        return written

    def close(self) -> None:
        """Close the files; nothing is appended after this."""
        for descriptor in (self._events, self._log):
            if descriptor >= 0:
                with contextlib.suppress(OSError):  # closed by the handler
                    os.close(descriptor)
        self._events = self._log = -1


def _line(event: Event) -> bytes:
    kind, time, data = event
    if kind == "metrics":  # the one kind that comes by the hundred thousand, and is numbers as a rule
        row: Any = data["metrics"]
        try:
            if (len(row) != 1 or next(iter(row))[:1] != "$") and all(map(math.isfinite, row.values())):
                line = {"event": kind, "time": time, **data}
                return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        except (TypeError, OverflowError):  # an integer beyond 64 bits, or beyond any float
            pass
    encoded = {name: encode(value) for name, value in data.items()}
    return orjson.dumps({"event": kind, "time": time, **encoded}, option=orjson.OPT_APPEND_NEWLINE)


def take_next(layout: Layout, experiment: str, sub_experiment: str, after: int) -> tuple[str, int]:
    """Make the folder of the next attempt, numbered above ``after``; making it is what takes the number."""
    folder = f"{layout.attempts(experiment)}/{sub_experiment}"
    sequence = after + 1
    try:
        os.mkdir(folder)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError:
        sequence = max([after, *_sequences(folder)]) + 1
    while True:
        attempt = f"{folder}/{attempt_name(sequence)}"
        try:
            os.mkdir(attempt)
        except FileExistsError:
            sequence += 1
            continue
        return attempt, sequence


def _sequences(folder: str | Path) -> Iterator[int]:
    """The numbers of the attempts in a sub-experiment's folder."""
    for entry in os.scandir(folder):
        if entry.name.isdecimal() and entry.is_dir():
            yield int(entry.name)


@dataclass(slots=True)
class AttemptLog:
    """Every attempt of an experiment, oldest first, and what could not be read."""

    attempts: dict[str, list[AttemptRecord]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, record: AttemptRecord) -> None:
        """Add an attempt, or put its final record in the place of its unfinished one."""
        attempts = self.attempts.setdefault(record.key.sub_experiment, [])
        for index, other in enumerate(attempts):
            if other.key.sequence == record.key.sequence:
                attempts[index] = record
                return
        attempts.append(record)
        attempts.sort(key=lambda attempt: attempt.key.sequence)

    def last_sequence(self, sub_experiment: str) -> int:
        """Return the highest sequence number of a sub-experiment, 0 where there is none."""
        attempts = self.attempts.get(sub_experiment, ())
        return attempts[-1].key.sequence if attempts else 0


def read_attempts(layout: Layout, experiment: str, subs: Collection[str] | None = None) -> AttemptLog:
    """Read all attempts of an experiment, or of some sub-experiments. Never raises on their content."""
    log = AttemptLog()
    root = layout.attempts(experiment)
    try:
        folders = sorted(
            entry.name
            for entry in os.scandir(root)
            if (subs is None or entry.name in subs) and entry.is_dir()
        )
    except FileNotFoundError:
        return log
    except OSError as error:
        log.problems.append(f"{root} cannot be read: {error.strerror}")
        return log
    for sub in folders:
        for sequence in sorted(_sequences(root / sub)):
            key = AttemptKey(experiment, sub, sequence)
            record = _read_attempt(layout.attempt(key), key, log.problems)
            if record.run or record.finished_at or not _is_only_a_number(layout.attempt(key)):
                log.attempts.setdefault(sub, []).append(record)
    return log


def _is_only_a_number(folder: Path) -> bool:
    """Return whether an attempt's folder was made to take its number, and nothing has begun in it."""
    try:
        return not any(folder.iterdir())
    except OSError:
        return True


def read_attempt(folder: Path, key: AttemptKey) -> AttemptRecord:
    """Return the record of an attempt, or what its journal has if the record cannot be used."""
    record = _read_attempt(folder, key, [])
    return recovered(folder, record) if record.finished_at is None else record


def _read_attempt(folder: Path, key: AttemptKey, problems: list[str]) -> AttemptRecord:
    try:
        record = parse_record((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return _unfinished(folder, key, "it started but never finished")
    except (OSError, ValueError) as error:
        problems.append(f"attempts/{key.sub_experiment}/{folder.name}/{RECORD} cannot be used: {error}")
        return _unfinished(folder, key, f"its record cannot be used: {error}")
    same = (record.key.experiment, record.key.sub_experiment, record.key.sequence)
    if same != (key.experiment, key.sub_experiment, key.sequence):
        problems.append(
            f"attempts/{key.sub_experiment}/{folder.name}/{RECORD} belongs to another attempt "
            f"({record.key.experiment} {record.key.sub_experiment} {record.key.sequence})"
        )
        return _unfinished(folder, key, "its record belongs to another attempt")
    return record


def _unfinished(folder: Path, key: AttemptKey, reason: str) -> AttemptRecord:
    started: Mapping[str, Any] = next(
        (event for event in read_events(folder / EVENTS) if event.get("event") == "started"), {}
    )
    variants, seconds = started.get("variants"), started.get("time")
    known = isinstance(variants, list) and all(v is None or isinstance(v, str) for v in variants)
    return AttemptRecord(
        key=open_slot(key, started),
        run=str(started.get("run", "")),
        nodeid=str(started.get("nodeid", "")),
        status=Status.IN_PROGRESS,
        started_at=_readable_time(seconds),
        finished_at=None,
        duration_s=None,
        rng_seed=0,
        reason=reason,
        variants=tuple(variants) if known and isinstance(variants, list) else (None,),
    )


def open_slot(key: AttemptKey, started: Mapping[str, Any]) -> AttemptKey:
    """Return the key of an attempt with the variant and seed of its first event."""
    variant, seed = started.get("variant"), started.get("seed")
    return replace(
        key,
        variant=variant if isinstance(variant, str) else None,
        seed=seed if type(seed) is int else None,
    )


def close_lost(
    folder: Path,
    started: AttemptRecord,
    planned: AttemptRecord,
    error: Failure,
    now: float,
    hints: Sequence[Hint] = (),
) -> str:
    """Publish the record of an attempt whose process is gone, from its events; return it as written.

    What it had logged, saved and declared is in it: once acknowledged, nothing is lost.
    """
    record = replace(
        recovered(folder, started),
        status=Status.FAILED,
        finished_at=timestamp(now),
        duration_s=round(max(now - _began(folder, now), 0.0), 6),
        rng_seed=planned.rng_seed,
        error=error,
        hints=tuple(hints),
        reason="",
        registered=planned.registered,
        terms=planned.terms,
        options=planned.options,
        provenance=planned.provenance,
        inputs=planned.inputs,
    )
    written = dump_record(record)
    atomic.replace(folder / RECORD, written)
    return written.decode()


def _began(folder: Path, default: float) -> float:
    times = (event.get("time") for event in read_events(folder / EVENTS) if event.get("event") == "started")
    return next((time for time in times if isinstance(time, float)), default)


def recovered(folder: Path, started: AttemptRecord) -> AttemptRecord:
    """Return the record of an attempt that never ended, with what its journal holds."""
    artifacts: dict[str, Artifact] = {}
    evidence: list[Evidence] = []
    logged: dict[str, Logged] = {}
    samples: dict[str, list[float]] = {}
    for event in read_events(folder / EVENTS):
        kind = event.get("event")
        # A line that lost a part and still is JSON is ignored.
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
            if kind == "artifact":
                stored = Artifact(event["path"], event["sha256"], event["bytes"], event.get("type", "file"))
                if stays_inside(stored.path):
                    artifacts[stored.path] = stored
            elif kind == "evidence":
                evidence.append(Evidence(EvidenceKind(event["kind"]), event["reason"], event["place"]))
            elif kind == "metrics":
                for name, value in event["metrics"].items():
                    seen = logged.get(name)
                    logged[name] = Logged(seen.count + 1 if seen else 1, decode(value))
            elif kind == "samples":
                samples.setdefault(event["name"], []).extend(parse_samples(event["values"]))
    return replace(
        started,
        artifacts=tuple(artifacts.values()),
        evidence=tuple(evidence),
        logged=logged,
        samples={name: tuple(values) for name, values in samples.items()},
    )


def note_item_failed(folder: Path | str, why: str) -> None:
    """Note that the item of an attempt failed after the attempt had completed."""
    atomic.replace(Path(folder) / ITEM_FAILED, f"{why}\n".encode("utf-8", "backslashreplace"))


def item_failed(folder: Path) -> str:
    """Return why the item of a completed attempt failed all the same; empty where it did not."""
    try:
        lines = (folder / ITEM_FAILED).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    return lines[0] if lines else "its test failed"


def last_lines(folder: Path, most: int) -> list[str]:
    """Return the end of an attempt's log, and the metrics that it logged last."""
    try:
        with (folder / LOG).open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(stream.tell() - _TAIL_BYTES, 0))
            lines = stream.read().decode("utf-8", "replace").splitlines()[-most:]
    except OSError:
        lines = []
    last: dict[str, Any] = {}
    for event in read_events(folder / EVENTS):
        if event.get("event") == "metrics" and isinstance(event.get("metrics"), dict):
            last = event
    if last:
        values = ", ".join(f"{name} {value}" for name, value in last["metrics"].items())
        step = last.get("step")
        lines.append(f"metrics{'' if step is None else f' of step {step}'}: {values}")
    return lines


def _readable_time(seconds: object) -> str:
    try:
        return timestamp(seconds) if isinstance(seconds, float) else ""
    except (OverflowError, ValueError, OSError):
        return ""


def read_events(file: Path) -> Iterator[dict[str, Any]]:
    """The events of an attempt as far as they are whole lines of JSON."""
    try:
        with file.open("rb") as stream:
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                try:
                    event = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(event, dict):
                    yield event
    except OSError:
        return
