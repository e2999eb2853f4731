"""Promotion by probe frames far from every label, where the candidate must agree with the foundation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray

from al_loop.gate.beside_foundation import predict_each_beside
from al_loop.records import LabelledFrame
from al_loop.stages.promote.criterion import Criterion
from al_loop.stages.promote.predictions import FoundationDeviation, root_mean_square
from committee.model.latent import LatentDistance
from committee.potential import CommitteePotential
from committee.prediction import Prediction

NAME = "foundation's frames"
SCALES = (0.92, 1.08, 0.96, 1.05)  # of all lengths: bonds as in a crystal or molecule thousands of K hot
RATTLES_A = (0.25, 0.15)  # standard deviation of the displacement of each coordinate
CLOSEST = 0.65  # of the sum of covalent radii: a frame with a closer pair is drawn again
SLACK_eV_per_A = 1e-3  # smaller differences are not counted
DRAWS = 20
DRAWS_PER_FRAME = 6

Array = NDArray[np.float64]
Distances = Callable[[Sequence[Atoms]], Sequence[Array]]
"""Latent distances (n,) of frames from the labels."""


@dataclass(frozen=True)
class ProbeFrames:
    """Structures with the foundation's own forces.

    Attributes:
        atoms: the frames.
        forces: (n, 3) eV/Å of the foundation for each.
    """

    atoms: tuple[Atoms, ...]
    forces: tuple[Array, ...]

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """As named arrays; charge and spin are kept where a frame has them, -1 means no spin."""
        return {
            "sizes": np.array([len(a) for a in self.atoms], dtype=np.int64),
            "numbers": np.concatenate([a.numbers for a in self.atoms] or [np.empty(0, dtype=np.int64)]),
            "positions": np.concatenate([a.positions for a in self.atoms] or [np.empty((0, 3))]),
            "forces": np.concatenate([*self.forces] or [np.empty((0, 3))]),
            "moments": _joined_moments(self.atoms),
            "cells": np.array([a.cell.array for a in self.atoms]).reshape(-1, 3, 3),
            "pbc": np.array([a.pbc for a in self.atoms], dtype=bool).reshape(-1, 3),
            "charges": np.array([a.info.get("charge", 0) for a in self.atoms], dtype=np.int64),
            "spins": np.array([a.info.get("spin", -1) for a in self.atoms], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[Any]]) -> Self:
        """The inverse of ``to_arrays``."""
        rows = np.cumsum([0, *arrays["sizes"]])
        atoms, forces = [], []
        for i, (start, stop) in enumerate(pairwise(rows)):
            frame = Atoms(
                arrays["numbers"][start:stop],
                arrays["positions"][start:stop],
                cell=arrays["cells"][i],
                pbc=arrays["pbc"][i],
                info={"charge": int(arrays["charges"][i])},
            )
            if arrays["spins"][i] >= 0:
                frame.info["spin"] = int(arrays["spins"][i])
            if arrays["moments"][start:stop].any():
                frame.set_initial_magnetic_moments(arrays["moments"][start:stop])
            atoms.append(frame)
            forces.append(arrays["forces"][start:stop])
        return cls(tuple(atoms), tuple(forces))


def _joined_moments(frames: Sequence[Atoms]) -> NDArray[np.float64]:
    """Initial moments of all atoms, (n,), or (n, 3) with collinear ones along z if any frame has vectors."""
    moments = [atoms.get_initial_magnetic_moments() for atoms in frames]
    if any(one.ndim > 1 for one in moments):
        moments = [one if one.ndim > 1 else one[:, None] * np.array([0.0, 0.0, 1.0]) for one in moments]
    return np.concatenate(moments or [np.empty(0)])


def probe_frames(
    structures: Sequence[Atoms],
    count: int,
    candidate: CommitteePotential,
    far: float,
    rng: np.random.Generator,
    foundation: CommitteePotential | None = None,
    distances: Distances | None = None,
) -> ProbeFrames:
    """Strain and rattle the starting structures in turn and predict them; refused frames are left out.

    Constraints do not apply: the frames must be far from all labels, and nothing moves from them.

    Of ``DRAWS_PER_FRAME`` times as many draws, those far from the first labels are kept, the nearest of them first: at
    the largest distances any correction has vanished and could not be measured. ``candidate`` is the first trained
    committee; a frame is far from its labels above the latent distance ``far``. The stored forces are those of the
    ``foundation`` before any adaptation, and ``distances`` those by its features; None for those of the candidate.
    """
    draws = range(DRAWS_PER_FRAME * count)
    disturbed = (_disturbed(structures[i % len(structures)], i // len(structures), rng) for i in draws)
    frames = [atoms for atoms in disturbed if atoms is not None]
    known = [
        (atoms, one.foundation_forces, one.latent_distance)
        for atoms, one in zip(frames, predict_each_beside(candidate, foundation, frames), strict=True)
        if isinstance(one, Prediction) and one.foundation_forces is not None
        if np.isfinite(one.foundation_forces).all()
    ]
    if distances is not None:
        measured = distances([atoms for atoms, _, _ in known])
        known = [(atoms, forces, found) for (atoms, forces, _), found in zip(known, measured, strict=True)]
    kept = sorted(known, key=lambda k: _nearness(k[2], far))[:count]
    return ProbeFrames(tuple(atoms for atoms, _, _ in kept), tuple(forces for _, forces, _ in kept))


def foundation_distances(
    foundation: CommitteePotential, labelled: Sequence[LabelledFrame], frames: Sequence[Atoms]
) -> list[Array]:
    """Latent distances of frames from labelled ones by the features of the foundation before any adaptation.

    Adaptation changes features, so that the distance in an adapted foundation's features may call a frame near for
    which there is no label.

    Returns:
        (n,) for each frame.
    """
    known = foundation.predict([frame.atoms for frame in labelled])
    names = [f"{frame.round}/{frame.trajectory}" for frame in labelled]
    groups = np.unique(names, return_inverse=True)[1]
    latent = LatentDistance().fit(
        np.concatenate([one.features for one in known]),
        np.concatenate([frame.atoms.numbers for frame in labelled]),
        np.repeat(groups, [len(frame.atoms) for frame in labelled]),
    )
    found = foundation.predict(frames)
    return [latent.predict(one.features, atoms.numbers) for one, atoms in zip(found, frames, strict=True)]


def no_harm(
    candidate: CommitteePotential,
    probe: ProbeFrames,
    foundation: FoundationDeviation,
    max_rise: float,
    far: float,
    distances: Distances | None = None,
) -> Criterion:
    """Check that the candidate agrees with the foundation far from every label, so that nothing is forgotten.

    Corrections near the labels are measured on labels; only frames with every atom further away than ``far`` count
    here, where no label supports a correction. The foundation's error e is unknown there, and its share of the forces
    is assumed to be that on the labels. A correction δ that is uncorrelated with e changes the error to √(e² + δ²),
    which may exceed e by less than the share ``max_rise``.

    ``distances`` are those by the features before adaptation, for a candidate on an adapted foundation; None takes its
    own.
    """
    if not np.isfinite(foundation.rmse):
        return Criterion(NAME, False, None, None, "there are no calibration labels to measure the foundation's error")
    if not probe.atoms:
        return Criterion(NAME, True, None, None, "the foundation refused every probe frame")
    predictions = candidate.predict(list(probe.atoms), "energy")
    own = [prediction.latent_distance for prediction in predictions]
    measured = own if distances is None else distances(probe.atoms)
    counted = [
        (prediction.forces - forces, forces)
        for prediction, forces, distance in zip(predictions, probe.forces, measured, strict=True)
        if is_far(distance, far)
    ]
    of_all = f"{len(counted)} of {len(probe.atoms)} probe frames are far from the labels (latent distance {far:g})"
    if not counted:
        return Criterion(NAME, True, None, None, of_all)
    deviations, forces = map(np.concatenate, zip(*counted, strict=True))
    rms, error = root_mean_square(deviations), foundation.expected(root_mean_square(forces))
    limit = max(float(np.sqrt((1 + max_rise) ** 2 - 1)) * error, SLACK_eV_per_A)
    if not np.isfinite(rms):
        return Criterion(NAME, False, None, limit, f"{of_all}; there the candidate's forces are not finite")
    sentence = (
        f"{of_all}; there the forces differ from the foundation's by {rms:.4f} eV/Å, root mean square (at most "
        f"{limit:.4f}, which adds {max_rise:.0%} to the foundation's error: {foundation.rmse:.4f} on labels, "
        f"{error:.4f} for forces as large as there)"
    )
    return Criterion(NAME, rms <= limit, rms, limit, sentence)


def is_far(distance: Array | None, far: float) -> bool:
    """Whether every atom is further than ``far`` from the labels; one near atom would change the forces on others."""
    return distance is None or not distance.min() <= far


def _nearness(distance: Array | None, far: float) -> tuple[bool, float]:
    """Sort key of frames: far ones first, by increasing distance."""
    return not is_far(distance, far), float("inf") if distance is None else float(distance.min())


def _disturbed(structure: Atoms, turn: int, rng: np.random.Generator) -> Atoms | None:
    """The structure scaled and rattled; None if two atoms are too close in every draw."""
    scale = SCALES[turn % len(SCALES)]
    rattle_A = RATTLES_A[turn // len(SCALES) % len(RATTLES_A)]
    for _ in range(DRAWS):
        atoms = structure.copy()
        atoms.set_constraint()
        atoms.set_cell(atoms.cell * scale)
        atoms.positions = atoms.positions * scale + rng.normal(0.0, rattle_A, atoms.positions.shape)
        if _closest(atoms) >= CLOSEST:
            return atoms
    return None


def _closest(atoms: Atoms) -> float:
    """Shortest distance in units of the sum of covalent radii; infinite if all are above ``CLOSEST``."""
    radii = covalent_radii[atoms.numbers]
    first, second, distance = neighbor_list("ijd", atoms, CLOSEST * radii)
    return float(np.min(distance / (radii[first] + radii[second]), initial=np.inf))
