"""Learning curves: logged metrics from the attempts' journals, thinned without hiding a spike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import lt
from pathlib import Path

from pytest_exprunner._util.serialization import as_float, decode, number
from pytest_exprunner.model.layout import EVENTS
from pytest_exprunner.store.journal import read_events

_MAX_VALUES = 4_000_000
"""Maximum per attempt; if there are more, the report notes that its curves are cut."""
_LARGEST_STEP = 1e15
"""Beyond this, floating-point numbers no longer distinguish consecutive steps."""


@dataclass(slots=True)
class LoggedCurve:
    """One metric as an attempt logged it: a step (NaN if there is none) and a value per row."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    cut: bool = False
    """Whether more was logged than was read."""


@dataclass(frozen=True, slots=True)
class CurveLine:
    """One attempt's curve: x strictly increases; y is None if a value is not finite."""

    label: str
    counts: bool
    """Whether this is a current attempt."""
    x: tuple[float, ...]
    y: tuple[float | None, ...]
    logged: int
    """The number of logged values before thinning."""
    not_finite: int
    cut: bool = False
    """Whether more was logged than was read."""

    @property
    def ends(self) -> tuple[float | None, float | None, float | None, float | None]:
        """Return the first, last, lowest and highest finite value."""
        finite = [value for value in self.y if value is not None]
        return (finite[0], finite[-1], min(finite), max(finite)) if finite else (None,) * 4


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over one axis, with the curves of several attempts."""

    metric: str
    axis: str
    """``step``, or ``row`` if steps are missing or decrease."""
    lines: tuple[CurveLine, ...]


def read_logged(folder: Path) -> dict[str, LoggedCurve] | None:
    """Return the logged values by metric, or None if the journal is missing, as in a clone."""
    file = folder / EVENTS
    if not file.is_file():
        return None
    found: dict[str, LoggedCurve] = {}
    values = _values(file)
    for step, name, value in itertools.islice(values, _MAX_VALUES):
        logged = found.setdefault(name, LoggedCurve())
        logged.steps.append(step)
        logged.values.append(value)
    if next(values, None) is not None:
        for logged in found.values():
            logged.cut = True
    return found


def _values(file: Path) -> Iterator[tuple[float, str, float]]:
    for event in read_events(file):
        row = event.get("metrics")
        if event.get("event") != "metrics" or not isinstance(row, dict):
            continue
        step = event.get("step")
        at = as_float(step) if isinstance(step, int | float) and not isinstance(step, bool) else math.nan
        for name, value in row.items():
            found = number(decode(value))
            if found is not None:
                yield at, str(name), as_float(found)


def curve(metric: str, attempts: Sequence[tuple[str, bool, LoggedCurve]], *, buckets: int) -> Curve:
    """Return the curves of several attempts, each given as (label, whether it counts, logged values).

    The axis is the step if the steps of every attempt increase, else the row. Each attempt keeps at
    most four values for each of ``buckets`` parts of the axis.
    """
    stepped = all(_increases(logged.steps) for _label, _counts, logged in attempts)
    return Curve(
        metric,
        "step" if stepped else "row",
        tuple(_line(*attempt, stepped=stepped, buckets=buckets) for attempt in attempts),
    )


def _increases(steps: Sequence[float]) -> bool:
    return all(-_LARGEST_STEP < step < _LARGEST_STEP for step in steps) and all(map(lt, steps, steps[1:]))


def _line(label: str, counts: bool, logged: LoggedCurve, *, stepped: bool, buckets: int) -> CurveLine:  # noqa: FBT001
    steps = logged.steps if stepped else [float(row) for row in range(len(logged.values))]
    kept = keep(steps, logged.values, buckets)
    values = logged.values
    return CurveLine(
        label=label,
        counts=counts,
        x=tuple(steps[i] for i in kept),
        y=tuple(values[i] if math.isfinite(values[i]) else None for i in kept),
        logged=len(values),
        not_finite=sum(1 for value in values if not math.isfinite(value)),
        cut=logged.cut,
    )


def keep(steps: Sequence[float], values: Sequence[float], buckets: int) -> list[int]:
    """Return the indices of the values that a picture of ``buckets`` columns needs to look the same.

    For each column: the first, the last, the lowest and the highest value, and one that is not finite
    (M4: U. Jugel et al., Proceedings of the VLDB Endowment 7, 2014). ``steps`` increase.
    """
    if len(values) <= 4 * buckets:
        return list(range(len(values)))
    start, width = steps[0], (steps[-1] - steps[0]) / buckets or 1.0
    kept: list[int] = []
    column: list[int] = []
    number_of_column = 0
    for place, step in enumerate(steps):
        its_column = min(int((step - start) / width), buckets - 1)
        if its_column != number_of_column and column:
            kept += _of_column(column, values)
            column = []
        number_of_column = its_column
        column.append(place)
    return kept + _of_column(column, values)


def _of_column(places: Sequence[int], values: Sequence[float]) -> list[int]:
    finite = [place for place in places if math.isfinite(values[place])]
    chosen = {places[0], places[-1]}
    if finite:
        chosen |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    if len(finite) < len(places):
        chosen.add(next(place for place in places if not math.isfinite(values[place])))
    return sorted(chosen)
