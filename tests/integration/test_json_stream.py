"""What a program reads of a run: ``--exp-json``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import cache
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from study_folder import PLAN, Run, Study

from pytest_exprunner.report import events

TWO = """\
project: {name: Two}
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2]
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5, from: e_x1_1}
  x2-next:
    dependencies: [x1-first]
    sub_experiments: {e_x2_1: {}}
    success_criteria:
      f1: {target: 0.9}
gates:
  g1: {experiments: [x1-first, x2-next]}
"""
HANDLERS = """\
import os, subprocess, time

def e_x1_1(runner):
    runner.stage("Training", 1, 2)
    for step in range(150):
        runner.log_metrics({"loss": 1 / (step + 1)}, step=step)
        time.sleep(0.01)
    path = runner.results.save_artifact("a.txt", "a")
    return {"finding": "Good.", "metrics": {"accuracy": 0.7, "odd": float("nan")}, "artifacts": [path]}

def e_x1_2(runner):
    raise ValueError("boom")

def e_x2_1(runner):
    return {"metrics": {"f1": 1.0}}
"""
GOOD = "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n"


@cache
def validator() -> Draft202012Validator:
    """What every line has to follow."""
    found = events.schema()
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def checked(lines: str) -> list[dict[str, Any]]:
    """Return the events of a run; each follows the schema and has nothing that the schema does not name."""
    found: list[dict[str, Any]] = [orjson.loads(text) for text in lines.splitlines()]
    schema = events.schema()
    definitions = schema["$defs"]
    for event in found:
        wrong = best_match(validator().iter_errors(event))
        assert wrong is None, f"{event['event']}: {wrong.message}"
        known = {*schema["properties"], *definitions[event["event"]]["properties"]}
        assert set(event) <= known, event
        for criterion in event.get("criteria", ()):
            assert set(criterion) == set(definitions["criterion"]["properties"])
    assert [event["sequence"] for event in found] == list(range(1, len(found) + 1))
    _in_order(found)
    return found


def _in_order(found: list[dict[str, Any]]) -> None:
    """An attempt's start comes before what it logs, and that before its end."""
    stands: dict[tuple[str, int], str] = {}
    for event in found:
        kind = event["event"]
        if kind in ("attempt_started", "metrics", "progress", "attempt_finished"):
            name = (event["label"], event["attempt"])
            assert stands.get(name) == (None if kind == "attempt_started" else "running"), event
            stands[name] = "ended" if kind == "attempt_finished" else "running"
    if found and found[-1]["event"] == "summary":
        assert set(stands.values()) <= {"ended"}


def streamed(study: Study, *arguments: str, **more: Any) -> tuple[Run, list[dict[str, Any]]]:
    """Run experiments; return the run and its events."""
    run = study.pytest("experiments/", "--exp-json", "-", *arguments, **more)
    return run, checked(run.out)


def kinds(found: list[dict[str, Any]]) -> list[str]:
    """The kinds of events in their order."""
    return [event["event"] for event in found]


