"""YAML read event by event: what a scalar means, what is refused, and where each value stands."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_exprunner._util.yaml import (
    MAX_DEPTH,
    MAX_PROBLEMS,
    Document,
    Fault,
    Limits,
    read,
    scalar,
)


def faults(source: str | bytes, limits: Limits | None = None) -> list[Fault]:
    """What is wrong with a document."""
    data = source.encode() if isinstance(source, str) else source
    return (read(data) if limits is None else read(data, limits)).faults


def only_fault(source: str | bytes, limits: Limits | None = None) -> Fault:
    """The one thing that is wrong with a document."""
    [fault] = faults(source, limits)
    return fault


def value_of(source: str) -> Any:
    """The value of a document in which nothing is wrong."""
    document = read(source.encode())
    assert document.faults == []
    return document.value


def same(left: object, right: object) -> bool:
    """Equal in value and in type, throughout; NaN is the same as NaN."""
    return repr(left) == repr(right)


# --- scalars ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        ("1E+2", 100.0),
        ("-1.5e-7", -1.5e-7),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.5", -0.5),
        ("+.5e1", 5.0),
        ("0.70", 0.7),
        ("-0.0", -0.0),
        ("0", 0),
        ("7", 7),
        ("+7", 7),
        ("-7", -7),
        ("010", 10),
        ("-010", -10),
        ("00", 0),
        ("0o10", 8),
        ("0x1F", 31),
        ("0xff", 255),
        ("9007199254740993", 9007199254740993),
        (".inf", math.inf),
        ("+.INF", math.inf),
        ("-.Inf", -math.inf),
        (".nan", math.nan),
        (".NaN", math.nan),
        (".NAN", math.nan),
        ("", None),
        ("~", None),
        ("null", None),
        ("Null", None),
        ("NULL", None),
        ("true", True),
        ("True", True),
        ("TRUE", True),
        ("false", False),
        ("False", False),
        ("FALSE", False),
    ],
)
def test_scalar_by_the_core_schema(text: str, value: object) -> None:
    """A plain scalar has the value that the YAML 1.2 core schema gives it."""
    assert same(scalar(text), value)
    assert same(value_of(f"a: {text}\n"), {"a": value})


@pytest.mark.parametrize(
    "text",
    [
        *("no", "No", "NO", "yes", "on", "off", "y", "n", "nUll", "tRue", "none", "None"),
        *("12:30", "190:20:30", "1_000", "0b11", "0o8", "0x", "0xg", "+0x1F", "-0o7", "0X1F"),
        *("1e", "e3", "1e+", "1.2.3", ".", "-", "+", "--1", "1-2", "..5", ".e3", "-.", "٣", "１"),
        *("nan", "inf", ".nAn", ".infinity", "-.nan", "+.nan", "1 2", "1\n", "0x1F\n", ".inf\n"),
        *("2026-01-22", "2026-01-22T10:00:00Z", "=", "<<", "1.0f", "0.7%", "1,000", "∞"),
    ],
)
def test_scalar_that_stays_text(text: str) -> None:
    """What YAML 1.1, Python or a person might take for more stays text."""
    assert same(scalar(text), text)


@pytest.mark.parametrize("text", ["no", "12:30", "1_000", "0b11", "2026-01-22", "2026-01-22 10:00"])
def test_document_with_text_of_yaml_1_1(text: str) -> None:
    """A document keeps as text what YAML 1.1 reads as something else, as value and as key."""
    assert same(value_of(f"{text}: [{text}]\n"), {text: [text]})


@pytest.mark.parametrize("text", ["1", "1e-3", "true", "null", "~", ".nan", "0x1F", "", "no"])
@pytest.mark.parametrize("quoted", ["'{}'", '"{}"', "!!str {}", "!!str '{}'", "! {}", "! '{}'"])
def test_quoted_or_tagged_as_text_stays_text(text: str, quoted: str) -> None:
    """Quotes and the tag of text keep a scalar text."""
    assert same(value_of(f"a: {quoted.format(text)}\n"), {"a": text})


@pytest.mark.parametrize("style", ["|-", ">-"])
def test_block_scalar_is_text(style: str) -> None:
    """A block scalar is text even where it looks like a number."""
    assert same(value_of(f"a: {style}\n  010\n"), {"a": "010"})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("!!int 1", 1),
        ("!!int '1'", 1),
        ("!!float 1", 1.0),
        ("!!float 1e3", 1000.0),
        ("!!bool true", True),
        ("!!null ''", None),
        ("!!null ~", None),
        ("!!map {a: 1}", {"a": 1}),
        ("!!seq [1]", [1]),
        ("! [1]", [1]),
    ],
)
def test_core_tag_that_fits(text: str, value: object) -> None:
    """A core tag that says what the value is anyway is accepted."""
    assert same(value_of(f"a: {text}\n"), {"a": value})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("!!int x", "tag 'tag:yaml.org,2002:int' does not fit 'x'; expected no tag"),
        ("!!int 1.5", "tag 'tag:yaml.org,2002:int' does not fit '1.5'; expected no tag"),
        ("!!bool yes", "tag 'tag:yaml.org,2002:bool' does not fit 'yes'; expected no tag"),
        ("!!null x", "tag 'tag:yaml.org,2002:null' does not fit 'x'; expected no tag"),
        ("!!binary aGk=", "tag 'tag:yaml.org,2002:binary' does not fit 'aGk='; expected no tag"),
        ("!mine x", "tag '!mine' does not fit 'x'; expected no tag"),
        ("!!set {x}", "tag 'tag:yaml.org,2002:set' is not supported; expected no tag"),
        ("!!seq {x: 1}", "tag 'tag:yaml.org,2002:seq' is not supported; expected no tag"),
        ("!!map [x]", "tag 'tag:yaml.org,2002:map' is not supported; expected no tag"),
        (
            "!!python/object/apply:os.system [ls]",
            ("tag 'tag:yaml.org,2002:python/object/apply:os.system' is not supported; expected no tag"),
        ),
    ],
)
def test_tag_that_is_refused(text: str, fault: str) -> None:
    """A tag that does not fit or is not of the core schema is a fault at its value."""
    assert only_fault(f"z: 0\na: {text}\n") == Fault(2, 4, ("a",), fault)


def test_tag_of_a_key_is_reported_at_that_key() -> None:
    """A bad tag on a key is not blamed on the entry before it."""
    fault = only_fault("x: 1\n!!int b: 2\n")
    assert (fault.line, fault.column) == (2, 1)
    assert fault.path != ("x",)


def test_number_of_many_digits_does_not_raise() -> None:
    """An integer beyond what Python converts is read without an exception."""
    document = read(b"a: " + b"1" * 100_000 + b"\nb: 0x" + b"f" * 100_000 + b"\n")
    assert document.faults == []
    assert set(document.value) == {"a", "b"}


# --- keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "shown"),
    [
        ("a", "a", "'a'"),
        ("a", "'a'", "'a'"),
        ("1", "0x1", "1"),
        ("010", "10", "10"),
        ("true", "True", "true"),
        ("~", "null", "null"),
        (".nan", ".NaN", "nan"),
        ("1e3", "1000.0", "1000.0"),
        ("'1'", '"1"', "'1'"),
    ],
)
def test_duplicate_key(first: str, second: str, shown: str) -> None:
    """Two keys that mean the same are a fault at the second, which names the line of the first."""
    fault = only_fault(f"z: 0\n{first}: 1\n{second}: 2\n")
    assert (fault.line, fault.column) == (3, 1)
    assert fault.text == f"duplicate key {shown}, first on line 2; expected each key once"


@pytest.mark.parametrize(("first", "second"), [("1", "'1'"), ("true", "'true'"), ("~", "'~'"), ("a", "A")])
def test_keys_that_only_look_alike(first: str, second: str) -> None:
    """A number and a text, or two cases, are two keys."""
    assert list(value_of(f"{first}: x\n{second}: y\n").values()) == ["x", "y"]


@pytest.mark.parametrize(("first", "second"), [("1", "true"), ("0", "false"), ("1", "1.0")])
def test_keys_that_are_equal_in_python_only(first: str, second: str) -> None:
    """Keys that YAML tells apart but Python does not never claim a first line that is not there."""
    for fault in faults(f"{first}: x\n{second}: y\n"):
        assert "line 0" not in fault.text


def test_duplicate_keys_in_different_mappings() -> None:
    """The same key in two mappings is no duplicate."""
    assert value_of("a: {k: 1}\nb: {k: 1}\nc: [{k: 1}, {k: 1}]\n")["c"] == [{"k": 1}, {"k": 1}]


@pytest.mark.parametrize("source", ["? [a]\n: 1\n", "? {a: 1}\n: 1\n", "{[a]: 1}", "{{a: 1}: 1}"])
def test_key_that_is_a_collection(source: str) -> None:
    """A list or a mapping as a key is a fault."""
    assert only_fault(source).text == "a key is a list or a mapping; expected text"


def test_key_that_is_an_alias_of_a_collection() -> None:
    """An alias of a list as a key is a fault at the alias."""
    fault = only_fault("a: &l [1]\nb:\n  *l : 2\n")
    assert (fault.line, fault.column) == (3, 3)
    assert fault.text == "a key is a list or a mapping; expected text"


def test_key_that_is_an_alias_of_text() -> None:
    """An alias of a text can be a key."""
    assert value_of("a: &k name\n*k : 2\n") == {"a": "name", "name": 2}


def test_key_without_a_value() -> None:
    """A key with nothing behind it has the value null."""
    assert value_of("a:\nb: {c, d: }\n") == {"a": None, "b": {"c": None, "d": None}}


# --- merge keys ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "merged"),
    [
        ("d: &d {x: 1, y: 2}\nm: {<<: *d}\n", {"x": 1, "y": 2}),
        ("d: &d {x: 1, y: 2}\nm: {<<: *d, y: 3}\n", {"x": 1, "y": 3}),
        ("d: &d {x: 1, y: 2}\nm: {y: 3, <<: *d}\n", {"y": 3, "x": 1}),
        ("d: &d {x: 1}\ne: &e {x: 2, z: 3}\nm: {<<: [*d, *e]}\n", {"x": 1, "z": 3}),
        ("m: {<<: {x: 1}}\n", {"x": 1}),
        ("d: &d {x: 1}\ne: &e {<<: *d, y: 2}\nm: {<<: *e}\n", {"x": 1, "y": 2}),
        ("m: {'<<': 1}\n", {"<<": 1}),
        ("m: {!!str <<: 1}\n", {"<<": 1}),
    ],
)
def test_merge_key(source: str, merged: dict[str, int]) -> None:
    """A merge key fills in what a mapping does not say itself; a quoted one is a plain key."""
    assert value_of(source)["m"] == merged


def test_merge_leaves_its_source_alone() -> None:
    """A key that overrides a merged one does not change the mapping it was merged from."""
    assert value_of("d: &d {x: 1}\nm: {<<: *d, x: 2}\n")["d"] == {"x": 1}


def test_duplicate_beside_a_merge() -> None:
    """A key given twice is a duplicate even where a merge gives it as well."""
    fault = only_fault("d: &d {x: 1}\nm:\n  <<: *d\n  x: 2\n  x: 3\n")
    assert fault == Fault(5, 3, ("m", "x"), "duplicate key 'x', first on line 4; expected each key once")


@pytest.mark.parametrize("merged", ["1", "[1]", "text", "~"])
def test_merge_of_something_else(merged: str) -> None:
    """Merging anything but a mapping is a fault."""
    fault = only_fault(f"m:\n  <<: {merged}\n")
    assert fault.text == "'<<' merges a mapping; expected an alias of one"
    assert fault.path == ("m", "<<")
    assert fault.line == 2


# --- anchors and aliases ---------------------------------------------------------------------


def test_alias_has_the_value_of_its_anchor() -> None:
    """Aliases stand for scalars, lists and mappings alike, and for the latest anchor of a name."""
    source = "a: &s 1\nb: *s\nc: &s [2]\nd: *s\ne: &m {k: *s}\nf: *m\n"
    assert value_of(source) == {
        "a": 1,
        "b": 1,
        "c": [2],
        "d": [2],
        "e": {"k": [2]},
        "f": {"k": [2]},
    }


def test_alias_without_an_anchor() -> None:
    """An alias of nothing is a fault at the alias."""
    assert only_fault("a: 1\nb: *q\n") == Fault(2, 4, ("b",), "alias *q has no anchor before it")


@pytest.mark.parametrize("source", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a {<<: *a}\n"])
def test_alias_inside_its_own_anchor(source: str) -> None:
    """A value that contains itself is a fault."""
    assert only_fault(source).text == "alias *a refers to itself"


def test_billion_laughs() -> None:
    """Aliases of aliases end with a fault as soon as what they stand for is too much."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 30)]
    fault = only_fault("\n".join(lines))
    assert fault.text == "more than 100,000 values, aliases counted; expected fewer"
    assert fault.line == 5


