"""What a handler sees: metrics, progress, evidence, and clear words for everything else."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import pytest
from builders import SUB, X1, planned_record

from pytest_exprunner._util.errors import ExprunnerError, HandlerError
from pytest_exprunner.execution.artifacts import ArtifactStore
from pytest_exprunner.execution.runner import ExperimentRunner, event_line
from pytest_exprunner.model.attempt import Event

torch = pytest.importorskip("torch")


class Watched:
    """A runner and the events that it emitted."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Event] = []
        store = ArtifactStore(str(folder / "artifacts"), f"artifacts/{SUB}", lambda _artifact: None)
        self.runner = ExperimentRunner(
            planned_record(),
            self.events.append,
            store,
            {},
            MappingProxyType({"lr": 0.1}),
            {"id": SUB, "mine": 1},
            lambda: folder,
        )

    def logged(self) -> list[dict[str, Any]]:
        """Return the data of every event, plain."""
        return [dict(event.data) for event in self.events]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    """A runner whose events are kept."""
    return Watched(tmp_path)


def test_what_this_attempt_is(watched: Watched) -> None:
    """Ids, seed, parameters and the plan's words are there."""
    runner = watched.runner
    assert (runner.experiment_id, runner.sub_experiment_id, runner.seed) == (X1, SUB, 7)
    assert (runner.params["lr"], runner.config["mine"]) == (0.1, 1)
    assert str(runner.device) in ("cpu", "cuda", "mps")
    assert watched.events == []


# --- metrics ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "logged"),
    [
        (0.5, 0.5),
        (3, 3),
        (True, True),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.int8(3), 3),
        (np.array(0.5), 0.5),
        (np.array([0.5]), 0.5),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (torch.tensor([3]), 3),
        (torch.tensor(0.5, dtype=torch.bfloat16), 0.5),
        (math.inf, math.inf),
        (10**400, 10**400),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_are_logged(watched: Watched, value: object, logged: float) -> None:
    """Every kind of number arrives as a plain one."""
    watched.runner.log_metrics({"loss": value})
    found = watched.logged()[0]["metrics"]["loss"]
    assert (type(found), found) == (type(logged), logged)


