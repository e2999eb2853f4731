"""Training: reference shifts, latent distance, then a dense fit of the heads that never touches the foundation."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from committee.backbone import Backbone
from committee.dense import Target, dense_data
from committee.errors import TrainingDataError
from committee.fitting import fit_heads
from committee.heads import ResidualHeads
from committee.latent import LatentDistance
from committee.potential import CommitteePotential, Provenance
from committee.reference_shifts import ReferenceShifts
from committee.settings import CommitteeSettings, TrainingSettings
from committee.tangents import Tangents, cached_tangents, structure_hash

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingFrame:
    """A labelled frame of n atoms.

    Attributes:
        id: names the frame's file in the cache of tangents.
        atoms: the structure.
        energy_eV: total energy of the labelling code; NaN if there is none.
        forces_eV_per_A: (n, 3), or None.
        stress_eV_per_A3: (6,) in ASE's order, or None.
        group: what the frame shares with others that are not independent of it, for example its trajectory.
    """

    id: str
    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: Array | None = None
    stress_eV_per_A3: Array | None = None
    group: str = ""


def train(
    backbone: Backbone,
    frames: Sequence[TrainingFrame],
    *,
    committee: CommitteeSettings,
    training: TrainingSettings,
    cache_folder: Path,
    seed: int,
    level_of_theory: str | None = None,
    warm_start: CommitteePotential | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CommitteePotential:
    """Train a committee; deterministic under the seed on one machine.

    Args:
        backbone: the frozen foundation.
        frames: labelled frames.
        committee: the heads.
        training: the fit.
        cache_folder: where tangents are kept between trainings.
        seed: of the heads and of the bootstrap weights.
        level_of_theory: of the labels, in words; the foundation's own if not given.
        warm_start: start from the heads of this committee (same foundation and settings) instead of fresh ones.
        progress: called with (done, total): frames while tangents are computed, then epochs.

    Raises:
        TrainingDataError: no frames, labels that are not finite or do not fit their structure, ids that repeat.
        StructureError: a structure that no model could be asked about.
    """
    _check(frames)
    seen = cached_tangents(backbone, [(frame.id, frame.atoms) for frame in frames], cache_folder, progress)
    shifts = _shifts(frames, np.array([float(entry.energy) for entry in seen]))
    latent = _latent(frames, seen)
    heads = _heads(backbone, committee, seed, warm_start)
    data = dense_data(
        seen,
        [frame.atoms.numbers for frame in frames],
        [_target(frame, entry, shifts, training) for frame, entry in zip(frames, seen, strict=True)],
        heads,
        latent.metric(),
        committee,
        training,
    )
    heads.standardise_by(data.features, data.rows, _settled(warm_start))
    fit_heads(heads, data, training, seed, progress)
    left = data.mean_energies(heads).numpy()
    shifts = _shifts(frames, np.array([float(entry.energy) for entry in seen]) + left)
    provenance = Provenance(level_of_theory or backbone.level_of_theory, training_hash(frames), len(frames))
    return CommitteePotential(backbone, committee, heads, latent, shifts, provenance)


def training_hash(frames: Sequence[TrainingFrame]) -> str:
    """SHA-256 of structures and labels, whatever their order."""
    digests = []
    for frame in frames:
        digest = hashlib.sha256(structure_hash(frame.atoms).encode())
        for label in (frame.energy_eV, frame.forces_eV_per_A, frame.stress_eV_per_A3):
            digest.update(b"none" if label is None else np.asarray(label, dtype="<f8").tobytes())
        digests.append(digest.hexdigest())
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _shifts(frames: Sequence[TrainingFrame], model_eV: Array) -> ReferenceShifts:
    """Reference shifts from the frames that have an energy; none if no frame has one."""
    chosen = [i for i, frame in enumerate(frames) if np.isfinite(frame.energy_eV)]
    if not chosen:
        return ReferenceShifts()
    differences = np.array([frames[i].energy_eV - model_eV[i] for i in chosen])
    return ReferenceShifts.fit([frames[i].atoms.numbers for i in chosen], differences)


def _latent(frames: Sequence[TrainingFrame], seen: Sequence[Tangents]) -> LatentDistance:
    names = {frame.group or frame.id: number for number, frame in enumerate(frames)}
    groups = [np.full(len(frame.atoms), names[frame.group or frame.id]) for frame in frames]
    return LatentDistance().fit(
        np.concatenate([entry.features for entry in seen]),
        np.concatenate([frame.atoms.numbers for frame in frames]),
        np.concatenate(groups),
    )


def _target(frame: TrainingFrame, seen: Tangents, shifts: ReferenceShifts, settings: TrainingSettings) -> Target:
    missing = frame.energy_eV - float(seen.energy) - shifts.total_eV(frame.atoms.numbers)
    return Target.of(seen, missing, frame.forces_eV_per_A, frame.stress_eV_per_A3, settings)


def _settled(warm_start: CommitteePotential | None) -> frozenset[int]:
    """Elements whose inputs keep their mean and scale."""
    if warm_start is None or warm_start.latent is None:
        return frozenset()
    return frozenset(int(z) for z in warm_start.latent.elements_)


def _heads(
    backbone: Backbone, committee: CommitteeSettings, seed: int, warm_start: CommitteePotential | None
) -> ResidualHeads:
    heads = ResidualHeads(committee, backbone.feature_size, tuple(sorted(backbone.elements)), seed)
    if warm_start is None:
        return heads
    if warm_start.backbone.fingerprint != backbone.fingerprint or warm_start.settings != committee:
        raise TrainingDataError(
            f"A warm start needs the same foundation and committee settings; it was made on {warm_start.backbone.name} "
            f"with {warm_start.settings}. Train without warm_start."
        )
    heads.load_state_dict(warm_start.heads.state_dict())
    return heads


def _check(frames: Sequence[TrainingFrame]) -> None:
    if not frames:
        raise TrainingDataError("Training needs at least one labelled frame, received none.")
    if len({frame.id for frame in frames}) != len(frames):
        raise TrainingDataError("Training frames need ids of their own; some repeat.")
    for frame in frames:
        _check_frame(frame)


def _check_frame(frame: TrainingFrame) -> None:
    n_atoms = len(frame.atoms)
    if not re.fullmatch(r"[\w-][\w.-]*", frame.id):
        raise TrainingDataError(f"A frame's id names a file; received {frame.id!r}: use letters, digits and . _ -")
    if np.isinf(frame.energy_eV):
        raise TrainingDataError(f"Frame {frame.id} has an infinite energy; leave the label out.")
    for name, label, shape in (
        ("forces", frame.forces_eV_per_A, (n_atoms, 3)),
        ("stress", frame.stress_eV_per_A3, (6,)),
    ):
        if label is None:
            continue
        if np.shape(label) != shape:
            raise TrainingDataError(f"Frame {frame.id} has {name} of shape {np.shape(label)}, expected {shape}.")
        if not np.isfinite(label).all():
            raise TrainingDataError(f"Frame {frame.id} has {name} with NaN or infinity; leave the label out.")
