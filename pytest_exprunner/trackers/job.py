"""The first message to a tracker's process. Imports little, because the controller imports it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class TrackerJob:
    """The run to follow, and the tracker that follows it."""

    name: str
    place: str
    plan_file: str
    root: str
    results_root: str
    branch: str
    run: str

    def dump(self) -> bytes:
        """Return the job as a line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"


def file_name(tracker: str) -> str:
    """Return a tracker's name in a form that is valid in file names."""
    return re.sub(r"[^\w.-]", "-", tracker)
