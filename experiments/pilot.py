"""The pilot that budgets and thresholds come from: ``python experiments/pilot.py``.

It never touches a digit image that the study tests on. Beside the registered measurements it
rebuilds scenes from patches, to know what a sufficient latent would score with the same decoder,
and probes an encoder with circular padding, to know whether position leaks in at the border.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from digit_scenes import pilot_scenes
from encoders import accuracy, patch_features, pooled_features, train_encoder
from reconstruction import patch_decoder, pooled_decoder, rebuild_scenes
from spatial import patch_probe, pooled_probe, probe_boxes

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
    encoder = train_encoder(scenes, seed, quiet)
    pooled, patches = pooled_features(encoder, scenes), patch_features(encoder, scenes)
    torch.manual_seed(seed)
    box_pooled = probe_boxes(pooled_probe(), pooled, scenes, quiet).metrics
    box_patch = probe_boxes(patch_probe(), patches, scenes, quiet).metrics
    rebuilt_pooled = rebuild_scenes(pooled_decoder(), pooled, scenes, quiet).metrics
    rebuilt_patch = rebuild_scenes(patch_decoder(), patches, scenes, quiet).metrics
    wrapped = train_encoder(scenes, seed, quiet, padding="circular")
    box_wrapped = probe_boxes(pooled_probe(), pooled_features(wrapped, scenes), scenes, quiet)
    return {
        "class_accuracy": accuracy(encoder, scenes.test),
        "mean_box_iou": box_pooled["mean_box_iou"],
        "pooled_iou": box_pooled["spatial_iou"],
        "pooled_iou_circular": box_wrapped.metrics["spatial_iou"],
        "patch_iou": box_patch["spatial_iou"],
        "mean_box_center_error": box_pooled["mean_box_center_error"],
        "pooled_center_error": box_pooled["center_error"],
        "patch_center_error": box_patch["center_error"],
        "mean_image_ssim": rebuilt_pooled["mean_image_ssim"],
        "dark_image_ssim": rebuilt_pooled["dark_image_ssim"],
        "pooled_ssim": rebuilt_pooled["ssim"],
        "patch_ssim": rebuilt_patch["ssim"],
    }


if __name__ == "__main__":
    table = [pilot(seed, split) for seed, split in SEEDS.items()]
    print(f"{'seed':24}" + "".join(f"{seed:>8}" for seed in SEEDS))
    for name in table[0]:
        print(f"{name:24}" + "".join(f"{row[name]:8.3f}" for row in table))
