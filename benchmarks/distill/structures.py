"""Training structures of the small model: crystals, slabs cut from them, and molecules with charge and spin."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule

_VACUUM_A = 5.0
_SLAB_ATOMS = 8  # at least four atomic layers of every crystal below
_SMALL_CELL = 8


@dataclass(frozen=True)
class Crystal:
    """A crystal of few atoms.

    Attributes:
        symbols: as ``ase.build.bulk`` takes them.
        lattice: crystal structure.
        a_A: lattice constant, Å.
        melting_K: where it melts, or comes apart.
        hot_K: temperature of its hottest trajectory; above melting, except for the hardest.
    """

    symbols: str
    lattice: str
    a_A: float
    melting_K: float
    hot_K: float

    @property
    def melts(self) -> bool:
        """Whether the hottest trajectory is one of the melt."""
        return self.hot_K > self.melting_K

    def build(self) -> Atoms:
        """Return the ideal crystal, 4 to 8 atoms."""
        if self.lattice == "hcp":
            return bulk(self.symbols, "hcp", a=self.a_A, orthorhombic=True).repeat((2, 1, 1))
        atoms = bulk(self.symbols, self.lattice, a=self.a_A, cubic=True)
        return atoms.repeat((2, 1, 1)) if len(atoms) < _SMALL_CELL // 2 else atoms

    def slab(self) -> Atoms:
        """Return the crystal cut open along its third axis."""
        atoms = self.build()
        if self.lattice == "rocksalt" or len(atoms) < _SLAB_ATOMS:
            atoms = atoms.repeat((1, 1, 2))
        atoms.center(vacuum=_VACUUM_A, axis=2)
        return atoms


@dataclass(frozen=True)
class Molecule:
    """A molecule of the G2 set in one state.

    Attributes:
        name: as ``ase.build.molecule`` knows it.
        charge: e.
        spin: multiplicity 2S + 1.
    """

    name: str
    charge: int
    spin: int

    def build(self) -> Atoms:
        """Return the neutral molecule's geometry, marked with charge and spin."""
        atoms = molecule(self.name)
        atoms.set_initial_magnetic_moments(None)
        atoms.info = {"charge": self.charge, "spin": self.spin}
        return atoms


CRYSTALS = {
    "Al": Crystal("Al", "fcc", 4.04, 933, 1200),
    "Cu": Crystal("Cu", "fcc", 3.63, 1358, 1700),
    "Na": Crystal("Na", "bcc", 4.20, 371, 600),
    "Mg": Crystal("Mg", "hcp", 3.19, 923, 1200),
    "Si": Crystal("Si", "diamond", 5.46, 1687, 2200),
    "C": Crystal("C", "diamond", 3.57, 4500, 2500),
    "SiC": Crystal("SiC", "zincblende", 4.38, 3100, 2500),
    "AlN": Crystal("AlN", "zincblende", 4.40, 3200, 2500),
    "NaCl": Crystal("NaCl", "rocksalt", 5.65, 1074, 1400),
    "NaF": Crystal("NaF", "rocksalt", 4.68, 1266, 1600),
    "NaH": Crystal("NaH", "rocksalt", 4.86, 911, 1100),
    "MgO": Crystal("MgO", "rocksalt", 4.25, 3125, 3500),
    "MgS": Crystal("MgS", "rocksalt", 5.23, 2273, 2600),
}
"""Twelve elements, thirteen compositions: enough to determine every element's reference energy."""

SLABS = ("Al", "Cu", "Si", "NaCl", "MgO", "SiC")

MOLECULES = {
    "H2O": Molecule("H2O", 0, 1),
    "H2O+": Molecule("H2O", 1, 2),
    "OH": Molecule("OH", 0, 2),
    "OH-": Molecule("OH", -1, 1),
    "NH3": Molecule("NH3", 0, 1),
    "NH3+": Molecule("NH3", 1, 2),
    "CH4": Molecule("CH4", 0, 1),
    "CH3": Molecule("CH3", 0, 2),
    "CH3+": Molecule("CH3", 1, 1),
    "CH3OH": Molecule("CH3OH", 0, 1),
    "CH3OH+": Molecule("CH3OH", 1, 2),
    "C2H4": Molecule("C2H4", 0, 1),
    "C2H4+": Molecule("C2H4", 1, 2),
    "C2H6": Molecule("C2H6", 0, 1),
    "C2H5OH": Molecule("CH3CH2OH", 0, 1),
    "HCOOH": Molecule("HCOOH", 0, 1),
    "H2CO": Molecule("H2CO", 0, 1),
    "HCN": Molecule("HCN", 0, 1),
    "CN-": Molecule("CN", -1, 1),
    "CO2": Molecule("CO2", 0, 1),
    "O2": Molecule("O2", 0, 3),
    "NO": Molecule("NO", 0, 2),
    "HF": Molecule("HF", 0, 1),
    "HCl": Molecule("HCl", 0, 1),
    "H2S": Molecule("SH2", 0, 1),
    "CH3SH": Molecule("CH3SH", 0, 1),
    "CH3Cl": Molecule("CH3Cl", 0, 1),
}


def rattle(atoms: Atoms, scale_A: float, strain: float, rng: np.random.Generator) -> Atoms:
    """Return a copy with normal displacements (Å) and a normal strain of each cell component."""
    moved = atoms.copy()
    if strain > 0:
        deformation = np.eye(3) + strain * rng.normal(size=(3, 3))
        moved.set_cell(moved.cell.array @ deformation, scale_atoms=True)
    moved.positions += rng.normal(scale=scale_A, size=moved.positions.shape)
    return moved


def nearest_A(atoms: Atoms) -> float:
    """Shortest distance between two atoms, periodic images included, Å."""
    from ase.neighborlist import neighbor_list

    return float(neighbor_list("d", atoms, 4.0).min())
