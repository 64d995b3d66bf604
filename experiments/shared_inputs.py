"""What the registered measurements share: the scenes, and the encoder that an earlier one has saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from digit_scenes import SceneSplits, study_scenes
from encoders import Encoder, load_weights

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner


def scenes_and_encoder(runner: ExperimentRunner) -> tuple[SceneSplits, Encoder]:
    """The study's scenes and the frozen encoder that ``e1_1`` trained from the same seed."""
    runner.stage("Reading scenes and encoder")
    scenes = study_scenes().to(runner.device)
    file = runner.needs["e1_1"].artifact("encoder.pt")
    return scenes, load_weights(Encoder(), file, runner.device)
