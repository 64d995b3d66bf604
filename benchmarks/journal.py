"""What ``log_metrics`` costs beside a bare JSON line: ``python benchmarks/journal.py``.

Three floats per call. The alternative is what people write by hand: ``json.dumps`` and a flush per
line. Both leave every line with the kernel when a call returns, so a kill loses nothing.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from pytest_exprunner.model.selection import Selected
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.loader import load
from pytest_exprunner.session.session import ExperimentSession

CALLS = 200_000
PLAN = "experiments:\n  x1:\n    sub_experiments: [e_1]\n"


def by_hand(folder: Path) -> list[float]:
    """Return the seconds of every call, sorted."""
    times = []
    with (folder / "metrics.jsonl").open("w") as stream:
        for step in range(CALLS):
            began = time.perf_counter()
            stream.write(json.dumps({"step": step, "loss": 0.1 * step, "accuracy": 0.5, "lr": 1e-3}) + "\n")
            stream.flush()
            times.append(time.perf_counter() - began)
    return sorted(times)


def by_runner(folder: Path) -> list[float]:
    """Return the seconds of every call, sorted."""
    plan = folder / "research" / "research_plan.yaml"
    plan.parent.mkdir()
    plan.write_text(PLAN)
    settings = Settings(plan, plan.parent, (folder / "experiments",), folder)
    session = ExperimentSession(settings, load(plan), {}, {})
    item = Selected("x1", "e_1", None, None, "handlers.py::e_1")
    session.setup.start([item], ["x1"])
    attempt = session.attempts.begin(item, {}, lambda _line: None)
    log_metrics, times = attempt.runner.log_metrics, []
    for step in range(CALLS):
        began = time.perf_counter()
        log_metrics({"loss": 0.1 * step, "accuracy": 0.5, "lr": 1e-3}, step=step)
        times.append(time.perf_counter() - began)
    attempt.complete({"metrics": {}})
    attempt.close()
    session.completion.finish()
    return sorted(times)


def main() -> None:
    """Measure both in turn, three times; the best of each counts."""
    best: dict[str, list[float]] = {}
    for _ in range(3):
        for name, measure in (("json.dumps and flush", by_hand), ("log_metrics", by_runner)):
            with tempfile.TemporaryDirectory() as folder:
                times = measure(Path(folder))
            if name not in best or sum(times) < sum(best[name]):
                best[name] = times
    for name, times in best.items():
        rate, p99 = CALLS / sum(times), times[int(CALLS * 0.99)] * 1e6
        print(f"{name}: {rate:,.0f} calls/s, p99 {p99:.1f} µs")
    ratio = sum(best["json.dumps and flush"]) / sum(best["log_metrics"])
    print(f"log_metrics makes {ratio:.2f} times as many calls per second")


if __name__ == "__main__":
    main()
