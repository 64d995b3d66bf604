"""Runs that go on where others stopped: nothing twice, nothing stale, and no verdict lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import orjson
import pytest
from study_folder import Run, Study

PLAN = """\
experiments:
  x1-first:
    sub_experiments: {e_x1_1: {epochs: 3}, e_x1_2: {needs: [e_x1_1]}, e_x1_3: {data: [data/shapes.txt]}}
    success_criteria:
      accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5, from: e_x1_1}
  x2-second:
    sub_experiments: [e_x2_1]
    dependencies: [x1-first]
    success_criteria:
      recall: {target: 0.9}
"""
HANDLERS = """\
import helper
import pytest


@pytest.fixture
def costly():
    with open("setups", "a") as file:
        file.write("x")


def e_x1_1(runner, costly):
    return {"metrics": {"accuracy": 0.95}}


def e_x1_2(runner):
    return {"metrics": {"seen": runner.needs["e_x1_1"].metrics["accuracy"]}}


def e_x1_3(runner):
    return {"metrics": {"letters": len(open("data/shapes.txt").read())}}


def e_x2_1(runner):
    return {"metrics": {"recall": helper.recall()}}
"""
BOTH = pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "-n2"])


@pytest.fixture
def done(study: Study) -> Study:
    """A study that has been run from end to end."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    study.handlers("def recall(): return 0.95\n", "helper.py")
    study.write("data/shapes.txt", "abc")
    run = study.pytest()
    assert run.code == 0, run.text
    return study


def resume(study: Study, *arguments: str) -> Run:
    """Run what is left to do."""
    return study.pytest("experiments", "--exp-resume", *arguments, plugins=("exprunner", "xdist"))


def attempts(study: Study) -> dict[str, int]:
    """Return how many attempts each sub-experiment has."""
    folders = study.research.glob("experiments/*/attempts/*")
    return {folder.name: len(list(folder.iterdir())) for folder in folders}


# --- nothing to do ----------------------------------------------------------------------------


@BOTH
def test_nothing_to_do(done: Study, arguments: tuple[str, ...]) -> None:
    """Stored verdicts are told again; no handler, no fixture, no new attempt; files stay as they are."""
    before = {
        name: (done.root / name).read_bytes() for name in done.files() if name.endswith((".md", ".yaml"))
    }
    run = resume(done, "-v", *arguments)
    assert run.code == 0, run.text
    assert run.counts(passed=4)
    assert "PASSED (attempt 1)" in run.out
    assert "Completed: 4  Failed: 0  Skipped: 0  Blocked: 0  No handler: 0  Not run again: 4" in run.out
    assert attempts(done) == {"e_x1_1": 1, "e_x1_2": 1, "e_x1_3": 1, "e_x2_1": 1}
    assert (done.root / "setups").read_text() == "x"
    assert {name: (done.root / name).read_bytes() for name in before} == before
    assert not list((done.research / ".exprunner" / "runs").iterdir())


@BOTH
def test_a_stored_miss_stays_a_miss(study: Study, arguments: tuple[str, ...]) -> None:
    """It fails again with the same words, in the same place, and is never "skipped"."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.1}}\n")
    first = study.pytest()
    again = resume(study, *arguments)
    assert (first.code, again.code) == (1, 1)
    assert again.counts(failed=1)
    table = first.out.partition("e_x1_1 ___")[2].partition("=====")[0].partition("\n")[2]
    assert table.strip() in again.out
    assert attempts(study) == {"e_x1_1": 1}


def test_an_expected_miss_stays_expected(study: Study) -> None:
    """A replaced experiment's miss is an xfail again."""
    study.plan(
        "experiments:\n  x1-first: {sub_experiments: [e_x1_1], success_criteria: {accuracy: {target: 0.9}}}\n"
        "  x2: {sub_experiments: [e_x2_1], replaces: [x1-first], success_criteria: {recall: {target: 0.9}}}\n"
    )
    study.handlers(
        "def e_x1_1(runner): return {'metrics': {'accuracy': 0.1}}\n"
        "def e_x2_1(runner): return {'metrics': {'recall': 0.95}}\n"
    )
    assert study.pytest().counts(passed=1, xfailed=1)
    run = resume(study)
    assert run.code == 0, run.text
    assert run.counts(passed=1, xfailed=1)


def test_variants(study: Study) -> None:
    """Variants are taken one by one; a new one is run, the others stand."""
    study.plan()
    handler = "import pytest\n@pytest.mark.parametrize('x', {})\ndef e_x1_1(runner, x): return {{'metrics': {{'accuracy': 0.95}}}}\n"
    study.handlers(handler.format([1, 2]))
    assert study.pytest().code == 0
    assert resume(study).counts(passed=2)
    assert attempts(study) == {"e_x1_1": 2}
    study.handlers(handler.format([1, 2]).replace("[1, 2]", "[1, 2, 3]"))
    explained = resume(study, "--exp-explain")
    assert "e_x1_1[1]: since attempt 1 e_x1_1 has changed" in explained.out
    assert "e_x1_1[3]: it has never run" in explained.out


