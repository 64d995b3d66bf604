"""Waiting for something to change, within one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable


class Bell:
    """Wakes everybody who waits whenever it is rung; each then looks whether what it waits for is there."""

    def __init__(self) -> None:
        """Start silent."""
        self._next = asyncio.Event()

    def ring(self) -> None:
        """Wake everybody who waits."""
        self._next.set()
        self._next = asyncio.Event()

    async def wait_until(self, done: Callable[[], bool], seconds: float) -> None:
        """Return when `done()` is true or the seconds are over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                while not done():
                    await self._next.wait()
