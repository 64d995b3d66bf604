"""How well containers are used: ``python benchmarks/containers.py``.

50 handlers of one second in 8 containers, and 200 that do nothing, against the stand-in for Modal's
servers that the tests use: its real client and containers, on this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from modal_server import ModalServer

CONTAINERS = 8


def write(root: Path, number: int, seconds: float) -> None:
    """Write a study."""
    (root / "research").mkdir()
    (root / "experiments").mkdir()
    ids = [f"e_{index}" for index in range(number)]
    plan = f"experiments: {{x1: {{sub_experiments: [{', '.join(ids)}]}}}}"
    (root / "research" / "research_plan.yaml").write_text(plan)
    body = f"(runner):\n    time.sleep({seconds})\n    return {{'metrics': {{'a': 1}}}}\n"
    (root / "experiments" / "handlers.py").write_text(
        "import time\n" + "".join(f"def {i}{body}" for i in ids)
    )


def run(server: ModalServer, root: Path) -> float:
    """Run a study and return the wall time."""
    environment = {**os.environ, **server.environment(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_exprunner.plugin", "experiments"]
    command += ["--exp-executor=modal", f"--exp-max-containers={CONTAINERS}"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    return time.perf_counter() - began


def span(root: Path) -> float:
    """Return the seconds from the first start to the last end of an attempt."""
    files = root.glob("research/experiments/*/attempts/*/*/record.json")
    records = [orjson.loads(file.read_bytes()) for file in files]
    starts = [datetime.fromisoformat(record["started_at"]) for record in records]
    ends = [datetime.fromisoformat(record["finished_at"]) for record in records]
    return (max(ends) - min(starts)).total_seconds()


def main() -> None:
    """Measure and print."""
    with ModalServer(max_containers=CONTAINERS) as server:
        for number, seconds in ((50, 1.0), (200, 0.0)):
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder)
                write(root, number, seconds)
                whole, inner, ideal = run(server, root), span(root), number * seconds / CONTAINERS
                each = (inner - ideal) / number
                print(
                    f"{number} of {seconds:g} s in {CONTAINERS} containers: {whole:.1f} s, cold starts aside "
                    f"{inner:.1f} s ({ideal:.1f} s at best, {1000 * each:.0f} ms more for each)"
                )


if __name__ == "__main__":
    main()
