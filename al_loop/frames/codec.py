"""Structures and arrays as bytes, for the ledger and for jobs in a queue; reading them cannot execute code."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.frames.own_entries import NO_ENTRIES, OwnEntries, entries_as_text, entries_from_text
from al_loop.frames.plain_atoms import KEPT, constraints_from_text, constraints_text


def pack_atoms(atoms: Atoms, entries: OwnEntries = NO_ENTRIES) -> bytes:
    """A structure as ``plain_atoms`` keeps it, and a user's own entries, as compressed npz bytes."""
    arrays = {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array, "pbc": atoms.pbc}
    if atoms.has("initial_magmoms"):
        arrays["magmoms"] = atoms.get_initial_magnetic_moments()
    if atoms.has("masses"):
        arrays["masses"] = atoms.get_masses()
    if atoms.constraints:
        arrays["constraints"] = np.asarray(constraints_text(atoms.constraints))
    for key in KEPT:
        if atoms.info.get(key) is not None:
            arrays[key] = np.asarray(atoms.info[key])
    if entries:
        arrays["entries"] = np.frombuffer(entries_as_text(entries).encode(), dtype=np.uint8)
    return pack_arrays(arrays)


def unpack_entries(data: bytes) -> OwnEntries:
    """The user's own entries from the bytes of ``pack_atoms``."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return entries_from_text(archive["entries"].tobytes().decode()) if "entries" in archive else NO_ENTRIES


def unpack_atoms(data: bytes) -> Atoms:
    """The structure from the bytes of ``pack_atoms``; charge and spin are plain numbers in ``atoms.info``."""
    arrays = unpack_arrays(data)
    info = {key: arrays[key].item() for key in KEPT if key in arrays}
    constraints = constraints_from_text(arrays["constraints"].item()) if "constraints" in arrays else None
    return Atoms(
        numbers=arrays["numbers"],
        positions=arrays["positions"],
        cell=arrays["cell"],
        pbc=arrays["pbc"],
        magmoms=arrays.get("magmoms"),
        masses=arrays.get("masses"),
        constraint=constraints,
        info=info,
    )


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays of any number and text type as compressed npz bytes.

    Raises:
        ValueError: an array of Python objects, which would need pickle.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The inverse of ``pack_arrays``."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
