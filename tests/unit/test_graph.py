"""Order and cycles of a graph of text ids."""

from __future__ import annotations

import graphlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.graph import cycle, order

Edges = dict[str, list[str]]


@st.composite
def acyclic(draw: st.DrawFn) -> Edges:
    """A graph without cycles: each node depends on earlier ones; keys stand in any order."""
    nodes = [f"n{index}" for index in range(draw(st.integers(0, 12)))]
    edges = {
        node: draw(st.lists(st.sampled_from(nodes[:index]), max_size=4)) if index else []
        for index, node in enumerate(nodes)
    }
    return {node: edges[node] for node in draw(st.permutations(nodes))}


@st.composite
def any_graph(draw: st.DrawFn) -> Edges:
    """A graph with or without cycles, some of its edges to nodes that are no keys."""
    nodes = [f"n{index}" for index in range(draw(st.integers(1, 8)))]
    targets = st.sampled_from([*nodes, "elsewhere"])
    return {node: draw(st.lists(targets, max_size=3)) for node in nodes}


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({}, []),
        ({"b": [], "a": []}, ["b", "a"]),
        ({"a": ["b"], "b": []}, ["b", "a"]),
        ({"a": ["c"], "b": [], "c": []}, ["c", "a", "b"]),
        ({"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": []}, ["a", "b", "c", "d"]),
        ({"a": ["elsewhere"]}, ["a"]),
        ({"a": ["b", "b"], "b": []}, ["b", "a"]),
    ],
)
def test_order(edges: Edges, expected: list[str]) -> None:
    """Ids keep their order but for those that others wait for."""
    assert order(edges) == expected


@given(acyclic())
def test_order_respects_every_edge(edges: Edges) -> None:
    """Every id stands once, after all it depends on."""
    result = order(edges)
    place = {node: index for index, node in enumerate(result)}
    assert sorted(result) == sorted(edges)
    assert all(place[d] < place[node] for node, needed in edges.items() for d in needed)


@given(acyclic())
def test_order_is_stable(edges: Edges) -> None:
    """Ids that are in order already stay where they are."""
    once = order(edges)
    assert order({node: edges[node] for node in once}) == once


@given(acyclic())
def test_order_leaves_the_graph_alone(edges: Edges) -> None:
    """Asking twice gives the same order, and the graph is left as it was."""
    before = {node: list(needed) for node, needed in edges.items()}
    assert order(edges) == order(edges)
    assert edges == before


def test_order_of_a_long_chain() -> None:
    """A chain of any length is ordered without recursion."""
    edges = {f"n{index}": [f"n{index + 1}"] for index in range(5_000)}
    assert order(edges) == [f"n{index}" for index in range(4_999, -1, -1)]


def test_order_of_a_cycle_raises() -> None:
    """A cycle has no order."""
    with pytest.raises(graphlib.CycleError):
        order({"a": ["b"], "b": ["a"]})


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({}, []),
        ({"a": ["b"], "b": []}, []),
        ({"a": ["elsewhere"]}, []),
        ({"a": ["a"]}, ["a", "a"]),
        ({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}, ["a", "b", "c", "a"]),
    ],
)
def test_cycle(edges: Edges, expected: list[str]) -> None:
    """A cycle is shown from one id along what it depends on back to itself."""
    found = list(cycle(edges))
    assert len(found) == len(expected)
    assert set(found) == set(expected)
    assert all(later in edges[node] for node, later in pairwise(found))


@given(any_graph())
def test_cycle_is_a_real_one_or_there_is_an_order(edges: Edges) -> None:
    """Either each id of a path depends on the next, back to the first, or there is an order."""
    found = list(cycle(edges))
    if found:
        assert found[0] == found[-1]
        assert len(found) >= 2
        assert len(set(found[1:])) == len(found) - 1
        assert all(later in edges[node] for node, later in pairwise(found))
        with pytest.raises(graphlib.CycleError):
            order(edges)
    else:
        assert sorted(order(edges)) == sorted(edges)
