"""Training state on disk, from which an interrupted training resumes."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from committee.atomic_write import replacing
from committee.errors import CheckpointError
from committee.foreign import reading

_LOG = logging.getLogger(__name__)
STATE = "training-state.safetensors"

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class TrainingState:
    """State of a fit. All random numbers are drawn before the first epoch, so no generator is saved.

    Attributes:
        epoch: epochs done.
        weights: weights that are trained.
        moments: tensors of the optimiser, ``<weight>.<name>``.
        best: weights with the best score so far, empty if none was computed.
        best_score: their score.
        best_epoch: their epoch.
    """

    epoch: int
    weights: Tensors
    moments: Tensors
    best: Tensors
    best_score: float
    best_epoch: int


class StateFile:
    """One training's state in a safetensors file.

    ``key`` is a hash of all inputs of the training; the state of another training is not used.
    """

    def __init__(self, folder: Path, key: str, name: str = STATE):
        self.path = folder / name
        self._key = key

    def read(self) -> TrainingState | None:
        """Return the saved state of this training; log and return None if there is none that can be used."""
        if not self.path.exists():
            return None
        try:
            with reading(self.path, "the training starts at epoch 0"):
                state = self._read()
        except CheckpointError as error:
            _LOG.warning("%s", error)
            return None
        if state is None:
            _LOG.info("%s belongs to another training (data, settings or seed); starting at epoch 0", self.path)
        else:
            _LOG.info("resuming from epoch %d of %s", state.epoch, self.path)
        return state

    def _read(self) -> TrainingState | None:
        with safe_open(self.path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["about"])
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        if about["key"] != self._key:
            return None
        if about["sha256"] != _digest(tensors):
            raise CheckpointError(f"{self.path} was damaged: its SHA-256 differs; the training starts at epoch 0")
        return TrainingState(
            epoch=int(about["epoch"]),
            best_score=float(about["best_score"]),
            best_epoch=int(about["best_epoch"]),
            **{part: _part(tensors, part) for part in ("weights", "moments", "best")},
        )

    def write(self, state: TrainingState) -> None:
        """Write the state; an earlier one is replaced."""
        tensors = {
            f"{part}/{name}": tensor.detach().contiguous()
            for part in ("weights", "moments", "best")
            for name, tensor in getattr(state, part).items()
        }
        about = {
            "key": self._key,
            "epoch": state.epoch,
            "best_score": repr(state.best_score),
            "best_epoch": state.best_epoch,
            "sha256": _digest(tensors),
        }
        with replacing(self.path) as file:
            file.write(save(tensors, metadata={"about": json.dumps(about)}))

    def remove(self) -> None:
        """Delete the file once the training has ended."""
        self.path.unlink(missing_ok=True)


def moments_of(optimizer: torch.optim.Optimizer, names: list[str]) -> Tensors:
    """Return the optimiser's tensors by the names of its parameters."""
    state = optimizer.state_dict()["state"]
    return {f"{names[i]}.{name}": tensor for i, entry in state.items() for name, tensor in entry.items()}


def restore_moments(optimizer: torch.optim.Optimizer, names: list[str], moments: Tensors) -> None:
    """Load tensors that ``moments_of`` returned into the optimiser."""
    state = optimizer.state_dict()
    for path, tensor in moments.items():
        weight, _, name = path.rpartition(".")
        state["state"].setdefault(names.index(weight), {})[name] = tensor
    optimizer.load_state_dict(state)


def _part(tensors: Tensors, part: str) -> Tensors:
    return {name.removeprefix(f"{part}/"): tensor for name, tensor in tensors.items() if name.startswith(f"{part}/")}


def _digest(tensors: Tensors) -> str:
    """Return the SHA-256 of names and numbers: safetensors itself does not detect corrupted numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()
