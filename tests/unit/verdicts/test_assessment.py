"""Recommendations: the rules in their order of precedence, and the reasons in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from builders import SUB, TIERS, X1, make_criterion, make_entry, make_plan, make_result, make_subs

from pytest_exprunner.model.attempt import Confidence, EvidenceKind, Level, Recommendation, Status, Verdict
from pytest_exprunner.model.criterion_result import CriterionResult
from pytest_exprunner.plan.models import Experiment
from pytest_exprunner.verdicts.assessment import assess, experiment_status, miss_text

DONE = {SUB: Status.COMPLETED}
MET = make_result(Verdict.TARGET, 0.8, evidence=(EvidenceKind.REAL,))
ACCEPTED = make_result(Verdict.ACCEPTABLE, 0.65)
MISSED = make_result(Verdict.MISSED, 0.559)
BEYOND = make_result(Verdict.FAILURE, 0.4)
ABSENT = make_result(Verdict.NOT_MEASURED)
REFUSED = make_result(Verdict.INADMISSIBLE, 0.9)


def planned(criteria: Mapping[str, Any] | None = None, **more: Any) -> Experiment:
    """Return a planned experiment with the criterion ``accuracy``, or with others."""
    return make_plan({X1: make_entry(criteria, **more)}).experiments[X1]


def said(
    *results: CriterionResult,
    statuses: Mapping[str, Status] = DONE,
    plan: Experiment | None = None,
    level: Level = Level.ACCEPTABLE,
) -> tuple[Recommendation, str]:
    """Return the recommendation and its reason for results of criteria of these names."""
    names = [result.name for result in results]
    chosen = plan or planned(dict.fromkeys(names, TIERS))
    found = assess(chosen, make_subs(**statuses), {r.name: r for r in results}, level)
    return found.recommendation, found.notes


# --- precedence -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("result", [MET, MISSED, ABSENT])
def test_named_blockers_come_first(status: Status, result: CriterionResult) -> None:
    """What a person named blocks, whatever was measured."""
    plan = planned(blockers=["licence", "data"])
    assert said(result, statuses={SUB: status}, plan=plan) == (
        Recommendation.BLOCK,
        "Blocked by: licence; data.",
    )


@pytest.mark.parametrize("result", [MET, MISSED, BEYOND, ABSENT])
def test_a_crash_comes_before_any_number(result: CriterionResult) -> None:
    """A sub-experiment that failed must be looked into first."""
    statuses = {"e_1": Status.FAILED, "e_2": Status.COMPLETED, "e_3": Status.FAILED, "e_4": Status.SKIPPED}
    assert said(result, statuses=statuses) == (
        Recommendation.INVESTIGATE,
        "e_1 and e_3 failed.",
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (Status.NOT_STARTED, "not started"),
        (Status.IN_PROGRESS, "in progress"),
        (Status.SKIPPED, "skipped"),
        (Status.BLOCKED, "blocked"),
    ],
)
@pytest.mark.parametrize("result", [MET, MISSED, BEYOND])
def test_the_unfinished_comes_before_any_number(status: Status, words: str, result: CriterionResult) -> None:
    """While something is unfinished, neither success nor failure is decided."""
    assert said(result, statuses={"e_1": Status.COMPLETED, "e_2": status}) == (
        Recommendation.INVESTIGATE,
        f"e_2 is {words}. 1 of 1 gating criterion measured.",
    )


def test_everything_that_is_unfinished_is_named() -> None:
    """Groups of the same kind are named together."""
    statuses = {"e_1": Status.SKIPPED, "e_2": Status.NOT_STARTED, "e_3": Status.NOT_STARTED}
    assert said(MET, ABSENT_B, statuses=statuses)[1] == (
        "e_2 and e_3 are not started; e_1 is skipped. 1 of 2 gating criteria measured."
    )


ABSENT_B = make_result(Verdict.NOT_MEASURED, name="b")
REFUSED_C = make_result(Verdict.INADMISSIBLE, 2.0, name="c")
MISSED_B = make_result(Verdict.FAILURE, 0.3, name="b")


@pytest.mark.parametrize("other", [MET, ABSENT, REFUSED])
def test_a_measured_miss_means_pivot(other: CriterionResult) -> None:
    """A miss on admissible evidence decides, also where another criterion is open."""
    assert said(other, MISSED_B) == (Recommendation.PIVOT, "Not met: b 0.300 (needs ≥ 0.60).")


def test_every_miss_is_named() -> None:
    """All that was not met is in the reason."""
    assert said(MISSED, MISSED_B)[1] == ("Not met: accuracy 0.559 (needs ≥ 0.60) and b 0.300 (needs ≥ 0.60).")


def test_what_is_open_means_investigate() -> None:
    """Criteria that are not measured or not admissible are named."""
    assert said(MET, ABSENT_B, REFUSED_C) == (
        Recommendation.INVESTIGATE,
        "Not measured: b; Measured but inadmissible: c (1 of 3 with an admissible value).",
    )


def test_all_met_means_proceed() -> None:
    """Everything measured and met: go on."""
    met_b = make_result(Verdict.ACCEPTABLE, 0.65, name="b")
    assert said(MET) == (Recommendation.PROCEED, "The success criterion is met.")
    assert said(MET, met_b) == (Recommendation.PROCEED, "Both success criteria are met.")


# --- zero of zero -----------------------------------------------------------------------------


@pytest.mark.parametrize("severity", [None, "warn", "info"])
def test_zero_of_zero_is_never_a_success(severity: str | None) -> None:
    """Without a gating criterion nothing is a success, however good the other numbers are."""
    criteria = {} if severity is None else {"accuracy": {**TIERS, "severity": severity}}
    results = [] if severity is None else [MET]
    assert said(*results, plan=planned(criteria)) == (
        Recommendation.INVESTIGATE,
        "The plan has no gating success criterion, so it does not define success.",
    )


def test_without_sub_experiments_that_ran_nothing_proceeds() -> None:
    """A criterion that is not measured is no success even when everything completed."""
    assert said(ABSENT)[0] is Recommendation.INVESTIGATE


@pytest.mark.parametrize("severity", ["warn", "info"])
@pytest.mark.parametrize("result", [MISSED_B, ABSENT_B])
def test_warnings_do_not_count(severity: str, result: CriterionResult) -> None:
    """A criterion that only warns or informs changes no recommendation."""
    plan = planned({"accuracy": TIERS, "b": {**TIERS, "severity": severity}})
    assert said(MET, result, plan=plan)[0] is Recommendation.PROCEED


# --- levels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "result", "recommendation"),
    [
        (Level.TARGET, MET, Recommendation.PROCEED),
        (Level.TARGET, ACCEPTED, Recommendation.PIVOT),
        (Level.ACCEPTABLE, ACCEPTED, Recommendation.PROCEED),
        (Level.ACCEPTABLE, MISSED, Recommendation.PIVOT),
        (Level.FAILURE, MISSED, Recommendation.PROCEED),
        (Level.FAILURE, BEYOND, Recommendation.PIVOT),
        (Level.FAILURE, ABSENT, Recommendation.INVESTIGATE),
        (Level.FAILURE, REFUSED, Recommendation.INVESTIGATE),
    ],
)
def test_levels(level: Level, result: CriterionResult, recommendation: Recommendation) -> None:
    """A level moves what is good enough, and never what was not measured."""
    assert said(result, level=level)[0] is recommendation


def test_a_miss_names_what_the_level_needs() -> None:
    """At the level of the target the target is what is needed."""
    assert said(ACCEPTED, level=Level.TARGET)[1] == "Not met: accuracy 0.650 (needs ≥ 0.70)."


# --- status -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ([Status.COMPLETED], Status.COMPLETED),
        ([Status.COMPLETED, Status.COMPLETED], Status.COMPLETED),
        ([Status.NOT_STARTED, Status.NOT_STARTED], Status.NOT_STARTED),
        ([Status.COMPLETED, Status.NOT_STARTED], Status.IN_PROGRESS),
        ([Status.COMPLETED, Status.SKIPPED], Status.IN_PROGRESS),
        ([Status.SKIPPED], Status.IN_PROGRESS),
        ([Status.IN_PROGRESS], Status.IN_PROGRESS),
        ([Status.COMPLETED, Status.FAILED], Status.FAILED),
        ([Status.FAILED, Status.BLOCKED], Status.BLOCKED),
    ],
)
def test_status(statuses: list[Status], expected: Status) -> None:
    """How an experiment stands follows from its sub-experiments."""
    subs = make_subs(**{f"e_{n}": status for n, status in enumerate(statuses)})
    assert experiment_status(planned(), subs, None) is expected
    assert experiment_status(planned(), subs, "p2") is Status.PIVOTED


def test_blockers_block() -> None:
    """Blockers that a person named block even what completed."""
    assert experiment_status(planned(blockers=["data"]), make_subs(**DONE), None) is Status.BLOCKED


# --- confidence -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "statuses", "confidence", "notes"),
    [
        (
            [MET], DONE, Confidence.MEDIUM,
            "Measured 1 of 1 gating criterion; one run each (n = 1), so the spread over seeds is unknown.",
        ),
        (
            [make_result(Verdict.TARGET, 0.8, borderline=True), ABSENT_B], DONE, Confidence.LOW,
            "Measured 1 of 2 gating criteria; one run each (n = 1), so the spread over seeds is unknown; "
            "not everything was measured; accuracy is borderline.",
        ),
        (
            [make_result(Verdict.TARGET, 0.8, evidence=(EvidenceKind.SIMULATED,))],
            {SUB: Status.COMPLETED, "e_2": Status.SKIPPED}, Confidence.LOW,
            "Measured 1 of 1 gating criterion; one run each (n = 1), so the spread over seeds is unknown; "
            "not all values are real measurements; e_2 did not complete.",
        ),
        ([ABSENT], DONE, Confidence.LOW, "Measured 0 of 1 gating criterion."),
        ([], DONE, Confidence.LOW, "Measured 0 of 0 gating criteria."),
    ],
)  # fmt: skip
def test_confidence(
    results: list[CriterionResult], statuses: Mapping[str, Status], confidence: Confidence, notes: str
) -> None:
    """How sure one can be, with every doubt."""
    plan = planned({r.name: TIERS for r in results})
    found = assess(plan, make_subs(**statuses), {r.name: r for r in results})
    assert (found.confidence, found.confidence_notes) == (confidence, notes)


def test_a_miss_in_the_shortest_form() -> None:
    """The sign shows which way it was missed."""
    assert miss_text(make_criterion(**TIERS), MISSED) == "accuracy 0.559 < 0.60"
    lower = make_criterion(target=0.25, direction="lower", unit="ms")
    assert miss_text(lower, make_result(Verdict.MISSED, 0.4)) == "accuracy 0.400 ms > 0.25"
