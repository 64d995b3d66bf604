"""A directed acyclic graph of text ids; it knows nothing of plans."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence


def order(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the ids so that each stands after all it depends on, otherwise as given.

    ``edges`` maps an id to the ids that it depends on; ids that are no key are left out.
    Raises `graphlib.CycleError` on a cycle.
    """
    known = {node: [d for d in dependencies if d in edges] for node, dependencies in edges.items()}
    graphlib.TopologicalSorter(known).prepare()
    result: dict[str, None] = {}
    for root in known:
        pending = [root]
        while pending:
            node = pending[-1]
            waiting = [d for d in known[node] if d not in result]
            if node in result or not waiting:
                result.setdefault(node)
                pending.pop()
            else:
                pending.extend(reversed(waiting))
    return list(result)


def cycle(edges: Mapping[str, Iterable[str]]) -> Sequence[str]:
    """Return the ids along one cycle, the first repeated at the end; empty where there is none.

    Each id depends on the one after it.
    """
    try:
        graphlib.TopologicalSorter({n: list(d) for n, d in edges.items()}).prepare()
    except graphlib.CycleError as error:
        path: list[str] = error.args[1]
        return path[::-1]
    return ()
