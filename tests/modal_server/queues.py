"""Queues, with partitions and a limit on how many values wait in each."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

from grpclib import Status

from modal_server.bell import Bell
from modal_server.names import Names
from modal_server.protocol import Empty, new_id, pb, refuse


class Queue:
    """One queue: values in order, per partition."""

    def __init__(self) -> None:
        """Start empty."""
        self.partitions: defaultdict[bytes, deque[tuple[int, bytes]]] = defaultdict(deque)
        self.entries = 0
        self._bell = Bell()

    def put(self, partition: bytes, values: list[bytes]) -> None:
        """Add the values and wake whoever waits for one."""
        for value in values:
            self.entries += 1
            self.partitions[partition].append((self.entries, value))
        self._bell.ring()

    async def get(self, partition: bytes, count: int, seconds: float) -> list[bytes]:
        """Remove up to `count` values, waiting for the first one."""
        waiting = self.partitions[partition]
        await self._bell.wait_until(lambda: bool(waiting), seconds)
        return [waiting.popleft()[1] for _ in range(min(count, len(waiting)))]

    async def after(self, partition: bytes, entry: int, seconds: float) -> list[tuple[int, bytes]]:
        """Return the values behind an entry, without removing any."""

        def rest() -> list[tuple[int, bytes]]:
            return [item for item in self.partitions[partition] if item[0] > entry]

        await self._bell.wait_until(lambda: bool(rest()), seconds)
        return rest()


class Queues:
    """Answers the RPCs about queues."""

    def __init__(self, names: Names, limit: int) -> None:
        """Hold at most `limit` values in a partition."""
        self._names = names
        self._queues: dict[str, Queue] = {}
        self.limit = limit

    def queue_get_or_create(self, request: Any) -> Any:
        """Find a queue by name, or make one."""
        queue_id = self._names.find_or_make("Queue", request, self._make)
        metadata = pb.QueueMetadata(name=request.deployment_name)
        return pb.QueueGetOrCreateResponse(queue_id=queue_id, metadata=metadata)

    def _make(self) -> str:
        queue_id = new_id("qu")
        self._queues[queue_id] = Queue()
        return queue_id

    def queue_heartbeat(self, _request: Any) -> Any:
        """Keep an ephemeral queue: here they all stay until the server ends."""
        return Empty()

    def queue_put(self, request: Any) -> Any:
        """Add values, or say that the partition is full: the client then tries again until its time is up."""
        queue = self._queues[request.queue_id]
        if len(queue.partitions[request.partition_key]) + len(request.values) > self.limit:
            refuse(Status.RESOURCE_EXHAUSTED, f"Queue partition is full: it holds {self.limit} items at most")
        queue.put(request.partition_key, list(request.values))
        return Empty()

    async def queue_get(self, request: Any) -> Any:
        """Remove the next values of a partition."""
        queue = self._queues[request.queue_id]
        values = await queue.get(request.partition_key, request.n_values or 1, request.timeout)
        return pb.QueueGetResponse(values=values)

    async def queue_next_items(self, request: Any) -> Any:
        """Read values without removing them."""
        queue, last = self._queues[request.queue_id], int(request.last_entry_id or 0)
        found = await queue.after(request.partition_key, last, request.item_poll_timeout)
        items = [pb.QueueItem(value=value, entry_id=str(entry)) for entry, value in found]
        return pb.QueueNextItemsResponse(items=items)

    def queue_len(self, request: Any) -> Any:
        """Count the values of a partition, or of all."""
        partitions = self._queues[request.queue_id].partitions
        counted = list(partitions) if request.total else [request.partition_key]
        return pb.QueueLenResponse(len=sum(len(partitions[key]) for key in counted))

    def queue_clear(self, request: Any) -> Any:
        """Empty a partition, or all."""
        partitions = self._queues[request.queue_id].partitions
        chosen = list(partitions) if request.all_partitions else [request.partition_key]
        for key in chosen:
            partitions[key].clear()
        return Empty()
