"""Initial magnetic moments in a config."""

from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms

from al_loop.errors import InputError

Moments = dict[str, float] | tuple[float, ...]


def set_moments(atoms: Atoms, moments: Mapping[str, float] | Sequence[float] | None) -> None:
    """Set the initial magnetic moments of a structure; with None it keeps those of its file.

    Args:
        atoms: the structure, changed in place.
        moments: µB, by element (0 for all others) or for each atom in the file's order.

    Raises:
        InputError: the structure lacks an element, or the number of moments differs from the number of atoms.
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
    atoms.set_initial_magnetic_moments(None)  # ASE does not replace vectors by numbers
    atoms.set_initial_magnetic_moments(np.array(moments))
