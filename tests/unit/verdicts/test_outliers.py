"""What is far from its history or its siblings is pointed out, and nothing else is."""

from __future__ import annotations

from typing import Any

from builders import SUB, X1, fold_one, make_entry, make_plan, make_record
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import AttemptRecord
from pytest_exprunner.verdicts.outliers import far_from, outliers

_VALUES = st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=20)


def _over_time(*values: float) -> list[AttemptRecord]:
    return [
        make_record({"accuracy": value}, sequence=number, run=f"run-{number}")
        for number, value in enumerate(values, start=1)
    ]


def _said(records: list[AttemptRecord], **more: Any) -> list[str]:
    plan = make_plan({X1: make_entry(subs=[SUB], **more)})
    return list(outliers(fold_one(records, plan=plan)))


def test_a_value_far_from_its_history_is_named() -> None:
    """With what it is compared with, so that a reader can judge."""
    assert _said(_over_time(0.81, 0.80, 0.82, 0.81, 0.41)) == [
        "accuracy of e_x1_1 is 0.410, far from its 4 earlier attempts (median 0.810, from 0.800 to 0.820)."
    ]


def test_a_better_value_is_as_unexpected_as_a_worse_one() -> None:
    """Too good to be true is a reason to look."""
    assert len(_said(_over_time(0.61, 0.60, 0.62, 0.61, 0.999))) == 1


def test_few_attempts_and_equal_ones_tell_nothing() -> None:
    """There is no spread to compare with."""
    assert _said(_over_time(0.8, 0.8, 0.1)) == []
    assert _said(_over_time(0.8, 0.8, 0.8, 0.8, 0.1)) == []


def test_a_seed_far_from_the_others_is_named() -> None:
    """One seed that did not learn hides in a mean."""
    records = [
        make_record({"accuracy": value}, sequence=seed + 1, seed=seed, run="run-1")
        for seed, value in enumerate([0.80, 0.81, 0.79, 0.82, 0.11])
    ]
    plan = make_plan({X1: {**make_entry(), "sub_experiments": {SUB: {"seeds": [0, 1, 2, 3, 4]}}}})
    assert list(outliers(fold_one(records, plan=plan))) == [
        "accuracy of e_x1_1 seed 4 is 0.110, far from its 4 other seeds (median 0.805, from 0.790 to 0.820)."
    ]


@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=12), value=st.floats())
def test_any_numbers_are_taken(values: list[float], value: float) -> None:
    """The largest floats do not add up to an error."""
    far_from(value, values)


@given(values=_VALUES)
def test_what_lies_among_the_others_is_never_far(values: list[float]) -> None:
    """The median of the others is as near as can be."""
    ordered = sorted(values)
    assert far_from(ordered[len(ordered) // 2], values) is None or len(set(values)) > 1
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    assert far_from(middle, values) is None


@given(values=_VALUES, value=st.floats(-1e6, 1e6), more=st.floats(1, 1e6))
def test_farther_is_not_less_far(values: list[float], value: float, more: float) -> None:
    """What is far stays far where it is moved away from all others."""
    if far_from(value, values) is not None:
        moved = value + more if value > max(values) else value - more if value < min(values) else value
        assert far_from(moved, values) is not None
