"""What handlers return: every wrong shape with its message, and what is made of the right ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import pytest

from pytest_exprunner._util.errors import HandlerError
from pytest_exprunner.verdicts.handler_result import Returned, bare_names, check

EXPECTED = 'expected {"finding": "…", "metrics": {"name": number}, "artifacts": [path]}'


class Raises(Mapping[str, object]):
    """A mapping whose values raise when they are read."""

    def __getitem__(self, key: str) -> NoReturn:
        raise OSError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(["metrics"])

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        return "Raises()"  # names a test: xdist wants the same name in every worker


class RaisingPath:
    """A path that raises when it is asked for its text."""

    def __fspath__(self) -> NoReturn:
        raise OSError("path")


def broken() -> Iterator[str]:
    """Return one path and then raise."""
    yield "a.png"
    raise OSError("disk")


def test_everything() -> None:
    """Finding, metrics and artifacts are taken apart; what else was returned is kept."""
    value = {
        "finding": "Spatial IoU 0.81",
        "metrics": {"spatial_iou": np.float32(0.5), "note": "ok", "all": [1, None], "deep": {"a": True}},
        "artifacts": ["artifacts/e_p2_1/iou.png", Path("b.png")],
        "epochs": np.int64(3),
    }
    assert check(value, "e_p2_1") == Returned(
        finding="Spatial IoU 0.81",
        metrics={"spatial_iou": 0.5, "note": "ok", "all": [1, None], "deep": {"a": True}},
        artifacts=("artifacts/e_p2_1/iou.png", "b.png"),
        extra={"epochs": 3},
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"metrics": {}}, Returned()),
        ({"finding": "x"}, Returned("x")),
        ({"artifacts": ()}, Returned()),
        (MappingProxyType({"metrics": MappingProxyType({"a": 1})}), Returned(metrics={"a": 1})),
        ({"metrics": {}, "artifacts": (p for p in ["a.png"])}, Returned(artifacts=("a.png",))),
        ({"metrics": {}, "findings": "more"}, Returned(extra={"findings": "more"})),
    ],
)
def test_parts_are_optional(value: object, expected: Returned) -> None:
    """One of the three keys is enough; any mapping and any iterable of paths will do."""
    if isinstance(value, dict) and "findings" in value:
        value = {**value, "finding": ""}
    assert check(value, "e_p2_1") == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "the handler returned None"),
        (0.5, "the handler returned 0.5"),
        ([1], "the handler returned [1]"),
        ("text", "the handler returned 'text'"),
        (("a", {"metrics": {}}), "the handler returned ('a', {'metrics': {}})"),
        (
            {},
            "the handler returned a mapping with nothing but none of 'finding', 'metrics' and "
            "'artifacts'; put numbers under 'metrics'",
        ),
        (
            {"iou": 0.5, "loss": 0.1},
            "the handler returned a mapping with 'iou', 'loss' but none of 'finding', 'metrics' and "
            "'artifacts'; put numbers under 'metrics'",
        ),
        ({"metric": {"a": 1}}, "the handler returned the key 'metric'; did you mean 'metrics'?"),
        (
            {"Metrics": {}, "finding": "x"},
            "the handler returned the key 'Metrics'; did you mean 'metrics'?",
        ),
        ({"finding": None}, "'finding' is None, not text"),
        ({"finding": ["a"]}, "'finding' is ['a'], not text"),
        ({"metrics": None}, "'metrics' is None, not a mapping"),
        ({"metrics": [0.5]}, "'metrics' is [0.5], not a mapping"),
        ({"metrics": 0.5}, "'metrics' is 0.5, not a mapping"),
        ({"artifacts": "a.png"}, "'artifacts' is 'a.png', not a list of paths"),
        ({"artifacts": None}, "'artifacts' is None, not a list of paths"),
        ({"artifacts": 5}, "'artifacts' is 5, not a list of paths"),
        ({"artifacts": [b"a.png"]}, "'artifacts' holds b'a.png', which is not a path"),
        ({"artifacts": ["a", None]}, "'artifacts' holds None, which is not a path"),
        (Raises(), "reading what the handler returned raised OSError"),
    ],
    ids=str,
)
def test_the_wrong_shape(value: object, message: str) -> None:
    """The message shows what was returned and what was expected."""
    with pytest.raises(HandlerError) as caught:
        check(value, "e_p2_1")
    assert str(caught.value) == f"{message}; {EXPECTED}"


@pytest.mark.parametrize(
    "value",
    [
        {"metrics": Raises()},
        {"metrics": {"a": 1}, "artifacts": broken()},
        {"artifacts": [RaisingPath()]},
    ],
    ids=["metrics", "artifacts", "path"],
)
def test_parts_that_raise(value: object) -> None:
    """A part that raises when it is read is a handler's error, told in words."""
    with pytest.raises(HandlerError, match="OSError"):
        check(value, "e_p2_1")


def test_one_broken_metric_keeps_the_others() -> None:
    """An object that cannot be looked at is recorded as text; its neighbours are still judged."""

    class Hostile:
        def __getattr__(self, name: str) -> NoReturn:
            raise OSError(name)

        def __repr__(self) -> NoReturn:
            raise OSError("repr")

    found = check({"metrics": {"bad": Hostile(), "iou": 0.8}}, "e_p2_1").metrics
    assert found["iou"] == 0.8
    assert isinstance(found["bad"], str)


@pytest.mark.parametrize("name", ["", "a/b", "a\nb", "|", "<b>", "\x00", "é", "$float"])
def test_any_metric_name(name: str) -> None:
    """Names are kept as they are."""
    assert check({"metrics": {name: 1}}, "e_p2_1").metrics == {name: 1}


def test_special_numbers_are_kept() -> None:
    """NaN and huge integers are recorded; judging them is another matter."""
    found: Mapping[str, Any] = check({"metrics": {"a": math.nan, "b": 10**5000}}, "e").metrics
    assert math.isnan(found["a"])
    assert found["b"] == 10**5000


def test_self_reference() -> None:
    """Metrics that hold themselves are cut."""
    loop: dict[str, object] = {"a": 1}
    loop["loop"] = loop
    assert check({"metrics": loop}, "e").metrics == {"a": 1, "loop": "<dict: refers to itself>"}


def test_ten_thousand_metrics() -> None:
    """A large mapping is taken whole."""
    assert len(check({"metrics": {f"m{n}": n for n in range(10_000)}}, "e").metrics) == 10_000


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("loss", "loss"),
        ("e_p2_1/loss", "loss"),
        ("e_p2_1/val/loss", "val/loss"),
        ("e_p2_10/loss", "e_p2_10/loss"),
        ("e_p2_1/", "e_p2_1/"),
        ("e_p2_1", "e_p2_1"),
    ],
)
def test_bare_names(name: str, bare: str) -> None:
    """The sub-experiment's own id before a name is taken away, no other."""
    assert bare_names({name: 1}, "e_p2_1") == {bare: 1}
    assert check({"metrics": {name: 1}}, "e_p2_1").metrics == {bare: 1}


def test_a_metric_given_twice() -> None:
    """Bare and prefixed together would hide one of the two."""
    with pytest.raises(HandlerError) as caught:
        check({"metrics": {"loss": 1, "e_p2_1/loss": 2}}, "e_p2_1")
    assert str(caught.value) == "the metric 'loss' is given twice, bare and as 'e_p2_1/loss'"
