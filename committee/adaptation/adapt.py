"""Adaptation: mini-batch training of a foundation's weights on labelled frames, with replay."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from committee.adaptation.gauss_newton import directions_in_memory, fit_gauss_newton
from committee.adaptation.objective import AdaptationData, Target, foundation_targets, replayed_frames
from committee.adaptation.replay import replay_frames
from committee.adaptation.stochastic import Progress, fit_adam
from committee.adaptation.trainable import TrainableWeights
from committee.backbones.contract import Backbone, OpenBackbone
from committee.errors import FoundationError
from committee.model.tangents import structure_hash
from committee.settings import AdaptSettings, TrainingSettings
from committee.training.training_frame import TrainingFrame, check_frames, common_level_of_theory, label_hash
from committee.training.training_set import comparable_frames, fit_shifts
from committee.training.training_state import StateFile
from committee.training.validation import split_by_group

VERSION = 3  # part of a saved state's key: increase it when the same inputs give other weights
STATE = "adaptation-state.safetensors"
REPLAY_POOL = 4  # Adam draws the replayed frames of each epoch from a pool of so many times their number


def adapt(
    backbone: Backbone,
    frames: Sequence[TrainingFrame],
    settings: AdaptSettings | None = None,
    *,
    training: TrainingSettings | None = None,
    replay: Sequence[Atoms] = (),
    seed: int = 0,
    state_folder: Path | str | None = None,
    level_of_theory: str | None = None,
    prior_shifts_eV: Mapping[int, float] | None = None,
    progress: Progress | None = None,
) -> OpenBackbone:
    """Train a foundation's own weights; deterministic for a given seed on one machine (on a CPU with one thread).

    Afterwards ``train`` fits heads on the adapted foundation. An interrupted adaptation resumes when it is called again
    with the same inputs and state folder, and gives the same weights.

    Args:
        backbone: an open foundation, adapted or not; it is not modified.
        frames: labelled frames.
        settings: method, epochs, learning rate and replay; ``AdaptSettings()`` by default.
        training: loss and weights of energies, forces and stress, as for the heads; ``TrainingSettings()`` by default.
            The likelihood needs a committee: it counts as the squared loss.
        replay: structures whose foundation predictions should be kept, for example explored frames; those near the
            labels are left out. Strained labelled structures and a set of small crystals, dimers and molecules are
            always added.
        seed: random seed of batches, replayed frames, low-rank factors and held-out trajectories.
        state_folder: folder of the state, from which an interrupted adaptation resumes; None to keep none.
        level_of_theory: that of the labels; by default the one stated by the frames, or else the foundation's.
        prior_shifts_eV: atomic number -> shift of elements that the labels do not determine; 0 by default.
        progress: called with (steps done, steps in total).

    Raises:
        FoundationError: the foundation has no weights that can be trained, or training diverged.
        TrainingDataError: no frames, labels that are not finite or do not match their structure, repeated ids, or
            labels of several levels of theory that were not aligned.
        StructureError: a structure is invalid.
    """
    settings, training = settings or AdaptSettings(), training or TrainingSettings()
    if not isinstance(backbone, OpenBackbone):
        raise FoundationError(
            f"The foundation {backbone.name} cannot be adapted: its weights are not open. Train heads on it, or choose "
            "an open foundation (kind: sevennet or fairchem)."
        )
    check_frames(frames, backbone.elements)
    level = level_of_theory or common_level_of_theory(frames)
    if settings.epochs == settings.iterations == 0:
        return backbone.with_weights({}, level)
    data = _data(backbone, frames, settings, training, replay, seed, prior_shifts_eV)
    weights = TrainableWeights(backbone, settings, seed)
    state = None
    if state_folder is not None:
        Path(state_folder).mkdir(parents=True, exist_ok=True)
        key = _key(backbone, frames, settings, training, replay, seed, prior_shifts_eV)
        state = StateFile(Path(state_folder), key, STATE)
    if _uses_gauss_newton(weights, data, settings):
        fit_gauss_newton(weights, data, settings, training, state, progress)
    else:
        fit_adam(weights, data, settings, training, seed, state, progress)
    adapted = backbone.with_weights(weights.changed(), level)
    if state is not None:
        state.remove()
    return adapted


def _uses_gauss_newton(weights: TrainableWeights, data: AdaptationData, settings: AdaptSettings) -> bool:
    if settings.optimizer == "auto":
        return settings.method != "low_rank" and directions_in_memory(weights, data, settings) > 0
    return settings.optimizer == "gauss_newton"


def _data(
    backbone: OpenBackbone,
    frames: Sequence[TrainingFrame],
    settings: AdaptSettings,
    training: TrainingSettings,
    explored: Sequence[Atoms],
    seed: int,
    prior_eV: Mapping[int, float] | None,
) -> AdaptationData:
    """Fit the reference shifts to the fitted frames, and label the replayed frames by the foundation."""
    groups = [frame.independent_group for frame in frames]
    kept, held = split_by_group(groups, settings.validation_fraction, seed)
    fitted = [frames[i] for i in kept]
    energies = [target.energy_eV for target in foundation_targets(backbone, [frame.atoms for frame in fitted])]
    shifts = fit_shifts(fitted, np.array(energies), training, prior_eV)
    held_out = [frame for frame in comparable_frames([frames[i] for i in held], fitted) if frame.has_label]
    count = replayed_frames(len(fitted), settings)
    pool = 1 if settings.optimizer != "adam" else REPLAY_POOL
    structures = [frame.atoms for frame in fitted]
    chosen = replay_frames(backbone, structures, explored, pool * count, seed) if count else []
    return AdaptationData(
        [Target.of(frame, shifts) for frame in fitted],
        [frame.independent_group for frame in fitted],
        foundation_targets(backbone, chosen),
        [Target.of(frame, shifts) for frame in held_out],
    )


def _key(
    backbone: OpenBackbone,
    frames: Sequence[TrainingFrame],
    settings: AdaptSettings,
    training: TrainingSettings,
    replay: Sequence[Atoms],
    seed: int,
    prior_eV: Mapping[int, float] | None,
) -> str:
    """Return the SHA-256 of all inputs of an adaptation, including the order of the frames."""
    digest = hashlib.sha256(f"{VERSION} {backbone.fingerprint} {backbone.dtype} {seed}".encode())
    digest.update((settings.model_dump_json() + training.model_dump_json()).encode())
    for frame in frames:
        digest.update(f"{frame.id} {frame.group} {frame.aligned} {label_hash(frame)}".encode())
    for atoms in replay:
        digest.update(structure_hash(atoms).encode())
    digest.update(repr(sorted((prior_eV or {}).items())).encode())
    return digest.hexdigest()
