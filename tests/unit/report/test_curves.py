"""Curves are thinned without hiding what a person must see."""

from __future__ import annotations

import math
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.serialization import encode
from pytest_exprunner.report.html import curves
from pytest_exprunner.report.html.curves import LoggedCurve, curve, keep

_NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=32)


@given(values=st.lists(_NUMBERS, min_size=1, max_size=400), buckets=st.integers(1, 20))
def test_ends_and_extremes_are_kept(values: list[float], buckets: int) -> None:
    """Whatever is thinned, the first, the last, the lowest and the highest value stay, in order."""
    kept = keep([float(i) for i in range(len(values))], values, buckets)
    assert kept == sorted(set(kept))
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert len(kept) <= 5 * buckets
    finite = [value for value in values if math.isfinite(value)]
    shown = [values[place] for place in kept if math.isfinite(values[place])]
    assert (min(finite), max(finite)) == (min(shown), max(shown)) if finite else not shown
    assert any(not math.isfinite(values[place]) for place in kept) == (len(finite) < len(values))


@given(
    steps=st.lists(st.integers(0, 10**6), min_size=50, max_size=300, unique=True).map(sorted),
    at=st.integers(0, 49),
)
def test_a_spike_stays_in_its_place(steps: list[int], at: int) -> None:
    """One value among many that sticks out is drawn where it was logged."""
    values = [0.1] * len(steps)
    values[at] = 9.0
    kept = keep([float(step) for step in steps], values, 5)
    assert at in kept


def test_a_curve_says_how_much_was_logged_and_what_was_not_finite() -> None:
    """A value that is not finite is a gap, and counted."""
    logged = LoggedCurve([0.0, 1.0, 2.0], [1.0, math.nan, 0.5])
    (line,) = curve("loss", [("attempt 1", True, logged)], buckets=10).lines
    assert (line.y, line.logged, line.not_finite) == ((1.0, None, 0.5), 3, 1)
    assert line.ends == (1.0, 0.5, 0.5, 1.0)


@pytest.mark.parametrize("steps", [[0.0, 1.0, 1.0], [3.0, 2.0, 4.0], [math.nan] * 3, [0.0, 1.0, 1e300]])
def test_steps_that_do_not_increase_make_way_for_rows(steps: list[float]) -> None:
    """A picture over steps would fold back on itself; rows are in order always."""
    good = LoggedCurve([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    found = curve("loss", [("a", True, good), ("b", False, LoggedCurve(steps, [1.0, 2.0, 3.0]))], buckets=10)
    assert found.axis == "row"
    assert [line.x for line in found.lines] == [(0, 1, 2), (0, 1, 2)]
    assert curve("loss", [("a", True, good)], buckets=10).axis == "step"


def test_a_journal_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    """Numbers of any spelling are read; texts and a torn last line are not."""
    rows = [
        {"event": "started", "time": 1.0},
        {"event": "metrics", "time": 2.0, "metrics": {"loss": 1.5, "note": "x", "flag": True}, "step": 0},
        {"event": "metrics", "time": 3.0, "metrics": {"loss": encode(math.nan)}, "step": 1},
    ]
    lines = [orjson.dumps(row) for row in rows]
    (tmp_path / "events.jsonl").write_bytes(b"\n".join([*lines, b'{"event": "metr']))
    found = curves.read_logged(tmp_path)
    assert found is not None
    assert list(found) == ["loss"]
    assert found["loss"].steps == [0.0, 1.0]
    assert found["loss"].values[0] == 1.5
    assert math.isnan(found["loss"].values[1])


def test_where_there_is_no_journal_that_is_said(tmp_path: Path) -> None:
    """In a clone there is none; that is not the same as nothing logged."""
    assert curves.read_logged(tmp_path) is None
    (tmp_path / "events.jsonl").write_bytes(b"")
    assert curves.read_logged(tmp_path) == {}
