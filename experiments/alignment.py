"""How alike two representations of the same scenes are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from digit_scenes import SceneSplits
from encoders import Features
from generator import Generator
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import NearestNeighbors

NEIGHBOURS = 10


def probe_r2(train: tuple[torch.Tensor, torch.Tensor], test: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Variance of targets (n, d) that a ridge regression explains of unseen rows, from inputs (n, c).

    The coefficient of determination, 1 - residual / total sum of squares (Draper & Smith 1998,
    ch. 1), over all columns of the targets together; at most 1, and 0 for always guessing the mean.
    """
    inputs, targets = (part.cpu().numpy().astype(np.float64) for part in train)
    unseen, truth = (part.cpu().numpy().astype(np.float64) for part in test)
    predicted = Ridge(alpha=1.0).fit(inputs, targets).predict(unseen)
    return float(r2_score(truth, predicted, multioutput="variance_weighted"))


def linear_cka(a: torch.Tensor, b: torch.Tensor) -> float:
    """Linear centred kernel alignment of two representations, (n, p) and (n, q); between 0 and 1.

    Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited" (ICML):
    |B'A|^2 / (|A'A| |B'B|) of centred columns, Frobenius norms. Computed from n x n Gram matrices,
    which are smaller here than p x q.
    """
    first, second = (_gram(part) for part in (a, b))
    return float((first * second).sum() / (first.norm() * second.norm()))


def _gram(rows: torch.Tensor) -> torch.Tensor:
    centred = rows.double() - rows.double().mean(0)
    return centred @ centred.T


def neighbour_recall(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Per row (n,), the share of its 10 nearest rows in one representation that are so in the other.

    Recall at 10 of nearest neighbours (as in Venna et al. 2010, JMLR 11, for the quality of
    embeddings) in Euclidean distance, a row not counted among its own; 10 / (n - 1) by chance.
    """
    first, second = (_nearest(part) for part in (a, b))
    shared = [len(set(mine) & set(other)) for mine, other in zip(first, second, strict=True)]
    return torch.tensor(shared) / NEIGHBOURS


def _nearest(rows: torch.Tensor) -> list[list[int]]:
    search = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(rows.cpu().numpy())
    found: list[list[int]] = search.kneighbors(return_distance=False).tolist()
    return found


@dataclass(frozen=True)
class Alignment:
    """How well features of the test scenes fit a generator's latents of the same scenes."""

    recalls: torch.Tensor  # (n,)
    metrics: dict[str, float]


def align(features: Features, generator: Generator, scenes: SceneSplits) -> Alignment:
    """Compare features with the generator's latents, (n, LATENT, GRID, GRID).

    The linear probe goes from patch to patch where there are patches, and from the whole pooled
    latent to the whole of the generator's where there are none. The other two compare whole scenes.
    """
    with torch.no_grad():
        latents = [generator.encode(part.images) for part in (scenes.train, scenes.test)]
    known = [features.train, features.test]
    rows = [_by_patch(x) for x in known], [_by_patch(x) for x in latents]
    whole = [x.flatten(1) for x in known], [x.flatten(1) for x in latents]
    inputs, targets = rows if features.test.ndim > 2 else whole
    recalls = neighbour_recall(whole[0][1], whole[1][1])
    metrics = {
        "linear_probe_r2": probe_r2((inputs[0], targets[0]), (inputs[1], targets[1])),
        "cka": linear_cka(whole[0][1], whole[1][1]),
        "neighbour_recall_at_10": float(recalls.mean()),
    }
    return Alignment(recalls, metrics)


def _by_patch(grid: torch.Tensor) -> torch.Tensor:
    """From (n, channels, height, width) to one row per patch, (n * height * width, channels)."""
    return grid.movedim(1, -1).flatten(0, -2)
