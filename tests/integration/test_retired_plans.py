"""Records that come back, and plans that are retired with their results and rewritten."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from repositories import HANDLERS, PLAN, Repository, audited
from study_folder import Study

pytestmark = pytest.mark.slow

RECORD = "research/experiments/x1-first/attempts/e_x1_1/0001/record.json"
ARCHIVE = "research/archive/first"
LOWER = PLAN.replace("target: 0.9", "target: 0.8")
NOTHING_MOVED = "0 changes after the first result, "


@pytest.fixture
def repository(study: Study) -> Repository:
    """A study with its first results committed: x1 misses its target."""
    made = Repository(study)
    assert study.pytest().code == 1
    made.commit("Results")
    return made


def retire(repository: Repository, archive: str = ARCHIVE, subject: str = "Retire") -> None:
    """Archive a study whole."""
    (repository.study.root / archive).mkdir(parents=True)
    for name in ("research_plan.yaml", "experiments", "FINDINGS.md"):
        repository.git("mv", f"research/{name}", f"{archive}/{name}")
    repository.commit(subject)


def anew(repository: Repository, plan: str = LOWER) -> None:
    """Write another plan at the same path, run it, and commit plan and results one after the other."""
    repository.study.plan(plan)
    repository.commit("Register anew")
    assert repository.study.pytest().code in {0, 1}
    repository.commit("New results")


def said(study: Study) -> str:
    """What an audit says, as one text."""
    return "\n".join(audited(study))


def test_a_record_that_is_back(repository: Repository) -> None:
    """Deleted and restored with the very same bytes, nothing is lost."""
    study = repository.study
    repository.git("rm", "-q", RECORD)
    repository.commit("Tidy up")
    assert study.exprunner("audit").code == 1
    repository.git("checkout", "HEAD~1", "--", RECORD)
    repository.commit("Restore")
    assert study.exprunner("audit").code == 0
    assert audited(study) == [
        "x1-first",
        "  note: the record of attempt 1 of e_x1_1 was deleted in COMMIT (DAY, A. Person: Tidy up) and restored in "
        "COMMIT (DAY, A. Person: Restore)",
        "0 changes after the first result, 1 note",
    ]
    repository.git("rm", "-q", RECORD)
    repository.commit("Tidy up again")
    text = said(study)
    assert (
        "changed: the record of attempt 1 of e_x1_1 was deleted in COMMIT (DAY, A. Person: Tidy up)\n" in text
    )
    assert (
        "changed: the record of attempt 1 of e_x1_1 was deleted in COMMIT (DAY, A. Person: Tidy up again)"
        in text
    )


@pytest.mark.parametrize("how", ["replaced", "kept elsewhere"])
def test_a_record_that_is_not_back(repository: Repository, how: str) -> None:
    """Other bytes at its place, or its bytes at another while the study goes on, are no return."""
    study = repository.study
    text = (study.root / RECORD).read_text()
    repository.git("rm", "-q", RECORD)
    if how == "kept elsewhere":
        study.write("research/archive/record.json", text)
    repository.commit("Tidy up")
    if how == "replaced":
        study.write(RECORD, text.replace("0.85", "0.95"))
        repository.commit("Another")
    assert study.exprunner("audit").code == 1
    assert "changed: the record of attempt 1 of e_x1_1 was deleted in COMMIT" in said(study)


def test_a_plan_that_was_registered_anew(repository: Repository) -> None:
    """What the retired plan had is told, with what differs; nothing of it is held against the new one."""
    study = repository.study
    retire(repository)
    study.plan(LOWER)
    before = study.exprunner("audit")  # not committed yet
    assert before.code == 0, before.out
    assert "x1-first.success_criteria.accuracy.target 0.90 → 0.80 since the plan" in before.out
    repository.commit("Register anew")
    assert study.pytest("experiments", "--exp-strict", "--exp-report", "page.html").code == 0
    assert (study.root / RECORD).exists()  # attempts begin at 1 again
    page = (study.root / "page.html").read_text()
    (study.root / "page.html").unlink()
    assert "it has results of an earlier plan, retired in" in page
    repository.commit("New results")
    assert study.exprunner("audit").code == 0
    assert audited(study) == [
        "x1-first",
        "  note: it has results of an earlier plan, retired in COMMIT (DAY, A. Person: Retire); "
        "by its last results file, the verdicts were missed (accuracy); the results are "
        "kept in research/archive/first/experiments/x1-first",
        "  note: x1-first.success_criteria.accuracy.target 0.90 → 0.80 since the plan that was retired in COMMIT",
        "x2-second",
        "  note: it has results of an earlier plan, retired in COMMIT (DAY, A. Person: Retire); "
        "by its last results file, the verdicts were target (loss); the results are "
        "kept in research/archive/first/experiments/x2-second",
        "0 changes after the first result, 3 notes",
    ]
    assert study.exprunner("verify").code == 0
    # What moves in the new study moves, as in any.
    repository.edit(("target: 0.8", "target: 0.7"))
    repository.commit("Relax")
    assert "changed: x1-first.success_criteria.accuracy.target 0.80 → 0.70 in COMMIT" in said(study)
    for depth in ("1", "4"):
        shallow = Study(study.root / f"shallow-{depth}")
        origin = f"file://{study.root}"
        command = ["git", "clone", "-q", "--depth", depth, origin, str(shallow.root)]
        subprocess.run(command, check=True, capture_output=True)
        assert "shallow clone" in shallow.exprunner("audit").out
        assert "Traceback" not in shallow.exprunner("audit").text


def test_records_that_were_lost_on_the_way(repository: Repository) -> None:
    """A plan that is taken away and written anew does not make its results vanish."""
    study = repository.study
    repository.git("rm", "-q", "-r", "research")
    repository.commit("Clean up")
    anew(repository)
    found = study.exprunner("audit")
    assert found.code == 1
    assert audited(study) == [
        "x1-first",
        "  note: it has results of an earlier plan, retired in COMMIT (DAY, A. Person: Clean up); "
        "by its last results file, the verdicts were missed (accuracy); the results are not kept anywhere",
        "  changed: the record of attempt 1 of e_x1_1, of the plan that was retired in COMMIT, is not kept anywhere; COMMIT "
        "(DAY, A. Person: Results) has it",
        "  note: x1-first.success_criteria.accuracy.target 0.90 → 0.80 since the plan that was retired in COMMIT",
        "x2-second",
        "  note: it has results of an earlier plan, retired in COMMIT (DAY, A. Person: Clean up); "
        "by its last results file, the verdicts were target (loss); the results are not kept anywhere",
        "  changed: the record of attempt 1 of e_x2_1, of the plan that was retired in COMMIT, is not kept anywhere; COMMIT "
        "(DAY, A. Person: Results) has it",
        "2 changes after the first result, 3 notes",
    ]
    strict = study.pytest("experiments", "--exp-strict")
    assert strict.code == 1
    assert "of the plan that was retired in" in strict.out


def test_a_record_that_was_edited_on_the_way(repository: Repository) -> None:
    """Every version has to be kept, byte for byte: also one that was replaced in the earlier study."""
    study = repository.study
    first = (study.root / RECORD).read_text()
    study.write(RECORD, first.replace("0.85", "0.86"))
    repository.commit("Edit")
    retire(repository)
    anew(repository)
    assert (
        "changed: the record of attempt 1 of e_x1_1, of the plan that was retired in COMMIT, is not kept anywhere; "
        "COMMIT (DAY, A. Person: Results) has it" in said(study)
    )
    study.write(f"{ARCHIVE}/edited/record.json", first)
    repository.commit("Keep the first, too")
    text = said(study)
    assert NOTHING_MOVED in text
    assert f"the results are kept in {ARCHIVE}/edited and {ARCHIVE}/experiments/x1-first" in text


def test_verdicts_that_were_edited_before(repository: Repository) -> None:
    """What a retired results file says of its verdicts is told as what it is: a person's word."""
    results = repository.study.root / "research/experiments/x1-first/results.yaml"
    results.write_text(results.read_text().replace("verdict: missed", "verdict: target"))
    repository.commit("Polish")
    retire(repository)
    anew(repository)
    assert "by its last results file, which was edited by hand, the verdicts were target (accuracy)" in said(
        repository.study
    )


