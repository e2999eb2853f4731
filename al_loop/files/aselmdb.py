"""Read and write aselmdb files in fairchem's format; nothing in them is executed."""

import json
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import dict2constraint
from ase.io import jsonio
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.files import lmdb_rows
from al_loop.files.extxyz import MAX_ATOMS
from al_loop.files.text.header_values import is_plain_key
from al_loop.frames.own_entries import ENTRIES, PROVENANCE
from al_loop.frames.plain_atoms import KEPT
from al_loop.records import Frame
from al_loop.utils.foreign_input import each_read
from al_loop.utils.plain_json import encode, same

BLOCK: Final = 1000  # frames in one transaction
RESULTS: Final = ("energy", "forces", "stress", "magmoms")
COLUMNS: Final[dict[str, tuple[str, tuple[int, ...]]]] = {
    "tags": ("i", ()),
    "momenta": ("f", (3,)),
    "initial_charges": ("f", ()),
}
"""Arrays that ASE's rows have a place for, with kind and shape for each atom."""


def write_rows(path: Path, new: Iterable[Frame]) -> int:
    """Write a new file: labels as ordinary calculator results; ``charge``, ``spin``, provenance and own in ``data``.

    Returns:
        Number of frames written.
    """
    from ase.db import connect

    count, remaining = 0, iter(new)
    while block := list(islice(remaining, BLOCK)):
        with connect(path, type="aselmdb", use_lock_file=False, serial=True) as database:
            for frame in block:
                database.write(_with_results(frame), data=_data(frame))
        count += len(block)
    path.with_name(f"{path.name}-lock").unlink(missing_ok=True)
    return count


def frames(path: Path) -> Iterator[tuple[Atoms, dict[str, Any]]]:
    """Yield each structure, with results and all other data of its row in ``info`` and ``arrays``, and its provenance.

    Raises:
        InputError: the file is not an aselmdb file, or a row is not a structure.
    """
    rows = (_frame(json.loads(text, object_hook=_array)) for text in _texts(path))
    return each_read(rows, lambda index: f"{path}, frame {index}", "write the file again")


def _with_results(frame: Frame) -> Atoms:
    atoms, label = frame.atoms.copy(), frame.label
    for name in COLUMNS:
        if _is_column(frame, name):
            atoms.set_array(name, np.asarray(frame.entries.arrays[name]))
    if label is not None:
        found = (label.energy_eV, label.forces_eV_per_A, label.stress_eV_per_A3, label.magnetic_moments_uB)
        results = {name: value for name, value in zip(RESULTS, found, strict=True) if value is not None}
        atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _data(frame: Frame) -> dict[str, Any]:
    """Entries of a row other than structure and results; those that ASE's JSON would change, as text."""
    kept = {key: frame.atoms.info[key] for key in KEPT if frame.atoms.info.get(key) is not None}
    own = {key: value for key, value in frame.entries.info.items() if _says_all(key, value)}
    hidden = {key: value for key, value in frame.entries.info.items() if key not in own}
    arrays = {name: values for name, values in frame.entries.arrays.items() if not _is_column(frame, name)}
    beside: dict[str, Any] = {}
    if hidden:
        beside["hidden"] = encode(hidden)
    if arrays:
        beside |= {"arrays": encode(arrays), "atoms": str(frame.atoms.symbols)}
    note = {ENTRIES: json.dumps(beside)} if beside else {}
    return {**own, **kept, PROVENANCE: dict(frame.provenance), **note}


def _is_column(frame: Frame, name: object) -> bool:
    """Whether rows have a column for an array."""
    if name not in COLUMNS or name not in frame.entries.arrays:
        return False
    kind, width = COLUMNS[str(name)]
    values = np.asarray(frame.entries.arrays[str(name)])
    return values.dtype.kind == kind and values.shape == (len(frame.atoms), *width)


def _says_all(key: object, value: Any) -> bool:
    """Whether ASE and ``frames`` read an entry unchanged."""
    if not is_plain_key(key) or key in KEPT:
        return False
    try:
        text = jsonio.encode({key: value})
        return same(jsonio.decode(text).get(key), value) and same(json.loads(text, object_hook=_array).get(key), value)
    except (TypeError, ValueError, AttributeError, RecursionError):
        return False


def _texts(path: Path) -> Iterator[bytes]:
    program = [sys.executable, "-I", lmdb_rows.__file__, str(path)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        assert reader.stdout is not None  # noqa: S101 - stdout=PIPE
        try:
            while head := reader.stdout.read(8):
                text = reader.stdout.read(struct.unpack("<Q", head)[0]) if len(head) == 8 else b"!cut off"  # noqa: PLR2004
                if text.startswith(b"!"):
                    raise InputError(f"{path} is not an aselmdb file: {text[1:300].decode(errors='replace')}")
                yield text
        finally:
            reader.kill()
            reader.stdout.close()
            code = reader.wait()
    if code != 0 and reader.returncode not in (0, -9):
        raise InputError(f"{path} is not an aselmdb file: reading it ended with exit code {code}; it may be cut off")


def _array(values: dict[str, Any]) -> Any:
    """Encode arrays as ASE's JSON does; other values are left to JSON."""
    if "__ndarray__" not in values:
        return values
    shape, kind, flat = values["__ndarray__"]
    if np.dtype(kind).kind not in "biufU":
        raise ValueError(f"an array of {kind}, expected numbers, truth values or text")
    return np.array(flat, dtype=kind).reshape(shape)


def _frame(row: dict[str, Any]) -> tuple[Atoms, dict[str, Any]]:
    numbers = np.asarray(row["numbers"], dtype=np.int64)
    if not 1 <= len(numbers) <= MAX_ATOMS:
        raise ValueError(f"{len(numbers)} atoms, expected 1 to {MAX_ATOMS}")
    atoms = Atoms(numbers, _floats(row["positions"]), cell=_floats(row["cell"]), pbc=np.asarray(row["pbc"], bool))
    if row.get("initial_magmoms") is not None:
        atoms.set_initial_magnetic_moments(_floats(row["initial_magmoms"]))
    if row.get("masses") is not None:
        atoms.set_masses(_floats(row["masses"]))
    atoms.set_constraint([dict2constraint(one) for one in row.get("constraints") or ()])
    for name in COLUMNS:
        if row.get(name) is not None:
            atoms.set_array(name, np.asarray(row[name]))
    data = row.get("data") or {}
    atoms.info.update({**(row.get("key_value_pairs") or {}), **data})
    for name, place in zip(RESULTS, (atoms.info, atoms.arrays, atoms.info, atoms.arrays), strict=True):
        if row.get(name) is not None:
            place[name] = _floats(row[name])
    if row.get("free_energy") is not None:
        atoms.info["free_energy"] = float(row["free_energy"])
    known = atoms.info.pop(PROVENANCE, {})
    return atoms, known if isinstance(known, dict) else {}


def _floats(values: Any) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64)
