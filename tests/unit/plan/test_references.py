"""Cycles among the references of a plan."""

from __future__ import annotations

import graphlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner.plan.references import cycle

Edges = dict[str, list[str]]


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
def test_cycle_is_a_real_one_or_there_is_none(edges: Edges) -> None:
    """Either each id of a path depends on the next, back to the first, or there is no cycle."""
    found = list(cycle(edges))
    if found:
        assert found[0] == found[-1]
        assert len(found) >= 2
        assert len(set(found[1:])) == len(found) - 1
        assert all(later in edges[node] for node, later in pairwise(found))
    else:
        graphlib.TopologicalSorter(edges).prepare()
