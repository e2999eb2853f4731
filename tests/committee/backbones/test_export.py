"""A trained committee as a fairchem checkpoint: fairchem's own calculator gives the committee's mean."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write
from typer.testing import CliRunner

from al_loop.cli import app
from al_loop.config import StoreSettings
from al_loop.ledger import open_ledger
from al_loop.ledger.identity import start_campaign
from al_loop.tools.preflight.load_config import load_config
from committee import CommitteePotential, CommitteeSettings, FairchemSettings, TrainingFrame, TrainingSettings, train
from committee.backbones import load_backbone
from committee.backbones.fairchem import FairchemBackbone
from committee.checkpoint import content_hash, save
from committee.errors import CheckpointError
from committee.export import export_fairchem
from committee.settings import SevenNetSettings

SALT = {"omat": {}, "omol": {"charge": -1, "spin": 2}}


def load(path: Path, task: str) -> FairchemBackbone:
    backbone = load_backbone(FairchemSettings(kind="fairchem", model=str(path), task_name=task))
    assert isinstance(backbone, FairchemBackbone)
    return backbone


def salt(task: str, seed: int, size: int = 1) -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True) if task == "omat" else molecule("CH3Cl")
    atoms = atoms.repeat((size, 1, 1)) if task == "omat" else atoms
    atoms.rattle(0.1, seed=seed)
    atoms.info = dict(SALT[task])
    return atoms


def trained(path: Path, task: str, cache: Path, prior_eV: float = 0.0) -> CommitteePotential:
    """A committee trained on labels that are shifted by a thousand eV and stiffer than the foundation."""
    backbone = load(path, task)
    frames = []
    for seed in range(3):
        atoms = salt(task, seed)
        evaluation = backbone.evaluate([atoms])
        energy, forces = evaluation.energy.item(), evaluation.foundation()[0].numpy()
        frames.append(TrainingFrame(str(seed), atoms, energy - 1000.0, 1.5 * forces.astype(float)))
    return train(
        backbone,
        frames,
        committee=CommitteeSettings(members=3, hidden_channels=8, prior_scale_eV=prior_eV),
        training=TrainingSettings(epochs=30),
        cache_folder=cache,
        seed=0,
    )


def fairchem_calculator(path: Path, task: str) -> Any:
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit import load_predict_unit

    return FAIRChemCalculator(load_predict_unit(str(path), inference_settings="batch", device="cpu"), task_name=task)


def assert_same(potential: CommitteePotential, calculator: Any, atoms: Atoms) -> None:
    expected = potential.predict([atoms])[0]
    structure = atoms.copy()
    structure.calc = calculator
    assert abs(structure.get_potential_energy() - expected.energy) / len(atoms) < 1e-5
    np.testing.assert_allclose(structure.get_forces(), expected.forces, rtol=0, atol=1e-5)
    if expected.stress is not None:
        np.testing.assert_allclose(structure.get_stress(), expected.stress, rtol=0, atol=1e-6)


@pytest.mark.parametrize("checkpoint", ["dense_checkpoint", "experts_checkpoint"])
@pytest.mark.parametrize("task", ["omat", "omol"])
def test_fairchem_gives_the_committees_mean(
    checkpoint: str, task: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = request.getfixturevalue(checkpoint)
    potential = trained(path, task, tmp_path / "cache", prior_eV=0.1)
    exported = tmp_path / "out" / "committee.pt"
    export_fairchem(potential, exported)
    calculator = fairchem_calculator(exported, task)
    foundation = load(path, task)
    for atoms in (salt(task, 7), salt(task, 8, size=2)):
        assert_same(potential, calculator, atoms)
    evaluation = foundation.evaluate([salt(task, 7)])
    corrected = potential.predict([salt(task, 7)])[0]
    assert np.abs(corrected.forces - evaluation.foundation()[0].numpy()).max() > 1e-2
    assert corrected.energy < evaluation.energy.item() - 500


FRESH_PROCESS = """
import sys
from ase.io import read
from fairchem.core import FAIRChemCalculator
from fairchem.core.units.mlip_unit import load_predict_unit

