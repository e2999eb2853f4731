"""The part of a structure that a label depends on, as plain JSON values; floats keep every bit."""

from typing import Any

import numpy as np
from ase import Atoms


def atoms_as_dict(atoms: Atoms) -> dict[str, Any]:
    """Return elements, positions (Å), cell (Å), periodicity, charge, spin multiplicity and initial moments."""
    data: dict[str, Any] = {
        "numbers": atoms.numbers.tolist(),
        "positions_A": atoms.positions.tolist(),
        "cell_A": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "charge": _plain(atoms.info.get("charge")),
        "spin": _plain(atoms.info.get("spin")),
        "initial_magnetic_moments": None,
    }
    if atoms.has("initial_magmoms"):
        data["initial_magnetic_moments"] = atoms.get_initial_magnetic_moments().tolist()
    return data


def atoms_from_dict(data: dict[str, Any]) -> Atoms:
    """Rebuild a structure from ``atoms_as_dict``."""
    atoms = Atoms(
        numbers=data["numbers"],
        positions=np.array(data["positions_A"], dtype=np.float64).reshape(-1, 3),
        cell=data["cell_A"],
        pbc=data["pbc"],
        magmoms=data["initial_magnetic_moments"],
    )
    atoms.info.update({key: data[key] for key in ("charge", "spin") if data[key] is not None})
    return atoms


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and np.size(value) == 1 else value
