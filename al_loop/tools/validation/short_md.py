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
from al_loop.tools.validation.relax import calculator_errors

EQUILIBRATION = 0.5  # of a part of the run; the rest is sampled
NAMES: dict[Ensemble, str] = {"nve": "NVE", "langevin": "NVT", "npt": "NPT"}


class UnphysicalError(NoAnswerError):
    """The calculator works, but the structure became unphysical."""


@dataclass
class ShortMD:
    """Record of a run.

    Attributes:
        steps: requested.
        done: physical steps.
        wrong: reason of a failure after them, empty if there was none.
        unphysical: the structure became unphysical, rather than a calculation failed.
        frames: every few steps, the equilibration left out.
        closest: shortest distance in any sampled frame, in units of the sum of covalent radii.
        drift_eV_per_atom: change of potential and kinetic energy together since the start, at each step.
        not_conserved: the first reason of the energy's watch against it, empty without one.
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
        """All frames; raises ``NoAnswerError`` if the run failed."""
        if self.wrong:
            raise NoAnswerError(self.wrong)
        return self.frames


def short_md(
    start: Atoms,
    atoms: Atoms,
    calculator: Calculator,
    settings: ExploreSettings,
    steps: int,
    *,
    sample_every: int,
    seed: int,
) -> ShortMD:
    """Run the explorer's own dynamics until the end or until a frame is unphysical; deterministic given the seed.

    Args:
        start: the intact reference structure of the physics check.
        atoms: where it begins, velocities included; moved in place.
        calculator: energy, forces, for npt the stress.
        settings: ensemble, one temperature and the like.
        steps: of the dynamics.
        sample_every: steps between two sampled frames.
        seed: of the thermostat's and the first velocities' generator.
    """
    temperature_K, timestep_fs = settings.temperatures_K[0], settings.timestep_fs
    run = ShortMD(steps)
    physics_check = PhysicsCheck(PhysicsSettings(), start, temperature_K, timestep_fs=timestep_fs)
    watch = EnergyWatch(PhysicsSettings(), conserved=True, timestep_fs=timestep_fs, moving_atoms=moving_atoms(start))
    first_eV = np.nan
    try:
        with calculator_errors():
            atoms.calc = calculator
            dynamics = ReplicaDynamics(atoms, settings, seed)
            for _ in dynamics.irun(steps):
                energy = float(atoms.get_potential_energy(apply_constraint=False))
                forces = atoms.get_forces(apply_constraint=False)
                sampled = dynamics.nsteps % sample_every == 0
                found = (physics_check.check if sampled else physics_check.check_step)(atoms, forces, energy)
                if found is not None:
                    raise UnphysicalError(found.reason)
                run.done = dynamics.nsteps
                total_eV = energy + atoms.get_kinetic_energy() + restraint_energy_eV(atoms)
                if dynamics.nsteps == 0:
                    first_eV = total_eV
                run.drift_eV_per_atom.append(float((total_eV - first_eV) / len(atoms)))
                complaint = watch.complaint(atoms, energy, temperature_K)
                run.not_conserved = run.not_conserved or complaint or ""
                if sampled:
                    _sample(run, atoms)
    except NoAnswerError as error:
        time_ps = run.done * timestep_fs / 1e3
        run.unphysical = isinstance(error, UnphysicalError)
        run.wrong = f"stopped after {time_ps:.3f} ps of {NAMES[settings.ensemble]}: {error}"
    return run


def _sample(run: ShortMD, atoms: Atoms) -> None:
    run.closest = min(run.closest, float(np.min(Bonding.of(atoms).ratio, initial=np.inf)))
    if run.done > EQUILIBRATION * run.steps:
        run.frames.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))


def drift_meV_per_atom_ps(run: ShortMD, timestep_fs: float) -> float:
    """Slope of the total energy of a run of two steps or more, meV/atom/ps."""
    times_ps = np.arange(len(run.drift_eV_per_atom)) * timestep_fs / 1e3
    return float(1e3 * np.polyfit(times_ps, run.drift_eV_per_atom, 1)[0])


def density_g_per_cm3(atoms: Atoms) -> float:
    """Mass density of a cell that is periodic in three directions."""
    return float(atoms.get_masses().sum() / atoms.get_volume() / (1e-3 * units.kg / (1e-2 * units.m) ** 3))
