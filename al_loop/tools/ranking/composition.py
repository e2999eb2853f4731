"""Group structures by composition; energies are compared within one composition only.

Between compositions only formation energies can be ranked, which need the energies of the elements or of competing
phases; total energies cannot be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd

from ase import Atoms
from ase.formula import Formula


@dataclass(frozen=True)
class Composition:
    """Structures whose energies may be compared.

    Attributes:
        name: formula of the compared unit, with charge and spin multiplicity where they are given.
        unit_atoms: atoms in that unit: all cells are whole multiples of it.
        members: their positions in the list that was grouped.
    """

    name: str
    unit_atoms: int
    members: list[int]

    def units(self, atoms: Atoms) -> float:
        """How many units a structure holds."""
        return len(atoms) / self.unit_atoms


def grouped(frames: Sequence[Atoms]) -> list[Composition]:
    """Group comparable structures, in the order of their first appearance.

    Crystals are compared per formula unit whatever the size of their cells; what is not periodic in three directions
    only with structures of the same number of atoms, since two slabs of different thickness differ by bulk.
    Energies are counted per largest unit that all cells hold a whole number of times: the whole cell where all are
    of one size.
    """
    groups: dict[tuple[str, object, object, bool], list[int]] = {}
    for index, atoms in enumerate(frames):
        crystal = bool(atoms.pbc.all())
        formula = atoms.symbols.formula
        name = (formula.reduce()[0] if crystal else formula).format("hill")
        groups.setdefault((name, atoms.info.get("charge", 0), atoms.info.get("spin"), crystal), []).append(index)
    return [_composition(frames, *key[:3], members) for key, members in groups.items()]


def _composition(
    frames: Sequence[Atoms], formula: str, charge: object, spin: object, members: list[int]
) -> Composition:
    atoms_in_formula = len(Formula(formula))
    multiple = reduce(gcd, (len(frames[i]) // atoms_in_formula for i in members))
    unit = Formula("".join(f"{s}{n * multiple}" for s, n in Formula(formula).count().items())).format("hill")
    told = [unit, *([f"charge {charge}"] if charge else []), *([f"spin {spin}"] if spin is not None else [])]
    return Composition(", ".join(told), atoms_in_formula * multiple, members)
