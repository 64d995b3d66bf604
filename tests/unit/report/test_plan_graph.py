"""The plan as a picture: everything is in it once, nothing covers anything else."""

from __future__ import annotations

from typing import Any

from builders import make_entry, make_plan
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.report.html.plan_graph import Node, draw


@st.composite
def _plans(draw_: st.DrawFn) -> dict[str, Any]:
    number = draw_(st.integers(1, 12))
    experiments: dict[str, Any] = {}
    for i in range(number):
        before = [f"x{j}" for j in draw_(st.sets(st.integers(0, i - 1), max_size=3))] if i else []
        phase = draw_(st.one_of(st.none(), st.integers(1, 3)))
        more: dict[str, Any] = {} if phase is None else {"phase": phase}
        experiments[f"x{i}"] = make_entry(subs=[f"e_{i}"], dependencies=before, **more)
    if number > 2 and draw_(st.booleans()):
        experiments[f"x{number - 1}"]["replaces"] = [
            draw_(st.sampled_from([f"x{i}" for i in range(number - 1)]))
        ]
    members = draw_(st.sets(st.integers(0, number - 1), min_size=1, max_size=3))
    return {"experiments": experiments, "gates": {"gate_1": {"experiments": [f"x{i}" for i in members]}}}


def _overlap(a: Node, b: Node) -> bool:
    beside = a.x + a.width <= b.x or b.x + b.width <= a.x
    above = a.y + a.height <= b.y or b.y + b.height <= a.y
    return not (beside or above)


@given(value=_plans())
def test_every_node_has_a_place_of_its_own(value: dict[str, Any]) -> None:
    """Experiments and gates stand once each, within the picture, and no box covers another."""
    plan = make_plan(value["experiments"], gates=value["gates"])
    picture = draw(plan)
    assert {node.id for node in picture.nodes} == {*plan.experiments, *plan.gates}
    assert len(picture.nodes) == len(plan.experiments) + len(plan.gates)
    for place, node in enumerate(picture.nodes):
        assert node.x >= 0
        assert node.x + node.width <= picture.width
        assert node.y + node.height <= picture.height
        assert not any(_overlap(node, other) for other in picture.nodes[place + 1 :])


@given(value=_plans())
def test_what_is_needed_stands_to_the_left(value: dict[str, Any]) -> None:
    """Reading from left to right is reading in the order of work."""
    plan = make_plan(value["experiments"], gates=value["gates"])
    picture = draw(plan)
    x = {node.id: node.x for node in picture.nodes}
    drawn = {(edge.source, edge.target) for edge in picture.edges if edge.relation == "needs"}
    assert drawn == {(before, name) for name in plan.experiments for before in plan.requirements(name)}
    assert all(x[source] < x[target] for source, target in drawn)


def test_phases_are_lanes_where_they_follow_each_other() -> None:
    """A phase that depends on nothing still stands after the one before it."""
    plan = make_plan({"x1": make_entry(subs=["e_1"], phase=1), "x2": make_entry(subs=["e_2"], phase=2)})
    picture = draw(plan)
    assert [lane.phase for lane in picture.lanes] == ["1", "2"]
    assert picture.lanes[0].x + picture.lanes[0].width < picture.lanes[1].x


def test_very_many_experiments_become_squares() -> None:
    """A grid, so that a thousand still fit on a screen."""
    plan = make_plan({f"x{i}": make_entry(subs=[f"e_{i}"]) for i in range(1000)})
    picture = draw(plan)
    assert picture.squares
    assert len(picture.nodes) == 1000
    assert picture.height < 800
