"""Foundations with changed weights: the contract, and committees on them in checkpoints."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from safetensors.torch import load_file, save_file

from committee import CommitteePotential, CommitteeSettings, FairchemSettings, load, save
from committee.backbones import load_backbone
from committee.backbones.contract import Backbone, OpenBackbone
from committee.checkpoint import ADAPTED, check_content, content_hash
from committee.errors import CheckpointError, FoundationError
from committee.export import export_fairchem
from committee.testing import check_backbone, example_frames

DISTILLED = Path(__file__).parents[2] / "data" / "distilled" / "distilled.pt"


def changed(backbone: OpenBackbone, scale: float = 1.01) -> dict[str, torch.Tensor]:
    """The foundation's last matrices, a little larger."""
    matrices = [(name, weight) for name, weight in backbone.module.named_parameters() if weight.numel() > 40]
    return {name: weight * scale for name, weight in matrices[-3:]}


def salt() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", 5.6)
    atoms.rattle(0.1, rng=np.random.default_rng(0))
    return atoms


def energy(backbone: Backbone) -> float:
    return float(backbone.evaluate([salt()]).energy.detach())


def test_an_adapted_foundation_is_under_contract(foundation: OpenBackbone) -> None:
    adapted = foundation.with_weights(changed(foundation))
    check_backbone(adapted, [*example_frames(foundation.elements)][:2])


def test_names_and_fingerprints(foundation: OpenBackbone) -> None:
    adapted = foundation.with_weights(changed(foundation), "PBE0")
    assert adapted.name == f"{foundation.name}+adapted-{adapted.fingerprint[:8]}"
    assert (adapted.base_name, adapted.base_fingerprint) == (foundation.name, foundation.fingerprint)
    assert (foundation.changed_weights, adapted.level_of_theory) == ({}, "PBE0")
    further = adapted.with_weights(changed(foundation, 1.02))
    assert (further.base_fingerprint, further.level_of_theory) == (foundation.fingerprint, "PBE0")
    assert len({one.fingerprint for one in (foundation, adapted, further)}) == 3
    again = foundation.with_weights(changed(foundation, 1.02))
    assert (again.fingerprint, energy(again)) == (further.fingerprint, energy(further))


def test_both_precisions_have_the_same_weights(foundation: OpenBackbone) -> None:
    adapted = foundation.with_weights(changed(foundation))
    exact = adapted.to(torch.float64)
    assert exact.fingerprint == adapted.fingerprint
    assert energy(exact) == pytest.approx(energy(adapted), abs=1e-3)
    assert abs(energy(exact) - energy(foundation)) > 1e-2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"nowhere.weight": torch.ones(2)}, "has no parameter nowhere.weight"),
        ({None: torch.ones(7, 7)}, "has shape"),
        ({None: torch.nan}, "NaN or infinity"),
    ],
)
def test_weights_of_another_model_are_refused(foundation: OpenBackbone, wrong: dict, message: str) -> None:
    name, weight = next(iter(changed(foundation).items()))
    weights = {
        key or name: value if isinstance(value, torch.Tensor) else weight * value for key, value in wrong.items()
    }
    with pytest.raises(FoundationError, match=message):
        foundation.with_weights(weights)


@pytest.fixture
def saved(foundation: OpenBackbone, tmp_path: Path) -> Path:
    adapted = foundation.with_weights(changed(foundation), "PBE0")
    save(CommitteePotential.untrained(adapted, CommitteeSettings(members=2, hidden_channels=4)), tmp_path / "model")
    return tmp_path / "model"


def test_a_committee_on_adapted_weights_round_trips(foundation: OpenBackbone, saved: Path) -> None:
    adapted = foundation.with_weights(changed(foundation), "PBE0")
    for backbone in (foundation, adapted):
        opened = load(saved, backbone).backbone
        assert isinstance(opened, OpenBackbone)
        assert (opened.fingerprint, opened.name) == (adapted.fingerprint, adapted.name)
        assert opened.level_of_theory == "PBE0"
        assert energy(opened) == energy(adapted)
    if foundation.name == "sevennet:7net-0":
        assert load(saved).backbone.fingerprint == adapted.fingerprint


def test_saving_a_committee_on_the_foundation_again_leaves_no_weights(foundation: OpenBackbone, saved: Path) -> None:
    seal = content_hash(saved)
    save(CommitteePotential.untrained(foundation), saved)
    assert not (saved / ADAPTED).exists()
    assert load(saved, foundation).backbone is foundation
    with pytest.raises(CheckpointError, match="another checkpoint"):
        check_content(saved, seal)


def test_damaged_or_foreign_weights_are_one_message(foundation: OpenBackbone, saved: Path) -> None:
    path = saved / ADAPTED
    seal, content = content_hash(saved), path.read_bytes()
    save_file({name: value * 2 for name, value in load_file(path).items()}, path)
    with pytest.raises(CheckpointError, match=r"adapted\.safetensors was truncated or edited"):
        load(saved, foundation)
    with pytest.raises(CheckpointError, match="another checkpoint"):
        check_content(saved, seal)
    path.write_bytes(content[:-4])
    with pytest.raises(CheckpointError, match=r"adapted\.safetensors was truncated or edited"):
        load(saved, foundation)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"adapted\.safetensors is missing"):
        load(saved, foundation)


def test_another_foundation_is_refused(saved: Path, foundation: OpenBackbone) -> None:
    other = foundation.with_weights(changed(foundation, 1.5))
    with pytest.raises(CheckpointError, match="was adapted from"):
        load(saved, other)


def test_an_export_holds_the_adapted_weights(tmp_path: Path) -> None:
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit import load_predict_unit

    backbone = load_backbone(FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat"))
    assert isinstance(backbone, OpenBackbone)
    adapted = backbone.with_weights(changed(backbone))
    export_fairchem(CommitteePotential.untrained(adapted), tmp_path / "committee.pt")
    unit = load_predict_unit(str(tmp_path / "committee.pt"), inference_settings="batch", device="cpu")
    atoms = salt()
    atoms.calc = FAIRChemCalculator(unit, task_name="omat")
    assert atoms.get_potential_energy() == pytest.approx(energy(adapted), abs=1e-4)
    assert abs(energy(adapted) - energy(backbone)) > 1e-2
