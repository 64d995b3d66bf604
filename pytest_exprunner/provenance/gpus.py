"""GPUs: which there are, and which of them an attempt has to itself.

A lease is a lock on a file per device, so that the kernel gives a device back when its holder dies.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Generator, Sequence
from pathlib import Path

from pytest_exprunner._util.errors import ResourceError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_SECONDS = 10.0


def available(named: str | None) -> tuple[str, ...]:
    """Return the ids of the GPUs that may be used: those named, else those visible, else all there are."""
    visible = named if named is not None else os.environ.get(_VISIBLE)
    if visible is not None:
        return tuple(part.strip() for part in visible.split(",") if part.strip() not in ("", "-1"))
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    command = [program, "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(line.strip() for line in done.stdout.splitlines() if line.strip().isdecimal())


@contextlib.contextmanager
def leased(number: int, devices: Sequence[str], folder: Path) -> Generator[tuple[str, ...]]:
    """Have so many devices to oneself, and make them the only ones that CUDA sees.

    Raises `ResourceError` where that many are not free.
    """
    from filelock import FileLock, Timeout  # only where GPUs are asked for

    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        taken: list[str] = []
        for device in devices:
            if len(taken) == number:
                break
            safe = "".join(c if c.isalnum() else "-" for c in device)
            lock = FileLock(folder / f"{safe}.lock", timeout=0, thread_local=False)
            with contextlib.suppress(Timeout):
                stack.enter_context(lock)
                taken.append(device)
        if len(taken) < number:
            raise ResourceError(
                f"{number} of the GPUs {', '.join(devices)} are needed, but only {len(taken)} are free; "
                "is another program using this results folder?"
            )
        before = os.environ.get(_VISIBLE)
        os.environ[_VISIBLE] = ",".join(taken)
        try:
            yield tuple(taken)
        finally:
            os.environ.pop(_VISIBLE, None)
            if before is not None:
                os.environ[_VISIBLE] = before
