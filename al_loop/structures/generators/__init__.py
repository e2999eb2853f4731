"""Generators: functions of settings, a structure and a random generator that return a new structure."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from ase import Atoms

from al_loop.config.generator_settings import GeneratorSettings
from al_loop.errors import InputError
from al_loop.frames.plain_atoms import plain_atoms

__all__ = ["apply_variant"]


class _Generator(Protocol):
    def __call__(self, settings: Any, atoms: Atoms, rng: np.random.Generator) -> Atoms: ...


def _generators() -> dict[str, _Generator]:
    """Generators by kind, imported on first use, since `ase.build` takes half a second."""
    from al_loop.structures.generators.cells import rattle, strain, substitution, supercell, vacancy
    from al_loop.structures.generators.molecules import adsorbate, box
    from al_loop.structures.generators.slabs import interface, surface

    return {
        "rattle": rattle,
        "strain": strain,
        "supercell": supercell,
        "vacancy": vacancy,
        "substitution": substitution,
        "surface": surface,
        "interface": interface,
        "box": box,
        "adsorbate": adsorbate,
    }


def apply_variant(variant: Sequence[GeneratorSettings], atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Apply generators in order to a copy; charge, spin, moments, masses and constraints are kept.

    Raises:
        InputError: a generator does not fit its structure; the message begins with the generator's index and kind.
    """
    built = atoms.copy()
    for index, settings in enumerate(variant):
        try:
            built = _generators()[settings.kind](settings, built, rng)
        except InputError as error:
            raise InputError(f"[{index}] ({settings.kind}): {error}") from error
    if not variant:
        return built
    plain = plain_atoms(built)
    plain.info.update(atoms.info)
    return plain
