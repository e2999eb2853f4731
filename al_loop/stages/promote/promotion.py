"""PROMOTE: replace the served model by a candidate that fulfils every criterion."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from math import isfinite
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from al_loop.config import Config, PromoteSettings
from al_loop.records import LabelledFrame, LabelledSet, Role
from al_loop.stages.promote.criterion import Criterion
from al_loop.stages.promote.dimer_repulsion import repulsion
from al_loop.stages.promote.energy_conservation import (
    ConstantEnergyRun,
    conserves_energy,
    start_replicas,
    total_energies,
)
from al_loop.stages.promote.error_guarantee import NAME as GUARANTEE
from al_loop.stages.promote.error_guarantee import error_guarantee, trusts_nothing
from al_loop.stages.promote.forgetting import Distances, ProbeFrames, foundation_distances, no_harm, probe_frames
from al_loop.stages.promote.label_errors import earlier, held_back, newest
from al_loop.stages.promote.predictions import ForceErrors
from al_loop.structures.systems import all_structures
from committee.potential import CommitteePotential

PROBE_SEED, RUN_SEED, EARLIER_SEED, NEWEST_SEED = 7, 8, 9, 10
REPLICAS = 3  # structures that run at constant energy
NEWEST = 24  # new labels that are compared: more do not change the result

Arrays = dict[str, NDArray[Any]]
Once = Callable[[str, Callable[[], Arrays]], Arrays]
"""Called with a key and a function that makes arrays; returns the arrays that were made for the key first."""


@dataclass(frozen=True)
class Evidence:
    """Data that a candidate is evaluated on.

    Attributes:
        foundation: before any adaptation, with which all candidates are compared.
        held_back: calibration frames, on which no model was trained.
        newest: labels made since the served model was trained.
        earlier: a frozen sample of the labels of former rounds.
        probe: frames with the foundation's stored forces.
        run: a short run at constant energy, with the foundation's energies in it.
        elements: atomic numbers that occur in the campaign.
        distances: by the features before adaptation, for a candidate on an adapted foundation; None for its own.
        spin: frames carry charge and spin multiplicity.
        validation: compares a candidate's crystals with a reference; None if the config requires no validation.
    """

    foundation: CommitteePotential
    held_back: Sequence[LabelledFrame]
    newest: Sequence[LabelledFrame]
    earlier: Sequence[LabelledFrame]
    probe: ProbeFrames
    run: ConstantEnergyRun
    elements: frozenset[int]
    distances: Distances | None = None
    spin: bool = False
    validation: Callable[[CommitteePotential], Criterion] | None = None


@dataclass(frozen=True)
class Promotion:
    """Decision on a candidate model.

    Attributes:
        promoted: the candidate is served from now on.
        reason: the sentence of the first criterion if it is promoted, and that no frame can be trusted if that is so;
            those of all failed criteria otherwise.
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
    """Evaluate all criteria on a candidate, also after one has failed."""
    labelled = (*evidence.held_back, *evidence.newest, *evidence.earlier)
    errors = ForceErrors.of(candidate, served, labelled, evidence.foundation)
    deviation = errors.foundation_error(evidence.held_back)
    unseen = held_back(errors, evidence.held_back, settings.max_error_ratio)
    criteria = (
        unseen,
        newest(errors, evidence.newest, settings.max_error_ratio),
        earlier(errors, evidence.earlier, evidence.held_back, settings.max_rise),
        no_harm(
            candidate,
            evidence.probe,
            deviation,
            settings.max_rise,
            settings.far_latent_distance,
            evidence.distances,
        ),
        repulsion(candidate, evidence.elements, evidence.foundation, spin=evidence.spin),
        conserves_energy(candidate, evidence.run, settings.max_energy_ratio),
        error_guarantee(candidate.calibration, served.calibration, unseen.value),
        *([] if evidence.validation is None else [evidence.validation(candidate)]),
    )
    failed = [criterion for criterion in criteria if not criterion.passed]
    without_trust = [c for c in criteria if c.name == GUARANTEE and trusts_nothing(candidate.calibration)]
    decisive = failed or (unseen, *without_trust)
    new, old, _ = errors.mae(evidence.held_back)
    reason = "; ".join(f"{c.name}: {c.sentence}" for c in decisive)
    return Promotion(not failed, reason, _finite(new), _finite(old), criteria)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def gather_evidence(
    config: Config,
    foundation: CommitteePotential,
    candidate: CommitteePotential,
    labels: LabelledSet,
    round_: int,
    *,
    served_round: int | None,
    once: Once,
    validation: Callable[[CommitteePotential], Criterion] | None = None,
) -> Evidence:
    """Collect the data that the candidate of a round is evaluated on; the result is reproducible.

    The first candidate of a campaign defines which frames are far from its labels. ``served_round`` is None while the
    foundation is served; ``once`` stores random choices that are made once for all rounds.
    """
    structures = [structure.atoms for structure in all_structures(config.systems)]
    unknown = range(0 if served_round is None else served_round + 1, round_ + 1)
    newest = [frame for frame in labels.training if frame.round in unknown]
    held_back = labels.with_role(Role.CALIBRATION)
    frames = [*structures, *(frame.atoms for frame in (*newest, *held_back))]
    rng = np.random.default_rng([config.seed, NEWEST_SEED, round_])
    distances = None
    if candidate.backbone.fingerprint != foundation.backbone.fingerprint:
        distances = partial(foundation_distances, foundation, labels.training)
    return Evidence(
        foundation=foundation,
        held_back=held_back,
        newest=[newest[i] for i in sorted(rng.permutation(len(newest))[:NEWEST])],
        earlier=_earlier(config, labels.training, round_, once),
        probe=_probe(config, candidate, foundation, structures, once, distances),
        distances=distances,
        run=_run(config, foundation, structures, once),
        elements=frozenset(int(z) for atoms in frames for z in atoms.numbers),
        spin=any("spin" in atoms.info for atoms in structures),
        validation=validation,
    )


