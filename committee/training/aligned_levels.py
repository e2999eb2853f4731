"""Labels of several levels of theory in one training set: each level loses reference shifts of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from committee.model.reference_shifts import ReferenceShifts
from committee.training.training_frame import TrainingFrame


@dataclass(frozen=True)
class AlignedLevels:
    """Frames that may train one committee.

    Attributes:
        frames: those of the main level as they were; the others with energies on the foundation's zero.
        shifts: level of theory -> its reference shifts against the foundation, for every level but the main one.
    """

    frames: list[TrainingFrame]
    shifts: Mapping[str, ReferenceShifts]


def align_levels(
    frames: Sequence[TrainingFrame],
    foundation_energies_eV: Sequence[float],
    main_level: str,
    priors_eV: Mapping[str, Mapping[int, float]] | None = None,
) -> AlignedLevels:
    """Put the energies of other levels than the main one on the foundation's zero.

    One least-squares problem with columns for each level and element: levels share no column, so it falls apart into
    one fit for each. Forces and stress have no zero and stay. What is learnt of other levels is how energies differ
    within a level; the committee serves the zero of the main level alone.

    Args:
        frames: B labelled frames, each naming its level.
        foundation_energies_eV: (B,) the foundation's total energies of the same frames.
        main_level: the level whose energies are served.
        priors_eV: level of theory -> prior of its shifts, as for ``ReferenceShifts.fit``.

    Raises:
        TrainingDataError: energies that are not finite in the foundation.
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
    known = [i for i in chosen if np.isfinite(frames[i].energy_eV)]
    if not known:
        return ReferenceShifts(dict(prior_eV))
    numbers: list[NDArray[np.int64]] = [frames[i].atoms.numbers for i in known]
    differences = np.array([frames[i].energy_eV - foundation_energies_eV[i] for i in known])
    return ReferenceShifts.fit(numbers, differences, prior_eV)
