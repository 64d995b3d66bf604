"""One container: a process of Modal's own runtime, and what it and the server say to each other."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import TYPE_CHECKING, Any

import psutil
from grpclib import Status

from modal_server import filesystem, protocol
from modal_server.bell import Bell
from modal_server.filesystem import Layout
from modal_server.protocol import ENVIRONMENT, Empty, new_id, pb, refuse
from modal_server.rpc import Dispatcher, Listener
from modal_server.volumes import PrivateCopy

if TYPE_CHECKING:
    from modal_server.platform import Platform
    from modal_server.pools import Input, Pool

RUNTIME = [sys.executable, "-m", "modal._container_entrypoint"]

HEARTBEAT = 10
"""Seconds between heartbeats; each waits nearly as long for a cancellation, so that one arrives at once."""

STOPPING = 2.0
"""Seconds that a container has to leave when its app ends."""

KILLED = 128 + signal.SIGKILL


class Container:
    """A process that takes inputs from its pool until it is idle for too long, told to leave, or dead."""

    def __init__(self, platform: Platform, pool: Pool) -> None:
        """Start in the background: `run` does the work."""
        self.platform = platform
        self.pool = pool
        self.id = new_id("ta")
        self.folder = platform.state / "containers" / self.id
        self.inflight: dict[str, Input] = {}
        self.leaving = False
        self.reason = ""
        """Why the server ended it: preempted, cancelled, stopped, timeout; empty where it ended by itself."""
        self.start_error: Any = None
        self.volumes: dict[str, PrivateCopy] = {}
        self.bell = Bell()
        self._cancelled: list[str] = []
        self._took_input = False
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Live from the start of the process to the last word about its inputs."""
        listener = Listener(Dispatcher([ContainerSide(self), *self.platform.services], lambda _: None, {}))
        socket = self.platform.sockets / self.id
        exit_code = 1
        try:
            layout = await asyncio.to_thread(self._lay_out)
            await listener.start(path=str(socket))
            exit_code = await self._run_process(layout, str(socket))
        except Exception as error:  # noqa: BLE001 - whatever it is, the client has to hear about it
            self.start_error = protocol.failure(f"modal_server could not start a container: {error!r}")
        finally:
            listener.hang_up()
            socket.unlink(missing_ok=True)
        self.leaving = True
        self.pool.containers.discard(self)
        self.platform.record("exit", self, exit_code=exit_code, reason=self.reason)
        self._settle(exit_code)
        await asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True)
        self.pool.app.bell.ring()

    @property
    def pid(self) -> int | None:
        """The runtime's process id on this machine, once it runs."""
        # unshare starts the namespace's shell, which starts the runtime.
        try:
            shell = psutil.Process(self._process.pid).children()[0] if self._process else None
            runtime = shell.children()[0] if shell else None
        except (psutil.NoSuchProcess, IndexError):
            return None
        return runtime.pid if runtime else None

    def signal(self, number: int) -> None:
        """Send a signal to the runtime; SIGKILL also reaches a container that is still being set up."""
        pid = self.pid
        with contextlib.suppress(ProcessLookupError):
            if pid is not None:
                psutil.Process(pid).send_signal(number)
            elif number == signal.SIGKILL and self._process is not None:
                self._process.kill()

    def kill(self, reason: str = "") -> None:
        """End the container and everything that it started."""
        self.leaving = True
        self.reason = self.reason or reason
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.kill()

    def preempt(self, grace: float) -> None:
        """Interrupt the user's code, wait, and kill; the inputs are run again elsewhere."""
        self._interrupt("preempted", grace)

    def stop(self) -> None:
        """End with the app: at once where it is idle, else by an interrupt."""
        self.leaving = True
        if self.inflight:
            self._interrupt("stopped", STOPPING)
        else:
            asyncio.get_running_loop().call_later(STOPPING, self.kill, "stopped")

    def cancel_input(self, item: Input) -> None:
        """Have the runtime raise InputCancellation in the user's code."""
        self._cancelled.append(item.id)
        self.bell.ring()

    def time_out(self, item: Input) -> None:
        """Cancel an input that runs for too long; kill if that does not help."""
        item.timed_out = True
        result = protocol.timed_out(item.id, self.pool.definition.timeout_secs)
        self._log(f"{result.exception}\n", pb.FILE_DESCRIPTOR_STDERR)
        self.cancel_input(item)
        grace = self.platform.grace
        item.timer = asyncio.get_running_loop().call_later(grace, self.kill, "timeout")

    async def next_cancellations(self) -> list[str]:
        """Wait, as long as a heartbeat may, for inputs that have to be cancelled."""
        await self.bell.wait_until(lambda: bool(self._cancelled), HEARTBEAT - 0.5)
        cancelled, self._cancelled = self._cancelled, []
        return cancelled

    async def take_inputs(self, count: int) -> list[Input]:
        """Wait for inputs from the pool; none means that it is time to leave."""
        self._took_input = True
        return await self.pool.take(self, count)

    def _interrupt(self, reason: str, grace: float) -> None:
        self.leaving = True
        self.reason = self.reason or reason
        self.signal(signal.SIGINT)
        asyncio.get_running_loop().call_later(grace, self.kill)

    def _lay_out(self) -> Layout:
        """Collect the files and variables of the image, the mounts, the secrets and the volumes."""
        platform, definition = self.platform, self.pool.definition
        layout = Layout(self.folder / "layer")
        (layout.layer / "root").mkdir(parents=True)
        layout.add_image(platform.images, platform.mounts, definition.image_id)
        for mount_id in definition.mount_ids:
            layout.add_mount(platform.mounts, mount_id)
        layout.environment.update(platform.secrets.variables(list(definition.secret_ids)))
        for mount in definition.volume_mounts:
            private = self.folder / "volumes" / new_id("copy")
            private.parent.mkdir(exist_ok=True)
            copy = PrivateCopy(platform.volumes, mount.volume_id, private, mount.sub_path)
            self.volumes[mount.volume_id] = copy
            layout.binds.append((private, mount.mount_path, mount.read_only))
        return layout

    async def _run_process(self, layout: Layout, socket: str) -> int:
        if not self.platform.isolated:
            raise RuntimeError("this machine does not allow unshare, overlay mounts and chroot")
        process = self._process = await asyncio.create_subprocess_exec(
            *filesystem.command(layout, self.platform.state, RUNTIME),
            env=self._environment(layout, socket),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            start_new_session=True,
        )
        self.platform.record("start", self)
        if self.leaving:
            process.kill()
        await asyncio.gather(
            self._pump(process.stdout, pb.FILE_DESCRIPTOR_STDOUT),
            self._pump(process.stderr, pb.FILE_DESCRIPTOR_STDERR),
        )
        code = await process.wait()
        return KILLED if code == -signal.SIGKILL else code

    def _environment(self, layout: Layout, socket: str) -> dict[str, str]:
        arguments = self.folder / "arguments"
        arguments.write_bytes(self._arguments().SerializeToString())
        path = ["/root", *filter(None, [layout.environment.get("PYTHONPATH")])]
        return {
            **filesystem.base_environment(),
            **self.platform.container_environment,
            **layout.environment,
            "PYTHONPATH": ":".join(path),
            "MODAL_SERVER_URL": f"unix://{socket}",
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(arguments),
            "MODAL_TASK_ID": self.id,
            "MODAL_IMAGE_ID": self.pool.definition.image_id,
            "MODAL_ENVIRONMENT": ENVIRONMENT,
            "MODAL_IS_REMOTE": "1",
            "MODAL_REGION": "local",
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOCAL",
            "MODAL_HEARTBEAT_INTERVAL": str(HEARTBEAT),
        }

    def _arguments(self) -> Any:
        return pb.ContainerArguments(
            task_id=self.id,
            function_id=self.pool.id,
            app_id=self.pool.app.id,
            function_def=self.pool.definition,
            environment_name=ENVIRONMENT,
            app_layout=self.platform.apps.layout(self.pool.app),
        )

    async def _pump(self, stream: asyncio.StreamReader | None, number: int) -> None:
        assert stream is not None
        while data := await stream.read(65536):
            self._log(data.decode(errors="replace"), number)

    def _log(self, text: str, stream: int) -> None:
        self.pool.app.log(self.pool, self.id, text, stream)

    def _settle(self, exit_code: int) -> None:
        """Decide what becomes of the inputs that were not answered."""
        pool = self.pool
        if self.start_error is None and not self._took_input and not self.reason:
            pool.failed_starts += 1
            if pool.failed_starts > self.platform.crash_retries:
                self.start_error = protocol.failure(f"Runner failed with exit code: {exit_code}", exit_code)
        for item in list(self.inflight.values()):
            self._settle_input(item, exit_code)
        if self.start_error is not None:
            pool.fail_waiting(self.start_error)
        pool.scale()

    def _settle_input(self, item: Input, exit_code: int) -> None:
        pool = self.pool
        if item.timed_out:
            pool.finish(item, protocol.timed_out(item.id, pool.definition.timeout_secs))
        elif item.call.cancelled or self.reason == "stopped":
            pool.finish(item, protocol.terminated("Function call was terminated"))
        elif self.start_error is not None:
            pool.finish(item, self.start_error)
        elif self.reason or item.crashes < self.platform.crash_retries:
            # A container that the server took away is no crash: such inputs are always run again.
            item.crashes += 0 if self.reason else 1
            pool.release(item)
            pool.submit(item, first=True)
        else:
            pool.finish(item, protocol.failure(f"Runner failed with exit code: {exit_code}", exit_code))


