"""Artifacts as a report shows them: embedded images, the first rows of tables, links to other files."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from pytest_exprunner._util.serialization import shown
from pytest_exprunner.model.attempt import Artifact
from pytest_exprunner.store.atomic import digest

IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
_LOOKED_AT = frozenset({*IMAGE_TYPES, ".csv", ".tsv", ".json"})
_CHANGED = "changed since it was recorded"
_LARGEST_IMAGE = 2_000_000
_LARGEST_TABLE = 1_000_000
_LARGEST = {**dict.fromkeys(IMAGE_TYPES, _LARGEST_IMAGE), ".json": _LARGEST_TABLE}
"""Maximum bytes of a file to show; other tables are cut instead."""
_READ_OF_TEXT = 64_000
_ROWS, _COLUMNS, _CELL = 6, 8, 40


@dataclass(frozen=True, slots=True)
class Preview:
    """One artifact; ``link`` is its file, relative to the experiment's folder."""

    name: str
    link: str
    bytes: int
    kind: Literal["image", "table", "file", "missing"]
    image: str = ""
    """A data URI."""
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    more: bool = False
    """Whether the table has more rows than are shown."""
    note: str = ""
    whose: str = ""
    """The attempt that it belongs to, if there are several."""


def preview(artifact: Artifact, file: Path | None, *, images_left: int) -> Preview:
    """Return the preview of an artifact; an image only if it fits in ``images_left`` bytes.

    The content is shown only if it matches the record. ``file`` is None if the artifact's path points
    outside the experiment's folder; then there is no link either.
    """
    name = artifact.path.rpartition("/")[2]
    plain = Preview(name, artifact.path, artifact.bytes, "file")
    if file is None:
        return Preview(
            name, "", artifact.bytes, "missing", note="its path leads out of the experiment's folder"
        )
    if not file.is_file():
        return Preview(name, "", artifact.bytes, "missing", note="the file is not here")
    suffix = file.suffix.lower()
    try:
        if not _is_as_recorded(artifact, file, looked_at=suffix in _LOOKED_AT):
            return Preview(name, artifact.path, artifact.bytes, "file", note=_CHANGED)
        if suffix in IMAGE_TYPES:
            return _image(plain, file, IMAGE_TYPES[suffix], images_left)
        if suffix in (".csv", ".tsv"):
            return _table(plain, *_from_csv(file, "\t" if suffix == ".tsv" else ","))
        if suffix == ".json" and file.stat().st_size <= _LARGEST_TABLE:
            return _table(plain, *_from_json(file))
    except (OSError, ValueError, csv.Error):
        pass  # show an unreadable file as a plain link
    return plain


def _is_as_recorded(artifact: Artifact, file: Path, *, looked_at: bool) -> bool:
    """Return whether the size matches the record and, for a file to be shown, also the hash."""
    size = file.stat().st_size
    if size != artifact.bytes:
        return False
    return not looked_at or size > _LARGEST.get(file.suffix.lower(), size) or digest(file) == artifact.sha256


def _image(plain: Preview, file: Path, media_type: str, images_left: int) -> Preview:
    size = file.stat().st_size
    if size > min(_LARGEST_IMAGE, images_left):
        return Preview(plain.name, plain.link, plain.bytes, "file", note="too large to be shown here")
    data = base64.b64encode(file.read_bytes()).decode("ascii")
    return Preview(plain.name, plain.link, size, "image", image=f"data:{media_type};base64,{data}")


def _from_csv(file: Path, delimiter: str) -> tuple[list[str], list[list[str]]]:
    with file.open("rb") as stream:
        data = stream.read(_READ_OF_TEXT)
    text = data.decode("utf-8", "replace")
    if len(data) == _READ_OF_TEXT:
        text = text.rpartition("\n")[0]
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    return (rows[0], rows[1:]) if rows else ([], [])


def _from_json(file: Path) -> tuple[list[str], list[list[str]]]:
    """Return a list of objects, or an object of lists of equal length, as a table."""
    value: Any = orjson.loads(file.read_bytes())
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        names = list(dict.fromkeys(str(name) for row in value[:_ROWS] for name in row))
        return names, [[_cell(row.get(name)) for name in names] for row in value[: _ROWS + 1]]
    return [], []


def _cell(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else shown(value, _CELL)


def _table(plain: Preview, header: list[str], rows: Iterable[list[str]]) -> Preview:
    every = list(rows)
    if not header or not every:
        return plain
    cut = tuple(tuple(_short(cell) for cell in row[:_COLUMNS]) for row in every[:_ROWS])
    more = len(every) > _ROWS or len(header) > _COLUMNS
    names = tuple(_short(name) for name in header[:_COLUMNS])
    return Preview(plain.name, plain.link, plain.bytes, "table", header=names, rows=cut, more=more)


def _short(cell: str) -> str:
    return cell if len(cell) <= _CELL else f"{cell[: _CELL - 1]}…"
