"""What runs in a container on Modal."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import queue
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modal.exception import Error

from pytest_exprunner.executors.base import Answer, Job, Piece, Setup
from pytest_exprunner.executors.content_store import Store
from pytest_exprunner.executors.remote_worker import RemoteWorker

if TYPE_CHECKING:
    import modal

PROJECT = "/repo"
STORE = "/exprunner-results"
_SMALL = 64 * 1024
_FEW = 16
_PATIENCE = 1.0  # seconds that a piece waits for room in the queue

_far_ends: dict[str, RemoteWorker] = {}


def attempt(setup: dict[str, Any], job: dict[str, Any], volume: modal.Volume, pieces: modal.Queue) -> object:
    """Make an attempt in this container; the function that runs on Modal."""
    try:
        return _made(setup, job, volume, pieces)
    except Exception as error:  # noqa: BLE001 - what leads out of here is then Modal's own
        problem = f"on the remote worker: {type(error).__name__}: {error}"
        return Answer(problem=problem).dump(), {}


def _made(setup: dict[str, Any], job: dict[str, Any], volume: modal.Volume, pieces: modal.Queue) -> object:
    volume.reload()
    described = Job.parse(job)
    partition = partition_of(described)

    def told(piece: Piece) -> bool:
        try:
            pieces.put(
                (piece.name, piece.offset, piece.data, piece.start), partition=partition, timeout=_PATIENCE
            )
        except (queue.Full, Error, OSError):
            return False
        return True

    run, store = setup["run"], Store(Path(STORE))
    if run not in _far_ends:
        _far_ends[run] = RemoteWorker(Setup.parse(setup), Path(PROJECT), store)
    try:
        answer = _far_ends[run].run(described, told)
        return answer.dump(), _small(answer, store)
    finally:
        volume.commit()


def _small(answer: Answer, store: Store) -> dict[str, bytes]:
    """Return what may as well come along: asking for a small file takes longer than sending it."""
    entries = [entry for entry in answer.files if entry.bytes <= _SMALL][:_FEW]
    return {entry.sha256: b"".join(store.fetch(entry)) for entry in entries}


def smoke(folder: str) -> dict[str, Any]:
    """Look at a container: its GPU, and what pytest collects of the handlers in a folder."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    command += ["-p", "no:exprunner", "-p", "pytest_exprunner.plugin", folder]
    done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        command, cwd=PROJECT, capture_output=True, text=True, check=False
    )
    seen: dict[str, Any] = {"torch": "not installed", "cuda": False}
    with contextlib.suppress(ImportError):
        torch: Any = importlib.import_module("torch")
        seen = {"torch": torch.__version__, "cuda": torch.cuda.is_available()}
        if seen["cuda"]:
            seen["device"] = torch.cuda.get_device_name()
    return {**seen, "collected": done.returncode == 0, "pytest": (done.stdout + done.stderr).strip()}


def partition_of(job: Job) -> str:
    """Return the part of the queue that a job has to itself."""
    return hashlib.sha256(job.name.encode()).hexdigest()[:32]
