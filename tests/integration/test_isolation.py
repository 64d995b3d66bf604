"""Handlers in processes of their own: what ends one of them ends nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import psutil
import pytest
from study_folder import Run, Study

from pytest_exprunner._util.processes import is_alive

PLAN = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2, e_x1_3]
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, from: e_x1_2}
"""
OTHERS = """\


def e_x1_2(runner):
    return {"metrics": {"accuracy": 0.95}}


def e_x1_3(runner):
    return {"metrics": {}}
"""
BOTH = pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "-n2"])


def isolated(study: Study, *arguments: str, body: str = "", executor: str = "subprocess") -> Run:
    """Run a study whose first handler has the given body."""
    study.plan(PLAN)
    if body:
        indented = "\n".join(f"    {line}" for line in body.splitlines())
        study.handlers(
            f"import ctypes, os, signal, subprocess, sys, time\n\ndef e_x1_1(runner):\n{indented}\n{OTHERS}"
        )
    return study.pytest(
        "experiments", f"--exp-executor={executor}", *arguments, plugins=("exprunner", "xdist")
    )


@BOTH
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("ctypes.string_at(0)", "crashed: SIGSEGV"),
        ("os.abort()", "crashed: SIGABRT"),
        ("os._exit(0)", "its process exited with code 0"),
        ("ctypes.CDLL(None).exit(0)", "its process exited with code 0"),
        ("os._exit(5)", "its process exited with code 5"),
        ("os.kill(os.getpid(), 9)", "killed, likely out of memory"),
        ("os.kill(os.getpid(), 15)", "crashed: SIGTERM"),
    ],
)
def test_an_end_of_the_process(study: Study, body: str, words: str, arguments: tuple[str, ...]) -> None:
    """It fails that attempt alone, with the right words; all else is as it was."""
    before = "runner.log_metrics({'loss': 0.5}, step=7)\nrunner.stage('about to go')\n"
    run = isolated(study, *arguments, body=before + body)
    assert run.code == 1
    assert run.counts(passed=2, failed=1)
    assert "INTERNALERROR" not in run.text
    assert f"e_x1_1 failed: {words}." in run.out
    assert re.search(r"The last it logged:\n  \S+Z about to go\n  metrics of step 7: loss 0\.5\n", run.out)
    record = study.record()
    assert (record["status"], record["error"]["message"]) == ("failed", words)
    assert record["logged"] == {"loss": {"count": 1, "last": 0.5}}
    assert study.results()["criteria"]["accuracy"]["verdict"] == "target"
    assert "Completed: 2  Failed: 1  Skipped: 0  Blocked: 0  No handler: 0" in run.out


@BOTH
@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(60)",
        # The interpreter's lock is held by a C call, and every exception is swallowed.
        "ctypes.PyDLL(None).sleep(60)",
        "while True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass",
    ],
    ids=["sleeping", "in C", "swallowing"],
)
def test_a_time_limit(study: Study, body: str, arguments: tuple[str, ...]) -> None:
    """It is kept whatever the handler does, in any executor, and the stacks say where it was."""
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    run = isolated(study, "--exp-timeout=3", *arguments, body=child + body, executor="inline")
    assert run.code == 1
    assert run.counts(passed=2, failed=1)
    assert "e_x1_1 failed: timeout after 3 s." in run.out
    assert re.search(r"Where it was:\n(.*\n)*?.*handlers\.py\", line \d+ in e_x1_1", run.out)
    error = study.record()["error"]
    assert error["message"] == "timeout after 3 s"
    assert "in e_x1_1" in error["traceback"]
    assert "_multicall" not in run.out + error["traceback"]
    assert [p for p in psutil.process_iter() if _works_in(p, str(study.root))] == []


def test_limits_of_the_plan(study: Study) -> None:
    """``timeout`` and ``isolate`` of a sub-experiment: a limit of its own wins, the rest stays inline."""
    study.plan(
        "experiments:\n  x1-first:\n    sub_experiments: {e_x1_1: {timeout: 1}, e_x1_2: {isolate: true}, e_x1_3: {}}\n"
    )
    study.handlers(
        """\
        import os, time

        def e_x1_1(runner):
            time.sleep(30)

        def e_x1_2(runner):
            return {"metrics": {"pid": os.getpid(), "parent": os.getppid()}}

        def e_x1_3(runner):
            return {"metrics": {"pid": os.getpid()}}
        """
    )
    run = study.pytest()
    assert "e_x1_1 failed: timeout after 1 s." in run.out
    isolated, inline = study.record("e_x1_2")["metrics"], study.record("e_x1_3")["metrics"]
    assert isolated["pid"] != inline["pid"]
    assert isolated["parent"] == inline["pid"]


