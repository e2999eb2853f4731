"""Check ``interfaces``: work of adhesion of two slabs, for lateral shifts of the upper one."""

from functools import partial

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixCartesian

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.bulk import equilibrium, is_crystal, require_free
from al_loop.tools.validation.measurement import Remembered, measured
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.relax import minimum
from al_loop.tools.validation.slab_pairs import Pair, Shift, distinct_shifts, pair_of, shifted
from al_loop.tools.validation.slabs import area_A2
from al_loop.tools.validation.surfaces import J_PER_M2, UNIT

CHECK = "interfaces"
GROUP = "work of adhesion"
FRACTIONS = {0.0: "0", 1 / 2: "1/2", 1 / 3: "1/3", 2 / 3: "2/3"}


def interfaces(
    structure: str,
    atoms: Atoms,
    calculator: Calculator,
    *,
    other: Atoms | None = None,
    thickness_A: float = 8.0,
    vacuum_A: float = 12.0,
    max_mismatch: float = 0.05,
    force_tolerance_eV_per_A: float = 0.01,
    steps: int = 300,
) -> list[Quantity]:
    """Work of adhesion W = (E_lower + E_upper - E_joined) / A of two slabs, for each distinct lateral shift.

    The plane is the first of the widest-spaced ones whose slab has equal faces. Without another crystal both slabs
    are of this one: at the best shift they make the crystal again and W is twice the surface energy, and differences
    between shifts are those of the generalised stacking fault (V. Vítek, Philos. Mag. 18, 773 (1968)). Atoms move along
    the normal only, or the slabs would slide to the best shift; so do those of the slabs alone. The upper slab
    takes on the lattice of the lower one in the plane, alone as well.

    Args:
        structure: its name.
        atoms: the lower crystal; anything else gives an empty list.
        calculator: energy and forces, and the stress if the crystals' cells are to relax.
        other: the upper crystal.
        thickness_A: of each slab, at least.
        vacuum_A: between the pair and its image.
        max_mismatch: of the two lattices, a fraction.
        force_tolerance_eV_per_A: largest force along the normal that is left.
        steps: of each relaxation at most.

    Raises:
        NoAnswerError: constraints hold a crystal.
    """
    if not is_crystal(atoms) or (other is not None and not is_crystal(other)):
        return []
    for crystal in (atoms, *([] if other is None else [other])):
        require_free(crystal)
    try:
        pair = pair_of(atoms, other, thickness_A=thickness_A, vacuum_A=vacuum_A, max_mismatch=max_mismatch)
        as_given = pair.joined(*pair.crystals)
    except NoAnswerError as error:
        return [Quantity(CHECK, structure, GROUP, UNIT, None, GROUP, str(error))]
    energies = _Energies(pair, calculator, force_tolerance_eV_per_A, steps)
    return [
        measured(
            CHECK,
            structure,
            f"{pair.name} shifted by ({FRACTIONS[shift[0]]}, {FRACTIONS[shift[1]]})",
            UNIT,
            partial(energies.adhesion, shift),
            order_group=GROUP,
            note=f"{len(as_given)} atoms{pair.strained}",
        )
        for shift in distinct_shifts(as_given, pair.count)
    ]


class _Energies:
    """Energies of a pair under one calculator, each calculated once."""

    def __init__(self, pair: Pair, calculator: Calculator, force_tolerance_eV_per_A: float, steps: int) -> None:
        self._pair, self._calculator = pair, calculator
        self._force_tolerance, self._steps = force_tolerance_eV_per_A, steps
        self._known = Remembered()
        self._joined = Atoms()

    def adhesion(self, shift: Shift) -> float:
        """Work of adhesion, J/m².

        Raises:
            NoAnswerError: of the crystals, the slabs alone or this shift.
        """
        self._known.get("crystals", self._relax_crystals)
        count = self._pair.count
        apart = self._known.get("slabs", lambda: self._alone(self._joined[:count]) + self._alone(self._joined[count:]))
        together = self._alone(shifted(self._joined, count, shift))
        return float((apart - together) / area_A2(self._joined) / J_PER_M2)

    def _relax_crystals(self) -> float:
        relaxed = [equilibrium(crystal, self._calculator, steps=self._steps)[0] for crystal in self._pair.crystals]
        self._joined = self._pair.joined(*(crystal.atoms for crystal in relaxed))
        return 0.0

    def _alone(self, start: Atoms) -> float:
        start.set_constraint(FixCartesian(range(len(start)), (True, True, False)))
        return minimum(
            start, self._calculator, force_tolerance_eV_per_A=self._force_tolerance, steps=self._steps
        ).energy_eV
