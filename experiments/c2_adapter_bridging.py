"""C2: does a small adapter carry the hybrid features over to a frozen generator?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adapters import bridge, bridge_features, full_adapter, lean_adapter
from digit_scenes import study_scenes
from encoders import load_weights
from fusion import HybridEncoder
from generator import Generator
from plots import curve_figure, rebuilt_figure

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_exprunner import ExperimentRunner
    from torch import nn


def e2_1_full_adapter(runner: ExperimentRunner) -> dict[str, Any]:
    """E2.1: how good are the generator's scenes behind an adapter of full size?"""
    return _bridge(runner, full_adapter, "the full adapter")


def e2_2_lean_adapter(runner: ExperimentRunner) -> dict[str, Any]:
    """E2.2: how good are they behind an adapter with a tenth of the parameters?"""
    return _bridge(runner, lean_adapter, "the lean adapter")


def _bridge(runner: ExperimentRunner, adapter: Callable[[], nn.Module], name: str) -> dict[str, Any]:
    """The registered measurement, the same for both adapters."""
    runner.stage("Reading scenes, encoder and generator")
    scenes = study_scenes().to(runner.device)
    needs, device = runner.needs, runner.device
    encoder = load_weights(HybridEncoder(), needs["e_p2_1"].artifact("encoder.pt"), device).semantic
    generator = load_weights(Generator(), needs["eq1_1"].artifact("generator.pt"), device)
    ceiling = needs["eq1_1"].metrics["ssim"]
    runner.stage(f"Training {name}")
    made = bridge(adapter(), bridge_features(encoder, scenes), generator, scenes, runner)
    scores, truth = made.report.metrics, scenes.test.images
    gain = scores["ssim"] - scores["dark_image_ssim"]
    grid = rebuilt_figure(truth, made.report.rebuilt, f"Scenes generated behind {name}")
    curve = curve_figure(made.report.curve, name.capitalize(), "squared error in the latent")
    return {
        "finding": (
            f"Behind {name} ({made.parameters} parameters) the generator draws {len(truth)} held-out scenes "
            f"with a mean SSIM of {scores['ssim']:.3f}, {gain:.3f} above an all-dark canvas; from its own "
            f"latent it reaches {ceiling:.3f}."
        ),
        "metrics": {
            **scores,
            "ssim_gain": gain,
            "generator_ssim": ceiling,
            "parameters": made.parameters,
            "test_scenes": len(truth),
            "encoder": encoder.fingerprint(),
        },
        "artifacts": [
            runner.results.save_figure("generated.png", grid),
            runner.results.save_figure("training_curve.png", curve),
        ],
    }
