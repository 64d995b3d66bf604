"""What ``-k``, ``-m`` and paths select: ids, experiments, types, phases and gates."""

from __future__ import annotations

import pytest
from study_folder import Study

PLAN = """\
experiments:
  p2-encoder:
    type: pivot
    phase: 1
    sub_experiments: [e_p2_1, e_p2_10]
  q1-alignment:
    type: question
    phase: 2a
    sub_experiments: [e_q1_1]
gates:
  gate_1: {experiments: [p2-encoder]}
"""
HANDLERS = """\
def e_p2_1_probe(runner): return {"metrics": {"a": 1}}
def e_p2_10_probe(runner): return {"metrics": {"a": 1}}
def e_q1_1_probe(runner): return {"metrics": {"a": 1}}
"""


@pytest.mark.parametrize(
    ("arguments", "selected"),
    [
        (("-m", "e_p2_1"), {"e_p2_1"}),
        (("-k", "e_p2_1"), {"e_p2_1", "e_p2_10"}),
        (("-k", "p2-encoder"), {"e_p2_1", "e_p2_10"}),
        (("-k", "pivot"), {"e_p2_1", "e_p2_10"}),
        (("-m", "question"), {"e_q1_1"}),
        (("-m", "phase_1"), {"e_p2_1", "e_p2_10"}),
        (("-m", "phase_2a"), {"e_q1_1"}),
        (("-m", "gate_1"), {"e_p2_1", "e_p2_10"}),
        (("-k", "gate_1 and not e_p2_10"), {"e_p2_1"}),
        (("-m", "not gate_1"), {"e_q1_1"}),
    ],
)
def test_every_name_of_the_plan_selects(study: Study, arguments: tuple[str, str], selected: set[str]) -> None:
    """``-m`` takes a name exactly, ``-k`` any name that contains it; both know the whole plan."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    run = study.pytest("experiments/", "--collect-only", "-q", *arguments)
    assert run.code == 0, run.text
    found = {line.split("::")[1].removesuffix("_probe") for line in run.out.splitlines() if "::" in line}
    assert found == selected


def test_a_marker_may_name_an_experiment(study: Study) -> None:
    """An experiment's id, hyphens and all, selects it with ``-m``."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    run = study.pytest("experiments/", "--collect-only", "-q", "-m", "p2-encoder")
    assert run.code == 0, run.text
    assert "2/3 tests collected (1 deselected)" in run.out


def test_strict_markers_hold(study: Study) -> None:
    """Under ``--strict-markers`` every name of the plan is registered, and a misspelt one is not."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    run = study.pytest("experiments/", "--strict-markers", "--strict-config", "-m", "e_p2_1")
    assert run.counts(passed=1, deselected=2), run.text
    markers = study.pytest("experiments/", "--markers")
    assert "@pytest.mark.e_p2_1: from the research plan" in markers.out


@pytest.mark.parametrize("name", ["skip", "xfail", "slow", "usefixtures", "parametrize", "filterwarnings"])
def test_an_id_that_is_a_marker_already(study: Study, name: str) -> None:
    """An experiment whose id is a marker with a meaning is judged like any other."""
    study.write("pytest.ini", "[pytest]\nmarkers = slow: takes long\n")
    study.write(
        "conftest.py",
        "import pytest\n"
        "def pytest_collection_modifyitems(items):\n"
        "    for item in items:\n"
        "        if item.get_closest_marker('slow'):\n"
        "            item.add_marker(pytest.mark.skip(reason='slow'))\n",
    )
    study.plan(
        f"experiments:\n  {name}:\n    sub_experiments: [e_1]\n    type: claim\n"
        "    success_criteria: {a: {target: 1}}\n"
    )
    study.handlers("def e_1(runner): return {'metrics': {'a': 0}}\n")
    run = study.pytest()
    assert run.code == 1, run.text
    assert run.counts(failed=1), run.text
    assert "a of 0 is below the 1 target by 1" in run.out


@pytest.mark.parametrize("name", ["skip", "xfail"])
def test_a_gate_that_is_a_marker_already(study: Study, name: str) -> None:
    """A gate's id does not skip what it covers either."""
    study.plan(
        "experiments:\n  x1:\n    sub_experiments: [e_1]\n    success_criteria: {a: {target: 1}}\n"
        f"gates:\n  {name}: {{experiments: [x1]}}\n"
    )
    study.handlers("def e_1(runner): return {'metrics': {'a': 0}}\n")
    run = study.pytest()
    assert run.code == 1, run.text
    assert run.counts(failed=1), run.text


