"""Isolated atoms among labelled frames: they give reference energies of elements, and are not trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii, ground_state_magnetic_moments

from al_loop.errors import InputError
from al_loop.records import Frame

CONFIG_TYPE: Final = "config_type"
ISOLATED: Final = "isolatedatom"  # IsolatedAtom, isolated_atom, ...

SMALLEST_BOX_A: Final = 6.0
BOX_PER_BOND: Final = 1.5
"""An atom whose images are further away than both, the second in lengths of a single bond, is alone in its box."""

SAME_ENERGY_EV: Final = 1e-3


@dataclass(frozen=True)
class AtomEnergies:
    """Energies of single atoms.

    Attributes:
        energies_eV: by symbol.
        where: symbol -> the frame that the energy was read from.
        notes: sentences on atoms that were used and left out.
    """

    energies_eV: Mapping[str, float] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def is_isolated_atom(atoms: Atoms, where: str) -> bool:
    """Whether a frame is a single atom without near periodic images.

    A cell of one atom whose image is near is a crystal.

    Raises:
        InputError: the frame states ``config_type=IsolatedAtom`` but is not an isolated atom.
    """
    alone = len(atoms) == 1 and nearest_image_A(atoms) > _alone_A(atoms)
    if not _says_isolated(atoms) or alone:
        return alone
    what = f"holds {len(atoms)} atoms"
    if len(atoms) == 1:
        what = f"repeats its atom every {nearest_image_A(atoms):.3g} Å, a crystal"
    raise InputError(
        f"{where} states {CONFIG_TYPE}={atoms.info[CONFIG_TYPE]} and {what}; expected one atom without periodic images "
        f"or in a box of more than {_alone_A(atoms):.3g} Å. Correct the {CONFIG_TYPE}, or the cell and pbc"
    )


def is_bare_nucleus(atoms: Atoms, where: str) -> bool:
    """Whether a frame is an isolated bare nucleus, such as H⁺, which gives no reference energy.

    Raises:
        InputError: as ``is_isolated_atom``.
    """
    alone = len(atoms) == 1 and atoms.info.get("charge") == atoms.numbers[0]
    return alone and is_isolated_atom(atoms, where)


def nearest_image_A(atoms: Atoms) -> float:
    """Distance of an atom to its nearest periodic image; infinite without one, 0 where the vectors span no lattice."""
    periodic = atoms.pbc & atoms.cell.array.any(axis=1)
    if not periodic.any():
        return float("inf")
    vectors = atoms.cell.array[periodic]
    if not np.isfinite(vectors).all() or np.linalg.matrix_rank(vectors) < len(vectors):
        return 0.0  # no lattice; what checks structures refuses it
    from ase.geometry import minkowski_reduce  # loads scipy, which reading a ledger does without

    reduced, _ = minkowski_reduce(atoms.cell.array, periodic)
    return float(np.linalg.norm(reduced[periodic], axis=1).min())


def atom_energies(frames: Sequence[Frame]) -> AtomEnergies:
    """Return the energy of each element from frames that are isolated atoms.

    Where frames state charge and spin, the neutral atom in the multiplicity of its ground state counts; what is
    stated to be another state does not. A frame that states no spin is taken to be in its ground state.

    Raises:
        InputError: energies of one element, in one state, that differ by more than 1 meV.
    """
    taken: dict[str, Frame] = {}
    unused: list[str] = []
    for frame in sorted(frames, key=lambda frame: frame.atoms.info.get("spin") is None):  # stated spins go first
        symbol = frame.atoms.symbols[0]
        other_state = _other_state(frame.atoms)
        if not np.isfinite(frame.energy_eV):
            unused.append(f"{symbol} of {frame.where} (no energy)")
        elif other_state:
            unused.append(f"{symbol} of {frame.where} ({other_state})")
        elif symbol not in taken:
            taken[symbol] = frame
        elif abs(taken[symbol].energy_eV - frame.energy_eV) > SAME_ENERGY_EV:
            _settle(taken[symbol], frame)
            unused.append(f"{symbol} of {frame.where} (its spin is not stated, that of {taken[symbol].where} is)")
    energies = {symbol: taken[symbol].energy_eV for symbol in sorted(taken)}
    where = {symbol: taken[symbol].where for symbol in energies}
    unstated = [symbol for symbol in energies if taken[symbol].atoms.info.get("spin") is None]
    return AtomEnergies(energies, where, tuple(filter(None, (_taken_note(energies, unstated), _unused_note(unused)))))


def in_words(energies_eV: Mapping[str, float]) -> str:
    """Return symbols with their energies as text."""
    return ", ".join(f"{symbol} ({energy:.6g} eV)" for symbol, energy in energies_eV.items())


def require_equal(one: Mapping[str, float], other: Mapping[str, float], who_one: str, who_other: str) -> None:
    """Refuse energies of one element's atom that differ.

    Args:
        one: by symbol, eV.
        other: the same of another source; elements that only one of them knows are not compared.
        who_one: where the first come from, for the message.
        who_other: where the others come from.

    Raises:
        InputError: they differ by more than 1 meV.
    """
    for symbol in sorted(one.keys() & other.keys()):
        if abs(one[symbol] - other[symbol]) > SAME_ENERGY_EV:
            raise InputError(
                f"{who_one} and {who_other} give the isolated {symbol} atom {one[symbol]:.6g} and "
                f"{other[symbol]:.6g} eV, expected the same within {1000 * SAME_ENERGY_EV:g} meV at one level of "
                "theory: remove the wrong one"
            )


def _settle(one: Frame, other: Frame) -> None:
    """Whether the first atom states its spin and the other does not."""
    stated = [frame.atoms.info.get("spin") is not None for frame in (one, other)]
    if stated[0] and not stated[1]:
        return
    symbol = one.atoms.symbols[0]
    require_equal(
        {symbol: one.energy_eV}, {symbol: other.energy_eV}, one.where, f"{other.where} (both neutral, of equal spin)"
    )


def _says_isolated(atoms: Atoms) -> bool:
    said = atoms.info.get(CONFIG_TYPE)
    return isinstance(said, str) and "".join(filter(str.isalnum, said)).lower() == ISOLATED


def _alone_A(atoms: Atoms) -> float:
    bond = 2 * float(covalent_radii[atoms.numbers].max())
    return max(SMALLEST_BOX_A, BOX_PER_BOND * bond)


def _other_state(atoms: Atoms) -> str:
    """Return how the stated charge or spin differs from the neutral ground state; empty if it does not."""
    charge, spin = atoms.info.get("charge") or 0, atoms.info.get("spin")
    if charge != 0:
        return f"charge {charge:+g}"
    ground = ground_multiplicity(int(atoms.numbers[0]))
    if spin is not None and ground is not None and spin != ground:
        return f"spin multiplicity {spin:g}, {ground} in the ground state"
    return ""


def ground_multiplicity(number: int) -> int | None:
    """Spin multiplicity of a neutral atom in its ground state, None where ASE does not know it."""
    if number >= len(ground_state_magnetic_moments):
        return None
    return round(float(ground_state_magnetic_moments[number])) + 1


def _taken_note(energies_eV: Mapping[str, float], unstated: Sequence[str]) -> str:
    if not energies_eV:
        return ""
    spin = ""
    if any(ground_multiplicity(chemical_symbols.index(symbol)) != 1 for symbol in unstated):
        spin = " No spin is stated: they are assumed to be spin-polarised, in the ground state."
    return (
        f"Energies of isolated atoms were taken for {in_words(energies_eV)}; those frames are not trained on or "
        f"compared.{spin}"
    )


def _unused_note(unused: Sequence[str]) -> str:
    if not unused:
        return ""
    one = len(unused) == 1
    return (
        f"{len(unused)} {'isolated atom that is' if one else 'isolated atoms that are'} not known to be the neutral "
        f"ground state {'was' if one else 'were'} left out: {'; '.join(unused)}."
    )