def test_all_that_an_item_is(study: Study) -> None:
    """Fixtures, variants, skips, failures with their tracebacks, captured output: as in one process."""
    study.plan(PLAN)
    study.handlers(
        """\
        import os
        import pytest

        @pytest.fixture(scope="module")
        def data():
            print("setting up")
            yield [1, 2]
            print("tearing down")

        @pytest.mark.parametrize("n", [1, 2])
        def e_x1_1(runner, data, n):
            print("printing", n)
            os.system("echo from a shell")
            assert data == [1, n], "they differ"
            return {"metrics": {"n": n}}

        def e_x1_2(runner):
            return {"metrics": {"accuracy": 0.1}}

        def e_x1_3(runner):
            pytest.skip("not today")
        """
    )
    run = study.pytest("experiments", "--exp-executor=subprocess", "-rs", "--junitxml=report.xml")
    inline = study.pytest("experiments", "-rs")
    assert run.code == inline.code == 1
    assert run.counts(passed=1, failed=3, skipped=1)
    for word in ("they differ", "AssertionError", "not today", "printing 1", "setting up", "tearing down",
                 "from a shell", "accuracy of 0.100 is below"):  # fmt: skip
        assert word in run.out
    assert 'tests="5"' in (study.root / "report.xml").read_text()
    assert "printing 1" in (study.attempt() / "log.txt").read_text()


def test_beside_handlers_in_this_process(study: Study) -> None:
    """A module's fixture that lives here is not torn down there."""
    study.plan(PLAN.replace("[e_x1_1, e_x1_2, e_x1_3]", "{e_x1_1: {}, e_x1_2: {isolate: true}, e_x1_3: {}}"))
    study.handlers(
        """\
        import os
        import pytest

        @pytest.fixture(scope="module")
        def data():
            yield
            with open("down", "a") as file:
                file.write(f"{os.getpid()} ")

        def e_x1_1(runner, data): return {"metrics": {"pid": os.getpid()}}
        def e_x1_2(runner, data): return {"metrics": {"accuracy": 0.95, "pid": os.getpid()}}
        def e_x1_3(runner, data): return {"metrics": {"pid": os.getpid()}}
        """
    )
    run = study.pytest()
    assert run.code == 0, run.text
    here, there, again = (study.record(f"e_x1_{i}")["metrics"]["pid"] for i in (1, 2, 3))
    assert here == again != there
    assert (study.root / "down").read_text().split() == [str(here), str(there), str(here)]


def test_an_end_after_the_handler(study: Study) -> None:
    """What a fixture breaks after the attempt had completed fails its item; the numbers stand."""
    study.plan()
    study.handlers(
        "import os, pytest\n@pytest.fixture\ndef broken():\n    yield\n    os.abort()\n"
        "def e_x1_1(runner, broken): return {'metrics': {'accuracy': 0.95}}\n"
    )
    run = study.pytest("experiments", "--exp-executor=subprocess")
    assert run.code == 1
    assert "e_x1_1 failed after its attempt was completed: crashed: SIGABRT." in run.out
    assert study.record()["metrics"] == {"accuracy": 0.95}


def test_an_executor_that_is_none(study: Study) -> None:
    """A misspelt executor is refused with a suggestion; so is a time that is none."""
    study.plan()
    study.handlers("def e_x1_1(runner): ...\n")
    run = study.pytest("experiments", "--exp-executor=subproces")
    assert run.code == 4
    assert run.err.strip() == (
        "ERROR: --exp-executor: unknown executor 'subproces' (did you mean 'subprocess'?); "
        "known: inline, subprocess, modal"
    )
    run = study.pytest("experiments", "--exp-timeout=soon")
    assert (
        run.err.strip() == "ERROR: --exp-timeout: 'soon' is not a number of seconds; expected one such as 60"
    )