def test_a_marker_that_a_plugin_gives_a_meaning(study: Study) -> None:
    """An experiment called ``flaky`` is not run again and again by pytest-rerunfailures."""
    study.plan("experiments:\n  flaky:\n    sub_experiments: [e_1]\n    success_criteria: {a: {target: 1}}\n")
    study.handlers("def e_1(runner): return {'metrics': {'a': 0}}\n")
    run = study.pytest("experiments/", plugins=("exprunner", "rerunfailures"))
    assert run.code == 1, run.text
    assert run.counts(failed=1), run.text


def test_a_random_order_changes_no_result(study: Study) -> None:
    """Shuffled by a plugin, the same handlers give the same verdicts, dependencies still first."""
    study.plan(
        "experiments:\n"
        + "".join(
            f"  x{n}:\n    sub_experiments: [e_{n}]\n    success_criteria: {{a: {{target: 1}}}}\n"
            + (f"    dependencies: [x{n - 1}]\n" if n > 1 else "")
            for n in range(1, 6)
        )
    )
    study.handlers("".join(f"def e_{n}(runner): return {{'metrics': {{'a': 1}}}}\n" for n in range(5, 0, -1)))
    for seed in ("1", "2"):
        run = study.pytest("experiments/", "-v", f"--randomly-seed={seed}", plugins=("exprunner", "randomly"))
        assert run.code == 0, run.text
        order = [line.split("::")[1][:3] for line in run.out.splitlines() if "PASSED" in line]
        assert order == ["e_1", "e_2", "e_3", "e_4", "e_5"]


def test_one_variant_of_a_handler(study: Study) -> None:
    """A variant's id selects it; the others stay as they were."""
    study.plan("experiments:\n  x1:\n    sub_experiments: [e_1]\n    success_criteria: {a: {target: 1}}\n")
    study.handlers(
        "import pytest\n@pytest.mark.parametrize('n', [1, 2])\n"
        "def e_1(runner, n): return {'metrics': {'a': n}}\n"
    )
    run = study.pytest("experiments/handlers.py::e_1[2]")
    assert run.code == 0, run.text
    assert run.counts(passed=1)
    results = study.results("x1")
    assert results["status"] == "in_progress"
    assert results["recommendation"] == "investigate"


def test_nothing_selected(study: Study) -> None:
    """A ``-k`` that matches nothing exits 5 and writes nothing."""
    study.plan(PLAN)
    study.handlers(HANDLERS)
    run = study.pytest("experiments/", "-k", "no_such_name")
    assert run.code == 5, run.text
    assert "research/experiments/p2-encoder/results.yaml" not in study.files()


def test_a_part_is_not_judged_as_a_whole(study: Study) -> None:
    """What was not selected is not held against the run, and the experiment stays unfinished."""
    study.plan(
        "experiments:\n  x1:\n    sub_experiments: [e_1, e_2]\n"
        "    success_criteria: {a: {target: 1}, b: {target: 1}}\n"
    )
    study.handlers(
        "def e_1(runner): return {'metrics': {'a': 1}}\ndef e_2(runner): return {'metrics': {'b': 0}}\n"
    )
    run = study.pytest("experiments/", "-k", "e_1")
    assert run.code == 0, run.text
    assert study.results("x1")["recommendation"] == "investigate"
    assert study.pytest("experiments/handlers.py").code == 1


def test_the_whole_selected_by_one_file_of_two(study: Study) -> None:
    """Naming one of two handler files leaves the other's sub-experiments out of the judgement."""
    study.plan(
        "experiments:\n  x1:\n    sub_experiments: [e_1, e_2]\n    success_criteria: {b: {target: 1}}\n"
    )
    study.handlers("def e_1(runner): return {'metrics': {'a': 1}}\n", "one.py")
    study.handlers("def e_2(runner): return {'metrics': {'b': 1}}\n", "two.py")
    assert study.pytest("experiments/one.py").code == 0
    run = study.pytest("experiments/one.py", "experiments/two.py")
    assert run.code == 0, run.text
    assert study.results("x1")["recommendation"] == "proceed"


def test_last_failed_runs_what_failed(study: Study) -> None:
    """``--lf`` selects the handlers whose criteria were not met."""
    study.plan(
        "experiments:\n  x1:\n    sub_experiments: [e_1, e_2]\n"
        "    success_criteria: {a: {target: 1}, b: {target: 1}}\n"
    )
    study.handlers(
        "def e_1(runner): return {'metrics': {'a': 1}}\ndef e_2(runner): return {'metrics': {'b': 0}}\n"
    )
    assert study.pytest("experiments/").code == 1
    run = study.pytest("experiments/", "--lf")
    assert run.code == 1, run.text
    assert "e_2" in run.out
    assert "passed" not in run.out.splitlines()[-1]
