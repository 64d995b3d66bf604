"""Objects that have a name: the protocol behind every ``from_name()`` of the client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpclib import Status

from modal_server.protocol import ENVIRONMENT, pb, refuse

NAMELESS = (pb.OBJECT_CREATION_TYPE_EPHEMERAL, pb.OBJECT_CREATION_TYPE_ANONYMOUS_OWNED_BY_APP)


class Names:
    """Which id a name stands for, per kind of object."""

    def __init__(self) -> None:
        """Start without any."""
        self._ids: dict[tuple[str, str], str] = {}

    def find(self, kind: str, name: str) -> str | None:
        """Return the id of a named object, or None."""
        return self._ids.get((kind, name))

    def give(self, kind: str, name: str, object_id: str) -> None:
        """Let a name stand for an object from now on."""
        self._ids[kind, name] = object_id

    def name_of(self, object_id: str) -> str:
        """Return the name of an object, or an empty text."""
        return next((name for (_, name), found in self._ids.items() if found == object_id), "")

    def find_or_make(self, kind: str, request: Any, make: Callable[[], str]) -> str:
        """Do what a ``...GetOrCreate`` request asks for, and return the object's id."""
        name, how = request.deployment_name, request.object_creation_type
        if not name or how in NAMELESS:
            return make()
        known = self.find(kind, name)
        if known is not None and how == pb.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS:
            refuse(Status.ALREADY_EXISTS, f"{kind} '{name}' already exists in environment '{ENVIRONMENT}'")
        if known is not None and how != pb.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            return known
        if how == pb.OBJECT_CREATION_TYPE_UNSPECIFIED:
            refuse(Status.NOT_FOUND, f"{kind} '{name}' not found in environment '{ENVIRONMENT}'")
        made = make()
        self.give(kind, name, made)
        return made
