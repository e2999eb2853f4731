"""What engines for crystals ask of a cell, and settings that their plane-wave codes share."""

from collections.abc import Iterator, Sequence
from typing import Literal

from ase import Atoms
from pydantic import Field

from dft_interfaces.settings.base import Objection
from dft_interfaces.settings.spin import MagneticEngineSettings, SpinStart


class PlaneWaveSettings(MagneticEngineSettings):
    """A neutral cell that is periodic in three directions, sampled by k-points of a density."""

    kpoint_density_A: float = Field(20.0, gt=0, le=1000)
    """k-points times lattice spacing, Å, rounded up; the mesh follows the cell (20 gives 4x4x4 for 5.43 Å silicon).
    About 10 is enough for insulators, 30 or more for metals. Keep it off a multiple of a lattice parameter: strained
    copies would fall on different meshes."""
    dispersion: Literal["", "D3(BJ)", "D3(zero)"] = ""
    """Grimme's correction, without its three-body term."""

    def objections(self, atoms: Atoms) -> Iterator[Objection]:
        """See ``BaseEngineSettings.objections``."""
        yield from not_periodic(self.engine, atoms, "use engine pyscf for molecules")
        yield from charged(self.engine, atoms)
        yield from unpolarised(atoms, self.spin_starts)


def not_periodic(engine: str, atoms: Atoms, molecules: str) -> Iterator[Objection]:
    """Yield an objection to a structure that is not periodic in all three directions.

    Args:
        engine: its name.
        atoms: the structure.
        molecules: what to do with them.
    """
    if not atoms.pbc.all():
        yield Objection(
            "file",
            f"received pbc {atoms.pbc.tolist()}, but engine {engine} needs all three directions periodic: give slabs "
            f'and chains vacuum and pbc "T T T", {molecules}',
        )


def unpolarised(atoms: Atoms, starts: Sequence[SpinStart]) -> Iterator[Objection]:
    """Yield an objection to a spin multiplicity that nothing makes the calculation of a crystal take up.

    Args:
        atoms: the structure.
        starts: initial moments that are tried.
    """
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
