"""What is known of a failure stands below it, and in everything that is written, wherever the handler ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from study_folder import ANEW, Run, Study

PLAN = """\
experiments:
  x1-first:
    sub_experiments: [e_x1_1, e_x1_2, e_x1_3, e_x1_4]
    success_criteria:
      accuracy: {target: 0.9, from: e_x1_4}
"""
HANDLERS = """\
import json
import os

import numpy as np
import pytest


def e_x1_1(runner):
    return {"metrics": {}, "finding": json.dumps(np.float32(0.5))}


@pytest.fixture
def data():
    return np.ones((2, 3)) + np.ones((2, 4))


def e_x1_2(runner, data):
    raise AssertionError


def e_x1_3(runner):
    try:
        np.ones(10**15)
    except MemoryError as error:
        raise RuntimeError("no room for the features") from error


def e_x1_4(runner):
    raise KeyError("accuracy")
"""
WAYS = pytest.mark.parametrize(
    "arguments",
    [(), ("-n2",), ("--exp-executor=subprocess",), ("-n2", "--exp-executor=subprocess")],
    ids=["serial", "-n2", "subprocess", "-n2 subprocess"],
)


def run_of(study: Study, *arguments: str, handlers: str = HANDLERS) -> Run:
    """Run the handlers of a study."""
    study.plan(PLAN)
    study.handlers(handlers)
    return study.pytest("experiments", *arguments, plugins=("exprunner", "xdist"))


def rules(hints: list[dict[str, Any]]) -> list[str]:
    """Return which rules some stored hints are of."""
    return [hint["rule"] for hint in hints]


@WAYS
def test_hints_are_shown_and_kept(study: Study, arguments: tuple[str, ...]) -> None:
    """The terminal, the record, the results and the findings have them; unknown errors have none."""
    run = run_of(study, *arguments)
    assert run.code == 1
    assert run.out.count("Hint: ") == 3
    for line in ("numpy-in-json", "shape-mismatch", "out-of-memory"):
        assert run.out.count(f"  More: exprunner hints {line}\n") == 1
    entries = study.results()["results"]["experiments"]
    expected = {"e_x1_1": ["numpy-in-json"], "e_x1_2": ["shape-mismatch"], "e_x1_3": ["out-of-memory"]}
    for sub, expected_rules in expected.items():
        stored = study.record(sub)["hints"]
        assert rules(stored) == expected_rules
        assert entries[sub]["hints"] == stored
        assert f"`exprunner hints {expected_rules[0]}`" in study.findings()
    assert study.record("e_x1_4")["hints"] == []
    assert "hints" not in entries["e_x1_4"]


def test_the_text_below_a_failure(study: Study) -> None:
    """Why, what to do, a few lines of Python, where to read more, and where the attempt's files are."""
    run = run_of(study, "-k", "e_x1_1")
    assert (
        """\
E       TypeError: Object of type float32 is not JSON serializable
"""
        in run.out
    )
    assert (
        """\
------------------------------------------ what may help -------------------------------------------
Hint: JSON knows numbers, texts, lists and mappings; a NumPy scalar, an array or a tensor is none of
  them, even where it prints like one. NumPy 2 calls its own bool 'bool', NumPy 1 'bool_'.
  Convert it with float(), int(), bool() or .tolist(); or give the data to
  runner.results.save_json_artifact, which takes such values as they are.
      def save(runner, accuracy, curve):
          data = {"accuracy": accuracy, "curve": curve}
          return runner.results.save_json_artifact("scores.json", data)
  More: exprunner hints numpy-in-json
Attempt 1 of e_x1_1; its files are in research/experiments/x1-first/attempts/e_x1_1/0001
"""
        in run.out
    )
    assert "what may help" not in study.record()["error"]["traceback"]


@pytest.mark.parametrize("arguments", [("--exp-executor=subprocess",), ("-n2",)], ids=["subprocess", "-n2"])
@pytest.mark.parametrize(
    ("body", "rule"),
    [("os.kill(os.getpid(), 9)", "out-of-memory"), ("os.kill(os.getpid(), 11)", "process-crashed")],
)
def test_a_process_that_is_gone(study: Study, arguments: tuple[str, ...], body: str, rule: str) -> None:
    """How it ended is diagnosed where that was noticed."""
    study.plan(PLAN)
    study.handlers(f"import os\n\ndef e_x1_1(runner):\n    {body}\n")
    env = {"CI": "true"}  # where pytest shows whole messages in its summary
    run = study.pytest("experiments", *arguments, env=env, plugins=("exprunner", "xdist"))
    assert run.out.count("Hint: ") == 1
    assert f"  More: exprunner hints {rule}\nIts files are in research/" in run.out
    assert rules(study.record()["hints"]) == [rule]
    assert rules(study.results()["results"]["experiments"]["e_x1_1"]["hints"]) == [rule]


def test_files_are_reproduced(study: Study) -> None:
    """Results and findings follow from the records, with their hints, and from the results alone."""
    run_of(study)
    folder = study.research / "experiments" / "x1-first"
    written = {name: (folder / name).read_bytes() for name in ("results.yaml", "FINDINGS.md")}
    for name in written:
        (folder / name).unlink()
    assert study.exprunner("report", env=ANEW).code == 0
    assert {name: (folder / name).read_bytes() for name in written} == written
    for record in folder.glob("attempts/*/*/record.json"):
        record.unlink()
    for attempt in folder.glob("attempts/*/*"):
        for file in attempt.iterdir():
            file.unlink()
        attempt.rmdir()
    (folder / "FINDINGS.md").unlink()
    assert study.exprunner("report", env=ANEW).code == 0
    assert (folder / "FINDINGS.md").read_bytes() == written["FINDINGS.md"]


