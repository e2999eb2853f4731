"""Notes for the user on a barrier."""

from collections.abc import Iterator

from al_loop.records import GateCheck
from al_loop.tools.ranking.barrier_results import Barrier
from al_loop.tools.ranking.ranking_notes import calibration_notes
from committee.potential import CommitteePotential

DIP_EV = 0.02  # a minimum on the way counts from this depth


def barrier_notes(barrier: Barrier, potential: CommitteePotential) -> Iterator[str]:
    """Yield notes on what the barrier is based on and what it does not include.

    Args:
        barrier: as the committee has it.
        potential: the model.
    """
    if not barrier.converged:
        yield (
            f"the NEB is not converged: {barrier.max_force_eV_per_A:.3f} eV/Å left after {barrier.steps} steps; give "
            "it more (--steps)."
        )
    saddle = barrier.images[barrier.saddle]
    verdict = saddle.judged.verdict
    if not saddle.trusted and verdict.check is not GateCheck.UNCALIBRATED:
        yield (
            f"the highest image ({barrier.saddle}) is not trusted: {verdict.reason}. The barrier is a guess until "
            "DFT confirms it."
        )
    if barrier.forward_eV <= max(0.0, barrier.reaction_eV):
        yield "no image lies above both ends: there is no barrier above the reaction energy, or the images miss it."
    dips = _dips(barrier)
    if dips:
        yield (
            f"the path has a minimum at image {', '.join(map(str, dips))}: there is more than one barrier, and the "
            "highest is given. Search them one by one from there."
        )
    yield from calibration_notes(potential, barrier.scale)


def _dips(barrier: Barrier) -> list[int]:
    """Images that lie lower than something on both sides of them, by more than rounding."""
    energies = [image.above_initial_eV for image in barrier.images]
    return [
        i
        for i in range(1, len(energies) - 1)
        if energies[i] < min(energies[i - 1], energies[i + 1])
        and min(max(energies[:i]), max(energies[i + 1 :])) - energies[i] > DIP_EV
    ]