def of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The events of a kind."""
    return [event for event in found if event["event"] == kind]


MODES = [
    pytest.param((), ("exprunner",), id="serial"),
    pytest.param(("-n2",), ("exprunner", "xdist"), id="n2"),
    pytest.param(("--exp-executor=subprocess",), ("exprunner",), id="subprocess"),
]


@pytest.mark.parametrize(("arguments", "plugins"), MODES)
def test_a_run(study: Study, arguments: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Everything that happens is told, in order, and alike however handlers are called."""
    study.plan(TWO)
    study.handlers(HANDLERS)
    run, found = streamed(study, *arguments, "--exp-gate=g1", plugins=plugins)
    assert run.code == 1, run.text
    assert found[0]["event"] == "run_started"
    assert found[0]["selected"] == 3
    assert found[0]["settings"]["workers"] == (2 if "-n2" in arguments else 0)
    assert [(e["label"], e["dependencies"]) for e in of(found, "planned")] == [
        ("e_x1_1", []), ("e_x1_2", []), ("e_x2_1", ["x1-first"])
    ]  # fmt: skip
    ends = {event["label"]: event for event in of(found, "attempt_finished")}
    assert set(ends) == {"e_x1_1", "e_x1_2"}
    good, bad = ends["e_x1_1"], ends["e_x1_2"]
    assert (good["status"], good["finding"], good["metrics"]) == (
        "completed", "Good.", {"accuracy": 0.7, "odd": "NaN"}
    )  # fmt: skip
    [criterion] = good["criteria"]
    assert (criterion["verdict"], criterion["met"]) == ("missed", False)
    assert criterion["text"] == "accuracy of 0.700 is below the 0.80 acceptable threshold by 0.100."
    assert [artifact["path"] for artifact in good["artifacts"]] == ["artifacts/e_x1_1/a.txt"]
    assert (bad["status"], bad["error"]["type"], bad["error"]["message"]) == ("failed", "ValueError", "boom")
    assert 'raise ValueError("boom")' in bad["error"]["traceback"]
    rows = of(found, "metrics")
    assert 2 <= len(rows) <= 6
    assert (rows[-1]["step"], rows[-1]["rows"]) == (149, 150)
    assert of(found, "progress")[0]["stage"] == "Training"
    [blocked] = of(found, "blocked")
    assert blocked["reason"].startswith("x2-next needs x1-first to proceed; it says investigate")
    assert [event["subject"] for event in of(found, "judged")] == ["g1"]
    assert [event["experiment"] for event in of(found, "experiment")] == ["x1-first", "x2-next"]
    assert of(found, "gate")[0]["state"] == "pending"
    last = found[-1]
    assert (last["event"], last["exit_code"]) == ("summary", 1)
    assert last["counts"] == {"completed": 1, "failed": 1, "skipped": 0, "blocked": 1, "no_handler": 0}
    assert last["findings"] == "research/FINDINGS.md"
    assert "x1-first: Repair e_x1_2: ValueError: boom" in last["next"]
    assert len({event["run"] for event in found}) == 1


@pytest.mark.parametrize(("arguments", "plugins"), MODES)
def test_nothing_else_is_on_standard_output(
    study: Study, arguments: tuple[str, ...], plugins: tuple[str, ...]
) -> None:
    """Whatever anybody writes to descriptor 1 goes to standard error: C code, programs, the end of pytest."""
    study.plan()
    study.handlers(
        """\
        import atexit, os, subprocess, sys
        atexit.register(os.write, 1, b"at exit\\n")
        print("imported")
        def e_x1_1(runner):
            print("printed")
            os.write(1, b"written\\n")
            os.write(sys.__stdout__.fileno(), b"underlying\\n")
            subprocess.run("echo spawned; ls /proc/self/fd > fds.txt", shell=True)
            return {"metrics": {"accuracy": 0.95}}
        """
    )
    run, found = streamed(study, *arguments, "-s", plugins=plugins)
    assert run.code == 0, run.text
    assert kinds(found)[-1] == "summary"
    leaves = [] if "-n2" in arguments else ["at exit"]  # workers leave without
    for words in ("imported", "spawned", "written", "1 passed", *leaves):
        assert words in run.err
    open_ones = (study.root / "fds.txt").read_text().split()
    # Beside standard streams and what lists the folder, nothing is handed on.
    assert len([fd for fd in open_ones if int(fd) > 2]) <= 1 + ("-n2" in arguments) * 2, open_ones


def test_a_file_that_holds_something_else_is_not_touched(study: Study) -> None:
    """A handler file, the plan, a page: whatever it is, it is somebody's."""
    study.plan()
    file = study.handlers(GOOD)
    run = study.pytest("experiments/", "--exp-json", "experiments/handlers.py")
    assert run.code == 4
    assert (
        "--exp-json: 'experiments/handlers.py' contains something other than events and was left unchanged; name "
        "another file, or delete that one" in run.text
    )
    assert "def e_x1_1" in file.read_text(encoding="utf-8")


