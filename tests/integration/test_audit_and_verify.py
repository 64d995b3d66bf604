"""Ways to fool oneself, and what the tool answers: ``exprunner audit``, ``verify`` and ``--exp-strict``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
from repositories import HANDLERS, PLAN, Repository, audited
from study_folder import Study

pytestmark = pytest.mark.slow


@pytest.fixture
def repository(study: Study) -> Repository:
    """A study with its first results committed: x1 misses its target."""
    made = Repository(study)
    assert study.pytest().code == 1
    made.commit("Results")
    return made


def test_nothing_moved(repository: Repository) -> None:
    """A plan, its results and their commits are no reason for a word."""
    assert audited(repository.study) == ["0 changes after the first result, 0 notes"]
    assert repository.study.pytest("experiments", "--exp-resume", "--exp-strict").code == 1  # it misses
    assert "something changed" not in repository.study.pytest("experiments", "--exp-strict").out


def test_a_plan_that_was_edited_before_its_first_run(study: Study) -> None:
    """Edited, run and then committed: later by the clock, and no moved goalpost."""
    made = Repository(study)
    made.edit(("target: 0.9", "target: 0.8"))
    assert study.pytest().code == 0
    made.commit("Results")
    assert audited(study) == ["0 changes after the first result, 0 notes"]


def test_everything_in_one_commit(study: Study) -> None:
    """Git does not show that the criteria were there first; that is told, and the attempt says they were."""
    study.plan(PLAN.replace("target: 0.9", "target: 0.8"))
    study.handlers(HANDLERS)
    assert study.pytest().code == 0
    Repository(study, begin=False).commit("Everything")
    assert study.exprunner("audit").code == 0
    assert audited(study) == [
        "x1-first",
        "  note: accuracy first appears in COMMIT (DAY, A. Person: Everything), and results.yaml in the same "
        "commit declares it met",
        "x2-second",
        "  note: loss first appears in COMMIT (DAY, A. Person: Everything), and results.yaml in the same "
        "commit declares it met",
        "0 changes after the first result, 2 notes",
    ]


def test_honest_growth(repository: Repository) -> None:
    """What is only added, or asked for more strictly, is told and fails nothing."""
    study = repository.study
    repository.edit(
        ("    sub_experiments: [e_x2_1]\n", "    sub_experiments: {e_x2_1: {seeds: [0, 1]}, e_x2_2: {}}\n"),
        ("[x1-first, x2-second]", "[x2-second, x1-first]"),
        ("gates:\n", "gates:\n  gate_2: {experiments: [x1-first]}\n"),
    )
    repository.commit("Grow")
    found = study.exprunner("audit")
    assert found.code == 0, found.out
    assert "moved:" not in found.out
    assert "note: x2-second.sub_experiments.e_x2_1.seeds – → 0, 1" in found.out
    assert "gate_1" not in found.out
    repository.edit(("seeds: [0, 1]", "seeds: [0, 2]"))
    assert "changed: x2-second.sub_experiments.e_x2_1.seeds 0, 1 → 0, 2" in study.exprunner("audit").out


def test_clones(repository: Repository) -> None:
    """A clone audits and verifies as its origin does; a shallow one says that it is one."""
    whole, shallow = repository.study.root / "whole", repository.study.root / "shallow"
    for options, place in ((["-q"], whole), (["-q", "--depth=1"], shallow)):
        origin = f"file://{repository.study.root}"
        subprocess.run(["git", "clone", *options, origin, str(place)], check=True, capture_output=True)
        clone = Study(place)
        assert clone.exprunner("audit").code == 0
        assert "0 errors" in clone.exprunner("verify").out
    assert "shallow clone" in Study(shallow).exprunner("audit").out


def test_a_merge(repository: Repository) -> None:
    """A branch with a study of its own moves nothing; a record that was edited in a merge did."""
    study = repository.study
    record = study.research / "experiments/x1-first/attempts/e_x1_1/0001/record.json"
    repository.git("checkout", "-q", "-b", "other")
    study.write("notes.txt", "A note.")
    repository.commit("Notes")
    repository.git("checkout", "-q", "-")
    repository.edit(("experiments:\n  x1", "experiments:\n  x3-new: {sub_experiments: [e_x3_1]}\n  x1"))
    repository.commit("Another experiment")
    repository.git("merge", "-q", "--no-ff", "other", "-m", "Merge")
    assert study.exprunner("audit").code == 0
    repository.git("checkout", "-q", "other")
    study.write("notes.txt", "Another note.")
    repository.commit("More notes")
    repository.git("checkout", "-q", "-")
    repository.git("merge", "-q", "--no-ff", "--no-commit", "other")
    record.write_text(record.read_text().replace("0.85", "0.95"))
    repository.commit("Merge with an edit")
    assert "changed: the record of attempt 1 of e_x1_1 was changed in COMMIT" in "\n".join(audited(study))


def test_a_plan_that_was_renamed(repository: Repository) -> None:
    """Its history goes on under the new name."""
    study = repository.study
    repository.git("mv", "research/research_plan.yaml", "research/plan.yaml")
    file = study.research / "plan.yaml"
    file.write_text(file.read_text().replace("[x1-first, x2-second]", "[x1-first]"))
    repository.commit("Rename")
    out = study.exprunner("audit", "--plan", "research/plan.yaml").out
    assert "changed: gates.gate_1.experiments x1-first, x2-second → x1-first" in out


def test_a_record_that_is_not_what_was_committed(repository: Repository) -> None:
    """Edited together with its results file, or gone: the last commit knows."""
    study = repository.study
    record = study.research / "experiments/x1-first/attempts/e_x1_1/0001/record.json"
    record.write_text(record.read_text().replace("0.85", "0.95"))
    (study.research / "experiments/x1-first/results.yaml").unlink()
    assert study.exprunner("report").code == 0
    assert "changed: the record of attempt 1 of e_x1_1 has been changed since the last commit" in "\n".join(
        audited(study)
    )
    shutil.rmtree(study.research / "experiments/x1-first")
    assert "changed: the record of attempt 1 of e_x1_1 is gone since the last commit" in "\n".join(
        audited(study)
    )


def test_odd_names(study: Study) -> None:
    """A folder whose name means something to git, and commits with control characters in them."""
    inner = Study(study.root / "a [x] blob é")
    inner.root.mkdir()
    made = Repository(inner)
    assert inner.pytest().code == 1
    made.commit("Results \x01 of\x1f all")
    record = inner.research / "experiments/x1-first/attempts/e_x1_1/0001/record.json"
    record.write_text(record.read_text().replace("0.85", "0.95"))
    made.edit(("[x1-first, x2-second]", "[x1-first]"))
    made.commit("Relax \x01 it")
    found = inner.exprunner("audit").out
    assert "changed: the record of attempt 1 of e_x1_1 was changed in" in found
    assert "changed: gates.gate_1.experiments x1-first, x2-second → x1-first in" in found
    assert "not committed" not in found


@pytest.mark.parametrize("criteria", ["3", "{accuracy: {verdict: [1]}}", "{accuracy: [met]}", "null"])
def test_results_in_history_that_are_odd(study: Study, criteria: str) -> None:
    """Whatever was committed once, it is no reason to stop."""
    study.write("research/experiments/x1-first/results.yaml", f"criteria: {criteria}\nassessment: []\n")
    Repository(study)
    assert study.exprunner("audit").code == 0
    assert study.exprunner("verify").code in {0, 1}


def test_a_run_that_was_cut_short(repository: Repository) -> None:
    """Its files are not wrong; what to do about them is said."""
    study = repository.study
    study.handlers(HANDLERS.replace("loss = score", "__import__('os')._exit(3)\n    loss = score"))
    study.pytest()
    found = study.exprunner("verify")
    assert found.code == 0, found.out
    assert "review: comes from a run that was cut short; 'exprunner report' rewrites it" in found.out


def test_a_bar_that_was_lowered(repository: Repository) -> None:
    """By whom and when; the run that is strict about it fails, the other one says it."""
    study = repository.study
    repository.edit(("target: 0.9", "target: 0.8"), ("[x1-first, x2-second]", "[x1-first]"))
    repository.commit("Relax")
    lax = study.pytest()
    assert lax.code == 0
    assert "note: The criterion accuracy has changed since it was first used." in lax.out
    strict = study.pytest("experiments", "--exp-strict")
    assert strict.code == 1
    assert "something changed after there was a result (--exp-strict):" in strict.out
    assert audited(study) == [
        "x1-first",
        "  changed: accuracy had different terms in attempt 1 of e_x1_1 (DAY) and in attempt 2 of e_x1_1 (DAY)",
        "  changed: The criterion accuracy has changed since it was first used.",
        "  note: attempt 1 of e_x1_1 (accuracy 0.850 missed) was superseded by attempt 3 (accuracy 0.850 target)",
        "  note: attempt 2 of e_x1_1 (accuracy 0.850 target) was superseded by attempt 3 (accuracy 0.850 target)",
        "  changed: x1-first.success_criteria.accuracy.target 0.90 → 0.80 in COMMIT (DAY, A. Person: Relax), after "
        "its first result (DAY)",
        "  changed: gates.gate_1.experiments x1-first, x2-second → x1-first in COMMIT (DAY, A. Person: Relax), after "
        "its first result (DAY)",
        "x2-second",
        "  note: attempt 1 of e_x2_1 (loss 0.050 target) was superseded by attempt 3 (loss 0.050 target)",
        "  note: attempt 2 of e_x2_1 (loss 0.050 target) was superseded by attempt 3 (loss 0.050 target)",
        "  changed: gates.gate_1.experiments x1-first, x2-second → x1-first in COMMIT (DAY, A. Person: Relax), after "
        "its first result (DAY)",
        "5 changes after the first result, 4 notes",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("target: 0.9", "target: 0.95", "accuracy.target 0.90 → 0.95 (not committed yet)"),
        ("target: 0.1, direction: lower", "target: 0.1, direction: higher", "loss.direction lower → higher"),
        ("{target: 0.9}", "{target: 0.9, metric: acc}", "accuracy.metric accuracy → acc"),
        ("{target: 0.9}", "{target: 0.9, severity: warn}", "accuracy.severity gate → warn"),
        (
            "{target: 0.9}",
            "{target: 0.9, evidence: [real, simulated]}",
            "accuracy.evidence real → real, simulated",
        ),
        (
            "accuracy: {target: 0.9}",
            "f1: {target: 0.1}",
            "x1-first.success_criteria.f1 – → higher is better, target",
        ),
    ],
)
def test_what_is_not_committed_yet(repository: Repository, old: str, new: str, said: str) -> None:
    """Is compared all the same."""
    repository.edit((old, new))
    assert said in "\n".join(audited(repository.study))


def test_signed_and_claimed(repository: Repository) -> None:
    """A waiver and a person's claim are told, and are no moved goalposts."""
    study = repository.study
    repository.edit(
        (
            "gates:",
            "waivers: [{experiment: x1-first, criterion: accuracy, by: A. Person, date: 2026-01-22, reason: demo}]\n"
            "gates:",
        ),
        ("  x2-second:\n", "  x2-second:\n    status: completed\n"),
    )
    repository.commit("Waive")
    found = study.exprunner("audit")
    assert found.code == 0
    assert (
        "note: waivers.x1-first.accuracy – → waived by A. Person on 2026-01-22 because demo in" in found.out
    )
    assert "note: x2-second.status – → completed in" in found.out


