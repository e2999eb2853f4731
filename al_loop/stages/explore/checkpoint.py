"""The state of a lockstep run on disk, from which it continues bit for bit: one file, replaced as a whole, no code."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from al_loop.config import ExploreSettings, PhysicsSettings
from al_loop.errors import InputError
from al_loop.frames.codec import pack_arrays, unpack_arrays
from al_loop.frames.plain_atoms import constraints_text
from al_loop.stages.explore.trajectory import Array
from al_loop.structures.start import Start
from al_loop.utils.foreign_input import reading
from committee.atomic_write import replacing
from committee.potential import CommitteePotential

_PLAIN = "plain.json"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """State of a run.

    Attributes:
        identity: hash of all inputs of the run (``identity_of``).
        step: the step that is evaluated next.
        sizes: bytes of each trajectory's file that belong to earlier steps.
        digests: SHA-256 of these bytes.
        states: of the running trajectories by index (``Lockstep.state``).
        ended: every trajectory has ended.
    """

    identity: str
    step: int
    sizes: tuple[int, ...]
    digests: tuple[str, ...]
    states: Mapping[int, tuple[Mapping[str, Any], str]]
    ended: bool = False


def identity_of(
    potential: CommitteePotential, starts: Sequence[Start], settings: ExploreSettings, physics: PhysicsSettings
) -> str:
    """SHA-256 of the model, the starts and the settings: a run continues only from a state with the same one."""
    calibration = potential.calibration
    parts = [
        potential.backbone.fingerprint,
        potential.provenance.training_hash,
        potential.settings.model_dump_json(),
        repr(calibration),
        settings.model_dump_json(),
        physics.model_dump_json(),
        *(json.dumps(_described(start)) for start in starts),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a state atomically: a reader finds either the old or the new one."""
    plain = {
        "identity": checkpoint.identity,
        "step": checkpoint.step,
        "sizes": list(checkpoint.sizes),
        "digests": list(checkpoint.digests),
        "ended": checkpoint.ended,
        "trajectories": {str(index): text for index, (_, text) in checkpoint.states.items()},
    }
    arrays: dict[str, Array] = {
        f"{index}/{name}": np.asarray(values)
        for index, (named, _) in checkpoint.states.items()
        for name, values in named.items()
    }
    arrays[_PLAIN] = np.frombuffer(json.dumps(plain).encode(), dtype=np.uint8)  # type: ignore[assignment]
    with replacing(path) as file:
        file.write(pack_arrays(arrays))


def load(path: Path) -> Checkpoint | None:
    """Read a state; None if there is none that can be read, and the run then starts again."""
    if not path.exists():
        return None
    try:
        with reading(path, "the trajectories beside it are run again from their starts"):
            return _read(path)
    except InputError as error:
        _logger.warning("%s", error)
        return None


def _read(path: Path) -> Checkpoint:
    arrays = unpack_arrays(path.read_bytes())
    plain = json.loads(arrays.pop(_PLAIN).tobytes())
    states: dict[int, tuple[dict[str, Any], str]] = {
        int(index): ({}, text) for index, text in plain["trajectories"].items()
    }
    for name, values in arrays.items():
        index, _, inner = name.partition("/")
        states[int(index)][0][inner] = values
    sizes, digests = tuple(plain["sizes"]), tuple(plain["digests"])
    return Checkpoint(plain["identity"], plain["step"], sizes, digests, states, ended=plain["ended"])


def _described(start: Start) -> list[Any]:
    """All that identifies a start; its structures by a hash with masses and constraints."""
    bits = hashlib.sha256()
    for atoms in (start.atoms, start.intact):
        for array in (atoms.positions, atoms.cell.array, atoms.numbers):
            bits.update(np.ascontiguousarray(array).tobytes())
        bits.update(atoms.get_masses().tobytes() + constraints_text(atoms.constraints).encode())
    seed = list(start.seed)
    return [start.trajectory, start.role, start.temperature_K, seed, start.ensemble, bits.hexdigest()]
