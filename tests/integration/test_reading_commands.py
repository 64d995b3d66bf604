"""``exprunner next``, ``show``, ``history`` and ``diff``: what was found, what led there, what to do."""

from __future__ import annotations

import os
import re
import shlex
import sys

import pytest
import terminal
from study_folder import PLAN, Run, Study

GATED = PLAN.replace("[e_x1_1]", "{e_x1_1: {name: Accuracy, objective: Measure it.}}") + (
    "    name: First\n    next_steps: {pivot: [Try another]}\n"
    "gates:\n  gate_1: {name: Go on, experiments: [x1-first], unlocks: Phase 2, status: passed}\n"
)
MET = """\
def e_x1_1(runner):
    kept = runner.results.save_artifact("scores.txt", "1")
    return {"finding": "It works.", "metrics": {"accuracy": 0.95, "loss": 2, "best": "a"}, "artifacts": [kept]}
"""
HOSTILE = "\\e[31mred\\e[0m [bold]x[/bold] ::error::no \\u202e"


def steady(run: Run) -> str:
    """What a command printed, times and run ids taken out."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", run.out)
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{6}", "RUN", text)
    return re.sub(r"\d+\.\d+ s\b|\b\d+e-\d+ s\b", "T s", text)


@pytest.fixture
def first(study: Study) -> Study:
    """A study whose one handler has run once."""
    study.plan(GATED)
    study.handlers(MET)
    assert study.pytest().code == 0
    return study


def again(study: Study, old: str, new: str) -> Run:
    """Change the handler and run it once more."""
    file = study.root / "experiments" / "handlers.py"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return study.pytest()


# --- show ---------------------------------------------------------------------------------------


def test_an_experiment(first: Study) -> None:
    """In a pipe: what FINDINGS.md says as plain text, tables aligned, paths from where one stands."""
    run = first.exprunner("show", "x1-first")
    assert run.code == 0
    body = steady(run).partition("Provenance\n")[0]
    assert body == (
        "First\n=====\n\n"
        "Answer\n------\n\n"
        "It holds. No criterion has changed since the first attempt. Status completed, recommendation proceed (confidence: medium). The success criterion is met.\n\n"
        "Key metrics\n-----------\n\n"
        "Criterion  Value  Target  Acceptable  Failure  Verdict  Measured in\n"
        "accuracy   0.950  ≥ 0.90  ≥ 0.80      ≤ 0.50   target   e_x1_1 attempt 1\n\n"
        "What worked\n-----------\n\n"
        "- accuracy of 0.950 is above the 0.90 target.\n\n"
        "Implications\n------------\n\n"
        "- gate_1: this experiment passes it.\n\n"
        "Confidence\n----------\n\n"
        "Medium. Measured 1 of 1 gating criterion; one run each (n = 1), so the spread over seeds is unknown.\n\n"
        "Next steps\n----------\n\n"
        "- Decide what to ask next; no other experiment depends on this one.\n\n"
        "Sub-experiments\n---------------\n\n"
        "e_x1_1 — Accuracy\n\n"
        "Objective: Measure it.\n\n"
        "It works.\n\n"
        "Metric    Value\naccuracy  0.950\nloss      2\nbest      a\n\n"
        "Files: research/experiments/x1-first/artifacts/e_x1_1/scores.txt.\n\n"
    )
    elsewhere = first.exprunner("show", "x1-first", cwd="experiments")
    assert "Files: ../research/experiments/x1-first/artifacts/e_x1_1/scores.txt.\n" in elsewhere.out


def test_a_sub_experiment(first: Study) -> None:
    """Only what concerns it: the attempt that counts, or why there is none."""
    assert first.exprunner("show", "e_x1_1").out == (
        "e_x1_1 — Accuracy\n\nObjective: Measure it.\n\nIt works.\n\n"
        "Metric    Value\naccuracy  0.950\nloss      2\nbest      a\n\n"
        "Files: research/experiments/x1-first/artifacts/e_x1_1/scores.txt.\n"
    )
    again(first, "0.95", "1 / 0")
    assert "\nFailed: ZeroDivisionError: division by zero\n" in first.exprunner("show", "e_x1_1").out


def test_a_gate(first: Study) -> None:
    """Where it stands, what for, and what the plan claims."""
    assert first.exprunner("show", "gate_1").out == (
        "gate_1 — Go on\n==============\n\nIt is passed.\n\n"
        "- x1-first says proceed: The success criterion is met\n\nIt has unlocked: Phase 2\n"
    )
    again(first, "0.95", "0.1")
    assert "It is failed. The plan claims passed.\n" in first.exprunner("show", "gate_1").out


@pytest.mark.parametrize("command", ["show", "history", "diff"])
def test_an_unknown_id(study: Study, command: str) -> None:
    """An id that nothing has is exit 4, with the one that was meant and those that there are."""
    study.plan(GATED)
    run = study.exprunner(command, "e_x1_2")
    assert (run.code, run.out) == (4, "")
    assert run.err == (
        "unknown id 'e_x1_2' (did you mean 'e_x1_1'?); expected an experiment, a sub-experiment or a gate: "
        "x1-first, e_x1_1 and gate_1\n"
    )


def test_on_a_terminal(first: Study) -> None:
    """Where a person looks, tables fit the width and nothing is lost."""
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONDONTWRITEBYTECODE": "1"}
    for width in (60, 120):
        command = [sys.executable, "-m", "pytest_exprunner", "show", "x1-first"]
        seen = terminal.show(command, first.root, environment, width=width, height=70)
        assert seen.code == 0
        assert "── " in seen.last or "───" in seen.last
        for word in ("accuracy", "0.950", "≥ 0.90", "target", "It works.", "scores.txt"):
            assert word in seen.last.replace("\n", ""), seen.last
    told = terminal.show([*command[:-2], "next"], first.root, environment, width=40)
    assert max(map(len, told.last.splitlines())) <= 40
    dumb = terminal.show(command, first.root, {**environment, "TERM": "dumb"}, width=120, height=70)
    assert "───" not in dumb.last


def test_a_console_that_knows_ascii_alone(first: Study) -> None:
    """Signs that it lacks are written otherwise, and nothing raises."""
    for command in (("show", "x1-first"), ("history", "x1-first"), ("next",)):
        run = first.exprunner(*command, env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
        assert run.code == 0, run.text
    assert ">= 0.90" in first.exprunner("show", "x1-first", env={"PYTHONIOENCODING": "ascii"}).out


def test_hostile_texts(study: Study) -> None:
    """What plan and handlers wrote cannot steer a terminal, start a workflow command or be markup."""
    study.plan(
        GATED.replace("name: Accuracy", f'name: "{HOSTILE}"')
        .replace("name: First", f'name: "{HOSTILE}"')
        .replace("[Try another]", f'["{HOSTILE}"]')
        .replace("name: Go on", f'name: "{HOSTILE}"')
    )
    text = '"\\x1b[31mred\\x1b[0m [/bold] \\u202e"'
    study.handlers(
        f"def e_x1_1(runner):\n    # \x07 {HOSTILE}\n    return {{'finding': {text}, "
        f"'metrics': {{{text}: 1, 'accuracy': 0.1, 'note': {text}}}}}\n"
    )
    study.pytest()
    again(study, "0.1", "0.2")
    for command in ("show x1-first", "show e_x1_1", "show gate_1", "history x1-first", "diff e_x1_1", "next"):
        run = study.exprunner(*command.split())
        assert run.code == 0, run.text
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", run.out), command
        assert not re.search(r"^::", run.out, re.MULTILINE), command
    environment = {**os.environ, "TERM": "xterm-256color"}
    shown = terminal.show(
        [sys.executable, "-m", "pytest_exprunner", "show", "e_x1_1"], study.root, environment
    )
    assert "[/bold]" in shown.last


# --- history ------------------------------------------------------------------------------------


def test_a_history(first: Study) -> None:
    """Every attempt with its number, oldest first; the one that counts is marked; why one failed stands below."""
    again(first, "0.95", "1 / 0")
    again(first, "1 / 0", "0.85")
    assert steady(first.exprunner("history", "e_x1_1")) == (
        "e_x1_1 — Accuracy\n-----------------\n\n"
        "Attempt     Started              Took     Status     accuracy  Verdicts             Run\n"
        "1           TIME  T s  completed  0.950     accuracy target      RUN\n"
        "2           TIME  T s  failed     –         –                    RUN\n"
        "3 (counts)  TIME  T s  completed  0.850     accuracy acceptable  RUN\n\n"
        "Attempt 2 failed: ZeroDivisionError: division by zero\n"
    )
    assert first.exprunner("history", "x1-first").out == first.exprunner("history", "e_x1_1").out


def test_a_history_of_nothing(study: Study) -> None:
    """What has never run says so; a gate has no attempts."""
    study.plan(GATED)
    assert study.exprunner("history", "x1-first").out.endswith("\n\nIt has never run.\n")
    run = study.exprunner("history", "gate_1")
    assert (run.code, run.err) == (4, "gate_1 is a gate, which has no attempts; try: exprunner show gate_1\n")


def test_attempts_whose_records_are_gone(first: Study) -> None:
    """In a clone without the records results.yaml tells of them, and the history says so."""
    record = first.attempt() / "record.json"
    for file in (record, first.attempt() / "events.jsonl"):
        file.unlink()
    run = first.exprunner("history", "e_x1_1")
    assert "accuracy target" in run.out
    assert "Of 1 attempt (1) the record is not on disk.\n" in run.out
    run = first.exprunner("diff", "e_x1_1", "1")
    assert run.code == 4
    assert "Traceback" not in run.text


# --- diff ---------------------------------------------------------------------------------------


def test_a_difference(first: Study) -> None:
    """Metrics with their change, verdicts, and the lines of code that changed."""
    again(first, "0.95", "0.855")
    run = first.exprunner("diff", "e_x1_1")
    assert run.code == 0, run.text
    assert steady(run) == (
        "e_x1_1: attempt 2 against attempt 1\n-----------------------------------\n\n"
        "Before: completed, TIME. After: completed, TIME, the one that counts.\n\n"
        "Metric    Before  After  Change  Relative\n"
        "accuracy  0.950   0.855  -0.095  -10.0%\n\n"
        "The same: loss and best.\n\n"
        "What     Name      Before  After\n"
        "verdict  accuracy  target  acceptable\n\n"
        "Code: experiments/handlers.py changed\n"
        "  --- experiments/handlers.py before\n"
        "  +++ experiments/handlers.py after\n"
        "  @@ -1,3 +1,3 @@\n"
        "   def e_x1_1(runner):\n"
        '       kept = runner.results.save_artifact("scores.txt", "1")\n'
        '  -    return {"finding": "It works.", "metrics": {"accuracy": 0.95, "loss": 2, "best": "a"}, '
        '"artifacts": [kept]}\n'
        '  +    return {"finding": "It works.", "metrics": {"accuracy": 0.855, "loss": 2, "best": "a"}, '
        '"artifacts": [kept]}\n'
    )


def test_no_difference(first: Study) -> None:
    """Where nothing that was recorded differs, one sentence says so."""
    first.pytest()
    run = first.exprunner("diff", "e_x1_1")
    assert run.out.endswith(
        "\n\nNothing recorded differs except times and ids. 3 metrics and everything else are the same.\n"
    )


def test_comments_and_lost_texts(first: Study) -> None:
    """A change of comments alone is told as such; where the earlier text is lost, that is said."""
    again(first, "def ", "# a comment\ndef ")
    assert "Code: experiments/handlers.py changed (only comments, formatting or docstrings)\n" in (
        first.exprunner("diff", "e_x1_1").out
    )
    for kept in (first.research / ".exprunner" / "sources").iterdir():
        kept.unlink()
    run = first.exprunner("diff", "e_x1_1")
    assert run.out.endswith("\n\nCode: experiments/handlers.py changed (the earlier version was not kept)\n")


def test_parameters_and_seeds(study: Study) -> None:
    """Attempts of other variants and seeds are compared when they are named; the default stays in its own."""
    study.plan(GATED.replace("Measure it.", "Measure it., seeds: [0, 1]"))
    study.handlers(
        "import pytest\n@pytest.mark.parametrize('lr', [1, 2])\n"
        "def e_x1_1(runner, lr):\n    return {'metrics': {'accuracy': 0.9 + runner.seed / 100}}\n"
    )
    study.pytest("experiments", "-p", "no:randomly")
    study.pytest("experiments", "-p", "no:randomly")
    last = study.exprunner("diff", "e_x1_1").out
    assert "attempt 8 against attempt 4\n" in last
    assert "Nothing recorded differs" in last
    other = study.exprunner("diff", "e_x1_1", "1", "8").out
    assert re.search(r"^parameter  lr +1 +2$", other, re.MULTILINE), other
    assert re.search(r"^seed       seed +0 +1$", other, re.MULTILINE), other


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("e_x1_1",), "attempt 1 is the first of e_x1_1; nothing is before it\n"),
        (("e_x1_1", "7"), "e_x1_1 has no attempt 7; known: 1\n"),
        (("e_x1_1", "1", "1"), "attempt 1 of e_x1_1 is to be compared with itself\n"),
        (("x1-first",), "x1-first is an experiment; only attempts of a sub-experiment can be compared\n"),
        (("gate_1",), "gate_1 is a gate; only attempts of a sub-experiment can be compared\n"),
    ],
)
def test_what_cannot_be_compared(first: Study, arguments: tuple[str, ...], message: str) -> None:
    """Each case says why, and is exit 4."""
    run = first.exprunner("diff", *arguments)
    assert (run.code, run.out, run.err) == (4, "", message)


def test_a_hostile_record_reads_no_other_file(first: Study) -> None:
    """A record that names another file as its code gets nothing of it printed."""
    first.write("secret.py", "password = 'hunter2'\n")
    first.pytest()
    file = first.attempt() / "record.json"
    record = file.read_text(encoding="utf-8")
    digest = first.record()["inputs"]["code"]["experiments/handlers.py"]
    file.write_text(record.replace(digest, "../../../secret"), encoding="utf-8")
    run = first.exprunner("diff", "e_x1_1", "1", "2")
    assert run.code == 0, run.text
    assert "hunter2" not in run.text
    assert "the earlier version was not kept" in run.out


# --- next ---------------------------------------------------------------------------------------


def test_from_nothing_to_done(study: Study) -> None:
    """Write, run, repair, decide: each command that ``next`` names is the right one."""
    study.plan(GATED)
    assert study.exprunner("next").out == (
        "1. write: e_x1_1\n   e_x1_1 (Accuracy) has no handler yet\n   $ exprunner new e_x1_1\n"
        "2. gate: gate_1\n   gate_1 is pending: x1-first has not started\n   $ exprunner gates gate_1\n"
    )
    study.handlers(MET.replace("0.95", "1 / 0"))
    assert study.exprunner("next").out.startswith(
        "1. run: e_x1_1\n   e_x1_1 has not been run, and nothing blocks it\n   $ pytest experiments/ -m x1-first\n"
    )
    assert study.pytest("experiments/", "-m", "x1-first").code == 1
    assert study.exprunner("next").out.startswith(
        "1. repair: e_x1_1\n   e_x1_1 failed: ZeroDivisionError: division by zero; fix experiments/handlers.py:3, "
        "then run it again\n   $ pytest experiments/ -m e_x1_1\n"
    )
    again(study, "1 / 0", "0.1")
    assert study.exprunner("next", cwd="experiments").out.startswith(
        "1. decide: x1-first\n   x1-first says pivot (Not met: accuracy 0.100 (needs ≥ 0.80)); the plan: Try another\n"
    )
    again(study, "0.1", "0.95")
    assert study.exprunner("next").out == "this plan is complete; nothing is left to do\n"


def test_a_plan_elsewhere(study: Study) -> None:
    """Commands carry the options with which this one was called, so that they can be typed as they are."""
    study.write("plans/my plan.yaml", GATED)
    run = study.exprunner("next", "--plan", "plans/my plan.yaml", "--results", "out")
    options = "--plan 'plans/my plan.yaml' --results out"
    assert f"   $ exprunner new e_x1_1 {options}\n" in run.out
    assert study.exprunner("new", "e_x1_1", "--plan", "plans/my plan.yaml").code == 0
    run = study.exprunner("next", "--plan", "plans/my plan.yaml", "--results", "out")
    [command] = re.findall(r"^   \$ pytest (.*)$", run.out, re.MULTILINE)
    assert command.endswith(" --exp-plan 'plans/my plan.yaml' --exp-results out -m x1-first")
    assert study.pytest(*shlex.split(command)).code == 1
    assert "out/experiments/x1-first/results.yaml" in study.files()


def test_data_that_is_not_there(study: Study) -> None:
    """What cannot run for want of its data says which file is missing."""
    study.plan(GATED.replace("Measure it.", "Measure it., data: [data/x.npz]"))
    study.handlers(MET)
    assert study.exprunner("next").out.startswith(
        "1. blocked: e_x1_1\n   e_x1_1 needs the data file data/x.npz, which is missing\n"
    )


def test_a_run_that_was_cut_short(study: Study) -> None:
    """What a killed run left is resumed by the command that is named."""
    study.plan(GATED)
    study.handlers("import os\ndef e_x1_1(runner):\n    os._exit(0)\n")
    study.pytest()
    told = study.exprunner("next").out
    assert "1. resume: e_x1_1\n   e_x1_1 is unfinished: " in told
    command = "pytest experiments/ --exp-resume -m e_x1_1"
    assert f"   $ {command}\n" in told
    study.handlers(MET)
    assert study.pytest(*command.split()[1:]).code == 0
    assert study.exprunner("next").out == "this plan is complete; nothing is left to do\n"
