"""Parts of a fairchem inference checkpoint that every export needs: stored content, weights, shifted tasks."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from committee.backbones.fairchem import FairchemBackbone
from committee.backbones.fairchem_checkpoint import plain, read_stored
from committee.errors import CheckpointError
from committee.model.heads import MAX_ATOMIC_NUMBER
from committee.model.reference_shifts import ReferenceShifts


def read_foundation(backbone: FairchemBackbone) -> tuple[Any, dict[str, Tensor]]:
    """Read the content of a foundation's checkpoint again.

    Returns:
        fairchem's ``MLIPInferenceCheckpoint``, and every tensor of the backbone's model by name: those of the
        checkpoint, averaged over the training, and the weights that adaptation has changed.

    Raises:
        CheckpointError: the weights are others than those that were opened.
        FoundationError: the weights can no longer be read.
    """
    stored, found = read_stored(backbone.settings)
    if found != backbone.base_fingerprint:
        raise CheckpointError(
            f"The weights of {backbone.name} have changed since the committee was opened; open the foundation again."
        )
    averaged = {_without_wrappers(name): tensor for name, tensor in stored.ema_state_dict.items()}
    averaged.pop("n_averaged", None)
    return stored, {**averaged, **backbone.changed_weights}


def _without_wrappers(name: str) -> str:
    while name.startswith("module."):
        name = name.removeprefix("module.")
    return name


def assembled(config: Mapping[str, Any], tasks: Any, state: Mapping[str, Tensor]) -> Any:
    """Return a fairchem ``MLIPInferenceCheckpoint`` with these weights."""
    from fairchem.core.units.mlip_unit.api.inference import MLIPInferenceCheckpoint

    return MLIPInferenceCheckpoint(
        model_config=config,
        model_state_dict=dict(state),
        ema_state_dict={
            "n_averaged": torch.tensor(1),
            **{f"module.{name}": value for name, value in state.items()},
        },
        tasks_config=tasks,
    )


def with_shifts(tasks: Any, shifts: ReferenceShifts, backbone: FairchemBackbone) -> list[dict[str, Any]]:
    """Copy the tasks with reference shifts added to the element references of the backbone's energy."""
    copies: list[dict[str, Any]] = [plain(task) for task in tasks]
    references = backbone.energy_task.element_references
    table = [0.0] * (MAX_ATOMIC_NUMBER + 1) if references is None else references.element_references.tolist()
    for element, shift in shifts.eV_per_atom.items():
        table[element] += shift
    for task in copies:
        if task["name"] == backbone.energy_task.name:
            task["element_references"] = {
                "_target_": "fairchem.core.modules.normalization.element_references.ElementReferences",
                "element_references": {
                    "_target_": "torch.tensor",
                    "data": table,
                    "dtype": {"_target_": "hydra.utils.get_object", "path": "torch.float64"},
                },
            }
    return copies
