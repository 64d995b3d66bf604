"""Ways in which a result could look better than it is, and what is said to each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from study_folder import ANEW, PLAN, Study

import pytest_exprunner

GATED = f"{PLAN}gates:\n  g1: {{experiments: [x1-first]}}\n"
TWO = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2]
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5}
gates:
  g1: {experiments: [x1-first]}
"""


def handler(accuracy: float, sub: str = "e_x1_1", metric: str = "accuracy") -> str:
    """A handler that returns one number."""
    return f"def {sub}(runner):\n    return {{'metrics': {{{metric!r}: {accuracy}}}}}\n"


def test_zero_of_four_measured_is_never_a_success(study: Study) -> None:
    """Everything completed and nothing measured: investigate, exit 1, the gate pending."""
    names = ("r2", "rho", "recall", "cka")
    criteria = "".join(f"      {name}: {{target: 0.5, failure: 0.1}}\n" for name in names)
    study.plan(
        "experiments:\n  q1:\n    sub_experiments: [e_q1_1, e_q1_2]\n    success_criteria:\n"
        f"{criteria}gates:\n  g1: {{experiments: [q1]}}\n"
    )
    study.handlers(handler(0.9, "e_q1_1", "average_r2") + handler(0.9, "e_q1_2", "max_cka_flat"))
    run = study.pytest()
    assert run.code == 1, run.text
    results = study.results("q1")
    assert (results["status"], results["recommendation"]) == ("completed", "investigate")
    assert results["assessment"]["success_criteria_met"] is False
    assert "Measured 0 of 4 gating criteria." in results["assessment"]["confidence_notes"]
    assert study.exprunner("gates").code == 3


def test_a_metric_under_another_name_is_pointed_out(study: Study) -> None:
    """A sub-experiment whose metric is misspelt leaves the result to its sibling, not without a word."""
    study.plan(TWO)
    study.handlers(handler(0.95) + handler(0.1, "e_x1_2", "acuracy"))
    run = study.pytest()
    note = "e_x1_2 returned 'acuracy', which no criterion uses; did you mean 'accuracy'?"
    assert note in run.out
    assert note in study.findings()
    assert study.results()["assessment"]["confidence"] == "low"
    assert "1 note in its findings" in study.exprunner("gates").out


def test_a_variant_that_does_not_report_is_not_met(study: Study) -> None:
    """All variants must meet a criterion, also the one that returned it under another name."""
    study.plan(GATED)
    study.handlers(
        """\
        import pytest

        @pytest.mark.parametrize("name", ["accuracy", "accurracy"])
        def e_x1_1(runner, name):
            return {"metrics": {name: 0.95}}
        """
    )
    run = study.pytest("experiments/", "--exp-gate", "g1")
    assert run.code == 1, run.text
    assert study.results()["recommendation"] == "investigate"


def test_a_withdrawn_variant_is_remembered(study: Study) -> None:
    """Taking the variant that missed out of the parametrization is told."""
    study.plan()
    code = (
        "import pytest\n\n@pytest.mark.parametrize('value', {values}, ids=str)\n"
        "def e_x1_1(runner, value):\n    return {{'metrics': {{'accuracy': value}}}}\n"
    )
    study.handlers(code.format(values=[0.95, 0.1]))
    assert study.pytest().code == 1
    study.handlers(code.format(values=[0.95]))
    assert study.pytest().code == 0
    note = "e_x1_1[0.1] did not meet accuracy in attempt 2 and is no longer part of the study."
    assert study.results()["issues"] == [note]
    assert f"  changed: {note}\n" in study.exprunner("audit").out
    assert study.pytest("experiments/", "--exp-strict").code == 1