def test_a_criterion_that_is_born_met(repository: Repository) -> None:
    """It first appears in the very commit that declares it met."""
    study = repository.study
    repository.edit(("accuracy: {target: 0.9}", "accuracy: {target: 0.9}\n      gain: {target: 0.1}"))
    study.handlers(HANDLERS.replace('"accuracy": accuracy}', '"accuracy": accuracy, "gain": 0.2}'))
    study.pytest()
    repository.commit("A criterion that fits")
    text = "\n".join(audited(study))
    assert "changed: The criterion gain was added after the first attempt." in text
    assert (
        "changed: gain first appears in COMMIT (DAY, A. Person: A criterion that fits), and results.yaml in "
        "the same commit declares it met" in text
    )


def test_a_record_that_was_edited(repository: Repository) -> None:
    """Git saw it, and the results file remembers what it said."""
    study = repository.study
    record = study.research / "experiments/x1-first/attempts/e_x1_1/0001/record.json"
    record.write_text(record.read_text().replace("0.85", "0.95"))
    found = study.exprunner("verify")
    assert found.code == 1
    assert "error: says that attempt 1 of e_x1_1 returned accuracy 0.85; its record has 0.95" in found.out
    assert study.exprunner("report").code == 0
    repository.commit("Tidy up")
    assert (
        "changed: the record of attempt 1 of e_x1_1 was changed in COMMIT (DAY, A. Person: Tidy up)"
        in "\n".join(audited(study))
    )
    record.unlink()
    repository.commit("Tidy up more")
    assert "was deleted in COMMIT" in "\n".join(audited(study))


