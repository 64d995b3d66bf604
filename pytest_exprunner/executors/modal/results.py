"""Results of attempts on Modal, and Modal's errors as messages. Needs no run in progress."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

import modal
from modal.exception import AuthError, Error, FunctionTimeoutError, NotFoundError, OutputExpiredError
from modal.exception import TimeoutError as NoAnswerYet

from pytest_exprunner._util.errors import ExecutorError
from pytest_exprunner.executors.base import Answer, Job
from pytest_exprunner.executors.content_store import FileContent, object_name
from pytest_exprunner.executors.remote_worker import ANSWER, STOPPED, place_of_answer

VOLUME = "exprunner-results"
UNREACHABLE = (OSError, EOFError, modal.exception.ConnectionError, modal.exception.ServiceError)
OVER = (FunctionTimeoutError, OutputExpiredError)
"""Errors about time that mean that a call has ended."""


def app_name(run: str) -> str:
    """Return the name of a run's app."""
    return f"exprunner-{run}"


class VolumeResults:
    """Results that attempts published on the volume; reading them starts no function."""

    def __init__(self) -> None:
        """No request is sent yet."""
        self.volume = modal.Volume.from_name(VOLUME, create_if_missing=True)

    def answer(self, run: str, job: Job, *, stopped: bool) -> Answer | None:
        """Return the answer of a job, or None. With ``stopped``, also accept the answer of a stopped job."""
        folder = place_of_answer(run, job)
        for name in (ANSWER, STOPPED) if stopped else (ANSWER,):
            with in_words(), contextlib.suppress(NotFoundError, FileNotFoundError, ValueError):
                return Answer.parse(json.loads(b"".join(self.volume.read_file(f"{folder}/{name}"))))
        return None

    def goes_on(self, call: str) -> bool:
        """Return whether a call has neither returned nor failed."""
        try:
            modal.FunctionCall.from_id(call).get(timeout=0)
        except (NoAnswerYet, TimeoutError) as error:
            return not isinstance(error, OVER)
        except (AuthError, *UNREACHABLE):
            return True  # unknown, so assume that it still runs
        except Exception:  # noqa: BLE001 - any other error means that the call has ended
            return False
        return False

    def fetch(self, entry: FileContent) -> Iterator[bytes]:
        """Yield the content of a file that an answer lists."""
        with in_words():
            yield from self.volume.read_file(object_name(entry.sha256))

    def over(self, run: str) -> None:
        """Stop the app that was deployed for a run, because none of its jobs is pending."""
        with contextlib.suppress(Error, OSError):
            app = modal.App.lookup(app_name(run))
            stop = getattr(app, "stop", None)  # before modal 1.6 only the command line can stop an app
            if stop is not None:
                stop()


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Convert Modal's errors into `ExecutorError`, with a fix where there is one."""
    try:
        yield
    except AuthError as error:
        raise ExecutorError(
            f"Modal does not recognise these credentials ({error}); run 'modal setup' once, or set "
            "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET"
        ) from error
    except UNREACHABLE as error:
        raise ExecutorError(f"Modal cannot be reached: {error or type(error).__name__}") from error
    except Error as error:
        raise ExecutorError(f"Modal refused: {error}") from error
