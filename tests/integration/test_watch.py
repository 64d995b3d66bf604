"""What a person sees while a run goes on: on a terminal, in a pipe, and from another terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import terminal
from study_folder import Study

from pytest_exprunner.report import watch as watching
from pytest_exprunner.schedule.progress import Progress
from pytest_exprunner.store.tail import Seen

pytestmark = pytest.mark.slow

PLAN = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2]
    success_criteria: {accuracy: {target: 0.9, from: e_x1_1}}
"""
HANDLERS = """\
import pathlib, time


def work(runner):
    runner.stage("Loading", 1, 2)
    time.sleep(0.2)
    runner.stage("Training", 2, 2)
    for step in runner.track(range(35), "epochs"):
        time.sleep(0.1)
        runner.log_metrics({"loss": 1 / (step + 1)}, step=step)
        print("noise of a handler")
        while step == 5 and pathlib.Path("hold").exists():
            time.sleep(0.05)
    return {"metrics": {"accuracy": 0.95}}


def e_x1_1(runner):
    return work(runner)


def e_x1_2(runner):
    return work(runner)
"""
LINE = r"{}  \d+:\d\d  \[2/2\] Training: epochs  █*░* \d+% \(\d+/35\)  \d+\.\d/s  [\d:]+ (s )?left  loss 0\.\d+ \(step \d+\)"


@pytest.fixture
def slow(study: Study) -> Study:
    """A study whose two handlers take some seconds each."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    return study


def environment(**more: str) -> dict[str, str]:
    """A terminal that can be drawn on."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("EXPRUNNER_", "PYTEST_", "COLUMNS", "LINES"))
    }
    only = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1", "TERM": "xterm"}
    return {**kept, **only, **more}


def command(*arguments: str) -> list[str]:
    """Run the study."""
    return [sys.executable, "-m", "pytest", "-p", "exprunner", "-p", "xdist", "experiments", *arguments]


# --- on the terminal of the run ---------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-n2",),
        pytest.param(("--exp-executor=subprocess",), marks=pytest.mark.slow),
        pytest.param(("-v",), marks=pytest.mark.slow),
    ],
    ids=["serial", "-n2", "subprocess", "-v"],
)
def test_on_a_terminal(slow: Study, arguments: tuple[str, ...]) -> None:
    """Each running handler has a line below pytest's own; at the end nothing of it is left."""
    seen = terminal.show(command(*arguments, "-W", "error"), slow.root, environment())
    assert seen.code == 0, seen.last
    for label in ("e_x1_1", "e_x1_2"):
        assert any(re.search(f"^{LINE.format(label)}$", screen, re.MULTILINE) for screen in seen.screens), (
            label
        )
    together = any("e_x1_1  0:" in screen and "e_x1_2  0:" in screen for screen in seen.screens)
    assert together == ("-n2" in arguments)
    assert "s left" not in seen.last
    assert "noise" not in seen.last
    # Not a character of pytest's own output is missing or in another place.
    undrawn = command(*arguments, "-W", "error", "-p", "no:exprunner-show")
    plain = terminal.show(undrawn, slow.root, environment())
    assert without_times(seen.last) == without_times(plain.last)
    assert not any("s left" in screen for screen in plain.screens)


def without_times(screen: str) -> list[str]:
    """The lines of a screen that do not depend on when it was."""
    lines = [re.sub(r"in \d+\.\d+ ?s|=+|#\d+", "", line) for line in screen.splitlines()]
    # Which worker was first, and where pytest says how many items there are, is up to xdist.
    return [line.strip() for line in lines if "gw" not in line and "bringing up" not in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "more"), [(("-s",), {}), (("-q",), {}), ((), {"TERM": "dumb"})], ids=["-s", "-q", "dumb"]
)
def test_where_nothing_is_drawn(slow: Study, arguments: tuple[str, ...], more: dict[str, str]) -> None:
    """What handlers print themselves, a person who wants quiet, and a dumb terminal are left alone."""
    seen = terminal.show(command(*arguments), slow.root, environment(**more))
    assert seen.code == 0
    assert not any("s left" in screen for screen in seen.screens)


@pytest.mark.slow
def test_wide_characters(slow: Study) -> None:
    """Titles in any script leave nothing behind: lines are cut at the edge, not wrapped."""
    slow.handlers(HANDLERS.replace('"Training"', '"训练模型训练模型训练模型训练"'))
    seen = terminal.show(command(), slow.root, environment(), width=90)
    assert any("训" in screen for screen in seen.screens)
    assert "训" not in seen.last
    plain = terminal.show(command("-p", "no:exprunner-show"), slow.root, environment(), width=90)
    assert without_times(seen.last) == without_times(plain.last)


@pytest.mark.slow
def test_after_a_failure_on_a_terminal(slow: Study) -> None:
    """A traceback stands where it belongs."""
    slow.handlers(
        HANDLERS.replace('return {"metrics"', 'raise ValueError("bad luck")\n    return {"metrics"')
    )
    seen = terminal.show(command("-x", "-p", "no:randomly"), slow.root, environment(), height=80)
    assert seen.code == 1
    assert re.search(r"^E +ValueError: bad luck$", seen.last, re.MULTILINE)
    assert "s left" not in seen.last


