"""The command ``exprunner``: check, status, report and gates, their settings and exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from study_folder import PLAN, Run, Study

MET = "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n"
GATED = PLAN + "gates:\n  gate_1: {name: First, experiments: [x1-first]}\n"
COMMANDS = ("check", "status", "watch", "report", "gates")


def parsed(run: Run) -> dict[str, Any]:
    """The JSON that a command printed, and nothing else."""
    value: dict[str, Any] = json.loads(run.out)
    return value


# --- check --------------------------------------------------------------------------------------


def test_check(study: Study) -> None:
    """``check`` counts what is planned and names what has no handler; nothing is imported."""
    study.plan(GATED.replace("[e_x1_1]", "[e_x1_1, e_x1_2, e_x1_3]"))
    study.handlers(
        "open('ran', 'w')\n" + MET + "def e_x1_2(run): ...\ndef e_idea(runner): ...\n",
        "handlers.py",
    )
    before = study.files()
    run = study.exprunner("check")
    assert run.code == 0
    assert run.out == (
        "research/research_plan.yaml: 1 experiment, 3 sub-experiments, 1 gate: no problems\n"
        "1 handler for 3 sub-experiments\n"
        "  no handler: e_x1_2 (experiments/handlers.py:3: e_x1_2 has no parameter named 'runner')\n"
        "  no handler: e_x1_3\n"
        "  exploratory: e_idea (experiments/handlers.py:4)\n"
    )
    assert study.files() == before


def test_check_of_a_plan_with_a_misspelt_key(study: Study) -> None:
    """A key that nobody reads is no error, and no clean plan either."""
    study.plan(GATED.replace("success_criteria", "descripton: x\n    success_criteria"))
    study.handlers(MET)
    first, second, *_rest = study.exprunner("check").out.splitlines()
    assert first.endswith(", 1 gate: no errors, 1 warning")
    assert second.startswith("warning: ")
    assert "did you mean 'description'?" in second


def test_misspelt_success_criteria(study: Study) -> None:
    """Criteria under a misspelt key are refused before anything runs, not left unjudged."""
    study.plan(GATED.replace("success_criteria", "sucess_criteria"))
    study.handlers(MET)
    for run in (study.exprunner("check"), study.pytest()):
        assert run.code == 4
        assert "unknown key 'sucess_criteria' (did you mean 'success_criteria'?)" in run.text
    assert not (study.research / "experiments").exists()


def test_check_in_json(study: Study) -> None:
    """``check --json`` says the same as one object."""
    study.plan(GATED)
    study.handlers(MET)
    assert parsed(study.exprunner("check", "--json")) == {
        "schema": "exprunner/check",
        "schema_version": 1,
        "ok": True,
        "plan": "research/research_plan.yaml",
        "problems": [],
        "warnings": [],
        "handlers": {"e_x1_1": {"name": "e_x1_1", "place": "experiments/handlers.py:1"}},
        "without_handler": {},
        "exploratory": [],
        "unreadable": [],
    }


def test_every_problem_of_a_plan_at_once(study: Study) -> None:
    """A wrong plan is exit 4 with every problem in its place, in pytest and in the command alike."""
    study.plan(
        "experiments:\n"
        "  x1:\n"
        "    sub_experiments: [e_1]\n"
        "    dependencies: [x2]\n"
        "    success_criteria:\n"
        "      a: {target: 0.9, direction: down}\n"
    )
    study.handlers("def e_1(runner): ...\n")
    run = study.exprunner("check")
    assert run.code == 4
    assert run.err == (
        "research/research_plan.yaml:4:20: experiments.x1.dependencies[0]: unknown experiment or gate 'x2'\n"
        "research/research_plan.yaml:6:35: experiments.x1.success_criteria.a.direction: 'down' is not a "
        "direction; expected higher or lower\n"
        "2 problems; run 'exprunner check' after editing.\n"
    )
    from_pytest = study.pytest()
    assert from_pytest.code == 4
    assert from_pytest.err.removeprefix("ERROR: ").strip() == run.err.strip()
    value = parsed(study.exprunner("check", "--json"))
    assert value["ok"] is False
    assert [(p["line"], p["column"]) for p in value["problems"]] == [(4, 20), (6, 35)]
    assert study.exprunner("check", "--json").code == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_plan_in_json(study: Study, command: str) -> None:
    """With ``--json`` a wrong plan is reported as JSON too, by whichever command."""
    study.plan("experiments: [")
    run = study.exprunner(command, "--json")
    assert run.code == 4
    assert "Traceback" not in run.text
    if command == "check":
        assert parsed(run)["ok"] is False


def test_check_with_two_handlers(study: Study) -> None:
    """Two handlers for one id are exit 4 in ``check`` as in a run."""
    study.plan()
    study.handlers(MET + MET.replace("e_x1_1", "e_x1_1_more"))
    run = study.exprunner("check")
    assert run.code == 4
    assert run.err == (
        "two handlers for e_x1_1: e_x1_1 at experiments/handlers.py:1 and e_x1_1_more at "
        "experiments/handlers.py:2; remove one, or rename it to another id\n"
    )
    assert "Traceback" not in study.exprunner("check", "--json").text


# --- status -------------------------------------------------------------------------------------


def test_status_of_nothing(study: Study) -> None:
    """Before the first run everything is not started, and nothing is written."""
    study.plan(GATED)
    study.handlers(MET)
    before = study.files()
    run = study.exprunner("status")
    assert run.code == 0
    assert run.out == (
        "research plan\n"
        "gate_1: pending — x1-first has not started\n"
        "not started: x1-first\n"
        "Completed: 0  Failed: 0  In progress: 0  Not started: 1\n"
    )
    assert study.files() == before


def test_status_after_a_run(study: Study) -> None:
    """``status`` shows the table that the run ended with."""
    study.plan("project: {name: Foresight}\n" + GATED)
    study.handlers(MET)
    study.pytest()
    run = study.exprunner("status")
    assert run.out == (
        "research plan: Foresight\n"
        "x1-first  completed → proceed (confidence: medium)\n"
        "  criterion  value  target  acceptable  verdict\n"
        "  accuracy   0.950  ≥ 0.90  ≥ 0.80      target\n"
        "gate_1: passed\n"
        "Completed: 1  Failed: 0  In progress: 0  Not started: 0\n"
    )
    value = parsed(study.exprunner("status", "--json"))
    experiment = value["experiments"]["x1-first"]
    assert (experiment["status"], experiment["recommendation"]) == ("completed", "proceed")
    assert experiment["sub_experiments"] == {"e_x1_1": "completed"}
    assert value["gates"] == {
        "gate_1": {
            "state": "passed",
            "experiments": ["x1-first"],
            "evidence": ["x1-first says proceed: The success criterion is met"],
            "claimed": None,
        }
    }


def test_status_counts_every_state(study: Study) -> None:
    """Skipped and blocked sub-experiments are in the counts, so that they add up to the plan."""
    study.plan(
        PLAN
        + "  x2: {sub_experiments: [e_2], dependencies: [x1-first], success_criteria: {a: {target: 1}}}\n"
    )
    study.handlers(
        "import pytest\ndef e_x1_1(runner): pytest.skip('no')\ndef e_2(runner): return {'metrics': {}}\n"
    )
    study.pytest()
    last = study.exprunner("status").out.splitlines()[-1]
    assert sum(int(part) for part in last.split() if part.isdigit()) == 2, last


def test_a_claim_of_the_plan_is_shown_and_is_no_evidence(study: Study) -> None:
    """A gate that the plan calls passed is pending until something was measured."""
    study.plan(GATED.replace("[x1-first]}", "[x1-first], status: passed}"))
    run = study.exprunner("gates")
    assert run.code == 3
    assert run.out == "gate_1: pending (the plan claims passed)\n  x1-first has not started\n"


# --- report -------------------------------------------------------------------------------------


def test_report(study: Study) -> None:
    """``report`` writes the files anew and says what it wrote."""
    study.plan(GATED)
    study.handlers(MET)
    study.pytest()
    run = study.exprunner("report")
    assert (run.code, run.out) == (
        0,
        "wrote results and findings of 1 experiment, and research/FINDINGS.md\n",
    )
    assert parsed(study.exprunner("report", "--json")) == {
        "schema": "exprunner/report",
        "schema_version": 1,
        "experiments": ["x1-first"],
        "findings": "research/FINDINGS.md",
        "notes": [],
        "problems": [],
    }


# --- gates --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "code", "text"),
    [
        ("0.95", 0, "gate_1: passed\n  x1-first says proceed: The success criterion is met\n"),
        (
            "0.1",
            1,
            "gate_1: failed\n  x1-first says pivot: Not met: accuracy 0.100 (needs ≥ 0.80)\n",
        ),
        (
            "None",
            3,
            "gate_1: pending\n  x1-first says investigate: Not measured: accuracy (0 of 1 measured)\n",
        ),
        ("1 / 0", 3, "gate_1: pending\n  x1-first says investigate: e_x1_1 failed\n"),
    ],
)
def test_gates(study: Study, value: str, code: int, text: str) -> None:
    """A gate's state is the exit code: 0 passed, 1 failed, 3 pending; the evidence stands below."""
    study.plan(GATED)
    study.handlers(MET.replace("0.95", value))
    study.pytest()
    run = study.exprunner("gates", "gate_1")
    assert (run.code, run.out) == (code, text)
    as_json = study.exprunner("gates", "--json")
    assert as_json.code == code
    state = {0: "passed", 1: "failed", 3: "pending"}[code]
    assert parsed(as_json)["gates"]["gate_1"]["state"] == state


