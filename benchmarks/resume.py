"""What there is to pay where there is nothing to do: ``python benchmarks/resume.py``.

A resumed run of 1,000 completed handlers beside collecting 1,000 plain tests; a test run without a plan
with and without the plugin; and reading and writing of a large study.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from overhead import seconds, write_handlers, write_plain

from pytest_exprunner.model.layout import Layout
from pytest_exprunner.plan import loader
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.store import results_file
from pytest_exprunner.store.study import Study

NUMBER = 1000
T = TypeVar("T")


def nothing_to_do() -> None:
    """Print what a resumed run costs."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        arguments = write_plain(Path(first), NUMBER)
        collect = min(seconds(Path(first), [*arguments, "--collect-only"], plugin=False) for _ in range(4))
        arguments = write_handlers(Path(second), NUMBER, 10)
        seconds(Path(second), arguments, plugin=True)
        resumed = min(seconds(Path(second), [*arguments, "--exp-resume"], plugin=True) for _ in range(4))
    each = (resumed - collect) / NUMBER * 1000
    print(
        f"nothing to do for {NUMBER}: {resumed:.2f} s, {each:.2f} ms each beyond collecting ({collect:.2f} s)"
    )


def without_a_plan() -> None:
    """Print what the plugin costs a project that has no plan."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_one.py").write_text("def test_one(): pass\n")
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(10):
            for plugin, found in times.items():
                found.append(seconds(Path(folder), ["test_one.py"], plugin=plugin))
    added = (min(times[True]) - min(times[False])) * 1000
    print(f"without a plan the plugin adds {added:.0f} ms to {min(times[False]) * 1000:.0f} ms")


def large() -> None:
    """Print how long a plan of 1,000 × 10 and its results take."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_handlers(root, 10 * NUMBER, 10)
        file = root / "research" / "research_plan.yaml"
        loaded, reading = timed(lambda: loader.load(file))
        plan: Plan = loaded.plan
        study = Study(plan, Layout(root / "research"))
        state = study.state(next(iter(plan.experiments)))
        document = results_file.document(state)
        document["attempts"] = {
            f"e_{i}": [{"attempt": 1, "status": "completed", "run": "r", "values": {"loss": i / 7}}]
            for i in range(10 * NUMBER)
        }
        data, writing = timed(lambda: results_file.dump(document))
        stored = root / "results.yaml"
        stored.write_bytes(data)
        _, loading = timed(lambda: results_file.load(stored))
    print(
        f"a plan of {NUMBER} experiments × 10: read in {reading:.2f} s; a results file of {10 * NUMBER} "
        f"attempts: written in {writing:.2f} s, read in {loading:.2f} s"
    )


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Return what work returns, and the seconds it took."""
    began = time.perf_counter()
    value = work()
    return value, time.perf_counter() - began


if __name__ == "__main__":
    nothing_to_do()
    without_a_plan()
    large()
