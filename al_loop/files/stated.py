"""Charge, spin, masses and moments of a file in al-loop's conventions; units other than eV and Å are refused."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np
from ase import Atoms

from al_loop.errors import InputError
from al_loop.files.occupancies import refuse_partial_occupancies
from al_loop.utils.foreign_input import reading
from dft_interfaces.structure import lowest_multiplicity, multiplicity_exists

CHARGE_NAMES: Final = ("charge", "total_charge", "net_charge")
SPIN_NAMES: Final = ("spin", "total_spin", "multiplicity", "spin_multiplicity", "mult")
"""Names, in any case, under which codes write the total charge and the spin multiplicity 2S + 1 of a frame.

MACE and Open Babel call the multiplicity ``total_spin``, fairchem ``spin``, where its 0 means that nothing is stated.
"""

_EXPECTED: Final = {
    "charge": "a whole number in e, for example charge=-1",
    "spin": "the multiplicity 2S + 1 as a whole number (1 for a closed shell, 2 for one unpaired electron), not S and"
    " not the number of unpaired electrons",
}
_HEAVIEST_Z: Final = 118
_LIGHTEST_U, _HEAVIEST_U = 0.1, 1000.0
_BARE_DEUTERON_U, DEUTERIUM_U = 2.01355, 2.014101778  # ASE's reader of cif takes the nucleus for the atom


def as_stated(atoms: Atoms, where: str) -> Atoms:
    """Convert charge, spin, masses and moments of a frame; the frame is changed and returned.

    Afterwards ``atoms.info["charge"]`` (e) and ``atoms.info["spin"]`` (2S + 1) are plain ``int`` and stand under no
    other name, masses (u) are those of a column ``masses`` or ``mass``, and initial magnetic moments are (n,) or
    (n, 3) finite numbers. A per-atom column of charges states no total charge.

    Args:
        atoms: as a reader gives them, with all of its ``info`` and ``arrays``.
        where: file and frame, for messages.

    Raises:
        InputError: lengths in another unit than Å, an atomic number of no element, a value that is no such number, two
            names that contradict each other, a multiplicity that the electrons cannot have, masses or moments that
            are none, or a disordered structure.
    """
    _check_numbers(atoms, where)
    refuse_partial_occupancies(atoms, where)
    refuse_other_units(atoms.info, where, labels=False)
    for key, names in (("charge", CHARGE_NAMES), ("spin", SPIN_NAMES)):
        value = _one_value(atoms.info, key, names, where)
        for name in [name for name in atoms.info if isinstance(name, str) and name.lower() in names]:
            del atoms.info[name]
        if value is not None:
            atoms.info[key] = value
    _check_electrons(atoms, where)
    _take_masses(atoms, where)
    _check_moments(atoms, where)
    return atoms


def spin_remedy(electrons: int) -> str:
    """Return a hint on the possible multiplicities of a number of electrons."""
    kind = "an odd" if lowest_multiplicity(electrons) == 1 else "an even"
    return f"use {kind} number up to {electrons + 1} (2S + 1, not S and not the number of unpaired electrons)"


def _check_numbers(atoms: Atoms, where: str) -> None:
    """Raise for impossible atomic numbers; the caller handles 0, an atom without an element."""
    wrong = atoms.numbers[(atoms.numbers < 0) | (atoms.numbers > _HEAVIEST_Z)]
    if len(wrong):
        raise InputError(f"{where}: received the atomic number {wrong[0]}, expected 1 to {_HEAVIEST_Z}; correct it")


def _one_value(info: Mapping[Any, Any], key: str, names: tuple[str, ...], where: str) -> int | None:
    found: dict[str, int] = {}
    for place in (info, info.get("key_value_pairs"), info.get("data")):  # the last two are of ASE's databases
        if not isinstance(place, Mapping):
            continue
        for name, value in place.items():
            if isinstance(name, str) and name.lower() in names and value is not None:
                number = _whole(name, value, key, where)
                if not (name == "spin" and number == 0):
                    found[name] = number
    if len(set(found.values())) > 1:
        listed = " and ".join(f"{name}={value}" for name, value in found.items())
        raise InputError(f"{where}: received {listed}, which contradict each other; keep one of them")
    return next(iter(found.values()), None)


def _whole(name: str, value: Any, key: str, where: str) -> int:
    number = np.nan
    if not isinstance(value, bool | np.bool_) and np.size(value) == 1:
        with suppress(Exception):  # whatever it is, it is no number
            number = float(value.item() if isinstance(value, np.ndarray) else value)
    lowest = -np.inf if key == "charge" else 0 if name == "spin" else 1
    if not (np.isfinite(number) and number.is_integer() and number >= lowest):
        shown = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        raise InputError(f"{where}: received {name}={shown!r}, expected {_EXPECTED[key]}; correct it in the file")
    return int(number)


def _check_electrons(atoms: Atoms, where: str) -> None:
    """Check a stated charge and multiplicity; without a charge in the file the config may state one."""
    charge, multiplicity = atoms.info.get("charge"), atoms.info.get("spin")
    if charge is None:
        return
    electrons = int(atoms.numbers.sum()) - charge
    if electrons < 0 or (electrons == 0 and multiplicity not in (None, 1)):
        raise InputError(
            f"{where}: received charge={charge:+d}, but its nuclei have {electrons + charge} charges in all"
        )
    if multiplicity is not None and electrons and not multiplicity_exists(electrons, multiplicity):
        raise InputError(
            f"{where}: received spin={multiplicity} with charge={charge:+d}, which {electrons} electrons cannot have; "
            f"{spin_remedy(electrons)}, or correct the charge"
        )


def _take_masses(atoms: Atoms, where: str) -> None:
    columns = {name: atoms.arrays[name] for name in ("masses", "mass") if name in atoms.arrays}
    if not columns:
        return
    if len(columns) == 2 and not np.array_equal(*columns.values()):  # noqa: PLR2004 - both names
        raise InputError(f"{where}: its columns masses and mass differ; keep one of them")
    values = next(iter(columns.values()))
    with reading(f"{where}: its masses", "expected numbers in u; correct the column, or remove it"):
        masses = np.array(values, dtype=np.float64)
    if masses.shape != (len(atoms),):
        raise InputError(f"{where}: its masses have the shape {masses.shape}, expected one number in u for each atom")
    wrong = np.flatnonzero(~((masses > _LIGHTEST_U) & (masses < _HEAVIEST_U)))
    if len(wrong):
        index = int(wrong[0])
        raise InputError(
            f"{where}: received the mass {values[index]} for atom {index} ({atoms.symbols[index]}), expected a number "
            f"in u between {_LIGHTEST_U:g} and {_HEAVIEST_U:g}; correct the column, or remove it for standard masses"
        )
    masses[(atoms.numbers == 1) & np.isclose(masses, _BARE_DEUTERON_U, atol=1e-6, rtol=0)] = DEUTERIUM_U
    atoms.arrays.pop("mass", None)
    atoms.set_masses(masses)


def _check_moments(atoms: Atoms, where: str) -> None:
    if not atoms.has("initial_magmoms"):
        return
    moments = atoms.arrays["initial_magmoms"]
    fits = moments.dtype.kind in "iuf" and moments.shape in ((len(atoms),), (len(atoms), 3))
    if not fits or not np.isfinite(moments).all():
        raise InputError(
            f"{where}: its initial magnetic moments are {moments.dtype} of shape {moments.shape}, expected one finite "
            "number in µB for each atom, or three for non-collinear moments"
        )
    atoms.set_initial_magnetic_moments(moments.astype(np.float64))


_NAME: Final = re.compile(
    r"(?:(?P<before>energy|energies|forces?|stress|virials?|lengths?|positions?|cell)[_-]?)?units?"
    r"(?:[_-]?(?P<behind>energy|energies|forces?|stress|virials?|lengths?|positions?))?",
    re.IGNORECASE,
)
_LENGTHS: Final = ("length", "position", "cell")
_OTHERS: Final = frozenset(
    {"kcal", "cal", "kj", "j", "joule", "hartree", "hartrees", "ha", "eh", "mha", "rydberg", "rydbergs", "ryd", "ry"}
    | {"mry", "bohr", "bohrs", "au", "mev", "kbar", "gpa", "nm", "pm"}
)
_OTHER_SETS: Final = frozenset({"real", "electron", "si", "cgs", "atomic"})  # of LAMMPS, for all quantities


def refuse_other_units(info: Mapping[Any, Any], where: str, *, labels: bool) -> None:
    """Raise for a frame that states units other than eV, Å and their combinations.

    Args:
        info: the frame's entries, such as ``energy_unit``.
        where: file and frame, for messages.
        labels: units of energies, forces and stresses count; otherwise those of lengths alone.

    Raises:
        InputError: naming the unit.
    """
    for name, value in info.items():
        found = _NAME.fullmatch(name) if isinstance(name, str) and isinstance(value, str) else None
        if found is None:
            continue
        quantity = (found["before"] or found["behind"] or "").lower()
        words = set(filter(None, re.split(r"[^a-z]+", value.lower().replace("a.u.", "au"))))
        other = words & _OTHERS or (not quantity and words <= _OTHER_SETS)
        if words and other and (labels or quantity.startswith(_LENGTHS)):
            raise InputError(
                f"{where} states {name}={value}, expected eV, Å, eV/Å and eV/Å³; convert its numbers, and correct or "
                f"remove {name}"
            )
