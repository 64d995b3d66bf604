"""A terminal of our own: a program's screen as a person saw it, again and again while it ran."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

import pyte


@dataclass
class Seen:
    """What was on the screen."""

    screens: list[str] = field(default_factory=list)
    """Every state of it, without what stood there a moment before already."""
    code: int = 0

    @property
    def last(self) -> str:
        """What was left on it."""
        return self.screens[-1]


def show(command: list[str], cwd: Path, env: dict[str, str], width: int = 140, height: int = 40) -> Seen:
    """Run a program on a terminal."""
    screen = pyte.Screen(width, height)
    stream = pyte.ByteStream(screen)
    seen = Seen()
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        os.chdir(cwd)
        os.execvpe(command[0], command, env)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # it has ended
            break
        if not data:
            break
        stream.feed(data)
        text = "\n".join(line.rstrip() for line in screen.display).rstrip()
        if not seen.screens or seen.screens[-1] != text:
            seen.screens.append(text)
    seen.code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return seen
