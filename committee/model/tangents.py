"""The foundation's energy, features and feature tangents of each labelled frame, computed once and cached on disk."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray
from torch import Tensor

from committee.atomic_write import replacing
from committee.backbones.contract import Backbone, Evaluation
from committee.errors import CheckpointError, TrainingDataError
from committee.foreign import reading
from committee.names import CHARGE, SPIN
from committee.settings import TrainingSettings

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
ATOMS_AT_ONCE = 64

_Number = TypeVar("_Number", bound=np.generic)


def is_exact(n_atoms: int, settings: TrainingSettings) -> bool:
    """Whether the tangents of a frame cover every coordinate, also if random directions would cost as much."""
    return n_atoms <= settings.exact_up_to_atoms or settings.random_directions >= 3 * n_atoms


def sketch_of(atoms: Atoms, structure: str, settings: TrainingSettings) -> NDArray[np.float32]:
    """Draw Gaussian displacements (m, n, 3) of a frame; none, (0, n, 3), where tangents are exact.

    For an error e of the forces and v ~ N(0, 1) the mean of (e·v)² is |e|²: a few directions give the squared loss
    without bias, and no other loss. The directions depend only on the structure, so that a retraining uses the same.
    """
    n_atoms = len(atoms)
    if is_exact(n_atoms, settings):
        return np.zeros((0, n_atoms, 3), dtype=np.float32)
    seed = int.from_bytes(hashlib.sha256(f"sketch {structure}".encode()).digest()[:8], "little")
    generator = np.random.default_rng(seed)
    return generator.standard_normal((settings.random_directions, n_atoms, 3)).astype(np.float32)


@dataclass(frozen=True)
class Tangents:
    """The foundation's evaluation of one frame.

    Attributes:
        structure: SHA-256 of the structure, which detects an id that is reused for another one.
        energy: () foundation energy, eV, float64.
        forces: (n, 3) eV/Å.
        stress: (6,) eV/Å³; NaN unless periodic in three directions and provided by the foundation.
        features: (n, D) h.
        sketch: (m, n, 3) random displacements used instead of the 3n coordinates; (0, n, 3) if all coordinates are.
        tangents: (M, n, D) ∂h along M directions: 3n coordinates or m sketched displacements (1/Å), then 6 strains if
            periodic in three directions.
        volume: () Å³; NaN unless periodic in three directions.
    """

    structure: str
    energy: NDArray[np.float64]
    forces: NDArray[np.float32]
    stress: NDArray[np.float32]
    features: NDArray[np.float32]
    sketch: NDArray[np.float32]
    tangents: NDArray[np.float32]
    volume: NDArray[np.float64]

    @property
    def n_moves(self) -> int:
        """Number of directions that move atoms; the others strain the cell."""
        return len(self.sketch) or self.forces.size


def cached_tangents(
    backbone: Backbone,
    frames: Sequence[tuple[str, Atoms]],
    folder: Path,
    settings: TrainingSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Tangents]:
    """Read each frame's tangents from the cache; compute (in batches) and store missing ones.

    A cached entry is used if it belongs to the same structure and has the directions that the settings require.

    Args:
        backbone: the frozen foundation.
        frames: (id, structure) pairs; ids are file names.
        folder: the cache; files are at ``folder/<backbone fingerprint>/<id>.npz``.
        settings: threshold and number of random directions.
        progress: called with (frames done, number of frames).
    """
    settings = settings or TrainingSettings()
    for name, _ in frames:
        if not name or Path(name).name != name or name == "..":
            raise TrainingDataError(f"received the frame id {name!r}, expected the name of a file")
    folder = folder / backbone.fingerprint
    folder.mkdir(parents=True, exist_ok=True)
    hashes = [structure_hash(atoms) for _, atoms in frames]
    sketches = [sketch_of(atoms, digest, settings) for (_, atoms), digest in zip(frames, hashes, strict=True)]
    found = [
        _read(folder / f"{name}.npz", digest, sketch)
        for (name, _), digest, sketch in zip(frames, hashes, sketches, strict=True)
    ]
    missing = [i for i, entry in enumerate(found) if entry is None]
    done = len(frames) - len(missing)
    for batch in _batches(missing, [atoms for _, atoms in frames]):
        batch_sketches = np.stack([sketches[i] for i in batch])
        computed = compute_tangents(backbone, [frames[i][1] for i in batch], batch_sketches)
        for i, entry in zip(batch, computed, strict=True):
            _write(folder / f"{frames[i][0]}.npz", entry)
            found[i] = entry
        done += len(batch)
        if progress is not None:
            progress(done, len(frames))
    return [entry for entry in found if entry is not None]


def compute_tangents(
    backbone: Backbone, frames: Sequence[Atoms], sketches: NDArray[np.float32] | None = None
) -> list[Tangents]:
    """Evaluate B frames of n atoms and one periodicity together.

    Direction j displaces all frames at once; frames do not interact, so one product gives the tangents of all.
    ``sketches`` (B, m, n, 3) are displacements of each frame; without any (m = 0) every coordinate is displaced.
    """
    n_frames, n_atoms = len(frames), len(frames[0])
    if sketches is None:
        sketches = np.zeros((n_frames, 0, n_atoms, 3), dtype=np.float32)
    evaluation = backbone.evaluate(frames)
    forces, stress = evaluation.foundation(retain_graph=True)
    tangents = _directional_derivatives(evaluation, sketches).unflatten(1, (n_frames, n_atoms))
    features = evaluation.features.detach().unflatten(0, (n_frames, n_atoms))
    return [
        Tangents(
            structure=structure_hash(atoms),
            energy=_array(evaluation.energy[b], np.float64),
            forces=_array(forces.reshape(n_frames, n_atoms, 3)[b], np.float32),
            stress=full_3x3_to_voigt_6_stress(_array(stress[b], np.float64)).astype(np.float32),
            features=_array(features[b], np.float32),
            sketch=sketches[b],
            tangents=_array(tangents[:, b], np.float32),
            volume=_array(evaluation.volumes[b], np.float64),
        )
        for b, atoms in enumerate(frames)
    ]


def structure_hash(atoms: Atoms) -> str:
    """Return the SHA-256 of all inputs of the foundation, in this order of atoms."""
    digest = hashlib.sha256()
    for array in (atoms.numbers.astype("<i8"), atoms.positions.astype("<f8"), np.asarray(atoms.cell.array, "<f8")):
        digest.update(array.tobytes())
    digest.update(repr((atoms.pbc.tolist(), [str(atoms.info.get(key)) for key in (CHARGE, SPIN)])).encode())
    return digest.hexdigest()


def _directional_derivatives(evaluation: Evaluation, sketches: NDArray[np.float32]) -> Tensor:
    """Return ∂h along every direction, (M, N, D), by differentiating u -> Σ u·∂h/∂x (linear in u) once more.

    Directions are evaluated one by one: batches of frames already use a core fully, and batches of directions need
    more memory and were two to three times slower (measured on SevenNet-0).
    """
    probe = torch.zeros_like(evaluation.features, requires_grad=True)
    pulled = torch.autograd.grad(
        evaluation.features, (evaluation.positions, evaluation.strain), probe, create_graph=True, materialize_grads=True
    )
    directions = zip(*_directions(evaluation, sketches), strict=True)
    return torch.stack(
        [
            torch.autograd.grad(pulled, probe, direction, retain_graph=True, materialize_grads=True)[0]
            for direction in directions
        ]
    )


def _directions(evaluation: Evaluation, sketches: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Return displacements, then unit strains: (M, N, 3) and (M, B, 3, 3)."""
    n_frames, _, n_atoms, _ = sketches.shape
    moves = torch.as_tensor(sketches).to(evaluation.positions).transpose(0, 1)
    if len(moves) == 0:
        unit = torch.eye(3 * n_atoms, dtype=moves.dtype, device=moves.device)
        moves = unit.reshape(-1, 1, n_atoms, 3).expand(-1, n_frames, -1, -1)
    n_strains = len(VOIGT) if bool(torch.isfinite(evaluation.volumes).all()) else 0
    strains = evaluation.strain.new_zeros(len(moves) + n_strains, n_frames, 3, 3)
    for j, (row, column) in enumerate(VOIGT[:n_strains]):
        strains[len(moves) + j, :, row, column] = 1
    no_moves = moves.new_zeros(n_strains, *moves.shape[1:])
    return torch.cat([moves, no_moves]).reshape(-1, n_frames * n_atoms, 3), strains


def _batches(indices: list[int], frames: list[Atoms]) -> list[list[int]]:
    """Split into batches of bounded size with frames of one size (and number of directions) and periodicity."""
    kinds: dict[tuple[int, bool], list[int]] = {}
    for i in indices:
        kinds.setdefault((len(frames[i]), bool(frames[i].pbc.all())), []).append(i)
    batches = []
    for (n_atoms, _), members in kinds.items():
        size = max(1, ATOMS_AT_ONCE // n_atoms)
        batches += [members[start : start + size] for start in range(0, len(members), size)]
    return batches


def _array(tensor: Tensor, dtype: type[_Number]) -> NDArray[_Number]:
    return tensor.detach().cpu().numpy().astype(dtype)


def _write(path: Path, tangents: Tangents) -> None:
    with replacing(path) as file:
        np.savez(file, **{field.name: getattr(tangents, field.name) for field in fields(Tangents)})


def _read(path: Path, structure: str, sketch: NDArray[np.float32]) -> Tangents | None:
    """Return the stored entry; None if it is missing, damaged, or of another structure or sketch."""
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
    return stored if stored.structure == structure and np.array_equal(stored.sketch, sketch) else None
