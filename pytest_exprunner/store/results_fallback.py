"""What a results file says of attempts whose records are missing, as in a clone without them.

Files of other tools and broken ones are read as far as they go, never believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_exprunner._util.serialization import Plain, plain
from pytest_exprunner.model.attempt import (
    Artifact,
    Evidence,
    EvidenceKind,
    Failure,
    Hint,
    Logged,
    Status,
    parse_samples,
)
from pytest_exprunner.model.results import Current, Earlier, Past
from pytest_exprunner.store.results_file import Stored
from pytest_exprunner.verdicts.fold import NOTHING, Previous

_MOST_ATTEMPTS = 10**9
_EDITED = "read from a results file that was edited by hand or cut"
_FOREIGN = "read from a results file of another tool"


def previous(stored: Stored) -> Previous:
    """Return what a stored file says about attempts that may be missing on disk.

    Numbers from a file that another tool wrote, or that was changed since this one wrote it, are
    ``imported`` evidence: this tool did not see them measured.
    """
    if not stored.value:
        return NOTHING
    doubt = "" if stored.intact else _EDITED if stored.ours else _FOREIGN
    entries = _mapping(_mapping(stored.value.get("results")).get("experiments"))
    provenance = _mapping(stored.value.get("provenance"))
    return Previous(
        currents={
            sub: tuple(_read_currents(sub, _mapping(entry), provenance, doubt=doubt))
            for sub, entry in entries.items()
        },
        history={
            sub: tuple(past for item in _list(items) if (past := _read_past(_mapping(item))))
            for sub, items in _mapping(stored.value.get("attempts")).items()
        },
        registered={k: v for k, v in _mapping(stored.value.get("registered")).items() if isinstance(v, str)},
        earlier=_read_earlier(stored.value) if stored.intact else {},
    )


def _read_earlier(value: Mapping[str, Any]) -> dict[str, tuple[Earlier, ...]]:
    """Return what criteria said before, and what they say now if that was said of everything."""
    whole = value.get("status") == Status.COMPLETED
    run = _text(value.get("executed_by")).rpartition(" ")[2]
    found = {}
    for name, item in _mapping(value.get("criteria")).items():
        entry = _mapping(item)
        known = [_mapping(each) for each in _list(entry.get("earlier"))]
        known += [{**entry, "run": run}] if whole else []
        found[name] = tuple(
            Earlier(_text(e.get("verdict")), _number(e.get("value")), _text(e.get("run"))) for e in known
        )
    return found


def _mapping(value: object) -> dict[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> Any:
    return value if type(value) in (int, float) else None


def _status(value: object) -> Status:
    try:
        return Status(str(value))
    except ValueError:
        return Status.IN_PROGRESS


def _read_currents(
    sub: str, entry: Mapping[str, Any], provenance: Mapping[str, Plain], *, doubt: str
) -> Iterable[Current]:
    variants = entry.get("variants")
    for item in [entry] if not isinstance(variants, list) else map(_mapping, variants):
        yield _read_current(sub, item, provenance, doubt=doubt)


def _read_current(
    sub: str, entry: Mapping[str, Any], provenance: Mapping[str, Plain], *, doubt: str
) -> Current:
    evidence = tuple(e for item in _list(entry.get("evidence")) if (e := _read_evidence(item)))
    if doubt:
        evidence = (*evidence, Evidence(EvidenceKind.IMPORTED, doubt, ""))
    error = entry.get("error")
    return Current(
        sub_experiment=sub,
        status=_status(entry.get("status")),
        variant=entry.get("variant") if isinstance(entry.get("variant"), str) else None,
        seed=entry.get("seed") if type(entry.get("seed")) is int else None,
        attempt=_count(entry.get("attempt")),
        run=_text(entry.get("run")),
        finding=_text(entry.get("finding")),
        metrics=plain(_mapping(entry.get("metrics"))),  # type: ignore[arg-type]
        artifacts=tuple(Artifact(a, "", 0) for a in _list(entry.get("artifacts")) if isinstance(a, str)),
        missing=tuple(a for a in _list(entry.get("missing_artifacts")) if isinstance(a, str)),
        evidence=evidence,
        logged={
            name: Logged(seen["count"], seen.get("last"))
            for name, item in _mapping(entry.get("logged")).items()
            if type((seen := _mapping(item)).get("count")) is int
        },
        samples={
            name: values
            for name, text in _mapping(entry.get("samples")).items()
            if (values := _read_samples(text))
        },
        error=_read_error(error),
        hints=tuple(h for item in _list(entry.get("hints")) if (h := _read_hint(_mapping(item)))),
        reason=_text(entry.get("reason")),
        started_at=_text(entry.get("started_at")) or None,
        finished_at=_text(entry.get("completed_at")) or None,
        duration_s=_number(entry.get("duration_s")),
        provenance=provenance,
        asked=_count(entry.get("seeds_asked")) or 0,
        after=_count(entry.get("after")) or 0,
    )


def _read_samples(value: object) -> tuple[float, ...]:
    try:
        return parse_samples(value) if isinstance(value, str) else ()
    except ValueError:
        return ()


def _count(value: object) -> int | None:
    """A number of attempts as this tool writes it; anything else is None."""
    return value if type(value) is int and 0 <= value < _MOST_ATTEMPTS else None


def _read_error(value: object) -> Failure | None:
    if isinstance(value, str) and value:
        return Failure("error", value)
    entry = _mapping(value)
    if not entry:
        return None
    return Failure(
        _text(entry.get("type")) or "error",
        _text(entry.get("message")),
        _text(entry.get("traceback")),
    )


def _read_hint(entry: Mapping[str, Any]) -> Hint | None:
    """Return a hint; what does not say at least of which rule it is, and what it says, is none."""
    rule, cause, fix, snippet, link = (
        _text(entry.get(name)) for name in ("rule", "cause", "fix", "snippet", "link")
    )
    return Hint(rule, cause, fix, snippet, link) if rule and (cause or fix) else None


def _read_evidence(value: object) -> Evidence | None:
    entry = _mapping(value)
    try:
        kind = EvidenceKind(str(entry.get("kind")))
    except ValueError:
        # An unknown kind is not real: it must not count as if nothing had been declared.
        kind = EvidenceKind.IMPORTED
    return Evidence(kind, _text(entry.get("reason")), _text(entry.get("place")))


def _read_past(entry: Mapping[str, Any]) -> Past | None:
    attempt = _count(entry.get("attempt"))
    if attempt is None:
        return None
    return Past(
        attempt=attempt,
        status=_status(entry.get("status")),
        started_at=_text(entry.get("started_at")) or None,
        run=_text(entry.get("run")),
        variant=entry.get("variant") if isinstance(entry.get("variant"), str) else None,
        seed=entry.get("seed") if type(entry.get("seed")) is int else None,
        verdicts={k: str(v) for k, v in _mapping(entry.get("verdicts")).items()},
        values=plain(_mapping(entry.get("values"))),  # type: ignore[arg-type]
        evidence=tuple(str(kind) for kind in _list(entry.get("evidence"))),
    )
