"""fairchem as a foundation: its own calculator's numbers from a real checkpoint, made here, without a network."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from committee import AdaptSettings, TrainingFrame, adapt
from committee.backbones import load_backbone
from committee.backbones.contract import execution_of, twice_differentiable
from committee.backbones.fairchem import FairchemBackbone
from committee.errors import FoundationError, StructureError
from committee.settings import FairchemSettings
from committee.testing import check_backbone

VOIGT = ([0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1])


def load(model: Path | str, task: str = "omat") -> FairchemBackbone:
    return load_backbone(FairchemSettings(kind="fairchem", model=str(model), task_name=task))


@pytest.mark.parametrize("checkpoint", ["dense_checkpoint", "experts_checkpoint"])
@pytest.mark.parametrize("task", ["omat", "omol"])
def test_contract(checkpoint: str, task: str, request: pytest.FixtureRequest) -> None:
    check_backbone(load(request.getfixturevalue(checkpoint), task))


@pytest.mark.parametrize("checkpoint", ["dense_checkpoint", "experts_checkpoint"])
@pytest.mark.parametrize(("task", "info"), [("omat", {}), ("omol", {"charge": -1, "spin": 2})])
def test_answers_as_its_own_calculator(
    checkpoint: str, task: str, info: dict[str, int], varied_frames: list[Atoms], request: pytest.FixtureRequest
) -> None:
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit import load_predict_unit

    path = request.getfixturevalue(checkpoint)
    calculator = FAIRChemCalculator(load_predict_unit(path, inference_settings="batch", device="cpu"), task_name=task)
    for atoms in varied_frames:
        atoms.info = dict(info)
    evaluation = load(path, task).evaluate(varied_frames)
    forces, stress = evaluation.foundation()
    for index, atoms in enumerate(varied_frames):
        atoms.calc = calculator
        error = evaluation.energy[index].item() - atoms.get_potential_energy()
        assert abs(error) / len(atoms) < 1e-6
        np.testing.assert_allclose(forces[evaluation.frame_index == index], atoms.get_forces(), rtol=0, atol=1e-5)
        if atoms.pbc.all():
            np.testing.assert_allclose(stress[index].numpy()[VOIGT], atoms.get_stress(), rtol=0, atol=1e-7)


def test_charge_and_spin_change_the_answer(dense_checkpoint: Path) -> None:
    backbone = load(dense_checkpoint, "omol")
    frames = []
    for charge, spin in ((0, 1), (1, 2), (0, 3)):
        atoms = molecule("H2O")
        atoms.info = {"charge": charge, "spin": spin}
        frames.append(atoms)
    energies = backbone.evaluate(frames).energy.tolist()
    assert len({round(energy, 6) for energy in energies}) == 3


@pytest.mark.parametrize(
    ("task", "info", "message"),
    [
        ("omol", {}, "no charge"),
        ("omol", {"charge": 0}, "no spin"),
        ("omol", {"charge": 0.5, "spin": 1}, "0.5"),
        ("omol", {"charge": float("nan"), "spin": 1}, "nan"),
        ("omol", {"charge": 0, "spin": 0}, "multiplicity"),
        ("omol", {"charge": True, "spin": 1}, "True"),
        ("omat", {"charge": 1}, "charge"),
        ("omat", {"spin": 3}, "spin"),
    ],
)
def test_charge_and_spin_are_never_guessed(
    task: str, info: dict[str, float], message: str, dense_checkpoint: Path
) -> None:
    good, bad = molecule("H2O"), molecule("H2O")
    good.info = {"charge": 0, "spin": 1}
    bad.info = dict(info)
    with pytest.raises(StructureError, match=message) as caught:
        load(dense_checkpoint, task).evaluate([good, bad])
    assert "Frame 1" in str(caught.value)


def test_labels_in_info_are_left_alone(dense_checkpoint: Path) -> None:
    atoms = molecule("H2O")
    plain = load(dense_checkpoint).evaluate([atoms]).energy.item()
    atoms.info = {"energy": "not a number", "spin": np.int64(1)}
    assert load(dense_checkpoint).evaluate([atoms]).energy.item() == pytest.approx(plain, abs=1e-6)


def test_elements_are_those_with_a_reference(dense_checkpoint: Path) -> None:
    assert load(dense_checkpoint).elements == frozenset(range(1, 84))


def test_single_atoms_in_vacuum_take_registered_energies(
    experts_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.calculate import pretrained_mlip
    from fairchem.core.units.mlip_unit import load_predict_unit

    references = {"omol_elem_refs": {8: {0: -2043.5, -1: -2045.0}}, "omat_elem_refs": [0.0, -1.1, -0.5]}
    resolved = pretrained_mlip.ResolvedCheckpoint(str(experts_checkpoint), references)
    monkeypatch.setattr(pretrained_mlip, "resolve_checkpoint", lambda _name: resolved)
    unit = load_predict_unit(experts_checkpoint, "batch", device="cpu", atom_refs=references)
    backbone, calculator = load("uma-s-1p2p1", "omol"), FAIRChemCalculator(unit, task_name="omol")
    atoms, water = Atoms("O", info={"charge": -1, "spin": 2}), molecule("H2O")
    water.info = {"charge": 0, "spin": 1}
    evaluation = backbone.evaluate([water, atoms])
    atoms.calc = calculator
    assert evaluation.energy[1].item() == atoms.get_potential_energy() == -2045.0
    assert evaluation.foundation()[0][3].tolist() == [0.0, 0.0, 0.0]
    plain = load(experts_checkpoint, "omol").evaluate([water]).energy.item()
    assert evaluation.energy[0].item() == pytest.approx(plain, abs=1e-6)
    atoms.info["charge"] = 2
    with pytest.raises(StructureError, match="single O atom of charge 2"):
        backbone.evaluate([atoms])
    assert load("uma-s-1p2p1", "omat").evaluate([Atoms("He")]).energy.item() == -0.5


def test_fingerprint_follows_weights_and_task(dense_checkpoint: Path, make_checkpoint: Callable[..., Path]) -> None:
    here, again = load(dense_checkpoint), load(make_checkpoint("again"))
    assert here.fingerprint == again.fingerprint
    others = [load(dense_checkpoint, "omol"), load(make_checkpoint("other", seed=1))]
    assert len({here.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_loading_leaves_global_random_numbers_alone(dense_checkpoint: Path) -> None:
    before = torch.random.get_rng_state()
    load(dense_checkpoint)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_evaluating_repeats_bit_for_bit_and_draws_nothing(
    dense_checkpoint: Path, varied_frames: list[Atoms], one_thread: None
) -> None:
    backbone = load(dense_checkpoint)
    before = torch.random.get_rng_state()
    energies = [backbone.evaluate(varied_frames).energy for _ in range(2)]
    assert torch.equal(*energies)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(FoundationError, match=r"uma-s-9.*uma-s-1p2p1"):
        load("uma-s-9")


def test_gated_weights_explain_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fairchem.core.calculate import pretrained_mlip
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(pretrained_mlip, "CACHE_DIR", str(tmp_path))
    with pytest.raises(FoundationError) as caught:
        load("uma-s-1p2p1")
    message = str(caught.value)
    assert all(part in message for part in ("HF_TOKEN", "https://huggingface.co/facebook/UMA", "path", "licence"))


def test_task_that_the_checkpoint_lacks(dense_checkpoint: Path) -> None:
    with pytest.raises(FoundationError, match=r"'oc20'; it holds the tasks omat, omol"):
        load(dense_checkpoint, "oc20")


def test_direct_forces_are_refused(make_checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(FoundationError, match="conserving"):
        load(make_checkpoint("direct", direct_forces=True))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04]\x94."])
def test_unreadable_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.pt"
    path.write_bytes(content)
    with pytest.raises(FoundationError, match=r"broken\.pt cannot be read \(.*expected a fairchem inference"):
        load(path)


@pytest.mark.parametrize(("task", "info"), [("omat", {}), ("omol", {"charge": -1, "spin": 2})])
def test_merged_experts_answer_as_the_mixture(task: str, info: dict[str, int], experts_checkpoint: Path) -> None:
    mixture = load(experts_checkpoint, task).to(torch.float64)
    settings = FairchemSettings(kind="fairchem", model=str(experts_checkpoint), task_name=task, merge_experts=True)
    merging = load_backbone(settings).to(torch.float64)
    before = torch.random.get_rng_state()
    salt, water = bulk("NaCl", "rocksalt", a=5.6), molecule("H2O")
    salts = [salt.copy() for _ in range(2)]
    for seed, atoms in enumerate(salts):
        atoms.rattle(0.1, seed=seed)
    # Merged for salt; unmerged; merged for water, for another charge, and for salt again.
    charged = water.copy()
    for atoms in (*salts, water, charged):
        atoms.info = dict(info)
    if task == "omol":
        charged.info = {"charge": 1, "spin": 2}
    for frames in (salts, [*salts, water], [water], [water, charged], [charged], salts):
        expected, found = mixture.evaluate(frames), merging.evaluate(frames)
        torch.testing.assert_close(found.energy, expected.energy, rtol=0, atol=1e-9)
        torch.testing.assert_close(found.features, expected.features, rtol=0, atol=1e-9)
        for one, other in zip(found.foundation(), expected.foundation(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-9, equal_nan=True)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_merged_experts_keep_the_contract(experts_checkpoint: Path) -> None:
    settings = FairchemSettings(kind="fairchem", model=str(experts_checkpoint), task_name="omat", merge_experts=True)
    merging = load_backbone(settings)
    check_backbone(merging)
    assert merging.fingerprint == load(experts_checkpoint).fingerprint  # caches and committees stay valid


def test_experts_are_merged_once(experts_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fairchem.core.models.uma.escn_moe import eSCNMDMoeBackbone

    merged = []
    original = eSCNMDMoeBackbone.merge_MOLE_model
    monkeypatch.setattr(
        eSCNMDMoeBackbone, "merge_MOLE_model", lambda self, data: merged.append(data) or original(self, data)
    )
    settings = FairchemSettings(kind="fairchem", model=str(experts_checkpoint), task_name="omat", merge_experts=True)
    backbone = load_backbone(settings)
    atoms = molecule("H2O")
    for step in range(3):
        atoms.rattle(0.01, seed=step)
        backbone.evaluate([atoms, atoms])
    assert len(merged) == 1
    backbone.evaluate([atoms, molecule("CH3OH")])
    assert len(merged) == 1
    backbone.evaluate([molecule("CH3OH")])
    assert len(merged) == 2


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file, so that no cache folder can be made in it, even by root")
    environment = {key: value for key, value in os.environ.items() if key != "FAIRCHEM_CACHE_DIR"} | {"HOME": str(home)}
    script = (
        "from committee.backbones import load_backbone\n"
        "from committee.settings import FairchemSettings\n"
        "load_backbone(FairchemSettings(kind='fairchem', model='uma-s-1p1', task_name='omol'))"
    )
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert "FoundationError: the library fairchem cannot be read (not a directory)" in done.stderr
    assert "set FAIRCHEM_CACHE_DIR to a folder that can be written" in done.stderr


@pytest.mark.parametrize("experts", [False, True])
def test_another_execution_mode_gives_the_same_derivatives(experts: bool, request: pytest.FixtureRequest) -> None:
    """Converted as for the GPU's kernels, to the fast mode that a CPU has."""
    checkpoint = request.getfixturevalue("experts_checkpoint" if experts else "dense_checkpoint")
    settings = FairchemSettings(kind="fairchem", model=str(checkpoint), task_name="omat", merge_experts=experts)
    general, fast = load_backbone(settings), load_backbone(settings)
    assert execution_of(general) == "on cpu, execution mode general"
    fast.execution_mode = "umas_fast_pytorch"
    if fast._merged is not None:
        fast._merged._mode = fast.execution_mode
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    salt.rattle(0.1, seed=0)
    one, two = general.evaluate([salt]), fast.evaluate([salt])
    torch.testing.assert_close(two.features, one.features, rtol=0, atol=1e-5)
    assert not torch.equal(two.features, one.features)
    for expected, found in zip(one.foundation(), two.foundation(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    # Tangents ask for the general mode, whichever serves.
    expected, found = (twice_differentiable(backbone).evaluate([salt]) for backbone in (general, fast))
    assert torch.equal(found.features, expected.features)
    assert fast.execution_mode == "umas_fast_pytorch"


@pytest.mark.parametrize("experts", [False, True])
def test_adapted_weights_serve_in_the_fast_mode_and_train_in_the_general_one(
    experts: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = request.getfixturevalue("experts_checkpoint" if experts else "dense_checkpoint")
    settings = FairchemSettings(kind="fairchem", model=str(checkpoint), task_name="omat", merge_experts=experts)
    foundation = load_backbone(settings)
    changed = {name: 1.05 * weight for name, weight in foundation.module.named_parameters()}
    adapted = foundation.with_weights(changed)
    general = adapted.trainable()  # made before the fast mode is there
    monkeypatch.setattr("committee.backbones.fairchem.serving_mode", lambda *_, **__: "umas_fast_pytorch")
    fast = load_backbone(settings).with_weights(changed)
    assert fast.execution_mode == "umas_fast_pytorch"
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    salt.rattle(0.1, seed=0)
    one, two = adapted.evaluate([salt]), fast.evaluate([salt])
    torch.testing.assert_close(two.features, one.features, rtol=0, atol=1e-5)
    assert not torch.equal(two.features, one.features)
    assert not torch.allclose(two.features, foundation.evaluate([salt]).features, rtol=0, atol=1e-4)
    expected = twice_differentiable(adapted).evaluate([salt]).features
    assert torch.equal(twice_differentiable(fast).evaluate([salt]).features, expected)
    training = fast.trainable()
    assert training.execution_mode == "general"
    assert torch.equal(training.evaluate([salt]).features, general.evaluate([salt]).features)
    assert fast.execution_mode == "umas_fast_pytorch"


def test_experts_are_adapted_as_a_mixture_and_served_merged(experts_checkpoint: Path) -> None:
    """The weights of all experts are trained for compositions that differ; each then serves merged for its own."""
    settings = FairchemSettings(kind="fairchem", model=str(experts_checkpoint), task_name="omat", merge_experts=True)
    foundation = load_backbone(settings)
    frames = []
    for index, name in enumerate(["H2O", "CH3OH", "H2O", "NH3"]):
        atoms = molecule(name)
        atoms.rattle(0.05, seed=index)
        forces, _ = foundation.evaluate([atoms]).foundation()
        frames.append(TrainingFrame(f"{index}", atoms, np.nan, 1.3 * forces.numpy().astype(float)))
    short = AdaptSettings(optimizer="adam", epochs=20, batch_frames=2, learning_rate=3e-4, replay_share=0)
    adapted = adapt(foundation, frames, short)
    changed = {name.rpartition(".")[2] for name in adapted.changed_weights}
    assert any("mole" in name or "weights" in name for name in changed), sorted(changed)
    mixture = load(experts_checkpoint).with_weights(adapted.changed_weights)
    before, after = 0.0, 0.0
    for frame in frames:
        label = torch.as_tensor(frame.forces_eV_per_A)
        found = adapted.evaluate([frame.atoms]).foundation()[0]
        expected = mixture.evaluate([frame.atoms, molecule("CO2")]).foundation()[0][: len(frame.atoms)]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
        after += float((found - label).abs().mean())
        before += float((foundation.evaluate([frame.atoms]).foundation()[0] - label).abs().mean())
    assert after < 0.8 * before
