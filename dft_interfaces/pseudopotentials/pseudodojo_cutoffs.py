"""Plane-wave cutoffs of the PseudoDojo pseudopotentials, which their UPF files do not state."""

from ase.units import Hartree

_LOW_HINT_HARTREE = {
    "H": 32, "He": 39, "Li": 33, "Be": 38, "B": 34, "C": 37, "N": 36, "O": 36, "F": 36, "Ne": 30, "Na": 38,
    "Mg": 38, "Al": 16, "Si": 14, "P": 18, "S": 20, "Cl": 25, "Ar": 29, "K": 33, "Ca": 28, "Sc": 35, "Ti": 38,
    "V": 38, "Cr": 43, "Mn": 42, "Fe": 41, "Co": 42, "Ni": 45, "Cu": 42, "Zn": 38, "Ga": 36, "Ge": 35, "As": 38,
    "Se": 39, "Br": 19, "Kr": 22, "Rb": 19, "Sr": 28, "Y": 30, "Zr": 29, "Nb": 37, "Mo": 36, "Tc": 38, "Ru": 38,
    "Rh": 40, "Pd": 37, "Ag": 37, "Cd": 47, "In": 31, "Sn": 32, "Sb": 36, "Te": 34, "I": 31, "Xe": 28, "Cs": 19,
    "Ba": 18, "La": 50, "Lu": 46, "Hf": 25, "Ta": 25, "W": 31, "Re": 30, "Os": 33, "Ir": 30, "Pt": 38, "Au": 32,
    "Hg": 29, "Tl": 27, "Pb": 24, "Bi": 29, "Po": 28, "Rn": 32,
}  # fmt: skip


def min_cutoff_eV(element: str) -> float | None:
    """Return the "low" hint of an element, eV; below it forces and stress are wrong.

    From ``ONCVPSP-PBE-PDv0.4/standard.djson`` of abinit/pseudo_dojo. Version 0.5 of the files revised eleven elements
    without publishing other hints; the stringent files need higher cutoffs.
    """
    hint = _LOW_HINT_HARTREE.get(element)
    return None if hint is None else float(hint * Hartree)
