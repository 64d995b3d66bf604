"""Runs that are stopped: marked, written, cleaned up, and soon over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from study_folder import Study

PLAN = """\
experiments:
  x1-first:
    sub_experiments:
      e_x1_1: {}
      e_x1_2: {needs: [e_x1_1]}  # or the order would be that of yesterday's durations, longest first
      e_x1_3: {needs: [e_x1_1]}
    success_criteria:
      accuracy: {target: 0.9, from: e_x1_1}
"""
WAITING = """\
import os, pathlib, subprocess, sys, time

def wait(runner):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pathlib.Path(f"started-{runner.sub_experiment_id}").write_text(str(child.pid))
    runner.log_metrics({"loss": 0.5})
    time.sleep(60)

def e_x1_1(runner): return {"metrics": {"accuracy": 0.95}}
def e_x1_2(runner): wait(runner)
def e_x1_3(runner): wait(runner)
"""


HANGUPS = pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="these tests run under nohup"
)


@pytest.fixture
def waiting(study: Study) -> Study:
    """A study that met its criterion yesterday and now hangs, in two sub-experiments, with children."""
    study.plan(PLAN)
    study.handlers(
        "".join(f"def e_x1_{i}(runner): return {{'metrics': {{'accuracy': 0.95}}}}\n" for i in (1, 2, 3))
    )
    assert study.pytest().code == 0
    study.handlers(WAITING)
    return study


def start(study: Study, *arguments: str, wait_for: int) -> subprocess.Popen[bytes]:
    """Start a run in a session of its own and wait until so many handlers hang."""
    with (study.root / "output").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-p", "exprunner", "-p", "xdist", "experiments", *arguments],
            cwd=study.root,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while len(list(study.root.glob("started-*"))) < wait_for:
        assert process.poll() is None, (study.root / "output").read_text()
        time.sleep(0.02)
    time.sleep(0.1)
    return process


def left_behind(root: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder, or whose ids handlers wrote there."""
    children = {int(file.read_text()) for file in root.glob("started-*")}
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.pid in children or Path(process.cwd()) == root
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "-n2"])
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        signal.SIGTERM,
        pytest.param(signal.SIGHUP, marks=[pytest.mark.slow, HANGUPS]),
    ],
)
def test_one_signal_to_the_leading_process(
    waiting: Study, number: signal.Signals, arguments: tuple[str, ...]
) -> None:
    """Marked as interrupted, files written, exit 2, nobody left behind; and nobody waits for the handler."""
    process = start(waiting, *arguments, wait_for=2 if arguments else 1)
    began = time.monotonic()
    process.send_signal(number)
    assert process.wait(30) == 2, (waiting.root / "output").read_text()
    assert time.monotonic() - began < 20  # a law about signals, not about speed
    assert left_behind(waiting.root) == []
    output = (waiting.root / "output").read_text()
    assert "INTERNALERROR" not in output
    assert "x1-first  in progress → investigate" in output
    results = waiting.results()
    assert results["recommendation"] == "investigate"
    entries = results["results"]["experiments"]
    assert entries["e_x1_1"]["status"] == "completed"
    assert entries["e_x1_2"]["status"] == "in_progress"
    word = "KeyboardInterrupt" if number is signal.SIGINT or arguments else number.name
    assert entries["e_x1_2"]["reason"] == f"{word} stopped it"
    if arguments:
        assert entries["e_x1_3"]["reason"] == f"{word} stopped it"
    else:
        assert entries["e_x1_3"]["reason"].endswith("selected it but did not finish it")
    assert waiting.exprunner("gates").code in {0, 4}  # no gate in the plan


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "-n2"])
def test_ctrl_c_on_a_terminal(waiting: Study, arguments: tuple[str, ...]) -> None:
    """Ctrl-C reaches every process of the run at once, and twice ends it at once; files stay whole."""
    process = start(waiting, *arguments, wait_for=2 if arguments else 1)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.05)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) != 0
    assert left_behind(waiting.root) == []
    assert waiting.results()["recommendation"] == "investigate"
    assert waiting.exprunner("status").code == 0
    assert waiting.exprunner("report").code == 0


def test_a_handler_that_swallows_the_interrupt(study: Study) -> None:
    """A worker that does not listen is killed; the run ends all the same."""
    study.plan(PLAN)
    study.handlers(
        """\
        import pathlib, time

        def e_x1_1(runner):
            pathlib.Path("started-1").write_text("0")
            while True:
                try:
                    time.sleep(60)
                except BaseException:
                    pass
        """
    )
    process = start(study, "-n2", wait_for=1)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 2
    assert time.monotonic() - began < 20
    assert [p for p in left_behind(study.root) if p.pid] == []
    assert study.results()["recommendation"] == "investigate"


@pytest.mark.slow
def test_a_leading_process_that_was_killed(waiting: Study) -> None:
    """Its workers end by themselves, and nothing of them counts in a later run."""
    process = start(waiting, "-n2", wait_for=2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    waiting.handlers(
        "".join(f"def e_x1_{i}(runner): return {{'metrics': {{'accuracy': 0.95}}}}\n" for i in (1, 2, 3))
    )
    status = waiting.exprunner("status")
    assert "x1-first  in progress → investigate" in status.out
    run = waiting.pytest()
    assert run.code == 0, run.text
    deadline = time.monotonic() + 30
    while (left := left_behind(waiting.root)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for orphan in left:
        orphan.kill()
    workers = [p for p in left if p.pid not in {int(f.read_text()) for f in waiting.root.glob("started-*")}]
    assert workers == []
    assert waiting.results()["recommendation"] == "proceed"


def test_nohup(waiting: Study) -> None:
    """A signal that was ignored from outside stays ignored."""
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "pytest", "-p", "exprunner", "experiments", "-k", "e_x1_2"],
        cwd=waiting.root,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(waiting.root.glob("started-*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 2
