"""What a run decides: exit codes, verdicts, and the words for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from study_folder import PLAN, Run, Study

Judged = Callable[[str], Run]
RERUNS = ("exprunner", "rerunfailures")
TWO = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2]
    success_criteria:
      accuracy: {target: 0.9}
"""
CHAIN = """\
experiments:
  a: {sub_experiments: [e_a], success_criteria: {accuracy: {target: 0.9}}}
  b: {sub_experiments: [e_b], dependencies: [a], success_criteria: {accuracy: {target: 0.9}}}
"""


def returns(accuracy: object, name: str = "e_x1_1") -> str:
    """A handler that returns one metric."""
    return f"def {name}(runner): return {{'metrics': {{'accuracy': {accuracy}}}}}\n"


# --- tiers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "code", "verdict", "recommendation", "sentence"),
    [
        ("0.95", 0, "target", "proceed", "accuracy of 0.950 is above the 0.90 target."),
        ("0.9", 0, "target", "proceed", "accuracy of 0.900 is exactly at the 0.90 target."),
        (
            "0.89999999",
            0,
            "acceptable",
            "proceed",
            "accuracy of 0.89999999 is above the 0.80 threshold, short of the 0.90 target.",
        ),
        (
            "0.83",
            0,
            "acceptable",
            "proceed",
            (
                "accuracy of 0.830 is above the 0.80 threshold, short of the 0.90 target; "
                "it narrowly meets 0.80 and needs review."
            ),
        ),
        (
            "0.7",
            1,
            "missed",
            "pivot",
            "accuracy of 0.700 is below the 0.80 acceptable threshold by 0.100.",
        ),
        (
            "0.5",
            1,
            "failure",
            "pivot",
            (
                "accuracy of 0.500 is below the 0.80 acceptable threshold by 0.300, at or beyond the "
                "failure tier 0.50."
            ),
        ),
    ],
)
def test_each_tier(
    judged: Judged,
    study: Study,
    value: str,
    code: int,
    verdict: str,
    recommendation: str,
    sentence: str,
) -> None:
    """A value reaches the tier that the plan states, decides the exit code and gets its sentence."""
    run = judged(f"return {{'metrics': {{'accuracy': {value}}}}}")
    assert run.code == code, run.text
    results = study.results()
    assert results["criteria"]["accuracy"]["verdict"] == verdict
    assert results["recommendation"] == recommendation
    assert sentence in study.findings()


def test_an_unmet_criterion_is_a_sentence_and_a_table(judged: Judged) -> None:
    """A miss shows what was measured and by how much it misses, without a traceback."""
    run = judged("return {'metrics': {'accuracy': 0.7}}")
    failure = run.out.split("_ e_x1_1_probe _", 1)[1].split("\n", 1)[1].split("\n====", 1)[0]
    assert failure == (
        "accuracy of 0.700 is below the 0.80 acceptable threshold by 0.100.\n"
        "\n"
        "  criterion  value  target  acceptable  verdict\n"
        "  accuracy   0.700  ≥ 0.90  ≥ 0.80      missed\n"
        "\n"
        "Attempt 1 of e_x1_1; its files are in research/experiments/x1-first/attempts/e_x1_1/0001"
    )
    assert run.counts(failed=1)


def test_the_summary_in_full(judged: Judged) -> None:
    """The end of a run shows status, recommendation, the table and the counts."""
    run = judged("return {'metrics': {'accuracy': 0.45}}")
    assert "= research plan =" in run.out, run.text
    assert (
        "x1-first  completed → pivot (confidence: medium)\n"
        "  criterion  value  target  acceptable  verdict\n"
        "  accuracy   0.450  ≥ 0.90  ≥ 0.80      failure (≤ 0.50)\n"
        "  Not met: accuracy 0.450 (needs ≥ 0.80).\n"
        "Completed: 1  Failed: 0  Skipped: 0  Blocked: 0  No handler: 0\n" in run.out
    )


def test_the_plans_advice_follows_a_miss(study: Study) -> None:
    """The next steps that the plan has for a pivot stand under the failure."""
    study.plan(PLAN + "    next_steps: {pivot: [Use a hybrid encoder, Ask Ana]}\n")
    study.handlers(returns(0.1))
    run = study.pytest()
    assert "The plan suggests: Use a hybrid encoder; Ask Ana" in run.out


def test_lower_is_better(study: Study) -> None:
    """With targets below the failure tier, less is better, and the words say so."""
    study.plan(
        "experiments:\n  x1-first:\n    sub_experiments: [e_x1_1]\n    success_criteria:\n"
        "      lpips: {target: 0.25, acceptable: 0.35, failure: 0.45, unit: points}\n"
    )
    study.handlers("def e_x1_1(runner): return {'metrics': {'lpips': 0.4}}\n")
    run = study.pytest()
    assert run.code == 1, run.text
    assert "lpips of 0.400 points is above the 0.35 acceptable threshold by 0.050." in run.out


# --- crashes ------------------------------------------------------------------------------------


def test_a_crash_shows_the_traceback_from_the_handler_on(judged: Judged, study: Study) -> None:
    """The traceback starts at the handler: no frame of the plugin, and the experiment says failed."""
    run = judged("import json\nreturn json.loads('{')")
    assert run.code == 1, run.text
    assert "experiments/handlers.py:3: \n" in run.out
    assert "JSONDecodeError" in run.out
    assert run.counts(failed=1), run.text
    assert "running.py" not in run.out
    assert "_pytest" not in run.out
    results = study.results()
    assert results["status"] == "failed"
    assert results["recommendation"] == "investigate"
    error = results["results"]["experiments"]["e_x1_1"]["error"]
    assert error["type"] == "JSONDecodeError"
    assert "handlers.py:3" in error["traceback"]


