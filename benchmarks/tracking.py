"""What tracking costs a handler: ``python benchmarks/tracking.py``.

100,000 calls of ``log_metrics`` with three floats in a pytest run without W&B, the same with W&B offline,
and as many calls of ``wandb.log`` itself; and the memory of the tracker's process over a million points.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from pytest_exprunner.model.attempt import parse_record

PLAN = "experiments:\n  x1:\n    sub_experiments: [e_1]\n"
HANDLER = """\
import time


def e_1(runner):
    began = time.perf_counter()
    for step in range({calls}):
        runner.log_metrics({{"loss": 0.1 * step, "accuracy": 0.5, "lr": 1e-3}}, step=step)
    return {{"metrics": {{"rate": {calls} / (time.perf_counter() - began)}}}}
"""
DIRECT = """\
import sys, time, wandb
run = wandb.init(mode="offline", dir=sys.argv[1], settings=wandb.Settings(console="off", silent=True))
began = time.perf_counter()
for step in range({calls}):
    run.log({{"loss": 0.1 * step, "accuracy": 0.5, "lr": 1e-3, "step": step}})
print({calls} / (time.perf_counter() - began))
run.finish()
"""


def environment() -> dict[str, str]:
    """What every process here gets."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "WANDB_MODE")}
    return {**kept, "WANDB_MODE": "offline", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def write(root: Path, calls: int) -> None:
    """Write a study whose one handler logs."""
    (root / "research").mkdir()
    (root / "research" / "research_plan.yaml").write_text(PLAN)
    (root / "experiments").mkdir()
    (root / "experiments" / "handlers.py").write_text(HANDLER.format(calls=calls))


def command(*arguments: str) -> list[str]:
    """Run it."""
    return [sys.executable, "-m", "pytest", "-q", "-p", "exprunner", "experiments", *arguments]


def rate(calls: int, *arguments: str) -> float:
    """Return the calls per second that the handler itself saw."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, calls)
        subprocess.run(command(*arguments), cwd=root, env=environment(), capture_output=True, check=False)
        [file] = root.glob("research/experiments/*/attempts/*/*/record.json")
        value = parse_record(file.read_bytes()).metrics["rate"]
    assert isinstance(value, float)
    return value


def direct(calls: int) -> float:
    """Return the calls per second of ``wandb.log``."""
    with tempfile.TemporaryDirectory() as folder:
        code = DIRECT.format(calls=calls)
        done = subprocess.run(
            [sys.executable, "-c", code, folder],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
    return float(done.stdout)


def memory(calls: int) -> tuple[list[float], float]:
    """Return the tracker's memory in MB, at ten moments, and how long it took after the handler's end."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, calls)
        arguments = command("--exp-tracker=wandb", "--exp-tracker-timeout=3600")
        process = subprocess.Popen(arguments, cwd=root, env=environment(), stdout=subprocess.DEVNULL)
        sizes, ended = [], 0.0
        while process.poll() is None:
            trackers = [
                p for p in psutil.Process(process.pid).children() if "trackers" in " ".join(p.cmdline())
            ]
            sizes += [p.memory_info().rss / 1e6 for p in trackers[:1]]
            if not ended and list(root.glob("research/experiments/*/attempts/*/*/record.json")):
                ended = time.monotonic()
            time.sleep(0.5)
    return sizes[:: max(len(sizes) // 10, 1)], time.monotonic() - ended


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--million", action="store_true", help="also measure memory over 1,000,000 points")
    options = parser.parse_args()
    without = max(rate(options.calls) for _ in range(3))
    tracked = max(rate(options.calls, "--exp-tracker=wandb") for _ in range(3))
    alone = max(direct(options.calls // 5) for _ in range(2))
    print(f"log_metrics without a tracker: {without:,.0f} calls/s")
    print(f"log_metrics with W&B offline: {tracked:,.0f} calls/s, {tracked / without:.2f} times as many")
    print(f"wandb.log itself: {alone:,.0f} calls/s; log_metrics makes {tracked / alone:.0f} times as many")
    if options.million:
        sizes, after = memory(1_000_000)
        shown = ", ".join(f"{size:.0f}" for size in sizes)
        print(f"the tracker's memory over 1,000,000 points: {shown} MB; done {after:.0f} s after the handler")


if __name__ == "__main__":
    main()
