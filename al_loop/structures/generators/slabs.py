"""Slabs cut from a bulk, and interfaces of two slabs."""

import numpy as np
from ase import Atoms, build
from ase.build import add_vacuum, stack

from al_loop.config.generator_settings import InterfaceSettings, SurfaceSettings
from al_loop.errors import InputError
from al_loop.files.structures import read_structure
from al_loop.frames.constraints.building import behind, refuse_anchored, refuse_any, repeated, resolved, with_fixed
from al_loop.structures.generators.cells import check_size
from dft_interfaces.geometry.vacuum import vacuum_axes

NORMAL = 1e-3  # largest cosine between a slab's plane and its third lattice vector


def surface(settings: SurfaceSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:  # noqa: ARG001
    """Cut a slab with vacuum on both sides, normal along z, and its lowest ``fixed_layers`` layers fixed.

    Raises:
        InputError: as for ``cut``.
    """
    slab = cut(atoms, settings.miller, settings.layers)
    if settings.fixed_layers:  # the atoms are sorted by layer, the lowest first
        with_fixed(slab, np.arange(len(slab)) < settings.fixed_layers * len(slab) // settings.layers)
    slab.center(vacuum=settings.vacuum_A, axis=2)
    slab.pbc = (True, True, settings.periodic)
    check_size(len(slab), *settings.repeats)
    return slab.repeat((*settings.repeats, 1))


def cut(bulk: Atoms, miller: tuple[int, int, int], layers: int) -> Atoms:
    """Cut a slab without vacuum, its normal along z.

    Raises:
        InputError: the structure is no bulk or has constraints, or the slab would have more atoms than can be explored.
    """
    refuse_any(
        bulk,
        f"the bulk {bulk.get_chemical_formula()}",
        "which a slab that is cut from it cannot keep (fixed_layers of the surface generator fixes layers of the slab)",
    )
    empty = vacuum_axes(bulk)
    if empty:
        raise InputError(
            f"cuts a bulk, but the structure {bulk.get_chemical_formula()} is not periodic, or holds vacuum, along"
            f" {', '.join(empty)}; start from the conventional cell of the crystal"
        )
    check_size(len(bulk), layers)
    return build.surface(bulk, miller, layers, periodic=True)


def interface(settings: InterfaceSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:  # noqa: ARG001
    """Put the other slab on this one, with the same gap at the interface and at its periodic image.

    Raises:
        InputError: the other file cannot be read, one of both is no slab, or their lattices do not match.
    """
    other = read_structure(settings.file)
    if settings.miller is not None:
        other = cut(other, settings.miller, settings.layers)
    return join(
        atoms,
        other,
        names=("this structure", settings.file.name),
        repeats=settings.repeats,
        gap_A=settings.gap_A,
        vacuum_A=settings.vacuum_A,
        max_mismatch=settings.max_mismatch,
    )


def join(
    lower: Atoms,
    other: Atoms,
    *,
    names: tuple[str, str],
    repeats: tuple[int, int] = (1, 1),
    gap_A: float = 2.5,
    vacuum_A: float = 0.0,
    max_mismatch: float = 0.1,
) -> Atoms:
    """Put a slab on another one and strain it to the lattice of that one; both keep their constraints.

    Args:
        lower: the lower slab, whose atoms come first.
        other: the upper slab, strained.
        names: of both, for messages.
        repeats: of the upper slab in the plane.
        gap_A: between the outermost atoms of both, also at the periodic image.
        vacuum_A: additional vacuum above the upper slab.
        max_mismatch: largest deformation of the upper slab's lattice vectors, a fraction.

    Raises:
        InputError: one of both is no slab, their lattices do not match, or constraints cannot be kept.
    """
    for name, slab in zip(names, (lower, other), strict=True):
        _check_slab(name, slab)
    refuse_anchored(lower)
    below, above = lower.copy(), repeated(resolved(other.copy()), (*repeats, 1))
    for slab in (below, above):
        slab.center(vacuum=gap_A / 2, axis=2)
    _check_match(below, above, max_mismatch)
    joined = stack(below, above, axis=2, fix=0, maxstrain=None)
    joined.set_constraint([*lower.constraints, *behind(above.constraints, len(below), names[1])])
    joined.pbc = True
    if vacuum_A > 0:
        add_vacuum(joined, vacuum_A)
    return joined


def _check_slab(name: str, slab: Atoms) -> None:
    plane, normal = slab.cell.array[:2], slab.cell.array[2]
    size = np.linalg.norm(plane, axis=1) * max(float(np.linalg.norm(normal)), 1e-12)
    if not slab.pbc[:2].all() or (np.abs(plane @ normal) > NORMAL * size).any() or np.abs(plane[:, 2]).max() > NORMAL:
        raise InputError(
            f"{name} is no slab with its normal along z (periodic along a and b, c perpendicular to both); cut it first"
            " with a surface generator, or with the interface's miller"
        )


def _check_match(lower: Atoms, upper: Atoms, max_mismatch: float) -> None:
    target, given = lower.cell.array[:2], upper.cell.array[:2]
    mismatch = float((np.linalg.norm(given - target, axis=1) / np.linalg.norm(given, axis=1)).max())
    if mismatch <= max_mismatch:
        return
    lengths = [" x ".join(f"{x:.2f}" for x in np.linalg.norm(cell, axis=1)) for cell in (target, given)]
    raise InputError(
        f"the lattices in the plane do not match: {lengths[0]} Å below and {lengths[1]} Å above differ by"
        f" {mismatch:.0%}, at most {max_mismatch:.0%} is allowed (max_mismatch); repeat or rotate one of them"
    )