@pytest.mark.parametrize(
    "body",
    [
        "raise SystemExit(0)",
        "import sys; sys.exit()",
        "class E(Exception):\n    def __str__(self): raise ValueError('no text')\nraise E()",
        "class E(Exception):\n    def __repr__(self): raise ValueError('no repr')\nraise E()",
        "raise MemoryError",
        "raise BaseException('rare')",
        "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
        "raise GeneratorExit",
        "def f(n): return f(n + 1)\nf(0)",
        "raise Exception('\\x1b[31m::error::\\x00 \\ud800')",
    ],
)
def test_whatever_is_raised_fails_the_handler_alone(study: Study, body: str) -> None:
    """Any exception is a failure of its handler; the next handler runs and keeps its result."""
    study.plan(TWO)
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    study.handlers(f"def e_x1_1(runner):\n{indented}{returns(0.95, 'e_x1_2')}")
    run = study.pytest()
    assert run.code == 1, run.text
    assert "INTERNALERROR" not in run.text
    assert "1 passed" in run.out
    assert "research plan" in run.out
    results = study.results()
    assert results["status"] == "failed"
    assert results["results"]["experiments"]["e_x1_1"]["status"] == "failed"
    assert results["results"]["experiments"]["e_x1_2"]["status"] == "completed"


@pytest.mark.parametrize("place", ["set-up", "tear-down"])
def test_a_fixture_that_fails(study: Study, place: str) -> None:
    """A failing fixture is an error of the run; a failed set-up is a failed attempt."""
    study.plan()
    first, last = ("raise ValueError('bad')", "") if place == "set-up" else ("", "raise ValueError('bad')")
    study.handlers(
        f"import pytest\n@pytest.fixture\ndef data():\n    {first or 'pass'}\n    yield 1\n"
        f"    {last or 'pass'}\n{returns(0.95).replace('(runner)', '(runner, data)')}"
    )
    run = study.pytest()
    assert run.code == 1, run.text
    if place == "set-up":
        assert run.counts(error=1) or run.counts(failed=1, error=1), run.text
        error = study.results()["results"]["experiments"]["e_x1_1"]["error"]
        assert error["message"] == "bad (in a fixture)"
    else:
        assert study.results()["status"] == "completed"


def test_a_failed_set_up_after_a_success_counts(study: Study) -> None:
    """Yesterday's success does not stand in for today's failing fixture."""
    study.plan()
    text = "import pytest\n@pytest.fixture\ndef data(): BODY\n" + returns(0.95).replace("r)", "r, data)")
    study.handlers(text.replace("BODY", "return 1"))
    assert study.pytest().code == 0
    study.handlers(text.replace("BODY", "raise ValueError"))
    assert study.pytest().code == 1
    assert study.results()["recommendation"] == "investigate"


# --- what was returned --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("None", "the handler returned None"),
        ("True", "the handler returned True"),
        ("0.95", "the handler returned 0.95"),
        ("[1, 2]", "the handler returned [1, 2]"),
        (
            "{'accuracy': 0.95}",
            (
                "the handler returned a mapping with 'accuracy' but none of 'finding', 'metrics' and "
                "'artifacts'; put numbers under 'metrics'"
            ),
        ),
        (
            "{}",
            (
                "the handler returned a mapping with nothing but none of 'finding', 'metrics' and "
                "'artifacts'; put numbers under 'metrics'"
            ),
        ),
        (
            "{'metric': {'accuracy': 0.95}}",
            "the handler returned the key 'metric'; did you mean 'metrics'?",
        ),
        ("{'metrics': [0.95]}", "'metrics' is [0.95], not a mapping"),
        ("{'finding': 3}", "'finding' is 3, not text"),
        (
            "{'metrics': {}, 'artifacts': 'plot.png'}",
            "'artifacts' is 'plot.png', not a list of paths",
        ),
        ("{'metrics': {}, 'artifacts': [3]}", "'artifacts' holds 3, which is not a path"),
        (
            "{'metrics': {'accuracy': 1, 'e_x1_1/accuracy': 1}}",
            "the metric 'accuracy' is given twice, bare and as 'e_x1_1/accuracy'",
        ),
        ("(i for i in ())", "the handler returned <generator object"),
    ],
)
def test_a_wrong_shape_is_a_failed_attempt(
    judged: Judged, study: Study, expression: str, message: str
) -> None:
    """What was returned and what was expected are shown, once and without a traceback."""
    run = judged(f"return {expression}")
    assert run.code == 1, run.text
    assert message in run.out
    if "twice" not in message:
        expected = 'expected {"finding": "…", "metrics": {"name": number}, "artifacts": [path]}'
        assert expected in run.out
    assert "During handling" not in run.out
    assert "Traceback" not in run.out
    assert study.results()["status"] == "failed"


