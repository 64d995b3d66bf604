"""Q1: have the encoder's features and a generator's latent enough structure in common to bridge them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alignment import NEIGHBOURS, align
from digit_scenes import study_scenes
from encoders import Encoder, features_of, load_weights, weights
from generator import Generator, train_generator
from plots import bars_figure, curve_figure, rebuilt_figure
from reconstruction import scene_report
from shared_inputs import scenes_and_encoder

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner


def eq1_1_generator(runner: ExperimentRunner) -> dict[str, Any]:
    """EQ1.1: how well does the generator redraw scenes from its own latent? No bridge can do better."""
    scenes = study_scenes().to(runner.device)
    runner.stage("Training the generator")
    generator, curve = train_generator(scenes, runner)
    truth = scenes.test.images
    report = scene_report(generator(truth).sigmoid(), scenes, curve)
    scores = report.metrics
    runner.log_samples("ssim", report.ssim)
    grid = rebuilt_figure(truth, report.rebuilt, "Scenes redrawn by the generator")
    return {
        "finding": (
            f"From its own latent the generator redraws {len(truth)} held-out scenes with a mean SSIM of "
            f"{scores['ssim']:.3f}; an all-dark canvas scores {scores['dark_image_ssim']:.3f}."
        ),
        "metrics": {**scores, "test_scenes": len(truth)},
        "artifacts": [
            runner.results.save_artifact("generator.pt", weights(generator)),
            runner.results.save_figure("reconstructions.png", grid),
            runner.results.save_figure(
                "training_curve.png", curve_figure(curve, "Generator", "cross-entropy per pixel")
            ),
        ],
    }


def eq1_2_alignment(runner: ExperimentRunner) -> dict[str, Any]:
    """EQ1.2: linear probe, CKA and shared neighbours, beside a pooled latent and an untrained trunk."""
    scenes, encoder = scenes_and_encoder(runner)
    generator = load_weights(Generator(), runner.needs["eq1_1"].artifact("generator.pt"), runner.device)
    untrained = Encoder().to(runner.device).eval().requires_grad_(requires_grad=False)
    runner.stage("Comparing representations of the same scenes")
    read = {"patches": encoder.patches, "pooled": encoder.pooled, "untrained": untrained.patches}
    found = {}
    for name, encode in read.items():
        found[name] = align(features_of(scenes, encode), generator, scenes)
    scores = {name: alignment.metrics for name, alignment in found.items()}
    patches, pooled, plain = (scores[name] for name in read)
    chance = NEIGHBOURS / (len(scenes.test.labels) - 1)
    by_measure = {what: {name: scores[name][what] for name in read} for what in patches}
    figure = bars_figure(by_measure, "In common with the generator's latent")
    better = "more" if plain["linear_probe_r2"] > patches["linear_probe_r2"] else "no more"
    return {
        "finding": (
            f"A linear probe predicts {patches['linear_probe_r2']:.1%} of the variance of the generator's "
            f"latent from the patches, and {pooled['linear_probe_r2']:.1%} from the pooled latent. CKA with "
            f"that latent is {patches['cka']:.3f} and {pooled['cka']:.3f}; "
            f"{patches['neighbour_recall_at_10']:.1%} and {pooled['neighbour_recall_at_10']:.1%} of the ten "
            f"nearest scenes are shared ({chance:.1%} by chance). The patches of a trunk that was never "
            f"trained have {better} in common with it: {plain['linear_probe_r2']:.1%}, {plain['cka']:.3f} "
            f"and {plain['neighbour_recall_at_10']:.1%}."
        ),
        "metrics": {
            **patches,
            **{f"pooled_{what}": value for what, value in pooled.items()},
            **{f"untrained_{what}": value for what, value in plain.items()},
            "chance_recall_at_10": chance,
            "encoder": encoder.fingerprint(),
        },
        "artifacts": [runner.results.save_figure("alignment.png", figure)],
    }
