"""What the process of a tracker is told first: light, since who leads a run imports it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class TrackerJob:
    """What to follow, and for which tracker."""

    name: str
    place: str
    plan_file: str
    root: str
    results_root: str
    branch: str
    run: str

    def dump(self) -> bytes:
        """Return it as a line."""
        return json.dumps(asdict(self)).encode() + b"\n"


def file_name(tracker: str) -> str:
    """Return a tracker's name as files may have it."""
    return re.sub(r"[^\w.-]", "-", tracker)