def test_merges_count_as_aliases_do() -> None:
    """What is merged counts against the bound on values too."""
    source = "d: &d {x: 1, y: 2, z: 3}\n" + "".join(f"m{i}: {{<<: *d}}\n" for i in range(10))
    assert faults(source, Limits(values=100)) == []
    [fault] = faults(source, Limits(values=60))
    assert fault.text == "more than 60 values, aliases counted; expected fewer"


# --- bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "stop"), [("[", "]"), ("{a: ", "}"), ("- ", ""), ("[{a: ", "}]")])
def test_depth_is_bounded(start: str, stop: str) -> None:
    """Too deep a nesting is one fault, however it is written."""
    fault = only_fault(start * 5_000 + "x" + stop * 5_000)
    assert fault.text == f"nested more than {MAX_DEPTH} levels deep"


def test_depth_that_is_allowed() -> None:
    """The deepest nesting that is allowed is read; one level more is a fault where it starts."""
    assert faults("[" * MAX_DEPTH + "]" * MAX_DEPTH) == []
    fault = only_fault("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert (fault.line, fault.column) == (1, MAX_DEPTH + 1)
    assert fault.text == f"nested more than {MAX_DEPTH} levels deep"


def test_size_is_bounded() -> None:
    """A file beyond the bound on bytes is one fault; one of exactly that size is read."""
    assert faults("a: bcde\n", Limits(bytes=8)) == []
    assert only_fault("a: bcdef\n", Limits(bytes=8)) == Fault(
        1, 1, (), "the file has more than 8 bytes; expected at most that"
    )


def test_number_of_values_is_bounded() -> None:
    """Reading ends with a fault at the value that is one too many."""
    assert faults("[a, b, c]", Limits(values=4)) == []
    fault = only_fault("[a, b, c, d]", Limits(values=4))
    assert (fault.line, fault.column) == (1, 11)
    assert fault.text == "more than 4 values, aliases counted; expected fewer"


def test_number_of_faults_is_bounded() -> None:
    """Reading ends when there are more faults than a person reads."""
    assert len(faults("a: 1\n" * 1_000)) == MAX_PROBLEMS


@pytest.mark.parametrize(
    "source",
    [
        "a: !" + "t" * 100_000 + " x",
        "a: *" + "q" * 100_000,
        "a: &" + "q" * 100_000 + " [*" + "q" * 100_000 + "]",
        "? " + "k" * 100_000 + "\n: 1\n? " + "k" * 100_000 + "\n: 2\n",
        "a: !!int " + "9" * 100_000 + ".5",
        "a: !" + "t" * 100_000 + " [x]",
    ],
    ids=["tag", "alias", "anchor", "key", "value", "collection"],
)
def test_words_of_a_fault_are_bounded(source: str) -> None:
    """What a fault says stays short however long the thing is that it is about."""
    assert len(only_fault(source).text) < 1_000


# --- documents and encodings -----------------------------------------------------------------


@pytest.mark.parametrize("source", [b"", b"\n\n", b"# nothing\n", b"---\n", b"---\n...\n"])
def test_empty_document(source: bytes) -> None:
    """A document without a value reads as null."""
    document = read(source)
    assert (document.value, document.faults) == (None, [])


@pytest.mark.parametrize("source", [b"--- {a: 1}\n...\n", b"%YAML 1.2\n---\na: 1\n", b"a: 1\n---"])
def test_document_markers(source: bytes) -> None:
    """Markers around one document are fine; an empty second document is still a second one."""
    document = read(source)
    second = source.endswith(b"---")
    assert [fault.text for fault in document.faults] == (
        ["a second document starts here; expected one"] if second else []
    )
    assert document.value == {"a": 1}


def test_second_document() -> None:
    """A second document is a fault at its start; nothing after it is read."""
    assert only_fault("a: 1\n---\nb: [\n") == Fault(2, 1, (), "a second document starts here; expected one")


def test_byte_order_mark() -> None:
    """A byte order mark, as some editors write it, is not part of the first key."""
    document = read(b"\xef\xbb\xbfa: 1\n")
    assert (document.value, document.faults) == ({"a": 1}, [])
    assert document.key_marks[("a",)] == (1, 1)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-32"])
def test_not_utf_8(encoding: str) -> None:
    """A file in another encoding is one fault on the line where it shows."""
    source = "# one\na: é\n".encode(encoding)
    fault = only_fault(source)
    assert fault.text == "this is not UTF-8 text; expected a file saved as UTF-8"
    assert (fault.line, fault.column) == (2 if encoding == "latin-1" else 1, 1)


def test_truncated_utf_8() -> None:
    """A file that ends inside a character is one fault."""
    assert only_fault("a: é".encode()[:-1]).text.startswith("this is not UTF-8 text")


@pytest.mark.parametrize("before", ["", "é", "日本語 " * 20, "😀" * 9])
@pytest.mark.parametrize(
    ("character", "code"), [("\0", "0000"), ("\x07", "0007"), ("\x1b", "001b"), ("\ufffe", "fffe")]
)
def test_character_that_yaml_does_not_allow(before: str, character: str, code: str) -> None:
    """A control character is a fault on its line, whatever stands before it."""
    fault = only_fault(f"# {before}\nb: {before}{character}c\n")
    assert fault == Fault(2, 4 + len(before), (), f"character #x{code} is not allowed in YAML")


def test_line_ends_of_windows() -> None:
    """Lines that end as on Windows count once and leave no trace in values."""
    document = read(b"a: 1\r\nb:\r\n  c: x\r\n")
    assert document.value == {"a": 1, "b": {"c": "x"}}
    assert document.marks[("b", "c")] == (3, 6)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a: [1,\nb: 2\n", 2),
        ("a: 'x\n", 2),
        ("a: b: c\n", 1),
        ("a: 1\n b: 2\n", 2),
        ("a:\n\t- b\n", 2),
        ('a: 1\nb: "\\xzz"\n', 2),
        ('a: "\\ud800"\n', 1),
        ('a: "\\Uffffffff"\n', 1),
        ("a: 1\nb: @x\n", 2),
        ("a: %x\n", 1),
        ("%YAML 3.0\n---\na: 1\n", 1),
        ("%TAG !a!\n---\na: 1\n", 1),
        ("a: !b!c d\n", 1),
        ("}\n", 1),
        ("- a\nb: c\n", 2),
    ],
)
def test_broken_syntax(source: str, line: int) -> None:
    """Text that is no YAML is one fault that says so, near the place."""
    fault = only_fault(source)
    assert fault.text.startswith("not valid YAML: ")
    assert abs(fault.line - line) <= 1
    assert fault.column >= 1
    assert "\n" not in fault.text


