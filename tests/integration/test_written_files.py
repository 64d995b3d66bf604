"""What a run leaves on disk: results, findings, artifacts and attempts, and what never gets lost."""

from __future__ import annotations

import hashlib
import re
import shutil
import xml.etree.ElementTree as ET

import pytest
import yaml
from study_folder import ANEW, PLAN, Study

MET = "def e_x1_1(runner): return {'finding': 'Good.', 'metrics': {'accuracy': 0.95}}\n"
MISSED = MET.replace("0.95", "0.55")
SAVING = """\
def e_x1_1(runner):
    path = runner.results.save_artifact({name!r}, {content!r})
    return {{"finding": "Good.", "metrics": {{"accuracy": 0.95}}, "artifacts": [path]}}
"""
TWO = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2]
    success_criteria:
      accuracy: {target: 0.9}
      loss: {target: 0.1, failure: 1}
"""
TWO_HANDLERS = MET + "def e_x1_2(runner): return {'metrics': {'loss': 0.05}}\n"
FOLDER = "research/experiments/x1-first"


def test_the_files_of_a_run(study: Study) -> None:
    """A run writes results, findings, published artifacts and one folder per attempt, and no more."""
    study.plan()
    study.handlers(SAVING.format(name="plots/iou.png", content=b"png"))
    before = study.files()
    run = study.pytest()
    assert run.code == 0, run.text
    code = hashlib.sha256((study.root / "experiments" / "handlers.py").read_bytes()).hexdigest()
    assert study.files() - before == {
        f"research/.exprunner/sources/{code[:16]}.py",
        "research/.exprunner/.gitignore",
        "research/.exprunner/lock",
        "research/FINDINGS.md",
        "research/experiments/.gitignore",
        f"{FOLDER}/FINDINGS.md",
        f"{FOLDER}/results.yaml",
        f"{FOLDER}/artifacts/e_x1_1/plots/iou.png",
        f"{FOLDER}/attempts/e_x1_1/0001/artifacts/plots/iou.png",
        f"{FOLDER}/attempts/e_x1_1/0001/events.jsonl",
        f"{FOLDER}/attempts/e_x1_1/0001/record.json",
    }
    assert (study.root / FOLDER / "artifacts/e_x1_1/plots/iou.png").read_bytes() == b"png"


def test_results_have_the_promised_keys(study: Study) -> None:
    """results.yaml has the keys that other tools read, and what was decided and why."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    results = study.results()
    assert list(results) == [
        "experiment_id", "claim", "status", "executed_by", "started_at", "completed_at",
        "success_criteria", "results", "assessment", "recommendation", "recommendation_notes",
        "blockers", "issues", "detailed_analysis", "schema_version", "criteria", "attempts",
        "registered", "registered_terms", "provenance",
    ]  # fmt: skip
    assert results["success_criteria"] == {"accuracy_threshold": 0.8}
    assert results["assessment"] == {
        "success_criteria_met": True,
        "accuracy_achieved": 0.95,
        "confidence": "medium",
        "confidence_notes": "Measured 1 of 1 gating criterion; one run each (n = 1), so the spread over "
        "seeds is unknown.",
    }
    entry = results["results"]["experiments"]["e_x1_1"]
    assert {k: entry[k] for k in ("status", "finding", "metrics", "artifacts", "attempt")} == {
        "status": "completed",
        "finding": "Good.",
        "metrics": {"accuracy": 0.95},
        "artifacts": [],
        "attempt": 1,
    }


