"""The training set of a round, and the check of its labels against the foundation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase.data import chemical_symbols

from al_loop.config import Config, OutlierSettings
from al_loop.config.settings import AlignSettings
from al_loop.errors import InputError
from al_loop.files.labels.labelled_frames import LabelCounts
from al_loop.records import LabelledFrame
from al_loop.stages.train.atom_shifts import isolated_atom_shifts
from al_loop.stages.train.compared_labels import compared_with_foundation, compared_with_tangents
from al_loop.stages.train.other_labels import read_other_labels
from al_loop.stages.train.outliers import derivative_outliers
from al_loop.stages.train.residuals import Residuals
from al_loop.stages.train.training_frame import training_frame
from committee.backbones.contract import Backbone
from committee.checks.compared_labels import ComparedLabel
from committee.checks.force_check import check_forces
from committee.checks.stress_check import check_stress
from committee.errors import TrainingDataError
from committee.model.reference_shifts import ReferenceShifts
from committee.training.aligned_levels import align_levels
from committee.training.train import TrainingFrame
from committee.training.training_set import TrainingSet

TANGENTS = "tangents"


@dataclass(frozen=True)
class TrainingInput:
    """Inputs of ``committee.train``, and the findings of the comparison with the foundation.

    Attributes:
        frames: the engine's labels, then those of other levels on the foundation's zero.
        prior_shifts_eV: atomic number -> reference shift where the labels do not determine it.
        findings: information for the user, in sentences.
        mismatches: wrong units, signs or orders of labels, in sentences.
        residuals: of the engine's labels after the fit of reference shifts.
        other_residuals: level of theory -> residuals of its frames, for every other level.
    """

    frames: list[TrainingFrame]
    prior_shifts_eV: Mapping[int, float]
    findings: tuple[str, ...]
    mismatches: tuple[str, ...]
    residuals: Residuals
    other_residuals: Mapping[str, Residuals]

    def stop(self, align: AlignSettings, *, first: bool) -> str:
        """Message why training must not start and what to do, in one paragraph; empty if it may start.

        The spread counts only if ``first``, while nothing was trained: later frames are farther off.
        """
        if self.mismatches and align.on_unit_mismatch != "warn":
            return (
                f"{' '.join(self.mismatches)} Nothing was trained. Fix the engine and start again in another folder "
                "(for a file of other labels: fix the file), or set align.on_unit_mismatch: warn if the labels are "
                "right."
            )
        return self._objection(align.accept_residual_spread_eV_per_atom) if first else ""

    def _objection(self, limit_eV_per_atom: float) -> str:
        found = [self.residuals.objection(limit_eV_per_atom)]
        for level, residuals in self.other_residuals.items():
            objection = residuals.objection(limit_eV_per_atom)
            found.append(objection and f"align.other_labels, {level}: {objection}")
        return " ".join(filter(None, found))


def training_input(
    config: Config,
    backbone: Backbone,
    labelled: Sequence[LabelledFrame],
    progress: Callable[[int, int], None] | None = None,
    compared_only: Sequence[LabelledFrame] = (),
    *,
    tangents: bool = True,
) -> TrainingInput:
    """Assemble the training set and compare it with the foundation before any adaptation.

    ``labelled`` are the engine's accepted labels, all of one level of theory; those in ``compared_only`` are compared
    with the foundation and not trained on. The foundation is evaluated with its ``tangents``, which are kept, unless
    no heads are fitted on it. Frames of other levels are put on its zero; an adaptation keeps that zero.

    Raises:
        InputError: a file of other labels that cannot be used.
        TrainingDataError: the labels cannot be trained on.
    """
    own = [training_frame(frame) for frame in labelled]
    _require_one_level(own)
    main = own[0].level_of_theory
    others = read_other_labels(config.align.other_labels, backbone)
    given = [*own, *others.frames]
    compared = _compared(config, backbone, given, progress) if tangents else compared_with_foundation(backbone, given)
    left_out = _outliers(others.frames, compared[len(own) :], config.label.outliers)
    kept = [(frame, label) for frame, label in zip(given, compared, strict=True) if frame.id not in left_out]
    frames, energies = [frame for frame, _ in kept], [label.model_energy_eV for _, label in kept]
    prior, unused_atoms = atom_shifts(config, backbone)
    aligned = align_levels(frames, energies, main, others.prior_shifts_eV)
    residuals = Residuals.of(own, energies[: len(own)], prior)
    remedy = residuals.shifts.warning and _remedy(residuals.shifts, prior)
    found = [residuals.summary, remedy, unused_atoms, *others.notes]
    held_out = [training_frame(frame) for frame in compared_only]
    kept += zip(held_out, compared_with_foundation(backbone, held_out), strict=True)
    mismatches = []
    for level in dict.fromkeys(frame.level_of_theory for frame in frames):
        who = "The labels" if level == main else f"align.other_labels, {level}: the labels"
        agreement, wrong = compare(who, [label for frame, label in kept if frame.level_of_theory == level])
        found.append(agreement)
        mismatches += wrong
    for level, shifts in aligned.shifts.items():
        found.append(
            f"{level}: energies aligned by shifts of their own, which leave "
            f"{1000 * shifts.residual_spread_eV_per_atom:.0f} meV/atom."
        )
    found += [f"{others.where[key]} is left out as an outlier: {reason}." for key, reason in left_out.items()]
    parts = LabelCounts.of([(frame.energy_eV, frame.forces_eV_per_A) for frame in frames])
    if parts.partial:
        found.append(f"Of {len(frames)} labelled frames {parts}; what a frame lacks has no weight in the fit.")
    others_left = {level: _of_level(level, frames, energies) for level in aligned.shifts}
    return TrainingInput(aligned.frames, prior, tuple(filter(None, found)), tuple(mismatches), residuals, others_left)


def _compared(
    config: Config,
    backbone: Backbone,
    frames: Sequence[TrainingFrame],
    progress: Callable[[int, int], None] | None,
) -> list[ComparedLabel]:
    """Pair labels with the foundation's predictions, and keep its tangents for the fit."""
    found = TrainingSet.read(backbone, frames, config.folder / TANGENTS, config.train, progress)
    return compared_with_tangents(frames, found.tangents)


