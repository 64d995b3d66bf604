"""Selects the files of a project to upload: those that git sees, except the output of runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from fnmatch import fnmatch
from pathlib import Path

from pytest_exprunner._util import git
from pytest_exprunner._util.errors import ExecutorError

_GIT_SECONDS = 30.0
_NEVER = frozenset({
    "__pycache__", ".git", ".venv", "venv", "node_modules", "wandb",
    ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox", ".ipynb_checkpoints",
})  # fmt: skip
_SECRET = (
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.p12", "*.pfx", "*.keystore"),
    *(".env", ".env.*", ".envrc", ".netrc", ".pypirc", ".npmrc", ".git-credentials", ".modal.toml"),
    *("credentials.json", "kaggle.json", "*service-account*.json", "*_secret.json"),
)
"""Name patterns of files that hold secrets."""
_MAX_BYTES = 500 * 1024 * 1024


def shipped(root: Path, results: Path, experiments: Collection[str]) -> list[str]:
    """Return the files of a project to upload, relative to it.

    These are tracked files and untracked ones that git does not ignore; without git, everything but
    caches and environments. Results of these ``experiments``, and files whose name suggests a secret, are
    left out. A link to a folder of the project stands for that folder's uploaded files. Raises
    `ExecutorError` if the files exceed 500 MiB in total, or if a name is not UTF-8.
    """
    found = _as_git_sees(root)
    names = _everything(root) if found is None else found
    kept = [name for name in names if _travels(root, name, results, experiments)]
    kept += _through_links(root, names, kept)
    _refuse_odd_names(kept)
    sizes = {name: (root / name).stat().st_size for name in kept}
    size = sum(sizes.values())
    if size > _MAX_BYTES:
        largest = sorted(kept, key=lambda name: -sizes[name])[:3]
        raise ExecutorError(
            f"the project's files are {size // 1024**2:,} MB, the largest {', '.join(largest)}; expected at "
            "most 500 MB: have git ignore data and models, and keep them on a volume"
        )
    return kept


def _through_links(root: Path, names: Collection[str], kept: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        link = root / name
        if link.is_symlink() and link.is_dir():
            there = link.resolve()
            for other in kept:
                with contextlib.suppress(ValueError):
                    found.append(f"{name}/{(root / other).relative_to(there).as_posix()}")
    return found


def _refuse_odd_names(names: Collection[str]) -> None:
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ExecutorError(
                f"a file is called {os.fsencode(name)!r}, which is not UTF-8; expected a name that "
                "other machines can have: rename it, or have git ignore it"
            ) from None


def _as_git_sees(root: Path) -> list[str] | None:
    # Include the files of submodules, because the run uses them too.
    tracked = _listed(root, "--cached", "--recurse-submodules")
    new = _listed(root, "--others", "--exclude-standard")
    if tracked is None or new is None:
        return None
    return sorted({*tracked, *(name for name in new if not _NEVER & set(Path(name).parts))})


def _listed(root: Path, *arguments: str) -> list[str] | None:
    output = git.ask(root, "ls-files", "-z", *arguments, seconds=_GIT_SECONDS)
    return None if output is None else [os.fsdecode(name) for name in output.split(b"\0") if name]


def _everything(root: Path) -> list[str]:
    found = []
    for folder, inner, names in os.walk(root):
        inner[:] = sorted(name for name in inner if name not in _NEVER)
        links = [name for name in inner if Path(folder, name).is_symlink()]
        found += [Path(folder, name).relative_to(root).as_posix() for name in sorted([*names, *links])]
    return found


def _travels(root: Path, name: str, results: Path, experiments: Collection[str]) -> bool:
    file = root / name
    there = file.resolve()
    inside = there.is_relative_to(root.resolve())  # a link may point anywhere
    if not file.is_file() or not inside or _is_secret(file.name) or _is_secret(there.name):
        return False
    if not file.is_relative_to(results):
        return True
    first, *rest = file.relative_to(results).parts
    return not (
        first in {".exprunner", "FINDINGS.md"}
        or (first == "experiments" and rest[:1] and rest[0] in experiments)
    )


def _is_secret(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in _SECRET)
