"""Shared by the tests and the example study: figures are drawn off-screen, wherever this runs."""

from __future__ import annotations

import os

os.environ.setdefault("MPLBACKEND", "Agg")
