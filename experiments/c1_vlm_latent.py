"""C1: is a globally pooled latent, as semantic encoders hand on, enough to rebuild the scene?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from digit_scenes import study_scenes
from encoders import accuracy, pooled_features, study_encoder
from plots import curve_figure, rebuilt_figure
from reconstruction import pooled_decoder, rebuild_scenes
from spatial import pooled_probe, spatial_probe

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner


def e1_2_reconstruction_probe(runner: ExperimentRunner) -> dict[str, Any]:
    """E1.2: can a decoder rebuild the canvas from the pooled latent?"""
    scenes = study_scenes().to(runner.device)
    runner.stage("Training the encoder on digit classes", 1, 3)
    encoder = study_encoder(runner, runner.device)
    runner.stage("Training a decoder on its pooled latent", 2, 3)
    report = rebuild_scenes(pooled_decoder(), pooled_features(encoder, scenes), scenes, runner)
    scores = report.metrics
    runner.stage("Drawing figures", 3, 3)
    truth = scenes.test.images
    grid = rebuilt_figure(truth, report.rebuilt, "Scenes rebuilt from the pooled latent")
    curve = curve_figure(report.curve, "Decoder on the pooled latent", "cross-entropy per pixel")
    side = "below" if scores["ssim"] < scores["dark_image_ssim"] else "not below"
    return {
        "finding": (
            f"Rebuilt from the pooled latent, {len(truth)} held-out scenes reach a mean SSIM of "
            f"{scores['ssim']:.3f}, {side} the {scores['dark_image_ssim']:.3f} of an all-dark "
            f"canvas; the mean training image scores {scores['mean_image_ssim']:.3f}. The squared "
            f"error is {scores['mse'] / scores['mean_image_mse']:.0%} of the mean image's."
        ),
        "metrics": {
            **scores,
            "class_accuracy": accuracy(encoder, scenes.test),
            "test_scenes": len(truth),
            "encoder": encoder.fingerprint(),
        },
        "artifacts": [
            runner.results.save_figure("reconstructions.png", grid),
            runner.results.save_figure("training_curve.png", curve),
        ],
    }


def e1_4_spatial_probe(runner: ExperimentRunner) -> dict[str, Any]:
    """E1.4: can a probe read the digit's box off the pooled latent?"""
    return spatial_probe(runner, pooled_probe, pooled_features, "the pooled latent")
