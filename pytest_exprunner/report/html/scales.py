"""Pictures of criteria as geometry: a value among its tiers, current and over attempts.

Lengths are in units of the picture's own width; a template draws them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_exprunner._util.serialization import as_float
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.verdicts.formatting import threshold_text, tiers_of

WIDTH = 320.0
_MARGIN = 12.0
_FAR = 3.0
"""A value farther from the tiers than this multiple of their span is drawn at the edge."""
_STRIP_HEIGHT = 96.0
_STRIP_MARGIN = 10.0
_MAX_ATTEMPTS = 120
_LARGEST = 1e300
"""Differences of larger numbers overflow, so such tiers and values are shown as text only."""


@dataclass(frozen=True, slots=True)
class Zone:
    """The part of the axis that one verdict covers."""

    verdict: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A threshold on the axis."""

    x: float
    label: str
    deciding: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """One criterion: its zones, and the value with its confidence interval if it was measured."""

    zones: tuple[Zone, ...]
    ticks: tuple[Tick, ...]
    x: float | None
    low: float | None
    high: float | None
    beyond: str
    """``left`` or ``right`` if the value lies outside the picture."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One attempt in a strip."""

    x: float
    y: float
    verdict: str
    title: str
    counts: bool


@dataclass(frozen=True, slots=True)
class Strip:
    """A criterion's value over the attempts, oldest first, with a line for each tier."""

    name: str
    height: float
    levels: tuple[tuple[float, str], ...]
    dots: tuple[Dot, ...]
    left_out: int


@dataclass(frozen=True, slots=True)
class Point:
    """The data of one attempt in a strip."""

    title: str
    value: float
    verdict: str
    counts: bool


def has_axis(criterion: Criterion) -> bool:
    """Return whether a criterion's tiers can be drawn."""
    return all(map(_drawable, tiers_of(criterion)))


def bar(criterion: Criterion, result: CriterionResult) -> Bar:
    """Return the position of a criterion's value among its tiers."""
    tiers = [as_float(tier) for tier in tiers_of(criterion)]
    if not has_axis(criterion):
        return Bar((), (), None, None, None, "")
    values = [v for v in (result.value, *(result.interval or ())) if v is not None and _drawable(v)]
    low, high = _domain(tiers, [as_float(v) for v in values])
    scale = _Scale(low, high, _MARGIN, WIDTH - _MARGIN)
    value = as_float(result.value) if result.value is not None and _drawable(result.value) else None
    interval = result.interval if value is not None and result.interval else None
    return Bar(
        zones=tuple(_zones(criterion, scale)),
        ticks=tuple(_ticks(criterion, scale)),
        x=None if value is None else scale.at(value),
        low=scale.at(interval[0]) if interval else None,
        high=scale.at(interval[1]) if interval else None,
        beyond="" if value is None else "left" if value < low else "right" if value > high else "",
    )


def strip(criterion: Criterion, points: Sequence[Point]) -> Strip:
    """Return a criterion's value over attempts; if there are too many, the latest."""
    shown = [p for p in points if _drawable(p.value)][-_MAX_ATTEMPTS:]
    tiers = [as_float(tier) for tier in tiers_of(criterion)]
    low, high = _domain(tiers, [p.value for p in shown])
    scale = _Scale(high, low, _STRIP_MARGIN, _STRIP_HEIGHT - _STRIP_MARGIN)
    step = (WIDTH - 4 * _MARGIN) / max(len(shown) - 1, 1)
    return Strip(
        criterion.name,
        _STRIP_HEIGHT,
        tuple((scale.at(tier), threshold_text(tier)) for tier in tiers),
        tuple(
            Dot(2 * _MARGIN + step * place, scale.at(p.value), p.verdict, p.title, p.counts)
            for place, p in enumerate(shown)
        ),
        len(points) - len(shown),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """A linear map from values to positions; values outside its range are drawn at its ends."""

    first: float
    last: float
    start: float
    end: float

    def at(self, value: float) -> float:
        part = (value - self.first) / (self.last - self.first)
        return round(self.start + min(max(part, 0.0), 1.0) * (self.end - self.start), 1)


def _drawable(value: float) -> bool:
    return abs(as_float(value)) < _LARGEST


def _domain(tiers: Sequence[float], values: Iterable[float]) -> tuple[float, float]:
    """Return the range of the axis: the tiers, and values that are not too far from them."""
    low, high = min(tiers), max(tiers)
    span = (high - low) or abs(high) or 1.0
    near = [v for v in values if low - _FAR * span <= v <= high + _FAR * span]
    low, high = min([low, *near]), max([high, *near])
    room = 0.12 * ((high - low) or span)
    return low - room, high + room


def _zones(criterion: Criterion, scale: _Scale) -> Iterable[Zone]:
    """Return the zones along the axis, from the worst verdict to the best."""
    edges: list[tuple[str, float | None]] = [
        ("failure", criterion.failure),
        ("missed", criterion.deciding),
        ("acceptable", criterion.target if criterion.acceptable is not None else None),
        ("target", None),
    ]
    falling = criterion.better == "lower"
    place = scale.end if falling else scale.start
    best = scale.start if falling else scale.end
    for verdict, edge in edges:
        if edge is None and verdict != "target":
            continue
        until = best if edge is None else scale.at(as_float(edge))
        if abs(until - place) > 0:
            yield Zone(verdict, round(min(place, until), 1), round(abs(until - place), 1))
        place = until


def _ticks(criterion: Criterion, scale: _Scale) -> Iterable[Tick]:
    for tier in dict.fromkeys(tiers_of(criterion)):
        yield Tick(scale.at(tier), threshold_text(tier), deciding=tier == as_float(criterion.deciding))
