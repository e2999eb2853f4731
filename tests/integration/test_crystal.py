"""A periodic campaign with stress, labelled by GPAW plane waves, to its end."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from al_loop import Campaign
from al_loop.ledger import open_ledger
from al_loop.records import Role
from committee import CommitteeCalculator

CONFIG = Path(__file__).parents[2] / "configs" / "crystal.yaml"


@pytest.mark.long
def test_a_strained_hot_crystal_is_learned_with_its_stress(tmp_path):
    config = yaml.safe_load(CONFIG.read_text())
    config["folder"] = str(tmp_path / "run")
    config["rounds"] = 1
    config["systems"][0]["file"] = str(CONFIG.parent / "structures" / "silicon.cif")
    config["explore"] |= {"steps": 20, "check_every": 5}
    config["hold_out"] = {"test_frames": 3, "calibration_frames": 3}
    config["select"] = {"labels_per_round": 5}
    config["label"]["engine"] |= {"cutoff_eV": 300, "kpoint_density_A": 5}
    path = tmp_path / "crystal.yaml"
    path.write_text(yaml.safe_dump(config))

    campaign = Campaign.from_file(path)
    (report,) = campaign.run()

    assert report.labels == 5
    assert report.labels_failed == 0
    assert report.held_out.force_mae_served < report.held_out.force_mae_foundation
    with open_ledger(campaign.config.store, campaign.folder, campaign.config.name) as ledger:
        frames = ledger.labelled((Role.EXPLORE,))
    stresses = np.array([frame.label.stress_eV_per_A3 for frame in frames])
    assert stresses.shape == (5, 6)
    assert np.abs(stresses).max() > 1e-3  # a strained crystal is under pressure

    atoms = frames[0].atoms.copy()
    atoms.calc = CommitteeCalculator.load(campaign.served_model(), uncertainty="exact")
    error = np.abs(atoms.get_stress() - stresses[0]).max()
    assert error < 0.02
    assert atoms.calc.results["stress_uncertainty"].shape == (6,)
