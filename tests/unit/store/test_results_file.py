"""results.yaml: written, read, kept in spite of edits, and enough by itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import (
    SUB,
    TIERS,
    X1,
    digests,
    failed,
    fold_one,
    make_entry,
    make_plan,
    make_record,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_exprunner.model.attempt import (
    Artifact,
    AttemptRecord,
    Evidence,
    EvidenceKind,
    Failure,
    Hint,
    Logged,
    Recommendation,
    Status,
    Verdict,
)
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store import results_fallback, results_file
from pytest_exprunner.store.results_file import StoredResults
from pytest_exprunner.verdicts.fold import NOTHING, Fallback

PROVENANCE: dict[str, Any] = {"commit": "abc", "dirty": False, "packages": {"numpy": "2.0"}}

# What YAML readers of one version or the other take for something else than text.
TRICKY = [
    "", " ", "~", "null", "no", "No", "yes", "on", "off", "y", "n", "true", "FALSE", "1e-3", "1e3", "1_000",
    "010", "0o7", "0o_", "+_", "+_59", "0x1F", "-0x1F", "0b11", "+1", "-1", "1.", ".5", "-.5", "+.inf", "-.INF", ".nan", ".NaN",
    "12:30", "190:20:30", "190:20:30.15", "2026-01-22", "2026-01-20T16:31:40Z", "2026-1-2 3:04:05", "=", "<<",
    "- a", "-", "?", ": ", "a: b", "a #b", "#", "&a", "*a", "!a", "!!str a", "%a", "@a", "`a`", "|", ">",
    "[a]", "{a}", "'", '"', "''", '""', "\\", "\\n", "a\nb", "a\n\nb\n", "\n", "\na", "a\r\nb", "\ta",
    " a", "a ", "a\t", "---", "--- a", "...", "\ufeff", "é", "e\u0301", "🧪", "\x00", "\x07", "\x1b[31m",
    "\x7f", "\x85", "\xa0", "\u2028", "\u2029", "\u202e", "\ufffe", "\uffff", "x" * 500, "word " * 60,
    "<script>", "${{ x }}", "{{ x }}", "<!-- exprunner:end -->", "# Written by pytest-exprunner",
]  # fmt: skip
texts = st.one_of(
    st.sampled_from(TRICKY),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text("-+0123456789.:eExXoOb_ T", max_size=10),
    st.text("#:-?{}[],&*!|>'\"%@` \n\tab", max_size=8),
)
long_texts = st.lists(st.one_of(texts, st.just("several words")), min_size=8, max_size=40).map(" ".join)
lines = st.lists(texts, min_size=2, max_size=6).map("\n".join)
plain_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(20, 2000).map(lambda digits: 10**digits),
        st.integers(20, 2000).map(lambda digits: -(10**digits)),
        st.floats(),
        texts,
        long_texts,
        lines,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def same(one: object, other: object) -> bool:
    """Return whether two plain values are equal in value and type, NaN being equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def completed(metrics: Mapping[str, Any] | None = None, **more: Any) -> AttemptRecord:
    """Return a completed attempt with everything that a record can hold."""
    given: dict[str, Any] = {
        "finding": "Spatial IoU 0.81 …\n\nIt holds.",
        "artifacts": (Artifact("artifacts/e_x1_1/iou.png", "0" * 64, 9, "image"),),
        "listed": ("artifacts/e_x1_1/iou.png", "gone.png"),
        "provenance": PROVENANCE,
        "registered": digests(make_plan().experiments[X1]),
        "verdicts": {"accuracy": "target"},
        **more,
    }
    return make_record({"accuracy": 0.8} if metrics is None else metrics, **given)


def text_of(*records: AttemptRecord, plan: Plan | None = None, previous: Fallback = NOTHING) -> bytes:
    """Return results.yaml for some records."""
    return results_file.dump(results_file.document(fold_one(records, plan=plan, previous=previous)))


