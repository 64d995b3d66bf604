"""Prepares remote calls: builds the setup of the remote worker, and checks that nothing is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_exprunner._util import redaction
from pytest_exprunner._util.errors import ExecutorError, ExprunnerError
from pytest_exprunner._util.location import study_root
from pytest_exprunner._util.text import few
from pytest_exprunner.executors.base import PROJECT, Setup
from pytest_exprunner.model.selection import Selected
from pytest_exprunner.session.session import ExperimentSession

if TYPE_CHECKING:
    import pytest

_NO_AUTOLOAD = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
_LOCAL_ONLY = {
    *("numprocesses", "tx", "dist", "maxprocesses", "xmlpath", "basetemp", "keyword", "markexpr", "deselect"),
    *("lf", "failedfirst", "newfirst", "stepwise", "stepwise_skip", "cacheclear", "cacheshow", "maxfail"),
    *("exp_executor", "exp_tracker", "exp_results", "exp_resume", "exp_gate", "exp_explain", "exp_detach"),
    *("exp_json",),
    *("plugins", "rootdir", "inifilename", "file_or_dir", "usepdb", "trace", "durations", "log_file"),
}
"""Options about the run as a whole, or about files on this machine; remote workers do not get them."""
_OF_THE_CODE = {"commit", "dirty", "diff"}
_OWN_PLUGINS = {"exprunner", "pytest_exprunner.plugin", "xdist", "xdist.plugin"}
"""Plugins not passed on: the remote worker loads this package itself and does not use xdist."""


def refuse_left_behind(
    session: ExperimentSession, planned: Sequence[Selected], names: Collection[str], root: Path
) -> None:
    """Raise `ExecutorError` if a required file is not uploaded."""
    shown = session.settings.plan_file.relative_to(root).as_posix()
    left_out = sorted({*session.admission.code_behind(planned), shown} - set(names))
    if left_out:
        raise ExecutorError(
            f"handlers import {few(left_out)}, which would be missing elsewhere: git ignores it, or it "
            "holds results; have git see it"
            if left_out != [shown]
            else f"the plan {shown} would be missing elsewhere: git ignores it; have git see it"
        )
    base = study_root(session.settings.plan_file)
    for item in planned:
        for declared in session.plan.experiments[item.experiment].sub_experiments[item.sub_experiment].data:
            place = Path(os.path.abspath(base / declared))
            below = place.relative_to(root).as_posix() if place.is_relative_to(root) else None
            if below is None or not any(name == below or name.startswith(f"{below}/") for name in names):
                raise ExecutorError(
                    f"{item.sub_experiment} declares the data {declared}, which would be missing elsewhere: "
                    "git ignores it, or it is outside the project; have git see it, or keep it on a Modal "
                    "volume (modal: {volumes: {NAME: /FOLDER}}) and do not declare it"
                )


def setup_of(config: pytest.Config, session: ExperimentSession) -> Setup:
    """Return the setup of the remote worker. Raises `ExprunnerError` if a path points outside the project."""
    root = config.rootpath
    layout = session.layout
    for path, option in (
        (layout.root, "--exp-results"),
        (session.settings.plan_file, "--exp-plan"),
        *((folder, "--exp-paths") for folder in session.settings.folders),
    ):
        if not path.is_relative_to(root):
            raise ExprunnerError(
                f"{path} is not inside the project {root}; expected that where handlers are called elsewhere "
                f"({option})"
            )
    start = config.invocation_params.dir
    shared = session.setup.share()
    return Setup(
        run=shared.run,
        arguments=[_argument(str(argument), start, root) for argument in config.args],
        options=_options(config, session),
        folder=start.relative_to(root).as_posix() if start.is_relative_to(root) else ".",
        results=layout.root.relative_to(root).as_posix(),
        branch=layout.branch,
        autoload=not os.environ.get(_NO_AUTOLOAD),
        provenance={name: value for name, value in shared.provenance.items() if name in _OF_THE_CODE},
    )


def _argument(argument: str, start: Path, root: Path) -> str:
    name, separator, rest = argument.partition("::")
    path = Path(os.path.abspath(start / name))
    if not path.is_relative_to(root):
        raise ExprunnerError(f"{path} is not inside the project {root}; name its root with --rootdir")
    return PROJECT + path.relative_to(root).as_posix() + separator + rest


def _options(config: pytest.Config, session: ExperimentSession) -> dict[str, Any]:
    root, settings = config.rootpath, session.settings
    limit = settings.timeout or session.plan.modal.timeout
    is_usual = settings.folders == (study_root(settings.plan_file) / "experiments",)

    def relocated(value: Any) -> Any:
        if isinstance(value, str) and (value == str(root) or value.startswith(f"{root}{os.sep}")):
            return PROJECT + Path(value).relative_to(root).as_posix()
        if isinstance(value, list):
            return [relocated(item) for item in value]
        return value

    options = {
        name: relocated(value)
        for name, value in vars(config.option).items()
        if name not in _LOCAL_ONLY and not redaction.is_secret(name) and _is_plain(value)
    }
    plugins = [name for name in config.option.plugins if name not in _OWN_PLUGINS]
    ini = config.inipath
    return {
        **options,
        "plugins": [*plugins, "no:cacheprovider", "no:terminal"],
        "rootdir": PROJECT,
        "inifilename": relocated(str(ini)) if ini is not None and ini.is_relative_to(root) else None,
        "exp_executor": "subprocess",
        "exp_plan": relocated(str(settings.plan_file)),
        "exp_paths": None if is_usual else " ".join(relocated(str(folder)) for folder in settings.folders),
        "exp_results": relocated(str(session.layout.root)),
        "exp_timeout": None if limit is None else str(limit),
    }


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
