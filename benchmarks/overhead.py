"""What a trivial sub-experiment costs beside a plain pytest function: ``python benchmarks/overhead.py``.

Both write the same artifact and one JSON file; the plain functions by hand, the handlers through
the runner (which also records the attempt, its evidence, results and findings). Runs alternate, the
best of each counts, and the result is a ratio.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PLAIN = """\
import json
from pathlib import Path

OUT = Path(__file__).parent / "out"
"""
_PLAIN_TEST = """
def test_{i}():
    folder = OUT / "{i}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plot.bin").write_bytes(b"x" * 1000)
    metrics = {{"loss": {i} / 1000, "accuracy": 0.9}}
    (folder / "result.json").write_text(json.dumps({{"finding": "fine", "metrics": metrics}}))
    assert metrics["accuracy"] >= 0.8
"""
_HANDLER = """
def e_{i}_trivial(runner):
    path = runner.results.save_artifact("plot.bin", b"x" * 1000)
    return {{"finding": "fine", "metrics": {{"loss": {i} / 1000, "accuracy": 0.9}}, "artifacts": [path]}}
"""


def write_plain(root: Path, number: int) -> list[str]:
    """Write plain test functions; return pytest's arguments."""
    (root / "test_plain.py").write_text(_PLAIN + "".join(_PLAIN_TEST.format(i=i) for i in range(number)))
    return ["test_plain.py"]


def write_handlers(root: Path, number: int, per_experiment: int) -> list[str]:
    """Write a plan and its handlers; return pytest's arguments."""
    lines = ["experiments:"]
    for first in range(0, number, per_experiment):
        ids = ", ".join(f"e_{i}" for i in range(first, min(first + per_experiment, number)))
        lines += [f"  x{first}:", f"    sub_experiments: [{ids}]"]
        lines += ["    success_criteria: {accuracy: {target: 0.8}}"]
    (root / "research").mkdir()
    (root / "research" / "research_plan.yaml").write_text("\n".join(lines))
    (root / "experiments").mkdir()
    code = "".join(_HANDLER.format(i=i) for i in range(number))
    (root / "experiments" / "handlers.py").write_text(code)
    return ["experiments/"]


def seconds(root: Path, arguments: list[str], *, plugin: bool) -> float:
    """Run pytest once in a fresh process and return the wall time."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    load = ["-p", "pytest_exprunner.plugin"] if plugin else []
    command = [sys.executable, "-m", "pytest", "-q", *load, *arguments]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    return elapsed


def main() -> None:
    """Measure and print one line per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, nargs="+", default=[1000])
    parser.add_argument("--per-experiment", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for number in options.numbers:
        plain: list[float] = []
        ours: list[float] = []
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
                arguments = write_plain(Path(first), number)
                plain.append(seconds(Path(first), arguments, plugin=False))
                arguments = write_handlers(Path(second), number, options.per_experiment)
                ours.append(seconds(Path(second), arguments, plugin=True))
        print(
            f"{number} trivial sub-experiments: plain pytest {min(plain):.2f} s, "
            f"pytest-exprunner {min(ours):.2f} s, ratio {min(ours) / min(plain):.2f}"
        )


if __name__ == "__main__":
    main()
