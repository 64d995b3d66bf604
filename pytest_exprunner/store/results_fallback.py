"""What a results file knows of attempts whose records are missing, as in a clone without them.

Files of other tools and damaged ones are read as far as possible; a value of the wrong type is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, ValidationError, WrapValidator

from pytest_exprunner._util.serialization import Plain, plain
from pytest_exprunner.model.attempt import (
    Artifact,
    AttemptKey,
    AttemptSummary,
    Evidence,
    EvidenceKind,
    Failure,
    Hint,
    Integer,
    Logged,
    Number,
    Status,
    Terms,
    parse_samples,
)
from pytest_exprunner.model.results import UNREGISTERED, CurrentAttempt, PastVerdict, Registration
from pytest_exprunner.store.results_file import StoredResults, registered_terms
from pytest_exprunner.verdicts.fold import ASKED_SEEDS, NOTHING, Fallback

_EDITED = "read from a results file that was edited by hand or truncated"
_FOREIGN = "read from a results file of another tool"
_MAX_ATTEMPTS = 10**9
M = TypeVar("M", bound=BaseModel)


def _otherwise(default: object) -> WrapValidator:
    """Return a validator that puts a default in the place of what has the wrong type."""

    def validate(value: object, handler: Any) -> object:
        try:
            return handler(value)
        except ValidationError:
            return default

    return WrapValidator(validate)


def _texts_as_keys(value: object) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


Text = Annotated[str, Strict(), _otherwise("")]
MaybeText = Annotated[str | None, _otherwise(None)]
Seed = Annotated[Integer | None, _otherwise(None)]
Count = Annotated[Annotated[int, Field(strict=True, ge=0, lt=_MAX_ATTEMPTS)] | None, _otherwise(None)]
Float = Annotated[Integer | Number | None, _otherwise(None)]
Flag = Annotated[Annotated[bool, Strict()] | None, _otherwise(None)]
Mapped = Annotated[dict[str, Any], BeforeValidator(_texts_as_keys)]
Listed = Annotated[list[Any], BeforeValidator(_items)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Judged(_Shape):
    """A criterion, or one of its earlier verdicts."""

    verdict: Text = ""
    value: Float = None
    run: Text = ""
    earlier: Listed = []


class _Past(_Shape):
    """An entry of an attempt history."""

    attempt: Count = None
    status: Any = None
    started_at: Text = ""
    run: Text = ""
    variant: MaybeText = None
    seed: Seed = None
    verdicts: Mapped = {}
    values: Mapped = {}
    evidence: Listed = []


class _Current(_Shape):
    """An attempt that counts, or a run that has not finished."""

    attempt: Count = None
    status: Any = None
    variant: MaybeText = None
    seed: Seed = None
    run: Text = ""
    finding: Text = ""
    metrics: Mapped = {}
    artifacts: Listed = []
    missing_artifacts: Listed = []
    evidence: Listed = []
    logged: Mapped = {}
    samples: Mapped = {}
    error: Any = None
    hints: Listed = []
    reason: Text = ""
    started_at: Text = ""
    completed_at: MaybeText = None
    duration_s: Float = None
    seeds_asked: Count = None
    after: Count = None


class _Named(_Shape):
    """Texts of an error, a hint or a declaration."""

    type: Text = ""
    message: Text = ""
    traceback: Text = ""
    rule: Text = ""
    cause: Text = ""
    fix: Text = ""
    snippet: Text = ""
    link: Text = ""
    kind: Any = None
    reason: Text = ""
    place: Text = ""


class _Terms(_Shape):
    replaced_by: MaybeText = None
    together: Flag = None
    added_later: Listed = []


def _read(shape: type[M], value: object) -> M:
    return shape.model_validate(_texts_as_keys(value))


def read_fallback(stored: StoredResults) -> Fallback:
    """Return what a stored file knows of attempts that may be missing on disk.

    Numbers from a file that another tool wrote, or that was changed since this one wrote it, are
    ``imported`` evidence: this tool did not see them measured.
    """
    if not stored.value:
        return NOTHING
    doubt = "" if stored.intact else _EDITED if stored.ours else _FOREIGN
    entries = _texts_as_keys(_texts_as_keys(stored.value.get("results")).get("experiments"))
    provenance = _texts_as_keys(stored.value.get("provenance"))
    experiment = _text(stored.value.get("experiment_id"))
    return Fallback(
        currents={
            sub: tuple(_currents(AttemptKey(experiment, sub, 0), entry, provenance, doubt))
            for sub, entry in entries.items()
        },
        history={
            sub: tuple(
                past for item in _items(items) if (past := _past(AttemptKey(experiment, sub, 0), item))
            )
            for sub, items in _texts_as_keys(stored.value.get("attempts")).items()
        },
        registered=_registered(stored.value),
        earlier=_earlier(stored.value) if stored.intact else {},
    )


def _registered(value: Mapping[str, Any]) -> Registration:
    """Return what was registered; early versions stored the terms among the criteria, by odd names."""
    stored = _texts_as_keys(value.get("registered"))
    texts = {name: digest for name, digest in stored.items() if isinstance(digest, str)}
    if not texts and "registered_terms" not in value:
        return UNREGISTERED
    if "registered_terms" in value:
        terms = _read(_Terms, value["registered_terms"])
        later = tuple(name for name in terms.added_later if isinstance(name, str))
        return Registration(texts, Terms(terms.replaced_by, terms.together), later)
    listed = f", {texts.pop(_ADDED_LATER, '')}, "
    criteria, old = Terms.split(texts)
    return Registration(criteria, old, tuple(name for name in criteria if f", {name}, " in listed))


_ADDED_LATER = "(added later)"


def upgraded(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the content of a results file of an early version in the shape of this one."""
    if "registered" not in value or "registered_terms" in value:
        return value
    registered = _registered(value)
    return {**value, "registered": dict(registered.criteria), **registered_terms(registered)}


