"""A local stand-in for Modal's control plane, for tests.

The real ``modal`` client talks to it, and every input is run by Modal's real container runtime in a child
process of this machine. Image builds and GPUs are recorded, not made.
"""

from __future__ import annotations

from modal_server.functions import FunctionInfo
from modal_server.server import ContainerInfo, ModalServer

__all__ = ["ContainerInfo", "FunctionInfo", "ModalServer"]
