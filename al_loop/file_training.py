"""A committee from files of labelled frames, outside any campaign: ``al-loop train``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from al_loop.config.gate_settings import GateSettings
from al_loop.errors import InputError
from al_loop.files.label_names import LabelKeys
from al_loop.files.labelled import LabelledAtoms, read_labelled
from al_loop.foundation_text import Foundation
from al_loop.ids import content_id, frame_id
from al_loop.train.alignment import label_slips
from al_loop.train.fitting import incremental
from committee.backbone import Backbone
from committee.backbones import load_backbone
from committee.calibration import Calibration
from committee.checkpoint import save
from committee.potential import CommitteePotential
from committee.settings import CommitteeSettings, TrainingSettings
from committee.training import train
from committee.training_frame import TrainingFrame, check_frames

COMPARED = 24  # frames that are compared with the foundation before anything is trained


@dataclass(frozen=True)
class Recipe:
    """How a committee is made of labelled frames.

    Attributes:
        committee: the heads.
        training: the fit.
        gate: tolerance and confidence of a calibration.
        keys: names of the labels in files of frames; None for the usual ones, see ``keys_of``.
        level_of_theory: of the labels, in words.
        seed: of the heads and of the bootstrap.
        check: refuse labels whose unit, sign or order does not fit the foundation.
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
    """What a training gave.

    Attributes:
        frames: number of training frames.
        force_mae_eV_per_A: on the calibration frames, which were not trained on; None without any.
        force_mae_foundation_eV_per_A: the foundation's own on the same frames.
        calibration: in one sentence; empty without calibration frames.
        notes: what was left out or set apart of the files, in sentences.
    """

    frames: int
    force_mae_eV_per_A: float | None = None
    force_mae_foundation_eV_per_A: float | None = None
    calibration: str = ""
    notes: tuple[str, ...] = ()


def train_on_file(
    labelled: Path | Sequence[Path],
    foundation: Foundation,
    to: Path,
    recipe: Recipe,
    *,
    calibration_files: Path | Sequence[Path] = (),
    advance: Callable[[int], object] = lambda _: None,
) -> Trained:
    """Train a committee on labelled frames and write its checkpoint.

    Features and tangents are kept in ``<to>-tangents``: the same call goes on where it was interrupted, and a later
    one with more frames computes only the new ones.

    Args:
        labelled: frames with energies and forces: files, folders and patterns, see ``find_sources``.
        foundation: what the committee stands on.
        to: the checkpoint's folder; another checkpoint there is replaced once the new one is complete.
        recipe: everything else.
        calibration_files: labelled frames of other trajectories; without them nothing is ever trusted.
        advance: called with the number of frames and epochs that are done.

    Raises:
        InputError: files that are not what they should be, labels that do not fit the foundation, or a calibration
            frame that is trained on.
        FoundationError: a foundation that cannot be loaded.
        CommitteeError: frames that nothing can be learnt from, or a folder that cannot be written.
    """
    learnt, notes = _frames(labelled, recipe)
    held, further_notes = _frames(calibration_files, recipe) if calibration_files else ([], ())
    notes = tuple(dict.fromkeys([*notes, *further_notes]))
    both = {frame.id for frame in learnt} & {frame.id for frame in held}
    if both:
        raise InputError(
            f"--calibrate: {len(both)} of {len(held)} frames of {_named(calibration_files)} are in {_named(labelled)} "
            "too; give frames of trajectories that are not trained on"
        )
    backbone = load_backbone(foundation)
    if recipe.check:
        _compare(_named(labelled), learnt, backbone)
    potential = train(
        backbone,
        learnt,
        committee=recipe.committee,
        training=recipe.training,
        cache_folder=to.with_name(f"{to.name}-tangents"),
        seed=recipe.seed,
        level_of_theory=recipe.level_of_theory,
        progress=incremental(advance),
    )
    if not held:
        save(potential, to)
        return Trained(len(learnt), notes=notes)
    calibrated, mae, mae_foundation = _calibrated(potential, held, recipe.gate)
    save(calibrated, to)
    assert calibrated.calibration is not None  # noqa: S101 - just made
    return Trained(len(learnt), mae, mae_foundation, calibrated.calibration.summary, notes)


def _named(paths: Path | Sequence[Path]) -> str:
    return str(paths) if isinstance(paths, Path) else ", ".join(map(str, paths))


def _frames(paths: Path | Sequence[Path], recipe: Recipe) -> tuple[list[TrainingFrame], tuple[str, ...]]:
    """Each frame once; one without forces or energy is refused, since a file of labels should have them."""
    found = {}
    read = read_labelled(paths, recipe.keys)
    for labelled in read.frames:
        if not (np.isfinite(labelled.energy_eV) and np.isfinite(labelled.forces_eV_per_A).all()):
            raise InputError(
                f"{labelled.where}: no energy or no forces; remove the frame, or name the labels with --energy-key and "
                "--forces-key"
            )
        frame = _frame(labelled, recipe.level_of_theory)
        found[frame.id] = frame
    return list(found.values()), read.notes


def _frame(labelled: LabelledAtoms, level: str) -> TrainingFrame:
    stress = labelled.stress_eV_per_A3
    return TrainingFrame(
        id=content_id(level, frame_id(labelled.atoms)),
        atoms=labelled.atoms,
        energy_eV=labelled.energy_eV,
        forces_eV_per_A=labelled.forces_eV_per_A,
        stress_eV_per_A3=stress if np.isfinite(stress).all() else None,
        level_of_theory=level,
    )


def _compare(who: str, frames: Sequence[TrainingFrame], backbone: Backbone) -> None:
    check_frames(frames, backbone.elements)
    rng = np.random.default_rng(len(frames))
    chosen = rng.choice(len(frames), size=min(COMPARED, len(frames)), replace=False)
    slips = label_slips([frames[index] for index in sorted(chosen)], backbone)
    if slips:
        raise InputError(
            f"{who}: {' '.join(slips)} Nothing was trained. Convert them to eV and eV/Å, or add --no-check if they "
            "are right"
        )


def _calibrated(
    potential: CommitteePotential, held: Sequence[TrainingFrame], gate: GateSettings
) -> tuple[CommitteePotential, float, float]:
    """The committee with its calibration, its force MAE on these frames and that of the foundation, eV/Å."""
    answers = potential.predict([frame.atoms for frame in held], "exact", foundation=True)
    truth = [np.asarray(frame.forces_eV_per_A) for frame in held]
    differences = [answer.forces - forces for answer, forces in zip(answers, truth, strict=True)]
    calibration = Calibration.fit(
        [np.linalg.norm(difference, axis=1) for difference in differences],
        [np.linalg.norm(np.asarray(answer.forces_uncertainty), axis=1) for answer in answers],
        [np.asarray(answer.latent_distance) for answer in answers],
        tolerance_eV_per_A=gate.force_tolerance_eV_per_A,
        confidence=gate.confidence,
        latent_quantile=gate.latent_quantile,
        discard_factor=gate.discard_factor,
    )
    before = [np.asarray(a.foundation_forces) - forces for a, forces in zip(answers, truth, strict=True)]
    return potential.with_calibration(calibration), _mae(differences), _mae(before)


def _mae(differences: Sequence[NDArray[np.float64]]) -> float:
    return float(np.mean(np.abs(np.concatenate(differences))))
