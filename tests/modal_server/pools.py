"""Inputs, calls, and the pool of containers that each function (with its options) has."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modal_server import protocol
from modal_server.bell import Bell
from modal_server.protocol import new_id, pb

if TYPE_CHECKING:
    from modal_server.apps import App
    from modal_server.containers import Container
    from modal_server.platform import Platform

FAILED = (pb.GenericResult.GENERIC_STATUS_FAILURE, pb.GenericResult.GENERIC_STATUS_TIMEOUT)


@dataclass(eq=False)
class Input:
    """One set of arguments that a function has to be called with."""

    call: Call
    index: int
    content: Any
    id: str = field(default_factory=lambda: new_id("in"))
    retries: int = 0
    crashes: int = 0
    started: float = 0.0
    timed_out: bool = False
    done: bool = False
    container: Container | None = None
    timer: asyncio.TimerHandle | None = None


class Call:
    """What the client holds as a ``FunctionCall``: inputs, and their outputs as they come."""

    def __init__(self, pool: Pool, kind: int) -> None:
        """Start without inputs; `kind` is passed on to the container."""
        self.id = new_id("fc")
        self.pool = pool
        self.kind = kind
        self.inputs: dict[int, Input] = {}
        self.outputs: dict[int, Any] = {}
        self.cancelled = False
        self.bell = Bell()

    def add(self, item: Any) -> Input:
        """Take an input and put it into the pool's queue."""
        added = Input(self, item.idx, item.input)
        self.inputs[item.idx] = added
        self.pool.submit(added)
        return added

    def unfinished(self) -> list[Input]:
        """Return the inputs without an output."""
        return [each for each in self.inputs.values() if not each.done]

    def cancel(self, *, kill: bool) -> None:
        """Cancel what is unfinished: softly, in the user's code, or by killing the containers."""
        self.cancelled = True
        for each in self.unfinished():
            if each.container is None:
                self.pool.finish(each, protocol.terminated("Function call was cancelled"))
            elif kill:
                each.container.kill("cancelled")
            else:
                each.container.cancel_input(each)


class Pool:
    """The queue and the containers of one function with one set of options."""

    def __init__(
        self, platform: Platform, app: App, function_id: str, definition: Any, base: str = ""
    ) -> None:
        """Start idle; `base` is the id of the function that ``with_options`` was called on."""
        self.platform = platform
        self.app = app
        self.id = function_id
        self.definition = definition
        self.base = base
        self.queue: deque[Input] = deque()
        self.calls: list[Call] = []
        self.containers: set[Container] = set()
        self.variants: dict[bytes, Pool] = {}
        self.failed_starts = 0
        self.closed = False
        self.bell = Bell()

    def submit(self, item: Input, *, first: bool = False) -> None:
        """Queue an input, in front of all others where it had its turn already."""
        if item.done:
            return
        item.container, item.timed_out = None, False
        if first:
            self.queue.appendleft(item)
        else:
            self.queue.append(item)
        self.bell.ring()
        self.scale()

    def scale(self) -> None:
        """Start containers for the inputs that no idle one will take."""
        if self.closed:
            return
        slots = max(1, self.definition.max_concurrent_inputs)
        idle = sum(1 for c in self.containers if not c.leaving and len(c.inflight) < slots)
        wanted = -(-len(self.queue) // slots) - idle
        free = self._most_containers() - len(self.containers)
        for _ in range(max(0, min(wanted, free))):
            self.containers.add(self.platform.launch(self))

    async def take(self, container: Container, count: int) -> list[Input]:
        """Hand up to `count` inputs to a container, or none when it should leave."""
        patience = min(self._scaledown() or self.platform.idle, self.platform.idle)
        await self.bell.wait_until(lambda: bool(self.queue) or container.leaving or self.closed, patience)
        if container.leaving or self.closed or not self.queue:
            container.leaving = container.leaving or not container.inflight
            return []
        self.failed_starts = 0
        taken = [self.queue.popleft() for _ in range(min(count, len(self.queue)))]
        for item in taken:
            self._begin(item, container)
        # The runtime asks for no second input in these: it must not be counted as an idle container.
        container.leaving = self.definition.single_use_containers or self.definition.max_inputs == 1
        return taken

    def finish(self, item: Input, result: Any, reported: Any = None) -> None:
        """Give an input its output, or another try; `reported` is what the container said, if it did."""
        if item.done:
            return
        task_id = item.container.id if item.container else ""
        self.release(item)
        if item.timed_out:
            result = protocol.timed_out(item.id, self.definition.timeout_secs)
        if self._retry(item, result):
            return
        item.done = True
        item.call.outputs[item.index] = pb.FunctionGetOutputsItem(
            result=result,
            idx=item.index,
            input_id=item.id,
            data_format=reported.data_format if reported else pb.DATA_FORMAT_UNSPECIFIED,
            task_id=task_id,
            input_started_at=item.started,
            output_created_at=time.time(),
        )
        item.call.bell.ring()
        self.app.input_finished()

    def release(self, item: Input) -> None:
        """Take an input away from its container, or out of the queue."""
        if item.timer is not None:
            item.timer.cancel()
        if item.container is not None:
            item.container.inflight.pop(item.id, None)
        if item in self.queue:
            self.queue.remove(item)
        item.container = item.timer = None

    def fail_waiting(self, result: Any) -> None:
        """Answer all that waits with the reason why no container can start."""
        for item in list(self.queue):
            self.finish(item, result)

    def unfinished(self) -> list[Input]:
        """Return all inputs of all calls that have no output."""
        return [item for call in self.calls for item in call.unfinished()]

    def close(self) -> None:
        """End the work: what runs is interrupted, what waits is answered as terminated."""
        self.closed = True
        for item in self.unfinished():
            if item.container is None:
                self.finish(item, protocol.terminated("App was stopped"))
        for container in list(self.containers):
            container.stop()
        self.bell.ring()

    def retire(self, successor: Pool) -> None:
        """Pass the waiting inputs on to the pool of a newer definition; what runs may end."""
        for item in list(self.queue):
            self.release(item)
            item.call.pool = successor
            successor.submit(item)
        for container in self.containers:
            container.leaving = True
        self.bell.ring()

    def _most_containers(self) -> int:
        asked = self.definition.autoscaler_settings.max_containers or self.definition.concurrency_limit
        return min(asked or self.platform.max_containers, self.platform.max_containers)

    def _scaledown(self) -> int:
        asked = self.definition.autoscaler_settings.scaledown_window or self.definition.task_idle_timeout_secs
        return int(asked)

    def _begin(self, item: Input, container: Container) -> None:
        item.container, item.started = container, time.time()
        container.inflight[item.id] = item
        seconds = self.definition.timeout_secs
        if seconds:
            item.timer = asyncio.get_running_loop().call_later(seconds, container.time_out, item)

    def _retry(self, item: Input, result: Any) -> bool:
        """Run an input again later if the function's retry policy says so."""
        policy = self.definition.retry_policy
        given_up = self.closed or item.call.cancelled or item.retries >= policy.retries
        if given_up or result.status not in FAILED:
            return False
        delay = policy.initial_delay_ms * (policy.backoff_coefficient or 1.0) ** item.retries
        item.retries += 1
        seconds = min(delay, policy.max_delay_ms or delay) / 1000
        asyncio.get_running_loop().call_later(seconds, self.submit, item)
        return True
