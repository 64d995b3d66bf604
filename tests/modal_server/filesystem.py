"""The file system of a container: this machine's, with the image's, mounts' and volumes' files laid over it.

A mount namespace holds an overlay of ``/`` whose upper layer lies in memory, so whatever a container writes
outside of its volumes and ``/tmp`` ends with it. A process namespace ends all descendants with the container.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import string
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from modal_server.storage import Images, Mounts

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
"""The variables of this machine that a container gets; a real one gets none."""


@dataclass
class Layout:
    """What a container's file system and environment are made of."""

    layer: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/root"
    binds: list[tuple[Path, str, bool]] = field(default_factory=list)
    """Source, target and whether it is read-only, for each volume."""

    def add_image(self, images: Images, mounts: Mounts, image_id: str) -> None:
        """Apply the few Dockerfile commands that matter to a process on this machine."""
        for definition in images.chain(image_id):
            for line in definition.dockerfile_commands:
                word, _, rest = line.strip().partition(" ")
                if word == "ENV":
                    self._set_variables(rest)
                elif word == "WORKDIR":
                    self.workdir = rest.strip()
                elif word == "COPY" and definition.context_mount_id and not rest.startswith("--"):
                    source, target = shlex.split(rest)[:2]
                    self._copy(mounts, definition.context_mount_id, source, target)

    def add_mount(self, mounts: Mounts, mount_id: str) -> None:
        """Put a mount's files where they belong."""
        for name, content, mode in mounts.files(mount_id):
            self._write(name, content, mode)

    def _set_variables(self, text: str) -> None:
        for token in shlex.split(text):
            name, _, value = token.partition("=")
            known = {**os.environ, **self.environment}
            self.environment[name] = string.Template(value).safe_substitute(known)

    def _copy(self, mounts: Mounts, mount_id: str, source: str, target: str) -> None:
        top = os.path.normpath("/" + source)
        for name, content, mode in mounts.files(mount_id):
            relative = os.path.relpath(os.path.normpath("/" + name), top)
            if relative.startswith(".."):
                continue
            place = PurePosixPath(self.workdir, target, relative)
            self._write(str(place), content, mode)

    def _write(self, name: str, content: Path, mode: int) -> None:
        path = self.layer / os.path.normpath(name).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(content, path)
        path.chmod(mode)


def base_environment() -> dict[str, str]:
    """Return the variables that every container has."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    folders = [str(Path(sys.executable).parent), kept.get("PATH", "/usr/local/bin:/usr/bin:/bin")]
    return {**kept, "PATH": os.pathsep.join(folders), "HOME": "/root", "PYTHONUNBUFFERED": "1"}


def command(layout: Layout, state: Path, argv: list[str]) -> list[str]:
    """Return the command that runs another one in the container's file system."""
    base = layout.layer.parent / "root"
    base.mkdir(exist_ok=True)
    script = [*_overlay(layout.layer, base), *_system_mounts(base / "merged", state)]
    for source, target, read_only in layout.binds:
        place = f"{base}/merged{target}"
        script += _bind(str(source), place, "--bind")
        script += [f"mount -o remount,bind,ro {shlex.quote(place)}"] if read_only else []
    inner = f"cd {shlex.quote(layout.workdir)} && exec {shlex.join(argv)}"
    root = shlex.quote(str(base / "merged"))
    script += [
        f"mkdir -p {root}{shlex.quote(layout.workdir)}",
        "code=0",
        # Not the last command, so that the shell stays: it is the first process of the namespace, which the
        # kernel shields from signals, and whose end ends all the others.
        f"chroot {root} /bin/sh -c {shlex.quote(inner)} || code=$?",
        "exit $code",
    ]
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    options = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
    # Should the server be killed, its containers end too: the kernel sees to it.
    bound = ["setpriv", "--pdeathsig", "KILL"]
    return [*bound, "unshare", *user, *options, "/bin/sh", "-ec", "\n".join(script)]


@functools.cache
def can_isolate(folder: Path) -> bool:
    """Try once whether this machine allows containers their own file system."""
    place = folder / "probe" / "layer"
    place.mkdir(parents=True, exist_ok=True)
    try:
        argv = command(Layout(place), folder, ["true"])
        return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        shutil.rmtree(place.parent, ignore_errors=True)


def _overlay(layer: Path, base: Path) -> list[str]:
    here = shlex.quote(str(base))
    return [
        # An upper layer in memory also works where /tmp is an overlay itself, as in Docker.
        f"mount -t tmpfs tmpfs {here}",
        f"mkdir {here}/upper {here}/work {here}/merged",
        f"cp -a {shlex.quote(str(layer))}/. {here}/upper/",
        f"mount -t overlay overlay -o lowerdir=/,upperdir={here}/upper,workdir={here}/work {here}/merged",
        f"mount -t proc proc {here}/merged/proc",
    ]


def _system_mounts(merged: Path, state: Path) -> list[str]:
    script = [line for folder in ("/sys", "/dev") for line in _bind(folder, f"{merged}{folder}", "--rbind")]
    for folder in ["/tmp", *_elsewhere(state)]:
        script += _bind(folder, f"{merged}{folder}", "--bind")
    return script


def _elsewhere(state: Path) -> list[str]:
    """Return the folders, other than ``/tmp``, that the overlay of ``/`` does not show as they are."""
    root = Path("/").stat().st_dev
    python = {Path(sys.prefix), Path(sys.base_prefix)}
    folders = {state, *(folder for folder in python if folder.stat().st_dev != root)}
    return sorted(str(folder) for folder in folders if not folder.is_relative_to("/tmp"))


def _bind(source: str, target: str, how: str) -> list[str]:
    place = shlex.quote(target)
    return [f"mkdir -p {place}", f"mount {how} {shlex.quote(source)} {place}"]
