"""Train a committee on files of labelled frames without a campaign: ``al_loop.train`` and ``al-loop train``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from al_loop.config import OutlierSettings
from al_loop.config.settings import AdaptMode, GateSettings, TrainSettings
from al_loop.errors import InputError
from al_loop.files.labelled import read_labelled
from al_loop.files.labels.isolated_atoms import atom_energies
from al_loop.files.labels.labelled_frames import LabelCounts, LabelledFrames
from al_loop.files.labels.names import LabelKeys, given_keys
from al_loop.files.sources import find_sources
from al_loop.gate.calibrate import ForceComparison, with_fitted_calibration
from al_loop.stages.train.alignment import label_mismatches
from al_loop.stages.train.atom_shifts import isolated_atom_shifts, known_atoms
from al_loop.stages.train.compared_labels import compared_with_foundation
from al_loop.stages.train.fitting import Backbones, Fitting, best_candidate
from al_loop.stages.train.outliers import outliers_among
from al_loop.stages.train.training_frame import training_frame
from al_loop.tools.open_model import YAML, FoundationArgument, parse_foundation
from al_loop.tools.preflight.load_config import load_config
from al_loop.utils.content_hash import content_id
from al_loop.utils.paths import Paths, as_paths, check_target_folder
from al_loop.utils.progress import Advance, OneBar, show_nothing
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone
from committee.checkpoint import save
from committee.potential import CommitteePotential
from committee.settings import AdaptSettings, CommitteeSettings, TrainingSettings
from committee.training.training_frame import TrainingFrame, check_frames

COMPARED = 24  # frames that are compared with the foundation before anything is trained

_Placed = dict[str, tuple[str, TrainingFrame]]  # id of a frame -> its place in the files, and the frame


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Attributes:
        frames: number of training frames.
        labels: number of frames by their labels; missing parts have no weight in the fit.
        notes: sentences on frames that were merged, separated or left out.
        force_mae_eV_per_A: on the calibration frames, which were not trained on; None without any.
        force_mae_foundation_eV_per_A: that of the foundation before any adaptation on the same frames.
        calibration: in one sentence; empty without calibration frames.
        left_out: outliers among the labels of both files, each with its file, its frame and the reason.
        foundation: name of the foundation under the heads, which says whether it was adapted.
        adaptation: decision on the foundation's weights (``al_loop.stages.train.adaptation.AdaptationRecord``, as plain
            data); None if none had to be taken.
    """

    frames: int
    labels: LabelCounts
    notes: tuple[str, ...] = ()
    force_mae_eV_per_A: float | None = None
    force_mae_foundation_eV_per_A: float | None = None
    calibration: str = ""
    left_out: tuple[str, ...] = ()
    foundation: str = ""
    adaptation: dict[str, Any] | None = None