assert not any(name.startswith("committee") for name in sys.modules)
atoms = read(sys.argv[2])
unit = load_predict_unit(sys.argv[1], inference_settings="batch", device="cpu")
atoms.calc = FAIRChemCalculator(unit, task_name="omat")
print("energy", atoms.get_potential_energy())
"""


def test_fairchem_opens_it_in_a_process_that_knows_nothing_of_us(dense_checkpoint: Path, tmp_path: Path) -> None:
    potential = trained(dense_checkpoint, "omat", tmp_path / "cache")
    export_fairchem(potential, tmp_path / "committee.pt")
    atoms = salt("omat", 7)
    atoms.write(tmp_path / "salt.xyz", format="extxyz")
    arguments = [sys.executable, "-c", FRESH_PROCESS, str(tmp_path / "committee.pt"), str(tmp_path / "salt.xyz")]
    completed = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert completed.returncode == 0, completed.stderr
    energy = float(next(line for line in completed.stdout.splitlines() if line.startswith("energy")).split()[1])
    assert abs(energy - potential.predict([atoms])[0].energy) / len(atoms) < 1e-5


def test_another_task_answers_as_before(dense_checkpoint: Path, tmp_path: Path) -> None:
    export_fairchem(trained(dense_checkpoint, "omat", tmp_path / "cache"), tmp_path / "committee.pt")
    atoms = salt("omol", 7)
    before, after = (load(path, "omol").evaluate([atoms]) for path in (dense_checkpoint, tmp_path / "committee.pt"))
    assert after.energy.item() == pytest.approx(before.energy.item(), abs=1e-6)
    np.testing.assert_allclose(after.foundation()[0], before.foundation()[0], rtol=0, atol=1e-6)


def test_faded_far_from_the_labels(dense_checkpoint: Path, tmp_path: Path) -> None:
    """The latent distance is exported: far from the training frames only foundation and shifts remain."""
    potential = trained(dense_checkpoint, "omat", tmp_path / "cache")
    export_fairchem(potential, tmp_path / "committee.pt")
    atoms = salt("omat", 3)
    atoms.rattle(0.8, seed=1)
    far = potential.predict([atoms])[0]
    assert far.latent_distance is not None
    assert far.latent_distance.min() > potential.settings.switch_end
    assert_same(potential, fairchem_calculator(tmp_path / "committee.pt", "omat"), atoms)


def test_untrained_is_the_foundation(dense_checkpoint: Path, tmp_path: Path) -> None:
    potential = CommitteePotential.untrained(load(dense_checkpoint, "omat"))
    export_fairchem(potential, tmp_path / "committee.pt")
    assert_same(potential, fairchem_calculator(tmp_path / "committee.pt", "omat"), salt("omat", 7))
    with pytest.raises(CheckpointError, match="cannot be written"):
        export_fairchem(potential, tmp_path / "committee.pt" / "below_a_file.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["committee.pt"]


def test_an_export_is_a_foundation_again(dense_checkpoint: Path, tmp_path: Path) -> None:
    potential = trained(dense_checkpoint, "omat", tmp_path / "cache")
    export_fairchem(potential, tmp_path / "committee.pt")
    again = load(tmp_path / "committee.pt", "omat")
    atoms = salt("omat", 7)
    evaluation = again.evaluate([atoms])
    np.testing.assert_allclose(evaluation.foundation()[0], potential.predict([atoms])[0].forces, rtol=0, atol=1e-5)
    assert again.fingerprint != potential.backbone.fingerprint


def test_another_kind_of_foundation(tmp_path: Path) -> None:
    potential = CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")))
    with pytest.raises(CheckpointError, match=r"sevennet:7net-0.*committee\.save"):
        export_fairchem(potential, tmp_path / "committee.pt")
    assert not list(tmp_path.iterdir())


def test_weights_that_changed(make_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(make_checkpoint("one").read_bytes())
    potential = CommitteePotential.untrained(load(path, "omat"))
    path.write_bytes(make_checkpoint("two", seed=2).read_bytes())
    with pytest.raises(CheckpointError, match="have changed"):
        export_fairchem(potential, tmp_path / "committee.pt")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.pt"]


def test_the_command_exports_what_a_campaign_serves(
    dense_checkpoint: Path, store: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    potential = trained(dense_checkpoint, "omat", tmp_path)
    write(tmp_path / "salt.cif", salt("omat", 0))
    folder, target = tmp_path / "run", tmp_path / "committee.pt"
    (tmp_path / "c.yaml").write_text(
        f"name: salty\nfolder: {folder}\nsystems: [{{file: salt.cif}}]\n"
        f"foundation: {{kind: fairchem, model: {dense_checkpoint}, task_name: omat}}\n"
        "explore: {temperatures_K: [600], timestep_fs: 1.0, steps: 30, check_every: 5}\n"
        "label: {engine: {engine: ase, calculator: ase.calculators.emt.EMT}}\n"
    )
    monkeypatch.setenv("MONGODB_URI", str(store.uri))
    command = ["export", str(tmp_path / "c.yaml"), "--checkpoint", str(target)]
    with open_ledger(store, folder, "salty") as ledger:
        (folder / "models").mkdir(parents=True)
        start_campaign(ledger, load_config(tmp_path / "c.yaml"), {})
        nothing = CliRunner().invoke(app, command)
        assert (nothing.exit_code, target.exists()) == (2, False)
        assert "serves no committee yet" in nothing.output
        save(potential, folder / "models" / "round-000")
        content = content_hash(folder / "models" / "round-000")
        ledger.serve_model(ledger.add_model(0, "round-000", potential.backbone.fingerprint, content, {}), 0)
        assert CliRunner().invoke(app, command).exit_code == 0
    atoms = salt("omat", 7)
    atoms.calc = fairchem_calculator(target, "omat")
    assert atoms.get_potential_energy() == pytest.approx(potential.predict([atoms])[0].energy, abs=1e-3)
