"""The spatial probe: how much of a digit's box can be read off frozen features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from digit_scenes import CANVAS, SceneSplits, study_scenes
from encoders import (
    CHANNELS,
    GRID,
    Budget,
    Curve,
    Encoder,
    Features,
    Progress,
    accuracy,
    fit,
    study_encoder,
)
from plots import boxes_figure, curve_figure
from torch import nn

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner

PROBE_BUDGET = Budget(epochs=60, learning_rate=3e-3)


def pooled_probe() -> nn.Module:
    """Box from a pooled latent (n, CHANNELS); 16 867 parameters."""
    return nn.Sequential(nn.Linear(CHANNELS, 248), nn.ReLU(), nn.Linear(248, 3))


def patch_probe() -> nn.Module:
    """Box from patches (n, CHANNELS, GRID, GRID), each cut to 4 numbers; 16 903 parameters."""
    shrink = nn.Conv2d(CHANNELS, 4, 1)
    head = nn.Sequential(nn.Linear(4 * GRID * GRID, 64), nn.ReLU(), nn.Linear(64, 3))
    return nn.Sequential(shrink, nn.Flatten(), head)


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
    with torch.no_grad():
        predicted = probe(features.test) * CANVAS
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


def spatial_probe(
    runner: ExperimentRunner,
    probe: Callable[[], nn.Module],
    read: Callable[[Encoder, SceneSplits], Features],
    source: str,
) -> dict[str, Any]:
    """The registered measurement, the same whatever features ``read`` hands to ``probe``."""
    scenes = study_scenes().to(runner.device)
    test = scenes.test
    runner.stage("Training the encoder on digit classes", 1, 3)
    encoder = study_encoder(runner, runner.device)
    class_accuracy = accuracy(encoder, test)
    runner.stage(f"Training a probe on {source}", 2, 3)
    report = probe_boxes(probe(), read(encoder, scenes), scenes, runner)
    scores = report.metrics
    runner.stage("Drawing figures", 3, 3)
    boxes = boxes_figure(test.images, test.boxes, report.predicted, report.iou, f"Boxes read off {source}")
    curve = curve_figure(report.curve, f"Probe on {source}", "mean |error| / canvas side")
    coordinates = {"true": test.boxes.tolist(), "predicted": report.predicted.tolist()}
    return {
        "finding": (
            f"Off {source}, a probe reads the digit's box with a mean IoU of "
            f"{scores['spatial_iou']:.3f} on {len(test.boxes)} held-out scenes, centres "
            f"{scores['center_error']:.1f} pixels off; always answering the mean box scores "
            f"{scores['mean_box_iou']:.3f} and {scores['mean_box_center_error']:.1f} pixels. "
            f"{scores['iou_above_0.5']:.1%} of the boxes have an IoU above 0.5. The encoder "
            f"names the digit in {class_accuracy:.1%} of the same scenes."
        ),
        "metrics": {
            **scores,
            "class_accuracy": class_accuracy,
            "test_scenes": len(test.boxes),
            "encoder": encoder.fingerprint(),
        },
        "artifacts": [
            runner.results.save_figure("boxes.png", boxes),
            runner.results.save_figure("training_curve.png", curve),
            runner.results.save_json_artifact("test_boxes.json", coordinates),
        ],
    }
