"""The reconstruction probe: how much of a scene can be rebuilt from frozen features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from digit_scenes import CANVAS, SceneSplits
from encoders import CHANNELS, GRID, Budget, Curve, Features, Progress, fit
from skimage.metrics import structural_similarity
from torch import nn

DECODER_BUDGET = Budget(epochs=20, learning_rate=5e-3)


def pooled_decoder() -> nn.Module:
    """Canvas logits from a pooled latent (n, CHANNELS); 114 224 parameters."""
    spread = nn.Linear(CHANNELS, 32 * GRID * GRID)
    return nn.Sequential(spread, nn.Unflatten(1, (32, GRID, GRID)), draw())


def patch_decoder() -> nn.Module:
    """Canvas logits from patches (n, CHANNELS, GRID, GRID); 15 440 parameters."""
    return nn.Sequential(nn.Conv2d(CHANNELS, 32, 1), draw())


def draw() -> nn.Module:
    """From (n, 32, GRID, GRID) to (n, 1, CANVAS, CANVAS)."""
    zoom = CANVAS // GRID
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, zoom**2, 3, padding=1),
        nn.PixelShuffle(zoom),
    )


@dataclass(frozen=True)
class SceneReport:
    """Test scenes as a decoder rebuilt them, and how far off they are."""

    rebuilt: torch.Tensor  # (n, 1, CANVAS, CANVAS), grey values in [0, 1]
    ssim: torch.Tensor  # (n,)
    curve: Curve
    metrics: dict[str, float]


def rebuild_scenes(decoder: nn.Module, features: Features, scenes: SceneSplits, to: Progress) -> SceneReport:
    """Train ``decoder`` to rebuild canvases from frozen features; measure it on the test scenes.

    Cross-entropy against grey values has the same optimum as squared error (the expected pixel),
    but does not stall on an all-dark canvas.
    """
    decoder = decoder.to(features.train.device)
    train, val = (features.train, scenes.train.images), (features.val, scenes.val.images)
    loss = F.binary_cross_entropy_with_logits
    curve = fit("decoder", decoder, loss, train, val, DECODER_BUDGET, to)
    return scene_report(decoder(features.test).sigmoid(), scenes, curve)


def scene_report(rebuilt: torch.Tensor, scenes: SceneSplits, curve: Curve) -> SceneReport:
    """How far rebuilt test scenes are off, beside an all-dark canvas and the mean training image."""
    truth = scenes.test.images
    mean_image = scenes.train.images.mean(0).expand_as(truth)
    ssim = ssim_of(rebuilt, truth)
    mse = float(F.mse_loss(rebuilt, truth))
    metrics = {
        "ssim": float(ssim.mean()),
        "mse": mse,
        "psnr": -10 * float(np.log10(mse)),
        "mean_image_ssim": float(ssim_of(mean_image, truth).mean()),
        "mean_image_mse": float(F.mse_loss(mean_image, truth)),
        "dark_image_ssim": float(ssim_of(torch.zeros_like(truth), truth).mean()),
    }
    return SceneReport(rebuilt.cpu(), ssim, curve, metrics)


def ssim_of(rebuilt: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Structural similarity (n,) of images (n, 1, height, width) with grey values in [0, 1].

    With the Gaussian window of Wang et al. 2004 (doi:10.1109/TIP.2003.819861).
    """
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    pairs = zip(rebuilt[:, 0].cpu().numpy(), truth[:, 0].cpu().numpy(), strict=True)
    similarity: Callable[..., float] = structural_similarity
    return torch.tensor([float(similarity(a, b, data_range=1.0, **window)) for a, b in pairs])
