"""The study that ships with the project."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml
from study_folder import Study

import pytest_exprunner

ROOT = Path(pytest_exprunner.__file__).parent.parent
NEEDED = ("torch", "sklearn", "skimage", "matplotlib")
ALONE = {"OMP_NUM_THREADS": "1"}  # beside other tests, threads that wait for each other by spinning crawl
BEFORE_THE_KILL = 4  # attempts that are done
TOLERANCE = 0.05  # between machines; on one and the same, all values but those of the machine are equal
OF_THE_MACHINE = {"latency": 0.1}  # met everywhere, as target or acceptable
MET = ("target", "acceptable")


def wait_for(is_so: Callable[[], bool], process: subprocess.Popen[bytes], seconds: float = 300) -> None:
    """Wait until something is so, while a process goes on."""
    until = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, "it has ended early"
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.2)


@pytest.fixture
def example(study: Study) -> Study:
    """A copy of the example study, without results."""
    for library in NEEDED:
        pytest.importorskip(library)
    shutil.copytree(
        ROOT / "experiments", study.root / "experiments", ignore=shutil.ignore_patterns("__pycache__")
    )
    study.plan((ROOT / "research" / "research_plan.yaml").read_text(encoding="utf-8"))
    return study


def test_the_study_is_sound(study: Study) -> None:
    """Its plan has no problems and every planned sub-experiment has a handler; nothing is imported."""
    shutil.copytree(
        ROOT / "experiments", study.root / "experiments", ignore=shutil.ignore_patterns("__pycache__")
    )
    study.plan((ROOT / "research" / "research_plan.yaml").read_text(encoding="utf-8"))
    run = study.exprunner("check")
    assert run.code == 0, run.text
    assert "no handler" not in run.out
    assert "warning" not in run.out


@pytest.mark.slow
def test_the_study_finds_again_what_it_found(example: Study) -> None:
    """Run in two workers, killed on the way and resumed, it comes to the verdicts that are committed."""
    started = example.start("-n2", env=ALONE)
    wait_for(lambda: len(list(example.research.rglob("record.json"))) >= BEFORE_THE_KILL, started)
    workers = psutil.Process(started.pid).children(recursive=True)
    started.kill()
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.kill()
    started.wait()
    again = ("experiments/", "-n2", "--exp-resume", "--exp-gate", "all")
    run = example.pytest(*again, timeout=1800, env=ALONE, plugins=("exprunner", "xdist"))
    assert run.code == 0, run.text
    not_again = re.search(r"Not run again: (\d+)", run.out)
    assert not_again is not None
    assert int(not_again[1]) >= BEFORE_THE_KILL
    for committed in sorted((ROOT / "research" / "experiments").glob("*/results.yaml")):
        before, now = yaml.safe_load(committed.read_bytes()), example.results(committed.parent.name)
        assert now["recommendation"] == before["recommendation"], committed.parent.name
        for name, criterion in before["criteria"].items():
            if name in OF_THE_MACHINE:
                assert now["criteria"][name]["verdict"] in MET, name
            else:
                assert now["criteria"][name]["verdict"] == criterion["verdict"], name
            tolerance = OF_THE_MACHINE.get(name, TOLERANCE)
            assert abs(now["criteria"][name]["value"] - criterion["value"]) < tolerance, name


def test_the_committed_study_stands_up_to_scrutiny(study: Study) -> None:
    """Nothing in it contradicts its records or moved after there was a result."""
    if not list((ROOT / "research" / "experiments").glob("*/results.yaml")):
        pytest.skip("the example study has no results here")
    assert study.exprunner("verify", cwd=str(ROOT)).code == 0
    if (ROOT / ".git").exists():
        audit = study.exprunner("audit", cwd=str(ROOT))
        assert audit.code == 0, audit.out
