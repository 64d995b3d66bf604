"""An attempt as one frozen record: what is stored of it, and the words for how it ended.

An attempt is identified by sub-experiment, variant, seed and sequence number. Its record is written
once, by the process that ran it, and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, NamedTuple

import orjson
from pydantic import AfterValidator, PlainValidator, Strict, TypeAdapter, ValidationError

from pytest_exprunner._util.serialization import Plain, decode, encode

SCHEMA_VERSION = 1
_FORBID_EXTRA: Any = {"extra": "forbid"}

Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("Input should be a mapping")  # noqa: TRY004 - pydantic collects ValueErrors
    return value


def _decode_values(value: object) -> Any:
    return decode(_mapping(value))


def _parse_all_samples(value: object) -> dict[str, tuple[float, ...]]:
    return {name: parse_samples(text) for name, text in _mapping(value).items()}


def stays_inside(path: str) -> bool:
    """Return whether a path that was read from a file leads to something below the folder it is meant for."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in path


def _inside(path: str) -> str:
    if not stays_inside(path):
        raise ValueError(f"the artifact path {path!r} leads outside its folder")
    return path


Values = Annotated[Mapping[str, Plain], PlainValidator(_decode_values)]
"""What handlers return: any plain values, with markers for what JSON cannot hold."""
Samples = Annotated[Mapping[str, tuple[float, ...]], PlainValidator(_parse_all_samples)]


class Status(StrEnum):
    """How the code ended; what the numbers say is a `Verdict`."""

    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    SKIPPED = "skipped"
    FAILED = "failed"
    BLOCKED = "blocked"
    PIVOTED = "pivoted"


class Verdict(StrEnum):
    """The verdict of a criterion on its value."""

    TARGET = "target"
    ACCEPTABLE = "acceptable"
    MISSED = "missed"
    FAILURE = "failure"
    NOT_MEASURED = "not_measured"
    INADMISSIBLE = "inadmissible"


class Level(StrEnum):
    """How good is good enough for an exit code: the lowest tier that passes."""

    TARGET = "target"
    ACCEPTABLE = "acceptable"
    FAILURE = "failure"

    def met_by(self, verdict: Verdict) -> bool:
        """Return whether a verdict passes at this level."""
        return verdict in _MET[self]


_MET = {
    Level.TARGET: frozenset({Verdict.TARGET}),
    Level.ACCEPTABLE: frozenset({Verdict.TARGET, Verdict.ACCEPTABLE}),
    Level.FAILURE: frozenset({Verdict.TARGET, Verdict.ACCEPTABLE, Verdict.MISSED}),
}


class EvidenceKind(StrEnum):
    """Where numbers came from."""

    REAL = "real"
    SIMULATED = "simulated"
    FALLBACK = "fallback"
    IMPORTED = "imported"
    STUB = "stub"


class Recommendation(StrEnum):
    """What to do with an experiment next."""

    PROCEED = "proceed"
    PIVOT = "pivot"
    INVESTIGATE = "investigate"
    BLOCK = "block"


class Confidence(StrEnum):
    """How sure one can be of a recommendation."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class GateState(StrEnum):
    """Where a go/no-go gate stands."""

    PASSED = "passed"
    PASSED_WITH_WAIVER = "passed_with_waiver"
    FAILED = "failed"
    PENDING = "pending"


class IntervalMethod(StrEnum):
    """How a 95 % interval around a mean is made."""

    T_OVER_SEEDS = "t over seeds"
    T_OVER_SAMPLES = "t over samples"
    T_OVER_PAIRED_SAMPLES = "t over paired samples"
    WILSON = "Wilson over samples"
    BOOTSTRAP = "bootstrap over samples"

    @property
    def over_seeds(self) -> bool:
        """Whether the values are one per seed; otherwise they are one per sample."""
        return self is IntervalMethod.T_OVER_SEEDS


def label(sub_experiment: str, variant: str | None = None, seed: int | None = None) -> str:
    """``e_p2_1``, ``e_p2_1[lr=0.1]``, ``e_p2_1 seed 2``: how people read a key."""
    text = sub_experiment if variant is None else f"{sub_experiment}[{variant}]"
    return text if seed is None else f"{text} seed {seed}"


def which(variant: str | None, seed: int | None) -> str:
    """``lr=0.1, seed 2``: what distinguishes attempts of one sub-experiment; empty if nothing does."""
    parts = [variant, None if seed is None else f"seed {seed}"]
    return ", ".join(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value was measured: a sub-experiment, a variant of it, one seed."""

    sub_experiment: str
    variant: str | None = None
    seed: int | None = None

    def __str__(self) -> str:
        """``e_p2_1[lr=0.1] seed 0``: how people read it."""
        return label(self.sub_experiment, self.variant, self.seed)


