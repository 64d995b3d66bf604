"""What to do next: one case per situation, each with its words, its command and its place in the order."""

from __future__ import annotations

from typing import Any

import pytest
from builders import SUB, TIERS, X1, failed, fold_all, fold_one, make_entry, make_plan, make_record

from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord, Status
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.schedule.advice import Advice, Known, advise
from pytest_exprunner.verdicts.fold import Pending, fold

RUN = f"pytest experiments/ -m {SUB}"
DEPENDENT = make_plan({X1: make_entry(), "x2": make_entry(subs=("e_2",), dependencies=[X1])})


def known(*without: str, hint: str = "", plan: Plan | None = None, **more: Any) -> Known:
    """What is known where every sub-experiment but some has a handler."""
    subs = [sub.id for _experiment, sub in (plan or make_plan()).sub_experiments()]
    places = {
        sub: f"experiments/handlers.py:{line}" for line, sub in enumerate(subs, 1) if sub not in without
    }
    return Known(places, dict.fromkeys(without, hint), **more)


def advice(*records: AttemptRecord, plan: Plan | None = None, beside: Known | None = None) -> list[Advice]:
    """Return what to do after some attempts."""
    chosen = plan or make_plan()
    return advise(fold_all(chosen, records), beside or known(plan=chosen))


def seeded(*values: float, **more: Any) -> list[AttemptRecord]:
    """Return an attempt per value, of one run, each of a seed of its own."""
    return [
        AttemptRecord(
            key=AttemptKey(X1, SUB, number, None, number),
            run="run-1",
            nodeid="x",
            status=Status.COMPLETED,
            started_at="2026-01-20T16:31:01.000000Z",
            finished_at="2026-01-20T16:31:02.000000Z",
            duration_s=1.0,
            rng_seed=number,
            metrics={"accuracy": value},
            options={"seeds": len(values)},
            **more,
        )
        for number, value in enumerate(values)
    ]


def test_nothing_is_left() -> None:
    """After a success without further steps there is nothing to do."""
    assert advice(make_record({"accuracy": 0.9})) == []


def test_a_handler_to_write() -> None:
    """What has no handler gets one from the plan; what looks like one is mended by hand."""
    assert advice(beside=known(SUB)) == [
        Advice("write", SUB, f"exprunner new {SUB}", "e_x1_1 has no handler yet")
    ]
    hint = "experiments/a.py:3: e_x1_1 has no parameter named 'runner'"
    assert advice(beside=known(SUB, hint=hint)) == [
        Advice("write", SUB, None, f"e_x1_1 has no handler: {hint}")
    ]


def test_something_to_run() -> None:
    """A whole experiment is run by its id, what is left of one by the ids of its sub-experiments."""
    assert advice() == [
        Advice("run", SUB, f"pytest experiments/ -m {X1}", "e_x1_1 has not been run, and nothing blocks it")
    ]
    plan = make_plan({X1: make_entry(subs=(SUB, "e_2", "e_3"))})
    first = make_record({"accuracy": 0.9})
    assert advice(first, plan=plan) == [
        Advice(
            "run",
            X1,
            "pytest experiments/ -m 'e_2 or e_3'",
            "e_2 and e_3 have not been run, and nothing blocks them",
        )
    ]


def test_a_failure() -> None:
    """What failed comes first, with its place and the reason."""
    assert advice(failed(message="no data")) == [
        Advice(
            "repair",
            SUB,
            RUN,
            "e_x1_1 failed: ValueError: no data; fix experiments/handlers.py:1, then run it again",
        )
    ]


def test_an_interrupted_run() -> None:
    """What a run left is resumed; what one is at is waited for."""
    plan = make_plan()
    state = fold_one([], plan=plan, pending=[Pending(SUB, None, None, 0, "run-9")])
    results = fold(plan, {X1: state})
    assert advise(results, known()) == [
        Advice(
            "resume",
            SUB,
            f"pytest experiments/ --exp-resume -m {SUB}",
            "e_x1_1 is unfinished: run run-9 selected it but did not finish it; finished work is reused",
        )
    ]
    assert advise(results, known(going_on="run-9")) == [
        Advice("wait", X1, "exprunner watch", "e_x1_1 is running now, in run run-9")
    ]


def test_what_is_in_the_way() -> None:
    """A dependency that does not proceed blocks, with the reason; so does data that is not there."""
    blocked = advice(plan=DEPENDENT)[1]
    assert blocked == Advice("blocked", "x2", None, "x2 needs x1-first to proceed; it has not started")
    lacking = known(lacking={SUB: "e_x1_1 needs the data file a.npz, which is missing"})
    assert advice(beside=lacking) == [
        Advice("blocked", SUB, None, "e_x1_1 needs the data file a.npz, which is missing")
    ]


def test_needs_within_an_experiment() -> None:
    """What another one needs is run with it; without its handler, neither can be."""
    entry = make_entry()
    entry["sub_experiments"] = {SUB: {}, "e_2": {"needs": [SUB]}}
    plan = make_plan({X1: entry})
    assert [a.command for a in advice(plan=plan)] == [f"pytest experiments/ -m {X1}"]
    assert advice(plan=plan, beside=known(SUB, plan=plan)) == [
        Advice("write", SUB, f"exprunner new {SUB}", "e_x1_1 has no handler yet"),
        Advice("blocked", "e_2", None, "e_2 needs e_x1_1, which is not started"),
    ]


