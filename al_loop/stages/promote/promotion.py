"""PROMOTE: replace the served model by a candidate that fulfils every criterion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

from al_loop.config import PromoteSettings
from al_loop.records import LabelledFrame
from al_loop.stages.promote.criterion import Criterion
from al_loop.stages.promote.dimer_repulsion import repulsion
from al_loop.stages.promote.energy_conservation import ConstantEnergyRun, conserves_energy
from al_loop.stages.promote.error_guarantee import error_guarantee
from al_loop.stages.promote.forgetting import ProbeFrames, no_harm
from al_loop.stages.promote.label_errors import earlier, held_back, newest
from al_loop.stages.promote.predictions import ForceErrors
from committee.potential import CommitteePotential


@dataclass(frozen=True)
class Evidence:
    """Data that a candidate is evaluated on.

    Attributes:
        held_back: calibration frames, on which no model was trained.
        newest: labels made since the served model was trained.
        earlier: a frozen sample of the labels of former rounds.
        probe: frames with the foundation's stored forces.
        run: a short run at constant energy, with the foundation's energies in it.
        elements: atomic numbers that occur in the campaign.
        spin: frames carry charge and spin multiplicity.
        validation: compares a candidate's crystals with a reference; None if the config requires no validation.
    """

    held_back: Sequence[LabelledFrame]
    newest: Sequence[LabelledFrame]
    earlier: Sequence[LabelledFrame]
    probe: ProbeFrames
    run: ConstantEnergyRun
    elements: frozenset[int]
    spin: bool = False
    validation: Callable[[CommitteePotential], Criterion] | None = None


@dataclass(frozen=True)
class Promotion:
    """Decision on a candidate model.

    Attributes:
        promoted: the candidate is served from now on.
        reason: the sentence of the first criterion if it is promoted, those of all failed criteria otherwise.
        force_mae_candidate: eV/Å on the calibration frames; None without any, or if it is not finite.
        force_mae_served: eV/Å on the same frames.
        criteria: all of them.
    """

    promoted: bool
    reason: str
    force_mae_candidate: float | None
    force_mae_served: float | None
    criteria: tuple[Criterion, ...]


def evaluate_candidate(
    candidate: CommitteePotential, served: CommitteePotential, evidence: Evidence, settings: PromoteSettings
) -> Promotion:
    """Evaluate all criteria on a candidate, also after one has failed.

    Args:
        candidate: the newly trained and calibrated committee.
        served: the served model; the untrained committee before the first promotion.
        evidence: data that it is evaluated on.
        settings: the limits.
    """
    errors = ForceErrors.of(candidate, served, (*evidence.held_back, *evidence.newest, *evidence.earlier))
    foundation = errors.foundation_error(evidence.held_back)
    criteria = (
        held_back(errors, evidence.held_back, settings.max_error_ratio),
        newest(errors, evidence.newest, settings.max_error_ratio),
        earlier(errors, evidence.earlier, evidence.held_back, settings.max_rise),
        no_harm(candidate, evidence.probe, foundation, settings.max_rise, settings.far_latent_distance),
        repulsion(candidate, evidence.elements, spin=evidence.spin),
        conserves_energy(candidate, evidence.run, settings.max_energy_ratio),
        error_guarantee(candidate.calibration),
        *([] if evidence.validation is None else [evidence.validation(candidate)]),
    )
    failed = [criterion for criterion in criteria if not criterion.passed]
    decisive = failed or criteria[:1]
    new, old, _ = errors.mae(evidence.held_back)
    reason = "; ".join(f"{c.name}: {c.sentence}" for c in decisive)
    return Promotion(not failed, reason, _finite(new), _finite(old), criteria)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
