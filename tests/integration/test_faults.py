"""Killed or failing at any step of writing: nothing torn, nothing lost, and a resumed run ends it."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest
from faults import CONFTEST, Runs, check_end, check_files, killed_by, prepare, steps
from study_folder import Study

pytestmark = pytest.mark.slow

KINDS = ("SIGKILL", "ENOSPC", "EIO")


@pytest.fixture(scope="module")
def number(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many steps there are."""
    return steps(tmp_path_factory.mktemp("undisturbed"))


def _fault_at(root: Path, kind: str, step: int) -> None:
    study = prepare(Study(root))
    study.write("conftest.py", CONFTEST)
    runs = Runs(study)
    code = runs.run(FAULT=kind, FAULT_AT=str(step))
    where = f"{kind} at step {step}: exit {code}\n{runs.output}"
    assert killed_by(code) == (kind == "SIGKILL"), where
    assert "INTERNALERROR" not in runs.output, where
    check_files(study)
    if code == 0:
        check_end(study)  # what failed was not needed: then all must be there
    else:
        status = study.exprunner("status")
        assert "Traceback" not in status.text, where
    code = runs.run("--exp-resume")
    assert code == 0, f"{where}\n--- resumed:\n{runs.output}"
    check_files(study)
    check_end(study)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_some_steps(tmp_path: Path, number: int, kind: str) -> None:
    """A sample of the steps; all of them are for the soak test."""
    chosen = random.Random(kind).sample(range(1, number + 1), 2)
    for step in chosen:
        root = tmp_path / str(step)
        root.mkdir()
        _fault_at(root, kind, step)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_at_every_step(tmp_path: Path, number: int, kind: str) -> None:
    """Every step of an undisturbed run, one after the other."""
    for step in range(1, number + 1):
        root = tmp_path / str(step)
        root.mkdir()
        _fault_at(root, kind, step)


def _kill_at_random(root: Path, seed: int, arguments: tuple[str, ...]) -> None:
    chance = random.Random(seed)
    study = prepare(Study(root))
    runs = Runs(study)
    for attempt in range(chance.randint(1, 3)):
        resume = ("--exp-resume",) if attempt else ()
        process = runs.start(*resume, *arguments, PAUSE="0.03")
        while arguments and "[4 items]" not in runs.output and process.poll() is None:
            time.sleep(0.01)  # xdist itself does not survive a worker that dies while it starts
        time.sleep(chance.uniform(0.0, 0.6) if arguments else chance.uniform(0.2, 1.0))
        victims = [psutil.Process(process.pid)] if process.poll() is None else []
        if arguments and victims and chance.random() < 0.5:
            victims = victims[0].children() or victims
        for victim in victims[:1]:
            try:
                victim.kill()
            except psutil.Error:
                continue
        process.wait(60)
        _wait_for_orphans(process.pid)
        assert "INTERNALERROR" not in runs.output, runs.output
        check_files(study)
    code = runs.run("--exp-resume", *arguments)
    assert code == 0, f"seed {seed}\n{runs.output}"
    check_files(study)
    check_end(study)


def _wait_for_orphans(group: int) -> None:
    """Workers of a killed run end by themselves within seconds; what they still write belongs to it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("a worker of a killed run was still there after 20 s")


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "-n2"])
@pytest.mark.parametrize("seed", range(2))
def test_kills_at_random(tmp_path: Path, seed: int, arguments: tuple[str, ...]) -> None:
    """SIGKILL of the run, of the process that leads it, or of a worker, up to three times in a row."""
    _kill_at_random(tmp_path, seed, arguments)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "-n2"])
@pytest.mark.parametrize("seed", range(100, 160))
def test_many_kills_at_random(tmp_path: Path, seed: int, arguments: tuple[str, ...]) -> None:
    """The same, often enough to meet the rare moments."""
    _kill_at_random(tmp_path, seed, arguments)


# --- the folder itself ------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("-n2",)], ids=["serial", "-n2"])
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(study: Study, arguments: tuple[str, ...]) -> None:
    """It is said before anything runs."""
    prepare(study)
    study.research.chmod(0o555)
    try:
        runs = Runs(study)
        assert runs.run(*arguments) == 4
        assert "cannot be written" in runs.output
    finally:
        study.research.chmod(0o755)
