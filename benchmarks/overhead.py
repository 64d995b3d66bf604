"""What a trivial sub-experiment costs beside a plain pytest function: ``python benchmarks/overhead.py``.

Both write the same artifact and one JSON file; the plain functions by hand, the handlers through
the runner (which also records the attempt, its evidence, results and findings). Runs alternate, the
best of each counts, and the result is a ratio. *Cold* is a fresh folder, as in CI, where Python and
pytest compile the files first; *warm* is the same folder again, results removed.
"""

from __future__ import annotations

import argparse
import os
import shutil
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
    os.sync()  # what earlier runs wrote and removed is not this one's cost
    began = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - began
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    return elapsed


def remove_output(root: Path) -> None:
    """Remove what a run wrote, but not what it compiled."""
    for folder in ("out", "research/experiments", "research/.exprunner"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "research" / "FINDINGS.md").unlink(missing_ok=True)


def measure(number: int, per_experiment: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return the best (plain, ours) seconds, cold and warm."""
    times: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            plain, ours = Path(first), Path(second)
            plain_arguments = write_plain(plain, number)
            our_arguments = write_handlers(ours, number, per_experiment)
            for pairs in times.values():
                pair = (
                    seconds(plain, plain_arguments, plugin=False),
                    seconds(ours, our_arguments, plugin=True),
                )
                pairs.append(pair)
                remove_output(plain)
                remove_output(ours)
    return {state: (min(p for p, _ in pairs), min(o for _, o in pairs)) for state, pairs in times.items()}


def main() -> None:
    """Measure and print one line per size and state."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, nargs="+", default=[1000])
    parser.add_argument("--per-experiment", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for number in options.numbers:
        best = measure(number, options.per_experiment, options.rounds)
        for state, (plain, ours) in best.items():
            print(
                f"{number} trivial sub-experiments, {state}: plain pytest {plain:.2f} s, "
                f"pytest-exprunner {ours:.2f} s, ratio {ours / plain:.2f}"
            )


if __name__ == "__main__":
    main()
