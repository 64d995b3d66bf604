"""One thing that an audit reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AuditKind(StrEnum):
    """Whether an entry fails an audit."""

    CHANGED = "changed"
    """What decides, or a record, changed after there was a result."""
    NOTE = "note"
    """Disclosed only: kept, signed or claimed."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that a reader should know."""

    experiment: str
    kind: AuditKind
    text: str