def test_records_that_stayed(repository: Repository) -> None:
    """Their attempts still count, so the plan without them was the same study."""
    study = repository.study
    plan = "research/research_plan.yaml"
    repository.git("rm", "-q", plan)
    repository.commit("Take the plan away")
    anew(repository)
    text = said(study)
    assert "changed: x1-first.success_criteria.accuracy.target 0.90 → 0.80 in COMMIT" in text
    assert (
        "COMMIT (DAY, A. Person: Take the plan away) removed the plan, but results of it stayed in "
        "research/experiments or returned: so the two plans count as one study" in text
    )


def test_records_that_came_back(repository: Repository) -> None:
    """What was archived and is put among the new results again counts with them, under any number."""
    study = repository.study
    retire(repository)
    anew(repository)
    kept = study.root / ARCHIVE / "experiments/x1-first/attempts/e_x1_1/0001/record.json"
    study.write(RECORD.replace("0001", "0007"), kept.read_text())
    repository.commit("Put it back")
    text = said(study)
    assert "changed: the record of attempt 1 of e_x1_1 was deleted in COMMIT (DAY, A. Person: Retire)" in text
    assert "count as one study" in text


def test_archived_and_written_anew_at_once(repository: Repository) -> None:
    """In one commit there was no time without the plan: it is the same study."""
    study = repository.study
    (study.root / ARCHIVE).mkdir(parents=True)
    repository.git("mv", "research/experiments", f"{ARCHIVE}/experiments")
    study.plan(LOWER)
    repository.commit("Archive and begin")
    text = said(study)
    assert "changed: the record of attempt 1 of e_x1_1 was deleted in COMMIT" in text
    assert "earlier plan" not in text


