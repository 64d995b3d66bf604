"""Studies for the report to show: one with everything in it, a large one, a hostile one."""

from __future__ import annotations

from study_folder import Study

EVERYTHING_PLAN = """\
project: {name: Everything at once, hypothesis: Every part of the page has something to show.}
experiments:
  q1-curves:
    name: "Q1: Do the curves settle?"
    type: question
    phase: 1
    description: Two runs of one training, with a spike that must stay visible.
    sub_experiments:
      e_q1_1: {name: Training, objective: Train until it settles.}
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5}
      loss: {target: 0.1, acceptable: 0.2, failure: 0.5, direction: lower}
  q2-seeds:
    name: "Q2: Over seeds"
    type: question
    phase: 1
    sub_experiments:
      e_q2_1: {seeds: [0, 1, 2]}
    success_criteria:
      score: {target: 0.8, acceptable: 0.7, failure: 0.5}
  p3-broken:
    name: "P3: A handler that fails"
    type: pivot
    phase: 2
    dependencies: [q1-curves]
    sub_experiments: [e_p3_1, e_p3_2]
    success_criteria:
      recall: {target: 0.9}
  c4-later:
    phase: 2
    dependencies: [gate_1]
    sub_experiments: [e_c4_1]
    success_criteria:
      far: {target: 1.0, acceptable: 2.0, failure: 3.0, direction: lower, unit: ms}
gates:
  gate_1: {name: The base holds, experiments: [q1-curves, q2-seeds], unlocks: [c4-later]}
"""
EVERYTHING_HANDLERS = """\
import math

def e_q1_1(runner):
    settled = 0.85 if runner.config.get("better") else 0.93
    for step in range(5000):
        loss = math.exp(-step / 800) + 0.05 * math.sin(step / 40) ** 2
        if step == 3217:
            loss = 7.5
        if step == 4000:
            loss = math.nan
        runner.log_metrics({"loss": loss, "accuracy": settled * (1 - math.exp(-step / 500))}, step=step)
    table = runner.results.save_artifact("confusion.csv", "true,predicted,count\\n" + "".join(
        f"{i},{j},{i * j}\\n" for i in range(5) for j in range(5)))
    rows = runner.results.save_json_artifact("rows.json", [{"class": i, "recall": i / 5} for i in range(3)])
    picture = runner.results.save_artifact(
        "picture.svg", '<svg xmlns="http://www.w3.org/2000/svg" width="120" height="60">'
        '<script>document.title = "taken over"</script><rect width="120" height="60" fill="teal"/></svg>')
    weights = runner.results.save_artifact("weights.bin", bytes(3000))
    return {"finding": "It settles after 2,000 steps.", "metrics": {"accuracy": settled, "loss": 0.051, "steps": 5000},
            "artifacts": [table, rows, picture, weights]}

def e_q2_1(runner):
    value = 0.66 + 0.06 * runner.seed
    for step in range(50):
        runner.log_metrics({"score": value * step / 50}, step=step)
    return {"metrics": {"score": value}}

def e_p3_1(runner):
    runner.log_metrics({"recall": 0.1})
    return {"metrics": {"recall": float({"precision": 1.0}["recall"])}}

def e_p3_2(runner):
    runner.fallback("the detector is not here")
    return {"metrics": {"recall": 0.99}}

def e_c4_1(runner):
    return {"metrics": {"far": 900.0}}
"""

HOSTILE = "</script><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}|`\x1b[31m\u202e&lt;\"'\x00"


def everything(study: Study) -> None:
    """Write and run a study that has something for every part of the page."""
    study.plan(EVERYTHING_PLAN)
    study.handlers(EVERYTHING_HANDLERS)
    study.pytest("experiments/")
    study.pytest("experiments/", "-k", "e_q1_1")


def large(study: Study, subs: int = 1000, each: int = 10) -> None:
    """Write and run a study of very many sub-experiments with curves."""
    lines = ["project: {name: A large study}", "experiments:"]
    for first in range(0, subs, each):
        ids = ", ".join(f"e_{i}" for i in range(first, first + each))
        lines += [f"  x{first}:", f"    sub_experiments: [{ids}]", f"    phase: {first // 250}"]
        lines += [
            "    success_criteria: {accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5}, f1: {target: 0.8}}"
        ]
    study.plan("\n".join(lines))
    study.handlers(
        "\n".join(
            f"""
def e_{i}(runner):
    for step in range(200):
        runner.log_metrics({{"loss": 1 / (1 + step + {i}), "accuracy": step / 200}}, step=step)
    return {{"finding": "What number {i} found is told in a sentence of a usual length, with its reasons.",
            "metrics": {{"accuracy": 0.75 + {i % 20} / 100, "f1": 0.9, "loss": 0.1, "n": {i}}}}}"""
            for i in range(subs)
        )
    )
    study.pytest("experiments/", timeout=300)


def hostile(study: Study) -> None:
    """Write and run a study with hostile text wherever text can stand."""
    evil = HOSTILE.replace("\x00", "").replace("\x1b", "")
    quoted = repr(HOSTILE)
    as_yaml = '"' + evil.replace("\\", "\\\\").replace('"', '\\"') + '"'
    study.plan(
        f"""\
project: {{name: {as_yaml}, hypothesis: {as_yaml}}}
experiments:
  x1-first:
    name: {as_yaml}
    phase: {as_yaml}
    description: {as_yaml}
    outcome: {as_yaml}
    sub_experiments:
      e_x1_1: {{name: {as_yaml}, objective: {as_yaml}}}
      e_x1_2: {{}}
    next_steps: {{investigate: [{as_yaml}], pivot: [{as_yaml}]}}
    success_criteria:
      {as_yaml}: {{target: 0.9, acceptable: 0.8, failure: 0.5, unit: {as_yaml}, note: {as_yaml}, metric: accuracy}}
gates:
  gate_1: {{name: {as_yaml}, experiments: [x1-first], unlocks: {as_yaml}, status: {as_yaml}}}
waivers: [{{experiment: x1-first, criterion: {as_yaml}, by: {as_yaml}, date: 2026-01-22, reason: {as_yaml}}}]
"""
    )
    study.handlers(
        f"""\
import pytest
EVIL = {quoted}

@pytest.mark.parametrize("text", ["plain", EVIL])
def e_x1_1(runner, text):
    for step in range(10):
        runner.log_metrics({{EVIL: step, "accuracy": 0.1}}, step=step)
    runner.evidence("simulated", EVIL)
    saved = runner.results.save_artifact("evil & <b>.svg", '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(3)</script></svg>')
    table = runner.results.save_artifact("evil.csv", EVIL + ",b\\n" + EVIL + ",=1+1\\n")
    return {{"finding": EVIL, "metrics": {{"accuracy": 0.75, EVIL: 3.0, "text": EVIL}}, "artifacts": [saved, table]}}

def e_x1_2(runner):
    raise RuntimeError(EVIL)
"""
    )
    study.pytest("experiments/")
