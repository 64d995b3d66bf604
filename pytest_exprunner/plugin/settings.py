"""Builds the settings of a run from pytest's options, and refuses invalid combinations."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_exprunner._util.errors import ExprunnerError, did_you_mean
from pytest_exprunner._util.location import study_root
from pytest_exprunner.model.attempt import Level
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.models import Plan
from pytest_exprunner.plugin import options
from pytest_exprunner.provenance import gpus


def settings_of(config: pytest.Config, plan: Plan, plan_path: Path, folders: tuple[Path, ...]) -> Settings:
    """Return the settings of this run. Raises `pytest.UsageError` if options contradict each other."""
    asked_gates: list[str] = config.getoption("exp_gate")
    gates = list(plan.gates) if "all" in asked_gates else asked_gates
    for gate in gates:
        if gate not in plan.gates:
            hint = did_you_mean(gate, plan.gates)
            known = ", ".join(plan.gates) or "none"
            raise pytest.UsageError(f"--exp-gate: unknown gate {gate!r}{hint}; known: {known}")
    if asked_gates and not plan.gates:
        raise pytest.UsageError("--exp-gate: the plan has no gates")
    if asked_gates and config.getoption("exp_stub"):
        raise pytest.UsageError(
            "--exp-gate cannot be combined with --exp-stub: a stub run measures nothing, so no gate can "
            "pass; use one of them"
        )
    if config.getoption("exp_stub") and (config.getoption("exp_resume") or config.getoption("exp_explain")):
        other = "--exp-resume" if config.getoption("exp_resume") else "--exp-explain"
        raise pytest.UsageError(
            f"{other} cannot be combined with --exp-stub: a stub run always covers everything; "
            "use one of them"
        )
    return Settings(
        plan_file=plan_path,
        results_root=options.results_root(config, plan_path),
        folders=folders,
        root=config.rootpath,
        # Without an ini file pytest's root is its start folder, which is unsuitable for recorded paths.
        project=config.rootpath if config.inipath is not None else study_root(plan_path),
        level=Level(config.getoption("exp_level")),
        stub=config.getoption("exp_stub"),
        gates=tuple(dict.fromkeys(gates)),
        exploratory=config.getoption("exp_exploratory"),
        ignore_dependencies=config.getoption("exp_ignore_dependencies"),
        resume=config.getoption("exp_resume"),
        strict=config.getoption("exp_strict"),
        report=_report(config),
        explain=config.getoption("exp_explain"),
        executor=options.executor(config),
        detach=_detach(config),
        most_containers=options.most_containers(config),
        devices=_devices(config, plan),
        seeds=options.seeds(config),
        timeout=options.timeout(config),
        trackers=options.trackers(config),
        tracker_timeout=options.tracker_timeout(config),
        lock_timeout=options.lock_timeout(config),
    )


def _report(config: pytest.Config) -> Path | None:
    file = options.report(config)
    if file is not None:
        from pytest_exprunner.report.html import file as report_file

        try:
            report_file.check(file)
        except ExprunnerError as error:
            raise pytest.UsageError(f"--exp-report: {error}") from None
    return file


def _detach(config: pytest.Config) -> bool:
    asked = bool(config.getoption("exp_detach"))
    if asked and options.executor(config) != "modal":
        raise pytest.UsageError(
            "--exp-detach needs --exp-executor modal: other executors stop when pytest ends"
        )
    if asked and config.getoption("exp_stub"):
        raise pytest.UsageError(
            "--exp-stub cannot be combined with --exp-detach: a stub run ends immediately; use one of them"
        )
    if asked and config.getoption("exp_gate"):
        raise pytest.UsageError(
            "--exp-gate cannot be combined with --exp-detach, which does not wait for results; "
            "'exprunner gates' reports them once results are collected"
        )
    return asked


def _devices(config: pytest.Config, plan: Plan) -> tuple[str, ...]:
    if not any(sub.resources.gpu for _experiment, sub in plan.sub_experiments()):
        return ()
    return gpus.available(options.devices(config))
