"""Wherever a run is started, an attempt is made from the same code, in the same commit."""

from __future__ import annotations

import subprocess

import pytest
from study_folder import Study

HANDLER = """\
from helper import VALUE

def e_x1_1(runner):
    return {"metrics": {"accuracy": VALUE}}
"""


def _written(study: Study) -> None:
    study.plan()
    study.handlers(HANDLER)
    study.write("experiments/helper.py", "VALUE = 0.95\n")


@pytest.mark.parametrize("first", [".", "experiments", "research"])
@pytest.mark.parametrize("then", [".", "experiments"])
def test_nothing_is_run_again_for_having_been_started_elsewhere(study: Study, first: str, then: str) -> None:
    """Without an ini file pytest's root is where it was started; that is no change of the code."""
    _written(study)
    argument = {".": "experiments/", "experiments": ".", "research": "../experiments"}
    assert study.pytest(argument[first], cwd=first).code == 0
    run = study.pytest(argument[then], "--exp-resume", cwd=then)
    assert run.code == 0
    assert "Not run again: 1" in run.out
    assert sorted(study.record()["inputs"]["code"]) == ["experiments/handlers.py", "experiments/helper.py"]


def _git(study: Study, *arguments: str) -> None:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, cwd=study.root, check=True, capture_output=True)


def test_what_runs_write_makes_no_code_dirty(study: Study) -> None:
    """Results and findings change with every run; only other files tell of other code."""
    _written(study)
    _git(study, "init", "-q")
    study.pytest("experiments/")
    _git(study, "add", "-A")
    _git(study, "commit", "-qm", "first")
    study.pytest("experiments/")  # changes results.yaml and FINDINGS.md
    study.pytest("experiments/", cwd=".")
    records = [study.record(sequence=number)["provenance"] for number in (2, 3)]
    assert [record["dirty"] for record in records] == [False, False]
    assert "not committed" not in study.findings()
    study.write("experiments/helper.py", "VALUE = 0.96\n")
    study.pytest("experiments/")
    assert study.record(sequence=4)["provenance"]["dirty"] is True
    assert "ran with uncommitted changes" in study.findings()


def test_a_blocked_item_leaves_no_run_unfinished(study: Study) -> None:
    """A run that came to its end is not told to have been cut short."""
    study.plan(
        """\
        experiments:
          x1-first: {sub_experiments: [e_x1_1], success_criteria: {accuracy: {target: 0.9}}}
          x2-second: {sub_experiments: [e_x2_1], dependencies: [x1-first]}
        gates:
          gate_1: {experiments: [x1-first, x2-second]}
        """
    )
    study.handlers("def e_x1_1(runner):\n    1 / 0\n\ndef e_x2_1(runner):\n    return {}\n")
    run = study.pytest("experiments/", "--exp-gate", "all")
    assert run.code == 1
    assert "x2-second is blocked: x2-second needs x1-first to proceed" in run.out
    assert "is in progress" not in run.out
    assert "ended before it was done" not in study.exprunner("status").out


def test_quiet_runs_point_out_what_a_person_should_look_at(study: Study) -> None:
    """A threshold that moved, or a borderline value, is no detail."""
    study.plan()
    study.handlers("def e_x1_1(runner):\n    return {'metrics': {'accuracy': 0.81}}\n")
    run = study.pytest("experiments/", "-q")
    assert run.code == 0
    assert "x1-first proceed. 1 item to review. Completed: 1" in run.out
