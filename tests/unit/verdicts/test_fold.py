"""Records in, state out: what counts, what is kept, and what a careful reader is told."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from builders import (
    SUB,
    TIERS,
    X1,
    by_sub,
    digests,
    failed,
    fold_all,
    fold_one,
    make_entry,
    make_plan,
    make_record,
    stored_current,
)
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import (
    Artifact,
    AttemptRecord,
    GateState,
    Recommendation,
    Source,
    Status,
    Verdict,
)
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, Registration
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.verdicts.fold import Fallback, Pending, fold_experiment

ONE = make_plan()
TWO = make_plan({X1: make_entry(subs=("e_x1_1", "e_x1_2"))})


def pending(variant: str | None = None, after: int = 0, **more: Any) -> Pending:
    """Return what a run selected and has not finished."""
    return Pending(SUB, variant, None, after, "run-9", **more)


def current(state: ExperimentState, variant: str | None = None, sub: str = SUB) -> CurrentAttempt:
    """Return the attempt that counts for a variant."""
    return next(c for c in state.subs[sub].currents if c.variant == variant)


def earlier(*pasts: AttemptRecord, currents: Sequence[CurrentAttempt] = (), **more: Any) -> Fallback:
    """Return what a results file says about the first sub-experiment."""
    return Fallback(currents={SUB: tuple(currents)}, history={SUB: pasts}, **more)


# --- nothing yet ------------------------------------------------------------------------------


def test_nothing_was_run() -> None:
    """Without attempts an experiment has not started, and nothing is recommended but to look."""
    state = fold_one()
    assert state.status is Status.NOT_STARTED
    assert not state.started
    assert state.criteria["accuracy"].verdict is Verdict.NOT_MEASURED
    assert state.assessment.recommendation is Recommendation.INVESTIGATE
    assert state.issues == ()


def test_one_completed_attempt() -> None:
    """A completed attempt that meets everything lets an experiment proceed."""
    state = fold_one([make_record({"accuracy": 0.8})])
    assert state.status is Status.COMPLETED
    assert state.criteria["accuracy"].verdict is Verdict.TARGET
    assert state.assessment.recommendation is Recommendation.PROCEED


@pytest.mark.parametrize(
    "status", [s for s in Status if s not in (Status.COMPLETED, Status.NOT_STARTED, Status.PIVOTED)]
)
def test_numbers_of_what_did_not_complete_do_not_count(status: Status) -> None:
    """A failed, skipped or unfinished attempt is not judged, whatever metrics its record holds."""
    state = fold_one([make_record({"accuracy": 0.99}, status=status)])
    assert not state.criteria["accuracy"].met
    assert state.assessment.recommendation is Recommendation.INVESTIGATE
    assert state.subs[SUB].status is status


def test_one_of_two_is_not_complete() -> None:
    """A sub-experiment that never ran keeps its experiment in progress, whatever the numbers say."""
    state = fold_one([make_record({"accuracy": 0.8})], plan=TWO)
    assert state.status is Status.IN_PROGRESS
    assert state.assessment.recommendation is Recommendation.INVESTIGATE
    assert state.assessment.notes == "e_x1_2 is not started. 1 of 1 gating criterion measured."


# --- which attempt counts ---------------------------------------------------------------------


def test_a_later_run_supersedes() -> None:
    """The latest run counts, for the better and for the worse; the history keeps both."""
    good, bad = make_record({"accuracy": 0.8}), make_record({"accuracy": 0.4}, sequence=2)
    state = fold_one([good, bad])
    assert current(state).attempt == 2
    assert state.criteria["accuracy"].verdict is Verdict.FAILURE
    assert [(p.key.sequence, p.metrics) for p in state.subs[SUB].history] == [
        (1, {"accuracy": 0.8}),
        (2, {"accuracy": 0.4}),
    ]


def test_a_rerun_never_improves() -> None:
    """In one run the first completed attempt decides; a second try that is better does not."""
    first = make_record({"accuracy": 0.4}, run="run-1")
    second = make_record({"accuracy": 0.9}, sequence=2, run="run-1")
    state = fold_one([first, second])
    assert current(state).attempt == 1
    assert state.criteria["accuracy"].verdict is Verdict.FAILURE
    assert len(state.subs[SUB].history) == 2


def test_a_rerun_after_a_crash_counts() -> None:
    """A crash is no measurement: the first attempt of the run that completed decides."""
    state = fold_one([failed(run="run-1"), make_record({"accuracy": 0.8}, sequence=2, run="run-1")])
    assert current(state).attempt == 2
    assert state.subs[SUB].status is Status.COMPLETED


def test_a_rerun_that_crashes_changes_nothing() -> None:
    """A try after the one that completed has no say, not even by crashing."""
    state = fold_one([make_record({"accuracy": 0.8}, run="run-1"), failed(2, run="run-1")])
    assert state.subs[SUB].status is Status.COMPLETED


def test_yesterdays_success_does_not_stand_in_for_todays_crash() -> None:
    """A later run that failed is what counts, though an earlier one succeeded."""
    state = fold_one([make_record({"accuracy": 0.8}), failed(2)])
    assert state.status is Status.FAILED
    assert state.subs[SUB].reason == "ValueError: no data"
    assert not state.criteria["accuracy"].met


def test_an_attempt_that_never_finished() -> None:
    """An attempt without an outcome leaves its experiment in progress."""
    state = fold_one(
        [
            make_record({"accuracy": 0.8}),
            make_record(sequence=2, status=Status.IN_PROGRESS, reason="it started but never finished"),
        ]
    )
    assert state.status is Status.IN_PROGRESS
    assert state.subs[SUB].reason == "it started but never finished"


# --- pending ----------------------------------------------------------------------------------


def test_pending_hides_yesterdays_success() -> None:
    """What a run selected and has not finished is in progress, and its criteria are open."""
    state = fold_one([make_record({"accuracy": 0.8})], pending=[pending(after=1)])
    assert state.status is Status.IN_PROGRESS
    assert state.criteria["accuracy"].verdict is Verdict.NOT_MEASURED
    assert state.assessment.recommendation is Recommendation.INVESTIGATE
    assert state.subs[SUB].reason == "run run-9 selected it but did not finish it"
    assert [past.key.sequence for past in state.subs[SUB].history] == [1]


def test_pending_hides_a_stored_success() -> None:
    """What a results file says does not stand in for a run that has not finished either."""
    stored = stored_current({"accuracy": 0.8})
    state = fold_one(pending=[pending()], previous=earlier(currents=[stored]))
    assert state.status is Status.IN_PROGRESS
    assert not state.criteria["accuracy"].met


def test_pending_is_over_when_an_attempt_ended() -> None:
    """An attempt after the run began takes the place of the mark."""
    state = fold_one(
        [make_record({"accuracy": 0.4}), make_record({"accuracy": 0.8}, sequence=2)],
        pending=[pending(after=1)],
    )
    assert state.status is Status.COMPLETED


def test_pending_counts_by_variant() -> None:
    """Another variant's attempt does not finish what is pending."""
    state = fold_one(
        [make_record({"accuracy": 0.8}, sequence=2, variant="a", variants=("a", "b"))],
        pending=[pending("a", after=1), pending("b", after=1)],
    )
    assert current(state, "a").status is Status.COMPLETED
    assert current(state, "b").status is Status.IN_PROGRESS
    assert state.status is Status.IN_PROGRESS


