"""Verdicts: which tier a value reaches, what may decide, and what never counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from builders import LOWER, SUB, TIERS, make_criterion, make_reading
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import EvidenceKind, Logged, Source, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.plan.criterion import Criterion
from pytest_exprunner.verdicts.criteria import (
    digest,
    evaluate,
    is_borderline,
    judge,
    margin,
    readings_for,
)
from pytest_exprunner.verdicts.measurement import Reading

# From worst to best, as a person would order them; absent or refused lies between.
ORDER = (
    Verdict.FAILURE,
    Verdict.MISSED,
    Verdict.INADMISSIBLE,
    Verdict.NOT_MEASURED,
    Verdict.ACCEPTABLE,
    Verdict.TARGET,
)

HUGE = pytest.param(10**5000, id="huge")
MINUS_HUGE = pytest.param(-(10**5000), id="minus-huge")


def result_of(value: object, **terms: Any) -> CriterionResult:
    """Judge one returned value by a criterion; the tiers 0.7, 0.6, 0.5 where none are given."""
    return evaluate(make_criterion(**terms), [make_reading({"accuracy": value})])


# --- tiers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.71, Verdict.TARGET),
        (0.7, Verdict.TARGET),
        (math.nextafter(0.7, 0), Verdict.ACCEPTABLE),
        (0.690, Verdict.ACCEPTABLE),
        (0.6, Verdict.ACCEPTABLE),
        (math.nextafter(0.6, 0), Verdict.MISSED),
        (0.51, Verdict.MISSED),
        (math.nextafter(0.5, 1), Verdict.MISSED),
        (0.5, Verdict.FAILURE),
        (0.1, Verdict.FAILURE),
        (-1e308, Verdict.FAILURE),
    ],
)
def test_higher_is_better(value: float, verdict: Verdict) -> None:
    """A value on a tier reaches it, one float below does not, and on the failure tier it fails."""
    assert judge(make_criterion(**TIERS), value) is verdict


@pytest.mark.parametrize(
    ("value", "verdict"),
    [
        (0.2, Verdict.TARGET),
        (0.25, Verdict.TARGET),
        (math.nextafter(0.25, 1), Verdict.ACCEPTABLE),
        (0.35, Verdict.ACCEPTABLE),
        (math.nextafter(0.35, 1), Verdict.MISSED),
        (math.nextafter(0.45, 0), Verdict.MISSED),
        (0.45, Verdict.FAILURE),
        (9, Verdict.FAILURE),
    ],
)
def test_lower_is_better(value: float, verdict: Verdict) -> None:
    """The order of the tiers alone turns the direction round."""
    assert judge(make_criterion(**LOWER), value) is verdict


@pytest.mark.parametrize(
    ("terms", "value", "verdict"),
    [
        ({"target": 0.7}, 0.69, Verdict.MISSED),
        ({"target": 0.7}, 0.70, Verdict.TARGET),
        ({"target": 0.7, "direction": "lower"}, 0.70, Verdict.TARGET),
        ({"target": 0.7, "direction": "lower"}, 0.71, Verdict.MISSED),
        ({"target": 0.7, "failure": 0.5}, 0.6, Verdict.MISSED),
        ({"target": 0.7, "failure": 0.5}, 0.5, Verdict.FAILURE),
        ({"target": 0.7, "acceptable": 0.7}, 0.7, Verdict.TARGET),
        ({"target": 0.7, "acceptable": 0.7}, 0.6999, Verdict.MISSED),
        ({"target": 10, "acceptable": 5}, 5, Verdict.ACCEPTABLE),
        ({"target": 0, "acceptable": 1}, 0, Verdict.TARGET),
        ({"target": -0.5, "acceptable": -0.6}, -0.55, Verdict.ACCEPTABLE),
    ],
)
def test_fewer_tiers(terms: dict[str, Any], value: float, verdict: Verdict) -> None:
    """With tiers left out, the ones that are given decide."""
    assert result_of(value, **terms).verdict is verdict


def test_nothing_is_rounded() -> None:
    """0.690 misses 0.70, and so does 0.69999999."""
    assert result_of(0.690, target=0.70).verdict is Verdict.MISSED
    assert result_of(0.69999999, target=0.70).verdict is Verdict.MISSED


def test_what_a_result_tells() -> None:
    """A result names its value, where it was measured, by which attempt and on what evidence."""
    found = evaluate(make_criterion(**TIERS), [make_reading({"accuracy": 0.81}, sequence=3)])
    assert found == CriterionResult(
        "accuracy",
        Verdict.TARGET,
        value=0.81,
        decided_by=Source(SUB),
        attempt=3,
        evidence=(EvidenceKind.REAL,),
        n=1,
    )
    assert found.met
    assert found.measured


def test_metric_of_another_name() -> None:
    """``metric`` says under which name the value is returned."""
    criterion = make_criterion("gain", metric="cosine", target=0.5)
    found = evaluate(criterion, [make_reading({"cosine": 0.6, "gain": 0.1})])
    assert (found.name, found.value, found.verdict) == ("gain", 0.6, Verdict.TARGET)


# --- borderline -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "width"),
    [
        (TIERS, 0.02),
        (LOWER, 0.02),
        ({"target": 0.7, "failure": 0.5}, 0.02),
        ({"target": 0.7, "acceptable": 0.6}, 0.03),
        ({"target": 0.7}, 0.035),
        ({"target": -200}, 10.0),
        ({"target": 0.0}, 0.0),
        ({**TIERS, "borderline": 0.1}, 0.1),
        ({**TIERS, "borderline": 0.0}, 0.0),
    ],
)
def test_margin(terms: dict[str, Any], width: float) -> None:
    """10 % of |target - failure|; without failure 5 % of the threshold; ``borderline`` overrides."""
    assert margin(make_criterion(**terms)) == pytest.approx(width)


@pytest.mark.parametrize(
    ("value", "borderline"),
    [
        (0.579, False),
        (0.58, True),
        (0.5999, True),
        (0.6, True),
        (0.62, True),
        (0.6201, False),
        (0.7, False),
        (0.5, False),
    ],
)
def test_borderline_on_both_sides(value: float, borderline: bool) -> None:
    """Within the margin of the deciding tier, its ends included, a person should look."""
    assert is_borderline(make_criterion(**TIERS), value) is borderline
    assert result_of(value, **TIERS).borderline is borderline


@pytest.mark.parametrize(("value", "borderline"), [(0.33, True), (0.37, True), (0.3299, False)])
def test_borderline_where_lower_is_better(value: float, borderline: bool) -> None:
    """The margin lies around the deciding tier whichever way is better."""
    assert result_of(value, **LOWER).borderline is borderline


def test_no_margin_no_borderline() -> None:
    """``borderline: 0`` switches the mark off, even for a value exactly on the threshold."""
    assert not result_of(0.6, **TIERS, borderline=0.0).borderline


def test_a_wide_margin_marks_a_failure_too() -> None:
    """A margin that reaches the failure tier marks what stands there."""
    found = result_of(0.5, **TIERS, borderline=0.2)
    assert (found.verdict, found.borderline) == (Verdict.FAILURE, True)


def test_what_is_not_admitted_is_not_borderline() -> None:
    """A refused value near the threshold is refused, not borderline."""
    reading = make_reading({"accuracy": 0.6}, kinds=[("simulated", "")])
    assert not evaluate(make_criterion(**TIERS), [reading]).borderline


# --- bounds and evidence ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "value", "admitted"),
    [
        ([0, 1], 0, True),
        ([0, 1], 1, True),
        ([0, 1], 1.0001, False),
        ([0, 1], -1e-9, False),
        ([None, 1], -5, True),
        ([None, 1], 2, False),
        ([0, None], 1e9, True),
        ([0, None], -1, False),
    ],
)
def test_bounds(bounds: list[float | None], value: float, admitted: bool) -> None:
    """A value outside its possible range counts neither for nor against."""
    found = result_of(value, **TIERS, bounds=bounds)
    assert (found.verdict is not Verdict.INADMISSIBLE) is admitted


@pytest.mark.parametrize(
    ("bounds", "limits"),
    [([0, 1], "[0, 1]"), ([None, 1.0], "[-∞, 1.0]"), ([2, None], "[2, ∞]")],
)
def test_out_of_bounds_in_words(bounds: list[float | None], limits: str) -> None:
    """The reason names the range."""
    found = result_of(1.5, **TIERS, bounds=bounds)
    assert str(found.reason) == f"{SUB} returned a value outside its bounds {limits}"
    assert found.value == 1.5


@pytest.mark.parametrize("kind", [k for k in EvidenceKind if k is not EvidenceKind.REAL])
def test_only_real_evidence_by_default(kind: EvidenceKind) -> None:
    """Numbers that were declared as anything but real are refused, with the reason that was given."""
    reading = make_reading({"accuracy": 0.9}, kinds=[(kind, "API down")])
    found = evaluate(make_criterion(**TIERS), [reading])
    assert found.verdict is Verdict.INADMISSIBLE
    assert str(found.reason) == f"{SUB} declared its numbers as {kind} (API down); the plan admits only real"
    assert found.evidence == (kind,)
    assert not found.met


@pytest.mark.parametrize("kind", ["simulated", "fallback", "imported"])
def test_the_plan_may_admit_a_kind(kind: str) -> None:
    """A kind that the plan lists may decide."""
    criterion = make_criterion(**TIERS, evidence=["real", kind])
    found = evaluate(criterion, [make_reading({"accuracy": 0.9}, kinds=[(kind, "")])])
    assert found.verdict is Verdict.TARGET


def test_every_declared_kind_must_be_admitted() -> None:
    """One kind that is not admitted spoils the numbers, whatever else was declared."""
    criterion = make_criterion(**TIERS, evidence=["real", "simulated"])
    reading = make_reading({"accuracy": 0.9}, kinds=[("simulated", ""), ("fallback", "cache")])
    found = evaluate(criterion, [reading])
    assert found.verdict is Verdict.INADMISSIBLE
    assert str(found.reason) == (
        f"{SUB} declared its numbers as fallback (cache); the plan admits only real and simulated"
    )


def test_stub_never_counts() -> None:
    """Numbers of a stub never meet a criterion, even where a plan lists the kind."""
    criterion = make_criterion(**TIERS, evidence=["real", "stub"])
    found = evaluate(criterion, [make_reading({"accuracy": 0.9}, kinds=[("stub", "")])])
    assert not found.met


def test_declaring_real_changes_nothing() -> None:
    """Undeclared numbers are real: both are judged alike, also where real is not admitted."""
    criterion = make_criterion(**TIERS, evidence=["simulated"])
    silent = evaluate(criterion, [make_reading({"accuracy": 0.9})])
    declared = evaluate(criterion, [make_reading({"accuracy": 0.9}, kinds=[("real", "")])])
    assert silent.verdict is declared.verdict


# --- what is not a number ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "True, which is true or false"),
        (False, "False, which is true or false"),
        ("0.9", "'0.9', which is text"),
        (None, "None, which is nothing"),
        ([0.9, 0.9], "[0.9, 0.9], which is a list"),
        ({"mean": 0.9}, "{'mean': 0.9}, which is a mapping"),
    ],
)
def test_what_is_no_number_is_not_measured(value: object, words: str) -> None:
    """Anything but a number is not measured, and the reason shows what was returned."""
    found = result_of(value)
    assert found.verdict is Verdict.NOT_MEASURED
    assert str(found.reason) == f"{SUB} returned {words}, not a number"
    assert found.n == 0
    assert not found.measured


@pytest.mark.parametrize("terms", [TIERS, LOWER, {**TIERS, "bounds": [None, None]}])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, HUGE, MINUS_HUGE])
def test_what_is_not_finite_is_inadmissible(value: float, terms: dict[str, Any]) -> None:
    """NaN, infinities and integers beyond all floats satisfy nothing, in neither direction."""
    found = result_of(value, **terms)
    assert found.verdict is Verdict.INADMISSIBLE
    assert str(found.reason) == f"{SUB} returned a value that is not a finite number"
    assert not found.met


# --- which value decides ----------------------------------------------------------------------


def test_the_worst_of_several_decides() -> None:
    """Without ``from`` everything that reports the metric must meet it."""
    readings = [
        make_reading({"accuracy": 0.9}, sub="e_x1_1"),
        make_reading({"accuracy": 0.55}, sub="e_x1_2"),
        make_reading({"accuracy": 0.65}, sub="e_x1_3"),
        make_reading({"other": 0.0}, sub="e_x1_4"),
    ]
    found = evaluate(make_criterion(**TIERS), readings)
    assert (found.verdict, found.value, found.decided_by) == (Verdict.MISSED, 0.55, Source("e_x1_2"))


def test_the_worst_where_lower_is_better() -> None:
    """The worst value is the highest one then, also within one tier."""
    readings = [make_reading({"accuracy": v}, sub=s) for s, v in (("a", 0.1), ("b", 0.2))]
    assert evaluate(make_criterion(**LOWER), readings).value == 0.2


@pytest.mark.parametrize("value", [math.nan, True, "0.9", HUGE])
def test_a_good_value_does_not_hide_a_broken_one(value: object) -> None:
    """One sub-experiment that returned something unusable keeps a criterion from being met."""
    readings = [make_reading({"accuracy": 0.9}, sub="a"), make_reading({"accuracy": value}, sub="b")]
    found = evaluate(make_criterion(**TIERS), readings)
    assert not found.met
    assert found.decided_by == Source("b")


def test_from_names_who_decides() -> None:
    """With ``from`` the others have no say, however bad their numbers are."""
    readings = [
        make_reading({"accuracy": 0.1}, sub="e_x1_2"),
        make_reading({"accuracy": 0.9}, sub="e_x1_1"),
    ]
    criterion = make_criterion(**TIERS, from_="e_x1_1")
    assert [r.source for r in readings_for(criterion, readings)] == [Source("e_x1_1")]
    assert evaluate(criterion, readings).verdict is Verdict.TARGET


def test_from_names_a_variant() -> None:
    """A variant in brackets decides alone."""
    readings = [
        make_reading({"accuracy": 0.1}, variant="lr=0.01"),
        make_reading({"accuracy": 0.9}, variant="lr=0.1"),
    ]
    criterion = make_criterion(**TIERS, from_=f"{SUB}[lr=0.1]")
    found = evaluate(criterion, readings)
    assert (found.verdict, found.decided_by) == (Verdict.TARGET, Source(SUB, "lr=0.1"))


def test_from_without_variant_takes_all_of_them() -> None:
    """All variants of the named sub-experiment must meet it, one that lacks the metric included."""
    good = make_reading({"accuracy": 0.9}, variant="a")
    bad = make_reading({"accuracy": 0.1}, variant="b")
    silent = make_reading({"loss": 0.1}, variant="c")
    criterion = make_criterion(**TIERS, from_=SUB)
    assert evaluate(criterion, [good, bad]).value == 0.1
    assert evaluate(criterion, [good, silent]).verdict is Verdict.NOT_MEASURED


# --- why it is not measured -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("readings", "source", "reason"),
    [
        ([], None, "nothing has completed yet"),
        ([make_reading({"loss": 1.0})], None, "no completed sub-experiment returned it"),
        ([], SUB, f"{SUB} has not completed"),
        ([make_reading({"loss": 1.0}, sub="e_x1_2")], SUB, f"{SUB} has not completed"),
        ([make_reading({"loss": 1.0})], SUB, f"{SUB} did not return it"),
        ([make_reading({"Accuracy": 0.9})], SUB, f"{SUB} returned 'Accuracy'; expected 'accuracy'"),
        ([make_reading({"acuracy": 0.9})], None, f"{SUB} returned 'acuracy'; expected 'accuracy'"),
        (
            [make_reading({"loss": 1.0}, logged={"accuracy": Logged(100, 0.81)})],
            None,
            f"{SUB} logged it 100 times, last 0.81, but never returned it",
        ),
        (
            [make_reading({"Accuracy": 1.0}, logged={"accuracy": Logged(1, 0.81)})],
            SUB,
            f"{SUB} logged it once, last 0.81, but never returned it",
        ),
    ],
)
def test_why_a_metric_is_missing(readings: list[Reading], source: str | None, reason: str) -> None:
    """The most useful thing that is known is said: logged, misspelt, or who should return it."""
    found = evaluate(make_criterion(**TIERS, from_=source), readings)
    assert (found.verdict, str(found.reason)) == (Verdict.NOT_MEASURED, reason)


# --- digests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"target": 0.71},
        {"acceptable": 0.55},
        {"failure": 0.4},
        {"from": SUB},
        {"borderline": 0.01},
        {"bounds": [0, 1]},
        {"severity": "warn"},
        {"evidence": ["real", "simulated"]},
        {"metric": "acc"},
    ],
)
def test_a_changed_demand_changes_the_digest(change: dict[str, Any]) -> None:
    """Whatever moves the goalposts is noticed."""
    assert digest(make_criterion(**{**TIERS, **change})) != digest(make_criterion(**TIERS))


@pytest.mark.parametrize("change", [{"note": "…"}, {"unit": "ms"}, {"direction": "higher"}, {"mine": 1}])
def test_words_do_not_change_the_digest(change: dict[str, Any]) -> None:
    """A note, a unit or a direction that the tiers imply demand nothing new."""
    assert digest(make_criterion(**TIERS, **change)) == digest(make_criterion(**TIERS))


# --- laws -------------------------------------------------------------------------------------

numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6)
near = st.floats(0, 1) | st.sampled_from([0.25, 0.35, 0.45, 0.5, 0.6, 0.7])
anything = st.one_of(
    numbers,
    near,
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=5),
    st.lists(near, max_size=2),
    st.integers(),
    st.sampled_from([math.inf, -math.inf, math.nan]),
    st.integers(300, 4000).map(lambda digits: 10**digits),
    st.integers(300, 4000).map(lambda digits: -(10**digits)),
)
criteria = st.builds(
    lambda tiers, more: make_criterion(**tiers, **more),
    st.sampled_from([TIERS, LOWER, {"target": 0.5}, {"target": 0.5, "direction": "lower"}]),
    st.sampled_from([{}, {"bounds": [0, 1]}, {"borderline": 0.1}, {"evidence": ["real", "imported"]}]),
)
kinds = st.lists(st.tuples(st.sampled_from(["real", "imported", "simulated"]), st.just("")), max_size=2)
readings_of_it = st.builds(
    lambda value, declared: make_reading({"accuracy": value}, kinds=declared), anything, kinds
)


def how_good(result: CriterionResult) -> int:
    """Return the rank of a result, higher is better."""
    return ORDER.index(result.verdict)


@given(criteria, numbers | near, numbers | near)
def test_verdicts_are_monotone(criterion: Criterion, one: float, other: float) -> None:
    """A better value never has a worse verdict."""
    better, worse = sorted((one, other), reverse=criterion.better == "higher")
    assert ORDER.index(judge(criterion, better)) >= ORDER.index(judge(criterion, worse))


@given(criteria, anything)
def test_only_finite_numbers_are_ever_met(criterion: Criterion, value: object) -> None:
    """Whatever is returned: what is met is a finite number on the good side of the threshold."""
    found = evaluate(criterion, [make_reading({"accuracy": value})])
    if found.met:
        assert type(value) in (int, float)
        assert isinstance(value, int | float)
        assert math.isfinite(value)
        limit = criterion.deciding
        assert value >= limit if criterion.better == "higher" else value <= limit


@given(criteria, st.lists(readings_of_it, max_size=5), st.randoms(use_true_random=False))
def test_order_does_not_matter(criterion: Criterion, readings: list[Reading], random: Any) -> None:
    """The same readings in another order are judged the same."""
    shuffled = list(readings)
    random.shuffle(shuffled)
    first, second = evaluate(criterion, readings), evaluate(criterion, shuffled)
    assert (first.verdict, first.borderline) == (second.verdict, second.borderline)
    if first.measured:
        assert first.value == second.value


@given(criteria, st.lists(readings_of_it, min_size=1, max_size=4), readings_of_it)
def test_one_more_reading_never_improves(
    criterion: Criterion, readings: list[Reading], another: Reading
) -> None:
    """Once something reported the metric, more numbers can only make a verdict worse."""
    before, after = evaluate(criterion, readings), evaluate(criterion, [*readings, another])
    assert how_good(after) <= how_good(before)
