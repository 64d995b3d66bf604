"""Seeds, samples, baselines, one attempt for all criteria, waivers: how real runs are judged by them."""

from __future__ import annotations

import re
import shutil

import pytest
from study_folder import PLAN as DEFAULT_PLAN
from study_folder import Run, Study

PLAN = """\
experiments:
  x1-first:
    sub_experiments:
      e_x1_1: {{seeds: [0, 1, 2]}}
      e_x1_2: {{needs: [e_x1_1], seeds: [0, 1, 2]}}
    success_criteria:
      accuracy: {{target: {target}, from: e_x1_1}}
"""
SEEDED = """\
import json, pathlib, random

VALUES = {values}

def e_x1_1(runner):
    runner.results.save_artifact("model.txt", f"model of seed {{runner.seed}}")
    drawn = random.random()
    assert drawn == random.Random(runner.seed).random(), "python's numbers follow the seed"
    return {{"finding": f"Seed {{runner.seed}}.", "metrics": {{"accuracy": VALUES[runner.seed]}}}}

def e_x1_2(runner):
    model = runner.needs["e_x1_1"].artifact("model.txt").read_text()
    other = runner.needs["e_x1_1 seed 0"].artifact("model.txt").read_text()
    return {{"finding": f"{{model}}, {{other}}", "metrics": {{"rows": 1}}}}
"""


def seeded(study: Study, *values: float, target: float = 0.7) -> None:
    """Write a study whose handler returns one value per seed."""
    study.plan(PLAN.format(target=target))
    study.handlers(SEEDED.format(values=list(values)))


def row(run: Run, name: str) -> str:
    """The line of a criterion in the summary's table, its spaces made single."""
    return next(
        " ".join(line.split()) for line in run.out.splitlines() if line.strip().startswith(f"{name} ")
    )


@pytest.mark.parametrize("arguments", [(), ("-n2", "-p", "xdist"), ("--exp-executor=subprocess",)])
def test_one_attempt_per_seed(study: Study, arguments: tuple[str, ...]) -> None:
    """Each is an item; their mean decides, with its interval; an attempt reads what its own seed left."""
    seeded(study, 0.80, 0.82, 0.84)
    run = study.pytest("experiments", *arguments)
    assert run.code == 0, run.text
    assert "6 passed" in run.out
    assert row(run, "accuracy") == "accuracy 0.820 ± 0.050 ≥ 0.70 – target"
    assert "x1-first  completed → proceed (confidence: high)" in run.out
    entry = study.results()["criteria"]["accuracy"]
    assert (entry["n"], entry["method"], entry["decided_by"]) == (3, "t over seeds", "e_x1_1")
    assert entry["interval"] == pytest.approx([0.770317, 0.869683], abs=1e-6)
    found = study.results()["results"]["experiments"]["e_x1_2"]["variants"]
    assert [(v["seed"], v["finding"]) for v in found] == [
        (seed, f"model of seed {seed}, model of seed 0") for seed in (0, 1, 2)
    ]
    findings = (study.research / "experiments/x1-first/FINDINGS.md").read_text()
    assert (
        "accuracy of 0.820 (mean of 3 seeds, 95 % interval 0.77 to 0.87, t over seeds) is above the 0.70 target."
        in findings
    )
    assert "accuracy: 3 seeds, standard deviation 0.020" in findings
    # Not ±, which is the interval in the table above.
    assert "| **accuracy** | 0.820 (SD 0.020) | 0.800 | 0.820 | 0.840 |" in findings


