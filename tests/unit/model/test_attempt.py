"""Attempt records: written and read back exactly; anything else is refused in words."""

from __future__ import annotations

import dataclasses
from typing import Any

import orjson
import pytest
from builders import make_record
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import (
    Artifact,
    AttemptKey,
    AttemptRecord,
    Evidence,
    EvidenceKind,
    Failure,
    Hint,
    Level,
    Logged,
    Status,
    Verdict,
    dump_record,
    label,
    parse_record,
    stays_inside,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | texts
    | st.sampled_from(["$float", "$int", "$map"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(texts | st.sampled_from(["$float", "$int", "$map"]), inner, max_size=2)
    ),
    max_leaves=6,
)
metrics = st.dictionaries(texts, plain, max_size=3)
names = st.dictionaries(texts, texts, max_size=2)
facts = st.dictionaries(texts, st.none() | st.booleans() | st.integers(0, 2**62) | texts | names, max_size=3)
records = st.builds(
    AttemptRecord,
    key=st.builds(
        AttemptKey, texts, texts, st.integers(1, 9999), st.none() | texts, st.none() | st.integers(0, 2**32)
    ),
    run=texts,
    nodeid=texts,
    status=st.sampled_from(Status),
    started_at=texts,
    finished_at=st.none() | texts,
    duration_s=st.none() | st.floats(0, 1e9),
    rng_seed=st.integers(0, 2**32 - 1),
    finding=texts,
    metrics=metrics,
    artifacts=st.lists(
        st.builds(Artifact, texts.filter(stays_inside), texts, st.integers(0, 2**62), texts), max_size=2
    ).map(tuple),
    listed=st.lists(texts, max_size=2).map(tuple),
    evidence=st.lists(st.builds(Evidence, st.sampled_from(EvidenceKind), texts, texts), max_size=2).map(
        tuple
    ),
    logged=st.dictionaries(texts, st.builds(Logged, st.integers(1, 9), plain), max_size=2),
    error=st.none() | st.builds(Failure, texts, texts, texts),
    hints=st.lists(st.builds(Hint, texts, texts, texts, texts, texts), max_size=2).map(tuple),
    reason=texts,
    verdicts=names,
    variants=st.lists(st.none() | texts, max_size=3).map(tuple),
    registered=names,
    options=facts,
    extra=metrics,
    provenance=facts,
)


def changed(path: str, value: object) -> bytes:
    """Return a valid record with one value replaced; dots lead into mappings."""
    document: Any = orjson.loads(dump_record(make_record({"accuracy": 0.8})))
    *parents, last = path.split(".")
    place = document
    for name in parents:
        place = place[name]
    place[last] = value
    return orjson.dumps(document)


@settings(deadline=None)
@given(records)
def test_round_trip(record: AttemptRecord) -> None:
    """Every record is read back equal, special numbers, odd names and all."""
    assert parse_record(dump_record(record)) == record


def test_special_numbers() -> None:
    """NaN, infinities and huge integers survive."""
    record = make_record({"a": float("inf"), "b": 10**5000, "c": float("nan")})
    found = parse_record(dump_record(record)).metrics
    assert (found["a"], found["b"]) == (float("inf"), 10**5000)
    assert found["c"] != found["c"]


def test_a_record_is_stable() -> None:
    """The same record is always the same bytes, one JSON object with a newline at its end."""
    data = dump_record(make_record({"accuracy": 0.8}))
    assert data == dump_record(make_record({"accuracy": 0.8}))
    assert data.startswith(b'{\n  "schema_version": 1,')
    assert data.endswith(b"}\n")


def test_truncated_at_every_byte() -> None:
    """A record that was cut anywhere is refused, and never read as a shorter one."""
    data = dump_record(make_record({"accuracy": 0.8}, error=Failure("ValueError", "no", "…")))
    for length in range(len(data) - 1):
        with pytest.raises(ValueError, match="not valid JSON"):
            parse_record(data[:length])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "not valid JSON"),
        (b"\xff", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b"{}", "schema_version is None; this version reads 1"),
        (b'{"schema_version": 2}', "schema_version is 2; this version reads 1"),
        (b'{"schema_version": 1}', "not an attempt record: it has no 'artifacts'"),
        (changed("status", "splendid"), "not an attempt record"),
        (changed("surprise", 1), "not an attempt record"),
        (changed("key.surprise", 1), "not an attempt record"),
        (changed("key", None), "not an attempt record"),
        (changed("evidence", [{"kind": "guessed", "reason": "", "place": ""}]), "not an attempt record"),
        (changed("artifacts", [{"path": "a"}]), "not an attempt record"),
        (changed("artifacts", None), "not an attempt record"),
        (changed("logged", {"a": {"count": 1}}), "not an attempt record"),
        (changed("error", "text"), "not an attempt record"),
    ],
)
def test_what_is_no_record_is_refused(source: bytes, words: str) -> None:
    """One kind of error for everything that is not a record, with what is wrong."""
    with pytest.raises(ValueError, match=words):
        parse_record(source)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metrics", None),
        ("metrics", [1]),
        ("metrics", "text"),
        ("verdicts", None),
        ("registered", [1]),
        ("provenance", 5),
        ("run", None),
        ("started_at", 5),
        ("finished_at", 5),
        ("duration_s", "long"),
        ("finding", {"a": 1}),
        ("reason", 5),
        ("listed", [5]),
        ("variants", [["a"]]),
        ("key.sequence", "1"),
        ("key.sequence", None),
        ("key.variant", ["a"]),
        ("key.variant", {"a": 1}),
        ("key.seed", "zero"),
        ("key.experiment", 5),
        ("artifacts", [{"path": 5, "sha256": "", "bytes": 0, "type": "file"}]),
        ("logged", {"a": {"count": "x", "last": 1}}),
        ("error", {"type": 5, "message": None, "traceback": ""}),
        ("hints", None),
        ("hints", ["text"]),
        ("hints", [{"rule": "a", "cause": "b"}]),
        ("hints", [{"rule": "a", "cause": 5, "fix": "c", "snippet": "", "link": ""}]),
        ("hints", [{"rule": "a", "cause": "b", "fix": "c", "surprise": ""}]),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(path: str, value: object) -> None:
    """A record whose parts have the wrong shape is refused here, and crashes nothing later."""
    with pytest.raises(ValueError, match="not an attempt record"):
        parse_record(changed(path, value))