def train(
    labelled: Paths,
    foundation: FoundationArgument,
    to: str | Path,
    *,
    calibrate: Paths = (),
    tolerance_eV_per_A: float | None = None,
    level: str = "not stated",
    seed: int = 0,
    committee: CommitteeSettings | None = None,
    training: TrainingSettings | None = None,
    adapt: AdaptMode | None = None,
    adaptation: AdaptSettings | None = None,
    energy_key: str | None = None,
    forces_key: str | None = None,
    stress_key: str | None = None,
    check: bool = True,
    advance: Advance = show_nothing,
) -> TrainingResult:
    """Train a committee on files of labelled frames and write its checkpoint.

    Tangents are kept in ``<to>-tangents``: the same call goes on where it was interrupted, and a later one with more
    frames computes only the new ones.

    Args:
        labelled: DFT outputs, extxyz, aselmdb, ASE databases: files, folders, patterns such as ``runs/**/OUTCAR``.
        foundation: ``sevennet:MODEL[:FIDELITY]``, ``fairchem:MODEL:TASK`` or settings; or a campaign's YAML file, whose
            ``committee``, ``train`` and ``gate`` blocks are used too.
        to: the checkpoint's folder; another checkpoint there is replaced once the new one is complete.
        calibrate: labelled frames of other trajectories; without any no frame is ever trusted.
        tolerance_eV_per_A: largest acceptable force error; by default that of the campaign, or of ``GateSettings``.
        level: level of theory of the labels, in words.
        seed: of the heads and of the bootstrap.
        committee: the heads; by default those of the campaign, or ``CommitteeSettings()``.
        training: the fit; by default that of the campaign, or ``TrainingSettings()``.
        adapt: whether the foundation's own weights are adapted first: ``never``; ``always``; or ``auto``, if heads
            alone are not enough on the frames in ``calibrate``, without which it never is. By default that of the
            campaign, or ``auto``; ``TrainSettings.adapt`` has the criteria.
        adaptation: how; by default that of the campaign, or ``AdaptSettings()``.
        energy_key: name of the energies, eV; by default ``REF_energy``, or ASE's own energy.
        forces_key: name of the forces, eV/Å; by default as for the energies.
        stress_key: name of the stresses, eV/Å³; by default as for the energies.
        check: refuse labels whose unit, sign or order does not fit the foundation, and leave outliers out.
        advance: called with the number of frames and epochs that are done.

    Returns:
        Numbers of frames and labels; with ``calibrate`` the force errors on those frames, eV/Å.

    Raises:
        InputError: files that are not what they should be, labels that do not fit the foundation, a calibration frame
            that is trained on, or a folder that cannot be written.
        FoundationError: a foundation that cannot be loaded.
        CommitteeError: frames that nothing can be learnt from.

    Examples:
        >>> from al_loop import train
        >>> from committee import CommitteeSettings, TrainingSettings
        >>> done = train(
        ...     "labelled.extxyz",
        ...     "fairchem:distilled.pt:omat",
        ...     to="model",
        ...     calibrate="others.extxyz",
        ...     tolerance_eV_per_A=0.3,
        ...     committee=CommitteeSettings(members=4),
        ...     training=TrainingSettings(epochs=60),
        ... )
        >>> done.frames, done.force_mae_eV_per_A < done.force_mae_foundation_eV_per_A
        (8, True)
    """
    files, held_back, folder = as_paths(labelled), as_paths(calibrate), Path(to)
    blocks = _blocks(foundation, committee, training, tolerance_eV_per_A).with_adaptation(adapt, adaptation)
    check_target_folder("--to", folder)
    find_sources([*files, *held_back])  # refused before a model is loaded
    keys = given_keys(energy_key, forces_key, stress_key)
    chosen = parse_foundation(foundation)
    read = read_labelled(files, keys)
    learnt = _frames(read, level)
    held, notes = _to_calibrate(held_back, keys, level) if held_back else ({}, ())
    both = learnt.keys() & held.keys()
    if both:
        raise InputError(
            f"--calibrate: {len(both)} of {len(held)} frames of {_named(held_back)} are in {_named(files)} too; give "
            "frames of trajectories that are not trained on"
        )
    backbone = load_backbone(chosen)
    check_frames([frame for _, frame in (*learnt.values(), *held.values())], backbone.elements)
    left_out: list[str] = []
    if check:
        _compare(_named(files), [frame for _, frame in learnt.values()], backbone)
        left_out = [*_without_outliers(learnt, backbone, advance), *_without_outliers(held, backbone, advance)]
    frames = [frame for _, frame in learnt.values()]
    energies = known_atoms(atom_energies(read.isolated_atoms).energies_eV, backbone)
    held_frames = [frame for _, frame in held.values()]
    fitting = Fitting(
        backbones=Backbones(backbone, backbone),
        frames=frames,
        prior_shifts_eV=partial(isolated_atom_shifts, energies),
        level=level,
        committee=blocks.committee,
        train=blocks.train,
        gate=blocks.gate,
        seed=seed,
        folder=folder.with_name(f"{folder.name}-tangents"),
        held_back=[(frame.atoms, np.asarray(frame.forces_eV_per_A)) for frame in held_frames],
    )
    potential, decided = best_candidate(fitting, OneBar(advance))
    labels = LabelCounts.of([(frame.energy_eV, frame.forces_eV_per_A) for frame in frames])
    trained = TrainingResult(
        len(frames),
        labels,
        (*read.notes, *notes),
        left_out=tuple(left_out),
        foundation=potential.backbone.name,
        adaptation=None if decided is None else decided.as_dict(),
    )
    if held:
        bare = CommitteePotential.untrained(backbone, blocks.committee)
        potential, trained = _calibrated(potential, bare, held_frames, blocks.gate, trained)
    save(potential, folder)
    return trained


