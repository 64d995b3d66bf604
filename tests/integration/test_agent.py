"""A client that knows the agent skill and nothing else takes a study from its plan to its findings."""

from __future__ import annotations

import re
import shlex

import pytest
from agent_client import CLOSING, Agent
from study_folder import Study

pytestmark = pytest.mark.slow

PLAN = """\
project: {name: Probes, hypothesis: A probe reads the class off the last layer.}
experiments:
  x1-probe:
    name: Probe
    type: claim
    sub_experiments:
      e_x1_1: {name: Majority, objective: One answer for everything.}
      e_x1_2: {name: Probe, needs: [e_x1_1], objective: A threshold on the last layer.}
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, failure: 0.6, from: e_x1_2, bounds: [0, 1]}
      gain: {metric: accuracy, minus: e_x1_1/accuracy, target: 0.3, acceptable: 0.1, failure: 0, from: e_x1_2}
    next_steps: {proceed: [Probe the layers before it.]}
  x2-noise:
    name: Noise
    type: question
    dependencies: [x1-probe]
    sub_experiments: {e_x2_1: {name: Noisy probe}}
    success_criteria:
      accuracy_kept: {target: 0.95, acceptable: 0.8, failure: 0.5, borderline: 0.1}
gates:
  gate_1: {name: Go on?, experiments: [x1-probe, x2-noise]}
"""
BODIES = {
    "e_x1_1": '''\
def e_x1_1_majority(runner):
    """How far does one answer for everything get?"""
    import json

    import numpy

    labels = numpy.arange(40) % 2
    accuracy = numpy.mean(labels == 1, dtype=numpy.float32)
    kept = runner.results.save_artifact("accuracy.json", json.dumps({"accuracy": accuracy}))
    return {"finding": f"It names {accuracy:.0%}.", "metrics": {"accuracy": accuracy}, "artifacts": [kept]}
''',
    "e_x1_2": '''\
def e_x1_2_probe(runner):
    """How far does a threshold on the last layer get?"""

    def model(value, output_hidden_states=False):
        states = {"hidden_states": [value, 2 * value]} if output_hidden_states else {}
        return {"logits": [value, -value], **states}

    right = []
    for step in runner.track(range(40), "examples"):
        output = model(step % 2 - 0.5 if step else 1)
        right.append((output["last_hidden_state"] > 0) == (step % 2 == 1))
        runner.log_metrics({"accuracy": sum(right) / len(right)}, step=step)
    accuracy = sum(right) / len(right)
    better = accuracy - runner.needs["e_x1_1"].metrics["accuracy"]
    return {"finding": f"It names {accuracy:.1%}, {better:+.1%}.", "metrics": {"accuracy": accuracy}}
''',
    "e_x2_1": '''\
def e_x2_1_noisy_probe(runner):
    """How much of the accuracy is left with noise?"""
    import random

    numbers = random.Random(runner.seed)
    kept = sum(numbers.gauss(1, 1) > 0 for _ in range(1000)) / 1000
    return {"finding": f"{kept:.1%} are left.", "metrics": {"accuracy_kept": kept}}
''',
}
REPAIRS = {
    "numpy-in-json": lambda source: re.sub(
        r"save_artifact\((\".*?\.json\"), json\.dumps\((.*)\)\)", r"save_json_artifact(\1, \2)", source
    ),
    "missing-model-output": lambda source: re.sub(
        r"(model\(step.*)\)", r"\1, output_hidden_states=True)", source
    ).replace('output["last_hidden_state"]', 'output["hidden_states"][-1]'),
}


@pytest.fixture
def agent(study: Study) -> Agent:
    """An agent in front of a plan that nobody has worked on."""
    study.plan(PLAN)
    return Agent(study, BODIES, REPAIRS)


def test_from_the_plan_to_the_findings(agent: Agent, study: Study) -> None:
    """It writes the handlers, mends what breaks by the rules of hints, judges, and says what it means."""
    skill = agent.ask("exprunner skill")
    checked = agent.ask("exprunner check")
    assert (checked["ok"], set(checked["without_handler"])) == (True, set(BODIES))

    left = agent.work()
    assert agent.mended == [
        ("numpy-in-json", "experiments/x1_probe.py"),
        ("missing-model-output", "experiments/x1_probe.py"),
    ]
    assert [(action["kind"], action["target"]) for action in left] == [
        ("seeds", "e_x2_1"),
        ("go_on", "x1-probe"),
    ]

    assert agent.run("pytest experiments/ --exp-resume")["exit_code"] == 0
    assert [event["label"] for event in agent.of("replayed")] == ["e_x1_1", "e_x1_2", "e_x2_1"]
    said = {event["experiment"]: event for event in agent.of("experiment")}
    verdicts = {c["name"]: (c["verdict"], c["borderline"]) for e in said.values() for c in e["criteria"]}
    assert verdicts == {
        "accuracy": ("target", False), "gain": ("target", False), "accuracy_kept": ("acceptable", True),
    }  # fmt: skip
    gates = agent.ask("exprunner gates")["gates"]
    assert {name: gate["state"] for name, gate in gates.items()} == {"gate_1": "passed"}
    assert agent.ask("exprunner verify")["doubts"] == []

    texts = {experiment: agent.interpret(experiment) for experiment in said}
    assert "accuracy_kept is borderline: a person should look." in texts["x2-noise"]
    for file in study.research.glob("experiments/*/FINDINGS.md"):
        file.write_text(file.read_text(encoding="utf-8").replace("\n# ", "\n# Edited "), encoding="utf-8")
    report = agent.ask("exprunner report")
    assert len(report["notes"]) == 2  # the generated parts had been edited, and were written anew
    for experiment, text in texts.items():
        generated, _marker, below = study.findings(experiment).partition(CLOSING)
        assert f"## Interpretation\n\n{text}\n" in below
        assert "# Edited" not in generated
    assert agent.ask("exprunner verify")["doubts"] == []
    _knows_the_skill_alone(agent, study, skill["folder"])


def _knows_the_skill_alone(agent: Agent, study: Study, folder: str) -> None:
    """Every command and every option that it typed stands in the skill."""
    text = "".join(file.read_text(encoding="utf-8") for file in (study.root / folder).rglob("*.md"))
    for command in agent.typed:
        words = shlex.split(command)
        if words[0] == "exprunner" and words[1] != "skill":
            assert f"exprunner {words[1]}" in text
        for option in (word for word in words if word.startswith("--")):
            assert option in text


def test_a_failure_that_no_hint_knows(agent: Agent) -> None:
    """It does not guess: what it hands over is the error, as data."""
    unknown = BODIES["e_x1_1"].replace("import numpy\n", "raise LookupError('nobody knows')\n", 1)
    agent.bodies = {**BODIES, "e_x1_1": unknown}
    with pytest.raises(
        AssertionError, match=r"nothing is known of .*'LookupError', 'message': 'nobody knows'"
    ):
        agent.work()


def test_a_wrong_plan(agent: Agent, study: Study) -> None:
    """Problems come with line and column, from the command and from the run."""
    study.plan(PLAN.replace("needs: [e_x1_1]", "needs: [e_x1_9]"))
    asked = agent.ask("exprunner check")
    assert (asked["ok"], [(p["line"], p["column"]) for p in asked["problems"]]) == (False, [(8, 37)])
    assert agent.ask("exprunner next")["schema"] == "exprunner/error"
    told = agent.run("pytest experiments/")
    assert (told["event"], told["exit_code"]) == ("error", 4)
    [problem] = told["problems"]
    assert (problem["line"], problem["column"]) == (8, 37)
