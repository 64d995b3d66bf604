"""Weights & Biases: one run per attempt, grouped by experiment, and one run for the results.

What is sent depends only on the journals, so ``exprunner sync`` can complete an interrupted run later,
under the same id.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_exprunner._util.paths import shown_path
from pytest_exprunner._util.serialization import Plain
from pytest_exprunner.model.attempt import AttemptKey, AttemptRecord, Status
from pytest_exprunner.model.results import ExperimentState
from pytest_exprunner.trackers.base import (
    AttemptEnded,
    AttemptStarted,
    MetricsLogged,
    ProgressEvent,
    RunEnded,
    Tracker,
    TrackerContext,
)
from pytest_exprunner.verdicts.criteria import digest

_REACHED_WITHIN = 5
"""Seconds to wait for a server to answer, and again for the first run to be accepted."""
_MODES = ("online", "dryrun", "offline", "disabled")
_NAME = re.compile(r"[^\w.-]+", re.ASCII)
_RESERVED_TYPES = re.compile(r"job$|wandb-")
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_INT64 = range(-(2**63), 2**63)
_HIDDEN = "superseded-"


class WandbTracker(Tracker):
    """Uses the ``wandb`` library. `open` decides once where runs go: online, offline or nowhere."""

    def __init__(self) -> None:
        """Nothing is imported or opened yet."""
        self._wandb: Any = None
        self._mode = "offline"
        self._address = ""
        self._context = TrackerContext("", {}, Path(), Path())
        self._runs: dict[AttemptKey, Any] = {}
        self._evidence: dict[AttemptKey, set[str]] = {}
        self._resumed_rows: dict[AttemptKey, int] = {}

    # --- the study ----------------------------------------------------------------------------

    def open(self, context: TrackerContext) -> Sequence[str]:
        """Import wandb; decide within some seconds whether to use its server."""
        self._context = context
        asked = (os.environ.get("WANDB_MODE") or "online").lower()
        if asked == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() == "true":
            self._mode = "disabled"
            return ()
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # wandb's own reports, even offline
        os.environ.setdefault("WANDB_SILENT", "true")  # do not ask for a key
        if asked not in _MODES:
            raise ValueError(f"WANDB_MODE is {asked!r}; expected {', '.join(_MODES[:-1])} or {_MODES[-1]}")
        os.environ["WANDB_MODE"] = "offline" if asked == "dryrun" else asked  # wandb itself is stricter
        try:
            import wandb  # optional, and takes a second to import
        except ImportError as error:
            raise ImportError(
                f"wandb is not installed here ({error}): python -m pip install 'pytest-exprunner[wandb]'"
            ) from None
        self._wandb = wandb
        here = asked in ("offline", "dryrun")
        reason = "" if here else self._why_not_online()
        self._mode = "offline" if here or reason else "online"
        if not reason:
            return ()
        later = "" if context.stub else " and 'exprunner sync --tracker wandb' sends them later"
        return [f"{reason}; runs are kept in {self._shown_folder}{later}"]

    def close(self) -> None:
        """Close runs that never ended as failed, then the library with its processes."""
        for run in self._runs.values():
            with contextlib.suppress(Exception):
                run.finish(exit_code=1)
        self._runs.clear()
        if self._wandb is not None:
            self._wandb.teardown()

    @property
    def _folder(self) -> Path:
        named = os.environ.get("WANDB_DIR")
        return Path(named) if named else self._context.store

    @property
    def _shown_folder(self) -> str:
        folder, root = self._folder, self._context.root
        return shown_path(folder, root)

    @property
    def place(self) -> str:
        """Where runs are stored: the project's page, or a local folder."""
        return self._address or (str(self._shown_folder) if self._mode == "offline" else "")

    def _why_not_online(self) -> str:
        """Return why the server cannot be used now; empty if it can."""
        settings = self._wandb.setup().settings
        url = str(settings.base_url).rstrip("/")
        try:
            urllib.request.urlopen(f"{url}/graphql", timeout=_REACHED_WITHIN).close()  # noqa: S310
        except urllib.error.HTTPError:
            pass  # the server answered
        except (OSError, ValueError) as error:
            return f"{url} cannot be reached ({getattr(error, 'reason', None) or error})"
        try:
            if not self._wandb.login(relogin=False, verify=False, timeout=1):
                return f"there is no API key for {url} (set WANDB_API_KEY or run 'wandb login')"
        except Exception:  # noqa: BLE001 - wandb raises many types, not only its own
            return f"there is no API key for {url} (set WANDB_API_KEY or run 'wandb login')"
        return ""

    def _init(self, **more: Any) -> Any:
        plan = self._context.settings
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._wandb.Settings(
            console="off",
            silent=True,
            quiet=True,
            reinit="create_new",
            init_timeout=_REACHED_WITHIN,
            disable_git=True,  # the commit is recorded anyway
            save_code=False,
            x_save_requirements=False,
            x_disable_meta=True,  # the command line may hold secrets
            x_disable_stats=self._context.replaying,
        )
        return self._wandb.init(
            project=os.environ.get("WANDB_PROJECT") or plan.get("project") or self._project,
            entity=os.environ.get("WANDB_ENTITY") or plan.get("entity"),
            dir=str(self._folder),
            mode=self._mode,
            settings=settings,
            **more,
        )

    @property
    def _project(self) -> str:
        name = _NAME.sub("-", self._context.project or self._context.root.name).strip("-.")
        return name.lower()[:120] or "experiments"

    # --- one attempt --------------------------------------------------------------------------

    def attempt_started(self, event: AttemptStarted) -> int:
        """Open the run of an attempt; return how many of its rows the server has."""
        if self._mode == "disabled":
            return 0
        run_id = id_of(event.key, event.run)
        if self._mode == "offline":
            self._hide_earlier(run_id)
        run = self._init(
            id=run_id,
            name=f"{event.key.label} #{event.key.sequence}",
            group=event.key.experiment,
            job_type=event.key.sub_experiment,
            tags=self._tags(event),
            config=_config(event),
            notes=event.sub_experiment.objective or None,
            **({"resume": "allow"} if self._mode == "online" else {}),
        )
        prefix = event.key.sub_experiment
        run.define_metric(f"{prefix}/step")
        run.define_metric(f"{prefix}/*", step_metric=f"{prefix}/step")
        if self._mode == "online":
            self._address = str(run.project_url or "")
        self._runs[event.key] = run
        self._evidence[event.key] = {"stub"} if event.stub else set()
        rows = self._resumed_rows[event.key] = int(run.starting_step) if run.resumed else 0
        return rows

    def _tags(self, event: AttemptStarted) -> list[str]:
        own = self._context.settings.get("tags")
        experiment = event.experiment
        tags = [
            *(own if isinstance(own, tuple) else ()),
            experiment.type,
            None if experiment.phase is None else f"phase {experiment.phase}",
            *event.gates,
            event.key.variant,
            _seed_set(event),
            "stub" if event.stub else None,
        ]
        return [_tag(tag) for tag in dict.fromkeys(str(tag) for tag in tags if tag not in (None, ""))]

    def _hide_earlier(self, run_id: str) -> None:
        """Rename what a killed process left of a run, because the run is written again from its start."""
        for folder in (self._folder / "wandb").glob(f"offline-run-*-{run_id}"):
            with contextlib.suppress(OSError):
                folder.rename(folder.with_name(_HIDDEN + folder.name))

    def metrics_logged(self, event: MetricsLogged) -> None:
        """Log a row under the sub-experiment's name, with its own step."""
        run = self._runs.get(event.key)
        if run is None:
            return
        prefix = event.key.sub_experiment
        # The name ``step`` is taken by the step of the row.
        names = {name: "step (metric)" if name == "step" else name for name in event.metrics}
        row: dict[str, Any] = {f"{prefix}/{names[n]}": _number(v) for n, v in event.metrics.items()}
        if event.step is not None:
            row[f"{prefix}/step"] = _number(event.step)
        run.log({**row, "_timestamp": event.time})

    def progress_reported(self, event: ProgressEvent) -> None:
        """Tag a run with the kinds of evidence that its handler declared."""
        run = self._runs.get(event.key)
        if run is not None and event.kind == "evidence":
            self._evidence[event.key].add(str(event.data.get("kind")))
            run.tags = (*run.tags, *(k for k in self._evidence[event.key] if k not in run.tags))

    @property
    def is_final(self) -> bool:
        """Whether the server has what was sent; otherwise it is sent again."""
        return self._mode == "online"

    def attempt_ended(self, event: AttemptEnded) -> str | None:
        """Send the outcome and the artifacts, then close the run."""
        run = self._runs.pop(event.key, None)
        kinds = self._evidence.pop(event.key, set())
        if run is None:
            return None
        record, prefix = event.record, event.key.sub_experiment
        place = str(run.url if self._mode == "online" else Path(run.dir).parent)
        code = 1
        try:
            run.config.update(_config_after(record), allow_val_change=True)
            run.summary.update(_summary(record, prefix, kinds))
            self._send_artifacts(run, event)
            code = 0 if record.status in (Status.COMPLETED, Status.SKIPPED) else 1
        finally:
            run.finish(exit_code=code)
        return place

    def _send_artifacts(self, run: Any, event: AttemptEnded) -> None:
        sequence = event.key.sequence
        images: dict[str, Any] = {}
        for stored in event.artifacts:
            label = artifact_name(event.key.label, stored.name)
            kind = _NAME.sub("-", stored.type) or "file"
            if _RESERVED_TYPES.match(kind):
                kind = f"x-{kind}"
            artifact = self._wandb.Artifact(label, type=kind, metadata={"attempt": sequence})
            # Do not copy the file: attempts never change, and a model is large.
            artifact.add_file(str(stored.file), name=stored.name, policy="immutable", skip_cache=True)
            run.log_artifact(artifact, aliases=["latest", f"attempt-{sequence}"])
            if stored.file.suffix.lower() in _IMAGES:
                with contextlib.suppress(Exception):  # a broken image is still an artifact
                    images[f"{event.key.sub_experiment}/{stored.name}"] = self._wandb.Image(str(stored.file))
        # Every log call adds a row. More rows than metrics means that the images were sent before.
        if images and self._resumed_rows.get(event.key, 0) <= event.rows:
            run.log(images)

    # --- the run ------------------------------------------------------------------------------

    def run_ended(self, event: RunEnded) -> None:
        """Store results and findings as an artifact of a separate run."""
        if self._mode == "disabled":
            return
        run = self._init(
            id=f"s{hashlib.sha256(event.run.encode()).hexdigest()[:15]}",
            name=f"results {event.run}",
            group="results",
            job_type="results",
            tags=["results", *(["stub"] if self._context.stub else [])],
            config={"run": event.run, "experiments": list(event.experiments)},
        )
        run.summary.update(_results(event))
        name = "stub-results-and-findings" if self._context.stub else "results-and-findings"
        artifact = self._wandb.Artifact(name, type="results")
        for file in event.files:
            artifact.add_file(str(file), name="/".join(file.parts[-2:]))
        run.log_artifact(artifact, aliases=["latest", _NAME.sub("-", event.run)])
        run.finish()