def load(folder: Path, data: bytes) -> StoredResults:
    """Read bytes as a results file."""
    file = folder / "results.yaml"
    file.write_bytes(data)
    return results_file.load(file)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that many examples share; each writes its own file first."""
    return tmp_path_factory.mktemp("results")


# --- the document -----------------------------------------------------------------------------


def test_the_document() -> None:
    """The keys that tools of this kind read are there, and ours beside them."""
    document = results_file.document(fold_one([completed()]))
    assert list(document) == [
        "experiment_id", "claim", "status", "executed_by", "started_at", "completed_at",
        "success_criteria", "results", "assessment", "recommendation", "recommendation_notes",
        "blockers", "issues", "detailed_analysis", "schema_version", "criteria", "attempts",
        "registered", "registered_terms", "provenance",
    ]  # fmt: skip
    assert document["status"] == "completed"
    assert document["executed_by"] == "pytest-exprunner run-1"
    assert document["success_criteria"] == {"accuracy_threshold": 0.6}
    assert document["assessment"] == {
        "success_criteria_met": True,
        "accuracy_achieved": 0.8,
        "confidence": "low",
        "confidence_notes": "Measured 1 of 1 gating criterion; "
        "one run each (n = 1), so the spread over seeds is unknown; see the notes.",
    }
    entry = document["results"]["experiments"][SUB]
    assert entry["metrics"] == {"accuracy": 0.8}
    assert entry["artifacts"] == ["artifacts/e_x1_1/iou.png"]
    assert entry["missing_artifacts"] == ["gone.png"]
    assert document["criteria"]["accuracy"] == {
        "verdict": "target", "borderline": False, "value": 0.8, "target": 0.7, "acceptable": 0.6,
        "failure": 0.5, "direction": "higher", "severity": "gate", "n": 1, "interval": None,
        "evidence": ["real"], "decided_by": SUB, "attempt": 1,
    }  # fmt: skip
    assert document["attempts"][SUB] == [
        {
            "attempt": 1,
            "status": "completed",
            "started_at": "2026-01-20T16:31:01.000000Z",
            "run": "run-1",
            "values": {"accuracy": 0.8},
            "verdicts": {"accuracy": "target"},
        }
    ]
    assert document["provenance"] == PROVENANCE


def test_nothing_measured_is_not_met() -> None:
    """Without gating criteria, or without numbers, no tool may read success in it."""
    plan = make_plan({X1: make_entry({})})
    document = results_file.document(fold_one([make_record()], plan=plan))
    assert document["assessment"]["success_criteria_met"] is False
    assert results_file.document(fold_one())["assessment"] is None


def test_two_variants_keep_their_metrics_apart() -> None:
    """The short list of metrics names the variant, and each variant has an entry of its own."""
    both = ("a", "b")
    state = fold_one(
        [
            make_record({"accuracy": 0.8}, variant="a", variants=both),
            make_record({"accuracy": 0.9}, variant="b", variants=both, sequence=2),
        ]
    )
    entry = results_file.document(state)["results"]["experiments"][SUB]
    assert entry["metrics"] == {"accuracy[a]": 0.8, "accuracy[b]": 0.9}
    assert [v["variant"] for v in entry["variants"]] == ["a", "b"]


# --- text -------------------------------------------------------------------------------------


def test_the_file_begins_with_a_comment() -> None:
    """A person who opens the file is told first what it is, and that a stub never counts."""
    data = results_file.dump(results_file.document(fold_one())).decode()
    assert data.startswith("# Written by pytest-exprunner from the attempt records; keys that you add")
    stub = results_file.dump(results_file.document(fold_one()), stub=True).decode()
    assert stub.splitlines()[1] == (
        "# STUB RUN: no handler was called and nothing was measured. This can never count as a result."
    )


def test_a_file_of_ours_is_not_edited(folder: Path) -> None:
    """What was written is read back as it was, and nothing in it looks edited."""
    for stub in (False, True):
        document = results_file.document(fold_one([completed(), failed(2)]))
        stored = load(folder, results_file.dump(document, stub=stub))
        assert same(dict(stored.value), document)
        assert (stored.exists, stored.edited, stored.problem, stored.added) == (True, False, "", {})
        assert stored.ours


@pytest.mark.parametrize("text", TRICKY)
def test_tricky_texts_stay_texts(folder: Path, text: str) -> None:
    """Text that looks like something else stays text, for readers of YAML 1.1 and of 1.2."""
    document = {"experiment_id": text, "results": {text: [text], "other": {text: text}}}
    data = results_file.dump(document)
    assert load(folder, data).value == document
    assert yaml.safe_load(data) == document


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(texts, plain_values, max_size=4))
def test_every_plain_value_comes_back(folder: Path, value: dict[str, Any]) -> None:
    """Whatever a handler returned: the file is read back equal in value and type, and not edited."""
    value.pop("schema_version", None)
    stored = load(folder, results_file.dump(value))
    assert stored.problem == ""
    assert same(dict(stored.value), value)
    assert not stored.edited


@settings(deadline=None)
@given(texts, texts)
def test_both_versions_of_yaml_agree_on_texts(key: str, text: str) -> None:
    """PyYAML, a reader of YAML 1.1, reads the same texts."""
    assert yaml.safe_load(results_file.dump({key: [text, {key: text}]})) == {key: [text, {key: text}]}


@pytest.mark.parametrize(
    "number", [0, -1, 0.1, 1e16, 1e-7, -1.5e300, 5e-324, 123456789.123, 2**64, -(2**64), -0.0]
)
def test_both_versions_of_yaml_agree_on_numbers(number: float) -> None:
    """Numbers are numbers for readers of YAML 1.1 too, of the same type."""
    found = yaml.safe_load(results_file.dump({"x": number}))["x"]
    assert (type(found), repr(found)) == (type(number), repr(number))


def test_special_numbers_in_yaml(folder: Path) -> None:
    """NaN and infinities have their YAML form."""
    found = load(folder, results_file.dump({"a": [math.nan, math.inf, -math.inf]})).value["a"]
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf]


# --- what people add and change ---------------------------------------------------------------


def test_an_added_key_is_kept(folder: Path) -> None:
    """A key at the end, in plain style, is kept and needs no copy; what is fresh replaces ours."""
    data = text_of(completed()) + b"reviewed_by: A. Person\nnotes:\n  a:\n  - 1\n  - 2\n"
    stored = load(folder, data)
    assert stored.added == {"reviewed_by": "A. Person", "notes": {"a": [1, 2]}}
    assert not stored.edited


def test_added_keys_survive_being_written_again(folder: Path) -> None:
    """Writing the same state again with an added key gives a file that is not edited either."""
    stored = load(folder, text_of(completed()) + b"reviewed_by: A. Person\n")
    again = load(
        folder, results_file.dump({**results_file.document(fold_one([completed()])), **stored.added})
    )
    assert again.added == {"reviewed_by": "A. Person"}
    assert not again.edited


def test_the_analysis_is_for_people(folder: Path) -> None:
    """``detailed_analysis`` is ours to name and theirs to fill."""
    filled = text_of(completed()).replace(b"detailed_analysis: null", b"detailed_analysis: It holds.")
    stored = load(folder, filled)
    assert stored.added == {"detailed_analysis": "It holds."}
    assert not stored.edited


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"status: completed", b"status: pivoted"),
        (b"accuracy: 0.8", b"accuracy: 0.99"),
        (b"recommendation: proceed", b"recommendation: pivot"),
        (b"issues:", b"# mine\nissues:"),
        (b"status: completed", b'status: "completed"'),
        (b"schema_version: 1\n", b""),
        (b"blockers: []\n", b"blockers: []\nreviewed_by: A. Person # me\n"),
        (b"# Written by pytest-exprunner", b"# Written by me"),
        (b"blockers: []", b"blockers:\n- data"),
    ],
)
def test_an_edit_is_noticed(folder: Path, old: bytes, new: bytes) -> None:
    """A value of ours that changed, a comment, another style: something would be lost."""
    data = text_of(completed())
    assert old in data
    stored = load(folder, data.replace(old, new, 1))
    assert stored.edited
    assert stored.problem == ""


def test_a_hand_edited_number_never_counts(folder: Path) -> None:
    """A metric that a person changed in the file is no measurement, even where attempts are missing."""
    missed = text_of(completed({"accuracy": 0.4}))
    assert b"accuracy: 0.4" in missed
    stored = load(folder, missed.replace(b"accuracy: 0.4", b"accuracy: 0.9"))
    state = fold_one(previous=results_fallback.read_fallback(stored))
    assert state.assessment.recommendation is not Recommendation.PROCEED


# --- broken files -----------------------------------------------------------------------------


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is nothing, and no problem."""
    assert results_file.load(tmp_path / "results.yaml") == StoredResults()


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    """What cannot be read is said, not raised."""
    (tmp_path / "results.yaml").mkdir()
    assert results_file.load(tmp_path / "results.yaml").problem == "cannot be read: Is a directory"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "it is not a mapping"),
        (b"[1, 2]\n", "it is not a mapping"),
        (b"text\n", "it is not a mapping"),
        (b"a: 1\na: 2\n", "line 2: duplicate key 'a', first on line 1; expected each key once"),
        (b"schema_version: 2\n", "schema_version is 2; this version reads 1"),
        (b"schema_version: '1'\n", "schema_version is '1'; this version reads 1"),
        (b"a: \xff\n", "line 1: this is not UTF-8 text; expected a file saved as UTF-8"),
        (b"a: [1\n", "line 2: not valid YAML: "),
        (b"a: 1\n---\nb: 2\n", "line 2: a second document starts here; expected one"),
        (b"\x00\x01\x02", "line 1: character #x0000 is not allowed in YAML"),
        (b"a: !!python/object:os.system x\n", "line 1: tag "),
        (b"a: &a [*a]\n", "line 1: alias *a refers to itself"),
    ],
)
def test_a_broken_file_is_said(folder: Path, data: bytes, problem: str) -> None:
    """Nothing of a broken file is used, and the problem is said with its line."""
    stored = load(folder, data)
    assert stored.problem.startswith(problem)
    assert (stored.exists, stored.edited, stored.value) == (True, True, {})
    assert results_fallback.read_fallback(stored) == NOTHING