# --- marks -----------------------------------------------------------------------------------


def test_marks_of_every_value_and_key() -> None:
    """Every value and every key knows the line and column where it starts, from 1."""
    document = read(b"a: 1\nb:\n  - x\n  -   {c: 'd', e: }\nf:   &anchor\n  g: |\n    text\nh: *anchor\n")
    assert document.faults == []
    assert document.marks == {
        (): (1, 1),
        ("a",): (1, 4),
        ("b",): (3, 3),
        ("b", 0): (3, 5),
        ("b", 1): (4, 7),
        ("b", 1, "c"): (4, 11),
        ("b", 1, "e"): (4, 19),
        ("f",): (5, 6),
        ("f", "g"): (6, 6),
        ("h",): (8, 4),
    }
    assert document.key_marks == {
        ("a",): (1, 1),
        ("b",): (2, 1),
        ("b", 1, "c"): (4, 8),
        ("b", 1, "e"): (4, 16),
        ("f",): (5, 1),
        ("f", "g"): (6, 3),
        ("h",): (8, 1),
    }


def test_marks_count_characters() -> None:
    """Columns count characters as editors do, not bytes."""
    document = read("ключ: [да, 日本, x]\n".encode())
    assert document.marks[("ключ", 2)] == (1, 16)


def paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """The path of every value in a value."""
    found = {path}
    if isinstance(value, dict):
        found.update(*(paths(item, (*path, str(key))) for key, item in value.items()))
    elif isinstance(value, list):
        found.update(*(paths(item, (*path, index)) for index, item in enumerate(value)))
    return found


