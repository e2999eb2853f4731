"""Predictions of the committee for a frame, reused from the dynamics' calculator if it is this committee."""

from typing import Any

import torch
from ase import Atoms

from al_loop.tools.monitoring.trajectory_gate import Predictor
from committee import names
from committee.calculator import CommitteeCalculator
from committee.potential import CommitteePotential, HeldPrediction
from committee.prediction import Prediction
from committee.uncertainty.screen import ForceScreen


class FramePredictions:
    """Predicts the frames of one trajectory with as few evaluations as possible.

    Dynamics that runs on a ``CommitteeCalculator`` of the same model has evaluated the frame: its prediction and
    graph are used, and a check costs one backward pass. Any other dynamics costs one evaluation for each check.

    Args:
        potential: the committee.
        screen: accepts frames, or requests the exact value; None for the exact value always.
        exact: whether force uncertainties are calibrated; if not, none is computed.

    Attributes:
        evaluations: number of committee evaluations by the monitor itself.
    """

    def __init__(self, potential: CommitteePotential, screen: ForceScreen | None, *, exact: bool) -> None:
        self._potential = potential
        self._screen = screen
        self._exact = exact
        self._known: tuple[Any, bool] = (None, False)
        self.evaluations = 0

    def prepare(self, calculator: Any) -> bool:
        """Let a calculator of this committee keep its graphs; return whether it is one."""
        known, ours = self._known
        if known is not calculator:
            ours = isinstance(calculator, CommitteeCalculator) and same_model(calculator.potential, self._potential)
            self._known = (calculator, ours)
        if ours and self._exact:
            calculator.hold = True
        return ours

    def restart(self) -> None:
        """Reset for another system."""
        if self._screen is not None:
            self._screen.restart()

    def predictor(self, atoms: Atoms, *, confirmed: bool = False) -> Predictor:
        """Return a function that predicts a frame; ``confirmed`` informs the screen with the exact uncertainty."""
        found: list[HeldPrediction] = []

        def predict(exact: bool) -> Prediction:
            if not found:
                found.append(self._held(atoms))
            (held,) = found
            if not self._exact:
                return held.prediction
            if confirmed and self._screen is not None:
                return _confirmed(held, self._screen)
            return held.exact() if exact or self._screen is None else held.screened(self._screen)

        return predict

    def _held(self, atoms: Atoms) -> HeldPrediction:
        calculator = atoms.calc
        held: HeldPrediction | None = calculator.held(atoms) if self.prepare(calculator) else None
        if held is not None:
            return held
        self.evaluations += 1
        return self._potential.hold(atoms)


def _confirmed(held: HeldPrediction, screen: ForceScreen) -> Prediction:
    prediction = held.exact()
    if prediction.latent_distance is not None:
        screen.confirmed(prediction.atomic_force_uncertainty, prediction.latent_distance)
    return prediction


def cached_results(atoms: Atoms) -> dict[str, Any]:
    """Cached results of the dynamics' calculator for these atoms; nothing is computed."""
    calculator = atoms.calc
    results = getattr(calculator, "results", None)
    if not results or calculator.calculation_required(atoms, [names.ENERGY, names.FORCES]):
        return {}
    return dict(results)


def same_model(one: CommitteePotential, other: CommitteePotential) -> bool:
    """Whether two potentials give the same predictions."""
    if one is other:
        return True
    if one.backbone.fingerprint != other.backbone.fingerprint or one.settings != other.settings:
        return False
    first, second = one.heads.state_dict(), other.heads.state_dict()
    return (
        one.shifts == other.shifts
        and one.provenance == other.provenance
        and one.backbone.dtype == other.backbone.dtype
        and first.keys() == second.keys()
        and all(torch.equal(first[key], second[key]) for key in first)
    )