def test_every_kind_of_number_is_judged(study: Study) -> None:
    """Python, NumPy and torch numbers, 0-d arrays, fractions and decimals are numbers."""
    study.plan(PLAN.replace("[e_x1_1]", "[e_x1_1]").replace("accuracy", "k0"))
    kinds = [
        "1", "1.0", "np.float32(1)", "np.float64(1)", "np.float16(1)", "np.int64(1)", "np.uint8(1)",
        "np.array(1.0)", "np.array([1.0])", "Fraction(1)", "Decimal(1)",
    ]  # fmt: skip
    criteria = "".join(f"      k{n}: {{target: 0.9}}\n" for n in range(len(kinds)))
    study.plan(f"experiments:\n  x1-first:\n    sub_experiments: [e_x1_1]\n    success_criteria:\n{criteria}")
    metrics = ", ".join(f"'k{n}': {kind}" for n, kind in enumerate(kinds))
    study.handlers(
        "import numpy as np\nfrom fractions import Fraction\nfrom decimal import Decimal\n"
        f"def e_x1_1(runner): return {{'metrics': {{{metrics}}}}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert {c["verdict"] for c in study.results()["criteria"].values()} == {"target"}


@pytest.mark.parametrize(
    ("value", "verdict", "sentence"),
    [
        (
            "float('nan')",
            "inadmissible",
            "accuracy = NaN does not count: e_x1_1 returned a value that is not a finite number.",
        ),
        (
            "float('inf')",
            "inadmissible",
            "accuracy = Infinity does not count: e_x1_1 returned a value that is not a finite number.",
        ),
        (
            "10**5000",
            "inadmissible",
            "accuracy = Infinity does not count: e_x1_1 returned a value that is not a finite number.",
        ),
        (
            "True",
            "not_measured",
            "accuracy was not measured: e_x1_1 returned True, which is true or false, not a number.",
        ),
        (
            "'0.95'",
            "not_measured",
            "accuracy was not measured: e_x1_1 returned '0.95', which is text, not a number.",
        ),
        (
            "None",
            "not_measured",
            "accuracy was not measured: e_x1_1 returned None, which is nothing, not a number.",
        ),
        (
            "[0.95, 0.96]",
            "not_measured",
            "accuracy was not measured: e_x1_1 returned [0.95, 0.96], which is a list, not a number.",
        ),
        ("0.95 + 0j", "not_measured", "accuracy was not measured: e_x1_1 returned"),
    ],
)
def test_what_is_no_number_satisfies_nothing(
    judged: Judged, study: Study, value: str, verdict: str, sentence: str
) -> None:
    """NaN, infinities, truths and texts are kept, shown, and never meet a criterion."""
    run = judged(f"return {{'metrics': {{'accuracy': {value}}}}}")
    assert run.code == 1, run.text
    assert sentence in run.out
    assert "INTERNALERROR" not in run.text
    results = study.results()
    assert results["criteria"]["accuracy"]["verdict"] == verdict
    assert results["recommendation"] == "investigate"
    assert "accuracy" in results["results"]["experiments"]["e_x1_1"]["metrics"]


def test_a_metric_that_was_only_logged(judged: Judged, study: Study) -> None:
    """Only returned metrics are judged; one that was only logged is told."""
    run = judged(
        "for n in range(100):\n    runner.log_metrics({'accuracy': 0.81})\nreturn {'finding': 'done'}"
    )
    assert run.code == 1, run.text
    assert (
        "accuracy was not measured: e_x1_1 logged it 100 times, last 0.81, but never returned it." in run.out
    )
    assert study.results()["criteria"]["accuracy"]["verdict"] == "not_measured"


def test_a_misspelt_metric(judged: Judged) -> None:
    """A metric returned under another name is told with the name that was expected."""
    run = judged("return {'metrics': {'acuracy': 0.95}}")
    assert run.code == 1, run.text
    assert "accuracy was not measured: e_x1_1 returned 'acuracy'; expected 'accuracy'." in run.out


def test_a_misspelt_metric_of_the_deciding_sub_experiment_fails_it(study: Study) -> None:
    """With ``from``, the sub-experiment that lacks the metric fails itself, at once."""
    study.plan(TWO.replace("{target: 0.9}", "{target: 0.9, from: e_x1_1}"))
    study.handlers("def e_x1_1(runner): return {'metrics': {'Accuracy': 0.95}}\n" + returns(0.95, "e_x1_2"))
    run = study.pytest("experiments/", "-k", "e_x1_1")
    assert run.code == 1, run.text
    assert run.counts(failed=1, deselected=1)
    assert "accuracy was not measured: e_x1_1 returned 'Accuracy'; expected 'accuracy'." in run.out
    assert "Return it as a number: {'metrics': {'accuracy': …}}." in run.out


# --- which value decides ------------------------------------------------------------------------


def test_all_that_report_a_metric_must_meet_it(study: Study) -> None:
    """Without ``from`` the worst value decides, in whichever order they ran."""
    study.plan(TWO)
    study.handlers(returns(0.5, "e_x1_1") + returns(0.99, "e_x1_2"))
    run = study.pytest()
    assert run.code == 1, run.text
    assert run.counts(failed=1, passed=1)
    criterion = study.results()["criteria"]["accuracy"]
    assert (criterion["value"], criterion["decided_by"]) == (0.5, "e_x1_1")


def test_from_names_the_one_that_decides(study: Study) -> None:
    """With ``from`` the others report the metric without being judged by it."""
    study.plan(TWO.replace("{target: 0.9}", "{target: 0.9, from: e_x1_2}"))
    study.handlers(returns(0.5, "e_x1_1") + returns(0.99, "e_x1_2"))
    run = study.pytest()
    assert run.code == 0, run.text


def test_no_criterion_is_never_a_success(study: Study) -> None:
    """A plan that states no criterion proceeds to nothing."""
    study.plan("experiments:\n  x1-first:\n    sub_experiments: [e_x1_1]\n")
    study.handlers(returns(0.95))
    study.pytest()
    results = study.results()
    assert results["recommendation"] == "investigate"
    assert results["assessment"]["success_criteria_met"] is False
    assert results["recommendation_notes"] == (
        "The plan has no gating success criterion, so it does not define success."
    )


@pytest.mark.parametrize(("arguments", "code"), [((), 1), (("-k", "e_x1_1"), 0)])
def test_not_measured_fails_the_whole_only(study: Study, arguments: tuple[str, ...], code: int) -> None:
    """A criterion that nothing measured fails the whole experiment, not a part of it."""
    study.plan(TWO)
    study.handlers(
        "".join(f"def {n}(runner): return {{'metrics': {{'other': 1}}}}\n" for n in ("e_x1_1", "e_x1_2"))
    )
    run = study.pytest("experiments/", *arguments)
    assert run.code == code, run.text
    assert study.results()["recommendation"] == "investigate"
    if code:
        assert run.counts(passed=2, failed=1)
        assert (
            "completed → investigate. Not measured: accuracy (0 of 1 measured).\n"
            "  accuracy was not measured: no completed sub-experiment returned it.\n" in run.out
        )


@pytest.mark.parametrize(("severity", "code"), [("gate", 1), ("warn", 0), ("info", 0)])
def test_severity(study: Study, severity: str, code: int) -> None:
    """Only a gating criterion fails the run; a warning and an information are shown."""
    study.plan(PLAN.replace("0.5}", f"0.5, severity: {severity}}}\n      other: {{target: 1}}"))
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.1, 'other': 1}}\n")
    run = study.pytest()
    assert run.code == code, run.text
    words = {
        "gate": "failure",
        "warn": "failure (warning only)",
        "info": "failure (for information)",
    }
    assert f"  accuracy   0.100  ≥ 0.90  ≥ 0.80      {words[severity]} (≤ 0.50)" in run.out
    assert study.results()["recommendation"] == ("pivot" if code else "proceed")


@pytest.mark.parametrize(
    ("level", "value", "code"),
    [
        ("target", 0.85, 1),
        ("target", 0.9, 0),
        ("acceptable", 0.85, 0),
        ("acceptable", 0.7, 1),
        ("failure", 0.7, 0),
        ("failure", 0.5, 1),
    ],
)
def test_exp_level_moves_the_exit_code_alone(study: Study, level: str, value: float, code: int) -> None:
    """``--exp-level`` decides which tier passes this run; what is stored stays the same."""
    study.plan()
    study.handlers(returns(value))
    run = study.pytest("experiments/", "--exp-level", level)
    assert run.code == code, run.text
    assert study.results()["recommendation"] == ("proceed" if value >= 0.8 else "pivot")
    assert study.record()["options"] == {"level": level}


