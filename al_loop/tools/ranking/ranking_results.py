"""Results of a ranking."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ase import Atoms

from al_loop.gate.gate import GatedPrediction
from al_loop.tools.ranking.dft_relax import Labelled, displacement_A
from al_loop.tools.ranking.relax import Relaxation
from al_loop.tools.ranking.settings import RankOptions
from al_loop.tools.ranking.statistics import EnergyScale


class CandidateStatus(StrEnum):
    """Status of a candidate."""

    RANKED = "ranked"
    UNTRUSTED = "not trusted"  # it has a rank, but the gate does not trust the model there
    UNRELAXED = "not relaxed"  # its energy is no minimum's: no rank
    UNPHYSICAL = "unphysical"  # or the model has no answer, or it is beyond the gate's discard threshold: no rank
    DUPLICATE = "duplicate"  # the same structure as another candidate, which stands for it


@dataclass(frozen=True)
class RankedCandidate:
    """One candidate; energies are per compared unit of its composition, in eV.

    Attributes:
        candidate: its position in the file, from 0.
        atoms: as it was ranked: relaxed if requested.
        composition: the compared unit.
        units: how many of them the structure holds.
        status: whether it has a rank, and if not why.
        reason: why it is sent to DFT, or why it has no rank.
        gated: the committee's prediction and the gate's verdict.
        relaxation: how the relaxation ended, None without one.
        rank: from 1 within the composition, None without one.
        above_best_eV: energy above the lowest.
        uncertainty_eV: standard deviation of that difference.
        probability_top: how likely it is among the best N.
        sent: it is to be calculated with DFT.
        same_as: the candidate that stands for a duplicate.
        labels: DFT labels of the ranked structure, then of the steps of its DFT relaxation.
        dft_rank: among those of its composition with an energy from DFT.
        dft_above_best_eV: energy from DFT above the lowest of them.
    """

    candidate: int
    atoms: Atoms
    composition: str
    units: float
    status: CandidateStatus
    reason: str
    gated: GatedPrediction
    relaxation: Relaxation | None = None
    rank: int | None = None
    above_best_eV: float | None = None
    uncertainty_eV: float | None = None
    probability_top: float | None = None
    sent: bool = False
    same_as: int | None = None
    labels: tuple[Labelled, ...] = ()
    dft_rank: int | None = None
    dft_above_best_eV: float | None = None

    @property
    def energy_eV(self) -> float | None:
        """The committee's energy, total."""
        return None if self.gated.prediction is None else self.gated.prediction.energy

    @property
    def dft(self) -> Labelled | None:
        """The last structure that DFT gave an energy for, None if it gave none."""
        sound = [labelled for labelled in self.labels if labelled.energy_eV is not None]
        return sound[-1] if sound else None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without arrays."""
        dft, last = self.dft, self.labels[-1].label if self.labels else None
        return {
            "candidate": self.candidate,
            "composition": self.composition,
            "status": self.status.value,
            "verdict": self.gated.verdict.kind.value,
            "verdict_reason": self.gated.verdict.reason,
            "rank": self.rank,
            "energy_eV": self.energy_eV,
            "above_best_eV": self.above_best_eV,
            "uncertainty_eV": self.uncertainty_eV,
            "probability_top": self.probability_top,
            "sent": self.sent,
            "reason": self.reason,
            "same_as": self.same_as,
            "relaxation_steps": None if self.relaxation is None else self.relaxation.steps,
            "dft_status": None if last is None else last.status.value,
            "dft_message": None if last is None else last.message,
            "dft_rank": self.dft_rank,
            "dft_energy_eV": None if dft is None else dft.energy_eV,
            "dft_above_best_eV": self.dft_above_best_eV,
            "dft_max_force_eV_per_A": None if dft is None else dft.max_force_eV_per_A,
            "dft_calculations": len(self.labels),
            "dft_moved_A": None if dft is None else displacement_A(self.atoms, dft.atoms),
        }


@dataclass(frozen=True)
class CompositionSummary:
    """Counts of one composition.

    Attributes:
        name: the compared unit, which all energies are per.
        candidates: in the file.
        ranked: with a rank.
        sent: to DFT.
        probability_kept: how likely the true best N are all among those sent, None without a rank.
    """

    name: str
    candidates: int
    ranked: int
    sent: int
    probability_kept: float | None


@dataclass(frozen=True)
class Ranking:
    """Candidates in order: by composition and rank, what has no rank after that.

    Attributes:
        candidates: every one that was handed in.
        compositions: what was compared with what.
        options: how they were ranked.
        scale: what the members' spread of differences was multiplied by.
        notes: sentences for the user.
    """

    candidates: tuple[RankedCandidate, ...]
    compositions: tuple[CompositionSummary, ...]
    options: RankOptions
    scale: EnergyScale
    notes: tuple[str, ...]

    @property
    def sent(self) -> tuple[RankedCandidate, ...]:
        """The candidates selected for DFT."""
        return tuple(one for one in self.candidates if one.sent)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "top": self.options.top,
            "confidence": self.options.confidence,
            "energy_scale": self.scale.value,
            "energy_scale_source": self.scale.source,
            "compositions": [vars(one) for one in self.compositions],
            "candidates": [one.as_dict() for one in self.candidates],
            "notes": list(self.notes),
        }
