"""SevenNet as a foundation: the weights are part of the ``sevenn`` wheel."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.geometry import complete_cell
from torch import Tensor, nn

from committee.backbones.contract import Adaptation, Evaluation, blocks_of, train_weights
from committee.backbones.geometry import Leaves, attach_edges, make_leaves
from committee.backbones.sevennet_checkpoint import OpenSevenNet, open_sevennet
from committee.settings import SevenNetSettings
from committee.structures import check_structures

_ELEMENTARY = "onehot_to_feature_x|self_connection_intro|basis_function"
_FAR_A = 20.0
_FLATTEST_CELL = 1e-3


class SevenNetBackbone:
    """A frozen SevenNet model up to its atomic energies, without its force module.

    Features are the scalars after the last equivariant gate, the input of the model's own readout.

    Attributes:
        settings: the settings it was opened with.
        concurrent: several threads may evaluate at once, and faster so: calls share no state.
    """

    def __init__(
        self,
        checkpoint: OpenSevenNet,
        device: torch.device,
        adaptation: Adaptation | None = None,
    ) -> None:
        self._adaptation = adaptation or Adaptation(checkpoint.name, checkpoint.fingerprint)
        self.name = self._adaptation.name
        self.fingerprint = self._adaptation.fingerprint
        self.base_name = checkpoint.name
        self.base_fingerprint = checkpoint.fingerprint
        self.changed_weights: Mapping[str, Tensor] = self._adaptation.changed_weights
        self.level_of_theory = self._adaptation.level_of_theory or checkpoint.level_of_theory
        self.settings = checkpoint.settings
        self._checkpoint = checkpoint
        model = checkpoint.model
        self.elements = frozenset(int(z) for z in _of(model, "type_map"))
        self.cutoff_A = float(_of(model, "cutoff"))
        self._modality = checkpoint.modality
        self.device = device
        self.concurrent = device.type == "cpu"
        self.module = model.to(device).eval().requires_grad_(False)
        self.weight_blocks: Sequence[Sequence[str]] = blocks_of(self.module, r"(\d+)_")
        self._last_gate = [key for key, _ in model.named_children() if key.endswith("equivariant_gate")][-1]
        self.feature_size = int(_of(model.get_submodule(self._last_gate), "gate").irreps_out.dim)
        self.dtype = next(model.parameters()).dtype

    def evaluate(self, frames: Sequence[Atoms]) -> Evaluation:
        """See :class:`committee.backbones.contract.Backbone`."""
        check_structures(frames, self.elements)
        leaves = make_leaves(frames, self.dtype, self.device)
        energies, features = self._forward(self._graph(frames, leaves))
        # Summed frame by frame, as in the calculator: the result is then bitwise independent of the batch.
        energy = torch.stack([part.sum() for part in energies.split(leaves.counts)])
        return Evaluation(
            positions=leaves.positions,
            strain=leaves.strain,
            energy=energy,
            features=features,
            atomic_numbers=leaves.atomic_numbers,
            frame_index=leaves.frame_index,
            volumes=leaves.volumes,
        )

    def to(self, dtype: torch.dtype) -> "SevenNetBackbone":
        """Return the same model in another precision."""
        if dtype == self.dtype:
            return self
        return self._copy(copy.deepcopy(self.module).to(dtype), self._adaptation)

    def with_weights(self, changed: Mapping[str, Tensor], level_of_theory: str | None = None) -> "SevenNetBackbone":
        """See :class:`committee.backbones.contract.OpenBackbone`."""
        adaptation = self._adaptation.changed_by(changed, self.module, level_of_theory)
        return self._copy(adaptation.applied_to(self.module), adaptation)

    def trainable(self) -> "SevenNetBackbone":
        """See :class:`committee.backbones.contract.OpenBackbone`."""
        copied = self.with_weights({})
        train_weights(copied.module, self._checkpoint.fitted, _ELEMENTARY)
        return copied

    def _copy(self, model: nn.Module, adaptation: Adaptation) -> "SevenNetBackbone":
        return SevenNetBackbone(replace(self._checkpoint, model=model), self.device, adaptation)

    def _graph(self, frames: Sequence[Atoms], leaves: Leaves) -> dict[str, Tensor]:
        """Return SevenNet's own graphs of the frames, joined into one."""
        from sevenn import _keys as keys
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        graphs = [unlabeled_atoms_to_graph(enclose(atoms, self.cutoff_A), self.cutoff_A) for atoms in frames]
        starts = np.concatenate([[0], np.cumsum(leaves.counts)[:-1]])
        edges = np.concatenate(
            [graph[keys.EDGE_IDX] + start for graph, start in zip(graphs, starts, strict=True)], axis=1
        )
        vectors = np.concatenate([graph[keys.EDGE_VEC] for graph in graphs])
        index = torch.from_numpy(edges).to(self.device)
        graph = {
            keys.NODE_FEATURE: _of(self.module, "z_to_onehot_tensor").to(self.device)[leaves.atomic_numbers],
            keys.ATOMIC_NUMBERS: leaves.atomic_numbers,
            keys.BATCH: leaves.frame_index,
            keys.EDGE_IDX: index,
            keys.EDGE_VEC: attach_edges(
                leaves, index[0], index[1], torch.tensor(vectors, dtype=self.dtype, device=self.device)
            ),
        }
        if self._modality is not None:
            graph[keys.MODAL_TYPE] = torch.full((len(frames),), self._modality, device=self.device)
        return graph

    def _forward(self, graph: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return atomic energies (N, 1) and features (N, D)."""
        from sevenn import _keys as keys

        features = None
        for name, module in self.module.named_children():
            graph = module(graph)
            if name == self._last_gate:
                features = graph[keys.NODE_FEATURE]
            elif name.startswith("one"):  # SevenNet's one-hot modules always return float32
                graph = {k: v.to(self.dtype) if v.is_floating_point() else v for k, v in graph.items()}
        return graph[keys.ATOMIC_ENERGY], torch.as_tensor(features)


def load_sevennet(settings: SevenNetSettings, dtype: torch.dtype = torch.float32) -> SevenNetBackbone:
    """Load a checkpoint that the wheel ships, or one from a file.

    A checkpoint is a pickle: opening a file executes code of its author.

    Raises:
        FoundationError: ``sevenn`` is not installed, the name is unknown, the file cannot be read, or the
            fidelity is missing or unknown.
    """
    return SevenNetBackbone(open_sevennet(settings), torch.device(settings.device)).to(dtype)


def _of(model: nn.Module, attribute: str) -> Any:
    return getattr(model, attribute)


def enclose(atoms: Atoms, cutoff: float) -> Atoms:
    """Return a frame with the same neighbours whose neighbour search is cheap.

    SevenNet's graph builder puts atoms into a box along the Cartesian axes that grows with their distance
    from the origin: it runs out of memory for a molecule that drifted away, and fails for a slab whose
    periodic vectors are not along the matching axes. Such frames get a periodic box with enough vacuum instead.
    """
    if atoms.pbc.all() or _is_easy(atoms):
        return atoms
    cell = complete_cell(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0))
    coordinates = np.linalg.solve(cell.T, atoms.positions.T).T
    spans = np.ptp(coordinates, axis=0) + 3.0 * cutoff  # rows that were completed are unit vectors
    scale = np.where(atoms.pbc, 1.0, spans)
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=cell * scale[:, None], pbc=True)


def _is_easy(atoms: Atoms) -> bool:
    cell = np.where(atoms.pbc[:, None], atoms.cell.array, np.eye(3))
    spanned = abs(np.linalg.det(cell)) / np.linalg.norm(cell, axis=1).prod()
    return bool(np.abs(atoms.positions).max() < _FAR_A and spanned > _FLATTEST_CELL)
