"""Values as research code produces them: unboxed, made plain, encoded and decoded."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import math
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_exprunner._util.serialization import (
    MAX_TEXT,
    Plain,
    as_float,
    decode,
    encode,
    named_floats,
    number,
    plain,
    shown,
    text,
    unbox,
)

torch = pytest.importorskip("torch")

FLOATS = (np.float16, np.float32, np.float64, np.longdouble)
INTEGERS = (
    np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.intp,
)  # fmt: skip


class Colour(enum.IntEnum):
    """An integer with a name."""

    RED = 3


@dataclasses.dataclass
class Point:
    """A dataclass as research code has them."""

    x: float
    inner: Any = None


# --- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FLOATS)
def test_numpy_floats_are_numbers(kind: Callable[[float], object]) -> None:
    """Every floating-point scalar and 0-d array of NumPy is a python float afterwards."""
    for value in (kind(0.5), np.array(kind(0.5)), np.array([[kind(0.5)]])):
        found = number(value)
        assert (type(found), found) == (float, 0.5)


@pytest.mark.parametrize("kind", INTEGERS)
def test_numpy_integers_are_numbers(kind: Callable[[int], object]) -> None:
    """Every integer scalar and 0-d array of NumPy is a python int afterwards."""
    for value in (kind(7), np.array(kind(7))):
        found = number(value)
        assert (type(found), found) == (int, 7)
        assert plain(value) == 7


@pytest.mark.parametrize("kind", FLOATS)
def test_numpy_floats_are_plain(kind: Callable[[float], object]) -> None:
    """A NumPy float is kept as a number, so that it can be judged."""
    found = plain({"iou": kind(0.5)})
    assert found == {"iou": 0.5}
    assert isinstance(found, dict)
    assert type(found["iou"]) is float


@pytest.mark.parametrize("value", [np.float32("nan"), np.float64("nan"), np.array(np.nan)])
def test_nan_stays_nan(value: object) -> None:
    """Not a number is kept as what it is."""
    found = number(value)
    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.tensor(0.5),
        lambda: torch.tensor([0.5]),
        lambda: torch.tensor([[0.5]]),
        lambda: torch.tensor(0.5, requires_grad=True),
        lambda: torch.tensor(0.5, requires_grad=True) * 1,
        lambda: torch.tensor(0.5, dtype=torch.bfloat16),
        lambda: torch.tensor(0.5, dtype=torch.float16),
        lambda: torch.tensor(0.5, dtype=torch.float64),
        lambda: torch.nn.Parameter(torch.tensor(0.5)),
    ],
)
def test_torch_tensors_are_numbers(make: Callable[[], object]) -> None:
    """A tensor of one element is a number, with gradients attached and in every precision."""
    value = make()
    assert number(value) == 0.5
    assert plain({"loss": value}) == {"loss": 0.5}


def test_torch_integers_and_bools() -> None:
    """An integer tensor is an int; a bool tensor is a bool, which is not a number."""
    assert number(torch.tensor(3)) == 3
    assert type(number(torch.tensor(3))) is int
    assert number(torch.tensor(True)) is None
    assert plain(torch.tensor(True)) is True


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        np.True_,
        np.array(False),
        "0.9",
        np.str_("0.9"),
        b"1",
        None,
        1 + 2j,
        np.complex64(1),
        [0.9],
        (0.9,),
        {"a": 1},
        {0.9},
        object(),
        float,
        np.float64,
        np.array([0.1, 0.2]),
        np.array([]),
        Decimal("sNaN"),
        torch.tensor([0.1, 0.2]),
        torch.tensor([]),
        torch.tensor(1 + 2j),
        torch.empty(1, device="meta"),
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_what_is_no_number(value: object) -> None:
    """A bool, a text, a complex number, a container and an array of several are no number."""
    assert number(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, 0.5),
        (3, 3),
        (Decimal("0.5"), 0.5),
        (Fraction(1, 2), 0.5),
        (Colour.RED, 3),
        (-math.inf, -math.inf),
    ],
)
def test_other_numbers(value: object, expected: float) -> None:
    """Decimals, fractions and integer enumerations are numbers, as plain python types."""
    found = number(value)
    assert found == expected
    assert type(found) in (int, float)


def test_huge_numbers() -> None:
    """Numbers beyond all floats are kept exactly, and are infinities where a float is needed."""
    huge = 10**5000
    assert number(huge) == huge
    assert as_float(huge) == math.inf
    assert as_float(-huge) == -math.inf
    assert as_float(3) == 3.0
    assert number(Fraction(huge, 3)) == math.inf


def test_a_number_whose_class_raises() -> None:
    """A class that raises when it is asked for its value is no number."""

    class Broken:
        def __float__(self) -> NoReturn:
            raise RuntimeError("not now")

    assert number(Broken()) is None


def test_unbox_leaves_the_rest_alone() -> None:
    """What holds no single value comes back as the same object."""
    for value in ([1], {"a": 1}, np.array([1, 2]), "text", None, np.float64):
        assert unbox(value) is value


# --- plain ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.True_, True),
        (1, 1),
        (0.5, 0.5),
        ("text", "text"),
        (np.str_("text"), "text"),
        (Colour.RED, 3),
        ((1, 2), [1, 2]),
        ([1, [2, (3,)]], [1, [2, [3]]]),
        ({1}, [1]),
        (frozenset({1}), [1]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, a=1), {"a": 1}),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        ({np.int64(3): 1}, {"3": 1}),
        (np.array([1.5, 2.5]), [1.5, 2.5]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([True, False]), [True, False]),
        (Point(1.5, [np.float32(0.5)]), {"x": 1.5, "inner": [0.5]}),
        (Path("a/b"), "a/b"),
        (datetime.date(2026, 1, 22), "2026-01-22"),
        (Decimal("0.5"), 0.5),
        (1 + 2j, "(1+2j)"),
        (b"\xff", "b'\\xff'"),
        (range(2), "range(0, 2)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain(value: object, expected: object) -> None:
    """Every kind of value has one plain form."""
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


def test_tensors_become_lists() -> None:
    """Tensors are detached and become nested lists."""
    value = torch.tensor([[0.5, 1.5]], requires_grad=True)
    assert plain(value) == [[0.5, 1.5]]
    assert plain(torch.tensor([0.5, 1.5], dtype=torch.bfloat16)) == [0.5, 1.5]


def test_subclasses_become_exact_types() -> None:
    """What travels to another process consists of exact builtin types alone."""

    class Text(str):
        __slots__ = ()

    class Real(float):
        __slots__ = ()

    found = plain({Text("a"): [Text("b"), Real(0.5), Colour.RED]})
    assert isinstance(found, dict)
    assert [type(key) for key in found] == [str]
    assert [type(item) for item in found["a"]] == [str, float, int]


def test_self_reference() -> None:
    """A list inside itself is cut where it repeats; the same object twice side by side is not."""
    loop: list[object] = [1]
    loop.append(loop)
    assert plain(loop) == [1, "<list: refers to itself>"]
    shared = [1]
    assert plain([shared, shared]) == [[1], [1]]


def test_deep_nesting() -> None:
    """What is nested without end is cut, not followed."""
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    assert "<list: nested too deeply>" in str(plain(value))


def test_long_texts_are_clipped() -> None:
    """A text that would swell every file is cut, and says by how much."""
    found = plain("x" * (MAX_TEXT + 5))
    assert found == "x" * MAX_TEXT + "… (5 more characters left out)"


def test_lone_surrogates() -> None:
    """Text that no UTF-8 file can hold is written with escapes, in keys and in values."""
    found = plain({"\ud800": "a\udcff"})
    assert found == {"\\ud800": "a\\udcff"}
    orjson.dumps(found)


class _Item:
    """``item`` and ``shape`` look like an array's and raise."""

    shape = ()

    def item(self) -> NoReturn:
        raise KeyError("item")


