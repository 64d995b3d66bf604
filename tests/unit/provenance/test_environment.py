"""Where results came from, and seeds that are the same in every process."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_exprunner.provenance import environment as provenance
from pytest_exprunner.provenance.environment import capture, new_run_id, seed_everything, seed_for

SEED = "from pytest_exprunner.provenance.environment import seed_everything, seed_for; "


def python(code: str, **environment: str) -> str:
    """Run code in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


# --- seeds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_seeds_are_the_same_in_every_process(hash_seed: str) -> None:
    """A seed depends on its parts alone, not on how python hashes texts in this process."""
    code = f"{SEED} print(seed_for('e_x1_1', 'lr=0.1', None, 3))"
    assert python(code, PYTHONHASHSEED=hash_seed) == str(seed_for("e_x1_1", "lr=0.1", None, 3))


def test_seeds_stay_the_same_in_every_version() -> None:
    """Changing how seeds are made would change every result."""
    assert seed_for("e_x1_1", None) == 4286126327


def test_seeds_differ() -> None:
    """Other parts, another seed; parts do not run into each other."""
    seeds = [
        seed_for("e_1", "a"), seed_for("e_1", "b"), seed_for("e_1", None), seed_for("e_2", "a"),
        seed_for("e_1a", None), seed_for("e_1", "a", 0), seed_for("e_1", "a", 1), seed_for("\ud800"),
    ]  # fmt: skip
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_everything_is_seeded() -> None:
    """The same seed gives the same numbers again, also from libraries that are imported already."""
    numpy = pytest.importorskip("numpy")
    torch = pytest.importorskip("torch")

    def numbers() -> tuple[float, float, float]:
        seed_everything(5)
        return random.random(), float(numpy.random.rand()), float(torch.rand(1))

    state = random.getstate()
    try:
        assert numbers() == numbers()
    finally:
        random.setstate(state)


def test_libraries_that_are_imported_later_are_seeded() -> None:
    """NumPy and torch draw the same numbers whether a handler imports them before or after seeding."""
    pytest.importorskip("torch")
    draw = "print(random.random(), float(numpy.random.rand()), float(torch.rand(1)))"
    before = f"import random, numpy, torch; {SEED} seed_everything(5); {draw}"
    after = (
        f"{SEED} import random, sys; seed_everything(1); seed_everything(5); "
        "assert 'numpy' not in sys.modules and 'torch' not in sys.modules; "
        f"import torch, numpy; {draw}"
    )
    assert python(after) == python(before)


def test_seeding_imports_nothing() -> None:
    """Seeding alone loads no library, and a library that is not there stays an ImportError."""
    code = f"{SEED} import sys; seed_everything(2**32 - 1); print('numpy' in sys.modules, 'torch' in sys.modules)"
    assert python(code) == "False False"


# --- runs and origins -------------------------------------------------------------------------


def test_run_ids() -> None:
    """An id has the time and something of its own; many at once do not collide."""
    ids = {new_run_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", run) for run in ids)


def test_without_git(tmp_path: Path) -> None:
    """Where there is no repository there is no commit, and all the rest."""
    found = capture(tmp_path)
    assert (found["commit"], found["dirty"]) == (None, None)
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert isinstance(found["packages"], dict)
    assert "pytest" in found["packages"]


def test_without_the_program_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without git is fine."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert capture(tmp_path)["commit"] is None


def test_with_git(tmp_path: Path) -> None:
    """A commit, and whether tracked files were changed since."""

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    assert capture(tmp_path)["commit"] is None
    (tmp_path / "a.txt").write_text("one")
    git("add", "a.txt")
    git("commit", "-m", "first")
    clean = capture(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{40}", str(clean["commit"]))
    assert clean["dirty"] is False
    (tmp_path / "a.txt").write_text("two")
    assert capture(tmp_path) == {**clean, "dirty": True}


def test_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the environment and of the command line is recorded."""
    monkeypatch.setenv("WANDB_API_KEY", "s3cret-value")
    monkeypatch.setattr(sys, "argv", ["pytest", "--token=s3cret-value"])
    assert "s3cret" not in str(capture(tmp_path))


def test_hooks_of_a_repository_do_not_run(tmp_path: Path) -> None:
    """Looking at a repository runs no program that its configuration names."""
    subprocess.run(["git", "init"], cwd=tmp_path, check=True, capture_output=True)
    monitor = tmp_path / "monitor"
    monitor.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n")
    monitor.chmod(0o755)
    for key, value in (("core.fsmonitor", str(monitor)), ("user.name", "a"), ("user.email", "a@b")):
        subprocess.run(["git", "config", key, value], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(
        ["git", "-c", "core.fsmonitor=false", "commit", "--allow-empty", "-m", "first"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    assert capture(tmp_path)["dirty"] is False
    assert not (tmp_path / "ran").exists()


def test_what_a_run_was_made_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine, command and the environment as far as it is known to matter; no secrets in either."""
    monkeypatch.setattr("sys.argv", ["pytest", "experiments", "--api-key=s3cr3t-value"])
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("MY_PASSWORD", "hunter2hunter2")
    found = capture(tmp_path)
    assert found["command"] == ["pytest", "experiments", "--api-key=[redacted]"]
    assert found["environment"]["OMP_NUM_THREADS"] == "3"  # type: ignore[index, call-overload]
    assert "hunter2hunter2" not in str(found)
    assert isinstance(found["memory_bytes"], int)
    assert found["host"]
    assert found["cpu"]


def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NVIDIA's own program tells them."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 570.1, 143771 MiB'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    provenance._gpus.cache_clear()
    assert capture(tmp_path)["gpus"] == [{"name": "NVIDIA H200", "driver": "570.1", "memory": "143771 MiB"}]
    provenance._gpus.cache_clear()
