"""How long two encoders take for the same images, measured side by side.

On a CPU it is the thread's own time that counts, not the wall clock's: of two calls the longer one is
interrupted more often, so on a machine with other things to do their wall times differ by more than
the calls do. Everything here computes in one thread (see ``encoders``), whose time is all there is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import torch

WARM_UP = 20
REPEATS = 300
BATCH = 64

Encode = Callable[[torch.Tensor], torch.Tensor]


def side_by_side(
    first: Encode, second: Encode, images: torch.Tensor, repeats: Iterable[int]
) -> tuple[list[float], list[float]]:
    """Milliseconds of each call of both, taken in turns, so that what else the machine does hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    with torch.no_grad():
        for _ in range(WARM_UP):
            first(images), second(images)
        for repeat in repeats:
            order = (0, 1) if repeat % 2 else (1, 0)
            for which in order:
                times[which].append(_milliseconds((first, second)[which], images))
    return times


def _milliseconds(encode: Encode, images: torch.Tensor) -> float:
    _wait(images)
    clock = time.perf_counter if images.is_cuda else time.thread_time
    begun = clock()
    encode(images)
    _wait(images)
    return 1000 * (clock() - begun)


def _wait(images: torch.Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
