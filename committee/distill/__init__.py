"""A small, real fairchem checkpoint, distilled on a laptop: ``python -m committee.distill``."""

from committee.distill.run import distill
from committee.distill.settings import FULL, QUICK, DistillSettings

__all__ = ["FULL", "QUICK", "DistillSettings", "distill"]
