"""Reads the log of an offline W&B run, as its own reader would: every record that was written."""

from __future__ import annotations

import importlib
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MAGIC = b":W&B"
_HEADER = 7
_BLOCK = 32 * 1024
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass
class Logged:
    """What one run holds."""

    run: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    step_metrics: dict[str, str] = field(default_factory=dict)
    artifacts: dict[str, tuple[str, list[str], list[str]]] = field(default_factory=dict)
    """Type, aliases and files, by name."""
    exit_code: int | None = None

    def rows(self) -> list[dict[str, Any]]:
        """The history without what W&B adds."""
        return [{k: v for k, v in row.items() if not k.startswith("_")} for row in self.history]


def read(file: Path) -> Logged:
    """Read a ``.wandb`` file. A torn end is no error: the writer was killed."""
    # By name: mypy cannot see into generated code.
    protocol: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    found = Logged()
    for data in _records(file.read_bytes()):
        record = protocol.Record()
        record.ParseFromString(data)
        _take(found, record)
    return found


def _take(found: Logged, record: Any) -> None:
    kind = record.WhichOneof("record_type")
    if kind == "run":
        run = record.run
        found.run = {
            "id": run.run_id,
            "project": run.project,
            "entity": run.entity,
            "name": run.display_name,
            "group": run.run_group,
            "job_type": run.job_type,
            "notes": run.notes,
            "tags": sorted(run.tags),
        }
        found.config |= _values(run.config.update)
    elif kind == "config":
        found.config |= _values(record.config.update)
    elif kind == "history":
        found.history.append(_values(record.history.item))
    elif kind == "summary":
        found.summary |= _values(record.summary.update)
    elif kind == "metric":
        found.step_metrics[record.metric.name or record.metric.glob_name] = record.metric.step_metric
    elif kind == "artifact":
        artifact = record.artifact
        files = [entry.path for entry in artifact.manifest.contents]
        found.artifacts[artifact.name] = (artifact.type, sorted(artifact.aliases), files)
    elif kind == "exit":
        found.exit_code = record.exit.exit_code


def _values(items: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _records(data: bytes) -> Iterator[bytes]:
    """The file is cut into blocks, and records into chunks that lie in one block each."""
    assert data[: len(_MAGIC)] == _MAGIC
    place, parts = _HEADER, b""
    while True:
        left = _BLOCK - place % _BLOCK
        if left < _HEADER:
            place += left
        if place + _HEADER > len(data):
            return
        checksum, length, kind = struct.unpack_from("<IHB", data, place)
        chunk = data[place + _HEADER : place + _HEADER + length]
        if kind == 0 or len(chunk) < length:
            return
        assert zlib.crc32(bytes([kind]) + chunk) == checksum
        place += _HEADER + length
        parts = chunk if kind in (_FULL, _FIRST) else parts + chunk
        if kind in (_FULL, _LAST):
            yield parts