def test_a_file(study: Study) -> None:
    """A file has the same lines, and pytest's report stays where it is."""
    study.plan()
    study.handlers(GOOD)
    assert study.pytest("experiments/", "--exp-json", "events.jsonl").code == 0
    shutil.rmtree(study.research / "experiments")
    run = study.pytest("experiments/", "--exp-json", "events.jsonl")
    assert run.code == 0
    assert "1 passed" in run.out
    found = checked((study.root / "events.jsonl").read_text())
    assert kinds(found) == [
        "run_started", "planned", "attempt_started", "attempt_finished", "experiment", "summary"
    ]  # fmt: skip


def test_a_file_that_cannot_be_written(study: Study) -> None:
    """That is said before anything runs."""
    study.plan()
    study.handlers(GOOD)
    run = study.pytest("experiments/", "--exp-json", "nowhere/events.jsonl")
    assert run.code == 4
    assert run.err.strip() == (
        "ERROR: --exp-json: 'nowhere/events.jsonl' cannot be written: No such file or directory; expected a "
        "file in a folder that exists, or - for standard output"
    )
    assert not (study.research / "experiments").exists()


def test_resume(study: Study) -> None:
    """What stands is told as such; what is run is told as ever."""
    study.plan()
    study.handlers(GOOD.replace("0.95", "0.7"))
    study.pytest()
    run, found = streamed(study, "--exp-resume")
    assert run.code == 1
    [again] = of(found, "replayed")
    assert (again["label"], again["attempt"], again["outcome"]) == ("e_x1_1", 1, "failed")
    assert "accuracy of 0.700 is below" in again["text"]
    assert not of(found, "attempt_started")
    assert found[-1]["counts"]["not_run_again"] == 1


def test_resume_of_what_was_replaced(study: Study) -> None:
    """A miss that is expected is told as such: nothing was skipped."""
    study.plan(f"{PLAN}  x2-second:\n    replaces: [x1-first]\n    sub_experiments: [e_x2_1]\n")
    study.handlers(GOOD.replace("0.95", "0.7"))
    study.pytest()
    _run, found = streamed(study, "--exp-resume")
    [again] = of(found, "replayed")
    assert (again["outcome"], again["text"]) == (
        "xfailed",
        "accuracy of 0.700 is below the 0.80 acceptable threshold by 0.100. x1-first was replaced by x2-second.",
    )


@pytest.mark.parametrize(("arguments", "plugins"), MODES[1:])
def test_a_crash(study: Study, arguments: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """A process that dies ends its attempt, and the stream goes on."""
    study.plan(TWO)
    study.handlers(
        "import os, time\n"
        "def e_x1_1(runner):\n    runner.log_metrics({'loss': 1.0})\n    os.kill(os.getpid(), 9)\n"
        "def e_x1_2(runner):\n    time.sleep(0.5)\n    return {'metrics': {}}\n"
    )
    run, found = streamed(study, *arguments, plugins=plugins)
    assert run.code == 1, run.text
    ends = {event["label"]: event for event in of(found, "attempt_finished")}
    assert ends["e_x1_1"]["error"]["type"] == "ProcessLost"
    assert ends["e_x1_2"]["status"] == "completed"
    assert of(found, "metrics")[0]["metrics"] == {"loss": 1.0}
    assert found[-1]["exit_code"] == 1


def test_a_broken_plan(study: Study) -> None:
    """Each problem is told with its place, and the last line is the error."""
    study.plan(PLAN.replace("failure: 0.5", "direction: up"))
    study.handlers(GOOD)
    run, found = streamed(study)
    assert run.code == 4
    [error] = found
    assert (error["event"], error["exit_code"], error["run"]) == ("error", 4, None)
    [problem] = error["problems"]
    assert (problem["file"], problem["line"]) == ("research/research_plan.yaml", 5)
    assert problem["path"] == "experiments.x1-first.success_criteria.accuracy.direction"
    assert "direction" in run.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--exp-gate", "g9"), "--exp-gate: unknown gate 'g9'; known: none"),
        (("--no-such-option",), "unrecognized arguments: --no-such-option"),
        (("nowhere.py",), "file or directory not found: nowhere.py"),
        (("--exp-results", "/proc/nowhere"), "the results folder /proc/nowhere cannot be written"),
    ],
)
def test_wrong_usage(study: Study, arguments: tuple[str, ...], message: str) -> None:
    """A mistake on the command line is told too, wherever pytest notices it."""
    study.plan()
    study.handlers(GOOD)
    run, found = streamed(study, *arguments)
    assert run.code == 4, run.text
    assert (found[-1]["event"], found[-1]["exit_code"]) == ("error", 4)
    assert message in found[-1]["message"]


