"""PROMOTE: a candidate replaces the served model only if it fulfils every criterion."""

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
from al_loop.stages.promote.predictions import Answers
from committee.potential import CommitteePotential


@dataclass(frozen=True)
class Evidence:
    """What a candidate is judged on.

    Attributes:
        held_back: calibration frames, which no model was trained on.
        newest: labels made since the served model was trained.
        earlier: a frozen sample of the labels of former rounds.
        probe: frames with the foundation's own frozen answer.
        run: a short run at constant energy, with how the foundation did in it.
        elements: atomic numbers that the campaign meets.
        spin: frames carry charge and spin multiplicity.
        validation: compares a candidate's crystals with a reference; None if the config asks for no validation.
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
    """The verdict on a candidate model.

    Attributes:
        promoted: the candidate is served from now on.
        reason: in words: the gain if it is, every criterion that failed if it is not.
        force_mae_candidate: eV/Å on the calibration frames; None without any, or if it is not finite.
        force_mae_served: eV/Å on the same frames.
        criteria: all of them.
    """

    promoted: bool
    reason: str
    force_mae_candidate: float | None
    force_mae_served: float | None
    criteria: tuple[Criterion, ...]


def judge_candidate(
    candidate: CommitteePotential, served: CommitteePotential, evidence: Evidence, settings: PromoteSettings
) -> Promotion:
    """Judge a candidate by every criterion, also after one has failed.

    Args:
        candidate: the newly trained and calibrated committee.
        served: the served model; the untrained committee before the first promotion.
        evidence: what it is judged on.
        settings: the limits.
    """
    answers = Answers.of(candidate, served, (*evidence.held_back, *evidence.newest, *evidence.earlier))
    foundation = answers.foundation_error(evidence.held_back)
    criteria = (
        held_back(answers, evidence.held_back, settings.max_error_ratio),
        newest(answers, evidence.newest, settings.max_error_ratio),
        earlier(answers, evidence.earlier, evidence.held_back, settings.max_rise),
        no_harm(candidate, evidence.probe, foundation, settings.max_rise, settings.far_latent_distance),
        repulsion(candidate, evidence.elements, spin=evidence.spin),
        conserves_energy(candidate, evidence.run, settings.max_energy_ratio),
        error_guarantee(candidate.calibration),
        *([] if evidence.validation is None else [evidence.validation(candidate)]),
    )
    failed = [criterion for criterion in criteria if not criterion.passed]
    told = failed or criteria[:1]
    new, old, _ = answers.mae(evidence.held_back)
    reason = "; ".join(f"{c.name}: {c.sentence}" for c in told)
    return Promotion(not failed, reason, _finite(new), _finite(old), criteria)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
