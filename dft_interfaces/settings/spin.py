"""Settings of engines that calculate magnetic crystals."""

from typing import Literal

from pydantic import Field

from dft_interfaces.settings.base import BaseEngineSettings

SpinStart = Literal["given", "ferromagnetic", "antiferromagnetic", "none"]


class MagneticEngineSettings(BaseEngineSettings):
    """A spin-polarised calculation converges to a state near its initial moments, which need not be the lowest."""

    spin_starts: tuple[SpinStart, ...] = Field(("given",), min_length=1)
    """Initial moments that are tried for each frame; the lowest converged state is the label, and its message states
    when the first of them was not the lowest. ``given`` uses the frame's own moments, ``ferromagnetic`` and
    ``antiferromagnetic`` set parallel or alternating moments of the given size or of the free atoms, ``none``
    calculates without spin. k starts cost k calculations of each frame: find the magnetic order of a new system with
    [ferromagnetic, antiferromagnetic, none] on a few frames, write it into the system's ``initial_magnetic_moments``
    and run the campaign with [given]."""
