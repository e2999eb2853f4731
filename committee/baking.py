"""Baking: a foundation's weights are fitted to a committee's own mean, so that one plain model replaces the two."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from committee.adaptation.adapt import adapt
from committee.backbones.contract import OpenBackbone
from committee.errors import FoundationError, RefusedFrameError, TrainingDataError
from committee.model.heads import ResidualHeads
from committee.model.reference_shifts import ReferenceShifts
from committee.potential import CommitteePotential, Provenance
from committee.prediction import Prediction
from committee.settings import AdaptSettings, CommitteeSettings, TrainingSettings
from committee.training.training_frame import TrainingFrame
from committee.training.validation import split_by_group

MIN_FRAMES = 10
BAKE_SETTINGS = AdaptSettings(
    optimizer="adam", epochs=30, batch_frames=8, learning_rate=1e-3, replay_share=0.1, replay_weight=0.01
)
"""Frames are plentiful and their targets exact: fewer epochs than for labels, larger batches, and replayed frames that
hardly count: at a weight of 1 the difference from the committee was larger by a factor of 1.8 after six epochs."""
_BLOCK = 256  # frames
Array = NDArray[np.float64]


@dataclass(frozen=True)
class MeanErrors:
    """Mean absolute differences between two models, or a model and labels, on the same frames.

    Attributes:
        frames: number of frames.
        energy_eV_per_atom: of total energies; None without any.
        forces_eV_per_A: of force components; None without any.
        stress_eV_per_A3: of stress components; None where no frame has a stress.
    """

    frames: int
    energy_eV_per_atom: float | None
    forces_eV_per_A: float | None
    stress_eV_per_A3: float | None

    def __str__(self) -> str:
        parts = [
            f"{value:.2g} {unit}"
            for value, unit in (
                (self.energy_eV_per_atom, "eV/atom"),
                (self.forces_eV_per_A, "eV/Å"),
                (self.stress_eV_per_A3, "eV/Å³"),
            )
            if value is not None
        ]
        return f"{', '.join(parts)} (mean absolute, {self.frames} frames)"


@dataclass(frozen=True)
class LabelErrors:
    """Both models against labels, on frames with labels.

    Attributes:
        committee: error of the committee.
        baked: error of the baked model.
        difference: difference between the two models on these frames.
    """

    committee: MeanErrors
    baked: MeanErrors
    difference: MeanErrors

    @property
    def ratio(self) -> float | None:
        """Difference over the committee's own error, for forces; None without labelled forces."""
        error, difference = self.committee.forces_eV_per_A, self.difference.forces_eV_per_A
        return None if not error or difference is None else difference / error


@dataclass(frozen=True)
class Baked:
    """A plain model in place of a committee.

    Attributes:
        backbone: the foundation with the fitted weights.
        shifts: reference shifts; the energy is that of ``backbone`` plus these.
        provenance: of the committee, whose level of theory and training set it inherits.
        fitted_frames: number of frames it was fitted to.
        difference: between the plain model and the committee, on frames that were kept back.
        label_errors: of both against labels; None without labelled frames.
    """

    backbone: OpenBackbone
    shifts: ReferenceShifts
    provenance: Provenance
    fitted_frames: int
    difference: MeanErrors
    label_errors: LabelErrors | None = None

    def about(self) -> dict[str, Any]:
        """Return what a file should state of the model, as plain JSON values."""
        errors = self.label_errors
        return {
            "baked_from_committee": True,
            "level_of_theory": self.provenance.level_of_theory,
            "training_hash": self.provenance.training_hash,
            "training_frames": self.provenance.training_frames,
            "fitted_frames": self.fitted_frames,
            "difference": asdict(self.difference),
            "label_errors": None if errors is None else {**asdict(errors), "ratio": errors.ratio},
        }


