"""Files that are whole at each instant, and copies that overwrite nothing."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_exprunner.store import atomic


def durably(path: Path, data: bytes) -> None:
    """Replace one file durably."""
    atomic.replace_durably({path: data})


BOTH = pytest.mark.parametrize("replace", [atomic.replace, durably])
Replace = Callable[[Path, bytes], None]


@BOTH
def test_replace(tmp_path: Path, replace: Replace) -> None:
    """New content takes the place of old, and nothing else is left in the folder."""
    file = tmp_path / "results.yaml"
    for data in (b"one", b"", b"x" * 3_000_000):
        replace(file, data)
        assert file.read_bytes() == data
        assert list(tmp_path.iterdir()) == [file]


def test_several_at_once(tmp_path: Path) -> None:
    """Several files in several folders are replaced together; no files are no work."""
    other = tmp_path / "other"
    other.mkdir()
    contents = {tmp_path / "a": b"1", other / "a": b"2", other / "b": b"3"}
    for _ in range(2):
        atomic.replace_durably(contents)
        assert {path: path.read_bytes() for path in contents} == contents
    atomic.replace_durably({})
    assert len(list(tmp_path.rglob("*"))) == 4


@BOTH
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_failing_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: Replace, number: int
) -> None:
    """When the disk is full or broken the old file is still whole, and no other is left behind."""
    file = tmp_path / "results.yaml"
    replace(file, b"old")

    def broken(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", broken)
        with pytest.raises(OSError, match=os.strerror(number)):
            replace(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_fails_durably_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """When syncing or renaming fails, each file is old or new, and no temporary file stays."""
    contents = {tmp_path / name: b"new" for name in ("a", "b", "c")}
    atomic.replace_durably(dict.fromkeys(contents, b"old"))

    def broken(*_arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            atomic.replace_durably(contents)
    assert {path.read_bytes() for path in contents} == {b"old"}
    assert sorted(tmp_path.iterdir()) == sorted(contents)


def test_one_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    """Where one of several cannot be written, the others are old or new and no other file stays."""
    good, bad = tmp_path / "a", tmp_path / "gone" / "b"
    atomic.replace(good, b"old")
    with pytest.raises(FileNotFoundError):
        atomic.replace_durably({good: b"new", bad: b"new"})
    assert good.read_bytes() in (b"old", b"new")
    assert list(tmp_path.iterdir()) == [good]


@BOTH
def test_a_folder_is_not_replaced(tmp_path: Path, replace: Replace) -> None:
    """Where the target cannot be replaced, nothing is lost and nothing left behind."""
    folder = tmp_path / "results.yaml"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        replace(folder, b"new")
    assert list(tmp_path.iterdir()) == [folder]


def test_set_aside(tmp_path: Path) -> None:
    """A copy has a name of its own, the same content again the same copy, other content another."""
    file = tmp_path / "results.yaml"
    file.write_bytes(b"one")
    assert atomic.set_aside(file, "edited").name == "results.edited-1.yaml"
    assert atomic.set_aside(file, "edited").name == "results.edited-1.yaml"
    file.write_bytes(b"two")
    assert atomic.set_aside(file, "edited").name == "results.edited-2.yaml"
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "results.yaml": b"two",
        "results.edited-1.yaml": b"one",
        "results.edited-2.yaml": b"two",
    }


def test_set_aside_overwrites_nothing(tmp_path: Path) -> None:
    """A file that happens to have the name of the copy is left alone."""
    file, other = tmp_path / "a.yaml", tmp_path / "a.broken-1.yaml"
    file.write_bytes(b"mine")
    other.write_bytes(b"theirs")
    assert atomic.set_aside(file, "broken").name == "a.broken-2.yaml"
    assert other.read_bytes() == b"theirs"


def test_link_or_copy(tmp_path: Path) -> None:
    """The target is the same file as the source, also when it was one before."""
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"one")
    target.write_bytes(b"old")
    for _ in range(2):
        atomic.link_or_copy(source, target)
        assert target.read_bytes() == b"one"
        assert target.samefile(source)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_copy_where_links_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without hard links gets a copy."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"one")
    atomic.link_or_copy(source, target)
    assert target.read_bytes() == b"one"
    assert not target.samefile(source)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_digest(tmp_path: Path) -> None:
    """The hash of the content."""
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    assert atomic.digest(tmp_path / "a") == hashlib.sha256(b"x" * 100_000).hexdigest()
