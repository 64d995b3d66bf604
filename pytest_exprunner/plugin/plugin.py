"""The entry point of the pytest plugin; it imports little and does nothing without a plan."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_exprunner.plugin import hookspecs, options

if TYPE_CHECKING:
    from pathlib import Path


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the hooks of this plugin even without a plan, because a conftest file may implement them."""
    pluginmanager.add_hookspecs(hookspecs)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare options and ini keys."""
    options.declare(parser)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Open the event stream before pytest captures output, so that only events reach standard output."""
    target = early_config.known_args_namespace.exp_json
    in_worker = "PYTEST_XDIST_WORKER" in os.environ and not early_config.invocation_params.args
    if target is not None and not in_worker:
        from pytest_exprunner.plugin.json_stream import open_stream

        open_stream(early_config, target)
    try:
        return (yield)
    except SystemExit as error:
        if not error.code and options.asks_for_handlers(early_config):
            raise pytest.UsageError(
                "a conftest file ended the run with sys.exit(0); nothing was run, so this is not a success"
            ) from None
        raise


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, int | None, int | None]:
    """Turn off xdist if nothing will run; never succeed after ``pytest.exit``."""
    if config.option.exp_explain and hasattr(config.option, "numprocesses"):
        config.option.numprocesses, config.option.tx, config.option.dist = 0, [], "no"
    code = yield
    # If pytest.exit is called before the session starts, only this hook sees its exit code.
    return pytest.ExitCode.TESTS_FAILED if code == 0 and config.stash.get(options.EXITED, False) else code


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Find the plan; load the rest of the package only if handlers are requested."""
    if config.option.help:
        return
    plan_file = options.plan_path(config)
    if plan_file is None:
        return
    folders = options.handler_folders(config, plan_file)
    asked = options.names_folder(options.asked_paths(config), folders)
    if not asked and not options.intent(config):
        config.pluginmanager.register(_UnselectedHandlers(folders), "exprunner-waiting")
        return
    from pytest_exprunner.plugin.registration import configure

    configure(config, plan_file, folders, asked)


class _UnselectedHandlers:
    """Reports in one line that there are handlers which this run does not include."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = folders

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(self, file_path: Path) -> Generator[None, list[Any], list[Any]]:
        """Keep pytest from importing handler files that were not requested."""
        collected = yield
        if any(file_path.is_relative_to(folder) for folder in self._folders):
            from pytest_exprunner.handlers.scan import is_conventional_test_file

            if not is_conventional_test_file(file_path):
                return []
        return collected

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        """Print one line, even with ``-q``; print nothing if no handler was left out."""
        from pytest_exprunner.handlers.scan import count_candidates

        waiting = count_candidates(self._folders)
        if waiting:
            folder = self._folders[0]
            root = config.invocation_params.dir
            shown = folder.relative_to(root) if folder.is_relative_to(root) else folder
            noun = "experiment handler waits" if waiting == 1 else "experiment handlers wait"
            terminalreporter.write_line(f"{waiting} {noun} in {shown}: run 'pytest {shown}'")
