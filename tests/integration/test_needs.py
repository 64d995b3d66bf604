"""Sub-experiments that read what others left."""

from __future__ import annotations

import pytest
from study_folder import Study

PLAN = """\
experiments:
  x1-first:
    sub_experiments: {e_x1_2: {needs: [e_x1_1]}, e_x1_1: {}}
    success_criteria:
      accuracy: {target: 0.9, from: e_x1_2}
"""
UPSTREAM = """\
def e_x1_1(runner):
    path = runner.results.save_artifact("deep/encoder.pt", b"weights")
    return {"finding": "trained", "metrics": {"loss": 0.25}, "artifacts": [path]}
"""
DOWNSTREAM = """\
def e_x1_2(runner):
    assert list(runner.needs) == ["e_x1_1"] and "e_x1_1" in runner.needs
    upstream = runner.needs["e_x1_1"]
    assert (upstream.label, upstream.finding, upstream.metrics) == ("e_x1_1", "trained", {"loss": 0.25})
    assert upstream.artifacts == ("deep/encoder.pt",)
    assert upstream.artifact("deep/encoder.pt").read_bytes() == b"weights"
    assert upstream.artifact("artifacts/e_x1_1/deep/encoder.pt").read_bytes() == b"weights"
    return {"metrics": {"accuracy": 1 - upstream.metrics["loss"] / 10}}
"""


@pytest.fixture
def needing(study: Study) -> Study:
    """A study whose first sub-experiment, in the plan and in the file, needs the second."""
    study.plan(PLAN)
    study.handlers(DOWNSTREAM + UPSTREAM)
    return study


def test_what_upstream_left(needing: Study) -> None:
    """It runs first, and what it returned and saved is at hand; the record tells which attempt it was."""
    run = needing.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=2)
    assert needing.record("e_x1_2")["upstream"] == {"e_x1_1": 1}
    assert needing.record("e_x1_1")["upstream"] == {}


def test_what_an_earlier_run_left(needing: Study) -> None:
    """A dependent alone reads what an earlier run left; also in a clone without attempts' files."""
    assert needing.pytest("experiments", "-k", "e_x1_1").code == 0
    (needing.attempt("e_x1_1") / "artifacts" / "deep" / "encoder.pt").unlink()
    run = needing.pytest("experiments", "-k", "e_x1_2")
    assert run.code == 0, run.text


def test_nothing_to_read(needing: Study) -> None:
    """Without anything upstream a dependent is blocked, and says by what."""
    run = needing.pytest("experiments", "-k", "e_x1_2")
    assert run.code == 1
    assert "blocked: it needs e_x1_1, which is not started" in run.out


def test_upstream_failed(needing: Study) -> None:
    """A dependent of something that failed is blocked with the reason, not run."""
    needing.handlers(DOWNSTREAM + "def e_x1_1(runner): raise ValueError('no data')\n")
    run = needing.pytest()
    assert run.code == 1
    assert run.counts(failed=2)
    assert "blocked: it needs e_x1_1, which is failed (ValueError: no data)" in run.out
    assert not needing.attempt("e_x1_2").exists()


def test_yesterdays_success_does_not_stand_in(needing: Study) -> None:
    """What failed today blocks, whatever it left yesterday."""
    assert needing.pytest().code == 0
    needing.handlers(DOWNSTREAM + "def e_x1_1(runner): raise ValueError('no data')\n")
    run = needing.pytest()
    assert run.code == 1
    assert not needing.attempt("e_x1_2", 2).exists()


def test_variants(study: Study) -> None:
    """One of several variants is named like it reads; without a name the choice is refused."""
    study.plan(PLAN)
    study.handlers(
        """\
        import pytest

        @pytest.mark.parametrize("rate", [1, 2], ids=["slow", "fast"])
        def e_x1_1(runner, rate):
            return {"metrics": {"loss": rate}}

        def e_x1_2(runner):
            assert runner.needs["e_x1_1[fast]"].metrics == {"loss": 2}
            with pytest.raises(LookupError) as caught:
                runner.needs["e_x1_1"]
            assert str(caught.value) == (
                "e_x1_1 has several variants; expected one of them: "
                "runner.needs['e_x1_1[slow]'] and runner.needs['e_x1_1[fast]']"
            )
            with pytest.raises(LookupError, match=r"there is e_x1_1\\[slow\\] and e_x1_1\\[fast\\]; run"):
                runner.needs["e_x1_1[medium]"]
            return {"metrics": {"accuracy": 0.95}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert study.record("e_x1_2")["upstream"] == {"e_x1_1[slow]": 1, "e_x1_1[fast]": 2}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "runner.needs['e_x1_3']",
            "the plan does not say that e_x1_2 needs 'e_x1_3' (did you mean 'e_x1_1'?); it needs e_x1_1. "
            "Add it there: e_x1_2: {needs: [e_x1_1, e_x1_3]}",
        ),
        (
            "runner.needs['e_x1_1'].metrics['los']",
            "e_x1_1 returned no metric 'los' (did you mean 'loss'?); it returned loss",
        ),
        (
            "runner.needs['e_x1_1'].artifact('encoder.pt')",
            "e_x1_1 saved no artifact 'encoder.pt' (did you mean 'deep/encoder.pt'?); it saved deep/encoder.pt",
        ),
        (
            "file = runner.needs['e_x1_1'].artifact('deep/encoder.pt'); file.write_bytes(b'x'); "
            "runner.needs['e_x1_1'].artifact('deep/encoder.pt')",
            "has changed since e_x1_1 saved it in attempt 1; run e_x1_1 again",
        ),
        (
            "import os; os.unlink(runner.needs['e_x1_1'].artifact('deep/encoder.pt')); "
            "runner.needs['e_x1_1'].artifact('deep/encoder.pt')",
            "the artifact 'deep/encoder.pt' of e_x1_1 is missing (it was artifacts/e_x1_1/deep/encoder.pt of "
            "attempt 1); run e_x1_1 again",
        ),
    ],
)
def test_what_is_not_there(needing: Study, body: str, message: str) -> None:
    """What was asked for and is not there is said with what to do."""
    needing.handlers(f"{UPSTREAM}def e_x1_2(runner): {body}\n")
    assert needing.pytest().code == 1
    assert message in needing.record("e_x1_2")["error"]["message"]


def test_ignoring_dependencies(needing: Study) -> None:
    """Run all the same, a handler hears that there is nothing."""
    assert needing.pytest("experiments", "-k", "e_x1_2", "--exp-ignore-dependencies").code == 1
    message = needing.record("e_x1_2")["error"]["message"]
    assert message == "e_x1_2 needs e_x1_1, but there is no attempt of e_x1_1; run e_x1_1 first"
