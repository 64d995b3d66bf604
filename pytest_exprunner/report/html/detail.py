"""How much a report shows of each thing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Detail:
    """How much a report shows of each thing; a large study is told with less of each."""

    buckets: int
    """Parts of a curve's axis, each of which keeps what is highest and lowest in it."""
    charts: int
    """Of each sub-experiment."""
    metrics: int
    texts: int
    """Characters of a finding."""
    attempts: int
    machine: bool
    """Whether packages and machine are told."""
    review: int = 200
    """Lines of the first screen's lists."""
    rows: bool = False
    """Sub-experiments as rows of a table, without what they logged and saved."""
    subs: int = 100_000
    """Sub-experiments of each experiment."""

    def cut(self, text: str) -> str:
        """Return a text as far as there is room for it."""
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
