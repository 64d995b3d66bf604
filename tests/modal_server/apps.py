"""Apps: what functions belong to, with the logs that the client prints."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from grpclib import Status

from modal_server.bell import Bell
from modal_server.pools import Pool
from modal_server.protocol import ENVIRONMENT, Empty, message, new_id, pb, refuse
from modal_server.storage import IMAGE_BUILDER

if TYPE_CHECKING:
    from modal_server.platform import Platform

GOES_ON_AFTER = (pb.APP_DISCONNECT_REASON_ENTRYPOINT_COMPLETED, pb.APP_DISCONNECT_REASON_KEYBOARD_INTERRUPT)
"""How a client may leave a detached app without ending it."""

TOKEN = "e30.eyJleHAiOjk5OTk5OTk5OTl9.x"
PAGE = "https://modal.invalid/apps/"


@dataclass(frozen=True)
class LogLine:
    """A piece of a container's output."""

    task_id: str
    function_id: str
    text: str
    stream: int
    time: float


class App:
    """One app: ephemeral, detached or deployed."""

    def __init__(self, name: str, state: int) -> None:
        """Start without functions."""
        self.id = new_id("ap")
        self.name = name
        self.state = state
        self.published: dict[str, str] = {}
        self.pools: dict[str, Pool] = {}
        self.logs: list[LogLine] = []
        self.bell = Bell()
        self.stopped = False
        self.abandoned = False
        """The client of a detached app left: it ends when its last input does."""

    def log(self, pool: Pool, task_id: str, text: str, stream: int) -> None:
        """Add a container's output."""
        self.logs.append(LogLine(task_id, pool.id, text, stream, time.time()))
        self.bell.ring()

    def has_news(self, position: int) -> bool:
        """Say whether there is anything to tell to a reader of the logs who is at this position."""
        return len(self.logs) > position or self.logs_complete()

    def logs_complete(self) -> bool:
        """Say whether nothing can write to the logs any more."""
        return self.stopped and not any(pool.containers for pool in self.pools.values())

    def stop(self) -> None:
        """End everything that belongs to the app."""
        self.stopped = True
        for pool in self.pools.values():
            pool.close()
        self.bell.ring()

    def input_finished(self) -> None:
        """End a detached app whose client left, once there is nothing more to do."""
        if self.abandoned and not self.stopped and not any(pool.unfinished() for pool in self.pools.values()):
            self.stop()