@dataclass(frozen=True, slots=True, order=True)
class AttemptKey:
    """Which attempt: ``sequence`` counts the attempts of a sub-experiment from 1."""

    __pydantic_config__: ClassVar[Any] = _FORBID_EXTRA
    experiment: str
    sub_experiment: str
    sequence: Integer
    variant: str | None = None
    seed: Integer | None = None

    @property
    def slot(self) -> tuple[str | None, int | None]:
        """What attempts of one sub-experiment compete for: (variant, seed)."""
        return (self.variant, self.seed)

    @property
    def label(self) -> str:
        """The key without its sequence, for people."""
        return label(self.sub_experiment, self.variant, self.seed)


class Event(NamedTuple):
    """Something that happened during an attempt."""

    kind: str
    time: float
    data: Mapping[str, Plain]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A declaration that numbers were not measured, with its reason and the place of the call."""

    kind: EvidenceKind
    reason: str
    place: str


_REAL = (EvidenceKind.REAL,)


def kinds_of(evidence: tuple[Evidence, ...]) -> tuple[EvidenceKind, ...]:
    """Return the kinds among some declarations; real where nothing was declared."""
    return tuple(dict.fromkeys(e.kind for e in evidence)) if evidence else _REAL


@dataclass(frozen=True, slots=True)
class Artifact:
    """A stored file: ``path`` as handlers return it, size in bytes, hash, kind."""

    __pydantic_config__: ClassVar[Any] = _FORBID_EXTRA
    path: Annotated[str, AfterValidator(_inside)]
    sha256: str
    bytes: Integer
    type: str = "file"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not complete: the exception as text."""

    __pydantic_config__: ClassVar[Any] = _FORBID_EXTRA
    type: str
    message: str
    traceback: str = ""

    @property
    def line(self) -> str:
        """``ValueError: first line of the message``."""
        first = self.message.strip().splitlines()[0] if self.message.strip() else ""
        return f"{self.type}: {first}" if first else self.type


@dataclass(frozen=True, slots=True)
class Hint:
    """What is known of a failure: why it happens as a rule, and what to do about it."""

    __pydantic_config__: ClassVar[Any] = _FORBID_EXTRA
    rule: str
    """A short name, ``cuda-tensor-to-numpy``."""
    cause: str
    fix: str
    snippet: str = ""
    """A few lines of Python that show the way."""
    link: str = ""
    """Where to read more."""


@dataclass(frozen=True, slots=True)
class Logged:
    """What `log_metrics` saw of one metric."""

    count: Integer
    last: Annotated[Plain, PlainValidator(decode)]


_REPLACED_BY = "(replaced by)"
_TOGETHER = "(together)"


@dataclass(frozen=True, slots=True)
class Terms:
    """What an attempt was registered under, beside the criteria; None where it is not known."""

    replaced_by: str | None = None
    """The experiment that replaced this one; empty where none did."""
    together: bool | None = None
    """Whether one attempt had to meet all criteria."""

    @classmethod
    def split(cls, registered: Mapping[str, str]) -> tuple[dict[str, str], Terms]:
        """Return the criteria and the terms of a mapping in which early versions stored both."""
        criteria = dict(registered)
        replaced_by, together = criteria.pop(_REPLACED_BY, None), criteria.pop(_TOGETHER, None)
        return criteria, cls(replaced_by, None if together is None else bool(together))


