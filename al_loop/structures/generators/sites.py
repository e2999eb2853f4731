"""Vacancies and substitutions at random sites."""

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from al_loop.config.generator_settings import SubstitutionSettings, VacancySettings
from al_loop.errors import InputError
from al_loop.frames.constraints.building import without


def vacancy(settings: VacancySettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Remove atoms of one element.

    Raises:
        InputError: there are too few atoms of the element, none is left, or constraints cannot be kept.
    """
    chosen = _sites(atoms, settings.element, settings.count, rng)
    if len(chosen) == len(atoms):
        raise InputError(f"removes all {len(atoms)} atoms; lower count or use a larger cell")
    return without(atoms, chosen)


def substitution(settings: SubstitutionSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Exchange atoms of one element for another.

    Raises:
        InputError: there are too few atoms of the element.
    """
    changed = atoms.copy()
    symbols = np.array(changed.get_chemical_symbols(), dtype=object)
    sites = _sites(atoms, settings.element, settings.count, rng)
    symbols[sites] = settings.by
    changed.set_chemical_symbols(symbols.tolist())
    if changed.has("masses"):  # the others keep their own: isotopes
        changed.arrays["masses"][sites] = atomic_masses[atomic_numbers[settings.by]]
    return changed


def _sites(atoms: Atoms, element: str, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    sites = np.flatnonzero(np.array(atoms.get_chemical_symbols()) == element)
    if len(sites) < count:
        raise InputError(
            f"requires {count} {'atom' if count == 1 else 'atoms'} of {element}, but the structure"
            f" {atoms.get_chemical_formula()} holds {len(sites)}"
        )
    return np.sort(rng.choice(sites, size=count, replace=False))
