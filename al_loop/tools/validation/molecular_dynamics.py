"""Check ``molecular-dynamics``: stability, radial distribution and density in short runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.neighborlist import neighbor_list
from scipy.ndimage import gaussian_filter1d

from al_loop.config import ExploreSettings
from al_loop.config.explore_settings import Ensemble
from al_loop.errors import NoAnswerError
from al_loop.frames.constraints.building import repeated
from al_loop.frames.constraints.policy import Motion, refusal
from al_loop.gate.bonding import Bonding
from al_loop.tools.validation.bulk import is_bulk, repeats
from al_loop.tools.validation.quantity import Quantity, measured
from al_loop.tools.validation.short_md import ShortMD, density_g_per_cm3, drift_meV_per_atom_ps, short_md

TIMESTEP_FS, TIMESTEP_WITH_HYDROGEN_FS = 2.0, 0.5
NO_STRESS = "NPT needs the stress, which the calculator does not give"
YES, NO = 1.0, 0.0
NO_FRAME = "too few steps: no frame is left after equilibration"
FARTHEST_A = 6.0
BIN_A = 0.02
SMOOTH_A = 0.06  # standard deviation of the Gaussian that g(r) is smoothed with
FIRST = 0.5  # the first maximum at least so high, in units of the highest, is the first peak
EMPTY = 0.01  # of the first peak: below it the shell has ended
PARTS = 4  # of the averaged frames: the scatter of their means tells how certain the mean of all is


def molecular_dynamics(
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

    ``least_size_A`` is between opposite faces of the cell, ``barostat_fs`` the relaxation time of the volume; frames
    are sampled every ``sample_every`` steps. The seed is that of velocities and thermostat: the same trajectory each
    time.
    """
    start = repeated(atoms, repeats(atoms, least_size_A))
    start.arrays.pop("momenta", None)
    with_hydrogen = TIMESTEP_WITH_HYDROGEN_FS if "H" in atoms.symbols else TIMESTEP_FS
    settings = ExploreSettings(
        temperatures_K=(temperature_K,),
        timestep_fs=timestep_fs or with_hydrogen,
        friction_per_ps=friction_per_ps,
        pressure_GPa=pressure_GPa,
        barostat_relaxation_fs=barostat_fs,
    )
    run = _Run(start, calculator, settings, sample_every, seed)
    nvt, nve = run.go_on("langevin", nvt_steps), run.go_on("nve", nve_steps)
    if not is_bulk(atoms):
        return [*run.whole(nvt, nve), run.conserved(nve), run.bonded(nvt)]
    npt = run.go_on("npt", npt_steps)
    return [*run.whole(nvt, nve, npt), run.conserved(nve), *run.arranged(nvt), run.density(npt)]


class _Run:
    """The parts of a run of one structure with one calculator, and the measured quantities."""

    def __init__(
        self, start: Atoms, calculator: Calculator, settings: ExploreSettings, sample_every: int, seed: int
    ) -> None:
        self._settings, self._wrong = settings, ""
        self._part = partial(short_md, start, start.copy(), calculator, sample_every=sample_every, seed=seed)
        held, no_stress = refusal(start, Motion.CELL), "stress" not in calculator.implemented_properties
        self._no_npt = f"NPT: the structure {held}" if held else NO_STRESS if no_stress else ""
        self._note = f"{len(start)} atoms, {settings.temperatures_K[0]:g} K"

    def go_on(self, ensemble: Ensemble, steps: int) -> ShortMD:
        """Run the next part, unless an earlier one failed."""
        if self._wrong:
            return ShortMD(steps, wrong=self._wrong)
        if ensemble == "npt" and self._no_npt:
            return ShortMD(steps, wrong=self._no_npt)
        run = self._part(settings=self._settings.model_copy(update={"ensemble": ensemble}), steps=steps)
        self._wrong = run.wrong
        return run

    def whole(self, *parts: ShortMD) -> list[Quantity]:
        """Stability, and the shortest distance."""
        made = [part for part in parts if not (self._no_npt and part.wrong == self._no_npt)]

        def stays_whole() -> float:
            if any(part.unphysical for part in made):
                return NO
            if self._wrong:
                raise NoAnswerError(self._wrong)
            return YES

        def closest() -> float:
            shortest = min(part.closest for part in made)
            if not np.isfinite(shortest):
                raise NoAnswerError(self._wrong or "no two atoms came close to each other")
            return shortest

        time_ps = sum(part.done for part in made) * self._settings.timestep_fs / 1e3
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
            slope = drift_meV_per_atom_ps(nve, self._settings.timestep_fs)
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

        return self._measured("bonded neighbours", "", mean)

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
        return measured(name, unit, measure, note="; ".join(text for text in (self._note, note) if text))


@dataclass(frozen=True)
class FirstPeak:
    """The first shell of neighbours: where g(r) has its maximum, its height, and the mean number of atoms in it."""

    distance_A: float
    height: float
    neighbours: float


def first_peak(frames: Sequence[Atoms]) -> FirstPeak:
    """Analyse g(r) = n(r) / (4π r² Δr ρ), averaged over atoms and frames, of all elements together.

    Raises:
        NoAnswerError: no frame, or no peak, or none that ends, below ``FARTHEST_A``.
    """
    if not frames:
        raise NoAnswerError(NO_FRAME)
    edges = np.arange(0.0, FARTHEST_A + BIN_A / 2, BIN_A)
    counts = np.zeros(len(edges) - 1)  # neighbours of one atom by distance
    density = 0.0
    for frame in frames:
        counts += np.histogram(neighbor_list("d", frame, FARTHEST_A), edges)[0] / len(frame)
        density += len(frame) / frame.get_volume()
    counts, density = counts / len(frames), density / len(frames)
    r = (edges[:-1] + edges[1:]) / 2
    g = gaussian_filter1d(counts, SMOOTH_A / BIN_A) / (4 * np.pi * r**2 * BIN_A * density)
    inside = slice(1, -1)
    maxima = 1 + np.flatnonzero((g[inside] >= g[:-2]) & (g[inside] > g[2:]) & (g[inside] >= FIRST * g.max()))
    if not maxima.size:
        raise NoAnswerError(f"g(r) has no peak below {FARTHEST_A:g} Å")
    top = int(maxima[0])
    falling = (g[top:-1] < EMPTY * g[top]) | (g[top + 1 :] > g[top:-1])
    if not falling.any():
        raise NoAnswerError(f"the first peak of g(r) does not end below {FARTHEST_A:g} Å")
    end = top + int(np.argmax(falling))
    left, middle, right = g[top - 1 : top + 2]
    offset = 0.5 * (left - right) / (left - 2 * middle + right)
    height = middle - 0.25 * (left - right) * offset
    return FirstPeak(float(r[top] + offset * BIN_A), float(height), float(counts[: end + 1].sum()))