class Apps:
    """Answers the RPCs about apps, and those that open a client's session."""

    def __init__(self, platform: Platform) -> None:
        """Start without any app."""
        self._platform = platform
        self._names = platform.names
        self.apps: dict[str, App] = {}

    def client_hello(self, _request: Any) -> Any:
        """Let the client in."""
        return pb.ClientHelloResponse()

    def auth_token_get(self, _request: Any) -> Any:
        """Return a token that nothing looks at."""
        return pb.AuthTokenGetResponse(token=TOKEN)

    def environment_get_or_create(self, request: Any) -> Any:
        """Return the one environment there is."""
        settings = pb.EnvironmentSettings(image_builder_version=IMAGE_BUILDER)
        metadata = pb.EnvironmentMetadata(name=request.deployment_name or ENVIRONMENT, settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id="en-main", metadata=metadata)

    def app_create(self, request: Any) -> Any:
        """Make an app for a client that stays."""
        app = self._make(request.description, request.app_state)
        return pb.AppCreateResponse(app_id=app.id, app_page_url=PAGE + app.id, app_logs_url=PAGE + app.id)

    def app_get_or_create(self, request: Any) -> Any:
        """Find an app by name, or make it."""
        name, app_id = request.app_name, self._names.find("App", request.app_name)
        if app_id is None:
            if request.object_creation_type != pb.OBJECT_CREATION_TYPE_CREATE_IF_MISSING:
                refuse(Status.NOT_FOUND, f"App '{name}' not found in environment '{ENVIRONMENT}'")
            app_id = self._make(name, pb.APP_STATE_DEPLOYED).id
            self._names.give("App", name, app_id)
        return pb.AppGetOrCreateResponse(app_id=app_id)

    def app_get_by_deployment_name(self, request: Any) -> Any:
        """Return the id of a deployed app, or an empty one."""
        app_id = self._names.find("App", request.name) or ""
        return pb.AppGetByDeploymentNameResponse(app_id=app_id, environment_name=ENVIRONMENT)

    def app_get_layout(self, request: Any) -> Any:
        """Return what an app consists of."""
        return pb.AppGetLayoutResponse(app_layout=self.layout(self.apps[request.app_id]))

    def app_heartbeat(self, _request: Any) -> Any:
        """Take note of nothing: a client that vanishes leaves its app running here."""
        return Empty()

    def app_set_tags(self, _request: Any) -> Any:
        """Ignore tags."""
        return Empty()

    def app_publish(self, request: Any) -> Any:
        """Make an app's functions known; the name of a deployed one can be looked up from now on."""
        app = self.apps[request.app_id]
        app.state, app.published = request.app_state, dict(request.function_ids)
        if request.app_state == pb.APP_STATE_DEPLOYED:
            self._names.give("App", request.name, app.id)
        return message(pb.AppPublishResponse, url=PAGE + app.id, deployed_at=time.time())

    def app_client_disconnect(self, request: Any) -> Any:
        """End an app whose client leaves, unless it is deployed or detached."""
        app = self.apps[request.app_id]
        if app.state == pb.APP_STATE_DETACHED and request.reason in GOES_ON_AFTER:
            app.abandoned = True
            app.input_finished()
        elif app.state != pb.APP_STATE_DEPLOYED:
            app.stop()
        return Empty()

    def app_stop(self, request: Any) -> Any:
        """End an app."""
        self.apps[request.app_id].stop()
        return Empty()

    async def app_get_logs(self, request: Any) -> AsyncIterator[Any]:
        """Stream an app's logs from where the client stopped reading."""
        app, position = self.apps[request.app_id], int(request.last_entry_id or 0)
        until = time.time() + request.timeout
        while True:
            for line in app.logs[position:]:
                position += 1
                yield _log_batch(line, position)
            if app.logs_complete():
                yield pb.TaskLogsBatch(app_done=True)
                return
            if time.time() >= until:
                return
            await app.bell.wait_until(partial(app.has_news, position), until - time.time())

    def layout(self, app: App) -> Any:
        """Return an app's functions, and the objects that they depend on, by id."""
        pools = [self._platform.functions.pools[function_id] for function_id in app.pools]
        objects = [pb.Object(object_id=pool.id, function_handle_metadata=handle(pool)) for pool in pools]
        needed = {each.object_id for pool in pools for each in pool.definition.object_dependencies}
        for object_id in sorted(needed - app.pools.keys()):
            is_volume = object_id.startswith("vo-")
            metadata = {"volume_metadata": self._platform.volumes.metadata(object_id)} if is_volume else {}
            objects.append(pb.Object(object_id=object_id, **metadata))
        own = {pool.definition.function_name: pool.id for pool in pools if not pool.base}
        return pb.AppLayout(function_ids={**own, **app.published}, objects=objects)

    def _make(self, name: str, state: int) -> App:
        app = App(name, state)
        self.apps[app.id] = app
        return app


def handle(pool: Pool) -> Any:
    """Return what the client keeps about a function."""
    definition = pool.definition
    return message(
        pb.FunctionHandleMetadata,
        app_id=pool.app.id,
        definition_id=pool.id.replace("fu-", "de-", 1),
        function_name=definition.function_name,
        function_type=definition.function_type,
        function_schema=definition.function_schema,
        supported_input_formats=definition.supported_input_formats,
        supported_output_formats=definition.supported_output_formats,
    )


def _log_batch(line: LogLine, entry: int) -> Any:
    log = pb.TaskLogs(
        data=line.text,
        file_descriptor=line.stream,
        timestamp=line.time,
        timestamp_ns=int(line.time * 1e9),
    )
    return pb.TaskLogsBatch(
        task_id=line.task_id, function_id=line.function_id, entry_id=str(entry), items=[log]
    )
