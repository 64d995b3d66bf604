"""What a result means in the plan is said where the data supports it."""

from __future__ import annotations

from typing import Any

import pytest
from builders import SUB, X1, fold_one, make_entry, make_plan, make_record

from pytest_exprunner.model.attempt import Evidence, EvidenceKind
from pytest_exprunner.model.results import ExperimentState
from pytest_exprunner.verdicts.narrative import answer, caveats, implications, outcomes

_GOOD, _BAD = 0.75, 0.1


def _state(value: float | None, plan_more: dict[str, Any] | None = None, **more: Any) -> ExperimentState:
    plan = make_plan({X1: make_entry(**(plan_more or {}))}, **more)
    records = [] if value is None else [make_record({"accuracy": value})]
    return fold_one(records, plan=plan)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("claim", _GOOD, "The claim holds."),
        ("claim", _BAD, "The claim does not hold as stated."),
        ("question", _GOOD, "The question is answered, and the answer is good enough to proceed."),
        ("question", _BAD, "The question is answered, and the answer is not good enough to proceed."),
        ("pivot", _GOOD, "The new approach holds."),
        ("pivot", _BAD, "The new approach does not hold either."),
        (None, _GOOD, "It holds."),
        (None, _BAD, "It does not hold."),
        ("claim", None, "There is no answer yet: nothing has been run."),
        ("claim", float("nan"), "There is no answer yet."),
    ],
)
def test_the_answer_follows_from_the_verdicts(kind: str | None, value: float | None, said: str) -> None:
    """What is open is said to be open."""
    assert answer(_state(value, {"type": kind} if kind else {})) == said


def test_what_moved_is_no_answer_of_then() -> None:
    """A bar that was lowered after the first attempt is told before the success."""
    records = [make_record({"accuracy": _GOOD}, registered={"accuracy": "another digest"})]
    said = answer(fold_one(records, plan=make_plan({X1: make_entry(type="claim")})))
    assert said == "It holds under the current plan, but the plan has changed since the first attempt."


def test_what_is_measured_in_part_is_said_to_be() -> None:
    """One criterion is not met, another was never measured."""
    entry = make_entry({"accuracy": {"target": 0.7}, "f1": {"target": 0.7}}, type="question")
    state = fold_one([make_record({"accuracy": _BAD})], plan=make_plan({X1: entry}))
    assert answer(state) == "Not everything was measured, and what was measured falls short."


def test_a_waived_miss_is_no_success() -> None:
    """It goes on because somebody decided so."""
    waiver = {
        "experiment": X1,
        "criterion": "accuracy",
        "by": "A. Person",
        "date": "2026-01-22",
        "reason": "x",
    }
    state = _state(_BAD, waivers=[waiver])
    assert answer(state) == "It proceeds on a waiver; not all of its criteria are met."


@pytest.mark.parametrize(
    ("value", "for_gate", "for_later"),
    [
        (_GOOD, "this experiment passes it.", "no longer blocked by it."),
        (_BAD, "this experiment fails it.", "blocked until it proceeds."),
        (float("nan"), "it stays pending until this experiment is decided.", "blocked until it proceeds."),
    ],
)
def test_what_follows_is_told_for_gates_and_dependents(value: float, for_gate: str, for_later: str) -> None:
    """From the experiment's own state and the plan alone."""
    plan = make_plan(
        {X1: make_entry(), "x2": make_entry(subs=["e_2"], dependencies=[X1])},
        gates={"gate_1": {"experiments": [X1]}},
    )
    state = fold_one([make_record({"accuracy": value})], plan=plan)
    assert list(implications(state, plan)) == [
        f"gate_1: {for_gate}",
        f"x2 depends on this experiment: {for_later}",
    ]


def test_what_replaces_and_what_was_replaced_say_so() -> None:
    """A replaced experiment decides nothing any more, whatever it measured."""
    plan = make_plan({X1: make_entry(), "x2": make_entry(subs=["e_2"], replaces=[X1])})
    old = fold_one([make_record({"accuracy": _BAD})], plan=plan)
    assert list(implications(old, plan)) == [
        "x2 replaces it, so misses here are expected and no longer count."
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (_GOOD, "It meets its criteria but cannot count as met: it was replaced by x2."),
        (_BAD, "The claim does not hold as stated. It was replaced by x2."),
        (float("nan"), "There is no answer; it was replaced by x2."),
    ],
)
def test_the_answer_of_what_was_replaced(value: float, said: str) -> None:
    """It is told, and that it decides nothing any more."""
    plan = make_plan({X1: make_entry(type="claim"), "x2": make_entry(subs=["e_2"], replaces=[X1])})
    assert answer(fold_one([make_record({"accuracy": value})], plan=plan)) == said


def test_caveats_name_what_limits_a_result() -> None:
    """Uncommitted code, numbers that were not measured, runs that came before."""
    records = [
        make_record({"accuracy": _GOOD}, sequence=1, run="run-1"),
        make_record(
            {"accuracy": _GOOD},
            sequence=2,
            run="run-2",
            provenance={"dirty": True, "commit": "abc"},
            evidence=(Evidence(EvidenceKind.SIMULATED, "no robot here", "handlers.py:3"),),
        ),
    ]
    admitting = {"accuracy": {"target": 0.7, "evidence": ["real", "simulated"]}}
    said = list(caveats(fold_one(records, plan=make_plan({X1: make_entry(admitting)}))))
    assert said == [
        f"{SUB} ran with uncommitted changes, so the commit alone does not identify the code.",
        f"The numbers of {SUB} are simulated: no robot here.",
        f"{SUB} was run more than once: the latest run counts, whatever it found.",
    ]
    assert list(caveats(_state(_GOOD))) == []


def test_the_study_is_counted_by_where_its_experiments_stand() -> None:
    """What was replaced is told apart from what holds."""
    states = [_state(_GOOD), _state(_BAD), _state(None)]
    assert list(outcomes(states)) == [
        "1 experiment holds: x1-first.",
        "1 experiment does not hold: x1-first.",
        "1 experiment is open: x1-first.",
    ]
