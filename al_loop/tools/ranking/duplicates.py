"""Find duplicate candidates."""

from collections.abc import Sequence
from dataclasses import replace

from al_loop.tools.ranking.ranking_results import CandidateStatus, RankedCandidate
from al_loop.tools.ranking.structure_matching import same_structure, surroundings

SAME_ENERGY_EV_PER_ATOM = 0.002  # structures further apart are not compared
COMPARABLE = (CandidateStatus.RANKED, CandidateStatus.UNTRUSTED)


def merged(placed: Sequence[RankedCandidate], same_A: float) -> list[RankedCandidate]:
    """Mark those that are the same structure as one of lower energy.

    Args:
        placed: of one composition.
        same_A: largest deviation of any distance.
    """
    comparable = sorted((one for one in placed if one.standing in COMPARABLE), key=_energy_per_atom)
    kept: list[RankedCandidate] = []
    same: dict[int, int] = {}
    seen = {one.candidate: surroundings(one.atoms) for one in comparable}
    for one in comparable:
        near = [k for k in kept if _energy_per_atom(one) - _energy_per_atom(k) <= SAME_ENERGY_EV_PER_ATOM]
        twin = next((k for k in near if same_structure(seen[k.candidate], seen[one.candidate], same_A)), None)
        if twin is None:
            kept.append(one)
        else:
            same[one.candidate] = twin.candidate
    return [
        replace(
            one,
            standing=CandidateStatus.DUPLICATE,
            same_as=same[one.candidate],
            reason=f"the same structure as candidate {same[one.candidate]}",
        )
        if one.candidate in same
        else one
        for one in placed
    ]


def _energy_per_atom(one: RankedCandidate) -> float:
    return (one.energy_eV or 0.0) / len(one.atoms)