UNKNOWN_TERMS = Terms()


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One execution, from what was intended to how it went: everything else is folded from these."""

    __pydantic_config__: ClassVar[Any] = _FORBID_EXTRA

    key: AttemptKey
    run: str
    nodeid: str
    status: Status
    started_at: str
    finished_at: str | None
    duration_s: Number | None
    rng_seed: Integer
    finding: str = ""
    metrics: Values = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    listed: tuple[str, ...] = ()
    """Artifact paths that the handler returned."""
    evidence: tuple[Evidence, ...] = ()
    logged: Mapping[str, Logged] = field(default_factory=dict)
    samples: Samples = field(default_factory=dict)
    """Values per sample, by metric."""
    error: Failure | None = None
    hints: tuple[Hint, ...] = ()
    """What was known of the failure where it happened, the most specific first."""
    reason: str = ""
    """Why it was skipped or is unfinished."""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    """The verdict of each criterion on this attempt alone, when it ended."""
    variants: tuple[str | None, ...] = (None,)
    """Every variant that the handler defined then, so that a removed one stops counting."""
    registered: Mapping[str, str] = field(default_factory=dict)
    """Digest of each criterion of the experiment, as it was when the attempt began."""
    options: Mapping[str, Plain] = field(default_factory=dict)
    extra: Values = field(default_factory=dict)
    provenance: Mapping[str, Plain] = field(default_factory=dict)
    upstream: Mapping[str, Integer] = field(default_factory=dict)
    """Which attempts of others it could read, by label."""
    inputs: Mapping[str, Plain] = field(default_factory=dict)
    """Hashes of what it was made from: code, parameters, configuration, data."""
    terms: Terms = UNKNOWN_TERMS
    is_summary: ClassVar[bool] = False
    """Whether the record itself is missing, and this is what a results file knows of it."""

    @property
    def label(self) -> str:
        """``e_p2_1[lr=0.1]``."""
        return self.key.label

    @property
    def source(self) -> Source:
        """Where its values were measured."""
        return Source(self.key.sub_experiment, self.key.variant, self.key.seed)

    @property
    def is_registered(self) -> bool:
        """Whether it is known what the attempt was going to be judged by."""
        return bool(self.registered) or self.terms != UNKNOWN_TERMS

    @property
    def missing(self) -> tuple[str, ...]:
        """Artifacts that the handler listed and never saved."""
        stored = [artifact.path for artifact in self.artifacts]
        return tuple(
            path for path in self.listed if not any(s == path or s.endswith(f"/{path}") for s in stored)
        )

    @property
    def kinds(self) -> tuple[EvidenceKind, ...]:
        """The kinds of evidence behind its numbers; real where nothing was declared."""
        return kinds_of(self.evidence)


@dataclass(frozen=True, slots=True)
class AttemptSummary(AttemptRecord):
    """What a results file knows of an attempt whose record is missing."""

    is_summary: ClassVar[bool] = True


_ENCODED = ("metrics", "extra")
"""Fields that may hold anything that a handler produced."""
_ADDED_LATER = {"hints", "inputs", "samples", "terms", "upstream"}
"""Fields that records of early versions do not have."""
_ALWAYS_WRITTEN = {field.name for field in fields(AttemptRecord)} - _ADDED_LATER


def dump_record(record: AttemptRecord) -> bytes:
    """Return a record as one JSON object, with a newline at its end."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps({"schema_version": SCHEMA_VERSION, **as_plain(record)}, option=option)


def as_plain(record: AttemptRecord) -> dict[str, Any]:
    """Return the fields of a record; values that code produced in a form that JSON can carry.

    Everything else in it is ours: text and small finite numbers, which orjson writes as they are.
    """
    value: dict[str, Any] = {field.name: getattr(record, field.name) for field in fields(record)}
    for name in _ENCODED:
        value[name] = encode(value[name])
    value["logged"] = {
        name: {"count": seen.count, "last": encode(seen.last)} for name, seen in record.logged.items()
    }
    value["samples"] = {name: samples_text(values) for name, values in record.samples.items()}
    return value


def samples_text(values: Sequence[float]) -> str:
    """Return values per sample as they are stored: on one line, each exact."""
    return " ".join(repr(value).removesuffix(".0") for value in values)


def parse_samples(text: str) -> tuple[float, ...]:
    """Read what `samples_text` returned. Raises ValueError."""
    return tuple(map(float, text.split()))


def parse_record(source: bytes | str) -> AttemptRecord:
    """Read what `dump_record` wrote. Raises ValueError with what is wrong."""
    try:
        value: Any = orjson.loads(source)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error for all broken input
    version = value.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {version!r}; this version reads {SCHEMA_VERSION}")
    missing = sorted(_ALWAYS_WRITTEN - value.keys())
    if missing:
        raise ValueError(f"not an attempt record: it has no {missing[0]!r}")
    try:
        return _adapter().validate_python(_upgraded(value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"not an attempt record: {place}: {first['msg']}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"not an attempt record: {error}") from error


@cache
def _adapter() -> TypeAdapter[AttemptRecord]:
    return TypeAdapter(AttemptRecord)


def _upgraded(value: dict[str, Any]) -> dict[str, Any]:
    """Return a stored record of an earlier version in the shape of this one."""
    if "terms" not in value and isinstance(value["registered"], dict):
        value["registered"], value["terms"] = Terms.split(value["registered"])
    return value


def placeholder(key: AttemptKey, status: Status, reason: str, run: str = "") -> AttemptRecord:
    """Return a record for what has not been attempted: not started, selected by a run, or blocked."""
    return AttemptRecord(
        key=key,
        run=run,
        nodeid="",
        status=status,
        started_at="",
        finished_at=None,
        duration_s=None,
        rng_seed=0,
        reason=reason,
    )
