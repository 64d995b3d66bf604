"""What functions are made of: files, mounts, image definitions and secrets; also large values (blobs)."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from grpclib import Status

from modal_server.names import Names
from modal_server.protocol import ENVIRONMENT, message, new_id, pb, refuse, success

IMAGE_BUILDER = "2025.06"


class Blobs:
    """Values too large for a message: the client sends and fetches them over HTTP."""

    def __init__(self) -> None:
        """Start empty; `url` is set when the HTTP server listens."""
        self.url = ""
        self.contents: dict[str, bytes] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return what the HTTP server has to serve."""
        return [web.put("/blob/{id}", self._receive), web.get("/blob/{id}", self._send)]

    def blob_create(self, _request: Any) -> Any:
        """Say where to put a new blob."""
        blob_id = new_id("bl")
        urls = pb.UploadUrlList(items=[f"{self.url}/blob/{blob_id}"])
        return pb.BlobCreateResponse(blob_ids=[blob_id], upload_urls=urls)

    def blob_get(self, request: Any) -> Any:
        """Say where to fetch a blob."""
        return pb.BlobGetResponse(download_url=f"{self.url}/blob/{request.blob_id}")

    async def _receive(self, request: web.Request) -> web.Response:
        content = await request.read()
        self.contents[request.match_info["id"]] = content
        # The client compares this with what it sent, as S3 has it do.
        checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return web.Response(headers={"ETag": f'"{checksum}"'})

    async def _send(self, request: web.Request) -> web.Response:
        return web.Response(body=self.contents[request.match_info["id"]])


class Mounts:
    """Local files that the client uploaded, by content, and the lists of them that become mounts."""

    def __init__(self, folder: Path, names: Names, blobs: Blobs) -> None:
        """Keep the files in a folder."""
        self._folder = folder
        self._names = names
        self._blobs = blobs
        self._mounts: dict[str, list[Any]] = {}

    def mount_get_or_create(self, request: Any) -> Any:
        """Make a mount of uploaded files. Modal's own published mounts (client, Python) are empty here."""
        if request.namespace == pb.DEPLOYMENT_NAMESPACE_GLOBAL:
            mount_id = self._names.find("Mount", request.deployment_name) or new_id("mo")
            self._names.give("Mount", request.deployment_name, mount_id)
        else:
            mount_id = new_id("mo")
        self._mounts[mount_id] = list(request.files)
        content = b"".join(file.SerializeToString() for file in request.files)
        metadata = pb.MountHandleMetadata(content_checksum_sha256_hex=hashlib.sha256(content).hexdigest())
        return pb.MountGetOrCreateResponse(mount_id=mount_id, handle_metadata=metadata)

    def mount_batched_check_existence(self, request: Any) -> Any:
        """Say which files have to be uploaded."""
        missing = [digest for digest in request.sha256_hex_hashes if not self.path(digest).exists()]
        return pb.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=missing)

    def mount_put_file(self, request: Any) -> Any:
        """Store one file; a request without content asks whether it is there."""
        source = request.WhichOneof("data_oneof")
        if source is not None:
            content = request.data if source == "data" else self._blobs.contents[request.data_blob_id]
            if hashlib.sha256(content).hexdigest() != request.sha256_hex:
                refuse(Status.INVALID_ARGUMENT, "the file's content does not match its checksum")
            self.path(request.sha256_hex).write_bytes(content)
        return pb.MountPutFileResponse(exists=self.path(request.sha256_hex).exists())

    def path(self, digest: str) -> Path:
        """Return where the content with this checksum lies."""
        return self._folder / digest

    def files(self, mount_id: str) -> Iterator[tuple[str, Path, int]]:
        """Return the remote name, the content's path and the mode of every file in a mount."""
        for file in self._mounts[mount_id]:
            yield file.filename, self.path(file.sha256_hex), file.mode & 0o777 or 0o644


class Images:
    """Image definitions: recorded under an id made of their content, never built."""

    def __init__(self) -> None:
        """Start without any."""
        self.definitions: dict[str, Any] = {}

    def image_get_or_create(self, request: Any) -> Any:
        """Record a definition; one that is known is answered as built."""
        content = request.image.SerializeToString(deterministic=True)
        image_id = "im-" + hashlib.sha256(content).hexdigest()[:16]
        known = image_id in self.definitions
        self.definitions[image_id] = request.image
        built = {"result": success(), "metadata": self._metadata()} if known else {}
        return pb.ImageGetOrCreateResponse(image_id=image_id, **built)

    async def image_join_streaming(self, request: Any) -> AsyncIterator[Any]:
        """Tell the client, in the place of a build's output, what was not built."""
        for line in self.definitions[request.image_id].dockerfile_commands:
            log = pb.TaskLogs(data=f"(not built) {line}\n", file_descriptor=pb.FILE_DESCRIPTOR_STDOUT)
            yield pb.ImageJoinStreamingResponse(task_logs=[log])
        yield pb.ImageJoinStreamingResponse(result=success(), eof=True, metadata=self._metadata())

    def chain(self, image_id: str) -> Iterator[Any]:
        """Return a definition after those it builds on."""
        if not image_id:
            return
        definition = self.definitions[image_id]
        for base in definition.base_images:
            yield from self.chain(base.image_id)
        yield definition

    def commands(self, image_id: str) -> list[str]:
        """Return the Dockerfile commands of an image and of all it builds on."""
        return [line for definition in self.chain(image_id) for line in definition.dockerfile_commands]

    @staticmethod
    def _metadata() -> Any:
        python = "Python {}.{}.{}".format(*sys.version_info[:3])
        return message(
            pb.ImageMetadata, image_builder_version=IMAGE_BUILDER, python_version_info=python, workdir="/root"
        )


class Secrets:
    """Environment variables by the name of a secret, or made on the spot by ``Secret.from_dict``."""

    def __init__(self) -> None:
        """Start without any; tests put named secrets into `named`."""
        self.named: dict[str, dict[str, str]] = {}
        self._contents: dict[str, dict[str, str]] = {}
        self._labels: dict[str, str] = {}

    def secret_get_or_create(self, request: Any) -> Any:
        """Find a named secret, or keep the variables of a nameless one."""
        name = request.deployment_name
        variables = dict(request.env_dict)
        if name and not variables:
            if name not in self.named:
                refuse(Status.NOT_FOUND, f"Secret '{name}' not found in environment '{ENVIRONMENT}'")
            variables = self.named[name]
        elif name:
            self.named[name] = variables
        missing = [key for key in request.required_keys if key not in variables]
        if missing:
            refuse(Status.NOT_FOUND, f"Secret '{name}' is missing the key(s) {', '.join(missing)}")
        secret_id = new_id("st")
        self._contents[secret_id] = variables
        self._labels[secret_id] = name or secret_id
        return pb.SecretGetOrCreateResponse(secret_id=secret_id, metadata=pb.SecretMetadata(name=name))

    def variables(self, secret_ids: list[str]) -> dict[str, str]:
        """Return the environment that these secrets make together."""
        return {key: value for each in secret_ids for key, value in self._contents[each].items()}

    def labelled(self, secret_ids: list[str]) -> dict[str, dict[str, str]]:
        """Return the variables of each secret by its name, or by its id where it has none."""
        return {self._labels[each]: self._contents[each] for each in secret_ids}
