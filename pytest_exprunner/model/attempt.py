"""What is known about attempts: the one wire format, and the words for how things ended.

An attempt is keyed (sub-experiment, variant, seed, sequence) everywhere. Records are written
once, by the process that ran the attempt, and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeVar

import orjson

from pytest_exprunner._util.serialization import Plain, decode, encode

SCHEMA_VERSION = 1
T = TypeVar("T")


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
    """What a criterion says about its value."""

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
        """Tell whether a verdict passes at this level."""
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


def label(sub_experiment: str, variant: str | None = None, seed: int | None = None) -> str:
    """``e_p2_1``, ``e_p2_1[lr=0.1]``, ``e_p2_1 seed 2``: how people read a key."""
    text = sub_experiment if variant is None else f"{sub_experiment}[{variant}]"
    return text if seed is None else f"{text} seed {seed}"


def which(variant: str | None, seed: int | None) -> str:
    """``lr=0.1, seed 2``: what tells attempts of one sub-experiment apart; empty where nothing does."""
    parts = [variant, None if seed is None else f"seed {seed}"]
    return ", ".join(part for part in parts if part is not None)


@dataclass(frozen=True, slots=True, order=True)
class AttemptKey:
    """Which attempt: ``sequence`` counts the attempts of a sub-experiment from 1."""

    experiment: str
    sub_experiment: str
    sequence: int
    variant: str | None = None
    seed: int | None = None

    @property
    def slot(self) -> tuple[str | None, int | None]:
        """What attempts of one sub-experiment compete for: (variant, seed)."""
        return (self.variant, self.seed)

    @property
    def label(self) -> str:
        """The key without its sequence, for people."""
        return label(self.sub_experiment, self.variant, self.seed)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One execution as it is intended, before it starts."""

    experiment: str
    sub_experiment: str
    variant: str | None
    seed: int | None
    run: str
    nodeid: str
    rng_seed: int
    stub: bool = False
    variants: tuple[str | None, ...] = (None,)
    """Every variant that the handler defines now, so that a removed one stops counting."""
    registered: Mapping[str, str] = field(default_factory=dict)
    """Digest of each criterion of the experiment, as it stood when the attempt began."""
    options: Mapping[str, Plain] = field(default_factory=dict)
    provenance: Mapping[str, Plain] = field(default_factory=dict)
    upstream: Mapping[str, int] = field(default_factory=dict)
    """Which attempts of others it can read, by label."""
    inputs: Mapping[str, Plain] = field(default_factory=dict)
    """Hashes of what it is made from: code, parameters, configuration, data."""

    @property
    def label(self) -> str:
        """``e_p2_1[lr=0.1]``."""
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

    path: str
    sha256: str
    bytes: int
    type: str = "file"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not complete: the exception as text."""

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

    count: int
    last: Plain


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One execution as it went: the raw evidence from which everything else is folded."""

    key: AttemptKey
    run: str
    nodeid: str
    status: Status
    started_at: str
    finished_at: str | None
    duration_s: float | None
    rng_seed: int
    finding: str = ""
    metrics: Mapping[str, Plain] = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    listed: tuple[str, ...] = ()
    """Artifact paths that the handler returned."""
    evidence: tuple[Evidence, ...] = ()
    logged: Mapping[str, Logged] = field(default_factory=dict)
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Values per sample, by metric."""
    error: Failure | None = None
    hints: tuple[Hint, ...] = ()
    """What was known of the failure where it happened, the most specific first."""
    reason: str = ""
    """Why it was skipped or is unfinished."""
    verdicts: Mapping[str, str] = field(default_factory=dict)
    """What each criterion said of this attempt alone when it ended."""
    variants: tuple[str | None, ...] = (None,)
    registered: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Plain] = field(default_factory=dict)
    extra: Mapping[str, Plain] = field(default_factory=dict)
    provenance: Mapping[str, Plain] = field(default_factory=dict)
    upstream: Mapping[str, int] = field(default_factory=dict)
    """Which attempts of others it could read, by label."""
    inputs: Mapping[str, Plain] = field(default_factory=dict)
    """Hashes of what it was made from: code, parameters, configuration, data."""

    @property
    def kinds(self) -> tuple[EvidenceKind, ...]:
        """The kinds of evidence behind its numbers; real where nothing was declared."""
        return kinds_of(self.evidence)


# Fields that may hold anything that a handler produced.
_ENCODED = ("metrics", "extra")


def dump_record(record: AttemptRecord) -> bytes:
    """Return a record as one JSON object, with a newline at its end."""
    option = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps({"schema_version": SCHEMA_VERSION, **as_plain(record)}, option=option)


def as_plain(record: AttemptRecord) -> dict[str, Any]:
    """Return the fields of a record; values that code produced in a form that JSON can carry.

    Everything else in it is ours: text and small finite numbers, which orjson writes as they are.
    """
    value: dict[str, Any] = {name: getattr(record, name) for name in AttemptRecord.__slots__}
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
    """Read what `dump_record` wrote. Raises ValueError that says what is wrong with it."""
    try:
        value: Any = orjson.loads(source)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one error for all broken input
    version = value.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise ValueError(f"schema_version is {version!r}; this version reads {SCHEMA_VERSION}")
    try:
        return _record(value)
    except (TypeError, KeyError, AttributeError, ValueError, RecursionError) as error:
        detail = str(error) if isinstance(error, ValueError) else repr(error)
        raise ValueError(f"not an attempt record: {detail}") from error


_MAYBE_TEXT = (str, type(None))
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("run", "nodeid", "status", "started_at", "finding", "reason"), str),
    **dict.fromkeys(
        ("key", "metrics", "logged", "verdicts", "registered", "options", "extra", "provenance"), dict
    ),
    **dict.fromkeys(("upstream", "inputs", "samples"), dict),
    **dict.fromkeys(("artifacts", "listed", "evidence", "variants", "hints"), list),
    "finished_at": _MAYBE_TEXT,
    "duration_s": (int, float, type(None)),
    "rng_seed": int,
    "error": (dict, type(None)),
}
_ITEM_TYPES: dict[str, Any] = {
    "artifacts": dict,
    "evidence": dict,
    "hints": dict,
    "listed": str,
    "variants": _MAYBE_TEXT,
    "logged": dict,
    "verdicts": str,
    "registered": str,
    "upstream": int,
    "samples": str,
}


def _check_types(value: dict[str, Any]) -> None:
    for name, kind in _TYPES.items():
        if not isinstance(value[name], kind) or isinstance(value[name], bool):
            raise TypeError(f"{name} is {type(value[name]).__name__}")
    for name, kind in _ITEM_TYPES.items():
        items = value[name].values() if isinstance(value[name], dict) else value[name]
        if not all(isinstance(item, kind) for item in items):
            raise TypeError(f"an entry of {name} has the wrong type")


def _typed(part: T, *kinds: type) -> T:
    """Return a part of a record whose first fields have these types; raise TypeError if not."""
    for name, kind in zip(part.__slots__, kinds, strict=False):  # type: ignore[attr-defined]
        if type(getattr(part, name)) is not kind:
            raise TypeError(f"{name} of {type(part).__name__} has the wrong type")
    return part


def stays_inside(path: str) -> bool:
    """Tell whether a path that was read from a file leads to something below the folder it is meant for."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts and "\0" not in path


