"""Numbers, tiers and verdicts in words: every kind of sentence in full, and no number that lies."""

from __future__ import annotations

import math
from typing import Any

import pytest
from builders import LOWER, TIERS, make_criterion, make_reading
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.text import few, sentence_list
from pytest_exprunner.model.attempt import IntervalMethod, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.verdicts.criteria import evaluate
from pytest_exprunner.verdicts.formatting import (
    DASH,
    explain,
    failure_text,
    measured_text,
    number_text,
    threshold_text,
    tier_text,
    value_text,
    verdict_text,
)

IOU = {"target": 0.70, "acceptable": 0.60, "failure": 0.50}


def said(value: object, name: str = "spatial_iou", **terms: Any) -> str:
    """Return the sentence about a returned value."""
    criterion = make_criterion(name, **(terms or IOU))
    return explain(criterion, evaluate(criterion, [make_reading({name: value})]))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.81, "spatial_iou of 0.810 is above the 0.70 target."),
        (0.70, "spatial_iou of 0.700 is exactly at the 0.70 target."),
        (0.65, "spatial_iou of 0.650 is above the 0.60 threshold, short of the 0.70 target."),
        (
            0.61,
            "spatial_iou of 0.610 is above the 0.60 threshold, short of the 0.70 target; "
            "it narrowly meets 0.60 and needs review.",
        ),
        (
            0.60,
            "spatial_iou of 0.600 is exactly at the 0.60 threshold, short of the 0.70 target; "
            "it narrowly meets 0.60 and needs review.",
        ),
        (
            0.59,
            "spatial_iou of 0.590 is below the 0.60 acceptable threshold by 0.010; "
            "it narrowly misses 0.60 and needs review.",
        ),
        (0.55, "spatial_iou of 0.550 is below the 0.60 acceptable threshold by 0.050."),
        (
            0.5,
            "spatial_iou of 0.500 is below the 0.60 acceptable threshold by 0.100, "
            "at or beyond the failure tier 0.50.",
        ),
    ],
)
def test_where_higher_is_better(value: float, sentence: str) -> None:
    """What was measured, the tier that it reached or missed, and by how much."""
    assert said(value) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.2, "lpips of 0.200 is below the 0.25 target."),
        (0.3, "lpips of 0.300 is below the 0.35 threshold, short of the 0.25 target."),
        (0.4, "lpips of 0.400 is above the 0.35 acceptable threshold by 0.050."),
        (
            0.5,
            "lpips of 0.500 is above the 0.35 acceptable threshold by 0.150, "
            "at or beyond the failure tier 0.45.",
        ),
    ],
)
def test_where_lower_is_better(value: float, sentence: str) -> None:
    """Above and below change places."""
    assert said(value, "lpips", **LOWER) == sentence


def test_with_a_target_alone() -> None:
    """Without an acceptable tier the target is what was missed."""
    assert said(0.5, target=0.9) == "spatial_iou of 0.500 is below the 0.90 target by 0.400."


def test_with_a_unit() -> None:
    """The unit stands beside the value."""
    sentence = said(12.5, "latency", target=10, direction="lower", unit="ms")
    assert sentence == "latency of 12.500 ms is above the 10 target by 2.500."


def test_not_measured() -> None:
    """What is missing says why."""
    criterion = make_criterion("spatial_iou", **IOU)
    assert explain(criterion, evaluate(criterion, [])) == (
        "spatial_iou was not measured: nothing has completed yet."
    )
    assert said("0.9") == (
        "spatial_iou was not measured: e_x1_1 returned '0.9', which is text, not a number."
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(math.nan, "NaN"), (-math.inf, "-Infinity"), pytest.param(10**5000, "Infinity", id="huge")],
)
def test_inadmissible(value: float, shown: str) -> None:
    """What does not count shows its value and the reason."""
    assert said(value) == (
        f"spatial_iou = {shown} does not count: e_x1_1 returned a value that is not a finite number."
    )


@pytest.mark.parametrize(
    ("value", "against", "expected"),
    [
        (None, (), DASH),
        (0, (), "0"),
        (-0.0, (), "0"),
        (3, (), "3"),
        (3.0, (), "3"),
        (0.8371, (), "0.837"),
        (0.69996, (), "0.700"),
        (0.69996, (0.7,), "0.69996"),
        (0.6999999, (0.7,), "0.6999999"),
        (0.70004, (0.7,), "0.70004"),
        (123.456, (), "123.5"),
        (99999.94, (), "99999.9"),
        (1234567.8, (), "1.23e+06"),
        (0.000123456, (), "0.000123"),
        (1e-300, (), "1e-300"),
        (10**16, (), "1e+16"),
        (math.inf, (), "Infinity"),
        (-0.5, (), "-0.500"),
    ],
)
def test_number_text(value: float | None, against: tuple[float, ...], expected: str) -> None:
    """Three decimals or significant digits, more where a threshold is near."""
    assert number_text(value, against) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, DASH), (0.7, "0.70"), (0.75, "0.75"), (0.125, "0.125"), (10, "10"), (10.0, "10.00"),
        (0, "0"), (-0.5, "-0.50"), (1e-9, "1e-09"), (1000000, "1000000"), (0.1 + 0.2, "0.30"),
    ],
)  # fmt: skip
def test_threshold_text(value: float | None, expected: str) -> None:
    """A threshold looks as a person wrote it, with two decimals at least."""
    assert threshold_text(value) == expected