def id_of(key: AttemptKey, run: str) -> str:
    """Return the id of an attempt's run, the same for every sender and every repetition."""
    text = "\0".join(str(part) for part in (run, key.experiment, key.sub_experiment, key.sequence))
    return f"a{hashlib.sha256(text.encode()).hexdigest()[:15]}"


def artifact_name(label: str, name: str) -> str:
    """Return a name of the few characters that W&B allows, with a hash if two names could collide."""
    plain = f"{label}-{name.replace('/', '-')}"
    safe = _NAME.sub("-", plain).strip("-.")[:100] or "artifact"
    if safe == plain and "-" not in name:
        return safe
    return f"{safe}-{hashlib.sha256(f'{label}/{name}'.encode()).hexdigest()[:6]}"


def _tag(tag: str) -> str:
    return tag if len(tag) <= 64 else f"{tag[:63]}…"


def _seed_set(event: AttemptStarted) -> str | None:
    """Return a label that the runs of one sub-experiment share over its seeds, or None without a seed."""
    seeds = event.sub_experiment.seeds
    if event.key.seed is None:
        return None
    return f"seeds {', '.join(map(str, seeds))}" if event.key.seed in seeds else "further seeds"


def _config(event: AttemptStarted) -> dict[str, Any]:
    return {
        "experiment": event.key.experiment,
        "sub_experiment": event.key.sub_experiment,
        "variant": event.key.variant,
        "plan_seed": event.key.seed,
        "attempt": event.key.sequence,
        "run": event.run,
        "rng_seed": event.rng_seed,
        "params": _safe(dict(event.params)),
        "criteria": {
            criterion.name: {
                "direction": str(criterion.better),
                "target": criterion.target,
                "acceptable": criterion.acceptable,
                "failure": criterion.failure,
                "registered": digest(criterion),
            }
            for criterion in event.experiment.success_criteria.values()
        },
    }


