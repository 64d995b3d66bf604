"""The append-only journal: what was written is read, what is torn is tolerated, the rest is told."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest
from builders import SUB, X1, fold_one, make_record, planned_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_exprunner._util.serialization import decode
from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord, Event, Status
from pytest_exprunner.model.layout import EVENTS, RECORD, Layout
from pytest_exprunner.store.journal import AttemptLog, Journal, read_attempts, read_events, timestamp

NOW = 1_768_926_700.657242


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """An empty results folder."""
    return Layout(tmp_path / "research")


def begun(layout: Layout, **more: Any) -> Journal:
    """Begin an attempt."""
    return Journal.begin(layout, planned_record(**more), NOW)


def ended(journal: Journal, **more: object) -> AttemptRecord:
    """Publish and close an attempt."""
    record = make_record(sequence=journal.key.sequence, **more)  # type: ignore[arg-type]
    journal.publish(record)
    journal.close()
    return record


def only(layout: Layout) -> AttemptRecord:
    """Return the one attempt there is."""
    attempts = read_attempts(layout, X1).attempts
    assert [len(found) for found in attempts.values()] == [1]
    return attempts[SUB][0]


def test_what_was_written_is_read(layout: Layout) -> None:
    """Records come back equal, oldest first, and nothing is wrong with them."""
    records = [ended(begun(layout)) for _ in range(3)]
    log = read_attempts(layout, X1)
    assert log.attempts == {SUB: records}
    assert log.problems == []
    assert [r.key.sequence for r in records] == [1, 2, 3]
    assert (log.last_sequence(SUB), log.last_sequence("e_x1_9")) == (3, 0)


def test_reading_nothing(layout: Layout) -> None:
    """Where there is no folder there are no attempts, and none is made."""
    assert read_attempts(layout, X1) == AttemptLog()
    assert not layout.root.exists()


def test_an_attempt_that_started(layout: Layout) -> None:
    """From its start an attempt is known, with its variant and its run, before anything else."""
    journal = begun(layout, variant="a", variants=("a", "b"), run="run-7")
    found = only(layout)
    assert (found.status, found.reason) == (Status.IN_PROGRESS, "it started but never finished")
    assert found.key == AttemptKey(X1, SUB, 1, "a")
    assert (found.run, found.started_at) == ("run-7", "2026-01-20T16:31:40.657242Z")
    journal.close()


def test_events_are_there_at_once(layout: Layout) -> None:
    """Once an event is appended another process sees it, special numbers included."""
    journal = begun(layout)
    journal.append(Event("metrics", NOW, {"metrics": {"loss": math.nan, "n": 2**70}, "step": 3}))
    journal.log("a line\ud800\n")
    started, metrics = read_events(Path(journal.folder) / EVENTS)
    assert started["event"] == "started"
    assert metrics["event"] == "metrics"
    assert metrics["metrics"]["loss"] in ({"$float": "NaN"}, "NaN") or math.isnan(metrics["metrics"]["loss"])
    assert (Path(journal.folder) / "log.txt").read_bytes() == b"a line\\ud800\n"
    journal.close()


_NUMBERS = st.one_of(st.floats(), st.integers(), st.just(10**400), st.booleans())


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(metrics=st.dictionaries(st.sampled_from(["loss", "$float", "$x", "null", "a/b"]), _NUMBERS))
def test_metrics_come_back_as_they_went(tmp_path: Path, metrics: dict[str, float]) -> None:
    """Whatever the numbers are, also those that JSON lacks."""
    layout = Layout(Path(tempfile.mkdtemp(dir=tmp_path)))
    journal = begun(layout)
    journal.append(Event("metrics", NOW, {"metrics": metrics, "step": 3}))
    journal.close()
    _started, found = read_events(Path(journal.folder) / EVENTS)
    assert repr(decode(found["metrics"])) == repr(metrics)
    assert found["step"] == 3


def test_events_cut_at_every_byte(layout: Layout) -> None:
    """A journal that a kill cut anywhere is read as far as its lines are whole."""
    journal = begun(layout)
    for step in range(5):
        journal.append(Event("metrics", NOW, {"metrics": {"loss": 0.5}, "step": step}))
    journal.close()
    file = Path(journal.folder) / EVENTS
    data = file.read_bytes()
    for length in range(len(data) + 1):
        file.write_bytes(data[:length])
        assert len(list(read_events(file))) == data[:length].count(b"\n")
        assert only(layout).status is Status.IN_PROGRESS


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not valid JSON"),
        (b"{}", "schema_version is None; this version reads 1"),
        (b'{"schema_version": 1, "x": {"$float": []}}', ""),
        (b"[" * 900 + b"]" * 900, ""),
    ],
    ids=["empty", "foreign", "marker", "deep"],
)
def test_a_broken_record_is_told(layout: Layout, data: bytes, words: str) -> None:
    """A record that cannot be used is a problem, and its attempt never counts as completed."""
    journal = begun(layout)
    ended(journal, metrics={"accuracy": 0.9})
    (Path(journal.folder) / RECORD).write_bytes(data)
    log = read_attempts(layout, X1)
    assert len(log.problems) == 1
    assert log.problems[0].startswith(f"attempts/{SUB}/0001/{RECORD} cannot be used: ")
    assert words in log.problems[0]
    assert log.attempts[SUB][0].status is Status.IN_PROGRESS


@pytest.mark.parametrize(
    "started",
    [
        {"variant": ["a"]},
        {"variant": 5},
        {"seed": "zero"},
        {"seed": [1]},
        {"run": None},
        {"variants": [["a"]]},
        {"variants": "ab"},
        {"time": 1e300},
        {"time": -1e300},
        {"time": "now"},
        {"time": None},
    ],
    ids=str,
)
def test_an_odd_start_never_raises(layout: Layout, started: dict[str, object]) -> None:
    """Whatever the first event holds, the attempt is read, folded and unfinished."""
    journal = begun(layout)
    journal.close()
    event = {"event": "started", "time": NOW, "variant": None, "seed": None, **started}
    (Path(journal.folder) / EVENTS).write_bytes(orjson.dumps(event) + b"\n")
    state = fold_one([only(layout)])
    assert state.status in (Status.IN_PROGRESS, Status.NOT_STARTED)
    assert not state.criteria["accuracy"].met


def test_a_record_of_another_attempt(layout: Layout) -> None:
    """A record that was copied to another place does not count there."""
    first, second = begun(layout), begun(layout)
    ended(first)
    second.close()
    (Path(second.folder) / RECORD).write_bytes((Path(first.folder) / RECORD).read_bytes())
    log = read_attempts(layout, X1)
    assert log.problems == [f"attempts/{SUB}/0002/{RECORD} belongs to another attempt ({X1} {SUB} 1)"]
    assert log.attempts[SUB][1].status is Status.IN_PROGRESS


def test_foreign_files_are_no_attempts(layout: Layout) -> None:
    """Files and folders with other names are left alone."""
    ended(begun(layout))
    folder = layout.attempts(X1)
    (folder / "notes.txt").touch()
    (folder / SUB / "mine").mkdir()
    (folder / SUB / "0002").touch()
    log = read_attempts(layout, X1)
    assert [len(found) for found in log.attempts.values()] == [1]
    assert log.problems == []


def test_two_at_once_take_two_numbers(layout: Layout) -> None:
    """Attempts that begin at the same time never share a folder."""
    journals = [begun(layout) for _ in range(12)]
    assert [j.key.sequence for j in journals] == list(range(1, 13))
    assert len({j.folder for j in journals}) == 12
    for journal in journals:
        journal.close()


def test_a_record_appears_whole(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that could not be written is not there; a kill between leaves the attempt unfinished."""
    journal = begun(layout)

    def broken(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        for name in ("rename", "replace"):
            patch.setattr(os, name, broken)
            patch.setattr(Path, name, broken)
        with pytest.raises(OSError, match="Input/output"):
            journal.publish(make_record({"accuracy": 0.9}))
    assert only(layout).status is Status.IN_PROGRESS
    ended(journal)
    assert only(layout).status is Status.COMPLETED


def test_a_log_puts_the_outcome_in_the_place_of_the_start() -> None:
    """Adding a record replaces the unfinished one of its number and keeps the order."""
    log = AttemptLog()
    for sequence in (2, 1, 3):
        log.add(make_record(sequence=sequence, status=Status.IN_PROGRESS))
    log.add(make_record({"accuracy": 0.8}, sequence=2))
    assert [(r.key.sequence, str(r.status)) for r in log.attempts[SUB]] == [
        (1, "in_progress"),
        (2, "completed"),
        (3, "in_progress"),
    ]


def test_timestamps() -> None:
    """UTC with microseconds, so that text sorts as time."""
    assert timestamp(NOW) == "2026-01-20T16:31:40.657242Z"
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read(tmp_path: Path, data: bytes) -> None:
    """Reading events of any content never raises."""
    file = tmp_path / EVENTS
    file.write_bytes(data)
    assert all(isinstance(event, dict) for event in read_events(file))
