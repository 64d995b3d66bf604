"""What an attempt took: processor time, memory, memory of GPUs."""

from __future__ import annotations

import sys
from typing import Any

from pytest_exprunner._util.serialization import Plain

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

_KILO = 1 if sys.platform == "darwin" else 1024
"""What a unit of the peak is, in bytes."""


class Usage:
    """Counts from when it is made."""

    def __init__(self) -> None:
        """Begin."""
        self._began = _processor_seconds()
        cuda = _cuda()
        if cuda is not None:
            for device in range(cuda.device_count()):
                cuda.reset_peak_memory_stats(device)

    def so_far(self) -> dict[str, Plain]:
        """Return seconds of processor time, children included, and peaks in bytes.

        The peak of memory is that of the process, which may have run other things before.
        """
        found: dict[str, Plain] = {}
        if resource is not None:
            found["cpu_s"] = round(_processor_seconds() - self._began, 6)
            found["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KILO
        cuda = _cuda()
        if cuda is not None:
            peaks = [cuda.max_memory_allocated(device) for device in range(cuda.device_count())]
            found["peak_gpu_bytes"] = [int(peak) for peak in peaks]
        return found


def _processor_seconds() -> float:
    if resource is None:
        return 0.0
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def _cuda() -> Any:
    """Return torch's view of CUDA if a handler has used it; never begins to use it."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    try:
        return cuda if cuda is not None and cuda.is_initialized() else None
    except Exception:  # noqa: BLE001 - torch may be half imported
        return None
