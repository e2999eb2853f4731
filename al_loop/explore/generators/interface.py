"""Interfaces of two slabs."""

import numpy as np
from ase import Atoms
from ase.build import add_vacuum, stack

from al_loop.config.generator_settings import InterfaceSettings
from al_loop.config.structure_file import read_structure
from al_loop.errors import InputError
from al_loop.explore.generators.surface import cut

NORMAL = 1e-3  # largest cosine between a slab's plane and its third lattice vector


def interface(settings: InterfaceSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:  # noqa: ARG001
    """Put the other slab on this one, with the same gap at the interface and at its periodic image.

    Raises:
        InputError: the other file cannot be read, one of the two is no slab, or their lattices do not match.
    """
    other = read_structure(settings.file)
    if settings.miller is not None:
        other = cut(other, settings.miller, settings.layers)
    _check_slab("this structure", atoms)
    _check_slab(settings.file.name, other)
    other = other.repeat((*settings.repeats, 1))
    lower, upper = atoms.copy(), other
    for slab in (lower, upper):
        slab.center(vacuum=settings.gap_A / 2, axis=2)
    _check_match(lower, upper, settings)
    joined = stack(lower, upper, axis=2, fix=0, maxstrain=None)
    joined.pbc = True
    if settings.vacuum_A > 0:
        add_vacuum(joined, settings.vacuum_A)
    return joined


def _check_slab(name: str, slab: Atoms) -> None:
    plane, normal = slab.cell.array[:2], slab.cell.array[2]
    size = np.linalg.norm(plane, axis=1) * max(float(np.linalg.norm(normal)), 1e-12)
    if not slab.pbc[:2].all() or (np.abs(plane @ normal) > NORMAL * size).any() or np.abs(plane[:, 2]).max() > NORMAL:
        raise InputError(
            f"{name} is no slab with its normal along z (periodic along a and b, c perpendicular to both); cut it first"
            " with a surface generator, or with the interface's miller"
        )


def _check_match(lower: Atoms, upper: Atoms, settings: InterfaceSettings) -> None:
    wanted, given = lower.cell.array[:2], upper.cell.array[:2]
    mismatch = float((np.linalg.norm(given - wanted, axis=1) / np.linalg.norm(given, axis=1)).max())
    if mismatch <= settings.max_mismatch:
        return
    lengths = [" x ".join(f"{x:.2f}" for x in np.linalg.norm(cell, axis=1)) for cell in (wanted, given)]
    raise InputError(
        f"the lattices in the plane do not match: {lengths[0]} Å below and {lengths[1]} Å above differ by"
        f" {mismatch:.0%}, at most {settings.max_mismatch:.0%} is allowed (max_mismatch); repeat or turn one of them"
    )