def test_seeds_that_straddle_the_tier(study: Study) -> None:
    """Met by the mean and not settled: borderline, with how many more seeds it may take."""
    seeded(study, 0.66, 0.72, 0.78)
    run = study.pytest("experiments", "-v")
    assert run.code == 0, run.text
    assert row(run, "accuracy") == "accuracy 0.720 ± 0.15 ≥ 0.70 – target, borderline — needs review"
    assert (
        "accuracy of 0.720 (mean of 3 seeds, 95 % interval 0.571 to 0.869, t over seeds) is above the 0.70 "
        "target; its interval includes 0.70, so it is not settled and needs review; about 35 more "
        "seeds would settle it at this spread." in run.text
    )
    assert "(confidence: low)" in run.out
    assert (
        "confidence low: Measured 1 of 1 gating criterion; accuracy: 3 seeds, standard deviation 0.060; "
        "accuracy is borderline." in run.text
    )
    assert "to review: x1-first: accuracy of 0.720" in study.exprunner("status").text


def test_seeds_that_miss(study: Study) -> None:
    """No item fails for it; the experiment does, and exit code and gate say so."""
    seeded(study, 0.60, 0.62, 0.64)
    run = study.pytest()
    assert run.code == 1
    assert "1 failed, 6 passed" in run.out
    assert "research_plan.yaml::x1-first" in run.out
    assert "accuracy of 0.620 (mean of 3 seeds" in run.out


def test_the_best_seed_alone(study: Study) -> None:
    """A run of one seed leaves the others unfinished: nothing proceeds on it."""
    seeded(study, 0.95, 0.1, 0.1)
    run = study.pytest("experiments", "-k", "seed0 and e_x1_1")
    assert run.code == 0
    assert "x1-first  in progress → investigate" in run.out
    assert study.exprunner("status").code == 0
    whole = study.pytest("experiments", "--exp-resume")
    assert whole.code == 1
    assert study.results()["criteria"]["accuracy"]["verdict"] == "missed"
    assert [a["attempt"] for a in study.results()["attempts"]["e_x1_1"]] == [1, 2, 3]


def test_more_seeds_and_then_fewer(study: Study) -> None:
    """What was asked for counts from then on: asking for fewer leaves no bad seed out."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': [0.95, 0.96, 0.1, 0.1][runner.seed]}}"
    )
    first = study.pytest("experiments", "--exp-seeds=4")
    assert first.code == 1
    assert study.results()["criteria"]["accuracy"]["n"] == 4
    again = study.pytest("experiments", "--exp-seeds=2")
    assert again.code == 1
    assert study.results()["criteria"]["accuracy"]["n"] == 4
    assert study.results()["criteria"]["accuracy"]["verdict"] != "target"


def test_a_seed_that_was_dropped_from_the_plan(study: Study) -> None:
    """It stays, does not count, and is told with its value."""
    seeded(study, 0.80, 0.82, 0.10)
    assert study.pytest().code == 1
    study.plan(PLAN.format(target=0.7).replace("[0, 1, 2]", "[0, 1]"))
    run = study.pytest()
    assert "accuracy" in row(run, "accuracy")
    assert study.results()["criteria"]["accuracy"]["verdict"] == "target"
    assert (
        "e_x1_1 was also run with seed 2 (accuracy 0.100), no longer in the plan; kept but not counted."
        in study.results()["issues"]
    )
    assert study.results()["assessment"]["confidence"] == "low"


def test_seeds_that_change_nothing(study: Study) -> None:
    """The very same value each time is no spread to be sure of."""
    seeded(study, 0.8, 0.8, 0.8)
    assert study.pytest().code == 0
    assert study.results()["assessment"]["confidence"] == "medium"
    assert study.results()["assessment"]["confidence_notes"].endswith(
        "accuracy: 3 seeds gave exactly the same value; either the metric does not depend on the seed "
        "or the handler ignores runner.seed."
    )


def test_seeds_beside_variants(study: Study) -> None:
    """Every variant has every seed, and each variant's mean must meet the criterion."""
    study.plan(PLAN.format(target=0.7).replace("      e_x1_2: {needs: [e_x1_1], seeds: [0, 1, 2]}\n", ""))
    study.handlers(
        "import pytest\n"
        "@pytest.mark.parametrize('rate', [0.1, 0.2], ids=['a', 'b'])\n"
        "def e_x1_1(runner, rate):\n"
        "    return {'metrics': {'accuracy': 0.9 - rate * runner.seed}}\n"
    )
    run = study.pytest("experiments", "-v")
    assert run.code == 0, run.text
    for name in ("a-seed0", "b-seed2"):
        assert f"e_x1_1[{name}] PASSED" in run.out
    entry = study.results()["criteria"]["accuracy"]
    assert (entry["decided_by"], entry["value"]) == ("e_x1_1[b]", pytest.approx(0.7))
    assert study.record("e_x1_1", 6)["key"]["variant"] == "b"


