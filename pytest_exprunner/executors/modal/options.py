"""Translates a sub-experiment's resources into Modal options, and bounds their GPU-hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pytest_exprunner._util.errors import count
from pytest_exprunner.plan.compute import Modal, Resources

LONGEST = 24 * 3600
"""Longest timeout that Modal allows, in seconds."""
GRACE = 600
"""Seconds added to the handler's limit, which the container enforces: for imports before, files after."""


def asked(
    resources: Resources, limit: float | None, settings: Modal, *, stub: bool = False
) -> dict[str, Any]:
    """Return the Modal options of a sub-experiment; ``limit`` is the handler's time limit in seconds.

    A ``stub`` run calls no handler, so it needs no GPU.
    """
    options: dict[str, Any] = {}
    if (resources.gpu or resources.gpu_type) and not stub:
        kind, number = resources.gpu_type or settings.gpu or "ANY", max(resources.gpu, 1)
        options["gpu"] = f"{kind}:{number}" if number > 1 else kind
    options["cpu"] = resources.cpu or settings.cpu
    options["memory"] = resources.memory or settings.memory
    limit = limit or settings.timeout
    options["timeout"] = min(int(limit) + GRACE, LONGEST) if limit else None
    return {name: value for name, value in options.items() if value}


def in_words(options: Mapping[str, Any]) -> str:
    """Return the options as text: ``H100:2, 4 cores, 2048 MiB, at most 2.5 min``."""
    parts = [
        options.get("gpu", "no GPU"),
        f"{options['cpu']:g} cores" if "cpu" in options else "",
        f"{options['memory']} MiB" if "memory" in options else "",
        f"at most {_duration(options.get('timeout', LONGEST))}",
    ]
    return ", ".join(part for part in parts if part)


def bound(asked_for: Iterable[Mapping[str, Any]]) -> str:
    """Return the most GPU-hours that attempts can take, by GPU type, if each runs once."""
    hours: dict[str, float] = {}
    unlimited = 0
    for options in asked_for:
        if "gpu" in options:
            kind, _, number = options["gpu"].partition(":")
            hours[kind] = hours.get(kind, 0.0) + int(number or 1) * options.get("timeout", LONGEST) / 3600
            unlimited += "timeout" not in options
    if not hours:
        return "no GPU requested"
    by_type = ", ".join(f"{kind} {value:.3g}" for kind, value in sorted(hours.items()))
    text = f"at most {sum(hours.values()):.3g} GPU-hours ({by_type}), without retries by Modal"
    if unlimited:
        text += f"; each without a time limit counts as 24 h ({count(unlimited, 'sub-experiment')})"
    return text


def _duration(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min"
