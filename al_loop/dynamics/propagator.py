"""What a propagator is: a replica's dynamics, cut in two so that many replicas can share one force evaluation."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.frames.constraints.motion import draw_velocities
from al_loop.frames.constraints.policy import Motion, followed

Array = NDArray[np.float64]


class Replica(ABC):
    """One replica. ``begin`` is called once, then ``move`` and ``finish`` in turns, one either side of the forces.

    Constraints are followed as ASE's dynamics follow them. Where ASE cannot satisfy one any more (bonds of fixed length
    in a structure that breaks), ``move`` and ``finish`` raise its ``RuntimeError``.

    Args:
        atoms: the structure; moved in place, its constraints replaced by those of ``policy.followed``. Velocities are
            drawn at ``temperature_K`` if it has none.
        temperature_K: of the thermostat, or of the velocities where there is none.
        rng: the replica's own generator.

    Attributes:
        memory: names of the attributes, numbers or arrays, that the next step depends on besides atoms and forces.
        needs_stress: ``begin`` and ``finish`` must be given the stress.
        motion: which constraints can be followed.

    Raises:
        InputError: a constraint that cannot be followed.
    """

    memory: ClassVar[tuple[str, ...]] = ()
    needs_stress: ClassVar[bool] = False
    motion: ClassVar[Motion] = Motion.DYNAMICS

    def __init__(self, atoms: Atoms, temperature_K: float, rng: np.random.Generator) -> None:
        self.atoms = atoms
        self.rng = rng
        if atoms.constraints:
            atoms.set_constraint(followed(atoms, self.motion))
            if atoms.has("momenta"):
                atoms.set_momenta(atoms.get_momenta())  # what is held is at rest, whatever a file says
        if not atoms.has("momenta"):
            draw_velocities(atoms, temperature_K, rng)

    def begin(self, forces: Array, stress: Array | None) -> None:  # noqa: B027 - most propagators need nothing
        """Take note of forces (n, 3), eV/Å, and stress (6,), eV/Å³, at the start."""

    @abstractmethod
    def move(self, forces: Array) -> None:
        """First half of a step, with the forces (n, 3) at the old positions: up to the new positions and cell."""

    @abstractmethod
    def finish(self, forces: Array, stress: Array | None = None) -> None:
        """Second half of a step, with forces (n, 3) and stress (6,) at the new positions."""

    def set_temperature(self, temperature_K: float) -> None:  # noqa: B027 - without a thermostat there is none
        """Turn the thermostat."""

    def set_pressure(self, pressure_GPa: float) -> None:  # noqa: B027 - without a barostat there is none
        """Turn the barostat."""

    def converged(self, max_force_eV_per_A: float) -> bool:  # noqa: ARG002
        """Whether a relaxation has come to its end; dynamics never does."""
        return False

    def state(self) -> dict[str, Array]:
        """Everything but the generator that the next step depends on, as arrays that keep every bit."""
        own = {name: np.array(getattr(self, name), dtype=np.float64) for name in self.memory}
        return {
            "positions": self.atoms.positions.copy(),
            "momenta": self.atoms.get_momenta(),
            "cell": self.atoms.cell.array.copy(),
            **own,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where the replica that gave ``state()`` was."""
        self.atoms.set_cell(state["cell"])
        self.atoms.positions[:] = state["positions"]
        self.atoms.set_momenta(state["momenta"], apply_constraint=False)
        for name in self.memory:
            value = np.array(state[name], dtype=np.float64)
            setattr(self, name, value if value.ndim else float(value))