def test_a_failed_seed(study: Study) -> None:
    """It fails as itself, and the experiment does not proceed on the others."""
    seeded(study, 0.8, 0.8, 0.8)
    study.handlers(
        "def e_x1_1(runner):\n    assert runner.seed != 1\n    return {'metrics': {'accuracy': 0.8}}\n"
        "def e_x1_2(runner): return {'metrics': {'rows': 1}}\n"
    )
    run = study.pytest()
    assert run.code == 1
    assert study.results()["recommendation"] == "investigate"
    assert study.results()["results"]["experiments"]["e_x1_1"]["status"] == "failed"


@pytest.mark.parametrize("again", ["e_x1_1 and seed2", "e_x1_1"])
def test_a_seed_that_was_tried_again(study: Study, again: str) -> None:
    """A miss of all seeds together is remembered, and so is that their code differs."""
    seeded(study, 0.9, 0.91, 0.1)
    assert study.pytest().code == 1
    seeded(study, 0.9, 0.91, 0.92)
    study.pytest("experiments", "-k", again)
    results = study.results()
    assert results["criteria"]["accuracy"]["verdict"] == "target"
    [note, *others] = [issue for issue in results["issues"] if "accuracy" in issue or "code" in issue]
    if "seed2" in again:
        assert note == ("The current attempts of e_x1_1 come from different code: seeds 0 and 1; seed 2.")
        [note] = others
    assert note.startswith("accuracy was not met in run ")
    assert note.endswith(" with 0.637; it is met now. All attempts are kept.")
    assert results["assessment"]["confidence"] == "low"
    assert study.exprunner("report").code == 0
    assert study.results()["issues"] == results["issues"]


ASKED = "def e_x1_1(runner): return {{'metrics': {{'accuracy': {values}[runner.seed]}}}}\n"


def test_what_was_asked_for_stays(study: Study) -> None:
    """Neither lost records, nor running some of the seeds, leave any of them out."""
    study.plan()
    study.handlers(ASKED.format(values=[0.95, 0.96, 0.1, 0.1]))
    assert study.pytest("experiments", "--exp-seeds=4", "-k", "seed1").code == 0
    assert study.results()["recommendation"] == "investigate"
    assert study.pytest("experiments", "--exp-seeds=4").code == 1
    attempts = study.research / "experiments/x1-first/attempts/e_x1_1"
    for number in ("0004", "0005"):
        shutil.rmtree(attempts / number)
    assert study.exprunner("report").code == 0
    assert study.results()["criteria"]["accuracy"]["n"] == 4
    shutil.rmtree(attempts)
    assert study.pytest("experiments", "--exp-seeds=2").code == 1
    assert study.results()["criteria"]["accuracy"]["n"] == 4


@pytest.mark.parametrize("body", ["return {'metrics': {'accuracy': 0.1}}", "raise RuntimeError('broken')"])
def test_a_plain_run_after_seeds_were_asked_for(study: Study, body: str) -> None:
    """Yesterday's seeds do not stand in for what is run today."""
    study.plan(DEFAULT_PLAN + "gates: {gate_1: {experiments: [x1-first]}}\n")
    study.handlers(ASKED.format(values=[0.95, 0.96, 0.97]))
    assert study.pytest("experiments", "--exp-seeds=3", "--exp-gate=gate_1").code == 0
    study.handlers(f"def e_x1_1(runner): {body}\n")
    assert study.pytest("experiments", "--exp-gate=gate_1").code == 1
    assert study.results()["recommendation"] != "proceed"
    assert study.exprunner("gates").code != 0