def _config_after(record: AttemptRecord) -> dict[str, Any]:
    return {
        "rng_seed": record.rng_seed,
        "provenance": _safe(dict(record.provenance)),
        "options": _safe(dict(record.options)),
        "upstream": _safe(dict(record.upstream)),
    }


def _summary(record: AttemptRecord, prefix: str, kinds: set[str]) -> dict[str, Any]:
    evidence = sorted({str(e.kind) for e in record.evidence} | kinds) or ["real"]
    return {
        **{f"{prefix}/{name}": _safe(value) for name, value in record.metrics.items()},
        **{f"verdict/{name}": verdict for name, verdict in record.verdicts.items()},
        "status": str(record.status),
        "evidence": ", ".join(evidence),
        "finding": record.finding,
        "duration_s": record.duration_s,
        **({"error": record.error.line} if record.error else {}),
    }


def _results(event: RunEnded) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in event.experiments:
        state = event.results.experiments[name]
        found |= _experiment(name, state)
    for name, gate in event.results.gates.items():
        found[f"gate/{name}"] = str(gate.state)
    return found


def _experiment(name: str, state: ExperimentState) -> dict[str, Any]:
    found: dict[str, Any] = {
        f"{name}/status": str(state.status),
        f"{name}/recommendation": state.recommendation_text,
        f"{name}/confidence": str(state.assessment.confidence),
    }
    for result in state.criteria.values():
        found[f"{name}/verdict/{result.name}"] = str(result.verdict)
    return found


def _number(value: Plain) -> Any:
    """Return a number as wandb accepts it: an integer beyond 64 bits becomes a float."""
    if type(value) is int and value not in _INT64:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def _safe(value: Plain) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(item) for item in value]
    return _number(value)
