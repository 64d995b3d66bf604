"""Adapters from the hybrid encoder's features to the latent of a frozen generator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from digit_scenes import SceneSplits
from encoders import CHANNELS, Budget, Encoder, Features, Progress, features_of, fit
from generator import LATENT, Generator
from reconstruction import SceneReport, scene_report
from torch import nn

ADAPTER_BUDGET = Budget(epochs=12, learning_rate=5e-3)


def full_adapter() -> nn.Module:
    """Wide 3 x 3 convolutions from patches with the pooled latent at each; 57 668 parameters."""
    return nn.Sequential(
        nn.Conv2d(2 * CHANNELS, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, LATENT, 3, padding=1)
    )


def lean_adapter() -> nn.Module:
    """A narrow and deeper one with a tenth of the parameters, 5 567."""
    return nn.Sequential(
        nn.Conv2d(2 * CHANNELS, 11, 1),
        nn.ReLU(),
        nn.Conv2d(11, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, LATENT, 3, padding=1),
    )


def bridge_features(encoder: Encoder, scenes: SceneSplits) -> Features:
    """Patches with the pooled latent beside each of them, (n, 2 * CHANNELS, GRID, GRID)."""

    def both(images: torch.Tensor) -> torch.Tensor:
        patches = encoder.patches(images)
        return torch.cat([patches, patches.mean((2, 3), keepdim=True).expand_as(patches)], 1)

    return features_of(scenes, both)


@dataclass(frozen=True)
class Bridge:
    """What a generator draws from adapted features of the test scenes, and what that took."""

    report: SceneReport
    parameters: int


def bridge(
    adapter: nn.Module, features: Features, generator: Generator, scenes: SceneSplits, to: Progress
) -> Bridge:
    """Train an adapter to hit the generator's own latents; draw the test scenes with what it makes."""
    adapter = adapter.to(features.train.device)
    with torch.no_grad():
        targets = [generator.encode(part.images) for part in (scenes.train, scenes.val)]
    train, val = (features.train, targets[0]), (features.val, targets[1])
    curve = fit("adapter", adapter, F.mse_loss, train, val, ADAPTER_BUDGET, to)
    report = scene_report(generator.generate(adapter(features.test)), scenes, curve)
    return Bridge(report, sum(value.numel() for value in adapter.parameters()))