# --- what runs again --------------------------------------------------------------------------


@BOTH
def test_what_has_changed(done: Study, arguments: tuple[str, ...]) -> None:
    """A changed handler runs again, and so does what needs it; the rest stands."""
    done.handlers(HANDLERS.replace("0.95", "0.93"))
    run = resume(done, *arguments)
    assert run.code == 0, run.text
    assert attempts(done) == {"e_x1_1": 2, "e_x1_2": 2, "e_x1_3": 1, "e_x2_1": 1}
    assert done.record("e_x1_2", 2)["metrics"] == {"seen": 0.93}
    assert done.record("e_x1_2", 2)["upstream"] == {"e_x1_1": 2}


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ("helper", {"e_x2_1"}),
        ("data", {"e_x1_3"}),
        ("config", {"e_x1_1", "e_x1_2"}),
        ("conftest", {"e_x1_1", "e_x1_2", "e_x1_3", "e_x2_1"}),
        ("comment", set()),
        ("title", set()),
    ],
)
def test_kinds_of_change(done: Study, change: str, again: set[str]) -> None:
    """Imported modules, data, the plan's own words for a handler, conftest files; no comments, no titles."""
    if change == "helper":
        done.handlers("def recall(): return 0.96\n", "helper.py")
    elif change == "data":
        done.write("data/shapes.txt", "abcd")
    elif change == "config":
        done.plan(PLAN.replace("epochs: 3", "epochs: 4"))
    elif change == "conftest":
        done.handlers("import pytest\n", "conftest.py")
    elif change == "comment":
        done.handlers("# The best.\n" + HANDLERS)
        done.handlers("def recall():\n    # measured\n    return 0.95\n", "helper.py")
    elif change == "title":
        done.plan(PLAN.replace("epochs: 3", "name: Training, epochs: 3"))
    run = resume(done)
    assert run.code == 0, run.text
    assert {sub for sub, number in attempts(done).items() if number == 2} == again


def test_thresholds_alone(done: Study) -> None:
    """A moved threshold judges stored numbers anew, without running anything; and the move is told."""
    done.plan(PLAN.replace("recall: {target: 0.9}", "recall: {target: 0.99}"))
    run = resume(done)
    assert run.code == 1
    assert run.counts(passed=3, failed=1)
    assert set(attempts(done).values()) == {1}
    assert done.results("x2-second")["recommendation"] == "pivot"
    assert "has changed since it was first used" in "".join(done.results("x2-second")["issues"])


def test_missing_data(done: Study) -> None:
    """Without its data a sub-experiment is blocked, with or without resuming."""
    (done.root / "data" / "shapes.txt").unlink()
    for run in (resume(done), done.pytest()):
        assert run.code == 1
        assert "blocked: e_x1_3 needs the data file data/shapes.txt, which is missing" in run.out


def test_what_failed(done: Study) -> None:
    """Failed, skipped and unfinished attempts are run again."""
    done.handlers(HANDLERS.replace('return {"metrics": {"accuracy": 0.95}}', "raise ValueError('no data')"))
    assert resume(done).code == 1
    assert attempts(done) == {"e_x1_1": 2, "e_x1_2": 1, "e_x1_3": 1, "e_x2_1": 1}
    explained = resume(done, "--exp-explain")
    assert "run e_x1_1: attempt 2 failed: ValueError: no data" in explained.out
    done.handlers(HANDLERS)
    run = resume(done)
    assert run.code == 0, run.text
    # The needed one was run again, so what needs it was, too.
    assert attempts(done) == {"e_x1_1": 3, "e_x1_2": 2, "e_x1_3": 1, "e_x2_1": 1}


def test_records_of_an_earlier_version(done: Study) -> None:
    """A record that does not say what it was made from cannot stand for anything."""
    file = done.attempt("e_x1_3") / "record.json"
    record = orjson.loads(file.read_bytes())
    del record["inputs"], record["upstream"]
    file.write_bytes(orjson.dumps(record))
    explained = resume(done, "--exp-explain")
    assert "run e_x1_3: attempt 1 did not record its code and inputs" in explained.out


def test_a_dependent_that_may_not_run(done: Study) -> None:
    """A stored success does not stand where its ground is gone: it is blocked as a new one would be."""
    done.handlers(HANDLERS.replace('{"accuracy": 0.95}', '{"accuracy": 0.1}'))
    run = resume(done)
    assert run.code == 1
    assert "blocked: x2-second needs x1-first to proceed; it says pivot (accuracy 0.100 < 0.80)" in run.out


