"""The committee as an ASE calculator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from numpy.typing import NDArray

from committee import names
from committee.backbones.contract import Backbone
from committee.checkpoint import load
from committee.model.latent import UNKNOWN_DISTANCE
from committee.potential import CommitteePotential, HeldPrediction, Uncertainty
from committee.prediction import Prediction
from committee.uncertainty.screen import ForceScreen

_EXACT = {names.FORCES_UNCERTAINTY, names.STRESS_UNCERTAINTY, names.FORCES_ENSEMBLE, names.STRESS_ENSEMBLE}
_JUMP_A = 1.0  # no atom moves so far in one step of molecular dynamics


class CommitteeCalculator(Calculator):  # type: ignore[misc]
    """Energy, forces, stress and their standard deviations, under the names of ``committee.names``.

    ASE's writers drop unknown results: to save uncertainties, copy them into ``atoms.info`` and ``atoms.arrays``.

    With a screen the calculator follows one trajectory: each call with moved atoms is a step, every ``screen_every``-th
    step is a check, and the results hold (exact) force uncertainties only where the screen requires them. Requesting
    a force uncertainty by name always computes it. Another system, or an atom that jumps, restarts the screen.

    Args:
        potential: the committee.
        uncertainty: ``energy`` (free), ``probe`` (one more backward pass, noisy) or ``exact`` (K - 1 more).
        screen: monitors the force uncertainty at the cost of one more backward pass per check; its counters record
            how often the exact value was needed. Only with ``energy``.
        screen_every: steps between checks.
        **kwargs: passed on to ASE's ``Calculator``.

    Attributes:
        hold: keep the graph of the latest frame, so that its spread can be computed afterwards without another
            evaluation (``held``). The results are bitwise the same.

    Raises:
        ValueError: a screen together with ``probe`` or ``exact``, or ``screen_every`` below 1.
    """

    implemented_properties: ClassVar[list[str]] = list(names.RESULTS)

    def __init__(
        self,
        potential: CommitteePotential,
        uncertainty: Uncertainty = "energy",
        *,
        screen: ForceScreen | None = None,
        screen_every: int = 1,
        **kwargs: Any,
    ):
        if screen is not None and uncertainty != "energy":
            raise ValueError(f"a screen needs uncertainty='energy', received {uncertainty!r}, which makes it redundant")
        if screen_every < 1:
            raise ValueError(f"screen_every must be at least 1 step, received {screen_every}")
        super().__init__(**kwargs)
        self.potential = potential
        self.uncertainty = uncertainty
        self.screen = screen
        self.screen_every = screen_every
        self.hold = False
        self._held: HeldPrediction | None = None
        self._steps = 0
        self._last: Atoms | None = None

    @classmethod
    def load(cls, folder: Path | str, backbone: Backbone | None = None, uncertainty: Uncertainty = "energy") -> Self:
        """Open a checkpoint; ``committee.checkpoint.load`` documents when a backbone must be given."""
        return cls(load(folder, backbone), uncertainty)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = (names.ENERGY,),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Predict ``atoms``. The stress is computed only for cells that are periodic in three directions."""
        super().calculate(atoms, list(properties), list(system_changes))
        self._held = None  # frees its memory before the next evaluation allocates its own
        if self.screen is None:
            self.results = self._plain().results()
        else:
            self.results = self._screened(self.screen, _EXACT.intersection(properties), bool(system_changes))

    def held(self, atoms: Atoms) -> HeldPrediction | None:
        """Return the latest prediction with its graph; None if there is none for these atoms."""
        return None if self._held is None or self.check_state(atoms) else self._held

    def _plain(self) -> Prediction:
        if not (self.hold and self.uncertainty == "energy"):
            return self.potential.predict([self.atoms], self.uncertainty)[0]
        self._held = self.potential.hold(self.atoms)
        return self._held.prediction

    def _screened(self, screen: ForceScreen, exact_properties: set[str], moved: bool) -> dict[str, Any]:
        """Return the results of the next step under the screen, or of the same step with other properties."""
        if not _follows(self._last, self.atoms):
            screen.restart()
            self._steps = 0
        due = moved and self._steps % self.screen_every == 0
        if exact_properties:
            prediction = self.potential.predict([self.atoms], "exact")[0]
            screen.confirmed(prediction.atomic_force_uncertainty, _distances(prediction))
        elif due:
            prediction = self.potential.predict_screened(self.atoms, screen)
        else:
            prediction = self._plain()
        self._steps += moved
        self._last = self.atoms
        results: dict[str, Any] = prediction.results()
        if due and screen.relative_bound is not None:
            results[names.SCREEN_BOUND] = screen.relative_bound
        return results


def _distances(prediction: Prediction) -> NDArray[np.float64]:
    distances = prediction.latent_distance
    return np.full(len(prediction.forces), UNKNOWN_DISTANCE) if distances is None else distances


def _follows(last: Atoms | None, atoms: Atoms) -> bool:
    """Whether a frame continues a trajectory: the same atoms, none displaced by more than ``_JUMP_A``."""
    if last is None or not np.array_equal(last.numbers, atoms.numbers):
        return False
    return bool(np.abs(atoms.positions - last.positions).max() < _JUMP_A)
