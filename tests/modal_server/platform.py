"""Everything the stand-in knows and does, in one event loop; `server` puts it into a thread and on a port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from modal_server import filesystem
from modal_server.apps import Apps
from modal_server.containers import Container
from modal_server.functions import Functions
from modal_server.names import Names
from modal_server.pools import Pool
from modal_server.queues import Queues
from modal_server.storage import Blobs, Images, Mounts, Secrets
from modal_server.volumes import Volumes

SMALLER_GPUS = {"T4", "L4", "A10", "A10G", "L40S", "A100", "A100-40GB", "A100-80GB", "ANY"}
GPUS = SMALLER_GPUS | {"RTX-PRO-6000", "H100", "H100!", "H200", "B200", "B200+"}


@dataclass(eq=False)
class Platform:
    """The stores, the settings and the containers."""

    state: Path
    sockets: Path
    idle: float
    grace: float
    crash_retries: int
    max_containers: int
    container_environment: dict[str, str]
    gpus: set[str] = field(default_factory=lambda: set(GPUS))
    events: list[dict[str, Any]] = field(default_factory=list)
    queue_limit: int = 5000
    isolated: bool = False

    def __post_init__(self) -> None:
        """Make the stores."""
        for name in ("files", "volumes", "containers"):
            (self.state / name).mkdir(parents=True, exist_ok=True)
        self.isolated = filesystem.can_isolate(self.state)
        self.names = Names()
        self.blobs = Blobs()
        self.mounts = Mounts(self.state / "files", self.names, self.blobs)
        self.images = Images()
        self.secrets = Secrets()
        self.volumes = Volumes(self.state / "volumes", self.names, self.mounts, self.blobs)
        self.queues = Queues(self.names, self.queue_limit)
        self.functions = Functions(self)
        self.apps = Apps(self)
        self._tasks: set[asyncio.Task[None]] = set()
        self._http: web.AppRunner | None = None

    @property
    def services(self) -> list[object]:
        """Those that answer RPCs."""
        stores = [self.blobs, self.mounts, self.images, self.secrets, self.volumes, self.queues]
        return [self.apps, self.functions, *stores]

    def launch(self, pool: Pool) -> Container:
        """Start a container in the background."""
        container = Container(self, pool)
        self._in_background(container.run())
        return container

    def record(self, event: str, container: Container, **details: Any) -> None:
        """Note what happened to a container."""
        function = container.pool.definition.function_name
        about = {"event": event, "task_id": container.id, "function": function, "time": time.time()}
        self.events.append(about | details)

    def containers(self) -> list[Container]:
        """Return all containers that live."""
        return [each for pool in self.functions.pools.values() for each in pool.containers]

    async def start(self) -> None:
        """Serve blobs and blocks over HTTP."""
        app = web.Application(client_max_size=2**32)
        app.add_routes([*self.blobs.routes(), *self.volumes.routes()])
        self._http = web.AppRunner(app)
        await self._http.setup()
        await web.TCPSite(self._http, "127.0.0.1", 0).start()
        self.blobs.url = f"http://127.0.0.1:{self._http.addresses[0][1]}"

    async def stop(self) -> None:
        """End all containers, and wait until they are gone."""
        for app in self.apps.apps.values():
            app.stop()
        for container in self.containers():
            container.kill("stopped")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=4)
        if self._http is not None:
            await self._http.cleanup()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
