"""An adapted SevenNet model as SevenNet's own checkpoint, and its deployment for LAMMPS."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from committee import SevenNetSettings, load_backbone
from committee.backbones.contract import Backbone
from committee.backbones.sevennet import SevenNetBackbone
from committee.errors import CheckpointError
from committee.export import export_plain
from committee.model.reference_shifts import ReferenceShifts

SHIFTS = ReferenceShifts({11: -123.5, 17: 20.25})
MODELS = [("7net-0", None), ("7net-0_22may2024", None), ("7net-mf-0", "R2SCAN")]
VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])

Evaluate = Callable[[str, list[Atoms]], list[tuple[float, Any, Any]]]
Perturb = Callable[[Any], Any]

pytestmark = pytest.mark.filterwarnings("ignore:No tensor product accelerator")  # SevenNet's calculator and deployment


def load(model: str, fidelity: str | None = None) -> SevenNetBackbone:
    backbone = load_backbone(SevenNetSettings(kind="sevennet", model=model, fidelity=fidelity))
    assert isinstance(backbone, SevenNetBackbone)
    return backbone


def salts() -> list[Atoms]:
    frames = []
    for seed in range(2):
        atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    return frames


def expected(backbone: Backbone, atoms: Atoms) -> tuple[float, Any, Any]:
    evaluation = backbone.evaluate([atoms])
    forces, stress = evaluation.foundation()
    return evaluation.energy.item() + SHIFTS.total_eV(atoms.numbers), forces.numpy(), stress[0].numpy()[VOIGT]


def assert_ours(backbone: Backbone, results: Any, frames: list[Atoms]) -> None:
    for atoms, (energy, forces, stress) in zip(frames, results, strict=True):
        total, our_forces, our_stress = expected(backbone, atoms)
        assert energy == pytest.approx(total, rel=1e-6)
        np.testing.assert_allclose(forces, our_forces, rtol=1e-6, atol=1e-5)
        np.testing.assert_allclose(stress, our_stress, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("model", "fidelity"), MODELS)
def test_it_opens_with_nothing_of_ours(
    model: str, fidelity: str | None, perturbed: Perturb, evaluated_without_us: Evaluate, tmp_path: Path
) -> None:
    foundation = load(model, fidelity)
    adapted, frames = perturbed(foundation), salts()
    assert (adapted.evaluate(frames).energy - foundation.evaluate(frames).energy).abs().min() > 1e-3
    written = export_plain(adapted, tmp_path / "plain.pth", shifts=SHIFTS)
    assert_ours(adapted, evaluated_without_us(written.opening, frames), frames)


def test_other_modalities_keep_their_shifts(perturbed: Perturb, tmp_path: Path) -> None:
    adapted = perturbed(load("7net-mf-0", "PBE"))
    written = export_plain(adapted, tmp_path / "plain.pth", shifts=SHIFTS)
    other = load(str(written.path), "R2SCAN").evaluate(salts()).energy
    same_weights = load("7net-mf-0", "R2SCAN").with_weights(adapted.changed_weights)
    torch.testing.assert_close(other, same_weights.evaluate(salts()).energy, rtol=0, atol=0)


def one_shift_for_all(path: Path, source: str, change: Callable[[dict[str, Any]], None]) -> Path:
    """A shipped checkpoint whose shift and scale were stored in another of SevenNet's forms."""
    from sevenn.checkpoint import SevenNetCheckpoint
    from sevenn.model_build import init_shift_scale
    from sevenn.util import pretrained_name_to_path

    content = SevenNetCheckpoint(pretrained_name_to_path(source)).get_checkpoint_dict()
    content["config"]["version"] = "0.13.0"
    change(content["config"])
    scaler = init_shift_scale(dict(content["config"]))
    for name, tensor in scaler.state_dict().items():
        content["model_state_dict"][f"rescale_atomic_energy.{name}"] = tensor
    torch.save(content, path)
    return path


def test_one_shift_for_all_elements_becomes_one_for_each(
    perturbed: Perturb, evaluated_without_us: Evaluate, tmp_path: Path
) -> None:
    source = one_shift_for_all(
        tmp_path / "one.pth", "7net-mf-0", lambda config: config.update(shift=-3.0, use_modal_wise_shift=False)
    )
    adapted = perturbed(load(str(source), "PBE"))
    written = export_plain(adapted, tmp_path / "plain.pth", shifts=SHIFTS)
    assert_ours(adapted, evaluated_without_us(written.opening, salts()), salts())
    other = load(str(source), "R2SCAN").with_weights(adapted.changed_weights)
    torch.testing.assert_close(
        load(str(written.path), "R2SCAN").evaluate(salts()).energy, other.evaluate(salts()).energy
    )


