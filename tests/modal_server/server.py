"""`ModalServer`: the stand-in in a thread of its own, with switches for the faults that tests want."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from grpclib import GRPCError, Status

from modal_server.containers import Container
from modal_server.functions import FunctionInfo, gpu_text
from modal_server.platform import Platform
from modal_server.rpc import Dispatcher, Listener

T = TypeVar("T")

EVERY_RPC = "*"


@dataclass(frozen=True)
class ContainerInfo:
    """A container that lives."""

    task_id: str
    pid: int | None
    """Of the runtime's process on this machine; None while the container is being set up."""
    function: str
    gpu: str
    call_ids: tuple[str, ...]
    input_ids: tuple[str, ...]


class ModalServer:
    """A local stand-in for Modal's control plane. Every public method may be called from any thread."""

    def __init__(
        self,
        state: str | Path | None = None,
        *,
        port: int = 0,
        idle: float = 3.0,
        grace: float = 5.0,
        crash_retries: int = 0,
        max_containers: int = 8,
        queue_limit: int = 5000,
        container_environment: dict[str, str] | None = None,
    ) -> None:
        """Prepare a server.

        `idle`: seconds after which a container without work leaves. `grace`: seconds between the soft and
        the hard end of an input that timed out. `crash_retries`: how often an input whose container died is
        run again. `max_containers`: per function and set of options. `queue_limit`: values in a queue's
        partition. `container_environment`: further variables for every container.
        """
        # Paths of sockets have to be short, whatever the state folder is.
        self._temporary = Path(tempfile.mkdtemp(prefix="modal-", dir="/tmp"))
        self.state = Path(state).resolve() if state else self._temporary / "state"
        self._port = port
        self._platform = Platform(
            state=self.state,
            sockets=self._temporary,
            idle=idle,
            grace=grace,
            crash_retries=crash_retries,
            max_containers=max_containers,
            queue_limit=queue_limit,
            container_environment=container_environment or {},
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="modal-server", daemon=True)
        self._listener: Listener | None = None
        self._answers: dict[str, Any] = {}
        self._refusals: dict[str, tuple[Status, str]] = {}
        self.calls: list[str] = []
        """The names of the RPCs that clients (not containers) sent."""

    def start(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        self._wait(self._platform.start())
        self.resume()
        return self

    def stop(self) -> None:
        """End all containers, close the port and remove the temporary files."""
        if not self._thread.is_alive():
            return
        self.pause()
        self._wait(self._shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
        self._loop.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def url(self) -> str:
        """What MODAL_SERVER_URL has to be."""
        return f"http://127.0.0.1:{self._port}"

    def environment(self) -> dict[str, str]:
        """Return the variables that a client's process needs."""
        return {
            "MODAL_SERVER_URL": self.url,
            "MODAL_TOKEN_ID": "ak-local",
            "MODAL_TOKEN_SECRET": "as-local",
            "MODAL_CONFIG_PATH": str(self.state / "no-modal-configuration.toml"),
            "MODAL_ENVIRONMENT": "main",
        }

    # What happened

    @property
    def isolated(self) -> bool:
        """Whether this machine can give containers their own file system; without it none can start."""
        return self._platform.isolated

    @property
    def events(self) -> list[dict[str, Any]]:
        """Starts and exits: event, task_id, function, time and, for exits, exit_code and reason."""
        return list(self._platform.events)

    @property
    def functions(self) -> list[FunctionInfo]:
        """The functions that were created, option sets included, in order."""
        return list(self._platform.functions.infos)

    @property
    def images(self) -> dict[str, list[str]]:
        """The Dockerfile commands of every image by its id."""
        definitions = self._platform.images.definitions
        return {key: list(image.dockerfile_commands) for key, image in definitions.items()}

    def containers(self) -> list[ContainerInfo]:
        """Return the containers that live."""
        return self._on_loop(lambda: [_container_info(each) for each in self._platform.containers()])

    # What tests set

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        """The variables of named secrets: add to it what `Secret.from_name` shall find."""
        return self._platform.secrets.named

    @property
    def gpus(self) -> set[str]:
        """The GPU types that functions may ask for."""
        return self._platform.gpus

    @property
    def volume_limit(self) -> int | None:
        """The bytes that a volume may hold: a commit of more fails. None is no limit."""
        return self._platform.volumes.limit

    @volume_limit.setter
    def volume_limit(self, size: int | None) -> None:
        self._platform.volumes.limit = size

    @property
    def queue_limit(self) -> int:
        """How many values a queue's partition may hold."""
        return self._platform.queues.limit

    @queue_limit.setter
    def queue_limit(self, count: int) -> None:
        self._platform.queues.limit = count

    @property
    def crash_retries(self) -> int:
        """How often an input whose container died is run again."""
        return self._platform.crash_retries

    @crash_retries.setter
    def crash_retries(self, count: int) -> None:
        self._platform.crash_retries = count

    # Faults

    def kill(self, task_id: str | None = None, number: int = signal.SIGKILL) -> list[str]:
        """Send a signal to a container's runtime, or to those of all busy ones; return their task ids."""
        return self._for_each(task_id, lambda container: container.signal(number))

    def preempt(self, task_id: str | None = None, *, grace: float = 5.0) -> list[str]:
        """Take a container or all busy ones away: SIGINT, grace, SIGKILL. The inputs are run again."""
        return self._for_each(task_id, lambda container: container.preempt(grace))

    def refuse_tokens(self, message: str = "Token is invalid") -> None:
        """Answer every RPC of a client with an authentication error."""
        self._refusals[EVERY_RPC] = (Status.UNAUTHENTICATED, message)

    def refuse_functions(self, status: Status, message: str, *, rpc: str = "FunctionCreate") -> None:
        """Refuse to create functions or, with another RPC's name (as FunctionMap), to call them."""
        self._refusals[rpc] = (status, message)

    def accept(self) -> None:
        """End all refusals."""
        self._refusals.clear()

    def pause(self) -> None:
        """Vanish from the network: refuse and drop the connections of clients. Containers go on."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._on_loop(listener.hang_up)

    def resume(self) -> None:
        """Come back on the same port."""
        if self._listener is None:
            self._wait(self._listen())

    @contextlib.contextmanager
    def unreachable(self) -> Iterator[None]:
        """Be away from the network for a while."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    async def _shut_down(self) -> None:
        await self._platform.stop()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        await self._loop.shutdown_default_executor()

    async def _listen(self) -> None:
        listener = Listener(Dispatcher(self._platform.services, self._check, self._answers))
        await listener.start("127.0.0.1", self._port)
        self._port, self._listener = listener.port, listener

    def _check(self, rpc: str) -> None:
        self.calls.append(rpc)
        refusal = self._refusals.get(EVERY_RPC) or self._refusals.get(rpc)
        if refusal is not None:
            raise GRPCError(*refusal)

    def _for_each(self, task_id: str | None, act: Callable[[Container], None]) -> list[str]:
        def chosen() -> list[str]:
            living = self._platform.containers()
            hit = [c for c in living if (bool(c.inflight) if task_id is None else c.id == task_id)]
            for container in hit:
                act(container)
            return [container.id for container in hit]

        return self._on_loop(chosen)

    def _on_loop(self, work: Callable[[], T]) -> T:
        async def run() -> T:
            return work()

        return self._wait(run())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=20)


def _container_info(container: Container) -> ContainerInfo:
    inputs = list(container.inflight.values())
    return ContainerInfo(
        task_id=container.id,
        pid=container.pid,
        function=container.pool.definition.function_name,
        gpu=gpu_text(container.pool.definition),
        call_ids=tuple(each.call.id for each in inputs),
        input_ids=tuple(each.id for each in inputs),
    )
