"""Small helpers around Modal's protobuf messages: ids, results, refusals and fields that may not exist."""

from __future__ import annotations

import uuid
from typing import Any, NoReturn

from google.protobuf import empty_pb2  # type: ignore[import-untyped,unused-ignore]
from grpclib import GRPCError, Status
from modal_proto import api_pb2

pb: Any = api_pb2
"""Modal's messages: as Any, since their fields differ between releases."""

Empty: Any = empty_pb2.Empty

ENVIRONMENT = "main"


def new_id(prefix: str) -> str:
    """Return a fresh id in Modal's style, such as ``fu-0123456789abcdef``."""
    return f"{prefix}-{uuid.uuid4().hex[:16]}"


def message(kind: Any, **fields: Any) -> Any:
    """Build a message of what the installed client knows: releases of modal differ by single fields."""
    known = kind.DESCRIPTOR.fields_by_name
    return kind(**{name: value for name, value in fields.items() if name in known})


def refuse(status: Status, text: str) -> NoReturn:
    """End the current RPC with an error, which the client raises as its own exception."""
    raise GRPCError(status, text)


def success() -> Any:
    """Return the result of something that worked."""
    return pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)


def failure(text: str, exit_code: int = 1) -> Any:
    """Return the result of an input that failed outside of the user's code."""
    status = pb.GenericResult.GENERIC_STATUS_FAILURE
    return pb.GenericResult(status=status, exception=text, exitcode=exit_code)


def timed_out(input_id: str, seconds: int) -> Any:
    """Return the result of an input that ran for too long."""
    text = f"Task's current input {input_id} hit its timeout of {seconds}s"
    return pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_TIMEOUT, exception=text)


def terminated(text: str) -> Any:
    """Return the result of an input that somebody cancelled."""
    return pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_TERMINATED, exception=text)