def test_merge_markers(folder: Path) -> None:
    """A file with both sides of a merge in it is broken: neither side counts."""
    data = text_of(completed())
    marked = b"<<<<<<< ours\n" + data + b"=======\n" + data + b">>>>>>> theirs\n"
    assert load(folder, marked).problem
    inside = data.replace(b"status: completed\n", b"<<<<<<< ours\nstatus: completed\n=======\n", 1)
    assert load(folder, inside).problem


def test_truncated_at_every_byte(folder: Path) -> None:
    """However short it was cut, reading never raises, and a cut file is always seen to be one."""
    data = text_of(make_record({"accuracy": 0.8}), plan=make_plan({X1: make_entry({"accuracy": TIERS})}))
    for length in range(len(data)):
        stored = load(folder, data[:length])
        assert stored.edited or data[length:] == b"\n"
        state = fold_one(previous=results_fallback.read_fallback(stored))
        assert state.criteria["accuracy"].value in (None, 0.8, 0.0, 0)


def test_deep_and_large_files(folder: Path) -> None:
    """Nesting and alias bombs end in a problem, not in a crash."""
    assert load(folder, b"a: " + b"[" * 10_000).problem
    bomb = b"a: &a [x, x]\n" + b"".join(
        b"k%d: &k%d [*%s, *%s]\n" % (n, n, prior, prior)
        for n, prior in enumerate([b"a", *(b"k%d" % n for n in range(40))])
    )
    assert load(folder, bomb).problem


