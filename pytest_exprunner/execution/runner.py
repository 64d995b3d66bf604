"""What a handler sees: metrics, artifacts, progress, evidence, and what this attempt is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pytest_exprunner._util.errors import ExprunnerError, count, did_you_mean
from pytest_exprunner._util.serialization import Plain, as_float, number, plain, shown, text, unbox
from pytest_exprunner.execution.artifacts import ArtifactStore
from pytest_exprunner.execution.upstream import Upstream
from pytest_exprunner.model.attempt import AttemptRecord, Event, EvidenceKind, samples_text
from pytest_exprunner.verdicts.handler_result import bare_names

T = TypeVar("T")

_SECONDS_BETWEEN_TELLING = 0.5
_NAMES_KNOWN = 10_000
_MAX_SAMPLES = 100_000
_PARTS = frozenset({"results", "needs", "params", "config"})
"""What a runner is given when it is built, and keeps."""


class ExperimentRunner:
    """The ``runner`` of a handler: one object per attempt, of no use after it."""

    def __init__(
        self,
        begun: AttemptRecord,
        emit: Callable[[Event], None],
        results: ArtifactStore,
        needs: Mapping[str, Upstream],
        params: Mapping[str, Any],
        config: Mapping[str, Any],
        checkpoints: Callable[[], Path],
    ) -> None:
        """Built by the plugin; ``emit`` receives everything that happens."""
        self._checkpoints = checkpoints
        self._begun = begun
        self._emit = emit
        self._names: dict[object, str] = {}
        self._sampled: dict[str, int] = {}
        self.results = results
        """Stores artifacts: `save_artifact`, `save_json_artifact`, `save_figure` and others."""
        self.needs = needs
        """What needed sub-experiments left: ``needs["e_p2_1"].metrics``, ``.artifact("encoder.pt")``."""
        self.params = params
        """The parameters of this variant, by name; empty where the handler has none."""
        self.config = config
        """What the plan has for this sub-experiment, including your own keys."""

    def __setattr__(self, name: str, value: object) -> None:
        """Refuse what only looks as if it did something, such as ``runner.evidence = "simulated"``."""
        if not name.startswith("_") and (name not in _PARTS or name in self.__dict__):
            is_called = callable(getattr(type(self), name, None))
            how = f"it is called: runner.{name}(…)" if is_called else "the attribute has no effect"
            raise AttributeError(f"runner.{name} cannot be set; {how}")
        super().__setattr__(name, value)

    @property
    def experiment_id(self) -> str:
        """Id of the experiment, such as ``p2-hybrid-encoder``."""
        return self._begun.key.experiment

    @property
    def sub_experiment_id(self) -> str:
        """Id of the sub-experiment, such as ``e_p2_1``."""
        return self._begun.key.sub_experiment

    @property
    def seed(self) -> int:
        """The seed of this attempt where the plan lists seeds, else one of 32 bits that is always the same.

        python, NumPy and torch are seeded with it before the handler runs.
        """
        return self._begun.rng_seed

    @property
    def device(self) -> Any:
        """The best ``torch.device`` there is (cuda, mps, cpu); the text "cpu" without torch."""
        try:
            import torch  # imported only when a handler asks
        except ImportError:
            return "cpu"
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = getattr(torch.backends, "mps", None)
        return torch.device("mps" if mps is not None and mps.is_available() else "cpu")

    @property
    def checkpoint_dir(self) -> Path:
        """A folder that survives until an attempt at the same thing completes.

        The same thing is the same code, parameters, configuration and data: after a crash, a time-out or
        an interruption the next attempt finds what this one put there. It is removed on completion.
        """
        folder = self._checkpoints()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def log_metrics(self, metrics: Mapping[str, object], step: int | None = None) -> None:
        """Append numbers to the journal at once. Once this returns, a kill loses nothing of them.

        Values may be python or NumPy numbers, 0-d arrays or one-element tensors on any device.
        Only returned metrics are judged. Raises TypeError for what is not a number.
        """
        now = time.time()
        row: dict[str, Plain] = {}
        if type(metrics) is dict:
            names = self._names
            try:
                for name, value in metrics.items():
                    row[names[name]] = value if type(value) is float else _scalar(name, value)
            except KeyError:  # a name that is new
                row.clear()
        if not row or len(row) != len(metrics):
            row = self._row(metrics)
        data: dict[str, Plain] = {"metrics": row}
        if step is not None:
            data["step"] = step if type(step) is int else _step(step)
        self._emit(Event("metrics", now, data))

    def _row(self, metrics: Mapping[str, object]) -> dict[str, Plain]:
        """Return metrics with the names and values that are recorded; remember the names."""
        if not isinstance(metrics, Mapping):
            raise TypeError(f'log_metrics takes a mapping such as {{"loss": 0.1}}, not {shown(metrics)}')
        prefix = self._begun.key.sub_experiment
        row = bare_names({text(name): _scalar(name, value) for name, value in metrics.items()}, prefix)
        if len(self._names) < _NAMES_KNOWN:
            for name in metrics:
                if type(name) is str:
                    [self._names[name]] = bare_names({text(name): None}, prefix)
        return row

    def log_samples(self, name: str, values: Iterable[object]) -> None:
        """Append one value per sample to those that a metric is the mean of: shape (samples,).

        An interval follows from them: ``runner.log_samples("accuracy", correct)`` with zeros and ones, or
        with numbers such as errors. Called again it appends. Raises TypeError for what is no list of
        numbers, ValueError for more than 100,000.
        """
        known = bare_names({text(name): None}, self._begun.key.sub_experiment)
        [bare] = known
        row = _samples(name, values)
        self._sampled[bare] = self._sampled.get(bare, 0) + len(row)
        if self._sampled[bare] > _MAX_SAMPLES:
            raise ValueError(
                f"log_samples: {shown(name, 40)} has {self._sampled[bare]:,} values; expected at most "
                f"{_MAX_SAMPLES:,}: save them as an artifact and log a random subset"
            )
        self._emit(Event("samples", time.time(), {"name": bare, "values": samples_text(row)}))

    def stage(self, title: str, current: int | None = None, total: int | None = None) -> None:
        """Tell where the handler is: ``runner.stage("Loading model", 2, 5)``."""
        data: dict[str, Plain] = {"text": text(title)}
        if current is not None:
            data |= {"current": number(current), "total": number(total)}
        self._emit(Event("stage", time.time(), data))

    def progress(self, fraction: float) -> None:
        """Tell how far the handler is, from 0 to 1."""
        value = number(fraction)
        if value is None or value != value:  # noqa: PLR0124 - NaN is no progress
            raise TypeError(f"progress takes a number from 0 to 1, not {shown(fraction)}")
        self._emit(Event("progress", time.time(), {"fraction": min(max(float(value), 0.0), 1.0)}))

    def track(self, iterable: Iterable[T], title: str = "") -> Iterator[T]:
        """Iterate, and report progress now and then: ``for x in runner.track(range(9), "epochs")``."""
        total = _length(iterable)
        done, started = 0, time.monotonic()
        told = started
        for item in iterable:
            yield item
            done += 1
            now = time.monotonic()
            if now - told >= _SECONDS_BETWEEN_TELLING and done != total:
                told = now
                self._track(title, done, total, now - started)
        self._track(title, done, total, time.monotonic() - started)

    def _track(self, title: str, done: int, total: int | None, seconds: float) -> None:
        data: dict[str, Plain] = {
            "text": text(title), "done": done, "total": total, "seconds": round(seconds, 3),
        }  # fmt: skip
        self._emit(Event("track", time.time(), data))

    def evidence(self, kind: str, why: str) -> None:
        """Declare where this attempt's numbers come from, when it is not from running the thing.

        ``kind`` is simulated, fallback, imported (or real, or stub). Criteria refuse such numbers
        unless the plan admits the kind. A synthetic *data set* is still real evidence.
        """
        kinds = [str(known) for known in EvidenceKind]
        if kind not in kinds:
            hint = did_you_mean(kind, kinds)
            raise ExprunnerError(f"unknown kind of evidence {kind!r}{hint}; known: {', '.join(kinds)}")
        self._emit(
            Event(
                "evidence",
                time.time(),
                {"kind": str(kind), "reason": text(why), "place": _caller()},
            )
        )

    def fallback(self, why: str) -> None:
        """Declare that a substitute was used: ``runner.fallback("API unreachable, cached scores")``."""
        self._emit(
            Event(
                "evidence",
                time.time(),
                {"kind": "fallback", "reason": text(why), "place": _caller()},
            )
        )

    def __getattr__(self, name: str) -> NoReturn:
        """Explain misspelt members."""
        members = [member for member in dir(type(self)) if not member.startswith("_")]
        hint = did_you_mean(name, [*members, "results", "needs", "params", "config"])
        raise AttributeError(f"the runner has no {name!r}{hint}")


def _length(iterable: Any) -> int | None:
    try:
        return len(iterable)
    except TypeError:
        return None


def _scalar(name: object, value: object) -> Any:
    plain = unbox(value)
    if type(plain) in (bool, int, float):
        return plain
    found = number(plain)
    if found is None:
        shape = getattr(value, "shape", None)
        what = f"shape {tuple(shape)}" if shape is not None else shown(value, 60)
        raise TypeError(
            f"log_metrics: {shown(name, 40)} is {type(value).__name__} ({what}), not one number; "
            "log a number, and save arrays and texts as artifacts"
        )
    return found


def _samples(name: object, values: Any) -> list[float]:
    """Return values per sample as floats; zeros and ones for false and true."""
    is_list = isinstance(values, Iterable) and not isinstance(values, Mapping | str | bytes)
    if is_list and not hasattr(values, "shape"):
        values = list(values)
    listed = plain(values, keep_arrays=True)
    items = listed if isinstance(listed, list) else [listed]
    found = [number(int(item) if isinstance(item, bool) else item) for item in items]
    if None in found or items is not listed:
        odd = shown(items[found.index(None)], 40) if items is listed else f"is {shown(values, 60)},"
        what = f"holds {odd}, which is not a number" if items is listed else f"{odd} no list"
        raise TypeError(f"log_samples: {shown(name, 40)} {what}; expected one number per sample")
    return [as_float(item) for item in found if item is not None]


def _step(step: object) -> int:
    found = number(step)
    if not isinstance(found, int):
        raise TypeError(f"log_metrics: step is {shown(step, 40)}; expected an integer")
    return found


def _caller() -> str:
    frame = sys._getframe(2)  # noqa: SLF001 - the place of the declaration is part of it
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def event_line(event: Event) -> str:
    """Return how a progress event reads for a person, or an empty text for other events."""
    data: Mapping[str, Any] = event.data
    if event.kind == "stage":
        place = f"[{data['current']}/{data['total'] or '?'}] " if "current" in data else ""
        return f"{place}{data['text']}"
    if event.kind == "progress":
        return f"{float(data['fraction']):.0%} done"
    if event.kind == "track":
        title = f"{data['text']}: " if data["text"] else ""
        total = data["total"]
        steps = f"{data['done']}/{total}" if total is not None else count(int(data["done"]), "step")
        return f"{title}{steps} in {float(data['seconds']):.1f} s"
    if event.kind == "evidence":
        return f"evidence declared {data['kind']}: {data['reason']} ({data['place']})"
    return ""
