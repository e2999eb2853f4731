"""Find the barrier between two structures with its uncertainty, and select images for DFT."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from al_loop.config import PhysicsSettings
from al_loop.errors import GuardStop
from al_loop.gate.gate import GatedPrediction
from al_loop.records import GateCheck
from al_loop.tools.ranking.barrier_results import Barrier, PathImage
from al_loop.tools.ranking.path import Band, aligned, check_ends, check_known, path_lengths_A, relaxed_band
from al_loop.tools.ranking.relax import check_trained, gated_predictions, relaxed
from al_loop.tools.ranking.settings import BarrierOptions
from al_loop.tools.ranking.statistics import EnergyScale, calibration_notes, energy_scale
from al_loop.utils.progress import Announce, show_nothing
from committee.potential import CommitteePotential
from committee.prediction import Prediction

SAME_A = 0.05
DIP_EV = 0.02  # a minimum on the way counts from this depth


def find_barrier(
    initial: Atoms,
    final: Atoms,
    potential: CommitteePotential,
    options: BarrierOptions | None = None,
    *,
    physics: PhysicsSettings | None = None,
    labelled: Sequence[tuple[Atoms, float]] = (),
    advance: Announce = show_nothing,
) -> Barrier:
    """Find the minimum-energy path under the committee, and gate every image of it; bonds may break.

    Args:
        initial: one end; not modified.
        final: the other, the same atoms in the same order and cell.
        potential: the committee.
        options: how.
        physics: limits of the physics check.
        labelled: held-out frames with their energies, eV, which calibrate the ensemble standard deviation.
        advance: called with the name of each part of the work.

    Raises:
        InputError: see ``check_ends``, ``check_known`` and ``check_trained``.
        GuardStop: an end or the band broke, or both ends are one minimum.
    """
    options = options or BarrierOptions()
    physics = (physics or PhysicsSettings()).model_copy(update={"allow_dissociation": True})
    check_ends(initial, final)
    check_trained(potential)
    check_known([initial, final], potential.backbone.elements, f"the model ({potential.backbone.name})")
    advance("ends")
    ends = _ends(initial, final, potential, options, physics)
    advance(f"band of {options.images} images")
    band = relaxed_band(*ends, potential, options)
    gated = gated_predictions(band.images, [band.images[0]] * len(band.images), potential, physics)
    silent = [i for i, one in enumerate(gated) if one.prediction is None]
    if silent:
        raise GuardStop(f"image {silent[0]} of the band: {gated[silent[0]].verdict.reason}")
    predictions = [one.prediction for one in gated if one.prediction is not None]
    scale = energy_scale(potential, labelled, predictions, options.confidence, np.random.default_rng(options.seed))
    images = _images(band, gated, predictions, scale)
    saddle = 1 + int(np.argmax([image.above_initial_eV for image in images[1:-1]]))
    reverse_std = scale.value * _difference_std(predictions[saddle], predictions[-1])
    barrier = Barrier(
        images=_sent(images, saddle),
        saddle=saddle,
        reverse_uncertainty_eV=reverse_std,
        members=potential.settings.members,
        converged=band.converged,
        steps=band.steps,
        max_force_eV_per_A=band.max_force_eV_per_A,
        options=options,
        scale=scale,
        notes=(),
    )
    return replace(barrier, notes=tuple(barrier_notes(barrier, potential)))


def _ends(
    initial: Atoms, final: Atoms, potential: CommitteePotential, options: BarrierOptions, physics: PhysicsSettings
) -> tuple[Atoms, Atoms]:
    ends = []
    for name, atoms in (("INITIAL", initial), ("FINAL", final)):
        if options.relax is None:
            ends.append(atoms)
            continue
        end = relaxed(atoms, potential, options.relax, physics)
        if end.broken or not end.converged:
            reason = end.broken or f"{end.max_force_eV_per_A:.3f} eV/Å left after {end.steps} steps"
            raise GuardStop(f"{name} does not relax under the model: {reason}. Give it a better start or more steps.")
        ends.append(end.atoms)
    ends[1] = aligned(ends[1], ends[0])
    way = path_lengths_A(ends)[-1]
    if way < SAME_A:
        raise GuardStop(
            "INITIAL and FINAL are the same minimum under the model: there is no barrier between them"
            + (". Check that FINAL is a minimum of its own" if options.relax is not None else "")
        )
    return ends[0], ends[1]


def _images(
    band: Band, gated: Sequence[GatedPrediction], predictions: Sequence[Prediction], scale: EnergyScale
) -> list[PathImage]:
    lengths = path_lengths_A(band.images)
    return [
        PathImage(
            image=i,
            atoms=band.images[i],
            path_A=float(lengths[i]),
            gated=gated[i],
            above_initial_eV=predictions[i].energy - predictions[0].energy,
            uncertainty_eV=scale.value * _difference_std(predictions[i], predictions[0]),
        )
        for i in range(len(band.images))
    ]


def _difference_std(one: Prediction, other: Prediction) -> float:
    """Standard deviation over the members of an energy difference along a fixed path."""
    return float(np.std(one.energy_ensemble - other.energy_ensemble, ddof=1))


def _sent(images: Sequence[PathImage], saddle: int) -> tuple[PathImage, ...]:
    """Select the ends, the highest image with its neighbours, and suspect images that DFT can calculate."""
    reasons: dict[int, list[str]] = {i: [] for i in range(len(images))}
    reasons[0].append("initial state of the barrier")
    reasons[len(images) - 1].append("final state, reference of the reverse barrier")
    reasons[saddle].append("the highest image")
    for neighbour in (saddle - 1, saddle + 1):
        reasons[neighbour].append("next to the highest image")
    for i, image in enumerate(images):
        if not image.trusted and image.gated.verdict.check is not GateCheck.UNCALIBRATED and image.computable:
            reasons[i].append(f"suspect: {image.gated.verdict.check.value.replace('_', ' ')}")
    return tuple(
        replace(image, sent=bool(reasons[i]) and image.computable, reason="; ".join(reasons[i]))
        for i, image in enumerate(images)
    )


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
    verdict = saddle.gated.verdict
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
