"""The spatial probe: how much of a digit's box can be read off frozen features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from digit_scenes import CANVAS, SceneSplits
from encoders import CHANNELS, GRID, Budget, Curve, Features, Progress, fit
from torch import nn

PROBE_BUDGET = Budget(epochs=40, learning_rate=4e-3)


SPATIAL = 4  # numbers that are kept of every patch


def pooled_probe(channels: int = CHANNELS) -> nn.Module:
    """Box from a pooled latent (n, channels); 16 851 parameters from 48 channels."""
    return nn.Sequential(nn.Linear(channels, 324), nn.ReLU(), nn.Linear(324, 3))


class PatchProbe(nn.Module):
    """Box from patches (n, channels, GRID, GRID), each cut to 4 numbers; 16 839 parameters from 48."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.shrink = nn.Conv2d(channels, SPATIAL, 1)
        self.head = nn.Sequential(
            nn.Flatten(), nn.Linear(SPATIAL * GRID * GRID, 64), nn.ReLU(), nn.Linear(64, 3)
        )

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Left, top and side (n, 3), as parts of the canvas."""
        boxes: torch.Tensor = self.head(self.shrink(patches))
        return boxes


@dataclass(frozen=True)
class BoxReport:
    """Boxes a probe found on the test scenes, and how far off they are."""

    predicted: torch.Tensor  # (n, 3): left, top, side, pixels
    iou: torch.Tensor  # (n,)
    curve: Curve
    metrics: dict[str, float]


def probe_boxes(probe: nn.Module, features: Features, scenes: SceneSplits, to: Progress) -> BoxReport:
    """Train ``probe`` to read boxes off frozen features and measure it on the test scenes."""
    probe = probe.to(features.train.device)
    train = features.train, scenes.train.boxes / CANVAS
    val = features.val, scenes.val.boxes / CANVAS
    curve = fit("probe", probe, F.l1_loss, train, val, PROBE_BUDGET, to)
    return box_report(probe(features.test) * CANVAS, scenes, curve)


def box_report(predicted: torch.Tensor, scenes: SceneSplits, curve: Curve) -> BoxReport:
    """How far predicted boxes (n, 3) of the test scenes are off, beside always answering the mean box."""
    truth = scenes.test.boxes
    mean_box = scenes.train.boxes.mean(0).expand_as(truth)
    iou = box_iou(predicted, truth)
    metrics = {
        "spatial_iou": float(iou.mean()),
        "iou_above_0.5": float((iou > 0.5).float().mean()),
        "center_error": float(center_distance(predicted, truth).mean()),
        "mean_box_iou": float(box_iou(mean_box, truth).mean()),
        "mean_box_center_error": float(center_distance(mean_box, truth).mean()),
    }
    return BoxReport(predicted.cpu(), iou.cpu(), curve, metrics)


def box_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union (n,) of square boxes (n, 3) given as left, top, side.

    The overlap measure of PASCAL VOC (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4).
    """
    side_a, side_b = a[:, 2].clamp(min=0), b[:, 2].clamp(min=0)
    low = torch.maximum(a[:, :2], b[:, :2])
    high = torch.minimum(a[:, :2] + side_a[:, None], b[:, :2] + side_b[:, None])
    shared = (high - low).clamp(min=0).prod(1)
    iou: torch.Tensor = shared / (side_a**2 + side_b**2 - shared)
    return iou


def center_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Distance (n,) in pixels between the centres of boxes (n, 3)."""
    gap = a[:, :2] + a[:, 2:] / 2 - b[:, :2] - b[:, 2:] / 2
    return gap.square().sum(1).sqrt()