def _earlier(config: Config, training: Sequence[LabelledFrame], round_: int, once: Once) -> list[LabelledFrame]:
    """Labels of former rounds in equal shares, in an order that was drawn when each round was first used."""
    count = config.promote.earlier_labels
    drawn = [_drawn(config.seed, training, former, count, once) for former in range(round_)]
    interleaved = (frame for frame in chain.from_iterable(zip_longest(*drawn)) if frame is not None)
    return [frame for frame, _ in zip(interleaved, range(count), strict=False)]


def _drawn(seed: int, training: Sequence[LabelledFrame], round_: int, count: int, once: Once) -> list[LabelledFrame]:
    frames = {frame.frame_id: frame for frame in training if frame.round == round_}

    def draw() -> Arrays:
        rng = np.random.default_rng([seed, EARLIER_SEED, round_])
        return {"frames": rng.permutation(np.array(list(frames), dtype=np.str_))[:count]}

    stored = once(f"probe/labels/{round_}", draw)
    return [frames[frame_id] for frame_id in stored["frames"].tolist() if frame_id in frames]


def _probe(
    config: Config,
    candidate: CommitteePotential,
    foundation: CommitteePotential,
    structures: Sequence[Atoms],
    once: Once,
    distances: Distances | None,
) -> ProbeFrames:
    def draw() -> Arrays:
        rng = np.random.default_rng([config.seed, PROBE_SEED])
        count, far = config.promote.foundation_frames, config.promote.far_latent_distance
        return probe_frames(structures, count, candidate, far, rng, foundation, distances).to_arrays()

    return ProbeFrames.from_arrays(once("probe/foundation", draw))


def _run(config: Config, foundation: CommitteePotential, structures: Sequence[Atoms], once: Once) -> ConstantEnergyRun:
    timestep_fs, temperature_K = config.explore.timestep_fs, max(config.explore.temperatures_K)
    small = sorted(structures, key=len)[:REPLICAS]
    replicas = start_replicas(small, temperature_K, np.random.default_rng([config.seed, RUN_SEED]))
    steps = config.promote.nve_steps
    stored = once(
        f"probe/run/{temperature_K:g}K", lambda: {"energies": total_energies(foundation, replicas, timestep_fs, steps)}
    )
    return ConstantEnergyRun(tuple(replicas), temperature_K, timestep_fs, stored["energies"])
