"""Labelled frames that others made and published; they are read from a folder of the user and never copied.

The files come from github.com/davkovacs/BOTNet-datasets (MIT licence), made for arXiv:2205.06643. The folder is the one
that the variable AL_LOOP_FIELD_DATA names, or ``shared/field-data`` beside the checkout.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import read
from learned import Outcome, identity
from systems import CACHE, ROOT, Frame
from telling import counting

from committee.potential import CommitteePotential
from committee.training.train import TrainingFrame

VARIABLE = "AL_LOOP_FIELD_DATA"
HOME_K = 300
POOL = 100  # frames at home from which every seed draws its training frames, so that few tangents are computed
MIXED = {600: slice(167, 333), 1200: slice(333, 500)}  # rows of 3bpa-mixed-temperatures.xyz
MISSING = (
    f"no published frames found: set {VARIABLE} to a folder with the files 3bpa-300K.xyz, 3bpa-mixed-temperatures.xyz, "
    "ethanol-md.xyz and ethanol-oh-dissociation.xyz of github.com/davkovacs/BOTNet-datasets"
)


@dataclass(frozen=True)
class Stretched:
    """Ethanol with its O-H bond at a distance (Å), and the label of its energy (eV)."""

    atoms: Atoms
    distance_A: float
    energy_eV: float


def folder() -> Path | None:
    """Return the folder of the published frames; None if it is missing."""
    named = os.environ.get(VARIABLE)
    candidates = [Path(named)] if named else [parent / "shared" / "field-data" for parent in ROOT.parents]
    return next((path for path in candidates if (path / "3bpa-300K.xyz").is_file()), None)


def molecule(where: Path, temperature_K: int, count: int) -> list[Frame]:
    """Return frames of 3-(benzyloxy)pyridin-2-amine at 300, 600 or 1200 K, in a fixed random order."""
    name = "3bpa-300K" if temperature_K == HOME_K else "3bpa-mixed-temperatures"
    rows = MIXED.get(temperature_K, slice(None))
    return _frames(where / f"{name}.xyz", rows, count, temperature_K)


def ethanol(where: Path, count: int) -> list[Frame]:
    """Return frames of ethanol from molecular dynamics at 500 K, in a fixed random order."""
    return _frames(where / "ethanol-md.xyz", slice(None), count, 500)


def dissociation(where: Path) -> list[Stretched]:
    """Return the frames in which the O-H bond of ethanol is pulled apart, from the shortest."""
    frames = read(where / "ethanol-oh-dissociation.xyz", ":")
    found = [
        Stretched(Atoms(a.numbers, a.positions), float(a.info["OH_dist"]), float(a.get_potential_energy()))
        for a in frames
    ]
    return sorted(found, key=lambda frame: frame.distance_A)


def draw(frames: Sequence[Frame], seed: int, train: int) -> tuple[list[Frame], list[Frame]]:
    """Draw training frames from the first ``POOL`` frames; return them and all others."""
    chosen = set(np.random.default_rng(seed).permutation(min(POOL, len(frames)))[:train].tolist())
    return [frames[i] for i in sorted(chosen)], [frame for i, frame in enumerate(frames) if i not in chosen]


def predicted(potential: CommitteePotential, frames: Sequence[Frame]) -> Outcome:
    """Return errors, spreads and distances from exact predictions; those of an identical committee are cached."""
    store = CACHE / "outcomes" / identity(potential)
    store.mkdir(parents=True, exist_ok=True)
    report = counting("frames predicted")
    rows = []
    for i, frame in enumerate(frames):
        rows.append(_predicted(potential, frame, store / f"{frame.training.id}.npz"))
        report(i + 1, len(frames))
    temperatures = np.array([frame.temperature_K for frame in frames])
    return Outcome(*(list(column) for column in zip(*rows, strict=True)), temperatures)


def _predicted(potential: CommitteePotential, frame: Frame, path: Path) -> tuple[np.ndarray, ...]:
    if path.is_file():
        with np.load(path) as file:
            return tuple(file[name] for name in ("errors", "sigmas", "distances", "components", "foundation"))
    found = potential.predict([frame.training.atoms], "exact", foundation=True)[0]
    components, foundation = found.forces - frame.forces, found.foundation_forces - frame.forces
    values = {
        "errors": np.linalg.norm(components, axis=1),
        "sigmas": found.atomic_force_uncertainty,
        "distances": found.latent_distance,
        "components": components,
        "foundation": foundation,
    }
    np.savez(path, **values)
    return tuple(values.values())


def _frames(path: Path, rows: slice, count: int, temperature_K: int) -> list[Frame]:
    atoms = read(path, ":")[rows]
    first = rows.start or 0
    order = np.random.default_rng(0).permutation(len(atoms))[:count]
    return [_frame(atoms[i], f"{path.stem}-{first + i:03d}", temperature_K, int(first + i)) for i in order]


def _frame(atoms: Atoms, name: str, temperature_K: int, number: int) -> Frame:
    training = TrainingFrame(
        id=name,
        atoms=Atoms(atoms.numbers, atoms.positions),
        energy_eV=float(atoms.get_potential_energy()),
        forces_eV_per_A=atoms.get_forces(),
        stress_eV_per_A3=None,
        group=name,
    )
    return Frame(training, temperature_K, number)