def test_a_crashed_seed_that_was_dropped(study: Study) -> None:
    """What became of it is told, though it left no value."""
    seeded(study, 0.8, 0.81, 0.82)
    study.handlers(
        "def e_x1_1(runner):\n    assert runner.seed != 2\n"
        "    return {'metrics': {'accuracy': 0.8 + runner.seed / 100}}\n"
        "def e_x1_2(runner): return {'metrics': {'rows': 1}}\n"
    )
    assert study.pytest().code == 1
    entry = study.results()["criteria"]["accuracy"]
    assert (entry["verdict"], entry["reason"]) == (
        "not_measured",
        "2 of 3 seeds of e_x1_1 have completed, with the mean 0.805",
    )
    assert study.results()["assessment"]["success_criteria_met"] is False
    study.plan(PLAN.format(target=0.7).replace("[0, 1, 2]", "[0, 1]"))
    study.pytest("experiments", "--exp-resume")
    assert (
        "e_x1_1 was also run with seed 2 (failed), no longer in the plan; kept but not counted."
        in (study.results()["issues"])
    )


@pytest.mark.parametrize("returned", ["None", "'high'"])
def test_seeds_that_do_not_measure(study: Study, returned: str) -> None:
    """A part of the run that decides a criterion and lacks it fails, as it does without seeds."""
    seeded(study, 0.8, 0.81, 0.82)
    study.handlers(
        f"def e_x1_1(runner): return {{'metrics': {{'accuracy': {returned}}}}}\n"
        "def e_x1_2(runner): return {'metrics': {'rows': 1}}\n"
    )
    run = study.pytest("experiments", "-k", "e_x1_1")
    assert run.code == 1
    assert "accuracy was not measured: e_x1_1 seed 0 returned" in run.out


def test_one_seed_after_the_other(study: Study) -> None:
    """A dependent with a seed waits for that seed alone."""
    seeded(study, 0.80, 0.82, 0.84)
    run = study.pytest("experiments", "-k", "seed0")
    assert "2 passed" in run.out, run.text


def test_stub_items_have_seeds(study: Study) -> None:
    """Also where there is no handler yet."""
    study.plan(PLAN.format(target=0.7))
    study.handlers("def e_x1_1(runner): ...\n")
    run = study.pytest("experiments", "--exp-stub")
    assert "6 passed" in run.out, run.text
    assert "x1-first  completed" in run.out


def test_the_same_value_near_the_tier(study: Study) -> None:
    """No spread is no certainty: the margin of a single run holds."""
    seeded(study, 0.7001, 0.7001, 0.7001)
    assert study.pytest().code == 0
    assert study.results()["criteria"]["accuracy"]["borderline"] is True


# --- samples ----------------------------------------------------------------------------------