def test_tier_text() -> None:
    """A tier states its condition."""
    assert tier_text(make_criterion(**TIERS), 0.7) == "≥ 0.70"
    assert tier_text(make_criterion(**LOWER), 0.25) == "≤ 0.25"
    assert tier_text(make_criterion(target=1), None) == DASH


def test_failure_text() -> None:
    """The failure tier is read from the other side."""
    assert failure_text(make_criterion(**TIERS)) == "≤ 0.50"
    assert failure_text(make_criterion(**LOWER)) == "≥ 0.45"
    assert failure_text(make_criterion(target=1)) == DASH


@pytest.mark.parametrize(
    ("verdict", "borderline", "words"),
    [
        (Verdict.TARGET, False, "target"),
        (Verdict.NOT_MEASURED, False, "not measured"),
        (Verdict.ACCEPTABLE, True, "acceptable, borderline"),
    ],
)
def test_verdict_text(verdict: Verdict, borderline: bool, words: str) -> None:
    """A verdict is one or two words, and its mark."""
    assert verdict_text(CriterionResult("a", verdict, borderline=borderline)) == words


@pytest.mark.parametrize(
    ("items", "sentence", "short"),
    [
        ([], "", ""),
        (["a"], "a", "a"),
        (["a", "b"], "a and b", "a and b"),
        (["a", "b", "c"], "a, b and c", "a, b and c"),
        (["a", "b", "c", "d"], "a, b, c and d", "a, b, c and 1 more"),
        (["a", "b", "c", "d", "e"], "a, b, c, d and e", "a, b, c and 2 more"),
    ],
)
def test_lists_in_sentences(items: list[str], sentence: str, short: str) -> None:
    """Items are joined as in a sentence; a long list is cut and counted."""
    assert sentence_list(items) == sentence
    assert few(items) == short


# --- laws -------------------------------------------------------------------------------------

decimals = st.builds(
    lambda digits, places: digits / 10**places, st.integers(-(10**6), 10**6), st.integers(0, 6)
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[float, float]:
    """Return a value and a threshold, often very near to each other."""
    limit = draw(decimals)
    steps = draw(st.integers(-3, 3))
    near = limit
    for _ in range(abs(steps)):
        near = math.nextafter(near, math.inf * steps)
    scaled = limit * (1 + draw(st.floats(-1e-3, 1e-3)))
    return draw(st.sampled_from([near, scaled, draw(finite)])), limit


@given(pairs())
def test_a_shown_value_is_on_the_right_side(pair: tuple[float, float]) -> None:
    """A value that misses is never shown as if it met the threshold beside it, nor the reverse."""
    value, limit = pair
    shown, beside = float(number_text(value, (limit,))), float(threshold_text(limit))
    assert (shown > beside) == (value > limit)
    assert (shown < beside) == (value < limit)


@given(pairs(), st.sampled_from(["higher", "lower"]))
def test_sentences_agree_with_verdicts(pair: tuple[float, float], direction: str) -> None:
    """Above, below and exactly at are said of the value as it is."""
    value, limit = pair
    criterion = make_criterion("m", target=limit, direction=direction)
    result = evaluate(criterion, [make_reading({"m": value})])
    sentence = explain(criterion, result)
    word = "exactly at" if value == limit else "above" if value > limit else "below"
    assert f" is {word} the " in sentence
    assert value_text(criterion, value) in sentence


@given(st.floats(-1e300, 1e300), st.lists(finite, max_size=3).map(tuple))
def test_number_text_always_reads_as_a_number(value: float, against: tuple[float, ...]) -> None:
    """Whatever the magnitude, the text is a number near the value and not very long."""
    found = number_text(value, against)
    assert float(found) == pytest.approx(value, rel=0.01, abs=1e-3)
    assert len(found) <= 40


@pytest.mark.parametrize(
    ("half", "text"),
    [
        (123.4, "123"),
        (99.6, "100"),
        (9.96, "10"),
        (12.34, "12"),
        (1.0, "1.0"),
        (0.0497, "0.050"),
        (0.00592, "0.0059"),
        (0.000123, "0.00012"),
        (0.0000123, "1.2e-05"),
        (654321.0, "654321"),
        (999999.9, "1000000"),
        (1234567.0, "1.2e+06"),
        (0.0, "0"),
    ],
)
def test_half_an_interval(half: float, text: str) -> None:
    """Two significant digits, the whole part in full, and no exponent where a person would write none."""
    criterion = make_criterion(**IOU)  # type: ignore[arg-type]
    result = CriterionResult(
        "a", Verdict.MISSED, 0.0, n=3, interval=(-half, half), method=IntervalMethod.T_OVER_SEEDS
    )
    assert measured_text(criterion, result) == f"0 ± {text}"
