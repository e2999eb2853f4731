"""The student: a small eSCN-MD model of fairchem's UMA family, and its checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.distill.labels import OMAT, OMOL, Example
from committee.model.reference_shifts import ReferenceShifts

_CORE = "fairchem.core"
_UMA = f"{_CORE}.models.uma"
_TASK = f"{_CORE}.units.mlip_unit.mlip_unit"
_MAX_ELEMENTS = 100
_OUTPUTS = {
    OMAT: (("energy", "system", [1]), ("forces", "atom", [3]), ("stress", "system", [1, 9])),
    OMOL: (("energy", "system", [1]), ("forces", "atom", [3])),
}
"""Name, level and dimension of what each task predicts."""

MODEL_CONFIG: dict[str, Any] = {
    "_target_": f"{_CORE}.models.base.HydraModel",
    "pass_through_head_outputs": True,
    "backbone": {
        "model": f"{_UMA}.escn_md.eSCNMDBackbone",
        "max_num_elements": _MAX_ELEMENTS,
        "sphere_channels": 32,
        "hidden_channels": 32,
        "edge_channels": 32,
        "num_distance_basis": 32,
        "num_layers": 2,
        "lmax": 2,
        "mmax": 2,
        "cutoff": 4.5,
        "otf_graph": True,
        "always_use_pbc": False,
        "act_type": "gate",
        "ff_type": "spectral",
        "chg_spin_emb_type": "rand_emb",
        "dataset_mapping": {OMAT: OMAT, OMOL: OMOL},
        "direct_forces": False,
        "regress_forces": True,
        "regress_stress": True,
    },
    "heads": {
        "efs": {
            "module": f"{_UMA}.escn_moe.DatasetSpecificSingleHeadWrapper",
            "dataset_names": [OMAT, OMOL],
            "head_cls": f"{_UMA}.escn_md.MLP_EFS_Head",
            "head_kwargs": {"wrap_property": False},
        }
    },
}


@dataclass(frozen=True)
class Scale:
    """References subtracted from a task's labels before training.

    Attributes:
        references_eV: energy of each element, by atomic number.
        rmsd: root mean square of the force components, eV/Å; energies and stresses are divided by it too, since
            forces are the derivative of the energy.
    """

    references_eV: Mapping[int, float]
    rmsd: float

    @classmethod
    def fit(cls, examples: list[Example]) -> "Scale":
        """Fit to the training examples of one task."""
        energies = np.array([example.energy_eV for example in examples])
        shifts = ReferenceShifts.fit([example.atoms.numbers for example in examples], energies)
        forces = np.concatenate([example.forces_eV_per_A.ravel() for example in examples])
        return cls(shifts.eV_per_atom, float(np.sqrt(np.square(forces).mean())))

    def reference_eV(self, atomic_numbers: np.ndarray[Any, Any]) -> float:
        """Sum of the references of a frame."""
        return sum(self.references_eV[int(z)] for z in atomic_numbers)


def build_model(seed: int) -> nn.Module:
    """Return the student with random weights; the global random state is unchanged."""
    import hydra

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: nn.Module = hydra.utils.instantiate(MODEL_CONFIG)
    return model


def write_checkpoint(
    path: Path, weights: Mapping[str, Tensor], scales: Mapping[str, Scale], config: dict[str, Any] = MODEL_CONFIG
) -> None:
    """Write a fairchem inference checkpoint; an existing one is replaced once the new file is complete.

    Args:
        path: of the file.
        weights: state of the model, averaged over the training.
        scales: by task.
        config: of the model.
    """
    from fairchem.core.units.mlip_unit.api.inference import MLIPInferenceCheckpoint

    state = {name: value.detach().clone() for name, value in weights.items()}
    averaged = {f"module.{name}": value for name, value in state.items()}
    checkpoint = MLIPInferenceCheckpoint(
        model_config=config,
        model_state_dict=state,
        ema_state_dict={"n_averaged": torch.tensor(1), **averaged},
        tasks_config=[entry for task, scale in scales.items() for entry in _tasks(task, scale)],
    )
    temporary = path.with_suffix(".part")
    torch.save(checkpoint, temporary)
    temporary.replace(path)


def _tasks(task: str, scale: Scale) -> list[dict[str, Any]]:
    return [_task(task, scale, *output) for output in _OUTPUTS[task]]


def _task(task: str, scale: Scale, prop: str, level: str, dim: list[int]) -> dict[str, Any]:
    config: dict[str, Any] = {
        "_target_": f"{_TASK}.Task",
        "name": f"{task}_{prop}",
        "level": level,
        "property": prop,
        "out_spec": {"_target_": f"{_TASK}.OutputSpec", "dim": dim, "dtype": "float32"},
        "normalizer": {
            "_target_": f"{_CORE}.modules.normalization.normalizer.Normalizer",
            "mean": 0.0,
            "rmsd": scale.rmsd,
        },
        "datasets": [task],
    }
    if prop == "energy":
        table = [scale.references_eV.get(z, 0.0) for z in range(_MAX_ELEMENTS)]
        config["element_references"] = {
            "_target_": f"{_CORE}.modules.normalization.element_references.ElementReferences",
            "element_references": {
                "_target_": "torch.tensor",
                "data": table,
                "dtype": {"_target_": "hydra.utils.get_object", "path": "torch.float64"},
            },
        }
    return config