def test_the_worst_gate_decides(study: Study) -> None:
    """Among several gates a failed one outweighs a pending one; a named one is judged alone."""
    study.plan(
        PLAN + "  x2: {sub_experiments: [e_2], success_criteria: {a: {target: 1}}}\n"
        "  x3: {sub_experiments: [e_3], success_criteria: {a: {target: 1}}}\n"
        "gates: {g1: {experiments: [x1-first]}, g2: {experiments: [x2]}, g3: {experiments: [x3]}}\n"
    )
    study.handlers(MET + "def e_2(runner): return {'metrics': {'a': 0}}\n")
    study.pytest()
    codes = {gate: study.exprunner("gates", gate).code for gate in ("g1", "g2", "g3")}
    assert codes == {"g1": 0, "g2": 1, "g3": 3}
    assert study.exprunner("gates").code == 1
    assert study.exprunner("gates", "g1", "g3").code == 3


def test_no_gates(study: Study) -> None:
    """A plan without gates says so; asking for one by name is wrong."""
    study.plan()
    run = study.exprunner("gates")
    assert (run.code, run.out) == (0, "the plan has no gates\n")
    run = study.exprunner("gates", "g1")
    assert (run.code, run.err) == (4, "unknown gate 'g1'; known: none\n")


def test_an_unknown_gate(study: Study) -> None:
    """A misspelt gate is exit 4 with the one that was meant."""
    study.plan(GATED)
    run = study.exprunner("gates", "gate1")
    assert (run.code, run.err) == (
        4,
        "unknown gate 'gate1' (did you mean 'gate_1'?); known: gate_1\n",
    )