def _frames(read: LabelledFrames, level: str) -> _Placed:
    found = {}
    for labelled in read.frames:
        name = content_id(level, labelled.frame_id)
        found[name] = (labelled.where, training_frame(labelled, name, level))
    return found


def _named(paths: Sequence[Path]) -> str:
    return ", ".join(map(str, paths))


def _to_calibrate(paths: Sequence[Path], keys: LabelKeys | None, level: str) -> tuple[_Placed, tuple[str, ...]]:
    """Frames with forces, which a calibration needs, and a note on the others."""
    read = read_labelled(paths, keys)
    frames = _frames(read, level)
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
    wrong = label_mismatches([telling[index] for index in sorted(chosen)], backbone)
    if wrong:
        raise InputError(
            f"{who}: {' '.join(wrong)} Nothing was trained. Convert them to eV and eV/Å, or add --no-check if they "
            "are right"
        )


def _without_outliers(placed: _Placed, backbone: Backbone, advance: Advance) -> list[str]:
    """Leave out outliers among the labels, and list them."""
    ids, compared = list(placed), []
    for _, frame in placed.values():
        compared += compared_with_foundation(backbone, [frame])
        advance(1)
    reasons = outliers_among(compared, OutlierSettings())
    return [f"{placed.pop(ids[index])[0]}: {reason}" for index, reason in reasons.items()]


def _calibrated(
    potential: CommitteePotential,
    foundation: CommitteePotential,
    held: Sequence[TrainingFrame],
    gate: GateSettings,
    trained: TrainingResult,
) -> tuple[CommitteePotential, TrainingResult]:
    """The committee with its calibration on frames that it was not trained on, and its errors there."""
    truth = [np.asarray(frame.forces_eV_per_A) for frame in held]
    compared = ForceComparison.of(potential, [frame.atoms for frame in held], truth, foundation)
    calibrated = with_fitted_calibration(potential, compared.errors, compared.sigmas, compared.latent, gate)
    return calibrated, replace(
        trained,
        force_mae_eV_per_A=compared.mae_eV_per_A,
        force_mae_foundation_eV_per_A=compared.foundation_mae_eV_per_A,
        calibration="" if calibrated.calibration is None else calibrated.calibration.summary,
    )


@dataclass(frozen=True)
class _Blocks:
    """The blocks of a campaign's config that a training without the campaign uses."""

    committee: CommitteeSettings
    train: TrainSettings
    gate: GateSettings

    def with_adaptation(self, adapt: AdaptMode | None, adaptation: AdaptSettings | None) -> "_Blocks":
        """Return the blocks with what the caller gives."""
        given = {"adapt": adapt, "adaptation": adaptation}
        update = {key: value for key, value in given.items() if value is not None}
        return replace(self, train=self.train.model_copy(update=update))


def _blocks(
    foundation: FoundationArgument,
    committee: CommitteeSettings | None,
    training: TrainingSettings | None,
    tolerance_eV_per_A: float | None,
) -> _Blocks:
    """What the caller gives, else the blocks of the campaign that names the foundation, else the defaults."""
    if tolerance_eV_per_A is not None and not 0 < tolerance_eV_per_A < float("inf"):
        raise InputError(f"--tolerance: received {tolerance_eV_per_A:g}, expected a finite force error above 0 in eV/Å")
    blocks = _Blocks(CommitteeSettings(), TrainSettings(), GateSettings())
    if isinstance(foundation, str | Path) and str(foundation).endswith(YAML):
        config = load_config(Path(foundation))
        blocks = _Blocks(config.committee, config.train, config.gate)
    gate = blocks.gate
    if tolerance_eV_per_A is not None:
        gate = gate.model_copy(update={"force_tolerance_eV_per_A": tolerance_eV_per_A})
    train = blocks.train
    if training is not None:
        train = train.model_copy(update={name: getattr(training, name) for name in TrainingSettings.model_fields})
    return _Blocks(committee or blocks.committee, train, gate)
