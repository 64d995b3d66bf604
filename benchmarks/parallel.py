"""How well two workers are used: ``python benchmarks/parallel.py``.

200 handlers of 50 ms beside 200 plain tests of 50 ms under xdist's own ``load``; and a graph of 25
handlers of different lengths against its critical path.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import orjson

NUMBER, SLEEP, WORKERS = 200, 0.05, 2
_TOLD = """\
import time


def told(seconds):
    with open("times", "a") as file:
        file.write(f"{time.time()}\\n")
        time.sleep(seconds)
        file.write(f"{time.time()}\\n")


"""


def seconds(root: Path, *arguments: str) -> float:
    """Run pytest with two workers and return the wall time."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", f"-n{WORKERS}", *arguments]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - began
    if done.returncode not in (0, 1) or "failed" in done.stdout.replace("1 failed", ""):
        raise SystemExit(done.stdout + done.stderr)
    return elapsed


def write(root: Path, plan: str, handlers: str) -> None:
    """Write a study."""
    (root / "research").mkdir()
    (root / "research" / "research_plan.yaml").write_text(plan)
    (root / "experiments").mkdir()
    (root / "experiments" / "handlers.py").write_text(handlers)


def span(root: Path) -> float:
    """Return the seconds from the first start to the last end of an attempt."""
    files = root.glob("research/experiments/*/attempts/*/*/record.json")
    records = [orjson.loads(file.read_bytes()) for file in files]
    starts = [datetime.fromisoformat(record["started_at"]) for record in records]
    ends = [datetime.fromisoformat(record["finished_at"]) for record in records]
    return (max(ends) - min(starts)).total_seconds()


def many_alike() -> None:
    """Print how much of two workers is used by equal work."""
    ideal = NUMBER * SLEEP / WORKERS
    plain, plain_spans, ours, spans = [], [], [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            tests = "".join(f"def test_{i}(): told({SLEEP})\n" for i in range(NUMBER))
            (Path(first) / "test_plain.py").write_text(_TOLD + tests)
            plain.append(seconds(Path(first), "test_plain.py"))
            times = [float(line) for line in (Path(first) / "times").read_text().splitlines()]
            plain_spans.append(max(times) - min(times))
            ids = ", ".join(f"e_{i}" for i in range(NUMBER))
            code = "".join(
                f"def e_{i}_x(runner):\n    time.sleep({SLEEP})\n    return {{'metrics': {{'a': 1}}}}\n"
                for i in range(NUMBER)
            )
            plan = f"experiments:\n  x1:\n    sub_experiments: [{ids}]\n"
            write(Path(second), f"{plan}    success_criteria: {{a: {{target: 1}}}}\n", f"import time\n{code}")
            ours.append(seconds(Path(second), "-p", "pytest_exprunner.plugin", "experiments"))
            spans.append(span(Path(second)))
    print(
        f"{NUMBER} of {SLEEP * 1000:.0f} ms on {WORKERS} workers: xdist's load {ideal / min(plain):.2f} "
        f"of ideal, start-up aside {ideal / min(plain_spans):.2f}; "
        f"pytest-exprunner {ideal / min(ours):.2f}, start-up aside {ideal / min(spans):.2f}"
    )


def graph() -> None:
    """Print the makespan of a graph against what no schedule can beat."""
    chance = random.Random(1)
    needs = {i: sorted(chance.sample(range(i), min(i, chance.choice([0, 1, 2])))) for i in range(25)}
    length = {i: chance.choice([0.1, 0.2, 0.4, 0.8]) for i in needs}
    finish: dict[int, float] = {}
    for i, before in needs.items():
        finish[i] = length[i] + max((finish[n] for n in before), default=0.0)
    bound = max(*finish.values(), sum(length.values()) / WORKERS)
    subs = ", ".join(f"e_{i}: {{needs: [{', '.join(f'e_{n}' for n in needs[i])}]}}" for i in needs)
    code = "".join(
        f"def e_{i}(runner):\n    time.sleep({length[i]})\n    return {{'metrics': {{}}}}\n" for i in needs
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, f"experiments:\n  x1: {{sub_experiments: {{{subs}}}}}\n", f"import time\n{code}")
        for known in ("unknown", "known from the run before"):
            seconds(root, "-p", "pytest_exprunner.plugin", "experiments")
            attempts = sorted(root.glob("research/experiments/x1/attempts/*/*"))
            for attempt in attempts:
                if known == "unknown":
                    continue
                if attempt.name == "0001":
                    (attempt / "record.json").unlink()
            print(
                f"a graph of {len(needs)}, durations {known}: {span(root):.2f} s, "
                f"no schedule can take less than {bound:.2f} s"
            )


if __name__ == "__main__":
    many_alike()
    graph()
