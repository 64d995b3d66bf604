"""The processes that tests fork are like those that a person starts."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from study_folder import Run, Study

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")

HANDLERS = {
    "met": "return {'metrics': {'accuracy': 0.95}}",
    "unmet": "return {'metrics': {'accuracy': 0.1}}",
    "raises": "print('hello'); raise ValueError('broken')",
    "exits": "import os; os._exit(5)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "interrupted": "raise KeyboardInterrupt",
    "at exit": "import atexit; atexit.register(print, 'the end'); return {'metrics': {'accuracy': 1}}",
    "thread": "import threading, time; threading.Thread(target=time.sleep, args=(0.1,)).start()",
    "main": "import sys; print(sys.argv[0], __import__('__main__').__spec__.name); raise OSError",
}


def _both(tmp_path: Path, body: str) -> list[tuple[Run, Study]]:
    runs = []
    for forked in (True, False):
        study = Study(tmp_path / ("forked" if forked else "started"), forked=forked)
        study.plan()
        study.handlers(f"def e_x1_1(runner):\n    {body}\n")
        runs.append((study.pytest("experiments/", "-v"), study))
    return runs


def _timeless(run: Run) -> str:
    text = re.sub(r"\d+(\.\d+)? ?m?s\b|/\S*/(forked|started)|\d{8}-\d{6}-\w+|0x\w+", "…", run.text)
    return re.sub(r"=+|-+|\bpid \d+|\[\d+\]", "", text)


def _files(study: Study) -> set[str]:
    return {re.sub(r"\d{8}-\d{6}-\w+", "run", name) for name in study.files()}


@pytest.mark.parametrize("body", HANDLERS.values(), ids=HANDLERS)
def test_a_forked_run(tmp_path: Path, body: str) -> None:
    """Exit code, output and files are those of a process that was started from nothing."""
    (forked, one), (started, other) = _both(tmp_path, body)
    assert forked.code == started.code
    assert _timeless(forked) == _timeless(started)
    assert _files(one) == _files(other)


def test_a_process_that_takes_too_long(study: Study) -> None:
    """It is killed, and the next one is served."""
    study.plan()
    study.handlers("import time\ndef e_x1_1(runner): time.sleep(60)\n")
    began = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired):
        study.pytest(timeout=2)
    assert time.monotonic() - began < 30
    assert study.exprunner("--version").code == 0


def test_what_an_interpreter_reads_at_its_start(study: Study) -> None:
    """Where the environment says how Python is to start, a new one is started."""
    study.plan()
    study.handlers("import sys\ndef e_x1_1(runner): print('flags', sys.flags.utf8_mode); raise OSError\n")
    assert "flags 1" in study.pytest(env={"PYTHONUTF8": "1"}).out


@pytest.mark.parametrize("forked", [True, False])
def test_output_that_is_no_text(tmp_path: Path, *, forked: bool) -> None:
    """It is an error, as it is of a process that was started from nothing: not an output without words."""
    study = Study(tmp_path, forked=forked)
    study.plan()
    study.handlers("import os\ndef e_x1_1(runner): os.write(1, bytes([255]))\n")
    with pytest.raises(UnicodeDecodeError):
        study.pytest("experiments/", "-s")
    assert study.exprunner("--version").code == 0
