"""Laws of seeds: none that was asked for is left out, order is of no matter, and some are no verdict."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from builders import SUB, X1, make_entry, make_plan, make_reading, make_record
from hypothesis import assume, given
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import AttemptRecord, Recommendation, Status, Verdict
from pytest_exprunner.plan.models import Plan, with_at_least
from pytest_exprunner.verdicts.criteria import evaluate
from pytest_exprunner.verdicts.fold import ASKED_SEEDS, Fallback, current_of, fold_experiment

SEEDS = st.lists(st.integers(0, 20), unique=True, max_size=4).map(tuple)
VALUES = st.floats(0, 1, width=16)


def plan_of(seeds: tuple[int, ...]) -> Plan:
    """One sub-experiment with seeds, one criterion."""
    return make_plan({X1: {**make_entry(), "sub_experiments": {SUB: {"seeds": list(seeds)}}}})


@st.composite
def runs(draw: Any) -> tuple[tuple[int, ...], list[AttemptRecord]]:
    """A plan's seeds, and runs of any part of what they were asked for."""
    planned, found, number = draw(SEEDS), [], 0
    for run in range(draw(st.integers(1, 4))):
        asked = draw(st.integers(0, 5))
        seeds = with_at_least(planned, asked)
        for seed in draw(st.lists(st.sampled_from(seeds), unique=True)) if seeds else (None,):
            number += 1
            record = make_record({"accuracy": draw(VALUES)}, sequence=number, run=f"run-{run}")
            options = {ASKED_SEEDS: asked} if asked else {}
            found.append(replace(record, key=replace(record.key, seed=seed), options=options))
    return planned, found


def folded(planned: tuple[int, ...], records: list[AttemptRecord], before: Fallback | None = None) -> Any:
    """The state of the experiment."""
    plan = plan_of(planned)
    known = {SUB: records} if records else {}
    return fold_experiment(plan, plan.experiments[X1], known, previous=before or Fallback())


@given(runs())
def test_no_seed_is_left_out(case: tuple[tuple[int, ...], list[AttemptRecord]]) -> None:
    """Every planned seed counts, and every one that any run was asked for, whether it ran or not."""
    planned, records = case
    assume(records)
    counting = {current.seed for current in folded(planned, records).subs[SUB].currents}
    most = max(int(str(r.options.get(ASKED_SEEDS, 0))) for r in records)
    assert counting >= set(planned) | set(with_at_least(planned, most))
    assert counting >= {r.key.seed for r in records if r.options}


@given(runs(), st.data())
def test_lost_records_leave_no_seed_out(case: tuple[tuple[int, ...], list[AttemptRecord]], data: Any) -> None:
    """What results.yaml remembers counts where records are gone: nothing gets better by losing them."""
    planned, records = case
    assume(records)
    whole = folded(planned, records)
    before = Fallback(currents={SUB: whole.subs[SUB].currents})
    kept = data.draw(st.lists(st.sampled_from(records), unique_by=lambda r: r.key.sequence))
    less = folded(planned, sorted(kept, key=lambda r: r.key.sequence), before)
    seeds = {current.seed for current in whole.subs[SUB].currents} - {None}
    assert {current.seed for current in less.subs[SUB].currents} >= seeds


@given(runs(), st.randoms(use_true_random=False))
def test_order_is_of_no_matter(case: tuple[tuple[int, ...], list[AttemptRecord]], random: Any) -> None:
    """Records come from disk in any order."""
    planned, records = case
    mixed = list(records)
    random.shuffle(mixed)
    assert folded(planned, mixed) == folded(planned, records)


@given(runs())
def test_some_seeds_are_no_success(case: tuple[tuple[int, ...], list[AttemptRecord]]) -> None:
    """Nothing proceeds before all have completed."""
    planned, records = case
    state = folded(planned, records)
    if any(current.status is not Status.COMPLETED for current in state.subs[SUB].currents):
        assert state.assessment.recommendation is not Recommendation.PROCEED
        assert not state.criteria["accuracy"].met


@given(st.lists(VALUES, min_size=2, max_size=6))
def test_the_mean_decides(values: list[float]) -> None:
    """Whatever the order of seeds is; between the worst and the best of them."""
    criterion = plan_of(()).experiments[X1].success_criteria["accuracy"]
    readings = [
        make_reading({"accuracy": value}, seed=seed, seeds=len(values)) for seed, value in enumerate(values)
    ]
    results = {
        evaluate(criterion, list(order)) for order in itertools.islice(itertools.permutations(readings), 6)
    }
    assert len({(r.value, r.verdict, r.interval) for r in results}) == 1
    [result] = {r.value for r in results}
    assert result is not None
    assert min(values) <= result <= max(values)


def test_a_stand_in_without_a_record() -> None:
    """What was asked for is known from results.yaml alone."""
    record = make_record({"accuracy": 0.9}, sequence=1)
    record = replace(record, key=replace(record.key, seed=1), options={ASKED_SEEDS: 3})
    state = folded((), [], Fallback(currents={SUB: (current_of(record),)}))
    assert {c.seed: c.status for c in state.subs[SUB].currents} == {
        0: Status.NOT_STARTED,
        1: Status.COMPLETED,
        2: Status.NOT_STARTED,
    }
    assert state.criteria["accuracy"].verdict is Verdict.NOT_MEASURED
