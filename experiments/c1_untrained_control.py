"""C1, a control that was asked for after the results: what a trunk keeps that was never trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from digit_scenes import study_scenes
from encoders import Encoder, Padding, features_of
from spatial import PatchProbe, pooled_probe, probe_boxes

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner


@pytest.mark.parametrize("padding", ["zeros", "circular"])
def e1_7_untrained_control(runner: ExperimentRunner, padding: Padding) -> dict[str, Any]:
    """E1.7: what does the same trunk keep that was never trained, before and after pooling?

    A control that was asked for after the results: it decides nothing.
    """
    runner.stage("Reading scenes")
    scenes = study_scenes().to(runner.device)
    trunk = Encoder(padding).to(runner.device).eval().requires_grad_(requires_grad=False)
    runner.stage("Training probes on an untrained trunk")
    pooled = probe_boxes(pooled_probe(), features_of(scenes, trunk.pooled), scenes, runner).metrics
    patches = probe_boxes(PatchProbe(), features_of(scenes, trunk.patches), scenes, runner).metrics
    return {
        "finding": (
            f"Off a trunk that was never trained ({padding} padding), a probe reads the box with a mean IoU of "  # noqa: E501
            f"{patches['spatial_iou']:.3f} off the patches and {pooled['spatial_iou']:.3f} off their mean; "
            f"always answering the mean box scores {pooled['mean_box_iou']:.3f}."
        ),
        "metrics": {
            "pooled_iou": pooled["spatial_iou"],
            "pooled_center_error": pooled["center_error"],
            "patch_iou": patches["spatial_iou"],
            "patch_center_error": patches["center_error"],
            "mean_box_iou": pooled["mean_box_iou"],
        },
    }
