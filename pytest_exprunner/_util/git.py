"""What git knows of a project: asked with a time limit, with hooks and file watchers off."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_SECONDS = 3.0


def ask(root: Path, *arguments: str, seconds: float = _SECONDS, given: bytes = b"") -> bytes | None:
    """Return what a git command prints; None without git, outside a repository, or where it fails."""
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            command,
            cwd=root,
            env=environment,
            capture_output=True,
            timeout=seconds,
            check=False,
            input=given,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def ask_text(root: Path, *arguments: str) -> str | None:
    """Return what a git command prints as text without surrounding space; None as above, or if it is none."""
    output = ask(root, *arguments)
    try:
        return None if output is None else output.decode().strip()
    except UnicodeDecodeError:
        return None
