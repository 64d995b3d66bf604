"""What an attempt is made from: code, parameters, the plan's words, data. Hashed, kept and compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_exprunner._util.serialization import Plain, digest_of
from pytest_exprunner.handlers.scan import Handler
from pytest_exprunner.plan.models import SubExperiment
from pytest_exprunner.provenance.data_files import DataFiles
from pytest_exprunner.provenance.sources import Sources

_NOTHING = digest_of({})


class Inputs:
    """Knows the handlers, the project's files and the declared data."""

    def __init__(
        self, root: Path, project: Path, study_root: Path, store: Path, handlers: Mapping[str, Handler]
    ) -> None:
        """Files of handlers are relative to ``root``, those that are recorded to ``project``.

        Texts and hashes are kept under ``store``.
        """
        self._root = root
        self._sources = Sources(project, study_root, store / "sources")
        self._data = DataFiles(study_root, store / "hashes")
        self._handlers = handlers
        self.folders = (store / "sources", store / "hashes")

    def snapshot(self) -> None:
        """Read the code as it was imported a moment ago: what is edited from now on is not what runs."""
        for handler in self._handlers.values():
            self._sources.behind(self._root / handler.file)

    def of(self, sub: SubExperiment, params: Mapping[str, Any]) -> dict[str, Plain]:
        """Return hashes of everything that an attempt would be made from now."""
        handler = self._handlers.get(sub.id)
        return {
            "code": dict(self._sources.behind(self._root / handler.file)) if handler else {},
            "params": digest_of(params) if params else _NOTHING,
            "config": digest_of(sub.model_extra) if sub.model_extra else _NOTHING,
            "data": dict(self._data.hashes(sub.data)),
        }

    def keep(self, inputs: Mapping[str, Plain]) -> None:
        """Keep the texts behind the hashes of the code, to compare later attempts with."""
        code = inputs["code"]
        self._sources.keep({str(k): str(v) for k, v in code.items()} if isinstance(code, dict) else {})

    def missing(self, sub: SubExperiment) -> list[str]:
        """Return the declared data files that are not there."""
        return self._data.missing(sub.data)

    def code_change(self, sub_experiment: str, before: Mapping[str, str]) -> str:
        """Say what has changed of the code of a handler since some hashes; empty where nothing matters."""
        handler = self._handlers.get(sub_experiment)
        if handler is None:
            return "its handler is gone"
        return self._sources.change(self._root / handler.file, handler.name, before)