def test_exp_level_says_what_it_failed_for(study: Study) -> None:
    """A value that is acceptable and not enough for this run says that the target was asked for."""
    study.plan()
    study.handlers(returns(0.85))
    run = study.pytest("experiments/", "--exp-level", "target")
    assert run.code == 1, run.text
    assert "short of the 0.90 target" in run.out
    assert "--exp-level target" in run.out


def test_bounds(study: Study) -> None:
    """A value outside its bounds is inadmissible, however good it looks."""
    study.plan(PLAN.replace("0.5}", "0.5, bounds: [0, 1]}"))
    study.handlers(returns(1.2))
    run = study.pytest()
    assert run.code == 1, run.text
    assert (
        "accuracy = 1.200 does not count: e_x1_1 returned a value outside its bounds [0.0, 1.0]." in run.out
        or "accuracy = 1.200 does not count: e_x1_1 returned a value outside its bounds [0, 1]." in run.out
    )


# --- evidence -----------------------------------------------------------------------------------


def test_declared_evidence_is_refused(judged: Judged, study: Study) -> None:
    """Numbers that the handler declares simulated do not count unless the plan admits them."""
    run = judged("runner.evidence('simulated', 'no GPU here')\nreturn {'metrics': {'accuracy': 0.99}}")
    assert run.code == 1, run.text
    assert (
        "accuracy = 0.990 does not count: e_x1_1 declared its numbers as simulated (no GPU here); "
        "the plan admits only real." in run.out
    )
    results = study.results()
    assert results["recommendation"] == "investigate"
    assert results["criteria"]["accuracy"]["verdict"] == "inadmissible"