def test_pending_and_blocked() -> None:
    """What could not run is blocked, with the reason."""
    state = fold_one(pending=[pending(blocked="x1-first needs q1 to proceed; it has not started")])
    assert state.status is Status.BLOCKED
    assert state.subs[SUB].reason == "x1-first needs q1 to proceed; it has not started"
    assert state.assessment.recommendation is Recommendation.INVESTIGATE


# --- variants ---------------------------------------------------------------------------------


def test_all_variants_must_meet() -> None:
    """The worst variant decides."""
    both = ("a", "b")
    state = fold_one(
        [
            make_record({"accuracy": 0.8}, variant="a", variants=both),
            make_record({"accuracy": 0.55}, variant="b", variants=both, sequence=2),
        ]
    )
    assert state.criteria["accuracy"].decided_by == Source(SUB, "b")
    assert state.criteria["accuracy"].verdict is Verdict.MISSED


def test_a_removed_variant_stops_counting() -> None:
    """A variant that the handler no longer defines stays in the history and is not judged."""
    state = fold_one(
        [
            make_record({"accuracy": 0.1}, variant="b", variants=("a", "b")),
            make_record({"accuracy": 0.8}, variant="a", variants=("a",), sequence=2),
        ]
    )
    assert [c.variant for c in state.subs[SUB].currents] == ["a"]
    assert state.assessment.recommendation is Recommendation.PROCEED
    assert [p.key.variant for p in state.subs[SUB].history] == ["b", "a"]


