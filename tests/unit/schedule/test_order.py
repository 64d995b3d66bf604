"""The schedule: everything once, nothing before what it waits for, nothing idle that could run."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.plan.models import Plan
from pytest_exprunner.schedule.order import Schedule, Slots, in_order, of_plan

Waits = dict[int, list[int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Waits, int]:
    """A graph without cycles over numbers that stand in any order."""
    names = draw(st.permutations(range(draw(st.integers(0, 12)))))
    waits = {
        name: draw(st.lists(st.sampled_from(names[:place]), max_size=4)) if place else []
        for place, name in enumerate(names)
    }
    return waits, len(names)


@given(graphs())
def test_an_order(graph: tuple[Waits, int]) -> None:
    """Every piece of work stands once, after all it waits for."""
    waits, number = graph
    found = in_order(Schedule(waits, range(number)))
    place = {node: index for index, node in enumerate(found)}
    assert sorted(found) == list(range(number))
    assert all(place[before] < place[node] for node, needed in waits.items() for before in needed)


@given(graphs())
def test_an_order_that_is_possible_is_kept(graph: tuple[Waits, int]) -> None:
    """Work that stands in a possible order already stays where it is."""
    waits, number = graph
    once = in_order(Schedule(waits, range(number)))
    renamed = {once.index(node): [once.index(b) for b in needed] for node, needed in waits.items()}
    assert in_order(Schedule(renamed, range(number))) == list(range(number))


@given(graphs(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_crashes_and_workers(graph: tuple[Waits, int], workers: int, chance: random.Random) -> None:
    """Whatever is lost is done again: each is done once, none too early, no worker idle without need."""
    waits, number = graph
    schedule = Schedule(waits, range(number), {n: chance.random() for n in range(number)})
    running: list[int] = []
    done: list[int] = []
    while not schedule.finished:
        while len(running) < workers and (node := schedule.start()) is not None:
            assert all(before in done for before in waits[node])
            running.append(node)
        possible = [n for n in waits if n not in done and n not in running and set(waits[n]) <= set(done)]
        assert not possible or len(running) == workers
        node = running.pop(chance.randrange(len(running)))
        if chance.random() < 0.3:
            schedule.give_back(node)
        else:
            schedule.done(node)
            done.append(node)
    assert sorted(done) == list(range(number))
    assert schedule.start() is None


def test_longest_chain_first() -> None:
    """The head of the longest chain starts before work that is long by itself."""
    schedule = Schedule({1: [2], 0: []}, range(3), {0: 5.0, 1: 4.0, 2: 2.0})
    assert [schedule.start(), schedule.start()] == [2, 0]


def test_a_cycle_is_refused() -> None:
    """Work that waits for itself is named."""
    with pytest.raises(ValueError, match="these wait for one another: 0, 1"):
        Schedule({0: [1], 1: [0], 2: []}, range(3))


def test_a_long_chain() -> None:
    """A chain of any length is ordered without recursion."""
    schedule = Schedule({n: [n + 1] for n in range(5_000)}, range(5_001))
    assert in_order(schedule) == list(range(5_000, -1, -1))


def test_no_more_than_its_length() -> None:
    """Work cannot end that was not started."""
    with pytest.raises(KeyError):
        Schedule({}, [1]).done(1)


# --- plans ------------------------------------------------------------------------------------

PLAN = """\
experiments:
  a: {sub_experiments: [e_a1, e_a2]}
  b: {sub_experiments: {e_b1: {}, e_b2: {needs: [e_b1]}}, dependencies: [a]}
  c: {sub_experiments: {e_c1: {needs: [e_b2]}}, dependencies: [g]}
  d: {sub_experiments: [e_d1]}
gates:
  g: {experiments: [b], unlocks: [d]}