CONFTEST = """\
import pytest
from pytest_exprunner import Hint


def pytest_exprunner_diagnose(failure):
    if "float32" in failure.message:
        return [
            Hint("units", f"The unit of {failure.type}.", "Say which.", "unit = 'mm'", "https://example.org/units"),
            Hint("numpy-in-json", "Ours says more.", "Ask Ada."),
        ]
    if failure.type == "ValueError":
        raise LookupError("no [table]")
    if failure.type == "RuntimeError":
        return "buy memory"
    return None
"""


@WAYS
def test_hints_of_a_project(study: Study, arguments: tuple[str, ...]) -> None:
    """They come first, and take the place of built-in ones; a hook that fails loses nothing, and is named."""
    study.write("conftest.py", CONFTEST)
    run = run_of(study, *arguments)
    assert run.counts(failed=3, errors=1) or run.counts(failed=3, error=1)
    assert (
        """\
Hint: The unit of TypeError.
  Say which.
      unit = 'mm'
  More: https://example.org/units
Hint: Ours says more.
  Ask Ada.
Attempt 1 of e_x1_1; its files are in"""
        in run.out
    )
    assert rules(study.record("e_x1_1")["hints"]) == ["units", "numpy-in-json"]
    assert rules(study.record("e_x1_2")["hints"]) == ["shape-mismatch"]
    assert rules(study.record("e_x1_3")["hints"]) == ["out-of-memory"]
    place = study.root / "conftest.py"
    warning = f"warning: pytest_exprunner_diagnose of {place}"
    assert f"{warning} raised LookupError: no [table]\nAttempt 1 of e_x1_2; " in run.out
    expected = "expected a list of pytest_exprunner.Hint, or None"
    assert f"{warning} returned 'buy memory'; {expected}\nAttempt 1 of e_x1_3; " in run.out
    assert run.out.count("warning: ") == 2


def test_a_file_that_cannot_be_imported(study: Study) -> None:
    """What is missing is named with what to do, before there is an attempt."""
    run = run_of(study, handlers="import no_such_package\n\n\ndef e_x1_1(runner): ...\n")
    assert run.code == 2
    assert (
        """\
ModuleNotFoundError: No module named 'no_such_package'

Hint: no_such_package is not installed for the Python that runs this; or it is a module of this
  project that lies where Python does not look.
  pip install no_such_package into the same environment"""
        in run.out
    )


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("raise SystemError('x')", "raised SystemError: x"),
        ("return [3]", "returned 3 in its list; expected a pytest_exprunner.Hint"),
        ("return [Hint('a', 1, 'b')]", "returned a hint whose cause is 1; expected text"),
        ("return [Hint('', 'why', 'what')]", "returned a hint without a rule or without words"),
        ("return {'rule': 'a'}", "returned {'rule': 'a'}; expected a list of pytest_exprunner.Hint, or None"),
    ],
)
def test_an_answer_that_is_no_hint(study: Study, answer: str, words: str) -> None:
    """It is said in a line; the built-in hint stays."""
    hook = f"from pytest_exprunner import Hint\n\ndef pytest_exprunner_diagnose(failure):\n    {answer}\n"
    study.write("conftest.py", hook)
    run = run_of(study, "-k", "e_x1_1")
    assert f"warning: pytest_exprunner_diagnose of {study.root / 'conftest.py'} {words}" in run.out
    assert rules(study.record()["hints"]) == ["numpy-in-json"]


def test_the_hook_does_no_harm_without_a_plan(study: Study) -> None:
    """A conftest file may have the hook where there is nothing to diagnose."""
    study.write("conftest.py", CONFTEST)
    study.write("test_it.py", "def test_it(): pass\n")
    run = study.pytest("test_it.py")
    assert (run.code, run.counts(passed=1)) == (0, True)


def test_the_command(study: Study, tmp_path: Path) -> None:
    """It needs no plan: a table, one in full, JSON, and an unknown name with what it may have been."""
    table = study.exprunner("hints")
    assert table.code == 0
    assert "cannot-pickle           Something that cannot be pickled is sent to another process" in table.out
    assert (
        study.exprunner("hints", "cuda-tensor-to-numpy").out
        == """\
cuda-tensor-to-numpy: A tensor on a GPU is turned into a NumPy array

How it looks:
  TypeError: can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.

Why: The tensor is in the memory of a GPU, and NumPy reads the memory of the host.
What to do: Copy it to the host with .cpu() first.

    def values_of(output):
        return output.detach().cpu().numpy()
"""
    )
    value = json.loads(study.exprunner("hints", "disk-full", "--json").out)
    assert (value["schema"], len(value["hints"]), value["hints"][0]["rule"]) == (
        "exprunner/hints", 1, "disk-full",
    )  # fmt: skip
    assert len(json.loads(study.exprunner("hints", "--json").out)["hints"]) == len(table.out.splitlines())
    unknown = study.exprunner("hints", "disk-ful")
    assert unknown.code == 4
    assert unknown.err == (
        "unknown hint 'disk-ful' (did you mean 'disk-full'?); 'exprunner hints' shows all of them\n"
    )
    assert not list(tmp_path.iterdir())
