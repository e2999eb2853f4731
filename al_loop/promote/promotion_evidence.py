"""What a candidate is judged on, put together from the ledger; what was drawn once is kept there."""

from collections.abc import Sequence
from itertools import chain, zip_longest

import numpy as np
from ase import Atoms

from al_loop.config import Config
from al_loop.explore.systems import all_structures
from al_loop.ledger import Ledger
from al_loop.promote.energy_conservation import ConstantEnergyRun, start_replicas, total_energies
from al_loop.promote.probe_frames import ProbeFrames, probe_frames
from al_loop.promote.promotion import Evidence
from al_loop.promote.validation import required_validation
from al_loop.records import LabelledFrame, Role
from committee.potential import CommitteePotential

PROBE_SEED, RUN_SEED, EARLIER_SEED, NEWEST_SEED = 7, 8, 9, 10
REPLICAS = 3  # structures that run at constant energy
NEWEST = 24  # new labels that are compared: more say the same


def gather_evidence(
    ledger: Ledger, config: Config, foundation: CommitteePotential, candidate: CommitteePotential, round_: int
) -> Evidence:
    """Collect what the candidate of a round is judged on; the same whenever it is asked for.

    Args:
        ledger: the campaign's ledger.
        config: the campaign.
        foundation: the untrained committee.
        candidate: the newly trained one; the first of a campaign says which frames are far from its labels.
        round_: the round that trained the candidate.
    """
    structures = [structure.atoms for structure in all_structures(config.systems)]
    served = ledger.served_model(before=round_)
    unknown = range(0 if served is None else served.round + 1, round_ + 1)
    newest = _sorted(ledger.labelled((Role.EXPLORE,), tuple(unknown)))
    held_back = _sorted(ledger.labelled((Role.CALIBRATION,), tuple(range(round_ + 1))))
    met = [*structures, *(frame.atoms for frame in (*newest, *held_back))]
    rng = np.random.default_rng([config.seed, NEWEST_SEED, round_])
    return Evidence(
        held_back=held_back,
        newest=[newest[i] for i in sorted(rng.permutation(len(newest))[:NEWEST])],
        earlier=_earlier(ledger, config, round_),
        probe=_probe(ledger, config, candidate, structures),
        run=_run(ledger, config, foundation, structures),
        elements=frozenset(int(z) for atoms in met for z in atoms.numbers),
        spin=any("spin" in atoms.info for atoms in structures),
        validation=required_validation(config),
    )


def _earlier(ledger: Ledger, config: Config, round_: int) -> list[LabelledFrame]:
    """Labels of former rounds in equal shares, in an order that was drawn when each round was first looked back on."""
    count = config.promote.earlier_labels
    drawn = [_drawn(ledger, config.seed, former, count) for former in range(round_)]
    interleaved = (frame for frame in chain.from_iterable(zip_longest(*drawn)) if frame is not None)
    return [frame for frame, _ in zip(interleaved, range(count), strict=False)]


def _drawn(ledger: Ledger, seed: int, round_: int, count: int) -> list[LabelledFrame]:
    frames = {frame.frame_id: frame for frame in _sorted(ledger.labelled((Role.EXPLORE,), (round_,)))}
    key = f"probe/labels/{round_}"
    stored = ledger.get_arrays(key)
    if stored is None:
        rng = np.random.default_rng([seed, EARLIER_SEED, round_])
        stored = {"frames": rng.permutation(np.array(list(frames), dtype=np.str_))[:count]}
        ledger.put_arrays(key, stored)
    return [frames[frame_id] for frame_id in stored["frames"].tolist() if frame_id in frames]


def _probe(ledger: Ledger, config: Config, candidate: CommitteePotential, structures: Sequence[Atoms]) -> ProbeFrames:
    stored = ledger.get_arrays("probe/foundation")
    if stored is None:
        rng = np.random.default_rng([config.seed, PROBE_SEED])
        count, far = config.promote.foundation_frames, config.promote.far_latent_distance
        stored = probe_frames(structures, count, candidate, far, rng).to_arrays()
        ledger.put_arrays("probe/foundation", stored)
    return ProbeFrames.from_arrays(stored)


def _run(
    ledger: Ledger, config: Config, foundation: CommitteePotential, structures: Sequence[Atoms]
) -> ConstantEnergyRun:
    timestep_fs, temperature_K = config.explore.timestep_fs, max(config.explore.temperatures_K)
    small = sorted(structures, key=len)[:REPLICAS]
    replicas = start_replicas(small, temperature_K, np.random.default_rng([config.seed, RUN_SEED]))
    stored = ledger.get_arrays("probe/run")
    if stored is None:
        stored = {"energies": total_energies(foundation, replicas, timestep_fs, config.promote.nve_steps)}
        ledger.put_arrays("probe/run", stored)
    return ConstantEnergyRun(tuple(replicas), temperature_K, timestep_fs, stored["energies"])


def _sorted(frames: Sequence[LabelledFrame]) -> list[LabelledFrame]:
    return sorted(frames, key=lambda frame: (frame.round, frame.frame_id))
