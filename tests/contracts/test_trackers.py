"""What every tracker can rely on, and what none can do to a run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from study_folder import Run, Study

pytestmark = pytest.mark.slow

PLAN = """\
project: {name: Shapes}
tracking: {recording_tracker:Recording: {colour: blue}}
experiments:
  x1-first:
    type: claim
    sub_experiments: [e_x1_1, e_x1_2, e_x1_3]
    success_criteria:
      accuracy: {target: 0.9, from: e_x1_1}
gates:
  gate_1: {experiments: [x1-first]}
"""
HANDLERS = """\
import math
import pytest


def e_x1_1(runner):
    for step in range(5):
        runner.log_metrics({"loss": 1 / (step + 1), "nan": math.nan}, step=step)
    runner.stage("Done", 2, 2)
    runner.results.save_artifact("deep/model.bin", b"x" * 100)
    return {"finding": "Seen.", "metrics": {"accuracy": 0.95}}


@pytest.mark.parametrize("rate", [0.1, 0.2])
def e_x1_2(runner, rate):
    runner.evidence("simulated", "no data yet")
    runner.log_metrics({"rate": rate})
    return {"metrics": {"rate": rate}}


def e_x1_3(runner):
    runner.log_metrics({"started": 1})
    runner.end()
    return {"metrics": {"rows": 3}}
"""
NAME = "recording_tracker:Recording"
HERE = Path(__file__).parent.parent
WAYS = pytest.mark.parametrize(
    "arguments", [(), ("-n2",), ("--exp-executor", "subprocess")], ids=["serial", "-n2", "subprocess"]
)


@pytest.fixture
def tracked(study: Study) -> Study:
    """A study whose third handler does what ``ENDS`` says."""
    study.plan(PLAN)
    study.handlers(HANDLERS.replace("runner.end()", "exec(__import__('os').environ.get('ENDS', 'pass'))"))
    return study


def run(study: Study, *arguments: str, tracker: str = NAME, **env: str) -> Run:
    """Run the study with the tracker."""
    return study.pytest(
        *("experiments", "--exp-tracker", tracker, *arguments),
        env={"PYTHONPATH": str(HERE), **env},
        plugins=("exprunner", "xdist"),
    )


def start(study: Study, **env: str) -> subprocess.Popen[bytes]:
    """Start a run with the tracker that goes on."""
    return study.start("--exp-tracker", NAME, env={"PYTHONPATH": str(HERE), **env}, output="output")


def sync(study: Study, *arguments: str, **env: str) -> Run:
    """Tell the tracker what it missed."""
    return study.exprunner("sync", "--tracker", NAME, *arguments, env={"PYTHONPATH": str(HERE), **env})


def told(study: Study) -> list[dict[str, Any]]:
    """Every call, in order."""
    file = study.root / "told.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def of(calls: list[dict[str, Any]], label: str) -> Iterator[dict[str, Any]]:
    """The calls about one sub-experiment."""
    return (call for call in calls if f"'{label}'" in str(call.get("key")))


# --- what it is told --------------------------------------------------------------------------


@WAYS
def test_everything_is_told_in_order(tracked: Study, arguments: tuple[str, ...]) -> None:
    """Serially, in workers and in processes of their own: every row, once, with its step and time."""
    done = run(tracked, *arguments)
    assert done.code == 0, done.text
    calls = told(tracked)
    assert [c["call"] for c in (calls[0], calls[-2], calls[-1])] == ["open", "run_ended", "close"]
    assert calls[0]["settings"] == {"colour": "blue"}
    assert (calls[0]["project"], calls[0]["stub"], calls[0]["replaying"]) == ("Shapes", False, False)
    first = list(of(calls, "e_x1_1"))
    assert [c["call"] for c in first] == [
        "attempt_started", *["metrics_logged"] * 5, "progress_reported", "attempt_ended",
    ]  # fmt: skip
    rows = [c for c in first if c["call"] == "metrics_logged"]
    assert [(c["row"], c["step"], c["metrics"]["loss"]) for c in rows] == [
        (step, step, 1 / (step + 1)) for step in range(5)
    ]
    assert all(c["metrics"]["nan"] != c["metrics"]["nan"] for c in rows)
    assert sorted(c["time"] for c in first if "time" in c) == [c["time"] for c in first if "time" in c]
    assert first[0]["gates"] == ["gate_1"]
    assert (first[-1]["names"], first[-1]["rows"]) == (["deep/model.bin"], 5)
    variants = [c for c in of(calls, "e_x1_2") if c["call"] == "attempt_started"]
    assert sorted(c["params"]["rate"] for c in variants) == [0.1, 0.2]
    assert all("simulated" in str(c) for c in of(calls, "e_x1_2") if c["call"] == "progress_reported")
    assert not list((tracked.research / ".exprunner" / "runs").iterdir())


def test_stub_runs_say_so(tracked: Study) -> None:
    """A tracker goes through a stub run as through any other, and knows it for one."""
    assert run(tracked, "--exp-stub").code == 0
    calls = told(tracked)
    assert calls[0]["stub"] is True
    assert {c["stub"] for c in calls if c["call"] == "attempt_started"} == {True}
    assert sync(tracked).out == f"{NAME}: received 0 attempts\n"


# --- what it can do to a run ------------------------------------------------------------------

METHODS = (
    "open",
    "attempt_started",
    "metrics_logged",
    "progress_reported",
    "attempt_ended",
    "run_ended",
    "close",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the results are without a tracker."""
    study = Study(tmp_path_factory.mktemp("undisturbed"))
    study.plan(PLAN)
    study.handlers(HANDLERS.replace("runner.end()", "pass"))
    assert study.pytest().code == 0
    return judged(study)


