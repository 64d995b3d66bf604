"""Files on their way between machines: what arrives is what was sent, and stays in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.errors import ExecutorError
from pytest_exprunner.executors.base import Answer, Job, Piece
from pytest_exprunner.executors.content_store import FileContent, Store, install, listed, place_of
from pytest_exprunner.executors.mirror import Mirror

HOSTILE = ["", "/etc/passwd", "../up", "a/../../up", "a/..", "..", "./a/..", "a\0b", "a\\..\\b"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_leads_out(tmp_path: Path, name: str) -> None:
    """It is refused, whoever sent it."""
    with pytest.raises(ExecutorError, match="leads outside its folder"):
        place_of(tmp_path, name)


@given(st.text(max_size=60))
def test_any_name_stays_inside(name: str) -> None:
    """Whatever a name is, it is refused or leads below the folder."""
    folder = Path("/somewhere/deep")
    try:
        place = place_of(folder, name)
    except ExecutorError:
        return
    assert place != folder
    assert folder in place.parents
    assert ".." not in place.parts


def test_what_is_sent_arrives(tmp_path: Path) -> None:
    """Every file, in its subfolder; temporary files and links stay."""
    source, store, target = (tmp_path / name for name in ("source", "store", "target"))
    (source / "deep").mkdir(parents=True)
    (source / "a.txt").write_bytes(b"one")
    (source / "deep" / "b.bin").write_bytes(b"\0" * 3_000_000)
    (source / ".a.txt.1.tmp").write_bytes(b"half")
    (source / "link").symlink_to("/etc/passwd")
    entries = listed(source)
    assert [entry.path for entry in entries] == ["a.txt", "deep/b.bin"]
    kept = Store(store)
    kept.keep(entries, source)
    kept.keep(entries, source)
    install(entries, target, kept.fetch)
    assert listed(target) == entries


def test_what_arrives_otherwise_is_refused(tmp_path: Path) -> None:
    """Nothing of it is left; what was there stays."""
    (tmp_path / "a.txt").write_bytes(b"before")
    [entry] = listed(tmp_path)

    def other(_entry: FileContent) -> Iterator[bytes]:
        yield b"other"

    with pytest.raises(ExecutorError, match=r"a\.txt arrived damaged"):
        install([FileContent("a.txt", "0" * 64, 5)], tmp_path, other)
    assert listed(tmp_path) == [entry]


def test_what_is_there_already_is_not_fetched(tmp_path: Path) -> None:
    """The same content under the same name is left alone."""
    (tmp_path / "a.txt").write_bytes(b"same")
    entries = listed(tmp_path)

    def never(entry: FileContent) -> Iterator[bytes]:
        raise AssertionError(entry)

    install(entries, tmp_path, never)


@given(
    data=st.binary(max_size=50),
    cuts=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=20),
)
def test_a_mirror_holds_a_beginning(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, cuts: list[tuple[int, int]]
) -> None:
    """Whatever pieces arrive, twice, early or never: what is here is a beginning, and in the end the whole."""
    folder = tmp_path_factory.mktemp("attempt")
    mirror = Mirror(folder)
    for start, end in cuts:
        mirror.take(Piece("events.jsonl", start, data[start:end], "one"))
        here = folder / "events.jsonl"
        assert data.startswith(here.read_bytes() if here.exists() else b"")
    source = tmp_path_factory.mktemp("source")
    (source / "events.jsonl").write_bytes(data)
    (source / "record.json").write_bytes(b"{}")
    store = Store(tmp_path_factory.mktemp("store"))
    entries = listed(source)
    store.keep(entries, source)
    mirror.bring(Answer(files=entries), store.fetch)
    assert listed(folder) == entries


def test_a_mirror_keeps_what_another_machine_began(tmp_path: Path) -> None:
    """Where the attempt was begun anew, the first journal is set aside."""
    mirror = Mirror(tmp_path)
    for start in ("one", "two", "three"):
        mirror.take(Piece("events.jsonl", 0, start.encode(), start))
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "events.jsonl": "three",
        "events.preempted-1.jsonl": "one",
        "events.preempted-2.jsonl": "two",
    }


def test_a_job_survives_the_way() -> None:
    """What is dumped is what is parsed."""
    job = Job("experiments/h.py::e_1[a]", "x1", "e_1", "a", None, 3, (FileContent("a/b", "0" * 64, 7),))
    assert Job.parse(job.dump()) == job
    answer = Answer(({"when": "call"},), (FileContent("a/b", "0" * 64, 7),), "it was stopped")
    assert Answer.parse(answer.dump()) == answer
