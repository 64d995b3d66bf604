"""Previews of artifacts in a report, as long as there is room for images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pytest_exprunner.model.attempt import AttemptKey, stays_inside
from pytest_exprunner.model.layout import ARTIFACTS, Layout, artifact_prefix
from pytest_exprunner.model.results import CurrentAttempt, SubState
from pytest_exprunner.report.html.previews import Preview, preview

_IMAGES = 20_000_000
"""Bytes of images in a page."""


class Pictures:
    """Previews of artifacts, as long as there is room for images."""

    def __init__(self, layout: Layout) -> None:
        """Start with all the room that a page has."""
        self.layout = layout
        self._left = _IMAGES

    def of(self, experiment: str, sub: SubState) -> Iterator[Preview]:
        """Yield the artifacts of the attempts that count."""
        for current in sub.currents:
            for artifact in current.record.artifacts:
                found = preview(
                    artifact, self._file(experiment, current, artifact.path), images_left=self._left
                )
                self._left -= len(found.image)
                yield replace(found, whose=current.label if len(sub.currents) > 1 else "")

    def _file(self, experiment: str, current: CurrentAttempt, path: str) -> Path | None:
        """Return the published file, or the attempt's own; None where that would be somebody else's."""
        root = self.layout.experiment(experiment)
        published = root / path
        if not _is_file(published) and current.attempt is not None:
            prefix = artifact_prefix(current.sub_experiment, current.variant, current.seed)
            key = AttemptKey(experiment, current.sub_experiment, current.attempt)
            published = self.layout.attempt(key) / f"{ARTIFACTS}{path[len(prefix) :]}"
        # What a results file or a link says may lead anywhere.
        try:
            inside = published.resolve().is_relative_to(root.resolve())
        except (OSError, ValueError):  # a loop of links, or a path that no file can have
            return None
        return published if inside and stays_inside(path) else None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False
