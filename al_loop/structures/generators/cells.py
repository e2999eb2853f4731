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
