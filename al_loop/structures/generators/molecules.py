"""Molecules in a box and on surfaces."""

import numpy as np
from ase import Atoms
from ase.build import add_adsorbate, molecule
from ase.data import chemical_symbols
from ase.geometry import get_distances
from scipy.spatial.transform import Rotation

from al_loop.config.generator_settings import AdsorbateSettings, BoxSettings
from al_loop.errors import InputError
from al_loop.files.structures import read_structure
from al_loop.frames.constraints.building import refuse_anchored, refuse_any
from dft_interfaces.geometry.vacuum import gaps_A

TRIES = 200  # random places of one copy
ROOM_A = 3.0  # between a molecule and the periodic image of the slab above it
TOO_CLOSE_A = 0.7


def box(settings: BoxSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Put a molecule in the middle of a cubic box, or several copies at random places and orientations.

    Raises:
        InputError: the structure is periodic, the box is too small, or constraints cannot be kept.
    """
    if atoms.pbc.any():
        raise InputError("the structure is periodic; a box is for a molecule without a cell")
    span = float(np.ptp(atoms.positions, axis=0).max())
    if span + settings.min_distance_A > settings.edge_A:
        raise InputError(
            f"edge_A: received {settings.edge_A:g}, but the molecule spans {span:.1f} Å and needs"
            f" {span + settings.min_distance_A:.1f} Å"
        )
    cell = np.full(3, settings.edge_A)
    if settings.copies == 1:
        refuse_anchored(atoms)
        placed = atoms.copy()
        placed.set_cell(cell)
        placed.pbc = settings.periodic
        placed.center()
        return placed
    refuse_any(atoms, "the molecule", "which copies cannot keep when they are placed and rotated at random")
    placed = Atoms(cell=cell, pbc=settings.periodic)
    for _ in range(settings.copies):
        placed.extend(_fitting(settings, atoms, placed, rng))
    return placed


def _fitting(settings: BoxSettings, molecule: Atoms, placed: Atoms, rng: np.random.Generator) -> Atoms:
    shape = molecule.positions - molecule.positions.mean(axis=0)
    for _ in range(TRIES):
        rotated = Rotation.random(rng=rng).apply(shape)
        low, high = (0.0, settings.edge_A) if settings.periodic else (-rotated.min(0), settings.edge_A - rotated.max(0))
        copy = molecule.copy()
        copy.positions = rotated + rng.uniform(low, high, 3)
        if not len(placed) or _apart(copy, placed) >= settings.min_distance_A:
            return copy
    raise InputError(
        f"{settings.copies} copies do not fit into a box of {settings.edge_A:g} Å with {settings.min_distance_A:g} Å"
        " between them; enlarge edge_A, or lower copies or min_distance_A"
    )


def _apart(copy: Atoms, placed: Atoms) -> float:
    return float(get_distances(copy.positions, placed.positions, cell=placed.cell, pbc=placed.pbc)[1].min())


def adsorbate(settings: AdsorbateSettings, atoms: Atoms, rng: np.random.Generator) -> Atoms:  # noqa: ARG001
    """Put a molecule above a slab, its anchor lowest; the slab keeps its constraints.

    Raises:
        InputError: the molecule or its anchor does not exist or has constraints, the structure is no slab, or there is
            too little room above it.
    """
    adsorbed = _molecule(settings)
    if settings.anchor >= len(adsorbed):
        raise InputError(
            f"anchor: received {settings.anchor}, but the molecule {adsorbed.get_chemical_formula()} has the atoms 0 to"
            f" {len(adsorbed) - 1}"
        )
    if not atoms.pbc[:2].all() or np.abs(atoms.cell.array[:2, 2]).max() > 1e-3:  # noqa: PLR2004
        raise InputError("the structure is no slab that is periodic along x and y; cut one with a surface generator")
    _point_upwards(adsorbed, settings.anchor)
    height = settings.height_A + float(np.ptp(adsorbed.positions[:, 2]))
    room = gaps_A(atoms)[2]
    if atoms.pbc[2] and room < height + ROOM_A:
        raise InputError(
            f"needs {height + ROOM_A:.1f} Å of vacuum above the slab, which has {room:.1f} Å; raise the surface's"
            " vacuum_A"
        )
    covered = atoms.copy()
    covered.info = {}
    top = covered.positions[covered.positions[:, 2].argmax(), :2]
    position = top if settings.position is None else np.array(settings.position) @ covered.cell.array[:2, :2]
    add_adsorbate(covered, adsorbed, settings.height_A, position=tuple(position), mol_index=settings.anchor)
    _check_apart(covered, len(atoms))
    return covered


def _molecule(settings: AdsorbateSettings) -> Atoms:
    if settings.file is not None:
        read = read_structure(settings.file)
        refuse_any(read, f"the molecule in {settings.file}", "which it cannot keep when it is placed and rotated")
        return Atoms(read.numbers, read.positions, masses=read.get_masses() if read.has("masses") else None)
    name = settings.molecule or ""
    if name in chemical_symbols[1:]:
        return Atoms(name)
    try:
        named = molecule(name)
    except KeyError as error:
        raise InputError(
            f"molecule: {name!r} is neither an element nor in ASE's g2 collection (CO, H2O, CH3OH, ...); use file"
        ) from error
    return Atoms(named.numbers, named.positions)


def _point_upwards(adsorbed: Atoms, anchor: int) -> None:
    """Rotate the molecule so that its centre is above the anchor."""
    direction = adsorbed.positions.mean(axis=0) - adsorbed.positions[anchor]
    if np.linalg.norm(direction) > 1e-3:  # noqa: PLR2004
        adsorbed.rotate(direction, (0, 0, 1), center=adsorbed.positions[anchor])


def _check_apart(covered: Atoms, n_slab: int) -> None:
    slab, molecule_ = covered.positions[:n_slab], covered.positions[n_slab:]
    nearest = float(get_distances(molecule_, slab, cell=covered.cell, pbc=covered.pbc)[1].min())
    if nearest < TOO_CLOSE_A:
        raise InputError(f"the molecule comes within {nearest:.2f} Å of the slab; raise height_A or change the anchor")