def test_an_interval_from_samples(study: Study) -> None:
    """Zeros and ones give Wilson's interval, which also stands in results.yaml without the records."""
    study.plan(PLAN.format(target=0.7).replace(", seeds: [0, 1, 2]", "").replace("{seeds: [0, 1, 2]}", "{}"))
    study.handlers(
        "def e_x1_1(runner):\n"
        "    correct = [True] * 81 + [False] * 19\n"
        "    runner.log_samples('accuracy', correct[:50])\n"
        "    runner.log_samples('e_x1_1/accuracy', correct[50:])\n"
        "    return {'metrics': {'accuracy': 0.81}}\n"
        "def e_x1_2(runner): return {'metrics': {'rows': 1}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert row(run, "accuracy") == "accuracy 0.810 [0.722, 0.875] ≥ 0.70 – target"
    entry = study.results()["criteria"]["accuracy"]
    assert (entry["n"], entry["method"]) == (100, "Wilson over samples")
    assert "100 samples of one run" in study.results()["assessment"]["confidence_notes"]
    for record in sorted((study.research / "experiments/x1-first/attempts").rglob("record.json")):
        record.unlink()
        for rest in ("events.jsonl", "log.txt"):
            (record.parent / rest).unlink(missing_ok=True)
        record.parent.rmdir()
    assert study.exprunner("report").code == 0
    assert study.results()["criteria"]["accuracy"]["interval"] == entry["interval"]


def test_samples_of_something_else(study: Study) -> None:
    """Where their mean is not what was returned, no interval follows, and that is said."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner):\n"
        "    runner.log_samples('accuracy', [0.1, 0.2, 0.3])\n"
        "    return {'metrics': {'accuracy': 0.95}}\n"
    )
    run = study.pytest("experiments", "-v")
    assert run.code == 0
    assert "No interval: its samples have the mean 0.2, which differs from the returned value." in run.text
    assert study.results()["criteria"]["accuracy"]["interval"] is None


# --- baselines --------------------------------------------------------------------------------


def test_baselines(study: Study) -> None:
    """Of the same attempt, of another sub-experiment of another experiment, and seed by seed."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments: {e_x1_1: {seeds: [0, 1, 2]}}
            success_criteria:
              gain: {metric: cosine, minus: copy, target: 0.02, failure: -0.01}
              speed_up: {metric: seconds, over: e_x2_1/seconds, target: 0.8, direction: lower}
          x2-base:
            sub_experiments: {e_x2_1: {seeds: [0, 1, 2]}}
        """
    )
    study.handlers(
        "def e_x1_1(runner):\n"
        "    return {'metrics': {'cosine': 0.9 + runner.seed, 'copy': 0.85 + runner.seed, "
        "'seconds': 1.0 + runner.seed}}\n"
        "def e_x2_1(runner): return {'metrics': {'seconds': 2.0 + 2 * runner.seed}}\n"
    )
    run = study.pytest()
    entries = study.results("x1-first")["criteria"]
    assert (entries["gain"]["verdict"], entries["gain"]["value"]) == ("target", pytest.approx(0.05))
    assert entries["gain"]["sd"] == pytest.approx(0.0, abs=1e-9)  # paired: the seed's own level cancels
    assert (entries["speed_up"]["value"], entries["speed_up"]["n"]) == (0.5, 3)
    assert run.code == 0, run.text


def test_a_baseline_that_is_not_there(study: Study) -> None:
    """The criterion is not measured, and says what is missing."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments: {e_x1_1: {seeds: [0, 1]}, e_x1_2: {seeds: [0, 5]}}
            success_criteria:
              gain: {metric: cosine, minus: e_x1_2/cosine, target: 0.02, from: e_x1_1}
              ratio: {metric: cosine, over: nothing, target: 0.02, from: e_x1_1}
              zero: {metric: cosine, over: naught, target: 0.02, from: e_x1_1}
        """
    )
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'cosine': 0.9, 'naught': 0}}\n"
        "def e_x1_2(runner): return {'metrics': {'cosine': 0.9}}\n"
    )
    run = study.pytest()
    assert run.code == 1
    reasons = {name: entry["reason"] for name, entry in study.results()["criteria"].items()}
    assert reasons == {
        "gain": "e_x1_1 seed 1 has seed 1 and its baseline e_x1_2 has 0 and 5; both need the same seeds",
        "ratio": "e_x1_1 seed 0 did not return its baseline nothing",
        "zero": "its baseline naught in e_x1_1 seed 0 is 0; a ratio needs a baseline above 0",
    }
    verdicts = {name: entry["verdict"] for name, entry in study.results()["criteria"].items()}
    assert verdicts == {"gain": "not_measured", "ratio": "not_measured", "zero": "inadmissible"}


def test_a_baseline_does_not_judge_itself(study: Study) -> None:
    """Where nothing else reports the metric, it is not measured; no system beats itself."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments: [e_x1_1, e_x1_2]
            together: true
            success_criteria:
              gain: {metric: cosine, minus: e_x1_2/cosine, target: 0.02, acceptable: 0.0, failure: -0.01}
        """
    )
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'Cosine': 0.1}}\n"
        "def e_x1_2(runner): return {'metrics': {'cosine': 0.9}}\n"
    )
    assert study.pytest().code == 1
    assert study.results()["criteria"]["gain"]["verdict"] == "not_measured"
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'cosine': 0.5}}\n"
        "def e_x1_2(runner): return {'metrics': {'cosine': 0.9}}\n"
    )
    assert study.pytest().code == 1
    entry = study.results()["criteria"]["gain"]
    assert (entry["verdict"], entry["decided_by"]) == ("failure", "e_x1_1")


def test_a_sibling_variant_as_baseline(study: Study) -> None:
    """One variant is what the others are compared with, in items of their own."""
    study.plan(
        "experiments: {x1-first: {sub_experiments: [e_x1_1], success_criteria: "
        "{gain: {metric: cosine, minus: 'e_x1_1[base]/cosine', target: 0.04}}}}"
    )
    study.handlers(
        "import pytest\n"
        "@pytest.mark.parametrize('value', [0.9, 0.95], ids=['base', 'new'])\n"
        "def e_x1_1(runner, value): return {'metrics': {'cosine': value}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert study.results()["criteria"]["gain"]["decided_by"] == "e_x1_1[new]"


def test_a_baseline_in_another_experiment_that_changes(study: Study) -> None:
    """The files of the experiment that compares with it follow, and remember."""
    study.plan(
        "experiments:\n"
        "  x1-first: {sub_experiments: [e_x1_1], success_criteria: "
        "{gain: {metric: acc, minus: e_x2_1/acc, target: 0.05}}}\n"
        "  x2-base: {sub_experiments: [e_x2_1]}\n"
    )
    handlers = (
        "def e_x1_1(runner): return {{'metrics': {{'acc': 0.8}}}}\n"
        "def e_x2_1(runner): return {{'metrics': {{'acc': {base}}}}}\n"
    )
    study.handlers(handlers.format(base=0.9))
    assert study.pytest().code == 1
    study.handlers(handlers.format(base=0.1))
    study.pytest("experiments", "-k", "e_x2_1")
    results = study.results("x1-first")
    assert results["criteria"]["gain"]["verdict"] == "target"
    assert any("gain was not met in run" in issue for issue in results["issues"])


def test_huge_samples(study: Study) -> None:
    """Their mean is their mean, and nothing breaks."""
    study.plan(PLAN.format(target=0.7))
    study.handlers(
        "def e_x1_1(runner):\n"
        "    runner.log_samples('accuracy', [1e308] * 3)\n"
        "    return {'metrics': {'accuracy': 1e308}}\n"
        "def e_x1_2(runner): return {'metrics': {'rows': 1}}\n"
    )
    run = study.pytest()
    assert "INTERNALERROR" not in run.text
    assert study.exprunner("status").code == 0


# --- one attempt for all criteria --------------------------------------------------------------


def test_the_best_of_several_systems(study: Study) -> None:
    """One system is accurate, another is fast: with ``together`` that is no success."""
    plan = """\
    experiments:
      x1-first:
        sub_experiments: [e_x1_1, e_x1_2]
        together: {together}
        success_criteria:
          accuracy: {{target: 0.9{first}}}
          seconds: {{target: 1, direction: lower{second}}}
    """
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95, 'seconds': 5.0}}\n"
        "def e_x1_2(runner): return {'metrics': {'accuracy': 0.50, 'seconds': 0.5}}\n"
    )
    study.plan(plan.format(together="false", first=", from: e_x1_1", second=", from: e_x1_2"))
    assert study.pytest().code == 0
    assert study.results()["issues"] == []
    study.plan(plan.format(together="true", first="", second=""))
    run = study.pytest()
    assert run.code == 1
    assert study.results()["recommendation"] == "pivot"
    assert {e["decided_by"] for e in study.results()["criteria"].values()} == {"e_x1_1"}
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n"
        "def e_x1_2(runner): return {'metrics': {'seconds': 0.5}}\n"
    )
    assert study.pytest().code == 1
    assert study.results()["criteria"]["seconds"]["reason"] == (
        "e_x1_1 did not return it; e_x1_2 did, but the plan requires one attempt to meet every criterion (together)"
    )
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95, 'seconds': 0.9}}\n"
        "def e_x1_2(runner): return {'metrics': {'accuracy': 0.5, 'seconds': 0.1}}\n"
    )
    run = study.pytest()
    assert run.code == 0, run.text
    assert study.results()["criteria"]["seconds"]["value"] == 0.9
    assert (
        "The plan now requires one attempt to meet every criterion (together); that changed after the first "
        "attempt." in study.results()["issues"]
    )
    for one in ("e_x1_1", "e_x1_2"):
        assert study.pytest("experiments", "-k", one).code == 0
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.5, 'seconds': 0.9}}\n"
        "def e_x1_2(runner): return {'metrics': {'accuracy': 0.5, 'seconds': 0.1}}\n"
    )
    study.pytest()
    for one in ("e_x1_1", "e_x1_2"):
        assert study.pytest("experiments", "-k", one).code == 1


# --- waivers ----------------------------------------------------------------------------------


def test_a_waiver(study: Study) -> None:
    """The verdict stays; the recommendation, the gate, every table and the review list say who waived it."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments: [e_x1_1]
            success_criteria:
              accuracy: {target: 0.9}
              latency: {target: 0.2, direction: lower}
          x2-second: {sub_experiments: [e_x2_1], dependencies: [gate_1], success_criteria: {n: {target: 1}}}
        gates: {gate_1: {experiments: [x1-first]}}
        waivers:
          - {experiment: x1-first, criterion: latency, by: A. Person, date: 2026-01-22, reason: The demo is offline.}
        """
    )
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95, 'latency': 0.5}}\n"
        "def e_x2_1(runner): return {'metrics': {'n': 1}}\n"
    )
    run = study.pytest("experiments", "--exp-gate=gate_1")
    assert run.code == 0, run.text
    text = "waived by A. Person on 2026-01-22 because The demo is offline"
    assert "1 passed, 1 xfailed" in run.out
    assert f"x1-first   completed → proceed ({text}) (confidence: low)" in run.out
    assert row(run, "latency") == f"latency 0.500 ≤ 0.20 – missed — {text}"
    assert "gate_1: passed with waiver" in run.out
    results = study.results("x1-first")
    assert results["recommendation"] == f"proceed ({text})"
    assert results["criteria"]["latency"]["verdict"] == "missed"
    assert results["criteria"]["latency"]["waived"] == text
    assert results["assessment"]["success_criteria_met"] is False
    assert (
        "1 of 2 success criteria met. Not met but waived: latency 0.500 (needs ≤ 0.20), waived by"
        in (results["recommendation_notes"])
    )
    gates = study.exprunner("gates")
    assert gates.code == 0
    assert "gate_1: passed with waiver" in gates.text
    assert f"to review: x1-first: latency is not met, and {text}." in study.exprunner("status").text
    assert f"latency is not met, and {text}." in (study.research / "FINDINGS.md").read_text()
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.5, 'latency': 0.5}}\n"
        "def e_x2_1(runner): return {'metrics': {'n': 1}}\n"
    )
    missed = study.pytest("experiments", "--exp-gate=gate_1")
    assert missed.code == 1  # another criterion, which nobody waived
    assert study.results("x1-first")["recommendation"] == "pivot"


def test_asked_seeds_beside_a_repaired_handler(study: Study) -> None:
    """Seeds that a run was asked for stay, and it is said that other code made them, and what to run."""
    study.plan(
        "experiments:\n  x1-first:\n    sub_experiments: [e_x1_1]\n"
        "    success_criteria: {accuracy: {target: 0.9, acceptable: 0.8}}\n"
    )
    bad = "def e_x1_1(runner):\n    return {'metrics': {'accuracy': 0.2 + 0.01 * (runner.seed % 7)}}\n"
    study.handlers(bad)
    study.pytest("experiments", "--exp-seeds", "3")
    study.handlers(bad.replace("0.2", "0.9"))
    assert study.pytest().code == 1
    assert study.results()["assessment"]["confidence"] == "low"
    note = "The current attempts of e_x1_1 come from different code: no seed; seeds 0, 1 and 2."
    assert note in study.results()["issues"]
    told = study.exprunner("next").out
    assert "1. seeds: e_x1_1\n" in told
    assert "   $ pytest experiments/ --exp-seeds 3 -m e_x1_1\n" in told
    assert study.pytest("experiments", "--exp-seeds", "3").code == 0
    assert note not in study.results()["issues"]


def test_more_seeds_than_what_they_are_compared_with(study: Study) -> None:
    """What is compared seed by seed is measured together: so 'next' says it, and so it says after a slip."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments: {e_x1_1: {seeds: [0, 1, 2]}, e_x1_2: {seeds: [0, 1, 2]}}
            success_criteria:
              gain: {metric: cosine, minus: e_x1_2/cosine, target: 0.02, acceptable: 0.0, from: e_x1_1}
        """
    )
    study.handlers(
        """\
        def e_x1_1(runner): return {"metrics": {"cosine": 0.51 + [0.005, -0.02, 0.02][runner.seed % 3]}}
        def e_x1_2(runner): return {"metrics": {"cosine": 0.5}}
        """
    )
    study.pytest()
    told = study.exprunner("next").out
    command = re.search(r"\$ pytest experiments/ --exp-seeds (\d+) -m 'e_x1_1 or e_x1_2'", told)
    assert command is not None, told
    study.pytest("experiments", "--exp-seeds", "4", "-m", "e_x1_1")
    told = study.exprunner("next").out
    assert "$ pytest experiments/ --exp-seeds 4 -m 'e_x1_1 or e_x1_2'\n" in told
    assert "return 'cosine'" not in told
    study.pytest("experiments", "--exp-resume", "--exp-seeds", "4", "-m", "e_x1_1 or e_x1_2")
    assert study.results()["criteria"]["gain"]["n"] == 4


def test_seeds_that_no_number_makes_equal(study: Study) -> None:
    """Where the plan lists other seeds for both, no option mends that: the plan has to."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments: {e_x1_1: {seeds: [1, 2]}, e_x1_2: {seeds: [4, 5]}}
            success_criteria:
              gain: {metric: cosine, minus: e_x1_2/cosine, target: 0.02, from: e_x1_1}
        """
    )
    study.handlers(
        """\
        def e_x1_1(runner): return {"metrics": {"cosine": 0.6}}
        def e_x1_2(runner): return {"metrics": {"cosine": 0.5}}
        """
    )
    study.pytest()
    told = study.exprunner("next").out
    assert told.startswith("1. seeds: e_x1_1\n")
    assert "; give both the same seeds in the plan\n" in told
    assert "--exp-seeds" not in told


def test_a_baseline_without_a_seed(study: Study) -> None:
    """It pairs with every seed, so that a missing metric is what is told, and it is not run again."""
    study.plan(
        """\
        experiments:
          x1-first:
            sub_experiments: {e_x1_1: {seeds: [0, 1, 2]}, e_x1_2: {}}
            success_criteria:
              gain: {metric: cosine, minus: e_x1_2/cosine, target: 0.02, acceptable: 0.0, from: e_x1_1}
        """
    )
    handlers = """\
        def e_x1_1(runner): return {{"metrics": {{"cosine": 0.51 + [0.005, -0.02, 0.02][runner.seed % 3]}}}}
        def e_x1_2(runner): return {{"metrics": {{{metrics}}}}}
        """
    study.handlers(handlers.format(metrics=""))
    study.pytest()
    told = study.exprunner("next").out
    assert "--exp-seeds" not in told
    assert "gain" in told or "cosine" in told
    study.handlers(handlers.format(metrics="'cosine': 0.5"))
    study.pytest()
    assert re.search(r"\$ pytest experiments/ --exp-seeds \d+ -m e_x1_1\n", study.exprunner("next").out)
