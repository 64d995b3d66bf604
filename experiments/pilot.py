"""The pilot that the plan's thresholds come from: ``python experiments/pilot.py``.

It uses other seeds and splits than the registered study, and no digit image that the study tests on.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from functools import partial

import adapters
import alignment
import fusion
import generator
import latency
import reconstruction
import spatial
import torch
from digit_scenes import SceneSplits, pilot_scenes
from encoders import LAYERS, Encoder, accuracy, features_of, train_encoder

SEEDS = {101: 1001, 102: 1002, 103: 1003}  # seed of training: seed of the split


class Silent:
    """Progress for nobody."""

    def log_metrics(self, metrics: dict[str, float], /, step: int | None = None) -> None:
        """Record nothing."""

    def track(self, iterable: Iterable[int], _text: str, /) -> Iterable[int]:
        """Hand on epochs, showing nothing."""
        return iterable


def pilot(seed: int, split: int) -> dict[str, float]:
    """All measurements on one pilot split."""
    scenes, quiet = pilot_scenes(split), Silent()
    torch.manual_seed(seed)
    encoder, _curve = train_encoder(scenes, quiet)
    wrapped, _curve = train_encoder(scenes, quiet, padding="circular")
    return {
        "class_accuracy": accuracy(encoder(scenes.test.images), scenes.test.labels),
        **_positions(encoder, wrapped, scenes, quiet),
        **_rebuilding(encoder, scenes, quiet),
        **_hybrid(encoder, scenes, quiet),
        **_alignment(encoder, scenes, quiet),
    }


def _positions(encoder: Encoder, wrapped: Encoder, scenes: SceneSplits, quiet: Silent) -> dict[str, float]:
    found = {}
    for layer in range(1, LAYERS + 1):
        pooled = features_of(scenes, partial(encoder.pooled, layer=layer))
        patches = features_of(scenes, partial(encoder.patches, layer=layer))
        channels = pooled.train.shape[1]
        box_pooled = spatial.probe_boxes(spatial.pooled_probe(channels), pooled, scenes, quiet).metrics
        box_patches = spatial.probe_boxes(spatial.PatchProbe(channels), patches, scenes, quiet).metrics
        found[f"pooled_iou_{layer}"] = box_pooled["spatial_iou"]
        found[f"patch_iou_{layer}"] = box_patches["spatial_iou"]
        found[f"patch_center_error_{layer}"] = box_patches["center_error"]
    features = features_of(scenes, wrapped.pooled)
    box_wrapped = spatial.probe_boxes(spatial.pooled_probe(), features, scenes, quiet).metrics
    return {
        **found,
        "pooled_iou_circular": box_wrapped["spatial_iou"],
        "mean_box_iou": box_wrapped["mean_box_iou"],
        "mean_box_center_error": box_wrapped["mean_box_center_error"],
    }


def _rebuilding(encoder: Encoder, scenes: SceneSplits, quiet: Silent) -> dict[str, float]:
    pooled, patches = features_of(scenes, encoder.pooled), features_of(scenes, encoder.patches)
    from_pooled = reconstruction.rebuild_scenes(reconstruction.pooled_decoder(), pooled, scenes, quiet)
    from_patches = reconstruction.rebuild_scenes(reconstruction.patch_decoder(), patches, scenes, quiet)
    return {
        "pooled_ssim": from_pooled.metrics["ssim"],
        "patch_ssim": from_patches.metrics["ssim"],
        "dark_image_ssim": from_pooled.metrics["dark_image_ssim"],
        "mean_image_ssim": from_pooled.metrics["mean_image_ssim"],
    }


def _hybrid(encoder: Encoder, scenes: SceneSplits, quiet: Silent) -> dict[str, float]:
    probe = spatial.PatchProbe()
    spatial.probe_boxes(probe, features_of(scenes, encoder.patches), scenes, quiet)
    hybrid = fusion.hybrid(encoder, probe.shrink, scenes)
    report = fusion.fuse(features_of(scenes, hybrid), scenes, quiet)
    pooled, both = latency.side_by_side(
        encoder.pooled, hybrid, scenes.test.images[: latency.BATCH], range(latency.REPEATS)
    )
    return {
        "fused_class_accuracy": report.class_accuracy,
        "fused_iou": report.boxes.metrics["spatial_iou"],
        "latency_ratio": statistics.median(both) / statistics.median(pooled),
    }


def _alignment(encoder: Encoder, scenes: SceneSplits, quiet: Silent) -> dict[str, float]:
    made, _curve = generator.train_generator(scenes, quiet)
    own = reconstruction.scene_report(made(scenes.test.images).sigmoid(), scenes, [])
    untrained = Encoder().eval().requires_grad_(requires_grad=False)
    found = {"generator_ssim": own.metrics["ssim"]}
    for name, read in (
        ("pooled", encoder.pooled),
        ("patch", encoder.patches),
        ("untrained", untrained.patches),
    ):
        measured = alignment.align(features_of(scenes, read), made, scenes)
        found |= {f"{name}_{what}": value for what, value in measured.metrics.items()}
    features = adapters.bridge_features(encoder, scenes)
    full = adapters.bridge(adapters.full_adapter(), features, made, scenes, quiet)
    lean = adapters.bridge(adapters.lean_adapter(), features, made, scenes, quiet)
    return {
        **found,
        "full_adapter_ssim": full.report.metrics["ssim"],
        "lean_adapter_ssim": lean.report.metrics["ssim"],
        "lean_share": lean.parameters / full.parameters,
    }


if __name__ == "__main__":
    table = [pilot(seed, split) for seed, split in SEEDS.items()]
    print(f"{'seed':32}" + "".join(f"{seed:>8}" for seed in SEEDS))
    for name in table[0]:
        print(f"{name:32}" + "".join(f"{row[name]:8.3f}" for row in table))
