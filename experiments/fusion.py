"""The hybrid encoder: the pooled latent for meaning, a few numbers of every patch for position."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from digit_scenes import CANVAS, SceneSplits
from encoders import CHANNELS, GRID, Budget, Curve, Encoder, Features, Progress, accuracy, fit
from spatial import SPATIAL, BoxReport, box_report
from torch import nn

FUSION_BUDGET = Budget(epochs=60, learning_rate=5e-3)


class HybridEncoder(nn.Module):
    """A frozen encoder that hands on its pooled latent and its patches, each cut to 4 numbers.

    Patches are standardised with the statistics that the cut was trained with.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.semantic = Encoder()
        self.shrink = nn.Conv2d(CHANNELS, SPATIAL, 1)
        self.register_buffer("mean", torch.zeros(1, CHANNELS, 1, 1))
        self.register_buffer("deviation", torch.ones(1, CHANNELS, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The pooled latent and then the cut patches, (n, CHANNELS + 4 * GRID * GRID)."""
        patches = self.semantic.patches(images)
        spatial = self.shrink((patches - self.mean) / self.deviation)
        return torch.cat([patches.mean((2, 3)), spatial.flatten(1)], 1)


def hybrid(encoder: Encoder, shrink: nn.Module, scenes: SceneSplits) -> HybridEncoder:
    """Put together what a probe's cut and the statistics of the training scenes make of an encoder."""
    with torch.no_grad():
        patches = encoder.patches(scenes.train.images)
    whole = HybridEncoder().to(patches.device)
    whole.semantic.load_state_dict(encoder.state_dict())
    whole.shrink.load_state_dict(shrink.state_dict())
    whole.mean.copy_(patches.mean((0, 2, 3), keepdim=True))
    whole.deviation.copy_(patches.std((0, 2, 3), keepdim=True).clamp(min=1e-6))
    return whole.eval().requires_grad_(requires_grad=False)


class FusionHead(nn.Module):
    """One head for both questions: class logits and the box from the 304 numbers handed on."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(CHANNELS + SPATIAL * GRID * GRID, 128), nn.ReLU())
        self.classify = nn.Linear(128, 10)
        self.locate = nn.Linear(128, 3)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Class logits and then left, top and side as parts of the canvas, (n, 13)."""
        shared = self.body(features)
        return torch.cat([self.classify(shared), self.locate(shared)], 1)


@dataclass(frozen=True)
class FusionReport:
    """What one head reads off the hybrid features of the test scenes."""

    class_accuracy: float
    boxes: BoxReport
    curve: Curve


def fuse(features: Features, scenes: SceneSplits, to: Progress) -> FusionReport:
    """Train one head to name and to locate digits from frozen hybrid features; measure both."""
    head = FusionHead().to(features.train.device)
    train, val = (
        (inputs, torch.cat([part.labels[:, None].float(), part.boxes / CANVAS], 1))
        for inputs, part in ((features.train, scenes.train), (features.val, scenes.val))
    )
    curve = fit("fusion", head, _both_losses, train, val, FUSION_BUDGET, to)
    answers = head(features.test)
    boxes = box_report(answers[:, 10:] * CANVAS, scenes, curve)
    return FusionReport(accuracy(answers[:, :10], scenes.test.labels), boxes, curve)


def _both_losses(answers: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the class plus ten times the box's mean error, which makes them alike in size."""
    naming = F.cross_entropy(answers[:, :10], truth[:, 0].long())
    return naming + 10 * F.l1_loss(answers[:, 10:], truth[:, 1:])
