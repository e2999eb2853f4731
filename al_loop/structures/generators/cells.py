"""Rattled, strained and repeated structures, vacancies and substitutions."""

import math

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from al_loop.config.generator_settings import (
    RattleSettings,
    StrainSettings,
    SubstitutionSettings,
    SupercellSettings,
    VacancySettings,
)
from al_loop.errors import InputError
from al_loop.frames.constraints.building import refuse_anchored, repeated, without
from al_loop.frames.constraints.motion import displaced
from dft_interfaces.geometry.vacuum import vacuum_axes

MOST_ATOMS = 100_000  # far above what a foundation can run on one machine


def check_size(atoms: int, *repeats: int) -> None:
    """Check that a structure of so many atoms can be repeated so often in each direction.

    Raises:
        InputError: the result would have more than ``MOST_ATOMS`` atoms.
    """
    total = atoms * math.prod(repeats)
    if total > MOST_ATOMS:
        raise InputError(
            f"repeating {atoms} atoms {' x '.join(map(str, repeats))} times would make {total:,} atoms, at most "
            f"{MOST_ATOMS:,} can be explored; lower the repeats"
        )


def rattle(settings: RattleSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Displace every coordinate at random, as far as constraints allow.

    Raises:
        InputError: the displacement is too large for bonds of fixed length.
    """
    return displaced(atoms, rng.normal(0.0, settings.displacement_A, atoms.positions.shape))


def strain(settings: StrainSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:  # noqa: ARG001
    """Deform cell and atoms: every lattice vector a becomes (1 + ε) a; fixed atoms are moved with the cell.

    Raises:
        InputError: the strain stretches a direction that is not periodic or holds vacuum, or an atom is restrained to
            a point or plane.
    """
    refuse_anchored(atoms)
    tensor = settings.isotropic * np.eye(3) + voigt_6_to_full_3x3_stress(np.array(settings.components))
    stretched = np.abs(atoms.cell.complete().array @ tensor).max(axis=1) > 0
    wrong = [axis for axis in vacuum_axes(atoms) if stretched["abc".index(axis)]]
    if wrong:
        raise InputError(
            f"strains the direction {', '.join(wrong)}, which is not periodic or holds vacuum; a molecule has no cell"
            " to strain, and a slab only the components xx, yy, xy of its plane"
        )
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array @ (np.eye(3) + tensor), apply_constraint=False)
    strained.positions = atoms.positions @ (np.eye(3) + tensor)
    return strained


def supercell(settings: SupercellSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:  # noqa: ARG001
    """Repeat the cell.

    Raises:
        InputError: a repeated direction is not periodic, there are more atoms than can be explored, or constraints
            cannot be repeated.
    """
    wrong = [axis for axis, n, pbc in zip("abc", settings.repeats, atoms.pbc, strict=True) if n > 1 and not pbc]
    if wrong:
        raise InputError(f"repeats {list(settings.repeats)}: the structure is not periodic along {', '.join(wrong)}")
    check_size(len(atoms), *settings.repeats)
    return repeated(atoms, settings.repeats)


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
