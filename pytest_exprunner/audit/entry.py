"""One thing that an audit tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["moved", "told"]
"""``moved``: what decides, or a record, is not what it was. ``told``: kept, signed or claimed."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that a reader should know."""

    experiment: str
    kind: Kind
    text: str
