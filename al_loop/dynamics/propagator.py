"""Interface of propagators: dynamics of a replica in two halves, so that many replicas share one force evaluation."""

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
    """One replica. ``begin`` is called once, then in each step ``move`` before and ``finish`` after the forces.

    Constraints act as in ASE's dynamics. If ASE can no longer satisfy one (bonds of fixed length in a structure that
    dissociates), ``move`` and ``finish`` raise its ``RuntimeError``.

    Args:
        atoms: the structure; moved in place, its constraints replaced by those of ``policy.followed``. Velocities are
            drawn at ``temperature_K`` if it has none.
        temperature_K: of the thermostat, or of the initial velocities without one.
        rng: the replica's own generator.

    Attributes:
        memory: names of the attributes, numbers or arrays, that define the next step together with atoms and forces.
        needs_stress: ``begin`` and ``finish`` require the stress.
        motion: kind of motion, which defines the allowed constraints.

    Raises:
        InputError: a constraint is not supported in this motion.
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
                atoms.set_momenta(atoms.get_momenta())  # removes a file's velocities of fixed atoms
        if not atoms.has("momenta"):
            draw_velocities(atoms, temperature_K, rng)

    def begin(self, forces: Array, stress: Array | None) -> None:  # noqa: B027 - most propagators need nothing
        """Store forces (n, 3), eV/Å, and stress (6,), eV/Å³, at the start."""

    @abstractmethod
    def move(self, forces: Array) -> None:
        """First half of a step, with the forces (n, 3) at the old positions: up to the new positions and cell."""

    @abstractmethod
    def finish(self, forces: Array, stress: Array | None = None) -> None:
        """Second half of a step, with forces (n, 3) and stress (6,) at the new positions."""

    def set_temperature(self, temperature_K: float) -> None:  # noqa: B027 - without a thermostat there is none
        """Set the temperature of the thermostat."""

    def set_pressure(self, pressure_GPa: float) -> None:  # noqa: B027 - without a barostat there is none
        """Set the pressure of the barostat."""

    def converged(self, max_force_eV_per_A: float) -> bool:  # noqa: ARG002
        """Whether a relaxation has converged; always False for dynamics."""
        return False

    def state(self) -> dict[str, Array]:
        """The state that defines the next step, without the generator, as arrays with every bit."""
        own = {name: np.array(getattr(self, name), dtype=np.float64) for name in self.memory}
        return {
            "positions": self.atoms.positions.copy(),
            "momenta": self.atoms.get_momenta(),
            "cell": self.atoms.cell.array.copy(),
            **own,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the ``state()`` of a replica."""
        self.atoms.set_cell(state["cell"])
        self.atoms.positions[:] = state["positions"]
        self.atoms.set_momenta(state["momenta"], apply_constraint=False)
        for name in self.memory:
            value = np.array(state[name], dtype=np.float64)
            setattr(self, name, value if value.ndim else float(value))