# --- laws ------------------------------------------------------------------------------------

FRAGMENTS = (
    *("a", "b: ", "1", "0x1", "'", '"', "- ", "? ", ": ", ":", ",", "[", "]", "{", "}", "\n"),
    *("\n  ", "\n- ", "\n    ", "\t", " ", "&x ", "*x", "*y", "<<: ", "<<: *x", "!!int ", "! "),
    *("!!str ", "!t ", "%TAG ! x\n", "%YAML 1.1\n", "---\n", "...\n", "|\n", ">-\n", "# c\n"),
    *("~", "null", "true", ".nan", "1e999", "é", "😀", "\0", "\x07", "\r\n", "\u2028", "\x85"),
    *("\ufeff", "\\", '"\\x', '"\\ud800"', "@", "`", "|9\n", "&", "*", "!<", "!", "%"),
)


def check(document: Document) -> None:
    """What holds of every document, read to the end or not."""
    for fault in document.faults:
        assert fault.line >= 1
        assert fault.column >= 1
        assert fault.text
    for line, column in (*document.marks.values(), *document.key_marks.values()):
        assert line >= 1
        assert column >= 1


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=300))
def test_reading_never_raises_on_bytes(source: bytes) -> None:
    """Whatever the bytes, reading returns a document."""
    check(read(source))


