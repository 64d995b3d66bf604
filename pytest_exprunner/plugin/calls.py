"""Calls a handler, and processes the outcome: its result, its record, its log and changes to the process."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from typing import Any, NoReturn

import pytest

from pytest_exprunner._util.errors import HandlerError
from pytest_exprunner._util.redaction import redacted
from pytest_exprunner._util.serialization import text
from pytest_exprunner.execution.attempt import Attempt
from pytest_exprunner.model.attempt import Failure, Hint

_RESULT = pytest.StashKey[object]()
_KEPT = pytest.StashKey[bool]()
_MAX_TRACEBACK = 50_000
_MAX_CAPTURED = 1_000_000
_STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def fail(message: str) -> NoReturn:
    """Fail with only a message. This frame stays visible, because pytest warns if all frames are hidden."""
    pytest.fail(message, pytrace=False)


def stopper(error: BaseException) -> str:
    """Return what stopped a run: ``SIGTERM``, or ``KeyboardInterrupt`` for Ctrl-C."""
    named = isinstance(error, KeyboardInterrupt) and error.args
    return str(error.args[0]) if named else type(error).__name__


@contextlib.contextmanager
def process_kept() -> Generator[None]:
    """Restore the working folder, umask, streams and signal handlers after a handler."""
    mask = os.umask(0o077)
    os.umask(mask)
    handlers = [(number, signal.getsignal(number)) for number in _STOPPING]
    folder = os.open(".", os.O_RDONLY | os.O_CLOEXEC)  # by descriptor, in case the folder is renamed
    streams = sys.stdout, sys.stderr
    try:
        yield
    finally:
        os.umask(mask)
        sys.stdout, sys.stderr = streams
        with contextlib.suppress(OSError):
            os.fchdir(folder)
            os.close(folder)
        for number, handler in handlers:
            if handler is not None and signal.getsignal(number) is not handler:
                with contextlib.suppress(ValueError):  # only the main thread can
                    signal.signal(number, handler)


def settle(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Tear down what the next item does not share with this one, and report failures."""
    try:
        item.session._setupstate.teardown_exact(nextitem)  # noqa: SLF001 - pytest's own hook calls this
    except Exception:  # noqa: BLE001 - a fixture may raise anything
        text = str(pytest.ExceptionInfo.from_current().getrepr(style="long"))
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", text, "teardown")
        item.ihook.pytest_runtest_logreport(report=report)


def plain_report(item: pytest.Item, when: Any, outcome: Any) -> pytest.TestReport:
    """Return a report for a phase that pytest itself did not run here."""
    keywords: Any = dict.fromkeys(item.keywords, 1)
    return pytest.TestReport(item.nodeid, item.location, keywords, outcome, None, when)


def representation(message: str) -> Any:
    """Return the report text of a failure that has only a message.

    The summary of failures gets only its first line; a CI service would show the complete message.
    """
    try:
        fail(message)
    except pytest.fail.Exception as error:
        shown = pytest.ExceptionInfo.from_exception(error).getrepr(style="value")
    crash = getattr(shown, "reprcrash", None)
    if crash is not None:
        crash.message = message.partition("\n")[0]
    return shown


def call(item: pytest.Function) -> object:
    """Call a handler with its fixtures; return its result, even if a plugin awaits it."""
    __tracebackhide__ = True
    arguments = {name: item.funcargs[name] for name in item._fixtureinfo.argnames}  # noqa: SLF001
    returned = item.obj(**arguments)
    if _RESULT in item.stash:
        result = item.stash[_RESULT]
        del item.stash[_RESULT]
        return result
    if inspect.isawaitable(returned) or inspect.isasyncgen(returned):
        close = getattr(returned, "close", None)
        if close is not None:
            close()
        _refuse_async(item)
    return returned


