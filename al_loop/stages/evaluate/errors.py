"""Errors against DFT on frames that were never trained on."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from al_loop.config import GateSettings
from al_loop.gate.beside_foundation import predict_beside
from al_loop.gate.calibrate import with_fitted_calibration
from al_loop.records import CONTINUED, ErrorFigures, LabelledFrame, LabelledSet, Role
from committee.potential import CommitteePotential
from committee.uncertainty.calibration import Calibration

Array = NDArray[np.float64]
ROLE_CODES = {Role.TEST: 0, Role.CALIBRATION: 1, Role.NEVER_TRAINED: 2, Role.EXPLORE: 3}
_STORED = (
    *("forces_dft", "forces_foundation", "forces_served", "forces_uncertainty", "frame_index"),
    *("energy_dft", "energy_foundation", "energy_served", "stress_dft", "stress_served"),
)


@dataclass(frozen=True)
class HeldOutEvaluation:
    """Labelled frames with the predictions of foundation and served model.

    Attributes:
        frames: the labelled frames, f of them with N atoms in all.
        forces_dft: (N, 3) eV/Å.
        forces_foundation: (N, 3) eV/Å of the foundation before any adaptation.
        forces_served: (N, 3) eV/Å.
        forces_uncertainty: (N, 3) eV/Å; before the first training from the priors, zero without them.
        frame_index: (N,) frame of each atom.
        energy_dft: (f,) eV/atom above the reference shifts.
        energy_foundation: (f,) eV/atom.
        energy_served: (f,) eV/atom, on the same zero.
        atom_latent_distance: (N,) latent distance, NaN before the first training.
        stress_dft: (f, 6) eV/Å³, NaN where there is none.
        stress_served: (f, 6) eV/Å³, NaN where there is none.
    """

    frames: tuple[LabelledFrame, ...]
    forces_dft: Array
    forces_foundation: Array
    forces_served: Array
    forces_uncertainty: Array
    frame_index: NDArray[np.int64]
    energy_dft: Array
    energy_foundation: Array
    energy_served: Array
    atom_latent_distance: Array
    stress_dft: Array
    stress_served: Array

    def max_force_error(self) -> Array:
        """(f,) largest norm of the served model's force error in each frame, eV/Å."""
        return _largest(self.atom_errors())

    def atom_errors(self) -> list[Array]:
        """Norm of the served model's force error on each atom, one (n,) array for each frame."""
        return self._per_frame(np.linalg.norm(self.forces_served - self.forces_dft, axis=1))

    def atom_uncertainties(self) -> list[Array]:
        """Norm of the force uncertainty on each atom, one (n,) array for each frame."""
        return self._per_frame(np.linalg.norm(self.forces_uncertainty, axis=1))

    def atom_distances(self) -> list[Array]:
        """Latent distance of each atom, one (n,) array for each frame."""
        return self._per_frame(self.atom_latent_distance)

    def figures(self, chosen: NDArray[np.bool_]) -> ErrorFigures | None:
        """Mean absolute errors over some of the frames; None if there are none."""
        if not chosen.any():
            return None
        atoms = chosen[self.frame_index]
        return ErrorFigures(
            frames=int(chosen.sum()),
            force_mae_foundation=_mae(self.forces_foundation[atoms], self.forces_dft[atoms]),
            force_mae_served=_mae(self.forces_served[atoms], self.forces_dft[atoms]),
            energy_mae_foundation=_mae(self.energy_foundation[chosen], self.energy_dft[chosen]),
            energy_mae_served=_mae(self.energy_served[chosen], self.energy_dft[chosen]),
        )

    def has_role(self, role: Role) -> NDArray[np.bool_]:
        """(f,) which frames have this role."""
        return np.array([frame.role is role for frame in self.frames], dtype=bool)

    def is_system(self, system: str) -> NDArray[np.bool_]:
        """(f,) which frames come from this starting structure."""
        return np.array([frame.system == system for frame in self.frames], dtype=bool)

    def arrays(
        self, calibration: Calibration | None = None, calibrated: Collection[str] = ()
    ) -> dict[str, NDArray[np.generic]]:
        """All data that the report plots, as named arrays.

        Args:
            calibration: of the served model, which combines spread and distance; without one only the spread is used.
            calibrated: conditions of the frames that it was fitted to.
        """
        sigmas, distances = self.atom_uncertainties(), self.atom_distances()
        combined = _largest(sigmas)
        if calibration is not None:
            combined = np.array([*map(calibration.frame_uncertainty, sigmas, distances)])
        return {
            **{name: getattr(self, name) for name in _STORED},
            "atomic_numbers": np.concatenate([frame.atoms.numbers for frame in self.frames]),
            "role": np.array([ROLE_CODES[frame.role] for frame in self.frames]),
            "home": np.array([condition_of(frame.trajectory) in calibrated for frame in self.frames], dtype=bool),
            "max_force_error": self.max_force_error(),
            "max_force_uncertainty": _largest(sigmas),
            "uncertainty": combined,
            "latent_distance": _largest(distances),
        }

    def _per_frame(self, atomic: Array) -> list[Array]:
        return [atomic[self.frame_index == i] for i in range(len(self.frames))]


