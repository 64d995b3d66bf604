"""Volumes: a shared folder each, of which every container has a private copy until it commits or reloads."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web
from grpclib import Status

from modal_server.names import Names
from modal_server.protocol import Empty, message, new_id, pb, refuse
from modal_server.storage import Blobs, Mounts

BLOCK = 8 * 1024 * 1024
"""The client reads and writes files in blocks of this size."""

Stamp = tuple[int, int]


class Volumes:
    """Answers the RPCs about volumes."""

    def __init__(self, folder: Path, names: Names, mounts: Mounts, blobs: Blobs) -> None:
        """Keep one folder per volume."""
        self._folder = folder
        self._names = names
        self._mounts = mounts
        self._blobs = blobs
        self._versions: dict[str, int] = {}
        self.limit: int | None = None
        self.commits = threading.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return what the HTTP server has to serve."""
        return [
            web.get("/volume/{id}/{block}/{path:.*}", self._send_block),
            web.put("/block", self._receive_block),
        ]

    def folder(self, volume_id: str, path: str = "") -> Path:
        """Return where a path in a volume lies."""
        root = self._folder / volume_id
        inside = Path(os.path.normpath(root / path.lstrip("/")))
        if not inside.is_relative_to(root):
            refuse(Status.INVALID_ARGUMENT, f"{path}: outside of the Volume")
        return inside

    def metadata(self, volume_id: str) -> Any:
        """Return what the client keeps about a volume."""
        version = self._versions.get(volume_id, pb.VOLUME_FS_VERSION_V1)
        return message(pb.VolumeMetadata, version=version, name=self._names.name_of(volume_id))

    def name(self, volume_id: str) -> str:
        """Return a volume's name, or its id where it has none."""
        return self._names.name_of(volume_id) or volume_id

    def volume_get_or_create(self, request: Any) -> Any:
        """Find a volume by name, or make one."""

        def make() -> str:
            volume_id = new_id("vo")
            self.folder(volume_id).mkdir(parents=True)
            self._versions[volume_id] = request.version or pb.VOLUME_FS_VERSION_V1
            return volume_id

        volume_id = self._names.find_or_make("Volume", request, make)
        version, metadata = self._versions[volume_id], self.metadata(volume_id)
        return pb.VolumeGetOrCreateResponse(volume_id=volume_id, version=version, metadata=metadata)

    def volume_heartbeat(self, _request: Any) -> Any:
        """Keep an ephemeral volume: here they all stay until the server ends."""
        return Empty()

    def volume_commit(self, _request: Any) -> Any:
        """Refuse: only containers have something to commit, and they have a handler of their own."""
        refuse(Status.FAILED_PRECONDITION, "commit() works only in a container that mounts the Volume")

    def volume_reload(self, _request: Any) -> Any:
        """Refuse, as with commits."""
        refuse(Status.FAILED_PRECONDITION, "reload() works only in a container that mounts the Volume")

    async def volume_list_files(self, request: Any) -> AsyncIterator[Any]:
        """List a folder of a volume of the first kind."""
        yield pb.VolumeListFilesResponse(entries=self._entries(request))

    async def volume_list_files2(self, request: Any) -> AsyncIterator[Any]:
        """List a folder of a volume of the second kind."""
        yield pb.VolumeListFiles2Response(entries=self._entries(request))

    def volume_get_file2(self, request: Any) -> Any:
        """Say where the blocks of a file can be fetched."""
        path = self.folder(request.volume_id, request.path)
        if not path.is_file():
            refuse(Status.NOT_FOUND, f"{request.path}: no such file in the Volume")
        size, name = path.stat().st_size, request.path.lstrip("/")
        base = f"{self._blobs.url}/volume/{request.volume_id}"
        urls = [f"{base}/{block}/{name}" for block in range(-(-size // BLOCK))]
        return pb.VolumeGetFile2Response(get_urls=urls, size=size, start=0, len=size)

    def volume_put_files(self, request: Any) -> Any:
        """Put files into a volume of the first kind; their contents came as those of mounts do."""
        for file in request.files:
            target = self._target(request, file.filename)
            shutil.copyfile(self._mounts.path(file.sha256_hex), target)
        return Empty()

    def volume_put_files2(self, request: Any) -> Any:
        """Put files into a volume of the second kind, or say which of their blocks have to be sent first."""
        missing = [
            pb.VolumePutFiles2Response.MissingBlock(
                file_index=number, block_index=index, put_url=f"{self._blobs.url}/block"
            )
            for number, file in enumerate(request.files)
            for index, block in enumerate(file.blocks)
            if block.contents_sha256.hex() not in self._blobs.contents
        ]
        for file in () if missing else request.files:
            blocks = [self._blobs.contents[block.contents_sha256.hex()] for block in file.blocks]
            self._target(request, file.path).write_bytes(b"".join(blocks)[: file.size])
        return pb.VolumePutFiles2Response(missing_blocks=missing)

    def volume_remove_file(self, request: Any) -> Any:
        """Remove a file, or a folder with all in it."""
        path = self.folder(request.volume_id, request.path)
        if not path.exists():
            refuse(Status.NOT_FOUND, f"{request.path}: no such file or folder in the Volume")
        if path.is_dir() and not request.recursive:
            refuse(Status.INVALID_ARGUMENT, f"{request.path} is a folder: remove it with recursive=True")
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        return Empty()

    volume_remove_file2 = volume_remove_file

    def _entries(self, request: Any) -> list[Any]:
        root, top = self.folder(request.volume_id), self.folder(request.volume_id, request.path)
        if not top.exists():
            refuse(Status.NOT_FOUND, f"{request.path}: no such file or folder in the Volume")
        if top.is_file():
            return [_entry(root, top)]
        return [_entry(root, path) for path in sorted(top.rglob("*") if request.recursive else top.iterdir())]

    def _target(self, request: Any, name: str) -> Path:
        target = self.folder(request.volume_id, name)
        if target.exists() and request.disallow_overwrite_existing_files:
            refuse(Status.ALREADY_EXISTS, f"{name}: already exists in the Volume")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    async def _send_block(self, request: web.Request) -> web.Response:
        path = self.folder(request.match_info["id"], request.match_info["path"])
        with path.open("rb") as file:
            file.seek(int(request.match_info["block"]) * BLOCK)
            return web.Response(body=file.read(BLOCK))

    async def _receive_block(self, request: web.Request) -> web.Response:
        content = await request.read()
        digest = hashlib.sha256(content)
        self._blobs.contents[digest.hexdigest()] = content
        return web.Response(body=digest.digest())


class PrivateCopy:
    """What one container sees of a volume: it changes on reload, and shows its own changes on commit."""

    def __init__(self, volumes: Volumes, volume_id: str, private: Path, sub_path: str) -> None:
        """Copy what is committed now."""
        self._volumes = volumes
        self._shared = volumes.folder(volume_id, sub_path)
        self._name = volumes.name(volume_id)
        self.private = private
        with volumes.commits:
            self._shared.mkdir(parents=True, exist_ok=True)
            shutil.copytree(self._shared, private)
            self._seen = _stamps(private)

    def commit(self) -> None:
        """Copy the container's changes to the shared folder, or refuse all of them when they are too much."""
        with self._volumes.commits:
            mine, shared = _stamps(self.private), _stamps(self._shared)
            changed = [name for name, stamp in mine.items() if self._seen.get(name) != stamp]
            removed = self._seen.keys() - mine.keys()
            self._check_size({**shared, **{name: mine[name] for name in changed}}, removed)
            _copy(self.private, self._shared, changed)
            _remove(self._shared, removed)
            self._seen = mine

    def reload(self) -> None:
        """Copy what others committed, save for files with changes of this container's own."""
        with self._volumes.commits:
            mine, shared, seen = _stamps(self.private), _stamps(self._shared), self._seen
            own = {name for name in mine.keys() | seen.keys() if mine.get(name) != seen.get(name)}
            theirs = {name: stamp for name, stamp in shared.items() if name not in own}
            _copy(self._shared, self.private, [name for name in theirs if theirs[name] != seen.get(name)])
            _remove(self.private, seen.keys() - shared.keys() - own)
            self._seen = theirs | {name: seen[name] for name in own & seen.keys()}

    def _check_size(self, files: dict[str, Stamp], removed: Iterable[str]) -> None:
        size = sum(stamp[0] for name, stamp in files.items() if name not in set(removed))
        limit = self._volumes.limit
        if limit is not None and size > limit:
            text = f"Volume '{self._name}' cannot be committed: {size} bytes, its limit is {limit} bytes"
            refuse(Status.RESOURCE_EXHAUSTED, text)


def _entry(root: Path, path: Path) -> Any:
    status = path.stat()
    kind = pb.FileEntry.DIRECTORY if path.is_dir() else pb.FileEntry.FILE
    name = str(path.relative_to(root))
    return pb.FileEntry(path=name, type=kind, mtime=int(status.st_mtime), size=status.st_size)


def _stamps(root: Path) -> dict[str, Stamp]:
    """Return the size and time of every file below a folder; two files with the same stamp are the same."""
    found: dict[str, Stamp] = {}
    for path in root.rglob("*"):
        if path.is_file():
            status = path.stat()
            found[str(path.relative_to(root))] = (status.st_size, status.st_mtime_ns)
    return found


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy files so that a reader sees each of them whole, the old or the new one."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        part = target.parent / new_id("part")
        shutil.copy2(source / name, part)
        part.replace(target / name)


def _remove(root: Path, names: Iterable[str]) -> None:
    for name in names:
        (root / name).unlink(missing_ok=True)
