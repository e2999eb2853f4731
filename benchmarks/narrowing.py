"""Orderings of copper and gold ranked by a committee: how often the true best is among what is sent to EMT.

    python benchmarks/narrowing.py [--quick]

SevenNet-0 corrected towards EMT with 16 labels of rattled random orderings; 14 candidates of eight atoms, seven
orderings in two slightly different cells each; six committees, each with labels of its own choice.
"""

import argparse
import itertools
import tempfile
import warnings
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from figures import at_least, at_most

from al_loop.narrow.options import RankOptions
from al_loop.narrow.ranking import rank_candidates
from al_loop.narrow.same_structure import same_structure, surroundings
from committee import CommitteeSettings, SevenNetSettings, TrainingFrame, TrainingSettings, load_backbone, train

LABELS, LABEL_POOL, HELD_OUT = 16, 24, 12
COMMITTEES = 6
CONFIDENCE = 0.9


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
    """What labels are made of."""
    rng = np.random.default_rng([8, seed])
    return displaced(ordering(tuple(rng.permutation(8)[:4])), rng, 0.02, 0.05)


def candidates() -> list[Atoms]:
    """Each ordering twice, slightly strained and rattled, so that they are close and none is another."""
    rng = np.random.default_rng(1)
    kinds: list[Atoms] = []
    for gold in itertools.combinations(range(8), 4):
        atoms = ordering(gold)
        if not any(same_structure(surroundings(atoms), surroundings(kind), 0.1) for kind in kinds):
            kinds.append(atoms)
    return [displaced(kind.copy(), rng, 0.015, 0.02) for kind in kinds for _ in range(2)]


def emt(atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy, eV, and forces, eV/Å."""
    judged = atoms.copy()
    judged.calc = EMT()
    return judged.get_potential_energy(), judged.get_forces()


def measure(*, quick: bool) -> None:
    """Print what each committee sends, then the figures."""
    backbone, pool = load_backbone(SevenNetSettings(kind="sevennet")), candidates()
    true = np.array([emt(atoms)[0] for atoms in pool])
    labels = [
        TrainingFrame(f"frame{i}", atoms, *emt(atoms), None, group=f"group{i}")
        for i, atoms in enumerate(map(random_ordering, range(6 if quick else LABEL_POOL)))
    ]
    held_out = [(atoms, emt(atoms)[0]) for atoms in (random_ordering(200 + i) for i in range(HELD_OUT))]
    training = TrainingSettings(epochs=40 if quick else 200, exact_up_to_atoms=1, sketch_directions=8)
    found: dict[int, list[tuple[float, float, float, float]]] = {1: [], 3: []}
    with tempfile.TemporaryDirectory(prefix="narrowing-") as cache:
        for seed in range(1 if quick else COMMITTEES):
            chosen = np.random.default_rng([3, seed]).permutation(len(labels))[:LABELS]
            committee = CommitteeSettings(hidden_channels=16)
            potential = train(
                backbone,
                [labels[i] for i in chosen],
                committee=committee,
                training=training,
                cache_folder=Path(cache),
                seed=seed,
            )
            for top, shares in found.items():
                ranking = rank_candidates(pool, potential, RankOptions(top, CONFIDENCE), labelled=held_out)
                sent = {one.candidate for one in ranking.sent}
                best = set(np.argsort(true)[:top].tolist())
                claimed = ranking.compositions[0].probability_kept or 0.0
                shares.append((len(best & sent) / top, float(best <= sent), claimed, len(sent) / len(pool)))
                print(
                    f"committee {seed}, best {top}: {len(best & sent)} of {top} among {len(sent)} sent of "
                    f"{len(pool)}, claimed with {claimed:.2f}; spread x {ranking.scale.value:.2f}",
                    flush=True,
                )
    for top, shares in found.items():
        kept, all_kept, claimed, share = np.mean(shares, axis=0)
        name = f"Cu-Au orderings, best {top}"
        at_least(f"{name}: share of the true best that is sent", kept, CONFIDENCE)
        at_most(f"{name}: claimed probability that all are sent, less how often they were", claimed - all_kept, 0.05)
        at_most(f"{name}: share of the candidates that is sent", share, 0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one small committee, to see that it runs")
    with warnings.catch_warnings(action="ignore"):
        measure(quick=parser.parse_args().quick)
