"""Slabs with two equal faces, cut by pymatgen; the terminations are derived from the given structure."""

from dataclasses import dataclass
from math import ceil
from typing import Any
from warnings import catch_warnings  # pymatgen's, on deprecated functions of spglib

import numpy as np
from ase import Atoms
from ase.geometry.minkowski_reduction import minkowski_reduce
from numpy.typing import NDArray

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.crystal_symmetry import library

Miller = tuple[int, int, int]

SAME_PLACE_A = 0.1
STRAIN = 1e-3  # lengths that agree within it are equal
Array = NDArray[np.float64]
SAME_SHAPE = 1e-4
NO_SYMMETRY = "the structure has no symmetry, so no slab has two equal faces"
NO_EQUAL_FACES = "no stoichiometric slab has two equal faces here: its faces are polar, or differ"


@dataclass(frozen=True)
class Facet:
    """Where to cut for one orientation.

    Attributes:
        miller: indices of the conventional cell.
        planes: lattice planes in the slab at least.
        shifts: one for each distinct termination whose slab has equal faces, pymatgen's coordinate along the normal.
    """

    miller: Miller
    planes: int
    shifts: tuple[float, ...]

    @property
    def name(self) -> str:
        """For example ``(110)``."""
        return f"({''.join(map(str, self.miller))})"

    @property
    def terminations(self) -> dict[str, float | None]:
        """Shifts by the name of each termination; one without shift if no slab has equal faces."""
        if len(self.shifts) > 1:
            return {f"{self.name} termination {n}": shift for n, shift in enumerate(self.shifts, start=1)}
        return {self.name: self.shifts[0] if self.shifts else None}


def conventional(atoms: Atoms) -> Atoms:
    """Return the conventional standard cell, which Miller indices count from.

    Initial magnetic moments become the mean of their element, which keeps a ferromagnet and loses the order of others.

    Raises:
        NoAnswerError: pymatgen is not installed.
    """
    with catch_warnings(action="ignore"):
        symmetry = library("pymatgen.symmetry.analyzer").SpacegroupAnalyzer(_pymatgen(atoms))
        found = symmetry.get_conventional_standard_structure()
    cell = Atoms([site.specie.Z for site in found], found.cart_coords, cell=found.lattice.matrix, pbc=True)
    cell.info = dict(atoms.info)
    if atoms.has("initial_magmoms") and atoms.get_initial_magnetic_moments().ndim == 1:
        moments = atoms.get_initial_magnetic_moments()
        cell.set_initial_magnetic_moments([moments[atoms.numbers == number].mean() for number in cell.numbers])
    return cell


def facets(crystal: Atoms, *, max_index: int, thickness_A: float, most_terminations: int) -> list[Facet]:
    """All symmetry-inequivalent orientations, those with the densest planes first.

    Raises:
        NoAnswerError: the structure has no symmetry that could make the two faces of a slab equal.
    """
    structure = _pymatgen(crystal)
    with catch_warnings(action="ignore"):
        symmetry = library("pymatgen.symmetry.analyzer").SpacegroupAnalyzer(structure)
        if len(symmetry.get_point_group_operations()) == 1:
            raise NoAnswerError(NO_SYMMETRY)
        millers = library("pymatgen.core.surface").get_symmetrically_distinct_miller_indices(structure, max_index)
    spacing: dict[Miller, float] = {(m[0], m[1], m[2]): float(structure.lattice.d_hkl(m)) for m in millers}
    found = []
    for miller in sorted(spacing, key=lambda m: (-round(spacing[m], 6), m)):
        planes = ceil(thickness_A / spacing[miller] - SAME_SHAPE)
        with catch_warnings(action="ignore"):
            slabs = _generator(crystal, miller, planes).get_slabs()
            shifts = [float(slab.shift) for slab in slabs if slab.is_symmetric()]
        found.append(Facet(miller, planes, tuple(sorted(shifts)[:most_terminations])))
    return found


def slab(crystal: Atoms, facet: Facet, shift: float, vacuum_A: float) -> Atoms:
    """Cut a slab, its smallest cell in the plane, c along z and a along x, periodic in three directions.

    The crystal, a conventional cell, may be strained or relaxed at will; the shift is one of the facet's.
    """
    with catch_warnings(action="ignore"):
        cut = _smallest(_generator(crystal, facet.miller, facet.planes).get_slab(shift).get_orthogonal_c_slab())
    atoms = Atoms([site.specie.Z for site in cut], cut.cart_coords, cell=cut.lattice.matrix, pbc=True)
    atoms.set_cell(_reduced(atoms.cell.array))
    turned, rotation = atoms.cell.standard_form()
    atoms.set_cell(turned)
    atoms.positions = atoms.positions @ rotation.T
    atoms.wrap()
    atoms.info = dict(crystal.info)
    if crystal.has("initial_magmoms"):
        moments = dict(zip(crystal.numbers, crystal.get_initial_magnetic_moments(), strict=True))
        atoms.set_initial_magnetic_moments([moments[number] for number in atoms.numbers])
    _close(atoms)
    atoms.center(vacuum=vacuum_A / 2, axis=2)
    return atoms


def area_A2(atoms: Atoms) -> float:
    """Area of the cell in the plane of its first two vectors, Å²."""
    return float(np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1])))


def _smallest(cut: Any) -> Any:
    """The primitive cell in the plane, which pymatgen's own slabs are not always in."""
    primitive = cut.get_primitive_structure(tolerance=SAME_PLACE_A, reduce=False)
    lengths, angles = primitive.lattice.abc, primitive.lattice.angles
    upright = np.allclose([lengths[2], *angles[:2]], [cut.lattice.c, 90, 90], atol=SAME_SHAPE)
    return primitive if upright else cut


def _reduced(cell: Array) -> Array:
    """The shortest two vectors in the plane, at 120° rather than 60°, so that small strains change no choice."""
    reduced = np.array(minkowski_reduce(cell, pbc=(True, True, False))[0])
    first, second = reduced[0], reduced[1]
    if np.linalg.norm(second - first) < (1 + STRAIN) * np.linalg.norm(second):
        reduced[1] = second - first
    return reduced


def _close(atoms: Atoms) -> None:
    """Wrap so that the slab is in one piece: the widest gap along z becomes the vacuum."""
    heights = atoms.get_scaled_positions(wrap=True)[:, 2]
    order = np.sort(heights)
    gaps = np.diff(order, append=order[0] + 1.0)
    bottom = order[(int(np.argmax(gaps)) + 1) % len(order)]
    fractions = atoms.get_scaled_positions(wrap=True)
    fractions[:, 2] = (heights - bottom + SAME_SHAPE) % 1.0
    atoms.set_scaled_positions(fractions)


def _generator(crystal: Atoms, miller: Miller, planes: int) -> Any:
    return library("pymatgen.core.surface").SlabGenerator(
        _pymatgen(crystal), miller, planes, planes, in_unit_planes=True, primitive=True
    )


def _pymatgen(crystal: Atoms) -> Any:
    structure = library("pymatgen.core.structure").Structure
    return structure(crystal.cell.array, list(crystal.symbols), crystal.get_scaled_positions())