def test_more_seeds() -> None:
    """A borderline mean asks for as many seeds as would settle it, counting those that there are."""
    [action] = advice(*seeded(0.58, 0.66, 0.62))
    assert action == Advice(
        "seeds",
        SUB,
        f"pytest experiments/ --exp-seeds 18 -m {SUB}",
        "accuracy is borderline: 0.620 against ≥ 0.60; about 15 more seeds (3 so far) would settle it "
        "at this spread",
    )
    [action] = advice(make_record({"accuracy": 0.605}))
    assert action == Advice(
        "seeds",
        SUB,
        f"pytest experiments/ --exp-seeds 5 -m {SUB}",
        "accuracy is borderline: 0.605 against ≥ 0.60, from one run; several seeds would give an interval",
    )


def test_seeds_that_would_not_help() -> None:
    """Where hundreds of seeds would be needed, a person decides; of few seeds that cannot be known."""
    [action] = advice(*seeded(0.4, 0.8, 0.6001))
    assert (action.kind, action.command) == (
        "seeds",
        "pytest experiments/ --exp-seeds 10 -m e_x1_1",
    )
    assert action.why.endswith("; 3 seeds are too few for a reliable mean")
    [action] = advice(*seeded(*([0.4, 0.8] * 5), 0.6001))
    assert (action.kind, action.command) == ("decide", None)
    assert action.why.endswith("more seeds would hardly help, so decide yourself")


def test_what_the_plan_says_next() -> None:
    """After a miss the plan's own steps are told; without any, what was missed."""
    plan = make_plan({X1: make_entry(next_steps={"pivot": ["Try another encoder"]})})
    assert advice(make_record({"accuracy": 0.1}), plan=plan) == [
        Advice(
            "decide",
            X1,
            None,
            "x1-first says pivot (Not met: accuracy 0.100 (needs ≥ 0.60)); the plan: Try another encoder",
        )
    ]
    [action] = advice(make_record({"accuracy": 0.1}))
    assert action.why == (
        "x1-first says pivot (accuracy 0.100 < 0.60); decide what replaces it (the plan has no next step)"
    )


def test_something_not_measured() -> None:
    """A completed experiment without its metric is told what to return."""
    [action] = advice(make_record({}))
    assert (action.kind, action.command) == ("decide", None)
    assert action.why.startswith("return 'accuracy' from a handler of x1-first: ")


def test_blockers() -> None:
    """What a person named as a blocker stands in the way of running, and is to be settled."""
    plan = make_plan({X1: make_entry(blockers=["no machine"])})
    assert [(a.kind, a.command, a.why) for a in advice(plan=plan)] == [
        ("blocked", None, "x1-first is blocked by: no machine"),
        ("decide", None, "x1-first is blocked by no machine; resolve this first"),
    ]


def test_gates() -> None:
    """A gate says what it waits for; one that has passed says nothing."""
    plan = make_plan(gates={"gate_1": {"experiments": [X1]}})
    assert advice(plan=plan)[-1] == Advice(
        "gate", "gate_1", "exprunner gates gate_1", "gate_1 is pending: x1-first has not started"
    )
    assert advice(make_record({"accuracy": 0.9}), plan=plan) == []
    missed = advice(make_record({"accuracy": 0.1}), plan=plan)[-1]
    assert missed.why.startswith("gate_1 is failed: x1-first says pivot")


def test_what_was_replaced_is_left_alone() -> None:
    """Nothing is asked of an experiment that another one replaces."""
    plan = make_plan({X1: make_entry(), "x2": make_entry(subs=("e_2",), replaces=[X1])})
    assert {action.target for action in advice(failed(), plan=plan)} == {"e_2"}


@pytest.mark.parametrize("values", [(0.9,), (0.1,), (0.605,), ()])
def test_the_order(values: tuple[float, ...]) -> None:
    """Repairs come before runs, runs before decisions, whatever the order of the plan."""
    entries = {
        "a": make_entry({"m": TIERS}, subs=("e_a",)),
        "b": make_entry(subs=("e_b", "e_b2")),
        X1: make_entry({"accuracy": TIERS}, next_steps={"proceed": ["go"]}),
    }
    plan = make_plan(entries, gates={"g": {"experiments": ["a", X1]}})
    records = [make_record({"accuracy": value}) for value in values]
    records.append(failed(sub="e_b", experiment="b"))
    kinds = [action.kind for action in advice(*records, plan=plan)]
    order = ["repair", "resume", "write", "run", "blocked", "seeds", "decide", "gate", "go_on"]
    assert kinds == sorted(kinds, key=order.index)
    assert kinds[0] == "repair"


def test_steps_wait_for_their_ground() -> None:
    """Where to go on is not told of a result whose dependency no longer holds."""
    entries = {
        X1: make_entry(),
        "x2": make_entry(subs=("e_2",), dependencies=[X1], next_steps={"proceed": ["go"]}),
    }
    plan = make_plan(entries)
    second = make_record({"accuracy": 0.9}, sub="e_2", experiment="x2")
    assert [a.kind for a in advice(make_record({"accuracy": 0.9}), second, plan=plan)] == ["go_on"]
    assert [a.kind for a in advice(failed(), second, plan=plan)] == ["repair"]
