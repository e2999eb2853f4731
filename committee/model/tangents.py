"""The foundation's energy, features and feature tangents of each labelled frame, computed once and cached on disk."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor

from committee.atomic_write import replacing
from committee.backbones.contract import Backbone, Evaluation, device_of, twice_differentiable
from committee.device_memory import enough_memory_for
from committee.errors import CheckpointError, TrainingDataError
from committee.foreign import reading
from committee.model.directions import RandomDirections, along
from committee.names import CHARGE, SPIN

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
ATOMS_AT_ONCE = {"cpu": 16, "cuda": 512}
"""Atoms of the frames that are evaluated together. On a CPU 64 made the tangents of 8-atom frames a fifth more
expensive than 16 (SevenNet-0); the number for a GPU is not measured."""

_Number = TypeVar("_Number", bound=np.generic)
Plan = RandomDirections | None
"""The directions of a frame: its coordinates if None."""


@dataclass(frozen=True)
class Tangents:
    """The foundation's evaluation of one frame.

    Attributes:
        structure: SHA-256 of the structure, which detects an id that is reused for another one.
        energy: () foundation energy, eV, float64.
        forces: (n, 3) eV/Å.
        stress: (6,) eV/Å³; NaN unless periodic in three directions and provided by the foundation.
        features: (n, D) h.
        directions: (m, 3n + 6) displacements (Å) and strains used instead of the coordinates: that of the foundation's
            error, random ones, then those of the errors of earlier fits; (0, 3n + 6) if all coordinates are used.
        n_random: () number of random directions; -1 if all coordinates are used.
        tangents: (M, n, D) ∂h along the m directions, or along the 3n coordinates (1/Å), then 6 strains if periodic in
            three directions.
        volume: () Å³; NaN unless periodic in three directions.
    """

    structure: str
    energy: NDArray[np.float64]
    forces: NDArray[np.float32]
    stress: NDArray[np.float32]
    features: NDArray[np.float32]
    directions: NDArray[np.float32]
    n_random: NDArray[np.int64]
    tangents: NDArray[np.float32]
    volume: NDArray[np.float64]

    @property
    def is_exact(self) -> bool:
        """Whether the tangents are those along every coordinate."""
        return int(self.n_random) < 0

    @property
    def n_fitted(self) -> int:
        """Number of directions that earlier fits have added."""
        return 0 if self.is_exact else max(0, len(self.directions) - 1 - int(self.n_random))

    def with_fitted(self, number: int) -> "Tangents":
        """Return the tangents without the directions that later fits than ``number`` have added."""
        spare = self.n_fitted - number
        if spare <= 0:
            return self
        return replace(self, directions=self.directions[:-spare], tangents=self.tangents[:-spare])

    def first_directions(self, plan: RandomDirections) -> NDArray[np.float32]:
        """Return the directions that a plan starts with, (1 + count, 3n + 6)."""
        scales = plan.scales(len(self.features), self.stress, float(self.volume))
        return plan.first(plan.errors(self.forces, self.stress, float(self.volume)), scales, self.structure)


class TangentCache:
    """The tangents of a foundation's frames in a folder: ``folder/<backbone fingerprint>/<id>.npz``.

    Args:
        backbone: the frozen foundation.
        folder: of the caches of all foundations.
    """

    def __init__(self, backbone: Backbone, folder: Path):
        self._backbone = backbone
        self._folder = folder / backbone.fingerprint
        self._atoms_at_once = ATOMS_AT_ONCE[device_of(backbone).type]

    def read(
        self,
        frames: Sequence[tuple[str, Atoms]],
        plans: Sequence[Plan] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Tangents]:
        """Read each frame's tangents; compute (in batches) and store missing ones.

        A stored entry is used if it belongs to the same structure and starts with the directions of the plan.

        Args:
            frames: (id, structure) pairs; ids are file names.
            plans: of each frame; every coordinate by default.
            progress: called with (frames done, number of frames).
        """
        plans = plans or [None] * len(frames)
        for name, _ in frames:
            if not name or Path(name).name != name or name == "..":
                raise TrainingDataError(f"received the frame id {name!r}, expected the name of a file")
        self._folder.mkdir(parents=True, exist_ok=True)
        found = [
            _read(self._path(name), structure_hash(atoms), plan)
            for (name, atoms), plan in zip(frames, plans, strict=True)
        ]
        missing = [i for i, entry in enumerate(found) if entry is None]
        done = len(frames) - len(missing)
        counts = [0 if plan is None else 1 + plan.count for plan in plans]
        for batch in _batches(missing, [atoms for _, atoms in frames], counts, self._atoms_at_once):
            structures = [frames[i][1] for i in batch]
            with enough_memory_for(structures):
                computed = compute_tangents(self._backbone, structures, [plans[i] for i in batch])
            for i, entry in zip(batch, computed, strict=True):
                _write(self._path(frames[i][0]), entry)
                found[i] = entry
            done += len(batch)
            if progress is not None:
                progress(done, len(frames))
        return [entry for entry in found if entry is not None]

    def extend(
        self,
        frames: Sequence[tuple[str, Atoms]],
        entries: Sequence[Tangents],
        plans: Sequence[Plan],
        slopes: Sequence[Tensor],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Tangents]:
        """Add to each frame the direction of the error that a fitted correction leaves, and store the result.

        Args:
            frames: (id, structure) pairs.
            entries: their tangents.
            plans: of each frame.
            slopes: (n, D) derivative of each frame's fitted correction with respect to its features.
            progress: called with (frames done, number of frames).
        """
        found, done = list(entries), 0
        structures = [structure for _, structure in frames]
        for batch in _batches(list(range(len(frames))), structures, [0] * len(frames), self._atoms_at_once):
            atoms = [frames[i][1] for i in batch]
            chosen = [entries[i] for i in batch], [plans[i] for i in batch], [slopes[i] for i in batch]
            with enough_memory_for(atoms):
                extended = _extended(self._backbone, atoms, *chosen)
            for i, entry in zip(batch, extended, strict=True):
                _write(self._path(frames[i][0]), entry)
                found[i] = entry
            done += len(batch)
            if progress is not None:
                progress(done, len(frames))
        return found

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"


def cached_tangents(
    backbone: Backbone,
    frames: Sequence[tuple[str, Atoms]],
    folder: Path,
    plans: Sequence[Plan] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tangents]:
    """See ``TangentCache.read``."""
    return TangentCache(backbone, folder).read(frames, plans, progress)


def compute_tangents(
    backbone: Backbone, frames: Sequence[Atoms], plans: Sequence[Plan] | None = None
) -> list[Tangents]:
    """Evaluate B frames of n atoms, of one periodicity and one number of directions, together.

    Direction j displaces all frames at once; frames do not interact, so one product gives the tangents of all.
    """
    plans = plans or [None] * len(frames)
    evaluation = twice_differentiable(backbone).evaluate(frames)
    probe = torch.zeros_like(evaluation.features, requires_grad=True)
    pulled, forces, stress = _pulled(evaluation, probe)
    bare = _without_tangents(evaluation, frames, forces, stress)
    directions = [_required(entry, plan) for entry, plan in zip(bare, plans, strict=True)]
    rows_of_all = np.zeros((len(frames), max(map(len, directions)), directions[0].shape[1]), dtype=np.float32)
    for b, rows in enumerate(directions):  # a frame with an energy only has none
        rows_of_all[b, : len(rows)] = rows
    tangents = _derivatives(evaluation, probe, pulled, rows_of_all)
    return [
        replace(
            entry,
            directions=rows[:0] if plan is None else rows,
            n_random=np.array(-1 if plan is None else plan.count),
            tangents=_array(tangents[: len(rows), b], np.float32),
        )
        for b, (entry, plan, rows) in enumerate(zip(bare, plans, directions, strict=True))
    ]


def _extended(
    backbone: Backbone,
    frames: Sequence[Atoms],
    entries: Sequence[Tangents],
    plans: Sequence[Plan],
    slopes: Sequence[Tensor],
) -> list[Tangents]:
    """Add one direction to frames of n atoms and one periodicity, from one evaluation and two derivatives."""
    evaluation = twice_differentiable(backbone).evaluate(frames)
    probe = torch.cat(list(slopes)).to(evaluation.features).requires_grad_()
    positions, strain = pulled = torch.autograd.grad(
        evaluation.features, (evaluation.positions, evaluation.strain), probe, create_graph=True, materialize_grads=True
    )
    forces = -_array(positions, np.float64).reshape(len(frames), -1, 3)
    virials = full_3x3_to_voigt_6_stress(_array(strain, np.float64))
    rows = []
    for b, (entry, plan) in enumerate(zip(entries, plans, strict=True)):
        volume = float(entry.volume)
        if plan is None:
            raise ValueError("received a frame whose tangents are exact, expected one with random directions")
        errors = plan.errors(entry.forces + forces[b], entry.stress + virials[b] / volume, volume)
        rows.append(along(errors, plan.scales(len(frames[0]), entry.stress, volume)))
    added = _derivatives(evaluation, probe, pulled, np.stack(rows)[:, None])
    return [
        replace(
            entry,
            directions=np.concatenate([entry.directions, rows[b][None]]),
            tangents=np.concatenate([entry.tangents, _array(added[:, b], np.float32)]),
        )
        for b, entry in enumerate(entries)
    ]


def structure_hash(atoms: Atoms) -> str:
    """Return the SHA-256 of all inputs of the foundation, in this order of atoms."""
    digest = hashlib.sha256()
    for array in (atoms.numbers.astype("<i8"), atoms.positions.astype("<f8"), np.asarray(atoms.cell.array, "<f8")):
        digest.update(array.tobytes())
    digest.update(repr((atoms.pbc.tolist(), [str(atoms.info.get(key)) for key in (CHARGE, SPIN)])).encode())
    return digest.hexdigest()


def _pulled(evaluation: Evaluation, probe: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """Return probe·∂h/∂(positions, strain), linear in the probe, with the foundation's forces and stress.

    For a probe of zero the derivative of probe·h + E has the value of E's and the graph of probe·h: one pass for both.
    """
    leaves = (evaluation.positions, evaluation.strain)
    if evaluation.closed_forces is not None:
        pulled = torch.autograd.grad(evaluation.features, leaves, probe, create_graph=True, materialize_grads=True)
        return pulled, *evaluation.foundation()
    outputs = (evaluation.features, evaluation.energy)
    seeds = (probe, torch.ones_like(evaluation.energy))
    positions, strain = torch.autograd.grad(outputs, leaves, seeds, create_graph=True, materialize_grads=True)
    return (positions, strain), -positions, strain / evaluation.volumes[:, None, None]


def _without_tangents(
    evaluation: Evaluation, frames: Sequence[Atoms], forces: Tensor, stress: Tensor
) -> list[Tangents]:
    n_frames, n_atoms = len(frames), len(frames[0])
    features = evaluation.features.detach().unflatten(0, (n_frames, n_atoms))
    forces = forces.reshape(n_frames, n_atoms, 3)
    return [
        Tangents(
            structure=structure_hash(atoms),
            energy=_array(evaluation.energy[b], np.float64),
            forces=_array(forces[b], np.float32),
            stress=full_3x3_to_voigt_6_stress(_array(stress[b], np.float64)).astype(np.float32),
            features=_array(features[b], np.float32),
            directions=np.zeros((0, 3 * n_atoms + len(VOIGT)), dtype=np.float32),
            n_random=np.array(-1),
            tangents=np.zeros((0, n_atoms, features.shape[-1]), dtype=np.float32),
            volume=_array(evaluation.volumes[b], np.float64),
        )
        for b, atoms in enumerate(frames)
    ]


def _required(entry: Tangents, plan: Plan) -> NDArray[np.float32]:
    """Return the directions of a plan, or every coordinate: 3n displacements, 6 strains if the frame has a volume."""
    if plan is not None:
        return entry.first_directions(plan)
    moves = entry.forces.size
    strains = len(VOIGT) if np.isfinite(entry.volume) else 0
    return np.eye(moves + strains, moves + len(VOIGT), dtype=np.float32)


def _derivatives(
    evaluation: Evaluation, probe: Tensor, pulled: tuple[Tensor, ...], rows: NDArray[np.float32]
) -> Tensor:
    """Return ∂h along directions (B, M, 3n + 6), (M, B, n, D), by differentiating a function linear in the probe.

    Directions are evaluated one by one: batches of frames already use a core fully, and batches of directions need
    more memory and were two to three times slower (measured on SevenNet-0).
    """
    n_frames, n_directions, width = rows.shape
    moves, strains = torch.as_tensor(rows).to(evaluation.positions).split([width - len(VOIGT), len(VOIGT)], dim=-1)
    cells = evaluation.strain.new_zeros(n_frames, n_directions, 3, 3)
    for j, (row, column) in enumerate(VOIGT):
        cells[..., row, column] = strains[..., j]
    found = evaluation.features.new_zeros(n_directions, *evaluation.features.shape)
    for j in range(n_directions):
        along_j = (moves[:, j].reshape(-1, 3), cells[:, j])
        found[j] = torch.autograd.grad(pulled, probe, along_j, retain_graph=True, materialize_grads=True)[0]
    n_atoms, size = len(evaluation.features) // n_frames, evaluation.features.shape[1]
    return found.reshape(n_directions, n_frames, n_atoms, size)


def _batches(indices: list[int], frames: list[Atoms], directions: list[int], atoms_at_once: int) -> list[list[int]]:
    """Split into batches of bounded size with frames of one size, number of directions and periodicity."""
    kinds: dict[tuple[int, int, bool], list[int]] = {}
    for i in indices:
        kinds.setdefault((len(frames[i]), directions[i], bool(frames[i].pbc.all())), []).append(i)
    batches = []
    for (n_atoms, _, _), members in kinds.items():
        size = max(1, atoms_at_once // n_atoms)
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    return batches


def _array(tensor: Tensor, dtype: type[_Number]) -> NDArray[_Number]:
    return tensor.detach().cpu().numpy().astype(dtype)


def _write(path: Path, tangents: Tangents) -> None:
    with replacing(path) as file:
        np.savez(file, **{field.name: getattr(tangents, field.name) for field in fields(Tangents)})


def _read(path: Path, structure: str, plan: Plan) -> Tangents | None:
    """Return the stored entry; None if it is missing, damaged, or of another structure or other directions."""
    try:
        # Opened here, since numpy leaves the file open when it turns out to be no archive.
        with (
            reading(path, "it is calculated again"),
            path.open("rb") as stream,
            np.load(stream, allow_pickle=False) as file,
        ):
            content = {field.name: file[field.name] for field in fields(Tangents)}
    except CheckpointError:
        return None
    stored = Tangents(**{**content, "structure": str(content["structure"])})
    if stored.structure != structure or stored.is_exact is not (plan is None):
        return None
    if plan is None:
        return stored
    first = stored.first_directions(plan)
    return stored if np.array_equal(stored.directions[: len(first)], first) else None