def test_nan_is_logged(watched: Watched) -> None:
    """NaN is kept as what it is."""
    watched.runner.log_metrics({"loss": np.float32("nan")})
    assert math.isnan(watched.logged()[0]["metrics"]["loss"])


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (None, "NoneType (None)"),
        ("0.5", "str ('0.5')"),
        ([0.5], "list ([0.5])"),
        ({"a": 1}, "dict ({'a': 1})"),
        (1j, "complex (1j)"),
        (np.array([0.1, 0.2]), "ndarray (shape (2,))"),
        (np.zeros((2, 3)), "ndarray (shape (2, 3))"),
        (torch.zeros(2), "Tensor (shape (2,))"),
        (torch.zeros(2, 3, requires_grad=True), "Tensor (shape (2, 3))"),
        (torch.empty(1, device="meta"), "Tensor (shape (1,))"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_number_is_refused(watched: Watched, value: object, what: str) -> None:
    """The message shows the name, the type and the value or shape; nothing is logged."""
    with pytest.raises(TypeError) as caught:
        watched.runner.log_metrics({"good": 1.0, "loss": value})
    assert str(caught.value) == (
        f"log_metrics: 'loss' is {what}, not one number; log a number, and save arrays and texts as artifacts"
    )
    assert watched.events == []


@pytest.mark.parametrize("value", [None, 0.5, [("loss", 0.5)], "loss"])
def test_metrics_are_a_mapping(watched: Watched, value: Any) -> None:
    """Anything but a mapping is refused, with an example."""
    with pytest.raises(TypeError) as caught:
        watched.runner.log_metrics(value)
    assert str(caught.value) == (f'log_metrics takes a mapping such as {{"loss": 0.1}}, not {value!r}')


@pytest.mark.parametrize(
    ("name", "bare"), [("loss", "loss"), (f"{SUB}/loss", "loss"), ("val/loss", "val/loss"), (3, "3")]
)
def test_names(watched: Watched, name: Any, bare: str) -> None:
    """Names may come bare or prefixed, and are stored bare."""
    watched.runner.log_metrics({name: 1})
    assert watched.logged() == [{"metrics": {bare: 1}}]


def test_bare_and_prefixed_together(watched: Watched) -> None:
    """Both at once would hide one of them."""
    twice = rf"the metric 'loss' is given twice, bare and as '{SUB}/loss'"
    with pytest.raises(HandlerError, match=twice):
        watched.runner.log_metrics({"loss": 1, f"{SUB}/loss": 2})
    assert watched.events == []
    watched.runner.log_metrics({"loss": 1})
    watched.runner.log_metrics({f"{SUB}/loss": 2})
    with pytest.raises(HandlerError, match=twice):  # also where both names are known by now
        watched.runner.log_metrics({"loss": 1, f"{SUB}/loss": 2})
    assert watched.logged() == [{"metrics": {"loss": 1}}, {"metrics": {"loss": 2}}]


@pytest.mark.parametrize("name", ["loss", f"{SUB}/loss", "a/b", "\ud800", "", 3, True, None])
def test_a_name_that_is_known_reads_as_it_did_at_first(watched: Watched, name: Any) -> None:
    """Names are looked up after their first use; nothing changes by it."""
    for value in (1.0, np.float32(2.0)):
        watched.runner.log_metrics({name: value, "other": 0.5})
    first, second = (list(event["metrics"]) for event in watched.logged())
    assert first == second
    assert all(text.isprintable() for text in first)


@pytest.mark.parametrize(("step", "logged"), [(0, 0), (np.int64(3), 3), (torch.tensor(4), 4)])
def test_steps(watched: Watched, step: Any, logged: int) -> None:
    """A step is a whole number of any kind."""
    watched.runner.log_metrics({"loss": 1.0}, step=step)
    assert watched.logged() == [{"metrics": {"loss": 1.0}, "step": logged}]
    assert type(watched.logged()[0]["step"]) is int


@pytest.mark.parametrize("step", [1.5, "1", True])
def test_what_is_no_step(watched: Watched, step: Any) -> None:
    """Other steps are refused in words."""
    with pytest.raises(TypeError) as caught:
        watched.runner.log_metrics({"loss": 1.0}, step=step)
    assert str(caught.value) == f"log_metrics: step is {step!r}; expected an integer"


# --- progress ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda r: r.stage("Loading model", 2, 5), "[2/5] Loading model"),
        (lambda r: r.stage("Loading model", 2), "[2/?] Loading model"),
        (lambda r: r.stage("Loading model"), "Loading model"),
        (lambda r: r.stage("Loading", np.int64(2), np.int32(5)), "[2/5] Loading"),
        (lambda r: r.progress(0.5), "50% done"),
        (lambda r: r.progress(np.float32(0.25)), "25% done"),
        (lambda r: r.progress(7), "100% done"),
        (lambda r: r.progress(-1), "0% done"),
        (lambda r: r.log_metrics({"a": 1}), ""),
    ],
)
def test_progress_lines(watched: Watched, call: Any, line: str) -> None:
    """Progress reads as a short line, and its event holds plain values alone."""
    call(watched.runner)
    assert event_line(watched.events[0]) == line
    for value in watched.events[0].data.values():
        assert value is None or type(value) in (str, int, float, dict)


@pytest.mark.parametrize("value", ["half", None, math.nan])
def test_what_is_no_progress(watched: Watched, value: Any) -> None:
    """Progress is a number from 0 to 1."""
    with pytest.raises(TypeError) as caught:
        watched.runner.progress(value)
    assert str(caught.value) == f"progress takes a number from 0 to 1, not {value!r}"


