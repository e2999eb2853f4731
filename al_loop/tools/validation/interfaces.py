"""Check ``interfaces``: work of adhesion of two slabs, for lateral shifts of the upper one."""

from collections.abc import Callable
from functools import partial

from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixCartesian

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.bulk import equilibrium, is_crystal, require_free
from al_loop.tools.validation.quantity import Quantity, measured, remembered
from al_loop.tools.validation.relax import minimum
from al_loop.tools.validation.slab_pairs import Pair, Shift, distinct_shifts, pair_of, shifted
from al_loop.tools.validation.slabs import area_A2
from al_loop.tools.validation.surfaces import J_PER_M2, UNIT

GROUP = "work of adhesion"
FRACTIONS = {0.0: "0", 1 / 2: "1/2", 1 / 3: "1/3", 2 / 3: "2/3"}


def interfaces(
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

    Raises:
        NoAnswerError: constraints hold a crystal.
    """
    if not is_crystal(atoms) or (other is not None and not is_crystal(other)):
        return []
    require_free(atoms, *([] if other is None else [other]))
    try:
        pair = pair_of(atoms, other, thickness_A=thickness_A, vacuum_A=vacuum_A, max_mismatch=max_mismatch)
        as_given = pair.joined(*pair.crystals)
    except NoAnswerError as error:
        return [Quantity(GROUP, UNIT, None, GROUP, str(error))]
    adhesion = _adhesion(pair, calculator, force_tolerance_eV_per_A, steps)
    return [
        measured(
            f"{pair.name} shifted by ({FRACTIONS[shift[0]]}, {FRACTIONS[shift[1]]})",
            UNIT,
            partial(adhesion, shift),
            order_group=GROUP,
            note=f"{len(as_given)} atoms{pair.strained}",
        )
        for shift in distinct_shifts(as_given, pair.count)
    ]


def _adhesion(
    pair: Pair, calculator: Calculator, force_tolerance_eV_per_A: float, steps: int
) -> Callable[[Shift], float]:
    """Return the work of adhesion (J/m²) as a function of the shift; crystals and slabs alone are calculated once."""

    @remembered
    def joined() -> Atoms:
        relaxed = [equilibrium(crystal, calculator, steps=steps).atoms for crystal in pair.crystals]
        return pair.joined(*relaxed)

    def energy_eV(start: Atoms) -> float:
        start.set_constraint(FixCartesian(range(len(start)), (True, True, False)))
        found = minimum(start, calculator, force_tolerance_eV_per_A=force_tolerance_eV_per_A, steps=steps)
        return found.energy_eV

    @remembered
    def apart_eV() -> float:
        return energy_eV(joined()[: pair.count]) + energy_eV(joined()[pair.count :])

    def adhesion(shift: Shift) -> float:
        together_eV = energy_eV(shifted(joined(), pair.count, shift))
        return float((apart_eV() - together_eV) / area_A2(joined()) / J_PER_M2)

    return adhesion
