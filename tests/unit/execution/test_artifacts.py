"""Artifacts: stored whole, inside their folder, never silently overwritten."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from builders import make_record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_exprunner._util.errors import ArtifactError
from pytest_exprunner.execution.artifacts import ArtifactStore, check_name
from pytest_exprunner.model.attempt import Artifact, dump_record

PREFIX = "artifacts/e_x1_1"

HOSTILE = [
    ("", "is empty"),
    ("..", "has the part '..', which could lead out of its folder"),
    ("../a.png", "has the part '..', which could lead out of its folder"),
    ("a/../../b.png", "has the part '..', which could lead out of its folder"),
    (".", "has the part '.', which could lead out of its folder"),
    ("a//b.png", "has the part '', which could lead out of its folder"),
    ("a/", "has the part '', which could lead out of its folder"),
    ("/etc/passwd", "is an absolute path"),
    ("\\\\server\\share", "is an absolute path"),
    ("C:\\a.png", "is an absolute path"),
    ("C:a.png", "is an absolute path"),
    ("c:/a.png", "is an absolute path"),
    ("a\\..\\b.png", "contains a backslash"),
    ("a\x00.png", "contains a control character"),
    ("a\nb.png", "contains a control character"),
    ("a\x1b[31m.png", "contains a control character"),
    ("a\x7f.png", "contains a control character"),
    ("a\u202egnp.exe", "contains a control character"),
    ("a\ud800.png", "contains a control character"),
    ("x" * 256, "has a part longer than 200 bytes"),
    ("é" * 128 + ".png", "has a part longer than 200 bytes"),
    ("/".join(["x" * 100] * 20), "is longer than 1000 bytes"),
    ("CON", "has the part 'CON', a name that some systems reserve"),
    ("nul.txt", "has the part 'nul.txt', a name that some systems reserve"),
    ("a/aux.tar.gz", "has the part 'aux.tar.gz', a name that some systems reserve"),
    ("com1", "has the part 'com1', a name that some systems reserve"),
    ("a.", "has the part 'a.', which starts or ends with a dot or a space"),
    ("a ", "has the part 'a ', which starts or ends with a dot or a space"),
    (" a", "has the part ' a', which starts or ends with a dot or a space"),
    (".hidden", "has the part '.hidden', which starts or ends with a dot or a space"),
    ("a/.git/config", "has the part '.git', which starts or ends with a dot or a space"),
]


class Shop:
    """A store in a folder of its own, and what it announced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "attempt" / "artifacts"
        (root / "attempt").mkdir()
        self.announced: list[Artifact] = []
        self.store = ArtifactStore(str(self.folder), PREFIX, self.announced.append)

    def files(self) -> dict[str, bytes]:
        """Return every file under the root, by path."""
        return {
            path.relative_to(self.root).as_posix(): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def stored(self, name: str) -> bytes:
        """Return the content of an artifact."""
        return (self.folder / name).read_bytes()

    def finished(self) -> dict[str, Artifact]:
        """Return every artifact by its path after the prefix."""
        return {a.path.removeprefix(f"{PREFIX}/"): a for a in self.store.finish()}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A store whose folder does not exist yet."""
    return Shop(tmp_path)


# --- saving -----------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"\x89PNG", bytearray(b"\x89PNG"), memoryview(b"\x89PNG")])
def test_bytes(shop: Shop, data: bytes) -> None:
    """Bytes are stored, announced with their hash, and named by the path that handlers return."""
    assert shop.store.save_artifact("plots/iou.png", data) == f"{PREFIX}/plots/iou.png"
    digest = hashlib.sha256(b"\x89PNG").hexdigest()
    artifact = Artifact(f"{PREFIX}/plots/iou.png", digest, 4, "image")
    assert shop.announced == [artifact]
    assert shop.store.finish() == (artifact,)
    assert shop.files() == {"attempt/artifacts/plots/iou.png": b"\x89PNG"}


def test_text(shop: Shop) -> None:
    """Text is UTF-8, lone surrogates escaped."""
    shop.store.save_artifact("a.txt", "é\ud800\n")
    assert shop.stored("a.txt") == b"\xc3\xa9\\ud800\n"


def test_nothing_else(shop: Shop) -> None:
    """Other values are refused, with what takes them."""
    with pytest.raises(ArtifactError) as caught:
        shop.store.save_artifact("a.bin", {"a": 1})  # type: ignore[arg-type]
    assert str(caught.value) == (
        "the artifact 'a.bin' is dict, neither bytes nor text; "
        "save_json_artifact and save_figure take other values"
    )


def test_no_artifacts(shop: Shop) -> None:
    """Where nothing was saved there is no folder, and nothing to report."""
    assert shop.store.finish() == ()
    assert not shop.folder.exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.PNG", "image"), ("a.json", "data"), ("a.pt", "model"), ("a.html", "page"), ("a.xyz", "file")],
)
def test_kinds(shop: Shop, name: str, kind: str) -> None:
    """The suffix tells what a file is."""
    shop.store.save_artifact(name, b"")
    assert shop.announced[0].type == kind


def test_the_same_name_twice_keeps_the_earlier(shop: Shop) -> None:
    """Saving again never loses what was saved before."""
    for text in ("one", "two", "three"):
        shop.store.save_artifact("plots/iou.png", text)
    assert shop.stored("plots/iou.png") == b"three"
    assert shop.stored("plots/iou~1.png") == b"one"
    assert shop.stored("plots/iou~2.png") == b"two"
    found = shop.finished()
    assert set(found) == {"plots/iou.png", "plots/iou~1.png", "plots/iou~2.png"}
    for name, artifact in found.items():
        assert artifact.sha256 == hashlib.sha256(shop.stored(name)).hexdigest()


@pytest.mark.parametrize(
    ("first", "second"),
    [("IoU.png", "iou.png"), ("caf\u00e9.png", "cafe\u0301.png"), ("Plots/a.png", "plots/A.png")],
)
def test_twins(shop: Shop, first: str, second: str) -> None:
    """Names that some systems take for one are refused, and the first is kept."""
    shop.store.save_artifact(first, b"one")
    with pytest.raises(ArtifactError) as caught:
        shop.store.save_artifact(second, b"two")
    assert str(caught.value) == (
        f"the artifact name {second!r} differs from {first!r} only in case or accents; "
        "some systems cannot keep both"
    )
    assert shop.stored(first) == b"one"


@pytest.mark.parametrize(("first", "second"), [("plots/a.png", "plots"), ("plots", "plots/a.png")])
def test_a_file_is_no_folder(shop: Shop, first: str, second: str) -> None:
    """A name cannot be a file and a folder: the second is refused, the first keeps its place."""
    shop.store.save_artifact(first, b"one")
    with pytest.raises(ArtifactError):
        shop.store.save_artifact(second, b"two")
    assert shop.stored(first) == b"one"
    assert set(shop.finished()) == {first}


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "reason"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_refused(name: str, reason: str) -> None:
    """Every name that could lead elsewhere, or that some system cannot keep, has its reason."""
    with pytest.raises(ArtifactError) as caught:
        check_name(name)
    text = str(caught.value)
    assert text.startswith("the artifact name ")
    assert text.endswith(f" {reason}; expected one such as 'plots/iou.png'")
    text.encode()


@pytest.mark.parametrize(("name", "_reason"), HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_writes_nothing(shop: Shop, name: str, _reason: str) -> None:
    """Whichever way it is given, nothing is written, inside or outside."""
    source = shop.root / "source.txt"
    source.write_bytes(b"mine")
    for save in (
        lambda: shop.store.save_artifact(name, b"x"),
        lambda: shop.store.save_json_artifact(name, {}),
        lambda: shop.store.get_artifact_path(name),
        lambda: shop.store.log_artifact(name, source),
    ):
        with pytest.raises(ArtifactError):
            save()
    assert shop.files() == {"source.txt": b"mine"}


@pytest.mark.parametrize("name", [None, 5, Path("a.png"), b"a.png"])
def test_a_name_is_text(name: object) -> None:
    """Other things are no names."""
    with pytest.raises(ArtifactError, match=r"is not an artifact name; expected text such as 'iou\.png'"):
        check_name(name)


@pytest.mark.parametrize(
    "name", ["a.png", "plots/a b.png", "é.png", "a~1.png", "console.log", "a..b", "図.png"]
)
def test_ordinary_names(name: str) -> None:
    """Ordinary names stay as they are."""
    assert check_name(name) == name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=st.text(max_size=20) | st.text("./\\~: aA\x00", max_size=8))
def test_nothing_is_written_outside(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Whatever the name: it is refused, or the file is under the folder."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    try:
        path = shop.store.save_artifact(name, b"x")
    except ArtifactError:
        assert shop.files() == {}
    else:
        assert path == f"{PREFIX}/{name}"
        assert list(shop.files()) == [f"attempt/artifacts/{name}"]


# --- links ------------------------------------------------------------------------------------


def test_a_linked_folder_is_refused(shop: Shop) -> None:
    """What a link leads to is not this attempt's."""
    outside = shop.root / "outside"
    outside.mkdir()
    shop.folder.mkdir()
    (shop.folder / "plots").symlink_to(outside)
    source = shop.root / "source.txt"
    source.write_bytes(b"mine")
    for save in (
        lambda: shop.store.save_artifact("plots/a.png", b"x"),
        lambda: shop.store.get_artifact_path("plots/a.png"),
        lambda: shop.store.log_artifact("plots/deep/a.png", source),
    ):
        with pytest.raises(ArtifactError) as caught:
            save()
        assert str(caught.value) == (
            f"{shop.folder / 'plots'} is a link; artifacts are stored in real folders only"
        )
    assert list(outside.iterdir()) == []


def test_a_linked_file_is_not_followed(shop: Shop) -> None:
    """A link in the place of a file is moved away, and what it leads to is untouched."""
    outside = shop.root / "outside.txt"
    outside.write_bytes(b"mine")
    shop.folder.mkdir()
    (shop.folder / "a.txt").symlink_to(outside)
    shop.store.save_artifact("a.txt", b"x")
    assert outside.read_bytes() == b"mine"
    assert shop.stored("a.txt") == b"x"
    assert set(shop.finished()) == {"a.txt"}


# --- JSON -------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    """A dataclass as research code has them."""

    x: float
    y: Any


def test_json(shop: Shop) -> None:
    """Arrays, tensors, dataclasses, special numbers and huge integers all have a JSON form."""
    torch = pytest.importorskip("torch")
    value = {
        "numpy": np.array([[1, 2], [3, 4]], dtype=np.int8),
        "scalar": np.float32(0.5),
        "tensor": torch.tensor([0.5, 1.5], requires_grad=True),
        "point": Point(1.0, np.int64(2)),
        "special": [math.nan, math.inf, -math.inf],
        "huge": 2**70,
        3: {1},
        "path": Path("a/b"),
    }
    assert shop.store.save_json_artifact("a.json", value) == f"{PREFIX}/a.json"
    assert orjson.loads(shop.stored("a.json")) == {
        "numpy": [[1, 2], [3, 4]],
        "scalar": 0.5,
        "tensor": [0.5, 1.5],
        "point": {"x": 1.0, "y": 2},
        "special": ["NaN", "Infinity", "-Infinity"],
        "huge": str(2**70),
        "3": [1],
        "path": "a/b",
    }


@pytest.mark.parametrize("size", [0, 1, 2])
def test_an_array_stays_a_list(shop: Shop, size: int) -> None:
    """An array of one element is still a list: who reads the file must not have to guess."""
    shop.store.save_json_artifact("a.json", {"losses": np.zeros(size)})
    assert orjson.loads(shop.stored("a.json")) == {"losses": [0.0] * size}


@pytest.mark.parametrize(
    "value", [None, True, "text", [], 10**5000], ids=["none", "true", "text", "list", "huge"]
)
def test_any_json(shop: Shop, value: object) -> None:
    """Any value at all can be saved."""
    shop.store.save_json_artifact("a.json", value)
    assert shop.stored("a.json").endswith(b"\n")


# --- files that handlers write themselves ------------------------------------------------------


def test_a_path_to_write_to(shop: Shop) -> None:
    """What was written to a given path counts at the end; a path never written to does not."""
    path = shop.store.get_artifact_path("models/encoder.pt")
    shop.store.get_artifact_path("never.pt")
    path.write_bytes(b"weights")
    assert shop.announced == []
    artifact = Artifact(f"{PREFIX}/models/encoder.pt", hashlib.sha256(b"weights").hexdigest(), 7, "model")
    assert shop.store.finish() == (artifact,)
    assert shop.announced == [artifact]


def test_log_artifact_copies(shop: Shop) -> None:
    """A file from elsewhere is copied, with the kind that is given."""
    source = shop.root / "source.bin"
    source.write_bytes(b"mine")
    assert shop.store.log_artifact("a.bin", source, type="model") == f"{PREFIX}/a.bin"
    assert (shop.stored("a.bin"), source.read_bytes()) == (b"mine", b"mine")
    assert shop.announced[0].type == "model"


def test_log_artifact_in_place(shop: Shop) -> None:
    """A file that stands in its place is registered where it is."""
    path = shop.store.get_artifact_path("a.bin")
    path.write_bytes(b"mine")
    shop.store.log_artifact("a.bin", str(path))
    assert [a.path for a in shop.store.finish()] == [f"{PREFIX}/a.bin"]
    assert len(shop.files()) == 1


def test_log_artifact_without_a_file(shop: Shop) -> None:
    """A file that is not there is an error in words; so is a folder."""
    for missing in (shop.root / "gone.bin", shop.root):
        with pytest.raises(ArtifactError) as caught:
            shop.store.log_artifact("a.bin", missing)
        assert str(caught.value) == (f"the artifact 'a.bin' cannot be registered: there is no file {missing}")


def test_a_file_name_that_is_no_text(shop: Shop) -> None:
    """A file whose name is not UTF-8, left by some program, does not cost the attempt its record."""
    shop.store.get_artifact_path("never.txt")
    (shop.folder / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"x")
    shop.store.save_artifact("good.txt", b"y")
    artifacts = shop.store.finish()
    assert f"{PREFIX}/good.txt" in [a.path for a in artifacts]
    dump_record(make_record(artifacts=artifacts))


def test_temporary_files_and_links_do_not_count(shop: Shop) -> None:
    """A half-written file and a link are no artifacts."""
    shop.store.get_artifact_path("never.txt")
    (shop.folder / ".abc.tmp").write_bytes(b"half")
    (shop.folder / "link.txt").symlink_to(shop.root / "elsewhere")
    assert shop.store.finish() == ()


# --- figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "start"), [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF")])
def test_matplotlib(shop: Shop, name: str, start: bytes) -> None:
    """A figure is saved in the format of its name."""
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([1, 2])
    assert shop.store.save_figure(name, figure) == f"{PREFIX}/{name}"
    assert shop.stored(name).startswith(start)


class Plotly:
    """A figure as plotly has them."""

    def to_html(self, *, include_plotlyjs: bool) -> str:
        return f"<html>{include_plotlyjs}</html>"

    def to_json(self) -> str:
        return "{}"

    def to_image(self, format: str) -> bytes:  # noqa: A002
        return format.encode()


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.html", b"<html>True</html>"), ("a.json", b"{}"), ("a.png", b"png")],
)
def test_plotly(shop: Shop, name: str, content: bytes) -> None:
    """A plotly figure is a page, data or an image."""
    shop.store.save_figure(name, Plotly())
    assert shop.stored(name) == content


def test_what_is_no_figure(shop: Shop) -> None:
    """Other objects and names without a suffix are refused in words."""
    with pytest.raises(ArtifactError) as caught:
        shop.store.save_figure("a.png", [1])
    assert str(caught.value) == (
        "list is not a figure that can be saved as .png; expected one of matplotlib or plotly "
        "(a pyplot axes object has its figure in .figure)"
    )
    with pytest.raises(
        ArtifactError, match=r"the figure name 'a' has no suffix; expected one such as 'a\.png'"
    ):
        shop.store.save_figure("a", Plotly())
