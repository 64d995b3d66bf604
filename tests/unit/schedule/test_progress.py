"""How far an attempt is, from its events; and how that reads."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.report import live
from pytest_exprunner.schedule.progress import Progress, after

BEGAN = 1_000.0


def told(*events: dict[str, Any]) -> Progress:
    """The progress after some events."""
    progress = Progress("e_x1_1", BEGAN)
    for event in events:
        progress = after(progress, event)
    return progress


def event(kind: str, time: float, **data: Any) -> dict[str, Any]:
    """An event as journals hold it."""
    return {"event": kind, "time": time, **data}


LOOP = event("track", 1_020.0, text="epochs", done=30, total=60, seconds=10.0)


@pytest.mark.parametrize(
    ("events", "now", "line"),
    [
        ([], 1_042.0, "e_x1_1  0:42"),
        ([event("stage", 1_001.0, text="Loading")], 1_003.0, "e_x1_1  0:03  Loading"),
        (
            [event("stage", 1_001.0, text="Loading", current=2, total=5)],
            4_723.0,
            "e_x1_1  1:02:03  [2/5] Loading",
        ),
        ([event("stage", 1_001.0, text="Loading", current=2)], 1_003.0, "e_x1_1  0:03  [2/?] Loading"),
        ([LOOP], 1_022.0, "e_x1_1  0:22  epochs  ██████░░░░░░ 50% (30/60)  3.0/s  8 s left"),
        (
            [event("stage", 1_001.0, text="Training"), LOOP],
            1_022.0,
            "e_x1_1  0:22  Training: epochs  ██████░░░░░░ 50% (30/60)  3.0/s  8 s left",
        ),
        (
            [event("track", 1_020.0, text="", done=3, total=None, seconds=30.0)],
            1_022.0,
            "e_x1_1  0:22  3 done  10.0 s each",
        ),
        (
            [event("track", 1_020.0, text="", done=30_000, total=900_000, seconds=20.0)],
            1_020.0,
            "e_x1_1  0:20  ░░░░░░░░░░░░ 3% (30000/900000)  1,500/s  9:40 left",
        ),
        ([event("progress", 1_010.0, fraction=0.25)], 1_015.0, "e_x1_1  0:15  ███░░░░░░░░░ 25%  25 s left"),
        ([event("progress", 1_010.0, fraction=0)], 1_015.0, "e_x1_1  0:15  ░░░░░░░░░░░░ 0%"),
        (
            [event("metrics", 1_010.0, metrics={"loss": 0.23111, "nan": {"$float": "NaN"}}, step=40)],
            1_015.0,
            "e_x1_1  0:15  loss 0.231, nan NaN (step 40)",
        ),
        (
            [event("metrics", 1_010.0, metrics={f"m{i}": i for i in range(6)})],
            1_015.0,
            "e_x1_1  0:15  m0 0, m1 1, m2 2, m3 3, …",
        ),
        ([event("stage", 1_001.0, text="\x1b[2Jboo\n::error")], 1_003.0, "e_x1_1  0:03  �[2Jboo ::error"),
    ],
)
def test_lines(events: list[dict[str, Any]], now: float, line: str) -> None:
    """Time, stage, bar, rate, what is left and what was logged last, as far as they are known."""
    assert live.line(told(*events), now) == line


def test_a_new_stage_starts_anew() -> None:
    """What a loop of the stage before said does not count for the next; metrics stay."""
    progress = told(
        event("metrics", 1_001.0, metrics={"loss": 1}),
        LOOP,
        event("stage", 1_030.0, text="Testing"),
        event("progress", 1_040.0, fraction=0.5),
    )
    assert (progress.done, progress.rate, progress.since) == (None, None, 1_030.0)
    assert progress.remaining(1_045.0) == 5.0
    assert progress.metrics == {"loss": 1}


@given(
    st.lists(
        st.fixed_dictionaries(
            {"event": st.sampled_from(["metrics", "stage", "track", "progress", "evidence", "x"])},
            optional={
                name: st.none() | st.integers() | st.floats() | st.text(max_size=5)
                for name in ("time", "text", "done", "total", "seconds", "fraction", "current", "metrics")
            },
        )
    )
)
def test_any_events(events: list[dict[str, Any]]) -> None:
    """Whatever stands in a journal, it can be read and shown."""
    progress = told(*events)
    assert live.line(progress, 2_000.0).startswith("e_x1_1  16:40")
    left = progress.remaining(2_000.0)
    assert left is None or left >= 0 or math.isnan(left)


def test_a_block_of_many() -> None:
    """The longest running come first; no line is wider than there is room; many are counted."""
    running = [Progress(f"e_x1_{i}", BEGAN - i, stage="x" * 30) for i in range(20)]
    lines = live.block(running, BEGAN, 24)
    assert len(lines) == 13
    assert lines[0] == "e_x1_19  0:19"
    assert lines[-1] == "… and 8 more"
    assert all(len(line) <= 24 for line in lines)
    assert live.block([], BEGAN, 80) == []


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (99, "e_x1_1  0:22  [2/2] Training: epochs  ██████░░░░░░ 50% (30/60)  3.0/s  8 s left  loss 0.231"),
        (80, "e_x1_1  0:22  [2/2] Training: epochs  50% (30/60)  3.0/s  8 s left  loss 0.231"),
        (75, "e_x1_1  0:22  [2/2] Training: epochs  50% (30/60)  8 s left  loss 0.231"),
        (60, "e_x1_1  0:22  50% (30/60)  8 s left  loss 0.231"),
        (40, "e_x1_1  0:22  50% (30/60)  8 s left  lo…"),
    ],
)
def test_little_room(width: int, line: str) -> None:
    """What matters least is left out first; how far it is and what was logged stay."""
    progress = told(
        event("stage", 1_001.0, text="Training", current=2, total=2),
        LOOP,
        event("metrics", 1_021.0, metrics={"loss": 0.231}),
    )
    assert live.block([progress], 1_022.0, width) == [line]
