"""Previews of artifacts in a report, within its limit for images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pytest_exprunner.model.attempt import AttemptKey, stays_inside
from pytest_exprunner.model.layout import ARTIFACTS, Layout, artifact_prefix
from pytest_exprunner.model.results import CurrentAttempt, SubState
from pytest_exprunner.report.html.previews import Preview, preview

_IMAGES = 20_000_000
"""Maximum bytes of images in a page."""


class Pictures:
    """Previews of artifacts, within the limit for images."""

    def __init__(self, layout: Layout) -> None:
        """Start with the full limit of a page."""
        self.layout = layout
        self._left = _IMAGES

    def of(self, experiment: str, sub: SubState) -> Iterator[Preview]:
        """Yield the artifacts of the current attempts."""
        for current in sub.currents:
            for artifact in current.record.artifacts:
                found = preview(
                    artifact, self._file(experiment, current, artifact.path), images_left=self._left
                )
                self._left -= len(found.image)
                yield replace(found, whose=current.label if len(sub.currents) > 1 else "")

    def _file(self, experiment: str, current: CurrentAttempt, path: str) -> Path | None:
        """Return the published file or the attempt's own; None if it is outside the experiment's folder."""
        root = self.layout.experiment(experiment)
        published = root / path
        if not _is_file(published) and current.attempt is not None:
            prefix = artifact_prefix(current.sub_experiment, current.variant, current.seed)
            key = AttemptKey(experiment, current.sub_experiment, current.attempt)
            published = self.layout.attempt(key) / f"{ARTIFACTS}{path[len(prefix) :]}"
        # A path from a results file or a link can point outside the folder.
        try:
            inside = published.resolve().is_relative_to(root.resolve())
        except (OSError, ValueError):  # a loop of links, or an invalid path
            return None
        return published if inside and stays_inside(path) else None


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except (OSError, ValueError):
        return False
