"""Scenes for the study: one handwritten digit, at a random place and size, on a dark canvas.

The digits are the 1797 real 8x8 scans of ``sklearn.datasets.load_digits`` (test part of the UCI
"Optical Recognition of Handwritten Digits" set, Alpaydin & Kaynak 1998, doi:10.24432/C50P49).
Splits are made by digit image: all scenes of one scan are in the same split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

CANVAS = 32  # side of a scene, pixels
SIZE_RANGE = (8.0, 16.0)  # side of a digit on the canvas, pixels
SCENES_PER_DIGIT = 3
STUDY_SPLIT_SEED = 20
HELD_OUT = 0.25  # part of the digit images that only the registered study may test on

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scenes:
    """``n`` scenes and what is true of them."""

    images: torch.Tensor  # (n, 1, CANVAS, CANVAS), grey values in [0, 1]
    boxes: torch.Tensor  # (n, 3): left, top and side of the digit's square, pixels
    labels: torch.Tensor  # (n,): the digit's class, 0 to 9
    digits: torch.Tensor  # (n,): index of the scan in load_digits

    def to(self, device: torch.device | str) -> Scenes:
        """The same scenes on another device."""
        parts = (self.images, self.boxes, self.labels, self.digits)
        return Scenes(*(part.to(device) for part in parts))


@dataclass(frozen=True)
class SceneSplits:
    """Training, validation and test scenes that share no digit image."""

    train: Scenes
    val: Scenes
    test: Scenes

    def to(self, device: torch.device | str) -> SceneSplits:
        """The same splits on another device."""
        return SceneSplits(self.train.to(device), self.val.to(device), self.test.to(device))


def study_scenes() -> SceneSplits:
    """The scenes of the registered study."""
    rest, test = _split_digits(np.arange(len(load_digits().target)), STUDY_SPLIT_SEED)
    train, val = _split_digits(rest, STUDY_SPLIT_SEED)
    return _place_all(train, val, test, STUDY_SPLIT_SEED)


def pilot_scenes(seed: int) -> SceneSplits:
    """Scenes to tune and pilot on; none shows a digit image that the study tests on."""
    allowed, _ = _split_digits(np.arange(len(load_digits().target)), STUDY_SPLIT_SEED)
    rest, test = _split_digits(allowed, seed)
    train, val = _split_digits(rest, seed)
    return _place_all(train, val, test, seed)


def _split_digits(digits: Indices, seed: int) -> tuple[Indices, Indices]:
    """Split scans into a larger and a held-out part, classes in proportion."""
    kept, held_out = train_test_split(
        digits, test_size=HELD_OUT, random_state=seed, stratify=load_digits().target[digits]
    )
    return kept, held_out


def _place_all(train: Indices, val: Indices, test: Indices, seed: int) -> SceneSplits:
    rng = np.random.default_rng(seed)
    return SceneSplits(_place(train, rng), _place(val, rng), _place(test, rng))


def _place(digits: Indices, rng: np.random.Generator) -> Scenes:
    """Draw ``SCENES_PER_DIGIT`` scenes of every scan, fully inside the canvas."""
    source = load_digits()
    chosen = np.repeat(digits, SCENES_PER_DIGIT)
    size = rng.uniform(*SIZE_RANGE, len(chosen))
    corner = rng.uniform(0.0, 1.0, (len(chosen), 2)) * (CANVAS - size)[:, None]
    boxes = torch.from_numpy(np.column_stack([corner, size])).float()
    scans = torch.from_numpy(source.images[chosen] / 16.0).float()[:, None]
    return Scenes(
        images=_render(scans, boxes),
        boxes=boxes,
        labels=torch.from_numpy(source.target[chosen]),
        digits=torch.from_numpy(chosen),
    )


def _render(scans: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Draw (n, 1, 8, 8) scans into their boxes on a dark canvas, bilinearly."""
    left, top, size = boxes.unbind(1)
    # Affine map from canvas to scan coordinates, both running from -1 to 1 (torch's convention).
    theta = torch.zeros(len(boxes), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = CANVAS / size
    theta[:, 0, 2] = (CANVAS - 2 * left) / size - 1
    theta[:, 1, 2] = (CANVAS - 2 * top) / size - 1
    grid = F.affine_grid(theta, [len(boxes), 1, CANVAS, CANVAS], align_corners=False)
    return F.grid_sample(scans, grid, padding_mode="zeros", align_corners=False)
