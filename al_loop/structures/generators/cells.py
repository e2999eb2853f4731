"""Rattled, strained and repeated structures."""

import numpy as np
from ase import Atoms
from ase.stress import voigt_6_to_full_3x3_stress

from al_loop.config.generator_settings import RattleSettings, StrainSettings, SupercellSettings
from al_loop.errors import InputError
from al_loop.frames.constraints.building import refuse_anchored, repeated
from al_loop.frames.constraints.motion import displaced
from al_loop.structures.generators.size import check_size
from dft_interfaces.geometry.vacuum import vacuum_axes


def rattle(settings: RattleSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Displace every coordinate at random, as far as constraints let it.

    Raises:
        InputError: bonds of fixed length cannot be kept in so large a displacement.
    """
    return displaced(atoms, rng.normal(0.0, settings.displacement_A, atoms.positions.shape))


def strain(settings: StrainSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:  # noqa: ARG001
    """Deform cell and atoms: every lattice vector a becomes (1 + ε) a; what is fixed is so where it comes to be.

    Raises:
        InputError: the strain stretches a direction that is not periodic or holds vacuum, or an atom is tied to a
            place.
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
        InputError: repeated along a direction that is not periodic, to more atoms than can be explored, or with
            constraints that cannot be repeated.
    """
    wrong = [axis for axis, n, pbc in zip("abc", settings.repeats, atoms.pbc, strict=True) if n > 1 and not pbc]
    if wrong:
        raise InputError(f"repeats {list(settings.repeats)}: the structure is not periodic along {', '.join(wrong)}")
    check_size(len(atoms), *settings.repeats)
    return repeated(atoms, settings.repeats)
