"""What commands print with ``--json``: each on a real study, against the schema that is shipped."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from study_folder import PLAN, Run, Study

import pytest_exprunner
from pytest_exprunner.cli.main import cli

SCHEMAS = Path(pytest_exprunner.__file__).parent / "json_schemas"
GATED = PLAN + "gates:\n  gate_1: {name: First, experiments: [x1-first]}\n"
RICH_PLAN = """\
project: {name: Foresight}
experiments:
  x1-first:
    name: First
    description: "Does it work?"
    sub_experiments:
      e_x1_1: {name: Accuracy, seeds: [0, 1, 2]}
      e_x1_2: {objective: "What breaks."}
      e_x1_3: {}
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5, from: e_x1_1}
      loss: {target: 0.1, from: e_x1_2, severity: warn}
    next_steps: {pivot: [Stop]}
  x2-second:
    dependencies: [x1-first]
    sub_experiments: [e_x2_1]
    success_criteria: {speed: {target: 1, unit: ms}}
  x3-third:
    replaces: [x1-first]
    blockers: [money]
    sub_experiments: [e_x3_1]
gates:
  gate_1: {experiments: [x1-first, x2-second], status: passed, unlocks: more}
waivers: [{experiment: x2-second, criterion: speed, by: A, date: 2026-01-22, reason: so}]
"""
RICH_HANDLERS = """\
import math, pytest

def e_x1_1(runner):
    runner.log_metrics({"accuracy": 0.1}, step=1)
    kept = runner.results.save_artifact("a.txt", "x")
    runner.evidence("simulated", "no machine") if runner.seed == 2 else None
    return {"finding": "x", "metrics": {"accuracy": 0.8 + runner.seed / 20, "odd": math.nan, "word": "a",
            "deep": {"list": [1, math.inf]}}, "artifacts": [kept, "never.txt"]}

def e_x1_2(runner):
    1 / 0

def e_x2_1(runner):
    return {"metrics": {"speed": math.inf}}

def e_idea(runner):
    pass
"""
COMMANDS = (
    ("check",),
    ("status",),
    ("next",),
    ("report",),
    ("verify",),
    ("audit",),
    ("gates",),
    ("gates", "gate_1"),
    ("collect",),
    ("show", "x1-first"),
    ("show", "x2-second"),
    ("show", "e_x1_1"),
    ("show", "e_x1_2"),
    ("show", "e_x1_3"),
    ("show", "gate_1"),
    ("history", "x1-first"),
    ("history", "e_x1_2"),
    ("diff", "e_x1_1"),
    ("diff", "e_x1_2", "1", "2"),
    ("watch",),
    ("sync", "--tracker", "counting:CountingTracker"),
    ("hints",),
    ("hints", "numpy-in-json"),
    ("schema", "--list"),
    ("skill", "--list"),
)


@cache
def schema_of(kind: str) -> dict[str, Any]:
    """The shipped schema of a kind of output."""
    value: dict[str, Any] = json.loads((SCHEMAS / f"{kind}.json").read_text(encoding="utf-8"))
    return value


def validated(run: Run, kind: str) -> dict[str, Any]:
    """The one JSON object that a command printed, valid by the schema of its kind."""
    assert "Traceback" not in run.text, run.text
    value: dict[str, Any] = json.loads(run.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert value["schema"] == f"exprunner/{kind}"
    jsonschema.validate(value, schema_of(kind), jsonschema.Draft202012Validator)
    return value


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study in which everything there is has happened, run twice with other code in between."""
    study = Study(tmp_path_factory.mktemp("full"))
    study.plan(RICH_PLAN)
    file = study.handlers(RICH_HANDLERS)
    study.write(
        "counting.py",
        "from pytest_exprunner.trackers.base import Tracker\nclass CountingTracker(Tracker):\n    pass\n",
    )
    assert study.pytest().code == 1
    file.write_text(file.read_text(encoding="utf-8").replace("/ 20", "/ 10"), encoding="utf-8")
    study.pytest("experiments", "-m", "x1-first")
    return study


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_output_is_valid_by_its_schema(full: Study, command: tuple[str, ...]) -> None:
    """Every command prints what its schema says, also of failed, blocked and odd things."""
    validated(full.exprunner(*command, "--json"), command[0])


