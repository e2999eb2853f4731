"""Check ``molecular-dynamics``: stability, radial distribution and density in short runs."""

from collections.abc import Callable
from functools import cache

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.config.explore_settings import Ensemble
from al_loop.errors import NoAnswerError
from al_loop.frames.constraints.building import repeated
from al_loop.frames.constraints.policy import Motion, refusal
from al_loop.gate.bonding import Bonding
from al_loop.tools.validation.bulk import is_bulk, repeats
from al_loop.tools.validation.measurement import measured
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.rdf import NO_FRAME, FirstPeak, first_peak
from al_loop.tools.validation.short_md import Conditions, ShortMD, density_g_per_cm3, drift_meV_per_atom_ps, short_md

CHECK = "molecular-dynamics"
TIMESTEP_FS, TIMESTEP_WITH_HYDROGEN_FS = 2.0, 0.5
NO_STRESS = "NPT needs the stress, which the calculator does not give"
YES, NO = 1.0, 0.0
PARTS = 4  # of the averaged frames: the scatter of their means tells how certain the mean of all is


def molecular_dynamics(
    structure: str,
    atoms: Atoms,
    calculator: Calculator,
    *,
    temperature_K: float = 300.0,
    pressure_GPa: float = 0.0,
    nvt_steps: int = 400,
    nve_steps: int = 100,
    npt_steps: int = 400,
    timestep_fs: float | None = None,
    friction_per_ps: float = 10.0,
    barostat_fs: float = 200.0,
    least_size_A: float = 8.0,
    sample_every: int = 5,
    seed: int = 0,
) -> list[Quantity]:
    """Short dynamics: NVT (Langevin) in the given cell, then NVE, then for a crystal or liquid NPT.

    Constraints are followed; NPT is left out with them. The first half of NVT and of NPT equilibrates, the second is
    averaged over. Every step is watched by the gate's
    physics check (close contacts, over-aggregation, dissociation, density, temperature, energy), which ends the run.

    Args:
        structure: its name.
        atoms: where it begins; velocities are drawn.
        calculator: energy and forces, for NPT the stress.
        temperature_K: of the thermostat.
        pressure_GPa: of NPT.
        nvt_steps: of NVT.
        nve_steps: without thermostat, to see whether energy is conserved.
        npt_steps: of NPT.
        timestep_fs: by default 2 fs, with hydrogen 0.5 fs.
        friction_per_ps: of the thermostat.
        barostat_fs: relaxation time of the volume.
        least_size_A: a smaller cell is repeated.
        sample_every: steps between two frames that are averaged over.
        seed: of velocities and thermostat: the same trajectory each time.
    """
    start = repeated(atoms, repeats(atoms, least_size_A))
    start.arrays.pop("momenta", None)
    with_hydrogen = TIMESTEP_WITH_HYDROGEN_FS if "H" in atoms.symbols else TIMESTEP_FS
    conditions = Conditions(
        temperature_K, pressure_GPa, timestep_fs or with_hydrogen, friction_per_ps, barostat_fs, sample_every, seed
    )
    run = _Run(structure, start, calculator, conditions)
    nvt, nve = run.go_on("langevin", nvt_steps), run.go_on("nve", nve_steps)
    if not is_bulk(atoms):
        return [*run.whole(nvt, nve), run.conserved(nve), run.bonded(nvt)]
    npt = run.go_on("npt", npt_steps)
    return [*run.whole(nvt, nve, npt), run.conserved(nve), *run.arranged(nvt), run.density(npt)]


