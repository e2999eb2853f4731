"""Initial magnetic moments as the config states them."""

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from al_loop.errors import InputError

Moments = dict[str, float] | tuple[float, ...]


def set_moments(atoms: Atoms, moments: Mapping[str, float] | Sequence[float] | None) -> None:
    """Give a structure the initial magnetic moments of its system; without any it keeps those of its file.

    Args:
        atoms: the structure as its file holds it, changed in place.
        moments: µB, by element (all others get none) or for each atom in the file's order.

    Raises:
        InputError: an element that is not there, or another number of moments than atoms.
    """
    if moments is None:
        return
    if isinstance(moments, Mapping):
        absent = sorted(set(moments) - set(atoms.symbols))
        if absent:
            raise InputError(
                f"received moments for {', '.join(absent)}, expected elements of the structure: "
                f"{', '.join(sorted(set(atoms.symbols)))}"
            )
        _set(atoms, [moments.get(symbol, 0.0) for symbol in atoms.symbols])
        return
    if len(moments) != len(atoms):
        raise InputError(
            f"received {len(moments)} moments, expected {len(atoms)}: one for each atom of the file (a supercell "
            "repeats them), or one for each element, such as {Fe: 2.2}"
        )
    _set(atoms, moments)


def _set(atoms: Atoms, moments: Sequence[float]) -> None:
    atoms.set_initial_magnetic_moments(None)  # ASE does not let numbers take the place of vectors
    atoms.set_initial_magnetic_moments(np.array(moments))