@settings(deadline=None, max_examples=800, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_reading_never_raises_on_yaml_like_text(source: str) -> None:
    """Whatever is put together from pieces of YAML, reading returns a document."""
    check(read(source.encode(), Limits(bytes=1_000, values=50)))


def reads_alike(text: str) -> bool:
    """Whether YAML 1.1, by which PyYAML leaves out quotes, and YAML 1.2 agree about a text."""
    resolver: Any = yaml.resolver.Resolver()
    plain = resolver.resolve(yaml.ScalarNode, text, (True, False))
    return plain != "tag:yaml.org,2002:str" or isinstance(scalar(text), str)


# Left out, because PyYAML writes them so that YAML 1.2 means something else: texts such as
# ``1e3`` or ``0o7``, which are numbers in 1.2 and not in 1.1, so that PyYAML writes them without
# quotes, and the line ends of YAML 1.1 alone, which PyYAML writes and libyaml reads as such.
# Left out as well: NaN, which equals nothing, and surrogates, which no file can hold.
_TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029")
    | st.sampled_from("0123456789.eEox+-_:~ \n'\"#&*!"),
    max_size=20,
).filter(reads_alike)
_WORDS = st.sampled_from(["no", "true", "~", "null", "", "12:30", "010", "<<", "=", ".nan", "1"])
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS | _WORDS
JSON_LIKE = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS | _WORDS, inner, max_size=4),
    max_leaves=15,
)


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(value=JSON_LIKE, flow=st.sampled_from([None, True, False]), wide=st.booleans())
def test_what_was_dumped_is_read_back(value: object, flow: bool | None, wide: bool) -> None:
    """A value that PyYAML wrote is read back equal, type by type, with a mark for every part."""
    source = yaml.safe_dump(
        value, encoding="utf-8", default_flow_style=flow, allow_unicode=wide, sort_keys=False
    )
    document = read(source)
    assert document.faults == []
    assert same(document.value, value)
    assert set(document.marks) >= {path for path in paths(value) if len(path) <= 1}
    check(document)