def keep_result(item: pytest.Item) -> None:
    """Keep the result of an async handler, because plugins that run coroutines discard it."""
    function = getattr(item, "obj", None)
    if not inspect.iscoroutinefunction(function) or _KEPT in item.stash:
        return

    @functools.wraps(function)
    async def kept(*args: Any, **kwargs: Any) -> object:
        item.stash[_RESULT] = await function(*args, **kwargs)
        return item.stash[_RESULT]

    item.obj = kept  # type: ignore[attr-defined]
    item.stash[_KEPT] = True


def _refuse_async(item: pytest.Function) -> NoReturn:
    fail(
        f"{item.originalname} is async, and nothing here runs async handlers: install pytest-asyncio and "
        "mark it with @pytest.mark.asyncio, or make it a plain function"
    )


def complete(attempt: Attempt, returned: object) -> str:
    """Publish the returned value; return what is wrong with its form, or an empty string."""
    try:
        attempt.complete(returned)
    except HandlerError as error:
        attempt.fail(Failure("HandlerError", str(error)))
        return str(error)
    return ""


def publish_incomplete(
    attempt: Attempt,
    call: pytest.CallInfo[None],
    report: pytest.TestReport,
    diagnose: Callable[[Failure], Sequence[Hint]],
) -> None:
    """Publish an attempt that was skipped, or that failed before it returned."""
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, pytest.skip.Exception):
        attempt.skip(redacted(text(getattr(error, "msg", None) or "skipped")))
    elif error is None:
        attempt.fail(Failure("Failed", "the handler was not called"))
    else:
        where = " (in a fixture)" if call.when == "setup" else ""
        failure = Failure(
            type(error).__name__,
            redacted(text(error)) + where,
            text(report.longreprtext)[-_MAX_TRACEBACK:],
        )
        attempt.fail(failure, diagnose(failure))


def rewritten(value: Any, change: Callable[[str], str]) -> Any:
    """Return a failure's representation with ``change`` applied to every text in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return change("\n".join(value)).split("\n")
    if isinstance(value, list | tuple):
        return type(value)(rewritten(item, change) for item in value)
    if hasattr(value, "toterminal"):  # a part of pytest's own representation
        for name, item in vars(value).items():
            setattr(value, name, rewritten(item, change))
    return value


def made_sendable(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Reduce a report to what a connection between processes can carry: UTF-8 and plain values."""
    report.longrepr = rewritten(report.longrepr, text)
    report.sections = [(text(name), text(content)) for name, content in report.sections]
    if isinstance(report, pytest.TestReport):
        report.user_properties = [(text(name), _sendable(v)) for name, v in report.user_properties]


def _sendable(value: object) -> object:
    if type(value) is list:
        return [_sendable(item) for item in value]
    if type(value) is tuple:
        return tuple(_sendable(item) for item in value)
    if type(value) is dict:
        return {_sendable(key): _sendable(item) for key, item in value.items()}
    return value if type(value) in {int, float, bool, bytes, type(None)} else text(value)


def capped(sections: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return captured output, shortened in the middle and without secrets; the log is complete."""
    return [(name, redacted(_middle_out(content))) for name, content in sections]


def _middle_out(content: str) -> str:
    if len(content) <= _MAX_CAPTURED:
        return content
    left_out = len(content) - _MAX_CAPTURED
    start, end = content[: _MAX_CAPTURED // 4], content[-3 * _MAX_CAPTURED // 4 :]
    return f"{start}\n… {left_out:,} characters left out; log.txt of the attempt has them …\n{end}"


def write_log(attempt: Attempt, report: pytest.TestReport) -> None:
    """Append captured output to the attempt's log."""
    with contextlib.suppress(OSError):  # if the folder is missing, the record's failure says so
        _write_sections(attempt, report)


def _write_sections(attempt: Attempt, report: pytest.TestReport) -> None:
    for name, content in report.sections:
        if content.strip():
            attempt.log(f"--- {name} ---\n{content.rstrip()}\n")
    if report.failed:
        attempt.log(f"--- teardown failed ---\n{report.longreprtext}\n")
