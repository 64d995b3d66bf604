"""Figures of the study, drawn without pyplot's global state."""

from __future__ import annotations

import torch
from encoders import Curve
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

SHOWN = 10  # test scenes per figure
TRUE, PREDICTED = "#35c28f", "#ff8f3d"


def curve_figure(curve: Curve, title: str, loss: str) -> Figure:
    """Training and validation loss over epochs."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    epochs = range(1, len(curve) + 1)
    axes.plot(epochs, [train for train, _ in curve], label="training")
    axes.plot(epochs, [val for _, val in curve], label="validation")
    axes.set(xlabel="epoch", ylabel=loss, title=title)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def scatter_figure(latents: torch.Tensor, labels: torch.Tensor, title: str) -> Figure:
    """Latents (n, channels) on their two principal components, coloured by class (n,)."""
    centred = latents.cpu() - latents.cpu().mean(0)
    plane = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T
    figure = Figure(figsize=(5.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for digit in range(10):
        chosen = labels.cpu() == digit
        axes.scatter(plane[chosen, 0], plane[chosen, 1], s=7, alpha=0.6, label=str(digit))
    axes.set(title=title, xlabel="first principal component", ylabel="second")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, markerscale=2)
    return figure


def bars_figure(values: dict[str, dict[str, float]], title: str) -> Figure:
    """Groups of bars: a panel for each measure, a bar for each source, in the order given."""
    figure = Figure(figsize=(2.6 * len(values), 3.2), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(1, len(values), squeeze=False)[0]
    for axes, (measure, by_source) in zip(panels, values.items(), strict=True):
        bars = axes.bar(list(by_source), list(by_source.values()), color=PREDICTED)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
        axes.set_title(measure, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def times_figure(times: dict[str, list[float]], title: str) -> Figure:
    """How often each time, in milliseconds, was measured; the slowest hundredth is left out."""
    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, values in times.items():
        axes.hist(sorted(values)[: len(values) * 99 // 100], bins=40, alpha=0.6, label=name)
    axes.set(title=title, xlabel="milliseconds per batch", ylabel="batches")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure


def rebuilt_figure(truth: torch.Tensor, rebuilt: torch.Tensor, title: str) -> Figure:
    """Test scenes (n, 1, height, width) above what was rebuilt from their features."""
    figure = Figure(figsize=(SHOWN, 2.7), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(2, SHOWN)
    for column, scene in enumerate(_spread(len(truth))):
        _show(grid[0, column], truth[scene])
        _show(grid[1, column], rebuilt[scene])
    grid[0, 0].set_ylabel("scene")
    grid[1, 0].set_ylabel("rebuilt")
    return figure


def boxes_figure(
    images: torch.Tensor,
    boxes: torch.Tensor,
    predicted: torch.Tensor,
    iou: torch.Tensor,
    title: str,
) -> Figure:
    """Test scenes with their true boxes and predicted ones, both (n, 3), and their IoU (n,)."""
    figure = Figure(figsize=(SHOWN, 4.9), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(2, SHOWN // 2).flat
    for cell, scene in zip(axes, _spread(len(images)), strict=True):
        _show(cell, images[scene])
        _outline(cell, boxes[scene], TRUE, "true")
        _outline(cell, predicted[scene], PREDICTED, "predicted")
        cell.set_title(f"IoU {iou[scene]:.2f}", fontsize=9)
    handles, labels = cell.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _spread(scenes: int) -> list[int]:
    """Scenes at even distances through the test set: not chosen by result."""
    return [scenes * index // SHOWN for index in range(SHOWN)]


def _show(axes: Axes, image: torch.Tensor) -> None:
    axes.imshow(image[0].cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])


def _outline(axes: Axes, box: torch.Tensor, color: str, label: str) -> None:
    left, top, side = box.tolist()
    # imshow puts the middle of the first pixel, not its edge, at 0.
    corner = (left - 0.5, top - 0.5)
    axes.add_patch(Rectangle(corner, side, side, fill=False, color=color, lw=1.6, label=label))
