"""Frames that the foundation labels itself, so that adaptation leaves it as it was far from the labels."""

from collections.abc import Sequence, Set
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.collections import g2
from ase.data import atomic_numbers, chemical_symbols, covalent_radii, reference_states
from numpy.typing import NDArray

from committee.backbones.contract import Backbone
from committee.errors import RefusedFrameError
from committee.model.latent import LatentDistance, switching_function
from committee.names import CHARGE, SPIN
from committee.prediction import split_by_atoms
from committee.settings import CommitteeSettings

Array = NDArray[np.float64]
STRAINS = (-0.15, -0.08, 0.1, 0.25)  # of the volume's cube root: beyond what labels near equilibrium cover
RATTLE_A = 0.3
FAR_SHARE = 0.5  # of a frame's atoms, beyond the distance at which heads would be switched off
MAX_ATOMS = 16
_ELEMENTS = 24  # elements beside those of the labels, of which each pair makes a compound
_DIMER_STRETCHES = (0.8, 1.0, 1.3, 1.8)  # of the sum of covalent radii
_SIMPLE = {"fcc", "bcc", "diamond", "sc", "hcp"}


def replay_frames(
    backbone: Backbone, labelled: Sequence[Atoms], explored: Sequence[Atoms], count: int, seed: int
) -> list[Atoms]:
    """Choose frames to replay: explored ones and strained labelled ones far from the labels, and the bundled set.

    Near the labels the foundation would contradict them, so that frames are far by the latent distance at which the
    correction of heads would be switched off.

    Args:
        backbone: the foundation.
        labelled: structures of the labelled frames.
        explored: further structures of the same system, for example from exploration; those near the labels are left
            out.
        count: number of frames to return, at most.
        seed: random seed of the strains and of the choice.
    """
    rng = np.random.default_rng([seed, 1])
    own = [*explored, *_strained(labelled, rng)]
    bundled = bundled_frames(backbone.elements, {int(z) for atoms in labelled for z in atoms.numbers}, rng)
    far = _far_from(backbone, labelled, [*own, *bundled])
    chosen = rng.permutation(len(far))[:count]
    return [far[i] for i in sorted(chosen)]


def bundled_frames(elements: Set[int], labelled: Set[int], rng: np.random.Generator) -> list[Atoms]:
    """Build small crystals, dimers and molecules of a foundation's elements, rattled a little.

    Args:
        elements: those of the foundation.
        labelled: those of the labels; all their elements, pairs and molecules are included, of others a sample.
        rng: for the sample and the displacements.
    """
    own = sorted(labelled & elements)
    others = [z for z in sorted(elements - labelled) if reference_states[z] is not None]
    sample = sorted(rng.permutation(others)[:_ELEMENTS].tolist())
    mixed = [pair for z in own for pair in [tuple(sorted((z, int(rng.choice(sample)))))]] if sample else []
    foreign = list(zip(sample[::2], sample[1::2], strict=False))
    frames = [crystal for z in [*own, *sample] if (crystal := _element(z)) is not None]
    for one, other in [*combinations(own, 2), *mixed, *foreign]:
        frames += _compounds(one, other)
    for one, other in [*((z, z) for z in own), *combinations(own, 2), *mixed]:
        frames += _dimers(one, other)
    frames += _molecules(elements, labelled, rng)
    for atoms in frames:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        electrons = int(atoms.numbers.sum())
        atoms.info = {CHARGE: 0, SPIN: 1 + electrons % 2}
    return frames


def _strained(labelled: Sequence[Atoms], rng: np.random.Generator) -> list[Atoms]:
    """Strain and rattle small labelled structures, one strain each; molecules are only rattled."""
    frames = []
    for i, atoms in enumerate(labelled):
        if len(atoms) > MAX_ATOMS:
            continue
        moved = atoms.copy()
        moved.set_constraint()
        if moved.pbc.any():
            moved.set_cell(moved.cell.array * (1 + STRAINS[i % len(STRAINS)]), scale_atoms=True)
        moved.positions += rng.normal(scale=RATTLE_A, size=moved.positions.shape)
        frames.append(moved)
    return frames


def _far_from(backbone: Backbone, labelled: Sequence[Atoms], frames: Sequence[Atoms]) -> list[Atoms]:
    """Return the frames of which most atoms are too far from the labelled ones for a correction by heads."""
    switch = CommitteeSettings()
    features, numbers, groups = _features(backbone, labelled)
    metric = LatentDistance().fit(features, numbers, groups).metric()
    far = []
    for atoms in frames:
        try:
            evaluation = backbone.evaluate([atoms])
        except RefusedFrameError:
            continue
        distance = metric(evaluation.features.detach().cpu().double(), evaluation.atomic_numbers.cpu())
        near = switching_function(distance, switch.switch_start, switch.switch_end)
        if float((near == 0).double().mean()) >= FAR_SHARE:
            far.append(atoms)
    return far


def _features(
    backbone: Backbone, frames: Sequence[Atoms]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    found = [backbone.evaluate(batch).features.detach().cpu().numpy() for batch in split_by_atoms(frames, 64)]
    numbers = np.concatenate([atoms.numbers for atoms in frames]).astype(np.int64)
    groups = np.repeat(np.arange(len(frames)), [len(atoms) for atoms in frames])
    return np.concatenate(found).astype(np.float32), numbers, groups


def _element(z: int) -> Atoms | None:
    """Return an element's crystal by ASE's own table; None if its cell is not a simple one."""
    state = reference_states[z]
    if state is None or state["symmetry"] not in _SIMPLE or state.get("basis", ()) is None:  # None: an unknown basis
        return None
    return bulk(chemical_symbols[z])


def _compounds(one: int, other: int) -> list[Atoms]:
    """Return three crystals of a pair, with bonds as long as the sum of the covalent radii."""
    bond = 1.1 * (covalent_radii[one] + covalent_radii[other])
    name = chemical_symbols[one] + chemical_symbols[other]
    lattices = {"rocksalt": 2.0, "zincblende": 4 / 3**0.5, "cesiumchloride": 2 / 3**0.5}
    return [bulk(name, structure, a=scale * bond) for structure, scale in lattices.items()]


def _dimers(one: int, other: int) -> list[Atoms]:
    bond = covalent_radii[one] + covalent_radii[other]
    return [Atoms([one, other], [[0, 0, 0], [0, 0, scale * bond]]) for scale in _DIMER_STRETCHES]


def _molecules(elements: Set[int], labelled: Set[int], rng: np.random.Generator) -> list[Atoms]:
    """Return molecules of ASE's G2 set: those with an element of the labels first, then others; eight in all."""
    names = [name for name in g2.names if all(atomic_numbers[s] in elements for s in _symbols(name))]
    order = [names[i] for i in rng.permutation(len(names))]
    own = [name for name in order if any(atomic_numbers[s] in labelled for s in _symbols(name))]
    chosen = [*own[:6], *[name for name in order if name not in own]][:8]
    return [found for name in chosen if 1 < len(found := molecule(name)) <= MAX_ATOMS]


def _symbols(name: str) -> list[str]:
    return list(dict.fromkeys(g2[name].get_chemical_symbols()))
