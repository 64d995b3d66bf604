"""Where a result came from: code, machine, packages; and seeds that are the same everywhere."""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import platform
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

from pytest_exprunner import __version__
from pytest_exprunner._util import git, redaction
from pytest_exprunner._util.serialization import Plain

_PACKAGES = (
    *("pytest", "numpy", "scipy", "pandas", "scikit-learn", "torch", "torchvision", "jax", "tensorflow"),
    *("lightning", "transformers", "datasets", "accelerate", "diffusers", "xgboost", "lightgbm"),
)
_ENVIRONMENT = (
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS"),
    *("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED", "PYTORCH_CUDA_ALLOC_CONF", "XLA_FLAGS"),
    *("SLURM_JOB_ID", "GITHUB_RUN_ID", "GITHUB_SHA"),
)
_MAX_DIFF = 1_000_000
_SECONDS = 5.0


def new_run_id() -> str:
    """Return an id for a run that sorts by time and does not collide: ``20260120-163140-3f9a2c``."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def seed_for(*parts: object) -> int:
    """Return a 32-bit seed that depends on the parts alone: the same in every process."""
    text = "\0".join("" if part is None else str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big")


def seed_everything(seed: int) -> None:
    """Seed python, NumPy and torch; those that are imported later are seeded when they are."""
    random.seed(seed)
    _SEEDING.seed = seed
    for name, apply in _SEEDERS.items():
        module = sys.modules.get(name)
        if module is not None:
            apply(module, seed)
    if _SEEDING not in sys.meta_path and any(name not in sys.modules for name in _SEEDERS):
        sys.meta_path.insert(0, _SEEDING)


def _seed_numpy(numpy: ModuleType, seed: int) -> None:
    numpy.random.seed(seed)


def _seed_torch(torch: ModuleType, seed: int) -> None:
    # Seeds the CPU and, lazily, every accelerator. A half-imported torch has no such function yet.
    if hasattr(torch, "manual_seed"):
        torch.manual_seed(seed)


_SEEDERS: dict[str, Callable[[ModuleType, int], None]] = {
    "numpy": _seed_numpy,
    "torch": _seed_torch,
}


class _SeedOnImport(importlib.abc.MetaPathFinder):
    """Seeds a library at the moment a handler first imports it, without importing it itself."""

    seed = 0

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find one of the libraries as usual, and seed it once it has been executed."""
        del path, target
        if fullname not in _SEEDERS or self._looking:
            return None
        self._looking = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._looking = False
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            return spec
        execute, apply = spec.loader.exec_module, _SEEDERS[fullname]

        def exec_module(module: ModuleType) -> None:
            execute(module)
            apply(module, self.seed)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    _looking = False


_SEEDING = _SeedOnImport()


def capture(root: Path, written: Path | None = None) -> dict[str, Plain]:
    """Return what produced the results of this run: commit, versions, machine, command.

    What runs write under ``written`` themselves makes no code dirty.

    Of the environment only what is known to change results and holds no secrets; secrets in the command
    are taken out.
    """
    return {
        **_git(root, written),
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "machine": platform.machine(),
        "host": platform.node(),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "memory_bytes": _memory(),
        "gpus": _gpus(),
        "packages": _packages(),
        "command": redaction.command(sys.argv),
        "environment": {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    }


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None


@cache
def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor()


@cache
def _gpus() -> list[Plain]:
    """Return name, driver and memory of every GPU of NVIDIA's."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            query, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return []
    rows = (line.split(", ") for line in done.stdout.splitlines()) if done.returncode == 0 else ()
    return [dict(zip(("name", "driver", "memory"), row, strict=False)) for row in rows]


def _packages() -> dict[str, Plain]:
    versions: dict[str, Plain] = {"pytest-exprunner": __version__}  # where it is not installed, too
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git(root: Path, written: Path | None) -> dict[str, Plain]:
    commit = git.ask_text(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {"commit": None, "dirty": None}
    arguments = ["status", "--porcelain", "--untracked-files=no"]
    if written is not None and _is_inside(root, written):
        arguments += ["--", ":/", *(f":(exclude,glob){written.resolve() / name}" for name in _WRITTEN)]
    changes = git.ask_text(root, *arguments)
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


_WRITTEN = (
    "FINDINGS.md",
    "experiments/*/FINDINGS.md",
    "experiments/*/results.yaml",
    "experiments/*/artifacts/**",
)
"""Of a results folder: what follows from attempts, and changes whenever there are new ones."""


def _is_inside(root: Path, written: Path) -> bool:
    """Return whether git can be asked about a results folder together with the project."""
    top = git.ask_text(root, "rev-parse", "--show-toplevel")
    return bool(top) and written.resolve().is_relative_to(Path(top or "").resolve())


def diff(root: Path) -> str:
    """Return how tracked files differ from the commit, without secrets, up to a megabyte of it.

    Empty if they do not differ, or if that is not known.
    """
    text = (git.ask(root, "diff", "HEAD", "--no-ext-diff", "--no-color") or b"").decode("utf-8", "replace")
    text = text.strip()
    if len(text) > _MAX_DIFF:
        text = f"{text[:_MAX_DIFF]}\n[cut here: {len(text):,} characters in all]\n"
    return redaction.redacted(text)
