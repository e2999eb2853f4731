"""Refuse labels that are none: forces that a constraint set to zero, and several levels of theory in one set."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.errors import InputError
from al_loop.frames.constraints.degrees_of_freedom import free_directions
from al_loop.records import Frame

FEWEST = 2
"""Of one fixed atom a force of exactly zero may be its symmetry's."""


def refuse_zeroed_forces(atoms: Atoms, forces_eV_per_A: NDArray[np.float64], where: str) -> None:
    """Refuse a label in which the forces on all fixed atoms, and on no others, are exactly zero.

    ``Atoms.get_forces()`` of ASE sets them to zero by default, and so do some codes in their outputs.

    Raises:
        InputError: naming the frame.
    """
    if not atoms.constraints or not np.isfinite(forces_eV_per_A).all():
        return
    fixed = free_directions(atoms) == 0
    zero = (forces_eV_per_A == 0.0).all(axis=1)
    if fixed.sum() >= FEWEST and zero[fixed].all() and not zero[~fixed].all():
        raise InputError(
            f"{where}: the forces on its {fixed.sum()} fixed atoms are exactly zero, expected those of the "
            "calculation; a constraint was applied to them before they were written. Write the raw forces (in ASE "
            "atoms.get_forces(apply_constraint=False)), calculate without constraints, or remove the forces"
        )


LEVEL: Final = "level_of_theory"
_WORDS: Final = frozenset({LEVEL, "theory", "functional", "xc", "xc_functional", "dft_functional"})
"""Names, in lower case, under which users and other codes state a level of theory in words."""


def check_levels(frames: Sequence[Frame]) -> list[str]:
    """Check that labels made by al-loop have one level of theory, and report differing statements of others.

    Returns:
        One sentence for each key with different values.

    Raises:
        InputError: fingerprints of two levels, with a frame of each.
    """
    fingerprints: dict[str, str] = {}
    words: dict[str, dict[str, str]] = {}
    for frame in frames:
        known = frame.provenance.get(LEVEL)
        if isinstance(known, str):
            fingerprints.setdefault(known, frame.where)
        for name, value in frame.atoms.info.items():
            if isinstance(value, str) and isinstance(name, str) and name.lower() in _WORDS:
                words.setdefault(name, {}).setdefault(value, frame.where)
    if len(fingerprints) > 1:
        raise InputError(
            f"labels of {len(fingerprints)} levels of theory are in one set: {_listed(fingerprints)}; expected one. "
            "Give the frames of one level; those of another join a campaign as align.other_labels"
        )
    return [
        f"Frames state different values of {name}: {_listed(found)}. They are used as labels of one level of theory; "
        "leave out those of another level."
        for name, found in words.items()
        if len(found) > 1
    ]


def _listed(found: dict[str, str]) -> str:
    return " and ".join(f"{value} ({where})" for value, where in list(found.items())[:3])