class _Attributes:
    def __getattr__(self, name: str) -> NoReturn:
        raise OSError(name)


class _Shape:
    item = print

    @property
    def shape(self) -> NoReturn:
        raise OSError("shape")


class _Repr:
    def __repr__(self) -> NoReturn:
        raise OSError("repr")


class _Keys(dict[str, int]):
    def items(self) -> NoReturn:
        raise OSError("items")


class _KeyText:
    def __str__(self) -> NoReturn:
        raise OSError("str")

    __repr__ = __str__


class _List(list[int]):
    def __iter__(self) -> Iterator[int]:
        raise OSError("iter")


class _Text(str):
    __slots__ = ()

    def __str__(self) -> NoReturn:
        raise OSError("str")


class _Integer(int):
    def __int__(self) -> NoReturn:
        raise OSError("int")


class _Float(float):
    def __float__(self) -> NoReturn:
        raise OSError("float")


class _Model:
    def model_dump(self) -> NoReturn:
        raise OSError("dump")


class _Number:
    def __float__(self) -> NoReturn:
        raise OSError("float")


class _Class:
    @property  # type: ignore[misc]
    def __class__(self) -> NoReturn:  # type: ignore[override]
        raise OSError("class")


@dataclasses.dataclass
class _Slot:
    x: int = dataclasses.field(init=False)


