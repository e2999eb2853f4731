"""Names of the ensembles of exploration."""

from typing import Literal

Ensemble = Literal["nve", "langevin", "bussi", "npt", "relax"]
