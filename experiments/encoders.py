"""The semantic encoder under study, its features, and how everything here is trained.

One trunk is trained to name digits through global average pooling, then frozen. Its features are
read in two ways: pooled (what the classifier sees) or as a grid of patches (before pooling).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import torch
import torch.nn.functional as F
from digit_scenes import SceneSplits
from torch import nn

CHANNELS = 48
GRID = 8  # the trunk turns a canvas into GRID x GRID patches
LAYERS = 4

# Sums of floats depend on how many threads share them, and on two cores the models here train no
# slower with one.
torch.set_num_threads(1)

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Pair = tuple[torch.Tensor, torch.Tensor]  # inputs, targets
Curve = list[tuple[float, float]]  # per epoch: training loss, validation loss
Padding = Literal["zeros", "circular"]
ModelT = TypeVar("ModelT", bound=nn.Module)


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
        self.padding = padding
        self.trunk = nn.Sequential(
            _convolution(1, 16, 2, padding),
            _convolution(16, 32, 2, padding),
            _convolution(32, CHANNELS, 1, padding),
            _convolution(CHANNELS, CHANNELS, 1, padding),
        )
        self.classify = nn.Linear(CHANNELS, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Class logits (n, 10) of images (n, 1, CANVAS, CANVAS)."""
        logits: torch.Tensor = self.classify(self.pooled(images))
        return logits

    def patches(self, images: torch.Tensor, layer: int = LAYERS) -> torch.Tensor:
        """The feature map after a layer of the trunk, (n, channels, GRID, GRID).

        The first layer's grid is twice as fine; it is averaged to the same size.
        """
        features: torch.Tensor = self.trunk[:layer](images)
        return F.adaptive_avg_pool2d(features, GRID)

    def pooled(self, images: torch.Tensor, layer: int = LAYERS) -> torch.Tensor:
        """The globally average-pooled feature map after a layer, (n, channels)."""
        return self.patches(images, layer).mean((2, 3))

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
    """Train ``model`` for exactly ``budget`` and leave it frozen, in evaluation mode."""
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
    model.requires_grad_(requires_grad=False)
    return curve


def train_encoder(scenes: SceneSplits, to: Progress, padding: Padding = "zeros") -> tuple[Encoder, Curve]:
    """Train an encoder on digit classes, from weights that torch's random state decides."""
    encoder = Encoder(padding).to(scenes.train.images.device)
    train = scenes.train.images, scenes.train.labels
    val = scenes.val.images, scenes.val.labels
    curve = fit("encoder", encoder, F.cross_entropy, train, val, ENCODER_BUDGET, to)
    return encoder, curve


def accuracy(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Fraction of scenes whose class has the largest of its logits (n, 10)."""
    hits: torch.Tensor = logits.argmax(1) == labels
    return float(hits.float().mean())


def weights(model: nn.Module) -> bytes:
    """What ``load_weights`` reads."""
    stream = io.BytesIO()
    torch.save({name: value.cpu() for name, value in model.state_dict().items()}, stream)
    return stream.getvalue()


def load_weights(model: ModelT, file: Path, device: torch.device | str) -> ModelT:
    """Read a model's weights from a file; it comes back frozen, in evaluation mode."""
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return model.to(device).eval().requires_grad_(requires_grad=False)


@dataclass(frozen=True)
class Features:
    """Frozen features of every split, each channel standardised with training statistics."""

    train: torch.Tensor
    val: torch.Tensor
    test: torch.Tensor


def features_of(scenes: SceneSplits, encode: Callable[[torch.Tensor], torch.Tensor]) -> Features:
    """What ``encode`` makes of the images of every split, standardised per channel (axis 1)."""
    with torch.no_grad():
        train, val, test = (encode(part.images) for part in (scenes.train, scenes.val, scenes.test))
    others = [axis for axis in range(train.ndim) if axis != 1]
    mean, deviation = train.mean(others, keepdim=True), train.std(others, keepdim=True)
    deviation = deviation.clamp(min=1e-6)  # a channel that never fires
    return Features(*((part - mean) / deviation for part in (train, val, test)))