def test_a_crash_before_the_attempt(study: Study) -> None:
    """A process that ends while fixtures are set up fails its item too."""
    study.plan()
    study.handlers(
        "import os, pytest\n@pytest.fixture\ndef broken(): os._exit(3)\n"
        "def e_x1_1(runner, broken): return {'metrics': {'accuracy': 0.95}}\n"
    )
    run = study.pytest("experiments", "--exp-executor=subprocess")
    assert run.code == 1
    assert "its process exited with code 3." in run.out
    assert study.results()["recommendation"] == "investigate"


@BOTH
def test_ctrl_c(study: Study, arguments: tuple[str, ...]) -> None:
    """A run that is stopped ends what runs elsewhere, too, and notes it."""
    import os
    import signal
    import subprocess
    import sys

    study.plan(PLAN)
    study.handlers(
        "import pathlib, time\ndef e_x1_1(runner):\n    pathlib.Path('started').touch()\n    time.sleep(60)\n"
        + OTHERS
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "exprunner", "-p", "xdist", "experiments",
         "--exp-executor=subprocess", *arguments],
        cwd=study.root,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while not (study.root / "started").exists():
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 2
    entry = study.results()["results"]["experiments"]["e_x1_1"]
    assert (entry["status"], entry["reason"]) == ("in_progress", "KeyboardInterrupt stopped it")
    assert [p for p in psutil.process_iter() if _works_in(p, str(study.root))] == []


def _works_in(process: psutil.Process, folder: str) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.cwd() == folder
    except psutil.Error:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["inline", "subprocess"])
def test_a_flood_of_output(study: Study, executor: str) -> None:
    """A hundred megabytes of output end in the log; what is shown and sent around stays small."""
    body = "line = 'x' * 99\nfor _ in range(1_000_000):\n    print(line)\nprint('the end')\nraise ValueError('full')"
    run = isolated(study, "-n1", body=body, executor=executor)
    assert run.code == 1
    assert run.counts(passed=2, failed=1)
    assert len(run.out) < 5_000_000
    assert "the end" in run.out
    assert "characters left out; log.txt of the attempt has them …" in run.out
    assert (study.attempt() / "log.txt").stat().st_size > 99_000_000


def test_what_a_handler_forks(study: Study) -> None:
    """A process that outlives the handler holds nobody up, and is ended; a closed pipe is no end."""
    body = (
        "import multiprocessing\n"
        "multiprocessing.get_context('fork').Process(target=time.sleep, args=(50,), daemon=True).start()\n"
        "os.closerange(3, 100)\n"
        "return {'metrics': {}}"
    )
    began = time.monotonic()
    run = isolated(study, "--exp-timeout=20", body=body.replace("os.closerange(3, 100)\n", ""))
    assert run.code == 0, run.text
    assert time.monotonic() - began < 20  # it does not wait for the 50 s
    assert [p for p in psutil.process_iter() if _works_in(p, str(study.root))] == []


def test_exploratory_handlers(study: Study) -> None:
    """One that crashes fails alone, too."""
    study.plan()
    study.handlers(
        "import os\ndef e_z_9(runner): os.abort()\n"
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n"
    )
    for arguments in ((), ("-n2",)):
        run = study.pytest(
            "experiments", "--exp-exploratory", "--exp-executor=subprocess", *arguments,
            plugins=("exprunner", "xdist"),
        )  # fmt: skip
        assert run.code == 1
        assert run.counts(passed=1, failed=1)
        assert "e_z_9 failed before or during its attempt: crashed: SIGABRT." in run.out


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does this")
def test_a_leading_process_that_is_killed(study: Study) -> None:
    """A handler in a process of its own does not outlive the run that it belongs to."""
    study.plan()
    study.handlers(
        """
        import os, time

        def e_x1_1(runner):
            open("there", "w").write(str(os.getpid()))
            time.sleep(60)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "exprunner", "experiments", "--exp-executor=subprocess"],
        cwd=study.root,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not ((study.root / "there").exists() and (study.root / "there").read_text()):
        time.sleep(0.02)
    handler = int((study.root / "there").read_text())
    process.kill()
    process.wait(10)
    deadline = time.monotonic() + 30
    while is_alive(handler):
        assert time.monotonic() < deadline, "the handler was still there"
        time.sleep(0.02)