# --- what others left unfinished --------------------------------------------------------------


SLOW = """\
import pathlib, time

def wait(runner):
    pathlib.Path(f"started-{runner.sub_experiment_id}").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return {"metrics": {"accuracy": 0.95}}

def e_x1_1(runner): return {"metrics": {"accuracy": 0.95}}
def e_x1_2(runner): return wait(runner)
def e_x1_3(runner): return {"metrics": {"accuracy": 0.95}}
"""
THREE = "experiments:\n  x1-first: {sub_experiments: [e_x1_1, e_x1_2, e_x1_3], success_criteria: {accuracy: {target: 0.9}}}\n"


def stop(study: Study, number: int, *arguments: str) -> None:
    """Start a run and end it by a signal while the second handler waits."""
    started = study.root / "started-e_x1_2"
    started.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "exprunner", "experiments", *arguments],
        cwd=study.root,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not started.exists():
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interruption(study: Study, number: int) -> None:
    """What had finished is not run again, what had not is; also after a second interruption."""
    study.plan(THREE)
    study.handlers(SLOW)
    stop(study, number)
    stop(study, number, "--exp-resume")
    assert "x1-first  in progress → investigate" in study.exprunner("status").out
    (study.root / "go").touch()
    run = resume(study)
    assert run.code == 0, run.text
    assert attempts(study) == {"e_x1_1": 1, "e_x1_2": 3, "e_x1_3": 1}
    assert study.results()["recommendation"] == "proceed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interrupted_run_from_the_start(study: Study, number: int) -> None:
    """What a run was to do again and did not get to is done by the one that resumes it."""
    study.plan(THREE)
    study.handlers(SLOW)
    (study.root / "go").touch()
    assert study.pytest().code == 0
    (study.root / "go").unlink()
    stop(study, number)  # has run e_x1_1 again, was at e_x1_2
    (study.root / "go").touch()
    explained = resume(study, "--exp-explain")
    assert "skip e_x1_1: nothing has changed since attempt 2" in explained.out
    assert "selected it again but did not finish it" in explained.out
    run = resume(study)
    assert run.code == 0, run.text
    assert attempts(study) == {"e_x1_1": 2, "e_x1_2": 3, "e_x1_3": 2}


def test_after_a_kill_between_the_last_item_and_the_end(done: Study) -> None:
    """What a run had only to replay, and was killed before it could say so, leaves nothing behind."""
    # No conftest.py, which would be a change to what the handlers are made from.
    done.write(
        "elsewhere/killer.py",
        """
        import os

        def pytest_runtest_logfinish(nodeid):
            if "e_x2_1" in nodeid:
                os.kill(os.getpid(), 9)
        """,
    )
    killed = done.pytest(
        "experiments", "--exp-resume", "-p", "killer", env={"PYTHONPATH": str(done.root / "elsewhere")}
    )
    assert killed.code == -signal.SIGKILL
    assert list((done.research / ".exprunner" / "runs").glob("*.replayed"))
    assert resume(done).code == 0
    assert not list((done.research / ".exprunner" / "runs").iterdir())


# --- explaining -------------------------------------------------------------------------------


def test_explaining(done: Study) -> None:
    """A line for each handler with its reason; nothing is run or written, in one process whatever -n says."""
    done.handlers(HANDLERS.replace("0.95", "0.93"))
    before = done.files()
    run = resume(done, "--exp-explain", "-n2", "-q")
    assert run.code == 0
    assert run.out.splitlines()[:6] == [
        "run e_x1_1: since attempt 1 e_x1_1 has changed, or code it uses in experiments/handlers.py",
        "run e_x1_2: it needs e_x1_1 to run first",
        "skip e_x1_3: nothing has changed since attempt 1",
        "skip e_x2_1: nothing has changed since attempt 1",
        "2 to run, 2 to skip, 0 blocked; nothing was run (--exp-explain)",
        "",
    ]
    assert done.files() == before
    plain = done.pytest("experiments", "--exp-explain", "-q").out.splitlines()
    assert plain[2] == "run e_x1_3: --exp-resume is not given"
    assert plain[4:6] == [
        "4 to run, 0 to skip, 0 blocked; nothing was run (--exp-explain)",
        "with --exp-resume, 2 unchanged ones would be reused",
    ]


