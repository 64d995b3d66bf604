"""P2: hand on the patches before pooling as well; do they keep what pooling loses?"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from digit_scenes import SceneSplits, study_scenes
from encoders import accuracy, features_of, load_weights, weights
from fusion import HybridEncoder, fuse, hybrid
from latency import BATCH, REPEATS, side_by_side
from plots import boxes_figure, curve_figure, rebuilt_figure, times_figure
from reconstruction import patch_decoder, rebuild_scenes
from shared_inputs import scenes_and_encoder
from spatial import PatchProbe, probe_boxes

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner


def e_p2_1_spatial_features(runner: ExperimentRunner) -> dict[str, Any]:
    """E-P2.1: can a probe of the same size read the box off the un-pooled patches?"""
    scenes, encoder = scenes_and_encoder(runner)
    test = scenes.test
    runner.stage("Training a probe on the patches")
    probe = PatchProbe()
    report = probe_boxes(probe, features_of(scenes, encoder.patches), scenes, runner)
    scores = report.metrics
    boxes = boxes_figure(test.images, test.boxes, report.predicted, report.iou, "Boxes off the patches")
    curve = curve_figure(report.curve, "Probe on the patches", "mean |error| / canvas side")
    return {
        "finding": (
            f"Off the patches, a probe reads the digit's box with a mean IoU of "
            f"{scores['spatial_iou']:.3f} on {len(test.boxes)} held-out scenes, centres "
            f"{scores['center_error']:.1f} pixels off; always answering the mean box scores "
            f"{scores['mean_box_iou']:.3f} and {scores['mean_box_center_error']:.1f} pixels. "
            f"{scores['iou_above_0.5']:.1%} of the boxes have an IoU above 0.5."
        ),
        "metrics": {**scores, "test_scenes": len(test.boxes), "encoder": encoder.fingerprint()},
        "artifacts": [
            runner.results.save_artifact("encoder.pt", weights(hybrid(encoder, probe.shrink, scenes))),
            runner.results.save_figure("boxes.png", boxes),
            runner.results.save_figure("training_curve.png", curve),
        ],
    }


def e_p2_2_spatial_reconstruction(runner: ExperimentRunner) -> dict[str, Any]:
    """E-P2.2: can a decoder rebuild the canvas from the patches alone?"""
    scenes, encoder = scenes_and_encoder(runner)
    runner.stage("Training a decoder on the patches")
    report = rebuild_scenes(patch_decoder(), features_of(scenes, encoder.patches), scenes, runner)
    scores, truth = report.metrics, scenes.test.images
    runner.log_samples("ssim", report.ssim)
    grid = rebuilt_figure(truth, report.rebuilt, "Scenes rebuilt from the patches")
    curve = curve_figure(report.curve, "Decoder on the patches", "cross-entropy per pixel")
    return {
        "finding": (
            f"Rebuilt from the patches alone, {len(truth)} held-out scenes reach a mean SSIM of "
            f"{scores['ssim']:.3f}; an all-dark canvas scores {scores['dark_image_ssim']:.3f}. The squared "
            f"error is {scores['mse'] / scores['mean_image_mse']:.0%} of the mean image's."
        ),
        "metrics": {**scores, "test_scenes": len(truth), "encoder": encoder.fingerprint()},
        "artifacts": [
            runner.results.save_figure("reconstructions.png", grid),
            runner.results.save_figure("training_curve.png", curve),
        ],
    }


def e_p2_3_fusion(runner: ExperimentRunner) -> dict[str, Any]:
    """E-P2.3: does one head read both class and box off the hybrid features?"""
    scenes, encoder = _scenes_and_hybrid(runner)
    test = scenes.test
    runner.stage("Training one head for class and box")
    report = fuse(features_of(scenes, encoder), scenes, runner)
    pooled_accuracy = accuracy(encoder.semantic(test.images), test.labels)
    scores = report.boxes.metrics
    figure = boxes_figure(
        test.images, test.boxes, report.boxes.predicted, report.boxes.iou, "Boxes off the hybrid features"
    )
    curve = curve_figure(report.curve, "Head on the hybrid features", "loss")
    return {
        "finding": (
            f"One head on the hybrid features names the digit in {report.class_accuracy:.1%} of "
            f"{len(test.labels)} held-out scenes (the pooled classifier: {pooled_accuracy:.1%}) and finds "
            f"its box with a mean IoU of {scores['spatial_iou']:.3f}, centres "
            f"{scores['center_error']:.1f} pixels off."
        ),
        "metrics": {
            **scores,
            "class_accuracy": report.class_accuracy,
            "pooled_class_accuracy": pooled_accuracy,
            "test_scenes": len(test.labels),
            "encoder": encoder.semantic.fingerprint(),
        },
        "artifacts": [
            runner.results.save_figure("boxes.png", figure),
            runner.results.save_figure("training_curve.png", curve),
        ],
    }


def e_p2_6_latency_overhead(runner: ExperimentRunner) -> dict[str, Any]:
    """E-P2.6: how much longer does the hybrid encoder take than the pooled one, for the same images?"""
    scenes, encoder = _scenes_and_hybrid(runner)
    images = scenes.test.images[:BATCH]
    runner.stage("Timing both encoders in turns")
    repeats = runner.track(range(REPEATS), "timing")
    pooled, both = side_by_side(encoder.semantic.pooled, encoder, images, repeats)
    pooled_ms, hybrid_ms = statistics.median(pooled), statistics.median(both)
    times = {"pooled": pooled, "hybrid": both}
    what = "computing time" if runner.device.type == "cpu" else "time"
    return {
        "finding": (
            f"For {BATCH} scenes the hybrid encoder takes {hybrid_ms:.2f} ms of {what} and the pooled one "
            f"{pooled_ms:.2f} ms (medians of {REPEATS} calls in turns, on {runner.device.type}), "
            f"{hybrid_ms / pooled_ms - 1:.1%} more."
        ),
        "metrics": {"hybrid_ms": hybrid_ms, "pooled_ms": pooled_ms, "batch": BATCH, "calls": REPEATS},
        "artifacts": [
            runner.results.save_figure("times.png", times_figure(times, "Encoding a batch")),
            runner.results.save_json_artifact("times.json", times),
        ],
    }


def _scenes_and_hybrid(runner: ExperimentRunner) -> tuple[SceneSplits, HybridEncoder]:
    runner.stage("Reading scenes and encoder")
    file = runner.needs["e_p2_1"].artifact("encoder.pt")
    return study_scenes().to(runner.device), load_weights(HybridEncoder(), file, runner.device)
