"""SevenNet as a foundation: the weights come inside the ``sevenn`` wheel."""

import copy
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor, nn

from committee.backbone import Evaluation
from committee.backbones.fingerprint import fingerprint_weights
from committee.backbones.geometry import Leaves, attach_edges, make_leaves
from committee.backbones.neighbours import enclose
from committee.errors import FoundationError
from committee.settings import SevenNetSettings
from committee.structures import check_structures

_MATERIALS_PROJECT = "PBE(+U), VASP, Materials Project settings (MPtrj)"
_LEVELS = {
    "7net-0": _MATERIALS_PROJECT,
    "7net-0_22may2024": _MATERIALS_PROJECT,
    "7net-l3i5": _MATERIALS_PROJECT,
    "7net-mf-0": "Materials Project settings, VASP, fidelity",
}
"""Checkpoints that the wheel ships, and what their energies mean."""

_ANSWER_KEYS = ("cutoff", "cutoff_function", "radial_basis", "act_scalar", "act_gate", "act_radial")
"""Parts of a checkpoint's config that change the answer and leave no trace in names or shapes of weights."""


class SevenNetBackbone:
    """A frozen SevenNet model up to its atomic energies; its force module is never run.

    Features are the scalars after the last equivariant gate, the input of the model's own readout.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        fingerprint: str,
        level_of_theory: str,
        modality: int | None,
        device: torch.device,
    ) -> None:
        self.name = name
        self.fingerprint = fingerprint
        self.level_of_theory = level_of_theory
        self.elements = frozenset(int(z) for z in _of(model, "type_map"))
        self.cutoff_A = float(_of(model, "cutoff"))
        self._modality = modality
        self._device = device
        self._model = model.to(device).eval().requires_grad_(False)
        self._last_gate = [key for key, _ in model.named_children() if key.endswith("equivariant_gate")][-1]
        self.feature_size = int(model.get_submodule(self._last_gate).gate.irreps_out.dim)
        self.dtype = next(model.parameters()).dtype

    def evaluate(self, frames: Sequence[Atoms]) -> Evaluation:
        """See :class:`committee.backbone.Backbone`."""
        check_structures(frames, self.elements)
        leaves = make_leaves(frames, self.dtype, self._device)
        energies, features = self._forward(self._graph(frames, leaves))
        # Summed frame by frame, as the calculator does: the bits then do not depend on the batch.
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
        return SevenNetBackbone(
            copy.deepcopy(self._model).to(dtype),
            name=self.name,
            fingerprint=self.fingerprint,
            level_of_theory=self.level_of_theory,
            modality=self._modality,
            device=self._device,
        )

    def _graph(self, frames: Sequence[Atoms], leaves: Leaves) -> dict[str, Tensor]:
        """SevenNet's own graph of each frame, joined."""
        from sevenn import _keys as keys
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        graphs = [unlabeled_atoms_to_graph(enclose(atoms, self.cutoff_A), self.cutoff_A) for atoms in frames]
        starts = np.concatenate([[0], np.cumsum(leaves.counts)[:-1]])
        edges = np.concatenate(
            [graph[keys.EDGE_IDX] + start for graph, start in zip(graphs, starts, strict=True)], axis=1
        )
        vectors = np.concatenate([graph[keys.EDGE_VEC] for graph in graphs])
        index = torch.from_numpy(edges).to(self._device)
        graph = {
            keys.NODE_FEATURE: _of(self._model, "z_to_onehot_tensor").to(self._device)[leaves.atomic_numbers],
            keys.ATOMIC_NUMBERS: leaves.atomic_numbers,
            keys.BATCH: leaves.frame_index,
            keys.EDGE_IDX: index,
            keys.EDGE_VEC: attach_edges(
                leaves, index[0], index[1], torch.tensor(vectors, dtype=self.dtype, device=self._device)
            ),
        }
        if self._modality is not None:
            graph[keys.MODAL_TYPE] = torch.full((len(frames),), self._modality, device=self._device)
        return graph

    def _forward(self, graph: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Atomic energies (N, 1) and features (N, D)."""
        from sevenn import _keys as keys

        features = None
        for name, module in self._model.named_children():
            graph = module(graph)
            if name == self._last_gate:
                features = graph[keys.NODE_FEATURE]
            elif name.startswith("one"):  # SevenNet's one-hot modules always answer in float32
                graph = {k: v.to(self.dtype) if v.is_floating_point() else v for k, v in graph.items()}
        return graph[keys.ATOMIC_ENERGY], torch.as_tensor(features)


def load_sevennet(settings: SevenNetSettings, dtype: torch.dtype = torch.float32) -> SevenNetBackbone:
    """Load a checkpoint that the wheel ships, or one from a file.

    A checkpoint is a pickle: opening a file that someone else made runs their code.

    Raises:
        FoundationError: ``sevenn`` is not installed, the name is unknown, the file cannot be read, or the
            fidelity is missing or unknown.
    """
    checkpoint = _open(_locate(settings.model), settings.model)
    try:
        config, model = checkpoint.config, checkpoint.build_model()
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
        raise _unreadable(settings.model, error) from error
    modality = _choose_fidelity(settings, model.modal_map)
    model.delete_module_by_key("force_output")
    model.delete_module_by_key("reduce_total_enegy")  # spelt so in SevenNet
    model.set_is_batch_data(True)
    label = Path(settings.model).name if Path(settings.model).is_file() else settings.model.lower()
    backbone = SevenNetBackbone(
        model,
        name="sevennet:" + "/".join(filter(None, (label, settings.fidelity))),
        fingerprint=fingerprint_weights(model.named_parameters(), _answer(config, model, settings.fidelity)),
        level_of_theory=_describe(label, settings.fidelity),
        modality=modality,
        device=torch.device(settings.device),
    )
    return backbone.to(dtype)


def _locate(model: str) -> str:
    try:
        from sevenn.util import pretrained_name_to_path
    except ModuleNotFoundError as error:
        msg = (
            "The foundation is SevenNet but the package sevenn is missing; run: pip install al-loop[sevennet]"
        )
        raise FoundationError(msg) from error
    if Path(model).is_file():
        return model
    if model.lower() in _LEVELS:
        return str(pretrained_name_to_path(model))
    msg = (
        f"SevenNet model {model!r} is neither a file nor a name that the sevenn package ships: "
        f"{', '.join(_LEVELS)}. For any other SevenNet model, download its checkpoint and give the path."
    )
    raise FoundationError(msg)


def _open(path: str, model: str) -> Any:
    from sevenn.checkpoint import SevenNetCheckpoint

    checkpoint = SevenNetCheckpoint(path)
    try:
        _ = checkpoint.config
    except (pickle.UnpicklingError, EOFError, RuntimeError, OSError, *_MALFORMED) as error:
        raise _unreadable(model, error) from error
    return checkpoint


_MALFORMED = (KeyError, TypeError, ValueError, AttributeError, AssertionError, ImportError)


def _unreadable(model: str, error: Exception) -> FoundationError:
    return FoundationError(
        f"{model} cannot be read as a SevenNet checkpoint ({type(error).__name__}: {error}); "
        "expected a file written by SevenNet's training or shipped with the sevenn package."
    )


def _choose_fidelity(settings: SevenNetSettings, modal_map: dict[str, int] | None) -> int | None:
    known = dict(modal_map or {})
    if not known and settings.fidelity is None:
        return None
    if not known:
        msg = (
            f"SevenNet model {settings.model} has one fidelity only; leave out fidelity: {settings.fidelity}."
        )
        raise FoundationError(msg)
    if settings.fidelity not in known:
        msg = (
            f"SevenNet model {settings.model} holds the fidelities {', '.join(sorted(known))}, "
            f"got fidelity: {settings.fidelity}; set fidelity to one of them."
        )
        raise FoundationError(msg)
    return known[settings.fidelity]


def _answer(config: dict[str, Any], model: nn.Module, fidelity: str | None) -> dict[str, Any]:
    parts: dict[str, Any] = {key: config.get(key) for key in _ANSWER_KEYS}
    return {**parts, "type_map": dict(_of(model, "type_map")), "fidelity": fidelity}


def _describe(label: str, fidelity: str | None) -> str:
    level = _LEVELS.get(label, f"as in the training data of {label}")
    return level if fidelity is None else f"{level} {fidelity}"


def _of(model: nn.Module, attribute: str) -> Any:
    return getattr(model, attribute)
