"""Check ``surfaces``: energies of a crystal's low-index surfaces."""

from functools import partial

from ase import Atoms, units
from ase.calculators.calculator import Calculator

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.bulk import equilibrium, is_crystal, require_free
from al_loop.tools.validation.quantity import Quantity, measured
from al_loop.tools.validation.relax import minimum
from al_loop.tools.validation.slabs import NO_EQUAL_FACES, Facet, area_A2, conventional, facets, slab

GROUP = "surface energies"
UNIT = "J/m²"
J_PER_M2 = units.kJ / 1000 / units.m**2  # in eV/Å²


def surfaces(
    atoms: Atoms,
    calculator: Calculator,
    *,
    max_index: int = 1,
    thickness_A: float = 12.0,
    vacuum_A: float = 12.0,
    most_terminations: int = 3,
    force_tolerance_eV_per_A: float = 0.01,
    steps: int = 300,
) -> list[Quantity]:
    """Surface energy γ = (E_slab - n E_bulk) / 2A of every orientation that symmetry tells apart.

    Slabs are stoichiometric and have two equal faces, so that γ needs no chemical potential and no dipole
    correction; an orientation without such a slab (the polar ones) has no value. They are cut from the crystal at
    its own equilibrium under the calculator, in the smallest cell in the plane: reconstructions that need a larger
    one are not found.

    Raises:
        NoAnswerError: constraints hold the crystal.
    """
    if not is_crystal(atoms):
        return []
    require_free(atoms)
    crystal = conventional(atoms)
    try:
        cuts = facets(crystal, max_index=max_index, thickness_A=thickness_A, most_terminations=most_terminations)
    except NoAnswerError as error:
        return [Quantity(GROUP, UNIT, None, GROUP, str(error))]
    try:
        bulk = equilibrium(crystal, calculator, steps=steps)
    except NoAnswerError as error:
        broken = f"the crystal itself: {error}"
        return [Quantity(name, UNIT, None, GROUP, broken) for facet in cuts for name in facet.terminations]

    def energy(facet: Facet, shift: float | None) -> float:
        if shift is None:
            raise NoAnswerError(NO_EQUAL_FACES)
        start = slab(bulk.atoms, facet, shift, vacuum_A)
        relaxed = minimum(start, calculator, force_tolerance_eV_per_A=force_tolerance_eV_per_A, steps=steps)
        excess = relaxed.energy_eV - len(start) * bulk.energy_eV_per_atom
        return float(excess / (2 * area_A2(start)) / J_PER_M2)

    return [
        measured(
            name,
            UNIT,
            partial(energy, facet, shift),
            order_group=GROUP,
            note="; ".join(text for text in (f"slab of at least {facet.planes} planes", bulk.note) if text),
        )
        for facet in cuts
        for name, shift in facet.terminations.items()
    ]
