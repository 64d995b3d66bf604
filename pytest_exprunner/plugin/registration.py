"""Registers the hooks of a run with a plan and requested handlers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_exprunner._util.errors import ExprunnerError
from pytest_exprunner._util.location import study_root
from pytest_exprunner.handlers.scan import scan
from pytest_exprunner.model.selection import SharedRun
from pytest_exprunner.plan import loader
from pytest_exprunner.plugin import progress
from pytest_exprunner.plugin.ci.annotations import AnnotateHooks
from pytest_exprunner.plugin.collection import LINK, HandlerCollection, only_setup
from pytest_exprunner.plugin.explain import ExplainHooks
from pytest_exprunner.plugin.isolation import IsolateHooks
from pytest_exprunner.plugin.items import ItemHooks
from pytest_exprunner.plugin.loop import LoopHooks
from pytest_exprunner.plugin.remote.pending import collect_pending
from pytest_exprunner.plugin.reuse import ReuseHooks
from pytest_exprunner.plugin.run import RunHooks
from pytest_exprunner.plugin.settings import settings_of
from pytest_exprunner.session.session import ExperimentSession


def configure(
    config: pytest.Config, plan_path: Path, folders: tuple[Path, ...], asked: Sequence[Path]
) -> None:
    """Load the plan, find the handlers and register the hooks. Raises `pytest.UsageError`."""
    root = config.rootpath
    shown = plan_path.relative_to(root).as_posix() if plan_path.is_relative_to(root) else str(plan_path)
    try:
        loaded = loader.load(plan_path, shown)
        found = scan(loaded.plan, folders, root)
        found.check()
    except ExprunnerError as error:
        raise pytest.UsageError(str(error)) from None
    settings = settings_of(config, loaded.plan, plan_path, folders)
    collecting = HandlerCollection(
        loaded.plan,
        found,
        study_root(plan_path),
        shown,
        exploratory=settings.exploratory,
        seeds=settings.seeds,
        enabled=bool(asked) or settings.stub or settings.exploratory,
    )
    collecting.register_markers(config)  # after all other plugins have registered their markers
    shared = _shared_run(config)
    read_only = settings.explain or config.option.collectonly or only_setup(config)
    remarks = collect_pending(settings) if shared is None and settings.resume and not read_only else []
    session = ExperimentSession(settings, loaded, found.without_handler(loaded.plan), found.planned(), shared)
    if settings.stub and config.pluginmanager.has_plugin("lfplugin"):
        config.pluginmanager.unregister(name="lfplugin")  # a stub run must not clear failures stored for --lf
    manager = config.pluginmanager
    manager.register(LoopHooks(manager), "exprunner-loop")
    manager.register(ItemHooks(config, session, collecting, folders), "exprunner-items")
    manager.register(IsolateHooks(config, session), "exprunner-isolate")
    if settings.explain:
        manager.register(ExplainHooks(config, session), "exprunner-explain")
    if settings.resume:
        manager.register(ReuseHooks(config, session), "exprunner-reuse")
    if LINK in config.stash:
        from pytest_exprunner.plugin.remote.worker import RemoteWorkerHooks

        manager.register(RemoteWorkerHooks(config, session, config.stash[LINK]), "exprunner-remote-worker")
        return
    if shared is not None:
        from pytest_exprunner.plugin.xdist_worker import WorkerHooks

        manager.register(WorkerHooks(collecting), "exprunner-worker")
        return
    parallel = _is_distributed(config)
    run = RunHooks(config, session, collecting, folders, parallel=parallel)
    run.remarks += remarks
    run.remarks += [f"warning: {warning}" for warning in loaded.warnings]
    run.remarks += [f"warning: {problem}; no handler was looked for in it" for problem in found.problems()]
    manager.register(AnnotateHooks(config, session, collecting), "exprunner-annotate")
    manager.register(run, "exprunner-run")
    _show(config, session, shown)
    if settings.executor == "modal":
        manager.register(_modal(config, session), "exprunner-remote")
    if parallel:
        _distribute(config, session, collecting, run)


def _distribute(
    config: pytest.Config, session: ExperimentSession, collecting: HandlerCollection, run: RunHooks
) -> None:
    """Let xdist workers run the items. Raises `pytest.UsageError` if they cannot."""
    from pytest_exprunner.plugin import xdist as distributed

    refusal = distributed.refusal(config)
    if refusal:
        raise pytest.UsageError(refusal)
    manager = config.pluginmanager
    manager.register(distributed.ControllerHooks(session, collecting, run.begin), "exprunner-controller")


def _show(config: pytest.Config, session: ExperimentSession, plan_name: str) -> None:
    """Register the live display and the event stream, if they are requested."""
    if config.option.exp_json is not None:
        _stream(config, session, plan_name)
    if progress.wanted(config):
        config.pluginmanager.register(progress.ProgressHooks(config, session), "exprunner-show")


def _stream(config: pytest.Config, session: ExperimentSession, plan_name: str) -> None:
    """Register the event stream. Raises `pytest.UsageError` if it was not opened when pytest started."""
    from pytest_exprunner.plugin.json_stream import STREAM, StreamHooks

    stream = config.stash.get(STREAM, None)
    if stream is None:
        raise pytest.UsageError(
            "--exp-json needs pytest-exprunner from pytest's start: install it, or load it with "
            "-p pytest_exprunner.plugin, not from a conftest file"
        )
    config.pluginmanager.register(StreamHooks(config, session, stream, plan_name), "exprunner-json")


def _modal(config: pytest.Config, session: ExperimentSession) -> object:
    """Return the hooks that call handlers on Modal. Raises `pytest.UsageError` if Modal cannot be used."""
    if _is_distributed(config):
        raise pytest.UsageError(
            "-n cannot be combined with --exp-executor modal: one process calls many handlers at once there; "
            "use --exp-max-containers N"
        )
    try:
        from pytest_exprunner.executors.modal.executor import ModalExecutor
        from pytest_exprunner.plugin.remote.hooks import RemoteHooks
    except ImportError as error:
        raise pytest.UsageError(
            f"--exp-executor modal: {error}; install it with: pip install 'pytest-exprunner[modal]'"
        ) from None
    return RemoteHooks(config, session, ModalExecutor)


def _is_distributed(config: pytest.Config) -> bool:
    """Return whether xdist workers will run the items."""
    option = config.option
    return bool(getattr(option, "tx", None)) and option.dist != "no" and not option.collectonly


def _shared_run(config: pytest.Config) -> SharedRun | None:
    if LINK in config.stash:
        return config.stash[LINK].shared_run()
    if not hasattr(config, "workerinput"):
        return None
    from pytest_exprunner.plugin.xdist_worker import shared_run

    return shared_run(config)
