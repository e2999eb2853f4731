"""The contract of a foundation model, and the result of one evaluation."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from ase import Atoms
from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """The foundation's evaluation of a batch of B frames with N atoms in total, attached to the graph.

    Attributes:
        positions: (N, 3) leaf, Å.
        strain: (B, 3, 3) leaf, zero; its symmetric part deforms cell and positions of each frame.
        energy: (B,) foundation energy, eV; part of the graph unless ``closed_forces`` is given.
        features: (N, D) invariant features h, differentiable with respect to ``positions`` and ``strain``.
        atomic_numbers: (N,) int64.
        frame_index: (N,) int64, the frame each atom belongs to.
        volumes: (B,) Å³; NaN for a frame that is not periodic in three directions.
        closed_forces: (N, 3) eV/Å of a foundation without a graph, else None.
        closed_stress: (B, 3, 3) eV/Å³ of a foundation without a graph, NaN where it has none, else None.
    """

    positions: Tensor
    strain: Tensor
    energy: Tensor
    features: Tensor
    atomic_numbers: Tensor
    frame_index: Tensor
    volumes: Tensor
    closed_forces: Tensor | None = None
    closed_stress: Tensor | None = None

    @property
    def n_frames(self) -> int:
        """Number of frames in the batch."""
        return len(self.volumes)

    def derivatives(self, energy: Tensor, *, retain_graph: bool = False) -> tuple[Tensor, Tensor]:
        """Differentiate a scalar function of this evaluation.

        Args:
            energy: scalar, eV; the sum over frames of any energy that depends on this evaluation.
            retain_graph: keep the graph for another derivative.

        Returns:
            forces (N, 3) in eV/Å and stress (B, 3, 3) in eV/Å³ (NaN where the frame has no volume).
        """
        d_positions, d_strain = torch.autograd.grad(
            energy, (self.positions, self.strain), retain_graph=retain_graph, materialize_grads=True
        )
        return -d_positions, d_strain / self.volumes[:, None, None]

    def foundation(self, *, retain_graph: bool = False) -> tuple[Tensor, Tensor]:
        """Return forces (N, 3) and stress (B, 3, 3) of the foundation alone."""
        if self.closed_forces is not None and self.closed_stress is not None:
            return self.closed_forces, self.closed_stress
        return self.derivatives(self.energy.sum(), retain_graph=retain_graph)


@runtime_checkable
class Backbone(Protocol):
    """A frozen foundation model: energies and features that are differentiable in positions and strain.

    Attributes:
        name: library and model, for example ``sevennet:7net-0``.
        fingerprint: SHA-256 of the weights and of everything else that changes the prediction (task, fidelity).
        elements: atomic numbers it was trained on.
        cutoff_A: neighbour cutoff, Å.
        feature_size: D.
        level_of_theory: description of the level of theory of its energies.
        dtype: floating-point type of the evaluation.

    A backbone may also have ``device`` (the CPU by default), ``execution_mode``, ``twice_differentiable`` (see the
    functions below) and ``concurrent`` (several threads may evaluate at once).
    """

    name: str
    fingerprint: str
    elements: frozenset[int]
    cutoff_A: float
    feature_size: int
    level_of_theory: str
    dtype: torch.dtype

    def evaluate(self, frames: Sequence[Atoms]) -> Evaluation:
        """Evaluate a batch of frames of any sizes and compositions; never modifies them.

        Raises:
            StructureError: a frame is empty, has NaN positions or a periodic cell without volume.
            UnknownElementError: a frame holds an element outside ``elements``.
        """
        ...

    def to(self, dtype: torch.dtype) -> "Backbone":
        """Return the same model in another precision."""
        ...


def twice_differentiable(backbone: Backbone) -> Backbone:
    """Return the same model with features that have second derivatives, which tangents need.

    A backbone that serves in a faster mode without them has an attribute of this name.
    """
    found: Backbone = getattr(backbone, "twice_differentiable", backbone)
    return found


def device_of(backbone: Backbone) -> torch.device:
    """Return the device that a backbone evaluates on: its attribute ``device``, by default the CPU."""
    found: torch.device = getattr(backbone, "device", torch.device("cpu"))
    return found


def execution_of(backbone: Backbone) -> str:
    """Return how a backbone evaluates, for the user: the device, and the mode of its library where it has several."""
    mode = getattr(backbone, "execution_mode", "")
    return f"on {device_of(backbone).type}" + (f", execution mode {mode}" if mode else "")


def fingerprint_weights(weights: Iterable[tuple[str, Tensor]], settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of weights in float32 and of the settings that change the prediction."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(weights, key=lambda item: item[0]):
        stored = tensor.detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(stored.shape)}".encode())
        digest.update(stored.numpy().tobytes())
    return digest.hexdigest()