def test_a_diff_of_what_was_registered(study: Study) -> None:
    """An experiment that was replaced between two attempts is a change of its criteria."""
    study.plan(PLAN)
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    assert study.pytest().code == 0
    plan = study.research / "research_plan.yaml"
    replaced = plan.read_text(encoding="utf-8").replace(
        "  x1-first:\n", "  x1-second: {replaces: [x1-first], sub_experiments: [e_x2_1]}\n  x1-first:\n"
    )
    plan.write_text(replaced, encoding="utf-8")
    study.pytest("experiments", "-m", "x1-first")
    found = validated(study.exprunner("diff", "e_x1_1", "--json"), "diff")
    change = {"about": "criterion", "what": "replaced_by", "before": "", "after": "x1-second"}
    assert change in found["changes"]


def test_the_page_is_told_of(full: Study) -> None:
    """What a report for a browser came to."""
    validated(full.exprunner("report", "--html", "report.html", "--json"), "page")


def test_before_anything_ran(study: Study) -> None:
    """The same holds before the first run, and for what writes files."""
    validated(study.exprunner("init", "new-study", "--json"), "init")
    study.plan(RICH_PLAN)
    for command in (
        ("new", "--all"),
        ("check",),
        ("status",),
        ("next",),
        ("gates",),
        ("watch",),
        ("verify",),
    ):
        validated(study.exprunner(*command, "--json"), command[0])
    for name in ("x1-first", "e_x1_1", "gate_1"):
        validated(study.exprunner("show", name, "--json"), "show")
    validated(study.exprunner("history", "x1-first", "--json"), "history")


def test_every_command_has_a_schema_and_every_schema_a_command() -> None:
    """No command is left out, and no schema is left over."""
    assert {file.stem for file in SCHEMAS.glob("*.json")} == {*cli.commands, "error", "event", "page"}
    tested = {command[0] for command in COMMANDS} | {"init", "new"}
    assert tested == {*cli.commands}


@pytest.mark.parametrize("file", sorted(SCHEMAS.glob("*.json")), ids=lambda file: file.stem)
def test_schemas_are_schemas(file: Path) -> None:
    """Each is a valid JSON Schema that says what it is about and admits nothing beside."""
    schema = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"exprunner/{file.stem}/{schema['properties']['schema_version']['const']}"
    assert schema["description"]
    if file.stem != "event":  # within a version, events may get more fields; their own test is strict
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("show", "e_x1_9"), "unknown id 'e_x1_9' (did you mean 'e_x1_1'?)"),
        (("gates", "gate1"), "unknown gate 'gate1' (did you mean 'gate_1'?); known: gate_1"),
        (("status", "--nonsense"), "No such option"),
        (("chekc",), "No such command 'chekc'."),
        (("check", "--plan", "other.yaml"), "there is no plan at"),
        (("schema", "statsu"), "unknown kind 'statsu' (did you mean 'status'?)"),
        (("new",), "name sub-experiments, or --experiment ID, or --all."),
    ],
)
def test_errors_are_json_too(study: Study, arguments: tuple[str, ...], text: str) -> None:
    """A wrong command is one object on the standard output with the exit code that it has without --json."""
    study.plan(GATED)
    run = study.exprunner(*arguments, "--json")
    assert (run.code, run.err) == (4, "")
    value = validated(run, "error")
    assert value["problems"][0]["text"].startswith(text)
    assert study.exprunner(*arguments).code == 4


@pytest.mark.parametrize("command", ["status", "next", "show x1", "gates", "verify"])
def test_a_wrong_plan_is_json_too(study: Study, command: str) -> None:
    """Every problem of a plan with its place, whichever command was asked for."""
    study.plan("experiments:\n  x1:\n    sub_experiments: [e_1]\n    dependencies: [x2]\n")
    run = study.exprunner(*command.split(), "--json")
    assert (run.code, run.err) == (4, "")
    [problem] = validated(run, "error")["problems"]
    assert (problem["line"], problem["column"]) == (4, 20)
    assert problem["text"] == "unknown experiment or gate 'x2'"
    validated(study.exprunner("check", "--json"), "check")


def test_the_command_prints_what_is_shipped(study: Study) -> None:
    """``exprunner schema KIND`` prints the shipped schema; the plan's is the default."""
    assert json.loads(study.exprunner("schema", "status").out) == schema_of("status")
    assert study.exprunner("schema").out == study.exprunner("schema", "plan").out
    listed = study.exprunner("schema", "--list").out
    assert "\nstatus   What 'exprunner status --json' prints.\n" in listed
    run = study.exprunner("schema", "statsu")
    assert (run.code, run.err) == (
        4,
        "unknown kind 'statsu' (did you mean 'status'?); 'exprunner schema --list' shows them\n",
    )
