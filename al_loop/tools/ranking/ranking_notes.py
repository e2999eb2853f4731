"""Notes for the user on a ranking."""

from collections.abc import Iterator, Sequence

from al_loop.tools.ranking.energy_scale import EnergyScale
from al_loop.tools.ranking.ranking_results import CandidateStatus, CompositionSummary, RankedCandidate
from committee.potential import CommitteePotential


def ranking_notes(
    candidates: Sequence[RankedCandidate],
    compositions: Sequence[CompositionSummary],
    potential: CommitteePotential,
    scale: EnergyScale,
    top: int,
) -> tuple[str, ...]:
    """Yield notes on what the ranking is based on and what it does not include.

    Args:
        candidates: of all compositions.
        compositions: their counts.
        potential: the model.
        scale: of the spread.
        top: N.
    """
    return (
        *_across(compositions),
        *calibration_notes(potential, scale),
        *_unrelaxed(candidates, compositions, top),
    )


def calibration_notes(potential: CommitteePotential, scale: EnergyScale) -> Iterator[str]:
    """Yield notes on missing calibration.

    Args:
        potential: the model.
        scale: of the spread of energy differences.
    """
    if potential.calibration is None:
        yield (
            "the model was never calibrated: the gate trusts nothing, so that every candidate is suspect, ranked or "
            "not. Only the physics check was applied."
        )
    told = f"the uncertainty of an energy difference is {scale.value:.2f} times the members' spread, {scale.source}"
    if scale.calibrated:
        yield f"{told}."
        return
    yield (
        f"{told}. Labelled frames that the model was not trained on (--labelled, or --config of a campaign that has "
        "run) calibrate it."
    )


def _across(compositions: Sequence[CompositionSummary]) -> Iterator[str]:
    if len(compositions) > 1:
        yield (
            f"{len(compositions)} compositions ({', '.join(one.name for one in compositions)}): candidates are ranked "
            "within each. Across compositions only formation energies can be ranked, which need the energies of the "
            "elements or of competing phases."
        )
    empty = [one.name for one in compositions if one.ranked == 0]
    if empty:
        yield f"no candidate of {', '.join(empty)} could be ranked; the reasons are listed with them."


def _unrelaxed(
    candidates: Sequence[RankedCandidate], compositions: Sequence[CompositionSummary], top: int
) -> Iterator[str]:
    for composition in compositions:
        mine = [one for one in candidates if one.composition == composition.name]
        ranked = [_energy(one) for one in mine if one.rank is not None and one.rank <= top]
        limit = max(ranked) if len(ranked) >= top else float("inf")
        low = [one.candidate for one in mine if one.standing is CandidateStatus.UNRELAXED and _energy(one) < limit]
        if low:
            yield (
                f"candidates {low} of {composition.name} are not fully relaxed, but already low enough to be "
                f"among the best {top}: relax them further."
            )


def _energy(one: RankedCandidate) -> float:
    return (one.energy_eV or 0.0) / one.units
