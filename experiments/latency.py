"""How long two encoders take for the same images, measured side by side."""

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
    begun = time.perf_counter()
    encode(images)
    _wait(images)
    return 1000 * (time.perf_counter() - begun)


def _wait(images: torch.Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
