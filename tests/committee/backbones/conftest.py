"""Real foundations: SevenNet's weights are in its wheel, fairchem checkpoints are made here with random weights."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.io import write

DATASETS = {"omat": "omat", "omol": "omol"}
CORE = "fairchem.core"
UMA = f"{CORE}.models.uma"
TASK = f"{CORE}.units.mlip_unit.mlip_unit"
NORMALIZATION = f"{CORE}.modules.normalization"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """SevenNet's scatter operations are not bitwise reproducible on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def varied_frames() -> list[Atoms]:
    """A molecule, a crystal, a one-atom crystal and a slab with vacuum."""
    rng = np.random.default_rng(3)
    methanol = molecule("CH3OH")
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    slab = fcc111("Al", (1, 1, 3), vacuum=8.0)
    for atoms in (methanol, crystal, slab):
        atoms.positions += rng.normal(scale=0.15, size=atoms.positions.shape)
    crystal.set_cell(crystal.cell.array @ (np.eye(3) + 0.05 * rng.normal(size=(3, 3))), scale_atoms=True)
    return [methanol, crystal, bulk("Al", a=4.1), slab]


@pytest.fixture(scope="session")
def make_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Write a small fairchem inference checkpoint with random weights, as fairchem's training would."""
    folder = tmp_path_factory.mktemp("fairchem")

    def make(name: str, *, experts: int = 0, direct_forces: bool = False, seed: int = 0) -> Path:
        import hydra
        from fairchem.core.units.mlip_unit.api.inference import MLIPInferenceCheckpoint

        config = _model_config(experts, direct_forces)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = hydra.utils.instantiate(config)
        checkpoint = MLIPInferenceCheckpoint(
            model_config=config,
            model_state_dict=model.state_dict(),
            ema_state_dict=torch.optim.swa_utils.AveragedModel(model).state_dict(),
            tasks_config=_tasks_config(np.random.default_rng(1)),
        )
        path = folder / f"{name}.pt"
        torch.save(checkpoint, path)
        return path

    return make


@pytest.fixture(scope="session")
def dense_checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    return make_checkpoint("dense")


@pytest.fixture(scope="session")
def experts_checkpoint(make_checkpoint: Callable[..., Path]) -> Path:
    """A mixture of linear experts whose weights depend on composition, charge and spin, as in UMA."""
    return make_checkpoint("experts", experts=3)


def _model_config(experts: int, direct_forces: bool) -> dict[str, Any]:
    backbone: dict[str, Any] = {
        "model": f"{UMA}.escn_md.eSCNMDBackbone",
        "sphere_channels": 32,
        "hidden_channels": 32,
        "edge_channels": 16,
        "num_distance_basis": 32,
        "num_layers": 2,
        "lmax": 2,
        "mmax": 2,
        "cutoff": 5.0,
        "otf_graph": True,
        "always_use_pbc": False,
        "act_type": "gate",
        "ff_type": "spectral",
        "chg_spin_emb_type": "rand_emb",
        "dataset_mapping": DATASETS,
        "direct_forces": direct_forces,
        "regress_forces": True,
        "regress_stress": True,
    }
    config: dict[str, Any] = {
        "_target_": f"{CORE}.models.base.HydraModel",
        "pass_through_head_outputs": True,
        "backbone": backbone,
        "heads": {
            "efs": {
                "module": f"{UMA}.escn_moe.DatasetSpecificSingleHeadWrapper",
                "dataset_names": list(DATASETS),
                "head_cls": f"{UMA}.escn_md.MLP_EFS_Head",
                "head_kwargs": {"wrap_property": False},
            }
        },
    }
    if experts:
        backbone["model"] = f"{UMA}.escn_moe.eSCNMDMoeBackbone"
        backbone |= {"num_experts": experts, "use_composition_embedding": True}
        config["model_id"] = "UMA-S-1.2.1"
    return config


def _tasks_config(rng: np.random.Generator) -> list[dict[str, Any]]:
    tasks = []
    for number, dataset in enumerate(DATASETS):
        references = -500.0 * rng.random(100)
        references[0] = references[84:] = 0.0  # no Po or heavier in the "training data"
        for prop, level, dim in (("energy", "system", [1]), ("forces", "atom", [3]), ("stress", "system", [1, 9])):
            task: dict[str, Any] = {
                "_target_": f"{TASK}.Task",
                "name": f"{dataset}_{prop}",
                "level": level,
                "property": prop,
                "out_spec": {"_target_": f"{TASK}.OutputSpec", "dim": dim, "dtype": "float32"},
                "normalizer": {
                    "_target_": f"{NORMALIZATION}.normalizer.Normalizer",
                    "mean": 0.0,
                    "rmsd": 1.5 + number,
                },
                "datasets": [dataset],
            }
            if prop == "energy":
                task["element_references"] = {
                    "_target_": f"{NORMALIZATION}.element_references.ElementReferences",
                    "element_references": {
                        "_target_": "torch.tensor",
                        "data": references.tolist(),
                        "dtype": {"_target_": "hydra.utils.get_object", "path": "torch.float64"},
                    },
                }
            tasks.append(task)
    return tasks


WITHOUT_US = """
import json, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"al_loop", "committee", "dft_interfaces", "benchmarks", "tests"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NotInstalled())
try:
    import committee
    raise SystemExit("committee can be imported here")
except ModuleNotFoundError:
    pass
from ase.io import read
exec(sys.argv[2])
results = []
for atoms in read(sys.argv[1], ":"):
    atoms.calc = calculator
    stress = atoms.get_stress().tolist() if atoms.pbc.all() else None
    results.append([atoms.get_potential_energy(), atoms.get_forces().tolist(), stress])
assert not {name.partition(".")[0] for name in sys.modules} & {"al_loop", "committee", "dft_interfaces"}
print("results", json.dumps(results))
"""


@pytest.fixture
def evaluated_without_us(tmp_path: Path) -> Callable[[str, list[Atoms]], list[tuple[float, Any, Any]]]:
    """Energies, forces and stresses from an opening's ``calculator``, in a process that cannot import our packages."""

    def evaluate(opening: str, frames: list[Atoms]) -> list[tuple[float, Any, Any]]:
        write(tmp_path / "frames.traj", frames)
        command = [sys.executable, "-I", "-W", "ignore", "-c", WITHOUT_US, str(tmp_path / "frames.traj"), opening]
        completed = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert completed.returncode == 0, completed.stderr
        printed = next(line for line in completed.stdout.splitlines() if line.startswith("results "))
        return [
            (energy, np.array(forces), None if stress is None else np.array(stress))
            for energy, forces, stress in json.loads(printed.removeprefix("results "))
        ]

    return evaluate


@pytest.fixture
def perturbed() -> Callable[[Any], Any]:
    """An open backbone whose fitted weights have all moved, as after an adaptation."""

    def perturb(backbone: Any) -> Any:
        generator = torch.Generator().manual_seed(7)
        weights = {
            name: weight for name, weight in backbone.trainable().module.named_parameters() if weight.requires_grad
        }
        return backbone.with_weights(
            {
                name: weight.detach()
                + 0.02 * weight.detach().square().mean().sqrt() * torch.randn(weight.shape, generator=generator)
                for name, weight in weights.items()
            }
        )

    return perturb
