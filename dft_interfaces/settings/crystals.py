"""Requirements of crystal engines on a cell, and the common settings of plane-wave codes."""

from collections.abc import Iterator, Sequence
from typing import Literal

from ase import Atoms
from pydantic import Field

from dft_interfaces.geometry.kpoints import kpoint_mesh
from dft_interfaces.geometry.slab import FILLED_A, Slab, correction_problem, slab_of
from dft_interfaces.geometry.vacuum import gaps_A
from dft_interfaces.settings.base import BaseEngineSettings, Objection

SpinStart = Literal["given", "ferromagnetic", "antiferromagnetic", "none"]


class PeriodicEngineSettings(BaseEngineSettings):
    """Cells that are periodic in three directions: crystals, and slabs between layers of vacuum.

    A spin-polarised calculation converges to a state near its initial moments, which need not be the lowest.
    """

    spin_starts: tuple[SpinStart, ...] = Field(("given",), min_length=1)
    """Initial moments that are tried for each frame; the lowest converged state is the label, and its message states
    when the first of them was not the lowest. ``given`` uses the frame's own moments, ``ferromagnetic`` and
    ``antiferromagnetic`` set parallel or alternating moments of the given size or of the free atoms, ``none``
    calculates without spin. k starts cost k calculations of each frame: find the magnetic order of a new system with
    [ferromagnetic, antiferromagnetic, none] on a few frames, write it into the system's ``initial_magnetic_moments``
    and run the campaign with [given]."""
    dipole_correction: bool = False
    """Cancel the field across the vacuum, and its energy, of a slab whose two faces differ. Set it for molecules on one
    face and for polar or half-covered slabs. It acts only on slabs: structures with vacuum along exactly one lattice
    vector, perpendicular to the other two and at least 8 Å wide. Bulks, chains and molecules in a box are calculated
    without it, at the same level of theory. Labels of slabs then have no stress, since the codes lack the correction's
    contribution to it."""

    @property
    def corrects_dipoles(self) -> bool:
        """Whether slabs are calculated with a dipole correction."""
        return self.dipole_correction

    @property
    def correction_of_slabs(self) -> dict[str, str]:
        """The dipole correction's entry in the level of theory; empty without the correction."""
        return {"dipole_correction": "slabs"} if self.dipole_correction else {}

    def corrected_slab(self, atoms: Atoms) -> Slab | None:
        """Return the slab that the dipole correction acts on, None if it acts on nothing."""
        return slab_of(atoms) if self.dipole_correction else None

    def slab_remark(self, atoms: Atoms) -> str:
        """Return a label's remark on the dipole correction; empty for a bulk and without the correction."""
        if not self.dipole_correction:
            return ""
        slab = slab_of(atoms)
        if slab is not None:
            return f"dipole correction along {'abc'[slab.axis]}; no stress, which lacks its part"
        empty = [name for name, gap_A in zip("abc", gaps_A(atoms), strict=True) if gap_A > FILLED_A]
        return f"is calculated without dipole correction: vacuum along {', '.join(empty)}" if empty else ""

    def _slab_objections(self, atoms: Atoms) -> Iterator[Objection]:
        slab = self.corrected_slab(atoms)
        problem = None if slab is None else correction_problem(atoms, slab)
        if problem is not None:
            yield Objection("dipole_correction", problem)


class PlaneWaveSettings(PeriodicEngineSettings):
    """Plane-wave calculations of neutral cells that are periodic in three directions, with a k-point density."""

    kpoint_density_A: float = Field(20.0, gt=0, le=1000)
    """k-points times lattice spacing, Å, rounded up; the mesh follows the cell (20 gives 4x4x4 for 5.43 Å silicon).
    About 10 is enough for insulators, 30 or more for metals. Keep it off a multiple of a lattice parameter: strained
    copies would fall on different meshes."""
    dispersion: Literal["", "D3(BJ)", "D3(zero)"] = ""
    """Grimme's correction, without its three-body term."""

    def kpoint_mesh(self, atoms: Atoms) -> tuple[int, int, int]:
        """Return the k-point mesh of a cell, with one point across the vacuum of a dipole-corrected slab."""
        slab = self.corrected_slab(atoms)
        if slab is None:
            return kpoint_mesh(atoms, self.kpoint_density_A)
        cell = Atoms(cell=atoms.cell, pbc=[axis != slab.axis for axis in range(3)])
        return kpoint_mesh(cell, self.kpoint_density_A)

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """See ``BaseEngineSettings.objections``."""
        yield from super().objections(atoms)
        yield from not_periodic(self.engine, atoms, "use engine pyscf for molecules")
        yield from charged(self.engine, atoms)
        yield from unpolarised(atoms, self.spin_starts)
        yield from self._slab_objections(atoms)


def not_periodic(engine: str, atoms: Atoms, molecules: str) -> Iterator[Objection]:
    """Yield an objection to a structure that is not periodic in all three directions."""
    if not atoms.pbc.all():
        yield Objection(
            "file",
            f"received pbc {atoms.pbc.tolist()}, but engine {engine} needs all three directions periodic: give slabs "
            f'and chains vacuum and pbc "T T T", {molecules}',
        )


def unpolarised(atoms: Atoms, starts: Sequence[SpinStart]) -> Iterator[Objection]:
    """Yield an objection to a spin multiplicity of a crystal without initial magnetic moments."""
    multiplicity = atoms.info.get("spin")
    polarised = atoms.get_initial_magnetic_moments().any() or {"ferromagnetic", "antiferromagnetic"} & set(starts)
    if multiplicity is not None and multiplicity > 2 and not polarised:  # noqa: PLR2004 - a doublet
        yield Objection(
            "spin_multiplicity",
            f"received {multiplicity} without initial magnetic moments; set initial_magnetic_moments: they start the "
            "spin-polarised calculation of a crystal",
        )


def charged(engine: str, atoms: Atoms) -> Iterator[Objection]:
    """Yield an objection to a charged cell."""
    if atoms.info.get("charge", 0) != 0:
        yield Objection(
            "charge",
            f"received charge {atoms.info['charge']:+g}, but engine {engine} calculates neutral cells only: the energy "
            "of a charged one depends on its background",
        )
