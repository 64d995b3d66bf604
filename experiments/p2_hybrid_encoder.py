"""P2: hand on the patches before pooling as well; do they keep the position that pooling loses?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encoders import patch_features
from spatial import patch_probe, spatial_probe

if TYPE_CHECKING:
    from pytest_exprunner import ExperimentRunner


def e_p2_1_spatial_features(runner: ExperimentRunner) -> dict[str, Any]:
    """E-P2.1: can a probe of the same budget read the box off the un-pooled patches?"""
    return spatial_probe(runner, patch_probe, patch_features, "the patches")
