"""What every executor keeps: whoever calls the handlers, verdicts, files and reports are the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from modal_server import ModalServer
from study_folder import Run, Study

pytestmark = pytest.mark.slow

PLAN = """\
experiments:
  x1-first:
    sub_experiments: {e_x1_1: {}, e_x1_2: {needs: [e_x1_1]}, e_x1_3: {}}
    success_criteria:
      accuracy: {target: 0.9, from: e_x1_2}
  x2-second:
    sub_experiments: [e_x2_1]
    dependencies: [x1-first]
    success_criteria:
      recall: {target: 0.9}
gates:
  gate_1: {experiments: [x1-first, x2-second]}
"""
HANDLERS = """\
import logging, os, pathlib, random
import pytest
from helpers.numbers import two

@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.txt"
    path.write_text("1 2 3")
    yield path
    path.unlink()

def e_x1_1(runner, dataset, answer):
    for step in range(3):
        runner.log_metrics({"loss": 1 / (step + 1)}, step=step)
    print("rows", dataset.read_text(), "answer", answer)
    model = runner.results.save_artifact("deep/model.bin", bytes(range(256)) * 20)
    table = runner.results.save_json_artifact("table.json", {"rows": [1, 2, 3]})
    return {"finding": "Trained.", "metrics": {"loss": 0.2, "two": two()}, "artifacts": [model, table]}

def e_x1_2(runner):
    upstream = runner.needs["e_x1_1"]
    size = upstream.artifact("deep/model.bin").stat().st_size
    return {"finding": "Probed.", "metrics": {"accuracy": 0.95, "size": size, "loss": upstream.metrics["loss"]}}

def e_x1_3(runner):
    runner.evidence("simulated", "no sensor")
    return {"finding": "Listed.", "metrics": {"draw": random.random()}}

def e_x2_1(runner):
    return {"finding": "Seen.", "metrics": {"recall": 0.95}}
"""
CONFTEST = """\
import pytest

@pytest.fixture
def answer():
    return 42
"""


@dataclass(frozen=True)
class Called:
    """How handlers are called."""

    name: str
    env: dict[str, str]

    def run(self, study: Study, *arguments: str) -> Run:
        """Run a study."""
        return study.pytest("experiments/", f"--exp-executor={self.name}", *arguments, env=self.env)


@pytest.fixture(scope="session")
def modal_server() -> Iterator[ModalServer]:
    """The stand-in for Modal's control plane, with its real client and containers."""
    with ModalServer() as server:
        if not server.isolated:
            pytest.skip("this machine cannot give a container a file system of its own")
        yield server


@pytest.fixture(params=["inline", "subprocess", pytest.param("modal", marks=pytest.mark.slow)])
def called(request: pytest.FixtureRequest) -> Called:
    """Every executor in turn; or those that a test names."""
    env = request.getfixturevalue("modal_server").environment() if request.param == "modal" else {}
    return Called(request.param, env)


def fill(study: Study, handlers: str = HANDLERS, plan: str = PLAN) -> None:
    """Write a study with a helper module and a conftest."""
    study.plan(plan)
    study.handlers(handlers)
    study.write("experiments/helpers/__init__.py", "")
    study.write("experiments/helpers/numbers.py", "def two():\n    return 2\n")
    study.write("experiments/conftest.py", CONFTEST)


def told(study: Study, experiment: str) -> dict[str, Any]:
    """What a results file says, without times, ids and machines."""
    results = study.results(experiment)
    for name in ("executed_by", "started_at", "completed_at", "provenance"):
        results.pop(name)
    for entry in results["results"]["experiments"].values():
        for name in ("started_at", "completed_at", "duration_s", "run", "finished_at"):
            entry.pop(name, None)
    for attempts in results["attempts"].values():
        for attempt in attempts:
            for name in ("started_at", "completed_at", "duration_s", "run", "finished_at"):
                attempt.pop(name, None)
    return results


@pytest.mark.parametrize("called", ["inline", "subprocess", "modal"], indirect=True)
def test_a_study_leaves_the_same_behind(
    study: Study, tmp_path_factory: pytest.TempPathFactory, called: Called
) -> None:
    """Fixtures, helpers, needs, dependencies, artifacts, seeds and evidence: results as inline."""
    plain = Study(tmp_path_factory.mktemp("inline"))
    for each in (plain, study):
        fill(each)
    expected = plain.pytest("experiments/", "--exp-gate=gate_1")
    run = called.run(study, "--exp-gate=gate_1")
    assert (run.code, expected.code) == (0, 0), run.text
    for experiment in ("x1-first", "x2-second"):
        assert told(study, experiment) == told(plain, experiment)
    assert run.text.count("INTERNALERROR") == 0
    assert "4 passed" in run.text
    model = study.research / "experiments/x1-first/artifacts/e_x1_1/deep/model.bin"
    assert model.read_bytes() == bytes(range(256)) * 20
    log = study.research / "experiments/x1-first/attempts/e_x1_1/0001/log.txt"
    assert "rows 1 2 3 answer 42" in log.read_text()
    again = called.run(study, "--exp-resume")
    assert again.code == 0
    assert "Not run again: 4" in again.text