def test_results_that_were_edited(repository: Repository) -> None:
    """Everything that the records contradict is found, whatever it is."""
    study = repository.study
    file = study.research / "experiments/x1-first/results.yaml"
    text = file.read_text()
    for old, new in (
        ("recommendation: pivot", "recommendation: proceed"),
        ("verdict: missed", "verdict: target"),
        ("success_criteria_met: false", "success_criteria_met: true"),
        ("accuracy_achieved: 0.85", "accuracy_achieved: 0.95"),
        ("    value: 0.85", "    value: 0.95"),
        ("confidence: medium", "confidence: high"),
        ("finding: Better than before.", "finding: Best ever."),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    found = study.exprunner("verify")
    assert found.code == 1
    shown = [line.strip() for line in found.out.splitlines()]
    assert shown == [
        "research/experiments/x1-first/results.yaml",
        "error: has recommendation 'proceed', but the records give 'pivot': Not met: accuracy 0.850 (needs ≥ 0.90)",
        "error: has assessment.success_criteria_met True, but the records give False",
        "error: has assessment.accuracy_achieved 0.95, but the records give 0.85",
        "error: has assessment.confidence 'high', but the records give 'medium'",
        "error: has results.experiments.e_x1_1.finding 'Best ever.', but the records give 'Better than before.'",
        "error: has criteria.accuracy.verdict 'target', but the records give 'missed': accuracy of 0.850 is below the "
        "0.90 target by 0.050.",
        "error: has criteria.accuracy.value 0.95, but the records give 0.85",
        "7 errors, 0 to review",
        "research/experiments/x1-first/results.yaml was edited by hand or truncated: the attempt records count, and what "
        "only this file has is treated as imported; 'exprunner report' keeps a copy and rewrites it",
    ]
    told = json.loads(study.exprunner("verify", "--json").out)
    assert told["ok"] is False
    assert len(told["doubts"]) == 7


def test_a_criterion_with_an_odd_name(study: Study) -> None:
    """Names are no paths: what is told of one that is called verdict is no traceback."""
    study.plan(
        "experiments: {x1-first: {sub_experiments: [e_x1_1], success_criteria: "
        "{verdict: {target: 0.9}, a.verdict: {target: 0.9}}}}"
    )
    study.handlers("def e_x1_1(runner): return {'metrics': {'verdict': 0.95, 'a.verdict': 0.95}}\n")
    assert study.pytest().code == 0
    file = study.research / "experiments/x1-first/results.yaml"
    file.write_text(file.read_text().replace("verdict: target", "verdict: missed"))
    found = study.exprunner("verify")
    assert found.code == 1
    assert (
        "error: has criteria.verdict.verdict 'missed', but the records give 'target': verdict of" in found.out
    )
    assert (
        "error: has criteria.a.verdict.verdict 'missed', but the records give 'target': a.verdict"
        in found.out
    )
    file.write_text(
        file.read_text().replace("  verdict:\n    verdict: missed", "  verdict: 3\n  other:\n    verdict: x")
    )
    assert study.exprunner("verify").code == 1


def test_artifacts_that_changed(study: Study) -> None:
    """Published ones and those of attempts that no longer count, by their hashes."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner):\n"
        "    runner.results.save_artifact('a.txt', 'a')\n"
        "    runner.results.save_artifact('b.txt', 'b')\n"
        "    return {'metrics': {'accuracy': 0.95}}\n"
    )
    assert study.pytest().code == 0
    assert study.pytest().code == 0
    folder = study.research / "experiments/x1-first"
    published = folder / "artifacts/e_x1_1/a.txt"
    published.unlink()  # it is the attempt's own file, too
    published.write_text("other")
    (folder / "artifacts/e_x1_1/b.txt").unlink()
    (folder / "attempts/e_x1_1/0001/artifacts/a.txt").write_text("other")
    out = study.exprunner("verify").out
    assert "artifacts/e_x1_1/a.txt\n  error: has changed since e_x1_1 saved it" in out
    assert "0001/artifacts/a.txt\n  error: differs from what the attempt saved, which no longer counts" in out
    assert "error: lists 1 artifact of e_x1_1 that is not there: 'artifacts/e_x1_1/b.txt'" in out


def test_prose_that_nobody_measured(repository: Repository) -> None:
    """Numbers near a metric's name that no attempt produced, with the line; rounding is fine."""
    study = repository.study
    findings = study.research / "experiments/x1-first/FINDINGS.md"
    findings.write_text(
        findings.read_text() + "Accuracy: 97.5 %\nThe accuracy is 0.85, or 85.0%, and not 0.9.\n"
    )
    out = study.exprunner("verify")
    assert out.code == 0
    assert "review: says 97.5% of accuracy, which no attempt produced; there are 0.850 and 0.900" in out.out
    assert out.out.count("review:") == 1
    assert study.exprunner("verify", "--strict").code == 1


def test_results_of_another_tool(study: Study) -> None:
    """What they claim is held against the plan, and broken ones are reported; nothing stops it."""
    study.plan(
        "experiments: {x1-first: {sub_experiments: [e_x1_1], success_criteria: "
        "{cka: {target: 0.5}, r2: {target: 0.5}}}, x2: {sub_experiments: [e_x2_1]}}"
    )
    study.write(
        "research/experiments/x1-first/results.yaml",
        """\
        experiment_id: x1-first
        status: completed
        results:
          experiments:
            ex1_1: {status: skipped, metrics: {}}
            e_x1_1: {status: completed, metrics: {max_cka: 0.7, r2: 0.4}, artifacts: [artifacts/a.png, ../../b]}
        assessment: {success_criteria_met: true}
        recommendation: proceed
        """,
    )
    study.write("research/experiments/x2/results.yaml", "a: [1\n")
    out = study.exprunner("verify")
    assert out.code == 1
    shown = [line.strip() for line in out.out.splitlines() if "error:" in line]
    assert shown == [
        "error: says recommendation 'proceed', but by the plan it is 'investigate': Not measured: cka; Measured but "
        "inadmissible: r2 (0 of 2 with an admissible value)",
        "error: claims that the success criteria are met, but only 0 of 2 are",
        "error: taking its numbers at face value, cka was not measured: e_x1_1 returned 'max_cka'; expected 'cka'.",
        "error: taking its numbers at face value, r2 of 0.400 is below the 0.50 target by 0.100.",
        "error: has results of 'ex1_1', which is not in the plan (did you mean 'e_x1_1'?)",
        "error: lists the artifact '../../b', whose path leads outside its folder",
        "error: lists 1 artifact of e_x1_1 that is not there: 'artifacts/a.png'",
        shown[-1],
    ]
    assert shown[-1].startswith("error: cannot be read: line ")


def test_no_repository(study: Study) -> None:
    """Less is known, and that is said."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    assert study.pytest().code == 0
    found = study.exprunner("audit", env={"GIT_CEILING_DIRECTORIES": str(study.root.parent)})
    assert found.code == 0
    assert "so only the attempt records were checked" in found.out
    assert os.environ.get("GIT_DIR") is None


ODD_NAMES = (
    *(
        "f1, macro",
        "(f1)",
        "(together)",
        "(replaced by)",
        "(added later)",
        "accuracy_achieved",
        "a.b",
        "a: b",
    ),
    *("e_x1_1 seed 0", "says proceed", "e_x1_1[a]", "seeds", "\u202eflipped", "null", "0.5"),
)


def test_criteria_with_odd_names_that_are_added_later(repository: Repository) -> None:
    """Whatever a criterion is called, a run and an audit notice that the first attempt did not know it."""
    study = repository.study
    added = "".join(f"      {json.dumps(name)}: {{metric: accuracy, target: 0.5}}\n" for name in ODD_NAMES)
    repository.edit(("      accuracy: {target: 0.9}\n", f"      accuracy: {{target: 0.9}}\n{added}"))
    study.pytest("experiments/", "-k", "e_x1_1")
    issues = study.results("x1-first")["issues"]
    assert [text for text in issues if "was added" in text] == [
        f"The criterion {name} was added after the first attempt." for name in ODD_NAMES
    ]
    run = study.exprunner("audit", "--json")
    assert run.code == 1
    moved = [entry["text"] for entry in json.loads(run.out)["entries"] if entry["kind"] == "changed"]
    for name in ODD_NAMES:
        assert f"The criterion {name} was added after the first attempt." in moved
