"""The far end without any engine: jobs in, answers out."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil
import pytest
from study_folder import Study

from pytest_exprunner.executors.base import PROJECT, Answer, Job, Piece, Setup
from pytest_exprunner.executors.content_store import Store, install
from pytest_exprunner.executors.remote_worker import RemoteWorker

HANDLERS = """\
import os, subprocess, sys
import pytest

@pytest.mark.parametrize("lr", [0.1, 0.2])
def e_x1_1(runner, lr):
    runner.log_metrics({"lr": lr})
    return {"metrics": {"lr": lr}}

def e_x1_2(runner):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    os.kill(os.getppid(), 9)
    return {"metrics": {}}
"""


def far_end_of(root: Path) -> RemoteWorker:
    """A far end over a study, as if it had been brought there."""
    options = {
        "plugins": ["no:cacheprovider", "no:terminal"],
        "rootdir": PROJECT,
        "exp_executor": "subprocess",
        "exp_results": f"{PROJECT}research",
    }
    arguments = [f"{PROJECT}experiments"]
    setup = Setup(
        "20260101-000000-abcdef", arguments, options, ".", "research", "", autoload=False, provenance={}
    )
    return RemoteWorker(setup, root, Store(root.parent / "store"))


def job(sub: str, sequence: int, variant: str | None = None) -> Job:
    """A job with a number."""
    nodeid = f"experiments/handlers.py::{sub}" + (f"[{variant}]" if variant else "")
    return Job(nodeid, "x1-first", sub, variant, None, sequence, (), secrets.token_hex(4))


def ignored(_piece: Piece) -> bool:
    """Nobody looks on."""
    return False


@pytest.fixture
def there(tmp_path: Path) -> Iterator[RemoteWorker]:
    """A far end, ended with the test."""
    study = Study(tmp_path / "there")
    study.root.mkdir()
    study.plan("experiments: {x1-first: {sub_experiments: [e_x1_1, e_x1_2]}}")
    study.handlers(HANDLERS)
    far_end = far_end_of(study.root)
    yield far_end
    far_end.close()


def record_of(answer: Answer, folder: Path) -> dict[str, object]:
    """Bring an answer home and read its record."""
    install(answer.files, folder, Store(folder.parent / "store").fetch)
    value: dict[str, object] = orjson.loads((folder / "record.json").read_bytes())
    return value


def test_numbers_in_any_order(there: RemoteWorker, tmp_path: Path) -> None:
    """Each attempt has the number that was taken for it, whatever was made here before."""
    for sequence, variant in ((2, "0.2"), (1, "0.1"), (3, "0.2"), (1, "0.1")):
        answer = there.run(job("e_x1_1", sequence, variant), ignored)
        assert not answer.problem
        record = record_of(answer, tmp_path / f"home-{sequence}-{secrets.token_hex(2)}")
        key = record["key"]
        assert isinstance(key, dict)
        assert (key["sequence"], key["variant"]) == (sequence, variant)


def test_the_same_job_again(there: RemoteWorker, tmp_path: Path) -> None:
    """It is answered, and not made again; another job with its number is."""
    first = job("e_x1_1", 1, "0.1")
    answer = there.run(first, ignored)
    assert there.run(first, ignored).dump() == Answer.parse(answer.dump()).dump()
    other = there.run(job("e_x1_1", 1, "0.2"), ignored)
    assert record_of(other, tmp_path / "home")["metrics"] == {"lr": 0.2}


def test_an_item_that_is_not_there(there: RemoteWorker) -> None:
    """It is said; the next job is made all the same."""
    missing = there.run(job("e_x1_9", 1), ignored)
    assert "e_x1_9 could not be collected on the remote worker" in missing.problem
    assert not there.run(job("e_x1_1", 1, "0.1"), ignored).problem


def test_a_pytest_that_is_killed_beside_what_it_has_started(there: RemoteWorker) -> None:
    """It is noticed at once, also where something holds its pipe open; the next job gets another pytest."""
    before = {process.pid for process in psutil.process_iter()}
    killed = there.run(job("e_x1_2", 1), ignored)
    assert killed.problem == "pytest ended on the remote worker (SIGKILL)"
    assert not there.run(job("e_x1_1", 1, "0.1"), ignored).problem
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid not in before and "import time; time.sleep(60)" in process.cmdline():
                process.kill()


def test_what_is_written_is_sent_on(there: RemoteWorker, tmp_path: Path) -> None:
    """Where somebody looks on, pieces are beginnings of the journal."""
    pieces: list[Piece] = []

    def look(piece: Piece) -> bool:
        pieces.append(piece)
        return True

    answer = there.run(job("e_x1_1", 1, "0.1"), look)
    record_of(answer, tmp_path / "home")
    whole = (tmp_path / "home" / "events.jsonl").read_bytes()
    sent = b"".join(piece.data for piece in pieces if piece.name == "events.jsonl")
    assert whole.startswith(sent)
