"""The artifacts of one attempt: named by the handler, never outside the attempt's folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from pytest_exprunner._util.errors import ArtifactError
from pytest_exprunner._util.serialization import named_floats, plain, shown, text
from pytest_exprunner._util.text import has_control
from pytest_exprunner.model.attempt import Artifact
from pytest_exprunner.store import atomic

_DRIVE = re.compile(r"[A-Za-z]:")
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?\Z")
_MAX_PART = 200
_MAX_NAME = 1000
_TYPES = {
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".svg": "image", ".gif": "image", ".webp": "image",
    ".json": "data", ".csv": "data", ".npz": "data", ".parquet": "data", ".pt": "model",
    ".safetensors": "model", ".html": "page", ".txt": "text", ".md": "text",
}  # fmt: skip


def check_name(name: object) -> str:
    """Return an artifact name with forward slashes. Raises `ArtifactError` with the reason."""
    if not isinstance(name, str):
        raise ArtifactError(f"{shown(name)} is not an artifact name; expected text such as 'iou.png'")
    reason = _refusal(name)
    if reason:
        raise ArtifactError(f"the artifact name {shown(name)} {reason}; expected one such as 'plots/iou.png'")
    return name


def _refusal(name: str) -> str:
    if not name:
        return "is empty"
    if has_control(name):
        return "contains a control character"
    if name.startswith(("/", "\\")) or _DRIVE.match(name):
        return "is an absolute path"
    if "\\" in name:
        return "contains a backslash"
    if len(name.encode()) > _MAX_NAME:
        return f"is longer than {_MAX_NAME} bytes"
    return next((reason for part in name.split("/") if (reason := _part_refusal(part))), "")


def _part_refusal(part: str) -> str:
    if part in ("", ".", ".."):
        return f"has the part {part!r}, which could lead out of its folder"
    if len(part.encode()) > _MAX_PART:
        return f"has a part longer than {_MAX_PART} bytes"
    if _RESERVED.match(part):
        return f"has the part {part!r}, a name that some systems reserve"
    if part[-1] in " ." or part[0] in " .":
        return f"has the part {part!r}, which starts or ends with a dot or a space"
    return ""


class ArtifactStore:
    """What a handler calls ``runner.results``: stores files for people and for later steps."""

    def __init__(self, folder: str, prefix: str, announce: Callable[[Artifact], None]) -> None:
        """Store under ``folder``; paths given to the handler start with ``prefix``."""
        self._folder = folder
        self._prefix = prefix
        self._announce = announce
        self._stored: dict[str, Artifact] = {}
        self._names: dict[str, str] = {}
        self._kept: dict[str, int] = {}
        self._given: set[str] = set()
        self._closed = False

    def save_artifact(self, name: str, data: bytes | str) -> str:
        """Store bytes or text and return its path. Once this returns, a kill loses nothing of it.

        Saving under a name again keeps the earlier file as ``name~1``.
        """
        content = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
        if not isinstance(content, bytes | bytearray | memoryview):
            raise ArtifactError(
                f"the artifact {name!r} is {type(data).__name__}, neither bytes nor text; "
                "save_json_artifact and save_figure take other values"
            )

        self._place(self._target(name), lambda temporary: atomic.write(temporary, content))
        return self._register(name, hashlib.sha256(content).hexdigest(), memoryview(content).nbytes, "")

    def save_json_artifact(self, name: str, data: object) -> str:
        """Store a value as JSON and return its path.

        Arrays, tensors, dataclasses and models become lists and mappings; NaN and infinities,
        which JSON lacks, become the texts "NaN", "Infinity" and "-Infinity".
        """
        value = _json_safe(named_floats(plain(data, keep_arrays=True)))
        return self.save_artifact(
            name, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )

    def save_figure(self, name: str, fig: Any) -> str:
        """Store a matplotlib or plotly figure in the format of the name's suffix; return its path."""
        return self.save_artifact(name, _figure_bytes(check_name(name), fig))

    def get_artifact_path(self, name: str) -> Path:
        """Return a path to write to; the file counts as an artifact when the handler has ended."""
        target = self._target(name)
        self._refuse_links(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        self._given.add(name)
        return Path(target)

    def log_artifact(self, name: str, path: str | os.PathLike[str], type: str = "") -> str:  # noqa: A002
        """Register a file, copying it where it is not in its place yet; return its artifact path."""
        source, target = os.path.abspath(path), self._target(name)
        if not os.path.isfile(source):
            raise ArtifactError(f"the artifact {name!r} cannot be registered: there is no file {source}")
        if not (os.path.exists(target) and os.path.samefile(source, target)):
            self._place(target, lambda temporary: shutil.copyfile(source, temporary))
        return self._register(name, *_hash_file(Path(target)), type)

    def finish(self) -> tuple[Artifact, ...]:
        """Take nothing more; register what was written to given paths; return what is really there."""
        for name in [*self._given, *self._stored]:
            if not os.path.isfile(f"{self._folder}/{name}"):
                self._stored.pop(name, None)
        for name in sorted(self._given):
            if os.path.isfile(f"{self._folder}/{name}"):
                self._register(name, *_hash_file(Path(self._folder, name)), "")
        if self._given:
            self._register_strays()
        self._closed = True
        return tuple(self._stored.values())

    def _register_strays(self) -> None:
        """Register files that a handler wrote beside the paths that it was given."""
        for root, folders, names in os.walk(self._folder):
            folders.sort()
            for file in sorted(Path(root, name) for name in names):
                name = file.relative_to(self._folder).as_posix()
                if (
                    name not in self._stored
                    and file.is_file()
                    and not (file.is_symlink() or _is_temporary(file))
                ):
                    self._register(name, *_hash_file(file), "")

    def _target(self, name: str) -> str:
        if self._closed:
            raise ArtifactError(f"the attempt has ended; {name!r} can no longer be stored in it")
        checked = check_name(name)
        folded = checked if checked.isascii() else unicodedata.normalize("NFC", checked)
        twin = self._names.setdefault(folded.casefold(), checked)
        if twin != checked:
            raise ArtifactError(
                f"the artifact name {checked!r} differs from {twin!r} only in case or accents; "
                "some systems cannot keep both"
            )
        return f"{self._folder}/{checked}"

    def _place(self, target: str, write: Callable[[str], object]) -> None:
        self._refuse_links(target)
        if os.path.isdir(target):
            raise ArtifactError(f"{target} is a folder of other artifacts; choose another name")
        folder, name = os.path.split(target)
        temporary = f"{folder}/.{hashlib.sha256(name.encode()).hexdigest()[:12]}.tmp"
        try:
            _write_into(folder, temporary, write)
            if os.path.lexists(target):
                self._keep_earlier(target)
            os.rename(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def _refuse_links(self, target: str) -> None:
        """Refuse folders that are links: what they lead to is not this attempt's."""
        folder = os.path.dirname(target)
        while True:
            if os.path.islink(folder):
                raise ArtifactError(f"{folder} is a link; artifacts are stored in real folders only")
            if len(folder) <= len(self._folder):
                return
            folder = os.path.dirname(folder)

    def _keep_earlier(self, target: str) -> None:
        stem, suffix = os.path.splitext(target)
        number = self._kept.get(target, 0) + 1
        while os.path.lexists(kept := f"{stem}~{number}{suffix}"):
            number += 1
        self._kept[target] = number
        try:
            os.link(target, kept)  # so that at each instant there is one under the name
        except OSError:
            os.rename(target, kept)  # no file system has links of every kind of file
        earlier = self._stored.pop(target[len(self._folder) + 1 :], None)
        if earlier is not None:
            self._register(kept[len(self._folder) + 1 :], earlier.sha256, earlier.bytes, earlier.type)

    def _register(self, name: str, sha256: str, size: int, kind: str) -> str:
        artifact = Artifact(
            path=f"{self._prefix}/{text(name)}",
            sha256=sha256,
            bytes=size,
            type=kind or _TYPES.get(os.path.splitext(name)[1].lower(), "file"),
        )
        self._stored[name] = artifact
        self._announce(artifact)
        return artifact.path


def _write_into(folder: str, temporary: str, write: Callable[[str], object]) -> None:
    """Write a file, making its folder first where there is none."""
    try:
        os.mkdir(folder)  # as a rule it is the first in a folder just below one that is there
    except FileExistsError:
        if not os.path.isdir(folder):
            raise _taken(folder) from None
    except (FileNotFoundError, NotADirectoryError):
        try:
            os.makedirs(folder, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise _taken(folder) from None
    write(temporary)


def _taken(folder: str) -> ArtifactError:
    return ArtifactError(f"{folder} is an artifact already and cannot be a folder too")


def _is_temporary(file: Path) -> bool:
    return file.name.startswith(".") and file.name.endswith(".tmp")


def _hash_file(file: Path) -> tuple[str, int]:
    return atomic.digest(file), file.stat().st_size


def _json_safe(value: object) -> object:
    """Write integers beyond 64 bits, which this JSON writer refuses, as text."""
    if isinstance(value, dict):
        return {key: _json_safe(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_safe(item) for item in value]
    if type(value) is int and not -(2**63) <= value < 2**63:
        return str(value) if value.bit_length() < 10_000 else hex(value)
    return value


def _figure_bytes(name: str, figure: Any) -> bytes:
    suffix = PurePosixPath(name).suffix.lower()
    if not suffix:
        raise ArtifactError(f"the figure name {name!r} has no suffix; expected one such as '{name}.png'")
    if hasattr(figure, "savefig"):
        stream = io.BytesIO()
        figure.savefig(stream, format=suffix[1:])
        return stream.getvalue()
    if hasattr(figure, "to_html") and suffix in (".html", ".htm"):
        html: str = figure.to_html(include_plotlyjs=True)
        return html.encode()
    if hasattr(figure, "to_json") and suffix == ".json":
        data: str = figure.to_json()
        return data.encode()
    if hasattr(figure, "to_image"):
        image: bytes = figure.to_image(format=suffix[1:])
        return image
    raise ArtifactError(
        f"{type(figure).__name__} is not a figure that can be saved as {suffix}; expected one of "
        "matplotlib or plotly (a pyplot axes object has its figure in .figure)"
    )
