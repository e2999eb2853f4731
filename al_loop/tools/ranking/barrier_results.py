"""Results of a barrier search."""

from dataclasses import dataclass
from typing import Any

from ase import Atoms
from scipy.stats import t as student

from al_loop.gate.gate import GatedPrediction
from al_loop.records import VerdictKind
from al_loop.tools.ranking.dft_relax import Labelled
from al_loop.tools.ranking.settings import BarrierOptions
from al_loop.tools.ranking.statistics import EnergyScale


@dataclass(frozen=True)
class PathImage:
    """One image of the path, counted from the initial end.

    Attributes:
        image: from 0, the initial end.
        atoms: the structure.
        path_A: length of the path up to here, Å.
        gated: the committee's prediction and the gate's verdict.
        above_initial_eV: energy above the initial end.
        uncertainty_eV: standard deviation of that difference along the fixed path.
        sent: it is to be calculated with DFT.
        reason: why.
        labelled: the DFT label.
        dft_above_initial_eV: energy from DFT above that of the initial end.
    """

    image: int
    atoms: Atoms
    path_A: float
    gated: GatedPrediction
    above_initial_eV: float
    uncertainty_eV: float
    sent: bool = False
    reason: str = ""
    labelled: Labelled | None = None
    dft_above_initial_eV: float | None = None

    @property
    def trusted(self) -> bool:
        """The gate trusts the model here."""
        return self.gated.trusted

    @property
    def computable(self) -> bool:
        """DFT can calculate it."""
        return self.gated.verdict.kind is not VerdictKind.DISCARD

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without arrays."""
        return {
            "image": self.image,
            "path_A": self.path_A,
            "above_initial_eV": self.above_initial_eV,
            "uncertainty_eV": self.uncertainty_eV,
            "verdict": self.gated.verdict.kind.value,
            "verdict_check": self.gated.verdict.check.value,
            "verdict_reason": self.gated.verdict.reason,
            "sent": self.sent,
            "reason": self.reason,
            "dft_status": None if self.labelled is None else self.labelled.label.status.value,
            "dft_message": None if self.labelled is None else self.labelled.label.message,
            "dft_above_initial_eV": self.dft_above_initial_eV,
            "dft_max_force_eV_per_A": None if self.labelled is None else self.labelled.max_force_eV_per_A,
        }


@dataclass(frozen=True)
class Barrier:
    """A path under the committee, with DFT labels along it.

    Attributes:
        images: ends included.
        saddle: number of the highest image between the ends.
        reverse_uncertainty_eV: standard deviation of the barrier seen from the final end.
        members: K of the committee.
        converged: the forces across the path are below the tolerance.
        steps: of the band.
        max_force_eV_per_A: largest force of the band that is left on any atom.
        options: how it was searched.
        scale: what the members' spread of differences was multiplied by.
        notes: sentences for the user.
    """

    images: tuple[PathImage, ...]
    saddle: int
    reverse_uncertainty_eV: float
    members: int
    converged: bool
    steps: int
    max_force_eV_per_A: float
    options: BarrierOptions
    scale: EnergyScale
    notes: tuple[str, ...]

    @property
    def forward_eV(self) -> float:
        """Energy of the highest image above the initial end."""
        return self.images[self.saddle].above_initial_eV

    @property
    def uncertainty_eV(self) -> float:
        """Its standard deviation."""
        return self.images[self.saddle].uncertainty_eV

    @property
    def reaction_eV(self) -> float:
        """Energy of the final end above the initial one."""
        return self.images[-1].above_initial_eV

    @property
    def reverse_eV(self) -> float:
        """Energy of the highest image above the final end."""
        return self.forward_eV - self.reaction_eV

    @property
    def half_width_eV(self) -> float:
        """Half of the interval in which the barrier lies with twice the one-sided confidence less one."""
        return float(student.ppf(self.options.confidence, self.members - 1)) * self.uncertainty_eV

    @property
    def saddle_trusted(self) -> bool:
        """The gate trusts the model at the highest image."""
        return self.images[self.saddle].trusted

    @property
    def dft_saddle(self) -> int | None:
        """The highest image between the ends by DFT, of those it gave an energy for."""
        known = {i.image: i.dft_above_initial_eV for i in self.images[1:-1] if i.dft_above_initial_eV is not None}
        return max(known, key=lambda image: known[image]) if known else None

    @property
    def dft_forward_eV(self) -> float | None:
        """Its energy from DFT above the initial end: a barrier along the committee's path."""
        return None if self.dft_saddle is None else self.images[self.dft_saddle].dft_above_initial_eV

    @property
    def dft_reaction_eV(self) -> float | None:
        """Energy from DFT of the final end above the initial one."""
        return self.images[-1].dft_above_initial_eV

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "barrier_eV": self.forward_eV,
            "uncertainty_eV": self.uncertainty_eV,
            "half_width_eV": self.half_width_eV,
            "confidence": self.options.confidence,
            "reverse_barrier_eV": self.reverse_eV,
            "reverse_uncertainty_eV": self.reverse_uncertainty_eV,
            "reaction_energy_eV": self.reaction_eV,
            "saddle": self.saddle,
            "saddle_trusted": self.saddle_trusted,
            "converged": self.converged,
            "steps": self.steps,
            "max_force_eV_per_A": self.max_force_eV_per_A,
            "energy_scale": self.scale.value,
            "energy_scale_source": self.scale.source,
            "dft_saddle": self.dft_saddle,
            "dft_barrier_eV": self.dft_forward_eV,
            "dft_reaction_energy_eV": self.dft_reaction_eV,
            "images": [image.as_dict() for image in self.images],
            "notes": list(self.notes),
        }
