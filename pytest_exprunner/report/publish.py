"""Writes the files that people read: published artifacts, results.yaml and FINDINGS.md, each atomically.

Only the controller of a run uses this module. A file that a user edited is kept next to the new one, and a
note says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_exprunner._util import marked_sections
from pytest_exprunner.model.attempt import Artifact, AttemptRecord, stays_inside
from pytest_exprunner.model.layout import ARTIFACTS, Layout, artifact_prefix, attempt_name
from pytest_exprunner.model.results import CurrentAttempt, ExperimentState, Results
from pytest_exprunner.report import experiment as findings
from pytest_exprunner.report import markdown
from pytest_exprunner.report import project as findings_project
from pytest_exprunner.report.blocks import Findings
from pytest_exprunner.store import atomic, results_file

_IGNORED = """\
# Written by pytest-exprunner. Attempt records are committed; bulky files beside them are not.
*/attempts/*/*/events.jsonl
*/attempts/*/*/log.txt
*/attempts/*/*/artifacts/
"""


# The hand-written sections that a new file has after its generated part, and what belongs there.
_OF_EXPERIMENT = {
    "Interpretation": "What does it mean, for the hypothesis and beyond the numbers?",
    "Limits": "What was not tried? What would change your mind?",
    "Notes": "Anything else; text outside the generated part is never changed.",
}
_OF_PROJECT = {
    "Interpretation": "What do the experiments say together?",
    "Notes": "Anything else; text outside the generated part is never changed.",
}


class _Evidence:
    """The places where a sub-experiment's attempts keep their artifacts, by published path and hash."""

    def __init__(self, layout: Layout, known: Sequence[AttemptRecord]) -> None:
        self._layout = layout
        self._known = known
        self._places: dict[tuple[str, str], list[str]] | None = None

    def holds(self, path: str, file: Path) -> bool:
        """Return whether an attempt saved the content of ``file``, published as ``path``.

        Attempts' own copies are not in git, so a clone has only the published file. It is copied to every
        attempt that saved it and lacks it.
        """
        if self._places is None:
            self._places = {}
            for record in self._known:
                for artifact in record.artifacts:
                    key = (artifact.path, artifact.sha256)
                    self._places.setdefault(key, []).append(self._place(record, artifact))
        places = self._places.get((path, atomic.digest(file)), [])
        for place in map(Path, places):
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                atomic.link_or_copy(file, place)
        return bool(places)

    def _place(self, record: AttemptRecord, artifact: Artifact) -> str:
        key = record.key
        prefix = artifact_prefix(key.sub_experiment, key.variant, key.seed)
        return f"{self._layout.attempt(key)}/{ARTIFACTS}{artifact.path[len(prefix) :]}"


