"""The contract of a foundation model, and the result of one evaluation."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

import torch
from ase import Atoms
from torch import Tensor, nn

from committee.errors import FoundationError


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

    def derivatives(
        self, energy: Tensor, *, retain_graph: bool = False, create_graph: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Differentiate a scalar function of this evaluation.

        Args:
            energy: scalar, eV; the sum over frames of any energy that depends on this evaluation.
            retain_graph: keep the graph for another derivative.
            create_graph: return derivatives that can be differentiated again, with respect to weights.

        Returns:
            forces (N, 3) in eV/Å and stress (B, 3, 3) in eV/Å³ (NaN where the frame has no volume).
        """
        d_positions, d_strain = torch.autograd.grad(
            energy,
            (self.positions, self.strain),
            retain_graph=retain_graph or create_graph,
            create_graph=create_graph,
            materialize_grads=True,
        )
        # Divided by 1 where there is no volume: NaN would reach the gradients of all weights, even with weight zero.
        volumes = self.volumes[:, None, None]
        stress = torch.where(volumes.isnan(), volumes, d_strain / volumes.nan_to_num(1.0))
        return -d_positions, stress

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


@runtime_checkable
class OpenBackbone(Backbone, Protocol):
    """A foundation whose weights can be adapted: a torch module that ``evaluate`` runs.

    Attributes:
        module: the module with all weights, frozen; do not change it, but the one of a ``trainable`` copy.
        base_name: ``name`` of the foundation before any adaptation.
        base_fingerprint: ``fingerprint`` of the foundation before any adaptation.
        changed_weights: the parameters of ``module`` that adaptation replaced, by name, in float32 on the CPU; empty
            for the foundation itself.
        weight_blocks: names of all parameters of ``module`` from input to output: the embedding, each message-passing
            block, the readout.
    """

    module: nn.Module
    base_name: str
    base_fingerprint: str
    changed_weights: Mapping[str, Tensor]
    weight_blocks: Sequence[Sequence[str]]

    def with_weights(self, changed: Mapping[str, Tensor], level_of_theory: str | None = None) -> Self:
        """Return a frozen copy with some weights replaced; this one stays as it is.

        Its fingerprint follows from ``base_fingerprint`` and the changed weights, and equals this one's if none differs
        from the present weights. Weights are rounded to float32, as fingerprints and checkpoints have them.

        Args:
            changed: parameters of ``module`` by name, of the same shapes; further ones keep their values.
            level_of_theory: that of the adapted energies; unchanged by default.

        Raises:
            FoundationError: a name or shape that ``module`` does not have, or weights that are not finite.
        """
        ...

    def trainable(self) -> Self:
        """Return a copy for training, whose ``module`` may be changed.

        The parameters that an adaptation trains require gradients: those that the foundation's own training fitted,
        without those that only tell what an element is (see ``train_weights``). Nothing that depends on weights
        is cached between evaluations: experts are not merged. Its fingerprint is not updated with its weights.
        """
        ...


@dataclass(frozen=True)
class Adaptation:
    """What distinguishes an adapted foundation from the one it started from; without changed weights there is none.

    Attributes:
        base_name: name of the foundation.
        base_fingerprint: its fingerprint.
        changed_weights: see :class:`OpenBackbone`.
        level_of_theory: that of the adapted energies; None for the foundation's.
    """

    base_name: str
    base_fingerprint: str
    changed_weights: Mapping[str, Tensor] = field(default_factory=dict)
    level_of_theory: str | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the foundation's fingerprint and the changed weights."""
        if not self.changed_weights:
            return self.base_fingerprint
        return fingerprint_weights(self.changed_weights.items(), {"adapted_from": self.base_fingerprint})

    @property
    def name(self) -> str:
        """The foundation's name, and the start of the fingerprint if it was adapted."""
        return f"{self.base_name}+adapted-{self.fingerprint[:8]}" if self.changed_weights else self.base_name

    def changed_by(self, weights: Mapping[str, Tensor], module: nn.Module, level: str | None) -> "Adaptation":
        """Return the adaptation after a further change of ``module``, which is not modified.

        Raises:
            FoundationError: see ``OpenBackbone.with_weights``.
        """
        rounded = {name: value.detach().cpu().float().clone() for name, value in weights.items()}
        present = dict(module.named_parameters())
        for name, value in rounded.items():
            _check_weight(name, value, present, self.base_name)
        differing = {name: value for name, value in rounded.items() if not torch.equal(value, _stored(present[name]))}
        changed = {**self.changed_weights, **differing}
        return Adaptation(self.base_name, self.base_fingerprint, changed, level or self.level_of_theory)

    def applied_to(self, module: nn.Module) -> nn.Module:
        """Return a frozen copy of a module with the changed weights."""
        copied = deepcopy(module).requires_grad_(False)
        weights = dict(copied.named_parameters())
        for name, value in self.changed_weights.items():
            weights[name].copy_(value)
        return copied


def train_weights(module: nn.Module, fitted: Iterable[str], elementary: str) -> None:
    """Let the weights of a module require gradients that an adaptation trains.

    Embeddings of the elements, products with them and the lengths of the radial basis stay: forces depend on them so
    nonlinearly that Gauss-Newton's steps become short, and without them a few dozen labels generalise better and the
    model stays closer to the foundation elsewhere (``benchmarks/README.md``, Adaptation).

    Args:
        module: of a backbone.
        fitted: names of the parameters that the foundation's own training fitted.
        elementary: regular expression that matches a part of the names of those that stay.
    """
    trained = {name for name in fitted if not re.search(elementary, name)}
    for name, weight in module.named_parameters():
        weight.requires_grad_(name in trained)


def blocks_of(module: nn.Module, numbered: str) -> list[list[str]]:
    """Group the names of a module's parameters: what precedes the blocks, each block, what follows them.

    Args:
        module: its parameters are in order, from input to output.
        numbered: regular expression at the start of a name within a block, with its number as the only group.
    """
    groups: dict[float, list[str]] = {-1.0: []}
    for name, _ in module.named_parameters():
        found = re.match(numbered, name)
        last = max(groups)
        place = float(found.group(1)) if found else (math.inf if last >= 0 else last)
        groups.setdefault(place, []).append(name)
    return [groups[place] for place in sorted(groups)]


def _stored(weight: Tensor) -> Tensor:
    return weight.detach().cpu().float()


def _check_weight(name: str, value: Tensor, present: Mapping[str, Tensor], foundation: str) -> None:
    if name not in present:
        raise FoundationError(
            f"Weights of another model: {foundation} has no parameter {name}; pass weights that were adapted from it."
        )
    if value.shape != present[name].shape:
        raise FoundationError(
            f"Weights of another model: parameter {name} has shape {tuple(value.shape)}, but {foundation} has "
            f"{tuple(present[name].shape)}; pass weights that were adapted from it."
        )
    if not bool(torch.isfinite(value).all()):
        raise FoundationError(
            f"The changed parameter {name} of {foundation} holds NaN or infinity; repeat the adaptation with a lower "
            "learning rate."
        )


def fingerprint_weights(weights: Iterable[tuple[str, Tensor]], settings: Mapping[str, Any]) -> str:
    """Return the SHA-256 of weights in float32 and of the settings that change the prediction."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(weights, key=lambda item: item[0]):
        stored = tensor.detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(stored.shape)}".encode())
        digest.update(stored.numpy().tobytes())
    return digest.hexdigest()