# --- usage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_no_plan(study: Study, command: str) -> None:
    """Without a plan every command is exit 4 and says where it looked."""
    run = study.exprunner(command)
    assert (run.code, run.out) == (4, "")
    assert run.err == (
        f"no plan found: looked for research/research_plan.yaml from {study.root} upwards; "
        "name one with --plan FILE, or begin with 'exprunner init'\n"
    )


def test_a_named_plan_that_is_not_there(study: Study) -> None:
    """A plan that was named and is missing is exit 4, in pytest and in the command."""
    run = study.exprunner("check", "--plan", "other.yaml")
    assert (run.code, run.err) == (4, f"there is no plan at {study.root / 'other.yaml'}\n")
    run = study.pytest("--exp-plan", "other.yaml")
    assert run.code == 4
    assert run.err.strip() == f"ERROR: --exp-plan: there is no plan at {study.root / 'other.yaml'}"


def test_options_that_need_a_plan(study: Study) -> None:
    """An option that only makes sense with a plan is a usage error where there is none."""
    study.write("test_it.py", "def test_it(): pass\n")
    for option in (["--exp-stub"], ["--exp-gate", "g"], ["--exp-exploratory"]):
        run = study.pytest("test_it.py", *option)
        assert run.code == 4, run.text
        assert run.err.strip() == (
            f"ERROR: {option[0]} needs a research plan, and there is none: looked for "
            f"research/research_plan.yaml from {study.root} upwards; name one with --exp-plan FILE"
        )


def test_an_unknown_command(study: Study) -> None:
    """An unknown command or option is exit 4 and points to the help."""
    run = study.exprunner("chekc")
    assert run.code == 4
    assert run.err.startswith("No such command 'chekc'.")
    assert run.err.endswith("(exprunner --help shows the commands)\n")
    assert study.exprunner("check", "--nonsense").code == 4


def test_help_and_version(study: Study) -> None:
    """The help names the commands and their exit codes."""
    run = study.exprunner("--help")
    assert run.code == 0
    assert all(command in run.out for command in COMMANDS)
    words = " ".join(run.out.split())
    assert (
        "Exit codes: 0 success, 1 something failed, 3 a gate is pending or attempts are waiting for a tracker's "
        "server, 4 the plan or the command is wrong." in words
    )
    assert study.exprunner("--version").code == 0
    assert study.exprunner().code in {0, 2, 4}


def test_the_schema_is_json(study: Study) -> None:
    """``schema`` prints the JSON Schema of a plan, without needing one."""
    run = study.exprunner("schema")
    assert run.code == 0
    assert "experiments" in parsed(run)["properties"]


# --- settings -----------------------------------------------------------------------------------

