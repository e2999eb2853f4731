"""Detect disorder in a file: partially occupied sites, and atoms that share a site."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.utils.foreign_input import reading

FULL = 0.99  # refined occupancies of full sites scatter about 1
SAME_SITE_A = 0.05  # what is farther apart is another site, of which both cannot be full
MOST_NAMED = 6

REMEDY = (
    "Models and DFT need whole atoms: give an ordered cell, or set ordered: N in a campaign's system, which makes N "
    "ordered cells of a CIF through pymatgen"
)


@dataclass(frozen=True)
class Site:
    """One entry of a CIF's list of sites.

    Attributes:
        label: as the file names it.
        symbol: element.
        fractional: (3,) coordinates.
        occupancy: 1 where the file states none.
        group: of disorder, where the file states no occupancies; empty for none.
    """

    label: str
    symbol: str
    fractional: NDArray[np.float64]
    occupancy: float
    group: str


def refuse_partial_occupancies(atoms: Atoms, where: str) -> None:
    """Refuse a frame whose per-atom occupancies, as PDB files have them, are partial.

    A column of zeros only, which some programs write, counts as not stated.

    Raises:
        InputError: naming the atoms.
    """
    for name in ("occupancy", "occupancies"):
        values = atoms.arrays.get(name)
        if values is None or values.dtype.kind not in "iuf" or values.shape != (len(atoms),) or not values.any():
            continue
        partial = np.flatnonzero(~((values >= FULL) & (values <= 2 - FULL)))
        if len(partial):
            named = [f"atom {index} ({atoms.symbols[index]}): {values[index]:g}" for index in partial.tolist()]
            raise InputError(f"{where} is disordered: partial occupancies at {_listed(named)}. {REMEDY}")


def cif_disorder(path: Path) -> list[str]:
    """Return what makes the structures of a CIF disordered, one entry for each site or pair of sites.

    ASE keeps one of several atoms that share a site, and silently drops the others; hence the file's own list.
    """
    from ase.io.cif import parse_cif

    found = []
    for block in parse_cif(str(path)):
        if not block.has_structure():
            continue
        sites = _sites(block)
        found += _disorder_of(sites, _copies(block, sites), block.get_cell().array)
    return found


def refuse_disorder(path: Path) -> None:
    """Raise for a CIF with partial occupancies or atoms that share a site; other files pass.

    Raises:
        InputError: naming the sites.
    """
    if path.suffix.lower() not in (".cif", ".mcif"):
        return
    with reading(f"structure file {path}", "check that it is a complete CIF"):
        found = cif_disorder(path)
    if found:
        raise InputError(f"{path} is disordered: {_listed(found)}. {REMEDY}")


def _disorder_of(sites: list[Site], copies: list[NDArray[np.float64]], cell: NDArray[np.float64]) -> list[str]:
    """Merge sites at one position; a full site holds one element with occupancies that add up to 1."""
    found: list[str] = []
    left = list(range(len(sites)))
    while left:
        first = left.pop(0)
        together = [first, *(other for other in left if _apart_A(sites[first], copies[other], cell) < SAME_SITE_A)]
        left = [index for index in left if index not in together]
        members = [sites[index] for index in together]
        total = sum(site.occupancy for site in members)
        if len({site.symbol for site in members}) > 1 or not FULL <= total <= 2 - FULL:
            place = ", ".join(f"{x:.4g}" for x in sites[first].fractional)
            held = ", ".join(f"{site.symbol} {site.occupancy:g} ({site.label})" for site in members)
            found.append(f"site ({place}) holds {held}")
        elif members[0].group:
            found.append(f"site {members[0].label} ({members[0].symbol}) is of disorder group {members[0].group}")
    return found


def _sites(block: Any) -> list[Site]:
    symbols = block.get_symbols()
    labels = block.get("_atom_site_label") or symbols
    occupancies = block.get("_atom_site_occupancy") or [1.0] * len(symbols)
    groups = [""] * len(symbols)
    if "_atom_site_occupancy" not in block:  # which otherwise says what the groups mean
        groups = block.get("_atom_site_disorder_group") or groups
    fractional = _fractional(block)
    return [
        Site(str(label), symbol, place, _occupancy(occupancy), "" if str(group) in ("", ".", "?", "0") else str(group))
        for label, symbol, place, occupancy, group in zip(labels, symbols, fractional, occupancies, groups, strict=True)
    ]


def _fractional(block: Any) -> NDArray[np.float64]:
    for kind in ("fract", "cartn"):
        columns = [block.get(f"_atom_site_{kind}_{axis}") for axis in "xyz"]
        if all(column is not None for column in columns):
            places = np.array(columns, dtype=np.float64).T
            return places if kind == "fract" else np.linalg.solve(block.get_cell().array.T, places.T).T
    return np.zeros((0, 3))


def _occupancy(value: float | str) -> float:
    return 1.0 if isinstance(value, str) else float(value)  # "?" and "." state none


def _copies(block: Any, sites: list[Site]) -> list[NDArray[np.float64]]:
    """The fractional coordinates (m, 3) of each site under the symmetry of the crystal."""
    group = block.get_spacegroup(subtrans_included=True)
    return [np.asarray(group.equivalent_sites(site.fractional, onduplicates="keep")[0]) for site in sites]


def _apart_A(site: Site, copies: NDArray[np.float64], cell: NDArray[np.float64]) -> float:
    apart = copies - site.fractional
    apart -= np.round(apart)
    return float(np.linalg.norm(apart @ cell, axis=1).min())


def _listed(named: list[str]) -> str:
    shown = "; ".join(named[:MOST_NAMED])
    return shown if len(named) <= MOST_NAMED else f"{shown}; and {len(named) - MOST_NAMED} more"
