"""Train a committee on files of labelled frames without a campaign: ``al-loop train``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from al_loop.config import OutlierSettings
from al_loop.config.gate_settings import GateSettings
from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.counts import LabelCounts
from al_loop.files.labels.isolated_atoms import atom_energies
from al_loop.files.labels.labelled_frames import LabelledFrames
from al_loop.files.labels.names import LabelKeys
from al_loop.gate.calibrate import ForceComparison, with_fitted_calibration
from al_loop.stages.train.alignment import label_slips
from al_loop.stages.train.atom_shifts import isolated_atom_shifts, known_atoms
from al_loop.stages.train.compared_labels import compared_label
from al_loop.stages.train.fit import incremental
from al_loop.stages.train.foundation_predictions import foundation_predictions
from al_loop.stages.train.other_labels import training_frame_of
from al_loop.stages.train.outliers import outliers_among
from al_loop.tools.foundation_argument import Foundation
from al_loop.utils.content_hash import content_id, frame_id
from al_loop.utils.progress import Advance, show_nothing
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from committee.checkpoint import save
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training.train import train
from committee.training.training_frame import TrainingFrame, check_frames

COMPARED = 24  # frames that are compared with the foundation before anything is trained

_Placed = dict[str, tuple[str, TrainingFrame]]  # id of a frame -> its place in the files, and the frame


@dataclass(frozen=True)
class Recipe:
    """Settings of a training on labelled frames.

    Attributes:
        committee: the heads.
        training: the fit.
        gate: tolerance and confidence of a calibration.
        keys: names of the labels in files of frames; None for the usual ones, see ``keys_of``.
        level_of_theory: of the labels, as free text.
        seed: of the heads and of the bootstrap.
        check: raise for labels with a wrong unit, sign or order, and leave outliers out.
    """

    committee: CommitteeSettings
    training: TrainingSettings
    gate: GateSettings
    keys: LabelKeys | None
    level_of_theory: str
    seed: int = 0
    check: bool = True


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        frames: number of training frames.
        labels: number of frames by their labels; missing parts have no weight in the fit.
        notes: sentences on frames that were merged, separated or left out.
        force_mae_eV_per_A: on the calibration frames, which were not trained on; None without any.
        force_mae_foundation_eV_per_A: the foundation's own on the same frames.
        calibration: in one sentence; empty without calibration frames.
        left_out: outliers among the labels of both files, each with its file, its frame and the reason.
    """

    frames: int
    labels: LabelCounts
    notes: tuple[str, ...] = ()
    force_mae_eV_per_A: float | None = None
    force_mae_foundation_eV_per_A: float | None = None
    calibration: str = ""
    left_out: tuple[str, ...] = ()