@pytest.mark.parametrize(
    "make",
    [
        _Item, _Attributes, _Shape, _Repr, lambda: _Keys(a=1), lambda: {_KeyText(): 1}, lambda: _List([1]),
        lambda: _Text("a"), lambda: _Integer(1), lambda: _Float(1), _Model, _Number, _Class, _Slot,
        lambda: torch.empty(3, device="meta"), lambda: torch.eye(2).to_sparse(), lambda: torch.float32,
        lambda: np.datetime64("2026-01-22"), lambda: np.array([object()]), lambda: np.dtype("f4"),
        lambda: print, lambda: int, lambda: (i for i in "ab"), lambda: NotImplemented, lambda: ...,
        lambda: 10**5000, lambda: [10**5000], lambda: {10**5000: 1},
    ],
)  # fmt: skip
def test_plain_never_raises(make: Callable[[], object]) -> None:
    """Whatever an object does when it is looked at, its neighbours are kept and JSON can hold it."""
    found = plain({"bad": make(), "good": 0.5})
    assert isinstance(found, dict)
    assert found["good"] == 0.5
    orjson.dumps(encode(found))
    plain(make())


@pytest.mark.parametrize("make", [_Attributes, _Repr, _Item, _Class, lambda: 10**5000])
def test_shown_never_raises(make: Callable[[], object]) -> None:
    """Words for a message exist for every object, on few characters."""
    assert 0 < len(shown(make())) <= 80


def test_shown() -> None:
    """A short repr; long ones are cut with an ellipsis, those that raise say so."""
    assert shown("abc") == "'abc'"
    assert shown("x" * 100, 10) == "'xxxxxxxx…"
    assert shown(_Repr()) == "<_Repr: its repr raised OSError>"
    assert text(_KeyText()) == "<_KeyText: its text raised OSError>"


# --- encode and decode ------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(2**63 - 2, 2**64 + 2),
    st.floats(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    st.sampled_from([-(2**63), 2**63 - 1, 2**63]),
    st.integers(300, 4000).map(lambda digits: 10**digits),
    st.integers(300, 4000).map(lambda digits: -(10**digits)),
)
keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(
    ["$", "$float", "$int", "$map", "$x", ""]
)
nested = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


def same(one: Plain, other: Plain) -> bool:
    """Return whether two plain values are equal in value and type, NaN being equal to itself."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@given(nested)
def test_encode_and_decode_are_inverses(value: Plain) -> None:
    """Every plain value comes back from JSON as it was, special numbers and odd keys included."""
    assert same(decode(orjson.loads(orjson.dumps(encode(value)))), value)


@given(nested)
def test_plain_values_stay(value: Plain) -> None:
    """What is plain already is not changed."""
    assert same(plain(value), value)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (math.nan, {"$float": "NaN"}),
        (-math.inf, {"$float": "-Infinity"}),
        (2**64, {"$int": "0x10000000000000000"}),
        ({"$float": "NaN"}, {"$map": {"$float": "NaN"}}),
        ({"$float": "NaN", "x": 1}, {"$float": "NaN", "x": 1}),
    ],
)
def test_the_encoding(value: Plain, encoded: Plain) -> None:
    """The form in files is fixed: records of earlier versions must stay readable."""
    assert encode(value) == encoded


@pytest.mark.parametrize(
    "value", [{"$float": []}, {"$float": {}}, {"$float": 1}, {"$int": 5}, {"$map": 5}, {"$other": 1}]
)
def test_foreign_markers(value: Plain) -> None:
    """A mapping that only looks like one of ours is read as it stands."""
    assert decode(value) == value


def test_named_floats() -> None:
    """For JSON that others read, special numbers are texts, at any depth."""
    value: Mapping[str, Any] = {"a": [math.nan, {"b": math.inf}], "c": -math.inf, "d": 0.5}
    assert named_floats(dict(value)) == {"a": ["NaN", {"b": "Infinity"}], "c": "-Infinity", "d": 0.5}
