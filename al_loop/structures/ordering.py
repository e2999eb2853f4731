"""Ordered cells of a disordered crystal, distinct by symmetry, the lowest electrostatic energy first."""

import itertools
from collections import defaultdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files.readers.isotopes import split_isotopes
from al_loop.utils.foreign_input import reading

if TYPE_CHECKING:
    from pymatgen.core.structure import Structure

DRAWS: Final = 400  # for each requested cell, up to MOST_DRAWS
MOST_DRAWS: Final = 4000
ROUNDING: Final = 0.005  # of the occupancies in a file
MOST_ROUNDED: Final = 0.1  # largest deviation of a number of atoms from a whole number
MOST_CELLS: Final = 24  # of a suggested supercell
TOO_CLOSE: Final = 0.75  # of the sum of covalent radii: only one of two such sites can be occupied
SMALLEST_A3, LARGEST_A3 = 0.1, 1000.0  # of the volume for each site of a crystal, partly occupied ones counted
SAME_ENERGY: Final = 1e-5
VACANT: Final = ""

Array = NDArray[np.float64]


def ordered_cells(path: Path, supercell: tuple[int, int, int], number: int) -> list[Atoms]:
    """Make a number of ordered cells of a disordered CIF, repeated first; the result is reproducible.

    Atoms are placed at random on the sites of the supercell by its occupancies, never two on sites that are too close.
    Of symmetry-equivalent cells one is kept. If pymatgen finds oxidation states, the cells with the lowest
    electrostatic energy come first; otherwise they are a random choice.

    Raises:
        InputError: the file is no CIF or an ordered one, pymatgen is missing, the occupancies give no whole atoms in
            this supercell (with one that does), or there are too few distinct cells. It begins with the system's key.
    """
    known = path.stat()
    cells = _ordered_cells(path, known.st_mtime_ns, known.st_size, supercell, number)
    return [atoms.copy() for atoms in cells]


@lru_cache(maxsize=16)
def _ordered_cells(
    path: Path, _modified_ns: int, _size: int, supercell: tuple[int, int, int], number: int
) -> tuple[Atoms, ...]:
    structure = _read(path)
    if structure.is_ordered:
        raise InputError(f"ordered: received {number}, but {path.name} is ordered; remove the key")
    groups = _groups(structure)
    cells = int(np.prod(supercell))
    if not _whole(groups, cells):
        raise InputError(_larger(path, groups, supercell))
    charges = _oxidation_states(structure)
    repeated = structure.make_supercell(supercell, in_place=False)
    found = _drawn(repeated, [(sites, _counts(sites, shares)) for sites, shares in _groups(repeated)], charges, number)
    if len(found) < number:
        raise InputError(
            f"ordered: received {number}, but {path.name} has only {len(found)} different ordered cell(s) in a "
            f"supercell {list(supercell)}; set that number, or a larger supercell"
        )
    return tuple(_atoms(repeated, symbols) for symbols in found[:number])


def _read(path: Path) -> "Structure":
    if path.suffix.lower() != ".cif":
        raise InputError(f"ordered: received {path.name}, expected a CIF; occupancies are read from CIF files only")
    try:
        from pymatgen.io.cif import CifParser
    except ImportError as error:
        raise InputError(
            "ordered: pymatgen is not installed, which reads disordered crystals; install it with: pip install "
            '"al-loop[validation]"'
        ) from error
    import warnings

    with (
        reading(f"file: {path}", "check that it is a complete CIF"),
        warnings.catch_warnings(action="ignore"),  # on rounding and on charges
    ):
        structure = CifParser(path).parse_structures(primitive=False)[-1]
        volume_A3 = structure.volume / len(structure)
        if not SMALLEST_A3 < volume_A3 < LARGEST_A3:  # a wrong cell, for which Ewald sums would not end
            raise InputError(
                f"file: {path} has a cell of {volume_A3:.3g} Å³ for each site, expected {SMALLEST_A3:g} to "
                f"{LARGEST_A3:g} Å³; correct its cell"
            )
    return structure


def _groups(structure: "Structure") -> list[tuple[list[int], dict[str, float]]]:
    """Sites by their occupancies."""
    groups: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for index, site in enumerate(structure):
        shares: dict[str, float] = defaultdict(float)
        for species, share in site.species.items():
            shares[species.symbol] += float(share)
        groups.setdefault(tuple(sorted((symbol, round(x, 6)) for symbol, x in shares.items())), []).append(index)
    return [(sites, dict(shares)) for shares, sites in groups.items()]


def _whole(groups: list[tuple[list[int], dict[str, float]]], cells: int) -> bool:
    """Whether so many cells hold a whole number of atoms of each element on each kind of site."""
    for sites, shares in groups:
        atoms = np.array(list(shares.values())) * len(sites) * cells
        if (np.abs(atoms - atoms.round()) > min(MOST_ROUNDED, ROUNDING * len(sites) * cells)).any():
            return False
    return True