def judged(study: Study) -> dict[str, Any]:
    """The results that do not depend on time."""
    value = study.results()
    return {
        "criteria": value["criteria"],
        "subs": {
            sub: {k: v for k, v in entry.items() if k in ("status", "metrics", "artifacts", "finding")}
            for sub, entry in value["results"]["experiments"].items()
        },
    }


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_raises(tracked: Study, undisturbed: dict[str, Any], method: str) -> None:
    """Result and exit code are what they are without it; it is said once; a sync makes it good."""
    done = run(tracked, TRACKER_FAILS=f"{method}:raise")
    assert done.code == 0, done.text
    assert judged(tracked) == undisturbed
    assert done.out.count(f"{NAME} failed: RuntimeError: the tracker is broken") == 1
    assert "INTERNALERROR" not in done.text
    missed = f"'exprunner sync --tracker {NAME}' sends what it missed"
    assert (missed in done.out) == (method not in ("run_ended", "close"))
    (tracked.root / "told.jsonl").unlink(missing_ok=True)
    again = sync(tracked)
    assert (again.code, again.err) == (0, "")
    rows = [c for c in of(told(tracked), "e_x1_1") if c["call"] == "metrics_logged"]
    assert len(rows) == (0 if method in ("run_ended", "close", "progress_reported") and not rows else 5)
    assert sync(tracked).out == f"{NAME}: received 0 attempts, 4 already delivered\n"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit", f"{NAME} stopped early (exit code 3; more in "),
        ("kill", f"{NAME} stopped early (signal 9; more in "),
        ("quit", f"{NAME} stopped early (exit code 0; more in "),
        ("full", f"{NAME} failed: OSError: [Errno 28] No space left on device (more in"),
        ("hang", f"{NAME} did not finish within 1 s after the run and was stopped"),
    ],
)
def test_a_tracker_that_ends_or_hangs(
    tracked: Study, undisturbed: dict[str, Any], how: str, words: str
) -> None:
    """It is its own process that ends, and the run waits for it no longer than it is told to."""
    done = run(tracked, "--exp-tracker-timeout", "1", TRACKER_FAILS=f"metrics_logged:{how}")
    assert done.code == 0, done.text
    assert judged(tracked) == undisturbed
    assert words in done.out
    assert f"'exprunner sync --tracker {NAME}' sends" in done.out
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tracked.root)]
    assert sync(tracked).out == f"{NAME}: received 4 attempts\n"


def test_a_warning(tracked: Study) -> None:
    """What a tracker has to say stands in the summary."""
    assert f"{NAME}: mind the gap\n" in run(tracked, TRACKER_WARNS="1").out


def test_a_tracker_that_is_none(tracked: Study) -> None:
    """A class that cannot be had is a warning; a name that nobody knows is a usage error."""
    done = run(tracked, tracker="study_folder:Study")
    assert done.code == 0
    assert (
        "study_folder:Study received nothing: study_folder:Study is not a tracker; expected a subclass of "
        "pytest_exprunner.Tracker\n"
    ) in done.out
    refused = run(tracked, tracker="wandbb")
    assert refused.code == 4
    assert (
        "--exp-tracker: unknown tracker 'wandbb' (did you mean 'wandb'?); known: wandb, or the import path of a "
        "class such as 'package.module:MyTracker'"
    ) in refused.text


