"""The command ``exprunner``: its commands and its error handling. Works on stored files only."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence

import click

from pytest_exprunner import __version__
from pytest_exprunner._util.errors import ExprunnerError, PlanError, Problem
from pytest_exprunner.cli.audit import audit, verify
from pytest_exprunner.cli.base import EXIT_USAGE, print_json, problem_json
from pytest_exprunner.cli.check import check
from pytest_exprunner.cli.diff import diff
from pytest_exprunner.cli.hints import hints
from pytest_exprunner.cli.init import init
from pytest_exprunner.cli.new import new
from pytest_exprunner.cli.next import next_
from pytest_exprunner.cli.report import collect, report
from pytest_exprunner.cli.schema import schema
from pytest_exprunner.cli.show import history, show
from pytest_exprunner.cli.skill import skill
from pytest_exprunner.cli.status import gates, status
from pytest_exprunner.cli.sync import sync
from pytest_exprunner.cli.watch import watch
from pytest_exprunner.report import terminal


class _InOrder(click.Group):
    """Lists its commands in the order in which people need them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they were added."""
        del ctx
        return list(self.commands)


@click.group(
    cls=_InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    invoke_without_command=True,
)
@click.version_option(__version__, prog_name="exprunner")
@click.pass_context
def cli(context: click.Context) -> None:
    """Inspect the plan and the results of research experiments written as pytest functions.

    Exit codes: 0 success, 1 something failed, 3 a gate is pending or attempts are waiting for a
    tracker's server, 4 the plan or the command is wrong.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for _command in (
    *(init, new, check, status, next_, report, verify, audit, gates, collect),
    *(show, history, diff, watch, sync, hints, schema, skill),
):
    cli.add_command(_command)


def main() -> None:
    """Run the command; print errors meant for people without a traceback."""
    try:
        cli(standalone_mode=False)
    except PlanError as error:
        _fail(str(error), [problem_json(problem) for problem in error.problems])
    except ExprunnerError as error:
        _fail(str(error))
    except click.UsageError as error:
        _fail(f"{error.format_message()} (exprunner --help shows the commands)")
    except (click.ClickException, click.Abort) as error:
        _fail(str(error) or "stopped")
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")


def _fail(message: str, problems: Sequence[Mapping[str, object]] = ()) -> None:
    """Exit with the message for people, or with one JSON object if ``--json`` was given."""
    if "--json" in itertools.takewhile(lambda word: word != "--", sys.argv[1:]):
        reported = problems or [problem_json(Problem("", 0, 0, "", line)) for line in message.splitlines()]
        print_json("error", {"ok": False, "exit_code": EXIT_USAGE, "problems": reported})
    else:
        for line in message.splitlines():
            click.echo(terminal.safe(line, 1000), err=True)
    raise SystemExit(EXIT_USAGE)
