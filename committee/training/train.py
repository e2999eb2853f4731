"""Training: reference shifts, latent distance, then a fit of the heads that does not evaluate the foundation."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

from committee.backbones.contract import Backbone, device_of
from committee.errors import TrainingDataError
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentDistance
from committee.model.reference_shifts import ReferenceShifts
from committee.model.tangents import TangentCache
from committee.potential import CommitteePotential, Provenance
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.dense import DenseData
from committee.training.fitted_directions import with_fitted_directions
from committee.training.fitting import fit_heads
from committee.training.training_frame import (
    TrainingFrame,
    check_frames,
    common_level_of_theory,
    label_hash,
    training_hash,
)
from committee.training.training_set import TrainingSet
from committee.training.training_state import StateFile
from committee.training.validation import held_back_score, split_by_group

__all__ = ["TrainingFrame", "train", "training_hash"]

_FIT_VERSION = 3  # part of a saved state's key: increase it when the same inputs give another fit


def train(
    backbone: Backbone,
    frames: Sequence[TrainingFrame],
    *,
    committee: CommitteeSettings | None = None,
    training: TrainingSettings | None = None,
    cache_folder: Path | str | None = None,
    seed: int = 0,
    level_of_theory: str | None = None,
    prior_shifts_eV: Mapping[int, float] | None = None,
    warm_start: CommitteePotential | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CommitteePotential:
    """Train a committee; deterministic for a given seed on one machine, with fitted directions for given tangents too.

    An interrupted training resumes when it is called again with the same inputs, and gives the same heads.

    Args:
        backbone: the frozen foundation.
        frames: labelled frames.
        committee: settings of the heads; ``CommitteeSettings()`` by default.
        training: settings of the fit; ``TrainingSettings()`` by default.
        cache_folder: folder of cached tangents, and of a training's state until it ends; a temporary one by default.
        seed: random seed of the heads, of the bootstrap weights and of the choice of held-out trajectories.
        level_of_theory: that of the labels; by default the one stated by the frames, or else the foundation's.
        prior_shifts_eV: atomic number -> shift of elements that the labels do not determine; 0 by default.
        warm_start: start from the heads of this committee (same foundation and settings) instead of fresh ones.
        progress: called with (done, total): frames while tangents are computed, then epochs.

    Raises:
        TrainingDataError: no frames, labels that are not finite or do not match their structure, repeated ids,
            labels of several levels of theory that were not aligned, or of another one than the warm start's, or
            frames too large for any but the squared loss.
        StructureError: a structure is invalid.
    """
    committee, training = committee or CommitteeSettings(), training or TrainingSettings()
    check_frames(frames, backbone.elements)
    _check_loss(frames, training)
    level = level_of_theory or common_level_of_theory(frames) or backbone.level_of_theory
    heads = _heads(backbone, committee, seed, level, warm_start)
    device = device_of(backbone)
    groups = [frame.independent_group for frame in frames]

    def potential(heads: ResidualHeads, shifts: ReferenceShifts) -> CommitteePotential:
        periodic = sorted({int(frame.atoms.pbc.sum()) for frame in frames})
        provenance = Provenance(level, training_hash(frames), len(frames), tuple(periodic))
        return CommitteePotential(backbone, committee, heads, latent, shifts, provenance)

    with nullcontext(cache_folder) if cache_folder is not None else TemporaryDirectory(prefix="tangents-") as folder:
        labelled = TrainingSet.read(backbone, frames, Path(folder), training, progress)
        fitted, held_out = map(labelled.part, split_by_group(groups, training.validation_fraction, seed))

        def dense(part: TrainingSet) -> DenseData:
            return part.dense(heads, shifts, latent, committee, training).to(device)

        def first_fit(part: TrainingSet) -> tuple[ResidualHeads, LatentDistance]:
            copied, data = deepcopy(heads).to(device), dense(part)
            copied.standardise_by(data.features, data.rows, _settled(warm_start))
            fit_heads(copied, data, training, seed)
            return copied.cpu(), latent

        # The held-out frames enter no part of the fit, including the latent distance and the scale of the inputs.
        shifts, latent = fitted.shifts(training, prior_eV=prior_shifts_eV), fitted.latent()
        cache = TangentCache(backbone, Path(folder))
        fitted = with_fitted_directions(fitted, first_fit, committee, training, cache, progress)
        state = StateFile(
            Path(folder), _key(backbone, frames, fitted, committee, training, seed, heads, prior_shifts_eV)
        )
        data = dense(fitted)
        heads.to(device).standardise_by(data.features, data.rows, _settled(warm_start))
        score = held_back_score(
            held_out.comparable_with(fitted),
            dense,
            lambda heads: potential(heads, shifts),
            training,
        )
        fit_heads(heads, data, training, seed, score=score, state=state, progress=progress)
        state.remove()
    corrections = labelled.corrections_eV(heads.cpu(), latent, committee)
    return potential(heads, labelled.shifts(training, corrections, prior_shifts_eV))


def _check_loss(frames: Sequence[TrainingFrame], training: TrainingSettings) -> None:
    if training.loss == "squared":
        return
    for frame in frames:
        if training.random_count(len(frame.atoms), strained=bool(frame.atoms.pbc.all())) is not None:
            raise TrainingDataError(
                f"Frame {frame.id} has {len(frame.atoms)} atoms; above exact_up_to_atoms = "
                f"{training.exact_up_to_atoms} forces are projected on random directions, which allow the squared loss "
                f"but not loss = {training.loss!r}. Raise exact_up_to_atoms (memory grows with its square) or "
                "set loss to squared."
            )


def _heads(
    backbone: Backbone, committee: CommitteeSettings, seed: int, level: str, warm_start: CommitteePotential | None
) -> ResidualHeads:
    heads = ResidualHeads(committee, backbone.feature_size, tuple(sorted(backbone.elements)), seed)
    if warm_start is None:
        return heads
    if warm_start.backbone.fingerprint != backbone.fingerprint or warm_start.settings != committee:
        raise TrainingDataError(
            f"A warm start needs the same foundation and committee settings; it was made on {warm_start.backbone.name} "
            f"with {warm_start.settings}. Train without warm_start."
        )
    provenance = warm_start.provenance
    if provenance.training_frames and provenance.level_of_theory != level:
        raise TrainingDataError(
            f"The warm start was trained on labels of {provenance.level_of_theory!r}, received labels of {level!r}: "
            "another energy surface. Train without warm_start, or use the same name for the level of theory."
        )
    heads.load_state_dict(warm_start.heads.state_dict())
    return heads


def _settled(warm_start: CommitteePotential | None) -> frozenset[int]:
    """Return the elements whose inputs keep their mean and scale."""
    if warm_start is None or warm_start.latent is None:
        return frozenset()
    return frozenset(int(z) for z in warm_start.latent.elements_)


def _key(
    backbone: Backbone,
    frames: Sequence[TrainingFrame],
    fitted: TrainingSet,
    committee: CommitteeSettings,
    training: TrainingSettings,
    seed: int,
    heads: ResidualHeads,
    prior_shifts_eV: Mapping[int, float] | None,
) -> str:
    """Return the SHA-256 of all inputs of a fit, including the order of the frames and their directions."""
    digest = hashlib.sha256(f"{_FIT_VERSION} {backbone.fingerprint} {backbone.dtype} {seed}".encode())
    digest.update((committee.model_dump_json() + training.model_dump_json()).encode())
    for frame in frames:
        digest.update(f"{frame.id} {frame.group} {frame.aligned} {label_hash(frame)}".encode())
    for entry in fitted.tangents:
        digest.update(entry.directions.tobytes())
    digest.update(repr(sorted((prior_shifts_eV or {}).items())).encode())
    for name, tensor in sorted(heads.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