def test_a_new_variant_keeps_it_unfinished() -> None:
    """A variant that is defined and never ran keeps the sub-experiment from being complete."""
    state = fold_one([make_record({"accuracy": 0.8}, variant="a", variants=("a", "b"))])
    assert current(state, "b").status is Status.NOT_STARTED
    assert state.subs[SUB].status is Status.IN_PROGRESS
    assert state.assessment.recommendation is Recommendation.INVESTIGATE


def test_a_handler_that_became_parametrized() -> None:
    """The attempt of the handler without parameters no longer counts."""
    state = fold_one(
        [
            make_record({"accuracy": 0.1}),
            make_record({"accuracy": 0.8}, variant="a", variants=("a",), sequence=2),
        ]
    )
    assert [c.variant for c in state.subs[SUB].currents] == ["a"]


# --- where attempts are missing ---------------------------------------------------------------


def test_a_results_file_stands_in() -> None:
    """Without any attempts, what the results file says is what is known."""
    stored = stored_current({"accuracy": 0.8}, sequence=4)
    past = make_record(sequence=4)
    state = fold_one(
        previous=earlier(past, currents=[stored], registered=Registration({"accuracy": "0" * 16}))
    )
    assert state.status is Status.COMPLETED
    assert state.criteria["accuracy"].attempt == 4
    assert state.subs[SUB].history == (past,)
    assert state.registered.criteria == {"accuracy": "0" * 16}


def test_an_attempt_in_a_clone_keeps_the_stored_history() -> None:
    """A first attempt in a clone without attempts has number 1 again, and hides no stored one."""
    past = make_record(run="run-old", verdicts={"accuracy": "failure"})
    state = fold_one([make_record({"accuracy": 0.9}, run="run-new")], previous=earlier(past))
    assert [p.run for p in state.subs[SUB].history] == ["run-old", "run-new"]


def test_an_attempt_of_one_variant_keeps_the_stored_others() -> None:
    """Running one variant in a clone without attempts does not forget the others."""
    both = ("a", "b")
    stored = [
        stored_current({"accuracy": 0.8}, sequence=n, run="run-old", variant=v, variants=both)
        for n, v in enumerate(both, 1)
    ]
    pasts = [make_record(sequence=n, run="run-old", variant=v) for n, v in enumerate(both, 1)]
    record = make_record({"accuracy": 0.9}, variant="a", variants=both, sequence=3)
    state = fold_one([record], previous=earlier(*pasts, currents=stored))
    assert current(state, "b").status is Status.COMPLETED
    assert state.status is Status.COMPLETED


def test_attempts_on_disk_win_over_the_file() -> None:
    """Where there are attempts, they count and not the projection of them."""
    stored = stored_current({"accuracy": 0.9})
    state = fold_one([make_record({"accuracy": 0.4})], previous=earlier(currents=[stored]))
    assert state.criteria["accuracy"].value == 0.4


# --- issues -----------------------------------------------------------------------------------


def test_a_listed_artifact_that_was_never_saved() -> None:
    """What a handler lists and never saved is told; what it saved under its short name is fine."""
    saved = Artifact("artifacts/e_x1_1/iou.png", "0" * 64, 9, "image")
    record = make_record({"accuracy": 0.8}, artifacts=(saved,), listed=("iou.png", "x.png"))
    assert fold_one([record]).issues == ("e_x1_1 lists 1 artifact that it did not save: x.png.",)
    assert current(fold_one([record])).record.missing == ("x.png",)


