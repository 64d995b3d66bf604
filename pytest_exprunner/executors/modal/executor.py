"""Runs attempts on Modal: each is one function call in a container with the project and a warm pytest."""

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
_OUTAGE = 600.0  # seconds without a response from Modal before it gives up
_PAUSE = 1.0
_AFTER_CANCEL = 8.0


class _SystemError(ExecutorError):
    """Modal, not the handler, failed an attempt."""


class ModalExecutor:
    """Runs attempts on Modal while it is open."""

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        setup: Setup,
        root: Path,
        shipped: Sequence[str],
        subs: Sequence[SubExperiment],
    ) -> None:
        """``shipped`` are the files below ``root`` to upload, ``subs`` the sub-experiments that can run."""
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
        self._uploaded: set[str] = set()
        self._small: dict[str, bytes] = {}
        self._calls: dict[str, modal.FunctionCall[Any]] = {}
        self._cancelled = threading.Event()
        self._functions: dict[str, Any] = {}
        self._variants: dict[str, Any] = {}
        self._detached_jobs = 0

    def __enter__(self) -> Self:
        """Upload the project and start the app. Raises `ExecutorError` if Modal refuses it."""
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
        # Once an ephemeral app loses its client, Modal keeps only the last function called, so deploy it.
        app.deploy()
        stack.callback(lambda: None if self._detached_jobs else self._results.over(self._setup.run))

    def __exit__(self, *exc: object) -> None:
        """Close the app. Calls in progress stop, except the jobs of a detached run."""
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

    def submit(self, job: Job, source: Path, on_piece: Told, on_start: Began) -> Future[Answer]:
        """Start a job; see `Executor.submit`."""
        return self._pool.submit(self._make, job, source, on_piece, on_start)

    def leave(self, job: Job, source: Path) -> str:
        """Submit a job that continues after this is closed; needs a detached run."""
        with in_words():
            self._send(job.files, source)
            call = self._spawn(job).object_id
        self._detached_jobs += 1
        return call

    def fetch(self, entry: FileContent) -> Iterator[bytes]:
        """Yield the content of a file that an answer lists."""
        if entry.sha256 in self._small:
            yield self._small.pop(entry.sha256)
            return
        yield from self._results.fetch(entry)

    def cancel(self) -> None:
        """Cancel every call in progress, so that its attempt records the interruption."""
        self._cancelled.set()
        for call in list(self._calls.values()):
            with contextlib.suppress(Error, OSError):
                call.cancel()

    # --- one job, in its own thread -----------------------------------------------------------

    def _make(self, job: Job, source: Path, on_piece: Told, on_start: Began) -> Answer:
        if self._cancelled.is_set():
            raise ExecutorError("it was stopped before it started")
        with in_words():
            self._send(job.files, source)
        retries = self._containers[job.sub_experiment].retries
        answer = self._call_with_retries(job, on_piece, on_start, 1 if retries is None else retries)
        self._uploaded.update(entry.sha256 for entry in answer.files)
        return answer

    def _call_with_retries(self, job: Job, on_piece: Told, on_start: Began, retries: int) -> Answer:
        try:
            return self._call(job, on_piece, on_start)
        except _SystemError as error:
            if not retries or self._cancelled.is_set():
                return Answer(problem=str(error))
        return self._call_with_retries(job, on_piece, on_start, retries - 1)

    def _call(self, job: Job, on_piece: Told, on_start: Began) -> Answer:
        """Run the attempt once. Raises `_SystemError` if Modal, not the handler, failed it."""
        with in_words():
            self._calls[job.name] = call = self._spawn(job)
        on_start(call.object_id)
        if self._cancelled.is_set():  # cancelled while the call was being spawned
            with contextlib.suppress(Error, OSError):
                call.cancel()
        try:
            return self._wait(job, call, on_piece)
        finally:
            self._calls.pop(job.name, None)

    def _spawn(self, job: Job) -> modal.FunctionCall[Any]:
        function = self._function_for(job)
        call: modal.FunctionCall[Any] = function.spawn(
            self._setup.dump(), job.dump(), self._volume, self._pieces
        )
        return call

    def _send(self, entries: Sequence[FileContent], source: Path) -> None:
        """Upload the files of other attempts that the volume does not have yet."""
        with self._sending:
            new = {entry.sha256: entry for entry in entries if entry.sha256 not in self._uploaded}
            if new:
                with self._volume.batch_upload(force=True) as batch:
                    for sha256, entry in new.items():
                        batch.put_file(source / entry.path, f"/{object_name(sha256)}")
                self._uploaded.update(new)

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

    def _wait(self, job: Job, call: modal.FunctionCall[Any], on_piece: Told) -> Answer:
        since: float | None = None
        partition = partition_of(job)
        while True:
            try:
                answer = self._answer_of(call)
                self._pass_on(partition, on_piece)
                since = None
            except UNREACHABLE as error:
                since = since or time.monotonic()
                self._check_outage(since, error)
                time.sleep(_PAUSE)
                continue
            except AuthError as error:
                raise StillAwayError(f"Modal no longer responds: {error}") from error
            except (Exception, InputCancellation) as error:  # noqa: BLE001 - distinguished there
                return self._answer_after_failure(job, error)
            if answer is not None:
                return answer

    def _check_outage(self, since: float, error: BaseException) -> None:
        if self._cancelled.is_set():
            raise StillAwayError(f"stopped while Modal could not be reached: {error}") from error
        if time.monotonic() - since > _OUTAGE:
            raise StillAwayError(f"Modal could not be reached for {_OUTAGE:g} s: {error}") from error

    def _answer_after_failure(self, job: Job, error: BaseException) -> Answer:
        """Return what a failed call published, or a timeout.

        Raises `ExecutorError` if the run was cancelled, else `_SystemError`.
        """
        found = self._published_answer(job)
        if found is not None:
            return found
        if isinstance(error, FunctionTimeoutError):
            return Answer(problem=f"timeout: Modal ended its container ({error})")
        if self._cancelled.is_set():
            raise ExecutorError("it was stopped") from error
        raise _SystemError(f"Modal failed it: {type(error).__name__}: {error}") from error

    def _answer_of(self, call: modal.FunctionCall[Any]) -> Answer | None:
        """Return the answer of a call, or None if it is still running. Raises the error of a failed call."""
        try:
            answer, small = call.get(timeout=_LOOK)
        except (NoAnswerYet, TimeoutError) as error:
            if isinstance(error, OVER):
                raise
            return None
        self._small.update(small)
        return Answer.parse(answer)

    def _pass_on(self, partition: str, on_piece: Told) -> None:
        while pieces := self._pieces.get_many(100, block=False, partition=partition):
            for name, offset, data, start in pieces:
                on_piece(Piece(name, offset, data, start))

    def _published_answer(self, job: Job) -> Answer | None:
        """Return what a job published before its call failed. After a cancellation, wait for it briefly."""
        stopped = self._cancelled.is_set()
        deadline = time.monotonic() + (_AFTER_CANCEL if stopped else 0.0)
        while (found := self._results.answer(self._setup.run, job, stopped=stopped)) is None:
            if time.monotonic() >= deadline:
                break
            time.sleep(_LOOK)
        return found


def _name_of(container: Container) -> str:
    """Return one name for all containers that differ in nothing but retries."""
    made_of = {name: repr(value) for name, value in container if name != "retries"}
    return f"attempt-{hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:8]}"