def test_track(watched: Watched) -> None:
    """Everything comes out as it went in, and the end is told."""
    assert list(watched.runner.track(range(3), "epochs")) == [0, 1, 2]
    assert [(d["done"], d["total"], d["text"]) for d in watched.logged()] == [(3, 3, "epochs")]
    assert event_line(Event("track", 0.0, {"text": "epochs", "done": 3, "total": 3, "seconds": 1.26})) == (
        "epochs: 3/3 in 1.3 s"
    )


def test_track_without_a_length(watched: Watched) -> None:
    """A generator has no total; the steps are counted."""
    assert list(watched.runner.track(x for x in "ab")) == ["a", "b"]
    data = watched.logged()[0]
    assert (data["done"], data["total"]) == (2, None)
    assert event_line(Event("track", 0.0, {**data, "seconds": 0.5})) == "2 steps in 0.5 s"


def test_track_with_a_length_that_raises(watched: Watched) -> None:
    """A data loader over a stream has a length in name only."""

    class Stream:
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2])

        def __len__(self) -> NoReturn:
            raise TypeError("object of type 'IterableDataset' has no len()")

    assert list(watched.runner.track(Stream())) == [1, 2]
    assert watched.logged()[0]["total"] is None


def test_track_passes_exceptions_on(watched: Watched) -> None:
    """What the loop raises is the handler's own."""
    with pytest.raises(ZeroDivisionError):
        for number in watched.runner.track([0]):
            print(1 / number)


# --- evidence ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["real", "simulated", "fallback", "imported", "stub"])
def test_evidence(watched: Watched, kind: str) -> None:
    """A declaration has its reason and the place of the call."""
    watched.runner.evidence(kind, "random weights")
    data = watched.logged()[0]
    assert (data["kind"], data["reason"]) == (kind, "random weights")
    assert data["place"].startswith("test_runner.py:")
    assert event_line(watched.events[0]) == (f"evidence declared {kind}: random weights ({data['place']})")


def test_fallback(watched: Watched) -> None:
    """``fallback`` is short for one kind."""
    watched.runner.fallback("API unreachable")
    data = watched.logged()[0]
    assert (data["kind"], data["reason"]) == ("fallback", "API unreachable")
    assert data["place"].startswith("test_runner.py:")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "simulation",
            "unknown kind of evidence 'simulation' (did you mean 'simulated'?); "
            "known: real, simulated, fallback, imported, stub",
        ),
        ("xyz", "unknown kind of evidence 'xyz'; known: real, simulated, fallback, imported, stub"),
        (None, "unknown kind of evidence None; known: real, simulated, fallback, imported, stub"),
    ],
)
def test_an_unknown_kind(watched: Watched, kind: Any, message: str) -> None:
    """A kind that does not exist is refused: it must not pass for real."""
    with pytest.raises(ExprunnerError) as caught:
        watched.runner.evidence(kind, "why")
    assert str(caught.value) == message
    assert watched.events == []


# --- members ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("log_metric", "the runner has no 'log_metric' (did you mean 'log_metrics'?)"),
        ("result", "the runner has no 'result' (did you mean 'results'?)"),
        ("xyz", "the runner has no 'xyz'"),
    ],
)
def test_members_that_are_not_there(watched: Watched, name: str, message: str) -> None:
    """A later or misspelt member says so."""
    with pytest.raises(AttributeError) as caught:
        getattr(watched.runner, name)
    assert str(caught.value) == message
    assert not hasattr(watched.runner, name)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("evidence", "it is called: runner.evidence(…)"),
        ("fallback", "it is called: runner.fallback(…)"),
        ("log_metrics", "it is called: runner.log_metrics(…)"),
        ("metrics", "the attribute has no effect"),
        ("seed", "the attribute has no effect"),
        ("config", "the attribute has no effect"),
    ],
)
def test_members_cannot_be_set(watched: Watched, name: str, how: str) -> None:
    """A slip that would leave simulated numbers real is an error."""
    with pytest.raises(AttributeError) as caught:
        setattr(watched.runner, name, "simulated")
    assert str(caught.value) == f"runner.{name} cannot be set; {how}"