# --- where there is no terminal ---------------------------------------------------------------


def test_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a log a line per running handler from time to time, each on a line of its own."""
    monkeypatch.setattr(watching, "_BETWEEN_LINES", 0.1)
    ends = os.pipe()

    class Running(watching.Watch):
        def __init__(self) -> None:
            pass

        def look(self) -> Iterator[Seen]:
            return iter(())

        def running(self, least: float = 0.0) -> list[Progress]:
            del least
            return [Progress("e_x1_1", time.time() - 42.5, stage="Training")]

    display = watching.Display(Running(), ends[1], fancy=False, encode=str)
    display.start()
    time.sleep(0.35)
    display.stop()
    os.close(ends[1])
    with os.fdopen(ends[0]) as read:
        text = read.read()
    first, *rest = re.split(r"  running: e_x1_1  0:4\d  Training\n", text)
    assert first == "\n"
    assert rest
    assert all(re.fullmatch(r"(\n(  running: e_x1_1  0:4\d  Training\n)?)?", text) for text in rest)


def test_in_a_pipe(slow: Study) -> None:
    """A short run in a pipe is what it is without."""
    run = slow.pytest()
    assert run.code == 0
    assert "running:" not in run.out
    assert "\x1b" not in run.out


# --- from another terminal --------------------------------------------------------------------


@pytest.fixture
def running(slow: Study) -> subprocess.Popen[bytes]:
    """A run that goes on; its handlers halt on their way as long as there is a file ``hold``."""
    (slow.root / "hold").touch()
    process = slow.start("-n2")
    deadline = time.monotonic() + 60
    while "e_x1_2" not in slow.exprunner("watch", "--once").out:
        assert time.monotonic() < deadline
    return process


def test_watch(slow: Study, running: subprocess.Popen[bytes]) -> None:
    """What begins, how far it is and what ends; with the end of the run it ends itself."""
    found = json.loads(slow.exprunner("watch", "--json").out)
    assert {entry["label"] for entry in found["running"]} == {"e_x1_1", "e_x1_2"}
    assert set(found["running"][0]) >= {"stage", "fraction", "rate", "metrics", "step"}
    (slow.root / "hold").unlink()
    seen = terminal.show([sys.executable, "-m", "pytest_exprunner", "watch"], slow.root, environment())
    assert running.wait(30) == 0
    assert seen.code == 0
    assert any(
        re.search(LINE.format(label), screen) for screen in seen.screens for label in ("e_x1_1", "e_x1_2")
    ), seen.screens[1:4]
    lines = seen.last.splitlines()
    assert re.fullmatch(r"run \S+", lines[0])
    assert sorted(lines[1:3]) == ["e_x1_1 #1 started", "e_x1_2 #1 started"]
    assert [re.sub(r"\d+:\d\d", "m:ss", line) for line in sorted(lines[3:5])] == [
        "e_x1_1 #1 completed in m:ss", "e_x1_2 #1 completed in m:ss",
    ]  # fmt: skip
    assert re.fullmatch(r"run \S+ has ended; 'exprunner status' shows the results", lines[5])
    assert slow.exprunner("watch").out == "no run is in progress\n"
    assert json.loads(slow.exprunner("watch", "--json").out)["run"] is None


def test_watch_in_a_pipe(slow: Study, running: subprocess.Popen[bytes]) -> None:
    """A line for what begins and ends, and nothing that moves a cursor."""
    (slow.root / "hold").unlink()
    run = slow.exprunner("watch")
    running.wait(30)
    assert run.code == 0
    assert "\x1b" not in run.out
    assert "e_x1_1 #1 completed in " in run.out


def test_watch_of_a_run_that_is_killed(slow: Study, running: subprocess.Popen[bytes]) -> None:
    """It is said, and that is a failure."""
    watch = subprocess.Popen(
        [sys.executable, "-m", "pytest_exprunner", "watch"],
        cwd=slow.root,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.5)
    running.send_signal(signal.SIGKILL)
    running.wait(10)
    out, _err = watch.communicate(timeout=60)
    assert watch.returncode == 1
    gone = r"run \S+ disappeared before it ended; 'exprunner status' shows what is left\n$"
    assert re.search(gone, out)
    once = slow.exprunner("watch", "--once")
    assert once.code == 1
    assert re.fullmatch(gone, once.out)
    found = slow.exprunner("watch", "--json")
    assert (found.code, json.loads(found.out)["gone"]) == (1, True)
    status = slow.exprunner("status")
    assert re.search(
        r"^run \S+ ended with 2 sub-experiments unfinished; 'pytest … --exp-resume' continues$",
        status.out,
        re.MULTILINE,
    )


@pytest.mark.slow
def test_watch_tells_of_unmet_criteria(slow: Study) -> None:
    """An attempt that completed and missed says so."""
    slow.plan(PLAN.replace("0.9", "0.99"))
    process = slow.start("-n2")
    deadline = time.monotonic() + 30
    while "e_x1_1" not in slow.exprunner("watch", "--once").out:
        assert time.monotonic() < deadline
    run = slow.exprunner("watch")
    process.wait(30)
    assert re.search(r"^e_x1_1 #1 completed in 0:0\d: accuracy missed$", run.out, re.MULTILINE)