# --- what it missed ---------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [("-n2",), ("--exp-executor", "subprocess")], ids=["-n2", "subprocess"])
def test_a_handler_that_is_killed(tracked: Study, arguments: tuple[str, ...]) -> None:
    """What it had logged is told all the same, and that it failed."""
    done = run(tracked, *arguments, ENDS="import os; os.kill(os.getpid(), 9)")
    assert done.code == 1
    lost = list(of(told(tracked), "e_x1_3"))
    assert [c["call"] for c in lost] == ["attempt_started", "metrics_logged", "attempt_ended"]
    assert "ProcessLost" in lost[-1]["record"]
    assert "missed" not in done.out


def test_a_run_that_is_killed(tracked: Study) -> None:
    """The tracker ends by itself; a sync tells what is left, once, of the attempt without a record too."""
    process = start(tracked, ENDS="open('there', 'w').close(); __import__('time').sleep(60)")
    while not (tracked.root / "there").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    deadline = time.monotonic() + 30
    while [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(tracked.root)]:
        assert time.monotonic() < deadline, "its tracker was still there after 30 s"
        time.sleep(0.05)
    before = [c for c in told(tracked) if c["call"] == "attempt_ended"]
    done = sync(tracked)
    assert done.code == 0, done.text
    calls = told(tracked)
    assert len([c for c in calls if c["call"] == "attempt_ended"]) == 4
    assert len(before) in (0, 3)
    assert "in_progress" in list(of(calls, "e_x1_3"))[-1]["record"]
    assert sync(tracked).out == f"{NAME}: received 0 attempts, 4 already delivered\n"


def test_a_run_that_was_interrupted(tracked: Study) -> None:
    """Ctrl-C ends a run with a tracker as fast as one without."""
    began = time.monotonic()
    done = run(tracked, TRACKER_FAILS="told:hang", ENDS="raise KeyboardInterrupt")
    assert done.code == 2
    assert time.monotonic() - began < 20
    assert tracked.results()["recommendation"] == "investigate"


def test_rows_that_are_known(tracked: Study) -> None:
    """A tracker that has some rows already is told the others alone."""
    assert tracked.pytest().code == 0
    assert sync(tracked, "e_x1_1", TRACKER_KNOWS="3").out == f"{NAME}: received 1 attempt\n"
    rows = [c["row"] for c in told(tracked) if c["call"] == "metrics_logged"]
    assert rows == [3, 4]
    assert told(tracked)[0]["replaying"] is True


def test_sync_of_what_was_never_tracked(tracked: Study) -> None:
    """Runs without a tracker can be told later, all or some; the command says what it did."""
    assert tracked.pytest().code == 0
    assert sync(tracked, "e_x1_2").out == f"{NAME}: received 2 attempts\n"
    found = json.loads(sync(tracked, "--json").out)
    assert found["trackers"] == {NAME: {"told": 2, "known": 2, "waiting": 0, "missed": 0}}
    wrong = sync(tracked, "e_x1_22")
    assert wrong.code == 4
    assert (
        "unknown id 'e_x1_22' (did you mean 'e_x1_2'?); expected an experiment or a sub-experiment"
        in wrong.text
    )
    again = tracked.exprunner("sync", env={"PYTHONPATH": str(HERE)})  # the plan names it, it was used before
    assert again.out == f"{NAME}: received 0 attempts, 4 already delivered\n"
    gone = tracked.exprunner("sync")
    assert (gone.code, gone.err) == (
        4,
        f"there is no module 'recording_tracker' in {tracked.root} or where Python looks for modules\n",
    )
    tracked.plan(PLAN.replace(NAME, "other"))
    nobody = tracked.exprunner("sync")
    assert (nobody.code, nobody.err) == (4, "no tracker is named; name one, such as --tracker wandb\n")


def test_in_a_clone(tracked: Study) -> None:
    """Where the journals are missing, which git does not keep, the records are told."""
    assert tracked.pytest().code == 0
    for journal in tracked.research.rglob("events.jsonl"):
        journal.unlink()
    (tracked.research / "experiments" / "x1-first" / "attempts" / "e_x1_1" / "0002").mkdir()  # killed at once
    assert sync(tracked).out == f"{NAME}: received 4 attempts\n"
    first = list(of(told(tracked), "e_x1_1"))
    assert [call["call"] for call in first] == ["attempt_started", "attempt_ended"]
    assert sync(tracked).out == f"{NAME}: received 0 attempts, 4 already delivered\n"


def test_other_attempts_of_the_same_numbers(tracked: Study) -> None:
    """What was delivered of a run that is deleted says nothing about the next."""
    assert run(tracked).code == 0
    shutil.rmtree(tracked.research / "experiments")
    assert tracked.pytest().code == 0
    assert sync(tracked).out == f"{NAME}: received 4 attempts\n"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["open", "metrics_logged", "attempt_ended"])