class Publisher:
    """Keeps the files under a results folder in step with the state."""

    def __init__(self, layout: Layout, reader: results_file.Reader | None = None) -> None:
        """Record what is written, so that unchanged files are not written again."""
        self._reader = reader or results_file.Reader()
        self._layout = layout
        self._written: dict[Path, bytes] = {}
        self._waiting: dict[Path, bytes] = {}
        self._unsynced: dict[Path, bytes] = {}
        self._added: dict[Path, dict[str, Any]] = {}
        self._linked: dict[tuple[str, str], tuple[object, ...]] = {}
        self.notes: list[str] = []

    def experiment(
        self,
        state: ExperimentState,
        study: Results,
        attempts: Mapping[str, Sequence[AttemptRecord]],
    ) -> None:
        """Publish the artifacts of one experiment, and write its results and findings."""
        self._layout.experiment(state.id).mkdir(parents=True, exist_ok=True)
        self._artifacts(state, attempts)
        self._results(state, stub=study.stub)
        hand_written = self._layout.plan_of(state.id)
        link = None
        if hand_written.is_file():
            link = os.path.relpath(hand_written, self._layout.experiment(state.id))
        document = findings.build_experiment(state, study, link)
        self._findings(self._layout.findings_of(state.id), document, _OF_EXPERIMENT)

    def project(self, study: Results) -> None:
        """Write the findings of the study."""
        self._layout.base.mkdir(parents=True, exist_ok=True)
        self._findings(self._layout.findings, findings_project.build_project(study), _OF_PROJECT)

    def flush(self, *, durable: bool) -> None:
        """Replace the old files by the new ones; if ``durable``, they survive a power failure."""
        if durable:
            atomic.replace_durably({**self._unsynced, **self._waiting})
            self._unsynced.clear()
        else:
            for file, data in self._waiting.items():
                atomic.replace(file, data)
            self._unsynced |= self._waiting
        self._written |= self._waiting
        self._waiting.clear()

    def prepare(self) -> None:
        """Create the folders of a run and the .gitignore files."""
        self._layout.runs.mkdir(parents=True, exist_ok=True)
        self._layout.experiments.mkdir(parents=True, exist_ok=True)
        for file, text in (
            (self._layout.state / ".gitignore", "*\n"),
            (self._layout.experiments / ".gitignore", _IGNORED),
        ):
            if not file.exists():
                atomic.replace(file, text.encode())

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self._layout.root.parent).as_posix()

    # --- results.yaml -------------------------------------------------------------------------

    def _results(self, state: ExperimentState, *, stub: bool) -> None:
        file = self._layout.results_of(state.id)
        on_disk = _read(file)
        edited = problem = ""
        if on_disk is None or on_disk != self._written.get(file):
            stored = self._reader.load(file)
            self._added[file] = stored.added
            edited, problem = "edited" if stored.edited else "", stored.problem
        data = results_file.dump({**results_file.document(state), **self._added[file]}, stub=stub)
        if data != on_disk:
            if edited:
                self._set_aside(file, problem)
            self._waiting[file] = data

    def _set_aside(self, file: Path, problem: str) -> None:
        kept = atomic.set_aside(file, "broken" if problem else "edited")
        what = (
            f"could not be read ({problem})"
            if problem
            else "had been edited by hand or written by another tool"
        )
        self._note(f"{self._shown(file)} {what}; it was kept as {kept.name} and rewritten.")

    # --- FINDINGS.md --------------------------------------------------------------------------

    def _findings(self, file: Path, document: Findings, prose: Mapping[str, str]) -> None:
        on_disk = _read(file)
        try:
            existing = None if on_disk is None else on_disk.decode("utf-8")
        except UnicodeDecodeError:
            self._note(f"{self._shown(file)} is not UTF-8 text; it was left unchanged.")
            return
        merged = marked_sections.merge(existing, markdown.render(document), prose)
        if merged.problem:
            self._note(f"{self._shown(file)} {merged.problem}.")
            return
        data = merged.text.encode()
        if data == on_disk:
            return
        if merged.edited:
            kept = atomic.set_aside(file, "edited")
            self._note(
                f"{self._shown(file)} had been edited between its markers; it was kept as "
                f"{kept.name} and the generated part was rewritten."
            )
        self._waiting[file] = data

    # --- artifacts ----------------------------------------------------------------------------

    def _artifacts(self, state: ExperimentState, attempts: Mapping[str, Sequence[AttemptRecord]]) -> None:
        for sub in state.subs.values():
            # A sub-experiment that is running again keeps its last published artifacts until it ends.
            finished = [c for c in sub.currents if c.attempt is not None and c.record.finished_at]
            version = tuple((c.variant, c.seed, c.attempt) for c in finished)
            if not finished or self._linked.get((state.id, sub.id)) == version:
                continue
            known = attempts.get(sub.id, ())
            evidence = _Evidence(self._layout, known)
            wanted: set[str] = set()
            for current in finished:
                wanted |= self._link(state.id, current, evidence)
            if any(record.key.sequence > 1 for record in known):
                self._remove_stale(state.id, sub.id, wanted, evidence)
            self._linked[state.id, sub.id] = version

    def _link(self, experiment: str, current: CurrentAttempt, evidence: _Evidence) -> set[str]:
        if not current.record.artifacts:
            return set()
        assert current.attempt is not None
        root = self._layout.experiment(experiment)
        attempt = f"{root}/attempts/{current.sub_experiment}/{attempt_name(current.attempt)}"
        prefix = artifact_prefix(current.sub_experiment, current.variant, current.seed) + "/"
        # An artifact that only a results file lists could have any path.
        own = [a for a in current.record.artifacts if a.path.startswith(prefix) and stays_inside(a.path)]
        for artifact in own:
            source = f"{attempt}/{ARTIFACTS}/{artifact.path.removeprefix(prefix)}"
            self._link_one(source, f"{root}/{artifact.path}", artifact, evidence)
        return {artifact.path for artifact in own}

    def _link_one(self, source: str, target: str, artifact: Artifact, evidence: _Evidence) -> None:
        try:
            os.link(source, target)
            return
        except FileNotFoundError:
            # There is no folder yet, or this is a clone with published files only.
            if not os.path.exists(source):
                return
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with contextlib.suppress(OSError):
                os.link(source, target)
                return
        except OSError:
            if os.path.exists(target) and os.path.samefile(source, target):
                return
        path = Path(target)
        if path.exists() and not evidence.holds(artifact.path, path):
            kept = atomic.set_aside(path, "edited")
            self._note(
                f"{self._shown(path)} differs from what the attempts here saved; it was kept as {kept.name}."
            )
        atomic.link_or_copy(Path(source), path)

    def _remove_stale(self, experiment: str, sub: str, wanted: Iterable[str], evidence: _Evidence) -> None:
        """Remove artifacts that only an earlier attempt published; that attempt keeps its own copy."""
        root = self._layout.experiment(experiment)
        keep = set(wanted)
        for folder, _folders, names in os.walk(root / ARTIFACTS / sub):
            for file in (Path(folder, name) for name in names):
                path = file.relative_to(root).as_posix()
                if path not in keep and evidence.holds(path, file):
                    file.unlink()


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None