# --- what stands in for missing attempts ------------------------------------------------------


def test_a_file_of_another_tool_is_imported_evidence(folder: Path) -> None:
    """Numbers that this tool did not see measured never count as real."""
    data = b"""\
experiment_id: x1-first
status: completed
results:
  experiments:
    e_x1_1:
      status: completed
      finding: It works
      metrics: {accuracy: 0.99}
      artifacts: [plots/a.png]
recommendation: proceed
"""
    stored = load(folder, data)
    assert not stored.ours
    assert stored.edited
    state = fold_one(previous=results_fallback.read_fallback(stored))
    found = state.criteria["accuracy"]
    assert (found.verdict, found.value) == (Verdict.INADMISSIBLE, 0.99)
    assert str(found.reason) == (
        "e_x1_1 declared its numbers as imported (read from a results file of another tool); "
        "the plan admits only real"
    )
    assert state.subs[SUB].currents[0].record.finding == "It works"


def test_a_plan_may_admit_imported_numbers(folder: Path) -> None:
    """Where the plan admits imported evidence, the numbers of another tool decide."""
    data = b"results: {experiments: {e_x1_1: {status: completed, metrics: {accuracy: 0.99}}}}\n"
    plan = make_plan({X1: make_entry({"accuracy": {**TIERS, "evidence": ["real", "imported"]}})})
    state = fold_one(plan=plan, previous=results_fallback.read_fallback(load(folder, data)))
    assert state.criteria["accuracy"].verdict is Verdict.TARGET


