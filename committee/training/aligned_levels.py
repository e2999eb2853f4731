"""Labels of several levels of theory in one training set: each level's own reference shifts are subtracted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from committee.model.reference_shifts import ReferenceShifts
from committee.training.training_frame import TrainingFrame


@dataclass(frozen=True)
class AlignedLevels:
    """Frames that can train one committee.

    Frames of the main level are unchanged; the others, with ``shifts`` by level, have energies on the foundation's
    zero.
    """

    frames: list[TrainingFrame]
    shifts: Mapping[str, ReferenceShifts]


def align_levels(
    frames: Sequence[TrainingFrame],
    foundation_energies_eV: Sequence[float],
    main_level: str,
    priors_eV: Mapping[str, Mapping[int, float]] | None = None,
) -> AlignedLevels:
    """Shift the energies of all levels but the main one to the foundation's zero.

    The least-squares problem has columns for each level and element: levels share no column, so it separates into
    one fit per level. Forces and stress have no zero and are unchanged. The committee learns energy differences within
    the other levels and predicts energies on the zero of the main level.

    Args:
        frames: B labelled frames, each with its level.
        foundation_energies_eV: (B,) the foundation's total energies of the same frames.
        main_level: the level whose energies are predicted.
        priors_eV: level of theory -> prior of its shifts, as for ``ReferenceShifts.fit``.

    Raises:
        TrainingDataError: the foundation's energies are not finite.
    """
    aligned = list(frames)
    shifts = {}
    for level in sorted({frame.level_of_theory for frame in frames} - {main_level}):
        chosen = [i for i, frame in enumerate(frames) if frame.level_of_theory == level]
        shifts[level] = _shifts(frames, foundation_energies_eV, chosen, (priors_eV or {}).get(level, {}))
        for i in chosen:
            energy = frames[i].energy_eV - shifts[level].total_eV(frames[i].atoms.numbers)
            aligned[i] = replace(frames[i], energy_eV=energy, aligned=True)
    return AlignedLevels(aligned, shifts)


def _shifts(
    frames: Sequence[TrainingFrame],
    foundation_energies_eV: Sequence[float],
    chosen: Sequence[int],
    prior_eV: Mapping[int, float],
) -> ReferenceShifts:
    labelled = [i for i in chosen if np.isfinite(frames[i].energy_eV)]
    if not labelled:
        return ReferenceShifts(dict(prior_eV))
    numbers: list[NDArray[np.int64]] = [frames[i].atoms.numbers for i in labelled]
    differences = np.array([frames[i].energy_eV - foundation_energies_eV[i] for i in labelled])
    return ReferenceShifts.fit(numbers, differences, prior_eV)
