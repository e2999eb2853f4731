"""Temperatures and tolerance that change between the rounds of a campaign."""

import shutil

import yaml
from campaigns import SmallCampaign

from al_loop.ledger import open_ledger
from al_loop.records import Role
from al_loop.tools.preflight.load_config import load_config
from committee.checkpoint import content_hash


def edit(campaign: SmallCampaign, temperatures_K: list[int], tolerance_eV_per_A: float) -> None:
    config = yaml.safe_load(campaign.config.read_text())
    config["rounds"] = 2
    config["explore"]["temperatures_K"] = temperatures_K
    config["gate"] = {"force_tolerance_eV_per_A": tolerance_eV_per_A}
    campaign.config.write_text(yaml.safe_dump(config))


def calibration_frames(guarantee: dict) -> dict[str, tuple[int, int]]:
    """Calibration and test frames of each condition."""
    by_condition = guarantee["by_condition"].items()
    return {name: (counts["calibration_frames"], counts["frames"]) for name, counts in by_condition}


def test_calibration_follows_the_temperatures_of_the_config(small_campaign) -> None:
    campaign = small_campaign(promote={"nve_steps": 10, "foundation_frames": 2, "max_error_ratio": 1.3})
    (first,) = campaign.finish()
    assert calibration_frames(first.guarantee) == {"copper/600K": (10, 4)}
    model = campaign.folder / "models" / "round-000"
    promoted = content_hash(model)

    edit(campaign, [600, 1200], 0.3)
    shutil.rmtree(model)  # it is trained again, and calibrated with the tolerance of its own round
    campaign.kill_in("explore", 1)
    assert content_hash(model) == promoted
    edit(campaign, [600, 900], 0.4)  # not before the next round
    again, second = campaign.finish()
    assert again == first
    assert calibration_frames(second.guarantee) == {"copper/600K": (10, 4), "copper/1200K": (5, 2)}
    assert second.labels_held_out == 7
    known = first.guarantee["calibration"]
    assert (known["tolerance_eV_per_A"], known["frames"]) == (0.15, 10)
    assert second.promoted
    assert (second.guarantee["calibration"]["tolerance_eV_per_A"], second.guarantee["calibration"]["frames"]) == (
        0.3,
        15,
    )

    loaded = load_config(campaign.config)
    with open_ledger(loaded.store, campaign.folder, loaded.name) as ledger:
        held_out = {visit.temperature_K for visit in ledger.visits(1, role=Role.CALIBRATION)}
        explored = {visit.temperature_K for visit in ledger.visits(1, role=Role.EXPLORE)}
    assert (held_out, explored) == ({1200}, {600, 1200})
    assert campaign.status()["rounds"][1]["guarantee"] == second.guarantee
    assert "copper/1200K" in campaign.call("status", campaign.config).stdout
    html = (campaign.folder / "report.html").read_text()
    assert "<td>copper/1200K</td>" in html
    assert "estimated probability" in html
