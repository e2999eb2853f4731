"""Frames of any file that ASE opens, with what its readers lose put back."""

import re
import tempfile
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from ase import Atoms

from al_loop.errors import InputError
from al_loop.files.readers.element_labels import ISOTOPES_u
from al_loop.files.readers.isotopes import is_about_isotope, read_with_isotopes
from al_loop.files.readers.xyz_frames import XYZ, xyz_frames

_DATABASES: Final = ("db", "json")


def ase_frames(path: Path, index: slice | int = slice(None), file_format: str | None = None) -> Iterator[Atoms]:
    """Yield frames one by one, as ``ase.io.iread`` does, with what its readers lose.

    That is labels of atoms such as OW, hydrogen's isotopes D and T (as masses), charge and multiplicity in the files of
    codes, and the names in a row of a database (in ``atoms.info["key_value_pairs"]`` and ``["data"]``). Call
    ``as_stated`` on each.

    Args:
        path: the file.
        index: which frames, counted from 0, or from the end if negative.
        file_format: ASE's name of the format; by default from name and content.

    Raises:
        InputError: D or T in a format in which they are not looked for.
        Exception: whatever ASE's reader raises.
    """
    from ase.io.formats import filetype

    file_format = file_format or str(filetype(str(path)))
    given = 0
    try:
        for atoms in _read(path, index, file_format):
            yield atoms
            given += 1
        return
    except InputError:
        raise
    except Exception as error:
        if not is_about_isotope(error):
            raise
        failed = error
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "frames"
        try:
            frames = read_with_isotopes(path, file_format, part)
            yield from islice(_chosen(frames, index), given, None)
        except InputError:
            raise
        except Exception as error:
            raise failed from error


def _read(path: Path, index: slice | int, file_format: str) -> Iterator[Atoms]:
    from ase.io import iread

    if file_format in XYZ:
        yield from _chosen(xyz_frames(path, file_format, option="chemical symbols in the file:"), index)
        return
    if file_format in _DATABASES:
        yield from _chosen(_rows(path, file_format), index)
        return
    if file_format == "aims":
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of where ASE's reader will move
            yield from list(iread(str(path), index=index, format=file_format, do_not_split_by_at_sign=True))
        return
    more: dict[str, Any] = {"attach_calculator": True} if file_format == "gaussian-in" else {}
    stated = code_statements(path, file_format)
    for atoms in iread(str(path), index=index, format=file_format, do_not_split_by_at_sign=True, **more):
        atoms.info.update(stated)
        if file_format == "gaussian-in":
            _take_gaussian(path, atoms)
        yield atoms


def _rows(path: Path, file_format: str) -> Iterator[Atoms]:
    from ase.db import connect

    with connect(path, type=file_format) as database:  # without, the file is left open
        for row in database.select():
            yield row.toatoms(add_additional_information=True)


def _take_gaussian(path: Path, atoms: Atoms) -> None:
    """Charge and multiplicity stand in the calculator that ASE makes of a Gaussian input, isotopes too."""
    parameters = dict(getattr(atoms.calc, "parameters", {}))
    atoms.calc = None
    atoms.info.update(
        {name: parameters[key] for key, name in (("charge", "charge"), ("mult", "multiplicity")) if key in parameters}
    )
    isotopes = parameters.get("isolist")
    if isotopes is None:
        return
    hydrogen = {2: ISOTOPES_u["D"], 3: ISOTOPES_u["T"]}
    masses = atoms.get_masses()
    for number, isotope in enumerate(isotopes):
        if isotope is None:
            continue
        value = hydrogen.get(int(float(isotope))) if atoms.numbers[number] == 1 else None
        if value is None:
            raise InputError(
                f"{path} states the isotope {atoms.symbols[number]}(Iso={isotope}) for atom {number}, of which D and T "
                "alone are read; give extended XYZ with a column masses"
            )
        masses[number] = value
    atoms.set_masses(masses)


def _chosen(frames: Iterator[Atoms], index: slice | int) -> Iterator[Atoms]:
    if isinstance(index, int):
        found = list(frames)[index:] if index < 0 else list(islice(frames, index, index + 1))
        yield from found[:1]
    elif (index.start or 0) >= 0 and (index.stop is None or index.stop >= 0) and (index.step or 1) > 0:
        yield from islice(frames, index.start, index.stop, index.step)
    else:
        yield from list(frames)[index]


_NUMBER: Final = r"\s*([+-]?[\d.]+(?:[dDeE][+-]?\d+)?)"

_PATTERNS: Final[dict[str, dict[str, re.Pattern[str]]]] = {
    file_format: {name: re.compile(pattern + _NUMBER, re.IGNORECASE) for name, pattern in patterns.items()}
    for file_format, patterns in {
        "espresso-in": {"charge": r"^[^!#]*\btot_charge\s*="},
        "nwchem-in": {"charge": r"^\s*charge\s", "multiplicity": r"^\s*mult\s"},
        "gamess-us-in": {"charge": r"\bicharg\s*=", "multiplicity": r"\bmult\s*="},
        "gaussian-out": {"charge": r"^\s*charge\s*=", "multiplicity": r"\bmultiplicity\s*="},
        "orca-output": {"charge": r"^\s*total charge\s+charge\s+\.*", "multiplicity": r"^\s*multiplicity\s+mult\s+\.*"},
        "nwchem-out": {"charge": r"^\s*charge\s*:", "multiplicity": r"^\s*spin multiplicity\s*:"},
        "gamess-us-out": {"charge": r"^\s*charge of molecule\s*=", "multiplicity": r"^\s*spin multiplicity\s*="},
    }.items()
}
_FORMAL_CHARGES: Final = ("mol", "sdf")


def code_statements(path: Path, file_format: str) -> dict[str, float]:
    """Return ``charge`` and ``multiplicity`` as far as a file of this format states them, the first time that it does.

    In MDL's molecule files the formal charges add up to the total one.
    """
    if file_format in _FORMAL_CHARGES:
        return _formal_charge(path)
    sought = dict(_PATTERNS.get(file_format, {}))
    found: dict[str, float] = {}
    if not sought:
        return found
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            for name in [name for name in sought if name not in found]:
                if match := sought[name].search(line):
                    found[name] = float(re.sub("[dD]", "e", match[1]))
            if len(found) == len(sought):
                break
    return found


def _formal_charge(path: Path) -> dict[str, float]:
    """The sum of the lines ``M  CHG`` of the first molecule; without them it states none."""
    charges = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if words[:2] == ["M", "END"]:
                break
            if words[:2] == ["M", "CHG"]:
                charges += [float(charge) for charge in words[4::2]]
    return {"charge": sum(charges)} if charges else {}
