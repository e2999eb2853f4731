"""Short molecular dynamics with the gate's physics check, recorded up to a failure."""

from dataclasses import dataclass, field

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.config.explore_settings import Ensemble
from al_loop.dynamics.ase_dynamics import ReplicaDynamics
from al_loop.errors import NoAnswerError
from al_loop.frames.constraints.motion import restraint_energy_eV
from al_loop.frames.constraints.policy import moving_atoms
from al_loop.gate.bonding import Bonding
from al_loop.gate.energy import EnergyWatch
from al_loop.gate.physics import PhysicsCheck
from al_loop.tools.validation.relax import answers_of_the_calculator

EQUILIBRATION = 0.5  # of a stretch; the rest is looked at
NAMES: dict[Ensemble, str] = {"nve": "NVE", "langevin": "NVT", "npt": "NPT"}


class UnphysicalError(NoAnswerError):
    """The calculator works, but the structure became unphysical."""


@dataclass(frozen=True)
class Conditions:
    """Of all stretches of one run.

    Attributes:
        temperature_K: of the thermostat.
        pressure_GPa: of the barostat.
        timestep_fs: time step.
        friction_per_ps: of the Langevin thermostat.
        barostat_fs: relaxation time of the volume.
        sample_every: steps between sampled frames.
        seed: of the thermostat's and the first velocities' generator.
    """

    temperature_K: float
    pressure_GPa: float
    timestep_fs: float
    friction_per_ps: float
    barostat_fs: float
    sample_every: int
    seed: int

    def dynamics(self, atoms: Atoms, ensemble: Ensemble) -> ReplicaDynamics:
        """The explorer's own dynamics, deterministic given the seed."""
        settings = ExploreSettings(
            temperatures_K=(self.temperature_K,),
            ensemble=ensemble,
            timestep_fs=self.timestep_fs,
            friction_per_ps=self.friction_per_ps,
            pressure_GPa=self.pressure_GPa,
            barostat_relaxation_fs=self.barostat_fs,
        )
        return ReplicaDynamics(atoms, settings, self.seed)


@dataclass
class ShortMD:
    """Record of a run.

    Attributes:
        steps: requested.
        done: physical steps.
        wrong: reason of a failure after them, empty if there was none.
        unphysical: the structure became unphysical, rather than a calculation failed.
        frames: every few steps, the equilibration left out.
        closest: shortest distance in any frame that was looked at, in units of the sum of covalent radii.
        drift_eV_per_atom: change of potential and kinetic energy together since the start, at each step.
        not_conserved: what the energy's watch said of it first, empty if nothing.
    """

    steps: int
    done: int = 0
    wrong: str = ""
    unphysical: bool = False
    frames: list[Atoms] = field(default_factory=list)
    closest: float = np.inf
    drift_eV_per_atom: list[float] = field(default_factory=list)
    not_conserved: str = ""

    def sound_frames(self) -> list[Atoms]:
        """All frames of a run that did not fail.

        Raises:
            NoAnswerError: it failed.
        """
        if self.wrong:
            raise NoAnswerError(self.wrong)
        return self.frames


def short_md(
    start: Atoms, atoms: Atoms, calculator: Calculator, conditions: Conditions, ensemble: Ensemble, steps: int
) -> ShortMD:
    """Run until the end or until a frame is unphysical.

    Args:
        start: the intact reference structure of the physics check.
        atoms: where it begins, velocities included; moved in place.
        calculator: energy, forces, for npt the stress.
        conditions: temperature and the like.
        ensemble: nve, langevin or npt.
        steps: to make.
    """
    seen = ShortMD(steps)
    physics_check = PhysicsCheck(PhysicsSettings(), start, conditions.temperature_K, timestep_fs=conditions.timestep_fs)
    watch = EnergyWatch(
        PhysicsSettings(), conserved=True, timestep_fs=conditions.timestep_fs, moving_atoms=moving_atoms(start)
    )
    first_eV = np.nan
    try:
        with answers_of_the_calculator():
            atoms.calc = calculator
            dynamics = conditions.dynamics(atoms, ensemble)
            for _ in dynamics.irun(steps):
                energy = float(atoms.get_potential_energy(apply_constraint=False))
                forces = atoms.get_forces(apply_constraint=False)
                sampled = dynamics.nsteps % conditions.sample_every == 0
                found = (physics_check.check if sampled else physics_check.check_step)(atoms, forces, energy)
                if found is not None:
                    raise UnphysicalError(found.reason)
                seen.done = dynamics.nsteps
                total_eV = energy + atoms.get_kinetic_energy() + restraint_energy_eV(atoms)
                if dynamics.nsteps == 0:
                    first_eV = total_eV
                drift = (total_eV - first_eV) / len(atoms)
                seen.drift_eV_per_atom.append(float(drift))
                complaint = watch.complaint(atoms, energy, conditions.temperature_K)
                seen.not_conserved = seen.not_conserved or complaint or ""
                if sampled:
                    _look(seen, atoms)
    except NoAnswerError as error:
        time_ps = seen.done * conditions.timestep_fs / 1e3
        seen.unphysical = isinstance(error, UnphysicalError)
        seen.wrong = f"stopped after {time_ps:.3f} ps of {NAMES[ensemble]}: {error}"
    return seen


def _look(seen: ShortMD, atoms: Atoms) -> None:
    seen.closest = min(seen.closest, float(np.min(Bonding.of(atoms).ratio, initial=np.inf)))
    if seen.done > EQUILIBRATION * seen.steps:
        seen.frames.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))


def drift_meV_per_atom_ps(seen: ShortMD, timestep_fs: float) -> float:
    """Slope of the total energy, meV/atom/ps.

    Args:
        seen: two steps or more.
        timestep_fs: of the dynamics.
    """
    times_ps = np.arange(len(seen.drift_eV_per_atom)) * timestep_fs / 1e3
    return float(1e3 * np.polyfit(times_ps, seen.drift_eV_per_atom, 1)[0])


def density_g_per_cm3(atoms: Atoms) -> float:
    """Mass density of a cell that is periodic in three directions."""
    return float(atoms.get_masses().sum() / atoms.get_volume() / (1e-3 * units.kg / (1e-2 * units.m) ** 3))