@pytest.mark.parametrize(
    "entry",
    [
        "5", "[]", "null", "text", "{}", "{metrics: 5}", "{metrics: [1]}", "{status: [a]}", "{status: 5}",
        "{status: completed, metrics: {accuracy: [1]}}", "{variants: 5}", "{variants: [5, {variant: 3}]}",
        "{attempt: x, seed: true, variant: 5}", "{error: 5}", "{error: {type: 5}}", "{error: text}",
        "{evidence: 5}", "{evidence: [5, {kind: nonsense}]}", "{logged: 5}", "{logged: {a: {count: x}}}",
        "{artifacts: 5}", "{artifacts: [5, a]}", "{started_at: 5, duration_s: x}", "{reason: [a]}",
        "{status: completed, evidence: [text]}", "{missing_artifacts: {a: 1}}", "{variants: []}",
        "{hints: 5}", "{hints: [5, {rule: 5}, {rule: a}, {rule: a, cause: [b]}, {rule: a, fix: b, link: 5}]}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["", "schema_version: 1\n"])
def test_odd_entries_never_raise(folder: Path, entry: str, version: str) -> None:
    """A file of any content is read as far as it makes sense, folded, and written again."""
    data = f"{version}results: {{experiments: {{e_x1_1: {entry}}}}}\nattempts: {{e_x1_1: [{entry}]}}\n"
    stored = load(folder, data.encode())
    assert stored.problem == ""
    state = fold_one(previous=results_fallback.read_fallback(stored))
    results_file.dump(results_file.document(state))
    assert state.assessment.recommendation is Recommendation.INVESTIGATE


def test_an_unknown_kind_of_evidence_is_not_real(folder: Path) -> None:
    """A kind that this version does not know must not count as if nothing had been declared."""
    data = text_of(completed(evidence=(Evidence(EvidenceKind.SIMULATED, "sim", "a.py:1"),)))
    stored = load(folder, data.replace(b"kind: simulated", b"kind: guessed"))
    assert not fold_one(previous=results_fallback.read_fallback(stored)).criteria["accuracy"].met


RICH = [
    [completed()],
    [failed(message="no data\nsecond line"), completed(sequence=2)],
    [completed(), failed(2, message="")],
    [completed({"accuracy": math.nan, "other": "text", "deep": {"a": [1, None, True]}})],
    [completed({"accuracy": 10**400, "low": -(10**400)})],
    [completed({"loss": 0.1}, logged={"accuracy": Logged(100, 0.81), "loss": Logged(3, 0.1)})],
    [completed(evidence=(Evidence(EvidenceKind.FALLBACK, "cache: no", "a.py:1"),))],
    [make_record(status=Status.SKIPPED, reason="no GPU")],
    [make_record(status=Status.IN_PROGRESS, started_at="", finished_at=None, duration_s=None)],
    [make_record(status=Status.FAILED, error=Failure("KeyError", "'no'\n", "Traceback:\n  x"))],
    [
        failed(
            hints=(Hint("a", "It broke.", "Mend it.", "if x:\n\n    y = 1", "a.md#a"), Hint("b", "No.", ""))
        )
    ],
    [
        completed(verdicts={"accuracy": "failure"}, registered={"accuracy": "0" * 16, "gone": "1" * 16}),
        completed(sequence=2),
    ],
    [
        completed(variant="lr=0.1", variants=("lr=0.1", "no", "1e-3")),
        completed(variant="no", variants=("lr=0.1", "no", "1e-3"), sequence=2),
    ],
    [completed(variant="only")],
]


@pytest.mark.parametrize("records", RICH, ids=range(len(RICH)))
def test_the_file_alone_rebuilds_itself(folder: Path, records: list[AttemptRecord]) -> None:
    """Where attempts are missing, the file gives the identical file again: nothing is lost."""
    data = text_of(*records)
    previous = results_fallback.read_fallback(load(folder, data))
    assert text_of(previous=previous).decode() == data.decode()


def test_a_sub_experiment_that_left_the_plan_is_kept(folder: Path) -> None:
    """Where attempts are missing, a sub-experiment taken from the plan keeps its history in the file."""
    two = make_plan({X1: make_entry(subs=("e_x1_1", "e_x1_2"))})
    data = text_of(completed(), completed(sub="e_x1_2"), plan=two)
    previous = results_fallback.read_fallback(load(folder, data))
    again = results_file.document(fold_one(previous=previous))
    assert "e_x1_2" in again["attempts"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.dictionaries(texts, plain_values, max_size=3), texts, plain_values)
def test_any_metrics_rebuild_themselves(
    folder: Path, metrics: dict[str, Any], finding: str, value: Any
) -> None:
    """Whatever was returned under whatever name, the file alone gives the identical file."""
    data = text_of(completed({**metrics, "accuracy": value}, finding=finding))
    previous = results_fallback.read_fallback(load(folder, data))
    assert text_of(previous=previous).decode() == data.decode()
