"""Relaxation of one replica to the nearest minimum, in lockstep with others."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from al_loop.dynamics.propagator import Array, Replica
from al_loop.frames.constraints.policy import Motion


class RelaxingReplica(Replica):
    """ASE's FIRE with the forces of the lockstep evaluation; the cell relaxes through ``FrechetCellFilter``.

    The structure starts at rest; without ``pressure_GPa`` the cell is kept.
    """

    def __init__(self, atoms: Atoms, rng: np.random.Generator, pressure_GPa: float | None = None) -> None:
        atoms.set_momenta(np.zeros_like(atoms.positions), apply_constraint=False)
        self.motion = Motion.RELAXATION if pressure_GPa is None else Motion.CELL  # type: ignore[misc]
        super().__init__(atoms, 0.0, rng)
        self._filter = None
        if pressure_GPa is not None:
            self._filter = FrechetCellFilter(atoms, scalar_pressure=pressure_GPa * units.GPa)
        self._fire = FIRE(atoms if self._filter is None else self._filter, logfile=None)
        self._largest_force = np.inf

    @property
    def needs_stress(self) -> bool:  # type: ignore[override]
        """Whether the cell relaxes."""
        return self._filter is not None

    def begin(self, forces: Array, stress: Array | None) -> None:
        """Store forces and stress."""
        known = {"forces": forces} if stress is None else {"forces": forces, "stress": stress}
        self.atoms.calc = SinglePointCalculator(self.atoms, **known)
        target = self.atoms if self._filter is None else self._filter
        self._largest_force = float(np.linalg.norm(target.get_forces(), axis=1).max())

    def move(self, forces: Array) -> None:  # noqa: ARG002 - stored by begin and finish
        """One step downhill."""
        self._fire.step()

    def finish(self, forces: Array, stress: Array | None = None) -> None:
        """Store forces and stress."""
        self.begin(forces, stress)

    def converged(self, max_force_eV_per_A: float) -> bool:
        """Whether no force, including that on the cell, exceeds the limit."""
        return self._largest_force <= max_force_eV_per_A

    def state(self) -> dict[str, Array]:
        """As ``Replica.state``, with FIRE's velocities, time step and counters."""
        fire, none = self._fire, np.zeros(0)
        results = {} if self.atoms.calc is None else self.atoms.calc.results
        return {
            **super().state(),
            "fire": np.array([fire.dt, fire.a, fire.Nsteps]),
            "fire_velocities": none if fire.vel is None else fire.vel.copy(),
            "first_cell": none if self._filter is None else np.array(self._filter.orig_cell),
            "forces": np.array(results.get("forces", none)),
            "stress": np.array(results.get("stress", none)),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the ``state()`` of a replica."""
        super().restore(state)
        fire, velocities = self._fire, np.array(state["fire_velocities"])
        fire.dt, fire.a, fire.Nsteps = float(state["fire"][0]), float(state["fire"][1]), int(state["fire"][2])
        fire.vel = velocities if velocities.size else None
        if self._filter is not None:
            self._filter.orig_cell = np.array(state["first_cell"])
        if np.size(state["forces"]):
            stress = np.array(state["stress"])
            self.begin(np.array(state["forces"]), stress if stress.size else None)
