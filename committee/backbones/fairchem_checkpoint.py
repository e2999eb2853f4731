"""Opening of fairchem checkpoints with differentiable energies and features."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from committee.backbones.contract import fingerprint_weights
from committee.errors import FoundationError
from committee.foreign import is_file, reading
from committee.settings import FairchemSettings

_IMPORT_REMEDY: Final = (
    "it makes a cache folder when it is imported: set FAIRCHEM_CACHE_DIR to a folder that can be written. If that is "
    "not the reason, install it again: pip install fairchem-core"
)
_REMEDY: Final = (
    "expected a fairchem inference checkpoint, which fairchem's load_predict_unit opens, such as inference_ckpt.pt of "
    "a training run"
)


@dataclass(frozen=True)
class OpenCheckpoint:
    """The parts of an opened checkpoint that the adapter needs.

    ``unit`` is fairchem's predict unit, frozen and without its own derivatives, ``escn`` the eSCN-MD backbone in it.
    ``elements`` are those of the task's references, else of the model's embedding; ``lone_atoms`` has energies of
    isolated atoms by element and charge where fairchem looks them up.
    """

    label: str
    fingerprint: str
    unit: Any
    escn: Any
    energy_task: Any
    elements: frozenset[int]
    lone_atoms: dict[int, dict[int, float]] | None
    dtype: torch.dtype


def open_checkpoint(settings: FairchemSettings, dtype: torch.dtype) -> OpenCheckpoint:
    """Open a registered model or a file.

    Raises:
        FoundationError: see :func:`committee.backbones.fairchem.load_fairchem`.
    """
    path, atom_references = _locate(settings.model)
    with reading(path, _REMEDY, FoundationError):
        return _opened(path, atom_references, settings, dtype)


def _opened(path: str, atom_references: Any, settings: FairchemSettings, dtype: torch.dtype) -> OpenCheckpoint:
    stored, unit = _read(path, settings, dtype)
    energy_task = _energy_task(unit, settings)
    escn = _conserving_escn(unit, settings.model)
    escn.regress_config.forces = escn.regress_config.stress = escn.regress_config.hessian = False
    lone_atoms = _lone_atoms(stored, atom_references, settings.task_name)
    unit.model.module.prepare_for_inference(None, unit.inference_settings)
    unit.model.requires_grad_(False)
    unit.model.to(dtype)
    unit.move_to_device()
    return OpenCheckpoint(
        label=settings.model if path != settings.model else Path(path).name,
        fingerprint=_fingerprint(stored, settings, lone_atoms),
        unit=unit,
        escn=escn,
        energy_task=energy_task,
        elements=_elements(energy_task, escn),
        lone_atoms=lone_atoms,
        dtype=dtype,
    )


def read_stored(settings: FairchemSettings) -> tuple[Any, str]:
    """Read the content of a checkpoint again.

    Returns:
        fairchem's ``MLIPInferenceCheckpoint`` and the fingerprint of a foundation opened from it.

    Raises:
        FoundationError: the weights cannot be fetched or read.
    """
    path, atom_references = _locate(settings.model)
    with reading(path, _REMEDY, FoundationError):
        stored = torch.load(path, map_location="cpu", weights_only=False)
        return stored, _fingerprint(stored, settings, _lone_atoms(stored, atom_references, settings.task_name))


def plain(config: Any) -> Any:
    """Convert any mixture of OmegaConf, tensors and arrays in a checkpoint to nested plain containers."""
    from omegaconf import DictConfig, ListConfig

    if isinstance(config, dict | DictConfig):
        return {str(key): plain(value) for key, value in config.items()}
    if isinstance(config, list | tuple | ListConfig):
        return [plain(value) for value in config]
    return config.tolist() if isinstance(config, Tensor | np.ndarray) else config


def _locate(model: str) -> tuple[str, Any]:
    """Return the path of the weights, and the registered energies of isolated atoms if there are any."""
    with reading("the library fairchem", _IMPORT_REMEDY, FoundationError):
        from fairchem.core.calculate import pretrained_mlip

    if is_file(model):
        return model, None
    if model not in pretrained_mlip.available_models:
        raise FoundationError(
            f"fairchem model {model!r} is neither a file nor a registered name: "
            f"{', '.join(pretrained_mlip.available_models)}. Correct the name or give the path of a checkpoint."
        )
    try:
        resolved = pretrained_mlip.resolve_checkpoint(model)
    except OSError as error:
        raise FoundationError(
            f"The weights of {model} could not be fetched ({type(error).__name__}). They are gated: accept the "
            "licence at https://huggingface.co/facebook/UMA, make a token with read access and set HF_TOKEN to it. "
            "Without a network, copy the checkpoint file here and give its path as the model."
        ) from error
    return resolved.path, resolved.atom_refs


def _read(path: str, settings: FairchemSettings, dtype: torch.dtype) -> tuple[Any, Any]:
    from fairchem.core.units.mlip_unit import load_predict_unit
    from fairchem.core.units.mlip_unit.api.inference import InferenceSettings

    # The preset "batch", except that recomputed activations do not allow a second derivative.
    inference = InferenceSettings(
        base_precision_dtype=dtype,
        execution_mode="general",
        activation_checkpointing=False,
        auto_add_default_untrained_tasks=False,
    )
    stored = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    with random_state_kept():
        unit = load_predict_unit(path, inference, device=settings.device)
    return stored, unit


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore the global random state, which fairchem seeds and uses when it builds a model."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - restored, not used
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002


def _energy_task(unit: Any, settings: FairchemSettings) -> Any:
    tasks = unit.dataset_to_tasks
    energies = [task for task in tasks.get(settings.task_name, []) if task.property == "energy"]
    if not energies:
        raise FoundationError(
            f"fairchem checkpoint {settings.model} has no energy for task {settings.task_name!r}; "
            f"it holds the tasks {', '.join(sorted(tasks))}. Set task_name to one of them."
        )
    return energies[0]


def _conserving_escn(unit: Any, model: str) -> Any:
    from fairchem.core.models.uma.escn_md import eSCNMDBackbone

    escn = unit.model.module.backbone
    if not isinstance(escn, eSCNMDBackbone):
        raise FoundationError(
            f"fairchem checkpoint {model} holds a {type(escn).__name__}; only eSCN-MD models (UMA, eSEN) provide "
            "features. Choose one of those."
        )
    if escn.regress_config.direct_forces:
        raise FoundationError(
            f"fairchem checkpoint {model} predicts forces directly: they are not the derivative of its energy, so no "
            "correction of the energy can correct them. Choose the conserving variant of the model."
        )
    return escn


def _elements(energy_task: Any, escn: Any) -> frozenset[int]:
    """Return the elements whose fitted reference is not zero: it is zero for elements absent from the data."""
    if energy_task.element_references is None:
        return frozenset(range(1, escn.max_num_elements))
    references = energy_task.element_references.element_references[: escn.max_num_elements]
    return frozenset(int(z) for z in references.nonzero().flatten() if z > 0)


def _lone_atoms(stored: Any, references: Any, task_name: str) -> dict[int, dict[int, float]] | None:
    """Return energies by element and charge, from tables with or without charges."""
    if stored.model_config.get("supports_single_atoms", False):
        return None
    if references is None or f"{task_name}_elem_refs" not in references:
        return None
    table = plain(references)[f"{task_name}_elem_refs"]
    rows = enumerate(table) if isinstance(table, list) else table.items()
    by_charge = ((int(z), row if isinstance(row, dict) else {0: row}) for z, row in rows)
    return {z: {int(charge): float(energy) for charge, energy in row.items()} for z, row in by_charge}


def _fingerprint(stored: Any, settings: FairchemSettings, lone_atoms: dict[int, dict[int, float]] | None) -> str:
    content = {
        "task_name": settings.task_name,
        "model_config": plain(stored.model_config),
        "tasks_config": plain(stored.tasks_config),
        "lone_atoms": lone_atoms,
    }
    weights = ((name, tensor) for name, tensor in stored.ema_state_dict.items() if name != "n_averaged")
    return fingerprint_weights(weights, content)
