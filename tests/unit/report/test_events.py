"""What a program is told: events as plain mappings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import orjson
import pytest

import pytest_exprunner
from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord
from pytest_exprunner.plugin.event_output import into_file
from pytest_exprunner.report import events
from pytest_exprunner.report.events import Milestones, Told

KEY = AttemptKey("x1", "e_x1_1", 1)


def row(seconds: float, step: int) -> dict[str, object]:
    """A row as a journal has it."""
    return {"event": "metrics", "time": seconds, "metrics": {"loss": {"$float": "NaN"}}, "step": step}


def steps(told: list[Told]) -> list[int]:
    """The steps of the rows that are told."""
    return [one.data["step"] for one in told if one.event == "metrics"]


def test_a_row_a_second_and_the_last() -> None:
    """Of a thousand rows in ten seconds eleven are told or twelve, the first and the last among them."""
    milestones = Milestones(KEY, "n")
    told = [one for i in range(1000) for one in milestones.take(row(i / 100, i))]
    told += milestones.last()
    assert steps(told) == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 999]
    assert told[-1].data["rows"] == 1000
    assert list(milestones.last()) == []


def test_a_row_that_waits_is_told_when_it_is_due() -> None:
    """Where nothing follows it, a row is told after a second all the same."""
    milestones = Milestones(KEY, "n")
    told = [*milestones.take(row(0.0, 0)), *milestones.take(row(0.5, 1))]
    assert steps(told) == [0]
    assert list(milestones.due(0.9)) == []
    assert steps(list(milestones.due(1.0))) == [1]


def test_each_stage_is_told() -> None:
    """Stages are not left out, however fast they follow each other."""
    milestones = Milestones(KEY, "n")
    told = [
        one
        for i in range(3)
        for one in milestones.take(
            {"event": "stage", "time": i / 10, "text": f"s{i}", "current": i, "total": 3}
        )
    ]
    assert [one.data["stage"] for one in told] == ["s0", "s1", "s2"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "NaN"),
        (-float("inf"), "-Infinity"),
        (2**64, "0x10000000000000000"),
        (True, True),
        ("https://me:hunter22@host", "https://[redacted]@host"),
        ("\ud800", "\\ud800"),
        ({"a": [1.5, float("inf")]}, {"a": [1.5, "Infinity"]}),
    ],
)
def test_values_of_a_line(value: object, expected: object) -> None:
    """Every value has a form that strict readers of JSON take."""
    line = events.line("metrics", {"value": value}, run=None, sequence=1, seconds=0.0)
    assert orjson.loads(orjson.dumps(line))["value"] == expected


def test_the_schema_is_where_it_is_looked_for() -> None:
    """It stands in the package, under the name of what it describes."""
    folder = Path(pytest_exprunner.__file__).parent / "json_schemas"
    assert orjson.loads((folder / "event.json").read_bytes()) == events.schema()


def test_a_full_disk(tmp_path: Path) -> None:
    """What cannot be written is noted, and nothing raises."""
    lines = into_file(Path("/dev/full"), "full")
    lines.write({"a": 1})
    assert lines.problem == "No space left on device"
    lines.write({"a": 2})
    lines.close()
    lines.close()
    lines = into_file(tmp_path / "a.jsonl", "a.jsonl")
    lines.close()
    lines.write({"a": 1})
    assert (tmp_path / "a.jsonl").read_bytes() == b""


def test_hints_of_a_failure() -> None:
    """What is known about a cause goes along; a record without has none."""
    hint = SimpleNamespace(rule="oom", cause="Out of memory.", fix="Halve the batch.", snippet=None)
    known = cast("AttemptRecord", SimpleNamespace(hints=(hint,)))
    assert events.hints(known) == [
        {"rule": "oom", "cause": "Out of memory.", "fix": "Halve the batch.", "snippet": "", "link": ""}
    ]
    assert events.hints(cast("AttemptRecord", SimpleNamespace())) == []
