"""Two runs at once on one results folder."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest
from study_folder import Study

SLOW = """\
import pathlib, time

def e_x1_1(runner):
    pathlib.Path("started").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return {"metrics": {"accuracy": 0.95}}
"""


def start(study: Study, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a run and wait until its handler is at work."""
    plugins = ("-p", "exprunner", "-p", "xdist")
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", *plugins, "experiments", *arguments],
        cwd=study.root,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (study.root / "started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process


@pytest.fixture
def slow(study: Study) -> Study:
    """A study whose handler waits for a file."""
    study.plan()
    study.handlers(SLOW)
    return study


@pytest.mark.parametrize("arguments", [(), ("-n2",)])
def test_a_second_run_is_refused(slow: Study, arguments: tuple[str, ...]) -> None:
    """It says who is at work, since when and what to do, and the first one is left alone."""
    first = start(slow, *arguments)
    holder = orjson.loads((slow.research / ".exprunner" / "lock.json").read_bytes())
    second = slow.pytest()
    assert second.code == 4
    assert second.err.strip() == (
        f"ERROR: run {holder['run']} (pid {first.pid} on {holder['host']}, since {holder['since']}) is writing "
        "to research; wait for it (--exp-lock-timeout SECONDS), stop it, or write elsewhere "
        "with --exp-results DIR"
    )
    report = slow.exprunner("report")
    assert report.code == 4
    assert f"(pid {first.pid} on" in report.err
    assert slow.exprunner("status").code == 0
    (slow.root / "go").touch()
    assert first.wait(30) == 0
    assert slow.results()["recommendation"] == "proceed"
    assert slow.pytest().code == 0


def test_a_second_run_that_waits(slow: Study) -> None:
    """With time to wait it runs after the first, on what that one has left."""
    first = start(slow)
    refused = slow.pytest("experiments", "--exp-lock-timeout", "0.3")
    assert refused.code == 4
    assert re.search(r"is writing to research, still after \d+ s; wait for it", refused.err)
    with ThreadPoolExecutor() as pool:
        second = pool.submit(slow.pytest, "experiments", "--exp-lock-timeout=30")
        time.sleep(0.5)
        (slow.root / "go").touch()
        assert second.result().code == 0
    assert first.wait(30) == 0
    assert len(slow.results()["attempts"]["e_x1_1"]) == 2


def test_elsewhere_and_stub_runs_go_on(slow: Study) -> None:
    """Another results folder, and a stub run, need not wait."""
    first = start(slow)
    assert slow.pytest("experiments", "--exp-stub").code == 0
    (slow.root / "go").touch()
    assert slow.pytest("experiments", "--exp-results", "elsewhere").code == 0
    assert first.wait(30) == 0


def test_the_lock_of_a_run_that_was_killed(slow: Study) -> None:
    """It is released by the kernel: the next run starts at once."""
    first = start(slow)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(30)
    (slow.root / "go").touch()
    run = slow.pytest()
    assert run.code == 0, run.text


@pytest.mark.slow
def test_many_starts_at_once(study: Study) -> None:
    """Of many one runs at a time, the others wait or are refused; nothing is lost or torn."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    with ThreadPoolExecutor(8) as pool:
        patient = [pool.submit(study.pytest, "experiments", "--exp-lock-timeout=60") for _ in range(8)]
        assert [run.result().code for run in patient] == [0] * 8
        hasty = [pool.submit(study.pytest) for _ in range(12)]
        codes = {run.result().code for run in hasty}
    assert codes <= {0, 4}
    attempts = [entry["attempt"] for entry in study.results()["attempts"]["e_x1_1"]]
    assert attempts == list(range(1, len(attempts) + 1))
    assert len(attempts) >= 9


@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan"])
def test_a_time_that_is_none(study: Study, value: str) -> None:
    """What is no number of seconds is refused."""
    study.plan()
    study.handlers("def e_x1_1(runner): ...\n")
    run = study.pytest("experiments", f"--exp-lock-timeout={value}")
    assert run.code == 4
    assert run.err.strip() == (
        f"ERROR: --exp-lock-timeout: '{value}' is not a number of seconds; expected one such as 60"
    )
