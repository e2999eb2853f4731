"""Check ``defects``: formation energies of vacancies and substitutions in a supercell of the relaxed crystal."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.bulk import Site, inequivalent_sites, is_crystal, relaxed_supercell, require_free
from al_loop.tools.validation.element_references import element_energy_eV, reference_name
from al_loop.tools.validation.quantity import Quantity, measured, remembered
from al_loop.tools.validation.relax import Minimum, minimum

VACANCIES, SUBSTITUTIONS = "vacancy energies", "substitution energies"


def defects(
    atoms: Atoms,
    calculator: Calculator,
    *,
    others: Sequence[str] = (),
    least_size_A: float = 10.0,
    most_sites: int = 4,
    displacement_A: float = 0.02,
    force_tolerance_eV_per_A: float = 0.01,
    steps: int = 300,
) -> list[Quantity]:
    """Formation energies of neutral vacancies and substitutions, one for each inequivalent site of a crystal.

    With E₀ of the perfect supercell and chemical potentials μ (``element_energy_eV``; of a crystal of one element its
    own energy per atom): vacancy of A, E(N-1) - E₀ + μ_A; B on A, E(A → B) - E₀ + μ_A - μ_B. For compounds also two
    kinds that need no μ: the vacancies of one formula unit, Σ [E(N-1) - E₀] + E(unit), and the exchange of two
    elements, [E(A → B) - E₀] + [E(B → A) - E₀], on the cheapest sites of each, far apart. All atoms are displaced at
    random at the start, so that a defect is not held in a symmetry that it would leave.

    Raises:
        NoAnswerError: constraints hold the crystal.
    """
    if not is_crystal(atoms):
        return []
    require_free(atoms)
    sites, cut_short = inequivalent_sites(atoms, most_sites)
    elements = list(dict.fromkeys([*atoms.symbols, *others]))
    relaxed = partial(minimum, calculator=calculator, force_tolerance_eV_per_A=force_tolerance_eV_per_A, steps=steps)
    supercell = partial(relaxed_supercell, atoms, calculator, least_size_A=least_size_A, steps=steps)
    chemical_potential = partial(element_energy_eV, calculator=calculator, steps=steps, spin="spin" in atoms.info)
    energies = _Energies(atoms, sites, supercell, relaxed, chemical_potential, displacement_A)
    try:
        note = energies.host().note
    except NoAnswerError as error:
        note = str(error)
    if cut_short:
        note += f"; only the first {most_sites} inequivalent sites of {', '.join(cut_short)}"
    return list(_quantities(energies, elements, note))


class _Energies:
    """Energies (eV) of defects against the perfect supercell, each calculated once."""

    def __init__(
        self,
        crystal: Atoms,
        sites: Sequence[Site],
        supercell: Callable[[], Minimum],
        relaxed: Callable[[Atoms], Minimum],
        chemical_potential: Callable[[str], float],
        displacement_A: float,
    ) -> None:
        self.crystal, self.sites = crystal, sites
        self._supercell, self._relaxed, self._displacement_A = supercell, relaxed, displacement_A
        self._of_element = remembered(chemical_potential)
        self.host = remembered(self._host)
        self.changed = remembered(self._changed)

    def _host(self) -> Minimum:
        try:
            return self._supercell()
        except NoAnswerError as error:
            raise NoAnswerError(f"the crystal itself: {error}") from error

    def potential(self, element: str) -> float:
        """Chemical potential."""
        return self.host().energy_eV_per_atom if self._is_itself(element) else self._of_element(element)

    def source(self, element: str) -> str:
        """Where the chemical potential comes from."""
        return f"{element} against the {'crystal itself' if self._is_itself(element) else reference_name(element)}"

    def _is_itself(self, element: str) -> bool:
        return {*self.crystal.symbols} == {element}

    def _changed(self, site: Site, by: str | None) -> float:
        """E(N-1) - E₀, or E(A → B) - E₀ with the element B."""
        start = self.host().atoms.copy()
        if by is None:
            del start[site.index]
        else:
            start.symbols[site.index] = by
        start.positions += np.random.default_rng(0).normal(0.0, self._displacement_A, start.positions.shape)
        return self._relaxed(start).energy_eV - self.host().energy_eV

    def cheapest(self, element: str, by: str | None) -> float:
        """The lowest of these over the sites of an element."""
        return min(self.changed(site, by) for site in self.sites if site.element == element)

    def vacancy(self, site: Site) -> float:
        """Formation energy of a vacancy."""
        return self.changed(site, None) + self.potential(site.element)

    def substitution(self, site: Site, by: str) -> float:
        """Formation energy of another element on a site."""
        return self.changed(site, by) + self.potential(site.element) - self.potential(by)

    def formula_unit(self) -> float:
        """Schottky's combination: a formula unit taken out atom by atom, and put back as crystal."""
        unit, _ = self.crystal.symbols.formula.reduce()
        cheapest = {element: self.cheapest(element, None) for element in unit}
        of_unit = self.host().energy_eV_per_atom * len(unit)
        return float(sum(count * cheapest[element] for element, count in unit.count().items()) + of_unit)

    def exchange(self, first: str, second: str) -> float:
        """Antisite pair of two of the crystal's own elements."""
        return self.cheapest(first, second) + self.cheapest(second, first)


def _quantities(energies: _Energies, elements: Sequence[str], note: str) -> Iterator[Quantity]:
    source = energies.source
    for site in energies.sites:
        against = f"{note}; {source(site.element)}"
        yield measured(
            f"vacancy of {site.name}", "eV", partial(energies.vacancy, site), order_group=VACANCIES, note=against
        )
    for site in energies.sites:
        for by in (element for element in elements if element != site.element):
            yield measured(
                f"{by} on {site.name}",
                "eV",
                partial(energies.substitution, site, by),
                order_group=SUBSTITUTIONS,
                note=f"{note}; {source(by)}, {source(site.element)}",
            )
    own = sorted(set(energies.crystal.symbols))
    if len(own) > 1:
        unit = energies.crystal.symbols.formula.reduce()[0].format("metal")
        yield measured(f"vacancies of one {unit}", "eV", energies.formula_unit, note=note)
    for first, second in combinations(own, 2):
        yield measured(f"exchange of {first} and {second}", "eV", partial(energies.exchange, first, second), note=note)