@pytest.mark.parametrize("fork", [False, True], ids=["", "fork"])
def test_nobody_is_left_when_everything_hangs(tracked: Study, method: str, *, fork: bool) -> None:
    """A tracker that hangs ends soon after a run that was killed, whoever holds its input open."""
    ends = "import os; os.fork() or __import__('time').sleep(60)" if fork else "pass"
    ends += "; open('there', 'w').close(); __import__('time').sleep(60)"
    process = start(tracked, TRACKER_FAILS=f"{method}:hang", ENDS=ends)
    while not (tracked.root / "there").exists():
        time.sleep(0.02)
    time.sleep(1)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    deadline = time.monotonic() + 30
    while [p for p in psutil.process_iter(["cmdline"]) if is_tracker(p, tracked)]:
        assert time.monotonic() < deadline, "its tracker was still there after 30 s"
        time.sleep(0.1)
    for left in psutil.process_iter(["cwd"]):  # what the handler itself has forked
        if left.info["cwd"] == str(tracked.root):
            left.kill()


def is_tracker(process: psutil.Process, study: Study) -> bool:
    """Return whether a process is the tracker of a study."""
    try:
        return "trackers.following" in " ".join(process.cmdline()) and process.cwd() == str(study.root)
    except psutil.Error:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_while_a_run_waits_for_its_tracker(tracked: Study, number: int) -> None:
    """It ends the waiting; the run is over and its results stand."""
    process = start(tracked, TRACKER_FAILS="attempt_ended:hang")
    deadline = time.monotonic() + 30
    while "waiting up to" not in (text := (tracked.root / "output").read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(10) == 0
    text = (tracked.root / "output").read_text()
    assert f"\nwaiting up to 60 s for {NAME} (Ctrl-C stops waiting)\n" in text
    assert (
        f"{NAME} was stopped because the run did not wait for it; 'exprunner sync --tracker {NAME}' sends the rest"
        in text
    )
    assert "4 passed" in text
    assert not (tracked.research / ".exprunner" / "lock.json").exists()
    assert not list((tracked.research / ".exprunner" / "runs").iterdir())


def test_modules_of_the_project_with_any_names(tracked: Study) -> None:
    """Files in the project's folder do not stand in for modules of the same names."""
    for name in ("json", "types", "logging", "queue", "wandb"):
        tracked.write(f"{name}.py", "raise RuntimeError('not this one')")
    tracked.write("mine.py", "from pytest_exprunner import Tracker\n\n\nclass Mine(Tracker):\n    pass\n")
    # As the script "pytest" does it: not with the current folder first.
    done = tracked.run_script("pytest", "-p", "exprunner", "experiments", "--exp-tracker", "mine:Mine")
    assert done.code == 0, done.text
    assert "\nmine:Mine: received 4 attempts\n" in done.out
    (tracked.research / ".exprunner" / "tracking" / "mine-Mine.jsonl").unlink()
    synced = tracked.run_script("exprunner", "sync", "--tracker", "mine:Mine")
    assert synced.out == "mine:Mine: received 4 attempts\n"


def test_a_module_or_class_that_is_not_there(tracked: Study) -> None:
    """A module is missed before anything runs; a class once the module was imported."""
    done = run(tracked, tracker="nosuch:Mine")
    assert done.code == 4
    assert (
        f"--exp-tracker: there is no module 'nosuch' in {tracked.root} or where Python looks for modules"
        in done.text
    )
    done = run(tracked, tracker="recording_tracker:Recordin")
    assert done.code == 0
    assert (
        "recording_tracker:Recordin received nothing: there is no Recordin in recording_tracker "
        "(did you mean 'Recording'?)\n"
    ) in done.out


def test_a_tracker_that_a_package_offers(tracked: Study) -> None:
    """Entry points of installed packages are known by name."""
    tracked.write("offer/offer-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: offer\nVersion: 1.0\n")
    tracked.write(
        "offer/offer-1.0.dist-info/entry_points.txt", f"[pytest_exprunner.trackers]\nnotes = {NAME}\n"
    )
    path = os.pathsep.join([str(HERE), str(tracked.root / "offer")])
    done = run(tracked, tracker="notes", PYTHONPATH=path)
    assert done.code == 0, done.text
    assert "notes: received 4 attempts\n" in done.out


def test_sync_while_a_run_goes_on(tracked: Study) -> None:
    """Two at once would tell things twice."""
    (tracked.research / ".exprunner").mkdir(exist_ok=True)
    done = run(
        tracked,
        "-s",
        tracker="",
        ENDS="import subprocess, sys; print(subprocess.run([sys.executable, '-m', 'pytest_exprunner', "
        f"'sync', '--tracker', '{NAME}'], capture_output=True, text=True))",
    )
    assert "is writing to research" in done.out
