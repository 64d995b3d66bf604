"""A directed acyclic graph of text ids; it knows nothing of plans."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable, Mapping, Sequence


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
