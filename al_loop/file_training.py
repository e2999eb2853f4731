"""A committee from a file of labelled frames, outside any campaign: ``al-loop train``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from al_loop.config import OutlierSettings
from al_loop.config.gate_settings import GateSettings
from al_loop.errors import InputError
from al_loop.files.labelled import LabelKeys, LabelledAtoms, read_labelled
from al_loop.foundation_text import Foundation
from al_loop.ids import content_id, frame_id
from al_loop.label.outliers import ComparedLabel, outliers_among
from al_loop.train.alignment import label_slips
from al_loop.train.fitting import incremental
from al_loop.train.foundation_answers import foundation_answers
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
        keys: names of the labels in the files.
        level_of_theory: of the labels, in words.
        seed: of the heads and of the bootstrap.
        check: refuse labels whose unit, sign or order does not fit the foundation, and leave outliers out.
    """

    committee: CommitteeSettings
    training: TrainingSettings
    gate: GateSettings
    keys: LabelKeys
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
        left_out: outliers among the labels of both files, each with its file, its frame and the reason.
    """

    frames: int
    force_mae_eV_per_A: float | None = None
    force_mae_foundation_eV_per_A: float | None = None
    calibration: str = ""
    left_out: tuple[str, ...] = ()


def train_on_file(
    labelled: Path,
    foundation: Foundation,
    to: Path,
    recipe: Recipe,
    *,
    calibration_file: Path | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Trained:
    """Train a committee on labelled frames and write its checkpoint; outliers among the labels are left out.

    Features and tangents are kept in ``<to>-tangents``: the same call goes on where it was interrupted, and a later
    one with more frames computes only the new ones.

    Args:
        labelled: frames with energies and forces.
        foundation: what the committee stands on.
        to: the checkpoint's folder; another checkpoint there is replaced once the new one is complete.
        recipe: everything else.
        calibration_file: labelled frames of other trajectories; without them nothing is ever trusted.
        advance: called with the number of frames and epochs that are done.

    Raises:
        InputError: files that are not what they should be, labels that do not fit the foundation, or a calibration
            frame that is trained on.
        FoundationError: a foundation that cannot be loaded.
        CommitteeError: frames that nothing can be learnt from, or a folder that cannot be written.
    """
    learnt = _frames(labelled, recipe)
    held = {} if calibration_file is None else _frames(calibration_file, recipe)
    both = learnt.keys() & held.keys()
    if both:
        raise InputError(
            f"--calibrate: {len(both)} of {len(held)} frames of {calibration_file} are in {labelled} too; give frames "
            "of trajectories that are not trained on"
        )
    backbone = load_backbone(foundation)
    left_out: list[str] = []
    if recipe.check:
        _compare(labelled, [frame for _, frame in learnt.values()], backbone)
        left_out = [*_without_outliers(learnt, backbone, advance), *_without_outliers(held, backbone, advance)]
    frames = [frame for _, frame in learnt.values()]
    potential = train(
        backbone,
        frames,
        committee=recipe.committee,
        training=recipe.training,
        cache_folder=to.with_name(f"{to.name}-tangents"),
        seed=recipe.seed,
        level_of_theory=recipe.level_of_theory,
        progress=incremental(advance),
    )
    if not held:
        save(potential, to)
        return Trained(len(frames), left_out=tuple(left_out))
    calibrated, mae, mae_foundation = _calibrated(potential, [frame for _, frame in held.values()], recipe.gate)
    save(calibrated, to)
    assert calibrated.calibration is not None  # noqa: S101 - just made
    return Trained(len(frames), mae, mae_foundation, calibrated.calibration.summary, tuple(left_out))


def _frames(path: Path, recipe: Recipe) -> dict[str, tuple[str, TrainingFrame]]:
    """Frame id -> its place in the file and the frame; one without forces or energy is refused as a slip."""
    found = {}
    for index, labelled in enumerate(read_labelled(path, recipe.keys).frames):
        if not (np.isfinite(labelled.energy_eV) and np.isfinite(labelled.forces_eV_per_A).all()):
            raise InputError(
                f"{path}, frame {index}: no {recipe.keys.energy} or no {recipe.keys.forces}; remove the frame, or name "
                "the labels with --energy-key and --forces-key"
            )
        frame = _frame(labelled, recipe.level_of_theory)
        found[frame.id] = (labelled.where, frame)
    return found


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


def _compare(path: Path, frames: Sequence[TrainingFrame], backbone: Backbone) -> None:
    check_frames(frames, backbone.elements)
    rng = np.random.default_rng(len(frames))
    chosen = rng.choice(len(frames), size=min(COMPARED, len(frames)), replace=False)
    slips = label_slips([frames[index] for index in sorted(chosen)], backbone)
    if slips:
        raise InputError(
            f"{path}: {' '.join(slips)} Nothing was trained. Convert them to eV and eV/Å, or add --no-check if they "
            "are right"
        )


def _without_outliers(
    placed: dict[str, tuple[str, TrainingFrame]], backbone: Backbone, advance: Callable[[int], object]
) -> list[str]:
    """Take out the labels that are far from the foundation and from how the others differ from it, and name them."""
    compared = []
    for _, frame in placed.values():
        (answer,) = foundation_answers(backbone, [frame.atoms])
        forces = np.asarray(frame.forces_eV_per_A)
        label = frame.energy_eV, forces, frame.stress_eV_per_A3
        compared.append(ComparedLabel(frame.atoms, *label, float(answer.energy), answer.forces, answer.stress))
        advance(1)
    ids = list(placed)
    reasons = outliers_among(compared, OutlierSettings())
    return [f"{placed.pop(ids[index])[0]}: {reason}" for index, reason in reasons.items()]


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