def test_a_misspelt_metric_has_not_moved(study: Study) -> None:
    """A slip in a name is told where it is looked for, and is no goalpost that moved."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'acuracy': 0.95}}\n")
    study.pytest()
    words = "e_x1_1 returned 'acuracy', which no criterion uses; did you mean 'accuracy'?"
    assert words in study.results()["issues"]
    audit = study.exprunner("audit")
    assert audit.code == 0
    assert audit.out.startswith("0 changes after the first result")


def test_a_lowered_bar_is_told(study: Study) -> None:
    """A result that is met only since the plan has changed says so, also at the gate."""
    study.plan(GATED)
    study.handlers(handler(0.7))
    assert study.pytest().code == 1
    study.plan(GATED.replace("0.8", "0.6"))
    assert study.exprunner("report").code == 0
    notes = study.results()["issues"]
    assert notes == [
        "The criterion accuracy has changed since it was first used.",
        "accuracy was not met when attempt 1 of e_x1_1 ran; it is met only because the plan changed later.",
    ]
    assert "2 notes in its findings" in study.exprunner("gates").out


def test_replacing_an_experiment_after_its_miss_is_told(study: Study) -> None:
    """A miss that became an expected one leaves a note."""
    study.plan()
    study.handlers(handler(0.1))
    assert study.pytest().code == 1
    study.plan(f"{PLAN}  x2-second:\n    sub_experiments: [e_x2_1]\n    replaces: [x1-first]\n")
    study.handlers(handler(0.1) + handler(1.0, "e_x2_1"))
    assert study.pytest().code == 0
    assert study.results()["issues"] == [
        "It is now replaced by x2-second; the plan changed this after the first attempt."
    ]


def test_admitted_evidence_is_shown_as_what_it_is(study: Study) -> None:
    """Simulated numbers that the plan admits are marked wherever they are shown."""
    study.plan(GATED.replace("failure: 0.5", "failure: 0.5, evidence: [real, simulated]"))
    study.handlers(
        "def e_x1_1(runner):\n    runner.evidence('simulated', 'toy physics')\n"
        "    return {'metrics': {'accuracy': 0.95}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert "target on simulated evidence" in run.out
    assert "target on simulated evidence" in study.findings()
    assert "**Evidence: simulated** (toy physics), declared at handlers.py:2." in study.findings()


def test_a_lost_attempt_does_not_improve_the_result(study: Study) -> None:
    """Deleting the folder of a failed attempt does not bring the success before it back."""
    study.plan(GATED)
    study.handlers(handler(0.95))
    assert study.pytest().code == 0
    study.handlers("def e_x1_1(runner):\n    raise ValueError('broken')\n")
    assert study.pytest().code == 1
    shutil.rmtree(study.attempt(sequence=2))
    run = study.exprunner("gates")
    assert run.code == 3, run.text
    assert "lists 1 attempt that is not on disk" in run.out
    assert study.exprunner("report").code == 0
    assert study.results()["results"]["experiments"]["e_x1_1"]["status"] == "failed"


def test_an_unfinished_run_stays_unfinished_in_a_clone(study: Study) -> None:
    """What git carries of an interrupted run is enough to know that it was not finished."""
    study.plan(GATED)
    study.handlers(handler(0.95))
    assert study.pytest().code == 0
    study.handlers("import os\n\ndef e_x1_1(runner):\n    os._exit(0)\n")
    study.pytest()
    assert study.results()["results"]["experiments"]["e_x1_1"]["status"] == "in_progress"
    shutil.rmtree(study.research / ".exprunner")
    shutil.rmtree(study.attempt(sequence=2))
    assert study.exprunner("gates").code == 3


def test_an_unreadable_manifest_keeps_gates_from_passing(study: Study) -> None:
    """Where nobody knows what a run has not finished, no gate passes."""
    study.plan(GATED)
    study.handlers(handler(0.95))
    assert study.pytest().code == 0
    study.write("research/.exprunner/runs/20260101-000000-abcdef.json", '{"sel')
    run = study.exprunner("gates")
    assert run.code == 3
    assert "20260101-000000-abcdef.json" in run.out


@pytest.mark.parametrize("way", ["__test__", "norecursedirs", "collect_ignore"])
def test_a_handler_that_was_not_collected_is_missed(study: Study, way: str) -> None:
    """However pytest came to overlook a planned handler, the run says so and fails."""
    study.plan(TWO)
    study.handlers(handler(0.95))
    switched_off = "__test__ = False\n" if way == "__test__" else ""
    study.write("experiments/sub/second.py", switched_off + handler(0.95, "e_x1_2"))
    if way == "norecursedirs":
        study.write("pytest.ini", "[pytest]\nnorecursedirs = sub\n")
    if way == "collect_ignore":
        study.write("experiments/conftest.py", "collect_ignore = ['sub/second.py']\n")
    run = study.pytest()
    assert run.code == 1, run.text
    assert "e_x1_2 has a handler at experiments/sub/second.py:" in run.out
    assert "that pytest did not collect." in run.out


def test_leaving_a_handler_out_on_purpose_is_no_failure(study: Study) -> None:
    """What --ignore leaves out is left out."""
    study.plan(TWO)
    study.handlers(handler(0.95))
    study.write("experiments/sub/second.py", handler(0.95, "e_x1_2"))
    assert study.pytest("experiments/", "--ignore=experiments/sub").code == 0


def test_a_linked_folder_of_handlers_is_judged_as_a_whole(study: Study) -> None:
    """A missing handler is missed also where the experiments folder is a link."""
    study.plan(TWO)
    study.write("elsewhere/handlers.py", handler(0.95))
    (study.root / "experiments").symlink_to(study.root / "elsewhere")
    run = study.pytest()
    assert run.code == 1, run.text
    assert "e_x1_2 has no handler" in run.out


def test_a_crash_under_an_xfail_mark_is_a_failure(study: Study) -> None:
    """A marker does not turn a crash into a skipped attempt; its traceback is kept."""
    study.plan()
    study.handlers(
        "import pytest\n\n@pytest.mark.xfail\ndef e_x1_1(runner):\n    raise ValueError('broken')\n"
    )
    run = study.pytest()
    assert run.code == 1, run.text
    record = study.record()
    assert record["status"] == "failed"
    assert record["error"]["type"] == "ValueError"


def test_two_studies_in_one_run_are_refused(study: Study) -> None:
    """Handlers of two plans are not judged by one of them."""
    for name in ("a", "b"):
        study.write(f"{name}/research/research_plan.yaml", PLAN)
        study.write(f"{name}/experiments/handlers.py", handler(0.95))
    run = study.pytest("a/experiments", "b/experiments")
    assert run.code == 4
    assert "these handlers belong to several plans" in run.err
    assert study.pytest("a/experiments").code == 0


def test_a_gate_can_be_asked_for_without_running_handlers(study: Study) -> None:
    """A bare run with --exp-gate judges what is stored and calls no handler."""
    study.plan(GATED)
    study.handlers(handler(0.95))
    assert study.pytest().code == 0
    study.write("tests/test_mine.py", "def test_mine():\n    pass\n")
    run = study.pytest(".", "--exp-gate", "g1")
    assert run.code == 0, run.text
    assert run.counts(passed=1)
    assert not study.attempt(sequence=2).exists()


def test_setup_plan_starts_no_attempt(study: Study) -> None:
    """Pytest's --setup-plan shows fixtures and leaves results as they are."""
    study.plan(GATED)
    study.handlers(handler(0.95))
    assert study.pytest().code == 0
    study.pytest("experiments/", "--setup-plan")
    assert study.exprunner("gates").code == 0


