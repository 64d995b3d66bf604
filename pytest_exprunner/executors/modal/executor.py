"""Modal: each attempt is a call of one function, whose container holds the project and a warm pytest."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import modal
from modal.exception import AuthError, Error, FunctionTimeoutError, InputCancellation
from modal.exception import TimeoutError as NoAnswerYet

from pytest_exprunner._util.errors import ExecutorError
from pytest_exprunner.executors.base import Answer, Began, Job, Piece, Setup, StillAwayError, Told
from pytest_exprunner.executors.content_store import FileContent, object_name
from pytest_exprunner.executors.modal.container import STORE, attempt, partition_of
from pytest_exprunner.executors.modal.image import image_of, stage
from pytest_exprunner.executors.modal.options import LONGEST, asked
from pytest_exprunner.executors.modal.results import OVER, UNREACHABLE, VolumeResults, app_name, in_words
from pytest_exprunner.model.settings import Settings
from pytest_exprunner.plan.compute import Container
from pytest_exprunner.plan.models import Plan, SubExperiment

_LOOK = 0.3
_OUTAGE = 600.0  # seconds without an answer from Modal after which it is given up
_PAUSE = 1.0
_AFTER_CANCEL = 8.0


class _SystemError(ExecutorError):
    """Modal failed an attempt; its handler did nothing wrong."""


class ModalExecutor:
    """Makes attempts on Modal, while it is open."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        setup: Setup,
        root: Path,
        shipped: Sequence[str],
        subs: Sequence[SubExperiment],
    ) -> None:
        """``shipped`` are the files below ``root`` that go along, ``subs`` what may be run."""
        self.most = settings.most_containers or plan.modal.max_containers
        self._detached = settings.detach
        self._plan = plan
        self._limit = settings.timeout
        self._containers = {sub.id: plan.modal.and_own(sub.modal) for sub in subs}
        self._setup = setup
        self._root = root
        self._shipped = shipped
        self._stack = contextlib.ExitStack()
        self._results = VolumeResults()
        self._volume = self._results.volume
        self._sending = threading.Lock()
        self._known: set[str] = set()
        self._small: dict[str, bytes] = {}
        self._calls: dict[str, modal.FunctionCall[Any]] = {}
        self._cancelled = threading.Event()
        self._functions: dict[str, Any] = {}
        self._variants: dict[str, Any] = {}
        self._left = 0

    def __enter__(self) -> Self:
        """Bring the project there. Raises `ExecutorError` where Modal refuses."""
        with contextlib.ExitStack() as stack:
            staged = Path(stack.enter_context(stage(self._root, self._shipped)))
            app = modal.App(app_name(self._setup.run), include_source=False)
            for container in self._containers.values():
                name = _name_of(container)
                if name not in self._functions:
                    options = self._function_options(container, staged)
                    self._functions[name] = app.function(name=name, **options)(attempt)
            with in_words():
                self._open(app, stack)
                self._pieces = stack.enter_context(modal.Queue.ephemeral())
                self._volume.hydrate()
            self._pool = ThreadPoolExecutor(self.most, "exprunner-modal")
            stack.callback(self._pool.shutdown, wait=False, cancel_futures=True)
            self._stack = stack.pop_all()
        return self

    def _open(self, app: modal.App, stack: contextlib.ExitStack) -> None:
        if not self._detached:
            stack.enter_context(app.run())
            return
        # Of an app that only lost its client, Modal keeps no more than the function called last.
        app.deploy()
        stack.callback(lambda: None if self._left else self._results.over(self._setup.run))

    def __exit__(self, *exc: object) -> None:
        """End the app, and with it what is under way."""
        self._cancelled.set()
        with contextlib.suppress(Error, OSError):
            self._stack.close()

    def _function_options(self, container: Container, staged: Path) -> dict[str, Any]:
        volumes = {
            at: modal.Volume.from_name(name, create_if_missing=True) for name, at in container.volumes.items()
        }
        options: dict[str, Any] = {
            "image": image_of(container, self._root, staged),
            "volumes": {**volumes, STORE: self._volume},
            "secrets": [modal.Secret.from_name(name) for name in container.secrets],
            "timeout": LONGEST,
            "max_containers": self.most,
            "region": container.region,
        }
        return {name: value for name, value in options.items() if value}

    def submit(self, job: Job, source: Path, told: Told, began: Began) -> Future[Answer]:
        """Start a job."""
        return self._pool.submit(self._make, job, source, told, began)

    def leave(self, job: Job, source: Path) -> str:
        """Start a job that goes on when this is closed, which takes a run that is detached."""
        with in_words():
            self._send(job.files, source)
            call = self._spawn(job).object_id
        self._left += 1
        return call

    def fetch(self, entry: FileContent) -> Iterator[bytes]:
        """Yield the content of a file that an answer lists."""
        if entry.sha256 in self._small:
            yield self._small.pop(entry.sha256)
            return
        yield from self._results.fetch(entry)

    def cancel(self) -> None:
        """Ask everything that is under way to note that it was stopped."""
        self._cancelled.set()
        for call in list(self._calls.values()):
            with contextlib.suppress(Error, OSError):
                call.cancel()

    # --- one job, in a thread of its own ------------------------------------------------------

    def _make(self, job: Job, source: Path, told: Told, began: Began) -> Answer:
        if self._cancelled.is_set():
            raise ExecutorError("it was stopped before it started")
        with in_words():
            self._send(job.files, source)
        retries = self._containers[job.sub_experiment].retries
        answer = self._called(job, told, began, 1 if retries is None else retries)
        self._known.update(entry.sha256 for entry in answer.files)
        return answer

    def _called(self, job: Job, told: Told, began: Began, retries: int) -> Answer:
        try:
            return self._call(job, told, began)
        except _SystemError as error:
            if not retries or self._cancelled.is_set():
                return Answer(problem=str(error))
        return self._called(job, told, began, retries - 1)

    def _call(self, job: Job, told: Told, began: Began) -> Answer:
        """Make the attempt once. Raises `_SystemError` where that failed for no fault of the handler."""
        with in_words():
            self._calls[job.name] = call = self._spawn(job)
        began(call.object_id)
        if self._cancelled.is_set():  # it was, while this was being spawned
            with contextlib.suppress(Error, OSError):
                call.cancel()
        try:
            return self._wait(job, call, told)
        finally:
            self._calls.pop(job.name, None)

    def _spawn(self, job: Job) -> modal.FunctionCall[Any]:
        function = self._function_for(job)
        call: modal.FunctionCall[Any] = function.spawn(
            self._setup.dump(), job.dump(), self._volume, self._pieces
        )
        return call

    def _send(self, entries: Sequence[FileContent], source: Path) -> None:
        """Send the files that others have left and that are not there yet."""
        with self._sending:
            new = {entry.sha256: entry for entry in entries if entry.sha256 not in self._known}
            if new:
                with self._volume.batch_upload(force=True) as batch:
                    for sha256, entry in new.items():
                        batch.put_file(source / entry.path, f"/{object_name(sha256)}")
                self._known.update(new)

    def _function_for(self, job: Job) -> Any:
        sub = self._plan.experiments[job.experiment].sub_experiments[job.sub_experiment]
        limit = self._limit if sub.timeout is None else sub.timeout
        options = asked(sub.resources, limit, self._plan.modal, stub=bool(self._setup.branch))
        made_of = _name_of(self._containers[sub.id])
        name = json.dumps([made_of, options], sort_keys=True)
        if name not in self._variants:
            function = self._functions[made_of]
            self._variants[name] = function.with_options(**options) if options else function
        return self._variants[name]

    def _wait(self, job: Job, call: modal.FunctionCall[Any], told: Told) -> Answer:
        since: float | None = None
        partition = partition_of(job)
        while True:
            try:
                answer = self._answer_of(call)
                self._pass_on(partition, told)
                since = None
            except UNREACHABLE as error:
                since = since or time.monotonic()
                self._give_up_in_time(since, error)
                time.sleep(_PAUSE)
                continue
            except AuthError as error:
                raise StillAwayError(f"Modal no longer responds: {error}") from error
            except (Exception, InputCancellation) as error:  # noqa: BLE001 - told apart there
                return self._ended_otherwise(job, error)
            if answer is not None:
                return answer

    def _give_up_in_time(self, since: float, error: BaseException) -> None:
        if self._cancelled.is_set():
            raise StillAwayError(f"stopped while Modal could not be reached: {error}") from error
        if time.monotonic() - since > _OUTAGE:
            raise StillAwayError(f"Modal could not be reached for {_OUTAGE:g} s: {error}") from error

    def _ended_otherwise(self, job: Job, error: BaseException) -> Answer:
        """Return what a call has left that did not return. Raises `_SystemError` where that is nothing."""
        found = self._left_behind(job)
        if found is not None:
            return found
        if isinstance(error, FunctionTimeoutError):
            return Answer(problem=f"timeout: Modal ended its container ({error})")
        if self._cancelled.is_set():
            raise ExecutorError("it was stopped") from error
        raise _SystemError(f"Modal failed it: {type(error).__name__}: {error}") from error

    def _answer_of(self, call: modal.FunctionCall[Any]) -> Answer | None:
        """Return what a call has returned, or None where it goes on. Raises what became of it."""
        try:
            answer, small = call.get(timeout=_LOOK)
        except (NoAnswerYet, TimeoutError) as error:
            if isinstance(error, OVER):
                raise
            return None
        self._small.update(small)
        return Answer.parse(answer)

    def _pass_on(self, partition: str, told: Told) -> None:
        while pieces := self._pieces.get_many(100, block=False, partition=partition):
            for name, offset, data, start in pieces:
                told(Piece(name, offset, data, start))

    def _left_behind(self, job: Job) -> Answer | None:
        """Return what a job that was stopped has published all the same."""
        stopped = self._cancelled.is_set()
        deadline = time.monotonic() + (_AFTER_CANCEL if stopped else 0.0)
        while (found := self._results.answer(self._setup.run, job, stopped=stopped)) is None:
            if time.monotonic() >= deadline:
                break
            time.sleep(_LOOK)
        return found


def _name_of(container: Container) -> str:
    """Return one name for all containers that are made of the same."""
    made_of = {name: repr(value) for name, value in container if name != "retries"}
    return f"attempt-{hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:8]}"