"""


def plan_from(text: str) -> Plan:
    """Return a plan."""
    return Plan.model_validate(yaml.safe_load(text))


def starts(selected: Mapping[str, str], plan: str = PLAN) -> list[list[str]]:
    """Return in rounds what may start, where each round ends before the next."""
    subs = list(selected)
    schedule = of_plan(plan_from(plan), {i: (selected[sub], sub) for i, sub in enumerate(subs)}, len(subs))
    rounds = []
    while not schedule.finished:
        round_ = []
        while (node := schedule.start()) is not None:
            round_.append(node)
        for node in round_:
            schedule.done(node)
        rounds.append([subs[node] for node in round_ if isinstance(node, int)])
    return rounds


def test_order_of_a_plan() -> None:
    """Dependencies, gates, what gates unlock, and needs."""
    everything = {"e_d1": "d", "e_c1": "c", "e_b2": "b", "e_b1": "b", "e_a2": "a", "e_a1": "a"}
    assert starts(everything) == [["e_a2", "e_a1"], ["e_b1"], ["e_b2"], ["e_d1", "e_c1"]]


def test_a_verdict_waits_for_what_it_is_compared_with() -> None:
    """What depends on an experiment starts when its baselines in other experiments are there, too."""
    plan = """\
experiments:
  a: {sub_experiments: {e_a1: {}, e_a2: {needs: [e_a1]}}}
  b: {sub_experiments: [e_b1], success_criteria: {gain: {metric: m, minus: e_a2/m, target: 0}}}
  c: {sub_experiments: [e_c1], dependencies: [g]}
gates:
  g: {experiments: [b]}
"""
    assert starts({"e_c1": "c", "e_b1": "b", "e_a2": "a", "e_a1": "a"}, plan) == [
        ["e_b1", "e_a1"],
        ["e_a2"],
        ["e_c1"],
    ]


def test_order_over_what_is_not_selected() -> None:
    """What stands between two selected experiments keeps their order."""
    assert starts({"e_d1": "d", "e_a1": "a"}) == [["e_a1"], ["e_d1"]]
    assert starts({"e_c1": "c", "e_b1": "b"}) == [["e_b1"], ["e_c1"]]


def test_several_variants() -> None:
    """A sub-experiment is settled when all its variants are."""
    schedule = of_plan(plan_from(PLAN), {0: ("b", "e_b2"), 1: ("b", "e_b1"), 2: ("b", "e_b1")}, 3)
    first, second = schedule.start(), schedule.start()
    assert (first, second, schedule.start()) == (1, 2, None)
    schedule.done(1)
    assert schedule.start() is None
    schedule.done(2)
    assert schedule.start() == 0


def test_ordinary_tests_wait_for_nothing() -> None:
    """What is no sub-experiment may start at once."""
    schedule = of_plan(plan_from(PLAN), {1: ("b", "e_b1"), 0: ("a", "e_a1")}, 4)
    assert [schedule.start() for _ in range(4)] == [0, 2, 3, None]


def test_the_cost_of_many() -> None:
    """A thousand that wait for a thousand cost as many edges, not a million."""
    lines = "experiments:\n  a: {sub_experiments: [%s]}\n  b: {sub_experiments: [%s], dependencies: [a]}\n"
    plan = plan_from(
        lines % (", ".join(f"e_a{i}" for i in range(1000)), ", ".join(f"e_b{i}" for i in range(1000)))
    )
    items = {i: ("a", f"e_a{i}") for i in range(1000)} | {1000 + i: ("b", f"e_b{i}") for i in range(1000)}
    schedule = of_plan(plan, items, 2000)
    assert sum(map(len, schedule._after.values())) < 20_000
    assert in_order(schedule) == list(range(2000))


def test_equals_keep_their_places() -> None:
    """Ties are broken by place, so that equal runs have equal orders."""
    assert in_order(Schedule({}, range(50), dict.fromkeys(range(50), 1.0))) == list(range(50))


def test_slots() -> None:
    """Work that needs more than is free is passed over, not waited for; what ends gives back."""
    schedule = Schedule({}, range(4), slots=Slots(2, {0: 1, 1: 2, 2: 1}))
    assert [schedule.start() for _ in range(4)] == [0, 2, 3, None]
    schedule.done(0)
    assert schedule.start() is None
    schedule.give_back(2)
    assert schedule.start() == 1
    schedule.done(1)
    assert schedule.start(ahead=True) is None
    assert schedule.start() == 2
