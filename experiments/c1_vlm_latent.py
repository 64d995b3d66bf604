"""C1: is a globally pooled latent, as semantic encoders hand on, enough to rebuild the scene?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from digit_scenes import study_scenes
from encoders import LAYERS, Padding, accuracy, features_of, train_encoder, weights
from plots import bars_figure, boxes_figure, curve_figure, rebuilt_figure, scatter_figure
from reconstruction import pooled_decoder, rebuild_scenes
from shared_inputs import scenes_and_encoder
from spatial import PatchProbe, pooled_probe, probe_boxes

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner


def e1_1_latent_structure(runner: ExperimentRunner) -> dict[str, Any]:
    """E1.1: does the pooled latent hold the classes, and how many directions does it use?"""
    scenes = study_scenes().to(runner.device)
    runner.stage("Training the encoder on digit classes")
    encoder, curve = train_encoder(scenes, runner)
    labels = scenes.test.labels
    class_accuracy = accuracy(encoder(scenes.test.images), labels)
    latents = encoder.pooled(scenes.test.images)
    commonest = scenes.train.labels.bincount().argmax()
    majority = float((labels == commonest).float().mean())
    directions = effective_directions(latents)
    return {
        "finding": (
            f"The pooled latent names the digit in {class_accuracy:.1%} of {len(labels)} held-out scenes "
            f"(always the commonest class: {majority:.1%}). Its variance is spread over "
            f"{directions:.1f} of {latents.shape[1]} directions."
        ),
        "metrics": {
            "class_accuracy": class_accuracy,
            "majority_accuracy": majority,
            "effective_directions": directions,
            "test_scenes": len(labels),
            "encoder": encoder.fingerprint(),
        },
        "artifacts": [
            runner.results.save_artifact("encoder.pt", weights(encoder)),
            runner.results.save_figure("latents.png", scatter_figure(latents, labels, "Pooled latents")),
            runner.results.save_figure(
                "training_curve.png", curve_figure(curve, "Encoder on digit classes", "cross-entropy")
            ),
        ],
    }


def effective_directions(latents: torch.Tensor) -> float:
    """Participation ratio of the eigenvalues of the latents' (n, channels) covariance.

    Their squared sum over the sum of their squares, between 1 and the number of channels
    (Gao et al. 2017, doi:10.1101/214262).
    """
    covariance = latents.double().T.cov()
    return float(covariance.trace() ** 2 / covariance.square().sum())


def e1_2_reconstruction_probe(runner: ExperimentRunner) -> dict[str, Any]:
    """E1.2: can a decoder rebuild the canvas from the pooled latent?"""
    scenes, encoder = scenes_and_encoder(runner)
    runner.stage("Training a decoder on the pooled latent")
    report = rebuild_scenes(pooled_decoder(), features_of(scenes, encoder.pooled), scenes, runner)
    scores, truth = report.metrics, scenes.test.images
    runner.log_samples("ssim", report.ssim)
    side = "below" if scores["ssim"] < scores["dark_image_ssim"] else "not below"
    grid = rebuilt_figure(truth, report.rebuilt, "Scenes rebuilt from the pooled latent")
    curve = curve_figure(report.curve, "Decoder on the pooled latent", "cross-entropy per pixel")
    return {
        "finding": (
            f"Rebuilt from the pooled latent, {len(truth)} held-out scenes reach a mean SSIM of "
            f"{scores['ssim']:.3f}, {side} the {scores['dark_image_ssim']:.3f} of an all-dark "
            f"canvas; the mean training image scores {scores['mean_image_ssim']:.3f}. The squared "
            f"error is {scores['mse'] / scores['mean_image_mse']:.0%} of the mean image's."
        ),
        "metrics": {**scores, "test_scenes": len(truth), "encoder": encoder.fingerprint()},
        "artifacts": [
            runner.results.save_figure("reconstructions.png", grid),
            runner.results.save_figure("training_curve.png", curve),
        ],
    }


def e1_4_spatial_probe(runner: ExperimentRunner) -> dict[str, Any]:
    """E1.4: can a probe read the digit's box off the pooled latent?"""
    scenes, encoder = scenes_and_encoder(runner)
    test = scenes.test
    runner.stage("Training a probe on the pooled latent")
    report = probe_boxes(pooled_probe(), features_of(scenes, encoder.pooled), scenes, runner)
    scores = report.metrics
    boxes = boxes_figure(test.images, test.boxes, report.predicted, report.iou, "Boxes off the pooled latent")
    curve = curve_figure(report.curve, "Probe on the pooled latent", "mean |error| / canvas side")
    return {
        "finding": (
            f"Off the pooled latent, a probe reads the digit's box with a mean IoU of "
            f"{scores['spatial_iou']:.3f} on {len(test.boxes)} held-out scenes, centres "
            f"{scores['center_error']:.1f} pixels off; always answering the mean box scores "
            f"{scores['mean_box_iou']:.3f} and {scores['mean_box_center_error']:.1f} pixels. "
            f"{scores['iou_above_0.5']:.1%} of the boxes have an IoU above 0.5."
        ),
        "metrics": {**scores, "test_scenes": len(test.boxes), "encoder": encoder.fingerprint()},
        "artifacts": [
            runner.results.save_figure("boxes.png", boxes),
            runner.results.save_figure("training_curve.png", curve),
        ],
    }


@pytest.mark.parametrize(
    ("layer", "padding"),
    [*((layer, "zeros") for layer in range(1, LAYERS + 1)), (LAYERS, "circular")],
    ids=[*(f"layer={layer}" for layer in range(1, LAYERS + 1)), f"layer={LAYERS}-circular"],
)
def e1_6_ablation_over_layers(runner: ExperimentRunner, layer: int, padding: Padding) -> dict[str, Any]:
    """E1.6: where is position lost: on the way through the trunk, or in pooling?

    The last variant is an encoder of its own, trained with circular padding: its canvas has no border.
    """
    scenes, encoder = scenes_and_encoder(runner)
    if padding == "circular":
        runner.stage("Training an encoder without a border")
        encoder, _curve = train_encoder(scenes, runner, padding)
    found: dict[str, float] = {}
    for name, read, probe in (
        ("pooled", encoder.pooled, pooled_probe),
        ("patch", encoder.patches, PatchProbe),
    ):
        runner.stage(f"Training a probe on {name} features of layer {layer}")
        features = features_of(scenes, partial(read, layer=layer))
        report = probe_boxes(probe(features.train.shape[1]), features, scenes, runner)
        found |= {f"{name}_iou": report.metrics["spatial_iou"]}
        found |= {f"{name}_center_error": report.metrics["center_error"]}
    found["mean_box_iou"] = report.metrics["mean_box_iou"]
    shown = {name: found[f"{name}_iou"] for name in ("patch", "pooled")} | {"mean box": found["mean_box_iou"]}
    figure = bars_figure({"IoU": shown}, f"Layer {layer}, {padding} padding")
    return {
        "finding": (
            f"After layer {layer} ({padding} padding) a probe reads the box with a mean IoU of "
            f"{found['patch_iou']:.3f} off the patches and {found['pooled_iou']:.3f} off their mean; "
            f"always answering the mean box scores {found['mean_box_iou']:.3f}."
        ),
        "metrics": {**found, "layer": layer, "encoder": encoder.fingerprint()},
        "artifacts": [runner.results.save_figure("iou.png", figure)],
    }
