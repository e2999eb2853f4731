"""Temperatures and tolerance that change between the rounds of a campaign."""

import yaml

from al_loop.cli.round_table import print_status
from al_loop.ledger import open_ledger
from al_loop.records import Role
from al_loop.tools.preflight.load_config import load_config


def test_calibration_follows_the_temperatures_of_the_config(small_campaign, capsys):
    campaign = small_campaign()
    (first,) = campaign.finish()
    assert list(first.guarantee["by_condition"]) == ["copper/600K"]
    assert first.guarantee["by_condition"]["copper/600K"]["calibration_frames"] == 10

    config = yaml.safe_load(campaign.config.read_text())
    config["rounds"] = 2
    config["explore"]["temperatures_K"] = [600, 1200]
    config["gate"] = {"force_tolerance_eV_per_A": 0.3}
    campaign.config.write_text(yaml.safe_dump(config))
    again, second = campaign.finish()
    assert again == first
    by_condition = second.guarantee["by_condition"]
    assert {name: (counts["calibration_frames"], counts["frames"]) for name, counts in by_condition.items()} == {
        "copper/600K": (10, 4),
        "copper/1200K": (5, 2),  # the shares of one of two conditions
    }
    assert second.labels_held_out == 7
    assert (first.guarantee["calibration"]["tolerance_eV_per_A"], first.guarantee["calibration"]["frames"]) == (
        0.15,
        10,
    )
    if second.promoted:
        calibration = second.guarantee["calibration"]
        assert (calibration["tolerance_eV_per_A"], calibration["frames"]) == (0.3, 15)

    loaded = load_config(campaign.config)
    with open_ledger(loaded.store, campaign.folder, loaded.name) as ledger:
        hot = list(ledger.visits(1, role=Role.CALIBRATION))
        explored = {visit.temperature_K for visit in ledger.visits(1, role=Role.EXPLORE)}
    assert {visit.temperature_K for visit in hot} == {1200}
    assert explored == {600, 1200}

    status = campaign.status()
    assert status["rounds"][1]["guarantee"]["by_condition"] == by_condition
    print_status(status)
    shown = capsys.readouterr().out
    assert "copper/1200K" in shown
    html = (campaign.folder / "report.html").read_text()
    assert "<td>copper/1200K</td>" in html
    assert "estimated probability" in html
