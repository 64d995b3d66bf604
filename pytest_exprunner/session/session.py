"""One run over a study, phase by phase, independent of pytest."""

from __future__ import annotations

from collections.abc import Mapping

from pytest_exprunner.handlers.scan import Handler
from pytest_exprunner.model.selection import SharedRun
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.loader import LoadedPlan
from pytest_exprunner.session.admission import Admission
from pytest_exprunner.session.attempts import Attempts
from pytest_exprunner.session.completion import Completion
from pytest_exprunner.session.setup import RunSetup
from pytest_exprunner.session.state import RunState


class ExperimentSession(RunState):
    """The state of one run and its phases; each hook of the plugin calls one method of a phase."""

    def __init__(
        self,
        settings: Settings,
        loaded: LoadedPlan,
        without_handler: Mapping[str, str],
        handlers: Mapping[str, Handler],
        shared: SharedRun | None = None,
    ) -> None:
        """Open the study without writing; ``shared`` is given in a worker."""
        super().__init__(settings, loaded, without_handler, handlers, shared)
        self.setup = RunSetup(self)
        self.admission = Admission(self)
        self.attempts = Attempts(self)
        self.completion = Completion(self)