def evaluate_labels(
    labels: LabelledSet, model: CommitteePotential, roles: Collection[Role], foundation: CommitteePotential
) -> HeldOutEvaluation | None:
    """Evaluate a model on the labels of some roles; None if there are none.

    ``foundation`` is that before any adaptation; as the ``model`` it was trained on no label, so that no composition's
    shifts are known.
    """
    frames = sorted(labels.with_role(*roles), key=lambda frame: (frame.role, frame.system, frame.frame_id))
    trained = () if model is foundation else (frame.atoms.get_chemical_formula() for frame in labels.training)
    return evaluate(frames, model, frozenset(trained), foundation) if frames else None


def calibrated_on(
    candidate: CommitteePotential, labels: LabelledSet, foundation: CommitteePotential, gate: GateSettings
) -> CommitteePotential:
    """Calibrate a candidate's gate on frames that no model is trained on.

    Without such frames, or if its forces are not finite, it has no calibration.
    """
    evaluation = evaluate_labels(labels, candidate, (Role.CALIBRATION,), foundation)
    if evaluation is None or not np.isfinite(evaluation.forces_served).all():
        return candidate.with_calibration(None)
    return with_fitted_calibration(
        candidate,
        evaluation.atom_errors(),
        evaluation.atom_uncertainties(),
        evaluation.atom_distances(),
        gate,
        [condition_of(frame.trajectory) for frame in evaluation.frames],
    )


def condition_of(trajectory: str) -> str:
    """Return the condition of a trajectory, its name without the replica: ``methanol/600K`` of ``methanol/600K/0``."""
    name = trajectory.removesuffix(CONTINUED)
    return name.rpartition("/")[0] or name


def evaluate(
    frames: Sequence[LabelledFrame],
    served: CommitteePotential,
    trained_compositions: frozenset[str],
    foundation: CommitteePotential | None = None,
) -> HeldOutEvaluation:
    """Predict labelled frames with the served model and with the foundation before any adaptation.

    ``foundation`` is None where the served model's own was not adapted.

    Energies are compared above the served model's reference shifts. The shifts of a composition that was never
    trained on cannot be known, so there both models are compared in relative energies: each model's mean
    deviation over the frames of that composition is removed.
    """
    predictions = predict_beside(served, foundation, [frame.atoms for frame in frames], "exact")
    sizes = np.array([len(frame.atoms) for frame in frames])
    shifts = np.array([served.shifts.total_eV(frame.atoms.numbers) for frame in frames])
    dft = (np.array([frame.energy_eV for frame in frames]) - shifts) / sizes
    energy_before = np.array([p.foundation_energy for p in predictions]) / sizes
    energy_after = (np.array([p.energy for p in predictions]) - shifts) / sizes
    compositions = np.array([frame.atoms.get_chemical_formula() for frame in frames])
    for composition in set(compositions) - trained_compositions:
        same = compositions == composition
        energy_before[same] += (dft[same] - energy_before[same]).mean()
        energy_after[same] += (dft[same] - energy_after[same]).mean()
    return HeldOutEvaluation(
        frames=tuple(frames),
        forces_dft=np.concatenate([frame.forces_eV_per_A for frame in frames]),
        forces_foundation=np.concatenate([_or_nan(p.foundation_forces, p.forces.shape) for p in predictions]),
        forces_served=np.concatenate([p.forces for p in predictions]),
        forces_uncertainty=np.concatenate([_or_nan(p.forces_uncertainty, p.forces.shape) for p in predictions]),
        frame_index=np.repeat(np.arange(len(frames)), sizes),
        energy_dft=dft,
        energy_foundation=energy_before,
        energy_served=energy_after,
        atom_latent_distance=np.concatenate([_or_nan(p.latent_distance, (len(p.forces),)) for p in predictions]),
        stress_dft=np.array([_or_nan(frame.label.stress_eV_per_A3, (6,)) for frame in frames]),
        stress_served=np.array([_or_nan(p.stress, (6,)) for p in predictions]),
    )


def _largest(per_frame: Iterable[Array]) -> Array:
    return np.array([values.max() for values in per_frame])


def _or_nan(values: Array | None, shape: tuple[int, ...]) -> Array:
    return np.full(shape, np.nan) if values is None else values


def _mae(predicted: Array, reference: Array) -> float:
    return float(np.abs(predicted - reference).mean())