def test_a_name_that_only_ends_alike_is_missing() -> None:
    """``ou.png`` is not ``iou.png``."""
    saved = Artifact("artifacts/e_x1_1/iou.png", "0" * 64, 9, "image")
    record = make_record(artifacts=(saved,), listed=("ou.png",))
    assert current(fold_one([record])).record.missing == ("ou.png",)


def test_moved_goalposts() -> None:
    """A criterion that changed, one that went and one that came after the first attempt are told."""
    old = make_plan({X1: make_entry({"accuracy": TIERS, "loss": {"target": 0.1}})})
    new = make_plan({X1: make_entry({"accuracy": {"target": 0.1}, "f1": {"target": 0.1}})})
    record = make_record({"accuracy": 0.3, "f1": 1}, registered=digests(old.experiments[X1]))
    assert fold_one([record], plan=new).issues == (
        "The criterion accuracy has changed since it was first used.",
        "The criterion loss decided earlier attempts but is no longer in the plan.",
        "The criterion f1 was added after the first attempt.",
    )


def test_the_first_digest_is_the_registered_one() -> None:
    """Running again after the goalposts moved does not register the new ones."""
    old = make_plan({X1: make_entry({"accuracy": {"target": 0.9}})})
    records = [
        make_record({"accuracy": 0.8}, registered=digests(old.experiments[X1])),
        make_record({"accuracy": 0.8}, registered=digests(ONE.experiments[X1]), sequence=2),
    ]
    state = fold_one(records)
    assert state.registered.criteria == digests(old.experiments[X1])
    assert state.issues == ("The criterion accuracy has changed since it was first used.",)


def test_a_sub_experiment_that_left_the_plan() -> None:
    """Attempts of a sub-experiment that is no longer planned are kept, told, and not judged."""
    records = [make_record({"accuracy": 0.8}), make_record({"accuracy": 0.1}, sub="e_x1_9")]
    state = fold_one(records)
    assert state.issues == ("e_x1_9 has results but is not in the plan; they are kept and not judged.",)
    assert state.assessment.recommendation is Recommendation.PROCEED


def test_a_miss_that_was_run_again() -> None:
    """A later run that meets what an earlier one missed says so."""
    records = [
        make_record({"accuracy": 0.4}, verdicts={"accuracy": "failure"}),
        make_record({"accuracy": 0.55}, sequence=2, verdicts={"accuracy": "missed"}),
        make_record({"accuracy": 0.8}, sequence=3, verdicts={"accuracy": "target"}),
    ]
    assert fold_one(records).issues == (
        "accuracy was not met in attempts 1 and 2 of e_x1_1; attempt 3 meets it. All attempts are kept.",
    )
    assert fold_one(records[:2]).issues == ()


def test_problems_come_first() -> None:
    """What the journal could not read is an issue of the experiment."""
    state = fold_experiment(ONE, ONE.experiments[X1], {}, problems=["record.json cannot be used"])
    assert state.issues == ("record.json cannot be used",)


# --- the whole study --------------------------------------------------------------------------


def test_a_study() -> None:
    """Experiments come in plan order, gates follow from them, replaced ones are pivoted."""
    plan = make_plan(
        {
            "c1": make_entry(subs=("e_c1_1",)),
            "p2": make_entry(subs=("e_p2_1",), replaces=["c1"]),
        },
        gates={"g1": {"experiments": ["p2"]}, "g2": {"experiments": ["c1", "p2"]}},
    )
    results = fold_all(
        plan,
        [
            make_record({"accuracy": 0.9}, sub="e_c1_1", experiment="c1"),
            make_record({"accuracy": 0.9}, sub="e_p2_1", experiment="p2"),
        ],
    )
    assert list(results.experiments) == ["c1", "p2"]
    assert results.experiments["c1"].status is Status.PIVOTED
    assert results.gates["g1"].state is GateState.PASSED
    assert results.gates["g2"].state is GateState.FAILED


# --- laws -------------------------------------------------------------------------------------

values = st.sampled_from([0.1, 0.55, 0.65, 0.8, float("inf"), "text", True])
statuses = st.sampled_from(
    [Status.COMPLETED, Status.COMPLETED, Status.FAILED, Status.SKIPPED, Status.IN_PROGRESS]
)


