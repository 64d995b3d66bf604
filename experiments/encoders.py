"""The encoder under study, how it and everything on top of it is trained, and its features.

One trunk is trained on digit classes through global average pooling. Its features are then frozen
and read in two ways: pooled (what the classifier sees) or as a grid of patches (before pooling).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from digit_scenes import Scenes, SceneSplits, study_scenes
from torch import nn

CHANNELS = 64
GRID = 8  # the trunk turns a canvas into GRID x GRID patches
STUDY_ENCODER_SEED = 21

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Pair = tuple[torch.Tensor, torch.Tensor]  # inputs, targets
Curve = list[tuple[float, float]]  # per epoch: training loss, validation loss
Padding = Literal["zeros", "circular"]


class Progress(Protocol):
    """What training needs of an experiment runner."""

    def log_metrics(self, metrics: dict[str, float], /, step: int | None = None) -> None:
        """Record numbers of one epoch."""

    def track(self, iterable: Iterable[int], text: str, /) -> Iterable[int]:
        """Hand on epochs while showing how far training is."""
        ...


@dataclass(frozen=True)
class Budget:
    """How long and how fast to train; the last epoch is the one that is used."""

    epochs: int
    learning_rate: float
    batch: int = 64


ENCODER_BUDGET = Budget(epochs=8, learning_rate=5e-3)


class Encoder(nn.Module):
    """A convolutional trunk with a classifier on its globally average-pooled feature map.

    ``padding`` is what convolutions see beyond the canvas.
    """

    def __init__(self, padding: Padding = "zeros") -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            _convolution(1, 16, 2, padding),
            _convolution(16, 32, 2, padding),
            _convolution(32, CHANNELS, 1, padding),
            _convolution(CHANNELS, CHANNELS, 1, padding),
        )
        self.classify = nn.Linear(CHANNELS, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class logits (n, 10) of images (n, 1, CANVAS, CANVAS)."""
        logits: torch.Tensor = self.classify(self.trunk(images).mean((2, 3)))
        return logits

    def fingerprint(self) -> str:
        """Short hash of all weights: equal where two measurements used the same encoder."""
        digest = hashlib.sha256()
        for value in self.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()[:12]


def _convolution(inputs: int, outputs: int, stride: int, padding: Padding) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False, padding_mode=padding)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def fit(
    name: str, model: nn.Module, loss: Loss, train: Pair, val: Pair, budget: Budget, to: Progress
) -> Curve:
    """Train ``model`` for exactly ``budget`` and leave it in evaluation mode."""
    inputs, targets = train
    batches = -(-len(inputs) // budget.batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=budget.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, budget.learning_rate, total_steps=budget.epochs * batches
    )
    curve: Curve = []
    for epoch in to.track(range(budget.epochs), f"training {name}"):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(inputs)).tensor_split(batches):
            error = loss(model(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            error.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += error.item() * len(chosen)
        model.eval()
        with torch.no_grad():
            curve.append((total / len(inputs), loss(model(val[0]), val[1]).item()))
        losses = {f"{name}_train_loss": curve[-1][0], f"{name}_val_loss": curve[-1][1]}
        to.log_metrics(losses, step=epoch)
    return curve


def train_encoder(scenes: SceneSplits, seed: int, to: Progress, padding: Padding = "zeros") -> Encoder:
    """Train an encoder on digit classes and freeze it.

    The random state is put back afterwards, so what follows does not depend on this.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = Encoder(padding).to(scenes.train.images.device)
        train = scenes.train.images, scenes.train.labels
        val = scenes.val.images, scenes.val.labels
        fit("encoder", encoder, F.cross_entropy, train, val, ENCODER_BUDGET, to)
    return encoder.requires_grad_(requires_grad=False)


_study_encoders: dict[torch.device, Encoder] = {}


def study_encoder(to: Progress, device: torch.device) -> Encoder:
    """The one encoder that all registered measurements read, trained once per process.

    It depends on the study's own seed alone, not on who asks for it first.
    """
    if device not in _study_encoders:
        scenes = study_scenes().to(device)
        _study_encoders[device] = train_encoder(scenes, STUDY_ENCODER_SEED, to)
    return _study_encoders[device]


def accuracy(encoder: Encoder, scenes: Scenes) -> float:
    """Fraction of scenes whose digit class the encoder names."""
    hits: torch.Tensor = encoder(scenes.images).argmax(1) == scenes.labels
    return float(hits.float().mean())


@dataclass(frozen=True)
class Features:
    """Frozen features of every split, each channel standardised with training statistics."""

    train: torch.Tensor
    val: torch.Tensor
    test: torch.Tensor


def pooled_features(encoder: Encoder, scenes: SceneSplits) -> Features:
    """The globally average-pooled latent, (n, CHANNELS)."""
    return _standardised(scenes, lambda images: encoder.trunk(images).mean((2, 3)))


def patch_features(encoder: Encoder, scenes: SceneSplits) -> Features:
    """The feature map before pooling, (n, CHANNELS, GRID, GRID)."""
    return _standardised(scenes, encoder.trunk)


def _standardised(scenes: SceneSplits, encode: Callable[[torch.Tensor], torch.Tensor]) -> Features:
    train, val, test = (encode(part.images) for part in (scenes.train, scenes.val, scenes.test))
    others = [axis for axis in range(train.ndim) if axis != 1]
    mean, deviation = train.mean(others, keepdim=True), train.std(others, keepdim=True)
    deviation = deviation.clamp(min=1e-6)  # a channel that never fires
    return Features(*((part - mean) / deviation for part in (train, val, test)))
