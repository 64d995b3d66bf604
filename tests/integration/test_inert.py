"""Where there is no plan, or nobody asked for handlers, pytest is as it was."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from study_folder import Run, Study

HEAVY = "pydantic yaml orjson numpy torch click pytest_exprunner.session.session pytest_exprunner.plan.models"
CONFTEST = f"""\
import sys

def pytest_unconfigure():
    loaded = [name for name in {HEAVY.split()!r} if name in sys.modules]
    if loaded:
        print("LOADED", *loaded)
"""
TESTS = """\
import pytest

def test_passes(): pass
def test_fails(): assert [1, 2] == [1, 3]
def test_returns(): return 1
def e_x1_1_probe(runner): raise SystemExit
@pytest.fixture
def runner(): return 7
def test_own_runner(runner): assert runner == 7
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study whose processes import what they need, and nothing is imported before."""
    return Study(tmp_path, forked=False)


def _timeless(run: Run) -> str:
    text = re.sub(r"in \d+\.\d+s", "in 0.00s", run.text)
    return "\n".join(line.strip("= ") for line in text.splitlines() if not line.startswith("plugins:"))


@pytest.mark.parametrize("arguments", [(), ("-v", "-ra"), ("-q",), ("--collect-only",), ("--markers",)])
def test_without_a_plan_nothing_changes(study: Study, arguments: tuple[str, ...]) -> None:
    """Without a plan output, exit code and files are those of pytest without the plugin."""
    study.write("test_it.py", TESTS)
    study.write("experiments/handlers.py", TESTS)
    study.write("experiments/test_that.py", TESTS)
    without = study.pytest("-p", "no:cacheprovider", *arguments, plugins=("no:exprunner",))
    before = study.files()
    run = study.pytest("-p", "no:cacheprovider", *arguments)
    assert (run.code, _timeless(run)) == (without.code, _timeless(without))
    assert study.files() == before


def test_without_a_plan_nothing_heavy_is_imported(study: Study) -> None:
    """No plan: neither the plugin's own rooms nor what they need are loaded."""
    study.write("conftest.py", CONFTEST)
    study.write("test_it.py", TESTS)
    assert "LOADED" not in study.pytest("test_it.py", "-s").text


def test_with_a_plan_elsewhere_nothing_heavy_is_imported(study: Study) -> None:
    """Ordinary tests beside a study do not pay for it, even where they say that handlers wait."""
    study.plan()
    study.handlers("def e_x1_1(runner): ...\n")
    study.write("conftest.py", CONFTEST)
    study.write("tests/test_it.py", "def test_it(): pass\n")
    run = study.pytest("tests", "-s")
    assert run.code == 0, run.text
    assert "LOADED" not in run.text


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_bare_run_says_how_many_wait(study: Study, quiet: tuple[str, ...]) -> None:
    """A run that does not name the experiments says in one line how many handlers wait."""
    study.plan()
    study.handlers("open('ran', 'w')\ndef e_x1_1(runner): ...\ndef e_x1_2_probe(runner): ...\n")
    study.write("tests/test_it.py", "def test_it(): pass\n")
    run = study.pytest("tests", *quiet)
    assert run.code == 0, run.text
    assert (
        run.out.splitlines().count("2 experiment handlers wait in experiments: run 'pytest experiments'") == 1
    )
    assert "ran" not in study.files()
    assert not any(f.startswith("research/experiments") for f in study.files())


def test_one_handler_waits(study: Study) -> None:
    """One handler waits in the singular."""
    study.plan()
    study.handlers("def e_x1_1(runner): ...\n")
    study.write("tests/test_it.py", "def test_it(): pass\n")
    run = study.pytest("tests")
    assert "1 experiment handler waits in experiments: run 'pytest experiments'" in run.out


def test_truly_bare_pytest_runs_no_handler(study: Study) -> None:
    """``pytest`` without arguments runs the tests of the project and no handler."""
    study.plan()
    study.handlers("open('ran', 'w')\ndef e_x1_1(runner): ...\n")
    study.handlers("def test_in_experiments(): pass\n", "test_beside.py")
    study.write("tests/test_it.py", "def test_it(): pass\n")
    run = study.pytest("-q", "-v")
    assert run.code == 0, run.text
    assert "ran" not in study.files()
    assert "1 experiment handler waits in experiments: run 'pytest experiments'" in run.out
    assert run.counts(passed=2)


def test_bare_pytest_with_python_files_star(study: Study) -> None:
    """Even with ``python_files = *.py`` a bare run imports no handler file."""
    study.plan()
    study.write("pytest.ini", "[pytest]\npython_files = *.py\n")
    study.handlers("open('ran', 'w')\ndef e_x1_1(runner): ...\n")
    study.write("tests/test_it.py", "def test_it(): pass\n")
    run = study.pytest("-v")
    assert run.code == 0, run.text
    assert "ran" not in study.files()


def test_testpaths_may_name_the_experiments(study: Study) -> None:
    """Where ``testpaths`` names the folder, a bare ``pytest`` runs the handlers."""
    study.plan()
    study.write("pytest.ini", "[pytest]\ntestpaths = experiments tests\n")
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    study.write("tests/test_it.py", "def test_it(): pass\n")
    run = study.pytest("-v")
    assert run.code == 0, run.text
    assert run.counts(passed=2)
    assert study.results()["recommendation"] == "proceed"


@pytest.mark.parametrize("argument", [".", "./", "experiments/../experiments"])
def test_ways_to_name_the_folder(study: Study, argument: str) -> None:
    """``pytest .`` is a bare run; every other spelling of the folder runs its handlers."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    run = study.pytest(argument)
    if "experiments" in argument:
        assert run.counts(passed=1), run.text
    else:
        assert run.code == 5, run.text
        assert "1 experiment handler waits in experiments: run 'pytest experiments'" in run.out


def test_a_broken_plan_does_not_stop_other_tests(study: Study) -> None:
    """A run that asks for no handler does not fail for a plan that it does not read."""
    study.plan("experiments: [")
    study.write("tests/test_it.py", "def test_it(): pass\n")
    assert study.pytest("tests").code == 0


def test_the_plugin_can_be_turned_off(study: Study) -> None:
    """``-p no:exprunner`` removes it, and its options with it."""
    study.plan()
    study.handlers("def e_x1_1(runner): ...\n")
    run = study.pytest("experiments/", plugins=("no:exprunner",))
    assert run.code == 5, run.text
    assert "research plan" not in run.text


@pytest.mark.parametrize(
    "name", ["cacheprovider", "capture", "logging", "setuponly", "setupplan", "skipping", "terminal"]
)
def test_parts_of_pytest_that_are_turned_off(study: Study, name: str) -> None:
    """A study runs, and is judged, without what ``-p no:NAME`` takes away from pytest."""
    study.plan()
    study.handlers(
        "def e_x1_1(runner):\n    runner.stage('here')\n    return {'metrics': {'accuracy': 0.4}}\n"
    )
    run = study.pytest("-p", f"no:{name}", "experiments/")
    assert run.code == 1, run.text
    assert "INTERNALERROR" not in run.text
    assert study.results("x1-first")["recommendation"] == "pivot"


def test_all_installed_plugins_together(study: Study) -> None:
    """Loaded by its entry point, in the company of every installed plugin, it does its work."""
    study.plan()
    study.handlers("def e_x1_1(runner): return {'metrics': {'accuracy': 0.95}}\n")
    run = study.pytest(
        "-p", "no:randomly", "experiments/", plugins=(), env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": ""}
    )
    assert run.code == 0, run.text
    assert "exprunner-" in run.out
    assert run.counts(passed=1)
