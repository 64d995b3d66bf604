"""How large the page of a study is, and how fast it opens and scrolls: ``python benchmarks/report.py``.

A study of many sub-experiments with curves beside the example study of this repository. Opening and
scrolling are measured in the system's Chromium; scrolling as the longest time between two frames.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_SCROLL = """async () => {
  let longest = 0, last = performance.now();
  for (let place = 0; place < 60; place++) {
    scrollBy(0, 900);
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  return longest;
}"""
_HANDLER = """
def e_{i}(runner):
    for step in range(200):
        runner.log_metrics({{"loss": 1 / (1 + step), "accuracy": step / 200}}, step=step)
    return {{"finding": "A finding in a sentence.", "metrics": {{"accuracy": 0.75 + {i} % 20 / 100}}}}
"""


def write_study(root: Path, number: int, per_experiment: int = 10) -> None:
    """Write and run a study of ``number`` sub-experiments."""
    lines = ["project: {name: Large}", "experiments:"]
    for first in range(0, number, per_experiment):
        ids = ", ".join(f"e_{i}" for i in range(first, min(first + per_experiment, number)))
        lines += [f"  x{first}:", f"    sub_experiments: [{ids}]"]
        lines += ["    success_criteria: {accuracy: {target: 0.9, acceptable: 0.8, failure: 0.5}}"]
    (root / "research").mkdir()
    (root / "experiments").mkdir()
    (root / "research" / "research_plan.yaml").write_text("\n".join(lines))
    (root / "experiments" / "handlers.py").write_text("".join(_HANDLER.format(i=i) for i in range(number)))
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "experiments"], cwd=root, check=False, capture_output=True
    )


def write_page(root: Path) -> tuple[Path, float]:
    """Write the page of a study; return it and the seconds that took."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "pytest_exprunner", "report", "--html", "report.html"], cwd=root, check=True
    )
    return root / "report.html", time.perf_counter() - began


def opened(page: Path) -> tuple[float, float]:
    """Return the milliseconds until a page was loaded, and the longest frame while it scrolled."""
    from playwright.sync_api import sync_playwright  # heavy

    with sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        shown = browser.new_page()
        shown.goto(page.as_uri())
        loaded = shown.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        longest = shown.evaluate(_SCROLL)
        browser.close()
    return float(loaded), float(longest)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1000)
    number = parser.parse_args().number
    with tempfile.TemporaryDirectory() as folder:
        large, example = Path(folder, "large"), Path(folder, "example")
        large.mkdir()
        write_study(large, number)
        shutil.copytree(ROOT / "research", example / "research")
        shutil.copytree(ROOT / "experiments", example / "experiments")
        print(f"{'study':<24}{'written':>10}{'size':>10}{'loaded':>10}{'longest frame':>16}")
        for name, root in ((f"{number} sub-experiments", large), ("example", example)):
            page, seconds = write_page(root)
            loaded, frame = opened(page)
            size = page.stat().st_size / 1000
            print(f"{name:<24}{seconds:>8.1f} s{size:>7.0f} kB{loaded:>7.0f} ms{frame:>13.0f} ms")


if __name__ == "__main__":
    main()
