"""Check ``defects``: formation energies of vacancies and substitutions in a supercell of the relaxed crystal."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator

from al_loop.errors import NoAnswerError
from al_loop.tools.validation.bulk import Site, inequivalent_sites, is_crystal, require_free
from al_loop.tools.validation.element_references import ElementReferences, reference_name
from al_loop.tools.validation.measurement import Remembered, measured
from al_loop.tools.validation.quantity import Quantity
from al_loop.tools.validation.relax import minimum
from al_loop.tools.validation.supercell import Host, host

CHECK = "defects"
VACANCIES, SUBSTITUTIONS = "vacancy energies", "substitution energies"


def defects(
    structure: str,
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
    """Formation energies of neutral vacancies and substitutions, one for each inequivalent site.

    With E₀ of the perfect supercell and chemical potentials μ (``ElementReferences``; of a crystal of one element its
    own energy per atom): vacancy of A, E(N-1) - E₀ + μ_A; B on A, E(A → B) - E₀ + μ_A - μ_B. For compounds also two
    kinds that need no μ: the vacancies of one formula unit, Σ [E(N-1) - E₀] + E(unit), and the exchange of two
    elements, [E(A → B) - E₀] + [E(B → A) - E₀], on the cheapest sites of each, far apart.

    Args:
        structure: its name.
        atoms: the crystal; anything else has no such defects and gives an empty list.
        calculator: energy and forces, and the stress if the crystal's cell is to relax.
        others: elements besides the crystal's own that are put on its sites.
        least_size_A: between opposite faces of the supercell, and so between a defect and its image.
        most_sites: inequivalent sites of each element.
        displacement_A: random displacement of all atoms at the start, a standard deviation, so that a defect is not
            held in a symmetry that it would leave; the same for every calculator.
        force_tolerance_eV_per_A: largest force that is left, at the fixed cell of the relaxed crystal.
        steps: of each relaxation at most.

    Raises:
        NoAnswerError: constraints hold the crystal.
    """
    if not is_crystal(atoms):
        return []
    require_free(atoms)
    sites, cut_short = inequivalent_sites(atoms, most_sites)
    elements = list(dict.fromkeys([*atoms.symbols, *others]))
    substitutions = [(site, by) for site in sites for by in elements if by != site.element]
    energies = _Energies(atoms, calculator, displacement_A, force_tolerance_eV_per_A, steps)
    try:
        energies.perfect = host(atoms, calculator, least_size_A=least_size_A, steps=steps)
        note = energies.perfect.note
    except NoAnswerError as error:
        energies.broken = note = f"the crystal itself: {error}"
    if cut_short:
        note += f"; only the first {most_sites} inequivalent sites of {', '.join(cut_short)}"
    found = [_vacancy(structure, energies, site, note) for site in sites]
    found += [_substitution(structure, energies, site, by, note) for site, by in substitutions]
    own = sorted(set(atoms.symbols))
    if len(own) > 1:
        found.append(_formula_unit(structure, energies, sites, note))
        found += [_exchange(structure, energies, sites, pair, note) for pair in combinations(own, 2)]
    return found


class _Energies:
    """Energies of defects against the perfect supercell, which is set when known; each is calculated once."""

    def __init__(
        self, crystal: Atoms, calculator: Calculator, displacement_A: float, force_tolerance_eV_per_A: float, steps: int
    ) -> None:
        self.crystal = crystal
        self.perfect: Host | None = None
        self.broken = ""
        self._single_element = len(set(crystal.symbols)) == 1
        self._references = ElementReferences(calculator, steps=steps, spin="spin" in crystal.info)
        self._calculator, self._displacement_A = calculator, displacement_A
        self._max_force, self._steps = force_tolerance_eV_per_A, steps
        self._known = Remembered()

    @property
    def host(self) -> Host:
        """The perfect supercell.

        Raises:
            NoAnswerError: there is none, and why.
        """
        if self.perfect is None:
            raise NoAnswerError(self.broken)
        return self.perfect

    def potential(self, element: str) -> float:
        """Chemical potential."""
        if self._is_itself(element):
            return self.host.energy_eV_per_atom
        return self._references.energy_eV(element)

    def named(self, element: str) -> str:
        """Where the chemical potential comes from."""
        return "the crystal itself" if self._is_itself(element) else f"the {reference_name(element)}"

    def _is_itself(self, element: str) -> bool:
        return self._single_element and element in self.crystal.symbols

    def vacancy(self, site: Site) -> float:
        """E(N-1) - E₀."""

        def remove(atoms: Atoms) -> None:
            del atoms[site.index]

        return self._known.get((site, None), lambda: self._difference(remove))

    def substitution(self, site: Site, by: str) -> float:
        """E(A → B) - E₀."""

        def exchange(atoms: Atoms) -> None:
            atoms.symbols[site.index] = by

        return self._known.get((site, by), lambda: self._difference(exchange))

    def _difference(self, change: Callable[[Atoms], None]) -> float:
        start = self.host.atoms.copy()
        change(start)
        start.positions += np.random.default_rng(0).normal(0.0, self._displacement_A, start.positions.shape)
        found = minimum(start, self._calculator, force_tolerance_eV_per_A=self._max_force, steps=self._steps)
        return found.energy_eV - self.host.energy_eV


def _vacancy(structure: str, energies: _Energies, site: Site, note: str) -> Quantity:
    return measured(
        CHECK,
        structure,
        f"vacancy of {site.name}",
        "eV",
        lambda: energies.vacancy(site) + energies.potential(site.element),
        order_group=VACANCIES,
        note=f"{note}; {site.element} against {energies.named(site.element)}",
    )


def _substitution(structure: str, energies: _Energies, site: Site, by: str, note: str) -> Quantity:
    potential = energies.potential
    return measured(
        CHECK,
        structure,
        f"{by} on {site.name}",
        "eV",
        lambda: energies.substitution(site, by) + potential(site.element) - potential(by),
        order_group=SUBSTITUTIONS,
        note=f"{note}; {by} against {energies.named(by)}, {site.element} against {energies.named(site.element)}",
    )


def _formula_unit(structure: str, energies: _Energies, sites: Sequence[Site], note: str) -> Quantity:
    """Schottky's combination: a formula unit taken out atom by atom, and put back as crystal."""
    unit, _ = energies.crystal.symbols.formula.reduce()

    def energy() -> float:
        cheapest = {
            element: min(energies.vacancy(site) for site in sites if site.element == element) for element in unit
        }
        of_unit = energies.host.energy_eV_per_atom * len(unit)
        return float(sum(count * cheapest[element] for element, count in unit.count().items()) + of_unit)

    return measured(CHECK, structure, f"vacancies of one {unit.format('metal')}", "eV", energy, note=note)


def _exchange(structure: str, energies: _Energies, sites: Sequence[Site], pair: tuple[str, str], note: str) -> Quantity:
    """Antisite pair of two of the crystal's own elements."""

    def energy() -> float:
        first, second = pair
        return sum(
            min(energies.substitution(site, by) for site in sites if site.element == element)
            for element, by in ((first, second), (second, first))
        )

    return measured(CHECK, structure, f"exchange of {pair[0]} and {pair[1]}", "eV", energy, note=note)
