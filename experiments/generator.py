"""The generator that a bridge has to speak to: an autoencoder with a small spatial latent.

It stands for the frozen image or video decoder behind a vision-language model: 4 x 8 x 8 numbers
become a canvas of 32 x 32.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from digit_scenes import SceneSplits
from encoders import Budget, Curve, Progress, fit
from reconstruction import draw
from torch import nn

LATENT = 4  # channels of the generator's latent
GENERATOR_BUDGET = Budget(epochs=12, learning_rate=5e-3)


class Generator(nn.Module):
    """An autoencoder of scenes; only its decoder is needed to generate."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, LATENT, 3, padding=1),
        )
        self.decode = nn.Sequential(nn.Conv2d(LATENT, 32, 1), draw())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Canvas logits (n, 1, CANVAS, CANVAS) of images of the same shape."""
        logits: torch.Tensor = self.decode(self.encode(images))
        return logits

    def generate(self, latents: torch.Tensor) -> torch.Tensor:
        """Canvases (n, 1, CANVAS, CANVAS) in [0, 1] from latents (n, LATENT, GRID, GRID)."""
        images: torch.Tensor = self.decode(latents).sigmoid()
        return images


def train_generator(scenes: SceneSplits, to: Progress) -> tuple[Generator, Curve]:
    """Train a generator to rebuild scenes from its own latent; it never sees a class."""
    generator = Generator().to(scenes.train.images.device)
    train = scenes.train.images, scenes.train.images
    val = scenes.val.images, scenes.val.images
    curve = fit("generator", generator, F.binary_cross_entropy_with_logits, train, val, GENERATOR_BUDGET, to)
    return generator, curve
