"""The campaign of configs/dispersion.yaml: D3 on the foundation and in the labels."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from al_loop import Campaign
from al_loop.ledger import open_ledger
from al_loop.records import Role

CONFIG = Path(__file__).parents[2] / "configs" / "dispersion.yaml"


@pytest.mark.long
def test_a_foundation_with_d3_is_corrected_towards_labels_with_d3(tmp_path):
    config = yaml.safe_load(CONFIG.read_text())
    config["folder"] = str(tmp_path / "run")
    config["rounds"] = 1
    config["systems"][0] = {"file": str(CONFIG.parent / "structures" / "graphite.cif")}
    config["explore"] |= {"steps": 10, "check_every": 5}
    config["hold_out"] = {"test_frames": 2, "calibration_frames": 2}
    config["select"] = {"labels_per_round": 3}
    config["label"]["engine"] |= {"cutoff_eV": 300, "kpoint_density_A": 4}
    path = tmp_path / "dispersion.yaml"
    path.write_text(yaml.safe_dump(config))

    campaign = Campaign.from_file(path)
    (report,) = campaign.run()

    assert (report.labels, report.labels_failed) == (3, 0)
    assert report.held_out.force_mae_served < report.held_out.force_mae_foundation
    with open_ledger(campaign.config.store, campaign.folder, campaign.config.name) as ledger:
        frames = ledger.labelled((Role.EXPLORE,))
    assert np.isfinite([frame.label.stress_eV_per_A3 for frame in frames]).all()