def test_a_stub_run_leaves_last_failed_alone(study: Study) -> None:
    """A stub run passes nothing that --lf waits for."""
    study.plan()
    study.handlers(handler(0.1))
    assert study.pytest().code == 1
    assert study.pytest("experiments/", "--exp-stub").code == 0
    run = study.pytest("experiments/", "--lf")
    assert "run-last-failure: rerun previous 1 failure" in run.out


def test_a_dependent_on_what_no_longer_holds_is_noted(study: Study) -> None:
    """A result that rests on an experiment that says pivot now says so."""
    study.plan(
        f"{PLAN}  x2-second:\n    sub_experiments: [e_x2_1]\n    dependencies: [x1-first]\n"
        "    success_criteria: {accuracy: {target: 0.9, failure: 0.1}}\n"
    )
    study.handlers(handler(0.95) + handler(0.99, "e_x2_1"))
    assert study.pytest().code == 0
    study.handlers(handler(0.1) + handler(0.99, "e_x2_1"))
    study.pytest("experiments/", "-k", "e_x1_1")
    out = study.exprunner("status").out
    assert "x2-second needs x1-first to proceed; it says pivot (accuracy 0.100 < 0.80)." in out


def test_the_committed_results_are_what_the_attempts_say(study: Study) -> None:
    """Written anew, the results and findings of the example study are the committed ones."""
    root = Path(pytest_exprunner.__file__).parent.parent
    shutil.copytree(root / "research", study.research, ignore=shutil.ignore_patterns(".exprunner"))
    shutil.copytree(root / "experiments", study.root / "experiments")
    written = [*study.research.rglob("results.yaml"), *study.research.rglob("FINDINGS.md")]
    if not written:
        pytest.skip("the example study has no results here")
    before = {file: file.read_bytes() for file in written}
    assert study.exprunner("report", env=ANEW).code == 0
    assert {file: file.read_bytes() for file in written} == before


def test_a_plan_edited_during_the_run_is_told(study: Study) -> None:
    """The run is judged by the plan that it started with, and says that there is another now."""
    study.plan()
    study.handlers(
        """\
        from pathlib import Path

        def e_x1_1(runner):
            plan = Path("research/research_plan.yaml")
            plan.write_text(plan.read_text().replace("0.8", "0.99").replace("0.9,", "0.995,"))
            return {"metrics": {"accuracy": 0.95}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text
    note = "research/research_plan.yaml was edited during the run; this run was judged by the plan as read at the start."
    assert note in run.out