class ContainerSide:
    """Answers the RPCs that only a container sends; each container has one, on a socket of its own."""

    def __init__(self, container: Container) -> None:
        """Speak for one container."""
        self._container = container

    def container_hello(self, _request: Any) -> Any:
        """Let the runtime in."""
        return Empty()

    async def container_heartbeat(self, _request: Any) -> Any:
        """Tell the runtime which inputs to cancel, as soon as there are any."""
        ids = await self._container.next_cancellations()
        event = pb.CancelInputEvent(input_ids=ids) if ids else None
        return pb.ContainerHeartbeatResponse(cancel_input_event=event)

    async def function_get_inputs(self, request: Any) -> Any:
        """Hand out inputs, or tell the container to leave when it has nothing left to do."""
        container = self._container
        taken = await container.take_inputs(max(1, request.batch_max_size))
        if taken:
            return pb.FunctionGetInputsResponse(inputs=[_delivery(item) for item in taken])
        leave = [] if container.inflight else [pb.FunctionGetInputsItem(kill_switch=True)]
        return pb.FunctionGetInputsResponse(inputs=leave)

    def function_put_outputs(self, request: Any) -> Any:
        """Take outputs, save for those of an attempt that was given up already."""
        for output in request.outputs:
            item = self._container.inflight.get(output.input_id)
            if item is not None and item.retries == output.retry_count:
                self._container.pool.finish(item, output.result, output)
        return Empty()

    def task_result(self, request: Any) -> Any:
        """Remember why the container could not start, such as an import that failed."""
        self._container.start_error = request.result
        return Empty()

    def container_stop(self, _request: Any) -> Any:
        """Send the container no more inputs."""
        self._container.leaving = True
        return pb.ContainerStopResponse()

    async def volume_commit(self, request: Any) -> Any:
        """Show the container's changes to everybody."""
        await asyncio.to_thread(self._copy(request.volume_id).commit)
        return pb.VolumeCommitResponse(skip_reload=False)

    async def volume_reload(self, request: Any) -> Any:
        """Show everybody's commits to the container."""
        await asyncio.to_thread(self._copy(request.volume_id).reload)
        return Empty()

    def _copy(self, volume_id: str) -> PrivateCopy:
        if volume_id not in self._container.volumes:
            refuse(Status.NOT_FOUND, f"Volume {volume_id} is not mounted in this container")
        return self._container.volumes[volume_id]


def _delivery(item: Input) -> Any:
    return pb.FunctionGetInputsItem(
        input_id=item.id,
        input=item.content,
        function_call_id=item.call.id,
        function_call_invocation_type=item.call.kind,
        function_map_idx=item.index,
        retry_count=item.retries,
    )
