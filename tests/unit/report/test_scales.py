"""The picture of a criterion says the same as its verdict."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from builders import LOWER, TIERS, make_criterion, make_reading
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.report.html.scales import WIDTH, Point, bar, strip
from pytest_exprunner.verdicts.criteria import evaluate

_TIERS = st.sampled_from(
    [TIERS, LOWER, {"target": 5}, {"target": 0.9, "failure": 0.1}, {"target": -3, "acceptable": -8}]
)


def _result(terms: dict[str, Any], value: float) -> CriterionResult:
    return evaluate(make_criterion(**terms), [make_reading({"accuracy": value})])


@given(terms=_TIERS, value=st.floats(-1e6, 1e6))
def test_the_mark_stands_in_the_zone_of_its_verdict(terms: dict[str, Any], value: float) -> None:
    """Whoever looks at the picture alone comes to the verdict that the plan comes to."""
    result = _result(terms, value)
    drawn = bar(make_criterion(**terms), result)
    zone = next(z for z in drawn.zones if z.verdict == str(result.verdict))
    assert drawn.x is not None
    assert zone.x - 0.11 <= drawn.x <= zone.x + zone.width + 0.11


@given(terms=_TIERS, value=st.floats(-1e6, 1e6))
def test_zones_cover_the_axis_once(terms: dict[str, Any], value: float) -> None:
    """No gap, no overlap, from one end to the other."""
    drawn = bar(make_criterion(**terms), _result(terms, value))
    zones = sorted(drawn.zones, key=lambda zone: zone.x)
    assert zones[0].x == 12
    for left, right in itertools.pairwise(zones):
        assert left.x + left.width == pytest.approx(right.x, abs=0.11)
    assert zones[-1].x + zones[-1].width == pytest.approx(WIDTH - 12, abs=0.11)


def test_a_far_value_stands_at_the_edge_and_leaves_the_tiers_readable() -> None:
    """A latency of a million does not squeeze the tiers into one line."""
    drawn = bar(make_criterion(**LOWER), _result(LOWER, 1e6))
    assert drawn.beyond == "right"
    assert drawn.x == WIDTH - 12
    places = [tick.x for tick in drawn.ticks]
    assert max(places) - min(places) > 150


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_what_has_no_place_on_an_axis_is_not_drawn(value: float) -> None:
    """Not finite, or beyond what a float can hold: words tell of it."""
    result = replace(_result(TIERS, 0.7), verdict=Verdict.INADMISSIBLE, value=value)
    assert bar(make_criterion(), result).x is None


def test_an_interval_is_drawn_around_its_value() -> None:
    """The eye sees that it reaches across a threshold."""
    result = replace(_result(TIERS, 0.62), interval=(0.58, 0.66))
    drawn = bar(make_criterion(), result)
    deciding = next(tick.x for tick in drawn.ticks if tick.deciding)
    assert drawn.low is not None
    assert drawn.high is not None
    assert drawn.low < deciding < drawn.high


def test_a_strip_shows_better_values_higher_when_higher_is_better() -> None:
    """Attempts from left to right; what counts is marked; the oldest of very many are left out."""
    points = [Point(f"attempt {n}", n / 200, "missed", counts=n == 149) for n in range(150)]
    drawn = strip(make_criterion(), points)
    assert (len(drawn.dots), drawn.left_out) == (120, 30)
    assert [dot.x for dot in drawn.dots] == sorted(dot.x for dot in drawn.dots)
    assert drawn.dots[0].y > drawn.dots[-1].y
    assert [dot.counts for dot in drawn.dots].count(True) == 1