def _artifact(value: dict[str, Any]) -> Artifact:
    artifact = _typed(Artifact(**value), str, str, int, str)
    if not stays_inside(artifact.path):
        raise ValueError(f"the artifact path {artifact.path!r} leads out of its folder")
    return artifact


def _key(value: dict[str, Any]) -> AttemptKey:
    key = AttemptKey(**value)
    texts = isinstance(key.experiment, str) and isinstance(key.sub_experiment, str)
    whole = type(key.sequence) is int and (key.seed is None or type(key.seed) is int)
    if not (texts and whole and isinstance(key.variant, _MAYBE_TEXT)):
        raise TypeError("the key has the wrong types")
    return key


def _record(value: dict[str, Any]) -> AttemptRecord:
    for name in ("upstream", "inputs", "samples"):  # not in records of the first versions
        value.setdefault(name, {})
    value.setdefault("hints", [])
    _check_types(value)
    error = value.pop("error")
    for name in _ENCODED:
        value[name] = decode(value[name])
    return AttemptRecord(
        key=_key(value.pop("key")),
        status=Status(value.pop("status")),
        artifacts=tuple(_artifact(a) for a in value.pop("artifacts")),
        listed=tuple(value.pop("listed")),
        evidence=tuple(
            Evidence(EvidenceKind(e["kind"]), e["reason"], e["place"]) for e in value.pop("evidence")
        ),
        logged={
            n: _typed(Logged(e["count"], decode(e["last"])), int) for n, e in value.pop("logged").items()
        },
        error=_typed(Failure(**error), str, str, str) if error is not None else None,
        hints=tuple(_typed(Hint(**h), str, str, str, str, str) for h in value.pop("hints")),
        samples={name: parse_samples(text) for name, text in value.pop("samples").items()},
        variants=tuple(value.pop("variants")),
        **value,
    )


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """What a criterion says, about which value, from where, and why."""

    name: str
    verdict: Verdict
    value: float | int | None = None
    borderline: bool = False
    decided_by: str = ""
    attempt: int | None = None
    evidence: tuple[EvidenceKind, ...] = ()
    n: int = 0
    interval: tuple[float, float] | None = None
    """At 95 %."""
    sd: float | None = None
    method: str = ""
    """How the interval was made: ``t over seeds``, ``Wilson over samples``, …"""
    reason: str = ""

    @property
    def met(self) -> bool:
        """Tell whether it is met at the usual level."""
        return Level.ACCEPTABLE.met_by(self.verdict)

    @property
    def measured(self) -> bool:
        """Tell whether there is an admissible value."""
        return self.verdict not in (Verdict.NOT_MEASURED, Verdict.INADMISSIBLE)