@st.composite
def histories(draw: st.DrawFn) -> list[AttemptRecord]:
    """Return attempts of two sub-experiments, over several runs and variants."""
    found = []
    for sub in ("e_x1_1", "e_x1_2"):
        variants = draw(st.sampled_from([(None,), ("a", "b"), ("a",)]))
        for sequence in range(1, draw(st.integers(0, 5)) + 1):
            found.append(
                make_record(
                    {"accuracy": draw(values)},
                    sub=sub,
                    sequence=sequence,
                    run=draw(st.sampled_from(["run-1", "run-2"])),
                    status=draw(statuses),
                    variant=draw(st.sampled_from(variants)),
                    variants=variants,
                    registered=draw(st.sampled_from([{}, {"accuracy": "1" * 16}, {"f1": "2" * 16}])),
                    verdicts=draw(st.sampled_from([{}, {"accuracy": "missed"}])),
                )
            )
    return found


@given(histories(), st.randoms(use_true_random=False))
def test_order_does_not_matter(records: list[AttemptRecord], random: Any) -> None:
    """The same records in another order give the same state."""
    shuffled = list(records)
    random.shuffle(shuffled)
    assert fold_one(shuffled, plan=TWO) == fold_one(records, plan=TWO)


@given(histories())
def test_repetition_does_not_matter(records: list[AttemptRecord]) -> None:
    """Records that are read twice count once."""
    assert fold_one([*records, *records], plan=TWO) == fold_one(records, plan=TWO)


@given(histories())
def test_history_keeps_everything(records: list[AttemptRecord]) -> None:
    """Every attempt is in the history, once, oldest first."""
    state = fold_one(records, plan=TWO)
    for sub, mine in by_sub(records).items():
        kept = [past.key.sequence for past in state.subs[sub].history]
        assert kept == sorted(record.key.sequence for record in mine)


@given(histories())
def test_proceed_needs_everything(records: list[AttemptRecord]) -> None:
    """Nothing is recommended to proceed unless all completed and the criterion is met."""
    state = fold_one(records, plan=TWO)
    if state.assessment.recommendation is Recommendation.PROCEED:
        assert state.status is Status.COMPLETED
        assert state.criteria["accuracy"].met
        for sub in state.subs.values():
            assert sub.currents
            assert all(c.status is Status.COMPLETED for c in sub.currents)


@given(histories(), st.sampled_from(["e_x1_1", "e_x1_2"]))
def test_selecting_never_helps(records: list[AttemptRecord], sub: str) -> None:
    """Whatever was known, selecting something again and not finishing it is never a success."""
    last = max((r.key.sequence for r in records if r.key.sub_experiment == sub), default=0)
    item = Pending(sub, None, None, last, "run-9")
    state = fold_one(records, plan=TWO, pending=[item])
    assert state.assessment.recommendation is not Recommendation.PROCEED
    assert state.subs[sub].status in (Status.IN_PROGRESS, Status.FAILED)


def test_all_orders_of_a_real_history() -> None:
    """Every order of the records of a crash, a rerun and a later run gives one state."""
    records = [
        failed(1, run="run-1"),
        make_record({"accuracy": 0.4}, sequence=2, run="run-1"),
        make_record({"accuracy": 0.9}, sequence=3, run="run-1"),
        make_record({"accuracy": 0.65}, sequence=4, run="run-2"),
    ]
    states = [fold_one(order) for order in itertools.permutations(records)]
    assert all(state == states[0] for state in states)
    assert states[0].criteria["accuracy"].value == 0.65


def test_clocks_may_jump() -> None:
    """Order is by sequence: a clock that was set back changes nothing."""
    late = make_record({"accuracy": 0.4}, sequence=2)
    records = [make_record({"accuracy": 0.8}), replace(late, started_at="1970-01-01T00:00:00Z")]
    assert current(fold_one(records)).attempt == 2


def test_a_plan_is_needed_only_once() -> None:
    """Folding does not change what it is given."""
    plan: Plan = make_plan()
    records = [make_record({"accuracy": 0.8})]
    first = fold_one(records, plan=plan)
    assert fold_one(records, plan=plan) == first
    assert records == [make_record({"accuracy": 0.8})]
