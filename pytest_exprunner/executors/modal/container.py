"""Code that runs inside a container on Modal."""

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
_PATIENCE = 1.0  # seconds to wait for room in the queue

_workers: dict[str, RemoteWorker] = {}


def attempt(setup: dict[str, Any], job: dict[str, Any], volume: modal.Volume, pieces: modal.Queue) -> object:
    """Run an attempt in this container. This is the function that Modal calls."""
    try:
        return _attempt(setup, job, volume, pieces)
    except Exception as error:  # noqa: BLE001 - an exception that leaves here would look like Modal's own
        problem = f"on the remote worker: {type(error).__name__}: {error}"
        return Answer(problem=problem).dump(), {}


def _attempt(setup: dict[str, Any], job: dict[str, Any], volume: modal.Volume, pieces: modal.Queue) -> object:
    volume.reload()
    described = Job.parse(job)
    partition = partition_of(described)

    def send(piece: Piece) -> bool:
        try:
            pieces.put(
                (piece.name, piece.offset, piece.data, piece.start), partition=partition, timeout=_PATIENCE
            )
        except (queue.Full, Error, OSError):
            return False
        return True

    run, store = setup["run"], Store(Path(STORE))
    if run not in _workers:
        _workers[run] = RemoteWorker(Setup.parse(setup), Path(PROJECT), store)
    try:
        answer = _workers[run].run(described, send)
        return answer.dump(), _small_files(answer, store)
    finally:
        volume.commit()


def _small_files(answer: Answer, store: Store) -> dict[str, bytes]:
    """Return small files to send with the answer: fetching one takes longer than sending it."""
    entries = [entry for entry in answer.files if entry.bytes <= _SMALL][:_FEW]
    return {entry.sha256: b"".join(store.fetch(entry)) for entry in entries}


def smoke(folder: str) -> dict[str, Any]:
    """Return a container's GPU and what pytest collects from the handlers in a folder."""
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
    """Return the partition of the queue that is reserved for a job."""
    return hashlib.sha256(job.name.encode()).hexdigest()[:32]
