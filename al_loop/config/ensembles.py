"""The ways a trajectory may move."""

from typing import Literal

Ensemble = Literal["nve", "langevin", "bussi", "npt", "relax"]
