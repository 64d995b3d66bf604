"""What a run was asked to execute, and what its processes share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.model.attempt import label


@dataclass(frozen=True, slots=True)
class Selected:
    """One thing that a run was asked to execute."""

    experiment: str
    sub_experiment: str
    variant: str | None
    seed: int | None
    nodeid: str
    variants: tuple[str | None, ...] = (None,)

    @property
    def slot(self) -> tuple[str, str | None, int | None]:
        """(sub-experiment, variant, seed)."""
        return (self.sub_experiment, self.variant, self.seed)

    @property
    def label(self) -> str:
        """``e_p2_1[lr=0.1]``."""
        return label(*self.slot)


@dataclass(frozen=True, slots=True)
class SharedRun:
    """What the processes of a parallel run have in common."""

    run: str
    provenance: Mapping[str, Plain]