class _Run:
    """The parts of a run of one structure with one calculator, and the measured quantities."""

    def __init__(self, structure: str, start: Atoms, calculator: Calculator, conditions: Conditions) -> None:
        self._structure, self._start = structure, start
        self._calculator, self._conditions = calculator, conditions
        self._moving = start.copy()
        self._wrong = ""
        held = refusal(start, Motion.CELL)
        with_stress = "stress" in calculator.implemented_properties
        self._no_npt = f"NPT: the structure {held}" if held else "" if with_stress else NO_STRESS
        self._note = f"{len(start)} atoms, {conditions.temperature_K:g} K"

    def go_on(self, ensemble: Ensemble, steps: int) -> ShortMD:
        """Run the next part, unless an earlier one failed."""
        if self._wrong:
            return ShortMD(steps, wrong=self._wrong)
        if ensemble == "npt" and self._no_npt:
            return ShortMD(steps, wrong=self._no_npt)
        seen = short_md(self._start, self._moving, self._calculator, self._conditions, ensemble, steps)
        self._wrong = seen.wrong
        return seen

    def whole(self, *stretches: ShortMD) -> list[Quantity]:
        """Stability, and the shortest distance."""
        made = [seen for seen in stretches if not (self._no_npt and seen.wrong == self._no_npt)]

        def stays_whole() -> float:
            if any(seen.unphysical for seen in made):
                return NO
            if self._wrong:
                raise NoAnswerError(self._wrong)
            return YES

        def closest() -> float:
            shortest = min(seen.closest for seen in made)
            if not np.isfinite(shortest):
                raise NoAnswerError(self._wrong or "no two atoms came close to each other")
            return shortest

        time_ps = sum(seen.done for seen in made) * self._conditions.timestep_fs / 1e3
        note = self._wrong or f"no failure in {time_ps:.2f} ps"
        return [
            self._measured("stays whole (1 yes, 0 no)", "", stays_whole, note),
            self._measured("shortest distance over covalent radii", "", closest, self._wrong),
        ]

    def conserved(self, nve: ShortMD) -> Quantity:
        """Whether the total energy stays within the gate's limits without thermostat."""

        def conserves() -> float:
            nve.sound_frames()
            return NO if nve.not_conserved else YES

        note = ""
        if len(nve.drift_eV_per_atom) > 1:
            slope = drift_meV_per_atom_ps(nve, self._conditions.timestep_fs)
            largest = 1e3 * np.abs(nve.drift_eV_per_atom).max()
            note = f"drift of {slope:+.2f} meV/atom/ps, at most {largest:.2g} meV/atom from the start"
        return self._measured("conserves energy (1 yes, 0 no)", "", conserves, nve.not_conserved or note)

    def arranged(self, nvt: ShortMD) -> list[Quantity]:
        """First peak of g(r)."""

        @cache
        def peak() -> FirstPeak:
            return first_peak(nvt.sound_frames())

        return [
            self._measured("first peak of g(r)", "Å", lambda: peak().distance_A),
            self._measured("height of the first peak", "", lambda: peak().height),
            self._measured("neighbours in the first peak", "", lambda: peak().neighbours),
        ]

    def bonded(self, nvt: ShortMD) -> Quantity:
        """Neighbours within the gate's bonding distance, for what has no volume that a g(r) could refer to."""

        def mean() -> float:
            if not nvt.sound_frames():
                raise NoAnswerError(NO_FRAME)
            return float(np.mean([Bonding.of(frame).coordination().mean() for frame in nvt.frames]))

        return self._measured(
            "bonded neighbours",
            "",
            mean,
        )

    def density(self, npt: ShortMD) -> Quantity:
        """Mean mass density, with the standard error of the means of quarters in its note."""
        of_frames = [density_g_per_cm3(frame) for frame in npt.frames]

        def mean() -> float:
            if not npt.sound_frames():
                raise NoAnswerError(NO_FRAME)
            return float(np.mean(of_frames))

        parts = [part.mean() for part in np.array_split(np.array(of_frames), PARTS) if part.size]
        note = f"± {np.std(parts, ddof=1) / np.sqrt(len(parts)):.3f}" if len(parts) == PARTS else ""
        return self._measured("density", "g/cm³", mean, note)

    def _measured(self, name: str, unit: str, measure: Callable[[], float], note: str = "") -> Quantity:
        told = "; ".join(text for text in (self._note, note) if text)
        return measured(CHECK, self._structure, name, unit, measure, note=told)
