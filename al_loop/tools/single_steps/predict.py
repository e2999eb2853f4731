"""Predict structures with a committee or a foundation: ``al_loop.predict``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from ase import Atoms

from al_loop.errors import InputError
from al_loop.files.stated import as_stated
from al_loop.files.structures import read_structures
from al_loop.frames.plain_atoms import plain_atoms
from al_loop.tools.open_model import YAML, Foundation, FoundationArgument, open_model, parse_foundation
from al_loop.utils.foreign_input import reading
from committee.backbones import load_backbone
from committee.potential import CommitteePotential, Uncertainty
from committee.prediction import Prediction

Structures: TypeAlias = str | Path | Atoms | Sequence[str | Path | Atoms]
"""Files or structures in memory, one or several."""


def predict(
    structures: Structures,
    model: str | Path | Foundation | CommitteePotential,
    *,
    foundation: FoundationArgument | None = None,
    uncertainty: Uncertainty = "exact",
) -> list[Prediction]:
    """Predict energy, forces, stress and their uncertainties.

    Args:
        structures: files that ASE reads, of which every structure is taken, or ``ase.Atoms``; they are not modified.
            Total charge (e) and spin multiplicity stand in ``atoms.info`` as ``charge`` and ``spin``.
        model: a checkpoint's folder; a campaign's YAML file, whose served model is taken; an open committee; or a
            foundation, ``sevennet:MODEL[:FIDELITY]``, ``fairchem:MODEL:TASK`` or settings, which is not corrected and
            has no uncertainty.
        foundation: the foundation under a checkpoint, if the checkpoint does not name one that comes with a package.
        uncertainty: of forces and stress: ``exact`` (K - 1 more backward passes), ``probe`` (one, noisy) or ``energy``
            (of the energy alone, which costs nothing more).

    Returns:
        One prediction for each structure, in order: energies in eV, forces (n, 3) in eV/Å, stress (6,) in eV/Å³,
        standard deviations in the same units, latent distances (n,).

    Raises:
        InputError: a file that cannot be read, no structures, or no model there.
        FoundationError: a foundation that cannot be loaded.
        StructureError: a structure that the model cannot predict, for example for an unknown element.
        FoundationAnswerError: a calculator that fails on a structure.

    Examples:
        >>> from al_loop import predict
        >>> from ase.build import bulk
        >>> (prediction,) = predict(bulk("Cu", cubic=True), "model", foundation="fairchem:distilled.pt:omat")
        >>> prediction.forces.shape, prediction.forces_uncertainty.shape, prediction.latent_distance.shape
        ((4, 3), (4, 3), (4,))
        >>> bare = predict("structures.extxyz", "fairchem:distilled.pt:omat", uncertainty="energy")
        >>> len(bare), bare[0].energy == bare[0].foundation_energy
        (3, True)
    """
    frames = _frames(structures)
    return _opened(model, foundation).predict(frames, uncertainty)


def _frames(structures: Structures) -> list[Atoms]:
    given = [structures] if isinstance(structures, str | Path | Atoms) else list(structures)
    frames: list[Atoms] = []
    for index, one in enumerate(given):
        if not isinstance(one, Atoms):
            frames += read_structures(Path(one))
            continue
        where = f"structure {index}"
        with reading(where, "correct it, or leave it out"):
            frames.append(plain_atoms(as_stated(one.copy(), where)))
    if not frames:
        raise InputError("received no structures to predict, expected at least one")
    return frames


def _opened(
    model: str | Path | Foundation | CommitteePotential, foundation: FoundationArgument | None
) -> CommitteePotential:
    if isinstance(model, CommitteePotential):
        return model
    if isinstance(model, str | Path):
        text, path = str(model), Path(model)
        with reading(f"model {model}", "name a checkpoint's folder, a campaign's YAML or a foundation"):
            is_word = ":" in text and not text.endswith(YAML) and not path.exists()
        if not is_word:
            return open_model(path, foundation).potential
    return CommitteePotential.untrained(load_backbone(parse_foundation(model)))
