"""The committee potential: one frozen foundation and K residual heads."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from committee.backbones.contract import Backbone, Evaluation
from committee.device_memory import enough_memory_for
from committee.errors import RefusedFrameError, frames_counted_from
from committee.model.correction import Correction, correct
from committee.model.heads import ResidualHeads
from committee.model.latent import LatentDistance
from committee.model.reference_shifts import ReferenceShifts
from committee.model.tangents import VOIGT
from committee.prediction import Prediction, predict_each, split_by_atoms
from committee.settings import CommitteeSettings
from committee.uncertainty.calibration import Calibration
from committee.uncertainty.drift import CalibrationScores
from committee.uncertainty.ensemble_spread import (
    MakeSpread,
    Spread,
    exact_spread,
    no_spread,
    probed_spread,
    screened_spread,
)
from committee.uncertainty.screen import ForceScreen

__all__ = ["CommitteePotential", "HeldPrediction", "Prediction", "Provenance", "Uncertainty"]

Uncertainty = Literal["energy", "probe", "exact"]


@dataclass(frozen=True)
class Provenance:
    """Origin of a potential: level of theory and training set.

    Attributes:
        level_of_theory: level of theory of its energies.
        training_hash: SHA-256 of the labels it was trained on; empty if untrained.
        training_frames: number of them.
        periodic_directions: numbers of periodic directions among the training frames, ascending; empty if untrained.
    """

    level_of_theory: str
    training_hash: str = ""
    training_frames: int = 0
    periodic_directions: tuple[int, ...] = ()


class CommitteePotential:
    """E = E_foundation + Σ_i f(d_i) mean_k δ_k(h_i, Z_i) + Σ_i ε(Z_i), with the spread of the δ_k as uncertainty.

    Attributes:
        backbone: the frozen foundation.
        settings: the committee's settings.
        heads: the K residual heads.
        latent: the fitted latent distance; None before the first training.
        shifts: reference shifts ε.
        provenance: level of theory and training set.
        calibration: relates the uncertainty to the true error in eV/Å; None until the committee is calibrated.
        calibration_scores: of the frames that it was calibrated on; None where they are not known.
    """

    def __init__(
        self,
        backbone: Backbone,
        settings: CommitteeSettings,
        heads: ResidualHeads,
        latent: LatentDistance | None,
        shifts: ReferenceShifts,
        provenance: Provenance,
        calibration: Calibration | None = None,
        calibration_scores: CalibrationScores | None = None,
    ):
        self.backbone = backbone
        self.settings = settings
        self.heads = heads.to(backbone.dtype).requires_grad_(False)
        self.latent = latent
        self.metric = None if latent is None else latent.metric(backbone.dtype)
        self.shifts = shifts
        self.provenance = provenance
        self.calibration = calibration
        self.calibration_scores = calibration_scores

    @classmethod
    def untrained(cls, backbone: Backbone, settings: CommitteeSettings | None = None, seed: int = 0) -> Self:
        """Return a committee whose mean equals the foundation's prediction."""
        settings = settings or CommitteeSettings()
        heads = ResidualHeads(settings, backbone.feature_size, tuple(sorted(backbone.elements)), seed)
        return cls(backbone, settings, heads, None, ReferenceShifts(), Provenance(backbone.level_of_theory))

    def with_calibration(self, calibration: Calibration | None, scores: CalibrationScores | None = None) -> Self:
        """Return the same potential with another calibration.

        Args:
            calibration: None for none.
            scores: of the frames that it was fitted to; without them no run can be tested for drift.
        """
        other = copy(self)
        other.calibration, other.calibration_scores = calibration, scores
        return other

    def predict(
        self,
        frames: Sequence[Atoms],
        uncertainty: Uncertainty = "energy",
        *,
        foundation: bool = False,
        probes: int = 1,
        seed: int = 0,
        batch_atoms: int = 256,
    ) -> list[Prediction]:
        """Predict frames of any sizes and compositions.

        Args:
            frames: structures; they are not modified.
            uncertainty: ``energy`` costs nothing beyond the mean; ``probe`` adds one backward pass per probe and
                estimates the force variance without bias but with noise (a screen); ``exact`` adds K - 1.
            foundation: also return the foundation's forces (one more backward pass).
            probes: number of probes to average.
            seed: random seed of the probes.
            batch_atoms: frames are evaluated together up to this many atoms.

        Raises:
            StructureError: a structure is invalid; ``frame_index`` is its position in ``frames``.
            UnknownElementError: an element that the foundation does not cover.
            FoundationEvaluationError: the foundation failed on a frame.
            DeviceMemoryError: a batch needs more memory than the device has.
        """
        if uncertainty not in {"energy", "probe", "exact"}:
            raise ValueError(f"uncertainty must be 'energy', 'probe' or 'exact', received {uncertainty!r}.")
        generator = torch.Generator().manual_seed(seed)
        make = {"energy": no_spread, "probe": probed_spread(probes, generator), "exact": exact_spread}
        predictions: list[Prediction] = []
        for batch in split_by_atoms(frames, batch_atoms):
            with enough_memory_for(batch):
                evaluation = self._evaluate(batch, len(predictions))
                predictions += self._predict(batch, evaluation, make[uncertainty], foundation=foundation)
        return predictions

    def predict_each(
        self, frames: Sequence[Atoms], uncertainty: Uncertainty = "energy", *, foundation: bool = False
    ) -> list[Prediction | RefusedFrameError]:
        """Predict frames of which some may be refused; for those, return the error that ``predict`` would raise.

        Args:
            frames: structures; they are not modified.
            uncertainty: as in ``predict``.
            foundation: as in ``predict``.
        """
        return predict_each(partial(self.predict, uncertainty=uncertainty, foundation=foundation), frames)

    def predict_screened(self, atoms: Atoms, screen: ForceScreen) -> Prediction:
        """Predict the next frame of a trajectory that a screen follows.

        The force and stress spreads are included, and exact, where the screen requires them. They come from the same
        evaluation as the mean and the probe.

        Args:
            atoms: the frame; not modified.
            screen: the screen of this trajectory; the frame counts as its next check.

        It raises what ``predict`` raises.
        """
        return self.hold(atoms).screened(screen)

    def hold(self, atoms: Atoms) -> "HeldPrediction":
        """Predict one frame and keep the graph, so that its spread can be computed later without another evaluation.

        Args:
            atoms: the frame; not modified.

        It raises what ``predict`` raises.
        """
        with enough_memory_for([atoms]):
            return HeldPrediction(self, atoms.copy(), self._evaluate([atoms], 0))

    def _evaluate(self, batch: Sequence[Atoms], start: int) -> Evaluation:
        """Evaluate a batch; the ``frame_index`` of an error refers to all frames of ``predict``, not to the batch."""
        with frames_counted_from(start):
            return self.backbone.evaluate(batch)

    def _predict(
        self,
        frames: Sequence[Atoms],
        evaluation: Evaluation,
        make_spread: MakeSpread,
        *,
        foundation: bool = False,
    ) -> list[Prediction]:
        correction = self._correct(evaluation)
        foundation_forces = evaluation.foundation(retain_graph=True)[0] if foundation else None
        forces, stress = _mean_derivatives(evaluation, correction, retain_graph=make_spread is not no_spread)
        spread = make_spread(evaluation, correction, forces, stress)
        return self._frames(frames, evaluation, correction, forces, stress, spread, foundation_forces)

    def _correct(self, evaluation: Evaluation) -> Correction:
        device = evaluation.features.device
        metric = None if self.metric is None else self.metric.to(device)
        return correct(evaluation, self.heads.to(device), metric, self.settings)

    def _frames(
        self,
        frames: Sequence[Atoms],
        evaluation: Evaluation,
        correction: Correction,
        forces: Tensor,
        stress: Tensor,
        spread: Spread,
        foundation_forces: Tensor | None = None,
    ) -> list[Prediction]:
        """Split the batch into its frames; energies are summed in float64, since shifts reach 1e5 eV."""
        sizes = torch.bincount(evaluation.frame_index, minlength=len(frames)).tolist()
        predictions, start = [], 0
        for b, (atoms, size) in enumerate(zip(frames, sizes, strict=True)):
            mine = slice(start, start := start + size)
            foundation_energy = float(evaluation.energy[b].detach())
            energy = foundation_energy + float(correction.mean[b].detach()) + self.shifts.total_eV(atoms.numbers)
            stressed = _has_stress(evaluation, b)
            prediction = Prediction(
                energy=energy,
                forces=_array(forces[mine]),
                stress=_voigt(stress[b]) if stressed else None,
                latent_distance=_cut(correction.distance, mine),
                energy_uncertainty=float(correction.deviations[:, b].double().std(correction=1)),
                energy_ensemble=energy + _array(correction.deviations[:, b]),
                forces_uncertainty=_cut(spread.forces_std, mine),
                forces_ensemble=_cut(spread.forces, (slice(None), mine)),
                stress_uncertainty=_voigt(spread.stress_std[b]) if stressed and spread.stress_std is not None else None,
                stress_ensemble=_voigt(spread.stress[:, b]) if stressed and spread.stress is not None else None,
                features=_array(evaluation.features[mine]),
                foundation_energy=foundation_energy,
                foundation_forces=_cut(foundation_forces, mine),
            )
            predictions.append(prediction)
        return predictions


