"""Export of a trained committee as a fairchem inference checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from committee.backbones.fairchem import FairchemBackbone
from committee.backbones.fairchem_checkpoint import plain, random_state_kept
from committee.errors import CheckpointError
from committee.export.fairchem_parts import assembled, read_foundation, with_shifts
from committee.export.torch_file import write_torch
from committee.model.fairchem_head import ENERGY_BLOCK, IMPORT_PATH
from committee.potential import CommitteePotential

_FOUNDATION_PARTS = ("foundation_head.", "foundation_block.")
_HEADS, _METRIC = "heads.", "metric."


def export_fairchem(potential: CommitteePotential, path: Path | str) -> None:
    """Write backbone, original head and committee as one file for ``load_predict_unit``.

    ``FAIRChemCalculator`` on the file returns the committee's mean energy, forces and stress for the committee's task,
    reference shifts included; other tasks are unchanged. Uncertainties and calibration are not exported: they need
    this package's own checkpoint. Energies of isolated atoms are not exported either, since fairchem stores them apart
    from its checkpoints. Opening the file needs this package and fairchem. It is a pickle, like fairchem's own.

    Args:
        potential: a committee on a fairchem foundation whose weights are still at the path they were opened from.
        path: the file; an existing one is replaced once the new file is complete.

    Raises:
        CheckpointError: another kind of foundation, one whose head cannot be corrected, or a path that cannot be
            written.
        FoundationError: the foundation's weights can no longer be read.
    """
    backbone = potential.backbone
    if not isinstance(backbone, FairchemBackbone):
        raise CheckpointError(
            f"Only a committee on a fairchem foundation can be exported as a fairchem checkpoint; this one is based on "
            f"{backbone.name}. Share the folder that committee.save writes instead."
        )
    write_torch(_assemble(potential, backbone), Path(path))


def _assemble(potential: CommitteePotential, backbone: FairchemBackbone) -> Any:
    stored, foundation = read_foundation(backbone)
    config = _with_head(stored.model_config, potential, backbone)
    state = _state(_instantiate(config), foundation, potential)
    return assembled(config, with_shifts(stored.tasks_config, potential.shifts, backbone), state)


def _with_head(config: Mapping[str, Any], potential: CommitteePotential, backbone: FairchemBackbone) -> dict[str, Any]:
    """Copy the model's config with the committee wrapped around the head that predicts the energy."""
    corrected: dict[str, Any] = plain(config)
    name = _energy_head(_instantiate(corrected))
    corrected["heads"][name] = {
        "module": IMPORT_PATH,
        "foundation": corrected["heads"][name],
        "task_name": backbone.settings.task_name,
        # The priors cancel in the mean, and only the mean is exported.
        "committee": {**potential.settings.model_dump(mode="json"), "prior_scale_eV": 0.0},
        "elements": list(potential.heads.elements),
        "known_elements": [] if potential.metric is None else list(potential.metric.elements),
        "rmsd": float(backbone.energy_task.normalizer.rmsd),
    }
    return corrected


def _energy_head(model: nn.Module) -> str:
    """Return the name of the only head whose energy block can be corrected."""
    heads = dict(model.get_submodule("output_heads").named_children())
    blocks = {
        name: sum(path.split(".")[-1] == ENERGY_BLOCK for path, _ in head.named_modules())
        for name, head in heads.items()
    }
    correctable = [name for name, count in blocks.items() if count == 1]
    if len(correctable) != 1:
        raise CheckpointError(
            f"The foundation's heads {', '.join(heads)} hold {len(correctable)} MLP energy blocks; export needs "
            "exactly one. Share the folder that committee.save writes instead."
        )
    return correctable[0]


def _instantiate(config: Mapping[str, Any]) -> nn.Module:
    import hydra

    with random_state_kept():
        model: nn.Module = hydra.utils.instantiate(config)
    return model


def _state(model: nn.Module, foundation: Mapping[str, Tensor], potential: CommitteePotential) -> dict[str, Tensor]:
    """Return every tensor of the new model: the foundation's by their old names, the committee's by their own."""
    committee = {f"{_HEADS}{name}": value for name, value in potential.heads.state_dict().items()}
    if potential.metric is not None:
        committee |= {f"{_METRIC}{name}": value for name, value in potential.metric.state_dict().items()}
    state = {}
    for name in model.state_dict():
        own = name.split(".", 2)[-1] if name.startswith("output_heads.") else ""
        value = committee[own] if own in committee else foundation[_foundation_name(name)]
        state[name] = value.detach().cpu().clone()
    return state


def _foundation_name(name: str) -> str:
    for part in _FOUNDATION_PARTS:
        name = name.replace(part, "")
    return name