@pytest.mark.parametrize(
    ("body", "outcome", "shown"),
    [
        ("return {'metrics': {'accuracy': 0.5}}", "1 failed", "accuracy"),
        ("raise ValueError('no such thing')", "1 failed", "ValueError: no such thing"),
        ("import pytest; pytest.skip('not today')", "1 skipped", "not today"),
        ("assert [1, 2] == [1, 3], 'unequal'", "1 failed", "assert [1, 2] == [1, 3]"),
        ("return 42", "1 failed", "the handler returned 42"),
        ("return {'metrics': {'accuracy': 0.95}}", "1 passed", "target"),
    ],
)
def test_outcomes_are_the_same(
    study: Study,
    tmp_path_factory: pytest.TempPathFactory,
    called: Called,
    body: str,
    outcome: str,
    shown: str,
) -> None:
    """Counted and shown as pytest does."""
    plain = Study(tmp_path_factory.mktemp("inline"))
    for each in (plain, study):
        each.plan()
        each.handlers(f"def e_x1_1_probe(runner):\n    {body}\n")
    expected = plain.pytest("experiments/", "-rs")
    run = called.run(study, "-rs")
    assert run.code == expected.code
    assert outcome in expected.text
    assert outcome in run.text
    assert shown in run.text
    assert summary(run) == summary(expected)


def summary(run: Run) -> list[str]:
    """What the end of a run says, without times."""
    lines = run.text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("x1-first"))
    end = next(i for i, line in enumerate(lines) if line.startswith("Completed:"))
    return lines[start : end + 1]


def test_hints_come_home(study: Study, called: Called) -> None:
    """A failure is diagnosed where it happened, by the project's hook too, and told here."""
    study.plan()
    study.write(
        "experiments/conftest.py",
        "from pytest_exprunner import Hint\n\n"
        "def pytest_exprunner_diagnose(failure):\n"
        "    return [Hint('ours', f'A {failure.type}.', 'Ask Ada.')]\n",
    )
    study.handlers("def e_x1_1_probe(runner):\n    raise MemoryError('no room')\n")
    run = called.run(study)
    assert run.code == 1
    assert "\nHint: A MemoryError.\n  Ask Ada.\nHint: " in run.text
    hints = study.results()["results"]["experiments"]["e_x1_1"]["hints"]
    assert (
        [hint["rule"] for hint in hints]
        == ["ours", "out-of-memory"]
        == [hint["rule"] for hint in study.record()["hints"]]
    )


def test_variants(study: Study, called: Called) -> None:
    """One item for each, by its id; the same seeds."""
    study.plan()
    study.handlers(
        "import pytest, random\n"
        "@pytest.mark.parametrize('lr', [0.1, 0.2])\n"
        "def e_x1_1_probe(runner, lr):\n"
        "    return {'metrics': {'accuracy': 0.9 + lr / 10, 'draw': random.random()}}\n"
    )
    assert called.run(study, "-v").code == 0
    first = {variant: study.results()["results"]["experiments"]["e_x1_1"] for variant in ("0.1", "0.2")}
    assert study.pytest("experiments/").code == 0
    assert first["0.1"]["metrics"] == study.results()["results"]["experiments"]["e_x1_1"]["metrics"]


def test_the_first_failure_ends_a_run(study: Study, called: Called) -> None:
    """``-x``: what had not begun is left for the next run."""
    study.plan("experiments: {x1-first: {sub_experiments: {e_x1_1: {}, e_x1_2: {needs: [e_x1_1]}}}}")
    study.handlers("def e_x1_1(runner): raise ValueError('no')\ndef e_x1_2(runner): return {'metrics': {}}\n")
    run = called.run(study, "-x")
    assert run.code in {1, 2}
    assert "1 failed" in run.text
    assert "stopping after 1 failures" in run.text


def test_junit(study: Study, called: Called) -> None:
    """Reports reach pytest's own writers."""
    fill(study)
    assert called.run(study, "--junitxml=out.xml").code == 0
    assert 'tests="4"' in (study.root / "out.xml").read_text()
