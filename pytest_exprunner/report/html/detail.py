"""Levels of detail of a report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detail:
    """The limits of a report; a large study gets lower limits."""

    buckets: int
    """Parts of a curve's axis; each keeps its highest and lowest value."""
    charts: int
    """Maximum per sub-experiment."""
    metrics: int
    texts: int
    """Maximum characters of a finding."""
    attempts: int
    machine: bool
    """Whether to include packages and machine."""
    review: int = 200
    """Maximum items in each list of the first screen."""
    rows: bool = False
    """Whether to show sub-experiments as rows of a table, without logged values and artifacts."""
    subs: int = 100_000
    """Maximum sub-experiments per experiment."""

    def cut(self, text: str) -> str:
        """Return a text, cut to the maximum length."""
        flat = text.strip()
        return flat if len(flat) <= self.texts else f"{flat[: self.texts - 1]}…"


DETAILS = (
    Detail(200, 24, 60, 20_000, 200, machine=True),
    Detail(60, 6, 20, 2_000, 40, machine=True),
    Detail(20, 2, 8, 400, 10, machine=False, review=60),
    Detail(0, 0, 3, 120, 10, machine=False, review=30, rows=True),
    Detail(0, 0, 2, 50, 0, machine=False, review=12, rows=True),
    Detail(0, 0, 1, 30, 0, machine=False, review=12, rows=True, subs=8),
    Detail(0, 0, 0, 0, 0, machine=False, review=12, rows=True, subs=0),
)
