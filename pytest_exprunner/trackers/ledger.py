"""The deliveries of each tracker: one line per attempt, appended when the attempt was delivered."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from pytest_exprunner.model.attempt import AttemptKey
from pytest_exprunner.model.layout import Layout
from pytest_exprunner.trackers.job import file_name

Name = tuple[str, str, int]


class Delivery(NamedTuple):
    """The run of an attempt, where it went, and whether it is final: false while it waits for a server."""

    run: str
    place: str
    final: bool


class Ledger:
    """The deliveries of one tracker. A line cut off by a kill is ignored, so its attempt is sent again."""

    def __init__(self, layout: Layout, tracker: str) -> None:
        """The file is part of the run state, which is not committed."""
        self.folder = layout.lock_folder / "tracking"
        self._file = self.folder / f"{file_name(tracker)}.jsonl"
        self._found = dict(self._read())

    def _read(self) -> Iterator[tuple[Name, Delivery]]:
        with contextlib.suppress(FileNotFoundError):
            for line in self._file.read_bytes().splitlines():
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    entry = orjson.loads(line)
                    experiment, sub, sequence = entry["attempt"]
                    delivery = Delivery(str(entry["run"]), str(entry["place"]), entry["final"] is True)
                    yield (str(experiment), str(sub), int(sequence)), delivery

    def of(self, key: AttemptKey, run: str) -> Delivery | None:
        """Return the delivery of an attempt, or None. The same number in another run is another attempt."""
        found = self._found.get(name_of(key))
        return found if found is not None and found.run == run else None

    def add(self, key: AttemptKey, delivery: Delivery) -> None:
        """Record a delivery in one write. Raises OSError."""
        entry = {"attempt": name_of(key), **delivery._asdict()}
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            # The leading newline separates the entry from a line that was cut off.
            os.write(descriptor, b"\n" + orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
        finally:
            os.close(descriptor)
        self._found[name_of(key)] = delivery


def name_of(key: AttemptKey) -> Name:
    """Return the parts that name an attempt in files."""
    return key.experiment, key.sub_experiment, key.sequence
