"""Who is validated: checkpoints with the foundation under them, campaigns, foundations, any ASE calculator."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from al_loop.errors import InputError
from al_loop.tools.validation.models import open_models
from committee import CommitteePotential, CommitteeSettings, SevenNetSettings, load_backbone, save
from committee.errors import FoundationError
from committee.settings import FairchemSettings

DISTILLED = Path(__file__).parents[3] / "data" / "distilled" / "distilled.pt"
SMALL = CommitteeSettings(members=2, hidden_channels=4)
CAMPAIGN = """
name: copper
folder: {folder}
foundation: {{kind: sevennet, model: 7net-0}}
systems: [{{file: copper.extxyz}}]
explore: {{temperatures_K: [300]}}
label: {{engine: {{engine: ase, calculator: ase.calculators.emt.EMT}}}}
"""


@pytest.fixture(scope="module")
def sevennet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committee whose heads are not zero any more."""
    folder = tmp_path_factory.mktemp("checkpoints") / "mine"
    potential = CommitteePotential.untrained(load_backbone(SevenNetSettings(kind="sevennet")), SMALL)
    potential.heads.stack.w3.add_(0.01)
    save(potential, folder)
    return folder


def energies(models) -> list[float]:
    found = []
    for one in models:
        atoms = bulk("Cu")
        atoms.calc = one.calculator
        found.append(atoms.get_potential_energy())
    return found


def test_a_checkpoint_brings_its_foundation_which_is_listed_once(sevennet: Path, tmp_path: Path):
    models = open_models(str(sevennet), ["sevennet:7net-0", "emt"])
    assert [one.name for one in models] == ["mine", "sevennet:7net-0", "emt"]
    assert len({one.fingerprint for one in models}) == 3
    model, foundation, emt = energies(models)
    assert abs(model - foundation) > 1e-4
    copper = bulk("Cu")
    copper.calc = EMT()
    assert emt == copper.get_potential_energy()
    from ase.io import write

    write(tmp_path / "copper.extxyz", bulk("Cu"))
    (tmp_path / "campaign.yaml").write_text(CAMPAIGN.format(folder=tmp_path / "run"))
    before_the_first_round = open_models(str(tmp_path / "campaign.yaml"), [])
    assert [one.fingerprint for one in before_the_first_round] == [models[1].fingerprint]
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_on_weights_that_come_with_no_package_takes_a_foundation_that_is_named(tmp_path: Path):
    distilled = FairchemSettings(kind="fairchem", model=str(DISTILLED), task_name="omat")
    save(CommitteePotential.untrained(load_backbone(distilled), SMALL), tmp_path / "model")
    with pytest.raises(InputError, match="--foundation fairchem:FILE:TASK, or --config of the campaign"):
        open_models(str(tmp_path / "model"), ["emt"])
    models = open_models(str(tmp_path / "model"), [f"fairchem:{DISTILLED}:omat"])
    assert len(models) == 2
    model, foundation = energies(models)
    assert np.isfinite(model)
    assert model == foundation  # untrained


@pytest.mark.parametrize(
    ("model", "foundations", "error", "said"),
    [
        (
            "nowhere",
            [],
            InputError,
            "MODEL: received 'nowhere', expected .*calculator:IMPORT.PATH, or the folder of a c",
        ),
        ("emt", ["sevennet:7net-9"], InputError, "--foundation sevennet:7net-9"),
        ("emt", ["calculator:nowhere.Calculator"], FoundationError, "nowhere.Calculator cannot be imported"),
        ("calculator:ase.Atoms", [], InputError, "expected the class of an ASE calculator"),
        ("nowhere.yaml", [], InputError, "nowhere.yaml"),
    ],
)
def test_what_is_nobody_is_refused(model, foundations, error, said):
    with pytest.raises(error, match=said):
        open_models(model, foundations)