def bake(
    potential: CommitteePotential,
    frames: Sequence[Atoms],
    settings: AdaptSettings | None = None,
    *,
    groups: Sequence[str] | None = None,
    held_back: float = 0.1,
    labelled: Sequence[TrainingFrame] = (),
    training: TrainingSettings | None = None,
    seed: int = 0,
    state_folder: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Baked:
    """Fit the foundation's weights to a committee's energies, forces and stress; needs no labels.

    The committee's uncertainty is lost: the plain model has none. Where the committee's correction is switched off far
    from its training frames, the plain model is only held by replayed frames; explore before baking.

    Args:
        potential: a committee on an open foundation, adapted or not.
        frames: structures that the committee is used on, such as explored frames: hundreds to thousands. Frames that
            the committee cannot predict are left out.
        settings: of the fit; ``BAKE_SETTINGS`` by default.
        groups: for each frame, the name of its trajectory; whole trajectories are kept back. By default each frame is
            independent.
        held_back: share of the frames that measure the difference.
        labelled: frames with labels, never trained on, to compare the difference with the committee's own error.
        training: weights of energies, forces and stress; ``TrainingSettings()`` by default.
        seed: random seed of the fit and of the frames kept back.
        state_folder: folder of the state, from which an interrupted fit resumes; None to keep none.
        progress: called with (steps done, steps in total).

    Raises:
        FoundationError: the foundation has no weights that can be changed, or the fit diverged.
        TrainingDataError: too few frames.
        StructureError: a labelled structure is invalid.
    """
    if not isinstance(potential.backbone, OpenBackbone):
        raise FoundationError(
            f"The foundation {potential.backbone.name} cannot be baked: its weights are not open. Share the folder "
            "that committee.save writes instead."
        )
    targets = _targets(potential, frames, groups)
    if len(targets) < MIN_FRAMES:
        raise TrainingDataError(
            f"Baking needs at least {MIN_FRAMES} frames that the committee predicts, received {len(targets)} of "
            f"{len(frames)}; explore more structures."
        )
    fitted, kept = _split(targets, held_back, seed)
    backbone = adapt(
        potential.backbone,
        fitted,
        settings or BAKE_SETTINGS,
        training=training,
        seed=seed,
        state_folder=state_folder,
        level_of_theory=potential.provenance.level_of_theory,
        progress=progress,
    )
    shifts = _shifts(backbone, fitted, potential.shifts)
    plain = _plain(backbone, shifts, potential.provenance)
    return Baked(
        backbone=backbone,
        shifts=shifts,
        provenance=potential.provenance,
        fitted_frames=len(fitted),
        difference=_errors(plain.predict([frame.atoms for frame in kept]), kept, potential.shifts),
        label_errors=_label_errors(potential, plain, labelled) if labelled else None,
    )


def _targets(
    potential: CommitteePotential, frames: Sequence[Atoms], groups: Sequence[str] | None
) -> list[TrainingFrame]:
    """Label the frames by the committee, with energies on the foundation's zero."""
    targets = []
    for i, (atoms, prediction) in enumerate(zip(frames, _predicted(potential, frames), strict=True)):
        if isinstance(prediction, Prediction):
            energy = prediction.energy - potential.shifts.total_eV(atoms.numbers)
            group = "" if groups is None else groups[i]
            targets.append(TrainingFrame(f"{i:06d}", atoms, energy, prediction.forces, prediction.stress, group=group))
    return targets


def _predicted(potential: CommitteePotential, frames: Sequence[Atoms]) -> Iterator[Prediction | RefusedFrameError]:
    """Predict frames one block after another: predictions hold the features of every atom."""
    for start in range(0, len(frames), _BLOCK):
        yield from potential.predict_each(frames[start : start + _BLOCK])


def _split(
    targets: Sequence[TrainingFrame], held_back: float, seed: int
) -> tuple[list[TrainingFrame], list[TrainingFrame]]:
    names = [frame.independent_group for frame in targets]
    groups = names if len(set(names)) > 1 else [frame.id for frame in targets]
    fitted, kept = split_by_group(groups, held_back, seed)
    return [targets[i] for i in fitted], [targets[i] for i in kept]


def _shifts(backbone: OpenBackbone, fitted: Sequence[TrainingFrame], committee: ReferenceShifts) -> ReferenceShifts:
    """Fit what the weights did not learn of a constant energy per atom, and add the committee's own shifts."""
    plain = _plain(backbone, ReferenceShifts(), Provenance(backbone.level_of_theory))
    missing = {
        frame.id: frame.energy_eV + committee.total_eV(frame.atoms.numbers) - prediction.energy
        for frame, prediction in zip(fitted, _predicted(plain, [frame.atoms for frame in fitted]), strict=True)
        if isinstance(prediction, Prediction)
    }
    numbers = [frame.atoms.numbers for frame in fitted if frame.id in missing]
    return ReferenceShifts.fit(numbers, np.array(list(missing.values())), committee.eV_per_atom)


def _plain(backbone: OpenBackbone, shifts: ReferenceShifts, provenance: Provenance) -> CommitteePotential:
    """Return a potential whose mean is the backbone's energy plus shifts."""
    settings = CommitteeSettings(members=2, hidden_channels=1)
    heads = ResidualHeads(settings, backbone.feature_size, tuple(sorted(backbone.elements)), seed=0)
    return CommitteePotential(backbone, settings, heads, None, shifts, provenance)


def _label_errors(
    potential: CommitteePotential, plain: CommitteePotential, labelled: Sequence[TrainingFrame]
) -> LabelErrors:
    frames = [frame.atoms for frame in labelled]
    committee, baked = potential.predict(frames), plain.predict(frames)
    as_labels = [
        TrainingFrame(frame.id, frame.atoms, prediction.energy, prediction.forces, prediction.stress)
        for frame, prediction in zip(labelled, committee, strict=True)
    ]
    return LabelErrors(_errors(committee, labelled), _errors(baked, labelled), _errors(baked, as_labels))


def _errors(
    predictions: Sequence[Prediction], targets: Sequence[TrainingFrame], shifts: ReferenceShifts | None = None
) -> MeanErrors:
    """Compare predictions with targets, whose energies lack ``shifts``."""
    energies, forces, stresses = [], [], []
    for prediction, target in zip(predictions, targets, strict=True):
        energy = target.energy_eV + (0.0 if shifts is None else shifts.total_eV(target.atoms.numbers))
        if np.isfinite(energy):
            energies.append(np.array([(prediction.energy - energy) / len(target.atoms)]))
        if target.forces_eV_per_A is not None:
            forces.append((prediction.forces - target.forces_eV_per_A).ravel())
        if target.stress_eV_per_A3 is not None and prediction.stress is not None:
            stresses.append(prediction.stress - target.stress_eV_per_A3)
    return MeanErrors(len(targets), _mean(energies), _mean(forces), _mean(stresses))


def _mean(errors: Sequence[Array]) -> float | None:
    return float(np.abs(np.concatenate(errors)).mean()) if errors else None