def test_everything_can_be_rebuilt(study: Study) -> None:
    """Results, findings and artifacts that were deleted come back byte for byte."""
    study.plan(TWO + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(SAVING.format(name="a.txt", content="a") + TWO_HANDLERS.removeprefix(MET))
    assert study.pytest().code == 0
    study.pytest("experiments/", "-k", "e_x1_1")
    generated = ["research/FINDINGS.md", f"{FOLDER}/results.yaml", f"{FOLDER}/FINDINGS.md"]
    generated.append(f"{FOLDER}/artifacts/e_x1_1/a.txt")
    before = {name: (study.root / name).read_bytes() for name in generated}
    for name in generated:
        (study.root / name).unlink()
    run = study.exprunner("report", env=ANEW)
    assert (run.code, run.out) == (
        0,
        "wrote results and findings of 1 experiment, and research/FINDINGS.md\n",
    )
    assert {name: (study.root / name).read_bytes() for name in generated} == before


def test_a_report_of_what_is_current_changes_nothing(study: Study) -> None:
    """Reporting twice leaves every file as it was, and says nothing odd."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    before = {name: (study.root / name).read_bytes() for name in study.files()}
    run = study.exprunner("report")
    assert run.code == 0, run.text
    assert {name: (study.root / name).read_bytes() for name in study.files()} == before


# --- people's words -----------------------------------------------------------------------------


def test_peoples_keys_survive(study: Study) -> None:
    """Keys that a person added, and an analysis that was filled in, are kept by later runs."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    file = study.root / FOLDER / "results.yaml"
    text = file.read_text(encoding="utf-8")
    text = text.replace("detailed_analysis: null", "detailed_analysis: |\n  Two lines\n  of thought.")
    file.write_text(text + "reviewed_by: Ana\ntags: [one, two]\n", encoding="utf-8")
    study.handlers(MISSED)
    study.pytest()
    results = study.results()
    assert results["reviewed_by"] == "Ana"
    assert results["tags"] == ["one", "two"]
    assert results["detailed_analysis"] == "Two lines\nof thought.\n"
    assert results["criteria"]["accuracy"]["value"] == 0.55


def test_prose_in_findings_survives(study: Study) -> None:
    """What stands outside the generated part of FINDINGS.md is never touched."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    for file in (study.root / FOLDER / "FINDINGS.md", study.research / "FINDINGS.md"):
        text = file.read_text(encoding="utf-8")
        file.write_text(f"# Mine\n\nBefore.\n\n{text}\nAfter — ünïcödé.\n", encoding="utf-8")
    study.handlers(MISSED)
    run = study.pytest()
    for file in (study.root / FOLDER / "FINDINGS.md", study.research / "FINDINGS.md"):
        text = file.read_text(encoding="utf-8")
        assert text.startswith("# Mine\n\nBefore.\n\n")
        assert text.endswith("\nAfter — ünïcödé.\n")
        assert "0.550" in text
    assert "kept as" not in run.out


def test_an_edited_key_of_ours_is_set_aside(study: Study) -> None:
    """A verdict that a person wrote into results.yaml is kept in a copy, told, and never counts."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(MISSED)
    study.pytest()
    file = study.root / FOLDER / "results.yaml"
    forged = file.read_text(encoding="utf-8").replace("recommendation: pivot", "recommendation: proceed")
    forged = forged.replace("accuracy: 0.55", "accuracy: 0.99")
    file.write_text(forged, encoding="utf-8")
    assert study.exprunner("gates").code == 1
    run = study.exprunner("report")
    assert run.code == 0, run.text
    kept = [f for f in study.files() if "edited" in f]
    assert len(kept) == 1
    assert (study.root / kept[0]).read_text(encoding="utf-8") == forged
    name = kept[0].rsplit("/", 1)[1]
    assert (
        f"{FOLDER}/results.yaml had been edited by hand or written by another tool; it was kept as "
        f"{name} and rewritten." in run.out
    )
    assert study.results()["recommendation"] == "pivot"


def test_an_edited_generated_part_is_set_aside(study: Study) -> None:
    """A change between the markers of FINDINGS.md is kept in a copy and told."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    file = study.root / FOLDER / "FINDINGS.md"
    edited = file.read_text(encoding="utf-8").replace("# x1-first", "# x1-first, a triumph")
    file.write_text(edited, encoding="utf-8")
    run = study.pytest()
    kept = [f for f in study.files() if "edited" in f]
    assert len(kept) == 1
    assert (study.root / kept[0]).read_text(encoding="utf-8") == edited
    name = kept[0].rsplit("/", 1)[1]
    assert (
        f"{FOLDER}/FINDINGS.md had been edited between its markers; it was kept as {name} and the "
        "generated part was rewritten." in run.out
    )


def test_damaged_markers(study: Study) -> None:
    """FINDINGS.md without its closing marker is left as it is, and told."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    file = study.root / FOLDER / "FINDINGS.md"
    damaged = file.read_text(encoding="utf-8").replace("<!-- exprunner:end -->\n", "")
    file.write_text(damaged, encoding="utf-8")
    run = study.pytest()
    assert run.code == 0, run.text
    assert file.read_text(encoding="utf-8") == damaged
    assert (
        f"{FOLDER}/FINDINGS.md has 1 opening and 0 closing exprunner markers; expected one of each, in "
        "order. It was left unchanged: repair or delete the markers." in run.out
    )


# --- broken files -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["merge", "list", "empty", "binary", "newer", "folder"])
@pytest.mark.parametrize("attempts", [True, False])
def test_a_broken_results_file(study: Study, how: str, attempts: bool) -> None:
    """A results file that cannot be read never counts, never is lost, never is a traceback."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(MET)
    study.pytest()
    file = study.root / FOLDER / "results.yaml"
    text = file.read_bytes()
    broken = {
        "merge": b"<<<<<<< HEAD\n" + text + b"=======\n" + text + b">>>>>>> other\n",
        "list": b"- 1\n- 2\n",
        "empty": b"",
        "binary": bytes(range(256)),
        "newer": text.replace(b"schema_version: 1", b"schema_version: 99"),
        "folder": b"",
    }[how]
    if how == "folder":
        file.unlink()
        file.mkdir()
        (file / "mine").write_text("x")
    else:
        file.write_bytes(broken)
    if not attempts:
        shutil.rmtree(study.root / FOLDER / "attempts")
    gates = study.exprunner("gates")
    status = study.exprunner("status")
    assert "Traceback" not in gates.text + status.text
    if not attempts:
        assert gates.code == 3, gates.text
        assert "proceed (" not in status.out
    assert "research/experiments/x1-first/results.yaml cannot be used: " in status.text
    run = study.pytest()
    assert "INTERNALERROR" not in run.text
    assert "Traceback" not in run.text
    if how == "folder":
        assert (file / "mine").read_text() == "x"
        return
    kept = [f for f in study.files() if "broken" in f]
    assert [(study.root / name).read_bytes() for name in kept] == [broken], run.text
    assert "could not be read (" in run.out
    assert study.results()["recommendation"] == "proceed"


@pytest.mark.parametrize("keep", [0.2, 0.4, 0.6, 0.8, 0.95])
def test_a_truncated_results_file_without_attempts(study: Study, keep: float) -> None:
    """Cut anywhere, a results file alone passes no gate, and is kept when it is written again."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(MET)
    study.pytest()
    file = study.root / FOLDER / "results.yaml"
    whole = file.read_bytes()
    cut = whole[: whole.rindex(b"\n", 0, int(len(whole) * keep)) + 1]
    file.write_bytes(cut)
    shutil.rmtree(study.root / FOLDER / "attempts")
    assert study.exprunner("gates").code == 3
    run = study.exprunner("report")
    assert "Traceback" not in run.text
    kept = [f for f in study.files() if "edited" in f or "broken" in f]
    assert cut in [file.read_bytes(), *((study.root / name).read_bytes() for name in kept)]


def test_edited_numbers_never_count_without_attempts(study: Study) -> None:
    """Where no attempt vouches for it, a number that a person wrote passes no gate, now or later."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(MISSED)
    study.pytest()
    shutil.rmtree(study.root / FOLDER / "attempts")
    file = study.root / FOLDER / "results.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("0.55", "0.99"), encoding="utf-8")
    assert study.exprunner("gates").code != 0
    assert "proceed" not in study.exprunner("status").out
    study.exprunner("report")
    assert study.exprunner("gates").code != 0


def test_added_keys_do_not_spoil_a_clone(study: Study) -> None:
    """A key that a person added leaves the numbers of a clone without attempts as they were."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(MET)
    study.pytest()
    shutil.rmtree(study.root / FOLDER / "attempts")
    file = study.root / FOLDER / "results.yaml"
    file.write_text(file.read_text(encoding="utf-8") + "reviewed_by: Ana\n", encoding="utf-8")
    assert study.exprunner("gates").code == 0


@pytest.mark.parametrize("how", ["truncated", "empty", "garbage"])
def test_a_broken_attempt_record(study: Study, how: str) -> None:
    """An attempt record that cannot be read is told, and does not count as a success."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(MET)
    study.pytest()
    record = study.attempt() / "record.json"
    whole = record.read_bytes()
    broken = {"truncated": whole[:-40], "empty": b"", "garbage": b"\x00\xff"}[how]
    record.write_bytes(broken)
    status = study.exprunner("status")
    assert status.code in {0, 1}, status.text
    assert "Traceback" not in status.text
    assert "0001" in status.text
    assert study.exprunner("gates").code != 0
    run = study.pytest()
    assert "INTERNALERROR" not in run.text
    assert record.read_bytes() == broken
    assert study.attempt(sequence=2).is_dir()


# --- attempts -----------------------------------------------------------------------------------


def test_attempts_are_never_overwritten(study: Study) -> None:
    """Every run adds an attempt; what earlier ones recorded stays byte for byte."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    first = (study.attempt() / "record.json").read_bytes()
    study.handlers(MISSED)
    study.pytest()
    assert (study.attempt() / "record.json").read_bytes() == first
    assert study.record(sequence=2)["metrics"] == {"accuracy": 0.55}


def test_a_missing_number_is_not_used_again(study: Study) -> None:
    """A deleted attempt's number is not given to another one while a later one exists."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    study.pytest()
    shutil.rmtree(study.attempt(sequence=1))
    study.pytest()
    assert study.attempt(sequence=3).is_dir()
    assert not study.attempt(sequence=1).exists()


def test_a_better_attempt_does_not_hide_a_worse_one(study: Study) -> None:
    """Trying until it passes is visible: both attempts are in the history, and it is an issue."""
    study.plan()
    study.handlers(MISSED)
    study.pytest()
    study.handlers(MET)
    run = study.pytest()
    assert run.code == 0, run.text
    results = study.results()
    assert [(a["attempt"], a["verdicts"], a["values"]) for a in results["attempts"]["e_x1_1"]] == [
        (1, {"accuracy": "missed"}, {"accuracy": 0.55}),
        (2, {"accuracy": "target"}, {"accuracy": 0.95}),
    ]
    issue = "accuracy was not met in attempt 1 of e_x1_1; attempt 2 meets it. All attempts are kept."
    assert results["issues"] == [issue]
    assert issue in run.out
    assert issue in study.findings()


def test_a_worse_attempt_decides_and_keeps_the_better_one(study: Study) -> None:
    """The latest run counts, also when it is worse; the earlier success stays in the history."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    study.handlers(MISSED)
    assert study.pytest().code == 1
    results = study.results()
    assert results["recommendation"] == "pivot"
    assert [a["verdicts"]["accuracy"] for a in results["attempts"]["e_x1_1"]] == [
        "target",
        "missed",
    ]


def test_a_moved_goalpost_is_told(study: Study) -> None:
    """A criterion that changed after it was first used is an issue in results and findings."""
    study.plan()
    study.handlers(MISSED)
    study.pytest()
    study.plan(PLAN.replace("0.9, acceptable: 0.8", "0.55, acceptable: 0.52"))
    run = study.pytest()
    assert run.code == 0, run.text
    assert "The criterion accuracy has changed since it was first used." in study.results()["issues"]
    assert "The criterion accuracy has changed since it was first used." in study.findings()


# --- artifacts ----------------------------------------------------------------------------------


def test_stale_artifacts_leave_the_published_folder(study: Study) -> None:
    """The published folder holds what the attempt that counts saved; attempts keep their own."""
    study.plan()
    study.handlers(SAVING.format(name="old.txt", content="old"))
    study.pytest()
    study.handlers(SAVING.format(name="new.txt", content="new"))
    study.pytest()
    published = study.root / FOLDER / "artifacts" / "e_x1_1"
    assert [p.name for p in published.iterdir()] == ["new.txt"]
    assert (study.attempt() / "artifacts/old.txt").read_text() == "old"


def test_a_file_that_a_person_put_beside_artifacts_stays(study: Study) -> None:
    """What nobody's attempt saved is not removed from the published folder."""
    study.plan()
    study.handlers(SAVING.format(name="a.txt", content="1"))
    study.pytest()
    mine = study.root / FOLDER / "artifacts/e_x1_1/notes.txt"
    mine.write_text("mine")
    study.handlers(SAVING.format(name="b.txt", content="2"))
    study.pytest()
    assert mine.read_text() == "mine"


def test_a_published_artifact_that_was_edited(study: Study) -> None:
    """Writing into a published artifact neither changes the attempt's evidence nor gets lost."""
    study.plan()
    study.handlers(SAVING.format(name="a.txt", content="measured"))
    study.pytest()
    published = study.root / FOLDER / "artifacts/e_x1_1/a.txt"
    published.unlink()
    published.write_text("doctored")
    run = study.pytest()
    assert published.read_text() == "measured"
    kept = [f for f in study.files() if "edited" in f]
    assert len(kept) == 1
    name = kept[0].rsplit("/", 1)[1]
    assert (
        f"{FOLDER}/artifacts/e_x1_1/a.txt differs from what the attempts here saved; it was kept as {name}."
        in run.out
    )


def test_an_artifact_that_was_never_saved(study: Study) -> None:
    """A path that a handler lists and never saved is an issue that a reader sees."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner):\n    return {'metrics': {'accuracy': 0.95}, 'artifacts': ['plot.png']}\n"
    )
    run = study.pytest()
    issue = "e_x1_1 lists 1 artifact that it did not save: plot.png."
    assert issue in run.out
    assert study.results()["issues"] == [issue]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../up.txt", "has the part '..', which could lead out of its folder"),
        ("/etc/passwd", "is an absolute path"),
        ("C:x.txt", "is an absolute path"),
        ("a\\b.txt", "contains a backslash"),
        ("", "is empty"),
        ("a\x00b", "contains a control character"),
        ("x" * 300, "has a part longer than 200 bytes"),
        ("con.txt", "has the part 'con.txt', a name that some systems reserve"),
        (".hidden", "has the part '.hidden', which starts or ends with a dot or a space"),
    ],
)
def test_refused_artifact_names(study: Study, name: str, reason: str) -> None:
    """A name that could lead elsewhere is refused with the reason; nothing is written."""
    study.plan()
    study.handlers(SAVING.format(name=name, content="x"))
    run = study.pytest()
    assert run.code == 1, run.text
    assert reason in run.out
    assert "expected one such as 'plots/iou.png'" in run.out
    assert not [f for f in study.files() if "/artifacts/" in f]


# --- clones -------------------------------------------------------------------------------------


def _cloned(study: Study) -> None:
    """Take away what git leaves behind: the attempts' own copies, journals and the state."""
    for folder in study.root.glob(f"{FOLDER}/attempts/*/*/artifacts"):
        shutil.rmtree(folder)
    shutil.rmtree(study.research / ".exprunner")


def test_a_clone_in_which_an_artifact_is_saved_anew(study: Study) -> None:
    """What is published in a clone goes home to the attempt that saved it, and nobody is blamed."""
    study.plan()
    study.handlers(SAVING.format(name="times.json", content="1.2"))
    study.pytest()
    _cloned(study)
    study.handlers(SAVING.format(name="times.json", content="1.3"))
    run = study.pytest()
    assert "times.json" not in run.out
    assert not [f for f in study.files() if "edited" in f]
    assert (study.root / FOLDER / "artifacts/e_x1_1/times.json").read_text() == "1.3"
    kept = study.root / FOLDER / "attempts/e_x1_1/0001/artifacts/times.json"
    assert kept.read_text() == "1.2"
    assert study.exprunner("verify").code == 0


@pytest.mark.parametrize("clone", [False, True], ids=["record", "results file"])
def test_artifacts_that_lead_out_are_not_published(study: Study, clone: bool) -> None:
    """What a committed file lists never puts a file where it does not belong."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner):\n"
        "    runner.results.save_artifact('a.txt', 'mine')\n"
        "    return {'metrics': {'accuracy': 0.95}}"
    )
    assert study.pytest().code == 0
    study.write("research/experiments/x1-first/a.txt", "from elsewhere")  # that far above what was saved
    up = "artifacts/e_x1_1/../../../.."
    if clone:
        file = study.research / "experiments/x1-first/results.yaml"
        file.write_text(file.read_text().replace("- artifacts/e_x1_1/a.txt", f"- {up}/a.txt"))
        shutil.rmtree(study.attempt())
    else:
        record = study.attempt() / "record.json"
        record.write_text(record.read_text().replace('"artifacts/e_x1_1/a.txt"', f'"{up}/a.txt"'))
    verify = study.exprunner("verify")
    assert verify.code == 1
    assert "leads outside its folder" in verify.out
    report = study.exprunner("report")
    assert not (study.research / "a.txt").exists(), report.text


def test_a_clone_in_which_an_artifact_is_no_longer_saved(study: Study) -> None:
    """What goes away from the published folder of a clone is with the attempt that saved it."""
    study.plan()
    study.handlers(SAVING.format(name="old/plot.txt", content="old"))
    study.pytest()
    _cloned(study)
    study.handlers(SAVING.format(name="new.txt", content="new"))
    study.pytest()
    published = study.root / FOLDER / "artifacts/e_x1_1"
    assert [p.name for p in published.rglob("*.txt")] == ["new.txt"]
    assert (study.root / FOLDER / "attempts/e_x1_1/0001/artifacts/old/plot.txt").read_text() == "old"


def test_a_clone_in_which_a_published_artifact_was_edited(study: Study) -> None:
    """What no attempt saved is set aside in a clone as anywhere else."""
    study.plan()
    study.handlers(SAVING.format(name="a.txt", content="measured"))
    study.pytest()
    _cloned(study)
    published = study.root / FOLDER / "artifacts/e_x1_1/a.txt"
    published.write_text("doctored")
    run = study.pytest()
    assert "a.txt differs from what the attempts here saved; it was kept as a.edited-1.txt" in run.out
    assert published.read_text() == "measured"
    assert not (study.root / FOLDER / "attempts/e_x1_1/0001/artifacts").exists()


def test_a_clone_without_attempts(study: Study) -> None:
    """Where attempts are missing, results.yaml is the record: nothing in it is lost or downgraded."""
    study.plan(TWO + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(SAVING.format(name="a.txt", content="a") + TWO_HANDLERS.removeprefix(MET))
    study.pytest()
    assert study.pytest().code == 0
    file = study.root / FOLDER / "results.yaml"
    before = file.read_bytes()
    shutil.rmtree(study.root / FOLDER / "attempts")
    shutil.rmtree(study.research / ".exprunner")
    assert study.exprunner("gates").code == 0
    assert "x1-first  completed → proceed" in study.exprunner("status").out
    run = study.exprunner("report")
    assert run.code == 0, run.text
    assert file.read_bytes() == before
    assert (study.root / FOLDER / "artifacts/e_x1_1/a.txt").read_text() == "a"


def test_a_clone_in_which_one_runs_again(study: Study) -> None:
    """One sub-experiment run again in a clone adds to the history that came with it."""
    study.plan(TWO)
    study.handlers(TWO_HANDLERS.replace("0.95", "0.85"))
    study.pytest()
    before = study.results()
    shutil.rmtree(study.root / FOLDER / "attempts")
    shutil.rmtree(study.research / ".exprunner")
    study.handlers(TWO_HANDLERS)
    run = study.pytest("experiments/", "-k", "e_x1_1")
    assert run.code == 0, run.text
    after = study.results()
    kept = before["results"]["experiments"]["e_x1_2"]
    assert after["results"]["experiments"]["e_x1_2"] == kept
    assert after["attempts"]["e_x1_2"] == before["attempts"]["e_x1_2"]
    assert [p["values"] for p in after["attempts"]["e_x1_1"]] == [
        {"accuracy": 0.85},
        {"accuracy": 0.95},
    ]
    assert after["recommendation"] == "proceed"
    assert after["registered"] == before["registered"]


def test_an_interrupted_run_in_a_clone(study: Study) -> None:
    """A run in a clone that dies keeps the record that came with it."""
    study.plan()
    study.handlers(MISSED)
    study.pytest()
    before = study.results()["attempts"]["e_x1_1"]
    shutil.rmtree(study.root / FOLDER / "attempts")
    shutil.rmtree(study.research / ".exprunner")
    study.handlers("import os\ndef e_x1_1(runner): os._exit(0)\n")
    study.pytest()
    assert study.exprunner("report").code == 0
    assert study.results()["attempts"]["e_x1_1"][0] == before[0]
    assert study.results()["status"] == "in_progress"


def test_one_variant_again_in_a_clone(study: Study) -> None:
    """Where one variant runs again, what results.yaml says of the others still counts."""
    study.plan()
    study.handlers(
        "import pytest\n@pytest.mark.parametrize('n', ['a', 'b'])\n"
        "def e_x1_1(runner, n): return {'metrics': {'accuracy': {'a': 0.1, 'b': 0.95}[n]}}\n"
    )
    study.pytest()
    shutil.rmtree(study.root / FOLDER / "attempts")
    run = study.pytest("experiments/", "-k", "[b]")
    assert run.code == 0, run.text
    results = study.results()
    assert results["criteria"]["accuracy"]["value"] == 0.1
    assert results["recommendation"] == "pivot"
    assert len(results["attempts"]["e_x1_1"]) == 3


FOREIGN = """\
# written by hand
experiment_id: x1-first
status: completed
results:
  experiments:
    e_x1_1: {status: completed, finding: Great, metrics: {accuracy: 0.99}, artifacts: [], error: null}
recommendation: proceed
reviewer: Ana
"""


def test_results_of_another_tool(study: Study) -> None:
    """Numbers in a results file that this tool did not write are imported evidence, never real."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    study.write(f"{FOLDER}/results.yaml", FOREIGN)
    gates = study.exprunner("gates")
    assert gates.code == 3, gates.text
    status = study.exprunner("status")
    assert "inadmissible" in status.out
    study.handlers(MET)
    run = study.pytest()
    assert run.code == 0, run.text
    kept = [f for f in study.files() if "edited" in f]
    assert [(study.root / name).read_text(encoding="utf-8") for name in kept] == [FOREIGN]
    assert study.results()["reviewer"] == "Ana"


# --- the results folder -------------------------------------------------------------------------


@pytest.mark.parametrize("blocked", ["", "/experiments", "/experiments/x1-first", "/.exprunner"])
def test_a_file_in_the_way_of_the_results_folder(study: Study, blocked: str) -> None:
    """A results folder that cannot be written is told before anything runs, exit 4."""
    study.plan()
    study.handlers("def e_x1_1(runner): open('ran', 'w')\n")
    study.write(f"out{blocked}", "in the way")
    run = study.pytest("experiments/", "--exp-results", "out")
    assert run.code == 4, run.text
    assert f"the results folder {study.root / 'out'} cannot be written: " in run.err
    assert "expected a folder that this user can write to (--exp-results)" in run.err
    assert "Traceback" not in run.text
    assert "ran" not in study.files()


def test_a_dangling_link_as_results_folder(study: Study) -> None:
    """A results folder that is a link to nowhere is told before anything runs."""
    study.plan()
    study.handlers("def e_x1_1(runner): open('ran', 'w')\n")
    (study.root / "out").symlink_to(study.root / "missing" / "place")
    run = study.pytest("experiments/", "--exp-results", "out")
    assert run.code in {0, 4}, run.text
    assert "Traceback" not in run.text


@pytest.mark.parametrize("then", ["", "; open('research/experiments', 'w').close()"])
def test_files_that_vanish_during_the_run(study: Study, then: str) -> None:
    """A handler that deletes the results is red, said in a line, and the next handler still runs."""
    study.plan(TWO)
    study.handlers(
        "import shutil\ndef e_x1_1(runner):\n"
        f"    shutil.rmtree('research/experiments'){then}\n"
        "    return {'metrics': {'accuracy': 0.95}}\n" + TWO_HANDLERS.removeprefix(MET)
    )
    run = study.pytest()
    assert "INTERNALERROR" not in run.text
    assert "Traceback" not in run.text
    assert run.code == 1, run.text
    assert "proceed" not in study.exprunner("status").out


def test_results_elsewhere(study: Study) -> None:
    """``--exp-results`` writes everything elsewhere, and the command reads it from there."""
    study.plan()
    study.handlers(MET)
    run = study.pytest("experiments/", "--exp-results", "out/put")
    assert run.code == 0, run.text
    assert "out/put/experiments/x1-first/results.yaml" in study.files()
    assert not any(f.startswith("research/experiments") for f in study.files())
    assert "completed → proceed" in study.exprunner("status", "--results", "out/put").out


# --- hostile text -------------------------------------------------------------------------------

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
HOSTILE = """\
TEXT = "a | b\\n# c\\r\\n<script>alert(1)</script> \\x1b[31m ::error::x `x` [y](z) \\x00 \\ud800 \\u202e\\n"
def e_x1_1(runner):
    path = runner.results.save_artifact("a|b <i> [x](y) `z`.txt", "x")
    print(TEXT.encode("utf-8", "replace").decode())
    return {
        "finding": TEXT + "<!-- exprunner:end -->\\n",
        "metrics": {"accuracy": 0.95, TEXT: 0.5, "": 1, "x" * 5000: 2, "a/b": "<b>bold</b>"},
        "artifacts": [path, TEXT],
        TEXT: TEXT,
    }
"""


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_hostile_text(study: Study, environment: dict[str, str]) -> None:
    """Whatever text a handler returns, files can be read, tables keep their shape, terminals are safe."""
    study.plan()
    study.handlers(HOSTILE)
    run = study.pytest("experiments/", "--junitxml", "junit.xml", "-v", env=environment)
    assert run.code == 0, run.text
    assert "INTERNALERROR" not in run.text
    assert "\x1b[31m" not in run.out
    assert not [line for line in run.out.splitlines() if line.startswith("::error")]
    assert study.results()["criteria"]["accuracy"]["value"] == 0.95
    ET.parse(study.root / "junit.xml")
    findings = study.findings()
    assert "<script>" not in re.sub(r"(`+)[^`].*?[^`]\1(?!`)", "", findings)
    assert findings.count("\n<!-- exprunner:end -->\n") == 1
    rows = [line for line in findings.splitlines() if line.startswith("| `accuracy`")]
    assert len(rows) == 1
    again = study.pytest("experiments/", env=environment)
    assert again.code == 0, again.text
    assert not [f for f in study.files() if "edited" in f or "broken" in f]
    for command in ("status", "report", "gates", "check"):
        done = study.exprunner(command, env=environment)
        assert done.code == 0, done.text
        assert "\x1b" not in done.out


def test_hostile_text_in_a_failure(study: Study) -> None:
    """A failing handler's text is recorded whole and shown without its escapes in the summary."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner): raise ValueError('a\\x1b[31mred\\n::error::owned\\n<!-- exprunner:end -->')\n"
    )
    run = study.pytest("experiments/", "--junitxml", "junit.xml")
    assert run.code == 1, run.text
    summary = run.out.split("= research plan =", 1)[1]
    assert "\x1b[31m" not in summary.split("= short test summary")[0]
    ET.parse(study.root / "junit.xml")
    assert study.exprunner("report").code == 0
    assert study.findings().count("\n<!-- exprunner:end -->\n") == 1


def test_a_plain_console(study: Study) -> None:
    """On an ASCII console a miss is readable and files are UTF-8."""
    study.plan(PLAN + "    name: 'Café ✓'\n")
    study.handlers(MISSED.replace("Good.", "Café ✓"))
    environment = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONIOENCODING": "ascii",
        "PYTHONCOERCECLOCALE": "0",
    }
    run = study.pytest(env=environment)
    assert run.code == 1, run.text
    assert "accuracy of 0.550 is below the 0.80 acceptable threshold by 0.250" in run.out
    assert ">= 0.90" in run.out
    assert "completed -> pivot" in run.out
    assert study.results()["results"]["experiments"]["e_x1_1"]["finding"] == "Café ✓"
    status = study.exprunner("status", env=ASCII)
    assert status.code == 0, status.text
    assert "completed -> pivot" in status.out


def test_junit_has_a_case_for_the_whole(study: Study) -> None:
    """The failure of an experiment as a whole is a case in the junit file."""
    study.plan(TWO)
    study.handlers(MET)
    run = study.pytest("experiments/", "--junitxml", "junit.xml")
    assert run.code == 1, run.text
    cases = ET.parse(study.root / "junit.xml").getroot().findall(".//testcase")
    assert [case.get("name") for case in cases] == ["e_x1_1", "x1-first"]
    assert cases[1].find("failure") is not None


def test_yaml_of_numbers_is_read_alike_everywhere(study: Study) -> None:
    """Texts that look like numbers or truths are written so that YAML 1.1 and 1.2 agree."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95, 'a': '1e-3', 'b': 'no', 'c': '12:30', "
        "'d': 1e-300, 'e': '010', 'f': float('nan'), 'g': 10**400, 'h': -0.0}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    metrics = study.results()["results"]["experiments"]["e_x1_1"]["metrics"]
    assert {k: metrics[k] for k in "abceg"} == {
        "a": "1e-3",
        "b": "no",
        "c": "12:30",
        "e": "010",
        "g": 10**400,
    }
    assert metrics["d"] == 1e-300
    assert yaml.safe_dump(metrics["f"]) == ".nan\n...\n"