def train_on_files(
    labelled: Path | Sequence[Path],
    foundation: Foundation,
    to: Path,
    recipe: Recipe,
    *,
    calibration_files: Sequence[Path] = (),
    advance: Advance = show_nothing,
) -> Trained:
    """Train a committee on labelled frames and write its checkpoint; outliers among the labels are left out.

    Features and tangents are kept in ``<to>-tangents``: the same call resumes after an interruption, and a later
    one with more frames computes only the new ones.

    Args:
        labelled: frames with energies, forces or both: files, folders and patterns, see ``find_sources``; isolated
            atoms among them are the elements' energies.
        foundation: of the committee.
        to: the checkpoint's folder; another checkpoint there is replaced once the new one is complete.
        recipe: everything else.
        calibration_files: labelled frames of other trajectories; without them no frame is trusted.
        advance: called with the number of frames and epochs that are done.

    Raises:
        InputError: files that are not what they should be, labels that do not fit the foundation, or a calibration
            frame that is trained on.
        FoundationError: a foundation that cannot be loaded.
        CommitteeError: frames that nothing can be learnt from, or a folder that cannot be written.
    """
    read = read_labelled(labelled, recipe.keys)
    learnt = _frames(read, recipe)
    held, notes = _to_calibrate(calibration_files, recipe) if calibration_files else ({}, ())
    both = learnt.keys() & held.keys()
    if both:
        raise InputError(
            f"--calibrate: {len(both)} of {len(held)} frames of {_named(calibration_files)} are in {_named(labelled)} "
            "too; give frames of trajectories that are not trained on"
        )
    backbone = load_backbone(foundation)
    check_frames([frame for _, frame in (*learnt.values(), *held.values())], backbone.elements)
    left_out: list[str] = []
    if recipe.check:
        _compare(_named(labelled), [frame for _, frame in learnt.values()], backbone)
        left_out = [*_without_outliers(learnt, backbone, advance), *_without_outliers(held, backbone, advance)]
    frames = [frame for _, frame in learnt.values()]
    energies = known_atoms(atom_energies(read.isolated_atoms).energies_eV, backbone)
    potential = train(
        backbone,
        frames,
        committee=recipe.committee,
        training=recipe.training,
        cache_folder=to.with_name(f"{to.name}-tangents"),
        seed=recipe.seed,
        level_of_theory=recipe.level_of_theory,
        prior_shifts_eV=isolated_atom_shifts(energies, backbone),
        progress=incremental(advance),
    )
    labels = LabelCounts.of([(frame.energy_eV, frame.forces_eV_per_A) for frame in frames])
    told = Trained(len(frames), labels, (*read.notes, *notes), left_out=tuple(left_out))
    if not held:
        save(potential, to)
        return told
    kept = [frame for _, frame in held.values()]
    compared = ForceComparison.of(potential, [f.atoms for f in kept], [np.asarray(f.forces_eV_per_A) for f in kept])
    calibrated = with_fitted_calibration(potential, compared.errors, compared.sigmas, compared.latent, recipe.gate)
    save(calibrated, to)
    assert calibrated.calibration is not None  # noqa: S101 - just made
    return replace(
        told,
        force_mae_eV_per_A=compared.mae_eV_per_A,
        force_mae_foundation_eV_per_A=compared.foundation_mae_eV_per_A,
        calibration=calibrated.calibration.summary,
    )


def _frames(read: LabelledFrames, recipe: Recipe) -> _Placed:
    level = recipe.level_of_theory
    found = {}
    for labelled in read.frames:
        name = content_id(level, frame_id(labelled.atoms))
        found[name] = (labelled.where, training_frame_of(labelled, name, level))
    return found


def _named(paths: Path | Sequence[Path]) -> str:
    return str(paths) if isinstance(paths, Path) else ", ".join(map(str, paths))


def _to_calibrate(paths: Sequence[Path], recipe: Recipe) -> tuple[_Placed, tuple[str, ...]]:
    """Frames with forces, which a calibration needs, and a note on the others."""
    read = read_labelled(paths, recipe.keys)
    frames = _frames(read, recipe)
    held = {name: placed for name, placed in frames.items() if placed[1].forces_eV_per_A is not None}
    if not held:
        raise InputError(
            f"--calibrate: no frame of {_named(paths)} has forces; a calibration compares forces, give frames that "
            "have them"
        )
    notes = [f"--calibrate: {note}" for note in read.notes]
    if len(held) < len(frames):
        notes.append(
            f"--calibrate: {len(frames) - len(held)} of {len(frames)} frames of {_named(paths)} have no forces and "
            "were left out."
        )
    return held, tuple(notes)


def _compare(who: str, frames: Sequence[TrainingFrame], backbone: Backbone) -> None:
    telling = [frame for frame in frames if frame.forces_eV_per_A is not None]
    rng = np.random.default_rng(len(telling))
    chosen = rng.choice(len(telling), size=min(COMPARED, len(telling)), replace=False)
    slips = label_slips([telling[index] for index in sorted(chosen)], backbone)
    if slips:
        raise InputError(
            f"{who}: {' '.join(slips)} Nothing was trained. Convert them to eV and eV/Å, or add --no-check if they "
            "are right"
        )


def _without_outliers(placed: _Placed, backbone: Backbone, advance: Advance) -> list[str]:
    """Leave out outliers among the labels, and list them."""
    ids, compared = [], []
    for name, (_, frame) in placed.items():
        (answer,) = foundation_predictions(backbone, [frame.atoms])
        compared.append(compared_label(frame, float(answer.energy), answer.forces, answer.stress))
        ids.append(name)
        advance(1)
    reasons = outliers_among(compared, OutlierSettings())
    return [f"{placed.pop(ids[index])[0]}: {reason}" for index, reason in reasons.items()]