def test_one_shift_and_scale_of_a_single_model(
    perturbed: Perturb, evaluated_without_us: Evaluate, tmp_path: Path
) -> None:
    source = one_shift_for_all(tmp_path / "one.pth", "7net-0", lambda config: config.update(shift=-3.0, scale=1.7))
    adapted = perturbed(load(str(source)))
    written = export_plain(adapted, tmp_path / "plain.pth", shifts=SHIFTS)
    assert_ours(adapted, evaluated_without_us(written.opening, salts()), salts())


def deployed_results(path: Path, atoms: Atoms, type_map: dict[int, int], cutoff: float) -> tuple[float, Any, Any]:
    """Energy, forces and stress of the TorchScript file, from the inputs that LAMMPS' pair style e3gnn passes."""
    from ase.neighborlist import neighbor_list

    first, second, vectors = neighbor_list("ijD", atoms, cutoff)
    edges = torch.tensor(vectors, dtype=torch.float32, requires_grad=True)
    model = torch.jit.load(path)
    inputs = {
        "x": torch.tensor([type_map[z] for z in atoms.numbers]),
        "edge_index": torch.tensor(np.stack([first, second])),
        "edge_vec": edges,
        "num_atoms": torch.tensor([len(atoms)]),
        "nlocal": torch.tensor([len(atoms)]),
    }
    energy = model(inputs)["inferred_total_energy"].squeeze()
    slopes = torch.autograd.grad(energy, edges)[0].double().numpy()
    forces = np.zeros((len(atoms), 3))
    np.add.at(forces, first, slopes)
    np.add.at(forces, second, -slopes)
    stress = vectors.T @ slopes / atoms.get_volume()
    return energy.item(), forces, ((stress + stress.T) / 2)[VOIGT]


@pytest.mark.parametrize(("model", "fidelity"), [("7net-0", None), ("7net-mf-0", "R2SCAN")])
def test_sevennets_own_deployment_for_lammps(
    model: str, fidelity: str | None, perturbed: Perturb, tmp_path: Path
) -> None:
    """``sevenn get_model``, as a user runs it; the deployed TorchScript gives our energy, forces and stress."""
    adapted = perturbed(load(model, fidelity))
    written = export_plain(adapted, tmp_path / "plain.pth", shifts=SHIFTS)
    command = [str(Path(sys.executable).with_name("sevenn")), "get_model", str(written.path), "-o", "deployed"]
    command += [] if fidelity is None else ["--modal", fidelity]
    completed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    from sevenn.checkpoint import SevenNetCheckpoint

    config = SevenNetCheckpoint(written.path).config
    frames = salts()
    results = [
        deployed_results(tmp_path / "deployed.pt", atoms, config["_type_map"], config["cutoff"]) for atoms in frames
    ]
    assert_ours(adapted, results, frames)


def test_what_is_known_of_the_model_stands_in_the_file(perturbed: Perturb, tmp_path: Path) -> None:
    adapted = perturbed(load("7net-0"))
    written = export_plain(adapted, tmp_path / "plain.pth", about={"difference": {"frames": 3}})
    about = torch.load(written.path, weights_only=False)["about"]
    assert about["model"] == adapted.name
    assert about["foundation_fingerprint"] == load("7net-0").fingerprint
    assert about["difference"] == {"frames": 3}


def test_energies_of_all_electrons_are_rounded_and_said_so(tmp_path: Path) -> None:
    written = export_plain(load("7net-0"), tmp_path / "plain.pth", shifts=ReferenceShifts({11: -4400.0, 17: -12500.0}))
    (note,) = written.notes
    assert "Na -4400 eV, Cl -12500 eV" in note


def test_closed_foundation(tmp_path: Path) -> None:
    from committee import CalculatorSettings

    closed = load_backbone(
        CalculatorSettings(
            kind="calculator",
            import_path="ase.calculators.lj.LennardJones",
            features=SevenNetSettings(kind="sevennet"),
        )
    )
    with pytest.raises(CheckpointError, match=r"open weights.*calculator:ase\.calculators\.lj\.LennardJones"):
        export_plain(closed, tmp_path / "plain.pth")
    assert not list(tmp_path.iterdir())
