"""Orderings of copper and gold ranked by a committee: how often the true best is among the candidates sent to EMT.

    python benchmarks/narrowing.py [--quick]

SevenNet-0 corrected towards EMT with 16 labels of rattled random orderings; 14 candidates of eight atoms, seven
orderings in two slightly different cells each; six committees, each with labels of its own choice. Each ranks twice:
with every candidate on its own, and with duplicates merged. The claimed probability refers to the ranked structures:
the true best are those among the structures that remain, and the loss by merging is a separate figure.
"""

import argparse
import itertools
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from figures import at_least, at_most
from telling import counting

from al_loop.tools.ranking.grouping import same_structure, surroundings
from al_loop.tools.ranking.ranking import SAME_ENERGY_EV_PER_ATOM, rank_candidates
from al_loop.tools.ranking.ranking_results import Ranking
from al_loop.tools.ranking.settings import RankOptions
from committee import CommitteeSettings, SevenNetSettings, TrainingFrame, TrainingSettings, load_backbone, train

LABELS, LABEL_POOL, HELD_OUT = 16, 24, 12
COMMITTEES = 6
CONFIDENCE = 0.9
SAME_A = {"not merged": 1e-6, "duplicates merged": RankOptions().same_A}


def ordering(gold: tuple[int, ...]) -> Atoms:
    """Two cubic cells of copper with some sites taken by gold."""
    atoms = bulk("Cu", a=3.87, cubic=True).repeat((2, 1, 1))
    atoms.numbers[list(gold)] = 79
    return atoms


def displaced(atoms: Atoms, rng: np.random.Generator, strain: float, amplitude_A: float) -> Atoms:
    """Strain and rattle in place."""
    atoms.set_cell(atoms.cell * (1 + rng.uniform(-strain, strain)), scale_atoms=True)
    atoms.positions += rng.normal(0, amplitude_A, atoms.positions.shape)
    return atoms


def random_ordering(seed: int) -> Atoms:
    """Return a structure to be labelled."""
    rng = np.random.default_rng([8, seed])
    return displaced(ordering(tuple(rng.permutation(8)[:4])), rng, 0.02, 0.05)


def candidates() -> list[Atoms]:
    """Each ordering twice, slightly strained and rattled, so that they are close but distinct."""
    rng = np.random.default_rng(1)
    kinds: list[Atoms] = []
    for gold in itertools.combinations(range(8), 4):
        atoms = ordering(gold)
        if not any(same_structure(surroundings(atoms), surroundings(kind), 0.1) for kind in kinds):
            kinds.append(atoms)
    return [displaced(kind.copy(), rng, 0.015, 0.02) for kind in kinds for _ in range(2)]


def emt(atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy, eV, and forces, eV/Å."""
    labelled_atoms = atoms.copy()
    labelled_atoms.calc = EMT()
    return labelled_atoms.get_potential_energy(), labelled_atoms.get_forces()


@dataclass(frozen=True)
class Outcome:
    """Candidates that one committee sends.

    Attributes:
        kept: share of the true best that is sent.
        all_kept: whether all of them are.
        claimed: the ranking's probability of that.
        sent: share of the candidates that is sent.
        lost_eV_per_atom: largest energy of a kept candidate above one merged into it.
    """

    kept: float
    all_kept: bool
    claimed: float
    sent: float
    lost_eV_per_atom: float


def compared(ranking: Ranking, true: np.ndarray, top: int) -> Outcome:
    """Compare a ranking with the true energies (candidates,), eV."""
    distinct = [one.candidate for one in ranking.candidates if one.same_as is None]
    best = set(sorted(distinct, key=lambda i: true[i])[:top])
    sent = {one.candidate for one in ranking.sent}
    lost = [
        (true[one.same_as] - true[one.candidate]) / len(one.atoms)
        for one in ranking.candidates
        if one.same_as is not None
    ]
    return Outcome(
        kept=len(best & sent) / top,
        all_kept=best <= sent,
        claimed=ranking.compositions[0].probability_kept or 0.0,
        sent=len(sent) / len(true),
        lost_eV_per_atom=max([0.0, *lost]),
    )


def measure(*, quick: bool) -> None:
    """Print what each committee sends, then the figures."""
    backbone, pool = load_backbone(SevenNetSettings(kind="sevennet")), candidates()
    true = np.array([emt(atoms)[0] for atoms in pool])
    labels = [
        TrainingFrame(f"frame{i}", atoms, *emt(atoms), None, group=f"group{i}")
        for i, atoms in enumerate(map(random_ordering, range(6 if quick else LABEL_POOL)))
    ]
    held_out = [(atoms, emt(atoms)[0]) for atoms in (random_ordering(200 + i) for i in range(HELD_OUT))]
    training = TrainingSettings(epochs=40 if quick else 200, exact_up_to_atoms=1, random_directions=8)
    found: dict[tuple[int, str], list[Outcome]] = {(top, how): [] for top in (1, 3) for how in SAME_A}
    with tempfile.TemporaryDirectory(prefix="narrowing-") as cache:
        for seed in range(1 if quick else COMMITTEES):
            chosen = np.random.default_rng([3, seed]).permutation(len(labels))[:LABELS]
            potential = train(
                backbone,
                [labels[i] for i in chosen],
                committee=CommitteeSettings(hidden_channels=16),
                training=training,
                cache_folder=Path(cache),
                seed=seed,
                progress=counting("frames whose tangents are known, then epochs"),
            )
            for (top, how), outcomes in found.items():
                options = RankOptions(top, CONFIDENCE, same_A=SAME_A[how])
                ranking = rank_candidates(pool, potential, options, labelled=held_out)
                outcomes.append(compared(ranking, true, top))
                print(
                    f"committee {seed}, best {top}, {how}: {outcomes[-1].kept * top:.0f} of {top} among "
                    f"{len(ranking.sent)} sent of {len(pool)}, claimed with {outcomes[-1].claimed:.2f}; spread x "
                    f"{ranking.scale.value:.2f}",
                    flush=True,
                )
    for (top, how), outcomes in found.items():
        _figures(f"Cu-Au orderings, {how}, best {top}", outcomes)
    lost = max(one.lost_eV_per_atom for outcomes in found.values() for one in outcomes)
    at_most("Cu-Au orderings: eV per atom that merging loses at most", lost, SAME_ENERGY_EV_PER_ATOM)


def _figures(name: str, outcomes: list[Outcome]) -> None:
    kept, all_kept, claimed, share = (
        float(np.mean([getattr(one, of) for one in outcomes])) for of in ("kept", "all_kept", "claimed", "sent")
    )
    at_least(f"{name}: share of the true best that is sent", kept, CONFIDENCE)
    at_most(f"{name}: claimed probability that all are sent, less how often they were", claimed - all_kept, 0.05)
    at_most(f"{name}: share of the candidates that is sent", share, 0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small committee, to see that it runs")
    with warnings.catch_warnings(action="ignore"):
        measure(quick=parser.parse_args().quick)