def atom_shifts(config: Config, backbone: Backbone) -> tuple[dict[int, float], str]:
    """Shifts from isolated atoms, or none with the reason: imported atoms of a ledger must not end a campaign."""
    try:
        return isolated_atom_shifts(config.align.isolated_atoms_eV, backbone), ""
    except InputError as error:
        return {}, f"{error}. They were not used."


def _outliers(
    frames: Sequence[TrainingFrame], compared: Sequence[ComparedLabel], settings: OutlierSettings
) -> dict[str, str]:
    """Frame id -> why forces or stress of another level's label are an outlier; wrong energies are a reason to stop."""
    found: dict[str, str] = {}
    for level in dict.fromkeys(frame.level_of_theory for frame in frames):
        here = [i for i, frame in enumerate(frames) if frame.level_of_theory == level]
        reasons = derivative_outliers([compared[i] for i in here], settings)
        found |= {frames[here[index]].id: reason for index, reason in reasons.items()}
    return found


def _require_one_level(own: Sequence[TrainingFrame]) -> None:
    levels = {frame.level_of_theory: frame.id for frame in own}
    if len(levels) > 1:
        named = ", ".join(f"{level} (frame {example})" for level, example in levels.items())
        raise TrainingDataError(
            f"The campaign's own labels are of several levels of theory, expected one: {named}. Start again in another "
            "folder with the labels of one level, and give the others as align.other_labels."
        )


def _of_level(level: str, frames: Sequence[TrainingFrame], foundation_energies_eV: Sequence[float]) -> Residuals:
    """Residuals of a level's frames; every frame counts, since no energies of label files are removed as outliers."""
    chosen = [i for i, frame in enumerate(frames) if frame.level_of_theory == level]
    found = Residuals.of([frames[i] for i in chosen], [foundation_energies_eV[i] for i in chosen], {})
    spread = float(np.fmax(found.spread_eV_per_atom, found.shifts.residual_spread_eV_per_atom))
    return replace(found, spread_eV_per_atom=spread)


def label_mismatches(frames: Sequence[TrainingFrame], backbone: Backbone) -> list[str]:
    """One sentence for each wrong unit, sign or order that the comparison of labels with the foundation finds."""
    return compare("The labels", compared_with_foundation(backbone, frames))[1]


def compare(who: str, labels: Sequence[ComparedLabel]) -> tuple[str, list[str]]:
    """Compare labels of one level of theory with the foundation's predictions for their frames.

    Return one sentence on how they agree, and one for each mismatch; ``who`` is their subject, for example ``The
    labels``.
    """
    forces, stress = check_forces(labels), check_stress(labels)
    mismatches = [f"{who} do not fit the foundation: {wrong}." for wrong in (forces.mismatch, stress) if wrong]
    return forces.sentence(who), mismatches


def _remedy(shifts: ReferenceShifts, prior: Mapping[int, float]) -> str:
    known = set(shifts.undetermined) <= {chemical_symbols[z] for z in prior}
    if known:
        return (
            f"The labels do not determine the reference shifts of {', '.join(shifts.undetermined)}: for compositions "
            "unlike those trained on they follow the isolated atoms (align.isolated_atoms_eV, or imported)."
        )
    return f"{shifts.warning} Or give align.isolated_atoms_eV."