def test_without_a_plan(study: Study) -> None:
    """It is refused, as everything is that has no meaning without a plan."""
    study.write("test_plain.py", "def test_plain(): pass\n")
    run = study.pytest("--exp-json", "-")
    assert run.code == 4
    [error] = checked(run.out)
    assert error["message"].startswith("--exp-json needs a research plan, and there is none")


def test_nothing_collected(study: Study) -> None:
    """A run of nothing begins and ends."""
    study.plan()
    study.handlers(GOOD)
    run, found = streamed(study, "-k", "nothing")
    assert run.code == 5
    assert kinds(found) == ["run_started", "summary"]
    assert (found[0]["selected"], found[1]["exit_code"]) == (0, 5)


def test_only_collected(study: Study) -> None:
    """With ``--collect-only`` what would be run is told."""
    study.plan()
    study.handlers(GOOD)
    run, found = streamed(study, "--collect-only")
    assert run.code == 0
    assert kinds(found) == ["run_started", "planned", "summary"]


@pytest.mark.parametrize(("arguments", "plugins"), MODES)
def test_what_no_attempt_tells(study: Study, arguments: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """A teardown that fails and an ordinary test that fails are told."""
    study.plan()
    study.write(
        "experiments/conftest.py",
        "import pytest\n@pytest.fixture\ndef late():\n    yield\n    raise OSError('too late')\n",
    )
    study.handlers("def e_x1_1(runner, late): return {'metrics': {'accuracy': 0.95}}\n")
    study.write("experiments/test_plain.py", "def test_plain(): assert False\n")
    run, found = streamed(study, *arguments, plugins=plugins)
    assert run.code == 1, run.text
    told = {event["nodeid"]: event for event in of(found, "item_failed")}
    assert told["experiments/handlers.py::e_x1_1"]["when"] == "teardown"
    assert "too late" in told["experiments/handlers.py::e_x1_1"]["text"]
    assert told["experiments/test_plain.py::test_plain"]["when"] == "call"


def test_what_cannot_be_imported(study: Study) -> None:
    """A handler's file that raises is told before anything else that fails."""
    study.plan()
    study.handlers("raise OSError('no such data')\n" + GOOD)
    run, found = streamed(study)
    assert run.code == 2
    assert kinds(found)[:2] == ["run_started", "item_failed"]
    assert found[1]["when"] == "collect"
    assert "no such data" in found[1]["text"]
    assert found[-1]["exit_code"] == 2


def test_an_exploratory_handler(study: Study) -> None:
    """It is told as an attempt of no experiment of the plan."""
    study.plan()
    study.handlers(GOOD + "def e_try(runner): return {'metrics': {'a': 1}}\n")
    run, found = streamed(study, "--exp-exploratory")
    assert run.code == 0, run.text
    told = {e["label"]: e for e in of(found, "attempt_finished")}
    assert (told["e_try"]["experiment"], told["e_try"]["metrics"]) == ("exploratory", {"a": 1})


def test_a_stub_run(study: Study) -> None:
    """A stub run judges nothing."""
    study.plan(TWO)
    study.handlers(HANDLERS)
    run, found = streamed(study, "--exp-stub")
    assert run.code == 0, run.text
    assert found[0]["settings"]["stub"] is True
    assert all(event["criteria"] == [] for event in of(found, "attempt_finished") + of(found, "experiment"))


def test_a_reader_that_goes_away(study: Study) -> None:
    """A closed pipe is noted in the summary, and the run goes on to its end."""
    study.plan()
    study.handlers(
        """\
        import pathlib, time

        def e_x1_1(runner):
            until = time.monotonic() + 30
            while not pathlib.Path("closed").exists() and time.monotonic() < until:
                time.sleep(0.01)
            return {"metrics": {"accuracy": 0.95}}
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", "exprunner", "experiments", "--exp-json", "-"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("EXPRUNNER_", "PYTEST_"))}
    with subprocess.Popen(
        command,
        cwd=study.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert '"run_started"' in process.stdout.readline()
        process.stdout.close()
        (study.root / "closed").touch()
        report = process.stderr.read()
        assert process.wait(30) == 0
    assert (
        "--exp-json: writing to standard output failed (Broken pipe); the run continued without it" in report
    )
    assert study.results()["status"] == "completed"


@pytest.mark.parametrize("parallel", [False, True])
def test_a_run_that_is_stopped(study: Study, parallel: bool) -> None:
    """SIGTERM ends the attempt as unfinished and the stream with its summary."""
    study.plan()
    study.handlers("import time\ndef e_x1_1(runner):\n    runner.log_metrics({'a': 1})\n    time.sleep(60)\n")
    arguments = ("--exp-json", "events.jsonl", *(("-n2",) if parallel else ()))
    process = study.start(*arguments)
    file = study.root / "events.jsonl"
    deadline = time.monotonic() + 30
    while not file.exists() or '"metrics"' not in file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 2
    found = checked(file.read_text())
    [end] = of(found, "attempt_finished")
    assert end["status"] == "in_progress"
    assert found[-1]["exit_code"] == 2


def test_secrets_stay_out(study: Study) -> None:
    """Tokens and values of secret variables are in no line."""
    study.plan()
    study.handlers(
        "import os\n"
        "def e_x1_1(runner):\n"
        "    raise ValueError('key ' + os.environ['MY_API_KEY'] + ' https://user:hunter22@host/')\n"
    )
    run, found = streamed(study, env={"MY_API_KEY": "abcdefgh12345"})
    assert "abcdefgh12345" not in run.out
    assert "hunter22" not in run.out
    assert found[0]["folder"] == str(study.root)
    assert "[redacted]" in of(found, "attempt_finished")[0]["error"]["message"]


def test_odd_values(study: Study) -> None:
    """Whatever a handler returns, each line is JSON that strict readers take, and of bounded size."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner):\n"
        "    runner.log_metrics({f'm{i}': float('inf') for i in range(20000)})\n"
        "    return {'finding': '\\ud800\\n' + 'x' * 900000, 'metrics': {'accuracy': 0.95, '\\x00': 10**5000,\n"
        "            'list': list(range(200000)), 'text': 'y' * 900000, '': float('-inf')}}\n"
    )
    run, found = streamed(study)
    assert run.code == 0, run.text
    assert max(map(len, run.out.splitlines())) < 400_000
    assert "NaN" not in run.out.replace('"NaN"', "")
    assert of(found, "attempt_finished")[0]["metrics"][""] == "-Infinity"


TWICE = """\
import io, os, sys, pytest
code = pytest.main(["experiments", "--exp-json", "-", "-p", "exprunner", "-q"])
sys.stdout.write("between\\n"); sys.stdout.flush()
again = pytest.main(["experiments", "--exp-json", "-", "-p", "exprunner", "-q"])
print("after", int(code), int(again))
"""


def test_twice_in_one_process(study: Study) -> None:
    """Standard output is given back, so that the next run and others find it as it was."""
    study.plan()
    study.handlers(GOOD)
    study.write("twice.py", TWICE)
    done = subprocess.run(
        [sys.executable, "twice.py"], cwd=study.root, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    first, rest = done.stdout.split("between\n")
    *second, last = rest.splitlines()
    assert kinds(checked(first)) == kinds(checked("\n".join(second)))
    assert last == "after 0 0"


def test_not_in_an_ini_file(study: Study) -> None:
    """It is for the command line: there is neither a key nor a variable."""
    study.plan()
    study.handlers(GOOD)
    run = study.pytest(env={"EXPRUNNER_JSON": "events.jsonl"})
    assert run.code == 0
    assert not (study.root / "events.jsonl").exists()


def test_modal_is_told_nothing() -> None:
    """Where handlers are called elsewhere, the option stays here."""
    from pytest_exprunner.plugin.remote import preflight

    assert "exp_json" in preflight._LOCAL_ONLY
