"""One frame's prediction, and the predictions of frames of which some are refused."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from committee import names
from committee.errors import RefusedFrameError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """The committee's prediction for one frame of n atoms; names, shapes and units as in ``committee.names``.

    The mean is the served prediction: foundation plus switched correction. The spread is that of the heads before
    switching, since switching a correction off does not reduce the uncertainty: member k of an ensemble is the mean
    plus (member k minus the members' mean, both before switching), so that mean and standard deviation (ddof 1) of an
    ensemble are the reported values.

    Attributes:
        energy: eV.
        forces: (n, 3) eV/Å.
        stress: (6,) eV/Å³, None unless periodic in three directions and provided by the foundation.
        latent_distance: (n,), None before the first training.
        energy_uncertainty: eV.
        energy_ensemble: (K,) eV.
        forces_uncertainty: (n, 3) eV/Å; None in mode ``energy``, an unbiased variance's noisy root in mode ``probe``.
        forces_ensemble: (K, n, 3) eV/Å, mode ``exact`` only.
        stress_uncertainty: (6,) eV/Å³, as the forces'.
        stress_ensemble: (K, 6) eV/Å³, as the forces'.
        features: (n, D).
        foundation_energy: eV, without the reference shifts.
        foundation_forces: (n, 3) eV/Å, None unless requested.
    """

    energy: float
    forces: Array
    stress: Array | None
    latent_distance: Array | None
    energy_uncertainty: float
    energy_ensemble: Array
    forces_uncertainty: Array | None
    forces_ensemble: Array | None
    stress_uncertainty: Array | None
    stress_ensemble: Array | None
    features: Array
    foundation_energy: float
    foundation_forces: Array | None

    @property
    def atomic_force_uncertainty(self) -> Array:
        """(n,) eV/Å: norm over the components of each atom's force uncertainty.

        Raises:
            ValueError: the prediction was made without force uncertainties.
        """
        if self.forces_uncertainty is None:
            raise ValueError("The prediction has no force uncertainty; predict with uncertainty='exact' or 'probe'.")
        norms: Array = np.linalg.norm(self.forces_uncertainty, axis=1)
        return norms

    def results(self) -> dict[str, float | Array]:
        """Return every available result under its name in ``committee.names``."""
        values = {name: getattr(self, name, None) for name in names.RESULTS} | {names.FREE_ENERGY: self.energy}
        return {name: value for name, value in values.items() if value is not None}


def split_by_atoms(frames: Sequence[Atoms], atoms: int) -> Iterator[list[Atoms]]:
    """Split frames into batches of at most so many atoms, or of one frame."""
    batch: list[Atoms] = []
    for frame in frames:
        if batch and sum(map(len, batch)) + len(frame) > atoms:
            yield batch
            batch = []
        batch.append(frame)
    if batch:
        yield batch


def predict_each(
    predict: Callable[[Sequence[Atoms]], Sequence[Prediction]], frames: Sequence[Atoms]
) -> list[Prediction | RefusedFrameError]:
    """Predict frames together; if one is refused, predict the others again without it.

    Returns for each frame its prediction, or the error that explains why there is none. ``predict`` predicts all given
    frames, or raises for one of them.

    Raises:
        RefusedFrameError: an error that does not concern a single frame.
    """
    results: dict[int, Prediction | RefusedFrameError] = {}
    remaining = list(range(len(frames)))
    while remaining:
        try:
            predictions = predict([frames[index] for index in remaining])
        except RefusedFrameError as error:
            if error.frame_index is None:
                raise
            results[remaining.pop(error.frame_index)] = error
        else:
            results.update(zip(remaining, predictions, strict=True))
            remaining = []
    return [results[index] for index in range(len(frames))]