def _earlier(value: Mapping[str, Any]) -> dict[str, tuple[PastVerdict, ...]]:
    """Return the earlier verdicts, and the present ones if everything had been run."""
    is_complete = value.get("status") == Status.COMPLETED
    run = _text(value.get("executed_by")).rpartition(" ")[2]
    found = {}
    for name, entry in _texts_as_keys(value.get("criteria")).items():
        now = _read(_Judged, entry)
        known = [_read(_Judged, item) for item in now.earlier]
        known += [now.model_copy(update={"run": run})] if is_complete else []
        found[name] = tuple(PastVerdict(item.verdict, item.value, item.run) for item in known)
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _status(value: object) -> Status:
    try:
        return Status(str(value))
    except ValueError:
        return Status.IN_PROGRESS


def _currents(
    key: AttemptKey, value: object, provenance: Mapping[str, Plain], doubt: str
) -> Iterable[CurrentAttempt]:
    variants = _texts_as_keys(value).get("variants")
    for item in variants if isinstance(variants, list) else [value]:
        yield _current(key, _read(_Current, item), provenance, doubt)


def _current(key: AttemptKey, entry: _Current, provenance: Mapping[str, Plain], doubt: str) -> CurrentAttempt:
    evidence = tuple(_evidence(item) for item in entry.evidence)
    if doubt:
        evidence = (*evidence, Evidence(EvidenceKind.IMPORTED, doubt, ""))
    asked = entry.seeds_asked or 0
    artifacts = [path for path in entry.artifacts if isinstance(path, str)]
    missing = [path for path in entry.missing_artifacts if isinstance(path, str)]
    record = AttemptSummary(
        key=AttemptKey(key.experiment, key.sub_experiment, entry.attempt or 0, entry.variant, entry.seed),
        run=entry.run,
        nodeid="",
        status=_status(entry.status),
        started_at=entry.started_at,
        finished_at=entry.completed_at or None,
        duration_s=entry.duration_s,
        rng_seed=0,
        finding=entry.finding,
        metrics=_values(entry.metrics),
        artifacts=tuple(Artifact(path, "", 0) for path in artifacts),
        listed=(*artifacts, *missing),
        evidence=evidence,
        logged={name: seen for name, item in entry.logged.items() if (seen := _logged(item))},
        samples={name: values for name, text in entry.samples.items() if (values := _samples(text))},
        error=_error(entry.error),
        hints=tuple(hint for item in entry.hints if (hint := _hint(item))),
        reason=entry.reason,
        options={ASKED_SEEDS: asked} if asked else {},
        provenance=provenance,
    )
    return CurrentAttempt(record, asked=asked, after=entry.after or 0)


def _values(value: Mapping[str, Any]) -> dict[str, Plain]:
    return {name: plain(item) for name, item in value.items()}


def _logged(value: object) -> Logged | None:
    entry = _texts_as_keys(value)
    count = entry.get("count")
    return Logged(count, entry.get("last")) if type(count) is int else None


def _samples(value: object) -> tuple[float, ...]:
    try:
        return parse_samples(value) if isinstance(value, str) else ()
    except ValueError:
        return ()


def _error(value: object) -> Failure | None:
    if isinstance(value, str) and value:
        return Failure("error", value)
    if not _texts_as_keys(value):
        return None
    entry = _read(_Named, value)
    return Failure(entry.type or "error", entry.message, entry.traceback)


def _hint(value: object) -> Hint | None:
    """Return a hint, if it names its rule and has a text."""
    entry = _read(_Named, value)
    if not (entry.rule and (entry.cause or entry.fix)):
        return None
    return Hint(entry.rule, entry.cause, entry.fix, entry.snippet, entry.link)


def _evidence(value: object) -> Evidence:
    entry = _read(_Named, value)
    return Evidence(_kind(entry.kind), entry.reason, entry.place)


def _kind(value: object) -> EvidenceKind:
    try:
        return EvidenceKind(str(value))
    except ValueError:
        # An unknown kind is not real: it must not count as if nothing had been declared.
        return EvidenceKind.IMPORTED


def _past(key: AttemptKey, value: object) -> AttemptSummary | None:
    entry = _read(_Past, value)
    if entry.attempt is None:
        return None
    return AttemptSummary(
        key=AttemptKey(key.experiment, key.sub_experiment, entry.attempt, entry.variant, entry.seed),
        run=entry.run,
        nodeid="",
        status=_status(entry.status),
        started_at=entry.started_at,
        finished_at=None,
        duration_s=None,
        rng_seed=0,
        metrics=_values(entry.values),
        evidence=tuple(Evidence(_kind(kind), "", "") for kind in entry.evidence),
        verdicts={name: str(verdict) for name, verdict in entry.verdicts.items()},
    )