def test_a_bar_that_was_lowered_before(repository: Repository) -> None:
    """What the first results were judged by is told, not only what the earlier plan said last."""
    repository.edit(("target: 0.9", "target: 0.8"))
    repository.commit("Relax")
    retire(repository)
    anew(repository)
    assert "note: x1-first.success_criteria.accuracy.target 0.90 → 0.80 since the plan" in said(
        repository.study
    )


def test_an_experiment_with_another_name(repository: Repository) -> None:
    """Results of an experiment that the new plan does not have are told, too."""
    retire(repository)
    anew(repository, LOWER.replace("x1-first", "x1-again"))
    text = said(repository.study)
    assert "\nx1-first\n  note: it has results of an earlier plan" in text
    assert "note: x1-first in the plan → not in the plan since the plan that was retired in COMMIT" in text
    assert NOTHING_MOVED in text


def test_twice_and_renamed(repository: Repository) -> None:
    """Each retired plan is told, oldest first, also after the plan was given another name."""
    study = repository.study
    retire(repository)
    anew(repository)
    retire(repository, "research/archive/second", "Retire again")
    anew(repository, PLAN.replace("target: 0.9", "target: 0.85"))
    repository.git("mv", "research/research_plan.yaml", "research/plan.yaml")
    repository.commit("Rename")
    found = study.exprunner("audit", "--plan", "research/plan.yaml")
    assert found.code == 0, found.out
    lines = [line for line in found.out.splitlines() if "accuracy.target" in line or "kept in" in line]
    first, old, second, new, *_rest = lines
    assert "A. Person: Retire);" in first
    assert "research/archive/first/experiments/x1-first" in first
    assert "target 0.90 → 0.85" in old
    assert "A. Person: Retire again);" in second
    assert "research/archive/second/experiments/x1-first" in second
    assert "target 0.80 → 0.85" in new


def test_a_branch_from_before(repository: Repository) -> None:
    """A merge of what was begun in the earlier study deletes none of its records."""
    study = repository.study
    repository.git("checkout", "-q", "-b", "other")
    study.write("notes.txt", "A note.")
    repository.commit("Notes")
    repository.git("checkout", "-q", "-")
    retire(repository)
    anew(repository)
    repository.git("merge", "-q", "--no-ff", "other", "-m", "Merge")
    assert study.exprunner("audit").code == 0, said(study)
    assert "deleted" not in said(study)


def test_a_plan_retired_on_a_branch(repository: Repository) -> None:
    """Only the main line counts: what a merge brings at once is one version of the same study."""
    study = repository.study
    repository.git("checkout", "-q", "-b", "other")
    retire(repository)
    anew(repository)
    repository.git("checkout", "-q", "-")
    repository.git("merge", "-q", "--no-ff", "other", "-m", "Merge")
    assert "changed: the record of attempt 1 of e_x1_1 was" in said(study)


def test_results_without_records(study: Study) -> None:
    """Where records were never committed, the results file is what must be kept."""
    study.write(".gitignore", "record.json\n")
    made = Repository(study)
    assert study.pytest().code == 1
    made.commit("Results")
    made.git("rm", "-q", "-r", "research")
    for left in Path(study.research).glob("experiments/*/attempts/*/*/record.json"):
        left.unlink()
    made.commit("Clean up")
    anew(made)
    assert (
        "changed: the results file of x1-first, of the plan that was retired in COMMIT, is not kept anywhere; COMMIT "
        "(DAY, A. Person: Results) has it" in said(study)
    )


def test_a_plan_without_results_that_was_written_anew(study: Study) -> None:
    """Nothing is known of it that anybody should be told."""
    made = Repository(study)
    made.git("rm", "-q", "research/research_plan.yaml")
    made.commit("Think again")
    study.handlers(HANDLERS)
    anew(made)
    assert audited(study) == ["0 changes after the first result, 0 notes"]