@pytest.mark.parametrize("path", ["artifacts/e_x1_1/../../../.bashrc", "/etc/passwd", "..", "", "a\0b"])
def test_an_artifact_that_leads_out_is_refused(path: str) -> None:
    """Whoever wrote the record: what it lists is published under its own name."""
    value = orjson.loads(dump_record(make_record()))
    value["artifacts"] = [{"path": path, "sha256": "", "bytes": 0, "type": "file"}]
    with pytest.raises(ValueError, match="leads outside its folder"):
        parse_record(orjson.dumps(value))


def test_a_record_without_hints() -> None:
    """Records of versions that diagnosed nothing are read as having none."""
    record = make_record({"accuracy": 0.8}, hints=(Hint("a", "b", "c"),))
    document = orjson.loads(dump_record(record))
    del document["hints"]
    assert parse_record(orjson.dumps(document)) == make_record({"accuracy": 0.8})


@pytest.mark.parametrize(
    "source",
    [
        b'{"schema_version": 1, "x": {"$float": []}}',
        b'{"schema_version": 1, "x": {"$float": {}}}',
        b'{"schema_version": 1, "x": {"$int": "zz"}}',
        b'{"schema_version": {"$float": [1]}}',
        b"[" * 900 + b"]" * 900,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"[" * 100_000,
    ],
    ids=["float-list", "float-mapping", "int-text", "version", "deep-list", "deep-mapping", "open"],
)
def test_hostile_input_raises_one_kind_of_error(source: bytes) -> None:
    """Odd markers and deep nesting are refused like everything else."""
    with pytest.raises(ValueError, match=r"."):
        parse_record(source)


@settings(deadline=None)
@given(st.binary(max_size=40) | plain.map(lambda v: orjson.dumps(str(v))) | texts.map(str.encode))
def test_any_bytes(source: bytes) -> None:
    """Bytes of any content are a record or a ValueError."""
    with pytest.raises(ValueError, match=r"."):
        parse_record(source)


# --- words ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("e_p2_1",), "e_p2_1"),
        (("e_p2_1", "lr=0.1"), "e_p2_1[lr=0.1]"),
        (("e_p2_1", None, 2), "e_p2_1 seed 2"),
        (("e_p2_1", "lr=0.1", 0), "e_p2_1[lr=0.1] seed 0"),
    ],
)
def test_label(parts: tuple[Any, ...], expected: str) -> None:
    """A key reads as people say it."""
    assert label(*parts) == expected
    sub, variant, seed = (*parts, None, None)[:3]
    assert AttemptKey("x", sub, 1, variant, seed).label == expected


@pytest.mark.parametrize(
    ("message", "line"),
    [("no data", "E: no data"), ("", "E"), ("  \n ", "E"), ("\nfirst\nsecond", "E: first")],
)
def test_failure_line(message: str, line: str) -> None:
    """The first line of the message says it, after the type of the exception."""
    assert Failure("E", message).line == line


@pytest.mark.parametrize(
    ("level", "met"),
    [
        (Level.TARGET, {Verdict.TARGET}),
        (Level.ACCEPTABLE, {Verdict.TARGET, Verdict.ACCEPTABLE}),
        (Level.FAILURE, {Verdict.TARGET, Verdict.ACCEPTABLE, Verdict.MISSED}),
    ],
)
def test_levels(level: Level, met: set[Verdict]) -> None:
    """No level is met by what was not measured or not admitted."""
    assert {verdict for verdict in Verdict if level.met_by(verdict)} == met


def test_kinds_of_evidence() -> None:
    """Nothing declared is real; each declared kind counts once, in order."""
    assert make_record().kinds == (EvidenceKind.REAL,)
    kinds = [EvidenceKind.FALLBACK, EvidenceKind.REAL, EvidenceKind.FALLBACK]
    record = make_record(evidence=tuple(Evidence(kind, "", "") for kind in kinds))
    assert record.kinds == (EvidenceKind.FALLBACK, EvidenceKind.REAL)


def test_records_are_frozen() -> None:
    """A record is never changed after it was written."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        make_record().status = Status.FAILED  # type: ignore[misc]
