"""From the name of an RPC to the method that answers it.

The handler of ``VolumeCommit`` is a method ``volume_commit(request)`` of the first service that has one. It
may return the answer, be a coroutine, or be an asynchronous generator of answers (a stream).
"""

from __future__ import annotations

import asyncio
import inspect
import re
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import grpclib.const
import grpclib.server
from grpclib import GRPCError, Status
from modal_proto import api_grpc

if TYPE_CHECKING:
    from grpclib.protocol import H2Protocol

Check = Callable[[str], None]

ANSWERED_ONCE = frozenset({"AppCreate", "FunctionMap", "QueuePut"})
"""RPCs that the client sends again, under the same key, when the connection broke before the answer came."""


def handler_name(rpc: str) -> str:
    """Return the method name of an RPC: ``VolumeGetFile2`` is answered by ``volume_get_file2``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()


class Dispatcher:
    """Answers all RPCs of one listener out of a list of services."""

    def __init__(self, services: Sequence[object], check: Check, answers: dict[str, Any]) -> None:
        """Ask the services in turn; `check` sees every name first, and may refuse."""
        self._services = services
        self._check = check
        self._answers = answers

    def __mapping__(self) -> dict[str, grpclib.const.Handler]:
        """Return grpclib's table of handlers: the stub's own, with the functions replaced."""
        table: dict[str, grpclib.const.Handler] = _stub().__mapping__()
        for path, handler in table.items():
            answer = self._answering(path.rpartition("/")[2])
            table[path] = grpclib.const.Handler(
                answer, handler.cardinality, handler.request_type, handler.reply_type
            )
        return table

    def _answering(self, rpc: str) -> Callable[[Any], Awaitable[None]]:
        name = handler_name(rpc)
        method = next((found for service in self._services if (found := getattr(service, name, None))), None)

        async def answer(stream: Any) -> None:
            request = await stream.recv_message()
            self._check(rpc)
            if method is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"modal_server does not implement {rpc}")
            try:
                await self._respond(rpc, method, request, stream)
            except (GRPCError, asyncio.CancelledError):
                raise
            except Exception as error:
                traceback.print_exc()
                # Not INTERNAL, which the client would try again until its patience ends.
                raise GRPCError(Status.FAILED_PRECONDITION, f"modal_server: {rpc}: {error!r}") from error

        return answer

    async def _respond(self, rpc: str, method: Callable[[Any], Any], request: Any, stream: Any) -> None:
        key = stream.metadata.get("x-idempotency-key") if rpc in ANSWERED_ONCE else None
        if key in self._answers:
            await stream.send_message(self._answers[key])
            return
        answer = method(request)
        if inspect.isasyncgen(answer):
            async for part in answer:
                await stream.send_message(part)
            return
        if inspect.isawaitable(answer):
            answer = await answer
        if key is not None:
            self._answers[key] = answer
        await stream.send_message(answer)


class Listener(grpclib.server.Server):
    """A gRPC server that can also drop the connections it has."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        """Serve what the dispatcher answers."""
        super().__init__([dispatcher])
        self._connections: list[H2Protocol] = []

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self._connections.append(protocol)
        return protocol

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        listening: Any = self._server
        return int(listening.sockets[0].getsockname()[1])

    def hang_up(self) -> None:
        """Stop listening and cut every connection, as a network that went away does."""
        if self._server is not None:
            self.close()
        for protocol in self._connections:
            connection = getattr(protocol, "connection", None)
            if connection is not None and hasattr(connection, "_transport"):
                connection._transport.abort()
        self._connections.clear()


def _stub() -> Any:
    """Return the base class of servers that modal ships, of which only the table of RPCs is of use."""
    concrete = dict.fromkeys(api_grpc.ModalClientBase.__abstractmethods__)
    return type("Stub", (api_grpc.ModalClientBase,), concrete)()
