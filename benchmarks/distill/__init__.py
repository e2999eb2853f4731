"""A small, real fairchem checkpoint, distilled on a laptop: ``python -m benchmarks.distill``."""

from benchmarks.distill.run import distill
from benchmarks.distill.settings import FULL, QUICK, DistillSettings

__all__ = ["FULL", "QUICK", "DistillSettings", "distill"]
