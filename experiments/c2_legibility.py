"""C2, a control that was asked for after the results: does one see which digit the generator has drawn?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from adapters import bridge, bridge_features, full_adapter, lean_adapter
from digit_scenes import study_scenes
from encoders import Encoder, accuracy, load_weights
from fusion import HybridEncoder
from generator import Generator
from plots import rebuilt_figure

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner

READERS = (1, 2)  # encoders of other seeds than the one whose features are carried over


@pytest.mark.parametrize(("size", "trunk"), [("full", "trained"), ("lean", "trained"), ("lean", "untrained")])
def e2_3_legibility(
    runner: ExperimentRunner, size: Literal["full", "lean"], trunk: Literal["trained", "untrained"]
) -> dict[str, Any]:
    """E2.3: how often do encoders that never saw a drawing name the digit in one?

    Beside the features of the trained encoder, those of a trunk that was never trained. A control that
    was asked for after the results: it decides nothing.
    """
    runner.stage("Reading scenes, encoders and generator")
    scenes, device = study_scenes().to(runner.device), runner.device
    generator = load_weights(Generator(), runner.needs["eq1_1"].artifact("generator.pt"), device)
    readers = [
        load_weights(Encoder(), runner.needs[f"e1_1 seed {seed}"].artifact("encoder.pt"), device)
        for seed in READERS
    ]
    if trunk == "trained":
        saved = runner.needs["e_p2_1"].artifact("encoder.pt")
        encoder = load_weights(HybridEncoder(), saved, device).semantic
    else:
        encoder = Encoder().to(device).eval().requires_grad_(requires_grad=False)
    adapter = full_adapter() if size == "full" else lean_adapter()
    runner.stage(f"Training the {size} adapter from a trunk that is {trunk}")
    made = bridge(adapter, bridge_features(encoder, scenes), generator, scenes, runner)
    truth = scenes.test.images
    drawn = {
        "drawn": made.report.rebuilt.to(device),
        "own_latent": generator.generate(generator.encode(truth)),
        "real": truth,
    }
    labels = scenes.test.labels
    named = {
        f"{what}_accuracy": sum(accuracy(reader(images), labels) for reader in readers) / len(readers)
        for what, images in drawn.items()
    }
    scores = made.report.metrics
    grid = rebuilt_figure(truth, made.report.rebuilt, f"Behind the {size} adapter, {trunk} trunk")
    return {
        "finding": (
            f"Encoders of two other seeds name the digit in {named['drawn_accuracy']:.1%} of what is drawn "
            f"behind the {size} adapter from a trunk that is {trunk} (SSIM {scores['ssim']:.3f}), in "
            f"{named['own_latent_accuracy']:.1%} of what is drawn from the generator's own latent, and in "
            f"{named['real_accuracy']:.1%} of the scenes themselves."
        ),
        "metrics": {
            **named,
            "ssim": scores["ssim"],
            "dark_image_ssim": scores["dark_image_ssim"],
            "parameters": made.parameters,
            "test_scenes": len(truth),
        },
        "artifacts": [runner.results.save_figure("generated.png", grid)],
    }
