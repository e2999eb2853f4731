"""INCAR, KPOINTS, POSCAR and POTCAR of one structure."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray
from pymatgen.core.structure import Structure
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from pymatgen.io.vasp.sets import VaspInputSet

from dft_interfaces.engines.vasp_potcars import Potcar
from dft_interfaces.geometry.kpoints import kpoint_mesh
from dft_interfaces.geometry.slab import Slab
from dft_interfaces.structure import charge_and_multiplicity
from dft_interfaces.vasp_sets import InputSet

STATIC = {"NSW": 0, "IBRION": -1, "ISIF": 2}
"""Tags that make any input set static: no ionic step, with forces and stress."""

SPIN_POLARISED = 2


@dataclass(frozen=True)
class Inputs:
    """The inputs of one calculation.

    Attributes:
        incar: tags of the INCAR.
        kpoints: the mesh.
        structure: atoms grouped by element, as VASP requires.
        order: (n,) index in the caller's atoms of each atom of ``structure``.
    """

    incar: Incar
    kpoints: Kpoints
    structure: Structure
    order: NDArray[np.int64]

    @property
    def elements(self) -> list[str]:
        """Symbols in the order of the POTCAR."""
        return [symbol for symbol, _ in groupby(site.specie.symbol for site in self.structure)]

    def write(self, folder: Path, potcars: Mapping[str, Potcar], tags: Mapping[str, Any]) -> None:
        """Write the four files."""
        Incar({**self.incar, **tags}).write_file(folder / "INCAR")
        self.kpoints.write_file(folder / "KPOINTS")
        Poscar(self.structure).write_file(folder / "POSCAR", significant_figures=16)
        text = "".join(potcars[symbol].text for symbol in self.elements)
        (folder / "POTCAR").write_text(text, encoding="latin-1")


def make_inputs(atoms: Atoms, inputs: InputSet, slab: Slab | None = None) -> Inputs:
    """Make the inputs of a static calculation, except those that depend on the pseudopotentials.

    Initial magnetic moments of the atoms replace the set's; a spin multiplicity in ``atoms.info["spin"]`` fixes the
    total moment of a spin-polarised calculation.

    Args:
        atoms: the structure.
        inputs: the input set.
        slab: the slab that a dipole correction acts on, None for no correction.

    Raises:
        CannotCalculateError: charge and spin multiplicity that the electrons cannot have.
    """
    structure, order = _structure(atoms)
    tags = (_by_rules(inputs, structure) if inputs.pymatgen_rules else dict(inputs.incar)) | STATIC
    if tags.get("ISPIN") == SPIN_POLARISED:
        tags |= _spin_tags(atoms, order)
    if slab is not None:
        tags |= _dipole_tags(atoms, slab)
    return Inputs(Incar(tags), _kpoints(inputs, structure), structure, order)


def mesh_size(atoms: Atoms, inputs: InputSet) -> tuple[int, int, int]:
    """Return the numbers of k-points along the three axes."""
    a, b, c = (int(number) for number in _kpoints(inputs, _structure(atoms)[0]).kpts[0])
    return a, b, c


def electrons(inputs: Inputs, potcars: Mapping[str, Potcar], charge: int) -> dict[str, float]:
    """Return NELECT for a charged cell; empty for a neutral one, where VASP counts itself."""
    if charge == 0:
        return {}
    return {"NELECT": sum(potcars[site.specie.symbol].valence for site in inputs.structure) - charge}


def _structure(atoms: Atoms) -> tuple[Structure, NDArray[np.int64]]:
    """Group atoms by element."""
    properties: dict[str, Any] = {"index": list(range(len(atoms)))}
    if atoms.has("initial_magmoms"):
        properties["magmom"] = atoms.get_initial_magnetic_moments().tolist()
    structure = Structure(
        atoms.cell.array[_vectors(atoms)],
        list(atoms.symbols),
        atoms.positions,
        coords_are_cartesian=True,
        site_properties=properties,
    ).get_sorted_structure()
    order = np.array(structure.site_properties["index"], dtype=np.int64)
    structure.remove_site_property("index")
    return structure, order


def _vectors(atoms: Atoms) -> list[int]:
    """Return the order of the lattice vectors; in a left-handed cell, which VASP refuses, the first two are swapped."""
    return [0, 1, 2] if atoms.cell.handedness > 0 else [1, 0, 2]


def _dipole_tags(atoms: Atoms, slab: Slab) -> dict[str, Any]:
    """Return the tags of a dipole correction; VASP places the potential step half a cell away from DIPOL."""
    axis = _vectors(atoms).index(slab.axis)
    return {"LDIPOL": True, "IDIPOL": axis + 1, "DIPOL": [slab.middle if i == axis else 0.5 for i in range(3)]}


def _by_rules(inputs: InputSet, structure: Structure) -> dict[str, Any]:
    """Return the tags of pymatgen's input set, which resolves tags by element for a structure."""
    config = {
        "INCAR": _with_moments(inputs.incar),
        "KPOINTS": {"reciprocal_density": inputs.kpoints.get("reciprocal_density", 1)},
        "POTCAR_FUNCTIONAL": inputs.potcar_functional,
        "POTCAR": dict(inputs.potcars),
    }
    rules = type("_Rules", (VaspInputSet,), {"CONFIG": config})
    with _no_advice():
        return dict(rules(structure, sort_structure=False).incar)


def _with_moments(incar: Mapping[str, Any]) -> dict[str, Any]:
    return {"MAGMOM": {}, **incar} if incar.get("ISPIN") == SPIN_POLARISED else dict(incar)


@contextmanager
def _no_advice() -> Iterator[None]:
    """Silence pymatgen's advice on the published settings and its warnings about deprecated calls of spglib."""
    with warnings.catch_warnings(action="ignore"):
        yield


def _kpoints(inputs: InputSet, structure: Structure) -> Kpoints:
    rule = inputs.kpoints
    if "reciprocal_density" in rule:
        with _no_advice():
            return Kpoints.automatic_density_by_vol(
                structure, rule["reciprocal_density"], force_gamma=rule["always_gamma"]
            )
    if "surface_A" in rule:
        return Kpoints.monkhorst_automatic(_surface_mesh(structure, rule["surface_A"]))
    if "density_A" in rule:
        cell = Atoms(cell=structure.lattice.matrix, pbc=True)
        return Kpoints.gamma_automatic(kpoint_mesh(cell, rule["density_A"]))
    return Kpoints.gamma_automatic(tuple(rule["gamma"]))


def _surface_mesh(structure: Structure, length_A: float) -> tuple[int, int, int]:
    """Return OC20's mesh: from the largest component of each surface vector, one point across the slab."""
    a, b = (max(1, round(length_A / float(np.abs(vector).max()))) for vector in structure.lattice.matrix[:2])
    return a, b, 1


def _spin_tags(atoms: Atoms, order: NDArray[np.int64]) -> dict[str, Any]:
    tags: dict[str, Any] = {}
    if atoms.has("initial_magmoms"):
        tags["MAGMOM"] = atoms.get_initial_magnetic_moments()[order].tolist()
    if atoms.info.get("spin") is not None:
        tags["NUPDOWN"] = charge_and_multiplicity(atoms)[1] - 1
    return tags
