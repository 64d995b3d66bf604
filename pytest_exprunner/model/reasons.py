"""Why a criterion has no value that counts, or no interval: a value for each reason, with its words."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_exprunner._util.text import sentence_list
from pytest_exprunner.model.attempt import EvidenceKind, Source


@dataclass(frozen=True, slots=True)
class Reason:
    """Why: ``text`` is a sentence without a full stop."""

    @property
    def text(self) -> str:
        """The sentence."""
        raise NotImplementedError

    def __str__(self) -> str:
        """The sentence."""
        return self.text


@dataclass(frozen=True, slots=True)
class StubRun(Reason):
    """No handler was called."""

    @property
    def text(self) -> str:
        """The sentence."""
        return "this is a stub run"


@dataclass(frozen=True, slots=True)
class NothingCompleted(Reason):
    """No sub-experiment of the experiment has completed."""

    @property
    def text(self) -> str:
        """The sentence."""
        return "nothing has completed yet"


@dataclass(frozen=True, slots=True)
class NobodyReturned(Reason):
    """Everything that has completed returned something else."""

    @property
    def text(self) -> str:
        """The sentence."""
        return "no completed sub-experiment returned it"


@dataclass(frozen=True, slots=True)
class NotCompleted(Reason):
    """What ``from`` names has not completed."""

    named: str

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.named} has not completed"


@dataclass(frozen=True, slots=True)
class NotReturned(Reason):
    """What ``from`` names completed without the metric."""

    sources: tuple[Source, ...]

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{', '.join(map(str, self.sources))} did not return it"


@dataclass(frozen=True, slots=True)
class OnlyLogged(Reason):
    """The metric was logged, and not returned."""

    source: Source
    count: int
    last: str

    @property
    def text(self) -> str:
        """The sentence."""
        times = "once" if self.count == 1 else f"{self.count} times"
        return f"{self.source} logged it {times}, last {self.last}, but never returned it"


@dataclass(frozen=True, slots=True)
class Misspelt(Reason):
    """Another name was returned that looks like the expected one."""

    source: Source
    returned: str
    expected: str

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.source} returned {self.returned!r}; expected {self.expected!r}"


@dataclass(frozen=True, slots=True)
class NotANumber(Reason):
    """Something else than a number was returned."""

    source: Source
    shown: str
    kind: str

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.source} returned {self.shown}, which is {self.kind}, not a number"


@dataclass(frozen=True, slots=True)
class NotFinite(Reason):
    """NaN or an infinity was returned."""

    source: Source

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.source} returned a value that is not a finite number"


@dataclass(frozen=True, slots=True)
class OutOfBounds(Reason):
    """The value is outside the bounds that the plan gives."""

    source: Source
    low: float | None
    high: float | None

    @property
    def text(self) -> str:
        """The sentence."""
        limits = f"[{'-∞' if self.low is None else self.low}, {'∞' if self.high is None else self.high}]"
        return f"{self.source} returned a value outside its bounds {limits}"


@dataclass(frozen=True, slots=True)
class NotAdmitted(Reason):
    """The numbers were declared as a kind of evidence that the plan does not admit."""

    source: Source
    kind: EvidenceKind
    declared: str
    admitted: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentence."""
        why = f" ({self.declared})" if self.declared else ""
        admitted = " and ".join(self.admitted)
        return f"{self.source} declared its numbers as {self.kind}{why}; the plan admits only {admitted}"


@dataclass(frozen=True, slots=True)
class UnknownVariant(Reason):
    """``from`` names a variant that the handler does not define."""

    sub_experiment: str
    variant: str
    known: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentence."""
        names = " and ".join(map(repr, self.known))
        return f"{self.sub_experiment} has no variant {self.variant!r}; it has {names or 'none'}"


@dataclass(frozen=True, slots=True)
class BaselineNotReturned(Reason):
    """The attempt that the baseline is in did not return it."""

    source: Source
    metric: str

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.source} did not return its baseline {self.metric}"


@dataclass(frozen=True, slots=True)
class BaselineNotCompleted(Reason):
    """What the baseline is in has not completed."""

    baseline: Source

    @property
    def text(self) -> str:
        """The sentence."""
        return f"its baseline {self.baseline} has not completed"


@dataclass(frozen=True, slots=True)
class BaselineAmbiguous(Reason):
    """What the baseline is in has several variants."""

    baseline: Source

    @property
    def text(self) -> str:
        """The sentence."""
        return f"its baseline {self.baseline} has several variants; name one of them in the plan"


@dataclass(frozen=True, slots=True)
class BaselineSeeds(Reason):
    """The baseline was run with other seeds."""

    source: Source
    baseline: Source
    seeds: tuple[int | None, ...]

    @property
    def text(self) -> str:
        """The sentence."""
        own = "no seed" if self.source.seed is None else f"seed {self.source.seed}"
        seeds = sentence_list([str(seed) for seed in self.seeds])
        return (
            f"{self.source} has {own} and its baseline {self.baseline} has {seeds}; both need the same seeds"
        )


@dataclass(frozen=True, slots=True)
class BaselineUnusable(Reason):
    """No difference or ratio can be made with the baseline's value."""

    source: Source
    metric: str
    shown: str
    is_ratio: bool

    @property
    def text(self) -> str:
        """The sentence."""
        needed = "; a ratio needs a baseline above 0" if self.is_ratio else ""
        return f"its baseline {self.metric} in {self.source} is {self.shown}{needed}"


@dataclass(frozen=True, slots=True)
class SeedsMissing(Reason):
    """Some seeds have not completed: the mean of the others is no verdict."""

    source: Source
    completed: int
    planned: int
    mean: float

    @property
    def text(self) -> str:
        """The sentence."""
        seeds = f"{self.completed} of {self.planned} seeds of {self.source} have completed"
        return f"{seeds}, with the mean {self.mean:.4g}"


@dataclass(frozen=True, slots=True)
class MeasuredElsewhere(Reason):
    """The plan asks for one attempt that meets all, and another one has this metric."""

    source: Source
    other: Source | None

    @property
    def text(self) -> str:
        """The sentence."""
        found = f"{self.source} did not return it; {self.other} did"
        return f"{found}, but the plan requires one attempt to meet every criterion (together)"


@dataclass(frozen=True, slots=True)
class SamplesNotFinite(Reason):
    """The samples hold NaN or an infinity, so they give no interval."""

    @property
    def text(self) -> str:
        """The sentence."""
        return "its samples contain a value that is not finite"


@dataclass(frozen=True, slots=True)
class SamplesDisagree(Reason):
    """The mean of the samples is another value than the returned one, so they give no interval."""

    mean: float

    @property
    def text(self) -> str:
        """The sentence."""
        return f"its samples have the mean {self.mean:.6g}, which differs from the returned value"