INI = {
    "pytest.ini": "[pytest]\nexp_plan = plans/it.yaml\nexp_results = out\nexp_paths = lab other\n",
    "pyproject.toml": '[tool.pytest.ini_options]\nexp_plan = "plans/it.yaml"\nexp_results = "out"\n'
    'exp_paths = "lab other"\n',
    "tox.ini": "[pytest]\nexp_plan = plans/it.yaml\nexp_results = out\nexp_paths = lab other\n",
    "setup.cfg": "[tool:pytest]\nexp_plan = plans/it.yaml\nexp_results = out\nexp_paths = lab other\n",
    "pytest.toml": '[pytest]\nexp_plan = "plans/it.yaml"\nexp_results = "out"\nexp_paths = "lab other"\n',
}


@pytest.mark.parametrize("file", list(INI))
def test_ini_settings_hold_for_both(study: Study, file: str) -> None:
    """Pytest and the command read the same settings from the same file, from any folder below."""
    study.write(file, INI[file])
    study.write("plans/it.yaml", PLAN)
    study.write("lab/handlers.py", MET)
    study.write("other/deep/nothing.py", "")
    run = study.pytest("lab")
    assert run.code == 0, run.text
    assert run.counts(passed=1)
    assert "out/experiments/x1-first/results.yaml" in study.files()
    for cwd in (".", "other/deep"):
        status = study.exprunner("status", cwd=cwd)
        assert "x1-first  completed → proceed" in status.out, status.text
    assert "1 handler for 1 sub-experiment" in study.exprunner("check", cwd="lab").out


def test_environment_variables(study: Study) -> None:
    """Every setting has an environment variable, for pytest and the command, above the ini file."""
    study.write("pytest.ini", INI["pytest.ini"])
    study.write("env/plan.yaml", PLAN)
    study.write("lab2/handlers.py", MET)
    environment = {
        "EXPRUNNER_PLAN": "env/plan.yaml",
        "EXPRUNNER_RESULTS": "env/out",
        "EXPRUNNER_PATHS": "lab2",
    }
    run = study.pytest("lab2", env=environment)
    assert run.code == 0, run.text
    assert "env/out/experiments/x1-first/results.yaml" in study.files()
    assert "completed → proceed" in study.exprunner("status", env=environment).out
    assert "1 handler for" in study.exprunner("check", env=environment).out


def test_the_command_line_comes_first(study: Study) -> None:
    """An option outweighs the environment, which outweighs the ini file."""
    study.write("pytest.ini", "[pytest]\nexp_results = ini\n")
    study.plan()
    study.handlers(MET)
    environment = {"EXPRUNNER_RESULTS": "env"}
    assert study.pytest("experiments/", "--exp-results", "cli", env=environment).code == 0
    assert study.pytest("experiments/", env=environment).code == 0
    assert study.pytest("experiments/").code == 0
    written = {f.split("/")[0] for f in study.files() if f.endswith("results.yaml")}
    assert written == {"cli", "env", "ini"}
    run = study.exprunner("status", "--results", "cli", env={"EXPRUNNER_RESULTS": "nowhere"})
    assert "completed → proceed" in run.out


def test_an_option_is_relative_to_where_it_was_typed(study: Study) -> None:
    """A path of the command line starts at the current folder, one of the ini file at its own."""
    study.write("pytest.ini", "[pytest]\n")
    study.plan()
    study.handlers(MET)
    study.write("deep/er/x.txt", "")
    run = study.pytest("../../experiments", "--exp-results", "here", cwd="deep/er")
    assert run.code == 0, run.text
    assert "deep/er/here/experiments/x1-first/results.yaml" in study.files()
    assert "completed → proceed" in study.exprunner("status", "--results", "here", cwd="deep/er").out


def test_the_command_works_from_below(study: Study) -> None:
    """The plan is found from any folder under the study."""
    study.plan()
    study.handlers(MET)
    study.pytest()
    run = study.exprunner("status", cwd="experiments")
    assert run.code == 0, run.text
    assert "completed → proceed" in run.out


def test_pytest_works_from_below(study: Study) -> None:
    """Pytest finds the plan from inside the experiments folder as well, with or without an ini file."""
    study.plan()
    study.handlers(MET)
    for argument in (".", "handlers.py"):
        run = study.pytest(argument, cwd="experiments")
        assert run.code == 0, run.text
        assert run.counts(passed=1), run.text


def test_an_empty_variable_is_no_setting(study: Study) -> None:
    """An environment variable that is set to nothing changes nothing."""
    study.plan()
    study.handlers(MET)
    run = study.pytest(env={"EXPRUNNER_PLAN": "", "EXPRUNNER_RESULTS": ""})
    assert run.code == 0, run.text
    assert study.results()["recommendation"] == "proceed"