def test_declared_evidence_is_admitted(study: Study) -> None:
    """Where the plan admits the kind, it counts, with less confidence."""
    study.plan(PLAN.replace("0.5}", "0.5, evidence: [real, simulated]}"))
    study.handlers(
        "def e_x1_1(runner):\n    runner.evidence('simulated', 'toy')\n"
        "    return {'metrics': {'accuracy': 0.99}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    results = study.results()
    assert results["assessment"]["confidence"] == "low"
    assert "not all values are real measurements" in results["assessment"]["confidence_notes"]


def test_evidence_declared_by_a_fixture_counts(study: Study) -> None:
    """A fixture that fell back says so for the handler."""
    study.plan()
    study.handlers(
        "import pytest\n@pytest.fixture\ndef data(runner): runner.fallback('cached scores')\n"
        + returns(0.99).replace("(runner)", "(runner, data)")
    )
    run = study.pytest()
    assert run.code == 1, run.text
    assert "e_x1_1 declared its numbers as fallback (cached scores); the plan admits only real" in run.out


def test_an_unknown_kind_of_evidence(judged: Judged) -> None:
    """A misspelt kind is refused with the known ones."""
    run = judged("runner.evidence('simulatd', 'x')\nreturn {'metrics': {'accuracy': 1}}")
    assert run.code == 1, run.text
    assert (
        "unknown kind of evidence 'simulatd' (did you mean 'simulated'?); "
        "known: real, simulated, fallback, imported, stub" in run.out
    )


# --- stub ---------------------------------------------------------------------------------------


def test_a_stub_run_never_counts(study: Study) -> None:
    """``--exp-stub`` calls no handler, exits 0, and leaves the study not started."""
    study.plan(TWO)
    study.handlers("def e_x1_1(runner): open('ran', 'w')\n")
    run = study.pytest("experiments/", "--exp-stub")
    assert run.code == 0, run.text
    assert run.counts(passed=2)
    assert "ran" not in study.files()
    assert "STUB RUN: no handler was called and nothing was measured. A stub run never counts.\n" in run.out
    assert "  accuracy   –      ≥ 0.90  –           stub" in run.out
    assert not [f for f in study.files() if f.startswith("research/experiments/x1")]
    status = study.exprunner("status")
    assert "not started: x1-first" in status.out


def test_a_stub_run_changes_no_real_result(study: Study) -> None:
    """A stub run after a real one leaves every file of the real one as it was."""
    study.plan()
    study.handlers(returns(0.95))
    study.pytest()
    real = study.research / "experiments"
    before = {p: p.read_bytes() for p in real.rglob("*") if p.is_file()}
    assert study.pytest("experiments/", "--exp-stub").code == 0
    assert {p: p.read_bytes() for p in real.rglob("*") if p.is_file()} == before


def test_a_stub_run_with_a_gate_does_not_pass_the_gate(study: Study) -> None:
    """A gate that was asked for is never passed by a stub run."""
    study.plan(PLAN + "gates:\n  g1: {experiments: [x1-first]}\n")
    study.handlers(returns(0.95))
    run = study.pytest("experiments/", "--exp-stub", "--exp-gate", "g1")
    assert run.code != 0, run.text


def test_a_stub_run_finds_a_handler_that_cannot_be_imported(study: Study) -> None:
    """Imports are part of the harness: a stub run fails for them."""
    study.plan()
    study.handlers("import no_such_package_anywhere\n" + returns(0.95))
    assert study.pytest("experiments/", "--exp-stub").code == 2


# --- replaced -----------------------------------------------------------------------------------

REPLACED = """\
experiments:
  c1-old: {sub_experiments: [e_c1], success_criteria: {accuracy: {target: 0.9}}}
  p2-new: {sub_experiments: [e_p2], replaces: [c1-old], success_criteria: {accuracy: {target: 0.9}}}
gates:
  g1: {experiments: [c1-old]}
"""


def test_a_replaced_experiment_misses_as_expected(study: Study) -> None:
    """A miss of a replaced experiment is an expected failure, and it is pivoted."""
    study.plan(REPLACED)
    study.handlers(returns(0.1, "e_c1") + returns(0.95, "e_p2"))
    run = study.pytest("experiments/", "-rx")
    assert run.code == 0, run.text
    assert run.counts(passed=1, xfailed=1)
    assert "accuracy of 0.100 is below the 0.90 target by 0.800. c1-old was replaced by p2-new." in run.out
    assert study.results("c1-old")["status"] == "pivoted"
    assert "replaced by p2-new: misses are expected" in run.out


def test_a_replaced_experiment_that_meets_its_criteria(study: Study) -> None:
    """Met criteria pass plainly, are one line in the summary, and still pass no gate."""
    study.plan(REPLACED)
    study.handlers(returns(0.95, "e_c1") + returns(0.95, "e_p2"))
    run = study.pytest()
    assert run.code == 0, run.text
    assert run.counts(passed=2)
    assert (
        "  replaced by p2-new: misses are expected; it now meets all its criteria but cannot "
        "count as met\n" in run.out
    )
    gates = study.exprunner("gates", "g1")
    assert gates.code == 1
    assert gates.out == "g1: failed\n  c1-old was replaced by p2-new and cannot count as met\n"


def test_a_replaced_experiment_that_crashes_fails(study: Study) -> None:
    """Code that does not run is red, replaced or not."""
    study.plan(REPLACED)
    study.handlers("def e_c1(runner): raise ValueError\n" + returns(0.95, "e_p2"))
    run = study.pytest()
    assert run.code == 1, run.text
    assert "1 passed" in run.out


# --- reruns, markers, skips ---------------------------------------------------------------------

COUNTED = """\
from pathlib import Path
def e_x1_1(runner):
    seen = Path("count")
    n = len(seen.read_text()) if seen.exists() else 0
    seen.write_text("x" * (n + 1))
    if n < {crashes}:
        raise OSError("flaky")
    return {{"metrics": {{"accuracy": {values}[n]}}}}
"""


def test_a_rerun_never_improves_a_verdict(study: Study) -> None:
    """Of one run the first completed attempt decides, so running again until it passes is red."""
    study.plan()
    study.handlers(COUNTED.format(crashes=0, values=[0.1, 0.99, 0.99]))
    run = study.pytest("experiments/", "--reruns", "2", plugins=RERUNS)
    assert run.code == 1, run.text
    criterion = study.results()["criteria"]["accuracy"]
    assert (criterion["value"], criterion["attempt"]) == (0.1, 1)
    assert study.results()["recommendation"] == "pivot"


def test_a_rerun_after_a_crash_counts(study: Study) -> None:
    """A crash that a rerun overcomes leaves a measured result, and both attempts."""
    study.plan()
    study.handlers(COUNTED.format(crashes=1, values=[0, 0.95, 0.95]))
    run = study.pytest("experiments/", "--reruns", "2", plugins=RERUNS)
    assert run.code == 0, run.text
    results = study.results()
    assert results["criteria"]["accuracy"]["value"] == 0.95
    assert [a["status"] for a in results["attempts"]["e_x1_1"]] == ["failed", "completed"]


def test_a_flaky_marker_is_no_way_around(study: Study) -> None:
    """``@pytest.mark.flaky`` on a handler improves no verdict either."""
    study.plan()
    study.handlers(
        "import pytest\n"
        + COUNTED.format(crashes=0, values=[0.1, 0.99, 0.99]).replace(
            "def e_x1_1", "@pytest.mark.flaky(reruns=2)\ndef e_x1_1"
        )
    )
    run = study.pytest(plugins=RERUNS)
    assert run.code == 1, run.text
    assert study.results()["recommendation"] == "pivot"


@pytest.mark.parametrize(
    "text",
    [
        "import pytest\n@pytest.mark.xfail\n" + returns(0.1),
        "import pytest\n@pytest.mark.xfail\ndef e_x1_1(runner): raise ValueError\n",
        "import pytest\n@pytest.mark.xfail(run=False)\n" + returns(0.95),
        "import pytest\n@pytest.mark.skip(reason='later')\n" + returns(0.95),
        "import pytest\n@pytest.mark.skipif(True, reason='no GPU')\n" + returns(0.95),
        "import pytest\ndef e_x1_1(runner): pytest.skip('no GPU')\n",
        "import pytest\ndef e_x1_1(runner): pytest.xfail('known')\n",
        "import pytest\ndef e_x1_1(runner): pytest.importorskip('no_such_package')\n",
        "import pytest\npytest.skip('whole file', allow_module_level=True)\n" + returns(0.95),
        "import pytest\npytestmark = pytest.mark.skip\n" + returns(0.95),
        "import unittest\ndef e_x1_1(runner): raise unittest.SkipTest('no')\n",
        "import pytest\n@pytest.mark.parametrize('n', [])\n" + returns(0.95).replace("r)", "r, n)"),
        "import pytest\ndef e_x1_1(runner): pytest.exit('stop', returncode=0)\n",
        "import os\ndef e_x1_1(runner): runner.seed = 1\n",
    ],
)
@pytest.mark.parametrize("arguments", [("experiments/",), ("experiments/", "-k", "e_x1_1")])
def test_nothing_that_was_not_measured_is_green(study: Study, text: str, arguments: tuple[str, ...]) -> None:
    """Skipped, expected to fail, or never called: a selected handler without a result is red."""
    study.plan(TWO)
    study.handlers(text + returns(0.95, "e_x1_2"))
    run = study.pytest(*arguments)
    assert run.code != 0, run.text
    assert "INTERNALERROR" not in run.text
    assert "proceed" not in run.out


def test_a_skip_says_why(study: Study) -> None:
    """The reason of a skip stands in the failure of the experiment and in results.yaml."""
    study.plan()
    study.handlers("import pytest\ndef e_x1_1(runner): pytest.skip('no GPU here')\n")
    run = study.pytest()
    assert run.code == 1, run.text
    assert "  e_x1_1 was skipped: no GPU here.\n" in run.out
    entry = study.results()["results"]["experiments"]["e_x1_1"]
    assert (entry["status"], entry["reason"]) == ("skipped", "no GPU here")


# --- dependencies, blockers, gates --------------------------------------------------------------


def test_a_dependency_that_did_not_proceed_blocks(study: Study) -> None:
    """What depends on a miss is not run, and says which number blocks it."""
    study.plan(CHAIN)
    study.handlers("def e_b(runner): open('ran', 'w')\n" + returns(0.1, "e_a"))
    run = study.pytest()
    assert run.code == 1, run.text
    assert run.counts(failed=2), run.text
    assert "ran" not in study.files()
    assert "blocked: b needs a to proceed; it says pivot (accuracy 0.100 < 0.90)" in run.out
    assert study.results("b")["status"] == "blocked"
    assert "Completed: 1  Failed: 0  Skipped: 0  Blocked: 1  No handler: 0" in run.out


def test_dependencies_run_first(study: Study) -> None:
    """Whatever the order of files, an experiment runs after those it depends on."""
    study.plan(CHAIN)
    study.handlers(returns(0.95, "e_b"), "a_first.py")
    study.handlers(returns(0.95, "e_a"), "z_last.py")
    run = study.pytest("experiments/", "-v")
    assert run.code == 0, run.text
    assert run.out.index("::e_a PASSED") < run.out.index("::e_b PASSED")


def test_a_dependency_that_never_ran_blocks(study: Study) -> None:
    """Selected alone, an experiment is blocked by what has not started."""
    study.plan(CHAIN)
    study.handlers(returns(0.95, "e_a") + returns(0.95, "e_b"))
    run = study.pytest("experiments/", "-k", "e_b")
    assert run.code == 1, run.text
    assert "blocked: b needs a to proceed; it has not started" in run.out


def test_a_stored_dependency_counts(study: Study) -> None:
    """What proceeded in an earlier run need not run again."""
    study.plan(CHAIN)
    study.handlers(returns(0.95, "e_a") + returns(0.95, "e_b"))
    assert study.pytest("experiments/", "-m", "e_a").code == 0
    assert study.pytest("experiments/", "-m", "e_b").code == 0


def test_dependencies_can_be_ignored_for_once(study: Study) -> None:
    """``--exp-ignore-dependencies`` runs what is blocked and records that it did."""
    study.plan(CHAIN)
    study.handlers(returns(0.1, "e_a") + returns(0.95, "e_b"))
    run = study.pytest("experiments/", "-m", "e_b", "--exp-ignore-dependencies")
    assert run.code == 0, run.text
    assert study.record("e_b", 1, "b")["options"] == {
        "level": "acceptable",
        "ignore_dependencies": True,
    }


@pytest.mark.parametrize("key", ["dependencies: [g1]", "unlocks"])
def test_a_gate_blocks_what_it_guards(study: Study, key: str) -> None:
    """A gate named as a dependency, or one that unlocks an experiment, must have passed first."""
    unlocks = ", unlocks: [b]" if key == "unlocks" else ""
    depends = "" if unlocks else f", {key}"
    study.plan(
        "experiments:\n"
        "  a: {sub_experiments: [e_a], success_criteria: {accuracy: {target: 0.9}}}\n"
        f"  b: {{sub_experiments: [e_b], success_criteria: {{accuracy: {{target: 0.9}}}}{depends}}}\n"
        f"gates:\n  g1: {{experiments: [a]{unlocks}}}\n"
    )
    study.handlers(returns(0.95, "e_b") + returns(0.1, "e_a"))
    run = study.pytest()
    assert run.code == 1, run.text
    assert run.counts(failed=2)
    assert "blocked: b needs g1 to pass; a says pivot: Not met: accuracy 0.100 (needs ≥ 0.90)" in run.out
    study.handlers(returns(0.95, "e_b") + returns(0.95, "e_a"))
    assert study.pytest().code == 0


def test_blockers_block(study: Study) -> None:
    """A blocker that a person named keeps the experiment from running, and from proceeding."""
    study.plan(PLAN + "    blockers: [Waiting for the licence]\n")
    study.handlers(returns(0.95))
    run = study.pytest()
    assert run.code == 1, run.text
    assert "blocked: x1-first is blocked by: Waiting for the licence" in run.out
    results = study.results()
    assert (results["status"], results["recommendation"]) == ("blocked", "block")


def test_a_blocker_named_after_a_success(study: Study) -> None:
    """A success of yesterday does not proceed once a person names a blocker."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    study.handlers(returns(0.95))
    assert study.pytest().code == 0
    study.plan(PLAN + "    blockers: [Data leak found]\ngates: {g1: {experiments: [x1-first]}}\n")
    assert study.exprunner("gates").code == 3
    assert "block" in study.exprunner("status").out


@pytest.mark.parametrize(
    ("value", "code", "state"), [(0.95, 0, "passed"), (0.1, 1, "failed"), (None, 1, "pending")]
)
def test_exp_gate(study: Study, value: float | None, code: int, state: str) -> None:
    """``--exp-gate`` makes a run fail unless the gate has passed, by its stored results too."""
    study.plan(
        PLAN + "  x2: {sub_experiments: [e_2], success_criteria: {accuracy: {target: 0}}}\n"
        "gates:\n  g1: {experiments: [x1-first]}\n"
    )
    study.handlers(returns(1, "e_2") + (returns(value) if value is not None else ""))
    if value is not None:
        study.pytest("experiments/", "-k", "e_x1_1")
    run = study.pytest("experiments/", "-k", "e_2", "--exp-gate", "g1")
    assert run.code == code, run.text
    if code:
        assert "FAILED research/research_plan.yaml::g1" in run.out
        assert f"gate status: {state}" in run.out
    assert study.exprunner("gates", "g1").code == {"passed": 0, "failed": 1, "pending": 3}[state]


def test_exp_gate_all(study: Study) -> None:
    """``--exp-gate all`` asks for every gate."""
    study.plan(PLAN + "gates:\n  g1: {experiments: [x1-first]}\n  g2: {experiments: [x1-first]}\n")
    study.handlers(returns(0.1))
    run = study.pytest("experiments/", "--exp-gate", "all")
    assert run.counts(failed=3), run.text


def test_an_unknown_gate(study: Study) -> None:
    """A misspelt gate is a usage error before anything runs."""
    study.plan(PLAN + "gates:\n  gate_1_fidelity: {experiments: [x1-first]}\n")
    study.handlers(returns(0.95))
    run = study.pytest("experiments/", "--exp-gate", "gate_1_fidelty")
    assert run.code == 4
    assert run.err.strip() == (
        "ERROR: --exp-gate: unknown gate 'gate_1_fidelty' (did you mean 'gate_1_fidelity'?); "
        "known: gate_1_fidelity"
    )
    study.plan()
    run = study.pytest("experiments/", "--exp-gate", "all")
    assert (run.code, run.err.strip()) == (4, "ERROR: --exp-gate: the plan has no gates")


# --- stopping early -----------------------------------------------------------------------------


@pytest.mark.parametrize("argument", ["-x", "--maxfail=1"])
def test_stopping_at_the_first_failure(study: Study, argument: str) -> None:
    """What was not reached stays unfinished: it neither passes nor keeps an old success."""
    study.plan(TWO)
    study.handlers(returns(0.95, "e_x1_1") + returns(0.95, "e_x1_2"))
    assert study.pytest().code == 0
    study.handlers(returns(0.1, "e_x1_1") + returns(0.95, "e_x1_2"))
    run = study.pytest("experiments/", argument)
    assert run.code in {1, 2}, run.text
    assert (
        "Completed: 1  Failed: 0  Skipped: 0  Blocked: 0  No handler: 0  Unfinished: 1 (--exp-resume continues)\n"
        in run.out
    )
    results = study.results()
    assert results["recommendation"] != "proceed"
    assert results["results"]["experiments"]["e_x1_2"]["status"] == "in_progress"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_during_a_handler(study: Study, number: signal.Signals) -> None:
    """Interrupted or killed, a run leaves whole files that say in progress, and the exit code is not 0."""
    study.plan(TWO)
    study.handlers(returns(0.95, "e_x1_1") + returns(0.95, "e_x1_2"))
    assert study.pytest().code == 0
    study.handlers(
        returns(0.95, "e_x1_1")
        + "def e_x1_2(runner):\n    import time\n    runner.log_metrics({'loss': 0.5})\n"
        "    open('running', 'w')\n    time.sleep(30)\n"
    )
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("EXPRUNNER_", "PYTEST_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "exprunner", "experiments/"],
        cwd=study.root,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    started = time.monotonic()
    while not (study.root / "running").exists() and time.monotonic() - started < 60:
        time.sleep(0.02)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -number if number is signal.SIGKILL else 2, output
    status = study.exprunner("status", "--json")
    assert '"recommendation": "proceed"' not in status.out
    results = study.results()
    assert results["status"] == "in_progress"
    assert results["recommendation"] == "investigate"
    if number is not signal.SIGKILL:
        assert "KeyboardInterrupt" in output
        assert "x1-first  in progress → investigate" in output
        assert results["results"]["experiments"]["e_x1_1"]["status"] == "completed"
    events = study.attempt("e_x1_2", 2) / "events.jsonl"
    assert '"loss":0.5' in events.read_text().replace(" ", "")
    study.handlers(returns(0.95, "e_x1_1") + returns(0.95, "e_x1_2"))
    again = study.pytest()
    assert again.code == 0, again.text
    assert study.results()["recommendation"] == "proceed"
    assert not list((study.research / ".exprunner" / "runs").glob("*"))


def test_a_handler_that_raises_keyboard_interrupt(study: Study) -> None:
    """KeyboardInterrupt ends the run with exit 2, and the attempt is unfinished."""
    study.plan(TWO)
    study.handlers("def e_x1_1(runner): raise KeyboardInterrupt\n" + returns(0.95, "e_x1_2"))
    run = study.pytest()
    assert run.code == 2, run.text
    results = study.results()
    assert results["status"] == "in_progress"
    assert results["results"]["experiments"]["e_x1_1"]["reason"] == "KeyboardInterrupt stopped it"


@pytest.mark.parametrize("before", [None, 0.95])
def test_a_handler_that_ends_the_process(study: Study, before: float | None) -> None:
    """After ``os._exit(0)`` the run has failed, and no command ever says proceed: it is unfinished."""
    study.plan(PLAN + "gates: {g1: {experiments: [x1-first]}}\n")
    if before is not None:
        study.handlers(returns(before))
        assert study.pytest().code == 0
    study.handlers("import os\ndef e_x1_1(runner): os._exit(0)\n")
    run = study.pytest()
    assert run.code == 1
    assert "e_x1_1 called os._exit(0): the run ends here and is incomplete." in run.err
    status = study.exprunner("status")
    assert "x1-first  in progress → investigate" in status.out
    assert "proceed" not in status.out
    assert study.exprunner("gates").code == 3
    assert study.exprunner("report").code == 0
    assert "proceed" not in study.findings()
    assert study.results()["status"] == "in_progress"


MET = "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n"
BEFORE = "import pytest, os\n@pytest.fixture(autouse=True)\ndef ready():\n"


@pytest.mark.parametrize(
    ("code", "who"),
    [
        ("from os import _exit\ndef e_x1_1(runner): _exit(0)\n", "e_x1_1"),
        (f"{BEFORE}    os._exit(0)\n{MET}", "e_x1_1"),
        (f"{BEFORE}    yield\n    os._exit(0)\n{MET}", "e_x1_1"),
        (f"import os\nos._exit(0)\n{MET}", "code outside any handler"),
    ],
    ids=["bound early", "setup", "teardown", "import"],
)
def test_a_process_that_is_ended_elsewhere(study: Study, code: str, who: str) -> None:
    """Wherever ``os._exit(0)`` is called, the run is no success, and says who ended it."""
    study.plan()
    study.handlers(code)
    run = study.pytest()
    assert run.code == 1, run.text
    assert (
        f"{who} called os._exit(0): the run ends here and is incomplete. '--exp-executor subprocess' "
        "protects the others.\n"
    ) in run.err


@pytest.mark.parametrize("way", ["return {'metrics': {'accuracy': 1.0}}", "raise ValueError"])
@pytest.mark.parametrize("executor", ["inline", "subprocess"])
def test_a_forked_process_that_comes_back(study: Study, way: str, executor: str) -> None:
    """What a handler forks has no say: it neither takes the place of the result nor runs the rest."""
    study.plan(PLAN.replace("[e_x1_1]", "[e_x1_1, e_x1_2]").replace("failure: 0.5", "from: e_x1_1"))
    study.handlers(
        f"""\
        import os

        def e_x1_1(runner):
            child = os.fork()
            if child == 0:
                {way}
            _pid, status = os.waitpid(child, 0)
            return {{"metrics": {{"accuracy": 0.1, "code": os.waitstatus_to_exitcode(status)}}}}

        def e_x1_2(runner):
            with open("ran", "a") as file:
                file.write("once ")
            return {{}}
        """
    )
    run = study.pytest("experiments", f"--exp-executor={executor}")
    assert run.code == 1
    assert study.record()["metrics"] == {"accuracy": 0.1, "code": 70}
    assert (study.root / "ran").read_text() == "once "
    log = (study.attempt() / "log.txt").read_text()
    assert "a forked process returned from the handler; it was ended and does not count" in log


def test_a_handler_that_replaces_the_process(study: Study) -> None:
    """Another program in the place of the run would end it with its own exit code."""
    study.plan()
    study.handlers("import os\ndef e_x1_1(runner): os.execvp('true', ['true'])\n")
    run = study.pytest()
    assert run.code == 1
    assert (
        "RuntimeError: os.execv would replace the process that controls the run; start another with "
        "subprocess.run, or call the handler with --exp-executor subprocess\n"
    ) in run.out
    assert "x1-first  failed → investigate" in run.out


@pytest.mark.parametrize("hook", ["pytest_sessionstart", "pytest_collection_modifyitems"])
def test_a_plugin_that_leaves_as_if_all_were_well(study: Study, hook: str) -> None:
    """``pytest.exit`` with exit code 0, before anything was run, is no success."""
    study.plan()
    study.handlers(MET)
    study.write("conftest.py", f"import pytest\ndef {hook}(): pytest.exit('no gpu here', returncode=0)\n")
    run = study.pytest()
    assert run.code == 1
    assert "no gpu here" in run.text


def test_a_conftest_that_exits(study: Study) -> None:
    """``sys.exit(0)`` in a conftest file of handlers is an error; elsewhere it is what it always was."""
    study.plan()
    study.handlers(MET)
    study.write("experiments/conftest.py", "import sys\nsys.exit(0)\n")
    run = study.pytest()
    assert run.code == 4
    words = "a conftest file ended the run with sys.exit(0); nothing was run, so this is not a success"
    assert words in run.err
    study.write("tests/conftest.py", "import sys\nsys.exit(0)\n")
    assert study.pytest("tests").code == 0


@pytest.mark.parametrize(
    "body",
    [
        "import os, tempfile; os.chdir(tempfile.mkdtemp())",
        "import sys; sys.stdout = None; sys.stderr = None",
        "import os; os.environ.clear()",
        "import os; os.umask(0o777)",
        "import os; os.close(1); os.close(2)",
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "import sys; sys.path.clear()",
        "import sys; sys.setrecursionlimit(120)",
        "import time; time.time = lambda: 0.0",
        "import locale, os; os.environ['LC_ALL'] = 'C'",
        "import warnings; warnings.simplefilter('error'); warnings.warn('careful') if False else None",
        "import logging; logging.disable(); logging.shutdown()",
        "import builtins; builtins.print = None",
    ],
)
def test_what_a_handler_does_to_its_process(study: Study, body: str) -> None:
    """A handler that changes its process harms neither its own record nor the next handler's."""
    study.plan(TWO)
    study.handlers(
        f"def e_x1_1(runner):\n    {body}\n    return {{'metrics': {{'accuracy': 0.95}}}}\n"
        + returns(0.96, "e_x1_2")
    )
    run = study.pytest()
    results = study.results()
    assert results["results"]["experiments"]["e_x1_1"]["metrics"] == {"accuracy": 0.95}, run.text
    assert results["results"]["experiments"]["e_x1_2"]["metrics"] == {"accuracy": 0.96}, run.text
    assert results["recommendation"] == "proceed"
    assert "INTERNALERROR" not in run.text
    assert (study.research / "experiments" / "x1-first" / "results.yaml").stat().st_mode & 0o400


def test_a_handler_that_closes_stdout(study: Study) -> None:
    """Closing the stream that pytest captures with makes the run red and loses no measurement."""
    study.plan(TWO)
    study.handlers(
        "def e_x1_1(runner):\n    import sys\n    sys.stdout.close()\n"
        "    return {'metrics': {'accuracy': 0.95}}\n" + returns(0.96, "e_x1_2")
    )
    run = study.pytest()
    assert run.code == 1, run.text
    assert study.record()["metrics"] == {"accuracy": 0.95}
    assert study.results()["recommendation"] == "investigate"


def test_what_a_handler_leaves_behind_does_not_reach_the_next(study: Study) -> None:
    """The working folder and the umask are the run's again when the next handler starts."""
    study.plan(TWO)
    study.handlers(
        "import os, tempfile\n"
        "def e_x1_1(runner):\n    os.chdir(tempfile.gettempdir())\n    os.umask(0o777)\n"
        "    return {'metrics': {'accuracy': 0.95}}\n"
        "def e_x1_2(runner):\n    open('relative', 'w').close()\n"
        "    return {'metrics': {'accuracy': 0.95}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert (study.root / "relative").stat().st_mode & 0o400


# --- variants -----------------------------------------------------------------------------------

VARIANTS = """\
import pytest
@pytest.mark.parametrize("n", [1, 2])
def e_x1_1(runner, n): return {{"metrics": {{"accuracy": {values}[n - 1]}}}}
"""


def test_a_missed_variant_does_not_vanish(study: Study) -> None:
    """Running the good variant again by its node id leaves the missed one counting."""
    study.plan()
    study.handlers(VARIANTS.format(values=[0.1, 0.95]))
    assert study.pytest().code == 1
    study.pytest("experiments/handlers.py::e_x1_1[2]")
    assert study.results()["recommendation"] == "pivot"
    assert study.results()["criteria"]["accuracy"]["value"] == 0.1


def test_last_failed_leaves_the_other_variants(study: Study) -> None:
    """``--lf`` runs one variant; the others keep counting."""
    study.plan()
    study.handlers(VARIANTS.format(values=[0.1, 0.95]))
    assert study.pytest().code == 1
    study.handlers(VARIANTS.format(values=[0.93, 0.95]))
    run = study.pytest("experiments/", "--lf")
    assert run.code == 0, run.text
    variants = study.results()["results"]["experiments"]["e_x1_1"]["variants"]
    assert [v["metrics"]["accuracy"] for v in variants] == [0.93, 0.95]


def test_a_variant_that_is_gone_is_kept_in_the_history(study: Study) -> None:
    """A variant that the handler no longer defines stops counting and stays in the history."""
    study.plan()
    study.handlers(VARIANTS.format(values=[0.1, 0.95]))
    study.pytest()
    study.handlers(VARIANTS.format(values=[0.1, 0.95]).replace("[1, 2]", "[2]"))
    assert study.pytest().code == 0
    history = study.results()["attempts"]["e_x1_1"]
    assert [(p["variant"], p["verdicts"]["accuracy"]) for p in history] == [
        ("1", "failure"),
        ("2", "target"),
        ("2", "target"),
    ]
