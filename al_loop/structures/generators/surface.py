"""Slabs cut from a bulk."""

import numpy as np
from ase import Atoms, build

from al_loop.config.generator_settings import SurfaceSettings
from al_loop.errors import InputError
from al_loop.frames.constraints.building import refuse_any, with_fixed
from al_loop.structures.generators.size import check_size
from dft_interfaces.geometry.vacuum import vacuum_axes


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
