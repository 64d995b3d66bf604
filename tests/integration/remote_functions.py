"""What the tests run in containers."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any


def double(number: int) -> int:
    """Print, and return a number."""
    print(f"doubling {number}", flush=True)
    return 2 * number


def fail(message: str) -> None:
    """Raise."""
    raise ValueError(message)


def sleep(seconds: float, marks: str = "") -> str:
    """Sleep, and write down in a file (of this machine) that it began and how it ended."""

    def mark(word: str) -> None:
        if marks:
            with Path(marks).open("a") as file:
                file.write(f"{word}\n")

    mark("began")
    try:
        time.sleep(seconds)
    except BaseException as error:
        mark(type(error).__name__)
        raise
    mark("slept")
    return "slept"


def wait(path: str) -> str:
    """Wait until there is a file (of this machine)."""
    while not Path(path).exists():
        time.sleep(0.05)
    return "waited"


def stubborn(seconds: float) -> None:
    """Do not end before the time is up, whatever is raised."""
    end = time.time() + seconds
    while time.time() < end:
        with contextlib.suppress(BaseException):
            time.sleep(seconds)


def fail_until(marks: str, succeed_at: int) -> int:
    """Raise until the given try, which the length of a file counts."""
    with Path(marks).open("a") as file:
        file.write("x")
    tries = len(Path(marks).read_text())
    if tries < succeed_at:
        raise RuntimeError(f"try {tries}")
    return tries


def die(marks: str, deaths: int) -> str:
    """Kill the own process, `deaths` times."""
    with Path(marks).open("a") as file:
        file.write("x")
    if len(Path(marks).read_text()) <= deaths:
        os.kill(os.getpid(), 9)
    return "survived"


def environment(names: list[str]) -> dict[str, str | None]:
    """Return the values of some variables."""
    return {name: os.environ.get(name) for name in names}


def all_variables() -> list[str]:
    """Return the names of all variables."""
    return sorted(os.environ)


def length(content: bytes) -> int:
    """Take a large value."""
    return len(content)


def make(size: int) -> bytes:
    """Return a large value."""
    return b"x" * size


def stream(queue: Any, partition: str, count: int) -> str:
    """Put numbers into a queue, one at a time."""
    for number in range(count):
        queue.put({"number": number}, partition=partition)
        time.sleep(0.02)
    return "done"


def write(volume: Any, name: str, text: str, *, commit: bool) -> None:
    """Write a file into the volume, and commit it or not."""
    path = Path("/results") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if commit:
        volume.commit()


def listing(folder: str) -> list[str]:
    """Return the files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def wait_for_file(volume: Any, name: str, seconds: float) -> list[bool]:
    """Return whether the file was there at first, after it was committed elsewhere, and after a reload."""
    path, signal = Path("/results") / name, f"at first: {(Path('/results') / name).exists()}"
    print(signal, flush=True)
    time.sleep(seconds)
    before = path.exists()
    volume.reload()
    return [before, path.exists()]


def where() -> dict[str, Any]:
    """Return what a function sees of its container: folder, sources, processes."""
    return {
        "cwd": str(Path.cwd()),
        "repo": listing("/repo"),
        "procs": len(list(Path("/proc").glob("[0-9]*"))),
    }


def spawn_daemon(pid_file: str) -> str:
    """Start a process that leaves the session, and return."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.close(1)
            os.close(2)
            time.sleep(300)
        os._exit(0)
    Path(pid_file).write_text("started")
    return "started"