def _counts(sites: list[int], shares: dict[str, float]) -> dict[str, int]:
    return {symbol: round(share * len(sites)) for symbol, share in shares.items()}


def _larger(path: Path, groups: list[tuple[list[int], dict[str, float]]], supercell: tuple[int, int, int]) -> str:
    """Message with the counts that are no whole numbers, and the smallest, most cubic supercell in which all are."""
    cells = int(np.prod(supercell))
    odd = [
        f"{share * len(sites) * cells:.4g} {symbol}"
        for sites, shares in groups
        for symbol, share in shares.items()
        if not _whole([(sites, {symbol: share})], cells)
    ]
    repeats = [
        candidate
        for candidate in itertools.product(range(1, MOST_CELLS + 1), repeat=3)
        if np.prod(candidate) <= MOST_CELLS and _whole(groups, int(np.prod(candidate)))
    ]
    best = min(repeats, key=lambda r: (np.prod(r), max(r), [-x for x in r]), default=None)
    remedy = "round the occupancies in the file" if best is None else f"use supercell: {list(best)}"
    return (
        f"supercell: received {list(supercell)}, in which {path.name} would hold {', '.join(odd)} on its disordered "
        f"sites, expected whole atoms; {remedy}"
    )


def _oxidation_states(structure: "Structure") -> dict[str, float]:
    """The oxidation state of each element by pymatgen's guess; empty for an alloy and where it finds none."""
    try:
        guesses = structure.composition.oxi_state_guesses(max_sites=-1)
    except ValueError:  # occupancies that make no small formula
        return {}
    return dict(guesses[0]) if guesses and any(guesses[0].values()) else {}


def _drawn(
    structure: "Structure", groups: list[tuple[list[int], dict[str, int]]], charges: dict[str, float], number: int
) -> list[list[str]]:
    """Symbols of distinct ordered cells, by electrostatic energy if there are charges."""
    elements = sorted({symbol for _, counts in groups for symbol in counts})
    interactions = _interactions(structure)
    unlike = {symbol: float(np.sqrt(2 + 3 * place)) for place, symbol in enumerate(elements)} | {VACANT: 0.0}
    blocked = _blocked(structure)
    rng = np.random.default_rng(0)
    found: dict[float, tuple[float, list[str]]] = {}
    scale = float(np.abs(interactions).max()) * len(structure)
    for _ in range(min(MOST_DRAWS, DRAWS * number)):
        symbols = _one_draw(len(structure), groups, blocked, rng)
        if symbols is None:
            continue
        weights = np.array([unlike[symbol] for symbol in symbols])
        fingerprint = round(float(weights @ interactions @ weights) / scale / SAME_ENERGY)  # symmetry-invariant
        if fingerprint not in found:
            states = np.array([charges.get(symbol, 0.0) for symbol in symbols])
            found[fingerprint] = (float(states @ interactions @ states), symbols)
            if not charges and len(found) == number:
                break
    ranked = list(found.values())
    if charges:
        ranked.sort(key=lambda one: one[0])
    return [symbols for _, symbols in ranked]


def _interactions(structure: "Structure") -> Array:
    """Electrostatic energies (n, n) between unit charges on all sites."""
    from pymatgen.analysis.ewald import EwaldSummation
    from pymatgen.core.structure import Structure

    bare = Structure(structure.lattice, ["H+"] * len(structure), structure.frac_coords)
    matrix: Any = EwaldSummation(bare).total_energy_matrix
    return np.asarray(matrix, dtype=np.float64)


def _blocked(structure: "Structure") -> list[set[int]]:
    """For each site the others that cannot be occupied together with it."""
    distances = structure.distance_matrix
    radii = [min(covalent_radii[atomic_numbers[_plain(s.symbol)]] for s in site.species) for site in structure]
    close = distances < TOO_CLOSE * np.add.outer(radii, radii)
    np.fill_diagonal(close, val=False)
    return [set(np.flatnonzero(row).tolist()) for row in close]


def _one_draw(
    sites: int, groups: list[tuple[list[int], dict[str, int]]], blocked: list[set[int]], rng: np.random.Generator
) -> list[str] | None:
    """Symbols on all sites, None if a random placement left no room; fully occupied groups come first."""
    symbols = [VACANT] * sites
    for group_sites, counts in sorted(groups, key=lambda one: len(one[0]) - sum(one[1].values())):
        free = [int(index) for index in rng.permutation(group_sites)]
        for symbol, count in counts.items():
            for _ in range(count):
                place = next((i for i in free if not any(symbols[other] for other in blocked[i])), None)
                if place is None:
                    return None
                free.remove(place)
                symbols[place] = symbol
    return symbols


def _atoms(structure: "Structure", symbols: list[str]) -> Atoms:
    held = [index for index, symbol in enumerate(symbols) if symbol]
    plain, masses = split_isotopes(symbols[index] for index in held)
    return Atoms(plain, structure.cart_coords[held], cell=structure.lattice.matrix, pbc=True, masses=masses)


def _plain(symbol: str) -> str:
    return split_isotopes([symbol])[0][0]