def test_explaining_a_first_run(study: Study) -> None:
    """Dependents of what is still to run are told as such; those that wait in vain, too."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    study.handlers("def recall(): return 0.95\n", "helper.py")
    lines = study.pytest("experiments", "--exp-explain", "-q").out.splitlines()
    assert lines[:5] == [
        "run e_x1_1: it has never run",
        "run e_x1_2: it needs e_x1_1 to run first",
        "block e_x1_3: e_x1_3 needs the data file data/shapes.txt, which is missing",
        "run e_x2_1: it has never run, if x1-first proceeds",
        "3 to run, 0 to skip, 1 blocked; nothing was run (--exp-explain)",
    ]
    alone = study.pytest("experiments", "--exp-explain", "-q", "-k", "e_x2_1").out.splitlines()
    assert alone[0] == "block e_x2_1: x2-second needs x1-first to proceed; it has not started"
    assert not (study.research / "experiments").exists()


@pytest.mark.parametrize("option", ["--exp-resume", "--exp-explain"])
def test_with_a_stub_run(study: Study, option: str) -> None:
    """A stub run runs nothing that could be resumed."""
    study.plan()
    study.handlers("def e_x1_1(runner): ...\n")
    run = study.pytest("experiments", option, "--exp-stub")
    assert run.code == 4
    assert run.err.strip() == (
        f"ERROR: {option} cannot be combined with --exp-stub: a stub run always covers everything; "
        "use one of them"
    )


# --- what only looks unchanged ----------------------------------------------------------------


@pytest.mark.parametrize("isolate", [False, True])
def test_a_file_edited_while_the_run_went_on(study: Study, isolate: bool) -> None:
    """What ran is what was imported: a later text has never been run."""
    study.plan(
        f"experiments:\n  x1-first: {{sub_experiments: {{e_x1_1: {{}}, e_x1_2: {{isolate: {str(isolate).lower()}}}}}}}\n"
    )
    study.handlers(
        "from pathlib import Path\n"
        "def e_x1_1(runner):\n    file = Path(__file__).with_name('second.py')\n"
        "    file.write_text(file.read_text().replace('0.9', '0.1'))\n    return {'metrics': {}}\n",
        "first.py",
    )
    study.handlers("def e_x1_2(runner): return {'metrics': {'accuracy': 0.9}}\n", "second.py")
    study.pytest()
    explained = resume(study, "--exp-explain")
    assert "skip e_x1_1" in explained.out
    assert "run e_x1_2: since attempt 1 e_x1_2 has changed" in explained.out


@pytest.mark.parametrize("arguments", [(), ("--exp-executor=subprocess",)], ids=["inline", "subprocess"])
@pytest.mark.parametrize("broken", ["raise OSError('disk is gone')", "import os; os.abort()"])
def test_an_item_that_failed_after_its_attempt(study: Study, broken: str, arguments: tuple[str, ...]) -> None:
    """A fixture that broke afterwards fails again: the attempt cannot stand for a run."""
    if "abort" in broken and not arguments:
        pytest.skip("ends pytest itself")
    study.plan()
    study.handlers(
        f"import pytest\n@pytest.fixture\ndef broken():\n    yield\n    {broken}\n"
        "def e_x1_1(runner, broken): return {'metrics': {'accuracy': 0.95}}\n"
    )
    assert study.pytest("experiments", *arguments).code == 1
    explained = resume(study, "--exp-explain")
    assert "run e_x1_1: attempt 1 completed, but its test failed afterwards: " in explained.out
    assert resume(study, *arguments).code == 1


def test_data_behind_links_and_during_the_run(study: Study) -> None:
    """Linked folders count with what is in them; data that a run itself writes counts as it is then."""
    study.plan(
        "experiments:\n  x1-first:\n    sub_experiments: {e_x1_1: {data: [data]}, e_x1_2: {}, e_x1_3: {data: [written]}}\n"
    )
    study.handlers(
        "import os\n"
        "def e_x1_1(runner): return {'metrics': {}}\n"
        "def e_x1_2(runner):\n    open('written', 'w').write(os.environ.get('V', '1'))\n    return {'metrics': {}}\n"
        "def e_x1_3(runner): return {'metrics': {'v': open('written').read()}}\n"
    )
    study.write("elsewhere/part", "1")
    study.write("data/other", "1")
    study.write("written", "1")
    (study.root / "data" / "train").symlink_to(study.root / "elsewhere")
    (study.root / "elsewhere" / "back").symlink_to(study.root / "data")
    study.pytest()
    assert attempts(study) == {"e_x1_1": 1, "e_x1_2": 1, "e_x1_3": 1}
    study.write("elsewhere/part", "2")
    (study.attempt("e_x1_2") / "record.json").unlink()
    study.pytest("experiments", "--exp-resume", env={"V": "2"})
    assert attempts(study) == {"e_x1_1": 2, "e_x1_2": 2, "e_x1_3": 2}


def test_showing_fixtures_only(done: Study) -> None:
    """``--setup-plan`` replays nothing and writes nothing."""
    before = done.files()
    run = resume(done, "--setup-plan")
    assert run.code == 0, run.text
    assert done.files() == before
