"""What a criterion says about a value."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_exprunner.model.attempt import EvidenceKind, IntervalMethod, Level, Source, Verdict
from pytest_exprunner.model.reasons import Reason


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """The verdict of a criterion: on which value, from where, and why."""

    name: str
    verdict: Verdict
    value: float | int | None = None
    borderline: bool = False
    decided_by: Source | None = None
    """Where the value was measured: one attempt, or without a seed all seeds of a variant."""
    attempt: int | None = None
    evidence: tuple[EvidenceKind, ...] = ()
    n: int = 0
    interval: tuple[float, float] | None = None
    """At 95 %."""
    sd: float | None = None
    method: IntervalMethod | None = None
    reason: Reason | None = None
    """Why there is no value that counts, or no interval."""

    @property
    def met(self) -> bool:
        """Return whether it is met at the usual level."""
        return Level.ACCEPTABLE.met_by(self.verdict)

    @property
    def over_seeds(self) -> bool:
        """Whether the interval is over seeds."""
        return self.method is not None and self.method.over_seeds

    @property
    def measured(self) -> bool:
        """Return whether there is an admissible value."""
        return self.verdict not in (Verdict.NOT_MEASURED, Verdict.INADMISSIBLE)