class HeldPrediction:
    """One frame's prediction with its graph: the mean is computed at once, the spread on request.

    The mean is bitwise equal to that of ``predict``. The object keeps the memory of one evaluation while it exists.
    """

    def __init__(self, potential: CommitteePotential, atoms: Atoms, evaluation: Evaluation) -> None:
        self._potential = potential
        self._atoms = atoms
        self._evaluation = evaluation
        self._correction = potential._correct(evaluation)
        self._mean = _mean_derivatives(evaluation, self._correction, retain_graph=True)
        self.prediction = self._with(no_spread)

    def exact(self) -> Prediction:
        """Return the prediction with the exact spread: K - 1 backward passes."""
        return self._with(exact_spread)

    def screened(self, screen: ForceScreen) -> Prediction:
        """Return the prediction at the next check of a screen: one backward pass, and the exact spread if needed."""
        return self._with(screened_spread(screen))

    def _with(self, make_spread: MakeSpread) -> Prediction:
        forces, stress = self._mean
        with enough_memory_for([self._atoms]):
            spread = make_spread(self._evaluation, self._correction, forces, stress)
        return self._potential._frames([self._atoms], self._evaluation, self._correction, forces, stress, spread)[0]


def _has_stress(evaluation: Evaluation, b: int) -> bool:
    """Whether frame b is periodic in three directions and its foundation provides a stress (a closed one may not)."""
    closed = evaluation.closed_stress
    return bool(torch.isfinite(evaluation.volumes[b])) and (closed is None or bool(torch.isfinite(closed[b]).all()))


def _mean_derivatives(evaluation: Evaluation, correction: Correction, *, retain_graph: bool) -> tuple[Tensor, Tensor]:
    """Forces and stress of the served energy in one backward pass."""
    if evaluation.closed_forces is None or evaluation.closed_stress is None:
        return evaluation.derivatives((evaluation.energy + correction.mean).sum(), retain_graph=retain_graph)
    forces, stress = evaluation.derivatives(correction.mean.sum(), retain_graph=retain_graph)
    return evaluation.closed_forces + forces, evaluation.closed_stress + stress


def _array(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)


def _cut(tensor: Tensor | None, index: slice | tuple[slice, slice]) -> NDArray[np.float64] | None:
    return None if tensor is None else _array(tensor[index])


def _voigt(stress: Tensor) -> NDArray[np.float64]:
    """(..., 3, 3) -> (..., 6) in ASE's order."""
    rows, columns = zip(*VOIGT, strict=True)
    symmetric = (stress + stress.transpose(-1, -2)) / 2
    return _array(symmetric[..., list(rows), list(columns)])
