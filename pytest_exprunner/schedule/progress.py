"""How far a running attempt is: a fold over the events of its journal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_exprunner._util.serialization import Plain, decode


@dataclass(frozen=True, slots=True)
class Progress:
    """What an attempt has reported so far. Times are seconds since 1970, UTC."""

    label: str
    began: float
    stage: str = ""
    stage_number: int | None = None
    stages: int | None = None
    since: float = 0.0
    """When what ``fraction`` is about began: the stage, or the attempt."""
    title: str = ""
    """What is iterated over with ``track``."""
    done: int | None = None
    total: int | None = None
    rate: float | None = None
    """Steps per second of what is iterated over."""
    told: float = 0.0
    """When progress was last reported."""
    fraction: float | None = None
    """From 0 to 1; None if it was not reported."""
    metrics: Mapping[str, Plain] = field(default_factory=dict)
    """The last row that was logged."""
    step: int | None = None

    def remaining(self, now: float) -> float | None:
        """Return the seconds that are probably left, or None if that is not known."""
        if self.total is not None and self.done is not None and self.rate:
            return max((self.total - self.done) / self.rate - (now - self.told), 0.0)
        spent = self.told - self.since
        if self.fraction and spent > 0:
            return max(spent * (1 - self.fraction) / self.fraction - (now - self.told), 0.0)
        return None


def after(progress: Progress, event: Mapping[str, Any]) -> Progress:
    """Return the progress after an event; other events leave it unchanged."""
    kind, time = event.get("event"), event.get("time")
    now = time if isinstance(time, float) else progress.began
    if kind == "metrics" and isinstance(event.get("metrics"), dict):
        return replace(progress, metrics=decode(event["metrics"]), step=_whole(event.get("step")))
    if kind == "stage":
        return Progress(
            progress.label,
            progress.began,
            stage=str(event.get("text", "")),
            stage_number=_whole(event.get("current")),
            stages=_whole(event.get("total")),
            since=now,
            metrics=progress.metrics,
            step=progress.step,
        )
    if kind == "track":
        return _tracked(progress, event, now)
    if kind == "progress":
        fraction = event.get("fraction")
        known = (
            min(max(fraction, 0.0), 1.0)
            if isinstance(fraction, int | float) and math.isfinite(fraction)
            else None
        )
        return replace(
            progress,
            fraction=known,
            told=now,
            since=progress.since or progress.began,
        )
    return progress


def _tracked(progress: Progress, event: Mapping[str, Any], now: float) -> Progress:
    done, total, seconds = _whole(event.get("done")), _whole(event.get("total")), event.get("seconds")
    rate = done / seconds if done and isinstance(seconds, float) and seconds > 0 else None
    return replace(
        progress,
        title=str(event.get("text", "")),
        done=done,
        total=total,
        rate=rate,
        told=now,
        fraction=min(max(done / total, 0.0), 1.0) if done is not None and total else None,
    )


def _whole(value: object) -> int | None:
    return value if type(value) is int else None
